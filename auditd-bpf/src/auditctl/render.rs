//! Answers of the daemon, in the words and on the streams of auditctl.

use std::io::{self, Write};

use crate::control::protocol::{Said, Status};

/// Prints an answer.
///
/// # Errors
/// If it cannot be written.
pub(super) fn said(said: &Said, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    match said {
        Said::Status { status, interpret } => {
            if *interpret {
                settings(status, &word(&ENABLED, status.enabled), &word(&FAILURE, status.failure), out)?;
            } else {
                settings(status, &status.enabled.to_string(), &status.failure.to_string(), out)?;
            }
            writeln!(out, "loginuid_immutable {} unlocked", u8::from(status.loginuid_immutable))?;
            beyond_stock(status, out)
        }
        Said::Set { status } => {
            settings(status, &status.enabled.to_string(), &status.failure.to_string(), out)?;
            beyond_stock(status, out)
        }
        // Nothing at all where there are rules and none has the key.
        Said::Rules { total: 0, .. } => writeln!(out, "No rules"),
        Said::Rules { rules, .. } => rules.iter().try_for_each(|rule| {
            out.write_all(&rule.0)?;
            out.write_all(b"\n")
        }),
        Said::Lost { count } => writeln!(err, "lost: {count}"),
        Said::BacklogWaitTimeActual { count } => writeln!(err, "backlog_wait_time_actual: {count}"),
        Said::Warning { message } | Said::Error { message, .. } => writeln!(err, "{message}"),
    }
}

/// `-s -i`: what the numbers mean.
const ENABLED: [&str; 3] = ["disabled", "enabled", "enabled+immutable"];
const FAILURE: [&str; 3] = ["silent", "printk", "panic"];

fn word(words: &[&str; 3], number: u32) -> String {
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    words.get(index).map_or_else(|| number.to_string(), |word| (*word).to_owned())
}

fn settings(status: &Status, enabled: &str, failure: &str, out: &mut dyn Write) -> io::Result<()> {
    let Status { pid, rate_limit, backlog_limit, lost, backlog, backlog_wait_time, backlog_wait_time_actual, .. } =
        status;
    write!(
        out,
        "enabled {enabled}\nfailure {failure}\npid {pid}\nrate_limit {rate_limit}\nbacklog_limit {backlog_limit}\n\
         lost {lost}\nbacklog {backlog}\nbacklog_wait_time {backlog_wait_time}\n\
         backlog_wait_time_actual {backlog_wait_time_actual}\n"
    )
}

/// What stock auditctl does not know is shown where it is not as everybody expects.
fn beyond_stock(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    if !status.enforce {
        writeln!(out, "enforce 0")?;
    }
    status.probation.map_or(Ok(()), |seconds| writeln!(out, "probation {seconds}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::Text;

    fn shown(answer: &Said) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        said(answer, &mut out, &mut err).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    const STATUS: Status = Status {
        enabled: 2,
        failure: 1,
        pid: 812,
        rate_limit: 0,
        backlog_limit: 8192,
        lost: 3,
        backlog: 1,
        backlog_wait_time: 15_000,
        backlog_wait_time_actual: 0,
        loginuid_immutable: false,
        enforce: true,
        probation: None,
    };

    #[test]
    fn status_as_auditctl_prints_it() {
        let (out, _) = shown(&Said::Status { status: STATUS, interpret: false });
        let expected = "enabled 2\nfailure 1\npid 812\nrate_limit 0\nbacklog_limit 8192\nlost 3\nbacklog 1\n\
                        backlog_wait_time 15000\nbacklog_wait_time_actual 0\nloginuid_immutable 0 unlocked\n";
        assert_eq!(out, expected);
        let (out, _) = shown(&Said::Status { status: STATUS, interpret: true });
        assert!(out.starts_with("enabled enabled+immutable\nfailure printk\npid 812\n"), "{out}");
        let (out, _) = shown(&Said::Set { status: STATUS });
        assert_eq!(out, expected.replace("loginuid_immutable 0 unlocked\n", ""));
        let rehearsed = Status { enforce: false, ..STATUS };
        let (out, _) = shown(&Said::Status { status: rehearsed, interpret: false });
        assert_eq!(out, format!("{expected}enforce 0\n"));
    }

    #[test]
    fn rules_are_printed_byte_for_byte() {
        assert_eq!(shown(&Said::Rules { rules: Vec::new(), total: 0 }).0, "No rules\n");
        assert_eq!(shown(&Said::Rules { rules: Vec::new(), total: 1 }).0, "");
        let mut out = Vec::new();
        let rules = vec![Text(b"-w /a\xff -p w".to_vec())];
        said(&Said::Rules { rules, total: 2 }, &mut out, &mut Vec::new()).unwrap();
        assert_eq!(out, b"-w /a\xff -p w\n");
    }

    #[test]
    fn counters_go_to_standard_error() {
        assert_eq!(shown(&Said::Lost { count: 7 }), (String::new(), "lost: 7\n".to_owned()));
    }
}
