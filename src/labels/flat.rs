//! The labels net's view of the ruled paper, laid flat.
//!
//! In: the page map that the grid gave, the ruled part of the paper, a quarter turn. Out: a
//! `Picture` of the canvas' size, and `FlatView`, which takes a place on it back to the page. A
//! sheet that lies askew, small or bent in the picture is seen upright and as large as the canvas
//! allows. Each canvas pixel is the mean of the page's pixels that it covers.

use super::view::{CANVAS_PX, Canvas, FILL, OnCanvas};
use crate::nets::Picture;
use crate::page::{Bounds, InPage, InPaper, PageMap, Point, QuarterTurn, RawImage};

/// Canvas pixels between two exact evaluations of the page map.
const MAP_STEP_PX: usize = 16;
/// Samples a side of a canvas pixel, at most.
const SAMPLES_MAX: usize = 4;

/// How the paper lies on the canvas.
#[derive(Clone, Debug)]
pub struct FlatView<'a> {
    map: &'a PageMap,
    turn: QuarterTurn,
    area: Bounds<InPaper>,
    px_per_mm: f32,
}

impl<'a> FlatView<'a> {
    /// `turn` brings the writing upright that is seen on `map`'s paper.
    pub fn new(map: &'a PageMap, area: Bounds<InPaper>, turn: QuarterTurn) -> Self {
        let (width, height) = (area.right - area.left, area.bottom - area.top);
        let (long, short) = (width.max(height).max(1.0), width.min(height).max(1.0));
        let px_per_mm = (CANVAS_PX.0 as f32 / long).min(CANVAS_PX.1 as f32 / short);
        Self {
            map,
            turn,
            area,
            px_per_mm,
        }
    }

    /// Canvas pixels a page pixel, near the middle: above 1 there is nothing more to be seen.
    pub fn scale(&self) -> f32 {
        let middle = Point::new(
            (self.area.left + self.area.right) / 2.0,
            (self.area.top + self.area.bottom) / 2.0,
        );
        let (x, y) = self.map.resolution(middle);
        self.px_per_mm / (x.0 * y.0).sqrt().max(1e-3)
    }

    fn canvas(&self) -> (usize, usize) {
        let (width, height) = (
            self.area.right - self.area.left,
            self.area.bottom - self.area.top,
        );
        let lies = match self.turn {
            QuarterTurn::None | QuarterTurn::Half => width >= height,
            QuarterTurn::Right | QuarterTurn::Left => height >= width,
        };
        if lies {
            CANVAS_PX
        } else {
            (CANVAS_PX.1, CANVAS_PX.0)
        }
    }

    fn to_paper(&self, point: Point<OnCanvas>) -> Point<InPaper> {
        let (u, v) = (
            (point.x + 0.5) / self.px_per_mm,
            (point.y + 0.5) / self.px_per_mm,
        );
        let Bounds {
            left,
            top,
            right,
            bottom,
            ..
        } = self.area;
        match self.turn {
            QuarterTurn::None => Point::new(left + u, top + v),
            QuarterTurn::Half => Point::new(right - u, bottom - v),
            QuarterTurn::Right => Point::new(left + v, bottom - u),
            QuarterTurn::Left => Point::new(right - v, top + u),
        }
    }

