//! Upgrades to WebSocket.

use super::random::Random;
use super::websocket::client::{UpgradeAnswer, read_upgrade_answer, upgrade_request};
use super::websocket::{HEADERS_MAX, Upgrade, UpgradeSettings, upgrade};
use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What the request comes to, in whatever pieces it comes, and the answer.
#[track_caller]
fn take(settings: &UpgradeSettings, request: &[u8]) -> (Upgrade, Vec<u8>) {
    let mut answer = Vec::new();
    let whole = upgrade(settings, None, request, &mut 0, &mut answer);
    let (mut scanned, mut early) = (0, Vec::new());
    for end in 0..=request.len() {
        match upgrade(settings, None, &request[..end], &mut scanned, &mut early) {
            Upgrade::Incomplete => assert_eq!((scanned, early.len()), (end, 0)),
            told => {
                assert_eq!((told, &early), (whole, &answer), "told by {end} bytes");
                return (whole, answer);
            }
        }
    }
    assert_eq!(whole, Upgrade::Incomplete);
    (whole, answer)
}

fn reason_of(settings: &UpgradeSettings, request: &[u8]) -> Option<Reason> {
    match take(settings, request).0 {
        Upgrade::Refused { reason } => Some(reason),
        Upgrade::Accepted { .. } => None,
        Upgrade::Incomplete => panic!("incomplete: {}", request.escape_ascii()),
    }
}

fn request(origin: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    upgrade_request("here:7171", Protocol::WebSocketJson, KEY, origin, &mut out);
    out
}

/// The request with one line in place of another, or without it.
fn changed(line: &str, by: &str) -> Vec<u8> {
    let request = String::from_utf8(request(None)).unwrap();
    let line = format!("{line}\r\n");
    assert!(request.contains(&line), "{line}");
    let by = if by.is_empty() { String::new() } else { format!("{by}\r\n") };
    request.replacen(&line, &by, 1).into_bytes()
}

#[test]
fn upgrades_have_the_answers_of_their_vectors() {
    let mut count = 0;
    let is_upgrade = |vector: &Vector| !vector.json["answer"].is_null();
    for vector in vectors_of("websocket.json").into_iter().filter(is_upgrade) {
        count += 1;
        let request = &vector.bytes;
        let (came_to, answer) = take(&UpgradeSettings::default(), request);
        let (name, vector) = (vector.name(), &vector.json);
        assert_eq!(str::from_utf8(&answer).unwrap(), text_of(&vector["answer"]), "{name}");
        match came_to {
            Upgrade::Accepted { protocol, consumed } => {
                assert_eq!(vector["protocol"], protocol.label(), "{name}");
                assert_eq!(consumed, request.len(), "{name}");
            }
            Upgrade::Refused { reason } => assert_eq!(vector["reason"], reason.word(), "{name}"),
            Upgrade::Incomplete => panic!("{name}"),
        }
    }
    assert!(count > 5);
}

