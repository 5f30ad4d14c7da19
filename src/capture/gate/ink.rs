//! The ink of a picture, by itself.
//!
//! In: a `RawImage`. Out: `Ink`, a raster of how far each pixel is darker than the paper around it
//! in its brightest channel, 0 (paper) to 255 (no light at all): coloured grids are as bright as
//! their paper there, so what is left is traces, letters and bars. Also the paper's level in
//! squares. A larger picture is shrunk by a whole number. Never fails: of any picture there is some.

use crate::page::RawImage;

/// Longest side of the raster: 7 px/mm of a sheet of A4.
const SIDE_PX_MAX: usize = 2_400;
/// Squares along the long side whose brighter pixels tell the paper's level: 5 mm of A4, wider than
/// any trace or letter.
const SQUARES: usize = 60;
/// Of the pixels of a square, the one that is paper: this share is darker.
const PAPER_PERCENT: usize = 85;
/// A square darker than this is taken for this dark: grain in the dark is not ink.
const PAPER_MIN: u8 = 16;

/// How dark below its paper, pixel by pixel.
pub struct Ink {
    pub width: usize,
    pub height: usize,
    pub dark: Vec<u8>,
    /// Brightness of the paper in squares, row by row.
    pub paper: Vec<u8>,
    /// Share of the pixels that are as bright as can be.
    pub clipped: f32,
    /// What the darkest strokes have: the level that 3 in 1000 pixels exceed.
    pub depth: u8,
    /// Middle difference of neighbouring pixels: the grain's, and never less than 1.
    pub grain: u8,
}

impl Ink {
    pub fn of(image: &RawImage) -> Self {
        let (width, height, mut dark) = brightest(image);
        let clipped = dark.iter().filter(|v| **v == u8::MAX).count() as f32 / dark.len() as f32;
        let side = width.max(height).div_ceil(SQUARES).max(8);
        let (columns, paper) = levels(&dark, width, side);
        let places: Vec<Place> = (0..width).map(|x| between(x, side, columns)).collect();
        let mut paper_here = vec![0u32; width];
        for (y, line) in dark.chunks_exact_mut(width).enumerate() {
            let place = between(y, side, paper.len() / columns);
            row_levels(&paper, columns, place, &places, &mut paper_here);
            for (value, paper) in line.iter_mut().zip(&paper_here) {
                let share = f32::from(*value) * 255.0 / *paper as f32;
                *value = 255 - share.min(255.0) as u8;
            }
        }
        let depth = exceeded(&dark, 3);
        let steps: Vec<u8> = dark
            .windows(2)
            .step_by(7)
            .map(|two| two[0].abs_diff(two[1]))
            .collect();
        let grain = exceeded(&steps, 500).max(1);
        Self {
            width,
            height,
            dark,
            paper,
            clipped,
            depth,
            grain,
        }
    }

    pub fn long_px(&self) -> usize {
        self.width.max(self.height)
    }
}

/// The brightest channel, shrunk.
fn brightest(image: &RawImage) -> (usize, usize, Vec<u8>) {
    let shrink = image.width().max(image.height()).div_ceil(SIDE_PX_MAX);
    let (width, height) = (image.width() / shrink, image.height() / shrink);
    let brightest = |pixel: &[u8]| u32::from(pixel[0].max(pixel[1]).max(pixel[2]));
    let mut plane = Vec::with_capacity(width * height);
    let mut sums = vec![0u32; width];
    let area = (shrink * shrink) as u32;
    for rows in image
        .rgb()
        .chunks_exact(3 * image.width() * shrink)
        .take(height)
    {
        sums.fill(0);
        for row in rows.chunks_exact(3 * image.width()) {
            for (sum, pixels) in sums.iter_mut().zip(row.chunks_exact(3 * shrink)) {
                *sum += pixels.chunks_exact(3).map(brightest).sum::<u32>();
            }
        }
        plane.extend(sums.iter().map(|sum| (sum / area) as u8));
    }
    (width, height, plane)
}

/// The paper's level in squares of `side`, and how many of them are in a row.
fn levels(plane: &[u8], width: usize, side: usize) -> (usize, Vec<u8>) {
    let columns = width.div_ceil(side);
    let mut levels = Vec::with_capacity(columns * (plane.len() / width).div_ceil(side));
    let mut counts = vec![[0u32; 256]; columns];
    for rows in plane.chunks(side * width) {
        counts.fill([0; 256]);
        for row in rows.chunks_exact(width) {
            for (counts, pixels) in counts.iter_mut().zip(row.chunks(side)) {
                for pixel in pixels {
                    counts[usize::from(*pixel)] += 1;
                }
            }
        }
        levels.extend(
            counts
                .iter()
                .map(|counts| percentile(counts, PAPER_PERCENT).max(PAPER_MIN)),
        );
    }
    (columns, levels)
}

fn percentile(counts: &[u32; 256], percent: usize) -> u8 {
    let total: u32 = counts.iter().sum();
    let mut left = total as usize * percent / 100;
    for (level, count) in (0u8..).zip(counts) {
        match left.checked_sub(*count as usize) {
            Some(rest) => left = rest,
            None => return level,
        }
    }
    u8::MAX
}

/// Levels along row `y`, bilinear between the squares' middles; `places` are the columns'.
fn row_levels(
    paper: &[u8],
    columns: usize,
    [above, below, down]: Place,
    places: &[Place],
    levels: &mut [u32],
) {
    let (above, below) = (&paper[above * columns..], &paper[below * columns..]);
    let node = |column: usize| {
        u32::from(above[column]) * (256 - down as u32) + u32::from(below[column]) * down as u32
    };
    for (level, [left, right, across]) in levels.iter_mut().zip(places) {
        let across = *across as u32;
        *level = (node(*left) * (256 - across) + node(*right) * across) >> 16;
    }
}

/// The squares before and after, and how far it is from the one to the other, in 256ths.
type Place = [usize; 3];

fn between(at: usize, side: usize, count: usize) -> Place {
    let place = (512 * at / side).saturating_sub(256);
    let (first, share) = (place / 512, place % 512 / 2);
    [first.min(count - 1), (first + 1).min(count - 1), share]
}

/// The level that `permille` of the values exceed.
pub fn exceeded(values: &[u8], permille: usize) -> u8 {
    let mut counts = [0u32; 256];
    for value in values {
        counts[usize::from(*value)] += 1;
    }
    let mut left = values.len() * permille / 1_000;
    for level in (0..=u8::MAX).rev() {
        match left.checked_sub(counts[usize::from(level)] as usize) {
            Some(rest) => left = rest,
            None => return level,
        }
    }
    0
}
