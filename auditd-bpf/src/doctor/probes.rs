//! The probes themselves.

use std::fs;
use std::io;
use std::path::Path;

use auditd_bpf_common::hooks::{self, HOOKS};
use auditd_bpf_common::kernel_fields;
use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported};

use super::{Answer, Need, Probe, Refusal, Report};
use crate::explain::KernelFacts;
use crate::kernel::btf::{KERNEL_BTF, KernelTypes};
use crate::kernel::object::{Object, ObjectError, Settings, has_lsm_hook};
use crate::kernel::preemption::preempts;
use crate::kernel::process::Process;
use crate::mode::Mode;

/// The first probe: a failure has an exit status of its own.
pub(super) const ROOT: &str = "root";
const LSM_PROGRAM: &str = "LSM program";
const RESULT_PROGRAM: &str = "fexit program";
const TRACED_PROGRAM: &str = "fentry program";
const ALL_CALLS_PROGRAM: &str = "raw tracepoint";

/// The hook whose programs are tried.
const FIRST_HOOK: &str = "file_open";

/// Large enough to be granted; the daemon's own is made when the rules are loaded.
const PROBE_RING_BYTES: u32 = 256 << 10;

const SECURITY_FS: &str = "/sys/kernel/security";
const BPF_FS: &str = "/sys/fs/bpf";

const SANDBOX: &str = "run it on the host itself, outside of containers and sandboxes that filter the bpf system call";
const NEWER: &str = "boot a newer kernel: Linux 6.1 and later have all that is needed";
const REPORT_IT: &str = "report this kernel to the authors, with the output of `auditd-bpf doctor --json`";

macro_rules! list_paths {
    ($($name:ident = $path:literal;)+) => { &[$($path),+] };
}
/// The fields that the kernel side reads.
const FIELDS: &[&str] = kernel_fields!(list_paths);

/// Tries everything, or what the mode that is wanted needs. As root this loads programs, for a moment, and attaches none.
#[must_use]
pub fn probe(wanted: Option<Mode>) -> Report {
    let types = KernelTypes::of_kernel();
    let mut probes = vec![root(nix::unistd::geteuid().as_raw())];
    match &types {
        Ok(types) => probes.extend([
            Probe::yes("kernel types", KERNEL_BTF),
            fields(types),
            lsm_in_kernel(types).needed_for(Need::Lsm),
        ]),
        Err(error) => {
            let remedy = "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as the distributions' current ones are";
            probes.push(Probe::no("kernel types", error.to_string(), remedy));
        }
    }
    probes.push(lsm_list(read_security("lsm")).needed_for(Need::Lsm));
    let lockdown = lockdown(read_security("lockdown"));
    let locked_down = lockdown.answer == Answer::No;
    probes.push(lockdown);
    probes.extend(if nix::unistd::geteuid().is_root() { programs(locked_down, wanted) } else { no_programs() });
    probes.push(bpffs());
    let absent_hooks = types.as_ref().map(absent_hooks).unwrap_or_default();
    if types.is_ok() {
        let replaced = types.as_ref().map(replaced_hooks).unwrap_or_default();
        probes.push(hooks(&absent_hooks, &replaced));
    }
    Report { kernel: kernel_name(), wanted, probes, absent_hooks }
}

/// The one check that comes before anything is read.
///
/// # Errors
/// If this is not root.
pub fn require_root() -> Result<(), Refusal> {
    let probes = vec![root(nix::unistd::geteuid().as_raw())];
    Report { kernel: kernel_name(), wanted: Some(Mode::Syscall), probes, absent_hooks: Vec::new() }.require_root()
}

/// The mode as far as it can be told without trying: by the list of security modules.
#[must_use]
pub fn likely_mode() -> Mode {
    match lsm_list(read_security("lsm")).answer {
        Answer::No if Path::new(SECURITY_FS).join("lsm").exists() => Mode::Observe,
        _ => Mode::Lsm,
    }
}

fn root(uid: u32) -> Probe {
    if uid == 0 {
        return Probe::yes(ROOT, "");
    }
    Probe::no(ROOT, format!("running as uid {uid}"), "run it as root, for example with sudo")
}

