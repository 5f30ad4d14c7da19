//! Ink on flat paper.
//!
//! In: a `Plan`. Out: a `Sheet`: the flat page's colours at the plan's resolution, and the boxes
//! of its texts in millimetres. Lines are drawn with their exact coverage of each pixel, so that
//! a position is true to a hundredth of a pixel.

use crate::font::{self, Fonts};
use crate::plan::{Broken, GridKind, Plan};

/// How much of each pixel is covered by ink, 0 to 255.
pub struct Layer {
    pub width: usize,
    pub height: usize,
    pub px_per_mm: f32,
    pub cover: Vec<u8>,
}

impl Layer {
    pub fn new(width: usize, height: usize, px_per_mm: f32) -> Self {
        Self {
            width,
            height,
            px_per_mm,
            cover: vec![0; width * height],
        }
    }

    /// Covers the pixel at least this much, 0 to 1.
    pub fn put(&mut self, x: i64, y: i64, cover: f32) {
        if x < 0 || y < 0 || x >= self.width as i64 || y >= self.height as i64 {
            return;
        }
        let pixel = &mut self.cover[y as usize * self.width + x as usize];
        *pixel = (*pixel).max((cover * 255.0).clamp(0.0, 255.0) as u8);
    }

    /// Draws a polyline; a pixel's centre (x + 0.5, y + 0.5) / px_per_mm is its place.
    pub fn line(&mut self, points_mm: &[[f32; 2]], width_mm: f32) {
        let scale = self.px_per_mm;
        // Thinner than a pixel: the line stays a pixel wide and grows paler.
        let half = (width_mm * scale / 2.0).max(0.5);
        let dark = (width_mm * scale).min(1.0);
        for pair in points_mm.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|p| [p[0] * scale - 0.5, p[1] * scale - 0.5]);
            self.segment(a, b, half, dark);
        }
    }

    fn segment(&mut self, a: [f32; 2], b: [f32; 2], half: f32, dark: f32) {
        let reach = half + 0.5;
        let low =
            |k: usize, max: usize| (a[k].min(b[k]) - reach).floor().clamp(0.0, max as f32) as usize;
        let high = |k: usize, max: usize| {
            (a[k].max(b[k]) + reach + 1.0).ceil().clamp(0.0, max as f32) as usize
        };
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length = (dx * dx + dy * dy).max(1e-9);
        for y in low(1, self.height)..high(1, self.height) {
            for x in low(0, self.width)..high(0, self.width) {
                let (px, py) = (x as f32 - a[0], y as f32 - a[1]);
                let along = ((px * dx + py * dy) / length).clamp(0.0, 1.0);
                let (ox, oy) = (px - along * dx, py - along * dy);
                let cover = half + 0.5 - (ox * ox + oy * oy).sqrt();
                if cover > 0.0 {
                    let pixel = &mut self.cover[y * self.width + x];
                    *pixel = (*pixel).max((cover.min(1.0) * dark * 255.0) as u8);
                }
            }
        }
    }
}

/// A box on flat paper.
#[derive(Clone, Debug)]
pub struct Printed {
    pub class: String,
    pub text: String,
    /// Left, top, right, bottom in millimetres.
    pub area_mm: [f32; 4],
}

/// The page as printed, before anything happens to it.
pub struct Sheet {
    pub width: usize,
    pub height: usize,
    pub px_per_mm: f32,
    pub rgb: Vec<u8>,
    /// Texts in the plan's order, then pulses.
    pub boxes: Vec<Printed>,
}

