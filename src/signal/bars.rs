//! Bars printed between the panels of a row.
//!
//! In: the picture, the page map, the rows, where the recording is thought to lie. Out: how far it
//! lies from there, by the bars. Many machines draw an upright bar, or a line of dots, where one lead
//! ends and the next begins; it is the surest mark of the place. A beat is as upright, but a row's
//! line runs along it, and it does not stand at all places at once. Units: millimetres.

use super::extent::Extent;
use crate::crop::CROP_PX_PER_MM;
use crate::page::{PageMap, Point, RawImage};
use crate::trace::rows::TracedRow;
use crate::units::Mm;

/// Bars lie so far from their places at most, or further where nearly all places have them: labels
/// may stand anywhere above their panels. What else is upright is looked for beyond the next beat.
const OFF_MAX_MM: f32 = 8.0;
const REACH_MM: f32 = 35.0;
const STEP_MM: f32 = 0.125;
/// A bar stands out above and below its row's zero line between these distances.
const HEIGHTS_MM: (f32, f32) = (1.5, 5.0);
const HEIGHT_STEP_MM: f32 = 0.25;
/// Ink is this much darker than the paper beside it, of what the traces around are: lines of the grid
/// are paler.
const INK_SHARE: f32 = 0.5;
const AROUND_MM: f32 = 30.0;
/// Least contrast of ink.
const INK_MIN: f32 = 0.15;
/// Ink so near to a row's line is the line's.
const OF_LINE_MM: f32 = 0.4;
/// A bar has ink in this share of its heights, above and below; paper beside it has not.
const BAR_SHARE: f32 = 0.3;
const BESIDE_STEPS: usize = 7;
/// A place counts if its bar is within this.
const AT_STEPS: usize = 4;
/// This share of the places must have theirs, or the second where that is far off, and never fewer
/// than the third.
const PLACES_MIN: f32 = 0.44;
const FAR_PLACES_MIN: f32 = 0.75;
const ENOUGH: usize = 3;
/// Any other shift has at most this share of those that the best one has: up to this share of a
/// panel, where the next seam's bars come within reach.
const OTHER_MAX: f32 = 0.6;
const BEFORE_NEXT: f32 = 0.75;

/// How much further right the panels lie than `extent` says; `None` where no bars tell.
pub fn shift(
    image: &RawImage,
    map: &PageMap,
    rows: &[&TracedRow],
    extent: Extent,
    columns: usize,
) -> Option<Mm> {
    let width = (extent.right - extent.left).0 / columns.max(1) as f32;
    let mut places: Vec<Vec<bool>> = Vec::new();
    for k in 1..columns {
        let seam = extent.left.0 + width * k as f32;
        let lines = lines(rows, seam);
        places.extend(rows.iter().map(|row| bars(image, map, row, &lines, seam)));
    }
    let steps = places.first()?.len();
    let count = |at: usize| {
        let near = at.saturating_sub(AT_STEPS)..(at + AT_STEPS + 1).min(steps);
        let has_bar = |place: &&Vec<bool>| place[near.clone()].contains(&true);
        places.iter().filter(has_bar).count()
    };
    let counts: Vec<usize> = (0..steps).map(count).collect();
    let near = (OFF_MAX_MM / STEP_MM) as usize;
    let far = ((width / 2.0).min(REACH_MM) / STEP_MM) as usize;
    let places = places.len();
    let next = (BEFORE_NEXT * width / STEP_MM) as usize;
    let at = best(&counts, next, near, most_of(places, PLACES_MIN))
        .or_else(|| best(&counts, next, far, most_of(places, FAR_PLACES_MIN)))?;
    Some(Mm(at * STEP_MM - REACH_MM))
}

/// So many of the places, and no fewer than tell anything.
fn most_of(places: usize, share: f32) -> usize {
    ((share * places as f32).ceil() as usize).max(ENOUGH)
}

/// The step, at most `off` from the middle, at which the most places have bars: at least `enough`,
/// and far fewer have anything elsewhere, nearer than `next`.
fn best(counts: &[usize], next: usize, off: usize, enough: usize) -> Option<f32> {
    let middle = counts.len() / 2;
    let inside = middle.saturating_sub(off)..(middle + off + 1).min(counts.len());
    let most = *counts.get(inside.clone())?.iter().max()?;
    let best: Vec<usize> = inside.clone().filter(|at| counts[*at] == most).collect();
    let (first, last) = (best[0], best[best.len() - 1]);
    let is_beside = |at: usize| at + 3 * AT_STEPS < first || at > last + 3 * AT_STEPS;
    let is_before_next = |at: usize| at.abs_diff(first) < next;
    let other = (0..counts.len())
        .filter(|at| is_beside(*at) && is_before_next(*at))
        .map(|at| counts[at])
        .max();
    let is_inside = first > inside.start + AT_STEPS && last + AT_STEPS + 1 < inside.end;
    let is_alone = is_inside
        && last - first <= 4 * AT_STEPS
        && other.is_none_or(|other| other as f32 <= OTHER_MAX * most as f32);
    (most >= enough && is_alone).then_some((first + last) as f32 / 2.0)
}

