//! The generators, as their parent sees them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::OwnedChild;
use crate::clock;
use crate::generator::control::{Command as GeneratorCommand, Event, Plan};

/// What came from a generator: its number, and an event, or nothing when it has ended.
type Told = (usize, Option<Event>);

/// All generators of a phase.
pub struct Generators {
    children: Vec<(OwnedChild, ChildStdin)>,
    events: Receiver<Told>,
}

impl Generators {
    /// Starts a generator for each plan, on its core.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start(plans: &[Plan]) -> Result<Self> {
        let (told, events) = channel();
        let mut generators = Self { children: Vec::new(), events };
        for (number, plan) in plans.iter().enumerate() {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("generate").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = OwnedChild::start(&mut command, &[plan.core])?;
            let input = child.get().stdin.take().context("the input is piped")?;
            let output = child.get().stdout.take().context("the output is piped")?;
            let told = told.clone();
            std::thread::spawn(move || listen(number, output, &told));
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

/// Passes a generator's events on; after its last one it may end.
fn listen(number: usize, output: impl std::io::Read, told: &Sender<Told>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let event = serde_json::from_str::<Event>(&line)
            .unwrap_or_else(|error| Event::Failed { reason: format!("not an event: {error}") });
        let last = matches!(event, Event::Finished(_) | Event::Failed { .. });
        if told.send((number, Some(event))).is_err() || last {
            return;
        }
    }
    // Nobody listens any more: then nobody waits for it either.
    let _ = told.send((number, None));
}
