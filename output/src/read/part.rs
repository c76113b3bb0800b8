//! Parts of a large log that is not compressed, so that several can be read at once. An event belongs to the part in which it begins.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::native::Assembler;
use super::sieve::{AnyOf, Sieve};
use super::{Entry, LogFormat, Problem, json};

/// Length of a part.
const PART: u64 = 4 << 20;
/// Below, one part is as fast.
const LARGE: u64 = 8 << 20;
/// How far before a part lines are looked at, so that one that continues an event from there is not taken for the beginning of
/// one: an event is open while 512 others begin.
const BEFORE: u64 = 512 << 10;
/// How far back at most, where events are very long.
const FARTHEST: u64 = 64 << 20;

/// Lines so long are of events that may reach farther than texts are looked for.
const LONG: usize = 4 << 10;

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    format: LogFormat,
    /// An event belongs to it whose first line begins in there.
    range: Range<u64>,
}

/// The parts of a log; `None` where it is to be read as a whole: it is small, compressed, no file, or no log.
///
/// # Errors
/// If it cannot be read.
pub fn parts(log: &File) -> io::Result<Option<Vec<LogPart>>> {
    let metadata = log.metadata()?;
    if !metadata.is_file() || metadata.len() < LARGE {
        return Ok(None);
    }
    let mut start = [0; 5];
    log.read_exact_at(&mut start, 0)?;
    let format = match &start {
        b"type=" | b"node=" => LogFormat::Native,
        [b'{', ..] => LogFormat::Json,
        _ => return Ok(None),
    };
    let length = metadata.len();
    let ranges = (0..length.div_ceil(PART)).map(|number| number * PART..((number + 1) * PART).min(length));
    Ok(Some(ranges.map(|range| LogPart { format, range }).collect()))
}

/// What came of a line or an event.
pub(super) type Found = Result<Entry, Problem>;

impl LogPart {
    /// Hands its events that may be wanted to `take`, in the order in which they begin. Lines that are no records are handed on
    /// where they are looked at. `buffer` is for the next part again.
    ///
    /// # Errors
    /// If the log cannot be read, or `take` fails.
    pub fn read(
        &self,
        log: &File,
        sieve: &Sieve,
        buffer: &mut Vec<u8>,
        take: &mut dyn FnMut(Found) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.format {
            LogFormat::Json => self.read_json(log, sieve, buffer, take),
            LogFormat::Native => self.read_native(log, sieve, buffer, take),
        }
    }

    fn read_json(
        &self,
        log: &File,
        sieve: &Sieve,
        buffer: &mut Vec<u8>,
        take: &mut dyn FnMut(Found) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut text = Text::read(log, self.range.start.saturating_sub(1)..self.range.end, buffer)?;
        while let Some((offset, line)) = text.next_line(log)? {
            if offset >= self.range.end {
                break;
            }
            let blank = line.iter().all(u8::is_ascii_whitespace);
            if offset >= self.range.start && !blank && sieve.passes_json(line) {
                take(json::entry(line))?;
            }
        }
        Ok(())
    }

    fn read_native(
        &self,
        log: &File,
        sieve: &Sieve,
        buffer: &mut Vec<u8>,
        take: &mut dyn FnMut(Found) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut before = BEFORE;
        loop {
            let from = self.range.start.saturating_sub(before);
            let mut found = Vec::new();
            let headless = self.events(log, from, sieve, buffer, &mut found)?;
            if !headless || from == 0 || before >= FARTHEST {
                return found.into_iter().try_for_each(take);
            }
            before *= 8;
        }
    }

