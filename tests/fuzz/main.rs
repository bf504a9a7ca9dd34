//! Fuzzing: every decoder of bytes that come from outside, against bytes that are wrong in the ways
//! in which bytes of that kind can be.
//!
//! ```text
//! cargo test --release --test fuzz                                    every target, a few seconds
//! cargo test --release --test fuzz -- --target xml --inputs 10000000  one of them, for long
//! cargo test --release --test fuzz -- --seed 7                        other inputs than usual
//! cargo test --release --test fuzz -- --target xml --file FILE        one input again
//! ```
//!
//! `targets` says what is decoded and what has to hold, `corpus` where inputs begin, `mutator` what
//! is done to them, `heap` counts memory, `driver` runs it all. One seed gives the same inputs in
//! every run.

use std::process::ExitCode;

use driver::{Plan, Run};
use targets::{TARGETS, Target};

mod corpus;
mod driver;
mod heap;
mod mutator;
#[path = "../simulator/prng.rs"]
#[expect(dead_code, reason = "the simulator draws in more ways")]
mod prng;
mod targets;
#[path = "../vectors/wire.rs"]
mod wire;

/// What the command line asks for.
#[derive(Default)]
struct Arguments {
    list: bool,
    exact: bool,
    ignored: bool,
    names: Vec<String>,
    plan: Plan,
    file: Option<String>,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut arguments = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value"));
            let number = |text: String| text.parse().map_err(|_| format!("no number: {text}"));
            match word.as_str() {
                "--list" => arguments.list = true,
                "--exact" => arguments.exact = true,
                "--ignored" => arguments.ignored = true,
                "--inputs" => arguments.plan.inputs = Some(number(value()?)?),
                "--seed" => arguments.plan.seed = number(value()?)?,
                "--target" => arguments.names.push(value()?),
                "--file" => arguments.file = Some(value()?),
                "--keep-last" => arguments.plan.keep_last = Some(value()?.into()),
                // Options of Rust's own test runner have no meaning here.
                "--format" | "--color" | "--test-threads" => drop(value()?),
                _ if word.starts_with('-') => {}
                _ => arguments.names.push(word),
            }
        }
        Ok(arguments)
    }

    fn chooses(&self, name: &str) -> bool {
        let is_asked = |asked: &String| match self.exact {
            true => asked == name,
            false => name.contains(asked.as_str()),
        };
        self.names.is_empty() || self.names.iter().any(is_asked)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.list {
        // The protocol of test runners: none is ever ignored.
        if !arguments.ignored {
            TARGETS.iter().for_each(|target| println!("{}: test", target.name));
        }
        return ExitCode::SUCCESS;
    }
    driver::hear_panics();
    let chosen: Vec<&Target> =
        TARGETS.iter().filter(|target| arguments.chooses(target.name)).collect();
    match &arguments.file {
        Some(file) => run_all(&chosen, |target| driver::run_file(target, file)),
        None => run_all(&chosen, |target| driver::run(target, &arguments.plan)),
    }
}

/// Runs the chosen targets, and closes as Rust's own test runner does.
fn run_all(chosen: &[&Target], run: impl Fn(&Target) -> Result<Run, String>) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    for target in chosen {
        match run(target) {
            Ok(run) => {
                passed += 1;
                println!("test {} ... ok: {run}", target.name);
            }
            Err(words) => {
                failed += 1;
                println!("test {} ... FAILED\n{words}", target.name);
            }
        }
    }
    let (word, left) = (if failed == 0 { "ok" } else { "FAILED" }, TARGETS.len() - chosen.len());
    println!("\ntest result: {word}. {passed} passed; {failed} failed; {left} filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
