use std::string::ToString;

use super::*;

#[test]
fn ranges_are_read_and_written() {
    for (text, written) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3/32", "10.1.2.3"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::1", "::1"),
        ("::/0", "::/0"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    ] {
        let range: AddressRange = text.parse().unwrap();
        assert_eq!(range.to_string(), written, "{text}");
        assert_eq!(written.parse(), Ok(range), "{text}");
    }
    for text in ["", "ann", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0", "/8"] {
        assert_eq!(text.parse::<AddressRange>(), Err(AddressRangeParseError), "{text}");
    }
    assert_eq!("10.0.0.0/255".parse::<AddressRange>(), Err(AddressRangeParseError));
}

#[test]
fn a_range_has_the_addresses_that_begin_like_it() {
    for (range, inside, outside) in [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], "11.0.0.0"),
        ("192.0.2.7", ["192.0.2.7", "192.0.2.7", "::ffff:192.0.2.7"], "192.0.2.6"),
        ("192.0.2.6/31", ["192.0.2.6", "192.0.2.7", "::ffff:192.0.2.7"], "192.0.2.5"),
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], "::1"),
        ("2001:db8::/32", ["2001:db8::", "2001:db8:1::1", "2001:db8:ffff::"], "2001:db9::"),
        ("::/0", ["::1", "10.0.0.0", "ffff::"], ""),
    ] {
        let range: AddressRange = range.parse().unwrap();
        for address in inside {
            assert!(range.has(address.parse().unwrap()), "{range} has {address}");
        }
        let outside = outside.parse();
        assert!(!outside.is_ok_and(|address| range.has(address)), "{range} has more");
    }
}

#[track_caller]
fn check_address(bans: &Bans, address: &str, is_banned: bool) {
    assert_eq!(bans.has_address(address.parse().unwrap(), 0), is_banned, "{address}");
}

#[test]
fn an_address_is_banned_by_any_range_around_it() {
    let mut bans = Bans::default();
    check_address(&bans, "10.1.2.3", false);
    for range in ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"] {
        bans.ban_addresses(range.parse().unwrap(), 1);
    }
    for (address, is_banned) in [
        ("10.0.0.0", true),
        ("10.255.255.255", true),
        ("11.0.0.0", false),
        ("9.255.255.255", false),
        ("192.0.2.7", true),
        ("192.0.2.6", false),
        // The same machine, by a socket of the other family.
        ("::ffff:10.1.2.3", true),
        ("2001:db8:1::1", true),
        ("2001:db9::", false),
    ] {
        check_address(&bans, address, is_banned);
    }
}

#[test]
fn a_ban_ends_with_its_time() {
    let mut bans = Bans::default();
    bans.ban_user("ann", 1000);
    bans.ban_user("bob", NEVER_MS);
    bans.ban_addresses("10.0.0.0/8".parse().unwrap(), 1000);
    let address = "10.1.2.3".parse().unwrap();
    assert!(bans.has_user("ann", 999) && bans.has_address(address, 999));
    assert!(!bans.has_user("ann", 1000) && !bans.has_address(address, 1000));
    assert!(bans.has_user("bob", u64::MAX - 1) && !bans.has_user("cleo", 0));
}

#[test]
fn what_is_new_in_a_list_is_told() {
    let of = |ranges: &[(&str, u64)]| {
        let mut bans = Bans::default();
        for (range, until_ms) in ranges {
            bans.ban_addresses(range.parse().unwrap(), *until_ms);
        }
        bans
    };
    let before = of(&[("10.0.0.0/8", 1000), ("192.0.2.7", 1000), ("2001:db8::/32", 1000)]);
    let after = of(&[("10.0.0.0/8", 2000), ("192.0.2.7", 500), ("198.51.100.0/24", 1000)]);
    let beyond = of(&[("10.0.0.0/8", 2000), ("198.51.100.0/24", 1000)]);
    assert_eq!(after.addresses_beyond(&before), beyond);
    assert!(!after.addresses_beyond(&after).has_addresses());
}
