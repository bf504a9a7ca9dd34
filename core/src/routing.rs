//! Which shard owns which group, and since which epoch.

use alloc::vec::Vec;

use crate::ids::{Epoch, GROUP_COUNT, GroupId, PartitionId, ShardId};

/// A node's table of ownership. Every shard has a copy of it.
#[derive(Clone, Debug)]
pub struct RoutingTable {
    owners: Vec<(ShardId, Epoch)>,
    shard_count: u16,
}

impl RoutingTable {
    /// Deals the groups out in turn, all at the same epoch.
    ///
    /// # Panics
    /// When there is no shard, or more shards than groups.
    #[must_use]
    pub fn even(shard_count: u16, epoch: Epoch) -> Self {
        assert!(shard_count > 0);
        assert!(usize::from(shard_count) <= GROUP_COUNT);
        let owner = |group: usize| (ShardId(group as u16 % shard_count), epoch);
        Self { owners: (0..GROUP_COUNT).map(owner).collect(), shard_count }
    }

    /// The shard that owns the partition.
    #[must_use]
    pub fn shard_of(&self, partition: PartitionId) -> ShardId {
        self.owners[usize::from(partition.group().0)].0
    }

    /// The groups of the shard, in order.
    pub fn groups_of(&self, shard: ShardId) -> impl Iterator<Item = GroupId> {
        let groups = (0..).map(GroupId).zip(&self.owners);
        groups.filter(move |(_, (owner, _))| *owner == shard).map(|(group, _)| group)
    }

    /// The epoch of the group's ownership.
    #[must_use]
    pub fn epoch_of(&self, group: GroupId) -> Epoch {
        self.owners[usize::from(group.0)].1
    }

    /// Number of shards.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        self.shard_count
    }
}
