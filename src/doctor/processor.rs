//! Checks of the processor and the clock.

use super::facts::SystemFacts;
use super::{Row, counted};
use crate::config::ServerConfig;
use crate::topology::Topology;

/// Clocks that are read without a system call.
const CLOCK_SOURCES: &[&str] =
    &["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];

pub(super) fn rows(system: &SystemFacts, config: &ServerConfig) -> Vec<Row> {
    // Without a list there is still a core on which this runs.
    let cores = if system.cores.is_empty() { &[0][..] } else { &system.cores };
    let topology = Topology::new(cores, config.shards);
    vec![
        shard_cores(system, &topology),
        core_siblings(system, &topology),
        quota(system, config),
        governor(system, &topology),
        clock_source(system),
    ]
}

fn shard_cores(system: &SystemFacts, topology: &Topology) -> Row {
    const CHECK: &str = "cores";
    if system.cores.is_empty() {
        return Row::warn(CHECK, "the cores of this process cannot be read", "mount /proc");
    }
    let (shards, cores) = (topology.shard_cores.len(), system.cores.len());
    let seen =
        format!("{} on {} of this process", counted(shards, "shard"), counted(cores, "core"));
    if topology.oversubscribed {
        let remedy = format!(
            "give the process more cores (taskset, the container's cpuset), or set server.shards \
             to at most {cores}"
        );
        return Row::warn(CHECK, seen, remedy);
    }
    Row::pass(CHECK, seen)
}

fn core_siblings(system: &SystemFacts, topology: &Topology) -> Row {
    const CHECK: &str = "core-siblings";
    let mut shared = Vec::new();
    for (index, core) in topology.shard_cores.iter().enumerate() {
        let siblings = system.siblings.get(core).map(Vec::as_slice).unwrap_or_default();
        let earlier = topology.shard_cores[..index].iter();
        shared.extend(
            earlier
                .filter(|other| *other != core && siblings.contains(other))
                .map(|other| format!("{other} and {core}")),
        );
    }
    if !shared.is_empty() {
        let seen = format!("shards on two threads of one core: {}", shared.join(", "));
        let apart = cores_apart(system);
        let list = apart.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let mut remedy = format!(
            "leave one thread of each core idle: taskset -c {list}, or the same list as \
             AllowedCPUs= or CPUAffinity= in the systemd unit, --cpuset-cpus of the container"
        );
        if apart.len() < topology.shard_cores.len() {
            remedy += &format!("; and set server.shards to at most {}", apart.len());
        }
        return Row::warn(CHECK, seen, remedy);
    }
    let told = topology.shard_cores.iter().all(|core| system.siblings.contains_key(core));
    Row::pass(CHECK, if told { "each shard has a core of its own" } else { "not told here" })
}

/// The first thread of each physical core.
fn cores_apart(system: &SystemFacts) -> Vec<usize> {
    let mut apart: Vec<usize> = Vec::new();
    for core in &system.cores {
        let siblings = system.siblings.get(core).map(Vec::as_slice).unwrap_or_default();
        if apart.iter().all(|earlier| !siblings.contains(earlier)) {
            apart.push(*core);
        }
    }
    apart
}

fn quota(system: &SystemFacts, config: &ServerConfig) -> Row {
    const CHECK: &str = "cpu-quota";
    match system.quota_cores {
        None => Row::pass(CHECK, "none"),
        Some(cores) if cores < config.shards as f64 => Row::warn(
            CHECK,
            format!("{cores:.1} cores' time for {}", counted(config.shards, "shard")),
            "raise or drop it (CPUQuota= in the systemd unit, --cpus of the container, \
             limits.cpu of the pod), or set server.shards: a shard that is held back by the quota \
             stands still until the next period",
        ),
        Some(cores) => Row::pass(CHECK, format!("{cores:.1} cores' time")),
    }
}

fn governor(system: &SystemFacts, topology: &Topology) -> Row {
    const CHECK: &str = "cpu-governor";
    let of_shards =
        || topology.shard_cores.iter().filter_map(|core| Some((core, system.governors.get(core)?)));
    if let Some((core, other)) = of_shards().find(|(_, governor)| *governor != "performance") {
        let seen = format!("{other} on core {core}");
        return Row::warn(CHECK, seen, "cpupower frequency-set -g performance");
    }
    let seen = if of_shards().next().is_some() { "performance" } else { "not told here" };
    Row::pass(CHECK, seen)
}

fn clock_source(system: &SystemFacts) -> Row {
    const CHECK: &str = "clock-source";
    let Some(source) = &system.clock_source else {
        return Row::warn(CHECK, "cannot be read", "mount /sys");
    };
    if CLOCK_SOURCES.contains(&source.as_str()) {
        return Row::pass(CHECK, source);
    }
    let fast = CLOCK_SOURCES.iter().find(|fast| system.clock_sources.iter().any(|s| s == *fast));
    let remedy = match fast {
        Some(fast) => format!(
            "echo {fast} > /sys/devices/system/clocksource/clocksource0/current_clocksource, and \
             clocksource={fast} on the kernel's command line"
        ),
        None => "the kernel's log says why it does not trust the processor's own counter \
                 (dmesg | grep -i tsc): every look at the time is a slow one"
            .to_owned(),
    };
    Row::warn(CHECK, source, remedy)
}
