//! Messages of programs: PAM, sshd, sudo and others tell the kernel's audit of logins and the like, which passes them on to the
//! registered audit daemon and to whoever listens (`kernel/audit.c`).
//!
//! Where nobody is registered, the daemon registers itself, and switches the kernel's audit on: else messages are thrown
//! away. With a rule of the kernel's own that no new task is audited, its system calls then cost nothing. Where somebody is,
//! the daemon only listens, and changes nothing. A thread takes what comes, so that no sender waits for the outputs.

mod netlink;
mod record;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;

use netlink::{Audit, Role};
pub use record::Record;

/// Messages that wait for the main loop.
const QUEUE: usize = 16384;

/// Receives messages; gives back what it changed when it is [stopped](Self::stop) or dropped.
pub struct UserMessages {
    received: Receiver<Record>,
    lost: Arc<AtomicU64>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    role: Role,
}

impl UserMessages {
    /// Registers, or listens.
    ///
    /// # Errors
    /// If the kernel has no audit, or lets this process do neither.
    pub fn start() -> io::Result<Self> {
        let audit = Audit::open()?;
        let (role, socket) = audit.join()?;
        let (sender, received) = sync_channel(QUEUE);
        let (lost, ending) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let drain = Drain { socket, sender, lost: Arc::clone(&lost), ending: Arc::clone(&ending) };
        let thread = thread::Builder::new().name("messages".to_owned()).spawn(move || drain.run())?;
        tracing::info!("messages of programs: {role}");
        Ok(Self { received, lost, ending, thread: Some(thread), role })
    }

    /// The next message, if one has come.
    #[must_use]
    pub fn next(&self) -> Option<Record> {
        self.received.try_recv().ok()
    }

    /// Messages that found the queue, or the socket's memory, full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Receives no more; what has come by then can still be taken.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if let Err(error) = self.role.leave() {
            tracing::error!("the kernel's audit stays as it is: {error}");
        }
        self.ending.store(true, Ordering::Relaxed);
        // It does not panic: see `Drain::run`.
        let _ = thread.join();
    }
}

impl Drop for UserMessages {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread's.
struct Drain {
    socket: OwnedFd,
    sender: SyncSender<Record>,
    lost: Arc<AtomicU64>,
    ending: Arc<AtomicBool>,
}

impl Drain {
    /// Until it is told to end, and nothing has come for a while.
    fn run(&self) {
        let mut buffer = vec![0; netlink::MESSAGE_BYTES];
        loop {
            match netlink::receive(&self.socket, &mut buffer) {
                Ok(Some((kind, text))) => {
                    let record = Record::parse(kind, text);
                    if record.is_some_and(|record| self.sender.try_send(record).is_err()) {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if !self.ending.load(Ordering::Relaxed) => {}
                Err(Errno::ENOBUFS) => drop(self.lost.fetch_add(1, Ordering::Relaxed)),
                Err(Errno::EAGAIN) => return,
                Err(errno) => {
                    tracing::error!("no more messages of programs: {errno}");
                    return;
                }
            }
        }
    }
}
