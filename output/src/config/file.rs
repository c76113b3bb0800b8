//! The keys of `type = "file"`.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::{Group, User};
use serde::Deserialize;

use super::actions::RawFailureActions;
use super::{Compression, FailureAction, FailureActions, FilterConfig, FormatName, QueueLimits, Space, format, limits};
use crate::format::Format;

/// `type = "file"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawFileConfig")]
pub struct FileConfig {
    /// `path`: the file, absolute. Its directory is created (mode 0700) where it is missing.
    pub path: PathBuf,
    /// `format`: `json` (default), `text` or `native`.
    pub format: Format,
    /// `compression`: `gzip` (default), `zstd` or `none`.
    pub compression: Compression,
    /// `flush_events`: records per compressed member, at most. Default 1000.
    pub flush_events: NonZeroU64,
    /// `flush_ms`: the longest that a record waits in memory before it is written, in milliseconds. Default 1000.
    pub flush_after: Duration,
    /// `fsync` and `fsync_ms`: when to wait until the disk has what was written.
    pub fsync: Fsync,
    /// `mode`, `owner`, `group`.
    pub access: Access,
    /// `rotate_bytes`, `rotate_records`, `rotate_s`.
    pub rotation: Rotation,
    /// `keep_files`, `keep_bytes`, `keep_days`.
    pub retention: Retention,
    /// `chain`: whether a sidecar with digests stands beside each segment. Default true.
    pub chain: bool,
    /// `space_left`, `disk_full_action` and their like.
    pub actions: FailureActions,
    /// `filter`.
    pub filter: FilterConfig,
    /// `queue` and `queue_bytes`.
    pub limits: QueueLimits,
}

impl FileConfig {
    /// A file with the default of every other key.
    pub fn new(path: PathBuf) -> Self {
        const THOUSAND: NonZeroU64 = NonZeroU64::new(1000).unwrap();
        Self {
            path,
            format: Format::Json,
            compression: Compression::default(),
            flush_events: THOUSAND,
            flush_after: Duration::from_millis(THOUSAND.get()),
            fsync: Fsync::default(),
            access: Access::default(),
            rotation: Rotation::default(),
            retention: Retention::default(),
            chain: true,
            actions: FailureActions::default(),
            filter: FilterConfig::default(),
            limits: QueueLimits::default(),
        }
    }
}

/// When to wait until the disk has what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// When a segment ends, and when the daemon does.
    #[default]
    None,
    /// Besides, at a flush, when this much time went by since the last: `fsync_ms`, default 1000.
    Interval(Duration),
    /// At every flush.
    Every,
}

/// Mode and owner of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// `mode`: default 0600, as what is audited is nobody's business but root's.
    pub mode: u32,
    /// `owner`: a user's name or number. Default: whom the daemon runs as.
    pub owner: Option<u32>,
    /// `group`: a group's name or number.
    pub group: Option<u32>,
}

impl Default for Access {
    fn default() -> Self {
        Self { mode: 0o600, owner: None, group: None }
    }
}

/// When a segment ends and the next one begins; at SIGUSR1 too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// `rotate_bytes`: length of the file. Default 64 MiB.
    pub bytes: Option<NonZeroU64>,
    /// `rotate_records`: records in it. Default: any number.
    pub records: Option<NonZeroU64>,
    /// `rotate_s`: seconds since its first record. Default: any time.
    pub after: Option<Duration>,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { bytes: NonZeroU64::new(64 << 20), records: None, after: None }
    }
}

/// Which segments are removed after a rotation: the oldest, until all that is given holds. The current one stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// `keep_files`: how many there are, the current one among them. Default: any number.
    pub files: Option<NonZeroU32>,
    /// `keep_bytes`: what they take together. Default: any amount.
    pub bytes: Option<NonZeroU64>,
    /// `keep_days`: days since a segment's last record. Default: any age.
    pub age: Option<Duration>,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFileConfig {
    path: PathBuf,
    format: Option<FormatName>,
    enriched: Option<bool>,
    with_node: Option<bool>,
    #[serde(default)]
    compression: Compression,
    flush_events: Option<NonZeroU64>,
    flush_ms: Option<NonZeroU64>,
    fsync: Option<FsyncName>,
    fsync_ms: Option<NonZeroU64>,
    mode: Option<String>,
    owner: Option<Id>,
    group: Option<Id>,
    /// 0 is never.
    rotate_bytes: Option<u64>,
    rotate_records: Option<NonZeroU64>,
    rotate_s: Option<NonZeroU64>,
    keep_files: Option<NonZeroU32>,
    keep_bytes: Option<NonZeroU64>,
    keep_days: Option<NonZeroU32>,
    chain: Option<bool>,
    space_left: Option<Space>,
    space_left_action: Option<FailureAction>,
    admin_space_left: Option<Space>,
    admin_space_left_action: Option<FailureAction>,
    disk_full_action: Option<FailureAction>,
    disk_error_action: Option<FailureAction>,
    action_mail_acct: Option<String>,
    #[serde(default)]
    filter: FilterConfig,
    queue: Option<NonZeroUsize>,
    queue_bytes: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum FsyncName {
    None,
    Interval,
    Every,
}

/// A user or group by name or number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u32),
    Name(String),
}

impl TryFrom<RawFileConfig> for FileConfig {
    type Error = String;

