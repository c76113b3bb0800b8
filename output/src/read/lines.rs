//! Lines of a log, decompressed where it is compressed.

use std::io::{self, BufRead, BufReader, Read};

use super::Problem;

/// Longest line that is read: an argument list has at most 2 MiB, and JSON escapes make it longer.
const LONGEST: u64 = 16 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The text of a log, which may be compressed with gzip or zstd, in one member or many. What it is, its first bytes tell.
pub fn open(input: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let start = input.fill_buf()?;
    Ok(if start.starts_with(&GZIP) {
        Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(input)))
    } else if start.starts_with(&ZSTD) {
        Box::new(BufReader::new(zstd::Decoder::with_buffer(input)?))
    } else {
        Box::new(input)
    })
}

pub(super) struct Lines<R> {
    input: R,
    number: u64,
    ended: bool,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, number: 0, ended: false, line: Vec::new() }
    }

    /// Number of the last line, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line, without its newline.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Problem> {
        if self.ended {
            return Ok(None);
        }
        self.number += 1;
        self.line.clear();
        let read = (&mut self.input).take(LONGEST).read_until(b'\n', &mut self.line);
        self.ended = !matches!(read, Ok(1..));
        read?;
        if self.line.last() != Some(&b'\n') && self.line.len() as u64 == LONGEST {
            self.ended = self.input.skip_until(b'\n')? == 0;
            return Err(Problem::TooLong);
        }
        Ok((!self.ended).then(|| self.line.strip_suffix(b"\n").unwrap_or(&self.line)))
    }
}
