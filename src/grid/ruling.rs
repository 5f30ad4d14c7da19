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

/// Darkness of the ruling.
pub struct Ruling {
    pub width: usize,
    pub height: usize,
    /// 0 (paper) to 255: no finer than the picture itself.
    pub dark: Vec<u8>,
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
        let [low, high] = extremes(image, shrink, (width, height));
        let (paper_low, paper_high) = (Levels::of(&low, width), Levels::of(&high, width));
        let mut dark = vec![0u8; width * height];
        let mut ink = vec![false; width * height];
        let mut levels = [vec![0f32; width], vec![0f32; width]];
        let across: Vec<Between> = (0..width).map(|x| between(x, paper_low.columns)).collect();
        for y in 0..height {
            let row = y * width..(y + 1) * width;
            paper_low.row(y, &across, &mut levels[0]);
            paper_high.row(y, &across, &mut levels[1]);
            let papers = levels[0].iter().zip(&levels[1]);
            let values = low[row.clone()].iter().zip(&high[row.clone()]).zip(papers);
            let out = dark[row.clone()].iter_mut().zip(&mut ink[row]);
            for ((dark, ink), ((low, high), (paper_low, paper_high))) in out.zip(values) {
                *ink = f32::from(*high) < INK_SHARE * paper_high;
                let is_paper = !*ink || lines == DarkLines::Ruling;
                let darkness = (1.0 - f32::from(*low) / paper_low).clamp(0.0, 1.0);
                *dark = if is_paper {
                    (255.0 * darkness + 0.5) as u8
                } else {
                    0
                };
            }
        }
        let ink_spread = spread(&ink, width);
        if lines == DarkLines::Ruling {
            ink.fill(false);
        }
        let usual = line_darkness(&dark);
        for (ink, dark) in ink.iter_mut().zip(&dark) {
            *ink |= f32::from(*dark) > INK_TIMES * usual;
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
        let dark: Vec<u8> = dark
            .into_iter()
            .map(|dark| (255.0 * dark + 0.5) as u8)
            .collect();
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

/// Steps of a channel's level: means over squares of pixels are finer than pixels.
const LEVEL_STEPS: u16 = 64;

/// The darkest and the brightest channel, means over squares of `shrink` pixels a side, in
/// `LEVEL_STEPS`.
fn extremes(image: &RawImage, shrink: usize, (width, height): (usize, usize)) -> [Vec<u16>; 2] {
    let mut out = [vec![0u16; width * height], vec![0u16; width * height]];
    if shrink == 1 {
        let [low, high] = &mut out;
        let pixels = image.rgb().as_chunks::<3>().0;
        for ((low, high), &[r, g, b]) in low.iter_mut().zip(high).zip(pixels) {
            let stepped = |level: u8| u16::from(level) * LEVEL_STEPS;
            (*low, *high) = (stepped(r.min(g).min(b)), stepped(r.max(g).max(b)));
        }
        return out;
    }
    let mut sums = vec![[0u32; 2]; width];
    let area = (shrink * shrink) as u32;
    let rows = image.rgb().chunks_exact(3 * image.width());
    for (y, row) in rows.take(height * shrink).enumerate() {
        let pixels = row.as_chunks::<3>().0;
        for (sum, square) in sums.iter_mut().zip(pixels.chunks_exact(shrink)) {
            for &[r, g, b] in square {
                sum[0] += u32::from(r.min(g).min(b));
                sum[1] += u32::from(r.max(g).max(b));
            }
        }
        if (y + 1).is_multiple_of(shrink) {
            let from = y / shrink * width;
            for (k, out) in out.iter_mut().enumerate() {
                for (out, sum) in out[from..from + width].iter_mut().zip(&sums) {
                    *out = (sum[k] * u32::from(LEVEL_STEPS) / area) as u16;
                }
            }
            sums.fill([0; 2]);
        }
    }
    out
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
fn line_darkness(dark: &[u8]) -> f32 {
    let mut counts = [0; 256];
    for dark in dark.iter().step_by(SAMPLED) {
        counts[usize::from(*dark)] += 1;
    }
    let sampled = dark.len().div_ceil(SAMPLED);
    f32::from(ranked(
        &counts,
        (sampled as f32 * (1.0 - LINES_SHARE)) as usize,
    ))
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
    fn of(values: &[u16], width: usize) -> Self {
        let height = values.len() / width;
        let (columns, rows) = (width.div_ceil(BLOCK), height.div_ceil(BLOCK));
        let mut level = Vec::with_capacity(columns * rows);
        for row in 0..rows {
            for column in 0..columns {
                let mut counts = [0u32; 256];
                let mut seen = 0;
                for y in row * BLOCK..((row + 1) * BLOCK).min(height) {
                    let line = &values[y * width..(y + 1) * width];
                    let line = &line[column * BLOCK..((column + 1) * BLOCK).min(width)];
                    seen += line.len();
                    for value in line {
                        counts[usize::from(*value / LEVEL_STEPS)] += 1;
                    }
                }
                let level_seen = f32::from(ranked(&counts, (seen - 1) * 85 / 100)).max(8.0);
                level.push(level_seen * f32::from(LEVEL_STEPS));
            }
        }
        Self {
            columns,
            rows,
            level,
        }
    }

    /// The levels of the pixels of row `y`, which lie `across`.
    fn row(&self, y: usize, across: &[Between], out: &mut [f32]) {
        let (above, below, share) = between(y, self.rows);
        let line: Vec<f32> = (0..self.columns)
            .map(|column| {
                let node = |row: usize| self.level[row * self.columns + column];
                node(above) * (1.0 - share) + node(below) * share
            })
            .collect();
        for (level, &(left, right, share)) in out.iter_mut().zip(across) {
            *level = line[left] * (1.0 - share) + line[right] * share;
        }
    }
}

/// The squares whose middles a pixel lies between, and how near it is to the second.
type Between = (usize, usize, f32);

fn between(pixel: usize, count: usize) -> Between {
    let at = ((pixel as f32 + 0.5) / BLOCK as f32 - 0.5).clamp(0.0, (count - 1) as f32);
    let low = (at as usize).min(count.saturating_sub(2));
    (low, (low + 1).min(count - 1), at - low as f32)
}

/// The value with so many before it.
fn ranked(counts: &[u32; 256], rank: usize) -> u8 {
    let mut before = 0;
    let is_behind = |count: &u32| {
        before += *count as usize;
        before > rank
    };
    counts.iter().position(is_behind).unwrap_or(255) as u8
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
