//! A PostgreSQL of our own: made in a folder, reached by a socket there, ended when we are.
//!
//! What is stopped could not end, and a PostgreSQL that nobody knows would stay. So a shell waits beside us
//! until we are gone, and cleans up then. The integration tests have this file as a module too, which is why
//! it needs the standard library alone.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Starts with `$1` what was made in `$2`, and says so. Then it waits for a line, or until nobody is left who
/// could write one, and ends it at once, wherever its processes were stopped. Without a line it removes `$2`.
const KEEPER: &str = r#"
trap '' HUP INT TERM PIPE
folder="$2"
options="-k $folder -c listen_addresses= -c fsync=off -c max_connections=20"
if "$1" start -s -w -t 60 -D "$folder/data" -l "$folder/log" -o "$options" > /dev/null; then
    echo started
else
    echo failed
fi
read -r line
server=$(head -n 1 "$folder/data/postmaster.pid")
kill -s CONT "$server" $(cat "/proc/$server/task/$server/children")
"$1" stop -s -m immediate -D "$folder/data"
[ "$line" ] || rm -rf "$folder"
"#;

/// A PostgreSQL that runs, removed with its owner.
#[derive(Debug)]
pub(crate) struct PostgresProcess {
    folder: PathBuf,
    keeper: Option<Child>,
}

/// The newest program of that name that is installed: Debian keeps them out of the path.
pub(crate) fn program(name: &str) -> PathBuf {
    let folders = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = folders.map(|folder| folder.path()).max_by_key(number);
    newest.map_or_else(|| name.into(), |folder| folder.join("bin").join(name))
}

impl PostgresProcess {
    /// Makes a new one and starts it. Where none is installed the error is `NotFound`.
    pub(crate) fn create() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // A socket's path is short.
        let folder = Path::new("/tmp").join(format!("warren-pg-{}-{number}", std::process::id()));
        // Of a process that was killed, and had our number.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder)?;
        let mut server = Self { folder, keeper: None };
        // PostgreSQL refuses root: then it runs as whoever is there for it, or for nothing.
        if fs::metadata(&server.folder)?.uid() == 0 {
            let (user, group) = unprivileged()?;
            chown(&server.folder, Some(user), Some(group))?;
        }
        let mut initdb = server.command(&program("initdb"))?;
        initdb.args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"]);
        let made = initdb.arg("-D").arg(server.data()).output().map_err(|error| {
            io::Error::new(error.kind(), format!("initdb cannot be started: {error}"))
        })?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).trim()));
        }
        server.run()?;
        Ok(server)
    }

    /// Runs as the owner of the folder, and there.
    fn command(&self, program: &Path) -> io::Result<Command> {
        let owner = fs::metadata(&self.folder)?;
        let mut command = Command::new(program);
        command.current_dir(&self.folder).stderr(Stdio::null());
        // Only root may say who somebody is.
        if fs::metadata("/proc/self")?.uid() == 0 {
            command.uid(owner.uid()).gid(owner.gid());
        }
        Ok(command)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts it, or starts it again, and waits until it answers.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut keeper = self.command(Path::new("sh"))?;
        keeper.args(["-c", KEEPER, "sh"]).arg(program("pg_ctl")).arg(&self.folder);
        // Ctrl-C is for us, and not for who cleans up behind us.
        keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn()?;
        let output = keeper.stdout.take().expect("it is piped");
        self.keeper = Some(keeper);
        let mut word = String::new();
        BufReader::new(output).read_line(&mut word)?;
        if word.trim() == "started" {
            return Ok(());
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(io::Error::other(format!("PostgreSQL does not start: {}", log.trim())))
    }

    /// Ends it as a crash of the machine would.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let Some(mut keeper) = self.keeper.take() else { return Ok(()) };
        let told = keeper.stdin.take().map(|mut input| input.write_all(b"end\n"));
        keeper.wait()?;
        told.unwrap_or(Ok(()))
    }

    /// Stops all of its processes where they are, until [`go_on`](Self::go_on).
    pub(crate) fn stop(&self) -> io::Result<()> {
        let first = self.first()?;
        // It makes no more of them then, but may have been about to.
        signal("STOP", &[&first])?;
        let mut stopped = Vec::new();
        loop {
            let others = children(&first)?;
            let new: Vec<&str> =
                others.iter().filter(|id| !stopped.contains(*id)).map(String::as_str).collect();
            if new.is_empty() {
                return Ok(());
            }
            signal("STOP", &new)?;
            stopped = others;
        }
    }

    /// Lets all of its processes go on.
    pub(crate) fn go_on(&self) -> io::Result<()> {
        let first = self.first()?;
        let others = children(&first)?;
        signal("CONT", &others.iter().chain([&first]).map(String::as_str).collect::<Vec<_>>())
    }

    /// The process that makes the others.
    fn first(&self) -> io::Result<String> {
        let file = fs::read_to_string(self.data().join("postmaster.pid"))?;
        let first = file.lines().next().filter(|id| id.parse::<u32>().is_ok());
        first.map(str::to_owned).ok_or_else(|| io::Error::other("PostgreSQL tells no process"))
    }

    /// What a server is told to reach it.
    pub(crate) fn connection(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.folder.display())
    }
}

impl Drop for PostgresProcess {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = self.end();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// User and group of whoever has no rights here.
fn unprivileged() -> io::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let user = |name: &str| {
        let mut words = users.lines().find_map(|line| {
            let (found, words) = line.split_once(':')?;
            (found == name).then(|| words.split(':').skip(1))
        })?;
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    let found = user("postgres").or_else(|| user("nobody"));
    found.ok_or_else(|| io::Error::other("there is no user without rights for PostgreSQL"))
}

fn children(id: &str) -> io::Result<Vec<String>> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    Ok(children.split_whitespace().map(str::to_owned).collect())
}

fn signal(name: &str, ids: &[&str]) -> io::Result<()> {
    // The shell's own: the program of that name is not on every machine. Who has ended meanwhile needs none.
    let kill = r#"name="$1"; shift; for id; do kill -s "$name" "$id" 2> /dev/null; done; true"#;
    let status = Command::new("sh").args(["-c", kill, "sh", name]).args(ids).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("no signal {name}"))) }
}
