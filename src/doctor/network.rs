//! Checks of addresses and of the kernel's network settings.

use std::net::SocketAddr;

use warren_net::io::listener::BACKLOG;

use super::facts::SystemFacts;
use super::{Facts, Row, Verdict};
use crate::config::{Endpoint, ServerConfig};

pub(super) fn rows(facts: &Facts, config: &ServerConfig) -> Vec<Row> {
    let (system, trials) = (&facts.system, &facts.trials);
    vec![
        address("listen", "`server.listen`", config.listen, &trials.listen),
        admin(&trials.admin, &trials.token, config),
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

/// The endpoint, and the token without which nobody is answered who comes from elsewhere.
fn admin(
    outcome: &Result<(), String>,
    token: &Option<Result<(), String>>,
    config: &ServerConfig,
) -> Row {
    const CHECK: &str = "admin";
    const KEY: &str = "`admin.listen`";
    let row = match &config.admin_listen {
        Endpoint::Tcp(listen) => address(CHECK, KEY, *listen, outcome),
        Endpoint::Unix(path) => match outcome {
            Ok(()) => Row::pass(CHECK, format!("{KEY} unix:{} can be made", path.display())),
            Err(error) => Row::fail(
                CHECK,
                format!("{KEY} unix:{}: {error}", path.display()),
                "set another path, in a folder that the server's user may write; one that is in \
                 use may be this server's",
            ),
        },
    };
    match token {
        Some(Err(error)) if row.verdict == Verdict::Pass => Row::fail(
            CHECK,
            format!("`admin.token_file`: {error}"),
            "make one: (umask 077; head -c 32 /dev/urandom | base64 > FILE)",
        ),
        Some(Ok(())) if row.verdict == Verdict::Pass => {
            Row::pass(CHECK, format!("{}, and asks for a token", row.seen))
        }
        _ => row,
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
    let ports = [Some(config.listen.port()), config.admin_listen.port()].into_iter().flatten();
    let mut open: Vec<String> = ports
        .filter(|port| (first..=last).contains(port) && !system.is_reserved(*port))
        .map(|port| port.to_string())
        .collect();
    open.dedup();
    if open.is_empty() {
        return Row::pass(CHECK, seen);
    }
    // What is set takes the place of what was.
    let reserved = Some(&system.ports_reserved).filter(|ports| !ports.is_empty());
    let all = reserved.into_iter().chain(&open).cloned().collect::<Vec<_>>().join(",");
    let remedy = format!(
        "sysctl -w net.ipv4.ip_local_reserved_ports={all}, or set other ports: an outgoing \
         connection may have taken {} when the server starts",
        open.join(" or ")
    );
    Row::warn(CHECK, seen, remedy)
}
