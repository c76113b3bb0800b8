//! Calls on mounts, modules, clocks, keys, and what processes share, refused to one login uid.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::chroot;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module, init_module};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::pivot_root;

use super::attempt::{Attempt, answer, attempt, calls, plain, refused_to_one, refused_to_one_with};
use super::task;
use crate::harness::Case;
use crate::place::Place;
use crate::sys::{self, Arg, BpfObjects, c_path};

/// Lies in every guest, not loaded.
const MODULE: &str = "/guest/dummy.ko";
const PRIVATE: i64 = libc::IPC_PRIVATE as i64;
const REMOVE: i64 = libc::IPC_RMID as i64;
const NO_WAIT: i64 = libc::IPC_NOWAIT as i64;
const MODE: i64 = 0o600;
/// `msgbuf`: a type, and a text.
const MESSAGE: [u8; 16] = [1, 0, 0, 0, 0, 0, 0, 0, b'm', b'e', b's', b's', b'a', b'g', b'e', 0];
const TEXT: i64 = 8;
/// `struct sembuf`: the first semaphore, one up.
const UP: [u8; 6] = [0, 0, 1, 0, 0, 0];
/// keyctl(2)
const REVOKE: i64 = 3;
const DESCRIBE: i64 = 6;
const READ: i64 = 11;
const PROCESS_KEYRING: i64 = -2;
/// syslog(2): how large the buffer is.
const SIZE_BUFFER: i64 = 10;
/// quotactl(2): `Q_SYNC` of all file systems.
const SYNC_QUOTAS: i64 = 0x80_0001 << 8;

