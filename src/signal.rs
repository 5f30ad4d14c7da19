//! From a line on paper to samples in millivolt.
//!
//! In: a `Line` in its `Strip`, speed, gain and the panel's limits. Out: samples at a constant
//! rate from the panel's start, `None` where the line was not found. Between columns a natural
//! cubic spline, over each unbroken run of columns on its own; gaps of up to `BRIDGE` are joined.

pub mod bars;
pub mod beats;
pub mod extent;
mod pulsed;

use std::ops::Range;

use crate::crop::{CROP_PX_PER_MM, Strip};
use crate::page::{InPanel, Point};
use crate::trace::Line;
use crate::units::{Hertz, Millivolt, Mm, MmPerMillivolt, MmPerSecond};

/// Longest gap in a line that is joined rather than left: 1 mm is a hair, a fold or a crossing.
const BRIDGE: Mm = Mm(1.0);
/// Samples this far outside the line's outermost columns take the outermost column's value.
const REACH: Mm = Mm(0.5);
/// Within this distance of a panel's end a jump from column to column is no part of its trace, if it
/// is so many times as high as those around it.
const GUARD: Mm = Mm(0.5);
const JUMP: Mm = Mm(0.9);
const LEAP_TIMES: f32 = 2.0;
/// A panel's end is known to about this.
const ACROSS: Mm = Mm(0.15);
/// Shortest run of columns that is a line.
const RUN_MIN: Mm = Mm(0.5);

/// What turns millimetres into time and voltage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    pub speed: MmPerSecond,
    pub gain: MmPerMillivolt,
    pub rate: Hertz,
}

/// A height in millivolt, and the standard deviation that the net gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub height: Millivolt,
    pub deviation: Millivolt,
}

/// Samples of the panel from `left` to `right` on the paper.
pub fn sample(
    line: &Line,
    strip: &Strip,
    left: Mm,
    right: Mm,
    scale: Scale,
) -> Vec<Option<Sample>> {
    let count = ((right - left).at(scale.speed).0 * scale.rate.0)
        .round()
        .max(0.0) as usize;
    let mut samples = vec![None; count];
    let step = scale.speed.0 / scale.rate.0;
    for run in runs(line, strip, left, right) {
        let spline = Spline::natural(&run.x_mm, &run.y_mm);
        let (first, last) = (
            run.x_mm[0] - REACH.0,
            run.x_mm[run.x_mm.len() - 1] + REACH.0,
        );
        for (k, sample) in samples.iter_mut().enumerate() {
            let x = left.0 + k as f32 * step;
            if (first..=last).contains(&x) {
                *sample = Some(Sample {
                    height: Millivolt(-spline.at(x) / scale.gain.0),
                    deviation: Millivolt(run.deviation_at(x) / scale.gain.0),
                });
            }
        }
    }
    samples
}

/// Columns without a long gap: x on the paper, height below the row's zero line and its standard
/// deviation.
#[derive(Default)]
struct Run {
    x_mm: Vec<f32>,
    y_mm: Vec<f32>,
    deviation_mm: Vec<f32>,
}

impl Run {
    fn push(&mut self, point: &Placed) {
        self.x_mm.push(point.x_mm);
        self.y_mm.push(point.below_mm);
        self.deviation_mm.push(point.deviation_mm);
    }

    /// Of the next column to the right.
    fn deviation_at(&self, x: f32) -> f32 {
        let next = self.x_mm.partition_point(|v| *v < x);
        self.deviation_mm[next.min(self.deviation_mm.len() - 1)]
    }
}

/// A column's point of the line on the paper, its height below the row's zero line.
#[derive(Clone, Copy)]
struct Placed {
    x_mm: f32,
    below_mm: f32,
    deviation_mm: f32,
}

