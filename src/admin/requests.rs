//! What comes in with a request: parameters behind the path, and bodies. All of it is bounded and
//! checked here.

use std::path::PathBuf;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Uri;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use warren_core::name::check_name;

use super::answers::{ApiError, ErrorWord};
use crate::bans::{REASON_BYTES_MAX, Subject};

/// Longest body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024;
/// Rows of a page when nobody says how many.
const COUNT_DEFAULT: usize = 100;
/// Most rows of a page.
pub(crate) const COUNT_MAX: usize = 250;

/// `?after=…&count=…&user=…` of a page of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageQuery {
    pub(super) after: Option<String>,
    pub(super) count: usize,
    pub(super) user: Option<String>,
}

impl PageQuery {
    /// When nobody says anything.
    pub(super) const DEFAULT: Self = Self { after: None, count: COUNT_DEFAULT, user: None };

    /// Reads the parameters; `user` only where `has_user`.
    pub(super) fn of(uri: &Uri, has_user: bool) -> Result<Self, ApiError> {
        let mut query = Self::DEFAULT;
        for (name, value) in parameters(uri)? {
            query.take(&name, value, has_user)?;
        }
        Ok(query)
    }

    /// Takes one parameter.
    pub(super) fn take(
        &mut self,
        name: &str,
        value: String,
        has_user: bool,
    ) -> Result<(), ApiError> {
        match name {
            "after" => self.after = Some(value),
            "user" if has_user => self.user = Some(checked_user(&value)?.to_owned()),
            "count" => {
                let count = value.parse().ok().filter(|count| *count > 0);
                let told = || ApiError::malformed("`count` is a number above 0");
                self.count = count.map(|count: usize| count.min(COUNT_MAX)).ok_or_else(told)?;
            }
            _ => return Err(ApiError::malformed("a parameter that is not known here")),
        }
        Ok(())
    }
}

/// The parameters behind the path, by name.
pub(super) fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, ApiError> {
    let pairs = uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let told = || ApiError::malformed(format!("`{name}` is not UTF-8"));
            Ok((name.to_owned(), percent_decoded(value).ok_or_else(told)?))
        })
        .collect()
}

/// `?number=…` of a backup.
pub(super) fn number_of(uri: &Uri) -> Result<Option<u64>, ApiError> {
    let Some(query) = uri.query().filter(|query| !query.is_empty()) else { return Ok(None) };
    let number = query.strip_prefix("number=").and_then(|number| number.parse().ok());
    let number = number.filter(|number| *number > 0);
    number.map(Some).ok_or_else(|| ApiError::malformed("`number` is that of a backup"))
}

/// Undoes `%41` and `+`; none when what comes out is no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = str::from_utf8(&digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

/// A user's name.
pub(super) fn checked_user(user: &str) -> Result<&str, ApiError> {
    let told = |_| ApiError::malformed("`user` is no name of a user");
    check_name(user.as_bytes()).map_err(told)
}

/// `{"folder": …}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackupBody {
    folder: PathBuf,
}

impl BackupBody {
    /// The folder for the backup.
    pub(super) fn folder(self) -> Result<PathBuf, ApiError> {
        if self.folder.is_absolute() {
            Ok(self.folder)
        } else {
            Err(ApiError::malformed("`folder` does not begin with /"))
        }
    }
}

/// `{"user": …, "reason": …}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KickBody {
    pub(super) user: String,
    #[serde(default)]
    pub(super) reason: String,
}

/// `{"file": …}`, of a plugin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginFileBody {
    file: PathBuf,
}

impl PluginFileBody {
    /// Where the library is.
    pub(super) fn file(self) -> Result<PathBuf, ApiError> {
        // The server's working folder is nobody's to know.
        let told = || ApiError::malformed("`file` is an absolute path");
        self.file.is_absolute().then_some(self.file).ok_or_else(told)
    }
}

/// `{"plugin": …}`: its name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginBody {
    pub(super) plugin: String,
}

/// `{"user": …}` or `{"address": …}`, and for a new ban `for` and `reason`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BanBody {
    user: Option<String>,
    address: Option<String>,
    /// As `1h` or `90days`; none: without end.
    #[serde(rename = "for")]
    time: Option<String>,
    reason: Option<String>,
}

impl BanBody {
    /// Who is meant: one of the two.
    pub(super) fn subject(&self) -> Result<Subject, ApiError> {
        match (&self.user, &self.address) {
            (Some(user), None) => Ok(Subject::User(checked_user(user)?.to_owned())),
            (None, Some(address)) => {
                let told = |_| ApiError::malformed("`address` is no address or range of addresses");
                address.parse().map(Subject::Addresses).map_err(told)
            }
            _ => Err(ApiError::malformed("either `user` or `address` is needed")),
        }
    }