    /// Whether an event may have begun before `from`.
    fn events(
        &self,
        log: &File,
        from: u64,
        sieve: &Sieve,
        buffer: &mut Vec<u8>,
        found: &mut Vec<Found>,
    ) -> io::Result<bool> {
        let ahead = self.range.start..self.range.end + BEFORE;
        if !sieve.has_native(Text::read(log, ahead.clone(), buffer)?.all()) {
            return Ok(false);
        }
        let mut text = Text::read(log, from..ahead.end, buffer)?;
        let wanted = sieve.native.as_ref().map(|texts| stamps(texts, text.all()));
        let mut native = Assembler::beginning_in(self.range.clone());
        while let Some((offset, line)) = text.next_line(log)? {
            if offset >= self.range.end && !native.waits() {
                break;
            }
            let is_wanted = |stamps: &Stamps| stamp(line).is_none_or(|stamp| stamps.contains(stamp));
            let passed_over = line.len() < LONG && offset < ahead.end && !wanted.as_ref().is_none_or(is_wanted);
            if line.is_empty() || passed_over {
                continue;
            }
            let taken = native.line(line, offset);
            if let (Err(problem), true) = (taken, self.range.contains(&offset)) {
                found.push(Err(problem));
            }
            while let Some(entry) = native.ready(sieve) {
                found.push(Ok(entry));
            }
        }
        while let Some(entry) = native.rest(sieve) {
            found.push(Ok(entry));
        }
        Ok(native.headless())
    }
}

/// Of events.
type Stamps = HashSet<Vec<u8>>;

/// Those of lines that have one of the texts: no other event can be wanted. Where many events are, this saves putting the others
/// together.
fn stamps(texts: &AnyOf, log: &[u8]) -> Stamps {
    let mut stamps = Stamps::new();
    texts.lines(log, |line| {
        if let Some(stamp) = stamp(line).filter(|stamp| !stamps.contains(*stamp)) {
            stamps.insert(stamp.to_vec());
        }
    });
    stamps
}

/// What stands in the first parentheses, which is the stamp of every record.
fn stamp(line: &[u8]) -> Option<&[u8]> {
    let start = memchr::memchr(b'(', line)? + 1;
    let length = memchr::memchr(b')', &line[start..])?;
    Some(&line[start..start + length])
}

/// Lines of a range of a log, and on from there.
struct Text<'a> {
    buffer: &'a mut Vec<u8>,
    /// How much of the buffer was read; the rest of it is left from earlier.
    length: usize,
    /// Where in the log the buffer begins, and where in the buffer the next line does.
    base: u64,
    next: usize,
}

impl<'a> Text<'a> {
    /// Begins with the first line that begins in the range.
    fn read(log: &File, range: Range<u64>, buffer: &'a mut Vec<u8>) -> io::Result<Self> {
        let mut text = Self { buffer, length: 0, base: range.start, next: 0 };
        text.more(log, usize::try_from(range.end - range.start).unwrap_or(usize::MAX))?;
        if range.start > 0 {
            text.next_line(log)?;
        }
        Ok(text)
    }

