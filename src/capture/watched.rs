//! A watched folder: pages that people, scanners or programs put there, each once, when it is whole.
//!
//! In: a folder, and looks at it at times the caller tells. Out: the files that have kept their size
//! and date for `settle_ms`, oldest first. A file that is still being written is never opened: its
//! size or date moves. Names that begin with a dot, and those that programs give to what is not
//! finished, are no pages. What has been taken is moved to `done/` or `failed/` beside it, by rename,
//! under its own name or, where that is taken, with a number. Looking (not being told) works on
//! network drives as well. Errors name the folder; the next look may succeed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::limits::BATCH_PAGES_MAX;

/// Endings of what is not finished.
const UNFINISHED: [&str; 4] = ["part", "tmp", "crdownload", "filepart"];
const DONE: &str = "done";
const FAILED: &str = "failed";

/// Where a file goes that has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    Failed,
}

/// Why the folder cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("{folder} cannot be read: {error}", folder = folder.display())]
    Folder {
        folder: PathBuf,
        error: std::io::Error,
    },
    #[error("{path} cannot be moved to {to}: {error}", path = path.display(), to = to.display())]
    Move {
        path: PathBuf,
        to: PathBuf,
        error: std::io::Error,
    },
    #[error("{folder} holds more than {BATCH_PAGES_MAX} files", folder = folder.display())]
    Crowded { folder: PathBuf },
}

/// What was seen of a file, and since when it has looked so.
#[derive(Clone, Debug, PartialEq)]
struct Sight {
    bytes: u64,
    modified: Option<SystemTime>,
    since_ms: u64,
}

/// A folder and what was seen there.
#[derive(Debug)]
pub struct Watched {
    folder: PathBuf,
    settle_ms: u64,
    seen: BTreeMap<String, Sight>,
}

impl Watched {
    pub fn new(folder: PathBuf, settle_ms: u64) -> Self {
        Self {
            folder,
            settle_ms,
            seen: BTreeMap::new(),
        }
    }

    /// The files that are whole by now, oldest first. `now_ms` is a clock that never goes back.
    pub fn look(&mut self, now_ms: u64) -> Result<Vec<PathBuf>, WatchError> {
        let found = self.list()?;
        self.seen.retain(|name, _| found.contains_key(name));
        let mut whole: Vec<(Option<SystemTime>, PathBuf)> = Vec::new();
        for (name, (bytes, modified)) in found {
            let fresh = Sight {
                bytes,
                modified,
                since_ms: now_ms,
            };
            let sight = self
                .seen
                .entry(name.clone())
                .or_insert_with(|| fresh.clone());
            if (sight.bytes, sight.modified) != (bytes, modified) {
                *sight = fresh;
            } else if bytes > 0 && now_ms.saturating_sub(sight.since_ms) >= self.settle_ms {
                whole.push((modified, self.folder.join(name)));
            }
        }
        whole.sort();
        Ok(whole.into_iter().map(|(_, path)| path).collect())
    }

    fn list(&self) -> Result<BTreeMap<String, (u64, Option<SystemTime>)>, WatchError> {
        let unreadable = |error| WatchError::Folder {
            folder: self.folder.clone(),
            error,
        };
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(&self.folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            // A file that is gone between two calls is no error.
            let Ok(about) = entry.metadata() else {
                continue;
            };
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if about.is_file() && is_page_name(&name) {
                found.insert(name, (about.len(), about.modified().ok()));
            }
            if found.len() > BATCH_PAGES_MAX {
                return Err(WatchError::Crowded {
                    folder: self.folder.clone(),
                });
            }
        }
        Ok(found)
    }

    /// Moves a file out of the way; where it went.
    pub fn put_away(&mut self, path: &Path, fate: Fate) -> Result<PathBuf, WatchError> {
        let to = self.folder.join(match fate {
            Fate::Done => DONE,
            Fate::Failed => FAILED,
        });
        let failed = |error| WatchError::Move {
            path: path.to_owned(),
            to: to.clone(),
            error,
        };
        std::fs::create_dir_all(&to).map_err(failed)?;
        let place = free_name(&to, path);
        std::fs::rename(path, &place).map_err(failed)?;
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            self.seen.remove(name);
        }
        Ok(place)
    }
}

fn is_page_name(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    !name.starts_with(['.', '~'])
        && !name.ends_with('~')
        && !UNFINISHED
            .iter()
            .any(|unfinished| ending.eq_ignore_ascii_case(unfinished))
}

/// The file's own name in `folder`, with a number where it is taken.
fn free_name(folder: &Path, path: &Path) -> PathBuf {
    let part = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let (stem, ending) = (part(path.file_stem()), part(path.extension()));
    let named = |number: usize| match (number, ending.as_str()) {
        (0, "") => stem.clone(),
        (0, ending) => format!("{stem}.{ending}"),
        (number, "") => format!("{stem}-{number}"),
        (number, ending) => format!("{stem}-{number}.{ending}"),
    };
    (0..=BATCH_PAGES_MAX)
        .map(|number| folder.join(named(number)))
        .find(|place| !place.exists())
        .unwrap_or_else(|| folder.join(named(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[PathBuf]) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        found.iter().map(name).collect()
    }

    #[test]
    fn a_file_is_a_page_once_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let mut watched = Watched::new(folder.path().to_owned(), 2_000);
        std::fs::write(folder.path().join("a.png"), b"half").unwrap();
        assert!(watched.look(0).unwrap().is_empty());
        std::fs::write(folder.path().join("a.png"), b"half and half").unwrap();
        assert!(watched.look(2_500).unwrap().is_empty());
        assert!(watched.look(4_000).unwrap().is_empty());
        assert_eq!(names(&watched.look(4_500).unwrap()), ["a.png"]);
    }

    #[test]
    fn what_is_not_finished_is_no_page() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            ".a.png",
            "b.png.part",
            "c.tmp",
            "~d.png",
            "e.png~",
            "f.PART",
        ] {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        std::fs::write(folder.path().join("empty.png"), b"").unwrap();
        std::fs::create_dir(folder.path().join("g.png")).unwrap();
        let mut watched = Watched::new(folder.path().to_owned(), 0);
        watched.look(0).unwrap();
        assert!(watched.look(1).unwrap().is_empty());
    }

    #[test]
    fn what_was_taken_lies_beside_under_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut watched = Watched::new(folder.path().to_owned(), 0);
        let mut places = Vec::new();
        for _ in 0..2 {
            let path = folder.path().join("a.png");
            std::fs::write(&path, b"x").unwrap();
            places.push(watched.put_away(&path, Fate::Done).unwrap());
        }
        assert_eq!(names(&places), ["a.png", "a-1.png"]);
        let gone = watched.put_away(&folder.path().join("a.png"), Fate::Failed);
        assert!(matches!(gone, Err(WatchError::Move { .. })));
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_and_may_come_back() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("in");
        let mut watched = Watched::new(folder.clone(), 0);
        assert!(matches!(watched.look(0), Err(WatchError::Folder { .. })));
        std::fs::create_dir(&folder).unwrap();
        assert!(watched.look(1).unwrap().is_empty());
    }
}
