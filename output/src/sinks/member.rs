//! Compressed members: the units in which a log file grows.
//!
//! Each is complete in itself, so whatever was written of a file reads with stock tools, up to its last whole member. A
//! gzip member carries its own length in an extra field of its header (RFC 1952 section 2.3.1.1, subfield `AB`, four bytes,
//! little endian), so that the end of a large file is found without decompressing it; gzip itself skips the field. Zstandard
//! frames (RFC 8878) tell the lengths of their blocks anyway.

use std::io::{self, Write};

use flate2::GzBuilder;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use crate::config::Compression;

/// Header of our gzip members: ten fixed bytes, the length of the extra field, the head of its one subfield, its value.
pub(super) const GZIP_HEADER: usize = 20;
/// First four bytes of a gzip member with an extra field and nothing else.
pub(super) const GZIP_MAGIC: [u8; 4] = [0x1f, 0x8b, 8, 4];
/// Length of the extra field (8), then subfield id and length (4).
pub(super) const GZIP_SUBFIELD: [u8; 6] = [8, 0, b'A', b'B', 4, 0];
/// Where the length of the member stands in it.
pub(super) const GZIP_LENGTH: std::ops::Range<usize> = 16..20;

/// gzip level. Measured on records: level 1 makes them half as large again, level 6 saves a tenth and is slower.
const GZIP_LEVEL: u32 = 4;
/// zstd level: its default.
const ZSTD_LEVEL: i32 = 3;

/// Makes members.
pub(super) enum Encoder {
    Gzip,
    Zstd(Box<Compressor<'static>>),
    None,
}

impl Encoder {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip => Self::Gzip,
            Compression::None => Self::None,
            Compression::Zstd => {
                let mut compressor = Compressor::new(ZSTD_LEVEL)?;
                compressor.set_parameter(CParameter::ChecksumFlag(true))?;
                Self::Zstd(Box::new(compressor))
            }
        })
    }

    /// One member that contains `lines`.
    pub(super) fn member(&mut self, lines: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => gzip(lines),
            Self::Zstd(compressor) => compressor.compress(lines),
            Self::None => Ok(lines.to_vec()),
        }
    }
}

fn gzip(lines: &[u8]) -> io::Result<Vec<u8>> {
    let [.., id0, id1, length0, length1] = GZIP_SUBFIELD;
    let extra = [id0, id1, length0, length1, 0, 0, 0, 0];
    let output = Vec::with_capacity(lines.len() / 8 + GZIP_HEADER);
    let mut encoder = GzBuilder::new().extra(extra).write(output, flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(lines)?;
    let mut member = encoder.finish()?;
    let length = u32::try_from(member.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    member[GZIP_LENGTH].copy_from_slice(&length.to_le_bytes());
    Ok(member)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_gzip_member_tells_its_length_and_reads_as_gzip() {
        let member = Encoder::new(Compression::Gzip).unwrap().member(b"hello\n").unwrap();
        assert_eq!(member[..4], GZIP_MAGIC);
        assert_eq!(member[10..16], GZIP_SUBFIELD);
        assert_eq!(member[GZIP_LENGTH], u32::try_from(member.len()).unwrap().to_le_bytes());
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*member).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello\n");
    }

    #[test]
    fn a_zstd_frame_reads_as_zstd() {
        let member = Encoder::new(Compression::Zstd).unwrap().member(b"hello\n").unwrap();
        assert_eq!(zstd::decode_all(&*member).unwrap(), b"hello\n");
    }
}
