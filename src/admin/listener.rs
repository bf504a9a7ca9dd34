//! Where the admin endpoint listens: TCP, or a Unix socket that its owner alone may open.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::config::Endpoint;

/// A listening socket.
#[derive(Debug)]
pub(super) enum AdminListener {
    Tcp(TcpListener),
    /// The file goes first: who finds that nobody listens finds no file that is still to go.
    Unix(SocketFile, UnixListener),
}

/// The socket's file. It goes with the listener.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number: the file, whatever stands in its place.
    file: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: file_at(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have put its own in its place; and one that stays is no harm, since the
        // next server takes the place of a file that nobody listens on.
        if file_at(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file_at(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl AdminListener {
    /// Listens, and says where: port 0 takes a free one.
    pub(super) fn bind(endpoint: &Endpoint) -> io::Result<(Self, Endpoint)> {
        match endpoint {
            Endpoint::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                Ok((Self::Tcp(listener), Endpoint::Tcp(address)))
            }
            Endpoint::Unix(path) => {
                let listener = bind_unix(path)?;
                listener.set_nonblocking(true)?;
                Ok((Self::Unix(SocketFile::at(path)?, listener), endpoint.clone()))
            }
        }
    }
}

/// Whether a socket can be made there; else why not.
pub(crate) fn check_unix(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there")),
            // One that was killed has left it.
            Err(_) => Ok(()),
        },
    }
}

/// Makes the socket in a folder that nobody else may enter, and moves it to its place when others
/// have no rights to it: so they have none at any time, whatever the umask is.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    check_unix(path)?;
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let draft_folder = folder.join(format!(".warren-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&draft_folder)?;
    let draft = draft_folder.join("s");
    let made = UnixListener::bind(&draft).and_then(|listener| {
        fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
        fs::rename(&draft, path)?;
        Ok(listener)
    });
    if made.is_err() {
        let _ = fs::remove_file(&draft);
    }
    fs::remove_dir(&draft_folder)?;
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_its_owners_and_takes_the_place_of_a_dead_one() {
        let folder = std::env::temp_dir().join(format!("warren-socket-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("admin.sock");
        let endpoint = Endpoint::Unix(path.clone());
        // Dropping the listener alone leaves the file, as a killed server does.
        drop(UnixListener::bind(&path).unwrap());
        let (listener, _) = AdminListener::bind(&endpoint).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let taken = AdminListener::bind(&endpoint).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
        // What another has put in its place stays.
        let (listener, _) = AdminListener::bind(&endpoint).unwrap();
        fs::rename(&path, folder.join("older")).unwrap();
        let newer = UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
        drop(newer);
        fs::remove_file(&path).unwrap();
        fs::remove_file(folder.join("older")).unwrap();
        fs::write(&path, "mine").unwrap();
        let refused = AdminListener::bind(&endpoint).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        // Nothing else was left behind.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
