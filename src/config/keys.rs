//! Every key of the configuration file: its type, default, range and meaning, once. The table in
//! `docs/configuration.md` is generated from here.

use core::fmt;
use core::ops::Range;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use warren_core::acknowledgement::AckLevel;
use warren_core::authorize::ROLES_MAX;
use warren_core::bans::AddressRange;
use warren_core::name::check_name;
use warren_core::tasks::methods::METHODS_MAX;
use warren_core::ticket::TICKET_KEYS_MAX;
use warren_net::gateway::Protocol;
use warren_storage::delta_log::{BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

use super::auth::{AUTH_MODES, MethodSections};
use super::endpoint::Endpoint;
use super::error::{ConfigProblem, Located};
use super::workers::{self, WorkersSections};

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// `"address:port"`.
    Address,
    /// `"address:port"` or `"unix:/path"`.
    Endpoint,
    /// `"path"`.
    Folder,
    /// `"path"`.
    File,
    /// `true` or `false`.
    Switch,
    /// A whole number, both ends included.
    Range(u64, u64),
    /// A power of two, both ends included.
    PowerOfTwo(u64, u64),
    /// A multiple of the first, both ends included.
    Multiple(u32, u64, u64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// An XML document of at most so many bytes.
    Document(usize),
    /// A list of origins as browsers send them, or `"*"`.
    Origins,
    /// A name.
    Name,
    /// Where a Postgres is, as libpq is told.
    Connection,
    /// A schema's name that needs no quotes.
    Schema,
    /// `"tcp://host:port"` or `"tls://host:port"`.
    Url,
    /// A list of at most so many of what the words say.
    List(u32, &'static str),
    /// A table of at most so many variables.
    Variables(u32),
}

impl Allowed {
    /// Whether a number is allowed.
    #[must_use]
    pub const fn has_number(&self, value: u64) -> bool {
        match *self {
            Self::Range(min, max) => min <= value && value <= max,
            Self::PowerOfTwo(min, max) => min <= value && value <= max && value.is_power_of_two(),
            Self::Multiple(of, min, max) => {
                min <= value && value <= max && value.is_multiple_of(of as u64)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("IP address and port"),
            Self::Endpoint => f.write_str("IP address and port, or unix:/path"),
            Self::Folder => f.write_str("path of a folder"),
            Self::File => f.write_str("path of a file"),
            Self::Switch => f.write_str("true or false"),
            Self::Range(min, max) => write!(f, "{min} to {max}"),
            Self::PowerOfTwo(min, max) => write!(f, "a power of two, {min} to {max}"),
            Self::Multiple(of, min, max) => write!(f, "a multiple of {of}, {min} to {max}"),
            Self::Words(words) => f.write_str(&words.join(", ")),
            Self::Document(bytes_max) => {
                write!(f, "an XML document of at most {bytes_max} bytes, without NUL")
            }
            Self::Origins => {
                f.write_str("a list of origins such as `\"https://example.org\"`, or of `\"*\"`")
            }
            Self::Name => f.write_str("a name: letters, digits, `_`, `.` and `-`"),
            Self::Connection => f.write_str("a connection string with a host and no password"),
            Self::Schema => f.write_str("a name: `a` to `z`, digits and `_`, not `pg_` at first"),
            Self::Variables(most) => {
                write!(f, "a table `{{ NAME = \"value\" }}` of at most {most}")
            }
            Self::Url => f.write_str("tcp://host:port or tls://host:port"),
            Self::List(count_max, what) => write!(f, "a list of at most {count_max} {what}"),
        }
    }
}

/// One key of the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Section and name: `limits.connections_max`.
    pub path: &'static str,
    /// The default as it would stand in the file; empty when there is none.
    pub default: &'static str,
    /// What it may hold.
    pub allowed: Allowed,
    /// What it does, in one sentence or two.
    pub description: &'static str,
}

/// A key, and what the file says about it.
pub(super) struct Setting<'a, T> {
    key: &'static Key,
    value: Option<&'a Spanned<T>>,
}

#[derive(Deserialize)]
struct DefaultValue<T> {
    value: T,
}

impl<T: Clone + DeserializeOwned> Setting<'_, T> {
    /// The file's value, or the default. For keys that have one.
    pub(super) fn get(&self) -> T {
        if let Some(value) = self.value {
            return value.get_ref().clone();
        }
        let document = format!("value = {}", self.key.default);
        match toml::from_str::<DefaultValue<T>>(&document) {
            Ok(default) => default.value,
            Err(error) => panic!("the default of {} is no value of it: {error}", self.key.path),
        }
    }

    /// The file's value, if it has one. For keys without a default.
    pub(super) fn given(&self) -> Option<T> {
        self.value.map(|value| value.get_ref().clone())
    }

    /// Where the value stands in the file.
    pub(super) fn span(&self) -> Option<Range<usize>> {
        self.value.map(Spanned::span)
    }

    /// What is wrong with the value, at its place in the file.
    pub(super) fn out_of_range(&self, value: &dyn fmt::Display) -> Located {
        Located {
            span: self.span(),
            problem: ConfigProblem::OutOfRange {
                key: self.key.path,
                value: value.to_string(),
                allowed: self.key.allowed,
            },
        }
    }

    /// A fault of this setting that only the rest of the configuration shows.
    pub(super) fn conflict(&self, value: &dyn fmt::Display, why: String) -> Located {
        Located::conflict(self.span(), self.key.path, value.to_string(), why)
    }
}

