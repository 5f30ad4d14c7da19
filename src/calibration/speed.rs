//! Which of the usual speeds a page was printed at.
//!
//! In: the texts that were read, the pulses' width, the recording's length, the beats' distance.
//! Out: the likeliest speed, and by how much. Each kind of evidence gives every speed a log
//! likelihood, in nats; they add up. A text or a pulse proves a speed; length and beats only say
//! whether it is plausible.

use super::{SPEEDS, USUAL_SPEED};
use crate::math;
use crate::units::{Mm, MmPerSecond};

/// What is known of the speed besides what an operator says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SpeedEvidence {
    /// Score of the strongest text that says so, a speed; 0 where none does.
    pub texts: [f32; SPEEDS.len()],
    /// Of the calibration pulses, on a grid.
    pub pulse_width: Option<Mm>,
    /// Of the recording, on a grid.
    pub length: Option<Mm>,
    /// From beat to beat, and half of a QRS complex.
    pub beat: Option<Mm>,
    pub qrs: Option<Mm>,
}

/// The likeliest speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeliest {
    pub speed: MmPerSecond,
    /// The next one, and how much less likely it is, nats.
    pub other: MmPerSecond,
    pub margin: f32,
    /// How much of that the pulses alone make.
    pub by_pulse: f32,
    /// Whether there are any whose width was seen.
    pub has_pulse: bool,
}

/// Nearly all pages are printed at the usual speed: the others' share.
const UNUSUAL_SHARE: f32 = 0.04;
/// A text counts by its score.
const TEXT_NATS: f32 = 12.0;
const TEXT_NATS_OFF: f32 = 2.4;
/// Duration of calibration pulses in seconds, and the machines that make it so. The rest may be
/// any.
const PULSES: [(f32, f32); 3] = [(0.2, 0.85), (0.1, 0.08), (0.3, 0.06)];
const PULSE_ELSE: f32 = 0.01;
/// A width is off by this, and by this share of it.
const PULSE_ERROR_MM: f32 = 0.2;
const PULSE_ERROR_SHARE: f32 = 0.04;
/// Duration of recordings in seconds at each speed, and the pages on which it is so: paper is as
/// long as it is, a page of 50 mm/s holds half the time.
const LENGTHS: [[(f32, f32); 5]; SPEEDS.len()] = [
    [
        (10.0, 0.6),
        (20.0, 0.1),
        (8.0, 0.1),
        (5.0, 0.05),
        (12.0, 0.01),
    ],
    [
        (10.0, 0.75),
        (8.0, 0.06),
        (5.0, 0.05),
        (6.0, 0.02),
        (2.5, 0.01),
    ],
    [
        (5.0, 0.6),
        (10.0, 0.15),
        (2.5, 0.08),
        (4.0, 0.02),
        (3.0, 0.01),
    ],
];
const LENGTH_ELSE: f32 = 0.08;
const LENGTH_ERROR_SHARE: f32 = 0.015;
/// From beat to beat in seconds: the logarithm's mean and standard deviation (75 a minute; 44 and
/// 130 are one and a half deviations off).
const BEAT_S: f32 = 0.8;
const BEAT_SPREAD: f32 = 0.36;
/// Half of a QRS complex in seconds, the pen's width in it in millimetres, and the logarithm's
/// standard deviation, as they came out on printed pages of real hearts at each speed.
const QRS_S: f32 = 0.0235;
const QRS_PEN_MM: f32 = 0.31;
const QRS_SPREAD: f32 = 0.16;
/// What each says counts this much at most: hearts race and conduct slowly.
const BEAT_NATS_MAX: f32 = 2.5;
const QRS_NATS_MAX: f32 = 3.0;

impl SpeedEvidence {
    /// Weighs it all.
    pub fn weigh(&self) -> Likeliest {
        let all = SPEEDS.map(|v| self.prior(v) + self.pulse(v) + self.heart(v));
        let all: [f32; SPEEDS.len()] =
            std::array::from_fn(|k| all[k] + self.length(k) + self.text(k));
        let rank = |a: &usize, b: &usize| all[*b].total_cmp(&all[*a]);
        let mut order: [usize; SPEEDS.len()] = std::array::from_fn(|k| k);
        order.sort_by(rank);
        let [first, second, third] = order;
        let lead = |of: [f32; SPEEDS.len()]| of[first] - of[second].max(of[third]);
        Likeliest {
            speed: SPEEDS[first],
            other: SPEEDS[second],
            margin: all[first] - all[second],
            by_pulse: lead(SPEEDS.map(|v| self.pulse(v))),
            has_pulse: self.pulse_width.is_some(),
        }
    }

