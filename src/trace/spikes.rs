//! Strokes of one column that the line leaves out: spikes of a pacemaker.
//!
//! In: the picture, the page map, the rows' lines, the boxes of names and pulses. A spike is half a
//! millisecond long, on paper one vertical stroke that ends on bare paper, again and again along
//! the row; the net was not shown enough of them and holds to the line below. Such strokes are
//! followed in the picture. Out: `Spike`s, where they stand and how far they reach. What ends at
//! another row, runs through (lines of a grid), stands as far above the line as below (bars between
//! panels) or comes alone is left as it is. Units: millimetres on the paper.

use super::rows::TracedRow;
use crate::crop::CROP_PX_PER_MM;
use crate::math;
use crate::page::{Bounds, InPaper, PageMap, Point, RawImage};

/// A stroke's ink is at least this share as dark as the line, and paper beyond its tip is not.
const INK_SHARE: f32 = 0.5;
const BARE_SHARE: f32 = 0.3;
/// It begins this far from the line's own columns, and is followed in such steps.
const START_MM: f32 = 0.7;
const STEP_MM: f32 = 0.125;
/// Steps without ink that end it.
const MISSES_MAX: usize = 2;
/// Least and greatest length past the line.
const LENGTH_MM: (f32, f32) = (2.0, 30.0);
/// It is no wider than this, and may lean by so much as a whole.
const WIDTH_MM: f32 = 0.5;
const LEAN_MM: f32 = 0.4;
/// Heights at which its middle is measured.
const MIDDLE_STEPS: usize = 12;
/// As a whole it is this share as dark as the line, and so many times as dark as a line of the grid
/// that goes on beyond it, at so many places.
const OWN_SHARE: f32 = 0.7;
const OVER_GRID: f32 = 1.6;
const FAR_MM: f32 = 8.0;
const OWN_STEPS: usize = 24;
/// Bare paper beyond the tip.
const BEYOND_MM: f32 = 1.5;
/// Paper is looked for this far to both sides.
const BESIDE_MM: f32 = 0.9;
/// The line's own columns around a stroke, which do not rise or fall by more than this: a beat's
/// peak is not a spike, even where the line misses its tip.
const OWN_MM: f32 = 0.5;
const LEVEL_MM: f32 = 0.8;
/// Other rows' lines, names and pulses explain ink this near.
const NEAR_MM: f32 = 0.8;
/// As long on one side as on the other within this share: a bar.
const BAR_SHARE: f32 = 0.6;
/// So many along a row, no closer than this: fewer are chance, more are a grid.
const COUNT_MIN: usize = 3;
const APART_MM: f32 = 5.0;
/// Side of a grid's square, and how far off its lines one spike of a row is at least.
const SQUARE_MM: f32 = 5.0;
const OFF_GRID_MM: f32 = 0.5;
/// Spikes of all rows stand above one another within this.
const ALIGNED_MM: f32 = 0.8;

/// A stroke that stands out of a row's line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spike {
    /// The far end of the stroke's middle.
    pub tip: Point<InPaper>,
    /// Where it leaves the line.
    pub foot: Point<InPaper>,
    length_mm: f32,
}

/// The spikes of each row, from the left.
pub fn spikes(
    image: &RawImage,
    map: &PageMap,
    rows: &[TracedRow],
    known: &[Bounds<InPaper>],
) -> Vec<Vec<Spike>> {
    let page = Page { image, map };
    let mut found: Vec<Vec<Spike>> = (0..rows.len())
        .map(|row| strokes(&page, rows, row, known))
        .collect();
    let trains = found.iter().filter(|strokes| is_train(strokes));
    let places: Vec<f32> = trains.flatten().map(|spike| spike.tip.x).collect();
    let is_aligned = |x: f32| places.iter().any(|place| (place - x).abs() < ALIGNED_MM);
    for row in &mut found {
        row.retain(|spike| is_aligned(spike.tip.x));
    }
    found
}

