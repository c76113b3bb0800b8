//! Names of capabilities (`linux/capability.h`), as audit writes them: without `CAP_`, in small letters. The row is the bit.

const ROWS: &[&str] = &[
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Number of a capability to its name.
#[must_use]
pub fn capability_name(number: u32) -> Option<&'static str> {
    ROWS.get(usize::try_from(number).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of `linux/capability.h`.
    #[test]
    fn numbers_are_the_kernels() {
        for (number, name) in
            [(0, "chown"), (7, "setuid"), (21, "sys_admin"), (31, "setfcap"), (40, "checkpoint_restore")]
        {
            assert_eq!(capability_name(number), Some(name));
        }
        assert_eq!(capability_name(41), None);
    }
}
