use super::test_samples::{Call, event_header, sample, section};
use super::*;
use auditd_bpf_common::wire::{Object, name_type, path_end, section as sections};
use output::event::{Inode, NameType, PathItem, PathSource, RuleRef, Target};
use proptest::prelude::*;

const DISK: u32 = 8 << 20 | 1;
const INODE: Object = Object { ino: 131_073, dev: DISK, mode: 0o100_644, uid: 5, gid: 6, rdev: 7, _pad: 0 };

/// A host with one disk, at /.
struct OneDisk(Vec<Mount>);

impl Mounts for OneDisk {
    fn of_device(&mut self, device: u32) -> &[Mount] {
        if device == DISK { &self.0 } else { &[] }
    }
}

fn decoder() -> Decoder {
    let mounts = OneDisk(vec![Mount { root: b"/".to_vec(), mount_point: b"/".to_vec() }]);
    let mut decoder = Decoder::new(Arc::new(Serials::new()), Box::new(mounts));
    decoder.clock = Clock::fixed(1_700_000_000_000_000_000);
    let rule =
        |number| RuleRef { number, text: format!("-w /{number}").into(), keys: [].into(), action: "always".into() };
    decoder.rules().insert(7, (1..=3).map(rule).collect());
    decoder
}

fn decode_with(decoder: &mut Decoder, call: &Call) -> Event {
    let mut events: Vec<_> = call.samples().iter().filter_map(|sample| decoder.sample(sample)).collect();
    assert_eq!(events.len(), 1, "one event, with the last sample");
    events.remove(0)
}

fn body(event: Event) -> SyscallEvent {
    let Body::Syscall(event) = event.body else { panic!("the kernel side makes no other") };
    *event
}

/// Decodes a call that leaves no counter behind.
fn decode(call: &Call) -> SyscallEvent {
    let mut decoder = decoder();
    let event = body(decode_with(&mut decoder, call));
    assert!(decoder.counters().faults().iter().all(|(_, count)| *count == 0), "{:?}", decoder.counters());
    event
}

fn item(path: &[u8], name_type: NameType, source: PathSource) -> PathItem {
    let inode = Inode { ino: 131_073, dev: DISK, mode: 0o100_644, uid: 5, gid: 6, rdev: 7 };
    let inode = (source == PathSource::Kernel).then_some(inode);
    PathItem { path: Some(path.to_vec()), name_type, source, inode, ..PathItem::default() }
}

fn paths(event: &SyscallEvent) -> Vec<String> {
    event.paths.iter().map(|item| String::from_utf8_lossy(item.path.as_deref().unwrap()).into_owned()).collect()
}

#[test]
fn a_failed_open_comes_out_whole() {
    let call = Call::new()
        .object(name_type::NORMAL, &INODE, &[b"etc", b"shadow"], path_end::ROOT)
        .cwd(&[b"home", b"joe"])
        .section(sections::EXE, 0, &[])
        .path(&[b"usr", b"bin", b"cat"], path_end::ROOT);
    let mut decoder = decoder();
    let event = decode_with(&mut decoder, &call);
    assert_eq!(event.time, 1_700_000_005_000_000_001, "when the call began");
    assert_eq!(event.serial, Serials::FIRST);
    let wanted = SyscallEvent {
        rule: RuleRef { number: 3, text: "-w /3".into(), keys: [].into(), action: "always".into() },
        verdict: Verdict::Allow,
        arch: 0xc000_003e,
        syscall: 257,
        personality: 8,
        args: [0xffff_ff9c, 0x7ffd_0000_1000, 12, 13, 14, 15].into(),
        exit: Some(-13),
        hook: Some("path_unlink".into()),
        pid: 811,
        tid: Some(812),
        ppid: 800,
        ids: Ids {
            auid: 1000,
            uid: 1001,
            euid: 1002,
            suid: 1003,
            fsuid: 1004,
            gid: 2001,
            egid: 2002,
            sgid: 2003,
            fsgid: 2004,
        },
        session: 3,
        tty: Some(b"pts0".to_vec()),
        comm: b"cat".to_vec(),
        exe: Some(b"/usr/bin/cat".to_vec()),
        exe_id: Some((DISK, 4711)),
        cwd: Some(b"/home/joe".to_vec()),
        argv: None,
        paths: vec![item(b"/etc/shadow", NameType::Normal, PathSource::Kernel)],
        sockaddr: None,
        targets: vec![],
        incomplete: vec![],
        ..SyscallEvent::default()
    };
    assert_eq!(body(event), wanted);
    assert_eq!(decode_with(&mut decoder, &call).serial, Serials::FIRST + 1);
    assert_eq!(decoder.counters(), DecodeCounters { samples: 2, events: 2, ..Default::default() });
}

