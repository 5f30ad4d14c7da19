//! The paper's grid: where every millimetre of the page lies in the picture.
//!
//! In: the picture, then the quarter turn that brings its writing upright. Out: `Grid` with a
//! `PageMap`, its x along the writing, in millimetres counted by grid lines (origin near the
//! picture's middle). No grid is an error, never a guess.
//!
//! ```text
//!   picture --ruling: darkness of coloured or pale lines--> raster
//!           --windows: combs in local spectra, followed across the page--> anchors
//!           --lattice: homography and mesh; the lines' offsets in 8 mm cells, twice
//!           --lattice, clear of ink: of paper that is not flat, once more
//!           --printed: lines that no colour has are the compression's
//! ```

mod fourier;
mod lattice;
mod printed;
mod ruling;
mod spectrum;
mod surface;
mod turns;
mod windows;

use crate::page::{Bounds, InPaper, Mesh, PageMap, QuarterTurn, RawImage};
use crate::units::Mm;
use lattice::{Lines, Paper};
use ruling::{DarkLines, Ruling};
use windows::Windows;

/// Distance of the paper's strong lines; a found grid's map counts millimetres from one of them.
pub const LINES_MM: f32 = 5.0;

/// How far a height on ruled paper lies off the nearest 5 mm line.
pub fn off_line(y: f32) -> Mm {
    let share = (y / LINES_MM + 0.5).rem_euclid(1.0) - 0.5;
    Mm((share * LINES_MM).abs())
}

/// A grid that was found.
#[derive(Clone, Debug)]
pub struct Grid {
    pub map: PageMap,
    /// Share of the page's cells in which both rulings were seen, 0 to 1.
    pub seen: f32,
    /// Root mean square distance of the cells' lines from the map, millimetres.
    pub residual_mm: f32,
    /// The part of the paper in which lines were seen.
    pub area: Bounds<InPaper>,
    /// Whether the lines are as dark as traces and letters.
    pub is_dark: bool,
}

/// Why there is no map from the grid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GridError {
    #[error("no ruling stands out of the picture (strength {strength:.2}, {needed:.2} is needed)")]
    NoRuling { strength: f32, needed: f32 },
    #[error("lines were seen in {percent:.0} % of the page only, {needed:.0} % are needed")]
    TooLittle { percent: f32, needed: f32 },
    #[error(
        "the lines lie {residual_mm:.2} mm off any flat page, at most {max_mm:.2} mm are taken"
    )]
    NoPlane { residual_mm: f32, max_mm: f32 },
    #[error(
        "the lines are the picture's compression: {percent:.0} % of what makes them is printed, \
         {needed:.0} % are needed"
    )]
    NotPrinted { percent: f32, needed: f32 },
}

/// Share of the darkness along the lines that one colour alone has: of printed lines, all of it.
const PRINTED_MIN: f32 = 0.5;
const STRENGTH_MIN: f32 = 0.55;
const SEEN_MIN: f32 = 0.12;
/// Where ink stands in more of the page than this it may be the ruling; it is if so many times as
/// much of the page shows lines then, or lines so much stronger.
const INK_SPREAD_MAX: f32 = 0.4;
const MORE_SEEN_MIN: f32 = 1.05;
const STRONGER_MIN: f32 = 1.15;
const RESIDUAL_MAX_MM: f32 = 0.35;
/// A flat page's lines lie this close to a homography; a mesh would only add noise.
const FLAT_MM: f32 = 0.06;
/// Further off, the sheet is folded or bent, and its lines are followed outwards.
const FOLDED_MM: f32 = 0.2;

/// Rounds in which a bent page's lines are followed outwards, and the share of places known before
/// that a round must come to, or it was the last.
const GROW_ROUNDS_MAX: usize = 10;
const GROWTH_MIN: f32 = 1.01;
/// The places that a sheet followed as folded from the start must know, as a share of the other's.
const FOLDED_SHARE_MIN: f32 = 1.03;
/// What a last reading clear of ink must know, as a share of the places before.
const CLEARED_SHARE_MIN: f32 = 0.99;

/// What is seen of a page's lines before it is known how its writing lies.
pub struct PageLines {
    ruling: Ruling,
    windows: Windows,
}

