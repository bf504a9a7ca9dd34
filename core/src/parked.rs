//! Messages that wait until it is known who their connection's client is, and the logins that wait
//! for a later turn. To check a ticket takes as long as dozens of other requests, so a turn checks
//! few.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::ids::ConnectionId;
use crate::message::Message;

/// Messages of one connection in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// Each with its length before it.
    bytes: Vec<u8>,
}

impl Parked {
    /// Adds a message, if there is room for it.
    #[must_use]
    pub(crate) fn push(&mut self, message: Message<'_>, bytes_max: usize) -> bool {
        let message = message.as_bytes();
        let fits = self.bytes.len() + message.len() <= bytes_max;
        if fits {
            self.bytes.extend_from_slice(&(message.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(message);
        }
        fits
    }

    /// The messages, the first first.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let mut rest = self.bytes.as_slice();
        core::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk()?;
            let (message, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            rest = after;
            Some(Message::from_checked(message))
        })
    }
}

/// The connections of a shard whose login waits, each with what came behind it. There are no more
/// of them than connections without a login.
#[derive(Debug, Default)]
pub(crate) struct WaitingLogins {
    /// By a number that rises.
    list: BTreeMap<u64, (ConnectionId, Parked)>,
    next: u64,
}

impl WaitingLogins {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Adds a connection with its login, and says at which place.
    pub(crate) fn insert(&mut self, connection: ConnectionId, parked: Parked) -> u64 {
        let place = self.next;
        self.next += 1;
        self.list.insert(place, (connection, parked));
        place
    }

    /// What waits at this place.
    pub(crate) fn parked_mut(&mut self, place: u64) -> &mut Parked {
        let (_, parked) = self.list.get_mut(&place).expect("who waits has a place");
        parked
    }

    pub(crate) fn remove(&mut self, place: u64) {
        assert!(self.list.remove(&place).is_some(), "who waits has a place");
    }

    /// Takes out the connection that has waited longest.
    pub(crate) fn take_first(&mut self) -> Option<(ConnectionId, Parked)> {
        self.list.pop_first().map(|(_, first)| first)
    }
}
