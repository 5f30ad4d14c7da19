//! The lines of all rows, read once, and once more where the first crop held them badly.
//!
//! In: the picture, the page map, the layout. Out: a `TracedRow` a row. The first crops are as low
//! as most rows allow, the nets' time goes by their height; a line that comes close to its crop's
//! edge is read again around that place in a taller one, and a row that lay off its crop as a
//! whole. The surer reading stands. Units: millimetres on the paper.

use std::ops::Range;

use crate::crop::CROP_PX_PER_MM;
use crate::labels::{Label, LabelClass};
use crate::layout::Layout;
use crate::nets::{NetError, Nets};
use crate::page::{Bounds, InPanel, InPaper, PageMap, Point, RawImage};
use crate::trace::follow::{LinePoint, surety};
use crate::trace::rows::{RowStrip, TracedRow, trace_rows};
use crate::units::Mm;

/// Boxes surer than this are names.
const NAME_SCORE_MIN: f32 = 0.2;
/// What stands left of the first label and right of the last panel: pulses, the trace's start.
const LEFT_MM: f32 = 14.0;
const RIGHT_MM: f32 = 8.0;
/// Longest row that is read.
const ROW_MM_MAX: f32 = 560.0;
/// A row's crop: this many rows high, within the heights the net has seen.
const CROP_ROWS: f32 = 1.2;
const CROP_MM: (f32, f32) = (40.0, 80.0);
/// A first reading is at most this high.
const FIRST_CROP_MM_MAX: f32 = 60.0;
/// A row whose line lies this far off the crop's middle is read again.
const RECENTRE_MM: f32 = 3.5;
/// The row may lie this far off a crop's middle and still be known as the one that is meant.
const OFF_ROW_MM: f32 = 6.0;
/// A second reading may be so much less sure: what leaves its crop looks sure as well.
const SURETY_LOSS_MAX: f32 = 0.03;
/// A line nearer to the crop's edge than this wants a taller crop, this far to both sides.
const EDGE_MM: f32 = 2.5;
const AROUND_MM: f32 = 12.0;

/// The lines of all rows, in order.
pub fn read_rows<N: Nets>(
    image: &RawImage,
    map: &PageMap,
    nets: &N,
    layout: &Layout,
    labels: &[Label],
) -> Result<Vec<TracedRow>, NetError> {
    let names = names(labels, map);
    let strips = row_strips(image, map, layout);
    let mut rows = trace_rows(image, map, nets, &strips, &names)?;
    let again: Vec<(usize, RowStrip)> = strips
        .iter()
        .zip(&rows)
        .enumerate()
        .flat_map(|(k, (strip, row))| second_strips(strip, row).into_iter().map(move |s| (k, s)))
        .collect();
    let seconds: Vec<RowStrip> = again.iter().map(|(_, strip)| *strip).collect();
    for ((k, _), second) in again
        .iter()
        .zip(trace_rows(image, map, nets, &seconds, &names)?)
    {
        take_over(&mut rows[*k], &second);
    }
    Ok(rows)
}

/// Where the leads' names stand on the paper.
fn names(labels: &[Label], map: &PageMap) -> Vec<Bounds<InPaper>> {
    boxes_of(labels, map, |label| {
        matches!(label.class, LabelClass::Lead(_))
    })
}

/// Where anything stands that the labels net knows.
pub fn boxes(labels: &[Label], map: &PageMap) -> Vec<Bounds<InPaper>> {
    boxes_of(labels, map, |_| true)
}

fn boxes_of(
    labels: &[Label],
    map: &PageMap,
    is_meant: impl Fn(&Label) -> bool,
) -> Vec<Bounds<InPaper>> {
    let is_sure = |label: &&Label| label.score >= NAME_SCORE_MIN && is_meant(label);
    let bounds = |label: &Label| {
        let corners = label.corners.map(|corner| map.to_paper(corner));
        let (mut x, mut y) = (corners.map(|c| c.x), corners.map(|c| c.y));
        x.sort_by(f32::total_cmp);
        y.sort_by(f32::total_cmp);
        // A box askew is larger than its name: half way between its outer and inner corners.
        Bounds::new(
            (x[0] + x[1]) / 2.0,
            (y[0] + y[1]) / 2.0,
            (x[2] + x[3]) / 2.0,
            (y[2] + y[3]) / 2.0,
        )
    };
    labels.iter().filter(is_sure).map(bounds).collect()
}

