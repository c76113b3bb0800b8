//! The daemon's side of the control socket.
//!
//! Each connection has a thread, which reads and writes under a deadline; what a client does or does not do never reaches the
//! main loop but as whole, well-formed requests. There are at the most [`CONNECTIONS_MAX`].

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::protocol::{self, Command, Request, Response, VERSION};
use crate::connections::{Slots, accept_all};

/// What the log calls it.
const NAME: &str = "control socket";
/// Connections at a time; more are told so and closed.
pub const CONNECTIONS_MAX: usize = 16;
/// How long a client may take to send a request, and to take the response.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the main loop may take: under emulation, attaching many programs takes this long.
const ANSWER_PATIENCE: Duration = Duration::from_secs(300);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another daemon has it.
    #[error("{} belongs to a running daemon, pid {pid}; stop it first, or set `control_socket`", path.display())]
    Live {
        /// The socket.
        path: PathBuf,
        /// Who listens.
        pid: i32,
    },
    /// The operating system refuses.
    #[error("cannot {what} {}: {source}", path.display())]
    System {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
}

/// A request that waits for the main loop.
pub struct Asked {
    /// Who asks.
    pub peer: Peer,
    /// For what.
    pub command: Command,
    answer: SyncSender<Response>,
}

impl Asked {
    /// Answers. Nobody may be there any more to hear it.
    pub fn answer(self, response: Response) {
        let _ = self.answer.send(response);
    }
}

/// A listening control socket; removed when dropped.
pub struct Server {
    path: PathBuf,
    requests: Receiver<Asked>,
    wakeup: UnixStream,
    /// Held for as long as the socket is ours.
    _lock: File,
}

impl Server {
    /// Listens at `path`, in place of a socket that a dead daemon has left.
    ///
    /// # Errors
    /// If another daemon listens there, or the operating system refuses.
    pub fn start(path: &Path) -> Result<Self, ControlError> {
        let lock = lock(path)?;
        let listener = listen(path)?;
        let system = |what| move |source| ControlError::System { what, path: path.to_path_buf(), source };
        let (wakeup, wake) = UnixStream::pair().map_err(system("wake up for"))?;
        wakeup.set_nonblocking(true).map_err(system("wake up for"))?;
        wake.set_nonblocking(true).map_err(system("wake up for"))?;
        let (sender, requests) = mpsc::channel();
        let door = Door { requests: sender, wake: Arc::new(wake), slots: Slots::new(CONNECTIONS_MAX) };
        let named = thread::Builder::new().name("control".to_owned());
        let accept = move || listener.accept().map(|(stream, _)| stream);
        named
            .spawn(move || accept_all(NAME, accept, |stream| door.accept(stream)))
            .map_err(system("start a thread for"))?;
        Ok(Self { path: path.to_path_buf(), requests, wakeup, _lock: lock })
    }

    /// Readable when a request waits.
    #[must_use]
    pub fn wakeup(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }

    /// The next request that waits.
    pub fn take(&mut self) -> Option<Asked> {
        let mut woken = [0; 64];
        while matches!((&self.wakeup).read(&mut woken), Ok(read) if read > 0) {}
        self.requests.try_recv().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails where somebody has removed it already.
        let _ = fs::remove_file(&self.path);
    }
}

/// One daemon at a time looks at the socket. Whoever holds the lock file lives.
///
/// # Errors
/// If another has it, or it cannot be had.
pub fn lock(path: &Path) -> Result<File, ControlError> {
    let system = |what, path: &Path| {
        let path = path.to_path_buf();
        move |source| ControlError::System { what, path, source }
    };
    if let Some(dir) = path.parent() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(dir);
        made.map_err(system("create the directory", dir))?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name);
    let file = file.map_err(system("open", &name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ControlError::Live { path: path.to_path_buf(), pid: listener_of(path) }),
        Err(TryLockError::Error(source)) => Err(system("lock", &name)(source)),
    }
}

/// Who listens at a socket; 0 where nobody does yet.
fn listener_of(path: &Path) -> i32 {
    let peer = UnixStream::connect(path).and_then(|stream| Ok(getsockopt(&stream, PeerCredentials)?));
    peer.map_or(0, |peer| peer.pid())
}

