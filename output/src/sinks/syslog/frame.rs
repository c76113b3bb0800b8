//! RFC 5424 and RFC 3164 messages.
//!
//! Written here and not by the `syslog` crate, whose formatter stamps messages with the time of sending and takes structured
//! data from a `HashMap`: a record that waited for the server would carry the wrong time, in an order that changes.

use std::fmt::{self, Display, Write as _};

use chrono::{Local, SecondsFormat};

use crate::config::{Facility, Severities, SyslogConfig, SyslogProtocol};
use crate::escape::escape;
use crate::event::Body;
use crate::format::Format;
use crate::record::Record;

/// `APP-NAME`.
const APP_NAME: &str = "auditd-bpf";
/// `SD-ID`. 32473 is the enterprise number reserved for documentation (RFC 5612): the project has none of its own.
const SD_ID: &str = "auditd-bpf@32473";
/// Longest `HOSTNAME`.
const MAX_HOSTNAME: usize = 255;

/// Frames records.
pub(super) struct Framer {
    format: Format,
    protocol: SyslogProtocol,
    facility: Facility,
    severities: Severities,
    hostname: String,
    process: u32,
}

impl Framer {
    pub(super) fn new(config: &SyslogConfig, node: &str) -> Self {
        Self {
            format: config.format,
            protocol: config.protocol,
            facility: config.facility,
            severities: config.severities,
            hostname: header_field(node),
            process: std::process::id(),
        }
    }

    /// Header and MSG. MSG is UTF-8 but does not begin with a byte order mark: RFC 5424 asks for one, and every JSON parser
    /// behind the server chokes on it. A record of several lines is as many messages.
    pub(super) fn frame(&self, record: &Record<'_>) -> Vec<Vec<u8>> {
        let header = match self.protocol {
            SyslogProtocol::Rfc5424 => self.header_5424(record),
            SyslogProtocol::Rfc3164 => self.header_3164(record),
        };
        let mut lines = Vec::new();
        self.format.write_lines(record, &mut lines);
        // The datagram, or the transport's own framing, is the end of a message.
        let lines = lines.strip_suffix(b"\n").unwrap_or(&lines);
        lines.split(|byte| *byte == b'\n').map(|line| [header.as_bytes(), line].concat()).collect()
    }

    fn priority(&self, record: &Record<'_>) -> u8 {
        self.facility as u8 * 8 + self.severities.of(record.event) as u8
    }

    /// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID SD `.
    fn header_5424(&self, record: &Record<'_>) -> String {
        format!(
            "<{priority}>1 {time} {host} {APP_NAME} {process} {message} {data} ",
            priority = self.priority(record),
            // At most six digits are allowed; MSG has all nine.
            time = record.time().to_rfc3339_opts(SecondsFormat::Micros, true),
            host = self.hostname,
            process = self.process,
            message = record.record_type(),
            data = structured_data(record),
        )
    }

    /// `<PRI>TIMESTAMP HOSTNAME TAG: `. The time is local, without year or zone, as section 4.1.2 has it.
    fn header_3164(&self, record: &Record<'_>) -> String {
        format!(
            "<{priority}>{time} {host} {APP_NAME}[{process}]: ",
            priority = self.priority(record),
            time = record.time().with_timezone(&Local).format("%b %e %H:%M:%S"),
            host = self.hostname,
            process = self.process,
        )
    }
}

/// Printable ASCII without spaces, or `-`.
fn header_field(text: &str) -> String {
    let field: String = text.chars().filter(char::is_ascii_graphic).take(MAX_HOSTNAME).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

fn structured_data(record: &Record<'_>) -> String {
    let mut data = format!("[{SD_ID} serial=\"{}\"", record.event.serial);
    if let Body::Syscall(call) = &record.event.body {
        // Writing to a String does not fail.
        let _ = write!(data, " verdict=\"{}\"", call.verdict.name());
        for key in call.rule.keys.iter() {
            let _ = write!(data, " key=\"{}\"", ParamValue(&escape(key)));
        }
    }
    data.push(']');
    data
}

/// A parameter value: `"`, `\` and `]` stand behind a backslash, and control characters become `?`, which servers may
/// otherwise take for the end of the message.
struct ParamValue<'a>(&'a str);

impl Display for ParamValue<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' | '\\' | ']' => write!(out, "\\{character}")?,
                control if control.is_control() => out.write_char('?')?,
                _ => out.write_char(character)?,
            }
        }
        Ok(())
    }
}
