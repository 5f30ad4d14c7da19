//! The page as a picture, and the map between its pixels and the paper.
//!
//! In: decoded RGB pixels. Out: `RawImage`, and `PageMap`, a 2-D map with an inverse between
//! `InPage` (pixels, centres at integers) and `InPaper` (millimetres on the flat page, x along
//! time, y down, origin anywhere). Never a row of axis-aligned offsets: a homography carries
//! rotation and perspective, a mesh of displacements carries what the paper does locally.
//!
//! ```text
//!   InPaper (mm)  --homography of (p + mesh(p))-->  InPage (px)
//! ```

use std::marker::PhantomData;

use crate::math;
use crate::units::{Mm, PxPerMm};

/// Pixels of the captured picture, EXIF orientation already applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InPage;
/// Millimetres on the flat paper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InPaper;
/// Pixels of a panel's crop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InPanel;

/// A position in the raster `R`.
#[derive(Debug, PartialEq)]
pub struct Point<R> {
    pub x: f32,
    pub y: f32,
    raster: PhantomData<R>,
}

impl<R> Clone for Point<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Point<R> {}

impl<R> Point<R> {
    pub const fn new(x: f32, y: f32) -> Self {
        Self {
            x,
            y,
            raster: PhantomData,
        }
    }

    /// Euclidean distance, in the raster's own unit.
    pub fn distance(self, other: Self) -> f32 {
        math::hypot(self.x - other.x, self.y - other.y)
    }
}

/// An axis-aligned box in the raster `R`; `left <= right` and `top <= bottom`.
#[derive(Debug, PartialEq)]
pub struct Bounds<R> {
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
    raster: PhantomData<R>,
}

impl<R> Clone for Bounds<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Bounds<R> {}

impl<R> Bounds<R> {
    pub fn new(left: f32, top: f32, right: f32, bottom: f32) -> Self {
        assert!(left <= right, "left {left} right of {right}");
        assert!(top <= bottom, "top {top} below {bottom}");
        Self {
            left,
            top,
            right,
            bottom,
            raster: PhantomData,
        }
    }

    pub fn center(&self) -> Point<R> {
        Point::new(
            (self.left + self.right) / 2.0,
            (self.top + self.bottom) / 2.0,
        )
    }

    pub fn width(&self) -> f32 {
        self.right - self.left
    }

    pub fn height(&self) -> f32 {
        self.bottom - self.top
    }

    /// Intersection over union with `other`, 0 to 1.
    pub fn overlap(&self, other: &Self) -> f32 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let both = width * height;
        both / (self.width() * self.height() + other.width() * other.height() - both)
    }
}

/// An RGB picture, 8 bits a channel, rows from the top.
///
/// Invariant: `rgb.len() == 3 * width * height`, both sides between 1 and `limits::SIDE_PX_MAX`.
#[derive(Clone, Debug)]
pub struct RawImage {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

/// Why bytes are not a picture that a page can be read from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ImageError {
    #[error("picture of {width} x {height} px; sides from {min} to {max} px are read")]
    Size {
        width: usize,
        height: usize,
        min: usize,
        max: usize,
    },
    #[error("{found} bytes of pixels where {needed} are needed")]
    Pixels { found: usize, needed: usize },
}

impl RawImage {
    pub fn new(width: usize, height: usize, rgb: Vec<u8>) -> Result<Self, ImageError> {
        let (min, max) = (crate::limits::SIDE_PX_MIN, crate::limits::SIDE_PX_MAX);
        if !(min..=max).contains(&width) || !(min..=max).contains(&height) {
            return Err(ImageError::Size {
                width,
                height,
                min,
                max,
            });
        }
        let needed = 3 * width * height;
        if rgb.len() != needed {
            return Err(ImageError::Pixels {
                found: rgb.len(),
                needed,
            });
        }
        Ok(Self { width, height, rgb })
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    /// All pixels, `[r, g, b]` after `[r, g, b]`, rows from the top.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The brightest channel of the pixel at a place; `None` outside the picture. A coloured grid is
    /// bright in its own channel, ink is dark in all.
    pub fn brightest(&self, at: Point<InPage>) -> Option<f32> {
        let (x, y) = (at.x.round(), at.y.round());
        let is_inside = x >= 0.0 && y >= 0.0 && x < self.width as f32 && y < self.height as f32;
        is_inside.then(|| {
            let [r, g, b] = self.pixel(x as usize, y as usize);
            f32::from(r.max(g).max(b))
        })
    }

    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = 3 * (y * self.width + x);
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }
}

/// A projective map of the plane, row-major, `h[8]` normalised to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Homography {
    h: [f64; 9],
}