    fn try_from(raw: RawFileConfig) -> Result<Self, String> {
        if !raw.path.is_absolute() || raw.path.file_name().is_none() {
            return Err(format!("path `{}` must be absolute and name a file", raw.path.display()));
        }
        let default = Self::new(raw.path);
        let actions = FailureActions::resolve(RawFailureActions {
            space_left: raw.space_left,
            space_left_action: raw.space_left_action,
            admin_space_left: raw.admin_space_left,
            admin_space_left_action: raw.admin_space_left_action,
            disk_full_action: raw.disk_full_action,
            disk_error_action: raw.disk_error_action,
            action_mail_acct: raw.action_mail_acct,
        })?;
        let seconds = |seconds: NonZeroU64| Duration::from_secs(seconds.get());
        Ok(Self {
            format: format(raw.format.unwrap_or(FormatName::Json), raw.enriched, raw.with_node)?,
            compression: raw.compression,
            flush_events: raw.flush_events.unwrap_or(default.flush_events),
            flush_after: raw.flush_ms.map_or(default.flush_after, |ms| Duration::from_millis(ms.get())),
            fsync: fsync(raw.fsync, raw.fsync_ms)?,
            access: Access {
                mode: raw.mode.map_or(Ok(default.access.mode), |mode| file_mode(&mode))?,
                owner: raw.owner.map(owner).transpose()?,
                group: raw.group.map(group).transpose()?,
            },
            rotation: Rotation {
                bytes: raw.rotate_bytes.map_or(default.rotation.bytes, NonZeroU64::new),
                records: raw.rotate_records,
                after: raw.rotate_s.map(seconds),
            },
            retention: Retention {
                files: raw.keep_files,
                bytes: raw.keep_bytes,
                age: raw.keep_days.map(|days| Duration::from_secs(u64::from(days.get()) * 86_400)),
            },
            chain: raw.chain.unwrap_or(default.chain),
            actions,
            filter: raw.filter,
            limits: limits(raw.queue, raw.queue_bytes),
            ..default
        })
    }
}

fn fsync(name: Option<FsyncName>, ms: Option<NonZeroU64>) -> Result<Fsync, String> {
    match (name, ms) {
        (Some(FsyncName::Interval), ms) => Ok(Fsync::Interval(Duration::from_millis(ms.map_or(1000, NonZeroU64::get)))),
        (_, Some(_)) => Err("`fsync_ms` belongs to fsync = \"interval\"".to_owned()),
        (Some(FsyncName::Every), None) => Ok(Fsync::Every),
        (Some(FsyncName::None) | None, None) => Ok(Fsync::None),
    }
}

/// An octal mode in which nobody may execute, and others may not write.
fn file_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o664 == 0 && mode & 0o600 == 0o600);
    mode.ok_or_else(|| format!("mode `{text}` must be octal, between \"0600\" and \"0664\", as in \"0640\""))
}

fn owner(id: Id) -> Result<u32, String> {
    match id {
        Id::Number(uid) => Ok(uid),
        Id::Name(name) => match User::from_name(&name) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) => Err(format!("owner `{name}` is no user of this machine")),
            Err(errno) => Err(format!("owner `{name}` cannot be looked up: {errno}")),
        },
    }
}

fn group(id: Id) -> Result<u32, String> {
    match id {
        Id::Number(gid) => Ok(gid),
        Id::Name(name) => match Group::from_name(&name) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => Err(format!("group `{name}` is no group of this machine")),
            Err(errno) => Err(format!("group `{name}` cannot be looked up: {errno}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(keys: &str) -> Result<FileConfig, String> {
        toml::from_str(&format!("path='/a'\n{keys}")).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_of_rotation_and_access() {
        let keys = "fsync='interval'\nfsync_ms=50\nmode='0640'\nowner='root'\ngroup=7\nrotate_bytes=1\nrotate_records=2\n\
                    rotate_s=3\nkeep_files=4\nkeep_bytes=5\nkeep_days=6\nchain=false";
        let file = parse(keys).unwrap();
        assert_eq!(file.fsync, Fsync::Interval(Duration::from_millis(50)));
        assert_eq!(file.access, Access { mode: 0o640, owner: Some(0), group: Some(7) });
        let rotation = (file.rotation.bytes, file.rotation.records, file.rotation.after);
        assert_eq!(rotation, (NonZeroU64::new(1), NonZeroU64::new(2), Some(Duration::from_secs(3))));
        let retention = (file.retention.files, file.retention.bytes, file.retention.age);
        assert_eq!(retention, (NonZeroU32::new(4), NonZeroU64::new(5), Some(Duration::from_secs(6 * 86_400))));
        assert!(!file.chain);
    }

    #[test]
    fn defaults_rotate_and_remove_nothing() {
        let file = parse("").unwrap();
        assert_eq!(file, FileConfig::new("/a".into()));
        assert_eq!((file.rotation.bytes, file.retention), (NonZeroU64::new(64 << 20), Retention::default()));
        assert_eq!((file.access.mode, file.fsync, file.chain), (0o600, Fsync::None, true));
        assert_eq!(parse("rotate_bytes=0").unwrap().rotation.bytes, None);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |keys| parse(keys).unwrap_err();
        assert!(error("mode='0777'").contains("between \"0600\" and \"0664\""));
        assert!(error("mode='rw'").contains("must be octal"));
        assert!(error("owner='nobody-here'").contains("owner `nobody-here` is no user"));
        assert!(error("fsync_ms=5").contains("belongs to fsync = \"interval\""));
        assert!(error("keep_files=0").contains("nonzero"));
    }
}
