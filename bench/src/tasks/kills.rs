//! Redelivery: a worker process that holds tasks is killed, and another has them.
//!
//! ```text
//! asker ──HELD tasks──► server ──► holder, which does nothing ──SIGKILL──► its connection ends
//!                          └─────────────────the same tasks─────────────► survivor, which does them
//! ```
//!
//! What is measured is the time from before the signal until the survivor has read each task: so the
//! kernel's end of the process and of its connection counts too.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use warren_core::message::Value;

use super::asker::Asker;
use super::report::lost_and_doubled;
use super::wire::Wire;
use super::worker::Worker;
use super::{METHOD, Process, SECOND_NS, Site};
use crate::clock;
use crate::histogram::{Latencies, Percentiles};
use crate::verdict::Verdict;

/// Tasks that are with a worker when it is killed.
const HELD: u32 = 16;
/// What a holder says of itself.
const WORKS: &str = "works";
const HOLDS: &str = "holds";
/// All that a kill brings is there by then, and a worker says by then what it has to, or the run fails.
const WAIT_NS: u64 = 20 * SECOND_NS;
/// Another has a task within this time, or the verdict is `fail`.
const REDELIVERY_MAX_US: f64 = 5e6;

#[derive(Debug, Serialize)]
pub(super) struct KillsReport {
    kills: u32,
    /// Tasks with each worker that was killed.
    held: u32,
    /// From the signal until another worker had the task.
    redelivery_us: Option<Percentiles>,
    lost: u64,
    doubled: u64,
    pub(super) verdict: Verdict,
}

/// Kills a worker so many times.
pub(super) fn measure(site: &Site<'_>, kills: u32) -> Result<KillsReport> {
    let ticket = site.tickets.of("survivor", "worker")?;
    let mut survivor = Worker::open(site.address, &ticket)?;
    let ticket = site.tickets.of("asker", "user")?;
    let mut asker = Asker::open((site.address, &ticket), 0, HELD)?;
    let targets = asker.targets().to_vec();
    let mut latencies = Latencies::default();
    for number in 0..kills {
        survivor.set_credits(0)?;
        let ticket = site.tickets.of(&format!("holder{number}"), "worker")?;
        let (holder, said) = start_holder(site, &ticket)?;
        hear(&said, WORKS)?;
        asker.push_each()?;
        hear(&said, HOLDS)?;
        survivor.set_credits(HELD)?;
        let killed_ns = clock::monotonic_ns();
        drop(holder);
        let until_ns = killed_ns + WAIT_NS;
        let mut count = 0;
        while count < HELD {
            ensure!(clock::monotonic_ns() < until_ns, "{count} of {HELD} tasks came again");
            survivor.do_some(|| {
                latencies.record_ns(clock::monotonic_ns() - killed_ns);
                count += 1;
            })?;
        }
        asker.hear_each(HELD, until_ns)?;
    }
    let counted = asker.sum(&targets)?;
    let (lost, doubled) = lost_and_doubled(u64::from(kills) * u64::from(HELD), counted);
    let redelivery_us = latencies.percentiles_us();
    let is_good = lost + doubled == 0 && is_soon(redelivery_us);
    let verdict = if is_good { Verdict::Pass } else { Verdict::Fail };
    Ok(KillsReport { kills, held: HELD, redelivery_us, lost, doubled, verdict })
}

/// Whether there were tasks, and another had the last of them soon enough.
fn is_soon(redelivery_us: Option<Percentiles>) -> bool {
    redelivery_us.is_some_and(|redelivery_us| redelivery_us.max <= REDELIVERY_MAX_US)
}

/// Lines of a process; a thread reads them until it ends.
type Lines = Receiver<std::io::Result<String>>;

fn start_holder(site: &Site<'_>, ticket: &str) -> Result<(Process, Lines)> {
    let mut holder = Command::new(std::env::current_exe()?);
    holder.arg("hold-tasks").arg(site.address.to_string()).env("WARREN_TICKET", ticket);
    let child = holder.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut holder = Process(child.context("starting a worker")?);
    let output = holder.0.stdout.take().context("its output")?;
    let (told, said) = sync_channel(2);
    let read = move || {
        // Nobody listens any more where the run has ended.
        BufReader::new(output).lines().try_for_each(|line| told.send(line)).unwrap_or_default();
    };
    Builder::new().name("holder-lines".to_owned()).spawn(read)?;
    Ok((holder, said))
}

fn hear(said: &Lines, word: &str) -> Result<()> {
    let line = match said.recv_timeout(Duration::from_nanos(WAIT_NS)) {
        Ok(line) => line.context("reading what a worker says")?,
        Err(RecvTimeoutError::Timeout) => bail!("the worker does not say {word}"),
        Err(RecvTimeoutError::Disconnected) => bail!("the worker has ended"),
    };
    ensure!(line == word, "the worker says {line}");
    Ok(())
}

/// A worker that takes tasks and does none, until it is killed or the server is gone.
///
/// # Errors
/// Always, in the end.
pub fn hold(address: &str) -> Result<()> {
    let ticket = std::env::var("WARREN_TICKET").context("WARREN_TICKET")?;
    let mut wire = Wire::open(address.parse()?, &ticket)?;
    let work = [("methods", Value::Text(METHOD)), ("credits", Value::Integer(HELD.into()))];
    wire.ask_once("work", &work, |_| Ok(()))?;
    println!("{WORKS}");
    let mut count = 0;
    loop {
        wire.receive(Duration::from_secs(1), |message, _| {
            if message.method() == "task" {
                count += 1;
                if count == HELD {
                    println!("{HOLDS}");
                }
            }
            Ok(())
        })?;
    }
}

impl KillsReport {
    pub(super) fn to_table(&self) -> String {
        let mut text = String::new();
        let Self { kills, held, lost, doubled, .. } = self;
        let _ = writeln!(text, "kills           {kills}, of a worker with {held} tasks");
        if let Some(Percentiles { p50, p99, max, .. }) = self.redelivery_us {
            let _ = writeln!(text, "redelivery, us  p50 {p50:.0}, p99 {p99:.0}, max {max:.0}");
        }
        let _ = writeln!(text, "lost {lost}, doubled {doubled}");
        let _ = writeln!(text, "{}", self.verdict.label());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_another_has_late_or_never_fail() {
        let after = |seconds: u64| {
            let mut latencies = Latencies::default();
            latencies.record_ns(1);
            latencies.record_ns(seconds * SECOND_NS);
            latencies.percentiles_us()
        };
        assert!(is_soon(after(4)));
        assert!(!is_soon(after(6)));
        assert!(!is_soon(None));
    }

    #[test]
    fn a_worker_that_says_something_else_or_nothing_more_fails() {
        let (told, said) = sync_channel(2);
        told.send(Ok(WORKS.to_owned())).unwrap();
        hear(&said, WORKS).unwrap();
        told.send(Ok("sleeps".to_owned())).unwrap();
        assert_eq!(hear(&said, HOLDS).unwrap_err().to_string(), "the worker says sleeps");
        drop(told);
        assert_eq!(hear(&said, HOLDS).unwrap_err().to_string(), "the worker has ended");
    }
}
