//! A small part of a picture, read between its pixels.
//!
//! In: the picture, and the places that are going to be read, in page pixels. Out: the brightest and
//! the darkest of red, green and blue at a place, 0 to 255; `None` outside the picture. The part is
//! copied, channels already compared and edges repeated, so that reading it is all arithmetic.
//! Places are fixed-point numbers, 1/65536 px: a picture's longest side fits.

use crate::limits::SIDE_PX_MAX;
use crate::page::{InPage, Point, RawImage};

const FRACTION_BITS: u32 = 16;
const ONE: i32 = 1 << FRACTION_BITS;
/// Places further out are read by nobody; the fixed point holds them.
const FAR_PX: f32 = 32_000.0;
const _: () = assert!(SIDE_PX_MAX < FAR_PX as usize);
/// A cubic reads one pixel before its place and two behind it.
const MARGIN_PX: i32 = 2;
/// Places within a pixel that have weights of their own.
const PHASE_BITS: u32 = 8;
const PHASES: usize = 1 << PHASE_BITS;
static CUBIC: [[f32; 4]; PHASES] = cubic_weights();

/// How a picture is read: a fine picture is averaged over the crop's pixel, or its noise and grid
/// would alias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reduction {
    /// Cubic through 4 x 4 pixels.
    Cubic,
    /// Mean over a square of this many samples a side, this far apart in page pixels.
    Mean { side: usize, step_px: f32 },
}

/// A place in the picture that moves along a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Walk {
    x: i32,
    y: i32,
    step: [i32; 2],
}

impl Walk {
    /// From `from` in `count` equal steps to `to`; `None` where one of them is far outside of any
    /// picture.
    pub fn between(from: Point<InPage>, to: Point<InPage>, count: usize) -> Option<Self> {
        let is_near = |v: f32| v.abs() < FAR_PX;
        if ![from.x, from.y, to.x, to.y].into_iter().all(is_near) {
            return None;
        }
        let step = |a: f32, b: f32| fixed((b - a) / count as f32);
        Some(Self {
            x: fixed(from.x),
            y: fixed(from.y),
            step: [step(from.x, to.x), step(from.y, to.y)],
        })
    }

    pub fn step(&mut self) {
        self.x = self.x.wrapping_add(self.step[0]);
        self.y = self.y.wrapping_add(self.step[1]);
    }
}

fn fixed(px: f32) -> i32 {
    (px * ONE as f32) as i32
}

/// Brightest and darkest channel.
type Pair = [f32; 2];

/// Invariant: `pairs` holds whole rows of `stride` pixels, the first of them `(left, top)`, with
/// `MARGIN_PX` and more around every place within the picture that it was made for.
pub struct Part<'a> {
    image: &'a RawImage,
    reduction: Reduction,
    /// The picture's last place, fixed.
    last: [i32; 2],
    left: i32,
    top: i32,
    stride: usize,
    pairs: Vec<Pair>,
}

impl<'a> Part<'a> {
    pub fn new(image: &'a RawImage, reduction: Reduction) -> Self {
        let last = [image.width() as i32 - 1, image.height() as i32 - 1];
        Self {
            image,
            reduction,
            last: last.map(|px| px << FRACTION_BITS),
            left: 0,
            top: 0,
            stride: 0,
            pairs: Vec::new(),
        }
    }