#[test]
fn what_does_not_apply_is_absent() {
    let mut call = Call::new();
    call.header.tty = [0; 32];
    call.header.hook = 0;
    (call.header.exe_dev, call.header.exe_ino) = (0, 0);
    call.header.abi = 1;
    call.header.comm = *b"sixteen bytes...";
    let event = decode(&call);
    assert_eq!((event.tty, event.hook, event.exe_id, event.exe, event.cwd), (None, None, None, None, None));
    assert_eq!((event.argv, event.sockaddr), (None, None));
    assert_eq!(event.arch, 0x4000_0003);
    assert_eq!(event.comm, b"sixteen bytes...");
}

#[test]
fn a_rename_over_a_file_names_all_its_objects() {
    let none = Object::default();
    let event = decode(
        &Call::new()
            .object(name_type::PARENT, &INODE, &[b"etc"], path_end::ROOT)
            .object(name_type::DELETE, &INODE, &[b"a"], path_end::BELOW_PARENT)
            .object(name_type::PARENT, &INODE, &[], path_end::ROOT)
            .object(name_type::DELETE, &INODE, &[b"b"], path_end::BELOW_PARENT)
            .object(name_type::CREATE, &none, &[b"b"], path_end::BELOW_PARENT),
    );
    let (parent, kernel) = (NameType::Parent, PathSource::Kernel);
    let created = PathItem { inode: None, ..item(b"/b", NameType::Create, kernel) };
    let wanted = [
        item(b"/etc", parent, kernel),
        item(b"/etc/a", NameType::Delete, kernel),
        item(b"/", parent, kernel),
        item(b"/b", NameType::Delete, kernel),
        created,
    ];
    assert_eq!(event.paths, wanted);
}

#[test]
fn an_object_without_mount_is_put_below_its_file_system() {
    let elsewhere = Object { dev: 9, ..INODE };
    let on = |inode| decode(&Call::new().object(name_type::NORMAL, &inode, &[b"etc", b"x"], path_end::FILE_SYSTEM));
    assert_eq!((paths(&on(INODE)), on(INODE).incomplete), (vec!["/etc/x".to_owned()], vec![]));
    assert_eq!(
        (paths(&on(elsewhere)), on(elsewhere).incomplete),
        (vec!["/etc/x".to_owned()], vec![Word::from("path")])
    );
}

#[test]
fn gone_files_are_marked_as_the_kernel_does() {
    let gone = path_end::ROOT | path_end::DELETED;
    let event = decode(
        &Call::new()
            .object(name_type::NORMAL, &INODE, &[b"tmp", b"x"], gone)
            .user_name(0, b"y")
            .section(sections::CWD, 0, &[])
            .path(&[b"tmp"], gone)
            .section(sections::EXE, 0, &[])
            .path(&[b"tmp", b"sh"], path_end::OUTSIDE | path_end::DELETED),
    );
    assert_eq!(paths(&event), ["/tmp/x", "/tmp/y"]);
    assert_eq!(event.cwd.unwrap(), b"/tmp (deleted)");
    assert_eq!(event.exe.unwrap(), b"(unreachable)/tmp/sh (deleted)");
    assert_eq!(event.incomplete, [""; 0]);
}

#[test]
fn a_path_that_was_lost_says_so() {
    let mut call = Call::new()
        .object(name_type::NORMAL, &INODE, &[b"d", b"x"], path_end::LOST)
        .section(sections::EXE, 0, &[])
        .path(&[], path_end::LOST);
    call.header.incomplete = incomplete::PATH | incomplete::ARGV | 1 << 31;
    let event = decode(&call);
    assert_eq!(paths(&event), ["(unknown)/d/x"]);
    assert_eq!((event.exe, event.incomplete), (None, vec![Word::from("path"), "argv".into()]));
}

