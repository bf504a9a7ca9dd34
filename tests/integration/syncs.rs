//! On the real disk a reply to a durable change comes after a sync of the log that began when the change
//! was there: as the kernel's own trace of syncs tells, on its clock.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::client::Client;
use crate::server::{TestServer, command, unique};

const CLIENTS: usize = 4;
const SETS: u64 = 100;
/// The trace has microseconds.
const ROUNDED_NS: u64 = 1_000;
/// `CAP_SYS_ADMIN` of `linux/capability.h`: who may mount.
const MAY_MOUNT: u64 = 1 << 21;
/// `EXT4_SUPER_MAGIC` of `linux/magic.h`.
const EXT4: u64 = 0xef53;
/// Waits until its input ends, also when the test is killed; then removes the trace `$3` from what is mounted
/// at `$2`, unmounts that, and removes the folder `$1`, but never what may be the kernel's.
const CLEAN_UP: &str = r#"
trap '' HUP INT TERM
cat > /dev/null
rmdir "$2/instances/$3" 2> /dev/null
umount "$2" 2> /dev/null
if ! mountpoint -q "$2"; then rm -rf "$1"; fi
"#;

/// Why this machine shows nothing, as whoever runs the test has to know; none: it has to.
fn why_not() -> Option<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    if u64::from_str_radix(capabilities.trim(), 16).unwrap() & MAY_MOUNT == 0 {
        return Some("only root may read the kernel's trace");
    }
    if !fs::read_to_string("/proc/filesystems").unwrap().contains("\ttracefs\n") {
        return Some("the kernel has no tracefs");
    }
    let folder = rustix::fs::statfs(std::env::temp_dir().as_path()).unwrap();
    if folder.f_type as u64 != EXT4 {
        return Some("the folder for temporary files is on no ext4, whose syncs the kernel tells");
    }
    None
}

/// A trace of its own, and a folder for the server.
struct Place {
    folder: PathBuf,
    trace: PathBuf,
    guardian: Child,
}

impl Place {
    fn new() -> Self {
        let name = format!("warren-syncs-{}-{}", std::process::id(), unique());
        let folder = std::env::temp_dir().join(&name);
        // Wherever else it is mounted it is the same one, and stays.
        let tracing = folder.join("tracing");
        fs::create_dir_all(&tracing).unwrap();
        let guardian = Command::new("sh")
            .args(["-c", CLEAN_UP, "sh"])
            .args([&folder, &tracing])
            .arg(&name)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let trace = tracing.join("instances").join(name);
        let place = Self { folder, trace, guardian };
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tracefs", "nodev"]).arg(&tracing).output().unwrap();
        assert!(mounted.status.success(), "{mounted:?}");
        fs::create_dir(&place.trace).unwrap();
        fs::write(place.trace.join("trace_clock"), "mono").unwrap();
        for event in ["ext4_sync_file_enter", "ext4_sync_file_exit"] {
            fs::write(place.trace.join(format!("events/ext4/{event}/enable")), "1").unwrap();
        }
        place
    }

    fn start(&self) -> TestServer {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--data"]).arg(self.folder.join("data"));
        TestServer::spawn(serve)
    }

    /// When syncs of the log's files began and ended, in nanoseconds.
    fn syncs(&self) -> Vec<(u64, u64)> {
        let log = fs::read_dir(self.folder.join("data/log")).unwrap();
        let inodes: Vec<u64> = log.map(|entry| entry.unwrap().metadata().unwrap().ino()).collect();
        let trace = fs::read_to_string(self.trace.join("trace")).unwrap();
        let mut begun: Vec<(u64, u64)> = Vec::new();
        let mut syncs = Vec::new();
        for line in trace.lines() {
            let Some((inode, at_ns, is_enter)) = event(line) else { continue };
            if !inodes.contains(&inode) {
                continue;
            }
            if is_enter {
                begun.push((inode, at_ns));
            } else if let Some(index) = begun.iter().position(|(of, _)| *of == inode) {
                syncs.push((begun.swap_remove(index).1, at_ns));
            }
        }
        syncs
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// `NAME-PID [CPU] FLAGS SECONDS.MICROS: ext4_sync_file_enter: dev … ino NUMBER …`
fn event(line: &str) -> Option<(u64, u64, bool)> {
    let (before, after) = line.split_once(": ext4_sync_file_")?;
    let time = before.split_whitespace().next_back()?;
    let (seconds, micros) = time.split_once('.')?;
    let at_ns = seconds.parse::<u64>().ok()? * 1_000_000_000 + micros.parse::<u64>().ok()? * 1_000;
    let inode = after.split(" ino ").nth(1)?.split_whitespace().next()?.parse().ok()?;
    Some((inode, at_ns, after.starts_with("enter")))
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// When each set was sent and answered. A client has one on its way.
fn set(server: &TestServer) -> Vec<(u64, u64)> {
    let clients: Vec<_> =
        (0..CLIENTS).map(|at| Client::log_in(server.listen, &format!("writer-{at}"))).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(at, client)| scope.spawn(move || set_one_by_one(client, at)))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn set_one_by_one(mut client: Client, at: usize) -> Vec<(u64, u64)> {
    let create = json!({"msg": "create", "kind": "counter", "partition": at * 17_000});
    client.send(format!("{create}\n"));
    let object = client.reply("create")["object"].clone();
    (0..SETS)
        .map(|value| {
            let set = json!({"msg": "set", "object": object, "value": value, "ack": "durable"});
            let sent_ns = now_ns();
            client.send(format!("{set}\n"));
            assert_eq!(client.reply("set")["status"], 0);
            (sent_ns, now_ns())
        })
        .collect()
}

/// How many of these were answered without a sync between.
fn unsynced(sets: &[(u64, u64)], syncs: &[(u64, u64)]) -> usize {
    let is_synced = |(sent_ns, replied_ns): &(u64, u64)| {
        syncs.iter().any(|(began_ns, ended_ns)| {
            began_ns + ROUNDED_NS >= *sent_ns && *ended_ns <= replied_ns + ROUNDED_NS
        })
    };
    sets.iter().filter(|set| !is_synced(set)).count()
}

#[test]
fn every_durable_reply_comes_after_a_sync_that_covers_it() {
    if let Some(why) = why_not() {
        println!("NOT SHOWN: {why}");
        return;
    }
    let place = Place::new();
    let server = place.start();
    let sets = set(&server);
    let syncs = place.syncs();
    server.stop();
    assert!(!syncs.is_empty(), "the kernel told of no sync of the log");
    let late = unsynced(&sets, &syncs);
    println!("{} syncs; of {} replies {late} came without one", syncs.len(), sets.len());
    assert_eq!(late, 0);
    // Nothing stays mounted.
    let mount = place.folder.display().to_string();
    drop(place);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&mount), "{mounts}");
}
