//! `kill -9` of a process that sends: what was in its spool arrives, and at most one batch that was not acknowledged comes twice.

mod common;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use output::{OutputConfig, Pipeline};

use common::{Nobody, daemon_event, kill_a_run, wait_until};

/// Set for the run of this test that is to be killed: directory of its spool, port of the server, and its number.
const VICTIM: &str = "OUTPUT_TEST_KILL_SENDER";
const PATIENCE: Duration = Duration::from_secs(60);
/// Records that may be sent without being acknowledged.
const BATCH: usize = 40;
const ROUNDS: u64 = 8;
/// Serials of one victim are this far from those of the next.
const APART: u64 = 10_000_000;

fn start(directory: &Path, port: u16) -> Pipeline {
    let config = format!(
        "type = 'syslog'\ntarget = 'tcp://127.0.0.1:{port}'\nformat = 'json'\nacknowledge_records = {BATCH}\n\
         acknowledge_ms = 20\nspool.path = '{}'",
        directory.display()
    );
    let config: OutputConfig = toml::from_str(&config).unwrap();
    Pipeline::start(&[config], "node", Arc::new(Nobody)).unwrap()
}

/// Sends until it is killed, and says how much is in the spool.
fn be_killed(told: &str) {
    let mut words = told.split(' ');
    let mut word = || words.next().unwrap();
    let (directory, port, round) = (word(), word().parse().unwrap(), word().parse::<u64>().unwrap());
    let pipeline = start(Path::new(directory), port);
    for number in 0.. {
        pipeline.push(daemon_event(0, round * APART + number, Vec::new()));
        if number % 20 == 19 {
            pipeline.flush(PATIENCE).unwrap();
            println!("spooled {number}");
        }
    }
}

/// Reads what comes, and ends each connection when its client does.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<u64>>>);

impl Server {
    fn listen(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = self.clone();
        std::thread::spawn(move || listener.incoming().for_each(|stream| server.serve(stream.unwrap())));
        port
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        // Of one that was killed, all that came before.
        let _ = stream.read_to_end(&mut bytes);
        let mut rest = &bytes[..];
        let mut serials = self.0.lock().unwrap();
        // Octet counting: the length, a space, the message.
        while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
            let length: usize = std::str::from_utf8(&rest[..space]).unwrap().parse().unwrap();
            let Some(message) = rest.get(space + 1..space + 1 + length) else { break };
            let json = message.iter().position(|byte| *byte == b'{').unwrap();
            let record: serde_json::Value = serde_json::from_slice(&message[json..]).unwrap();
            serials.push(record["serial"].as_u64().unwrap());
            rest = &rest[space + 1 + length..];
        }
    }

    /// How often each number came, by round.
    fn came(&self) -> BTreeMap<u64, BTreeMap<u64, usize>> {
        let mut rounds: BTreeMap<u64, BTreeMap<u64, usize>> = BTreeMap::new();
        for serial in &*self.0.lock().unwrap() {
            *rounds.entry(serial / APART).or_default().entry(serial % APART).or_default() += 1;
        }
        rounds
    }
}

fn kill_one(directory: &Path, port: u16, round: u64) -> u64 {
    let told = format!("{} {port} {round}", directory.display());
    let after = Duration::from_micros(round * 7919);
    kill_a_run("a_sender_that_is_killed_loses_nothing", (VICTIM, told.as_ref()), "spooled", after).unwrap_or(19)
}

#[test]
fn a_sender_that_is_killed_loses_nothing() {
    if let Ok(told) = std::env::var(VICTIM) {
        return be_killed(&told);
    }
    let directory = tempfile::tempdir().unwrap();
    let server = Server::default();
    let port = server.listen();
    let spooled: Vec<u64> = (0..ROUNDS).map(|round| kill_one(directory.path(), port, round)).collect();
    let pipeline = start(directory.path(), port);
    wait_until("an empty spool", PATIENCE, || pipeline.counters()[0].spooled == 0);
    pipeline.close(PATIENCE);
    let came = server.came();
    let mut repeated = 0;
    for (round, spooled) in (0..ROUNDS).zip(spooled) {
        let numbers = &came[&round];
        assert!(numbers.keys().copied().eq(0..numbers.len() as u64), "round {round}: some are missing");
        assert!(numbers.len() as u64 > spooled, "round {round}: {spooled} were spooled, {} came", numbers.len());
        repeated += numbers.values().map(|times| times - 1).sum::<usize>();
    }
    let most = usize::try_from(ROUNDS).unwrap() * BATCH;
    assert!(repeated <= most, "{repeated} came twice, of {most} that were not acknowledged at most");
}
