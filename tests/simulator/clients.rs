//! Scripted clients and the gateway's side of their connections: one [`ClientPort`] per shard,
//! which hands over what clients sent and takes down what they are to hear. A connection here is a
//! line; a conversation may go on over several of them, one after the other.

use std::collections::{BTreeSet, VecDeque};

use warren::shard_turn::ClientPort;
use warren_core::ids::{ConnectionId, ShardId};
use warren_core::peer::PeerAddress;
use warren_core::reason::Reason;
use warren_core::turn::{
    ConnectionTraits, Now, ShardInput, ShardInputs, ShardOutput, ShardOutputs, Span,
};

use crate::planted::PlantedBug;
use crate::prng::Prng;

/// Most messages of one connection in one turn.
const TURN_MESSAGES_MAX: u64 = 4;
/// Of a hundred messages, those that come over the rate.
const REFUSED_CHANCE: u64 = 3;

/// What a client did that its shard has not yet taken.
#[derive(Debug)]
pub(crate) enum Step {
    Message(Vec<u8>),
    /// The same, but its old shard gave it back as one that is not to be run.
    Refused(Vec<u8>, Reason),
    Close,
}

/// One connection of a client, from before its shard knows of it until after it is gone.
#[derive(Debug)]
pub(crate) struct Line {
    /// What it serves.
    pub(crate) conversation: usize,
    /// Where it is.
    pub(crate) shard: usize,
    /// The shard to which it goes, with what it takes along.
    moving: Option<(usize, Vec<Step>)>,
    traits: ConnectionTraits,
    /// Where its client is.
    pub(crate) peer: PeerAddress,
    connection: Option<ConnectionId>,
    pub(crate) outbox: VecDeque<Step>,
    /// It takes no frames, and whether its shard has heard so.
    stalled: Option<bool>,
    /// The shard closed it; the gateway is still to say that it is gone.
    pub(crate) is_closing: bool,
    /// The client closed it, and hears nothing more; nothing follows.
    pub(crate) is_closed_by_client: bool,
    /// Its end is noticed when all comes to rest, and no sooner.
    is_silent: bool,
    /// The shard was told that it is gone, or never knew of it.
    pub(crate) is_gone: bool,
}

/// What a client gets from its shard in a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Delivery {
    Message { line: usize, message: Span },
    Frame { line: usize, frame: Span },
    FrameMissed { line: usize },
    Close { line: usize, reason: Reason },
}

#[derive(Clone, Debug, Default)]
struct Slot {
    generation: u32,
    line: Option<usize>,
}

/// All connections of all shards.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) lines: Vec<Line>,
    /// By shard, lines that are not gone.
    present: Vec<Vec<usize>>,
    /// By shard, as a gateway's connection table.
    slots: Vec<Vec<Slot>>,
    /// Connections of which the shard was told in this turn that they are gone.
    closed_now: Vec<ConnectionId>,
    /// The lines among them that went nowhere else.
    pub(crate) gone_now: Vec<usize>,
    /// Lines that this turn took to another shard.
    pub(crate) moved_now: Vec<usize>,
    /// Lengths of the messages that the shard took in this turn.
    pub(crate) taken_lengths: Vec<usize>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) delivered_bytes: Vec<u8>,
    /// No client holds back any more.
    pub(crate) is_draining: bool,
    planted: Option<PlantedBug>,
    prng: Prng,
}

impl Clients {
    pub(crate) fn new(shard_count: usize, planted: Option<PlantedBug>, prng: Prng) -> Self {
        Self {
            lines: vec![],
            present: vec![vec![]; shard_count],
            slots: vec![vec![]; shard_count],
            closed_now: vec![],
            gone_now: vec![],
            moved_now: vec![],
            taken_lengths: vec![],
            deliveries: vec![],
            delivered_bytes: vec![],
            is_draining: false,
            planted,
            prng,
        }
    }