fn row_strips(image: &RawImage, map: &PageMap, layout: &Layout) -> Vec<RowStrip> {
    let left = layout.label_left - Mm(LEFT_MM);
    let height = (CROP_ROWS * layout.row_pitch.0).clamp(CROP_MM.0, FIRST_CROP_MM_MAX);
    layout
        .rows
        .iter()
        .map(|row| {
            let right = match layout.column_width {
                Some(width) => {
                    layout.label_left + width * layout.column_count as f32 + Mm(RIGHT_MM)
                }
                None => page_right(image, map, row.zero[0]),
            };
            let right = Mm(right.0.clamp(left.0 + 20.0, left.0 + ROW_MM_MAX));
            RowStrip {
                left,
                right,
                zero: row.zero,
                height: Mm(height),
            }
        })
        .collect()
}

/// How far the picture reaches along a row.
fn page_right(image: &RawImage, map: &PageMap, at: Point<InPaper>) -> Mm {
    let (width, height) = (image.width() as f32, image.height() as f32);
    let inside = |x: f32| {
        let px = map.to_page(Point::new(x, at.y));
        px.x >= 0.0 && px.y >= 0.0 && px.x < width && px.y < height
    };
    let steps = (0..(ROW_MM_MAX / 2.0) as usize).map(|k| at.x + 2.0 * k as f32);
    Mm(steps.take_while(|x| inside(*x)).last().unwrap_or(at.x))
}

/// Strips that hold the row's line better, where this one holds it badly.
fn second_strips(strip: &RowStrip, row: &TracedRow) -> Vec<RowStrip> {
    let middle = row.strip.height_px() as f32 / 2.0;
    let below = |y: f32| (y + 0.5 - middle) / CROP_PX_PER_MM;
    let ys = |range: Range<usize>| row.line.points[range].iter().flatten().map(|p| p.y_px);
    let mut all: Vec<f32> = ys(0..row.line.points.len()).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let half = all.len() / 2;
    let median = below(*all.select_nth_unstable_by(half, f32::total_cmp).1);
    // A line further off is another row's.
    if (RECENTRE_MM..2.0 * OFF_ROW_MM).contains(&median.abs()) {
        return vec![moved(strip, median)];
    }
    let tall = |range: Range<usize>| {
        // Tall beats want a tall crop around them, but the row must stay the one in its middle.
        let low = ys(range.clone()).fold(f32::INFINITY, f32::min);
        let high = ys(range.clone()).fold(f32::NEG_INFINITY, f32::max);
        let off = below((low + high) / 2.0).clamp(-OFF_ROW_MM, OFF_ROW_MM);
        RowStrip {
            left: strip.left + Mm(range.start as f32 / CROP_PX_PER_MM),
            right: strip.left + Mm(range.end as f32 / CROP_PX_PER_MM),
            height: Mm(CROP_MM.1),
            ..moved(strip, off)
        }
    };
    near_edges(row).into_iter().map(tall).collect()
}

fn moved(strip: &RowStrip, off_mm: f32) -> RowStrip {
    let zero = strip
        .zero
        .map(|point| Point::new(point.x, point.y + off_mm));
    RowStrip { zero, ..*strip }
}

/// Columns around the places where the line comes close to the crop's edge.
fn near_edges(row: &TracedRow) -> Vec<Range<usize>> {
    let height = row.strip.height_px() as f32;
    let edge = EDGE_MM * CROP_PX_PER_MM;
    let around = (AROUND_MM * CROP_PX_PER_MM) as usize;
    let mut out: Vec<Range<usize>> = Vec::new();
    for (x, point) in row.line.points.iter().enumerate() {
        if !point.is_some_and(|p| p.y_px < edge || p.y_px > height - 1.0 - edge) {
            continue;
        }
        let range = x.saturating_sub(around)..(x + around).min(row.line.points.len());
        match out.last_mut() {
            Some(last) if range.start <= last.end => last.end = range.end,
            _ => out.push(range),
        }
    }
    out
}