    fn prior(&self, speed: MmPerSecond) -> f32 {
        let others = (SPEEDS.len() - 1) as f32;
        math::ln(if speed == USUAL_SPEED {
            1.0 - others * UNUSUAL_SHARE
        } else {
            UNUSUAL_SHARE
        })
    }

    fn text(&self, index: usize) -> f32 {
        (TEXT_NATS * self.texts[index] - TEXT_NATS_OFF).max(0.0)
    }

    fn pulse(&self, speed: MmPerSecond) -> f32 {
        let Some(width) = self.pulse_width else {
            return 0.0;
        };
        let near = |(seconds, share): &(f32, f32)| {
            let expected = seconds * speed.0;
            let error = PULSE_ERROR_MM + PULSE_ERROR_SHARE * expected;
            share * bell((width.0 - expected) / error)
        };
        math::ln(PULSES.iter().map(near).sum::<f32>() + PULSE_ELSE)
    }

    fn length(&self, index: usize) -> f32 {
        let Some(length) = self.length else {
            return 0.0;
        };
        let seconds = length.at(SPEEDS[index]).0;
        let near = |(usual, share): &(f32, f32)| {
            share * bell((seconds / usual - 1.0) / LENGTH_ERROR_SHARE)
        };
        math::ln(LENGTHS[index].iter().map(near).sum::<f32>() + LENGTH_ELSE)
    }

    fn heart(&self, speed: MmPerSecond) -> f32 {
        let beat = Mm(BEAT_S * speed.0);
        let qrs = Mm(QRS_PEN_MM + QRS_S * speed.0);
        plausible(self.beat, beat, BEAT_SPREAD).max(-BEAT_NATS_MAX)
            + plausible(self.qrs, qrs, QRS_SPREAD).max(-QRS_NATS_MAX)
    }
}

fn plausible(length: Option<Mm>, usual: Mm, spread: f32) -> f32 {
    let off = |length: Mm| math::ln(length.0.max(f32::MIN_POSITIVE) / usual.0) / spread;
    length.map_or(0.0, |length| -0.5 * math::square(off(length)))
}

fn bell(off: f32) -> f32 {
    math::exp(-0.5 * off * off)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(evidence: SpeedEvidence, expected: f32, is_sure: bool) {
        let found = evidence.weigh();
        assert_eq!(found.speed, MmPerSecond(expected), "{found:?}");
        assert_eq!(
            found.margin > super::super::CERTAIN_NATS,
            is_sure,
            "{found:?}"
        );
    }

    fn page(length: f32, beat: f32) -> SpeedEvidence {
        let (length, beat) = (Some(Mm(length)), Some(Mm(beat)));
        SpeedEvidence {
            length,
            beat,
            ..SpeedEvidence::default()
        }
    }

    #[test]
    fn a_pulse_alone_proves_the_usual_speed_and_an_unusual_one_if_all_else_agrees() {
        let width = |mm| SpeedEvidence {
            pulse_width: Some(Mm(mm)),
            ..SpeedEvidence::default()
        };
        check(width(5.0), 25.0, true);
        let of = |mm, page| SpeedEvidence {
            pulse_width: Some(Mm(mm)),
            ..page
        };
        check(of(10.0, page(250.0, 40.0)), 50.0, false);
        check(of(2.5, page(125.0, 10.0)), 12.5, false);
        let wide = |qrs, page| SpeedEvidence {
            qrs: Some(Mm(qrs)),
            ..page
        };
        check(wide(1.44, of(10.0, page(250.0, 40.0))), 50.0, true);
        // 0.1 s at the usual speed.
        check(of(2.5, page(250.0, 20.0)), 25.0, true);
        check(of(2.5, page(125.0, 20.0)), 25.0, false);
    }

    #[test]
    fn a_text_is_believed_and_one_that_all_else_contradicts_is_not() {
        let text = |texts, page| SpeedEvidence { texts, ..page };
        check(text([0.0, 0.0, 0.8], page(250.0, 40.0)), 50.0, true);
        check(text([0.8, 0.0, 0.0], page(125.0, 10.0)), 12.5, true);
        check(text([0.0, 0.7, 0.0], page(250.0, 20.0)), 25.0, true);
        check(text([0.0, 0.0, 0.3], page(250.0, 20.0)), 25.0, true);
        check(text([0.0, 0.0, 0.7], page(250.0, 20.0)), 50.0, false);
    }
}
