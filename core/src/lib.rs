#![no_std]
#![forbid(unsafe_code)]
//! What happens in a Warren: see `ARCHITECTURE.md`.

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod acknowledgement;
pub mod admission;
pub mod authentication;
pub mod authorize;
pub mod bans;
pub mod control;
pub mod counters;
#[expect(missing_docs, reason = "rkyv derives types without documentation")]
pub mod delta;
mod effects;
mod event_queue;
mod gathered;
mod handlers;
pub mod hashing;
mod hearing;
pub mod ids;
pub mod inline;
mod kinds;
pub mod limits;
mod log_wait;
pub mod mesh;
pub mod message;
pub mod name;
pub mod object;
mod parked;
pub mod partition;
pub mod peer;
pub mod plugin_name;
pub mod rate;
pub mod reason;
mod relay;
mod remembered;
mod replay_log;
pub mod room;
pub mod routing;
mod segment_log;
mod session;
pub mod shard;
pub mod snapshot;
pub mod tasks;
pub mod ticket;
pub mod token;
pub mod turn;
pub mod watch;
pub mod world;
