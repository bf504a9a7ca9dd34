//! Who may ask the admin endpoint, decided before anything else looks at a request.
//!
//! | path | Unix socket | loopback | reachable by others |
//! |---|---|---|---|
//! | `/livez`, `/readyz` | all | all | all |
//! | `/metrics`, `/demo` | all | all | token |
//! | `/api/…` | all | token | token |
//!
//! A web page that its reader's browser has loaded can send requests to loopback. It cannot know the
//! token; and where none is asked for, the name in `Host` gives it away.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, RwLock};

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};

use super::answers::{ApiError, ErrorWord};
use super::token::Token;
use crate::config::Endpoint;

/// How often at most the log tells of refused requests.
const REFUSAL_LINE_INTERVAL_NS: u64 = 10_000_000_000;

/// From where the endpoint can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By those who may open the socket's file.
    Socket,
    /// By programs of this machine.
    Loopback,
    /// By other machines.
    Network,
}

impl Reach {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        match endpoint {
            Endpoint::Unix(_) => Self::Socket,
            Endpoint::Tcp(_) if endpoint.is_reachable() => Self::Network,
            Endpoint::Tcp(_) => Self::Loopback,
        }
    }
}

/// What a path is, to those who ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ward {
    /// Is it alive, is it ready: for whoever can connect.
    Probe,
    /// What it counts, and the demo's page.
    Show,
    /// What it does.
    Api,
}

impl Ward {
    fn of(path: &str) -> Self {
        match path {
            "/livez" | "/readyz" => Self::Probe,
            "/api" => Self::Api,
            _ if path.starts_with("/api/") => Self::Api,
            _ => Self::Show,
        }
    }
}

/// Decides who may ask.
#[derive(Debug)]
pub(crate) struct Access {
    reach: Reach,
    /// None: nobody has it, and what asks for it is closed.
    token: RwLock<Option<Token>>,
    /// The operator's file of it.
    file: Option<PathBuf>,
    refusals: Mutex<Refusals>,
}

#[derive(Debug, Default)]
struct Refusals {
    told_ns: Option<u64>,
    untold: u64,
}

impl Access {
    pub(crate) fn new(reach: Reach, token: Option<Token>, file: Option<PathBuf>) -> Self {
        Self { reach, token: RwLock::new(token), file, refusals: Mutex::default() }
    }

    /// Reads the operator's file again, if there is one. What is no token changes nothing.
    pub(crate) fn read_token_again(&self) -> Option<Result<(), String>> {
        let read = Token::read(self.file.as_deref()?);
        Some(read.map(|token| {
            *self.token.write().expect("nobody panics with the token in hand") = Some(token);
        }))
    }

    /// Whether the request may go on.
    pub(crate) fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), ApiError> {
        let ward = Ward::of(path);
        if ward == Ward::Probe {
            return Ok(());
        }
        if ward == Ward::Api && headers.contains_key(ORIGIN) {
            let detail = "requests of web pages are not answered here";
            return Err(ApiError::new(ErrorWord::OriginRefused, detail));
        }
        if self.reach == Reach::Loopback && !headers.get(HOST).is_none_or(is_this_machine) {
            let detail = "the `Host` header is neither an address nor `localhost`";
            return Err(ApiError::new(ErrorWord::HostRefused, detail));
        }
        let asks_token = match self.reach {
            Reach::Socket => false,
            Reach::Loopback => ward == Ward::Api,
            Reach::Network => true,
        };
        if asks_token && !self.has_token(headers) {
            let detail = "this asks for the header `Authorization: Bearer TOKEN`";
            return Err(ApiError::new(ErrorWord::Unauthorized, detail));
        }
        Ok(())
    }

    /// Whether the request has the token, asked for or not.
    pub(crate) fn has_token(&self, headers: &HeaderMap) -> bool {
        let token = self.token.read().expect("nobody panics with the token in hand");
        let given = headers.get(AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
        match (&*token, given) {
            (Some(token), Some(given)) => token.matches(given),
            _ => false,
        }
    }

    /// Writes a line for refused requests, but not for each: whoever tries tokens must not fill the
    /// disk.
    pub(crate) fn log_refusal(&self, now_ns: u64, path: &str, word: ErrorWord) {
        let mut refusals = self.refusals.lock().expect("nobody panics with it in hand");
        let is_due =
            refusals.told_ns.is_none_or(|told_ns| now_ns - told_ns >= REFUSAL_LINE_INTERVAL_NS);
        if !is_due {
            refusals.untold += 1;
            return;
        }
        refusals.told_ns = Some(now_ns);
        let others = core::mem::take(&mut refusals.untold);
        // The path is the asker's: it is cut, and the log escapes it.
        let path: String = path.chars().take(64).collect();
        let reason = word.word();
        tracing::warn!(path, reason, others, "the admin endpoint has refused a request");
    }
}

/// The token of `Bearer TOKEN`; the scheme's case does not count.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether the name in `Host` is one that no foreign name server can give.
fn is_this_machine(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;
