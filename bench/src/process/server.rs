//! The server under test, or the floor's: started with an empty data folder, pinned, and ended.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail, ensure};

use super::OwnedChild;
use crate::certificate;
use crate::clock;
use crate::cpu::ProcessReading;
use crate::metrics;
use crate::pinning;
use crate::plugin::CompiledLibrary;

/// How long a server may take until it listens: it may have much to load.
const READY_WAIT: Duration = Duration::from_secs(120);
/// How long it may take to end, in milliseconds: it may have much to store.
const STOP_WAIT_MS: i32 = 120_000;
/// Lines of its log that are shown when it does not.
const LOG_LINES: usize = 20;
/// What a server prints before each address, and Warren before that of its admin endpoint.
const LISTENING: &str = "listening on ";
const ADMIN: &str = "admin on ";

/// Where no worker comes; the server's log is told with it.
const WORKER_MISSING: &str = "the server's worker does not come: python3 has to find the package `warren`, \
                              say by PYTHONPATH=clients/python/src";

/// How the server names the threads of its shards.
pub(crate) const SHARD_THREAD_PREFIX: &str = "shard-";

/// How large a server is set up.
#[derive(Clone, Debug)]
pub struct Size {
    /// Number of shards.
    pub shards: u16,
    /// Connections of each, at most.
    pub connections_max: u32,
    /// Milliseconds between two heartbeats.
    pub heartbeat_ms: u64,
    /// Whether it has a certificate, and so TLS.
    pub tls: bool,
    /// Milliseconds until a changed object is handed over to be stored, if not as by default.
    pub snapshot_interval_ms: Option<u64>,
    /// Other keys of its configuration, with what is to stand there.
    pub settings: Vec<(String, String)>,
    /// A library that the settings name: it goes when the server has started.
    pub library: Option<Arc<CompiledLibrary>>,
    /// A worker that it starts.
    pub worker: Option<WorkerFile>,
}

/// A worker in Python: the name of its file, and what stands there.
#[derive(Clone, Copy, Debug)]
pub struct WorkerFile(pub &'static str, pub &'static str);

impl WorkerFile {
    /// Puts it into the folder. What the configuration says of it: it runs beside the cores of the shards, if
    /// there are others, as it would beside a server that had the machine alone.
    fn create(self, folder: &Path, shard_cores: &[usize]) -> Result<String> {
        let path = folder.join(self.0);
        fs::write(&path, self.1)?;
        let cores = pinning::available_cores();
        // Generators begin with the first of them.
        let own = cores.iter().rfind(|core| !shard_cores.contains(core));
        let own = own.map(|core| format!("workers.bench.cores = [{core}]\n")).unwrap_or_default();
        Ok(format!("workers.bench.file = '{}'\n{own}", path.display()))
    }
}

/// A server that was asked to end, and did.
#[derive(Debug)]
pub struct Stopped {
    /// Its folder, with the data.
    pub folder: Folder,
    /// What it has logged.
    pub log: String,
    /// How long it took, in nanoseconds.
    pub elapsed_ns: u64,
}

/// What a server tells before it is ready.
#[derive(Clone, Copy, Debug)]
struct Expected {
    listening: usize,
    admin: bool,
}

/// Where it is.
#[derive(Clone, Debug, Default)]
struct Addresses {
    listening: Vec<SocketAddrV4>,
    admin: Option<SocketAddrV4>,
}

/// A server of ours that listens.
#[derive(Debug)]
pub struct ServerProcess {
    child: OwnedChild,
    addresses: Addresses,
    certificate: Option<PathBuf>,
    folder: Folder,
}

impl ServerProcess {
    /// Starts `warren serve` as it is by default, but for its size.
    ///
    /// # Errors
    /// When it cannot be started, or does not listen in time.
    pub fn start_warren(program: &Path, size: &Size, cores: &[usize]) -> Result<Self> {
        Self::start_warren_in(Folder::create()?, program, size, cores)
    }

    /// The same in a folder that may have the data of an earlier one.
    ///
    /// # Errors
    /// As [`start_warren`](Self::start_warren).
    pub fn start_warren_in(
        folder: Folder,
        program: &Path,
        size: &Size,
        cores: &[usize],
    ) -> Result<Self> {
        let Size { shards, connections_max, heartbeat_ms, snapshot_interval_ms, settings, .. } =
            size;
        let storage = snapshot_interval_ms
            .map(|interval_ms| format!("storage.snapshot_interval_ms = {interval_ms}\n"));
        let storage = storage.unwrap_or_default();
        let others = settings.iter().map(|(key, value)| format!("{key} = {value}\n"));
        let others: String = others.collect();
        let files = size.tls.then(|| certificate::Files::create(&folder.path)).transpose()?;
        let tls = files.as_ref().map_or(String::new(), |files| {
            let (certificate, key) = (files.certificate.display(), files.key.display());
            format!("tls.certificate = '{certificate}'\ntls.key = '{key}'\n")
        });
        let worker = size.worker.map(|worker| worker.create(&folder.path, cores)).transpose()?;
        let worker = worker.unwrap_or_default();
        let config = folder.path.join("warren.toml");
        let limits = format!("limits.connections_max = {connections_max}\n");
        let protocol = format!("protocol.heartbeat_ms = {heartbeat_ms}\n");
        fs::write(&config, format!("{limits}{protocol}{storage}{others}{tls}{worker}"))?;
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"]);
        command.arg(folder.data()).args(["--shards", &shards.to_string()]);
        command.arg("--config").arg(config);
        let server = Self::start_in(command, cores, Expected { listening: 1, admin: true }, folder)
            .with_context(|| format!("starting {}", program.display()))?;
        if let (Some(_), Some(admin)) = (size.worker, server.admin()) {
            let missing = |error: Error| {
                let log = server.log().unwrap_or_default();
                error.context(log_end(&log)).context(WORKER_MISSING)
            };
            metrics::workers_ready(admin).map_err(missing)?;
        }
        Ok(Self { certificate: files.map(|files| files.certificate), ..server })
    }

