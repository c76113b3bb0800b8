//! The hash chain over the segments of a log.
//!
//! Beside each segment stands `NAME.sha256`, which `sha256sum -c` reads: the digest of the segment, and that of the sidecar of
//! the segment before. So whoever changes a byte, or takes a segment out, must write every later sidecar anew, and the digest
//! of the newest one, kept elsewhere, tells. Comments, which sha256sum skips, tell the rest:
//!
//! ```text
//! # auditd-bpf segment 17, oldest 10, bytes 48213, records 1000, from 1795503850123456789, to 1795503912000000000
//! 5f70...  audit-00000017-20261124T070410Z.json.gz
//! 91ab...  audit-00000016-20261124T060001Z.json.gz.sha256
//! ```

mod verify;

use std::fmt::{self, Display};

use sha2::{Digest as _, Sha256};

pub use verify::{Finding, Report, verify};

/// What a sidecar's name has behind that of its segment.
pub(crate) const SUFFIX: &str = ".sha256";

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Of what a hasher was given.
    pub(crate) fn so_far(hasher: &Sha256) -> Self {
        Self(hasher.clone().finalize().into())
    }

    fn parse(hex: &str) -> Option<Self> {
        Some(Self(crate::format::native::unhex(hex.as_bytes())?.try_into().ok()?))
    }
}

impl Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// What a sidecar tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sidecar {
    /// Number of the segment.
    pub(crate) number: u64,
    /// Number of the oldest segment that was kept when this was written.
    pub(crate) oldest: u64,
    /// Bytes of the segment that the digest covers.
    pub(crate) bytes: u64,
    /// Records in them.
    pub(crate) records: u64,
    /// Time of the first and last event, in nanoseconds since the epoch; 0 where there is none.
    pub(crate) times: (u64, u64),
    /// Digest of these bytes.
    pub(crate) digest: Digest,
    /// Name of the segment's file.
    pub(crate) name: String,
    /// Digest and name of the sidecar before.
    pub(crate) previous: Option<(Digest, String)>,
}

impl Sidecar {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut facts = lines.next()?.strip_prefix("# auditd-bpf ")?.split(", ");
        let mut fact = |name: &str| facts.next()?.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok();
        let (number, oldest, bytes) = (fact("segment")?, fact("oldest")?, fact("bytes")?);
        let (records, times) = (fact("records")?, (fact("from")?, fact("to")?));
        let mut digests = lines.map(|line| {
            let (digest, name) = line.split_once("  ")?;
            Some((Digest::parse(digest)?, name.to_owned()))
        });
        let (digest, name) = digests.next()??;
        let previous = match digests.next() {
            None => None,
            Some(previous) => Some(previous?),
        };
        Some(Self { number, oldest, bytes, records, times, digest, name, previous })
    }
}

impl Display for Sidecar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, oldest, bytes, records, times: (from, to), digest, name, previous } = self;
        writeln!(
            out,
            "# auditd-bpf segment {number}, oldest {oldest}, bytes {bytes}, records {records}, from {from}, to {to}"
        )?;
        writeln!(out, "{digest}  {name}")?;
        match previous {
            Some((digest, name)) => writeln!(out, "{digest}  {name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
