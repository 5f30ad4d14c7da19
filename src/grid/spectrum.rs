//! The spectrum of one square window of the ruling.
//!
//! In: the ruling, a window's place. Out: power and phase at any frequency, in cycles a pixel, the
//! phase as at the window's middle. A Hann window, so that the nearest bin's phase is the tone's.
//! The transform is the one in plain Rust: those for vector units round each in their own way.

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlannerScalar};
use std::sync::Arc;

use super::ruling::Ruling;
use crate::math;

/// Side of a window, pixels.
pub const SIDE: usize = 256;

/// What makes spectra.
pub struct Analyser {
    fft: Arc<dyn Fft<f32>>,
    hann: Vec<f32>,
}

/// Columns of a spectrum that are kept: the others mirror these, as the window is real.
const COLUMNS: usize = SIDE / 2 + 1;

/// Spectrum of one window, stored transposed: `bins[column * SIDE + row]`.
pub struct Spectrum {
    bins: Vec<Complex<f32>>,
    /// Share of the window that lies on the picture.
    pub on_page: f32,
}

impl Analyser {
    pub fn new() -> Self {
        let turn = std::f32::consts::TAU / SIDE as f32;
        Self {
            fft: FftPlannerScalar::new().plan_fft_forward(SIDE),
            hann: (0..SIDE)
                .map(|k| 0.5 - 0.5 * math::cos(turn * (k as f32 + 0.5)))
                .collect(),
        }
    }

    /// The spectrum of the window with its upper left corner at (`left`, `top`).
    pub fn spectrum(&self, ruling: &Ruling, left: usize, top: usize) -> Spectrum {
        let columns = SIDE.min(ruling.width.saturating_sub(left));
        let rows = SIDE.min(ruling.height.saturating_sub(top));
        let row = |y: usize| {
            let from = (top + y) * ruling.width + left;
            &ruling.dark[from..from + columns]
        };
        let sum: f32 = (0..rows).map(|y| row(y).iter().sum::<f32>()).sum();
        let mean = sum / (rows * columns).max(1) as f32;
        let mut bins = vec![Complex::default(); SIDE * COLUMNS];
        let mut line = vec![Complex::default(); SIDE];
        let mut scratch = vec![Complex::default(); self.fft.get_inplace_scratch_len()];
        let tapered = |x: usize, y: usize, dark: f32| (dark - mean) * self.hann[x] * self.hann[y];
        for y in (0..rows).step_by(2) {
            // Two rows in one transform: one is real, the other imaginary.
            line.fill(Complex::default());
            for (x, dark) in row(y).iter().enumerate() {
                line[x].re = tapered(x, y, *dark);
            }
            if y + 1 < rows {
                for (x, dark) in row(y + 1).iter().enumerate() {
                    line[x].im = tapered(x, y + 1, *dark);
                }
            }
            self.fft.process_with_scratch(&mut line, &mut scratch);
            for x in 0..COLUMNS {
                let (here, mirrored) = (line[x], line[(SIDE - x) % SIDE].conj());
                bins[x * SIDE + y] = (here + mirrored) * 0.5;
                bins[x * SIDE + y + 1] = (here - mirrored) * Complex::new(0.0, -0.5);
            }
        }
        for column in bins.chunks_exact_mut(SIDE) {
            self.fft.process_with_scratch(column, &mut scratch);
        }
        Spectrum {
            bins,
            on_page: (rows * columns) as f32 / (SIDE * SIDE) as f32,
        }
    }
}

impl Spectrum {
    fn bin(&self, column: i64, row: i64) -> Complex<f32> {
        let wrap = |v: i64| v.rem_euclid(SIDE as i64) as usize;
        if wrap(column) < COLUMNS {
            self.bins[wrap(column) * SIDE + wrap(row)]
        } else {
            self.bins[wrap(-column) * SIDE + wrap(-row)].conj()
        }
    }

