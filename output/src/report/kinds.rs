//! The reports: what each is called, what its columns are, which events it is about.

use super::Detail;
use super::facts::Facts;

/// What a report is about: aureport's option for it, without the dashes, is in brackets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Totals of everything.
    #[default]
    Totals,
    /// Authentication (`au`).
    Authentication,
    /// SELinux's refusals (`a`).
    Avc,
    /// Names of tasks (`comm`).
    Command,
    /// Changes of configuration (`c`).
    Config,
    /// Cryptography (`cr`).
    Crypto,
    /// All events (`e`).
    Event,
    /// Files and sockets (`f`).
    File,
    /// Other machines (`h`).
    Host,
    /// Integrity (`integrity`).
    Integrity,
    /// Keys of rules (`k`).
    Key,
    /// Logins (`l`).
    Login,
    /// Changes of accounts (`m`).
    Accounts,
    /// Mandatory access control (`ma`).
    Mac,
    /// Anomalies (`n`).
    Anomaly,
    /// Processes (`p`).
    Process,
    /// Responses to anomalies (`r`).
    Response,
    /// System calls (`s`).
    Syscall,
    /// Terminals (`tm`).
    Terminal,
    /// Login users (`u`).
    User,
    /// Virtual machines (`virt`).
    Virtual,
    /// Executables (`x`).
    Executable,
}

/// A column of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// Account, else the user.
    Account,
    /// Account, else a question mark.
    AccountAlone,
    Auid,
    /// The login user, or the account that failed to become one.
    Login,
    Call,
    Comm,
    Exe,
    ExeOrComm,
    File,
    Host,
    Key,
    Pid,
    Serial,
    Success,
    Terminal,
    /// As `Host`, `Terminal` and `Exe`, in the reports that print C's word for nothing.
    HostOrNull,
    TerminalOrNull,
    ExeOrNull,
    Type,
    AvcSubject,
    AvcClass,
    AvcPermission,
    AvcObject,
    AvcResult,
}

/// What a summary counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Accounts,
    Logins,
    AvcObjects,
    Calls,
    Comms,
    Exes,
    Files,
    Hosts,
    Keys,
    Pids,
    Terminals,
    Types,
    Users,
}

/// How a report looks. Widths of rules are aureport's, as scripts cut by them.
pub(super) struct Form {
    pub(super) title: &'static str,
    pub(super) heads: &'static str,
    pub(super) columns: &'static [Column],
    /// Length of the rules around the heads.
    pub(super) rules: (usize, usize),
    pub(super) summary_title: &'static str,
    pub(super) summary_head: &'static str,
    pub(super) summary_rule: usize,
    pub(super) counted: Counted,
}

impl Form {
    const fn new(title: &'static str, heads: &'static str, columns: &'static [Column], rule: usize) -> Self {
        Self {
            title,
            heads,
            columns,
            rules: (rule, rule),
            summary_title: "",
            summary_head: "type",
            summary_rule: 0,
            counted: Counted::Types,
        }
    }

    const fn summary(self, title: &'static str, head: &'static str, rule: usize, counted: Counted) -> Self {
        Self { summary_title: title, summary_head: head, summary_rule: rule, counted, ..self }
    }
}

