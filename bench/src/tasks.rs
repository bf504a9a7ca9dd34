//! The command `tasks`: how many tasks a second go through the queue and a worker, and how long whoever
//! asked waits for the answer.
//!
//! ```text
//! users ──bench.task, target──► partition of the target ──task──► worker
//!       ◄──────answer──────────  begin, effect, done  ◄──────────
//! ```
//!
//! Each task adds one to a counter of the object that it is about. At the end the counters are read: they
//! have to be the number of requests that were answered, so none was lost and none done twice.

mod asker;
mod kills;
mod phases;
mod report;
mod wire;
mod worker;

use std::net::SocketAddrV4;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, Builder};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use warren_core::ids::ObjectId;
use warren_core::ticket::{Claims, TicketIssuer, TicketKey};

use self::asker::{Asked, Asker, Pace};
pub use self::kills::hold;
use self::report::TasksReport;
use crate::arguments::TasksArguments;
use crate::clock;
use crate::cpu::{ProcessReading, ThreadUse};
use crate::process::server::{SHARD_THREAD_PREFIX, ServerProcess};
use crate::runner;
use crate::settings;
use crate::verdict::Verdict;

/// What users ask for.
const METHOD: &str = "bench.task";
/// Names of the threads that work begin so.
const WORKER_THREADS: &str = "task-worker";
/// A worker of its own process has registered by then, or the run fails.
const WORKER_WAIT_NS: u64 = 30 * SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;
/// When tickets end: not in a run.
const EXPIRES_S: u64 = 4_102_444_800;

/// What issues the tickets of a run.
struct Tickets {
    issuer: TicketIssuer,
}

impl Tickets {
    fn new() -> Result<Self> {
        // It guards nothing but a server of ours on loopback, which ends with the run.
        let random = [u8::try_from(std::process::id() % 251)?; 32];
        let issuer = TicketIssuer::new("bench", &random).context("a key")?;
        Ok(Self { issuer })
    }

    fn of(&self, user: &str, role: &str) -> Result<String> {
        let claims = Claims {
            user,
            roles: Some(vec![role]),
            audience: "warren",
            not_before_s: None,
            expires_s: EXPIRES_S,
        };
        self.issuer.issue(&claims).map_err(|fault| anyhow::anyhow!("a ticket: {fault:?}"))
    }
}

/// Measures.
///
/// # Errors
/// When the run cannot be made: the server or a worker does not do what it has to.
pub fn run(arguments: &TasksArguments) -> Result<Verdict> {
    let load = arguments.load();
    let circumstances = runner::prepare(&load)?;
    let tickets = Tickets::new()?;
    let program = arguments.server.clone().map_or_else(runner::program_beside, Ok)?;
    let mut size = runner::size(&load, &program)?;
    settings::set(&mut size.settings, &own_settings(&tickets));
    let server = ServerProcess::start_warren(&program, &size, &circumstances.pinning.server)?;
    let address = *server.addresses().first().context("it has told where it listens")?;
    let site = Site { arguments, tickets: &tickets, address };
    if let Some(kills) = arguments.kills {
        let report = kills::measure(&site, kills)?;
        tell(arguments, &report.to_table(), &report)?;
        return Ok(report.verdict);
    }
    if !arguments.then.is_empty() {
        let report = phases::measure(&site)?;
        tell(arguments, &report.to_table(), &report)?;
        return Ok(report.verdict);
    }
    let report = measure(&site, &server)?;
    tell(arguments, &report.to_table(), &report)?;
    Ok(report.verdict)
}

/// Once this is gone all is over: also when a run cannot be made.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn tell(arguments: &TasksArguments, table: &str, report: &impl Serialize) -> Result<()> {
    print!("{table}");
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(report)? + "\n";
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Where the tasks are, and who may have to do with them.
struct Site<'a> {
    arguments: &'a TasksArguments,
    tickets: &'a Tickets,
    address: SocketAddrV4,
}

impl Site<'_> {
    fn open_askers(&self) -> Result<Vec<Asker>> {
        let open = |number| {
            let ticket = self.tickets.of(&format!("asker{number}"), "user")?;
            Asker::open((self.address, &ticket), number, self.arguments.targets)
        };
        (0..self.arguments.users).map(open).collect()
    }
}

fn own_settings(tickets: &Tickets) -> Vec<(String, String)> {
    let key = TicketKey::of(&tickets.issuer);
    let lifted = settings::LOADING.iter().chain(settings::WORKING);
    let lifted = lifted.map(|(key, value)| ((*key).into(), (*value).into()));
    let own = [
        ("auth.mode", "\"ticket\"".to_owned()),
        ("auth.keys", format!("[\"{key}\"]")),
        ("tasks.methods", format!("[\"{METHOD}\"]")),
    ];
    lifted.chain(own.map(|(key, value)| (key.to_owned(), value))).collect()
}

