//! Where the grid's lines are, cell by cell, and the map that follows them.
//!
//! In: the ruling and a first map. Each 4 mm cell of paper sums the ruling times a wave of 1 mm
//! (and of 5 mm): the sum's phase is how far the lines lie off the map. Neighbouring cells are
//! smoothed together and the phases unwrapped from the strongest cell outwards. Out: a homography
//! fitted to all trusted cells, and the cells' residuals as a mesh.

use std::collections::BinaryHeap;

use rustfft::num_complex::Complex;

use super::ruling::Ruling;
use crate::page::{Homography, InPage, InPaper, Mesh, PageMap, Point};
use crate::units::Mm;

const CELL_MM: f32 = 4.0;
/// Cells are smoothed with a Gaussian of this width, in cells.
const SMOOTH_CELLS: f32 = 1.3;
/// A line's wave must be this much stronger than waves of other lengths.
const TRUST_MIN: f32 = 3.0;
/// Other lengths, which nothing on the page repeats with.
const OFF_TONES: [f32; 2] = [0.84, 1.19];
/// Neighbours' offsets differ by less than this share of the wave.
const JUMP_MAX: f32 = 0.33;
/// Node distance of the mesh.
const MESH_MM: f32 = 12.0;

/// What the cells say.
pub struct Fit {
    pub homography: Option<Homography>,
    /// Share of cells on the page in which both rulings are trusted.
    pub seen: f32,
    pub residual_mm: f32,
    /// The same over the better half of the cells.
    pub core_residual_mm: f32,
    anchors: Vec<Anchor>,
}

/// A place in the raster whose millimetres are known.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    paper: [f64; 2],
    px: [f64; 2],
    residual: [f32; 2],
}

/// Sums of one wave over all cells.
struct Wave {
    /// Along x, along y.
    sums: [Vec<Complex<f32>>; 2],
    length_mm: f32,
}

struct Cells {
    columns: usize,
    rows: usize,
    left_mm: f32,
    top_mm: f32,
    waves: Vec<Wave>,
    count: Vec<f32>,
}

pub fn fit(ruling: &Ruling, map: &PageMap) -> Fit {
    let cells = Cells::sum(ruling, map);
    let offsets: Vec<Vec<Option<f32>>> = (0..2).map(|axis| cells.offsets(axis)).collect();
    let full = cells.count.iter().fold(0f32, |a, b| a.max(*b));
    let on_page = cells.count.iter().filter(|count| **count > 0.5 * full).count();
    let mut anchors = Vec::new();
    for cell in 0..cells.count.len() {
        let (Some(dx), Some(dy)) = (offsets[0][cell], offsets[1][cell]) else { continue };
        let center = cells.center(cell);
        let px = map.to_page(center);
        anchors.push(Anchor {
            paper: [f64::from(center.x - dx), f64::from(center.y - dy)],
            px: [f64::from(px.x), f64::from(px.y)],
            residual: [0.0; 2],
        });
    }
    let seen = anchors.len() as f32 / on_page.max(1) as f32;
    let homography = robust(&mut anchors);
    let mut squares: Vec<f32> =
        anchors.iter().map(|a| a.residual[0].powi(2) + a.residual[1].powi(2)).collect();
    squares.sort_by(f32::total_cmp);
    let mean = |part: &[f32]| (part.iter().sum::<f32>() / part.len().max(1) as f32).sqrt();
    let (residual_mm, core_residual_mm) = (mean(&squares), mean(&squares[..squares.len() / 2]));
    Fit { homography, seen, residual_mm, core_residual_mm, anchors }
}

