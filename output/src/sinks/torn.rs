//! Torn tails: a crash or a full disk in the middle of a write leaves half a member at the end of a file. What is appended
//! after it could not be read, so on opening the tail is moved to `NAME.torn-<n>` and the file cut to its last whole member.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, SeekFrom};
use std::path::{Path, PathBuf};

use super::member::{GZIP_HEADER, GZIP_LENGTH, GZIP_MAGIC, GZIP_SUBFIELD};
use crate::config::Compression;
use crate::fs::{Fs, LogFile};

/// What a file's first bytes say it contains; `None` for an empty file, or one that begins like none of ours.
pub(super) fn detect(file: &mut dyn LogFile) -> io::Result<Option<Compression>> {
    let mut start = [0; 4];
    file.seek(SeekFrom::Start(0))?;
    let count = read_up_to(file, &mut start)?;
    Ok(match start[..count] {
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(Compression::Zstd),
        // A line of JSON or text.
        [byte, ..] if byte.is_ascii_graphic() && count == start.len() && start.is_ascii() => Some(Compression::None),
        _ => None,
    })
}

/// Length of the part of the file that consists of whole members.
pub(super) fn whole_length(compression: Compression, file: &mut dyn LogFile) -> io::Result<u64> {
    let length = file.length()?;
    match compression {
        Compression::None => whole_lines(file, length),
        Compression::Gzip => whole_members(&mut Members { file, length }, gzip_member),
        Compression::Zstd => whole_members(&mut Members { file, length }, zstd_frame),
    }
}

/// Copies what follows `whole` to a new file beside the log, then cuts the log. Returns the new file's path.
pub(super) fn set_aside(fs: &dyn Fs, path: &Path, file: &mut dyn LogFile, whole: u64) -> io::Result<PathBuf> {
    let (torn_path, mut torn) = create_beside(fs, path)?;
    file.seek(SeekFrom::Start(whole))?;
    let copied = io::copy(&mut &mut *file, &mut torn).and_then(|_| torn.sync());
    if let Err(error) = copied {
        // The tail is still where it was; half a copy, and another at every start, helps nobody.
        fs.remove(&torn_path)?;
        return Err(error);
    }
    // Only once the tail is safe elsewhere.
    file.set_length(whole)?;
    Ok(torn_path)
}

