//! The real binary over real sockets. Every test starts a server of its own on free ports and ends
//! it; nothing sleeps, and what waits for bytes of a server waits with a bound.

mod addresses;
mod admin;
mod allocations;
mod any_client;
mod auth;
mod backup;
mod bad_input;
mod bans;
mod client;
#[path = "../../plugins/src/tests/compiler.rs"]
mod compiler;
mod connserver;
mod crowd;
mod ctl;
mod frozen_disk;
mod full_disk;
mod half_sent;
mod kills;
mod life;
#[path = "../../bench/src/process/loop_disk.rs"]
mod loop_disk;
mod lost_log;
mod native_workers;
mod objects;
mod operations;
mod plugins;
mod postgres_addresses;
mod postgres_commands;
mod postgres_export;
mod postgres_figures;
mod postgres_phases;
#[path = "../../bench/src/process/postgres.rs"]
mod postgres_process;
mod postgres_proxy;
mod postgres_server;
mod postgres_world;
mod protocols;
mod queues;
mod refused;
mod reports;
mod restart;
mod resume;
mod rooms;
mod sandbox;
mod server;
mod syncs;
mod tasks;
mod tls;
mod token_theft;
mod websocket;
#[path = "../vectors/wire.rs"]
mod wire;
mod workers;
mod worlds;
mod xml;
