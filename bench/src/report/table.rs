//! The table on the terminal: first what was played, for a figure without it means nothing.

use std::fmt::Write as _;

use super::Report;
use super::sets::SetsReport;
use super::worlds::WorldsReport;
use crate::histogram::Percentiles;
use crate::verdict::Limit;

const LABEL_WIDTH: usize = 24;

pub(super) fn render(report: &Report) -> String {
    let mut rows: Vec<(&str, String)> = load_rows(report);
    rows.push(("", String::new()));
    rows.extend(result_rows(report));
    rows.push(("", String::new()));
    rows.extend(storm_rows(report));
    rows.extend(cost_rows(report));
    let mut text = String::new();
    for (label, value) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", format!("{label:<LABEL_WIDTH$}{value}").trim_end());
    }
    let _ = writeln!(text, "\nverdict: {}", report.verdict.label());
    for reason in &report.reasons {
        let _ = writeln!(text, "  {reason}");
    }
    for note in notes(report) {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn load_rows(report: &Report) -> Vec<(&'static str, String)> {
    let shards = report.shards.map_or("unknown".to_owned(), |shards| shards.to_string());
    let load = format!(
        "{} over {}{}, {} users on {} shards ({})",
        report.profile,
        report.protocol,
        if report.tls { " in TLS" } else { "" },
        report.users,
        shards,
        report.subject
    );
    [("profile", load)].into_iter().chain(played_rows(report)).collect()
}

/// What was played, how long, and on what.
pub(super) fn played_rows(report: &Report) -> Vec<(&'static str, String)> {
    let server_cores = match &report.pinning.server[..] {
        [] => "not bound by this run".to_owned(),
        cores => format!("{cores:?}"),
    };
    let mut rows = report.played.clone();
    rows.extend([
        ("measured", format!("{} s after {} s", report.duration_s, report.warm_up_s)),
        ("cores", format!("server {server_cores}, generators {:?}", report.pinning.generators)),
    ]);
    rows
}

pub(super) fn result_rows(report: &Report) -> Vec<(&'static str, String)> {
    let rows = vec![
        ("latency", percentiles(report.latency_us)),
        (
            "deliveries",
            format!(
                "{} of {} messages, {} measured",
                report.deliveries, report.messages_sent, report.deliveries_measured
            ),
        ),
        (
            "faults",
            format!(
                "{} lost, {} doubled, {} corrupted, {} out of order, {} refused, {} disconnects",
                report.lost,
                report.duplicated,
                report.corrupted,
                report.out_of_order + report.rooms_disagreeing,
                report.refused.values().sum::<u64>(),
                report.disconnects
            ),
        ),
        (
            "heartbeats",
            format!(
                "{} heard, due every {} ms, {} missing, {} too many",
                report.heartbeats,
                report.heartbeat_ms,
                report.heartbeats_missing,
                report.heartbeats_surplus
            ),
        ),
    ];
    let worlds = report.worlds.iter().flat_map(WorldsReport::rows);
    let sets = report.sets.iter().flat_map(SetsReport::rows);
    rows.into_iter().chain(worlds).chain(sets).collect()
}

pub(super) fn cost_rows(report: &Report) -> Vec<(&'static str, String)> {
    let figure = |value: Option<f64>, unit: &str| match value {
        Some(value) => format!("{value:.2} {unit}"),
        None => "not known".to_owned(),
    };
    let mut rows = vec![("server CPU", figure(report.server_cpu_us_per_user_s, "us a user and s"))];
    for thread in &report.server_threads {
        let cpu_ms = thread.cpu_ns as f64 / 1e6;
        rows.push(("", format!("{:<16} x{} {cpu_ms:>10.1} ms", thread.name, thread.count)));
    }
    rows.extend(work_rows(report));
    rows.extend(memory_rows(report));
    rows.extend(tls_rows(report));
    if let Some(floor) = &report.floor {
        rows.push(("floor CPU", figure(floor.server_cpu_us_per_user_s, "us a user and s")));
        rows.push(("floor latency", percentiles(floor.latency_us)));
        rows.push(("CPU to floor", figure(report.floor_ratio, "times")));
    }
    rows.push((
        "users per core",
        match (report.users_per_core, report.limited_by) {
            (Some(users), _) => format!("{users:.0} (held)"),
            (None, Some(Limit::ServerUnknown) | None) => "not known".to_owned(),
            (None, Some(limit)) => format!("none held, limited by {}", limit.label()),
        },
    ));
    let generator_percent = report.generator_cpu * 100.0;
    let lateness = percentiles(report.generator_lateness_us);
    rows.push(("generator", format!("{generator_percent:.0} % of its core, late {lateness}")));
    rows.push(("others on these cores", figure(report.foreign_cpu_cores, "cores")));
    rows
}

/// What the server counted of its own work.
fn work_rows(report: &Report) -> Option<(&'static str, String)> {
    report.server_counts?;
    let figure = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let turns = report.server_turns_per_s.map_or("-".to_owned(), |turns| format!("{turns:.0}"));
    let work = format!(
        "{} allocations a message, {} ring enters a message, {} a delivery, {turns} turns a s",
        figure(report.server_allocations_per_message),
        figure(report.server_ring_enters_per_message),
        figure(report.server_ring_enters_per_delivery),
    );
    Some(("server work", work))
}

/// What a user costs in memory.
fn memory_rows(report: &Report) -> Option<(&'static str, String)> {
    let memory = report.memory.server_memory?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let each = report.memory.server_memory_per_session_bytes? / 1024.0;
    let kernel = report.memory.kernel_memory_per_connection_bytes? / 1024.0;
    let text = format!(
        "{each:.2} KiB a session ({:.1} MiB before, {:.1} with all, {:.1} at the end); \
         kernel {kernel:.2} KiB a connection",
        mib(memory.before.anonymous_bytes),
        mib(memory.connected.anonymous_bytes),
        mib(memory.end.anonymous_bytes),
    );
    Some(("server memory", text))
}

/// How many connections are in TLS, by the server's own count.
fn tls_rows(report: &Report) -> Option<(&'static str, String)> {
    let counted = report.server_tls_connections.filter(|_| report.tls)?;
    let (users, ramp_s) = (report.users, report.ramp_s);
    let text =
        format!("{counted} of {users} connections by the server's count, within {ramp_s:.1} s");
    Some(("TLS", text))
}

/// How users came back.
pub(super) fn storm_rows(report: &Report) -> Vec<(&'static str, String)> {
    report.storm.as_ref().map_or(Vec::new(), super::storm::StormReport::rows)
}

/// Items with commas between, or a word for none.
pub(super) fn or_none(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

pub(super) fn percentiles(percentiles: Option<Percentiles>) -> String {
    let Some(Percentiles { p50, p99, p999, max, .. }) = percentiles else {
        return "none".to_owned();
    };
    let ms = |us: f64| us / 1e3;
    let [p50, p99, p999, max] = [p50, p99, p999, max].map(ms);
    format!("p50 {p50:.3} ms, p99 {p99:.3}, p99.9 {p999:.3}, max {max:.3}")
}

/// What the reader has to know to trust the figures, or not to.
pub(super) fn notes(report: &Report) -> Vec<String> {
    /// From here on strangers may have moved the figures.
    const FOREIGN_CORES_MAX: f64 = 0.1;
    let mut notes = Vec::new();
    notes.extend(report.storm.iter().flat_map(super::storm::StormReport::notes));
    notes.extend(report.sets.iter().filter_map(SetsReport::notes));
    if report.pinning.shared {
        notes.push("generators share the server's cores: there are no others".to_owned());
    }
    if report.pinning.server.is_empty() {
        notes.push("the server was there already: it may share cores with generators".to_owned());
    }
    if report.limited_by == Some(Limit::ServerUnknown) {
        let why = "users per core need the number of its shards: --server-pid of a Warren server";
        notes.push(why.to_owned());
    }
    if report.subject == "server"
        && let Some(why) = &report.server_counts_missing
    {
        notes.push(format!("the server's work is not known: {why}"));
    }
    if report.memory.server_memory.is_none() {
        let why = &report.memory.server_memory_source;
        notes.push(format!("the server's memory is not known: {why}"));
    }
    if report.foreign_cpu_cores.is_some_and(|cores| cores > FOREIGN_CORES_MAX) {
        notes.push("others were busy on these cores: run it again on a quiet machine".to_owned());
    }
    if report.tls && report.floor.is_some() {
        notes.push("the floor is without TLS: the ratio has all that TLS costs in it".to_owned());
    }
    if let Some(floor) = &report.floor
        && !floor.reasons.is_empty()
    {
        notes.push(format!("no ratio, for the floor: {}", floor.reasons.join("; ")));
    }
    notes
}
