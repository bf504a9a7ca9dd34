//! What attackers send.

use crate::payload::mix;

/// The sort of first packet that is answered by a policy, and with that the connection ends.
pub(super) const POLICY_REQUEST: &str = "a policy request";

/// First packets that are no login: of other protocols, of nobody's, and of ours at a wrong time.
pub(super) const FIRST_PACKETS: &[(&str, &[u8])] = &[
    ("nothing", b""),
    ("one letter", b"m"),
    ("blank lines", b"\r\n\r\n\r\n"),
    ("HTTP, a page", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("HTTP, a form", b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nuser="),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    ("TLS, cut short", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("TLS, no handshake", b"\x16\x03\x01\x00\x05hello"),
    ("SOCKS", b"\x05\x01\x00"),
    ("PROXY", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"),
    (POLICY_REQUEST, b"<policy-file-request/>\0"),
    ("a policy request, cut short", b"<policy-file-req"),
    ("JSON, a chat", b"{\"msg\":\"chat\",\"to\":\"lobby\",\"text\":\"hi\"}\n"),
    ("JSON, a list", b"[1,2,3]\n"),
    ("JSON, no method", b"{\"user\":\"ann\"}\n"),
    ("JSON, a resume of nothing", b"{\"msg\":\"resume\",\"session\":1}\n"),
    ("XML, a DOCTYPE", b"<!DOCTYPE a><msg method=\"login\"/>\0"),
    ("XML in UTF-16", b"\xff\xfe<\0m\0s\0g\0"),
    ("ConnServer, an unknown method", b"msg:launch\n\0"),
    ("ConnServer, a key too long", &[b'k'; 200]),
    ("binary, a length of 4 GiB", b"WRN1\xff\xff\xff\xff\x01"),
    ("binary, an unknown kind", b"WRN1\x01\0\0\0\x09"),
    ("zeros", &[0; 64]),
    ("noise", b"\x9c\x01\xf3\x88\x00\xfe\x7f\xd4\x13\x37\xba\xad\xf0\x0d\xca\xfe"),
];

/// What follows an upgrade that was good. Masked with a key of zeros, which is a key like any other.
pub(super) const WEBSOCKET_BOMBS: &[(&str, &[u8])] = &[
    ("compressed by its bits", b"\xc1\x82\0\0\0\0{}"),
    ("all reserved bits", b"\xf1\x82\0\0\0\0{}"),
    ("an unknown opcode", b"\x83\x80\0\0\0\0"),
    ("fragments without end", b"\x01\x81\0\0\0\0{\0\x81\0\0\0\0 \0\x81\0\0\0\0 \0\x81\0\0\0\0 "),
    ("empty fragments", &EMPTY_FRAGMENTS),
    ("a length of 2^63", b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0"),
    ("a length of 1 GiB", b"\x82\xff\0\0\0\0\x40\0\0\0\0\0\0\0"),
    ("a ping longer than pings are", b"\x89\xfe\x01\0\0\0\0\0"),
    ("a ping in two", b"\x09\x80\0\0\0\0"),
    ("pings without end", &PINGS),
    ("not masked", b"\x81\x02{}"),
    ("text that is no UTF-8", b"\x81\x82\0\0\0\0\xc3\x28"),
    ("a close of one byte", b"\x88\x81\0\0\0\0\x03"),
];

const EMPTY_FRAGMENTS: [u8; 600] = repeated(b"\0\x80\0\0\0\0");
const PINGS: [u8; 600] = repeated(b"\x89\x80\0\0\0\0");

const fn repeated<const LENGTH: usize>(frame: &[u8; 6]) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        bytes[at] = frame[at % 6];
        at += 1;
    }
    bytes
}

fn attacker_name(connection: u32) -> String {
    format!("x{connection:06}")
}

/// A login, and the request to enter a room of attackers.
pub(super) fn enter_json(connection: u32, room: u32, out: &mut Vec<u8>) {
    let user = attacker_name(connection);
    let lines = format!(
        "{{\"msg\":\"login\",\"user\":\"{user}\"}}\n{{\"msg\":\"join\",\"room\":\"attack{room}\"}}\n"
    );
    out.extend_from_slice(lines.as_bytes());
}

pub(super) fn enter_xml(connection: u32, out: &mut Vec<u8>) {
    let user = attacker_name(connection);
    out.extend_from_slice(format!("<msg method=\"login\" user=\"{user}\"/>\0").as_bytes());
}

/// A chat of so many bytes of text.
pub(super) fn say(room: u32, text_bytes: usize, out: &mut Vec<u8>) {
    let text = "x".repeat(text_bytes);
    let line = format!("{{\"msg\":\"chat\",\"to\":\"attack{room}\",\"text\":\"{text}\"}}\n");
    out.extend_from_slice(line.as_bytes());
}

/// Nine levels of ten entities each: a billion laughs.
pub(super) fn entity_bomb(out: &mut Vec<u8>) {
    out.extend_from_slice(b"<!DOCTYPE msg [<!ENTITY l0 \"lol\">");
    for level in 1..10 {
        let inner = format!("&l{};", level - 1).repeat(10);
        out.extend_from_slice(format!("<!ENTITY l{level} \"{inner}\">").as_bytes());
    }
    out.extend_from_slice(b"]><msg method=\"chat\" to=\"a\" text=\"&l9;\"/>\0");
}

/// A document with so many attributes.
pub(super) fn attribute_bomb(count: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<msg method=\"set\"");
    (0..count).for_each(|number| out.extend_from_slice(format!(" a{number}=\"\"").as_bytes()));
    out.extend_from_slice(b"/>\0");
}

pub(super) fn upgrade(out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Protocol: warren.json\r\n\r\n",
    );
}

/// A resume of a session that may be there, by a token that is not its own.
pub(super) fn guess_token(connection: u32, number: u32, out: &mut Vec<u8>) {
    let guess = |salt| mix(u64::from(connection) << 32 | u64::from(number), salt);
    let line = format!(
        "{{\"msg\":\"resume\",\"session\":\"{}\",\"token\":\"{:016x}{:016x}\",\"received\":0}}\n",
        guess(0) % 4_096,
        guess(1),
        guess(2)
    );
    out.extend_from_slice(line.as_bytes());
}

/// A login as a user who may be there, with what is no ticket.
pub(super) fn guess_login(connection: u32, number: u32, out: &mut Vec<u8>) {
    let guess = mix(u64::from(connection), u64::from(number));
    let line = format!(
        "{{\"msg\":\"login\",\"user\":\"{}\",\"ticket\":\"{guess:032x}\"}}\n",
        attacker_name(connection)
    );
    out.extend_from_slice(line.as_bytes());
}