    /// Logarithm (base 10) of the power near a frequency: the largest of the nearest four bins.
    pub fn log_power(&self, frequency: [f32; 2]) -> f32 {
        let [x, y] = frequency.map(|f| (f * SIDE as f32).floor() as i64);
        let around = [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)];
        let most = around
            .map(|(x, y)| self.bin(x, y).norm_sqr())
            .into_iter()
            .fold(0.0, f32::max);
        math::log10(most.max(1e-12))
    }

    /// The strongest tone within `reach` bins of a frequency.
    pub fn tone(&self, frequency: [f32; 2], reach: i64) -> Tone {
        let [x, y] = frequency.map(|f| (f * SIDE as f32).round() as i64);
        let power = |x: i64, y: i64| self.bin(x, y).norm_sqr().max(1e-12);
        let offsets = || (-reach..=reach).flat_map(|a| (-reach..=reach).map(move |b| (a, b)));
        let (px, py) = offsets()
            .map(|(a, b)| (x + a, y + b))
            .max_by(|a, b| power(a.0, a.1).total_cmp(&power(b.0, b.1)))
            .unwrap_or((x, y));
        let mut around: Vec<f32> = (-5i64..=5)
            .flat_map(|a| (-5i64..=5).map(move |b| (a, b)))
            .filter(|(a, b)| a.abs().max(b.abs()) > 2)
            .map(|(a, b)| power(px + a, py + b))
            .collect();
        let middle = around.len() / 2;
        let noise = *around.select_nth_unstable_by(middle, f32::total_cmp).1;
        let peak = |low: f32, top: f32, high: f32| {
            let (a, b, c) = (math::ln(low), math::ln(top), math::ln(high));
            let bend = a - 2.0 * b + c;
            if bend < -1e-6 {
                (0.5 * (a - c) / bend).clamp(-0.6, 0.6)
            } else {
                0.0
            }
        };
        let peak_bin = self.bin(px, py);
        let top = power(px, py);
        let fx = px as f32 + peak(power(px - 1, py), top, power(px + 1, py));
        let fy = py as f32 + peak(power(px, py - 1), top, power(px, py + 1));
        // The transform's phase is the corner's; the middle is half a window away.
        let half = std::f32::consts::PI * (px + py) as f32 * (SIDE as f32 - 1.0) / SIDE as f32;
        Tone {
            frequency: [fx / SIDE as f32, fy / SIDE as f32],
            phase: math::atan2(peak_bin.im, peak_bin.re) + half,
            amplitude: top.sqrt(),
            above_noise: math::log10(top / noise),
        }
    }
}

/// One tone of a window.
#[derive(Clone, Copy, Debug)]
pub struct Tone {
    /// Cycles a pixel.
    pub frequency: [f32; 2],
    /// At the window's middle, radians.
    pub phase: f32,
    pub amplitude: f32,
    /// Power over that of its surroundings, log10.
    pub above_noise: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_has_its_frequency_and_its_phase_at_the_middle() {
        let (fx, fy, phase) = (0.0531f32, 0.0213f32, 0.8f32);
        let middle = (SIDE as f32 - 1.0) / 2.0;
        let dark = (0..SIDE * SIDE)
            .map(|k| {
                let (x, y) = ((k % SIDE) as f32 - middle, (k / SIDE) as f32 - middle);
                0.5 + 0.3 * (std::f32::consts::TAU * (fx * x + fy * y) + phase).cos()
            })
            .collect();
        let ruling = Ruling::of_dark(SIDE, SIDE, dark);
        let tone = Analyser::new()
            .spectrum(&ruling, 0, 0)
            .tone([fx + 0.004, fy - 0.004], 2);
        assert!((tone.frequency[0] - fx).abs() < 2e-4, "{tone:?}");
        assert!((tone.frequency[1] - fy).abs() < 2e-4, "{tone:?}");
        assert!(
            (tone.phase - phase)
                .rem_euclid(std::f32::consts::TAU)
                .min((phase - tone.phase).rem_euclid(std::f32::consts::TAU))
                < 0.1,
            "{tone:?}"
        );
    }
}
