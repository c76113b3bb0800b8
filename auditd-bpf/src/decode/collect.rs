//! The sections of one event → its paths, names, arguments and so on.

use auditd_bpf_common::wire::{self, incomplete, name_type, section};
use nix::libc;
use output::Address;
use output::event::{Bytes, Inode, NameType, PathItem, PathSource, Target};

use super::counters::DecodeCounters;
use super::paths::{Completeness, KernelPath, Mounts, Surroundings, lexical, walked};
use super::sample::{self, Section, Sections, until_nul};

/// What the sections of an event tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects in the order the kernel met them, then names from the caller's memory.
    pub paths: Vec<PathItem>,
    /// Working directory.
    pub cwd: Option<Bytes>,
    /// Executable.
    pub exe: Option<Bytes>,
    /// Arguments of an exec.
    pub argv: Option<Vec<Bytes>>,
    /// Socket address.
    pub sockaddr: Option<Bytes>,
    /// Beginning of the command line, its arguments NUL-terminated.
    pub proctitle: Option<Bytes>,
    /// The structure that an argument pointed to.
    pub data: Option<Bytes>,
    /// What hooks saw besides, each with its [`wire::part`].
    pub seen: Vec<(u8, Bytes)>,
    /// Tasks acted upon.
    pub targets: Vec<Target>,
    /// [`incomplete`] bits found here.
    pub incomplete: u32,
}

/// Reads the payloads of an event's samples. With each goes whether what stood before it is lost. `exit`: what the call returned.
pub fn collect<'a>(
    payloads: impl Iterator<Item = (bool, &'a [u8])>,
    exit: Option<i64>,
    mounts: &'a mut dyn Mounts,
    counters: &'a mut DecodeCounters,
) -> Collected {
    let mut collector = Collector {
        mounts,
        counters,
        collected: Collected::default(),
        owner: None,
        names: Vec::new(),
        parent: None,
        cwd: None,
        directories: [None, None],
        user_names: [None, None, None],
        argv: None,
        since_gap: SinceGap::Other,
    };
    for (after_gap, payload) in payloads {
        if after_gap {
            collector.gap();
        }
        for section in Sections::new(payload) {
            match section {
                Ok(section) => collector.section(section),
                Err(sample::Truncated) => collector.malformed(),
            }
        }
    }
    collector.finish(exit)
}

/// Errors that end a look-up.
const IN_VAIN: [i32; 5] = [libc::ENOENT, libc::EACCES, libc::ENOTDIR, libc::ENAMETOOLONG, libc::ELOOP];

fn is_in_vain(exit: i64) -> bool {
    IN_VAIN.iter().any(|errno| exit == -i64::from(*errno))
}

/// Whose path is being read.
enum Owner {
    Object(NameType, wire::Object),
    Cwd,
    Exe,
    /// Directory of the first or second name.
    Directory(usize),
}

/// A name from the caller's memory, so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The pieces so far were full.
    More,
    Whole,
    /// Pieces are lost.
    Broken,
}

/// What has been seen since something was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SinceGap {
    /// Nothing.
    Nothing,
    /// Pieces of a name: they may continue one whose beginning is lost.
    Name,
    /// More, or nothing was lost.
    Other,
}

struct Collector<'a> {
    mounts: &'a mut dyn Mounts,
    counters: &'a mut DecodeCounters,
    collected: Collected,
    owner: Option<Owner>,
    /// Components of that path, leaf first.
    names: Vec<&'a [u8]>,
    /// Path of the last parent object.
    parent: Option<KernelPath>,
    cwd: Option<KernelPath>,
    directories: [Option<KernelPath>; 2],
    /// The two names and the text of a symbolic link.
    user_names: [Option<(Bytes, Progress)>; 3],
    argv: Option<Bytes>,
    since_gap: SinceGap,
}

