//! The last part of a turn: outputs to sends.
//!
//! All that a connection gets in a turn leaves in one send, which is over when it was submitted.
//! Only a turn with more output than there should be in memory at a time is sent in several goes.
//! What is said to a crowd leaves over several turns, since each send takes its time: whoever hears
//! nothing else waits in line, and is the next turn's, with what came meanwhile.
//! What the socket did not take goes to the connection's send queue, and so does all that follows
//! until the queue is empty again; the queue is drained by sends that wait for room, one at a time.

use std::net::Shutdown;

use warren_core::ids::ConnectionId;
use warren_core::message::Message;
use warren_core::reason::Reason;
use warren_core::turn::{Now, ShardInput, ShardOutput, ShardOutputs, Span};

use super::Reactor;
use crate::connection::{EGRESS_NONE, Phase};
use crate::egress::{Encodings, Lane, RUN_BYTES_MAX, Recipient, write_notice};
use crate::gateway::websocket::write_close;
use crate::gateway::{QUEUE_FRAMES_MIN, encode};
use crate::io::operation::{Completion, OperationKind, Outcome};
use crate::io::ring::ImmediateSend;

/// So many that hear one message are a crowd.
pub(super) const CROWD_MIN: u32 = 256;
/// So many of a crowd leave in one turn: about half a millisecond of sends.
pub(super) const LATE_PER_TURN_MAX: usize = 64;

impl Reactor {
    pub(super) fn encode_outputs(&mut self, now: Now, outputs: &ShardOutputs) {
        let mut rest = &outputs.list[..];
        // Frames of this turn: beyond a crowd's number they are late.
        let mut frame_count = 0_u32;
        while let Some((output, mut after)) = rest.split_first() {
            let mut encodings = Encodings::default();
            match *output {
                ShardOutput::Send { connection, message } => {
                    let message = std::iter::once(outputs.message(message));
                    self.push_messages(connection, Lane::Reliable, message, &mut encodings);
                }
                ShardOutput::SendMany { recipients, .. } => {
                    let run = run_of(rest);
                    after = &rest[run.len()..];
                    let is_crowd = recipients.length >= CROWD_MIN;
                    let lane = if is_crowd { Lane::Late } else { Lane::Reliable };
                    for connection in recipients.of(&outputs.recipients) {
                        let messages = run.iter().filter_map(|output| match output {
                            ShardOutput::SendMany { message, .. } => {
                                Some(outputs.message(*message))
                            }
                            _ => None,
                        });
                        self.push_messages(*connection, lane, messages, &mut encodings);
                    }
                }
                ShardOutput::Frame { recipients, frame } => {
                    let frame = outputs.frame(frame);
                    frame_count = frame_count.saturating_add(recipients.length);
                    let is_crowd = frame_count >= CROWD_MIN;
                    let lane = if is_crowd { Lane::Late } else { Lane::Reliable };
                    for connection in recipients.of(&outputs.recipients) {
                        self.push_frame(*connection, lane, frame, &mut encodings);
                    }
                }
                ShardOutput::Close { connection, reason } => {
                    if self.connection(connection).is_some() {
                        self.close_for_shard(connection.index, reason);
                    }
                }
                ShardOutput::Admit { connection, is_worker } => {
                    self.admit(connection, is_worker, now);
                }
                ShardOutput::HandOver { connection, to, message, refused } => {
                    let message = outputs.message(message).as_bytes();
                    self.hand_over(connection, to, (message, refused), now);
                }
            }
            rest = after;
            if self.egress.is_full() {
                self.flush(usize::MAX);
            }
        }
    }

