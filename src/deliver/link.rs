//! Links: how a record gets to a receiver, and how it is known to be there.
//!
//! In: a record under its job's id. Out: `Ok` once it is durable at the other end, else whether
//! trying again helps. Delivery is at least once: receivers know records by their id and keep each
//! once. Links with frames (`loopback`, `serial`, `tcp`) speak to a `Receiver` over a line that may
//! lose, flip and double bytes; what they say is in `wire.rs`, the bytes around it in `frame.rs`, the
//! order of it in `sender.rs`. `folder` writes files. Every wait has a bound: a link that gets
//! nowhere says `Temporary`, and who calls it waits for `Backoff::deliveries` before the next try.
//! `https` and `mqtt` speak to servers of others. The links run on one thread, in a tokio runtime
//! with time and input.

#[cfg(any(feature = "https", feature = "mqtt"))]
mod answer;
mod backoff;
#[cfg(test)]
mod channel;
mod folder;
mod frame;
mod framed;
#[cfg(feature = "https")]
mod https;
mod loopback;
#[cfg(feature = "mqtt")]
mod mqtt;
mod receiver;
#[cfg(any(feature = "https", feature = "mqtt"))]
mod secret;
mod sender;
mod serial;
mod serve;
mod store;
mod tcp;
mod tls;
mod wire;

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;

use serde::de::DeserializeOwned;

use super::spool::{ErrorKind, Failure};
use crate::limits;

use wire::bounded;

pub use backoff::Backoff;
pub use frame::{FrameCounts, FrameError, FrameReader, encode};
pub use framed::{ByteStream, Stream};
pub use receiver::{Answer, Committed, Receiver, Store, StoreError};
pub use sender::{Action, Event, Outgoing, Pace, Sender, TooLong};
pub use serial::{check_baud, open_port};
pub use serve::serve;
pub use store::{FolderStore, record_path};
pub use wire::{Message, Offer, RecordDigest, RecordId, Refusal, State};

/// A delivery under way; dropping it gives it up, and the record may be given again.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Result<(), LinkError>> + 'a>>;

/// What a link does between records; it never ends by itself, and may be dropped at any time.
pub type Resting<'a> = Pin<Box<dyn Future<Output = Infallible> + 'a>>;

/// A look at the other end under way.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Result<String, LinkError>> + 'a>>;

/// A way to one receiver.
pub trait Link {
    /// Sends a record; `Ok` once it is durable at the other end, or was there before.
    fn deliver<'a>(&'a mut self, record: &'a Outgoing) -> Delivering<'a>;

    /// Opens the way to the other end as a delivery would, and says in a line what was found.
    fn check(&mut self) -> Checking<'_>;

    /// Keeps a connection alive until there is a record: most have nothing to do.
    fn rest(&mut self) -> Resting<'_> {
        Box::pin(std::future::pending())
    }
}

/// Why a record did not get to the receiver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct LinkError {
    pub fault: Failure,
    pub reason: String,
}

impl LinkError {
    fn temporary(reason: impl ToString) -> Self {
        Self::new(Failure::Temporary, &reason.to_string())
    }

    fn permanent(reason: impl ToString) -> Self {
        Self::new(Failure::Permanent, &reason.to_string())
    }

    /// What a receiver says of its reasons may be long; the spool keeps as much as this.
    fn new(fault: Failure, reason: &str) -> Self {
        let reason = bounded(reason, limits::SPOOL_REASON_BYTES_MAX);
        Self { fault, reason }
    }
}

/// Why a link cannot be made of its settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{reason}")]
    Table { reason: String },
    #[error("{path}: {reason}", path = path.display())]
    File { path: PathBuf, reason: String },
    #[error("{found} baud; {min} to {max} can be had")]
    Baud { found: u32, min: u32, max: u32 },
}

impl SettingsError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Table { .. } | Self::File { .. } | Self::Baud { .. } => ErrorKind::Technician,
        }
    }
}

/// A link that has not opened anything yet.
pub type Made = Result<Box<dyn Link>, SettingsError>;

/// A sort of link, as the configuration names it.
pub struct LinkKind {
    pub name: &'static str,
    make: fn(toml::Table, &str) -> Made,
}

impl LinkKind {
    /// A link with these settings; `device` is how receivers will know us.
    pub fn make(&self, settings: toml::Table, device: &str) -> Made {
        (self.make)(settings, device)
    }
}

/// All links, in reading order.
pub static LINKS: &[LinkKind] = &[
    LinkKind {
        name: "loopback",
        make: |table, device| Ok(Box::new(loopback::Loopback::new(read(table)?, device))),
    },
    LinkKind {
        name: "serial",
        make: |table, device| Ok(Box::new(serial::new(read(table)?, device)?)),
    },
    LinkKind {
        name: "tcp",
        make: |table, device| Ok(Box::new(tcp::new(read(table)?, device)?)),
    },
    #[cfg(feature = "https")]
    LinkKind {
        name: "https",
        make: |table, device| Ok(Box::new(https::new(read(table)?, device)?)),
    },
    #[cfg(feature = "mqtt")]
    LinkKind {
        name: "mqtt",
        make: |table, device| Ok(Box::new(mqtt::new(read(table)?, device)?)),
    },
    LinkKind {
        name: "folder",
        make: |table, _| Ok(Box::new(folder::Folder::new(read(table)?)?)),
    },
];

/// The sort of link of that name.
pub fn link_named(name: &str) -> Option<&'static LinkKind> {
    LINKS.iter().find(|kind| kind.name == name)
}

fn read<S: DeserializeOwned>(table: toml::Table) -> Result<S, SettingsError> {
    table.try_into().map_err(|error| SettingsError::Table {
        reason: error.to_string().trim_end().to_owned(),
    })
}