pub fn draw(plan: &Plan, fonts: &Fonts) -> Sheet {
    let scale = plan.px_per_mm;
    let (width, height) = (
        (plan.width_mm * scale) as usize,
        (plan.height_mm * scale) as usize,
    );
    let mut traces = Layer::new(width, height, scale);
    let mut texts = Layer::new(width, height, scale);
    let mut marks = Layer::new(width, height, scale);
    for trace in &plan.traces {
        traces.line(&trace.path_mm, plan.line_width_mm);
    }
    for mark in &plan.marks {
        let layer = if mark.trace_ink {
            &mut traces
        } else {
            &mut marks
        };
        layer.line(&mark.path_mm, mark.width_mm);
    }
    let boxes = print_texts(plan, fonts, &mut texts);
    let grid = Grid::of(plan, width, height);
    let mut rgb = vec![0u8; 3 * width * height];
    let inks = [plan.trace_color, plan.text_color, plan.mark_color];
    let mut wave = Uneven::new(plan);
    for (y, line) in rgb.chunks_exact_mut(3 * width).enumerate() {
        for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
            let at = y * width + x;
            let cover = [traces.cover[at], texts.cover[at], marks.cover[at]];
            let [ruled, dotted] = grid.at(x, y);
            for (channel, value) in pixel.iter_mut().enumerate() {
                let mut light = plan.paper[channel]
                    * (1.0 - ruled * (1.0 - plan.grid.color[channel]))
                    * (1.0 - dotted * (1.0 - plan.grid.dot_color[channel]));
                for (k, (cover, ink)) in cover.into_iter().zip(inks).enumerate() {
                    if cover > 0 {
                        let weight =
                            f32::from(cover) / 255.0 * if k == 0 { wave.at(x, y) } else { 1.0 };
                        light += weight * (ink[channel] - light).min(0.0);
                    }
                }
                *value = (light * 255.0) as u8;
            }
        }
    }
    Sheet {
        width,
        height,
        px_per_mm: scale,
        rgb,
        boxes,
    }
}

fn print_texts(plan: &Plan, fonts: &Fonts, layer: &mut Layer) -> Vec<Printed> {
    let mut boxes = Vec::new();
    for text in &plan.texts {
        let area = font::write(layer, fonts, text.style, &text.text, text.x_mm, text.y_mm);
        let [left, top, right, bottom] = area;
        if text.boxed {
            let (l, t, r, b) = (left - 0.7, top - 0.7, right + 0.7, bottom + 0.7);
            layer.line(&[[l, t], [r, t], [r, b], [l, b], [l, t]], 0.2);
        }
        boxes.push(Printed {
            class: text.class.clone(),
            text: text.text.clone(),
            area_mm: area,
        });
    }
    for mark in plan.marks.iter().filter(|mark| mark.class == "pulse") {
        let bound = |k: usize, f: fn(f32, f32) -> f32, from: f32| {
            mark.path_mm.iter().fold(from, |a, p| f(a, p[k]))
        };
        let area = [
            bound(0, f32::min, f32::INFINITY).max(0.0),
            bound(1, f32::min, f32::INFINITY),
            bound(0, f32::max, f32::NEG_INFINITY),
            bound(1, f32::max, f32::NEG_INFINITY),
        ];
        boxes.push(Printed {
            class: "pulse".into(),
            text: String::new(),
            area_mm: area,
        });
    }
    boxes
}

/// The ruling, as the product of one profile across and one down.
struct Grid {
    kind: GridKind,
    minor: [Vec<f32>; 2],
    major: [Vec<f32>; 2],
    strength: [f32; 2],
    broken: Option<Broken>,
    px_per_mm: f32,
}

impl Grid {
    fn of(plan: &Plan, width: usize, height: usize) -> Self {
        let look = &plan.grid;
        let profile = |axis: usize, count: usize, pitch: f32, line: f32| -> Vec<f32> {
            (0..count)
                .map(|k| {
                    let (a, b) = (k as f32 / plan.px_per_mm, (k + 1) as f32 / plan.px_per_mm);
                    let (low, high) = (look.area_mm[axis] - 0.2, look.area_mm[axis + 2] + 0.2);
                    if a < low || b > high {
                        return 0.0;
                    }
                    covered(
                        a - look.phase_mm[axis],
                        b - look.phase_mm[axis],
                        pitch,
                        line,
                    ) / (b - a)
                })
                .collect()
        };
        let both = |pitch: f32, line: f32| {
            [
                profile(0, width, pitch, line),
                profile(1, height, pitch, line),
            ]
        };
        let mut minor = both(1.0, look.minor_width_mm);
        let mut major = both(5.0, look.major_width_mm);
        // Lines end where the ruled area ends.
        for profiles in [&mut minor, &mut major] {
            for (axis, values) in profiles.iter_mut().enumerate() {
                for (k, value) in values.iter_mut().enumerate() {
                    let at = (k as f32 + 0.5) / plan.px_per_mm;
                    if at < look.area_mm[axis] - 0.2 || at > look.area_mm[axis + 2] + 0.2 {
                        *value = f32::NAN;
                    }
                }
            }
        }
        Self {
            kind: look.kind,
            minor,
            major,
            strength: [look.minor, look.major],
            broken: look.broken,
            px_per_mm: plan.px_per_mm,
        }
    }

