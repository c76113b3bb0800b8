//! Guests: a stock Debian kernel in QEMU, with busybox and the files that are added, running one command as root.

mod apt;
mod initramfs;
mod kernel;
pub mod packages;
mod qemu;

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

pub use kernel::Kernel;
pub use qemu::{Clock, End};

use crate::cmd;
use crate::setup;
use crate::workspace::Workspace;
use initramfs::Initramfs;
use qemu::{Disk, Machine, path_of};

/// Exit statuses of `vm` for a command that could not end, as timeout(1) and shells use them.
const TIMED_OUT: u8 = 124;
const MACHINE_DIED: u8 = 125;

/// The most that a command may leave in /out; the image is sparse.
const OUT_DISK_BYTES: u64 = 2 << 30;

/// Options of `cargo xtask vm`.
#[derive(clap::Args)]
pub struct Args {
    /// Kernel: 5.10, 6.1, 6.12, 7.3 or a longer version prefix
    #[arg(long, default_value = "6.12")]
    kernel: String,
    /// A file or directory to put into the guest, there at the same path or at GUESTPATH
    #[arg(long, value_name = "FILE[:GUESTPATH]")]
    add: Vec<String>,
    /// More kernel parameters
    #[arg(long, value_name = "STR")]
    append: Option<String>,
    /// The lsm= kernel parameter [default: the kernel's own list, with bpf added if it lacks it]
    #[arg(long, value_name = "LIST")]
    lsm: Option<String>,
    /// Memory
    #[arg(long, value_name = "M", default_value = "1G")]
    mem: String,
    /// Processors
    #[arg(long, value_name = "N", default_value_t = 2)]
    smp: u32,
    /// An empty ext4 file system of so many MB at /scratch
    #[arg(long, value_name = "MB")]
    scratch: Option<u64>,
    /// Give up after so many seconds (exit status 124)
    #[arg(long, value_name = "S", default_value_t = 300)]
    timeout: u64,
    /// Let time count instructions: one per nanosecond, repeatable
    #[arg(long)]
    icount: bool,
    /// Copy what the command leaves in /out to DIR
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the kernel's console in FILE
    #[arg(long, value_name = "FILE")]
    console: Option<PathBuf>,
    /// Add Debian's rsyslog
    #[arg(long)]
    rsyslog: bool,
    /// Add Debian's gdb and bpftool
    #[arg(long)]
    debuggers: bool,
    /// Add Debian's auditd and its tools, and boot with audit=1
    #[arg(long)]
    audit: bool,
    /// Connect the terminal to the command, a shell by default
    #[arg(long)]
    interactive: bool,
    /// Use the binaries that are there instead of building them first
    #[arg(long)]
    no_build: bool,
    /// What to run in the guest
    #[arg(last = true)]
    command: Vec<String>,
}

/// `cargo xtask vm`.
pub fn main(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    setup::guest_tools()?;
    if !args.no_build {
        crate::build::debug(workspace, &["auditd-bpf"])?;
    }
    let mut guest = Guest::new(Kernel::find(workspace, &args.kernel)?)
        .memory(&args.mem)
        .cpus(args.smp)
        .timeout(Duration::from_secs(args.timeout))
        .append(args.append.as_deref().unwrap_or_default());
    let daemon = workspace.binary("debug", "auditd-bpf");
    if daemon.exists() {
        guest = guest.add(daemon, "/usr/bin/auditd-bpf");
    }
    for add in &args.add {
        let (host, inside) = host_and_guest_path(add)?;
        guest = guest.add(host, inside);
    }
    if args.rsyslog {
        guest = packages::rsyslog(workspace)?.add_to(guest);
    }
    if args.debuggers {
        guest = packages::debuggers(workspace)?.add_to(guest);
    }
    if args.audit {
        guest = packages::audit(workspace)?.add_to(guest).append("audit=1");
    }
    guest.lsm.clone_from(&args.lsm);
    guest.scratch_mb = args.scratch;
    guest.out.clone_from(&args.out);
    guest.console.clone_from(&args.console);
    if args.icount {
        guest = guest.clock(Clock::Instructions);
    }
    let end = if args.interactive {
        if !io::stdin().is_terminal() {
            bail!("--interactive needs a terminal");
        }
        let shell = ["sh".to_owned(), "-l".to_owned()];
        guest.attach(if args.command.is_empty() { &shell } else { &args.command })?
    } else {
        if args.command.is_empty() {
            bail!("no command: give one after --, or --interactive");
        }
        guest.run(&args.command, io::stdout(), io::stderr())?
    };
    Ok(ExitCode::from(report(&end, args.timeout)))
}

