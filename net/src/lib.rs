//! Sockets and protocols: turns bytes into messages and back, and knows what no message means.
//!
//! Runs on shard threads, one [`Reactor`](reactor::Reactor) each, over one io_uring ring each.
//!
//! ```text
//! sockets -> io -> connection -> gateway -> ShardInputs -> the shard
//! sockets <- io <- egress <----- gateway <- ShardOutputs <- the shard
//! ```
//!
//! One turn, `shard` being anything that turns inputs into outputs:
//!
//! ```no_run
//! use warren_core::turn::{Now, ShardInputs, ShardOutputs};
//! use warren_net::io::listener::Listener;
//! use warren_net::reactor::{Reactor, ReactorSettings};
//!
//! # fn shard(_: &ShardInputs, _: &mut ShardOutputs) {}
//! # fn clock() -> Now { Now { monotonic_ns: 0, wall_ms: 0 } }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = Listener::bind("127.0.0.1:7171".parse()?)?;
//! let mut reactor = Reactor::new(ReactorSettings::default(), listener)?;
//! let (mut inputs, mut outputs) = (ShardInputs::default(), ShardOutputs::new(1));
//! loop {
//!     let now = clock();
//!     reactor.receive(now, true, &mut inputs);
//!     shard(&inputs, &mut outputs);
//!     inputs.clear();
//!     reactor.send(now, &outputs);
//!     outputs.clear();
//!     reactor.wait(now.monotonic_ns, None);
//! }
//! # }
//! ```
//!
//! Invariants: no bytes of a client are lost, doubled or reordered; what a connection gets in one
//! turn leaves in one send, unless the turn's output is so large that it is sent in parts; bad
//! input is answered or closed with one named reason and never panics; system calls and unsafe code
//! are in [`io`] only.

pub mod counters;
pub mod gateway;
pub mod io;
pub mod proxy_header;
pub mod reactor;
pub mod tls;

mod connection;
mod egress;
mod heartbeat;
