use warren_core::message::{Value, packed};

use super::floor::{ClientFrame, NotAFrame, decode_client};
use super::*;

const PLACE: Place<'static> = Place { room: "r000001", from: "u000009" };
const TEXT: &str = "0123456789abcdef0123456789abcdef0123456789abcdefgggggggggggggggg";

fn binary(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_le_bytes(), &[kind][..], payload].concat()
}

fn binary_message(method: &str, fields: &[(&str, Value<'_>)]) -> Vec<u8> {
    binary(1, &packed(method, fields))
}

fn binary_heard() -> Vec<u8> {
    let payload = [&17u64.to_le_bytes(), &b"\x07r000001\x07u000009"[..], TEXT.as_bytes()].concat();
    binary(3, &payload)
}

fn text(template: &str) -> Vec<u8> {
    template.replace("TEXT", TEXT).into_bytes()
}

/// Each frame is found whole, and not before its last byte.
fn check(wire: Wire, bytes: &[u8], expected: Frame<'_>) {
    for length in 0..bytes.len() {
        assert_eq!(wire.decode(&bytes[..length]), Decoded::Incomplete, "{length} of {bytes:?}");
    }
    let followed = [bytes, b"x"].concat();
    let decoded = wire.decode(&followed);
    assert_eq!(decoded, Decoded::Frame { consumed: bytes.len(), frame: expected });
}

fn reply(request: Request, status: u16, reason: &str) -> Frame<'_> {
    Frame::Reply { request, status, reason }
}

fn numbered(sequence: u64) -> Frame<'static> {
    Frame::Numbered { sequence, room: Some(PLACE.room) }
}

#[test]
fn what_binary_servers_send_is_understood() {
    let wire = Wire::Server(Protocol::Binary);
    let heard = Frame::Heard { sequence: 17, place: Some(PLACE), text: TEXT };
    check(wire, &binary_heard(), heard);
    let (room, from) = (Value::Text("r000001"), Value::Text("u000009"));
    let said = Value::Text(TEXT);
    let fields = [("room", room), ("from", from), ("text", said), ("seq", Value::Integer(17))];
    check(wire, &binary_message("chat", &fields), heard);
    let (zero, busy) = (("status", Value::Integer(0)), ("status", Value::Integer(503)));
    let error = ("error", Value::Text("busy"));
    check(wire, &binary_message("login", &[zero]), reply(Request::Login, 0, ""));
    check(wire, &binary_message("join", &[busy, error]), reply(Request::Join, 503, "busy"));
    check(
        wire,
        &binary_message("chat", &[zero, ("seq", Value::Integer(17))]),
        reply(Request::Say, 0, ""),
    );
    check(wire, &binary_message("ping", &[zero]), reply(Request::Ping, 0, ""));
    check(wire, &binary_message("joined", &[("user", from)]), Frame::Presence);
    let seq = ("seq", Value::Integer(18));
    let count = ("count", Value::Integer(5_000));
    check(wire, &binary_message("members", &[("room", room), count, seq]), numbered(18));
    check(wire, &binary_message("left", &[("room", room), ("user", from), seq]), numbered(18));
    let unplaced = Frame::Numbered { sequence: 18, room: None };
    check(wire, &binary_message("deleted", &[seq]), unplaced);
    check(wire, &binary_message("notice", &[]), Frame::Other);
}

