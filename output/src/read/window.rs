//! What of a log is in memory at once.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// How much is read where a line goes on behind what was asked for.
const MORE: usize = 64 << 10;

/// Lines of a range of a log, and on from there. What is left of an earlier range is written over.
#[derive(Default)]
pub(super) struct Window {
    buffer: Vec<u8>,
    /// Where in the log the buffer begins.
    base: u64,
    /// What of the buffer was read, and where the next line begins.
    read: Range<usize>,
    next: usize,
}

impl Window {
    /// Reads a range, and leaves room to read what stands before it.
    pub(super) fn load(&mut self, log: &File, range: Range<u64>, room: u64) -> io::Result<()> {
        self.base = range.start.saturating_sub(room);
        let start = length(self.base..range.start);
        (self.read, self.next) = (start..start, start);
        self.more(log, length(range))?;
        Ok(())
    }

    /// All that was read.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.read.clone()]
    }

    /// Makes the first line that begins at `from` or behind it the next one. `from` must be in the range, or in the
    /// room before it.
    pub(super) fn go_to(&mut self, log: &File, from: u64) -> io::Result<()> {
        let start = length(self.base..from);
        if start < self.read.start {
            log.read_exact_at(&mut self.buffer[start..self.read.start], from)?;
            self.read.start = start;
        }
        self.next = start;
        if from > 0 {
            // Most often the end of a line, which begins elsewhere.
            self.next_line(log)?;
        }
        Ok(())
    }

    /// The next line without its newline, and where it begins.
    pub(super) fn next_line(&mut self, log: &File) -> io::Result<Option<(u64, &[u8])>> {
        let start = self.next;
        let mut looked_at = start;
        let end = loop {
            match memchr::memchr(b'\n', &self.buffer[looked_at..self.read.end]) {
                Some(at) => break looked_at + at,
                None => looked_at = self.read.end,
            }
            if !self.more(log, MORE)? {
                break self.read.end;
            }
        };
        if start == self.read.end {
            return Ok(None);
        }
        self.next = (end + 1).min(self.read.end);
        Ok(Some((self.base + start as u64, &self.buffer[start..end])))
    }

    /// Appends so many bytes, or what there is. Whether there was any.
    fn more(&mut self, log: &File, length: usize) -> io::Result<bool> {
        let (start, end) = (self.read.end, self.read.end.saturating_add(length));
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        while self.read.end < end {
            match log.read_at(&mut self.buffer[self.read.end..end], self.base + self.read.end as u64) {
                Ok(0) => break,
                Ok(count) => self.read.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.read.end > start)
    }
}

fn length(range: Range<u64>) -> usize {
    usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
}