fn fields(types: &KernelTypes) -> Probe {
    let missing: Vec<_> = FIELDS.iter().filter(|path| types.offset(path).is_err()).copied().collect();
    if missing.is_empty() {
        return Probe::yes("kernel fields", format!("all {} found", FIELDS.len()));
    }
    Probe::no("kernel fields", format!("not in this kernel: {}", missing.join(", ")), REPORT_IT)
}

fn lsm_in_kernel(types: &KernelTypes) -> Probe {
    if types.has_function("bpf_lsm_file_open") {
        return Probe::yes("BPF LSM", "built into the kernel");
    }
    Probe::no("BPF LSM", "not built into this kernel", "boot a kernel built with CONFIG_BPF_LSM=y")
}

fn read_security(file: &str) -> io::Result<String> {
    fs::read_to_string(Path::new(SECURITY_FS).join(file))
}

fn lsm_list(list: io::Result<String>) -> Probe {
    let name = "LSM list";
    match list {
        Ok(list) if list.trim().split(',').any(|lsm| lsm == "bpf") => Probe::yes(name, list.trim()),
        Ok(list) => {
            // `capability` is always there, and stands in no lsm= parameter.
            let others: Vec<_> = list.trim().split(',').filter(|lsm| !lsm.is_empty() && *lsm != "capability").collect();
            let wanted = [others.as_slice(), &["bpf"]].concat().join(",");
            let remedy = format!("add `lsm={wanted}` to the kernel's command line in the boot loader, and reboot");
            Probe::no(name, format!("bpf is not among {}", list.trim()), remedy)
        }
        Err(error) => {
            let remedy = format!("mount -t securityfs securityfs {SECURITY_FS}");
            Probe::no(name, format!("cannot read {SECURITY_FS}/lsm: {error}"), remedy)
        }
    }
}

fn lockdown(state: io::Result<String>) -> Probe {
    let state = state.unwrap_or_default();
    let level = state.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(level, _)| level);
    if level == Some("confidentiality") {
        let remedy =
            "boot without `lockdown=confidentiality`; `lockdown=integrity` lets BPF programs read what they must";
        return Probe::no("lockdown", "confidentiality: the kernel refuses BPF programs that read its memory", remedy);
    }
    Probe::yes("lockdown", level.unwrap_or("not in this kernel"))
}

const MAP_TYPES: [(&str, MapType, &str); 2] =
    [("ring buffer", MapType::RingBuf, "5.8"), ("task storage", MapType::TaskStorage, "5.11")];
const HELPERS: [(&str, BpfHelper, &str); 2] =
    [("bpf_task_pt_regs", BpfHelper::BPF_FUNC_task_pt_regs, "5.15"), ("bpf_loop", BpfHelper::BPF_FUNC_loop, "5.17")];
const OBJECT: [(&str, Need); 5] = [
    ("maps", Need::Required),
    (LSM_PROGRAM, Need::Lsm),
    (RESULT_PROGRAM, Need::Tracing),
    (TRACED_PROGRAM, Need::Observe),
    (ALL_CALLS_PROGRAM, Need::Syscall),
];

/// What only root may try, where this is not root.
fn no_programs() -> Vec<Probe> {
    let names = MAP_TYPES.iter().map(|map| map.0).chain(HELPERS.iter().map(|helper| helper.0));
    let first = names.map(|name| Probe::not_tried(name, "only root may"));
    first.chain(object_not_tried("only root may")).collect()
}

fn object_not_tried(because: &str) -> impl Iterator<Item = Probe> {
    OBJECT.into_iter().map(move |(name, need)| Probe::not_tried(name, because).needed_for(need))
}

/// What only root may try.
fn programs(locked_down: bool, wanted: Option<Mode>) -> Vec<Probe> {
    let maps = MAP_TYPES.map(|(name, kind, since)| map_type(name, kind, since));
    let helpers = HELPERS.map(|(name, helper, since)| helper_function(name, helper, since));
    let mut probes: Vec<Probe> = maps.into_iter().chain(helpers).collect();
    // What is missing already would only fail again, in less telling words.
    let missing =
        probes.iter().find(|probe| probe.answer == Answer::No).map(|probe| format!("{} is missing", probe.name));
    match missing.or_else(|| locked_down.then(|| "lockdown forbids it".to_owned())) {
        Some(because) => probes.extend(object_not_tried(&because)),
        None => probes.extend(object(wanted)),
    }
    probes
}

