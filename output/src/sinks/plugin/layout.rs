//! How records are laid out for plugins.

use std::iter;

use crate::config::Layout;
use crate::event::Body;
use crate::record::Record;

/// `MAX_AUDIT_MESSAGE_LENGTH` of libaudit.h: what follows each header, whatever the record's length, up to auditd 3.0.
const PAYLOAD: usize = 8970;
/// `AUDISP_PROTOCOL_VER2`: the payload is formatted, `type=` and all.
const VERSION: u32 = 1;
/// `sizeof(struct audit_dispatcher_header)`.
const HEADER: u32 = 16;

/// auditd's plugins wait for EOE at the end of an event of several records, which logs leave out where a PROCTITLE ends it.
pub(super) fn end_event(record: &Record<'_>, lines: &mut Vec<u8>) {
    let several = matches!(record.event.body, Body::Syscall(_));
    let last = lines.strip_suffix(b"\n").and_then(|lines| lines.rsplit(|byte| *byte == b'\n').next());
    let Some(last) = last.filter(|_| several) else { return };
    let find = |what: &[u8]| last.windows(what.len()).position(|window| window == what);
    let (Some(kind), Some(stamp), Some(end)) = (find(b"type="), find(b" msg=audit("), find(b"): ")) else { return };
    if last[kind..stamp] != *b"type=EOE" {
        let eoe = [&last[..kind], b"type=EOE", &last[stamp..end], b"): \n"].concat();
        lines.extend(eoe);
    }
}

/// The lines as a plugin reads them.
pub(super) fn frame(lines: &[u8], layout: Layout) -> Vec<u8> {
    match layout {
        Layout::String => lines.to_vec(),
        Layout::Binary => lines.split_inclusive(|byte| *byte == b'\n').flat_map(binary).collect(),
    }
}

/// Header and payload. A record that is too long is cut, as auditd does.
fn binary(line: &[u8]) -> Vec<u8> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = &text[..text.len().min(PAYLOAD - 1)];
    let size = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut frame: Vec<u8> =
        [VERSION, HEADER, record_type(text), size].iter().flat_map(|field| field.to_ne_bytes()).collect();
    frame.extend_from_slice(text);
    frame.extend(iter::repeat_n(0, PAYLOAD - text.len()));
    frame
}

/// The number of a record's type; 0 where it has none.
fn record_type(text: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(text);
    let Some((_, rest)) = text.split_once("type=") else { return 0 };
    let name = rest.split(' ').next().unwrap_or(rest);
    tables::record_type_number(name).unwrap_or(0)
}