fn report(end: &End, timeout: u64) -> u8 {
    match end {
        End::Exited(status) => *status,
        End::TimedOut => {
            eprintln!("error: timed out after {timeout} s");
            TIMED_OUT
        }
        End::Died(why) => {
            eprintln!("error: the machine went down before the command ended\n{why}");
            MACHINE_DIED
        }
    }
}

fn host_and_guest_path(add: &str) -> Result<(PathBuf, PathBuf)> {
    let (host, guest) = match add.rsplit_once(':') {
        Some((host, guest)) if guest.starts_with('/') => (host, Some(guest)),
        _ => (add, None),
    };
    let absolute = std::path::absolute(host).with_context(|| format!("cannot make {host} absolute"))?;
    let guest = guest.map_or_else(|| absolute.clone(), PathBuf::from);
    Ok((absolute, guest))
}

/// A machine to be: what it is made of. Each run boots it anew, from pristine state.
#[derive(Clone)]
pub struct Guest {
    kernel: Kernel,
    files: Vec<(PathBuf, PathBuf)>,
    append: String,
    lsm: Option<String>,
    memory: String,
    cpus: u32,
    scratch_mb: Option<u64>,
    root: Option<PathBuf>,
    timeout: Duration,
    clock: Clock,
    out: Option<PathBuf>,
    console: Option<PathBuf>,
}

