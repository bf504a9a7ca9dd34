//! A generator: one process, on one core, that plays a part of the users. It is told what to play
//! by its first line of input, and the times by a later one, and tells what it did by lines of
//! JSON. Its users are spread over the rooms, so that rooms span generators.

pub mod connections;
pub mod control;
mod engine;

use std::io::{BufRead as _, BufReader, stdin};
use std::sync::mpsc;

use anyhow::{Context as _, Result};

use self::control::{Command, Event, Plan};
use crate::pinning;

/// Plays until everything was heard. A failure is told to the parent as the last event.
///
/// # Errors
/// When the first line is no plan, or an event cannot be written.
pub fn run() -> Result<()> {
    let mut lines = BufReader::new(stdin()).lines();
    let line = lines.next().context("a generator is started by `run` or `floor`")??;
    let plan: Plan = serde_json::from_str(&line).context("the first line is no plan")?;
    let (commands, received) = mpsc::channel();
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        for line in lines.map_while(Result::ok) {
            let Ok(command) = serde_json::from_str::<Command>(&line) else { return };
            if commands.send(command).is_err() {
                return;
            }
        }
    })?;
    let event = match play(plan, &received) {
        Ok(report) => Event::Finished(Box::new(report)),
        Err(error) => Event::Failed { reason: format!("{error:#}") },
    };
    event.write()
}

fn play(plan: Plan, commands: &mpsc::Receiver<Command>) -> Result<control::Report> {
    pinning::bind(&[plan.core]).context("pinning")?;
    engine::Engine::new(plan)?.run(commands)
}
