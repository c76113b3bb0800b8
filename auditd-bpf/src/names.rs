//! Names for the numbers in records: users and groups from the system, behind a cache; the rest from tables.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group, Uid, User};
use output::Names;
use output::read::LogNames;
use tables::Arch;

/// How long an answer holds, also that there is no such name: a user that is added gets its name after that.
const HOLDS: Duration = Duration::from_secs(60);
/// Answers kept per kind. A scan over all ids must not fill the memory.
const MOST: usize = 4096;

/// Names as this machine knows them.
#[derive(Default)]
pub struct HostNames {
    users: Cache,
    groups: Cache,
}

impl Names for HostNames {
    fn user(&self, uid: u32) -> Option<Arc<str>> {
        self.users.get(uid, Instant::now(), |uid| Some(User::from_uid(Uid::from_raw(uid)).ok()??.name))
    }

    fn group(&self, gid: u32) -> Option<Arc<str>> {
        self.groups.get(gid, Instant::now(), |gid| Some(Group::from_gid(Gid::from_raw(gid)).ok()??.name))
    }

    fn arch(&self, arch: u32) -> Option<&'static str> {
        Arch::from_audit_arch(arch).map(Arch::machine)
    }

    fn syscall(&self, arch: u32, number: u32) -> Option<&'static str> {
        tables::syscalls::name(Arch::from_audit_arch(arch)?, u16::try_from(number).ok()?)
    }

    fn errno(&self, number: i32) -> Option<&'static str> {
        tables::errno_name(u32::try_from(number).ok()?)
    }
}

/// The names that the log tells; where it tells none at all (`RAW`), those of this machine, as ausearch does.
pub(crate) struct EntryNames<'a> {
    pub(crate) log: &'a LogNames,
    pub(crate) host: &'a HostNames,
}

impl EntryNames<'_> {
    fn best(&self) -> &dyn Names {
        if self.log.told() { self.log } else { self.host }
    }
}

impl Names for EntryNames<'_> {
    fn user(&self, uid: u32) -> Option<Arc<str>> {
        self.best().user(uid)
    }

    fn group(&self, gid: u32) -> Option<Arc<str>> {
        self.best().group(gid)
    }

    fn arch(&self, arch: u32) -> Option<&'static str> {
        self.best().arch(arch)
    }

    fn syscall(&self, arch: u32, number: u32) -> Option<&'static str> {
        self.best().syscall(arch, number)
    }

    fn errno(&self, number: i32) -> Option<&'static str> {
        self.best().errno(number)
    }
}

#[derive(Default)]
struct Cache {
    answers: Mutex<HashMap<u32, Answer>>,
}

struct Answer {
    name: Option<Arc<str>>,
    until: Instant,
}

impl Cache {
    /// The cached answer, or that of `look_up`. No lock is held meanwhile: the system may ask a directory server.
    fn get(&self, id: u32, now: Instant, look_up: impl FnOnce(u32) -> Option<String>) -> Option<Arc<str>> {
        if let Some(answer) = self.answers().get(&id).filter(|answer| now < answer.until) {
            return answer.name.clone();
        }
        let name: Option<Arc<str>> = look_up(id).map(Arc::from);
        let mut answers = self.answers();
        if answers.len() >= MOST {
            answers.retain(|_, answer| now < answer.until);
        }
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(id, Answer { name: name.clone(), until: now + HOLDS });
        name
    }

    /// Nothing is left half-done in the map, whatever happened to another thread.
    fn answers(&self) -> MutexGuard<'_, HashMap<u32, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        let names = HostNames::default();
        assert_eq!(names.user(0).as_deref(), Some("root"));
        assert_eq!(names.group(0).as_deref(), Some("root"));
        assert_eq!(names.user(u32::MAX), None);
        assert_eq!(names.arch(0xc000_003e), Some("x86_64"));
        assert_eq!(names.syscall(0xc000_003e, 257), Some("openat"));
        assert_eq!(names.syscall(0x4000_0003, 5), Some("open"));
        assert_eq!(names.syscall(0xc000_003e, 65536 + 257), None);
        assert_eq!((names.errno(13), names.errno(-13)), (Some("EACCES"), None));
    }

    #[test]
    fn answers_hold_for_a_minute_also_negative_ones() {
        let cache = Cache::default();
        let start = Instant::now();
        let known = |id: u32| Some(format!("u{id}"));
        assert_eq!(cache.get(1, start, |_| None), None);
        assert_eq!(cache.get(1, start + Duration::from_secs(59), known), None);
        assert_eq!(cache.get(1, start + Duration::from_secs(60), known).as_deref(), Some("u1"));
        assert_eq!(cache.get(1, start + Duration::from_secs(119), |_| None).as_deref(), Some("u1"));
    }

    #[test]
    fn the_cache_is_bounded_and_drops_what_expired_first() {
        let cache = Cache::default();
        let start = Instant::now();
        let known = |id: u32| Some(format!("u{id}"));
        cache.get(0, start + HOLDS, known);
        for id in 1..3 * MOST as u32 {
            cache.get(id, start, known);
            assert!(cache.answers().len() <= MOST);
        }
        cache.answers().clear();
        for id in 0..MOST as u32 - 1 {
            cache.get(id, start, known);
        }
        cache.get(u32::MAX, start + HOLDS - Duration::from_secs(1), known);
        cache.get(u32::MAX - 1, start + HOLDS, known);
        assert_eq!(cache.answers().len(), 2);
    }
}
