//! What lies in a spool's folder, read at the start: heads and metas, no bodies.
//!
//! In: the names of a folder. Out: `Sorted` (which job has which files, what does not belong here),
//! and of one job `Loaded`: its facts, as the file that was written last has them, and its damaged
//! files. The order of asking keeps it to one read a job nearly always: a state that knows the
//! verdict is the newest; then the record, then a state without a verdict, then the page. An error
//! of reading is no damage: it is returned, and the file stays.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::disk::{DRAFT_ENDING, Disk, Listed};
use super::entry::{EntryError, HEAD_BYTES_MAX, Part, read_head, read_whole};
use super::job::{Facts, Files, JobId};

/// The files of a folder, by what they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sorted {
    pub jobs: BTreeMap<JobId, Files>,
    pub drafts: Vec<String>,
    pub strays: Vec<Listed>,
}

/// What is known of one job.
#[derive(Debug, PartialEq, Eq)]
pub struct Loaded {
    /// `None` if no file of it tells.
    pub facts: Option<Facts>,
    /// Those that may be used.
    pub files: Files,
    pub damaged: Vec<(Part, EntryError)>,
}

pub fn file_name(job: JobId, part: Part) -> String {
    let ending = match part {
        Part::Page => "page",
        Part::Record => "record",
        Part::State => "state",
        Part::Sent => "sent",
    };
    format!("{job}.{ending}")
}

pub fn sort(listed: Vec<Listed>) -> Sorted {
    let mut sorted = Sorted::default();
    for file in listed {
        if let Some((job, part)) = parse_name(&file.name) {
            let files = sorted.jobs.entry(job).or_default();
            files.set(part, Some(file.bytes));
        } else if file.name.starts_with('.') && file.name.ends_with(DRAFT_ENDING) {
            sorted.drafts.push(file.name);
        } else {
            sorted.strays.push(file);
        }
    }
    sorted
}

fn parse_name(name: &str) -> Option<(JobId, Part)> {
    let (id, ending) = name.split_once('.')?;
    let part = match ending {
        "page" => Part::Page,
        "record" => Part::Record,
        "state" => Part::State,
        _ => return None,
    };
    Some((id.parse().ok()?, part))
}

/// Reads what is known of a job.
pub fn load<D: Disk>(disk: &D, folder: &Path, job: JobId, files: Files) -> std::io::Result<Loaded> {
    let mut reader = Reader {
        disk,
        folder,
        job,
        files,
        damaged: Vec::new(),
        bytes: Vec::new(),
    };
    let facts = reader.newest()?;
    Ok(Loaded {
        facts,
        files: reader.files,
        damaged: reader.damaged,
    })
}

struct Reader<'a, D> {
    disk: &'a D,
    folder: &'a Path,
    job: JobId,
    files: Files,
    damaged: Vec<(Part, EntryError)>,
    bytes: Vec<u8>,
}

impl<D: Disk> Reader<'_, D> {
    fn newest(&mut self) -> std::io::Result<Option<Facts>> {
        let state = self.facts(Part::State)?;
        if state.as_ref().is_some_and(|facts| facts.verdict.is_some()) {
            return Ok(state);
        }
        if let Some(facts) = self.facts(Part::Record)?.or(state) {
            return Ok(Some(facts));
        }
        self.facts(Part::Page)
    }

    /// The facts in one file; a file that is damaged is none of the job's any more, though its head
    /// may still tell.
    fn facts(&mut self, part: Part) -> std::io::Result<Option<Facts>> {
        let Some(bytes) = self.files.of(part).and_then(|file| *file) else {
            return Ok(None);
        };
        let path: PathBuf = self.folder.join(file_name(self.job, part));
        match self.disk.read(&path, HEAD_BYTES_MAX, &mut self.bytes) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.files.set(part, None);
                return Ok(None);
            }
            read => read?,
        }
        let (facts, damage) = look(&self.bytes, part, self.job, bytes);
        if let Some(error) = damage {
            self.damaged.push((part, error));
            self.files.set(part, None);
        }
        Ok(facts)
    }
}

/// The facts in a file of `file_bytes` that begins with `start`, and what is wrong with it.
fn look(
    start: &[u8],
    part: Part,
    job: JobId,
    file_bytes: u64,
) -> (Option<Facts>, Option<EntryError>) {
    let head = match part {
        Part::State => read_whole(start, part, job),
        Part::Page | Part::Record | Part::Sent => read_head(start, part, job),
    };
    let understood = head.and_then(|head| Ok((Facts::decode(head.meta)?, head.file_bytes())));
    match understood {
        Err(error) => (None, Some(error)),
        Ok((facts, needed)) if needed != file_bytes => {
            let found = file_bytes;
            (Some(facts), Some(EntryError::Length { found, needed }))
        }
        Ok((facts, _)) if part == Part::Record && facts.verdict.is_none() => {
            let reason = "a record without a verdict".to_owned();
            (Some(facts), Some(EntryError::Meta { reason }))
        }
        Ok((facts, _)) => (Some(facts), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_files_are() {
        let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        let listed = |name: &str| Listed {
            name: name.replace("ID", id),
            bytes: 5,
        };
        let names = ["ID.page", "ID.record", ".ID.page.draft"];
        let strays = ["ID.sent", "ID.page.draft", "x.page", "ID", "notes", ".x"];
        let sorted = sort(names.iter().chain(&strays).map(|n| listed(n)).collect());
        let files = Files {
            page: Some(5),
            record: Some(5),
            state: None,
        };
        assert_eq!(sorted.jobs, BTreeMap::from([(id.parse().unwrap(), files)]));
        assert_eq!(sorted.drafts, [listed(".ID.page.draft").name]);
        assert_eq!(sorted.strays, strays.map(listed));
    }
}
