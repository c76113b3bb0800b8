//! Fields of records that are carried as their text.

use std::borrow::Cow;
use std::iter;

use crate::format::native::unhex;

/// `name=value` of a record's text, also those in `msg='...'`.
pub(crate) fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    iter::from_fn(move || {
        loop {
            let equals = rest.iter().position(|byte| *byte == b'=')?;
            let name = rest[..equals].rsplit(|byte| matches!(byte, b' ' | b'\'' | b'"')).next().unwrap_or_default();
            let value = &rest[equals + 1..];
            if let Some(inner) = value.strip_prefix(b"'") {
                rest = inner;
                continue;
            }
            let quoted = value.strip_prefix(b"\"").and_then(|inner| inner.iter().position(|byte| *byte == b'"'));
            let plain = || value.iter().position(|byte| matches!(byte, b' ' | b'\''));
            let end = quoted.map(|end| end + 2).or_else(plain).unwrap_or(value.len());
            rest = &value[end..];
            return Some((name, &value[..end]));
        }
    })
}

pub(crate) fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    Cow::Borrowed(inner.unwrap_or(value))
}

/// What somebody chose: in quotes or hexadecimal.
pub(crate) fn untrusted(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    match value {
        b"(null)" | b"?" | b"" => None,
        [b'"', ..] => Some(unquoted(value)),
        _ => Some(unhex(value).map_or(Cow::Borrowed(value), Cow::Owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_programs_record() {
        let text =
            b"pid=9 uid=0 auid=1000 ses=3 msg='op=PAM:x acct=\"a=b c\" exe=\"/usr/bin/su\" hostname=? res=success'";
        let found: Vec<_> = pairs(text).collect();
        let expected: [(&[u8], &[u8]); 9] = [
            (b"pid", b"9"),
            (b"uid", b"0"),
            (b"auid", b"1000"),
            (b"ses", b"3"),
            (b"op", b"PAM:x"),
            (b"acct", b"\"a=b c\""),
            (b"exe", b"\"/usr/bin/su\""),
            (b"hostname", b"?"),
            (b"res", b"success"),
        ];
        assert_eq!(found, expected);
    }
}
