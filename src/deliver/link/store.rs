//! Records on a receiver's disk.
//!
//! In: bytes as they come. Out: `DIR/ID.lsr`, there whole or not at all: bytes gather in
//! `DIR/.ID.DIGEST.part`, are checked against the digest, synced, renamed, and the folder is synced.
//! What was gathered before a break or a restart is gone on with; what a power cut left of it is
//! found out by the digest, and begun again. A record that is there is known by its id, and told by
//! the digest that its file has now, so that a damaged one is not taken for the record. Parts that
//! nobody ends are removed, the oldest first, once there are `LINK_PARTS_MAX`. Fails by `StoreError`,
//! which names the file; then nothing was promised.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::receiver::{Committed, Store, StoreError};
use super::wire::{Offer, RecordDigest, RecordId};
use crate::limits;

/// Records are native ones, and their files end so.
const RECORD_ENDING: &str = "lsr";
const PART_ENDING: &str = ".part";
const READ_BYTES: usize = 64 << 10;

/// A folder of records.
#[derive(Debug)]
pub struct FolderStore {
    folder: PathBuf,
}

impl FolderStore {
    /// The folder is made if it is not there.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let folder = folder.to_owned();
        Ok(Self { folder })
    }

    fn part(&self, offer: &Offer) -> PathBuf {
        let digest = offer.digest.to_string();
        let name = format!(".{}.{}{PART_ENDING}", offer.id, &digest[..16]);
        self.folder.join(name)
    }

    /// Removes the oldest part where there is no room for one more.
    fn make_room(&self) -> std::io::Result<()> {
        let mut parts = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(PART_ENDING) {
                parts.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        parts.sort();
        let surplus = (parts.len() + 1).saturating_sub(limits::LINK_PARTS_MAX);
        for (_, path) in parts.iter().take(surplus) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Where a record lies in a folder.
pub fn record_path(folder: &Path, id: RecordId) -> PathBuf {
    folder.join(format!("{id}.{RECORD_ENDING}"))
}

/// The digest of a file that is there, once it is sure to stay; `None` where there is no file. A
/// rename whose folder was not synced may be from a run that was ended in between.
pub fn durable_digest(path: &Path) -> std::io::Result<Option<RecordDigest>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let digest = digest_of(&mut file)?;
    file.sync_all()?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(Some(digest))
}

fn digest_of(file: &mut File) -> std::io::Result<RecordDigest> {
    let mut bytes = vec![0; READ_BYTES];
    let mut digest = Sha256::new();
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(RecordDigest(digest.finalize().into())),
            count => digest.update(&bytes[..count]),
        }
    }
}

fn named(path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    let what = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    move |error| StoreError {
        what: what.clone(),
        error,
    }
}

/// A part holds bytes up to its end, so its length says how many.
fn length(file: &File) -> std::io::Result<u32> {
    let bytes = file.metadata()?.len();
    u32::try_from(bytes).map_err(|_| ErrorKind::FileTooLarge.into())
}

fn begin(path: &Path, bytes_max: u32) -> std::io::Result<u32> {
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).open(path)?;
    let have = length(&file)?;
    if have <= bytes_max {
        return Ok(have);
    }
    file.set_len(0)?;
    Ok(0)
}

fn append(path: &Path, offset: u32, data: &[u8]) -> std::io::Result<u32> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    if length(&file)? == offset {
        file.write_all(data)?;
    }
    length(&file)
}

fn commit(part: &Path, place: &Path, digest: RecordDigest) -> std::io::Result<Committed> {
    let mut file = File::open(part)?;
    let is_right = digest_of(&mut file)? == digest;
    if !is_right || durable_digest(place)?.is_some() {
        std::fs::remove_file(part)?;
        return Ok(Committed::WrongDigest);
    }
    if let Err(error) = file.sync_all() {
        // Nothing is known of its bytes, and a second sync may say that all is well.
        std::fs::remove_file(part)?;
        return Err(error);
    }
    std::fs::rename(part, place)?;
    if let Some(folder) = place.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(Committed::Durable)
}

impl Store for FolderStore {
    fn stored(&mut self, id: RecordId) -> Result<Option<RecordDigest>, StoreError> {
        let path = record_path(&self.folder, id);
        durable_digest(&path).map_err(named(&path))
    }

    fn begin(&mut self, offer: &Offer) -> Result<u32, StoreError> {
        let path = self.part(offer);
        if !path.exists() {
            self.make_room().map_err(named(&self.folder))?;
        }
        begin(&path, offer.bytes).map_err(named(&path))
    }

