//! The paper's grid: where every millimetre of the page lies in the picture.
//!
//! In: the picture, and the quarter turn that brings its writing upright. Out: `Grid` with a
//! `PageMap`, its x along the writing, in millimetres counted by grid lines (origin near the
//! picture's middle). No grid is an error, never a guess.
//!
//! ```text
//!   picture --ruling: darkness of coloured or pale lines--> raster
//!           --windows: combs in local spectra, followed across the page--> anchors
//!           --lattice: homography and mesh; the lines' offsets in 8 mm cells, twice
//! ```

mod lattice;
mod ruling;
mod spectrum;
mod windows;

use crate::page::{Bounds, InPaper, PageMap, QuarterTurn, RawImage};
use crate::units::Mm;

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
}

const STRENGTH_MIN: f32 = 0.55;
const SEEN_MIN: f32 = 0.12;
const RESIDUAL_MAX_MM: f32 = 0.35;
/// A flat page's lines lie this close to a homography; a mesh would only add noise.
const FLAT_MM: f32 = 0.06;

/// Finds the grid of a page whose writing is upright after `turn`.
pub fn find_grid(image: &RawImage, turn: QuarterTurn) -> Result<Grid, GridError> {
    let ruling = ruling::Ruling::of(image);
    let windows = windows::search(&ruling);
    if windows.strength < STRENGTH_MIN {
        return Err(GridError::NoRuling {
            strength: windows.strength,
            needed: STRENGTH_MIN,
        });
    }
    let anchors = windows
        .anchors
        .iter()
        .map(|anchor| turned(*anchor, turn))
        .collect();
    let mut fit = lattice::Fit::of(anchors, windows.seen, windows.period);
    for _ in 0..2 {
        let Some(flat) = fit.homography else { break };
        let mesh = if fit.residual_mm > FLAT_MM {
            fit.mesh()
        } else {
            None
        };
        fit = lattice::refine(&ruling, &PageMap::new(flat, mesh), windows.period);
    }
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
    let mesh = if fit.residual_mm > FLAT_MM {
        fit.mesh()
    } else {
        None
    };
    let map = PageMap::new(ruling.to_image(&flat), mesh);
    Ok(Grid {
        map,
        seen: fit.seen,
        residual_mm: fit.residual_mm,
        area: fit.area(),
    })
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
    use crate::page::{Homography, Point};

    #[derive(Clone, Copy, PartialEq)]
    enum Look {
        Lines,
        MajorOnly,
        Dots,
        None,
    }

    /// A page of 200 x 150 mm under `map` (mm to px), with a trace drawn over its grid.
    fn page(map: &Homography, look: Look, noise: i32) -> RawImage {
        let (width, height) = (1700, 1300);
        let back = map.inverse();
        let mut rgb = Vec::with_capacity(3 * width * height);
        let mut seed = 1u32;
        for y in 0..height {
            for x in 0..width {
                let (u, v) = back.apply(x as f64, y as f64);
                let near =
                    |w: f64, pitch: f64| ((w / pitch + 0.5).floor() * pitch - w).abs() < 0.09;
                let (minor, major) = ((near(u, 1.0), near(v, 1.0)), near(u, 5.0) || near(v, 5.0));
                let ruled = match look {
                    Look::Lines => minor.0 || minor.1,
                    Look::MajorOnly => major,
                    Look::Dots => minor.0 && minor.1,
                    Look::None => false,
                };
                let trace = ((v - 8.0 * (u * 0.31).sin()).rem_euclid(30.0)) < 0.4;
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let grain = (seed >> 24) as i32 * noise / 256;
                let color = match (trace, ruled, major) {
                    (true, _, _) => [30, 30, 35],
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
