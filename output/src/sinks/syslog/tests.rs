//! The syslog sink against real sockets.

use std::net::UdpSocket;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::{Duration, Instant};

use super::*;
use crate::event::{Body, Event, Verdict};
use crate::samples::{self, NODE};

const PATIENCE: Duration = Duration::from_secs(20);

fn config(target: &str) -> SyslogConfig {
    toml::from_str(&format!("target = '{target}'\nfacility = 'local6'\nalert_severity = 'crit'")).unwrap()
}

fn open(target: &str) -> (Box<dyn Sink>, Arc<Meter>) {
    let meter = Arc::new(Meter::default());
    (super::open(&config(target), NODE, Arc::clone(&meter)).unwrap(), meter)
}

fn event(serial: u64) -> Event {
    Event { serial, ..samples::event(Body::Syscall(Box::new(samples::open_failed()))) }
}

fn write(sink: &mut Box<dyn Sink>, serial: u64) {
    sink.write(&samples::record(&event(serial)), 1);
}

/// Waits as the worker would, then lets the sink try again, until it does not stall.
fn retry_until_well(sink: &mut Box<dyn Sink>) {
    let deadline = Instant::now() + PATIENCE;
    while let Some(until) = sink.stalled_until() {
        assert!(Instant::now() < deadline, "still stalled");
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        sink.retry();
    }
}

/// The serial that the structured data of a message gives, once its frame was checked.
fn serial(message: &str) -> u64 {
    assert!(message.starts_with("<182>1 2026-11-24T07:04:10.123456Z web1 auditd-bpf "), "{message}");
    let data = message.split_once("[auditd-bpf@32473 serial=\"").unwrap().1;
    let (_, json) = message.split_once("] ").unwrap();
    let record: serde_json::Value = serde_json::from_str(json).unwrap();
    let serial = data.split_once('"').unwrap().0.parse().unwrap();
    assert_eq!(record["serial"], serial);
    serial
}

fn receive(read: impl Fn(&mut [u8]) -> io::Result<usize>) -> u64 {
    let mut buffer = [0; 8192];
    let count = read(&mut buffer).unwrap();
    serial(std::str::from_utf8(&buffer[..count]).unwrap())
}

fn framed(body: Body) -> String {
    let framer = Framer::new(&config("udp://h"), NODE);
    String::from_utf8(framer.frame(&samples::record(&samples::event(body))).concat()).unwrap()
}

#[test]
fn a_message_as_a_whole() {
    let mut call = samples::rename_denied();
    call.rule.keys = [b"a\"]\\".to_vec(), b"b\n".to_vec()].into();
    let message = framed(Body::Syscall(Box::new(call)));
    let pid = std::process::id();
    let header = format!(
        "<178>1 2026-11-24T07:04:10.123456Z web1 auditd-bpf {pid} SYSCALL \
         [auditd-bpf@32473 serial=\"2147483649\" verdict=\"deny\" key=\"a\\\"\\]\\\\\\\\\" key=\"b?\"] {{\"time\":"
    );
    assert!(message.starts_with(&header), "{message}\n{header}");
    assert!(message.ends_with('}'));
}

#[test]
fn refusals_and_losses_are_alerts() {
    let mut call = samples::open_failed();
    assert!(framed(Body::Syscall(Box::new(call.clone()))).starts_with("<182>1 "));
    call.verdict = Verdict::Kill;
    assert!(framed(Body::Syscall(Box::new(call))).starts_with("<178>1 "));
    assert!(framed(samples::lost()).starts_with("<178>1 "));
    assert!(framed(samples::daemon()).starts_with("<182>1 "));
}

#[test]
fn over_a_unix_datagram_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    let (mut sink, meter) = open(&format!("unix:{}", path.display()));
    write(&mut sink, 7);
    assert_eq!(receive(|buffer| server.recv(buffer)), 7);
    assert_eq!(meter.snapshot("").written, 1);
}