    /// Makes the part around `places` readable; `None` where none of them is near the picture.
    pub fn surround(&mut self, places: &[Point<InPage>]) -> Option<()> {
        let reach = match self.reduction {
            Reduction::Cubic => 0.0,
            Reduction::Mean { side, step_px } => step_px * side as f32,
        };
        let last = self.last.map(|fixed| fixed >> FRACTION_BITS);
        let columns = span(places.iter().map(|place| place.x), reach, last[0])?;
        let rows = span(places.iter().map(|place| place.y), reach, last[1])?;
        (self.left, self.top) = (columns[0], rows[0]);
        self.stride = (columns[1] - columns[0] + 1) as usize;
        let before = (-columns[0]).max(0) as usize;
        let behind = (columns[1] - last[0]).max(0) as usize;
        let inside = columns[0].max(0) as usize..columns[1].min(last[0]) as usize + 1;
        let width = self.image.width();
        self.pairs.clear();
        for y in rows[0]..=rows[1] {
            let y = y.clamp(0, last[1]) as usize;
            let row = &self.image.rgb()[3 * width * y..][3 * inside.start..3 * inside.end];
            let row = row.as_chunks().0;
            let ends = [row[0], row[row.len() - 1]].map(extremes);
            self.pairs.extend(std::iter::repeat_n(ends[0], before));
            self.pairs.extend(row.iter().copied().map(extremes));
            self.pairs.extend(std::iter::repeat_n(ends[1], behind));
        }
        Some(())
    }

    /// What is at `at`, `None` outside the picture.
    #[inline]
    pub fn pick(&self, at: Walk) -> Option<Pair> {
        let is_inside = (0..=self.last[0]).contains(&at.x) && (0..=self.last[1]).contains(&at.y);
        is_inside.then(|| match self.reduction {
            Reduction::Cubic => self.cubic(at.x, at.y),
            Reduction::Mean { side, step_px } => self.mean(at, side, step_px),
        })
    }

    /// Cubic convolution with a = -0.75 (Keys, 1981), as OpenCV's.
    fn cubic(&self, x: i32, y: i32) -> Pair {
        let half = ONE >> (PHASE_BITS + 1);
        let (x, y) = (x + half, y + half);
        let first = self.index((x >> FRACTION_BITS) - 1, (y >> FRACTION_BITS) - 1);
        let (across, down) = (&CUBIC[phase(x)], &CUBIC[phase(y)]);
        let mut sums = [0.0f32; 8];
        for (k, weight) in down.iter().enumerate() {
            let four = self.pairs[first + k * self.stride..].as_flattened();
            let four: &[f32; 8] = four.first_chunk().expect("the margin is there");
            sums = std::array::from_fn(|k| sums[k] + weight * four[k]);
        }
        let [a, b, c, d] = *across;
        std::array::from_fn(|k| {
            (a * sums[k] + b * sums[2 + k]) + (c * sums[4 + k] + d * sums[6 + k])
        })
    }

    fn mean(&self, at: Walk, side: usize, step_px: f32) -> Pair {
        let step = fixed(step_px);
        let first = -fixed(0.5 * step_px * (side as f32 - 1.0));
        let mut sum = [0.0; 2];
        for row in 0..side as i32 {
            let y = (at.y + first + row * step).clamp(0, self.last[1]);
            for column in 0..side as i32 {
                let x = (at.x + first + column * step).clamp(0, self.last[0]);
                let value = self.linear(x, y);
                sum = [sum[0] + value[0], sum[1] + value[1]];
            }
        }
        let count = (side * side) as f32;
        sum.map(|sum| sum / count)
    }

    fn linear(&self, x: i32, y: i32) -> Pair {
        let share = |v: i32| (v & (ONE - 1)) as f32 / ONE as f32;
        let (fx, fy) = (share(x), share(y));
        let first = self.index(x >> FRACTION_BITS, y >> FRACTION_BITS);
        let (above, below) = (
            &self.pairs[first..][..2],
            &self.pairs[first + self.stride..][..2],
        );
        let across = |row: &[Pair], k: usize| row[0][k] * (1.0 - fx) + row[1][k] * fx;
        std::array::from_fn(|k| across(above, k) * (1.0 - fy) + across(below, k) * fy)
    }

    fn index(&self, column: i32, row: i32) -> usize {
        (row - self.top) as usize * self.stride + (column - self.left) as usize
    }
}

/// First and last pixel around places, the margin included; `None` where all lie outside.
fn span(places: impl Iterator<Item = f32>, reach: f32, last: i32) -> Option<[i32; 2]> {
    let finite = places.filter(|place| place.is_finite());
    let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), place| {
        (low.min(place), high.max(place))
    });
    // What is read of a place within the picture is cut to the picture, and has its margin.
    let first = ((low - reach).floor() as i32).max(0);
    let end = ((high + reach).ceil() as i32).min(last);
    (first <= end).then(|| [first - MARGIN_PX, end + MARGIN_PX])
}

