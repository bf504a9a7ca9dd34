//! A backup on the disk: a data folder's state, its log up to a commit, its bans, and a list of these
//! files with their lengths and checksums. The list is written last: without it there is no backup.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;
use warren_storage::StoreError;
use warren_storage::delta_log::TailError;

/// The list's file.
const MANIFEST: &str = "backup.json";
/// The version of its form.
const VERSION: u32 = 1;
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a file that are written before they are brought to the disk. More at once would hold up whoever
/// else syncs there, as the delta log does; and whoever gives up a backup waits for one such piece.
const SYNC_BYTES: usize = 4 << 20;

/// Asked before each piece of work: false when the server is on its way out.
pub(super) type GoesOn<'a> = &'a dyn Fn() -> bool;

/// What can go wrong with a backup.
#[derive(Debug, Error)]
pub(crate) enum BackupError {
    /// The system refuses a file or a folder.
    #[error("{path}: {error}", path = path.display())]
    Failed {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The folder that is to be filled has something in it.
    #[error("{path}: there is something in it already", path = path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// The folder for the backup is a part of what is backed up.
    #[error("{path}: this is in the data folder", path = path.display())]
    WithinData {
        /// Which.
        path: PathBuf,
    },
    /// There is no list: the backup was not finished, or is none.
    #[error("{path}: it has no {MANIFEST}: the backup was not finished, or is none", path = path.display())]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// Something in it is not as it was written.
    #[error("{path}: {why}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be read, or is damaged.
    #[error(transparent)]
    Log(#[from] TailError),
    /// The server is on its way out.
    #[error("the server ends")]
    Ended,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    version: u32,
    /// The version of Warren that made it.
    pub(super) warren: String,
    /// When it was begun, in milliseconds since 1970.
    pub(super) taken_ms: u64,
    /// The last commit of the delta log in it.
    pub(super) commit: u64,
    pub(super) files: Vec<ListedFile>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListedFile {
    /// Within the folder.
    path: String,
    bytes: u64,
    crc32c: u32,
}

impl Manifest {
    /// Of all files in the folder, which are brought to the disk with it.
    pub(super) fn finish(
        folder: &Path,
        (taken_ms, commit): (u64, u64),
        goes_on: GoesOn<'_>,
    ) -> Result<Self, BackupError> {
        let mut paths = Vec::new();
        list(folder, Path::new(""), &mut paths)?;
        let mut files = Vec::new();
        for path in paths {
            let file = listed(folder, &path, goes_on)?;
            sync(&folder.join(&path))?;
            files.push(file);
        }
        let warren = env!("CARGO_PKG_VERSION").to_owned();
        let manifest = Self { version: VERSION, warren, taken_ms, commit, files };
        sync_folders(folder)?;
        folder.parent().map_or(Ok(()), sync)?;
        manifest.write(folder)?;
        Ok(manifest)
    }

    /// Whole, or not at all.
    fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let path = folder.join(MANIFEST);
        let new = path.with_extension("json.new");
        let failed = failed(&new);
        let text = serde_json::to_string_pretty(self).expect("plain data with text for keys");
        let mut file = File::create(&new).map_err(&failed)?;
        file.write_all(text.as_bytes()).map_err(&failed)?;
        file.sync_all().map_err(&failed)?;
        fs::rename(&new, &path).map_err(&failed)?;
        sync(folder)
    }

    pub(super) fn read(folder: &Path) -> Result<Self, BackupError> {
        let path = folder.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::Unfinished { path: folder.to_owned() });
            }
            read => read.map_err(failed(&path))?,
        };
        let damaged = |why: String| BackupError::Damaged { path: path.clone(), why };
        let manifest: Self =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if manifest.version != VERSION {
            return Err(damaged(format!("version {} is not known here", manifest.version)));
        }
        match manifest.files.iter().find(|file| !is_within(Path::new(&file.path))) {
            Some(file) => Err(damaged(format!("{:?} is no file of a backup", file.path))),
            None => Ok(manifest),
        }
    }

    /// Copies every file to another folder, and looks at each on the way.
    pub(super) fn copy_files(&self, from: &Path, to: &Path) -> Result<(), BackupError> {
        for file in &self.files {
            let target = to.join(&file.path);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent).map_err(failed(parent))?;
            }
            let source = from.join(&file.path);
            if !source.is_file() {
                let why = "it is missing, or no file".to_owned();
                return Err(BackupError::Damaged { path: source, why });
            }
            let (bytes, crc32c) = copy_file(&source, &target, &|| true)?;
            if (bytes, crc32c) != (file.bytes, file.crc32c) {
                let why = format!(
                    "{bytes} bytes with checksum {crc32c:08x}; expected {} and {:08x}",
                    file.bytes, file.crc32c
                );
                return Err(BackupError::Damaged { path: source, why });
            }
        }
        sync_folders(to)
    }

    /// What the admin endpoint tells of the backup with this number.
    pub(super) fn answer(&self, number: u64, folder: &Path) -> Value {
        json!({
            "phase": "done",
            "number": number,
            "folder": folder.display().to_string(),
            "files": self.files.len(),
            "bytes": self.bytes(),
            "commit": self.commit,
            "taken_ms": self.taken_ms,
        })
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Makes the folder, unless there is an empty one.
pub(super) fn make_empty(folder: &Path) -> Result<(), BackupError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().mode(0o700).create(folder).map_err(failed(folder))
        }
        entries => match entries.map_err(failed(folder))?.next() {
            Some(_) => Err(BackupError::NotEmpty { path: folder.to_owned() }),
            None => Ok(()),
        },
    }
}

pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |error| BackupError::Failed { path: path.to_owned(), error }
}

/// Whether the path leads nowhere else.
fn is_within(path: &Path) -> bool {
    path.components().next().is_some()
        && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// The files under a folder, in order.
fn list(folder: &Path, within: &Path, found: &mut Vec<PathBuf>) -> Result<(), BackupError> {
    let here = folder.join(within);
    let failed = failed(&here);
    let mut names = Vec::new();
    for entry in fs::read_dir(&here).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        names.push((entry.file_name(), entry.file_type().map_err(&failed)?.is_dir()));
    }
    names.sort();
    for (name, is_folder) in names {
        let path = within.join(name);
        if is_folder {
            list(folder, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// The file as it is.
fn listed(folder: &Path, path: &Path, goes_on: GoesOn<'_>) -> Result<ListedFile, BackupError> {
    let whole = folder.join(path);
    let (bytes, crc32c) = read_all(&whole, goes_on, |_| Ok(()))?;
    match path.to_str() {
        Some(path) => Ok(ListedFile { path: path.to_owned(), bytes, crc32c }),
        None => Err(failed(&whole)(io::Error::other("this is no file of a backup"))),
    }
}

/// Copies a file to a new one, brings it to the disk, and tells length and checksum of what was read.
/// By reading and writing: other ways ask for calls that a container's profile refuses.
pub(super) fn copy_file(
    from: &Path,
    to: &Path,
    goes_on: GoesOn<'_>,
) -> Result<(u64, u32), BackupError> {
    let mut target = NewFile::create(to)?;
    let read = read_all(from, goes_on, |chunk| target.write(chunk))?;
    target.finish(None)?;
    Ok(read)
}

/// Writes a new file as long as `length`, with zeros behind these bytes, and brings it to the disk.
pub(super) fn write_file(
    path: &Path,
    bytes: &[u8],
    length: u64,
    goes_on: GoesOn<'_>,
) -> Result<(), BackupError> {
    let mut file = NewFile::create(path)?;
    for chunk in bytes.chunks(CHUNK_BYTES) {
        ask(goes_on)?;
        file.write(chunk)?;
    }
    file.finish(Some(length))
}

/// A file that is written piece by piece.
struct NewFile<'a> {
    path: &'a Path,
    file: File,
    unsynced_bytes: usize,
}

impl<'a> NewFile<'a> {
    fn create(path: &'a Path) -> Result<Self, BackupError> {
        let file = File::create_new(path).map_err(failed(path))?;
        Ok(Self { path, file, unsynced_bytes: 0 })
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), BackupError> {
        self.file.write_all(chunk).map_err(failed(self.path))?;
        self.unsynced_bytes += chunk.len();
        if self.unsynced_bytes >= SYNC_BYTES {
            self.file.sync_data().map_err(failed(self.path))?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    /// It is as long as what was written, or as this, and on the disk.
    fn finish(self, length: Option<u64>) -> Result<(), BackupError> {
        let set = length.map_or(Ok(()), |length| self.file.set_len(length));
        set.and_then(|()| self.file.sync_all()).map_err(failed(self.path))
    }
}

/// Reads a file piece by piece, and tells its length and checksum.
fn read_all(
    path: &Path,
    goes_on: GoesOn<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<(u64, u32), BackupError> {
    let mut file = File::open(path).map_err(failed(path))?;
    let (mut bytes, mut crc32c) = (0, 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        ask(goes_on)?;
        let length = file.read(&mut chunk).map_err(failed(path))?;
        if length == 0 {
            return Ok((bytes, crc32c));
        }
        bytes += length as u64;
        crc32c = crc32c::crc32c_append(crc32c, &chunk[..length]);
        take(&chunk[..length])?;
    }
}

/// The error with which a backup is given up, if it is to be.
pub(super) fn ask(goes_on: GoesOn<'_>) -> Result<(), BackupError> {
    if goes_on() { Ok(()) } else { Err(BackupError::Ended) }
}

/// Removes what is in a folder.
pub(super) fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // What cannot be removed is found by whoever wants the folder.
        let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
}

/// Brings a file or a folder's names to the disk.
pub(super) fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(failed(path))
}

/// Brings the names in a folder, and in those in it, to the disk.
fn sync_folders(folder: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        if entry.file_type().map_err(failed(folder))?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync(folder)
}
