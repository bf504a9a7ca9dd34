//! The header by which a proxy says from where the client of a connection comes: the PROXY protocol,
//! version 2 (`proxy-protocol.txt` of HAProxy, section 2.2). It stands before all else, also before
//! TLS.
//!
//! ```text
//! bytes   12  signature
//!          1  version, 2, in the high half; command: 0 LOCAL, 1 PROXY
//!          1  family in the high half: 1 IPv4, 2 IPv6; transport: 1 a stream
//!          2  number of bytes that follow, the high one first
//!   12 or 36  where the client is, where it connected to, and both ports
//!   the rest  what else the proxy has to say
//! ```
//!
//! Of all that only the client's address is used. What it answers depends on the bytes alone, not on
//! the pieces in which they come, and a fault is told by the first byte that shows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest header: what the protocol asks senders to keep to, so that it fits the smallest segment of
/// TCP that every host takes.
pub const PROXY_HEADER_BYTES_MAX: usize = 536;
/// What every header begins with.
pub const PROXY_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;
const VERSION: u8 = 2;
const COMMAND_LOCAL: u8 = 0;
const COMMAND_PROXY: u8 = 1;
const IPV4_STREAM: u8 = 0x11;
const IPV6_STREAM: u8 = 0x21;
/// Two addresses and two ports.
const IPV4_BYTES: usize = 2 * (4 + 2);
const IPV6_BYTES: usize = 2 * (16 + 2);

/// What the first bytes of a proxy's connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The rest is still to come.
    Incomplete,
    /// The header is there.
    Whole {
        /// Where the client is; none where the proxy itself is the client, which looks whether
        /// the server is there.
        client: Option<IpAddr>,
        /// Bytes of the header.
        consumed: usize,
    },
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProxyFault {
    /// They begin otherwise: no header at all, or one of version 1.
    #[error("no header of version 2")]
    Signature,
    /// The header is of another version.
    #[error("version {0}")]
    Version(u8),
    /// Neither LOCAL nor PROXY.
    #[error("command {0}")]
    Command(u8),
    /// The client did not come by TCP.
    #[error("family and transport {0:#04x}")]
    Family(u8),
    /// There is no room for the addresses.
    #[error("{0} bytes are too few for its addresses")]
    TooShort(u16),
    /// More bytes follow than may.
    #[error("{0} bytes are too many")]
    TooLong(u16),
}

/// Reads the header at the beginning of all bytes received so far.
///
/// # Errors
/// What is wrong with it.
pub fn read_proxy_header(bytes: &[u8]) -> Result<ProxyHeader, ProxyFault> {
    let begin = &bytes[..bytes.len().min(PROXY_SIGNATURE.len())];
    if !PROXY_SIGNATURE.starts_with(begin) {
        return Err(ProxyFault::Signature);
    }
    let Some(&version_and_command) = bytes.get(12) else { return Ok(ProxyHeader::Incomplete) };
    let (version, command) = (version_and_command >> 4, version_and_command & 0xf);
    if version != VERSION {
        return Err(ProxyFault::Version(version));
    }
    if !matches!(command, COMMAND_LOCAL | COMMAND_PROXY) {
        return Err(ProxyFault::Command(command));
    }
    let Some(&family) = bytes.get(13) else { return Ok(ProxyHeader::Incomplete) };
    let address_bytes = match (command, family) {
        // Whatever it says of addresses is not meant.
        (COMMAND_LOCAL, _) => 0,
        (_, IPV4_STREAM) => IPV4_BYTES,
        (_, IPV6_STREAM) => IPV6_BYTES,
        _ => return Err(ProxyFault::Family(family)),
    };
    let Some(&[high, low]) = bytes.get(14..FIXED_BYTES) else { return Ok(ProxyHeader::Incomplete) };
    let length = u16::from_be_bytes([high, low]);
    let consumed = FIXED_BYTES + usize::from(length);
    if consumed > PROXY_HEADER_BYTES_MAX {
        return Err(ProxyFault::TooLong(length));
    }
    if usize::from(length) < address_bytes {
        return Err(ProxyFault::TooShort(length));
    }
    let Some(block) = bytes.get(FIXED_BYTES..consumed) else { return Ok(ProxyHeader::Incomplete) };
    let client = match address_bytes {
        IPV4_BYTES => block.first_chunk().map(|octets: &[u8; 4]| Ipv4Addr::from(*octets).into()),
        IPV6_BYTES => block.first_chunk().map(|octets: &[u8; 16]| Ipv6Addr::from(*octets).into()),
        _ => None,
    };
    // An IPv4 client may have come to the proxy by IPv6.
    let client = client.map(|client: IpAddr| client.to_canonical());
    Ok(ProxyHeader::Whole { client, consumed })
}

#[cfg(test)]
mod tests;