calls! {
    "mount", "mount", "sb_mount", |place| mounted(place, |at| {
        mount(Some("none"), at, Some("tmpfs"), MsFlags::empty(), None::<&str>)
    });
    "mount_bind", "mount", "sb_mount", |place| mounted(place, |at| {
        mount(Some("/proc"), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
    });
    "mount_anew", "mount", "sb_mount", |_| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOEXEC;
        mounts_change(|| mount(None::<&str>, "/proc", None::<&str>, flags, None::<&str>).map_err(Into::into))
    };
    "umount", "umount2", "sb_umount", |_| unmounted(|| Ok(umount("/proc")?));
    "umount_later", "umount2", "sb_umount", |_| unmounted(|| Ok(umount2("/proc", MntFlags::MNT_DETACH)?));
    "move_mount", "move_mount", "move_mount", |place| mounted(place, |at| {
        let (proc, nothing, at) = (c"/proc", c"", c_path(at).map_err(|_| Errno::EINVAL)?);
        // OPEN_TREE_CLONE; MOVE_MOUNT_F_EMPTY_PATH.
        let here = libc::AT_FDCWD.into();
        let tree = sys::call(libc::SYS_open_tree, &mut [Arg::Number(here), Arg::Text(proc), Arg::Number(1)]);
        let tree = tree.and_then(sys::owned).map_err(|error| errno(&error))?;
        let from = [Arg::Number(tree.as_raw_fd().into()), Arg::Text(nothing)];
        let mut arguments = from.into_iter().chain([Arg::Number(here), Arg::Text(&at), Arg::Number(4)]).collect::<Vec<_>>();
        sys::call(libc::SYS_move_mount, &mut arguments).map(drop).map_err(|error| errno(&error))
    });
    "pivot_root", "pivot_root", "sb_pivotroot", |place| {
        let (outer, inner) = (place.directory("outer")?, place.path("outer/inner"));
        unshare(CloneFlags::CLONE_NEWNS)?;
        for point in [&outer, &inner] {
            fs::create_dir_all(point)?;
            mount(Some("none"), point, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        }
        fs::create_dir(inner.join("old"))?;
        chroot(&outer)?;
        std::env::set_current_dir("/")?;
        attempt(pivot_root("inner", "inner/old"), Path::new("/old").exists())
    };
    "chroot", "chroot", "path_chroot", |place| {
        place.directory("jail")?;
        attempt(chroot(place.path("jail")), !Path::new("/proc").exists())
    };
    "quotactl", "quotactl", "quotactl", |_| answer(plain(libc::SYS_quotactl, [SYNC_QUOTAS, 0, 0, 0]));
    "init_module", "init_module", "kernel_load_data", |_| {
        let image = fs::read(MODULE).with_context(|| format!("cannot read {MODULE}"))?;
        loaded(|| init_module(&image, c"numdummies=0"))
    };
    "finit_module", "finit_module", "kernel_read_file", |_| {
        let file = File::open(MODULE).with_context(|| format!("cannot open {MODULE}"))?;
        loaded(|| finit_module(&file, c"numdummies=0", ModuleInitFlags::empty()))
    };
    "kexec_load", "kexec_load", "kernel_load_data", |_| answer(plain(libc::SYS_kexec_load, [0, 0, 0, 0]));
    "kexec_file_load", "kexec_file_load", "kernel_read_file", |_| {
        // No kernel is to be had here: that it is none is known to who may read it.
        let none = File::open(MODULE)?;
        match plain(libc::SYS_kexec_file_load, [none.as_raw_fd().into(), -1, 0, 0, 4]) {
            Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => answer(Ok::<_, io::Error>(())),
            result => answer(result),
        }
    };
    "bpf", "bpf", "bpf", |_| answer(sys::count_bpf(BpfObjects::Links));
    "perf_event_open", "perf_event_open", "perf_event_open", |_| {
        // `struct perf_event_attr` of the first version: a kind, its size, the event. The CPU's clock is 0 of the second kind.
        let mut attributes = [0; 64];
        (attributes[0], attributes[4]) = (1, 64);
        let numbers = [0, -1, -1, 0].map(Arg::Number);
        let mut arguments = [Arg::Bytes(&attributes)].into_iter().chain(numbers).collect::<Vec<_>>();
        answer(sys::call(libc::SYS_perf_event_open, &mut arguments).and_then(sys::owned))
    };
    "syslog", "syslog", "syslog", |_| answer(plain(libc::SYS_syslog, [SIZE_BUFFER, 0, 0]));
    "settimeofday", "settimeofday", "settime", |_| clock_set(|| {
        let mut now = [0; 16];
        sys::call(libc::SYS_gettimeofday, &mut [Arg::Room(&mut now), Arg::Number(0)])?;
        sys::call(libc::SYS_settimeofday, &mut [Arg::Bytes(&now), Arg::Number(0)])
    });
    "clock_settime", "clock_settime", "settime", |_| clock_set(|| {
        let mut now = [0; 16];
        sys::call(libc::SYS_clock_gettime, &mut [Arg::Number(0), Arg::Room(&mut now)])?;
        sys::call(libc::SYS_clock_settime, &mut [Arg::Number(0), Arg::Bytes(&now)])
    });
    "add_key", "add_key", "key_permission", |_| {
        let result = new_key();
        attempt(result, fs::read_to_string("/proc/keys")?.lines().any(|key| key.contains(&format!("{}:", key_name()))))
    };
    "keyctl_revoke", "keyctl", "key_permission", |_| {
        new_key()?;
        attempt(plain(libc::SYS_keyctl, [REVOKE, PROCESS_KEYRING]), new_key().is_err())
    };
    "keyctl_describe", "keyctl", "key_permission", |_| {
        let mut room = [0; 64];
        let key = Arg::Number(new_key()?);
        answer(sys::call(libc::SYS_keyctl, &mut [Arg::Number(DESCRIBE), key, Arg::Room(&mut room), Arg::Number(64)]))
    };
    "msgsnd", "msgsnd", "msg_queue_msgsnd", |_| {
        let queue = plain(libc::SYS_msgget, [PRIVATE, MODE])?;
        let result = send_to(queue);
        attempt(result, receive_from(queue).is_ok())
    };
    "msgctl", "msgctl", "msg_queue_msgctl", |_| {
        let queue = plain(libc::SYS_msgget, [PRIVATE, MODE])?;
        attempt(plain(libc::SYS_msgctl, [queue, REMOVE, 0]), send_to(queue).is_err())
    };
    "shmat", "shmat", "shm_shmat", |_| {
        let memory = plain(libc::SYS_shmget, [PRIVATE, 4096, MODE])?;
        let result = plain(libc::SYS_shmat, [memory, 0, 0]);
        attempt(result, fs::read_to_string("/proc/self/maps")?.contains("SYSV"))
    };
    "shmctl", "shmctl", "shm_shmctl", |_| {
        let memory = plain(libc::SYS_shmget, [PRIVATE, 4096, MODE])?;
        let result = plain(libc::SYS_shmctl, [memory, REMOVE, 0]);
        attempt(result, plain(libc::SYS_shmat, [memory, 0, 0]).is_err())
    };
    "semop", "semop", "sem_semop", |_| semaphore(|set| {
        sys::call(libc::SYS_semop, &mut [Arg::Number(set), Arg::Bytes(&UP), Arg::Number(1)])
    });
    "semtimedop", "semtimedop", "sem_semop", |_| semaphore(|set| {
        sys::call(libc::SYS_semtimedop, &mut [Arg::Number(set), Arg::Bytes(&UP), Arg::Number(1), Arg::Number(0)])
    });
    "semctl", "semctl", "sem_semctl", |_| {
        let set = plain(libc::SYS_semget, [PRIVATE, 1, MODE])?;
        let result = plain(libc::SYS_semctl, [set, 0, REMOVE, 0]);
        let up = sys::call(libc::SYS_semop, &mut [Arg::Number(set), Arg::Bytes(&UP), Arg::Number(1)]);
        attempt(result, up.is_err())
    };
}

/// Calls that fail with an errno of their own when they are refused.
pub const CHANGED: &[Case] = &[
    Case::new(
        "deny_unshare_of_users",
        "-a deny,exit -F arch=b64 -S unshare -F a0&0x10000000 -F auid={auid} -k {key}",
        |test| {
            refused_to_one(test, "unshare", "userns_create", |_| {
                let users = || fs::read_link("/proc/self/ns/user");
                let before = users()?;
                let result = unshare(CloneFlags::CLONE_NEWUSER);
                attempt(result, users()? != before)
            })?;
            test.child(|| unshare(CloneFlags::CLONE_NEWNS).context("a namespace of another kind"))?;
            test.silence("a namespace of another kind")
        },
    ),
    Case::new("deny_msgrcv", "-a deny,exit -F arch=b64 -S msgrcv -F auid={auid} -k {key}", |test| {
        // A message that the hook refuses is passed over, as one of another type.
        refused_to_one_with(test, "msgrcv", "msg_queue_msgrcv", Errno::ENOMSG, |_| {
            let queue = plain(libc::SYS_msgget, [PRIVATE, MODE])?;
            send_to(queue)?;
            let result = receive_from(queue);
            attempt(result, messages_in(queue)? == 0)
        })
        .map(drop)
    }),
    Case::new("deny_keyctl_of_a_key", "-a deny,exit -F arch=b64 -S keyctl -F auid={auid} -k {key}", |test| {
        // In keyrings that may not be searched it is not found, and then it is as a stranger's.
        refused_to_one_with(test, "keyctl", "key_permission", Errno::EACCES, |_| {
            let key = new_key()?;
            let result = plain(libc::SYS_keyctl, [REVOKE, key]);
            // A key that is revoked makes room for another of its name.
            attempt(result, new_key()? != key)
        })
        .map(drop)
    }),
    Case::new("deny_keyctl_to_read", "-a deny,exit -F arch=b64 -S keyctl -F auid={auid} -k {key}", |test| {
        refused_to_one_with(test, "keyctl", "key_permission", Errno::ENOKEY, |_| {
            new_key()?;
            let (mut room, keyring) = ([0; 64], Arg::Number(PROCESS_KEYRING));
            let arguments = &mut [Arg::Number(READ), keyring, Arg::Room(&mut room), Arg::Number(64)];
            let result = sys::call(libc::SYS_keyctl, arguments);
            attempt(result, room != [0; 64])
        })
        .map(drop)
    }),
    Case::new(
        "deny_process_vm_readv_with_an_errno",
        "-a deny,exit -F arch=b64 -S process_vm_readv -F errno=EACCES -F auid={auid} -k {key}",
        |test| refused_to_one(test, "process_vm_readv", "ptrace_access_check", task::read_memory).map(drop),
    ),
    Case::new(
        "deny_kcmp_with_an_errno",
        "-a deny,exit -F arch=b64 -S kcmp -F errno=EBUSY -F auid={auid} -k {key}",
        |test| refused_to_one(test, "kcmp", "ptrace_access_check", task::compare_memory).map(drop),
    ),
];

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

/// What is mounted where, in this process's namespace.
fn mounts_change(act: impl FnOnce() -> io::Result<()>) -> Result<Attempt> {
    let before = fs::read("/proc/self/mounts")?;
    let result = act();
    attempt(result, !fs::read("/proc/self/mounts").is_ok_and(|after| after == before))
}

fn mounted(place: &Place, mount: impl FnOnce(&Path) -> nix::Result<()>) -> Result<Attempt> {
    let point = place.directory("point")?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mounts_change(|| mount(&point).map_err(Into::into))
}

/// Unmounts something, in a namespace of this process's own.
pub(super) fn unmounted(umount: impl FnOnce() -> io::Result<()>) -> Result<Attempt> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mounts_change(umount)
}

