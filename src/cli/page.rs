//! One page, from its file to its outputs.
//!
//! In: a `PageFile` and the `Desk` with everything a batch shares. Out: a `PageReport`. Whatever goes
//! wrong, a panic of our own included, is this page's outcome and no other's; a page that could not
//! be read still has its report, so that nothing is missed in silence.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::clock::{Clock, Telling};
use crate::capture::{self, PageFile, Refused};
use crate::deliver::{
    self, Account, DeliverError, Delivery, Finished, Format, GivenOptions, ModelUsed,
    OVERLAY_ENDING, Source, Work,
};
use crate::digitize::{NetError, Options, digitize};
use crate::limits;
use crate::memory::{self, Budget, Counting};
use crate::nn::{MacsDone, TractNets};
use crate::page::RawImage;
use crate::record::{Finding, Record, Severity, Status};
use crate::service::work::panic_text;

/// Whether pages that are finished are done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Again,
    Once,
}

/// What the pages of a batch share.
pub struct Desk<'a> {
    pub nets: &'a TractNets,
    pub options: Options,
    pub given: GivenOptions,
    pub models: Vec<ModelUsed>,
    pub formats: Vec<&'static dyn Format>,
    pub out: PathBuf,
    pub finish: Finish,
    pub budget: Budget,
    pub thread_count: usize,
    pub telling: Telling,
    pub heap: &'a Counting,
}

/// How a page came out.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Delivered {
        status: Status,
        layout: Option<String>,
    },
    /// An earlier run had finished it.
    Skipped { status: Status },
    /// It could not be read or written.
    Failed { reason: String },
    /// Our own fault.
    Bug { reason: String },
}

/// What is told of a page.
#[derive(Clone, Debug)]
pub struct PageReport {
    pub id: Option<String>,
    pub path: PathBuf,
    pub outcome: Outcome,
    pub findings: Vec<Finding>,
    pub seconds: f64,
    pub files: Vec<PathBuf>,
}

