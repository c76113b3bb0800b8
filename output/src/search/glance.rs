//! What a glance at native records tells of a query, without parsing them.
//!
//! Parsing an event and writing it again takes many times as long as reading it, and most events of most logs are calls
//! in the kernel's spelling. So a `SYSCALL` record that is spelled exactly as the kernel spells it is read in one go,
//! without copies (`spelled`), and so are names in `PATH` and `CWD`. That gives facts that are certain. Anything else
//! is left to the parser: a glance says nothing where it is not sure, and never something else than [`Query::matches`]
//! (a property test compares them).

use std::borrow::Cow;

use super::Query;
use super::facts::Facts;
use super::fields::untrusted;
use super::spelled::{Call, is_untrusted, without_prefix};
use crate::format::native::KEY_SEPARATOR;
use crate::read::{RawRecord, Records};

impl Query {
    /// Whether the event passes; `None` where parsing it must tell.
    pub fn glance(&self, records: &Records) -> Option<bool> {
        let first = records.iter().find(|record| matches!(record.record_type, b"SYSCALL" | b"URINGOP"))?;
        let call = Call::parse(first.fields).filter(|_| first.record_type == b"SYSCALL")?;
        let mut facts = numbers(&call);
        let numbers_pass = self.time(records.time())
            && self.serial.is_none_or(|serial| records.serial() == Some(serial))
            && self.node.as_ref().is_none_or(|node| node.as_bytes() == records.node())
            && self.has_numbers(&facts);
        if !numbers_pass {
            return Some(false);
        }
        self.add_texts(&mut facts, &call, records);
        // Other records may have texts too: one that is not here need not be missing.
        (self.has_texts(&facts) && self.certain_type(records)).then_some(true)
    }

    /// Those that are asked for and certain.
    fn add_texts<'a>(&self, facts: &mut Facts<'a>, call: &Call<'a>, records: &'a Records) {
        if self.comm.is_some() {
            facts.comm.extend(untrusted(call.comm));
        }
        if self.exe.is_some() {
            facts.exe.extend(untrusted(call.exe));
        }
        if self.terminal.is_some() && call.tty != b"(none)" {
            facts.terminals.push(Cow::Borrowed(call.tty));
        }
        if self.key.is_some()
            && let Some(keys) = untrusted(call.key)
        {
            facts.keys = split(keys);
        }
        if self.file.is_some() {
            facts.files.extend(records.iter().filter_map(|record| name(&record)));
        }
    }

    /// Whether a record is of a type that is asked for, and that stays whatever the record says.
    fn certain_type(&self, records: &Records) -> bool {
        let stays = |record: &RawRecord<'_>| matches!(record.record_type, b"SYSCALL" | b"PATH" | b"CWD" | b"PROCTITLE");
        let wanted = |found: &[u8]| self.record_types.iter().any(|wanted| wanted.as_bytes() == found);
        self.record_types.is_empty() || records.iter().any(|record| stays(&record) && wanted(record.record_type))
    }
}

fn numbers<'a>(call: &Call<'a>) -> Facts<'a> {
    Facts {
        call: Some((call.arch, call.syscall)),
        exit: Some(call.exit),
        success: Some(call.success),
        pid: Some(call.pid),
        ppid: Some(call.ppid),
        uid: Some(call.uid),
        euid: Some(call.euid),
        auid: Some(call.auid),
        gid: Some(call.gid),
        egid: Some(call.egid),
        session: Some(call.session),
        ..Facts::default()
    }
}

