//! Acts upon tasks, identities, mounts, clocks, modules and the rest of the machine.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module, init_module};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Gid, Pid, Uid, getpid, setgid, setgroups, setpgid, setresgid, setresuid, setuid};

use super::acts::{as_user, either, fails, in_child};
use crate::child::{self, Child};
use crate::compliance::case::Case;
use crate::place::Place;
use crate::sys::{self, Arg};

macro_rules! calls {
    ($names:literal) => {
        concat!("-a always,exit -F arch=b64 -S ", $names, " -F auid={auid} -k {key}")
    };
}

/// Lies in every guest, not loaded.
const MODULE: &str = "/guest/dummy.ko";

pub const CASES: &[Case] = &[
    Case::new("kill", calls!("kill"), kills),
    Case::new("kill_thread", calls!("tkill,tgkill,rt_sigqueueinfo,pidfd_send_signal"), thread_kills),
    Case::new("kill_by_signal", "-a always,exit -F arch=b64 -S kill -F a1=9 -F auid={auid} -k {key}", kills),
    Case::new("ptrace", calls!("ptrace,process_vm_readv"), traces),
    Case::new(
        "identity",
        calls!("setuid,setgid,setreuid,setregid,setresuid,setresgid,setfsuid,setfsgid,setgroups"),
        identity,
    ),
    Case::new(
        "identity_refused",
        "-a always,exit -F arch=b64 -S setuid,setresuid,setgid -F exit=-EPERM -F auid={auid} -k {key}",
        identity,
    ),
    Case::new("capset", calls!("capset,capget,prctl"), capabilities),
    Case::new("mount", calls!("mount,umount2"), mounts).prepared(mount_point),
    Case::new("namespaces", calls!("unshare,setns"), namespaces),
    Case::new("modules", calls!("init_module,finit_module,delete_module"), modules),
    Case::new("time", calls!("adjtimex,clock_adjtime,settimeofday,clock_settime"), time),
    Case::new("host_name", calls!("sethostname,setdomainname"), host_name),
    Case::new(
        "priorities",
        calls!("setpriority,getpriority,sched_setaffinity,sched_setscheduler,setrlimit,prlimit64"),
        priorities,
    ),
    Case::new("ids_of_tasks", calls!("getpid,getppid,getuid,gettid,getpgid,setpgid,setsid"), ids),
    Case::new(
        "refused_of_the_machine",
        calls!("reboot,swapon,swapoff,acct,quotactl,kexec_load,pivot_root,iopl,ioperm,syslog"),
        refused,
    )
    .prepared(mount_point),
    Case::new("bpf_and_perf", calls!("bpf,perf_event_open,userfaultfd,memfd_create,seccomp"), refused)
        .prepared(mount_point),
    Case::new("keys", calls!("add_key,keyctl,request_key"), keys),
    Case::new("sysv_ipc", calls!("shmget,shmctl,semget,semctl,msgget,msgctl,msgsnd"), ipc),
    Case::new(
        "message_queues",
        calls!("mq_open,mq_unlink,mq_timedsend,mq_timedreceive,mq_notify,mq_getsetattr"),
        queues,
    ),
    Case::new("by_number", calls!("39,102"), ids),
    Case::new("every_call_of_a_task", "-a always,exit -F arch=b64 -S all -F auid={auid} -k {key}", few_calls),
    Case::new(
        "every_call_that_failed",
        "-a always,exit -F arch=b64 -S all -F success=0 -F auid={auid} -k {key}",
        few_calls,
    ),
    Case::new("personality", "-a always,exit -F arch=b64 -S getppid -F pers=8 -F auid={auid} -k {key}", personalities),
    Case::new(
        "personality_bit",
        "-a always,exit -F arch=b64 -S getppid -F pers&262144 -F auid={auid} -k {key}",
        personalities,
    ),
    Case::new("personality_call", calls!("personality"), personalities),
];

fn mount_point(place: &Place) -> Result<()> {
    place.directory("point").map(drop)
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}

/// A child that waits to be killed, in a process group.
fn victim(group: Pid) -> Result<Child> {
    let victim = child::start(move || {
        setpgid(Pid::from_raw(0), group)?;
        std::fs::write("/proc/self/comm", "victim")?;
        nix::unistd::pause();
        Ok(())
    })?;
    let comm = format!("/proc/{}/comm", victim.pid());
    crate::daemon::wait_for("the victim", Duration::from_secs(10), || {
        Ok((std::fs::read_to_string(&comm)?.trim() == "victim").then_some(()))
    })?;
    Ok(victim)
}