fn map_type(name: &'static str, kind: MapType, since: &str) -> Probe {
    match is_map_supported(kind) {
        Ok(true) => Probe::yes(name, ""),
        Ok(false) => Probe::no(name, format!("the kernel has no such map type (Linux {since} brought it)"), NEWER),
        Err(error) => Probe::no(name, with_causes(&error), SANDBOX),
    }
}

/// Tried in a kprobe program, as LSM programs cannot be made without a hook: what matters is whether the kernel has it.
fn helper_function(name: &'static str, helper: BpfHelper, since: &str) -> Probe {
    match is_helper_supported(ProgramType::KProbe, helper) {
        Ok(true) => Probe::yes(name, ""),
        Ok(false) => Probe::no(name, format!("the kernel has no such helper (Linux {since} brought it)"), NEWER),
        Err(error) => Probe::no(name, with_causes(&error), SANDBOX),
    }
}

/// Creates the daemon's own maps, and loads one program of each kind.
fn object(wanted: Option<Mode>) -> Vec<Probe> {
    let load = |mode| {
        let settings = Settings {
            daemon: Process { pid: std::process::id(), started: 0 },
            keeper: None,
            owner: 1,
            name_seed: 0,
            ring_bytes: PROBE_RING_BYTES,
            mode,
        };
        Object::load(settings, None)
    };
    let mut object = match load(Mode::Lsm) {
        Ok(object) => object,
        Err(error) => {
            let others = object_not_tried("maps are missing").skip(1);
            return [Probe::no("maps", with_causes(&error), SANDBOX)].into_iter().chain(others).collect();
        }
    };
    let tracing =
        "boot a kernel built with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y, outside of sandboxes that filter bpf";
    let mut try_program =
        |name, need: Need, remedy: &str, load: &mut dyn FnMut(&mut Object) -> Result<(), ObjectError>| {
            let probe = match wanted {
                Some(mode) if !need.is_of(mode) => {
                    Probe::not_tried(name, &format!("the configuration asks for mode {}", mode.name()))
                }
                _ => program(name, load(&mut object), remedy),
            };
            probe.needed_for(need)
        };
    let lsm = try_program(LSM_PROGRAM, Need::Lsm, SANDBOX, &mut |object| object.try_lsm(FIRST_HOOK));
    let result =
        try_program(RESULT_PROGRAM, Need::Tracing, tracing, &mut |object| object.try_fexit("__x64_sys_openat"));
    let raw = try_program(ALL_CALLS_PROGRAM, Need::Syscall, SANDBOX, &mut Object::try_all_calls);
    // Tried where it matters.
    let traced = if lsm.answer == Answer::Yes && likely_mode() == Mode::Lsm && wanted.is_none() {
        Probe::not_tried(TRACED_PROGRAM, "LSM programs serve").needed_for(Need::Observe)
    } else {
        try_program(TRACED_PROGRAM, Need::Observe, tracing, &mut |_| load(Mode::Observe)?.try_traced(FIRST_HOOK))
    };
    vec![Probe::yes("maps", ""), lsm, result, traced, raw, call_ends(preempts(&mut object))]
}

/// Where the ends of system calls will be seen, unless the configuration says otherwise.
fn call_ends(preempts: Result<bool, ObjectError>) -> Probe {
    let probe = match preempts {
        Ok(false) => Probe::yes("call ends", "seen at each call that a rule names"),
        Ok(true) => {
            let detail =
                "seen at the tracepoint of all calls, as the kernel preempts: every call of the system pays a little";
            Probe::yes("call ends", detail)
        }
        Err(error) => Probe::no("call ends", error.to_string(), SANDBOX),
    };
    probe.needed_for(Need::Optional)
}

fn program(name: &'static str, loaded: Result<(), ObjectError>, remedy: &str) -> Probe {
    match loaded {
        Ok(()) => Probe::yes(name, ""),
        // A log of the verifier: the kernel took the program for what it is and refused what it does.
        Err(error) if error.to_string().contains('\n') => Probe::no(name, error.to_string(), REPORT_IT),
        Err(error) => Probe::no(name, error.to_string(), remedy),
    }
}

