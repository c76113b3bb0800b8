//! A pipeline with one syslog output, and events for it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use output::event::{Body, Event, Ids, RuleRef, SyscallEvent};
use output::{OutputConfig, Pipeline, SinkCounters};
use tempfile::TempDir;

use crate::certificates;
use crate::common::{Nobody, X86_64};
use crate::server::{Server, Transport};

pub struct Feed {
    pipeline: Pipeline,
    pushed: Cell<u64>,
    _spool: TempDir,
}

impl Feed {
    /// Connects as the server wants it.
    pub fn start(server: &Server, keys: &str) -> Self {
        Self::start_with_tls(server, keys, "ca = 'CA'\ncert = 'CERT'\nkey = 'KEY'\nname = 'loghost.example'")
    }

    /// The same with other keys of `tls`, in which `CA` and so on stand for files.
    pub fn start_with_tls(server: &Server, keys: &str, tls: &str) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let scheme = match server.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        };
        let mut config = format!(
            "type = 'syslog'\ntarget = '{scheme}://127.0.0.1:{}'\nqueue = 1000000\nqueue_bytes = 4000000000\n{keys}\n",
            server.port
        );
        if server.transport != Transport::Udp {
            config += &format!("[spool]\npath = '{}'\n", spool.path().join("spool").display());
        }
        if server.transport == Transport::Tls {
            let files = [("OTHER_CA", "other-ca.pem"), ("CA", "ca.pem"), ("CERT", "client.pem"), ("KEY", "client.key")];
            let mut tls = tls.to_owned();
            for (word, file) in files {
                let path = certificates::file(server.directory(), file);
                tls = tls.replace(&format!("'{word}'"), &format!("'{}'", path.display()));
            }
            config += &format!("[tls]\n{tls}\n");
        }
        let config: OutputConfig = toml::from_str(&config).unwrap();
        let pipeline = Pipeline::start(&[config], "web1", Arc::new(Nobody)).unwrap();
        Self { pipeline, pushed: Cell::new(0), _spool: spool }
    }

    /// Pushes events with the next serials.
    pub fn push(&self, count: u64) {
        let first = self.pushed.get();
        for serial in first..first + count {
            let call = SyscallEvent {
                rule: RuleRef { keys: [b"fed".to_vec()].into(), ..RuleRef::default() },
                arch: X86_64,
                syscall: 59,
                args: [1, 2, 3, 4, 5, serial].into(),
                exit: Some(0),
                pid: 812,
                ids: Ids { auid: 1000, ..Ids::default() },
                comm: b"cat".to_vec(),
                exe: Some(b"/usr/bin/cat".to_vec()),
                // Lengths that differ, so that frames end anywhere.
                argv: Some(vec![b"cat".to_vec(), vec![b'x'; usize::try_from(serial * 37 % 900).unwrap()]]),
                ..SyscallEvent::default()
            };
            let event = Event { time: 1_795_503_850_123_456_789, serial, body: Body::Syscall(Box::new(call)) };
            self.pipeline.push(Arc::new(event));
        }
        self.pushed.set(first + count);
    }

    pub fn pushed(&self) -> u64 {
        self.pushed.get()
    }

    pub fn counters(&self) -> SinkCounters {
        self.pipeline.counters().remove(0)
    }

    pub fn close(self) -> SinkCounters {
        self.pipeline.close(Duration::from_secs(20)).remove(0)
    }
}
