//! A message of the kernel's audit.

use output::event::{Message, now};
use tables::record_type_name;

/// Types that tell something by themselves: of programs (1005, 1100 to 1199, 2100 to 2999), `LOGIN`, of security modules
/// (1400 to 1599), of abnormal ends and acts (1700 to 1799), of integrity (1800 to 1899). Not those that belong to calls, nor
/// changes of the kernel's own audit and its daemon, which this one is.
const TOLD: [std::ops::RangeInclusive<u16>; 6] =
    [1005..=1006, 1100..=1199, 1400..=1599, 1700..=1799, 1800..=1899, 2100..=2999];
/// Of enrichment, which a text may not contain, nor a newline.
const SEPARATOR: u8 = 0x1d;

/// A record that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was made, in ns since the epoch.
    pub time: u64,
    /// What it says.
    pub message: Message,
}

impl Record {
    /// `audit(SECONDS.MILLIS:SERIAL): TEXT`; `None` for what is told by nobody.
    pub fn parse(kind: u16, payload: &[u8]) -> Option<Self> {
        if !TOLD.iter().any(|range| range.contains(&kind)) {
            return None;
        }
        let end = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
        let (time, text) = header(&payload[..end]).unwrap_or_else(|| (now(), &payload[..end]));
        let text =
            text.trim_ascii_end().iter().map(|byte| if matches!(*byte, b'\n' | SEPARATOR) { b'?' } else { *byte });
        let name = record_type_name(kind.into()).map_or_else(|| format!("UNKNOWN[{kind}]").into(), Into::into);
        Some(Self { time, message: Message { record_type: name, text: text.collect() } })
    }

    /// A number that the kernel put before the message: pid, uid, auid, ses.
    pub fn number(&self, name: &str) -> Option<u32> {
        // What the program said itself stands in quotes behind.
        let before = self.message.text.split(|byte| *byte == b'\'').next()?;
        let field =
            before.split(|byte| *byte == b' ').find_map(|word| word.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        str::from_utf8(field?).ok()?.parse().ok()
    }
}

fn header(payload: &[u8]) -> Option<(u64, &[u8])> {
    let rest = payload.strip_prefix(b"audit(")?;
    let end = rest.iter().position(|byte| *byte == b')')?;
    let (time, _serial) = str::from_utf8(&rest[..end]).ok()?.split_once(':')?;
    let (seconds, millis) = time.split_once('.')?;
    let millis: u64 = seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(millis.parse().ok()?)?;
    let text = rest[end + 1..].strip_prefix(b":")?;
    Some((millis.checked_mul(1_000_000)?, text.trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &[u8] =
        b"audit(1364481363.243:24287): pid=10 uid=0 auid=500 ses=1 msg='op=login acct=\"joe\" pid=99 res=success'\0";

    #[test]
    fn a_message_keeps_what_it_says_and_when() {
        let record = Record::parse(1112, LOGIN).unwrap();
        assert_eq!(record.time, 1_364_481_363_243_000_000);
        assert_eq!(record.message.record_type, "USER_LOGIN");
        assert_eq!(record.message.text, LOGIN[28..LOGIN.len() - 1].trim_ascii_start());
        assert_eq!((record.number("pid"), record.number("auid"), record.number("gid")), (Some(10), Some(500), None));
    }

    #[test]
    fn only_what_tells_something_by_itself_is_taken() {
        for kind in [2, 1000, 1200, 1300, 1305, 1320, 1334, 2000] {
            assert_eq!(Record::parse(kind, LOGIN), None, "{kind}");
        }
        assert_eq!(Record::parse(2999, LOGIN).unwrap().message.record_type, "UNKNOWN[2999]");
    }

    #[test]
    fn a_text_is_one_line_whatever_comes() {
        let record = Record::parse(1005, b"no header\nat\x1dall\n").unwrap();
        assert_eq!(record.message.text, b"no header?at?all");
        assert_eq!(Record::parse(1005, b"").unwrap().message.text, b"");
        assert_eq!(Record::parse(1005, b"audit(1.2").unwrap().message.text, b"audit(1.2");
    }
}
