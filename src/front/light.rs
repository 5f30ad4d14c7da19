//! What the light shows: one light, five states, and what is answered over them.
//!
//! ```text
//!   ready     ████████████████████████  steady
//!   working   ▁▂▃▅▆████████▆▅▃▂▁▁▂▃▅▆█  breathes, 3 s, never quite dark
//!   warning   ████████        ████████  1 s on, 1 s off: a queue, the clock, the disk
//!   error     █ █ █ █ █ █ █ █ █ █ █ █   4 times a second
//!   off                                 ended
//!   accepted  ···███···                 (· is dark) one flash: the page is safe
//!   busy      ···█·█···                 two: pressed while at work, and seen
//!   refused   ···█·█·█···               three: no page is taken now
//! ```
//!
//! In: what is to be shown and since when, the time. Out: the duty, 0 to 255, and until when it
//! holds. Pure. Times: milliseconds of a clock that never goes back. An answer stands between two
//! dark gaps of 0.3 s, so that it is seen over a steady light too. The light is switched, not
//! dimmed: `switched` makes a duty out of on and off, 100 times a second, in steps of a tenth. Only
//! breathing needs that, and it is at its brightest, which needs no switching, for half the time:
//! 125 wake-ups a second.

use super::button::Press;

const BREATH_STEP_MS: u64 = 150;
/// Brighter in steps that look even: the eye sees ratios.
const BREATH: [u8; 10] = [26, 51, 77, 128, 179, 255, 255, 255, 255, 255];
const SLOW_MS: u64 = 1_000;
const FAST_MS: u64 = 125;
const FRAME_MS: u64 = 10;
/// Nothing changes any more by itself.
const ALWAYS_MS: u64 = u64::MAX;

/// What the device is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Light {
    Ready,
    /// A page is being captured or digitized.
    Working,
    /// Works, and somebody should look: records queue up, the clock is not set, the disk fills.
    Warning,
    /// Does not work.
    Error,
    /// Ended: power may be cut.
    Off,
}

/// A short answer, after which the light goes on as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flash {
    /// A page is safe on the disk.
    Accepted,
    /// Pressed while at work.
    Busy,
    /// Pressed, and no page can be taken.
    Refused,
}

impl Flash {
    /// Dark, lit, dark, ... for so long each.
    fn parts_ms(self) -> &'static [u64] {
        match self {
            Self::Accepted => &[300, 400, 300],
            Self::Busy => &[300, 120, 120, 120, 300],
            Self::Refused => &[300, 120, 120, 120, 120, 120, 300],
        }
    }
}

/// How bright, and when that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub duty: u8,
    pub until_ms: u64,
}

/// What is to be seen.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    light: Light,
    since_ms: u64,
    flash: Option<(Flash, u64)>,
}

impl Shown {
    pub fn new(light: Light, now_ms: u64) -> Self {
        Self {
            light,
            since_ms: now_ms,
            flash: None,
        }
    }

    /// Goes over to another state; the same one goes on undisturbed.
    pub fn show(&mut self, light: Light, now_ms: u64) {
        if light != self.light {
            self.light = light;
            self.since_ms = now_ms;
        }
    }

    /// Answers; the same answer that is being given is given once, another takes its place.
    pub fn flash(&mut self, flash: Flash, now_ms: u64) {
        let is_given =
            |(given, since_ms)| given == flash && part(flash, since_ms, now_ms).is_some();
        if !self.flash.is_some_and(is_given) {
            self.flash = Some((flash, now_ms));
        }
    }

    /// What is seen at a time, while the button is held or not.
    pub fn level(&self, held: Option<Press>, now_ms: u64) -> Level {
        match held {
            Some(Press::Cancel) => steady(0),
            // Counted from the clock's start: there is no need to know when it was reached.
            Some(Press::Shutdown) => blink(FAST_MS, 0, now_ms),
            Some(Press::Capture) | None => level(self.light, self.since_ms, self.flash, now_ms),
        }
    }
}