#[test]
fn names_of_the_caller_are_relative_to_what_the_call_says() {
    let event = decode(
        &Call::new()
            .user_name(0, b"link/../a")
            .dirfd(0, &[b"srv"], path_end::ROOT)
            .user_name(1, b"../b")
            .cwd(&[b"home", b"joe"]),
    );
    let (unknown, user) = (NameType::Unknown, PathSource::User);
    assert_eq!(event.paths, [item(b"/srv/link/../a", unknown, user), item(b"/home/b", unknown, user)]);

    let event = decode(&Call::new().user_name(0, b"").dirfd(0, &[b"srv", b"d"], path_end::ROOT).cwd(&[b"home"]));
    assert_eq!(paths(&event), ["/srv/d"], "AT_EMPTY_PATH");
    let event = decode(&Call::new().user_name(0, b"/abs").dirfd(0, &[b"srv"], path_end::ROOT));
    assert_eq!(paths(&event), ["/abs"]);
    let event = decode(&Call::new().user_name(0, b"rel"));
    assert_eq!((paths(&event), event.incomplete), (vec!["(unknown)/rel".to_owned()], vec![Word::from("path")]));
}

#[test]
fn names_of_the_caller_have_any_length_and_any_bytes() {
    for length in [1, 509, 510, 511, 512, 513, 1021, 1022, 1023, 4094, 4095] {
        let name: Vec<u8> = (0..length).map(|i| if i % 200 == 0 { b'/' } else { 0x80 | i as u8 }).collect();
        let event = decode(&Call::new().user_name(0, &name).user_name(1, &name).cwd(&[]));
        assert_eq!(event.paths, [item(&name, NameType::Unknown, PathSource::User), event.paths[0].clone()], "{length}");
        assert_eq!(event.incomplete, [""; 0]);
    }
}

#[test]
fn a_name_that_could_not_be_read_to_its_end_is_marked() {
    let full = [&[b'a'; 511][..], &[0]].concat();
    let event = decode(&Call::new().section(sections::USER_NAME, 0, &full).cwd(&[]));
    assert_eq!(paths(&event)[0].len(), 512);
    assert_eq!(event.incomplete, ["user_name"]);
}

#[test]
fn long_names_in_deep_directories_come_out_byte_by_byte() {
    // 16 names of 255 bytes are PATH_MAX; 255 are what chdir and mkdir can build beyond it.
    for depth in [16_u8, 255] {
        let names: Vec<Vec<u8>> = (0..depth).map(|i| vec![0xff - i / 2; 255]).collect();
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let mut call = Call::new().object(name_type::NORMAL, &INODE, &names, path_end::ROOT).cwd(&names);
        call.header.tid = 9;
        let event = decode(&call);
        let wanted: Vec<u8> = names.iter().flat_map(|name| [b"/", *name].concat()).collect();
        assert_eq!(wanted.len(), usize::from(depth) * 256);
        assert_eq!(event.paths[0].path.as_ref(), Some(&wanted));
        assert_eq!(event.cwd.unwrap(), wanted);
    }
}

#[test]
fn arguments_of_128_kib_survive() {
    let long = vec![0xe9_u8; 128 << 10];
    let arguments = [b"sh\0-c\0\0", &long[..], b"\0last\0"].concat();
    let call = Call::new().argv(&arguments).cwd(&[b"home"]);
    assert!(call.samples().len() > 40);
    let event = decode(&call);
    assert_eq!(event.argv.unwrap(), [&b"sh"[..], b"-c", b"", &long, b"last"]);
    assert_eq!((event.cwd.unwrap(), event.incomplete), (b"/home".to_vec(), vec![]));
    let cut = decode(&Call::new().argv(b"a\0b"));
    assert_eq!(cut.argv.unwrap(), [b"a", b"b"]);
    assert_eq!(decode(&Call::new().argv(b"\0")).argv.unwrap(), [b""]);
}