fn bpffs() -> Probe {
    let is_bpf =
        nix::sys::statfs::statfs(BPF_FS).is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::BPF_FS_MAGIC);
    let found = if is_bpf {
        Probe::yes("bpffs", BPF_FS)
    } else {
        let remedy = format!("mount -t bpf bpf {BPF_FS}");
        Probe::no("bpffs", format!("not mounted on {BPF_FS}: nothing can outlive the daemon"), remedy)
    };
    found.needed_for(Need::Optional)
}

impl KernelFacts for KernelTypes {
    fn has_hook(&self, hook: &str) -> bool {
        if hooks::is_function(hook) {
            return self.has_function(hook);
        }
        has_lsm_hook(self, hook) || hooks::substitutes(hook).iter().any(|other| has_lsm_hook(self, other))
    }
}

/// Hooks that others take the place of in this kernel.
fn replaced_hooks(types: &KernelTypes) -> Vec<&'static str> {
    let hooks = hooks::SUBSTITUTES.iter().map(|row| row.0);
    hooks.filter(|hook| !has_lsm_hook(types, hook) && types.has_hook(hook)).collect()
}

fn absent_hooks(types: &KernelTypes) -> Vec<&'static str> {
    HOOKS.iter().map(|row| row.1).filter(|hook| !types.has_hook(hook)).collect()
}

fn hooks(absent: &[&str], replaced: &[&str]) -> Probe {
    let mut found = format!("{} of {}", HOOKS.len() - absent.len(), HOOKS.len());
    if !replaced.is_empty() {
        found = format!("{found}, of which inode hooks take the place of {}", replaced.join(", "));
    }
    if absent.is_empty() {
        return Probe::yes("hooks", found).needed_for(Need::Optional);
    }
    let remedy = "nothing, unless `auditd-bpf explain` names a rule that needs one of them: then boot a newer kernel";
    Probe::no("hooks", format!("{found}; not in this kernel: {}", absent.join(", ")), remedy).needed_for(Need::Optional)
}

fn kernel_name() -> String {
    match nix::sys::utsname::uname() {
        Ok(name) => [name.sysname(), name.release(), name.machine()].map(|part| part.to_string_lossy()).join(" "),
        Err(_) => "unknown kernel".to_owned(),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some errors print their cause themselves.
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpf_is_added_to_the_list_that_is_there() {
        let probe = lsm_list(Ok("lockdown,capability,yama,apparmor\n".to_owned()));
        assert_eq!(probe.answer, Answer::No);
        assert!(probe.remedy.unwrap().contains("`lsm=lockdown,yama,apparmor,bpf`"));
        assert_eq!(lsm_list(Ok("lockdown,bpf".to_owned())).answer, Answer::Yes);
        // Only as a whole word.
        assert_eq!(lsm_list(Ok("bpf2".to_owned())).answer, Answer::No);
        assert!(lsm_list(Ok(String::new())).remedy.unwrap().contains("`lsm=bpf`"));
        let unmounted = lsm_list(Err(io::ErrorKind::NotFound.into()));
        assert_eq!(unmounted.remedy.as_deref(), Some("mount -t securityfs securityfs /sys/kernel/security"));
    }

    #[test]
    fn only_confidentiality_forbids_reading() {
        let answer = |state: &str| lockdown(Ok(state.to_owned())).answer;
        assert_eq!(answer("[none] integrity confidentiality\n"), Answer::Yes);
        assert_eq!(answer("none [integrity] confidentiality\n"), Answer::Yes);
        assert_eq!(answer("none integrity [confidentiality]\n"), Answer::No);
        assert_eq!(lockdown(Err(io::ErrorKind::NotFound.into())).answer, Answer::Yes);
    }

    #[test]
    fn without_root_nothing_is_loaded() {
        let probes = no_programs();
        assert_eq!(probes.len(), 9);
        assert!(probes.iter().all(|probe| probe.answer == Answer::NotTried));
        assert_eq!(root(1000).detail, "running as uid 1000");
    }

    #[test]
    fn absent_hooks_are_named_and_are_no_obstacle() {
        let probe = hooks(&["file_truncate"], &[]);
        assert!(probe.detail.ends_with("not in this kernel: file_truncate"), "{}", probe.detail);
        assert_eq!(probe.need, crate::doctor::Need::Optional);
        let probe = hooks(&[], &["path_unlink", "path_rmdir"]);
        assert!(probe.detail.ends_with("take the place of path_unlink, path_rmdir"), "{}", probe.detail);
        assert_eq!(probe.answer, Answer::Yes);
    }
}
