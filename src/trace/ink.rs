//! Whether there is ink where the line was found.
//!
//! In: the picture, the page map, a row's line. Out: the same line, without the stretches that lie
//! on bare paper: a net that has followed a line for long goes on where the pen stopped. Ink is
//! measured on the page itself, in its brightest channel (a coloured grid is bright in its own),
//! against the paper above and below, and compared with the ink of the whole row. At both ends the
//! line must also be darker than the page is a grid's period above and below it: where the pen
//! stopped, the net likes to go on along a grid line. The darkest pixel of a place tells its ink,
//! thin lines being what they are. On black-and-white copies every place has a black pixel, of the
//! line, of the grid or of the half-tone's dots: there, the share of black pixels tells it.

use super::Line;
use super::follow::LinePoint;
use crate::crop::{CROP_PX_PER_MM, Strip};
use crate::grid::LINES_MM;
use crate::math;
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

/// Dots are averaged over this length of the line.
const DOTS_MM: f32 = 1.0;

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
    let darkest = |at, below| darkness(image, map, at, below, darkest);
    let Some(mut ink) = RowInk::read(&places, darkest) else {
        return;
    };
    if !ink.tells_line_from_grid() {
        let mean = |at, below| darkness(image, map, at, below, mean);
        let dots = RowInk::read(&places, mean);
        ink = dots.map_or(ink, RowInk::averaged);
    }
    cut_bare(line, &ink);
    trim(line, &ink.own());
}

/// Darkness along a row's line, `None` where there is no line.
struct RowInk {
    line: Vec<Option<f32>>,
    /// The same a grid's period above and below.
    off: [Vec<Option<f32>>; 2],
    /// Median of `line`.
    usual: f32,
}

impl RowInk {
    /// `None` where there is no line at all.
    fn read(
        places: &[Option<Point<InPaper>>],
        darkness: impl Fn(Point<InPaper>, f32) -> f32,
    ) -> Option<Self> {
        let along = |below: f32| -> Vec<Option<f32>> {
            places
                .iter()
                .map(|at| at.map(|at| darkness(at, below)))
                .collect()
        };
        let line = along(0.0);
        let off = [-LINES_MM, LINES_MM].map(along);
        let usual = usual(&line)?;
        Some(Self { line, off, usual })
    }

    /// The same, averaged along the line.
    fn averaged(self) -> Self {
        let line = averaged(&self.line);
        Self {
            usual: usual(&line).unwrap_or(self.usual),
            off: self.off.map(|dark| averaged(&dark)),
            line,
        }
    }

    fn is_inked(&self, x: usize) -> bool {
        self.line[x].is_some_and(|dark| dark > INK_SHARE * self.usual)
    }

    /// Whether a column's ink is darker than a grid's would be.
    fn own(&self) -> Vec<bool> {
        let is_own = |x: usize| {
            let grid = |off: &Vec<Option<f32>>| off[x].unwrap_or(0.0);
            let grid = grid(&self.off[0]).max(grid(&self.off[1]));
            self.is_inked(x) && self.line[x].is_some_and(|dark| dark > OVER_GRID * grid)
        };
        (0..self.line.len()).map(is_own).collect()
    }

    /// The row as a whole is what its ends must be.
    fn tells_line_from_grid(&self) -> bool {
        let found = self.line.iter().flatten().count();
        let own = self.own().into_iter().filter(|own| *own).count();
        own as f32 > OWN_SHARE * found as f32
    }
}

fn usual(dark: &[Option<f32>]) -> Option<f32> {
    math::median(dark.iter().flatten().copied().collect())
}

fn averaged(dark: &[Option<f32>]) -> Vec<Option<f32>> {
    let reach = (DOTS_MM * CROP_PX_PER_MM / 2.0) as usize;
    let around = |x: usize| {
        let columns = &dark[x.saturating_sub(reach)..(x + reach + 1).min(dark.len())];
        let (sum, count) = columns
            .iter()
            .flatten()
            .fold((0.0, 0), |(sum, count), dark| (sum + dark, count + 1));
        dark[x].map(|_| sum / count.max(1) as f32)
    };
    (0..dark.len()).map(around).collect()
}