    /// Appends so many bytes, or what there is. Whether there was any.
    fn more(&mut self, log: &File, length: usize) -> io::Result<bool> {
        let (start, end) = (self.length, self.length.saturating_add(length));
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        while self.length < end {
            match log.read_at(&mut self.buffer[self.length..end], self.base + self.length as u64) {
                Ok(0) => break,
                Ok(count) => self.length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.length > start)
    }

    fn all(&self) -> &[u8] {
        &self.buffer[self.next..self.length]
    }

    /// The next line without its newline, and where it begins.
    fn next_line(&mut self, log: &File) -> io::Result<Option<(u64, &[u8])>> {
        let start = self.next;
        let mut looked_at = start;
        let end = loop {
            match memchr::memchr(b'\n', &self.buffer[looked_at..self.length]) {
                Some(at) => break looked_at + at,
                None => looked_at = self.length,
            }
            if !self.more(log, 64 << 10)? {
                break self.length;
            }
        };
        if start == self.length {
            return Ok(None);
        }
        self.next = (end + 1).min(self.length);
        Ok(Some((self.base + start as u64, &self.buffer[start..end])))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::read::Reader;

    /// Events whose records alternate with those of others, and some that are longer than what is looked at before a part.
    fn native_log() -> Vec<u8> {
        let mut log = Vec::new();
        let mut open = Vec::new();
        for number in 0..60_000_u64 {
            let stamp = format!("{}.{:03}:{number}", 1_795_400_000 + number / 1000, number % 1000);
            let _ = writeln!(
                log,
                "type=SYSCALL msg=audit({stamp}): arch=c000003e syscall=59 success=yes exit=0 a0=0 a1=0 a2=0 a3=0 items=0 ppid=1 \
                 pid={number} auid=0 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=(none) ses=1 comm=\"x\" \
                 exe=\"/x\" key=\"k{}\"",
                number % 7
            );
            let argument = if number % 17_000 == 9000 { "A".repeat(900_000) } else { "b".to_owned() };
            let _ = writeln!(log, "type=EXECVE msg=audit({stamp}): argc=1 a0=\"{argument}\"");
            open.push(format!("type=PROCTITLE msg=audit({stamp}): proctitle=\"x\"\n"));
            if number % 3 == 2 {
                // The last one first.
                open.drain(..).rev().for_each(|line| log.extend(line.bytes()));
            }
        }
        log
    }

    fn file(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn read(file: &File, sieve: &Sieve) -> Vec<Entry> {
        let mut found = Vec::new();
        let mut buffer = Vec::new();
        for part in parts(file).unwrap().unwrap() {
            let mut take = |entry: Found| {
                found.push(entry.unwrap());
                Ok(())
            };
            part.read(file, sieve, &mut buffer, &mut take).unwrap();
        }
        found
    }

    #[test]
    fn parts_together_are_the_whole() {
        let log = native_log();
        let whole: Vec<_> = Reader::new(&*log).map(|entry| entry.unwrap().event).collect();
        let parts: Vec<_> = read(&file(&log), &Sieve::default()).into_iter().map(|entry| entry.event).collect();
        assert_eq!(whole.len(), 60_000);
        assert!(whole == parts, "{} and {}", whole.len(), parts.len());
        let sieve = Sieve { native: Some(["pid=9000 "].iter().collect()), ..Sieve::default() };
        let found = read(&file(&log), &sieve);
        assert_eq!(found.iter().map(|entry| entry.event.serial).collect::<Vec<_>>(), [9000]);
        assert_eq!(found[0].event, whole[9000]);
    }

    #[test]
    fn where_many_events_are_wanted_each_is_whole() {
        let log = native_log();
        // One in seven, and those with the long arguments.
        for texts in [vec!["key=\"k3\""], vec!["AAAA"], vec!["key=\"k3\"", "AAAA"]] {
            let sieve = Sieve { native: Some(texts.iter().collect()), ..Sieve::default() };
            let whole: Vec<_> = Reader::new(&*log).sieved(sieve.clone()).map(|entry| entry.unwrap().event).collect();
            let parts: Vec<_> = read(&file(&log), &sieve).into_iter().map(|entry| entry.event).collect();
            assert!(whole == parts && !whole.is_empty(), "{} and {} with {texts:?}", whole.len(), parts.len());
        }
    }

    #[test]
    fn lines_of_json_belong_to_the_part_in_which_they_begin() {
        let line = |serial: usize| {
            let (time, pad) = ("2026-11-24T07:04:10.000000000Z", "x".repeat(serial % 900));
            format!(
                "{{\"time\":\"{time}\",\"serial\":{serial},\"node\":\"w\",\"schema\":1,\"type\":\"USER\",\
                 \"records\":[{{\"type\":\"USER\",\"text\":\"{pad}\"}}]}}\n"
            )
        };
        let log: String = (0..20_000).map(line).collect();
        let serials: Vec<_> =
            read(&file(log.as_bytes()), &Sieve::default()).iter().map(|entry| entry.event.serial).collect();
        assert_eq!(serials, (0..20_000).collect::<Vec<u64>>());
    }

    #[test]
    fn small_and_compressed_logs_have_no_parts() {
        assert_eq!(parts(&file(b"type=USER msg=audit(1.000:1): x\n")).unwrap(), None);
        assert_eq!(parts(&file(&vec![0x1f; 9 << 20])).unwrap(), None);
    }
}
