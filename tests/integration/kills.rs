//! What was acknowledged `durable` is there after `kill -9`, however often and whenever it comes.
//!
//! Kills are placed from outside, by what the server is seen to do in its data folder, so that each phase
//! of writing gets its share; the seed draws the rest.

mod watch;
mod writer;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};

use self::watch::{Deed, Watch};
use self::writer::{Tally, Writer};
use crate::client::Client;
use crate::server::{TestServer, command, unique};

/// Clients that write at the same time, each to objects of its own.
const WRITERS: usize = 4;
/// Most acknowledgements before what a kill waits for is looked for.
const LIFE_MAX: u64 = 24;
/// Most deeds of the phase that are let pass.
const PASSED_MAX: u64 = 6;
/// Most rounds of a wait after the deed: about 4 ms.
const SPINS_MAX: u64 = 1 << 17;

/// What the server does when it is killed. An export will be another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// A commit is being written: at once after an acknowledgement, or after a write was seen.
    Append,
    /// A commit has been written, and is being synced or just was.
    Sync,
    /// A snapshot is being written.
    Snapshot,
    /// A segment was made, and is not written yet or just was.
    SegmentSwitch,
    /// A segment was removed.
    SegmentDeletion,
    /// A start has made a segment, and does not serve yet or just does.
    Start,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Append,
        Self::Sync,
        Self::Snapshot,
        Self::SegmentSwitch,
        Self::SegmentDeletion,
        Self::Start,
    ];

    /// What is waited for.
    fn deed(self) -> Deed {
        match self {
            Self::Append | Self::Sync => Deed::LogWrite,
            Self::Snapshot => Deed::StateWrite,
            Self::SegmentSwitch | Self::Start => Deed::SegmentMade,
            Self::SegmentDeletion => Deed::SegmentRemoved,
        }
    }

    /// How many deeds are let pass: few where each comes only after many commits.
    fn passed_max(self) -> u64 {
        match self {
            Self::SegmentDeletion | Self::Start => 1,
            _ => PASSED_MAX,
        }
    }

    /// How long the wait after it may be.
    fn spins_max(self) -> u64 {
        if self == Self::Append { SPINS_MAX >> 5 } else { SPINS_MAX }
    }
}

/// How often the server is killed: `WARREN_KILLS`, or 200.
fn kills() -> u64 {
    std::env::var("WARREN_KILLS").map_or(200, |text| text.parse().expect("a number"))
}

/// A number that follows from the seed.
fn drawn(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("warren-kills-{}-{}", std::process::id(), unique());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        // Snapshots are taken all the time, and a segment holds a few commits.
        let config = "[log]\nlevel = \"error\"\n[limits]\nmessages_per_s = 0\n\
                      [storage]\nsnapshot_interval_ms = 10\nsegment_bytes = 32768\n";
        std::fs::write(folder.join("warren.toml"), config).unwrap();
        Self(folder)
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn command(&self) -> Command {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        serve.args(["--shards", "2", "--config"]).arg(self.0.join("warren.toml"));
        serve.arg("--data").arg(self.data()).stderr(Stdio::inherit());
        serve
    }

    fn start(&self) -> TestServer {
        TestServer::spawn(self.command())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// When one kill comes.
#[derive(Clone, Copy, Debug)]
struct Aim {
    phase: Phase,
    /// Acknowledgements before, then deeds, then rounds of waiting.
    life: u64,
    passed: u64,
    spins: u64,
}

impl Aim {
    fn draw(round: u64, seed: &mut u64) -> Self {
        let phase = Phase::ALL[(round % Phase::ALL.len() as u64) as usize];
        let life = drawn(seed, LIFE_MAX);
        let passed = drawn(seed, phase.passed_max());
        // Half of them come at once.
        let spins = drawn(seed, 2) * drawn(seed, phase.spins_max());
        Self { phase, life, passed, spins }
    }

    /// Kills the process when it is time to.
    fn kill(self, watch: &Watch, pid: u32) {
        watch.wait_for(self.phase.deed(), self.passed);
        (0..self.spins).for_each(|_| core::hint::spin_loop());
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }
}

#[test]
fn what_was_acknowledged_durable_survives_a_kill_in_every_phase() {
    let place = Place::new();
    // So that there are folders to watch.
    place.start().stop();
    let watch = Watch::on(&place.data());
    let mut seed = 7;
    let mut writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    let mut tally = Tally::default();
    let mut counts: BTreeMap<Phase, u64> = BTreeMap::new();
    for round in 0..kills() {
        let aim = Aim::draw(round, &mut seed);
        *counts.entry(aim.phase).or_default() += 1;
        if aim.phase == Phase::Start {
            kill_while_it_starts(&place, &watch, aim);
        } else {
            tally.add(kill_while_it_serves(&place, &watch, aim, &mut writers, round));
        }
    }
    let server = place.start();
    drop(enter(&server, &mut writers, kills()));
    server.stop();
    let told: Vec<String> =
        counts.iter().map(|(phase, count)| format!("{phase:?} {count}")).collect();
    let Tally { sets, creates, deletes } = tally;
    println!(
        "{} kills ({}), {sets} sets, {creates} creates and {deletes} deletes acknowledged, 0 lost",
        kills(),
        told.join(", ")
    );
    assert!(sets > kills() && creates > 0 && deletes > 0, "{tally:?}");
}

fn kill_while_it_starts(place: &Place, watch: &Watch, aim: Aim) {
    watch.forget();
    let mut child = place.command().stdout(Stdio::null()).spawn().unwrap();
    aim.kill(watch, child.id());
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
}

fn kill_while_it_serves(
    place: &Place,
    watch: &Watch,
    aim: Aim,
    writers: &mut [Writer],
    round: u64,
) -> Tally {
    let server = place.start();
    let clients = enter(&server, writers, round);
    let (told, heard) = channel();
    let tally = std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .zip(clients)
            .map(|(writer, client)| {
                let told = told.clone();
                scope.spawn(move || writer.write(client, &told))
            })
            .collect();
        live(&heard, aim.life);
        watch.forget();
        aim.kill(watch, server.pid());
        let mut tally = Tally::default();
        threads.into_iter().for_each(|thread| tally.add(thread.join().unwrap()));
        tally
    });
    assert_eq!(server.wait().signal(), Some(Signal::KILL.as_raw()));
    tally
}

/// Logs everyone in, and looks whether all is there that has to be.
fn enter(server: &TestServer, writers: &mut [Writer], round: u64) -> Vec<Client> {
    let log_in = |(at, writer): (usize, &mut Writer)| {
        let mut client = Client::connect(server.listen);
        writer.log_in(&mut client, at, round);
        writer.check(&mut client, round);
        client
    };
    writers.iter_mut().enumerate().map(log_in).collect()
}

/// Waits for so many acknowledgements: the writers are anywhere then, and so are log and snapshots.
fn live(heard: &Receiver<()>, life: u64) {
    heard.iter().take(life as usize).for_each(drop);
}
