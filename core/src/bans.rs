//! Who is not let in, and until when: users by name, machines by ranges of addresses. The operator's
//! list; every shard has a copy of it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// When a ban ends that has no end, in milliseconds since 1970.
pub const NEVER_MS: u64 = u64::MAX;

/// Bits of an address, IPv4 in its IPv6 form.
const ADDRESS_BITS: u8 = 128;
/// Bits before the IPv4 address in that form.
const MAPPED_BITS: u8 = 96;

/// Addresses that begin alike: `10.0.0.0/8`, `2001:db8::/32`, or one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    /// How many bits are alike.
    prefix: u8,
    /// Those bits, and zeros.
    first: u128,
}

/// The text is neither an address nor a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRangeParseError;

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn masked(bits: u128, prefix: u8) -> u128 {
    let rest = u32::from(ADDRESS_BITS - prefix);
    // Shifting by all the bits is not defined.
    u128::MAX.checked_shl(rest).map_or(0, |mask| bits & mask)
}

impl AddressRange {
    /// Whether the address is one of these. An IPv4 address that is written as IPv6 is that address.
    #[must_use]
    pub fn has(self, address: IpAddr) -> bool {
        masked(bits_of(address), self.prefix) == self.first
    }

    /// The address as IPv4, where the whole range is that.
    fn first_ipv4(self) -> Option<Ipv4Addr> {
        let address = Ipv6Addr::from_bits(self.first).to_ipv4_mapped();
        address.filter(|_| self.prefix >= MAPPED_BITS)
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeParseError;

    /// Bits behind the prefix are taken for zeros.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| AddressRangeParseError)?;
        let before = if address.is_ipv4() { MAPPED_BITS } else { 0 };
        let prefix = match prefix {
            None => ADDRESS_BITS,
            Some(prefix) => {
                let prefix: u8 = prefix.parse().map_err(|_| AddressRangeParseError)?;
                let prefix = prefix.checked_add(before).ok_or(AddressRangeParseError)?;
                if prefix > ADDRESS_BITS {
                    return Err(AddressRangeParseError);
                }
                prefix
            }
        };
        Ok(Self { prefix, first: masked(bits_of(address), prefix) })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.first_ipv4() {
            Some(address) => {
                write!(f, "{address}")?;
                self.prefix - MAPPED_BITS
            }
            None => {
                write!(f, "{}", Ipv6Addr::from_bits(self.first))?;
                self.prefix
            }
        };
        if self.prefix == ADDRESS_BITS { Ok(()) } else { write!(f, "/{prefix}") }
    }
}

/// The bans that a shard holds to. They are asked with the time, and one that has ended is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bans {
    /// Until when, in milliseconds since 1970.
    users: BTreeMap<Box<str>, u64>,
    ranges: BTreeMap<AddressRange, u64>,
    /// The lengths that occur in `ranges`.
    prefixes: Vec<u8>,
}

impl Bans {
    /// Bans a user until that time, in milliseconds since 1970.
    pub fn ban_user(&mut self, user: &str, until_ms: u64) {
        self.users.insert(user.into(), until_ms);
    }

    /// Bans addresses until that time, in milliseconds since 1970.
    pub fn ban_addresses(&mut self, range: AddressRange, until_ms: u64) {
        self.ranges.insert(range, until_ms);
        if !self.prefixes.contains(&range.prefix) {
            self.prefixes.push(range.prefix);
        }
    }

    /// Whether the user may not log in.
    #[must_use]
    pub fn has_user(&self, user: &str, wall_ms: u64) -> bool {
        self.users.get(user).is_some_and(|until_ms| wall_ms < *until_ms)
    }

    /// Whether nobody is served from that address. Costs a look-up for each length of the ranges.
    #[must_use]
    pub fn has_address(&self, address: IpAddr, wall_ms: u64) -> bool {
        let bits = bits_of(address);
        self.prefixes.iter().any(|prefix| {
            let range = AddressRange { prefix: *prefix, first: masked(bits, *prefix) };
            self.ranges.get(&range).is_some_and(|until_ms| wall_ms < *until_ms)
        })
    }

    /// The bans of addresses that another list does not have, or not for as long.
    #[must_use]
    pub fn addresses_beyond(&self, other: &Self) -> Self {
        let mut beyond = Self::default();
        for (range, until_ms) in &self.ranges {
            if other.ranges.get(range).is_none_or(|other_ms| other_ms < until_ms) {
                beyond.ban_addresses(*range, *until_ms);
            }
        }
        beyond
    }

    /// Whether any address is banned, so that it has to be looked at.
    #[must_use]
    pub fn has_addresses(&self) -> bool {
        !self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests;
