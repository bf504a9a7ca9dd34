//! The page of a comparison of two servers: every run, and the ratios.

use super::{Comparison, Figure, Run, Side};
use crate::html::chart::{Axis, Chart, Form, Series, short};
use crate::html::{self, figure};

pub(super) fn render(comparison: &Comparison) -> String {
    let title = format!(
        "{} over {}{}, {} users: two servers",
        comparison.profile,
        comparison.protocol,
        if comparison.tls { " in TLS" } else { "" },
        comparison.users
    );
    let shards = comparison.shards.map_or("unknown".to_owned(), |shards| shards.to_string());
    let subtitle = format!(
        "{} runs in turn, shards: {shards}, each measured {} s after {} s",
        comparison.runs.len(),
        comparison.duration_s,
        comparison.warm_up_s
    );
    let reasons: Vec<String> = (1u32..)
        .zip(&comparison.runs)
        .flat_map(|(number, run)| run.reasons.iter().map(move |why| format!("run {number}: {why}")))
        .collect();
    let mut body = html::head(&title, &subtitle, comparison.verdict.label(), &reasons);
    let [old, new] = &comparison.programs;
    let figures = [
        ("CPU, new to old", comparison.server_cpu_us_per_user_s),
        ("median, new to old", comparison.p50_us),
        ("p99, new to old", comparison.p99_us),
        ("memory, new to old", comparison.server_memory_per_session_bytes),
    ];
    body.push_str(&html::tiles(&figures.map(|(label, figure)| tile(label, figure))));
    let mut played = comparison.load.clone();
    played.extend([("old", old.clone()), ("new", new.clone())]);
    body.push_str(&html::facts("What was played", &played));
    let charts = [
        chart(comparison, "CPU", "µs", "microseconds a user and second", |run| {
            run.server_cpu_us_per_user_s
        }),
        chart(comparison, "Median latency", "ms", "milliseconds", |run| Some(run.p50_us? / 1e3)),
        chart(comparison, "99th percentile of the latency", "ms", "milliseconds", |run| {
            Some(run.p99_us? / 1e3)
        }),
        chart(comparison, "Memory", "KiB", "KiB a session", |run| {
            Some(run.server_memory_per_session_bytes? / 1024.0)
        }),
    ];
    body.push_str(&html::charts("Every run", &charts));
    body.push_str("<h2>In figures</h2>\n");
    body.push_str(&runs(&comparison.runs));
    body.push_str(&html::command(&comparison.command));
    html::page(&title, &body)
}

fn tile(label: &'static str, figure: Option<Figure>) -> (&'static str, String, String) {
    match figure {
        None => (label, "–".to_owned(), "not known".to_owned()),
        Some(Figure { ratio, ratio_min, ratio_max, .. }) => {
            (label, format!("{ratio:.3}"), format!("pairs {ratio_min:.3} to {ratio_max:.3}"))
        }
    }
}

fn chart(
    comparison: &Comparison,
    title: &str,
    unit: &'static str,
    subtitle: &str,
    value: impl Fn(&Run) -> Option<f64>,
) -> String {
    let of = |side: Side, colour| Series {
        name: side.label().to_owned(),
        colour,
        form: Form::Dots,
        points: (1u32..)
            .zip(&comparison.runs)
            .filter(|(_, run)| run.side == side)
            .map(|(number, run)| (f64::from(number), value(run)))
            .collect(),
    };
    Chart {
        title: title.to_owned(),
        subtitle: subtitle.to_owned(),
        x: Axis::linear("run", ""),
        y: Axis::linear("", unit),
        series: vec![of(Side::Old, 0), of(Side::New, 1)],
        bounds: Vec::new(),
        columns: Vec::new(),
    }
    .to_html()
}

fn runs(runs: &[Run]) -> String {
    let ms = |us: Option<f64>| us.map_or("–".to_owned(), |us| short(us / 1e3));
    let row = |(number, run): (u32, &Run)| {
        vec![
            number.to_string(),
            run.side.label().to_owned(),
            figure(run.server_cpu_us_per_user_s, 3),
            ms(run.p50_us),
            ms(run.p99_us),
            figure(run.server_memory_per_session_bytes.map(|bytes| bytes / 1024.0), 2),
            figure(Some(run.generator_cpu), 2),
            figure(run.foreign_cpu_cores, 2),
            run.verdict.label().to_owned(),
        ]
    };
    let heads = [
        "run",
        "server",
        "µs/user/s",
        "p50 ms",
        "p99 ms",
        "KiB/session",
        "generator",
        "others",
        "verdict",
    ];
    html::table(&heads, &(1u32..).zip(runs).map(row).collect::<Vec<_>>())
}
