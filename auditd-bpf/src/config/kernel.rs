//! `[kernel]`: how events come out of the kernel.

use std::num::NonZeroU64;
use std::time::Duration;

use auditd_bpf_common::limits::RING_BYTES;
use serde::Deserialize;

use crate::kernel::engine::CallEnds;
use crate::mode::Mode;

/// Smallest and largest ring buffer. Below, a single exec with many arguments might not fit; the kernel refuses more.
const RING_RANGE: std::ops::RangeInclusive<u64> = 256 << 10..=1 << 30;

/// `[kernel]`: how events come out of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KernelConfig {
    /// `ring_buffer_bytes`: memory for events that wait for the daemon. Default 8388608 (8 MiB).
    pub ring_buffer_bytes: RingBytes,
    /// `poll_ms`: how often the daemon takes what waits. Default 20.
    pub poll_ms: PollMillis,
    /// `call_ends`: where the ends of system calls are seen. Default `auto`.
    pub call_ends: CallEndsChoice,
    /// `user_messages`: whether to receive the messages of programs. Default `auto`.
    pub user_messages: UserMessagesChoice,
    /// `mode`: where rules are decided. Default `auto`.
    pub mode: ModeChoice,
}

/// Whether to receive what programs tell the kernel's audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserMessagesChoice {
    /// As the registered audit daemon where there is none, else beside it.
    #[default]
    Auto,
    /// No; the kernel's audit is left alone.
    Off,
}

/// Where rules are decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModeChoice {
    /// The best that this host allows.
    #[default]
    Auto,
    /// [`Mode::Lsm`], or not at all.
    Lsm,
    /// [`Mode::Observe`].
    Observe,
    /// [`Mode::Syscall`].
    Syscall,
}

impl ModeChoice {
    /// The mode, if it is chosen.
    #[must_use]
    pub const fn fixed(self) -> Option<Mode> {
        match self {
            Self::Auto => None,
            Self::Lsm => Some(Mode::Lsm),
            Self::Observe => Some(Mode::Observe),
            Self::Syscall => Some(Mode::Syscall),
        }
    }
}

/// Where the ends of system calls are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallEndsChoice {
    /// `all-calls` where the kernel preempts, else `per-call`.
    #[default]
    Auto,
    /// At each call that a rule names. On a kernel that preempts, some are missed, and counted.
    PerCall,
    /// At the tracepoint that all calls pass, which costs each a little.
    AllCalls,
}

/// Size of the ring buffer: a power of two within what the kernel and one large event ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct RingBytes(u32);

/// Milliseconds between two looks into the ring buffer, at the most a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "NonZeroU64")]
pub struct PollMillis(u16);

impl Default for KernelConfig {
    fn default() -> Self {
        Self {
            ring_buffer_bytes: RingBytes(RING_BYTES),
            poll_ms: PollMillis(20),
            call_ends: CallEndsChoice::Auto,
            user_messages: UserMessagesChoice::Auto,
            mode: ModeChoice::Auto,
        }
    }
}

impl CallEndsChoice {
    /// `None` where the kernel decides.
    #[must_use]
    pub const fn fixed(self) -> Option<CallEnds> {
        match self {
            Self::Auto => None,
            Self::PerCall => Some(CallEnds::PerCall),
            Self::AllCalls => Some(CallEnds::AllCalls),
        }
    }
}

impl RingBytes {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl PollMillis {
    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64)
    }
}

impl TryFrom<u64> for RingBytes {
    type Error = String;

    fn try_from(bytes: u64) -> Result<Self, String> {
        match u32::try_from(bytes) {
            Ok(fitting) if bytes.is_power_of_two() && RING_RANGE.contains(&bytes) => Ok(Self(fitting)),
            _ => Err(format!(
                "ring_buffer_bytes must be a power of two from {} to {}, for example {}",
                RING_RANGE.start(),
                RING_RANGE.end(),
                bytes.clamp(*RING_RANGE.start(), *RING_RANGE.end()).next_power_of_two(),
            )),
        }
    }
}

impl TryFrom<NonZeroU64> for PollMillis {
    type Error = &'static str;

    fn try_from(millis: NonZeroU64) -> Result<Self, &'static str> {
        let fitting = u16::try_from(millis.get()).ok().filter(|millis| *millis <= 1000);
        fitting.map(Self).ok_or("poll_ms must be from 1 to 1000")
    }
}
