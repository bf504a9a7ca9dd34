//! What the parent and its generators say to each other: one JSON object a line.

use std::collections::BTreeMap;
use std::io::{Write as _, stdout};
use std::net::SocketAddrV4;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::series::Second;
use super::setters::SetReport;
use crate::histogram::Latencies;
use crate::ledger::{Tally, WorldTally};
use crate::pacing::Schedule;
use crate::profile::{Activity, Profile, Rooms};
use crate::wire::{Seat, Wire};

/// The first line: what to play.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Which of the generators this is, from 0.
    pub generator: u32,
    /// How many there are: user u is played by generator u modulo this.
    pub generator_count: u32,
    /// Users of all generators.
    pub users: u32,
    /// What they do.
    pub profile: Profile,
    /// Whether worlds may have entities that are nobody of the run.
    pub has_strangers: bool,
    /// Tells the messages of this run from those of others.
    pub run: u64,
    /// How they speak.
    pub wire: Wire,
    /// Where the server listens.
    pub addresses: Vec<SocketAddrV4>,
    /// The file with the server's certificate, if TLS is spoken.
    pub certificate: Option<PathBuf>,
    /// The core to run on.
    pub core: usize,
    /// Connects a second, at most.
    pub ramp_rate_hz: u32,
    /// Users between connect and membership at one time, at most.
    pub ramp_window: u32,
}

impl Plan {
    /// The rooms of the run.
    #[must_use]
    pub fn rooms(&self) -> Rooms {
        self.profile.rooms(self.users)
    }

    /// Where a user connects: the members of a room to one address, room by room in turn; users in
    /// turn when there are fewer rooms than addresses.
    #[must_use]
    pub fn address(&self, seat: Seat) -> SocketAddrV4 {
        // The floor has a world on one thread.
        let may_span = self.profile.activity != Activity::Move;
        let few = may_span && (self.rooms().count() as usize) < self.addresses.len();
        let number = if few { seat.user } else { seat.room };
        self.addresses[number as usize % self.addresses.len()]
    }

    /// Number of users that this generator plays.
    #[must_use]
    pub fn user_count(&self) -> u32 {
        (self.users + self.generator_count - 1 - self.generator) / self.generator_count
    }

    /// The user that a connection of this generator plays.
    #[must_use]
    pub fn user(&self, connection: u32) -> u32 {
        connection * self.generator_count + self.generator
    }
}

/// A later line: what to do now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Begin to speak at these times.
    Start {
        /// Which.
        schedule: Schedule,
        /// In worlds: the entity of each user of all generators.
        entities: Vec<(u32, u16)>,
    },
}

/// What a generator tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// Once a second.
    Progress(Progress),
    /// All users are in their rooms.
    Ready {
        /// In worlds: the entity of each user.
        entities: Vec<(u32, u16)>,
    },
    /// All users that were cut are back.
    Back,
    /// The end, without success.
    Failed {
        /// Why.
        reason: String,
    },
    /// The end: everything was said, and everything heard that was.
    Finished(Box<Report>),
}

impl Event {
    /// Writes the event to the parent.
    ///
    /// # Errors
    /// When the parent is gone.
    pub fn write(&self) -> Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        let mut out = stdout().lock();
        out.write_all(&line)?;
        Ok(out.flush()?)
    }
}

/// Where a generator stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Users in their rooms.
    pub joined: u32,
    /// Messages said.
    pub sent: u64,
    /// Messages heard.
    pub heard: u64,
    /// Connections lost.
    pub disconnects: u64,
    /// The longest latency since the last time this was told, in nanoseconds.
    pub latency_max_ns: u64,
}

/// What a generator counted besides the ledger.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Messages said.
    pub sent: u64,
    /// Messages heard, whether or not they were right.
    pub heard: u64,
    /// Answers to messages.
    pub replies: u64,
    /// Connections lost after the user was in its room.
    pub disconnects: u64,
    /// Frames that are none of the protocol.
    pub faults: u64,
    /// Heartbeats of the server, and answers to ours.
    pub heartbeats: u64,
    /// Heartbeats that were due and did not come: the server's, or its answers to ours.
    pub heartbeats_missing: u64,
    /// Heartbeats that came and were not due.
    pub heartbeats_surplus: u64,
    /// Messages about who came and went, and whatever else a room has numbered.
    pub presence: u64,
    /// Logins and joins that were tried again because the server was busy.
    pub ramp_retries: u64,
    /// Messages that were due on a lost connection.
    pub unsent: u64,
    /// Messages that the server refused, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// A refusal in words.
