//! The text of a message: who said it, its number, when it was meant to be said, and a checksum,
//! so that whoever hears it can tell a lost, doubled or mixed-up message and take its latency.
//!
//! ```text
//! 8 hex user | 8 hex number | 16 hex intended_ns | 16 hex checksum | filler
//! ```
//!
//! Letters and digits only: no protocol escapes anything of it, so it has one length in all.

/// Bytes of text without filler.
pub const PAYLOAD_BYTES_MIN: usize = 48;

const NUMBER_AT: usize = 8;
const INTENDED_AT: usize = 16;
const CHECKSUM_AT: usize = 32;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Who says it.
    pub user: u32,
    /// Which of the user's messages it is, from 0.
    pub number: u32,
    /// When it was to be said, in nanoseconds of `CLOCK_MONOTONIC`.
    pub intended_ns: u64,
}

/// The text is not what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadCorrupt;

impl Payload {
    /// The text, `length` bytes of it.
    ///
    /// # Panics
    /// When `length` is below [`PAYLOAD_BYTES_MIN`].
    #[must_use]
    pub fn to_text(&self, run: u64, length: usize) -> String {
        assert!(length >= PAYLOAD_BYTES_MIN, "the payload does not fit");
        let checksum = self.checksum(run);
        let mut text = String::with_capacity(length);
        push_hex(&mut text, u64::from(self.user), 8);
        push_hex(&mut text, u64::from(self.number), 8);
        push_hex(&mut text, self.intended_ns, 16);
        push_hex(&mut text, checksum, 16);
        text.extend(
            (0..length - PAYLOAD_BYTES_MIN).map(|index| char::from(filler(checksum, index))),
        );
        text
    }

    /// Reads and verifies a text of this run.
    ///
    /// # Errors
    /// When any byte of it is not as it was said, or it was not said in this run.
    pub fn decode(run: u64, length: usize, text: &str) -> Result<Self, PayloadCorrupt> {
        let text = text.as_bytes();
        if text.len() != length || length < PAYLOAD_BYTES_MIN {
            return Err(PayloadCorrupt);
        }
        let payload = Self {
            user: read_hex(&text[..NUMBER_AT])? as u32,
            number: read_hex(&text[NUMBER_AT..INTENDED_AT])? as u32,
            intended_ns: read_hex(&text[INTENDED_AT..CHECKSUM_AT])?,
        };
        let checksum = payload.checksum(run);
        let filled = text[PAYLOAD_BYTES_MIN..]
            .iter()
            .enumerate()
            .all(|(index, byte)| *byte == filler(checksum, index));
        if read_hex(&text[CHECKSUM_AT..PAYLOAD_BYTES_MIN])? == checksum && filled {
            Ok(payload)
        } else {
            Err(PayloadCorrupt)
        }
    }

    fn checksum(&self, run: u64) -> u64 {
        let who = u64::from(self.user) << 32 | u64::from(self.number);
        mix(mix(mix(run, who), self.intended_ns), 0)
    }
}

/// One step of a 64-bit digest: the finaliser of `SplitMix64` (Steele, Lea and Flood, 2014) over
/// the state and the next value.
#[must_use]
pub fn mix(state: u64, value: u64) -> u64 {
    let mut mixed = state.rotate_left(23).wrapping_add(value).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn filler(checksum: u64, index: usize) -> u8 {
    let shift = (index % 16) * 4;
    b'g' + ((checksum >> shift) & 0xf) as u8
}

fn push_hex(out: &mut String, value: u64, digits: u32) {
    for digit in (0..digits).rev() {
        out.push(char::from(b"0123456789abcdef"[((value >> (digit * 4)) & 0xf) as usize]));
    }
}

/// Lower-case digits only, at most 16: one number has one text.
fn read_hex(digits: &[u8]) -> Result<u64, PayloadCorrupt> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Err(PayloadCorrupt),
        };
        Ok(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests;
