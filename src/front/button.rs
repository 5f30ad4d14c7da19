//! What a button says: a press by how long it was held, once it is let go.
//!
//! ```text
//!   held    0        3 s          10 s            30 s
//!           | capture | cancel     | shutdown      | stuck: nothing, and told once
//!   light     as it is  dark         fast blink      as it is
//! ```
//!
//! In: edges with the times at which they happened, the level from time to time, and the time. Out:
//! `ButtonEvent`s, and `stage`: what letting go now would do. Pure. Times: milliseconds of a clock
//! that never goes back. A level counts once it has stood still for `settle_ms`, so that contacts
//! that bounce give one press; edges that the kernel debounced pass unchanged.
//! What is not sure never acts: a button that was down at the start, one whose release nobody saw,
//! one that is stuck. Each can be used again once it is up.

/// Held for so long, a press cancels, and shuts down.
pub const CANCEL_MS: u64 = 3_000;
pub const SHUTDOWN_MS: u64 = 10_000;
/// Held for longer, it is no hand that holds it.
pub const STUCK_MS: u64 = 30_000;
/// For so long the level may contradict the edges: the kernel debounces edges, not levels.
const DOUBT_MS: u64 = 1_000;

/// What a press asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    Capture,
    Cancel,
    Shutdown,
}

impl Press {
    /// The word for it, in the log too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Cancel => "cancel",
            Self::Shutdown => "shutdown",
        }
    }

    fn of_held(held_ms: u64) -> Self {
        match held_ms {
            0..CANCEL_MS => Self::Capture,
            CANCEL_MS..SHUTDOWN_MS => Self::Cancel,
            SHUTDOWN_MS.. => Self::Shutdown,
        }
    }
}

/// A change of the button, whichever way it is wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub is_pressed: bool,
    pub at_ms: u64,
}

/// What the button has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ButtonEvent {
    Press(Press),
    /// Held for longer than anybody holds a button.
    Stuck,
    /// It was stuck, and is up again.
    Released,
}

/// What is taken to be so, bounces left out.
#[derive(Clone, Copy, Debug)]
enum Settled {
    Up,
    Down {
        since_ms: u64,
    },
    /// Down, and letting go does nothing.
    Spent {
        since_ms: u64,
        is_told: bool,
    },
}

/// A button and what it has been through.
#[derive(Clone, Debug)]
pub struct Button {
    settle_ms: u64,
    settled: Settled,
    /// What the last edge said, and when.
    is_pressed: bool,
    changed_ms: u64,
    /// A second press without a release between them: was there one?
    is_again: bool,
    doubted_ms: Option<u64>,
}

impl Button {
    /// A button that is found like this at the start.
    pub fn new(settle_ms: u64, is_pressed: bool, now_ms: u64) -> Self {
        let spent = Settled::Spent {
            since_ms: now_ms,
            is_told: false,
        };
        Self {
            settle_ms,
            settled: if is_pressed { spent } else { Settled::Up },
            is_pressed,
            changed_ms: now_ms,
            is_again: false,
            doubted_ms: None,
        }
    }

    /// Takes in an edge; what is told was so before it.
    pub fn edge(&mut self, edge: Edge) -> Option<ButtonEvent> {
        let event = self.advance(edge.at_ms);
        self.doubted_ms = None;
        // Where contacts bounce, an edge between two others may be lost: they say the same.
        self.is_again = edge.is_pressed && self.is_pressed;
        self.is_pressed = edge.is_pressed;
        self.changed_ms = edge.at_ms;
        event
    }

    /// Takes in the level: an edge that never came would leave the button as it was for ever.
    pub fn level(&mut self, is_pressed: bool, now_ms: u64) -> Option<ButtonEvent> {
        if is_pressed == self.is_pressed {
            self.doubted_ms = None;
            return None;
        }
        let doubted_ms = *self.doubted_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(doubted_ms) < DOUBT_MS {
            return None;
        }
        let before = self.settled;
        *self = Self::new(self.settle_ms, is_pressed, now_ms);
        let was_stuck = matches!(before, Settled::Spent { is_told: true, .. });
        (was_stuck && !is_pressed).then_some(ButtonEvent::Released)
    }

    /// Time went by.
    pub fn advance(&mut self, now_ms: u64) -> Option<ButtonEvent> {
        let is_still = now_ms.saturating_sub(self.changed_ms) >= self.settle_ms;
        if is_still && !self.is_pressed {
            return self.let_go();
        }
        if is_still {
            self.press();
        }
        self.look_stuck(now_ms)
    }

    /// What letting go now would do.
    pub fn stage(&self, now_ms: u64) -> Option<Press> {
        let Settled::Down { since_ms } = self.settled else {
            return None;
        };
        let until_ms = if self.is_pressed {
            now_ms
        } else {
            self.changed_ms
        };
        Some(Press::of_held(until_ms.saturating_sub(since_ms)))
    }

