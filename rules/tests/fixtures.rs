//! Each file of `tests/fixtures`: what is said about it, and what it loads as. Look at changes with `cargo insta review`, or
//! set INSTA_UPDATE=always.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rules::{Arch, Code, Dialect, Host, Loader, MissingPaths, Parsed, PathKind, Source, parse};

/// A host with two users, where everything below `/missing` is missing.
struct Fixture;

impl Host for Fixture {
    fn user_id(&self, name: &[u8]) -> Option<u32> {
        match name {
            b"root" => Some(0),
            b"chrony" => Some(117),
            _ => None,
        }
    }

    fn group_id(&self, name: &[u8]) -> Option<u32> {
        (name == b"root").then_some(0)
    }

    fn path_kind(&self, path: &[u8]) -> PathKind {
        let directories: [&[u8]; 5] = [b"/etc", b"/etc/ssh", b"/var/cache", b"/var/cache/", b"/srv/archive"];
        if path.starts_with(b"/missing") {
            PathKind::Missing
        } else if directories.contains(&path) {
            PathKind::Directory
        } else {
            PathKind::Other
        }
    }

    fn user_names(&self) -> Vec<String> {
        vec!["root".into(), "chrony".into()]
    }

    fn native_arch(&self) -> Arch {
        Arch::B64
    }
}

fn fixtures() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "rules")).collect();
    files.sort();
    files
}

fn source(path: &Path) -> Source {
    Source { name: path.file_name().map(PathBuf::from), text: fs::read(path).unwrap() }
}

fn report(parsed: &Parsed) -> String {
    let mut text = String::new();
    for diagnostic in &parsed.diagnostics {
        writeln!(text, "{diagnostic}").unwrap();
    }
    let verdict = if parsed.stopped {
        "refused"
    } else if parsed.failed {
        "loaded, with failures"
    } else {
        "loaded"
    };
    writeln!(text, "=> {verdict}").unwrap();
    for control in parsed.ruleset.controls() {
        writeln!(text, "{control:?}").unwrap();
    }
    for (name, dialect) in [("3.0.9", Dialect::V3), ("4", Dialect::V4)] {
        let list = parsed.ruleset.list_text(dialect);
        write!(text, "--- auditctl {name} -l\n{}", String::from_utf8_lossy(&list)).unwrap();
    }
    text
}

#[test]
fn every_fixture_reads_as_before() {
    for path in fixtures() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, report(&parse(&[source(&path)], &Fixture)));
        });
    }
}

#[test]
fn every_code_has_a_fixture() {
    let seen: BTreeSet<Code> = fixtures()
        .iter()
        .flat_map(|path| parse(&[source(path)], &Fixture).diagnostics)
        .map(|diagnostic| diagnostic.code)
        .collect();
    // Beyond what fits a readable file: see the tests below.
    let elsewhere = [Code::BadLine, Code::Limit];
    let codes = [
        Code::UnknownOption,
        Code::MissingArgument,
        Code::StrayWord,
        Code::BadKeyword,
        Code::BadCombination,
        Code::BadField,
        Code::UnknownField,
        Code::WrongList,
        Code::WrongOperator,
        Code::BadValue,
        Code::UnknownSyscall,
        Code::UnknownName,
        Code::BadComparison,
        Code::BadPath,
        Code::MissingPath,
        Code::ArchMismatch,
        Code::Duplicate,
        Code::NoSuchRule,
        Code::Shadowed,
        Code::NeverMatches,
        Code::CannotDeny,
    ];
    for code in codes {
        assert!(seen.contains(&code), "{}", code.name());
    }
    assert!(elsewhere.iter().all(|code| !seen.contains(code)));
}

fn messages(text: &str) -> Vec<String> {
    let parsed = parse(&[Source { name: None, text: text.into() }], &Fixture);
    parsed.diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect()
}

#[test]
fn limits_are_auditctls() {
    let fields = |count: usize| {
        let tests: String = (0..count).map(|pid| format!(" -F pid!={pid}")).collect();
        messages(&format!("-a always,exit{tests}"))
    };
    assert!(fields(63).is_empty());
    assert_eq!(fields(64), ["Too many fields in rule: pid!=63"]);

    let keyed = |count: usize| {
        let tests: String = (0..count).map(|pid| format!(" -F pid!={pid}")).collect();
        messages(&format!("-a always,exit -F arch=b64 -S open{tests} -k x"))
    };
    assert!(keyed(61).is_empty());
    assert_eq!(keyed(62), ["Too many fields in rule: key=x"]);

    let key = |length: usize| messages(&format!("-w /etc/hosts -p wa -k {}", "k".repeat(length)));
    assert!(key(256).is_empty());
    assert_eq!(key(257), ["key option exceeds size limit"]);

    let name = |length: usize| messages(&format!("-w /etc/{} -p wa", "n".repeat(length)));
    assert!(name(255).is_empty());
    assert_eq!(name(256), ["The base name of the path is too big"]);
    assert_eq!(messages(&format!("-w /{} -p wa", "etc/".repeat(1100))), ["The path passed for the watch is too big"]);
}

