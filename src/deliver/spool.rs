//! Store and forward: what was accepted stays until every destination has it.
//!
//! In: page images, their records, the links' news. Out: what to digitize next, what to send next.
//! A job is up to three files (`spool/entry.rs` has the bytes), each written whole and durably
//! before a call returns `Ok`; its stages are in `spool/job.rs`.
//!
//! ```text
//!   jobs/ID.page   jobs/ID.record   jobs/ID.state   the page; the record; attempts and deliveries
//!   sent           the jobs last sent, for duplicates     kept/ID.page   pages of jobs sent
//!   quarantine/    what was damaged, for a person         lock           one process at a time
//! ```
//!
//! What is not sent is never dropped: when full, `accept` refuses. Delivery is at least once; an id
//! stands for one record (only a damaged one is made again). Back-off is the links'; there is no
//! clock in here. What fails, and what may be done after it, is in `spool/error.rs`.

mod disk;
mod entry;
mod error;
mod files;
mod job;
mod scan;
mod sent;
mod start;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::limits;

use files::put_error;
use sent::Sent;

pub use disk::{Disk, Listed, RealDisk};
pub use entry::{EntryError, Part};
pub use error::{ErrorKind, Shortage, SpoolError};
pub use job::{
    Accepted, ContentHash, Delivery, Facts, Files, Job, JobId, NotAnId, Progress, Stage, Verdict,
};

/// How much may be kept, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub jobs_max: usize,
    /// Of all files, those that were sent or are damaged too. Records of jobs that were accepted are
    /// kept in any case.
    pub bytes_max: u64,
    /// What must be left free on the disk when a page is accepted.
    pub free_bytes_min: u64,
    /// Pages of jobs that were sent; the oldest give way to new jobs.
    pub pages_kept_max: usize,
    /// Jobs that were sent and are known again when the same page comes.
    pub sent_max: usize,
    /// So many permanent errors of a destination park a record.
    pub refusals_max: u32,
    /// Where every job that is accepted from now on must go.
    pub destinations: Vec<String>,
}

/// A file that was found damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub name: String,
    pub why: Damage,
    pub place: Place,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    Entry(EntryError),
    /// Not a name that the spool gives.
    Stray,
    /// It cannot be read; it may be well at the next start.
    Unread {
        error: String,
    },
}

/// Where a damaged file is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Quarantine(PathBuf),
    /// Where it was.
    Left,
}

/// What `begin` says to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Digitize,
    /// The page is to be rejected, with a report.
    Reject(Cause),
}

/// Why a page cannot be digitized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Every attempt ended with the end of the digitizer: our bug.
    Attempts {
        count: u32,
    },
    PageLost,
}

/// What a link says of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The line or the receiver was not able to.
    Temporary,
    /// The receiver will not take this record.
    Permanent,
}

/// Sums for those who look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub jobs: usize,
    pub to_digitize: usize,
    pub to_deliver: usize,
    /// Jobs with a destination for which they are parked.
    pub parked: usize,
    pub held: usize,
    pub kept_pages: usize,
    pub quarantined_files: usize,
    pub bytes: u64,
}

/// All jobs. Every file of a job in `jobs` was written by `put` or read at the start; a job whose
/// file may be otherwise than `jobs` says is held.
pub struct Spool<D: Disk> {
    disk: D,
    folder: PathBuf,
    settings: Settings,
    jobs: BTreeMap<JobId, Job>,
    sent: Sent,
    kept: BTreeMap<JobId, u64>,
    quarantine: BTreeMap<String, u64>,
    last: Option<JobId>,
    _lock: D::Lock,
}

const JOBS: &str = "jobs";
const KEPT: &str = "kept";
const QUARANTINE: &str = "quarantine";
const SENT: &str = "sent";
const TRIAL: &str = "trial";

impl Settings {
    fn check(&self) -> Result<(), SpoolError> {
        let names: Vec<&str> = self.destinations.iter().map(|name| &**name).collect();
        let reason = if !job::are_destinations(&names) {
            let max = limits::SPOOL_DESTINATIONS_MAX;
            format!("one to {max} destinations, each with a name of its own")
        } else if !(1..=limits::SPOOL_JOBS_MAX).contains(&self.jobs_max) {
            format!("one to {} jobs", limits::SPOOL_JOBS_MAX)
        } else if self.pages_kept_max > limits::SPOOL_KEPT_MAX {
            format!("at most {} pages are kept", limits::SPOOL_KEPT_MAX)
        } else if self.sent_max > limits::SPOOL_SENT_MAX {
            format!("at most {} jobs are remembered", limits::SPOOL_SENT_MAX)
        } else if self.refusals_max == 0 {
            "at least one permanent error parks a record".to_owned()
        } else {
            return Ok(());
        };
        Err(SpoolError::Settings { reason })
    }
}

