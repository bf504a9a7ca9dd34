//! `warren worker`: becomes a process that does tasks, with the limits that it was given. The server starts
//! its workers by it, and people do by hand.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::CpuSet;
use warren_core::ticket::{TICKET_BYTES_MAX, Ticket};
use warren_net::io::descriptor_limit::descriptors_close_at_exec;

use crate::fatal::{Fatal, FatalReason};

/// Where a worker finds its server, its name and its ticket.
pub(crate) const URL_VARIABLE: &str = "WARREN_URL";
pub(crate) const USER_VARIABLE: &str = "WARREN_USER";
pub(crate) const TICKET_VARIABLE: &str = "WARREN_TICKET";
/// For programs that read it anew at each login.
pub(crate) const TICKET_FILE_VARIABLE: &str = "WARREN_TICKET_FILE";
pub(crate) const CA_FILE_VARIABLE: &str = "WARREN_CA_FILE";
pub(crate) const URL_DEFAULT: &str = "tcp://127.0.0.1:7171";
/// This very program, also when its file was replaced.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";
/// The kinds of files that are known.
pub(crate) const FILES: &str = "a file of Python (`.py`) or a native library (`.so`)";
/// How much rather than others this process is killed where memory is short.
const OOM_SCORE: &str = "/proc/self/oom_score_adj";
/// The first descriptor that is none of the three that every program has.
const FIRST_DESCRIPTOR: u32 = 3;

const EXAMPLES: &str = "\
Examples:
  warren worker game.py                          methods in Python, for a server on this machine
  warren worker ./combat.so                      those of a native library
  warren worker --url tls://game.example.org:7171 --ticket-file worker.ticket game.py
  warren worker --memory-bytes-max 268435456 --nice 5 -- ./my-worker --fast

A ticket: warren ticket issue --key ticket.key --user smith --role worker --role user > worker.ticket

The program finds WARREN_URL, WARREN_USER, WARREN_TICKET and WARREN_TICKET_FILE in its environment:
docs/operations.md.
Exit status: that of the program; 71 when it cannot be started; 78 for a wrong ticket file.";

/// `warren worker …`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct WorkerArguments {
    /// Where the server is: tcp://host:port or tls://host:port [default: tcp://127.0.0.1:7171]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// File with a ticket of the role `worker`, unreadable for others
    #[arg(long, value_name = "FILE")]
    pub ticket_file: Option<PathBuf>,
    /// Bytes of memory that the worker may have for its data
    #[arg(long, value_name = "BYTES")]
    pub memory_bytes_max: Option<u64>,
    /// By how much the scheduler prefers other processes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=19))]
    pub nice: Option<i32>,
    /// The cores on which it runs, as 2,3
    #[arg(long, value_name = "CORES", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(0..1024))]
    pub cores: Vec<u16>,
    /// The process that has started it, and with which it ends
    #[arg(long, value_name = "PID", hide = true)]
    pub parent: Option<i32>,
    /// A file of Python or a native library with methods
    #[arg(value_name = "FILE", required_unless_present = "command", conflicts_with = "command")]
    pub file: Option<String>,
    /// A program, and what it is told
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<OsString>,
}

