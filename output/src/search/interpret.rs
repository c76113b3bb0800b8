//! Native records for people, as `ausearch -i` shows them: names for numbers, text for hexadecimal (`auparse/interpret.c` of audit).

use std::borrow::Cow;
use std::io;

use tables::{Arch, ArgumentKind, FilterList, argument_kind};

use super::fields::{unquoted, untrusted};
use crate::escape::Printable;
use crate::format::native::{FieldKind, interpreted};
use crate::record::{Record, UNSET};

/// The type of file in a mode.
const FILE_TYPE: u32 = 0o170_000;
/// `IFF_PROMISC`
const PROMISCUOUS: u32 = 0x100;

/// Appends a native record without enrichment, with `time` for its time.
pub(super) fn line(record: &Record<'_>, native: &[u8], time: &str, out: &mut Vec<u8>) {
    let serial = record.event.serial;
    let text = String::from_utf8_lossy(native);
    let stamp = text.find("msg=audit(").zip(text.find("): ").map(|end| end + 3));
    let Some((start, end)) = stamp.filter(|(start, end)| start < end) else {
        return out.extend(format!("{}\n", Printable(native)).bytes());
    };
    // Both stand before anything that is not ASCII.
    let (head, fields) = (&native[..start], &native[end..]);
    let record_type = head.split(|byte| *byte == b' ').find_map(|word| word.strip_prefix(b"type="));
    let mut line = Line { record, record_type: record_type.unwrap_or_default(), arch: None, call: None };
    out.extend(format!("{}msg=audit({time}:{serial}) : ", Printable(head)).bytes());
    for word in words(fields) {
        out.extend(line.word(word).bytes());
        out.push(b' ');
    }
    out.push(b'\n');
}

/// What stands between spaces outside of quotes.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    text.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b' ' && !quoted
    })
}

struct Line<'a> {
    record: &'a Record<'a>,
    record_type: &'a [u8],
    /// Of the fields so far.
    arch: Option<u32>,
    call: Option<&'static str>,
}

impl Line<'_> {
    fn word(&mut self, word: &[u8]) -> String {
        let (open, word) = word.strip_prefix(b"msg='").map_or(("", word), |word| ("msg='", word));
        let (word, close) = word.strip_suffix(b"'").map_or((word, ""), |word| (word, "'"));
        let Some(equals) = memchr::memchr(b'=', word) else { return format!("{open}{}{close}", Printable(word)) };
        let (name, value) = (&word[..equals], &word[equals + 1..]);
        let shown = match self.value(name, value) {
            Some(shown) => shown,
            None => Printable(&unquoted(value)).to_string(),
        };
        format!("{open}{}={shown}{close}", Printable(name))
    }

    /// `None`: as it is.
    fn value(&mut self, name: &[u8], value: &[u8]) -> Option<String> {
        let text = str::from_utf8(value).ok();
        if let Some(kind) = crate::format::native::field_kind(name) {
            let shown = interpreted(kind, value, &mut self.arch, self.record)?;
            if kind == FieldKind::Syscall {
                let number = u16::try_from(text?.parse::<u32>().ok()?).ok();
                self.call =
                    number.and_then(|number| tables::syscalls::name(Arch::from_audit_arch(self.arch?)?, number));
            }
            let plain = untrusted(&shown).unwrap_or(Cow::Borrowed(&shown));
            return Some(Printable(if kind == FieldKind::Sockaddr { &shown } else { &plain }).to_string());
        }
        match name {
            [b'a', position @ ..] if position.first().is_some_and(u8::is_ascii_digit) => self.argument(position, value),
            b"key" => Some(keys(value)),
            b"proctitle" => {
                let title: Vec<u8> =
                    untrusted(value)?.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
                Some(Printable(&title).to_string())
            }
            b"path" | b"comm" | b"exe" | b"file" | b"name" | b"watch" | b"cwd" | b"cmd" | b"acct" | b"dir"
            | b"data" | b"ocomm" | b"grp" | b"new_group" | b"vm" | b"device" | b"cgroup" => {
                untrusted(value).map(|bytes| Printable(&bytes).to_string())
            }
            b"exit" => exit(text?),
            b"res" => Some(["no", "yes"].get(text?.parse::<usize>().ok()?)?.to_string()),
            b"ses" => (number(text?)? == UNSET).then(|| "unset".to_owned()),
            b"list" => {
                let number = number(text?)?;
                FilterList::ALL.into_iter().find(|list| list.number() == number).map(|list| list.name().to_owned())
            }
            b"prom" | b"old_prom" => Some(if number(text?)? & PROMISCUOUS == 0 { "no" } else { "yes" }.to_owned()),
            b"uring_op" => tables::io_uring_op_name(number(text?)?).map(str::to_owned),
            b"sig" | b"sigev_signo" => ArgumentKind::Signal.shown(number(text?)?),
            b"oflag" => ArgumentKind::OpenFlags.shown(number(text?)?),
            b"resolve" => ArgumentKind::Resolve.shown(number(text?)?),
            b"flags" if self.record_type == b"MMAP" => ArgumentKind::Mapping.shown(number(text?)?),
            b"mode" if self.record_type == b"MQ_OPEN" => ArgumentKind::Mode.shown(number(text?)?),
            b"mode" => Some(mode(number(text?)?)),
            b"cap_pi" | b"cap_pe" | b"cap_pp" | b"cap_pa" | b"cap_fi" | b"cap_fp" | b"fp" | b"fi" | b"old_pp"
            | b"old_pi" | b"old_pe" | b"old_pa" | b"pp" | b"pi" | b"pe" | b"pa" => {
                u64::from_str_radix(text?, 16).ok().map(capabilities)
            }
            _ => None,
        }
    }

    fn argument(&self, position: &[u8], value: &[u8]) -> Option<String> {
        match self.record_type {
            b"EXECVE" if position.ends_with(b"_len") => None,
            b"EXECVE" => untrusted(value).map(|bytes| Printable(&bytes).to_string()),
            _ => {
                let text = str::from_utf8(value).ok()?;
                let number = u64::from_str_radix(text, 16).ok()?;
                let position = str::from_utf8(position).ok()?.parse().ok()?;
                let kind = self.call.and_then(|call| argument_kind(call, position));
                // What the kernel reads of such an argument is an int.
                let named = kind.and_then(|kind| kind.shown(number as u32));
                Some(named.unwrap_or_else(|| format!("0x{number:x}")))
            }
        }
    }
}

