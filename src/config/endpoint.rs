//! Where the admin endpoint is: an address and port, or a socket in the file system.

use core::fmt;
use core::str::FromStr;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// What a path is marked with.
const UNIX_MARK: &str = "unix:";

/// A place to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Endpoint {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A Unix socket of this path: who may open the file may ask.
    Unix(PathBuf),
}

impl Endpoint {
    /// The port of an address.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// Whether other machines can reach it.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(UNIX_MARK) {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(format!("the path behind `{UNIX_MARK}` begins with `/`")),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                format!("{text:?} is neither an IP address and port nor `{UNIX_MARK}/path`")
            }),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX_MARK}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written() {
        for (text, is_reachable, port) in [
            ("127.0.0.1:7172", false, Some(7172)),
            ("[::1]:7172", false, Some(7172)),
            ("[::ffff:127.0.0.1]:1", false, Some(1)),
            ("0.0.0.0:7172", true, Some(7172)),
            ("192.0.2.1:7172", true, Some(7172)),
            ("unix:/run/warren/admin.sock", false, None),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
            assert_eq!((endpoint.is_reachable(), endpoint.port()), (is_reachable, port), "{text}");
        }
        for text in ["", "here", "unix:", "unix:run", "127.0.0.1", "/run/x"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
