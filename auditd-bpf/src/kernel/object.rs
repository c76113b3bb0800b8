//! The BPF object: embedded, its globals set for the running kernel, loaded.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use auditd_bpf_common::{hooks::ATTRIBUTES, kernel_fields, limits::STAGE_COMPLETE, names, plan_rows::refuses};
use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, Endianness,
    maps::{MapData, MapError, ProgramArray},
    pin::PinError,
    programs::{
        FEntry, FExit, KProbe, Lsm, ProgramError, ProgramFd, RawTracePoint, RawTracePointRunOptions, TestRun,
        TracePoint, links::FdLink, raw_trace_point::RawTracePointLink,
    },
};

use super::btf::{self, BtfError, KernelTypes};
use super::left_out::times_left_out;
use super::pins::{Pin, Pins};
use super::process::Process;
use crate::mode::Mode;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/auditd-bpf.o"));

/// Where names of sections of LSM programs (`lsm/file_open`) stand in it.
const LSM_NAMES: &[usize] = &include!(concat!(env!("OUT_DIR"), "/lsm-names.in"));

/// A hook whose arguments differ between kernels.
const SETATTR: &str = "inode_setattr";

/// What programs are run for that are attached to nothing.
const TEST_RUN: &str = "a test run";

/// What the kernel side is told when it is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whose own acts are never recorded.
    pub daemon: Process,
    /// Nor its, nor those of its other children, if there is one.
    pub keeper: Option<Process>,
    /// Whose tables the programs go by: not 0, and another one than that of any object that shares [`names::ACTIVE`].
    pub owner: u32,
    /// Seed of the file name hash.
    pub name_seed: u64,
    /// Size of the ring buffer in bytes: a power of two, a multiple of the page size.
    pub ring_bytes: u32,
    /// Where its programs will be attached.
    pub mode: Mode,
}

/// Why the kernel side could not be loaded or attached.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Type information of the kernel.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// Type information as aya reads it.
    #[error("cannot read the kernel's type information: {0}")]
    AyaBtf(#[from] aya::BtfError),
    /// Maps could not be created.
    #[error("the kernel refuses the BPF maps: {0}")]
    Object(#[source] Box<EbpfError>),
    /// A map that the object must have is missing or of another kind.
    #[error("map {name}: {source}")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        source: MapError,
    },
    /// A program was refused.
    #[error("the kernel refuses program {program} on {target}: {}", telling(source))]
    Program {
        /// Program in the object.
        program: String,
        /// Hook or function.
        target: String,
        /// Why.
        source: Box<ProgramError>,
    },
}

/// An error with its causes, and of a verifier log only the end, where the verdict stands.
fn telling(error: &ProgramError) -> String {
    const LINES: usize = 12;
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        // Statistics come after the verdict on newer kernels.
        let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("subprog ")).collect();
        if lines.is_empty() {
            return io_error.to_string();
        }
        return format!("{io_error}\n{}", lines[lines.len().saturating_sub(LINES)..].join("\n"));
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

macro_rules! list_fields {
    ($($name:ident = $path:literal;)+) => { &[$((stringify!($name), $path)),+] };
}
const FIELDS: &[(&str, &str)] = kernel_fields!(list_fields);

