//! Where a shard's delta batches go: they are synced late and in steps, the log may fail for a while, and
//! what is not synced is lost with a crash, which may come at any moment. So what a client was told of a
//! durable change must be synced by then.

use std::collections::{BTreeMap, VecDeque};

use warren::shard_turn::ShardTurn;
use warren_core::acknowledgement::{AckDefaults, AckLevel};
use warren_core::delta::{Delta, DeltaBatch};
use warren_core::limits::Limits;

use crate::plan::Plan;
use crate::prng::Prng;

/// Most batches of one sync.
const SYNCED_AT_ONCE_MAX: u64 = 12;
/// What an object is synced up to that is gone.
pub(crate) const DELETED: u64 = u64::MAX;

/// The conditions of the logs of one simulation, by a seed of their own: what else happens is as without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogPlan {
    pub(crate) has_log: bool,
    pub(crate) defaults: AckDefaults,
    durable_methods: [Option<&'static str>; 3],
    /// In how many of a hundred turns a shard's log syncs.
    sync_percent: u64,
    /// In how many of a thousand it fails.
    fail_permille: u64,
}

impl LogPlan {
    /// Draws them, and the bound of what waits.
    pub(crate) fn draw(prng: &mut Prng, plan: &mut Plan) -> Self {
        let has_log = prng.chance(60);
        let mut defaults = AckDefaults::default();
        let durable_methods = ["create", "set", "delete"].map(|method| {
            let is_durable = has_log && prng.chance(50);
            is_durable.then_some(method)
        });
        for method in durable_methods.iter().flatten() {
            defaults.set(method, AckLevel::Durable).expect("it changes objects");
        }
        let limits = &mut plan.limits;
        limits.log_wait_bytes_max = match prng.chance(50) {
            true => Limits::TINY.log_wait_bytes_max,
            false => Limits::PRODUCTION.log_wait_bytes_max,
        };
        let sync_percent = *prng.pick(&[3, 15, 60]);
        let fail_permille = *prng.pick(&[0, 0, 5, 30]);
        Self { has_log, defaults, durable_methods, sync_percent, fail_permille }
    }
}

impl LogPlan {
    /// Methods that are durable unless a request says otherwise.
    pub(crate) fn durable_methods(self) -> Vec<&'static str> {
        self.durable_methods.into_iter().flatten().collect()
    }
}

/// What all logs have: the version of each object, `DELETED` for those that are gone.
pub(crate) type Synced = BTreeMap<u64, u64>;

/// One shard's log.
#[derive(Debug, Default)]
pub(crate) struct ModelLog {
    /// Made and not synced, the oldest first.
    waiting: VecDeque<DeltaBatch>,
    durable: Vec<DeltaBatch>,
    has_failed: bool,
}

impl ModelLog {
    pub(crate) fn push(&mut self, batches: &[DeltaBatch]) {
        self.waiting.extend(batches.iter().cloned());
    }

    /// What a crash leaves.
    pub(crate) fn durable(&self) -> &[DeltaBatch] {
        &self.durable
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.waiting.is_empty() && !self.has_failed
    }

    /// The log may sync some of what it has, fail, or go on.
    pub(crate) fn advance(
        &mut self,
        plan: LogPlan,
        prng: &mut Prng,
        shard: &mut ShardTurn,
        synced: &mut Synced,
    ) {
        if self.has_failed {
            if prng.chance(10) {
                self.go_on(shard);
            }
        } else if prng.below(1000) < plan.fail_permille {
            self.has_failed = true;
            shard.log_failed();
        } else if prng.chance(plan.sync_percent) {
            self.sync(prng.between(1, SYNCED_AT_ONCE_MAX) as usize, shard, synced);
        }
    }

    /// The log syncs all that it has.
    pub(crate) fn finish(&mut self, shard: &mut ShardTurn, synced: &mut Synced) {
        if self.has_failed {
            self.go_on(shard);
        }
        self.sync(usize::MAX, shard, synced);
    }

    fn go_on(&mut self, shard: &mut ShardTurn) {
        self.has_failed = false;
        shard.log_works();
    }

    fn sync(&mut self, count_max: usize, shard: &mut ShardTurn, synced: &mut Synced) {
        let count = count_max.min(self.waiting.len());
        for batch in self.waiting.drain(..count) {
            for delta in &batch.deltas {
                match delta {
                    Delta::ObjectCreated { object, version, .. }
                    | Delta::ObjectChanged { object, version, .. } => {
                        synced.insert(*object, *version);
                    }
                    Delta::ObjectDeleted { object } => _ = synced.insert(*object, DELETED),
                    _ => {}
                }
            }
            shard.note_durable(batch.group_id(), batch.sequence_id());
            self.durable.push(batch);
        }
    }
}
