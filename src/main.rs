//! The `warren` program: arguments to configuration to server.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use warren::allocation_counter::AllocationCounter;
use warren::arguments::{Arguments, Command, ReportArguments, ServerArguments};
use warren::config::{EffectiveConfig, LogFormat, ServerConfig};
use warren::doctor::Report;
use warren::fatal::{Fatal, FatalReason};
use warren::logging::LogGuard;
use warren::reload::Reload;
use warren::server::Server;
use warren::tls::read_identity;
use warren::topology::inherited_cores;
use warren::{
    backup, ctl, demo, export, import, log_reader, logging, native_worker, new, ticket, worker,
};

#[global_allocator]
static ALLOCATOR: AllocationCounter = AllocationCounter;

fn main() -> ExitCode {
    run(&Arguments::parse().command).unwrap_or_else(|fatal| {
        eprintln!("warren: {fatal}");
        fatal.exit_code()
    })
}

fn run(command: &Command) -> Result<ExitCode, Fatal> {
    if let Command::Ticket(arguments) = command {
        return ticket::run(arguments, &mut std::io::stdout().lock());
    }
    if let Command::Ctl(arguments) = command {
        return ctl::run(arguments, &mut std::io::stdout().lock(), &mut std::io::stderr().lock());
    }
    if let Command::Worker(arguments) = command {
        return Err(worker::run(arguments));
    }
    if let Command::New(arguments) = command {
        return new::run(arguments, &mut std::io::stdout().lock());
    }
    if let Command::NativeWorker(arguments) = command {
        return native_worker::run(arguments);
    }
    if let Command::Log(arguments) = command {
        return log_reader::run(arguments, &mut std::io::stdout().lock());
    }
    if let Command::Backup(arguments) = command {
        let out = &mut std::io::stdout().lock();
        return backup::back_up(arguments, out, &mut std::io::stderr().lock());
    }
    if let Command::Restore(arguments) = command {
        return backup::restore(arguments, &mut std::io::stdout().lock());
    }
    if let Command::Export(arguments) = command {
        return export::run(arguments, &mut std::io::stdout().lock());
    }
    if let Command::Import(arguments) = command {
        return import::run(arguments, &mut std::io::stdout().lock());
    }
    let arguments = command.server().expect("the other commands are about a server");
    let cores = inherited_cores().len();
    let file = arguments.config.as_deref();
    let (mut config, effective) = EffectiveConfig::load(file, &arguments.overrides(), cores)?;
    match command {
        Command::Doctor(report) => Ok(doctor(&config, report)),
        Command::CheckConfig(report) => {
            if let Some(files) = &config.tls.files {
                let fault = |error| Fatal::new(FatalReason::ConfigInvalid, error);
                read_identity(files).map_err(fault)?;
            }
            Ok(check_config(&effective, report))
        }
        Command::Ticket(_)
        | Command::Ctl(_)
        | Command::Worker(_)
        | Command::New(_)
        | Command::NativeWorker(_)
        | Command::Log(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Export(_)
        | Command::Import(_) => panic!("it is about no server of its own"),
        Command::Serve(_) | Command::Demo(_) => {
            let log = logging::start(config.log)?;
            let is_demo = matches!(command, Command::Demo(_));
            if is_demo && config.data.is_none() {
                config.data = demo::data_folder();
            }
            // A demo belongs to its terminal, and ends with it.
            let reload = (!is_demo).then(|| reload(arguments, cores, effective, &log));
            match serve(&config, is_demo, &log, reload) {
                // Who parses the log finds the reason there.
                Err(fatal) if config.log.format == LogFormat::Json => {
                    let status = fatal.reason.exit_status();
                    tracing::error!(reason = fatal.reason.word(), status, "{}", fatal.detail);
                    Ok(fatal.exit_code())
                }
                result => result.map(|()| ExitCode::SUCCESS),
            }
        }
    }
}

fn reload(
    arguments: &ServerArguments,
    cores: usize,
    running: EffectiveConfig,
    log: &LogGuard,
) -> Reload {
    let (file, overrides) = (arguments.config.clone(), arguments.overrides());
    Reload::new(file, overrides, cores, running, log.level_switch())
}

fn serve(
    config: &ServerConfig,
    is_demo: bool,
    log: &LogGuard,
    reload: Option<Reload>,
) -> Result<(), Fatal> {
    // It may be told to stop before it serves.
    let Some(server) = Server::start(config, log, reload)? else { return Ok(()) };
    let (listen, admin, data) = (server.listen_addr(), server.admin().clone(), config.data.clone());
    if !is_demo {
        return server.run(log, std::future::pending());
    }
    server.run(log, async move {
        // A closed standard output is no reason to stop serving.
        let _ = demo::print_invitation(listen, &admin, data.as_deref());
        demo::run_bots(listen).await;
    })
}

// Of both reports the exit status is the answer, even where nobody reads standard output.

fn doctor(config: &ServerConfig, arguments: &ReportArguments) -> ExitCode {
    let report = Report::of_this_machine(config);
    let out = &mut std::io::stdout().lock();
    let _ = if arguments.json { report.write_json(out) } else { report.write_text(out) };
    ExitCode::from(report.exit_status())
}

fn check_config(effective: &EffectiveConfig, arguments: &ReportArguments) -> ExitCode {
    let out = &mut std::io::stdout().lock();
    let _ = if arguments.json {
        let file = arguments.server.config.as_ref().map(|file| file.display().to_string());
        let report = serde_json::json!({ "file": file, "keys": effective.to_json() });
        writeln!(out, "{report}")
    } else {
        write!(out, "{effective}")
    };
    ExitCode::SUCCESS
}
