//! The `stdout` sink: lines as they come, for a terminal or a pipe.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::Sink;
use super::backoff::Backoff;
use crate::config::StdoutConfig;
use crate::counters::Meter;
use crate::error::OutputError;
use crate::format::Format;
use crate::record::Record;

/// Written at once at the latest when this much waits.
const BUFFER: usize = 64 << 10;

/// Writes lines to `W`.
pub(crate) struct StdoutSink<W> {
    format: Format,
    writer: W,
    meter: Arc<Meter>,
    lines: Vec<u8>,
    /// How much of `lines` is written.
    written: usize,
    events: u64,
    since: Option<Instant>,
    backoff: Backoff,
}

impl StdoutSink<File> {
    /// Writes to standard output, past the buffer that `std` keeps there: it could hold half a line when a write fails.
    pub(crate) fn open(config: &StdoutConfig, meter: Arc<Meter>) -> Result<Self, OutputError> {
        let descriptor = io::stdout().as_fd().try_clone_to_owned().map_err(OutputError::Stdout)?;
        Ok(Self::new(config.format, File::from(descriptor), meter))
    }
}

impl<W: Write> StdoutSink<W> {
    fn new(format: Format, writer: W, meter: Arc<Meter>) -> Self {
        let lines = Vec::new();
        Self { format, writer, meter, lines, written: 0, events: 0, since: None, backoff: Backoff::default() }
    }

    /// Writes what waits, remembering how far it came.
    fn write_out(&mut self) -> io::Result<()> {
        while self.written < self.lines.len() {
            match self.writer.write(&self.lines[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<W: Write + Send> Sink for StdoutSink<W> {
    fn write(&mut self, record: &Record<'_>, events: u64) {
        self.format.write_lines(record, &mut self.lines);
        self.events += events;
        self.since.get_or_insert_with(Instant::now);
        if self.lines.len() >= BUFFER {
            self.flush();
        }
    }

    fn flush(&mut self) {
        match self.write_out() {
            Ok(()) => {
                self.meter.wrote(self.events, self.lines.len());
                self.meter.set_stalled(false);
                self.backoff.succeeded();
                self.lines.clear();
                self.written = 0;
                self.events = 0;
                self.since = None;
            }
            Err(error) => {
                self.meter.failed();
                self.meter.set_stalled(true);
                if self.backoff.failed() {
                    tracing::warn!(%error, "cannot write to standard output; records wait");
                }
            }
        }
    }

    /// At once: somebody is looking. The worker calls only when it has nothing else to write.
    fn due(&self) -> Option<Instant> {
        self.since
    }

    fn stalled_until(&self) -> Option<Instant> {
        self.backoff.until()
    }

    fn retry(&mut self) {
        self.flush();
    }

    fn close(&mut self) -> u64 {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    /// Takes `room` bytes, then fails until there is room again.
    struct Full {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Full {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.room);
            self.room -= count;
            self.taken.extend(&buffer[..count]);
            if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_cut_in_the_middle_goes_on_where_it_stopped() {
        let meter = Arc::new(Meter::default());
        let mut sink = StdoutSink::new(Format::Text, Full { taken: Vec::new(), room: 10 }, Arc::clone(&meter));
        let event = samples::event(samples::daemon());
        sink.write(&samples::record(&event), 1);
        sink.flush();
        assert!(sink.stalled_until().is_some());
        assert_eq!(meter.snapshot("").written, 0);
        sink.writer.room = 1000;
        sink.retry();
        assert!(sink.stalled_until().is_none());
        let mut expected = Vec::new();
        Format::Text.write_lines(&samples::record(&event), &mut expected);
        assert_eq!(sink.writer.taken, expected);
        assert_eq!((meter.snapshot("").written, meter.snapshot("").errors), (1, 1));
    }
}
