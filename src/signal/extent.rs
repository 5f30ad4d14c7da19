//! Where the recording begins and ends on the paper.
//!
//! In: the rows' lines, the layout, the calibration pulses. Out: `Extent`, millimetres along the
//! paper. The line itself tells: it begins where the pen began, and pulses are no part of it. All
//! rows begin together and end together. On pages of several columns the labels tell the width:
//! where the ends' own distance is another, both ends of every row have a vote on one place.

use std::ops::Range;

use super::pulsed::pulse_end;
use crate::calibration::Pulse;
use crate::grid::off_line;
use crate::layout::{Layout, RowKind};
use crate::math;
use crate::page::{InPanel, InPaper, Point};
use crate::trace::rows::TracedRow;
use crate::units::{Mm, MmPerSecond};

/// The recording's ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    pub left: Mm,
    pub right: Mm,
    pub evidence: EndsEvidence,
    /// Standard errors of the left and the right end.
    pub errors: [Mm; 2],
}

impl Extent {
    /// The same, as long as whole half seconds at `speed` where it nearly is: machines print 2.5, 5,
    /// 8 or 10 s. What is left over is shared out by the ends' errors.
    pub fn whole(self, speed: MmPerSecond) -> Self {
        let step = WHOLE_S * speed.0;
        let length = (self.right - self.left).0;
        let off = length - (length / step).round() * step;
        let [a, b] = self.errors.map(|error| math::square(error.0));
        let off_max = (WHOLE_ERRORS_MAX * (a + b).sqrt()).min(WHOLE_OFF_MAX_MM);
        if off.abs() > off_max || length < step {
            return self;
        }
        Self {
            left: self.left + Mm(off * a / (a + b)),
            right: self.right - Mm(off * b / (a + b)),
            ..self
        }
    }

    /// How many times as long as it was the recording is at `speed`, for millimetres that no grid
    /// tells: as the usual 10 s where it is near them, as whole half seconds where it is nearer to
    /// those; 1 where it is far from any.
    pub fn stretch(self, speed: MmPerSecond) -> f32 {
        let length = (self.right - self.left).at(speed).0;
        let whole = (length / WHOLE_S).round() * WHOLE_S;
        let near = [(USUAL_S, USUAL_STRETCH_MAX), (whole, STRETCH_MAX)]
            .into_iter()
            .map(|(true_s, most)| (length / true_s, most))
            .find(|(stretch, most)| (stretch - 1.0).abs() < *most);
        match near {
            Some((stretch, _)) if self.evidence == EndsEvidence::Agreed => stretch,
            _ => 1.0,
        }
    }

    /// The same, so much further right, as bars between the panels tell.
    pub fn moved(self, by: Mm) -> Self {
        let error = Mm(BAR_ERROR_MM);
        Self {
            left: self.left + by,
            right: self.right + by,
            evidence: EndsEvidence::Agreed,
            errors: [error, error],
        }
    }
}

/// How the recording's ends are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndsEvidence {
    /// Rows end together.
    Agreed,
    /// No two rows' ends agree: every time on the page may be off by millimetres.
    Alone,
}

