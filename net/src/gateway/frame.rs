//! Frames of worlds for protocols without a binary form: a message with flat fields, as
//! `docs/protocol.md` describes it under "Worlds". A frame that would be too long for one message is
//! told in several, of which all but the last say that there is `more`: its sections stand for
//! themselves, and the rest of one is no key.

use std::fmt::Write;

use warren_core::message::{MESSAGE_BYTES_MAX, Message, MessageBuilder, Value};
use warren_core::world::frame::{Frame, FrameHeader, Leave, Section, Update};

/// Text of a message's sections beyond which what follows stands in another.
const TEXT_BYTES_MAX: usize = 256 << 10;
// In packed form a section has a length before its text, which is shorter than any text twice.
const _: () = assert!(3 * TEXT_BYTES_MAX < MESSAGE_BYTES_MAX);

/// Writing to a string does not fail.
macro_rules! put {
    ($($argument:tt)*) => {
        write!($($argument)*).expect("a string takes all text")
    };
}

/// What is kept from frame to frame for its memory.
#[derive(Debug, Default)]
pub struct FrameScratch {
    text: String,
    /// Where the text of each section ends.
    ends: Vec<usize>,
    message: Vec<u8>,
}

impl FrameScratch {
    /// Tells the frame in messages: in one, unless it is very long.
    pub(super) fn translate(&mut self, world: &str, frame: &[u8], tell: impl FnMut(Message<'_>)) {
        self.translate_within(TEXT_BYTES_MAX, (world, frame), tell);
    }

    /// The same with messages of about so much text.
    fn translate_within(
        &mut self,
        text_bytes_max: usize,
        (world, frame): (&str, &[u8]),
        mut tell: impl FnMut(Message<'_>),
    ) {
        let frame = Frame::from_checked(frame);
        let mut header = frame.header;
        let dims = usize::from(header.dims);
        self.begin(&header);
        for section in frame.sections() {
            if self.text.len() > text_bytes_max {
                tell(self.message(world, &header, true));
                header.is_whole = false;
                self.begin(&header);
            }
            write_head(&mut self.text, &section, dims, section.is_key);
            let updates = section.updates().map(Told::Here);
            for (at, told) in updates.chain(section.leaves().map(Told::Gone)).enumerate() {
                if at > 0 && self.text.len() > text_bytes_max {
                    self.ends.push(self.text.len());
                    tell(self.message(world, &header, true));
                    header.is_whole = false;
                    self.begin(&header);
                    write_head(&mut self.text, &section, dims, false);
                }
                told.write(&mut self.text, dims);
            }
            self.ends.push(self.text.len());
        }
        tell(self.message(world, &header, false));
    }

    /// Begins a message.
    fn begin(&mut self, header: &FrameHeader) {
        self.text.clear();
        self.ends.clear();
        write_cell(&mut self.text, &header.centre[..usize::from(header.dims)]);
        self.ends.push(self.text.len());
    }

    /// The message with the sections that were written, and whether more of the frame comes behind.
    fn message(&mut self, world: &str, header: &FrameHeader, has_more: bool) -> Message<'_> {
        let Self { text, ends, message } = self;
        message.clear();
        let mut builder = MessageBuilder::new(message, "frame");
        builder.field("room", Value::Text(world));
        builder.field("tick", Value::Integer(i64::from(header.tick)));
        builder.field("cell", Value::Text(&text[..ends[0]]));
        if header.is_whole {
            builder.field("whole", Value::Boolean(true));
        }
        if has_more {
            builder.field("more", Value::Boolean(true));
        }
        builder.list("cells", ends.windows(2).map(|ends| &text[ends[0]..ends[1]]));
        Message::from_checked(message)
    }
}

/// A part of a section.
enum Told {
    Here(Update),
    Gone(Leave),
}

impl Told {
    fn write(&self, text: &mut String, dims: usize) {
        match self {
            Self::Here(update) => {
                put!(text, " {}", update.entity);
                write_state(text, update, dims);
            }
            Self::Gone(leave) => {
                put!(text, " -{}", leave.entity);
                if let Some((cell, update)) = &leave.now {
                    text.push(':');
                    write_cell(text, &cell[..dims]);
                    write_state(text, update, dims);
                }
            }
        }
    }
}

fn write_cell(text: &mut String, cell: &[i16]) {
    for (axis, number) in cell.iter().enumerate() {
        let colon = if axis > 0 { ":" } else { "" };
        put!(text, "{colon}{number}");
    }
}

fn write_head(text: &mut String, section: &Section<'_>, dims: usize, is_key: bool) {
    if is_key {
        text.push('*');
    }
    write_cell(text, &section.cell[..dims]);
}

fn write_state(text: &mut String, update: &Update, dims: usize) {
    for number in update.position[..dims].iter().chain(&update.velocity[..dims]) {
        put!(text, ":{number}");
    }
    put!(text, ":{}", update.heading);
}

#[cfg(test)]
mod tests;
