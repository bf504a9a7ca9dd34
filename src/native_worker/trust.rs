//! Whom a worker trusts that connects by TLS: who has a certificate of the server's name that somebody of the CA file
//! has signed, or of the system's where there is no such file. A certificate that is in the file itself does too,
//! as the server's own that was signed by itself.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use warren_net::tls::{begins_s, expires_s};

/// How connections by TLS begin that trust the certificates of this file; those of the system without one.
///
/// # Errors
/// The file cannot be read or has no certificate, or the system has none.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = Trust::of(ca_file, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn store_of(certificates: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Of what a system has, rustls leaves out what it does not understand.
    roots.add_parsable_certificates(certificates.iter().cloned());
    roots
}

/// rustls takes a certificate that may sign others for none of a server, also where it is the one that is trusted.
#[derive(Debug)]
struct Trust {
    verifier: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl Trust {
    fn of(ca_file: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let (roots, own) = match ca_file {
            Some(path) => {
                let told = |error: &dyn core::fmt::Display| format!("{}: {error}", path.display());
                let own = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
                let own: Vec<CertificateDer<'static>> = own.map_err(|error| told(&error))?;
                if own.is_empty() {
                    return Err(told(&"no certificate in PEM form"));
                }
                (store_of(&own), own)
            }
            None => (store_of(&rustls_native_certs::load_native_certs().certs), Vec::new()),
        };
        let (roots, provider) = (Arc::new(roots), Arc::clone(provider));
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let verifier = verifier.map_err(|error| format!("no certificate to trust: {error}"))?;
        Ok(Self { verifier, own })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.own.iter().any(|own| own == certificate) {
            return self.verifier.verify_server_cert(certificate, others, name, ocsp, now);
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        let times = begins_s(certificate).zip(expires_s(certificate));
        let (begins_s, expires_s) = times.ok_or(CertificateError::BadEncoding)?;
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now_s < begins_s {
            Err(CertificateError::NotValidYet.into())
        } else if now_s > expires_s {
            Err(CertificateError::Expired.into())
        } else {
            Ok(ServerCertVerified::assertion())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    /// Of this name, until then; it may sign others.
    fn params(name: &str, until_year: i32) -> CertificateParams {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        params
    }

    fn issuer(name: &str, until_year: i32) -> CertifiedIssuer<'static, KeyPair> {
        CertifiedIssuer::self_signed(params(name, until_year), KeyPair::generate().unwrap())
            .unwrap()
    }

    /// What is said of a server with this certificate, where these are in the file.
    fn said(
        file: &[&CertifiedIssuer<'static, KeyPair>],
        certificate: &CertificateDer<'_>,
        name: &str,
    ) -> Result<(), Error> {
        let path = std::env::temp_dir().join(format!("warren-trust-{}", std::process::id()));
        std::fs::write(&path, file.iter().map(|one| one.pem()).collect::<String>()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust = Trust::of(Some(&path), &provider).unwrap();
        std::fs::remove_file(&path).unwrap();
        let now = UnixTime::since_unix_epoch(core::time::Duration::from_secs(NOW_S));
        let name = ServerName::try_from(name).unwrap();
        trust.verify_server_cert(certificate, &[], &name, &[], now).map(|_| ())
    }

    #[test]
    fn a_certificate_of_the_file_or_that_one_of_it_has_signed_is_trusted_and_no_other() {
        let (own, other) = (issuer("localhost", 2099), issuer("localhost", 2099));
        let old = issuer("localhost", 2020);
        assert_eq!(said(&[&other, &own], own.der(), "localhost"), Ok(()));
        let wrong_name = said(&[&own], own.der(), "game.example.org").unwrap_err();
        assert!(wrong_name.to_string().contains("not valid for name"), "{wrong_name}");
        assert_eq!(said(&[&old], old.der(), "localhost"), Err(CertificateError::Expired.into()));
        assert!(said(&[&other], own.der(), "localhost").is_err());
        let mut new = params("localhost", 2099);
        new.not_before = rcgen::date_time_ymd(2098, 1, 1);
        let new = CertifiedIssuer::self_signed(new, KeyPair::generate().unwrap()).unwrap();
        let not_yet = Err(CertificateError::NotValidYet.into());
        assert_eq!(said(&[&new], new.der(), "localhost"), not_yet);
        let mut leaf = params("game.example.org", 2099);
        leaf.is_ca = IsCa::NoCa;
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &own).unwrap();
        assert_eq!(said(&[&own], leaf.der(), "game.example.org"), Ok(()));
        assert!(said(&[&own], leaf.der(), "localhost").is_err());
        assert!(said(&[&other], leaf.der(), "game.example.org").is_err());
    }

    #[test]
    fn a_file_without_a_certificate_is_told_of() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let why = |path: &str| Trust::of(Some(Path::new(path)), &provider).unwrap_err();
        assert!(why("/nowhere/ca.pem").starts_with("/nowhere/ca.pem: "));
        assert_eq!(why("/dev/null"), "/dev/null: no certificate in PEM form");
    }
}
