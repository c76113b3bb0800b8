//! What must hold for any log. The fuzz targets look for one for which it does not; the tests of `output` run the corpus.

use output::read::{Entry, LogFormat, Reader};
use output::{Content, Format, NativeStyle, Node, Record};

fn entries(log: &[u8], format: LogFormat) -> Vec<Entry> {
    Reader::with_format(log, format).flatten().collect()
}

fn written(format: Format, entries: &[Entry]) -> Vec<u8> {
    let mut lines = Vec::new();
    for Entry { node, event, names } in entries {
        format.write_lines(&Record { event, node, names }, &mut lines);
    }
    lines
}

fn native(entries: &[Entry]) -> Vec<u8> {
    written(Format::Native(NativeStyle { content: Content::Enriched, node: Node::Named }), entries)
}

/// JSON gives every event back; no other format acts on a terminal.
fn any(entries: &[Entry]) {
    let json = written(Format::Json, entries);
    let again = self::entries(&json, LogFormat::Json);
    assert_eq!(written(Format::Json, &again), json);
    let events = |entries: &[Entry]| entries.iter().map(|entry| entry.event.clone()).collect::<Vec<_>>();
    assert_eq!(events(&again), events(entries));
    for format in [Format::Text, Format::Ecs, Format::Ocsf, Format::Cef] {
        let text = String::from_utf8(written(format, entries)).unwrap();
        assert_eq!(text.lines().count(), entries.len());
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text:?}");
    }
}

/// A native log: what is read of it is written, and then reads the same.
pub fn native_log(log: &[u8]) {
    let entries = entries(log, LogFormat::Native);
    any(&entries);
    let stamp = |entry: &Entry| (entry.node.clone(), entry.event.time, entry.event.serial);
    let mut stamps: Vec<_> = entries.iter().map(stamp).collect();
    stamps.sort();
    // Two events of one stamp may be one when they are read again.
    if stamps.windows(2).all(|pair| pair[0] != pair[1]) {
        let lines = native(&entries);
        assert_eq!(
            native(&self::entries(&lines, LogFormat::Native)).escape_ascii().to_string(),
            lines.escape_ascii().to_string()
        );
    }
}

/// A JSON log: what is read of it can be written in every format, and what was written in JSON reads the same.
pub fn json_log(log: &[u8]) {
    let entries = entries(log, LogFormat::Json);
    any(&entries);
    self::entries(&native(&entries), LogFormat::Native);
}
