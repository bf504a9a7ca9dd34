//! What an attacker hears: the reasons that the server gives, in whatever protocol. Pure.

use std::collections::BTreeMap;

use warren_core::reason::Reason;

/// Bytes of the last piece that are looked at again with the next: a reason may be cut.
const KEPT_BYTES: usize = 64;
/// Between the name of the field and the reason there is no more than this: quotes, or a type and a
/// length.
const GAP_BYTES_MAX: usize = 8;
/// The field that has the reason, in every protocol.
const FIELD: &[u8] = b"error";
/// How a WebSocket is closed with a reason: a close frame, its length, a code from 4000 on.
const CLOSE_FRAME: u8 = 0x88;

/// What one connection has heard of reasons.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    kept: Vec<u8>,
    /// Whether there was any.
    pub(super) told: bool,
}

impl Hearing {
    /// Counts the reasons in what came.
    pub(super) fn take(&mut self, bytes: &[u8], reasons: &mut BTreeMap<String, u64>) {
        let fresh_from = self.kept.len();
        self.kept.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((reason, end)) = next_reason(&self.kept, at, self.told) {
            // One that ended in what was there before was counted then.
            if end > fresh_from {
                *reasons.entry(reason.to_owned()).or_default() += 1;
                self.told = true;
            }
            at = end;
        }
        let keep_from = self.kept.len().saturating_sub(KEPT_BYTES).max(at);
        self.kept.drain(..keep_from);
    }
}

/// The first reason from `from` on, and where it ends. One that reaches to the end of the bytes may
/// go on.
///
/// A WebSocket that was told in a message is closed with the same reason, which is not counted again.
fn next_reason(bytes: &[u8], from: usize, is_told: bool) -> Option<(&'static str, usize)> {
    (from..bytes.len()).find_map(|at| {
        let is_close = bytes[at] == CLOSE_FRAME;
        let word_at = word_start(&bytes[at..]).filter(|_| !(is_close && is_told))? + at;
        let rest = &bytes[word_at..];
        let length = rest.iter().take_while(|byte| is_of_word(**byte)).count();
        let word = Reason::ALL.iter().map(|reason| reason.word());
        let word = word.into_iter().find(|word| word.as_bytes() == &rest[..length])?;
        Some((word, word_at + length))
    })
}

/// Where a reason begins, if these bytes begin with what comes before one.
fn word_start(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(FIELD) {
        let gap = bytes[FIELD.len()..].iter().take(GAP_BYTES_MAX);
        let gap = gap.take_while(|byte| !byte.is_ascii_lowercase()).count();
        return Some(FIELD.len() + gap);
    }
    match bytes {
        [CLOSE_FRAME, _, code @ ..] if code.len() > 2 => {
            let code = u16::from_be_bytes([code[0], code[1]]);
            (4_000..5_000).contains(&code).then_some(4)
        }
        _ => None,
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&[u8]]) -> BTreeMap<String, u64> {
        let mut reasons = BTreeMap::new();
        let mut hearing = Hearing::default();
        pieces.iter().for_each(|piece| hearing.take(piece, &mut reasons));
        assert_eq!(hearing.told, !reasons.is_empty());
        reasons
    }

    #[test]
    fn reasons_are_heard_in_every_protocol() {
        for bytes in [
            &b"{\"msg\":\"chat\",\"status\":503,\"error\":\"busy\"}\n"[..],
            b"<msg method=\"chat\" error=\"busy\" status=\"503\"/>\0",
            b"error:busy\nmsg:chat\nstatus:503\n\0",
            b"error=busy&msg=chat~\0",
            b"\x21\0\0\0\x01\x04chat\x05error\x01\x04\0\0\0busy\x06status",
            b"\x88\x06\x11\x97busy",
        ] {
            assert_eq!(heard(&[bytes]), BTreeMap::from([("busy".to_owned(), 1)]), "{bytes:?}");
            let (first, second) = bytes.split_at(bytes.len() / 2);
            assert_eq!(heard(&[first, second]).values().sum::<u64>(), 1, "{bytes:?}");
        }
    }

    #[test]
    fn each_is_counted_once_however_the_bytes_come() {
        let line =
            b"{\"error\":\"busy\"}\n{\"error\":\"malformed\"}\n{\"text\":\"error\"}\n".repeat(9);
        let all = heard(&[&line]);
        assert_eq!(all, BTreeMap::from([("busy".to_owned(), 9), ("malformed".to_owned(), 9)]));
        for size in [1, 7, 100] {
            let pieces: Vec<&[u8]> = line.chunks(size).collect();
            assert_eq!(heard(&pieces), all, "in pieces of {size}");
        }
    }

    #[test]
    fn a_close_frame_repeats_what_was_said() {
        let told = b"\x81\x10{\"error\":\"busy\"}\x88\x06\x11\x97busy";
        assert_eq!(heard(&[told]), BTreeMap::from([("busy".to_owned(), 1)]));
    }

    #[test]
    fn what_is_no_reason_is_not_heard() {
        for bytes in
            [&b"error"[..], b"{\"error\":\"\"}", b"{\"text\":\"busy\"}", b"\x88\x02\x03\xe8"]
        {
            assert!(heard(&[bytes]).is_empty(), "{bytes:?}");
        }
    }
}
