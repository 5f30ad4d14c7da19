//! How the paper lies before the camera.
//!
//! In: flat millimetres. Out: pixels of the picture, centres at integers. A sheet's waves move a
//! point on the paper, then one homography carries rotation and perspective. The picture is drawn
//! through the inverse, the truth through the forward map: both are exact.

use crate::draw::Sheet;
use crate::plan::Plan;

/// A picture in the making.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
    /// Whether the page, not the desk, is seen.
    pub on_page: Vec<bool>,
}

pub struct Warp {
    forward: [f64; 9],
    backward: [f64; 9],
    waves: Vec<[f32; 4]>,
    pub width: usize,
    pub height: usize,
    identity: bool,
}

impl Warp {
    pub fn new(plan: &Plan) -> Self {
        let fate = &plan.fate;
        let page = [
            [0.0, 0.0],
            [plan.width_mm, 0.0],
            [plan.width_mm, plan.height_mm],
            [0.0, plan.height_mm],
        ];
        let turn = fate.rotation_deg.to_radians()
            + f32::from(fate.quarter_turns) * std::f32::consts::FRAC_PI_2;
        let (sin, cos) = turn.sin_cos();
        let bent: Vec<[f32; 2]> = page
            .iter()
            .zip(fate.corners)
            .map(|(p, shift)| {
                [
                    p[0] + shift[0] * plan.width_mm,
                    p[1] + shift[1] * plan.height_mm,
                ]
            })
            .map(|p| [p[0] * cos - p[1] * sin, p[0] * sin + p[1] * cos])
            .map(|p| p.map(|v| v * plan.px_per_mm))
            .collect();
        let bound =
            |k: usize, f: fn(f32, f32) -> f32, from: f32| bent.iter().fold(from, |a, p| f(a, p[k]));
        let low = [0, 1].map(|k| bound(k, f32::min, f32::INFINITY));
        let high = [0, 1].map(|k| bound(k, f32::max, f32::NEG_INFINITY));
        let size = [0, 1].map(|k| (high[k] - low[k]) * (1.0 + 2.0 * fate.desk_margin));
        let origin = [0, 1].map(|k| low[k] - (high[k] - low[k]) * fate.desk_margin);
        let placed: Vec<[f32; 2]> = bent
            .iter()
            .map(|p| [p[0] - origin[0] - 0.5, p[1] - origin[1] - 0.5])
            .collect();
        let forward = homography(&page, &placed);
        let identity = turn == 0.0
            && fate.waves.is_empty()
            && fate.desk_margin == 0.0
            && fate.corners == [[0.0; 2]; 4];
        Self {
            forward,
            backward: invert(forward),
            waves: fate.waves.clone(),
            width: size[0] as usize,
            height: size[1] as usize,
            identity,
        }
    }

    pub fn homography(&self) -> [f64; 9] {
        self.forward
    }

    /// Pixel of a place on the paper.
    pub fn to_page(&self, p: [f32; 2]) -> [f32; 2] {
        let shift = self.shift(p);
        project(&self.forward, [p[0] + shift[0], p[1] + shift[1]])
    }

    /// Place on the paper of a pixel.
    pub fn to_paper(&self, px: [f32; 2]) -> [f32; 2] {
        let flat = project(&self.backward, px);
        let mut p = flat;
        if !self.waves.is_empty() {
            for _ in 0..6 {
                let shift = self.shift(p);
                p = [flat[0] - shift[0], flat[1] - shift[1]];
            }
        }
        p
    }

    fn shift(&self, p: [f32; 2]) -> [f32; 2] {
        let mut sum = [0.0; 2];
        for [amplitude, period, phase, angle] in &self.waves {
            let (sin, cos) = angle.sin_cos();
            let by = amplitude
                * (std::f32::consts::TAU * (p[0] * cos + p[1] * sin) / period + phase).sin();
            sum = [sum[0] - by * sin, sum[1] + by * cos];
        }
        sum
    }

