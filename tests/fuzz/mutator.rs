//! Bytes made from bytes: what line noise, a cut, a careless client and an attacker do to them.

use crate::prng::Prng;

/// Longest input. What is longer is cut.
pub(crate) const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Faults of one input.
const FAULTS_MAX: u64 = 6;

/// Makes inputs of one kind.
pub(crate) struct Mutator {
    /// Pieces of which bytes of this kind consist.
    pub(crate) words: &'static [&'static [u8]],
}

impl Mutator {
    /// `bytes` with some faults; `other` is a second input to take from.
    pub(crate) fn mutate(&self, prng: &mut Prng, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=prng.below(FAULTS_MAX) {
            match prng.below(11) {
                0 => flip_bit(prng, bytes),
                1 => set_byte(prng, bytes),
                2 => self.insert_word(prng, bytes),
                3 => self.replace_by_word(prng, bytes),
                4 => remove(prng, bytes),
                5 => repeat(prng, bytes),
                6 => set_length(prng, bytes),
                7 => splice(prng, bytes, other),
                8 => swap(prng, bytes),
                9 => insert_noise(prng, bytes),
                _ => bytes.truncate(prng.below(bytes.len() as u64 + 1) as usize),
            }
            bytes.truncate(INPUT_BYTES_MAX);
        }
    }

    fn insert_word(&self, prng: &mut Prng, bytes: &mut Vec<u8>) {
        let at = position(prng, bytes);
        // Now and then very many: what is cheap once may not be cheap always.
        let count = if prng.chance(5) { prng.between(2, 300) } else { 1 };
        let word = prng.pick(self.words).repeat(count as usize);
        bytes.splice(at..at, word);
    }

    fn replace_by_word(&self, prng: &mut Prng, bytes: &mut Vec<u8>) {
        let (start, end) = range(prng, bytes);
        bytes.splice(start..end, prng.pick(self.words).iter().copied());
    }
}

fn position(prng: &mut Prng, bytes: &[u8]) -> usize {
    prng.below(bytes.len() as u64 + 1) as usize
}

/// A range that is short more often than long.
fn range(prng: &mut Prng, bytes: &[u8]) -> (usize, usize) {
    let start = position(prng, bytes);
    let length_max = if prng.chance(75) { 8 } else { bytes.len() as u64 };
    let length = prng.below(length_max + 1) as usize;
    (start, bytes.len().min(start + length))
}

fn flip_bit(prng: &mut Prng, bytes: &mut [u8]) {
    if !bytes.is_empty() {
        let at = prng.index(bytes.len());
        bytes[at] ^= 1 << prng.below(8);
    }
}

fn set_byte(prng: &mut Prng, bytes: &mut [u8]) {
    if !bytes.is_empty() {
        let at = prng.index(bytes.len());
        bytes[at] = match prng.below(3) {
            0 => *prng.pick(&[0, 1, 0x0a, 0x0d, 0x20, 0x7e, 0x7f, 0x80, 0xc3, 0xfe, 0xff]),
            1 => bytes[prng.index(bytes.len())],
            _ => prng.next() as u8,
        };
    }
}

fn remove(prng: &mut Prng, bytes: &mut Vec<u8>) {
    let (start, end) = range(prng, bytes);
    bytes.drain(start..end);
}

fn repeat(prng: &mut Prng, bytes: &mut Vec<u8>) {
    let (start, end) = range(prng, bytes);
    let count = if prng.chance(10) { prng.between(2, 200) } else { 1 };
    let room = INPUT_BYTES_MAX / (end - start).max(1);
    let repeated = bytes[start..end].repeat(room.min(count as usize));
    bytes.splice(end..end, repeated);
}

/// Writes a number where a length may be: one that nearly fits what follows, or one that is absurd.
fn set_length(prng: &mut Prng, bytes: &mut [u8]) {
    let width = *prng.pick(&[1, 2, 4, 8]);
    if bytes.len() < width {
        return;
    }
    let at = prng.index(bytes.len() - width + 1);
    let follows = (bytes.len() - at - width) as u64;
    let value = match prng.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << prng.below(64),
        3 => follows.wrapping_sub(1),
        4 => follows + 1,
        _ => follows,
    };
    let is_little = prng.chance(50);
    let value = if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
    let value = if is_little { &value[..width] } else { &value[8 - width..] };
    bytes[at..at + width].copy_from_slice(value);
}

/// The beginning of one input and the end of another.
fn splice(prng: &mut Prng, bytes: &mut Vec<u8>, other: &[u8]) {
    bytes.truncate(position(prng, bytes));
    bytes.extend_from_slice(&other[position(prng, other)..]);
}

fn swap(prng: &mut Prng, bytes: &mut [u8]) {
    if bytes.len() > 1 {
        let middle = prng.index(bytes.len());
        let (start, end) = (prng.index(middle + 1), middle + prng.index(bytes.len() - middle + 1));
        bytes[start..end].rotate_left(middle - start);
    }
}

fn insert_noise(prng: &mut Prng, bytes: &mut Vec<u8>) {
    let at = position(prng, bytes);
    let noise: Vec<u8> = (0..=prng.below(16)).map(|_| prng.next() as u8).collect();
    bytes.splice(at..at, noise);
}
