//! Bytes → checked header and sections. No length in a sample is trusted: whatever the bytes, nothing panics.

use auditd_bpf_common::wire::{self, EventHeader, Object, SectionHead, TargetTask, kind};

/// Why a sample cannot be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// Shorter than a header.
    #[error("{0} bytes are fewer than a header")]
    Short(usize),
    /// Made by another version of the programs.
    #[error("schema {0} is not the one of this release ({expected})", expected = wire::SCHEMA_VERSION)]
    Schema(u32),
    /// Neither an event nor a chunk of one.
    #[error("unknown kind of sample {0}")]
    Kind(u32),
    /// The header claims more than there is.
    #[error("the header claims {claimed} bytes of sections, there are {present}")]
    Length {
        /// By the header.
        claimed: u32,
        /// In the sample.
        present: usize,
    },
}

/// A sample whose header holds.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The fixed part.
    pub header: EventHeader,
    /// Sections, not looked at yet.
    pub payload: &'a [u8],
}

impl<'a> Sample<'a> {
    /// Checks the header.
    ///
    /// # Errors
    /// If the bytes are not a sample of this schema.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SampleError> {
        let mut reader = Reader(bytes);
        let header = header(&mut reader).ok_or(SampleError::Short(bytes.len()))?;
        if header.schema != wire::SCHEMA_VERSION {
            return Err(SampleError::Schema(header.schema));
        }
        if !matches!(header.kind, kind::EVENT | kind::CHUNK) {
            return Err(SampleError::Kind(header.kind));
        }
        let length = SampleError::Length { claimed: header.payload_len, present: reader.0.len() };
        let payload = usize::try_from(header.payload_len).ok().and_then(|len| reader.0.get(..len)).ok_or(length)?;
        Ok(Self { header, payload })
    }
}

/// A section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// One of [`wire::section`], or unknown.
    pub kind: u8,
    /// Meaning depends on the kind.
    pub detail: u8,
    /// Content.
    pub data: &'a [u8],
}

/// A section that claims more than there is; nothing after it can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

/// The sections of one sample.
#[derive(Clone, Debug)]
pub struct Sections<'a>(Reader<'a>);

impl<'a> Sections<'a> {
    /// Of the payload of one sample.
    pub fn new(payload: &'a [u8]) -> Self {
        Self(Reader(payload))
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<Section<'a>, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let section = section(&mut self.0).ok_or(Truncated);
        if section.is_err() {
            self.0 = Reader(&[]);
        }
        Some(section)
    }
}

fn section<'a>(reader: &mut Reader<'a>) -> Option<Section<'a>> {
    let head = SectionHead { kind: reader.u8()?, detail: reader.u8()?, len: reader.u16()? };
    let (data, rest) = reader.0.split_at_checked(usize::from(head.len))?;
    reader.0 = rest;
    Some(Section { kind: head.kind, detail: head.detail, data })
}

/// The content of an OBJECT section.
pub fn object(data: &[u8]) -> Option<Object> {
    let mut r = Reader(data);
    Some(Object {
        ino: r.u64()?,
        dev: r.u32()?,
        mode: r.u32()?,
        uid: r.u32()?,
        gid: r.u32()?,
        rdev: r.u32()?,
        _pad: r.u32()?,
    })
}

/// The content of a TARGET section.
pub fn target(data: &[u8]) -> Option<TargetTask> {
    let mut r = Reader(data);
    Some(TargetTask { pid: r.u32()?, auid: r.u32()?, uid: r.u32()?, session: r.u32()?, comm: r.array()? })
}

/// The bytes before the first NUL; all of them where there is none.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// In the order of the structure, which has no padding; the tests write each field at its `offset_of!`.
fn header(r: &mut Reader<'_>) -> Option<EventHeader> {
    Some(EventHeader {
        kind: r.u32()?,
        schema: r.u32()?,
        start: r.u64()?,
        time: r.u64()?,
        tid: r.u32()?,
        pid: r.u32()?,
        ppid: r.u32()?,
        generation: r.u32()?,
        rule: r.u32()?,
        abi: r.u32()?,
        syscall: r.u32()?,
        hook: r.u32()?,
        args: [r.u64()?, r.u64()?, r.u64()?, r.u64()?, r.u64()?, r.u64()?],
        exit: r.array().map(i64::from_ne_bytes)?,
        auid: r.u32()?,
        session: r.u32()?,
        uids: [r.u32()?, r.u32()?, r.u32()?, r.u32()?],
        gids: [r.u32()?, r.u32()?, r.u32()?, r.u32()?],
        exe_dev: r.u32()?,
        incomplete: r.u32()?,
        exe_ino: r.u64()?,
        comm: r.array()?,
        tty: r.array()?,
        chunk: r.u32()?,
        payload_len: r.u32()?,
        has_result: r.u32()?,
        personality: r.u32()?,
        verdict: r.u32()?,
        _pad: r.u32()?,
    })
}

/// Takes integers off the front; the kernel side shares our byte order.
#[derive(Clone, Debug)]
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_ne_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_samples::{HEADER_BYTES, event_header, sample, section};
    use super::*;

    #[test]
    fn a_header_reads_as_the_structure_lies_in_memory() {
        let mut wanted = event_header();
        wanted.payload_len = 5;
        let bytes = sample(&wanted, b"\x09\x07\x01\x00x");
        let parsed = Sample::parse(&bytes).unwrap();
        assert_eq!(format!("{:?}", parsed.header), format!("{wanted:?}"), "every field differs from every other");
        let sections: Vec<_> = Sections::new(parsed.payload).collect();
        assert_eq!(sections, [Ok(Section { kind: 9, detail: 7, data: b"x" })]);
    }

    #[test]
    fn what_is_no_sample_is_told_apart() {
        let header = event_header();
        let bytes = sample(&header, &section(9, 0, b"abc"));
        assert_eq!(Sample::parse(&bytes[..100]).unwrap_err(), SampleError::Short(100));
        assert_eq!(Sample::parse(&[]).unwrap_err(), SampleError::Short(0));
        let cut = Sample::parse(&bytes[..HEADER_BYTES + 3]).unwrap_err();
        assert_eq!(cut, SampleError::Length { claimed: 7, present: 3 });
        let other = sample(&EventHeader { schema: 77, ..header }, &[]);
        assert_eq!(Sample::parse(&other).unwrap_err(), SampleError::Schema(77));
        let other = sample(&EventHeader { kind: 77, ..header }, &[]);
        assert_eq!(Sample::parse(&other).unwrap_err(), SampleError::Kind(77));
    }

    #[test]
    fn a_section_that_claims_too_much_ends_the_sample() {
        let payload = [section(9, 0, b"whole"), section(9, 0, &[1; 300])].concat();
        let sections: Vec<_> = Sections::new(&payload[..payload.len() - 1]).collect();
        assert_eq!(sections, [Ok(Section { kind: 9, detail: 0, data: b"whole" }), Err(Truncated)]);
        assert_eq!(Sections::new(&[9, 0, 1]).collect::<Vec<_>>(), [Err(Truncated)], "half a head");
    }

    #[test]
    fn fixed_contents_need_all_their_bytes() {
        assert_eq!(object(&[0; 31]), None);
        assert_eq!(object(&[0; 32]), Some(Object::default()));
        assert_eq!(target(&[0; 31]), None);
        assert_eq!(target(&[0; 32]), Some(TargetTask::default()));
    }
}
