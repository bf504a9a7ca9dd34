//! Workers that come and go under load: how many tasks a second each number of them does.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::asker::{Asked, Asker, Pace};
use super::report::lost_and_doubled;
use super::worker::Worker;
use super::{SECOND_NS, Site, WORKER_THREADS, WORKER_WAIT_NS, ask_all};
use crate::arguments::TasksArguments;
use crate::clock;
use crate::verdict::Verdict;

/// One number of workers.
#[derive(Debug, Serialize)]
struct Phase {
    workers: u32,
    answered: u64,
    done_hz: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct PhasesReport {
    work_us: u64,
    /// Requests on their way.
    open: u32,
    phases: Vec<Phase>,
    answered: u64,
    refused: u64,
    lost: u64,
    doubled: u64,
    pub(super) verdict: Verdict,
}

/// A worker at work; it ends with this.
struct Member<'s> {
    is_over: Arc<AtomicBool>,
    thread: Option<ScopedJoinHandle<'s, Result<()>>>,
}

impl Member<'_> {
    fn end(mut self) -> Result<()> {
        self.is_over.store(true, Relaxed);
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("a worker does not panic")
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

/// Workers that are at work now.
struct Crew<'s> {
    members: Vec<Member<'s>>,
    /// How many were ever started: each has a name of its own.
    started: u32,
}

impl<'s> Crew<'s> {
    /// Starts or ends workers until there are so many; the oldest end first.
    fn resize<'e>(
        &mut self,
        scope: &'s Scope<'s, 'e>,
        site: &Site<'_>,
        (count, work): (u32, Duration),
    ) -> Result<()> {
        while self.members.len() > count as usize {
            self.members.remove(0).end()?;
        }
        let credits = site.arguments.credits;
        while self.members.len() < count as usize {
            let ticket = site.tickets.of(&format!("worker{}", self.started), "worker")?;
            let mut worker = Worker::open(site.address, &ticket)?;
            let is_over = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&is_over);
            let thread = Builder::new().name(format!("{WORKER_THREADS}-{}", self.started));
            let thread = thread.spawn_scoped(scope, move || worker.run(&told, (credits, work)))?;
            self.started += 1;
            self.members.push(Member { is_over, thread: Some(thread) });
        }
        Ok(())
    }
}

/// Users ask all the time; workers come and go meanwhile, with what they have.
pub(super) fn measure(site: &Site<'_>) -> Result<PhasesReport> {
    let arguments = site.arguments;
    let mut askers = site.open_askers()?;
    let targets: Vec<_> = askers.iter().flat_map(|asker| asker.targets().to_vec()).collect();
    let counts: Vec<u32> =
        [arguments.workers].into_iter().chain(arguments.then.iter().copied()).collect();
    let work = Duration::from_micros(arguments.work_us);
    let (phases, asked) = thread::scope(|scope| {
        let mut crew = Crew { members: Vec::new(), started: 0 };
        crew.resize(scope, site, (counts[0], work))?;
        for asker in &mut askers {
            asker.ask_one(WORKER_WAIT_NS)?;
        }
        // A second more, so that they go on asking until the last part is over.
        let seconds = arguments.warm_up + arguments.duration * counts.len() as u32 + 1;
        let duration_ns = u64::from(seconds) * SECOND_NS;
        let pace = Pace { rate_hz: None, window: arguments.window, duration_ns };
        let progress: Vec<_> = askers.iter().map(Asker::progress).collect();
        let answered = || progress.iter().map(|count| count.load(Relaxed)).sum::<u64>();
        let asking = {
            let askers = &mut askers;
            Builder::new().spawn_scoped(scope, move || ask_all(askers, pace))?
        };
        wait_s(arguments.warm_up);
        let mut phases = Vec::new();
        for count in counts {
            crew.resize(scope, site, (count, work))?;
            let (before, begun_ns) = (answered(), clock::monotonic_ns());
            wait_s(arguments.duration);
            let (done, elapsed_ns) = (answered() - before, clock::monotonic_ns() - begun_ns);
            ensure!(!asking.is_finished(), "users have stopped asking");
            let done_hz = done as f64 * 1e9 / elapsed_ns as f64;
            phases.push(Phase { workers: count, answered: done, done_hz });
        }
        let asked = asking.join().expect("an asker does not panic")?;
        anyhow::Ok((phases, asked))
    })?;
    let counted = askers[0].sum(&targets)?;
    Ok(PhasesReport::new(arguments, phases, &asked, counted))
}

#[expect(clippy::disallowed_methods, reason = "a part lasts so long")]
fn wait_s(seconds: u32) {
    thread::sleep(Duration::from_secs(seconds.into()));
}

impl PhasesReport {
    fn new(arguments: &TasksArguments, phases: Vec<Phase>, asked: &Asked, counted: u64) -> Self {
        let answered = asked.answered + u64::from(arguments.users);
        let (lost, doubled) = lost_and_doubled(answered, counted);
        let is_whole = lost + doubled + asked.refused == 0;
        Self {
            work_us: arguments.work_us,
            open: arguments.users * arguments.window,
            phases,
            answered,
            refused: asked.refused,
            lost,
            doubled,
            verdict: if is_whole { Verdict::Pass } else { Verdict::Fail },
        }
    }

    pub(super) fn to_table(&self) -> String {
        let mut text = String::new();
        let Self { work_us, open, answered, lost, doubled, refused, .. } = self;
        let _ = writeln!(text, "each task takes a worker {work_us} us, {open} are on their way");
        for Phase { workers, done_hz, .. } in &self.phases {
            let _ = writeln!(text, "workers {workers:<4} {done_hz:.0} tasks a second");
        }
        let _ = writeln!(
            text,
            "answered {answered}, lost {lost}, doubled {doubled}, refused {refused}"
        );
        let _ = writeln!(text, "{}", self.verdict.label());
        text
    }
}
