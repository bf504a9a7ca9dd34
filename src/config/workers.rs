//! The sections `workers.NAME`: processes that the server starts, and that do tasks.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use warren_core::bans::AddressRange;
use warren_core::name::check_name;

use super::error::{ConfigProblem, Located};
use super::keys::{Allowed, Key};

/// Sections, and processes of one.
const SECTIONS_MAX: usize = 64;
const COUNT_MAX: u64 = 64;
/// `worker.NAME.NUMBER` is the name of a user.
const NAME_BYTES_MAX: usize = 48;
const WORDS_MAX: u32 = 64;
const ENVIRONMENT_MAX: u32 = 64;
const CORES_MAX: u32 = 1024;
const MIB: u64 = 1 << 20;

/// Processes of one kind, that do tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkersConfig {
    /// What the section is called.
    pub name: String,
    /// What each of them runs.
    pub command: Vec<String>,
    /// How many there are.
    pub count: usize,
    /// Where they run; none: where the server does.
    pub folder: Option<PathBuf>,
    /// Variables beside those of the server.
    pub environment: BTreeMap<String, String>,
    /// Where they connect; none: where the server listens.
    pub url: Option<String>,
    /// Bytes of memory of one process; none: any number.
    pub memory_bytes_max: Option<u64>,
    /// By how much the scheduler prefers others.
    pub nice: i32,
    /// Where they run; none: beside the shards' cores.
    pub cores: Option<Vec<usize>>,
    /// Milliseconds within which a process has to say `work`.
    pub start_ms: u64,
    /// Milliseconds for which a process may be silent.
    pub silent_ms_max: u64,
    /// Milliseconds for which there is no process after one that has ended, at most.
    pub restart_ms_max: u64,
    /// Milliseconds within which a process has to end that was asked to.
    pub stop_ms: u64,
}

/// `[workers.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkersSection {
    file: Option<Spanned<String>>,
    command: Option<Spanned<Vec<String>>>,
    count: Option<Spanned<u64>>,
    folder: Option<Spanned<PathBuf>>,
    environment: Option<Spanned<BTreeMap<String, String>>>,
    url: Option<Spanned<String>>,
    memory_bytes_max: Option<Spanned<u64>>,
    nice: Option<Spanned<u64>>,
    cores: Option<Spanned<Vec<usize>>>,
    start_ms: Option<Spanned<u64>>,
    silent_ms_max: Option<Spanned<u64>>,
    restart_ms_max: Option<Spanned<u64>>,
    stop_ms: Option<Spanned<u64>>,
}

/// The workers' sections, by name.
pub(super) type WorkersSections = BTreeMap<Spanned<String>, WorkersSection>;

const fn key(
    path: &'static str,
    default: &'static str,
    allowed: Allowed,
    description: &'static str,
) -> Key {
    Key { path, default, allowed, description }
}

/// Their keys.
pub(super) const FILE: Key = key(
    "workers.NAME.file",
    "",
    Allowed::File,
    "A file whose methods the processes do: of Python (`.py`: `python3 -m warren.worker FILE`), or a native library (`.so`).",
);
pub(super) const COMMAND: Key = key(
    "workers.NAME.command",
    "",
    Allowed::List(WORDS_MAX, "words"),
    "What the processes run in place of a `file`: a program, and what it is told. It finds `WARREN_URL`, \
     `WARREN_USER` and `WARREN_TICKET` in its environment.",
);
pub(super) const COUNT: Key =
    key("workers.NAME.count", "1", Allowed::Range(1, COUNT_MAX), "How many processes there are.");
