//! Where Postgres is, and which of its schemas is ours.

use core::fmt;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// How long connecting to one host may take, with all that is said before the first question, unless
/// the connection string says.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

// A machine that is gone without a word is noticed by both sides within 30 s. Until Postgres notices, nobody
// else may export.
/// How long a connection may be silent until it is asked whether there is anyone.
pub(super) const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// The time between two such questions.
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// So many are not answered by who is gone.
pub(super) const KEEPALIVE_COUNT: u32 = 3;
/// Postgres knows within this time that what it has sent has come.
pub(super) const UNANSWERED_MAX: Duration = Duration::from_secs(25);
/// So much longer than an answer may take what we have sent may wait for Postgres to take it: one that
/// stops reading is too slow before it is unreachable, and is then sent less at once.
const UNTAKEN_MARGIN: Duration = Duration::from_secs(5);
/// What a connection string without a number means.
const KEEPALIVE_IDLE_DEFAULT: Duration = Duration::from_secs(2 * 60 * 60);

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
    /// One for each host, in the order in which they are tried.
    pub(super) hosts: Vec<Config>,
    pub(super) connect_timeout: Duration,
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
        keep_alive(&mut config, timeout);
        let connect_timeout = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let hosts = each_host(&config).ok_or(PlaceError::Malformed)?;
        Ok(Self { hosts, connect_timeout, schema: schema.to_owned(), timeout })
    }

    /// The password to say, from where nobody else can read it.
    pub fn set_password(&mut self, password: &[u8]) {
        for host in &mut self.hosts {
            host.password(password);
        }
    }

    /// The schema's name.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }
}

/// Whether there still is a server is asked as often as the string says, or as we do.
fn keep_alive(config: &mut Config, timeout: Duration) {
    if config.get_keepalives_idle() == KEEPALIVE_IDLE_DEFAULT {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_COUNT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNANSWERED_MAX.max(timeout + UNTAKEN_MARGIN));
    }
}

/// The same for each of the hosts alone. None: the string has other numbers of hosts, addresses and
/// ports.
fn each_host(all: &Config) -> Option<Vec<Config>> {
    let (hosts, addresses, ports) = (all.get_hosts(), all.get_hostaddrs(), all.get_ports());
    let count = hosts.len().max(addresses.len());
    let fits = |length: usize| length == 0 || length == count;
    if !fits(hosts.len()) || !fits(addresses.len()) || !(fits(ports.len()) || ports.len() == 1) {
        return None;
    }
    let one = |index: usize| {
        let mut one = alone(all);
        match hosts.get(index) {
            Some(Host::Tcp(name)) => drop(one.host(name)),
            Some(Host::Unix(folder)) => drop(one.host_path(folder)),
            None => {}
        }
        if let Some(address) = addresses.get(index) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(index).or(ports.first()) {
            one.port(*port);
        }
        one
    };
    Some((0..count).map(one).collect())
}

/// Everything but hosts, and the password, which is no part of a string.
fn alone(all: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(database) = all.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    if let Some(timeout) = all.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = all.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(count) = all.get_keepalives_retries() {
        one.keepalives_retries(count);
    }
    one.ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .target_session_attrs(all.get_target_session_attrs())
        .load_balance_hosts(all.get_load_balance_hosts())
        .keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle());
    one
}

/// Without the password.
impl fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.hosts.iter().flat_map(Config::get_hosts).collect::<Vec<_>>();
        let database = self.hosts[0].get_dbname();
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
            ("host=one,two,three port=1,2,3", "warren", None),
            ("host=one,two,three port=1,2", "warren", Some(PlaceError::Malformed)),
            ("host=one,two hostaddr=127.0.0.1", "warren", Some(PlaceError::Malformed)),
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
    fn hosts_are_tried_one_by_one_with_all_else_the_same() {
        let place = |connection: &str| {
            PostgresPlace::parse(connection, "warren", Duration::from_secs(1)).unwrap()
        };
        let rest = "user=u dbname=d options=-cx=y tcp_user_timeout=7 keepalives_idle=8 \
                    keepalives_interval=9 keepalives_retries=2 target_session_attrs=read-write";
        let all = place(&format!("host=a,/b hostaddr=10.0.0.1,10.0.0.2 port=1,2 {rest}"));
        let each = ["host=a hostaddr=10.0.0.1 port=1", "host=/b hostaddr=10.0.0.2 port=2"];
        let alone = each.map(|host| place(&format!("{host} {rest}")));
        assert_eq!(all.hosts, [alone[0].hosts[0].clone(), alone[1].hosts[0].clone()]);
        let mut plain: Config = format!("{} {rest}", each[0]).parse().unwrap();
        plain.ssl_mode(SslMode::Disable).application_name("warren");
        assert_eq!(all.hosts[0], plain);
        assert_eq!(all.connect_timeout, CONNECT_TIMEOUT);
        assert_eq!(place("host=a connect_timeout=2").connect_timeout, Duration::from_secs(2));
        let kept = &place("host=a,b port=3").hosts[1];
        assert_eq!((kept.get_ports(), kept.get_keepalives_idle()), (&[3][..], KEEPALIVE_IDLE));
    }

    #[test]
    fn what_postgres_does_not_take_is_too_slow_before_it_is_unreachable() {
        for (timeout_s, string, expected_s) in [
            (1, "", 25),
            (20, "", 25),
            (30, "", 35),
            (600, "", 605),
            (30, " tcp_user_timeout=7", 7),
        ] {
            let timeout = Duration::from_secs(timeout_s);
            let place =
                PostgresPlace::parse(&format!("host=db{string}"), "warren", timeout).unwrap();
            let untaken = place.hosts[0].get_tcp_user_timeout();
            assert_eq!(untaken, Some(&Duration::from_secs(expected_s)), "{timeout_s}{string}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let mut place =
            PostgresPlace::parse("host=db user=u", "warren", Duration::from_secs(1)).unwrap();
        place.set_password(b"very secret");
        assert!(!format!("{place:?}").contains("secret"));
    }
}