/// Takes out the stretches in which most columns have no ink.
fn cut_bare(line: &mut Line, ink: &RowInk) {
    let is_bare = |x: usize| ink.line[x].is_some_and(|dark| dark < INK_SHARE * ink.usual);
    let bare: Vec<bool> = (0..ink.line.len()).map(is_bare).collect();
    let reach = (STRETCH_MM * CROP_PX_PER_MM / 2.0) as usize;
    let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as f32;
    for x in 0..bare.len() {
        let around = x.saturating_sub(reach)..(x + reach + 1).min(bare.len());
        let present = ink.line[around.clone()].iter().flatten().count() as f32;
        if bare[x] && count(&bare[around]) > BARE_SHARE * present {
            line.points[x] = None;
        }
    }
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

/// Values of the pixels at a place.
type PlacePx = [f32; 9];

fn darkest(values: PlacePx) -> f32 {
    values.into_iter().fold(f32::INFINITY, f32::min)
}

fn mean(values: PlacePx) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

/// How much darker the page is `off_mm` below a place than the paper around that place, 0 to 1.
fn darkness(
    image: &RawImage,
    map: &PageMap,
    at: Point<InPaper>,
    off_mm: f32,
    ink: fn(PlacePx) -> f32,
) -> f32 {
    let inside = |below: f32, reach: isize| -> Option<(isize, isize)> {
        let px = map.to_page(Point::new(at.x, at.y + below));
        let (x, y) = (px.x.round() as isize, px.y.round() as isize);
        let fits = |v: isize, side: usize| v >= reach && v + reach < side as isize;
        (fits(x, image.width()) && fits(y, image.height())).then_some((x, y))
    };
    let value = |x: isize, y: isize| {
        let pixel = image.pixel(x as usize, y as usize);
        f32::from(pixel.into_iter().max().unwrap_or(0))
    };
    let mut paper: Vec<f32> = PAPER_MM
        .iter()
        .filter_map(|below| inside(*below, 0))
        .map(|(x, y)| value(x, y))
        .collect();
    let Some((x, y)) = inside(off_mm, 1) else {
        return 0.0;
    };
    if paper.is_empty() {
        return 0.0;
    }
    let around = |k: usize| value(x - 1 + (k % 3) as isize, y - 1 + (k / 3) as isize);
    let high = (paper.len() - 1) * 3 / 4;
    let level = paper
        .select_nth_unstable_by(high, f32::total_cmp)
        .1
        .max(8.0);
    (1.0 - ink(std::array::from_fn(around)) / level).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Homography;
    use crate::units::Mm;

    /// The line's ink lies at `line_px` from column 80 to 600; beyond, it was found at row 200.
    fn check(line_px: usize, shade: impl Fn(usize, usize) -> [u8; 3]) {
        let (width, height) = (800, 400);
        let ink = |x: usize, y: usize| y.abs_diff(line_px) < 2 && (80..600).contains(&x);
        let rgb = (0..width * height)
            .flat_map(|k| {
                let (x, y) = (k % width, k / width);
                if ink(x, y) { [30; 3] } else { shade(x, y) }
            })
            .collect();
        let image = RawImage::new(width, height, rgb).unwrap();
        let map = PageMap::new(
            Homography::similarity(8.0, 8.0, 0.0, (0.0, 0.0)).unwrap(),
            None,
        );
        let zero = [Point::new(0.0, 25.0), Point::new(90.0, 25.0)];
        let strip = Strip::new(Mm(0.0), zero, 800, 320);
        let point = |x: usize| LinePoint {
            y_px: if (80..600).contains(&x) { line_px } else { 200 } as f32 - 40.0,
            confidence: 1.0,
            spread_px: 0.0,
        };
        let mut line = Line {
            points: (0..width).map(|x| Some(point(x))).collect(),
        };
        keep_inked(&image, &map, &strip, &mut line);
        let left: Vec<usize> = (0..800).filter(|x| line.points[*x].is_some()).collect();
        assert!(left.len() > 500, "{} columns are left", left.len());
        assert!(left[0].abs_diff(80) < 8, "begins at {}", left[0]);
        let last = left[left.len() - 1];
        assert!(last.abs_diff(599) < 8, "ends at {last}");
    }

    /// A half-tone: `count` of five pixels are black, and each 3 x 3 pixels hold all five.
    fn dots(x: usize, y: usize, count: usize) -> [u8; 3] {
        if (2 * x + 3 * y) % 5 < count {
            [0; 3]
        } else {
            [255; 3]
        }
    }

    #[test]
    fn a_line_that_goes_on_over_bare_paper_is_cut() {
        check(200, |_, _| [240, 225, 220]);
    }

    #[test]
    fn a_line_stays_on_half_tone_paper_and_is_cut_where_it_ends() {
        check(200, |x, y| dots(x, y, 1));
    }

    #[test]
    fn a_line_that_goes_on_along_a_half_tone_grid_is_cut() {
        check(212, |x, y| dots(x, y, if y % 40 < 2 { 3 } else { 1 }));
    }

    #[test]
    fn a_line_as_black_as_a_dense_grid_stays() {
        let ruled = |v: usize| v % 8 < 2;
        check(204, |x, y| {
            dots(0, 0, 5 * usize::from(ruled(x) || ruled(y)))
        });
    }
}
