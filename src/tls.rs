//! The server's certificate: read from its files at the start and whenever it is renewed, and given
//! to the shards without a lock where they turn.

use core::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use warren_net::tls::{TlsIdentity, TlsIdentityError};

use crate::clock::Clock;
use crate::config::TlsFiles;

/// From so many days before the end on an operator is warned.
pub const EXPIRY_DAYS_LOW: i64 = 14;
const DAY_S: i64 = 86_400;

/// Why the certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFileError {
    key: &'static str,
    path: PathBuf,
    detail: String,
}

impl fmt::Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {:?}: {}", self.key, self.path, self.detail)
    }
}

impl core::error::Error for TlsFileError {}

/// Reads the certificate and its key.
///
/// # Errors
/// Which of the files is at fault, and why.
pub fn read_identity(files: &TlsFiles) -> Result<TlsIdentity, TlsFileError> {
    let fault = |key, path: &Path, detail: String| {
        let path = path.to_owned();
        TlsFileError { key, path, detail }
    };
    let of_certificate = |detail| fault("tls.certificate", &files.certificate, detail);
    let of_key = |detail| fault("tls.key", &files.key, detail);
    let certificate =
        std::fs::read(&files.certificate).map_err(|error| of_certificate(error.to_string()))?;
    let key = std::fs::read(&files.key).map_err(|error| of_key(error.to_string()))?;
    TlsIdentity::from_pem(&certificate, &key).map_err(|error: TlsIdentityError| {
        if error.is_of_key() {
            of_key(error.to_string())
        } else {
            of_certificate(error.to_string())
        }
    })
}

/// Whole days until a certificate expires; negative when it has. None when it does not say.
#[must_use]
pub fn days_left(identity: &TlsIdentity) -> Option<i64> {
    let now_s = i64::try_from(Clock::start().now().wall_ms / 1000).unwrap_or(i64::MAX);
    Some((identity.expires_s()? - now_s).div_euclid(DAY_S))
}

/// Says in the log if the certificate is about to expire.
pub(crate) fn warn_of_expiry(identity: &TlsIdentity) {
    match days_left(identity) {
        Some(days) if days < 0 => {
            tracing::warn!("the certificate of `tls.certificate` has expired")
        }
        Some(days) if days < EXPIRY_DAYS_LOW => {
            tracing::warn!(days, "the certificate of `tls.certificate` expires soon");
        }
        _ => {}
    }
}

/// Where a renewed certificate waits for the shards. They look at a number once a turn, and take
/// the lock only when it has changed.
#[derive(Debug, Default)]
pub(crate) struct TlsRenewals {
    generation: AtomicU64,
    newest: Mutex<Option<TlsIdentity>>,
}

impl TlsRenewals {
    /// Connections that begin from now on get this certificate.
    pub(crate) fn renew(&self, identity: TlsIdentity) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// One shard's view of the renewals.
#[derive(Debug)]
pub(crate) struct TlsWatch {
    renewals: Arc<TlsRenewals>,
    seen: u64,
}

impl TlsWatch {
    pub(crate) fn new(renewals: Arc<TlsRenewals>) -> Self {
        Self { renewals, seen: 0 }
    }

    /// The certificate, if it is another than last time.
    pub(crate) fn renewed(&mut self) -> Option<TlsIdentity> {
        let generation = self.renewals.generation.load(Ordering::Acquire);
        if generation == self.seen {
            return None;
        }
        self.seen = generation;
        self.renewals.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> TlsFiles {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let path = |kind| {
            let name = format!("warren-tls-{name}-{kind}-{}", std::process::id());
            std::env::temp_dir().join(name)
        };
        let files = TlsFiles { certificate: path("certificate"), key: path("key") };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    fn remove(files: &TlsFiles) {
        let _ = std::fs::remove_file(&files.certificate);
        let _ = std::fs::remove_file(&files.key);
    }

    #[test]
    fn the_file_that_is_at_fault_is_named() {
        let (good, other) = (files("good"), files("other"));
        assert!(days_left(&read_identity(&good).unwrap()).unwrap() > 300_000);
        let mixed = TlsFiles { key: other.key.clone(), ..good.clone() };
        let error = read_identity(&mixed).unwrap_err().to_string();
        assert!(error.starts_with("`tls.key` is \""), "{error}");
        assert!(error.ends_with("the key does not belong to the certificate"), "{error}");
        std::fs::write(&good.certificate, "").unwrap();
        let error = read_identity(&good).unwrap_err().to_string();
        assert!(error.starts_with("`tls.certificate` is \""), "{error}");
        remove(&good);
        let error = read_identity(&good).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
        remove(&other);
    }

    #[test]
    fn each_shard_takes_a_renewed_certificate_once() {
        let files = files("renewed");
        let (first, second) = (read_identity(&files).unwrap(), read_identity(&files).unwrap());
        remove(&files);
        let renewals = Arc::new(TlsRenewals::default());
        let mut shards = [(); 2].map(|()| TlsWatch::new(Arc::clone(&renewals)));
        assert!(shards.iter_mut().all(|shard| shard.renewed().is_none()));
        renewals.renew(first);
        renewals.renew(second.clone());
        for shard in &mut shards {
            assert_eq!(shard.renewed(), Some(second.clone()));
            assert_eq!(shard.renewed(), None);
        }
    }
}