/// Steps around a seam, and where each is.
fn steps(seam: f32) -> impl Iterator<Item = f32> {
    let count = (2.0 * REACH_MM / STEP_MM) as usize + 1;
    (0..count).map(move |step| seam - REACH_MM + step as f32 * STEP_MM)
}

/// Where the rows' lines run at each step around a seam.
fn lines(rows: &[&TracedRow], seam: f32) -> Vec<Vec<[f32; 2]>> {
    let at = |x: f32| rows.iter().filter_map(|row| span(row, x)).collect();
    steps(seam).map(at).collect()
}

/// Whether a bar stands on the row, off all `lines`, at each step around a seam.
fn bars(
    image: &RawImage,
    map: &PageMap,
    row: &TracedRow,
    lines: &[Vec<[f32; 2]>],
    seam: f32,
) -> Vec<bool> {
    let heights = ((HEIGHTS_MM.1 - HEIGHTS_MM.0) / HEIGHT_STEP_MM) as usize + 1;
    let value = |x: f32, side: f32, k: usize| {
        let off = HEIGHTS_MM.0 + k as f32 * HEIGHT_STEP_MM;
        let y = row.strip.zero(Mm(x)).0 + side * off;
        Some((y, image.brightest(map.to_page(Point::new(x, y)))?))
    };
    let side = |side: f32| -> Vec<Vec<f32>> {
        let column = |(x, lines): (f32, &Vec<[f32; 2]>)| {
            let is_free = |y: f32| {
                !lines
                    .iter()
                    .any(|[top, bottom]| (*top..*bottom).contains(&y))
            };
            let seen = (0..heights).filter_map(|k| value(x, side, k));
            let free = seen.filter(|(y, _)| is_free(*y));
            free.map(|(_, bright)| bright).collect()
        };
        steps(seam).zip(lines).map(column).collect()
    };
    let (above, below) = (side(-1.0), side(1.0));
    let mut all: Vec<f32> = above.iter().chain(&below).flatten().copied().collect();
    if all.is_empty() {
        return vec![false; lines.len()];
    }
    all.sort_by(f32::total_cmp);
    let paper = all[all.len() * 4 / 5];
    let trace = trace_level(image, map, row, seam);
    let Some(trace) = trace.filter(|trace| paper - trace >= INK_MIN * paper) else {
        return vec![false; lines.len()];
    };
    let ink = paper - INK_SHARE * (paper - trace);
    let share = |column: &Vec<f32>| {
        column.iter().filter(|value| **value < ink).count() as f32 / heights as f32
    };
    let shares = |side: &[Vec<f32>]| side.iter().map(share).collect::<Vec<f32>>();
    let (above, below) = (shares(&above), shares(&below));
    let is_bar = |side: &[f32], at: usize| {
        let beside = |at: Option<usize>| at.and_then(|at| side.get(at)).copied().unwrap_or(0.0);
        let paper = beside(at.checked_sub(BESIDE_STEPS)).max(beside(Some(at + BESIDE_STEPS)));
        side[at] >= BAR_SHARE && paper < BAR_SHARE / 2.0
    };
    (0..lines.len())
        .map(|at| is_bar(&above, at) && is_bar(&below, at))
        .collect()
}

/// From where to where a row's line runs near `x`.
fn span(row: &TracedRow, x: f32) -> Option<[f32; 2]> {
    let at = row.strip.to_panel(Point::new(x, row.strip.zero(Mm(x)).0)).x;
    let near = OF_LINE_MM * CROP_PX_PER_MM;
    let columns = (at - near).round().max(0.0) as usize..=(at + near).round().max(0.0) as usize;
    let heights = columns.filter_map(|column| Some(row.place(column)?.y));
    heights.fold(None, |span, y| {
        let [top, bottom] = span.unwrap_or([f32::INFINITY, f32::NEG_INFINITY]);
        Some([top.min(y - OF_LINE_MM), bottom.max(y + OF_LINE_MM)])
    })
}

