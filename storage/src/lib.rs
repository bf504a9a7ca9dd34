//! The data tier of a Warren: what outlives the process. Its calls block, so they run on worker
//! threads, never on a shard's.
//!
//! ```text
//! shards ──SnapshotBatch, a bounded channel──► a worker ──StateStore::write──► RocksDB
//! shards ◄──StateStore::restore, at the start, each shard its own groups────── RocksDB
//! ```
//!
//! [`state_store`] is the one file that knows RocksDB, [`object_record`] the one that knows the
//! format of what stands in it. [`delta_log`] is the log of all changes: its format, writer and
//! recovery.
//!
//! [`postgres`] follows that log into Postgres, and brings a world back from there: it alone has SQL.
//!
//! Invariants: a batch is stored as a whole or not at all; what is stored is never newer than the log;
//! bytes from the disk are checked before they are read; an address that was given away is never given away again.

pub mod delta_log;
pub mod log_executor;
pub mod object_record;
pub mod postgres;
pub mod state_store;

pub use state_store::{StateOpened, StateStore, StoreError};
