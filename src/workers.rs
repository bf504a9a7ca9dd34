//! Workers that the configuration names: processes that the server starts, watches and ends, on the thread of
//! the admin endpoint. What they do of the server's they do as clients.
//!
//! Files: `workers/own_key.rs` by what they log in, `workers/launch.rs` how one is started,
//! `workers/process.rs` one that runs, `workers/output.rs` what it writes, `workers/crew.rs` those of one
//! section, `workers/board.rs` what is told of them and asked of them.

mod board;
mod crew;
mod launch;
mod output;
mod own_key;
mod process;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::Desk;
use crate::config::ServerConfig;
use crate::logging::LogGuard;
use crate::metrics::ServerState;
use crate::stop_signals::StopSignals;
use crate::topology::{Topology, inherited_cores};

pub(crate) use board::{Board, NotTaken, WorkerOrder};
use crew::Crew;
use launch::Launch;
pub(crate) use own_key::OwnKey;

/// A killed process gets so long to be gone.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// The workers of a server, from when it serves until it ends.
pub(crate) struct Workers {
    crews: JoinSet<()>,
    ending: watch::Sender<bool>,
    /// How long the slowest may take to end.
    stop: Duration,
}

/// What a server starts its workers with.
pub(crate) struct Crews {
    launches: Vec<Launch>,
    pub(crate) board: Arc<Board>,
}

impl Crews {
    pub(crate) fn of(
        config: &ServerConfig,
        key: &Arc<OwnKey>,
        (listen, topology): (SocketAddr, &Topology),
        state: &ServerState,
    ) -> Self {
        let free = free_cores(&inherited_cores(), &topology.shard_cores);
        let launch = |section: &_| Launch::new(section, config, key, listen, &free);
        let launches: Vec<Launch> = config.workers.iter().map(launch).collect();
        let names = launches.iter().map(|launch| launch.section.name.as_str());
        let board = Arc::new(Board::new(names));
        state.set_workers(&board);
        Self { board, launches }
    }

    /// Starts them. To be called in the runtime.
    pub(crate) fn start(self, desk: &Arc<Desk>) -> Workers {
        let ending = watch::Sender::new(false);
        let mut crews = JoinSet::new();
        let stop_ms = self.launches.iter().map(|launch| launch.section.stop_ms).max();
        for launch in self.launches {
            let crew = Crew::new(launch, Arc::clone(desk), Arc::clone(&self.board));
            crews.spawn(crew.run(ending.subscribe()));
        }
        Workers { crews, ending, stop: Duration::from_millis(stop_ms.unwrap_or(0)) }
    }
}

impl Workers {
    /// Asks all to end, and waits until they have; whoever does not is killed. A signal ends the process at
    /// once, and them with it.
    pub(crate) async fn end(mut self, signals: &mut StopSignals, log: &LogGuard) {
        self.ending.send_replace(true);
        let ended = async { while self.crews.join_next().await.is_some() {} };
        tokio::select! {
            // Those that are left die with the server.
            result = tokio::time::timeout(self.stop + KILL_WAIT, ended) => if result.is_err() {
                tracing::warn!("not all workers have ended");
            },
            signal = signals.next() => signal.end_process(log),
        }
    }
}

/// Cores on which no shard is; all if there is none.
fn free_cores(all: &[usize], shards: &[usize]) -> Vec<usize> {
    let free: Vec<usize> = all.iter().copied().filter(|core| !shards.contains(core)).collect();
    if free.is_empty() { all.to_vec() } else { free }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_run_where_no_shard_is_if_there_is_such_a_core() {
        assert_eq!(free_cores(&[0, 1, 2, 3], &[0, 1]), [2, 3]);
        assert_eq!(free_cores(&[4, 6], &[4, 6, 4]), [4, 6]);
        assert_eq!(free_cores(&[4, 6], &[4]), [6]);
    }
}