fn create_beside(fs: &dyn Fs, path: &Path) -> io::Result<(PathBuf, Box<dyn LogFile>)> {
    let mut number = 1_u32;
    loop {
        let mut name: OsString = path.as_os_str().to_owned();
        name.push(format!(".torn-{number}"));
        match fs.create_new(Path::new(&name)) {
            Ok(file) => return Ok((PathBuf::from(name), file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 10_000 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Up to and with the last newline.
fn whole_lines(file: &mut dyn LogFile, length: u64) -> io::Result<u64> {
    const CHUNK: u64 = 64 << 10;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let mut chunk = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        Read::take(&mut *file, end - start).read_to_end(&mut chunk)?;
        if let Some(at) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// A file of members.
struct Members<'a> {
    file: &'a mut dyn LogFile,
    length: u64,
}

impl Members<'_> {
    fn reader(&mut self, start: u64, end: u64) -> io::Result<BufReader<impl Read>> {
        self.file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(Read::take(&mut *self.file, end - start)))
    }
}

/// One member as a walk over the file meets it.
enum Member {
    /// It ends here, if it is what its header says.
    Claimed(u64),
    /// It ends here, and was read in full.
    Read(u64),
    /// It does not end within the file, or is none.
    Torn,
}

type Walk = fn(&mut Members<'_>, u64) -> io::Result<Member>;

/// Walks from member to member, then reads the last ones in full: a power failure can leave a hole in a member whose
/// header, and even whose successors, are there.
fn whole_members(members: &mut Members<'_>, walk: Walk) -> io::Result<u64> {
    let mut claimed = Vec::new();
    let mut end = 0;
    while end < members.length {
        let start = end;
        match walk(members, start)? {
            Member::Claimed(next) => {
                claimed.push(start);
                end = next;
            }
            Member::Read(next) => {
                claimed.clear();
                end = next;
            }
            Member::Torn => break,
        }
    }
    while let Some(start) = claimed.pop() {
        if reads_whole(members, start, end)? {
            break;
        }
        end = start;
    }
    Ok(end)
}

/// Whether one member, and nothing else, lies between the two offsets.
fn reads_whole(members: &mut Members<'_>, start: u64, end: u64) -> io::Result<bool> {
    let mut reader = members.reader(start, end)?;
    let magic: &[u8] = reader.fill_buf()?;
    if magic.starts_with(&[0x1f, 0x8b]) {
        return Ok(read_gzip(&mut reader)? == Some(end - start));
    }
    if is_skippable(magic) {
        return Ok(true);
    }
    let decoded = zstd::stream::read::Decoder::with_buffer(reader).map(zstd::stream::read::Decoder::single_frame);
    undecodable_is_none(decoded.and_then(|mut decoder| io::copy(&mut decoder, &mut io::sink())))
        .map(|read| read.is_some())
}

/// Reads one gzip member; returns its length, or `None` where it is torn or damaged.
fn read_gzip(reader: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut decoder = flate2::bufread::GzDecoder::new(Counted { reader, count: 0 });
    let read = undecodable_is_none(io::copy(&mut decoder, &mut io::sink()))?;
    Ok(read.map(|_| decoder.get_ref().count))
}

/// Separates data that does not decode from a disk that does not read.
fn undecodable_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.raw_os_error().is_some() => Err(error),
        Err(_) => Ok(None),
    }
}

/// Counts what is consumed.
struct Counted<R> {
    reader: R,
    count: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.count += amount as u64;
        self.reader.consume(amount);
    }
}

fn gzip_member(members: &mut Members<'_>, start: u64) -> io::Result<Member> {
    let length = members.length;
    let mut reader = members.reader(start, length)?;
    let mut header = [0; GZIP_HEADER];
    let count = reader.fill_buf()?.len().min(GZIP_HEADER);
    header[..count].copy_from_slice(&reader.buffer()[..count]);
    if header.starts_with(&GZIP_MAGIC) && header[10..].starts_with(&GZIP_SUBFIELD) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| header[GZIP_LENGTH.start + index]);
        let end = start + u64::from(u32::from_le_bytes([a, b, c, d]));
        // Our members are longer than their header; a length that is not would not let the walk advance.
        let plausible = end > start + GZIP_HEADER as u64 && end <= length;
        return Ok(if plausible { Member::Claimed(end) } else { Member::Torn });
    }
    // Another program's member, or damage: only reading tells.
    Ok(read_gzip(&mut reader)?.map_or(Member::Torn, |read| Member::Read(start + read)))
}

const ZSTD_MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// Skippable frames begin with 0x184D2A50 to 0x184D2A5F.
const SKIPPABLE: [u8; 4] = 0x184d_2a50_u32.to_le_bytes();

fn is_skippable(magic: &[u8]) -> bool {
    matches!(magic, [first, rest @ ..] if first & 0xf0 == SKIPPABLE[0] && rest.starts_with(&SKIPPABLE[1..]))
}

/// Finds the end of a Zstandard frame from the headers of its blocks (RFC 8878 section 3.1).
fn zstd_frame(members: &mut Members<'_>, start: u64) -> io::Result<Member> {
    let end = zstd_frame_end(members, start);
    match undecodable_is_none(end)? {
        Some(end) if end <= members.length => Ok(Member::Claimed(end)),
        _ => Ok(Member::Torn),
    }
}

