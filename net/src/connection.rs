//! One connection, without its socket: its protocol, its half-received frame, what waits to be
//! sent, and where it stands in its life.
//!
//! ```text
//! Proxied -> Undetected -> Open -> Ended -> Leaving -> Draining -> Lingering -> Closing -> Free
//! ```
//!
//! Any may be left out but the last two, and it begins as one of the first three. One that goes to another shard is `Moving`
//! after `Open` or `Ended`, and `Closing` when it has gone.
//!
//! Frames are decoded where they were received. Only a frame that is not whole yet is copied, to a
//! buffer that the connection has for so long, bounded by `frame_bytes_max` (before an upgrade to
//! WebSocket by `header_bytes_max`) and one receive buffer; and the fragments of a WebSocket message,
//! bounded together by `frame_bytes_max`.

use std::net::IpAddr;

use warren_core::ids::ConnectionId;
use warren_core::message::MessageBuilder;
use warren_core::rate::{Meter, Rate};
use warren_core::reason::Reason;
use warren_core::turn::{ConnectionTraits, ShardInput, ShardInputs};

use crate::gateway::websocket::{
    Assembly, CloseCode, Upgrade, UpgradeSettings, upgrade, write_pong,
};
use crate::gateway::{DecodeState, Detected, Frame, GatewaySettings, Protocol, decode, detect};
use crate::reactor::Luggage;
use crate::tls::Tls;

/// Spare buffers that are kept for the next half-received frame.
const SPARE_BUFFERS_MAX: usize = 64;
/// A buffer that has grown beyond this is not kept.
const SPARE_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Messages as which a frame counts that is none.
const MESSAGES_PER_REFUSED: u64 = 8;
/// The time of what is not going to be due.
pub(crate) const NEVER: u64 = u64::MAX;
/// No entry in the turn's output.
pub(crate) const EGRESS_NONE: u32 = u32::MAX;

/// Where a connection stands in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The slot has no connection.
    #[default]
    Free,
    /// A proxy has made it, and has not said yet from where its client comes.
    Proxied,
    /// Its first bytes have not told its protocol.
    Undetected,
    /// It speaks.
    Open(Protocol),
    /// It has said all it will say, and still gets its answers.
    Ended(Protocol),
    /// It goes to another shard as soon as nothing of it is under way here.
    Moving(Protocol),
    /// Its end is decided, and what was sent to it this turn is on its way.
    Leaving,
    /// What waits in its send queue is still to go out.
    Draining,
    /// We have said that no more comes, and discard what does until the peer says the same.
    Lingering,
    /// Its operations are being cancelled.
    Closing,
}

/// What could not be sent at once. The first part may be the ring's while it is under way.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    /// Bytes of the part that is under way which are not sent yet.
    pub(crate) in_flight_bytes: usize,
    /// First byte of that part which is not sent yet.
    pub(crate) in_flight_start: usize,
    /// What follows it.
    pub(crate) waiting: Vec<u8>,
}

impl SendQueue {
    pub(crate) fn bytes(&self) -> usize {
        self.in_flight_bytes + self.waiting.len()
    }
}