#[test]
fn addresses_and_targets() {
    let mut target = [1_u32, u32::MAX, 2, 3].map(u32::to_ne_bytes).concat();
    target.extend(b"init\0garbage....");
    let event =
        decode(&Call::new().section(sections::SOCKADDR, 0, b"\x01\0/run/x").section(sections::TARGET, 0, &target));
    assert_eq!(event.sockaddr.unwrap(), b"\x01\0/run/x");
    assert_eq!(
        event.targets,
        [Target { pid: 1, auid: u32::MAX, uid: 2, session: 3, comm: b"init".to_vec(), ..Target::default() }]
    );
}

#[test]
fn a_local_socket_that_was_looked_up_in_vain_is_an_item() {
    let call = |exit: i32, address: &[u8]| {
        let mut call = Call::new().section(sections::SOCKADDR, 0, address).cwd(&[b"run"]);
        call.header.exit = exit.into();
        decode(&call)
    };
    let (absent, refused, address) = (-2, -111, b"\x01\0x.sock");
    assert_eq!(call(absent, address).paths, [item(b"/run/x.sock", NameType::Unknown, PathSource::User)]);
    assert_eq!(paths(&call(absent, b"\x01\0/dev/log\0garbage")), ["/dev/log"]);
    let none =
        [call(0, address), call(refused, address), call(absent, b"\x01\0\0abstract"), call(absent, b"\x02\0\x01\x01")];
    assert!(none.iter().all(|event| event.paths.is_empty()));
}

#[test]
fn a_lost_chunk_never_joins_what_does_not_belong_together() {
    let deep: Vec<&[u8]> = vec![&[b'd'; 250]; 10];
    let call = Call::new()
        .object(name_type::PARENT, &INODE, &deep, path_end::ROOT)
        .object(name_type::PARENT, &INODE, &deep, path_end::ROOT)
        .object(name_type::CREATE, &INODE, &[b"new"], path_end::BELOW_PARENT);
    let samples = call.samples();
    assert_eq!(samples.len(), 3);
    let mut decoder = decoder();
    assert_eq!(decoder.sample(&samples[0]), None);
    let event = body(decoder.sample(&samples[2]).unwrap());
    assert_eq!(event.incomplete, ["path", "chunk"]);
    let paths = paths(&event);
    assert!(paths[0].starts_with("(unknown)/ddd"), "{paths:?}");
    assert_eq!(paths[1..], ["(unknown)/new"], "not below the first parent");
    assert_eq!(decoder.counters().assembly.assembler_full, 1);
}

#[test]
fn what_continues_a_lost_name_or_argument_is_not_taken_for_one() {
    let call = Call::new().user_name(0, &[b'x'; 4000]).argv(&[b'y'; 3000]).cwd(&[]);
    let samples = call.samples();
    assert_eq!(samples.len(), 4);
    let mut tail = decoder();
    for sample in &samples[1..3] {
        assert_eq!(tail.sample(sample), None);
    }
    let event = body(tail.sample(&samples[3]).unwrap());
    assert_eq!(event.paths, []);
    assert_eq!(event.incomplete, ["user_name", "chunk"]);

    let mut head = decoder();
    for sample in [&samples[0], &samples[2]] {
        assert_eq!(head.sample(sample), None);
    }
    let event = body(head.sample(&samples[3]).unwrap());
    assert_eq!(event.incomplete, ["argv", "user_name", "chunk"], "the arguments may have begun in what is lost");
    assert!(event.paths[0].path == Some([b"/", &[b'x'; 4 * 511][..]].concat()), "what came before the gap");
    assert_eq!(event.argv.unwrap()[0].len(), 3000);

    let mut middle = decoder();
    for sample in &samples[..2] {
        assert_eq!(middle.sample(sample), None);
    }
    let event = body(middle.sample(&samples[3]).unwrap());
    assert_eq!(event.incomplete, ["argv", "chunk"]);
    assert_eq!(event.argv.unwrap()[0].len(), 3000 - 2 * 1020);
}

