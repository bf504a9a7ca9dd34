//! The log: lines on standard error, for people or as JSON.
//!
//! A thread that logs formats its line and hands it over through a bounded queue; one thread of
//! its own writes. So a shard never waits for a slow terminal or pipe: lines that find the queue
//! full are lost, and counted in the next line that is not.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{LogConfig, LogFormat};
use crate::fatal::{Fatal, FatalReason};

/// Lines that wait to be written: some hundred KiB at most in practice.
const LOG_LINES_MAX: usize = 4096;
/// How long the end of the process waits for someone to read the last lines.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

enum LogLine {
    Text(Vec<u8>),
    /// All lines before it have been written when its sender is dropped.
    Mark(Sender<()>),
}

/// Takes lines from any thread, without waiting.
#[derive(Clone)]
struct LineQueue {
    sender: SyncSender<LogLine>,
    lost: Arc<AtomicU64>,
}

impl Write for LineQueue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(LogLine::Text(bytes.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LineQueue {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Dropping it writes what waits. To be kept until the end of `main`.
pub struct LogGuard {
    queue: LineQueue,
    level: LevelSwitch,
}

impl LogGuard {
    /// Writes what waits, unless nobody takes it for a second: a full pipe must not keep the
    /// process alive.
    pub fn flush(&self) {
        let (mark, marked) = channel();
        if self.queue.sender.try_send(LogLine::Mark(mark)).is_ok() {
            // The mark is dropped, never sent: both ends of the wait are errors.
            let _ = marked.recv_timeout(FLUSH_TIME_MAX);
        }
    }

    /// Of a log that nobody reads.
    #[cfg(test)]
    pub(crate) fn unread() -> Self {
        let (queue, _) = line_queue(1);
        Self { queue, level: LevelSwitch(reload::Layer::new(LevelFilter::INFO).1) }
    }

    /// Changes the level while the process runs.
    #[must_use]
    pub fn level_switch(&self) -> LevelSwitch {
        self.level.clone()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Changes the log's level.
#[derive(Clone)]
pub struct LevelSwitch(reload::Handle<LevelFilter, Registry>);

impl LevelSwitch {
    #[cfg(test)]
    pub(crate) fn of(handle: reload::Handle<LevelFilter, Registry>) -> Self {
        Self(handle)
    }

    /// Lines less important than this are not written from now on.
    pub fn set(&self, level: tracing::Level) {
        // It fails when the log is gone, and then nothing is written at all.
        let _ = self.0.modify(|filter| *filter = level.into());
    }
}

/// Starts the log of this process.
///
/// # Errors
/// `SystemRefused` when its thread does not start, or when there is a log already.
pub fn start(config: LogConfig) -> Result<LogGuard, Fatal> {
    let (queue, receiver) = line_queue(LOG_LINES_MAX);
    let lost = Arc::clone(&queue.lost);
    let refused =
        |error: &dyn core::fmt::Display| Fatal::new(FatalReason::SystemRefused, error.to_string());
    // Nobody joins it: it may hang at a pipe that nobody reads, and lives as long as the process.
    std::thread::Builder::new()
        .name("warren-log".to_owned())
        .spawn(move || write_lines(&receiver, &lost, config.format, &mut io::stderr()))
        .map_err(|error| refused(&error))?;
    let (filter, handle) = reload::Layer::new(LevelFilter::from(config.level));
    let lines = tracing_subscriber::fmt::layer().with_writer(queue.clone());
    let lines = match config.format {
        LogFormat::Text => lines.with_target(false).with_ansi(is_coloured()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_thread_names(true).boxed(),
    };
    let registry = tracing_subscriber::registry().with(filter).with(lines);
    registry.try_init().map_err(|error| refused(&error))?;
    if config.format == LogFormat::Json {
        log_panics();
    }
    Ok(LogGuard { queue, level: LevelSwitch(handle) })
}

/// For people at a terminal who did not say otherwise.
fn is_coloured() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && io::IsTerminal::is_terminal(&io::stderr())
}

/// A panic is a line like any other, so that who parses the log can.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string);
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(place, %backtrace, "panic: {message}");
    }));
}

fn line_queue(lines_max: usize) -> (LineQueue, Receiver<LogLine>) {
    let (sender, receiver) = sync_channel(lines_max);
    (LineQueue { sender, lost: Arc::default() }, receiver)
}

/// The writer's thread: until no one is left who could log.
fn write_lines(
    receiver: &Receiver<LogLine>,
    lost: &AtomicU64,
    format: LogFormat,
    sink: &mut dyn Write,
) {
    while let Ok(line) = receiver.recv() {
        let lost = lost.swap(0, Ordering::Relaxed);
        // A log that cannot be written has nobody to tell.
        if lost > 0 {
            let _ = writeln!(sink, "{}", lost_line(lost, format));
        }
        match line {
            LogLine::Text(bytes) => {
                let _ = sink.write_all(&bytes);
            }
            LogLine::Mark(mark) => {
                let _ = sink.flush();
                drop(mark);
            }
        }
    }
}

/// Looks as the log's other lines do, but goes past the queue that was full.
fn lost_line(lines: u64, format: LogFormat) -> String {
    let mut time = String::new();
    // Writing to a string fails only when the clock cannot show itself: a line without time, then.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    match format {
        LogFormat::Text => format!("{time}  WARN log lines lost lines={lines}"),
        LogFormat::Json => format!(
            "{{\"timestamp\":\"{time}\",\"level\":\"WARN\",\"message\":\"log lines lost\",\
             \"lines\":{lines},\"target\":\"{}\"}}",
            module_path!()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: LogFormat, lines_max: usize, lines: &[&str]) -> String {
        let (mut queue, receiver) = line_queue(lines_max);
        for line in lines {
            assert_eq!(queue.write(line.as_bytes()).unwrap(), line.len());
        }
        let lost = Arc::clone(&queue.lost);
        drop(queue);
        let mut sink = Vec::new();
        write_lines(&receiver, &lost, format, &mut sink);
        String::from_utf8(sink).unwrap()
    }

    #[test]
    fn lines_leave_in_order() {
        assert_eq!(written(LogFormat::Text, 4, &["a\n", "b\n", "c\n"]), "a\nb\nc\n");
    }

    #[test]
    fn a_full_queue_loses_lines_without_waiting_and_says_how_many() {
        let text = written(LogFormat::Text, 2, &["a\n", "b\n", "c\n", "d\n"]);
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.ends_with("Z  WARN log lines lost lines=2"), "{first}");
        assert_eq!(rest, "a\nb\n");
    }

    #[test]
    fn lost_lines_are_told_in_json_where_that_is_the_format() {
        let text = written(LogFormat::Json, 1, &["{}\n", "{}\n"]);
        let (first, rest) = text.split_once('\n').unwrap();
        let line: serde_json::Value = serde_json::from_str(first).unwrap();
        assert_eq!((&line["level"], &line["lines"]), (&"WARN".into(), &1.into()), "{first}");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{first}");
        assert_eq!(rest, "{}\n");
    }

    fn guard(queue: LineQueue) -> LogGuard {
        let (_, handle) = reload::Layer::new(LevelFilter::INFO);
        LogGuard { queue, level: LevelSwitch(handle) }
    }

    #[test]
    fn the_guard_writes_what_waits() {
        let (mut queue, receiver) = line_queue(4);
        let lost = Arc::clone(&queue.lost);
        let (mut reader, mut writer) = io::pipe().unwrap();
        let thread = std::thread::Builder::new()
            .spawn(move || write_lines(&receiver, &lost, LogFormat::Text, &mut writer))
            .unwrap();
        queue.write_all(b"a\n").unwrap();
        drop(guard(queue));
        thread.join().unwrap();
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        assert_eq!(text, "a\n");
    }

    #[test]
    fn a_log_that_nobody_reads_does_not_keep_the_process() {
        let (mut queue, receiver) = line_queue(1);
        queue.write_all(b"a\n").unwrap();
        // The queue is full; then it is not, but nobody takes the mark.
        guard(queue.clone()).flush();
        drop(receiver.try_recv());
        guard(queue).flush();
    }
}