impl Homography {
    /// `None` where the matrix has no inverse.
    pub fn new(h: [f64; 9]) -> Option<Self> {
        let map = Self { h };
        (map.determinant().abs() > 1e-12 && h.iter().all(|v| v.is_finite())).then_some(map)
    }

    /// Scales by `px_per_mm`, turns clockwise by `angle_rad` about the origin, then shifts.
    pub fn similarity(
        x_scale: f64,
        y_scale: f64,
        angle_rad: f64,
        shift: (f64, f64),
    ) -> Option<Self> {
        let (sin, cos) = math::sin_cos_f64(angle_rad);
        Self::new([
            x_scale * cos,
            -y_scale * sin,
            shift.0,
            x_scale * sin,
            y_scale * cos,
            shift.1,
            0.0,
            0.0,
            1.0,
        ])
    }

    pub fn matrix(&self) -> [f64; 9] {
        self.h
    }

    fn determinant(&self) -> f64 {
        let h = &self.h;
        h[0] * (h[4] * h[8] - h[5] * h[7]) - h[1] * (h[3] * h[8] - h[5] * h[6])
            + h[2] * (h[3] * h[7] - h[4] * h[6])
    }

    pub fn apply(&self, x: f64, y: f64) -> (f64, f64) {
        let h = &self.h;
        let w = h[6] * x + h[7] * y + h[8];
        (
            (h[0] * x + h[1] * y + h[2]) / w,
            (h[3] * x + h[4] * y + h[5]) / w,
        )
    }

    pub fn inverse(&self) -> Self {
        let h = &self.h;
        let d = self.determinant();
        let minor = |a: usize, b: usize, c: usize, e: usize| (h[a] * h[e] - h[b] * h[c]) / d;
        Self {
            h: [
                minor(4, 5, 7, 8),
                minor(2, 1, 8, 7),
                minor(1, 2, 4, 5),
                minor(5, 3, 8, 6),
                minor(0, 2, 6, 8),
                minor(2, 0, 5, 3),
                minor(3, 4, 6, 7),
                minor(1, 0, 7, 6),
                minor(0, 1, 3, 4),
            ],
        }
    }

    /// First `inner`, then `self`.
    pub fn after(&self, inner: &Self) -> Self {
        let mut h = [0.0; 9];
        for (at, value) in h.iter_mut().enumerate() {
            let (row, column) = (at / 3, at % 3);
            *value = (0..3)
                .map(|k| self.h[3 * row + k] * inner.h[3 * k + column])
                .sum();
        }
        Self { h }
    }
}

/// Displacements on a regular lattice over the paper, bilinear between nodes, constant outside.
///
/// Invariant: `shift_mm.len() == columns * rows`, both at least 2, `step_mm > 0`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh {
    left_mm: f32,
    top_mm: f32,
    step_mm: f32,
    columns: usize,
    rows: usize,
    shift_mm: Vec<[f32; 2]>,
}

impl Mesh {
    pub fn new(
        origin: Point<InPaper>,
        step: Mm,
        columns: usize,
        rows: usize,
        shift_mm: Vec<[f32; 2]>,
    ) -> Self {
        assert!(columns >= 2 && rows >= 2, "a mesh has at least 2 x 2 nodes");
        assert!(step.0 > 0.0, "a mesh has a positive step");
        assert_eq!(shift_mm.len(), columns * rows, "one shift a node");
        Self {
            left_mm: origin.x,
            top_mm: origin.y,
            step_mm: step.0,
            columns,
            rows,
            shift_mm,
        }
    }

    /// Displacement at `point`, millimetres.
    pub fn shift(&self, point: Point<InPaper>) -> [f32; 2] {
        let u = ((point.x - self.left_mm) / self.step_mm).clamp(0.0, (self.columns - 1) as f32);
        let v = ((point.y - self.top_mm) / self.step_mm).clamp(0.0, (self.rows - 1) as f32);
        let (column, row) = (
            (u as usize).min(self.columns - 2),
            (v as usize).min(self.rows - 2),
        );
        let (fu, fv) = (u - column as f32, v - row as f32);
        let node = |c: usize, r: usize| self.shift_mm[r * self.columns + c];
        let (a, b) = (node(column, row), node(column + 1, row));
        let (c, d) = (node(column, row + 1), node(column + 1, row + 1));
        std::array::from_fn(|k| {
            (a[k] * (1.0 - fu) + b[k] * fu) * (1.0 - fv) + (c[k] * (1.0 - fu) + d[k] * fu) * fv
        })
    }
}

/// The map between the paper's millimetres and the picture's pixels.
#[derive(Clone, Debug)]
pub struct PageMap {
    paper_to_page: Homography,
    page_to_paper: Homography,
    mesh: Option<Mesh>,
}

/// Length over which a tilt is taken.
const TILT_MM: f32 = 20.0;

