//! Servers as child processes, with a directory of their own each.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::common::{free_port, peers, wait_until};
use crate::{PATIENCE, certificates};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rsyslog,
    SyslogNg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

pub struct Server {
    kind: Kind,
    pub transport: Transport,
    tree: PathBuf,
    directory: TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts one; `None` where there are no packages.
    pub fn start(kind: Kind, transport: Transport) -> Option<Self> {
        let tree = peers()?;
        let directory = tempfile::tempdir().unwrap();
        certificates::write(directory.path(), "loghost.example");
        let port = free_port();
        let mut server = Self { kind, transport, tree, directory, port, child: None };
        fs::write(server.file("conf"), server.config()).unwrap();
        server.run();
        Some(server)
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Parts of the headers, which rsyslog writes beside the records.
    pub fn heads(&self) -> PathBuf {
        self.file("heads")
    }

    /// What it wrote, without a line that is not ended yet.
    pub fn lines(&self) -> Vec<String> {
        let Ok(file) = fs::File::open(self.file("records")) else { return Vec::new() };
        let mut lines = Vec::new();
        let mut reader = BufReader::new(file);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.pop() != Some('\n') {
                return lines;
            }
            lines.push(line);
        }
    }

    pub fn run(&mut self) {
        let libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/syslog-ng", "lib/x86_64-linux-gnu"];
        let libraries: Vec<_> = libraries.map(|path| self.tree.join(path).display().to_string()).into();
        let mut command = match self.kind {
            Kind::Rsyslog => {
                let mut command = Command::new(self.tree.join("usr/sbin/rsyslogd"));
                command.arg("-n").arg("-f").arg(self.file("conf")).arg("-i").arg(self.file("pid"));
                command.arg("-M").arg(self.tree.join("usr/lib/x86_64-linux-gnu/rsyslog"));
                command
            }
            Kind::SyslogNg => {
                let mut command = Command::new(self.tree.join("usr/sbin/syslog-ng"));
                command.args(["-F", "--no-caps", "-f"]).arg(self.file("conf")).arg("-R").arg(self.file("persist"));
                command.arg("-p").arg(self.file("pid")).arg("-c").arg(self.file("control"));
                command.arg("--module-path").arg(self.tree.join("usr/lib/syslog-ng/3.38"));
                command
            }
        };
        let log = fs::OpenOptions::new().create(true).append(true).open(self.file("log")).unwrap();
        command.env("LD_LIBRARY_PATH", libraries.join(":"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        if self.transport == Transport::Udp {
            wait_until(&self.said(), PATIENCE, || UdpSocket::bind(("127.0.0.1", self.port)).is_err());
        } else {
            wait_until(&self.said(), PATIENCE, || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        }
    }

    fn said(&self) -> String {
        format!("{:?} starting: {}", self.kind, fs::read_to_string(self.file("log")).unwrap_or_default())
    }

    /// Ends it as an init system would.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
        child.wait().unwrap();
    }

    fn config(&self) -> String {
        let directory = self.directory().display();
        let port = self.port;
        match (self.kind, self.transport) {
            (Kind::Rsyslog, Transport::Udp) => rsyslog(
                &format!("input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")"),
                "module(load=\"imudp\")",
                self.directory(),
            ),
            (Kind::Rsyslog, Transport::Tcp) => rsyslog(
                &format!("input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")"),
                "module(load=\"imtcp\")",
                self.directory(),
            ),
            (Kind::Rsyslog, Transport::Tls) => rsyslog(
                &format!("input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")"),
                "module(load=\"imtcp\" StreamDriver.Name=\"gtls\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"x509/name\" \
                 PermittedPeer=[\"web1.example\"])",
                self.directory(),
            ),
            (Kind::SyslogNg, transport) => {
                let source = match transport {
                    Transport::Udp => format!("network(ip(127.0.0.1) port({port}) transport(\"udp\"))"),
                    Transport::Tcp => format!("syslog(ip(127.0.0.1) port({port}) transport(\"tcp\"))"),
                    Transport::Tls => format!(
                        "syslog(ip(127.0.0.1) port({port}) transport(\"tls\") tls(ca-file(\"{directory}/ca.pem\") \
                         cert-file(\"{directory}/server.pem\") key-file(\"{directory}/server.key\") \
                         peer-verify(required-trusted)))"
                    ),
                };
                format!(
                    "@version: 3.38\n\
                     options {{ keep-hostname(yes); use-dns(no); stats-freq(0); log-msg-size(65536); }};\n\
                     source s {{ {source}; }};\n\
                     destination d {{ file(\"{directory}/records\" template(\"${{MSG}}\\n\") log-fifo-size(200000)); }};\n\
                     log {{ source(s); destination(d); flags(flow-control); }};\n"
                )
            }
        }
    }
}

fn rsyslog(input: &str, module: &str, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "global(workDirectory=\"{directory}\" maxMessageSize=\"64k\" defaultNetstreamDriver=\"ptcp\" \
         defaultNetstreamDriverCAFile=\"{directory}/ca.pem\" defaultNetstreamDriverCertFile=\"{directory}/server.pem\" \
         defaultNetstreamDriverKeyFile=\"{directory}/server.key\")\n\
         main_queue(queue.timeoutshutdown=\"30000\")\n\
         {module}\n{input}\n\
         template(name=\"records\" type=\"string\" string=\"%msg%\\n\")\n\
         template(name=\"heads\" type=\"string\" \
         string=\"%syslogfacility-text%|%syslogseverity-text%|%hostname%|%app-name%|%msgid%|%structured-data%\\n\")\n\
         action(type=\"omfile\" file=\"{directory}/records\" template=\"records\")\n\
         action(type=\"omfile\" file=\"{directory}/heads\" template=\"heads\")\n"
    )
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