/// The loaded object. What is attached stays so as long as its link is kept.
pub struct Object {
    ebpf: Ebpf,
    /// The kernel's types as aya reads them: some 20 MiB, so only while programs are attached.
    btf: Option<Btf>,
    types: KernelTypes,
    /// Whether the hook `inode_setattr` is shown the dentry after something else, as from 6.9 on.
    setattr_mapped: bool,
    stages: Vec<Stage>,
    tail_calls: TailCalls,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TailCalls {
    Untried,
    Refused,
}

/// What the programs on functions of one prototype go on to.
struct Stage {
    prototype: Option<u32>,
    /// The kernel empties it when the last descriptor is closed.
    _programs: ProgramArray<MapData>,
}

/// Loads and attaches a program by an expression over its handle, which is then free for the next copy. A macro, as aya's
/// kinds of programs share no trait for it.
macro_rules! attached {
    ($object:ident, $kind:ty, $program:expr, $target:expr, |$handle:ident| $attach:expr) => {{
        let (program, target): (&str, &str) = ($program, $target);
        let start = std::time::Instant::now();
        let $handle: &mut $kind = named(&mut $object.ebpf, program, target)?;
        let link = $attach
            .and_then(|id| $handle.take_link(id))
            .and_then(|link| FdLink::try_from(link).map_err(|_| ProgramError::NotAttached))
            .map_err(refused(program, target))?;
        let fd = $handle.fd().and_then(own).map_err(refused(program, target))?;
        let followed = $handle.info().ok().and_then(|info| info.verified_instruction_count()).unwrap_or_default();
        tracing::debug!(
            "{program} on {target}: {followed} instructions followed by the verifier, {:?}",
            start.elapsed()
        );
        $handle.unload().map_err(refused(program, target))?;
        Ok(Attached::new(Link::Fd(link), fd))
    }};
}

impl Object {
    /// Resolves the kernel's fields, creates the maps; loads no program yet. `pins`: where maps are pinned that are needed should
    /// the daemon be killed.
    ///
    /// # Errors
    /// If the kernel has no type information, lacks a field, or refuses the maps.
    pub fn load(settings: Settings, pins: Option<&Pins>) -> Result<Self, ObjectError> {
        match settings.mode {
            Mode::Observe => Self::load_bytes(&traced(OBJECT), settings, pins),
            Mode::Lsm | Mode::Syscall => Self::load_bytes(OBJECT, settings, pins),
        }
    }

    /// The same of another object: one that is put on trial.
    pub(super) fn load_bytes(object: &[u8], settings: Settings, pins: Option<&Pins>) -> Result<Self, ObjectError> {
        let types = KernelTypes::of_kernel()?;
        let offsets = FIELDS
            .iter()
            .map(|(global, path)| Ok((*global, types.offset(path)?)))
            .collect::<Result<Vec<(&str, u32)>, BtfError>>()?;
        let hook = types.parameters(&format!("bpf_lsm_{SETATTR}"));
        let parameters = hook.or_else(|| types.parameters(&format!("security_{SETATTR}")));
        let setattr_mapped = parameters.is_some_and(|count| count > 2);
        let refuses = refuses(settings.mode);
        let wakeup = u64::from(settings.ring_bytes / 4);
        let keeper = settings.keeper.unwrap_or(Process { pid: 0, started: 0 });
        let mut loader = EbpfLoader::new();
        // Task storage, which aya does not know.
        loader.allow_unsupported_maps();
        for (global, offset) in &offsets {
            loader.override_global(global, offset, true);
        }
        loader
            .override_global(names::DAEMON_PID, &settings.daemon.pid, true)
            .override_global(names::DAEMON_STARTED, &settings.daemon.started, true)
            .override_global(names::KEEPER_PID, &keeper.pid, true)
            .override_global(names::KEEPER_STARTED, &keeper.started, true)
            .override_global(names::OWNER, &settings.owner, true)
            .override_global(names::NAME_SEED, &settings.name_seed, true)
            .override_global(names::WAKEUP_BYTES, &wakeup, true)
            .override_global(names::REFUSES, &refuses, true)
            .map_max_entries(names::EVENTS, settings.ring_bytes);
        for (name, path) in pins.iter().flat_map(|pins| pins.maps()) {
            loader.map_pin_path(name, path);
        }
        let ebpf = loader.load(object).map_err(|error| ObjectError::Object(Box::new(error)))?;
        Ok(Self { ebpf, btf: None, types, setattr_mapped, stages: Vec::new(), tail_calls: TailCalls::Untried })
    }

    /// The kernel's types.
    #[must_use]
    pub fn types(&self) -> &KernelTypes {
        &self.types
    }

    /// Gives back memory that only attaching needs.
    pub fn settle(&mut self) {
        self.btf = None;
        self.types.forget_fields();
        give_back_memory();
    }

    /// Loads an LSM program without attaching it: the host check.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn try_lsm(&mut self, hook: &str) -> Result<(), ObjectError> {
        let program = format!("lsm_{hook}");
        let lsm: &mut Lsm = named(&mut self.ebpf, &program, hook)?;
        lsm.load(hook, loaded(&mut self.btf)?).map_err(refused(&program, hook))
    }

