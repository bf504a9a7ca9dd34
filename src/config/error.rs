//! What can be wrong with a configuration: a typed problem, and where it stands.

use core::fmt;
use core::ops::Range;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::endpoint::Endpoint;
use super::keys::Allowed;

/// A place in the file, counted from 1; columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Position {
    /// The place of a byte of the text.
    pub(super) fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |index| index + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigProblem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// It is no TOML, or a value has another type than its key.
    #[error("{0}")]
    Syntax(String),
    /// A key that does not exist, so perhaps a misspelt one.
    #[error("unknown key `{key}`: {}", hint(.nearest.as_deref(), .known))]
    UnknownKey {
        /// As it stands in the file.
        key: String,
        /// The key that it resembles.
        nearest: Option<String>,
        /// The keys of that section.
        known: Vec<String>,
    },
    /// A value that its key does not allow.
    #[error("`{key}` is {value}; allowed: {allowed}")]
    OutOfRange {
        /// Which key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: Allowed,
    },
    /// A value that another key does not allow.
    #[error("`{key}` is {value}; {why}")]
    Conflict {
        /// Which key.
        key: &'static str,
        /// Its value.
        value: String,
        /// Which other key, and what is allowed.
        why: String,
    },
    /// Anyone who reaches the address could log in as anyone.
    #[error(
        "`server.listen` is {listen}, which other machines can reach, and clients are not asked \
         for proof of who they are; allowed: a loopback address, or any with tickets \
         (`auth.mode = \"ticket\"`) or with `--insecure-open` (`auth.insecure_open = true`)"
    )]
    OpenToTheNetwork {
        /// The address.
        listen: SocketAddr,
    },
    /// Anyone who reaches the address could end sessions and stop the server.
    #[error(
        "`admin.listen` is {listen}, which other machines can reach, and there is no \
         `admin.token_file`; allowed: a loopback address or a Unix socket, or a token file"
    )]
    AdminWithoutToken {
        /// Where the endpoint was to be.
        listen: Endpoint,
    },
}

fn hint(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// A problem, and the bytes of the file that it is about.
pub(super) struct Located {
    pub(super) span: Option<Range<usize>>,
    pub(super) problem: ConfigProblem,
}

impl Located {
    /// A value that something else does not allow.
    pub(super) fn conflict(
        span: Option<Range<usize>>,
        key: &'static str,
        value: String,
        why: String,
    ) -> Self {
        Self { span, problem: ConfigProblem::Conflict { key, value, why } }
    }

    pub(super) fn into_error(self, file: Option<&Path>, text: &str) -> ConfigError {
        ConfigError {
            position: self.span.map(|span| Position::of(text, span.start)),
            file: file.map(Path::to_owned),
            problem: self.problem,
        }
    }
}

impl From<toml::de::Error> for Located {
    fn from(error: toml::de::Error) -> Self {
        let problem = unknown_key(error.message()).unwrap_or_else(|| {
            ConfigProblem::Syntax(without_text(error.message()).replace('\n', ", "))
        });
        Self { span: error.span(), problem }
    }
}

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct ConfigError {
    /// The file, when it is about one.
    pub file: Option<PathBuf>,
    /// Where in the file, when it stands there.
    pub position: Option<Position>,
    /// What is wrong.
    pub problem: ConfigProblem,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(Position { line, column }) = self.position {
                write!(f, "{line}:{column}:")?;
            }
            f.write_str(" ")?;
        }
        self.problem.fmt(f)
    }
}

impl core::error::Error for ConfigError {}

/// The message without the text of a value, which may be a secret in the wrong place.
fn without_text(message: &str) -> String {
    let cut = || {
        let (before, text) = message.split_once(" string \"")?;
        let (_, after) = text.rsplit_once("\", expected ")?;
        Some(format!("{before} string, expected {after}"))
    };
    cut().unwrap_or_else(|| message.to_owned())
}

/// Reads serde's "unknown field `a`, expected one of `b`, `c`": the words stand in backticks.
fn unknown_key(message: &str) -> Option<ConfigProblem> {
    if !message.starts_with("unknown field ") {
        return None;
    }
    let mut words = message.split('`').skip(1).step_by(2).map(str::to_owned);
    let key = words.next()?;
    let known: Vec<String> = words.collect();
    let nearest = known
        .iter()
        .map(|candidate| (edit_distance(&key, candidate), candidate))
        .min()
        // Half of the word may be wrong in a short one, three letters in a long one.
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 2).min(3))
        .map(|(_, candidate)| candidate.clone());
    Some(ConfigProblem::UnknownKey { key, nearest, known })
}

/// Levenshtein's distance: insertions, deletions and replacements that lead from one to the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, left_char) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, right_char) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(left_char != *right_char);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
