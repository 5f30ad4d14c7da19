//! What is read at the start, and again where a job is held; what becomes of damaged files.
//!
//! In: the folders. Out: the table of jobs, and a `Quarantined` for each file that was not as it
//! should be. A damaged file is moved away and what is left of its job goes on: without its state it
//! is begun again, without its record it is digitized again, without its page it is rejected. A
//! file that cannot be read is left with its whole job for another start. Nothing here stops a
//! start but a folder that cannot be listed.

use std::path::Path;

use super::disk::{self, Disk, Listed};
use super::entry::{EntryError, Part};
use super::error::SpoolError;
use super::files::disk_error;
use super::job::{Delivery, Job, JobId, Progress};
use super::scan::{self, Loaded};
use super::sent::Sent;
use super::{Damage, JOBS, KEPT, Place, QUARANTINE, Quarantined, SENT, Spool};
use crate::limits;

impl<D: Disk> Spool<D> {
    pub(super) fn read(&mut self) -> Result<Vec<Quarantined>, SpoolError> {
        self.look_at_quarantine()?;
        let mut found = Vec::new();
        let path = self.folder.join(SENT);
        match Sent::read(&self.disk, &path, self.settings.sent_max) {
            Ok(sent) => self.sent = sent,
            Err(why) => found.push(self.set_aside("", SENT.to_owned(), why)),
        }
        let kept = scan::sort(self.list(KEPT)?);
        found.extend(self.set_aside_strays(KEPT, kept.strays));
        let pages = kept.jobs.into_iter();
        self.kept = pages
            .filter_map(|(id, files)| Some((id, files.page?)))
            .collect();
        found.extend(self.read_jobs()?);
        if !found.is_empty() {
            self.look_at_quarantine()?;
        }
        let ids = self.jobs.keys().chain(self.kept.keys()).copied();
        self.last = ids.chain(self.sent.last()).max();
        Ok(found)
    }

    pub(super) fn read_jobs(&mut self) -> Result<Vec<Quarantined>, SpoolError> {
        let sorted = scan::sort(self.list(JOBS)?);
        let folder = self.folder.join(JOBS);
        for draft in &sorted.drafts {
            // On a disk that takes no change it stays, and is overwritten or removed another time.
            let _ = self.disk.remove(&folder.join(draft));
        }
        let mut found = self.set_aside_strays(JOBS, sorted.strays);
        for (id, files) in sorted.jobs {
            match scan::load(&self.disk, &folder, id, files) {
                Ok(loaded) => found.extend(self.adopt(id, loaded)),
                Err(error) => found.push(Quarantined {
                    name: id.to_string(),
                    why: Damage::Unread {
                        error: error.to_string(),
                    },
                    place: Place::Left,
                }),
            }
        }
        Ok(found)
    }

    pub(super) fn list(&self, name: &str) -> Result<Vec<Listed>, SpoolError> {
        let path = self.folder.join(name);
        let listed = self.disk.list(&path, limits::SPOOL_FILES_MAX);
        listed.map_err(|error| disk_error(path, error))
    }

    /// What lies there counts as kept bytes.
    pub(super) fn look_at_quarantine(&mut self) -> Result<(), SpoolError> {
        let listed = self.list(QUARANTINE)?.into_iter();
        self.quarantine = listed.map(|file| (file.name, file.bytes)).collect();
        Ok(())
    }

    /// Reads a job that is held again, and writes it anew: what is seen of it need not be on the
    /// disk, and a sync that succeeds after one that failed says nothing.
    pub(super) fn restore(&mut self, id: JobId) -> Result<(), SpoolError> {
        let restored = self.reload(id).and_then(|()| self.rewrite(id));
        if let Err(error) = &restored {
            self.hold(id, error);
        }
        restored
    }

    fn rewrite(&mut self, id: JobId) -> Result<(), SpoolError> {
        let mut body = Vec::new();
        for part in [Part::Page, Part::Record] {
            let mut files = self.usable(id)?.files;
            if files.of(part).is_some_and(|file| file.is_some()) {
                self.body(id, part, &mut body)?;
                self.put(id, part, self.job(id)?.facts.clone(), &body)?;
            }
        }
        self.put(id, Part::State, self.job(id)?.facts.clone(), &[])
    }

