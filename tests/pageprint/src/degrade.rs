//! Light, lens, sensor, copier.
//!
//! In: the picture of the bent page. Out: the same picture, spoiled as the plan's `Fate` says.
//! Light falls first, then the lens blurs, the sensor adds noise, and the machine that stored the
//! picture sharpens, fades, thresholds.

use crate::Rng;
use crate::plan::{Fate, Plan};
use crate::warp::{Picture, Warp};

pub fn degrade(picture: &mut Picture, plan: &Plan, warp: &Warp) {
    let fate = &plan.fate;
    let mut rng = Rng::new(fate.seed);
    light(picture, plan, warp, &mut rng);
    if let Some(stripes) = fate.moire {
        moire(picture, stripes);
    }
    if fate.blur_px > 0.0 {
        blur(picture, fate.blur_px);
    }
    if fate.sharpen > 0.0 {
        sharpen(picture, fate.sharpen);
    }
    expose(picture, fate, &mut rng);
    if fate.grey || fate.threshold.is_some() || fate.halftone {
        copy(picture, fate);
    }
}

/// A field that is bilinear between random nodes.
struct Field {
    side: usize,
    nodes: Vec<f32>,
}

impl Field {
    fn random(rng: &mut Rng, side: usize, low: f32, high: f32) -> Self {
        Self {
            side,
            nodes: (0..side * side).map(|_| rng.range(low, high)).collect(),
        }
    }

    /// `u`, `v` from 0 to 1.
    fn at(&self, u: f32, v: f32) -> f32 {
        let most = (self.side - 1) as f32;
        let (x, y) = (
            (u * most).clamp(0.0, most - 1e-3),
            (v * most).clamp(0.0, most - 1e-3),
        );
        let (i, j) = (x as usize, y as usize);
        let ease = |t: f32| t * t * (3.0 - 2.0 * t);
        let (fx, fy) = (ease(x - i as f32), ease(y - j as f32));
        let node = |a: usize, b: usize| self.nodes[b * self.side + a];
        (node(i, j) * (1.0 - fx) + node(i + 1, j) * fx) * (1.0 - fy)
            + (node(i, j + 1) * (1.0 - fx) + node(i + 1, j + 1) * fx) * fy
    }
}

fn light(picture: &mut Picture, plan: &Plan, warp: &Warp, rng: &mut Rng) {
    let fate = &plan.fate;
    let even = fate.shade == 0.0 && fate.shadow == 0.0 && fate.folds.is_empty() && fate.stains == 0;
    if even && fate.tint == [1.0; 3] {
        return;
    }
    let field = Field::random(rng, 4, 1.0 - 2.0 * fate.shade, 1.0);
    let edge = [
        rng.range(0.0, 6.3),
        rng.range(0.2, 0.8),
        rng.range(0.2, 0.8),
        rng.range(0.005, 0.08),
    ];
    let stains: Vec<[f32; 4]> = (0..fate.stains)
        .map(|_| {
            [
                rng.range(0.0, 1.0),
                rng.range(0.0, 1.0),
                rng.range(3.0, 25.0),
                rng.range(0.1, 0.35),
            ]
        })
        .collect();
    // The light changes slowly: it is worked out for squares of pixels, smaller where folds are.
    let step = if fate.folds.is_empty() { 4 } else { 2 };
    for y in (0..picture.height).step_by(step) {
        for x in (0..picture.width).step_by(step) {
            let (u, v) = (
                x as f32 / picture.width as f32,
                y as f32 / picture.height as f32,
            );
            let mut level = field.at(u, v);
            let side = ((u - edge[1]) * edge[0].cos() + (v - edge[2]) * edge[0].sin()) / edge[3];
            level *= 1.0 - fate.shadow / (1.0 + (-side).exp());
            let mut brown = 0.0;
            if !fate.folds.is_empty() || !stains.is_empty() {
                let p = warp.to_paper([x as f32, y as f32]);
                level *= folds(fate, plan, p);
                brown = stained(&stains, plan, p);
            }
            let color = [0, 1, 2].map(|c| {
                (256.0 * level * fate.tint[c] * (1.0 - brown * [0.25, 0.5, 1.0][c])) as u32
            });
            for row in y..(y + step).min(picture.height) {
                for column in x..(x + step).min(picture.width) {
                    let at = 3 * (row * picture.width + column);
                    for (value, light) in picture.rgb[at..at + 3].iter_mut().zip(color) {
                        *value = ((u32::from(*value) * light) >> 8).min(255) as u8;
                    }
                }
            }
        }
    }
}

/// Stripes whose phase drifts between the colours, as a sensor's mosaic makes them.
fn moire(picture: &mut Picture, [depth, period_px, angle]: [f32; 3]) {
    let turn = std::f32::consts::TAU / period_px;
    let (across, down) = (turn * angle.cos(), turn * angle.sin());
    // Sines of a whole turn, looked up by its 256 parts.
    let table: Vec<u32> = (0..256u32)
        .map(|k| {
            (256.0 * (1.0 - depth * (0.5 + 0.5 * (k as f32 / 256.0 * std::f32::consts::TAU).sin())))
                as u32
        })
        .collect();
    let parts = 256.0 / std::f32::consts::TAU;
    for (y, line) in picture.rgb.chunks_exact_mut(3 * picture.width).enumerate() {
        for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
            let phase = ((across * x as f32 + down * y as f32) * parts) as i64;
            for (c, value) in pixel.iter_mut().enumerate() {
                *value = ((u32::from(*value) * table[(phase + 20 * c as i64) as usize & 255]) >> 8)
                    as u8;
            }
        }
    }
}

