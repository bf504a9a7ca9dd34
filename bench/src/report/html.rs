//! The page of a run: first what was played, for a figure without it means nothing.

use std::collections::BTreeSet;

use super::{Report, table};
use crate::html::chart::{Axis, Chart, Form, Series, bars, short};
use crate::html::{self, figure};
use crate::verdict::Limit;

/// How the server's shards are named, and the floor's.
const SHARD_PREFIXES: [&str; 2] = ["shard-", "floor-"];
/// With more shards than this, all have one colour.
const SHARDS_COLOURED_MAX: usize = 5;
/// Most rows of the table of seconds.
const ROWS_MAX: usize = 600;

pub(super) fn render(report: &Report) -> String {
    let title = format!(
        "{} over {}{}: {} users",
        report.profile,
        report.protocol,
        if report.tls { " in TLS" } else { "" },
        report.users
    );
    let shards = report.shards.map_or("unknown".to_owned(), |shards| shards.to_string());
    let subtitle = format!(
        "measured {} s after {} s; {}, shards: {shards}",
        report.duration_s, report.warm_up_s, report.subject
    );
    let mut body = html::head(&title, &subtitle, report.verdict.label(), &report.reasons);
    body.push_str(&html::tiles(&tiles(report)));
    body.push_str(&html::facts("What was played", &table::played_rows(report)));
    let charts = [
        over_time(report),
        percentile_curve(report),
        cpu(report),
        turns(report),
        bytes(report),
        messages(report),
    ];
    body.push_str(&html::charts("What it took", &charts));
    let rows: Vec<(&str, String)> =
        [table::result_rows(report), table::storm_rows(report), table::cost_rows(report)].concat();
    body.push_str(&html::facts("In figures", &rows));
    body.push_str(&html::list(&table::notes(report)));
    body.push_str(&html::command(&report.command));
    body.push_str(&html::details("Every second", &seconds(report)));
    html::page(&title, &body)
}

fn tiles(report: &Report) -> Vec<(&'static str, String, String)> {
    let per_core = match (report.users_per_core, report.limited_by) {
        (Some(users), _) => (format!("{users:.0}"), "held".to_owned()),
        (None, Some(Limit::ServerUnknown) | None) => ("–".to_owned(), "not known".to_owned()),
        (None, Some(limit)) => ("–".to_owned(), format!("limited by {}", limit.label())),
    };
    let latency = report.latency_us;
    let ms = |us: Option<f64>| format!("{} ms", us.map_or("–".to_owned(), |us| short(us / 1e3)));
    let bound = |ms: f64| format!("bound {ms} ms");
    let floor = match &report.floor {
        Some(floor) => format!("floor {} µs", figure(floor.server_cpu_us_per_user_s, 2)),
        None => "no floor beside it".to_owned(),
    };
    let memory = report.memory.server_memory_per_session_bytes.map(|bytes| bytes / 1024.0);
    let faults = report.lost + report.duplicated + report.corrupted + report.disconnects;
    let storm = report.storm.as_ref().map(|storm| {
        let bound = format!("bound {} s after the cut", storm.bound_all_back_s);
        ("all back, nothing missed", storm.all_caught_up(), bound)
    });
    let mut tiles = vec![("users per core", per_core.0, per_core.1)];
    tiles.extend(storm);
    tiles.extend([
        (
            "latency, median",
            ms(latency.map(|latency| latency.p50)),
            report.bound_p50_ms.map_or("no bound".to_owned(), bound),
        ),
        ("latency, 99 of 100", ms(latency.map(|latency| latency.p99)), bound(report.bound_ms)),
        (
            "CPU a user and second",
            format!("{} µs", figure(report.server_cpu_us_per_user_s, 2)),
            floor,
        ),
        ("CPU to floor", figure(report.floor_ratio, 2), "times".to_owned()),
        ("memory a session", format!("{} KiB", figure(memory, 2)), "the server's own".to_owned()),
        (
            "lost, doubled, corrupted, cut",
            faults.to_string(),
            "messages and connections".to_owned(),
        ),
    ]);
    tiles
}

