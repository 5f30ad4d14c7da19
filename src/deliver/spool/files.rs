//! The spool's files and the table that follows them: written, read, removed, never apart.
//!
//! In: a job's id and what is to be true of it. Out: the same, durably, or an error. `put` is the
//! one place where a job's files are written: facts change in the table after they changed on the
//! disk, and a job of whose file nothing is known is held. `clear` removes a settled job, the state
//! last, so that a power cut in between brings back no job that was never sent.

use std::path::PathBuf;

use super::disk::{self, Disk, PutError};
use super::entry::{self, EntryError, Part};
use super::error::{Shortage, SpoolError};
use super::job::{ContentHash, Facts, Job, JobId, Stage};
use super::scan::{self, Loaded};
use super::{JOBS, KEPT, SENT, Spool};

impl<D: Disk> Spool<D> {
    pub(super) fn path(&self, id: JobId, part: Part) -> PathBuf {
        self.folder.join(JOBS).join(scan::file_name(id, part))
    }

    pub(super) fn usable(&self, id: JobId) -> Result<&Job, SpoolError> {
        let job = self.job(id)?;
        match &job.held {
            None => Ok(job),
            Some(reason) => Err(SpoolError::Held {
                job: id,
                reason: reason.clone(),
            }),
        }
    }

    /// The index of a delivery in the facts of a job that may be used, and these.
    pub(super) fn delivery(
        &self,
        id: JobId,
        destination: &str,
    ) -> Result<(usize, Facts), SpoolError> {
        let job = self.usable(id)?;
        let index = job.delivery_index(destination);
        let index = index.ok_or_else(|| SpoolError::Destination {
            job: id,
            destination: destination.to_owned(),
        })?;
        Ok((index, job.facts.clone()))
    }

    pub(super) fn delivery_of_record(
        &self,
        id: JobId,
        to: &str,
    ) -> Result<(usize, Facts), SpoolError> {
        match self.job(id)?.stage() {
            Stage::Digitized | Stage::Settled => self.delivery(id, to),
            found @ (Stage::Accepted | Stage::PageLost) => {
                Err(SpoolError::Stage { job: id, found })
            }
        }
    }

    pub(super) fn job_with(&self, hash: &ContentHash) -> Option<JobId> {
        let mut jobs = self.jobs.iter();
        let here = jobs.find(|(_, job)| job.facts.accepted.hash == *hash);
        here.map(|(id, _)| *id).or_else(|| self.sent.job_with(hash))
    }

    pub(super) fn bytes(&self) -> u64 {
        let jobs: u64 = self.jobs.values().map(|job| job.files.bytes()).sum();
        let others = self.kept.values().chain(self.quarantine.values());
        jobs + others.sum::<u64>()
    }

    pub(super) fn shortage(&self, file_bytes: u64) -> Result<Option<Shortage>, SpoolError> {
        let (found, max) = (self.bytes() + file_bytes, self.settings.bytes_max);
        if found > max {
            return Ok(Some(Shortage::Bytes { found, max }));
        }
        let free = self.disk.free_bytes(&self.folder);
        let found = free.map_err(|error| disk_error(self.folder.clone(), error))?;
        let needed = self.settings.free_bytes_min.saturating_add(file_bytes);
        Ok((found < needed).then_some(Shortage::FreeSpace { found, needed }))
    }

    /// Writes a part of a job with its facts as they are to be from now on.
    pub(super) fn put(
        &mut self,
        id: JobId,
        part: Part,
        facts: Facts,
        body: &[u8],
    ) -> Result<(), SpoolError> {
        let sealed = entry::seal(part, id, &facts.encode()?, body)?;
        let path = self.path(id, part);
        let written = disk::put(&self.disk, &path, &sealed.pieces(body));
        let job = self.jobs.get_mut(&id);
        let job = job.ok_or(SpoolError::Unknown { job: id })?;
        match written {
            Ok(()) => {
                job.facts = facts;
                job.files.set(part, Some(sealed.file_bytes(body)));
                Ok(())
            }
            Err(error) => {
                if let PutError::Unknown(error) = &error {
                    job.held = Some(error.to_string());
                }
                Err(put_error(path, error))
            }
        }
    }

