//! Any valid rule survives being written and read back; no text makes the parser panic.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use rules::{
    Action, Arch, Cgroup, Comm, CompareField, Dialect, Field, FilterList, Line, Loader, Network, NoHost, Op, Origin,
    Pattern, Perm, Rule, Severity, Source, Span, Syscalls, Test, TreePath, Written, parse, print, refusal,
};
use tables::{ValueKind, syscalls};

/// Bytes that a word of a rule file can hold.
fn word_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        8 => prop::char::range('a', 'z').prop_map(|letter| letter as u8),
        1 => any::<u8>(),
        1 => select(b" \\=!<>&#,*?\t\"'-".to_vec()),
    ];
    vec(byte.prop_filter("not in any word", |byte| !matches!(byte, 0 | 1 | b'\n' | b'\r')), 1..20)
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let slashless = word_bytes().prop_filter("a file", |name| !name.ends_with(b"/"));
    slashless.prop_map(|name| [b"/".to_vec(), name].concat())
}

fn value(field: Field) -> BoxedStrategy<u32> {
    match field.value_kind() {
        ValueKind::FileType => select(vec![0o010_000, 0o040_000, 0o100_000, 0o140_000]).boxed(),
        ValueKind::AddressFamily => (0..tables::ADDRESS_FAMILY_END).boxed(),
        ValueKind::Exit => prop_oneof![any::<u32>(), (0..200_u32).prop_map(u32::wrapping_neg)].boxed(),
        ValueKind::RecordType => (1000..2600_u32).boxed(),
        ValueKind::Port => (0..=65535_u32).boxed(),
        ValueKind::Capability => (0..41_u32).boxed(),
        // Only auid and the session may be unset, and unset is neither above nor below a number.
        _ => prop_oneof![0..3000_u32, any::<u32>().prop_map(|number| number.min(u32::MAX - 1))].boxed(),
    }
}