fn kills(_: &Place) -> Result<()> {
    let one = victim(Pid::from_raw(0))?;
    kill(raw(one.pid()), None)?;
    kill(raw(one.pid()), Signal::SIGKILL)?;
    one.wait_killed()?;
    let leader = victim(Pid::from_raw(0))?;
    let member = victim(raw(leader.pid()))?;
    killpg(raw(leader.pid()), Signal::SIGKILL)?;
    leader.wait_killed()?;
    member.wait_killed()?;
    ensure!(kill(Pid::from_raw(i32::MAX), Signal::SIGTERM) == Err(Errno::ESRCH), "somebody is there");
    let me = getpid();
    as_user(|| {
        ensure!(kill(Pid::from_raw(1), None) == Err(Errno::EPERM), "an ordinary user may signal init");
        ensure!(kill(me, Signal::SIGTERM) == Err(Errno::EPERM), "an ordinary user may signal root's process");
        Ok(())
    })
}

fn thread_kills(_: &Place) -> Result<()> {
    let one = victim(Pid::from_raw(0))?;
    let pid = || Arg::Number(one.pid().into());
    sys::call(libc::SYS_tkill, &mut [pid(), Arg::Number(0)])?;
    sys::call(libc::SYS_tgkill, &mut [pid(), pid(), Arg::Number(0)])?;
    let handle = sys::call(libc::SYS_pidfd_open, &mut [pid(), Arg::Number(0)])?;
    let kill = Arg::Number(libc::SIGKILL.into());
    sys::call(libc::SYS_pidfd_send_signal, &mut [Arg::Number(handle), kill, Arg::Number(0), Arg::Number(0)])?;
    one.wait_killed()?;
    fails(libc::ESRCH, sys::call(libc::SYS_tkill, &mut [Arg::Number(i32::MAX.into()), Arg::Number(0)]))
}

fn traces(_: &Place) -> Result<()> {
    let one = victim(Pid::from_raw(0))?;
    let pid = raw(one.pid());
    ptrace::seize(pid, Options::empty())?;
    ensure!(ptrace::seize(Pid::from_raw(i32::MAX), Options::empty()) == Err(Errno::ESRCH), "somebody is there");
    as_user(|| {
        ensure!(ptrace::seize(pid, Options::empty()).is_err(), "an ordinary user may trace root's process");
        Ok(())
    })?;
    kill(pid, Signal::SIGKILL)?;
    one.wait_killed()
}

fn identity(_: &Place) -> Result<()> {
    let (root, user) = (Uid::from_raw(0), Uid::from_raw(1000));
    let number = |number: i64| Arg::Number(number);
    in_child(|| {
        setgid(Gid::from_raw(4))?;
        setgroups(&[Gid::from_raw(4), Gid::from_raw(5)])?;
        setresgid(Gid::from_raw(4), Gid::from_raw(1000), Gid::from_raw(5))?;
        sys::call(libc::SYS_setregid, &mut [number(1000), number(1000)])?;
        sys::call(libc::SYS_setfsgid, &mut [number(6)])?;
        sys::call(libc::SYS_setfsuid, &mut [number(1000)])?;
        setresuid(root, user, root)?;
        sys::call(libc::SYS_setreuid, &mut [number(1000), number(0)])?;
        setresuid(user, user, user)?;
        ensure!(setuid(root) == Err(Errno::EPERM), "an ordinary user became root");
        ensure!(setgid(Gid::from_raw(0)) == Err(Errno::EPERM), "an ordinary user entered a group");
        setuid(user)?;
        Ok(())
    })
}

fn capabilities(_: &Place) -> Result<()> {
    // struct __user_cap_header_struct, version 3, this process; two struct __user_cap_data_struct.
    let mut header = [0; 8];
    header[..4].copy_from_slice(&0x2008_0522_u32.to_ne_bytes());
    let mut data = [0; 24];
    in_child(move || {
        sys::call(libc::SYS_capget, &mut [Arg::Room(&mut header), Arg::Room(&mut data)])?;
        // Without CAP_CHOWN.
        data[0] &= !1;
        sys::call(libc::SYS_capset, &mut [Arg::Bytes(&header), Arg::Bytes(&data)])?;
        // Neither for another process.
        header[4] = 1;
        fails(libc::EPERM, sys::call(libc::SYS_capset, &mut [Arg::Bytes(&header), Arg::Bytes(&data)]))?;
        sys::call(libc::SYS_prctl, &mut [Arg::Number(libc::PR_GET_DUMPABLE.into())])?;
        Ok(())
    })
}

