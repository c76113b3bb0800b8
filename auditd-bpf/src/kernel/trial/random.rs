//! Random rules and events. Values come from small pools, so that they meet.

use std::net::Ipv4Addr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use tables::{Arch, CompareField, Perm};

use super::world::{Attributes, World};

const IDS: [u32; 7] = [0, 1, 5, 1000, 1001, 65534, u32::MAX - 1];
const NUMBERS: [u32; 9] = [0, 1, 2, 3, 7, 64, 0x8000_0000, u32::MAX - 1, u32::MAX];
const EXITS: [i64; 9] = [0, 1, 3, 64, -1, -2, -13, -4095, -4096];
const PERSONALITIES: [u32; 4] = [0, 8, 0x4_0000, 0x0804_0000];
const MAGICS: [u32; 3] = [0xef53, 0x6462_6720, 0x7472_6163];
const FAMILIES: [u16; 4] = [1, 2, 10, 16];
pub(super) const ADDRESS_BYTES: usize = 28;
const COMMS: [&str; 3] = ["sh", "nginx", "fifteen-bytes-x"];
const CGROUPS: [u64; 3] = [1, 4711, 1 << 40];
const PORTS: [u16; 4] = [0, 22, 443, 65535];
const HOSTS: [Ipv4Addr; 3] = [Ipv4Addr::new(10, 1, 2, 3), Ipv4Addr::new(10, 128, 0, 1), Ipv4Addr::new(192, 0, 2, 7)];
const NETWORKS: [&str; 7] = ["10.0.0.0/8", "10.0.0.0/9", "10.1.2.3", "192.0.2.0/30", "0.0.0.0/0", "a01::/16", "::/0"];
const MODES: [u32; 4] = [0o100_644, 0o040_755, 0o020_620, 0o060_660];
const ACCESSES: [u8; 4] = [4, 2, 6, 6];

