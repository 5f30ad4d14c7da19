//! Whether a grid's lines are printed, or only look so.
//!
//! In: the picture, the found map. Out: how much of the darkness along the lines is a colour's own.
//! The ruling is sought in each pixel's darkest channel, and noise makes that one darker: where
//! noise differs from place to place in step with the squares of a lossy compression, lines appear
//! that no channel has on its own. A printed line is darker in at least one.

use crate::page::{InPage, PageMap, Point, RawImage};

/// Lines of pixels that are looked at stand this far apart: no part of any compression's square.
const HOP_PX: usize = 7;
/// Darkness is taken against the mean over this much of the paper, and told by its place between
/// two lines in so many bins.
const BLOCK_MM: f32 = 10.0;
const BINS: usize = 20;
/// Ink is darker than this share of what is brightest around, and no part of the ruling.
const INK_SHARE: f32 = 0.6;
/// The darkest channel comes last.
const CHANNELS: usize = 4;

/// Share of the darkness along the lines, `period_mm` apart, that one channel alone has, of the
/// better ruling; 0 to about 1.
pub fn share(image: &RawImage, map: &PageMap, period_mm: f32) -> f32 {
    let (width, height) = (image.width(), image.height());
    let middle = map.to_paper(Point::new(width as f32 / 2.0, height as f32 / 2.0));
    let (x, y) = map.resolution(middle);
    let block = ((x.0.max(y.0) * BLOCK_MM) as usize).clamp(32, width.max(height));
    let across = Fold::of(
        (height, width, block),
        |line, k| (k, line),
        image,
        map,
        period_mm,
    );
    let down = Fold::of(
        (width, height, block),
        |line, k| (line, k),
        image,
        map,
        period_mm,
    );
    across.share().max(down.share())
}

/// Brightness of each channel by the place between two lines.
struct Fold {
    sums: [[f64; BINS]; CHANNELS],
    counts: [f64; BINS],
}

impl Fold {
    /// Along `lines` lines of `length` pixels, which `place` brings to the picture.
    fn of(
        (lines, length, block): (usize, usize, usize),
        place: impl Fn(usize, usize) -> (usize, usize),
        image: &RawImage,
        map: &PageMap,
        period_mm: f32,
    ) -> Self {
        let mut fold = Self {
            sums: [[0.0; BINS]; CHANNELS],
            counts: [0.0; BINS],
        };
        let paper = |line: usize, k: usize| {
            let (x, y) = place(line, k);
            map.to_paper(Point::<InPage>::new(x as f32, y as f32))
        };
        let mut pixels = Vec::with_capacity(block);
        for line in (0..lines).step_by(HOP_PX) {
            for from in (0..length.saturating_sub(block)).step_by(block) {
                let (a, b) = (paper(line, from), paper(line, from + block));
                // A quarter turn lies between the picture and the writing at times.
                let (a, b) = if (b.x - a.x).abs() > (b.y - a.y).abs() {
                    (a.x, b.x)
                } else {
                    (a.y, b.y)
                };
                let step = (b - a) / block as f32;
                let bin = |k: usize| {
                    let share = ((a + step * k as f32) / period_mm).rem_euclid(1.0);
                    ((share * BINS as f32) as usize).min(BINS - 1)
                };
                let pixel = |k: usize| {
                    let (x, y) = place(line, from + k);
                    let [r, g, b] = image.pixel(x, y).map(f32::from);
                    [r, g, b, r.min(g).min(b)]
                };
                pixels.clear();
                pixels.extend((0..block).map(|k| (bin(k), pixel(k))));
                fold.add(&mut pixels);
            }
        }
        fold
    }

    /// Adds a block of pixels and their bins, each channel from its own mean; ink is taken out.
    fn add(&mut self, pixels: &mut Vec<(usize, [f32; CHANNELS])>) {
        let bright = |values: &[f32; CHANNELS]| values[0].max(values[1]).max(values[2]);
        let level = pixels.iter().map(|(_, v)| bright(v)).fold(0.0, f32::max);
        pixels.retain(|(_, values)| bright(values) > INK_SHARE * level);
        let count = pixels.len().max(1) as f32;
        let mean: [f32; CHANNELS] =
            std::array::from_fn(|c| pixels.iter().map(|(_, v)| v[c]).sum::<f32>() / count);
        for (bin, values) in pixels {
            self.counts[*bin] += 1.0;
            for (c, sums) in self.sums.iter_mut().enumerate() {
                sums[*bin] += f64::from(values[c] - mean[c]);
            }
        }
    }

    /// How much a channel alone changes from bin to bin, of what the darkest does. Where lines stand
    /// by whole pixels some bins see next to none: each counts by what it saw.
    fn share(&self) -> f32 {
        let total = self.counts.iter().sum::<f64>().max(1.0);
        let power = self.sums.map(|sums| {
            let mean = sums.iter().sum::<f64>() / total;
            let bins = sums.iter().zip(&self.counts);
            bins.map(|(sum, count)| {
                let off = sum / count.max(1.0) - mean;
                count * off * off
            })
            .sum::<f64>()
        });
        let [r, g, b, darkest] = power;
        (r.max(g).max(b) / darkest.max(1e-9)).sqrt() as f32
    }
}
