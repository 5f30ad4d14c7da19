//! The map that follows the grid's lines.
//!
//! In: anchors (places whose millimetres are known) from the windows, then, closer, from cells of
//! the paper that are read under the map so far: each cell's darkness is summed along the lines
//! into a profile, and the profile's harmonics of 5 mm tell how far the lines lie off the map.
//! Out: a homography fitted to all anchors, and their residuals as a mesh.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::best;
use super::ruling::Ruling;
use super::surface;
use super::turns::{HARMONICS, Turns, Waves};
use crate::math;
use crate::page::{Bounds, Homography, InPage, InPaper, Mesh, PageMap, Point};
use crate::units::Mm;

/// Bands of paper whose profiles are kept apart, and the profiles' bins.
const BAND_MM: f32 = 6.0;
const BIN_MM: f32 = 0.125;
/// Cells stand this far apart, and see with a Gaussian of this width.
const CELL_MM: f32 = 8.0;
const REACH_MM: f32 = 5.5;
const PERIOD_MM: f32 = 5.0;
/// Lines lie at most this far off the map that the cells are read under.
const OFF_MAX_MM: f32 = 1.6;
/// The comb must be this much stronger than combs of other periods.
const TRUST_MIN: f32 = 2.2;
/// What stands clear of ink tells a place no further than this off what all tells: of dark 5 mm
/// lines only the paler ones between may be left, which all look alike.
const CLEAR_OFF_MAX_MM: f32 = 0.5;
/// Neighbours of an anchor, and how far it may lie off them; on folded paper by this share of the
/// lines' distance as well.
const NEAR_MM: f64 = 22.0;
const REST_MM: f32 = 0.45;
const REST_SHARE: f32 = 0.16;
/// The same where all lines look alike, as a share of their distance.
const FINE_REST_SHARE: f32 = 0.35;
/// Cells this near to one another are side by side.
const BESIDE_MM: f64 = 12.0;
/// So many neighbours tell how the paper slopes, and their spread counts against this one (mm2).
const PLANE_ANCHORS_MIN: usize = 6;
const SLOPE_CALM: f64 = 20.0;
const MEND_ROUNDS: usize = 2;
/// Node distance of the mesh, how many nodes it has at most, and how stiff it is, against an anchor:
/// near a plane little is left beside noise.
const MESH_MM: f32 = 8.0;
const NODES_MAX: usize = 10_000;
const STIFFNESS_FLAT: f64 = 4.0;
const STIFFNESS_FOLDED: f64 = 0.05;
/// A node goes by the anchors around it, so near (Gaussian) and so far.
const SEEN_MM: f64 = 6.5;
const SEEN_MM_MAX: f64 = 36.0;
/// Of flat paper, the plane counts so much at a node, beside its anchors (each 1 at most).
const FADE_WEIGHT: f32 = 0.05;
/// Of folded paper, nodes whose anchors count less continue the slope of those around, this wide
/// (Gaussian) and so far; the mesh reaches so far beyond the anchors.
const NODE_WEIGHT_MIN: f32 = 0.2;
const SLOPE_MM: f64 = 14.0;
const SLOPE_MM_MAX: f64 = 45.0;
const BEYOND_MM: f32 = 24.0;
/// Pixels that share one shift of the mesh; along them the map is a straight line.
const STEP_PX: usize = 16;
/// Longest side of the paper that is read.
const SIDE_MM_MAX: f32 = 900.0;

/// A place in the raster whose millimetres are known.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    pub paper: [f64; 2],
    pub px: [f64; 2],
    pub residual: [f32; 2],
}

/// Distance of lines that look alike, millimetres: 1 where the 5 mm lines do not stand out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Period(pub f32);

impl Period {
    /// Whether lines nearer than 5 mm all look alike.
    fn is_fine(self) -> bool {
        self.0 < PERIOD_MM
    }
}

/// Share of the anchors at each end that may be stray, and what lies around the others: half a
/// cell, and a label that stands beside the ruling.
const STRAY_SHARE: f32 = 0.01;
const AROUND_MM: f32 = 10.0;

/// What paper may do between anchors and beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paper {
    /// It lies near a plane, and where nothing was seen, on it.
    Flat,
    /// It slopes: behind a fold it goes on as it began.
    Folded,
}

/// What is read as lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// All that is dark: finds the most of them.
    All,
    /// Where that says it better, what stands clear of ink: ink beside a line draws it.
    Clear,
}