/// How a call meets its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// An open by flags in the argument of that number.
    Open(usize),
    /// One file, shown to the hook.
    File(&'static str),
    /// A directory and a file in it.
    Entry(&'static str),
    /// A directory, a file in it, and a name that comes.
    Coming(&'static str),
    /// A program.
    Exec,
    /// A socket address, shown to the hook.
    Address(&'static str),
    /// Nothing that a hook sees.
    Nothing,
    /// Nothing, and no result.
    Endless,
    /// A child, whose number is the result.
    Child,
}

/// Calls that rules name and events are of.
#[rustfmt::skip]
const CALLS: &[(&str, Shape)] = &[
    ("open", Shape::Open(1)), ("openat", Shape::Open(2)), ("chmod", Shape::File("path_chmod")),
    ("truncate", Shape::File("path_truncate")), ("fsetxattr", Shape::File("inode_setxattr")),
    ("readlink", Shape::File("inode_readlink")), ("lstat", Shape::File("inode_getattr")),
    ("unlink", Shape::Entry("path_unlink")), ("rmdir", Shape::Entry("path_rmdir")),
    CREATIONS[0], CREATIONS[1],
    ("execve", Shape::Exec), ("execveat", Shape::Exec), ("connect", Shape::Address("socket_connect")),
    ("bind", Shape::Address("socket_bind")), ("sethostname", Shape::Nothing), ("adjtimex", Shape::Nothing),
    ("setuid", Shape::Nothing), ("getpid", Shape::Nothing), ("exit_group", Shape::Endless), ("clone", Shape::Child),
];

const CREATIONS: &[(&str, Shape)] = &[("mkdir", Shape::Coming("path_mkdir")), ("link", Shape::Coming("path_link"))];

/// Who acts.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    /// uid, euid, suid, fsuid.
    pub(super) uids: [u32; 4],
    pub(super) gids: [u32; 4],
    pub(super) groups: Vec<u32>,
    pub(super) auid: u32,
    pub(super) session: u32,
    pub(super) personality: u32,
    pub(super) pid: u32,
    pub(super) ppid: u32,
    pub(super) comm: &'static str,
    pub(super) cgroup: u64,
    /// Which of the world's files it runs; none in a kernel thread.
    pub(super) program: Option<Index>,
}

/// A call, and what it meets.
#[derive(Clone, Debug)]
pub(super) struct Happening {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) arch: Arch,
    pub(super) args: [u64; 6],
    pub(super) exit: i64,
    /// Flags of an open, below 4.
    pub(super) flags: u8,
    pub(super) file: Index,
    pub(super) absent: Index,
    /// A `struct sockaddr_in6`, or another as long.
    pub(super) address: Option<[u8; ADDRESS_BYTES]>,
    pub(super) actor: Actor,
    /// Who an exec begins as.
    pub(super) before: Actor,
    pub(super) attributes: Vec<Attributes>,
    pub(super) magic: u32,
    /// Whether no hook is shown anything, as where a look-up fails.
    pub(super) unseen: bool,
}

impl Happening {
    pub(super) fn succeeds(&self) -> bool {
        !(-4095..0).contains(&self.exit)
    }

    /// The same, but that no id changes.
    pub(super) fn as_the_same_user(&self) -> Self {
        let before = Actor { uids: self.actor.uids, gids: self.actor.gids, ..self.before.clone() };
        Self { before, ..self.clone() }
    }

    pub(super) fn access(&self) -> Perm {
        match self.shape {
            Shape::Open(_) => Perm::from_bits(ACCESSES[usize::from(self.flags)]),
            _ => Perm::NONE,
        }
    }
}

fn actor() -> impl Strategy<Value = Actor> {
    let ids = || prop::array::uniform4(select(&IDS[..]));
    let auid = prop_oneof![3 => select(&IDS[..]), 1 => Just(u32::MAX)];
    let session = prop_oneof![3 => select(&NUMBERS[..]), 1 => Just(u32::MAX)];
    let numbers = (auid, session, select(&PERSONALITIES[..]), select(&NUMBERS[..]), select(&NUMBERS[..]));
    let place = (select(&COMMS[..]), select(&CGROUPS[..]));
    let program = prop_oneof![4 => any::<Index>().prop_map(Some), 1 => Just(None)];
    (ids(), ids(), subsequence(IDS.to_vec(), 0..=IDS.len()), numbers, place, program).prop_map(
        |(uids, gids, groups, (auid, session, personality, pid, ppid), (comm, cgroup), program)| Actor {
            uids,
            gids,
            groups,
            auid,
            session,
            personality,
            pid,
            ppid,
            comm,
            cgroup,
            program,
        },
    )
}

fn socket_address() -> impl Strategy<Value = [u8; ADDRESS_BYTES]> {
    (select(&FAMILIES[..]), select(&PORTS[..]), select(&HOSTS[..]), any::<bool>()).prop_map(
        |(family, port, host, mapped)| {
            let mut bytes = [0; ADDRESS_BYTES];
            bytes[..2].copy_from_slice(&family.to_ne_bytes());
            bytes[2..4].copy_from_slice(&port.to_be_bytes());
            match family {
                2 => bytes[4..8].copy_from_slice(&host.octets()),
                10 if mapped => bytes[8..24].copy_from_slice(&host.to_ipv6_mapped().octets()),
                10 => bytes[8..12].copy_from_slice(&host.octets()),
                _ => {}
            }
            bytes
        },
    )
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let device = (select(vec![0, 8, 253]), select(vec![0, 1, 5]));
    (select(&MODES[..]), select(&IDS[..4]), select(&IDS[..4]), device)
        .prop_map(|(mode, uid, gid, stands_for)| Attributes { mode, uid, gid, stands_for })
}

/// Events in a world of so many nodes.
pub(super) fn happening(nodes: usize) -> impl Strategy<Value = Happening> {
    happening_of(nodes, CALLS)
}

/// Events by which a file comes.
pub(super) fn creation(nodes: usize) -> impl Strategy<Value = Happening> {
    happening_of(nodes, CREATIONS)
}

fn happening_of(nodes: usize, calls: &'static [(&'static str, Shape)]) -> impl Strategy<Value = Happening> {
    let call = (select(calls), prop_oneof![3 => Just(Arch::B64), 1 => Just(Arch::B32)]);
    let args = prop::array::uniform6(prop_oneof![select(&NUMBERS[..]), any::<u32>()]);
    let result = (select(&EXITS[..]), 0u8..4, prop::option::weighted(0.8, socket_address()));
    let files = (any::<Index>(), any::<Index>(), prop::bool::weighted(0.15));
    let place = (vec(attributes(), nodes), prop_oneof![8 => Just(MAGICS[0]), 1 => select(&MAGICS[..])]);
    (call, args, result, files, (actor(), actor()), place).prop_map(
        |(((name, shape), arch), args, (exit, flags, address), (file, absent, unseen), (actor, before), place)| {
            let (attributes, magic) = place;
            let args = args.map(u64::from);
            let this = Happening {
                name,
                shape,
                arch,
                args,
                exit,
                flags,
                file,
                absent,
                address,
                actor,
                before,
                attributes,
                magic,
                unseen,
            };
            this.made_possible()
        },
    )
}

