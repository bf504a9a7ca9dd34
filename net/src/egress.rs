//! What leaves in one turn: each message encoded once per protocol, and for each connection the
//! pieces that it gets, so that all of them go out in one send. Messages that follow each other to
//! the same connections are a run: one piece, however many they are. Pure: no sockets.
//!
//! Messages stand in one arena. A connection's pieces are a list of ranges of it, linked by index
//! in one vector, so a warm turn allocates nothing. Pieces that lie side by side are sent from the
//! arena as they are; others are copied together in a second arena.
//!
//! What a crowd hears may be late: so many sends would hold up everyone else. Connections that get
//! nothing but that wait in a line of their own, and each turn some of them leave with all that they
//! have by then. Whoever gets something else too leaves with it, in order.
//!
//! Memory is bounded by sending earlier than at the turn's end: [`Egress::is_full`] asks for all of
//! it to be sent, so that one connection's output is bounded too, and [`Egress::gathered_is_full`]
//! for what was copied together so far.

use std::collections::VecDeque;

use warren_core::message::{Message, MessageBuilder, Value};
use warren_core::reason::Reason;
use warren_core::turn::Span;

use crate::connection::{Connection, EGRESS_NONE};
use crate::gateway::{FrameScratch, GatewaySettings, Protocol, encode, encode_frame};

const NONE: u32 = u32::MAX;
/// Bytes of encoded messages beyond which they are sent before more are encoded. A connection's
/// output is at most this, and what one output of the shard adds.
pub(crate) const MESSAGES_BYTES_MAX: usize = 4 << 20;
/// The same for pieces: 12 bytes each.
const PIECES_MAX: usize = 1 << 18;
/// Bytes copied together beyond which they are sent before more are copied.
pub(crate) const GATHERED_BYTES_MAX: usize = 4 << 20;
/// An arena that a burst has made larger than this is given back after the turn.
const ARENA_BYTES_KEPT_MAX: usize = 8 << 20;
const _: () = assert!(ARENA_BYTES_KEPT_MAX >= MESSAGES_BYTES_MAX);
const _: () = assert!(ARENA_BYTES_KEPT_MAX >= GATHERED_BYTES_MAX);

/// Packed bytes of messages that are one run, but for the last. A connection's send queue may grow
/// beyond its limit by a run that has begun to leave.
pub(crate) const RUN_BYTES_MAX: usize = 64 << 10;

/// A piece of a connection's output: one whole message, or a run of them.
#[derive(Clone, Copy, Debug)]
struct Piece {
    bytes: Span,
    next: u32,
}

/// What becomes of a message when its connection takes them too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It is sent, or the connection is closed.
    Reliable,
    /// It is sent, though perhaps not in this turn, or the connection is closed.
    Late,
    /// It is left out while half of the send queue is full: the next one says as much.
    Droppable,
}

/// A connection that gets something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipient {
    /// Its slot.
    pub(crate) index: u32,
    first: u32,
    last: u32,
    /// The piece with which its last words begin, if it has heard them.
    last_words: u32,
    /// It stands in the line of those that may be late.
    is_late: bool,
    /// What was encrypted for it and not sent yet, in the second arena. Its messages are taken one
    /// after the other, and `first` is the next.
    pub(crate) sealed: Option<Span>,
}

/// One message or run that a recipient gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) is_last_words: bool,
    pub(crate) is_frame: bool,
}

/// The arena in which the bytes of a send stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Arena {
    /// Where messages are encoded.
    Messages = 0,
    /// Where pieces are copied together.
    Gathered = 1,
}

/// Where one message or run stands in each protocol in which somebody gets it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Encodings([Option<Span>; Protocol::ALL.len()]);

