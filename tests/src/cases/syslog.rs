//! A real rsyslogd as the receiver.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::daemon::wait_for;
use crate::event::Event;
use crate::harness::{Alone, skip};
use crate::log;
use crate::place::Place;
use crate::session::{Session, file_output, own_log, private_file};

pub const CASES: &[Alone] = &[
    Alone::new("rsyslog_receives_by_dev_log_and_udp", receives),
    Alone::new("syslog_server_that_comes_late", comes_late),
    Alone::new("syslog_socket_that_is_missing", missing),
];

const RSYSLOGD: &str = "/usr/sbin/rsyslogd";
const RULES: &str = "-a always,exit -F arch=b64 -S openat -F dir={dir}/d -F perm=w -k {key}";
const TIME: Duration = Duration::from_secs(60);
/// Between the fields that rsyslog found; in no JSON, for control characters are escaped there.
const SEPARATOR: char = '\u{1}';

struct Rsyslogd(Child);

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        // It may have ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// rsyslogd listening on `/dev/log` and, if there is a port, on UDP. Each message becomes a line of the fields that it
/// parsed, in a file per input.
fn rsyslogd(place: &Place, port: Option<u16>) -> Result<Rsyslogd> {
    let field = |name: &str| format!("%{name}%");
    let fields =
        ["app-name", "structured-data", "msgid", "syslogfacility-text", "syslogseverity-text", "hostname", "msg"];
    let template = fields.map(field).join(r"\001");
    let (local, udp) = (place.path("local"), place.path("udp"));
    let udp_input = port.map_or_else(String::new, |port| {
        format!("module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"udp\")\n")
    });
    let config = format!(
        "$MaxMessageSize 64k\n\
         global(parser.escapeControlCharactersOnReceive=\"off\")\n\
         module(load=\"imuxsock\" SysSock.UseSpecialParser=\"off\" SysSock.RateLimit.Interval=\"0\")\n\
         template(name=\"fields\" type=\"string\" string=\"{template}\\n\")\n\
         ruleset(name=\"udp\") {{ action(type=\"omfile\" file=\"{}\" template=\"fields\") }}\n\
         {udp_input}\
         action(type=\"omfile\" file=\"{}\" template=\"fields\")\n",
        udp.display(),
        local.display()
    );
    let config = private_file(place.name, "rsyslog.conf", &config)?;
    let pid_file = place.path("rsyslogd.pid");
    let stderr = fs::File::create(place.path("rsyslogd.stderr"))?;
    let mut command = Command::new(RSYSLOGD);
    command.args(["-n", "-f"]).arg(config).arg("-i").arg(&pid_file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let mut server = Rsyslogd(command.spawn().context("cannot run rsyslogd")?);
    wait_for("rsyslogd", TIME, || {
        ensure!(server.0.try_wait()?.is_none(), "rsyslogd ended");
        Ok((Path::new("/dev/log").exists() && pid_file.exists()).then_some(()))
    })
    .with_context(|| fs::read_to_string(place.path("rsyslogd.stderr")).unwrap_or_default())?;
    Ok(server)
}

fn syslog_output(target: &str) -> String {
    format!("[[output]]\ntype = \"syslog\"\ntarget = \"{target}\"\nformat = \"json\"\n")
}

fn start(place: &Place, targets: &[String]) -> Result<Session> {
    place.directory("d")?;
    let log = own_log(place.name);
    let config = targets.iter().fold(file_output(&log), |config, target| config + &syslog_output(target));
    Session::start_with(place.name, &place.rules(RULES), &config, &log)
}

/// One line of the fields.
struct Message {
    fields: Vec<String>,
    record: Event,
}

/// What rsyslog has put into a file, without the fence and the daemon's own records.
fn received(path: &Path, key: &str) -> Result<Vec<Message>> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8(text).context("rsyslog's file is not UTF-8")?;
    let mut messages = Vec::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let mut fields: Vec<_> = line.trim_end_matches('\n').split(SEPARATOR).map(str::to_owned).collect();
        // rsyslogd logs its own start, too.
        if fields[0] != "auditd-bpf" {
            continue;
        }
        let json = fields.pop().unwrap_or_default();
        let record = log::record(&format!("{}\n", json.trim_start())).context("MSG is not the record")?;
        if record.has_key(key) {
            messages.push(Message { fields, record });
        }
    }
    Ok(messages)
}