fn listen(path: &Path) -> Result<UnixListener, ControlError> {
    let system = |what| move |source| ControlError::System { what, path: path.to_path_buf(), source };
    match listener_of(path) {
        // A dead daemon's, or none.
        0 => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system("replace")(error)),
            _ => {}
        },
        pid => return Err(ControlError::Live { path: path.to_path_buf(), pid }),
    }
    // Until the mode is set, only root gets in all the same: who asks is looked at.
    let listener = UnixListener::bind(path).map_err(system("listen at"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(system("set the mode of"))?;
    Ok(listener)
}

/// What connections need of the main loop.
#[derive(Clone)]
struct Door {
    requests: Sender<Asked>,
    wake: Arc<UnixStream>,
    slots: Slots,
}

impl Door {
    fn accept(&self, mut stream: UnixStream) {
        let Ok(peer) = getsockopt(&stream, PeerCredentials) else { return };
        let peer = Peer { pid: peer.pid(), uid: peer.uid() };
        if peer.uid != 0 {
            tracing::warn!("{NAME}: refused pid {} of user {}", peer.pid, peer.uid);
            return say(&mut stream, &Response::refused("You must be root"));
        }
        let Some(slot) = self.slots.take() else {
            return say(&mut stream, &Response::refused("too many connections"));
        };
        let door = self.clone();
        slot.serve(NAME, "control-client", move || door.serve(&mut stream, peer));
    }

    fn serve(&self, stream: &mut UnixStream, peer: Peer) {
        let Ok(input) = stream.try_clone() else { return };
        let mut input = BufReader::new(Patient { stream: input, deadline: Instant::now() + PATIENCE });
        loop {
            let response = match protocol::read_line(&mut input) {
                Ok(None) => return,
                Ok(Some(line)) => self.ask(peer, &line),
                Err(error) => {
                    return say(stream, &Response::refused(format!("the request was not received: {error}")));
                }
            };
            say(stream, &response);
            input.get_mut().deadline = Instant::now() + PATIENCE;
        }
    }

    fn ask(&self, peer: Peer, line: &[u8]) -> Response {
        // The version first: a newer request may have another form altogether.
        #[derive(serde::Deserialize)]
        struct Version {
            version: u32,
        }
        match serde_json::from_slice::<Version>(line) {
            Ok(Version { version: VERSION }) => {}
            Ok(Version { version }) => {
                return Response::refused(format!("this daemon speaks version {VERSION}, not {version}"));
            }
            Err(error) => return Response::refused(format!("malformed request: {error}")),
        }
        let command = match serde_json::from_slice::<Request>(line) {
            Ok(request) => request.command,
            Err(error) => return Response::refused(format!("malformed request: {error}")),
        };
        let (answer, answers) = mpsc::sync_channel(1);
        if self.requests.send(Asked { peer, command, answer }).is_err() {
            return Response::refused("the daemon is ending");
        }
        // Full means that it has been woken already.
        let _ = (&*self.wake).write(b"!");
        answers.recv_timeout(ANSWER_PATIENCE).unwrap_or_else(|_| Response::refused("the daemon is ending"))
    }
}

/// A stream that must be done by a certain time, however it trickles.
struct Patient {
    stream: UnixStream,
    deadline: Instant,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

/// To somebody who may have gone.
fn say(stream: &mut UnixStream, response: &Response) {
    let Ok(line) = protocol::line(response) else { return };
    if stream.set_write_timeout(Some(PATIENCE)).and_then(|()| stream.write_all(&line)).is_err() {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client::Client;
    use crate::control::protocol::{Line, Outcome, Ran, Run, Text};

    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// The next request, which another thread is about to make.
    fn next(server: &mut Server) -> Asked {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(request) = server.take() {
                return request;
            }
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn run(text: &str) -> Run {
        Run { file: None, lines: vec![Line { number: 1, text: Text(text.into()) }] }
    }

    #[test]
    fn a_request_reaches_the_loop_and_its_answer_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/control.sock");
        let mut server = Server::start(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut client = Client::connect(&path).unwrap();
        assert_eq!(client.daemon_pid(), i32::try_from(std::process::id()).unwrap());
        if !is_root() {
            assert!(client.run(run("-l")).unwrap_err().to_string().contains("You must be root"));
            return;
        }
        let asked = thread::spawn(move || client.run(run("-l")));
        let request = next(&mut server);
        assert_eq!((&request.command, request.peer.uid), (&Command::Run(run("-l")), 0));
        request.answer(Response::new(Outcome::Ran(Ran { stopped: true, ..Ran::default() })));
        assert!(asked.join().unwrap().unwrap().stopped);
        drop(server);
        assert!(!path.exists());
    }

    #[test]
    fn the_status_comes_back_and_nothing_else_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let mut server = Server::start(&path).unwrap();
        if !is_root() {
            return;
        }
        let report = crate::status::Report { rules: 7, ..Default::default() };
        for (outcome, expected) in [
            (Outcome::Status { report: report.clone() }, Ok(report)),
            (Outcome::Ran(Ran::default()), Err("it answers another question")),
            (Outcome::Refused { error: "not now".to_owned() }, Err("not now")),
        ] {
            let mut client = Client::connect(&path).unwrap();
            let asked = thread::spawn(move || client.status());
            let request = next(&mut server);
            assert_eq!(request.command, Command::Status);
            request.answer(Response::new(outcome));
            match (asked.join().unwrap(), expected) {
                (Ok(report), Ok(expected)) => assert_eq!(report, expected),
                (Err(error), Err(expected)) => assert!(error.to_string().ends_with(expected), "{error}"),
                (answer, expected) => panic!("{answer:?} for {expected:?}"),
            }
        }
    }

    #[test]
    fn a_live_socket_is_refused_and_a_stale_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let server = Server::start(&path).unwrap();
        let refusal = Server::start(&path).map(drop).unwrap_err().to_string();
        assert!(refusal.contains(&format!("pid {}", std::process::id())), "{refusal}");
        drop(server);
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left by the dead");
        Server::start(&path).unwrap();
    }

    #[test]
    fn what_is_no_request_is_refused_and_does_not_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let _server = Server::start(&path).unwrap();
        if !is_root() {
            return;
        }
        for (sent, expected) in [
            ("nonsense\n", "malformed request"),
            ("{\"version\":2,\"command\":\"fly\"}\n", "speaks version 1, not 2"),
            ("{\"version\":1,\"command\":\"fly\"}\n", "malformed request"),
        ] {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(sent.as_bytes()).unwrap();
            let answer = protocol::read_line(&mut BufReader::new(stream)).unwrap().unwrap();
            assert!(String::from_utf8_lossy(&answer).contains(expected), "{}", String::from_utf8_lossy(&answer));
        }
    }

    #[test]
    fn one_connection_too_many_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let _server = Server::start(&path).unwrap();
        if !is_root() {
            return;
        }
        let idle: Vec<_> = (0..CONNECTIONS_MAX).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let one_more = UnixStream::connect(&path).unwrap();
        let answer = protocol::read_line(&mut BufReader::new(one_more)).unwrap().unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("too many connections"));
        drop(idle);
    }
}
