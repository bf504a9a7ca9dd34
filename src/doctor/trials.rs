//! What only a trial shows: features of io_uring, rings of the configured size, free addresses,
//! the data folder. A trial leaves nothing behind.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use warren_net::io::descriptor_limit::descriptors_raise;
use warren_net::io::probe::{Finding, survey};
use warren_net::io::ring::Ring;
use warren_net::reactor::ring_settings;

use crate::admin::listener::check_unix;
use crate::admin::token::Token;
use crate::config::{Endpoint, ServerConfig};
use crate::data_folder::locked_by;
use crate::server::reactor_settings;
use crate::tls::{days_left, read_identity};

/// What trials found.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialFacts {
    /// Of each feature that a ring needs, in the order of their table.
    pub features: Vec<Finding>,
    /// Whether every shard gets a ring as configured, all at the same time; else why not.
    pub rings: Result<(), String>,
    /// Whether `server.listen` is free; else why not.
    pub listen: Result<(), String>,
    /// Whether `admin.listen` is free; else why not.
    pub admin: Result<(), String>,
    /// Whether `admin.token_file` holds a token, if one is configured; else why not.
    pub token: Option<Result<(), String>>,
    /// The data folder, if one is configured.
    pub data: Option<DataFacts>,
    /// The certificate, if one is configured.
    pub certificate: Option<CertificateFacts>,
}

/// What is known of the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateFacts {
    /// It cannot be used: why.
    Unusable(String),
    /// It can be used.
    Usable {
        /// Whole days until it expires, if it says so; negative when it has expired.
        days_left: Option<i64>,
    },
}

/// What is known of the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFacts {
    /// As configured.
    pub folder: PathBuf,
    /// Where files would go: the folder, or what is there of the way to it, without links.
    pub place: PathBuf,
    /// Whether the folder is there.
    pub exists: bool,
    /// Whether files can be made there; else why not.
    pub writable: Result<(), String>,
    /// Another server has it: the number of its process, if it says so.
    pub locked_by: Option<String>,
    /// Bytes that this user may still store there.
    pub free_bytes: Option<u64>,
}

impl TrialFacts {
    /// Tries everything.
    #[must_use]
    pub fn of(config: &ServerConfig) -> Self {
        Self {
            features: survey(),
            rings: try_rings(config),
            listen: try_address(config.listen),
            admin: try_endpoint(&config.admin_listen),
            token: config.admin_token_file.as_deref().map(|file| Token::read(file).map(drop)),
            data: config.data.as_deref().map(DataFacts::of),
            certificate: config.tls.files.as_ref().map(|files| match read_identity(files) {
                Ok(identity) => CertificateFacts::Usable { days_left: days_left(&identity) },
                Err(error) => CertificateFacts::Unusable(error.to_string()),
            }),
        }
    }
}

/// Sets up what each shard's reactor would, on a thread each, since a ring stays on its thread.
fn try_rings(config: &ServerConfig) -> Result<(), String> {
    let sizes = ring_settings(&reactor_settings(config)).map_err(|error| error.to_string())?;
    descriptors_raise(sizes.files_max);
    let all_are_up = Barrier::new(config.shards);
    let try_ring = || {
        let ring = Ring::new(&sizes);
        all_are_up.wait();
        ring.map(drop).map_err(|missing| missing.to_string())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..config.shards).map(|_| scope.spawn(try_ring)).collect();
        // A ring that cannot be made is an error and no panic.
        threads.into_iter().try_for_each(|thread| thread.join().expect("the trial returns"))
    })
}

/// Listens without sharing the address, as shards do among themselves.
pub(crate) fn try_address(address: SocketAddr) -> Result<(), String> {
    TcpListener::bind(address).map(drop).map_err(|error| error.to_string())
}

/// The same for the admin endpoint.
fn try_endpoint(endpoint: &Endpoint) -> Result<(), String> {
    match endpoint {
        Endpoint::Tcp(address) => try_address(*address),
        Endpoint::Unix(path) => {
            let folder = path.parent().ok_or("no path of a file")?;
            check_unix(path)
                .and_then(|()| try_writing(folder, &existing_part(folder)))
                .map_err(|error| error.to_string())
        }
    }
}

impl DataFacts {
    fn of(folder: &Path) -> Self {
        let exists = folder.is_dir();
        let place = existing_part(folder);
        Self {
            folder: folder.to_owned(),
            exists,
            writable: try_writing(folder, &place).map_err(|error| error.to_string()),
            locked_by: locked_by(folder),
            free_bytes: rustix::fs::statvfs(&place)
                .ok()
                .map(|found| found.f_bavail.saturating_mul(found.f_frsize)),
            place,
        }
    }
}

/// The longest part of the way to the folder that is there.
fn existing_part(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.ancestors().find_map(|part| part.canonicalize().ok()).unwrap_or(absolute)
}

/// Makes a file and removes it; a server makes the folder too, so a trial has to.
fn try_writing(folder: &Path, place: &Path) -> io::Result<()> {
    if folder.exists() && !folder.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    let trial = place.join(format!(".warren-doctor-{}", std::process::id()));
    if folder.is_dir() {
        OpenOptions::new().write(true).create_new(true).open(&trial)?;
        fs::remove_file(trial)
    } else {
        fs::create_dir(&trial)?;
        fs::remove_dir(trial)
    }
}
