//! The command line.

mod stall;
mod tasks;

use std::net::{SocketAddr, SocketAddrV4, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

pub use self::stall::{StallArguments, Stalled};
pub use self::tasks::TasksArguments;
use crate::attack::parse_setting;
use crate::attack::scenario::Scenario;
use crate::behaviour::BehaviourArguments;
use crate::plugin::PluginArguments;
use crate::profile::ai::Wander;
use crate::profile::{Profile, ai, chat, crowd, durable, idle, mixed, open_world, storm, walk};
use crate::wire::Protocol;

/// Most users that room and user names of one length have numbers for.
const USERS_MAX: i64 = 1_000_000;

/// How many users, doing what, within which latency?
#[derive(Debug, Parser)]
#[command(
    name = "warren-bench",
    version,
    about,
    after_help = "Exit status: 0 pass, 1 fail, \
    2 could not be run, 3 generator-bound."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Measure a server, and the floor beside it
    Run(RunArguments),
    /// Find the highest number of users that holds the profile's bound
    #[command(mut_arg("users", |users| users
        .required(false)
        .default_value("1000")
        .help("The first number of users that is tried")))]
    Search(SearchArguments),
    /// Compare two servers: turn by turn, by the same generators, without the floor
    Ab(AbArguments),
    /// Compare reports of `run` or `floor`: what changed, and whether that matters
    Compare(CompareArguments),
    /// Measure the floor alone: the same traffic between bare sockets, no server
    Floor(LoadArguments),
    /// Measure many objects: memory, start, and chat while they are stored
    Objects(ObjectsArguments),
    /// Measure tasks: how many a second go through the queue and workers, and how long an answer takes
    Tasks(TasksArguments),
    /// Attack a server beside legal users: latency, memory, and the reasons that are given
    Attack(AttackArguments),
    /// Let what a server writes to stand still: latency beside it, and what is there afterwards
    #[command(
        after_help = "Exit status: as of the others, and 77 where the machine does not let it: \
        it takes root, mkfs.ext4 and mount."
    )]
    Stall(StallArguments),
    /// Measure what a call of a native plugin costs, beside a built-in method that does the same
    Plugin(PluginArguments),
    /// Measure what NPCs cost that a native plugin moves, beside those of the server's own behaviour
    Behaviour(BehaviourArguments),
    /// Be a worker that does nothing; started by `tasks`
    #[command(hide = true)]
    HoldTasks {
        /// Where the server listens.
        address: String,
    },
    /// Be an attacker; started by `attack`
    #[command(hide = true)]
    Attacker,
    /// Be a generator; started by the others
    #[command(hide = true)]
    Generate,
    /// Be the floor's server; started by `run` and `floor`
    #[command(hide = true)]
    FloorServer {
        /// Number of threads.
        #[arg(long)]
        shards: usize,
        /// Connections of each.
        #[arg(long)]
        connections_max: u32,
        /// Milliseconds between two heartbeats.
        #[arg(long)]
        heartbeat_ms: u64,
    },
}

/// What users do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileName {
    /// No rooms; heartbeats, and pings
    Idle,
    /// Rooms of 8; each user says 64 bytes every 10 s
    Chat,
    /// One room with everyone; each user says 64 bytes every 100 s
    Crowd,
    /// Worlds of 50, all in view; each user moves ten times a second
    Walk,
    /// One world with everyone, about 60 in view; each user moves ten times a second
    OpenWorld,
    /// As walk, among four NPCs for each user; each user says 64 bytes every 2 s
    Ai,
    /// As ai, and those that wander are moved by a native plugin, which is compiled for the run
    AiNative,
    /// As ai, and those that wander are moved by a worker in Python, which the server starts
    AiPython,
    /// As chat, and all are cut at one moment and come back within 3 s
    Storm,
    /// No rooms; each user sets an object of its own every second, and waits until that is durable
    Durable,
    /// As walk, and each user sets an object of its own every 10 s, and waits until that is durable
    Mixed,
}

