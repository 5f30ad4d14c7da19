//! One lead's strip of the page, resampled once, straight from the picture, as the trace net
//! wants it.
//!
//! In: the picture, the page map, the strip on the paper. Out: a `Picture` of three channels at
//! 8 px/mm: the brightest and the darkest of red, green and blue over the paper's own level, and
//! the height above or below the row's zero line. Colour stays in (a coloured grid is bright in
//! its own channel, ink is dark in all), light and shadow go out. Outside the picture is paper.

mod part;

use part::{Part, Reduction, Walk};

use crate::nets::Picture;
use crate::page::{InPage, InPanel, InPaper, PageMap, Point, RawImage};
use crate::units::Mm;

/// Resolution of a crop, both axes.
pub const CROP_PX_PER_MM: f32 = 8.0;
/// What paper is scaled to; ink and shine leave room below and above.
pub const PAPER_LEVEL: f32 = 200.0;
/// Height of the zero line in the third channel, and its steps a millimetre.
const ROW_ZERO: f32 = 128.0;
const ROW_STEPS_PER_MM: f32 = 2.0;
/// Paper's level is taken over this length of the row, and as this share of its pixels.
const LEVEL_BLOCK_PX: usize = 192;
const LEVEL_SHARE: f32 = 0.9;
/// Where paper is darker than this there is no page.
const LEVEL_MIN: f32 = 8.0;

/// A strip of paper along a row: where the crop's pixels lie.
///
/// Invariant: width and height are positive multiples of 32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strip {
    left: Mm,
    /// The row's zero line at x = 0 of the paper, and its rise.
    zero_at_origin: Mm,
    slope: f32,
    width_px: usize,
    height_px: usize,
}

impl Strip {
    /// A strip from `left` on, with the row's zero line (through the two given points) in the
    /// middle of its height.
    pub fn new(left: Mm, zero: [Point<InPaper>; 2], width_px: usize, height_px: usize) -> Self {
        assert!(
            width_px > 0 && width_px.is_multiple_of(32),
            "width of {width_px} px"
        );
        assert!(
            height_px > 0 && height_px.is_multiple_of(32),
            "height of {height_px} px"
        );
        let run = zero[1].x - zero[0].x;
        let slope = if run.abs() > 1.0 {
            (zero[1].y - zero[0].y) / run
        } else {
            0.0
        };
        let zero_at_origin = Mm(zero[0].y - slope * zero[0].x);
        Self {
            left,
            zero_at_origin,
            slope,
            width_px,
            height_px,
        }
    }

    pub fn width_px(&self) -> usize {
        self.width_px
    }

    pub fn height_px(&self) -> usize {
        self.height_px
    }

    /// Height of the row's zero line at `x`.
    pub fn zero(&self, x: Mm) -> Mm {
        Mm(self.zero_at_origin.0 + self.slope * x.0)
    }

    pub fn to_paper(&self, point: Point<InPanel>) -> Point<InPaper> {
        let x = self.left.0 + (point.x + 0.5) / CROP_PX_PER_MM;
        let below = (point.y + 0.5 - self.height_px as f32 / 2.0) / CROP_PX_PER_MM;
        Point::new(x, self.zero(Mm(x)).0 + below)
    }

    pub fn to_panel(&self, point: Point<InPaper>) -> Point<InPanel> {
        let below = point.y - self.zero(Mm(point.x)).0;
        Point::new(
            (point.x - self.left.0) * CROP_PX_PER_MM - 0.5,
            below * CROP_PX_PER_MM + self.height_px as f32 / 2.0 - 0.5,
        )
    }
}

/// Draws `strip` as the trace net sees it.
pub fn draw(image: &RawImage, map: &PageMap, strip: &Strip) -> Picture {
    let (width, height) = (strip.width_px, strip.height_px);
    let plane = width * height;
    let mut bright = vec![f32::NAN; plane];
    let mut dark = vec![f32::NAN; plane];
    sample(image, map, strip, &mut bright, &mut dark);
    let mut data = vec![0u8; 3 * plane];
    let (first, rest) = data.split_at_mut(plane);
    let (second, third) = rest.split_at_mut(plane);
    flatten(&bright, width, first);
    flatten(&dark, width, second);
    for (y, row) in third.chunks_exact_mut(width).enumerate() {
        let below = (y as f32 + 0.5 - height as f32 / 2.0) / CROP_PX_PER_MM;
        row.fill(
            (ROW_ZERO + ROW_STEPS_PER_MM * below)
                .round()
                .clamp(0.0, 255.0) as u8,
        );
    }
    Picture::new(width, height, data)
}

