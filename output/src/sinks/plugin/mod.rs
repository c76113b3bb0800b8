//! auditd's plugins: native records for programs (`program`) and for who connects to a socket (`af_unix`).

mod af_unix;
mod layout;
mod program;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::layout::frame;
use super::Sink;
use crate::config::{FailureAction, Layout, PluginKind, PluginSpec, PluginsConfig};
use crate::counters::{Cause, Meter};
use crate::error::OutputError;
use crate::format::Format;
use crate::record::Record;
use crate::respond::{Responder, Rest, Trouble};

/// When to try again where a reader takes nothing.
const PATIENCE: Duration = Duration::from_millis(5);

/// Where the bytes go.
trait Port: Send {
    /// Writes what can be written at once.
    fn write(&mut self, bytes: &[u8]) -> Wrote;

    /// The configuration was read anew, and this is as it was.
    fn reread(&mut self) {}

    /// Ends it. Returns when the reader had time to read what is in the pipe.
    fn close(&mut self);
}

/// What came of writing.
enum Wrote {
    /// So many bytes.
    Bytes(usize),
    /// The reader does not take more now.
    Full,
    /// Nobody reads, and nobody has to.
    Nobody,
    /// The reader went away. There is a new one from then on, which gets the record from its beginning.
    Again(Instant),
    /// There will not be a reader any more.
    Gone,
}

/// See the module's documentation.
pub(crate) struct PluginSink {
    name: String,
    format: Format,
    layout: Layout,
    port: Box<dyn Port>,
    meter: Arc<Meter>,
    waiting: VecDeque<(Vec<u8>, u64)>,
    /// How much of the first record is written.
    written: usize,
    stalled: Option<Instant>,
    gone: bool,
    overflow: Overflow,
}

/// How often a full queue is told of, as by auditd, until SIGUSR2.
const WARNINGS: u32 = 5;

/// What is done when the queue is full.
struct Overflow {
    action: FailureAction,
    responder: Responder,
    warnings: u32,
    suspended: bool,
}

impl Overflow {
    fn new(action: &FailureAction) -> Self {
        Self { action: action.clone(), responder: Responder::new(""), warnings: 0, suspended: false }
    }

    fn happened(&mut self) {
        if self.warnings < WARNINGS {
            self.warnings += 1;
            self.suspended = self.responder.respond(Trouble::Overflow, &self.action, None) == Rest::Suspend;
        }
    }
}

/// A plugin that is to run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Installed {
    path: PathBuf,
    spec: PluginSpec,
    /// Device and inode of its program: another file of that name is another program.
    program: Option<(u64, u64)>,
}