/// The load, of `run` and of `floor`.
#[derive(Clone, Debug, Args)]
pub struct LoadArguments {
    /// What each user does
    #[arg(value_enum)]
    pub profile: ProfileName,
    /// Number of users
    #[arg(long, value_parser = value_parser!(u32).range(1..=USERS_MAX))]
    pub users: u32,
    /// Seconds that are measured
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u32).range(1..=3600))]
    pub duration: u32,
    /// Seconds of the same load before that
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(0..=3600))]
    pub warm_up: u32,
    /// Users in a room, for `chat` and `storm` [default: 8], or in a world, for `walk` and `ai` [default: 50]
    #[arg(long, value_parser = value_parser!(u32).range(1..=1000))]
    pub room_size: Option<u32>,
    /// Milliseconds between two sets of a user, for `durable` [default: 1,000] and `mixed` [default: 10,000]
    #[arg(long, value_parser = value_parser!(u32).range(10..=600_000))]
    pub set_period_ms: Option<u32>,
    /// Milliseconds between two heartbeats: of servers that are started, or as the server has it
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(1_000..=600_000))]
    pub heartbeat_ms: u64,
    /// Shards of the server, each on a core of its own
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=256))]
    pub shards: u16,
    /// What is spoken; the floor's frames are as long
    #[arg(long, value_enum, default_value_t = Protocol::Binary)]
    pub protocol: Protocol,
    /// Speak it in TLS 1.3, with a certificate made for the run; the floor has none
    #[arg(long)]
    pub tls: bool,
    /// Generator processes [default: one for every 8,000 users]
    #[arg(long, value_parser = value_parser!(u16).range(1..=256))]
    pub generators: Option<u16>,
    /// Write the report as JSON, and the latencies beside it as .hgrm
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as a page that stands alone
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// What `run` takes besides.
#[derive(Clone, Debug, Args)]
pub struct RunArguments {
    /// The load.
    #[command(flatten)]
    pub load: LoadArguments,
    /// The server.
    #[command(flatten)]
    pub target: Target,
    /// Leave the floor out
    #[arg(long)]
    pub no_floor: bool,
}

/// Which server is measured, of `run` and of `search`.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// Measure a server that runs already, instead of starting one
    #[arg(long, value_name = "ADDR", value_parser = parse_address, conflicts_with = "tls")]
    pub connect: Option<SocketAddrV4>,
    /// The process whose shards are counted and whose CPU is read, with --connect
    #[arg(long, value_name = "PID", requires = "connect")]
    pub server_pid: Option<u32>,
    /// Where its /metrics are read, with --connect
    #[arg(long, value_name = "ADDR", value_parser = parse_address, requires = "connect")]
    pub admin: Option<SocketAddrV4>,
    /// The server to start [default: `warren` beside this program]
    #[arg(long, value_name = "PATH", conflicts_with = "connect")]
    pub server: Option<PathBuf>,
}

/// What `search` takes besides.
#[derive(Clone, Debug, Args)]
pub struct SearchArguments {
    /// The load; its number of users is the first that is tried.
    #[command(flatten)]
    pub load: LoadArguments,
    /// The server.
    #[command(flatten)]
    pub target: Target,
    /// The most users that are tried
    #[arg(long, value_name = "N", default_value_t = USERS_MAX as u32,
        value_parser = value_parser!(u32).range(1..=USERS_MAX))]
    pub users_max: u32,
    /// How near the numbers that are held and not held have to come, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 5,
        value_parser = value_parser!(u32).range(1..=100))]
    pub precision: u32,
    /// How often a number is tried before it counts as not held
    #[arg(long, value_name = "N", default_value_t = 2,
        value_parser = value_parser!(u32).range(1..=10))]
    pub tries: u32,
    /// Seconds within which the last try is to end
    #[arg(long, value_name = "S", default_value_t = 1_200,
        value_parser = value_parser!(u32).range(1..=86_400))]
    pub time: u32,
}

