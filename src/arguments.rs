//! The command line. Flags win over the configuration file, which wins over the defaults.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::backup::{BackupArguments, RestoreArguments};
use crate::config::{Endpoint, Overrides};
use crate::ctl::CtlArguments;
use crate::export::ExportArguments;
use crate::import::ImportArguments;
use crate::log_reader::LogArguments;
use crate::native_worker::NativeWorkerArguments;
use crate::new::NewArguments;
use crate::ticket::TicketArguments;
use crate::worker::WorkerArguments;

const EXAMPLES: &str = "\
Examples:
  warren demo                                   a server, bots in rooms, and how to join them
  warren serve                                  a server on 127.0.0.1:7171
  warren serve --config warren.toml --shards 2
  warren serve --listen 0.0.0.0:7171 --insecure-open
  warren doctor                                 is this machine ready?
  warren check-config --config warren.toml
  warren ticket issue --key ticket.key --user ann
  warren ctl status                             what does the server do?
  warren worker --ticket-file worker.ticket game.py     do tasks for a server
  warren new python game                        a project with a method in Python
  warren log verify /var/lib/warren/log
  warren backup /var/backups/warren/today
  warren restore /var/backups/warren/today --data /var/lib/warren
  warren export status --config warren.toml
  warren import postgres --from 'host=db dbname=world' --data /var/lib/warren

Every key of the configuration file: docs/configuration.md. How to operate a server:
docs/operations.md.

Signals: SIGTERM and SIGINT drain and stop; a second one stops at once. SIGHUP reads the
configuration file again, SIGQUIT writes the server's state to the log.

Exit status: 0 after a clean stop, 2 for a wrong command line, 78 for a wrong configuration,
71 when the system lacks something, 75 when another server has the data folder, 65 when the stored
state cannot be opened or read, 74 when what changed could not be stored, 69 when a service that is
needed is not there, 130 and 143 when a second SIGINT or SIGTERM cut the drain short, 1 for anything
else.";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  warren doctor
  warren doctor --config warren.toml --data /var/lib/warren
  warren doctor --json

Exit status: 0 when nothing failed, whatever there is to look at; 71 when something did; 78 for a
wrong configuration.";

const CHECK_CONFIG_EXAMPLES: &str = "\
Examples:
  warren check-config --config warren.toml
  warren check-config --config warren.toml --json

Exit status: 0 when a server could have this configuration, otherwise 78.";

const SERVE_EXAMPLES: &str = "\
Examples:
  warren serve
  warren serve --listen 127.0.0.1:0 --admin 127.0.0.1:0    on free ports, told in the log
  warren serve --config warren.toml --data /var/lib/warren

Then, in another terminal:
  curl http://127.0.0.1:7172/readyz
  curl http://127.0.0.1:7172/metrics";

const DEMO_EXAMPLES: &str = "\
Examples:
  warren demo
  warren demo --shards 2 --listen 127.0.0.1:7200
  warren demo --data /tmp/demo    elsewhere than in ~/.local/share/warren/demo

What to type to join the bots is told on the terminal.";

/// The command line of `warren`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "warren",
    version,
    about = "A thread-per-core shared-environment server for multiplayer worlds",
    after_help = EXAMPLES,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Start a server; SIGTERM and SIGINT drain and stop it
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServerArguments),
    /// Start a server and some bots that talk in rooms, and tell how to join them
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(ServerArguments),
    /// Examine this machine for a server with this configuration: what is ready, what to do
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(ReportArguments),
    /// Check a configuration as `serve` does, and print each key's value and where it is from
    #[command(after_help = CHECK_CONFIG_EXAMPLES)]
    CheckConfig(ReportArguments),
    /// Make keys, issue tickets, and say what is in one
    Ticket(TicketArguments),
    /// Ask a running server, or order it: status, sessions, rooms, kicks, bans, drain, reload
    Ctl(CtlArguments),
    /// Become a process that does tasks, by a file of Python, a native library or any program
    Worker(WorkerArguments),
    /// Make the folder of a project with methods of one's own
    New(NewArguments),
    /// What `worker` becomes for a native library
    #[command(hide = true)]
    NativeWorker(NativeWorkerArguments),
    /// Read the files of a delta log: what is in them, and whether they hold
    Log(LogArguments),
    /// Have a running server make a backup of its data folder
    Backup(BackupArguments),
    /// Make a data folder of a backup
    Restore(RestoreArguments),
    /// Export to Postgres without a server, or tell how far the export is
    Export(ExportArguments),
    /// Make a data folder of what another server has exported
    Import(ImportArguments),
}

