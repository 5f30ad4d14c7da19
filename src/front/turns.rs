//! What the panel's thread does, turn by turn.
//!
//! In: the time, an edge that came, what is to be shown. Out: `PanelEvent`s, the light switched,
//! and when the next turn is due. Lines that fail are dropped and opened anew, later each time. That
//! they failed is told once, and once that they work again: after they did so for `PROOF_MS`, so
//! that a loose plug is not told of over and over. Times: milliseconds of the clock of the edges.

use std::time::Duration;

use super::button::{Button, ButtonEvent, Edge};
use super::light::{Flash, Light, Shown, switched};
use super::lines::{Lines, Opened};
use super::{PanelError, PanelEvent};
use crate::limits::{PANEL_EDGES_MAX, PANEL_REOPEN_MS, PANEL_STEP_MS};

/// How often the level is compared with the edges.
const LEVEL_MS: u64 = 500;
const PROOF_MS: u64 = 5_000;

/// When lines are opened next, and what was told of them.
struct Repair {
    open_ms: u64,
    wait_ms: u64,
    opened_ms: u64,
    is_told: bool,
}

/// The panel as its thread has it.
pub struct Turns<O, E> {
    open: O,
    tell: E,
    settle_ms: u64,
    lines: Option<Box<dyn Lines>>,
    repair: Repair,
    button: Button,
    shown: Shown,
    is_lit: bool,
    level_ms: u64,
}

impl<O: FnMut() -> Opened, E: Fn(PanelEvent)> Turns<O, E> {
    /// A panel that opens its lines in its first turn, and shows that it is at work.
    pub fn new(settle_ms: u64, open: O, tell: E, now_ms: u64) -> Self {
        Self {
            open,
            tell,
            settle_ms,
            lines: None,
            repair: Repair {
                open_ms: now_ms,
                wait_ms: PANEL_REOPEN_MS[0],
                opened_ms: now_ms,
                is_told: false,
            },
            button: Button::new(settle_ms, false, now_ms),
            shown: Shown::new(Light::Working, now_ms),
            is_lit: false,
            level_ms: now_ms,
        }
    }

    pub fn show(&mut self, light: Light, now_ms: u64) {
        self.shown.show(light, now_ms);
    }

    pub fn flash(&mut self, flash: Flash, now_ms: u64) {
        self.shown.flash(flash, now_ms);
    }

    /// Does what is due, and says when the next turn is.
    pub fn turn(&mut self, now_ms: u64, edge: Option<Edge>) -> u64 {
        if self.lines.is_none() && now_ms >= self.repair.open_ms {
            match self.opened(now_ms) {
                Ok(lines) => self.lines = Some(lines),
                Err(error) => self.failed(&error, now_ms),
            }
        }
        let step_ms = now_ms + PANEL_STEP_MS;
        let Some(mut lines) = self.lines.take() else {
            return step_ms;
        };
        match self.with(lines.as_mut(), now_ms, edge) {
            Ok(until_ms) => {
                self.lines = Some(lines);
                until_ms.min(step_ms)
            }
            Err(error) => {
                drop(lines);
                self.failed(&error, now_ms);
                step_ms
            }
        }
    }

    /// Waits for an edge, or for this long.
    pub fn wait(&mut self, wait: Duration, now_ms: u64) -> Option<Edge> {
        let Some(lines) = &mut self.lines else {
            std::thread::sleep(wait);
            return None;
        };
        match lines.wait(wait) {
            Ok(edge) => edge,
            Err(error) => {
                self.lines = None;
                self.failed(&error, now_ms);
                None
            }
        }
    }

    /// Puts the light out.
    pub fn end(mut self) {
        if let Some(lines) = &mut self.lines {
            // Nobody is left who could be told that it stays lit.
            let _ = lines.switch(false);
        }
    }

    fn opened(&mut self, now_ms: u64) -> Opened {
        let mut lines = (self.open)()?;
        self.button = Button::new(self.settle_ms, lines.is_pressed()?, now_ms);
        self.is_lit = false;
        self.level_ms = now_ms + LEVEL_MS;
        self.repair.opened_ms = now_ms;
        Ok(lines)
    }

