//! What is measured. A path is prepared and warmed up first, so that what is counted is what a server
//! does again and again.

use crate::callgrind::end_of_path;

mod gateways;
mod reactor;
mod shard;
mod tasks;
mod worlds;

/// Something that a server does for an event.
pub(crate) struct Path {
    /// `part/what`.
    pub(crate) name: &'static str,
    /// Events that are counted.
    pub(crate) events: u32,
    /// Does them, and what has to be done before; calls `measured` for what counts.
    run: fn(&Path),
}

impl Path {
    const fn new(name: &'static str, events: u32, run: fn(&Self)) -> Self {
        Self { name, events, run }
    }
}

/// Every path.
pub(crate) const PATHS: &[Path] = &[
    // One request to say something in a room, from the bytes of a client to a packed message.
    Path::new("decode/connserver-a", gateways::EVENTS, gateways::decode),
    Path::new("decode/connserver-b", gateways::EVENTS, gateways::decode),
    Path::new("decode/connserver-c", gateways::EVENTS, gateways::decode),
    Path::new("decode/json", gateways::EVENTS, gateways::decode),
    Path::new("decode/xml", gateways::EVENTS, gateways::decode),
    Path::new("decode/binary", gateways::EVENTS, gateways::decode),
    Path::new("decode/websocket-json", gateways::EVENTS, gateways::decode),
    Path::new("decode/websocket-binary", gateways::EVENTS, gateways::decode),
    // A move in the fixed layout.
    Path::new("decode/binary-move", gateways::EVENTS, gateways::decode_move),
    // What a room's member hears of it, from the packed message to bytes.
    Path::new("encode/connserver-a", gateways::EVENTS, gateways::encode),
    Path::new("encode/connserver-b", gateways::EVENTS, gateways::encode),
    Path::new("encode/connserver-c", gateways::EVENTS, gateways::encode),
    Path::new("encode/json", gateways::EVENTS, gateways::encode),
    Path::new("encode/xml", gateways::EVENTS, gateways::encode),
    Path::new("encode/binary", gateways::EVENTS, gateways::encode),
    Path::new("encode/websocket-json", gateways::EVENTS, gateways::encode),
    Path::new("encode/websocket-binary", gateways::EVENTS, gateways::encode),
    // One turn of a shard in which nothing comes, and one in which one member of a room says
    // something: authorised, numbered, kept, and told to each member. All of it is in core.
    Path::new("shard/nothing", 1000, shard::nothing),
    Path::new("shard/chat-to-8", 500, |path| shard::chat(path, 8)),
    Path::new("shard/chat-to-1000", 20, |path| shard::chat(path, 1000)),
    // One turn in which each of 64 rooms hears something: what a turn has to do once shows less.
    Path::new("shard/chat-to-8-in-64-rooms", 64 * 20, shard::chat_in_rooms),
    // A task from its request to its answer, with one effect: two turns.
    Path::new("shard/task", 200, tasks::from_request_to_answer),
    // A tick of a world at its home, with 50 entities in one cell and with 1,000 over a hundred cells, all
    // of which have moved; what the shard of all members makes of it; and a tick at which nobody has moved.
    Path::new("world/tick-50-in-a-cell", 100, |path| worlds::crowd(path, worlds::Part::Tick)),
    Path::new("world/tick-1000-spread", 20, |path| worlds::spread(path, worlds::Part::Tick)),
    Path::new("world/tick-idle", 100, worlds::idle),
    Path::new("world/frames-50-in-a-cell", 100, |path| worlds::crowd(path, worlds::Part::Frames)),
    Path::new("world/frames-1000-spread", 20, |path| worlds::spread(path, worlds::Part::Frames)),
    // The reactor sends what the shard has put out, to sockets, with io_uring: encoded once, put
    // together for each connection, submitted. The kernel's part is not counted.
    Path::new("reactor/nothing", 1000, reactor::nothing),
    Path::new("reactor/chat-to-8", 200, |path| reactor::chat(path, 1)),
    Path::new("reactor/chat-to-8-in-8-rooms", 8 * 100, |path| reactor::chat(path, 8)),
];

/// Does the work of the named paths, in their order.
pub(crate) fn measure(names: &[String]) {
    for name in names {
        let path = PATHS.iter().find(|path| path.name == name).expect("a path of this name");
        (path.run)(path);
        end_of_path(path.name);
    }
}

/// What is said: 64 bytes, as in the harness's profile `chat`.
const TEXT: &str = "It is 64 bytes long, as what users of the load harness say is...";
const _: () = assert!(TEXT.len() == 64);
