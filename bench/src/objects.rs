//! The command `objects`: what many objects cost in memory, at a start, and while they are stored
//! under `chat`.
//!
//! ```text
//! start, empty ─ create ─ stored ─ chat, quiet ─ chat, every object changes ─ stored ─ SIGTERM
//! start, all loaded ─ every object changes ─ chat, all are stored meanwhile ─ SIGTERM
//! start, all loaded ─ SIGTERM
//! ```

mod loader;
mod report;

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::thread::{self, Builder};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use self::loader::{Loaded, Pace};
use self::report::{Chat, Creation, ObjectsReport, Start};
use crate::arguments::{LoadArguments, ObjectsArguments};
use crate::clock;
use crate::memory;
use crate::metrics::{Reading, StateCounts, check_ready};
use crate::phase;
use crate::pinning::Pinning;
use crate::process::server::{Folder, ServerProcess, Size};
use crate::progress::Meter;
use crate::report::Circumstances;
use crate::runner;
use crate::settings;
use crate::verdict::Verdict;

/// Objects are handed over so many times in the measured part while they change.
const SNAPSHOTS_PER_CHAT: u64 = 6;
/// The part of a chat in which every object changes, and for how long it has run by then.
const CHANGE_PART: f64 = 0.6;
const CHANGE_DELAY_NS: u64 = 1_000_000_000;
/// Users that come a second, as far as can be told before.
const USERS_PER_S: u64 = 2_000;
/// How long before the snapshot is due the measured part is to begin.
const SNAPSHOT_LEAD_NS: u64 = 1_500_000_000;
/// Longest interval that a server takes.
const INTERVAL_MS_MAX: u64 = 600_000;
/// How long objects may take until they are stored, besides the interval.
const STORED_WAIT_NS: u64 = 120_000_000_000;
const POLL: Duration = Duration::from_millis(50);
const SECOND_NS: u64 = 1_000_000_000;

/// What is the same for all servers of a run.
struct Run<'a> {
    program: PathBuf,
    load: LoadArguments,
    pinning: &'a Pinning,
    interval_ms: u64,
}

/// A server with its addresses, and how it has started.
struct Server {
    process: ServerProcess,
    address: SocketAddrV4,
    admin: SocketAddrV4,
    start: Start,
}

/// Makes the objects, and measures.
///
/// # Errors
/// When the run cannot be made: a reply is missing, or a server does not do what it has to.
pub fn run(arguments: &ObjectsArguments) -> Result<Verdict> {
    let load = arguments.load();
    let circumstances = runner::prepare(&load)?;
    let duration_ms = u64::from(load.duration) * 1_000;
    let mut run = Run {
        program: arguments.server.clone().map_or_else(runner::program_beside, Ok)?,
        load,
        pinning: &circumstances.pinning,
        interval_ms: (duration_ms / SNAPSHOTS_PER_CHAT).clamp(10, 5_000),
    };
    let report = run.measure(arguments.count, &circumstances)?;
    print!("{}", report.to_table());
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(report.verdict)
}

