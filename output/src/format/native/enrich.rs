//! Enrichment: behind the fields of a record stands 0x1D and, for each field whose number has a name, that name under the
//! upper-case name of the field, in the order of the fields: `AUID="joe" UID="root"`.

use std::io::Write;

use super::value::{needs_hex, untrusted};
use crate::address::Address;
use crate::record::{Record, UNSET};

/// What a field's number names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    User,
    Group,
    Arch,
    Syscall,
    Sockaddr,
}

/// The kind of a field, by the names that libaudit knows as ids.
pub(crate) fn field_kind(name: &[u8]) -> Option<FieldKind> {
    Some(match name {
        b"auid" | b"uid" | b"euid" | b"suid" | b"fsuid" | b"ouid" | b"oauid" | b"old-auid" | b"iuid" | b"id"
        | b"inode_uid" | b"sauid" | b"obj_uid" => FieldKind::User,
        b"gid" | b"egid" | b"sgid" | b"fsgid" | b"ogid" | b"igid" | b"inode_gid" | b"obj_gid" | b"new_gid" => {
            FieldKind::Group
        }
        b"arch" => FieldKind::Arch,
        b"syscall" => FieldKind::Syscall,
        b"saddr" => FieldKind::Sockaddr,
        _ => return None,
    })
}

/// The fields of a record, those inside of `msg='...'` among them.
pub(crate) fn fields(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(|byte| *byte == b' ').filter_map(|token| {
        let token = token.strip_prefix(b"msg='").unwrap_or(token);
        let token = token.strip_suffix(b"'").unwrap_or(token);
        let at = token.iter().position(|byte| *byte == b'=')?;
        Some((&token[..at], &token[at + 1..]))
    })
}

/// The ids of a kind in a record.
pub(crate) fn ids(text: &[u8], wanted: FieldKind) -> impl Iterator<Item = u32> {
    let values = fields(text).filter(move |(name, _)| field_kind(name) == Some(wanted));
    values.filter_map(|(_, value)| id(str::from_utf8(value).ok()?))
}

/// Appends the enrichment of the record that begins at `start`.
pub(super) fn append(out: &mut Vec<u8>, start: usize, record: &Record<'_>) {
    // Arguments may be kilobytes, and have none.
    if out[start..].starts_with(b"argc=") || out[start..].starts_with(b"proctitle=") || out[start..].starts_with(b" a")
    {
        return;
    }
    let mut names = Vec::new();
    let mut arch = None;
    for (name, value) in fields(&out[start..]) {
        let Some(kind) = field_kind(name) else { continue };
        let Some(text) = interpreted(kind, value, &mut arch, record) else { continue };
        names.push(if names.is_empty() { super::ENRICHMENT } else { b' ' });
        names.extend(name.to_ascii_uppercase());
        names.push(b'=');
        names.extend(text);
    }
    out.extend(names);
}

/// What stands behind `NAME=`.
pub(crate) fn interpreted(
    kind: FieldKind,
    value: &[u8],
    arch: &mut Option<u32>,
    record: &Record<'_>,
) -> Option<Vec<u8>> {
    let text = str::from_utf8(value).ok()?;
    match kind {
        FieldKind::User => {
            let id = id(text)?;
            Some(id_name(id, record.names.user(id).as_deref()))
        }
        FieldKind::Group => {
            let id = id(text)?;
            Some(id_name(id, record.names.group(id).as_deref()))
        }
        FieldKind::Arch => {
            let number = u32::from_str_radix(text, 16).ok()?;
            *arch = Some(number);
            let unknown = || format!("unknown-elf-type({number})");
            Some(record.names.arch(number).map_or_else(unknown, str::to_owned).into_bytes())
        }
        FieldKind::Syscall => {
            let number = text.parse().ok()?;
            let unknown = || format!("unknown-syscall({number})");
            Some(record.names.syscall((*arch)?, number).map_or_else(unknown, str::to_owned).into_bytes())
        }
        FieldKind::Sockaddr => Some(address(&unhex(value)?)),
    }
}

/// A user or group id; the kernel writes some as signed numbers.
pub(crate) fn id(text: &str) -> Option<u32> {
    text.parse().ok().or_else(|| text.parse().ok().map(i32::cast_unsigned))
}

fn id_name(id: u32, name: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let known = if id == UNSET { Some("unset") } else { name };
    let unknown = || format!("unknown({id})");
    let name = known.map_or_else(unknown, str::to_owned);
    untrusted(&mut out, "", Some(name.as_bytes()));
    out.split_off(1)
}

/// Bytes from hexadecimal, in either case.
pub(crate) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// A socket address as auditd spells it out.
fn address(bytes: &[u8]) -> Vec<u8> {
    let decoded = Address::decode(bytes);
    let family = decoded.family();
    let mut out = Vec::new();
    put!(out, "{{ saddr_fam={family}");
    match decoded {
        Address::Inet { ip, port } if bytes.len() >= 16 => put!(out, " laddr={ip} lport={port}"),
        Address::Inet6 { ip, port, .. } if bytes.len() >= 28 => put!(out, " laddr={ip} lport={port}"),
        Address::Inet { .. } => put!(out, " sockaddr len too short"),
        Address::Inet6 { .. } => put!(out, " sockaddr6 len too short"),
        Address::Path(name) | Address::Abstract(name) => {
            put!(out, " path=");
            shown(&mut out, name);
        }
        Address::Unnamed => put!(out, " sockaddr len too short"),
        Address::Netlink { port_id, .. } => put!(out, " nlnk-fam=16 nlnk-pid={port_id}"),
        Address::Other { .. } => put!(out, " (unsupported)"),
    }
    out.extend_from_slice(b" }");
    out
}

/// A name as it is, but for what acts on a terminal or ends a line: that is `\NNN`, in octal.
fn shown(out: &mut Vec<u8>, name: &[u8]) {
    if !needs_hex(name) {
        return out.extend_from_slice(name);
    }
    for byte in name {
        if matches!(byte, ..0x20 | 0x7f..) { put!(out, "\\{byte:03o}") } else { out.push(*byte) }
    }
}
