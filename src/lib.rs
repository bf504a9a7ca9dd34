//! The server as a library: configuration, the cores it runs on, metrics, and the admin endpoint.

pub mod admin;
pub mod arguments;
pub mod config;
pub mod data_folder;
pub mod fatal;
pub mod logging;
pub mod metrics;
pub mod topology;
