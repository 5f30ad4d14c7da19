//! The few things a spool asks of a disk, so that a test can make each of them fail.
//!
//! In and out: paths and bytes. `RealDisk` is the file system; in tests there is also one in memory
//! that fails or loses its power at a chosen operation. What `put` wrote is there whole or not at
//! all after a power cut: a draft beside its place, fsync, rename, fsync of the folder.
//!
//! An error of fsync, or one after the rename, means that nothing is known of the file
//! (`PutError::Unknown`): the kernel may have dropped the bytes, and a second fsync would say that
//! all is well. It is passed on, never tried again. Any other error leaves what was there.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub bytes: u64,
}

/// What a spool needs of a disk. Nothing lasts until it is synced.
pub trait Disk {
    /// A file that was written and not yet synced.
    type File;
    /// Held as long as the spool is open.
    type Lock;
    /// Keeps every other process out of the folder; `WouldBlock` where one is in it.
    fn lock(&self, folder: &Path) -> std::io::Result<Self::Lock>;
    /// Makes a folder with those above it, durably; one that is there is no error.
    fn make_folder(&self, folder: &Path) -> std::io::Result<()>;
    /// Writes `parts` one behind the other as the whole of a new file.
    fn write(&self, path: &Path, parts: &[&[u8]]) -> std::io::Result<Self::File>;
    fn sync(&self, file: Self::File) -> std::io::Result<()>;
    /// Moves a file within the disk; what stood at `to` is gone.
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()>;
    /// Removes a file; one that is not there is no error.
    fn remove(&self, path: &Path) -> std::io::Result<()>;
    fn sync_folder(&self, folder: &Path) -> std::io::Result<()>;
    /// Replaces `into` by the first `bytes_max` bytes of a file.
    fn read(&self, path: &Path, bytes_max: usize, into: &mut Vec<u8>) -> std::io::Result<()>;
    /// The files of a folder, `files_max` at most, in any order.
    fn list(&self, folder: &Path, files_max: usize) -> std::io::Result<Vec<Listed>>;
    /// Bytes that may still be written.
    fn free_bytes(&self, folder: &Path) -> std::io::Result<u64>;
}

/// What is known after a write that failed.
#[derive(Debug)]
pub enum PutError {
    /// What was there before is there.
    Unchanged(std::io::Error),
    /// The old file, the new one or neither.
    Unknown(std::io::Error),
}

/// Drafts are named so, and removed where they are found.
pub const DRAFT_ENDING: &str = ".draft";

/// Writes a file durably and in whole.
pub fn put<D: Disk>(disk: &D, path: &Path, parts: &[&[u8]]) -> Result<(), PutError> {
    let draft = draft_path(path);
    let written = disk.write(&draft, parts).map_err(PutError::Unchanged);
    let synced = written.and_then(|file| disk.sync(file).map_err(PutError::Unknown));
    if let Err(error) = synced {
        // A draft that stays is removed when the spool is opened; what matters is the error.
        let _ = disk.remove(&draft);
        return Err(error);
    }
    let renamed = disk.rename(&draft, path);
    renamed
        .and_then(|()| disk.sync_folder(folder_of(path)))
        .map_err(PutError::Unknown)
}

/// Moves a file to another folder, durably: at no time is it in neither.
pub fn relocate<D: Disk>(disk: &D, from: &Path, to: &Path) -> std::io::Result<()> {
    disk.rename(from, to)?;
    disk.sync_folder(folder_of(to))?;
    disk.sync_folder(folder_of(from))
}

pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn draft_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{DRAFT_ENDING}"))
}

/// The file system.
#[derive(Clone, Copy, Debug)]
pub struct RealDisk;

const LOCK_NAME: &str = "lock";
/// A page names its patient: nobody but the service reads it.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

impl Disk for RealDisk {
    type File = File;
    type Lock = File;

