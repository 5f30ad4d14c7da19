//! A job: what is known of a page that was accepted, and how far it has come.
//!
//! In: what the caller tells when it accepts a page (`Accepted`; the spool has no clock). Out:
//! `JobId`, a ULID that is greater than every one before it, and `Job` with its `Stage`. `Facts` is
//! what a file's meta holds, so its fields and their order are version 1 of the spool's files;
//! lists and texts in it are bounded (`limits.rs`) and checked when they are read.
//!
//! ```text
//!   Accepted --record durable--> Digitized --all destinations--> Settled --files removed-->
//!      |                             ^
//!      +--page damaged--> PageLost --+ (a rejection is its record)
//! ```

use std::collections::BTreeSet;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::entry::{EntryError, Part};
use crate::limits;
use crate::record::Moment;

/// Names a job for ever: receivers tell by it what they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Ulid);

/// SHA-256 of what was captured, as the caller takes it.
pub type ContentHash = [u8; 32];

/// What is told of a page when it is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub clock: Moment,
    /// The site's own name for the page.
    pub reference: Option<String>,
    pub hash: ContentHash,
}

/// What digitizing made of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    Digitized,
    /// The record is the report of a rejection.
    Rejected,
}

/// How far a record is on its way to one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    Waiting { refusals: u32 },
    Delivered,
    Parked { reason: String },
    Abandoned,
}

/// A destination of a job, by its name in the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub destination: String,
    pub progress: Progress,
}

/// What is kept of a job in every file of it, as it was when the file was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub accepted: Accepted,
    /// How often digitizing has begun.
    pub attempts: u32,
    pub verdict: Option<Verdict>,
    pub deliveries: Vec<Delivery>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Accepted,
    /// The page was found damaged before it was digitized.
    PageLost,
    Digitized,
    /// Nobody waits for it any more.
    Settled,
}

/// Bytes of a job's files; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    pub page: Option<u64>,
    pub record: Option<u64>,
    pub state: Option<u64>,
}

/// A job in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub facts: Facts,
    pub files: Files,
    /// Why nothing is done with it until it is read again: what the disk holds is not known.
    pub held: Option<String>,
    /// Failures since the start, for each delivery; who failed less goes first.
    pub failures: Vec<u32>,
    /// Indices of deliveries that were made but could not be written.
    pub owed: Vec<usize>,
}

const TIME_MS_MAX: u64 = (1 << Ulid::TIME_BITS) - 1;

/// All texts at their longest fit into a meta.
const FACTS_BYTES_MAX: usize = 128
    + limits::SPOOL_REFERENCE_BYTES_MAX
    + limits::SPOOL_DESTINATIONS_MAX
        * (16 + limits::SPOOL_NAME_BYTES_MAX + limits::SPOOL_REASON_BYTES_MAX);
const _: () = assert!(FACTS_BYTES_MAX <= limits::SPOOL_META_BYTES_MAX);

impl JobId {
    /// The id of a new job, after `last`: where the clock went back, the time is not the clock's.
    /// What follows the time is drawn from what is told of the page, which no two share.
    pub fn after(last: Option<Self>, accepted: &Accepted) -> Self {
        let Moment {
            boot_id,
            monotonic_ms,
            wall_ms,
            wall_synced: _,
        } = accepted.clock;
        let drawn = Sha256::new()
            .chain_update(boot_id)
            .chain_update(monotonic_ms.to_le_bytes())
            .chain_update(accepted.hash)
            .finalize();
        let mut tail = [0; 16];
        tail.copy_from_slice(&drawn[..16]);
        let at = |time_ms: u64| {
            let id = Ulid::from_parts(time_ms.min(TIME_MS_MAX), u128::from_be_bytes(tail));
            Self(id)
        };
        let last_ms = last.map_or(0, |last| last.0.timestamp_ms());
        let id = at(wall_ms.max(last_ms));
        if last.is_some_and(|last| id <= last) {
            return at(last_ms + 1);
        }
        id
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Ulid::from_bytes(bytes))
    }

    pub const fn bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }
}

