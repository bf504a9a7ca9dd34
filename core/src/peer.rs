//! Where clients come from, as far as limits care.

use core::net::{IpAddr, Ipv6Addr};

/// Where a client comes from: its IPv4 address, or the first half of its IPv6 address, since
/// whoever has one of the other half has all 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress(u64);

impl PeerAddress {
    /// IPv4 addresses stand behind this prefix, which IPv6 gives to nobody.
    const IPV4: u64 = 1 << 32;

    /// The key of an address. An IPv4 address that is written as IPv6 counts as IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(Self::IPV4 | u64::from(address.to_bits())),
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64),
        }
    }

    /// The number, for those who name a shard by it.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }
}

impl core::fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.0 & !0xffff_ffff == Self::IPV4 {
            write!(f, "{}", core::net::Ipv4Addr::from_bits(self.0 as u32))
        } else {
            write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(self.0) << 64))
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn an_address_is_counted_with_those_that_its_owner_has_too() {
        let of = |text: &str| PeerAddress::of(text.parse().unwrap());
        assert_eq!(of("192.0.2.7"), of("::ffff:192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("0.0.0.0"), of("::1"));
        for (address, shown) in
            [("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2::9", "2001:db8:1:2::/64"), ("::1", "::/64")]
        {
            assert_eq!(of(address).to_string(), shown);
        }
    }
}
