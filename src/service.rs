//! What happens when: when a page is captured, which page is digitized next, which record goes
//! where, how long a line that failed is left alone, what the light shows.
//!
//! In: `Event`s, what the spool and the machine look like (`Seen`), the time, a random number. Out:
//! `Action`s, which `run` carries out. Pure: the same events give the same actions, so that a run can
//! be replayed. One page is captured at a time, one digitized, and one record is on its way to each
//! destination. Destinations are independent: one that fails waits with back-off, the others go on.
//! That a destination fails is said once, and once that it takes records again. A press while a
//! capture is under way is kept, one; more are acknowledged and not kept. Times: milliseconds of a
//! clock that never goes back.

mod beats;
mod bed;
mod capturing;
mod clock;
pub mod config;
mod gate;
mod notify;
pub mod run;
pub mod work;

use serde::{Deserialize, Serialize};

use crate::deliver::link::Backoff;
use crate::deliver::spool::JobId;

use bed::Bed;

pub use clock::{is_plausible as clock_is_plausible, is_synced as clock_is_synced};

/// What the spool has to do, and how things stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The oldest page without a record.
    pub to_digitize: Option<JobId>,
    /// The next record for each destination.
    pub to_send: Vec<Option<JobId>>,
    /// No page would be accepted now.
    pub is_full: bool,
    /// Something that needs a person soon: the spool fills, the clock was never set.
    pub is_strained: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Time went by, or the spool changed.
    Looked,
    /// Somebody wants the page that lies at this source.
    Wanted { source: usize },
    /// Somebody wants no page after all.
    Cancelled,
    /// A page is durable here.
    Accepted,
    /// A capture ended.
    Captured(Captured),
    /// A source was looked at.
    Checked { source: usize, is_well: bool },
    /// The page's record is in the spool, or its attempt has failed.
    Digitized,
    /// The disk did not let a page be begun.
    NotBegun,
    /// A record's delivery ended.
    Sent {
        destination: usize,
        outcome: Outcome,
    },
    /// The service is told to end.
    End,
    /// The machine is to be switched off.
    SwitchOff,
}

/// How a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Captured {
    /// Pages were accepted, or were here already.
    Pages,
    /// It looks like the last page, or is blurred: a second press takes it all the same.
    Doubtful,
    /// No page, or one that cannot be read, or that there is no room for.
    Refused,
    Cancelled,
    /// The source does not work.
    Failed,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Delivered,
    /// Refused by the other end: other records may fare better at once.
    Refused,
    /// The line or the other end does not work.
    Failed,
}

/// How the device is, in the words of the light, the status and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    Ready,
    /// A page is captured or digitized.
    Working,
    /// It works, and somebody should look after it: queue, clock, disk.
    Warning,
    /// It takes no pages.
    Error,
}

impl Condition {
    /// The word for it, wherever it is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Working => "working",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What is shown for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// The page is safe: it can be taken away.
    Accepted,
    /// Somebody pressed while a page was captured: that was seen.
    Busy,
    /// Look at the page, and press again.
    Refused,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    Capture {
        source: usize,
        even_if_doubtful: bool,
    },
    GiveUpCapture,
    CheckSource {
        source: usize,
    },
    Show(Condition),
    Signal(Signal),
    Digitize(JobId),
    Send {
        destination: usize,
        job: JobId,
    },
    /// To be told once each: records queue up, and they have drained.
    Degraded {
        destination: usize,
    },
    Restored {
        destination: usize,
    },
    /// Nothing is under way any more; the machine is to be switched off, or not.
    Ended {
        switch_off: bool,
    },
}

/// A disk that did not take what it was given.
#[derive(Clone, Debug)]
struct Disk {
    wait_until_ms: u64,
    backoff: Backoff,
}

/// A destination, as far as decisions go.
#[derive(Clone, Debug)]
struct Line {
    is_sending: bool,
    is_degraded: bool,
    wait_until_ms: u64,
    backoff: Backoff,
}

/// Whether the service goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    On,
    Ending { switch_off: bool },
}

