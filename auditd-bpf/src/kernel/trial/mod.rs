//! The kernel side on trial: the same random rules and events are given to the reference matcher
//! ([`rules::matcher`]) and, as the daemon's own code loads them, to the kernel's tables, and every verdict is compared.
//!
//! The programs are those of the daemon over memory that is filled in here (`auditd-bpf-ebpf/src/trial.rs`); the kernel runs
//! them on demand, so this needs no guest, only root and a kernel that has `bpf_loop`. Where those are missing it skips, and
//! says so. `PROPTEST_CASES` sets the number of rule sets.

mod memory;
mod random;
mod world;

use std::sync::OnceLock;

use auditd_bpf_common::limits::MAX_RULES;
use auditd_bpf_common::trial::{
    ADDRESS, BEGIN, COMING, END, HOOK, MEMORY, Memory, TASK, TASKS_LEFT_OUT, kind as object,
};
use auditd_bpf_common::wire::{EventHeader, kind};
use auditd_bpf_common::{hooks, names};
use aya::maps::{Array, HashMap, MapData, RingBuf};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use rules::matcher::{self, Call, Subject};
use rules::{Cgroup, Plan, RuleSet, SocketAddress, Source};
use tables::{Action, Arch, FilterList, syscalls};

use self::memory::{Address, Image, Layout};
use self::random::{Actor, Happening, Shape};
use self::world::{State, World};
use super::btf::KernelTypes;
use super::object::{Object, ObjectError, Settings};
use super::process::Process;
use super::tables::Tables;
use crate::identity::Identities;
use crate::mode::Mode;
use crate::mounts::MountTable;

/// No task of a trial has it.
const DAEMON: u32 = 4_000_000;
const SETTINGS: Settings = Settings {
    daemon: Process { pid: DAEMON, started: 0 },
    keeper: None,
    owner: 7,
    name_seed: 0x5eed,
    ring_bytes: 1 << 20,
    mode: Mode::Lsm,
};
/// Address of a task that comes: only compared.
const NEW_TASK: u64 = 0x1000;

/// The object on trial, its tables filled by the daemon's own code.
struct Bench {
    object: Object,
    tables: Tables,
    events: RingBuf<MapData>,
    memory: Array<MapData, Memory>,
    left_out: HashMap<MapData, u64, u64>,
    address: Address,
    layout: Layout,
    world: World,
    mounts: MountTable,
}

impl Bench {
    fn new(object: Object, world: World) -> Result<Self, ObjectError> {
        let mut object = object;
        object.run(BEGIN, [0; 12])?;
        let memory: Array<MapData, Memory> = object.take(MEMORY)?;
        let address = memory.get(&0, 0).expect("its only value").address;
        Ok(Self {
            tables: Tables::new(&mut object, SETTINGS.name_seed, SETTINGS.owner)?,
            events: object.take(names::EVENTS)?,
            left_out: object.take(TASKS_LEFT_OUT)?,
            memory,
            address,
            layout: Layout::of(object.types()),
            object,
            world,
            mounts: MountTable::read(),
        })
    }

    fn load(&mut self, rules: &RuleSet) -> Plan {
        let plan = Plan::compile(rules).expect("every rule that parses here can be compiled");
        let identities = Identities::look_up(&plan, &self.mounts);
        self.tables.install(&plan, &identities).expect("the tables hold it");
        plan
    }

    /// Position in the exit list of the rule that an event was sent for.
    fn verdict(&mut self, plan: &Plan, happening: &Happening) -> Option<usize> {
        self.play(happening);
        let mut rule = None;
        while let Some(sample) = self.events.next() {
            let word = |at: usize| sample[at..at + 4].try_into().map(u32::from_ne_bytes).expect("four bytes");
            if word(std::mem::offset_of!(EventHeader, kind)) == kind::EVENT {
                assert_eq!(rule, None, "one event at the most");
                rule = Some(word(std::mem::offset_of!(EventHeader, rule)) as usize);
            }
        }
        let tasks = plan.rules.iter().filter(|planned| planned.rule.list == FilterList::Task).count();
        rule.map(|rule| rule - tasks)
    }

    fn run(&mut self, program: &str, arguments: &[u64]) {
        let mut all = [0; 12];
        all[..arguments.len()].copy_from_slice(arguments);
        self.object.run(program, all).expect("the program was loaded before");
    }

    /// What the kernel would call in the course of it.
    fn play(&mut self, happening: &Happening) {
        let dentries = self.fill(happening, Moment::Entry);
        if !happening.unseen {
            self.hook(happening, &dentries);
        }
        if happening.succeeds() {
            self.fill(happening, Moment::End);
        }
        let has_result = u64::from(happening.shape != Shape::Endless);
        self.run(END, &[has_result, happening.exit.cast_unsigned()]);
    }