    fn press(&mut self) {
        let is_new = match self.settled {
            Settled::Up => true,
            // Its release was not seen: how long it was held is not known, and it is forgotten.
            Settled::Down { .. } => self.is_again,
            Settled::Spent { .. } => false,
        };
        self.is_again = false;
        if is_new {
            self.settled = Settled::Down {
                since_ms: self.changed_ms,
            };
        }
    }

    fn let_go(&mut self) -> Option<ButtonEvent> {
        match std::mem::replace(&mut self.settled, Settled::Up) {
            Settled::Up => None,
            Settled::Down { since_ms } => {
                let held_ms = self.changed_ms.saturating_sub(since_ms);
                Some(ButtonEvent::Press(Press::of_held(held_ms)))
            }
            Settled::Spent { is_told, .. } => is_told.then_some(ButtonEvent::Released),
        }
    }

    fn look_stuck(&mut self, now_ms: u64) -> Option<ButtonEvent> {
        let (Settled::Down { since_ms }
        | Settled::Spent {
            since_ms,
            is_told: false,
        }) = self.settled
        else {
            return None;
        };
        if !self.is_pressed || now_ms.saturating_sub(since_ms) <= STUCK_MS {
            return None;
        }
        self.settled = Settled::Spent {
            since_ms,
            is_told: true,
        };
        Some(ButtonEvent::Stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use ButtonEvent::{Press as Pressed, Released, Stuck};

    const SETTLE_MS: u64 = 30;
    /// When the button is looked at, between its edges.
    const TICK_MS: u64 = 20;

    /// `"d100 u250"`: down and up at these milliseconds.
    fn edges(script: &str) -> Vec<Edge> {
        let read = |word: &str| Edge {
            is_pressed: word.starts_with('d'),
            at_ms: word[1..].parse().unwrap(),
        };
        script.split_whitespace().map(read).collect()
    }

    fn ticked(mut button: Button, edges: &[Edge], end_ms: u64) -> Vec<ButtonEvent> {
        let mut events = Vec::new();
        let mut edges = edges.iter().peekable();
        for now_ms in (0..=end_ms).step_by(TICK_MS as usize) {
            while let Some(edge) = edges.next_if(|edge| edge.at_ms <= now_ms) {
                events.extend(button.edge(*edge));
            }
            events.extend(button.advance(now_ms));
        }
        events
    }

    /// Looked at often and only at the end, the button says the same.
    fn check_from(button: &Button, script: &str, expected: &[ButtonEvent]) {
        let edges = edges(script);
        let end_ms = edges.last().map_or(0, |edge| edge.at_ms) + 40_000;
        let often = ticked(button.clone(), &edges, end_ms);
        assert_eq!(often, expected, "{script}");
        let mut button = button.clone();
        let mut late: Vec<ButtonEvent> = edges.iter().filter_map(|e| button.edge(*e)).collect();
        late.extend(button.advance(end_ms));
        late.extend(button.advance(end_ms));
        assert_eq!(late, expected, "{script}, looked at late");
    }

    fn check(script: &str, expected: &[ButtonEvent]) {
        check_from(&Button::new(SETTLE_MS, false, 0), script, expected);
    }

    const CAPTURE: ButtonEvent = Pressed(Press::Capture);
    const CANCEL: ButtonEvent = Pressed(Press::Cancel);
    const SHUTDOWN: ButtonEvent = Pressed(Press::Shutdown);

    #[test]
    fn a_press_acts_by_how_long_it_was_held() {
        check("", &[]);
        check("d100 u130", &[CAPTURE]);
        check("d100 u3099", &[CAPTURE]);
        check("d100 u3100", &[CANCEL]);
        check("d100 u10099", &[CANCEL]);
        check("d100 u10100", &[SHUTDOWN]);
        check("d100 u30100", &[SHUTDOWN]);
        check("d100 u300 d500 u4000", &[CAPTURE, CANCEL]);
    }

    #[test]
    fn it_acts_on_release_alone() {
        let mut button = Button::new(SETTLE_MS, false, 0);
        let down = edges("d100");
        assert_eq!(button.edge(down[0]), None);
        let mut act = |now_ms| (button.advance(now_ms), button.stage(now_ms));
        assert_eq!(act(129), (None, None));
        assert_eq!(act(130), (None, Some(Press::Capture)));
        assert_eq!(act(3_099), (None, Some(Press::Capture)));
        assert_eq!(act(3_100), (None, Some(Press::Cancel)));
        assert_eq!(act(10_100), (None, Some(Press::Shutdown)));
        assert_eq!(button.edge(edges("u10200")[0]), None);
        // While the contacts settle, the time does not run on.
        assert_eq!(button.stage(10_229), Some(Press::Shutdown));
        assert_eq!(button.advance(10_229), None);
        assert_eq!(button.advance(10_230), Some(SHUTDOWN));
        assert_eq!(button.stage(10_230), None);
    }

    #[test]
    fn contacts_that_bounce_give_one_press() {
        check(
            "d100 u101 d103 u104 d110 u300 d301 u305 d306 u312",
            &[CAPTURE],
        );
        // A spike is no press, and a gap no release.
        check("d100 u129", &[]);
        check("d100 u2000 d2029 u3200", &[CANCEL]);
        check("d100 u2000 d2030 u3200", &[CAPTURE, CAPTURE]);
        // Edges that the kernel debounced stand this far apart.
        check("d100 u130 d160 u190", &[CAPTURE, CAPTURE]);
        check_from(
            &Button::new(0, false, 0),
            "d100 u101 d102 u103",
            &[CAPTURE, CAPTURE],
        );
    }

    #[test]
    fn a_stuck_button_is_told_once_and_can_be_used_again() {
        check("d100 u30101", &[Stuck, Released]);
        check("d100", &[Stuck]);
        check("d100 u95000 d96000 u96100", &[Stuck, Released, CAPTURE]);
        let mut button = Button::new(SETTLE_MS, false, 0);
        button.edge(edges("d0")[0]);
        assert_eq!(button.advance(30_000), None);
        assert_eq!(button.advance(30_001), Some(Stuck));
        assert_eq!(button.advance(90_000), None);
        assert_eq!(button.stage(90_000), None);
    }

    #[test]
    fn down_at_the_start_it_waits_for_the_release() {
        let button = Button::new(SETTLE_MS, true, 0);
        check_from(&button, "u500 d900 u1000", &[CAPTURE]);
        check_from(&button, "u12000", &[]);
        check_from(&button, "u40000 d50000 u50100", &[Stuck, Released, CAPTURE]);
        assert_eq!(button.stage(5_000), None);
    }

    #[test]
    fn a_release_that_was_lost_does_not_lengthen_the_next_press() {
        check("d100 d9000 u9100", &[CAPTURE]);
        check("d100 d29000 u29100", &[CAPTURE]);
        check("d100 u200 u5000 d6000 u6100", &[CAPTURE, CAPTURE]);
        check("u100 u200", &[]);
        // Within a bounce, a lost edge changes nothing.
        check("d100 d104 u300 u302", &[CAPTURE]);
        check("d100 d3200 u3204", &[CANCEL]);
    }

    #[test]
    fn a_level_that_contradicts_the_edges_ends_a_press_without_an_act() {
        let mut button = Button::new(SETTLE_MS, false, 0);
        button.edge(edges("d0")[0]);
        button.advance(100);
        assert_eq!(button.level(true, 500), None);
        assert_eq!(button.level(false, 1_000), None);
        assert_eq!(button.stage(1_999), Some(Press::Capture));
        assert_eq!(button.level(false, 2_000), None);
        assert_eq!((button.stage(2_000), button.advance(90_000)), (None, None));
        // A press that was lost waits for its release, and says so if none comes.
        assert_eq!(button.level(true, 91_000), None);
        assert_eq!(button.level(true, 92_000), None);
        assert_eq!(button.advance(122_001), Some(Stuck));
        assert_eq!(button.level(false, 123_000), None);
        assert_eq!(button.level(false, 124_000), Some(Released));
    }

    #[test]
    fn an_edge_clears_a_doubt_about_the_level() {
        let mut button = Button::new(SETTLE_MS, false, 0);
        assert_eq!(button.level(true, 0), None);
        button.edge(edges("d990")[0]);
        assert_eq!(button.level(true, 1_500), None);
        button.edge(edges("u1600")[0]);
        assert_eq!(button.advance(1_700), Some(CAPTURE));
        assert_eq!(button.level(true, 1_750), None);
        for edge in edges("d1760 u2700") {
            button.edge(edge);
        }
        assert_eq!(button.level(true, 2_760), None);
        assert_eq!(button.advance(2_770), Some(CAPTURE));
        // A level that agrees once is in no doubt either.
        assert_eq!(button.level(true, 3_000), None);
        assert_eq!(button.level(false, 3_500), None);
        assert_eq!(button.level(true, 4_100), None);
        button.edge(edges("d4200")[0]);
        button.edge(edges("u4300")[0]);
        assert_eq!(button.advance(4_400), Some(CAPTURE));
    }

    #[test]
    fn whatever_comes_no_press_is_told_twice() {
        let mut random = 0x5eed_u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let mut button = Button::new(SETTLE_MS, false, 0);
        let (mut now_ms, mut downs, mut acts, mut stuck) = (0, 0, 0, 0);
        for _ in 0..100_000 {
            now_ms += [next(5), next(200), next(40_000)][next(3) as usize];
            let edge = Edge {
                is_pressed: next(2) == 0,
                at_ms: now_ms,
            };
            downs += u64::from(edge.is_pressed);
            for event in [button.edge(edge), button.advance(now_ms)]
                .into_iter()
                .flatten()
            {
                match event {
                    Pressed(_) => acts += 1,
                    Stuck => stuck += 1,
                    Released => stuck -= 1,
                }
                assert!(acts <= downs && (0..=1).contains(&stuck), "at {now_ms}");
            }
        }
        assert!(acts > 1_000, "{acts}");
    }
}