/// Whether strokes come one after another, as beats do, and not whole squares of a grid apart.
fn is_train(strokes: &[Spike]) -> bool {
    let apart = |pair: &[Spike]| pair[1].tip.x - pair[0].tip.x;
    let is_off_grid = |spike: &Spike| {
        let squares = (spike.tip.x - strokes[0].tip.x) / SQUARE_MM;
        (squares - squares.round()).abs() * SQUARE_MM > OFF_GRID_MM
    };
    strokes.len() >= COUNT_MIN
        && strokes.windows(2).all(|pair| apart(pair) > APART_MM)
        && strokes.iter().any(is_off_grid)
}

struct Page<'a> {
    image: &'a RawImage,
    map: &'a PageMap,
}

impl Page<'_> {
    /// The picture's brightest channel at the nearest pixel; NaN, which is darker than nothing,
    /// outside the picture.
    fn value(&self, x: f32, y: f32) -> f32 {
        let at = self.map.to_page(Point::new(x, y));
        self.image.brightest(at).unwrap_or(f32::NAN)
    }

    /// How much darker a place is than the paper on both sides of it, 0 to 1.
    fn darkness(&self, x: f32, y: f32) -> f32 {
        let beside = |off: f32| self.value(x + off, y);
        let paper = beside(-BESIDE_MM).min(beside(BESIDE_MM));
        (1.0 - self.value(x, y) / paper.max(8.0)).max(0.0)
    }

    /// Follows a stroke from `from` on, up (-1) or down (1); where it ends and how long it is.
    fn follow(&self, from: Point<InPaper>, way: f32, ink: f32) -> (Point<InPaper>, f32) {
        if self.darkness(from.x, from.y + way * START_MM) <= ink * INK_SHARE {
            return (from, 0.0);
        }
        let (mut x, mut tip, mut misses) = (from.x, from, 0);
        for step in 0..(LENGTH_MM.1 / STEP_MM) as usize {
            let y = from.y + way * (START_MM + step as f32 * STEP_MM);
            let darkest = [0.0, -STEP_MM, STEP_MM]
                .map(|off| (x + off, self.darkness(x + off, y)))
                .into_iter()
                .filter(|(x, _)| (x - from.x).abs() <= LEAN_MM)
                .max_by(|a, b| a.1.total_cmp(&b.1));
            match darkest.filter(|(_, dark)| *dark > ink * INK_SHARE) {
                Some((place, _)) => {
                    (x, misses) = (place, 0);
                    tip = Point::new(x, y);
                }
                None => misses += 1,
            }
            if misses > MISSES_MAX {
                break;
            }
        }
        (tip, (tip.y - from.y).abs())
    }

    /// Whether a stroke is as dark as the line, and darker than what goes on beyond its tip: a line
    /// of the grid is there, too.
    fn is_own(&self, foot: Point<InPaper>, tip: Point<InPaper>, way: f32, ink: f32) -> bool {
        // What a grid's line may lean by beyond the tip.
        let around: Vec<f32> = (-3..=3).map(|step| step as f32 * STEP_MM).collect();
        let along = |(from, to): (f32, f32), lean: f32| {
            let dark = (0..OWN_STEPS).map(|step| {
                let share = (step as f32 + 0.5) / OWN_STEPS as f32;
                let (x, y) = (tip.x - (1.0 - share) * lean, from + share * (to - from));
                let beside = around.iter().map(|off| self.darkness(x + off, y));
                beside.fold(0.0, f32::max)
            });
            math::median(dark.collect()).unwrap_or(0.0)
        };
        let own = along((foot.y + way * START_MM, tip.y), tip.x - foot.x);
        let beyond = along((tip.y + way * START_MM, tip.y + way * FAR_MM), 0.0);
        own > OWN_SHARE * ink && own > OVER_GRID * beyond
    }

    /// Where a stroke's ink has its middle, between its tip and half way to its foot, and how wide
    /// it is.
    fn middle(&self, tip: Point<InPaper>, foot_y: f32) -> (f32, f32) {
        let (mut mass, mut moment, mut darkest) = (0.0, 0.0, 0.0);
        for height in 0..MIDDLE_STEPS {
            let share = (height as f32 + 0.5) / (2.0 * MIDDLE_STEPS as f32);
            let y = tip.y + share * (foot_y - tip.y);
            let mut most: f32 = 0.0;
            for step in -8..=8 {
                let x = tip.x + step as f32 * STEP_MM / 2.0;
                let dark = self.darkness(x, y);
                mass += dark;
                moment += dark * x;
                most = most.max(dark);
            }
            darkest += most;
        }
        if mass > 0.0 {
            (moment / mass, mass / darkest * STEP_MM / 2.0)
        } else {
            (tip.x, 0.0)
        }
    }

    fn is_bare_beyond(&self, tip: Point<InPaper>, way: f32, ink: f32) -> bool {
        let steps = (BEYOND_MM / STEP_MM) as usize;
        (3..steps).all(|step| {
            self.darkness(tip.x, tip.y + way * step as f32 * STEP_MM) < ink * BARE_SHARE
        })
    }
}

