//! The grid's ink alone.
//!
//! In: the picture. Out: a raster, shrunk where the picture is large, of how dark each pixel is
//! below its neighbourhood's paper in its darkest channel (coloured lines are dark in one), with
//! the traces' and letters' ink taken out (they are dark in the brightest channel too).

use crate::page::{Homography, RawImage};

/// Longest side of the raster.
const SIDE_MAX: usize = 2400;
/// Ink is darker than this share of its neighbourhood's paper in the brightest channel.
const INK_SHARE: f32 = 0.6;
/// So is what is this many times as dark as the ruling's lines, the darkest so large share of it.
/// Beside ink, pixels are blurred so far.
const INK_TIMES: f32 = 2.2;
const LINES_SHARE: f32 = 0.05;
const BESIDE_PX: usize = 2;
/// One pixel of so many tells how dark the lines are.
const SAMPLED: usize = 7;
/// Side of the squares whose brightest pixels tell the paper's level.
const BLOCK: usize = 24;
/// Ink stands in a square with so many dark pixels.
const INK_IN_SQUARE: usize = 24;

/// Darkness of the ruling, 0 (paper) to 1.
pub struct Ruling {
    pub width: usize,
    pub height: usize,
    pub dark: Vec<f32>,
    /// Whether ink stands at a pixel or beside it: what is dark there may be no ruling. Of dark or
    /// sparse lines, they themselves are taken for ink.
    pub inky: Vec<bool>,
    /// Share of the page's squares in which ink stands, taken out or not.
    pub ink_spread: f32,
    /// What dark lines were taken for.
    pub lines: DarkLines,
    shrink: usize,
}

/// What dark lines are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DarkLines {
    /// Traces and letters, which are taken out.
    Ink,
    /// The ruling: of a grid printed in black or copied in grey.
    Ruling,
}

impl Ruling {
    pub fn of(image: &RawImage, lines: DarkLines) -> Self {
        let shrink = image.width().max(image.height()).div_ceil(SIDE_MAX).max(1);
        let (width, height) = (image.width() / shrink, image.height() / shrink);
        let mut low = vec![0f32; width * height];
        let mut high = vec![0f32; width * height];
        let area = (shrink * shrink) as f32;
        for y in 0..height {
            for x in 0..width {
                let (mut a, mut b) = (0u32, 0u32);
                for row in 0..shrink {
                    for column in 0..shrink {
                        let [r, g, c] = image.pixel(x * shrink + column, y * shrink + row);
                        a += u32::from(r.min(g).min(c));
                        b += u32::from(r.max(g).max(c));
                    }
                }
                low[y * width + x] = a as f32 / area;
                high[y * width + x] = b as f32 / area;
            }
        }
        let (paper_low, paper_high) = (Levels::of(&low, width), Levels::of(&high, width));
        let mut dark = vec![0f32; width * height];
        let mut ink = vec![false; width * height];
        for y in 0..height {
            for x in 0..width {
                let at = y * width + x;
                ink[at] = high[at] < INK_SHARE * paper_high.at(x, y);
                if !ink[at] || lines == DarkLines::Ruling {
                    dark[at] = (1.0 - low[at] / paper_low.at(x, y)).clamp(0.0, 1.0);
                }
            }
        }
        let ink_spread = spread(&ink, width);
        if lines == DarkLines::Ruling {
            ink.fill(false);
        }
        let usual = line_darkness(&dark);
        for (ink, dark) in ink.iter_mut().zip(&dark) {
            *ink |= *dark > INK_TIMES * usual;
        }
        Self {
            width,
            height,
            dark,
            inky: widened(&ink, width),
            ink_spread,
            lines,
            shrink,
        }
    }

    /// A ruling of the given darkness, for tests.
    #[cfg(test)]
    pub fn of_dark(width: usize, height: usize, dark: Vec<f32>) -> Self {
        let inky = vec![false; dark.len()];
        Self {
            width,
            height,
            dark,
            inky,
            ink_spread: 0.0,
            lines: DarkLines::Ink,
            shrink: 1,
        }
    }

    /// A map to this raster's pixels as a map to the picture's.
    pub fn to_image(&self, map: &Homography) -> Homography {
        let s = self.shrink as f64;
        let shift = (s - 1.0) / 2.0;
        let grow = Homography::new([s, 0.0, shift, 0.0, s, shift, 0.0, 0.0, 1.0]);
        grow.expect("a shrink factor is positive").after(map)
    }
}

