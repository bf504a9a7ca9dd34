//! What the run says: a table, JSON, and whether anything was wrong. Pure.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use serde::Serialize;

use super::Summary;
use crate::histogram::Percentiles;
use crate::machine::Machine;
use crate::memory;
use crate::metrics::StateCounts;
use crate::phase::{Outcome, Setup};
use crate::pinning::Pinning;
use crate::report::Circumstances;
use crate::turn_times::LongTurns;
use crate::verdict::{Judgement, Verdict, judge};

/// How the objects were made.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Creation {
    pub(super) count: u64,
    /// Until the last was answered.
    pub(super) elapsed_ns: u64,
    /// Until all were on the disk.
    pub(super) stored_ns: u64,
    /// Of the server then.
    pub(super) memory: memory::Reading,
    pub(super) state: StateCounts,
    pub(super) data_bytes: u64,
}

/// How a server started, and ended.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Start {
    /// From the start of the process until `/readyz` is 200.
    pub(super) elapsed_ns: u64,
    /// Then.
    pub(super) memory: memory::Reading,
    pub(super) data_bytes: u64,
    pub(super) loaded: Summary,
    /// What it says at its end.
    pub(super) stored: Summary,
    /// From SIGTERM to its end.
    pub(super) drain_ns: u64,
}

/// A chat beside the objects.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Chat {
    pub(super) name: &'static str,
    pub(super) latency_us: Option<Percentiles>,
    pub(super) long_turns: Option<LongTurns>,
    /// Objects that were stored in the measured part.
    pub(super) stored: u64,
    /// How long it took to change every object, if that was done.
    pub(super) changed_ns: Option<u64>,
    pub(super) server_cpu_cores: Option<f64>,
    pub(super) generator_cpu: f64,
    pub(super) verdict: Verdict,
    pub(super) reasons: Vec<String>,
}

impl Chat {
    pub(super) fn new(name: &'static str, setup: &Setup, outcome: &Outcome) -> Result<Self> {
        let Judgement { verdict, reasons, .. } = judge(&setup.profile, &outcome.evidence());
        let work = outcome.server_work.as_ref().map_err(|why| anyhow!("{why}"))?;
        Ok(Self {
            name,
            latency_us: outcome.latencies.percentiles_us(),
            long_turns: work.turn_times.long_turns(),
            stored: work.stored,
            changed_ns: None,
            server_cpu_cores: outcome.server_cores(),
            generator_cpu: outcome.generator_cpu,
            verdict,
            reasons,
        })
    }
}

/// What was measured, and what it shows.
#[derive(Debug, Serialize)]
pub(super) struct ObjectsReport {
    count: u64,
    users: u32,
    room_size: u32,
    duration_s: u32,
    warm_up_s: u32,
    shards: Option<u16>,
    creates_per_s: f64,
    /// What each object has added to the server's own memory, when all were stored.
    memory_per_object_bytes: f64,
    /// The same of servers that have loaded them, against the empty one.
    memory_per_object_loaded_bytes: Vec<f64>,
    /// As the server reckons.
    state_bytes_per_object: f64,
    record_bytes_per_object: f64,
    data_bytes_per_object: f64,
    /// The longest of those that had objects to load.
    start_up_s: f64,
    /// While all objects were stored under chat, and nothing else was done to them; no turn was
    /// longer.
    longest_turn_us_max: Option<f64>,
    creation: Creation,
    chats: Vec<Chat>,
    starts: Vec<Start>,
    /// The worst of all chats; fail when objects are missing or not the same.
    pub(super) verdict: Verdict,
    reasons: Vec<String>,
    notes: Vec<String>,
    pinning: Pinning,
    machine: Machine,
    command: String,
}

