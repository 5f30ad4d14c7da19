//! What happens when: which page is digitized next, which record goes where, and how long a line
//! that failed is left alone.
//!
//! In: `Event`s, what the spool holds (`Queue`), the time, a random number. Out: `Action`s, which
//! `run` carries out. Pure: the same events give the same actions, so that a run can be replayed.
//! One page is digitized at a time, and one record is on its way to each destination. Destinations
//! are independent: one that fails waits with back-off, the others go on. That a destination fails
//! is said once, and once that it takes records again. Times: milliseconds of a clock that never
//! goes back.

mod clock;
pub mod config;
pub mod run;
pub mod work;

use crate::deliver::link::Backoff;
use crate::deliver::spool::JobId;

/// What the spool has to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queue {
    /// The oldest page without a record.
    pub to_digitize: Option<JobId>,
    /// The next record for each destination.
    pub to_send: Vec<Option<JobId>>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Time went by, or the spool changed.
    Looked,
    /// The page's record is in the spool, or its attempt has failed.
    Digitized,
    /// A record's delivery ended.
    Sent {
        destination: usize,
        outcome: Outcome,
    },
    /// The service is told to end.
    End,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// Refused by the other end: other records may fare better at once.
    Refused,
    /// The line or the other end does not work.
    Failed,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
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
    /// Nothing is under way any more.
    Ended,
}

/// A destination, as far as decisions go.
#[derive(Clone, Debug)]
struct Line {
    is_sending: bool,
    is_degraded: bool,
    wait_until_ms: u64,
    backoff: Backoff,
}

/// The service's state beside its spool.
#[derive(Clone, Debug)]
pub struct State {
    is_digitizing: bool,
    is_ending: bool,
    lines: Vec<Line>,
}

impl State {
    pub fn new(destination_count: usize) -> Self {
        let line = Line {
            is_sending: false,
            is_degraded: false,
            wait_until_ms: 0,
            backoff: Backoff::deliveries(),
        };
        Self {
            is_digitizing: false,
            is_ending: false,
            lines: vec![line; destination_count],
        }
    }

    /// What to do about an event; `random` spreads the tries of many devices.
    pub fn step(&mut self, event: Event, queue: &Queue, now_ms: u64, random: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Looked => {}
            Event::Digitized => self.is_digitizing = false,
            Event::End => self.is_ending = true,
            Event::Sent {
                destination,
                outcome,
            } => actions.extend(self.sent(destination, outcome, now_ms, random)),
        }
        if self.is_ending {
            // What is on its way is given up: it is in the spool. A page is finished.
            actions.extend((!self.is_digitizing).then_some(Action::Ended));
            return actions;
        }
        if let Some(job) = queue.to_digitize.filter(|_| !self.is_digitizing) {
            self.is_digitizing = true;
            actions.push(Action::Digitize(job));
        }
        for (destination, (line, next)) in self.lines.iter_mut().zip(&queue.to_send).enumerate() {
            let due = !line.is_sending && now_ms >= line.wait_until_ms;
            if let Some(job) = next.filter(|_| due) {
                line.is_sending = true;
                actions.push(Action::Send { destination, job });
            }
        }
        actions
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

    fn queue(page: Option<u8>, records: &[Option<u8>]) -> Queue {
        Queue {
            to_digitize: page.map(job),
            to_send: records.iter().map(|record| record.map(job)).collect(),
        }
    }

    fn sent(destination: usize, outcome: Outcome) -> Event {
        Event::Sent {
            destination,
            outcome,
        }
    }

    #[test]
    fn one_page_and_one_record_a_destination_are_under_way() {
        let mut state = State::new(2);
        let work = queue(Some(3), &[Some(1), Some(2)]);
        let send = |destination, number| Action::Send {
            destination,
            job: job(number),
        };
        let first = state.step(Event::Looked, &work, 0, 0);
        assert_eq!(first, [Action::Digitize(job(3)), send(0, 1), send(1, 2)]);
        assert_eq!(state.step(Event::Looked, &work, 1, 0), []);
        let more = queue(Some(4), &[Some(5), Some(2)]);
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
        let mut state = State::new(2);
        let work = queue(None, &[Some(1), None]);
        state.step(Event::Looked, &work, 0, 0);
        let failed = state.step(sent(0, Outcome::Failed), &work, 10, u64::MAX);
        assert_eq!(failed, [Action::Degraded { destination: 0 }]);
        assert_eq!(state.step(Event::Looked, &work, 11, 0), []);
        let again = state.step(Event::Looked, &work, 600_000, 0);
        assert_eq!(again.len(), 1, "{again:?}");
        assert_eq!(
            state.step(sent(0, Outcome::Failed), &work, 600_001, u64::MAX),
            []
        );
        state.step(Event::Looked, &work, 1_200_000, 0);
        let drained = state.step(
            sent(0, Outcome::Delivered),
            &queue(None, &[None, None]),
            1_200_001,
            0,
        );
        assert_eq!(drained, [Action::Restored { destination: 0 }]);
    }

    #[test]
    fn the_end_waits_for_the_page_and_for_nothing_else() {
        let mut state = State::new(1);
        let work = queue(Some(1), &[Some(2)]);
        state.step(Event::Looked, &work, 0, 0);
        assert_eq!(state.step(Event::End, &work, 1, 0), []);
        assert_eq!(state.step(Event::Looked, &work, 2, 0), []);
        assert_eq!(state.step(Event::Digitized, &work, 3, 0), [Action::Ended]);
    }
}
