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

/// Names of all, by number.
#[must_use]
pub const fn capability_names() -> &'static [&'static str] {
    ROWS
}

/// Number of a capability by its name, with or without `cap_`, in any case.
#[must_use]
pub fn capability_number(name: &str) -> Option<u32> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("cap_").unwrap_or(&name);
    ROWS.iter().position(|row| *row == name).and_then(|number| u32::try_from(number).ok())
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
            assert_eq!(capability_number(name), Some(number));
        }
        assert_eq!(capability_name(41), None);
        assert_eq!(capability_number("CAP_SYS_ADMIN"), Some(21));
        assert_eq!(capability_number("cap_"), None);
    }
}