/// The bounds on the latency, in milliseconds, with a word.
fn bounds(report: &Report) -> Vec<(f64, String)> {
    let median = report.bound_p50_ms.map(|ms| (ms, format!("bound on the median {ms} ms")));
    let most = (report.bound_ms, format!("bound on p99 {} ms", report.bound_ms));
    median.into_iter().chain([most]).collect()
}

/// One figure of every second.
fn line(
    report: &Report,
    name: &str,
    colour: usize,
    value: impl Fn(&super::seconds::Second) -> Option<f64>,
) -> Series {
    let points =
        (0u32..).zip(&report.seconds).map(|(at, second)| (f64::from(at) + 0.5, value(second)));
    Series { name: name.to_owned(), colour, form: Form::Line, points: points.collect() }
}

/// What is told of each second.
fn columns(
    report: &Report,
    tell: impl Fn(&super::seconds::Second) -> String,
) -> Vec<(f64, f64, String)> {
    let column = |(at, second): (u32, _)| {
        (f64::from(at), f64::from(at) + 1.0, format!("second {}: {}", at + 1, tell(second)))
    };
    (0u32..).zip(&report.seconds).map(column).collect()
}

fn over_time(report: &Report) -> String {
    let ms = |us: Option<f64>| us.map(|us| us / 1e3);
    let told = |us: Option<f64>| format!("{} ms", figure(ms(us), 2));
    Chart {
        title: "Latency over time".to_owned(),
        subtitle: match report.storm {
            None => "milliseconds, logarithmic; of what was to be said in each second",
            Some(_) => "milliseconds, logarithmic; of those who meant to come back in each second",
        }
        .to_owned(),
        x: Axis::linear("second of the measured part", ""),
        y: Axis::logarithmic("", "ms"),
        series: vec![
            line(report, "median", 0, |second| ms(second.p50_us)),
            line(report, "p99", 1, |second| ms(second.p99_us)),
            line(report, "longest", 3, |second| ms(second.max_us)),
        ],
        bounds: bounds(report),
        columns: columns(report, |second| {
            let [p50, p99, max] = [second.p50_us, second.p99_us, second.max_us].map(told);
            format!("median {p50}, p99 {p99}, longest {max}")
        }),
    }
    .to_html()
}

fn percentile_curve(report: &Report) -> String {
    // Beyond it there is but one delivery.
    let last = 1.0 - 1.0 / report.deliveries_measured.max(2) as f64;
    let curve = |name: &str, colour, points: &[(f64, f64)]| Series {
        name: name.to_owned(),
        colour,
        form: Form::Line,
        points: points.iter().map(|(at, us)| (at.min(last), Some(us / 1e3))).collect(),
    };
    let measured = if report.storm.is_some() { "resumes" } else { "deliveries" };
    let mut series = vec![curve(report.subject, 0, &report.latency_curve_us)];
    if let Some(floor) = &report.floor {
        series.push(curve("floor", 2, &floor.latency_curve_us));
    }
    Chart {
        title: "Latency by percentile".to_owned(),
        subtitle: format!("milliseconds, logarithmic; how many {measured} took no longer"),
        x: Axis::percentile(measured),
        y: Axis::logarithmic("", "ms"),
        series,
        bounds: bounds(report),
        columns: Vec::new(),
    }
    .to_html()
}

fn is_shard(name: &str) -> bool {
    SHARD_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn cpu(report: &Report) -> String {
    let names: BTreeSet<&String> =
        report.seconds.iter().flat_map(|second| second.server_cpu_cores.keys()).collect();
    let mut shards: Vec<&String> = names.into_iter().filter(|name| is_shard(name)).collect();
    // By number: those with more digits come later.
    shards.sort_by_key(|name| (name.len(), *name));
    let many = shards.len() > SHARDS_COLOURED_MAX;
    let mut series: Vec<Series> = shards
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let cores =
                line(report, name, number, |second| second.server_cpu_cores.get(*name).copied());
            match many {
                true => {
                    Series { name: "each shard".to_owned(), colour: 0, form: Form::Faint, ..cores }
                }
                false => cores,
            }
        })
        .collect();
    let others = |second: &super::seconds::Second| -> f64 {
        let others = second.server_cpu_cores.iter().filter(|(name, _)| !is_shard(name));
        others.map(|(_, cores)| cores).sum()
    };
    series.push(line(report, "all other threads", SHARDS_COLOURED_MAX, |second| {
        (!second.server_cpu_cores.is_empty()).then(|| others(second))
    }));
    Chart {
        title: "CPU by shard".to_owned(),
        subtitle: "cores of the server that each took".to_owned(),
        x: Axis::linear("second of the measured part", ""),
        y: Axis::linear("", "cores"),
        series,
        bounds: Vec::new(),
        columns: columns(report, |second| {
            let shards = shards.iter().filter_map(|name| {
                Some(format!("{name} {:.3}", second.server_cpu_cores.get(*name)?))
            });
            let told: Vec<String> =
                shards.chain([format!("others {:.3}", others(second))]).collect();
            told.join(", ")
        }),
    }
    .to_html()
}