fn split(keys: Cow<'_, [u8]>) -> Vec<Cow<'_, [u8]>> {
    match keys {
        Cow::Borrowed(keys) => keys.split(|byte| *byte == KEY_SEPARATOR).map(Cow::Borrowed).collect(),
        Cow::Owned(keys) => keys.split(|byte| *byte == KEY_SEPARATOR).map(|key| Cow::Owned(key.to_vec())).collect(),
    }
}

/// The name in a `PATH` or `CWD`, where both the parser and who reads the record as text find this one.
fn name<'a>(record: &RawRecord<'a>) -> Option<Cow<'a, [u8]>> {
    let value = match record.record_type {
        b"CWD" => without_prefix(record.fields, b"cwd=")?,
        b"PATH" => {
            let numbered = without_prefix(record.fields, b"item=")?;
            let digits = numbered.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let named = without_prefix(&numbered[digits..], b" name=")?;
            &named[..memchr::memchr(b' ', named).unwrap_or(named.len())]
        }
        _ => return None,
    };
    // A parent's ends in a slash that is not of its name.
    untrusted(value).filter(|name| is_untrusted(value) && !name.ends_with(b"/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sieve::tests::queries;
    use super::*;
    use crate::arbitrary;
    use crate::event::{Body, Event};
    use crate::format::{Content, Format, NativeStyle, Node};
    use crate::read::{Found, LogNames, Reader};
    use crate::record::Record;
    use crate::samples;
    use crate::search::{Comparison, Layout};

    fn written(event: &Event) -> Vec<u8> {
        let mut lines = Vec::new();
        let style = NativeStyle { content: Content::Enriched, node: Node::Named };
        let record = Record { event, node: "web1", names: &LogNames::default() };
        Format::Native(style).write_lines(&record, &mut lines);
        lines
    }

    fn records(log: &[u8]) -> Vec<Records> {
        let found = Reader::new(log).found().flatten();
        found.filter_map(|found| if let Found::Records(records) = found { Some(records) } else { None }).collect()
    }

    /// Queries for what the event has, and for what another has.
    fn all_queries(one: &Event, other: &Event) -> Vec<Query> {
        let both = [one, other].into_iter().flat_map(queries);
        let whole = both.clone().map(|query| Query { comparison: Comparison::Whole, ..query });
        both.chain(whole).collect()
    }

    fn same(log: &[u8], queries: &[Query]) {
        for records in records(log) {
            let entry = records.entry().unwrap();
            for query in queries {
                let glance = query.glance(&records);
                assert!(
                    glance.is_none_or(|meant| meant == query.matches(&entry)),
                    "{glance:?} for {query:?} of {}",
                    log.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn a_call_needs_no_parsing() {
        let event = samples::event(Body::Syscall(Box::new(samples::open_failed())));
        let found = records(&written(&event));
        let text = |text: &str| Some(text.to_owned());
        let any = Query::default;
        for (query, meant) in [
            (Query { pid: Some(812), success: Some(false), ..any() }, Some(true)),
            (Query { pid: Some(813), ..any() }, Some(false)),
            (Query { serial: Some(1), ..any() }, Some(false)),
            (Query { node: text("web2"), ..any() }, Some(false)),
            (
                Query { key: text("shad"), file: text("/etc/shadow"), exe: text("cat"), comm: text("c"), ..any() },
                Some(true),
            ),
            (Query { key: text("none"), ..any() }, None),
            (Query { record_types: vec!["PATH".to_owned()], ..any() }, Some(true)),
            (Query { record_types: vec!["EOE".to_owned()], ..any() }, None),
            (Query { host: text("h"), ..any() }, None),
        ] {
            assert_eq!(query.glance(&found[0]), meant, "{query:?}");
        }
    }

    /// One byte or field that is not the kernel's.
    #[test]
    fn what_is_not_the_kernels_spelling_is_left_to_the_parser() {
        let event = samples::event(Body::Syscall(Box::new(samples::open_failed())));
        let log = String::from_utf8(written(&event)).unwrap();
        let queries = all_queries(&event, &samples::event(Body::Syscall(Box::new(samples::exec()))));
        for (from, to) in [
            (" pid=", " PID="),
            ("pid=812", "pid=+812"),
            ("pid=812", "pid=4294967808"),
            ("comm=\"cat\"", "comm=\"c\"at\""),
            ("comm=\"cat\"", "comm=636"),
            ("comm=\"cat\"", "comm=cat"),
            ("key=\"shadow\"", "key=\"shadow"),
            ("key=\"shadow\"", "key=\"shadow\" x=\"key=none\""),
            ("key=\"shadow\"", "key=736801616477"),
            ("success=no", "success=yes"),
            ("exit=-13", "exit=x"),
            ("name=\"/etc/shadow\"", "name=\"/etc/shadow"),
            ("name=\"/etc/shadow\"", "name=\"/etc/shadow/\""),
            ("nametype=", "key=\"x\" nametype="),
            ("cwd=", "pid=4 cwd="),
            ("type=SYSCALL", "type=URINGOP"),
        ] {
            assert!(log.contains(from), "{from} in {log}");
            same(log.replace(from, to).as_bytes(), &queries);
        }
    }

    proptest! {
        #[test]
        fn a_glance_says_what_parsing_does(one in arbitrary::event(), other in arbitrary::event()) {
            same(&written(&one), &all_queries(&one, &other));
        }

        /// Anything may have happened to a log.
        #[test]
        fn also_of_damaged_records(
            event in arbitrary::event(), places in prop::collection::vec((any::<prop::sample::Index>(), 0..9_usize), 1..4)
        ) {
            let mut log = written(&event);
            for (place, byte) in places {
                let place = place.index(log.len());
                log[place] = b" =\"'0aF(/"[byte];
            }
            same(&log, &all_queries(&event, &event));
        }

        /// What this release wrote looks the same as it stands there and written again.
        #[test]
        fn records_are_shown_as_they_would_be_written(event in arbitrary::event()) {
            for layout in [Layout::Raw, Layout::Default] {
                let mut log = Vec::new();
                let record = Record { event: &event, node: "web1", names: &LogNames::default() };
                Layout::Raw.write(&record, Content::Raw, &chrono::Utc, &mut log);
                for records in records(&log) {
                    let (entry, mut shown, mut again) = (records.entry().unwrap(), Vec::new(), Vec::new());
                    layout.write_records(&records, &chrono::Utc, &mut shown);
                    let record = Record { event: &entry.event, node: &entry.node, names: &entry.names };
                    layout.write(&record, Content::Raw, &chrono::Utc, &mut again);
                    prop_assert_eq!(shown.escape_ascii().to_string(), again.escape_ascii().to_string());
                }
            }
        }
    }
}
