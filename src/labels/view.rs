//! The labels net's view of the page: the whole picture on one canvas, turned upright.
//!
//! In: the page's pixels and a quarter turn. Out: a `Picture` of 1280 x 960 px (960 x 1280 for a
//! portrait page), grey where the page ends, and `View`, which takes a place on the canvas back
//! to the page. Shrinking averages areas, enlarging is bilinear.

use crate::nets::Picture;
use crate::page::{InPage, Point, QuarterTurn, RawImage};

/// Longer and shorter side of the canvas; labels are about 3 mm high, so 12 px on an A4 page.
pub const CANVAS_PX: (usize, usize) = (1280, 960);
/// Grey of the canvas where there is no page.
pub(super) const FILL: u8 = 114;

/// Pixels of the net's canvas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnCanvas;

/// What is seen on a canvas.
pub trait Canvas {
    /// The place on the page that is seen at `point`.
    fn to_page(&self, point: Point<OnCanvas>) -> Point<InPage>;
}

/// How the page lies on the canvas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    turn: QuarterTurn,
    /// Canvas pixels a page pixel.
    scale: f32,
    /// Size of the shrunk page before the turn, canvas pixels.
    width: usize,
    height: usize,
}

impl View {
    pub fn new(image: &RawImage, turn: QuarterTurn) -> Self {
        let (width, height) = (image.width() as f32, image.height() as f32);
        let (long, short) = (width.max(height), width.min(height));
        let scale = (CANVAS_PX.0 as f32 / long).min(CANVAS_PX.1 as f32 / short);
        let size = |side: f32| ((side * scale).round() as usize).max(1);
        Self {
            turn,
            scale,
            width: size(width),
            height: size(height),
        }
    }

    /// Canvas pixels a page pixel.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Width and height of the canvas.
    pub fn canvas(&self) -> (usize, usize) {
        let (width, height) = self.turned();
        if width >= height {
            CANVAS_PX
        } else {
            (CANVAS_PX.1, CANVAS_PX.0)
        }
    }

    fn turned(&self) -> (usize, usize) {
        match self.turn {
            QuarterTurn::None | QuarterTurn::Half => (self.width, self.height),
            QuarterTurn::Right | QuarterTurn::Left => (self.height, self.width),
        }
    }

    /// Where `point` of the page is seen.
    pub fn to_canvas(&self, point: Point<InPage>) -> Point<OnCanvas> {
        let x = (point.x + 0.5) * self.scale - 0.5;
        let y = (point.y + 0.5) * self.scale - 0.5;
        let (right, bottom) = (self.width as f32 - 1.0, self.height as f32 - 1.0);
        match self.turn {
            QuarterTurn::None => Point::new(x, y),
            QuarterTurn::Half => Point::new(right - x, bottom - y),
            QuarterTurn::Right => Point::new(bottom - y, x),
            QuarterTurn::Left => Point::new(y, right - x),
        }
    }

    /// Draws the page as the net sees it.
    pub fn draw(&self, image: &RawImage) -> Picture {
        let shrunk = resize(image, self.width, self.height, self.scale);
        let (canvas_width, canvas_height) = self.canvas();
        let mut data = vec![FILL; 3 * canvas_width * canvas_height];
        let (width, height) = self.turned();
        for y in 0..height {
            for x in 0..width {
                let (from_x, from_y) = match self.turn {
                    QuarterTurn::None => (x, y),
                    QuarterTurn::Half => (self.width - 1 - x, self.height - 1 - y),
                    QuarterTurn::Right => (y, self.height - 1 - x),
                    QuarterTurn::Left => (self.width - 1 - y, x),
                };
                let from = 3 * (from_y * self.width + from_x);
                for channel in 0..3 {
                    data[(channel * canvas_height + y) * canvas_width + x] = shrunk[from + channel];
                }
            }
        }
        Picture::new(canvas_width, canvas_height, data)
    }
}

impl Canvas for View {
    fn to_page(&self, point: Point<OnCanvas>) -> Point<InPage> {
        let (right, bottom) = (self.width as f32 - 1.0, self.height as f32 - 1.0);
        let (x, y) = match self.turn {
            QuarterTurn::None => (point.x, point.y),
            QuarterTurn::Half => (right - point.x, bottom - point.y),
            QuarterTurn::Right => (point.y, bottom - point.x),
            QuarterTurn::Left => (right - point.y, point.x),
        };
        Point::new((x + 0.5) / self.scale - 0.5, (y + 0.5) / self.scale - 0.5)
    }
}

