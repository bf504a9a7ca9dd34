use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use rustls::pki_types::PrivateKeyDer;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::*;
use crate::certificate::Files;

const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;

/// A folder of this test alone.
struct Folder(PathBuf);

impl Folder {
    fn create(name: &str) -> Self {
        let name = format!("warren-bench-tls-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A server that would resume a session, if a client had kept one.
fn server_config(files: &Files, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(&files.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    Arc::new(config)
}

/// A server and a client, and what each has read.
struct Pair {
    server: ServerConnection,
    client: Tls,
    server_heard: Vec<u8>,
    heard: Vec<u8>,
}

impl Pair {
    fn new(config: &Arc<ServerConfig>, client: &TlsClient) -> Self {
        let server = ServerConnection::new(Arc::clone(config)).unwrap();
        let client = client.connection().unwrap();
        Self { server, client, server_heard: Vec::new(), heard: Vec::new() }
    }

    /// Gives the server what the client sends when it says this.
    fn say(&mut self, said: &[u8]) {
        let sent = self.client.seal(said);
        let mut rest = &sent[..];
        while !rest.is_empty() {
            self.server.read_tls(&mut rest).unwrap();
            // What it does not like is in its alert.
            let Ok(state) = self.server.process_new_packets() else { continue };
            let start = self.server_heard.len();
            self.server_heard.resize(start + state.plaintext_bytes_to_read(), 0);
            self.server.reader().read_exact(&mut self.server_heard[start..]).unwrap();
        }
    }

    /// Gives the client what the server sends, in pieces of this length.
    fn answer(&mut self, length: usize) -> Result<(), Fault> {
        let mut sent = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut sent).unwrap();
        }
        let Self { client, heard, .. } = self;
        sent.chunks(length).try_for_each(|bytes| {
            client.receive(bytes, |plaintext| {
                heard.extend_from_slice(plaintext);
                Ok(())
            })
        })
    }

    /// Shakes hands; the client says this with its first bytes.
    fn shake_hands(&mut self, said: &[u8], length: usize) -> Result<(), Fault> {
        self.say(said);
        self.answer(length)?;
        assert!(self.client.wants_write(), "the end of the handshake");
        self.say(b"");
        assert!(!self.client.wants_write());
        self.answer(length)
    }

    /// What the server has heard since this was asked last.
    fn take_server_heard(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.server_heard)
    }
}

#[test]
fn what_is_said_before_and_after_the_handshake_is_heard_however_it_is_cut() {
    let folder = Folder::create("said");
    let files = Files::create(&folder.0).unwrap();
    let config = server_config(&files, TLS13);
    let client = TlsClient::trusting(&files.certificate).unwrap();
    for length in [1, 7, 100_000] {
        let mut pair = Pair::new(&config, &client);
        pair.shake_hands(b"login", length).unwrap();
        assert_eq!(pair.take_server_heard(), b"login");
        pair.say(b"one record");
        assert_eq!(pair.take_server_heard(), b"one record");
        let long: Vec<u8> = (0..50_000u32).map(|at| (at % 251) as u8).collect();
        pair.server.writer().write_all(&long).unwrap();
        pair.answer(length).unwrap();
        assert!(pair.heard == long, "in pieces of {length}");
        pair.say(&long);
        assert!(pair.take_server_heard() == long);
        assert_eq!(pair.client.seal(b""), b"", "nothing to send");
    }
}

#[test]
fn a_message_is_one_record_that_fits_what_was_made_for_it() {
    let folder = Folder::create("record");
    let files = Files::create(&folder.0).unwrap();
    let client = TlsClient::trusting(&files.certificate).unwrap();
    let mut pair = Pair::new(&server_config(&files, TLS13), &client);
    pair.shake_hands(b"", 100_000).unwrap();
    let sealed = pair.client.seal(&[7; 100]);
    assert_eq!((sealed.len(), sealed.capacity()), (122, 122));
}

#[test]
fn every_handshake_is_whole() {
    let folder = Folder::create("whole");
    let files = Files::create(&folder.0).unwrap();
    let config = server_config(&files, TLS13);
    let client = TlsClient::trusting(&files.certificate).unwrap();
    for _ in 0..3 {
        let mut pair = Pair::new(&config, &client);
        pair.shake_hands(b"", 100_000).unwrap();
        assert_eq!(pair.client.connection.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn another_certificate_an_older_version_and_plaintext_are_faults() {
    let folder = Folder::create("faults");
    let other = Folder::create("other");
    let files = Files::create(&folder.0).unwrap();
    let client = TlsClient::trusting(&files.certificate).unwrap();
    let stranger = server_config(&Files::create(&other.0).unwrap(), TLS13);
    for config in [stranger, server_config(&files, TLS12)] {
        let mut pair = Pair::new(&config, &client);
        let fault = pair.shake_hands(b"", 100_000);
        assert!(matches!(fault, Err(Fault::Tls(_))), "{fault:?}");
    }
    let mut plain = client.connection().unwrap();
    let fault = plain.receive(b"{\"msg\":\"closed\"}\n", |_| panic!("it was taken"));
    assert!(matches!(fault, Err(Fault::Tls(_))), "{fault:?}");
}

#[test]
fn an_end_and_a_fault_within_are_told_after_what_came_before() {
    let folder = Folder::create("end");
    let files = Files::create(&folder.0).unwrap();
    let config = server_config(&files, TLS13);
    let client = TlsClient::trusting(&files.certificate).unwrap();
    let mut pair = Pair::new(&config, &client);
    pair.shake_hands(b"", 100_000).unwrap();
    pair.server.writer().write_all(b"bye").unwrap();
    pair.server.send_close_notify();
    assert_eq!(pair.answer(100_000), Err(Fault::Ended));
    assert_eq!(pair.heard, b"bye");

    let mut pair = Pair::new(&config, &client);
    pair.shake_hands(b"", 100_000).unwrap();
    pair.server.writer().write_all(b"no frame").unwrap();
    let mut sent = Vec::new();
    pair.server.write_tls(&mut sent).unwrap();
    let result = pair.client.receive(&sent, |_| Err(Fault::Protocol));
    assert_eq!(result, Err(Fault::Protocol));
}

#[test]
fn a_file_without_a_certificate_is_refused() {
    let folder = Folder::create("none");
    let files = Files::create(&folder.0).unwrap();
    let error = TlsClient::trusting(&files.key).err().unwrap();
    assert!(format!("{error:#}").contains("key.pem"), "{error:#}");
}
