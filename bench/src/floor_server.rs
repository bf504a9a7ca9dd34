//! The floor: the least that a server of the same traffic can do. One thread for each shard, with
//! its own listener, ring and rooms; no gateway, no parsing but of a length, no session, no
//! partition. It is as good as we can make it: many operations in one enter, one send for each
//! connection and turn, and each frame is written once, however many hear it.
//!
//! Generators connect to the listener that a room's number names, so no thread has anything for
//! another; but for one room that all of them share, whose messages its home thread numbers
//! ([`mesh`]).

mod hall;
mod mesh;
mod worlds;

use std::io::{Write as _, stdout};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use warren_net::io::listener::Listener;

use self::hall::Hall;
use self::mesh::{Mesh, Word};
use crate::ring::{Completion, Ring, Turn, server_turn_interval};
use crate::{clock, pinning};

/// Longest wait for a completion; nothing depends on it.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How the floor is set up.
#[derive(Clone, Copy, Debug)]
pub struct FloorSettings {
    /// Number of threads.
    pub shards: usize,
    /// Connections of each, at most.
    pub connections_max: u32,
    /// Time between two heartbeats, in nanoseconds.
    pub heartbeat_ns: u64,
}

/// Serves until it is killed, and tells the address of each thread on standard output.
///
/// # Errors
/// When a thread cannot start, or ends.
pub fn run(settings: FloorSettings) -> Result<()> {
    let mesh = Arc::new(Mesh::new(settings.shards));
    let cores = pinning::available_cores();
    let (ended, first_end) = std::sync::mpsc::channel();
    let mut addresses = String::new();
    for shard in 0..settings.shards {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(free).context("listening")?;
        addresses.push_str(&format!("listening on {}\n", listener.local_addr()));
        let core = cores[shard % cores.len()];
        let (ended, mesh) = (ended.clone(), Arc::clone(&mesh));
        thread::Builder::new().name(format!("floor-{shard}")).spawn(move || {
            let result = pinning::bind(&[core])
                .map_err(Into::into)
                .and_then(|()| Shard::new(shard, settings, mesh)?.serve(&listener));
            // The receiver waits for the first end only.
            let _ = ended.send(result);
        })?;
    }
    stdout().write_all(addresses.as_bytes())?;
    stdout().flush()?;
    first_end.recv().unwrap_or_else(|_| Err(anyhow!("no shard was started")))
}

/// A thread's loop.
struct Shard {
    ring: Ring,
    hall: Hall,
    shard: usize,
    mesh: Arc<Mesh>,
    /// Connections whose receive is to be armed.
    unarmed: Vec<u32>,
}

impl Shard {
    fn new(shard: usize, settings: FloorSettings, mesh: Arc<Mesh>) -> Result<Self> {
        let ring = Ring::new(settings.connections_max)?;
        mesh.enter(shard, &ring);
        let hall = Hall::new(shard, settings.shards, settings.heartbeat_ns);
        Ok(Self { ring, hall, shard, mesh, unarmed: Vec::new() })
    }

    fn serve(mut self, listener: &Listener) -> Result<()> {
        self.ring.accept(listener);
        let mut completions = Vec::new();
        let mut words: Vec<Word> = Vec::new();
        let turn_interval = server_turn_interval();
        loop {
            let now_ns = clock::monotonic_ns();
            for completion in completions.drain(..) {
                self.complete(completion, listener, now_ns)?;
            }
            self.mesh.take(self.shard, &mut words);
            words.drain(..).for_each(|word| self.hall.told(word));
            self.hall.beat(now_ns);
            self.hall.tick(now_ns);
            for index in self.unarmed.drain(..) {
                if self.hall.is_open(index) {
                    self.ring.receive(index);
                }
            }
            self.mesh.publish(self.hall.staged_mut(), &mut self.ring);
            if self.hall.has_output() {
                let arena =
                    self.hall.flush(|index, start, length| self.ring.stage(index, start, length));
                self.ring.send_now(arena);
                self.hall.turn_end();
            }
            let until = |due_ns: u64| Duration::from_nanos(due_ns.saturating_sub(now_ns));
            let wait =
                self.hall.beat_next_ns().map_or(TIMEOUT, |due_ns| TIMEOUT.min(until(due_ns)));
            // Ticks that are due within a turn are run at its end.
            let tick = self.hall.tick_next_ns().map(|due_ns| until(due_ns).max(turn_interval));
            let wait = tick.map_or(wait, |tick| wait.min(tick));
            self.ring.turn(Turn::Gathering(turn_interval), wait, &mut completions);
        }
    }

    fn complete(&mut self, completion: Completion, listener: &Listener, now_ns: u64) -> Result<()> {
        match completion {
            Completion::Accepted { index: Some(index), more } => {
                self.hall.open(index);
                self.unarmed.push(index);
                if !more {
                    self.ring.accept(listener);
                }
            }
            Completion::Accepted { index: None, .. } => bail!("no more connections can be taken"),
            Completion::Received { index, bytes, more } => {
                let open = self.hall.is_open(index);
                let good = !open || self.hall.received(index, self.ring.bytes(bytes), now_ns);
                self.ring.recycle(bytes);
                if !good {
                    self.close(index);
                } else if !more {
                    self.unarmed.push(index);
                }
            }
            Completion::Unarmed { index } => self.unarmed.push(index),
            // Also a client that does not take what little there is: the generator reports it.
            Completion::Ended { index } | Completion::Sent { index, .. } => self.close(index),
        }
        Ok(())
    }

    fn close(&mut self, index: u32) {
        if self.hall.is_open(index) {
            self.hall.close(index);
            self.ring.shutdown(index);
        }
    }
}