impl Setting<'_, u64> {
    /// The number, checked.
    pub(super) fn number(&self) -> Result<u64, Located> {
        let value = self.get();
        if self.key.allowed.has_number(value) { Ok(value) } else { Err(self.out_of_range(&value)) }
    }

    /// The number, checked, as a count of things or bytes in memory.
    pub(super) fn count(&self) -> Result<usize, Located> {
        let value = self.number()?;
        usize::try_from(value).map_err(|_| self.out_of_range(&value))
    }

    /// The count, checked, if the file has one.
    pub(super) fn count_given(&self) -> Result<Option<usize>, Located> {
        self.value.map(|_| self.count()).transpose()
    }
}

impl Setting<'_, String> {
    /// Which of the allowed words it is, if it has a value at all.
    pub(super) fn word_index(&self) -> Result<Option<usize>, Located> {
        if self.value.is_none() && self.key.default.is_empty() {
            return Ok(None);
        }
        let value = self.get();
        let Allowed::Words(words) = self.key.allowed else {
            panic!("{} is a key without words", self.key.path);
        };
        match words.iter().position(|word| *word == value) {
            Some(index) => Ok(Some(index)),
            None => Err(self.out_of_range(&format_args!("{value:?}"))),
        }
    }

    /// The name, checked.
    pub(super) fn name(&self) -> Result<String, Located> {
        let value = self.get();
        match check_name(value.as_bytes()) {
            Ok(_) => Ok(value),
            Err(_) => Err(self.out_of_range(&format_args!("{value:?}"))),
        }
    }

    /// The document, checked as far as a client would notice: the rest is its author's.
    pub(super) fn document(&self) -> Result<String, Located> {
        const SHOWN_CHARS: usize = 40;
        let value = self.get();
        let Allowed::Document(bytes_max) = self.key.allowed else {
            panic!("{} is a key without a document", self.key.path);
        };
        if value.starts_with('<') && !value.contains('\0') && value.len() <= bytes_max {
            return Ok(value);
        }
        let shown: String = value.chars().take(SHOWN_CHARS).collect();
        Err(self.out_of_range(&format_args!("{shown:?} ({} bytes)", value.len())))
    }
}

