//! Scripted clients and the gateway's side of their connections: one [`ClientPort`] per shard,
//! which hands over what clients sent and takes down what they are to hear.

use std::collections::VecDeque;

use warren::shard_turn::ClientPort;
use warren_core::ids::{ConnectionId, ShardId};
use warren_core::reason::Reason;
use warren_core::turn::{
    ConnectionTraits, Now, ShardInput, ShardInputs, ShardOutput, ShardOutputs, Span,
};

use crate::planted::PlantedBug;
use crate::prng::Prng;

/// Most messages of one connection in one turn.
const TURN_MESSAGES_MAX: u64 = 4;

/// What a client did that its shard has not yet taken.
#[derive(Debug)]
pub(crate) enum Step {
    Message(Vec<u8>),
    Close,
}

/// One connection of a client, from before its shard knows of it until after it is gone.
#[derive(Debug)]
pub(crate) struct Conversation {
    traits: ConnectionTraits,
    connection: Option<ConnectionId>,
    pub(crate) outbox: VecDeque<Step>,
    /// The shard closed it; the gateway is still to say that it is gone.
    pub(crate) is_closing: bool,
    /// The client closed it; nothing follows.
    pub(crate) is_closed_by_client: bool,
    /// The shard was told that it is gone, or never knew of it.
    pub(crate) is_gone: bool,
}

/// What a client gets from its shard in a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Delivery {
    Message { conversation: usize, message: Span },
    Close { conversation: usize, reason: Reason },
}

#[derive(Clone, Debug, Default)]
struct Slot {
    generation: u32,
    conversation: Option<usize>,
}

/// All connections of all shards.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) conversations: Vec<Conversation>,
    /// By shard, conversations that are not gone.
    present: Vec<Vec<usize>>,
    /// By shard, as a gateway's connection table.
    slots: Vec<Vec<Slot>>,
    /// Connections of which the shard was told in this turn that they are gone.
    closed_now: Vec<ConnectionId>,
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
            conversations: vec![],
            present: vec![vec![]; shard_count],
            slots: vec![vec![]; shard_count],
            closed_now: vec![],
            taken_lengths: vec![],
            deliveries: vec![],
            delivered_bytes: vec![],
            is_draining: false,
            planted,
            prng,
        }
    }

    /// A client connects to a shard, which hears of it in one of its next turns.
    pub(crate) fn open(&mut self, shard: usize, traits: ConnectionTraits) -> usize {
        let conversation = self.conversations.len();
        self.conversations.push(Conversation {
            traits,
            connection: None,
            outbox: VecDeque::new(),
            is_closing: false,
            is_closed_by_client: false,
            is_gone: false,
        });
        self.present[shard].push(conversation);
        conversation
    }

    /// A client closes: behind all that it sent, or abruptly, so that what has not been taken yet
    /// is lost.
    pub(crate) fn close(&mut self, conversation: usize, is_abrupt: bool) {
        let closed = &mut self.conversations[conversation];
        if is_abrupt {
            closed.outbox.clear();
        }
        closed.outbox.push_back(Step::Close);
        closed.is_closed_by_client = true;
    }

    /// Conversations on a shard that are not gone.
    pub(crate) fn present_on(&self, shard: usize) -> &[usize] {
        &self.present[shard]
    }

    /// Whether every client's every step was taken.
    pub(crate) fn are_drained(&self) -> bool {
        self.present.iter().flatten().all(|conversation| {
            let present = &self.conversations[*conversation];
            present.outbox.is_empty() && !present.is_closing && present.connection.is_some()
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
        for conversation in present[first..].iter().chain(&present[..first]) {
            self.take(*conversation, accepts_input, inputs);
        }
        let conversations = &self.clients.conversations;
        self.clients.present[self.shard].retain(|present| !conversations[*present].is_gone);
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
                ShardOutput::Close { connection, reason } => {
                    let Some(conversation) = self.conversation_of(connection) else { continue };
                    let closed = &mut self.clients.conversations[conversation];
                    assert!(!closed.is_closing, "{connection:?} was closed twice");
                    closed.is_closing = true;
                    self.clients.deliveries.push(Delivery::Close { conversation, reason });
                }
                ShardOutput::Admit { .. } => {}
                ShardOutput::HandOver { .. } => panic!("nobody resumes yet"),
            }
        }
    }

    /// Nobody sleeps here: the scheduler gives out the turns.
    fn wake(&mut self, _peer: ShardId) {}
}

