//! The totals of everything.

use std::collections::HashSet;
use std::io::Write;

use super::facts::Facts;
use super::kinds;
use super::tally::Tally;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Totals {
    config_changes: u64,
    account_changes: u64,
    logins: Outcomes,
    authentications: Outcomes,
    users: HashSet<u32>,
    terminals: Tally,
    hosts: Tally,
    exes: Tally,
    comms: Tally,
    files: Tally,
    avcs: u64,
    mac: u64,
    failed_calls: u64,
    anomalies: u64,
    responses: u64,
    crypto: u64,
    integrity: u64,
    virtual_machines: u64,
    keys: Tally,
    pids: HashSet<u32>,
    events: u64,
}

#[derive(Default)]
struct Outcomes {
    good: u64,
    bad: u64,
}

impl Outcomes {
    fn add(&mut self, success: Option<bool>) {
        match success {
            Some(true) => self.good += 1,
            Some(false) => self.bad += 1,
            None => {}
        }
    }
}

impl Totals {
    pub(super) fn add(&mut self, facts: &Facts<'_>) {
        self.events += 1;
        let of = |wanted: fn(u32) -> bool| u64::from(facts.has_type(wanted));
        self.config_changes += of(kinds::is_config_change);
        self.account_changes += of(kinds::is_account_change);
        self.mac += of(kinds::is_mac);
        self.anomalies += of(kinds::is_anomaly);
        self.responses += of(kinds::is_response);
        self.crypto += of(kinds::is_crypto);
        self.integrity += of(kinds::is_integrity);
        self.virtual_machines += of(kinds::is_virtual);
        self.avcs += u64::from(!facts.avcs.is_empty());
        if facts.has_type(kinds::is_login) {
            self.logins.add(facts.success);
        }
        if facts.has_type(kinds::is_authentication) {
            self.authentications.add(facts.success);
        }
        let failed = facts.success == Some(false) && facts.call.is_some_and(|(_, number)| number > 0);
        self.failed_calls += u64::from(failed);
        self.users.extend(facts.auid);
        self.pids.extend(facts.pid);
        facts.terminal.iter().for_each(|terminal| self.terminals.add(terminal));
        facts.host.iter().for_each(|host| self.hosts.add(host));
        facts.exe.iter().for_each(|exe| self.exes.add(exe));
        facts.comm.iter().for_each(|comm| self.comms.add(comm));
        facts.files.iter().for_each(|file| self.files.add(file));
        facts.keys.iter().for_each(|key| self.keys.add(key));
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (what, count) in [
            ("changes in configuration", self.config_changes),
            ("changes to accounts, groups, or roles", self.account_changes),
            ("logins", self.logins.good),
            ("failed logins", self.logins.bad),
            ("authentications", self.authentications.good),
            ("failed authentications", self.authentications.bad),
            ("users", self.users.len() as u64),
            ("terminals", self.terminals.len() as u64),
            ("host names", self.hosts.len() as u64),
            ("executables", self.exes.len() as u64),
            ("commands", self.comms.len() as u64),
            ("files", self.files.len() as u64),
            ("AVC's", self.avcs),
            ("MAC events", self.mac),
            ("failed syscalls", self.failed_calls),
            ("anomaly events", self.anomalies),
            ("responses to anomaly events", self.responses),
            ("crypto events", self.crypto),
            ("integrity events", self.integrity),
            ("virt events", self.virtual_machines),
            ("keys", self.keys.len() as u64),
            ("process IDs", self.pids.len() as u64),
            ("events", self.events),
        ] {
            // A `Vec` takes whatever is written.
            let _ = writeln!(out, "Number of {what}: {count}");
        }
        out.push(b'\n');
    }
}
