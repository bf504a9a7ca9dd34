//! Where Postgres is, and which of its schemas is ours.

use core::fmt;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// What is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlaceError {
    /// The text is not of the form that libpq knows. It is not repeated: it may hold a secret.
    #[error("no connection string; allowed: \"host=… dbname=… user=…\" or \"postgres://…\"")]
    Malformed,
    /// It names no server.
    #[error("a connection string without a host; allowed: a name, an address or a socket's folder")]
    HostMissing,
    /// It has a password, where others could read it.
    #[error("a connection string with a password; allowed: a password file or PGPASSWORD")]
    PasswordInside,
    /// It asks for TLS.
    #[error("a connection string with sslmode=require; allowed: disable or prefer, without TLS")]
    TlsUnknown,
    /// The schema has a name that would have to be quoted, or one of Postgres' own.
    #[error(
        "no schema's name; allowed: a to z, 0 to 9 and _, 63 at most, not pg_ at the beginning"
    )]
    SchemaInvalid,
}

/// Where Postgres is, and which of its schemas is ours.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresPlace {
    pub(super) config: Config,
    pub(super) schema: String,
    /// How long one answer may take.
    pub(super) timeout: Duration,
}

impl PostgresPlace {
    /// Reads a connection string as libpq does. Each answer of Postgres may take as long as `timeout`.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn parse(connection: &str, schema: &str, timeout: Duration) -> Result<Self, PlaceError> {
        let mut config: Config = connection.parse().map_err(|_| PlaceError::Malformed)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(PlaceError::HostMissing);
        }
        if config.get_password().is_some() {
            return Err(PlaceError::PasswordInside);
        }
        if config.get_ssl_mode() == SslMode::Require {
            return Err(PlaceError::TlsUnknown);
        }
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name = !schema.is_empty()
            && schema.len() <= 63
            && schema.bytes().all(is_plain)
            && !schema.as_bytes()[0].is_ascii_digit()
            && !schema.starts_with("pg_");
        if !is_name {
            return Err(PlaceError::SchemaInvalid);
        }
        config.ssl_mode(SslMode::Disable).application_name("warren");
        Ok(Self { config, schema: schema.to_owned(), timeout })
    }

    /// The password to say, from where nobody else can read it.
    pub fn set_password(&mut self, password: &[u8]) {
        self.config.password(password);
    }

    /// The schema's name.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }
}

/// Without the password.
impl fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hosts, database) = (self.config.get_hosts(), self.config.get_dbname());
        write!(f, "{:?} of {hosts:?}, database {database:?}", self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_reached_without_a_secret_in_it_is_a_place() {
        for (connection, schema, expected) in [
            ("host=/run/postgresql dbname=world user=warren", "warren", None),
            ("postgres://warren@localhost:5433/world", "world_2", None),
            ("host=db sslmode=prefer", "_", None),
            ("hot=db", "warren", Some(PlaceError::Malformed)),
            ("mysql://db", "warren", Some(PlaceError::Malformed)),
            ("dbname=world", "warren", Some(PlaceError::HostMissing)),
            ("host=db password=x", "warren", Some(PlaceError::PasswordInside)),
            ("postgres://warren:x@db/world", "warren", Some(PlaceError::PasswordInside)),
            ("host=db sslmode=require", "warren", Some(PlaceError::TlsUnknown)),
            ("host=db", "", Some(PlaceError::SchemaInvalid)),
            ("host=db", "Warren", Some(PlaceError::SchemaInvalid)),
            ("host=db", "1a", Some(PlaceError::SchemaInvalid)),
            ("host=db", "pg_a", Some(PlaceError::SchemaInvalid)),
            ("host=db", "a\"b", Some(PlaceError::SchemaInvalid)),
        ] {
            let place = PostgresPlace::parse(connection, schema, Duration::from_secs(1));
            assert_eq!(place.err(), expected, "{connection} {schema}");
        }
        assert!(PostgresPlace::parse("host=db", &"x".repeat(64), Duration::from_secs(1)).is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        let mut place =
            PostgresPlace::parse("host=db user=u", "warren", Duration::from_secs(1)).unwrap();
        place.set_password(b"very secret");
        assert!(!format!("{place:?}").contains("secret"));
    }
}
