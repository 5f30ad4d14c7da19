//! Angle and pitch of the grid, roughly, from the picture's spectrum.
//!
//! In: the ruling. Out: angle to half a degree, pixels a millimetre to half a percent, and how
//! far the grid's comb of frequencies (each 5 mm line's harmonics, the fifth being the 1 mm
//! lines) stands out of the spectrum around it.
//! Which comb is millimetres is decided by the page: an ECG page is 90 to 460 mm long.

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

use super::ruling::Ruling;

const WINDOW: usize = 512;
const PAGE_MM: (f32, f32) = (90.0, 460.0);
const ANGLE_MAX_DEG: f32 = 44.0;
const HARMONICS: [usize; 6] = [1, 2, 3, 4, 5, 10];
/// Finest frequency that is looked at, cycles a pixel.
const FREQUENCY_MAX: f32 = 0.46;

#[derive(Clone, Copy, Debug)]
pub struct Coarse {
    pub angle_rad: f32,
    pub x_px_per_mm: f32,
    pub y_px_per_mm: f32,
    /// Mean logarithm (base 10) of the comb's power over its surroundings', the weaker ruling's.
    pub strength: f32,
}

pub fn search(ruling: &Ruling) -> Coarse {
    let spectrum = Spectrum::of(ruling);
    let long = ruling.width.max(ruling.height) as f32;
    let (low, high) = (long / PAGE_MM.1, long / PAGE_MM.0);
    let pitches: Vec<f32> = {
        let count = ((high / low).ln() / 0.004) as usize;
        (0..=count).map(|k| low * (0.004 * k as f32).exp()).collect()
    };
    let at = |degrees: f32| {
        let angle = degrees.to_radians();
        let x = spectrum.ray(angle, &pitches);
        let y = spectrum.ray(angle + std::f32::consts::FRAC_PI_2, &pitches);
        // Both rulings have nearly one pitch: within four steps of 0.4 % each way and more.
        let mut best = (f32::NEG_INFINITY, 0, 0);
        for (k, sx) in x.iter().enumerate() {
            for (m, sy) in y.iter().enumerate().take(k + 13).skip(k.saturating_sub(12)) {
                let score = sx + sy;
                if score > best.0 {
                    best = (score, k, m);
                }
            }
        }
        (best, x, y)
    };
    let steps = (2.0 * ANGLE_MAX_DEG) as i32;
    let angles = (-steps..=steps).map(|k| k as f32 / 2.0);
    let scored = angles.map(|degrees| (degrees, at(degrees).0.0));
    // Pages lie nearly straight more often than not.
    let (degrees, _) = scored
        .map(|(degrees, score)| (degrees, score - 0.004 * degrees.abs()))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0.0, 0.0));
    let ((_, k, m), x, y) = at(degrees);
    Coarse {
        angle_rad: degrees.to_radians(),
        x_px_per_mm: pitches[k],
        y_px_per_mm: pitches[m],
        strength: x[k].min(y[m]).max(0.5 * (x[k] + y[m]) - 0.35),
    }
}

/// Power of the picture's frequencies, summed over windows.
struct Spectrum {
    power: Vec<f32>,
}

impl Spectrum {
    fn of(ruling: &Ruling) -> Self {
        let mut power = vec![0f32; WINDOW * WINDOW];
        let mut planner = FftPlanner::<f32>::new();
        let fft = planner.plan_fft_forward(WINDOW);
        let hann: Vec<f32> = (0..WINDOW)
            .map(|k| 0.5 - 0.5 * (std::f32::consts::TAU * k as f32 / WINDOW as f32).cos())
            .collect();
        for top in starts(ruling.height) {
            for left in starts(ruling.width) {
                let mut window = cut(ruling, left, top, &hann);
                for row in window.chunks_exact_mut(WINDOW) {
                    fft.process(row);
                }
                let mut column = vec![Complex::default(); WINDOW];
                for x in 0..WINDOW {
                    for (y, value) in column.iter_mut().enumerate() {
                        *value = window[y * WINDOW + x];
                    }
                    fft.process(&mut column);
                    for (y, value) in column.iter().enumerate() {
                        power[y * WINDOW + x] += value.norm_sqr();
                    }
                }
            }
        }
        Self { power }
    }

