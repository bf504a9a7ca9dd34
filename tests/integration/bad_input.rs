//! Bad input over real sockets: each frame of `tests/vectors/refusals.json` and of
//! `tests/vectors/xml_corpus.json` gets its named error or close reason, and the connection beside
//! it notices nothing.

use serde_json::Value;
use warren_core::message::{self, Message};

use crate::client::Client;
use crate::server::TestServer;
use crate::wire::wire_of;

/// Frames as long as those of clients that have logged in.
const LONG_FRAMES: &str = "[limits]\nunauthenticated_frame_bytes_max = 1048576\n";

/// A `ping` that makes the connection's protocol known.
fn hello(protocol: &str) -> Vec<u8> {
    match protocol {
        "connserver-a" => b"msg=ping~".to_vec(),
        "connserver-b" => b"msg:ping,a:b~".to_vec(),
        "connserver-c" => b"msg:ping\n\0".to_vec(),
        "json" => b"{\"msg\":\"ping\"}\n".to_vec(),
        "xml" => b"<msg method=\"ping\"/>\0".to_vec(),
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

/// Sends each vector's frame on a connection of its own, and returns how many were refused, and how
/// many were fatal.
fn refuse_all(server: &TestServer, vectors: &[Value]) -> (u64, u64) {
    let mut neighbour = Client::log_in(server.listen, "neighbour");
    neighbour.join("r");
    let (mut refused, mut fatal) = (0, 0);
    for vector in vectors {
        let protocol = vector["protocol"].as_str().unwrap();
        let mut client = Client::connect(server.listen);
        client.send(hello(protocol));
        assert!(frame_text(&mut client, protocol).contains("ping"), "{vector}");
        client.send(wire_of(vector));
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
    (refused, fatal)
}

#[test]
fn every_malformed_frame_gets_its_reason_and_the_neighbour_notices_nothing() {
    let text = include_str!("../vectors/refusals.json");
    let mut vectors: Vec<Value> = serde_json::from_str(text).unwrap();
    // Other limits than the server's are the unit tests' part.
    vectors.retain(|vector| vector["settings"].is_null());
    let server = TestServer::start_with(1, LONG_FRAMES);
    let (refused, fatal) = refuse_all(&server, &vectors);
    assert!(refused > 200, "{refused} of {} vectors were tried", vectors.len());
    server.metric_becomes("warren_refusals_total", "", refused + fatal);
    for reason in ["frame-too-large", "not-utf8"] {
        let count = vectors.iter().filter(|vector| vector["fatal"] == reason).count();
        assert!(count > 0, "{reason}");
        server.metric_becomes("warren_closes_total", &format!("\"{reason}\""), count as u64);
    }
    server.stop();
}

#[test]
fn what_attacks_xml_is_refused_by_name_and_the_neighbour_notices_nothing() {
    let text = include_str!("../vectors/xml_corpus.json");
    let vectors: Vec<Value> = serde_json::from_str(text).unwrap();
    // The documents are as long as a server can be made to take.
    let server = TestServer::start_with(
        1,
        &format!(
            "{LONG_FRAMES}send_queue_bytes_max = 6291456\n[protocol]\nframe_bytes_max = 1048576\n"
        ),
    );
    let (refused, fatal) = refuse_all(&server, &vectors);
    assert_eq!((refused, fatal), (vectors.len() as u64, 0));
    for vector in &vectors {
        let reason = vector["refused"].as_str().unwrap();
        let count = vectors.iter().filter(|vector| vector["refused"] == reason).count();
        server.metric_becomes("warren_refusals_total", &format!("\"{reason}\""), count as u64);
    }
    server.stop();
}

#[test]
fn what_attacks_xml_with_long_documents_meets_the_ordinary_limit_first() {
    let text = include_str!("../vectors/xml_corpus.json");
    let vectors: Vec<Value> = serde_json::from_str(text).unwrap();
    let server = TestServer::start_with(1, LONG_FRAMES);
    let mut long_count = 0;
    for bytes in vectors.iter().map(wire_of).filter(|bytes| bytes.len() > 100_000) {
        let mut client = Client::connect(server.listen);
        client.send(hello("xml"));
        assert!(frame_text(&mut client, "xml").contains("ping"));
        // The server closes in the middle, which the client may meet while it sends.
        client.send_until_closed(&bytes);
        let last = String::from_utf8(client.rest()).unwrap();
        assert!(
            last.contains("error=\"frame-too-large\" limit=\"protocol.frame_bytes_max\""),
            "{last}"
        );
        long_count += 1;
    }
    assert!(long_count > 15);
    server.metric_becomes("warren_closes_total", "frame-too-large", long_count);
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
        ("xml", format!("<msg method='ping' a='{long}'/>")),
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
        b"GET\t/ HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"\xef\xbb\xbfmsg",
        b"\xff\xfe<\0m\0s\0g\0",
        b"\xfe\xff\0<\0m\0s\0g",
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
    server.metric_becomes("warren_closes_total", "unknown-protocol", 10);
    server.stop();
}
