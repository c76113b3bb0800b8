//! Parts of a large log that is not compressed, so that several can be read at once. An event belongs to the part in which it begins.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::native::{Assembler, Records};
use super::sieve::Sieve;
use super::stamps::Stamps;
use super::window::Window;
use super::{Found, LogFormat, Problem, json};

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
type Told<'a> = Result<&'a Found, Problem>;

/// Reads parts, one after the other.
#[derive(Default)]
pub struct PartReader {
    window: Window,
    stamps: Stamps,
    assembler: Assembler,
}

impl PartReader {
    /// Hands the part's events that may be wanted to `take`, in the order in which they begin. Lines that are no
    /// records are handed on where they are looked at.
    ///
    /// # Errors
    /// If the log cannot be read, or `take` fails.
    pub fn read(
        &mut self,
        part: &LogPart,
        log: &File,
        sieve: &Sieve,
        take: &mut dyn FnMut(Told<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        match part.format {
            LogFormat::Json => self.read_json(&part.range, log, sieve, take),
            LogFormat::Native => self.read_native(&part.range, log, sieve, take),
        }
    }

    fn read_json(
        &mut self,
        range: &Range<u64>,
        log: &File,
        sieve: &Sieve,
        take: &mut dyn FnMut(Told<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let before = range.start.saturating_sub(1);
        self.window.load(log, before..range.end, 0)?;
        self.window.go_to(log, before)?;
        while let Some((offset, line)) = self.window.next_line(log)? {
            if offset >= range.end {
                break;
            }
            let blank = line.iter().all(u8::is_ascii_whitespace);
            if !blank && sieve.passes_json(line) {
                match json::entry(line) {
                    Ok(entry) => take(Ok(&Found::Entry(Box::new(entry))))?,
                    Err(problem) => take(Err(problem))?,
                }
            }
        }
        Ok(())
    }

    fn read_native(
        &mut self,
        range: &Range<u64>,
        log: &File,
        sieve: &Sieve,
        take: &mut dyn FnMut(Told<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut before = BEFORE;
        let mut untold = Untold { events: range.start, lines: range.start };
        loop {
            let from = range.start.saturating_sub(before);
            let headless = if from == 0 || before >= FARTHEST { Headless::Taken } else { Headless::Doubted };
            match self.pass(&Pass { range, log, sieve, from, headless, untold }, take)? {
                None => return Ok(()),
                Some(still_untold) => untold = still_untold,
            }
            before *= 8;
        }
    }

    /// Hands on what is untold. Where an event is met that may have begun before, it ends there, and returns what is
    /// untold still.
    fn pass(
        &mut self,
        pass: &Pass<'_>,
        take: &mut dyn FnMut(Told<'_>) -> io::Result<()>,
    ) -> io::Result<Option<Untold>> {
        let Self { window, stamps, assembler } = self;
        let Pass { range, log, sieve, .. } = *pass;
        let ahead = range.start..range.end + BEFORE;
        window.load(log, ahead.clone(), range.start - pass.from)?;
        if sieve.native.as_ref().is_some_and(|texts| !stamps.note(texts, window.bytes())) {
            return Ok(None);
        }
        window.go_to(log, pass.from)?;
        assembler.begin_in(range.clone());
        while let Some((offset, line)) = window.next_line(log)? {
            if offset >= range.end && !assembler.waits() {
                break;
            }
            let may_be_passed_over = line.len() < LONG && offset < ahead.end && sieve.native.is_some();
            if line.is_empty() || (may_be_passed_over && !stamps.may_have(line)) {
                continue;
            }
            let taken = assembler.line(line, offset);
            if let (Err(problem), true) = (taken, (pass.untold.lines..range.end).contains(&offset)) {
                take(Err(problem))?;
            }
            while let Some(records) = assembler.ready(sieve) {
                if let Some(events) = pass.event(records, assembler, take)? {
                    return Ok(Some(Untold { events, lines: offset + 1 }));
                }
            }
        }
        while let Some(records) = assembler.rest(sieve) {
            if let Some(events) = pass.event(records, assembler, take)? {
                return Ok(Some(Untold { events, lines: range.end }));
            }
        }
        Ok(None)
    }
}

/// What was not handed on yet: events that begin, and lines that stand, there or behind.
#[derive(Clone, Copy)]
struct Untold {
    events: u64,
    lines: u64,
}

/// What to do with an event that begins with a record that begins none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Headless {
    /// It began before what was read.
    Doubted,
    /// Its first records are too far away, or lost.
    Taken,
}

/// One reading of a part, with lines from `from` on.
struct Pass<'a> {
    range: &'a Range<u64>,
    log: &'a File,
    sieve: &'a Sieve,
    from: u64,
    headless: Headless,
    untold: Untold,
}

impl Pass<'_> {
    /// Hands on an event, unless it was; its buffers are for the next one. Where it begins, if its first records must
    /// be looked for.
    ///
    /// Now, and not when the part is done: it is still in the processor's cache.
    fn event(
        &self,
        records: Records,
        assembler: &mut Assembler,
        take: &mut dyn FnMut(Told<'_>) -> io::Result<()>,
    ) -> io::Result<Option<u64>> {
        let start = records.start();
        if start >= self.untold.events {
            if self.headless == Headless::Doubted && records.is_headless() {
                return Ok(Some(start));
            }
            let found = Found::Records(records);
            take(Ok(&found))?;
            if let Found::Records(records) = found {
                assembler.give_back(records);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::read::{Entry, Reader};

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
        let mut entries = Vec::new();
        let mut reader = PartReader::default();
        for part in parts(file).unwrap().unwrap() {
            let mut take = |told: Told<'_>| {
                entries.push(match told.unwrap() {
                    Found::Records(records) => records.entry().unwrap(),
                    Found::Entry(entry) => (**entry).clone(),
                });
                Ok(())
            };
            reader.read(&part, file, sieve, &mut take).unwrap();
        }
        entries
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
