//! Rows that lean against the paper's grid.
//!
//! In: how far the leads contradict each other at a supposed lean. Out: the lean at which they do
//! not, where there is one. Paper with a printed grid may run askew under the pens: the rows stay
//! level, but what was written at one time stands on a slanted line, and leads of one time are told
//! at two. I - II + III (Einthoven, 1912) and aVR + aVL + aVF (Goldberger, 1942) vanish at the one
//! slant that was printed. Units: radians, positive where lower rows lie further right.

/// Papers lean by 1.2 degrees at most; looked for in steps that move a row 40 mm off by 1.6 ms at
/// 25 mm/s.
const LEAN_MAX: f32 = 0.02;
const STEP: f32 = 0.001;
/// Leads that leave over less than this need no lean.
const CONTRADICTED: f32 = 0.35;
/// A lean is believed that leaves over less than this, and at most this share of what was.
const SETTLED: f32 = 0.4;
const SHARE_MAX: f32 = 0.6;

/// The lean at which `contradiction` (what the laws leave over, as a share of the leads) is least;
/// `level` is what they leave over as it is.
pub fn find(level: Option<f32>, contradiction: impl Fn(f32) -> Option<f32>) -> Option<f32> {
    let level = level.filter(|left| *left > CONTRADICTED)?;
    let steps = (LEAN_MAX / STEP).round() as isize;
    let tried = (-steps..=steps).filter_map(|k| Some((k, contradiction(k as f32 * STEP)?)));
    let (k, left) = tried.min_by(|a, b| a.1.total_cmp(&b.1))?;
    let is_within = k.abs() < steps;
    (is_within && left < SETTLED && left < SHARE_MAX * level).then_some(k as f32 * STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(left: impl Fn(f32) -> Option<f32>) -> Option<f32> {
        find(left(0.0), left)
    }

    #[test]
    fn a_lean_that_settles_the_contradiction_is_found() {
        let left = |lean: f32| Some(0.1 + 60.0 * (lean - 0.009).abs());
        let lean = found(left).expect("0.64 is left at none");
        assert!((lean - 0.009).abs() < 1e-4, "{lean}");
    }

    #[test]
    fn leads_that_contradict_themselves_for_another_reason_do_not_lean() {
        assert_eq!(found(|lean| Some(0.7 + 5.0 * lean)), None);
        assert_eq!(found(|lean| Some(0.55 - 10.0 * lean)), None);
        assert_eq!(found(|_| None), None);
    }

    #[test]
    fn leads_that_agree_are_left_alone() {
        assert_eq!(found(|lean| Some(0.3 - 10.0 * lean)), None);
    }
}
