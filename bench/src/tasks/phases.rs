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
use super::{Over, Site, WORKER_THREADS, WORKER_WAIT_NS, ask_all};
use crate::arguments::TasksArguments;
use crate::clock;
use crate::verdict::Verdict;

/// From here on workers limit what is done, and not cores.
const SCALING_WORK_US_MIN: u64 = 500;
/// Users ask until they are told to stop.
const ASKING_NS: u64 = u64::MAX / 2;

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
    fn tell_end(&self) {
        self.is_over.store(true, Relaxed);
    }

    fn end(mut self) -> Result<()> {
        self.tell_end();
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("a worker does not panic")
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.tell_end();
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
        let ending = self.members.len().saturating_sub(count as usize);
        // All of them end at once.
        self.members[..ending].iter().for_each(Member::tell_end);
        self.members.drain(..ending).try_for_each(Member::end)?;
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
    let is_over = AtomicBool::new(false);
    let (phases, asked) = thread::scope(|scope| {
        let mut crew = Crew { members: Vec::new(), started: 0 };
        crew.resize(scope, site, (counts[0], work))?;
        for asker in &mut askers {
            asker.ask_one(WORKER_WAIT_NS)?;
        }
        let pace = Pace { rate_hz: None, window: arguments.window, duration_ns: ASKING_NS };
        let over = Over(&is_over);
        let progress: Vec<_> = askers.iter().map(Asker::progress).collect();
        let answered = || progress.iter().map(|count| count.load(Relaxed)).sum::<u64>();
        let asking = {
            let (askers, is_over) = (&mut askers, &is_over);
            Builder::new().spawn_scoped(scope, move || ask_all(askers, pace, is_over))?
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
        drop(over);
        let asked = asking.join().expect("an asker does not panic");
        // What kept a worker from its tasks says more than what that did to users.
        crew.resize(scope, site, (0, work))?;
        let asked = asked?;
        anyhow::Ok((phases, asked))
    })?;
    let counted = askers[0].sum(&targets)?;
    Ok(PhasesReport::new(arguments, phases, &asked, counted))
}

#[expect(clippy::disallowed_methods, reason = "a part lasts so long")]
fn wait_s(seconds: u32) {
    thread::sleep(Duration::from_secs(seconds.into()));
}

/// Whether each number of workers did something, and more of them so much more than fewer: at least half of
/// what there would be more if each did as much.
fn have_all_worked(phases: &[Phase], work_us: u64) -> bool {
    let has_scaled = |few: &Phase, many: &Phase| {
        let times = f64::from(many.workers) / f64::from(few.workers);
        times <= 1.0 || many.done_hz >= few.done_hz * f64::midpoint(1.0, times)
    };
    let have_scaled = || phases.windows(2).all(|pair| has_scaled(&pair[0], &pair[1]));
    phases.iter().all(|phase| phase.answered > 0)
        && (work_us < SCALING_WORK_US_MIN || have_scaled())
}

impl PhasesReport {
    fn new(arguments: &TasksArguments, phases: Vec<Phase>, asked: &Asked, counted: u64) -> Self {
        let answered = asked.answered + u64::from(arguments.users);
        let (lost, doubled) = lost_and_doubled(answered, counted);
        let is_whole = lost + doubled + asked.refused == 0;
        let is_good = is_whole && have_all_worked(&phases, arguments.work_us);
        Self {
            work_us: arguments.work_us,
            open: arguments.users * arguments.window,
            phases,
            answered,
            refused: asked.refused,
            lost,
            doubled,
            verdict: if is_good { Verdict::Pass } else { Verdict::Fail },
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

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(workers: u32, answered: u64) -> Phase {
        Phase { workers, answered, done_hz: answered as f64 }
    }

    #[test]
    fn a_number_of_workers_that_does_nothing_fails() {
        assert!(have_all_worked(&[phase(1, 9), phase(2, 9)], 0));
        assert!(!have_all_worked(&[phase(1, 9), phase(2, 0)], 0));
        assert!(!have_all_worked(&[phase(2, 0), phase(1, 9)], 0));
    }

    #[test]
    fn more_workers_do_more_where_they_limit_what_is_done() {
        let good = [phase(1, 100), phase(3, 200), phase(2, 10), phase(4, 15)];
        assert!(have_all_worked(&good, 500));
        let bad = [phase(1, 100), phase(3, 199)];
        assert!(!have_all_worked(&bad, 500));
        assert!(have_all_worked(&bad, 499));
    }
}
