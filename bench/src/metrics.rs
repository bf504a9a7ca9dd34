//! What a server says of its own work: its `/metrics`, read before and after the measured part.

pub mod export;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

use self::export::ExportCounts;
use crate::clock;
use crate::turn_times::TurnTimes;

/// How long the server may take for each step of an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// How long a server may take to come to rest, and how often it is asked.
const SETTLE_WAIT_NS: u64 = 20_000_000_000;
const SETTLE_STEP: Duration = Duration::from_millis(100);
/// Longest answer that is read: a few hundred shards fit.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// What the shards of a server have counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Heap allocations of the shard threads.
    pub allocations: u64,
    /// Calls of `io_uring_enter`.
    pub ring_enters: u64,
    /// Messages that came from clients.
    pub messages: u64,
    /// Copies of messages handed to connections, answers among them.
    pub deliveries: u64,
    /// Turns made.
    pub turns: u64,
}

/// What the shards of a server have counted of worlds. All 0 of one without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorldCounts {
    /// Moves that were taken.
    pub moves: u64,
    /// Ticks that were run.
    pub ticks: u64,
    /// Of those, such as were late by more than half of the time between two.
    pub ticks_late: u64,
    /// Ticks that were not run.
    pub ticks_skipped: u64,
    /// Frames handed to connections.
    pub frames: u64,
    /// Frames left out for members who take them too slowly.
    pub frames_missed: u64,
    /// Frames that did not reach a shard.
    pub frames_lost: u64,
    /// Times that an NPC was moved.
    pub npc_updates: u64,
    /// Times that one was not moved before the tick for which it was due.
    pub npc_carried_over: u64,
    /// Times that one stood because nobody had its behaviour.
    pub npc_updates_unmoved: u64,
    /// Calls of plugins' behaviours.
    pub plugin_thinks: u64,
    /// Calls of plugins that took longer than they may.
    pub plugin_strikes: u64,
    /// Plugins that came to be called no more.
    pub plugins_disabled: u64,
    /// Times that a worker was asked where NPCs go.
    pub thinks_asked: u64,
    /// Such as were given up.
    pub thinks_lost: u64,
    /// Such as a worker could not say anything to.
    pub thinks_failed: u64,
}

/// What a server tells of its objects. All 0 of one that tells nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StateCounts {
    /// Objects there are.
    pub objects: u64,
    /// Bytes that they take in memory, as the server reckons.
    pub state_bytes: u64,
    /// Objects that changed and wait to be handed over.
    pub changed: u64,
    /// Objects and deletions that were stored.
    pub stored: u64,
    /// Bytes of their records.
    pub stored_record_bytes: u64,
}

/// What a server's delta log has done. All 0 of one without.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogCounts {
    /// Commits on the disk.
    pub commits: u64,
    /// Delta batches in them.
    pub records: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Time that writing and syncing took, in seconds.
    pub commit_s: f64,
}

/// Counts at one moment of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    at_ns: u64,
    counts: Counts,
    turn_times: TurnTimes,
    state: StateCounts,
    worlds: WorldCounts,
    log: LogCounts,
    export: ExportCounts,
    tls_connections: u64,
}

/// What a server has done between two readings.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// What was counted in between.
    pub counts: Counts,
    /// The time in between, in nanoseconds.
    pub elapsed_ns: u64,
    /// How long turns took in between.
    pub turn_times: TurnTimes,
    /// Objects and deletions that were stored in between.
    pub stored: u64,
    /// What was counted of worlds in between.
    pub worlds: WorldCounts,
    /// What the delta log did in between.
    pub log: LogCounts,
    /// What the exporter did in between.
    pub export: ExportCounts,
    /// Connections in TLS at the end.
    pub tls_connections: u64,
}

