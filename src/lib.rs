//! The server of a Warren as a library: threads, clock, configuration and wiring.
//!
//! [`server`] starts everything; [`shard_thread`] is one core's life, [`shard_turn`] its loop body.

pub mod admin;
pub mod allocation_counter;
pub mod arguments;
mod attendant;
pub mod backup;
mod bans;
pub mod clock;
pub mod config;
pub mod control;
pub mod ctl;
pub mod data_folder;
mod delta_log;
pub mod demo;
mod demo_page;
pub mod doctor;
pub mod export;
pub mod fatal;
mod hand_over;
pub mod import;
pub mod log_forget;
pub mod log_reader;
pub mod logging;
pub mod mesh;
pub mod metrics;
pub mod native_worker;
pub mod new;
mod postgres_access;
pub mod reload;
pub mod server;
mod service_manager;
pub mod shard_thread;
pub mod shard_turn;
pub mod snapshots;
mod state;
mod stop_signals;
mod storage;
pub mod ticket;
pub mod tls;
pub mod topology;
pub mod worker;
mod workers;
