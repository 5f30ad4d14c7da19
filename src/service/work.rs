//! One accepted page becomes one record.
//!
//! In: the page's bytes as they were accepted, the nets. Out: the record's bytes, as they are
//! delivered, and a line for the log. A page that no picture can be read from, and one that was
//! refused, have a record too: it says why. A panic of ours is caught here, and is the caller's to
//! count. Nothing of the page itself is in the line.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::capture::{self, Fault};
use crate::deliver::encode_native;
use crate::deliver::spool::Verdict;
use crate::digitize::{Observer, Options, Stage, digitize};
use crate::limits;
use crate::memory;
use crate::nets::{NetError, Nets, Picture, RawMap};
use crate::page::RawImage;
use crate::record::{Finding, Origin, Record, Severity, Status};

/// What became of a page.
pub struct Finished {
    pub verdict: Verdict,
    pub record: Vec<u8>,
    pub line: String,
}

/// A page on which our own code failed.
#[derive(Debug, thiserror::Error)]
#[error("digitizing failed by a fault of our own: {reason}")]
pub struct Died {
    pub reason: String,
}

/// Counts what is done of a page, so that others see it move.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Observer for &Pulse {
    fn begins(&mut self, _stage: Stage) {
        self.beat();
    }
}

/// Nets whose every picture is counted.
struct Counted<'a, N>(&'a N, &'a Pulse);

impl<N: Nets> Nets for Counted<'_, N> {
    fn labels(&self, picture: &Picture) -> Result<Vec<RawMap>, NetError> {
        self.1.beat();
        self.0.labels(picture)
    }

    fn traces<T: Send>(
        &self,
        count: usize,
        draw: &(dyn Fn(usize) -> Picture + Sync),
        read: &(dyn Fn(usize, RawMap) -> T + Sync),
    ) -> Result<Vec<T>, NetError> {
        let draw = |k| {
            self.1.beat();
            draw(k)
        };
        self.0.traces(count, &draw, read)
    }
}

/// Digitizes the page in `bytes`, which are let go of once they are a picture.
pub fn work(
    bytes: Vec<u8>,
    nets: &impl Nets,
    options: &Options,
    origin: Origin,
    pulse: &Pulse,
) -> Result<Finished, Died> {
    let nets = Counted(nets, pulse);
    let done = catch_unwind(AssertUnwindSafe(|| match decode_and_drop(bytes) {
        Ok(image) => digitize(&image, &nets, options, &mut &*pulse).map_err(|e| e.to_string()),
        Err(fault) => Ok(rejection(options, "unreadable", fault.to_string())),
    }));
    let record = match done {
        Ok(Ok(record)) => record,
        Ok(Err(reason)) => return Err(Died { reason }),
        Err(panic) => {
            return Err(Died {
                reason: panic_text(panic.as_ref()),
            });
        }
    };
    finished(record, origin).map_err(|reason| Died { reason })
}

/// The record of a page that is given up.
pub fn given_up(options: &Options, origin: Origin, reason: String) -> Result<Finished, Died> {
    let record = rejection(options, "bug", reason);
    finished(record, origin).map_err(|reason| Died { reason })
}

fn finished(mut record: Record, origin: Origin) -> Result<Finished, String> {
    record.origin = Some(origin);
    let codes: Vec<&str> = record.findings.iter().map(|f| f.code.as_str()).collect();
    let (verdict, word) = match record.status {
        Status::Ok => (Verdict::Digitized, "ok"),
        Status::Warning => (Verdict::Digitized, "warning"),
        Status::Rejected => (Verdict::Rejected, "rejected"),
    };
    let layout = record.layout.as_deref().unwrap_or("no layout");
    Ok(Finished {
        verdict,
        record: encode_native(&record).map_err(|error| error.to_string())?,
        line: format!("{word}, {layout} {}", codes.join(" ")),
    })
}

fn decode_and_drop(bytes: Vec<u8>) -> Result<RawImage, Fault> {
    decode(&bytes).map(|(image, _)| image)
}

/// The picture in a file's bytes, as large as the memory left allows, and how much smaller it is.
pub fn decode(bytes: &[u8]) -> Result<(RawImage, usize), Fault> {
    let header = capture::header_in(bytes)?;
    let budget = memory::Budget::of_mib(limits::MEMORY_BUDGET_MIB);
    let now = memory::resident().map_or(0, |resident| resident.now_bytes);
    let beside = limits::digitize_bytes(1);
    let plan = header.plan(budget.room_bytes(now), beside as u64)?;
    Ok((capture::decode_in(bytes, &header, plan)?, plan.reduction))
}

fn rejection(options: &Options, code: &str, reason: String) -> Record {
    let finding = Finding::new(Severity::Reject, code, None, reason);
    Record::without_page(options.sample_rate, finding)
}

/// What a panic that was caught had to say.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic")
        .to_owned()
}