pub(super) const FOLDER: Key = key(
    "workers.NAME.folder",
    "",
    Allowed::Folder,
    "The folder in which they run. Default: the server's.",
);
pub(super) const ENVIRONMENT: Key = key(
    "workers.NAME.environment",
    "",
    Allowed::Variables(ENVIRONMENT_MAX),
    "Variables that they have beside the server's own. `warren check-config` shows them.",
);
pub(super) const URL: Key = key(
    "workers.NAME.url",
    "",
    Allowed::Url,
    "Where they connect. Default: `server.listen`, at a loopback address if it is every address; where \
     `tls.required` is, `tls://localhost:PORT`, and `WARREN_CA_FILE` is `tls.certificate`.",
);
pub(super) const MEMORY_BYTES_MAX: Key = key(
    "workers.NAME.memory_bytes_max",
    "",
    Allowed::Range(16 * MIB, 1 << 50),
    "Bytes of memory that one process may have for its data (`RLIMIT_DATA`). Default: any number.",
);
pub(super) const NICE: Key = key(
    "workers.NAME.nice",
    "5",
    Allowed::Range(0, 19),
    "By how much the scheduler prefers other processes, the server among them.",
);
pub(super) const CORES: Key = key(
    "workers.NAME.cores",
    "",
    Allowed::List(CORES_MAX, "cores"),
    "The cores on which they run. Default: those of the server on which no shard is, or all of its cores if \
     there is none.",
);
pub(super) const START_MS: Key = key(
    "workers.NAME.start_ms",
    "30000",
    Allowed::Range(100, 600_000),
    "Time within which a process has to say `work`, in milliseconds; then it is ended.",
);
pub(super) const SILENT_MS_MAX: Key = key(
    "workers.NAME.silent_ms_max",
    "60000",
    Allowed::Range(100, 3_600_000),
    "Longest time for which a process may say nothing after its time for a task was over, or be without a \
     session, in milliseconds; then it is ended, and started again. Workers that have lost their connection wait up \
     to 10 s before they connect again: with less than that they are ended when the server refuses them for a while.",
);
pub(super) const RESTART_MS_MAX: Key = key(
    "workers.NAME.restart_ms_max",
    "30000",
    Allowed::Range(100, 3_600_000),
    "Longest time until a process is started again that has ended, in milliseconds: 100 after the first end, \
     twice as long after each other. A process that has lived for 30 s has those before forgotten.",
);
pub(super) const STOP_MS: Key = key(
    "workers.NAME.stop_ms",
    "5000",
    Allowed::Range(1, 600_000),
    "Time within which a process has to end after SIGTERM, in milliseconds; then it is killed.",
);

/// What else the configuration says that they have to do with.
pub(super) struct Surroundings<'a> {
    pub(super) listen: SocketAddr,
    pub(super) proxies: &'a [AddressRange],
    pub(super) tls_is_required: bool,
}

pub(super) fn workers_config(
    sections: &WorkersSections,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<WorkersConfig>, Located> {
    if let Some((name, _)) = sections.iter().nth(SECTIONS_MAX) {
        let why = format!("allowed: {SECTIONS_MAX} sections");
        return Err(conflict(Some(name.span()), &COMMAND, "one section more".to_owned(), why));
    }
    sections.iter().map(|(name, section)| one(name, section, surroundings)).collect()
}

fn one(
    name: &Spanned<String>,
    section: &WorkersSection,
    surroundings: &Surroundings<'_>,
) -> Result<WorkersConfig, Located> {
    let text = name.get_ref();
    if check_name(text.as_bytes()).is_err() || text.len() > NAME_BYTES_MAX {
        let why = format!("allowed: names of at most {NAME_BYTES_MAX} bytes");
        return Err(conflict(Some(name.span()), &COMMAND, format!("of `{text}`"), why));
    }
    let command = command(name, section)?;
    if section.url.is_none() {
        check_proxies(name, surroundings)?;
        check_tls(name, surroundings)?;
    }
    Ok(WorkersConfig {
        name: text.clone(),
        command,
        count: number(section.count.as_ref(), &COUNT)? as usize,
        folder: section.folder.as_ref().map(|folder| folder.get_ref().clone()),
        environment: environment(section.environment.as_ref())?,
        url: section.url.as_ref().map(url).transpose()?,
        memory_bytes_max: section
            .memory_bytes_max
            .as_ref()
            .map(|bytes| number(Some(bytes), &MEMORY_BYTES_MAX))
            .transpose()?,
        nice: number(section.nice.as_ref(), &NICE)? as i32,
        cores: section.cores.as_ref().map(cores).transpose()?,
        start_ms: number(section.start_ms.as_ref(), &START_MS)?,
        silent_ms_max: number(section.silent_ms_max.as_ref(), &SILENT_MS_MAX)?,
        restart_ms_max: number(section.restart_ms_max.as_ref(), &RESTART_MS_MAX)?,
        stop_ms: number(section.stop_ms.as_ref(), &STOP_MS)?,
    })
}

/// What the processes run: what the command says, or what the file needs.
fn command(name: &Spanned<String>, section: &WorkersSection) -> Result<Vec<String>, Located> {
    match (&section.file, &section.command) {
        (Some(file), None) => {
            let path = file.get_ref();
            crate::worker::command_for(path).ok_or_else(|| {
                let why = format!("allowed: {}", crate::worker::FILES);
                conflict(Some(file.span()), &FILE, format!("{path:?}"), why)
            })
        }
        (None, Some(command)) => {
            let words = command.get_ref();
            let is_one = |word: &String| !word.is_empty() && !word.contains('\0');
            let is_command = words.first().is_some_and(is_one) && words.len() <= WORDS_MAX as usize;
            if !is_command || words.iter().any(|word| word.contains('\0')) {
                return Err(out_of_range(command.span(), &COMMAND, &format!("{words:?}")));
            }
            Ok(words.clone())
        }
        _ => {
            let why = "allowed: either `file` or `command`".to_owned();
            Err(conflict(Some(name.span()), &COMMAND, format!("of `{}`", name.get_ref()), why))
        }
    }
}

fn environment(
    said: Option<&Spanned<BTreeMap<String, String>>>,
) -> Result<BTreeMap<String, String>, Located> {
    let Some(said) = said else { return Ok(BTreeMap::new()) };
    let variables = said.get_ref();
    let is_wrong = |(name, value): &(&String, &String)| {
        let has_name = !name.is_empty() && !name.contains(['=', '\0']);
        !has_name || value.contains('\0')
    };
    if variables.len() > ENVIRONMENT_MAX as usize {
        let value = format!("a table of {}", variables.len());
        return Err(out_of_range(said.span(), &ENVIRONMENT, &value));
    }
    // A value may be secret.
    match variables.iter().find(is_wrong) {
        Some((name, _)) => {
            Err(out_of_range(said.span(), &ENVIRONMENT, &format!("a table with {name:?}")))
        }
        None => Ok(variables.clone()),
    }
}

fn url(said: &Spanned<String>) -> Result<String, Located> {
    let text = said.get_ref();
    let place = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("tls://"));
    let port = place.and_then(|place| place.rsplit_once(':'));
    let is_url = port.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if is_url {
        Ok(text.clone())
    } else {
        Err(out_of_range(said.span(), &URL, &format!("{text:?}")))
    }
}