/// Columns in which the line is less sure than this do not tell where it ends.
const SURE_MIN: f32 = 0.5;
/// Gaps up to this are bridged when a row's ends are sought.
const GAP_MM: f32 = 4.0;
/// Shorter pieces are no part of a row.
const PIECE_MIN_MM: f32 = 8.0;
/// Pulses stand within this share of the width from an end.
const PULSE_ZONE: f32 = 0.15;
/// A pulse's box may reach this far into the trace beside it.
const PULSE_SLACK_MM: f32 = 0.8;
/// A trace begins about this far left of its label's left edge, and at most this far from there.
const USUAL_BEFORE_LABEL_MM: f32 = 1.5;
const OFF_LABEL_MAX_MM: f32 = 8.0;
/// Ends this near to one another agree, and so many must.
const AGREE_MM: f32 = 1.2;
const AGREEING_MIN: usize = 2;
/// The length that the labels tell is off by this share at most, and by this much at least.
const WIDTH_OFF_MAX: f32 = 0.02;
/// The same where the traces do not begin near their labels.
const FAR_WIDTH_OFF_MAX: f32 = 0.008;
const WIDTH_ERROR_MIN_MM: f32 = 0.2;
/// Errors of an end that rows agree on: alone, along a grid line, and beside a pulse.
const END_ERROR_MM: f32 = 0.12;
const ON_LINE_ERROR_MM: f32 = 0.25;
const PULSE_ERROR_MM: f32 = 0.8;
/// The same where bars tell.
const BAR_ERROR_MM: f32 = 0.3;
/// Panels end so far before a strip where a machine leaves gaps; lines run on for up to half a
/// millimetre at either end.
const GAP_MM_BEFORE_END: Range<f32> = 1.0..2.5;
/// An end beside a pulse is only as sure as the pulse's box; an end alone counts 1.
const BESIDE_PULSE_WEIGHT: f32 = 0.3;
/// What the labels count, and how far a trace may begin from its usual place before them.
const LABEL_WEIGHT: f32 = 1.5;
const LABEL_SPREAD_MM: f32 = 4.0;
/// What an end counts that lies on a 5 mm line over its last millimetres.
const ON_LINE_WEIGHT: f32 = 0.25;
const ON_LINE_MM: f32 = 0.3;
const END_MM: f32 = 3.0;
/// What an end counts that is the paper's.
const CUT_WEIGHT: f32 = 0.1;
/// Recordings last whole multiples of this, where they are off by so many times the ends' errors at
/// most, and by no more than this.
pub const WHOLE_S: f32 = 0.5;
const WHOLE_ERRORS_MAX: f32 = 4.0;
const WHOLE_OFF_MAX_MM: f32 = 2.0;
/// Millimetres that a pulse tells are off by this share at most, and mostly by the second.
const USUAL_STRETCH_MAX: f32 = 0.06;
const STRETCH_MAX: f32 = 0.02;
/// How long most recordings are.
pub const USUAL_S: f32 = 10.0;

/// Where one row's line begins and ends, and what that is worth.
struct RowEnds {
    left: f32,
    right: f32,
    weights: [f32; 2],
    is_strip: bool,
}

/// The recording's ends; `None` where no row has a line. `is_cut` tells whether the paper ends at a
/// place to its left or right: an end there is the paper's.
pub fn find_extent(
    rows: &[TracedRow],
    layout: &Layout,
    pulses: &[Pulse],
    is_cut: &dyn Fn(Point<InPaper>) -> bool,
) -> Option<Extent> {
    let begun = pulse_end(rows).map_or(f32::NEG_INFINITY, |end| end.0);
    let ends: Vec<RowEnds> = rows
        .iter()
        .enumerate()
        .filter_map(|(k, row)| {
            let (left, right) = limits(row, layout, pulses);
            let ends = row_ends(row, (left.max(begun), right), is_cut)?;
            let kind = layout.rows.get(k).map(|row| &row.kind);
            let is_strip = matches!(kind, Some(RowKind::Strip(_) | RowKind::Unnamed));
            Some(RowEnds { is_strip, ..ends })
        })
        .collect();
    if ends.is_empty() {
        return None;
    }
    let usual = layout.label_left.0 - USUAL_BEFORE_LABEL_MM;
    let lefts: Vec<_> = ends.iter().map(|e| (e.left, e.weights[0])).collect();
    let rights = right_votes(&ends);
    let (left, right, count) = match layout.column_width {
        None => {
            let (left, begun) = place(&lefts, Some(usual)).unwrap_or((usual, 0));
            let (right, ended) = place(&rights, None)?;
            (left, right, begun.min(ended))
        }
        Some(column) => {
            let columns = layout.column_count as f32;
            let (width, error) = (column.0 * columns, layout.column_error.0 * columns);
            both_ends(&lefts, &rights, usual, width, error).unwrap_or_else(|| {
                let moved = rights.iter().map(|(x, weight)| (x - width, *weight));
                let votes: Vec<_> = lefts.iter().copied().chain(moved).collect();
                let (left, count) = place(&votes, Some(usual)).unwrap_or((usual, 0));
                (left, left + width, count)
            })
        }
    };
    let evidence = if count >= AGREEING_MIN.min(ends.len()) {
        EndsEvidence::Agreed
    } else {
        EndsEvidence::Alone
    };
    (right > left).then_some(Extent {
        left: Mm(left),
        right: Mm(right),
        evidence,
        errors: [(&lefts, left), (&rights, right)]
            .map(|(votes, at)| Mm(variance(votes, at).sqrt())),
    })
}

