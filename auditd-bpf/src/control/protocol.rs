//! Requests and responses: one JSON object per line, each with the version of the protocol. Both sides use these types.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::status::Report;

/// Grows when a key changes its meaning or goes; new keys come without notice.
pub const VERSION: u32 = 1;

/// Longest line that either side reads: 1,024 rules of the greatest length, and some room.
pub const LINE_MAX: u64 = 16 << 20;

/// What the daemon is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// What it shall do.
    #[serde(flatten)]
    pub command: Command,
}

/// What the daemon can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Carry out command lines of auditctl.
    Run(Run),
    /// Tell what it has seen, written and lost.
    Status,
}

/// Command lines of auditctl, in order. The first one that fails ends the run, unless `-i` or `-c` stands before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The file that they come from; absent for a command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Text>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A command line, written as in a rule file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: u32,
    /// Options and arguments.
    pub text: Text,
}

/// Bytes, spelled as in records: `output::escape`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub Vec<u8>);

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// [`VERSION`].
    pub version: u32,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The lines were looked at, up to the end or to the one that failed.
    Ran(Ran),
    /// What it has seen, written and lost.
    Status {
        /// All of it.
        report: Report,
    },
    /// It was no request that this daemon understands, or it is ending.
    Refused {
        /// Why.
        error: String,
    },
}

/// What came of command lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// What lines had to say, in their order.
    pub answers: Vec<Answer>,
    /// Whether a line failed and ended the run.
    pub stopped: bool,
    /// Whether a line failed after `-c`.
    pub failed: bool,
}

/// What a line had to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Number of the line.
    pub line: u32,
    /// What.
    #[serde(flatten)]
    pub said: Said,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Said {
    /// To `-s`.
    Status {
        /// All of it.
        status: Status,
        /// Whether `-i` asks for words.
        interpret: bool,
    },
    /// To a setting: auditctl then shows the status.
    Set {
        /// As it is now.
        status: Status,
    },
    /// To `-l` and `-D`.
    Rules {
        /// Those asked for, as `auditctl -l` prints them.
        rules: Vec<Text>,
        /// How many there are, with and without the key asked for.
        total: usize,
    },
    /// To `--reset-lost`.
    Lost {
        /// Before it was reset.
        count: u64,
    },
    /// To `--reset_backlog_wait_time_actual`.
    BacklogWaitTimeActual {
        /// Before it was reset.
        count: u64,
    },
    /// It was done, and may not do what its author thinks.
    Warning {
        /// In auditctl's words where it has any.
        message: String,
    },
    /// It was not done.
    Error {
        /// Which kind.
        kind: ErrorKind,
        /// In auditctl's words where it has any.
        message: String,
        /// More than auditctl would say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// Kinds of errors that a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The line is wrong.
    Invalid,
    /// `-e 2` is in force.
    Immutable,
    /// The rule is there already.
    Exists,
    /// The rule to delete is not there.
    Missing,
    /// This daemon, or this kernel, cannot do it.
    Unsupported,
    /// Nobody can tell what it is: it came from a newer daemon.
    #[serde(other)]
    Other,
}

/// What `auditctl -s` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `-e`
    pub enabled: u32,
    /// `-f`
    pub failure: u32,
    /// The daemon.
    pub pid: u32,
    /// `-r`
    pub rate_limit: u32,
    /// `-b`
    pub backlog_limit: u32,
    /// Events lost, all causes, since the daemon started or `--reset-lost`.
    pub lost: u64,
    /// Events that wait for the outputs.
    pub backlog: u64,
    /// `--backlog_wait_time`
    pub backlog_wait_time: u32,
    /// Always 0: nothing waits.
    pub backlog_wait_time_actual: u64,
    /// `--loginuid-immutable`
    pub loginuid_immutable: bool,
    /// `--enforce`: whether `deny` and `kill` refuse. Daemons that do not say it do.
    #[serde(default = "enforced")]
    pub enforce: bool,
    /// Seconds after which rules on probation go; absent where none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probation: Option<u64>,
}

const fn enforced() -> bool {
    true
}