/// Share of the squares in which ink stands.
fn spread(ink: &[bool], width: usize) -> f32 {
    let columns = width.div_ceil(BLOCK);
    let mut counts = vec![0; columns * (ink.len() / width).div_ceil(BLOCK)];
    for (at, _) in ink.iter().enumerate().filter(|(_, ink)| **ink) {
        counts[at / width / BLOCK * columns + at % width / BLOCK] += 1;
    }
    let full = counts.iter().filter(|count| **count >= INK_IN_SQUARE);
    full.count() as f32 / counts.len().max(1) as f32
}

/// How dark a ruling's lines are, at least.
fn line_darkness(dark: &[f32]) -> f32 {
    let mut some: Vec<f32> = dark.iter().step_by(SAMPLED).copied().collect();
    let at = (some.len() as f32 * (1.0 - LINES_SHARE)) as usize;
    *some.select_nth_unstable_by(at, f32::total_cmp).1
}

/// The same with `BESIDE_PX` pixels around each.
fn widened(ink: &[bool], width: usize) -> Vec<bool> {
    let mut out = vec![false; ink.len()];
    let height = ink.len() / width;
    for y in 0..height {
        for x in 0..width {
            if !ink[y * width + x] {
                continue;
            }
            let across = x.saturating_sub(BESIDE_PX)..(x + BESIDE_PX + 1).min(width);
            for row in y.saturating_sub(BESIDE_PX)..(y + BESIDE_PX + 1).min(height) {
                out[row * width..][across.clone()].fill(true);
            }
        }
    }
    out
}

/// Brightness of the paper, bilinear between squares.
struct Levels {
    columns: usize,
    rows: usize,
    level: Vec<f32>,
}

impl Levels {
    fn of(values: &[f32], width: usize) -> Self {
        let height = values.len() / width;
        let (columns, rows) = (width.div_ceil(BLOCK), height.div_ceil(BLOCK));
        let mut level = Vec::with_capacity(columns * rows);
        let mut seen = Vec::with_capacity(BLOCK * BLOCK);
        for row in 0..rows {
            for column in 0..columns {
                seen.clear();
                for y in row * BLOCK..((row + 1) * BLOCK).min(height) {
                    let line = &values[y * width..(y + 1) * width];
                    seen.extend(&line[column * BLOCK..((column + 1) * BLOCK).min(width)]);
                }
                let at = (seen.len() - 1) * 85 / 100;
                level.push(seen.select_nth_unstable_by(at, f32::total_cmp).1.max(8.0));
            }
        }
        Self {
            columns,
            rows,
            level,
        }
    }

    fn at(&self, x: usize, y: usize) -> f32 {
        let place = |v: usize, count: usize| {
            let at = ((v as f32 + 0.5) / BLOCK as f32 - 0.5).clamp(0.0, (count - 1) as f32);
            let low = (at as usize).min(count.saturating_sub(2));
            (low, (low + 1).min(count - 1), at - low as f32)
        };
        let ((a, b, u), (c, d, v)) = (place(x, self.columns), place(y, self.rows));
        let node = |column: usize, row: usize| self.level[row * self.columns + column];
        (node(a, c) * (1.0 - u) + node(b, c) * u) * (1.0 - v)
            + (node(a, d) * (1.0 - u) + node(b, d) * u) * v
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines every 8 px of `line`, and an upright stroke of `ink` at x 100 to 103.
    fn ruling(line: [u8; 3], ink: [u8; 3]) -> Ruling {
        let (width, height) = (240, 160);
        let color = |x: usize, y: usize| match (x, x.is_multiple_of(8) || y.is_multiple_of(8)) {
            (100..=103, _) => ink,
            (_, true) => line,
            (_, false) => [250, 248, 246],
        };
        let pixels = (0..width * height).flat_map(|at| color(at % width, at / width));
        Ruling::of(
            &RawImage::new(width, height, pixels.collect()).unwrap(),
            DarkLines::Ink,
        )
    }

    #[track_caller]
    fn check(line: [u8; 3], ink: [u8; 3], inky: std::ops::RangeInclusive<usize>) {
        let ruling = ruling(line, ink);
        for x in 0..ruling.width {
            let found = ruling.inky[81 * ruling.width + x];
            assert_eq!(found, inky.contains(&x), "x {x}");
        }
    }

    #[test]
    fn ink_and_what_is_beside_it_is_told_from_pale_lines() {
        let beside = 100 - BESIDE_PX..=103 + BESIDE_PX;
        check([245, 195, 195], [30, 30, 35], beside.clone());
        check([245, 195, 195], [40, 60, 190], beside);
    }

    #[test]
    fn lines_as_dark_as_coloured_ink_hide_it() {
        #[expect(clippy::reversed_empty_ranges, reason = "no pixel at all")]
        let none = 1..=0;
        check([200, 60, 70], [40, 60, 190], none);
    }
}