impl Reading {
    /// Reads `/metrics` of the server whose admin endpoint is there.
    ///
    /// # Errors
    /// When it does not answer, or not with what a Warren server tells.
    pub fn take(admin: SocketAddrV4) -> Result<Self> {
        let text = fetch(admin, "/metrics")?;
        Ok(Self {
            at_ns: clock::monotonic_ns(),
            counts: Counts::parse(&text)?,
            turn_times: TurnTimes::parse(&text),
            state: StateCounts::parse(&text),
            worlds: WorldCounts::parse(&text),
            log: LogCounts::parse(&text),
            export: ExportCounts::parse(&text),
            tls_connections: sum(&text, "warren_tls_connections").unwrap_or(0),
        })
    }

    /// Moves of worlds that were taken since.
    #[must_use]
    pub fn moves_since(&self, earlier: &Self) -> u64 {
        self.worlds.since(&earlier.worlds).moves
    }

    /// What the server told of its objects.
    #[must_use]
    pub fn state(&self) -> StateCounts {
        self.state
    }
}

impl Counts {
    fn parse(text: &str) -> Result<Self> {
        let sum = |name| sum(text, name).with_context(|| format!("there is no {name}"));
        Ok(Self {
            allocations: sum("warren_allocations_total")?,
            ring_enters: sum("warren_ring_enters_total")?,
            messages: sum("warren_messages_decoded_total")?,
            deliveries: sum("warren_deliveries_total")?,
            turns: sum("warren_turns_total")?,
        })
    }

    /// What was counted since; nothing when the server has begun anew.
    fn since(&self, earlier: &Self) -> Option<Self> {
        Some(Self {
            allocations: self.allocations.checked_sub(earlier.allocations)?,
            ring_enters: self.ring_enters.checked_sub(earlier.ring_enters)?,
            messages: self.messages.checked_sub(earlier.messages)?,
            deliveries: self.deliveries.checked_sub(earlier.deliveries)?,
            turns: self.turns.checked_sub(earlier.turns)?,
        })
    }
}

impl WorldCounts {
    fn parse(text: &str) -> Self {
        let sum = |name| sum(text, name).unwrap_or(0);
        Self {
            moves: sum("warren_world_moves_total"),
            ticks: sum("warren_world_ticks_total"),
            ticks_late: sum("warren_world_ticks_late_total"),
            ticks_skipped: sum("warren_world_ticks_skipped_total"),
            frames: sum("warren_world_frames_total"),
            frames_missed: sum("warren_world_frames_missed_total"),
            frames_lost: sum("warren_world_frames_lost_total"),
            npc_updates: sum("warren_npc_updates_total"),
            npc_carried_over: sum("warren_npc_carried_over_total"),
            npc_updates_unmoved: sum("warren_npc_updates_unmoved_total"),
            plugin_thinks: sum("warren_plugin_thinks_total"),
            plugin_strikes: sum("warren_plugin_strikes_total"),
            plugins_disabled: sum("warren_plugin_disabled"),
            thinks_asked: sum("warren_npc_thinks_asked_total"),
            thinks_lost: sum("warren_npc_thinks_lost_total"),
            thinks_failed: sum("warren_npc_thinks_failed_total"),
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            moves: self.moves.saturating_sub(earlier.moves),
            ticks: self.ticks.saturating_sub(earlier.ticks),
            ticks_late: self.ticks_late.saturating_sub(earlier.ticks_late),
            ticks_skipped: self.ticks_skipped.saturating_sub(earlier.ticks_skipped),
            frames: self.frames.saturating_sub(earlier.frames),
            frames_missed: self.frames_missed.saturating_sub(earlier.frames_missed),
            frames_lost: self.frames_lost.saturating_sub(earlier.frames_lost),
            npc_updates: self.npc_updates.saturating_sub(earlier.npc_updates),
            npc_carried_over: self.npc_carried_over.saturating_sub(earlier.npc_carried_over),
            npc_updates_unmoved: self
                .npc_updates_unmoved
                .saturating_sub(earlier.npc_updates_unmoved),
            plugin_thinks: self.plugin_thinks.saturating_sub(earlier.plugin_thinks),
            plugin_strikes: self.plugin_strikes.saturating_sub(earlier.plugin_strikes),
            plugins_disabled: self.plugins_disabled.saturating_sub(earlier.plugins_disabled),
            thinks_asked: self.thinks_asked.saturating_sub(earlier.thinks_asked),
            thinks_lost: self.thinks_lost.saturating_sub(earlier.thinks_lost),
            thinks_failed: self.thinks_failed.saturating_sub(earlier.thinks_failed),
        }
    }

