//! Which figures of a report are compared, and what has to be the same in both.

/// What a change of a figure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Less,
    /// More is better.
    More,
    /// Neither: it explains the others.
    Neither,
}

/// A figure of a report.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Where it is, as a JSON pointer.
    pub pointer: &'static str,
    /// Its name in the table, with the unit.
    pub label: &'static str,
    /// What one of the table's units is in the report's.
    pub unit: f64,
    /// What a change means.
    pub better: Better,
    /// By which fraction single runs differ by chance, as far as we have seen on virtual machines.
    pub chance: f64,
}

const fn kind(
    pointer: &'static str,
    label: &'static str,
    unit: f64,
    better: Better,
    chance: f64,
) -> Kind {
    Kind { pointer, label, unit, better, chance }
}

/// All that are compared. The longest latency and what the kernel counts late say little of a server.
pub const KINDS: &[Kind] = &[
    kind("/server_cpu_us_per_user_s", "CPU us/user/s", 1.0, Better::Less, 0.1),
    kind("/floor_ratio", "CPU to floor", 1.0, Better::Less, 0.1),
    kind("/users_per_core", "users per core", 1.0, Better::More, 0.0),
    kind("/latency_us/p50", "p50 ms", 1e3, Better::Less, 0.2),
    kind("/latency_us/p90", "p90 ms", 1e3, Better::Less, 0.2),
    kind("/latency_us/p99", "p99 ms", 1e3, Better::Less, 0.5),
    kind("/latency_us/p999", "p99.9 ms", 1e3, Better::Neither, 1.0),
    kind("/latency_us/max", "max ms", 1e3, Better::Neither, 1.0),
    kind("/server_memory_per_session_bytes", "KiB/session", 1024.0, Better::Less, 0.05),
    kind("/kernel_memory_per_connection_bytes", "kernel KiB", 1024.0, Better::Neither, 1.0),
    kind("/server_allocations_per_message", "allocations/message", 1.0, Better::Less, 0.1),
    kind("/server_ring_enters_per_message", "enters/message", 1.0, Better::Less, 0.1),
    kind("/server_ring_enters_per_delivery", "enters/delivery", 1.0, Better::Less, 0.1),
    kind("/server_turns_per_s", "turns/s", 1.0, Better::Neither, 0.2),
    kind("/ramp_s", "ramp s", 1.0, Better::Neither, 0.2),
    kind("/generator_cpu", "generator cores", 1.0, Better::Neither, 0.1),
    kind("/foreign_cpu_cores", "others' cores", 1.0, Better::Neither, 1.0),
];

/// What has to be the same in all reports that are compared, as JSON pointers: what was played, how it was
/// measured, and on what.
pub const SETTINGS: &[&str] = &[
    "/profile",
    "/subject",
    "/users",
    "/duration_s",
    "/warm_up_s",
    "/message_rate_hz",
    "/neighbours",
    "/payload_bytes",
    "/tick_hz",
    "/bound_ms",
    "/bound_p50_ms",
    "/latency_sample",
    "/protocol",
    "/tls",
    "/shards",
    "/heartbeat_ms",
    "/pinning",
    "/machine/cpu",
    "/machine/cores",
    "/machine/kernel",
    "/machine/memory_mib",
];
