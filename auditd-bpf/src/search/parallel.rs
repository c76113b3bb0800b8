//! Searching with all cores. Each log, and each part of a large one, is read by one thread; what they find is written in the order
//! of the logs. Memory is bounded: threads that are ahead wait.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use output::LogSegment;
use output::read::{Found, LogPart, PartReader, Reader, Sieve, parts};
use output::search::{Layout, Query};

use super::{Answer, append};
use crate::logs;
use crate::names::HostNames;

/// Bytes that are handed on at once.
const BLOCK: usize = 256 << 10;
/// Blocks that wait for those before them, per log or part.
const WAITING: usize = 4;

/// A log, or a part of one.
struct Task<'a> {
    log: &'a LogSegment,
    part: Option<LogPart>,
}

/// What a thread tells.
enum Said {
    /// So many events, as text.
    Events(u64, Vec<u8>),
    /// A line that is no record.
    Problem(String),
    /// The log could not be opened.
    Unopened(String),
}

/// What all threads look at.
struct Common<'a> {
    query: &'a Query,
    sieve: Sieve,
    layout: Layout,
    host: HostNames,
    /// Blocks that were written, for what comes: new memory costs as much as filling it.
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Common<'_> {
    fn block(&self) -> Vec<u8> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, mut block: Vec<u8>) {
        block.clear();
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(block);
    }
}

/// Writes the events that are meant.
///
/// # Errors
/// If they cannot be written.
pub(super) fn search(
    query: &Query,
    layout: Layout,
    logs: &[LogSegment],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Answer> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let common = Common { query, sieve: query.sieve(), layout, host: HostNames::default(), spare: Mutex::default() };
    let meant = logs.iter().filter(|log| log.times.is_none_or(|(from, to)| query.may_lie_within(from, to)));
    let tasks = meant.flat_map(tasks);
    let (give, take) = channel();
    let take = Mutex::new(take);
    thread::scope(|scope| {
        let (give, common, take) = (give, &common, &take);
        for _ in 0..cores {
            scope.spawn(move || work(common, take));
        }
        let mut writer = Writer { common, answer: Answer { found: 0, whole: true }, out, err };
        let mut begun: VecDeque<Receiver<Said>> = VecDeque::new();
        // Should writing fail, threads find that nobody hears them, and end.
        for task in tasks {
            if begun.len() == 2 * cores {
                begun.pop_front().into_iter().try_for_each(|hear| writer.all(&hear))?;
            }
            let (say, hear) = sync_channel(WAITING);
            begun.push_back(hear);
            // They hold the other end until this one is gone.
            let _ = give.send((task, say));
        }
        drop(give);
        begun.into_iter().try_for_each(|hear| writer.all(&hear))?;
        Ok(writer.answer)
    })
}

/// A log that cannot be opened is a task too: what is wrong with it is told in its turn.
fn tasks(log: &LogSegment) -> Vec<Task<'_>> {
    let found = File::open(&log.path).and_then(|file| parts(&file)).unwrap_or_default();
    match found {
        Some(parts) => parts.into_iter().map(|part| Task { log, part: Some(part) }).collect(),
        None => vec![Task { log, part: None }],
    }
}

fn work(common: &Common<'_>, take: &Mutex<Receiver<(Task<'_>, SyncSender<Said>)>>) {
    let mut parts = PartReader::default();
    loop {
        let task = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((task, say)) = task else { return };
        let mut teller = Teller { common, shown: logs::shown(&task.log.path), lines: common.block(), count: 0, say };
        let done = match &task.part {
            None => teller.log(task.log),
            Some(part) => teller.part(task.log, part, &mut parts),
        };
        let heard = done.and_then(|()| teller.tell());
        common.give_back(teller.lines);
        if heard.is_err() {
            return;
        }
    }
}

/// Nobody hears any more: the answer could not be written.
struct Unheard;

/// What one log or part has to tell.
struct Teller<'a> {
    common: &'a Common<'a>,
    shown: String,
    lines: Vec<u8>,
    count: u64,
    say: SyncSender<Said>,
}

impl Teller<'_> {
    fn log(&mut self, log: &LogSegment) -> Result<(), Unheard> {
        let input = match logs::open(&log.path) {
            Ok(input) => input,
            Err(error) => return self.say(Said::Unopened(format!("{}: {error}", self.shown))),
        };
        for found in Reader::new(input).sieved(self.common.sieve.clone()).found() {
            match found {
                Ok(found) => self.found(&found)?,
                Err(error) => self.problem(&error)?,
            }
        }
        Ok(())
    }

    fn part(&mut self, log: &LogSegment, part: &LogPart, parts: &mut PartReader) -> Result<(), Unheard> {
        let unheard = || io::Error::from(io::ErrorKind::BrokenPipe);
        let common = self.common;
        let mut heard = true;
        let read = File::open(&log.path).and_then(|file| {
            parts.read(part, &file, &common.sieve, &mut |found| {
                let told = match found {
                    Ok(found) => self.found(found),
                    Err(problem) => self.problem(&problem),
                };
                heard = told.is_ok();
                told.map_err(|Unheard| unheard())
            })
        });
        match read {
            Err(error) if heard => self.say(Said::Unopened(format!("{}: {error}", self.shown))),
            Err(_) => Err(Unheard),
            Ok(()) => Ok(()),
        }
    }

    fn found(&mut self, found: &Found) -> Result<(), Unheard> {
        let Common { query, layout, host, .. } = self.common;
        if append(found, query, *layout, host, &mut self.lines) {
            self.count += 1;
        }
        if self.lines.len() < BLOCK { Ok(()) } else { self.tell() }
    }

    fn problem(&mut self, problem: &dyn std::fmt::Display) -> Result<(), Unheard> {
        self.tell()?;
        self.say(Said::Problem(format!("{}: {problem}", self.shown)))
    }

    fn tell(&mut self) -> Result<(), Unheard> {
        match std::mem::take(&mut self.count) {
            0 => Ok(()),
            count => {
                let lines = std::mem::replace(&mut self.lines, self.common.block());
                self.say(Said::Events(count, lines))
            }
        }
    }

    fn say(&self, said: Said) -> Result<(), Unheard> {
        self.say.send(said).map_err(|_| Unheard)
    }
}

struct Writer<'a> {
    common: &'a Common<'a>,
    answer: Answer,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl Writer<'_> {
    fn all(&mut self, hear: &Receiver<Said>) -> io::Result<()> {
        hear.iter().try_for_each(|said| self.write(said))
    }

    fn write(&mut self, said: Said) -> io::Result<()> {
        match said {
            Said::Events(found, lines) => {
                if self.answer.found == 0
                    && let Some(heading) = self.common.layout.heading()
                {
                    writeln!(self.out, "{heading}")?;
                }
                self.answer.found += found;
                self.out.write_all(&lines)?;
                self.common.give_back(lines);
                Ok(())
            }
            Said::Problem(problem) => writeln!(self.err, "{problem}"),
            Said::Unopened(problem) => {
                self.answer.whole = false;
                writeln!(self.err, "{problem}")
            }
        }
    }
}