/// Puts a second reading in the place of the first, where it is about as sure.
fn take_over(first: &mut TracedRow, second: &TracedRow) {
    let line = |x: usize| -> Option<LinePoint> {
        let place = first.strip.to_paper(Point::<InPanel>::new(x as f32, 0.0));
        let column = second.strip.to_panel(place).x.round();
        let point = (*second.line.points.get(column as usize)?)?;
        let place = second.strip.to_paper(Point::new(column, point.y_px));
        Some(LinePoint {
            y_px: first.strip.to_panel(place).y,
            ..point
        })
    };
    let place = |column: usize| {
        let at = second.strip.to_paper(Point::new(column as f32, 0.0));
        first.strip.to_panel(at).x.round().max(0.0) as usize
    };
    let count = first.line.points.len();
    let range = place(0).min(count)..(place(second.line.points.len() - 1) + 1).min(count);
    let read: Vec<Option<LinePoint>> = range.clone().map(line).collect();
    let old = &mut first.line.points[range];
    if surety(&read) > surety(old) - SURETY_LOSS_MAX {
        old.copy_from_slice(&read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::Strip;
    use crate::trace::Line;

    fn row(left: f32, zero: f32, height_px: usize, y_mm: impl Fn(f32) -> f32) -> TracedRow {
        let ends = [Point::new(0.0, zero), Point::new(100.0, zero)];
        let strip = Strip::new(Mm(left), ends, 640, height_px);
        let points = (0..640)
            .map(|x| {
                let at = strip.to_paper(Point::<InPanel>::new(x as f32, 0.0)).x;
                Some(LinePoint {
                    y_px: strip.to_panel(Point::new(at, y_mm(at))).y,
                    confidence: 0.9,
                    spread_px: 0.0,
                })
            })
            .collect();
        TracedRow {
            strip,
            line: Line { points },
        }
    }

    fn asked(strip: Strip, height: f32) -> RowStrip {
        RowStrip {
            left: Mm(strip.to_paper(Point::<InPanel>::new(-0.5, 0.0)).x),
            right: Mm(80.0),
            zero: [Point::new(0.0, 50.0), Point::new(100.0, 50.0)],
            height: Mm(height),
        }
    }

    /// 20 mm up between x = 40 and 41.
    fn tall(x: f32) -> f32 {
        if (40.0..41.0).contains(&x) {
            30.0
        } else {
            50.0
        }
    }

    #[test]
    fn only_the_surroundings_of_a_tall_beat_are_read_again() {
        let first = row(0.0, 50.0, 320, tall);
        let strips = second_strips(&asked(first.strip, 40.0), &first);
        assert_eq!(strips.len(), 1);
        assert!((strips[0].left.0 - 28.0).abs() < 0.3, "{:?}", strips[0]);
        assert!((strips[0].right.0 - 53.0).abs() < 0.3, "{:?}", strips[0]);
        assert!(strips[0].height.0 > 70.0);
    }

    #[test]
    fn a_row_off_its_middle_is_read_again_as_a_whole() {
        let first = row(0.0, 50.0, 320, |_| 55.0);
        let strips = second_strips(&asked(first.strip, 40.0), &first);
        assert_eq!(strips.len(), 1);
        assert!((strips[0].zero[0].y - 55.0).abs() < 0.1);
        assert_eq!(strips[0].right, Mm(80.0));
    }

    #[test]
    fn a_second_reading_takes_its_place_on_the_paper() {
        let mut first = row(0.0, 50.0, 320, |_| 50.0);
        let second = row(28.0, 44.0, 640, tall);
        take_over(&mut first, &second);
        for (x, point) in first.line.points.iter().enumerate() {
            let at = Point::<InPanel>::new(x as f32, point.unwrap().y_px);
            let paper = first.strip.to_paper(at);
            let expected = tall(paper.x);
            let near_step = (paper.x - 40.0).abs() < 0.2 || (paper.x - 41.0).abs() < 0.2;
            assert!(
                near_step || (paper.y - expected).abs() < 0.01,
                "{paper:?} where {expected} is"
            );
        }
    }
}
