//! Checks of memory.

use super::facts::SystemFacts;
use super::{Row, bytes_text};
use crate::config::ServerConfig;

/// What a shard takes at its start beside its receive buffers: its ring, its tables, its queues.
const SHARD_BYTES: u64 = 16 << 20;
/// Less than this does not hold many users.
const AVAILABLE_BYTES_MIN: u64 = 512 << 20;

pub(super) fn rows(system: &SystemFacts, config: &ServerConfig) -> Vec<Row> {
    vec![memory(system, config), overcommit(system), huge_pages(system)]
}

fn memory(system: &SystemFacts, config: &ServerConfig) -> Row {
    const CHECK: &str = "memory";
    let buffers = config.reactor.receive_buffers * config.reactor.receive_buffer_bytes;
    let needed = (buffers as u64 + SHARD_BYTES) * config.shards as u64;
    let Some(total) = system.memory_total_bytes else {
        return Row::warn(CHECK, "cannot be read", "mount /proc");
    };
    let limit = system.memory_limit_bytes.filter(|limit| *limit < total);
    let bound = limit.unwrap_or(total);
    let room = system.memory_room_bytes.unwrap_or(bound);
    let available = system.memory_available_bytes.unwrap_or(total).min(bound).min(room);
    let state = config.limits.state_bytes_max as u64 * config.shards as u64;
    let seen = format!(
        "{} {}, {} available; the server starts with {}",
        bytes_text(bound),
        if limit.is_some() { "by the control group" } else { "in all" },
        bytes_text(available),
        bytes_text(needed)
    );
    if available < needed {
        let remedy = "give it more (MemoryMax= in the systemd unit, --memory of the container), or \
                      configure fewer shards, or fewer or smaller receive buffers";
        return Row::fail(CHECK, seen, remedy);
    }
    if available < AVAILABLE_BYTES_MIN.max(needed * 2) {
        let remedy = "give it more: users, rooms and objects come on top of what it starts with";
        return Row::warn(CHECK, seen, remedy);
    }
    if available < needed.saturating_add(state) {
        let remedy = format!(
            "give it more, or lower `limits.state_bytes_max`: with it, objects may take {} on top",
            bytes_text(state)
        );
        return Row::warn(CHECK, seen, remedy);
    }
    Row::pass(CHECK, seen)
}

fn overcommit(system: &SystemFacts) -> Row {
    const CHECK: &str = "overcommit";
    match system.overcommit {
        Some(2) => Row::warn(
            CHECK,
            "vm.overcommit_memory is 2: memory that is reserved counts as used",
            "sysctl -w vm.overcommit_memory=0, or a vm.overcommit_ratio with room for the server",
        ),
        Some(value) => Row::pass(CHECK, format!("vm.overcommit_memory is {value}")),
        None => Row::pass(CHECK, "not told here"),
    }
}

fn huge_pages(system: &SystemFacts) -> Row {
    const CHECK: &str = "huge-pages";
    match system.huge_pages.as_deref() {
        Some("always") => Row::warn(
            CHECK,
            "transparent huge pages: always",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled: the kernel may stop a \
             shard to put pages together, and memory grows",
        ),
        Some(when) => Row::pass(CHECK, format!("transparent huge pages: {when}")),
        None => Row::pass(CHECK, "not told here"),
    }
}
