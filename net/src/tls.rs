//! TLS: a certificate with its key, and one connection's encryption. Pure: bytes in, bytes out; the
//! sockets are the reactor's.
//!
//! ```text
//! received bytes -> rustls -> plaintext -> the gateways
//! sent bytes     <- rustls <- plaintext <- the gateways
//! ```
//!
//! Versions 1.2 and 1.3. A client keeps nothing here between two connections: no session tickets,
//! no early data. Everything that waits inside rustls is taken out after each step, so what a
//! connection holds is a record that has not come as a whole, at most 18 KiB, or 64 KiB while it
//! shakes hands; and besides its keys a read buffer of rustls's, which has 4 KiB also when nothing
//! is in it. Where records begin and end we count ourselves: rustls does not tell whether it waits
//! for the rest of one.

mod validity;

pub use validity::{begins_s, expires_s};

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::{Error, InconsistentKeys, ServerConnection};
use warren_core::reason::Reason;

/// The first byte of every TLS connection: a handshake record.
pub(crate) const TLS_FIRST_BYTE: u8 = 0x16;
/// What may wait inside rustls to be sent: two records and more, so that a flight of the handshake
/// fits.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Received bytes of a handshake that wait for their turn. A client says less than this before it
/// was answered.
const WAITING_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a record before its content: what it is, its version, its length.
const RECORD_HEADER_BYTES: usize = 5;
/// What clients may offer that name their protocol before it is spoken (ALPN): browsers do.
const APPLICATION_PROTOCOL: &[u8] = b"http/1.1";

/// A certificate with its key, ready to be used by any number of connections.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    config: Arc<ServerConfig>,
    expires_s: Option<i64>,
}

impl PartialEq for TlsIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for TlsIdentity {}

/// Why a certificate and a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsIdentityError {
    /// The first file has no certificate.
    #[error("no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)")]
    CertificateMissing,
    /// It has something that is none.
    #[error("no valid certificate: {0}")]
    CertificateInvalid(String),
    /// The second file has no private key.
    #[error("no private key in PEM form (`-----BEGIN PRIVATE KEY-----`)")]
    KeyMissing,
    /// It has one that cannot be used.
    #[error("no usable private key: {0}")]
    KeyInvalid(String),
    /// The key is another certificate's.
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
}

impl TlsIdentityError {
    /// Whether it is the key's file that is at fault.
    #[must_use]
    pub const fn is_of_key(&self) -> bool {
        matches!(self, Self::KeyMissing | Self::KeyInvalid(_) | Self::KeyMismatch)
    }
}

impl TlsIdentity {
    /// Reads the certificate, with those that lead from it to one that clients trust, and its key.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsIdentityError> {
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsIdentityError::CertificateInvalid(error.to_string()))?;
        let first = chain.first().ok_or(TlsIdentityError::CertificateMissing)?;
        let expires_s = validity::expires_s(first);
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => TlsIdentityError::KeyMissing,
            error => TlsIdentityError::KeyInvalid(error.to_string()),
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let signer = provider
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(|error| TlsIdentityError::KeyInvalid(error.to_string()))?;
        drop(signer);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    TlsIdentityError::KeyMismatch
                }
                error => TlsIdentityError::CertificateInvalid(error.to_string()),
            })?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![APPLICATION_PROTOCOL.to_vec()];
        Ok(Self { config: Arc::new(config), expires_s })
    }

    /// When the certificate expires, in seconds since 1970, if that could be read.
    #[must_use]
    pub fn expires_s(&self) -> Option<i64> {
        self.expires_s
    }
}

/// How far the record is that comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RecordProgress {
    header: [u8; RECORD_HEADER_BYTES],
    /// Bytes of it that have come, its header included; 0 between two records.
    come: usize,
}

impl RecordProgress {
    /// Takes received bytes. Returns whether the record that is half here began among them.
    fn advance(&mut self, mut bytes: &[u8]) -> bool {
        let mut began = false;
        while let Some(first) = bytes.first() {
            began |= self.come == 0;
            if self.come < RECORD_HEADER_BYTES {
                self.header[self.come] = *first;
                self.come += 1;
                bytes = &bytes[1..];
            } else {
                let count = bytes.len().min(self.whole_bytes() - self.come);
                self.come += count;
                bytes = &bytes[count..];
            }
            if self.come >= RECORD_HEADER_BYTES && self.come == self.whole_bytes() {
                (self.come, began) = (0, false);
            }
        }
        began
    }