    fn hook(&mut self, happening: &Happening, dentries: &[Address]) {
        let number = |name| u64::from(hooks::number(name).expect("a hook"));
        let shown: Vec<[u64; 2]> =
            objects(&self.world, happening).iter().map(|(what, node)| [*what, dentries[*node]]).collect();
        let (name, access, after_checks) = match happening.shape {
            Shape::Open(_) if happening.exit < 0 => ("may_open", happening.access().bits(), 0),
            Shape::Open(_) => ("file_open", happening.access().bits(), 1),
            Shape::File(name) | Shape::Entry(name) => (name, 0, 0),
            Shape::Coming(name) => {
                let dentries: Vec<u64> = shown.iter().map(|[_, dentry]| *dentry).collect();
                self.run(COMING, &[&[number(name)][..], &dentries].concat());
                return;
            }
            Shape::Exec => ("bprm_check_security", 0, 0),
            Shape::Address(name) => {
                if let Some(address) = happening.address {
                    let at = self.write_address(&address);
                    self.run(ADDRESS, &[number(name), at, address.len() as u64]);
                }
                return;
            }
            Shape::Nothing | Shape::Endless | Shape::Child => return,
        };
        for [what, dentry] in shown {
            self.run(HOOK, &[number(name), u64::from(access), after_checks, what, dentry]);
        }
    }

    /// Writes a socket address behind all else.
    fn write_address(&mut self, address: &[u8]) -> Address {
        let mut memory = self.memory.get(&0, 0).expect("its only value");
        let at = memory.bytes.len() - address.len();
        memory.bytes[at..].copy_from_slice(address);
        self.memory.set(0, memory, 0).expect("its only value");
        self.address + (std::mem::offset_of!(Memory, bytes) + at) as u64
    }

    /// Writes the world as it is for a happening; returns the dentries.
    fn fill(&mut self, happening: &Happening, moment: Moment) -> Vec<Address> {
        let mut image = Image::new(&self.layout, self.address);
        let dentries = self.world.write(&mut image, &state(&self.world, happening, moment));
        let actor = match moment {
            Moment::Entry if happening.shape == Shape::Exec => &happening.before,
            _ => &happening.actor,
        };
        let task = write_task(&mut image, &self.world, actor);
        image.set(task, "task_struct.thread_info.status", if happening.arch == Arch::B32 { 2u32 } else { 0 });
        let address = write_registers(&mut image, happening, moment);
        image.acts(task, address);
        self.memory.set(0, image.memory(), 0).expect("its only value");
        dentries
    }

    /// Whether the task list leaves out what an actor starts.
    fn leaves_out(&mut self, actor: &Actor) -> bool {
        let mut image = Image::new(&self.layout, self.address);
        let task = write_task(&mut image, &self.world, actor);
        let registers = image.structure("pt_regs");
        image.acts(task, registers);
        self.memory.set(0, image.memory(), 0).expect("its only value");
        self.run(TASK, &[NEW_TASK]);
        self.left_out.remove(&NEW_TASK).is_ok()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Entry,
    /// Of a call that succeeded.
    End,
}

/// The files at a moment of a call.
fn state<'a>(world: &World, happening: &'a Happening, moment: Moment) -> State<'a> {
    let comes = moment == Moment::End && matches!(happening.shape, Shape::Coming(_)) && !happening.unseen;
    let created = comes.then(|| *happening.absent.get(&world.absent));
    State { attributes: &happening.attributes, magic: happening.magic, created }
}

/// Kind and node of each object.
fn objects(world: &World, happening: &Happening) -> Vec<(u64, usize)> {
    if happening.unseen {
        return Vec::new();
    }
    let file = *happening.file.get(&world.files);
    let directory = world.parent(file);
    match happening.shape {
        Shape::Open(_) | Shape::File(_) | Shape::Exec => vec![(object::WHOLE, file)],
        Shape::Entry(_) => vec![(object::WHOLE, directory), (object::WHOLE, file)],
        Shape::Coming(_) => {
            vec![(object::WHOLE, directory), (object::WHOLE, file), (object::NEW, *happening.absent.get(&world.absent))]
        }
        _ => Vec::new(),
    }
}

