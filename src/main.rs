//! The `warren` program: arguments to configuration to server.

use std::process::ExitCode;

use clap::Parser;
use warren::allocation_counter::AllocationCounter;
use warren::arguments::{Arguments, Command};
use warren::config::ServerConfig;
use warren::fatal::Fatal;
use warren::server::Server;
use warren::topology::inherited_cores;
use warren::{demo, logging};

#[global_allocator]
static ALLOCATOR: AllocationCounter = AllocationCounter;

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            eprintln!("warren: {fatal}");
            fatal.exit_code()
        }
    }
}

fn run(command: &Command) -> Result<(), Fatal> {
    let (Command::Serve(arguments) | Command::Demo(arguments)) = command;
    let cores = inherited_cores().len();
    let config = ServerConfig::load(arguments.config.as_deref(), &arguments.overrides(), cores)?;
    let _log = logging::start(config.log)?;
    let server = Server::start(&config)?;
    let (listen, admin) = (server.listen_addr(), server.admin_addr());
    match command {
        Command::Serve(_) => server.run(std::future::pending()),
        Command::Demo(_) => server.run(async move {
            // A closed standard output is no reason to stop serving.
            let _ = demo::print_invitation(listen, admin);
            demo::run_bots(listen).await;
        }),
    }
}