    /// Writes that a record was delivered; until it is written the destination is owed this, and
    /// gets the record no more.
    pub(super) fn put_owed(
        &mut self,
        id: JobId,
        index: usize,
        facts: Facts,
    ) -> Result<(), SpoolError> {
        let written = self.put(id, Part::State, facts, &[]);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.owed.retain(|owed| *owed != index);
            if written.is_err() {
                job.owed.push(index);
            }
        }
        written
    }

    /// Deliveries that could not be written, of jobs that may be used.
    pub(super) fn owed(&self) -> Vec<(JobId, usize)> {
        let jobs = self.jobs.iter().filter(|(_, job)| job.held.is_none());
        jobs.flat_map(|(id, job)| job.owed.iter().map(|index| (*id, *index)))
            .collect()
    }

    pub(super) fn set_file(&mut self, id: JobId, part: Part, bytes: Option<u64>) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.files.set(part, bytes);
        }
    }

    /// The body of a part that is there and well.
    pub(super) fn body(
        &mut self,
        id: JobId,
        part: Part,
        into: &mut Vec<u8>,
    ) -> Result<(), SpoolError> {
        let job = self.usable(id)?;
        let (found, mut files) = (job.stage(), job.files);
        if files.of(part).is_none_or(|file| file.is_none()) {
            return Err(SpoolError::Stage { job: id, found });
        }
        let path = self.path(id, part);
        let read = self.disk.read(&path, entry::ENTRY_BYTES_MAX + 1, into);
        read.map_err(|error| disk_error(path, error))?;
        let body = entry::read_whole(into, part, id).map(|head| head.body);
        match body {
            Ok(body) => {
                into.truncate(body.end);
                into.drain(..body.start);
                Ok(())
            }
            Err(error) => {
                into.clear();
                self.lose(id, part, error.clone())?;
                Err(SpoolError::Damaged {
                    job: id,
                    part,
                    error,
                })
            }
        }
    }

    /// A part was found damaged when it was used.
    pub(super) fn lose(
        &mut self,
        id: JobId,
        part: Part,
        error: EntryError,
    ) -> Result<(), SpoolError> {
        let job = self.job(id)?;
        let mut files = job.files;
        files.set(part, None);
        let loaded = Loaded {
            facts: Some(job.facts.clone()),
            files,
            damaged: vec![(part, error)],
        };
        self.adopt(id, loaded);
        self.look_at_quarantine()
    }

    /// Removes a settled job. What was removed stays so if it fails in between.
    pub(super) fn clear(&mut self, id: JobId) -> Result<(), SpoolError> {
        let cleared = self.try_clear(id);
        cleared.map_err(|error| SpoolError::Clear {
            job: id,
            error: Box::new(error),
        })
    }

    /// The state goes last: without it, a page or record that a power cut brings back would be a job
    /// that was never sent.
    pub(super) fn try_clear(&mut self, id: JobId) -> Result<(), SpoolError> {
        let job = self.usable(id)?;
        let files = job.files;
        if job.facts.delivered_anywhere() {
            let hash = job.facts.accepted.hash;
            let (path, max) = (self.folder.join(SENT), self.settings.sent_max);
            self.sent.remember(&self.disk, &path, max, (id, hash))?;
        }
        if let Some(bytes) = files.page {
            self.put_away_page(id, bytes)?;
            self.set_file(id, Part::Page, None);
        }
        self.remove_part(id, Part::Record)?;
        let folder = self.folder.join(JOBS);
        let synced = self.disk.sync_folder(&folder);
        synced.map_err(|error| disk_error(folder, error))?;
        // Not synced: a state that comes back alone says that all is done, and is removed again.
        self.remove_part(id, Part::State)?;
        self.jobs.remove(&id);
        Ok(())
    }

    pub(super) fn remove_part(&mut self, id: JobId, part: Part) -> Result<(), SpoolError> {
        let path = self.path(id, part);
        let removed = self.disk.remove(&path);
        removed.map_err(|error| disk_error(path, error))?;
        self.set_file(id, part, None);
        Ok(())
    }

    pub(super) fn put_away_page(&mut self, id: JobId, bytes: u64) -> Result<(), SpoolError> {
        if self.settings.pages_kept_max == 0 {
            return self.remove_part(id, Part::Page);
        }
        let from = self.path(id, Part::Page);
        let to = self.kept_path(id);
        let moved = disk::relocate(&self.disk, &from, &to);
        moved.map_err(|error| disk_error(from, error))?;
        self.kept.insert(id, bytes);
        while self.kept.len() > self.settings.pages_kept_max
            && let Some(oldest) = self.kept.keys().next().copied()
        {
            self.drop_kept(oldest)?;
        }
        Ok(())
    }

    pub(super) fn drop_kept(&mut self, id: JobId) -> Result<(), SpoolError> {
        let path = self.kept_path(id);
        let removed = self.disk.remove(&path);
        removed.map_err(|error| disk_error(path, error))?;
        self.kept.remove(&id);
        Ok(())
    }

    pub(super) fn kept_path(&self, id: JobId) -> PathBuf {
        self.folder.join(KEPT).join(scan::file_name(id, Part::Page))
    }
}

pub fn disk_error(path: PathBuf, error: std::io::Error) -> SpoolError {
    SpoolError::Disk { path, error }
}

pub fn put_error(path: PathBuf, error: PutError) -> SpoolError {
    match error {
        PutError::Unchanged(error) => SpoolError::Disk { path, error },
        PutError::Unknown(error) => SpoolError::Uncertain { path, error },
    }
}
