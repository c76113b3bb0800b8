//! The syslog sink before real servers: Debian's rsyslog and syslog-ng.
//!
//! They are looked for among the peers: see [`common::peers`].
//!
//! `AUDIT_RECORDS` (default 20000) and `AUDIT_OUTAGE_S` (default 3) make the tests longer.

#[path = "../common/mod.rs"]
mod common;
mod ends;
mod feed;
mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{certificates, wait_until};
use feed::Feed;
use server::{Kind, Server, Transport};

const PATIENCE: Duration = Duration::from_secs(120);
/// Records that may come twice for each time that the server went away.
const BATCH: usize = 500;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().map_or(usual, |text| text.parse().expect(variable))
}

/// How often each serial is in what the server wrote; every line must be a whole record.
fn received(server: &Server) -> BTreeMap<u64, usize> {
    let mut serials = BTreeMap::new();
    for line in server.lines() {
        let record: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("torn: {error}: {line:.300}"));
        *serials.entry(record["serial"].as_u64().unwrap()).or_default() += 1;
    }
    serials
}

/// Nothing missing; returns how many came twice.
fn check(serials: &BTreeMap<u64, usize>, count: u64) -> usize {
    let missing: Vec<u64> = (0..count).filter(|serial| !serials.contains_key(serial)).take(10).collect();
    assert!(missing.is_empty(), "missing, of {count}: {missing:?}...");
    assert_eq!(serials.len() as u64, count);
    serials.values().map(|times| times - 1).sum()
}

/// Two restarts and an outage, in the middle of the stream.
fn through_restarts_and_an_outage(kind: Kind, transport: Transport) {
    let Some(mut server) = Server::start(kind, transport) else { return };
    let count = number("AUDIT_RECORDS", 20_000);
    let feed = Feed::start(&server, &format!("acknowledge_records = {BATCH}\nacknowledge_ms = 1000"));
    for restart in 1..=2 {
        feed.push(count / 4);
        wait_until("before the restart", PATIENCE, || server.lines().len() as u64 > restart * count / 8);
        server.stop();
        feed.push(count / 8);
        server.run();
    }
    feed.push(count / 8);
    server.stop();
    feed.push(count - feed.pushed());
    std::thread::sleep(Duration::from_secs(number("AUDIT_OUTAGE_S", 3)));
    server.run();
    eprintln!("{kind:?} {transport:?}: after the outage {:?}", feed.counters());
    wait_until("delivered", PATIENCE, || feed.counters().written == count);
    let counters = feed.close();
    assert_eq!((counters.pushed, counters.lost_total(), counters.spooled), (count, 0, 0), "{counters:?}");
    server.stop();
    let doubled = check(&received(&server), count);
    eprintln!("{kind:?} {transport:?}: {count} records, {doubled} of them twice");
    assert!(doubled <= 3 * BATCH, "{doubled} came twice");
}

#[test]
fn rsyslog_over_tcp() {
    through_restarts_and_an_outage(Kind::Rsyslog, Transport::Tcp);
}

#[test]
fn rsyslog_over_tls() {
    through_restarts_and_an_outage(Kind::Rsyslog, Transport::Tls);
}

#[test]
fn syslog_ng_over_tcp() {
    through_restarts_and_an_outage(Kind::SyslogNg, Transport::Tcp);
}

#[test]
fn syslog_ng_over_tls() {
    through_restarts_and_an_outage(Kind::SyslogNg, Transport::Tls);
}

/// Datagrams, slowly enough for the server's socket; in RFC 3164.
fn over_udp(kind: Kind) {
    let Some(mut server) = Server::start(kind, Transport::Udp) else { return };
    let feed = Feed::start(&server, "protocol = 'rfc3164'");
    for round in 1..=20 {
        feed.push(100);
        wait_until("a datagram", PATIENCE, || server.lines().len() >= round * 100);
    }
    feed.close();
    server.stop();
    assert_eq!(check(&received(&server), 2000), 0);
}

#[test]
fn rsyslog_over_udp() {
    over_udp(Kind::Rsyslog);
}

#[test]
fn syslog_ng_over_udp() {
    over_udp(Kind::SyslogNg);
}

/// The parts of the header as rsyslog understands them.
#[test]
fn rsyslog_understands_the_header() {
    let Some(mut server) = Server::start(Kind::Rsyslog, Transport::Tcp) else { return };
    let feed = Feed::start(&server, "facility = 'local6'\nacknowledge_ms = 50");
    feed.push(1);
    wait_until("delivered", PATIENCE, || feed.counters().written == 1);
    server.stop();
    let head = std::fs::read_to_string(server.heads()).unwrap();
    let data = "[auditd-bpf@32473 serial=\"0\" verdict=\"allow\" key=\"fed\"]";
    assert_eq!(head.trim_end(), format!("local6|info|web1|auditd-bpf|SYSCALL|{data}"));
}

/// Nothing must be sent to, or counted as received by, a server that we or it should not trust.
fn refused(keys: &str) {
    for kind in [Kind::Rsyslog, Kind::SyslogNg] {
        let Some(mut server) = Server::start(kind, Transport::Tls) else { return };
        let feed = Feed::start_with_tls(&server, "acknowledge_ms = 50", keys);
        feed.push(5);
        wait_until("refused", PATIENCE, || feed.counters().errors >= 3);
        let counters = feed.close();
        assert_eq!((counters.written, counters.spooled, counters.lost_total()), (0, 5, 0), "{kind:?} {counters:?}");
        server.stop();
        assert_eq!(server.lines().len(), 0, "{kind:?}");
    }
}

#[test]
fn a_server_with_the_certificate_of_another_gets_nothing() {
    refused("ca = 'CA'\ncert = 'CERT'\nkey = 'KEY'\nname = 'other.example'");
}

#[test]
fn a_server_of_an_authority_that_is_not_trusted_gets_nothing() {
    refused("ca = 'OTHER_CA'\ncert = 'CERT'\nkey = 'KEY'\nname = 'loghost.example'");
}

#[test]
fn a_server_that_wants_a_certificate_is_not_believed_to_have_got_anything_without() {
    refused("ca = 'CA'\nname = 'loghost.example'");
}