    /// Loads the program of a hook for the function that calls the hook, without attaching it: the host check.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn try_traced(&mut self, hook: &str) -> Result<(), ObjectError> {
        let (program, function) = (format!("lsm_{hook}"), caller(&self.types, hook).unwrap_or_default());
        let fentry: &mut FEntry = named(&mut self.ebpf, &program, &function)?;
        fentry.load(&function, loaded(&mut self.btf)?).map_err(refused(&program, &function))
    }

    /// Loads the programs at the end of all calls without attaching them: the host check.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn try_all_calls(&mut self) -> Result<(), ObjectError> {
        [names::RAW_TP_OPENED, names::RAW_TP_SYS_EXIT].into_iter().try_for_each(|program| {
            let raw: &mut RawTracePoint = named(&mut self.ebpf, program, names::SYS_EXIT.1)?;
            raw.load().map_err(refused(program, names::SYS_EXIT.1))
        })
    }

    /// Loads the result program for a function without attaching it: the host check.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn try_fexit(&mut self, function: &str) -> Result<(), ObjectError> {
        let program = names::FEXIT_COMPLETE;
        let fexit: &mut FExit = named(&mut self.ebpf, program, function)?;
        fexit.load(function, loaded(&mut self.btf)?).map_err(refused(program, function))?;
        fexit.unload().map_err(refused(program, function))
    }

    /// Reads a 32-bit word of kernel memory; 0 where there is none at the address.
    ///
    /// # Errors
    /// If the kernel refuses the program.
    pub fn read_word(&mut self, address: u64) -> Result<u32, ObjectError> {
        let program = names::RAW_READ_WORD;
        let mut arguments = [0; 12];
        arguments[0] = address;
        let word = self.run(program, arguments)?;
        let reader: &mut RawTracePoint = named(&mut self.ebpf, program, TEST_RUN)?;
        reader.unload().map_err(refused(program, TEST_RUN))?;
        Ok(word)
    }

    /// Runs a program that is attached to nothing, and returns what it returns. It stays loaded.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub(super) fn run(&mut self, program: &str, arguments: [u64; 12]) -> Result<u32, ObjectError> {
        let raw: &mut RawTracePoint = named(&mut self.ebpf, program, TEST_RUN)?;
        if raw.fd().is_err() {
            raw.load().map_err(refused(program, TEST_RUN))?;
        }
        let mut options = RawTracePointRunOptions::new();
        options.args = arguments;
        Ok(raw.test_run(options).map_err(refused(program, TEST_RUN))?.return_value)
    }

    /// Attaches the result side to the end of every system call at once.
    ///
    /// # Errors
    /// If the kernel refuses it, or shows no tracepoints.
    pub fn attach_all_calls(&mut self) -> Result<Attached, ObjectError> {
        let (category, name) = names::SYS_EXIT;
        attached!(self, TracePoint, names::TRACEPOINT_SYS_EXIT, name, |tracepoint| {
            tracepoint.load().and_then(|()| tracepoint.attach(category, name))
        })
    }

    /// Attaches a program to the raw tracepoint there. Programs run in the order in which they were attached.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn attach_raw_sys_exit(&mut self, program: &str) -> Result<Attached, ObjectError> {
        let target = names::SYS_EXIT.1;
        let raw: &mut RawTracePoint = named(&mut self.ebpf, program, target)?;
        let attach = |raw: &mut RawTracePoint| {
            raw.load()?;
            let id = raw.attach(target)?;
            let link = raw.take_link(id)?;
            let program = own(raw.fd()?)?;
            Ok(Attached::new(Link::RawTracePoint { _link: link }, program))
        };
        attach(raw).map_err(refused(program, target))
    }

    /// Attaches the program of a hook to the function that calls the hook.
    ///
    /// # Errors
    /// If the kernel refuses it, or has no such function.
    pub fn attach_traced(&mut self, hook: &str) -> Result<Attached, ObjectError> {
        let function = caller(&self.types, hook).unwrap_or_default();
        self.attach_fentry(&self.program_of(hook), &function)
    }

    fn program_of(&self, hook: &str) -> String {
        match (hook, self.setattr_mapped) {
            (SETATTR, false) => names::LSM_SETATTR.to_owned(),
            (SETATTR, true) => names::LSM_SETATTR_MAPPED.to_owned(),
            (ATTRIBUTES, false) => names::LSM_ATTRIBUTES.to_owned(),
            (ATTRIBUTES, true) => names::LSM_ATTRIBUTES_MAPPED.to_owned(),
            _ => format!("lsm_{hook}"),
        }
    }

    /// Attaches a program to the start of a function, which may be one of many that it is attached to.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn attach_fentry(&mut self, program: &str, function: &str) -> Result<Attached, ObjectError> {
        attached!(self, FEntry, program, function, |fentry| {
            fentry.load(function, loaded(&mut self.btf)?).and_then(|()| fentry.attach())
        })
    }

    /// Attaches a program to the start of a function, where the kernel never leaves it out.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn attach_kprobe(&mut self, program: &str, function: &str) -> Result<Attached, ObjectError> {
        attached!(self, KProbe, program, function, |kprobe| { kprobe.load().and_then(|()| kprobe.attach(function, 0)) })
    }

    /// Attaches the result side to a syscall function. The small program goes on to one that is loaded once for all functions
    /// of the same prototype; for a prototype beyond those prepared for, and on kernels that refuse to let it go on (6.1
    /// does), that one is attached itself: the same events, a longer start.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn attach_syscall(&mut self, function: &str) -> Result<Attached, ObjectError> {
        if let Some(kind) = self.stage_for(function)? {
            match self.attach_fexit(names::FEXIT_SYSCALL[kind].0, function) {
                Ok(link) => return Ok(link),
                Err(error) => {
                    tracing::debug!("every result program is loaded whole: {error}");
                    self.tail_calls = TailCalls::Refused;
                }
            }
        }
        self.attach_fexit(names::FEXIT_COMPLETE, function)
    }

    /// Which kind of small program serves a function, its next stage loaded.
    fn stage_for(&mut self, function: &str) -> Result<Option<usize>, ObjectError> {
        if self.tail_calls == TailCalls::Refused {
            return Ok(None);
        }
        let prototype = self.types.prototype(function);
        if let Some(kind) = self.stages.iter().position(|stage| stage.prototype == prototype) {
            return Ok(Some(kind));
        }
        let kind = self.stages.len();
        if kind == names::FEXIT_SYSCALL.len() {
            return Ok(None);
        }
        let stage = self.load_stage(kind, function)?;
        self.stages.push(stage);
        Ok(Some(kind))
    }

    fn load_stage(&mut self, kind: usize, function: &str) -> Result<Stage, ObjectError> {
        let (program, name) = (names::FEXIT_COMPLETE, names::FEXIT_SYSCALL[kind].1);
        let mut programs: ProgramArray<MapData> = self.take(name)?;
        let fexit: &mut FExit = named(&mut self.ebpf, program, function)?;
        fexit.load(function, loaded(&mut self.btf)?).map_err(refused(program, function))?;
        let fd = fexit.fd().map_err(refused(program, function))?;
        programs.set(STAGE_COMPLETE, fd, 0).map_err(|source| ObjectError::Map { name, source })?;
        fexit.unload().map_err(refused(program, function))?;
        Ok(Stage { prototype: self.types.prototype(function), _programs: programs })
    }

    /// Takes a map out of the object.
    ///
    /// # Errors
    /// If it has none of that name and kind.
    pub fn take<M: TryFrom<aya::maps::Map, Error = MapError>>(&mut self, name: &'static str) -> Result<M, ObjectError> {
        let missing = || MapError::InvalidName { name: name.to_owned() };
        let map = self.ebpf.take_map(name).ok_or_else(missing).and_then(M::try_from);
        map.map_err(|source| ObjectError::Map { name, source })
    }

    /// Attaches the program of an LSM hook.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn attach_lsm(&mut self, hook: &str) -> Result<Attached, ObjectError> {
        attached!(self, Lsm, &self.program_of(hook), hook, |lsm| {
            lsm.load(hook_itself(hook), loaded(&mut self.btf)?).and_then(|()| lsm.attach())
        })
    }

    /// Attaches a program to the end of a function. The same program may be attached to many functions: the kernel holds
    /// each loaded copy by its link, so the object's handle is free for the next.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn attach_fexit(&mut self, program: &str, function: &str) -> Result<Attached, ObjectError> {
        attached!(self, FExit, program, function, |fexit| {
            fexit.load(function, loaded(&mut self.btf)?).and_then(|()| fexit.attach())
        })
    }
}