fn strokes(page: &Page, rows: &[TracedRow], row: usize, known: &[Bounds<InPaper>]) -> Vec<Spike> {
    let columns = 0..rows[row].line.points.len();
    let places: Vec<_> = columns.map(|column| rows[row].place(column)).collect();
    let Some(ink) = usual(page, &places) else {
        return Vec::new();
    };
    let at = |column: usize| stroke_at(page, &places, column, ink);
    let mut out: Vec<Spike> = Vec::new();
    let mut column = 0;
    while column < places.len() {
        let run: Vec<Spike> = (column..places.len()).map_while(at).collect();
        column += run.len() + 1;
        let longest = run
            .iter()
            .max_by(|a, b| a.length_mm.total_cmp(&b.length_mm));
        let is_narrow = run.len() as f32 <= WIDTH_MM * CROP_PX_PER_MM;
        if let Some(spike) = longest.filter(|_| is_narrow)
            && !is_explained(rows, row, known, spike)
        {
            let (x, width) = page.middle(spike.tip, spike.foot.y);
            let tip = Point::new(x, spike.tip.y);
            out.extend((width < WIDTH_MM).then_some(Spike { tip, ..*spike }));
        }
    }
    out
}

/// How dark the row's line is, against the paper above and below.
fn usual(page: &Page, places: &[Option<Point<InPaper>>]) -> Option<f32> {
    let dark = |at: &Point<InPaper>| {
        let value = |off: f32| page.value(at.x, at.y + off);
        let paper = value(-2.0).max(value(2.0));
        (1.0 - value(0.0) / paper.max(8.0)).max(0.0)
    };
    let all: Vec<f32> = places.iter().flatten().map(dark).collect();
    math::median(all)
}

fn stroke_at(
    page: &Page,
    places: &[Option<Point<InPaper>>],
    column: usize,
    ink: f32,
) -> Option<Spike> {
    let own = (OWN_MM * CROP_PX_PER_MM) as usize;
    let around = column.checked_sub(own)?..(column + own + 1).min(places.len());
    let ys = || places[around.clone()].iter().flatten().map(|place| place.y);
    let at = places[column]?;
    let (top, bottom) = (ys().fold(at.y, f32::min), ys().fold(at.y, f32::max));
    let ends = [(top, -1.0), (bottom, 1.0)]
        .map(|(y, way)| (page.follow(Point::new(at.x, y), way, ink), way));
    let [above, below] = ends.map(|((_, length), _)| length);
    let ((tip, length_mm), way) = ends[usize::from(below > above)];
    let is_bar = above.min(below) > BAR_SHARE * length_mm;
    let is_level = bottom - top < LEVEL_MM;
    let fits = (LENGTH_MM.0..LENGTH_MM.1 - 1.0).contains(&length_mm) && is_level && !is_bar;
    (fits && page.is_bare_beyond(tip, way, ink) && page.is_own(at, tip, way, ink)).then_some(
        Spike {
            tip,
            foot: at,
            length_mm,
        },
    )
}