impl<D: Disk> Spool<D> {
    /// Opens the spool in `folder`, makes it where there is none, and moves away what is damaged.
    /// `catch_up` is due after it.
    pub fn open(
        disk: D,
        folder: &Path,
        settings: Settings,
    ) -> Result<(Self, Vec<Quarantined>), SpoolError> {
        settings.check()?;
        for name in ["", JOBS, KEPT, QUARANTINE] {
            let path = folder.join(name);
            // What an earlier process could not sync is on the disk before it is believed.
            let made = disk
                .make_folder(&path)
                .and_then(|()| disk.sync_folder(&path));
            made.map_err(|error| SpoolError::Disk { path, error })?;
        }
        let mut spool = Self {
            _lock: start::lock(&disk, folder)?,
            disk,
            folder: folder.to_owned(),
            settings,
            jobs: BTreeMap::new(),
            sent: Sent::default(),
            kept: BTreeMap::new(),
            quarantine: BTreeMap::new(),
            last: None,
        };
        let moved = spool.read()?;
        Ok((spool, moved))
    }

    /// Keeps a page durably and names its job. The caller has the page no more to care for.
    pub fn accept(&mut self, page: &[u8], accepted: Accepted) -> Result<JobId, SpoolError> {
        if let Some(of) = self.job_with(&accepted.hash) {
            return Err(SpoolError::Duplicate { of });
        }
        self.make_room(page.len())?;
        let id = JobId::after(self.last, &accepted);
        let facts = Facts::new(accepted, &self.settings.destinations);
        let meta = facts.encode()?;
        // What was written is also checked as it will be read.
        Facts::decode(&meta)?;
        let sealed = entry::seal(Part::Page, id, &meta, page)?;
        let path = self.path(id, Part::Page);
        if let Err(error) = disk::put(&self.disk, &path, &sealed.pieces(page)) {
            // It was not accepted: if it stays, it is a job of the next start, which harms nobody.
            let _ = self.disk.remove(&path);
            return Err(put_error(path, error));
        }
        let files = Files {
            page: Some(sealed.file_bytes(page)),
            ..Files::default()
        };
        self.last = Some(id);
        self.jobs.insert(id, Job::new(facts, files));
        Ok(id)
    }

    /// Whether a page of this size would be accepted; pages that were sent give way to it.
    pub fn make_room(&mut self, page_bytes: usize) -> Result<(), SpoolError> {
        let (found, max) = (page_bytes, limits::SPOOL_BODY_BYTES_MAX);
        if found > max {
            return Err(EntryError::TooLong { found, max }.into());
        }
        let (found, max) = (self.jobs.len(), self.settings.jobs_max);
        if found >= max {
            return Err(SpoolError::Full(Shortage::Jobs { found, max }));
        }
        let file_bytes = (page_bytes + entry::AROUND_BYTES_MAX) as u64;
        while let Some(shortage) = self.shortage(file_bytes)? {
            let Some(oldest) = self.kept.keys().next().copied() else {
                return Err(SpoolError::Full(shortage));
            };
            self.drop_kept(oldest)?;
        }
        Ok(())
    }

    /// The oldest job without a record.
    pub fn to_digitize(&self) -> Option<JobId> {
        let mut waiting = self.jobs.iter().filter(|(_, job)| is_to_digitize(job));
        waiting.next().map(|(id, _)| *id)
    }

    /// Counts an attempt, durably, before it is made.
    pub fn begin(&mut self, id: JobId) -> Result<Start, SpoolError> {
        let job = self.usable(id)?;
        match job.stage() {
            Stage::Accepted => {}
            Stage::PageLost => return Ok(Start::Reject(Cause::PageLost)),
            found @ (Stage::Digitized | Stage::Settled) => {
                return Err(SpoolError::Stage { job: id, found });
            }
        }
        let mut facts = job.facts.clone();
        let count = facts.attempts;
        if count >= limits::SPOOL_ATTEMPTS_MAX {
            return Ok(Start::Reject(Cause::Attempts { count }));
        }
        facts.attempts += 1;
        self.put(id, Part::State, facts, &[])?;
        Ok(Start::Digitize)
    }

    /// The page's bytes, as they were accepted, in place of what `into` held. A page that is damaged
    /// is moved away; `begin` then says to reject it.
    pub fn page(&mut self, id: JobId, into: &mut Vec<u8>) -> Result<(), SpoolError> {
        self.body(id, Part::Page, into)
    }

    /// Keeps the record of a job, or the report of its rejection.
    pub fn finish(&mut self, id: JobId, verdict: Verdict, record: &[u8]) -> Result<(), SpoolError> {
        let job = self.usable(id)?;
        match job.stage() {
            Stage::Accepted | Stage::PageLost => {}
            found @ (Stage::Digitized | Stage::Settled) => {
                return Err(SpoolError::Stage { job: id, found });
            }
        }
        let mut facts = job.facts.clone();
        facts.verdict = Some(verdict);
        self.put(id, Part::Record, facts, record)?;
        // The record tells all that the state did, and is believed before it: it may also stay.
        if self.disk.remove(&self.path(id, Part::State)).is_ok() {
            self.set_file(id, Part::State, None);
        }
        Ok(())
    }

