//! The sources and what is wanted of them: one capture at a time, one press kept meanwhile.
//!
//! In: presses, how captures and looks at the sources ended, the time. Out: what to begin. A source
//! that failed is unwell until a look at it or a capture goes well; it is looked at with back-off, so
//! that a cable that is plugged in again is found without a press. A page that looks like the last
//! one, or is blurred, is asked for again: the second press within `AGAIN_MS` takes it all the same. Pure, as its
//! parent is.

use super::{Action, Captured, Signal};
use crate::deliver::link::Backoff;

/// So long a second press means "this page, and I know it".
const AGAIN_MS: u64 = 60_000;

/// How a source is.
#[derive(Clone, Debug)]
struct Health {
    is_well: bool,
    is_checking: bool,
    /// When to look at it; never, where it is well.
    check_at_ms: Option<u64>,
    backoff: Backoff,
}

/// All sources, by their place in the configuration.
#[derive(Clone, Debug)]
pub struct Bed {
    /// The source that captures.
    busy: Option<usize>,
    kept: Option<usize>,
    is_cancelled: bool,
    doubted_until_ms: Option<u64>,
    sources: Vec<Health>,
}

impl Bed {
    /// Sources are taken for well, and looked at first of all.
    pub fn new(source_count: usize) -> Self {
        let source = Health {
            is_well: true,
            is_checking: false,
            check_at_ms: Some(0),
            backoff: Backoff::deliveries(),
        };
        Self {
            busy: None,
            kept: None,
            is_cancelled: false,
            doubted_until_ms: None,
            sources: vec![source; source_count],
        }
    }

    pub fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// No page can be captured: no source works.
    pub fn is_down(&self) -> bool {
        let is_unwell = |source: &Health| !source.is_well;
        !self.sources.is_empty() && self.sources.iter().all(is_unwell)
    }

    /// Some source does not work.
    pub fn is_unwell(&self) -> bool {
        self.sources.iter().any(|source| !source.is_well)
    }

    pub fn is_source_unwell(&self, source: usize) -> bool {
        !self.sources[source].is_well
    }

    /// A press: a capture, or a word that it was seen.
    pub fn wanted(&mut self, source: usize, now_ms: u64) -> Option<Action> {
        assert!(source < self.sources.len(), "the caller knows the sources");
        if self.busy.is_none() && !self.is_checking() {
            return Some(self.capture(source, now_ms));
        }
        // Kept once; whoever presses more often means the same page.
        self.kept.get_or_insert(source);
        Some(Action::Signal(Signal::Busy))
    }

    /// Nothing is wanted any more.
    pub fn cancelled(&mut self) -> Option<Action> {
        self.kept = None;
        let is_news = self.busy.is_some() && !std::mem::replace(&mut self.is_cancelled, true);
        is_news.then_some(Action::GiveUpCapture)
    }

    pub fn captured(&mut self, captured: Captured, now_ms: u64, random: u64) -> Option<Action> {
        let source = self.busy.take()?;
        self.is_cancelled = false;
        self.doubted_until_ms = (captured == Captured::Doubtful).then_some(now_ms + AGAIN_MS);
        self.checked(source, captured != Captured::Failed, now_ms, random);
        match captured {
            // Accepted pages have been shown one by one.
            Captured::Pages | Captured::Cancelled => None,
            Captured::Doubtful | Captured::Refused | Captured::Failed => {
                Some(Action::Signal(Signal::Refused))
            }
        }
    }

    pub fn checked(&mut self, source: usize, is_well: bool, now_ms: u64, random: u64) {
        let source = &mut self.sources[source];
        source.is_checking = false;
        source.is_well = is_well;
        source.check_at_ms = None;
        if is_well {
            source.backoff.reset();
        } else {
            source.check_at_ms = Some(now_ms + source.backoff.next_jittered_ms(random));
        }
    }

    /// What is begun while nothing captures.
    pub fn next(&mut self, now_ms: u64) -> Option<Action> {
        if self.busy.is_some() || self.is_checking() {
            return None;
        }
        if let Some(source) = self.kept.take() {
            return Some(self.capture(source, now_ms));
        }
        let is_due = |source: &Health| source.check_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let source = self.sources.iter().position(is_due)?;
        self.sources[source].is_checking = true;
        Some(Action::CheckSource { source })
    }

