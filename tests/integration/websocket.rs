//! WebSocket, as tungstenite speaks it, on the port of all protocols.

use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tungstenite::ClientRequestBuilder;
use tungstenite::handshake::client::Response;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use warren_net::gateway::binary;

use crate::client::{Client, PATIENCE};
use crate::server::TestServer;

/// A client that was upgraded, and the answer to it; or the refusal.
fn connect(
    address: SocketAddr,
    subprotocol: &str,
    header: Option<(&str, &str)>,
) -> Result<(WebSocket<TcpStream>, Response), Box<Error>> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let uri = format!("ws://{address}/").parse().unwrap();
    let mut request = ClientRequestBuilder::new(uri).with_sub_protocol(subprotocol);
    if let Some((name, value)) = header {
        request = request.with_header(name, value);
    }
    tungstenite::client(request, stream).map_err(|error| match error {
        HandshakeError::Failure(error) => Box::new(error),
        HandshakeError::Interrupted(_) => panic!("the server answers in time"),
    })
}

fn json_client(address: SocketAddr) -> WebSocket<TcpStream> {
    let (client, answer) = connect(address, "warren.json", None).unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "warren.json");
    assert!(answer.headers().get("sec-websocket-extensions").is_none());
    client
}

/// The next message of that method; others are passed over.
fn heard(client: &mut WebSocket<TcpStream>, method: &str) -> Value {
    loop {
        let message = client.read().unwrap();
        let json: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        if json["msg"] == method {
            return json;
        }
    }
}

