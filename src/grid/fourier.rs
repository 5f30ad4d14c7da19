//! A Fourier transform of many rows at once.
//!
//! In: `LANES` complex rows of `SIDE` values, value by value. Out: their spectra, in the order of
//! frequency. A lane does what a scalar transform would, so the bits are the same on every processor,
//! vectors or none; a library's transform is either as fast or the same everywhere. Radix 4, by
//! Stockham's order: no bits are reversed (Van Loan, Computational Frameworks for the FFT, 1992, 1.7).

use crate::math;

/// Values of a row, a power of four.
pub const SIDE: usize = 256;
/// Rows that are transformed together.
pub const LANES: usize = 8;

/// One value of each row.
pub type Lane = [f32; LANES];

/// Real and imaginary parts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values {
    pub re: Lane,
    pub im: Lane,
}

/// `LANES` rows, value by value.
pub type Rows = [Values; SIDE];
const _: () = assert!(SIDE == 16 * 16, "the passes come in pairs");

/// Transforms, with what they need.
pub struct Fourier {
    /// `exp(-2 pi i k / SIDE)`.
    turns: Vec<[f32; 2]>,
}

impl Fourier {
    pub fn new() -> Self {
        let turn = |k: usize| {
            let angle = -2.0 * std::f64::consts::PI * k as f64 / SIDE as f64;
            let (sin, cos) = math::sin_cos_f64(angle);
            [cos as f32, sin as f32]
        };
        Self {
            turns: (0..SIDE).map(turn).collect(),
        }
    }

    /// Transforms rows in place; `other` is overwritten.
    pub fn transform(&self, rows: &mut Rows, other: &mut Rows) {
        let mut stride = 1;
        // Two passes at a time: the second one's values are back where the first found them.
        while stride < SIDE {
            self.pass(rows, other, stride);
            self.pass(other, rows, 4 * stride);
            stride *= 16;
        }
    }

    fn pass(&self, from: &Rows, to: &mut Rows, stride: usize) {
        let quarter = SIDE / 4 / stride;
        let (a, rest) = from.split_at(SIDE / 4);
        let (b, rest) = rest.split_at(SIDE / 4);
        let (c, d) = rest.split_at(SIDE / 4);
        for p in 0..quarter {
            let turns = [1, 2, 3].map(|k| self.turns[k * p * stride]);
            let (to_a, rest) = to[stride * 4 * p..stride * 4 * (p + 1)].split_at_mut(stride);
            let (to_b, rest) = rest.split_at_mut(stride);
            let (to_c, to_d) = rest.split_at_mut(stride);
            for q in 0..stride {
                let at = q + stride * p;
                let values = [&a[at], &b[at], &c[at], &d[at]];
                let out = [&mut to_a[q], &mut to_b[q], &mut to_c[q], &mut to_d[q]];
                butterfly(values, out, turns);
            }
        }
    }
}

/// A transform of four values, the last three turned, in each lane.
#[inline]
fn butterfly([a, b, c, d]: [&Values; 4], out: [&mut Values; 4], turns: [[f32; 2]; 3]) {
    let [first, second, third, fourth] = out;
    for k in 0..LANES {
        let even = [a.re[k] + c.re[k], a.im[k] + c.im[k]];
        let apart = [a.re[k] - c.re[k], a.im[k] - c.im[k]];
        let odd = [b.re[k] + d.re[k], b.im[k] + d.im[k]];
        // Turned by a quarter.
        let aside = [d.im[k] - b.im[k], b.re[k] - d.re[k]];
        let turned =
            |re: f32, im: f32, [cos, sin]: [f32; 2]| (re * cos - im * sin, re * sin + im * cos);
        (first.re[k], first.im[k]) = (even[0] + odd[0], even[1] + odd[1]);
        (second.re[k], second.im[k]) = turned(apart[0] - aside[0], apart[1] - aside[1], turns[0]);
        (third.re[k], third.im[k]) = turned(even[0] - odd[0], even[1] - odd[1], turns[1]);
        (fourth.re[k], fourth.im[k]) = turned(apart[0] + aside[0], apart[1] + aside[1], turns[2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_that_defines_it() {
        let value = |lane: usize, k: usize, seed: usize| {
            ((k * k * (lane + 2) + k * seed) % 101) as f64 / 50.0 - 1.0
        };
        let rows = |k: usize| Values {
            re: std::array::from_fn(|lane| value(lane, k, 3) as f32),
            im: std::array::from_fn(|lane| value(lane, k, 7) as f32),
        };
        let mut found: Rows = std::array::from_fn(rows);
        Fourier::new().transform(&mut found, &mut [Values::default(); SIDE]);
        for frequency in [0, 1, 2, 63, 64, 129, 255] {
            for lane in 0..LANES {
                let (mut re, mut im) = (0.0, 0.0);
                for k in 0..SIDE {
                    let angle =
                        -std::f64::consts::TAU * ((k * frequency) % SIDE) as f64 / SIDE as f64;
                    let (sin, cos) = math::sin_cos_f64(angle);
                    let (a, b) = (value(lane, k, 3), value(lane, k, 7));
                    (re, im) = (re + a * cos - b * sin, im + a * sin + b * cos);
                }
                let off = (f64::from(found[frequency].re[lane]) - re)
                    .abs()
                    .max((f64::from(found[frequency].im[lane]) - im).abs());
                assert!(off < 1e-3, "{off} at {frequency}, lane {lane}");
            }
        }
    }
}