impl<'a> Collector<'a> {
    fn section(&mut self, section: Section<'a>) {
        let Section { kind, detail, data } = section;
        let since_gap = std::mem::replace(&mut self.since_gap, SinceGap::Other);
        match kind {
            section::OBJECT => match sample::object(data) {
                Some(object) => self.begin(Owner::Object(role(detail), object)),
                None => self.malformed(),
            },
            section::CWD => self.begin(Owner::Cwd),
            section::EXE => self.begin(Owner::Exe),
            section::DIRFD if detail < 2 => self.begin(Owner::Directory(usize::from(detail))),
            section::COMPONENT if self.owner.is_some() => self.names.push(data),
            section::PATH_END if self.owner.is_some() => self.end(detail),
            // The rest of a path whose beginning is lost; that the event has a gap is noted already.
            section::COMPONENT | section::PATH_END if self.is(incomplete::CHUNK) => {}
            section::USER_NAME if since_gap != SinceGap::Other => {
                self.since_gap = SinceGap::Name;
                self.mark(incomplete::USER_NAME);
            }
            section::USER_NAME if detail < 3 => self.user_name(usize::from(detail), data),
            section::SOCKADDR => self.collected.sockaddr = Some(data.to_vec()),
            section::ARGV => {
                if since_gap == SinceGap::Nothing {
                    self.mark(incomplete::ARGV);
                }
                self.argv.get_or_insert_default().extend(data);
            }
            section::TARGET => self.target(data),
            section::PROCTITLE => self.collected.proctitle = Some(title(data)),
            section::DATA => self.collected.data = Some(data.to_vec()),
            section::PART => self.collected.seen.push((detail, data.to_vec())),
            section::COMPONENT | section::PATH_END | section::DIRFD | section::USER_NAME => self.malformed(),
            _ => self.counters.unknown_sections += 1,
        }
    }

    /// What stood here is lost: nothing before it may be joined to what follows.
    fn gap(&mut self) {
        self.give_up();
        self.parent = None;
        self.since_gap = SinceGap::Nothing;
        self.mark(incomplete::CHUNK);
        for (_, progress) in self.user_names.iter_mut().flatten().filter(|(_, progress)| *progress == Progress::More) {
            *progress = Progress::Broken;
        }
        if let Some(argv) = &mut self.argv {
            if argv.last().is_some_and(|byte| *byte != 0) {
                argv.push(0);
            }
            self.mark(incomplete::ARGV);
        }
    }

    /// A section that breaks the rules of the wire: its part of the event is not to be had.
    fn malformed(&mut self) {
        self.counters.malformed_sections += 1;
        self.give_up();
        self.mark(incomplete::CHUNK);
    }

    fn mark(&mut self, bits: u32) {
        self.collected.incomplete |= bits;
    }

    fn is(&self, bits: u32) -> bool {
        self.collected.incomplete & bits != 0
    }

    fn begin(&mut self, owner: Owner) {
        self.give_up();
        self.owner = Some(owner);
    }

    /// Ends a path that has not come to its end.
    fn give_up(&mut self) {
        self.end(wire::path_end::LOST);
    }

    fn end(&mut self, end: u8) {
        let Some(owner) = self.owner.take() else { return };
        let device = if let Owner::Object(_, object) = &owner { Some(object.dev) } else { None };
        let surroundings = Surroundings { device, parent: self.parent.as_ref(), mounts: self.mounts };
        let (path, completeness) = walked(&self.names, end, surroundings);
        self.names.clear();
        if completeness == Completeness::Partial {
            self.mark(incomplete::PATH);
        }
        match owner {
            Owner::Object(role, object) => self.object(role, object, path),
            Owner::Cwd => {
                self.collected.cwd = (!path.is_unknown()).then(|| path.to_bytes_marked());
                self.cwd = Some(path);
            }
            Owner::Exe => self.collected.exe = (!path.is_unknown()).then(|| path.to_bytes_marked()),
            Owner::Directory(which) => self.directories[which] = Some(path),
        }
    }