#[test]
fn what_connserver_servers_send_is_understood() {
    let wire = Wire::Server(Protocol::Connserver);
    let heard = Frame::Heard { sequence: 17, place: Some(PLACE), text: TEXT };
    let chat = "from:u000009\nmsg:chat\nroom:r000001\nseq:17\ntext:TEXT\n\0";
    check(wire, &text(chat), heard);
    let echo = "msg:chat\nseq:17\nstatus:0\ntext:TEXT\nto:r000001\n\0";
    check(wire, &text(echo), reply(Request::Say, 0, ""));
    for (bytes, frame) in [
        ("msg:login\nstatus:0\nuser:u000009\n\0", reply(Request::Login, 0, "")),
        ("error:busy\nmsg:join\nstatus:503\n\0", reply(Request::Join, 503, "busy")),
        ("msg:pong\nstatus:0\n\0", Frame::Heartbeat),
        ("msg:ping\nstatus:0\ntime_ms:5\n\0", reply(Request::Ping, 0, "")),
        ("msg:left\nroom:r000001\nuser:u1\n\0", Frame::Presence),
        ("msg:left\nroom:r000001\nseq:18\nuser:u1\n\0", numbered(18)),
        ("count:5000\nmsg:members\nroom:r000001\nseq:19\n\0", numbered(19)),
        ("msg:members\nroom:r000001\nseq:19\nstatus:0\n\0", Frame::Other),
    ] {
        check(wire, bytes.as_bytes(), frame);
    }
}

#[test]
fn what_json_servers_send_is_understood() {
    let wire = Wire::Server(Protocol::Json);
    let heard = Frame::Heard { sequence: 17, place: Some(PLACE), text: TEXT };
    let chat = r#"{"msg":"chat","room":"r000001","from":"u000009","text":"TEXT","seq":17}"#;
    check(wire, &[&text(chat)[..], b"\n"].concat(), heard);
    check(wire, &[&text(chat)[..], b"\0"].concat(), heard);
    for (bytes, frame) in [
        ("{\"msg\":\"login\",\"status\":0,\"note\":\"a\\\"b\"}\n", reply(Request::Login, 0, "")),
        (
            "{\"msg\":\"join\",\"status\":503,\"error\":\"busy\"}\n",
            reply(Request::Join, 503, "busy"),
        ),
        ("{\"msg\":\"chat\",\"status\":0,\"seq\":17}\n", reply(Request::Say, 0, "")),
        ("{\"msg\":\"pong\",\"status\":0}\n", Frame::Heartbeat),
        ("{\"msg\":\"joined\",\"user\":\"u1\"}\n", Frame::Presence),
        ("{\"msg\":\"joined\",\"room\":\"r000001\",\"seq\":18}\n", numbered(18)),
        ("{\"msg\":\"members\",\"room\":\"r000001\",\"count\":5000,\"seq\":19}\n", numbered(19)),
    ] {
        check(wire, bytes.as_bytes(), frame);
    }
}

#[test]
fn what_xml_servers_send_is_understood() {
    let wire = Wire::Server(Protocol::Xml);
    let heard = Frame::Heard { sequence: 17, place: Some(PLACE), text: TEXT };
    let chat =
        "<msg from=\"u000009\" method=\"chat\" room=\"r000001\" seq=\"17\" text=\"TEXT\"/>\0";
    check(wire, &text(chat), heard);
    for (bytes, frame) in [
        (
            "<msg method=\"login\" object=\"1.2\" status=\"0\" note=\"&quot;\"/>\0",
            reply(Request::Login, 0, ""),
        ),
        (
            "<msg error=\"busy\" method=\"join\" status=\"503\"/>\0",
            reply(Request::Join, 503, "busy"),
        ),
        ("<msg method=\"chat\" seq=\"17\" status=\"0\"/>\0", reply(Request::Say, 0, "")),
        (
            "<msg method=\"ping\" status=\"0\"><l><item>a</item></l></msg>\0",
            reply(Request::Ping, 0, ""),
        ),
        ("<msg method=\"pong\" status=\"0\"/>\0", Frame::Heartbeat),
        ("<msg method=\"joined\" user=\"u1\"/>\0", Frame::Presence),
    ] {
        check(wire, bytes.as_bytes(), frame);
    }
}