/// Where the rows end, and what that is worth. Panels of machines that leave a gap between them end
/// before the strip does, which runs through: they end with it.
fn right_votes(ends: &[RowEnds]) -> Vec<(f32, f32)> {
    let strips = ends.iter().filter(|e| e.is_strip && e.weights[1] >= 1.0);
    let last = strips.map(|e| e.right).max_by(f32::total_cmp);
    let end = |e: &RowEnds| {
        let is_short = |last: &f32| GAP_MM_BEFORE_END.contains(&(last - e.right));
        (last.filter(is_short).unwrap_or(e.right), e.weights[1])
    };
    ends.iter().map(end).collect()
}

/// Both ends and how many rows agree on each, where enough do and the length between them is nearly
/// the `width` that the labels tell. What the two lengths differ by is shared out by their errors.
fn both_ends(
    lefts: &[(f32, f32)],
    rights: &[(f32, f32)],
    usual: f32,
    width: f32,
    width_error: f32,
) -> Option<(f32, f32, usize)> {
    let (right, ended) = place(rights, None)?;
    let begins = |usual| {
        let (left, begun) = place(lefts, usual)?;
        Some((left, begun.min(ended), right - left - width))
    };
    let fits = |found: &(f32, usize, f32), off_max: f32| {
        found.1 >= AGREEING_MIN && found.2.abs() <= off_max * width
    };
    // Labels may stand far from where the traces begin: then most rows must begin together, and
    // the length be closer to what the labels tell.
    let (left, count, off) = begins(Some(usual))
        .filter(|found| fits(found, WIDTH_OFF_MAX))
        .or_else(|| {
            let is_most = |found: &(f32, usize, f32)| 2 * found.1 > lefts.len();
            begins(None).filter(|found| is_most(found) && fits(found, FAR_WIDTH_OFF_MAX))
        })?;
    let [a, b] = [(lefts, left), (rights, right)].map(|(votes, at)| variance(votes, at));
    let c = (width_error * width_error).max(WIDTH_ERROR_MIN_MM * WIDTH_ERROR_MIN_MM);
    let share = off / (a + b + c);
    Some((left + share * a, right - share * b, count))
}

/// Of an end where votes agree, mm squared, by the surest of them: ends beside a pulse are found late
/// or early together.
fn variance(votes: &[(f32, f32)], at: f32) -> f32 {
    let near = votes.iter().filter(|(x, _)| (x - at).abs() < AGREE_MM);
    let error = |weight: f32| match weight {
        _ if weight >= 1.0 => END_ERROR_MM,
        _ if weight == ON_LINE_WEIGHT => ON_LINE_ERROR_MM,
        _ => PULSE_ERROR_MM,
    };
    let least = near
        .map(|(_, weight)| error(*weight))
        .min_by(f32::total_cmp);
    math::square(least.unwrap_or(PULSE_ERROR_MM))
}

