//! The certificate of a server that is measured in TLS: made for one run, and trusted by nobody but
//! its generators.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The name that it is for, by whatever address the server is reached.
pub const NAME: &str = "localhost";

/// The files, in PEM form.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, which only itself vouches for.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Files {
    /// Makes a certificate and its key, ECDSA over P-256, in this folder.
    ///
    /// # Errors
    /// When they cannot be made or written.
    pub fn create(folder: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]);
        let made = made.context("making a certificate")?;
        let files =
            Self { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        for (path, pem) in
            [(&files.certificate, made.cert.pem()), (&files.key, made.signing_key.serialize_pem())]
        {
            fs::write(path, pem).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(files)
    }
}
