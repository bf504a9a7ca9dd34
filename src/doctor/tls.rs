//! The check of the certificate.

use super::trials::CertificateFacts;
use super::{Facts, Row, counted};
use crate::tls::EXPIRY_DAYS_LOW;

const CHECK: &str = "certificate";
const REMEDY: &str = "renew it, and send the server SIGHUP: new connections get it at once";

pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    let Some(certificate) = &facts.trials.certificate else {
        return vec![Row::pass(CHECK, "`tls.certificate` is not set: no TLS")];
    };
    vec![match certificate {
        CertificateFacts::Unusable(error) => {
            let remedy = "give the server's user a certificate and its key in PEM form; the first \
                          certificate of the file is the server's own";
            Row::fail(CHECK, error.clone(), remedy)
        }
        CertificateFacts::Usable { days_left: None } => {
            Row::pass(CHECK, "usable; it does not say when it expires")
        }
        CertificateFacts::Usable { days_left: Some(days) } if *days < 0 => {
            Row::fail(CHECK, "expired", REMEDY)
        }
        CertificateFacts::Usable { days_left: Some(days) } => {
            let seen = format!("expires in {}", counted(*days as usize, "day"));
            if *days < EXPIRY_DAYS_LOW {
                Row::warn(CHECK, seen, REMEDY)
            } else {
                Row::pass(CHECK, seen)
            }
        }
    }]
}