impl ObjectsReport {
    pub(super) fn new(
        circumstances: &Circumstances,
        creation: Creation,
        chats: Vec<Chat>,
        starts: Vec<Start>,
    ) -> Self {
        let count = creation.count;
        let per_object = |bytes: u64| bytes as f64 / count as f64;
        let empty_bytes = starts[0].memory.anonymous_bytes;
        let added = |memory: memory::Reading| {
            (memory.anonymous_bytes as f64 - empty_bytes as f64) / count as f64
        };
        let mut reasons = wrong_states(count, &starts);
        let is_right = reasons.is_empty();
        for chat in &chats {
            reasons.extend(chat.reasons.iter().map(|reason| format!("{}: {reason}", chat.name)));
        }
        let longest = chats.last().and_then(|chat| chat.long_turns.as_ref()?.longest_us_max);
        let StateCounts { state_bytes, stored, stored_record_bytes, .. } = creation.state;
        Self {
            count,
            users: circumstances.users,
            room_size: circumstances.profile.room_size,
            duration_s: circumstances.duration_s,
            warm_up_s: circumstances.warm_up_s,
            shards: circumstances.shards,
            creates_per_s: count as f64 * 1e9 / creation.elapsed_ns as f64,
            memory_per_object_bytes: added(creation.memory),
            memory_per_object_loaded_bytes: starts[1..].iter().map(|it| added(it.memory)).collect(),
            state_bytes_per_object: per_object(state_bytes),
            record_bytes_per_object: stored_record_bytes as f64 / stored as f64,
            data_bytes_per_object: per_object(creation.data_bytes),
            start_up_s: seconds(starts[1..].iter().map(|it| it.elapsed_ns).max().unwrap_or(0)),
            longest_turn_us_max: longest,
            verdict: if is_right { worst(&chats) } else { Verdict::Fail },
            reasons,
            notes: notes(count, &chats),
            creation,
            chats,
            starts,
            pinning: circumstances.pinning.clone(),
            machine: circumstances.machine.clone(),
            command: std::env::args().collect::<Vec<String>>().join(" "),
        }
    }

