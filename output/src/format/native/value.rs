//! Values of native fields, in the kernel's spellings (kernel/audit.c, kernel/auditsc.c).

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::io::Write;

/// `NAME=VALUE` of bytes that a user chose: in quotes, or in hexadecimal where a quote, a space, a control character or
/// a byte above 0x7e is among them (`audit_log_n_untrustedstring`); `(null)` where there are none.
pub(super) fn untrusted(out: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>) {
    put!(out, "{name}=");
    match bytes {
        None => out.extend_from_slice(b"(null)"),
        Some(bytes) if needs_hex(bytes) => hex(out, bytes),
        Some(bytes) => quoted(out, bytes),
    }
}

/// Whether bytes cannot stand in quotes (`audit_string_contains_control`).
pub(super) fn needs_hex(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| !matches!(byte, 0x21 | 0x23..=0x7e))
}

pub(super) fn quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
}

/// Upper-case hexadecimal.
pub(super) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Bytes that stand as they are; what would end the record, or its fields, becomes a space.
pub(super) fn one_line(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().map(|byte| if [b'\n', super::ENRICHMENT].contains(byte) { b' ' } else { *byte }));
}

/// ` obj=LABEL`, where there is one.
pub(super) fn label(out: &mut Vec<u8>, label: Option<&[u8]>) {
    if let Some(label) = label {
        out.extend_from_slice(b" obj=");
        one_line(out, label);
    }
}

/// ` NAME=SET` of capabilities (`audit_log_cap`).
pub(super) fn capability(out: &mut Vec<u8>, name: &str, set: u64) {
    if set == 0 { put!(out, " {name}=0") } else { put!(out, " {name}={set:016x}") }
}

pub(super) const fn yes_no(success: bool) -> &'static str {
    if success { "yes" } else { "no" }
}

/// `major:minor`, each at least two hexadecimal digits.
pub(super) struct Device(pub(super) u32);

impl Display for Device {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:02x}:{:02x}", self.0 >> 20, self.0 & 0xf_ffff)
    }
}

/// A name, which cannot contain what ends it.
pub(super) struct Token<'a>(pub(super) &'a str);

impl Display for Token<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |character: &char| character.is_ascii_graphic() && *character != '=';
        self.0.chars().try_for_each(|character| out.write_char(if fits(&character) { character } else { '_' }))
    }
}

/// C's `%#o`: a leading zero, and no second one for zero itself.
pub(super) struct Octal(pub(super) u64);

impl Display for Octal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { out.write_str("0") } else { write!(out, "0{:o}", self.0) }
    }
}

/// A value of the daemon's own records: as it is where auditd would write it so, else in quotes with everything that a
/// reader could stumble over as `\xNN`.
pub(crate) fn quoted_detail(value: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !value.is_empty() && value.bytes().all(plain) {
        return Cow::Borrowed(value);
    }
    let mut text = String::from("\"");
    for byte in value.bytes() {
        match byte {
            b'\\' => text.push_str("\\\\"),
            byte if plain(byte) => text.push(char::from(byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        untrusted(&mut out, "a", Some(bytes));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_a_user_chose_is_quoted_or_hex() {
        assert_eq!(value(b"plain"), "a=\"plain\"");
        assert_eq!(value(b"!~'=("), "a=\"!~'=(\"");
        assert_eq!(value(b""), "a=\"\"");
        assert_eq!(value(b"a b"), "a=612062");
        assert_eq!(value(b"qu\"te"), "a=7175227465");
        assert_eq!(value("\u{e9}".as_bytes()), "a=C3A9");
        assert_eq!(value(&[0x7f, 1]), "a=7F01");
    }

    #[test]
    fn octal_and_capabilities_as_the_kernel_prints_them() {
        assert_eq!([0, 0o600, 0o100_644].map(|mode| Octal(mode).to_string()), ["0", "0600", "0100644"]);
        let mut out = Vec::new();
        capability(&mut out, "cap_fp", 0x2000);
        capability(&mut out, "cap_fi", 0);
        assert_eq!(out, b" cap_fp=0000000000002000 cap_fi=0");
    }
}
