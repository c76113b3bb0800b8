//! The file system as the file sink sees it: a seam at which tests inject faults.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Mode of a log: what is audited is nobody's business but root's.
const FILE_MODE: u32 = 0o600;
/// Mode of a log directory that was missing.
const DIR_MODE: u32 = 0o700;

/// Device and inode: what a path leads to.
pub(crate) type FileId = (u64, u64);

/// Opens files.
pub(crate) trait Fs: Send {
    /// Opens a log for reading and appending, creating it and its directory where missing, and locks it against other
    /// writers ([`io::ErrorKind::WouldBlock`] where one holds it).
    fn open_log(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;

    /// Creates a file that must not exist yet.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Whether the path leads to a regular file, or to nothing yet.
    fn may_be_log(&self, path: &Path) -> bool;

    /// What the path leads to.
    fn id(&self, path: &Path) -> io::Result<FileId>;
}

/// An open file; writes go to its end.
pub(crate) trait LogFile: Read + Write + Seek + Send {
    /// Its length.
    fn length(&self) -> io::Result<u64>;

    /// Cuts it.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Waits until the disk has it.
    fn sync(&self) -> io::Result<()>;

    /// Its identity.
    fn id(&self) -> io::Result<FileId>;
}

/// The real one.
pub(crate) struct RealFs;

impl Fs for RealFs {
    fn open_log(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(DIR_MODE).create(directory)?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        })?;
        // A file that was there may have any mode.
        let mut permissions = file.metadata()?.permissions();
        if permissions.mode() & 0o7777 != FILE_MODE {
            permissions.set_mode(FILE_MODE);
            file.set_permissions(permissions)?;
        }
        Ok(Box::new(file))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(OpenOptions::new().read(true).append(true).create_new(true).mode(FILE_MODE).open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn may_be_log(&self, path: &Path) -> bool {
        path.metadata().map_or(true, |metadata| metadata.is_file())
    }

    fn id(&self, path: &Path) -> io::Result<FileId> {
        path.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
    }
}

impl LogFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn id(&self) -> io::Result<FileId> {
        let metadata = self.metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

#[cfg(test)]
pub(crate) mod faulty {
    //! A file system that fails on demand.

    use std::io::SeekFrom;
    use std::sync::{Arc, Mutex, MutexGuard};

    use super::*;

    /// `ENOSPC`.
    pub(crate) const NO_SPACE: i32 = 28;

    /// What fails.
    #[derive(Default)]
    pub(crate) struct Faults {
        /// Bytes until the disk is full; `None` for ever.
        pub(crate) room: Option<usize>,
        /// Whether files cannot be cut.
        pub(crate) uncuttable: bool,
    }

    /// The real file system with faults, which the test keeps a handle on.
    #[derive(Clone, Default)]
    pub(crate) struct FaultyFs(Arc<Mutex<Faults>>);

    impl FaultyFs {
        pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
            self.0.lock().unwrap()
        }

        fn wrap(&self, file: Box<dyn LogFile>) -> Box<dyn LogFile> {
            Box::new(FaultyFile { file, fs: self.clone() })
        }
    }

    impl Fs for FaultyFs {
        fn open_log(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
            RealFs.open_log(path).map(|file| self.wrap(file))
        }

        fn create_new(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
            RealFs.create_new(path).map(|file| self.wrap(file))
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            RealFs.remove(path)
        }

        fn may_be_log(&self, path: &Path) -> bool {
            RealFs.may_be_log(path)
        }

        fn id(&self, path: &Path) -> io::Result<FileId> {
            RealFs.id(path)
        }
    }

    struct FaultyFile {
        file: Box<dyn LogFile>,
        fs: FaultyFs,
    }

    impl Read for FaultyFile {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.file.read(buffer)
        }
    }

    impl Seek for FaultyFile {
        fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
            self.file.seek(position)
        }
    }

    impl Write for FaultyFile {
        /// Like a disk that fills up: the last write that fits is short.
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            let mut faults = self.fs.faults();
            let Some(room) = &mut faults.room else { return self.file.write(buffer) };
            let count = buffer.len().min(*room);
            if count == 0 {
                return Err(io::Error::from_raw_os_error(NO_SPACE));
            }
            *room -= count;
            self.file.write(&buffer[..count])
        }

        fn flush(&mut self) -> io::Result<()> {
            self.file.flush()
        }
    }

    impl LogFile for FaultyFile {
        fn length(&self) -> io::Result<u64> {
            self.file.length()
        }

        fn set_length(&self, length: u64) -> io::Result<()> {
            if self.fs.faults().uncuttable {
                return Err(io::Error::other("cannot cut"));
            }
            self.file.set_length(length)
        }

        fn sync(&self) -> io::Result<()> {
            self.file.sync()
        }

        fn id(&self) -> io::Result<FileId> {
            self.file.id()
        }
    }
}