#[test]
fn what_no_server_sends_is_a_fault() {
    let huge = vec![b'a'; FRAME_BYTES_MAX + 1];
    for (protocol, bytes) in [
        (Protocol::Binary, &[0, 0, 0, 0, 1][..]),
        (Protocol::Binary, &[0xff, 0xff, 0xff, 0xff]),
        (Protocol::Binary, &[1, 0, 0, 0, 9]),
        (Protocol::Binary, &[4, 0, 0, 0, 3, 1, 2, 3]),
        (Protocol::Binary, &[2, 0, 0, 0, 1, 5]),
        (Protocol::Connserver, b"\0"),
        (Protocol::Connserver, b"msg\n\0"),
        (Protocol::Connserver, b"msg:chat\0"),
        (Protocol::Connserver, b"seq:x\nmsg:chat\n\0"),
        (Protocol::Connserver, b"status:0\n\0"),
        (Protocol::Connserver, b"msg:\xff\n\0"),
        (Protocol::Connserver, &huge),
        (Protocol::Json, b"\n"),
        (Protocol::Json, b"{\"msg\":\"chat\"\n"),
        (Protocol::Json, b"{\"status\":0}\n"),
        (Protocol::Json, &huge),
        (Protocol::Xml, b"\0"),
        (Protocol::Xml, b"<msg status=\"0\"/>\0"),
        (Protocol::Xml, b"<msg method=\"chat\"\0"),
        (Protocol::Xml, b"<msg method=\"chat\">\0"),
        (Protocol::Xml, b"<msg method=\"chat\" status=\"x\"/>\0"),
        (Protocol::Xml, b"<msg method=\"chat\"  status=\"0\"/>\0"),
        (Protocol::Xml, b"<msg method=\"chat/>\0"),
        (Protocol::Xml, b"<msg method=\"chat\"/><msg method=\"chat\"/>\0"),
        (Protocol::Xml, b"<msg method=\"\xff\"/>\0"),
        (Protocol::Xml, &huge),
    ] {
        let decoded = Wire::Server(protocol).decode(bytes);
        assert_eq!(decoded, Decoded::Fault, "{protocol:?} {:?}", &bytes[..bytes.len().min(20)]);
    }
}

#[test]
fn requests_are_the_bytes_of_the_protocols() {
    let seat = Seat { user: 9, room: 1 };
    let name = |name| Value::Text(name);
    let said = [&[0, 0, 0, 0][..], b"\x07r000001", TEXT.as_bytes()].concat();
    let preamble = b"WRN1".to_vec();
    for (protocol, login, join, say) in [
        (
            Protocol::Binary,
            [preamble, binary_message("login", &[("user", name("u000009"))])].concat(),
            binary_message("join", &[("room", name("r000001"))]),
            binary(2, &said),
        ),
        (
            Protocol::Connserver,
            text("msg:login\nuser:u000009\n\0"),
            text("msg:join\nroom:r000001\n\0"),
            text("msg:chat\ntext:TEXT\nto:r000001\n\0"),
        ),
        (
            Protocol::Json,
            text("{\"msg\":\"login\",\"user\":\"u000009\"}\n"),
            text("{\"msg\":\"join\",\"room\":\"r000001\"}\n"),
            text("{\"msg\":\"chat\",\"to\":\"r000001\",\"text\":\"TEXT\"}\n"),
        ),
        (
            Protocol::Xml,
            text("<msg method=\"login\" user=\"u000009\"/>\0"),
            text("<msg method=\"join\" room=\"r000001\"/>\0"),
            text("<msg method=\"chat\" to=\"r000001\" text=\"TEXT\"/>\0"),
        ),
    ] {
        let wire = Wire::Server(protocol);
        let encoded = |encode: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            encode(&mut out);
            out
        };
        let greeted_login = encoded(&|out| {
            wire.greet(out);
            wire.login(seat, out);
        });
        assert_eq!(greeted_login, login);
        assert_eq!(encoded(&|out| wire.join(seat, out)), join);
        assert_eq!(encoded(&|out| wire.say(seat, TEXT, out)), say);
    }
}

