//! Where a line leaps onto other ink and back, or is torn on a steep stroke.
//!
//! In: a stretch of a row's line. Out: `Leaps`, counts. A beat rises over several columns, or falls
//! as steeply as it rose; a line that the net lost in a crossing goes over to the other trace's ink
//! in one step that nothing around it resembles, and comes back in another. Where a stroke is torn,
//! the beat's peak may be lost with it. Units: the strip's pixels.

use super::follow::LinePoint;
use crate::crop::CROP_PX_PER_MM;

/// A step from column to column higher than this may be a leap.
const LEAP_MM: f32 = 1.5;
/// It is one if its neighbours, in its own direction, are less than this share as high.
const ALIKE: f32 = 0.5;
/// What lies between two leaps is other ink if it is this long at most; gaps likewise.
const AWAY_MM: f32 = 6.0;
/// A stroke is steep if a column within `BESIDE` of the gap rises by this much.
const STEEP_MM: f32 = 0.5;
const BESIDE: usize = 3;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Leaps {
    pub leaps: usize,
    /// Pairs of leaps with a piece of line between them.
    pub away: usize,
    /// Gaps beside a steep stroke.
    pub torn: usize,
}

/// Counts the leaps of a stretch of line, one point a column.
pub fn leaps(points: &[Option<LinePoint>]) -> Leaps {
    let found: Vec<usize> = (1..points.len()).filter(|x| is_leap(points, *x)).collect();
    let away = (AWAY_MM * CROP_PX_PER_MM) as usize;
    let is_away = |pair: &&[usize]| (2..=away).contains(&(pair[1] - pair[0]));
    let present: Vec<usize> = (0..points.len()).filter(|x| points[*x].is_some()).collect();
    let is_torn = |pair: &&[usize]| {
        (2..=away).contains(&(pair[1] - pair[0]))
            && (is_steep(points, pair[0].saturating_sub(BESIDE), pair[0])
                || is_steep(points, pair[1], pair[1] + BESIDE))
    };
    Leaps {
        leaps: found.len(),
        away: found.windows(2).filter(is_away).count(),
        torn: present.windows(2).filter(is_torn).count(),
    }
}

/// How far the line falls into column `x`.
fn step(points: &[Option<LinePoint>], x: usize) -> Option<f32> {
    let before = (*points.get(x.checked_sub(1)?)?)?;
    Some((*points.get(x)?)?.y_px - before.y_px)
}

fn is_leap(points: &[Option<LinePoint>], x: usize) -> bool {
    let Some(own) = step(points, x).filter(|own| own.abs() > LEAP_MM * CROP_PX_PER_MM) else {
        return false;
    };
    let is_alike = |x| step(points, x).is_some_and(|s| s * own.signum() > ALIKE * own.abs());
    !is_alike(x - 1) && !is_alike(x + 1)
}

fn is_steep(points: &[Option<LinePoint>], first: usize, last: usize) -> bool {
    let steep = STEEP_MM * CROP_PX_PER_MM;
    (first + 1..=last).any(|x| step(points, x).is_some_and(|step| step.abs() > steep))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(heights: impl Iterator<Item = Option<f32>>) -> Vec<Option<LinePoint>> {
        let point = |y_px: f32| LinePoint {
            y_px,
            confidence: 0.9,
            spread_px: 0.0,
        };
        heights.map(|y| y.map(point)).collect()
    }

    /// A beat 12 mm high with a stroke of six columns on either side.
    fn beat(x: usize) -> f32 {
        200.0 - (96.0 - 16.0 * x.abs_diff(50) as f32).max(0.0)
    }

    #[test]
    fn a_beat_is_no_leap() {
        let found = leaps(&line((0..100).map(|x| Some(beat(x)))));
        assert_eq!(found, Leaps::default());
    }

    #[test]
    fn a_beat_that_goes_on_along_another_line_leaps_twice() {
        let other = |x| (44..56).contains(&x);
        let found = leaps(&line(
            (0..100).map(|x| Some(if other(x) { 260.0 } else { beat(x) })),
        ));
        assert_eq!((found.leaps, found.away), (2, 1));
    }

    #[test]
    fn a_torn_peak_is_counted_and_a_hair_on_the_level_line_is_not() {
        let torn = |x: usize| (!(48..53).contains(&x)).then(|| beat(x));
        assert_eq!(leaps(&line((0..100).map(torn))).torn, 1);
        let hair = |x: usize| (!(20..25).contains(&x)).then(|| beat(x));
        assert_eq!(leaps(&line((0..100).map(hair))).torn, 0);
    }
}
