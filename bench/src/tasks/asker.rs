//! A user who asks: at a rate, or as soon as answers come, each time about the next of its objects.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use warren_core::ids::{ObjectId, PARTITION_COUNT};
use warren_core::message::{Message, Value};

use super::METHOD;
use super::wire::{Wire, check_status};
use crate::clock;
use crate::histogram::Latencies;

/// What is due within this time is sent together.
const PACE_WAIT: Duration = Duration::from_millis(1);
/// An answer that takes longer is missing.
const ANSWER_WAIT_NS: u64 = 20_000_000_000;
/// Partitions between two objects: a prime, so that all shards have their part.
const PARTITION_STEP: u64 = 7919;

/// How often to ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Requests of one user in a second; none: as soon as answers come.
    pub(super) rate_hz: Option<f64>,
    /// Requests of one user on their way, where there is no rate.
    pub(super) window: u32,
    pub(super) duration_ns: u64,
}

/// What came of asking.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) answered: u64,
    pub(super) refused: u64,
    /// Before the measured part.
    pub(super) answered_before: u64,
    /// From when each was meant to be sent to its answer.
    pub(super) latencies: Latencies,
}

impl Asked {
    pub(super) fn merge(&mut self, other: &Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.latencies.merge(&other.latencies);
    }

    fn settled(&self) -> u64 {
        self.answered + self.refused
    }
}

pub(super) struct Asker {
    wire: Wire,
    targets: Vec<ObjectId>,
    /// The next request, from 1.
    next: u64,
    /// How many were answered since it began to ask.
    progress: Arc<AtomicU64>,
}

impl Asker {
    /// Logs in, and makes the objects that its tasks are about, each in a partition of its own.
    pub(super) fn open(
        (address, ticket): (SocketAddrV4, &str),
        number: u32,
        target_count: u32,
    ) -> Result<Self> {
        let mut wire = Wire::open(address, ticket).context("a user")?;
        let mut targets = Vec::new();
        for target in 0..target_count {
            let place = u64::from(number) * u64::from(target_count) + u64::from(target);
            let partition = place * PARTITION_STEP % PARTITION_COUNT as u64;
            let fields = [
                ("kind", Value::Text("counter")),
                ("partition", Value::Integer(i64::try_from(partition)?)),
                ("counted", Value::Integer(0)),
            ];
            targets.push(wire.ask_once("create", &fields, |reply| {
                reply.get("object").and_then(Value::as_object).context("an object without id")
            })?);
        }
        Ok(Self { wire, targets, next: 1, progress: Arc::default() })
    }

    /// How many were answered since it began to ask, for whoever looks on.
    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// Asks once about each of its objects.
    pub(super) fn push_each(&mut self) -> Result<()> {
        for target in &self.targets {
            self.wire.push(METHOD, &[("target", Value::Object(*target))]);
        }
        self.wire.send()
    }

