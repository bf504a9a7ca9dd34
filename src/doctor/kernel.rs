//! Checks of the kernel, of io_uring, and of the process's rights and limits.

use warren_net::io::probe::{FEATURES, Finding, Remedy};
use warren_net::reactor::SURPLUS_SLOTS;

use super::facts::{Limit, SystemFacts};
use super::trials::TrialFacts;
use super::{Facts, Row, bytes_text, counted};
use crate::config::ServerConfig;

/// The kernel that has all that a ring needs.
const KERNEL_SINCE: (u32, u32) = {
    let mut newest = (0, 0);
    let mut index = 0;
    while index < FEATURES.len() {
        let (major, minor) = FEATURES[index].kernel_since;
        if major > newest.0 || (major == newest.0 && minor > newest.1) {
            newest = (major, minor);
        }
        index += 1;
    }
    newest
};

/// Memory that the kernel locks for a shard's ring, generously: 2.7 MiB were seen.
const LOCKED_BYTES_PER_SHARD: u64 = 4 << 20;

pub(super) fn rows(facts: &Facts, config: &ServerConfig) -> Vec<Row> {
    let (system, trials) = (&facts.system, &facts.trials);
    let mut rows = vec![kernel(system), io_uring_setting(system, trials), seccomp(system, trials)];
    rows.extend(features(trials));
    rows.push(rings(trials, config));
    rows.push(descriptors(system, config));
    rows.push(locked_memory(system, config));
    rows.push(user(system));
    rows
}

fn kernel(system: &SystemFacts) -> Row {
    const CHECK: &str = "kernel";
    let (major, minor) = KERNEL_SINCE;
    let newer = format!(
        "install Linux {major}.{minor} or newer (on Debian 12: linux-image-amd64 from \
         bookworm-backports)"
    );
    let Some(release) = &system.kernel_release else {
        return Row::warn(CHECK, "its release cannot be read", "mount /proc");
    };
    let seen = format!("Linux {release}");
    match system.kernel_version() {
        Some(version) if version >= KERNEL_SINCE => Row::pass(CHECK, seen),
        Some(_) => Row::fail(CHECK, seen, newer),
        None => Row::warn(CHECK, seen, newer),
    }
}

/// Whether rings can be made at all.
fn has_rings(trials: &TrialFacts) -> bool {
    trials.features.first() == Some(&Finding::Works)
}

fn io_uring_setting(system: &SystemFacts, trials: &TrialFacts) -> Row {
    const CHECK: &str = "io-uring-setting";
    const REMEDY: &str = "sysctl -w kernel.io_uring_disabled=0, or add the server's group to \
                          kernel.io_uring_group";
    match system.io_uring_disabled {
        None => Row::pass(CHECK, "kernel.io_uring_disabled is not there: not disabled"),
        Some(0) => Row::pass(CHECK, "kernel.io_uring_disabled is 0"),
        Some(1) if has_rings(trials) => {
            Row::warn(CHECK, "kernel.io_uring_disabled is 1: this user may, others may not", REMEDY)
        }
        Some(1) => Row::fail(CHECK, "kernel.io_uring_disabled is 1: this user may not", REMEDY),
        Some(value) => {
            let seen = format!("kernel.io_uring_disabled is {value}: nobody may");
            Row::fail(CHECK, seen, "sysctl -w kernel.io_uring_disabled=0")
        }
    }
}

/// Whether a feature fails as it does under a filter.
fn is_filtered(trials: &TrialFacts) -> bool {
    trials.features.iter().any(|finding| {
        matches!(finding, Finding::Missing(missing) if missing.remedy == Remedy::AllowInSeccomp)
    })
}