impl Command {
    /// The configuration that the command is about, if it is about one.
    #[must_use]
    pub const fn server(&self) -> Option<&ServerArguments> {
        match self {
            Self::Serve(server) | Self::Demo(server) => Some(server),
            Self::Doctor(report) | Self::CheckConfig(report) => Some(&report.server),
            Self::Ticket(_)
            | Self::Ctl(_)
            | Self::Worker(_)
            | Self::New(_)
            | Self::NativeWorker(_)
            | Self::Log(_)
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Export(_)
            | Self::Import(_) => None,
        }
    }
}

/// What commands that report take: what a server would, and how to print.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportArguments {
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// What the server would be started with.
    #[command(flatten)]
    pub server: ServerArguments,
}

/// What a server is started with.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerArguments {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port for clients of every protocol [default: 127.0.0.1:7171]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Address and port of the admin endpoint, or unix:/path [default: 127.0.0.1:7172]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<Endpoint>,
    /// Folder for the server's data; made when it is not there
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Number of shards, each a pinned thread [default: the cores this process may run on]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,
    /// Serve clients that say who they are without proof, on an address others can reach
    #[arg(long)]
    pub insecure_open: bool,
}

impl ServerArguments {
    /// The part that lies over the configuration file.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen,
            admin_listen: self.admin.clone(),
            data: self.data.clone(),
            shards: self.shards.map(usize::from),
            insecure_open: self.insecure_open,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::KEYS;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_arrives_in_the_overrides() {
        let line = "warren serve --config w.toml --listen 127.0.0.1:1 --admin 127.0.0.1:2 \
                    --data /d --shards 3 --insecure-open";
        let arguments = Arguments::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Serve(server) = arguments.command else { panic!("another command") };
        assert_eq!(server.config, Some(PathBuf::from("w.toml")));
        assert_eq!(
            server.overrides(),
            Overrides {
                listen: Some("127.0.0.1:1".parse().unwrap()),
                admin_listen: Some("127.0.0.1:2".parse().unwrap()),
                data: Some(PathBuf::from("/d")),
                shards: Some(3),
                insecure_open: true,
            }
        );
    }

    #[test]
    fn reports_take_what_a_server_takes() {
        for command in ["doctor", "check-config"] {
            let line = format!("warren {command} --json --config w.toml --shards 3");
            let arguments = Arguments::try_parse_from(line.split_whitespace()).unwrap();
            let (Command::Doctor(report) | Command::CheckConfig(report)) = &arguments.command
            else {
                panic!("another command")
            };
            assert!(report.json);
            assert_eq!(arguments.command.server(), Some(&report.server));
            assert_eq!(report.server.shards, Some(3));
            assert_eq!(report.server.config, Some(PathBuf::from("w.toml")));
        }
    }

    #[test]
    fn a_wrong_command_line_has_status_2() {
        for line in [
            "warren",
            "warren dance",
            "warren serve --shards 0",
            "warren serve --shards 257",
            "warren serve --listen here",
            "warren demo --bogus",
            "warren serve --json",
            "warren doctor --shards 0",
            "warren check-config here.toml",
            "warren ctl",
            "warren ctl dance",
            "warren worker",
            "warren worker --nice 5",
            "warren worker game.py -- true",
            "warren worker --cores x game.py",
            "warren new",
            "warren new python",
            "warren new fortran game",
            "warren log",
            "warren log verify",
            "warren backup",
            "warren restore here",
            "warren export",
            "warren export dance",
            "warren import",
            "warren import postgres --data d",
            "warren ctl kick",
            "warren ctl ban a/b",
            "warren ctl sessions --count 0",
            "warren ctl status --token 0123456789abcdef0123456789abcdef",
        ] {
            let error = Arguments::try_parse_from(line.split_whitespace()).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_defaults_told_in_the_help_are_the_configuration_s() {
        let help =
            Arguments::command().find_subcommand_mut("serve").unwrap().render_help().to_string();
        for path in ["server.listen", "admin.listen"] {
            let key = KEYS.iter().find(|key| key.path == path).unwrap();
            let told = format!("[default: {}]", key.default.trim_matches('"'));
            assert!(help.contains(&told), "{told} is not in:\n{help}");
        }
    }
}
