use super::*;

const CLIENT: [u8; 4] = [203, 0, 113, 7];

/// A header of these bytes, with those behind its length.
fn header(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [PROXY_SIGNATURE.as_slice(), &[version_and_command, family], &length, rest].concat()
}

/// Where an IPv4 client is, where it connected to, and both ports.
fn ipv4_block() -> Vec<u8> {
    [CLIENT.as_slice(), &[192, 0, 2, 1], &[0xc0, 1, 0x1c, 3]].concat()
}

fn ipv6_block() -> Vec<u8> {
    let client: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let to: Ipv6Addr = "2001:db8::1".parse().unwrap();
    [client.octets().as_slice(), &to.octets(), &[0xc0, 1, 0x1c, 3]].concat()
}

/// Asserts what the bytes say, as a whole and at each earlier end; none: they are a fault.
#[track_caller]
fn check(bytes: &[u8], expected: Result<Option<&str>, ProxyFault>) {
    let whole = read_proxy_header(bytes);
    match expected {
        Ok(client) => {
            let client = client.map(|client| client.parse().unwrap());
            assert_eq!(whole, Ok(ProxyHeader::Whole { client, consumed: bytes.len() }));
            for end in 0..bytes.len() {
                let cut = read_proxy_header(&bytes[..end]);
                assert_eq!(cut, Ok(ProxyHeader::Incomplete), "the first {end} bytes");
            }
            let more = [bytes, b"\r\n\r\n"].concat();
            assert_eq!(read_proxy_header(&more), whole, "what follows is not the header's");
        }
        Err(fault) => assert_eq!(whole, Err(fault)),
    }
}

#[test]
fn a_client_is_where_the_header_says() {
    check(&header(0x21, 0x11, &ipv4_block()), Ok(Some("203.0.113.7")));
    check(&header(0x21, 0x21, &ipv6_block()), Ok(Some("2001:db8::7")));
    // An IPv4 client behind a proxy that listens on IPv6.
    let mapped = [[0; 10].as_slice(), &[0xff, 0xff], &CLIENT, &[0; 20]].concat();
    check(&header(0x21, 0x21, &mapped), Ok(Some("203.0.113.7")));
}

#[test]
fn what_else_a_proxy_says_is_skipped() {
    // A load balancer's own, and a checksum that nobody looks at.
    let values = [&[0xea, 0, 3, 1, b'v', b'p'], [3, 0, 4, 1, 2, 3, 4].as_slice()].concat();
    check(&header(0x21, 0x11, &[ipv4_block(), values.clone()].concat()), Ok(Some("203.0.113.7")));
    check(&header(0x21, 0x21, &[ipv6_block(), values].concat()), Ok(Some("2001:db8::7")));
    // A length that leads beyond the end.
    check(&header(0x21, 0x11, &[ipv4_block(), vec![4, 9, 9]].concat()), Ok(Some("203.0.113.7")));
}

#[test]
fn a_proxy_that_looks_by_itself_names_nobody() {
    check(&header(0x20, 0, &[]), Ok(None));
    // What it says of addresses is not meant, whatever it is.
    check(&header(0x20, 0x11, &ipv4_block()), Ok(None));
    check(&header(0x20, 0x11, &[1, 2]), Ok(None));
    check(&header(0x20, 0xff, &ipv6_block()), Ok(None));
}

#[test]
fn a_header_has_its_longest_length() {
    let room = PROXY_HEADER_BYTES_MAX - FIXED_BYTES;
    let mut rest = ipv4_block();
    rest.resize(room, 0);
    check(&header(0x21, 0x11, &rest), Ok(Some("203.0.113.7")));
    check(&header(0x20, 0, &vec![0; room]), Ok(None));
    rest.push(0);
    check(&header(0x21, 0x11, &rest), Err(ProxyFault::TooLong(521)));
    check(&header(0x20, 0, &vec![0; room + 1]), Err(ProxyFault::TooLong(521)));
    check(&header(0x21, 0x11, &[0; 65_535]), Err(ProxyFault::TooLong(65_535)));
}

#[test]
fn a_fault_is_told_by_the_byte_that_shows_it() {
    let good = header(0x21, 0x11, &ipv4_block());
    for at in 0..12 {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        check(&bytes, Err(ProxyFault::Signature));
        check(&bytes[..=at], Err(ProxyFault::Signature));
        assert_eq!(read_proxy_header(&bytes[..at]), Ok(ProxyHeader::Incomplete));
    }
    for (at, byte, fault) in [
        (12, 0x11, ProxyFault::Version(1)),
        (12, 0x31, ProxyFault::Version(3)),
        (12, 0x01, ProxyFault::Version(0)),
        (12, 0x22, ProxyFault::Command(2)),
        (12, 0x2f, ProxyFault::Command(15)),
        // Nobody knows from where, by datagrams, by a Unix socket, by what does not exist.
        (13, 0x00, ProxyFault::Family(0x00)),
        (13, 0x10, ProxyFault::Family(0x10)),
        (13, 0x12, ProxyFault::Family(0x12)),
        (13, 0x22, ProxyFault::Family(0x22)),
        (13, 0x31, ProxyFault::Family(0x31)),
        (13, 0x41, ProxyFault::Family(0x41)),
        (15, 11, ProxyFault::TooShort(11)),
        (15, 0, ProxyFault::TooShort(0)),
        (14, 2, ProxyFault::TooLong(0x20c)),
    ] {
        let mut bytes = good.clone();
        bytes[at] = byte;
        check(&bytes, Err(fault));
        let shown_at = at.max(if at == 14 { 15 } else { 0 });
        check(&bytes[..=shown_at], Err(fault));
        assert_eq!(read_proxy_header(&bytes[..at]), Ok(ProxyHeader::Incomplete));
    }
    check(&header(0x21, 0x21, &ipv6_block()[..35]), Err(ProxyFault::TooShort(35)));
}

#[test]
fn other_beginnings_are_no_header() {
    for bytes in
        [b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n".as_slice(), b"{", b"WRN1", b"GET /", b"\x16\x03"]
    {
        check(bytes, Err(ProxyFault::Signature));
    }
}
