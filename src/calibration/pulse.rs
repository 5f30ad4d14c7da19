//! The calibration pulses: their boxes on the paper, and how wide they are drawn.
//!
//! In: the labels, the page map, the picture. Out: `Pulse`s, millimetres on the paper. A box's width
//! proves little, feet on either side belong to it on some machines alone; so the upright strokes
//! are looked for in the picture, in the middle half of the pulse's height.

use super::{LINE_WIDTH, PULSE_SCORE_MIN};
use crate::labels::{Label, LabelClass};
use crate::page::{InPaper, PageMap, Point, RawImage};
use crate::units::Mm;

/// The strokes are looked for in steps of this, this far beside the box.
const STEP_MM: f32 = 0.125;
const BESIDE_MM: f32 = 1.5;
/// A stroke is this share as dark as the pulse's darkest, over this share of its height, slanted by
/// a step at most.
const INK_SHARE: f32 = 0.35;
const UPRIGHT_SHARE: f32 = 0.7;
/// Both strokes are alike in darkness: this share of the darkest.
const ALIKE_DARK: f32 = 0.7;
/// Strokes further apart than this are two.
const STROKE_MM: f32 = 0.4;
/// Levels of the paper and of the ink among the samples, and what they differ by at least.
const PAPER_QUANTILE: f32 = 0.85;
const INK_QUANTILE: f32 = 0.02;
const CONTRAST_MIN: f32 = 20.0;
/// Widths that differ by less than this, and this share of them, are one.
const ALIKE_MM: f32 = 0.2;
const ALIKE_SHARE: f32 = 0.04;

/// A calibration pulse on the paper, from its box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pulse {
    pub left: Mm,
    pub right: Mm,
    pub top: Mm,
    pub bottom: Mm,
    /// Distance of its upright strokes, where both were seen.
    pub width: Option<Mm>,
}

/// The pulses among the labels, their strokes measured in the picture.
pub fn pulses(labels: &[Label], image: &RawImage, map: &PageMap) -> Vec<Pulse> {
    let mut pulses = pulse_boxes(labels, map);
    for pulse in &mut pulses {
        pulse.width = stroke_distance(image, map, pulse);
    }
    pulses
}

/// The same by their boxes alone.
pub fn pulse_boxes(labels: &[Label], map: &PageMap) -> Vec<Pulse> {
    let is_pulse =
        |label: &&Label| label.class == LabelClass::Pulse && label.score >= PULSE_SCORE_MIN;
    labels
        .iter()
        .filter(is_pulse)
        .map(|label| place(label, map))
        .collect()
}

fn place(label: &Label, map: &PageMap) -> Pulse {
    let corners = label.corners.map(|corner| map.to_paper(corner));
    let middle = |a: usize, b: usize, of: fn(&Point<InPaper>) -> f32| {
        Mm((of(&corners[a]) + of(&corners[b])) / 2.0)
    };
    Pulse {
        left: middle(0, 3, |p| p.x),
        right: middle(1, 2, |p| p.x),
        top: middle(0, 1, |p| p.y),
        bottom: middle(2, 3, |p| p.y),
        width: None,
    }
}

/// Median height of the pulses.
pub fn pulse_height(pulses: &[Pulse]) -> Option<Mm> {
    median(
        pulses
            .iter()
            .map(|pulse| pulse.bottom - pulse.top - LINE_WIDTH),
    )
}

/// The width that most pulses have, the median of those; `None` where no two of several agree. A
/// line of a dark grid beside a pulse is taken for its stroke here and there.
pub fn pulse_width(pulses: &[Pulse]) -> Option<Mm> {
    let widths = || pulses.iter().filter_map(|pulse| pulse.width);
    let alike = |width: Mm| {
        let reach = ALIKE_MM + ALIKE_SHARE * width.0;
        widths().filter(move |other| (other.0 - width.0).abs() < reach)
    };
    let most = widths().map(|width| alike(width).count()).max()?;
    let enough = most > 1 || widths().count() == 1;
    let middle = widths().find(|width| alike(*width).count() == most)?;
    median(alike(middle)).filter(|_| enough)
}

fn median(lengths: impl Iterator<Item = Mm>) -> Option<Mm> {
    let mut lengths: Vec<f32> = lengths.map(|length| length.0).collect();
    lengths.sort_by(f32::total_cmp);
    lengths.get(lengths.len() / 2).copied().map(Mm)
}

