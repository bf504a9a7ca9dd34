//! Connections in TLS, with a real client of another hand's: rustls's.

use std::io::Cursor;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::hand_over::{Pair, conversation};
use super::proxied::{CLIENT, behind_proxies, header_of};
use super::*;
use crate::gateway::Protocol;
use crate::tls::TlsIdentity;

mod closing;
mod handshakes;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];
const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;

/// A certificate that was made here, and who trusts it.
struct Authority {
    identity: TlsIdentity,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        Self { identity, certificate: made.cert.der().clone() }
    }

    fn client_config(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    fn settings(&self) -> ReactorSettings {
        ReactorSettings { tls: Some(self.identity.clone()), ..small() }
    }

    fn client(&self, node: &Node, version: &'static SupportedProtocolVersion) -> SecureClient {
        SecureClient::new(node.client(), self.client_config(version))
    }

    /// A client of the binary protocol that was heard.
    #[track_caller]
    fn binary_client(&self, node: &mut Node) -> SecureClient {
        let mut client = self.client(node, TLS13);
        client.send(PREAMBLE);
        client.send(&frame("echo", &[]));
        node.until("the echo", |_| client.poll().received == frame("echo", &[]));
        client.received.clear();
        client
    }
}

/// A client in TLS.
struct SecureClient {
    client: Client,
    tls: ClientConnection,
    /// Plaintext.
    received: Vec<u8>,
    /// The server has said that no more comes.
    told_end: bool,
    error: Option<rustls::Error>,
    /// Most bytes that it sends between two polls.
    piece: usize,
    encrypted: Vec<u8>,
}

impl SecureClient {
    fn new(client: Client, config: ClientConfig) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
        tls.set_buffer_limit(None);
        Self {
            client,
            tls,
            received: Vec::new(),
            told_end: false,
            error: None,
            piece: usize::MAX,
            encrypted: Vec::new(),
        }
    }

    fn send(&mut self, plaintext: &[u8]) {
        self.tls.writer().write_all(plaintext).unwrap();
    }

    /// Sends and receives what there is.
    fn poll(&mut self) -> &Self {
        self.take_sealed();
        let count = self.encrypted.len().min(self.piece);
        let piece: Vec<u8> = self.encrypted.drain(..count).collect();
        self.client.send(&piece);
        self.client.poll();
        let bytes = std::mem::take(&mut self.client.received);
        let mut rest = Cursor::new(&bytes);
        while rest.position() < bytes.len() as u64 && self.error.is_none() && !self.told_end {
            self.tls.read_tls(&mut rest).unwrap();
            match self.tls.process_new_packets() {
                Ok(state) => {
                    let start = self.received.len();
                    self.received.resize(start + state.plaintext_bytes_to_read(), 0);
                    self.tls.reader().read_exact(&mut self.received[start..]).unwrap();
                    self.told_end = state.peer_has_closed();
                }
                Err(error) => self.error = Some(error),
            }
        }
        self
    }

    fn take_sealed(&mut self) {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.encrypted).unwrap();
        }
    }

    fn ended(&mut self) -> Option<End> {
        self.poll();
        self.client.ended
    }

    fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.tls.peer_certificates().map(|chain| chain[0].clone().into_owned())
    }
}

fn tls_failures(node: &Node) -> u64 {
    node.reactor.counters().closes[Reason::TlsFailed as usize]
}

#[track_caller]
fn ends_empty(node: &mut Node) {
    node.until("free slots", |node| node.reactor.open_count() == 0 && node.open.is_empty());
    let counters = node.reactor.counters();
    assert_eq!((counters.tls_connections, counters.tls_waiting_bytes), (0, 0));
    assert_eq!(counters.tls_record_bytes, 0);
    assert_eq!((counters.partial_frame_bytes, counters.send_queue_bytes), (0, 0));
    assert_eq!(node.reactor.held_count(), 0);
}

#[test]
fn every_protocol_is_spoken_in_tls() {
    let authority = Authority::new();
    for version in VERSIONS {
        for &protocol in Protocol::ALL {
            let mut node = Node::start(authority.settings());
            node.shard = ShardId(1);
            node.answer_turns = 0;
            let (said, heard) = conversation(protocol);
            let mut client = authority.client(&node, version);
            client.send(&said);
            node.until("all answers", |_| client.poll().received.len() >= heard.len());
            assert_eq!(client.received, heard, "{protocol:?}");
            assert_eq!(client.tls.protocol_version(), Some(version.version));
            let counters = node.reactor.counters();
            assert_eq!(counters.connections[protocol as usize], 1, "{protocol:?}");
            assert_eq!((counters.tls_connections, counters.connections_undetected), (1, 0));
            drop(client);
            ends_empty(&mut node);
        }
    }
}