impl PageLines {
    pub fn of(image: &RawImage) -> Self {
        let (ruling, windows) = ruling_of(image);
        Self { ruling, windows }
    }

    /// The grid of the same page, if its writing is upright after `turn`.
    pub fn grid(&self, image: &RawImage, turn: QuarterTurn) -> Result<Grid, GridError> {
        fitted(&self.ruling, &self.windows, image, turn)
    }
}

fn fitted(
    ruling: &Ruling,
    windows: &Windows,
    image: &RawImage,
    turn: QuarterTurn,
) -> Result<Grid, GridError> {
    if windows.strength < STRENGTH_MIN {
        return Err(GridError::NoRuling {
            strength: windows.strength,
            needed: STRENGTH_MIN,
        });
    }
    let anchors: Vec<lattice::Anchor> = windows
        .anchors
        .iter()
        .map(|anchor| turned(*anchor, turn))
        .collect();
    let fit_as = |paper| {
        let fit = lattice::Fit::of(anchors.clone(), windows.seen, windows.period, paper);
        refined(ruling, fit, windows.period, paper)
    };
    let mut fit = fit_as(Paper::Flat);
    let (Some(flat), true) = (fit.homography, fit.seen >= SEEN_MIN) else {
        let (percent, needed) = (100.0 * fit.seen, 100.0 * SEEN_MIN);
        return Err(GridError::TooLittle { percent, needed });
    };
    if fit.core_residual_mm > RESIDUAL_MAX_MM && fit.residual_mm > 2.0 {
        return Err(GridError::NoPlane {
            residual_mm: fit.core_residual_mm,
            max_mm: RESIDUAL_MAX_MM,
        });
    }
    if fit.residual_mm > FOLDED_MM {
        // Either may lose a part of the sheet: the one that knows the more of it.
        let folded = grown(ruling, fit_as(Paper::Folded), windows.period);
        fit = grown(ruling, fit, windows.period);
        if folded.len() as f32 > FOLDED_SHARE_MIN * fit.len() as f32 {
            fit = folded;
        }
    }
    let fit = cleared(ruling, fit, windows.period);
    let flat = fit.homography.unwrap_or(flat);
    let map = PageMap::new(ruling.to_image(&flat), mesh_of(&fit));
    let share = printed::share(image, &map, windows.period.0);
    if share < PRINTED_MIN {
        let (percent, needed) = (100.0 * share, 100.0 * PRINTED_MIN);
        return Err(GridError::NotPrinted { percent, needed });
    }
    Ok(Grid {
        map,
        seen: fit.seen,
        residual_mm: fit.residual_mm,
        area: fit.area(),
        is_dark: ruling.lines == DarkLines::Ruling,
    })
}

/// The ruling and what its windows say; of lines as dark as ink, where they are seen better so.
fn ruling_of(image: &RawImage) -> (Ruling, Windows) {
    let ruling = Ruling::of(image, DarkLines::Ink);
    let windows = windows::search(&ruling);
    let is_found = windows.strength >= STRENGTH_MIN && windows.seen >= SEEN_MIN;
    if is_found && ruling.ink_spread < INK_SPREAD_MAX {
        return (ruling, windows);
    }
    let other = Ruling::of(image, DarkLines::Ruling);
    let seen = windows::search(&other);
    let is_better = !is_found
        || seen.seen > MORE_SEEN_MIN * windows.seen
        || seen.strength > STRONGER_MIN * windows.strength;
    if seen.strength >= STRENGTH_MIN && seen.seen >= SEEN_MIN && is_better {
        (other, seen)
    } else {
        (ruling, windows)
    }
}

/// What is left of the paper's shape beside the plane, where that is more than noise.
fn mesh_of(fit: &lattice::Fit) -> Option<Mesh> {
    (fit.residual_mm > FLAT_MM).then(|| fit.mesh()).flatten()
}