/// What is seen at a time of a state and an answer, each with the time at which it began.
pub fn level(light: Light, since_ms: u64, flash: Option<(Flash, u64)>, now_ms: u64) -> Level {
    if let Some(level) = flash.and_then(|(flash, since_ms)| part(flash, since_ms, now_ms)) {
        return level;
    }
    match light {
        Light::Ready => steady(u8::MAX),
        Light::Working => breath(since_ms, now_ms),
        Light::Warning => blink(SLOW_MS, since_ms, now_ms),
        Light::Error => blink(FAST_MS, since_ms, now_ms),
        Light::Off => steady(0),
    }
}

/// A level by a light that is on or off, and until when it is so.
pub fn switched(level: Level, now_ms: u64) -> (bool, u64) {
    let full = u64::from(u8::MAX);
    let on_ms = (u64::from(level.duty) * FRAME_MS + full / 2) / full;
    if on_ms == 0 || on_ms == FRAME_MS {
        return (on_ms != 0, level.until_ms);
    }
    let phase_ms = now_ms % FRAME_MS;
    let is_lit = phase_ms < on_ms;
    let next_ms = if is_lit { on_ms } else { FRAME_MS };
    (is_lit, level.until_ms.min(now_ms - phase_ms + next_ms))
}

fn steady(duty: u8) -> Level {
    Level {
        duty,
        until_ms: ALWAYS_MS,
    }
}

fn blink(half_ms: u64, since_ms: u64, now_ms: u64) -> Level {
    let phase_ms = now_ms.saturating_sub(since_ms);
    let is_lit = (phase_ms / half_ms).is_multiple_of(2);
    Level {
        duty: if is_lit { u8::MAX } else { 0 },
        until_ms: now_ms + half_ms - phase_ms % half_ms,
    }
}

/// Up and down the steps.
fn breath(since_ms: u64, now_ms: u64) -> Level {
    let phase_ms = now_ms.saturating_sub(since_ms);
    let steps = BREATH.iter().chain(BREATH.iter().rev());
    let mut steps = steps.cycle().skip(step_index(phase_ms));
    Level {
        duty: *steps.next().expect("a cycle has no end"),
        until_ms: now_ms + BREATH_STEP_MS - phase_ms % BREATH_STEP_MS,
    }
}

fn step_index(phase_ms: u64) -> usize {
    let steps = 2 * BREATH.len() as u64;
    // Less than `steps`: nothing is lost.
    (phase_ms / BREATH_STEP_MS % steps) as usize
}

