//! The signals on the test page: sums of Gaussian waves, no patient behind them.
//!
//! In: a lead, a time from the left edge of the recording. Out: millivolt, the same bits on every
//! processor. Paper that was printed once is compared with them for ever: they stay as they are.
//! The limb leads keep Einthoven's law. The beats are not evenly spaced, so that a shift
//! by a whole beat does not go unseen, and none is cut where a panel of 2.5 s ends.

use crate::labels::Lead;
use crate::math;
use crate::units::{Millivolt, Seconds};

/// When each R stands at its top.
const BEATS_S: [f32; 12] = [
    0.55, 1.36, 2.12, 3.04, 3.87, 4.62, 5.53, 6.36, 7.11, 8.04, 8.85, 9.62,
];

/// One wave of a beat: its top after the R, its standard deviation, and its height in I, II and the
/// chest leads.
struct Wave {
    after_s: f32,
    width_s: f32,
    mv: [f32; 8],
}

const WAVES: [Wave; 5] = [
    // P
    Wave {
        after_s: -0.16,
        width_s: 0.022,
        mv: [0.10, 0.16, 0.06, 0.08, 0.08, 0.09, 0.10, 0.10],
    },
    // Q
    Wave {
        after_s: -0.03,
        width_s: 0.010,
        mv: [-0.06, -0.08, 0.0, 0.0, 0.0, -0.05, -0.10, -0.10],
    },
    // R
    Wave {
        after_s: 0.0,
        width_s: 0.012,
        mv: [0.75, 1.0, 0.25, 0.40, 0.70, 1.15, 1.10, 0.90],
    },
    // S
    Wave {
        after_s: 0.032,
        width_s: 0.011,
        mv: [-0.12, -0.15, -0.80, -0.95, -0.65, -0.35, -0.18, -0.10],
    },
    // T
    Wave {
        after_s: 0.24,
        width_s: 0.045,
        mv: [0.22, 0.30, -0.10, 0.35, 0.40, 0.40, 0.32, 0.25],
    },
];

/// Standard deviations within which a wave is drawn.
const REACH: f32 = 6.0;

/// What `lead` shows at that time; `None` for a lead that is not on the page.
pub fn at(lead: Lead, time: Seconds) -> Option<Millivolt> {
    let sum = |column: usize| -> f32 {
        let waves = |beat: &f32| {
            let after_s = time.0 - beat;
            let wave = move |wave: &Wave| {
                let off = (after_s - wave.after_s) / wave.width_s;
                // Beyond it a wave is less than a millionth of its height.
                (off.abs() < REACH).then(|| wave.mv[column] * math::exp(-0.5 * off * off))
            };
            WAVES.iter().filter_map(wave)
        };
        BEATS_S.iter().flat_map(waves).sum()
    };
    let limb = |of: fn(f32, f32) -> f32| of(sum(0), sum(1));
    let mv = match lead {
        Lead::I => sum(0),
        Lead::II => sum(1),
        Lead::III => limb(|one, two| two - one),
        Lead::Avr => limb(|one, two| -(one + two) / 2.0),
        Lead::MinusAvr => limb(|one, two| (one + two) / 2.0),
        Lead::Avl => limb(|one, two| one - two / 2.0),
        Lead::Avf => limb(|one, two| two - one / 2.0),
        Lead::V1 => sum(2),
        Lead::V2 => sum(3),
        Lead::V3 => sum(4),
        Lead::V4 => sum(5),
        Lead::V5 => sum(6),
        Lead::V6 => sum(7),
        Lead::V7 | Lead::V8 | Lead::V9 | Lead::V3R | Lead::V4R | Lead::V5R => return None,
    };
    Some(Millivolt(mv))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limb_leads_keep_einthovens_law() {
        for k in 0..1000 {
            let mv = |lead| at(lead, Seconds(k as f32 * 0.01)).unwrap().0;
            assert!((mv(Lead::I) + mv(Lead::III) - mv(Lead::II)).abs() < 1e-6);
            assert!((mv(Lead::Avr) + mv(Lead::Avl) + mv(Lead::Avf)).abs() < 1e-6);
        }
    }

    #[test]
    fn panels_begin_and_end_at_rest() {
        for edge_s in [0.0, 2.5, 5.0, 7.5, 10.0] {
            for lead in Lead::TWELVE {
                let mv = at(lead, Seconds(edge_s)).unwrap().0;
                assert!(mv.abs() < 0.02, "{} at {edge_s} s: {mv} mV", lead.name());
            }
        }
    }
}