    /// For how long.
    pub(super) fn time(&self) -> Result<Option<Duration>, ApiError> {
        let Some(text) = &self.time else { return Ok(None) };
        let time = humantime::parse_duration(text)
            .map_err(|error| ApiError::malformed(format!("`for` is no time: {error}")))?;
        if time.is_zero() {
            return Err(ApiError::malformed("`for` is no time at all"));
        }
        Ok(Some(time))
    }

    /// What the operator notes.
    pub(super) fn reason(&self) -> Result<String, ApiError> {
        checked_reason(self.reason.as_deref().unwrap_or("")).map(str::to_owned)
    }

    /// Whether it has only what ending a ban takes.
    pub(super) fn is_subject_alone(&self) -> bool {
        self.time.is_none() && self.reason.is_none()
    }
}

/// A note of the operator's: short, and one line.
pub(super) fn checked_reason(reason: &str) -> Result<&str, ApiError> {
    if reason.len() > REASON_BYTES_MAX {
        let told = format!("`reason` has at most {REASON_BYTES_MAX} bytes");
        return Err(ApiError::malformed(told));
    }
    if reason.chars().any(char::is_control) {
        return Err(ApiError::malformed("`reason` is one line"));
    }
    Ok(reason)
}

/// The body's JSON, of a bounded length.
pub(super) async fn body_of<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let detail = format!("a body has at most {BODY_BYTES_MAX} bytes");
        ApiError::new(ErrorWord::BodyTooLarge, detail)
    })?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Result<PageQuery, ApiError> {
        PageQuery::of(&format!("/api/sessions{query}").parse().unwrap(), true)
    }

    #[test]
    fn parameters_are_read_and_checked() {
        let none = PageQuery { after: None, count: COUNT_DEFAULT, user: None };
        assert_eq!(page(""), Ok(none.clone()));
        assert_eq!(page("?"), Ok(none.clone()));
        let all = PageQuery { after: Some("1-2".into()), count: 7, user: Some("ann".into()) };
        assert_eq!(page("?after=1-2&count=7&user=%61nn"), Ok(all));
        assert_eq!(page("?count=100000"), Ok(PageQuery { count: COUNT_MAX, ..none.clone() }));
        assert_eq!(page("?after=a+b"), Ok(PageQuery { after: Some("a b".into()), ..none }));
        for query in [
            "?count=0",
            "?count=-1",
            "?count=x",
            "?user=a%20b",
            "?user=",
            "?after=%ff",
            "?x=1",
            "?after=%zz",
        ] {
            assert_eq!(page(query).unwrap_err().word, ErrorWord::Malformed, "{query}");
        }
        assert!(PageQuery::of(&"/api/rooms?user=ann".parse().unwrap(), false).is_err());
    }

    #[test]
    fn the_number_of_a_backup_is_read_and_checked() {
        let number = |query: &str| number_of(&format!("/api/backup{query}").parse().unwrap());
        assert_eq!(number(""), Ok(None));
        assert_eq!(number("?"), Ok(None));
        assert_eq!(number("?number=17"), Ok(Some(17)));
        for query in ["?number=0", "?number=", "?number=x", "?number=1&number=2", "?count=1"] {
            assert_eq!(number(query).unwrap_err().word, ErrorWord::Malformed, "{query}");
        }
    }

    fn ban(text: &str) -> Result<(String, Option<Duration>, String), ApiError> {
        let body: BanBody =
            serde_json::from_str(text).map_err(|error| ApiError::malformed(error.to_string()))?;
        Ok((body.subject()?.to_string(), body.time()?, body.reason()?))
    }

    #[test]
    fn bans_are_read_and_checked() {
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(
            ban(r#"{"user":"ann","for":"1h","reason":"shouts"}"#),
            Ok(("ann".into(), hour, "shouts".into()))
        );
        assert_eq!(
            ban(r#"{"address":"10.1.2.3/8"}"#),
            Ok(("10.0.0.0/8".into(), None, String::new()))
        );
        let long = "x".repeat(REASON_BYTES_MAX + 1);
        for text in [
            "{}",
            r#"{"user":"ann","address":"10.1.2.3"}"#,
            r#"{"user":"a b"}"#,
            r#"{"user":7}"#,
            r#"{"address":"ann"}"#,
            r#"{"user":"ann","for":"soon"}"#,
            r#"{"user":"ann","for":"0s"}"#,
            r#"{"user":"ann","until":"1h"}"#,
            r#"{"user":"ann","reason":"a\nb"}"#,
            &format!(r#"{{"user":"ann","reason":"{long}"}}"#),
        ] {
            assert_eq!(ban(text).unwrap_err().word, ErrorWord::Malformed, "{text}");
        }
    }
}
