//! Ink among the rows that no line explains: what was read, drawn again, and held against the page.
//!
//! In: the picture, the page map, the rows' lines, the boxes of names and pulses. Out: `Unread`,
//! square millimetres of ink a row and millimetre along the paper. Where two traces cross and one
//! was cut short, or a peak was left out, the rest of its ink lies there. Ink is what is nearly as
//! dark as the lines that were read. Cells are `CELL_MM` wide; connected cells smaller than
//! `PIECE_MIN_MM` are dirt, or dots of a grid.

use image::{GrayImage, Luma};
use imageproc::region_labelling::{Connectivity, connected_components};

use super::rows::TracedRow;
use crate::crop::CROP_PX_PER_MM;
use crate::page::{Bounds, InPaper, PageMap, Point, RawImage};
use crate::units::Mm;

/// Side of a cell.
const CELL_MM: f32 = 0.25;
/// A line explains the ink this near to it.
const NEAR_MM: f32 = 0.6;
/// Names and pulses explain the ink this far around their boxes.
const AROUND_MM: f32 = 0.6;
/// Ink is at least this share as dark as the lines are on average.
const INK_SHARE: f32 = 0.6;
/// The paper's brightness is that of so many cells, of whose cells so many are darker.
const PAPER_CELLS: usize = 24;
const PAPER_SHARE: f32 = 0.8;
/// Pieces of less extent than this, in both directions, are none of a trace.
const PIECE_MIN_MM: f32 = 1.5;

/// Ink that no line explains.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    left: Mm,
    /// A row, then millimetres along the paper: square millimetres of ink nearer to this row than
    /// to any other.
    rows: Vec<Vec<f32>>,
}

impl Unread {
    /// Square millimetres a millimetre along row `row` from `left` to `right`.
    pub fn share(&self, row: usize, left: Mm, right: Mm) -> f32 {
        let bins = &self.rows[row];
        let place = |x: Mm| ((x - self.left).0.max(0.0) as usize).min(bins.len());
        let part = &bins[place(left)..place(right).max(place(left))];
        part.iter().sum::<f32>() / part.len().max(1) as f32
    }
}

/// The paper between the rows, in cells.
struct Raster {
    left: f32,
    top: f32,
    width: usize,
    height: usize,
}

impl Raster {
    fn of(rows: &[TracedRow], left: Mm, right: Mm) -> Option<Self> {
        let zeros = |x: Mm| rows.iter().map(move |row| row.strip.zero(x).0);
        let all = || zeros(left).chain(zeros(right));
        let (low, high) = (
            all().fold(f32::MAX, f32::min),
            all().fold(f32::MIN, f32::max),
        );
        let pitch = (high - low) / (rows.len().max(2) - 1) as f32;
        let reach = if rows.len() > 1 { 0.6 * pitch } else { 15.0 };
        let width = ((right - left).0 / CELL_MM) as usize;
        let height = ((high - low + 2.0 * reach) / CELL_MM) as usize;
        (!rows.is_empty() && width > 0 && height > 0).then_some(Self {
            left: left.0,
            top: low - reach,
            width,
            height,
        })
    }

    fn place(&self, x: usize, y: usize) -> Point<InPaper> {
        let at = |from: f32, cell: usize| from + (cell as f32 + 0.5) * CELL_MM;
        Point::new(at(self.left, x), at(self.top, y))
    }

    /// The cells of a box on the paper, clipped.
    fn cells(&self, bounds: &Bounds<InPaper>) -> [std::ops::Range<usize>; 2] {
        let range = |low: f32, high: f32, from: f32, count: usize| {
            let cell = |v: f32| (((v - from) / CELL_MM).max(0.0) as usize).min(count);
            cell(low)..cell(high + CELL_MM)
        };
        [
            range(bounds.left, bounds.right, self.left, self.width),
            range(bounds.top, bounds.bottom, self.top, self.height),
        ]
    }
}

