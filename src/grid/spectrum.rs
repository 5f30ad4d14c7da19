//! The spectrum of one square window of the ruling.
//!
//! In: the ruling, a window's place. Out: power and phase at any frequency, in cycles a pixel, the
//! phase as at the window's middle. A Hann window, so that the nearest bin's phase is the tone's.

use super::fourier::{Fourier, LANES, Rows, Values};
use super::ruling::Ruling;
use crate::math;

/// Side of a window, pixels.
pub const SIDE: usize = super::fourier::SIDE;
/// Power below this is none.
const POWER_MIN: f32 = 1e-12;

/// What makes spectra.
pub struct Analyser {
    fourier: Fourier,
    hann: Vec<f32>,
}

/// Rows of a spectrum that are kept: the others mirror these, as the window is real.
const ROWS: usize = SIDE / 2 + 1;

/// Spectrum of one window, real and imaginary parts: `bins[row * SIDE + column]`.
pub struct Spectrum {
    bins: Vec<[f32; 2]>,
    /// Share of the window that lies on the picture.
    pub on_page: f32,
}

impl Analyser {
    pub fn new() -> Self {
        let turn = std::f32::consts::TAU / SIDE as f32;
        Self {
            fourier: Fourier::new(),
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
        let sum = |y: usize| row(y).iter().map(|dark| u32::from(*dark)).sum::<u32>();
        let mean = (0..rows).map(sum).sum::<u32>() as f32 / (rows * columns).max(1) as f32;
        let mut window = vec![[0.0; SIDE]; SIDE];
        for (y, line) in window.iter_mut().take(rows).enumerate() {
            for ((value, dark), hann) in line.iter_mut().zip(row(y)).zip(&self.hann) {
                *value = (f32::from(*dark) - mean) * hann * self.hann[y];
            }
        }
        Spectrum {
            bins: self.along_rows(&self.down_columns(&window)),
            on_page: (rows * columns) as f32 / (SIDE * SIDE) as f32,
        }
    }

    /// The columns' spectra, `[row / LANES][column]`, the rows that are kept and some more.
    fn down_columns(&self, window: &[[f32; SIDE]]) -> Vec<Rows> {
        let mut half = vec![[Values::default(); SIDE]; ROWS.div_ceil(LANES)];
        let [mut lanes, mut other] = [[Values::default(); SIDE]; 2];
        for first in (0..SIDE).step_by(2 * LANES) {
            // Two columns in one transform: one is real, the other imaginary.
            for (values, line) in lanes.iter_mut().zip(window) {
                values.re.copy_from_slice(&line[first..first + LANES]);
                values
                    .im
                    .copy_from_slice(&line[first + LANES..first + 2 * LANES]);
            }
            self.fourier.transform(&mut lanes, &mut other);
            for v in 0..ROWS {
                let (here, there) = (lanes[v], lanes[(SIDE - v) % SIDE]);
                let (block, lane) = (&mut half[v / LANES], v % LANES);
                for k in 0..LANES {
                    let real = &mut block[first + k];
                    real.re[lane] = 0.5 * (here.re[k] + there.re[k]);
                    real.im[lane] = 0.5 * (here.im[k] - there.im[k]);
                    let imaginary = &mut block[first + LANES + k];
                    imaginary.re[lane] = 0.5 * (here.im[k] + there.im[k]);
                    imaginary.im[lane] = 0.5 * (there.re[k] - here.re[k]);
                }
            }
        }
        half
    }

    fn along_rows(&self, half: &[Rows]) -> Vec<[f32; 2]> {
        let mut bins = vec![[0.0; 2]; ROWS * SIDE];
        let mut other = [Values::default(); SIDE];
        for (rows, out) in half.iter().zip(bins.chunks_mut(LANES * SIDE)) {
            let mut rows = *rows;
            self.fourier.transform(&mut rows, &mut other);
            for (lane, out) in out.chunks_exact_mut(SIDE).enumerate() {
                for (bin, values) in out.iter_mut().zip(&rows) {
                    *bin = [values.re[lane], values.im[lane]];
                }
            }
        }
        bins
    }
}

/// Place of a cell in `Loudness`.
pub type Cell = u16;
const _: () = assert!(SIDE * SIDE / 2 <= Cell::MAX as usize + 1);

/// Logarithm (base 10) of the power in each cell between four bins: that of the largest.
pub struct Loudness(Vec<f32>);

impl Loudness {
    pub fn at(&self, cell: Cell) -> f32 {
        self.0[usize::from(cell)]
    }

