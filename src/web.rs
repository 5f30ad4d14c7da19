//! Health, metrics and control over HTTP: what the device says of itself, and what it can be told.
//!
//! ```text
//!   GET  /healthz          200 while every part moves within its limit, else 503
//!   GET  /readyz           200 while a page would be taken, else 503 with the reasons
//!   GET  /metrics          Prometheus text
//!   GET  /status           `Report`, JSON
//!   POST /capture          {"source": NAME?, "reference": TEXT?}: the ids of the pages that it took
//!   POST /cancel
//!   GET  /spool            all jobs;  GET /spool/ID one;  POST /spool/ID/retry|park|purge
//! ```
//!
//! In: a TCP listener for the four that only tell, a Unix socket for all of them (whoever may open
//! the socket may do what it can), the latest `Report`, a channel for `Request`s that the service
//! answers. Over TCP whoever asks from another machine than this must send the token as a bearer.
//! Every wait, head, body and the number of connections has a bound. Errors go to who asked.

mod client;
mod metrics;
mod report;
mod route;
mod server;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

pub use client::{ClientError, ask_get, ask_post};
pub use report::{Counts, DestinationReport, MemoryReport, Report, SourceReport, SpoolReport};
pub use server::{Door, WebError, open, serve};

/// What the service is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Capture(CaptureAsk),
    Cancel,
    Jobs,
    Job(String),
    Retry(String),
    Park(String),
    Purge(String),
}

/// A capture that is asked for by name.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureAsk {
    /// The first of the configuration, where none is named.
    pub source: Option<String>,
    /// The site's own name for the page; it is never logged.
    pub reference: Option<String>,
}

impl std::fmt::Debug for CaptureAsk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("CaptureAsk");
        out.field("source", &self.source).finish_non_exhaustive()
    }
}

/// Why it is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing.
    Unknown(String),
    /// Not now.
    Conflict(String),
    /// It was tried, and failed.
    Failed(String),
}

/// A JSON value, or why there is none.
pub type Answer = Result<serde_json::Value, Refusal>;

/// Something asked of the service; who asked waits for the reply.
#[derive(Debug)]
pub struct Request {
    pub ask: Ask,
    pub reply: oneshot::Sender<Answer>,
}

/// Where the service can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doors {
    pub listen: Option<std::net::SocketAddr>,
    pub token_file: Option<PathBuf>,
    pub socket: Option<PathBuf>,
}