fn write_task(image: &mut Image<'_>, world: &World, actor: &Actor) -> Address {
    let cred = image.structure("cred");
    for (fields, ids) in [
        (["cred.uid.val", "cred.euid.val", "cred.suid.val", "cred.fsuid.val"], actor.uids),
        (["cred.gid.val", "cred.egid.val", "cred.sgid.val", "cred.fsgid.val"], actor.gids),
    ] {
        fields.into_iter().zip(ids).for_each(|(field, id)| image.set(cred, field, id));
    }
    let mut groups = actor.groups.clone();
    groups.sort_unstable();
    let info = image.structure("group_info");
    let list: Vec<u8> = groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
    // The list lies behind the structure.
    image.bytes(&list);
    let at = image.member(info, "group_info.gid");
    image.write(at, &list);
    image.set(info, "group_info.ngroups", groups.len() as u32);
    image.set(cred, "cred.group_info", info);

    let parent = image.structure("task_struct");
    image.set(parent, "task_struct.tgid", actor.ppid);
    let task = image.structure("task_struct");
    image.set(task, "task_struct.cred", cred);
    image.set(task, "task_struct.real_parent", parent);
    image.set(task, "task_struct.tgid", actor.pid);
    image.set(task, "task_struct.loginuid.val", actor.auid);
    image.set(task, "task_struct.sessionid", actor.session);
    image.set(task, "task_struct.personality", actor.personality);
    let comm = image.member(task, "task_struct.comm");
    image.write(comm, actor.comm.as_bytes());
    image.is_in(actor.cgroup);
    if let Some(program) = actor.program {
        let file = world.write_file(image, *program.get(world.programs()));
        let mm = image.structure("mm_struct");
        image.set(mm, "mm_struct.exe_file", file);
        image.set(task, "task_struct.mm", mm);
    }
    task
}

fn write_registers(image: &mut Image<'_>, happening: &Happening, moment: Moment) -> Address {
    let registers = image.structure("pt_regs");
    // An exec that succeeds leaves the number of `execve`, and no arguments (`ELF_PLAT_INIT`, `start_thread`).
    let new_image = moment == Moment::End && happening.shape == Shape::Exec;
    let number = syscalls::number(happening.arch, if new_image { "execve" } else { happening.name });
    image.set(registers, "pt_regs.orig_ax", u64::from(number.expect("a call of both ABIs")));
    if !new_image {
        let fields = match happening.arch {
            Arch::B64 | Arch::Aarch64 => {
                ["pt_regs.di", "pt_regs.si", "pt_regs.dx", "pt_regs.r10", "pt_regs.r8", "pt_regs.r9"]
            }
            Arch::B32 => ["pt_regs.bx", "pt_regs.cx", "pt_regs.dx", "pt_regs.si", "pt_regs.di", "pt_regs.bp"],
        };
        fields.into_iter().zip(happening.args).for_each(|(field, value)| image.set(registers, field, value));
    }
    registers
}

fn subject(world: &World, actor: &Actor) -> Subject {
    let ([uid, euid, suid, fsuid], [gid, egid, sgid, fsgid]) = (actor.uids, actor.gids);
    let exe = actor.program.map(|program| world.names_of_program(*program.get(world.programs()))).unwrap_or_default();
    Subject {
        pid: actor.pid,
        ppid: actor.ppid,
        uid,
        euid,
        suid,
        fsuid,
        gid,
        egid,
        sgid,
        fsgid,
        groups: actor.groups.clone(),
        auid: actor.auid,
        session: actor.session,
        personality: actor.personality,
        exe,
        comm: actor.comm.as_bytes().to_vec(),
        cgroups: vec![Cgroup::Itself(actor.cgroup)],
    }
}

/// What the reference says: the rule that an event is made for.
fn expected(rules: &RuleSet, world: &World, happening: &Happening) -> Option<usize> {
    let call = Call {
        arch: happening.arch,
        number: syscalls::number(happening.arch, happening.name).expect("a call of both ABIs"),
        args: happening.args,
        access: happening.access(),
        exit: (happening.shape != Shape::Endless).then_some(happening.exit),
        address: happening.address.as_ref().and_then(|address| SocketAddress::parse(address)),
        target: None,
        caps: 0,
    };
    let moment = if happening.succeeds() { Moment::End } else { Moment::Entry };
    let state = state(world, happening, moment);
    let objects: Vec<matcher::Object> =
        objects(world, happening).into_iter().map(|(_, node)| world.object(node, &state)).collect();
    let decides = matcher::exit(rules, &subject(world, &happening.actor), &call, &objects);
    decides.filter(|(_, action)| *action == Action::Always).map(|(index, _)| index)
}

fn parse(lines: &[String]) -> RuleSet {
    // What is wrong in a line does not keep the others out.
    let text: String = ["-c\n".to_owned()]
        .into_iter()
        .chain(lines.iter().enumerate().map(|(index, line)| match line.contains("filesystem") {
            true => format!("{line}\n"),
            false => format!("{line} -k rule{index}\n"),
        }))
        .collect();
    let parsed = rules::parse(&[Source { name: None, text: text.into_bytes() }], &rules::NoHost);
    parsed.into_loadable().expect("-c lets the rest load").0
}