    /// What to send to `destination` next: what failed least since the start, then the oldest. So
    /// a record that always fails holds up no other.
    pub fn next(&self, destination: &str) -> Option<JobId> {
        let waiting = self.jobs.iter().filter_map(|(id, job)| {
            let failures = job.waiting(destination)?;
            Some((failures, *id))
        });
        waiting.min().map(|(_, id)| id)
    }

    /// The record's bytes in place of what `into` held. A record that is damaged is moved away, and
    /// its page is digitized again.
    pub fn record(&mut self, id: JobId, into: &mut Vec<u8>) -> Result<(), SpoolError> {
        self.body(id, Part::Record, into)
    }

    /// The destination has the record on its own disk. How many others wait; after the last one the
    /// job is removed. A job that is gone for this reason is no error; nor is it sent again in this
    /// run if this cannot be written.
    pub fn delivered(&mut self, id: JobId, destination: &str) -> Result<usize, SpoolError> {
        if !self.jobs.contains_key(&id) && self.sent.has(id) {
            return Ok(0);
        }
        let (index, mut facts) = self.delivery_of_record(id, destination)?;
        if facts.deliveries[index].progress != Progress::Delivered {
            facts.deliveries[index].progress = Progress::Delivered;
            self.put_owed(id, index, facts.clone())?;
        }
        if facts.settled() {
            self.clear(id)?;
        }
        let open = |delivery: &&Delivery| match delivery.progress {
            Progress::Waiting { .. } | Progress::Parked { .. } => true,
            Progress::Delivered | Progress::Abandoned => false,
        };
        Ok(facts.deliveries.iter().filter(open).count())
    }

    /// The destination did not take the record. What becomes of it there.
    pub fn failed(
        &mut self,
        id: JobId,
        destination: &str,
        failure: Failure,
        reason: &str,
    ) -> Result<Progress, SpoolError> {
        let (index, mut facts) = self.delivery_of_record(id, destination)?;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.failures[index] = job.failures[index].saturating_add(1);
        }
        let progress = &mut facts.deliveries[index].progress;
        let Progress::Waiting { refusals } = progress else {
            return Ok(progress.clone());
        };
        if failure == Failure::Temporary {
            return Ok(progress.clone());
        }
        let refusals = *refusals + 1;
        *progress = if refusals < self.settings.refusals_max {
            Progress::Waiting { refusals }
        } else {
            parked(reason)
        };
        let progress = progress.clone();
        self.put(id, Part::State, facts, &[])?;
        Ok(progress)
    }

    /// Takes up again what was parked, what was held, and what was begun too often.
    pub fn retry(&mut self, id: JobId) -> Result<(), SpoolError> {
        if self.job(id)?.held.is_some() {
            self.restore(id)?;
        }
        let job = self.usable(id)?;
        let mut facts = job.facts.clone();
        for delivery in &mut facts.deliveries {
            if matches!(delivery.progress, Progress::Parked { .. }) {
                delivery.progress = Progress::Waiting { refusals: 0 };
            }
        }
        if facts.verdict.is_none() {
            facts.attempts = 0;
        }
        self.put(id, Part::State, facts, &[])
    }

    /// Holds a job back from every destination that does not have it.
    pub fn park(&mut self, id: JobId, reason: &str) -> Result<(), SpoolError> {
        let mut facts = self.usable(id)?.facts.clone();
        for delivery in &mut facts.deliveries {
            if matches!(delivery.progress, Progress::Waiting { .. }) {
                delivery.progress = parked(reason);
            }
        }
        self.put(id, Part::State, facts, &[])
    }

    /// Removes a job that was not sent, by the operator's order. If nobody has it, its page may come
    /// again.
    pub fn purge(&mut self, id: JobId) -> Result<(), SpoolError> {
        let mut facts = self.usable(id)?.facts.clone();
        facts.deliveries.iter_mut().for_each(abandon);
        self.put(id, Part::State, facts, &[])?;
        self.clear(id)
    }

    /// Gives up a destination that is no more, by the operator's order. How many jobs went there.
    pub fn abandon(&mut self, destination: &str) -> Result<usize, SpoolError> {
        let going = self.jobs.iter().filter(|(_, job)| {
            let index = job.delivery_index(destination);
            let progress = index.map(|index| &job.facts.deliveries[index].progress);
            job.held.is_none()
                && matches!(
                    progress,
                    Some(Progress::Waiting { .. } | Progress::Parked { .. })
                )
        });
        let going: Vec<JobId> = going.map(|(id, _)| *id).collect();
        for id in &going {
            let (index, mut facts) = self.delivery(*id, destination)?;
            abandon(&mut facts.deliveries[index]);
            self.put(*id, Part::State, facts, &[])?;
        }
        self.catch_up()?;
        Ok(going.len())
    }

    /// Writes a file as jobs are written, and removes it: whether the disk takes files.
    pub fn try_out(&self) -> Result<(), SpoolError> {
        let path = self.folder.join(TRIAL);
        let tried = disk::put(&self.disk, &path, &[b"trial"]);
        tried.map_err(|error| put_error(path.clone(), error))?;
        let removed = self.disk.remove(&path);
        removed.map_err(|error| SpoolError::Disk { path, error })
    }

    /// Writes and removes what an error left to do: due at the start and now and then. How many jobs
    /// it removed.
    pub fn catch_up(&mut self) -> Result<usize, SpoolError> {
        let before = self.jobs.len();
        for (id, index) in self.owed() {
            let destination = self.job(id)?.facts.deliveries[index].destination.clone();
            self.delivered(id, &destination)?;
        }
        let settled = self.jobs.iter().filter(|(_, job)| {
            let held = job.held.is_some();
            job.stage() == Stage::Settled && !held
        });
        let settled: Vec<JobId> = settled.map(|(id, _)| *id).collect();
        settled.iter().try_for_each(|id| self.clear(*id))?;
        Ok(before - self.jobs.len())
    }

    /// All jobs, the oldest first.
    pub fn jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter().map(|(id, job)| (*id, job))
    }

    pub fn job(&self, id: JobId) -> Result<&Job, SpoolError> {
        self.jobs.get(&id).ok_or(SpoolError::Unknown { job: id })
    }

    /// How much of the jobs or bytes that may be kept is used: 0 to 1, by what is nearer its end.
    pub fn fullness(&self) -> f64 {
        let jobs = self.jobs.len() as f64 / self.settings.jobs_max as f64;
        let kept: u64 = self.kept.values().sum();
        let bytes = self.bytes().saturating_sub(kept) as f64 / self.settings.bytes_max as f64;
        jobs.max(bytes)
    }

    pub fn totals(&self) -> Totals {
        let count = |counts: &dyn Fn(&Job) -> bool| {
            let jobs = self.jobs.values().filter(|job| counts(job));
            jobs.count()
        };
        Totals {
            jobs: self.jobs.len(),
            to_digitize: count(&is_to_digitize),
            to_deliver: count(&|job| job.stage() == Stage::Digitized),
            parked: count(&is_parked),
            held: count(&|job| job.held.is_some()),
            kept_pages: self.kept.len(),
            quarantined_files: self.quarantine.len(),
            bytes: self.bytes(),
        }
    }
}