/// Whether another row's line, a name or a pulse is where the stroke goes.
fn is_explained(rows: &[TracedRow], own: usize, known: &[Bounds<InPaper>], stroke: &Spike) -> bool {
    let foot = stroke.foot;
    let (top, bottom) = (
        foot.y.min(stroke.tip.y) - NEAR_MM,
        foot.y.max(stroke.tip.y) + NEAR_MM,
    );
    let (left, right) = (stroke.tip.x - NEAR_MM, stroke.tip.x + NEAR_MM);
    let in_box =
        |b: &Bounds<InPaper>| b.left < right && b.right > left && b.top < bottom && b.bottom > top;
    let crosses = |row: &TracedRow| {
        let column = |x: f32| row.strip.to_panel(Point::new(x, foot.y)).x.max(0.0) as usize;
        let count = row.line.points.len();
        let mut near = (column(left)..column(right).min(count)).filter_map(|x| row.place(x));
        near.any(|place| (top..bottom).contains(&place.y))
    };
    known.iter().any(in_box)
        || rows
            .iter()
            .enumerate()
            .any(|(k, row)| k != own && crosses(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::Strip;
    use crate::page::Homography;
    use crate::trace::Line;
    use crate::trace::follow::LinePoint;
    use crate::units::Mm;

    const SPIKES_MM: [f32; 4] = [15.0, 40.0, 62.0, 85.0];

    /// Lines at 25 and 55 mm with strokes from `span` (above and below the line) at `SPIKES_MM` in
    /// the upper row, read as flat lines: how far the spikes that are found reach above 25 mm.
    fn heights(span: (f32, f32)) -> Vec<f32> {
        let (width, height) = (800, 640);
        let on_line = |y: f32| (y - 25.0).abs() < 0.2 || (y - 55.0).abs() < 0.2;
        let on_stroke = |x: f32, y: f32| {
            let near = |at: &f32| (x - at).abs() < 0.15;
            SPIKES_MM.iter().any(near) && (25.0 - span.0..25.0 + span.1).contains(&y)
        };
        let ink = |k: usize| {
            let (x, y) = ((k % width) as f32 / 8.0, (k / width) as f32 / 8.0);
            on_line(y) || on_stroke(x, y)
        };
        let rgb = (0..width * height).flat_map(|k| if ink(k) { [30; 3] } else { [250; 3] });
        let image = RawImage::new(width, height, rgb.collect()).unwrap();
        let map = Homography::similarity(8.0, 8.0, 0.0, (0.0, 0.0)).unwrap();
        let row = |y: f32| {
            let strip = Strip::new(Mm(0.0), [Point::new(0.0, y), Point::new(99.0, y)], 800, 320);
            let point = LinePoint {
                y_px: strip.to_panel(Point::new(0.0, y)).y,
                confidence: 1.0,
                spread_px: 0.0,
            };
            let points = vec![Some(point); 800];
            TracedRow {
                strip,
                line: Line { points },
            }
        };
        let rows = [row(25.0), row(55.0)];
        let found = spikes(&image, &PageMap::new(map, None), &rows, &[]);
        assert_eq!(found[1], []);
        for (spike, at) in found[0].iter().zip(SPIKES_MM) {
            assert!((spike.tip.x - at).abs() < 0.1, "{spike:?} at {at}");
        }
        found[0].iter().map(|spike| 25.0 - spike.tip.y).collect()
    }

    fn check(span: (f32, f32), wanted: Option<f32>) {
        let found = heights(span);
        assert_eq!(
            found.len(),
            wanted.map_or(0, |_| SPIKES_MM.len()),
            "{found:?}"
        );
        for height in found {
            let wanted = wanted.unwrap();
            assert!((height - wanted).abs() < 0.3, "{height} mm, not {wanted}");
        }
    }

    #[test]
    fn spikes_are_found_and_measured() {
        check((8.0, 0.0), Some(8.0));
        check((0.0, 6.0), Some(-6.0));
        check((9.0, 2.0), Some(9.0));
    }

    #[test]
    fn bars_and_lines_of_a_grid_are_no_spikes() {
        check((4.0, 4.0), None);
        check((24.0, 38.0), None);
    }

    #[test]
    fn what_ends_at_another_row_is_that_rows() {
        check((0.0, 30.0), None);
        check((0.0, 34.0), None);
    }
}
