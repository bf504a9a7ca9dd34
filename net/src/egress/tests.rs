use warren_core::message::packed;

use super::*;
use crate::gateway::Protocol;

fn pushed(egress: &mut Egress, connections: &mut [Connection], pieces: &[(usize, Span)]) {
    for (index, bytes) in pieces {
        egress.push(*index as u32, &mut connections[*index], *bytes);
    }
}

fn gathered(egress: &mut Egress, entry: usize) -> (Arena, Vec<u8>) {
    let recipient = egress.recipient(entry);
    let (arena, bytes) = egress.gather(recipient);
    (arena, bytes.of(egress.arenas()[arena as usize]).to_vec())
}

#[test]
fn pieces_side_by_side_are_sent_as_they_are_and_others_together() {
    let mut egress = Egress::default();
    let mut connections: Vec<Connection> = (0..3).map(|_| Connection::default()).collect();
    let [a, b, c] = [b"aa".as_slice(), b"b", b"ccc"].map(|bytes| egress.raw(bytes));
    let pieces = [(2, a), (0, a), (2, b), (1, b), (0, c), (2, c)];
    pushed(&mut egress, &mut connections, &pieces);
    egress.begin_sending(0);
    assert_eq!(egress.due_count(), 3);
    let order: Vec<u32> = (0..3).map(|entry| egress.recipient(entry).index).collect();
    assert_eq!(order, [2, 0, 1]);
    assert_eq!(gathered(&mut egress, 0), (Arena::Messages, b"aabccc".to_vec()));
    assert_eq!(gathered(&mut egress, 1), (Arena::Gathered, b"aaccc".to_vec()));
    assert_eq!(gathered(&mut egress, 2), (Arena::Messages, b"b".to_vec()));
    let recipient = egress.recipient(1);
    let messages: Vec<&[u8]> = egress.messages_of(recipient).map(|told| told.bytes).collect();
    assert_eq!(messages, [b"aa".as_slice(), b"ccc"]);
    egress.end_sending();
    assert_eq!((egress.due_count(), egress.arenas()), (0, [b"".as_slice(), b""]));
}

#[test]
fn messages_are_encoded_once_per_protocol() {
    let mut egress = Egress::default();
    let settings = GatewaySettings::default();
    let hello = packed("hello", &[]);
    let mut encodings = Encodings::default();
    let mut spans = Vec::new();
    for protocol in [Protocol::Json, Protocol::Binary, Protocol::Json, Protocol::Json] {
        let messages = [&hello, &hello].map(|hello| Message::from_checked(hello));
        spans.push(egress.encoding(&mut encodings, protocol, &settings, messages.into_iter()));
    }
    assert_eq!((spans[0], spans[0]), (spans[2], spans[3]));
    assert_ne!(spans[0], spans[1]);
    assert_eq!(egress.encoded_count, 4, "two messages in two protocols");
}

#[test]
fn notices_say_status_reason_and_limit() {
    for (reason, limit) in
        [(Reason::Malformed, None), (Reason::SlowConsumer, Reason::SlowConsumer.limit())]
    {
        let mut bytes = b"what was there".to_vec();
        write_notice(&mut bytes, "closed", reason, reason.limit());
        let notice = Message::parse(&bytes).unwrap();
        assert_eq!(notice.method(), "closed");
        assert_eq!(notice.get("status"), Some(Value::Integer(i64::from(reason.status()))));
        assert_eq!(notice.text("error"), Ok(reason.word()));
        assert_eq!(notice.text("limit").ok(), limit);
    }
}