fn is_to_digitize(job: &Job) -> bool {
    let waits = match job.stage() {
        Stage::Accepted | Stage::PageLost => true,
        Stage::Digitized | Stage::Settled => false,
    };
    waits && job.held.is_none()
}

fn is_parked(job: &Job) -> bool {
    let parked = |delivery: &Delivery| matches!(delivery.progress, Progress::Parked { .. });
    job.facts.deliveries.iter().any(parked)
}

fn abandon(delivery: &mut Delivery) {
    if delivery.progress != Progress::Delivered {
        delivery.progress = Progress::Abandoned;
    }
}

/// Parked for a reason, of which the start is kept.
fn parked(reason: &str) -> Progress {
    let end = reason.floor_char_boundary(limits::SPOOL_REASON_BYTES_MAX);
    let reason = reason[..end].to_owned();
    Progress::Parked { reason }
}

#[cfg(test)]
mod cuts;
#[cfg(test)]
mod faulty;

#[cfg(test)]
mod tests {
    use super::faulty::{Fault, FaultyDisk};
    use super::*;
    use crate::record::Moment;

    type Open = Spool<FaultyDisk>;

    const FOLDER: &str = "/var/spool";
    const DESTINATIONS: [&str; 2] = ["near", "far"];

    pub fn accepted(number: u8) -> Accepted {
        let clock = Moment {
            boot_id: [9; 16],
            monotonic_ms: u64::from(number),
            wall_ms: 1_800_000_000_000,
            wall_synced: true,
        };
        Accepted {
            clock,
            reference: Some(format!("R{number}")),
            hash: [number; 32],
        }
    }

