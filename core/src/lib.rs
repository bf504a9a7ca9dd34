#![no_std]
#![forbid(unsafe_code)]
//! What happens in a Warren: see `ARCHITECTURE.md`.

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod counters;
pub mod delta;
pub mod ids;
pub mod mesh;
pub mod message;
pub mod name;
pub mod reason;
pub mod turn;
