//! The log: lines on standard error, for people or as JSON.
//!
//! A thread that logs formats its line and hands it over through a bounded queue; one thread of
//! its own writes. So a shard never waits for a slow terminal or pipe: lines that find the queue
//! full are lost, and counted in the next line that is not.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogConfig, LogFormat};
use crate::fatal::{Fatal, FatalReason};

/// Lines that wait to be written: some hundred KiB at most in practice.
const LOG_LINES_MAX: usize = 4096;

enum LogLine {
    Text(Vec<u8>),
    Finish,
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

/// Dropping it writes what waits, and ends the log. To be kept until the end of `main`.
pub struct LogGuard {
    queue: LineQueue,
    thread: Option<JoinHandle<()>>,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // Both fail only when the writer is gone, and then there is nothing left to write to.
        let _ = self.queue.sender.send(LogLine::Finish);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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
    let thread = std::thread::Builder::new()
        .name("warren-log".to_owned())
        .spawn(move || write_lines(&receiver, &lost, &mut io::stderr()))
        .map_err(|error| refused(&error))?;
    let guard = LogGuard { queue: queue.clone(), thread: Some(thread) };
    let builder = tracing_subscriber::fmt()
        .with_max_level(config.level)
        .with_ansi(config.format == LogFormat::Text && io::IsTerminal::is_terminal(&io::stderr()))
        .with_writer(queue);
    match config.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| refused(&error))?;
    Ok(guard)
}

fn line_queue(lines_max: usize) -> (LineQueue, Receiver<LogLine>) {
    let (sender, receiver) = sync_channel(lines_max);
    (LineQueue { sender, lost: Arc::default() }, receiver)
}

/// The writer's thread: until `Finish`, or until no one is left who could log.
fn write_lines(receiver: &Receiver<LogLine>, lost: &AtomicU64, sink: &mut dyn Write) {
    while let Ok(line) = receiver.recv() {
        let lost = lost.swap(0, Ordering::Relaxed);
        // A log that cannot be written has nobody to tell.
        if lost > 0 {
            let _ = writeln!(sink, "{{\"message\":\"log lines lost\",\"lines\":{lost}}}");
        }
        match line {
            LogLine::Text(bytes) => {
                let _ = sink.write_all(&bytes);
            }
            LogLine::Finish => break,
        }
    }
    let _ = sink.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(lines_max: usize, lines: &[&str]) -> String {
        let (mut queue, receiver) = line_queue(lines_max);
        for line in lines {
            assert_eq!(queue.write(line.as_bytes()).unwrap(), line.len());
        }
        let lost = Arc::clone(&queue.lost);
        drop(queue);
        let mut sink = Vec::new();
        write_lines(&receiver, &lost, &mut sink);
        String::from_utf8(sink).unwrap()
    }

    #[test]
    fn lines_leave_in_order() {
        assert_eq!(written(4, &["a\n", "b\n", "c\n"]), "a\nb\nc\n");
    }

    #[test]
    fn a_full_queue_loses_lines_without_waiting_and_says_how_many() {
        assert_eq!(
            written(2, &["a\n", "b\n", "c\n", "d\n"]),
            "{\"message\":\"log lines lost\",\"lines\":2}\na\nb\n"
        );
    }

    #[test]
    fn the_guard_writes_what_waits() {
        let (mut queue, receiver) = line_queue(4);
        let lost = Arc::clone(&queue.lost);
        let thread = std::thread::Builder::new()
            .spawn(move || write_lines(&receiver, &lost, &mut io::sink()))
            .unwrap();
        let guard = LogGuard { queue: queue.clone(), thread: Some(thread) };
        queue.write_all(b"a\n").unwrap();
        drop(guard);
        // The writer is gone: a late line is lost, not waited for.
        queue.write_all(b"b\n").unwrap();
        assert_eq!(queue.lost.load(Ordering::Relaxed), 1);
    }
}