/// What the anchors say.
pub struct Fit {
    pub homography: Option<Homography>,
    /// Share of cells on the page in which both rulings are trusted.
    pub seen: f32,
    pub residual_mm: f32,
    /// The same over the better half of the anchors.
    pub core_residual_mm: f32,
    anchors: Vec<Anchor>,
    paper: Paper,
}

impl Fit {
    /// Fits a homography to the anchors.
    pub fn of(mut anchors: Vec<Anchor>, seen: f32, period: Period, paper: Paper) -> Self {
        let mut homography = robust(&mut anchors);
        for _ in 0..MEND_ROUNDS {
            anchors = mended(&anchors, period, paper);
            homography = robust(&mut anchors);
        }
        let mut squares: Vec<f32> = anchors
            .iter()
            .map(|a| math::square(a.residual[0]) + math::square(a.residual[1]))
            .collect();
        squares.sort_by(f32::total_cmp);
        let mean = |part: &[f32]| (part.iter().sum::<f32>() / part.len().max(1) as f32).sqrt();
        let (residual_mm, core_residual_mm) = (mean(&squares), mean(&squares[..squares.len() / 2]));
        Self {
            homography,
            seen,
            residual_mm,
            core_residual_mm,
            anchors,
            paper,
        }
    }

    /// The paper between the outermost anchors, a few stray ones left out.
    pub fn area(&self) -> Bounds<InPaper> {
        let ends = |axis: usize| {
            let mut places: Vec<f32> = self.anchors.iter().map(|a| a.paper[axis] as f32).collect();
            places.sort_by(f32::total_cmp);
            let stray = (places.len() as f32 * STRAY_SHARE) as usize;
            let (first, last) = (
                places.get(stray),
                places.get(places.len().saturating_sub(1 + stray)),
            );
            (
                first.map_or(0.0, |v| v - AROUND_MM),
                last.map_or(0.0, |v| v + AROUND_MM),
            )
        };
        let ((left, right), (top, bottom)) = (ends(0), ends(1));
        Bounds::new(left, top, right, bottom)
    }
}

/// Anchors with the counts of lines put right. How far the paper lies off the plane changes slowly
/// from place to place; where it jumps by whole periods of the lines, a line was miscounted. From
/// the places nearest to the plane outwards, each takes the count that continues its neighbours;
/// what lies a fraction off them is an error and dropped.
fn mended(anchors: &[Anchor], period: Period, paper: Paper) -> Vec<Anchor> {
    let size = |a: &Anchor| math::hypot(a.residual[0], a.residual[1]);
    let mut order: Vec<usize> = (0..anchors.len()).collect();
    order.sort_by(|a, b| size(&anchors[*a]).total_cmp(&size(&anchors[*b])));
    let mut done: Vec<Option<[f32; 2]>> = vec![None; anchors.len()];
    let mut kept: Vec<bool> = vec![false; anchors.len()];
    let mut queue: BinaryHeap<(Reverse<u32>, usize)> = BinaryHeap::new();
    for first in order {
        if done[first].is_some() {
            continue;
        }
        queue.push((Reverse(0), first));
        while let Some((_, k)) = queue.pop() {
            if done[k].is_some() {
                continue;
            }
            let near: Vec<usize> = neighbours(anchors, k);
            let (counted, is_kept) = count_lines(anchors, &done, &near, k, (period, paper));
            done[k] = Some(counted);
            kept[k] = is_kept;
            if !is_kept {
                continue;
            }
            for n in near.into_iter().filter(|n| done[*n].is_none()) {
                let (from, to) = (anchors[k].paper, anchors[n].paper);
                let is_beside = (0..2).all(|axis| (to[axis] - from[axis]).abs() < BESIDE_MM);
                let jump = (0..2).map(|axis| {
                    let off = (anchors[n].residual[axis] - counted[axis]) / period.0;
                    (off - off.round()).abs()
                });
                // Where all lines look alike, a band in which the paper rises by a whole period must
                // be crossed step by step, not leapt over.
                let leap = if is_beside || !period.is_fine() {
                    0.0
                } else {
                    1.0
                };
                let doubt = leap + jump.fold(0.0, f32::max);
                queue.push((Reverse((1000.0 * doubt) as u32), n));
            }
        }
    }
    let moved = |k: usize| {
        let counted = done[k].filter(|_| kept[k])?;
        let mut out = anchors[k];
        for (axis, counted) in counted.into_iter().enumerate() {
            out.paper[axis] += f64::from(anchors[k].residual[axis] - counted);
        }
        Some(out)
    };
    (0..anchors.len()).filter_map(moved).collect()
}