fn extremes(pixel: [u8; 3]) -> Pair {
    let [r, g, b] = pixel;
    [r.max(g).max(b), r.min(g).min(b)].map(f32::from)
}

fn phase(v: i32) -> usize {
    (v >> (FRACTION_BITS - PHASE_BITS)) as usize % PHASES
}

const fn cubic_weights() -> [[f32; 4]; PHASES] {
    let mut all = [[0.0; 4]; PHASES];
    let mut k = 0;
    while k < PHASES {
        let t = k as f32 / PHASES as f32;
        all[k] = [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)];
        k += 1;
    }
    all
}

const A: f32 = -0.75;

const fn near(d: f32) -> f32 {
    ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0
}

const fn far(d: f32) -> f32 {
    ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 64;
    const LAST: f32 = SIDE as f32 - 1.0;

    /// Red rises to the right by 2 a pixel, blue downwards by 3; green lies above both.
    fn slope() -> RawImage {
        let rgb = (0..SIDE * SIDE).flat_map(|k| [2 * (k % SIDE), 250, 3 * (k / SIDE)]);
        RawImage::new(SIDE, SIDE, rgb.map(|v| v as u8).collect()).unwrap()
    }

    fn picked(x: f32, y: f32, reduction: Reduction) -> Option<[f32; 2]> {
        let at = Point::new(x, y);
        let image = slope();
        let mut part = Part::new(&image, reduction);
        part.surround(&[at])?;
        part.pick(Walk::between(at, at, 1)?)
    }

    const MEAN: Reduction = Reduction::Mean {
        side: 3,
        step_px: 0.5,
    };

    #[test]
    fn a_slope_is_read_between_its_pixels() {
        for reduction in [Reduction::Cubic, MEAN] {
            for (x, y) in [(4.0, 20.0), (40.3, 45.75), (2.5, 61.99), (57.25, 18.4)] {
                let [high, low] = picked(x, y, reduction).unwrap();
                let wanted = (2.0 * x).min(3.0 * y);
                assert!((low - wanted).abs() < 0.1, "{low} at {x}, {y}: {wanted}");
                assert!((high - 250.0).abs() < 0.01);
            }
        }
    }

    #[test]
    fn the_picture_ends_at_its_last_pixels() {
        for reduction in [Reduction::Cubic, MEAN] {
            for (x, y) in [(0.0, 0.0), (LAST, LAST), (0.0, LAST)] {
                assert!(picked(x, y, reduction).is_some(), "{x}, {y}");
            }
            for (x, y) in [
                (-0.1, 5.0),
                (LAST + 0.1, 5.0),
                (5.0, -3.0),
                (5.0, LAST + 1.0),
                (f32::NAN, 5.0),
            ] {
                assert_eq!(picked(x, y, reduction), None, "{x}, {y}");
            }
        }
    }

    #[test]
    fn places_all_over_and_far_outside_are_bounded_by_the_picture() {
        let image = slope();
        let places = [
            (-1e9, -5.0),
            (1e9, 8.0),
            (4.0, f32::INFINITY),
            (7.0, 31_000.0),
        ];
        let places = places.map(|(x, y)| Point::new(x, y));
        let mut part = Part::new(&image, MEAN);
        part.surround(&places).unwrap();
        let stride = SIDE + 2 * MARGIN_PX as usize;
        assert_eq!((part.stride, part.pairs.len()), (stride, stride * stride));
        assert_eq!(Walk::between(places[0], places[1], 16), None);
        let mut walk = Walk::between(Point::new(2.0, -900.0), places[3], 1600).unwrap();
        for _ in 0..1600 {
            part.pick(walk);
            walk.step();
        }
    }

    #[test]
    fn weights_of_every_phase_add_up_to_one() {
        for weights in CUBIC {
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
        assert_eq!(CUBIC[0], [0.0, 1.0, 0.0, 0.0]);
    }
}