impl std::fmt::Display for JobId {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// A text that is not an id as we write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a job")]
pub struct NotAnId;

impl std::str::FromStr for JobId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let id = Self(Ulid::from_string(text).map_err(|_| NotAnId)?);
        if id.to_string() != text {
            return Err(NotAnId);
        }
        Ok(id)
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Facts {
    pub fn new(accepted: Accepted, destinations: &[String]) -> Self {
        let delivery = |destination: &String| Delivery {
            destination: destination.clone(),
            progress: Progress::Waiting { refusals: 0 },
        };
        Self {
            accepted,
            attempts: 0,
            verdict: None,
            deliveries: destinations.iter().map(delivery).collect(),
        }
    }

    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        postcard::to_stdvec(self).map_err(|error| unreadable(&error.to_string()))
    }

    pub fn decode(meta: &[u8]) -> Result<Self, EntryError> {
        let (facts, rest) = postcard::take_from_bytes::<Self>(meta)
            .map_err(|error| unreadable(&error.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable("bytes are left over"));
        }
        facts.check()?;
        Ok(facts)
    }

    fn check(&self) -> Result<(), EntryError> {
        let names: Vec<&str> = self.deliveries.iter().map(|d| &*d.destination).collect();
        if !are_destinations(&names) {
            return Err(unreadable("its destinations are none"));
        }
        let reference = self.accepted.reference.as_deref().unwrap_or_default();
        if reference.len() > limits::SPOOL_REFERENCE_BYTES_MAX {
            return Err(unreadable("its reference is too long"));
        }
        Ok(())
    }

    pub fn settled(&self) -> bool {
        let settled = |delivery: &Delivery| match delivery.progress {
            Progress::Delivered | Progress::Abandoned => true,
            Progress::Waiting { .. } | Progress::Parked { .. } => false,
        };
        self.deliveries.iter().all(settled)
    }

    pub fn delivered_anywhere(&self) -> bool {
        let delivered = |delivery: &Delivery| delivery.progress == Progress::Delivered;
        self.deliveries.iter().any(delivered)
    }
}

/// At least one, not too many, each with a name of its own.
pub fn are_destinations(names: &[&str]) -> bool {
    let fits = |name: &&str| (1..=limits::SPOOL_NAME_BYTES_MAX).contains(&name.len());
    let distinct: BTreeSet<_> = names.iter().filter(|name| fits(name)).collect();
    (1..=limits::SPOOL_DESTINATIONS_MAX).contains(&names.len()) && distinct.len() == names.len()
}

fn unreadable(reason: &str) -> EntryError {
    let reason = reason.to_owned();
    EntryError::Meta { reason }
}

impl Files {
    pub fn bytes(&self) -> u64 {
        let files = [self.page, self.record, self.state];
        files.into_iter().flatten().sum()
    }

    /// The list of what was sent is no job's file.
    pub fn of(&mut self, part: Part) -> Option<&mut Option<u64>> {
        match part {
            Part::Page => Some(&mut self.page),
            Part::Record => Some(&mut self.record),
            Part::State => Some(&mut self.state),
            Part::Sent => None,
        }
    }

    pub fn set(&mut self, part: Part, bytes: Option<u64>) {
        if let Some(file) = self.of(part) {
            *file = bytes;
        }
    }
}

impl Job {
    /// `facts` without a record have no verdict, and then its attempts are over and done with.
    pub fn new(mut facts: Facts, files: Files) -> Self {
        if files.record.is_none() && facts.verdict.take().is_some() {
            facts.attempts = 0;
        }
        let failures = vec![0; facts.deliveries.len()];
        Self {
            facts,
            files,
            held: None,
            failures,
            owed: Vec::new(),
        }
    }

    pub fn stage(&self) -> Stage {
        if self.facts.settled() {
            return Stage::Settled;
        }
        match (self.files.record, self.files.page) {
            (Some(_), _) => Stage::Digitized,
            (None, Some(_)) => Stage::Accepted,
            (None, None) => Stage::PageLost,
        }
    }

    pub fn delivery_index(&self, destination: &str) -> Option<usize> {
        let mut deliveries = self.facts.deliveries.iter();
        deliveries.position(|delivery| delivery.destination == destination)
    }