fn neighbours(anchors: &[Anchor], k: usize) -> Vec<usize> {
    let near = |n: &usize| {
        let (a, b) = (anchors[*n].paper, anchors[k].paper);
        *n != k && (a[0] - b[0]).abs().max((a[1] - b[1]).abs()) < NEAR_MM
    };
    (0..anchors.len()).filter(near).collect()
}

/// The residual of anchor `k` with its lines counted as its neighbours count, and whether it then
/// lies near enough to them.
fn count_lines(
    anchors: &[Anchor],
    done: &[Option<[f32; 2]>],
    near: &[usize],
    k: usize,
    (period, paper): (Period, Paper),
) -> ([f32; 2], bool) {
    let mut counted = anchors[k].residual;
    let around: Vec<([f64; 2], [f32; 2])> = near
        .iter()
        .filter_map(|n| Some((anchors[*n].paper, done[*n]?)))
        .collect();
    if around.is_empty() {
        return (counted, true);
    }
    let (usual, rest_mm) = match paper {
        _ if period.is_fine() => (
            beside(&around, anchors[k].paper),
            FINE_REST_SHARE * period.0,
        ),
        Paper::Flat => (medians(&around), REST_MM),
        Paper::Folded => {
            let usual = continued(&around, anchors[k].paper);
            (usual, REST_MM.max(REST_SHARE * period.0))
        }
    };
    let mut kept = true;
    for axis in 0..2 {
        let off = (counted[axis] - usual[axis]) / period.0;
        counted[axis] -= period.0 * off.round();
        kept &= (counted[axis] - usual[axis]).abs() < rest_mm;
    }
    (counted, kept)
}

/// Residuals around a place continued to it by a plane, or by their medians, where they are few.
fn continued(around: &[([f64; 2], [f32; 2])], at: [f64; 2]) -> [f32; 2] {
    let all = around.iter().map(|(place, value)| (*place, *value, 1.0));
    plane(all, SLOPE_CALM)
        .filter(|_| around.len() >= PLANE_ANCHORS_MIN)
        .map_or_else(|| medians(around), |plane| plane.at(at))
}

/// The same, where the nearest count most: lines that all look alike are counted by steps smaller
/// than half of their distance.
fn beside(around: &[([f64; 2], [f32; 2])], at: [f64; 2]) -> [f32; 2] {
    let weighed = around.iter().map(|(place, value)| {
        let off = [0, 1].map(|k| (place[k] - at[k]) / CELL_MM as f64);
        let weight = math::exp((-0.5 * (off[0] * off[0] + off[1] * off[1])) as f32);
        (*place, *value, f64::from(weight))
    });
    plane(weighed, SLOPE_CALM).map_or_else(|| medians(around), |plane| plane.at(at))
}