/// State of one slot of the connection table. A slot is cold whenever its turn comes, so its order
/// is ours: what a send looks at stands in the first cache line, what a receive does besides in the
/// second, and what either rarely needs in the third.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Connection {
    pub(crate) generation: u32,
    /// Index of the connection's entry in the turn's output.
    pub(crate) egress_entry: u32,
    pub(crate) queue: Option<Box<SendQueue>>,
    /// Its encryption, if it has one.
    pub(crate) tls: Option<Box<Tls>>,
    pub(crate) phase: Phase,
    /// Set when the protocol is known, and kept while output may still be sent.
    pub(crate) protocol: Option<Protocol>,
    /// A send failed: nothing more can be sent.
    pub(crate) send_broken: bool,
    /// A receive is under way.
    pub(crate) receive_armed: bool,
    /// The peer has closed its side, or the socket has failed.
    pub(crate) receive_ended: bool,
    /// It is one more than there may be, in the slot that is kept to say so: it does not linger.
    pub(crate) is_surplus: bool,
    pub(crate) shutdown_armed: bool,
    /// A descriptor for its socket is being made.
    pub(crate) install_armed: bool,
    /// It could not take a frame of a world, and the shard knows, or is about to.
    pub(crate) frames_stalled: bool,
    /// Its client has the role of workers.
    pub(crate) is_worker: bool,
    /// Pieces behind the first in which a frame has come, of a client that has not logged in.
    pub(crate) pieces: u8,
    /// Received buffers that wait for a later turn.
    pub(crate) held_count: u32,
    pub(crate) heard_ns: u64,
    /// When receiving goes on; `NEVER` when it was not paused.
    pub(crate) resume_ns: u64,
    /// When its client has to be logged in; `NEVER` when it is.
    pub(crate) login_due_ns: u64,

    /// Messages that came, and bytes.
    pub(crate) messages: Meter,
    pub(crate) bytes: Meter,
    /// The beginning of a frame; empty, and without memory, most of the time.
    partial: Vec<u8>,
    decode_state: DecodeState,
    /// When the half-received frame has to be whole; `NEVER` when there is none.
    pub(crate) frame_due_ns: u64,

    /// When the next heartbeat is due, or the next look whether the client is silent.
    pub(crate) heartbeat_ns: u64,
    /// What it takes to another shard, or has brought from one.
    pub(crate) luggage: Option<Box<Luggage>>,
    /// Messages refused because there were too many, less those taken since.
    pub(crate) refusals: u32,
    /// The code with which a WebSocket client has closed the connection, once it has.
    pub(crate) close_code: Option<CloseCode>,
    /// Why it leaves, once that is decided.
    pub(crate) leave_reason: Option<Reason>,
    /// Where its client is, as far as the kernel tells, or the proxy has said.
    pub(crate) peer: Option<IpAddr>,
    /// The shard was told where.
    pub(crate) is_placed: bool,
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(offset_of!(Connection, messages) == 64);
    assert!(offset_of!(Connection, heartbeat_ns) == 128);
    assert!(size_of::<Connection>() == 192);
};

impl Default for Connection {
    fn default() -> Self {
        Self::of_generation(0)
    }
}

/// Why a connection is closed by what came on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) Reason);

/// What may come on one connection in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Messages. One more is refused.
    pub messages: Rate,
    /// Bytes. With more, receiving pauses.
    pub bytes: Rate,
    /// Refused messages, less those taken since, with which a connection is closed.
    pub refusals_max: u32,
}

impl RateLimits {
    /// No bounds.
    pub const UNLIMITED: Self =
        Self { messages: Rate::UNLIMITED, bytes: Rate::UNLIMITED, refusals_max: u32::MAX };
}

impl RateLimits {
    /// What a worker may send, unless the configuration says otherwise.
    #[must_use]
    pub fn of_workers(messages_per_s: u64, bytes_per_s: u64, refusals_max: u32) -> Self {
        // As much at once as in a second.
        let rate = |per_s| Rate { per_s, burst: per_s };
        Self { messages: rate(messages_per_s), bytes: rate(bytes_per_s), refusals_max }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            messages: Rate { per_s: 200, burst: 2000 },
            bytes: Rate { per_s: 256 << 10, burst: 2 << 20 },
            refusals_max: 200,
        }
    }
}

