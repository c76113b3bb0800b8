//! The file system as the file sink sees it: a seam at which tests inject faults.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::config::Access;

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

    /// Gives a file another name in its directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Puts a small file in the place of another whole: whoever reads it meanwhile reads one or the other.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// What a small file contains.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The files of a directory.
    fn list(&self, directory: &Path) -> io::Result<Vec<Listed>>;

    /// Whether the path leads to a regular file, or to nothing yet.
    fn may_be_log(&self, path: &Path) -> bool;

    /// What the path leads to.
    fn id(&self, path: &Path) -> io::Result<FileId>;

    /// Room on the file system that a path is on.
    fn room(&self, path: &Path) -> io::Result<Room>;
}

/// Room on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// For whom is not root.
    pub(crate) free: u64,
    pub(crate) total: u64,
    /// A block of it.
    pub(crate) block: u64,
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

/// A file in a directory.
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
}

/// The real one.
#[derive(Clone, Copy, Default)]
pub(crate) struct RealFs(pub(crate) Access);

impl RealFs {
    /// Gives a file, which may have been there with any, the mode and owner that it should have.
    fn own(&self, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        let Access { mode, owner, group } = self.0;
        let other = |wanted: Option<u32>, found| wanted.filter(|wanted| *wanted != found);
        let (owner, group) = (other(owner, metadata.uid()), other(group, metadata.gid()));
        if owner.is_some() || group.is_some() {
            fchown(file, owner, group)?;
        }
        let mut permissions = metadata.permissions();
        if permissions.mode() & 0o7777 != mode {
            permissions.set_mode(mode);
            file.set_permissions(permissions)?;
        }
        Ok(())
    }
}

/// Locks a file against other writers; [`io::ErrorKind::WouldBlock`] where one holds it.
///
/// A process that another thread is starting (a plugin) has our locks, also those just given up, until it is another program:
/// so it is tried for a moment.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    const ATTEMPTS: usize = 50;
    const PAUSE: Duration = Duration::from_millis(10);
    for _ in 0..ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

impl Fs for RealFs {
    fn open_log(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(DIR_MODE).create(directory)?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).mode(self.0.mode).open(path)?;
        lock(&file)?;
        self.own(&file)?;
        Ok(Box::new(file))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(self.0.mode).open(path)?;
        self.own(&file)?;
        Ok(Box::new(file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        // One that a crash left behind is ours.
        let _ = std::fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(self.0.mode).open(&new)?;
        let written = self.own(&file).and_then(|()| file.write_all(content)).and_then(|()| std::fs::rename(&new, path));
        written.inspect_err(|_| drop(std::fs::remove_file(&new)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            // It may be gone by now.
            if let Ok(metadata) = entry.metadata().and_then(|metadata| Ok((metadata.len(), metadata.modified()?))) {
                listed.push(Listed { path: entry.path(), bytes: metadata.0, modified: metadata.1 });
            }
        }
        Ok(listed)
    }

    fn may_be_log(&self, path: &Path) -> bool {
        path.metadata().map_or(true, |metadata| metadata.is_file())
    }

    fn id(&self, path: &Path) -> io::Result<FileId> {
        path.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        let found = nix::sys::statvfs::statvfs(path)?;
        let block = found.fragment_size();
        Ok(Room { free: found.blocks_available() * block, total: found.blocks() * block, block })
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
        /// What the file system says of its room.
        pub(crate) told_room: Option<Room>,
        /// With which error writes fail, whatever the room.
        pub(crate) broken: Option<i32>,
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
            RealFs::default().open_log(path).map(|file| self.wrap(file))
        }

        fn create_new(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
            RealFs::default().create_new(path).map(|file| self.wrap(file))
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            RealFs::default().remove(path)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            RealFs::default().rename(from, to)
        }

        fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
            if self.faults().room.is_some_and(|room| room < content.len()) {
                return Err(io::Error::from_raw_os_error(NO_SPACE));
            }
            RealFs::default().replace(path, content)
        }

        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            RealFs::default().read(path)
        }

        fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
            RealFs::default().list(directory)
        }

        fn may_be_log(&self, path: &Path) -> bool {
            RealFs::default().may_be_log(path)
        }

        fn id(&self, path: &Path) -> io::Result<FileId> {
            RealFs::default().id(path)
        }

        fn room(&self, path: &Path) -> io::Result<Room> {
            self.faults().told_room.map_or_else(|| RealFs::default().room(path), Ok)
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
            if let Some(errno) = faults.broken {
                return Err(io::Error::from_raw_os_error(errno));
            }
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