    /// Starts the floor's server: this program.
    ///
    /// # Errors
    /// As [`start_warren`](Self::start_warren).
    pub fn start_floor(size: &Size, cores: &[usize]) -> Result<Self> {
        let Size { shards, connections_max, heartbeat_ms, .. } = size;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor-server", "--shards", &shards.to_string()]);
        command.args(["--heartbeat-ms", &heartbeat_ms.to_string()]);
        command.args(["--connections-max", &connections_max.to_string()]);
        Self::start(command, cores, usize::from(*shards)).context("starting the floor's server")
    }

    /// Starts a program that prints this many addresses.
    ///
    /// # Errors
    /// As [`start_warren`](Self::start_warren).
    pub fn start(command: Command, cores: &[usize], address_count: usize) -> Result<Self> {
        let expected = Expected { listening: address_count, admin: false };
        Self::start_in(command, cores, expected, Folder::create()?)
    }

    fn start_in(
        mut command: Command,
        cores: &[usize],
        expected: Expected,
        folder: Folder,
    ) -> Result<Self> {
        let log_path = folder.log();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log_path)?);
        let mut child = OwnedChild::start(&mut command, cores)?;
        let (lines, received) = mpsc::channel();
        // Nobody asks for the lines after the addresses.
        child.read_lines(move |line| drop(lines.send(line)))?;
        match read_addresses(&received, expected) {
            Ok(addresses) => Ok(Self { child, addresses, certificate: None, folder }),
            Err(error) => {
                drop(child);
                let log = fs::read_to_string(&log_path).unwrap_or_default();
                Err(if log.is_empty() { error } else { error.context(log_end(&log)) })
            }
        }
    }

    /// Asks it to end, and waits until all it had to store is stored.
    ///
    /// # Errors
    /// When it does not end in time, or not well.
    pub fn stop(self) -> Result<Stopped> {
        let Self { child, folder, .. } = self;
        let begun_ns = clock::monotonic_ns();
        let status = child.end(STOP_WAIT_MS).context("the server does not end")?;
        let elapsed_ns = clock::monotonic_ns() - begun_ns;
        let log = fs::read_to_string(folder.log())?;
        ensure!(status.success(), "the server ended with {status}\n{}", log_end(&log));
        Ok(Stopped { folder, log, elapsed_ns })
    }

    /// What it has logged so far.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.log())?)
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddrV4] {
        &self.addresses.listening
    }

    /// The file with its certificate, if it has one.
    #[must_use]
    pub fn certificate(&self) -> Option<&Path> {
        self.certificate.as_deref()
    }

    /// Where its admin endpoint is, if it has one.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddrV4> {
        self.addresses.admin
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives its shards their cores before all else that runs there, so that latencies tell of the server,
    /// and not of whom else the machine lets on. False when that is not permitted.
    ///
    /// # Errors
    /// When the process is gone, or the kernel refuses for another reason.
    pub fn shards_come_first(&self) -> Result<bool> {
        let threads = ProcessReading::take(self.id()).context("the server's threads")?;
        for thread in threads.threads_of(SHARD_THREAD_PREFIX) {
            match pinning::step_forward(thread) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(false),
                Err(error) => return Err(error).context("the priority of a shard"),
            }
        }
        Ok(true)
    }
}

fn read_addresses(lines: &mpsc::Receiver<Option<String>>, expected: Expected) -> Result<Addresses> {
    let mut addresses = Addresses::default();
    let parse = |address: &str| -> Result<SocketAddrV4> {
        address.trim().parse().with_context(|| format!("no IPv4 address: {address}"))
    };
    while addresses.listening.len() < expected.listening
        || (expected.admin && addresses.admin.is_none())
    {
        match lines.recv_timeout(READY_WAIT) {
            Ok(Some(line)) => {
                if let Some(address) = line.strip_prefix(LISTENING) {
                    addresses.listening.push(parse(address)?);
                } else if let Some(address) = line.strip_prefix(ADMIN) {
                    addresses.admin = Some(parse(address)?);
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("the server does not listen"),
            Ok(None) | Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the server ended"),
        }
    }
    Ok(addresses)
}

fn log_end(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// A temporary folder of ours, removed at the end.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    data: PathBuf,
}

impl Folder {
    /// Makes one.
    ///
    /// # Errors
    /// When the system's folder for such cannot be written.
    pub fn create() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("warren-bench-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Of a process that was killed, and had our number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { data: path.join("data"), path })
    }

    /// Makes one with the server's data somewhere else, where it stays.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn with_data(data: PathBuf) -> Result<Self> {
        let mut folder = Self::create()?;
        folder.data = data;
        Ok(folder)
    }

    /// The server's data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    fn log(&self) -> PathBuf {
        self.path.join("log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left lies in the system's folder for what may be left.
        let _ = fs::remove_dir_all(&self.path);
    }
}
