//! What `tasks` takes.

use std::path::PathBuf;

use clap::{Args, value_parser};

use super::{LoadArguments, ProfileName};
use crate::wire::Protocol;

/// What `tasks` takes.
#[derive(Clone, Debug, Args)]
pub struct TasksArguments {
    /// Number of users, who ask
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u32).range(1..=64))]
    pub users: u32,
    /// Requests in a second of all users together [default: as many as are answered]
    #[arg(long, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub rate: Option<u32>,
    /// Requests of one user on their way, without a rate
    #[arg(long, default_value_t = 256, value_parser = value_parser!(u32).range(1..=4096))]
    pub window: u32,
    /// Objects of each user that its tasks are about: of two tasks about one the second waits
    #[arg(long, default_value_t = 512, value_parser = value_parser!(u32).range(1..=4096))]
    pub targets: u32,
    /// Number of workers
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// Microseconds that a worker of the harness takes for a task, without using its core for it
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u64).range(0..=1_000_000))]
    pub work_us: u64,
    /// So many workers after that, as often as wanted: each number for --duration, while users go on
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=64),
        conflicts_with_all = ["rate", "worker_command"])]
    pub then: Vec<u32>,
    /// Only kill a worker so often that has tasks, and say when another has them
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000),
        conflicts_with_all = ["then", "rate", "worker_command"])]
    pub kills: Option<u32>,
    /// Tasks that one worker takes at a time of each shard
    #[arg(long, default_value_t = 256, value_parser = value_parser!(u32).range(1..=1024))]
    pub credits: u32,
    /// Start this for each worker, with WARREN_URL and WARREN_TICKET: it does the method `bench.task`
    #[arg(long, value_name = "CMD")]
    pub worker_command: Option<String>,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=3600))]
    pub duration: u32,
    /// Seconds of the same load before that
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(0..=3600))]
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

impl TasksArguments {
    /// What is the same for all loads.
    #[must_use]
    pub fn load(&self) -> LoadArguments {
        LoadArguments {
            profile: ProfileName::Idle,
            // Each worker that comes is a user of its own.
            users: self.users
                + self.workers
                + self.then.iter().sum::<u32>()
                + self.kills.map_or(0, |kills| kills + 2),
            duration: self.duration,
            warm_up: self.warm_up,
            room_size: None,
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
