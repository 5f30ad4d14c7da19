//! How wide the picture shows a line.
//!
//! In: the ink. Out: the standard deviation of a thin line's profile, in pixels of the ink's raster.
//! A gradient is compared with what a known blur of one pixel leaves of it (Zhuo and Sim 2011, there
//! for edges): a line of variance s^2 has gradients as 1/s^2, so with s^2 + 1 after the blur their
//! ratio is 1 + 1/s^2, whatever the line's darkness. Across and down apart: a shake blurs one only.

use super::ink::Ink;

/// Gradients from this share of the darkest strokes on belong to strokes.
const STROKE_SHARE: f32 = 0.12;
/// And from this multiple of the middle gradient on, which is the grain's.
const GRAIN: f32 = 6.0;
/// Parts of a pixel in which widths are counted, and most that is told apart.
const PARTS: f32 = 16.0;
const WIDTH_PX_MAX: usize = 16;
/// Strokes of one direction, as a share of the long side, that tell something.
const STROKES_MIN: f32 = 0.1;

/// Gradients are four times a difference of darkness, and these are told apart.
const GRADIENTS: usize = 1_021;
/// Least gradient of a stroke, whatever the picture: the rounding's.
const LEAST: f32 = 8.0;
/// Neighbours that are looked at.
const RIM: usize = 4;
/// Larger rasters have lines enough in every other row.
const LARGE_PX: usize = 1_000_000;
/// Wider lines than this are measured again at half the size, where they stand out of the grain.
const WIDE_PX: f32 = 2.0;
const HALVINGS_MAX: usize = 2;

/// Width of the strokes across and down: the wider counts. `None` without strokes.
pub fn line_width_px(ink: &Ink) -> Option<f32> {
    let mut line_width = widest_px(&ink.dark, ink.width, ink.depth)?;
    let mut smaller = (Vec::new(), ink.width);
    let mut factor = 1.0;
    for halving in 0..HALVINGS_MAX {
        if line_width < factor * WIDE_PX {
            break;
        }
        let dark = if halving == 0 { &ink.dark } else { &smaller.0 };
        smaller = (half(dark, smaller.1), smaller.1 / 2);
        factor *= 2.0;
        let Some(coarse) = widest_px(&smaller.0, smaller.1, ink.depth) else {
            break;
        };
        line_width = factor * coarse;
    }
    Some(line_width)
}

fn widest_px(dark: &[u8], width: usize, depth: u8) -> Option<f32> {
    let raster = Raster {
        dark,
        width,
        height: dark.len() / width,
        depth,
    };
    match (raster.line_width(1, width), raster.line_width(width, 1)) {
        (Some(across), Some(down)) => Some(across.max(down)),
        (across, down) => across.or(down),
    }
}

fn half(dark: &[u8], width: usize) -> Vec<u8> {
    let pairs = |row: &[u8]| -> Vec<u16> {
        let pairs = row.chunks_exact(2);
        pairs
            .map(|pair| u16::from(pair[0]) + u16::from(pair[1]))
            .collect()
    };
    let rows = dark.chunks_exact(2 * width);
    rows.flat_map(|two| {
        let (above, below) = (pairs(&two[..width]), pairs(&two[width..]));
        let sums: Vec<u8> = above
            .iter()
            .zip(below)
            .map(|(a, b)| ((a + b) / 4) as u8)
            .collect();
        sums
    })
    .collect()
}

/// What is measured.
struct Raster<'a> {
    dark: &'a [u8],
    width: usize,
    height: usize,
    depth: u8,
}

impl Raster<'_> {
    /// Middle width along `step`, smoothed along `side`, where that costs a stroke no sharpness.
    fn line_width(&self, step: usize, side: usize) -> Option<f32> {
        let least = self.least(step, side)?;
        let doubted = u8::try_from(least / 8).unwrap_or(u8::MAX);
        let gradient = |at: usize| self.gradient(at, step, side);
        let mut found = [0u32; WIDTH_PX_MAX * PARTS as usize + 1];
        for at in self.inside() {
            // Most pixels are paper, and their own row tells.
            if self.dark[at + step].abs_diff(self.dark[at - step]) < doubted {
                continue;
            }
            let here = gradient(at);
            if here.abs() < least {
                continue;
            }
            let near = [gradient(at - step), gradient(at + step)];
            if near[0].abs() > here.abs() || near[1].abs() >= here.abs() {
                continue;
            }
            let far = gradient(at - 2 * step) + gradient(at + 2 * step);
            let blurred = (6 * here + 4 * (near[0] + near[1]) + far) as f32 / (16.0 * here as f32);
            let width = (blurred.max(0.0) / (1.0 - blurred).max(1e-3)).sqrt();
            found[((width * PARTS) as usize).min(found.len() - 1)] += 1;
        }
        let strokes_min = STROKES_MIN * self.width.max(self.height) as f32;
        let is_told = found.iter().sum::<u32>() as f32 >= strokes_min;
        let width = middle(&found)? as f32 / PARTS;
        is_told.then_some(width)
    }

    /// The gradient from which on there is a stroke.
    fn least(&self, step: usize, side: usize) -> Option<i32> {
        let mut counts = [0u32; GRADIENTS];
        for at in self.inside().step_by(7) {
            let size = self.gradient(at, step, side).unsigned_abs() as usize;
            counts[size.min(GRADIENTS - 1)] += 1;
        }
        let grain = GRAIN * middle(&counts)? as f32;
        let share = 4.0 * STROKE_SHARE * f32::from(self.depth);
        Some(grain.max(share).max(LEAST) as i32)
    }

    fn gradient(&self, at: usize, step: usize, side: usize) -> i32 {
        let dark = |at: usize| i32::from(self.dark[at]);
        let smooth = |at: usize| dark(at - side) + 2 * dark(at) + dark(at + side);
        smooth(at + step) - smooth(at - step)
    }

    /// Pixels with all the neighbours that are looked at; every other row of a large raster.
    fn inside(&self) -> impl Iterator<Item = usize> {
        let width = self.width;
        let rows = (RIM..self.height.saturating_sub(RIM))
            .step_by(if width * self.height > LARGE_PX { 2 } else { 1 });
        rows.flat_map(move |y| (RIM..width.saturating_sub(RIM)).map(move |x| y * width + x))
    }
}

/// The bin in the middle of all that was counted.
fn middle(counts: &[u32]) -> Option<usize> {
    let half = counts.iter().sum::<u32>() / 2;
    let mut sum = 0;
    counts.iter().position(|count| {
        sum += count;
        sum > half
    })
}