/// Every active plugin. As with auditd, one with mistakes is left out, and the log says why.
pub(super) fn installed(config: &PluginsConfig) -> Result<Vec<Installed>, OutputError> {
    let mut installed = Vec::new();
    for path in files(&config.path)? {
        match read(&path) {
            Ok(spec) if spec.active => {
                let program = fs::metadata(&spec.path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
                installed.push(Installed { path, spec, program });
            }
            Ok(_) => tracing::debug!(plugin = %path.display(), "not active"),
            Err(problem) => tracing::error!(plugin = %path.display(), %problem, "plugin left out"),
        }
    }
    if installed.is_empty() {
        tracing::warn!(path = %config.path.display(), "no plugin is active");
    }
    Ok(installed)
}

impl Installed {
    /// What its output is called.
    pub(super) fn name(&self) -> String {
        format!("plugin:{}", self.path.file_stem().unwrap_or_default().to_string_lossy())
    }

    /// What no other has: the socket of one that listens, else its file.
    pub(super) fn place(&self) -> &Path {
        let socket = self.spec.args.iter().find(|arg| self.spec.kind == PluginKind::Builtin && arg.starts_with('/'));
        socket.map_or(&self.path, Path::new)
    }

    /// Starts it. One that cannot be started is left out, and the log says why.
    pub(super) fn open(&self, config: &PluginsConfig, meter: Arc<Meter>) -> Option<Box<dyn Sink>> {
        match PluginSink::open(&self.name(), config, &self.spec, meter) {
            Ok(sink) => Some(Box::new(sink)),
            Err(problem) => {
                tracing::error!(plugin = %self.path.display(), %problem, "plugin left out");
                None
            }
        }
    }
}

/// The `*.conf` files of a directory in order, or the file itself.
fn files(path: &Path) -> Result<Vec<PathBuf>, OutputError> {
    let failed = |source| OutputError::File { action: "read the plugins of", path: path.to_owned(), source };
    if path.metadata().map_err(failed)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<PluginSpec, String> {
    check_owner(path)?;
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    PluginSpec::parse(&text)
}

/// What runs as root must be root's alone.
fn check_owner(path: &Path) -> Result<(), String> {
    let metadata = fs::symlink_metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let ours = [0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid());
    if !metadata.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    if !ours || metadata.mode() & 0o022 != 0 {
        return Err(format!("{} must be owned by root, and writable by nobody else", path.display()));
    }
    Ok(())
}

impl PluginSink {
    fn open(name: &str, config: &PluginsConfig, spec: &PluginSpec, meter: Arc<Meter>) -> Result<Self, String> {
        let port: Box<dyn Port> = match spec.kind {
            PluginKind::Always => Box::new(program::Program::start(name, spec, config.max_restarts)?),
            PluginKind::Builtin if spec.path == "builtin_af_unix" => Box::new(af_unix::AfUnix::listen(&spec.args)?),
            PluginKind::Builtin => {
                return Err(format!("there is no `{}`; an [[output]] may do what it did", spec.path));
            }
        };
        Ok(Self {
            name: name.to_owned(),
            format: config.format,
            layout: spec.layout,
            port,
            meter,
            waiting: VecDeque::new(),
            written: 0,
            stalled: None,
            gone: false,
            overflow: Overflow::new(&config.overflow_action),
        })
    }

    fn send_waiting(&mut self) {
        self.stalled = None;
        while let Some((bytes, events)) = self.waiting.front() {
            let (length, events) = (bytes.len(), *events);
            match if self.gone { Wrote::Gone } else { self.port.write(&bytes[self.written..]) } {
                Wrote::Bytes(count) => {
                    self.written += count;
                    if self.written < length {
                        continue;
                    }
                    self.meter.wrote(events, length);
                    self.meter.set_stalled(false);
                }
                Wrote::Nobody => self.meter.wrote(events, 0),
                Wrote::Full => {
                    self.stalled = Some(Instant::now() + PATIENCE);
                    return;
                }
                Wrote::Again(when) => {
                    self.written = 0;
                    self.meter.failed();
                    self.meter.set_stalled(true);
                    self.stalled = Some(when);
                    return;
                }
                Wrote::Gone => {
                    self.gone = true;
                    // Nobody is left whom a record in this stream could tell.
                    self.meter.lose(Cause::PluginGone, events);
                }
            }
            self.waiting.pop_front();
            self.written = 0;
        }
    }
}

impl Sink for PluginSink {
    fn write(&mut self, record: &Record<'_>, events: u64) {
        let mut lines = Vec::new();
        self.format.write_lines(record, &mut lines);
        layout::end_event(record, &mut lines);
        self.waiting.push_back((frame(&lines, self.layout), events));
        self.send_waiting();
    }

    /// Nothing is held back that could be written.
    fn flush(&mut self) {}

    fn due(&self) -> Option<Instant> {
        None
    }

    fn stalled_until(&self) -> Option<Instant> {
        self.stalled
    }

    fn retry(&mut self) {
        self.send_waiting();
    }

    fn overflowed(&mut self) {
        self.overflow.happened();
    }

    fn suspended(&self) -> bool {
        self.overflow.suspended
    }

    fn resume(&mut self) {
        (self.overflow.suspended, self.overflow.warnings) = (false, 0);
    }

    fn last_attempt(&mut self) {
        (self.overflow.suspended, self.overflow.warnings) = (false, WARNINGS);
    }

    /// A plugin that was given up gets another chance.
    fn reread(&mut self) {
        self.port.reread();
        self.gone = false;
    }

    fn close(&mut self) -> u64 {
        self.port.close();
        tracing::debug!(output = self.name, "plugin closed");
        self.waiting.iter().map(|(_, events)| events).sum()
    }
}

/// A write of a reader that may be slow or gone.
fn wrote(result: io::Result<usize>) -> Option<Wrote> {
    match result {
        Ok(count) => Some(Wrote::Bytes(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Wrote::Full),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(Wrote::Bytes(0)),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