    /// Failures so far of a record that `destination` waits for.
    pub fn waiting(&self, destination: &str) -> Option<u32> {
        let index = self.delivery_index(destination)?;
        let waiting = matches!(
            self.facts.deliveries[index].progress,
            Progress::Waiting { .. }
        );
        let ready = self.stage() == Stage::Digitized && self.held.is_none();
        (waiting && ready && !self.owed.contains(&index)).then_some(self.failures[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(wall_ms: u64) -> Accepted {
        let clock = Moment {
            boot_id: [1; 16],
            monotonic_ms: 2,
            wall_ms,
            wall_synced: true,
        };
        Accepted {
            clock,
            reference: None,
            hash: [3; 32],
        }
    }

    #[test]
    fn an_id_is_after_the_last_whatever_the_clock_says() {
        let mut last = None;
        for wall_ms in [5_000, 5_000, 9_000, 4, 0, TIME_MS_MAX - 1] {
            let id = JobId::after(last, &accepted(wall_ms));
            assert!(last.is_none_or(|last| last < id), "{wall_ms}");
            last = Some(id);
        }
        let beyond = JobId::after(None, &accepted(u64::MAX));
        assert_eq!(beyond.0.timestamp_ms(), TIME_MS_MAX);
    }

    #[test]
    fn ids_differ_by_what_is_told_of_the_page() {
        let first = accepted(5_000);
        let mut second = first.clone();
        second.clock.monotonic_ms += 1;
        assert_ne!(JobId::after(None, &first), JobId::after(None, &second));
    }

    #[test]
    fn an_id_has_one_text() {
        let id = JobId::after(None, &accepted(1_800_000_000_000));
        let text = id.to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_lowercase().parse::<JobId>(), Err(NotAnId));
        assert_eq!("..".parse::<JobId>(), Err(NotAnId));
    }

    #[test]
    fn facts_come_back_and_their_bytes_are_these() {
        let mut facts = Facts::new(accepted(300), &["a".to_owned(), "b".to_owned()]);
        facts.accepted.reference = Some("R7".to_owned());
        facts.attempts = 1;
        facts.verdict = Some(Verdict::Rejected);
        let reason = "no".to_owned();
        facts.deliveries[1].progress = Progress::Parked { reason };
        let bytes = facts.encode().unwrap();
        assert_eq!(Facts::decode(&bytes), Ok(facts));
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (boot, hash) = ("01".repeat(16), "03".repeat(32));
        let rest = [
            "01025237",
            &hash,
            "01",
            "0101",
            "02",
            "01610000",
            "016202026e6f",
        ];
        assert_eq!(text, format!("{boot}02ac0201{}", rest.concat()));
    }

    #[test]
    fn facts_beyond_their_bounds_are_refused() {
        let check = |edit: &dyn Fn(&mut Facts)| {
            let mut facts = Facts::new(accepted(1), &["a".to_owned()]);
            edit(&mut facts);
            assert!(Facts::decode(&facts.encode().unwrap()).is_err());
        };
        check(&|facts| facts.deliveries.clear());
        check(&|facts| facts.deliveries.push(facts.deliveries[0].clone()));
        check(&|facts| facts.deliveries[0].destination.clear());
        check(&|facts| facts.accepted.reference = Some("x".repeat(65)));
        let bytes = Facts::new(accepted(1), &["a".to_owned()]).encode().unwrap();
        for length in 0..bytes.len() {
            assert!(Facts::decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn the_longest_facts_fit() {
        let names: Vec<String> = (0..limits::SPOOL_DESTINATIONS_MAX)
            .map(|index| index.to_string().repeat(limits::SPOOL_NAME_BYTES_MAX))
            .collect();
        let mut facts = Facts::new(accepted(u64::MAX), &names);
        facts.accepted.clock.monotonic_ms = u64::MAX;
        facts.accepted.reference = Some("x".repeat(limits::SPOOL_REFERENCE_BYTES_MAX));
        facts.attempts = u32::MAX;
        for delivery in &mut facts.deliveries {
            let reason = "x".repeat(limits::SPOOL_REASON_BYTES_MAX);
            delivery.progress = Progress::Parked { reason };
        }
        let bytes = facts.encode().unwrap();
        assert!(bytes.len() <= FACTS_BYTES_MAX);
        assert_eq!(Facts::decode(&bytes), Ok(facts));
    }
}
