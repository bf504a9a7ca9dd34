//! A shard in a few numbers, for the log.

use core::sync::atomic::Ordering::Relaxed;

use super::exposition::SCALARS;
use super::{ServerState, ShardMetrics};

/// What an operator looks at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct ShardSummary {
    #[serde(rename = "shard")]
    pub(crate) index: usize,
    pub(crate) turn_age_ns: u64,
    pub(crate) connections: u64,
    pub(crate) sessions: u64,
    pub(crate) rooms: u64,
    pub(crate) objects: u64,
    pub(crate) queued_events: u64,
    pub(crate) send_queue_bytes: u64,
    pub(crate) mesh_staged_bytes: u64,
}

impl ServerState {
    /// Every shard as it was at its last turn.
    pub(crate) fn summaries(&self) -> impl Iterator<Item = ShardSummary> {
        let now_ns = (self.monotonic_ns)();
        self.shards.iter().enumerate().map(move |(index, shard)| ShardSummary {
            index,
            turn_age_ns: now_ns.saturating_sub(shard.turned_at_ns.load(Relaxed)),
            connections: shard.connections.iter().map(|count| count.load(Relaxed)).sum(),
            sessions: scalar(shard, "sessions"),
            rooms: scalar(shard, "rooms"),
            objects: scalar(shard, "objects"),
            queued_events: scalar(shard, "queued_events"),
            send_queue_bytes: scalar(shard, "send_queue_bytes"),
            mesh_staged_bytes: scalar(shard, "mesh_staged_bytes"),
        })
    }
}

fn scalar(shard: &ShardMetrics, name: &str) -> u64 {
    let index = SCALARS.iter().position(|scalar| scalar.name == name);
    shard.scalars[index.expect("a metric of this name")].load(Relaxed)
}
