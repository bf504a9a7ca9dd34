//! How many connections each shard of a server is set up for. Pure.

use anyhow::{Result, ensure};

/// What the server takes without a configuration, `limits.connections_max`: less is not set, so
/// that it is measured as it is by default.
const CONNECTIONS_DEFAULT: u32 = 16_384;
/// The most that `limits.connections_max` can be.
const CONNECTIONS_MAX: u32 = 1_048_576;
/// Head-room of each shard besides an eighth of its share: the kernel spreads connections by chance.
const HEADROOM: u32 = 256;

/// Connections of one shard, when `users` are spread over `shard_count` and a shard's table
/// holds `descriptors_max`: the limit on descriptors, without those that a reactor has besides.
///
/// # Errors
/// When the users do not fit, with what to do about it.
pub fn connections_per_shard(users: u32, shard_count: u16, descriptors_max: u32) -> Result<u32> {
    let share = users.div_ceil(u32::from(shard_count.max(1)));
    let limit = descriptors_max.min(CONNECTIONS_MAX);
    ensure!(
        share <= limit,
        "{users} users on {shard_count} shards are {share} connections a shard, and a ring holds \
         {limit} here: take more --shards, or raise the hard limit on descriptors (ulimit -Hn)"
    );
    Ok(share.saturating_add(share / 8 + HEADROOM).max(CONNECTIONS_DEFAULT).min(limit))
}

/// The most users for which the shards have head-room, when a ring's table holds `descriptors_max`. One
/// shard needs none: it has all of them.
#[must_use]
pub fn users_max(shard_count: u16, descriptors_max: u32) -> u32 {
    let limit = descriptors_max.min(CONNECTIONS_MAX);
    match shard_count {
        0 | 1 => limit,
        count => (limit.saturating_sub(HEADROOM) / 9 * 8).saturating_mul(u32::from(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_users_as_there_is_head_room_for_fit() {
        for (shards, descriptors, users) in
            [(1, 20_000, 20_000), (2, 20_000, 35_088), (4, 1_024, 2_720), (2, 100, 0)]
        {
            assert_eq!(users_max(shards, descriptors), users);
            let whole = connections_per_shard(users, shards, descriptors).unwrap();
            let needed = users / u32::from(shards) / 8 * 9 + HEADROOM;
            assert!(shards == 1 || users == 0 || needed <= whole, "{needed} of {whole}");
        }
        assert_eq!(users_max(1, u32::MAX), CONNECTIONS_MAX);
    }

    #[test]
    fn a_shard_has_room_for_its_share_and_more_up_to_the_limit_on_descriptors() {
        for (users, shards, descriptors, connections) in [
            (64, 1, 20_000, 16_384),
            (15_000, 1, 20_000, 17_131),
            (18_000, 1, 20_000, 20_000),
            (20_000, 1, 20_000, 20_000),
            (30_000, 2, 20_000, 17_131),
            (64, 1, 1_024, 1_024),
            (40_000, 1, 1_000_000, 45_256),
            (1_000_000, 1, u32::MAX, 1_048_576),
        ] {
            let found = connections_per_shard(users, shards, descriptors).unwrap();
            assert_eq!(found, connections, "{users} on {shards}");
        }
    }

    #[test]
    fn users_that_do_not_fit_are_refused_with_a_remedy() {
        for (users, shards) in [(20_001, 1), (40_001, 2)] {
            let error = connections_per_shard(users, shards, 20_000).unwrap_err().to_string();
            assert!(error.contains("ulimit -Hn") && error.contains("--shards"), "{error}");
        }
    }
}
