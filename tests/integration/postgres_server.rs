//! A PostgreSQL of the test's own: made in a folder, reached by a socket there, ended by its number.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::client::PATIENCE;
use crate::server::{send_signal, unique};

const STOP: i32 = 19;
const CONTINUE: i32 = 18;

/// Runs what follows and ends it at once when nobody holds standard input any more, however the test
/// has ended.
const KEEPER: &str = r#""$@" & read -r _; kill -QUIT $!; wait"#;

/// A running PostgreSQL, removed with its test.
pub(crate) struct PostgresServer {
    folder: PathBuf,
    keeper: Option<Child>,
}

/// The newest programs that are installed: Debian keeps them out of the path.
fn program(name: &str) -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = folders.map(|folder| folder.unwrap().path()).max_by_key(number);
    newest.map_or_else(|| name.into(), |folder| folder.join("bin").join(name))
}

/// PostgreSQL refuses root: then it runs as whoever is there for it, or for nothing.
fn unprivileged() -> Option<(u32, u32)> {
    if rustix::process::geteuid().as_raw() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let user = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let numbers: Vec<u32> = line.split(':').filter_map(|part| part.parse().ok()).collect();
        Some((numbers[0], numbers[1]))
    };
    Some(user("postgres").or_else(|| user("nobody")).expect("a user without rights"))
}

fn as_unprivileged(command: &mut Command) {
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
}

impl PostgresServer {
    /// Makes a new one, and waits until it answers.
    pub(crate) fn start() -> Self {
        // A socket's path is short.
        let folder =
            Path::new("/tmp").join(format!("warren-pg-{}-{}", std::process::id(), unique()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut server = Self { folder, keeper: None };
        if let Some((user, group)) = unprivileged() {
            std::os::unix::fs::chown(&server.folder, Some(user), Some(group)).unwrap();
        }
        let mut initdb = Command::new(program("initdb"));
        initdb.args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"]);
        initdb.arg("-D").arg(server.data()).current_dir(&server.folder);
        as_unprivileged(&mut initdb);
        let made = initdb.output().expect("initdb runs: install postgresql");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.run();
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts it, or starts it again.
    #[expect(clippy::disallowed_methods, reason = "the bound of a wait")]
    pub(crate) fn run(&mut self) {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(program("postgres")).arg("-D").arg(self.data());
        keeper.arg("-k").arg(&self.folder);
        for setting in ["listen_addresses=", "fsync=off", "max_connections=20"] {
            keeper.args(["-c", setting]);
        }
        as_unprivileged(keeper.current_dir(&self.folder));
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.keeper = Some(keeper.spawn().unwrap());
        let end = Instant::now() + PATIENCE;
        // A child that asks takes its time.
        while self.try_sql("SELECT 1").is_err() {
            assert!(Instant::now() < end, "PostgreSQL does not answer");
        }
    }

    /// Ends it as a crash of the machine would.
    pub(crate) fn end(&mut self) {
        let Some(mut keeper) = self.keeper.take() else { return };
        // Those that were stopped hear of the end too.
        self.signal(CONTINUE);
        drop(keeper.stdin.take());
        keeper.wait().unwrap();
    }

    /// Stops all of its processes where they are, until [`go_on`](Self::go_on).
    pub(crate) fn stop(&self) {
        self.signal(STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(CONTINUE);
    }

    fn signal(&self, signal: i32) {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let Some(first) = file.lines().next().and_then(|line| line.parse::<u32>().ok()) else {
            return;
        };
        let children = format!("/proc/{first}/task/{first}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let all = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        for pid in [first].into_iter().chain(all) {
            if Path::new(&format!("/proc/{pid}")).exists() {
                send_signal(pid, signal);
            }
        }
    }

    /// What a server is told to reach it.
    pub(crate) fn connection(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.folder.display())
    }

    /// Runs statements, and returns what they print: a row a line, columns with `|` between.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.try_sql(statements).unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    fn try_sql(&self, statements: &str) -> Result<String, String> {
        let mut psql = Command::new(program("psql"));
        psql.args(["-XAtq", "-U", "postgres", "-d", "postgres", "-c", statements, "-h"]);
        let output = psql.arg(&self.folder).output().expect("psql runs: install postgresql");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.end();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
