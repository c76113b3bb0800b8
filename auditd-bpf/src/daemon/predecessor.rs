//! What a daemon before this one left in force: killed, or told to leave it. Its rules go on to decide until ours do, and what they
//! recorded meanwhile comes into our log.
//!
//! The kernel has its programs, tables and buffer ([`Left`]). What its rules say is in a file beside the control socket, which a
//! running daemon [keeps](Will::write) up to date.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use output::Serials;
use output::event::{Event, Loss, RuleRef};
use serde::{Deserialize, Serialize};

use crate::decode::{Decoder, RuleBook};
use crate::kernel::pins::Left;
use crate::mounts::MountsByDevice;

/// Where the [`Will`] of a daemon is, by its control socket and the [number](crate::kernel::pins::Pins::number) of its pins.
#[must_use]
pub fn will_of(socket: &Path, number: u32) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(format!(".rules-{number}"));
    PathBuf::from(name)
}

/// What the next daemon must know of this one, should it be killed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Will {
    generations: Vec<Generation>,
    /// Losses that are in the log.
    reported: BTreeMap<String, u64>,
    #[serde(default)]
    guarded: bool,
}

/// The rules that numbers in samples mean.
#[derive(Debug, Serialize, Deserialize)]
struct Generation {
    generation: u32,
    rules: Vec<Rule>,
}

/// A [`RuleRef`].
#[derive(Debug, Serialize, Deserialize)]
struct Rule {
    number: u32,
    text: String,
    /// Bytes, as keys need not be text.
    keys: Vec<Vec<u8>>,
    action: String,
}

impl Will {
    /// Of these rules, and of losses by cause.
    pub fn new<'a>(rules: &RuleBook, reported: impl Iterator<Item = (&'a str, u64)>) -> Self {
        let generations = rules
            .generations()
            .map(|(generation, rules)| Generation { generation, rules: rules.iter().map(Rule::of).collect() });
        let reported = reported.map(|(cause, count)| (cause.to_owned(), count));
        Self { generations: generations.collect(), reported: reported.collect(), guarded: false }
    }

    /// The same of a daemon that guards something, or does not.
    #[must_use]
    pub fn guarding(self, guarded: bool) -> Self {
        Self { guarded, ..self }
    }

    /// Whether nobody can take over but a daemon of the same keeper.
    #[must_use]
    pub const fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// Writes it in the place of the one before.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        file.persist(path)?;
        Ok(())
    }

    /// Reads the one there.
    ///
    /// # Errors
    /// What the system says, or that it is none.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }
}

impl Rule {
    fn of(rule: &RuleRef) -> Self {
        Self {
            number: rule.number,
            text: rule.text.to_string(),
            keys: rule.keys.iter().map(|key| key.to_vec()).collect(),
            action: rule.action.to_string(),
        }
    }

    fn into_ref(self) -> RuleRef {
        RuleRef { number: self.number, text: self.text.into(), keys: self.keys.into(), action: self.action.into() }
    }
}

/// One that is being taken over from.
pub struct Predecessor {
    left: Left,
    will: PathBuf,
    reported: BTreeMap<String, u64>,
    decoder: Decoder,
    events: u64,
    detaching: Option<JoinHandle<()>>,
}

impl Predecessor {
    /// Of what was left at a control socket, which is ours.
    pub fn new(left: Left, socket: &Path, serials: Arc<Serials>) -> Self {
        let path = will_of(socket, left.number());
        let will = Will::read(&path).unwrap_or_else(|error| {
            tracing::error!("what the rules of an earlier daemon say is not known: {}: {error}", path.display());
            Will::default()
        });
        let mut decoder = Decoder::new(serials, Box::<MountsByDevice>::default());
        for Generation { generation, rules } in will.generations.into_iter().rev() {
            decoder.rules().insert(generation, rules.into_iter().map(Rule::into_ref).collect());
        }
        Self { left, will: path, reported: will.reported, decoder, events: 0, detaching: None }
    }

    /// Hands its events to `consume`.
    pub fn drain(&mut self, mut consume: impl FnMut(Event)) {
        let Self { left, decoder, events, .. } = self;
        left.drain(|sample| {
            if let Some(event) = decoder.sample(sample) {
                *events += 1;
                consume(event);
            }
        });
    }

    /// The rules of `owner` are in force: its own are no more, and its programs are detached, in a thread, as that takes seconds.
    pub fn retire(&mut self, owner: u32) {
        if let Err(error) = self.left.withdraw(owner) {
            tracing::error!("rules of an earlier daemon stay in force until its programs are detached: {error}");
        }
        let thread = std::thread::Builder::new().name("detach".to_owned()).spawn(self.left.detaching());
        match thread {
            Ok(thread) => self.detaching = Some(thread),
            Err(error) => {
                tracing::warn!("cannot start a thread: {error}");
                self.left.detaching()();
            }
        }
    }

    /// Whether nothing can come from it any more, once it is [retired](Self::retire).
    pub fn is_gone(&self) -> bool {
        self.detaching.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until nothing can come from it.
    pub fn wait(&mut self) {
        if let Some(Err(_)) = self.detaching.take().map(JoinHandle::join) {
            tracing::error!("programs of an earlier daemon were not detached");
        }
    }

    /// Events that came from it.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// What was lost of its events, and is in no log.
    pub fn losses(&self) -> Vec<Loss> {
        let of_kernel = self.left.lost();
        let all = of_kernel.into_iter().chain(self.decoder.counters().losses());
        let unreported = all.map(|(cause, count)| {
            let count = count.saturating_sub(self.reported.get(cause).copied().unwrap_or(0));
            Loss { cause: cause.into(), count }
        });
        unreported.filter(|loss| loss.count > 0).collect()
    }

    /// Removes the last of it: its rules too, as they are of no use without what they recorded.
    pub fn bury(self) {
        self.left.remove();
        if let Err(error) = fs::remove_file(&self.will) {
            tracing::debug!("{}: {error}", self.will.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_the_same_for_the_next_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let rule = RuleRef {
            number: 3,
            text: "-w /a -p w".into(),
            keys: [b"k".to_vec(), vec![0xff]].into(),
            action: "deny".into(),
        };
        let mut book = RuleBook::default();
        book.insert(1, Vec::new());
        book.insert(2, vec![rule.clone()]);
        let path = will_of(&socket, 7);
        Will::new(&book, [("ring_buffer_full", 5)].into_iter()).guarding(true).write(&path).unwrap();
        let Will { generations, reported, guarded } = Will::read(&path).unwrap();
        assert!(guarded);
        assert_eq!(reported.get("ring_buffer_full"), Some(&5));
        let [second, first] = <[Generation; 2]>::try_from(generations).unwrap();
        assert_eq!((second.generation, first.generation, first.rules.len()), (2, 1, 0));
        assert_eq!(second.rules.into_iter().map(Rule::into_ref).collect::<Vec<_>>(), [rule]);
    }
}