    /// The cell of a frequency, which is below half a cycle a pixel.
    pub fn cell(frequency: [f32; 2]) -> Cell {
        let [x, y] = frequency.map(|f| (f * SIDE as f32).floor() as i64);
        // The lower half mirrors the upper one.
        let (x, y) = if y < 0 { (-1 - x, -1 - y) } else { (x, y) };
        (wrapped(y) % (SIDE / 2) * SIDE + wrapped(x)) as Cell
    }
}

fn wrapped(v: i64) -> usize {
    v.rem_euclid(SIDE as i64) as usize
}

impl Spectrum {
    fn bin(&self, column: i64, row: i64) -> [f32; 2] {
        if wrapped(row) < ROWS {
            self.bins[wrapped(row) * SIDE + wrapped(column)]
        } else {
            let [re, im] = self.bins[wrapped(-row) * SIDE + wrapped(-column)];
            [re, -im]
        }
    }

    pub fn loudness(&self) -> Loudness {
        let power = |row: &[[f32; 2]]| -> [f32; SIDE] {
            std::array::from_fn(|x| square_sum(row[x]).max(POWER_MIN))
        };
        let mut cells = Vec::with_capacity(SIDE * SIDE / 2);
        let mut below = power(&self.bins[..SIDE]);
        for row in self.bins.chunks_exact(SIDE).skip(1) {
            let above = std::mem::replace(&mut below, power(row));
            let most: [f32; SIDE] = std::array::from_fn(|x| above[x].max(below[x]));
            let next = |x: usize| most[(x + 1) % SIDE];
            cells.extend((0..SIDE).map(|x| math::log10_near(most[x].max(next(x)))));
        }
        Loudness(cells)
    }

    /// The strongest tone within `reach` bins of a frequency.
    pub fn tone(&self, frequency: [f32; 2], reach: i64) -> Tone {
        let [x, y] = frequency.map(|f| (f * SIDE as f32).round() as i64);
        let power = |x: i64, y: i64| square_sum(self.bin(x, y)).max(POWER_MIN);
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
        let [re, im] = self.bin(px, py);
        let top = power(px, py);
        let fx = px as f32 + peak(power(px - 1, py), top, power(px + 1, py));
        let fy = py as f32 + peak(power(px, py - 1), top, power(px, py + 1));
        // The transform's phase is the corner's; the middle is half a window away.
        let half = std::f32::consts::PI * (px + py) as f32 * (SIDE as f32 - 1.0) / SIDE as f32;
        Tone {
            frequency: [fx / SIDE as f32, fy / SIDE as f32],
            phase: math::atan2(im, re) + half,
            amplitude: top.sqrt(),
            above_noise: math::log10(top / noise),
        }
    }
}

fn square_sum([re, im]: [f32; 2]) -> f32 {
    re * re + im * im
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
    fn a_cell_is_as_loud_as_the_largest_bin_around_it() {
        let dark = (0..SIDE * SIDE)
            .map(|k| (k * k % 89) as f32 / 89.0)
            .collect();
        let spectrum = Analyser::new().spectrum(&Ruling::of_dark(SIDE, SIDE, dark), 0, 0);
        let loudness = spectrum.loudness();
        for (x, y) in [
            (0, 0),
            (17, 40),
            (-30, 112),
            (50, -1),
            (-1, -1),
            (-90, -77),
            (113, -113),
        ] {
            let around = [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)];
            let most = around.map(|(x, y)| square_sum(spectrum.bin(x, y)));
            let most = math::log10(most.into_iter().fold(POWER_MIN, f32::max));
            let inside = [x, y].map(|v| (v as f32 + 0.5) / SIDE as f32);
            let found = loudness.at(Loudness::cell(inside));
            assert!((found - most).abs() < 1e-4, "{found} at {x}, {y}: {most}");
        }
    }

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