/// What `compare` takes.
#[derive(Clone, Debug, Args)]
pub struct CompareArguments {
    /// Reports of the one that is compared with: JSON files, with commas between several
    #[arg(value_name = "OLD.json")]
    pub old: Paths,
    /// Reports of the one that is compared
    #[arg(value_name = "NEW.json")]
    pub new: Paths,
    /// A smaller change does not matter, however sure it is, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = parse_percent)]
    pub tolerance: f64,
    /// Compare reports of different loads, machines or settings
    #[arg(long)]
    pub allow_different: bool,
    /// Write the comparison as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Files that are told with commas between: one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths(pub Vec<PathBuf>);

impl FromStr for Paths {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text.split(',').any(str::is_empty) {
            return Err("a file without a name".to_owned());
        }
        Ok(Self(text.split(',').map(PathBuf::from).collect()))
    }
}

/// What `ab` takes.
#[derive(Clone, Debug, Args)]
pub struct AbArguments {
    /// The load.
    #[command(flatten)]
    pub load: LoadArguments,
    /// One server
    #[arg(long, value_name = "PATH")]
    pub old: PathBuf,
    /// The other
    #[arg(long, value_name = "PATH")]
    pub new: PathBuf,
    /// A key of the first one's configuration, as often as wanted
    #[arg(long = "set-old", value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings_old: Vec<(String, String)>,
    /// A key of the other's
    #[arg(long = "set-new", value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings_new: Vec<(String, String)>,
    /// Runs of each
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    pub runs: u32,
}

/// What `objects` takes.
#[derive(Clone, Debug, Args)]
pub struct ObjectsArguments {
    /// Number of objects
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..=100_000_000))]
    pub count: u32,
    /// Number of users, who chat
    #[arg(long, default_value_t = 2_000, value_parser = value_parser!(u32).range(1..=USERS_MAX))]
    pub users: u32,
    /// Users in a room
    #[arg(long, default_value_t = chat::ROOM_SIZE, value_parser = value_parser!(u32).range(1..=1000))]
    pub room_size: u32,
    /// Seconds of each chat that are measured
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u32).range(1..=3600))]
    pub duration: u32,
    /// Seconds of the same chat before that
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(0..=3600))]
    pub warm_up: u32,
    /// Shards of the server, each on a core of its own
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=256))]
    pub shards: u16,
    /// The server to start [default: `warren` beside this program]
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl ObjectsArguments {
    /// The chat beside the objects.
    #[must_use]
    pub fn load(&self) -> LoadArguments {
        LoadArguments {
            profile: ProfileName::Chat,
            users: self.users,
            duration: self.duration,
            warm_up: self.warm_up,
            room_size: Some(self.room_size),
            set_period_ms: None,
            heartbeat_ms: 10_000,
            shards: self.shards,
            protocol: Protocol::Binary,
            tls: false,
            generators: None,
            json: None,
            html: None,
        }
    }
}

/// What `attack` takes.
#[derive(Clone, Debug, Args)]
pub struct AttackArguments {
    /// The attack [default: all, one after the other]
    #[arg(long, value_enum)]
    pub scenario: Option<Scenario>,
    /// Number of legal users [default: 2,000 who chat, 1,000 in a world]
    #[arg(long, value_parser = value_parser!(u32).range(1..=20_000))]
    pub users: Option<u32>,
    /// Milliseconds between two messages of one who chats: often enough for a server that has work
    #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u32).range(20..=60_000))]
    pub period_ms: u32,
    /// Seconds of each phase that are measured
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u32).range(1..=3600))]
    pub duration: u32,
    /// Seconds of the same before that
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u32).range(0..=3600))]
    pub warm_up: u32,
    /// What legal users speak; in a world that is binary, and with another protocol all attacks are those
    /// on chat
    #[arg(long, value_enum, default_value_t = Protocol::Binary)]
    pub protocol: Protocol,
    /// The rounds, and the server.
    #[command(flatten)]
    pub rounds: RoundsArguments,
}