/// How bright the row's own line is around `x`.
fn trace_level(image: &RawImage, map: &PageMap, row: &TracedRow, x: f32) -> Option<f32> {
    let places = (0..row.line.points.len()).filter_map(|column| row.place(column));
    let near = places.filter(|place| (place.x - x).abs() < AROUND_MM);
    let mut seen: Vec<f32> = near
        .filter_map(|place| image.brightest(map.to_page(place)))
        .collect();
    let middle = seen.len() / 2;
    (!seen.is_empty()).then(|| *seen.select_nth_unstable_by(middle, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::Strip;
    use crate::page::Homography;
    use crate::signal::extent::EndsEvidence;
    use crate::trace::Line;
    use crate::trace::follow::LinePoint;

    /// Three rows of four panels from x = 20 mm on, 40 mm each, with what `ink` draws at (x, below
    /// the row) of each; thought to lie 5 mm further left.
    fn found(ink: impl Fn(usize, f32, f32) -> bool) -> Option<f32> {
        found_in(40, ink)
    }

    /// The same, drawn in this tone.
    fn found_in(tone: u8, ink: impl Fn(usize, f32, f32) -> bool) -> Option<f32> {
        found_beside(|_| 0.0, tone, ink)
    }

    /// The same, with rows' lines that run so far below zero.
    fn found_beside(
        line: impl Fn(f32) -> f32,
        tone: u8,
        ink: impl Fn(usize, f32, f32) -> bool,
    ) -> Option<f32> {
        let (width, height) = (1600, 800);
        let zeros = [25.0, 50.0, 75.0];
        let pixel = |k: usize| {
            let (x, y) = ((k % width) as f32 / 8.0, (k / width) as f32 / 8.0);
            let mut rows = zeros.iter().enumerate();
            if zeros.iter().any(|zero| (y - zero).abs() < 0.2) {
                [40; 3]
            } else if rows.any(|(n, zero)| ink(n, x, y - zero)) {
                [tone; 3]
            } else {
                [245; 3]
            }
        };
        let rgb = (0..width * height).flat_map(pixel);
        let image = RawImage::new(width, height, rgb.collect()).unwrap();
        let map = Homography::similarity(8.0, 8.0, 0.0, (0.0, 0.0)).unwrap();
        let point = |column: usize| LinePoint {
            y_px: 159.5 + 8.0 * line(column as f32 / 8.0),
            confidence: 1.0,
            spread_px: 0.0,
        };
        let rows = zeros.map(|zero| TracedRow {
            strip: Strip::new(
                Mm(0.0),
                [Point::new(0.0, zero), Point::new(99.0, zero)],
                1600,
                320,
            ),
            line: Line {
                points: (0..1600).map(|column| Some(point(column))).collect(),
            },
        });
        let extent = Extent {
            left: Mm(15.0),
            right: Mm(175.0),
            evidence: EndsEvidence::Agreed,
            errors: [Mm(0.1); 2],
        };
        let rows: Vec<&TracedRow> = rows.iter().collect();
        shift(&image, &PageMap::new(map, None), &rows, extent, 4).map(|shift| shift.0)
    }

    fn is_seam(x: f32) -> bool {
        [60.0, 100.0, 140.0]
            .iter()
            .any(|seam| (x - seam).abs() < 0.2)
    }

    #[test]
    fn bars_tell_where_panels_meet() {
        let bars = found(|_, x, below| is_seam(x) && below.abs() < 6.0);
        assert!((bars.unwrap() - 5.0).abs() < 0.3, "{bars:?}");
        let dots = found(|_, x, below| is_seam(x) && (2.0 * below).fract().abs() < 0.5);
        assert!((dots.unwrap() - 5.0).abs() < 0.3, "{dots:?}");
    }

    #[test]
    fn bars_nearly_everywhere_may_stand_far_off() {
        let bars = found(|_, x, below| is_seam(x - 10.0) && below.abs() < 6.0);
        assert!((bars.unwrap() - 15.0).abs() < 0.3, "{bars:?}");
        let some = found(|row, x, below| row < 2 && is_seam(x - 10.0) && below.abs() < 6.0);
        assert_eq!(some, None);
    }

    #[test]
    fn lines_of_the_grid_are_no_bars() {
        let lines = |_, x: f32, _| is_seam(x);
        assert_eq!(found_in(180, lines), None);
        assert!(found_in(100, lines).is_some());
    }

    #[test]
    fn beats_are_no_bars() {
        // Upright, at one time in all rows, but on one side.
        let beat = |_, x: f32, below: f32| is_seam(x) && (-8.0..0.0).contains(&below);
        assert_eq!(found(beat), None);
        // To both sides, in one row only.
        let alone = |row, x: f32, below: f32| row == 1 && is_seam(x) && below.abs() < 6.0;
        assert_eq!(found(alone), None);
        assert_eq!(found(|_, _, _| false), None);
        // To both sides, in all rows, where their lines run.
        let ink = |_, x: f32, below: f32| is_seam(x) && below.abs() < 6.0;
        let line = |x: f32| 6.0 * (x - (x / 20.0).round() * 20.0).signum();
        assert!(found_beside(|_| 0.0, 40, ink).is_some());
        assert_eq!(found_beside(line, 40, ink), None);
    }

    #[test]
    fn what_stands_elsewhere_as_often_is_no_bar() {
        // 20 mm behind each seam as well, as beats do.
        let ink = |_, x: f32, below: f32| (is_seam(x) || is_seam(x - 20.0)) && below.abs() < 6.0;
        assert_eq!(found(ink), None);
    }
}
