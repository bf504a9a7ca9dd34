//! Tells the protocol by a connection's first bytes.

use super::Protocol;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// This protocol; its frames begin after `skip` bytes.
    Protocol {
        /// Which.
        protocol: Protocol,
        /// Bytes before the first frame.
        skip: usize,
    },
    /// Not to be told yet.
    NeedMore,
    /// None that is spoken here.
    Unknown,
}
