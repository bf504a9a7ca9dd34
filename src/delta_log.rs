//! The delta log of a data folder: read at the start, and then written by one thread for all shards.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::sync::oneshot;
use warren_core::delta::DeltaBatch;
use warren_core::ids::{GroupId, ShardId};
use warren_core::routing::RoutingTable;
use warren_core::shard::Shard;
use warren_core::snapshot::RestoreError;
use warren_core::turn::Now;
use warren_net::reactor::WakeHandle;
use warren_storage::delta_log::{LogEnd, Record, recover};
use warren_storage::log_executor::{
    LogNews, LogPlace, LogPort, LogThreadError, LogWriter, prepare,
};

use crate::fatal::{Fatal, FatalReason};
use crate::metrics::ServerState;
use crate::shard_thread::Peers;

/// Bytes of a segment.
const SEGMENT_BYTES: u64 = 64 << 20;

/// A log that was read and is not written yet.
pub(crate) struct UnstartedLog {
    folder: PathBuf,
    end: LogEnd,
    writer: LogWriter,
}

impl UnstartedLog {
    /// Reads all of the log in this folder, and makes the folder if there is none. Also gives each shard
    /// its way to the log.
    pub(crate) fn read(
        folder: PathBuf,
        shard_count: usize,
        state: &ServerState,
    ) -> Result<(Vec<LogPort>, Self), Fatal> {
        let end = read_to_end(&folder)?;
        let (ports, writer) =
            prepare(shard_count, state.log(), Arc::clone(&state.snapshots().positions))
                .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
        Ok((ports, Self { folder, end, writer }))
    }

    /// Starts the thread that writes it, and waits until it can. It ends when all shards have.
    pub(crate) fn start(
        self,
        peers: &Arc<Peers>,
        wake_handles: &[WakeHandle],
    ) -> Result<LogThread, Fatal> {
        let (ending, ended) = oneshot::channel();
        let (begin, begun) = mpsc::channel();
        let (peers, wake_handles) = (Arc::clone(peers), wake_handles.to_vec());
        let body = move || {
            let Self { folder, end, writer } = self;
            let place = LogPlace { folder, segment_bytes: SEGMENT_BYTES, end };
            let wake = |shard: usize| {
                let id = ShardId(u16::try_from(shard).expect("shards are few"));
                if peers.must_wake(id) {
                    wake_handles[shard].wake();
                }
            };
            let tell = move |news: LogNews<'_>| match news {
                LogNews::Begun => {
                    let _ = begin.send(());
                }
                LogNews::Fails(error) => {
                    tracing::error!(%error, "the delta log fails; nothing becomes durable");
                }
                LogNews::Works => tracing::info!("the delta log works again"),
            };
            // Nobody listens any more when the process is on its way out.
            let _ = ending.send(writer.run(place, wake, tell));
        };
        let thread = std::thread::Builder::new()
            .name("delta-log".to_owned())
            .spawn(body)
            .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
        let started = LogThread { ended, thread };
        match begun.recv() {
            Ok(()) => Ok(started),
            // It has not begun, and is about to say why.
            Err(_) => Err(started.ended.blocking_recv().map_or_else(
                |_| thread_lost(),
                |result| result.map_or_else(|error| unusable(&error), |()| thread_lost()),
            )),
        }
    }
}

/// Replays what the snapshots of the shard's groups do not hold yet.
pub(crate) fn replay(
    folder: &Path,
    shard: &mut Shard,
    routing: &RoutingTable,
    now: Now,
) -> Result<(), Fatal> {
    let groups: BTreeSet<GroupId> = routing.groups_of(shard.id()).collect();
    let visit = |record: Record<'_>| {
        if !groups.contains(&record.header.group) {
            return Ok(());
        }
        let batch = DeltaBatch::decode(record.payload).map_err(|_| ReplayError::Malformed)?;
        shard.replay_stored(now, &batch).map_err(ReplayError::Refused)
    };
    // A log that was never written has no folder before its first start.
    recover(folder, visit).map(drop).map_err(|error| unusable(&error))
}

/// Why a record cannot be replayed.
#[derive(Debug, Error)]
pub(crate) enum ReplayError {
    #[error("it is no delta batch")]
    Malformed,
    #[error("{0}")]
    Refused(RestoreError),
}

/// Says in our own log what is there.
fn read_to_end(folder: &Path) -> Result<LogEnd, Fatal> {
    std::fs::create_dir_all(folder)
        .map_err(|error| unusable(&format_args!("{}: {error}", folder.display())))?;
    let end = recover(folder, |_| Ok::<_, Infallible>(())).map_err(|error| unusable(&error))?;
    let found = end.summary();
    let (segments, commits, records) = (found.segments, found.commits, found.records);
    match found.torn {
        None => tracing::info!(segments, commits, records, "the delta log is whole"),
        Some(torn) => tracing::warn!(
            segments,
            commits,
            records,
            segment = torn.segment,
            offset = torn.offset,
            "the delta log ends with a commit that is not whole: it was not acknowledged"
        ),
    }
    Ok(end)
}

/// The thread that writes the log.
#[derive(Debug)]
pub(crate) struct LogThread {
    ended: oneshot::Receiver<Result<(), LogThreadError>>,
    thread: JoinHandle<()>,
}

impl LogThread {
    /// Comes when it has ended, and everything that shards have handed over is on the disk.
    pub(crate) async fn ended(self) -> Result<(), Fatal> {
        let result = self.ended.await;
        self.thread.join().map_err(|_| thread_lost())?;
        let written = result.map_err(|_| thread_lost())?;
        written.map_err(|error| Fatal::new(FatalReason::StateNotStored, error))
    }
}

fn thread_lost() -> Fatal {
    Fatal::new(FatalReason::ThreadFailed, "the thread of the delta log ended")
}

fn unusable(error: &dyn std::fmt::Display) -> Fatal {
    Fatal::new(FatalReason::StateUnusable, error)
}