fn cores(said: &Spanned<Vec<usize>>) -> Result<Vec<usize>, Located> {
    let cores = said.get_ref();
    let is_right = !cores.is_empty() && cores.iter().all(|core| *core < CORES_MAX as usize);
    if is_right && cores.len() <= CORES_MAX as usize {
        Ok(cores.clone())
    } else {
        Err(out_of_range(said.span(), &CORES, &format!("{cores:?}")))
    }
}

/// Who comes from a proxy's address has to say from where its client comes, which workers do not.
fn check_proxies(name: &Spanned<String>, surroundings: &Surroundings<'_>) -> Result<(), Located> {
    let from = crate::worker::loopback_of(surroundings.listen).ip();
    if !surroundings.proxies.iter().any(|range| range.has(from)) {
        return Ok(());
    }
    let why =
        format!("allowed: with `url`, since `protocol.proxies` has {from}, where they would be");
    Err(conflict(Some(name.span()), &URL, format!("not there for `{}`", name.get_ref()), why))
}

/// Where TLS is required workers ask for `localhost`, for which the certificate is.
fn check_tls(name: &Spanned<String>, surroundings: &Surroundings<'_>) -> Result<(), Located> {
    let ip = surroundings.listen.ip();
    let is_localhost = ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST;
    if !surroundings.tls_is_required || is_localhost || ip.is_unspecified() {
        return Ok(());
    }
    let why = format!(
        "allowed: with `url`, since `tls.required` is true, and `localhost` is not {ip}, where \
         the server listens"
    );
    Err(conflict(Some(name.span()), &URL, format!("not there for `{}`", name.get_ref()), why))
}

fn number(said: Option<&Spanned<u64>>, key: &'static Key) -> Result<u64, Located> {
    let Some(said) = said else { return Ok(key.default.parse().expect("its default is a number")) };
    let value = *said.get_ref();
    if key.allowed.has_number(value) {
        Ok(value)
    } else {
        Err(out_of_range(said.span(), key, &value.to_string()))
    }
}

fn out_of_range(span: Range<usize>, key: &'static Key, value: &str) -> Located {
    let problem =
        ConfigProblem::OutOfRange { key: key.path, value: value.to_owned(), allowed: key.allowed };
    Located { span: Some(span), problem }
}

fn conflict(span: Option<Range<usize>>, key: &'static Key, value: String, why: String) -> Located {
    Located::conflict(span, key.path, value, why)
}