impl Setting<'_, Vec<String>> {
    /// The origins, each checked as far as one that no browser sends would be found.
    pub(super) fn origins(&self) -> Result<Vec<String>, Located> {
        let origins = self.get();
        for origin in &origins {
            let host = origin.split_once("://").map(|(_, host)| host);
            let is_origin = host.is_some_and(|host| !host.is_empty() && !host.contains('/'));
            let is_lower = !origin.bytes().any(|byte| byte.is_ascii_uppercase());
            if origin != "*" && !(is_origin && is_lower) {
                return Err(self.out_of_range(&format_args!("{origin:?}")));
            }
        }
        Ok(origins)
    }

    /// The list, checked for its length. What its items may be is its user's to check.
    pub(super) fn list(&self) -> Result<Vec<String>, Located> {
        let value = self.get();
        let Allowed::List(count_max, _) = self.key.allowed else {
            panic!("{} is a key without a list", self.key.path);
        };
        if value.len() > count_max as usize {
            return Err(self.out_of_range(&format_args!("a list of {}", value.len())));
        }
        Ok(value)
    }

    /// The list, checked to be of addresses and ranges of addresses.
    pub(super) fn addresses(&self) -> Result<Vec<AddressRange>, Located> {
        let read = |text: &String| {
            text.parse().map_err(|_| self.out_of_range(&format_args!("a list with {text:?}")))
        };
        self.list()?.iter().map(read).collect()
    }

    /// The list, checked to be of names.
    pub(super) fn names(&self) -> Result<Vec<String>, Located> {
        let list = self.list()?;
        match list.iter().find(|name| check_name(name.as_bytes()).is_err()) {
            Some(wrong) => Err(self.out_of_range(&format_args!("a list with {wrong:?}"))),
            None => Ok(list),
        }
    }
}

macro_rules! sections {
    ($(
        $section:ident = $header:literal {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $kind:ty = $default:literal, $allowed:expr;
            )+
            $(table $table:ident: $table_type:ident;)?
        }
    )+) => {
        $(
            #[derive(Debug, Default, Deserialize)]
            #[serde(deny_unknown_fields, default)]
            pub(super) struct $section {
                $($key: Option<Spanned<$kind>>,)+
                $(pub(super) $table: $table_type,)?
            }

            impl $section {
                $(
                    pub(super) fn $key(&self) -> Setting<'_, $kind> {
                        const KEY: Key = sections!(@key $header $key $default $allowed, $($doc)+);
                        Setting { key: &KEY, value: self.$key.as_ref() }
                    }
                )+
            }
        )+

        /// Every key, in the order of the table in `docs/configuration.md`.
        pub const KEYS: &[Key] =
            &[$($(sections!(@key $header $key $default $allowed, $($doc)+),)+)+ METHOD_ROLES, METHOD_ACK,
            workers::FILE, workers::COMMAND, workers::COUNT, workers::FOLDER, workers::ENVIRONMENT,
            workers::URL, workers::MEMORY_BYTES_MAX, workers::NICE, workers::CORES,
            workers::START_MS, workers::SILENT_MS_MAX, workers::RESTART_MS_MAX, workers::STOP_MS];
    };
    (@key $header:literal $key:ident $default:literal $allowed:expr, $($doc:literal)+) => {
        Key {
            path: concat!($header, ".", stringify!($key)),
            default: $default,
            allowed: $allowed,
            description: concat!($($doc),+).trim_ascii(),
        }
    };
}

/// The keys whose paths have a part that is the operator's to choose.
const METHOD_ROLES: Key = Key {
    path: METHOD_ROLES_PATH,
    default: "",
    allowed: Allowed::List(ROLES_MAX as u32, "roles"),
    description: "Who may use the method of that name: whoever has one of these roles. \
                  Default: `user` and `admin`, for what workers say `worker`. A name that is no method of the \
                  server is one that workers do; with a dot in it, it stands in quotes.",
};
const METHOD_ACK: Key = Key {
    path: METHOD_ACK_PATH,
    default: "",
    allowed: Allowed::Words(AckLevel::WORDS),
    description: "When requests of that method without `ack` are answered: for `create`, `set`, `delete`, `new-event` and `cancel-event`. \
                  Default: `applied`. `durable` needs `server.data`.",
};
/// Their paths.
pub(super) const METHOD_ROLES_PATH: &str = "methods.NAME.roles";
pub(super) const METHOD_ACK_PATH: &str = "methods.NAME.ack";

/// Labels of all protocols.
const PROTOCOL_LABELS: [&str; Protocol::ALL.len()] = {
    let mut labels = [""; Protocol::ALL.len()];
    let mut index = 0;
    while index < labels.len() {
        labels[index] = Protocol::ALL[index].label();
        index += 1;
    }
    labels
};