fn stroke_distance(image: &RawImage, map: &PageMap, pulse: &Pulse) -> Option<Mm> {
    let width = (pulse.right - pulse.left).0 + 2.0 * BESIDE_MM;
    let height = (pulse.bottom - pulse.top - LINE_WIDTH).0;
    let columns = (width / STEP_MM).max(0.0) as usize;
    let rows = (height / 2.0 / STEP_MM).max(0.0) as usize;
    if columns < 3 || rows < 3 {
        return None;
    }
    let values = samples(image, map, pulse, columns, rows);
    let mut sorted: Vec<f32> = values.iter().flatten().copied().collect();
    sorted.sort_by(f32::total_cmp);
    let level = |share: f32| sorted.get((share * (sorted.len().max(1) - 1) as f32) as usize);
    let paper = *level(PAPER_QUANTILE)?;
    let ink = INK_SHARE * (paper - level(INK_QUANTILE)?).max(CONTRAST_MIN);
    let dark = |x: usize, row: usize| values[row * columns + x].map_or(0.0, |v| paper - v);
    // Along a column, or one beside it where the stroke leans.
    let darkest = |column: usize, row: usize| {
        let near = column.saturating_sub(1)..(column + 2).min(columns);
        near.map(|x| dark(x, row)).fold(0.0, f32::max)
    };
    let is_upright = |column: &usize| {
        let inked = (0..rows).filter(|row| darkest(*column, *row) > ink);
        inked.count() as f32 > UPRIGHT_SHARE * rows as f32
    };
    let upright: Vec<usize> = (0..columns).filter(is_upright).collect();
    let strength = |stroke: &[usize]| {
        let of = |x: &usize| (0..rows).map(|row| darkest(*x, row)).sum::<f32>();
        stroke.iter().map(of).fold(0.0, f32::max)
    };
    let strokes: Vec<(f32, f32)> = upright
        .chunk_by(|a, b| (b - a) as f32 * STEP_MM < STROKE_MM)
        .map(|stroke| {
            let middle = (stroke[0] + stroke[stroke.len() - 1]) as f32 / 2.0;
            (middle, strength(stroke))
        })
        .collect();
    // A line of the grid beside the pulse is paler than its strokes.
    let most = strokes.iter().map(|stroke| stroke.1).fold(0.0, f32::max);
    let strokes: Vec<f32> = strokes
        .into_iter()
        .filter(|(_, strength)| *strength > ALIKE_DARK * most)
        .map(|(middle, _)| middle)
        .collect();
    let (first, last) = (strokes.first()?, strokes.last()?);
    (last > first).then_some(Mm((last - first) * STEP_MM))
}

/// The brightest channel over the middle half of a pulse's height, row by row; `None` outside the
/// picture.
fn samples(
    image: &RawImage,
    map: &PageMap,
    pulse: &Pulse,
    columns: usize,
    rows: usize,
) -> Vec<Option<f32>> {
    let height = (pulse.bottom - pulse.top - LINE_WIDTH).0;
    let place = |k: usize| {
        let (row, column) = ((k / columns) as f32 + 0.5, (k % columns) as f32 + 0.5);
        Point::new(
            pulse.left.0 - BESIDE_MM + column * STEP_MM,
            pulse.top.0 + LINE_WIDTH.0 / 2.0 + height / 4.0 + row * STEP_MM,
        )
    };
    (0..columns * rows)
        .map(|k| image.brightest(map.to_page(place(k))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Homography;

    /// A pulse of this width at `left` mm, feet of 1 mm on either side, on 5 mm squares.
    fn page(width: f32, left: f32, square: [u8; 3]) -> RawImage {
        let (w, h) = (240, 200);
        let ink = |x: f32, y: f32| {
            let near = |a: f32, b: f32| (a - b).abs() < 0.15;
            let on = (left..left + width).contains(&x);
            let foot = (left - 1.0..left + 1.0 + width).contains(&x);
            ((near(x, left) || near(x, left + width)) && (5.0..15.0).contains(&y))
                || (on && near(y, 5.0))
                || (foot && !on && near(y, 15.0))
        };
        let pixel = |k: usize| {
            let (x, y) = ((k % w) as f32 / 8.0, (k / w) as f32 / 8.0);
            let lined = (x / 5.0).fract() < 0.04 || (y / 5.0).fract() < 0.04;
            if ink(x, y) {
                [30; 3]
            } else if lined {
                square
            } else {
                [250; 3]
            }
        };
        RawImage::new(w, h, (0..w * h).flat_map(pixel).collect()).unwrap()
    }

    fn check(width: f32, left: f32, square: [u8; 3]) {
        let map = Homography::similarity(8.0, 8.0, 0.0, (0.0, 0.0)).unwrap();
        let pulse = Pulse {
            left: Mm(left - 1.0),
            right: Mm(left + 1.0 + width),
            top: Mm(5.0),
            bottom: Mm(15.2),
            width: None,
        };
        let image = page(width, left, square);
        let found = stroke_distance(&image, &PageMap::new(map, None), &pulse);
        let found = found.expect("two strokes are drawn").0;
        assert!(
            (found - width).abs() < 0.2,
            "{found} mm where {width} are drawn at {left}"
        );
    }

    #[test]
    fn the_width_of_a_page_is_that_of_most_pulses() {
        let of = |widths: &[f32]| {
            let pulse = |width: &f32| Pulse {
                left: Mm(0.0),
                right: Mm(5.0),
                top: Mm(0.0),
                bottom: Mm(10.0),
                width: Some(Mm(*width)),
            };
            pulse_width(&widths.iter().map(pulse).collect::<Vec<_>>()).map(|width| width.0)
        };
        assert_eq!(of(&[2.5, 3.25, 4.0, 2.5, 2.4, 3.9]), Some(2.5));
        assert_eq!(of(&[10.0, 12.7, 11.3, 12.9, 9.9, 9.9, 15.0]), Some(9.9));
        assert_eq!(of(&[5.1]), Some(5.1));
        assert_eq!(of(&[16.8, 12.3]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_strokes_tell_the_width_whatever_the_feet() {
        for width in [2.5, 5.0, 10.0] {
            check(width, 10.0, [250, 150, 150]);
        }
    }

    #[test]
    fn a_pulse_may_stand_at_the_pictures_edge_and_on_a_dark_grid() {
        check(5.0, 0.6, [250, 150, 150]);
        check(2.5, 11.5, [140; 3]);
    }
}
