//! Hash maps for keys that clients can choose: SipHash-1-3 with a seed from the configuration, so
//! that nobody can make them slow, and one seed gives one trace.

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// A shard's seed for its hash maps.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashSeed(pub u64, pub u64);

impl BuildHasher for HashSeed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

pub(crate) type HashMap<K, V> = hashbrown::HashMap<K, V, HashSeed>;