fn measure(site: &Site<'_>, server: &ServerProcess) -> Result<TasksReport> {
    let Site { arguments, tickets, address } = *site;
    let mut askers = site.open_askers()?;
    let work = Duration::from_micros(arguments.work_us);
    let targets: Vec<ObjectId> =
        askers.iter().flat_map(|asker| asker.targets().iter().copied()).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = Over(&is_over);
        let external = arguments.worker_command.as_deref();
        let mut processes = Vec::new();
        let mut workers = Vec::new();
        for number in 0..arguments.workers {
            let ticket = tickets.of(&format!("worker{number}"), "worker")?;
            if let Some(command) = external {
                processes.push(start_worker(command, address, &ticket)?);
                continue;
            }
            let mut worker = worker::Worker::open(address, &ticket)?;
            let name = format!("{WORKER_THREADS}-{number}");
            let is_over = &is_over;
            let run = move || worker.run(is_over, (arguments.credits, work));
            workers.push(Builder::new().name(name).spawn_scoped(scope, run)?);
        }
        let result = play(arguments, &mut askers, (server, &processes));
        drop(over);
        for worker in workers {
            worker.join().expect("a worker does not panic")?;
        }
        let (asked, used, elapsed_ns) = result?;
        let counted = askers[0].sum(&targets)?;
        Ok(TasksReport::new(arguments, &asked, (counted, elapsed_ns), &used))
    })
}

/// CPU that was used in the measured part.
#[derive(Debug, Default)]
struct Used {
    shard_ns: u64,
    worker_ns: u64,
}

/// Asks until the time is over: first without counting, until workers are there and all is warm.
fn play(
    arguments: &TasksArguments,
    askers: &mut [Asker],
    (server, processes): (&ServerProcess, &[Process]),
) -> Result<(Asked, Used, u64)> {
    for asker in &mut *askers {
        asker.ask_one(WORKER_WAIT_NS).context("no worker takes a task")?;
    }
    let seconds_ns = |seconds: u32| u64::from(seconds) * SECOND_NS;
    let rate_each = arguments.rate.map(|rate| f64::from(rate) / f64::from(arguments.users));
    let pace = |duration_ns| Pace { rate_hz: rate_each, window: arguments.window, duration_ns };
    let goes_on = AtomicBool::new(false);
    let warm = ask_all(askers, pace(seconds_ns(arguments.warm_up)), &goes_on)?;
    let before = Readings::take(server, processes)?;
    let begun_ns = clock::monotonic_ns();
    let mut asked = ask_all(askers, pace(seconds_ns(arguments.duration)), &goes_on)?;
    let elapsed_ns = clock::monotonic_ns() - begun_ns;
    let used = Readings::take(server, processes)?.since(&before);
    // Those before the measured part are counted by their objects too.
    asked.answered_before = warm.answered + askers.len() as u64;
    asked.refused += warm.refused;
    Ok((asked, used, elapsed_ns))
}

/// Until the time is over, or somebody says so.
fn ask_all(askers: &mut [Asker], pace: Pace, is_over: &AtomicBool) -> Result<Asked> {
    let start_ns = clock::monotonic_ns();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, asker) in askers.iter_mut().enumerate() {
            let thread = Builder::new().name(format!("asker-{number}"));
            threads.push(thread.spawn_scoped(scope, move || asker.ask(start_ns, pace, is_over))?);
        }
        let mut all = Asked::default();
        for thread in threads {
            all.merge(&thread.join().expect("an asker does not panic")?);
        }
        Ok(all)
    })
}

/// A worker of its own; it ends with this.
#[derive(Debug)]
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_worker(command: &str, address: SocketAddrV4, ticket: &str) -> Result<Process> {
    let mut words = command.split_ascii_whitespace();
    let program = words.next().context("`--worker-command` names no program")?;
    let mut worker = std::process::Command::new(program);
    worker.args(words).env("WARREN_URL", format!("tcp://{address}")).env("WARREN_TICKET", ticket);
    let child = worker.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    Ok(Process(child.with_context(|| format!("starting {program}"))?))
}

/// CPU of the server and of workers at a moment.
struct Readings {
    server: ProcessReading,
    /// This process, or those of the workers.
    workers: Vec<ProcessReading>,
    is_own: bool,
}

impl Readings {
    fn take(server: &ServerProcess, processes: &[Process]) -> Result<Self> {
        let is_own = processes.is_empty();
        let ids = processes.iter().map(|process| process.0.id());
        let ids: Vec<u32> = if is_own { vec![std::process::id()] } else { ids.collect() };
        let workers = ids.into_iter().map(ProcessReading::take);
        let workers = workers.collect::<std::io::Result<Vec<_>>>();
        let workers = workers.context("a worker has ended")?;
        let server = ProcessReading::take(server.id()).context("the server has ended")?;
        ensure!(server.count_of(SHARD_THREAD_PREFIX) > 0, "the server has no shards");
        Ok(Self { server, workers, is_own })
    }

    fn since(&self, before: &Self) -> Used {
        let sum = |used: Vec<ThreadUse>, prefix: &str| -> u64 {
            let named = used.iter().filter(|thread| thread.name.starts_with(prefix));
            named.map(|thread| thread.cpu_ns).sum()
        };
        let prefix = if self.is_own { WORKER_THREADS } else { "" };
        let workers = self.workers.iter().zip(&before.workers);
        Used {
            shard_ns: sum(self.server.since(&before.server), SHARD_THREAD_PREFIX),
            worker_ns: workers.map(|(now, before)| sum(now.since(before), prefix)).sum(),
        }
    }
}
