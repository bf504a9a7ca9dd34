//! Bad input over real sockets: each frame of `tests/vectors/refusals.json` gets its named error or
//! close reason, and the connection beside it notices nothing.

use serde_json::Value;
use warren_core::message::{self, Message};

use crate::client::Client;
use crate::server::TestServer;

fn wire(vector: &Value) -> Vec<u8> {
    if let Some(text) = vector["wire"].as_str() {
        return text.as_bytes().to_vec();
    }
    let digits = vector["wire_hex"].as_str().unwrap().replace(' ', "");
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// A `ping` that makes the connection's protocol known.
fn hello(protocol: &str) -> Vec<u8> {
    match protocol {
        "connserver-a" => b"msg=ping~".to_vec(),
        "connserver-b" => b"msg:ping,a:b~".to_vec(),
        "connserver-c" => b"msg:ping\n\0".to_vec(),
        "json" => b"{\"msg\":\"ping\"}\n".to_vec(),
        "binary" => {
            let mut bytes = b"WRN1".to_vec();
            bytes.extend(ping_frame());
            bytes
        }
        other => panic!("no protocol {other}"),
    }
}

fn ping_frame() -> Vec<u8> {
    let mut bytes = Vec::new();
    let ping = message::packed("ping", &[]);
    warren_net::gateway::binary::encode_request(Message::parse(&ping).unwrap(), &mut bytes);
    bytes
}

/// The next frame as text in which an error's word can be looked for.
fn frame_text(client: &mut Client, protocol: &str) -> String {
    match protocol {
        "json" => client.json().to_string(),
        "binary" => {
            let (_, payload) = client.binary_frame();
            format!("{:?}", Message::parse(&payload).unwrap())
        }
        _ => client.text_frame(),
    }
}

#[test]
fn every_malformed_frame_gets_its_reason_and_the_neighbour_notices_nothing() {
    let text = include_str!("../vectors/refusals.json");
    let vectors: Vec<Value> = serde_json::from_str(text).unwrap();
    let server = TestServer::start(1);
    let mut neighbour = Client::log_in(server.listen, "neighbour");
    neighbour.join("r");
    let (mut refused, mut fatal) = (0, 0);
    for vector in &vectors {
        // Other limits than the server's are the unit tests' part.
        if !vector["settings"].is_null() {
            continue;
        }
        let protocol = vector["protocol"].as_str().unwrap();
        let mut client = Client::connect(server.listen);
        client.send(hello(protocol));
        assert!(frame_text(&mut client, protocol).contains("ping"), "{vector}");
        client.send(wire(vector));
        if let Some(reason) = vector["refused"].as_str() {
            let answer = frame_text(&mut client, protocol);
            assert!(answer.contains(reason), "{vector}: {answer}");
            // The connection goes on.
            let again = hello(protocol);
            client.send(again.strip_prefix(b"WRN1").unwrap_or(&again));
            assert!(frame_text(&mut client, protocol).contains("ping"), "{vector}");
            refused += 1;
        } else if let Some(reason) = vector["fatal"].as_str() {
            let last = String::from_utf8_lossy(&client.rest()).into_owned();
            assert!(last.contains(reason), "{vector}: {last}");
            fatal += 1;
        }
        neighbour.send("{\"msg\":\"chat\",\"to\":\"r\",\"text\":\"still here\"}\n");
        assert_eq!(neighbour.json()["status"], 0, "{vector}");
        assert_eq!(neighbour.json()["text"], "still here", "{vector}");
    }
    assert!(refused > 40, "{refused} of {} vectors were tried", vectors.len());
    server.metric_becomes("warren_refusals_total", "", refused + fatal);
    server.metric_becomes("warren_closes_total", "frame-too-large", fatal);
    server.stop();
}

#[test]
fn a_frame_over_the_limit_closes_its_connection_by_name() {
    let config = "[protocol]\nframe_bytes_max = 1024\n";
    let server = TestServer::start_with(1, config);
    let long = "x".repeat(2000);
    for (protocol, frame) in [
        ("connserver-a", format!("msg=ping&a={long}")),
        ("connserver-b", format!("msg:ping,a:{long}")),
        ("connserver-c", format!("msg:ping\na:{long}")),
        ("json", format!("{{\"msg\":\"ping\",\"a\":\"{long}\"}}")),
    ] {
        let mut client = Client::connect(server.listen);
        client.send(hello(protocol));
        client.send(frame);
        let last = String::from_utf8(client.rest()).unwrap();
        assert!(last.contains("frame-too-large"), "{protocol}: {last}");
        assert!(last.contains("protocol.frame_bytes_max"), "{protocol}: {last}");
    }
    let mut client = Client::connect(server.listen);
    client.send([b"WRN1".as_slice(), &1021_u32.to_le_bytes(), b"\x01"].concat());
    let last = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(last.contains("frame-too-large"), "{last}");
    server.stop();
}

#[test]
fn first_bytes_of_no_protocol_are_told_so() {
    let server = TestServer::start(1);
    for bytes in [
        b"\0\0\0".as_slice(),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"<msg/>\0",
        b"9lives\n",
        b"hello world\n",
        b"WRN2\n",
        &[b'x'; 300],
    ] {
        let mut client = Client::connect(server.listen);
        client.send(bytes);
        let last = client.rest();
        assert_eq!(
            String::from_utf8_lossy(&last),
            "{\"msg\":\"closed\",\"status\":400,\"error\":\"unknown-protocol\"}\n",
            "{bytes:?}"
        );
    }
    server.metric_becomes("warren_closes_total", "unknown-protocol", 8);
    server.stop();
}