#[test]
fn frames_of_the_floor_are_as_long_as_the_protocols() {
    for protocol in [Protocol::Binary, Protocol::Connserver, Protocol::Json, Protocol::Xml] {
        let lengths = floor_lengths(protocol, TEXT.len());
        let mut say = Vec::new();
        Wire::Floor(lengths).say(Seat { user: 1, room: 0 }, TEXT, &mut say);
        let mut real = Vec::new();
        Wire::Server(protocol).say(Seat { user: 1, room: 0 }, TEXT, &mut real);
        assert_eq!(say.len(), real.len());
        assert_eq!(decode_client(&say), Ok(Some((ClientFrame::Say { text: TEXT }, say.len()))));
        let mut heard = Vec::new();
        floor::heard(5, TEXT, lengths.heard, &mut heard);
        assert_eq!(heard.len(), usize::from(lengths.heard));
        check(Wire::Floor(lengths), &heard, Frame::Heard { sequence: 5, place: None, text: TEXT });
        let mut answer = Vec::new();
        floor::reply(floor::KIND_SAY, lengths.reply, &mut answer);
        assert_eq!(answer.len(), usize::from(lengths.reply));
        check(Wire::Floor(lengths), &answer, reply(Request::Say, 0, ""));
        let (mut ping, mut real) = (Vec::new(), Vec::new());
        Wire::Floor(lengths).ping(&mut ping);
        Wire::Server(protocol).ping(&mut real);
        assert_eq!(ping.len(), real.len());
        let asked = ClientFrame::Ask { kind: floor::KIND_PING };
        assert_eq!(decode_client(&ping), Ok(Some((asked, ping.len()))));
        assert_eq!(Wire::Floor(lengths).client_beats(), Wire::Server(protocol).client_beats());
        if lengths.beat > 0 {
            let mut beat = Vec::new();
            floor::beat(lengths.beat, &mut beat);
            check(Wire::Floor(lengths), &beat, Frame::Heartbeat);
        }
    }
    assert_eq!(
        usize::from(floor_lengths(Protocol::Binary, TEXT.len()).heard),
        binary_heard().len()
    );
}

#[test]
fn the_floor_refuses_what_no_generator_sends() {
    for bytes in [
        &[0, 0, 0, 0][..],
        &[0xff, 0xff, 0xff, 0xff],
        &[1, 0, 0, 0, 99],
        &[2, 0, 0, 0, floor::KIND_ANNOUNCE, 1],
        &[2, 0, 0, 0, floor::KIND_SAY, 1],
        &[4, 0, 0, 0, floor::KIND_SAY, 9, 0, 1],
    ] {
        assert_eq!(decode_client(bytes), Err(NotAFrame), "{bytes:?}");
    }
    assert_eq!(decode_client(&[2, 0, 0, 0, floor::KIND_JOIN]), Ok(None));
}

#[test]
fn names_have_one_number_and_one_length() {
    for number in [0, 9, 14_999, 999_999, 1_000_000] {
        assert_eq!(name_number(&user_name(number), 'u'), Some(number));
        assert_eq!(name_number(&room_name(number), 'r'), Some(number));
    }
    for name in ["", "u", "u1", "r000001", "u0000001", "u00000x", "u+00001", "u99999999999"] {
        assert_eq!(name_number(name, 'u'), None, "{name}");
    }
}

#[test]
fn what_websocket_servers_send_is_understood() {
    use warren_net::gateway::{self, GatewaySettings};
    let heard = [
        ("room", Value::Text("r000001")),
        ("from", Value::Text("u000009")),
        ("text", Value::Text(TEXT)),
        ("seq", Value::Integer(17)),
    ];
    for (protocol, spoken) in [
        (Protocol::WebsocketJson, gateway::Protocol::WebSocketJson),
        (Protocol::WebsocketBinary, gateway::Protocol::WebSocketBinary),
    ] {
        let wire = Wire::Server(protocol);
        let written = |message: &[u8]| {
            let mut out = Vec::new();
            let message = warren_core::message::Message::from_checked(message);
            gateway::encode(spoken, &GatewaySettings::default(), message, &mut out);
            out
        };
        let expected = Frame::Heard { sequence: 17, place: Some(PLACE), text: TEXT };
        check(wire, &written(&packed("chat", &heard)), expected);
        let status = [("status", Value::Integer(0))];
        check(wire, &written(&packed("login", &status)), reply(Request::Login, 0, ""));
        check(wire, &written(&packed("pong", &status)), Frame::Heartbeat);
        check(wire, b"\x88\x02\x03\xe8", Frame::Aside);
        assert_eq!(wire.decode(b"\x01\x02{}"), Decoded::Fault, "a fragment");
        assert_eq!(wire.decode(b"HTTP/1.1 400 Bad\r\n\r\n"), Decoded::Fault);
    }
}

