//! One process of a section: where it is in its life, and how it ends.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use warren_core::control::Leases;

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not said `work` yet, and has until then to do so.
    Starting { until_ns: u64 },
    /// It has said `work`.
    Working,
    /// It was asked to end, and has until then to do so.
    Draining { until_ns: u64 },
    /// It was killed.
    Killed,
}

impl Stage {
    /// When something is due of it.
    pub(super) fn until_ns(self) -> Option<u64> {
        match self {
            Self::Starting { until_ns } | Self::Draining { until_ns } => Some(until_ns),
            Self::Working | Self::Killed => None,
        }
    }

    /// The word that is told.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Starting { .. } => "starting",
            Self::Working => "working",
            Self::Draining { .. } | Self::Killed => "draining",
        }
    }
}

/// Whose place a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It has this seat.
    Seated(usize),
    /// It gets this seat when all that were started with it work.
    Candidate(usize),
    /// Another has its seat.
    Leaving,
}

/// A look whether a process is stuck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) due_ns: u64,
    pub(super) now_ns: u64,
    /// It is late when it comes so long after it was due.
    pub(super) late_ns: u64,
    pub(super) silent_ms_max: u64,
}

/// A process that runs.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) stage: Stage,
    pub(super) part: Part,
    pub(super) started_ns: u64,
    /// It was asked to end.
    pub(super) was_asked: bool,
    /// Because it was stuck.
    pub(super) was_stuck: bool,
    /// When it is looked next whether it is.
    pub(super) look_ns: u64,
    /// Since when it has no session.
    away_since_ns: Option<u64>,
    /// The last look in its time has found it silent for too long.
    was_silent: bool,
    /// By which it is meant also when its number is another's.
    handle: Arc<OwnedFd>,
}

impl Process {
    /// Of a child that was just started, and what waits for its end. One that cannot be watched is ended.
    pub(super) fn of(
        mut child: Child,
        (stage, part, started_ns): (Stage, Part, u64),
    ) -> io::Result<(Self, impl Future<Output = io::Result<ExitStatus>> + Send + use<>)> {
        let pid = child.id();
        let opened = pidfd_open(id_of(pid), PidfdFlags::NONBLOCK);
        let handle = Arc::new(or_end(&mut child, opened.map_err(io::Error::from))?);
        let watched = or_end(&mut child, watch(&handle))?;
        let ended = ended(child, watched);
        let process = Self {
            pid,
            stage,
            part,
            started_ns,
            was_asked: false,
            was_stuck: false,
            look_ns: started_ns,
            away_since_ns: None,
            was_silent: false,
            handle,
        };
        Ok((process, ended))
    }

    /// When it is to be looked whether it is stuck.
    pub(super) fn look_ns(&self) -> Option<u64> {
        (self.stage == Stage::Working).then_some(self.look_ns)
    }

    /// What a look has found that was due then: how long it was silent, if it is stuck. A look that comes late
    /// tells nothing: the server has stood still, and what was said meanwhile waits to be read. So does what was
    /// said while it stood still just before a look; for that there is a second one.
    pub(super) fn looked(&mut self, leases: Option<Leases>, look: Look) -> Option<u64> {
        if look.now_ns.saturating_sub(look.due_ns) > look.late_ns {
            (self.away_since_ns, self.was_silent) = (None, false);
            return None;
        }
        let silent_ms = self.silent_ms(leases, look.now_ns);
        let is_silent = silent_ms > look.silent_ms_max;
        let was_silent = core::mem::replace(&mut self.was_silent, is_silent);
        (is_silent && was_silent).then_some(silent_ms)
    }

    /// A look has found nothing: none before it counts.
    pub(super) fn not_looked(&mut self) {
        self.was_silent = false;
    }

    /// For how long nothing was heard of it that should have been: since it has no session, or since its time
    /// for a task was over. One that still has a task in its time may be busy with that.
    fn silent_ms(&mut self, leases: Option<Leases>, now_ns: u64) -> u64 {
        let Some(leases) = leases else {
            let since_ns = *self.away_since_ns.get_or_insert(now_ns);
            return (now_ns - since_ns) / 1_000_000;
        };
        self.away_since_ns = None;
        leases.silent_ms.filter(|_| leases.count == 0).unwrap_or(0)
    }

    /// Asks it to end until then.
    pub(super) fn ask_to_end(&mut self, until_ns: u64) {
        if !core::mem::replace(&mut self.was_asked, true) && self.stage != Stage::Killed {
            self.stage = Stage::Draining { until_ns };
            self.send(Signal::TERM);
        }
    }

    pub(super) fn kill(&mut self) {
        self.stage = Stage::Killed;
        self.send(Signal::KILL);
    }

