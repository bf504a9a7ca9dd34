//! Game code in native libraries, inline on the shards or (methods) in a worker: `docs/plugins.md`. The interface is that of C,
//! `include/warren_plugin.h`.
//!
//! ```text
//! file ──copy──► library ──checks, self-check──► catalog ──table of methods──► shards
//! request ──► shard ──InlineCode──► plugin ──► code of the library ──► host functions ──► effects, answer
//! NPCs due ──► shard ──Behaviour──► plugin ──► code of the library ──► places, looked at by the world
//! ```
//!
//! Files: `abi.rs` the header's structs, `host.rs` the functions that a library calls, `library.rs` from a
//! file to code that was checked, `plugin.rs` a call with its budget, `catalog.rs` which versions of which
//! plugins there are. `unsafe` is in the first three and at the one place that calls.
//!
//! Invariants: nothing of a library is freed while the process lives; nothing that a library gives is used
//! after the call without a copy, but for what the header says stays; what it gives is checked as if a client
//! had sent it.

mod abi;
mod catalog;
mod host;
mod library;
mod plugin;
#[cfg(test)]
mod tests;

pub use catalog::{Catalog, PluginRow, RollbackError};
pub use library::{CallFailure, Library, LibraryBehaviour, LibraryMethod, LoadError, TaskOptions};
pub use plugin::{Budget, Clock, PluginCounters};