/// The ink from `left` to `right` that neither a line nor one of the boxes in `known` explains.
pub fn unread(
    image: &RawImage,
    map: &PageMap,
    rows: &[TracedRow],
    (left, right): (Mm, Mm),
    known: &[Bounds<InPaper>],
) -> Unread {
    let bins = (right - left).0.max(0.0).ceil() as usize;
    let mut out = Unread {
        left,
        rows: vec![vec![0.0; bins]; rows.len()],
    };
    let Some(raster) = Raster::of(rows, left, right) else {
        return out;
    };
    let dark = darkness(image, map, &raster);
    let explained = explained(&raster, rows, known);
    let usual = line_darkness(&raster, rows, &dark);
    let mut ink = GrayImage::new(raster.width as u32, raster.height as u32);
    for (pixel, (dark, explained)) in ink.pixels_mut().zip(dark.iter().zip(&explained)) {
        *pixel = Luma([u8::from(!explained && *dark > INK_SHARE * usual) * u8::MAX]);
    }
    for (x, y) in pieces(&ink) {
        let at = raster.place(x, y);
        let off = |row: &TracedRow| (row.strip.zero(Mm(at.x)).0 - at.y).abs();
        let nearest = (0..rows.len()).min_by(|a, b| off(&rows[*a]).total_cmp(&off(&rows[*b])));
        let bin = ((at.x - left.0) as usize).min(bins - 1);
        if let Some(row) = nearest {
            out.rows[row][bin] += CELL_MM * CELL_MM;
        }
    }
    out
}

/// How much darker each cell is than the paper around it, 0 to 1, in the brightest channel: a
/// coloured grid is bright in its own.
fn darkness(image: &RawImage, map: &PageMap, raster: &Raster) -> Vec<f32> {
    let mut values = vec![f32::NAN; raster.width * raster.height];
    for y in 0..raster.height {
        for x in 0..raster.width {
            if let Some(value) = image.brightest(map.to_page(raster.place(x, y))) {
                values[y * raster.width + x] = value;
            }
        }
    }
    let mut out = vec![0.0; values.len()];
    for top in (0..raster.height).step_by(PAPER_CELLS) {
        for left in (0..raster.width).step_by(PAPER_CELLS) {
            let rows = top..(top + PAPER_CELLS).min(raster.height);
            let columns = left..(left + PAPER_CELLS).min(raster.width);
            let cells: Vec<usize> = rows
                .flat_map(|y| columns.clone().map(move |x| y * raster.width + x))
                .filter(|cell| !values[*cell].is_nan())
                .collect();
            let mut block: Vec<f32> = cells.iter().map(|cell| values[*cell]).collect();
            if block.is_empty() {
                continue;
            }
            let place = (PAPER_SHARE * (block.len() - 1) as f32) as usize;
            let paper = block
                .select_nth_unstable_by(place, f32::total_cmp)
                .1
                .max(8.0);
            for cell in cells {
                out[cell] = (1.0 - values[cell] / paper).max(0.0);
            }
        }
    }
    out
}

/// The cells of a row's line from column to column, as heights on the paper: x, top, bottom.
fn stretches(row: &TracedRow) -> impl Iterator<Item = Bounds<InPaper>> + '_ {
    (0..row.line.points.len()).filter_map(move |x| {
        let here = row.place(x)?;
        let next = row.place(x + 1).unwrap_or(here);
        let (top, bottom) = (here.y.min(next.y), here.y.max(next.y));
        Some(Bounds::new(
            here.x,
            top,
            here.x + 1.0 / CROP_PX_PER_MM,
            bottom,
        ))
    })
}

fn explained(raster: &Raster, rows: &[TracedRow], known: &[Bounds<InPaper>]) -> Vec<bool> {
    let mut out = vec![false; raster.width * raster.height];
    let mut cover = |bounds: &Bounds<InPaper>, around: f32| {
        let wide = Bounds::new(
            bounds.left - around,
            bounds.top - around,
            bounds.right + around,
            bounds.bottom + around,
        );
        let [columns, lines] = raster.cells(&wide);
        for y in lines {
            out[y * raster.width + columns.start..y * raster.width + columns.end].fill(true);
        }
    };
    for row in rows {
        stretches(row).for_each(|stretch| cover(&stretch, NEAR_MM));
    }
    known.iter().for_each(|bounds| cover(bounds, AROUND_MM));
    out
}