    pub fn settings(destinations: &[&str]) -> Settings {
        Settings {
            jobs_max: 10,
            bytes_max: 1 << 20,
            free_bytes_min: 1 << 20,
            pages_kept_max: 1,
            sent_max: 3,
            refusals_max: 2,
            destinations: destinations.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn open(disk: &FaultyDisk) -> Open {
        let (spool, found) = open_with(disk, settings(&DESTINATIONS)).unwrap();
        assert_eq!(found, []);
        spool
    }

    fn open_with(
        disk: &FaultyDisk,
        settings: Settings,
    ) -> Result<(Open, Vec<Quarantined>), SpoolError> {
        Spool::open(disk.clone(), Path::new(FOLDER), settings)
    }

    fn fresh() -> (FaultyDisk, Open) {
        let disk = FaultyDisk::new();
        let spool = open(&disk);
        (disk, spool)
    }

    fn accept(spool: &mut Open, number: u8) -> JobId {
        spool.accept(&[number; 9], accepted(number)).unwrap()
    }

    fn digitized(spool: &mut Open, number: u8) -> JobId {
        let id = accept(spool, number);
        assert_eq!(spool.begin(id).unwrap(), Start::Digitize);
        spool.finish(id, Verdict::Digitized, &[number; 5]).unwrap();
        id
    }

    fn deliver_to_all(spool: &mut Open, id: JobId) {
        assert_eq!(spool.delivered(id, "near").unwrap(), 1);
        assert_eq!(spool.delivered(id, "far").unwrap(), 0);
    }

    fn path(name: &str, id: JobId, ending: &str) -> PathBuf {
        Path::new(FOLDER).join(name).join(format!("{id}.{ending}"))
    }

    fn stage(spool: &Open, id: JobId) -> Stage {
        spool.job(id).unwrap().stage()
    }

    #[test]
    fn a_page_goes_its_way() {
        let (disk, mut spool) = fresh();
        let id = accept(&mut spool, 7);
        assert_eq!(spool.to_digitize(), Some(id));
        assert_eq!(spool.begin(id).unwrap(), Start::Digitize);
        let mut bytes = Vec::new();
        spool.page(id, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 9]);
        assert_eq!(spool.next("near"), None);
        spool.finish(id, Verdict::Digitized, b"the record").unwrap();
        assert_eq!((spool.to_digitize(), spool.next("near")), (None, Some(id)));
        let mut spool = open(&disk);
        assert_eq!(spool.job(id).unwrap().facts.accepted, accepted(7));
        spool.record(id, &mut bytes).unwrap();
        assert_eq!(bytes, b"the record");
        assert_eq!(spool.delivered(id, "near").unwrap(), 1);
        assert_eq!((spool.next("near"), spool.next("far")), (None, Some(id)));
        let mut spool = open(&disk);
        assert_eq!((spool.next("near"), spool.next("far")), (None, Some(id)));
        assert_eq!(spool.delivered(id, "far").unwrap(), 0);
        assert_eq!(
            disk.files(),
            [path(KEPT, id, "page"), Path::new(FOLDER).join(SENT)]
        );
        assert_eq!(spool.delivered(id, "far").unwrap(), 0, "told twice");
        assert_eq!(spool.totals().jobs, 0);
    }

    #[test]
    fn the_same_page_is_told_from_a_new_one() {
        let (disk, mut spool) = fresh();
        let check = |spool: &mut Open, number: u8, expected: Option<JobId>| {
            let error = spool.accept(&[0], accepted(number)).err();
            let of = error.map(|error| match error {
                SpoolError::Duplicate { of } => of,
                other => panic!("{other}"),
            });
            assert_eq!(of, expected, "{number}");
        };
        let first = digitized(&mut spool, 1);
        check(&mut spool, 1, Some(first));
        deliver_to_all(&mut spool, first);
        check(&mut spool, 1, Some(first));
        check(&mut open(&disk), 1, Some(first));
        for number in 2..5 {
            let id = digitized(&mut spool, number);
            deliver_to_all(&mut spool, id);
        }
        check(&mut spool, 1, None);
    }

    #[test]
    fn a_full_spool_refuses_and_says_why() {
        let check = |edit: &dyn Fn(&mut Settings), page_bytes: usize, expected: &str| {
            let disk = FaultyDisk::new();
            let mut settings = settings(&DESTINATIONS);
            edit(&mut settings);
            let (mut spool, _) = open_with(&disk, settings).unwrap();
            accept(&mut spool, 1);
            let error = spool.accept(&vec![0; page_bytes], accepted(2)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Operator);
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(spool.jobs().count(), 1, "what is here stays");
        };
        check(&|s| s.jobs_max = 1, 5, "1 jobs wait");
        check(&|s| s.bytes_max = 8_000, 9_000, "at most 8000 may");
        check(
            &|s| s.free_bytes_min = (1 << 30) - 5_000,
            900,
            "bytes are free",
        );
        let max = limits::SPOOL_BODY_BYTES_MAX;
        check(&|_| (), max + 1, "at most 67108864 are kept");
    }

    #[test]
    fn pages_that_were_sent_give_way_to_new_ones() {
        let disk = FaultyDisk::new();
        let mut settings = settings(&DESTINATIONS);
        settings.bytes_max = 10_000;
        let (mut spool, _) = open_with(&disk, settings).unwrap();
        let id = spool.accept(&[1; 4_000], accepted(1)).unwrap();
        spool.finish(id, Verdict::Digitized, b"record").unwrap();
        deliver_to_all(&mut spool, id);
        assert_eq!(spool.totals().kept_pages, 1);
        spool.make_room(1_000).unwrap();
        assert_eq!(spool.totals().kept_pages, 1);
        spool.make_room(5_000).unwrap();
        assert_eq!(spool.totals().kept_pages, 0);
        assert!(spool.make_room(6_000).is_err());
    }

    #[test]
    fn a_page_that_ends_the_digitizer_twice_is_rejected() {
        let (disk, mut spool) = fresh();
        let id = accept(&mut spool, 1);
        assert_eq!(spool.begin(id).unwrap(), Start::Digitize);
        let mut spool = open(&disk);
        assert_eq!(spool.begin(id).unwrap(), Start::Digitize);
        let mut spool = open(&disk);
        let rejected = Start::Reject(Cause::Attempts { count: 2 });
        assert_eq!(spool.begin(id).unwrap(), rejected);
        spool.finish(id, Verdict::Rejected, b"report").unwrap();
        let spool = open(&disk);
        assert_eq!(spool.next("far"), Some(id));
        let verdict = spool.job(id).unwrap().facts.verdict;
        assert_eq!(verdict, Some(Verdict::Rejected));
    }

    #[test]
    fn a_damaged_page_is_rejected_not_forgotten() {
        let (disk, mut spool) = fresh();
        let id = accept(&mut spool, 1);
        disk.edit(&path(JOBS, id, "page"), |bytes| bytes[120] ^= 4);
        let error = spool.page(id, &mut Vec::new()).unwrap_err();
        assert!(matches!(
            error,
            SpoolError::Damaged {
                part: Part::Page,
                ..
            }
        ));
        let mut spool = open(&disk);
        assert_eq!(spool.to_digitize(), Some(id));
        assert_eq!(spool.begin(id).unwrap(), Start::Reject(Cause::PageLost));
        spool.finish(id, Verdict::Rejected, b"report").unwrap();
        deliver_to_all(&mut spool, id);
        assert!(disk.files().contains(&path(QUARANTINE, id, "page")));
    }

    #[test]
    fn a_damaged_record_is_made_again() {
        let (disk, mut spool) = fresh();
        let id = digitized(&mut spool, 1);
        spool.delivered(id, "near").unwrap();
        disk.edit(&path(JOBS, id, "record"), |bytes| bytes.truncate(150));
        assert!(spool.record(id, &mut Vec::new()).is_err());
        for mut spool in [spool, open(&disk)] {
            assert_eq!(stage(&spool, id), Stage::Accepted);
            assert_eq!(spool.begin(id).unwrap(), Start::Digitize);
        }
        let mut spool = open(&disk);
        spool.finish(id, Verdict::Digitized, b"again").unwrap();
        assert_eq!((spool.next("near"), spool.next("far")), (None, Some(id)));
    }

    #[test]
    fn what_is_damaged_at_the_start_is_moved_away_and_told() {
        let (disk, mut spool) = fresh();
        let ids = [1, 2, 3].map(|number| accept(&mut spool, number));
        spool.begin(ids[1]).unwrap();
        disk.edit(&path(JOBS, ids[0], "page"), |bytes| bytes[3] = 0);
        disk.edit(&path(JOBS, ids[1], "state"), |bytes| bytes.truncate(20));
        disk.edit(&path(JOBS, ids[2], "page"), |bytes| bytes.push(0));
        let stray = Path::new(FOLDER).join(JOBS).join("notes");
        let draft = Path::new(FOLDER).join(JOBS).join(".x.draft");
        for path in [&stray, &draft] {
            disk.write(path, &[b"12345"]).unwrap();
        }
        let (mut spool, found) = open_with(&disk, settings(&DESTINATIONS)).unwrap();
        let names: Vec<&str> = found.iter().map(|found| &*found.name).collect();
        let name = |index: usize, ending: &str| format!("{}.{ending}", ids[index]);
        let expected = [name(0, "page"), name(1, "state"), name(2, "page")];
        assert_eq!(names[0], "notes");
        assert_eq!(names[1..], expected);
        assert!(!disk.files().contains(&draft));
        assert!(spool.job(ids[0]).is_err());
        assert_eq!(stage(&spool, ids[1]), Stage::Accepted);
        let lost = Start::Reject(Cause::PageLost);
        assert_eq!(spool.begin(ids[2]).unwrap(), lost);
        assert_eq!(spool.totals().quarantined_files, 4);
        assert_eq!(open(&disk).totals(), spool.totals());
    }

    #[test]
    fn a_record_that_is_refused_is_parked_and_holds_up_no_other() {
        let (disk, mut spool) = fresh();
        let [first, second] = [1, 2].map(|number| digitized(&mut spool, number));
        let mut refuse = |id| spool.failed(id, "far", Failure::Permanent, "no room");
        let waiting = Progress::Waiting { refusals: 1 };
        assert_eq!(refuse(first).unwrap(), waiting);
        let reason = "no room".to_owned();
        assert_eq!(refuse(first).unwrap(), Progress::Parked { reason });
        for spool in [&spool, &open(&disk)] {
            assert_eq!(spool.next("far"), Some(second));
            assert_eq!(spool.next("near"), Some(first));
            assert_eq!(spool.totals().parked, 1);
        }
        spool.retry(first).unwrap();
        let mut spool = open(&disk);
        assert_eq!(spool.next("far"), Some(first));
        spool.park(first, "by hand").unwrap();
        assert_eq!(open(&disk).next("near"), Some(second));
    }

    #[test]
    fn what_failed_for_now_goes_behind_the_others() {
        let (disk, mut spool) = fresh();
        let [first, second] = [1, 2].map(|number| digitized(&mut spool, number));
        let before = disk.operations();
        let mut order = Vec::new();
        for _ in 0..4 {
            let id = spool.next("far").unwrap();
            order.push(id);
            spool
                .failed(id, "far", Failure::Temporary, "no answer")
                .unwrap();
        }
        assert_eq!(order, [first, second, first, second]);
        assert_eq!(disk.operations(), before, "nothing is written for it");
        assert_eq!(spool.next("near"), Some(first));
    }

    #[test]
    fn a_purged_job_is_gone_and_its_page_may_come_again() {
        let (disk, mut spool) = fresh();
        let [first, second] = [1, 2].map(|number| digitized(&mut spool, number));
        spool.delivered(second, "near").unwrap();
        spool.purge(first).unwrap();
        spool.purge(second).unwrap();
        let mut spool = open(&disk);
        assert_eq!(spool.jobs().count(), 0);
        assert_ne!(accept(&mut spool, 1), first);
        let again = spool.accept(&[0], accepted(2));
        assert!(matches!(again, Err(SpoolError::Duplicate { of }) if of == second));
    }

    #[test]
    fn a_job_waits_for_its_destinations_whatever_the_settings_say() {
        let (disk, mut spool) = fresh();
        let first = digitized(&mut spool, 1);
        let (mut spool, _) = open_with(&disk, settings(&["near", "new"])).unwrap();
        let second = digitized(&mut spool, 2);
        assert_eq!(spool.next("new"), Some(second));
        assert_eq!(spool.delivered(first, "near").unwrap(), 1);
        assert_eq!(stage(&spool, first), Stage::Digitized);
        assert!(spool.delivered(first, "new").is_err());
        assert_eq!(spool.abandon("far").unwrap(), 1);
        assert!(spool.job(first).is_err() && spool.job(second).is_ok());
    }

    #[test]
    fn after_a_failed_sync_a_job_is_held_until_it_is_read_again() {
        let (disk, mut spool) = fresh();
        let [first, second] = [1, 2].map(|number| digitized(&mut spool, number));
        disk.plan(
            disk.operations() + 1,
            Fault::Once(std::io::ErrorKind::Other),
        );
        let error = spool.delivered(first, "near").unwrap_err();
        assert!(matches!(error, SpoolError::Uncertain { .. }));
        assert_eq!(spool.next("near"), Some(second));
        let again = spool.delivered(first, "near").unwrap_err();
        assert!(matches!(again, SpoolError::Held { .. }));
        spool.retry(first).unwrap();
        assert_eq!(spool.next("near"), Some(first));
        deliver_to_all(&mut spool, first);
    }

    #[test]
    fn after_a_full_disk_the_same_call_may_be_made_again() {
        let (disk, mut spool) = fresh();
        let id = accept(&mut spool, 1);
        disk.plan(
            disk.operations(),
            Fault::Once(std::io::ErrorKind::StorageFull),
        );
        let error = spool.finish(id, Verdict::Digitized, b"record");
        assert!(matches!(error, Err(SpoolError::Disk { .. })));
        spool.finish(id, Verdict::Digitized, b"record").unwrap();
        assert_eq!(spool.next("near"), Some(id));
    }

    #[test]
    fn what_was_sent_and_cannot_be_removed_is_not_sent_again() {
        let (disk, mut spool) = fresh();
        let id = digitized(&mut spool, 1);
        spool.delivered(id, "near").unwrap();
        disk.plan(disk.operations() + 4, Fault::ReadOnly);
        let error = spool.delivered(id, "far").unwrap_err();
        assert!(matches!(error, SpoolError::Clear { .. }), "{error}");
        assert_eq!(
            (spool.next("far"), stage(&spool, id)),
            (None, Stage::Settled)
        );
        assert!(spool.catch_up().is_err());
        assert!(spool.accept(&[0], accepted(5)).is_err());
        assert!(open_with(&disk, settings(&DESTINATIONS)).is_err());
        disk.restart();
        assert_eq!(stage(&open(&disk), id), Stage::Settled);
        assert_eq!(spool.catch_up().unwrap(), 1);
        assert_eq!(open(&disk).jobs().count(), 0);
    }

    #[test]
    fn what_was_sent_and_cannot_be_written_is_not_sent_again_and_again() {
        let (disk, mut spool) = fresh();
        let id = digitized(&mut spool, 1);
        disk.plan(disk.operations(), Fault::ReadOnly);
        for _ in 0..2 {
            let error = spool.delivered(id, "near").unwrap_err();
            assert!(matches!(error, SpoolError::Disk { .. }), "{error}");
            assert_eq!((spool.next("near"), spool.next("far")), (None, Some(id)));
        }
        disk.restart();
        assert_eq!(spool.catch_up().unwrap(), 0);
        assert_eq!(open(&disk).next("near"), None);
        assert_eq!(spool.delivered(id, "far").unwrap(), 0);
    }

    #[test]
    fn a_call_out_of_turn_is_refused() {
        let (_, mut spool) = fresh();
        let check = |result: Result<(), SpoolError>, part: &str| {
            let error = result.unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.kind(), ErrorKind::Bug);
        };
        let [first, second] = [1, 2].map(|number| accept(&mut spool, number));
        check(spool.record(first, &mut Vec::new()), "is Accepted");
        check(spool.delivered(first, "near").map(drop), "is Accepted");
        spool.finish(first, Verdict::Digitized, b"").unwrap();
        check(spool.finish(first, Verdict::Digitized, b""), "is Digitized");
        check(spool.begin(first).map(drop), "is Digitized");
        check(spool.delivered(first, "else").map(drop), "not go to else");
        spool.purge(second).unwrap();
        check(spool.begin(second).map(drop), "no job");
    }