pub(super) fn describe(status: u16, reason: &str) -> String {
    if reason.is_empty() { status.to_string() } else { format!("{reason} ({status})") }
}

impl Counters {
    /// Counts an answer that is a refusal.
    pub(super) fn count_refusal(&mut self, status: u16, reason: &str) {
        if status != 0 {
            *self.refused.entry(describe(status, reason)).or_default() += 1;
        }
    }

    /// Adds what another generator counted.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.heard += other.heard;
        self.replies += other.replies;
        self.disconnects += other.disconnects;
        self.faults += other.faults;
        self.heartbeats += other.heartbeats;
        self.heartbeats_missing += other.heartbeats_missing;
        self.heartbeats_surplus += other.heartbeats_surplus;
        self.presence += other.presence;
        self.ramp_retries += other.ramp_retries;
        self.unsent += other.unsent;
        for (reason, count) in &other.refused {
            *self.refused.entry(reason.clone()).or_default() += count;
        }
    }
}

/// The last word of a generator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Who said what and who heard it.
    pub tally: Tally,
    /// What was counted of frames of worlds.
    pub worlds: WorldTally,
    /// Intended send to hearing, of measured messages.
    pub latencies: Latencies,
    /// Intended send to the send itself, of measured messages.
    pub lateness: Latencies,
    /// Intended send to hearing, of measured lines, where users move besides.
    pub line_latencies: Latencies,
    /// All else that was counted.
    pub counters: Counters,
    /// The measured part second by second.
    pub seconds: Vec<Second>,
    /// CPU of this process while it measured, in nanoseconds.
    pub cpu_ns: u64,
    /// How long that was.
    pub elapsed_ns: u64,
    /// What users set, if they did.
    pub sets: Option<SetReport>,
    /// How users came back, if they were cut.
    pub storm: Option<StormReport>,
}

/// How users came back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StormReport {
    /// Resumes that were granted.
    pub back: u32,
    /// When the last of them was, in nanoseconds of `CLOCK_MONOTONIC`.
    pub back_last_ns: u64,
    /// How often somebody who was back had heard all that was missed.
    pub caught_up: u32,
    /// When that was last.
    pub caught_up_last_ns: u64,
    /// Resumes that were refused, and connections that ended before an answer, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Messages that were told again.
    pub replayed: u64,
    /// Lines that were due while their speakers were away, and said when they were back.
    pub lines_held: u64,
    /// Lines that had no answer at the cut, and were said again.
    pub lines_said_again: u64,
    /// Intended send to hearing, of lines that were neither held nor told again.
    pub line_latencies: Latencies,
    /// CPU of this process from the cut until its last user was back, in nanoseconds.
    pub cpu_ns: u64,
    /// How long that was.
    pub elapsed_ns: u64,
}

impl StormReport {
    /// Adds those of another generator; CPU and time are each generator's own.
    pub fn add(&mut self, other: &Self) {
        self.back += other.back;
        self.back_last_ns = self.back_last_ns.max(other.back_last_ns);
        self.caught_up += other.caught_up;
        self.caught_up_last_ns = self.caught_up_last_ns.max(other.caught_up_last_ns);
        self.replayed += other.replayed;
        self.lines_held += other.lines_held;
        self.lines_said_again += other.lines_said_again;
        self.line_latencies.merge(&other.line_latencies);
        for (reason, count) in &other.refusals {
            *self.refusals.entry(reason.clone()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_share_the_users_out() {
        for (users, generator_count) in [(64, 1), (64, 2), (65, 2), (7, 3), (2, 2)] {
            let mut played: Vec<u32> = (0..generator_count)
                .flat_map(|generator| {
                    let plan = Plan {
                        generator,
                        generator_count,
                        users,
                        profile: crate::profile::chat::profile(8, 1),
                        has_strangers: false,
                        run: 0,
                        wire: Wire::Server(crate::wire::Protocol::Json),
                        addresses: Vec::new(),
                        certificate: None,
                        core: 0,
                        ramp_rate_hz: 1,
                        ramp_window: 1,
                    };
                    (0..plan.user_count()).map(move |connection| plan.user(connection))
                })
                .collect();
            played.sort_unstable();
            assert_eq!(played, (0..users).collect::<Vec<u32>>());
        }
    }
}
