//! The right side of `-F` into a number.

use tables::{Arch, Field, ValueKind};

use crate::diagnostic::{Code, nearest};
use crate::host::Host;
use crate::network::{BadNetwork, Network};
use crate::pattern::{CGROUP_ROOT, Cgroup, Comm, Pattern};

/// Why a value will not do.
pub(super) struct BadValue {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl BadValue {
    fn new(message: impl Into<String>) -> Self {
        Self { code: Code::BadValue, message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn unknown_name(message: String, name: &str, known: &[String]) -> Self {
        let near = nearest(name, known.iter().map(String::as_str));
        let hint = near.map(|near| format!("did you mean `{near}`?"));
        Self { code: Code::UnknownName, message, hint }
    }
}

const UNSET: u32 = u32::MAX;

/// A number of 32 bits as C reads it: decimal, `0x` hexadecimal, or octal after a leading `0`. All of the text must be
/// used; auditctl reads the digits it finds and forgets the rest, and lets larger numbers wrap around to others.
pub(super) fn unsigned(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if lower.len() > 1 && lower.starts_with('0') => (lower.trim_start_matches('0'), 8),
        None => (lower.as_str(), 10),
    };
    match (digits, radix) {
        ("", 8) => Some(0),
        _ if digits.starts_with('+') => None,
        _ => u32::from_str_radix(digits, radix).ok(),
    }
}

/// As [`unsigned`], or a negative number as its 32-bit pattern.
fn signed(text: &str) -> Option<u32> {
    let Some(digits) = text.strip_prefix('-') else { return unsigned(text) };
    let negative = 0_i64 - i64::from(unsigned(digits)?);
    i32::try_from(negative).ok().map(i32::cast_unsigned)
}

/// The number that a field's value stands for.
pub(super) fn number(field: Field, text: &[u8], host: &dyn Host) -> Result<u32, BadValue> {
    let Ok(name) = std::str::from_utf8(text) else { return Err(not_a_number(field)) };
    match field.value_kind() {
        ValueKind::User => user(field, name, host),
        ValueKind::Group => group(name, host),
        ValueKind::Session if name == "unset" => Ok(UNSET),
        ValueKind::Session | ValueKind::Argument => signed(name).ok_or_else(|| not_a_number(field)),
        ValueKind::Exit => exit(name),
        ValueKind::Errno => errno(name),
        ValueKind::RecordType => {
            let number = tables::record_type_number(name).or_else(|| unsigned(name));
            number.ok_or_else(|| BadValue::new("-F unknown message type - msgtype").hint(nearest_record_type(name)))
        }
        ValueKind::FileType => {
            let number = tables::file_type_number(name).or_else(|| named_number(name, tables::file_type_name));
            let names = "one of file, dir, socket, link, character, block, fifo";
            number.ok_or_else(|| BadValue::new("-F unknown file type -  filetype").hint(names))
        }
        ValueKind::FileSystem => {
            let number = tables::file_system_magic(name).or_else(|| unsigned(name));
            let names = "one of tracefs, debugfs, cgroup, cgroup2, or the file system's magic number";
            number.ok_or_else(|| BadValue::new("file system type is unknown for field: fstype").hint(names))
        }
        ValueKind::AddressFamily => address_family(name),
        ValueKind::Port => port(field, name),
        ValueKind::Capability => capability(name),
        ValueKind::Number => unsigned(name).ok_or_else(|| number_expected(field, name)),
        ValueKind::Arch
        | ValueKind::Network
        | ValueKind::Comm
        | ValueKind::Cgroup
        | ValueKind::Text
        | ValueKind::Path
        | ValueKind::Perm
        | ValueKind::Fail
        | ValueKind::Key => Err(not_a_number(field)),
    }
}

fn not_a_number(field: Field) -> BadValue {
    BadValue::new(format!("-F value should be number for {}", field.name()))
}

fn number_expected(field: Field, name: &str) -> BadValue {
    let error = not_a_number(field);
    match name {
        "yes" | "true" if field == Field::Success => error.hint("write success=1"),
        "no" | "false" if field == Field::Success => error.hint("write success=0"),
        _ if name.starts_with(|first: char| first.is_ascii_digit()) => {
            error.hint("a whole number below 4294967296; auditctl would read part of this one")
        }
        _ => error,
    }
}

fn named_number(text: &str, name: fn(u32) -> Option<&'static str>) -> Option<u32> {
    unsigned(text).filter(|number| name(*number).is_some())
}

fn looks_numeric(name: &str) -> bool {
    name.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit())
}

fn user(field: Field, name: &str, host: &dyn Host) -> Result<u32, BadValue> {
    let id = if looks_numeric(name) {
        signed(name).ok_or_else(|| not_a_number(field))?
    } else if name == "unset" {
        UNSET
    } else {
        let id = host.user_id(name.as_bytes());
        return id.ok_or_else(|| BadValue::unknown_name(format!("Unknown user: {name}"), name, &host.user_names()));
    };
    if id == UNSET && field != Field::Auid {
        return Err(BadValue::new(format!(
            "Error sending add rule data request (Invalid argument): {} is never unset",
            field.name()
        ))
        .hint("only auid can be unset"));
    }
    Ok(id)
}

fn group(name: &str, host: &dyn Host) -> Result<u32, BadValue> {
    let id = if looks_numeric(name) { unsigned(name) } else { host.group_id(name.as_bytes()) };
    let unknown = || BadValue::unknown_name(format!("Unknown group: {name}"), name, &host.group_names());
    id.filter(|id| *id != UNSET).ok_or_else(unknown)
}

fn exit(name: &str) -> Result<u32, BadValue> {
    if looks_numeric(name) {
        return signed(name).ok_or_else(|| not_a_number(Field::Exit));
    }
    let (negative, error) = name.strip_prefix('-').map_or((false, name), |error| (true, error));
    let number = tables::errno_number(error).ok_or_else(|| unknown_errno("exit", error))?;
    Ok(if negative { number.wrapping_neg() } else { number })
}

fn errno(name: &str) -> Result<u32, BadValue> {
    let error = name.strip_prefix('-').unwrap_or(name);
    let number = tables::errno_number(error).or_else(|| named_number(error, tables::errno_name));
    number.ok_or_else(|| unknown_errno("errno", error))
}

fn unknown_errno(field: &str, name: &str) -> BadValue {
    let error = BadValue::new(format!("-F unknown errno - {field}"));
    match nearest(name, tables::errnos().iter().map(|row| row.1)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

fn nearest_record_type(name: &str) -> String {
    match nearest(name, tables::record_types().iter().map(|row| row.1)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "a record type such as CWD or USER_AUTH, or its number".to_owned(),
    }
}

fn address_family(name: &str) -> Result<u32, BadValue> {
    let named = || tables::address_family_number(name.strip_prefix("af_").unwrap_or(name));
    let number = unsigned(name).or_else(named);
    match number {
        Some(number) if number >= tables::ADDRESS_FAMILY_END => {
            Err(BadValue::new("value is too large for field: saddr_fam"))
        }
        Some(number) => Ok(number),
        None if signed(name).is_some() => Err(BadValue::new("value is too large for field: saddr_fam")),
        None => Err(not_a_number(Field::SaddrFam).hint("a number, or a name such as inet, inet6, local, netlink")),
    }
}

fn port(field: Field, name: &str) -> Result<u32, BadValue> {
    let port = unsigned(name).and_then(|port| u16::try_from(port).ok());
    port.map(u32::from).ok_or_else(|| not_a_number(field).hint("a port is a number from 0 to 65535"))
}

fn capability(name: &str) -> Result<u32, BadValue> {
    let numbered = || named_number(name, tables::capability_name);
    let known = || tables::capability_names().iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let unknown = || {
        BadValue::unknown_name(format!("-F unknown capability - {}", Field::Cap.name()), &name.to_lowercase(), &known())
    };
    tables::capability_number(name).or_else(numbered).ok_or_else(unknown)
}

/// What 32 bits do not hold.
pub(super) fn pattern(field: Field, text: &[u8]) -> Result<Pattern, BadValue> {
    match field.value_kind() {
        ValueKind::Network => network(field, text).map(Pattern::Network),
        ValueKind::Comm => Comm::new(text).map(Pattern::Comm).ok_or_else(|| {
            let name = field.name();
            BadValue::new(format!("-F value should be a name of 1 to 15 bytes for {name}"))
                .hint("the kernel keeps no more of a task's name: see its comm in /proc")
        }),
        ValueKind::Cgroup => cgroup(field, text).map(Pattern::Cgroup),
        _ => Err(not_a_number(field)),
    }
}

fn cgroup(field: Field, text: &[u8]) -> Result<Cgroup, BadValue> {
    let error = || BadValue::new(format!("-F value should be a path or number for {}", field.name()));
    if text.strip_prefix(CGROUP_ROOT.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")) {
        return Err(error().hint(format!("leave out {CGROUP_ROOT}: paths begin below it")));
    }
    Cgroup::parse(text).ok_or_else(|| error().hint("a path as in /proc/PID/cgroup, such as /system.slice/ssh.service"))
}

/// An address or a network.
fn network(field: Field, text: &[u8]) -> Result<Network, BadValue> {
    let parsed = std::str::from_utf8(text).map_err(|_| BadNetwork::Unreadable).and_then(Network::parse);
    parsed.map_err(|bad| {
        let error = BadValue::new(format!("-F value should be an internet address or network for {}", field.name()));
        match bad {
            BadNetwork::Unreadable => error.hint("such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"),
            BadNetwork::BitsBehindPrefix(network) => error.hint(format!("the network is {network}")),
        }
    })
}

/// `b64`, `b32`, a machine, or an `AUDIT_ARCH_*` number as logs print it.
pub(super) fn arch(text: &[u8], host: &dyn Host) -> Option<Arch> {
    let name = std::str::from_utf8(text).ok()?.to_ascii_lowercase();
    let native = host.native_arch();
    let hexadecimal = |digits: &str| u32::from_str_radix(digits, 16).ok().and_then(Arch::from_audit_arch);
    match name.as_str() {
        "b64" => Some(native),
        // 32-bit ARM has no table.
        "b32" if native == Arch::B64 => Some(Arch::B32),
        _ => Arch::from_machine(&name)
            .or_else(|| hexadecimal(name.strip_prefix("0x").unwrap_or(&name)))
            .or_else(|| unsigned(&name).and_then(Arch::from_audit_arch)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::NoHost;

    #[test]
    fn numbers_as_c_reads_them() {
        let rows =
            [("0", Some(0)), ("010", Some(8)), ("0x1F", Some(31)), ("4294967295", Some(u32::MAX)), ("00", Some(0))];
        for (text, expected) in rows {
            assert_eq!(unsigned(text), expected, "{text}");
        }
        for text in ["", "12abc", "4294967296", "-1", "+1", "0x", "08", "0x+1"] {
            assert_eq!(unsigned(text), None, "{text}");
        }
        assert_eq!(signed("-1"), Some(u32::MAX));
        assert_eq!(signed("-2147483648"), Some(0x8000_0000));
        assert_eq!(signed("-2147483649"), None);
    }

    fn value(field: Field, text: &str) -> Result<u32, String> {
        number(field, text.as_bytes(), &NoHost).map_err(|error| error.message)
    }

    #[test]
    fn names_that_stand_for_numbers() {
        assert_eq!(value(Field::Uid, "root"), Ok(0));
        assert_eq!(value(Field::Auid, "unset"), Ok(u32::MAX));
        assert_eq!(value(Field::Exit, "-EACCES"), Ok((-13_i32).cast_unsigned()));
        assert_eq!(value(Field::Exit, "eacces"), Ok(13));
        assert_eq!(value(Field::Msgtype, "cwd"), Ok(1307));
        assert_eq!(value(Field::Filetype, "dir"), Ok(0o40000));
        assert_eq!(value(Field::Filetype, "16384"), Ok(0o40000));
        assert_eq!(value(Field::SaddrFam, "inet6"), Ok(10));
        assert_eq!(value(Field::Fstype, "tracefs"), Ok(0x7472_6163));
        assert_eq!(value(Field::Errno, "EACCES"), Ok(13));
        assert_eq!(value(Field::Dport, "65535"), Ok(65535));
        assert_eq!(value(Field::Cap, "CAP_SYS_ADMIN"), Ok(21));
        assert_eq!(value(Field::Cap, "7"), Ok(7));
    }

    #[test]
    fn refusals_in_auditctl_words() {
        let rows = [
            (Field::Uid, "nobodyx", "Unknown user: nobodyx"),
            (Field::Gid, "-1", "Unknown group: -1"),
            (Field::Exit, "FOO", "-F unknown errno - exit"),
            (Field::Pid, "abc", "-F value should be number for pid"),
            (Field::Success, "yes", "-F value should be number for success"),
            (Field::Filetype, "foo", "-F unknown file type -  filetype"),
            (Field::Dport, "65536", "-F value should be number for dport"),
            (Field::Cap, "sys_god", "-F unknown capability - cap"),
            (Field::Cap, "41", "-F unknown capability - cap"),
            (Field::SaddrFam, "46", "value is too large for field: saddr_fam"),
            (Field::Msgtype, "FOO", "-F unknown message type - msgtype"),
        ];
        for (field, text, message) in rows {
            assert_eq!(value(field, text), Err(message.to_owned()));
        }
    }

    #[test]
    fn patterns_are_told_what_they_should_be() {
        let told = |field, text: &str| pattern(field, text.as_bytes()).err().map(|bad| bad.message);
        assert_eq!(told(Field::Comm, "nginx"), None);
        assert_eq!(told(Field::Cgroup, "/machine.slice"), None);
        let comm = "-F value should be a name of 1 to 15 bytes for comm";
        assert_eq!(told(Field::Comm, "a-name-of-16-byte").as_deref(), Some(comm));
        for text in ["/sys/fs/cgroup/system.slice", "/sys/fs/cgroup", "system.slice"] {
            assert_eq!(told(Field::Cgroup, text).as_deref(), Some("-F value should be a path or number for cgroup"));
        }
        assert_eq!(told(Field::Cgroup, "/sys/fs/cgroups"), None);
    }

    #[test]
    fn archs_by_name_and_number() {
        for name in ["b64", "x86_64", "0xC000003E", "c000003e", "3221225534"] {
            assert_eq!(arch(name.as_bytes(), &NoHost), Some(Arch::B64), "{name}");
        }
        assert_eq!(arch(b"40000003", &NoHost), Some(Arch::B32));
        assert_eq!(arch(b"vax", &NoHost), None);
    }
}
