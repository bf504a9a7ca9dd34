//! Who watches an object, at the object's partition. The shards of the watchers hold relays
//! (`relay.rs`), as those of a room's members do.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use crate::authorize::Roles;
use crate::ids::{SessionId, ShardId};

/// Who a session that watches is, for when it is asked anew what it may hear.
#[derive(Debug)]
pub struct Watcher {
    /// Its user.
    pub user: Box<str>,
    /// Its user's roles.
    pub roles: Roles,
}

/// The sessions that watch one object, each with its user.
#[derive(Debug, Default)]
pub struct Watchers {
    /// By the session's number, which begins with its shard: so the sessions of one shard stand
    /// together.
    users: BTreeMap<u64, Watcher>,
}

impl Watchers {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.users.len()
    }

    /// Whether this session is one of them.
    #[must_use]
    pub fn contains(&self, session: SessionId) -> bool {
        self.users.contains_key(&session.to_bits())
    }

    /// Every session with its user, in order of the sessions' numbers.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Watcher)> {
        self.users.iter().map(|(bits, watcher)| (SessionId::from_bits(*bits), watcher))
    }

    /// Shards that have watchers: each gets one copy of every message.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> {
        let mut from = Some(0);
        core::iter::from_fn(move || {
            let (bits, _) = self.users.range(from?..).next()?;
            let shard = SessionId::from_bits(*bits).shard;
            let next = shard.0.checked_add(1).map(ShardId);
            let first = |shard| SessionId { shard, generation: 0, index: 0 };
            from = next.map(|shard| first(shard).to_bits());
            Some(shard)
        })
    }

    pub(crate) fn start(&mut self, session: SessionId, watcher: Watcher) {
        let earlier = self.users.insert(session.to_bits(), watcher);
        assert!(earlier.is_none(), "a session watches an object once");
    }

    pub(crate) fn end(&mut self, session: SessionId) {
        let user = self.users.remove(&session.to_bits());
        assert!(user.is_some(), "only a watch that was started ends");
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn each_shard_with_watchers_is_named_once() {
        let mut watchers = Watchers::default();
        let session =
            |shard, index| SessionId { shard: ShardId(shard), generation: u16::MAX, index };
        for (shard, index) in [(3, 1), (0, 0), (3, 2), (u16::MAX, u32::MAX), (3, 0)] {
            let watcher = Watcher { user: "ann".into(), roles: Roles::USER };
            watchers.start(session(shard, index), watcher);
        }
        let shards = |watchers: &Watchers| watchers.shards().collect::<Vec<_>>();
        assert_eq!(shards(&watchers), [ShardId(0), ShardId(3), ShardId(u16::MAX)]);
        watchers.end(session(3, 1));
        assert_eq!(shards(&watchers).len(), 3);
        watchers.end(session(0, 0));
        assert_eq!(shards(&watchers), [ShardId(3), ShardId(u16::MAX)]);
        assert_eq!(watchers.count(), 3);
    }
}