/// What decoding reads and writes besides the connection.
pub(crate) struct Decoding<'a> {
    pub(crate) settings: &'a GatewaySettings,
    /// The one protocol of the port.
    pub(crate) fixed_protocol: Option<Protocol>,
    pub(crate) upgrade: &'a UpgradeSettings,
    pub(crate) inputs: &'a mut ShardInputs,
    pub(crate) spare: &'a mut SpareBuffers,
    /// What may come in which time.
    pub(crate) rates: &'a RateLimits,
    pub(crate) now_ns: u64,
    /// Why frames were refused that are no messages, in order.
    pub(crate) refused: &'a mut Vec<Reason>,
    /// Messages that are to be run.
    pub(crate) messages: u64,
    /// Messages, and what was refused.
    pub(crate) answered: u64,
    /// All frames, a run of empty ones as one: what costs a turn.
    pub(crate) frames: u64,
    /// The half-received frame is another one than before.
    pub(crate) frame_began: bool,
    /// What the protocol itself answers: to an upgrade, then to the last ping among these bytes.
    pub(crate) answer: &'a mut Vec<u8>,
    /// The client has said that it says nothing more.
    pub(crate) client_closed: bool,
}

impl Connection {
    pub(crate) fn of_generation(generation: u32) -> Self {
        Self {
            generation,
            phase: Phase::Free,
            protocol: None,
            receive_armed: false,
            receive_ended: false,
            send_broken: false,
            is_surplus: false,
            shutdown_armed: false,
            install_armed: false,
            is_worker: false,
            pieces: 0,
            held_count: 0,
            frames_stalled: false,
            heard_ns: 0,
            peer: None,
            is_placed: false,
            login_due_ns: NEVER,
            frame_due_ns: NEVER,
            messages: Meter::default(),
            bytes: Meter::default(),
            refusals: 0,
            resume_ns: NEVER,
            heartbeat_ns: NEVER,
            egress_entry: EGRESS_NONE,
            queue: None,
            tls: None,
            luggage: None,
            close_code: None,
            leave_reason: None,
            partial: Vec::new(),
            decode_state: DecodeState::default(),
        }
    }

