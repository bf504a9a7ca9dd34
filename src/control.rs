//! The way of the operator's commands to the shards: a bounded channel each, and a wake. A shard
//! takes what is there at the start of a turn and answers in the same one; it never waits.

use core::fmt;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex, oneshot};
use warren_core::control::{Answer, Command};
use warren_core::ids::{ConnectionId, ShardId};
use warren_core::turn::{ShardInputs, ShardOutputs};
use warren_net::reactor::Origin;

/// Commands on their way to one shard; the next is refused.
const COMMANDS_MAX: usize = 16;
/// A shard that has not answered for so long is stuck, or on its way out.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Why a shard did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Too many commands wait for it already.
    Busy(ShardId),
    /// It has not answered in time, or is gone.
    Silent(ShardId),
}

/// Who asks a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// An operator, now and then.
    Operator,
    /// The server itself, again and again: while a shard has not answered one such command it gets no other, so
    /// that there is room for the operator's.
    Look,
}

/// What a shard answers, with what its reactor adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Of the engine.
    pub answer: Answer,
    /// Of the connection of each session in the answer, in its order. The engine knows sessions, and
    /// not how they are reached.
    pub origins: Vec<Option<Origin>>,
}

/// A command, and who waits for its answer.
struct Order {
    command: Command,
    answer: oneshot::Sender<Reply>,
}

/// A shard's end: what it is to do, and who waits for what it is doing.
pub struct ControlPort {
    orders: Receiver<Order>,
    asked: Vec<oneshot::Sender<Reply>>,
}

/// The other end, before the shard's ring is there to be woken.
pub struct ControlSender(Sender<Order>);

/// A shard's end and the other one.
#[must_use]
pub fn control_line() -> (ControlSender, ControlPort) {
    let (sender, orders) = bounded(COMMANDS_MAX);
    (ControlSender(sender), ControlPort { orders, asked: Vec::new() })
}

impl ControlPort {
    /// Adds the commands that have come. Costs a look at an empty channel when there are none.
    pub fn take(&mut self, inputs: &mut ShardInputs) {
        for Order { command, answer } in self.orders.try_iter().take(COMMANDS_MAX) {
            inputs.commands.push(command);
            self.asked.push(answer);
        }
    }

    /// Hands the turn's answers to those who wait, with what is known of the connections in them.
    pub fn answer(
        &mut self,
        outputs: &ShardOutputs,
        origin_of: impl Fn(ConnectionId) -> Option<Origin>,
    ) {
        assert!(self.asked.len() == outputs.answers.len(), "a command is answered in its turn");
        for (asked, answer) in self.asked.drain(..).zip(&outputs.answers) {
            let rows = if let Answer::Sessions(page) = answer { &page.rows[..] } else { &[] };
            let origins = rows.iter().map(|row| row.connection.and_then(&origin_of)).collect();
            // Whoever asked may have lost patience.
            let _ = asked.send(Reply { answer: answer.clone(), origins });
        }
    }
}

impl ControlSender {
    /// Puts a command where the shard finds it in its first turn. Nobody hears the answer.
    pub(crate) fn begin_with(&self, command: Command) {
        let order = Order { command, answer: oneshot::channel().0 };
        assert!(self.0.try_send(order).is_ok(), "a new line has room for its first command");
    }
}

struct Line {
    orders: Sender<Order>,
    wake: Box<dyn Fn() + Send + Sync>,
    /// The answer to a look that nobody waits for any more; locked while somebody waits for one.
    look: Mutex<Option<oneshot::Receiver<Reply>>>,
}

/// The lines to all shards.
pub struct Controls {
    lines: Vec<Line>,
    answer_wait: Duration,
}

impl Controls {
    /// Of lines in the order of shards, each with what wakes the shard.
    pub fn new(
        lines: impl IntoIterator<Item = (ControlSender, Box<dyn Fn() + Send + Sync>)>,
    ) -> Self {
        let line = |(ControlSender(orders), wake)| Line { orders, wake, look: Mutex::default() };
        Self { lines: lines.into_iter().map(line).collect(), answer_wait: ANSWER_WAIT }
    }

    /// The same, with another patience.
    #[cfg(test)]
    pub(crate) fn with_answer_wait(mut self, answer_wait: Duration) -> Self {
        self.answer_wait = answer_wait;
        self
    }

    /// Number of shards.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.lines.len()).expect("shards have 16 bits")
    }

    /// Sends a command to a shard, and waits for the answer.
    ///
    /// # Errors
    /// When it has too much to do, or does not answer.
    pub async fn ask(&self, shard: ShardId, command: Command) -> Result<Reply, Unanswered> {
        let answered = self.send(shard, command)?;
        let answered = tokio::time::timeout(self.answer_wait, answered).await;
        answered.map_err(|_| Unanswered::Silent(shard))?.map_err(|_| Unanswered::Silent(shard))
    }

    /// The same, by who asks.
    ///
    /// # Errors
    /// The same; and a look also when the shard has not answered an earlier one.
    pub(crate) async fn ask_as(
        &self,
        asking: Asking,
        shard: ShardId,
        command: Command,
    ) -> Result<Reply, Unanswered> {
        if asking == Asking::Operator {
            return self.ask(shard, command).await;
        }
        let mut unanswered = self.lines[shard.index()].look.lock().await;
        if let Some(answered) = unanswered.as_mut()
            && answered.try_recv() == Err(TryRecvError::Empty)
        {
            return Err(Unanswered::Silent(shard));
        }
        *unanswered = None;
        let mut answered = self.send(shard, command)?;
        if let Ok(answer) = tokio::time::timeout(self.answer_wait, &mut answered).await {
            return answer.map_err(|_| Unanswered::Silent(shard));
        }
        *unanswered = Some(answered);
        Err(Unanswered::Silent(shard))
    }

    /// Sends a command to every shard, and waits until all have answered. What one of them misses is
    /// kept from no other.
    ///
    /// # Errors
    /// The first shard that has too much to do, or does not answer.
    pub async fn ask_all(&self, command: impl Fn() -> Command) -> Result<(), Unanswered> {
        let shards = (0..self.shard_count()).map(ShardId);
        let sent: Vec<_> = shards.map(|shard| (shard, self.send(shard, command()))).collect();
        let mut outcome = Ok(());
        // One time for all: those that come later have had theirs when the first is given up.
        let mut late = core::pin::pin!(tokio::time::sleep(self.answer_wait));
        for (shard, sent) in sent {
            let answered = match sent {
                Ok(answered) => tokio::select! {
                    biased;
                    answered = answered => answered.map(drop).map_err(|_| Unanswered::Silent(shard)),
                    () = late.as_mut() => Err(Unanswered::Silent(shard)),
                },
                Err(unanswered) => Err(unanswered),
            };
            outcome = outcome.and(answered);
        }
        outcome
    }

    fn send(
        &self,
        shard: ShardId,
        command: Command,
    ) -> Result<oneshot::Receiver<Reply>, Unanswered> {
        let line = &self.lines[shard.index()];
        let (answer, answered) = oneshot::channel();
        match line.orders.try_send(Order { command, answer }) {
            Ok(()) => (line.wake)(),
            Err(error) if error.is_full() => return Err(Unanswered::Busy(shard)),
            Err(_) => return Err(Unanswered::Silent(shard)),
        }
        Ok(answered)
    }
}

impl fmt::Debug for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controls").field("shards", &self.lines.len()).finish()
    }
}

#[cfg(test)]
mod tests;
