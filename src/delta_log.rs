//! The delta log of a data folder: read at the start, and then written by one thread for all shards.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::sync::oneshot;
use warren_core::delta::DeltaBatch;
use warren_core::ids::{Epoch, GROUP_COUNT, GroupId, Sequence, ShardId};
use warren_core::routing::RoutingTable;
use warren_core::shard::Shard;
use warren_core::snapshot::RestoreError;
use warren_core::turn::Now;
use warren_net::reactor::WakeHandle;
use warren_storage::delta_log::{LogEnd, Record, recover};
use warren_storage::log_executor::{
    LogNews, LogPlace, LogPort, LogThreadError, LogWriter, prepare,
};

use crate::config::ServerConfig;
use crate::fatal::{Fatal, FatalReason};
use crate::metrics::ServerState;
use crate::shard_thread::Peers;
use crate::state::{self, StateFolder};

/// A log that was read and is not written yet.
pub(crate) struct UnstartedLog {
    folder: PathBuf,
    segment_bytes: u64,
    end: Arc<LogEnd>,
    writer: LogWriter,
}

impl UnstartedLog {
    /// Reads all of the log as [`read_whole`] does. Also gives each shard its way to the log.
    pub(crate) fn read(
        stored: &StateFolder,
        config: &ServerConfig,
        state: &ServerState,
    ) -> Result<(Vec<LogPort>, Self), Fatal> {
        let end = read_whole(stored)?;
        let folder = stored.log_folder.clone();
        let (ports, writer) =
            prepare(config.shards, state.log(), Arc::clone(&state.snapshots().log_needs))
                .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
        let (segment_bytes, end) = (config.segment_bytes, Arc::new(end));
        Ok((ports, Self { folder, segment_bytes, end, writer }))
    }

    /// What was found.
    pub(crate) fn end(&self) -> &Arc<LogEnd> {
        &self.end
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
            let Self { folder, segment_bytes, end, writer } = self;
            let place = LogPlace { folder, segment_bytes, end: LogEnd::clone(&end) };
            drop(end);
            let wake = |shard: usize| {
                let id = ShardId(u16::try_from(shard).expect("shards are few"));
                if peers.must_wake(id) {
                    wake_handles[shard].wake();
                }
            };
            let wake_all = WakeAll { wake, shards: wake_handles.len() };
            let tell = move |news: LogNews<'_>| match news {
                LogNews::Begun => {
                    let _ = begin.send(());
                }
                LogNews::Fails(error) => {
                    tracing::error!(%error, "the delta log fails; nothing becomes durable");
                }
                LogNews::Works => tracing::info!("the delta log works again"),
                LogNews::RemovalFails(error) => {
                    tracing::error!(%error, "a segment that nobody needs cannot be removed");
                }
                LogNews::RemovalWorks => tracing::info!("segments can be removed again"),
            };
            let result = writer.run(place, wake, tell);
            drop(wake_all);
            // Nobody listens any more when the process is on its way out.
            let _ = ending.send(result);
        };
        let thread = std::thread::Builder::new()
            .name("delta-log".to_owned())
            .spawn(body)
            .map_err(|error| Fatal::new(FatalReason::SystemRefused, error))?;
        let started = LogThread { ended, thread: Some(thread) };
        match begun.recv() {
            Ok(()) => Ok(started),
            // It has not begun, and is about to say why.
            Err(_) => Err(started.ended.blocking_recv().map_or_else(
                |_| thread_lost(),
                |result| result.map_or_else(|error| not_begun(&error), |()| thread_lost()),
            )),
        }
    }
}

/// Wakes every shard at its drop: however the log ends, those who wait for it hear of it.
struct WakeAll<W: Fn(usize)> {
    wake: W,
    shards: usize,
}

impl<W: Fn(usize)> Drop for WakeAll<W> {
    fn drop(&mut self) {
        (0..self.shards).for_each(&self.wake);
    }
}

/// Replays what the snapshots of the shard's groups do not hold yet.
pub(crate) fn replay(
    folder: &Path,
    shard: &mut Shard,
    routing: &RoutingTable,
    end: &LogEnd,
    now: Now,
) -> Result<(), Fatal> {
    let groups: BTreeSet<GroupId> = routing.groups_of(shard.id()).collect();
    let stored: BTreeMap<GroupId, Sequence> =
        groups.iter().map(|group| (*group, shard.group_end(*group))).collect();
    let visit = |record: Record<'_>| {
        let batch = DeltaBatch::decode(record.payload).map_err(|_| ReplayError::Malformed)?;
        shard.replay_stored(now, &batch).map_err(ReplayError::Refused)
    };
    end.replay(folder, |group| stored.get(&group).copied(), visit)
        .map_err(|error| unusable(&error))?;
    for &group in &groups {
        let Some((_, logged)) = end.last_of(group) else { continue };
        let reached = shard.group_end(group);
        if reached != logged {
            let (group, reached, logged) = (group.0, reached.0, logged.0);
            return Err(unusable(&format_args!(
                "group {group} is stored up to sequence {reached}, and its log ends at {logged}: \
                 state and log are of different moments"
            )));
        }
    }
    Ok(())
}

