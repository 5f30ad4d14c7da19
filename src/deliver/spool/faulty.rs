//! A disk in memory whose power goes, or which fails, at a chosen operation. For tests.
//!
//! In: `plan(operation, fault)`, operations counted from 0. Until it is synced a file's content may
//! be torn by a power cut, and a name that was made, moved or removed may or may not be: all of it
//! lost, all of it kept, or a mixture by seed (`Power`). A rename is one change, written by the
//! sync of either folder. Bytes whose sync failed are gone for good, as Linux does it. `restart`
//! brings the power back; `operations` and `reads` count; `edit` damages a file.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::disk::{Disk, Listed, folder_of, too_many};

/// What becomes of what was not synced when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    Lost,
    Kept,
    Mixed(u64),
}

/// What happens at the planned operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Cut(Power),
    /// This operation alone fails.
    Once(ErrorKind),
    /// Every change fails from then on; what is there can be read.
    ReadOnly,
}

#[derive(Clone, Debug)]
struct Content {
    bytes: Vec<u8>,
    synced: bool,
}

/// A change of names that is not yet on the disk.
#[derive(Clone, Debug)]
enum Change {
    Make {
        path: PathBuf,
        content: usize,
    },
    Move {
        from: PathBuf,
        to: PathBuf,
        content: usize,
    },
    Remove {
        path: PathBuf,
    },
}

#[derive(Clone, Debug, Default)]
struct Inner {
    folders: BTreeSet<PathBuf>,
    contents: Vec<Content>,
    /// As programs see it.
    names: BTreeMap<PathBuf, usize>,
    /// As it is on the disk.
    durable: BTreeMap<PathBuf, usize>,
    pending: Vec<Change>,
    operations: usize,
    reads: usize,
    plan: Option<(usize, Fault)>,
    off: Option<Power>,
    free_bytes: u64,
}

/// Clones share the disk; `copy` makes another.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk(Rc<RefCell<Inner>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Change,
}

impl FaultyDisk {
    pub fn new() -> Self {
        let disk = Self::default();
        disk.0.borrow_mut().folders.insert(PathBuf::from("/"));
        disk.set_free_bytes(1 << 30);
        disk
    }

    /// Another disk with the same content, without a plan.
    pub fn copy(&self) -> Self {
        let mut inner = self.0.borrow().clone();
        inner.plan = None;
        Self(Rc::new(RefCell::new(inner)))
    }

    pub fn plan(&self, operation: usize, fault: Fault) {
        self.0.borrow_mut().plan = Some((operation, fault));
    }

    pub fn operations(&self) -> usize {
        self.0.borrow().operations
    }

    pub fn reads(&self) -> usize {
        self.0.borrow().reads
    }

    pub fn set_free_bytes(&self, bytes: u64) {
        self.0.borrow_mut().free_bytes = bytes;
    }

    pub fn files(&self) -> Vec<PathBuf> {
        self.0.borrow().names.keys().cloned().collect()
    }

    /// Changes the bytes of a file behind the program's back.
    pub fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.0.borrow_mut();
        let content = inner.names[path];
        edit(&mut inner.contents[content].bytes);
    }

    /// The power goes between two operations.
    pub fn cut(&self, power: Power) {
        self.0.borrow_mut().off = Some(power);
    }

    /// The power comes back, and no fault is planned any more.
    pub fn restart(&self) {
        let mut inner = self.0.borrow_mut();
        inner.plan = None;
        if let Some(power) = inner.off.take() {
            inner.lose(power);
        }
    }
}

impl Inner {
    /// Counts an operation; the error that is due at it.
    fn step(&mut self, access: Access) -> Result<(), Error> {
        if self.off.is_some() {
            return Err(Error::other("no power"));
        }
        let operation = self.operations;
        self.operations += 1;
        match self.plan {
            Some((at, Fault::Cut(power))) if operation == at => {
                self.off = Some(power);
                Err(Error::other("no power"))
            }
            Some((at, Fault::Once(kind))) if operation == at => Err(kind.into()),
            Some((at, Fault::ReadOnly)) if operation >= at && access == Access::Change => {
                Err(ErrorKind::ReadOnlyFilesystem.into())
            }
            _ => Ok(()),
        }
    }

    /// What happened at a cut may still have begun.
    fn begun(&self) -> bool {
        self.off.is_some_and(|power| power != Power::Lost)
    }

    fn content(&self, path: &Path) -> Result<usize, Error> {
        let content = self.names.get(path).copied();
        content.ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.pending.push(change);
    }