/// Median darkness of the rows' lines.
fn line_darkness(raster: &Raster, rows: &[TracedRow], dark: &[f32]) -> f32 {
    let darkest = |bounds: Bounds<InPaper>| {
        let [columns, lines] = raster.cells(&bounds);
        let cells = lines.flat_map(|y| columns.clone().map(move |x| y * raster.width + x));
        cells.map(|cell| dark[cell]).max_by(f32::total_cmp)
    };
    let mut seen: Vec<f32> = rows
        .iter()
        .flat_map(stretches)
        .filter_map(darkest)
        .collect();
    if seen.is_empty() {
        return 1.0;
    }
    let middle = seen.len() / 2;
    *seen.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// The cells of all pieces that are large enough.
fn pieces(ink: &GrayImage) -> Vec<(usize, usize)> {
    let labels = connected_components(ink, Connectivity::Eight, Luma([0]));
    let count = labels.pixels().map(|p| p.0[0]).max().unwrap_or(0) as usize;
    let mut extents = vec![[u32::MAX, u32::MAX, 0, 0]; count + 1];
    for (x, y, label) in labels.enumerate_pixels() {
        let extent = &mut extents[label.0[0] as usize];
        *extent = [
            extent[0].min(x),
            extent[1].min(y),
            extent[2].max(x),
            extent[3].max(y),
        ];
    }
    let least = (PIECE_MIN_MM / CELL_MM) as u32;
    let is_large = |label: u32| {
        let [left, top, right, bottom] = extents[label as usize];
        label > 0 && (right - left + 1).max(bottom - top + 1) >= least
    };
    labels
        .enumerate_pixels()
        .filter(|(_, _, label)| is_large(label.0[0]))
        .map(|(x, y, _)| (x as usize, y as usize))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::Strip;
    use crate::page::Homography;
    use crate::trace::Line;
    use crate::trace::follow::LinePoint;

    /// A line at y = 25 mm from x = 0 to 100 mm with a peak of 12 mm at x = 50, on 8 px/mm, and what was
    /// read of it: the line without its peak.
    fn found(known: &[Bounds<InPaper>]) -> Unread {
        let (width, height) = (800, 400);
        let ink = |k: usize| {
            let (x, y) = ((k % width) as f32 / 8.0, (k / width) as f32 / 8.0);
            let on_peak = (x - 50.0).abs() < 0.2 && (13.0..25.0).contains(&y);
            on_peak || (y - 25.0).abs() < 0.2
        };
        let rgb = (0..width * height).flat_map(|k| if ink(k) { [30; 3] } else { [250; 3] });
        let image = RawImage::new(width, height, rgb.collect()).unwrap();
        let map = Homography::similarity(8.0, 8.0, 0.0, (0.0, 0.0)).unwrap();
        let zero = [Point::new(0.0, 25.0), Point::new(99.0, 25.0)];
        let strip = Strip::new(Mm(0.0), zero, 800, 320);
        let point = LinePoint {
            y_px: strip.to_panel(Point::new(0.0, 25.0)).y,
            confidence: 1.0,
            spread_px: 0.0,
        };
        let points = vec![Some(point); 800];
        let row = TracedRow {
            strip,
            line: Line { points },
        };
        unread(
            &image,
            &PageMap::new(map, None),
            &[row],
            (Mm(0.0), Mm(100.0)),
            known,
        )
    }

    #[test]
    fn ink_of_a_peak_that_was_cut_is_told_where_it_stands() {
        let unread = found(&[]);
        let area = unread.share(0, Mm(48.0), Mm(53.0)) * 5.0;
        // 12 mm of a line of 0.4 mm, less what lies near the line that was read.
        assert!((2.5..7.0).contains(&area), "{area} mm2");
        assert_eq!(unread.share(0, Mm(0.0), Mm(48.0)), 0.0);
    }

    #[test]
    fn ink_in_a_known_box_is_explained() {
        let unread = found(&[Bounds::new(49.0, 10.0, 51.0, 26.0)]);
        assert_eq!(unread.share(0, Mm(0.0), Mm(100.0)), 0.0);
    }
}