    fn object(&mut self, name_type: NameType, object: wire::Object, path: KernelPath) {
        let wire::Object { ino, dev, mode, uid, gid, rdev, _pad } = object;
        let inode = (object != wire::Object::default()).then_some(Inode { ino, dev, mode, uid, gid, rdev });
        let (name, source) = (Some(path.to_bytes()), PathSource::Kernel);
        let item = PathItem { path: name, name_type, source, inode, ..PathItem::default() };
        self.collected.paths.push(item);
        if name_type == NameType::Parent {
            self.parent = Some(path);
        }
    }

    /// A piece of a name: its bytes up to the first NUL, behind which lies whatever the buffer held. A piece with its only NUL
    /// at its end was cut there, and the next one continues it.
    fn user_name(&mut self, which: usize, data: &[u8]) {
        let piece = until_nul(data);
        let progress = if piece.len() + 1 < data.len() { Progress::Whole } else { Progress::More };
        match &mut self.user_names[which] {
            None => self.user_names[which] = Some((piece.to_vec(), progress)),
            Some((name, so_far @ Progress::More)) => {
                name.extend(piece);
                *so_far = progress;
            }
            Some(_) => self.malformed(),
        }
    }

    fn target(&mut self, data: &[u8]) {
        let Some(wire::TargetTask { pid, auid, uid, session, comm }) = sample::target(data) else {
            return self.malformed();
        };
        let comm = until_nul(&comm).to_vec();
        self.collected.targets.push(Target { pid, auid, uid, session, comm, ..Target::default() });
    }

    fn user_item(&mut self, path: Bytes) {
        let (path, name_type, source) = (Some(path), NameType::Unknown, PathSource::User);
        self.collected.paths.push(PathItem { path, name_type, source, ..PathItem::default() });
    }

    fn finish(mut self, exit: Option<i64>) -> Collected {
        self.give_up();
        // A local socket that was looked up in vain: no hook is shown anything, and the kernel's audit has the name.
        if self.collected.paths.is_empty()
            && exit.is_some_and(is_in_vain)
            && let Some(Address::Path(name)) = self.collected.sockaddr.as_deref().map(Address::decode)
        {
            self.user_names[0].get_or_insert_with(|| (name.to_vec(), Progress::Whole));
        }
        let [first, second, text] = std::mem::take(&mut self.user_names);
        if let Some((text, progress)) = text {
            if progress != Progress::Whole {
                self.mark(incomplete::USER_NAME);
            }
            // What it is relative to is decided when it is followed.
            self.user_item(text);
        }
        let names = [first, second].into_iter().zip(std::mem::take(&mut self.directories));
        for ((name, progress), directory) in names.filter_map(|(name, directory)| Some((name?, directory))) {
            if progress != Progress::Whole {
                self.mark(incomplete::USER_NAME);
            }
            let unknown = KernelPath::unknown();
            let base = directory.as_ref().or(self.cwd.as_ref()).unwrap_or(&unknown);
            let path = lexical(&name, base);
            if !path.starts_with(b"/") && base.is_unknown() {
                self.mark(incomplete::PATH);
            }
            self.user_item(path);
        }
        self.collected.argv = self.argv.as_deref().map(split_arguments);
        self.collected
    }
}

fn role(detail: u8) -> NameType {
    match detail {
        name_type::NORMAL => NameType::Normal,
        name_type::PARENT => NameType::Parent,
        name_type::CREATE => NameType::Create,
        name_type::DELETE => NameType::Delete,
        _ => NameType::Unknown,
    }
}

/// Without NULs at its end, as the kernel has it.
fn title(data: &[u8]) -> Bytes {
    let length = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    data[..length].to_vec()
}

/// Arguments end in a NUL each; the last one's may be missing.
fn split_arguments(bytes: &[u8]) -> Vec<Bytes> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}
