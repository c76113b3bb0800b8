//! A log that grows.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The longest member that is waited for: the daemon ends one at 4 MiB of lines, or after one line of at most 16 MiB.
const LONGEST_MEMBER: usize = 32 << 20;

/// The text of a log from now on, decompressed where it is compressed, through rotations: a file that was renamed is read to its
/// end, then the one that took its name. At the end of what there is it calls `wait`, and ends where that says false.
pub struct Follow<W> {
    path: PathBuf,
    file: Option<OpenLog>,
    /// Decompressed, and not handed on yet.
    text: io::Cursor<Vec<u8>>,
    wait: W,
}

struct OpenLog {
    file: File,
    inode: (u64, u64),
    /// Compressed bytes that are no whole member yet.
    rest: Vec<u8>,
}

impl<W: FnMut() -> bool> Follow<W> {
    /// Follows from the end of what is there now, which is the end of a member, as the daemon writes each at once. The file need
    /// not be there yet.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn new(path: &Path, wait: W) -> io::Result<Self> {
        let mut file = OpenLog::open(path)?;
        if let Some(open) = &mut file {
            open.file.seek(SeekFrom::End(0))?;
        }
        Ok(Self { path: path.to_owned(), file, text: io::Cursor::default(), wait })
    }

    /// Reads what was added; whether there was anything.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(open) = &mut self.file else {
            self.file = OpenLog::open(&self.path)?;
            return Ok(self.file.is_some());
        };
        // Looked at before reading: what is written until the rename is still read.
        let replaced = !is_at(&self.path, open.inode)?;
        let (read, text) = open.more()?;
        self.text = io::Cursor::new(text);
        if !read && replaced {
            self.file = None;
        }
        Ok(read || replaced)
    }
}

impl<W: FnMut() -> bool> Read for Follow<W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.text.read(buffer)? {
                0 if !buffer.is_empty() => {}
                read => return Ok(read),
            }
            if !self.advance()? && !(self.wait)() {
                return Ok(0);
            }
        }
    }
}

impl OpenLog {
    /// `None` where it is not there.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        Ok(Some(Self { file, inode: (metadata.dev(), metadata.ino()), rest: Vec::new() }))
    }

    /// Whether bytes were added, and the text that they complete.
    fn more(&mut self) -> io::Result<(bool, Vec<u8>)> {
        if self.file.metadata()?.len() < self.file.stream_position()? {
            // Emptied in its place, as logrotate's copytruncate does.
            self.file.seek(SeekFrom::Start(0))?;
            self.rest.clear();
        }
        if self.file.read_to_end(&mut self.rest)? == 0 {
            return Ok((false, Vec::new()));
        }
        let mut text = Vec::new();
        match super::open(io::Cursor::new(self.rest.clone())).and_then(|mut input| input.read_to_end(&mut text)) {
            Ok(_) => self.rest.clear(),
            // A member that is just being written; its lines come when it is whole.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && self.rest.len() < LONGEST_MEMBER => text.clear(),
            Err(error) => {
                self.rest.clear();
                return Err(error);
            }
        }
        Ok((true, text))
    }
}

fn is_at(path: &Path, inode: (u64, u64)) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) => Ok((metadata.dev(), metadata.ino()) == inode),
        // Between two files; the old one may still be written to.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    type Act = Box<dyn Fn(&Path)>;

    fn append(path: &Path, bytes: &[u8]) {
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// What is read while `acts` happen one by one, each when all before was read.
    fn followed(path: &Path, acts: Vec<Act>) -> String {
        let mut acts = acts.into_iter();
        let wait = || acts.next().map(|act| act(path)).is_some();
        let mut text = String::new();
        Follow::new(path, wait).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn rename(path: &Path) {
        fs::rename(path, path.with_extension("1")).unwrap();
    }

    #[test]
    fn only_what_comes_from_now_on_through_rotations() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        append(&path, b"old\n");
        let acts: Vec<Act> = vec![
            Box::new(|path| append(path, b"1\n")),
            Box::new(rename),
            Box::new(|path| append(&path.with_extension("1"), b"2\n")),
            Box::new(|path| append(path, b"3\n")),
            Box::new(|path| File::create(path).map(drop).unwrap()),
            Box::new(|path| append(path, b"4\n")),
        ];
        assert_eq!(followed(&path, acts), "1\n2\n3\n4\n");
    }

    #[test]
    fn members_come_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.json.gz");
        append(&path, &gzip("old\n"));
        let member = gzip("2\n");
        let (head, tail) = member.split_at(member.len() / 2);
        let (head, tail) = (head.to_vec(), tail.to_vec());
        let acts: Vec<Act> = vec![
            Box::new(|path| append(path, &[gzip("0\n"), gzip("1\n")].concat())),
            Box::new(move |path| append(path, &head)),
            Box::new(move |path| append(path, &tail)),
            Box::new(rename),
            Box::new(|path| append(path, &gzip("3\n"))),
        ];
        assert_eq!(followed(&path, acts), "0\n1\n2\n3\n");
    }

    #[test]
    fn a_log_that_is_not_there_yet() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        assert_eq!(followed(&path, vec![Box::new(|path| append(path, b"1\n"))]), "1\n");
    }
}