#[test]
fn what_is_sent_over_websocket_is_an_upgrade_and_masked_frames() {
    use warren_net::gateway::websocket::{Upgrade, UpgradeSettings, upgrade};
    use warren_net::gateway::{self, DecodeState, GatewaySettings};
    for (protocol, spoken) in [
        (Protocol::WebsocketJson, gateway::Protocol::WebSocketJson),
        (Protocol::WebsocketBinary, gateway::Protocol::WebSocketBinary),
    ] {
        let wire = Wire::Server(protocol);
        let mut sent = Vec::new();
        wire.greet(&mut sent);
        let (mut answer, settings) = (Vec::new(), UpgradeSettings::default());
        let upgraded = upgrade(&settings, None, &sent, &mut 0, &mut answer);
        assert_eq!(upgraded, Upgrade::Accepted { protocol: spoken, consumed: sent.len() });
        check(wire, &answer, Frame::Aside);
        let seat = Seat { user: 1, room: 2 };
        let mut sent = Vec::new();
        wire.login(seat, &mut sent);
        wire.join(seat, &mut sent);
        wire.say(seat, TEXT, &mut sent);
        wire.ping(&mut sent);
        let mut methods = Vec::new();
        while !sent.is_empty() {
            let (mut out, mut state) = (Vec::new(), DecodeState::default());
            let settings = GatewaySettings::default();
            let frame = gateway::decode(spoken, &settings, &mut sent, &mut state, &mut out);
            let gateway::Frame::Message { consumed } = frame else { panic!("{frame:?}") };
            methods.push(warren_core::message::Message::from_checked(&out).method().to_owned());
            sent.drain(..consumed);
        }
        assert_eq!(methods, ["login", "join", "chat", "ping"], "{protocol:?}");
    }
}

#[test]
fn what_worlds_are_played_with_is_said_as_servers_read_it() {
    let wire = Wire::Server(Protocol::Binary);
    let seat = Seat { user: 3, room: 1 };
    let motion = Motion { position: [1.5, 2.25, 0.0], velocity: [3.0, -0.5, 0.0], heading: 90.0 };
    let said = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        write(&mut bytes);
        bytes
    };
    let room = ("room", Value::Text("r000001"));
    let (kind, cell) = (("kind", Value::Text("world")), ("cell", Value::Float(64.0)));
    let create = said(&|out| wire.create(seat, 10, None, out));
    let fields = [kind, room, cell, ("tick_hz", Value::Integer(10))];
    assert_eq!(create, binary_message("create", &fields));
    let create = said(&|out| wire.create(seat, 10, Some("wander:3:1:0:0:9"), out));
    let npcs = ("npcs", Value::Text("wander:3:1:0:0:9"));
    assert_eq!(create, binary_message("create", &[&fields[..], &[npcs]].concat()));
    let enter = said(&|out| wire.enter(seat, motion, 10, out));
    let fields = [room, ("x", Value::Float(1.5)), ("y", Value::Float(2.25))];
    assert_eq!(enter, binary_message("join", &fields));
    let told = || Told { cell: [0; 2], state: 0 };
    let walk = said(&|out| wire.walk((9, 2), || motion, told, out));
    assert_eq!(walk.len(), floor::MOVE_FRAME_BYTES);
    assert_eq!(warren_core::world::motion::read_move(&walk[5..]), Ok((9, motion)));
}

