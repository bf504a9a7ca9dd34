//! What happened, as one number and, for a single seed, as text.

use std::fmt;

/// The trace of a simulation.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    is_printed: bool,
}

impl Trace {
    pub(crate) fn new(is_printed: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, is_printed }
    }

    /// Takes bytes into the number: FNV-1a, 64 bits.
    pub(crate) fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn mix_number(&mut self, number: u64) {
        self.mix(&number.to_le_bytes());
    }

    /// Prints a line, if lines are wanted.
    pub(crate) fn line(&self, line: fmt::Arguments<'_>) {
        if self.is_printed {
            println!("{line}");
        }
    }

    /// The number: equal for equal outputs in equal order.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}
