//! `warren-bench`, the load harness: how many concurrent users per core, doing what, within which
//! latency?
//!
//! ```text
//! run | search | floor | ab | objects | tasks | attack
//!         ├──── starts ──> server (warren, or floor-server)        on the first cores
//!         │                     ^ sockets
//!         └──── starts ──> generate (one process a core or more)   on the others
//! ```
//!
//! The method is in `docs/benchmark.md`. Pure parts (capacity, pacing, payload, ledger, wire, verdict, the
//! bracket of a search) know neither sockets nor clocks; `generator/engine.rs` and `floor_server.rs` have the rings.

pub mod ab;
pub mod arguments;
pub mod attack;
pub mod behaviour;
pub mod capacity;
pub mod certificate;
pub mod clock;
pub mod compare;
pub mod cpu;
pub mod disk;
pub mod floor_server;
pub mod generator;
pub mod histogram;
pub mod html;
pub mod ledger;
pub mod machine;
pub mod memory;
pub mod metrics;
pub mod objects;
pub mod pacing;
pub mod path;
pub mod payload;
pub mod phase;
pub mod pinning;
pub mod plugin;
pub mod process;
pub mod profile;
pub mod progress;
pub mod report;
pub mod ring;
pub mod runner;
pub mod search;
pub mod settings;
pub mod spinners;
pub mod stall;
pub mod tasks;
pub mod turn_times;
pub mod verdict;
pub mod wire;