#[test]
fn what_a_request_needs_is_needed_once() {
    let settings = UpgradeSettings::default();
    assert_eq!(reason_of(&settings, &request(None)), None);
    let key = format!("Sec-WebSocket-Key: {KEY}");
    for (line, by) in [
        ("GET / HTTP/1.1", "GET / HTTP/1.0"),
        ("GET / HTTP/1.1", "GET / HTTP/2.0"),
        ("GET / HTTP/1.1", "GET /\u{1} HTTP/1.1"),
        ("Host: here:7171", ""),
        ("Host: here:7171", "Host: here:7171\r\nHost: there"),
        ("Upgrade: websocket", ""),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade", ""),
        ("Connection: Upgrade", "Connection: keep-alive"),
        ("Sec-WebSocket-Version: 13", ""),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 12"),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13"),
        (&key, ""),
        (&key, "Sec-WebSocket-Key: "),
        (&key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"),
        (&key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA"),
        (&key, "Sec-WebSocket-Key: !GhlIHNhbXBsZSBub25jZQ=="),
        (&key, &format!("{key}\r\n{key}")),
        ("Sec-WebSocket-Protocol: warren.json", ""),
        ("Sec-WebSocket-Protocol: warren.json", "Sec-WebSocket-Protocol: warren.JSON"),
        ("Sec-WebSocket-Protocol: warren.json", "Sec-WebSocket-Protocol: warren.jsonx, json"),
        ("Host: here:7171", "Host: here:7171\r\n folded"),
        ("Host: here:7171", "Host: here:7171\r\nno colon"),
    ] {
        let refused = reason_of(&settings, &changed(line, by));
        assert_eq!(refused, Some(Reason::UpgradeInvalid), "{line:?} is {by:?}");
    }
}

#[test]
fn origins_of_elsewhere_are_refused_and_those_of_this_machine_are_welcome() {
    let settings = UpgradeSettings::default();
    for origin in [
        "http://localhost",
        "http://localhost:7172",
        "https://localhost:1",
        "http://127.0.0.1:8080",
        "http://[::1]",
        "http://[::1]:3000",
    ] {
        assert_eq!(reason_of(&settings, &request(Some(origin))), None, "{origin}");
    }
    for origin in [
        "http://localhost.example.com",
        "http://localhost:7172.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1:",
        "http://127.0.0.10",
        "http://example.com",
        "https://localhost@example.com",
        "http://localhost:80@example.com",
        "http://localhost/",
        "ftp://localhost",
        "localhost",
        "null",
        "*",
        "",
        "http://",
        "HTTP://LOCALHOST",
    ] {
        let refused = reason_of(&settings, &request(Some(origin)));
        assert_eq!(refused, Some(Reason::OriginRefused), "{origin}");
    }
    let twice = changed("Host: here:7171", "Host: a\r\nOrigin: http://localhost\r\nOrigin: null");
    assert_eq!(reason_of(&settings, &twice), Some(Reason::UpgradeInvalid));
}

#[test]
fn listed_origins_are_welcome_and_no_others() {
    let listed = ["https://warren.example", "https://play.example:8443"];
    let settings =
        UpgradeSettings { origins: listed.map(str::to_owned).into(), ..UpgradeSettings::default() };
    for origin in listed {
        assert_eq!(reason_of(&settings, &request(Some(origin))), None);
        // Every other origin that is one change away is refused.
        for seed in 0..500 {
            let mut random = Random(seed);
            let mut bytes = origin.as_bytes().to_vec();
            let at = random.below(bytes.len());
            let letter = *random.pick(b"abcz019.:/-");
            match random.below(3) {
                0 => bytes[at] = letter,
                1 => bytes.insert(at, letter),
                _ => drop(bytes.remove(at)),
            }
            let other = String::from_utf8(bytes).unwrap();
            if !listed.contains(&other.as_str()) {
                let refused = reason_of(&settings, &request(Some(&other)));
                assert_eq!(refused, Some(Reason::OriginRefused), "{other}");
            }
        }
    }
    // With a list this machine is as any other.
    let refused = reason_of(&settings, &request(Some("http://localhost")));
    assert_eq!(refused, Some(Reason::OriginRefused));
    assert_eq!(reason_of(&settings, &request(None)), None);
    let origins = ["*".to_owned()].into();
    let settings = UpgradeSettings { origins, ..UpgradeSettings::default() };
    assert_eq!(reason_of(&settings, &request(Some("http://anywhere.example"))), None);
}

#[test]
fn a_header_has_a_greatest_length_and_number() {
    let plain = request(None);
    let end = plain.len() - 2;
    let with = |lines: &str| [&plain[..end], lines.as_bytes(), b"\r\n"].concat();
    let settings = UpgradeSettings::default();
    let own = plain.iter().filter(|byte| **byte == b':').count() - 1;
    for (count, expected) in
        [(HEADERS_MAX - own, None), (HEADERS_MAX - own + 1, Some(Reason::HeaderTooLarge))]
    {
        assert_eq!(reason_of(&settings, &with(&"A: b\r\n".repeat(count))), expected, "{count}");
    }
    for (bytes, expected) in [
        (settings.header_bytes_max, None),
        (settings.header_bytes_max + 1, Some(Reason::HeaderTooLarge)),
    ] {
        let padding = "x".repeat(bytes - plain.len() - "A: \r\n".len());
        let long = with(&format!("A: {padding}\r\n"));
        assert_eq!(long.len(), bytes);
        assert_eq!(reason_of(&settings, &long), expected, "{bytes}");
    }
    // One that never ends is not waited for.
    let endless = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'x'; 8173]].concat();
    assert_eq!(endless.len(), settings.header_bytes_max);
    assert_eq!(reason_of(&settings, &endless), Some(Reason::HeaderTooLarge));
}

#[test]
fn bytes_behind_the_request_are_not_its_own() {
    let request = request(None);
    let settings = UpgradeSettings { header_bytes_max: request.len(), ..Default::default() };
    let behind = [request.as_slice(), &[b'\n'; 5000]].concat();
    let expected = Upgrade::Accepted { protocol: Protocol::WebSocketJson, consumed: request.len() };
    assert_eq!(take(&settings, &behind).0, expected);
}

#[test]
fn the_clients_side_understands_the_answer() {
    let (_, answer) = take(&UpgradeSettings::default(), &request(None));
    for end in 0..answer.len() {
        assert_eq!(read_upgrade_answer(&answer[..end], KEY), None);
    }
    let accepted = Some(UpgradeAnswer::Accepted { consumed: answer.len() });
    assert_eq!(read_upgrade_answer(&answer, KEY), accepted);
    let other = "AQIDBAUGBwgJCgsMDQ4PEA==";
    assert_eq!(read_upgrade_answer(&answer, other), Some(UpgradeAnswer::Faulty));
    let (_, refused) = take(&UpgradeSettings::default(), &request(Some("null")));
    let answer = read_upgrade_answer(&refused, KEY);
    assert!(matches!(answer, Some(UpgradeAnswer::Refused { status: 403, .. })), "{answer:?}");
}