/// The hook that the program of a hook is on.
fn hook_itself(hook: &str) -> &str {
    if hook == ATTRIBUTES { SETATTR } else { hook }
}

/// Whether a kernel has an LSM hook.
#[must_use]
pub fn has_lsm_hook(types: &KernelTypes, hook: &str) -> bool {
    types.has_function(&format!("bpf_lsm_{}", hook_itself(hook)))
}

/// The function that calls a hook, of the same arguments.
pub fn caller(types: &KernelTypes, hook: &str) -> Option<String> {
    let hook = hook_itself(hook);
    // `security_bprm_check` for `bprm_check_security`, `security_settime64` for `settime`.
    let short = hook.strip_suffix("_security").unwrap_or(hook);
    let names = [format!("security_{hook}"), format!("security_{short}"), format!("security_{hook}64")];
    names.into_iter().find(|name| types.has_function(name))
}

/// What programs of hooks may do about an act that a rule refuses, a [`refuses`](auditd_bpf_common::plan_rows::refuses).
const fn refuses(mode: Mode) -> u32 {
    match mode {
        Mode::Lsm => refuses::RETURNS,
        Mode::Observe => refuses::DECIDES,
        Mode::Syscall => refuses::NOTHING,
    }
}

/// The object with its LSM programs as programs at the start of functions: of what kind a program is stands in the name of its
/// section alone, and their arguments are the same. Names become no longer, and each stays its own.
fn traced(object: &[u8]) -> Vec<u8> {
    const FENTRY: &[u8] = b"fentry/";
    let mut object = object.to_vec();
    for start in LSM_NAMES {
        if let Some(name) = object.get_mut(*start..*start + FENTRY.len()) {
            name.copy_from_slice(FENTRY);
        }
    }
    object
}

