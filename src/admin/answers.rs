//! What the admin endpoint answers: JSON, and a closed list of errors with a word each.

use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::control::Unanswered;

/// Why a request is refused. Each has one status and one word, as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorWord {
    /// A parameter or a body is not what it should be.
    Malformed,
    /// No token, or a wrong one.
    Unauthorized,
    /// The `Host` header names no address of this machine: a web page may have sent it.
    HostRefused,
    /// A web page has sent it.
    OriginRefused,
    /// No such path.
    UnknownPath,
    /// Nobody of that name is here.
    UnknownUser,
    /// No such ban.
    UnknownBan,
    /// No section of the configuration has these workers.
    UnknownWorkers,
    /// No plugin of that name was loaded.
    UnknownPlugin,
    /// The plugin has no version to go back to.
    NoEarlierVersion,
    /// The file is no plugin that can be used here: the next word says why.
    PluginRefused,
    /// There was no such backup since the server started, or it is forgotten.
    UnknownBackup,
    /// No such dead task.
    UnknownTask,
    /// The path is there, the method is not.
    MethodNotAllowed,
    /// The request did not come to its end in time.
    RequestTimeout,
    /// There is nothing that could be read again.
    NothingToReload,
    /// The configuration on the disk is not valid: nothing is changed.
    ConfigInvalid,
    /// The body is longer than any that is allowed.
    BodyTooLarge,
    /// There are as many bans as there may be.
    TooManyBans,
    /// The ban holds, and could not be stored.
    NotStored,
    /// The server stores nothing that could be backed up.
    NothingStored,
    /// The order was not carried out.
    OrderFailed,
    /// The backup was not finished.
    BackupFailed,
    /// The task's key was used anew.
    KeyTaken,
    /// The task's partition has as many as it may have.
    QueueFull,
    /// A shard has too much to do.
    Busy,
    /// A shard does not answer.
    ShardSilent,
}

impl ErrorWord {
    #[cfg(test)]
    pub(crate) const ALL: &[Self] = &[
        Self::Malformed,
        Self::Unauthorized,
        Self::HostRefused,
        Self::OriginRefused,
        Self::UnknownPath,
        Self::UnknownUser,
        Self::UnknownBan,
        Self::UnknownWorkers,
        Self::UnknownBackup,
        Self::UnknownTask,
        Self::UnknownPlugin,
        Self::NoEarlierVersion,
        Self::PluginRefused,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::NothingToReload,
        Self::ConfigInvalid,
        Self::BodyTooLarge,
        Self::TooManyBans,
        Self::NotStored,
        Self::NothingStored,
        Self::OrderFailed,
        Self::BackupFailed,
        Self::KeyTaken,
        Self::QueueFull,
        Self::Busy,
        Self::ShardSilent,
    ];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthorized => "unauthorized",
            Self::HostRefused => "host-refused",
            Self::OriginRefused => "origin-refused",
            Self::UnknownPath => "unknown-path",
            Self::UnknownUser => "unknown-user",
            Self::UnknownBan => "unknown-ban",
            Self::UnknownWorkers => "unknown-workers",
            Self::UnknownBackup => "unknown-backup",
            Self::UnknownTask => "unknown-task",
            Self::UnknownPlugin => "unknown-plugin",
            Self::NoEarlierVersion => "no-earlier-version",
            Self::PluginRefused => "plugin-refused",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::RequestTimeout => "request-timeout",
            Self::NothingToReload => "nothing-to-reload",
            Self::ConfigInvalid => "config-invalid",
            Self::BodyTooLarge => "body-too-large",
            Self::TooManyBans => "too-many-bans",
            Self::NotStored => "not-stored",
            Self::NothingStored => "nothing-stored",
            Self::OrderFailed => "order-failed",
            Self::BackupFailed => "backup-failed",
            Self::KeyTaken => "key-taken",
            Self::QueueFull => "queue-full",
            Self::Busy => "busy",
            Self::ShardSilent => "shard-silent",
        }
    }

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::HostRefused | Self::OriginRefused => StatusCode::FORBIDDEN,
            Self::UnknownPath
            | Self::UnknownUser
            | Self::UnknownBan
            | Self::UnknownWorkers
            | Self::UnknownBackup
            | Self::UnknownTask
            | Self::UnknownPlugin => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NothingToReload
            | Self::NothingStored
            | Self::OrderFailed
            | Self::NoEarlierVersion
            | Self::KeyTaken => StatusCode::CONFLICT,
            Self::ConfigInvalid | Self::PluginRefused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyBans => StatusCode::TOO_MANY_REQUESTS,
            Self::NotStored | Self::BackupFailed => StatusCode::INSUFFICIENT_STORAGE,
            Self::Busy | Self::QueueFull => StatusCode::SERVICE_UNAVAILABLE,
            Self::ShardSilent => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// A refusal: its word, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) word: ErrorWord,
    pub(crate) detail: String,
}

impl ApiError {
    pub(crate) fn new(word: ErrorWord, detail: impl Into<String>) -> Self {
        Self { word, detail: detail.into() }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(ErrorWord::Malformed, detail)
    }

    /// With the methods that the path has.
    pub(crate) fn method_not_allowed(allowed: &'static str) -> Response {
        let detail = format!("allowed here: {allowed}");
        let mut response = Self::new(ErrorWord::MethodNotAllowed, detail).into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        response
    }
}

impl From<Unanswered> for ApiError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Busy(shard) => Self::new(
                ErrorWord::Busy,
                format!("shard {} has too many commands to carry out; try again", shard.0),
            ),
            Unanswered::Silent(shard) => {
                Self::new(ErrorWord::ShardSilent, format!("shard {} does not answer", shard.0))
            }
        }
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    detail: &'a str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody { error: self.word.word(), detail: &self.detail };
        let mut response = json(self.word.status(), &body);
        if self.word == ErrorWord::Unauthorized {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A JSON answer, which nobody keeps.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut text = serde_json::to_string(body).expect("plain data with text for keys");
    text.push('\n');
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, text).into_response()
}

/// A JSON answer to a request that did what it should.
pub(crate) fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}
