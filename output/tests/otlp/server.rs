//! A server that takes logs over HTTP, and answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::common::free_port;
use crate::wire::{self, LogRecord};

/// What a request is answered.
#[derive(Clone)]
pub enum Answer {
    /// With a status, further headers, and a body of protobuf.
    Say(u16, &'static str, Vec<u8>),
    /// Not at all: the connection ends.
    HangUp,
    /// Not at all, and the connection stays.
    Silence,
}

/// A request that came whole.
#[derive(Clone)]
pub struct Request {
    pub line: String,
    /// By their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// Not compressed any more.
    pub body: Vec<u8>,
    /// When it came.
    pub at: Instant,
    /// Whether it was answered that all is well.
    pub taken: bool,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    /// For the next requests; those behind them are taken.
    answers: VecDeque<Answer>,
    connections: Vec<TcpStream>,
}

#[derive(Clone, Default)]
struct Shared {
    state: Arc<Mutex<State>>,
    tls: Option<Arc<ServerConfig>>,
}

/// See the module's documentation.
pub struct Server {
    pub port: u16,
    shared: Shared,
    ending: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    /// One that listens.
    pub fn start() -> Self {
        let mut server = Self::down_yet(None);
        server.up();
        server
    }

    /// One that does not listen yet.
    pub fn down_yet(tls: Option<Arc<ServerConfig>>) -> Self {
        let shared = Shared { tls, ..Shared::default() };
        Self { port: free_port(), shared, ending: Arc::default(), listener: None }
    }

    /// Listens.
    pub fn up(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.ending.store(false, Ordering::Relaxed);
        let (ending, shared) = (Arc::clone(&self.ending), self.shared.clone());
        self.listener = Some(std::thread::spawn(move || {
            while !ending.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => shared.accept(stream),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }));
    }

    /// Ends all connections and listens no more.
    pub fn down(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
        for connection in self.shared.state.lock().unwrap().connections.drain(..) {
            // Some have ended.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// The next requests are answered so.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.state.lock().unwrap().answers.extend(answers);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    /// How many there were since it was last down.
    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections.len()
    }

    /// The log records of all requests that were taken.
    pub fn records(&self) -> Vec<LogRecord> {
        let taken = self.requests().into_iter().filter(|request| request.taken);
        taken.flat_map(|request| wire::records(&request.body)).collect()
    }

    /// The serials of these, but for losses.
    pub fn serials(&self) -> Vec<u64> {
        self.records().iter().filter_map(LogRecord::serial).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}

impl Shared {
    fn accept(&self, stream: TcpStream) {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        self.state.lock().unwrap().connections.push(stream.try_clone().unwrap());
        let shared = self.clone();
        std::thread::spawn(move || {
            // An end in the middle is what some tests are about.
            let _ = match &shared.tls {
                None => shared.serve(stream),
                Some(config) => {
                    let session = ServerConnection::new(Arc::clone(config)).unwrap();
                    shared.serve(StreamOwned::new(session, stream))
                }
            };
        });
    }

    fn serve(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(mut request) = read_request(&mut reader)? {
            let answer = {
                let mut state = self.state.lock().unwrap();
                let answer = state.answers.pop_front().unwrap_or(Answer::Say(200, "", Vec::new()));
                request.taken = matches!(answer, Answer::Say(200, ..));
                state.requests.push(request);
                answer
            };
            match answer {
                Answer::Say(status, headers, body) => {
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} As told\r\nContent-Type: application/x-protobuf\r\nContent-Length: {length}\r\n\
                         {headers}\r\n"
                    );
                    reader.get_mut().write_all(&[head.as_bytes(), &body].concat())?;
                    reader.get_mut().flush()?;
                }
                Answer::HangUp => return Ok(()),
                Answer::Silence => {}
            }
        }
        Ok(())
    }
}

/// `None` where the connection ended between two.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body)?;
    if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let compressed = std::mem::take(&mut body);
        GzDecoder::new(&*compressed).read_to_end(&mut body)?;
    }
    Ok(Some(Request { line: line.trim_end().to_owned(), headers, body, at: Instant::now(), taken: false }))
}

/// A server of [`crate::certificates`] that wants a certificate of its clients.
pub fn tls(directory: &Path) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(directory.join("ca.pem")).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_file(directory.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
    Arc::new(builder.with_client_cert_verifier(clients).with_single_cert(chain, key).unwrap())
}
