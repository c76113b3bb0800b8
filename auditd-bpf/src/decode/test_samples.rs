//! Builds samples as the kernel side does, for tests.

use std::mem::offset_of;

use auditd_bpf_common::limits::CHUNK_BYTES;
use auditd_bpf_common::wire::{self, EventHeader, Object, kind, path_end, section as sections};

pub(super) const HEADER_BYTES: usize = size_of::<EventHeader>();

/// A header of an event whose fields all have different values.
pub(super) fn event_header() -> EventHeader {
    let mut header = EventHeader {
        kind: kind::EVENT,
        schema: wire::SCHEMA_VERSION,
        start: 5_000_000_001,
        time: 5_000_000_002,
        tid: 812,
        pid: 811,
        ppid: 800,
        generation: 7,
        rule: 2,
        abi: 0,
        syscall: 257,
        hook: 4,
        args: [0xffff_ff9c, 0x7ffd_0000_1000, 12, 13, 14, 15],
        exit: -13,
        auid: 1000,
        session: 3,
        uids: [1001, 1002, 1003, 1004],
        gids: [2001, 2002, 2003, 2004],
        exe_dev: 8 << 20 | 1,
        incomplete: 0,
        exe_ino: 4711,
        comm: [0; 16],
        tty: [0; 32],
        chunk: 0,
        payload_len: 0,
        has_result: 1,
        personality: 8,
        verdict: 0,
        _pad: 0,
    };
    header.comm[..3].copy_from_slice(b"cat");
    header.tty[..4].copy_from_slice(b"pts0");
    header
}

/// Bytes of a sample. Each field is written where the compiler put it, which the reader does not ask.
pub(super) fn sample(header: &EventHeader, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
    macro_rules! numbers {
        ($($field:ident)+) => { $(put(offset_of!(EventHeader, $field), &header.$field.to_ne_bytes());)+ };
    }
    macro_rules! arrays {
        ($($field:ident)+) => {
            $(let flat: Vec<u8> = header.$field.iter().flat_map(|n| n.to_ne_bytes()).collect();
            put(offset_of!(EventHeader, $field), &flat);)+
        };
    }
    numbers!(kind schema start time tid pid ppid generation rule abi syscall hook exit auid session);
    numbers!(exe_dev incomplete exe_ino chunk has_result personality verdict);
    arrays!(args uids gids comm tty);
    put(offset_of!(EventHeader, payload_len), &(payload.len() as u32).to_ne_bytes());
    bytes.extend(payload);
    bytes
}

pub(super) fn section(kind: u8, detail: u8, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap().to_ne_bytes();
    [&[kind, detail][..], &len, data].concat()
}

/// The sections of a call, and from them its samples.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) header: EventHeader,
    sections: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn new() -> Self {
        Self { header: event_header(), sections: Vec::new() }
    }

    pub(super) fn section(mut self, kind: u8, detail: u8, data: &[u8]) -> Self {
        self.sections.push(section(kind, detail, data));
        self
    }

    /// The components of a path, given root first, and its end.
    pub(super) fn path(mut self, names: &[&[u8]], end: u8) -> Self {
        for name in names.iter().rev() {
            self = self.section(sections::COMPONENT, 0, name);
        }
        self.section(sections::PATH_END, end, &[])
    }

    pub(super) fn object(self, role: u8, inode: &Object, names: &[&[u8]], end: u8) -> Self {
        let mut data = inode.ino.to_ne_bytes().to_vec();
        for number in [inode.dev, inode.mode, inode.uid, inode.gid, inode.rdev, inode._pad] {
            data.extend(number.to_ne_bytes());
        }
        self.section(sections::OBJECT, role, &data).path(names, end)
    }

    pub(super) fn cwd(self, names: &[&[u8]]) -> Self {
        self.section(sections::CWD, 0, &[]).path(names, path_end::ROOT)
    }

    pub(super) fn dirfd(self, which: u8, names: &[&[u8]], end: u8) -> Self {
        self.section(sections::DIRFD, which, &[]).path(names, end)
    }

    /// A name in the caller's memory, in pieces as `user_string_step` reads them: a piece that is not the last is full, with
    /// its NUL at its last byte; behind the NUL of the last is what the buffer held before.
    pub(super) fn user_name(mut self, which: u8, name: &[u8]) -> Self {
        const PIECE: usize = 512;
        let mut rest = name;
        loop {
            let (piece, more) = rest.split_at(rest.len().min(PIECE - 1));
            let mut data = [b'~'; PIECE];
            data[..piece.len()].copy_from_slice(piece);
            data[piece.len()] = 0;
            self = self.section(sections::USER_NAME, which, &data);
            if piece.len() < PIECE - 1 {
                return self;
            }
            rest = more;
        }
    }

    /// Arguments, in sections of the kernel side's size.
    pub(super) fn argv(mut self, arguments: &[u8]) -> Self {
        for piece in arguments.chunks(1020) {
            self = self.section(sections::ARGV, 0, piece);
        }
        self
    }

    /// The samples, as `emit.rs` cuts them.
    pub(super) fn samples(&self) -> Vec<Vec<u8>> {
        let mut header = self.header;
        let (mut samples, mut payload) = (Vec::new(), Vec::new());
        for section in &self.sections {
            if payload.len() > CHUNK_BYTES - 4 {
                let chunk = EventHeader { kind: kind::CHUNK, pid: 0, ..header };
                samples.push(sample(&chunk, &payload));
                header.chunk += 1;
                payload.clear();
            }
            payload.extend(section);
        }
        samples.push(sample(&header, &payload));
        samples
    }
}
