//! `filter`: which records an output gets; and the severities by which it may choose.

use serde::Deserialize;

use crate::event::{Body, Event, Verdict};

/// syslog's numbers for names: one table for the parser and the docs.
macro_rules! syslog_numbers {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[repr(u8)]
        #[expect(missing_docs, reason = "syslog(3) names them")]
        pub enum $name { $($variant = $number),+ }
    };
}

syslog_numbers! {
    /// syslog facility, RFC 5424 section 6.2.1.
    Facility {
        Kern = 0, User = 1, Mail = 2, Daemon = 3, Auth = 4, Syslog = 5, Lpr = 6, News = 7, Uucp = 8, Cron = 9,
        Authpriv = 10, Ftp = 11, Local0 = 16, Local1 = 17, Local2 = 18, Local3 = 19, Local4 = 20, Local5 = 21,
        Local6 = 22, Local7 = 23,
    }
}

syslog_numbers! {
    /// syslog severity, RFC 5424 section 6.2.1.
    Severity { Emerg = 0, Alert = 1, Crit = 2, Err = 3, Warning = 4, Notice = 5, Info = 6, Debug = 7 }
}

/// The severity of each kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Severities {
    /// `severity`: of ordinary records. Default `info`.
    pub normal: Severity,
    /// `would_deny_severity`: of acts that a deny rule would refuse. Default `notice`.
    pub would_deny: Severity,
    /// `alert_severity`: of refused acts, losses, and failures of the daemon. Default `warning`.
    pub alert: Severity,
    /// `kill_severity`: of acts that were refused and their task killed. Default as `alert_severity`.
    pub kill: Severity,
}

impl Default for Severities {
    fn default() -> Self {
        let (normal, would_deny, alert) = (Severity::Info, Severity::Notice, Severity::Warning);
        Self { normal, would_deny, alert, kill: alert }
    }
}

impl Severities {
    /// The severity of an event.
    pub fn of(&self, event: &Event) -> Severity {
        match &event.body {
            Body::Syscall(call) => match call.verdict {
                Verdict::Allow => self.normal,
                Verdict::WouldDeny => self.would_deny,
                Verdict::Deny => self.alert,
                Verdict::Kill => self.kill,
            },
            Body::Lost(_) => self.alert,
            Body::Daemon(daemon) if !daemon.success => self.alert,
            Body::Daemon(_) | Body::Messages(_) => self.normal,
        }
    }
}

/// `filter`: what is given must all hold. Losses always pass: nobody knows whether what is missing would have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterConfig {
    /// `keys`: the rule has one of these keys.
    pub keys: Option<Vec<String>>,
    /// `verdicts`: the act met one of these. With this or `keys`, records without a rule do not pass.
    pub verdicts: Option<Vec<Verdict>>,
    /// `min_severity`: it is at least this severe.
    pub min_severity: Option<Severity>,
}

impl FilterConfig {
    /// Whether the event passes.
    pub(crate) fn admits(&self, event: &Event, severities: &Severities) -> bool {
        if matches!(event.body, Body::Lost(_)) {
            return true;
        }
        // Numbers of severities grow the less severe they are.
        if self.min_severity.is_some_and(|least| severities.of(event) as u8 > least as u8) {
            return false;
        }
        if self.keys.is_none() && self.verdicts.is_none() {
            return true;
        }
        let Body::Syscall(call) = &event.body else { return false };
        let has_key = |wanted: &String| call.rule.keys.iter().any(|key| key == wanted.as_bytes());
        self.keys.as_ref().is_none_or(|keys| keys.iter().any(has_key))
            && self.verdicts.as_ref().is_none_or(|verdicts| verdicts.contains(&call.verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    /// Which of these pass: an open that failed (key `shadow`), an exec (`exec`), a refused rename (`etc`, `ren`), a loss, the
    /// daemon's start.
    fn pass(filter: &str) -> [bool; 5] {
        let filter: FilterConfig = toml::from_str(filter).unwrap();
        let calls = [samples::open_failed(), samples::exec(), samples::rename_denied()];
        let [open, exec, rename] = calls.map(|call| Body::Syscall(Box::new(call)));
        [open, exec, rename, samples::lost(), samples::daemon()]
            .map(|body| filter.admits(&samples::event(body), &Severities::default()))
    }

    #[test]
    fn what_is_given_must_all_hold() {
        assert_eq!(pass(""), [true; 5]);
        assert_eq!(pass("keys = ['exec', 'ren']"), [false, true, true, true, false]);
        assert_eq!(pass("verdicts = ['deny', 'kill', 'would-deny']"), [false, false, true, true, false]);
        assert_eq!(pass("min_severity = 'warning'"), [false, false, true, true, false]);
        assert_eq!(pass("min_severity = 'info'"), [true; 5]);
        assert_eq!(pass("keys = ['exec']\nverdicts = ['deny']"), [false, false, false, true, false]);
        assert_eq!(pass("keys = []"), [false, false, false, true, false]);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text| toml::from_str::<FilterConfig>(text).unwrap_err().to_string();
        assert!(error("verdicts = ['denied']").contains("expected one of `allow`, `deny`, `kill`, `would-deny`"));
        assert!(error("min_severity = 'error'").contains("unknown variant `error`"));
        assert!(error("key = ['x']").contains("unknown field `key`"));
    }
}
