//! Certificates and keys, made here.

use super::*;

fn made(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn a_certificate_and_its_key_are_an_identity() {
    let (certificate, key) = made("localhost");
    let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    assert_eq!(identity, identity.clone());
    // rcgen's certificates last for ever, as far as anybody now is concerned.
    assert!(identity.expires_s().unwrap() > 60_000_000_000);
    // Others that lead to one that clients trust may follow.
    let chain = [certificate.as_str(), &made("authority").0].concat();
    let again = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    assert_ne!(identity, again);
}

#[test]
fn what_is_wrong_is_named() {
    let (certificate, key) = made("localhost");
    let (other_certificate, other_key) = made("localhost");
    let begin = "-----BEGIN CERTIFICATE-----\n";
    let broken = format!("{begin}MAA=\n-----END CERTIFICATE-----\n");
    let no_base64 = format!("{begin}!!!\n-----END CERTIFICATE-----\n");
    let broken_key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    let check = |certificate: &str, key: &str, expected: &str, is_of_key: bool| {
        let error = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(error.is_of_key(), is_of_key, "{error}");
    };
    check("", &key, "no certificate in PEM form", false);
    check(&key, &key, "no certificate in PEM form", false);
    check(&no_base64, &key, "no valid certificate", false);
    check(&broken, &key, "no valid certificate", false);
    check(&certificate, "", "no private key in PEM form", true);
    check(&certificate, &certificate, "no private key in PEM form", true);
    check(&certificate, broken_key, "no usable private key", true);
    check(&certificate, &other_key, "the key does not belong to the certificate", true);
    check(&other_certificate, &key, "the key does not belong to the certificate", true);
}

#[test]
fn records_are_counted_wherever_they_are_cut() {
    let records =
        [[23, 3, 3, 0, 3].as_slice(), b"abc", &[23, 3, 3, 0, 0, 23, 3, 3, 1, 0], &[7; 256]];
    let bytes = records.concat();
    // Bytes of the record that is half here behind each byte.
    let expected: Vec<usize> =
        (1..8).chain([0]).chain(1..5).chain([0]).chain(1..261).chain([0]).collect();
    for piece in [1, 2, 3, 5, 7, 100, 1000] {
        let mut progress = RecordProgress::default();
        let mut at = 0;
        for piece in bytes.chunks(piece) {
            let began = progress.advance(piece);
            at += piece.len();
            assert_eq!(progress.come, expected[at - 1]);
            assert_eq!(began, (1..=piece.len()).contains(&progress.come));
        }
    }
}