    /// Cover of the 5 mm lines: those down the page, those across.
    fn major(&self, x: usize, y: usize) -> [f32; 2] {
        let (down, across) = (self.major[0][x], self.major[1][y]);
        match self.broken {
            // Most of a page lies between the lines.
            Some(broken) if down > 0.0 || across > 0.0 => {
                let mm = [x, y].map(|v| v as f32 / self.px_per_mm);
                [
                    down * broken.left_at(mm[1], mm[0]),
                    across * broken.left_at(mm[0], mm[1]),
                ]
            }
            _ => [down, across],
        }
    }

    /// How much of the lines' and of the dots' ink is at a pixel, 0 to 1.
    fn at(&self, x: usize, y: usize) -> [f32; 2] {
        let either = |[down, across]: [f32; 2]| 1.0 - (1.0 - down) * (1.0 - across);
        let minor = self.strength[0] * either([self.minor[0][x], self.minor[1][y]]);
        let lines = either(self.major(x, y));
        let major = self.strength[1] * lines;
        let ink = match self.kind {
            GridKind::Lines => [minor.max(major), 0.0],
            GridKind::Dots => {
                let dot = self.minor[0][x] * self.minor[1][y];
                let dot = 1.8 * self.strength[0].max(0.4) * dot;
                // Where a line runs there is no dot to be seen.
                [0.6 * major, dot.min(1.0) * (1.0 - lines)]
            }
            GridKind::MinorOnly => [minor, 0.0],
            GridKind::MajorOnly => [major, 0.0],
            GridKind::None => [0.0, 0.0],
        };
        ink.map(|ink| if ink.is_nan() { 0.0 } else { ink })
    }
}

/// Length of `a..b` that lines of `line` mm at every `pitch` mm cover; lines are centred.
fn covered(a: f32, b: f32, pitch: f32, line: f32) -> f32 {
    let below = |v: f32| {
        let v = v + line / 2.0;
        let whole = (v / pitch).floor();
        whole * line + (v - whole * pitch).min(line)
    };
    (below(b) - below(a)).max(0.0)
}

/// Darkness of the trace's ink, which fades and grows along the way.
struct Uneven {
    depth: f32,
    x: f32,
    y: f32,
}

impl Uneven {
    fn new(plan: &Plan) -> Self {
        let seed = plan.traces.first().map_or(0.0, |t| t.zero_mm);
        Self {
            depth: plan.uneven,
            x: 0.011 + 0.013 * (seed % 1.0),
            y: 0.017,
        }
    }

    fn at(&mut self, x: usize, y: usize) -> f32 {
        if self.depth == 0.0 {
            return 1.0;
        }
        let (x, y) = (x as f32, y as f32);
        let wave = (self.x * x).sin() * (self.y * y + 0.004 * x).cos()
            + 0.6 * (0.061 * x + 0.02 * y).sin();
        (1.0 - self.depth * (0.5 + 0.5 * wave)).clamp(0.12, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_dark_as_it_is_wide() {
        for width_mm in [0.1, 0.3, 0.6] {
            let mut layer = Layer::new(200, 100, 8.0);
            layer.line(&[[2.0, 6.3], [22.0, 6.3]], width_mm);
            let column: Vec<f32> = (0..100)
                .map(|y| f32::from(layer.cover[y * 200 + 90]) / 255.0)
                .collect();
            let mass: f32 = column.iter().sum();
            let center: f32 = column
                .iter()
                .enumerate()
                .map(|(y, c)| (y as f32 + 0.5) * c)
                .sum::<f32>()
                / mass
                / 8.0;
            assert!(
                (mass / 8.0 - width_mm).abs() < 0.06,
                "{width_mm} mm drew {}",
                mass / 8.0
            );
            assert!((center - 6.3).abs() < 0.02, "centre at {center}");
        }
    }
}
