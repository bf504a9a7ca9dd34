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
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
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
/// All that a kill brings is there by then, or the run fails.
const WAIT_NS: u64 = 20 * SECOND_NS;

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
        let (holder, mut said) = start_holder(site, &ticket)?;
        hear(&mut said, WORKS)?;
        asker.push_each()?;
        hear(&mut said, HOLDS)?;
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
    let is_whole = lost + doubled == 0;
    let verdict = if is_whole { Verdict::Pass } else { Verdict::Fail };
    let redelivery_us = latencies.percentiles_us();
    Ok(KillsReport { kills, held: HELD, redelivery_us, lost, doubled, verdict })
}

type Lines = std::io::Lines<BufReader<std::process::ChildStdout>>;

fn start_holder(site: &Site<'_>, ticket: &str) -> Result<(Process, Lines)> {
    let mut holder = Command::new(std::env::current_exe()?);
    holder.arg("hold-tasks").arg(site.address.to_string()).env("WARREN_TICKET", ticket);
    let child = holder.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut holder = Process(child.context("starting a worker")?);
    let output = holder.0.stdout.take().context("its output")?;
    Ok((holder, BufReader::new(output).lines()))
}

fn hear(said: &mut Lines, word: &str) -> Result<()> {
    let line = said.next().context("the worker has ended")??;
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