impl PageMap {
    pub fn new(paper_to_page: Homography, mesh: Option<Mesh>) -> Self {
        Self {
            paper_to_page,
            page_to_paper: paper_to_page.inverse(),
            mesh,
        }
    }

    pub fn homography(&self) -> &Homography {
        &self.paper_to_page
    }

    pub fn to_page(&self, point: Point<InPaper>) -> Point<InPage> {
        let [dx, dy] = self
            .mesh
            .as_ref()
            .map_or([0.0; 2], |mesh| mesh.shift(point));
        let (x, y) = self
            .paper_to_page
            .apply(f64::from(point.x + dx), f64::from(point.y + dy));
        Point::new(x as f32, y as f32)
    }

    /// The inverse without the mesh: near `to_paper`, and cheap.
    pub fn flat_to_paper(&self, x_px: f32, y_px: f32) -> Point<InPaper> {
        let (x, y) = self.page_to_paper.apply(f64::from(x_px), f64::from(y_px));
        Point::new(x as f32, y as f32)
    }

    /// The inverse; the mesh is undone by fixed-point steps, exact to 0.01 mm for a mesh whose
    /// shifts change by less than half a millimetre a millimetre.
    pub fn to_paper(&self, point: Point<InPage>) -> Point<InPaper> {
        let (x, y) = self
            .page_to_paper
            .apply(f64::from(point.x), f64::from(point.y));
        let flat = Point::new(x as f32, y as f32);
        let Some(mesh) = &self.mesh else { return flat };
        let mut guess = flat;
        for _ in 0..12 {
            let [dx, dy] = mesh.shift(guess);
            guess = Point::new(flat.x - dx, flat.y - dy);
        }
        guess
    }

    /// Angle of the paper's x in the picture at `point`, clockwise, radians.
    pub fn tilt_rad(&self, point: Point<InPaper>) -> f32 {
        let here = self.to_page(point);
        let right = self.to_page(Point::new(point.x + TILT_MM, point.y));
        math::atan2(right.y - here.y, right.x - here.x)
    }

    /// Pixels a millimetre along the paper's x and y at `point`.
    pub fn resolution(&self, point: Point<InPaper>) -> (PxPerMm, PxPerMm) {
        let here = self.to_page(point);
        let right = self.to_page(Point::new(point.x + 1.0, point.y));
        let below = self.to_page(Point::new(point.x, point.y + 1.0));
        (PxPerMm(here.distance(right)), PxPerMm(here.distance(below)))
    }
}

/// A quarter turn that brings the page upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarterTurn {
    None,
    Right,
    Half,
    Left,
}

impl QuarterTurn {
    pub const ALL: [Self; 4] = [Self::None, Self::Half, Self::Right, Self::Left];

    /// This turn, and then another.
    pub fn then(self, other: Self) -> Self {
        const IN_ORDER: [QuarterTurn; 4] = [
            QuarterTurn::None,
            QuarterTurn::Right,
            QuarterTurn::Half,
            QuarterTurn::Left,
        ];
        let count = |turn| IN_ORDER.iter().position(|t| *t == turn).unwrap_or(0);
        IN_ORDER[(count(self) + count(other)) % 4]
    }

    /// Clockwise angle of the turn, radians.
    pub fn angle_rad(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Right => std::f64::consts::FRAC_PI_2,
            Self::Half => std::f64::consts::PI,
            Self::Left => -std::f64::consts::FRAC_PI_2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> PageMap {
        let turn = Homography::similarity(8.0, 7.9, 0.05, (120.0, 80.0)).unwrap();
        let bend = Homography::new([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1e-5, 2e-5, 1.0]).unwrap();
        let shift = (0..6 * 5)
            .map(|k| [(k % 7) as f32 * 0.1, (k % 5) as f32 * -0.12])
            .collect();
        let mesh = Mesh::new(Point::new(-10.0, -10.0), Mm(50.0), 6, 5, shift);
        PageMap::new(bend.after(&turn), Some(mesh))
    }

    #[test]
    fn a_point_comes_back_from_the_page() {
        let map = map();
        for (x, y) in [(0.0, 0.0), (37.5, 12.25), (180.0, 140.0), (-20.0, 300.0)] {
            let back = map.to_paper(map.to_page(Point::new(x, y)));
            assert!(
                back.distance(Point::new(x, y)) < 0.01,
                "{x} {y} came back as {back:?}"
            );
        }
    }

    #[test]
    fn a_picture_with_missing_pixels_is_refused() {
        let error = RawImage::new(100, 100, vec![0; 299]).unwrap_err();
        assert_eq!(
            error,
            ImageError::Pixels {
                found: 299,
                needed: 30_000
            }
        );
    }
}