impl Kind {
    /// `None` for the totals, which have a form of their own.
    #[rustfmt::skip]
    pub(super) fn form(self) -> Option<Form> {
        use Column::*;
        Some(match self {
            Self::Totals => return None,
            Self::Authentication => Form::new("Authentication", "acct host term exe success event", &[Account, HostOrNull, TerminalOrNull, ExeOrNull, Success, Serial], 44)
                .summary("Authentication", "acct", 29, Counted::Accounts),
            Self::Login => Form::new("Login", "auid host term exe success event", &[Login, HostOrNull, TerminalOrNull, ExeOrNull, Success, Serial], 44)
                .summary("Login", "auid", 28, Counted::Logins),
            Self::Accounts => Form::new("Account Modifications", "auid addr term exe acct success event", &[Auid, Host, Terminal, Exe, AccountAlone, Success, Serial], 49)
                .summary("Acct Modification", "type", 32, Counted::Types),
            Self::Avc => Form::new("AVC", "comm subj syscall class permission obj result event", &[Comm, AvcSubject, Call, AvcClass, AvcPermission, AvcObject, AvcResult, Serial], 63)
                .summary("Avc Object", "obj", 33, Counted::AvcObjects),
            Self::Command => Form { rules: (36, 37), ..Form::new("Command", "comm term host auid event", &[Comm, Terminal, Host, Auid, Serial], 36) }
                .summary("Command", "command", 33, Counted::Comms),
            Self::Config => Form::new("Config Change", "type auid success event", &[Type, Auid, Success, Serial], 35)
                .summary("Config Change", "type", 28, Counted::Types),
            Self::Crypto => Form::new("Crypto", "auid type success event", &[Auid, Type, Success, Serial], 35)
                .summary("Crypto", "type", 21, Counted::Types),
            Self::Event => Form::new("Event", "event type auid success", &[Serial, Type, Auid, Success], 35)
                .summary("Event", "type", 22, Counted::Types),
            Self::File => Form::new("File", "file syscall success exe auid event", &[File, Call, Success, Exe, Auid, Serial], 47)
                .summary("File", "file", 27, Counted::Files),
            Self::Host => Form::new("Host", "host syscall auid event", &[Host, Call, Auid, Serial], 35)
                .summary("Host", "host", 27, Counted::Hosts),
            Self::Integrity => Form::new("Integrity", "type success event", &[Type, Success, Serial], 30)
                .summary("Integrity", "type", 24, Counted::Types),
            Self::Key => Form::new("Key", "key success exe auid event", &[Key, Success, Exe, Auid, Serial], 47)
                .summary("Key", "key", 27, Counted::Keys),
            Self::Mac => Form::new("MAC", "auid type success event", &[Auid, Type, Success, Serial], 35)
                .summary("MAC", "type", 18, Counted::Types),
            Self::Anomaly => Form::new("Anomaly", "type exe term host auid event", &[Type, ExeOrComm, Terminal, Host, Auid, Serial], 41)
                .summary("Anomaly", "type", 22, Counted::Types),
            Self::Process => Form::new("Process ID", "pid exe syscall auid event", &[Pid, Exe, Call, Auid, Serial], 38)
                .summary("Pid", "pid", 26, Counted::Pids),
            Self::Response => Form::new("Response to Anomaly", "type success event", &[Type, Success, Serial], 30)
                .summary("Anomaly Response", "type", 31, Counted::Types),
            Self::Syscall => Form::new("Syscall", "syscall pid comm auid event", &[Call, Pid, Comm, Auid, Serial], 39)
                .summary("Syscall", "syscall", 26, Counted::Calls),
            Self::Terminal => Form::new("Terminal", "term host exe auid event", &[Terminal, HostOrNull, ExeOrNull, Auid, Serial], 36)
                .summary("Terminal", "terminal", 31, Counted::Terminals),
            Self::User => Form::new("User ID", "auid term host exe event", &[Auid, Terminal, Host, Exe, Serial], 36)
                .summary("User", "auid", 27, Counted::Users),
            Self::Virtual => Form::new("Virtualization", "type success event", &[Type, Success, Serial], 30)
                .summary("Virtualization", "type", 29, Counted::Types),
            Self::Executable => Form::new("Executable", "exe term host auid event", &[Exe, Terminal, Host, Auid, Serial], 36)
                .summary("Executable", "file", 33, Counted::Exes),
        })
    }

    /// Whether an event has a row in the report. `tables` and `linux/audit.h` name the ranges.
    pub(super) fn has_row(self, detail: Detail, facts: &Facts<'_>) -> bool {
        match self {
            Self::Totals | Self::Event => true,
            Self::Authentication => facts.has_type(|number| number == 1100),
            Self::Login => facts.has_type(is_login),
            Self::Accounts => facts.has_type(is_account_change),
            Self::Avc => !facts.avcs.is_empty(),
            Self::Command => facts.comm.is_some(),
            Self::Config => facts.has_type(is_config_change),
            Self::Crypto => facts.has_type(is_crypto),
            Self::File => !facts.files.is_empty(),
            Self::Host => facts.host.is_some(),
            Self::Integrity => facts.has_type(is_integrity),
            Self::Key => !facts.keys.is_empty(),
            Self::Mac => facts.has_type(is_mac),
            // The totals do not count those of seccomp.
            Self::Anomaly => facts.has_type(|number| is_anomaly(number) || number == 1326),
            Self::Process => facts.pid.is_some(),
            Self::Response => facts.has_type(is_response),
            Self::Syscall => facts.call.is_some_and(|(_, number)| number > 0),
            Self::Terminal => facts.terminal.is_some(),
            // Its summary counts also where no record tells the real user.
            Self::User => facts.uid.is_some() || (detail == Detail::Summary && facts.auid.is_some()),
            Self::Virtual => facts.has_type(is_virtual),
            Self::Executable => facts.exe.is_some(),
        }
    }
}

pub(super) fn is_login(number: u32) -> bool {
    number == 1112
}

pub(super) fn is_authentication(number: u32) -> bool {
    matches!(number, 1100 | 1126)
}

pub(super) fn is_account_change(number: u32) -> bool {
    matches!(number, 1108 | 1114..=1117 | 1119 | 2301..=2302)
}

pub(super) fn is_config_change(number: u32) -> bool {
    matches!(number, 1305 | 1203 | 1111 | 1325 | 1328 | 1403..=1417)
}

pub(super) fn is_mac(number: u32) -> bool {
    matches!(number, 1403..=1417 | 2300..=2399)
}

pub(super) fn is_anomaly(number: u32) -> bool {
    matches!(number, 2100..=2199 | 1700..=1799)
}

pub(super) fn is_response(number: u32) -> bool {
    matches!(number, 2200..=2299)
}

pub(super) fn is_crypto(number: u32) -> bool {
    matches!(number, 1600..=1699 | 2400..=2499)
}

pub(super) fn is_integrity(number: u32) -> bool {
    matches!(number, 1800..=1899)
}

pub(super) fn is_virtual(number: u32) -> bool {
    matches!(number, 2500..=2599)
}
