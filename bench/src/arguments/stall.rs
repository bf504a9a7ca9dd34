//! What the command `stall` takes.

use clap::{Args, ValueEnum, value_parser};
use serde::Serialize;

use super::{LoadArguments, ProfileName, RoundsArguments};
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
    /// The rounds, and the server.
    #[command(flatten)]
    pub rounds: RoundsArguments,
}

impl StallArguments {
    /// What users do.
    #[must_use]
    pub fn load(&self) -> LoadArguments {
        let times = (self.warm_up, self.duration);
        self.rounds.load(ProfileName::Chat, self.users, times, Protocol::Binary)
    }
}