fn network(bits: u128, prefix: u32, is_v4: bool) -> Network {
    let kept = |width: u32, prefix: u32| bits & (u128::MAX.checked_shl(width - prefix).unwrap_or(0));
    let text = if is_v4 {
        let prefix = prefix % 33;
        format!("{}/{prefix}", Ipv4Addr::from((kept(32, prefix) & u128::from(u32::MAX)) as u32))
    } else {
        format!("{}/{prefix}", Ipv6Addr::from(kept(128, prefix)))
    };
    Network::parse(&text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn pattern_test(pattern: Pattern) -> impl Strategy<Value = Test> {
    any::<bool>().prop_map(move |equal| Test::Pattern { equal, pattern: pattern.clone() })
}

fn field_test(field: Field) -> BoxedStrategy<Test> {
    let op = select(field.operators().to_vec());
    match field.value_kind() {
        ValueKind::Text => {
            // `>` before `=` would read as `>=`.
            let value = word_bytes().prop_filter("not part of an operator", |value| !value.starts_with(b"="));
            (op, value).prop_map(move |(op, value)| Test::Text { field, op, value }).boxed()
        }
        ValueKind::Network => (any::<u128>(), 0..=128_u32, any::<bool>())
            .prop_map(|(bits, prefix, is_v4)| Pattern::Network(network(bits, prefix, is_v4)))
            .prop_flat_map(pattern_test)
            .boxed(),
        ValueKind::Comm => vec(1..=255_u8, 1..16)
            .prop_filter("no line break", |name| !name.contains(&b'\n') && !name.contains(&b'\r'))
            .prop_map(|name| Pattern::Comm(Comm::new(&name).expect("a name")))
            .prop_flat_map(pattern_test)
            .boxed(),
        ValueKind::Cgroup => prop_oneof![path(), (1..=u64::MAX).prop_map(|number| number.to_string().into_bytes())]
            .prop_filter_map("a path", |text| Cgroup::parse(&text).map(Pattern::Cgroup))
            .prop_flat_map(pattern_test)
            .boxed(),
        ValueKind::Perm => (1..16_u8).prop_map(|bits| Test::Perm(Perm::from_bits(bits))).boxed(),
        ValueKind::Path if field == Field::Path => path().prop_map(Test::Path).boxed(),
        ValueKind::Path if field == Field::Dir => (path(), any::<bool>())
            .prop_map(|(path, slash)| [path, if slash { b"/".to_vec() } else { Vec::new() }].concat())
            .prop_map(|path| Test::Dir(TreePath::new(path)))
            .boxed(),
        ValueKind::Path => (path(), any::<bool>()).prop_map(|(path, equal)| Test::Exe { equal, path }).boxed(),
        _ if field == Field::Auid => {
            let unset = select(vec![Op::Equal, Op::NotEqual]).prop_map(|op| (op, u32::MAX));
            prop_oneof![3 => (op, value(field)), 1 => unset]
                .prop_map(move |(op, value)| Test::Number { field, op, value })
                .boxed()
        }
        _ => (op, value(field)).prop_map(move |(op, value)| Test::Number { field, op, value }).boxed(),
    }
}

/// Fields that may stand together on a list.
fn fields(list: FilterList) -> impl Strategy<Value = Vec<Field>> {
    let object = select(vec![Field::Path, Field::Dir, Field::Inode]);
    let usable: Vec<_> = Field::all().filter(|field| usable(*field, list)).collect();
    let most = usable.len().min(8);
    (subsequence(usable, 0..=most), object).prop_map(|(mut fields, object)| {
        fields.retain(|field| !matches!(field, Field::Path | Field::Dir | Field::Inode) || *field == object);
        fields
    })
}

fn usable(field: Field, list: FilterList) -> bool {
    let elsewhere = matches!(field, Field::Arch | Field::Key | Field::Errno | Field::Fail);
    let excludable = list != FilterList::Exclude
        || field.value_kind() == ValueKind::Text
        || matches!(field, Field::Pid | Field::Uid | Field::Gid | Field::Auid | Field::Msgtype | Field::Exe);
    let on_filesystem = list != FilterList::Filesystem || field == Field::Fstype;
    !elsewhere && excludable && on_filesystem && field.lists().contains(&list)
}

fn syscall_set(list: FilterList, arch: Arch) -> BoxedStrategy<Syscalls> {
    let sorted = |mut numbers: Vec<u16>| {
        numbers.sort_unstable();
        numbers.dedup();
        Syscalls::Set(numbers)
    };
    match list {
        FilterList::Exit => {
            let known: Vec<_> = syscalls::all(arch).iter().map(|row| row.0).collect();
            let number = prop_oneof![9 => select(known), 1 => 0..2032_u16];
            prop_oneof![1 => Just(Syscalls::All), 2 => vec(number, 1..12).prop_map(sorted)].boxed()
        }
        FilterList::IoUring => vec(0..60_u16, 1..6).prop_map(sorted).boxed(),
        _ => Just(Syscalls::All).boxed(),
    }
}

fn arch(list: FilterList) -> BoxedStrategy<Option<(Arch, bool)>> {
    if list != FilterList::Exit {
        return Just(None).boxed();
    }
    prop::option::of((select(Arch::ALL.to_vec()), any::<bool>())).boxed()
}

fn tests(list: FilterList) -> impl Strategy<Value = Vec<Test>> {
    let pairs: Vec<_> = CompareField::all().collect();
    let comparison = (select(pairs), any::<bool>()).prop_map(|(pair, equal)| Test::Compare { pair, equal });
    let most = if list == FilterList::Exit { 2 } else { 0 };
    let fields = fields(list).prop_flat_map(|fields| fields.into_iter().map(field_test).collect::<Vec<_>>());
    (fields, vec(comparison, 0..=most)).prop_map(|(fields, comparisons)| [fields, comparisons].concat()).prop_shuffle()
}

fn extension() -> impl Strategy<Value = (Option<u16>, bool)> {
    (prop::option::of(1..134_u16), any::<bool>())
}

fn rule() -> impl Strategy<Value = Rule> {
    let list = select(FilterList::ALL.to_vec());
    list.prop_flat_map(|list| (Just(list), arch(list), select(Action::ALL.to_vec())))
        .prop_flat_map(|(list, arch, action)| {
            let set = syscall_set(list, arch.map_or(Arch::B64, |arch| arch.0));
            (Just((list, arch, action)), set, tests(list), vec(word_bytes(), 0..3), extension())
        })
        .prop_map(|((list, arch, action), syscalls, tests, keys, (errno, dry_run))| {
            valid(Rule { list, action, arch, syscalls, tests, errno, dry_run, keys, ..blank() })
        })
}

/// Drops what would make the rule one that is refused.
fn valid(mut rule: Rule) -> Rule {
    if rule.list != FilterList::Exit && rule.action.refuses() {
        rule.action = Action::Never;
    }
    rule.dry_run &= rule.action.refuses();
    if rule.action.refuses() {
        make_refusable(&mut rule);
    }
    rule.errno = rule.errno.filter(|number| rule.action.refuses() && tables::errno_name(u32::from(*number)).is_some());
    let perm = rule.tests.iter().any(|test| matches!(test, Test::Perm(_)));
    if rule.syscalls == Syscalls::All && perm && rule.arch.is_some() {
        rule.syscalls = Syscalls::OfPerm;
    }
    let object =
        |test: &Test| matches!(test.field(), Some(Field::Path | Field::Dir | Field::Exe | Field::Perm | Field::Fstype));
    let called = matches!(rule.list, FilterList::Exit | FilterList::IoUring) && rule.syscalls != Syscalls::OfPerm;
    if rule.list == FilterList::Exclude || (!called && !rule.tests.iter().any(object)) {
        rule.keys.clear();
    }
    rule
}

fn make_refusable(rule: &mut Rule) {
    rule.tests.retain(|test| !matches!(test.field(), Some(Field::Exit | Field::Success)));
    for obstacle in refusal::obstacles(rule) {
        match (obstacle, &mut rule.syscalls) {
            (
                refusal::Obstacle::Call { number, .. }
                | refusal::Obstacle::Ambiguous { number, .. }
                | refusal::Obstacle::NoFile { number, .. }
                | refusal::Obstacle::Errno { number, .. },
                Syscalls::Set(set),
            ) => {
                set.retain(|named| *named != number);
            }
            _ => rule.tests.push(Test::Perm(Perm::WRITE)),
        }
    }
    if rule.syscalls == Syscalls::Set(Vec::new()) {
        let arch = rule.arch.map_or(Arch::B64, |arch| if arch.1 { arch.0 } else { Arch::B64 });
        rule.arch = Some((arch, true));
        rule.syscalls = Syscalls::Set(vec![syscalls::number(arch, "unlinkat").unwrap()]);
    }
}

/// Whether a listing can be read back as the same rule: auditctl's own are not made for that.
fn is_expressible(rule: &Rule, dialect: Dialect) -> bool {
    let plain = |bytes: &[u8]| !bytes.iter().any(|byte| matches!(byte, b' ' | b'\\'));
    let watch = matches!(rule.tests.as_slice(), [Test::Path(_) | Test::Dir(_), Test::Perm(_)]);
    let test = |test: &Test| match test {
        Test::Number { field, value, .. } => {
            let kind = field.value_kind();
            let signed = matches!(kind, ValueKind::User | ValueKind::Session | ValueKind::Argument | ValueKind::Exit);
            i32::try_from(*value).is_ok() || signed || *field == Field::Inode
        }
        Test::Path(path) => plain(path),
        // Whether a watch is one of a directory is asked of the host.
        Test::Dir(tree) => plain(tree.as_written()) && !watch,
        Test::Exe { equal, path } => plain(path) && (*equal || dialect == Dialect::V4),
        Test::Text { value, .. } => plain(value),
        Test::Pattern { pattern, .. } => plain(&pattern.text()),
        Test::Perm(_) | Test::Compare { .. } => true,
    };
    rule.keys.iter().all(|key| plain(key))
        && rule.tests.iter().all(test)
        && rule.syscalls != Syscalls::OfPerm
        && rule.arch.is_none_or(|arch| arch.0 != Arch::Aarch64)
        && !(watch && rule.action == Action::Never)
}

fn blank() -> Rule {
    let origin = Origin { file: None, line: 1 };
    let line = Arc::new(Line { origin: origin.clone(), text: Vec::new() });
    let written = Written {
        line,
        head: Span::default(),
        arch: None,
        syscalls: Vec::new(),
        tests: Vec::new(),
        errno: None,
        fail: None,
        watch: false,
    };
    Rule {
        list: FilterList::Exit,
        action: Action::Always,
        arch: None,
        syscalls: Syscalls::All,
        tests: Vec::new(),
        errno: None,
        fail: None,
        dry_run: false,
        keys: Vec::new(),
        origin,
        written,
    }
}

/// Bits of rules, put together at random: deeper into the parser than random bytes get.
fn rule_like() -> impl Strategy<Value = Vec<u8>> {
    const BITS: &[&str] = &[
        "-a",
        "-A",
        "-d",
        "-D",
        "-w",
        "-W",
        "-p",
        "-k",
        "-S",
        "-F",
        "-C",
        "-l",
        "-s",
        "-q",
        "-m",
        "--signal",
        "always,exit",
        "never,task",
        "exclude",
        "deny,exit",
        "io_uring,always",
        "possible",
        "arch=b64",
        "arch=b32",
        "perm=wa",
        "path=",
        "dir=/",
        "/",
        "//",
        "open,close",
        "all",
        "999999999999999999999",
        "-1",
        "uid>=1000",
        "uid=euid",
        "key=",
        "=",
        ",",
        "\\",
        "exit=-EPERM",
        "--action",
        "kill",
        "errno=EACCES",
        "\u{e9}",
        "#",
        "-",
        "--",
        "--b",
    ];
    let bit =
        prop_oneof![6 => select(BITS.to_vec()).prop_map(|bit| bit.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..6)];
    let glue = select(vec![" ", " ", " ", "", "\n", "\r\n"]);
    vec((bit, glue), 0..30)
        .prop_map(|bits| bits.into_iter().flat_map(|(bit, glue)| [bit, glue.as_bytes().to_vec()].concat()).collect())
}

fn read(text: Vec<u8>) -> rules::Parsed {
    parse(&[Source { name: None, text }], &NoHost)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 500, failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_written_rule_reads_back_the_same(rule in rule()) {
        let text = print::canonical(&rule);
        let parsed = read(text.clone());
        let shown = String::from_utf8_lossy(&text).into_owned();
        prop_assert!(parsed.errors().next().is_none(), "{shown}\n{}", parsed.errors().next().unwrap());
        let back = parsed.ruleset.rules().next().expect("one rule");
        prop_assert!(back.is_same_as(&rule), "{shown}\n{rule:?}\n{back:?}");
        prop_assert_eq!(back.written.tests.len(), back.tests.len());
    }

    #[test]
    fn a_listed_rule_reads_back_the_same_where_it_can(rule in rule()) {
        for dialect in [Dialect::V3, Dialect::V4] {
            if is_expressible(&rule, dialect) {
                let text = print::rule(&rule, dialect);
                let shown = String::from_utf8_lossy(&text).into_owned();
                let parsed = read(text);
                prop_assert!(parsed.errors().next().is_none(), "{shown}\n{}", parsed.errors().next().unwrap());
                let back = parsed.ruleset.rules().next().expect("one rule");
                prop_assert!(back.is_same_as(&rule), "{shown}\n{rule:?}\n{back:?}");
            }
        }
    }

    #[test]
    fn formatting_changes_no_meaning(text in prop_oneof![rule_like(), vec(rule(), 1..4).prop_map(|rules| {
        rules.iter().map(print::canonical).collect::<Vec<_>>().join(&b'\n')
    })]) {
        let formatted = rules::format(&text);
        prop_assert_eq!(rules::format(&formatted), formatted.clone());
        let (before, after) = (read(text), read(formatted.clone()));
        let shown = String::from_utf8_lossy(&formatted).into_owned();
        let same = before.ruleset.rules().zip(after.ruleset.rules()).all(|(one, other)| one.is_same_as(other));
        prop_assert!(same && before.ruleset.len() == after.ruleset.len(), "{shown}");
        prop_assert!(before.ruleset.controls().eq(after.ruleset.controls()), "{shown}");
        let told = |parsed: &rules::Parsed| {
            let told = parsed.diagnostics.iter().map(|told| (told.line.origin.line, told.code));
            let mut told: Vec<_> = told.collect();
            told.sort();
            told
        };
        prop_assert_eq!(told(&before), told(&after), "{}", shown);
    }

    #[test]
    fn no_command_line_panics(words in vec(prop_oneof![rule_like(), vec(any::<u8>(), 0..12)], 0..12)) {
        let (_, commands, diagnostics) = Loader::new(&NoHost).command_line(&words);
        prop_assert!(commands.is_empty() || diagnostics.iter().all(|told| told.severity == Severity::Warning));
    }

    #[test]
    fn no_bytes_panic(text in vec(any::<u8>(), 0..200)) {
        let parsed = read(text);
        for diagnostic in &parsed.diagnostics {
            let _ = diagnostic.to_string();
        }
    }

    #[test]
    fn nothing_like_a_rule_panics(text in rule_like()) {
        let parsed = read(text);
        for diagnostic in &parsed.diagnostics {
            let shown = diagnostic.to_string();
            prop_assert!(!shown.chars().any(|character| character.is_control() && character != '\n'));
        }
        for dialect in [rules::Dialect::V3, rules::Dialect::V4] {
            prop_assert!(parsed.ruleset.list_text(dialect).ends_with(b"\n"));
        }
        for rule in parsed.ruleset.rules() {
            let back = read(print::canonical(rule));
            prop_assert!(back.ruleset.rules().any(|back| back.is_same_as(rule)));
        }
    }
}
