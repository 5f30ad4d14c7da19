//! What is said while a batch runs: a bar on a terminal, one line for each page that needs a look,
//! JSON lines on stdout, a summary at the end.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::page::{Outcome, PageReport};
use crate::memory;
use crate::record::{Severity, Status};

/// Says on stderr what is wrong.
pub fn complain(message: &str) {
    eprintln!("leadscan: {message}");
}

/// Says a line on stdout; who reads no more has heard enough.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{}", line.trim_end());
}

/// Whether stdout carries JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    None,
    Json,
}

/// Pages of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub ok: usize,
    pub warning: usize,
    pub rejected: usize,
    pub failed: usize,
    pub bugs: usize,
    /// Of the above, those that an earlier run had finished.
    pub skipped: usize,
}

impl Tally {
    pub fn count(&mut self, outcome: &Outcome) {
        let status = match outcome {
            Outcome::Delivered { status, .. } => *status,
            Outcome::Skipped { status } => {
                self.skipped += 1;
                *status
            }
            Outcome::Failed { .. } => return self.failed += 1,
            Outcome::Bug { .. } => return self.bugs += 1,
        };
        match status {
            Status::Ok => self.ok += 1,
            Status::Warning => self.warning += 1,
            Status::Rejected => self.rejected += 1,
        }
    }
}

/// Where messages go while a batch runs.
pub struct Console {
    bar: Option<ProgressBar>,
    lines: Lines,
    page_count: usize,
}

impl Console {
    pub fn new(page_count: usize, lines: Lines) -> Self {
        let bar = (page_count > 1 && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(page_count as u64);
            let style = "{bar:32} {pos} of {len}  {eta} left  {msg}";
            // The template is ours; a bar in the default style is no worse.
            bar.set_style(
                ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()),
            );
            bar
        });
        Self {
            bar,
            lines,
            page_count,
        }
    }

    pub fn begins(&self, name: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(name.to_owned());
        }
    }

    /// Tells how a page came out; fails where stdout is gone.
    pub fn ends(&self, report: &PageReport) -> std::io::Result<()> {
        if let Some(line) = self.line(report) {
            match &self.bar {
                Some(bar) => bar.suspend(|| eprintln!("{line}")),
                None => eprintln!("{line}"),
            }
        }
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        match self.lines {
            Lines::None => Ok(()),
            Lines::Json => write_json_line(report),
        }
    }

    /// A page that is fine is worth a line only where it is the only one.
    fn line(&self, report: &PageReport) -> Option<String> {
        let file = report.path.display();
        Some(match &report.outcome {
            Outcome::Failed { reason } => format!("leadscan: {reason}"),
            Outcome::Bug { reason } => {
                format!("leadscan: {file}: a bug, please report it: {reason}")
            }
            Outcome::Delivered {
                status: Status::Rejected,
                ..
            } => {
                format!("leadscan: {file}: rejected: {}", gravest(report))
            }
            Outcome::Skipped { .. } | Outcome::Delivered { .. } if self.page_count > 1 => {
                return None;
            }
            Outcome::Skipped { status } => format!("{file}: {}, finished before", name(*status)),
            Outcome::Delivered { status, layout } => {
                let layout = layout.as_deref().unwrap_or("no layout");
                format!(
                    "{file}: {}, {layout}, {:.1} s",
                    name(*status),
                    report.seconds
                )
            }
        })
    }

    /// The summary of a batch of more than one page.
    pub fn finish(&self, tally: &Tally, seconds: f64) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.page_count > 1 {
            eprintln!("{}", summary(self.page_count, tally, seconds));
        }
    }
}

fn summary(page_count: usize, tally: &Tally, seconds: f64) -> String {
    let Tally {
        ok,
        warning,
        rejected,
        failed,
        bugs,
        skipped,
    } = tally;
    let mut text = format!(
        "{page_count} pages: {ok} ok, {warning} with warnings, {rejected} rejected, {failed} failed"
    );
    for (count, what) in [(*bugs, "bugs"), (*skipped, "finished before")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text.push_str(&format!("; {seconds:.1} s"));
    if let Some(resident) = memory::resident() {
        text.push_str(&format!(
            ", at most {} MiB",
            memory::in_mib(resident.peak_bytes)
        ));
    }
    text
}

fn gravest(report: &PageReport) -> &str {
    let reject = report
        .findings
        .iter()
        .find(|finding| finding.severity == Severity::Reject);
    reject.map_or("no reason was given", |finding| &finding.message)
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Rejected => "rejected",
    }
}

/// One page on stdout.
#[derive(Serialize)]
struct Line<'a> {
    id: Option<&'a str>,
    file: String,
    /// `delivered`, `skipped`, `failed` or `bug`.
    outcome: &'static str,
    status: Status,
    layout: Option<&'a str>,
    findings: &'a [crate::record::Finding],
    error: Option<&'a str>,
    seconds: f64,
    files: Vec<String>,
}

impl<'a> Line<'a> {
    fn of(report: &'a PageReport) -> Self {
        let (outcome, status, layout, error) = match &report.outcome {
            Outcome::Delivered { status, layout } => {
                ("delivered", *status, layout.as_deref(), None)
            }
            Outcome::Skipped { status } => ("skipped", *status, None, None),
            Outcome::Failed { reason } => ("failed", Status::Rejected, None, Some(reason.as_str())),
            Outcome::Bug { reason } => ("bug", Status::Rejected, None, Some(reason.as_str())),
        };
        Self {
            id: report.id.as_deref(),
            file: report.path.display().to_string(),
            outcome,
            status,
            layout,
            findings: &report.findings,
            error,
            seconds: report.seconds,
            files: report
                .files
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        }
    }
}

fn write_json_line(report: &PageReport) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &Line::of(report))?;
    writeln!(out)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_every_page() {
        let mut tally = Tally::default();
        let delivered = |status| Outcome::Delivered {
            status,
            layout: None,
        };
        for outcome in [
            delivered(Status::Ok),
            delivered(Status::Rejected),
            Outcome::Skipped {
                status: Status::Warning,
            },
            Outcome::Failed {
                reason: String::new(),
            },
            Outcome::Bug {
                reason: String::new(),
            },
        ] {
            tally.count(&outcome);
        }
        let text = summary(5, &tally, 1.25);
        let expected = "5 pages: 1 ok, 1 with warnings, 1 rejected, 1 failed, 1 bugs, \
                        1 finished before; 1.2 s";
        assert!(text.starts_with(expected), "{text}");
    }
}