/// The part of an answer that is seen now; none when it is over.
fn part(flash: Flash, since_ms: u64, now_ms: u64) -> Option<Level> {
    let mut until_ms = since_ms;
    for (k, part_ms) in flash.parts_ms().iter().enumerate() {
        until_ms += part_ms;
        if now_ms < until_ms {
            let duty = if k % 2 == 0 { 0 } else { u8::MAX };
            return Some(Level { duty, until_ms });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"300. 400# ..."`: how long dark and lit, for the first `end_ms`, over states that only
    /// switch.
    fn seen(light: Light, flash: Option<(Flash, u64)>, end_ms: u64) -> String {
        let mut text = Vec::new();
        let mut now_ms = 0;
        while now_ms < end_ms {
            let Level { duty, until_ms } = level(light, 0, flash, now_ms);
            assert!(until_ms > now_ms, "it goes on");
            let letter = if duty == 0 { '.' } else { '#' };
            text.push(format!("{}{letter}", until_ms.min(end_ms) - now_ms));
            now_ms = until_ms;
        }
        text.join(" ")
    }

    #[test]
    fn each_state_looks_different() {
        assert_eq!(seen(Light::Ready, None, 5_000), "5000#");
        assert_eq!(seen(Light::Off, None, 5_000), "5000.");
        assert_eq!(seen(Light::Warning, None, 2_500), "1000# 1000. 500#");
        assert_eq!(seen(Light::Error, None, 500), "125# 125. 125# 125.");
    }

    #[test]
    fn an_answer_is_seen_over_every_state() {
        let accepted = Some((Flash::Accepted, 100));
        assert_eq!(
            seen(Light::Ready, Some((Flash::Accepted, 0)), 1_500),
            "300. 400# 300. 500#"
        );
        assert_eq!(level(Light::Ready, 0, accepted, 100).duty, 0);
        assert_eq!(level(Light::Ready, 0, accepted, 399).duty, 0);
        assert_eq!(level(Light::Ready, 0, accepted, 400).duty, 255);
        assert_eq!(level(Light::Ready, 0, accepted, 1_099).duty, 0);
        assert_eq!(level(Light::Ready, 0, accepted, 1_100).duty, 255);
        let busy = Some((Flash::Busy, 0));
        assert_eq!(
            seen(Light::Off, busy, 1_500),
            "300. 120# 120. 120# 300. 540."
        );
        let refused = Some((Flash::Refused, 0));
        let expected = "300. 120# 120. 120# 120. 120# 300. 800.";
        assert_eq!(seen(Light::Warning, refused, 2_000), expected);
    }

    #[test]
    fn breathing_goes_up_and_down_and_never_dark() {
        let mut duties = Vec::new();
        let mut now_ms = 7;
        while now_ms < 7 + 3_000 {
            let Level { duty, until_ms } = level(Light::Working, 7, None, now_ms);
            duties.push(duty);
            now_ms = until_ms;
        }
        assert_eq!(duties[..10], BREATH);
        assert!(duties[10..].iter().eq(BREATH.iter().rev()), "{duties:?}");
        assert_eq!(level(Light::Working, 7, None, 3_007).duty, BREATH[0]);
        assert!(!duties.contains(&0));
    }

    #[test]
    fn a_duty_is_made_of_on_and_off() {
        for (duty, on) in [
            (0, 0),
            (12, 0),
            (26, 1),
            (102, 4),
            (128, 5),
            (204, 8),
            (255, 10),
        ] {
            let level = Level {
                duty,
                until_ms: 1_000,
            };
            let lit = (500..510)
                .filter(|now_ms| switched(level, *now_ms).0)
                .count();
            assert_eq!(lit, on, "of 10, for {duty}");
        }
        let half = Level {
            duty: 128,
            until_ms: 507,
        };
        assert_eq!(switched(half, 500), (true, 505));
        assert_eq!(switched(half, 504), (true, 505));
        // The duty changes before the frame ends.
        assert_eq!(switched(half, 505), (false, 507));
        assert_eq!(switched(steady(255), 3), (true, ALWAYS_MS));
    }

    #[test]
    fn the_same_again_goes_on_and_another_takes_over() {
        let mut shown = Shown::new(Light::Warning, 0);
        shown.show(Light::Warning, 900);
        assert_eq!(shown.level(None, 900).until_ms, 1_000);
        shown.show(Light::Error, 900);
        assert_eq!(shown.level(None, 900).until_ms, 1_025);
        shown.flash(Flash::Accepted, 1_000);
        shown.flash(Flash::Accepted, 1_250);
        assert_eq!(shown.level(None, 1_300).duty, 255);
        shown.flash(Flash::Busy, 1_300);
        assert_eq!(
            shown.level(None, 1_300),
            Level {
                duty: 0,
                until_ms: 1_600
            }
        );
        shown.show(Light::Ready, 1_400);
        assert_eq!(shown.level(None, 1_600).until_ms, 1_720);
        shown.flash(Flash::Busy, 2_260);
        assert_eq!(
            shown.level(None, 2_260),
            Level {
                duty: 0,
                until_ms: 2_560
            }
        );
    }

    #[test]
    fn a_held_button_shows_what_letting_go_would_do() {
        let mut shown = Shown::new(Light::Ready, 0);
        shown.flash(Flash::Accepted, 0);
        assert_eq!(shown.level(Some(Press::Capture), 400).duty, 255);
        assert_eq!(shown.level(Some(Press::Cancel), 400).duty, 0);
        let fast = [0, 125, 250].map(|now_ms| shown.level(Some(Press::Shutdown), now_ms).duty);
        assert_eq!(fast, [255, 0, 255]);
    }
}
