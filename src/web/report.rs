//! What the device says of itself, for people and programs: no page, name or reference is in it.

use serde::Serialize;

/// How things stand, as of the last event.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    pub device: String,
    pub version: &'static str,
    /// `ready`, `working`, `warning` or `error`, as the light shows it.
    pub condition: String,
    /// What is not as it should be, in words.
    pub reasons: Vec<String>,
    /// Parts that have not moved within their limit.
    pub stuck: Vec<String>,
    /// A page would be taken.
    pub takes_pages: bool,
    pub uptime_s: u64,
    pub clock_synced: bool,
    pub counts: Counts,
    pub spool: SpoolReport,
    pub sources: Vec<SourceReport>,
    pub destinations: Vec<DestinationReport>,
    pub memory: MemoryReport,
}

/// Since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub accepted: u64,
    pub duplicates: u64,
    /// Captured, but not good enough to be kept.
    pub refused: u64,
    pub captures_failed: u64,
    pub digitized: u64,
    pub rejected: u64,
    /// Attempts that ended by a fault of our own.
    pub died: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpoolReport {
    pub jobs: usize,
    pub to_digitize: usize,
    pub to_deliver: usize,
    pub parked: usize,
    pub held: usize,
    pub quarantined_files: usize,
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    pub name: String,
    pub works: bool,
    /// What was found when it was last looked at, or what is wrong.
    pub found: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DestinationReport {
    pub name: String,
    /// It takes no records now.
    pub degraded: bool,
    pub delivered: u64,
    pub failed: u64,
    /// Why the last delivery failed, where it did.
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryReport {
    pub resident_bytes: u64,
    pub peak_bytes: u64,
}