fn medians(around: &[([f64; 2], [f32; 2])]) -> [f32; 2] {
    [0, 1].map(|axis| {
        let mut values: Vec<f32> = around.iter().map(|(_, value)| value[axis]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable_by(middle, f32::total_cmp).1
    })
}

/// A place, how far it is shifted, and its weight.
type Shifted = ([f64; 2], [f32; 2], f64);

/// Shifts that change evenly along both axes.
struct Plane {
    middle: [f64; 2],
    value: [f32; 2],
    /// A millimetre of x and of y.
    slope: [[f32; 2]; 2],
}

impl Plane {
    fn at(&self, place: [f64; 2]) -> [f32; 2] {
        let off = [0, 1].map(|k| (place[k] - self.middle[k]) as f32);
        [0, 1].map(|axis| {
            self.value[axis] + off[0] * self.slope[0][axis] + off[1] * self.slope[1][axis]
        })
    }
}

/// Weighted least squares; `calm` square millimetres of spread are added to the places', so that
/// what is close together gets no slope.
fn plane(points: impl Iterator<Item = Shifted> + Clone, calm: f64) -> Option<Plane> {
    let sum = |f: &dyn Fn(&Shifted) -> f64| points.clone().map(|p| f(&p)).sum::<f64>();
    let weight = sum(&|p| p.2);
    if weight < 1e-3 {
        return None;
    }
    let mean = |f: &dyn Fn(&Shifted) -> f64| sum(&|p| p.2 * f(p)) / weight;
    let middle = [mean(&|p| p.0[0]), mean(&|p| p.0[1])];
    let value = [mean(&|p| f64::from(p.1[0])), mean(&|p| f64::from(p.1[1]))];
    let off = |p: &Shifted, k: usize| p.0[k] - middle[k];
    let [xx, xy, yy] = [(0, 0), (0, 1), (1, 1)].map(|(a, b)| mean(&|p| off(p, a) * off(p, b)));
    let (xx, yy) = (xx + calm, yy + calm);
    let det = xx * yy - xy * xy;
    let slopes = [0, 1].map(|axis| {
        let by = |k: usize| mean(&|p| off(p, k) * (f64::from(p.1[axis]) - value[axis]));
        let (x, y) = (by(0), by(1));
        [(yy * x - xy * y) / det, (xx * y - xy * x) / det]
    });
    Some(Plane {
        middle,
        value: value.map(|v| v as f32),
        slope: [0, 1].map(|k| slopes.map(|axis| axis[k] as f32)),
    })
}

/// Reads the cells of the paper under `map` and fits again.
pub fn refine(ruling: &Ruling, map: &PageMap, period: Period, paper: Paper, lines: Lines) -> Fit {
    let profiles = Profiles::sum(ruling, map, lines);
    let (columns, rows) = profiles.cell_counts();
    let mut anchors = Vec::new();
    let mut on_page = 0usize;
    for row in 0..rows {
        for column in 0..columns {
            let center = profiles.center(column, row);
            let px = map.to_page(center);
            let inside = px.x > 0.0
                && px.y > 0.0
                && px.x < ruling.width as f32
                && px.y < ruling.height as f32;
            on_page += usize::from(inside);
            let (true, Some(dx)) = (inside, profiles.offset(0, center)) else {
                continue;
            };
            let Some(dy) = profiles.offset(1, center) else {
                continue;
            };
            anchors.push(Anchor {
                paper: [f64::from(center.x - dx), f64::from(center.y - dy)],
                px: [f64::from(px.x), f64::from(px.y)],
                residual: [0.0; 2],
            });
        }
    }
    let seen = anchors.len() as f32 / on_page.max(1) as f32;
    Fit::of(anchors, seen, period, paper)
}

/// Darkness along x in bands of y, and along y in bands of x.
struct Profiles {
    left_mm: f32,
    top_mm: f32,
    width_mm: f32,
    height_mm: f32,
    /// Of all that is dark, and, where it is asked for, of what stands clear of ink.
    all: [Axis; 2],
    clear: Option<[Axis; 2]>,
    trials: Trials,
}

/// How far lines lie off the map, and how much stronger their comb is than combs of other periods.
#[derive(Clone, Copy)]
struct Comb {
    off: f32,
    trust: f32,
}

/// Darkness of the pixels in each bin of each band, and how many they are.
struct Sums {
    bins: usize,
    bands: usize,
    sums: Vec<[f32; 2]>,
}

impl Sums {
    fn new(along_mm: f32, across_mm: f32) -> Self {
        let (bins, bands) = (
            (along_mm / BIN_MM) as usize + 1,
            (across_mm / BAND_MM) as usize + 1,
        );
        Self {
            bins,
            bands,
            sums: vec![[0.0; 2]; bins * bands],
        }
    }

    /// Adds those of the pixels along a line that are there.
    fn add(&mut self, mut line: Run, pixels: impl Iterator<Item = Option<f32>>) {
        for dark in pixels {
            let (bin, band) = (line.bin >> FRACTION_BITS, line.band >> FRACTION_BITS);
            // What is negative is a large number without its sign.
            if let Some(dark) = dark
                && (bin as usize) < self.bins
                && (band as usize) < self.bands
            {
                let [sum, count] = &mut self.sums[band as usize * self.bins + bin as usize];
                *sum += dark;
                *count += 1.0;
            }
            line.bin = line.bin.wrapping_add(line.steps[0]);
            line.band = line.band.wrapping_add(line.steps[1]);
        }
    }
}

/// A line through bins and bands, in fixed-point numbers.
#[derive(Clone, Copy)]
struct Run {
    bin: i32,
    band: i32,
    steps: [i32; 2],
}

const FRACTION_BITS: u32 = 16;
const _: () = assert!(SIDE_MM_MAX / BIN_MM < (1 << (31 - FRACTION_BITS)) as f32);

impl Run {
    /// Along `axis` from one place on the paper towards another, `STEP_PX` pixels further on.
    fn between(from: [f32; 2], to: [f32; 2], axis: usize) -> Self {
        // Numbers too large for this are cut to the largest, which lies outside all bins.
        let fixed = |v: f32| (v * (1 << FRACTION_BITS) as f32) as i32;
        let [bin, band] = [(axis, BIN_MM), (1 - axis, BAND_MM)].map(|(axis, size_mm)| {
            let step = (to[axis] - from[axis]) / STEP_PX as f32;
            (fixed(from[axis] / size_mm), fixed(step / size_mm))
        });
        Self {
            bin: bin.0,
            band: band.0,
            steps: [bin.1, band.1],
        }
    }
}

/// The means, `sums[band * bins + bin]`, made free of slow changes.
struct Axis {
    bins: usize,
    bands: usize,
    sums: Vec<f32>,
}

impl Profiles {
    fn sum(ruling: &Ruling, map: &PageMap, lines: Lines) -> Self {
        let corners = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(a, b)| {
            let x = (a * (ruling.width - 1)) as f32;
            let y = (b * (ruling.height - 1)) as f32;
            map.to_paper(Point::<InPage>::new(x, y))
        });
        let low = |f: fn(&Point<InPaper>) -> f32| corners.iter().map(f).fold(f32::MAX, f32::min);
        let high = |f: fn(&Point<InPaper>) -> f32| corners.iter().map(f).fold(f32::MIN, f32::max);
        let (left_mm, top_mm) = (low(|p| p.x), low(|p| p.y));
        let width_mm = (high(|p| p.x) - left_mm).clamp(1.0, SIDE_MM_MAX);
        let height_mm = (high(|p| p.y) - top_mm).clamp(1.0, SIDE_MM_MAX);
        let sums = || {
            [
                Sums::new(width_mm, height_mm),
                Sums::new(height_mm, width_mm),
            ]
        };
        let (mut all, mut clear) = (sums(), (lines == Lines::Clear).then(sums));
        let place = |x: usize, y: usize| {
            let at = map.to_paper(Point::<InPage>::new(x as f32, y as f32));
            [at.x - left_mm, at.y - top_mm]
        };
        let rows = ruling.dark.chunks_exact(ruling.width);
        for (y, (dark, inky)) in rows.zip(ruling.inky.chunks_exact(ruling.width)).enumerate() {
            let flat = |k: usize| map.flat_to_paper((k * STEP_PX) as f32, y as f32);
            let steps = dark.chunks(STEP_PX).zip(inky.chunks(STEP_PX));
            for (k, (dark, inky)) in steps.enumerate() {
                // The mesh's shift is that of the first pixel: behind a fold that is still to be
                // followed, its slope is a guess, and lines read along it jump.
                let (from, ends) = (place(k * STEP_PX, y), [flat(k), flat(k + 1)]);
                let to = [
                    from[0] + ends[1].x - ends[0].x,
                    from[1] + ends[1].y - ends[0].y,
                ];
                for axis in 0..2 {
                    let line = Run::between(from, to, axis);
                    all[axis].add(line, dark.iter().map(|dark| Some(f32::from(*dark))));
                    if let Some(clear) = &mut clear {
                        let pixels = dark.iter().zip(inky);
                        let clear_alone =
                            |(dark, inky): (&u8, &bool)| (!inky).then_some(f32::from(*dark));
                        clear[axis].add(line, pixels.map(clear_alone));
                    }
                }
            }
        }
        let axes = |sums: [Sums; 2]| sums.map(|sums| Axis::of(&sums));
        Self {
            left_mm,
            top_mm,
            width_mm,
            height_mm,
            all: axes(all),
            clear: clear.map(axes),
            trials: Trials::new(),
        }
    }

    fn cell_counts(&self) -> (usize, usize) {
        (
            (self.width_mm / CELL_MM) as usize,
            (self.height_mm / CELL_MM) as usize,
        )
    }

    fn center(&self, column: usize, row: usize) -> Point<InPaper> {
        Point::new(
            self.left_mm + (column as f32 + 0.5) * CELL_MM,
            self.top_mm + (row as f32 + 0.5) * CELL_MM,
        )
    }

    /// How far the lines across `axis` lie beyond the map's whole periods, where trusted.
    fn offset(&self, axis: usize, center: Point<InPaper>) -> Option<f32> {
        let place = [center.x - self.left_mm, center.y - self.top_mm];
        // Paper coordinates of bin 0, so that phases are the map's own.
        let origin = [self.left_mm, self.top_mm][axis];
        let comb =
            |axes: &[Axis; 2]| axes[axis].comb(place[axis], place[1 - axis], origin, &self.trials);
        // Of dark or sparse lines little stands clear of ink.
        let all = comb(&self.all)?;
        let clear = self.clear.as_ref().and_then(comb);
        let is_better = |clear: &Comb| {
            clear.trust > all.trust && (clear.off - all.off).abs() < CLEAR_OFF_MAX_MM
        };
        let best = clear.filter(is_better).unwrap_or(all);
        (all.trust > TRUST_MIN && best.off.abs() < OFF_MAX_MM - 0.1).then_some(best.off)
    }
}

