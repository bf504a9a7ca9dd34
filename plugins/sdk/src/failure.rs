//! Why a method cannot do its request.

use core::fmt::{self, Display};
use std::borrow::Cow;
use std::error::Error;

/// Why a method cannot do its request. Any error becomes one by `?`, with its text. It is no [`Error`] itself,
/// so that this can be.
#[derive(Debug)]
pub struct Failure(pub(crate) Why);

#[derive(Debug)]
pub(crate) enum Why {
    /// The server has said no, and knows why.
    Refused,
    /// The method says so.
    Said(Cow<'static, str>),
}

impl Failure {
    /// With this text, which the server's log gets.
    pub fn new(why: impl Into<Cow<'static, str>>) -> Self {
        Self(Why::Said(why.into()))
    }

    pub(crate) fn refused() -> Self {
        Self(Why::Refused)
    }

    #[cold]
    pub(crate) fn of_field(name: &str) -> Self {
        Self::new(format!("the field `{name}` is missing, or no such value"))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Refused => f.write_str("refused"),
            Why::Said(why) => f.write_str(why),
        }
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}