/// The words of `log.format`.
pub(super) const LOG_FORMATS: &[&str] = &["text", "json"];
/// The words of `log.level`.
pub(super) const LOG_LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

/// Each is looked at when a connection begins.
const PROXIES_MAX: u32 = 64;

/// Longest Flash policy, in bytes.
const FLASH_POLICY_BYTES_MAX: usize = 16 * 1024;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

sections! {
    ServerSection = "server" {
        /// Address and port for clients of every protocol.
        listen: SocketAddr = r#""127.0.0.1:7171""#, Allowed::Address;
        /// Number of shards, each a pinned thread. Default: the number of cores that the process
        /// may run on.
        shards: u64 = "", Allowed::Range(1, 256);
        /// Folder for the server's data: created, and locked against a second server. Default: none,
        /// and everything is forgotten at the end.
        data: PathBuf = "", Allowed::Folder;
    }
    AuthSection = "auth" {
        /// How clients prove who they are: `open`, not at all; `ticket`, by a signed ticket.
        mode: String = r#""open""#, Allowed::Words(AUTH_MODES);
        /// Public keys by which tickets are checked, as `warren ticket keygen` prints them.
        keys: Vec<String> = "[]", Allowed::List(TICKET_KEYS_MAX as u32, "keys `ID:KEY`");
        /// For whom a ticket has to be (`aud`) to be taken here.
        audience: String = r#""warren""#, Allowed::Name;
        /// How far the clock of whoever issues tickets may be off, in seconds.
        leeway_s: u64 = "30", Allowed::Range(0, 600);
        /// Roles beside `user`, `admin` and `worker`.
        roles: Vec<String> = "[]", Allowed::List(ROLES_MAX as u32 - 3, "names");
        /// In the mode `open`: serve clients that say who they are without proof, on an address
        /// that other machines can reach.
        insecure_open: bool = "false", Allowed::Switch;
    }
    AdminSection = "admin" {
        /// Address and port of the admin endpoint, or a socket's path: `unix:/run/warren/admin.sock`.
        /// One that other machines can reach needs a `token_file`.
        listen: Endpoint = r#""127.0.0.1:7172""#, Allowed::Endpoint;
        /// File with the token that `/api` asks for: one line of 32 characters at least, unreadable
        /// for others. SIGHUP reads it again. Default: the server makes a token at each start.
        token_file: PathBuf = "", Allowed::File;
    }
    ProtocolSection = "protocol" {
        /// The one protocol of the port. Default: told by each connection's first bytes.
        fixed: String = "", Allowed::Words(&PROTOCOL_LABELS);
        /// Addresses of proxies, or ranges of them such as `10.0.0.0/24`. A connection from there has
        /// to begin with a header of the PROXY protocol, version 2, and is closed with
        /// `proxy-invalid` without one; its client is where the header says. Elsewhere no header is
        /// taken.
        proxies: Vec<String> = "[]", Allowed::List(PROXIES_MAX, "addresses or ranges of addresses");
        /// Longest frame that a client may send, in bytes, its end or length included.
        frame_bytes_max: u64 = "65536", Allowed::Range(256, MIB);
        /// Time between two heartbeats, in milliseconds; after two without one a client is gone.
        heartbeat_ms: u64 = "10000", Allowed::Range(1000, 600_000);
        /// What a Flash player hears that asks for the socket policy, on a port of every protocol
        /// or of `xml`. Default: that nothing is permitted.
        flash_policy: String = r#"'<?xml version="1.0"?><cross-domain-policy><site-control permitted-cross-domain-policies="none"/></cross-domain-policy>'"#, Allowed::Document(FLASH_POLICY_BYTES_MAX);
        table connserver: ConnserverSection;
    }
    ConnserverSection = "protocol.connserver" {
        /// Percent-encode on output and decode on input. Off: as raw as the original.
        percent: bool = "true", Allowed::Switch;
        /// Leave out `seq`, which the original did not send.
        legacy: bool = "false", Allowed::Switch;
        /// An unknown method closes the connection, as in the original.
        strict: bool = "false", Allowed::Switch;
    }
    WebSocketSection = "websocket" {
        /// Origins whose pages may connect. Default: pages of this machine (`localhost`, `127.0.0.1`,
        /// `[::1]`) may, and no others. Clients that are no browsers name no origin, and may always.
        origins: Vec<String> = "[]", Allowed::Origins;
        /// Longest HTTP request for an upgrade, in bytes; a longer one is refused with
        /// `header-too-large`.
        header_bytes_max: u64 = "8192", Allowed::Range(512, 65_536);
    }
    TlsSection = "tls" {
        /// Certificate of the server in PEM form, with those behind it that lead to one that clients
        /// trust. SIGHUP reads it again. Default: none, and no TLS.
        certificate: PathBuf = "", Allowed::File;
        /// The certificate's private key in PEM form.
        key: PathBuf = "", Allowed::File;
        /// Connections that are not in TLS are closed with `tls-required`.
        required: bool = "false", Allowed::Switch;
        /// Handshakes that a shard answers in one turn, about a millisecond each; the others wait
        /// for the next.
        handshakes_per_turn_max: u64 = "4", Allowed::Range(1, 1024);
    }
    LimitsSection = "limits" {
        /// Open connections of one shard; fewer than the hard limit on descriptors.
        connections_max: u64 = "16384", Allowed::Range(1, 1_048_576);
        /// Open connections of one shard whose clients have not logged in; the next is closed with
        /// `too-many-unauthenticated`.
        unauthenticated_max: u64 = "4096", Allowed::Range(1, 1_048_576);
        /// Open connections from one address, over all shards; one more is closed with
        /// `too-many-connections`. Of IPv6 the first 64 bits are the address. Behind a proxy that is
        /// none of `protocol.proxies` all clients share its address.
        connections_per_address_max: u64 = "1024", Allowed::Range(1, 268_435_456);
        /// Logins and resumes from one address in a minute, whatever comes of them; one more is
        /// closed with `login-rate`. As many may come at once. 0: any number.
        logins_per_minute_per_address: u64 = "6000", Allowed::Range(0, 1_000_000_000);
        /// Logins of one user in a minute, but those refused for another reason; one more is
        /// refused with `account-login-rate`. As many may come at once. 0: any number.
        logins_per_minute_per_account: u64 = "600", Allowed::Range(0, 1_000_000_000);
        /// Users, and addresses without a connection, whose logins of the last minute one shard
        /// remembers; with one more it forgets the oldest.
        addresses_max: u64 = "65536", Allowed::Range(1, 16_777_216);
        /// Time from a connection's beginning within which its client has to be logged in, in
        /// milliseconds; then it is closed with `login-timeout`.
        login_ms: u64 = "10000", Allowed::Range(100, 600_000);
        /// Tickets that a shard checks in one turn, about 50 microseconds each; the other logins wait
        /// for the next.
        tickets_per_turn_max: u64 = "16", Allowed::Range(1, 1024);
        /// Longest frame of a client that has not logged in, in bytes; a longer one closes with
        /// `frame-too-large`. At most `protocol.frame_bytes_max` in any case.
        unauthenticated_frame_bytes_max: u64 = "4096", Allowed::Range(256, MIB);
        /// Time within which a frame that has begun has to be whole, in milliseconds; then the
        /// connection is closed with `frame-timeout`.
        frame_ms: u64 = "10000", Allowed::Range(100, 600_000);
        /// Messages in a second on one connection; one more is refused with `message-rate`. 0: any
        /// number.
        messages_per_s: u64 = "200", Allowed::Range(0, 1_000_000_000);
        /// Messages at once on one connection that was silent long enough.
        messages_burst: u64 = "2000", Allowed::Range(1, 1_000_000_000);
        /// Messages refused with `message-rate`, less those taken since, with which a connection is
        /// closed.
        refusals_before_close: u64 = "200", Allowed::Range(1, 1_000_000_000);
        /// Bytes in a second on one connection; more wait until it is their time, and with more that
        /// are no messages it is closed with `byte-rate`. 0: any number.
        bytes_per_s: u64 = "262144", Allowed::Range(0, 1024 * GIB);
        /// Bytes at once on one connection that was silent long enough.
        bytes_burst: u64 = "2097152", Allowed::Range(1, 1024 * GIB);
        /// Messages in a second, and as many at once, on one connection whose user has the role `worker`,
        /// in place of `limits.messages_per_s`.
        worker_messages_per_s: u64 = "1000000", Allowed::Range(1, 1_000_000_000);
        /// Bytes in a second, and as many at once, on one connection whose user has the role `worker`, in
        /// place of `limits.bytes_per_s`.
        worker_bytes_per_s: u64 = "268435456", Allowed::Range(1, 1024 * GIB);
        /// Bytes that wait to be sent on one connection; one with more is closed with
        /// `slow-consumer`. With more than half of it a client goes without heartbeats. Before the
        /// login it is at most six times `limits.unauthenticated_frame_bytes_max`.
        send_queue_bytes_max: u64 = "393216", Allowed::Range(KIB, GIB);
        /// Bytes that wait to be sent on all connections of one shard; one to which more would be
        /// added is closed with `slow-consumer`.
        send_queues_bytes_max: u64 = "268435456", Allowed::Range(KIB, 1024 * GIB);
        /// Requests that wait in one partition; the next is answered `busy`. As many notices of
        /// objects may wait for its rooms; the next is dropped.
        partition_events_max: u64 = "1024", Allowed::Range(1, 1_048_576);
        /// Rooms in which one session is; the next is answered `too-many-rooms`.
        rooms_per_session_max: u64 = "64", Allowed::Range(1, 65_536);
        /// Members up to which a room is told of each `joined` and `left`; a larger one is told its
        /// number of `members`, at most once a second.
        presence_members_max: u64 = "100", Allowed::Range(0, 1_048_576);
        /// Members above which a room gathers its messages.
        gather_members_min: u64 = "1000", Allowed::Range(0, 1_048_576);
        /// Longest time for which a message is gathered, in milliseconds. 0: none is.
        gather_ms: u64 = "50", Allowed::Range(0, 1000);
        /// Bytes in a second that a room sends because of one member: what the member says there, and
        /// changes of objects there, count in packed form once for each who hears it; more is refused
        /// with `fan-out-rate`. 0: any number.
        fan_out_bytes_per_s: u64 = "2097152", Allowed::Range(0, 1024 * GIB);
        /// Bytes of that at once; a message that comes to more is always refused.
        fan_out_burst_bytes: u64 = "33554432", Allowed::Range(1, 1024 * GIB);
        /// Worlds of one shard that are awake: with somebody in them, or NPCs left just now. Who would join one more is answered
        /// `too-many-worlds`.
        worlds_max: u64 = "4096", Allowed::Range(1, 1_048_576);
        /// Ticks in a second that a world may have; a `tick_hz` above is answered `tick-rate-too-high`. A
        /// world that was made with more ticks as often as this.
        world_tick_hz_max: u64 = "60", Allowed::Range(1, 60);
        /// Entities of one world; the next to join is answered `world-full`.
        world_entities_max: u64 = "16384", Allowed::Range(1, 65_535);
        /// NPCs of one world; a field `npcs` that asks for more is answered `too-many-npcs`.
        world_npcs_max: u64 = "10000", Allowed::Range(0, 65_535);
        /// NPCs of all worlds of one shard; who joins a world that would wake with more is answered
        /// `npcs-full`.
        npcs_max: u64 = "100000", Allowed::Range(0, 16_777_216);
        /// Bytes of frames in a second that one member of a world gets: where more would be to tell,
        /// the far cells of its view are told at every second, fourth or eighth tick, and then the
        /// near ones. A view that is too full even so gets more.
        world_bytes_per_s: u64 = "65536", Allowed::Range(256, GIB);
        /// Time for which a member of a world may take no frames, in milliseconds; then it is closed
        /// with `slow-consumer`.
        frame_stall_ms: u64 = "10000", Allowed::Range(100, DAY_MS);
        /// Size of one object in packed form, in bytes; a larger one is answered `object-too-large`.
        object_bytes_max: u64 = "65536", Allowed::Range(256, MIB);
        /// Objects of one partition; the next is answered `partition-full`.
        objects_per_partition_max: u64 = "65536", Allowed::Range(1, 16_777_216);
        /// Bytes in memory of one partition's objects; one more is answered
        /// `partition-memory-full`.
        partition_bytes_max: u64 = "67108864", Allowed::Range(MIB, 64 * GIB);
        /// Bytes in memory of one shard's objects, those of users among them; one more is answered
        /// `server-full`.
        state_bytes_max: u64 = "4294967296", Allowed::Range(MIB, 1024 * GIB);
        /// Objects that one session watches; the next is answered `too-many-watches`.
        watches_per_session_max: u64 = "256", Allowed::Range(1, 65_536);
        /// Bytes that wait for another shard whose ring is full. Above half of it a shard takes
        /// no new client events.
        mesh_staging_bytes_max: u64 = "4194304", Allowed::Range(KIB, GIB);
        /// Users and ranges of addresses that are banned; the next ban is refused with
        /// `too-many-bans`.
        bans_max: u64 = "10000", Allowed::Range(1, 100_000);
        /// Time for which a room made by `join` stays when it is empty, in milliseconds.
        room_grace_ms: u64 = "10000", Allowed::Range(0, DAY_MS);
        /// Sessions of one shard that wait to be resumed; one more ends the oldest.
        detached_sessions_max: u64 = "65536", Allowed::Range(1, 16_777_216);
        /// Messages that one session is told again at most; a client that missed more is answered
        /// `resume-too-old`. So is one that missed more bytes than half of
        /// `limits.send_queue_bytes_max`.
        replay_messages_max: u64 = "1024", Allowed::Range(1, 1_048_576);
        /// Bytes of all messages of one shard that are kept to be told again, each once however
        /// many sessions heard it; a client whose oldest missed message is no longer there is
        /// answered `resume-too-old`.
        replay_bytes_max: u64 = "67108864", Allowed::Range(KIB, 64 * GIB);
        /// Deliveries of one shard that are remembered, 16 bytes each: which session heard which
        /// message. So many divided by the deliveries in a second should be more than
        /// `session.grace_ms`; a client that missed one that is forgotten is answered
        /// `resume-too-old`.
        replay_links_max: u64 = "8388608", Allowed::Range(1024, 1_073_741_824);
        /// Bytes in a second that are kept of what one session alone is told, its replies above all;
        /// half of `limits.send_queue_bytes_max` at once. What is more is told and not kept: who is
        /// cut before hearing it is answered `resume-too-old`. 0: any number.
        replay_bytes_per_s: u64 = "16384", Allowed::Range(0, 1024 * GIB);
        /// Tasks of one partition that are not done, or are remembered by their keys.
        tasks_per_partition_max: u64 = "4096", Allowed::Range(1, 1_048_576);
        /// Bytes of replies and notices of one shard that wait until what they tell of is durable; then
        /// requests with `ack=durable` are answered `log-behind`. One event may add more.
        log_wait_bytes_max: u64 = "16777216", Allowed::Range(KIB, 64 * GIB);
        /// `join` makes the room when there is none.
        join_creates_rooms: bool = "true", Allowed::Switch;
    }
    SessionSection = "session" {
        /// Time for which a session without a connection waits to be resumed, in milliseconds. 0:
        /// sessions end with their connections, and nothing is kept to be told again.
        grace_ms: u64 = "30000", Allowed::Range(0, DAY_MS);
    }
    WorldsSection = "worlds" {
        /// Time in one turn of a shard for moving NPCs, in microseconds. It comes after everything else
        /// in the turn; NPCs for which it is too short are moved in the next.
        npc_turn_us: u64 = "250", Allowed::Range(1, 100_000);
    }
    TasksSection = "tasks" {
        /// Methods that workers do, known before the first of them is there: until then their requests
        /// wait. Others are known from when a worker says that it does them.
        methods: Vec<String> = "[]", Allowed::List(METHODS_MAX as u32, "names");
    }
    PluginsSection = "plugins" {
        /// Native libraries whose methods and behaviours are done inline, loaded at the start in this order. One that cannot
        /// be loaded ends the start.
        files: Vec<String> = "[]", Allowed::List(64, "paths of files");
        /// Time that one call of a plugin may take, in microseconds. A longer one is a strike. A call of a
        /// behaviour moves 64 NPCs at most.
        call_us_max: u64 = "1000", Allowed::Range(1, 10_000_000);
        /// Strikes within a minute after which a version of a plugin is called no more, if they are also more than
        /// one in 100 of the plugin's calls in it: its methods answer `plugin-disabled`, and its NPCs stand,
        /// until it is loaded again.
        strikes_max: u64 = "100", Allowed::Range(1, 1_000_000_000);
    }
    ReactorSection = "reactor" {
        /// Longest time between two turns of a shard that has work, in microseconds.
        turn_interval_us: u64 = "1100", Allowed::Range(10, 100_000);
        /// Receive buffers of one shard.
        receive_buffers: u64 = "4096", Allowed::PowerOfTwo(16, 32_768);
        /// Size of one receive buffer, in bytes.
        receive_buffer_bytes: u64 = "2048", Allowed::Range(256, 65_536);
    }
    StorageSection = "storage" {
        /// How soon a changed object is handed over to the snapshots, in milliseconds: about as much
        /// of the delta log is replayed after a kill. Without `server.data` nothing is stored.
        snapshot_interval_ms: u64 = "5000", Allowed::Range(10, 600_000);
        /// Bytes of a segment of the delta log: each is a file, whose room is taken at once, and is removed
        /// when the snapshots have all that is in it. A commit that is longer gets one of its length.
        segment_bytes: u64 = "67108864", Allowed::Multiple(BLOCK_BYTES as u32, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
    }
    ExportSection = "export" {
        /// The Postgres to which all objects are exported: `"host=… dbname=… user=…"` or
        /// `"postgres://…"`. Default: none, and nothing is exported. It needs `server.data`.
        postgres: String = "", Allowed::Connection;
        /// File with the password for it, in its first line, not open to others: 0600, or 0640 for a
        /// group. Default: what `PGPASSWORD` says.
        password_file: PathBuf = "", Allowed::File;
        /// The schema there with the tables, which are made when they are missing.
        schema: String = r#""warren""#, Allowed::Schema;
        /// Time for which changes are gathered before they are exported, in milliseconds.
        interval_ms: u64 = "500", Allowed::Range(1, 600_000);
        /// Longest time that one answer of Postgres may take, in milliseconds; then the connection is
        /// given up, and made anew.
        timeout_ms: u64 = "30000", Allowed::Range(100, 3_600_000);
        /// Bytes of the delta log beyond which it no longer waits for the exporter, which then copies
        /// all objects anew: four times `storage.segment_bytes` at least.
        log_bytes_max: u64 = "4294967296", Allowed::Range(MIB, 1024 * GIB);
        /// Whether tables that hold another world, or another history of this one, are replaced. Without
        /// it they stay as they are, and nothing is exported.
        replace: bool = "false", Allowed::Switch;
    }
    LogSection = "log" {
        /// How the lines on standard error look: for people, or one JSON object each.
        format: String = r#""text""#, Allowed::Words(LOG_FORMATS);
        /// The least important lines that are written.
        level: String = r#""info""#, Allowed::Words(LOG_LEVELS);
    }
}

/// The configuration file as it stands.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigFile {
    pub(super) server: ServerSection,
    pub(super) auth: AuthSection,
    pub(super) methods: MethodSections,
    pub(super) admin: AdminSection,
    pub(super) protocol: ProtocolSection,
    pub(super) websocket: WebSocketSection,
    pub(super) tls: TlsSection,
    pub(super) limits: LimitsSection,
    pub(super) session: SessionSection,
    pub(super) worlds: WorldsSection,
    pub(super) tasks: TasksSection,
    pub(super) workers: WorkersSections,
    pub(super) plugins: PluginsSection,
    pub(super) reactor: ReactorSection,
    pub(super) storage: StorageSection,
    pub(super) export: ExportSection,
    pub(super) log: LogSection,
}