impl Response {
    /// With the version.
    #[must_use]
    pub const fn new(outcome: Outcome) -> Self {
        Self { version: VERSION, outcome }
    }

    /// A refusal.
    #[must_use]
    pub fn refused(error: impl Into<String>) -> Self {
        Self::new(Outcome::Refused { error: error.into() })
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        output::escape::Escaped(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spelled = String::deserialize(deserializer)?;
        output::escape::unescape(&spelled).map(Self).map_err(serde::de::Error::custom)
    }
}

/// One object and a newline.
///
/// # Errors
/// Never, for these types; serde_json wants it said.
pub fn line<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Reads up to a newline; `None` at the end of the stream.
///
/// # Errors
/// If reading fails, the stream ends within a line, or the line is longer than [`LINE_MAX`].
pub fn read_line(stream: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    stream.take(LINE_MAX).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() as u64 == LINE_MAX => Err(io::Error::new(io::ErrorKind::InvalidData, "line too long")),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_documented_and_read_back() {
        let lines = vec![Line { number: 1, text: Text(b"-w /a\\ \xff -p w".to_vec()) }];
        let request = Request { version: VERSION, command: Command::Run(Run { file: None, lines }) };
        let written = line(&request).unwrap();
        let expected =
            "{\"version\":1,\"command\":\"run\",\"lines\":[{\"number\":1,\"text\":\"-w /a\\\\\\\\ \\\\xff -p w\"}]}\n";
        assert_eq!(String::from_utf8_lossy(&written), expected);
        assert_eq!(serde_json::from_slice::<Request>(&written).unwrap(), request);
        let hint = Some("it is a.rules:1".to_owned());
        let said = Said::Error { kind: ErrorKind::Exists, message: "Rule exists".to_owned(), hint };
        let ran = Ran { answers: vec![Answer { line: 2, said }], stopped: true, failed: false };
        let response = Response::new(Outcome::Ran(ran));
        let written = line(&response).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&written),
            "{\"version\":1,\"outcome\":\"ran\",\"answers\":[{\"line\":2,\"answer\":\"error\",\"kind\":\"exists\",\
             \"message\":\"Rule exists\",\"hint\":\"it is a.rules:1\"}],\"stopped\":true,\"failed\":false}\n"
        );
        assert_eq!(serde_json::from_slice::<Response>(&written).unwrap(), response);
    }

    #[test]
    fn a_question_for_the_status_is_documented() {
        let request = Request { version: VERSION, command: Command::Status };
        let written = line(&request).unwrap();
        assert_eq!(String::from_utf8_lossy(&written), "{\"version\":1,\"command\":\"status\"}\n");
        assert_eq!(serde_json::from_slice::<Request>(&written).unwrap(), request);
        let report = Report { rules: 3, ..Report::default() };
        let response = Response::new(Outcome::Status { report });
        let written = line(&response).unwrap();
        assert!(written.starts_with(b"{\"version\":1,\"outcome\":\"status\",\"report\":{\"version\":\"\","));
        assert_eq!(serde_json::from_slice::<Response>(&written).unwrap(), response);
    }

    #[test]
    fn hostile_lines_are_errors() {
        for wrong in [
            "",
            "{}",
            "[]",
            "{\"version\":1}",
            "{\"version\":1,\"command\":\"shutdown\"}",
            "{\"version\":1,\"command\":\"run\",\"lines\":[{\"number\":-1,\"text\":\"\"}]}",
            "{\"version\":1,\"command\":\"run\",\"lines\":[{\"number\":1,\"text\":\"\\\\q\"}]}",
        ] {
            assert!(serde_json::from_str::<Request>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lines_are_bounded_and_whole() {
        assert_eq!(read_line(&mut &b"a\nb\n"[..]).unwrap(), Some(b"a\n".to_vec()));
        assert_eq!(read_line(&mut &b""[..]).unwrap(), None);
        assert_eq!(read_line(&mut &b"half"[..]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let endless = io::repeat(b'x');
        let error = read_line(&mut io::BufReader::new(endless)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
