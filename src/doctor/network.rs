//! Checks of addresses and of the kernel's network settings.

use std::net::SocketAddr;

use warren_net::io::listener::BACKLOG;

use super::facts::SystemFacts;
use super::{Facts, Row};
use crate::config::ServerConfig;

pub(super) fn rows(facts: &Facts, config: &ServerConfig) -> Vec<Row> {
    let (system, trials) = (&facts.system, &facts.trials);
    vec![
        address("listen", "`server.listen`", config.listen, &trials.listen),
        address("admin", "`admin.listen`", config.admin_listen, &trials.admin),
        backlog(system),
        port_range(system, config),
    ]
}

fn address(
    check: &'static str,
    key: &str,
    listen: SocketAddr,
    outcome: &Result<(), String>,
) -> Row {
    match outcome {
        Ok(()) => Row::pass(check, format!("{key} {listen} is free")),
        Err(error) => {
            let port = listen.port();
            let remedy = format!(
                "see who has it (ss -ltnp 'sport = :{port}'; it may be this server), or set \
                 another address"
            );
            Row::fail(check, format!("{key} {listen}: {error}"), remedy)
        }
    }
}

fn backlog(system: &SystemFacts) -> Row {
    const CHECK: &str = "backlog";
    match system.backlog_max {
        None => Row::pass(CHECK, "not told here"),
        Some(max) if max < BACKLOG as u64 => Row::warn(
            CHECK,
            format!("net.core.somaxconn is {max}; a shard asks for {BACKLOG}"),
            format!(
                "sysctl -w net.core.somaxconn={BACKLOG}: when many clients come back at once, \
                 those who do not fit wait for seconds"
            ),
        ),
        Some(max) => Row::pass(CHECK, format!("net.core.somaxconn is {max}")),
    }
}

/// Outgoing connections take ports of this range. They bound how many clients a load generator can
/// be to one address, and one of them may have the server's port when it wants to start.
fn port_range(system: &SystemFacts, config: &ServerConfig) -> Row {
    const CHECK: &str = "port-range";
    let Some((first, last)) = system.port_range else {
        return Row::pass(CHECK, "not told here");
    };
    let count = u32::from(last.saturating_sub(first)) + 1;
    let seen = format!(
        "outgoing ports {first} to {last}: up to {count} clients from one address of a load \
         generator here"
    );
    let mut ports = [config.listen, config.admin_listen].map(|listen| listen.port()).into_iter();
    match ports.find(|port| (first..=last).contains(port)) {
        Some(port) => {
            let remedy = format!(
                "sysctl -w net.ipv4.ip_local_reserved_ports={port}, or set another port: an \
                 outgoing connection may have taken {port} when the server starts"
            );
            Row::warn(CHECK, seen, remedy)
        }
        None => Row::pass(CHECK, seen),
    }
}
