//! The jobs that were sent last, so that the same page is known again.
//!
//! In: ids and content hashes of settled jobs. Out: which job had a hash, whether a job was sent. One
//! file, `entry.rs` has its frame; its body is, for each job in the order of sending:
//!
//! ```text
//!   offset  bytes  what
//!        0     16  the job's id, most byte first
//!       16     32  the page's content hash
//! ```
//!
//! It is bounded: the job that was sent first is forgotten first. It is written whole each time,
//! which is small beside a page. Where it is damaged nothing is lost but the memory of duplicates.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::Path;

use super::Damage;
use super::disk::{self, Disk};
use super::entry::{AROUND_BYTES_MAX, EntryError, Part, read_whole, seal};
use super::error::SpoolError;
use super::files::put_error;
use super::job::{ContentHash, JobId};
use crate::limits;

#[derive(Debug, Default)]
pub struct Sent {
    jobs: VecDeque<(JobId, ContentHash)>,
}

const ROW_BYTES: usize = 16 + 32;
const FILE_BYTES_MAX: usize = AROUND_BYTES_MAX + ROW_BYTES * limits::SPOOL_SENT_MAX;
/// The list belongs to no job.
const NO_JOB: JobId = JobId::from_bytes([0; 16]);

impl Sent {
    /// The list at `path`, without the oldest beyond `jobs_max`; none where there is none.
    pub fn read<D: Disk>(disk: &D, path: &Path, jobs_max: usize) -> Result<Self, Damage> {
        let mut bytes = Vec::new();
        match disk.read(path, FILE_BYTES_MAX + 1, &mut bytes) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                let error = error.to_string();
                return Err(Damage::Unread { error });
            }
            Ok(()) => {}
        }
        let jobs = decode(&bytes).map_err(Damage::Entry)?;
        let forgotten = jobs.len().saturating_sub(jobs_max);
        let jobs = jobs.into_iter().skip(forgotten).collect();
        Ok(Self { jobs })
    }

    pub fn has(&self, id: JobId) -> bool {
        self.jobs.iter().any(|(sent, _)| *sent == id)
    }

    pub fn job_with(&self, hash: &ContentHash) -> Option<JobId> {
        let mut jobs = self.jobs.iter();
        jobs.find(|(_, sent)| sent == hash).map(|(id, _)| *id)
    }

    /// The greatest id.
    pub fn last(&self) -> Option<JobId> {
        self.jobs.iter().map(|(id, _)| *id).max()
    }

    /// Adds a job, durably; one that is in the list already is not written again.
    pub fn remember<D: Disk>(
        &mut self,
        disk: &D,
        path: &Path,
        jobs_max: usize,
        job: (JobId, ContentHash),
    ) -> Result<(), SpoolError> {
        if self.has(job.0) || jobs_max == 0 {
            return Ok(());
        }
        let forgotten = (self.jobs.len() + 1).saturating_sub(jobs_max);
        let known = self.jobs.iter().copied().skip(forgotten);
        let jobs: VecDeque<_> = known.chain([job]).collect();
        let body = encode(&jobs);
        let sealed = seal(Part::Sent, NO_JOB, &[], &body)?;
        let written = disk::put(disk, path, &sealed.pieces(&body));
        written.map_err(|error| put_error(path.to_owned(), error))?;
        self.jobs = jobs;
        Ok(())
    }
}

fn encode(jobs: &VecDeque<(JobId, ContentHash)>) -> Vec<u8> {
    let mut body = Vec::with_capacity(ROW_BYTES * jobs.len());
    for (id, hash) in jobs {
        body.extend(id.bytes());
        body.extend(hash);
    }
    body
}

fn decode(bytes: &[u8]) -> Result<Vec<(JobId, ContentHash)>, EntryError> {
    let head = read_whole(bytes, Part::Sent, NO_JOB)?;
    let (rows, rest) = bytes[head.body].as_chunks::<ROW_BYTES>();
    if !rest.is_empty() {
        let reason = "a row is cut off".to_owned();
        return Err(EntryError::Meta { reason });
    }
    Ok(rows.iter().map(row).collect())
}

fn row(bytes: &[u8; ROW_BYTES]) -> (JobId, ContentHash) {
    let (mut id, mut hash) = ([0; 16], [0; 32]);
    id.copy_from_slice(&bytes[..16]);
    hash.copy_from_slice(&bytes[16..]);
    (JobId::from_bytes(id), hash)
}

#[cfg(test)]
mod tests {
    use super::super::faulty::{Fault, FaultyDisk};
    use super::*;

    fn job(number: u8) -> (JobId, ContentHash) {
        (JobId::from_bytes([number; 16]), [number; 32])
    }

    fn with_jobs(disk: &FaultyDisk, numbers: &[u8]) -> Sent {
        let mut sent = Sent::default();
        for number in numbers {
            let remembered = sent.remember(disk, Path::new("/sent"), 3, job(*number));
            remembered.unwrap();
        }
        sent
    }

    #[test]
    fn the_last_jobs_are_known_again() {
        let disk = FaultyDisk::new();
        with_jobs(&disk, &[1, 2, 2, 5, 4]);
        let sent = Sent::read(&disk, Path::new("/sent"), 3).unwrap();
        assert_eq!(sent.job_with(&[1; 32]), None);
        assert_eq!(sent.job_with(&[5; 32]), Some(job(5).0));
        assert!(sent.has(job(2).0) && !sent.has(job(1).0));
        assert_eq!(sent.last(), Some(job(5).0));
        let fewer = Sent::read(&disk, Path::new("/sent"), 1).unwrap();
        assert!(fewer.has(job(4).0) && !fewer.has(job(5).0));
    }

    #[test]
    fn what_could_not_be_written_is_not_known() {
        let disk = FaultyDisk::new();
        let mut sent = with_jobs(&disk, &[1]);
        disk.plan(disk.operations(), Fault::Once(ErrorKind::StorageFull));
        let error = sent.remember(&disk, Path::new("/sent"), 3, job(2));
        assert!(matches!(error, Err(SpoolError::Disk { .. })));
        assert!(!sent.has(job(2).0) && sent.has(job(1).0));
    }

    #[test]
    fn a_damaged_list_is_told() {
        let disk = FaultyDisk::new();
        with_jobs(&disk, &[1, 2]);
        disk.edit(Path::new("/sent"), |bytes| bytes[60] ^= 1);
        let read = Sent::read(&disk, Path::new("/sent"), 3);
        assert_eq!(read.err(), Some(Damage::Entry(EntryError::Hash)));
    }
}