    #[test]
    fn settings_that_cannot_be_kept_are_refused() {
        let check = |edit: &dyn Fn(&mut Settings)| {
            let mut settings = settings(&DESTINATIONS);
            edit(&mut settings);
            let opened = open_with(&FaultyDisk::new(), settings);
            assert!(matches!(opened, Err(SpoolError::Settings { .. })));
        };
        check(&|s| s.destinations.clear());
        check(&|s| s.destinations.push(s.destinations[0].clone()));
        check(&|s| s.jobs_max = 0);
        check(&|s| s.jobs_max = limits::SPOOL_JOBS_MAX + 1);
        check(&|s| s.sent_max = limits::SPOOL_SENT_MAX + 1);
        check(&|s| s.pages_kept_max = limits::SPOOL_KEPT_MAX + 1);
        check(&|s| s.refusals_max = 0);
    }

    #[test]
    fn a_long_reason_is_cut_at_a_letter() {
        let (_, mut spool) = fresh();
        let id = digitized(&mut spool, 1);
        spool.park(id, &"ä".repeat(150)).unwrap();
        let progress = &spool.job(id).unwrap().facts.deliveries[0].progress;
        let reason = "ä".repeat(limits::SPOOL_REASON_BYTES_MAX / 2);
        assert_eq!(*progress, Progress::Parked { reason });
    }

