//! Whether there is ink where the line was found.
//!
//! In: the picture, the page map, a row's line. Out: the same line, without the stretches that lie
//! on bare paper: a net that has followed a line for long goes on where the pen stopped. Ink is
//! measured on the page itself, in its brightest channel (a coloured grid is bright in its own),
//! against the paper above and below, and compared with the ink of the whole row. At both ends the
//! line must also be darker than the page is a grid's period above and below it: where the pen
//! stopped, the net likes to go on along a grid line.

use super::Line;
use super::follow::LinePoint;
use crate::crop::{CROP_PX_PER_MM, Strip};
use crate::grid::LINES_MM;
use crate::page::{InPanel, InPaper, PageMap, Point, RawImage};

/// A column has ink if it is at least this share as dark as the row's median column.
const INK_SHARE: f32 = 0.3;
/// A stretch is bare if this share of its columns over `STRETCH_MM` has no ink.
const BARE_SHARE: f32 = 0.7;
const STRETCH_MM: f32 = 3.0;
/// At its ends the line is this much darker than the page a grid's period off, in this share of
/// the columns over this length.
const OVER_GRID: f32 = 1.2;
const OWN_SHARE: f32 = 0.6;
const TRIM_MM: f32 = 5.0;
/// Paper is looked for this far above and below the line, in steps.
const PAPER_MM: [f32; 8] = [-4.0, -3.0, -2.0, -1.4, 1.4, 2.0, 3.0, 4.0];

/// Takes out what lies on bare paper.
pub fn keep_inked(image: &RawImage, map: &PageMap, strip: &Strip, line: &mut Line) {
    let place = |x: usize, point: &Option<LinePoint>| {
        Some(strip.to_paper(Point::<InPanel>::new(x as f32, (*point)?.y_px)))
    };
    let places: Vec<Option<Point<InPaper>>> = line
        .points
        .iter()
        .enumerate()
        .map(|(x, point)| place(x, point))
        .collect();
    let dark: Vec<Option<f32>> = places
        .iter()
        .map(|at| at.map(|at| darkness(image, map, at, 0.0)))
        .collect();
    let mut seen: Vec<f32> = dark.iter().flatten().copied().collect();
    if seen.is_empty() {
        return;
    }
    let middle = seen.len() / 2;
    let usual = *seen.select_nth_unstable_by(middle, f32::total_cmp).1;
    let bare: Vec<bool> = dark
        .iter()
        .map(|dark| dark.is_some_and(|dark| dark < INK_SHARE * usual))
        .collect();
    let reach = (STRETCH_MM * CROP_PX_PER_MM / 2.0) as usize;
    let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as f32;
    for x in 0..bare.len() {
        let around = x.saturating_sub(reach)..(x + reach + 1).min(bare.len());
        let present = dark[around.clone()].iter().flatten().count() as f32;
        if bare[x] && count(&bare[around]) > BARE_SHARE * present {
            line.points[x] = None;
        }
    }
    let own: Vec<bool> = places
        .iter()
        .zip(&dark)
        .map(|(at, dark)| {
            let (Some(at), Some(dark)) = (at, dark) else {
                return false;
            };
            let grid = [-LINES_MM, LINES_MM].map(|below| darkness(image, map, *at, below));
            *dark > OVER_GRID * grid[0].max(grid[1]) && *dark > INK_SHARE * usual
        })
        .collect();
    trim(line, &own);
}

/// Cuts both ends back to where the line has ink of its own.
fn trim(line: &mut Line, own: &[bool]) {
    let reach = (TRIM_MM * CROP_PX_PER_MM) as usize;
    let count = |range: std::ops::Range<usize>| own[range].iter().filter(|own| **own).count();
    let is_own = |x: &usize, inwards: std::ops::Range<usize>| {
        own[*x] && count(inwards.clone()) as f32 > OWN_SHARE * inwards.len() as f32
    };
    let size = own.len();
    let first = (0..size)
        .find(|x| is_own(x, *x..(*x + reach).min(size)))
        .unwrap_or(size);
    let last = (0..size)
        .rev()
        .find(|x| is_own(x, (*x + 1).saturating_sub(reach)..*x + 1));
    line.points[..first].fill(None);
    line.points[last.map_or(0, |last| last + 1)..].fill(None);
}

/// How much darker the page is `off_mm` below a place than the paper around that place, 0 to 1.
fn darkness(image: &RawImage, map: &PageMap, at: Point<InPaper>, off_mm: f32) -> f32 {
    let value = |below: f32, reach: isize| -> Option<f32> {
        let px = map.to_page(Point::new(at.x, at.y + below));
        let (x, y) = (px.x.round() as isize, px.y.round() as isize);
        let inside = |v: isize, side: usize| v >= reach && v + reach < side as isize;
        if !inside(x, image.width()) || !inside(y, image.height()) {
            return None;
        }
        let around = (-reach..=reach).flat_map(|a| (-reach..=reach).map(move |b| (a, b)));
        around
            .map(|(a, b)| {
                let pixel = image.pixel((x + a) as usize, (y + b) as usize);
                f32::from(pixel.into_iter().max().unwrap_or(0))
            })
            .min_by(f32::total_cmp)
    };
    let mut paper: Vec<f32> = PAPER_MM
        .iter()
        .filter_map(|below| value(*below, 0))
        .collect();
    let Some(ink) = value(off_mm, 1) else {
        return 0.0;
    };
    if paper.is_empty() {
        return 0.0;
    }
    let high = (paper.len() - 1) * 3 / 4;
    let level = paper
        .select_nth_unstable_by(high, f32::total_cmp)
        .1
        .max(8.0);
    (1.0 - ink / level).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Homography;
    use crate::units::Mm;

    #[test]
    fn a_line_that_goes_on_over_bare_paper_is_cut() {
        let (width, height) = (800, 400);
        let ink = |x: usize, y: usize| y.abs_diff(200) < 2 && (80..600).contains(&x);
        let rgb = (0..width * height)
            .flat_map(|k| {
                if ink(k % width, k / width) {
                    [30; 3]
                } else {
                    [240, 225, 220]
                }
            })
            .collect();
        let image = RawImage::new(width, height, rgb).unwrap();
        let map = PageMap::new(
            Homography::similarity(8.0, 8.0, 0.0, (0.0, 0.0)).unwrap(),
            None,
        );
        let zero = [Point::new(0.0, 25.0), Point::new(90.0, 25.0)];
        let strip = Strip::new(Mm(0.0), zero, 800, 320);
        let point = LinePoint {
            y_px: 160.0,
            confidence: 1.0,
            spread_px: 0.0,
        };
        let mut line = Line {
            points: vec![Some(point); 800],
        };
        keep_inked(&image, &map, &strip, &mut line);
        let left: Vec<usize> = (0..800).filter(|x| line.points[*x].is_some()).collect();
        assert!(left[0].abs_diff(80) < 8, "begins at {}", left[0]);
        assert!(
            left[left.len() - 1].abs_diff(599) < 8,
            "ends at {}",
            left[left.len() - 1]
        );
        assert!(left.len() > 500, "{} columns are left", left.len());
    }
}
