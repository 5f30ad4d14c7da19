//! Calibration pulses that the rows' own lines show.
//!
//! In: the rows' lines. Out: where the recording begins behind its pulses. Where no box tells of a
//! pulse its line is taken for the trace's beginning: it stays on a level, then falls to another
//! one, in two rows at the same place by the same height, as no two leads do. Units: millimetres.

use crate::page::{InPanel, Point};
use crate::trace::follow::LinePoint;
use crate::trace::rows::TracedRow;
use crate::units::Mm;

/// Pulses stand within this distance of where the first row's line begins.
const SEARCH_MM: f32 = 14.0;
/// A pulse falls by at least this, within this distance.
const FALL_MIN_MM: f32 = 4.0;
const STROKE_MM: f32 = 1.0;
/// Before and behind the fall the line is level: for so long, to this.
const LEVEL_MM: (f32, f32) = (1.2, 0.8);
const LEVEL_OFF_MM: f32 = 0.5;
/// Falls at one place, and of one height.
const SAME_PLACE_MM: f32 = 0.8;
const SAME_HEIGHT_MM: f32 = 0.8;

/// Where a row's line falls from one level to another.
#[derive(Clone, Copy, Debug)]
struct Fall {
    foot: f32,
    height: f32,
}

/// Where the last pulse ends at the rows' beginning, if at least half of them, and two, show one.
pub fn pulse_end(rows: &[TracedRow]) -> Option<Mm> {
    let lines: Vec<Vec<[f32; 2]>> = rows.iter().map(places).collect();
    let begins = lines.iter().filter_map(|line| line.first());
    let first = begins.map(|at| at[0]).min_by(f32::total_cmp)?;
    let falls: Vec<Vec<Fall>> = lines
        .iter()
        .map(|line| {
            let near = line.partition_point(|at| at[0] < first + SEARCH_MM);
            falls(&line[..near])
        })
        .collect();
    let lines = lines.iter().filter(|line| !line.is_empty()).count();
    let alike = |fall: &Fall| {
        let is_alike = |other: &Fall| {
            (other.foot - fall.foot).abs() < SAME_PLACE_MM
                && (other.height - fall.height).abs() < SAME_HEIGHT_MM
        };
        let in_row = |row: &Vec<Fall>| row.iter().copied().find(is_alike);
        falls.iter().filter_map(in_row).collect::<Vec<Fall>>()
    };
    let ends = falls.iter().flatten().filter_map(|fall| {
        let found = alike(fall);
        let foot = found.iter().map(|fall| fall.foot).sum::<f32>() / found.len() as f32;
        (found.len() >= 2 && 2 * found.len() >= lines).then_some(foot)
    });
    ends.max_by(f32::total_cmp).map(Mm)
}

/// A row's line on the paper: x, and height below the row's zero line.
fn places(row: &TracedRow) -> Vec<[f32; 2]> {
    let place = |(column, point): (usize, &Option<LinePoint>)| {
        let at = Point::<InPanel>::new(column as f32, (*point)?.y_px);
        let at = row.strip.to_paper(at);
        Some([at.x, at.y - row.strip.zero(Mm(at.x)).0])
    };
    row.line
        .points
        .iter()
        .enumerate()
        .filter_map(place)
        .collect()
}

/// The falls from one level to another.
fn falls(line: &[[f32; 2]]) -> Vec<Fall> {
    let mut out: Vec<Fall> = Vec::new();
    for (k, at) in line.iter().enumerate() {
        let behind = || {
            let near = |to: &&[f32; 2]| to[0] - at[0] <= STROKE_MM;
            line[k + 1..].iter().take_while(near)
        };
        let deepest = behind().map(|to| to[1]).fold(at[1], f32::max);
        let foot = behind().position(|to| to[1] > deepest - LEVEL_OFF_MM / 2.0);
        let (height, Some(n)) = (deepest - at[1], foot) else {
            continue;
        };
        let to = line[k + 1 + n];
        if height < FALL_MIN_MM || !is_level(line, k, true) || !is_level(line, k + 1 + n, false) {
            continue;
        }
        match out.last_mut() {
            Some(last) if to[0] - last.foot < SAME_PLACE_MM => {
                if height > last.height {
                    *last = Fall {
                        foot: to[0],
                        height,
                    };
                }
            }
            _ => out.push(Fall {
                foot: to[0],
                height,
            }),
        }
    }
    out
}

/// Whether the line is level up to point `k`, or from there on.
fn is_level(line: &[[f32; 2]], k: usize, before: bool) -> bool {
    let at = line[k];
    let length = if before { LEVEL_MM.0 } else { LEVEL_MM.1 };
    let is_near = |to: &&[f32; 2]| (to[0] - at[0]).abs() <= length;
    let near: Vec<&[f32; 2]> = if before {
        line[..k].iter().rev().take_while(is_near).collect()
    } else {
        line[k + 1..].iter().take_while(is_near).collect()
    };
    let reaches = near
        .last()
        .is_some_and(|to| (to[0] - at[0]).abs() > 0.8 * length);
    reaches && near.iter().all(|to| (to[1] - at[1]).abs() < LEVEL_OFF_MM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::Strip;
    use crate::trace::Line;

    /// A row whose line is so far below its zero line.
    fn row(below: impl Fn(f32) -> f32) -> TracedRow {
        let ends = [Point::new(0.0, 50.0), Point::new(99.0, 50.0)];
        let strip = Strip::new(Mm(0.0), ends, 800, 320);
        let point = |column: usize| {
            let x = (column as f32 + 0.5) / 8.0;
            (x > 4.0).then(|| LinePoint {
                y_px: 160.0 + 8.0 * below(x) - 0.5,
                confidence: 0.9,
                spread_px: 0.0,
            })
        };
        let points = (0..800).map(point).collect();
        TracedRow {
            strip,
            line: Line { points },
        }
    }

    /// A level of so many millimetres up to x = 9.
    fn pulse(height: f32) -> impl Fn(f32) -> f32 {
        move |x| if x < 9.0 { -height } else { 0.3 }
    }

    #[test]
    fn a_fall_that_rows_share_ends_the_pulse() {
        let rows = [row(pulse(10.0)), row(pulse(10.2)), row(|_| 0.0)];
        let end = pulse_end(&rows).expect("two of three rows begin on the pulse");
        assert!((end.0 - 9.1).abs() < 0.3, "{end:?}");
    }

    #[test]
    fn beats_are_no_pulses() {
        let beat = |height: f32| move |x: f32| -(height - 12.0 * (x - 9.0).abs()).max(0.0);
        assert_eq!(pulse_end(&[row(beat(9.0)), row(beat(9.1))]), None);
        // One lead of three that stays up, and two unlike ones.
        let rows = [row(pulse(10.0)), row(|_| 0.0), row(|_| 0.0)];
        assert_eq!(pulse_end(&rows), None);
        assert_eq!(pulse_end(&[row(pulse(10.0)), row(pulse(6.0))]), None);
    }
}