    /// The share of moves of NPCs that were made before the tick for which they were due. One that is put
    /// off over several ticks is moved once in the end.
    #[must_use]
    pub fn npcs_on_time(&self) -> Option<f64> {
        ratio(self.npc_updates, self.npc_updates + self.npc_carried_over)
    }
}

impl LogCounts {
    fn parse(text: &str) -> Self {
        let sum = |name| sum(text, name).unwrap_or(0);
        let seconds = text.lines().find_map(|line| value(line, "warren_log_commit_seconds_total"));
        Self {
            commits: sum("warren_log_commits_total"),
            records: sum("warren_log_records_total"),
            bytes: sum("warren_log_record_bytes_total"),
            failures: sum("warren_log_failures_total"),
            commit_s: seconds.and_then(|text| text.parse().ok()).unwrap_or(0.0),
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            commits: self.commits.saturating_sub(earlier.commits),
            records: self.records.saturating_sub(earlier.records),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            failures: self.failures.saturating_sub(earlier.failures),
            commit_s: self.commit_s - earlier.commit_s,
        }
    }
}

impl StateCounts {
    fn parse(text: &str) -> Self {
        let sum = |name| sum(text, name).unwrap_or(0);
        Self {
            objects: sum("warren_objects"),
            state_bytes: sum("warren_state_bytes"),
            changed: sum("warren_changed_objects"),
            stored: sum("warren_snapshot_objects_total"),
            stored_record_bytes: sum("warren_snapshot_record_bytes_total"),
        }
    }
}

/// Refusals and closes that a server has counted, by reason; reasons without any are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reasons(BTreeMap<String, (u64, u64)>);

impl Reasons {
    /// Reads `/metrics` of the server whose admin endpoint is there.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn take(admin: SocketAddrV4) -> Result<Self> {
        Ok(Self::parse(&fetch(admin, "/metrics")?))
    }

    fn parse(text: &str) -> Self {
        let mut reasons = Self::default();
        for line in text.lines() {
            let name = line.split_once("reason=\"").and_then(|(_, rest)| rest.split_once('"'));
            let Some((name, _)) = name else { continue };
            let refusals = sample(line, "warren_refusals_total").unwrap_or(0);
            let closes = sample(line, "warren_closes_total").unwrap_or(0);
            reasons.count(name, refusals, closes);
        }
        reasons
    }

    fn count(&mut self, name: &str, refusals: u64, closes: u64) {
        if refusals + closes > 0 {
            let counts = self.0.entry(name.to_owned()).or_default();
            *counts = (counts.0 + refusals, counts.1 + closes);
        }
    }

    /// What was counted since.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = Self::default();
        for (name, (refusals, closes)) in &self.0 {
            let (refusals_before, closes_before) = earlier.of(name);
            let refusals = refusals.saturating_sub(refusals_before);
            since.count(name, refusals, closes.saturating_sub(closes_before));
        }
        since
    }

    /// Adds what was counted at another time.
    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, (refusals, closes))| self.count(name, *refusals, *closes));
    }

    /// Refusals and closes for a reason.
    #[must_use]
    pub fn of(&self, name: &str) -> (u64, u64) {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Both together.
    #[must_use]
    pub fn total(&self, name: &str) -> u64 {
        let (refusals, closes) = self.of(name);
        refusals + closes
    }

    /// Every reason that was counted.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

impl Work {
    /// What was done from one reading to the next.
    ///
    /// # Errors
    /// When the later counts are lower.
    pub fn between(before: &Reading, after: &Reading) -> Result<Self> {
        let counts = after.counts.since(&before.counts).context("the server has begun anew")?;
        Ok(Self {
            counts,
            elapsed_ns: after.at_ns.saturating_sub(before.at_ns),
            turn_times: after.turn_times.since(&before.turn_times),
            worlds: after.worlds.since(&before.worlds),
            log: after.log.since(&before.log),
            export: after.export.since(&before.export),
            stored: after.state.stored.saturating_sub(before.state.stored),
            tls_connections: after.tls_connections,
        })
    }

    /// Heap allocations of the shard threads for each message from a client.
    #[must_use]
    pub fn allocations_per_message(&self) -> Option<f64> {
        ratio(self.counts.allocations, self.counts.messages)
    }

    /// Ring enters for each message from a client.
    #[must_use]
    pub fn ring_enters_per_message(&self) -> Option<f64> {
        ratio(self.counts.ring_enters, self.counts.messages)
    }

    /// Ring enters for each message handed to a connection.
    #[must_use]
    pub fn ring_enters_per_delivery(&self) -> Option<f64> {
        ratio(self.counts.ring_enters, self.counts.deliveries)
    }

    /// Turns a second of all shards together.
    #[must_use]
    pub fn turns_per_s(&self) -> Option<f64> {
        ratio(self.counts.turns, self.elapsed_ns).map(|per_ns| per_ns * 1e9)
    }
}

fn ratio(count: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| count as f64 / of as f64)
}

