//! TLS with the real server: its certificate from files, renewed while it runs.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::{Client, Stream};
use crate::operations::TestPath;
use crate::server::{TestServer, command};

const HANGUP: i32 = 1;

/// A server's files.
pub(crate) struct Files {
    config: TestPath,
    certificate: TestPath,
    key: TestPath,
}

impl Files {
    /// With what else is to be configured.
    pub(crate) fn new(config: &str) -> Self {
        let path = TestPath::new;
        let this =
            Self { config: path("config"), certificate: path("certificate"), key: path("key") };
        let (certificate, key) = (this.certificate.0.display(), this.key.0.display());
        let text = format!(
            "[log]\nformat = \"json\"\n[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n{config}"
        );
        std::fs::write(&this.config.0, text).unwrap();
        this
    }

    /// Writes a new certificate with its key, which only itself vouches for.
    pub(crate) fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&self.certificate.0, made.cert.pem()).unwrap();
        std::fs::write(&self.key.0, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    pub(crate) fn certificate_path(&self) -> &Path {
        &self.certificate.0
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = command(&[name, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(["--shards", "2", "--config"]).arg(&self.config.0);
        command.stderr(Stdio::piped());
        command
    }
}

type SecureStream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// How a client is that trusts this certificate alone.
pub(crate) fn trusting(certificate: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A connection in TLS, whose handshake comes with the first bytes.
pub(crate) fn secured(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), stream)
}

fn connect(address: SocketAddr, trusted: &CertificateDer<'static>) -> SecureStream {
    BufReader::new(secured(Stream::connect(address), &trusting(trusted)))
}

fn log_in(stream: &mut SecureStream, user: &str) {
    let login = format!("{{\"msg\":\"login\",\"user\":\"{user}\"}}\n");
    stream.get_mut().write_all(login.as_bytes()).unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.contains("\"status\":0"), "{line}");
}

#[test]
fn users_meet_whether_in_tls_or_not_and_the_certificate_is_renewed() {
    let files = Files::new("");
    let first = files.renew();
    let mut server = TestServer::spawn(files.command("serve"));
    let mut secure = connect(server.listen, &first);
    log_in(&mut secure, "ann");
    let mut plain = Client::log_in(server.listen, "bob");
    plain.send("{\"msg\":\"chat\",\"to\":\"ann\",\"text\":\"hi\"}\n");
    let mut line = String::new();
    while !line.contains("\"from\":\"bob\"") {
        line.clear();
        secure.read_line(&mut line).unwrap();
    }
    server.metric_becomes("warren_tls_connections", "", 1);

    let second = files.renew();
    server.signal(HANGUP);
    server.logged("new connections get the certificate as it is now");
    // Each shard sees it at its next turn.
    server.logged("read the configuration again");
    let renewed = std::iter::repeat_with(|| {
        let mut stream = connect(server.listen, &second);
        stream.get_mut().write_all(b"{\"msg\":\"ping\"}\n").is_ok()
    });
    assert!(renewed.take(1000).any(|renewed| renewed));

    std::fs::write(&files.key.0, "no key").unwrap();
    server.signal(HANGUP);
    let refused = server.logged("the certificate cannot be used: the one before stays");
    assert!(refused["error"].as_str().unwrap().starts_with("`tls.key` is"), "{refused}");
    log_in(&mut connect(server.listen, &second), "eve");
    secure.get_mut().write_all(b"{\"msg\":\"ping\"}\n").unwrap();
    line.clear();
    secure.read_line(&mut line).unwrap();
    server.stop();
}

#[test]
fn a_bad_certificate_is_a_bad_configuration() {
    let files = Files::new("");
    files.renew();
    std::fs::write(&files.certificate.0, "no certificate").unwrap();
    for name in ["serve", "check-config"] {
        let ended = files.command(name).output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(78), "{told}");
        assert!(told.contains("`tls.certificate` is"), "{told}");
        assert!(told.contains("no certificate in PEM form"), "{told}");
    }
}
