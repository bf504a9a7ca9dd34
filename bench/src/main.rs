//! The program `warren-bench`: see the library beside it.

use std::process::ExitCode;

use clap::Parser as _;
use warren_bench::arguments::{Action, Arguments};
use warren_bench::floor_server::FloorSettings;
use warren_bench::{
    attack, behaviour, compare, floor_server, generator, objects, plugin, runner, search, stall,
    tasks,
};

/// The run could not be made, so there is no verdict.
const EXIT_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let result = match Arguments::parse().action {
        Action::Run(arguments) => runner::run(&arguments).map(|verdict| verdict.exit_status()),
        Action::Floor(arguments) => runner::floor(&arguments).map(|verdict| verdict.exit_status()),
        Action::Search(arguments) => search::run(&arguments).map(|verdict| verdict.exit_status()),
        Action::Compare(arguments) => {
            compare::run(&arguments).map(|judgement| judgement.exit_status())
        }
        Action::Generate => generator::run().map(|()| 0),
        Action::Ab(arguments) => runner::ab(&arguments).map(|verdict| verdict.exit_status()),
        Action::Objects(arguments) => objects::run(&arguments).map(|verdict| verdict.exit_status()),
        Action::Tasks(arguments) => tasks::run(&arguments).map(|verdict| verdict.exit_status()),
        Action::HoldTasks { address } => tasks::hold(&address).map(|()| 0),
        Action::Attack(arguments) => attack::run(&arguments).map(|verdict| verdict.exit_status()),
        Action::Stall(arguments) => stall::run(&arguments),
        Action::Plugin(arguments) => plugin::run(&arguments).map(|verdict| verdict.exit_status()),
        Action::Behaviour(arguments) => {
            behaviour::run(&arguments).map(|verdict| verdict.exit_status())
        }
        Action::Attacker => attack::attacker::run().map(|()| 0),
        Action::FloorServer { shards, connections_max, heartbeat_ms } => {
            let heartbeat_ns = heartbeat_ms * 1_000_000;
            let settings = FloorSettings { shards, connections_max, heartbeat_ns };
            floor_server::run(settings).map(|()| 0)
        }
    };
    result.map_or_else(
        |error| {
            eprintln!("warren-bench: {error:#}");
            ExitCode::from(EXIT_NOT_RUN)
        },
        ExitCode::from,
    )
}
