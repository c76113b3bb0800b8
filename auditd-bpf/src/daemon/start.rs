//! What a daemon needs before it begins.

use std::fs::File;
use std::io::Read;

use auditd_bpf_common::plan_rows::active;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::error::system;
use super::{SIGNALS, StartError};
use crate::config::Config;
use crate::keeper::Kept;
use crate::kernel::object::Settings;
use crate::kernel::process::Process;
use crate::mode::Mode;

/// A daemon that fails leaves its rules in force, as one that is killed does: nothing is to be taken back while a panic unwinds.
pub(super) fn abort_where_main_panics() {
    let main = std::thread::current().id();
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        if std::thread::current().id() == main {
            std::process::abort();
        }
    }));
}

pub(super) fn take_signals() -> Result<SignalFd, StartError> {
    let mut mask = SigSet::empty();
    for signal in SIGNALS {
        mask.add(signal);
    }
    mask.thread_block().map_err(system("block signals"))?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(system("receive signals"))
}

/// What the kernel side is told.
pub(super) fn settings(config: &Config, kept: Option<&Kept>, mode: Mode) -> Result<Settings, StartError> {
    let own = Process::own().map_err(|source| StartError::System { what: "read /proc/self/stat", source })?;
    Ok(Settings {
        daemon: own,
        keeper: kept.map(Kept::keeper),
        owner: random_seed()? as u32 % active::OWNER_MAX + 1,
        name_seed: random_seed()?,
        ring_bytes: config.kernel.ring_buffer_bytes.get(),
        mode,
    })
}

/// From the kernel, so that nobody can predict it.
fn random_seed() -> Result<u64, StartError> {
    let mut seed = [0; 8];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut seed));
    read.map_err(|source| StartError::System { what: "read /dev/urandom", source })?;
    Ok(u64::from_ne_bytes(seed))
}