impl Axis {
    fn of(of: &Sums) -> Self {
        let (bins, bands) = (of.bins, of.bands);
        let mut out = vec![0f32; bins * bands];
        let reach = (PERIOD_MM / BIN_MM / 2.0) as usize;
        for band in 0..bands {
            let mean = |k: usize| {
                let [sum, count] = of.sums[band * bins + k];
                if count > 0.0 { sum / count } else { f32::NAN }
            };
            let line: Vec<f32> = (0..bins).map(mean).collect();
            // Sums and counts of the bins before each.
            let mut before = vec![(0.0f64, 0.0f64); bins + 1];
            for (k, value) in line.iter().enumerate() {
                let (sum, count) = before[k];
                before[k + 1] = match value.is_nan() {
                    true => (sum, count),
                    false => (sum + f64::from(*value), count + 1.0),
                };
            }
            for k in 0..bins {
                let (from, to) = (k.saturating_sub(reach), (k + reach + 1).min(bins));
                let (sum, count) = (before[to].0 - before[from].0, before[to].1 - before[from].1);
                if !line[k].is_nan() && count > 0.0 {
                    out[band * bins + k] = line[k] - (sum / count) as f32;
                }
            }
        }
        Self {
            bins,
            bands,
            sums: out,
        }
    }

    /// The lines' comb around a place whose bin 0 is at `origin` of the paper.
    fn comb(&self, along: f32, across: f32, origin: f32, trials: &Trials) -> Option<Comb> {
        let profile = self.profile(along, across, &trials.near);
        let first = ((along - 3.0 * REACH_MM) / BIN_MM).floor() + 0.5;
        let waves = waves(&profile, first * BIN_MM + origin);
        let size = |w: [f32; 2]| math::hypot(w[0], w[1]);
        // The comb's tones, and those between them.
        let tones: Waves = std::array::from_fn(|k| waves[2 * k + 1]);
        let noise =
            (1..HARMONICS).map(|k| size(waves[2 * k])).sum::<f32>() / (HARMONICS - 1) as f32;
        let coarse = best(0..trials.coarse.places.len(), |k| {
            trials.coarse.sum(k, &tones) * trials.calm[k]
        })?;
        let tones = trials.coarse.turned(coarse, &tones);
        let fine = best(0..trials.fine.places.len(), |k| trials.fine.sum(k, &tones))?;
        let off = (trials.coarse.places[coarse] + trials.fine.places[fine]) * PERIOD_MM;
        let trust = trials.fine.sum(fine, &tones);
        let trust = trust / (noise * (HARMONICS as f32).sqrt()).max(f32::MIN_POSITIVE);
        Some(Comb { off, trust })
    }