    #[test]
    fn on_the_file_system_it_does_the_same_for_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("var/spool");
        let open = || Spool::open(RealDisk, &place, settings(&["near"]));
        let (mut spool, _) = open().unwrap();
        assert!(matches!(open(), Err(SpoolError::Locked { .. })));
        let id = spool.accept(b"page", accepted(1)).unwrap();
        drop(spool);
        let (mut spool, found) = open().unwrap();
        assert_eq!(found, []);
        assert_eq!(spool.begin(id).unwrap(), Start::Digitize);
        spool.finish(id, Verdict::Digitized, b"record").unwrap();
        assert_eq!(spool.delivered(id, "near").unwrap(), 0);
        assert!(
            !place
                .join(JOBS)
                .join(scan::file_name(id, Part::Record))
                .exists()
        );
        assert!(
            place
                .join(KEPT)
                .join(scan::file_name(id, Part::Page))
                .exists()
        );
    }

    const MANY: u32 = 10_000;
    /// To make and remove `MANY` files takes longer than all other tests.
    const FEWER: u32 = 1_000;
    const START_S_MAX: f64 = 2.0;

    /// Files of `MANY` jobs: a third each waits, is being digitized, is partly delivered.
    fn write_many(count: u32, mut write: impl FnMut(&str, &[u8])) {
        for number in 0..count {
            let mut told = accepted(0);
            told.clock.monotonic_ms = u64::from(number);
            let id = JobId::after(None, &told);
            let mut facts = Facts::new(told, &["near".to_owned()]);
            let mut part = |part: Part, facts: &Facts, body: &[u8]| {
                let meta = facts.encode().unwrap();
                let sealed = entry::seal(part, id, &meta, body).unwrap();
                write(&scan::file_name(id, part), &sealed.pieces(body).concat());
            };
            part(Part::Page, &facts, b"page");
            if number % 3 > 0 {
                facts.attempts = 1;
                part(Part::State, &facts, b"");
            }
            if number % 3 > 1 {
                facts.verdict = Some(Verdict::Digitized);
                part(Part::Record, &facts, b"record");
                part(Part::State, &facts, b"");
            }
        }
    }

    fn many() -> Settings {
        let mut settings = settings(&["near"]);
        settings.jobs_max = limits::SPOOL_JOBS_MAX;
        settings
    }

    #[test]
    fn a_start_reads_each_job_once_and_is_quick() {
        let disk = FaultyDisk::new();
        let jobs = Path::new(FOLDER).join(JOBS);
        disk.make_folder(&jobs).unwrap();
        write_many(MANY, |name, bytes| {
            disk.write(&jobs.join(name), &[bytes]).unwrap();
        });
        let start = std::time::Instant::now();
        let (spool, found) = open_with(&disk, many()).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        assert!(seconds < START_S_MAX, "{seconds} s");
        assert_eq!((spool.jobs().count(), found.len()), (MANY as usize, 0));
        assert_eq!(spool.totals().to_deliver, MANY as usize / 3);
        assert_eq!(disk.reads(), MANY as usize + 1, "and what was sent");
    }

    #[test]
    fn a_start_is_quick_on_the_file_system_too() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = folder.path().join(JOBS);
        std::fs::create_dir(&jobs).unwrap();
        write_many(FEWER, |name, bytes| {
            std::fs::write(jobs.join(name), bytes).unwrap()
        });
        let start = std::time::Instant::now();
        let (spool, _) = Spool::open(RealDisk, folder.path(), many()).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(spool.jobs().count(), FEWER as usize);
        assert!(seconds < START_S_MAX, "{seconds} s");
    }
}