/// The output of a turn.
#[derive(Debug, Default)]
pub(crate) struct Egress {
    messages: Vec<u8>,
    gathered: Vec<u8>,
    pieces: Vec<Piece>,
    recipients: Vec<Recipient>,
    /// Entries of recipients that leave with the next send.
    prompt: Vec<u32>,
    /// Those that may be late, longest in line first. Who is no longer late stands here still.
    late: VecDeque<u32>,
    /// Those that are being sent to.
    due: Vec<u32>,
    /// Where frames of worlds stand among the messages, in order.
    frames: Vec<Span>,
    /// Messages encoded since the start.
    pub(crate) encoded_count: u64,
    /// For protocols that translate frames.
    frame_scratch: FrameScratch,
    /// Most bytes that ever stood copied together.
    pub(crate) gathered_bytes_peak: usize,
}

impl Egress {
    /// The messages in this protocol, one after the other: encoded if they were not yet.
    pub(crate) fn encoding<'m>(
        &mut self,
        encodings: &mut Encodings,
        protocol: Protocol,
        settings: &GatewaySettings,
        messages: impl Iterator<Item = Message<'m>>,
    ) -> Span {
        let known = &mut encodings.0[protocol as usize];
        *known.get_or_insert_with(|| {
            let start = self.messages.len();
            for message in messages {
                self.encoded_count += 1;
                encode(protocol, settings, message, &mut self.messages);
            }
            Span::since(start, &self.messages)
        })
    }

    /// A world's frame in this protocol: encoded if it was not yet.
    pub(crate) fn frame_encoding(
        &mut self,
        encodings: &mut Encodings,
        protocol: Protocol,
        settings: &GatewaySettings,
        named_frame: (&str, &[u8]),
    ) -> Span {
        let known = &mut encodings.0[protocol as usize];
        *known.get_or_insert_with(|| {
            let start = self.messages.len();
            self.encoded_count += 1;
            let scratch = &mut self.frame_scratch;
            encode_frame(protocol, settings, named_frame, scratch, &mut self.messages);
            let frame = Span::since(start, &self.messages);
            self.frames.push(frame);
            frame
        })
    }

    /// Whether a piece is a frame of a world, which is left out where it does not fit.
    fn is_frame(&self, piece: Span) -> bool {
        self.frames.binary_search_by_key(&piece.start, |frame| frame.start).is_ok()
    }

    /// Adds bytes that are no message of a protocol.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Span {
        let start = self.messages.len();
        self.messages.extend_from_slice(bytes);
        Span::since(start, &self.messages)
    }

    /// Gives the connection these bytes, after what it gets already.
    pub(crate) fn push(&mut self, index: u32, connection: &mut Connection, bytes: Span) {
        if self.append(index, connection, bytes) {
            self.prompt.push(connection.egress_entry);
        } else {
            self.hurry(connection);
        }
    }

    /// The same with the last that it is told: they fit its queue however full that is, and nothing
    /// but more of them follows.
    pub(crate) fn push_last_words(&mut self, index: u32, connection: &mut Connection, bytes: Span) {
        let piece = self.pieces.len() as u32;
        self.push(index, connection, bytes);
        let recipient = &mut self.recipients[connection.egress_entry as usize];
        if recipient.last_words == NONE {
            recipient.last_words = piece;
        }
    }

    /// The same, and if it gets nothing else it may be late.
    pub(crate) fn push_late(&mut self, index: u32, connection: &mut Connection, bytes: Span) {
        if self.append(index, connection, bytes) {
            let entry = connection.egress_entry;
            self.recipients[entry as usize].is_late = true;
            self.late.push_back(entry);
        }
    }

    /// What the connection gets, if anything, is not late.
    pub(crate) fn hurry(&mut self, connection: &Connection) {
        let entry = connection.egress_entry;
        let recipient = self.recipients.get_mut(entry as usize).filter(|known| known.is_late);
        if let Some(recipient) = recipient {
            recipient.is_late = false;
            self.prompt.push(entry);
        }
    }

    /// Returns whether it got nothing before.
    fn append(&mut self, index: u32, connection: &mut Connection, bytes: Span) -> bool {
        let piece = self.pieces.len() as u32;
        self.pieces.push(Piece { bytes, next: NONE });
        if connection.egress_entry == EGRESS_NONE {
            connection.egress_entry = self.recipients.len() as u32;
            let (first, last) = (piece, piece);
            self.recipients.push(Recipient {
                index,
                first,
                last,
                last_words: NONE,
                is_late: false,
                sealed: None,
            });
            return true;
        }
        let recipient = &mut self.recipients[connection.egress_entry as usize];
        self.pieces[recipient.last as usize].next = piece;
        recipient.last = piece;
        false
    }

    /// Whether somebody waits in the line of those that may be late.
    pub(crate) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Begins to send to all that are not late, and to so many that are.
    pub(crate) fn begin_sending(&mut self, mut late_max: usize) {
        assert!(self.due.is_empty(), "one sending at a time");
        std::mem::swap(&mut self.due, &mut self.prompt);
        while late_max > 0
            && let Some(entry) = self.late.pop_front()
        {
            let recipient = &mut self.recipients[entry as usize];
            if std::mem::take(&mut recipient.is_late) {
                self.due.push(entry);
                late_max -= 1;
            }
        }
    }

    /// Number of connections that are being sent to.
    pub(crate) fn due_count(&self) -> usize {
        self.due.len()
    }

    /// The entry of one of them.
    pub(crate) fn due(&self, at: usize) -> usize {
        self.due[at] as usize
    }

    /// All that was due has been sent. Entries of those connections are the caller's to reset. When
    /// nobody is late the output is empty, and keeps its memory unless a burst has made it large.
    pub(crate) fn end_sending(&mut self) {
        self.due.clear();
        if self.prompt.is_empty() && self.late.is_empty() {
            self.clear();
        }
    }

    /// Whether what there is should be sent before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.messages.len() > MESSAGES_BYTES_MAX || self.pieces.len() > PIECES_MAX
    }

    /// Whether what was copied together should be sent before more is.
    pub(crate) fn gathered_is_full(&self) -> bool {
        self.gathered.len() > GATHERED_BYTES_MAX
    }

    /// One of them.
    pub(crate) fn recipient(&self, entry: usize) -> Recipient {
        self.recipients[entry]
    }

    /// The messages and runs that a recipient gets, in order.
    pub(crate) fn messages_of(&self, recipient: Recipient) -> impl Iterator<Item = Told<'_>> {
        let mut next = recipient.first;
        let mut is_last_words = false;
        std::iter::from_fn(move || {
            let piece = self.pieces.get(next as usize)?;
            is_last_words |= next == recipient.last_words;
            next = piece.next;
            let bytes = piece.bytes.of(&self.messages);
            Some(Told { bytes, is_last_words, is_frame: self.is_frame(piece.bytes) })
        })
    }

    /// Puts all that a recipient gets side by side, and says where.
    pub(crate) fn gather(&mut self, recipient: Recipient) -> (Arena, Span) {
        let mut whole = self.pieces[recipient.first as usize].bytes;
        let mut next = self.pieces[recipient.first as usize].next;
        while next != NONE {
            let piece = self.pieces[next as usize];
            if piece.bytes.start != whole.start + whole.length {
                return (Arena::Gathered, self.copy_together(recipient));
            }
            whole.length += piece.bytes.length;
            next = piece.next;
        }
        (Arena::Messages, whole)
    }

    /// Appends a recipient's messages to `out` and takes them from it: as many as there is room
    /// for, but at least one if there `must` be; otherwise frames for which there is none are left out.
    /// Returns whether it has no more, and how many frames were left out.
    pub(crate) fn take_messages(
        &mut self,
        entry: usize,
        room: usize,
        must: bool,
        out: &mut Vec<u8>,
    ) -> (bool, u64) {
        let start = out.len();
        let mut dropped = 0;
        while self.recipients[entry].first != NONE {
            let Piece { bytes, next } = self.pieces[self.recipients[entry].first as usize];
            let taken = out.len() - start;
            if taken + bytes.length as usize <= room || (taken == 0 && must) {
                out.extend_from_slice(bytes.of(&self.messages));
            } else if !must && self.is_frame(bytes) {
                dropped += 1;
            } else {
                return (false, dropped);
            }
            self.recipients[entry].first = next;
        }
        (true, dropped)
    }

    /// A recipient gets no more messages but its last words, which are appended to `out`.
    pub(crate) fn take_last_words(&mut self, entry: usize, out: &mut Vec<u8>) {
        let recipient = self.recipients[entry];
        for told in self.messages_of(recipient).filter(|told| told.is_last_words) {
            out.extend_from_slice(told.bytes);
        }
        self.drop_messages(entry);
    }

    /// A recipient gets no more messages.
    pub(crate) fn drop_messages(&mut self, entry: usize) {
        self.recipients[entry].first = NONE;
    }

    /// Whether a recipient has messages that were not taken.
    pub(crate) fn has_messages(&self, entry: usize) -> bool {
        self.recipients[entry].first != NONE
    }

    /// Appends what is encrypted for a recipient to the second arena, and says where it stands.
    pub(crate) fn seal(&mut self, entry: usize, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.gathered.len();
        write(&mut self.gathered);
        self.gathered_bytes_peak = self.gathered_bytes_peak.max(self.gathered.len());
        let sealed = Span::since(start, &self.gathered);
        self.recipients[entry].sealed = Some(sealed);
        sealed
    }

    fn copy_together(&mut self, recipient: Recipient) -> Span {
        let start = self.gathered.len();
        let mut next = recipient.first;
        while next != NONE {
            let piece = self.pieces[next as usize];
            self.gathered.extend_from_slice(piece.bytes.of(&self.messages));
            next = piece.next;
        }
        self.gathered_bytes_peak = self.gathered_bytes_peak.max(self.gathered.len());
        Span::since(start, &self.gathered)
    }

    /// The arenas, by the number of [`Arena`].
    pub(crate) fn arenas(&self) -> [&[u8]; 2] {
        [&self.messages, &self.gathered]
    }

    /// What was copied together has been sent. The messages stay for those who get them later.
    pub(crate) fn clear_gathered(&mut self) {
        self.gathered.clear();
    }

    fn clear(&mut self) {
        for arena in [&mut self.messages, &mut self.gathered] {
            arena.clear();
            if arena.capacity() > ARENA_BYTES_KEPT_MAX {
                *arena = Vec::new();
            }
        }
        self.frames.clear();
        self.pieces.clear();
        self.pieces.shrink_to(2 * PIECES_MAX);
        self.recipients.clear();
    }
}

/// Writes the packed message by which a client hears why something was refused or closed.
pub(crate) fn write_notice(
    out: &mut Vec<u8>,
    method: &str,
    reason: Reason,
    limit: Option<&'static str>,
) {
    out.clear();
    let mut notice = MessageBuilder::new(out, method);
    notice.field("status", Value::Integer(i64::from(reason.status())));
    notice.field("error", Value::Text(reason.word()));
    if let Some(limit) = limit {
        notice.field("limit", Value::Text(limit));
    }
}

/// Whether a client is told by a message before its connection is closed for this reason. One whose
/// upgrade is refused is told in HTTP.
pub(crate) fn is_told(reason: Reason) -> bool {
    let of_upgrades = [Reason::UpgradeInvalid, Reason::HeaderTooLarge, Reason::OriginRefused];
    let untold = [Reason::Quit, Reason::PeerClosed, Reason::SocketError];
    !untold.contains(&reason) && !of_upgrades.contains(&reason)
}

#[cfg(test)]
mod tests;
