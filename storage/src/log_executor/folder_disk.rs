//! Segments of the delta log in a folder, by direct I/O of a glommio executor.

use std::io;
use std::path::{Path, PathBuf};

use glommio::GlommioError;
use glommio::io::{Directory, DmaFile, OpenOptions};

use crate::delta_log::{LogDisk, segment_file_name};

/// A folder with segments.
pub(super) struct FolderDisk {
    path: PathBuf,
    directory: Directory,
}

impl FolderDisk {
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        // glommio takes a relative path for one from a folder that it has not opened.
        let path = std::path::absolute(path)?;
        let directory = Directory::open(&path).await.map_err(io_error)?;
        Ok(Self { path, directory })
    }
}

impl LogDisk for FolderDisk {
    type File = DmaFile;

    async fn create(&self, segment: u64, bytes: u64) -> io::Result<DmaFile> {
        let path = self.path.join(segment_file_name(segment));
        // What a failed attempt has left is not opened: nobody knows what the disk has of it.
        match glommio::io::remove(&path).await.map_err(io_error) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).dma_open(path).await.map_err(io_error)?;
        file.pre_allocate(bytes, false).await.map_err(io_error)?;
        file.fdatasync().await.map_err(io_error)?;
        self.directory.sync().await.map_err(io_error)?;
        Ok(file)
    }

    async fn write(&self, file: &DmaFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut buffer = file.alloc_dma_buffer(bytes.len());
        buffer.as_bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        let written = file.write_at(buffer, offset).await.map_err(io_error)?;
        if written < bytes.len() {
            // The rest of the disk may be full: that is found out by whoever tries again.
            return Err(io::Error::new(io::ErrorKind::WriteZero, "a part of it was written"));
        }
        Ok(())
    }

    async fn sync(&self, file: &DmaFile) -> io::Result<()> {
        file.fdatasync().await.map_err(io_error)
    }

    async fn remove(&self, segment: u64) -> io::Result<()> {
        glommio::io::remove(self.path.join(segment_file_name(segment))).await.map_err(io_error)?;
        self.directory.sync().await.map_err(io_error)
    }
}

pub(super) fn io_error(error: GlommioError<()>) -> io::Error {
    error.into()
}