/// The same, closer: from the lines in the cells of the paper.
fn refined(
    ruling: &ruling::Ruling,
    mut fit: lattice::Fit,
    period: lattice::Period,
    paper: Paper,
) -> lattice::Fit {
    for _ in 0..2 {
        let Some(flat) = fit.homography else { break };
        fit = lattice::refine(
            ruling,
            &PageMap::new(flat, mesh_of(&fit)),
            period,
            paper,
            Lines::All,
        );
    }
    fit
}

/// Follows the lines of paper that is not flat outwards, as long as that finds more of them: behind a
/// fold they lie further off the plane than they are sought.
fn grown(ruling: &ruling::Ruling, mut fit: lattice::Fit, period: lattice::Period) -> lattice::Fit {
    for _ in 0..GROW_ROUNDS_MAX {
        let Some(flat) = fit.homography else { break };
        let map = PageMap::new(flat, fit.mesh());
        let next = lattice::refine(ruling, &map, period, Paper::Folded, Lines::All);
        let more = next.len() as f32 / fit.len().max(1) as f32;
        if more < 1.0 || next.homography.is_none() {
            break;
        }
        fit = next;
        if more < GROWTH_MIN {
            break;
        }
    }
    fit
}

/// The same by the lines that stand clear of ink, where that loses none of the places.
fn cleared(ruling: &ruling::Ruling, fit: lattice::Fit, period: lattice::Period) -> lattice::Fit {
    let Some(flat) = fit.homography.filter(|_| fit.residual_mm > FLAT_MM) else {
        return fit;
    };
    let map = PageMap::new(flat, mesh_of(&fit));
    let paper = if fit.residual_mm > FOLDED_MM {
        Paper::Folded
    } else {
        Paper::Flat
    };
    let next = lattice::refine(ruling, &map, period, paper, Lines::Clear);
    if next.homography.is_some() && next.len() as f32 >= CLEARED_SHARE_MIN * fit.len() as f32 {
        next
    } else {
        fit
    }
}

/// The candidate with the highest score, the last of equals; each is scored once.
fn best<T: Copy>(candidates: impl Iterator<Item = T>, score: impl Fn(T) -> f32) -> Option<T> {
    let scored = candidates.map(|candidate| (candidate, score(candidate)));
    let (candidate, _) = scored.max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(candidate)
}

