//! Sockets and protocols.

pub mod counters;
pub mod gateway;
