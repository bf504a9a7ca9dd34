//! TLS of a generator's connections, by rustls: version 1.3, and a whole handshake for each. Pure:
//! bytes in, bytes out; the engine has the sockets.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::connections::Fault;
use crate::certificate;

/// What a record adds to its plaintext: a head, the kind of what is in it, and a tag.
const RECORD_EXTRA_BYTES: usize = 5 + 1 + 16;

/// Makes the connections of a generator.
pub(super) struct TlsClient {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsClient {
    /// Whoever has the key of this certificate is the server, and nobody else.
    ///
    /// # Errors
    /// When the file has no certificate.
    pub(super) fn trusting(certificate: &Path) -> Result<Self> {
        let trusted = CertificateDer::from_pem_file(certificate)
            .with_context(|| format!("reading {}", certificate.display()))?;
        let mut roots = RootCertStore::empty();
        roots.add(trusted).context("the server's certificate")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(certificate::NAME).context("the server's name")?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// A connection that is yet to shake hands.
    ///
    /// # Errors
    /// When there is no randomness to be had.
    pub(super) fn connection(&self) -> Result<Tls, rustls::Error> {
        let mut connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        // Nothing stays in it that could be sent.
        connection.set_buffer_limit(None);
        Ok(Tls { connection })
    }
}

/// The encryption of one connection.
pub(super) struct Tls {
    connection: ClientConnection,
}

impl Tls {
    /// Hands on the plaintext of received bytes, where rustls has it.
    ///
    /// # Errors
    /// When the bytes are no TLS of the server's, what it says is faulty, or it says no more.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let read = self.connection.read_tls(&mut rest);
            read.map_err(|error| Fault::Tls(error.to_string()))?;
            let state = self.connection.process_new_packets();
            let state = state.map_err(|error| Fault::Tls(error.to_string()))?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let mut reader = self.connection.reader();
                let plaintext = reader.fill_buf().expect("there are bytes left to read");
                let count = plaintext.len();
                take(plaintext)?;
                reader.consume(count);
                left -= count;
            }
            if state.peer_has_closed() {
                return Err(Fault::Ended);
            }
        }
        Ok(())
    }

    /// Whether there is something to send besides what the user says.
    pub(super) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// What is to be sent: of the handshake, and this plaintext once the server can read it. What is
    /// said before goes out with the end of the handshake.
    pub(super) fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let written = self.connection.writer().write_all(plaintext);
        written.expect("rustls writes to memory, without bound");
        let mut out = Vec::with_capacity(plaintext.len() + RECORD_EXTRA_BYTES);
        while self.connection.wants_write() {
            self.connection.write_tls(&mut out).expect("a vector takes everything");
        }
        out
    }
}

#[cfg(test)]
mod tests;
