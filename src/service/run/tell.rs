//! What the service says, and what it shows: lines of the log, the report, the light.
//!
//! A line of the log is a level, a word for programs, the job where it is about one, and a sentence.
//! Nothing of a page, no reference and no file's name is in it. Each event with what was decided can
//! be noted as JSON, a line each, so that a run can be replayed.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Service;
use crate::deliver::spool::{JobId, Verdict};
use crate::memory;
use crate::nets::Nets;
use crate::service::beats::Part;
use crate::service::{Action, Condition, Event, Seen, clock, notify};
use crate::web::{MemoryReport, SourceReport, SpoolReport};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// One line of the log.
pub struct Line<'a> {
    pub level: Level,
    /// A word that stays the same, for programs.
    pub event: &'static str,
    pub job: Option<JobId>,
    pub text: &'a str,
}

/// An event with all that the decision hung on, and the decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub event: Event,
    pub seen: Seen,
    pub now_ms: u64,
    pub random: u64,
    pub actions: Vec<Action>,
}

type Say = Box<dyn Fn(&Line)>;
type Note = Box<dyn FnMut(&Entry)>;

/// Where lines and entries go.
pub struct Voice {
    say: Say,
    note: Option<Note>,
}

impl Voice {
    pub fn new(say: impl Fn(&Line) + 'static) -> Self {
        Self {
            say: Box::new(say),
            note: None,
        }
    }

    /// Notes each event as well.
    #[must_use]
    pub fn noting(mut self, note: impl FnMut(&Entry) + 'static) -> Self {
        self.note = Some(Box::new(note));
        self
    }

    pub(super) fn say(
        &mut self,
        level: Level,
        event: &'static str,
        job: Option<JobId>,
        text: &str,
    ) {
        (self.say)(&Line {
            level,
            event,
            job,
            text,
        });
    }

    pub(super) fn note(
        &mut self,
        event: Event,
        seen: &Seen,
        now_ms: u64,
        random: u64,
        actions: &[Action],
    ) {
        let Some(note) = &mut self.note else { return };
        // Looks at which nothing was decided are most of a device's life, and change nothing.
        if event == Event::Looked && actions.is_empty() {
            return;
        }
        note(&Entry {
            event,
            seen: seen.clone(),
            now_ms,
            random,
            actions: actions.to_vec(),
        });
    }
}

/// For the spread of tries among devices; nothing secret hangs on it.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl SourceReport {
    /// A source that was not looked at yet.
    pub(super) fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            works: true,
            found: "not looked at yet".to_owned(),
        }
    }
}

impl<N: Nets + Send + Sync + 'static> Service<N> {
    pub(super) fn show(&mut self, condition: Condition) {
        let word = condition.name();
        notify::status(word);
        self.panel.show(condition);
        let (level, text) = match condition {
            Condition::Ready | Condition::Working => (Level::Info, word.to_owned()),
            Condition::Warning => (Level::Warning, self.state_in_words(word)),
            Condition::Error => (Level::Error, self.state_in_words(word)),
        };
        self.voice.say(level, "condition", None, &text);
    }

    fn state_in_words(&self, word: &str) -> String {
        let reasons = self.reasons();
        if reasons.is_empty() {
            return word.to_owned();
        }
        format!("{word}: {}", reasons.join("; "))
    }

    pub(super) fn count_finished(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Digitized => self.report.counts.digitized += 1,
            Verdict::Rejected => self.report.counts.rejected += 1,
        }
    }

    /// Feeds the watchdog, unless a part stands still.
    pub(super) fn feed(&mut self) {
        let now_ms = self.now_ms();
        self.beats
            .counted(Part::Capture, self.capture.stop.looks(), now_ms);
        self.beats
            .counted(Part::Digitize, self.pulse.count(), now_ms);
        let stuck = self.beats.stuck(now_ms);
        let names: Vec<String> = stuck.iter().map(|part| self.name(*part)).collect();
        if names.is_empty() {
            notify::alive();
        }
        if names != self.report.stuck {
            if !names.is_empty() {
                let text = format!("stands still: {}", names.join(", "));
                self.voice.say(Level::Error, "stuck", None, &text);
            }
            self.report.stuck = names;
            self.reports.send_replace(Arc::new(self.report.clone()));
        }
    }

    fn name(&self, part: Part) -> String {
        match part {
            Part::Capture => "capture".to_owned(),
            Part::Digitize => "digitize".to_owned(),
            Part::Destination(k) => format!("link to {}", self.report.destinations[k].name),
        }
    }

    /// What is not as it should be, in words.
    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        reasons.extend(self.trouble.clone());
        reasons.extend(self.disk_trouble.clone());
        reasons.extend(self.shortage.clone());
        reasons.extend(self.panel.trouble.clone());
        for source in self.report.sources.iter().filter(|source| !source.works) {
            reasons.push(format!("{} does not work: {}", source.name, source.found));
        }
        for (k, to) in self.report.destinations.iter().enumerate() {
            if self.state.is_degraded(k) {
                reasons.push(format!("{} takes no records: they queue up", to.name));
            }
        }
        if !clock::is_plausible() {
            reasons.push("the clock was never set".to_owned());
        }
        reasons
    }

    /// Makes what is known now known to those who ask.
    pub(super) fn publish(&mut self, seen: &Seen) {
        let totals = self.spool.totals();
        let condition = self.state.condition(seen);
        self.report.spool = SpoolReport {
            jobs: totals.jobs,
            to_digitize: totals.to_digitize,
            to_deliver: totals.to_deliver,
            parked: totals.parked,
            held: totals.held,
            quarantined_files: totals.quarantined_files,
            bytes: totals.bytes,
        };
        for (k, source) in self.report.sources.iter_mut().enumerate() {
            source.works = !self.state.is_source_unwell(k);
        }
        for (k, to) in self.report.destinations.iter_mut().enumerate() {
            to.degraded = self.state.is_degraded(k);
        }
        self.report.condition = condition.name().to_owned();
        self.report.takes_pages = condition != Condition::Error;
        self.report.uptime_s = self.began.elapsed().as_secs();
        self.report.clock_synced = clock::now().wall_synced;
        self.report.reasons = self.reasons();
        self.report.memory =
            memory::resident().map_or_else(MemoryReport::default, |resident| MemoryReport {
                resident_bytes: resident.now_bytes,
                peak_bytes: resident.peak_bytes,
            });
        self.reports.send_replace(Arc::new(self.report.clone()));
    }
}
