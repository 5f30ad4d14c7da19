//! A device that pages come from when it is asked: a camera, a scanner.
//!
//! In: settings, a call to capture. Out: each page as the bytes of a picture file, handed over one by
//! one, so that a feeder's pages are safe before the next is drawn in. A source blocks, on a thread
//! that is its own; it looks at `Stop` at least every `limits::CAPTURE_STEP_MS_MAX`, and every wait
//! for the device has a bound. It opens what it needs for a capture and closes it after an error, so
//! that the next call begins anew.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::de::DeserializeOwned;

use crate::limits;

/// A way to pages.
pub trait Source: Send {
    /// Captures what lies there: one page of a camera, all pages of a feeder. `take` is given each
    /// page's picture file and says whether to go on.
    fn capture(
        &mut self,
        stop: &Stop,
        take: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), SourceError>;

    /// Opens the device as a capture would, and says in a line what was found.
    fn check(&mut self) -> Result<String, SourceError>;
}

/// Tells a source on its thread to give up, and others that the source still moves.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_stopped: AtomicBool,
    looks: AtomicU64,
}

impl Stop {
    pub fn stop(&self) {
        self.0.is_stopped.store(true, Ordering::Relaxed);
    }

    /// A source's look, which is counted.
    pub fn is_stopped(&self) -> bool {
        self.0.looks.fetch_add(1, Ordering::Relaxed);
        self.0.is_stopped.load(Ordering::Relaxed)
    }

    /// How often the source has looked.
    pub fn looks(&self) -> u64 {
        self.0.looks.load(Ordering::Relaxed)
    }
}

/// Who can mend what is wrong with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Paper, cover, cable: whoever stands there.
    Operator,
    /// Settings, rights, a part that is broken.
    Technician,
    Bug,
}

/// Why no page came.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SourceError {
    /// Something to do with paper or a cover: says what to do.
    #[error("{advice}")]
    Operator { advice: String },
    #[error("{device} is not there: {reason}")]
    Missing { device: String, reason: String },
    #[error("{device} has not answered within {waited_ms} ms")]
    Silent { device: String, waited_ms: u64 },
    #[error("{device}: {reason}")]
    Failed { device: String, reason: String },
    #[error("the capture was cancelled")]
    Stopped,
}

impl SourceError {
    pub(super) fn missing(device: &str, reason: impl ToString) -> Self {
        Self::Missing {
            device: device.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn failed(device: &str, reason: impl ToString) -> Self {
        Self::Failed {
            device: device.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Operator { .. } | Self::Stopped => ErrorKind::Operator,
            Self::Missing { .. } | Self::Silent { .. } | Self::Failed { .. } => {
                ErrorKind::Technician
            }
        }
    }
}

/// Why a source cannot be made of its settings.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    #[error("{reason}")]
    Table { reason: String },
    #[error("{path}: {reason}", path = path.display())]
    File { path: PathBuf, reason: String },
}

/// A source that has not opened anything yet.
pub type Made = Result<Box<dyn Source>, SettingsError>;

/// A sort of source, as the configuration names it.
pub struct SourceKind {
    pub name: &'static str,
    pub(super) make: fn(toml::Table) -> Made,
    /// The devices of this sort that are there now, a line each: for people who write settings.
    pub(super) devices: fn() -> Result<Vec<String>, SourceError>,
}

impl SourceKind {
    /// A source with these settings.
    pub fn make(&self, settings: toml::Table) -> Made {
        (self.make)(settings)
    }

    /// What of this sort can be used here.
    pub fn devices(&self) -> Result<Vec<String>, SourceError> {
        (self.devices)()
    }
}

/// A source's settings out of their table.
pub(super) fn read<S: DeserializeOwned>(table: toml::Table) -> Result<S, SettingsError> {
    table.try_into().map_err(|error| SettingsError::Table {
        reason: error.to_string().trim_end().to_owned(),
    })
}

/// A time-out out of settings.
pub(super) fn check_wait_ms(found: u64) -> Result<(), SettingsError> {
    let [min, max] = limits::CAPTURE_WAIT_MS;
    if (min..=max).contains(&found) {
        return Ok(());
    }
    Err(SettingsError::Table {
        reason: format!("wait_ms is {found}; it can be {min} to {max}"),
    })
}
