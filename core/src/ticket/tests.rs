//! Tickets: what is taken, and everything that is not.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

use super::*;

const NOW_S: u64 = 1_700_000_000;
const LEEWAY_S: u64 = 30;

fn issuer(id: &str, seed: u8) -> TicketIssuer {
    TicketIssuer::new(id, &[seed; 32]).unwrap()
}

fn claims() -> Claims<'static> {
    Claims {
        user: "ann",
        roles: Some(vec!["user", "bard"]),
        audience: "warren",
        not_before_s: Some(NOW_S - 10),
        expires_s: NOW_S + 60,
    }
}

fn verifier() -> TicketVerifier {
    let keys = vec![TicketKey::of(&issuer("old", 1)), TicketKey::of(&issuer("main", 2))];
    TicketVerifier::new(keys, "warren", LEEWAY_S * 1000)
}

fn fault_at(text: &str, now_s: u64) -> Option<TicketFault> {
    let ticket = Ticket::read(text);
    ticket.and_then(|ticket| verifier().verify(&ticket, now_s * 1000).map(|_| ())).err()
}

fn fault(text: &str) -> Option<TicketFault> {
    fault_at(text, NOW_S)
}

/// A ticket whose signature is right, whatever its claims are.
fn signed(claims: &str) -> String {
    let signed = format!("w1.main.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = issuer("main", 2).key.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

#[test]
fn a_ticket_of_each_key_is_taken() {
    for (id, seed) in [("old", 1), ("main", 2)] {
        let text = issuer(id, seed).issue(&claims()).unwrap();
        let ticket = Ticket::read(&text).unwrap();
        assert_eq!(ticket.key_id(), id);
        assert_eq!(verifier().verify(&ticket, NOW_S * 1000), Ok(claims()));
    }
}

/// The ticket as bytes, so that other implementations have something to hold theirs against.
#[test]
fn a_ticket_has_one_form() {
    let plain = Claims { roles: None, not_before_s: None, ..claims() };
    let text = issuer("main", 2).issue(&plain).unwrap();
    assert_eq!(plain.write(), r#"{"user":"ann","aud":"warren","exp":1700000060}"#);
    assert_eq!(text, signed(&plain.write()));
    assert_eq!(
        claims().write(),
        r#"{"user":"ann","roles":["user","bard"],"aud":"warren","nbf":1699999990,"exp":1700000060}"#
    );
}

#[test]
fn time_is_checked_with_leeway() {
    let text = issuer("main", 2).issue(&claims()).unwrap();
    for (now_s, expected) in [
        (NOW_S - 10 - LEEWAY_S - 1, Some(TicketFault::Early)),
        (NOW_S - 10 - LEEWAY_S, None),
        (NOW_S + 60 + LEEWAY_S - 1, None),
        (NOW_S + 60 + LEEWAY_S, Some(TicketFault::Expired)),
        (0, Some(TicketFault::Early)),
        (u64::MAX / 2000, Some(TicketFault::Expired)),
    ] {
        assert_eq!(fault_at(&text, now_s), expected, "{now_s}");
    }
}

#[test]
fn another_audience_or_key_is_refused() {
    let other = Claims { audience: "elsewhere", ..claims() };
    assert_eq!(fault(&issuer("main", 2).issue(&other).unwrap()), Some(TicketFault::Audience));
    assert_eq!(
        fault(&issuer("main", 1).issue(&claims()).unwrap()),
        Some(TicketFault::SignatureWrong)
    );
    assert_eq!(fault(&issuer("new", 2).issue(&claims()).unwrap()), Some(TicketFault::KeyUnknown));
}

#[test]
fn a_ticket_with_any_byte_changed_is_refused() {
    let good = issuer("main", 2).issue(&claims()).unwrap();
    assert_eq!(fault(&good), None);
    for index in 0..good.len() {
        for byte in [b'A', b'B', b'-', b'.', b'=', b' ', 0, 0x7f] {
            let mut bytes = good.clone().into_bytes();
            if bytes[index] == byte {
                continue;
            }
            bytes[index] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(fault(&changed).is_some(), "{changed:?}");
        }
    }
    for end in 0..good.len() {
        assert!(fault(&good[..end]).is_some(), "{end}");
    }
    for more in ["=", "A", ".", "\n", " "] {
        assert!(fault(&format!("{good}{more}")).is_some(), "{more:?}");
        assert!(fault(&format!("{more}{good}")).is_some(), "{more:?}");
    }
}

/// The last character of 64 bytes in base64url carries four bits that must be zero.
#[test]
fn base64_has_one_form() {
    let good = issuer("main", 2).issue(&claims()).unwrap();
    let (head, last) = good.split_at(good.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).unwrap();
    for other in &alphabet.as_bytes()[at + 1..at + 16] {
        let other = format!("{head}{}", char::from(*other));
        assert_eq!(fault(&other), Some(TicketFault::Malformed), "{other}");
    }
    let standard = good.replace('-', "+").replace('_', "/");
    assert!(standard != good, "the ticket has one of the two characters");
    assert_eq!(fault(&standard), Some(TicketFault::Malformed));
    assert_eq!(fault(&format!("{good}==")), Some(TicketFault::Malformed));
}

/// S + L verifies by a lenient verifier just as S does.
#[test]
fn a_signature_has_one_form() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let good = issuer("main", 2).issue(&claims()).unwrap();
    let (head, signature) = good.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    let second = format!("{head}.{}", URL_SAFE_NO_PAD.encode(bytes));
    assert_eq!(fault(&second), Some(TicketFault::SignatureWrong));
}

#[test]
fn a_weak_key_is_no_key() {
    let mut identity = [0; 32];
    identity[0] = 1;
    for weak in [[0; 32], identity] {
        let text = format!("main:{}", URL_SAFE_NO_PAD.encode(weak));
        assert_eq!(TicketKey::read(&text), None, "{text}");
    }
}

#[test]
fn claims_have_one_shape() {
    const GOOD: &str = r#"{"user":"ann","aud":"warren","exp":1700000060}"#;
    assert_eq!(fault(&signed(GOOD)), None);
    let spaced =
        "\n{ \"exp\" : 1700000060 ,\t\"aud\":\"warren\",\"roles\": [ ], \"user\":\"ann\" } ";
    assert_eq!(fault(&signed(spaced)), None);
    let many_roles = format!("\"roles\":[{}\"a\"],\"exp\"", "\"a\",".repeat(TICKET_ROLES_MAX));
    for (from, to) in [
        (GOOD, ""),
        (GOOD, "{}"),
        (GOOD, "[]"),
        ("{", ""),
        ("}", ""),
        ("}", "}}"),
        ("}", ",}"),
        ("}", "} x"),
        ("}", "}\0"),
        ("{", "{,"),
        ("\"ann\",", "\"ann\" "),
        (":\"ann\"", "\"ann\""),
        // A claim that is missing, unknown, or there twice.
        ("\"user\":\"ann\",", ""),
        ("\"aud\":\"warren\",", ""),
        (",\"exp\":1700000060", ""),
        ("\"exp\"", "\"iat\":1,\"exp\""),
        ("\"exp\"", "\"user\":\"ann\",\"exp\""),
        ("\"exp\"", "\"user\":\"bob\",\"exp\""),
        ("\"exp\"", "\"exp\":1700000060,\"exp\""),
        ("\"exp\"", "\"nbf\":1,\"nbf\":1,\"exp\""),
        ("\"exp\"", "\"roles\":[],\"roles\":[],\"exp\""),
        ("\"user\"", "\"us\\u0065r\""),
        // Names that are none.
        ("ann", ""),
        ("ann", "a b"),
        ("ann", "a\\u0062"),
        ("ann", "a\n"),
        ("ann", "a\0"),
        ("ann", "é"),
        ("\"ann\"", "null"),
        ("\"ann\"", "7"),
        ("\"ann\"", "[\"ann\"]"),
        ("\"ann\"", "\"ann"),
        ("warren", ""),
        ("warren", "war/ren"),
        ("\"exp\"", "\"roles\":\"user\",\"exp\""),
        ("\"exp\"", "\"roles\":[1],\"exp\""),
        ("\"exp\"", "\"roles\":[\"\"],\"exp\""),
        ("\"exp\"", "\"roles\":[\"a\",],\"exp\""),
        ("\"exp\"", "\"roles\":[\"a\" \"b\"],\"exp\""),
        ("\"exp\"", "\"roles\":[[\"a\"]],\"exp\""),
        ("\"exp\"", &many_roles),
        // Times that are none.
        ("1700000060", ""),
        ("1700000060", "-1"),
        ("1700000060", "+1700000060"),
        ("1700000060", "01700000060"),
        ("1700000060", "1700000060.5"),
        ("1700000060", "17e9"),
        ("1700000060", "\"1700000060\""),
        ("1700000060", "null"),
        ("1700000060", "1000000000000000"),
    ] {
        let changed = GOOD.replacen(from, to, 1);
        assert!(changed != GOOD, "{from}");
        assert_eq!(fault(&signed(&changed)), Some(TicketFault::ClaimsMalformed), "{changed}");
    }
    assert_eq!(fault(&signed(&GOOD.replace("1700000060", "999999999999999"))), None);
}

/// What is wrong in the claims is told only to whoever could sign them.
#[test]
fn the_signature_is_checked_before_the_claims() {
    for claims in ["", "{}", r#"{"user":"ann","aud":"elsewhere","exp":1}"#] {
        let good = signed(claims);
        let (head, _) = good.rsplit_once('.').unwrap();
        let forged = format!("{head}.{}", URL_SAFE_NO_PAD.encode([7; 64]));
        assert_eq!(fault(&forged), Some(TicketFault::SignatureWrong), "{claims}");
    }
}

#[test]
fn the_length_is_checked_before_anything_else() {
    assert_eq!(fault(&"x".repeat(TICKET_BYTES_MAX)), Some(TicketFault::Malformed));
    assert_eq!(fault(&"x".repeat(TICKET_BYTES_MAX + 1)), Some(TicketFault::TooLong));
    assert_eq!(fault(&signed(&" ".repeat(1 << 20))), Some(TicketFault::TooLong));
    let long_names = "r".repeat(64);
    let roles = Some(vec![long_names.as_str(); TICKET_ROLES_MAX]);
    let long = Claims { roles, ..claims() };
    assert_eq!(issuer("main", 2).issue(&long), Err(TicketFault::TooLong));
}

#[test]
fn claims_that_would_be_refused_are_not_issued() {
    for (user, audience) in [("", "warren"), ("a\"b", "warren"), ("ann", ""), ("ann", "a b")] {
        let bad = Claims { user, audience, ..claims() };
        assert_eq!(issuer("main", 2).issue(&bad), Err(TicketFault::ClaimsMalformed), "{user:?}");
    }
}

#[test]
fn keys_read_as_they_are_written() {
    let main = issuer("main", 2);
    let public = TicketKey::of(&main).to_string();
    assert_eq!(TicketKey::read(&public), Some(TicketKey::of(&main)));
    assert_eq!(TicketKey::read(&public).unwrap().id(), "main");
    let secret = main.secret_text();
    let again = TicketIssuer::read(&secret).unwrap();
    assert_eq!(again.issue(&claims()), main.issue(&claims()));
    // Neither is taken for the other.
    assert_eq!(TicketKey::read(&secret), None);
    assert!(TicketIssuer::read(&public).is_none());
    let key = public.strip_prefix("main:").unwrap();
    let long_id = format!("{}:{key}", "k".repeat(33));
    let longer = format!("{public}A");
    for bad in
        ["", ":", key, &format!(":{key}"), &format!("a.b:{key}"), &long_id, &longer, &public[..40]]
    {
        assert_eq!(TicketKey::read(bad), None, "{bad}");
    }
}