    /// The sheet as the camera sees it.
    pub fn apply(&self, sheet: &Sheet, plan: &Plan) -> Picture {
        let count = self.width * self.height;
        if self.identity && sheet.width == self.width && sheet.height == self.height {
            let (width, height) = (self.width, self.height);
            return Picture {
                width,
                height,
                rgb: sheet.rgb.clone(),
                on_page: vec![true; count],
            };
        }
        let desk = plan
            .fate
            .desk
            .unwrap_or([0.98; 3])
            .map(|v| (v * 255.0) as u8);
        let mut picture = Picture {
            width: self.width,
            height: self.height,
            rgb: desk.iter().copied().cycle().take(3 * count).collect(),
            on_page: vec![false; count],
        };
        const STEP: usize = 16;
        let nodes = self.width / STEP + 2;
        let row = |y: usize| -> Vec<[f32; 2]> {
            (0..nodes)
                .map(|k| self.to_paper([(k * STEP) as f32, y as f32]))
                .collect()
        };
        let mut above = row(0);
        for block in (0..self.height).step_by(STEP) {
            let below = row(block + STEP);
            for y in block..(block + STEP).min(self.height) {
                let v = (y - block) as f32 / STEP as f32;
                for x in 0..self.width {
                    let (k, u) = (x / STEP, (x % STEP) as f32 / STEP as f32);
                    let at = [0, 1].map(|a| {
                        (above[k][a] * (1.0 - u) + above[k + 1][a] * u) * (1.0 - v)
                            + (below[k][a] * (1.0 - u) + below[k + 1][a] * u) * v
                    });
                    let index = y * self.width + x;
                    if let Some(color) = read(sheet, at) {
                        picture.rgb[3 * index..3 * index + 3].copy_from_slice(&color);
                        picture.on_page[index] = true;
                    }
                }
            }
            above = below;
        }
        picture
    }
}

/// The sheet's colour at a place, between four pixels.
fn read(sheet: &Sheet, at_mm: [f32; 2]) -> Option<[u8; 3]> {
    let [x, y] = at_mm.map(|v| v * sheet.px_per_mm - 0.5);
    if x < 0.0 || y < 0.0 || x >= sheet.width as f32 - 1.0 || y >= sheet.height as f32 - 1.0 {
        return None;
    }
    let (column, row) = (x as usize, y as usize);
    let (fx, fy) = (
        ((x - column as f32) * 256.0) as u32,
        ((y - row as f32) * 256.0) as u32,
    );
    let at = 3 * (row * sheet.width + column);
    let below = at + 3 * sheet.width;
    Some(std::array::from_fn(|c| {
        let value = |k: usize| u32::from(sheet.rgb[k + c]);
        let top = value(at) * (256 - fx) + value(at + 3) * fx;
        let base = value(below) * (256 - fx) + value(below + 3) * fx;
        ((top * (256 - fy) + base * fy + (1 << 15)) >> 16) as u8
    }))
}

fn project(h: &[f64; 9], p: [f32; 2]) -> [f32; 2] {
    let (x, y) = (f64::from(p[0]), f64::from(p[1]));
    let w = h[6] * x + h[7] * y + h[8];
    [
        ((h[0] * x + h[1] * y + h[2]) / w) as f32,
        ((h[3] * x + h[4] * y + h[5]) / w) as f32,
    ]
}

/// The homography that takes four points to four others (Hartley & Zisserman, 4.1).
fn homography(from: &[[f32; 2]], to: &[[f32; 2]]) -> [f64; 9] {
    let mut rows = [[0.0f64; 9]; 8];
    for k in 0..4 {
        let [x, y] = from[k].map(f64::from);
        let [u, v] = to[k].map(f64::from);
        rows[2 * k] = [x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, u];
        rows[2 * k + 1] = [0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, v];
    }
    for column in 0..8 {
        let best =
            (column..8).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()));
        rows.swap(column, best.expect("eight rows are left to choose from"));
        let pivot = rows[column];
        for (k, row) in rows.iter_mut().enumerate() {
            if k != column {
                let by = row[column] / pivot[column];
                for (value, p) in row.iter_mut().zip(pivot) {
                    *value -= by * p;
                }
            }
        }
    }
    let mut h = [1.0; 9];
    for k in 0..8 {
        h[k] = rows[k][8] / rows[k][k];
    }
    h
}

fn invert(h: [f64; 9]) -> [f64; 9] {
    let minor = |a: usize, b: usize, c: usize, d: usize| h[a] * h[d] - h[b] * h[c];
    let adjugate = [
        minor(4, 5, 7, 8),
        minor(2, 1, 8, 7),
        minor(1, 2, 4, 5),
        minor(5, 3, 8, 6),
        minor(0, 2, 6, 8),
        minor(2, 0, 5, 3),
        minor(3, 4, 6, 7),
        minor(1, 0, 7, 6),
        minor(0, 1, 3, 4),
    ];
    adjugate.map(|v| v / adjugate[8])
}