/// An attached program. Dropping it detaches.
pub struct Attached {
    link: Link,
    program: OwnedFd,
    pin: Option<Pin>,
}

/// Keeps a program attached.
enum Link {
    Fd(FdLink),
    RawTracePoint { _link: RawTracePointLink },
}

impl Attached {
    const fn new(link: Link, program: OwnedFd) -> Self {
        Self { link, program, pin: None }
    }

    /// Pins the link, so that the program stays attached without this process. Raw tracepoints are none that can be pinned.
    ///
    /// # Errors
    /// If the kernel refuses; then the program is detached.
    pub fn pinned(self, path: PathBuf) -> Result<Self, PinError> {
        let Link::Fd(link) = self.link else { return Ok(self) };
        let link = link.pin(&path)?.into();
        Ok(Self { link: Link::Fd(link), pin: Some(Pin::new(path)), ..self })
    }

    /// Takes the pin away.
    pub fn unpin(&mut self) {
        self.pin = None;
    }

    /// Leaves the program attached, if it is pinned.
    pub fn leave(self) {
        self.pin.into_iter().for_each(Pin::leave);
    }

    /// How often the kernel left the program out; 0 where it does not tell.
    pub fn left_out(&self) -> u64 {
        times_left_out(self.program.as_fd()).unwrap_or(0)
    }
}

/// Gives free memory back to the system, which glibc by itself keeps: reading the kernel's types takes and frees some 40 MiB.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no arguments but a number; touches only the allocator's own state, under its locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The kernel's types, read if they are not.
fn loaded(btf: &mut Option<Btf>) -> Result<&Btf, ObjectError> {
    match btf {
        Some(read) => Ok(read),
        unread => Ok(unread.insert(Btf::parse(&btf::of_kernel()?, Endianness::default())?)),
    }
}

fn own(program: &ProgramFd) -> Result<OwnedFd, ProgramError> {
    Ok(program.as_fd().try_clone_to_owned()?)
}

fn named<'a, P>(ebpf: &'a mut Ebpf, program: &str, target: &str) -> Result<&'a mut P, ObjectError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let found = ebpf.program_mut(program).ok_or_else(|| ObjectError::Program {
        program: program.to_owned(),
        target: target.to_owned(),
        source: Box::new(ProgramError::IOError(std::io::Error::other("not in the object"))),
    })?;
    found.try_into().map_err(refused(program, target))
}

fn refused(program: &str, target: &str) -> impl FnOnce(ProgramError) -> ObjectError {
    let (program, target) = (program.to_owned(), target.to_owned());
    move |source| ObjectError::Program { program, target, source: Box::new(source) }
}