    /// What the header says. It may say anything: what is too long fails in rustls.
    fn whole_bytes(&self) -> usize {
        let [.., high, low] = self.header;
        RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]))
    }
}

/// A handshake has said too much before its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMuch;

/// The encryption of one connection.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: ServerConnection,
    /// The peer has said that it says no more.
    peer_closed: bool,
    /// Nothing that the peer says is believed any more, and nothing but an alert is sent.
    failed: bool,
    /// The peer is to hear that no more comes, after what it gets this turn.
    closing: bool,
    /// Bytes of a handshake that wait for their turn.
    waiting: Vec<u8>,
    /// How the connection has ended behind them.
    waiting_end: Option<Reason>,
    record: RecordProgress,
    /// The half-received record began among the bytes received last.
    record_began: bool,
}

impl Tls {
    pub(crate) fn new(identity: &TlsIdentity) -> Self {
        let connection = ServerConnection::new(Arc::clone(&identity.config));
        let mut connection = connection.expect("the identity was checked");
        connection.set_buffer_limit(Some(BUFFER_BYTES_MAX));
        Self {
            connection,
            peer_closed: false,
            failed: false,
            closing: false,
            waiting: Vec::new(),
            waiting_end: None,
            record: RecordProgress::default(),
            record_began: false,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The peer has said that it says no more.
    pub(crate) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether there is something to send that is not the gateways'.
    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Bytes of the half-received record.
    pub(crate) fn record_bytes(&self) -> usize {
        self.record.come
    }

    /// Whether that record began among the bytes received last.
    pub(crate) fn record_began(&self) -> bool {
        self.record_began
    }

    /// Keeps bytes until it is their turn.
    pub(crate) fn wait(&mut self, bytes: &[u8]) -> Result<(), TooMuch> {
        if self.waiting.len() + bytes.len() > WAITING_BYTES_MAX {
            return Err(TooMuch);
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// Number of bytes that wait for their turn.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing comes behind the bytes that wait.
    pub(crate) fn end_waits(&mut self, reason: Reason) {
        self.waiting_end = Some(reason);
    }

    /// Bytes whose turn it is, and the end behind them.
    pub(crate) fn take_waiting(&mut self) -> (Vec<u8>, Option<Reason>) {
        (std::mem::take(&mut self.waiting), self.waiting_end.take())
    }

    /// Appends the plaintext of received bytes, also of those before a fault.
    pub(crate) fn receive(&mut self, bytes: &[u8], plaintext: &mut Vec<u8>) -> Result<(), Error> {
        self.record_began = self.record.advance(bytes);
        let mut rest = bytes;
        while !rest.is_empty() && !self.peer_closed && !self.failed {
            let taken = self.connection.read_tls(&mut rest);
            let result = match taken {
                Ok(0) => return Ok(()),
                Ok(_) => self.connection.process_new_packets(),
                Err(error) => Err(Error::General(error.to_string())),
            };
            if let Ok(state) = &result {
                self.peer_closed = state.peer_has_closed();
            }
            self.take_plaintext(plaintext);
            self.failed = result.is_err();
            result?;
        }
        Ok(())
    }

    fn take_plaintext(&mut self, plaintext: &mut Vec<u8>) {
        const STEP_BYTES: usize = 4096;
        loop {
            let start = plaintext.len();
            plaintext.resize(start + STEP_BYTES, 0);
            // It ends with an error where more may come, and with nothing where none will.
            let count = self.connection.reader().read(&mut plaintext[start..]).unwrap_or(0);
            plaintext.truncate(start + count);
            if count == 0 {
                return;
            }
        }
    }

    /// Appends what is to be sent: handshake, alerts, and this plaintext if the peer can read it
    /// yet.
    pub(crate) fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        self.take_sealed(out);
        if self.is_handshaking() || self.failed {
            return;
        }
        let mut rest = plaintext;
        while !rest.is_empty() {
            let written = self.connection.writer().write(rest);
            let written = written.expect("rustls writes to memory");
            assert!(written > 0, "what was written before has been taken");
            rest = &rest[written..];
            self.take_sealed(out);
        }
    }

    /// The peer is to hear the end after what is sealed next.
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    /// Appends the end, if the peer is to hear it now.
    pub(crate) fn seal_close(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.closing) && !self.failed {
            self.connection.send_close_notify();
            self.take_sealed(out);
        }
    }

    fn take_sealed(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            self.connection.write_tls(out).expect("a vector takes everything");
        }
    }
}

#[cfg(test)]
mod tests;