impl Guest {
    /// A machine with two processors, 1 GB and nothing added.
    pub fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            files: Vec::new(),
            append: String::new(),
            lsm: None,
            memory: "1G".to_owned(),
            cpus: 2,
            scratch_mb: None,
            root: None,
            timeout: Duration::from_secs(300),
            clock: Clock::Wall,
            out: None,
            console: None,
        }
    }

    /// Adds a file with its shared libraries, or a directory.
    #[must_use]
    pub fn add(mut self, host: impl Into<PathBuf>, guest: impl Into<PathBuf>) -> Self {
        self.files.push((host.into(), guest.into()));
        self
    }

    /// Boots with these security modules instead of the kernel's own and bpf.
    #[must_use]
    pub fn lsm(mut self, list: &str) -> Self {
        self.lsm = Some(list.to_owned());
        self
    }

    /// Adds kernel parameters.
    #[must_use]
    pub fn append(mut self, parameters: &str) -> Self {
        self.append = format!("{} {parameters}", self.append);
        self
    }

    /// Sets the memory, in QEMU's notation.
    #[must_use]
    pub fn memory(mut self, memory: &str) -> Self {
        memory.clone_into(&mut self.memory);
        self
    }

    /// Sets the number of processors.
    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// Gives it an empty ext4 file system at /scratch.
    #[must_use]
    pub fn scratch(mut self, mb: u64) -> Self {
        self.scratch_mb = Some(mb);
        self
    }

    /// Boots the system on an ext4 image, which is changed; its service guest.service runs the command, by /guest/run.
    #[must_use]
    pub fn root(mut self, image: impl Into<PathBuf>) -> Self {
        self.root = Some(image.into());
        self
    }

    /// Copies what the command leaves in /out to a directory of the host.
    #[must_use]
    pub fn out(mut self, dir: impl Into<PathBuf>) -> Self {
        self.out = Some(dir.into());
        self
    }

    /// Sets when to give up.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets what time is.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Boots, runs a command as root and passes its output on as it comes.
    pub fn run<S: AsRef<str>>(
        &self,
        command: &[S],
        stdout: impl Write + Send,
        stderr: impl Write + Send,
    ) -> Result<End> {
        self.boot(command, "", |machine| machine.run(stdout, stderr))
    }

    /// Boots and runs a command as root with the user's terminal.
    pub fn attach<S: AsRef<str>>(&self, command: &[S]) -> Result<End> {
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method is for one lifetime of machines only"
        )]
        self.boot(command, &terminal_size(), |machine| machine.attach())
    }

    fn boot<S: AsRef<str>>(
        &self,
        command: &[S],
        terminal: &str,
        run: impl FnOnce(&Machine<'_>) -> Result<End>,
    ) -> Result<End> {
        let nonce = nonce();
        let initrd = self.initramfs(command, terminal, &nonce)?;
        let (scratch, out) = (self.scratch_disk()?, self.out_disk()?);
        let disks = [("scratch", &scratch), ("out", &out)];
        let disks = disks.into_iter().filter_map(|(name, image)| Some(Disk { name, image: path_of(image.as_ref()?) }));
        let root = self.root.iter().map(|image| Disk { name: "root", image: image.clone() });
        let disks: Vec<_> = disks.chain(root).collect();
        let console = self.unnamed_file(0)?;
        let machine = Machine {
            kernel: &self.kernel.vmlinux(),
            initrd: &path_of(&initrd),
            append: &self.kernel_parameters()?,
            memory: &self.memory,
            cpus: self.cpus,
            clock: self.clock,
            disks: &disks,
            console: &path_of(&console),
            timeout: self.timeout,
            nonce: &nonce,
        };
        let end = run(&machine)?;
        if let Some(kept) = &self.console {
            fs::copy(path_of(&console), kept).with_context(|| format!("cannot write {}", kept.display()))?;
        }
        if let (Some(dir), Some(image), End::Exited(_)) = (&self.out, &out, &end) {
            extract(&path_of(image), dir)?;
        }
        Ok(end)
    }

    fn initramfs<S: AsRef<str>>(&self, command: &[S], terminal: &str, nonce: &str) -> Result<File> {
        let mut archive = Initramfs::new(BufWriter::new(self.unnamed_file(0)?), &self.kernel)?;
        for (host, guest) in &self.files {
            archive.add(host, guest)?;
        }
        let words: Vec<_> = command.iter().map(|word| cmd::quote(word.as_ref())).collect();
        archive.file(Path::new("guest/cmd"), 0o644, (words.join(" ") + "\n").as_bytes())?;
        let mark = qemu::end_mark(nonce);
        let conf = format!("NONCE={nonce}\nTERMINAL={}\nEND_MARK={}\n", cmd::quote(terminal), cmd::quote(&mark));
        archive.file(Path::new("guest/conf"), 0o644, conf.as_bytes())?;
        archive.finish()?.into_inner().context("cannot write the initramfs")
    }

    fn scratch_disk(&self) -> Result<Option<File>> {
        let Some(mb) = self.scratch_mb else { return Ok(None) };
        let image = self.unnamed_file(mb << 20)?;
        cmd::output(Command::new(cmd::require("mkfs.ext4")?).args(["-q", "-F"]).arg(path_of(&image)))?;
        Ok(Some(image))
    }

    fn out_disk(&self) -> Result<Option<File>> {
        self.out.as_ref().map(|_| self.unnamed_file(OUT_DISK_BYTES)).transpose()
    }

    /// A file that is gone with its last user, however this ends; others reach it through `path_of`.
    fn unnamed_file(&self, bytes: u64) -> Result<File> {
        let file = tempfile::tempfile_in(self.kernel.dir()).context("cannot create a temporary file")?;
        file.set_len(bytes).context("cannot size a temporary file")?;
        Ok(file)
    }

    fn kernel_parameters(&self) -> Result<String> {
        let lsm = match &self.lsm {
            Some(lsm) => lsm.clone(),
            None => self.kernel.lsm_with_bpf()?,
        };
        // Measurements need ticks that do not stop and start.
        let clock = if self.clock == Clock::Instructions { "nohz=off" } else { "" };
        Ok(format!(
            "console=ttyS0 quiet panic=-1 lsm={lsm} mitigations=off no_timer_check printk.devkmsg=on {clock} {}",
            self.append
        ))
    }
}

fn extract(image: &Path, out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut tar = Command::new("tar");
    tar.args(["--no-same-owner", "--no-overwrite-dir", "-xf"]).arg(image).arg("-C").arg(out);
    cmd::output(&mut tar).map(drop)
}

/// Rows and columns for the guest's stty; empty when unknown.
fn terminal_size() -> String {
    let size = Command::new("stty").arg("size").stdin(Stdio::inherit()).output();
    let size = size.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    match size.split_whitespace().collect::<Vec<_>>()[..] {
        [rows, columns] if rows != "0" => format!("rows {rows} cols {columns}"),
        _ => "rows 24 cols 80".to_owned(),
    }
}

/// Something that no other output contains.
fn nonce() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:x}", now.as_nanos(), std::process::id())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn added_file_keeps_its_path_unless_another_is_given() {
        let (host, guest) = host_and_guest_path("/a/b:/c").unwrap();
        assert_eq!((host, guest), (PathBuf::from("/a/b"), PathBuf::from("/c")));
        let (host, guest) = host_and_guest_path("/a/b:c").unwrap();
        assert_eq!((host, guest), (PathBuf::from("/a/b:c"), PathBuf::from("/a/b:c")));
    }
}
