//! What a worker writes: its lines go to the server's log, as long and as many as may.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use warren_core::rate::{Meter, Rate};

use crate::clock::Clock;

/// Longest line, in bytes; the rest of a longer one is left out.
const LINE_BYTES_MAX: usize = 2048;
/// Lines of one stream in a second, and at once; the others are left out, and counted.
const LINES: Rate = Rate { per_s: 100, burst: 1000 };
/// Bytes that are read at a time, as many as a pipe has.
const READ_BYTES: usize = 64 * 1024;
/// Who writes more than may be read is read so seldom.
const FLOOD_PAUSE: Duration = Duration::from_millis(10);

/// Puts what comes out of a pipe into the log, until its other end is closed.
pub(super) async fn tell(pipe: OwnedFd, worker: String, stream: &'static str, clock: Clock) {
    let Ok(mut pipe) = Receiver::from_owned_fd(pipe) else { return };
    let (mut lines, mut buffer) = (Lines::default(), vec![0; READ_BYTES]);
    let tell = |line: &str, left_out: u64| {
        if left_out > 0 {
            tracing::warn!(worker, stream, lines = left_out, "lines of a worker are left out");
        }
        tracing::info!(worker, stream, "{line}");
    };
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        lines.take(&buffer[..count], clock.monotonic_ns(), tell);
        if lines.left_out > 0 {
            tokio::time::sleep(FLOOD_PAUSE).await;
        }
    }
    lines.end(clock.monotonic_ns(), tell);
    if lines.left_out > 0 {
        tracing::warn!(worker, stream, lines = lines.left_out, "lines of a worker are left out");
    }
}

#[derive(Debug, Default)]
struct Lines {
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    has_begun: bool,
    meter: Meter,
    left_out: u64,
}

impl Lines {
    /// Tells the lines that are whole now, each with how many were left out before it.
    fn take(&mut self, bytes: &[u8], now_ns: u64, mut tell: impl FnMut(&str, u64)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = LINE_BYTES_MAX - self.begun.len();
            self.begun.extend_from_slice(&text[..text.len().min(room)]);
            self.has_begun = true;
            if is_whole {
                self.end(now_ns, &mut tell);
            }
        }
    }

    /// The line that has begun is all that comes.
    fn end(&mut self, now_ns: u64, mut tell: impl FnMut(&str, u64)) {
        if !std::mem::take(&mut self.has_begun) {
            return;
        }
        if self.meter.take(LINES, 1, now_ns) {
            let text = String::from_utf8_lossy(&self.begun);
            let text: String = text.trim_end().chars().map(printable).collect();
            tell(&text, std::mem::take(&mut self.left_out));
        } else {
            self.left_out += 1;
        }
        self.begun.clear();
    }
}

/// What would move the cursor of a terminal is left out.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &mut Lines, bytes: &[u8], now_ns: u64, expected: &[(&str, u64)]) {
        let mut told = Vec::new();
        lines.take(bytes, now_ns, |line, left_out| told.push((line.to_owned(), left_out)));
        let expected: Vec<_> =
            expected.iter().map(|(line, out)| (line.to_string(), *out)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn lines_are_told_when_they_are_whole() {
        let mut lines = Lines::default();
        check(&mut lines, b"one\ntwo", 0, &[("one", 0)]);
        check(
            &mut lines,
            b" and a half\n\n\x1b[31mred\xff\r\n",
            0,
            &[("two and a half", 0), ("", 0), ("\u{fffd}[31mred\u{fffd}", 0)],
        );
        let mut last = Vec::new();
        check(&mut lines, b"end", 0, &[]);
        lines.end(0, |line, _| last.push(line.to_owned()));
        lines.end(0, |line, _| last.push(line.to_owned()));
        assert_eq!(last, ["end"]);
    }

    #[test]
    fn long_lines_are_cut_and_too_many_are_left_out() {
        let mut lines = Lines::default();
        let long = [b"x".repeat(5000), b"\n".to_vec()].concat();
        let cut = "x".repeat(LINE_BYTES_MAX);
        check(&mut lines, &long[..3000], 0, &[]);
        check(&mut lines, &long[3000..], 0, &[(&cut, 0)]);
        let mut told = 0;
        lines.take(&b"a\n".repeat(1500), 0, |_, _| told += 1);
        assert_eq!((told, lines.left_out), (999, 501));
        // A second later there is room for a hundred.
        check(&mut lines, b"b\n", 1_000_000_000, &[("b", 501)]);
        assert!(lines.begun.capacity() <= 2 * LINE_BYTES_MAX);
    }
}