/// Columns between two exact evaluations of the page map; it is smooth over 2 mm.
const MAP_STEP_PX: usize = 16;
/// Steps along a side of the cells that are drawn one by one.
const CELL_STEPS: usize = 2;
const CELL_PX: usize = CELL_STEPS * MAP_STEP_PX;

fn sample(image: &RawImage, map: &PageMap, strip: &Strip, bright: &mut [f32], dark: &mut [f32]) {
    let place = |column: usize, row: usize| {
        let at = [column, row].map(|step| (step * MAP_STEP_PX) as f32);
        map.to_page(strip.to_paper(Point::new(at[0], at[1])))
    };
    let mut part = Part::new(image, reduction(map, strip));
    let (columns, rows) = (strip.width_px / CELL_PX, strip.height_px / CELL_PX);
    for (column, row) in (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row))) {
        let places: Places = std::array::from_fn(|down| {
            std::array::from_fn(|right| place(CELL_STEPS * column + right, CELL_STEPS * row + down))
        });
        if part.surround(places.as_flattened()).is_none() {
            continue;
        }
        let first = row * CELL_PX * strip.width_px + column * CELL_PX;
        let lines = bright[first..].chunks_mut(strip.width_px);
        let lines = lines.zip(dark[first..].chunks_mut(strip.width_px));
        for (y, (bright, dark)) in lines.take(CELL_PX).enumerate() {
            sample_line(
                &part,
                &places,
                y,
                (&mut bright[..CELL_PX], &mut dark[..CELL_PX]),
            );
        }
    }
}

/// Where a cell's steps lie, row by row.
type Places = [[Point<InPage>; CELL_STEPS + 1]; CELL_STEPS + 1];

/// Line `y` of a cell.
fn sample_line(part: &Part, places: &Places, y: usize, (bright, dark): (&mut [f32], &mut [f32])) {
    let (above, share) = (
        y / MAP_STEP_PX,
        (y % MAP_STEP_PX) as f32 / MAP_STEP_PX as f32,
    );
    let node = |k: usize| between(places[above][k], places[above + 1][k], share);
    let steps = bright.chunks_exact_mut(MAP_STEP_PX);
    for (k, (bright, dark)) in steps.zip(dark.chunks_exact_mut(MAP_STEP_PX)).enumerate() {
        let Some(mut at) = Walk::between(node(k), node(k + 1), MAP_STEP_PX) else {
            continue;
        };
        for (bright, dark) in bright.iter_mut().zip(dark) {
            if let Some([high, low]) = part.pick(at) {
                (*bright, *dark) = (high, low);
            }
            at.step();
        }
    }
}

fn between(a: Point<InPage>, b: Point<InPage>, share: f32) -> Point<InPage> {
    let blend = |a: f32, b: f32| a * (1.0 - share) + b * share;
    Point::new(blend(a.x, b.x), blend(a.y, b.y))
}

fn reduction(map: &PageMap, strip: &Strip) -> Reduction {
    let middle = Point::new(strip.width_px as f32 / 2.0, strip.height_px as f32 / 2.0);
    let (x, y) = map.resolution(strip.to_paper(middle));
    let px = (x.0 * y.0).sqrt() / CROP_PX_PER_MM;
    if px < 1.25 {
        return Reduction::Cubic;
    }
    let side = (px.ceil() as usize).clamp(2, 6);
    Reduction::Mean {
        side,
        step_px: px / side as f32,
    }
}