impl Port<'_> {
    /// Hands over some of what a conversation holds.
    fn take(&mut self, conversation: usize, accepts_input: bool, inputs: &mut ShardInputs) {
        let is_draining = self.clients.is_draining;
        let Some(connection) = self.connection(conversation, accepts_input, inputs) else { return };
        let count = self.clients.prng.between(u64::from(is_draining), TURN_MESSAGES_MAX);
        let taken = &mut self.clients.conversations[conversation];
        let mut is_over = taken.is_closing && (is_draining || self.clients.prng.chance(50));
        for _ in 0..count {
            match taken.outbox.front() {
                Some(Step::Message(message)) if accepts_input => {
                    let start = inputs.bytes.len();
                    inputs.bytes.extend_from_slice(message);
                    inputs.push_message(connection, start);
                    self.clients.taken_lengths.push(message.len());
                    taken.outbox.pop_front();
                }
                Some(Step::Close) => {
                    is_over = true;
                    break;
                }
                _ => break,
            }
        }
        if is_over {
            inputs.list.push(ShardInput::Closed { connection });
            self.forget(conversation, connection);
        }
    }

    /// The connection of a conversation, which is opened when it is new.
    fn connection(
        &mut self,
        conversation: usize,
        accepts_input: bool,
        inputs: &mut ShardInputs,
    ) -> Option<ConnectionId> {
        let clients = &mut *self.clients;
        let new = &mut clients.conversations[conversation];
        if let Some(connection) = new.connection {
            return Some(connection);
        }
        if matches!(new.outbox.front(), Some(Step::Close)) {
            // It went before anyone noticed.
            new.is_gone = true;
            return None;
        }
        if !accepts_input {
            return None;
        }
        let slots = &mut clients.slots[self.shard];
        let free = slots.iter().position(|slot| slot.conversation.is_none());
        let index = free.unwrap_or_else(|| {
            slots.push(Slot::default());
            slots.len() - 1
        });
        slots[index].conversation = Some(conversation);
        let (index, generation) = (index as u32, slots[index].generation);
        let connection = ConnectionId { index, generation };
        new.connection = Some(connection);
        inputs.list.push(ShardInput::Opened { connection, traits: new.traits });
        Some(connection)
    }

    fn forget(&mut self, conversation: usize, connection: ConnectionId) {
        let slot = &mut self.clients.slots[self.shard][connection.index as usize];
        slot.conversation = None;
        slot.generation += 1;
        self.clients.conversations[conversation].is_gone = true;
        self.clients.closed_now.push(connection);
    }

    /// Whose connection it is; nobody's, if it went in this very turn.
    fn conversation_of(&self, connection: ConnectionId) -> Option<usize> {
        let slot = &self.clients.slots[self.shard][connection.index as usize];
        if self.clients.planted == Some(PlantedBug::StaleConnectionServed) {
            return slot.conversation;
        }
        if slot.generation == connection.generation && slot.conversation.is_some() {
            return slot.conversation;
        }
        let is_known = self.clients.closed_now.contains(&connection);
        assert!(is_known, "output for {connection:?}, which is gone since an earlier turn");
        None
    }

    fn deliver(&mut self, connection: ConnectionId, bytes: &[u8], is_for_many: bool) {
        let Some(conversation) = self.conversation_of(connection) else { return };
        if self.clients.conversations[conversation].is_closing {
            // A relay may still know it, but no reply may follow its end.
            assert!(is_for_many, "{connection:?} was sent something after it was closed");
            return;
        }
        let start = self.clients.delivered_bytes.len();
        self.clients.delivered_bytes.extend_from_slice(bytes);
        let message = Span::since(start, &self.clients.delivered_bytes);
        self.clients.deliveries.push(Delivery::Message { conversation, message });
    }
}
