//! The index by kind of a partition's objects: so that `find` looks at objects of its kind only.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::ops::Bound;

use crate::hashing::{HashMap, HashSeed};
use crate::ids::Address;
use crate::object::KIND_OVERHEAD_BYTES;

/// The addresses of each kind's objects. A kind without objects is not there.
#[derive(Debug)]
pub(crate) struct Kinds {
    addresses: HashMap<Box<str>, BTreeSet<Address>>,
}

impl Kinds {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self { addresses: HashMap::with_hasher(seed) }
    }

    pub(crate) fn contains(&self, kind: &str) -> bool {
        self.addresses.contains_key(kind)
    }

    /// Bytes that the kinds take beside what is counted for each object.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.addresses.len() * KIND_OVERHEAD_BYTES
    }

    /// Addresses of the kind's objects above `after`, in order.
    pub(crate) fn after(&self, kind: &str, after: Address) -> impl Iterator<Item = Address> {
        let addresses = self.addresses.get(kind).into_iter();
        addresses
            .flat_map(move |all| all.range((Bound::Excluded(after), Bound::Unbounded)).copied())
    }

    pub(crate) fn insert(&mut self, kind: &str, address: Address) {
        match self.addresses.get_mut(kind) {
            Some(addresses) => _ = addresses.insert(address),
            None => _ = self.addresses.insert(kind.into(), BTreeSet::from([address])),
        }
    }

    pub(crate) fn remove(&mut self, kind: &str, address: Address) {
        let addresses = self.addresses.get_mut(kind).expect("an object's kind is indexed");
        assert!(addresses.remove(&address), "an object is in the index of its kind");
        if addresses.is_empty() {
            self.addresses.remove(kind);
        }
    }
}
