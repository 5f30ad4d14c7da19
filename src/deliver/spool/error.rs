//! Why the spool does not do what it is asked, and who can help.
//!
//! `Disk` leaves everything as it was: the same call may be made again. After `Uncertain` nothing is
//! known of that job's file, and the job is held: it is not handed out until it is read again from
//! the disk (`retry`, or the next start). `Clear` means that all was delivered and that only the
//! removal is left to do.

use std::path::PathBuf;

use super::entry::{EntryError, Part};
use super::job::{JobId, Stage};

/// Who can do something about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    Operator,
    Technician,
    Bug,
}

/// What there is no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    #[error("{found} jobs wait, at most {max} may")]
    Jobs { found: usize, max: usize },
    #[error("{found} bytes would be kept, at most {max} may")]
    Bytes { found: u64, max: u64 },
    #[error("{found} bytes are free on the disk, {needed} are needed")]
    FreeSpace { found: u64, needed: u64 },
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool is full: {0}")]
    Full(Shortage),
    #[error("the page is here already, as {of}")]
    Duplicate { of: JobId },
    #[error("another process uses the spool {path}", path = path.display())]
    Locked { path: PathBuf },
    #[error("the settings of the spool: {reason}")]
    Settings { reason: String },
    #[error("no job {job}")]
    Unknown { job: JobId },
    #[error("job {job} is {found:?}")]
    Stage { job: JobId, found: Stage },
    #[error("job {job} does not go to {destination}")]
    Destination { job: JobId, destination: String },
    #[error("job {job} is held: {reason}")]
    Held { job: JobId, reason: String },
    #[error("the {part:?} of job {job} was damaged: {error}")]
    Damaged {
        job: JobId,
        part: Part,
        error: EntryError,
    },
    #[error("what is to be kept: {0}")]
    Entry(#[from] EntryError),
    #[error("{path}: {error}", path = path.display())]
    Disk {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("nothing is known of {path}: {error}", path = path.display())]
    Uncertain {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("job {job} was sent, but cannot be removed: {error}")]
    Clear { job: JobId, error: Box<SpoolError> },
}

impl SpoolError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Full(_) | Self::Duplicate { .. } => ErrorKind::Operator,
            Self::Entry(EntryError::TooLong { .. }) => ErrorKind::Operator,
            Self::Locked { .. }
            | Self::Settings { .. }
            | Self::Held { .. }
            | Self::Damaged { .. }
            | Self::Disk { .. }
            | Self::Uncertain { .. }
            | Self::Clear { .. } => ErrorKind::Technician,
            Self::Unknown { .. }
            | Self::Stage { .. }
            | Self::Destination { .. }
            | Self::Entry(_) => ErrorKind::Bug,
        }
    }
}
