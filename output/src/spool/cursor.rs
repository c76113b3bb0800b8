//! The file `cursor`: number of the first record that is not acknowledged, with a checksum.

use std::io;
use std::path::Path;

/// Its name.
const NAME: &str = "cursor";

/// Where the spool stands; at its beginning where nothing was acknowledged yet. A damaged cursor is taken for that too: to repeat
/// is better than to lose.
pub(super) fn read(directory: &Path) -> io::Result<u64> {
    let bytes = match std::fs::read(directory.join(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let number = bytes.first_chunk::<8>().filter(|number| bytes[8..] == crc32fast::hash(*number).to_le_bytes());
    if number.is_none() {
        tracing::warn!(spool = %directory.display(), "the spool's cursor is damaged: all that is in it is sent again");
    }
    Ok(number.map_or(0, |number| u64::from_le_bytes(*number)))
}

/// Remembers it.
pub(super) fn write(directory: &Path, acknowledged: u64) -> io::Result<()> {
    let number = acknowledged.to_le_bytes();
    let checksum = crc32fast::hash(&number).to_le_bytes();
    super::replace(&directory.join(NAME), &[&number[..], &checksum].concat())
}