    /// Waits for so many good answers.
    pub(super) fn hear_each(&mut self, count: u32, until_ns: u64) -> Result<()> {
        let mut heard = 0;
        while heard < count {
            ensure!(clock::monotonic_ns() < until_ns, "{heard} of {count} answers came");
            self.wire.receive(Duration::from_millis(50), |message, _| {
                if message.method() == METHOD {
                    check_status(message)?;
                    heard += 1;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    pub(super) fn targets(&self) -> &[ObjectId] {
        &self.targets
    }

    /// One task, which a worker has to take in this time.
    pub(super) fn ask_one(&mut self, wait_ns: u64) -> Result<()> {
        let until_ns = clock::monotonic_ns() + wait_ns;
        self.wire.push(METHOD, &[("target", Value::Object(self.targets[0]))]);
        self.wire.send()?;
        let mut is_answered = false;
        while !is_answered {
            ensure!(clock::monotonic_ns() < until_ns, "no answer");
            self.wire.receive(Duration::from_millis(50), |message, _| {
                if message.method() == METHOD {
                    check_status(message)?;
                    is_answered = true;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Asks for so long, or until all is over, and waits for every answer.
    pub(super) fn ask(&mut self, start_ns: u64, pace: Pace, is_over: &AtomicBool) -> Result<Asked> {
        let (first, end_ns) = (self.next, start_ns + pace.duration_ns);
        let mut asked = Asked::default();
        // By the request's number, when it was meant to be sent.
        let mut meant_ns: Vec<u64> = Vec::new();
        let mut heard_ns = start_ns;
        loop {
            let now_ns = clock::monotonic_ns();
            let asks = now_ns < end_ns && !is_over.load(Relaxed);
            let open = |sent: usize| sent as u64 - asked.settled();
            while let Some(due_ns) =
                next_due(pace, (start_ns, now_ns), meant_ns.len(), open(meant_ns.len()))
                && due_ns < end_ns
                && !is_over.load(Relaxed)
            {
                let target = self.targets[(self.next % self.targets.len() as u64) as usize];
                let id = Value::Integer(i64::try_from(self.next)?);
                self.wire.push(METHOD, &[("id", id), ("target", Value::Object(target))]);
                self.next += 1;
                meant_ns.push(due_ns);
            }
            self.wire.send()?;
            if !asks && open(meant_ns.len()) == 0 {
                return Ok(asked);
            }
            let has_heard = self.wire.receive(PACE_WAIT, |message, _| {
                take_answer(message, first, &meant_ns, &mut asked)
            })?;
            if has_heard {
                heard_ns = clock::monotonic_ns();
                self.progress.store(asked.answered, Relaxed);
            }
            let silent_ns = clock::monotonic_ns() - heard_ns;
            ensure!(silent_ns < ANSWER_WAIT_NS, "answers are missing");
        }
    }

    /// The sum of the counters of these objects.
    pub(super) fn sum(&mut self, targets: &[ObjectId]) -> Result<u64> {
        let mut sum = 0;
        for target in targets {
            let fields = [("object", Value::Object(*target))];
            sum += self.wire.ask_once("get", &fields, |reply| {
                let count = reply.get("counted").and_then(Value::as_integer);
                count.and_then(|count| u64::try_from(count).ok()).context("a counter")
            })?;
        }
        Ok(sum)
    }
}

/// When the next request is meant to be sent, if that is now.
fn next_due(pace: Pace, (start_ns, now_ns): (u64, u64), sent: usize, open: u64) -> Option<u64> {
    match pace.rate_hz {
        Some(rate_hz) => {
            let due_ns = start_ns + (sent as f64 * 1e9 / rate_hz) as u64;
            (due_ns <= now_ns).then_some(due_ns)
        }
        None => (open < u64::from(pace.window)).then_some(now_ns),
    }
}

fn take_answer(
    message: Message<'_>,
    first: u64,
    meant_ns: &[u64],
    asked: &mut Asked,
) -> Result<()> {
    if message.method() != METHOD {
        return Ok(());
    }
    let id = message.get("id").and_then(Value::as_integer).context("an answer without id")?;
    let place = u64::try_from(id)?.checked_sub(first).context("an answer to an old request")?;
    let meant_ns = *meant_ns.get(place as usize).context("an answer to no request")?;
    if message.get("status").and_then(Value::as_integer) == Some(0) {
        asked.answered += 1;
        asked.latencies.record_ns(clock::monotonic_ns().saturating_sub(meant_ns));
    } else {
        asked.refused += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_says_when_each_request_is_meant_and_a_window_how_many_are_out() {
        let rate = Pace { rate_hz: Some(1000.0), window: 1, duration_ns: 0 };
        assert_eq!(next_due(rate, (5, 5), 0, 9), Some(5));
        assert_eq!(next_due(rate, (5, 1_000_004), 1, 0), None);
        assert_eq!(next_due(rate, (5, 9_000_005), 1, 0), Some(1_000_005));
        let window = Pace { rate_hz: None, window: 2, duration_ns: 0 };
        assert_eq!(next_due(window, (5, 7), 9, 1), Some(7));
        assert_eq!(next_due(window, (5, 7), 9, 2), None);
    }
}