    /// Draws the paper as the net sees it.
    pub fn draw(&self, image: &RawImage) -> Picture {
        let (width, height) = self.canvas();
        let mut data = vec![FILL; 3 * width * height];
        let samples = ((1.0 / self.scale()).ceil() as usize).clamp(1, SAMPLES_MAX);
        let step = MAP_STEP_PX as f32;
        for top in (0..height).step_by(MAP_STEP_PX) {
            for left in (0..width).step_by(MAP_STEP_PX) {
                let corner = |x: f32, y: f32| {
                    self.to_page(Point::new(left as f32 + x - 0.5, top as f32 + y - 0.5))
                };
                let corners = [
                    corner(0.0, 0.0),
                    corner(step, 0.0),
                    corner(0.0, step),
                    corner(step, step),
                ];
                for y in top..(top + MAP_STEP_PX).min(height) {
                    for x in left..(left + MAP_STEP_PX).min(width) {
                        let at = [(x - left) as f32 / step, (y - top) as f32 / step];
                        let Some(rgb) = mean(image, &corners, at, samples) else {
                            continue;
                        };
                        for (channel, value) in rgb.into_iter().enumerate() {
                            data[(channel * height + y) * width + x] = value;
                        }
                    }
                }
            }
        }
        Picture::new(width, height, data)
    }
}

impl Canvas for FlatView<'_> {
    fn to_page(&self, point: Point<OnCanvas>) -> Point<InPage> {
        self.map.to_page(self.to_paper(point))
    }
}

/// Mean colour of a canvas pixel whose upper left corner lies at `at`, 0 to 1 between four corners;
/// `None` beside the picture.
fn mean(
    image: &RawImage,
    corners: &[Point<InPage>; 4],
    at: [f32; 2],
    samples: usize,
) -> Option<[u8; 3]> {
    let side = 1.0 / MAP_STEP_PX as f32;
    let (mut sums, mut count) = ([0u32; 3], 0u32);
    for k in 0..samples * samples {
        let part = |k: usize| (k as f32 + 0.5) / samples as f32 * side;
        let (u, v) = (at[0] + part(k % samples), at[1] + part(k / samples));
        let blend = |f: fn(&Point<InPage>) -> f32| {
            let top = f(&corners[0]) * (1.0 - u) + f(&corners[1]) * u;
            let base = f(&corners[2]) * (1.0 - u) + f(&corners[3]) * u;
            top * (1.0 - v) + base * v
        };
        let (x, y) = (blend(|p| p.x).round(), blend(|p| p.y).round());
        if x < 0.0 || y < 0.0 || x >= image.width() as f32 || y >= image.height() as f32 {
            continue;
        }
        let pixel = image.pixel(x as usize, y as usize);
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += u32::from(value);
        }
        count += 1;
    }
    (count > 0).then(|| sums.map(|sum| (sum / count) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Homography;

    /// A picture in which the paper lies turned by 0.3 rad, its middle black.
    #[test]
    fn the_paper_is_seen_upright_from_each_side() {
        let tilt = Homography::similarity(4.0, 4.0, 0.3, (300.0, 260.0)).unwrap();
        let map = PageMap::new(tilt, None);
        let mut rgb = vec![200u8; 3 * 640 * 520];
        for y in 0..520 {
            for x in 0..640 {
                let paper = map.to_paper(Point::new(x as f32, y as f32));
                if (paper.x - 30.0).abs() < 3.0 && (paper.y + 10.0).abs() < 3.0 {
                    rgb[3 * (y * 640 + x)..3 * (y * 640 + x) + 3].fill(0);
                }
            }
        }
        let image = RawImage::new(640, 520, rgb).unwrap();
        let area = Bounds::new(-64.0, -48.0, 64.0, 48.0);
        for turn in QuarterTurn::ALL {
            let view = FlatView::new(&map, area, turn);
            let picture = view.draw(&image);
            let (width, height) = (picture.width(), picture.height());
            let dark: Vec<Point<OnCanvas>> = (0..width * height)
                .filter(|k| picture.data()[*k] < 50)
                .map(|k| Point::new((k % width) as f32, (k / width) as f32))
                .collect();
            // 6 mm at 10 px/mm.
            assert!(dark.len().abs_diff(3600) < 300, "{} px", dark.len());
            for point in dark {
                let paper = map.to_paper(view.to_page(point));
                assert!(
                    paper.distance(Point::new(30.0, -10.0)) < 4.8,
                    "{turn:?}: {paper:?}"
                );
            }
        }
    }
}
