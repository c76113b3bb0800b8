//! Which system calls make events that wake the daemon, in place of waiting until it looks.

/// By these a program becomes another one or somebody else, acts upon other processes, or changes the kernel: what whoever
/// answers to an attack wants to know first.
const AT_ONCE: &[&str] = &[
    "execve",
    "execveat",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setuid32",
    "setgid32",
    "setreuid32",
    "setregid32",
    "setresuid32",
    "setresgid32",
    "setfsuid32",
    "setfsgid32",
    "setgroups",
    "setgroups32",
    "capset",
    "kill",
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "pidfd_send_signal",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "bpf",
];

/// Whether the events of a call are told to the daemon at once.
#[must_use]
pub fn is_at_once(name: &str) -> bool {
    AT_ONCE.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, syscalls};

    #[test]
    fn every_name_is_a_system_call() {
        for name in AT_ONCE {
            assert!(Arch::ALL.iter().any(|arch| syscalls::number(*arch, name).is_some()), "{name}");
        }
        assert!(is_at_once("ptrace") && !is_at_once("openat"));
    }
}