fn seccomp(system: &SystemFacts, trials: &TrialFacts) -> Row {
    const CHECK: &str = "seccomp";
    match system.seccomp_mode {
        None | Some(0) => Row::pass(CHECK, "no filter"),
        Some(_) if has_rings(trials) && !is_filtered(trials) => {
            Row::pass(CHECK, "a filter that allows io_uring")
        }
        Some(_) if !is_filtered(trials) => {
            Row::pass(CHECK, "a filter, which is not what io_uring fails for")
        }
        Some(_) => Row::fail(
            CHECK,
            "a filter, and no io_uring",
            "in a container: --security-opt seccomp=deploy/seccomp.json; under systemd: the \
             SystemCallFilter= of deploy/warren.service",
        ),
    }
}

fn features(trials: &TrialFacts) -> impl Iterator<Item = Row> {
    FEATURES.iter().zip(&trials.features).map(|(row, finding)| {
        let name = row.label.trim_start_matches("io_uring_").replace(", ", " ").replace(' ', "-");
        let check = format!("io-uring-{name}");
        let what = row.purpose;
        match finding {
            Finding::Works => Row::pass(check, what),
            Finding::Missing(missing) => Row::fail(
                check,
                format!("{what}: error {}", missing.errno),
                missing.remedy.to_string(),
            ),
            Finding::Untried => Row::warn(
                check,
                format!("{what}: not tried"),
                "mend what failed above, then ask again",
            ),
        }
    })
}

fn rings(trials: &TrialFacts, config: &ServerConfig) -> Row {
    let rings = counted(config.shards, "ring");
    match &trials.rings {
        Ok(()) => Row::pass("rings", format!("{rings} of the configured size at once")),
        // The error names its remedy.
        Err(error) => Row::fail("rings", format!("{rings} of the configured size"), error),
    }
}

fn limit_text(limit: Option<u64>, text: impl Fn(u64) -> String) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), text)
}

fn descriptors(system: &SystemFacts, config: &ServerConfig) -> Row {
    const CHECK: &str = "descriptors";
    let needed = (config.limits.connections_max + SURPLUS_SLOTS) as u64;
    let Some(Limit { hard, .. }) = system.descriptors else {
        return Row::warn(CHECK, "the limit cannot be read", "mount /proc");
    };
    let seen = format!(
        "hard limit {}; `limits.connections_max` needs {needed}",
        limit_text(hard, |number| number.to_string())
    );
    if hard.is_none_or(|hard| hard >= needed) {
        return Row::pass(CHECK, seen);
    }
    let fits = hard.unwrap_or(needed).saturating_sub(SURPLUS_SLOTS as u64);
    let remedy = format!(
        "raise it (ulimit -Hn {needed}, LimitNOFILE= in the systemd unit, --ulimit nofile= of the \
         container), or set limits.connections_max to at most {fits}"
    );
    Row::fail(CHECK, seen, remedy)
}

fn locked_memory(system: &SystemFacts, config: &ServerConfig) -> Row {
    const CHECK: &str = "locked-memory";
    let needed = LOCKED_BYTES_PER_SHARD * config.shards as u64;
    let Some(Limit { soft, .. }) = system.locked_memory else {
        return Row::warn(CHECK, "the limit cannot be read", "mount /proc");
    };
    let seen = format!("limit {}", limit_text(soft, bytes_text));
    if system.locks_freely {
        return Row::pass(CHECK, format!("{seen}, which does not bind this process"));
    }
    if soft.is_none_or(|soft| soft >= needed) {
        return Row::pass(CHECK, seen);
    }
    let remedy = format!(
        "raise it to {} (ulimit -l, LimitMEMLOCK= in the systemd unit, --ulimit memlock= of the \
         container): rings are charged to it, those of the user's other processes too",
        bytes_text(needed)
    );
    Row::warn(CHECK, seen, remedy)
}

fn user(system: &SystemFacts) -> Row {
    match system.user_id {
        None => Row::warn("user", "the user cannot be read", "mount /proc"),
        Some(0) => Row::warn(
            "user",
            "root",
            "run it as a user of its own (deploy/warren.service does): it needs no right of root's",
        ),
        Some(user_id) => Row::pass("user", format!("user {user_id}")),
    }
}
