//! The running kernel side: tables in force, programs attached where the rules need them, and nowhere else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use auditd_bpf_common::{counters, hooks, names};
use aya::maps::{MapData, MapError, PerCpuArray, RingBuf};
use rules::{Code, Diagnostic, Plan, Rule, Syscalls, plan, refusal};
use tables::{Arch, syscalls};

use super::btf::KernelTypes;
use super::object::{Attached, Object, ObjectError, Settings, caller, has_lsm_hook};
use super::pins::Pins;
use super::preemption::preempts;
use super::symbols::Symbols;
use super::tables::{Tables, TablesError};
use super::unpreempted::unpreempted;
use crate::identity::Identities;
use crate::mode::Mode;

/// What every 32-bit call goes through (`arch/x86/entry/syscall_32.c`). Attaching there costs every 32-bit call a little and
/// saves an attachment, some hundredths of a second, for each that a rule names.
const B32_CALLS: &str = "ia32_sys_call";
/// Up to so many 32-bit calls are attached to one by one: then others pay nothing.
const B32_APART: usize = 4;

const FILE_OPEN: &str = "file_open";
/// What opens by path go through before it, and where those that are refused end (`fs/namei.c`).
const MAY_OPEN: &str = "may_open";

/// Reloads often come in a row, and reading the kernel's types takes a tenth of a second.
const REST_AFTER: Duration = Duration::from_secs(5);

/// Why the kernel side does not run as the rules ask.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Loading or attaching.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Filling tables.
    #[error(transparent)]
    Tables(#[from] TablesError),
}