/// The place that most votes (place, weight) agree on, and how many they are. Lines run on past
/// their end along a grid line, and lose their end: those agree with no other. Where the labels
/// tell the `usual` place, they have a say too, and what is far from it has none.
fn place(votes: &[(f32, f32)], usual: Option<f32>) -> Option<(f32, usize)> {
    let near_usual = |x: f32| usual.is_none_or(|usual| (x - usual).abs() < OFF_LABEL_MAX_MM);
    let votes: Vec<(f32, f32)> = votes
        .iter()
        .copied()
        .filter(|(x, _)| near_usual(*x))
        .collect();
    let support = |x: f32| -> f32 {
        let near = votes
            .iter()
            .map(|(vote, weight)| weight * (1.0 - (vote - x).abs() / AGREE_MM).max(0.0));
        let told = usual.map_or(0.0, |usual| {
            let off = (usual - x) / LABEL_SPREAD_MM;
            LABEL_WEIGHT * math::exp(-off * off)
        });
        near.sum::<f32>() + told
    };
    let best = votes
        .iter()
        .map(|vote| vote.0)
        .max_by(|a, b| support(*a).total_cmp(&support(*b)))?;
    let near = votes.iter().filter(|vote| (vote.0 - best).abs() < AGREE_MM);
    let (sum, total, count) = near.fold((0.0, 0.0, 0), |(sum, total, count), (x, weight)| {
        (sum + x * weight, total + weight, count + 1)
    });
    Some((sum / total, count))
}

/// Where a row's line may lie: between the pulses at its ends.
fn limits(row: &TracedRow, layout: &Layout, pulses: &[Pulse]) -> (f32, f32) {
    let width = row.strip.width_px() as f32 / crate::crop::CROP_PX_PER_MM;
    let first = row.strip.to_paper(Point::<InPanel>::new(0.0, 0.0)).x;
    let near = |pulse: &&Pulse| {
        let middle = (pulse.left.0 + pulse.right.0) / 2.0;
        let zero = row.strip.zero(Mm(middle)).0;
        let reach = 0.6 * layout.row_pitch.0;
        pulse.top.0 - reach < zero && zero < pulse.bottom.0 + reach
    };
    let (mut left, mut right) = (f32::NEG_INFINITY, f32::INFINITY);
    for pulse in pulses.iter().filter(near) {
        let share = ((pulse.left.0 + pulse.right.0) / 2.0 - first) / width;
        if share < PULSE_ZONE {
            left = left.max(pulse.right.0 - PULSE_SLACK_MM);
        } else if share > 1.0 - PULSE_ZONE {
            right = right.min(pulse.left.0 + PULSE_SLACK_MM);
        }
    }
    (left, right)
}