/// Loads a module, and unloads it again.
fn loaded(load: impl FnOnce() -> nix::Result<()>) -> Result<Attempt> {
    let result = load();
    let is_loaded = Path::new("/sys/module/dummy").exists();
    if is_loaded {
        delete_module(c"dummy", DeleteModuleFlags::O_NONBLOCK).context("cannot unload dummy")?;
    }
    attempt(result, is_loaded)
}

/// Sets the clock to the time that it is, as a timer sees that is cancelled by it.
fn clock_set(set: impl FnOnce() -> io::Result<i64>) -> Result<Attempt> {
    // `struct itimerspec`: far away. TFD_TIMER_ABSTIME and TFD_TIMER_CANCEL_ON_SET.
    let far = [0, 0, i64::MAX >> 30, 0].map(i64::to_ne_bytes).concat();
    let timer = sys::owned(plain(libc::SYS_timerfd_create, [libc::CLOCK_REALTIME.into(), libc::O_NONBLOCK.into()])?)?;
    let number = Arg::Number(timer.as_raw_fd().into());
    sys::call(libc::SYS_timerfd_settime, &mut [number, Arg::Number(3), Arg::Bytes(&far), Arg::Number(0)])?;
    let result = set();
    let seen = nix::unistd::read(&timer, &mut [0; 8]);
    attempt(result, seen == Err(Errno::ECANCELED))
}