    /// For each pitch, how far the comb along `angle` stands out: mean log10.
    fn ray(&self, angle: f32, pitches: &[f32]) -> Vec<f32> {
        const STEPS: usize = 1024;
        let (sin, cos) = angle.sin_cos();
        let step = FREQUENCY_MAX / STEPS as f32;
        let log: Vec<f32> = (0..STEPS)
            .map(|k| self.at(k as f32 * step * cos, k as f32 * step * sin).max(1e-12).log10())
            .collect();
        let mut above = vec![0f32; STEPS];
        for (k, value) in above.iter_mut().enumerate() {
            let reach = (k / 8).clamp(8, 40);
            let around = &log[k.saturating_sub(reach)..(k + reach + 1).min(STEPS)];
            let mut sorted = around.to_vec();
            let middle = sorted.len() / 2;
            *value = log[k] - *sorted.select_nth_unstable_by(middle, f32::total_cmp).1;
        }
        let peak = |frequency: f32| {
            let k = (frequency / step).round() as usize;
            let reach = 1;
            above[k.saturating_sub(reach)..(k + reach + 1).min(STEPS)]
                .iter()
                .copied()
                .fold(f32::NEG_INFINITY, f32::max)
        };
        pitches
            .iter()
            .map(|pitch| {
                let tones = HARMONICS.iter().map(|k| *k as f32 / (5.0 * pitch));
                let (mut sum, mut weight) = (0.0, 0.0);
                for (tone, k) in tones.zip(HARMONICS) {
                    if tone < FREQUENCY_MAX {
                        let importance = if k == 5 { 2.0 } else { 1.0 };
                        sum += importance * peak(tone).clamp(-0.5, 1.6);
                        weight += importance;
                    }
                }
                sum / f32::max(weight, 4.0)
            })
            .collect()
    }

    /// Power at a frequency in cycles a pixel, the largest of the nearest four.
    fn at(&self, fx: f32, fy: f32) -> f32 {
        let wrap = |f: f32| {
            let at = f * WINDOW as f32;
            let low = at.floor();
            [low, low + 1.0].map(|v| v.rem_euclid(WINDOW as f32) as usize % WINDOW)
        };
        let (xs, ys) = (wrap(fx), wrap(fy));
        let mut most = 0f32;
        for y in ys {
            for x in xs {
                most = most.max(self.power[y * WINDOW + x]);
            }
        }
        most
    }
}

/// Up to four windows that cover a side.
fn starts(side: usize) -> Vec<usize> {
    if side <= WINDOW {
        return vec![0];
    }
    let count = (side.div_ceil(WINDOW)).clamp(2, 4);
    (0..count).map(|k| k * (side - WINDOW) / (count - 1)).collect()
}

fn cut(ruling: &Ruling, left: usize, top: usize, hann: &[f32]) -> Vec<Complex<f32>> {
    let value = |x: usize, y: usize| {
        if left + x < ruling.width && top + y < ruling.height {
            ruling.dark[(top + y) * ruling.width + left + x]
        } else {
            0.0
        }
    };
    let mean = (0..WINDOW * WINDOW).step_by(7).map(|k| value(k % WINDOW, k / WINDOW)).sum::<f32>()
        / (WINDOW * WINDOW).div_ceil(7) as f32;
    (0..WINDOW * WINDOW)
        .map(|k| {
            let (x, y) = (k % WINDOW, k / WINDOW);
            Complex::new((value(x, y) - mean) * hann[x] * hann[y], 0.0)
        })
        .collect()
}