#[test]
fn frames_of_worlds_are_read_as_the_server_writes_them() {
    use warren_core::world::frame::FrameHeader;
    let wire = Wire::Server(Protocol::Binary);
    let centre = [-1, 2, 0];
    let header = FrameHeader { world: 9, tick: 7, cell: 64.0, dims: 2, is_whole: true, centre };
    let mut payload = Vec::new();
    header.write(&mut payload);
    // The cell -1, 2 as a key: one update, one leave.
    payload.extend_from_slice(&[0xff, 0xff, 2, 0, 1, 1, 0, 1, 0]);
    payload.extend_from_slice(&[5, 1, 1, 2, 3, 4, 5, 6, 7]);
    payload.extend_from_slice(&[6, 1, 0xfe, 0xff, 2, 0, 8, 9, 10, 11, 12, 13, 14]);
    let checked = warren_core::world::frame::Frame::parse(&payload).unwrap();
    let frame = WorldFrame::read(&payload).unwrap();
    check(wire, &binary(5, &payload), Frame::World(frame));
    assert_eq!((frame.world, frame.tick, frame.cell_width), (9, 7, 64.0));
    assert_eq!((frame.is_whole, frame.centre), (true, [-1, 2]));
    let sections: Vec<_> = frame.sections().map(Result::unwrap).collect();
    let [section] = &sections[..] else { panic!("{sections:?}") };
    assert_eq!((section.cell, section.is_key), ([-1, 2], true));
    assert_eq!(checked.sections().next().unwrap().updates().next().unwrap().entity, 0x105);
    assert_eq!(world::read_update(&section.updates[0]), (0x105, 0x07_06_05_04_03_02_01));
    let leave = world::read_leave(&section.leaves[0]);
    assert_eq!(leave, (0x106, [-2, 2], 0x0e_0d_0c_0b_0a_09_08));
    for length in 22..payload.len() {
        let cut = WorldFrame::read(&payload[..length]).unwrap();
        assert!(cut.sections().any(|section| section.is_err()), "{length}");
    }
    payload[21 + 4] = 2;
    assert!(WorldFrame::read(&payload).unwrap().sections().any(|section| section.is_err()));
    payload[16] = 3;
    assert_eq!(wire.decode(&binary(5, &payload)), Decoded::Fault);
}

#[test]
fn who_enters_a_world_is_told_its_entity() {
    let wire = Wire::Server(Protocol::Binary);
    let (zero, entity) = (("status", Value::Integer(0)), ("entity", Value::Integer(3)));
    let world = ("world", Value::Object(warren_core::ids::ObjectId(9)));
    let entered = Frame::Entered { world: 9, entity: 3 };
    check(wire, &binary_message("join", &[zero, world, entity]), entered);
    check(wire, &binary_message("join", &[zero]), reply(Request::Join, 0, ""));
    let taken = [("status", Value::Integer(409)), ("error", Value::Text("name-taken"))];
    check(wire, &binary_message("create", &taken), reply(Request::Create, 409, "name-taken"));
}