    fn append(&mut self, offer: &Offer, offset: u32, data: &[u8]) -> Result<u32, StoreError> {
        let path = self.part(offer);
        append(&path, offset, data).map_err(named(&path))
    }

    /// A record that has come by another way meanwhile makes this one's digest wrong: the device
    /// asks again and is told.
    fn commit(&mut self, offer: &Offer) -> Result<Committed, StoreError> {
        let (part, place) = (self.part(offer), record_path(&self.folder, offer.id));
        commit(&part, &place, offer.digest).map_err(named(&place))
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::MemoryStore;
    use super::super::sender::Outgoing;
    use super::*;

    fn offer(id: u8, bytes: &[u8]) -> Offer {
        let record = Outgoing::new(RecordId([id; 16]), bytes.into()).unwrap();
        record.offer()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// What every store must do.
    fn keeps_the_contract(store: &mut impl Store) {
        let offer = offer(1, b"abcdef");
        assert_eq!(store.stored(offer.id).unwrap(), None);
        assert_eq!(store.begin(&offer).unwrap(), 0);
        assert_eq!(store.append(&offer, 0, b"abc").unwrap(), 3);
        assert_eq!(store.append(&offer, 0, b"abc").unwrap(), 3, "not twice");
        assert_eq!(store.append(&offer, 4, b"ef").unwrap(), 3, "no gap");
        assert_eq!(store.begin(&offer).unwrap(), 3);
        assert_eq!(store.append(&offer, 3, b"deX").unwrap(), 6);
        assert_eq!(store.commit(&offer).unwrap(), Committed::WrongDigest);
        assert_eq!(store.stored(offer.id).unwrap(), None);
        assert_eq!(store.begin(&offer).unwrap(), 0);
        store.append(&offer, 0, b"abcdef").unwrap();
        assert_eq!(store.commit(&offer).unwrap(), Committed::Durable);
        assert_eq!(store.stored(offer.id).unwrap(), Some(offer.digest));
    }

    #[test]
    fn both_stores_keep_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        keeps_the_contract(&mut FolderStore::open(folder.path()).unwrap());
        let name = record_path(folder.path(), RecordId([1; 16]));
        assert_eq!(std::fs::read(name).unwrap(), b"abcdef");
        assert_eq!(names(folder.path()).len(), 1, "no part stays");
        keeps_the_contract(&mut MemoryStore::default());
    }

    #[test]
    fn a_part_is_gone_on_with_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let offer = offer(1, b"abc");
        let mut store = FolderStore::open(folder.path()).unwrap();
        store.begin(&offer).unwrap();
        store.append(&offer, 0, b"ab").unwrap();
        let mut store = FolderStore::open(folder.path()).unwrap();
        assert_eq!(store.begin(&offer).unwrap(), 2);
        assert_eq!(store.append(&offer, 2, b"c").unwrap(), 3);
        assert_eq!(store.commit(&offer).unwrap(), Committed::Durable);
    }

    #[test]
    fn a_part_longer_than_its_record_is_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = FolderStore::open(folder.path()).unwrap();
        let offer = offer(1, b"abc");
        std::fs::write(store.part(&offer), b"abcd").unwrap();
        assert_eq!(store.begin(&offer).unwrap(), 0);
    }

    #[test]
    fn a_record_that_is_there_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = FolderStore::open(folder.path()).unwrap();
        let (one, other) = (offer(1, b"one"), offer(1, b"other"));
        for (offer, bytes) in [(one, &b"one"[..]), (other, b"other")] {
            store.begin(&offer).unwrap();
            store.append(&offer, 0, bytes).unwrap();
        }
        assert_eq!(store.commit(&one).unwrap(), Committed::Durable);
        assert_eq!(store.commit(&other).unwrap(), Committed::WrongDigest);
        assert_eq!(store.stored(one.id).unwrap(), Some(one.digest));
        std::fs::write(record_path(folder.path(), one.id), b"damaged").unwrap();
        assert_ne!(store.stored(one.id).unwrap(), Some(one.digest));
    }

    #[test]
    fn parts_that_nobody_ends_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = FolderStore::open(folder.path()).unwrap();
        for id in 0..=limits::LINK_PARTS_MAX {
            store.begin(&offer(id as u8, b"abc")).unwrap();
        }
        assert_eq!(names(folder.path()).len(), limits::LINK_PARTS_MAX);
    }
}