    /// One turn with lines that work; until when the light stays as it is.
    fn with(
        &mut self,
        lines: &mut dyn Lines,
        now_ms: u64,
        first: Option<Edge>,
    ) -> Result<u64, PanelError> {
        // All edges until now come before now: a late look must not take a bounce for a press.
        let mut next = first;
        for _ in 0..PANEL_EDGES_MAX {
            let edge = match next.take() {
                Some(edge) => Some(edge),
                None => lines.wait(Duration::ZERO)?,
            };
            let Some(edge) = edge else { break };
            let event = self.button.edge(edge);
            self.say(event);
        }
        if now_ms >= self.level_ms {
            self.level_ms = now_ms + LEVEL_MS;
            let event = self.button.level(lines.is_pressed()?, now_ms);
            self.say(event);
        }
        let event = self.button.advance(now_ms);
        self.say(event);
        let level = self.shown.level(self.button.stage(now_ms), now_ms);
        let (is_lit, until_ms) = switched(level, now_ms);
        if is_lit != self.is_lit {
            lines.switch(is_lit)?;
            self.is_lit = is_lit;
        }
        self.worked(now_ms);
        Ok(until_ms)
    }

    fn say(&self, event: Option<ButtonEvent>) {
        match event {
            None => {}
            Some(ButtonEvent::Press(press)) => (self.tell)(PanelEvent::Press(press)),
            Some(ButtonEvent::Stuck) => (self.tell)(PanelEvent::Stuck),
            Some(ButtonEvent::Released) => (self.tell)(PanelEvent::Released),
        }
    }

    fn failed(&mut self, error: &PanelError, now_ms: u64) {
        let [_, wait_ms_max] = PANEL_REOPEN_MS;
        self.repair.open_ms = now_ms + self.repair.wait_ms;
        self.repair.wait_ms = (2 * self.repair.wait_ms).min(wait_ms_max);
        if !std::mem::replace(&mut self.repair.is_told, true) {
            (self.tell)(PanelEvent::Failed(error.to_string()));
        }
    }

