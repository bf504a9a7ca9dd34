//! The generators, as their parent sees them.

use std::io::Write as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::OwnedChild;
use crate::clock;
use crate::generator::control::{Command as GeneratorCommand, Event, Plan};
use crate::pinning;

/// What came from a generator: its number, and an event, or nothing when it has ended.
type Told = (usize, Option<Event>);

/// All generators of a phase.
pub struct Generators {
    children: Vec<(OwnedChild, ChildStdin)>,
    events: Receiver<Told>,
}

impl Generators {
    /// Starts a generator for each plan, on its core; if `first`, before everyone else who wants that.
    ///
    /// # Errors
    /// When one cannot be started, or may not come first.
    pub fn start(plans: &[Plan], first: bool) -> Result<Self> {
        let (told, events) = channel();
        let mut generators = Self { children: Vec::new(), events };
        for (number, plan) in plans.iter().enumerate() {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("generate").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = OwnedChild::start(&mut command, &[plan.core])?;
            if first {
                pinning::step_forward(child.id()).context("the priority of a generator")?;
            }
            let input = child.take_input().context("the input is piped")?;
            let told = told.clone();
            let mut over = false;
            child.read_lines(move |line| {
                if !over {
                    over = pass_on(number, line, &told);
                }
            })?;
            generators.children.push((child, input));
            generators.write(number, plan)?;
        }
        Ok(generators)
    }

    /// Tells all generators.
    ///
    /// # Errors
    /// When one is gone.
    pub fn command(&mut self, command: GeneratorCommand) -> Result<()> {
        (0..self.children.len()).try_for_each(|number| self.write(number, &command))
    }

    fn write(&mut self, number: usize, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        let input = &mut self.children[number].1;
        input.write_all(&line).context("a generator is gone")
    }

    /// The next event before a time of `CLOCK_MONOTONIC`, with the generator's number.
    ///
    /// # Errors
    /// When a generator has failed, or ended without its report.
    pub fn event_before(&self, until_ns: u64) -> Result<Option<(usize, Event)>> {
        let wait_ns = until_ns.saturating_sub(clock::monotonic_ns());
        match self.events.recv_timeout(Duration::from_nanos(wait_ns)) {
            Ok((number, Some(Event::Failed { reason }))) => bail!("generator {number}: {reason}"),
            Ok((number, Some(event))) => Ok(Some((number, event))),
            Ok((number, None)) => bail!("generator {number} ended"),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("all generators ended"),
        }
    }
}

/// Passes on what a generator tells, and says whether that was its last word: after it, it ends.
fn pass_on(number: usize, line: Option<String>, told: &Sender<Told>) -> bool {
    let event = line.map(|line| {
        serde_json::from_str(&line)
            .unwrap_or_else(|error| Event::Failed { reason: format!("not an event: {error}") })
    });
    let last = matches!(event, Some(Event::Finished(_) | Event::Failed { .. }) | None);
    // When nobody listens any more, nobody waits for it either.
    let _ = told.send((number, event));
    last
}
