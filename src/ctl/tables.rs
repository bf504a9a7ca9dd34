//! Answers for people: sentences, and tables whose columns stand below each other.

use core::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

/// A column: its title, and the field that it shows.
pub(super) type Column = (&'static str, &'static str);

const SHARD_COLUMNS: &[Column] = &[
    ("shard", "shard"),
    ("connections", "connections"),
    ("sessions", "sessions"),
    ("rooms", "rooms"),
    ("objects", "objects"),
    ("events waiting", "queued_events"),
    ("send queue bytes", "send_queue_bytes"),
    ("mesh bytes", "mesh_staged_bytes"),
    ("since turn, ms", "turn_age_ms"),
];

const SESSION_COLUMNS: &[Column] = &[
    ("user", "user"),
    ("state", "state"),
    ("protocol", "protocol"),
    ("address", "address"),
    ("shard", "shard"),
    ("rooms", "rooms"),
    ("watches", "watches"),
    ("session", "session"),
];

const ROOM_COLUMNS: &[Column] = &[
    ("room", "room"),
    ("members", "members"),
    ("last message", "seq"),
    ("shard", "shard"),
    ("secret", "secret"),
    ("transient", "transient"),
    ("object", "object"),
];

const GROUP_COLUMNS: &[Column] =
    &[("group", "group"), ("objects", "objects"), ("digest", "digest")];

const BAN_COLUMNS: &[Column] =
    &[("who", "who"), ("since", "since"), ("until", "until"), ("reason", "reason")];

const WORKER_COLUMNS: &[Column] = &[
    ("user", "user"),
    ("plugin", "plugins"),
    ("methods", "methods"),
    ("behaviours", "behaviours"),
    ("credits", "credits"),
    ("leased", "leased"),
    ("oldest, ms", "oldest_ms"),
    ("asked", "asked"),
    ("silent, ms", "silent_ms"),
    ("shard", "shard"),
    ("session", "session"),
];

const PROCESS_COLUMNS: &[Column] = &[
    ("workers", "workers"),
    ("user", "user"),
    ("pid", "pid"),
    ("state", "state"),
    ("restarts", "restarts"),
    ("last exit", "last_exit"),
];
const PLUGIN_COLUMNS: &[Column] = &[
    ("plugin", "plugin"),
    ("version", "version"),
    ("state", "state"),
    ("calls", "calls"),
    ("failures", "failures"),
    ("strikes", "strikes"),
    ("version before", "earlier"),
    ("hash", "hash"),
    ("methods", "methods"),
    ("behaviours", "behaviours"),
];
/// Digits of a hash that are shown.
const HASH_SHOWN: usize = 12;

/// What stands where there is nothing.
const NOTHING: &str = "-";

