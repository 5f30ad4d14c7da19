//! Ink on white paper: lines with round ends and letters of strokes, in millimetres.
//!
//! In: a sheet's size and resolution, lines, texts. Out: a picture, 8 bits a channel. Edges are
//! smoothed over a pixel; where two inks meet the darker one stays. Only arithmetic that IEEE 754
//! fixes, so that the same sheet has the same bytes everywhere. What lies beside the sheet is not
//! drawn.

use crate::page::{ImageError, RawImage};
use crate::stroke;

/// A sheet of paper, from its upper left corner.
pub struct Sheet {
    width_px: usize,
    height_px: usize,
    px_per_mm: f32,
    rgb: Vec<u8>,
}

/// A pen: its width and its colour.
#[derive(Clone, Copy, Debug)]
pub struct Pen {
    pub width_mm: f32,
    pub color: [u8; 3],
}

impl Sheet {
    /// White; both sides are rounded to whole pixels.
    pub fn new(width_mm: f32, height_mm: f32, px_per_mm: f32) -> Self {
        let px = |mm: f32| (mm * px_per_mm).round() as usize;
        let (width_px, height_px) = (px(width_mm), px(height_mm));
        Self {
            width_px,
            height_px,
            px_per_mm,
            rgb: vec![255; 3 * width_px * height_px],
        }
    }

    pub fn into_picture(self) -> Result<RawImage, ImageError> {
        RawImage::new(self.width_px, self.height_px, self.rgb)
    }

    /// A line through `points_mm`.
    pub fn polyline(&mut self, pen: Pen, points_mm: &[[f32; 2]]) {
        for pair in points_mm.windows(2) {
            self.line(pen, pair[0], pair[1]);
        }
    }

    /// A line from one point to another.
    pub fn line(&mut self, pen: Pen, from_mm: [f32; 2], to_mm: [f32; 2]) {
        // Centres of pixels are at halves.
        let px = |point: [f32; 2]| point.map(|mm| mm * self.px_per_mm - 0.5);
        let (from, to) = (px(from_mm), px(to_mm));
        let reach = pen.width_mm * self.px_per_mm / 2.0 + 0.5;
        let span = |axis: usize, size: usize| {
            let low = (from[axis].min(to[axis]) - reach).ceil().max(0.0) as usize;
            let high = (from[axis].max(to[axis]) + reach).floor() + 1.0;
            low..(high.max(0.0) as usize).min(size)
        };
        for y in span(1, self.height_px) {
            for x in span(0, self.width_px) {
                let ink = (reach - distance([x as f32, y as f32], from, to)).clamp(0.0, 1.0);
                let pixel = &mut self.rgb[3 * (y * self.width_px + x)..][..3];
                for (value, color) in pixel.iter_mut().zip(pen.color) {
                    let drawn = 255.0 - ink * (255.0 - f32::from(color));
                    *value = (*value).min(drawn.round() as u8);
                }
            }
        }
    }

    /// Writes `text` with its baseline beginning at `place_mm`.
    pub fn text(&mut self, pen: Pen, text: &str, place_mm: [f32; 2], capital_mm: f32) {
        let unit = capital_mm / stroke::CAPITAL_HEIGHT;
        for (k, character) in text.chars().enumerate() {
            let left = place_mm[0] + k as f32 * stroke::ADVANCE * unit;
            let top = place_mm[1] - capital_mm;
            for points in stroke::strokes(character) {
                let set = |[x, y]: [f32; 2]| [left + x * unit, top + y * unit];
                let points: Vec<_> = points.into_iter().map(set).collect();
                self.polyline(pen, &points);
            }
        }
    }
}

/// From a point to a line between two others.
fn distance(point: [f32; 2], from: [f32; 2], to: [f32; 2]) -> f32 {
    let along = [to[0] - from[0], to[1] - from[1]];
    let off = [point[0] - from[0], point[1] - from[1]];
    let square = along[0] * along[0] + along[1] * along[1];
    let share = if square > 0.0 {
        ((off[0] * along[0] + off[1] * along[1]) / square).clamp(0.0, 1.0)
    } else {
        0.0
    };
    let (x, y) = (off[0] - share * along[0], off[1] - share * along[1]);
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_wide_as_its_pen_and_where_it_was_put() {
        let mut sheet = Sheet::new(20.0, 20.0, 10.0);
        let black = Pen {
            width_mm: 0.4,
            color: [0; 3],
        };
        sheet.line(black, [2.0, 5.0], [12.0, 5.0]);
        let picture = sheet.into_picture().unwrap();
        let dark = |x: usize, y: usize| 255.0 - f32::from(picture.pixel(x, y)[0]);
        let ink: f32 = (0..200).map(|y| dark(70, y) / 255.0).sum();
        assert!((ink - 4.0).abs() < 0.01, "{ink} px");
        let middle: f32 = (0..200)
            .map(|y| (y as f32 + 0.5) * dark(70, y) / 255.0)
            .sum();
        assert!((middle / ink - 50.0).abs() < 0.01, "{}", middle / ink);
        assert!(dark(21, 49) > 250.0 && dark(16, 49) == 0.0 && dark(124, 49) == 0.0);
    }

    #[test]
    fn what_lies_beside_the_sheet_is_left_out() {
        let mut sheet = Sheet::new(10.0, 10.0, 10.0);
        let pen = Pen {
            width_mm: 1.0,
            color: [0; 3],
        };
        sheet.line(pen, [-50.0, 5.0], [50.0, 5.0]);
        sheet.text(pen, "aVR", [-5.0, 30.0], 3.0);
        assert_eq!(sheet.into_picture().unwrap().pixel(99, 50), [0; 3]);
    }
}