#[test]
fn handshake_and_messages_may_be_cut_at_every_byte() {
    let authority = Authority::new();
    let mut node = Node::start(authority.settings());
    for version in VERSIONS {
        for piece in [1, 2, 3, 5, 64] {
            let mut client = authority.client(&node, version);
            client.piece = piece;
            let said = [PREAMBLE.as_slice(), &numbered(1, 40), &numbered(2, 0)].concat();
            client.send(&said);
            node.until("the echoes", |_| client.poll().received.len() >= said.len() - 4);
            assert_eq!(client.received, said[4..]);
            drop(client);
            ends_empty(&mut node);
        }
    }
}

#[test]
fn a_proxy_s_header_stands_before_the_handshake() {
    let authority = Authority::new();
    for tls_required in [false, true] {
        let settings = ReactorSettings { tls_required, ..authority.settings() };
        let mut node = Node::start(behind_proxies(settings));
        for (round, piece) in [usize::MAX, 1, 27, 29, 100].into_iter().enumerate() {
            let mut client = authority.client(&node, TLS13);
            // In one piece with what the client says first, and in many.
            client.encrypted.extend(header_of(CLIENT));
            client.piece = piece;
            client.send(PREAMBLE);
            client.send(&frame("echo", &[]));
            node.until("the echo", |_| client.poll().received == frame("echo", &[]));
            assert_eq!(node.peers(), [CLIENT], "{piece}");
            assert_eq!(node.reactor.counters().proxied, round as u64 + 1);
            drop(client);
            ends_empty(&mut node);
        }
    }
}

#[test]
fn plaintext_and_tls_share_a_port_and_its_rooms() {
    let authority = Authority::new();
    let mut node = Node::start(authority.settings());
    let mut secure: Vec<SecureClient> =
        (0..5).map(|_| authority.binary_client(&mut node)).collect();
    let mut plain: Vec<Client> = (0..5).map(|_| node.binary_client()).collect();
    let before = node.reactor.counters().clone();
    let all = frame("all", &[("a", Value::Text(TEXT))]);
    secure[2].send(&all);
    secure[2].poll();
    for client in &mut plain {
        node.until("the message", |_| client.poll().received == all);
    }
    for client in &mut secure {
        node.until("the message", |_| client.poll().received == all);
    }
    let after = node.reactor.counters();
    assert_eq!(after.messages_encoded - before.messages_encoded, 1);
    assert_eq!(after.sends - before.sends, 10);
    drop((secure, plain));
    ends_empty(&mut node);
}

#[test]
fn plaintext_is_refused_where_tls_is_required() {
    let authority = Authority::new();
    let settings = || ReactorSettings { tls_required: true, ..authority.settings() };
    for fixed_protocol in [None, Some(Protocol::Json), Some(Protocol::Binary)] {
        let mut node = Node::start(ReactorSettings { fixed_protocol, ..settings() });
        for first in [b"{\"msg\":\"echo\"}\n".as_slice(), PREAMBLE, b"\n", b"GET / HTTP/1.1\r\n"] {
            let mut client = node.client();
            client.send(first);
            node.until("the end", |_| client.poll().ended.is_some());
            let line = "{\"msg\":\"closed\",\"status\":426,\"error\":\"tls-required\"}\n";
            assert_eq!(String::from_utf8_lossy(&client.received), line);
        }
        assert_eq!(node.reactor.counters().closes[Reason::TlsRequired as usize], 4);
        assert_eq!((node.opened_count, node.reactor.counters().messages_in), (0, 0));
    }
    let mut node = Node::start(settings());
    drop(authority.binary_client(&mut node));
    ends_empty(&mut node);
}

#[test]
fn a_port_of_one_protocol_speaks_it_with_and_without_tls() {
    let authority = Authority::new();
    for protocol in [Protocol::Json, Protocol::ConnServerB, Protocol::Binary, Protocol::Xml] {
        let settings = ReactorSettings { fixed_protocol: Some(protocol), ..authority.settings() };
        let mut node = Node::start(settings);
        node.shard = ShardId(1);
        node.answer_turns = 0;
        let (said, heard) = conversation(protocol);
        let mut plain = node.client();
        plain.send(&said);
        node.until("all answers", |_| plain.poll().received == heard);
        let mut secure = authority.client(&node, TLS13);
        secure.send(&said);
        node.until("all answers", |_| secure.poll().received == heard);
    }
}

#[test]
fn without_a_certificate_tls_is_no_protocol() {
    let mut node = Node::start(small());
    let mut client = Authority::new().client(&node, TLS13);
    node.until("the end", |_| client.ended().is_some());
    let closes = node.reactor.counters().closes;
    assert_eq!(closes[Reason::UnknownProtocol as usize], 1);
}