/// The text without what would move the cursor of a terminal or the order of its letters.
pub(super) fn printable(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) if text.is_empty() => NOTHING.to_owned(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// Numbers stand to the right, all else to the left.
pub(super) fn table(columns: &[Column], rows: &[Value]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| columns.iter().map(|(_, field)| cell(&row[*field])).collect())
        .collect();
    let is_number: Vec<bool> = columns
        .iter()
        .map(|(_, field)| !rows.is_empty() && rows.iter().all(|row| row[*field].is_number()))
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, (title, _))| {
            let cells = cells.iter().map(|row| row[index].chars().count());
            cells.chain([title.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    let titles: Vec<String> = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    for row in core::iter::once(&titles).chain(&cells) {
        let mut line = String::new();
        for ((cell, width), is_number) in row.iter().zip(&widths).zip(&is_number) {
            let _ = if *is_number {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:width$}  ")
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn list(answer: &Value, name: &str, columns: &[Column]) -> String {
    let rows = answer[name].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() { format!("no {name}\n") } else { table(columns, rows) }
}

pub(super) fn status(answer: &Value) -> String {
    let uptime = Duration::from_secs(answer["uptime_ms"].as_u64().unwrap_or(0) / 1000);
    let mut text = format!(
        "Warren {} is {} on {}, for {}\n{} connections, {} sessions, {} rooms, {} objects, {} bans\n\n",
        cell(&answer["version"]),
        cell(&answer["phase"]),
        cell(&answer["listen"]),
        humantime::format_duration(uptime),
        cell(&answer["connections"]),
        cell(&answer["sessions"]),
        cell(&answer["rooms"]),
        cell(&answer["objects"]),
        cell(&answer["bans"]),
    );
    let mut shards = answer["shards"].as_array().cloned().unwrap_or_default();
    for shard in &mut shards {
        shard["turn_age_ms"] = shard["turn_age_ns"].as_u64().map(|ns| ns / 1_000_000).into();
    }
    text.push_str(&table(SHARD_COLUMNS, &shards));
    text
}

pub(super) fn sessions(answer: &Value) -> String {
    list(answer, "sessions", SESSION_COLUMNS)
}

pub(super) fn rooms(answer: &Value) -> String {
    list(answer, "rooms", ROOM_COLUMNS)
}

pub(super) fn workers(answer: &Value) -> String {
    let mut answer = answer.clone();
    for row in answer["workers"].as_array_mut().into_iter().flatten() {
        for list in ["methods", "behaviours", "plugins"] {
            let items = row[list].as_array().map(Vec::as_slice).unwrap_or_default();
            row[list] = items.iter().map(cell).collect::<Vec<_>>().join(", ").into();
        }
    }
    let mut text = list(&answer, "workers", WORKER_COLUMNS);
    if answer["processes"].as_array().is_some_and(|processes| !processes.is_empty()) {
        text.push('\n');
        text.push_str(&list(&answer, "processes", PROCESS_COLUMNS));
    }
    text
}

pub(super) fn workers_ordered(answer: &Value) -> String {
    format!("the workers {} work anew\n", cell(&answer["workers"]))
}

pub(super) fn digest(answer: &Value) -> String {
    let of_all = format!("{} of {} objects\n", cell(&answer["digest"]), cell(&answer["objects"]));
    let groups = answer["groups"].as_array();
    of_all + &groups.map_or(String::new(), |groups| table(GROUP_COLUMNS, groups))
}

pub(super) fn bans(answer: &Value) -> String {
    let mut answer = answer.clone();
    for row in answer["bans"].as_array_mut().into_iter().flatten() {
        row["who"] = subject(row).into();
        if row["until"].is_null() {
            row["until"] = "for ever".into();
        }
    }
    let mut text = list(&answer, "bans", BAN_COLUMNS);
    text.push_str(unstored(&answer));
    text
}

/// Who is banned.
fn subject(answer: &Value) -> String {
    let user = answer["user"].as_str().or(answer["address"].as_str());
    printable(user.unwrap_or(NOTHING))
}

fn unstored(answer: &Value) -> &'static str {
    match answer["stored"] {
        Value::Bool(false) => "the server has no data folder: bans end with it\n",
        _ => "",
    }
}

pub(super) fn kicked(answer: &Value) -> String {
    format!("{} is out (session {})\n", cell(&answer["user"]), cell(&answer["session"]))
}

pub(super) fn banned(answer: &Value) -> String {
    let until = match answer["until"].as_str() {
        Some(until) => format!("until {}", printable(until)),
        None => "for ever".to_owned(),
    };
    let out = match answer["session"].as_str() {
        Some(session) => format!(", and out (session {})", printable(session)),
        None => String::new(),
    };
    format!("{} is banned {until}{out}\n{}", subject(answer), unstored(answer))
}

pub(super) fn unbanned(answer: &Value) -> String {
    format!("{} is banned no more\n", subject(answer))
}

pub(super) fn plugins(answer: &Value) -> String {
    let mut answer = answer.clone();
    for row in answer["plugins"].as_array_mut().into_iter().flatten() {
        for list in ["methods", "behaviours"] {
            let names = row[list].as_array().into_iter().flatten();
            let names: Vec<&str> = names.filter_map(Value::as_str).collect();
            row[list] = names.join(" ").into();
        }
        let hash = row["hash"].as_str().unwrap_or_default();
        row["hash"] = hash.chars().take(HASH_SHOWN).collect::<String>().into();
    }
    list(&answer, "plugins", PLUGIN_COLUMNS)
}

pub(super) fn plugin_changed(answer: &Value) -> String {
    format!("{}@{} is at work\n", cell(&answer["plugin"]), cell(&answer["version"]))
}

pub(super) fn reloaded(answer: &Value) -> String {
    let mut text = String::from("the configuration was read again\n");
    if let Some(level) = answer["log_level"].as_str() {
        let _ = writeln!(text, "the log's level is {} now", printable(level));
    }
    if answer["token"] == true {
        text.push_str("the admin endpoint's token was read again\n");
    }
    let waiting = answer["waiting"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !waiting.is_empty() {
        let waiting: Vec<_> = waiting.iter().map(cell).collect();
        let _ = writeln!(text, "the next start will change: {}", waiting.join(", "));
    }
    text
}