/// The picture at `width` x `height`, interleaved RGB.
fn resize(image: &RawImage, width: usize, height: usize, scale: f32) -> Vec<u8> {
    let weights = |from: usize, to: usize| {
        if scale < 1.0 {
            area_weights(from, to)
        } else {
            linear_weights(from, to)
        }
    };
    let (columns, rows) = (
        weights(image.width(), width),
        weights(image.height(), height),
    );
    let mut out = vec![0u8; 3 * width * height];
    let mut line = vec![0f32; 3 * image.width()];
    for (y, row) in rows.iter().enumerate() {
        line.fill(0.0);
        for (k, weight) in row.weights.iter().enumerate() {
            let from = 3 * (row.first + k) * image.width();
            let source = &image.rgb()[from..from + line.len()];
            for (sum, value) in line.iter_mut().zip(source) {
                *sum += weight * f32::from(*value);
            }
        }
        for (x, column) in columns.iter().enumerate() {
            for channel in 0..3 {
                let value: f32 = column
                    .weights
                    .iter()
                    .enumerate()
                    .map(|(k, weight)| weight * line[3 * (column.first + k) + channel])
                    .sum();
                out[3 * (y * width + x) + channel] = (value + 0.5) as u8;
            }
        }
    }
    out
}

/// Source pixels from `first` on, with weights that sum to one.
struct Weights {
    first: usize,
    weights: Vec<f32>,
}

fn area_weights(from: usize, to: usize) -> Vec<Weights> {
    let step = from as f32 / to as f32;
    (0..to)
        .map(|k| {
            let (start, end) = (k as f32 * step, ((k + 1) as f32 * step).min(from as f32));
            let (first, last) = (start as usize, (end.ceil() as usize).clamp(1, from));
            let part = |pixel: usize| {
                (end.min((pixel + 1) as f32) - start.max(pixel as f32)).max(0.0) / (end - start)
            };
            Weights {
                first,
                weights: (first..last).map(part).collect(),
            }
        })
        .collect()
}

fn linear_weights(from: usize, to: usize) -> Vec<Weights> {
    let step = from as f32 / to as f32;
    (0..to)
        .map(|k| {
            let at = ((k as f32 + 0.5) * step - 0.5).clamp(0.0, (from - 1) as f32);
            let first = (at as usize).min(from.saturating_sub(2));
            let share = at - first as f32;
            let weights = if from == 1 {
                vec![1.0]
            } else {
                vec![1.0 - share, share]
            };
            Weights { first, weights }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> RawImage {
        let rgb = (0..width * height)
            .flat_map(|k| {
                [
                    (k % width * 255 / width) as u8,
                    (k / width * 255 / height) as u8,
                    7,
                ]
            })
            .collect();
        RawImage::new(width, height, rgb).unwrap()
    }

    #[test]
    fn every_turn_shows_the_pixel_that_the_map_names() {
        for (width, height) in [(2560, 1700), (700, 900)] {
            let image = ramp(width, height);
            for turn in QuarterTurn::ALL {
                let view = View::new(&image, turn);
                let picture = view.draw(&image);
                let (canvas_width, _) = view.canvas();
                let at = Point::<InPage>::new(width as f32 * 0.3, height as f32 * 0.6);
                let seen = view.to_canvas(at);
                let back = view.to_page(seen);
                assert!(
                    back.distance(at) < 0.01,
                    "{turn:?}: {at:?} came back as {back:?}"
                );
                let index = seen.y.round() as usize * canvas_width + seen.x.round() as usize;
                let red = f32::from(picture.data()[index]);
                assert!((red - 255.0 * 0.3).abs() < 3.0, "{turn:?}: red {red}");
            }
        }
    }

    #[test]
    fn weights_sum_to_one() {
        for (from, to) in [(2481, 1280), (1000, 999), (64, 64)] {
            for w in area_weights(from, to) {
                assert!((w.weights.iter().sum::<f32>() - 1.0).abs() < 1e-3);
                assert!(w.first + w.weights.len() <= from);
            }
        }
    }
}
