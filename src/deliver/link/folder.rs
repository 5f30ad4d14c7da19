//! A link that is a folder: another program, or a mounted share, takes the records from there.
//!
//! In: records; settings: the folder, which must be there: it is never made, since a share that is
//! not mounted would be written to the card behind it. Out: `FOLDER/ID.lsr`, written beside its
//! place, synced, renamed, and the folder synced. A file of that name with the same bytes is the
//! record; one with other bytes is never overwritten (`Permanent`). As wished the formats of
//! `digitize` stand beside it, written before it: where it is, they are. The disk is waited for on a
//! thread of its own, `LINK_FOLDER_MS_MAX` at most: a share whose server is gone may hold it for ever.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::sender::Outgoing;
use super::store::{durable_digest, record_path};
use super::{Checking, Delivering, Link, LinkError, SettingsError};
use crate::deliver::file::write_whole;
use crate::deliver::format::native::Native;
use crate::deliver::{DeliverError, Format, decode_native, deliver_record, format_named};
use crate::limits;

/// What the configuration says of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub folder: PathBuf,
    /// Written beside `ID.lsr`, for programs that do not read it: csv, wfdb, json.
    #[serde(default)]
    pub formats: Vec<String>,
}

/// The link.
pub struct Folder {
    folder: PathBuf,
    formats: Vec<&'static dyn Format>,
    /// A write whose end was not waited for.
    late: Option<JoinHandle<Result<(), LinkError>>>,
}

impl Folder {
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let format = |name: &String| {
            format_named(name).ok_or_else(|| SettingsError::Table {
                reason: format!("formats: {name:?} is none of csv, wfdb, json, native"),
            })
        };
        let mut formats: Vec<_> = settings
            .formats
            .iter()
            .map(format)
            .collect::<Result<_, _>>()?;
        // The record itself is always there.
        formats.retain(|format| format.name() != Native.name());
        Ok(Self {
            folder: settings.folder,
            formats,
            late: None,
        })
    }

    async fn send(&mut self, record: &Outgoing) -> Result<(), LinkError> {
        let bound = Duration::from_millis(limits::LINK_FOLDER_MS_MAX);
        let late = || LinkError::temporary("the folder does not answer");
        if let Some(writing) = &mut self.late {
            // How it ended, the next write finds out.
            let _ = timeout(bound, writing).await.map_err(|_| late())?;
            self.late = None;
        }
        let (folder, record) = (self.folder.clone(), record.clone());
        let formats = self.formats.clone();
        let writing = spawn_blocking(move || put(&folder, &formats, &record));
        let writing = self.late.insert(writing);
        let written = timeout(bound, writing).await.map_err(|_| late())?;
        self.late = None;
        // A thread that was ended by a panic has said so.
        written.map_err(LinkError::temporary)?
    }
}

impl Link for Folder {
    fn deliver<'a>(&'a mut self, record: &'a Outgoing) -> Delivering<'a> {
        Box::pin(self.send(record))
    }

    fn check(&mut self) -> Checking<'_> {
        let folder = self.folder.clone();
        Box::pin(async move {
            let bound = Duration::from_millis(limits::LINK_FOLDER_MS_MAX);
            let trying = spawn_blocking(move || try_out(&folder));
            let tried = timeout(bound, trying).await;
            let tried = tried.map_err(|_| LinkError::temporary("the folder does not answer"))?;
            tried.map_err(LinkError::temporary)?
        })
    }
}

fn write_others(
    folder: &Path,
    formats: &[&dyn Format],
    outgoing: &Outgoing,
) -> Result<(), LinkError> {
    if formats.is_empty() {
        return Ok(());
    }
    let record = decode_native(outgoing.bytes()).map_err(LinkError::permanent)?;
    let id = outgoing.offer().id.to_string();
    match deliver_record(&record, &id, formats, folder) {
        Ok(_) => Ok(()),
        Err(error @ (DeliverError::Write { .. } | DeliverError::Remove { .. })) => {
            Err(LinkError::temporary(error))
        }
        Err(error @ DeliverError::TooLong { .. }) => Err(LinkError::permanent(error)),
    }
}

/// Writes a file as a record is written, and removes it.
fn try_out(folder: &Path) -> Result<String, LinkError> {
    if !folder.is_dir() {
        let folder = folder.display();
        return Err(LinkError::temporary(format!("{folder} is no folder")));
    }
    let path = folder.join(".leadscan-check");
    let written = write_whole(&path, |out| out.write_all(b"check"));
    written.map_err(LinkError::temporary)?;
    std::fs::remove_file(&path).map_err(LinkError::temporary)?;
    Ok("the folder takes files".to_owned())
}

fn put(folder: &Path, formats: &[&dyn Format], record: &Outgoing) -> Result<(), LinkError> {
    if !folder.is_dir() {
        let folder = folder.display();
        return Err(LinkError::temporary(format!("{folder} is no folder")));
    }
    let path = record_path(folder, record.offer().id);
    match durable_digest(&path).map_err(LinkError::temporary)? {
        Some(digest) if digest == record.offer().digest => Ok(()),
        Some(_) => {
            let path = path.display();
            Err(LinkError::permanent(format!("{path} holds something else")))
        }
        None => {
            write_others(folder, formats, record)?;
            // It comes last: where it is, all is.
            write_whole(&path, |out| out.write_all(record.bytes())).map_err(LinkError::temporary)
        }
    }
}
