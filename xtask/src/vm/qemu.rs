//! The virtual machine: QEMU's command line, its serial ports and how a run ended.
//!
//! Three serial ports: the kernel's console (to a file), and the command's standard output and error. The command's
//! exit status comes as a kernel message, which no full port can hold up.

use std::fs;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cmd;

/// What a guest's clock runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The host's time.
    Wall,
    /// One nanosecond for each instruction executed: repeatable measurements, on one processor.
    Instructions,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The command ended with this status.
    Exited(u8),
    /// The time allowed was over.
    TimedOut,
    /// The machine went down before the command ended; with QEMU's words and the end of the console.
    Died(String),
}

/// A block device; the guest finds it by its name.
pub struct Disk {
    /// Its serial.
    pub name: &'static str,
    /// The raw image.
    pub image: PathBuf,
}

/// All that QEMU has to know.
pub struct Machine<'a> {
    /// An ELF kernel.
    pub kernel: &'a Path,
    /// The initramfs.
    pub initrd: &'a Path,
    /// The kernel's command line.
    pub append: &'a str,
    /// Memory, in QEMU's notation.
    pub memory: &'a str,
    /// Processors.
    pub cpus: u32,
    /// What time is.
    pub clock: Clock,
    /// Block devices.
    pub disks: &'a [Disk],
    /// Where the kernel's console goes.
    pub console: &'a Path,
    /// When to give up.
    pub timeout: Duration,
    /// What tells this run's exit report and end marks from anything else.
    pub nonce: &'a str,
}

/// Precedes the end of both streams; see guest/run.sh.
pub fn end_mark(nonce: &str) -> String {
    format!("\x1eguest-end-{nonce}")
}

/// A name by which a child process can open a file of ours that has none.
pub fn path_of(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
}

