//! What the command `stall` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};
use serde::Serialize;

use super::{LoadArguments, ProfileName};
use crate::attack::parse_setting;
use crate::wire::Protocol;

/// What stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Stalled {
    /// The file system of the data folder: one of its own, which is frozen
    Disk,
    /// The PostgreSQL to which the server exports: one of its own, all of whose processes are stopped
    Postgres,
}

/// What `stall` takes.
#[derive(Clone, Debug, Args)]
pub struct StallArguments {
    /// What stands still
    #[arg(value_enum)]
    pub what: Stalled,
    /// Number of users, who chat
    #[arg(long, default_value_t = 2_000, value_parser = value_parser!(u32).range(2..=20_000))]
    pub users: u32,
    /// Milliseconds between two messages of one
    #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u32).range(20..=60_000))]
    pub period_ms: u32,
    /// Milliseconds between two sets of one; every second user waits until they are durable
    #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u32).range(20..=60_000))]
    pub set_period_ms: u32,
    /// Seconds of each phase that are measured, and for which all stands still in every second one
    #[arg(long, default_value_t = 6, value_parser = value_parser!(u32).range(1..=60))]
    pub duration: u32,
    /// Seconds of the same before that
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=3600))]
    pub warm_up: u32,
    /// How often phases without and with the stall take turns
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

impl StallArguments {
    /// What users do.
    #[must_use]
    pub fn load(&self) -> LoadArguments {
        LoadArguments {
            profile: ProfileName::Chat,
            users: self.users,
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