impl Cells {
    fn sum(ruling: &Ruling, map: &PageMap) -> Self {
        let corners = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(a, b)| {
            let x = (a * (ruling.width - 1)) as f32;
            let y = (b * (ruling.height - 1)) as f32;
            map.to_paper(Point::<InPage>::new(x, y))
        });
        let low = |f: fn(&Point<InPaper>) -> f32| corners.iter().map(f).fold(f32::MAX, f32::min);
        let high = |f: fn(&Point<InPaper>) -> f32| corners.iter().map(f).fold(f32::MIN, f32::max);
        let (left_mm, top_mm) = (low(|p| p.x), low(|p| p.y));
        let size = |span: f32| ((span / CELL_MM).ceil() as usize).clamp(2, 400);
        let (columns, rows) = (size(high(|p| p.x) - left_mm), size(high(|p| p.y) - top_mm));
        let count = columns * rows;
        let lengths = [1.0, 5.0, OFF_TONES[0], OFF_TONES[1], 5.0 * OFF_TONES[0], 5.0 * OFF_TONES[1]];
        let empty = || vec![Complex::default(); count];
        let waves = lengths.map(|length_mm| Wave { sums: [empty(), empty()], length_mm });
        let mut cells =
            Self { columns, rows, left_mm, top_mm, waves: waves.into(), count: vec![0.0; count] };
        cells.add(ruling, map);
        for wave in &mut cells.waves {
            for sums in &mut wave.sums {
                smooth(sums, columns);
            }
        }
        cells
    }

    fn add(&mut self, ruling: &Ruling, map: &PageMap) {
        let back = map.homography().inverse();
        let table: Vec<Complex<f32>> = (0..1024)
            .map(|k| Complex::from_polar(1.0, -std::f32::consts::TAU * k as f32 / 1024.0))
            .collect();
        let mean = ruling.dark.iter().sum::<f32>() / ruling.dark.len() as f32;
        for y in 0..ruling.height {
            for x in 0..ruling.width {
                let dark = ruling.dark[y * ruling.width + x] - mean;
                let (u, v) = back.apply(x as f64, y as f64);
                let (u, v) = (u as f32, v as f32);
                let column = ((u - self.left_mm) / CELL_MM) as usize;
                let row = ((v - self.top_mm) / CELL_MM) as usize;
                if column >= self.columns || row >= self.rows {
                    continue;
                }
                let cell = row * self.columns + column;
                self.count[cell] += 1.0;
                for wave in &mut self.waves {
                    for (axis, place) in [u, v].into_iter().enumerate() {
                        let turns = place / wave.length_mm;
                        let at = ((turns - turns.floor()) * 1024.0) as usize & 1023;
                        wave.sums[axis][cell] += table[at] * dark;
                    }
                }
            }
        }
    }

    fn center(&self, cell: usize) -> Point<InPaper> {
        let (column, row) = (cell % self.columns, cell / self.columns);
        Point::new(
            self.left_mm + (column as f32 + 0.5) * CELL_MM,
            self.top_mm + (row as f32 + 0.5) * CELL_MM,
        )
    }

    /// How far the lines lie beyond the map's whole millimetres, unwrapped, where trusted.
    fn offsets(&self, axis: usize) -> Vec<Option<f32>> {
        let trust = |on: usize, off: [usize; 2]| -> Vec<f32> {
            let size = |wave: usize, cell: usize| self.waves[wave].sums[axis][cell].norm();
            (0..self.count.len())
                .map(|cell| {
                    let noise = 0.5 * (size(off[0], cell) + size(off[1], cell));
                    size(on, cell) / noise.max(1e-6)
                })
                .collect()
        };
        let (fine, coarse) = (trust(0, [2, 3]), trust(1, [4, 5]));
        let good = |trust: &[f32]| trust.iter().filter(|t| **t > TRUST_MIN).count();
        let (wave, trust) = if good(&fine) * 10 >= good(&coarse) * 7 { (0, fine) } else { (1, coarse) };
        self.unwrap(axis, &self.waves[wave], &trust)
    }

    fn unwrap(&self, axis: usize, wave: &Wave, trust: &[f32]) -> Vec<Option<f32>> {
        let turns = |cell: usize| -wave.sums[axis][cell].arg() / std::f32::consts::TAU;
        let mut found: Vec<Option<f32>> = vec![None; trust.len()];
        let mut queue: BinaryHeap<(u32, usize, Option<usize>)> = BinaryHeap::new();
        let middle = Point::<InPaper>::new(
            self.left_mm + self.columns as f32 * CELL_MM / 2.0,
            self.top_mm + self.rows as f32 * CELL_MM / 2.0,
        );
        let nearness = |cell: usize| 1.0 / (1.0 + self.center(cell).distance(middle) / 100.0);
        let Some(first) = (0..trust.len())
            .max_by(|a, b| (trust[*a] * nearness(*a)).total_cmp(&(trust[*b] * nearness(*b))))
        else {
            return found;
        };
        queue.push((trust[first].to_bits(), first, None));
        while let Some((_, cell, from)) = queue.pop() {
            if found[cell].is_some() || trust[cell] < TRUST_MIN {
                continue;
            }
            let mut value = turns(cell);
            if let Some(near) = from.and_then(|from| found[from]) {
                let near = near / wave.length_mm;
                value += (near - value).round();
                if (value - near).abs() > JUMP_MAX {
                    continue;
                }
            }
            found[cell] = Some(value * wave.length_mm);
            let (column, row) = (cell % self.columns, cell / self.columns);
            for (dx, dy) in [(-1i64, 0i64), (1, 0), (0, -1), (0, 1), (-2, 0), (2, 0), (0, -2), (0, 2)] {
                let (x, y) = (column as i64 + dx, row as i64 + dy);
                if x >= 0 && y >= 0 && x < self.columns as i64 && y < self.rows as i64 {
                    let next = y as usize * self.columns + x as usize;
                    if found[next].is_none() {
                        queue.push((trust[next].to_bits(), next, Some(cell)));
                    }
                }
            }
        }
        found
    }
}

