//! The ring and its sockets: the only place in Warren with io_uring, libc and unsafe code.
//!
//! ```text
//! Listener --accept--> slot of the ring's file table --receive--> BufferRing -> Completion
//!                                                   <--send----- arena (at once) or own buffer
//! ```
//!
//! Knows nothing of protocols, messages or shards, so that the load harness drives its own sockets
//! with it. Invariants:
//!
//! 1. A [`Ring`](ring::Ring) stays on the thread that made it (`SINGLE_ISSUER`); the compiler checks it.
//! 2. What the kernel may still read or write belongs to the ring: receive buffers, buffers of
//!    queued sends, the wake counter. Sends from borrowed memory are over when the call returns.
//! 3. Accepted sockets live in the ring's file table and never in the process's descriptor table.

pub mod accepts;
pub mod buffers;
pub mod descriptor_limit;
pub mod listener;
pub mod operation;
pub mod probe;
mod registration;
pub mod ring;
mod shutdowns;
pub mod wake;

#[cfg(test)]
mod tests;
