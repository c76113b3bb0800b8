//! What the bytes of an event tell before they are parsed.

use memchr::memmem::Finder;

/// Lets events pass that may be wanted, and most others not: parsing takes a hundred times as long as a look at the bytes. The
/// default lets everything pass.
#[derive(Clone, Debug, Default)]
pub struct Sieve {
    /// Of these texts a wanted event of a native log has one.
    pub native: Option<AnyOf>,
    /// Of these texts a wanted line of a JSON log has one.
    pub json: Option<AnyOf>,
    /// First and last second, since the epoch.
    pub seconds: (Option<i64>, Option<i64>),
}

/// Texts of which one is looked for.
#[derive(Clone, Debug)]
pub struct AnyOf(Vec<Finder<'static>>);

impl<T: AsRef<[u8]>> FromIterator<T> for AnyOf {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        Self(texts.into_iter().map(|text| Finder::new(text.as_ref()).into_owned()).collect())
    }
}

impl AnyOf {
    fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|text| text.find(bytes).is_some())
    }

    /// Hands on each line of `bytes` that has one of them, some more than once.
    pub(super) fn lines<'a>(&self, bytes: &'a [u8], mut take: impl FnMut(&'a [u8])) {
        for text in &self.0 {
            let mut rest = bytes;
            while let Some(at) = text.find(rest) {
                let start = memchr::memrchr(b'\n', &rest[..at]).map_or(0, |newline| newline + 1);
                let end = memchr::memchr(b'\n', &rest[at..]).map_or(rest.len(), |length| at + length);
                take(&rest[start..end]);
                rest = &rest[end..];
            }
        }
    }
}

/// What our JSON records begin with. Any other line is parsed, so that what is wrong with it is told.
const JSON_RECORD: &[u8] = b"{\"time\":\"";

impl Sieve {
    /// Whether native records of an event at that time, in nanoseconds, may be wanted.
    pub(super) fn passes_native(&self, records: &[u8], time: u64) -> bool {
        let second = i64::try_from(time / 1_000_000_000).unwrap_or(i64::MAX);
        let (first, last) = self.seconds;
        first.is_none_or(|first| first <= second)
            && last.is_none_or(|last| second <= last)
            && self.native.as_ref().is_none_or(|texts| texts.is_in(records))
    }

    /// Whether a JSON record may be wanted.
    pub(super) fn passes_json(&self, line: &[u8]) -> bool {
        self.json.as_ref().is_none_or(|texts| !line.starts_with(JSON_RECORD) || texts.is_in(line))
    }
}