/// Gaussian over the cells, across then down.
fn smooth(values: &mut [Complex<f32>], columns: usize) {
    let kernel: Vec<f32> =
        (0..=4).map(|k| (-0.5 * (k as f32 / SMOOTH_CELLS).powi(2)).exp()).collect();
    let rows = values.len() / columns;
    let blend = |get: &dyn Fn(usize) -> Complex<f32>, at: usize, count: usize| {
        let mut sum = get(at) * kernel[0];
        for (d, weight) in kernel.iter().enumerate().skip(1) {
            if at >= d {
                sum += get(at - d) * *weight;
            }
            if at + d < count {
                sum += get(at + d) * *weight;
            }
        }
        sum
    };
    let before = values.to_vec();
    for (at, value) in values.iter_mut().enumerate() {
        let row = at / columns * columns;
        *value = blend(&|x| before[row + x], at % columns, columns);
    }
    let before = values.to_vec();
    for (at, value) in values.iter_mut().enumerate() {
        *value = blend(&|y| before[y * columns + at % columns], at / columns, rows);
    }
}

/// Least squares with the outliers' weight taken down (Tukey's biweight), four times.
fn robust(anchors: &mut [Anchor]) -> Option<Homography> {
    if anchors.len() < 12 {
        return None;
    }
    let mut weights = vec![1.0f64; anchors.len()];
    let mut found = None;
    for _ in 0..5 {
        let map = solve(anchors, &weights)?;
        let back = map.inverse();
        let mut sizes: Vec<f32> = Vec::with_capacity(anchors.len());
        for anchor in anchors.iter_mut() {
            let (x, y) = back.apply(anchor.px[0], anchor.px[1]);
            // The mesh is added to the paper's place before the homography.
            anchor.residual = [(x - anchor.paper[0]) as f32, (y - anchor.paper[1]) as f32];
            sizes.push(anchor.residual[0].hypot(anchor.residual[1]));
        }
        let mut sorted = sizes.clone();
        let middle = sorted.len() / 2;
        let reach = 4.0 * sorted.select_nth_unstable_by(middle, f32::total_cmp).1.max(0.03);
        for (weight, size) in weights.iter_mut().zip(&sizes) {
            let t = (size / reach).min(1.0);
            *weight = f64::from((1.0 - t * t).powi(2));
        }
        found = Some(map);
    }
    found
}