    /// The bins around a place, weighted by nearness along and across.
    fn profile(&self, along: f32, across: f32, near: &[f32]) -> Vec<f32> {
        let first = ((along - 3.0 * REACH_MM) / BIN_MM).floor() as i64;
        let mut out = vec![0f32; near.len()];
        let skipped = usize::try_from(-first).unwrap_or(0).min(out.len());
        let from = usize::try_from(first).unwrap_or(0).min(self.bins);
        for band in 0..self.bands {
            let off = ((band as f32 + 0.5) * BAND_MM - across) / REACH_MM;
            if off.abs() > 2.5 {
                continue;
            }
            let weight = math::exp(-0.5 * off * off);
            let sums = &self.sums[band * self.bins..][from..self.bins];
            for (value, sum) in out[skipped..].iter_mut().zip(sums) {
                *value += weight * sum;
            }
        }
        for (value, near) in out.iter_mut().zip(near) {
            *value *= near;
        }
        out
    }
}

/// What combs are tried at, and how near a profile's bins are.
struct Trials {
    coarse: Turns,
    /// Lines lie near the map more often than far.
    calm: Vec<f32>,
    fine: Turns,
    /// Gaussian; a place lies between two bins.
    near: Vec<f32>,
}

impl Trials {
    fn new() -> Self {
        let steps = (OFF_MAX_MM / 0.05) as i32;
        let coarse = (-steps..=steps).map(|k| k as f32 * 0.05);
        let fine = (-6..=6).map(|k| k as f32 * 0.01);
        let count = (6.0 * REACH_MM / BIN_MM) as usize;
        let near = |k: usize| {
            let off = (k as f32 + 0.5 - count as f32 / 2.0) * BIN_MM / REACH_MM;
            math::exp(-0.5 * off * off)
        };
        Self {
            calm: coarse.clone().map(|off| 1.0 - 0.35 * off * off).collect(),
            coarse: Turns::new(coarse.map(|off| off / PERIOD_MM)),
            fine: Turns::new(fine.map(|off| off / PERIOD_MM)),
            near: (0..count).map(near).collect(),
        }
    }
}