impl Happening {
    /// What a kernel would never do is bent into what it would.
    fn made_possible(mut self) -> Self {
        match self.shape {
            Shape::Open(argument) => {
                self.args[argument] = self.args[argument] & !3 | u64::from(self.flags);
                // A look-up that fails is of no file.
                self.exit = if self.unseen { -2 } else { self.exit };
            }
            Shape::File(_) | Shape::Entry(_) | Shape::Coming(_) if self.unseen => self.exit = -2,
            Shape::Exec => {
                self.exit = if self.exit < 0 || self.unseen { -13 } else { 0 };
                // Of the ids only these change, and the program.
                let ids = |old: [u32; 4], new: [u32; 4]| [old[0], new[1], new[2], new[3]];
                let (uids, gids) = (ids(self.before.uids, self.actor.uids), ids(self.before.gids, self.actor.gids));
                let program = self.actor.program;
                self.actor = self.before.clone();
                if self.exit == 0 {
                    self.actor = Actor { uids, gids, program, ..self.actor };
                }
            }
            Shape::Child => self.exit = self.exit.max(1),
            _ => {}
        }
        if !matches!(self.shape, Shape::Address(_)) || self.unseen {
            self.address = None;
        }
        self
    }
}

/// One line of a rule file. Some are wrong; they are not loaded.
pub(super) fn rule(world: &World) -> impl Strategy<Value = String> + use<> {
    let action = prop_oneof![3 => Just("always"), 1 => Just("never")];
    let exit = (action, arch(), calls(), vec(test(world), 0..5))
        .prop_map(|(action, arch, calls, tests)| format!("-a {action},exit{arch}{calls}{}", tests.concat()));
    let task = vec(prop_oneof![3 => number_test(), 1 => test(world)], 0..3)
        .prop_map(|tests| format!("-a never,task{}", tests.concat()));
    let file_system =
        select(vec!["debugfs", "tracefs"]).prop_map(|name| format!("-a never,filesystem -F fstype={name}"));
    prop_oneof![60 => exit, 1 => task, 1 => file_system]
}

/// A line about a name that is not there yet, and what it will be.
pub(super) fn rule_of_creation(world: &World) -> impl Strategy<Value = String> + use<> {
    let path = compared(&["path"], &["="], paths_of(world, &world.absent));
    let calls = CREATIONS.iter().map(|call| call.0).collect::<Vec<_>>().join(",");
    (arch(), path, vec(object_test(world), 1..3))
        .prop_map(move |(arch, path, tests)| format!("-a always,exit{arch} -S {calls}{path}{}", tests.concat()))
}

fn arch() -> impl Strategy<Value = &'static str> {
    prop_oneof![5 => Just(" -F arch=b64"), 2 => Just(" -F arch=b32"), 1 => Just(" -F arch!=b32"), 1 => Just("")]
}

fn calls() -> impl Strategy<Value = String> {
    let names: Vec<&str> = CALLS.iter().map(|call| call.0).collect();
    let some = subsequence(names, 1..5).prop_map(|names| format!(" -S {}", names.join(",")));
    prop_oneof![12 => some, 1 => Just(String::new()), 1 => Just(" -S all".to_owned())]
}