/// Divides by the paper's level, interpolated between blocks along the row.
fn flatten(values: &[f32], width: usize, out: &mut [u8]) {
    let count = ((width as f32 / LEVEL_BLOCK_PX as f32).round() as usize).max(1);
    let edge = |k: usize| width * k / count;
    let levels: Vec<f32> = (0..count)
        .map(|k| level(values, width, edge(k)..edge(k + 1)))
        .collect();
    let middle = |k: usize| (edge(k) + edge(k + 1)) as f32 / 2.0;
    let scale: Vec<f32> = (0..width)
        .map(|x| {
            let next = (0..count).find(|k| middle(*k) > x as f32).unwrap_or(count);
            if next == 0 || next == count {
                return PAPER_LEVEL / levels[next.min(count - 1)];
            }
            let share = (x as f32 - middle(next - 1)) / (middle(next) - middle(next - 1));
            PAPER_LEVEL / (levels[next - 1] * (1.0 - share) + levels[next] * share)
        })
        .collect();
    for (row, row_out) in values.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        for ((value, scale), byte) in row.iter().zip(&scale).zip(row_out) {
            // Outside the picture is paper.
            let level = if value.is_nan() {
                PAPER_LEVEL
            } else {
                value * scale
            };
            *byte = (level + 0.5).clamp(0.0, 255.0) as u8;
        }
    }
}

fn level(values: &[f32], width: usize, columns: std::ops::Range<usize>) -> f32 {
    // Every eighth row and fourth column tell the level as well as all.
    let mut seen: Vec<f32> = values
        .chunks_exact(width)
        .step_by(8)
        .flat_map(|row| row[columns.clone()].iter().step_by(4).copied())
        .filter(|value| !value.is_nan())
        .collect();
    if seen.is_empty() {
        return PAPER_LEVEL;
    }
    let at = ((seen.len() - 1) as f32 * LEVEL_SHARE) as usize;
    let (_, value, _) = seen.select_nth_unstable_by(at, f32::total_cmp);
    value.max(LEVEL_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Homography;

    fn strip() -> Strip {
        Strip::new(
            Mm(10.0),
            [Point::new(0.0, 30.0), Point::new(100.0, 31.0)],
            320,
            320,
        )
    }

    #[test]
    fn a_point_comes_back_from_the_strip() {
        let (strip, at) = (strip(), Point::new(33.0, 21.5));
        assert!(strip.to_paper(strip.to_panel(at)).distance(at) < 1e-3);
    }

    /// A page at `px_per_mm` with a dark line along y = 30 mm + x / 100.
    fn page(px_per_mm: f32) -> (RawImage, PageMap) {
        let side = (60.0 * px_per_mm) as usize;
        let mut rgb = Vec::new();
        for y in 0..side {
            for x in 0..side {
                let at = (x as f32 / px_per_mm, y as f32 / px_per_mm);
                let ink = (at.1 - 30.0 - at.0 / 100.0).abs() < 0.3;
                let shade = 240.0 - 0.3 * at.0;
                rgb.extend(if ink {
                    [20, 20, 20]
                } else {
                    [shade as u8, 180, 180]
                });
            }
        }
        let scale = f64::from(px_per_mm);
        let map = Homography::similarity(scale, scale, 0.0, (0.0, 0.0)).unwrap();
        (
            RawImage::new(side, side, rgb).unwrap(),
            PageMap::new(map, None),
        )
    }

    #[test]
    fn the_row_lies_in_the_middle_at_any_resolution() {
        for px_per_mm in [4.0, 8.0, 12.0, 24.0] {
            let (image, map) = page(px_per_mm);
            let picture = draw(&image, &map, &strip());
            let column: Vec<f32> = (0..320)
                .map(|y| 200.0 - f32::from(picture.data()[y * 320 + 160]))
                .collect();
            let mass: f32 = column.iter().filter(|v| **v > 20.0).sum();
            let moment: f32 = column
                .iter()
                .enumerate()
                .filter(|v| *v.1 > 20.0)
                .map(|(y, v)| y as f32 * v)
                .sum();
            let y = moment / mass;
            assert!((y - 159.5).abs() < 1.0, "{px_per_mm} px/mm: line at {y}");
        }
    }

    #[test]
    fn paper_is_level_and_outside_is_paper() {
        let (image, map) = page(8.0);
        let picture = draw(&image, &map, &strip());
        for x in [5, 100, 300, 319] {
            let value = picture.data()[60 * 320 + x];
            assert!((190..=215).contains(&value), "{value} at {x}");
        }
        let far = Strip::new(
            Mm(500.0),
            [Point::new(0.0, 0.0), Point::new(9.0, 0.0)],
            32,
            32,
        );
        assert!(
            draw(&image, &map, &far).data()[..1024]
                .iter()
                .all(|v| *v == 200)
        );
    }
}