impl Run<'_> {
    fn measure(&mut self, count: u32, circumstances: &Circumstances) -> Result<ObjectsReport> {
        let server = self.start(Folder::create()?)?;
        let (mut objects, creation) = self.create(&server, count)?;
        let mut chats = vec![self.chat(&server, "quiet", self.load.warm_up)?];
        chats.push(self.chat_while_changing(&server, &mut objects)?);
        self.wait_stored(server.admin)?;
        let mut starts = vec![server.start];
        let folder = stop(server.process, starts.last_mut().context("there is one")?)?;

        self.interval_ms = self.interval_of_one_snapshot(creation.elapsed_ns);
        let server = self.start(folder)?;
        chats.push(self.chat_while_storing(&server, &mut objects)?);
        self.wait_stored(server.admin)?;
        starts.push(server.start);
        let folder = stop(server.process, starts.last_mut().context("there is one")?)?;

        let server = self.start(folder)?;
        starts.push(server.start);
        stop(server.process, starts.last_mut().context("there is one")?)?;
        Ok(ObjectsReport::new(circumstances, creation, chats, starts))
    }

    /// Starts a server in this folder, and waits until it serves.
    fn start(&self, folder: Folder) -> Result<Server> {
        eprintln!("starting the server");
        let interval_ms = Some(self.interval_ms);
        let mut size =
            Size { snapshot_interval_ms: interval_ms, ..runner::size(&self.load, &self.program)? };
        size.settings.extend(settings::known(&self.program, settings::LOADING)?);
        let begun_ns = clock::monotonic_ns();
        let cores = &self.pinning.server;
        let process = ServerProcess::start_warren_in(folder, &self.program, &size, cores)?;
        let admin = process.admin().context("it has told its admin endpoint")?;
        check_ready(admin)?;
        let elapsed_ns = clock::monotonic_ns() - begun_ns;
        let address = *process.addresses().first().context("it has told where it listens")?;
        let start = Start {
            elapsed_ns,
            memory: memory::Reading::take(process.id())?,
            data_bytes: folder_bytes(&process.folder().data())?,
            loaded: Summary::find(&process.log()?, "state loaded")?,
            stored: Summary::default(),
            drain_ns: 0,
        };
        Ok(Server { process, address, admin, start })
    }

    fn create(&self, server: &Server, count: u32) -> Result<(Loaded, Creation)> {
        eprintln!("creating {count} objects");
        let begun_ns = clock::monotonic_ns();
        let objects = loader::create(server.address, count)?;
        let elapsed_ns = clock::monotonic_ns() - begun_ns;
        let state = self.wait_stored(server.admin)?;
        ensure!(state.stored >= u64::from(count), "only {} objects were stored", state.stored);
        let creation = Creation {
            count: u64::from(count),
            elapsed_ns,
            stored_ns: clock::monotonic_ns() - begun_ns,
            memory: memory::Reading::take(server.process.id())?,
            state,
            data_bytes: folder_bytes(&server.process.folder().data())?,
        };
        Ok((objects, creation))
    }

    /// Waits until all that has changed is on the disk.
    fn wait_stored(&self, admin: SocketAddrV4) -> Result<StateCounts> {
        eprintln!("waiting until all objects are stored");
        let until_ns = clock::monotonic_ns() + STORED_WAIT_NS + self.interval_ms * 1_000_000;
        let mut stored_before = None;
        loop {
            let state = Reading::take(admin)?.state();
            // The last batches are on their way to the disk when none waits any more.
            if state.changed == 0 && stored_before == Some(state.stored) {
                return Ok(state);
            }
            stored_before = (state.changed == 0).then_some(state.stored);
            if clock::monotonic_ns() >= until_ns {
                bail!("{} objects still wait to be stored", state.changed);
            }
            wait(POLL);
        }
    }

    fn chat(&self, server: &Server, name: &'static str, warm_up_s: u32) -> Result<Chat> {
        let mut setup = runner::setup_started(&server.process, &self.load, self.pinning);
        setup.warm_up_ns = u64::from(warm_up_s) * SECOND_NS;
        let outcome = phase::play(&setup, &mut Meter::new(name));
        let outcome = outcome.with_context(|| format!("chat, {name}"))?;
        Chat::new(name, &setup, &outcome)
    }

    /// Every object changes once in the measured part, and is stored an interval later.
    fn chat_while_changing(&self, server: &Server, objects: &mut Loaded) -> Result<Chat> {
        let measured_ns = u64::from(self.load.duration) * SECOND_NS;
        let pace = Pace {
            start_ns: clock::monotonic_ns()
                + self.lead_ns()
                + CHANGE_DELAY_NS.min(measured_ns / SNAPSHOTS_PER_CHAT),
            elapsed_ns: (measured_ns as f64 * CHANGE_PART) as u64,
        };
        let address = server.address;
        thread::scope(|scope| {
            let changes = Builder::new().name("loaders".to_owned()).spawn_scoped(scope, || {
                objects.change(address, Some(pace))?;
                anyhow::Ok(clock::monotonic_ns() - pace.start_ns)
            })?;
            let chat = self.chat(server, "changing", self.load.warm_up);
            let changes = changes.join().expect("a loader does not panic");
            let mut chat = chat?;
            chat.changed_ns = Some(changes.context("changing the objects under chat")?);
            Ok(chat)
        })
    }

    /// From the first connect of a chat until its measured part, about.
    fn lead_ns(&self) -> u64 {
        let ramp_ns = u64::from(self.load.users) * SECOND_NS / USERS_PER_S;
        ramp_ns + SECOND_NS / 2 + u64::from(self.load.warm_up) * SECOND_NS
    }

    /// Long enough that every object can change before the first is stored.
    fn interval_of_one_snapshot(&self, creation_ns: u64) -> u64 {
        let needed_ns = 2 * creation_ns + self.lead_ns() + 2 * SNAPSHOT_LEAD_NS;
        (needed_ns / 1_000_000).min(INTERVAL_MS_MAX)
    }

    /// Every object has changed before, and all are stored in the measured part.
    fn chat_while_storing(&self, server: &Server, objects: &mut Loaded) -> Result<Chat> {
        eprintln!("changing every object");
        let begun_ns = clock::monotonic_ns();
        objects.change(server.address, None)?;
        let changed_ns = clock::monotonic_ns() - begun_ns;
        let due_ns = begun_ns + self.interval_ms * 1_000_000;
        let begin_ns = due_ns.saturating_sub(self.lead_ns() + SNAPSHOT_LEAD_NS);
        wait(Duration::from_nanos(begin_ns.saturating_sub(clock::monotonic_ns())));
        let mut chat = self.chat(server, "storing", self.load.warm_up)?;
        chat.changed_ns = Some(changed_ns);
        Ok(chat)
    }
}