    /// A client connects to a shard, which hears of it in one of its next turns.
    pub(crate) fn open(
        &mut self,
        (shard, traits): (usize, ConnectionTraits),
        peer: PeerAddress,
        conversation: usize,
    ) -> usize {
        let line = self.lines.len();
        self.lines.push(Line {
            conversation,
            shard,
            moving: None,
            traits,
            peer,
            connection: None,
            outbox: VecDeque::new(),
            stalled: None,
            is_closing: false,
            is_closed_by_client: false,
            is_silent: false,
            is_gone: false,
        });
        self.present[shard].push(line);
        line
    }

    /// A client closes: behind all that it sent.
    pub(crate) fn close(&mut self, line: usize) {
        self.cut(line, usize::MAX, false);
    }

    /// A client hears nothing more, and of what it sent and was not taken yet only so many messages
    /// arrive. The gateway may not notice.
    pub(crate) fn cut(&mut self, line: usize, arriving_max: usize, is_silent: bool) {
        let cut = &mut self.lines[line];
        cut.outbox.truncate(arriving_max);
        cut.is_closed_by_client = true;
        cut.is_silent = is_silent;
        if !is_silent {
            cut.outbox.push_back(Step::Close);
        }
    }

    /// The ends of all lines are noticed.
    pub(crate) fn end_silence(&mut self) {
        for present in self.present.iter().flatten() {
            let line = &mut self.lines[*present];
            if std::mem::take(&mut line.is_silent) {
                line.outbox.push_back(Step::Close);
            }
        }
    }

    /// Whether neither side has closed the line.
    pub(crate) fn is_open(&self, line: usize) -> bool {
        let line = &self.lines[line];
        !line.is_closed_by_client && !line.is_closing && !line.is_gone
    }

    /// Lines on a shard that are not gone.
    pub(crate) fn present_on(&self, shard: usize) -> &[usize] {
        &self.present[shard]
    }

    /// The addresses of all lines that are not gone.
    pub(crate) fn addresses(&self) -> BTreeSet<PeerAddress> {
        self.present.iter().flatten().map(|line| self.lines[*line].peer).collect()
    }

    /// Whether every client's every step was taken.
    pub(crate) fn are_drained(&self) -> bool {
        self.present.iter().flatten().all(|line| {
            let present = &self.lines[*line];
            let is_settled = present.connection.is_some() && present.moving.is_none();
            let is_settled = is_settled && present.stalled.is_none();
            present.outbox.is_empty() && !present.is_closing && is_settled
        })
    }

    /// The port of one shard.
    pub(crate) fn port(&mut self, shard: usize) -> Port<'_> {
        Port { clients: self, shard }
    }
}

/// One shard's clients.
pub(crate) struct Port<'c> {
    clients: &'c mut Clients,
    shard: usize,
}

impl ClientPort for Port<'_> {
    fn receive(&mut self, _now: Now, accepts_input: bool, inputs: &mut ShardInputs) {
        self.clients.closed_now.clear();
        self.clients.gone_now.clear();
        self.clients.moved_now.clear();
        self.clients.taken_lengths.clear();
        self.clients.deliveries.clear();
        self.clients.delivered_bytes.clear();
        let ignores = self.clients.planted == Some(PlantedBug::BackpressureIgnored);
        let accepts_input = accepts_input || ignores;
        let present = self.clients.present[self.shard].clone();
        if present.is_empty() {
            return;
        }
        let first = self.clients.prng.index(present.len());
        for line in present[first..].iter().chain(&present[..first]) {
            self.take(*line, accepts_input, inputs);
        }
        let (lines, shard) = (&self.clients.lines, self.shard);
        let is_here = |line: &usize| !lines[*line].is_gone && lines[*line].shard == shard;
        self.clients.present[shard].retain(is_here);
    }

    fn send(&mut self, _now: Now, outputs: &ShardOutputs) {
        for output in &outputs.list {
            match *output {
                ShardOutput::Send { connection, message } => {
                    self.deliver(connection, message.of(&outputs.bytes), false);
                }
                ShardOutput::SendMany { recipients, message } => {
                    for connection in recipients.of(&outputs.recipients) {
                        self.deliver(*connection, message.of(&outputs.bytes), true);
                    }
                }
                ShardOutput::Frame { recipients, frame } => {
                    let (_, frame) = outputs.frame(frame);
                    for connection in recipients.of(&outputs.recipients) {
                        self.deliver_frame(*connection, frame);
                    }
                }
                ShardOutput::Close { connection, reason } => {
                    let Some(line) = self.line_of(connection) else { continue };
                    let closed = &mut self.clients.lines[line];
                    assert!(!closed.is_closing, "{connection:?} was closed twice");
                    closed.is_closing = true;
                    // It goes nowhere else then.
                    closed.moving = None;
                    self.clients.deliveries.push(Delivery::Close { line, reason });
                }
                ShardOutput::Admit { .. } => {}
                ShardOutput::HandOver { connection, to, message, refused } => {
                    let Some(line) = self.line_of(connection) else { continue };
                    let leaving = &mut self.clients.lines[line];
                    assert!(!leaving.is_closing, "{connection:?} goes on after its end");
                    let (known, steps) = leaving.moving.get_or_insert_with(|| (to.index(), vec![]));
                    assert!(*known == to.index() && to.index() != self.shard, "it goes to {to:?}");
                    let message = message.of(&outputs.bytes).to_vec();
                    steps.push(match refused {
                        Some(reason) => Step::Refused(message, reason),
                        None => Step::Message(message),
                    });
                }
            }
        }
    }

    /// Nobody sleeps here: the scheduler gives out the turns.
    fn wake(&mut self, _peer: ShardId) {}
}