/// A place to attach to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    /// An LSM hook.
    Lsm(&'static str),
    /// The function that calls one.
    Caller(&'static str),
    /// A traced function that is treated as a hook.
    Function(&'static str),
    /// The return of one, for what its start alone does not show.
    Return(&'static str),
    /// One that serves for two hooks, `file_open` and `may_open`.
    Opens,
    /// The function behind a system call.
    Syscall(String),
    /// The same, of which the kernel's type information says nothing.
    Untyped(String),
    /// The function behind a system call that does not return.
    NoReturn(String),
    /// The start of the function that carries out an operation of io_uring.
    OperationStart(String),
    /// Its end.
    OperationEnd(String),
    /// What calls opened, in the place of hooks: before the end of every system call.
    Opened,
    /// The end of every system call.
    AllCalls,
}

/// Where the ends of system calls are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnds {
    /// At the function of each call that a rule names: other calls cost nothing.
    PerCall,
    /// At the tracepoint that all calls pass: none is missed on a kernel that preempts.
    AllCalls,
}

impl CallEnds {
    /// Runs what is in map commands of bpf(2), so that no end of a call is left out meanwhile.
    fn guarding<T>(self, act: impl FnOnce() -> T) -> T {
        match self {
            Self::PerCall => act(),
            Self::AllCalls => unpreempted(act),
        }
    }
}

/// Places that a plan needs, and calls for which this kernel has none.
type Places = (BTreeSet<Place>, Vec<(Arch, u16)>);

/// The kernel side. Dropping it detaches everything.
pub struct Engine {
    object: Object,
    tables: Tables,
    links: HashMap<Place, Attached>,
    mode: Mode,
    call_ends: CallEnds,
    symbols: Symbols,
    /// When rules came, until the engine [rests](Engine::rest).
    applied: Option<Instant>,
    /// Whether rules were ever in force.
    in_force: bool,
    /// [`Engine::times_left_out`] before that.
    left_out_before: u64,
    /// What was left out of programs that are no longer attached.
    left_out_gone: u64,
    /// Whether [`B32_CALLS`] may be tried.
    b32_together: bool,
    /// Of [`hooks::BY_RETURN`] what no program can be at the end of: 6.1 lets none attach to a function of seven arguments.
    probed: BTreeSet<&'static str>,
    events: RingBuf<MapData>,
    /// What the ring buffer can hold.
    ring_bytes: usize,
    counters: PerCpuArray<MapData, u64>,
    owner: u32,
    /// Where all that outlives a killed daemon is pinned. After the links, whose pins are in it.
    pins: Option<Pins>,
}

impl Engine {
    /// Loads the object; attaches nothing yet. `call_ends`: `None` for what suits this kernel. `pins`: `None` if a killed daemon is to
    /// leave nothing.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn load(settings: Settings, call_ends: Option<CallEnds>, pins: Option<Pins>) -> Result<Self, EngineError> {
        let mut object = Object::load(settings, pins.as_ref())?;
        let call_ends = match call_ends {
            _ if settings.mode == Mode::Syscall => CallEnds::AllCalls,
            Some(chosen) => chosen,
            None if preempts(&mut object)? => CallEnds::AllCalls,
            None => CallEnds::PerCall,
        };
        tracing::debug!("ends of system calls are seen {call_ends:?}");
        let tables = Tables::new(&mut object, settings.name_seed, settings.owner)?;
        let events = object.take(names::EVENTS)?;
        let counters = object.take(names::COUNTERS)?;
        Ok(Self {
            object,
            tables,
            links: HashMap::new(),
            mode: settings.mode,
            call_ends,
            symbols: Symbols::default(),
            applied: None,
            in_force: false,
            left_out_before: 0,
            left_out_gone: 0,
            b32_together: true,
            probed: BTreeSet::new(),
            events,
            ring_bytes: settings.ring_bytes as usize,
            counters,
            owner: settings.owner,
            pins,
        })
    }

    /// Puts a plan in force: attaches what it needs beyond what is attached, swaps the tables, detaches what it no longer
    /// needs. Returns the generation, and the calls that this kernel does not have or let trace.
    ///
    /// # Errors
    /// If the kernel refuses a program or a table; then the plan before stays in force.
    pub fn apply(&mut self, plan: &Plan, identities: &Identities) -> Result<(u32, Vec<(Arch, u16)>), EngineError> {
        let (places, missing) = self.attach_all(plan)?;
        let generation = self.in_tables(|tables| tables.install(plan, identities))?;
        let gone = self.links.extract_if(|place, _| !places.contains(place)).map(|(_, attached)| attached.left_out());
        self.left_out_gone += gone.sum::<u64>();
        self.applied = Some(Instant::now());
        if !self.in_force {
            self.in_force = true;
            self.left_out_before = self.times_left_out();
        }
        Ok((generation, missing))
    }

    /// What of the rules that refuse this kernel has no hook for: one diagnostic for each call.
    #[must_use]
    pub fn unrefusable(&self, plan: &Plan) -> Vec<Diagnostic> {
        let has_none = |rule: &Rule, call: &str| {
            refusal::hooks_of_call(rule, call).iter().all(|hook| self.own_hook(hook).is_empty())
        };
        let refusing = plan.rules.iter().filter(|planned| planned.refusal.is_some());
        let calls = refusing.flat_map(|planned| {
            let names =
                planned.syscalls.iter().filter_map(|(arch, number)| Some((syscalls::name(*arch, *number)?, number)));
            // A watch names whatever a kernel may have.
            let named = names.filter(|_| matches!(planned.rule.syscalls, Syscalls::Set(_)));
            let unrefusable: BTreeMap<_, _> = named.filter(|call| has_none(&planned.rule, call.0)).collect();
            unrefusable.into_iter().map(move |(name, number)| (planned, name, *number))
        });
        let told = calls.map(|(planned, name, number)| {
            let (rule, written) = (&planned.rule, &planned.rule.written);
            let message = format!("{} of {name}: this kernel has none of its hooks", rule.action.name());
            let error = Diagnostic::error(&written.line, written.syscall(number), Code::CannotDeny, message);
            error.hint(format!("they are {}; record it with always", refusal::hooks_of_call(rule, name).join(" ")))
        });
        told.collect()
    }

    /// The generation that the next plan gets.
    #[must_use]
    pub fn next_generation(&self) -> u32 {
        self.tables.next_generation()
    }

    /// Brings what is known of files up to date.
    ///
    /// # Errors
    /// If the kernel refuses a write.
    pub fn refresh(&mut self, identities: &Identities) -> Result<(), EngineError> {
        Ok(self.in_tables(|tables| tables.refresh(identities))?)
    }

    /// Gives back memory that only attaching needs, once no rules came for a while. To be called now and then.
    pub fn rest(&mut self) {
        if self.applied.is_some_and(|applied| applied.elapsed() > REST_AFTER) {
            self.applied = None;
            self.object.settle();
        }
    }

    /// Number of attached programs.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.links.len()
    }

    /// Takes the rules out of force. What is attached finds none from here on, and goes when the engine is dropped, which
    /// takes some hundredths of a second for each program.
    ///
    /// # Errors
    /// If the kernel refuses the write.
    pub fn withdraw(&mut self) -> Result<(), EngineError> {
        Ok(self.in_tables(Tables::withdraw)?)
    }

    /// Hands every waiting sample to `consume`, as long as that `goes_on`. Of those that come meanwhile no more than make up what the
    /// ring buffer holds: whoever makes events without end must not keep the daemon from all else.
    pub fn drain_while(&mut self, mut goes_on: impl FnMut() -> bool, mut consume: impl FnMut(&[u8])) {
        let mut left = self.ring_bytes;
        while left > 0
            && goes_on()
            && let Some(sample) = self.events.next()
        {
            left = left.saturating_sub(sample.len().max(1));
            consume(&sample);
        }
    }

    /// Readable when the kernel side wants to be drained at once.
    #[must_use]
    pub fn wakeup(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Counters by name, summed over CPUs.
    ///
    /// # Errors
    /// If the kernel refuses the read.
    pub fn counters(&self) -> Result<Vec<(u32, &'static str, u64)>, MapError> {
        let read = || {
            let each = counters::COUNTERS.iter();
            each.map(|(slot, name)| Ok((*slot, *name, self.counters.get(slot, 0)?.iter().sum()))).collect()
        };
        self.call_ends.guarding(read)
    }

    /// Attaches what a plan needs and is not attached yet. Some kernels (7.3) let nothing attach to the function that all
    /// 32-bit calls go through: then each is attached by itself.
    fn attach_all(&mut self, plan: &Plan) -> Result<Places, EngineError> {
        let (places, missing) = self.places(plan);
        for place in places.iter().filter(|place| !self.links.contains_key(place)).cloned().collect::<Vec<_>>() {
            match self.attach_pinned(&place) {
                Ok(link) => {
                    self.links.insert(place, link);
                }
                Err(error) if self.b32_together && place == Place::Syscall(B32_CALLS.to_owned()) => {
                    tracing::debug!("32-bit calls are attached to one by one: {error}");
                    self.b32_together = false;
                    return self.attach_all(plan);
                }
                Err(error) => {
                    let Place::Function(function) = place else { return Err(error.into()) };
                    if !hooks::BY_RETURN.contains(&function) || self.is_probed(function) {
                        return Err(error.into());
                    }
                    tracing::debug!("{function} is seen by probes: {error}");
                    self.probed.insert(function);
                    return self.attach_all(plan);
                }
            }
        }
        Ok((places, missing))
    }

    /// Attaches, and pins what was attached. Where that fails, nothing is pinned any more: half of it would be no use.
    fn attach_pinned(&mut self, place: &Place) -> Result<Attached, ObjectError> {
        let attached = self.attach(place)?;
        let Some(path) = self.pins.as_ref().and_then(Pins::next_link) else { return Ok(attached) };
        attached.pinned(path).or_else(|error| {
            tracing::warn!("rules will end with the daemon, should it be killed: cannot pin a program: {error}");
            self.unpin();
            self.attach(place)
        })
    }

    /// Whether what is attached stays so if the daemon is killed.
    #[must_use]
    pub const fn is_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// From here on nothing outlives the daemon.
    pub fn unpin(&mut self) {
        self.links.values_mut().for_each(Attached::unpin);
        self.pins = None;
    }

    /// Ends without detaching anything that is pinned: rules stay in force.
    pub fn leave(mut self) {
        self.links.drain().for_each(|(_, attached)| attached.leave());
        self.pins.take().into_iter().for_each(Pins::leave);
    }

    /// Whose tables are in force.
    #[must_use]
    pub const fn owner(&self) -> u32 {
        self.owner
    }

    /// How often the kernel left out a program that is attached now: calls whose end was not seen, each perhaps an event that
    /// is missing.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.times_left_out().saturating_sub(self.left_out_before)
    }

    /// Touches the tables, on a kernel that preempts without being preempted.
    fn in_tables<T>(&mut self, act: impl FnOnce(&mut Tables) -> T) -> T {
        self.call_ends.guarding(|| act(&mut self.tables))
    }

    fn times_left_out(&self) -> u64 {
        self.left_out_gone + self.links.values().map(Attached::left_out).sum::<u64>()
    }

    fn places(&self, plan: &Plan) -> Places {
        if self.mode == Mode::Syscall {
            let both = [Place::Opened, Place::AllCalls].into_iter().filter(|_| !plan.syscalls.is_empty());
            return (both.collect(), Vec::new());
        }
        let types = self.object.types();
        let mut places: BTreeSet<Place> = plan.hooks.iter().flat_map(|hook| self.hook(hook)).collect();
        places.extend(plan.refusing.iter().flat_map(|hook| self.own_hook(hook)));
        if self.call_ends == CallEnds::PerCall && !plan.opens_without_path() && !plan.refuses_in(FILE_OPEN) {
            let both = [Place::Lsm(FILE_OPEN), Place::Function(MAY_OPEN)];
            if both.iter().all(|place| places.contains(place)) {
                places.retain(|place| !both.contains(place));
                places.insert(Place::Opens);
            }
        }
        for (function, hook) in hooks::IN_PLACE_OF {
            if places.contains(&Place::Function(function)) && !plan.refuses_in(hook) {
                places.retain(|place| *place != Place::Lsm(hook) && *place != Place::Caller(hook));
            }
        }
        let by_return = hooks::BY_RETURN.iter().filter(|function| self.is_probed(function));
        let by_return: Vec<_> = by_return.filter(|function| places.contains(&Place::Function(function))).collect();
        places.extend(by_return.into_iter().map(|function| Place::Return(function)));
        let mut missing = Vec::new();
        // Those of a kernel that has no such operation come from no ring.
        for function in plan.operations.keys().filter_map(|number| operation_function(types, *number)) {
            places.extend([Place::OperationStart(function.clone()), Place::OperationEnd(function)]);
        }
        for (arch, number) in plan.syscalls.keys().filter(|(arch, number)| plan::never_returns(*arch, *number)) {
            let function = syscalls::kernel_symbols(*arch, *number).into_iter().find(|name| types.has_function(name));
            places.extend(function.map(Place::NoReturn));
        }
        if self.call_ends == CallEnds::AllCalls || plan.all_calls {
            places.extend((!plan.syscalls.is_empty()).then_some(Place::AllCalls));
            return (places, missing);
        }
        let b32 = plan.syscalls.keys().filter(|call| call.0 == Arch::B32).count();
        let b32_together = self.b32_together && b32 > B32_APART && types.has_function(B32_CALLS);
        if b32_together {
            places.insert(Place::Syscall(B32_CALLS.to_owned()));
        }
        let alone = |call: &&(Arch, u16)| call.0 != Arch::B32 || !b32_together;
        let returns = |call: &&(Arch, u16)| !plan::never_returns(call.0, call.1);
        for (arch, number) in plan.syscalls.keys().filter(alone).filter(returns) {
            let names = || syscalls::kernel_symbols(*arch, *number).into_iter();
            // The likeliest that this kernel has.
            let typed = names().find(|name| types.has_function(name)).map(Place::Syscall);
            let place = typed.or_else(|| names().find(|name| self.symbols.has(name)).map(Place::Untyped));
            if place.is_none() {
                missing.push((*arch, *number));
            }
            places.extend(place);
        }
        (places, missing)
    }

    /// Where a hook is on this kernel; nowhere if it has none of that name: then another hook of the same call serves.
    fn hook(&self, hook: &'static str) -> Vec<Place> {
        if self.mode == Mode::Syscall {
            return Vec::new();
        }
        let own = self.own_hook(hook);
        let is_function = own.is_empty() && self.object.types().has_function(hook);
        if is_function { vec![Place::Function(hook)] } else { own }
    }

    /// The same of one that is no function by itself: where it is, or what this kernel has in its place.
    fn own_hook(&self, hook: &'static str) -> Vec<Place> {
        let types = self.object.types();
        let place = |hook| match self.mode {
            Mode::Lsm => has_lsm_hook(types, hook).then_some(Place::Lsm(hook)),
            Mode::Observe => caller(types, hook).map(|_| Place::Caller(hook)),
            Mode::Syscall => None,
        };
        let own = place(hook).map(|place| vec![place]);
        own.unwrap_or_else(|| hooks::substitutes(hook).iter().copied().filter_map(place).collect())
    }

    fn attach(&mut self, place: &Place) -> Result<Attached, ObjectError> {
        match place {
            Place::Lsm(hook) => self.object.attach_lsm(hook),
            Place::Caller(hook) => self.object.attach_traced(hook),
            Place::Function(function) => self.attach_function(function),
            Place::Return(function) => self.object.attach_kprobe(&format!("kretprobe_{function}"), function),
            Place::Opens => self.object.attach_fexit(names::FEXIT_OPENS, MAY_OPEN),
            Place::Syscall(function) => self.object.attach_syscall(function),
            Place::Untyped(function) => self.object.attach_kprobe(names::KRETPROBE_SYSCALL, function),
            Place::NoReturn(function) => self.object.attach_fentry(names::FENTRY_EXIT, function),
            Place::OperationStart(function) => self.object.attach_fentry(names::FENTRY_OPERATION, function),
            Place::OperationEnd(function) => self.object.attach_fexit(names::FEXIT_OPERATION, function),
            Place::Opened => self.object.attach_raw_sys_exit(names::RAW_TP_OPENED),
            Place::AllCalls if self.mode == Mode::Syscall => self.object.attach_raw_sys_exit(names::RAW_TP_SYS_EXIT),
            Place::AllCalls => self.object.attach_all_calls(),
        }
    }

    /// Whether a function that sees objects is seen by probes, which are never left out.
    fn is_probed(&self, function: &str) -> bool {
        hooks::is_function(function) && self.call_ends == CallEnds::AllCalls || self.probed.contains(function)
    }

    fn attach_function(&mut self, function: &str) -> Result<Attached, ObjectError> {
        if self.is_probed(function) {
            self.object.attach_kprobe(&format!("kprobe_{function}"), function)
        } else if hooks::AT_START.contains(&function) {
            self.object.attach_fentry(&format!("fentry_{function}"), function)
        } else {
            self.object.attach_fexit(&format!("fexit_{function}"), function)
        }
    }
}

/// The function that carries out an operation of io_uring on this kernel.
fn operation_function(types: &KernelTypes, number: u16) -> Option<String> {
    tables::io_uring_functions(number.into()).into_iter().find(|function| types.has_function(function))
}