    fn is_checking(&self) -> bool {
        self.sources.iter().any(|source| source.is_checking)
    }

    fn capture(&mut self, source: usize, now_ms: u64) -> Action {
        self.busy = Some(source);
        let until_ms = self.doubted_until_ms.take();
        let even_if_doubtful = until_ms.is_some_and(|until_ms| now_ms <= until_ms);
        Action::Capture {
            source,
            even_if_doubtful,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTURE: Action = Action::Capture {
        source: 0,
        even_if_doubtful: false,
    };

    /// A bed whose sources have been looked at.
    fn bed() -> Bed {
        let mut bed = Bed::new(2);
        for source in 0..2 {
            assert_eq!(bed.next(0), Some(Action::CheckSource { source }));
            bed.checked(source, true, 0, 0);
        }
        assert_eq!(bed.next(0), None);
        bed
    }

    #[test]
    fn a_press_meanwhile_is_kept_once() {
        let mut bed = bed();
        assert_eq!(bed.wanted(0, 0), Some(CAPTURE));
        for _ in 0..2 {
            assert_eq!(bed.wanted(0, 1), Some(Action::Signal(Signal::Busy)));
            assert_eq!(bed.next(1), None);
        }
        assert_eq!(bed.captured(Captured::Pages, 2, 0), None);
        assert_eq!(bed.next(2), Some(CAPTURE));
        bed.captured(Captured::Pages, 3, 0);
        assert_eq!(bed.next(3), None);
    }

    #[test]
    fn a_cancelled_capture_is_given_up_once() {
        let mut bed = bed();
        assert_eq!(bed.cancelled(), None);
        bed.wanted(0, 0);
        bed.wanted(1, 0);
        assert_eq!(bed.cancelled(), Some(Action::GiveUpCapture));
        assert_eq!(bed.cancelled(), None);
        assert_eq!(bed.captured(Captured::Cancelled, 1, 0), None);
        assert_eq!(bed.next(1), None, "what was kept is not wanted any more");
        bed.wanted(0, 2);
        assert_eq!(bed.cancelled(), Some(Action::GiveUpCapture));
    }

    #[test]
    fn the_second_press_takes_a_page_that_looks_like_the_last() {
        let check = |second_ms: u64, expected: bool| {
            let mut bed = bed();
            bed.wanted(0, 0);
            let shown = bed.captured(Captured::Doubtful, 1_000, 0);
            assert_eq!(shown, Some(Action::Signal(Signal::Refused)));
            let again = Some(Action::Capture {
                source: 0,
                even_if_doubtful: expected,
            });
            assert_eq!(bed.wanted(0, second_ms), again, "{second_ms}");
            bed.captured(Captured::Pages, second_ms, 0);
            assert_eq!(bed.wanted(0, second_ms), Some(CAPTURE), "asked for once");
        };
        check(2_000, true);
        check(61_001, false);
    }

    #[test]
    fn a_source_that_failed_is_looked_at_until_it_is_well() {
        let mut bed = bed();
        bed.wanted(1, 0);
        bed.captured(Captured::Failed, 0, u64::MAX);
        assert!(bed.is_unwell() && bed.is_source_unwell(1) && !bed.is_source_unwell(0));
        assert!(!bed.is_down(), "the other one works");
        let at_ms = (0..).find(|&now_ms| bed.next(now_ms).is_some()).unwrap();
        assert!((1..=1_000).contains(&at_ms), "{at_ms}");
        // Meanwhile a press waits for the end of the look.
        assert_eq!(bed.wanted(1, at_ms), Some(Action::Signal(Signal::Busy)));
        bed.checked(1, false, at_ms, u64::MAX);
        assert_eq!(
            bed.next(at_ms),
            Some(Action::Capture {
                source: 1,
                even_if_doubtful: false
            })
        );
        bed.captured(Captured::Pages, at_ms, 0);
        assert!(!bed.is_unwell());
        assert_eq!(bed.next(u64::MAX), None);
    }
}
