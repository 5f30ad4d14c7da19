//! A link to a receiver in this process: every frame, and no wire. Copy this file for a new link.
//!
//! In: records; settings: the folder of the receiver. Out: `Ok` once the receiver has stored the
//! record. What a link must do: `new` checks the settings and opens nothing. `deliver` ends within a
//! bounded time, may be dropped at any time, and may be called again with the same record after any
//! failure. It says `Temporary` where the line or the receiver was not able to, `Permanent` where the
//! receiver will not take this record. A link over a line implements `Line`, and `Framed` does the
//! rest: it opens the line again after a break, and gives up where nothing moves. Then a line in
//! `LINKS`, and an entry in the contract of `tests/it/links.rs`.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::DuplexStream;

use super::framed::{Framed, Line, Opening, Stream};
use super::receiver::Receiver;
use super::sender::{Outgoing, Pace};
use super::serve::serve;
use super::store::FolderStore;
use super::{Checking, Delivering, Link, LinkError};

/// Bytes that are under way each way.
const PIPE_BYTES: usize = 4096;
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What the configuration says of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub folder: PathBuf,
}

/// The link.
pub struct Loopback {
    settings: Settings,
    device: String,
}

impl Loopback {
    /// `device` is how the receiver will know us.
    pub fn new(settings: Settings, device: &str) -> Self {
        let device = device.to_owned();
        Self { settings, device }
    }

    async fn send(&self, record: &Outgoing) -> Result<(), LinkError> {
        let store = FolderStore::open(&self.settings.folder).map_err(LinkError::temporary)?;
        let store = RefCell::new(store);
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let mut framed = Framed::new(Pipe(Some(near)), &self.device);
        let mut far: Stream = Box::new(far);
        let mut receiver = Receiver::new("loopback");
        let served = serve(&mut far, &mut receiver, &store, IDLE_MAX, |_| Ok(()));
        tokio::select! {
            delivered = framed.deliver(record) => delivered,
            served = served => Err(match served {
                Ok(()) => LinkError::temporary("the pipe was closed"),
                Err(error) => LinkError::temporary(error),
            }),
        }
    }
}

impl Link for Loopback {
    fn deliver<'a>(&'a mut self, record: &'a Outgoing) -> Delivering<'a> {
        Box::pin(self.send(record))
    }

    fn check(&mut self) -> Checking<'_> {
        Box::pin(std::future::ready(Ok("it is in this process".to_owned())))
    }
}

/// Our end of a pipe; there is one.
struct Pipe(Option<DuplexStream>);

impl Line for Pipe {
    fn open(&mut self) -> Opening<'_> {
        let end = self.0.take().map(|end| Box::new(end) as Stream);
        Box::pin(async { end.ok_or_else(|| std::io::ErrorKind::BrokenPipe.into()) })
    }

    fn pace(&self) -> Pace {
        Pace {
            answer_ms: 250,
            frame_ms: 0,
        }
    }
}
