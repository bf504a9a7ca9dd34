//! Bytes that the kernel may still read from: one send for each connection.

use std::collections::HashMap;

/// Sent bytes by connection, until their completion.
#[derive(Debug, Default)]
pub(super) struct PendingSends {
    by_index: HashMap<u32, Vec<u8>>,
}

impl PendingSends {
    /// Keeps the bytes, which do not move, until [`release`](Self::release).
    ///
    /// # Panics
    /// When the connection has a send under way.
    pub(super) fn hold(&mut self, index: u32, bytes: Vec<u8>) -> &[u8] {
        match self.by_index.entry(index) {
            std::collections::hash_map::Entry::Occupied(_) => panic!("one send at a time"),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(bytes),
        }
    }

    /// Lets the bytes go and tells how many they were.
    pub(super) fn release(&mut self, index: u32) -> u32 {
        let bytes = self.by_index.remove(&index).expect("a send completes once");
        u32::try_from(bytes.len()).expect("it was sent as a u32")
    }
}
