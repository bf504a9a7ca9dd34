//! A generator: one process, on one core, that plays a part of the users. It is told what to play
//! by its first line of input, and the times by a later one, and tells what it did by lines of
//! JSON. Its users are spread over the rooms, so that rooms span generators.

pub mod beats;
mod checks;
pub mod connections;
pub mod control;
mod engine;
mod npcs;
pub mod series;
pub mod setters;
mod tls;
mod walkers;
mod watcher;
mod worlds;

use std::io::{BufRead as _, BufReader, stdin};
use std::sync::mpsc;

use anyhow::{Context as _, Result};

use self::control::{Command, Event, Plan};
use self::engine::Engine;
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
    let mut engine = match begin(plan) {
        Ok(engine) => engine,
        Err(error) => return failed(&error),
    };
    match engine.run(&received) {
        Ok(report) => Event::Finished(Box::new(report)).write()?,
        Err(error) => return failed(&error),
    }
    // Connections stay open until the parent has heard of all generators: closing thousands of them
    // would take the core away from those that still listen.
    while received.recv().is_ok() {}
    Ok(())
}

fn failed(error: &anyhow::Error) -> Result<()> {
    Event::Failed { reason: format!("{error:#}") }.write()
}

fn begin(plan: Plan) -> Result<Engine> {
    pinning::bind(&[plan.core]).context("pinning")?;
    Engine::new(plan)
}