/// A rule may have several, with 0x01 between them.
fn keys(value: &[u8]) -> String {
    let keys = untrusted(value).unwrap_or(Cow::Borrowed(value));
    let shown: Vec<_> = keys.split(|byte| *byte == 1).map(|key| Printable(key).to_string()).collect();
    shown.join(" key=")
}

fn exit(text: &str) -> Option<String> {
    let number = text.parse::<i32>().ok()?.checked_neg().filter(|number| *number > 0)?;
    let name = tables::errno_name(number.cast_unsigned())?;
    // The C library's words, without what std adds.
    let said = io::Error::from_raw_os_error(number).to_string();
    let words = said.strip_suffix(&format!(" (os error {number})")).unwrap_or(&said);
    Some(format!("{name}({words})"))
}

/// A number as records spell it: `0x` before hexadecimal, `0` before octal.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

/// `dir,sticky,777`
fn mode(mode: u32) -> String {
    let file_type = tables::file_type_name(mode & FILE_TYPE).map(str::to_owned);
    let mut shown = file_type.unwrap_or_else(|| format!("{:03o}", (mode & FILE_TYPE) >> FILE_TYPE.trailing_zeros()));
    for &(bit, name) in tables::SPECIAL_BITS {
        if mode & bit != 0 {
            shown.extend([",", name]);
        }
    }
    format!("{shown},{:03o}", mode & 0o777)
}

fn capabilities(set: u64) -> String {
    let names: Vec<_> = (0..u64::BITS).filter(|bit| set >> bit & 1 != 0).filter_map(tables::capability_name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_kernels_names() {
        assert_eq!(
            (mode(0o104_755), mode(0o41_777), mode(0o600)),
            ("file,suid,755".into(), "dir,sticky,777".into(), "000,600".into())
        );
        assert_eq!((capabilities(0), capabilities(0x20_0003)), ("none".into(), "chown,dac_override,sys_admin".into()));
        assert_eq!(
            (exit("-95").as_deref(), exit("3"), exit("-4000")),
            (Some("EOPNOTSUPP(Operation not supported)"), None, None)
        );
    }

    #[test]
    fn quotes_hold_words_together() {
        let found: Vec<_> = words(b"a=\"b c\"  d").collect();
        assert_eq!(found, [b"a=\"b c\"".as_slice(), b"", b"d"]);
    }
}
