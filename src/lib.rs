//! The server of a Warren: threads, clock, configuration and wiring.

pub mod clock;
pub mod mesh;
pub mod shard_turn;