    fn worked(&mut self, now_ms: u64) {
        if now_ms < self.repair.opened_ms + PROOF_MS {
            return;
        }
        self.repair.wait_ms = PANEL_REOPEN_MS[0];
        if std::mem::take(&mut self.repair.is_told) {
            (self.tell)(PanelEvent::Restored);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::super::button::Press;
    use super::super::recorded::Recorded;
    use super::*;

    const SETTLE_MS: u64 = 30;

    /// A panel in a time of its own.
    struct Bench<O> {
        recorded: Recorded,
        turns: Turns<O, Box<dyn Fn(PanelEvent)>>,
        told: Rc<RefCell<Vec<PanelEvent>>>,
        now_ms: u64,
        turn_count: usize,
        /// When the light went on or off.
        switches: Vec<(u64, bool)>,
    }

    fn bench() -> Bench<impl FnMut() -> Opened> {
        let recorded = Recorded::default();
        let told = Rc::new(RefCell::new(Vec::new()));
        let (lines, tell) = (recorded.clone(), told.clone());
        let tell: Box<dyn Fn(PanelEvent)> = Box::new(move |event| tell.borrow_mut().push(event));
        Bench {
            turns: Turns::new(SETTLE_MS, move || lines.open(), tell, 0),
            recorded,
            told,
            now_ms: 0,
            turn_count: 0,
            switches: Vec::new(),
        }
    }

    impl<O: FnMut() -> Opened> Bench<O> {
        /// Lets time go by; edges come at their times.
        fn run(&mut self, end_ms: u64, edges: &[(bool, u64)]) {
            let mut edges = edges.iter().peekable();
            while self.now_ms < end_ms {
                while let Some((is_pressed, at_ms)) = edges.next_if(|(_, ms)| *ms <= self.now_ms) {
                    self.recorded.give(Edge {
                        is_pressed: *is_pressed,
                        at_ms: *at_ms,
                    });
                }
                let before = self.recorded.record().is_lit;
                let next_ms = self.turns.turn(self.now_ms, None);
                self.turn_count += 1;
                let is_lit = self.recorded.record().is_lit;
                if is_lit != before {
                    self.switches.push((self.now_ms, is_lit));
                }
                assert!(next_ms > self.now_ms, "time goes on");
                let edge_ms = edges.peek().map_or(u64::MAX, |(_, at_ms)| *at_ms);
                self.now_ms = next_ms.min(edge_ms).min(end_ms);
            }
        }

        fn told(&self) -> Vec<PanelEvent> {
            self.told.borrow_mut().drain(..).collect()
        }
    }

    #[test]
    fn a_press_is_told_soon_after_it_is_let_go() {
        let mut bench = bench();
        bench.run(270, &[(true, 101), (false, 102), (true, 104), (false, 251)]);
        assert_eq!(bench.told(), []);
        bench.run(251 + SETTLE_MS + PANEL_STEP_MS + 1, &[]);
        assert_eq!(bench.told(), [PanelEvent::Press(Press::Capture)]);
        bench.run(50_000, &[(true, 1_000)]);
        assert_eq!(bench.told(), [PanelEvent::Stuck]);
        bench.run(51_000, &[(false, 50_100)]);
        assert_eq!(bench.told(), [PanelEvent::Released]);
    }

    #[test]
    fn a_thread_that_comes_late_takes_no_bounce_for_a_press() {
        let mut bench = bench();
        bench.run(100, &[]);
        for (is_pressed, at_ms) in [(true, 200), (false, 203)] {
            bench.recorded.give(Edge { is_pressed, at_ms });
        }
        let first = bench.turns.wait(Duration::ZERO, 240);
        assert!(first.is_some());
        bench.turns.turn(240, first);
        bench.now_ms = 260;
        bench.run(1_000, &[]);
        assert_eq!(bench.told(), []);
    }

    #[test]
    fn an_edge_that_never_came_ends_no_press() {
        let mut bench = bench();
        bench.run(200, &[(true, 100)]);
        bench.recorded.record().is_pressed = false;
        bench.run(60_000, &[]);
        assert_eq!(bench.told(), []);
        bench.run(61_000, &[(true, 60_100), (false, 60_200)]);
        assert_eq!(bench.told(), [PanelEvent::Press(Press::Capture)]);
    }

    #[test]
    fn the_light_changes_on_time() {
        let mut bench = bench();
        bench.turns.show(Light::Warning, 0);
        bench.run(1, &[]);
        bench.turns.flash(Flash::Busy, 1);
        bench.run(4_500, &[]);
        let expected = [
            (0, true),
            (1, false),
            (301, true),
            (421, false),
            (541, true),
            (661, false),
            (961, true),
            (1_000, false),
            (2_000, true),
            (3_000, false),
            (4_000, true),
        ];
        assert_eq!(bench.switches, expected);
        bench.turns.end();
        assert!(!bench.recorded.record().is_lit);
    }

    #[test]
    fn a_held_button_is_seen_to_cancel_and_to_shut_down() {
        let mut bench = bench();
        bench.turns.show(Light::Ready, 0);
        bench.run(10_500, &[(true, 100)]);
        let ms = |k: usize| bench.switches[k].0;
        assert_eq!(bench.switches[0], (0, true));
        assert!((3_100..3_120).contains(&ms(1)), "{:?}", bench.switches);
        assert!((10_100..10_245).contains(&ms(2)), "{:?}", bench.switches);
        assert!(bench.switches[2].1);
        assert_eq!(ms(4) - ms(3), 125);
        bench.switches.clear();
        bench.run(12_000, &[(false, 10_600)]);
        assert_eq!(bench.told(), [PanelEvent::Press(Press::Shutdown)]);
        assert!(bench.recorded.record().is_lit);
    }

    /// Wake-ups are what a panel costs: each is some ten microseconds of a small board.
    #[test]
    fn an_idle_panel_sleeps_and_a_breathing_one_nearly() {
        let mut idle = bench();
        idle.turns.show(Light::Ready, 0);
        idle.run(9_000, &[]);
        assert!(
            (440..=460).contains(&idle.turn_count),
            "{}",
            idle.turn_count
        );
        assert_eq!(idle.switches.len(), 1);
        let mut breathing = bench();
        breathing.run(9_000, &[]);
        assert!(breathing.turn_count <= 1_150, "{}", breathing.turn_count);
        // And is lit for the mean of its steps, 6.8 ms of 10.
        let lit_ms: u64 = breathing
            .switches
            .chunks_exact(2)
            .map(|pair| pair[1].0 - pair[0].0)
            .sum();
        assert_eq!(lit_ms, 6_120);
    }

    #[test]
    fn lines_that_fail_are_told_of_once_and_opened_again() {
        let mut bench = bench();
        bench.turns.show(Light::Ready, 0);
        bench.run(100, &[]);
        bench.recorded.record().is_broken = true;
        bench.recorded.record().is_absent = true;
        bench.run(200, &[]);
        let failed = PanelEvent::Failed("GPIO17: No such device".to_owned());
        assert_eq!(bench.told(), [failed]);
        // After 1, 2, 4, ... 60 s.
        bench.run(600_000, &[]);
        let opens = bench.recorded.record().opens;
        assert!((14..=17).contains(&opens), "{opens}");
        assert_eq!(bench.told(), []);
        bench.recorded.record().is_broken = false;
        bench.recorded.record().is_absent = false;
        bench.recorded.record().is_lit = false;
        bench.run(661_000, &[]);
        assert!(bench.recorded.record().is_lit);
        bench.run(667_000, &[]);
        assert_eq!(bench.told(), [PanelEvent::Restored]);
        bench.run(668_000, &[(true, 667_100), (false, 667_200)]);
        assert_eq!(bench.told(), [PanelEvent::Press(Press::Capture)]);
        // The next fault is news, and the first wait is short again.
        bench.recorded.record().is_broken = true;
        bench.run(668_100, &[]);
        bench.recorded.record().is_broken = false;
        bench.run(675_000, &[]);
        assert_eq!(bench.told().len(), 2);
    }

    #[test]
    fn lines_that_open_and_fail_at_once_are_told_of_once() {
        let mut bench = bench();
        bench.recorded.record().is_broken = true;
        bench.run(300_000, &[]);
        assert_eq!(bench.told().len(), 1);
        let opens = bench.recorded.record().opens;
        assert!((8..=12).contains(&opens), "{opens}");
    }

    #[test]
    fn a_loose_plug_is_told_of_once() {
        let mut bench = bench();
        for opens in 1..6 {
            while bench.recorded.record().opens < opens {
                bench.run(bench.now_ms + 100, &[]);
            }
            bench.run(bench.now_ms + 2_000, &[]);
            bench.recorded.record().is_broken = true;
            bench.run(bench.now_ms + 100, &[]);
            bench.recorded.record().is_broken = false;
        }
        assert_eq!(bench.told().len(), 1);
        assert!(
            bench.now_ms > 15_000,
            "and opened later each time: {}",
            bench.now_ms
        );
    }

    #[test]
    fn a_button_that_is_down_when_lines_open_does_nothing() {
        let mut bench = bench();
        bench.recorded.record().is_pressed = true;
        bench.run(2_000, &[(false, 1_000)]);
        assert_eq!(bench.told(), []);
    }

    #[test]
    fn a_wait_that_fails_is_a_fault_too() {
        let mut bench = bench();
        bench.run(100, &[]);
        bench.recorded.record().is_broken = true;
        assert_eq!(bench.turns.wait(Duration::ZERO, 100), None);
        assert_eq!(bench.told().len(), 1);
        bench.run(900, &[]);
        assert_eq!(bench.recorded.record().opens, 1);
    }
}