    /// Whether it is in use and no end was decided.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(
            self.phase,
            Phase::Proxied
                | Phase::Undetected
                | Phase::Open(_)
                | Phase::Ended(_)
                | Phase::Moving(_)
        )
    }

    /// Whether the kernel works on something for it.
    pub(crate) fn has_operations(&self) -> bool {
        self.receive_armed || self.shutdown_armed || self.install_armed || self.send_in_flight()
    }

    /// Whether its client has logged in.
    pub(crate) fn is_admitted(&self) -> bool {
        self.login_due_ns == NEVER
    }

    /// Whether receiving waits until its time has come.
    pub(crate) fn is_paused(&self) -> bool {
        self.resume_ns != NEVER
    }

    /// Whether bytes of it may be there that we have not looked at yet.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.held_count > 0 || !self.receive_armed
    }

    /// The earliest of its deadlines.
    pub(crate) fn due_ns(&self) -> u64 {
        self.login_due_ns.min(self.frame_due_ns).min(self.resume_ns).min(self.heartbeat_ns)
    }

    /// The protocol in which messages may be sent to it now.
    pub(crate) fn output_protocol(&self) -> Option<Protocol> {
        if self.send_broken { None } else { self.protocol }
    }

    /// Bytes that wait in the send queue.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes())
    }

    /// Whether a queued send is under way.
    pub(crate) fn send_in_flight(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.in_flight_bytes > 0)
    }

    /// Bytes of the half-received frame, or of the fragments of a message.
    pub(crate) fn partial_bytes(&self) -> usize {
        self.partial.len() + self.decode_state.assembled_bytes()
    }

    /// Bytes of the half-received record of TLS.
    pub(crate) fn record_bytes(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.record_bytes())
    }

    /// The protocol is known: tells the shard.
    pub(crate) fn open(
        &mut self,
        id: ConnectionId,
        protocol: Protocol,
        settings: &GatewaySettings,
        inputs: &mut ShardInputs,
    ) {
        self.phase = Phase::Open(protocol);
        self.protocol = Some(protocol);
        let traits = ConnectionTraits {
            echoes_request: protocol.is_connserver(),
            closes_on_unknown_method: settings.strict && protocol.is_connserver(),
            // It has come with something.
            has_moved: self.luggage.is_some(),
        };
        inputs.list.push(ShardInput::Opened { connection: id, traits });
    }

    /// Decodes received bytes, together with the half-received frame before them.
    pub(crate) fn feed(
        &mut self,
        id: ConnectionId,
        bytes: &mut [u8],
        decoding: &mut Decoding<'_>,
    ) -> Result<(), Fault> {
        let mut state = std::mem::take(&mut self.decode_state);
        state.lend(decoding.spare);
        let mut partial = std::mem::take(&mut self.partial);
        let (was_whole, was_assembling) = (partial.is_empty(), state.is_assembling());
        let answered = decoding.answered;
        let result = if was_whole {
            self.decode_all(id, bytes, &mut state, decoding).inspect(|&consumed| {
                if consumed < bytes.len() {
                    partial = decoding.spare.take();
                    partial.extend_from_slice(&bytes[consumed..]);
                }
            })
        } else {
            partial.extend_from_slice(bytes);
            self.decode_all(id, &mut partial, &mut state, decoding)
                .inspect(|&consumed| drop(partial.drain(..consumed)))
        };
        if result.is_err() {
            partial.clear();
        }
        // Further fragments of the same message are the same half-received frame.
        let is_same = was_assembling && decoding.answered == answered;
        decoding.frame_began = !is_same && (was_whole || result.is_ok_and(|consumed| consumed > 0));
        if partial.is_empty() {
            decoding.spare.give_back(partial);
        } else {
            self.partial = partial;
        }
        state.take_back(decoding.spare);
        self.decode_state = state;
        result.map(drop)
    }

    /// Decodes all whole frames, and returns how many bytes they took.
    fn decode_all(
        &mut self,
        id: ConnectionId,
        bytes: &mut [u8],
        state: &mut DecodeState,
        decoding: &mut Decoding<'_>,
    ) -> Result<usize, Fault> {
        let settings = decoding.settings;
        let mut at = 0;
        if self.phase == Phase::Undetected {
            match self.detect(id, bytes, state, decoding)? {
                None => return Ok(0),
                Some(skip) if self.phase == Phase::Undetected => return Ok(skip),
                Some(skip) => at = skip,
            }
        }
        let Phase::Open(protocol) = self.phase else { return Ok(bytes.len()) };
        let mut pong_start = None;
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            let rest_bytes = rest.len();
            let start = decoding.inputs.bytes.len();
            let consumed = match decode(protocol, settings, rest, state, &mut decoding.inputs.bytes)
            {
                Frame::Incomplete if rest_bytes < settings.frame_bytes_max => break,
                Frame::Incomplete => return Err(Fault(Reason::FrameTooLarge)),
                Frame::Message { consumed } => {
                    self.take_message(id, start, decoding)?;
                    consumed
                }
                Frame::Move { consumed } => {
                    self.take_move(id, start, decoding)?;
                    consumed
                }
                Frame::Empty { consumed: 1 } => 1 + run_bytes(rest),
                Frame::Empty { consumed } => {
                    // A fragment, or a pong that nobody asked for.
                    if protocol.is_websocket() {
                        self.count_message(decoding)?;
                    }
                    consumed
                }
                Frame::Refused { consumed, reason } => {
                    self.take_refused(reason, decoding)?;
                    consumed
                }
                Frame::Ping { consumed, payload_bytes } => {
                    self.count_message(decoding)?;
                    let earlier = *pong_start.get_or_insert(decoding.answer.len());
                    decoding.answer.truncate(earlier);
                    write_pong(&rest[consumed - payload_bytes..consumed], decoding.answer);
                    consumed
                }
                Frame::Close { code } => {
                    self.close_code = Some(code);
                    decoding.client_closed = true;
                    // What follows is not looked at.
                    rest_bytes
                }
                Frame::Fatal { reason } => return Err(Fault(reason)),
            };
            assert!(consumed > 0, "a frame has bytes");
            decoding.frames += 1;
            at += consumed;
            state.scanned = 0;
        }
        Ok(at)
    }

    /// The fragments of a WebSocket message, which are somebody else's from here on.
    pub(crate) fn take_assembly(&mut self) -> Option<Box<Assembly>> {
        std::mem::take(&mut self.decode_state).assembly
    }

    /// Goes on with a WebSocket message that began elsewhere.
    pub(crate) fn bring_assembly(&mut self, assembly: Option<Box<Assembly>>) {
        self.decode_state.assembly = assembly;
    }

    /// Gives the shard the message that stands in the inputs from `start` on: to be run, or to be
    /// refused when too many have come.
    fn take_message(
        &mut self,
        id: ConnectionId,
        start: usize,
        decoding: &mut Decoding<'_>,
    ) -> Result<(), Fault> {
        if self.comes_in_time(decoding) {
            decoding.inputs.push_message(id, start);
            return Ok(());
        }
        decoding.inputs.push_refused(id, start, Reason::MessageRate);
        self.count_refusal(decoding)
    }

    /// Gives the shard the move that stands in the inputs from `start` on, or has it answered when too
    /// many have come.
    fn take_move(
        &mut self,
        id: ConnectionId,
        start: usize,
        decoding: &mut Decoding<'_>,
    ) -> Result<(), Fault> {
        if self.comes_in_time(decoding) {
            decoding.inputs.push_move(id, start);
            return Ok(());
        }
        decoding.inputs.bytes.truncate(start);
        let _ = MessageBuilder::new(&mut decoding.inputs.bytes, "move");
        decoding.inputs.push_refused(id, start, Reason::MessageRate);
        self.count_refusal(decoding)
    }

    /// Counts what the shard is given, or what is refused instead because too many have come.
    fn comes_in_time(&mut self, decoding: &mut Decoding<'_>) -> bool {
        decoding.answered += 1;
        let in_time = self.messages.take(decoding.rates.messages, 1, decoding.now_ns);
        if in_time {
            self.refusals = self.refusals.saturating_sub(1);
            decoding.messages += 1;
        }
        in_time
    }

    /// Refuses a frame that is no message. It counts as several, since it is answered too and serves
    /// nobody.
    fn take_refused(&mut self, reason: Reason, decoding: &mut Decoding<'_>) -> Result<(), Fault> {
        decoding.answered += 1;
        decoding.refused.push(reason);
        if self.bytes.is_over(decoding.rates.bytes, decoding.now_ns) {
            return Err(Fault(Reason::ByteRate));
        }
        if self.messages.is_over(decoding.rates.messages, decoding.now_ns) {
            return self.count_refusal(decoding);
        }
        self.messages.charge(decoding.rates.messages, MESSAGES_PER_REFUSED, decoding.now_ns);
        Ok(())
    }

    fn count_refusal(&mut self, decoding: &Decoding<'_>) -> Result<(), Fault> {
        self.refusals += 1;
        let goes_on = self.refusals < decoding.rates.refusals_max;
        if goes_on { Ok(()) } else { Err(Fault(Reason::MessageRate)) }
    }

    /// Counts a frame as a message that is none and never gets to the shard.
    fn count_message(&mut self, decoding: &mut Decoding<'_>) -> Result<(), Fault> {
        let in_time = self.messages.take(decoding.rates.messages, 1, decoding.now_ns);
        if in_time { Ok(()) } else { self.count_refusal(decoding) }
    }

    /// The bytes of the half-received frame, which are somebody else's from here on.
    pub(crate) fn take_partial(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    /// Keeps the bytes as the beginning of what is not whole yet.
    pub(crate) fn bring_partial(&mut self, partial: Vec<u8>) {
        self.partial = partial;
    }

    /// Opens the connection once its first bytes tell the protocol. Returns how many bytes were
    /// before the first frame, or before the request for an upgrade whose end has not come; none
    /// while there are too few of them to tell.
    fn detect(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        state: &mut DecodeState,
        decoding: &mut Decoding<'_>,
    ) -> Result<Option<usize>, Fault> {
        let settings = decoding.settings;
        let fixed = decoding.fixed_protocol.filter(|fixed| !fixed.is_always_detected());
        if let Some(protocol) = fixed {
            self.open(id, protocol, settings, decoding.inputs);
            return Ok(Some(0));
        }
        let may_be =
            |is_spoken: fn(Protocol) -> bool| decoding.fixed_protocol.is_none_or(is_spoken);
        let (protocol, skip) = match detect(bytes, settings.frame_bytes_max) {
            Detected::Protocol { protocol, skip }
                if decoding.fixed_protocol.is_none_or(|fixed| fixed == protocol) =>
            {
                (protocol, skip)
            }
            Detected::Upgrade { skip } if may_be(Protocol::is_websocket) => {
                let (request, scanned) = (&bytes[skip..], &mut state.scanned);
                let fixed = decoding.fixed_protocol;
                match upgrade(decoding.upgrade, fixed, request, scanned, decoding.answer) {
                    // What is before the request has been looked through for good.
                    Upgrade::Incomplete => return Ok(Some(skip)),
                    Upgrade::Accepted { protocol, consumed } => (protocol, skip + consumed),
                    Upgrade::Refused { reason } => return Err(Fault(reason)),
                }
            }
            Detected::PolicyRequest if may_be(|fixed| fixed == Protocol::Xml) => {
                return Err(Fault(Reason::PolicyRequest));
            }
            Detected::NeedMore if bytes.len() < settings.frame_bytes_max => return Ok(None),
            _ => return Err(Fault(Reason::UnknownProtocol)),
        };
        self.open(id, protocol, settings, decoding.inputs);
        Ok(Some(skip))
    }

    /// Drops the half-received frame.
    pub(crate) fn discard_partial(&mut self, spare: &mut SpareBuffers) {
        spare.give_back(std::mem::take(&mut self.partial));
        if let Some(assembly) = self.decode_state.assembly.take() {
            spare.give_back(assembly.bytes);
        }
    }
}