fn folds(fate: &Fate, plan: &Plan, p: [f32; 2]) -> f32 {
    let mut level = 1.0;
    for [u, v, angle, width, depth] in &fate.folds {
        let (sin, cos) = angle.sin_cos();
        let off = ((p[0] - u * plan.width_mm) * cos + (p[1] - v * plan.height_mm) * sin) / width;
        level *= if *depth < 0.0 {
            1.0 + depth * (-off * off).exp()
        } else {
            // Light turns to shade within a third of the fold, not from one pixel to the next.
            1.0 + depth * (3.0 * off).tanh() * (-off.abs()).exp()
        };
    }
    level
}

fn stained(stains: &[[f32; 4]], plan: &Plan, p: [f32; 2]) -> f32 {
    stains
        .iter()
        .map(|[u, v, radius, depth]| {
            let off = (p[0] - u * plan.width_mm).hypot(p[1] - v * plan.height_mm) / radius;
            if off < 1.0 {
                depth * (0.6 + 0.4 * off.powi(8))
            } else {
                0.0
            }
        })
        .sum()
}

/// Gaussian, as the sum of a kernel of seven, across then down.
fn blur(picture: &mut Picture, sigma: f32) {
    let weight = |k: i32| (-0.5 * (k as f32 / sigma).powi(2)).exp();
    let total: f32 = (-3..=3).map(weight).sum();
    let kernel: Vec<u32> = (0..=3)
        .map(|k| (weight(k) / total * 4096.0) as u32)
        .collect();
    let (width, height) = (picture.width, picture.height);
    pass(&mut picture.rgb, width, height, &kernel);
}

fn pass(rgb: &mut [u8], width: usize, height: usize, kernel: &[u32]) {
    let stride = 3 * width;
    let rest = 4096 - kernel[0] - 2 * (kernel[1] + kernel[2] + kernel[3]);
    let mut line = vec![0u8; stride];
    for row in rgb.chunks_exact_mut(stride) {
        line.copy_from_slice(row);
        for k in 9..stride.saturating_sub(9) {
            let pair = |d: usize| u32::from(line[k - 3 * d]) + u32::from(line[k + 3 * d]);
            let sum = (kernel[0] + rest) * u32::from(line[k])
                + kernel[1] * pair(1)
                + kernel[2] * pair(2)
                + kernel[3] * pair(3);
            row[k] = ((sum + 2048) >> 12) as u8;
        }
    }
    // Down: the rows above are kept, since they are overwritten.
    let mut kept: Vec<Vec<u8>> = (0..3)
        .map(|k| rgb[k * stride..(k + 1) * stride].to_vec())
        .collect();
    for y in 3..height.saturating_sub(3) {
        let here = rgb[y * stride..(y + 1) * stride].to_vec();
        let (before, after) = rgb.split_at_mut((y + 1) * stride);
        let row = &mut before[y * stride..];
        for k in 0..stride {
            let pair =
                |d: usize| u32::from(kept[3 - d][k]) + u32::from(after[(d - 1) * stride + k]);
            let sum = (kernel[0] + rest) * u32::from(here[k])
                + kernel[1] * pair(1)
                + kernel[2] * pair(2)
                + kernel[3] * pair(3);
            row[k] = ((sum + 2048) >> 12) as u8;
        }
        kept.rotate_left(1);
        kept[2] = here;
    }
}

fn sharpen(picture: &mut Picture, amount: f32) {
    let sharp = picture.rgb.clone();
    blur(picture, 1.0);
    let gain = (amount * 256.0) as i32;
    for (soft, original) in picture.rgb.iter_mut().zip(sharp) {
        let detail = i32::from(original) - i32::from(*soft);
        *soft = (i32::from(original) + ((detail * gain) >> 8)).clamp(0, 255) as u8;
    }
}

fn expose(picture: &mut Picture, fate: &Fate, rng: &mut Rng) {
    let curve: Vec<u8> = (0..256)
        .map(|v| {
            let light = (v as f32 / 255.0).powf(fate.gamma);
            ((fate.fade * 0.75 + (1.0 - fate.fade * 0.75) * light) * 255.0) as u8
        })
        .collect();
    if fate.noise == 0.0 {
        picture
            .rgb
            .iter_mut()
            .for_each(|v| *v = curve[usize::from(*v)]);
        return;
    }
    let grains: Vec<i16> = (0..1 << 16)
        .map(|_| rng.normal(0.0, fate.noise * 255.0) as i16)
        .collect();
    let color = rng.chance(0.5);
    for pixels in picture.rgb.chunks_mut(3 * 4096) {
        let mut at = rng.below(1 << 16);
        for pixel in pixels.chunks_exact_mut(3) {
            for value in pixel {
                at += usize::from(color);
                *value = (i16::from(curve[usize::from(*value)]) + grains[at & 0xFFFF]).clamp(0, 255)
                    as u8;
            }
            at += 1;
        }
    }
}

fn copy(picture: &mut Picture, fate: &Fate) {
    const SCREEN: [[u8; 4]; 4] = [
        [20, 140, 50, 170],
        [200, 80, 230, 110],
        [65, 185, 35, 155],
        [245, 125, 215, 95],
    ];
    let width = picture.width;
    for (k, pixel) in picture.rgb.chunks_exact_mut(3).enumerate() {
        let grey = ((u32::from(pixel[0]) * 77
            + u32::from(pixel[1]) * 151
            + u32::from(pixel[2]) * 28)
            >> 8) as u8;
        let value = match fate.threshold {
            Some(level) => {
                if f32::from(grey) > level * 255.0 {
                    250
                } else {
                    5
                }
            }
            None if fate.halftone => {
                if grey > SCREEN[k / width % 4][k % width % 4] {
                    250
                } else {
                    10
                }
            }
            None => grey,
        };
        pixel.fill(value);
    }
}