/// Of all shards together; nothing when there is no such line.
fn sum(text: &str, name: &str) -> Option<u64> {
    text.lines().filter_map(|line| sample(line, name)).reduce(u64::saturating_add)
}

/// The value of a line `name{labels} value`, or `name value`.
fn sample(line: &str, name: &str) -> Option<u64> {
    value(line, name)?.parse().ok()
}

fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(name)?;
    let value = match rest.strip_prefix('{') {
        Some(labels) => labels.split_once('}')?.1,
        None => rest,
    };
    value.strip_prefix(' ')?.split_ascii_whitespace().next()
}

/// The body of the answer. Asked by HTTP/1.0, for which the body ends with the connection.
fn fetch(admin: SocketAddrV4, path: &str) -> Result<String> {
    ask(admin, path).with_context(|| format!("reading http://{admin}{path}"))
}

fn ask(admin: SocketAddrV4, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin.into(), ANSWER_WAIT)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.set_write_timeout(Some(ANSWER_WAIT))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {admin}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("no whole answer") };
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "the answer is {status:?}");
    Ok(body.to_owned())
}

/// Asks whether the server serves.
///
/// # Errors
/// When it does not say so.
pub fn check_ready(admin: SocketAddrV4) -> Result<()> {
    fetch(admin, "/readyz").map(drop)
}

/// Waits until the server has no sessions any more, nor their entities: those of who is gone wait for a while
/// to be resumed.
///
/// # Errors
/// When it does not answer, or still has some after 20 s.
pub fn sessions_settle(admin: SocketAddrV4) -> Result<()> {
    settle(admin, sessions_left)
}

/// Waits until each shard knows of a worker.
///
/// # Errors
/// When it does not answer, or some do not know of one after 20 s.
pub fn workers_ready(admin: SocketAddrV4) -> Result<()> {
    settle(admin, workers_missing)
}

/// Asks until nothing is left to be said against what the server tells.
#[expect(clippy::disallowed_methods, reason = "a server tells its counts only when it is asked")]
fn settle(admin: SocketAddrV4, objection: fn(&str) -> Result<Option<String>>) -> Result<()> {
    let until_ns = clock::monotonic_ns() + SETTLE_WAIT_NS;
    while let Some(objection) = objection(&fetch(admin, "/metrics")?)? {
        ensure!(clock::monotonic_ns() < until_ns, "{objection}, after 20 s");
        thread::sleep(SETTLE_STEP);
    }
    Ok(())
}

fn sessions_left(text: &str) -> Result<Option<String>> {
    let sessions = sum(text, "warren_sessions").context("there is no warren_sessions")?;
    Ok((sessions > 0).then(|| format!("{sessions} sessions of a phase did not end")))
}

fn workers_missing(text: &str) -> Result<Option<String>> {
    let workers = text.lines().filter_map(|line| sample(line, "warren_task_workers"));
    let fewest = workers.min().context("there is no warren_task_workers")?;
    Ok((fewest == 0).then(|| "no worker is known to all shards".to_owned()))
}

#[cfg(test)]
mod tests;