    fn send(&self, signal: Signal) {
        // It may have ended just now, and that is heard of.
        let _ = pidfd_send_signal(&self.handle, signal);
    }
}

fn id_of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a process has a number above 0")
}

/// What was made of a child; without it the child ends, and what it has started with it.
fn or_end<T>(child: &mut Child, made: io::Result<T>) -> io::Result<T> {
    if made.is_err() {
        let _ = kill_process_group(id_of(child.id()), Signal::KILL);
        let _ = child.wait();
    }
    made
}

#[expect(
    deprecated,
    reason = "who has the descriptor keeps it, which that function does not ask for"
)]
fn watch(handle: &Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::with_interest(Arc::clone(handle), Interest::READABLE)
}

/// Waits for the end of a process. What it has started and not ended goes with it: its group is the process's
/// until nobody has its number any more.
async fn ended(mut child: Child, handle: AsyncFd<Arc<OwnedFd>>) -> io::Result<ExitStatus> {
    let _readable = handle.readable().await?;
    let _ = kill_process_group(id_of(child.id()), Signal::KILL);
    child.wait()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    use super::*;

    /// What comes of a process that works.
    fn of_process<T>(look: impl FnOnce(&mut Process) -> T) -> T {
        let child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let (mut process, ended) =
            Process::of(child, (Stage::Working, Part::Seated(0), 0)).unwrap();
        let seen = look(&mut process);
        process.kill();
        runtime.block_on(ended).unwrap();
        seen
    }

    fn silence(leases: &[Option<Leases>]) -> Vec<u64> {
        of_process(|process| {
            let second = |(leases, second): (&Option<Leases>, u64)| {
                process.silent_ms(*leases, second * 1_000_000_000)
            };
            leases.iter().zip(1..).map(second).collect()
        })
    }

    /// What looks find that are due each second, and come so late: one that may be silent for 5 ms.
    fn found(looks: &[(Option<u64>, u64)]) -> Vec<Option<u64>> {
        of_process(|process| {
            let one = |((silent_ms, late_ms), second): (&(Option<u64>, u64), u64)| {
                let leases = Leases { oldest_ms: 9, silent_ms: *silent_ms, ..Leases::default() };
                let due_ns = second * 1_000_000_000;
                let now_ns = due_ns + late_ms * 1_000_000;
                let look = Look { due_ns, now_ns, late_ns: 500_000_000, silent_ms_max: 5 };
                process.looked(silent_ms.map(|_| leases), look)
            };
            looks.iter().zip(1..).map(one).collect()
        })
    }

    #[test]
    fn two_looks_in_a_row_find_who_is_stuck_and_late_ones_find_nobody() {
        let (silent, heard) = ((Some(7), 0), (Some(5), 0));
        assert_eq!(found(&[silent, heard, silent, silent]), [None, None, None, Some(7)]);
        // The server stood still.
        let late = (Some(7), 501);
        assert_eq!(found(&[silent, late, silent, silent]), [None, None, None, Some(7)]);
        assert_eq!(found(&[late, late, late]), [None; 3]);
        // Without a session, from the first look on that is in its time.
        let away = |late_ms| (None, late_ms);
        let looks = [away(0), away(60_000), away(0), away(0), away(0)];
        assert_eq!(found(&looks), [None, None, None, None, Some(2000)]);
    }

    #[test]
    fn a_look_without_an_answer_lets_none_before_it_count() {
        let look = Look { due_ns: 0, now_ns: 0, late_ns: 9, silent_ms_max: 5 };
        let silent = Some(Leases { oldest_ms: 9, silent_ms: Some(7), ..Leases::default() });
        let found = of_process(|process| {
            let first = process.looked(silent, look);
            process.not_looked();
            [first, process.looked(silent, look), process.looked(silent, look)]
        });
        assert_eq!(found, [None, None, Some(7)]);
    }

    #[test]
    fn who_has_a_task_in_its_time_or_was_heard_is_not_stuck() {
        let of = |count, silent_ms| Some(Leases { count, silent_ms, ..Leases::default() });
        assert_eq!(silence(&[of(0, None), of(0, Some(7)), of(1, Some(7))]), [0, 7, 0]);
        assert_eq!(silence(&[None, None, None, of(0, None), None]), [0, 1000, 2000, 0, 0]);
    }

    #[test]
    fn a_child_that_cannot_be_watched_is_ended() {
        let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        assert_eq!(or_end(&mut child, Ok(7)).unwrap(), 7);
        assert_eq!(child.try_wait().unwrap(), None);
        let refused = or_end(&mut child, Err::<(), _>(io::Error::other("no descriptor is left")));
        assert_eq!(refused.unwrap_err().to_string(), "no descriptor is left");
        let status = child.try_wait().unwrap().expect("it was waited for");
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    }
}