/// What runs the methods of a file, if it is of a kind that is known.
pub(crate) fn command_for(file: &str) -> Option<Vec<String>> {
    let words: &[&str] = match Path::new(file).extension()?.to_str()? {
        "py" => &["python3", "-m", "warren.worker", file],
        "so" => &[OWN_PROGRAM, "native-worker", file],
        _ => return None,
    };
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

/// Where a program of this machine finds a server that listens there.
pub(crate) fn loopback_of(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Becomes the program. Returns only when it cannot.
#[must_use]
pub fn run(arguments: &WorkerArguments) -> Fatal {
    match prepare(arguments) {
        Ok(mut command) => {
            let error = command.exec();
            let program = command.get_program().to_string_lossy();
            Fatal::new(FatalReason::SystemRefused, format_args!("{program}: {error}"))
        }
        Err(fatal) => fatal,
    }
}

/// Limits this process, and says what it is to become.
fn prepare(arguments: &WorkerArguments) -> Result<Command, Fatal> {
    let words = match &arguments.file {
        Some(file) => command_for(file)
            .ok_or_else(|| invalid(format_args!("{file}: allowed: {FILES}")))?
            .into_iter()
            .map(OsString::from)
            .collect(),
        None => arguments.command.clone(),
    };
    let (program, rest) = words.split_first().expect("the command line was checked");
    let mut command = Command::new(program);
    command.args(rest);
    if program == OWN_PROGRAM {
        command.arg0("warren");
    }
    if let Some(url) = &arguments.url {
        command.env(URL_VARIABLE, url);
    } else if std::env::var_os(URL_VARIABLE).is_none() {
        command.env(URL_VARIABLE, URL_DEFAULT);
    }
    if let Some(file) = &arguments.ticket_file {
        let (user, ticket) = read_ticket(file)?;
        command.env(USER_VARIABLE, user).env(TICKET_VARIABLE, ticket);
        let file = std::path::absolute(file)
            .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
        command.env(TICKET_FILE_VARIABLE, file);
    }
    limit(arguments).map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
    Ok(command)
}

fn limit(arguments: &WorkerArguments) -> std::io::Result<()> {
    if let Some(parent) = arguments.parent {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before that was said.
        if rustix::process::getppid() != Pid::from_raw(parent) {
            return Err(std::io::Error::other("the server that has started it has ended"));
        }
        be_no_safer_than_others()?;
    }
    if let Some(bytes) = arguments.memory_bytes_max {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        rustix::process::setrlimit(Resource::Data, limit)?;
    }
    // What a worker of a great server had in its memory is nothing for a disk.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none)?;
    if let Some(nice) = arguments.nice {
        rustix::process::setpriority_process(None, nice)?;
    }
    if !arguments.cores.is_empty() {
        let mut cores = CpuSet::new();
        arguments.cores.iter().for_each(|core| cores.set(usize::from(*core)));
        rustix::thread::sched_setaffinity(None, &cores)?;
    }
    descriptors_close_at_exec(FIRST_DESCRIPTOR)
}

/// Where memory is short the system may spare the server: its workers are not meant.
fn be_no_safer_than_others() -> std::io::Result<()> {
    let score = std::fs::read_to_string(OOM_SCORE)?;
    if score.starts_with('-') { std::fs::write(OOM_SCORE, "0") } else { Ok(()) }
}

/// User and text of a ticket. Whether it holds is the server's to say.
fn read_ticket(path: &Path) -> Result<(String, String), Fatal> {
    let refused =
        |detail: &dyn core::fmt::Display| invalid(format_args!("{}: {detail}", path.display()));
    let unreadable = |error: std::io::Error| refused(&format_args!("cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
        return Err(refused(&"others may read this ticket; `chmod 600` it"));
    }
    let mut text = String::new();
    file.take(TICKET_BYTES_MAX as u64 + 2).read_to_string(&mut text).map_err(unreadable)?;
    let text = text.trim_end();
    let ticket = Ticket::read(text).map_err(|fault| refused(&fault))?;
    let claims = ticket.unverified_claims().map_err(|fault| refused(&fault))?;
    Ok((claims.user.to_owned(), text.to_owned()))
}

fn invalid(detail: impl core::fmt::Display) -> Fatal {
    Fatal::new(FatalReason::ConfigInvalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_of_this_machine_find_a_server_that_listens_everywhere() {
        for (listen, found) in [
            ("0.0.0.0:7171", "127.0.0.1:7171"),
            ("[::]:7", "[::1]:7"),
            ("192.0.2.1:7171", "192.0.2.1:7171"),
            ("127.0.0.3:1", "127.0.0.3:1"),
        ] {
            assert_eq!(loopback_of(listen.parse().unwrap()).to_string(), found);
        }
    }

    #[test]
    fn a_file_is_run_by_what_knows_its_kind() {
        let command = command_for("a/game.py").unwrap();
        assert_eq!(command, ["python3", "-m", "warren.worker", "a/game.py"]);
        let command = command_for("./game.so").unwrap();
        assert_eq!(command, ["/proc/self/exe", "native-worker", "./game.so"]);
        assert_eq!(command_for("game.rb"), None);
        assert_eq!(command_for("game"), None);
    }
}
