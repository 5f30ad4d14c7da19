//! Files that are either whole or not there: written beside their place, synced, renamed, and the
//! folder synced after it, so that a name never stands for bytes that a power cut took.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::DeliverError;

/// Writes the file at `path` by `fill`; on an error nothing is left behind and what was at `path`
/// before is still there.
pub fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), DeliverError> {
    let draft = draft_path(path);
    let written = write_draft(&draft, fill).and_then(|()| std::fs::rename(&draft, path));
    if let Err(error) = written {
        // The draft may not be there; what matters is the error that led here.
        let _ = std::fs::remove_file(&draft);
        return Err(DeliverError::Write {
            path: path.to_owned(),
            error,
        });
    }
    sync_folder_of(path).map_err(|error| DeliverError::Write {
        path: path.to_owned(),
        error,
    })
}

/// Removes the file at `path`, if there is one.
pub fn remove(path: &Path) -> Result<(), DeliverError> {
    let removed = match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder_of(path),
    };
    removed.map_err(|error| DeliverError::Remove {
        path: path.to_owned(),
        error,
    })
}

/// In the same folder, hidden, and never taken for a page or a record.
fn draft_path(path: &Path) -> PathBuf {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.draft", std::process::id()))
}

fn write_draft(
    draft: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(draft)?);
    fill(&mut out)?;
    out.into_inner()?.sync_all()
}

fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_that_fails_half_way_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        write_whole(&path, |out| out.write_all(b"first")).unwrap();
        let error = write_whole(&path, |out| {
            out.write_all(b"sec")?;
            Err(std::io::Error::other("the disk is full"))
        });
        assert!(
            error
                .unwrap_err()
                .to_string()
                .ends_with("a.csv cannot be written: the disk is full")
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(names_in(folder.path()), ["a.csv"]);
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("a.csv")).unwrap();
    }
}
