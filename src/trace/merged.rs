//! Where two rows' lines run on one and the same ink.
//!
//! In: the rows' lines. Out: `Merged`: which rows, and where along the paper. Traces of neighbouring
//! rows cross, steeply and at once; two lines that stay together are one trace followed twice, and
//! the other one is lost. Units: millimetres on the paper.

use super::rows::TracedRow;
use crate::page::InPanel;
use crate::page::Point;
use crate::units::Mm;

/// Lines nearer than this are on the same ink.
const NEAR_MM: f32 = 0.25;
/// Lines that run together for less than this cross.
const RUN_MM_MIN: f32 = 2.5;

/// Two rows that follow one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merged {
    /// Indices of the rows, the upper first.
    pub rows: (usize, usize),
    pub from: Mm,
    pub to: Mm,
}

/// Every stretch on which two rows' lines are one.
pub fn merged(rows: &[TracedRow]) -> Vec<Merged> {
    let mut found = Vec::new();
    for first in 0..rows.len() {
        for second in first + 1..rows.len() {
            for (from, to) in runs(&rows[first], &rows[second]) {
                found.push(Merged {
                    rows: (first, second),
                    from: Mm(from),
                    to: Mm(to),
                });
            }
        }
    }
    found
}

/// Stretches of `a` that lie on `b`.
fn runs(a: &TracedRow, b: &TracedRow) -> Vec<(f32, f32)> {
    let mut runs: Vec<(f32, f32)> = Vec::new();
    let mut last_is_near = false;
    for (column, point) in a.line.points.iter().enumerate() {
        let Some(point) = point else {
            last_is_near = false;
            continue;
        };
        let at = a
            .strip
            .to_paper(Point::<InPanel>::new(column as f32, point.y_px));
        let is_near = height(b, at.x).is_some_and(|y| (y - at.y).abs() < NEAR_MM);
        match runs.last_mut().filter(|_| is_near && last_is_near) {
            Some(run) => run.1 = at.x,
            None if is_near => runs.push((at.x, at.x)),
            None => {}
        }
        last_is_near = is_near;
    }
    runs.retain(|run| run.1 - run.0 >= RUN_MM_MIN);
    runs
}

/// Height of a row's line on the paper.
fn height(row: &TracedRow, x: f32) -> Option<f32> {
    let column = row.strip.to_panel(Point::new(x, 0.0)).x.round();
    let point = (*row.line.points.get(column.max(0.0) as usize)?)?;
    Some(
        row.strip
            .to_paper(Point::<InPanel>::new(column, point.y_px))
            .y,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::Strip;
    use crate::trace::Line;
    use crate::trace::follow::LinePoint;

    /// A row with its zero line at `zero`; `below(x)` is its line's height under it.
    fn row(zero: f32, below: impl Fn(f32) -> f32) -> TracedRow {
        let ends = [Point::new(0.0, zero), Point::new(99.0, zero)];
        let strip = Strip::new(Mm(0.0), ends, 800, 480);
        let point = |column: usize| {
            let x = (column as f32 + 0.5) / 8.0;
            Some(LinePoint {
                y_px: 240.0 + 8.0 * below(x) - 0.5,
                confidence: 1.0,
                spread_px: 0.0,
            })
        };
        let points = (0..800).map(point).collect();
        TracedRow {
            strip,
            line: Line { points },
        }
    }

    #[test]
    fn a_row_that_follows_its_neighbour_is_found() {
        let stays = |x: f32| if (40.0..50.0).contains(&x) { 10.0 } else { 0.0 };
        let found = merged(&[row(30.0, stays), row(40.0, |_| 0.0)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].rows, (0, 1));
        assert!((found[0].from.0 - 40.0).abs() < 0.3 && (found[0].to.0 - 50.0).abs() < 0.3);
    }

    #[test]
    fn rows_that_cross_are_two() {
        let crosses = |x: f32| ((x - 45.0) * 2.0).clamp(-12.0, 12.0);
        assert_eq!(merged(&[row(30.0, crosses), row(34.0, |_| 0.0)]), []);
    }
}