impl Port<'_> {
    /// Hands over some of what a line holds.
    fn take(&mut self, line: usize, accepts_input: bool, inputs: &mut ShardInputs) {
        let is_draining = self.clients.is_draining;
        let Some(connection) = self.connection(line, accepts_input, inputs) else { return };
        if self.clients.lines[line].moving.is_some() {
            if is_draining || self.clients.prng.chance(40) {
                inputs.list.push(ShardInput::Closed { connection });
                inputs.list.push(ShardInput::Departed { connection, has_moved: true });
                self.move_on(line, connection);
            }
            return;
        }
        self.tell_of_frames(line, connection, inputs);
        let count = self.clients.prng.between(u64::from(is_draining), TURN_MESSAGES_MAX);
        let taken = &mut self.clients.lines[line];
        let mut is_over = taken.is_closing && (is_draining || self.clients.prng.chance(50));
        for _ in 0..count {
            let (message, refused) = match taken.outbox.front() {
                Some(Step::Message(message)) if accepts_input => {
                    let is_over_rate = self.clients.prng.chance(REFUSED_CHANCE);
                    (message, is_over_rate.then_some(Reason::MessageRate))
                }
                Some(Step::Refused(message, reason)) if accepts_input => (message, Some(*reason)),
                Some(Step::Close) => {
                    is_over = true;
                    break;
                }
                _ => break,
            };
            let start = inputs.bytes.len();
            inputs.bytes.extend_from_slice(message);
            match refused {
                Some(reason) => inputs.push_refused(connection, start, reason),
                None => inputs.push_message(connection, start),
            }
            self.clients.taken_lengths.push(message.len());
            taken.outbox.pop_front();
        }
        if is_over {
            inputs.list.push(ShardInput::Closed { connection });
            inputs.list.push(ShardInput::Departed { connection, has_moved: false });
            self.forget(connection);
            self.clients.lines[line].is_gone = true;
            self.clients.gone_now.push(line);
        }
    }

    /// The shard hears that a line takes no frames, and some time later that it does again.
    fn tell_of_frames(&mut self, line: usize, connection: ConnectionId, inputs: &mut ShardInputs) {
        match self.clients.lines[line].stalled {
            Some(false) => {
                inputs.list.push(ShardInput::FramesStalled { connection });
                self.clients.lines[line].stalled = Some(true);
            }
            Some(true) if self.clients.is_draining || self.clients.prng.chance(30) => {
                inputs.list.push(ShardInput::FramesFlow { connection });
                self.clients.lines[line].stalled = None;
            }
            _ => {}
        }
    }

    /// A line takes a frame, or begins to take none.
    fn deliver_frame(&mut self, connection: ConnectionId, frame: &[u8]) {
        let Some(line) = self.line_of(connection) else { return };
        let taking = &mut self.clients.lines[line];
        assert!(taking.moving.is_none(), "a frame on the way to another shard");
        if taking.is_closing {
            return;
        }
        let is_known = taking.stalled == Some(true);
        assert!(!is_known, "{connection:?} takes no frames, and its shard knows");
        if taking.stalled.is_some() || (!self.clients.is_draining && self.clients.prng.chance(5)) {
            self.clients.lines[line].stalled = Some(false);
            self.clients.deliveries.push(Delivery::FrameMissed { line });
            return;
        }
        let start = self.clients.delivered_bytes.len();
        self.clients.delivered_bytes.extend_from_slice(frame);
        let frame = Span::since(start, &self.clients.delivered_bytes);
        self.clients.deliveries.push(Delivery::Frame { line, frame });
    }

    /// A line goes to the shard that keeps its session: what it takes along comes first there.
    fn move_on(&mut self, line: usize, connection: ConnectionId) {
        self.forget(connection);
        let moved = &mut self.clients.lines[line];
        let (to, steps) = moved.moving.take().expect("it goes somewhere");
        for step in steps.into_iter().rev() {
            moved.outbox.push_front(step);
        }
        moved.connection = None;
        moved.traits.has_moved = true;
        moved.shard = to;
        self.clients.present[to].push(line);
        self.clients.moved_now.push(line);
    }

    /// The connection of a line, which is opened when it is new.
    fn connection(
        &mut self,
        line: usize,
        accepts_input: bool,
        inputs: &mut ShardInputs,
    ) -> Option<ConnectionId> {
        let clients = &mut *self.clients;
        let new = &mut clients.lines[line];
        if let Some(connection) = new.connection {
            return Some(connection);
        }
        if matches!(new.outbox.front(), Some(Step::Close)) {
            // It went before anyone noticed, or between two shards.
            new.is_gone = true;
            let peer = new.peer;
            inputs.list.extend(new.traits.has_moved.then_some(ShardInput::Lost { peer }));
            return None;
        }
        if !accepts_input {
            return None;
        }
        let slots = &mut clients.slots[self.shard];
        let free = slots.iter().position(|slot| slot.line.is_none());
        let index = free.unwrap_or_else(|| {
            slots.push(Slot::default());
            slots.len() - 1
        });
        slots[index].line = Some(line);
        let (index, generation) = (index as u32, slots[index].generation);
        let connection = ConnectionId { index, generation };
        new.connection = Some(connection);
        let (peer, has_moved) = (new.peer, new.traits.has_moved);
        inputs.list.push(ShardInput::Accepted { connection, peer, has_moved });
        inputs.list.push(ShardInput::Opened { connection, traits: new.traits });
        Some(connection)
    }

    fn forget(&mut self, connection: ConnectionId) {
        let slot = &mut self.clients.slots[self.shard][connection.index as usize];
        slot.line = None;
        slot.generation += 1;
        self.clients.closed_now.push(connection);
    }

    /// Whose connection it is; nobody's, if it went in this very turn.
    fn line_of(&self, connection: ConnectionId) -> Option<usize> {
        let slot = &self.clients.slots[self.shard][connection.index as usize];
        if self.clients.planted == Some(PlantedBug::StaleConnectionServed) {
            return slot.line;
        }
        if slot.generation == connection.generation && slot.line.is_some() {
            return slot.line;
        }
        let is_known = self.clients.closed_now.contains(&connection);
        assert!(is_known, "output for {connection:?}, which is gone since an earlier turn");
        None
    }

    fn deliver(&mut self, connection: ConnectionId, bytes: &[u8], is_for_many: bool) {
        let Some(line) = self.line_of(connection) else { return };
        if self.clients.lines[line].is_closing {
            // A relay may still know it, but no reply may follow its end.
            assert!(is_for_many, "{connection:?} was sent something after it was closed");
            return;
        }
        let is_moving = self.clients.lines[line].moving.is_some();
        assert!(!is_moving, "{connection:?} was sent something on its way to another shard");
        let start = self.clients.delivered_bytes.len();
        self.clients.delivered_bytes.extend_from_slice(bytes);
        let message = Span::since(start, &self.clients.delivered_bytes);
        self.clients.deliveries.push(Delivery::Message { line, message });
    }
}
