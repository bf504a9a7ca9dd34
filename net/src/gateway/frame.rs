//! Frames of worlds for protocols without a binary form: a message with flat fields, as
//! `docs/protocol.md` describes it under "Worlds".

use std::fmt::Write;

use warren_core::message::{Message, MessageBuilder, Value};
use warren_core::world::frame::{Frame, Section, Update};

/// What is kept from frame to frame for its memory.
#[derive(Debug, Default)]
pub struct FrameScratch {
    text: String,
    /// Where the text of each section ends.
    ends: Vec<usize>,
    message: Vec<u8>,
}

impl FrameScratch {
    /// The frame as a message.
    pub(super) fn translate(&mut self, world: &str, frame: &[u8]) -> Message<'_> {
        let frame = Frame::from_checked(frame);
        let dims = usize::from(frame.header.dims);
        let Self { text, ends, message } = self;
        text.clear();
        ends.clear();
        message.clear();
        write_cell(text, &frame.header.centre[..dims]);
        ends.push(text.len());
        for section in frame.sections() {
            write_section(text, &section, dims);
            ends.push(text.len());
        }
        let mut builder = MessageBuilder::new(message, "frame");
        builder.field("room", Value::Text(world));
        builder.field("tick", Value::Integer(i64::from(frame.header.tick)));
        builder.field("cell", Value::Text(&text[..ends[0]]));
        if frame.header.is_whole {
            builder.field("whole", Value::Boolean(true));
        }
        builder.list("cells", ends.windows(2).map(|ends| &text[ends[0]..ends[1]]));
        Message::from_checked(message)
    }
}

/// Writing to a string does not fail.
macro_rules! put {
    ($($argument:tt)*) => {
        write!($($argument)*).expect("a string takes all text")
    };
}

fn write_cell(text: &mut String, cell: &[i16]) {
    for (axis, number) in cell.iter().enumerate() {
        let colon = if axis > 0 { ":" } else { "" };
        put!(text, "{colon}{number}");
    }
}

fn write_section(text: &mut String, section: &Section<'_>, dims: usize) {
    if section.is_key {
        text.push('*');
    }
    write_cell(text, &section.cell[..dims]);
    for update in section.updates() {
        put!(text, " {}", update.entity);
        write_state(text, &update, dims);
    }
    for leave in section.leaves() {
        put!(text, " -{}", leave.entity);
        if let Some((cell, update)) = leave.now {
            text.push(':');
            write_cell(text, &cell[..dims]);
            write_state(text, &update, dims);
        }
    }
}

fn write_state(text: &mut String, update: &Update, dims: usize) {
    for number in update.position[..dims].iter().chain(&update.velocity[..dims]) {
        put!(text, ":{number}");
    }
    put!(text, ":{}", update.heading);
}