    fn push_messages<'m>(
        &mut self,
        id: ConnectionId,
        lane: Lane,
        messages: impl Iterator<Item = Message<'m>>,
        encodings: &mut Encodings,
    ) {
        let Some(connection) = self.connections.get_mut(id.index as usize) else { return };
        if connection.generation != id.generation {
            return;
        }
        let Some(protocol) = connection.output_protocol() else { return };
        let gateway = &self.settings.gateway;
        let bytes = self.egress.encoding(encodings, protocol, gateway, messages);
        self.push(id.index, lane, bytes);
    }

    /// Gives a connection a frame of a world, unless what it got before has not left: then it gets no
    /// more of them until it has, and the shard is told both.
    fn push_frame(
        &mut self,
        id: ConnectionId,
        lane: Lane,
        frame: (&str, &[u8]),
        encodings: &mut Encodings,
    ) {
        let Some(connection) = self.connections.get_mut(id.index as usize) else { return };
        if connection.generation != id.generation {
            return;
        }
        let Some(protocol) = connection.output_protocol() else { return };
        if connection.queue.is_some() {
            self.frames_stalled(id.index, 1);
            return;
        }
        let gateway = &self.settings.gateway;
        let bytes = self.egress.frame_encoding(encodings, protocol, gateway, frame);
        self.push(id.index, lane, bytes);
    }

    /// So many frames were left out for a connection: it gets no more until what waits has left.
    pub(super) fn frames_stalled(&mut self, index: u32, dropped: u64) {
        self.counters.frames_dropped += dropped;
        let connection = &mut self.connections[index as usize];
        if !std::mem::replace(&mut connection.frames_stalled, true) {
            let connection = self.id_of(index);
            self.to_tell_frames.push(ShardInput::FramesStalled { connection });
        }
    }

    /// All that waited for a connection has left.
    pub(super) fn frames_flow(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if std::mem::take(&mut connection.frames_stalled) {
            let connection = self.id_of(index);
            self.to_tell_frames.push(ShardInput::FramesFlow { connection });
        }
    }

    /// Gives a connection bytes that stand in the output.
    pub(super) fn push(&mut self, index: u32, lane: Lane, bytes: Span) {
        if lane == Lane::Droppable {
            let half = self.queue_bytes_max(index) / 2;
            if self.connections[index as usize].queue_bytes() > half {
                self.counters.droppable_dropped += 1;
                return;
            }
        }
        let connection = &mut self.connections[index as usize];
        // Whoever goes does so when all is sent.
        let stays = matches!(connection.phase, Phase::Open(_) | Phase::Ended(_));
        if lane == Lane::Late && stays {
            self.egress.push_late(index, connection, bytes);
        } else {
            self.egress.push(index, connection, bytes);
        }
    }

    /// Sends the turn's output, some of what may be late, and all that those get who leave.
    pub(super) fn send_turn(&mut self) {
        for index in &self.leaving {
            self.egress.hurry(&self.connections[*index as usize]);
        }
        self.flush(LATE_PER_TURN_MAX);
    }

    /// Sends the output that there is, and of what may be late only to so many.
    fn flush(&mut self, late_max: usize) {
        self.egress.begin_sending(late_max);
        let mut has_more = false;
        for at in 0..self.egress.due_count() {
            let entry = self.egress.due(at);
            let recipient = self.egress.recipient(entry);
            let connection = &self.connections[recipient.index as usize];
            if connection.send_broken {
                continue;
            }
            if connection.tls.is_some() {
                has_more |= self.seal(entry);
            } else if connection.queue.is_some() {
                self.enqueue(recipient, 0);
            } else {
                self.send_gathering(recipient);
            }
            if self.egress.gathered_is_full() {
                self.send_gathered();
            }
        }
        self.send_gathered();
        while has_more {
            has_more = self.seal_more();
        }
        for at in 0..self.egress.due_count() {
            let index = self.egress.recipient(self.egress.due(at)).index;
            self.connections[index as usize].egress_entry = EGRESS_NONE;
        }
        self.egress.end_sending();
        self.pongs = Encodings::default();
    }

    /// Prepares the send of all that a recipient gets.
    fn send_gathering(&mut self, recipient: Recipient) {
        let (arena, bytes) = self.egress.gather(recipient);
        self.counters.sends += 1;
        self.counters.sent_bytes += u64::from(bytes.length);
        self.sends.push(ImmediateSend {
            user_data: self.user_data(OperationKind::Send, recipient.index),
            slot: recipient.index,
            arena: arena as u32,
            start: bytes.start,
            length: bytes.length,
        });
    }

    /// Those in TLS that get more in this turn than their queue may hold get the next part, now
    /// that it is known how much of the last was taken. Returns whether somebody gets still more.
    fn seal_more(&mut self) -> bool {
        let mut has_more = false;
        for at in 0..self.egress.due_count() {
            let entry = self.egress.due(at);
            let index = self.egress.recipient(entry).index;
            let connection = &self.connections[index as usize];
            if connection.tls.is_none() || connection.send_broken {
                continue;
            }
            if self.egress.has_messages(entry) {
                has_more |= self.seal(entry);
            }
            if self.egress.gathered_is_full() {
                self.send_gathered();
            }
        }
        self.send_gathered();
        has_more
    }

    /// Makes the sends that were prepared, and frees what was copied together for them.
    fn send_gathered(&mut self) {
        if self.sends.is_empty() {
            return;
        }
        self.ring.send_now(&self.sends, &self.egress.arenas());
        self.sends.clear();
        self.take_send_failures();
        self.egress.clear_gathered();
    }

    /// Sends complete only when they were short. The other completions wait for the next turn.
    fn take_send_failures(&mut self) {
        let mut failures = std::mem::take(&mut self.send_failures);
        let first_new = self.completions.len();
        self.ring.take_completions(&mut self.completions);
        let is_send =
            |completion: &mut Completion| completion.user_data.kind() == Some(OperationKind::Send);
        failures.extend(self.completions.extract_if(first_new.., is_send));
        for failure in failures.drain(..) {
            self.sent_short(failure);
        }
        self.send_failures = failures;
    }

    fn sent_short(&mut self, completion: Completion) {
        let index = completion.user_data.index();
        let entry = self.connections[index as usize].egress_entry;
        let recipient = self.egress.recipient(entry as usize);
        let length: usize = match recipient.sealed {
            Some(sealed) => sealed.length as usize,
            None => self.egress.messages_of(recipient).map(|told| told.bytes.len()).sum(),
        };
        let sent = match completion.outcome {
            Outcome::Done(sent) => sent as usize,
            Outcome::WouldBlock => 0,
            _ => {
                self.counters.sent_bytes -= length as u64;
                self.break_sending(index);
                return;
            }
        };
        self.counters.sends_deferred += 1;
        self.counters.sent_bytes -= (length - sent) as u64;
        match recipient.sealed {
            Some(sealed) => self.enqueue_sealed(recipient.index, sealed, sent),
            None => self.enqueue(recipient, sent),
        }
    }

    /// Puts what was encrypted into the send queue, but for the first `sent` bytes. It has begun to
    /// leave: no byte of it can be left out.
    fn enqueue_sealed(&mut self, index: u32, sealed: Span, sent: usize) {
        let [_, gathered] = self.egress.arenas();
        let rest = &sealed.of(gathered)[sent..];
        let queue = self.connections[index as usize].queue.get_or_insert_default();
        queue.waiting.extend_from_slice(rest);
        self.counters.send_queue_bytes += rest.len() as u64;
        self.send_waiting(index);
    }

    /// Puts what a recipient gets into its send queue, but for the first `sent` bytes. A message
    /// that has begun to leave is finished in any case, and last words always fit; a frame beyond the
    /// limit is left out, and anything else ends the connection.
    fn enqueue(&mut self, recipient: Recipient, sent: usize) {
        let index = recipient.index;
        let (mut room, limit) = self.queue_room(index);
        let connection = &mut self.connections[index as usize];
        let queue = connection.queue.get_or_insert_default();
        let before = queue.bytes();
        let mut skip = sent;
        let mut overflows = false;
        let mut dropped = 0;
        for told in self.egress.messages_of(recipient) {
            if skip >= told.bytes.len() {
                skip -= told.bytes.len();
                continue;
            }
            let rest = &told.bytes[skip..];
            let is_over = skip == 0 && !told.is_last_words && rest.len() > room;
            if is_over && told.is_frame {
                dropped += 1;
                continue;
            }
            overflows |= is_over;
            if overflows && !told.is_last_words {
                continue;
            }
            queue.waiting.extend_from_slice(rest);
            room = room.saturating_sub(rest.len());
            skip = 0;
        }
        let is_empty = queue.bytes() == 0;
        self.counters.send_queue_bytes += (queue.bytes() - before) as u64;
        if dropped > 0 {
            self.frames_stalled(index, dropped);
        }
        if is_empty {
            // Nothing waits, so nothing will tell that there is room: the next frame tries.
            self.connections[index as usize].queue = None;
            self.frames_flow(index);
            return;
        }
        if overflows {
            self.close_overflowed(index, limit);
        }
        self.send_waiting(index);
    }

    /// Most bytes that may wait for a connection. A stranger is told little.
    fn queue_bytes_max(&self, index: u32) -> usize {
        let most = self.settings.send_queue_bytes_max;
        if self.connections[index as usize].is_admitted() {
            return most;
        }
        most.min(QUEUE_FRAMES_MIN * self.stranger_gateway.frame_bytes_max)
    }

    /// How many more bytes may wait for a connection, and the limit that says so.
    pub(super) fn queue_room(&self, index: u32) -> (usize, Option<&'static str>) {
        let waiting = self.connections[index as usize].queue_bytes();
        let own = self.queue_bytes_max(index).saturating_sub(waiting);
        let all = self.settings.send_queues_bytes_max as u64;
        let all = all.saturating_sub(self.counters.send_queue_bytes) as usize;
        if all < own {
            return (all, Some("limits.send_queues_bytes_max"));
        }
        (own, self.limit_of(index, Reason::SlowConsumer))
    }

    /// The client takes its messages too slowly: it gets what is queued, the reason, and no more.
    pub(super) fn close_overflowed(&mut self, index: u32, limit: Option<&'static str>) {
        let connection = &mut self.connections[index as usize];
        let (Phase::Open(protocol) | Phase::Ended(protocol) | Phase::Moving(protocol), Some(queue)) =
            (connection.phase, &mut connection.queue)
        else {
            return;
        };
        write_notice(&mut self.notice, "closed", Reason::SlowConsumer, limit);
        let notice = Message::from_checked(&self.notice);
        let before = queue.waiting.len();
        let mut last_words = self.spare.take();
        encode(protocol, &self.settings.gateway, notice, &mut last_words);
        if protocol.is_websocket() {
            write_close(Reason::SlowConsumer, &mut last_words);
        }
        match &mut connection.tls {
            Some(tls) => {
                tls.seal(&last_words, &mut queue.waiting);
                tls.close();
                tls.seal_close(&mut queue.waiting);
            }
            None => queue.waiting.extend_from_slice(&last_words),
        }
        self.spare.give_back(last_words);
        self.counters.send_queue_bytes += (queue.waiting.len() - before) as u64;
        self.end_output(index);
        self.leave(index, Reason::SlowConsumer);
    }

    /// Sends what waits, unless a part is under way.
    pub(super) fn send_waiting(&mut self, index: u32) {
        let user_data = self.user_data(OperationKind::SendQueued, index);
        let Some(queue) = &mut self.connections[index as usize].queue else { return };
        if queue.in_flight_bytes > 0 || queue.waiting.is_empty() {
            return;
        }
        let bytes = std::mem::replace(&mut queue.waiting, self.spare.take());
        queue.in_flight_bytes = bytes.len();
        queue.in_flight_start = 0;
        self.ring.send_queued(user_data, index, bytes, 0);
    }

    /// A queued send has ended.
    pub(super) fn sent_queued(&mut self, completion: Completion, now: Now) {
        let index = completion.user_data.index();
        let bytes = self.ring.take_sent(index).expect("it has completed");
        let connection = &mut self.connections[index as usize];
        let queue = connection.queue.as_mut().expect("it is dropped when nothing is under way");
        let sent = match completion.outcome {
            Outcome::Done(sent) => sent as usize,
            Outcome::WouldBlock => 0,
            _ => {
                self.counters.send_queue_bytes -= std::mem::take(&mut queue.in_flight_bytes) as u64;
                self.break_sending(index);
                return;
            }
        };
        queue.in_flight_bytes -= sent;
        queue.in_flight_start += sent;
        self.counters.sent_bytes += sent as u64;
        self.counters.send_queue_bytes -= sent as u64;
        if connection.phase == Phase::Closing {
            self.counters.send_queue_bytes -= std::mem::take(&mut queue.in_flight_bytes) as u64;
            self.free_when_idle(index);
        } else if queue.in_flight_bytes > 0 {
            let start = queue.in_flight_start;
            self.ring.send_queued(completion.user_data, index, bytes, start);
        } else if queue.waiting.is_empty() {
            self.spare.give_back(bytes);
            let drained = connection.queue.take();
            self.spare.give_back(drained.map(|queue| queue.waiting).unwrap_or_default());
            let is_draining = connection.phase == Phase::Draining;
            self.frames_flow(index);
            if is_draining {
                self.drained(index, now);
            }
        } else {
            self.spare.give_back(bytes);
            self.send_waiting(index);
        }
    }

    /// A send failed, so the stream has a hole: nothing more is sent. The receive tells the end,
    /// after what the peer said before, unless that was heard already.
    fn break_sending(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.send_broken = true;
        self.counters.send_queue_bytes -= connection.queue_bytes() as u64;
        connection.queue = None;
        match connection.phase {
            Phase::Proxied | Phase::Undetected | Phase::Open(_) => {
                self.shut_down(index, Shutdown::Both)
            }
            Phase::Ended(_) | Phase::Moving(_) => self.leave(index, Reason::SocketError),
            Phase::Draining => self.start_closing(index),
            Phase::Closing => self.free_when_idle(index),
            Phase::Free | Phase::Leaving | Phase::Lingering => {}
        }
    }
}

/// The outputs at the front that are for the same connections as the first: these get all of them
/// as one piece, so that each is looked up once.
fn run_of(outputs: &[ShardOutput]) -> &[ShardOutput] {
    let mut first = None;
    let mut bytes = 0;
    let is_further = |output: &&ShardOutput| {
        let ShardOutput::SendMany { recipients, message } = **output else { return false };
        let fits = bytes <= RUN_BYTES_MAX && *first.get_or_insert(recipients) == recipients;
        bytes += message.length as usize;
        fits
    };
    let count = outputs.iter().take_while(is_further).count();
    &outputs[..count]
}
