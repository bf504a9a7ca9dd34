use warren_core::world::frame::FrameHeader;

use super::*;

const HEADER: FrameHeader =
    FrameHeader { world: 7, tick: 3, cell: 64.0, dims: 2, is_whole: true, centre: [0; 3] };

/// A whole frame: a key of so many entities, and a cell with one entity and one that is gone.
fn frame(entities: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    HEADER.write(&mut frame);
    frame.extend_from_slice(&[0, 0, 0, 0, 1]);
    frame.extend_from_slice(&entities.to_le_bytes());
    frame.extend_from_slice(&[0; 2]);
    for entity in 0..entities {
        frame.extend_from_slice(&entity.to_le_bytes());
        frame.extend_from_slice(&[0x55; 7]);
    }
    frame.extend_from_slice(&[1, 0, 0, 0, 0, 1, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&[8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Frame::parse(&frame).expect("it is one");
    frame
}

/// The messages of a frame, each as its sections; the first is whole, and all but the last have more.
fn told(frame: &[u8], text_bytes_max: usize) -> Vec<Vec<String>> {
    let (mut messages, mut marks) = (Vec::new(), Vec::new());
    FrameScratch::default().translate_within(text_bytes_max, ("w", frame), |message| {
        let message = Message::parse(message.as_bytes()).expect("a message as long as one may be");
        assert_eq!((message.text("room"), message.text("cell")), (Ok("w"), Ok("0:0")));
        assert_eq!(message.get("tick"), Some(Value::Integer(3)));
        let Some(Value::List(cells)) = message.get("cells") else { panic!("{message:?}") };
        let is = |name| message.get(name) == Some(Value::Boolean(true));
        marks.push((is("whole"), is("more")));
        messages.push(cells.iter().map(str::to_owned).collect());
    });
    let last = messages.len() - 1;
    let expected: Vec<_> = (0..messages.len()).map(|at| (at == 0, at < last)).collect();
    assert_eq!(marks, expected);
    messages
}

#[test]
fn a_frame_that_is_too_long_for_one_message_is_told_in_several() {
    let (one, several) = (told(&frame(4), TEXT_BYTES_MAX), told(&frame(4), 60));
    assert_eq!((one.len(), several.len()), (1, 3));
    // The first alone has the key, and each goes on where the last one ended.
    let mut joined: Vec<String> = Vec::new();
    for (at, cells) in several.into_iter().enumerate() {
        assert_eq!(cells[0].starts_with('*'), at == 0);
        for cell in cells {
            let (head, parts) = cell.split_once(' ').expect("no section says nothing");
            match joined.last_mut().filter(|last| last.trim_start_matches('*').starts_with(head)) {
                Some(last) => *last += &format!(" {parts}"),
                None => joined.push(cell),
            }
        }
    }
    assert_eq!(joined, one[0]);
}

#[test]
fn the_largest_frame_fits_its_messages() {
    let messages = told(&frame(u16::MAX), TEXT_BYTES_MAX);
    assert!(messages.len() > 1);
    let parts = messages.iter().flatten().map(|cell| cell.matches(' ').count());
    assert_eq!(parts.sum::<usize>(), usize::from(u16::MAX) + 2);
}