#[test]
fn unknown_things_are_counted_and_cost_no_event() {
    let mut call = Call::new().section(99, 0, b"future").object(9, &INODE, &[b"x"], path_end::ROOT);
    (call.header.hook, call.header.rule, call.header.generation) = (4000, 0, 6);
    let mut decoder = decoder();
    let event = body(decode_with(&mut decoder, &call));
    assert_eq!((event.hook, event.paths[0].name_type), (None, NameType::Unknown));
    assert_eq!(&*event.rule.text, "(rule 1 of generation 6, not known any more)");
    let counters = decoder.counters();
    assert_eq!((counters.unknown_sections, counters.unknown_hooks, counters.unknown_rules), (1, 1, 1));
    assert_eq!(event.incomplete, [""; 0]);
}

#[test]
fn what_breaks_the_rules_of_the_wire_is_counted_and_marked() {
    let mut decoder = decoder();
    assert_eq!(decoder.sample(b"short"), None);
    assert_eq!(decoder.counters().losses(), [("malformed_sample", 1)]);
    let broken: [&[u8]; 6] = [
        &section(sections::COMPONENT, 0, b"of nothing"),
        &section(sections::OBJECT, 1, &[0; 31]),
        &section(sections::TARGET, 0, &[0; 3]),
        &section(sections::DIRFD, 2, &[]),
        &[section(sections::USER_NAME, 0, b"a\0~"), section(sections::USER_NAME, 0, b"b\0~")].concat(),
        &[sections::ARGV, 0, 255, 255, b'x'],
    ];
    for (n, payload) in broken.into_iter().enumerate() {
        let event = body(decoder.sample(&sample(&event_header(), payload)).unwrap());
        assert!(event.incomplete.contains(&Word::from("chunk")), "{n}");
        assert_eq!(decoder.counters().malformed_sections, n as u64 + 1);
    }
}

/// A call with every kind of section, in several samples.
fn everything() -> Call {
    Call::new()
        .object(name_type::PARENT, &INODE, &[b"etc", &[b'n'; 255]], path_end::ROOT)
        .object(name_type::CREATE, &INODE, &[b"a"], path_end::BELOW_PARENT)
        .object(name_type::NORMAL, &INODE, &[b"b"], path_end::FILE_SYSTEM)
        .user_name(0, &[b'u'; 600])
        .dirfd(0, &[b"srv"], path_end::OUTSIDE)
        .section(sections::SOCKADDR, 0, b"\x01\0/run/x")
        .section(sections::TARGET, 0, &[1; 32])
        .argv(&[b'a'; 3000])
        .cwd(&[b"home"])
        .section(sections::EXE, 0, &[])
        .path(&[b"sh"], path_end::ROOT | path_end::DELETED)
}

proptest! {
    #[test]
    fn no_bytes_panic(samples in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..8)) {
        let mut decoder = decoder();
        for sample in &samples {
            decoder.sample(sample);
        }
        prop_assert_eq!(decoder.counters().samples, samples.len() as u64);
    }

    #[test]
    fn no_payload_panics(payloads in prop::collection::vec(
        prop::collection::vec((0_u8..12, any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20), 1..6,
    )) {
        let mut decoder = decoder();
        let mut header = event_header();
        for (n, payload) in payloads.iter().enumerate() {
            let sections: Vec<u8> = payload.iter().flat_map(|(kind, detail, data)| section(*kind, *detail, data)).collect();
            header.kind = if n + 1 == payloads.len() { kind::EVENT } else { kind::CHUNK };
            prop_assert_eq!(decoder.sample(&sample(&header, &sections)).is_some(), header.kind == kind::EVENT);
            header.chunk += 1;
        }
    }

    /// Whatever is overwritten, cut, dropped, doubled or reordered.
    #[test]
    fn no_mutation_of_valid_samples_panics(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
        cut in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let mut samples = everything().samples();
        for (which, at, value) in &edits {
            let sample = which.get_mut(&mut samples);
            *at.get_mut(sample) = *value;
        }
        if let Some((which, length)) = cut {
            let sample = which.get_mut(&mut samples);
            sample.truncate(length.index(sample.len()));
        }
        let mut decoder = decoder();
        let picked = order.iter().map(|which| which.get(&samples));
        let events = picked.filter_map(|sample| decoder.sample(sample)).count() as u64;
        let counters = decoder.counters();
        prop_assert_eq!(counters.events, events);
        prop_assert!(counters.malformed_samples + events <= counters.samples);
    }
}