fn runs(line: &Line, strip: &Strip, left: Mm, right: Mm) -> Vec<Run> {
    // One height is zero from end to end: rows are printed along the paper's grid, and the labels,
    // which tell a row's direction, are seldom quite level.
    let zero = strip.zero(Mm((left.0 + right.0) / 2.0));
    let mut points: Vec<Placed> = Vec::new();
    for (column, point) in line.points.iter().enumerate() {
        let Some(point) = point else { continue };
        let at = strip.to_paper(Point::<InPanel>::new(column as f32, point.y_px));
        if at.x >= left.0 - REACH.0 && at.x <= right.0 + REACH.0 {
            points.push(Placed {
                x_mm: at.x,
                below_mm: at.y - zero.0,
                deviation_mm: point.spread_px / CROP_PX_PER_MM,
            });
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    for point in guarded(&points, left, right) {
        match runs.last_mut() {
            Some(run) if point.x_mm - run.x_mm[run.x_mm.len() - 1] <= BRIDGE.0 => run.push(point),
            _ => {
                let mut run = Run::default();
                run.push(point);
                runs.push(run);
            }
        }
    }
    runs.retain(|run| run.x_mm.len() as f32 >= RUN_MIN.0 * CROP_PX_PER_MM);
    runs
}

/// The points without what lies beyond a leap near the panel's ends: a bar between two panels, the
/// foot of a pulse, or the neighbour's line.
fn guarded(points: &[Placed], left: Mm, right: Mm) -> &[Placed] {
    let begins = points.partition_point(|point| point.x_mm < left.0 + GUARD.0);
    let ends = points.partition_point(|point| point.x_mm <= right.0 - GUARD.0);
    if begins >= ends {
        return points;
    }
    // A climb that begins within the panel is its own beat, cut by the panel's end.
    let inside = |x: f32| points.partition_point(|point| point.x_mm < x);
    let first = (0..begins).rev().find_map(|k| leap(points, k, left));
    let first = first.map_or(0, |leap| match leap.end {
        behind if behind <= begins => behind,
        _ => inside(left.0 + ACROSS.0),
    });
    let last = (ends - 1..points.len()).find_map(|k| leap(points, k, right));
    let last = last.map_or(points.len(), |leap| match leap.start {
        before if before >= ends - 1 => before + 1,
        _ => inside(right.0 - ACROSS.0),
    });
    &points[first.min(last)..last]
}

/// The points from before to behind a leap that is under way at point `k`, if there is one: one that
/// stands alone, or a steep climb across the panel's end.
fn leap(points: &[Placed], k: usize, end: Mm) -> Option<Range<usize>> {
    if stands_alone(points, k) {
        return Some(k..k + 1);
    }
    climb(points, k).filter(|climb| {
        let (before, behind) = (points[climb.start].x_mm, points[climb.end].x_mm);
        before < end.0 + ACROSS.0 && behind > end.0 - ACROSS.0
    })
}

/// How far the line falls between a point and the next.
fn fall(points: &[Placed], k: usize) -> f32 {
    match (points.get(k), points.get(k.wrapping_add(1))) {
        (Some(a), Some(b)) => b.below_mm - a.below_mm,
        _ => 0.0,
    }
}

/// Whether the line leaps between this point and the next: a beat is as steep for several columns.
fn stands_alone(points: &[Placed], k: usize) -> bool {
    let around = [k.wrapping_sub(3), k.wrapping_sub(2), k + 2, k + 3];
    let steepest = around
        .map(|k| fall(points, k).abs())
        .into_iter()
        .fold(0.0, f32::max);
    let own = fall(points, k).abs();
    own > JUMP.0 && own > LEAP_TIMES * steepest
}

/// The points from the foot to the top of the steep climb or fall in which point `k` lies.
fn climb(points: &[Placed], k: usize) -> Option<Range<usize>> {
    let sign = fall(points, k).signum();
    let is_steep = |k: &usize| fall(points, *k) * sign > JUMP.0;
    let foot = (0..=k).rev().take_while(is_steep).last()?;
    let top = (k..points.len()).take_while(is_steep).last()? + 1;
    Some(foot..top)
}

/// A cubic spline through points, straight at both ends (Press et al., Numerical Recipes, 3.3).
struct Spline<'a> {
    x: &'a [f32],
    y: &'a [f32],
    bend: Vec<f32>,
}

impl<'a> Spline<'a> {
    fn natural(x: &'a [f32], y: &'a [f32]) -> Self {
        let n = x.len();
        assert!(n >= 2 && n == y.len(), "a spline has two points");
        let (mut bend, mut u) = (vec![0f32; n], vec![0f32; n]);
        for i in 1..n - 1 {
            let sig = (x[i] - x[i - 1]) / (x[i + 1] - x[i - 1]);
            let p = sig * bend[i - 1] + 2.0;
            bend[i] = (sig - 1.0) / p;
            let rise =
                (y[i + 1] - y[i]) / (x[i + 1] - x[i]) - (y[i] - y[i - 1]) / (x[i] - x[i - 1]);
            u[i] = (6.0 * rise / (x[i + 1] - x[i - 1]) - sig * u[i - 1]) / p;
        }
        for i in (0..n - 1).rev() {
            bend[i] = bend[i] * bend[i + 1] + u[i];
        }
        bend[0] = 0.0;
        Self { x, y, bend }
    }

    /// The value at `x`; outside the points the nearest one's.
    fn at(&self, x: f32) -> f32 {
        let last = self.x.len() - 1;
        if x <= self.x[0] {
            return self.y[0];
        }
        if x >= self.x[last] {
            return self.y[last];
        }
        let high = self.x.partition_point(|v| *v <= x).min(last);
        let low = high - 1;
        let width = self.x[high] - self.x[low];
        let (a, b) = ((self.x[high] - x) / width, (x - self.x[low]) / width);
        let curve = (a * a * a - a) * self.bend[low] + (b * b * b - b) * self.bend[high];
        a * self.y[low] + b * self.y[high] + curve * width * width / 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::follow::LinePoint;

    const SCALE: Scale = Scale {
        speed: MmPerSecond(25.0),
        gain: MmPerMillivolt(10.0),
        rate: Hertz(500.0),
    };

    fn strip() -> Strip {
        Strip::new(
            Mm(16.0),
            [Point::new(0.0, 50.0), Point::new(100.0, 50.0)],
            576,
            384,
        )
    }

    /// A line that follows `mv` of the time since x = 20 mm.
    fn line(mv: impl Fn(f32) -> Option<f32>) -> Line {
        let strip = strip();
        let point = |column: usize| {
            let x = strip.to_paper(Point::<InPanel>::new(column as f32, 0.0)).x;
            let y_mm = 50.0 - 10.0 * mv((x - 20.0) / 25.0)?;
            let y_px = strip.to_panel(Point::new(x, y_mm)).y;
            Some(LinePoint {
                y_px,
                confidence: 1.0,
                spread_px: 0.0,
            })
        };
        Line {
            points: (0..576).map(point).collect(),
        }
    }

    #[test]
    fn a_wave_comes_back_in_millivolt() {
        let wave = |t: f32| (t * 12.0).sin();
        let samples = sample(
            &line(|t| Some(wave(t))),
            &strip(),
            Mm(20.0),
            Mm(82.5),
            SCALE,
        );
        assert_eq!(samples.len(), 1250);
        for (k, value) in samples.iter().enumerate() {
            let expected = wave(k as f32 / 500.0);
            let found = value.expect("no gap was drawn").height.0;
            assert!(
                (found - expected).abs() < 0.002,
                "sample {k}: {found}, drawn {expected}"
            );
        }
    }

    #[test]
    fn a_beat_on_a_panels_edge_is_kept_and_the_neighbours_line_is_not() {
        // A beat of 1.2 mV that is cut by the panel's right edge at 2.5 s; beyond it, another trace.
        let beat = |t: f32| 1.2 * (-((t - 2.49) / 0.02).powi(2)).exp();
        let mv = |t: f32| Some(if t < 2.5 { beat(t) } else { -0.9 });
        let samples = sample(&line(mv), &strip(), Mm(20.0), Mm(82.5), SCALE);
        for (k, value) in samples.iter().enumerate().take(1248) {
            let (found, drawn) = (value.unwrap().height.0, beat(k as f32 / 500.0));
            assert!(
                (found - drawn).abs() < 0.2,
                "sample {k}: {found}, drawn {drawn}"
            );
        }
    }

    #[test]
    fn a_row_whose_labels_are_not_level_is_no_slope() {
        let tilted = [Point::new(0.0, 49.0), Point::new(100.0, 51.0)];
        let strip = Strip::new(Mm(16.0), tilted, 576, 384);
        let point = |column: usize| {
            let x = strip.to_paper(Point::<InPanel>::new(column as f32, 0.0)).x;
            let y_px = strip.to_panel(Point::new(x, 50.0)).y;
            Some(LinePoint {
                y_px,
                confidence: 1.0,
                spread_px: 0.0,
            })
        };
        let points = (0..576).map(point).collect();
        let samples = sample(&Line { points }, &strip, Mm(20.0), Mm(82.5), SCALE);
        let height = |k: usize| samples[k].expect("no gap was drawn").height.0;
        assert!(
            (height(0) - height(1249)).abs() < 1e-3,
            "{} {}",
            height(0),
            height(1249)
        );
    }

    #[test]
    fn a_long_gap_stays_and_a_short_one_is_joined() {
        let mv = |t: f32| (!(0.5..0.7).contains(&t) && !(1.5..1.52).contains(&t)).then_some(0.1);
        let samples = sample(&line(mv), &strip(), Mm(20.0), Mm(82.5), SCALE);
        assert!(samples[290].is_none(), "0.58 s lies in the gap");
        assert!(
            samples[755].is_some(),
            "1.51 s lies in a gap of half a millimetre"
        );
    }
}