fn zstd_frame_end(members: &mut Members<'_>, start: u64) -> io::Result<u64> {
    let mut at = start;
    let magic: [u8; 4] = bytes_at(members, &mut at)?;
    if is_skippable(&magic) {
        let length: [u8; 4] = bytes_at(members, &mut at)?;
        return Ok(at + u64::from(u32::from_le_bytes(length)));
    }
    if magic != ZSTD_MAGIC {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let [descriptor] = bytes_at(members, &mut at)?;
    let single_segment = descriptor & 0x20 != 0;
    let window = u64::from(!single_segment);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size = [u64::from(single_segment), 2, 4, 8][usize::from(descriptor >> 6)];
    at += window + dictionary + content_size;
    loop {
        let [a, b, c] = bytes_at(members, &mut at)?;
        let header = u32::from_le_bytes([a, b, c, 0]);
        at += match header >> 1 & 3 {
            // A run: one byte stands for all.
            1 => 1,
            3 => return Err(io::ErrorKind::InvalidData.into()),
            _ => u64::from(header >> 3),
        };
        if header & 1 != 0 {
            break;
        }
    }
    let checksum = if descriptor & 4 != 0 { 4 } else { 0 };
    Ok(at + checksum)
}

/// Reads `N` bytes at an offset and moves it past them.
fn bytes_at<const N: usize>(members: &mut Members<'_>, at: &mut u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    members.file.seek(SeekFrom::Start(*at))?;
    members.file.read_exact(&mut bytes)?;
    *at += N as u64;
    Ok(bytes)
}

fn read_up_to(file: &mut dyn LogFile, buffer: &mut [u8]) -> io::Result<usize> {
    let mut rest = buffer;
    let mut count = 0;
    while !rest.is_empty() {
        match file.read(rest)? {
            0 => break,
            read => {
                count += read;
                rest = &mut rest[read..];
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::fs::RealFs;
    use crate::sinks::member::Encoder;

    const ALL: [Compression; 3] = [Compression::Gzip, Compression::Zstd, Compression::None];

    /// A log of several members; returns it with the offsets at which one ends.
    fn log(compression: Compression) -> (Vec<u8>, Vec<usize>) {
        let mut encoder = Encoder::new(compression).unwrap();
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for lines in ["{\"a\":1}\n", "{\"bb\":22}\n{\"c\":3}\n", &"{\"d\":444444}\n".repeat(40)] {
            for member in
                if compression == Compression::None { lines.split_inclusive('\n').collect() } else { vec![lines] }
            {
                bytes.extend(encoder.member(member.as_bytes()).unwrap());
                ends.push(bytes.len());
            }
        }
        (bytes, ends)
    }

    fn whole(compression: Compression, bytes: &[u8]) -> usize {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, bytes).unwrap();
        let mut file = RealFs::default().open_log(&path).unwrap();
        usize::try_from(whole_length(compression, &mut *file).unwrap()).unwrap()
    }

    #[test]
    fn torn_anywhere_the_whole_members_before_it_stay() {
        for compression in ALL {
            let (bytes, ends) = log(compression);
            for cut in 0..=bytes.len() {
                let expected = ends.iter().copied().filter(|end| *end <= cut).max().unwrap();
                assert_eq!(whole(compression, &bytes[..cut]), expected, "{compression:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_hole_in_the_last_member_is_found_though_its_length_is_right() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let (mut bytes, ends) = log(compression);
            let [.., last, end] = ends[..] else { panic!("too few members") };
            bytes[end - 9..].fill(0);
            assert_eq!(whole(compression, &bytes), last, "{compression:?}");
            bytes.extend([0; 4096]);
            assert_eq!(whole(compression, &bytes), last, "{compression:?} with zeros after it");
        }
    }

    #[test]
    fn members_of_other_programs_are_kept() {
        let mut foreign = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        foreign.write_all(b"{\"old\":1}\n").unwrap();
        let mut bytes = foreign.finish().unwrap();
        bytes.extend(log(Compression::Gzip).0);
        assert_eq!(whole(Compression::Gzip, &bytes), bytes.len());

        let mut bytes = zstd::encode_all(&b"{\"old\":1}\n"[..], 1).unwrap();
        bytes.extend([SKIPPABLE.as_slice(), &3_u32.to_le_bytes(), b"abc"].concat());
        bytes.extend(log(Compression::Zstd).0);
        assert_eq!(whole(Compression::Zstd, &bytes), bytes.len());
    }

    #[test]
    fn nothing_of_a_torn_tail_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.gz");
        let (bytes, ends) = log(Compression::Gzip);
        let whole = ends[2];
        for number in 1..=2 {
            std::fs::write(&path, &bytes[..whole + 7]).unwrap();
            let mut file = RealFs::default().open_log(&path).unwrap();
            let torn = set_aside(&RealFs::default(), &path, &mut *file, whole as u64).unwrap();
            assert_eq!(torn, directory.path().join(format!("log.gz.torn-{number}")));
            assert_eq!(std::fs::read(&torn).unwrap(), bytes[whole..whole + 7]);
            assert_eq!(std::fs::read(&path).unwrap(), bytes[..whole]);
        }
    }

    #[test]
    fn content_is_recognised() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let detected = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            detect(&mut *RealFs::default().open_log(&path).unwrap()).unwrap()
        };
        for compression in ALL {
            assert_eq!(detected(&log(compression).0), Some(compression));
        }
        assert_eq!(detected(b""), None);
        assert_eq!(detected(&[0; 8]), None);
    }

    proptest! {
        #[test]
        fn no_content_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..200), after in any::<bool>()) {
            for compression in ALL {
                let start = if after { log(compression).0 } else { Vec::new() };
                let all = [start, bytes.clone()].concat();
                prop_assert!(whole(compression, &all) <= all.len());
            }
        }
    }
}
