//! The upgrade from HTTP (RFC 6455, section 4): one bounded request, one answer.

use std::io::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::{EMPTY_HEADER, Header, Request, Status};
use memchr::memmem;
use sha1::{Digest, Sha1};
use warren_core::reason::Reason;

use crate::gateway::{Protocol, closed_line};

/// Most headers of a request.
pub const HEADERS_MAX: usize = 64;
/// The one version of WebSocket.
pub const WEBSOCKET_VERSION: &str = "13";

/// What is joined to a client's key, so that the answer shows that it was understood.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;
/// What a browser shows that was pointed at the port.
const NO_UPGRADE_SENTENCE: &str = "This port speaks to game clients, over WebSocket among others; it serves no pages. \
     (error: upgrade-invalid)\n";

const SUBPROTOCOLS: [(&str, Protocol); 2] =
    [("warren.json", Protocol::WebSocketJson), ("warren.binary", Protocol::WebSocketBinary)];

/// What the configuration says about upgrades.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeSettings {
    /// Longest HTTP request, in bytes.
    pub header_bytes_max: usize,
    /// Origins whose pages may connect, `*` for any. With none, pages of this machine may.
    pub origins: Arc<[String]>,
}

impl Default for UpgradeSettings {
    fn default() -> Self {
        Self { header_bytes_max: 8 * 1024, origins: Arc::new([]) }
    }
}

/// What a request for an upgrade came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// It is not whole yet.
    Incomplete,
    /// Frames follow; the answer was appended.
    Accepted {
        /// The subprotocol.
        protocol: Protocol,
        /// Bytes of the request.
        consumed: usize,
    },
    /// It is refused; the answer was appended.
    Refused {
        /// Why.
        reason: Reason,
    },
}

/// Takes the request at the beginning of `bytes`, and appends the answer to `answer`. `scanned` is
/// as in [`DecodeState`](crate::gateway::DecodeState); `fixed` is the one protocol of the port.
pub fn upgrade(
    settings: &UpgradeSettings,
    fixed: Option<Protocol>,
    bytes: &[u8],
    scanned: &mut usize,
    answer: &mut Vec<u8>,
) -> Upgrade {
    let window = &bytes[..bytes.len().min(settings.header_bytes_max)];
    // The end may have begun in bytes that were searched.
    let searched = scanned.saturating_sub(HEADER_END_BYTES_MAX - 1).min(window.len());
    // Empty lines before a request are no end of it: its parser passes over them.
    let blank = window.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let searched = searched.max(blank);
    let Some(_) = find_header_end(&window[searched..]) else {
        if bytes.len() >= settings.header_bytes_max {
            return refuse(&Refusal::Reason(Reason::HeaderTooLarge), answer);
        }
        *scanned = bytes.len();
        return Upgrade::Incomplete;
    };
    *scanned = 0;
    match read_request(settings, fixed, window) {
        Ok((protocol, key, consumed)) => {
            write_accepted(protocol, key, answer);
            Upgrade::Accepted { protocol, consumed }
        }
        Err(refusal) => refuse(&refusal, answer),
    }
}

/// Bytes of the longest end of a header that [`find_header_end`] looks for.
const HEADER_END_BYTES_MAX: usize = 3;

/// Where the header of a request or an answer ends, as its parser has it: with an empty line.
pub(super) fn find_header_end(bytes: &[u8]) -> Option<usize> {
    let ends = [b"\n\r\n".as_slice(), b"\n\n"];
    let ends = ends.map(|end| memmem::find(bytes, end).map(|at| at + end.len()));
    ends.into_iter().flatten().min()
}

/// Why a request is refused.
enum Refusal {
    /// It asks for no upgrade: somebody looks at the port with a browser.
    NoUpgrade,
    /// It asks for another version of WebSocket.
    Version,
    /// Anything else.
    Reason(Reason),
}

impl Refusal {
    const INVALID: Self = Self::Reason(Reason::UpgradeInvalid);

    fn reason(&self) -> Reason {
        match self {
            Self::NoUpgrade | Self::Version => Reason::UpgradeInvalid,
            Self::Reason(reason) => *reason,
        }
    }

    /// The HTTP status with its text, and headers of its own.
    fn status_line(&self) -> &'static str {
        match self {
            Self::NoUpgrade => "426 Upgrade Required\r\nUpgrade: websocket",
            Self::Version => {
                "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
            }
            Self::Reason(Reason::OriginRefused) => "403 Forbidden",
            Self::Reason(Reason::HeaderTooLarge) => "431 Request Header Fields Too Large",
            Self::Reason(_) => "400 Bad Request",
        }
    }
}