/// The anchor on paper whose writing is upright.
fn turned(anchor: lattice::Anchor, turn: QuarterTurn) -> lattice::Anchor {
    let [x, y] = anchor.paper;
    let paper = match turn {
        QuarterTurn::None => [x, y],
        QuarterTurn::Half => [-x, -y],
        QuarterTurn::Right => [-y, x],
        QuarterTurn::Left => [y, -x],
    };
    lattice::Anchor { paper, ..anchor }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{Homography, InPage, Point};

    fn find_grid(image: &RawImage, turn: QuarterTurn) -> Result<Grid, GridError> {
        PageLines::of(image).grid(image, turn)
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Look {
        Lines,
        MinorOnly,
        MajorOnly,
        Dots,
        /// Lines in black, some of them as dark as the trace.
        Dark,
        /// 5 mm lines, and something pale half way between them.
        Between,
        None,
    }

    /// A page of 200 x 150 mm under `map` (mm to px), with a trace drawn over its grid.
    fn page(map: &Homography, look: Look, noise: i32) -> RawImage {
        let back = map.inverse();
        page_of(|x, y| back.apply(x, y), look, noise)
    }

    /// The same, where `back` tells the millimetres of a pixel.
    fn page_of(back: impl Fn(f64, f64) -> (f64, f64), look: Look, noise: i32) -> RawImage {
        let (width, height) = (1700, 1300);
        let mut rgb = Vec::with_capacity(3 * width * height);
        let mut seed = 1u32;
        for y in 0..height {
            for x in 0..width {
                let (u, v) = back(x as f64, y as f64);
                let near =
                    |w: f64, pitch: f64| ((w / pitch + 0.5).floor() * pitch - w).abs() < 0.09;
                let (minor, major) = ((near(u, 1.0), near(v, 1.0)), near(u, 5.0) || near(v, 5.0));
                let ruled = match look {
                    Look::Lines | Look::MinorOnly | Look::Dark => minor.0 || minor.1,
                    Look::MajorOnly => major,
                    Look::Between => near(u, 2.5) || near(v, 2.5),
                    Look::Dots => minor.0 && minor.1,
                    Look::None => false,
                };
                let trace = ((v - 8.0 * (u * 0.31).sin()).rem_euclid(30.0)) < 0.4;
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let grain = (seed >> 24) as i32 * noise / 256;
                let color = match (trace, ruled, major && look != Look::MinorOnly) {
                    (true, _, _) => [30, 30, 35],
                    (_, true, false) if look == Look::Between => [250, 232, 230],
                    (_, true, true) if look == Look::Dark => [60, 62, 64],
                    (_, true, false) if look == Look::Dark => [150, 148, 148],
                    (_, true, true) => [240, 150, 150],
                    (_, true, false) => [245, 195, 195],
                    _ => [250, 248, 246],
                };
                rgb.extend(color.map(|c: i32| (c - grain).clamp(0, 255) as u8));
            }
        }
        RawImage::new(width, height, rgb).unwrap()
    }

    fn check(scale: (f64, f64), degrees: f64, bend: f64, look: Look) {
        let turn =
            Homography::similarity(scale.0, scale.1, degrees.to_radians(), (90.0, 60.0)).unwrap();
        let tilt = Homography::new([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, bend, -bend, 1.0]).unwrap();
        let truth = tilt.after(&turn);
        let grid = find_grid(&page(&truth, look, 20), QuarterTurn::None).expect("a grid is drawn");
        let place = |x: f32, y: f32| {
            let px = truth.apply(f64::from(x), f64::from(y));
            grid.map.to_paper(Point::new(px.0 as f32, px.1 as f32))
        };
        let origin: Point<InPaper> = place(90.0, 70.0);
        for (x, y) in [
            (30.0, 30.0),
            (150.0, 30.0),
            (30.0, 110.0),
            (150.0, 110.0),
            (60.0, 90.0),
        ] {
            let found = place(x, y);
            let off = (found.x - origin.x - (x - 90.0)).hypot(found.y - origin.y - (y - 70.0));
            assert!(off < 0.15, "({x}, {y}) is {off} mm off");
        }
        assert_eq!(grid.is_dark, look == Look::Dark);
    }

    #[test]
    fn flat_and_turned_grids() {
        check((8.0, 8.0), 0.0, 0.0, Look::Lines);
        check((7.6, 8.0), 1.3, 0.0, Look::Lines);
        check((6.0, 6.0), -6.0, 0.0, Look::Lines);
    }

    #[test]
    fn a_page_seen_aslant() {
        check((8.0, 8.0), 1.0, 2e-5, Look::Lines);
    }

    #[test]
    fn the_lines_are_followed_behind_folds() {
        let map = Homography::similarity(8.0, 8.0, 0.01, (60.0, 60.0)).unwrap();
        let flat = map.inverse();
        // Behind each fold the sheet is foreshortened, and rises.
        let folds = [(60.0, -1.0), (130.0, 1.0)];
        let back = |x: f64, y: f64| {
            let (u, v) = flat.apply(x, y);
            folds.into_iter().fold((u, v), |(u, v), (fold, side)| {
                let behind = ((u - fold) * side).max(0.0) / 0.91;
                (u + side * 0.09 * behind, v - 0.05 * behind)
            })
        };
        let forth = |u: f64, v: f64| {
            let (u, v) = folds.into_iter().fold((u, v), |(u, v), (fold, side)| {
                let behind = ((u - fold) * side).max(0.0);
                (u - side * 0.09 * behind, v + 0.05 * behind)
            });
            map.apply(u, v)
        };
        let grid = find_grid(&page_of(back, Look::MajorOnly, 20), QuarterTurn::None).unwrap();
        let place = |u: f64, v: f64| {
            let (x, y) = forth(u, v);
            grid.map.to_paper(Point::<InPage>::new(x as f32, y as f32))
        };
        let origin = place(95.0, 70.0);
        for (u, v) in [
            (20.0, 40.0),
            (20.0, 110.0),
            (95.0, 110.0),
            (180.0, 40.0),
            (180.0, 110.0),
        ] {
            let found = place(u, v);
            let off = [
                found.x - origin.x - (u as f32 - 95.0),
                found.y - origin.y - (v as f32 - 70.0),
            ];
            assert!(off[0].hypot(off[1]) < 0.4, "({u}, {v}) is {off:?} mm off");
        }
    }

    #[test]
    fn a_wave_of_a_whole_millimetre_is_followed_where_all_lines_look_alike() {
        let map = Homography::similarity(8.0, 8.0, 0.01, (60.0, 60.0)).unwrap();
        let flat = map.inverse();
        // Across the wave the sum of both coordinates stays.
        let wave = |sum: f64| 0.55 * (std::f64::consts::TAU * sum / 130.0).sin();
        let back = |x: f64, y: f64| {
            let (u, v) = flat.apply(x, y);
            (u + wave(u + v), v - wave(u + v))
        };
        let grid = find_grid(&page_of(back, Look::MinorOnly, 20), QuarterTurn::None).unwrap();
        let place = |u: f64, v: f64| {
            let (x, y) = map.apply(u - wave(u + v), v + wave(u + v));
            grid.map.to_paper(Point::<InPage>::new(x as f32, y as f32))
        };
        let origin = place(95.0, 70.0);
        for u in (20..=180).step_by(20) {
            let found = place(f64::from(u), 70.0);
            let off = [found.x - origin.x - (u as f32 - 95.0), found.y - origin.y];
            assert!(off[0].hypot(off[1]) < 0.3, "{u} is {off:?} mm off");
        }
    }

    #[test]
    fn lines_that_alias_with_the_pixels_are_counted_as_millimetres() {
        for scale in [5.3, 6.45, 7.2, 7.7] {
            check((scale, scale), 0.0, 0.0, Look::MinorOnly);
        }
    }

    #[test]
    fn squares_of_a_compression_are_no_grid() {
        // Noise that is stronger along the edges of 8 x 8 squares: the darkest of three channels is
        // darker there, no channel is.
        let (width, height) = (1700, 1300);
        let mut seed = 1u32;
        let mut noise = |size: i32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as i32 * 2 * size / 255 - size
        };
        let is_edge = |v: usize| matches!(v % 8, 0 | 7);
        let mut rgb = Vec::with_capacity(3 * width * height);
        for y in 0..height {
            for x in 0..width {
                let size = if is_edge(x) || is_edge(y) { 30 } else { 15 };
                rgb.extend([0, 1, 2].map(|_| (210 + noise(size)) as u8));
            }
        }
        let found = find_grid(
            &RawImage::new(width, height, rgb).unwrap(),
            QuarterTurn::None,
        );
        assert!(
            matches!(found, Err(GridError::NotPrinted { .. })),
            "{found:?}"
        );
    }

    #[test]
    fn lines_as_dark_as_ink() {
        check((7.7, 7.7), 0.4, 0.0, Look::Dark);
    }

    #[test]
    fn what_stands_between_the_lines_halves_no_millimetre() {
        check((8.0, 8.0), 0.7, 0.0, Look::Between);
    }

    #[test]
    fn dots_and_coarse_lines() {
        check((8.0, 8.0), 0.7, 0.0, Look::Dots);
        check((8.0, 8.0), 0.7, 0.0, Look::MajorOnly);
    }

    #[test]
    fn traces_alone_are_no_grid() {
        let map = Homography::similarity(8.0, 8.0, 0.01, (0.0, 0.0)).unwrap();
        assert!(find_grid(&page(&map, Look::None, 20), QuarterTurn::None).is_err());
    }

    #[test]
    fn the_turn_decides_where_x_runs() {
        let map = Homography::similarity(8.0, 8.0, 0.0, (0.0, 0.0)).unwrap();
        let grid = find_grid(&page(&map, Look::Lines, 0), QuarterTurn::Right).unwrap();
        let (a, b) = (
            grid.map.to_page(Point::new(0.0, 0.0)),
            grid.map.to_page(Point::new(10.0, 0.0)),
        );
        assert!(
            (b.x - a.x).abs() < 0.5 && (b.y - a.y + 80.0).abs() < 0.5,
            "{a:?} {b:?}"
        );
    }
}
