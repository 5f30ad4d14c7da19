//! From a record to files: signals, the report, the overlay.
//!
//! In: `Record`, the page's `Account` (what was done to get it). Out: files `ID.<ending>` in one
//! folder, each written beside its place, synced and renamed, so that nothing is ever half there.
//! The report comes last: where it is, the rest is. A rejected page has its report only, and signal
//! files that an earlier run left for it are removed. Fails by `DeliverError`, which names the file.

mod account;
mod file;
mod format;
pub mod link;
mod overlay;
pub mod spool;
mod twelve;

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::page::RawImage;
use crate::record::{Record, Status};

pub use account::{Account, GivenOptions, ModelUsed, Source, StageTime, Work};
pub use file::write_whole;
pub use format::json::{Finished, Report};
pub use format::native::{NativeError, decode as decode_native, encode as encode_native};
pub use overlay::{OVERLAY_ENDING, bytes as overlay_bytes, draw as draw_overlay};
pub use twelve::Twelve;

/// Everything that is delivered of one page.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// Names the files.
    pub id: &'a str,
    pub record: &'a Record,
    pub account: &'a Account,
}

/// Why something was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    #[error("{path} cannot be written: {error}", path = path.display())]
    Write {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{path} cannot be removed: {error}", path = path.display())]
    Remove {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("the record has {found} samples a lead; at most {max} are delivered")]
    TooLong { found: usize, max: usize },
}

/// What a format's files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Samples: none of a rejected page.
    Signals,
    /// What is known of the page, whether or not it was understood.
    Report,
}

/// A way to write a record.
pub trait Format: Sync {
    /// As the operator names it.
    fn name(&self) -> &'static str;
    /// Endings of its files, in the order in which they are written.
    fn endings(&self) -> &'static [&'static str];
    fn holds(&self) -> Holds;
    /// Whether the format can name a record `id`; if not, why.
    fn check_id(&self, _id: &str) -> Result<(), String> {
        Ok(())
    }
    /// Writes the file of one of its endings.
    fn write(&self, delivery: &Delivery, ending: &str, out: &mut dyn Write) -> std::io::Result<()>;
}

/// All formats, in the order in which they are written: the report last.
pub static FORMATS: [&dyn Format; 4] = [
    &format::csv::Csv,
    &format::wfdb::Wfdb,
    &format::native::Native,
    &format::json::Json,
];

/// The format of that name.
pub fn format_named(name: &str) -> Option<&'static dyn Format> {
    FORMATS.into_iter().find(|format| format.name() == name)
}

/// Writes what is due in each of `formats`; a rejected page's report is always due. The paths
/// written, in order.
pub fn deliver(
    delivery: &Delivery,
    formats: &[&dyn Format],
    folder: &Path,
) -> Result<Vec<PathBuf>, DeliverError> {
    let rejected = delivery.record.status == Status::Rejected;
    if rejected {
        remove_signals(delivery.id, folder)?;
    } else {
        twelve::check_length(delivery.record)?;
    }
    let asked = |format: &dyn Format| formats.iter().any(|asked| asked.name() == format.name());
    let mut written = Vec::new();
    for format in FORMATS {
        let due = match format.holds() {
            Holds::Signals => asked(format) && !rejected,
            Holds::Report => asked(format) || rejected,
        };
        for ending in format.endings().iter().filter(|_| due) {
            let path = place(folder, delivery.id, ending);
            file::write_whole(&path, |out| format.write(delivery, ending, out))?;
            written.push(path);
        }
    }
    Ok(written)
}

/// Writes a record that came from elsewhere, under its name there.
pub fn deliver_record(
    record: &Record,
    id: &str,
    formats: &[&dyn Format],
    folder: &Path,
) -> Result<Vec<PathBuf>, DeliverError> {
    let account = &Account::of_record(record, formats);
    let delivery = Delivery {
        id,
        record,
        account,
    };
    deliver(&delivery, formats, folder)
}

/// Draws the overlay to its file beside the record's.
pub fn deliver_overlay(
    delivery: &Delivery,
    image: &RawImage,
    folder: &Path,
) -> Result<PathBuf, DeliverError> {
    let path = place(folder, delivery.id, OVERLAY_ENDING);
    file::write_whole(&path, |out| {
        overlay::write(image, delivery.record, delivery.id, out)
    })?;
    Ok(path)
}

/// Removes the signal files of a page, which would say something that no longer holds.
pub fn remove_signals(id: &str, folder: &Path) -> Result<(), DeliverError> {
    for format in FORMATS
        .into_iter()
        .filter(|format| format.holds() == Holds::Signals)
    {
        for ending in format.endings() {
            file::remove(&place(folder, id, ending))?;
        }
    }
    Ok(())
}

/// Removes the overlay of a page that could not be looked at.
pub fn remove_overlay(id: &str, folder: &Path) -> Result<(), DeliverError> {
    file::remove(&place(folder, id, OVERLAY_ENDING))
}

/// Where the file of that ending lies.
pub fn place(folder: &Path, id: &str, ending: &str) -> PathBuf {
    folder.join(format!("{id}.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_names_and_endings_of_their_own() {
        let names: Vec<_> = FORMATS.iter().map(|format| format.name()).collect();
        assert_eq!(names, ["csv", "wfdb", "native", "json"]);
        let mut endings: Vec<_> = FORMATS.iter().flat_map(|format| format.endings()).collect();
        endings.push(&OVERLAY_ENDING);
        endings.sort();
        endings.dedup();
        assert_eq!(
            endings,
            [&"csv", &"dat", &"hea", &"json", &"lsr", &"overlay.png"]
        );
        assert!(format_named("csv").is_some() && format_named("xml").is_none());
    }
}