#[test]
fn missing_paths_are_refused_on_request() {
    let source = Source { name: None, text: b"-w /missing/file -p wa\n-a always,exit -F dir=/missing/tree".to_vec() };
    let refused = Loader::new(&Fixture).missing_paths(MissingPaths::Refuse).parse(std::slice::from_ref(&source));
    assert!(refused.stopped && refused.ruleset.is_empty());
    let expected = "Error sending add rule data request (No such file or directory)";
    assert!(refused.errors().all(|error| error.message.starts_with(expected)));
    assert_eq!(parse(&[source], &Fixture).into_loadable().unwrap().0.len(), 2);
}

#[test]
fn later_stages_can_point_into_a_rule() {
    let text = b"  -a always,exit -F arch=b64 -S openat,unlink -F auid>=1000 -C uid!=euid -k x";
    let parsed = parse(&[Source { name: None, text: text.to_vec() }], &Fixture);
    let rule = parsed.ruleset.rules().next().unwrap();
    let at = |span: rules::Span| String::from_utf8_lossy(&rule.written.line.text[span.start..span.end]).into_owned();
    let unlink = tables::syscalls::number(Arch::B64, "unlink").unwrap();
    assert_eq!(at(rule.written.head), "always,exit");
    assert_eq!(at(rule.written.arch.unwrap()), "arch=b64");
    assert_eq!(at(rule.written.syscall(unlink)), "unlink");
    assert_eq!(at(rule.written.test(0)), "auid>=1000");
    assert_eq!(at(rule.written.test(1)), "uid!=euid");
}

#[test]
fn listings_with_names_and_of_one_key() {
    let text = b"-w /etc/hosts -p wa -k hosts
-a always,exit -F arch=b64 -S openat -F a0=-100 -F a2&=0101 -F auid!=unset -F sessionid=-1 -k opens
-a always,exit -F arch=b32 -S kill -F a1=9 -F a0=0x1F -k kills
-a always,exit -F arch=b64 -S chmod -F a1=04755 -k modes
-a always,exit -F arch=b64 -S open,openat -F a1=0x1F -k both
-a always,exit -S 5 -F a0=0x1F -k no-arch";
    let parsed = parse(&[Source { name: None, text: text.to_vec() }], &Fixture);
    let list = |key: Option<&str>| {
        let key = key.map(|key| key.as_bytes().to_vec());
        let listing = rules::Listing { interpret: true, key, ..rules::Listing::default() };
        String::from_utf8(parsed.ruleset.list(&listing)).unwrap()
    };
    let expected = "-w /etc/hosts -p wa -k hosts
-a always,exit -F arch=x86_64 -S openat -F a0=AT_FDCWD -F a2&=O_WRONLY|O_CREAT -F auid!=unset -F sessionid=unset -F key=opens
-a always,exit -F arch=i386 -S kill -F a1=SIGKILL -F a0=0x1f -F key=kills
-a always,exit -F arch=x86_64 -S chmod -F a1=suid,0755 -F key=modes
-a always,exit -F arch=x86_64 -S open,openat -F a1=0x1F -F key=both
-a always,exit -S fstat -F a0=0x1f -F key=no-arch
";
    assert_eq!(list(None), expected);
    assert_eq!(list(Some("host")), "-w /etc/hosts -p wa -k hosts\n");
    // auditctl prints nothing where there are rules, and none with the key.
    assert_eq!(list(Some("absent")), "");
}

#[test]
fn watches_are_told_to_be_slower_by_the_newer_auditctl_alone() {
    let notice = |words: &[&str], dialect| {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let (_, commands, _) = Loader::new(&Fixture).command_line(&words);
        commands[0].notice(dialect)
    };
    let watch = ["-w", "/etc/hosts", "-p", "wa"];
    assert_eq!(notice(&watch, Dialect::V4), Some("Old style watch rules are slower"));
    assert_eq!(notice(&watch, Dialect::V3), None);
    assert_eq!(notice(&["-W", "/etc/hosts"], Dialect::V4), None);
    assert_eq!(notice(&["-a", "always,exit", "-F", "path=/etc/hosts", "-F", "perm=wa"], Dialect::V4), None);
}

#[test]
fn sources_add_up_and_errors_of_all_are_told() {
    let source = |name: &str, text: &str| Source { name: Some(name.into()), text: text.into() };
    let sources =
        [source("10.rules", "-w /etc/hosts -p wa\n-e 7"), source("20.rules", "-S open\n-D\n-w /etc/fstab -p wa")];
    let parsed = parse(&sources, &Fixture);
    let places: Vec<_> = parsed.diagnostics.iter().map(|d| (d.line.origin.file.clone(), d.line.origin.line)).collect();
    assert_eq!(places, [(Some("10.rules".into()), 2), (Some("20.rules".into()), 1)]);
    assert_eq!(parsed.ruleset.list_text(Dialect::V4), b"-w /etc/fstab -p wa\n");
    assert!(parsed.into_loadable().is_err());
}
