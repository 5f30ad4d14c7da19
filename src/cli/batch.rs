//! `leadscan digitize`: everything that can be known to be wrong is found before work begins, then
//! the pages are done one after another.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use super::arguments::DigitizeArguments;
use super::clock::Telling;
use super::console::{self, Console, Lines, Tally};
use super::page::{Desk, Finish, Outcome};
use super::{ExitStatus, UsageError, load_nets};
use crate::capture::{self, PageFile, Refused};
use crate::deliver::{Format, ModelUsed};
use crate::memory::{Budget, Counting};
use crate::record::Status;

/// Digitizes all pages that the arguments name.
pub fn digitize(arguments: &DigitizeArguments, heap: &Counting) -> Result<ExitStatus, UsageError> {
    let formats = arguments.formats();
    if arguments.resume && !formats.iter().any(|format| format.name() == "json") {
        return Err(UsageError::ResumeWithoutJson);
    }
    let pages = capture::find(&arguments.pages);
    check_names(&pages, &formats)?;
    let nets = load_nets(arguments.models.as_deref(), arguments.thread_count())?;
    std::fs::create_dir_all(&arguments.out).map_err(|error| UsageError::OutFolder {
        path: arguments.out.clone(),
        error,
    })?;
    let used = |card: &crate::nn::Card| ModelUsed {
        name: card.name.clone(),
        sha256: card.sha256.clone(),
    };
    let desk = Desk {
        nets: &nets,
        options: arguments.options(),
        given: arguments.given(),
        models: nets.cards().map(used).to_vec(),
        formats,
        out: arguments.out.clone(),
        finish: if arguments.resume {
            Finish::Once
        } else {
            Finish::Again
        },
        budget: Budget::of_mib(arguments.memory_budget),
        thread_count: arguments.thread_count(),
        telling: if arguments.stages {
            Telling::Stages
        } else {
            Telling::Nothing
        },
        heap,
    };
    let lines = if arguments.json {
        Lines::Json
    } else {
        Lines::None
    };
    Ok(work_through(&desk, &pages, lines))
}

/// Every page has a name of its own, which all formats can write.
fn check_names(
    pages: &[Result<PageFile, Refused>],
    formats: &[&'static dyn Format],
) -> Result<(), UsageError> {
    let mut paths: HashMap<&str, &PathBuf> = HashMap::new();
    for PageFile { id, path, .. } in pages.iter().flatten() {
        if let Some(first) = paths.insert(id, path) {
            let (id, first, second) = (id.clone(), first.clone(), path.clone());
            return Err(UsageError::SameName { id, first, second });
        }
        for format in formats {
            if let Err(reason) = format.check_id(id) {
                return Err(UsageError::PageName {
                    id: id.clone(),
                    format: format.name(),
                    reason,
                });
            }
        }
    }
    Ok(())
}

fn work_through(desk: &Desk, pages: &[Result<PageFile, Refused>], lines: Lines) -> ExitStatus {
    let began = Instant::now();
    let console = Console::new(pages.len(), lines);
    let mut tally = Tally::default();
    let mut status = ExitStatus::Done;
    for page in pages {
        if let Ok(page) = page {
            console.begins(&page.id);
        }
        let report = desk.work(page);
        tally.count(&report.outcome);
        status = status.max(status_of(&report.outcome));
        if let Err(error) = console.ends(&report) {
            console::complain(&format!(
                "stdout: {error}; the rest of the pages is left undone"
            ));
            return status.max(ExitStatus::PagesFailed);
        }
    }
    console.finish(&tally, began.elapsed().as_secs_f64());
    status
}

fn status_of(outcome: &Outcome) -> ExitStatus {
    match outcome {
        Outcome::Delivered { status, .. } | Outcome::Skipped { status } => match status {
            Status::Ok | Status::Warning => ExitStatus::Done,
            Status::Rejected => ExitStatus::PagesFailed,
        },
        Outcome::Failed { .. } => ExitStatus::PagesFailed,
        Outcome::Bug { .. } => ExitStatus::Bug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::format_named;

    fn page(id: &str, path: &str) -> Result<PageFile, Refused> {
        Ok(PageFile {
            id: id.to_owned(),
            path: path.into(),
            page_index: None,
        })
    }

    #[test]
    fn two_pages_of_one_name_are_refused() {
        let error = check_names(&[page("a", "x/a.png"), page("a", "x/a.jpg")], &[]).unwrap_err();
        let text = "x/a.png and x/a.jpg would both be written as \"a\"; rename one of them";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.status(), ExitStatus::Usage);
    }

    #[test]
    fn a_name_that_a_format_cannot_write_is_refused() {
        let wfdb = format_named("wfdb").unwrap();
        assert!(check_names(&[page("a b", "a b.png")], &[]).is_ok());
        let error = check_names(&[page("a b", "a b.png")], &[wfdb]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("\"a b\" cannot be written as wfdb"),
            "{error}"
        );
    }
}