/// Half cycles a period at which a profile is looked at.
const WAVES: usize = 2 * HARMONICS;

/// Cosine and sine sums of a profile at 0.5, 1, 1.5 to `HARMONICS` cycles a period.
fn waves(profile: &[f32], first_mm: f32) -> [[f32; 2]; WAVES] {
    let angles = |mm: f32| -> [[f32; WAVES]; 2] {
        let half_turn = std::f64::consts::PI * f64::from(mm / PERIOD_MM);
        let pairs: [(f64, f64); WAVES] =
            std::array::from_fn(|k| math::sin_cos_f64(half_turn * (k + 1) as f64));
        [
            pairs.map(|(_, cos)| cos as f32),
            pairs.map(|(sin, _)| sin as f32),
        ]
    };
    // From bin to bin the angles are turned on by a product: a sine for each took a tenth of a
    // page's time, and over 300 bins the product loses less than an angle's own rounding did.
    let ([mut cos, mut sin], [step_cos, step_sin]) = (angles(first_mm), angles(BIN_MM));
    let [mut cos_sums, mut sin_sums] = [[0.0; WAVES]; 2];
    for value in profile {
        for k in 0..WAVES {
            cos_sums[k] += value * cos[k];
            sin_sums[k] += value * sin[k];
            let turned = cos[k] * step_cos[k] - sin[k] * step_sin[k];
            sin[k] = sin[k] * step_cos[k] + cos[k] * step_sin[k];
            cos[k] = turned;
        }
    }
    std::array::from_fn(|k| [cos_sums[k], sin_sums[k]])
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
            sizes.push(math::hypot(anchor.residual[0], anchor.residual[1]));
        }
        let mut sorted = sizes.clone();
        let middle = sorted.len() / 2;
        let reach = 4.0
            * sorted
                .select_nth_unstable_by(middle, f32::total_cmp)
                .1
                .max(0.03);
        for (weight, size) in weights.iter_mut().zip(&sizes) {
            let t = (size / reach).min(1.0);
            *weight = f64::from(math::square(1.0 - t * t));
        }
        found = Some(map);
    }
    found
}

/// Homography from paper to raster by weighted linear least squares (Hartley & Zisserman, 4.1).
fn solve(anchors: &[Anchor], weights: &[f64]) -> Option<Homography> {
    // Both sides are shifted and scaled to about one, or the normal equations lose their digits.
    let (paper, px) = (
        Frame::of(anchors, |a| a.paper),
        Frame::of(anchors, |a| a.px),
    );
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
    let whole = px
        .matrix()?
        .inverse()
        .after(&inner)
        .after(&paper.matrix()?)
        .matrix();
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
            .map(|a| math::hypot_f64(get(a)[0] - middle[0], get(a)[1] - middle[1]))
            .sum::<f64>();
        Self {
            middle,
            scale: n / spread.max(1e-9),
        }
    }

    fn apply(&self, p: [f64; 2]) -> [f64; 2] {
        [
            (p[0] - self.middle[0]) * self.scale,
            (p[1] - self.middle[1]) * self.scale,
        ]
    }

    fn matrix(&self) -> Option<Homography> {
        let (s, [x, y]) = (self.scale, self.middle);
        Homography::new([s, 0.0, -s * x, 0.0, s, -s * y, 0.0, 0.0, 1.0])
    }
}