    fn lose(&mut self, power: Power) {
        let mut seed = match power {
            Power::Mixed(seed) => seed,
            Power::Lost | Power::Kept => 1,
        };
        for change in std::mem::take(&mut self.pending) {
            let kept = match power {
                Power::Lost => false,
                Power::Kept => true,
                Power::Mixed(_) => random(&mut seed).is_multiple_of(2),
            };
            if kept {
                apply(&mut self.durable, &change);
            }
        }
        for content in self.contents.iter_mut().filter(|content| !content.synced) {
            let length = content.bytes.len() as u64;
            let torn = (random(&mut seed) % (length + 1)) as usize;
            content.bytes.truncate(torn);
        }
        self.names = self.durable.clone();
    }
}

/// A move may reach the disk where the making of what it moves does not.
fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    match change {
        Change::Make { path, content } => {
            names.insert(path.clone(), *content);
        }
        Change::Move { from, to, content } => {
            names.remove(from);
            names.insert(to.clone(), *content);
        }
        Change::Remove { path } => {
            names.remove(path);
        }
    }
}

/// Knuth's generator; the upper bits are good.
pub fn random(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

impl Change {
    fn is_in(&self, folder: &Path) -> bool {
        match self {
            Self::Make { path, .. } | Self::Remove { path } => folder_of(path) == folder,
            Self::Move { from, to, .. } => folder_of(from) == folder || folder_of(to) == folder,
        }
    }
}

impl Disk for FaultyDisk {
    type File = usize;
    type Lock = ();

    fn lock(&self, _: &Path) -> Result<(), Error> {
        self.0.borrow_mut().step(Access::Read)
    }

    fn make_folder(&self, folder: &Path) -> Result<(), Error> {
        let mut inner = self.0.borrow_mut();
        if inner.folders.contains(folder) {
            return Ok(());
        }
        inner.step(Access::Change)?;
        for folder in folder.ancestors() {
            inner.folders.insert(folder.to_owned());
        }
        Ok(())
    }

    fn write(&self, path: &Path, parts: &[&[u8]]) -> Result<usize, Error> {
        let mut inner = self.0.borrow_mut();
        let stepped = inner.step(Access::Change);
        if !inner.folders.contains(folder_of(path)) {
            return Err(ErrorKind::NotFound.into());
        }
        if stepped.is_ok() || inner.begun() {
            let content = inner.contents.len();
            let (bytes, synced) = (parts.concat(), false);
            inner.contents.push(Content { bytes, synced });
            let path = path.to_owned();
            inner.change(Change::Make { path, content });
        }
        stepped.map(|()| inner.contents.len() - 1)
    }

    fn sync(&self, file: usize) -> Result<(), Error> {
        let mut inner = self.0.borrow_mut();
        inner.step(Access::Change)?;
        inner.contents[file].synced = true;
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let mut inner = self.0.borrow_mut();
        let stepped = inner.step(Access::Change);
        let content = inner.content(from)?;
        if stepped.is_ok() || inner.begun() {
            let (from, to) = (from.to_owned(), to.to_owned());
            inner.change(Change::Move { from, to, content });
        }
        stepped
    }

    fn remove(&self, path: &Path) -> Result<(), Error> {
        let mut inner = self.0.borrow_mut();
        let stepped = inner.step(Access::Change);
        if inner.names.contains_key(path) && (stepped.is_ok() || inner.begun()) {
            let path = path.to_owned();
            inner.change(Change::Remove { path });
        }
        stepped
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), Error> {
        let mut inner = self.0.borrow_mut();
        inner.step(Access::Change)?;
        let pending = std::mem::take(&mut inner.pending);
        let (here, elsewhere) = pending.into_iter().partition(|change| change.is_in(folder));
        inner.pending = elsewhere;
        let here: Vec<Change> = here;
        here.iter()
            .for_each(|change| apply(&mut inner.durable, change));
        Ok(())
    }

    fn read(&self, path: &Path, bytes_max: usize, into: &mut Vec<u8>) -> Result<(), Error> {
        let mut inner = self.0.borrow_mut();
        inner.step(Access::Read)?;
        inner.reads += 1;
        let content = inner.content(path)?;
        let bytes = &inner.contents[content].bytes;
        into.clear();
        into.extend_from_slice(&bytes[..bytes.len().min(bytes_max)]);
        Ok(())
    }

    fn list(&self, folder: &Path, files_max: usize) -> Result<Vec<Listed>, Error> {
        let mut inner = self.0.borrow_mut();
        inner.step(Access::Read)?;
        let here = inner.names.iter();
        let here = here.filter(|(path, _)| folder_of(path) == folder);
        let listed: Vec<Listed> = here
            .map(|(path, content)| Listed {
                name: path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                bytes: inner.contents[*content].bytes.len() as u64,
            })
            .collect();
        if listed.len() > files_max {
            return Err(too_many(folder, files_max));
        }
        Ok(listed)
    }

    fn free_bytes(&self, _: &Path) -> Result<u64, Error> {
        let mut inner = self.0.borrow_mut();
        inner.step(Access::Read)?;
        Ok(inner.free_bytes)
    }
}