fn turns(report: &Report) -> String {
    let name = |end_us: Option<f64>| match end_us {
        None => "more".to_owned(),
        Some(us) if us < 1_000.0 => format!("{us:.0}µs"),
        Some(us) => format!("{:.0}ms", us / 1e3),
    };
    let buckets: Vec<(String, u64)> =
        report.server_turn_times.iter().map(|(end_us, turns)| (name(*end_us), *turns)).collect();
    let rate =
        report.server_turns_per_s.map_or(String::new(), |rate| format!("{rate:.0} a second; "));
    let ticks = report.tick_hz.map_or("no ticks in this profile", |_| "ticks are in the table");
    let subtitle = format!("per cent, by how long they took at most; {rate}{ticks}");
    bars("Turns of the shards", &subtitle, &buckets)
}

fn bytes(report: &Report) -> String {
    const KIB: f64 = 1024.0;
    Chart {
        title: "Bytes".to_owned(),
        subtitle: "KiB a second of all users, as on the wire, TLS included".to_owned(),
        x: Axis::linear("second of the measured part", ""),
        y: Axis::linear("", "KiB/s"),
        series: vec![
            line(report, "to users", 0, |second| Some(second.bytes_received as f64 / KIB)),
            line(report, "from users", 1, |second| Some(second.bytes_sent as f64 / KIB)),
        ],
        bounds: Vec::new(),
        columns: columns(report, |second| {
            format!(
                "{} KiB to users, {} KiB from them; {} messages heard, {} said",
                short(second.bytes_received as f64 / KIB),
                short(second.bytes_sent as f64 / KIB),
                second.heard,
                second.sent
            )
        }),
    }
    .to_html()
}

fn messages(report: &Report) -> String {
    Chart {
        title: "Messages".to_owned(),
        subtitle: "a second, of all users".to_owned(),
        x: Axis::linear("second of the measured part", ""),
        y: Axis::linear("", "a second"),
        series: vec![
            line(report, "heard", 0, |second| Some(second.heard as f64)),
            line(report, "said", 1, |second| Some(second.sent as f64)),
        ],
        bounds: Vec::new(),
        columns: columns(report, |second| format!("{} heard, {} said", second.heard, second.sent)),
    }
    .to_html()
}

fn seconds(report: &Report) -> String {
    let ms = |us: Option<f64>| figure(us.map(|us| us / 1e3), 3);
    let row = |(number, second): (u32, &super::seconds::Second)| {
        let cores: f64 = second.server_cpu_cores.values().sum();
        let cores = (!second.server_cpu_cores.is_empty()).then_some(cores);
        vec![
            number.to_string(),
            ms(second.p50_us),
            ms(second.p99_us),
            ms(second.max_us),
            second.sent.to_string(),
            second.heard.to_string(),
            second.bytes_sent.to_string(),
            second.bytes_received.to_string(),
            figure(cores, 3),
        ]
    };
    let heads = [
        "second",
        "p50 ms",
        "p99 ms",
        "longest ms",
        "said",
        "heard",
        "bytes sent",
        "bytes received",
        "server cores",
    ];
    let rows: Vec<Vec<String>> = (1u32..).zip(&report.seconds).take(ROWS_MAX).map(row).collect();
    let rest = report.seconds.len().saturating_sub(ROWS_MAX);
    let rest = match rest {
        0 => String::new(),
        rest => format!("<p class=\"muted\">{rest} more are in the JSON.</p>\n"),
    };
    html::table(&heads, &rows) + &rest
}
