//! The tables of docs/rules.md come from the rows that the parser reads. `UPDATE_DOCS=1 cargo test -p rules --test reference`
//! writes them.

use std::env;
use std::fs;
use std::path::Path;

use rules::ast::{OPTIONS, Takes};
use rules::{CompareField, Field, Op};
use tables::ValueKind;

fn options() -> String {
    let row = |row: &rules::ast::OptionRow| {
        let short = row.short.map(|letter| format!("-{}", char::from(letter)));
        let names = short.into_iter().chain(row.long.map(|name| format!("--{name}")));
        let argument = if row.takes == Takes::Nothing { "" } else { " ..." };
        format!("| `{}{argument}` | {} |\n", names.collect::<Vec<_>>().join(", "), row.help)
    };
    format!("| option | meaning |\n|---|---|\n{}", OPTIONS.iter().map(row).collect::<String>())
}

const fn values(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Number => "number",
        ValueKind::User => "user: name, number",
        ValueKind::Group => "group: name, number",
        ValueKind::Session => "number, `unset`",
        ValueKind::Arch => "`b64`, `b32`, a machine",
        ValueKind::RecordType => "record type: name, number",
        ValueKind::FileSystem => "tracefs, debugfs, cgroup, cgroup2, magic number",
        ValueKind::FileType => "file, dir, socket, link, character, block, fifo",
        ValueKind::Exit => "number, error name with or without `-`",
        ValueKind::Errno => "error name, number",
        ValueKind::AddressFamily => "address family: name, number",
        ValueKind::Argument => "number: decimal, 0x, octal, negative",
        ValueKind::Text => "text",
        ValueKind::Path => "absolute path",
        ValueKind::Perm => "letters of rwxa",
        ValueKind::Network => "address, address/prefix length",
        ValueKind::Port => "number up to 65535",
        ValueKind::Comm => "name of 1 to 15 bytes",
        ValueKind::Cgroup => "path below /sys/fs/cgroup, number",
        ValueKind::Capability => "capability: name with or without `cap_`, number",
        ValueKind::Fail => "open, closed",
        ValueKind::Key => "text, 256 bytes for all keys",
    }
}

const ORDER: [Op; 8] =
    [Op::Equal, Op::NotEqual, Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual, Op::BitMask, Op::BitTest];

fn fields() -> String {
    let row = |field: Field| {
        let operators: Vec<_> =
            ORDER.iter().filter(|op| field.operators().contains(op)).map(|op| op.symbol()).collect();
        let unset = if field == Field::Auid { ", `unset`" } else { "" };
        let lists: Vec<_> = field.lists().iter().map(|list| list.name()).collect();
        let lists = if lists.len() == 6 { "any".to_owned() } else { lists.join(", ") };
        let values = values(field.value_kind());
        format!("| `{}` | `{}` | {values}{unset} | {lists} |\n", field.name(), operators.join(" "))
    };
    format!("| field | operators | value | lists |\n|---|---|---|---|\n{}", Field::all().map(row).collect::<String>())
}

fn comparisons() -> String {
    let pair = |pair: CompareField| format!("{}/{}", pair.left().name(), pair.right().name());
    let pairs: Vec<_> = CompareField::all().map(pair).collect();
    pairs.chunks(9).map(|row| format!("    {}\n", row.join("  "))).collect()
}

/// The document with a table between its markers.
fn with_table(document: &str, name: &str, table: &str) -> String {
    let (start, end) = (format!("<!-- {name}: from the tables -->\n"), format!("<!-- end of {name} -->\n"));
    let (before, rest) = document.split_once(&start).unwrap_or_else(|| panic!("no marker of {name}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no end of {name}"));
    format!("{before}{start}\n{table}\n{end}{after}")
}

#[test]
fn tables_of_the_reference_are_the_parsers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md");
    let document = fs::read_to_string(&path).unwrap();
    let tables = [("options", options()), ("fields", fields()), ("comparisons", comparisons())];
    let expected = tables.iter().fold(document.clone(), |document, table| with_table(&document, table.0, &table.1));
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
    } else {
        assert!(
            document == expected,
            "docs/rules.md is out of date: UPDATE_DOCS=1 cargo test -p rules --test reference"
        );
    }
}

/// The page promises what every code means.
#[test]
fn every_warning_of_the_reference_exists() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md");
    let document = fs::read_to_string(&path).unwrap();
    let codes = [
        rules::Code::ArchMismatch,
        rules::Code::BadPath,
        rules::Code::MissingPath,
        rules::Code::NeverMatches,
        rules::Code::Shadowed,
        rules::Code::Duplicate,
    ];
    for code in codes {
        assert!(document.contains(&format!("| `{}` |", code.name())), "{}", code.name());
    }
}
