//! What the decoder could not use.

use super::assemble::AssemblyCounters;

/// Counters of the decoder since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodeCounters {
    /// Samples made.
    pub samples: u64,
    /// Events made.
    pub events: u64,
    /// Samples that are none of this schema. The one counter that means a missing event.
    pub malformed_samples: u64,
    /// Sections that break the rules of the wire; their events are marked incomplete.
    pub malformed_sections: u64,
    /// Sections of a kind that this release does not know, left out.
    pub unknown_sections: u64,
    /// Events whose hook this release does not know, named without it.
    pub unknown_hooks: u64,
    /// Events with a verdict that this release does not know, shown as let through.
    pub unknown_verdicts: u64,
    /// Events whose rule was not known any more; their rule's text says so.
    pub unknown_rules: u64,
    /// What became of events in several samples.
    pub assembly: AssemblyCounters,
}

impl DecodeCounters {
    /// Events missing from the log, by cause: for `LOST` records.
    pub fn losses(&self) -> [(&'static str, u64); 1] {
        [("malformed_sample", self.malformed_samples)]
    }

    /// Every counter that should stay 0, by name: for `auditctl -s`.
    pub fn faults(&self) -> [(&'static str, u64); 8] {
        [
            ("malformed_sample", self.malformed_samples),
            ("malformed_section", self.malformed_sections),
            ("unknown_section", self.unknown_sections),
            ("unknown_hook", self.unknown_hooks),
            ("unknown_verdict", self.unknown_verdicts),
            ("unknown_rule", self.unknown_rules),
            ("missing_chunk", self.assembly.missing_chunks),
            ("assembler_full", self.assembly.assembler_full),
        ]
    }
}