/// How often the first byte, a frame's end without a frame, is said again at once.
fn run_bytes(bytes: &[u8]) -> usize {
    bytes[1..].iter().take_while(|byte| **byte == bytes[0]).count()
}

impl DecodeState {
    fn is_assembling(&self) -> bool {
        self.assembly.as_ref().is_some_and(|assembly| assembly.is_under_way)
    }

    /// A message may be put together of fragments: its memory is lent for as long as that takes.
    fn lend(&mut self, spare: &mut SpareBuffers) {
        if let Some(assembly) = &mut self.assembly
            && !assembly.is_under_way
        {
            assembly.bytes = spare.take();
        }
    }

    fn take_back(&mut self, spare: &mut SpareBuffers) {
        if let Some(assembly) = &mut self.assembly
            && !assembly.is_under_way
        {
            spare.give_back(std::mem::take(&mut assembly.bytes));
        }
    }
}

/// Buffers without a user.
#[derive(Debug, Default)]
pub(crate) struct SpareBuffers {
    buffers: Vec<Vec<u8>>,
}

impl SpareBuffers {
    /// An empty buffer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Keeps the buffer for the next user, unless there are enough or it is unusually large.
    pub(crate) fn give_back(&mut self, mut buffer: Vec<u8>) {
        let is_usual = (1..=SPARE_BUFFER_BYTES_MAX).contains(&buffer.capacity());
        if self.buffers.len() < SPARE_BUFFERS_MAX && is_usual {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests;
