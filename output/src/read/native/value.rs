//! Fields of a native record and their values.

use crate::event::Bytes;
use crate::format::native::unhex;

/// The fields of a record, each to be taken once. What is left over was not understood.
pub(super) struct Fields<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Fields<'a> {
    /// `None` where something is no `name=value`.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let mut fields: Vec<(&[u8], &[u8])> = Vec::new();
        let mut end = 0;
        for token in text.split(|byte| *byte == b' ') {
            let start = end;
            end += token.len() + 1;
            match (split(token), fields.last_mut()) {
                (Some(field), _) => fields.push(field),
                (None, _) if token.is_empty() => {}
                // AppArmor's labels: `obj=/usr/bin/man (enforce)`.
                (None, Some((b"subj" | b"obj", label))) => {
                    *label = text.get(start - 1 - label.len()..start + token.len())?;
                }
                (None, _) => return None,
            }
        }
        Some(Self(fields))
    }

    /// The value of a field.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a [u8]> {
        let at = self.0.iter().position(|(known, _)| *known == name.as_bytes())?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn number<N: std::str::FromStr>(&mut self, name: &str) -> Option<N> {
        text(self.take(name)?)?.parse().ok()
    }

    /// A hexadecimal number, with `0x` in front or without.
    pub(super) fn hex<N: TryFrom<u64>>(&mut self, name: &str) -> Option<N> {
        hex(self.take(name)?)
    }

    pub(super) fn octal<N: TryFrom<u64>>(&mut self, name: &str) -> Option<N> {
        N::try_from(u64::from_str_radix(text(self.take(name)?)?, 8).ok()?).ok()
    }

    /// An id; the kernel writes some as signed numbers.
    pub(super) fn id(&mut self, name: &str) -> Option<u32> {
        crate::format::native::id(text(self.take(name)?)?)
    }

    /// What a user chose; `Some(None)` for `(null)`.
    pub(super) fn untrusted(&mut self, name: &str) -> Option<Option<Bytes>> {
        untrusted(self.take(name)?)
    }

    /// Bytes that stand as they are.
    pub(super) fn plain(&mut self, name: &str) -> Option<Bytes> {
        self.take(name).map(<[u8]>::to_vec)
    }

    /// All other fields, in order.
    pub(super) fn rest(self) -> Vec<(&'a [u8], &'a [u8])> {
        self.0
    }

    /// `value`, if every field was taken.
    pub(super) fn whole<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

fn split(token: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = token.iter().position(|byte| *byte == b'=')?;
    Some((&token[..at], &token[at + 1..]))
}

fn text(value: &[u8]) -> Option<&str> {
    str::from_utf8(value).ok()
}

pub(super) fn hex<N: TryFrom<u64>>(value: &[u8]) -> Option<N> {
    let digits = text(value)?;
    N::try_from(u64::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16).ok()?).ok()
}

/// `"text"`, hexadecimal, or `(null)`.
pub(super) fn untrusted(value: &[u8]) -> Option<Option<Bytes>> {
    match value {
        b"(null)" => Some(None),
        [b'"', inner @ .., b'"'] if !inner.contains(&b'"') => Some(Some(inner.to_vec())),
        [] => None,
        _ => unhex(value).map(Some),
    }
}

/// `major:minor` in hexadecimal.
pub(super) fn device(value: &[u8]) -> Option<u32> {
    crate::spelling::device(text(value)?)
}
