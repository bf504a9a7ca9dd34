//! The token of the admin endpoint: read from the operator's file, or made at the start and left
//! where the user who started the server finds it.

use core::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

/// Shortest token. One of 32 hex digits has 128 random bits.
pub const TOKEN_CHARS_MIN: usize = 32;
/// Longest token, so that reading a wrong file ends.
const TOKEN_BYTES_MAX: usize = 1024;
/// Random bytes of a token that is made here.
const MADE_BYTES: usize = 32;
/// The token's file in the data folder.
const DATA_FILE: &str = "admin-token";
/// Rights of others, and of the group to write: a file with any of them is refused.
const MODE_REFUSED: u32 = 0o027;
const MODE_OWNER: u32 = 0o600;

/// A secret: shown to nobody, compared in constant time.
#[derive(Clone)]
pub struct Token(Box<str>);

impl Token {
    /// A new one, of random bytes of the system's.
    ///
    /// # Errors
    /// When the system has none.
    pub fn make() -> Result<Self, String> {
        use core::fmt::Write as _;
        let mut bytes = [0; MADE_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| format!("no random bytes: {error}"))?;
        let mut text = String::with_capacity(2 * MADE_BYTES);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text.into()))
    }

    /// The token of a text: its only line, without the space around it.
    ///
    /// # Errors
    /// What is wrong with it. The text itself is never told.
    pub fn of_text(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() < TOKEN_CHARS_MIN {
            return Err(format!("a token has {TOKEN_CHARS_MIN} characters at least"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token is one line of printable ASCII without spaces".to_owned());
        }
        Ok(Self(text.into()))
    }

    /// Reads the file, which must not be open to others.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let told = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(|error| told(&error))?;
        let found = file.metadata().map_err(|error| told(&error))?;
        if !found.is_file() {
            return Err(told(&"not a regular file"));
        }
        if found.mode() & MODE_REFUSED != 0 {
            let mode = found.mode() & 0o777;
            let why = format!(
                "others may read or change it (mode {mode:04o}); allowed: 0600, or 0640 for a group"
            );
            return Err(told(&why));
        }
        let mut text = String::new();
        let bytes_max = TOKEN_BYTES_MAX as u64 + 1;
        file.take(bytes_max).read_to_string(&mut text).map_err(|error| told(&error))?;
        if text.len() > TOKEN_BYTES_MAX {
            return Err(told(&"longer than a token"));
        }
        Self::of_text(&text).map_err(|error| told(&error))
    }

    /// Whether it is this one. How long that takes tells the length of the token, and no more.
    #[must_use]
    pub fn matches(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// For a request, and for the file: nowhere else.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Where a server on this port of loopback leaves its token for the user's other programs:
/// `$XDG_RUNTIME_DIR/warren/PORT.token`.
#[must_use]
pub fn runtime_file(port: u16) -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)?;
    folder.is_absolute().then(|| folder.join("warren").join(format!("{port}.token")))
}

/// Where a server with this data folder leaves its token.
#[must_use]
pub fn token_file_of_data(folder: &Path) -> PathBuf {
    folder.join(DATA_FILE)
}

/// Files with a token that was made for one life of the server. They go with it.
#[derive(Debug, Default)]
pub(crate) struct TokenFiles {
    paths: Vec<PathBuf>,
    token: Option<Token>,
}

impl TokenFiles {
    /// Writes the token to each place that can be written.
    pub(crate) fn write(token: &Token, places: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut files = Self { paths: Vec::new(), token: Some(token.clone()) };
        for path in places {
            match write_file(token, &path) {
                Ok(()) => files.paths.push(path),
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "the token of the admin endpoint cannot be left there");
                }
            }
        }
        files
    }

    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    fn is_own(&self, path: &Path) -> bool {
        let (Some(token), Ok(found)) = (&self.token, Token::read(path)) else { return false };
        token.matches(found.secret())
    }
}

impl Drop for TokenFiles {
    fn drop(&mut self) {
        // Another server may have put its own in the place of one.
        for path in self.paths.iter().filter(|path| self.is_own(path)) {
            // A token that stays is of no use to anyone.
            let _ = fs::remove_file(path);
        }
    }
}

/// Writes a file that its owner alone may read, in the place of an older one.
fn write_file(token: &Token, path: &Path) -> io::Result<()> {
    let folder = path.parent().expect("a file is in a folder");
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE_OWNER)
        .open(&draft)
        .and_then(|mut file| writeln!(file, "{}", token.secret()))
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests;
