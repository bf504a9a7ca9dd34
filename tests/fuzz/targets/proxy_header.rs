//! What a proxy says before all else: the answer depends on the bytes alone, comes within the
//! longest header, never changes once it is given, and names nobody whom the bytes do not name.

use std::mem::discriminant;
use std::net::IpAddr;

use warren_net::proxy_header::{
    PROXY_HEADER_BYTES_MAX, PROXY_SIGNATURE, ProxyHeader, read_proxy_header,
};

use super::{Behaviour, Target, pieces};
use crate::corpus::Seed;
use crate::heap::heap_of;
use crate::prng::Prng;

pub(crate) const TARGET: Target = Target {
    name: "proxy-header",
    words: &[
        PROXY_SIGNATURE,
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        b"\x21\x11",
        b"\x21\x21",
        b"\x21\x31\0\xd8",
        b"\x21\x12",
        b"\x20\x00",
        b"\x02\x08",
        b"\x02\x09",
        b"\0\x0c",
        b"\0\x24",
        b"\xff\xff",
        // Values behind the addresses: a load balancer's, a checksum, TLS.
        b"\xea\0\x17\x01vpce-08d2bf15fac5001c9",
        b"\x03\0\x04\x01\x02\x03\x04",
        b"\x20\0\x08\x01\0\0\0\0\x21\0\0",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
        b"\x16\x03\x01",
        b"WRN1",
        b"{",
    ],
    seeds: || {
        let ipv4 = [203, 0, 113, 7, 192, 0, 2, 1, 0xc0, 1, 0x1c, 3];
        let mut ipv6 = [0; 36];
        ipv6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        let mut longest = ipv4.to_vec();
        longest.resize(PROXY_HEADER_BYTES_MAX - 16, 4);
        let seed = |name: &str, begin: [u8; 2], rest: &[u8]| {
            let length = (rest.len() as u16).to_be_bytes();
            let bytes = [PROXY_SIGNATURE.as_slice(), &begin, &length, rest, b"{\"msg\""].concat();
            Seed { name: name.to_owned(), bytes }
        };
        vec![
            seed("IPv4", [0x21, 0x11], &ipv4),
            seed("IPv6", [0x21, 0x21], &ipv6),
            seed("of itself", [0x20, 0], &[]),
            seed("of a Unix socket", [0x21, 0x31], &[b'/'; 216]),
            seed("longest", [0x21, 0x11], &longest),
        ]
    },
    check,
    inputs: 200_000,
};

fn check(bytes: &[u8], prng: &mut Prng) -> Behaviour {
    let mut whole = Ok(ProxyHeader::Incomplete);
    let (peak, _) = heap_of(|| whole = read_proxy_header(bytes));
    assert_eq!(peak, 0, "it looks at the bytes where they are");
    match whole {
        Ok(ProxyHeader::Incomplete) => {
            assert!(bytes.len() < PROXY_HEADER_BYTES_MAX, "undecided beyond the limit");
        }
        Ok(ProxyHeader::Whole { client, consumed }) => {
            assert!(bytes.starts_with(PROXY_SIGNATURE));
            let length = u16::from_be_bytes([bytes[14], bytes[15]]);
            assert_eq!(consumed, 16 + usize::from(length));
            assert!(consumed <= PROXY_HEADER_BYTES_MAX && consumed <= bytes.len());
            assert_eq!(client, named(bytes).map(|client| client.to_canonical()));
        }
        Err(_) => {}
    }
    let mut end = 0;
    for piece in pieces(bytes, prng) {
        end += piece.len();
        match read_proxy_header(&bytes[..end]) {
            Ok(ProxyHeader::Incomplete) => {}
            read => {
                assert_eq!(read, whole, "told by the first {end} bytes, and by all of them");
                break;
            }
        }
    }
    match whole {
        Ok(ProxyHeader::Incomplete) => Behaviour::of(bytes.len().min(17)),
        Ok(ProxyHeader::Whole { client, consumed }) => {
            Behaviour::of((client.map(|client| client.is_ipv4()), consumed.min(64)))
        }
        Err(fault) => Behaviour::of(discriminant(&fault)),
    }
}

/// Where the client of a header without a fault is.
fn named(bytes: &[u8]) -> Option<IpAddr> {
    match (bytes[12], bytes[13]) {
        (0x21, 0x11) => Some(<[u8; 4]>::try_from(&bytes[16..20]).unwrap().into()),
        (0x21, 0x21) => Some(<[u8; 16]>::try_from(&bytes[16..32]).unwrap().into()),
        (0x20, _) => None,
        begin => panic!("no header begins with {begin:?}"),
    }
}