/// Homography from paper to raster by weighted linear least squares (Hartley & Zisserman, 4.1).
fn solve(anchors: &[Anchor], weights: &[f64]) -> Option<Homography> {
    // Both sides are shifted and scaled to about one, or the normal equations lose their digits.
    let (paper, px) = (Frame::of(anchors, |a| a.paper), Frame::of(anchors, |a| a.px));
    let mut normal = [[0.0f64; 9]; 8];
    for (anchor, weight) in anchors.iter().zip(weights) {
        let ([x, y], [u, v]) = (paper.apply(anchor.paper), px.apply(anchor.px));
        let rows = [
            ([x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y], u),
            ([0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y], v),
        ];
        for (row, right) in rows {
            for i in 0..8 {
                for j in 0..8 {
                    normal[i][j] += weight * row[i] * row[j];
                }
                normal[i][8] += weight * row[i] * right;
            }
        }
    }
    let h = eliminate(normal)?;
    let inner = Homography::new([h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], 1.0])?;
    let whole = px.matrix()?.inverse().after(&inner).after(&paper.matrix()?).matrix();
    Homography::new(whole.map(|v| v / whole[8]))
}

struct Frame {
    middle: [f64; 2],
    scale: f64,
}

impl Frame {
    fn of(anchors: &[Anchor], get: fn(&Anchor) -> [f64; 2]) -> Self {
        let n = anchors.len() as f64;
        let middle = [0, 1].map(|k| anchors.iter().map(|a| get(a)[k]).sum::<f64>() / n);
        let spread = anchors
            .iter()
            .map(|a| (get(a)[0] - middle[0]).hypot(get(a)[1] - middle[1]))
            .sum::<f64>();
        Self { middle, scale: n / spread.max(1e-9) }
    }

    fn apply(&self, p: [f64; 2]) -> [f64; 2] {
        [(p[0] - self.middle[0]) * self.scale, (p[1] - self.middle[1]) * self.scale]
    }

    fn matrix(&self) -> Option<Homography> {
        let (s, [x, y]) = (self.scale, self.middle);
        Homography::new([s, 0.0, -s * x, 0.0, s, -s * y, 0.0, 0.0, 1.0])
    }
}

fn eliminate(mut rows: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for column in 0..8 {
        let pivot = (column..8)
            .max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
        if rows[pivot][column].abs() < 1e-12 {
            return None;
        }
        rows.swap(column, pivot);
        let lead = rows[column];
        for (k, row) in rows.iter_mut().enumerate() {
            if k != column {
                let by = row[column] / lead[column];
                for (value, other) in row.iter_mut().zip(lead) {
                    *value -= by * other;
                }
            }
        }
    }
    Some(std::array::from_fn(|k| rows[k][8] / rows[k][k]))
}

impl Fit {
    /// The residuals, averaged around the nodes of a lattice.
    pub fn mesh(&self) -> Option<Mesh> {
        let bound = |k: usize, f: fn(f64, f64) -> f64, from: f64| {
            self.anchors.iter().fold(from, |a, anchor| f(a, anchor.paper[k])) as f32
        };
        let (left, top) = (bound(0, f64::min, f64::MAX), bound(1, f64::min, f64::MAX));
        let (right, bottom) = (bound(0, f64::max, f64::MIN), bound(1, f64::max, f64::MIN));
        let size = |span: f32| (span / MESH_MM).ceil() as usize + 1;
        let (columns, rows) = (size(right - left).max(2), size(bottom - top).max(2));
        if columns * rows > 10_000 {
            return None;
        }
        let mut sums = vec![[0f32; 3]; columns * rows];
        for anchor in &self.anchors {
            let u = (anchor.paper[0] as f32 - left) / MESH_MM;
            let v = (anchor.paper[1] as f32 - top) / MESH_MM;
            for (node, sum) in sums.iter_mut().enumerate() {
                let off = ((node % columns) as f32 - u).powi(2) + ((node / columns) as f32 - v).powi(2);
                if off < 9.0 {
                    let weight = (-off / 0.6).exp();
                    sum[0] += weight * anchor.residual[0];
                    sum[1] += weight * anchor.residual[1];
                    sum[2] += weight;
                }
            }
        }
        // Where no line was seen the mesh fades to the plane.
        let shift = sums.iter().map(|s| [s[0] / (s[2] + 0.05), s[1] / (s[2] + 0.05)]).collect();
        Some(Mesh::new(Point::new(left, top), Mm(MESH_MM), columns, rows, shift))
    }
}