fn mounts(place: &Place) -> Result<()> {
    let point = place.path("point");
    mount(Some("none"), &point, Some("tmpfs"), MsFlags::empty(), Some("size=1m"))?;
    mount(None::<&str>, &point, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None::<&str>)?;
    umount(&point)?;
    mount(Some(&place.dir), &point, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    umount2(&point, MntFlags::MNT_DETACH)?;
    fails(libc::EINVAL, umount(&point).map_err(Into::into))?;
    fails(
        libc::ENOENT,
        mount(Some("none"), &place.path("absent"), Some("tmpfs"), MsFlags::empty(), None::<&str>).map_err(Into::into),
    )?;
    fails(
        libc::ENODEV,
        mount(Some("none"), &point, Some("nosuchfs"), MsFlags::empty(), None::<&str>).map_err(Into::into),
    )?;
    as_user(|| fails(libc::EPERM, umount(&point).map_err(Into::into)))
}

fn namespaces(_: &Place) -> Result<()> {
    in_child(|| {
        let before = File::open("/proc/self/ns/uts")?;
        unshare(CloneFlags::CLONE_NEWUTS)?;
        nix::sched::setns(&before, CloneFlags::CLONE_NEWUTS)?;
        fails(libc::EINVAL, unshare(CloneFlags::from_bits_retain(1)).map_err(Into::into))
    })?;
    as_user(|| fails(libc::EPERM, unshare(CloneFlags::CLONE_NEWUTS).map_err(Into::into)))
}

fn modules(_: &Place) -> Result<()> {
    let file = File::open(MODULE).with_context(|| format!("cannot open {MODULE}"))?;
    finit_module(&file, c"numdummies=0", ModuleInitFlags::empty())?;
    delete_module(c"dummy", DeleteModuleFlags::O_NONBLOCK)?;
    init_module(&std::fs::read(MODULE)?, c"numdummies=0")?;
    delete_module(c"dummy", DeleteModuleFlags::O_NONBLOCK)?;
    fails(libc::ENOENT, delete_module(c"dummy", DeleteModuleFlags::O_NONBLOCK).map_err(Into::into))?;
    fails(libc::ENOEXEC, init_module(b"no module", c"").map_err(Into::into))?;
    as_user(|| fails(libc::EPERM, delete_module(c"dummy", DeleteModuleFlags::O_NONBLOCK).map_err(Into::into)))
}

fn time(_: &Place) -> Result<()> {
    // struct timex, all 0: only asks.
    let mut timex = [0; 208];
    sys::call(libc::SYS_adjtimex, &mut [Arg::Room(&mut timex)])?;
    let zero = || Arg::Number(0);
    sys::call(libc::SYS_clock_adjtime, &mut [zero(), Arg::Room(&mut timex)])?;
    // ADJ_TICK with the tick that there is: nothing changes.
    timex[..4].copy_from_slice(&0x4000_u32.to_ne_bytes());
    sys::call(libc::SYS_adjtimex, &mut [Arg::Room(&mut timex)])?;
    // ADJ_FREQUENCY and ADJ_TICK, there and back.
    for (frequency, tick) in [(65536_i64, 10_001_i64), (0, 10_000)] {
        timex[..4].copy_from_slice(&0x4002_u32.to_ne_bytes());
        timex[16..24].copy_from_slice(&frequency.to_ne_bytes());
        timex[88..96].copy_from_slice(&tick.to_ne_bytes());
        sys::call(libc::SYS_adjtimex, &mut [Arg::Room(&mut timex)])?;
    }
    // ADJ_SETOFFSET, with and without ADJ_NANO: 2 us later.
    for (modes, offset) in [(0x2100_u32, 2_000_i64), (0x100, 2)] {
        timex[..4].copy_from_slice(&modes.to_ne_bytes());
        timex[72..80].fill(0);
        timex[80..88].copy_from_slice(&offset.to_ne_bytes());
        sys::call(libc::SYS_clock_adjtime, &mut [zero(), Arg::Room(&mut timex)])?;
    }
    let mut now = [0; 16];
    sys::call(libc::SYS_clock_gettime, &mut [zero(), Arg::Room(&mut now)])?;
    sys::call(libc::SYS_clock_settime, &mut [zero(), Arg::Bytes(&now)])?;
    sys::call(libc::SYS_gettimeofday, &mut [Arg::Room(&mut now), zero()])?;
    sys::call(libc::SYS_settimeofday, &mut [Arg::Bytes(&now), zero()])?;
    as_user(|| {
        fails(libc::EPERM, sys::call(libc::SYS_clock_settime, &mut [Arg::Number(0), Arg::Bytes(&now)]))?;
        fails(libc::EPERM, sys::call(libc::SYS_settimeofday, &mut [Arg::Bytes(&now), Arg::Number(0)]))
    })
}

fn host_name(_: &Place) -> Result<()> {
    for number in [libc::SYS_sethostname, libc::SYS_setdomainname] {
        sys::call(number, &mut [Arg::Bytes(b"guest"), Arg::Number(5)])?;
        fails(libc::EINVAL, sys::call(number, &mut [Arg::Bytes(b"guest"), Arg::Number(-1)]))?;
    }
    as_user(|| fails(libc::EPERM, sys::call(libc::SYS_sethostname, &mut [Arg::Bytes(b"guest"), Arg::Number(5)])))
}

fn priorities(_: &Place) -> Result<()> {
    let numbers = |numbers: [i64; 3]| numbers.map(Arg::Number);
    in_child(|| {
        sys::call(libc::SYS_setpriority, &mut numbers([0, 0, 5]))?;
        sys::call(libc::SYS_getpriority, &mut numbers([0, 0, 0]))?;
        sys::call(
            libc::SYS_sched_setaffinity,
            &mut [Arg::Number(0), Arg::Number(8), Arg::Bytes(&[3, 0, 0, 0, 0, 0, 0, 0])],
        )?;
        fails(
            libc::EINVAL,
            sys::call(libc::SYS_sched_setscheduler, &mut [Arg::Number(0), Arg::Number(99), Arg::Bytes(&[0; 4])]),
        )?;
        fails(libc::ESRCH, sys::call(libc::SYS_setpriority, &mut numbers([0, i32::MAX.into(), 5])))
    })
}

fn ids(_: &Place) -> Result<()> {
    let calls = [libc::SYS_getpid, libc::SYS_getppid, libc::SYS_getuid, libc::SYS_gettid];
    in_child(|| {
        for number in calls {
            sys::call(number, &mut [])?;
        }
        sys::call(libc::SYS_getpgid, &mut [Arg::Number(0)])?;
        sys::call(libc::SYS_setsid, &mut [])?;
        fails(libc::EPERM, sys::call(libc::SYS_setsid, &mut []))?;
        fails(libc::ESRCH, sys::call(libc::SYS_getpgid, &mut [Arg::Number(i32::MAX.into())]))
    })
}

/// What an ordinary user may not do, and what nothing comes of.
fn refused(place: &Place) -> Result<()> {
    let point = sys::c_path(&place.path("point"))?;
    let zeros = || [0; 4].map(Arg::Number);
    as_user(|| {
        fails(libc::EPERM, sys::call(libc::SYS_reboot, &mut zeros()))?;
        fails(libc::EPERM, sys::call(libc::SYS_swapon, &mut [Arg::Text(&point), Arg::Number(0)]))?;
        fails(libc::EPERM, sys::call(libc::SYS_swapoff, &mut [Arg::Text(&point)]))?;
        fails(libc::EPERM, sys::call(libc::SYS_acct, &mut [Arg::Text(&point)]))?;
        fails(libc::EPERM, sys::call(libc::SYS_kexec_load, &mut zeros()))?;
        fails(libc::EPERM, sys::call(libc::SYS_pivot_root, &mut [Arg::Text(&point), Arg::Text(&point)]))?;
        fails(libc::EPERM, sys::call(libc::SYS_iopl, &mut [Arg::Number(3)]))?;
        fails(libc::EPERM, sys::call(libc::SYS_ioperm, &mut [Arg::Number(0), Arg::Number(1), Arg::Number(1)]))?;
        either(sys::call(libc::SYS_syslog, &mut [Arg::Number(10), Arg::Number(0), Arg::Number(0)]));
        either(sys::call(libc::SYS_quotactl, &mut zeros()));
        either(sys::call(libc::SYS_bpf, &mut zeros()));
        either(sys::call(libc::SYS_perf_event_open, &mut zeros()));
        either(sys::call(libc::SYS_userfaultfd, &mut zeros()));
        either(sys::call(libc::SYS_seccomp, &mut [Arg::Number(99), Arg::Number(0), Arg::Number(0)]));
        sys::call(libc::SYS_memfd_create, &mut [Arg::Text(c"memory"), Arg::Number(0)])?;
        Ok(())
    })
}

fn keys(_: &Place) -> Result<()> {
    in_child(|| {
        let ring = Arg::Number(-2);
        let mut args = [Arg::Text(c"user"), Arg::Text(c"name"), Arg::Bytes(b"text"), Arg::Number(4), ring];
        either(sys::call(libc::SYS_add_key, &mut args));
        either(sys::call(libc::SYS_keyctl, &mut [Arg::Number(0), Arg::Number(-2), Arg::Number(0)]));
        either(sys::call(
            libc::SYS_request_key,
            &mut [Arg::Text(c"user"), Arg::Text(c"none"), Arg::Number(0), Arg::Number(0)],
        ));
        Ok(())
    })
}

fn ipc(_: &Place) -> Result<()> {
    const IPC_RMID: i64 = 0;
    let mode = 0o640;
    let memory = sys::call(libc::SYS_shmget, &mut [0, 4096, mode].map(Arg::Number))?;
    let mut room = [0; 256];
    sys::call(libc::SYS_shmctl, &mut [Arg::Number(memory), Arg::Number(2), Arg::Room(&mut room)])?;
    sys::call(libc::SYS_shmctl, &mut [memory, IPC_RMID, 0].map(Arg::Number))?;
    let semaphores = sys::call(libc::SYS_semget, &mut [0, 1, mode].map(Arg::Number))?;
    sys::call(libc::SYS_semctl, &mut [semaphores, 0, IPC_RMID, 0].map(Arg::Number))?;
    let queue = sys::call(libc::SYS_msgget, &mut [0, mode].map(Arg::Number))?;
    // struct msgbuf: a type that is not 0, and a text.
    let message = [1, 0, 0, 0, 0, 0, 0, 0, b'x'];
    sys::call(libc::SYS_msgsnd, &mut [Arg::Number(queue), Arg::Bytes(&message), Arg::Number(1), Arg::Number(0)])?;
    sys::call(libc::SYS_msgctl, &mut [Arg::Number(queue), Arg::Number(2), Arg::Room(&mut room)])?;
    // As it is now: IPC_SET.
    sys::call(libc::SYS_msgctl, &mut [Arg::Number(queue), Arg::Number(1), Arg::Bytes(&room)])?;
    sys::call(libc::SYS_msgctl, &mut [queue, IPC_RMID, 0].map(Arg::Number))?;
    fails(libc::EINVAL, sys::call(libc::SYS_msgctl, &mut [queue, IPC_RMID, 0].map(Arg::Number)))
}

fn queues(_: &Place) -> Result<()> {
    let flags = i64::from(libc::O_CREAT | libc::O_RDWR);
    let queue = sys::call(
        libc::SYS_mq_open,
        &mut [Arg::Text(c"compliance"), Arg::Number(flags), Arg::Number(0o600), Arg::Number(0)],
    )?;
    let number = |number: i64| Arg::Number(number);
    sys::call(libc::SYS_mq_timedsend, &mut [number(queue), Arg::Bytes(b"text"), number(4), number(3), number(0)])?;
    let mut room = vec![0; 8192];
    sys::call(
        libc::SYS_mq_timedreceive,
        &mut [number(queue), Arg::Room(&mut room), number(8192), number(0), number(0)],
    )?;
    let mut attributes = [0; 64];
    sys::call(libc::SYS_mq_getsetattr, &mut [number(queue), number(0), Arg::Room(&mut attributes)])?;
    sys::call(libc::SYS_mq_notify, &mut [number(queue), number(0)])?;
    sys::call(libc::SYS_mq_unlink, &mut [Arg::Text(c"compliance")])?;
    fails(libc::ENOENT, sys::call(libc::SYS_mq_unlink, &mut [Arg::Text(c"compliance")]))
}

/// Calls of several kinds, few enough to compare each.
fn few_calls(place: &Place) -> Result<()> {
    File::create(place.path("f"))?;
    sys::call(libc::SYS_getppid, &mut [])?;
    fails(libc::ENOENT, File::open(place.path("absent")))?;
    fails(libc::EBADF, sys::call(libc::SYS_close, &mut [Arg::Number(999)]))?;
    fails(libc::ENOSYS, sys::call(1000, &mut []))
}

fn personalities(_: &Place) -> Result<()> {
    in_child(|| {
        for personality in [0_i64, 8, 0x4_0000, 0x4_0008] {
            sys::call(libc::SYS_personality, &mut [Arg::Number(personality)])?;
            sys::call(libc::SYS_getppid, &mut [])?;
        }
        Ok(())
    })
}