fn eliminate(mut rows: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for column in 0..8 {
        let pivot =
            (column..8).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
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
    /// How many places are known.
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    /// The residuals as a surface on a lattice, continued beyond the anchors.
    pub fn mesh(&self) -> Option<Mesh> {
        let bound = |k: usize, f: fn(f64, f64) -> f64, from: f64| {
            self.anchors
                .iter()
                .fold(from, |a, anchor| f(a, anchor.paper[k])) as f32
        };
        let beyond = match self.paper {
            Paper::Flat => 0.0,
            Paper::Folded => BEYOND_MM,
        };
        let (left, top) = (bound(0, f64::min, f64::MAX), bound(1, f64::min, f64::MAX));
        let (left, top) = (left - beyond, top - beyond);
        let (right, bottom) = (bound(0, f64::max, f64::MIN), bound(1, f64::max, f64::MIN));
        let size = |span: f32| ((span + beyond) / MESH_MM).ceil() as usize + 1;
        let (columns, rows) = (size(right - left).max(2), size(bottom - top).max(2));
        if columns * rows > NODES_MAX {
            return None;
        }
        let seen: Vec<surface::Seen> = self
            .anchors
            .iter()
            .map(|anchor| surface::Seen {
                place: [
                    (anchor.paper[0] - f64::from(left)) / f64::from(MESH_MM),
                    (anchor.paper[1] - f64::from(top)) / f64::from(MESH_MM),
                ],
                value: anchor.residual.map(f64::from),
            })
            .collect();
        let stiffness = match self.paper {
            Paper::Flat => STIFFNESS_FLAT,
            Paper::Folded => STIFFNESS_FOLDED,
        };
        let shift = surface::fit(&seen, [columns, rows], stiffness)
            .into_iter()
            .enumerate()
            .map(|(node, shift)| {
                let x = left + MESH_MM * (node % columns) as f32;
                let y = top + MESH_MM * (node / columns) as f32;
                self.settled([f64::from(x), f64::from(y)], shift)
            })
            .collect();
        Some(Mesh::new(
            Point::new(left, top),
            Mm(MESH_MM),
            columns,
            rows,
            shift,
        ))
    }

    /// The surface at a place as far as anchors stand there, or what those around come to.
    fn settled(&self, place: [f64; 2], surface: [f32; 2]) -> [f32; 2] {
        let square = |anchor: &Anchor| {
            let off = [0, 1].map(|k| anchor.paper[k] - place[k]);
            off[0] * off[0] + off[1] * off[1]
        };
        let near = self
            .anchors
            .iter()
            .map(square)
            .filter(|off| *off < SEEN_MM_MAX * SEEN_MM_MAX);
        let weight: f32 = near
            .map(|off| math::exp(-(off / (2.0 * SEEN_MM * SEEN_MM)) as f32))
            .sum();
        match self.paper {
            // Where no line was seen the mesh fades to the plane.
            Paper::Flat => surface.map(|shift| shift * weight / (weight + FADE_WEIGHT)),
            Paper::Folded if weight >= NODE_WEIGHT_MIN => surface,
            Paper::Folded => self.sloping(place, square),
        }
    }

    /// What the anchors around a place, and their slope, come to there.
    fn sloping(&self, place: [f64; 2], square: impl Fn(&Anchor) -> f64) -> [f32; 2] {
        let around = self.anchors.iter().filter_map(|anchor| {
            let off = square(anchor);
            let weight = math::exp(-(off / (2.0 * SLOPE_MM * SLOPE_MM)) as f32);
            (off < SLOPE_MM_MAX * SLOPE_MM_MAX)
                .then(|| (anchor.paper, anchor.residual, f64::from(weight)))
        });
        // Where no line was seen for long, the mesh is the plane.
        plane(around, SLOPE_CALM).map_or([0.0; 2], |plane| plane.at(place))
    }
}
