//! How a server ends: its shards first, then those who store what the shards had, then the store.

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::fatal::{Fatal, FatalReason};
use crate::state::StateSummary;
use crate::storage::Storage;

/// How often, and how many times, a server that ends looks whether its store is closed.
const STORE_LOOK: Duration = Duration::from_millis(1);
const STORE_LOOKS_MAX: u32 = 5_000;
/// How long it waits for the log when shards have given it up.
const LOG_WAIT: Duration = Duration::from_secs(5);

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
/// only if none has failed.
pub(super) async fn all_stored(
    mut shard_ends: UnboundedReceiver<ShardEnd>,
    shards_left: usize,
    storage: Option<Storage>,
    mut is_complete: bool,
) -> Result<(), Fatal> {
    let storage = storage.map(|it| (it.stored, (it.writer.drain(), it.log, it.export)));
    let (stored, writing) = storage.unzip();
    let mut left = StateSummary::default();
    let mut is_stored = true;
    for _ in 0..shards_left {
        match shard_ends.recv().await {
            Some(ShardEnd::Drained(state)) => left += state,
            Some(ShardEnd::Unstored) => is_stored = false,
            _ => is_complete = false,
        }
    }
    let mut exporting = None;
    if let Some((written, mut log, export)) = writing {
        exporting = export;
        // What shards still have is worth nothing without the log.
        let ended = log.ended();
        match is_stored {
            true => ended.await?,
            // Its disk may stand still.
            false => {
                tokio::time::timeout(LOG_WAIT, ended).await.unwrap_or_else(|_| Err(unstored()))?
            }
        }
        written.await?;
    }
    let closed = match (is_complete, is_stored) {
        (false, _) => Err(shard_failed()),
        (true, false) => Err(unstored()),
        (true, true) => stored.map_or(Ok(()), |stored| {
            stored.close()?;
            left.log("state stored");
            Ok(())
        }),
    };
    // A kill from here on is no crash of the world: the exporter reads, and goes on with the next start.
    if let Some(export) = exporting {
        export.drain().await;
    }
    closed
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