    /// The table for the terminal.
    pub(super) fn to_table(&self) -> String {
        let mut text = String::new();
        let mut row = |label: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{label:<24}{value}");
        };
        let Self { count, users, creation, machine, pinning, .. } = self;
        let shards = self.shards.unwrap_or(0);
        let record = self.record_bytes_per_object;
        row("objects", format!("{count} of {record:.0} B a record, {shards} shards"));
        row("chat", format!("{users} users, rooms of {}", self.room_size));
        row("measured", format!("{} s after {} s, each chat", self.duration_s, self.warm_up_s));
        row("machine", format!("{}, {} cores", machine.cpu, machine.cores));
        let cores = (&pinning.server, &pinning.generators);
        row("cores", format!("server {:?}, generators and loader {:?}", cores.0, cores.1));
        row("creates", format!("{:.0} /s", self.creates_per_s));
        row("all stored", format!("{:.1} s after the first create", seconds(creation.stored_ns)));
        row("memory per object", format!("{:.0} B when stored", self.memory_per_object_bytes));
        row("  server's own count", format!("{:.0} B", self.state_bytes_per_object));
        row("  on disk", format!("{:.0} B", self.data_bytes_per_object));
        for (start, bytes) in self.starts[1..].iter().zip(&self.memory_per_object_loaded_bytes) {
            let (elapsed_s, objects) = (seconds(start.elapsed_ns), start.loaded.objects);
            let digest = start.loaded.digest;
            let loaded = format!("{elapsed_s:.2} s for {objects} objects, digest {digest:016x}");
            row("start-up", loaded);
            row("  memory per object", format!("{bytes:.0} B"));
        }
        let drains: Vec<String> =
            self.starts.iter().map(|it| format!("{:.2} s", seconds(it.drain_ns))).collect();
        row("SIGTERM to end", drains.join(", "));
        text.push_str(&chat_table(&self.chats));
        let _ = writeln!(text, "\nverdict: {}", self.verdict.label());
        for reason in &self.reasons {
            let _ = writeln!(text, "  {reason}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

fn chat_table(chats: &[Chat]) -> String {
    let mut text =
        "\nchat       p50 ms   p99 ms   max ms  server CPU  gen. CPU   stored  changed in   \
                    turns  longest <= ms   turns > 1 / 2 / 4 / 8 / 16 / 33 ms\n"
            .to_owned();
    for chat in chats {
        let latency = chat.latency_us;
        let ms =
            |figure: fn(&Percentiles) -> f64| cell(latency.as_ref().map(|it| figure(it) / 1e3));
        let (p50, p99, max) = (ms(|it| it.p50), ms(|it| it.p99), ms(|it| it.max));
        let cpu = cell(chat.server_cpu_cores);
        let changed = chat.changed_ns.map_or("-".into(), |ns| format!("{:.1} s", seconds(ns)));
        let long = chat.long_turns.as_ref();
        let turns = long.map_or(0, |long| long.turns);
        let longest = cell(long.and_then(|long| Some(long.longest_us_max? / 1e3)));
        let above = long.into_iter().flat_map(|long| long.longer_than_us.values());
        let above: Vec<String> = above.map(u64::to_string).collect();
        let (name, stored, generator) = (chat.name, chat.stored, chat.generator_cpu);
        let above = above.join(" / ");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{name:<9}{p50:>8} {p99:>8} {max:>8}  {cpu:>10}  {generator:>8.2} {stored:>8}  \
             {changed:>10} {turns:>7}  {longest:>13}   {above}"
        );
    }
    text
}

fn cell(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.2}"))
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// What is wrong with the objects that servers had at their ends and after their starts.
fn wrong_states(count: u64, starts: &[Start]) -> Vec<String> {
    let mut reasons = Vec::new();
    for start in starts.iter().filter(|start| start.stored.objects < count) {
        reasons.push(format!("of {count} objects a server stored {}", start.stored.objects));
    }
    for pair in starts.windows(2) {
        let (left, found) = (pair[0].stored, pair[1].loaded);
        if left != found {
            reasons.push(format!("stored was {left:x?}, loaded was {found:x?}"));
        }
    }
    reasons
}

fn worst(chats: &[Chat]) -> Verdict {
    let any = |verdict: &Verdict| chats.iter().any(|chat| chat.verdict == *verdict);
    let worst = [Verdict::Fail, Verdict::GeneratorBound].into_iter().find(any);
    worst.unwrap_or(Verdict::Pass)
}

/// Chats that were to have every object stored, and had not.
fn notes(count: u64, chats: &[Chat]) -> Vec<String> {
    let short = chats.iter().filter(|chat| chat.changed_ns.is_some() && chat.stored < count);
    let note = |chat: &Chat| {
        format!("{}: {} of {count} objects stored in the measured part", chat.name, chat.stored)
    };
    short.map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(loaded: (u64, u64), stored: (u64, u64)) -> Start {
        let summary = |(objects, digest)| Summary { objects, digest };
        Start {
            elapsed_ns: 1,
            memory: memory::Reading::default(),
            data_bytes: 0,
            loaded: summary(loaded),
            stored: summary(stored),
            drain_ns: 1,
        }
    }

    #[test]
    fn objects_that_are_missing_or_others_are_found() {
        for (starts, reasons) in [
            ([start((0, 0), (9, 5)), start((9, 5), (9, 6)), start((9, 6), (9, 6))], 0),
            ([start((0, 0), (9, 5)), start((9, 4), (9, 6)), start((9, 6), (9, 6))], 1),
            ([start((0, 0), (9, 5)), start((8, 5), (9, 6)), start((9, 6), (9, 6))], 1),
            ([start((0, 0), (7, 5)), start((7, 5), (9, 6)), start((9, 6), (9, 6))], 1),
            ([start((0, 0), (9, 5)), start((9, 5), (9, 6)), start((9, 5), (9, 5))], 1),
        ] {
            let found = wrong_states(8, &starts);
            assert_eq!(found.len(), reasons, "{found:?}");
        }
    }

    fn chat(name: &'static str, stored: u64, verdict: Verdict) -> Chat {
        Chat {
            name,
            latency_us: None,
            long_turns: None,
            stored,
            changed_ns: (name != "quiet").then_some(1),
            server_cpu_cores: None,
            generator_cpu: 0.0,
            verdict,
            reasons: Vec::new(),
        }
    }

    #[test]
    fn the_worst_chat_counts_and_objects_stored_elsewhere_are_told() {
        use Verdict::{Fail, GeneratorBound, Pass};
        for (verdicts, expected) in [
            ([Pass, Pass, Pass], Pass),
            ([Pass, GeneratorBound, Pass], GeneratorBound),
            ([GeneratorBound, Pass, Fail], Fail),
        ] {
            let [quiet, changing, storing] = verdicts;
            let chats = [
                chat("quiet", 0, quiet),
                chat("changing", 10, changing),
                chat("storing", 7, storing),
            ];
            assert_eq!(worst(&chats), expected);
            assert_eq!(notes(8, &chats), ["storing: 7 of 8 objects stored in the measured part"]);
        }
    }
}