/// Why this host cannot try anything; `None` if it can.
fn obstacle() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root may run BPF programs".to_owned());
    }
    if let Err(error) = KernelTypes::of_kernel() {
        return Some(error.to_string());
    }
    let supported =
        aya::sys::is_helper_supported(aya::programs::ProgramType::RawTracePoint, aya::sys::BpfHelper::BPF_FUNC_loop);
    match supported {
        Ok(true) => None,
        Ok(false) => Some("the kernel has no bpf_loop".to_owned()),
        Err(error) => Some(format!("bpf(2) is refused: {error}")),
    }
}

/// The bench, or `None` with a line that says why there is none.
fn bench(test: &str) -> Option<Bench> {
    static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
    if let Some(obstacle) = OBSTACLE.get_or_init(obstacle) {
        println!("SKIP {test}: {obstacle}");
        return None;
    }
    let path = env!("TRIAL_OBJECT");
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}; cargo xtask build-ebpf makes it"));
    let object = Object::load_bytes(&bytes, SETTINGS, None).expect("the maps can be made");
    Some(Bench::new(object, World::new().expect("files can be made")).expect("the programs load"))
}

/// Compares the verdicts on some events under some rules.
fn compare(bench: &mut Bench, lines: &[String], happenings: &[Happening]) -> Result<(), TestCaseError> {
    let rules = parse(lines);
    let plan = bench.load(&rules);
    // Known: who acts is compared with a program's owner before an exec changes ids, by the kernel after.
    let compares_owners = lines.iter().any(|line| line.contains("-C") && line.contains("obj_"));
    for happening in happenings {
        let as_the_same_user = happening.as_the_same_user();
        let happening = if compares_owners { &as_the_same_user } else { happening };
        let (found, wanted) = (bench.verdict(&plan, happening), expected(&rules, &bench.world, happening));
        if found != wanted {
            let text = |index: Option<usize>| {
                let exit = rules.rules().filter(|rule| rule.list == FilterList::Exit);
                index.and_then(|index| {
                    exit.map(|rule| String::from_utf8_lossy(&rule.written.line.text).into_owned()).nth(index)
                })
            };
            return Err(TestCaseError::fail(format!(
                "the kernel says {found:?} {:?}, the reference {wanted:?} {:?}\n{happening:?}",
                text(found),
                text(wanted)
            )));
        }
        let left_out = bench.leaves_out(&happening.actor);
        let wanted = matcher::task(&rules, &subject(&bench.world, &happening.actor));
        prop_assert_eq!(
            left_out,
            wanted.is_some_and(|rule| rule.1 == Action::Never),
            "task list: {:?}",
            happening.actor
        );
    }
    Ok(())
}

fn random_rules(test: &str, cases: u32, rules: std::ops::RangeInclusive<usize>, events: usize) {
    let Some(mut bench) = bench(test) else { return };
    let strategy = (vec(random::rule(&bench.world), rules), vec(random::happening(bench.world.nodes.len()), events));
    all_verdicts_are_the_same(&mut bench, cases, &strategy);
}

/// For rules and the events that they decide.
fn all_verdicts_are_the_same(
    bench: &mut Bench,
    cases: u32,
    strategy: &impl Strategy<Value = (Vec<String>, Vec<Happening>)>,
) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let config = Config { failure_persistence: None, max_shrink_time: 20_000, ..Config::with_cases(cases) };
    let bench = std::cell::RefCell::new(bench);
    let result = TestRunner::new(config)
        .run(strategy, |(lines, happenings)| compare(&mut bench.borrow_mut(), &lines, &happenings));
    if let Err(failure) = result {
        let TestError::Fail(reason, (lines, happenings)) = failure else { panic!("{failure}") };
        let rules = lines.join("\n");
        panic!("{reason}\nwith these rules, after {} other events:\n{rules}", happenings.len() - 1);
    }
}

#[test]
fn few_rules_decide_as_the_reference_does() {
    random_rules("few_rules_decide_as_the_reference_does", 1000, 1..=12, 8);
}

#[test]
fn what_is_created_is_tested_as_the_reference_does() {
    let Some(mut bench) = bench("what_is_created_is_tested_as_the_reference_does") else { return };
    let (rule, event) = (random::rule_of_creation(&bench.world), random::creation(bench.world.nodes.len()));
    all_verdicts_are_the_same(&mut bench, 200, &(vec(rule, 1..=2), vec(event, 4)));
}

#[test]
fn many_rules_decide_as_the_reference_does() {
    random_rules("many_rules_decide_as_the_reference_does", 50, 1..=200, 40);
}

#[test]
fn as_many_rules_as_the_tables_hold_decide_as_the_reference_does() {
    let test = "as_many_rules_as_the_tables_hold_decide_as_the_reference_does";
    random_rules(test, 3, MAX_RULES * 9 / 10..=MAX_RULES, 100);
}