#[test]
fn over_a_unix_stream_socket_where_the_server_has_that() {
    use std::io::{BufRead, BufReader};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let server = UnixListener::bind(&path).unwrap();
    let (mut sink, _) = open(&format!("unix:{}", path.display()));
    write(&mut sink, 7);
    write(&mut sink, 8);
    let lines = BufReader::new(server.accept().unwrap().0).lines();
    let serials: Vec<u64> = lines.take(2).map(|line| serial(&line.unwrap())).collect();
    assert_eq!(serials, [7, 8]);
}

#[test]
fn a_server_that_comes_late_or_again_gets_what_waited() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (mut sink, meter) = open(&format!("unix:{}", path.display()));
    assert!(sink.stalled_until().is_some(), "a warning, not the end");
    let server = UnixDatagram::bind(&path).unwrap();
    retry_until_well(&mut sink);
    write(&mut sink, 1);
    assert_eq!(receive(|buffer| server.recv(buffer)), 1);

    drop(server);
    std::fs::remove_file(&path).unwrap();
    write(&mut sink, 2);
    assert!(sink.stalled_until().is_some());
    let counters = meter.snapshot("");
    assert_eq!((counters.written, counters.stalled), (1, true));
    let server = UnixDatagram::bind(&path).unwrap();
    retry_until_well(&mut sink);
    assert_eq!(receive(|buffer| server.recv(buffer)), 2);
    assert_eq!((meter.snapshot("").written, meter.snapshot("").stalled), (2, false));
}

#[test]
fn a_server_that_does_not_read_stalls_the_sink_and_gets_all_when_it_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    let (mut sink, _) = open(&format!("unix:{}", path.display()));
    let mut sent = 0;
    while sink.stalled_until().is_none() {
        write(&mut sink, sent);
        sent += 1;
        assert!(sent < 1_000_000, "the socket takes everything");
    }
    let reader = std::thread::spawn(move || {
        let serials: Vec<u64> = (0..sent).map(|_| receive(|buffer| server.recv(buffer))).collect();
        serials
    });
    retry_until_well(&mut sink);
    assert!(reader.join().unwrap().into_iter().eq(0..sent));
}

#[test]
fn over_udp() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut sink, meter) = open(&format!("udp://{}", server.local_addr().unwrap()));
    write(&mut sink, 9);
    assert_eq!(receive(|buffer| server.recv(buffer)), 9);
    assert_eq!(meter.snapshot("").written, 1);
}

#[test]
fn what_no_datagram_holds_is_lost_and_counted_and_the_next_record_passes() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut sink, meter) = open(&format!("udp://{}", server.local_addr().unwrap()));
    let mut giant = samples::exec();
    giant.argv = Some(vec![vec![b'x'; 70_000]]);
    sink.write(&samples::record(&samples::event(Body::Syscall(Box::new(giant)))), 1);
    write(&mut sink, 1);
    assert_eq!(receive(|buffer| server.recv(buffer)), 1);
    let counters = meter.snapshot("");
    assert_eq!((counters.written, counters.lost[1]), (1, ("too_long", 1)));
    assert_eq!(meter.take_unreported().collect::<Vec<_>>(), [(Cause::TooLong, 1)]);
}

#[test]
fn a_closed_udp_port_is_noticed_and_nothing_is_lost_or_counted_twice() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let (mut sink, meter) = open(&format!("udp://{address}"));
    drop(server);
    write(&mut sink, 1);
    write(&mut sink, 2);
    assert!(sink.stalled_until().is_some());
    sink.retry();
    assert!(sink.stalled_until().is_some(), "the port is still closed");
    let server = UdpSocket::bind(address).unwrap();
    retry_until_well(&mut sink);
    assert_eq!([1, 2].map(|_| receive(|buffer| server.recv(buffer))), [1, 2]);
    assert_eq!(meter.snapshot("").written, 2);
    write(&mut sink, 3);
    assert_eq!(receive(|buffer| server.recv(buffer)), 3);
}