fn log_in(client: &mut WebSocket<TcpStream>, user: &str) {
    client.send(format!(r#"{{"msg":"login","user":"{user}"}}"#).into()).unwrap();
    assert_eq!(heard(client, "login")["status"], 0);
}

/// The close frame that comes after whatever comes before it, and the end.
fn close_of(client: &mut WebSocket<TcpStream>) -> Option<CloseFrame> {
    let close = loop {
        if let Message::Close(close) = client.read().unwrap() {
            break close;
        }
    };
    // Both sides have said so: the server ends the connection.
    let end = client.read().unwrap_err();
    assert!(matches!(end, Error::ConnectionClosed), "{end}");
    close
}

#[track_caller]
fn check_close(client: &mut WebSocket<TcpStream>, code: u16, word: &str) {
    let close = close_of(client).expect("a code");
    assert_eq!((u16::from(close.code), close.reason.as_str()), (code, word));
}

#[test]
fn websocket_users_and_one_at_a_terminal_meet_in_one_room() {
    let server = TestServer::start(2);
    let mut terminal = Client::log_in(server.listen, "terminal");
    terminal.join("r");
    let mut page = json_client(server.listen);
    log_in(&mut page, "page");
    page.send(r#"{"msg":"join","room":"r"}"#.into()).unwrap();
    assert_eq!(heard(&mut page, "join")["status"], 0);
    let (mut game, _) = connect(server.listen, "warren.binary", None).unwrap();
    for (method, name, value) in [("login", "user", "game"), ("join", "room", "r")] {
        let fields = [(name, warren_core::message::Value::Text(value))];
        let packed = warren_core::message::packed(method, &fields);
        game.send(Message::binary([&[1], packed.as_slice()].concat())).unwrap();
    }
    // A short frame: kind 2, no id, to whom, text.
    game.send(Message::binary(b"\x02\0\0\0\0\x01rmoved".as_slice())).unwrap();
    assert_eq!(terminal.heard("chat")["text"], "moved");
    assert_eq!(heard(&mut page, "chat")["from"], "game");
    terminal.send("{\"msg\":\"chat\",\"to\":\"r\",\"text\":\"grüße\"}\n");
    assert_eq!(heard(&mut page, "chat")["text"], "grüße");
    loop {
        let frame = game.read().unwrap().into_data();
        if let binary::ServerFrame::Heard { from: "terminal", text, room, .. } =
            binary::read_server_frame(&frame)
        {
            assert_eq!((text, room), ("grüße", "r"));
            break;
        }
    }
    server.metric_becomes("warren_connections", "protocol=\"websocket-json\"", 1);
    server.metric_becomes("warren_connections", "protocol=\"websocket-binary\"", 1);

    // Each end has its code: the client's own, that of `quit`, that of the drain.
    game.close(Some(CloseFrame { code: 4321.into(), reason: "enough".into() })).unwrap();
    assert_eq!(close_of(&mut game).map(|close| close.code.into()), Some(4321));
    let mut short = json_client(server.listen);
    log_in(&mut short, "short");
    short.send(r#"{"msg":"quit"}"#.into()).unwrap();
    check_close(&mut short, 1000, "quit");
    server.signal(15);
    assert_eq!(heard(&mut page, "closed")["error"], "draining");
    check_close(&mut page, 4503, "draining");
    assert!(server.wait().success());
}

#[test]
fn pages_of_elsewhere_are_refused() {
    let listed = "[websocket]\norigins = [\"https://warren.example\"]\n";
    for (config, welcome, refused) in [
        ("", "http://localhost:7172", ["https://warren.example", "null"]),
        (listed, "https://warren.example", ["http://localhost:7172", "https://warren.example:1"]),
    ] {
        let server = TestServer::start_with(1, config);
        let header = Some(("Origin", welcome));
        let (mut client, _) = connect(server.listen, "warren.json", header).unwrap();
        log_in(&mut client, "page");
        for count in 0..20 {
            let header = Some(("Origin", refused[count % 2]));
            let error = *connect(server.listen, "warren.json", header).unwrap_err();
            let Error::Http(answer) = error else { panic!("{error}") };
            assert_eq!(answer.status(), 403);
        }
        server.metric_becomes("warren_closes_total", "reason=\"origin-refused\"", 20);
        server.stop();
    }
}

#[test]
fn compression_is_never_agreed_upon() {
    let server = TestServer::start(1);
    let offer =
        Some(("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover"));
    let (mut client, answer) = connect(server.listen, "warren.json", offer).unwrap();
    assert!(answer.headers().get("sec-websocket-extensions").is_none());
    // One who compresses nevertheless is refused by the bit that says so, whatever it would become.
    let mut frame = Frame::message(vec![0; 100], OpCode::Data(Data::Text), true);
    frame.header_mut().rsv1 = true;
    client.send(Message::Frame(frame)).unwrap();
    check_close(&mut client, 4400, "websocket-invalid");
    server.stop();
}

#[test]
fn bombs_of_headers_and_fragments_are_refused_beside_a_user() {
    let server = TestServer::start(1);
    let mut user = json_client(server.listen);
    log_in(&mut user, "user");
    let start = "GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n";
    for bomb in [
        format!("{start}A: {}", "x".repeat(9000)),
        format!("{start}{}\r\n", "A: b\r\n".repeat(70)),
        format!("{start}{}", "A: b\r\n".repeat(80_000)),
    ] {
        let mut client = Client::connect(server.listen);
        client.send_until_closed(bomb.as_bytes());
        let answer = client.rest();
        assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", answer.escape_ascii());
    }
    // A message that grows too long, and one that never does.
    for (name, piece, reason) in
        [("long", &[b'x'; 8192][..], "frame-too-large"), ("empty", b"", "message-rate")]
    {
        let mut bomber = json_client(server.listen);
        log_in(&mut bomber, name);
        let fragment =
            |opcode| Message::Frame(Frame::message(piece.to_vec(), OpCode::Data(opcode), false));
        bomber.write(fragment(Data::Text)).unwrap();
        for _ in 0..100_000 {
            // Told before all of it is sent.
            if bomber.write(fragment(Data::Continue)).is_err() {
                break;
            }
        }
        let _ = bomber.flush();
        server.metric_becomes("warren_closes_total", &format!("reason=\"{reason}\""), 1);
    }
    server.metric_becomes("warren_closes_total", "reason=\"header-too-large\"", 3);
    user.send(r#"{"msg":"ping","id":7}"#.into()).unwrap();
    assert_eq!(heard(&mut user, "ping")["id"], 7);
    server.stop();
}

#[test]
fn pings_are_answered_and_fragments_are_put_together() {
    let server = TestServer::start(1);
    let mut client = json_client(server.listen);
    let said = br#"{"msg":"ping","id":"in pieces"}"#;
    let piece = |bytes: &[u8], opcode, last| {
        Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(opcode), last))
    };
    client.send(piece(&said[..5], Data::Text, false)).unwrap();
    client.send(Message::Ping(b"beat".as_slice().into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong(b"beat".as_slice().into()));
    client.send(piece(&[], Data::Continue, false)).unwrap();
    client.send(piece(&said[5..], Data::Continue, true)).unwrap();
    assert_eq!(heard(&mut client, "ping")["id"], "in pieces");
    client.send("no JSON".into()).unwrap();
    assert_eq!(heard(&mut client, "error")["error"], "malformed");
    server.stop();
}
