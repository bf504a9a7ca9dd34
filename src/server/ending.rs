//! How a server ends: its shards first, then those who store what the shards had, then the store.

use std::pin::pin;
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::delta_log::LogThread;
use crate::fatal::{Fatal, FatalReason};
use crate::state::{StateFolder, StateSummary};
use crate::storage::Storage;

/// How often, and how many times, a server that ends looks whether its store is closed.
const STORE_LOOK: Duration = Duration::from_millis(1);
const STORE_LOOKS_MAX: u32 = 5_000;
/// How long it waits for the log when shards have given it up.
const LOG_WAIT: Duration = Duration::from_secs(5);
/// How often, and how many times in a row, it finds that nothing more got to the disk, until it ends without:
/// longer than shards wait for clients and log, and the snapshots' writer for a disk that refuses.
const STALL_LOOK: Duration = Duration::from_secs(1);
const STALL_LOOKS_MAX: u32 = 40;

/// How a shard thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShardEnd {
    Drained(StateSummary),
    /// The delta log has not got all that it has changed.
    Unstored,
    Failed,
}

/// Says at its drop how the shard thread has ended.
pub(super) struct EndReport {
    pub(super) sender: UnboundedSender<ShardEnd>,
    pub(super) end: ShardEnd,
}

impl Drop for EndReport {
    fn drop(&mut self) {
        // Nobody listens any more when the process is on its way out.
        let _ = self.sender.send(self.end);
    }
}

/// The shards that are left have ended, and what they had to store is stored. The state is complete
/// only if none has failed. `written` counts what gets to the disk.
pub(super) async fn all_stored(
    shard_ends: UnboundedReceiver<ShardEnd>,
    shards_left: usize,
    storage: Option<Storage>,
    is_complete: bool,
    written: impl Fn() -> u64,
) -> Result<(), Fatal> {
    let ends = ShardEnds { shard_ends, shards_left, is_complete };
    let Some(Storage { stored, writer, log, export }) = storage else {
        return ends.all().await.map(drop);
    };
    let storing = store_rest(ends, stored.clone(), writer.drain(), log);
    let closed = unless_stalled(storing, written).await;
    // With its last owner the store is closed, which takes a disk.
    if matches!(&closed, Err(fatal) if fatal.reason == FatalReason::StateNotStored) {
        drop(tokio::task::spawn_blocking(move || drop(stored)));
    } else {
        drop(stored);
    }
    // A kill from here on is no crash of the world: the exporter reads, and goes on with the next start.
    if let Some(export) = export {
        export.drain().await;
    }
    closed
}

/// Those shards whose end was not heard yet.
struct ShardEnds {
    shard_ends: UnboundedReceiver<ShardEnd>,
    shards_left: usize,
    is_complete: bool,
}

impl ShardEnds {
    /// What they leave, once all have ended.
    async fn all(mut self) -> Result<StateSummary, Fatal> {
        let mut left = StateSummary::default();
        let mut is_stored = true;
        for _ in 0..self.shards_left {
            match self.shard_ends.recv().await {
                Some(ShardEnd::Drained(state)) => left += state,
                Some(ShardEnd::Unstored) => is_stored = false,
                _ => self.is_complete = false,
            }
        }
        match (self.is_complete, is_stored) {
            (false, _) => Err(shard_failed()),
            (true, false) => Err(unstored()),
            (true, true) => Ok(left),
        }
    }
}

/// Shards, log and snapshots end, and the store is closed.
async fn store_rest(
    ends: ShardEnds,
    stored: StateFolder,
    written: impl Future<Output = Result<(), Fatal>>,
    mut log: LogThread,
) -> Result<(), Fatal> {
    let left = ends.all().await;
    // What shards still have is worth nothing without the log, whose disk may stand still.
    let ended = log.ended();
    let logged = match &left {
        Err(fatal) if fatal.reason == FatalReason::StateNotStored => {
            tokio::time::timeout(LOG_WAIT, ended).await.unwrap_or_else(|_| Err(unstored()))
        }
        _ => ended.await,
    };
    let written = written.await;
    let left = logged.and(written).and(left)?;
    let closed = tokio::task::spawn_blocking(move || stored.close()).await;
    closed.map_err(|error| Fatal::new(FatalReason::StateNotStored, error))??;
    left.log("state stored");
    Ok(())
}

/// Gives up what is to be stored when nothing more gets to the disk for too long.
async fn unless_stalled(
    storing: impl Future<Output = Result<(), Fatal>>,
    written: impl Fn() -> u64,
) -> Result<(), Fatal> {
    let mut storing = pin!(storing);
    let (mut last, mut looks) = (written(), 0);
    while looks < STALL_LOOKS_MAX {
        if let Ok(closed) = tokio::time::timeout(STALL_LOOK, &mut storing).await {
            return closed;
        }
        let now = written();
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
    }
    Err(Fatal::new(FatalReason::StateNotStored, "the disk of the data folder stands still"))
}

fn unstored() -> Fatal {
    let detail = "the delta log has not got everything in time";
    Fatal::new(FatalReason::StateNotStored, detail)
}

pub(super) fn shard_failed() -> Fatal {
    Fatal::new(FatalReason::ThreadFailed, "a shard thread ended by itself")
}

/// Waits until those who had the store have let it go, and it is closed.
pub(super) fn await_end(store_life: &Weak<()>) {
    for _ in 0..STORE_LOOKS_MAX {
        if store_life.strong_count() == 0 {
            return;
        }
        std::thread::park_timeout(STORE_LOOK);
    }
    tracing::warn!("the store is not closed in time");
}
