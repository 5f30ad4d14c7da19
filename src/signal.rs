//! From a line on paper to samples in millivolt.
//!
//! In: a `Line` in its `Strip`, speed, gain and the panel's limits. Out: samples at a constant
//! rate from the panel's start, `None` where the line was not found. Between columns a natural
//! cubic spline, over each unbroken run of columns on its own; gaps of up to `BRIDGE` are joined.

pub mod extent;

use crate::crop::{CROP_PX_PER_MM, Strip};
use crate::page::{InPanel, Point};
use crate::trace::Line;
use crate::units::{Hertz, Millivolt, Mm, MmPerMillivolt, MmPerSecond};

/// Longest gap in a line that is joined rather than left: 1 mm is a hair, a fold or a crossing.
const BRIDGE: Mm = Mm(1.0);
/// Samples this far outside the line's outermost columns take the outermost column's value.
const REACH: Mm = Mm(0.5);
/// Within this distance of a panel's end a jump from column to column is no part of its trace.
const GUARD: Mm = Mm(0.5);
const JUMP: Mm = Mm(0.9);
/// Shortest run of columns that is a line.
const RUN_MIN: Mm = Mm(0.5);

/// What turns millimetres into time and voltage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    pub speed: MmPerSecond,
    pub gain: MmPerMillivolt,
    pub rate: Hertz,
}

/// Samples of the panel from `left` to `right` on the paper.
pub fn sample(
    line: &Line,
    strip: &Strip,
    left: Mm,
    right: Mm,
    scale: Scale,
) -> Vec<Option<Millivolt>> {
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
                *sample = Some(Millivolt(-spline.at(x) / scale.gain.0));
            }
        }
    }
    samples
}

/// Columns without a long gap: x on the paper, height below the row's zero line.
struct Run {
    x_mm: Vec<f32>,
    y_mm: Vec<f32>,
}

fn runs(line: &Line, strip: &Strip, left: Mm, right: Mm) -> Vec<Run> {
    let mut points: Vec<(f32, f32)> = Vec::new();
    for (column, point) in line.points.iter().enumerate() {
        let Some(point) = point else { continue };
        let at = strip.to_paper(Point::<InPanel>::new(column as f32, point.y_px));
        if at.x >= left.0 - REACH.0 && at.x <= right.0 + REACH.0 {
            points.push((at.x, at.y - strip.zero(Mm(at.x)).0));
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    for (x, below) in guarded(&points, left, right) {
        match runs.last_mut() {
            Some(run) if x - run.x_mm[run.x_mm.len() - 1] <= BRIDGE.0 => {
                run.x_mm.push(*x);
                run.y_mm.push(*below);
            }
            _ => runs.push(Run {
                x_mm: vec![*x],
                y_mm: vec![*below],
            }),
        }
    }
    runs.retain(|run| run.x_mm.len() as f32 >= RUN_MIN.0 * CROP_PX_PER_MM);
    runs
}

/// The points without what lies beyond a jump near the panel's ends: a bar between two panels, the
/// foot of a pulse, or the neighbour's line.
fn guarded(points: &[(f32, f32)], left: Mm, right: Mm) -> &[(f32, f32)] {
    let jumps = |pair: &[(f32, f32)]| (pair[1].1 - pair[0].1).abs() > JUMP.0;
    let begins = points.partition_point(|point| point.0 < left.0 + GUARD.0);
    let ends = points.partition_point(|point| point.0 <= right.0 - GUARD.0);
    if begins >= ends {
        return points;
    }
    let first = points[..=begins]
        .windows(2)
        .rposition(jumps)
        .map_or(0, |k| k + 1);
    let last = points[ends - 1..]
        .windows(2)
        .position(jumps)
        .map_or(points.len(), |k| ends + k);
    &points[first..last]
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
            let found = value.expect("no gap was drawn").0;
            assert!(
                (found - expected).abs() < 0.002,
                "sample {k}: {found}, drawn {expected}"
            );
        }
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