impl AttackArguments {
    /// The attacks in turn.
    #[must_use]
    pub fn scenarios(&self) -> Vec<Scenario> {
        let can = |scenario: &Scenario| {
            self.protocol == Protocol::Binary || scenario.profile() == ProfileName::Chat
        };
        let all = || Scenario::value_variants().iter().copied().filter(can).collect();
        self.scenario.map_or_else(all, |one| vec![one])
    }

    /// What legal users do beside an attack.
    #[must_use]
    pub fn load(&self, scenario: Scenario) -> LoadArguments {
        let users = self.users.unwrap_or(scenario.users());
        self.rounds.load(scenario.profile(), users, (self.warm_up, self.duration), self.protocol)
    }
}

/// What takes a run whose phases take turns, without something and with it.
#[derive(Clone, Debug, Args)]
pub struct RoundsArguments {
    /// How often phases without and with it take turns
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Shards of the server, each on a core of its own
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=256))]
    pub shards: u16,
    /// The server to start [default: `warren` beside this program]
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,
    /// A key of the server's configuration, as often as wanted
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl RoundsArguments {
    /// What so many users do in a phase, with the seconds before the measured part and of it.
    fn load(
        &self,
        profile: ProfileName,
        users: u32,
        (warm_up, duration): (u32, u32),
        protocol: Protocol,
    ) -> LoadArguments {
        LoadArguments {
            profile,
            users,
            duration,
            warm_up,
            room_size: None,
            set_period_ms: None,
            heartbeat_ms: 10_000,
            shards: self.shards,
            protocol,
            tls: false,
            generators: None,
            json: None,
            html: None,
        }
    }
}

/// Most connections of one generator: a part of the usual limit of descriptors, and of a core.
const CONNECTIONS_PER_GENERATOR_MAX: u32 = 8_000;

impl LoadArguments {
    /// The profile with the arguments that bear on it.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let heartbeat_ns = self.heartbeat_ms * 1_000_000;
        let world_size = self.room_size.unwrap_or(walk::WORLD_SIZE);
        match self.profile {
            ProfileName::Idle => idle::profile(self.protocol, heartbeat_ns),
            ProfileName::Chat => {
                chat::profile(self.room_size.unwrap_or(chat::ROOM_SIZE), heartbeat_ns)
            }
            ProfileName::Crowd => crowd::profile(self.users, heartbeat_ns),
            ProfileName::Walk => walk::profile(world_size, heartbeat_ns),
            ProfileName::OpenWorld => open_world::profile(self.users, heartbeat_ns),
            ProfileName::Ai => ai::profile(world_size, Wander::BuiltIn, heartbeat_ns),
            ProfileName::AiNative => ai::profile(world_size, Wander::Native, heartbeat_ns),
            ProfileName::AiPython => ai::profile(world_size, Wander::Python, heartbeat_ns),
            ProfileName::Storm => {
                storm::profile(self.room_size.unwrap_or(chat::ROOM_SIZE), heartbeat_ns)
            }
            ProfileName::Durable => {
                durable::profile(self.set_period_ms.unwrap_or(durable::PERIOD_MS), heartbeat_ns)
            }
            ProfileName::Mixed => {
                let period_ms = self.set_period_ms.unwrap_or(mixed::PERIOD_MS);
                mixed::profile(world_size, period_ms, heartbeat_ns)
            }
        }
    }

    /// Refuses options that do not bear on the profile.
    ///
    /// # Errors
    /// The option, in words.
    pub fn check(&self) -> Result<()> {
        let chooses = matches!(
            self.profile,
            ProfileName::Chat
                | ProfileName::Storm
                | ProfileName::Walk
                | ProfileName::Ai
                | ProfileName::AiNative
                | ProfileName::AiPython
                | ProfileName::Mixed
        );
        ensure!(
            self.room_size.is_none() || chooses,
            "--room-size is for chat, storm, walk, ai and mixed: other profiles have no choice of rooms"
        );
        let profile = self.profile();
        ensure!(
            self.set_period_ms.is_none() || profile.sets.is_some(),
            "--set-period-ms is for durable and mixed: in other profiles nobody sets anything"
        );
        ensure!(
            profile.sets.is_none() || self.protocol == Protocol::Binary,
            "objects are set over binary alone"
        );
        ensure!(
            self.profile != ProfileName::Storm || self.duration >= storm::DURATION_S_MIN,
            "storm takes --duration {} at least: all are to be back before the end",
            storm::DURATION_S_MIN
        );
        let has_worlds = profile.side_cells.is_some();
        ensure!(
            !has_worlds || self.protocol == Protocol::Binary,
            "worlds are played over binary alone"
        );
        let users_max = self.profile_users_max();
        ensure!(self.users <= users_max, "one world has {users_max} users at most");
        Ok(())
    }

    /// The most users that the profile can have.
    #[must_use]
    pub fn profile_users_max(&self) -> u32 {
        match self.profile {
            ProfileName::OpenWorld => open_world::USERS_MAX,
            _ => USERS_MAX as u32,
        }
    }

    /// Number of generator processes: no more than users.
    #[must_use]
    pub fn generator_count(&self) -> u32 {
        let default = self.users.div_ceil(CONNECTIONS_PER_GENERATOR_MAX);
        self.generators.map_or(default, u32::from).min(self.users)
    }
}

