//! How far the beats are apart on the paper, and how wide their complexes are.
//!
//! In: the rows' lines, the recording's ends. Out: `Rhythm` in millimetres. All rows show the same
//! heart: how steep their lines are, summed over the rows, rises at every QRS complex; the sum
//! resembles itself best when shifted by one beat (autocorrelation), and half as much when shifted
//! by a complex's half width. `None` where nothing repeats. Columns that are printed from one time
//! each break the rhythm where they meet; the rest carries it.

use super::extent::Extent;
use crate::crop::CROP_PX_PER_MM;
use crate::page::{InPanel, Point};
use crate::trace::rows::TracedRow;
use crate::units::Mm;

const BIN_MM: f32 = 0.25;
/// Complexes are compared this wide (bins to either side), beats wider: no two are equally far apart.
const QRS_BINS: usize = 1;
const WIDE_BINS: usize = 3;
/// Steeper than this a column (1/8 mm) counts no more.
const RISE_MAX_MM: f32 = 1.0;
/// Nearest and furthest beats: 300 a minute at 12.5 mm/s, 30 at 50 mm/s.
const BEAT_MM: (f32, f32) = (2.5, 100.0);
/// The least resemblance that is a rhythm, and the share of the best that an earlier one must have.
const ALIKE_MIN: f32 = 0.25;
const FIRST_SHARE: f32 = 0.75;

/// What repeats on the paper.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rhythm {
    /// From beat to beat.
    pub beat: Option<Mm>,
    /// Half of a QRS complex, as wide as its steepness resembles itself by half or more.
    pub qrs: Option<Mm>,
}

/// Finds the beats.
pub fn rhythm(rows: &[TracedRow], extent: Extent) -> Rhythm {
    let bins = ((extent.right - extent.left).0 / BIN_MM).max(0.0) as usize;
    let mut steep = vec![0f32; bins];
    for row in rows {
        add(&mut steep, row, extent.left);
    }
    Rhythm {
        beat: beat(&level(&steep, WIDE_BINS)),
        qrs: half_width(&level(&steep, QRS_BINS)),
    }
}

/// The values summed over `reach` to either side, less their mean.
fn level(values: &[f32], reach: usize) -> Vec<f32> {
    let count = values.len();
    let wide: Vec<f32> = (0..count)
        .map(|k| {
            values[k.saturating_sub(reach)..(k + reach + 1).min(count)]
                .iter()
                .sum()
        })
        .collect();
    let mean = wide.iter().sum::<f32>() / count.max(1) as f32;
    wide.iter().map(|v| v - mean).collect()
}

fn beat(level: &[f32]) -> Option<Mm> {
    let last = ((BEAT_MM.1 / BIN_MM) as usize).min(level.len() / 2);
    let alike: Vec<f32> = (0..=last).map(|lag| resemblance(level, lag)).collect();
    let first = (BEAT_MM.0 / BIN_MM) as usize;
    let is_peak = |k: &usize| alike[*k] >= alike[k - 1] && alike[*k] > alike[k + 1];
    let peaks: Vec<usize> = (first..last).filter(is_peak).collect();
    let best = peaks.iter().map(|k| alike[*k]).fold(0.0, f32::max);
    let found = peaks
        .into_iter()
        .find(|k| alike[*k] >= FIRST_SHARE * best)?;
    (best > ALIKE_MIN * alike[0]).then_some(Mm(found as f32 * BIN_MM))
}

/// The shift at which the values resemble themselves by half.
fn half_width(level: &[f32]) -> Option<Mm> {
    let half = 0.5 * resemblance(level, 0);
    let alike = |lag: usize| resemblance(level, lag);
    let lag = (1..level.len() / 2).find(|lag| alike(*lag) < half)?;
    let (before, after) = (alike(lag - 1), alike(lag));
    let share = (before - half) / (before - after);
    Some(Mm(((lag - 1) as f32 + share) * BIN_MM))
}

/// Adds how steep a row's line is, each row as much as any other.
fn add(steep: &mut [f32], row: &TracedRow, left: Mm) {
    let mut own = vec![0f32; steep.len()];
    let pairs = row.line.points.windows(2).enumerate();
    for (column, pair) in pairs {
        let [Some(a), Some(b)] = pair else { continue };
        let x = row
            .strip
            .to_paper(Point::<InPanel>::new(column as f32, a.y_px))
            .x;
        let bin = (x - left.0) / BIN_MM;
        if bin >= 0.0 && (bin as usize) < own.len() {
            own[bin as usize] += ((b.y_px - a.y_px).abs() / CROP_PX_PER_MM).min(RISE_MAX_MM);
        }
    }
    let sum: f32 = own.iter().sum();
    for (all, own) in steep.iter_mut().zip(own) {
        *all += own / sum.max(f32::MIN_POSITIVE);
    }
}

/// Mean product of the values that are `lag` apart.
fn resemblance(values: &[f32], lag: usize) -> f32 {
    let pairs = values.len().saturating_sub(lag).max(1) as f32;
    values
        .iter()
        .zip(values.iter().skip(lag))
        .map(|(a, b)| a * b)
        .sum::<f32>()
        / pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::Strip;
    use crate::signal::extent::EndsEvidence;
    use crate::trace::Line;
    use crate::trace::follow::LinePoint;

    fn row(height_mm: impl Fn(f32) -> f32) -> TracedRow {
        let strip = Strip::new(
            Mm(0.0),
            [Point::new(0.0, 20.0), Point::new(99.0, 20.0)],
            2016,
            320,
        );
        let point = |x: usize| {
            let y_px = 160.0 - CROP_PX_PER_MM * height_mm(x as f32 / CROP_PX_PER_MM);
            Some(LinePoint {
                y_px,
                confidence: 1.0,
                spread_px: 0.0,
            })
        };
        TracedRow {
            strip,
            line: Line {
                points: (0..2016).map(point).collect(),
            },
        }
    }

    fn found(rows: &[TracedRow]) -> Rhythm {
        let errors = [Mm(0.25); 2];
        let evidence = EndsEvidence::Agreed;
        rhythm(
            rows,
            Extent {
                left: Mm(0.0),
                right: Mm(250.0),
                evidence,
                errors,
            },
        )
    }

    #[test]
    fn beats_are_told_by_their_distance() {
        let wave = |x: f32, off: f32| {
            let peak = |at: f32, wide: f32| (-((x % 21.0 - at - off) / wide).powi(2)).exp();
            9.0 * peak(8.0, 0.6) + 2.0 * peak(15.0, 2.5)
        };
        let rhythm = found(&[row(|x| wave(x, 0.0)), row(|x| -0.4 * wave(x, 0.2))]);
        let (beat, qrs) = (rhythm.beat.unwrap(), rhythm.qrs.unwrap());
        assert!((beat.0 - 21.0).abs() < 0.5, "{beat:?}");
        assert!((0.4..1.5).contains(&qrs.0), "{qrs:?}");
    }

    #[test]
    fn a_flat_line_has_no_beat() {
        assert_eq!(found(&[row(|_| 0.0)]), Rhythm::default());
    }
}
