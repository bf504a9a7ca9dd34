//! A server process of the test's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use serde_json::Value;
use warren::config::Endpoint;

use crate::client::PATIENCE;

/// A running `warren serve`, killed when the test ends by panic.
pub(crate) struct TestServer {
    child: Child,
    stdout: Lines,
    log: Option<Lines>,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: Endpoint,
    _config: Option<ConfigFile>,
}

/// What a process writes, line by line. A thread reads it at once, so that nobody who does not want it
/// holds up the process.
struct Lines(Mutex<Receiver<String>>);

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        let read = move || {
            for line in BufReader::new(pipe).lines() {
                // The test may have ended.
                let Ok(()) = sender.send(line.unwrap()) else { return };
            }
        };
        std::thread::Builder::new().name("lines".to_owned()).spawn(read).unwrap();
        Self(Mutex::new(lines))
    }

    /// The next line; none when the process has ended.
    fn next(&self) -> Option<String> {
        match self.0.lock().unwrap().recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the server says nothing, and does not end"),
        }
    }
}

/// A configuration file that goes with its test.
struct ConfigFile(std::path::PathBuf);

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.args(arguments);
    command
}

pub(crate) fn send_signal(pid: u32, signal: i32) {
    // The shell's own: the program of that name is not on every machine.
    let kill = format!("kill -{signal} {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

impl TestServer {
    /// Starts a server with so many shards.
    pub(crate) fn start(shards: usize) -> Self {
        Self::start_with(shards, "")
    }

    /// Starts a server with this configuration.
    pub(crate) fn start_with(shards: usize, config: &str) -> Self {
        let file = (!config.is_empty()).then(|| {
            let name = format!("warren-{}-{}.toml", std::process::id(), unique());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, config).unwrap();
            ConfigFile(path)
        });
        let shards = shards.to_string();
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(["--shards", &shards]);
        if let Some(file) = &file {
            command.arg("--config").arg(&file.0);
        }
        let mut server = Self::spawn(command);
        server._config = file;
        server
    }

    /// Starts a server by this command. Where its standard error is piped, the log can be read.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let log = child.stderr.take().map(Lines::of);
        let stdout = Lines::of(child.stdout.take().unwrap());
        let mut server = Self::unknown(child, stdout, log);
        let address = |prefix: &str| {
            let line = server.stdout.next().unwrap_or_default();
            line.strip_prefix(prefix).expect("the server says where it is").to_owned()
        };
        let (listen, admin) = (address("listening on "), address("admin on "));
        server.listen = listen.parse().unwrap();
        server.admin = admin.parse().unwrap();
        server
    }

    /// A server that has not said yet where it is.
    fn unknown(child: Child, stdout: Lines, log: Option<Lines>) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let admin = Endpoint::Tcp(listen);
        Self { child, stdout, log, listen, admin, _config: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: i32) {
        send_signal(self.pid(), signal);
    }

    /// The next line of the JSON log that has this message; those before it are JSON too.
    pub(crate) fn logged(&mut self, message: &str) -> Value {
        self.logged_if(message, |logged| logged == message)
    }

    /// The same for a line that has these words in it.
    pub(crate) fn logged_words(&mut self, words: &str) -> Value {
        self.logged_if(words, |logged| logged.as_str().is_some_and(|line| line.contains(words)))
    }

    fn logged_if(&mut self, message: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let log = self.log.as_ref().expect("standard error is piped");
        #[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
        let end = std::time::Instant::now() + 4 * PATIENCE;
        loop {
            #[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
            let now = std::time::Instant::now();
            assert!(now < end, "{message:?} is not logged, but much else");
            let line = log.next().unwrap_or_else(|| panic!("the log ended without {message:?}"));
            let line = log_line(&line);
            if is_it(&line["message"]) {
                return line;
            }
        }
    }

    /// Waits for the end of the process, and returns what is left of the JSON log.
    pub(crate) fn wait_and_read_log(mut self) -> (ExitStatus, Vec<Value>) {
        let log = self.log.take().expect("standard error is piped");
        let lines = std::iter::from_fn(|| log.next()).map(|line| log_line(&line)).collect();
        (self.wait(), lines)
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(mut self) -> ExitStatus {
        // Standard output ends with the process.
        while self.stdout.next().is_some() {}
        self.child.wait().unwrap()
    }

    /// Ends the server as an operator does.
    pub(crate) fn stop(self) {
        self.signal(15);
        let status = self.wait();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }

    /// The answer of the admin endpoint: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let Endpoint::Tcp(admin) = self.admin else { panic!("an address") };
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    pub(crate) fn admin_port(&self) -> u16 {
        self.admin.port().expect("an address")
    }

    /// A metric that is one for all shards.
    pub(crate) fn metric_of_server(&self, name: &str) -> u64 {
        let (_, body) = self.get("/metrics");
        let lines = body.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let values: Vec<u64> = lines.map(|value| value.parse().unwrap()).collect();
        assert_eq!(values.len(), 1, "{name} in:\n{body}");
        values[0]
    }

    /// The sum of a metric over all shards and all further labels that hold `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> u64 {
        self.metric_by_shard(name, label).iter().sum()
    }

    /// The metric of each shard that has it.
    pub(crate) fn metric_by_shard(&self, name: &str, label: &str) -> Vec<u64> {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200);
        let prefix = format!("{name}{{");
        let lines = body.lines().filter(|line| line.starts_with(&prefix) && line.contains(label));
        let values: Vec<u64> = lines
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as u64)
            .collect();
        assert!(!values.is_empty(), "no metric {name} with {label} in:\n{body}");
        values
    }

    /// Waits until the metric has this value. A turn's replies leave before its counters are
    /// published, so a metric that is read once after a reply may be that of the turn before.
    #[track_caller]
    pub(crate) fn metric_becomes(&self, name: &str, label: &str, expected: u64) {
        self.metric_until(name, label, &expected.to_string(), |value| value == expected);
    }

    /// Waits until the metric holds, which `wanted` puts into words.
    #[track_caller]
    pub(crate) fn metric_until(
        &self,
        name: &str,
        label: &str,
        wanted: &str,
        holds: impl Fn(u64) -> bool,
    ) {
        #[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let value = self.metric(name, label);
            if holds(value) {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
            let now = std::time::Instant::now();
            assert!(now < end, "{name} {label} is {value}, and did not become {wanted}");
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What every line of the JSON log has.
fn log_line(text: &str) -> Value {
    let line: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let time = line["timestamp"].as_str().unwrap_or_default();
    assert!(time.len() >= 20 && time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{text}");
    for key in ["level", "message", "target"] {
        assert!(line[key].is_string(), "{key} of {text}");
    }
    line
}

pub(crate) fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// CPU time of a process in clock ticks, user and system.
pub(crate) fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