fn row_ends(
    row: &TracedRow,
    limits: (f32, f32),
    is_cut: &dyn Fn(Point<InPaper>) -> bool,
) -> Option<RowEnds> {
    let mut pieces: Vec<(f32, f32)> = Vec::new();
    let mut places: Vec<Point<InPaper>> = Vec::new();
    for (column, point) in row.line.points.iter().enumerate() {
        let Some(point) = point.filter(|point| point.confidence > SURE_MIN) else {
            continue;
        };
        let at = row
            .strip
            .to_paper(Point::<InPanel>::new(column as f32, point.y_px));
        let x = at.x;
        if x < limits.0 || x > limits.1 {
            continue;
        }
        places.push(at);
        match pieces.last_mut() {
            Some(piece) if x - piece.1 <= GAP_MM => piece.1 = x,
            _ => pieces.push((x, x)),
        }
    }
    pieces.retain(|piece| piece.1 - piece.0 >= PIECE_MIN_MM);
    let (left, right) = (pieces.first()?.0, pieces.last()?.1);
    let weight = |end: f32, pulse: bool| {
        let near = places.iter().filter(|at| (at.x - end).abs() < END_MM);
        let on_line = near.clone().all(|at| off_line(at.y).0 < ON_LINE_MM);
        (if on_line { ON_LINE_WEIGHT } else { 1.0 })
            * (if pulse { BESIDE_PULSE_WEIGHT } else { 1.0 })
            * (if is_cut(Point::new(end, row.strip.zero(Mm(end)).0)) {
                CUT_WEIGHT
            } else {
                1.0
            })
    };
    Some(RowEnds {
        left,
        right,
        weights: [
            weight(left, limits.0.is_finite()),
            weight(right, limits.1.is_finite()),
        ],
        is_strip: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::Strip;
    use crate::layout::{Row, RowKind};
    use crate::trace::Line;
    use crate::trace::follow::LinePoint;

    fn row(zero: f32, pieces: &[(f32, f32)]) -> TracedRow {
        let strip = Strip::new(
            Mm(0.0),
            [Point::new(0.0, zero), Point::new(99.0, zero)],
            2400,
            384,
        );
        let at = |column: usize| (column as f32 + 0.5) / 8.0;
        let points = (0..2400)
            .map(|k| {
                pieces
                    .iter()
                    .any(|piece| (piece.0..piece.1).contains(&at(k)))
                    .then_some(LinePoint {
                        y_px: 192.0,
                        confidence: 1.0,
                        spread_px: 0.0,
                    })
            })
            .collect();
        TracedRow {
            strip,
            line: Line { points },
        }
    }

    fn layout(column_width: Option<f32>) -> Layout {
        Layout {
            matrix: "3x4",
            rows: vec![Row {
                kind: RowKind::Panels(vec![]),
                zero: [Point::new(0.0, 0.0); 2],
            }],
            column_count: 4,
            label_left: Mm(22.0),
            column_width: column_width.map(Mm),
            column_error: Mm(0.5),
            row_pitch: Mm(25.0),
        }
    }

    fn check(rows: &[TracedRow], width: Option<f32>, pulses: &[Pulse], expected: (f32, f32)) {
        let found = find_extent(rows, &layout(width), pulses, &|_| false).unwrap();
        let off = (found.left.0 - expected.0)
            .abs()
            .max((found.right.0 - expected.1).abs());
        assert!(off < 0.3, "{found:?} where {expected:?} is");
    }

    #[test]
    fn most_ends_decide() {
        let rows = [
            row(30.0, &[(20.0, 269.0)]),
            row(55.0, &[(20.0, 270.0)]),
            row(80.0, &[(3.0, 240.0)]),
        ];
        check(&rows, Some(62.5), &[], (20.0, 269.5));
        check(&rows, None, &[], (20.0, 269.5));
    }

    #[test]
    fn panels_with_gaps_end_with_the_strip() {
        let ends = |strip: f32, is_strip| {
            let row = |right, is_strip| RowEnds {
                left: 20.0,
                right,
                weights: [1.0; 2],
                is_strip,
            };
            let rows = [row(268.5, false), row(268.4, false), row(strip, is_strip)];
            right_votes(&rows)
                .iter()
                .map(|vote| vote.0)
                .collect::<Vec<f32>>()
        };
        assert_eq!(ends(270.0, true), [270.0; 3]);
        // Lines run on a little, and some far; and a panel is no strip.
        assert_eq!(ends(269.0, true), [268.5, 268.4, 269.0]);
        assert_eq!(ends(280.0, true), [268.5, 268.4, 280.0]);
        assert_eq!(ends(270.0, false), [268.5, 268.4, 270.0]);
    }

    #[test]
    fn a_pulse_is_no_part_of_the_recording() {
        let rows = [row(30.0, &[(8.0, 270.0)])];
        let pulse = Pulse {
            left: Mm(8.0),
            right: Mm(18.0),
            top: Mm(20.0),
            bottom: Mm(31.0),
            width: None,
        };
        // The pulse only tells that the beginning is unsure; the end is not.
        check(&rows, Some(62.5), &[pulse], (20.0, 270.0));
    }

    #[test]
    fn a_line_that_begins_far_from_its_label_is_placed_by_its_end() {
        check(
            &[row(30.0, &[(2.0, 270.0)])],
            Some(62.5),
            &[],
            (20.0, 270.0),
        );
    }

    #[test]
    fn a_width_from_a_label_beside_its_place_is_not_believed() {
        let rows = [row(30.0, &[(20.0, 270.0)]), row(55.0, &[(20.2, 270.1)])];
        check(&rows, Some(61.8), &[], (20.1, 270.0));
    }

    #[test]
    fn rows_that_all_begin_far_from_their_labels_are_believed() {
        let rows = [30.0, 55.0, 80.0].map(|zero| row(zero, &[(33.0, 283.0)]));
        check(&rows, Some(62.5), &[], (33.0, 283.0));
    }

    #[test]
    fn an_end_of_the_paper_yields_to_the_labels() {
        let rows = [30.0, 55.0, 80.0].map(|zero| row(zero, &[(20.0, 266.0)]));
        let right = |is_cut: &dyn Fn(Point<InPaper>) -> bool| {
            let found = find_extent(&rows, &layout(Some(62.5)), &[], is_cut);
            found.unwrap().right.0
        };
        let (free, cut) = (right(&|_| false), right(&|at| at.x > 200.0));
        assert!(cut > free + 0.3, "{cut} and {free}");
    }

    #[test]
    fn ends_that_agree_with_no_other_are_told() {
        let rows = [row(30.0, &[(20.0, 270.0)]), row(55.0, &[(23.0, 266.0)])];
        let alone = find_extent(&rows, &layout(None), &[], &|_| false).unwrap();
        assert_eq!(alone.evidence, EndsEvidence::Alone);
        let rows = [row(30.0, &[(20.0, 270.0)]), row(55.0, &[(20.5, 269.2)])];
        let agreed = find_extent(&rows, &layout(None), &[], &|_| false).unwrap();
        assert_eq!(agreed.evidence, EndsEvidence::Agreed);
    }

    #[test]
    fn millimetres_that_no_grid_tells_make_the_usual_length() {
        let stretch = |length: f32, evidence: EndsEvidence| {
            let extent = Extent {
                left: Mm(20.0),
                right: Mm(20.0 + length),
                evidence,
                errors: [Mm(0.2); 2],
            };
            extent.stretch(MmPerSecond(25.0))
        };
        let is = |length: f32, expected: f32| {
            let found = stretch(length, EndsEvidence::Agreed);
            assert!((found - expected).abs() < 1e-4, "{found} of {length} mm");
        };
        is(252.0, 1.008);
        is(239.0, 0.956);
        is(202.0, 1.01);
        // 9.3 s are neither 9.0, 9.5 nor 10.
        is(232.5, 1.0);
        assert_eq!(stretch(252.0, EndsEvidence::Alone), 1.0);
    }

    #[test]
    fn a_recording_lasts_whole_half_seconds() {
        let length = |left, right, speed: f32| {
            let errors = [Mm(0.25), Mm(0.6)];
            let evidence = EndsEvidence::Agreed;
            let (left, right) = (Mm(left), Mm(right));
            let whole = Extent {
                left,
                right,
                evidence,
                errors,
            }
            .whole(MmPerSecond(speed));
            (whole.left.0, (whole.right - whole.left).0)
        };
        // Most of the millimetre too much is the less sure end's.
        let (left, right) = length(20.0, 271.0, 25.0);
        assert!(
            (left - 20.15).abs() < 0.02 && (right - 250.0).abs() < 1e-3,
            "{left} {right}"
        );
        assert!((length(20.0, 119.2, 12.5).1 - 100.0).abs() < 1e-3);
        assert_eq!(length(20.0, 267.0, 25.0).1, 247.0);
    }

    #[test]
    fn lines_that_run_on_along_the_grid_are_outvoted() {
        // Four rows go on to x = 14 on a 5 mm line; one, off the grid, begins at 20 and ends at 270.
        let rows = [
            row(30.0, &[(14.0, 284.0)]),
            row(55.0, &[(14.0, 286.0)]),
            row(80.0, &[(14.0, 288.0)]),
            row(105.0, &[(14.0, 290.0)]),
            row(127.4, &[(20.0, 270.0)]),
        ];
        check(&rows, Some(62.5), &[], (20.0, 270.0));
    }
}