fn parse_percent(text: &str) -> std::result::Result<f64, String> {
    let percent = text.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "no number from 0 to 100".to_owned())
}

fn parse_address(text: &str) -> std::result::Result<SocketAddrV4, String> {
    let mut addresses = text.to_socket_addrs().map_err(|error| error.to_string())?;
    let found = addresses.find_map(|address| match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    });
    found.ok_or_else(|| "no IPv4 address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> std::result::Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn one_generator_has_at_most_eight_thousand_connections() {
        for (arguments, count) in [
            ("--users 1", 1),
            ("--users 8000", 1),
            ("--users 8001", 2),
            ("--users 24000", 3),
            ("--users 64 --generators 2", 2),
            ("--users 1 --generators 2", 1),
        ] {
            let parsed = parse(&format!("warren-bench floor chat {arguments}")).unwrap();
            let Action::Floor(load) = parsed.action else { panic!("not floor") };
            assert_eq!(load.generator_count(), count, "{arguments}");
        }
    }

    #[test]
    fn every_protocol_is_chosen_by_its_name() {
        for protocol in Protocol::value_variants() {
            let line = format!("warren-bench floor chat --users 8 --protocol {}", protocol.label());
            let Action::Floor(load) = parse(&line).unwrap().action else { panic!("not floor") };
            assert_eq!(load.protocol, *protocol);
        }
    }

    #[test]
    fn what_makes_no_run_is_refused() {
        for arguments in [
            "run chat",
            "run talk --users 8",
            "run chat --users 0",
            "run chat --users 8 --duration 0",
            "run chat --users 8 --room-size 0",
            "run chat --users 8 --shards 0",
            "run chat --users 8 --protocol soap",
            "run chat --users 8 --server-pid 1",
            "run chat --users 8 --admin 127.0.0.1:1",
            "run chat --users 8 --connect nowhere",
            "run chat --users 8 --connect 127.0.0.1:1 --admin nowhere",
            "run chat --users 8 --connect 127.0.0.1:1 --server x",
            "run chat --users 8 --connect 127.0.0.1:1 --tls",
            "floor chat --users 8 --connect 127.0.0.1:1",
            "run chat --users 8 --heartbeat-ms 999",
            "search",
            "search chat --users 0",
            "search chat --precision 0",
            "search chat --tries 0",
            "search chat --time 0",
            "search chat --no-floor",
            "compare a.json",
            "compare a.json b.json c.json",
            "compare a.json b.json,",
            "compare a.json b.json --tolerance -1",
            "compare a.json b.json --tolerance x",
            "ab chat --users 8 --old x",
            "ab chat --users 8 --old x --new y --runs 0",
            "objects --count 0",
            "objects chat",
            "run durable --users 8 --set-period-ms 9",
            "stall",
            "stall printer",
            "stall disk --users 1",
            "stall disk --duration 0",
            "stall postgres disk",
            "stall postgres --rounds 0",
        ] {
            assert!(parse(&format!("warren-bench {arguments}")).is_err(), "{arguments}");
        }
        let connect = "run chat --users 8 --connect 127.0.0.1:1 --server-pid 5";
        assert!(parse(&format!("warren-bench {connect} --admin 127.0.0.1:2")).is_ok());
    }

    #[test]
    fn what_stands_still_is_named() {
        for (name, what) in [("disk", Stalled::Disk), ("postgres", Stalled::Postgres)] {
            let parsed = parse(&format!("warren-bench stall {name} --users 8")).unwrap();
            let Action::Stall(stall) = parsed.action else { panic!("not stall") };
            assert_eq!((stall.what, stall.users), (what, 8));
        }
    }

    #[test]
    fn a_search_begins_with_a_number_of_its_own_or_the_one_that_is_given() {
        for (arguments, first) in [("", 1_000), (" --users 50", 50)] {
            let parsed = parse(&format!("warren-bench search idle{arguments}")).unwrap();
            let Action::Search(search) = parsed.action else { panic!("not search") };
            assert_eq!((search.load.users, search.users_max), (first, 1_000_000), "{arguments}");
        }
    }

    #[test]
    fn each_side_of_a_comparison_has_one_report_or_several() {
        let parsed = parse("warren-bench compare a.json,b.json c.json").unwrap();
        let Action::Compare(compare) = parsed.action else { panic!("not compare") };
        assert_eq!(compare.old.0, ["a.json", "b.json"].map(PathBuf::from));
        assert_eq!(compare.new.0, ["c.json"].map(PathBuf::from));
    }

    #[test]
    fn a_storm_takes_long_enough_for_all_to_come_back() {
        for (duration, good) in [(7, false), (8, true)] {
            let line = format!("warren-bench run storm --users 8 --duration {duration}");
            let Action::Run(run) = parse(&line).unwrap().action else { panic!("not run") };
            assert_eq!(run.load.check().is_ok(), good, "{duration}");
        }
    }

    #[test]
    fn the_size_of_rooms_is_for_chat() {
        for (profile, good) in [("chat", true), ("storm", true), ("idle", false), ("crowd", false)]
        {
            let line = format!("warren-bench floor {profile} --users 8 --room-size 4");
            let Action::Floor(load) = parse(&line).unwrap().action else { panic!("not floor") };
            assert_eq!(load.check().is_ok(), good, "{profile}");
        }
    }

    #[test]
    fn objects_are_set_in_profiles_that_have_them_and_over_binary() {
        for (options, good) in [
            ("durable", true),
            ("durable --set-period-ms 50", true),
            ("mixed --set-period-ms 50 --room-size 10", true),
            ("durable --protocol json", false),
            ("durable --room-size 4", false),
            ("chat --set-period-ms 50", false),
        ] {
            let line = format!("warren-bench run {options} --users 8");
            let Action::Run(run) = parse(&line).unwrap().action else { panic!("not run") };
            assert_eq!(run.load.check().is_ok(), good, "{options}");
        }
    }

    #[test]
    fn users_ping_as_often_as_somebody_has_to() {
        for (protocol, rate_hz) in [("binary", 0.5), ("json", 0.05), ("connserver", 0.05)] {
            let options = format!("--users 8 --heartbeat-ms 2000 --protocol {protocol}");
            let line = format!("warren-bench floor idle {options}");
            let Action::Floor(load) = parse(&line).unwrap().action else { panic!("not floor") };
            assert_eq!(load.profile().message_rate_hz(), rate_hz, "{protocol}");
        }
    }
}