impl Machine<'_> {
    /// Runs to the end, passing the command's output on as it comes.
    pub fn run(&self, stdout: impl Write + Send, stderr: impl Write + Send) -> Result<End> {
        let (out_reader, out_writer) = io::pipe().context("cannot create a pipe")?;
        let (err_reader, err_writer) = io::pipe().context("cannot create a pipe")?;
        let mut command = self.command()?;
        for (id, writer) in [("out", &out_writer), ("err", &err_writer)] {
            // We keep our end open as well until QEMU is gone, so that the reader sees the end of the stream even if
            // QEMU never came to open it.
            let path = path_of(writer);
            let chardev = format!("file,id={id},path={}", path.display());
            command.args(["-chardev", &chardev, "-serial", &format!("chardev:{id}")]);
        }
        let mark = end_mark(self.nonce);
        thread::scope(|scope| {
            let out = scope.spawn(|| pass_on(out_reader, stdout, mark.as_bytes()));
            let err = scope.spawn(|| pass_on(err_reader, stderr, mark.as_bytes()));
            let output = command.stdin(Stdio::null()).output();
            drop((out_writer, err_writer));
            for reader in [out, err] {
                // A reader that our own output has left (a closed pipe) is no failure of the guest.
                if let Ok(Err(error)) = reader.join() {
                    eprintln!("warning: output of the guest lost: {error}");
                }
            }
            let output = output.context("cannot run QEMU")?;
            self.end(output.status, &String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Runs to the end with the user's terminal as the command's.
    pub fn attach(&self) -> Result<End> {
        let mut command = self.command()?;
        command.args(["-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out"]);
        let status = command.status().context("cannot run QEMU")?;
        self.end(status, "")
    }

    fn command(&self) -> Result<Command> {
        // The machine must not outlive us: should xtask be killed, setpriv has it killed as well.
        let mut command = Command::new(cmd::require("setpriv")?);
        command.args(["--pdeathsig", "TERM", "timeout", "--foreground", "--kill-after=5"]);
        command.arg(self.timeout.as_secs().to_string()).arg(cmd::require("qemu-system-x86_64")?);
        command.args(["-M", "q35", "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-cpu", "max"]);
        match self.clock {
            Clock::Wall => {
                // Processors take turns in one thread. With a thread for each, QEMU 7.2 may run code that another processor just
                // changed back, as kernels do while programs are attached, and the guest panics in an int3 that is no longer there.
                command.args(["-accel", "tcg,thread=single", "-smp", &self.cpus.to_string()]);
            }
            Clock::Instructions => {
                command.args(["-icount", "shift=0,sleep=off", "-accel", "tcg,thread=single", "-smp", "1"]);
            }
        }
        command.args(["-m", self.memory, "-append", self.append]);
        command.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initrd);
        for Disk { name, image } in self.disks {
            let image = image.display();
            command.args(["-drive", &format!("if=none,id={name},format=raw,cache=unsafe,file={image}")]);
            command.args(["-device", &format!("virtio-blk-pci,drive={name},serial={name}")]);
        }
        command.arg("-serial").arg(format!("file:{}", self.console.display()));
        Ok(command)
    }

    fn end(&self, qemu: ExitStatus, said: &str) -> Result<End> {
        let console = fs::read(self.console).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        if let Some(status) = reported_status(&console, self.nonce) {
            return Ok(End::Exited(status));
        }
        // timeout's own status, and the one after it had to kill.
        if matches!(qemu.code(), Some(124 | 137)) {
            return Ok(End::TimedOut);
        }
        let lines: Vec<_> = console.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        Ok(End::Died(format!("QEMU: {qemu}\n{said}{tail}")))
    }
}

fn reported_status(console: &str, nonce: &str) -> Option<u8> {
    let report = format!("guest-exit {nonce} ");
    let line = console.lines().find_map(|line| line.split_once(&report).map(|(_, rest)| rest))?;
    line.trim().parse().ok()
}

/// Copies a serial port's bytes up to the end mark, each as soon as it is known not to be part of the mark.
fn pass_on(mut port: PipeReader, mut output: impl Write, mark: &[u8]) -> io::Result<()> {
    let mut held = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = port.read(&mut chunk)?;
        held.extend_from_slice(&chunk[..count]);
        let (ready, ended) = before_mark(&held, mark);
        output.write_all(&held[..ready])?;
        output.flush()?;
        held.drain(..ready);
        if ended || count == 0 {
            // What follows the mark is padding; read on, so that the guest can write it.
            return io::copy(&mut port, &mut io::sink()).map(drop);
        }
    }
}

/// How many bytes certainly precede the mark, and whether the mark was found. A mark cut short stays behind.
fn before_mark(bytes: &[u8], mark: &[u8]) -> (usize, bool) {
    let full = bytes.windows(mark.len()).position(|window| window == mark);
    if let Some(position) = full {
        return (position, true);
    }
    let first = bytes.len().saturating_sub(mark.len() - 1);
    let partial = (first..bytes.len()).find(|start| mark.starts_with(&bytes[*start..]));
    (partial.unwrap_or(bytes.len()), false)
}

#[cfg(test)]
mod test {
    use super::*;

    fn passed_on(parts: &[&[u8]]) -> Vec<u8> {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut output = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| pass_on(reader, &mut output, b"\x1emark").unwrap());
            for part in parts {
                writer.write_all(part).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
            drop(writer);
        });
        output
    }

    #[test]
    fn output_ends_at_the_mark_wherever_it_is_cut() {
        assert_eq!(passed_on(&[b"hello\n\x1emark     "]), b"hello\n");
        assert_eq!(passed_on(&[b"hello\n\x1em", b"ark   \n"]), b"hello\n");
        assert_eq!(passed_on(&[b"hello\n\x1em"]), b"hello\n");
        assert_eq!(passed_on(&[b"a\x1em", b"b\x1ec", b"\n"]), b"a\x1emb\x1ec\n");
    }

    #[test]
    fn status_is_this_run_s_own() {
        let console = "[  1.0] guest-exit 9 3\r\n[  1.2] guest-exit 77 42\r\n";
        assert_eq!(reported_status(console, "77"), Some(42));
        assert_eq!(reported_status(console, "78"), None);
    }
}