    fn lock(&self, folder: &Path) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.mode(FILE_MODE).open(folder.join(LOCK_NAME))?;
        file.try_lock().map_err(std::io::Error::from)?;
        Ok(file)
    }

    fn make_folder(&self, folder: &Path) -> std::io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        self.make_folder(folder_of(folder))?;
        DirBuilder::new().mode(FOLDER_MODE).create(folder)?;
        self.sync_folder(folder_of(folder))
    }

    fn write(&self, path: &Path, parts: &[&[u8]]) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        let mut file = options.mode(FILE_MODE).open(path)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        Ok(file)
    }

    fn sync(&self, file: File) -> std::io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_folder(&self, folder: &Path) -> std::io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn read(&self, path: &Path, bytes_max: usize, into: &mut Vec<u8>) -> std::io::Result<()> {
        into.clear();
        let file = File::open(path)?;
        let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        into.reserve_exact(bytes.min(bytes_max));
        file.take(bytes_max as u64).read_to_end(into)?;
        Ok(())
    }

    fn list(&self, folder: &Path, files_max: usize) -> std::io::Result<Vec<Listed>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let facts = entry.metadata()?;
            if !facts.is_file() {
                continue;
            }
            if files.len() == files_max {
                return Err(too_many(folder, files_max));
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let bytes = facts.len();
            files.push(Listed { name, bytes });
        }
        Ok(files)
    }

    fn free_bytes(&self, folder: &Path) -> std::io::Result<u64> {
        let space = rustix::fs::statvfs(folder)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

pub fn too_many(folder: &Path, files_max: usize) -> std::io::Error {
    let folder = folder.display();
    std::io::Error::other(format!("{folder} holds more than {files_max} files"))
}

#[cfg(test)]
mod tests {
    use super::super::faulty::{Fault, FaultyDisk, Power};
    use super::*;

    fn read<D: Disk>(disk: &D, path: &Path) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![1, 2, 3];
        disk.read(path, 1000, &mut bytes)?;
        Ok(bytes)
    }

    /// What every disk must do.
    fn keeps_the_contract<D: Disk>(disk: &D, root: &Path) {
        let (a, b) = (root.join("x/y/a"), root.join("x/b"));
        assert!(disk.write(&a, &[b"early"]).is_err(), "no folder yet");
        disk.make_folder(&root.join("x/y")).unwrap();
        disk.make_folder(&root.join("x/y")).unwrap();
        put(disk, &a, &[b"12", b"", b"345"]).unwrap();
        assert_eq!(read(disk, &a).unwrap(), b"12345");
        put(disk, &a, &[b"67"]).unwrap();
        let listed = disk.list(&root.join("x/y"), 1).unwrap();
        let name = "a".to_owned();
        assert_eq!(listed, [Listed { name, bytes: 2 }]);
        relocate(disk, &a, &b).unwrap();
        assert_eq!(read(disk, &a).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read(disk, &b).unwrap(), b"67");
        let mut start = Vec::new();
        disk.read(&b, 1, &mut start).unwrap();
        assert_eq!(start, b"6");
        put(disk, &root.join("x/c"), &[]).unwrap();
        assert!(disk.list(&root.join("x"), 1).is_err(), "two files");
        assert_eq!(
            disk.list(&root.join("x"), 2).unwrap().len(),
            2,
            "no folders"
        );
        disk.remove(&b).unwrap();
        disk.remove(&b).unwrap();
        assert!(read(disk, &b).is_err());
        assert!(disk.free_bytes(root).unwrap() > 0);
        disk.lock(root).unwrap();
    }

    #[test]
    fn both_disks_keep_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        keeps_the_contract(&RealDisk, folder.path());
        let disk = FaultyDisk::new();
        disk.make_folder(Path::new("/spool")).unwrap();
        keeps_the_contract(&disk, Path::new("/spool"));
    }

    #[test]
    fn what_is_put_is_there_whole_or_not_at_all() {
        let path = Path::new("/spool/a");
        for power in [Power::Lost, Power::Kept, Power::Mixed(7)] {
            for at in 0..6 {
                let disk = FaultyDisk::new();
                disk.make_folder(Path::new("/spool")).unwrap();
                put(&disk, path, &[b"old"]).unwrap();
                disk.plan(disk.operations() + at, Fault::Cut(power));
                let done = put(&disk, path, &[b"new"]).is_ok();
                disk.restart();
                let found = read(&disk, path).unwrap();
                assert!(found == b"new" || (found == b"old" && !done), "{at}");
                assert_eq!(done, at >= 4, "four operations");
            }
        }
    }

    #[test]
    fn an_error_says_what_is_known() {
        let known = |at: usize| {
            let disk = FaultyDisk::new();
            disk.make_folder(Path::new("/spool")).unwrap();
            disk.plan(disk.operations() + at, Fault::Once(ErrorKind::StorageFull));
            let error = put(&disk, Path::new("/spool/a"), &[b"new"]).unwrap_err();
            matches!(error, PutError::Unchanged(_))
        };
        assert_eq!([0, 1, 2, 3].map(known), [true, false, false, false]);
    }
}