fn check(message: &Message, key: &str) -> Result<()> {
    let [_, data, kind, facility, severity, host] = &message.fields[..] else {
        anyhow::bail!("{} fields instead of 6: {:?}", message.fields.len(), message.fields);
    };
    let serial = message.record.get("serial");
    let expected = format!("[auditd-bpf@32473 serial=\"{serial}\" verdict=\"allow\" key=\"{key}\"]");
    ensure!(*data == expected, "structured data is {data} instead of {expected}");
    ensure!(kind == "SYSCALL", "MSGID is {kind}");
    ensure!(facility == "authpriv" && severity == "info", "sent as {facility}.{severity}");
    ensure!(host == "guest", "HOSTNAME is {host}");
    Ok(())
}

fn serials(events: impl Iterator<Item = Value>) -> Vec<u64> {
    let mut serials: Vec<_> = events.filter_map(|serial| serial.as_u64()).collect();
    serials.sort_unstable();
    serials
}

fn receives(place: &Place) -> Result<()> {
    if !Path::new(RSYSLOGD).exists() {
        return skip("no rsyslogd in this guest");
    }
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let _server = rsyslogd(place, Some(port))?;
    let mut session = start(place, &["unix:/dev/log".to_owned(), format!("udp://127.0.0.1:{port}")])?;
    for number in 0..50 {
        fs::File::create_new(place.path(format!("d/\"{number}]\\")))?;
    }
    // Longer than the 8 KiB at which rsyslog cuts unless it is told otherwise.
    let deep = (0..39).fold(place.path("d"), |path, _| path.join("n".repeat(99)));
    fs::create_dir_all(&deep)?;
    fs::File::create_new(deep.join("f"))?;
    session.settle()?;
    let expected = serials(session.records().iter().filter(|e| e.has_key(place.name)).map(|e| e.get("serial").clone()));
    ensure!(expected.len() == 51, "only {} events in the file", expected.len());
    for input in ["local", "udp"] {
        let path = place.path(input);
        wait_for(&format!("the messages ({input})"), TIME, || {
            Ok((received(&path, place.name)?.len() >= expected.len()).then_some(()))
        })?;
        let messages = received(&path, place.name)?;
        messages.iter().try_for_each(|message| check(message, place.name)).with_context(|| input.to_owned())?;
        let got = serials(messages.iter().map(|message| message.record.get("serial").clone()));
        ensure!(got == expected, "{input}: {} messages of {} events", got.len(), expected.len());
    }
    session.stop()
}

/// Starts without `/dev/log`, which guests do not have of themselves.
fn start_without_socket(place: &Place) -> Result<Session> {
    match fs::remove_file("/dev/log") {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("cannot remove /dev/log");
        }
        _ => {}
    }
    start(place, &["unix:/dev/log".to_owned()])
}

fn comes_late(place: &Place) -> Result<()> {
    if !Path::new(RSYSLOGD).exists() {
        return skip("no rsyslogd in this guest");
    }
    let mut session = start_without_socket(place)?;
    for number in 0..20 {
        fs::File::create_new(place.path(format!("d/{number}")))?;
    }
    session.settle()?;
    let _server = rsyslogd(place, None)?;
    let path = place.path("local");
    wait_for("what waited", TIME, || Ok((received(&path, place.name)?.len() == 20).then_some(())))?;
    session.stop()
}

fn missing(place: &Place) -> Result<()> {
    let mut session = start_without_socket(place)?;
    fs::File::create_new(place.path("d/f"))?;
    session.settle()?;
    let said = session.said();
    ensure!(said.contains("/dev/log"), "the daemon does not tell of the missing socket:\n{said}");
    let events = session.records().iter().filter(|event| event.has_key(place.name)).count();
    ensure!(events == 1, "{events} events in the file instead of 1");
    session.stop()
}