/// Asks the server to end, and notes how it did.
fn stop(process: ServerProcess, start: &mut Start) -> Result<Folder> {
    eprintln!("stopping the server");
    let stopped = process.stop()?;
    start.drain_ns = stopped.elapsed_ns;
    start.stored = Summary::find(&stopped.log, "state stored")?;
    Ok(stopped.folder)
}

/// What a server says of its state in its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
struct Summary {
    /// Number of objects, users and rooms among them.
    objects: u64,
    /// Equal for equal objects.
    digest: u64,
}

impl Summary {
    fn find(log: &str, message: &str) -> Result<Self> {
        let line = log.lines().find(|line| line.contains(message));
        let line = line.with_context(|| format!("the log has no `{message}`"))?;
        let value = |name: &str| {
            let mut words = line.split_ascii_whitespace();
            let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.with_context(|| format!("no {name} in {line}"))
        };
        let digest = u64::from_str_radix(value("digest")?, 16).context("the digest")?;
        Ok(Self { objects: value("objects")?.parse()?, digest })
    }
}

/// Bytes of all files below.
fn folder_bytes(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path).with_context(|| format!("reading {}", path.display()))? {
        let entry = entry?;
        // A file may be gone by now: the store gathers small ones in larger ones.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

#[expect(clippy::disallowed_methods, reason = "the server's admin endpoint is polled")]
fn wait(duration: Duration) {
    thread::sleep(duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_digest_are_read_from_the_log() {
        let log = "2026 INFO warren: no state is stored yet start=1\n\
            2026 INFO warren::state: state loaded objects=12 rooms=3 digest=00ff00ff00ff00ff\n";
        let found = Summary::find(log, "state loaded").unwrap();
        assert_eq!(found, Summary { objects: 12, digest: 0x00ff_00ff_00ff_00ff });
        for (log, message) in [
            (log, "state stored"),
            ("state loaded objects=12", "state loaded"),
            ("state loaded objects=x digest=1", "state loaded"),
            ("state loaded objects=1 digest=xyz", "state loaded"),
        ] {
            assert!(Summary::find(log, message).is_err(), "{log}");
        }
    }
}
