//! The command line: joins the edges and the core for people at a terminal and for scripts.
//!
//! In: arguments. Out: files in the output folder, one line a page or record on stdout where asked
//! for, messages on stderr, an `ExitStatus`. What cannot be begun is a `UsageError` and nothing is
//! touched; what fails on one page is told for that page and the others go on.

mod arguments;
mod batch;
mod clock;
mod config;
mod console;
mod devices;
mod doctor;
mod export;
mod manual;
mod page;
mod receive;
mod selftest;
mod serve;
mod service;
mod testpage;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::digitize::Options;
use crate::memory::Counting;
use crate::nn::{ModelError, ModelFiles, TractNets};
use crate::record::{Record, Role};
use crate::service::run::ServeError;
use crate::service::work;
use crate::web::ClientError;

pub use arguments::{Cli, Command, DigitizeArguments, ReceiveArguments};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitStatus {
    /// All pages `ok` or `warning`; a receiver that was told to end.
    Done = 0,
    /// Some page was rejected or could not be read or written; a test found something off.
    PagesFailed = 1,
    /// The command cannot be carried out as it was given.
    Usage = 2,
    /// Our own fault.
    Bug = 3,
    /// The service cannot go on: its disk or the system failed.
    Service = 4,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// Why no work was begun.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error("{first} and {second} would both be written as {id:?}; rename one of them",
        first = first.display(), second = second.display())]
    SameName {
        id: String,
        first: PathBuf,
        second: PathBuf,
    },
    #[error("{id:?} cannot be written as {format}: {reason}; rename the page")]
    PageName {
        id: String,
        format: &'static str,
        reason: String,
    },
    #[error("--resume looks at the JSON of earlier runs; add json to --format")]
    ResumeWithoutJson,
    #[error("{path} cannot be made: {error}", path = path.display())]
    OutFolder {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{line}: {error}")]
    Line { line: String, error: std::io::Error },
    #[error("the receiver cannot begin: {0}")]
    Runtime(std::io::Error),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("--events {path}: {error}", path = path.display())]
    Events {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{path} cannot be written: {error}", path = path.display())]
    Write {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{path} is there and stays; give another --out, or move it away", path = path.display())]
    Exists { path: PathBuf },
    #[error("{path}: {reason}", path = path.display())]
    Page { path: PathBuf, reason: String },
    #[error("stdout: {0}")]
    Stdout(std::io::Error),
    #[error("the selftest cannot be carried out: {0}")]
    Selftest(String),
    #[error("--models: {0}")]
    Models(ModelError),
    #[error("the bundled models do not load: {0}")]
    BundledModels(ModelError),
}

impl UsageError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::SameName { .. }
            | Self::PageName { .. }
            | Self::ResumeWithoutJson
            | Self::OutFolder { .. }
            | Self::Line { .. }
            | Self::Events { .. }
            | Self::Write { .. }
            | Self::Exists { .. }
            | Self::Page { .. }
            | Self::Stdout(_)
            | Self::Models(_) => ExitStatus::Usage,
            Self::Client(ClientError::Refused(_)) => ExitStatus::PagesFailed,
            Self::Client(ClientError::Nobody { .. } | ClientError::Broken(_)) => {
                ExitStatus::Service
            }
            Self::Serve(ServeError::Config(_) | ServeError::Panel(_) | ServeError::Web(_)) => {
                ExitStatus::Usage
            }
            Self::Serve(ServeError::Spool(_) | ServeError::System(_)) => ExitStatus::Service,
            Self::BundledModels(_) | Self::Runtime(_) | Self::Selftest(_) => ExitStatus::Bug,
        }
    }
}

/// Carries out the command; `heap` is the process's allocator.
pub fn run(cli: &Cli, heap: &Counting) -> ExitStatus {
    let done = match &cli.command {
        Command::Digitize(arguments) => batch::digitize(arguments, heap),
        Command::Receive(arguments) => receive::receive(arguments),
        Command::Serve(arguments) => serve::serve(arguments),
        Command::Export(arguments) => export::export(arguments),
        Command::Doctor(arguments) => doctor::doctor(arguments),
        Command::Status(arguments) => service::status(arguments),
        Command::Capture(arguments) => service::capture(arguments),
        Command::Spool(arguments) => service::spool(arguments),
        Command::Config(command) => config::config(command),
        Command::Selftest(arguments) => selftest::selftest(arguments),
        Command::Testpage(arguments) => testpage::testpage(arguments),
        Command::Devices(arguments) => devices::devices(arguments),
        Command::Man(arguments) => manual::man(arguments),
        Command::Completions(arguments) => manual::completions(arguments),
    };
    done.unwrap_or_else(|error| {
        console::complain(&error.to_string());
        error.status()
    })
}

/// The bundled nets, or those in a folder.
fn load_nets(folder: Option<&Path>, threads: usize) -> Result<TractNets, UsageError> {
    match folder {
        Some(folder) => ModelFiles::read(folder)
            .and_then(|files| TractNets::load(files, threads))
            .map_err(UsageError::Models),
        None => TractNets::load(ModelFiles::bundled(), threads).map_err(UsageError::BundledModels),
    }
}

/// One page out of its file's bytes, at the usual options, and how much smaller it was read.
fn digitize_one(
    bytes: &[u8],
    nets: &TractNets,
    clock: &mut clock::Clock,
) -> Result<(Record, usize), String> {
    clock.begin("read");
    let (image, reduction) = work::decode(bytes).map_err(|fault| fault.to_string())?;
    clock.end();
    let record = crate::digitize::digitize(&image, nets, &Options::usual(), clock);
    clock.end();
    Ok((record.map_err(|error| error.to_string())?, reduction))
}

/// One line on stdout.
fn write_json(value: &impl Serialize) -> Result<(), UsageError> {
    let text = serde_json::to_string(value).map_err(|error| UsageError::Stdout(error.into()))?;
    writeln!(std::io::stdout().lock(), "{text}").map_err(UsageError::Stdout)
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Panel => "panel",
        Role::Rhythm => "rhythm",
    }
}