/// Of keys that other processes leave behind, none has it.
fn key_name() -> String {
    format!("deny-{}", std::process::id())
}

/// A key in this process's keyring, or the one that is there.
fn new_key() -> io::Result<i64> {
    let (kind, name) = (Arg::Text(c"user"), CString::new(key_name())?);
    let mut arguments = [kind, Arg::Text(&name), Arg::Bytes(b"secret"), Arg::Number(6), Arg::Number(PROCESS_KEYRING)];
    sys::call(libc::SYS_add_key, &mut arguments)
}

fn send_to(queue: i64) -> io::Result<i64> {
    let (message, flags) = (Arg::Bytes(&MESSAGE), Arg::Number(NO_WAIT));
    sys::call(libc::SYS_msgsnd, &mut [Arg::Number(queue), message, Arg::Number(TEXT), flags])
}

fn receive_from(queue: i64) -> io::Result<i64> {
    let (mut room, size, kind) = ([0; 16], Arg::Number(TEXT), Arg::Number(0));
    let arguments = &mut [Arg::Number(queue), Arg::Room(&mut room), size, kind, Arg::Number(NO_WAIT)];
    sys::call(libc::SYS_msgrcv, arguments)
}

/// How many messages wait (`msg_qnum` of `struct msqid64_ds`).
fn messages_in(queue: i64) -> io::Result<u8> {
    const COUNT: usize = 80;
    let mut status = [0; 128];
    let arguments = &mut [Arg::Number(queue), Arg::Number(libc::IPC_STAT.into()), Arg::Room(&mut status)];
    sys::call(libc::SYS_msgctl, arguments)?;
    Ok(status[COUNT])
}

fn semaphore(raise: impl FnOnce(i64) -> io::Result<i64>) -> Result<Attempt> {
    const VALUE: i64 = 12;
    let set = plain(libc::SYS_semget, [PRIVATE, 1, MODE])?;
    let result = raise(set);
    attempt(result, plain(libc::SYS_semctl, [set, 0, VALUE, 0])? == 1)
}
