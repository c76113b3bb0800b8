//! Texts without which an event cannot pass a query.

use tables::Arch;

use super::{Call, Query};
use crate::format::native::LOST_TYPE;
use crate::read::Sieve;
use crate::record::UNSET;

/// Of each list, a wanted event has one. `None` where nothing can be said.
#[derive(Default)]
struct Texts {
    native: Option<Vec<Vec<u8>>>,
    json: Option<Vec<Vec<u8>>>,
}

impl Query {
    /// What can be told of an event's bytes: whatever passes the query passes it.
    pub fn sieve(&self) -> Sieve {
        let tests = self.texts();
        Sieve {
            native: tests.iter().find_map(|texts| texts.native.as_ref()).map(|texts| texts.iter().collect()),
            json: tests.iter().find_map(|texts| texts.json.as_ref()).map(|texts| texts.iter().collect()),
            seconds: (self.from, self.to),
        }
    }

    /// What few events have comes first.
    fn texts(&self) -> Vec<Texts> {
        let users = self.users.uid.or(self.users.euid).or(self.users.auid).or(self.users.any);
        let groups = self.groups.gid.or(self.groups.egid).or(self.groups.any);
        let mut tests = Vec::new();
        tests.extend(self.serial.map(|serial| both(format!(":{serial})"), format!("\"serial\":{serial}"))));
        tests.extend(self.pid.map(|pid| field("pid", "pid", pid)));
        tests.extend(self.ppid.map(|ppid| field("ppid", "ppid", ppid)));
        let names = [&self.key, &self.file, &self.exe, &self.comm, &self.terminal];
        tests.extend(names.into_iter().flatten().map(|name| chosen(name)));
        tests.extend(self.session.filter(|id| *id != UNSET).map(|id| field("ses", "session", id)));
        tests.extend(users.filter(|id| *id != UNSET).map(|id| ends_field("uid", id)));
        tests.extend(groups.filter(|id| *id != UNSET).map(|id| ends_field("gid", id)));
        tests.extend(self.call.as_ref().map(call));
        tests.extend(self.exit.map(|exit| both(format!("exit={exit}"), format!("\"exit\":{exit}"))));
        tests.push(types(&self.record_types));
        tests.extend(self.success.map(success));
        tests
    }
}

fn both(native: String, json: String) -> Texts {
    Texts { native: Some(vec![native.into_bytes()]), json: Some(vec![json.into_bytes()]) }
}

/// A number; in a JSON record it may also stand in the text of a native one.
fn field(native: &str, json: &str, number: u32) -> Texts {
    let native = format!("{native}={number}").into_bytes();
    let json = format!("\"{json}\":{number}").into_bytes();
    Texts { native: Some(vec![native.clone()]), json: Some(vec![json, native]) }
}

/// A number whose field may have something before its name: `uid`, `auid`, `euid`.
fn ends_field(name: &str, number: u32) -> Texts {
    let native = format!("{name}={number}").into_bytes();
    let json = format!("{name}\":{number}").into_bytes();
    Texts { native: Some(vec![native.clone()]), json: Some(vec![json, native]) }
}

/// What people choose stands as it is or in hexadecimal; in JSON, as it is where nothing is escaped.
fn chosen(text: &str) -> Texts {
    if text.is_empty() {
        return Texts::default();
    }
    let upper: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    let mut spellings = vec![text.as_bytes().to_vec(), upper.to_ascii_lowercase().into_bytes(), upper.into_bytes()];
    // Some are the same in both cases, and each takes a pass over the log.
    spellings.dedup();
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
    Texts { json: plain.then(|| spellings.clone()), native: Some(spellings) }
}

fn call(call: &Call) -> Texts {
    let numbers: Vec<u32> = match call {
        Call::Number(number) => vec![*number],
        Call::Name(name) => {
            let arches = [Arch::B64, Arch::B32, Arch::Aarch64];
            arches.iter().filter_map(|arch| tables::syscalls::number(*arch, name)).map(u32::from).collect()
        }
    };
    let all = |name: &str| numbers.iter().map(|number| format!("{name}{number}").into_bytes()).collect();
    Texts { native: Some(all("syscall=")), json: Some(all("\"syscall_number\":")) }
}