#[test]
fn what_sessions_need_is_understood_and_asked_in_every_protocol() {
    let (session, token) = ("0001000000000007", "9b0e");
    let pass = |session, replayed| Pass { session, token, replayed };
    let logged_in = Frame::Session { request: Request::Login, pass: pass(Some(session), 0) };
    let resumed = Frame::Session { request: Request::Resume, pass: pass(None, 3) };
    let texts = [("session", Value::Text(session)), ("token", Value::Text(token))];
    let (zero, three) = (("status", Value::Integer(0)), ("replayed", Value::Integer(3)));
    let old = [("status", Value::Integer(410)), ("error", Value::Text("resume-too-old"))];
    let received = ("received", Value::Integer(5));
    let closed = Frame::Closed { reason: "busy" };
    let error = ("error", Value::Text("busy"));
    for (protocol, login, reply_to_resume, refusal, close, resume) in [
        (
            Protocol::Binary,
            binary_message("login", &[zero, texts[0], texts[1]]),
            binary_message("resume", &[zero, texts[1], three]),
            binary_message("resume", &old),
            binary_message("closed", &[("status", Value::Integer(503)), error]),
            binary_message("resume", &[texts[0], texts[1], received]),
        ),
        (
            Protocol::Connserver,
            text("msg:login\nsession:0001000000000007\nstatus:0\ntoken:9b0e\n\0"),
            text("msg:resume\nreplayed:3\nstatus:0\ntoken:9b0e\n\0"),
            text("error:resume-too-old\nmsg:resume\nstatus:410\ntoken:9b0e\n\0"),
            text("error:busy\nmsg:closed\nstatus:503\n\0"),
            text("msg:resume\nreceived:5\nsession:0001000000000007\ntoken:9b0e\n\0"),
        ),
        (
            Protocol::Json,
            text(
                "{\"msg\":\"login\",\"status\":0,\"session\":\"0001000000000007\",\"token\":\"9b0e\"}\n",
            ),
            text("{\"msg\":\"resume\",\"status\":0,\"token\":\"9b0e\",\"replayed\":3}\n"),
            text("{\"msg\":\"resume\",\"status\":410,\"error\":\"resume-too-old\"}\n"),
            text("{\"msg\":\"closed\",\"status\":503,\"error\":\"busy\"}\n"),
            text(
                "{\"msg\":\"resume\",\"session\":\"0001000000000007\",\"token\":\"9b0e\",\"received\":5}\n",
            ),
        ),
        (
            Protocol::Xml,
            text(
                "<msg method=\"login\" session=\"0001000000000007\" status=\"0\" token=\"9b0e\"/>\0",
            ),
            text("<msg method=\"resume\" replayed=\"3\" status=\"0\" token=\"9b0e\"/>\0"),
            text("<msg error=\"resume-too-old\" method=\"resume\" status=\"410\"/>\0"),
            text("<msg error=\"busy\" method=\"closed\" status=\"503\"/>\0"),
            text(
                "<msg method=\"resume\" session=\"0001000000000007\" token=\"9b0e\" received=\"5\"/>\0",
            ),
        ),
    ] {
        let wire = Wire::Server(protocol);
        check(wire, &login, logged_in);
        check(wire, &reply_to_resume, resumed);
        check(wire, &refusal, reply(Request::Resume, 410, "resume-too-old"));
        check(wire, &close, closed);
        let mut sent = Vec::new();
        wire.resume(session, token, 5, &mut sent);
        assert_eq!(sent, resume, "{protocol:?}");
    }
    let line = b"{\"msg\":\"closed\",\"status\":503,\"error\":\"busy\"}\n";
    assert_eq!(resume::closed_in_json(line), Some("busy"));
    assert_eq!(resume::closed_in_json(b"{\"msg\":\"clo"), None);
}

#[test]
fn an_id_is_said_when_there_is_one() {
    let seat = Seat { user: 9, room: 1 };
    let said = [&[7, 0, 0, 0][..], b"\x07r000001", TEXT.as_bytes()].concat();
    for (protocol, expected) in [
        (Protocol::Binary, binary(2, &said)),
        (Protocol::Connserver, text("id:7\nmsg:chat\ntext:TEXT\nto:r000001\n\0")),
        (
            Protocol::Json,
            text("{\"msg\":\"chat\",\"to\":\"r000001\",\"text\":\"TEXT\",\"id\":7}\n"),
        ),
        (Protocol::Xml, text("<msg method=\"chat\" to=\"r000001\" text=\"TEXT\" id=\"7\"/>\0")),
    ] {
        let mut sent = Vec::new();
        Wire::Server(protocol).say_with_id(seat, TEXT, 7, &mut sent);
        assert_eq!(sent, expected, "{protocol:?}");
    }
}

#[test]
fn sessions_count_what_the_protocol_says() {
    let pass = Pass { session: None, token: "a", replayed: 0 };
    for (frame, counted) in [
        (Frame::Heard { sequence: 1, place: None, text: "" }, true),
        (reply(Request::Say, 0, ""), true),
        (reply(Request::Join, 503, "busy"), true),
        (numbered(1), true),
        (Frame::Presence, true),
        (Frame::Other, true),
        (reply(Request::Login, 0, ""), false),
        (reply(Request::Resume, 0, ""), false),
        (reply(Request::Ping, 0, ""), false),
        (Frame::Session { request: Request::Resume, pass }, false),
        (Frame::Heartbeat, false),
        (Frame::Closed { reason: "" }, false),
        (Frame::Aside, false),
    ] {
        assert_eq!(frame.is_counted(), counted, "{frame:?}");
    }
}