/// A log goes on with the epoch of this start, and epochs never fall.
fn check_epochs(end: &LogEnd, epoch: Epoch) -> Result<(), Fatal> {
    let groups = (0..GROUP_COUNT as u16).map(GroupId);
    let written = groups.filter_map(|group| end.last_of(group)).map(|(written, _)| written).max();
    match written {
        Some(written) if written >= epoch => Err(unusable(&format_args!(
            "the log was written by start {} of this world, and the state knows of {}: \
             the state is older",
            written.0,
            epoch.0 - 1
        ))),
        _ => Ok(()),
    }
}

/// What is not in the snapshots yet is in the log that the store names, and nowhere else. Where it names
/// none, any log will do but one that was given up.
fn check_mark(end: &LogEnd, stored: &StateFolder) -> Result<(), Fatal> {
    let mark = stored.store.log_mark().map_err(state::unusable)?;
    let forgotten = stored.store.logs_forgotten().map_err(state::unusable)?;
    if mark.is_none() && end.is_begun() && forgotten.contains(&end.salt()) {
        return Err(unusable(&format_args!(
            "{}: this log was given up by `warren log forget --data FOLDER`, and the state goes on without \
             it: move it away",
            stored.log_folder.display()
        )));
    }
    let Some(Err(lost)) = mark.map(|mark| mark.check(end)) else { return Ok(()) };
    Err(unusable(&format_args!(
        "{}: {lost}. Put the log back or restore a backup; `warren log forget --data FOLDER` gives up what \
         only the log had",
        stored.log_folder.display()
    )))
}

/// Why a record cannot be replayed.
#[derive(Debug, Error)]
pub(crate) enum ReplayError {
    #[error("it is no delta batch")]
    Malformed,
    #[error("{0}")]
    Refused(RestoreError),
}

/// Reads all of a state's log, and looks whether it is the one that the state needs.
pub(crate) fn read_whole(stored: &StateFolder) -> Result<LogEnd, Fatal> {
    let end = read_to_end(&stored.log_folder)?;
    check_epochs(&end, stored.epoch)?;
    check_mark(&end, stored)?;
    Ok(end)
}

/// Says in our own log what is there.
fn read_to_end(folder: &Path) -> Result<LogEnd, Fatal> {
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
    /// None when its end was told.
    thread: Option<JoinHandle<()>>,
}

impl LogThread {
    /// Comes when it has ended, and everything that shards have handed over is on the disk. Whoever gives
    /// up waiting may wait again.
    pub(crate) async fn ended(&mut self) -> Result<(), Fatal> {
        if self.thread.is_none() {
            return Err(thread_lost());
        }
        let result = (&mut self.ended).await;
        let thread = self.thread.take().expect("it was there");
        thread.join().map_err(|_| thread_lost())?;
        let written = result.map_err(|_| thread_lost())?;
        written.map_err(|error| Fatal::new(FatalReason::StateNotStored, error))
    }

    /// Comes when it has ended while there are shards, which it never should.
    pub(crate) async fn lost(log: Option<&mut Self>) -> Fatal {
        match log {
            Some(log) => log.ended().await.err().unwrap_or_else(thread_lost),
            None => std::future::pending().await,
        }
    }
}

fn thread_lost() -> Fatal {
    Fatal::new(FatalReason::ThreadFailed, "the thread of the delta log ended")
}

/// Nothing is wrong with what is stored: the next start may find room on the disk.
fn not_begun(error: &LogThreadError) -> Fatal {
    let reason = match error {
        LogThreadError::Executor(_) => FatalReason::SystemRefused,
        LogThreadError::Folder { .. } => FatalReason::DataFolderUnusable,
        LogThreadError::NotBegun(_) | LogThreadError::RestNotWritten(_) => {
            FatalReason::StateNotStored
        }
    };
    Fatal::new(reason, error)
}

fn unusable(error: &dyn std::fmt::Display) -> Fatal {
    Fatal::new(FatalReason::StateUnusable, error)
}

#[cfg(test)]
mod tests;