/// The service's state beside its spool.
#[derive(Clone, Debug)]
pub struct State {
    is_digitizing: bool,
    disk: Disk,
    course: Course,
    shown: Option<Condition>,
    bed: Bed,
    lines: Vec<Line>,
}

impl State {
    pub fn new(source_count: usize, destination_count: usize) -> Self {
        let line = Line {
            is_sending: false,
            is_degraded: false,
            wait_until_ms: 0,
            backoff: Backoff::deliveries(),
        };
        Self {
            is_digitizing: false,
            disk: Disk {
                wait_until_ms: 0,
                backoff: Backoff::deliveries(),
            },
            course: Course::On,
            shown: None,
            bed: Bed::new(source_count),
            lines: vec![line; destination_count],
        }
    }

    /// What to do about an event; `random` spreads the tries of many devices.
    pub fn step(&mut self, event: Event, seen: &Seen, now_ms: u64, random: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Looked => {}
            // There is nowhere to keep it: said before the paper is moved.
            Event::Wanted { .. } if seen.is_full => actions.push(Action::Signal(Signal::Refused)),
            Event::Wanted { source } => actions.extend(self.bed.wanted(source, now_ms)),
            Event::Cancelled => actions.extend(self.bed.cancelled()),
            Event::Accepted => actions.push(Action::Signal(Signal::Accepted)),
            Event::Captured(captured) => {
                actions.extend(self.bed.captured(captured, now_ms, random));
            }
            Event::Checked { source, is_well } => {
                self.bed.checked(source, is_well, now_ms, random);
            }
            Event::Digitized => {
                self.is_digitizing = false;
                self.disk.backoff.reset();
            }
            Event::NotBegun => {
                self.is_digitizing = false;
                self.disk.wait_until_ms = now_ms + self.disk.backoff.next_jittered_ms(random);
            }
            Event::End => self.end(false),
            Event::SwitchOff => self.end(true),
            Event::Sent {
                destination,
                outcome,
            } => actions.extend(self.sent(destination, outcome, now_ms, random)),
        }
        if let Course::Ending { switch_off } = self.course {
            // What is on its way is given up: it is in the spool. A page is finished.
            actions.extend(self.bed.cancelled());
            let at_rest = !self.is_digitizing && !self.bed.is_busy();
            actions.extend(at_rest.then_some(Action::Ended { switch_off }));
            return actions;
        }
        actions.extend(self.bed.next(now_ms));
        actions.extend(self.begin(seen, now_ms));
        let condition = self.condition(seen);
        if self.shown.replace(condition) != Some(condition) {
            actions.push(Action::Show(condition));
        }
        actions
    }

    /// What of the spool's work is begun now.
    fn begin(&mut self, seen: &Seen, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let due = !self.is_digitizing && now_ms >= self.disk.wait_until_ms;
        if let Some(job) = seen.to_digitize.filter(|_| due) {
            self.is_digitizing = true;
            actions.push(Action::Digitize(job));
        }
        for (destination, (line, next)) in self.lines.iter_mut().zip(&seen.to_send).enumerate() {
            let due = !line.is_sending && now_ms >= line.wait_until_ms;
            if let Some(job) = next.filter(|_| due) {
                line.is_sending = true;
                actions.push(Action::Send { destination, job });
            }
        }
        actions
    }

    /// What the light shows: whether a page would be taken first, then whether one is under way.
    pub fn condition(&self, seen: &Seen) -> Condition {
        let is_degraded = self.lines.iter().any(|line| line.is_degraded);
        if seen.is_full || self.bed.is_down() {
            Condition::Error
        } else if self.is_digitizing || self.bed.is_busy() {
            Condition::Working
        } else if seen.is_strained || is_degraded || self.bed.is_unwell() {
            Condition::Warning
        } else {
            Condition::Ready
        }
    }

    /// Which destinations take no records.
    pub fn is_degraded(&self, destination: usize) -> bool {
        self.lines[destination].is_degraded
    }

    pub fn is_capturing(&self) -> bool {
        self.bed.is_busy()
    }

    /// Which sources do not work.
    pub fn is_source_unwell(&self, source: usize) -> bool {
        self.bed.is_source_unwell(source)
    }

    fn end(&mut self, switch_off: bool) {
        let was_off = self.course == Course::Ending { switch_off: true };
        self.course = Course::Ending {
            switch_off: switch_off || was_off,
        };
    }

    fn sent(
        &mut self,
        destination: usize,
        outcome: Outcome,
        now_ms: u64,
        random: u64,
    ) -> Option<Action> {
        let line = &mut self.lines[destination];
        line.is_sending = false;
        match outcome {
            Outcome::Delivered => {
                line.backoff.reset();
                line.wait_until_ms = now_ms;
                std::mem::take(&mut line.is_degraded).then_some(Action::Restored { destination })
            }
            Outcome::Refused => None,
            Outcome::Failed => {
                line.wait_until_ms = now_ms + line.backoff.next_jittered_ms(random);
                let is_news = !std::mem::replace(&mut line.is_degraded, true);
                is_news.then_some(Action::Degraded { destination })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u8) -> JobId {
        JobId::from_bytes([number; 16])
    }

    fn seen(page: Option<u8>, records: &[Option<u8>]) -> Seen {
        Seen {
            to_digitize: page.map(job),
            to_send: records.iter().map(|record| record.map(job)).collect(),
            ..Seen::default()
        }
    }

    fn sent(destination: usize, outcome: Outcome) -> Event {
        Event::Sent {
            destination,
            outcome,
        }
    }

    /// A state that has shown that it works, or not.
    fn state(source_count: usize, destination_count: usize, seen: &Seen) -> State {
        let mut state = State::new(source_count, destination_count);
        state.shown = Some(state.condition(seen));
        state
    }

    fn quiet(destination_count: usize) -> Seen {
        seen(None, &vec![None; destination_count])
    }

    #[test]
    fn one_page_and_one_record_a_destination_are_under_way() {
        let mut state = state(0, 2, &quiet(2));
        let work = seen(Some(3), &[Some(1), Some(2)]);
        let send = |destination, number| Action::Send {
            destination,
            job: job(number),
        };
        let first = state.step(Event::Looked, &work, 0, 0);
        let working = Action::Show(Condition::Working);
        assert_eq!(
            first,
            [Action::Digitize(job(3)), send(0, 1), send(1, 2), working]
        );
        assert_eq!(state.step(Event::Looked, &work, 1, 0), []);
        let more = seen(Some(4), &[Some(5), Some(2)]);
        assert_eq!(
            state.step(Event::Digitized, &more, 2, 0),
            [Action::Digitize(job(4))]
        );
        assert_eq!(
            state.step(sent(0, Outcome::Delivered), &more, 3, 0),
            [send(0, 5)]
        );
    }

    #[test]
    fn a_destination_that_fails_waits_and_is_told_of_once() {
        let mut state = state(0, 2, &quiet(2));
        let work = seen(None, &[Some(1), None]);
        state.step(Event::Looked, &work, 0, 0);
        let failed = state.step(sent(0, Outcome::Failed), &work, 10, u64::MAX);
        let degraded = Action::Degraded { destination: 0 };
        assert_eq!(failed, [degraded, Action::Show(Condition::Warning)]);
        assert_eq!(state.step(Event::Looked, &work, 11, 0), []);
        let again = state.step(Event::Looked, &work, 600_000, 0);
        assert_eq!(again.len(), 1, "{again:?}");
        assert_eq!(
            state.step(sent(0, Outcome::Failed), &work, 600_001, u64::MAX),
            []
        );
        state.step(Event::Looked, &work, 1_200_000, 0);
        let drained = state.step(sent(0, Outcome::Delivered), &quiet(2), 1_200_001, 0);
        let restored = Action::Restored { destination: 0 };
        assert_eq!(drained, [restored, Action::Show(Condition::Ready)]);
    }

    #[test]
    fn the_end_waits_for_the_page_and_for_nothing_else() {
        let check = |event, switch_off| {
            let mut state = state(0, 1, &quiet(1));
            let work = seen(Some(1), &[Some(2)]);
            state.step(Event::Looked, &work, 0, 0);
            assert_eq!(state.step(event, &work, 1, 0), []);
            assert_eq!(state.step(Event::Looked, &work, 2, 0), []);
            let ended = state.step(Event::Digitized, &work, 3, 0);
            assert_eq!(ended, [Action::Ended { switch_off }]);
        };
        check(Event::End, false);
        check(Event::SwitchOff, true);
    }

    #[test]
    fn a_disk_that_does_not_take_a_page_is_left_alone_for_a_while() {
        let mut state = state(0, 1, &quiet(1));
        let work = seen(Some(1), &[None]);
        state.step(Event::Looked, &work, 0, 0);
        let failed = state.step(Event::NotBegun, &work, 0, 900);
        assert_eq!(failed, [Action::Show(Condition::Ready)]);
        assert_eq!(state.step(Event::Looked, &work, 899, 0), []);
        let again = state.step(Event::Looked, &work, 900, 0);
        assert_eq!(again[0], Action::Digitize(job(1)));
    }

    #[test]
    fn the_end_gives_up_a_capture() {
        let mut state = state(1, 1, &quiet(1));
        state.step(Event::Wanted { source: 0 }, &quiet(1), 0, 0);
        let ending = state.step(Event::End, &quiet(1), 1, 0);
        assert_eq!(ending, [Action::GiveUpCapture]);
        let ended = state.step(Event::Captured(Captured::Cancelled), &quiet(1), 2, 0);
        assert_eq!(ended, [Action::Ended { switch_off: false }]);
    }

    #[test]
    fn a_page_is_captured_and_shown_as_safe() {
        let mut state = state(1, 1, &quiet(1));
        let pressed = state.step(Event::Wanted { source: 0 }, &quiet(1), 0, 0);
        let capture = Action::Capture {
            source: 0,
            even_if_doubtful: false,
        };
        assert_eq!(pressed, [capture, Action::Show(Condition::Working)]);
        let accepted = seen(Some(1), &[None]);
        let safe = state.step(Event::Accepted, &accepted, 1, 0);
        assert_eq!(
            safe,
            [Action::Signal(Signal::Accepted), Action::Digitize(job(1))]
        );
        let captured = Event::Captured(Captured::Pages);
        assert_eq!(state.step(captured, &quiet(1), 2, 0), []);
        let done = state.step(Event::Digitized, &quiet(1), 3, 0);
        assert_eq!(done, [Action::Show(Condition::Ready)]);
    }

    #[test]
    fn the_light_says_whether_a_page_would_be_taken() {
        let check = |edit: &dyn Fn(&mut Seen), expected: Condition| {
            let mut seen = quiet(1);
            edit(&mut seen);
            assert_eq!(State::new(0, 1).condition(&seen), expected);
        };
        check(&|_| {}, Condition::Ready);
        check(&|seen| seen.is_strained = true, Condition::Warning);
        check(&|seen| seen.is_full = true, Condition::Error);
        let mut state = state(1, 1, &quiet(1));
        let full = Seen {
            is_full: true,
            ..quiet(1)
        };
        let refused = state.step(Event::Wanted { source: 0 }, &full, 0, 0);
        assert_eq!(refused[0], Action::Signal(Signal::Refused));
        let failed = Event::Checked {
            source: 0,
            is_well: false,
        };
        state.step(failed, &quiet(1), 1, u64::MAX);
        assert_eq!(state.condition(&quiet(1)), Condition::Error);
    }

    #[test]
    fn what_happened_can_be_written_down() {
        let entry = (
            sent(1, Outcome::Failed),
            seen(Some(1), &[None, Some(2)]),
            vec![Action::Show(Condition::Error), Action::Digitize(job(9))],
        );
        let text = serde_json::to_string(&entry).unwrap();
        let back: (Event, Seen, Vec<Action>) = serde_json::from_str(&text).unwrap();
        assert_eq!(back, entry);
    }

    #[test]
    fn the_words_are_what_people_are_told() {
        let conditions = [
            Condition::Ready,
            Condition::Working,
            Condition::Warning,
            Condition::Error,
        ];
        let words = conditions.map(Condition::name);
        assert_eq!(words, ["ready", "working", "warning", "error"]);
    }
}
