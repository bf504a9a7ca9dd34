//! The page of a search: what was tried, and how latency and cost grow with the users.

use super::report::{Found, Step};
use crate::html::chart::{Axis, Chart, Form, Series, short};
use crate::html::{self, figure};

pub(super) fn render(found: &Found) -> String {
    let load = format!("{} over {}", found.profile, found.protocol);
    let title = match found.users_held {
        Some(users) => format!("{load}: {users} users held"),
        None => format!("{load}: no number of users held"),
    };
    let shards = found.shards.map_or("unknown".to_owned(), |shards| shards.to_string());
    let subtitle = format!(
        "{} tries, shards: {shards}{}, each measured {} s after {} s; {:.0} s in all",
        found.steps.len(),
        if found.tls { " in TLS" } else { "" },
        found.duration_s,
        found.warm_up_s,
        found.elapsed_s
    );
    let mut body = html::head(&title, &subtitle, found.verdict().label(), &found.limit_reasons);
    let count = |users: Option<f64>| users.map_or("–".to_owned(), |users| format!("{users:.0}"));
    let finished = if found.finished { "" } else { "the time was over before it was found" };
    body.push_str(&html::tiles(&[
        ("users per core", count(found.users_per_core), "held".to_owned()),
        ("users held", count(found.users_held.map(f64::from)), finished.to_owned()),
        ("more limited by", found.limited_by.label().to_owned(), String::new()),
        ("not held", count(found.users_not_held.map(f64::from)), "users".to_owned()),
    ]));
    let mut played = found.played.clone();
    let (server, generators) = (&found.pinning.server, &found.pinning.generators);
    played.push(("cores", format!("server {server:?}, generators {generators:?}")));
    body.push_str(&html::facts("What was played", &played));
    body.push_str(&html::charts("What it took", &[latency(found), cost(found), generator(found)]));
    body.push_str("<h2>Every try</h2>\n");
    body.push_str(&steps(&found.steps));
    body.push_str(&html::command(&found.command));
    html::page(&title, &body)
}

/// A figure of every try over its users: dots where the number was held, crosses where not.
fn over_users(
    found: &Found,
    name: &str,
    colour: usize,
    value: impl Fn(&Step) -> Option<f64>,
) -> [Series; 2] {
    [true, false].map(|held| {
        let steps = found.steps.iter().filter(|step| step.is_held() == held);
        Series {
            name: if held { name.to_owned() } else { format!("{name}, not held (×)") },
            colour,
            form: if held { Form::Dots } else { Form::Crosses },
            points: steps.map(|step| (f64::from(step.users), value(step))).collect(),
        }
    })
}

fn latency(found: &Found) -> String {
    let ms = |us: Option<f64>| us.map(|us| us / 1e3);
    let [p50, p50_not_held] = over_users(found, "median", 0, |step| ms(step.p50_us));
    let [p99, p99_not_held] = over_users(found, "p99", 1, |step| ms(step.p99_us));
    let median = found.bound_p50_ms.map(|bound| (bound, format!("bound on the median {bound} ms")));
    let most = (found.bound_ms, format!("bound on p99 {} ms", found.bound_ms));
    Chart {
        title: "Latency by users".to_owned(),
        subtitle: "milliseconds, logarithmic".to_owned(),
        x: Axis::linear("users", ""),
        y: Axis::logarithmic("", "ms"),
        series: vec![p50, p99, p50_not_held, p99_not_held],
        bounds: median.into_iter().chain([most]).collect(),
        columns: Vec::new(),
    }
    .to_html()
}

fn cost(found: &Found) -> String {
    Chart {
        title: "CPU of the server by users".to_owned(),
        subtitle: "microseconds for each user and second".to_owned(),
        x: Axis::linear("users", ""),
        y: Axis::linear("", "µs"),
        series: over_users(found, "server", 0, |step| step.server_cpu_us_per_user_s).into(),
        bounds: Vec::new(),
        columns: Vec::new(),
    }
    .to_html()
}

fn generator(found: &Found) -> String {
    let [server, server_not_held] = over_users(found, "server", 0, |step| step.server_cpu_cores);
    let [load, load_not_held] =
        over_users(found, "busiest generator core", 2, |step| step.generator_cpu);
    Chart {
        title: "Cores by users".to_owned(),
        subtitle: "cores of the server, and the share of its core that the busiest generator took"
            .to_owned(),
        x: Axis::linear("users", ""),
        y: Axis::linear("", "cores"),
        series: vec![server, load, server_not_held, load_not_held],
        bounds: vec![(crate::verdict::GENERATOR_CPU_MAX, "generator-bound above".to_owned())],
        columns: Vec::new(),
    }
    .to_html()
}

fn steps(steps: &[Step]) -> String {
    let ms = |us: Option<f64>| us.map_or("–".to_owned(), |us| short(us / 1e3));
    let row = |step: &Step| {
        vec![
            step.users.to_string(),
            if step.is_held() { "held".to_owned() } else { "not held".to_owned() },
            ms(step.p50_us),
            ms(step.p99_us),
            figure(step.server_cpu_us_per_user_s, 2),
            figure(step.server_cpu_cores, 2),
            figure(step.generator_cpu, 2),
            figure(step.foreign_cpu_cores, 2),
            step.reasons.join("; "),
        ]
    };
    let heads = [
        "users",
        "",
        "p50 ms",
        "p99 ms",
        "µs/user/s",
        "server cores",
        "generator",
        "others",
        "=broken",
    ];
    html::table(&heads, &steps.iter().map(row).collect::<Vec<_>>())
}