const SIX: [&str; 6] = ["=", "!=", "<", "<=", ">", ">="];
const EIGHT: [&str; 8] = ["=", "!=", "<", "<=", ">", ">=", "&", "&="];

fn compared(
    fields: &[&'static str],
    operators: &[&'static str],
    values: Vec<String>,
) -> impl Strategy<Value = String> + use<> {
    (select(fields.to_vec()), select(operators.to_vec()), select(values))
        .prop_map(|(field, operator, value)| format!(" -F {field}{operator}{value}"))
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn number_test() -> impl Strategy<Value = String> {
    let ids = ["uid", "euid", "suid", "fsuid", "gid", "egid", "sgid", "fsgid", "auid"];
    prop_oneof![
        4 => compared(&ids, &SIX, texts(&IDS)),
        1 => Just(" -F auid=unset".to_owned()),
        1 => Just(" -F auid!=unset".to_owned()),
        1 => compared(&["pid", "ppid"], &SIX, texts(&NUMBERS)),
        1 => compared(&["sessionid"], &SIX, texts(&NUMBERS)),
        1 => compared(&["pers"], &EIGHT, texts(&PERSONALITIES)),
        2 => compared(&["a0", "a1", "a2", "a3"], &EIGHT, texts(&NUMBERS)),
        1 => compared(&["saddr_fam"], &SIX, texts(&FAMILIES)),
        1 => compared(&["daddr"], &["=", "!="], texts(&NETWORKS)),
        1 => compared(&["dport"], &SIX, texts(&PORTS)),
        1 => compared(&["comm"], &["=", "!="], texts(&COMMS)),
        1 => compared(&["cgroup"], &["=", "!="], texts(&CGROUPS)),
    ]
}

fn test(world: &World) -> impl Strategy<Value = String> + use<> {
    let mut paths = paths_of(world, &world.files);
    let programs = paths.clone();
    paths.extend(paths_of(world, &world.absent));
    paths.push(world.alias().join("f1").display().to_string());
    let mut trees = paths_of(world, &world.directories);
    trees.extend(["/".to_owned(), world.alias().display().to_string()]);
    let pairs: Vec<String> = CompareField::all()
        .flat_map(|pair| ["=", "!="].map(|op| format!(" -C {}{op}{}", pair.left().name(), pair.right().name())))
        .collect();
    prop_oneof![
        10 => number_test(),
        2 => compared(&["exit"], &SIX, texts(&EXITS.map(|exit| if exit == -4096 { -4094 } else { exit }))),
        1 => compared(&["success"], &SIX, texts(&[0, 1])),
        4 => compared(&["path"], &["="], paths),
        3 => compared(&["dir"], &["="], trees),
        2 => compared(&["perm"], &["="], texts(&["r", "w", "x", "a", "wa", "rx", "rwxa"])),
        1 => compared(&["exe"], &["=", "!="], programs),
        6 => object_test(world),
        2 => select(pairs),
    ]
}

fn paths_of(world: &World, nodes: &[usize]) -> Vec<String> {
    nodes.iter().map(|node| world.nodes[*node].path.display().to_string()).collect()
}

/// What is asked of an inode.
fn object_test(world: &World) -> impl Strategy<Value = String> + use<> {
    let inodes = world.files.iter().take(3).filter_map(|node| world.nodes[*node].id);
    let inodes = inodes.map(|id| (id.ino as u32).to_string()).collect();
    let (major, minor) = world.device_numbers();
    prop_oneof![
        1 => compared(&["inode"], &["=", "!="], inodes),
        1 => compared(&["obj_uid", "obj_gid"], &["=", "!=", ">="], texts(&[0, 5])),
        1 => compared(&["devmajor"], &["=", "!="], texts(&[major, 8])),
        1 => compared(&["devminor"], &["=", "&", "<"], texts(&[minor, 5])),
        1 => compared(&["filetype"], &["=", "!="], texts(&["file", "dir", "character"])),
    ]
}
