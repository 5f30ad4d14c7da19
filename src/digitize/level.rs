//! How far a page's rows are turned, by their ink.
//!
//! In: the picture, a map that turns it nearly upright, a tilt nearby. Out: the tilt at which the ink
//! lies in the sharpest rows: the sum of squared differences between neighbouring rows' ink is
//! greatest there (Postl, 1986, as used for documents by Bloomberg, Kopec and Dasari, 1995).
//! Baselines and lines of text are level, beats count little. For pages whose labels stand in one
//! column: those tell the rows' direction no better than to half a degree. Units: radians.

use crate::math;
use crate::page::{PageMap, Point, RawImage};

/// Looked for 1.1 degrees around, twice what labels in one column are off, in steps that move the end
/// of a row of 2000 pixels by 1.
const REACH: f32 = 0.02;
const STEP: f32 = 0.0005;
/// One pixel of so many, along and across, is looked at; of more where that is more pixels than the
/// second.
const SAMPLED: usize = 2;
const SAMPLES_MAX: usize = 1_000_000;
/// Ink is darker than this share of paper, which most of a page is.
const INK_SHARE: f32 = 0.6;
const PAPER_RANK: f32 = 0.75;
/// Fewer pixels of ink tell nothing.
const INK_MIN: usize = 1000;

/// The tilt near `tilt` at which rows are sharpest; `tilt` itself where none nearby is.
pub fn level(image: &RawImage, map: &PageMap, tilt: f32) -> f32 {
    let pixels = image.width() * image.height();
    let apart = (SAMPLED..).find(|apart| pixels / (apart * apart) <= SAMPLES_MAX);
    let apart = apart.unwrap_or(SAMPLED);
    let ink = ink(image, map, apart);
    if ink.len() < INK_MIN {
        return tilt;
    }
    let steps = (REACH / STEP).round() as isize;
    let sharpness: Vec<f32> = (-steps..=steps)
        .map(|k| sharpness(&ink, apart, tilt + k as f32 * STEP))
        .collect();
    let best = (0..sharpness.len()).max_by(|a, b| sharpness[*a].total_cmp(&sharpness[*b]));
    match best {
        Some(k) if k > 0 && k + 1 < sharpness.len() => {
            let [a, b, c] = [sharpness[k - 1], sharpness[k], sharpness[k + 1]];
            let bend = a - 2.0 * b + c;
            let between = if bend < 0.0 {
                0.5 * (a - c) / bend
            } else {
                0.0
            };
            tilt + (k as f32 - steps as f32 + between) * STEP
        }
        _ => tilt,
    }
}

/// Where ink is, on the map's paper, of pixels so far apart.
fn ink(image: &RawImage, map: &PageMap, apart: usize) -> Vec<[f32; 2]> {
    let places = || {
        let rows = (0..image.height()).step_by(apart);
        rows.flat_map(|y| (0..image.width()).step_by(apart).map(move |x| (x, y)))
    };
    let bright = |(x, y): (usize, usize)| image.pixel(x, y).into_iter().max().unwrap_or(0);
    let mut counts = [0usize; 256];
    for place in places() {
        counts[usize::from(bright(place))] += 1;
    }
    let darker = (PAPER_RANK * counts.iter().sum::<usize>() as f32) as usize;
    let mut below = 0;
    let paper = counts.iter().position(|count| {
        below += count;
        below > darker
    });
    let dark = INK_SHARE * paper.unwrap_or(0) as f32;
    places()
        .filter(|place| f32::from(bright(*place)) < dark)
        .map(|(x, y)| map.to_paper(Point::new(x as f32, y as f32)))
        .map(|at| [at.x, at.y])
        .collect()
}

/// How much the rows' ink differs from that of the next, at this tilt.
fn sharpness(ink: &[[f32; 2]], apart: usize, tilt: f32) -> f32 {
    let (sin, cos) = math::sin_cos(tilt);
    let below = |[x, y]: &[f32; 2]| (y * cos - x * sin) / apart as f32;
    let top = ink.iter().map(below).fold(f32::INFINITY, f32::min);
    let mut rows = vec![0f32; 1];
    for at in ink {
        let row = below(at) - top;
        let (first, share) = (row as usize, row.fract());
        rows.resize(rows.len().max(first + 2), 0.0);
        rows[first] += 1.0 - share;
        rows[first + 1] += share;
    }
    rows.windows(2)
        .map(|two| math::square(two[1] - two[0]))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digitize::scale::pixels;
    use crate::page::QuarterTurn;

    /// Rows of beats on level baselines, turned by this much.
    fn page(tilt: f32) -> RawImage {
        let (width, height) = (1200, 900);
        let is_ink = |k: usize| {
            let (x, y) = ((k % width) as f32, (k / width) as f32);
            let (across, down) = (
                x * tilt.cos() + y * tilt.sin(),
                y * tilt.cos() - x * tilt.sin(),
            );
            let beat = (30.0 - 4.0 * (across % 170.0 - 85.0).abs()).max(0.0);
            (down % 100.0 - 60.0 + beat).abs() < 1.5
        };
        let rgb = (0..width * height).flat_map(|k| [if is_ink(k) { 30u8 } else { 240 }; 3]);
        RawImage::new(width, height, rgb.collect()).unwrap()
    }

    #[test]
    fn rows_are_level_where_their_ink_is() {
        for tilt in [-0.012, 0.0, 0.005] {
            let found = level(&page(tilt), &pixels(QuarterTurn::None), 0.0);
            assert!((found - tilt).abs() < 8e-4, "{found} of {tilt}");
        }
    }

    #[test]
    fn what_tells_nothing_changes_nothing() {
        let blank = RawImage::new(300, 300, vec![250; 300 * 300 * 3]).unwrap();
        assert_eq!(level(&blank, &pixels(QuarterTurn::None), 0.004), 0.004);
    }
}
