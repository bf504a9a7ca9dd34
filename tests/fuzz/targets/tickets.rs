//! Tickets and their claims: what strangers send with `login`. Nothing is taken that was not issued.

use std::sync::LazyLock;

use warren_core::ticket::{Claims, Ticket, TicketFault, TicketIssuer, TicketKey, TicketVerifier};

use super::{Behaviour, Target};
use crate::corpus::Seed;
use crate::heap::heap_of;
use crate::prng::Prng;

/// Heap of claims: the list of their roles, while it grows.
const CLAIMS_HEAP_BYTES_MAX: u64 = 2048;
/// A time at which the issued tickets hold.
const NOW_S: u64 = 1_700_000_000;
const LEEWAY_MS: u64 = 30_000;

pub(crate) const TARGET: Target = Target {
    name: "ticket",
    words: &[
        b"w1.",
        b"main",
        b"old",
        b".",
        b"{",
        b"}",
        b"{\"user\":\"",
        b"\"user\":\"ann\"",
        b"\"aud\":\"warren\"",
        b"\"exp\":",
        b"\"nbf\":",
        b"\"roles\":[",
        b"\"user\"",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b" ",
        b"\\",
        b"0",
        b"999999999999999",
        b"18446744073709551615",
        b"-1",
        b"=",
        b"_",
        b"A",
        b"\0",
        b"\xff",
    ],
    seeds,
    check,
    // Each that is read as claims is signed and verified.
    inputs: 50_000,
};

/// Issuers, their keys, and the tickets that they have issued.
struct Issued {
    issuers: Vec<TicketIssuer>,
    keys: Vec<TicketKey>,
    /// By both keys.
    verifier: TicketVerifier,
    tickets: Vec<String>,
}

static ISSUED: LazyLock<Issued> = LazyLock::new(|| {
    let issuer = |(id, byte)| TicketIssuer::new(id, &[byte; 32]).expect("an id");
    let issuers: Vec<_> = [("main", 7), ("old", 8)].into_iter().map(issuer).collect();
    let tickets = issuers.iter().flat_map(|issuer| {
        claims().into_iter().map(|claims| issuer.issue(&claims).expect("claims of that form"))
    });
    let tickets = tickets.collect();
    let keys: Vec<_> = issuers.iter().map(TicketKey::of).collect();
    let verifier = TicketVerifier::new(keys.clone(), "warren", LEEWAY_MS);
    Issued { issuers, keys, verifier, tickets }
});

/// Claims of every shape.
fn claims() -> Vec<Claims<'static>> {
    let plain = Claims {
        user: "ann",
        roles: None,
        audience: "warren",
        not_before_s: None,
        expires_s: NOW_S + 60,
    };
    vec![
        plain.clone(),
        Claims { roles: Some(vec!["user", "admin", "bard"]), ..plain.clone() },
        Claims { roles: Some(Vec::new()), not_before_s: Some(NOW_S - 60), ..plain },
    ]
}

/// Issued tickets. The corpus has claims.
fn seeds() -> Vec<Seed> {
    let tickets = ISSUED.tickets.iter().enumerate();
    let ticket = |(index, text): (usize, &String)| Seed {
        name: format!("issued {index}"),
        bytes: text.clone().into_bytes(),
    };
    tickets.map(ticket).collect()
}

fn check(bytes: &[u8], prng: &mut Prng) -> Behaviour {
    check_forged(prng);
    Behaviour::of((check_claims(bytes), check_ticket(bytes)))
}

/// Whatever is read as claims can be issued, and is the same when it is read from the ticket.
fn check_claims(bytes: &[u8]) -> Option<usize> {
    let mut read = None;
    let (peak, _) = heap_of(|| read = Claims::read(bytes));
    assert!(peak <= CLAIMS_HEAP_BYTES_MAX, "{peak} bytes of heap for claims");
    let claims = read?;
    let Issued { issuers, keys, .. } = &*ISSUED;
    let text = match issuers[0].issue(&claims) {
        Ok(text) => text,
        Err(fault) => {
            assert_eq!(fault, TicketFault::TooLong, "what was read can be written");
            return Some(0);
        }
    };
    let ticket = Ticket::read(&text).expect("an issued ticket has its form");
    assert_eq!(ticket.unverified_claims().as_ref(), Ok(&claims), "not the same again");
    let verifier = TicketVerifier::new(keys.clone(), claims.audience, LEEWAY_MS);
    let from_ms = claims.not_before_s.unwrap_or(0) * 1000;
    let is_over = claims.expires_s * 1000 + LEEWAY_MS <= from_ms;
    let expected = if is_over { Err(TicketFault::Expired) } else { Ok(claims.clone()) };
    assert_eq!(verifier.verify(&ticket, from_ms), expected, "as it says itself");
    Some(1 + claims.roles.map_or(0, |roles| 1 + roles.len()))
}

/// Whatever is taken was issued.
fn check_ticket(bytes: &[u8]) -> Result<(), &'static str> {
    let text = str::from_utf8(bytes).map_err(|_| "no text")?;
    let mut read = Err(TicketFault::Malformed);
    let (peak, _) = heap_of(|| read = Ticket::read(text));
    assert_eq!(peak, 0, "it is read in place");
    let told = |fault: TicketFault| match fault {
        TicketFault::TooLong => "too long",
        TicketFault::Malformed => "malformed",
        TicketFault::KeyUnknown => "unknown key",
        TicketFault::SignatureWrong => "wrong signature",
        other => panic!("nobody has signed this: {other:?}"),
    };
    let ticket = read.map_err(told)?;
    let Issued { verifier, tickets, .. } = &*ISSUED;
    let verified = verifier.verify(&ticket, NOW_S * 1000).map(drop);
    let is_issued = tickets.iter().any(|issued| issued == text);
    assert_eq!(verified.is_ok(), is_issued, "taken, and issued: {text}");
    verified.map_err(told)
}

/// An issued ticket with one other digit is none: in its claims, its key's name or its signature.
fn check_forged(prng: &mut Prng) {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let Issued { verifier, tickets, .. } = &*ISSUED;
    let issued = prng.pick(tickets);
    let mut forged = issued.clone().into_bytes();
    let at = prng.index(forged.len());
    forged[at] = *prng.pick(DIGITS);
    let forged = String::from_utf8(forged).expect("digits are text");
    if forged != *issued
        && let Ok(ticket) = Ticket::read(&forged)
    {
        assert!(verifier.verify(&ticket, NOW_S * 1000).is_err(), "{forged} for {issued}");
    }
}