fn read_request<'b>(
    settings: &UpgradeSettings,
    fixed: Option<Protocol>,
    bytes: &'b [u8],
) -> Result<(Protocol, &'b [u8], usize), Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let consumed = match request.parse(bytes) {
        Ok(Status::Complete(consumed)) => consumed,
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::Reason(Reason::HeaderTooLarge));
        }
        Ok(Status::Partial) | Err(_) => return Err(Refusal::INVALID),
    };
    if request.version != Some(1) {
        return Err(Refusal::INVALID);
    }
    let headers = Headers(request.headers);
    if !headers.has_token("upgrade", "websocket") {
        return Err(Refusal::NoUpgrade);
    }
    if headers.one("sec-websocket-version")? != WEBSOCKET_VERSION.as_bytes() {
        return Err(Refusal::Version);
    }
    headers.one("host")?;
    let key = headers.one("sec-websocket-key")?;
    if !headers.has_token("connection", "upgrade") || !is_key(key) {
        return Err(Refusal::INVALID);
    }
    if headers.has("origin") && !settings.is_welcome(headers.one("origin")?) {
        return Err(Refusal::Reason(Reason::OriginRefused));
    }
    let protocol = headers.tokens("sec-websocket-protocol").find_map(|token| {
        let known = SUBPROTOCOLS.iter().find(|(name, _)| token == name.as_bytes());
        known.map(|(_, protocol)| *protocol).filter(|one| fixed.is_none_or(|fixed| fixed == *one))
    });
    Ok((protocol.ok_or(Refusal::INVALID)?, key, consumed))
}

/// The headers of a request.
struct Headers<'h, 'b>(&'h [Header<'b>]);

impl<'b> Headers<'_, 'b> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        let own = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        own.map(|header| header.value)
    }

    fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The header that is there once.
    fn one(&self, name: &str) -> Result<&'b [u8], Refusal> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (Some(value), None) => Ok(value.trim_ascii()),
            _ => Err(Refusal::INVALID),
        }
    }

    /// The items of the lists in these headers.
    fn tokens(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.all(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|one| one.eq_ignore_ascii_case(token.as_bytes()))
    }
}

fn is_key(key: &[u8]) -> bool {
    // The decoder wants room for whole groups.
    let mut bytes = [0; KEY_BYTES + 2];
    STANDARD.decode_slice(key, &mut bytes) == Ok(KEY_BYTES)
}

impl UpgradeSettings {
    fn is_welcome(&self, origin: &[u8]) -> bool {
        if self.origins.is_empty() {
            return is_loopback(origin);
        }
        self.origins.iter().any(|one| one == "*" || one.as_bytes() == origin)
    }
}

/// Whether the page came from this machine.
fn is_loopback(origin: &[u8]) -> bool {
    let Some(host) =
        [b"http://".as_slice(), b"https://"].iter().find_map(|scheme| origin.strip_prefix(*scheme))
    else {
        return false;
    };
    let Some(port) = [b"localhost".as_slice(), b"127.0.0.1", b"[::1]"]
        .iter()
        .find_map(|name| host.strip_prefix(*name))
    else {
        return false;
    };
    matches!(port, [] | [b':', _, ..]) && port.iter().skip(1).all(u8::is_ascii_digit)
}

/// The subprotocol's name, if the protocol is one of WebSocket.
pub(super) fn subprotocol_of(protocol: Protocol) -> Option<&'static str> {
    let own = SUBPROTOCOLS.iter().find(|(_, known)| *known == protocol);
    own.map(|(name, _)| *name)
}

/// What shows that a key was understood.
pub(super) fn accept_key(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(ACCEPT_SUFFIX);
    STANDARD.encode(hash.finalize())
}

fn write_accepted(protocol: Protocol, key: &[u8], answer: &mut Vec<u8>) {
    let accept = accept_key(key);
    let subprotocol = subprotocol_of(protocol).expect("it was asked for by its name");
    write!(
        answer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
    .expect("writing to memory does not fail");
}

fn refuse(refusal: &Refusal, answer: &mut Vec<u8>) -> Upgrade {
    let reason = refusal.reason();
    let (kind, body) = match refusal {
        Refusal::NoUpgrade => ("text/plain", NO_UPGRADE_SENTENCE.to_owned()),
        Refusal::Version | Refusal::Reason(_) => ("application/json", closed_line(reason)),
    };
    write!(
        answer,
        "HTTP/1.1 {}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        refusal.status_line(),
        body.len()
    )
    .expect("writing to memory does not fail");
    Upgrade::Refused { reason }
}