#[test]
fn what_is_no_message_is_answered_within_tls() {
    let authority = Authority::new();
    for (bytes, expected) in [
        (
            b"\0\0\0\0".as_slice(),
            "{\"msg\":\"closed\",\"status\":400,\"error\":\"unknown-protocol\"}\n",
        ),
        (
            b"\x16\x03\x01\x00\x05hello",
            "{\"msg\":\"closed\",\"status\":400,\"error\":\"unknown-protocol\"}\n",
        ),
        (b"<policy-file-request/>\0", &format!("{}\0", crate::reactor::FLASH_POLICY_CLOSED)),
        (b"{]\n", "{\"msg\":\"error\",\"status\":400,\"error\":\"malformed\"}\n"),
    ] {
        let mut node = Node::start(authority.settings());
        let mut client = authority.client(&node, TLS13);
        client.send(bytes);
        node.until("the answer", |_| client.poll().received.len() >= expected.len());
        assert_eq!(String::from_utf8_lossy(&client.received), expected);
    }
}

#[test]
fn a_new_certificate_is_for_those_who_come_after_it() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut node = Node::start(old.settings());
    let mut before = old.binary_client(&mut node);
    node.reactor.set_tls(new.identity.clone());
    let mut after = new.binary_client(&mut node);
    for client in [&mut before, &mut after] {
        client.send(&numbered(1, 10));
        node.until("the echo", |_| client.poll().received == numbered(1, 10));
    }
    assert_eq!(before.certificate(), Some(old.certificate.clone()));
    assert_eq!(after.certificate(), Some(new.certificate.clone()));
    // Who trusts only the old one does not go on.
    let mut distrusts = old.client(&node, TLS13);
    node.until("the end", |_| distrusts.ended().is_some());
    assert_eq!(tls_failures(&node), 1);
}

#[test]
fn keys_may_be_renewed_at_any_time() {
    let authority = Authority::new();
    let mut node = Node::start(authority.settings());
    let mut client = authority.binary_client(&mut node);
    let mut expected = Vec::new();
    for number in 0..10 {
        client.tls.refresh_traffic_keys().unwrap();
        client.send(&numbered(number, 50));
        expected.extend(numbered(number, 50));
        node.until("the echo", |_| client.poll().received == expected);
    }
}

#[test]
fn clients_that_offer_http_get_it_and_others_are_refused() {
    let authority = Authority::new();
    let mut node = Node::start(authority.settings());
    for (offered, taken) in [(vec!["h2", "http/1.1"], Some("http/1.1")), (vec!["h2"], None)] {
        let mut config = authority.client_config(TLS13);
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut client = SecureClient::new(node.client(), config);
        client.send(&[PREAMBLE.as_slice(), &numbered(1, 10)].concat());
        if let Some(taken) = taken {
            node.until("the echo", |_| client.poll().received == numbered(1, 10));
            assert_eq!(client.tls.alpn_protocol(), Some(taken.as_bytes()));
        } else {
            node.until("the end", |_| client.ended().is_some());
            assert_eq!(tls_failures(&node), 1);
        }
    }
}

#[test]
fn a_connection_in_tls_goes_to_another_shard_wherever_it_is_cut() {
    let authority = Authority::new();
    let mut pair = Pair::start([authority.settings(), authority.settings()]);
    for (protocol, version) in
        [(Protocol::Binary, TLS13), (Protocol::Json, &rustls::version::TLS12)]
    {
        let (said, heard) = conversation(protocol);
        for at in 0..said.len() {
            let mut client = authority.client(&pair.nodes[0], version);
            let (first, second) = said.split_at(at);
            client.send(first);
            pair.until("the handshake", |_| !client.poll().tls.is_handshaking());
            // One record in two pieces.
            client.send(second);
            client.take_sealed();
            client.piece = client.encrypted.len() / 2;
            pair.until("all answers", |_| client.poll().received.len() >= heard.len());
            assert_eq!(client.received, heard, "{protocol:?} cut at {at}");
            let [from, to] = &pair.nodes;
            assert_eq!(from.reactor.counters().tls_connections, 0);
            assert_eq!(to.reactor.counters().tls_connections, 1);
            drop(client);
            pair.ends_empty();
        }
    }
}

#[test]
fn an_end_within_tls_is_not_forgotten_on_the_way() {
    let authority = Authority::new();
    let mut pair = Pair::start([authority.settings(), authority.settings()]);
    let mut client = authority.client(&pair.nodes[0], TLS13);
    pair.until("the handshake", |_| !client.poll().tls.is_handshaking());
    let (said, heard) = conversation(Protocol::Binary);
    client.send(&said);
    client.tls.send_close_notify();
    pair.until("the end", |_| client.ended().is_some());
    assert_eq!((&client.received, client.told_end), (&heard, true));
    assert_eq!(pair.closes(1, Reason::PeerClosed), 1);
    pair.ends_empty();
}