    fn reload(&mut self, id: JobId) -> Result<(), SpoolError> {
        let mut sorted = scan::sort(self.list(JOBS)?);
        let Some(files) = sorted.jobs.remove(&id) else {
            self.jobs.remove(&id);
            return Err(SpoolError::Unknown { job: id });
        };
        let folder = self.folder.join(JOBS);
        let loaded = scan::load(&self.disk, &folder, id, files);
        let loaded = loaded.map_err(|error| disk_error(folder, error))?;
        self.jobs.remove(&id);
        self.adopt(id, loaded);
        self.look_at_quarantine()
    }

    /// Takes a job into the table. A damaged record goes before the state that asks for another; a
    /// damaged page goes after the state that tells of it. So a power cut in between loses nothing.
    pub(super) fn adopt(&mut self, id: JobId, loaded: Loaded) -> Vec<Quarantined> {
        let Loaded {
            facts,
            files,
            damaged,
        } = loaded;
        let Some(mut facts) = facts else {
            let lost = damaged.into_iter();
            return lost
                .map(|(part, error)| self.set_aside_part(id, part, error))
                .collect();
        };
        if self.sent.has(id) {
            facts.deliveries.iter_mut().for_each(deliver);
        }
        let job = Job::new(facts, files);
        let facts = job.facts.clone();
        self.jobs.insert(id, job);
        let is_state = |part: Part| part == Part::State;
        let rewrite = damaged.iter().any(|(part, _)| !is_state(*part));
        let (pages, others): (Vec<_>, Vec<_>) = damaged
            .into_iter()
            .partition(|(part, _)| *part == Part::Page);
        let mut found = Vec::new();
        for (part, error) in others {
            found.push(self.set_aside_part(id, part, error));
        }
        if rewrite && let Err(error) = self.put(id, Part::State, facts, &[]) {
            // The job stays as the disk has it, and is looked at again at the next start.
            self.hold(id, &error);
            found.extend(pages.into_iter().map(|(part, error)| left(id, part, error)));
            return found;
        }
        for (part, error) in pages {
            found.push(self.set_aside_part(id, part, error));
        }
        found
    }

    pub(super) fn hold(&mut self, id: JobId, error: &SpoolError) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.held = Some(error.to_string());
        }
    }

    pub(super) fn set_aside_strays(
        &mut self,
        folder: &str,
        strays: Vec<Listed>,
    ) -> Vec<Quarantined> {
        let strays = strays.into_iter();
        strays
            .map(|stray| self.set_aside(folder, stray.name, Damage::Stray))
            .collect()
    }

    pub(super) fn set_aside_part(
        &mut self,
        id: JobId,
        part: Part,
        error: EntryError,
    ) -> Quarantined {
        let name = scan::file_name(id, part);
        self.set_aside(JOBS, name, Damage::Entry(error))
    }

    /// Moves a file to the quarantine, under a name that is free there; its size is taken when the
    /// folder is listed again.
    pub(super) fn set_aside(&mut self, folder: &str, name: String, why: Damage) -> Quarantined {
        let mut free = name.clone();
        let mut count = 0;
        while self.quarantine.contains_key(&free) {
            count += 1;
            free = format!("{name}.{count}");
        }
        let from = self.folder.join(folder).join(&name);
        let to = self.folder.join(QUARANTINE).join(&free);
        let place = match disk::relocate(&self.disk, &from, &to) {
            Ok(()) => {
                self.quarantine.insert(free, 0);
                Place::Quarantine(to)
            }
            Err(_) => Place::Left,
        };
        Quarantined { name, why, place }
    }
}

pub fn lock<D: Disk>(disk: &D, folder: &Path) -> Result<D::Lock, SpoolError> {
    let path = folder.to_owned();
    disk.lock(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => SpoolError::Locked { path },
        _ => disk_error(path, error),
    })
}

fn deliver(delivery: &mut Delivery) {
    if delivery.progress != Progress::Abandoned {
        delivery.progress = Progress::Delivered;
    }
}

fn left(id: JobId, part: Part, error: EntryError) -> Quarantined {
    Quarantined {
        name: scan::file_name(id, part),
        why: Damage::Entry(error),
        place: Place::Left,
    }
}
