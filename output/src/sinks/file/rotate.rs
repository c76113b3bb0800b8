//! The end of a segment, and what is done at its points in time.

use std::io;
use std::time::{Instant, SystemTime};

use super::segment::{Ended, Names, Opened, Segment, too_old};
use super::{FileSink, Finished, Fsync};
use crate::chain::{Digest, Sidecar};
use crate::fs::{Fs, LogFile};
use crate::sinks::Rotated;

/// The segment that an open file is. One that is not what its sidecar says is set aside with it, for `verify` to tell, and a
/// new one begins.
pub(super) fn adopt(fs: &dyn Fs, names: &Names, file: &mut Box<dyn LogFile>) -> io::Result<Segment> {
    match Segment::open(fs, names, &mut **file)? {
        Opened::Current(segment) => Ok(segment),
        Opened::Renamed(sidecar) => after(fs, names, &sidecar, &mut **file),
        Opened::Changed(mut sidecar) => {
            sidecar.name = names.ended(sidecar.number, chrono::Utc::now());
            tracing::error!(
                path = %names.path.display(), aside = sidecar.name,
                "the log is not what it was when it was last written: set aside; `auditd-bpf verify` tells more"
            );
            if file.length()? != 0 {
                fs.rename(&names.path, &names.beside(&sidecar.name))?;
                *file = fs.open_log(&names.path)?;
            }
            after(fs, names, &sidecar, &mut **file)
        }
    }
}

/// Gives a sidecar the name of its segment, and begins the next one.
fn after(fs: &dyn Fs, names: &Names, ended: &Sidecar, file: &mut dyn LogFile) -> io::Result<Segment> {
    let text = ended.to_string();
    fs.replace(&Names::sidecar(&names.path), text.as_bytes())?;
    fs.rename(&Names::sidecar(&names.path), &Names::sidecar(&names.beside(&ended.name)))?;
    let mut segment = Segment::after(ended, &text);
    segment.take_in(file, u64::MAX)?;
    Ok(segment)
}

impl FileSink {
    /// After a member is in the file.
    pub(super) fn wrote(&mut self, finished: &Finished) {
        self.segment.wrote(&finished.member, finished.records, finished.times);
        self.segment_events += finished.events;
        if finished.events != 0 && self.segment_since.is_none() {
            self.segment_since = Some(Instant::now());
        }
        if self.unsynced.is_none() {
            self.unsynced = Some(Instant::now());
        }
        if self.names.chain {
            self.write_sidecar();
        }
    }

    /// The log matters more than its sidecar: where that cannot be written, it waits for the next flush.
    fn write_sidecar(&mut self) {
        let name = self.names.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sidecar = self.segment.sidecar(name);
        match self.fs.replace(&Names::sidecar(&self.names.path), sidecar.to_string().as_bytes()) {
            Ok(()) => self.chain_failing = false,
            Err(error) if !self.chain_failing => {
                self.chain_failing = true;
                tracing::warn!(path = %self.names.path.display(), %error, "cannot write the log's digest");
            }
            Err(_) => {}
        }
    }

    /// When to sync, at the latest.
    pub(super) fn sync_due(&self) -> Option<Instant> {
        match self.config.fsync {
            Fsync::None => None,
            Fsync::Every => self.unsynced,
            Fsync::Interval(interval) => self.unsynced.map(|since| since + interval),
        }
    }

    pub(super) fn sync_if_due(&mut self) {
        if self.sync_due().is_some_and(|due| due <= Instant::now()) {
            self.sync();
        }
    }

    fn sync(&mut self) {
        self.unsynced = None;
        if let Err(error) = self.file.sync() {
            self.meter.failed();
            tracing::error!(path = %self.names.path.display(), %error, "cannot sync the log");
        }
    }

    /// When the segment is old enough.
    pub(super) fn rotation_due(&self) -> Option<Instant> {
        Some(self.segment_since? + self.config.rotation.after?)
    }

    pub(super) fn rotate_if_due(&mut self) {
        let rotation = self.config.rotation;
        let long = rotation.bytes.is_some_and(|most| self.segment.bytes >= most.get());
        let full = rotation.records.is_some_and(|most| self.segment.records >= most.get());
        let old = self.rotation_due().is_some_and(|due| due <= Instant::now());
        // A segment that tells of the last rotation alone is not worth another.
        if self.segment_events != 0 && (long || full || old) {
            self.end_segment();
        }
    }

    /// Ends the segment, if there is anything in it.
    pub(super) fn end_segment(&mut self) {
        if self.segment.bytes == 0 {
            return;
        }
        self.sync();
        match self.give_name() {
            Ok(rotated) => self.rotated = Some(rotated),
            // It is tried again at the next flush.
            Err(error) => {
                self.meter.failed();
                tracing::warn!(path = %self.names.path.display(), %error, "cannot rotate the log");
            }
        }
    }

    fn give_name(&mut self) -> io::Result<Rotated> {
        let (names, fs) = (&self.names, &*self.fs);
        let name = self.segment.name(names);
        let (current, path) = (Names::sidecar(&names.path), names.beside(&name));
        let ended = self.segment.sidecar(name.clone());
        let text = ended.to_string();
        if names.chain {
            fs.replace(&current, text.as_bytes())?;
        }
        fs.rename(&names.path, &path)?;
        if names.chain {
            fs.rename(&current, &Names::sidecar(&path))?;
        }
        // Where this fails, the next write finds that the log has no file, and opens one.
        self.file = fs.open_log(&names.path)?;
        self.segment = Segment::after(&ended, &text);
        (self.segment_events, self.segment_since) = (0, None);
        let chain = names.chain.then(|| Digest::of(text.as_bytes()).to_string());
        let removed = self.remove_old();
        Ok(Rotated { segment: name, records: ended.records, chain, removed })
    }

    /// Loses the oldest segment, whatever is to be kept: room for what comes.
    pub(super) fn lose_oldest(&mut self) {
        let ended = self.names.list(&*self.fs).unwrap_or_default();
        if let Some(oldest) = ended.first() {
            self.remove(&ended[..1]);
            tracing::warn!(path = %oldest.path.display(), "lost the oldest segment for room on the disk");
        }
    }

    /// Ends the segment if there are events in it.
    pub(super) fn end_filled_segment(&mut self) {
        if self.segment_events != 0 {
            self.end_segment();
        }
    }

    /// Removes what is not kept; returns how many segments that were. Sidecars say first that these are gone on purpose.
    fn remove_old(&mut self) -> usize {
        let ended = self.names.list(&*self.fs).unwrap_or_default();
        let count = too_old(&ended, self.segment.bytes, &self.config.retention, SystemTime::now());
        self.remove(&ended[..count]);
        count
    }

    fn remove(&mut self, oldest: &[Ended]) {
        let Some(last) = oldest.last() else { return };
        self.segment.oldest = last.number + 1;
        if self.names.chain {
            self.write_sidecar();
        }
        for segment in oldest {
            let removed = self.fs.remove(&segment.path);
            if let Err(error) = removed {
                tracing::warn!(path = %segment.path.display(), %error, "cannot remove an old segment");
            } else if self.names.chain {
                // One that is not there is no loss.
                let _ = self.fs.remove(&Names::sidecar(&segment.path));
            }
        }
    }
}