/// Why a page gave no record.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("{0}")]
    Deliver(#[from] DeliverError),
    #[error("{0}")]
    Net(#[from] NetError),
}

impl Desk<'_> {
    /// Does a page, or tells why there is none.
    pub fn work(&self, page: &Result<PageFile, Refused>) -> PageReport {
        match page {
            Ok(page) => self.guard(page, |account, clock| self.try_page(page, account, clock)),
            Err(refused) => self.fail_unseen(refused),
        }
    }

    /// Whatever `work` comes to on `page`, a panic included, as a report.
    fn guard(
        &self,
        page: &PageFile,
        work: impl FnOnce(&mut Account, &mut Clock) -> Result<PageReport, PageError>,
    ) -> PageReport {
        let mut clock = Clock::start(self.telling);
        let mut account = self.account(&page.path, page.page_index);
        let macs = self.nets.macs_done();
        self.heap.forget_peak();
        let worked = catch_unwind(AssertUnwindSafe(|| work(&mut account, &mut clock)));
        let mut report = match worked {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => {
                let (reason, id) = (error.to_string(), Some(page.id.clone()));
                let outcome = match error {
                    PageError::Refused(_) | PageError::Deliver(_) => Outcome::Failed { reason },
                    PageError::Net(_) => Outcome::Bug { reason },
                };
                account.work = self.work_done(&clock, macs);
                self.fail(id, &page.path, outcome, account)
            }
            Err(panic) => {
                let outcome = Outcome::Bug {
                    reason: panic_text(panic.as_ref()),
                };
                account.work = self.work_done(&clock, macs);
                self.fail(Some(page.id.clone()), &page.path, outcome, account)
            }
        };
        report.seconds = clock.seconds();
        report
    }

    fn try_page(
        &self,
        page: &PageFile,
        account: &mut Account,
        clock: &mut Clock,
    ) -> Result<PageReport, PageError> {
        let macs = self.nets.macs_done();
        account.source.sha256 = Some(capture::content_hash(&page.path)?);
        if let Some(status) = self.finished(&page.id, account) {
            return Ok(self.report(page, Outcome::Skipped { status }));
        }
        clock.begin("read");
        let image = self.read(page, account)?;
        clock.end();
        let mut record = digitize(&image, self.nets, &self.options, clock)?;
        clock.end();
        let overlay = self.draw(page, &image, &mut record, account, clock)?;
        drop(image);
        account.work = self.work_done(clock, macs);
        let delivery = Delivery {
            id: &page.id,
            record: &record,
            account,
        };
        let mut files = deliver::deliver(&delivery, &self.formats, &self.out)?;
        files.extend(overlay);
        let Record {
            status,
            layout,
            findings,
            ..
        } = record;
        let report = self.report(page, Outcome::Delivered { status, layout });
        Ok(PageReport {
            findings,
            files,
            ..report
        })
    }

    fn report(&self, page: &PageFile, outcome: Outcome) -> PageReport {
        let (id, path) = (Some(page.id.clone()), page.path.clone());
        PageReport {
            id,
            path,
            outcome,
            findings: Vec::new(),
            seconds: 0.0,
            files: Vec::new(),
        }
    }

    /// The status that an earlier run gave this very page, if its files are all there.
    fn finished(&self, id: &str, account: &Account) -> Option<Status> {
        if self.finish == Finish::Again {
            return None;
        }
        let there = |ending: &str| deliver::place(&self.out, id, ending).is_file();
        let text = std::fs::read_to_string(deliver::place(&self.out, id, "json")).ok()?;
        let finished = Finished::parse(&text).filter(|finished| finished.answers(account))?;
        let due = |format: &&dyn Format| {
            finished.status != Status::Rejected || format.holds() == deliver::Holds::Report
        };
        let mut endings = self
            .formats
            .iter()
            .copied()
            .filter(due)
            .flat_map(Format::endings);
        let complete = endings.all(|ending| there(ending));
        (complete && (!self.given.overlay || there(OVERLAY_ENDING))).then_some(finished.status)
    }

    /// Decodes the page at the largest size for which the memory is there.
    fn read(&self, page: &PageFile, account: &mut Account) -> Result<RawImage, PageError> {
        let header = capture::header(page)?;
        let plan = header.plan(self.room_bytes(), self.digitize_bytes());
        let plan = plan.map_err(|fault| Refused {
            path: page.path.clone(),
            fault,
        })?;
        account.source.reduction = Some(plan.reduction);
        Ok(capture::decode(page, &header, plan)?)
    }

    /// What digitizing takes beside the page and the loaded nets.
    fn digitize_bytes(&self) -> u64 {
        limits::digitize_bytes(self.thread_count) as u64
    }

    fn room_bytes(&self) -> u64 {
        self.budget.room_bytes(self.resident_bytes())
    }

    /// Where the system does not tell, what the heap holds is the best that is known.
    fn resident_bytes(&self) -> u64 {
        memory::resident().map_or(self.heap.held_bytes() as u64, |resident| resident.now_bytes)
    }

    /// Draws the overlay where it is asked for; too little memory for it is a finding, since the
    /// signals are there without it.
    fn draw(
        &self,
        page: &PageFile,
        image: &RawImage,
        record: &mut Record,
        account: &Account,
        clock: &mut Clock,
    ) -> Result<Option<PathBuf>, PageError> {
        if !self.given.overlay {
            return Ok(None);
        }
        clock.begin("overlay");
        let needed = deliver::overlay_bytes(image, record);
        if let Err(over) = self
            .budget
            .admit("the overlay", needed, self.resident_bytes())
        {
            record.findings.push(Finding::new(
                Severity::Note,
                "no_overlay",
                None,
                over.to_string(),
            ));
            deliver::remove_overlay(&page.id, &self.out)?;
            return Ok(None);
        }
        let delivery = Delivery {
            id: &page.id,
            record,
            account,
        };
        let path = deliver::deliver_overlay(&delivery, image, &self.out)?;
        clock.end();
        Ok(Some(path))
    }

    fn account(&self, path: &Path, page_index: Option<usize>) -> Account {
        let file = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        Account {
            source: Source {
                file: file.unwrap_or_default(),
                sha256: None,
                page: page_index.map(|index| index + 1),
                reduction: None,
            },
            options: self.given.clone(),
            models: self.models.clone(),
            work: Work::default(),
            error: None,
        }
    }

    fn work_done(&self, clock: &Clock, before: MacsDone) -> Work {
        let after = self.nets.macs_done();
        let gmac = |after: u64, before: u64| ((after - before) as f64 / 1e6).round() / 1e3;
        Work {
            stages: clock.stages(),
            seconds: clock.seconds(),
            labels_gmac: gmac(after.labels, before.labels),
            trace_gmac: gmac(after.trace, before.trace),
            peak_memory_mib: memory::resident().map(|resident| memory::in_mib(resident.peak_bytes)),
            peak_heap_mib: Some(memory::in_mib(self.heap.peak_bytes() as u64)),
        }
    }

    /// For what was refused before it had a name of its own.
    fn fail_unseen(&self, refused: &Refused) -> PageReport {
        let stem = refused.path.file_stem().and_then(|stem| stem.to_str());
        let id = stem.filter(|_| refused.path.is_file()).map(str::to_owned);
        let account = self.account(&refused.path, None);
        self.fail(
            id,
            &refused.path,
            Outcome::Failed {
                reason: refused.to_string(),
            },
            account,
        )
    }

    /// Writes the report of a page without a record, if there is a file to speak of, and removes
    /// what an earlier run left for it.
    fn fail(
        &self,
        id: Option<String>,
        path: &Path,
        outcome: Outcome,
        mut account: Account,
    ) -> PageReport {
        let (code, reason) = match &outcome {
            Outcome::Bug { reason } => ("bug", reason.clone()),
            Outcome::Failed { reason } => ("unreadable", reason.clone()),
            Outcome::Delivered { .. } | Outcome::Skipped { .. } => {
                unreachable!("a page that was delivered did not fail")
            }
        };
        account.error = Some(reason.clone());
        let finding = Finding::new(Severity::Reject, code, None, reason);
        let record = Record::without_page(self.options.sample_rate, finding);
        let mut files = Vec::new();
        if let Some(id) = id.as_deref().filter(|_| path.is_file()) {
            let delivery = Delivery {
                id,
                record: &record,
                account: &account,
            };
            let written = deliver::remove_overlay(id, &self.out)
                .and_then(|()| deliver::deliver(&delivery, &self.formats, &self.out));
            match written {
                Ok(written) => files = written,
                // The page's own reason is told by the caller; this one is a second fault.
                Err(error) => super::console::complain(&error.to_string()),
            }
        }
        let findings = record.findings;
        PageReport {
            id,
            path: path.to_owned(),
            outcome,
            findings,
            seconds: 0.0,
            files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::ModelFiles;

    #[test]
    fn a_panic_is_one_pages_outcome_and_its_report_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.png");
        std::fs::write(&path, b"?").unwrap();
        let heap = Counting::new();
        let nets = TractNets::load(ModelFiles::bundled(), 1).unwrap();
        let desk = Desk {
            nets: &nets,
            options: Options::usual(),
            given: GivenOptions {
                fs_hz: 500.0,
                speed_mm_s: None,
                gain_mm_mv: None,
                layout: None,
                formats: Vec::new(),
                overlay: false,
            },
            models: Vec::new(),
            formats: Vec::new(),
            out: folder.path().to_owned(),
            finish: Finish::Again,
            budget: Budget::of_mib(limits::MEMORY_BUDGET_MIB),
            thread_count: 1,
            telling: Telling::Nothing,
            heap: &heap,
        };
        let page = PageFile {
            id: "page".to_owned(),
            path,
            page_index: None,
        };
        let report = desk.guard(&page, |_, _| panic!("a bug of ours"));
        let reason = "a bug of ours".to_owned();
        assert_eq!(report.outcome, Outcome::Bug { reason });
        let text = std::fs::read_to_string(folder.path().join("page.json")).unwrap();
        assert!(text.contains("a bug of ours"), "{text}");
    }
}