/// JSON records do not name all the records that their native form has.
fn types(names: &[String]) -> Texts {
    let native = |name: &String| {
        let name = if name == "LOST" { LOST_TYPE } else { name };
        format!("type={name} ").into_bytes()
    };
    // What stands for an end that nothing else marks is not kept.
    let known = !names.is_empty() && !names.iter().any(|name| name == "EOE");
    Texts { native: known.then(|| names.iter().map(native).collect()), json: None }
}

fn success(success: bool) -> Texts {
    let (own, words) = if success {
        ("\"success\":true", ["success=yes", "success=success", "success=1", "res=success", "res=yes", "res=1"])
    } else {
        ("\"success\":false", ["success=no", "success=failed", "success=0", "res=failed", "res=no", "res=0"])
    };
    let native: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let json = [own].iter().map(|word| word.as_bytes().to_vec()).chain(native.clone()).collect();
    Texts { native: Some(native), json: Some(json) }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::facts::Facts;
    use super::super::{Comparison, Groups, Users};
    use super::*;
    use crate::arbitrary;
    use crate::event::Event;
    use crate::format::{Content, Format, NativeStyle, Node};
    use crate::read::{LogNames, Reader};
    use crate::record::Record;

    fn written(event: &Event, format: Format) -> Vec<u8> {
        let mut lines = Vec::new();
        format.write_lines(&Record { event, node: "web1", names: &LogNames::default() }, &mut lines);
        lines
    }

    /// Queries that ask for something that the event has.
    pub(crate) fn queries(event: &Event) -> Vec<Query> {
        let facts = Facts::of(event);
        let text = |found: &[std::borrow::Cow<'_, [u8]>]| {
            let text = String::from_utf8(found.first()?.to_vec()).ok()?;
            // A part, from the middle.
            Some(text.chars().skip(text.chars().count() / 3).take(5).collect::<String>())
        };
        let any = Query::default;
        vec![
            Query { serial: Some(event.serial), ..any() },
            Query { pid: facts.pid, ..any() },
            Query { ppid: facts.ppid, ..any() },
            Query { session: facts.session, ..any() },
            Query { success: facts.success, ..any() },
            Query { users: Users { any: facts.auid, uid: facts.uid, ..Users::default() }, ..any() },
            Query { groups: Groups { egid: facts.egid, ..Groups::default() }, ..any() },
            Query { comm: text(&facts.comm), ..any() },
            Query { exe: text(&facts.exe), ..any() },
            Query { file: text(&facts.files), ..any() },
            Query { key: text(&facts.keys), comparison: Comparison::Part, ..any() },
            Query { terminal: text(&facts.terminals), ..any() },
            Query { host: text(&facts.hosts), ..any() },
            Query { call: Some(Call::Name("openat".to_owned())), ..any() },
            Query { record_types: vec!["PATH".to_owned(), "LOST".to_owned(), "EOE".to_owned()], ..any() },
            Query { record_types: vec!["USER_LOGIN".to_owned(), "LOST".to_owned()], ..any() },
            Query { from: Some(1), to: i64::try_from(event.time / 1_000_000_000).ok(), ..any() },
        ]
    }

    proptest! {
        #[test]
        fn what_is_meant_passes(event in arbitrary::event()) {
            let native = Format::Native(NativeStyle { content: Content::Enriched, node: Node::Named });
            for format in [native, Format::Json] {
                let log = written(&event, format);
                for query in queries(&event) {
                    let meant = |reader: Reader<&[u8]>| reader.flatten().filter(|entry| query.matches(entry)).count();
                    let (all, sieved) = (meant(Reader::new(&*log)), meant(Reader::new(&*log).sieved(query.sieve())));
                    prop_assert_eq!(all, sieved, "{:?} of {}", query, log.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn most_others_do_not_pass() {
        let log = written(&crate::samples::event(crate::event::Body::Lost(Vec::new())), Format::Json);
        let query = Query { key: Some("shadow".to_owned()), ..Query::default() };
        assert_eq!(Reader::new(&*log).sieved(query.sieve()).count(), 0);
        assert_eq!(Reader::new(&*log).count(), 1);
    }
}
