//! Tokens: who has one may resume a session. They are secret, so nothing prints them, and they are
//! compared in constant time.

use core::fmt;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use subtle::ConstantTimeEq;

/// Digits of a token on the wire.
pub(crate) const TOKEN_DIGITS: usize = 32;

/// Where a shard's tokens come from: 256 random bits, from the operating system.
#[derive(Clone, Copy)]
pub struct TokenSeed(pub [u8; 32]);

impl fmt::Debug for TokenSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSeed(…)")
    }
}

/// 128 random bits.
#[derive(Clone, Copy)]
pub(crate) struct Token(u128);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// The token that a client shows, if it is one: 32 lower-case hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != TOKEN_DIGITS || !text.bytes().all(is_digit) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    /// Its digits, as text in the buffer.
    pub(crate) fn write(self, digits: &mut [u8; TOKEN_DIGITS]) -> &str {
        for (at, digit) in digits.iter_mut().enumerate() {
            let shift = 4 * (TOKEN_DIGITS - 1 - at);
            *digit = b"0123456789abcdef"[(self.0 >> shift) as usize & 15];
        }
        str::from_utf8(digits).expect("digits are ASCII")
    }

    /// Whether it is this one, found out in the same time whatever it is.
    pub(crate) fn is(self, other: Self) -> bool {
        self.0.to_le_bytes().as_slice().ct_eq(other.0.to_le_bytes().as_slice()).into()
    }
}

/// A shard's source of tokens: the stream of ChaCha with 12 rounds (Bernstein, 2008).
pub(crate) struct TokenSource(ChaCha12Rng);

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource(…)")
    }
}

impl TokenSource {
    pub(crate) fn new(seed: TokenSeed) -> Self {
        Self(ChaCha12Rng::from_seed(seed.0))
    }

    pub(crate) fn next(&mut self) -> Token {
        Token(u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64()))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_token_is_what_its_digits_say_and_nothing_prints_it() {
        let mut source = TokenSource::new(TokenSeed([7; 32]));
        let (one, other) = (source.next(), source.next());
        let mut digits = [0; TOKEN_DIGITS];
        let text = one.write(&mut digits);
        assert!(Token::parse(text).unwrap().is(one));
        assert!(!one.is(other));
        assert_eq!(format!("{one:?} {source:?}"), "Token(…) TokenSource(…)");
        assert_eq!(format!("{:?}", TokenSeed([7; 32])), "TokenSeed(…)");
    }

    #[test]
    fn what_is_not_32_lower_case_digits_is_no_token() {
        for bad in ["", "0", &"0".repeat(31), &"0".repeat(33), &"F".repeat(32)] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
        assert!(Token::parse(&format!("+{}", "0".repeat(31))).is_none());
        assert!(Token::parse(&"0f".repeat(16)).is_some());
    }
}
