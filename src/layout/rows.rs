//! The zero line of each row, found in the ink.
//!
//! In: the picture, the page map, the lattice of labels. Out: `Layout`. Labels stand above, below
//! or on their trace, differently from machine to machine, but alike on one page: so the distance
//! from a label to its row is sought for all rows at once, where the ink runs along in every one,
//! and then for each row alone. Horizontal grid lines run along as well; they repeat every 5 mm,
//! which a zero line does not. A calibration pulse stands on its row: none stands above the first.

use std::ops::Range;

use ndarray::{Array2, Axis};

use super::fit::{Fit, Lattice, STRIPS_MAX};
use super::{Layout, LayoutError, Row, RowKind};
use crate::grid::{LINES_MM, off_line};
use crate::math;
use crate::page::{InPaper, PageMap, Point, RawImage};
use crate::units::Mm;

/// Distance of the samples along and across the rows.
const ALONG_MM: f32 = 0.5;
const ACROSS_MM: f32 = 0.25;
/// Labels stand at most this far from their row's zero line, in rows.
const REACH_ROWS: f32 = 0.85;
/// A row may differ from the common distance by this, in rows.
const OWN_ROWS: f32 = 0.22;
/// A distance costs this share of the ink for each millimetre: of two rows the nearer is the
/// label's.
const FAR_COST_MM: f32 = 0.022;
/// Ink this near to a 5 mm line of the grid may be that line, and counts so much less.
const ON_LINE_MM: f32 = 0.45;
const ON_LINE_SHARE: f32 = 0.4;
/// A row with less ink than this share of the usual one is empty, and speaks against the distance.
const EMPTY_SHARE: f32 = 0.2;
const EMPTY_FACTOR: f32 = 0.75;
/// A pulse stands this near to its row's zero line, and beside the row's ends, in rows; a distance
/// that leaves one above all rows counts this share.
const PULSE_OFF_ROWS: f32 = 0.4;
const PULSE_BESIDE_ROWS: f32 = 1.5;
const PULSE_ASTRAY_FACTOR: f32 = 0.5;
/// A strip without a name lies a row below the last one, give or take this, with ink along at
/// least this share of the usual, and this share in each of so many parts of its length.
const UNNAMED_ROWS: f32 = 0.35;
const UNNAMED_SHARE: f32 = 0.75;
const UNNAMED_PART_SHARE: f32 = 0.55;
const UNNAMED_PARTS: usize = 4;
/// So much of that is needed where a pulse stands beside it.
const PULSED_FACTOR: f32 = 0.5;
/// A line has less than this share of its ink this far above and below it.
const BESIDE_LINE_MM: f32 = 2.0;
const BESIDE_LINE_SHARE: f32 = 0.7;
/// Paper's level and the ink's darkness are taken over blocks of this side.
const BLOCK_MM: f32 = 12.0;
/// Ink is darker than this share of the page's darkest percent, and than the grid's lines by a
/// factor, as far as that leaves ink. All but some of what lies on those lines is theirs.
const INK_SHARE: f32 = 0.5;
const INK_SHARE_MAX: f32 = 0.8;
const DARKEST_SHARE: f32 = 0.99;
const GRID_FACTOR: f32 = 1.15;
const GRID_SHARE: f32 = 0.95;
/// Width that a page of one column is taken to have, before its ends are known.
const SINGLE_WIDTH_MM: f32 = 200.0;

/// Whether the paper's whole millimetres are printed lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruled {
    Yes,
    No,
}

/// Finds the rows of the layout `fit`: from the top, those without a name last. `feet` are the places
/// where calibration pulses stand.
pub fn find_rows(
    image: &RawImage,
    map: &PageMap,
    fit: &Fit,
    feet: &[Point<InPaper>],
    ruled: Ruled,
) -> Result<Layout, LayoutError> {
    let columns = fit.layout.column_count();
    let ground = Ground::new(image, map, fit, ruled);
    let labels = row_labels(fit);
    let profiles: Vec<Profile> = labels.iter().map(|(row, _)| ground.profile(*row)).collect();
    let threshold = ground.ink_threshold(&profiles, &labels);
    let counted: Vec<Vec<f32>> = profiles
        .iter()
        .zip(&labels)
        .map(|(profile, (row, _))| ground.count(profile, *row, threshold))
        .collect();
    let step = ground.step();
    let reach = ground.pulse_reach(&labels, feet);
    let common =
        common_distance(&counted, step, ground.pitch, reach).ok_or(LayoutError::NoTrace)?;
    let ink: Vec<f32> = counted
        .iter()
        .map(|c| ink_near(c, common, step, OWN_ROWS))
        .collect();
    let usual = ink.iter().sum::<f32>() / ink.len() as f32;
    let mut rows: Vec<Row> = labels
        .into_iter()
        .zip(counted.iter().zip(&ink))
        // A word in the first column that stands beside no trace is no strip's name.
        .filter(|((_, kind), (_, ink))| {
            matches!(kind, RowKind::Panels(_)) || **ink >= EMPTY_SHARE * usual
        })
        .map(|((row, kind), (counts, _))| {
            let distance = own_distance(counts, common, step, OWN_ROWS);
            ground.row(kind, row + distance)
        })
        .collect();
    if columns > 1 {
        let pulses = ground.beside(feet);
        let usual = UsualInk {
            threshold,
            share: usual,
        };
        let unnamed = gaps(fit)
            .into_iter()
            .map(|row| ground.unnamed(row, common, &usual, &pulses));
        rows.extend(unnamed.map_while(|row| row));
    }
    Ok(Layout {
        matrix: fit.layout.name,
        rows,
        column_count: columns,
        label_left: Mm(fit.lattice.origin[0]),
        column_width: (columns > 1).then(|| Mm(fit.lattice.across[0])),
        column_error: Mm(fit.column_error * fit.lattice.across[0]),
        row_pitch: Mm(ground.pitch),
    })
}

/// The paper under the lattice of labels.
struct Ground<'a> {
    image: &'a RawImage,
    map: &'a PageMap,
    lattice: &'a Lattice,
    ruled: Ruled,
    columns: usize,
    /// Of the rows, in columns.
    width: f32,
    /// Distance between rows, millimetres.
    pitch: f32,
}

impl<'a> Ground<'a> {
    fn new(image: &'a RawImage, map: &'a PageMap, fit: &'a Fit, ruled: Ruled) -> Self {
        let lattice = &fit.lattice;
        Self {
            image,
            map,
            lattice,
            ruled,
            columns: fit.layout.column_count(),
            width: match fit.layout.column_count() {
                1 => SINGLE_WIDTH_MM / math::hypot(lattice.across[0], lattice.across[1]),
                columns => columns as f32,
            },
            pitch: math::hypot(lattice.down[0], lattice.down[1]),
        }
    }

    /// Rows a line of a profile.
    fn step(&self) -> f32 {
        ACROSS_MM / self.pitch
    }

    fn profile(&self, row: f32) -> Profile {
        Profile::of(self.image, self.map, self.lattice, row, self.width)
    }

    /// Share of ink along each line of the profile of `row`.
    fn count(&self, profile: &Profile, row: f32, threshold: f32) -> Vec<f32> {
        let runs = profile.runs(threshold);
        match self.ruled {
            Ruled::Yes => beside_lines(runs, |off| self.height(row, off)),
            Ruled::No => runs,
        }
    }

    /// How dark ink is at least: half as dark as the darkest, and darker than the grid's own lines,
    /// some of which a scan shows as dark as that.
    fn ink_threshold(&self, profiles: &[Profile], labels: &[(f32, RowKind)]) -> f32 {
        let all = profiles.iter().flat_map(|p| p.dark.iter().step_by(3));
        let Some(darkest) = quantile(all.copied().collect(), DARKEST_SHARE) else {
            return 1.0;
        };
        let ink = |profile: &Profile| {
            let all = profile.dark.iter().step_by(3).copied().collect();
            quantile(all, DARKEST_SHARE)
        };
        let grid = |profile: &Profile, row: f32| {
            let middle = (profile.dark.nrows() / 2) as f32;
            let lines = profile.dark.outer_iter().enumerate().filter(|(line, _)| {
                let height = self.height(row, (*line as f32 - middle) * ACROSS_MM);
                self.ruled == Ruled::Yes && (height - height.round()).abs() <= ACROSS_MM / 2.0
            });
            let dark =
                lines.flat_map(|(_, dark)| dark.iter().step_by(3).copied().collect::<Vec<f32>>());
            quantile(dark.collect(), GRID_SHARE)
        };
        // Beside the sheet may lie something dark: the usual row decides.
        let inks = profiles.iter().filter_map(ink).collect();
        let grids = profiles.iter().zip(labels);
        let grids = grids
            .filter_map(|(profile, (row, _))| grid(profile, *row))
            .collect();
        let lifted = match (quantile(inks, 0.5), quantile(grids, 0.5)) {
            (Some(ink), Some(grid)) => (GRID_FACTOR * grid).min(INK_SHARE_MAX * ink),
            _ => 0.0,
        };
        (INK_SHARE * darkest).max(lifted)
    }

    /// Height on the paper, at the row's middle, of what lies `off` millimetres below the labels.
    fn height(&self, row: f32, off: f32) -> f32 {
        self.lattice.place(self.width / 2.0, row + off / self.pitch)[1]
    }

    /// From the labels to the zero lines, in rows: the distances at which no pulse beside the rows
    /// stands above the first, nor, in one column, below the last.
    fn pulse_reach(&self, labels: &[(f32, RowKind)], feet: &[Point<InPaper>]) -> Range<f32> {
        let (Some(first), Some(last)) = (labels.first(), labels.last()) else {
            return f32::NEG_INFINITY..f32::INFINITY;
        };
        let rows = self.beside(feet);
        let top = rows.iter().copied().fold(f32::INFINITY, f32::min);
        let bottom = rows.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let single = self.columns == 1 && !rows.is_empty();
        let low = if single {
            bottom - last.0 - PULSE_OFF_ROWS
        } else {
            f32::NEG_INFINITY
        };
        low..top - first.0 + PULSE_OFF_ROWS
    }

    /// The rows beside whose ends pulses stand.
    fn beside(&self, feet: &[Point<InPaper>]) -> Vec<f32> {
        let at = feet.iter().map(|foot| self.lattice.locate(*foot));
        let margin = PULSE_BESIDE_ROWS * self.pitch
            / math::hypot(self.lattice.across[0], self.lattice.across[1]);
        let is_beside = |column: f32| {
            (-margin..margin / 2.0).contains(&column)
                || (self.width - margin..self.width + margin).contains(&column)
        };
        at.filter(|at| is_beside(at.0)).map(|at| at.1).collect()
    }

    fn row(&self, kind: RowKind, zero_row: f32) -> Row {
        let zero = [0.0, self.width].map(|column| {
            let [x, y] = self.lattice.place(column, zero_row);
            Point::<InPaper>::new(x, y)
        });
        Row { kind, zero }
    }

    /// The strip about `common` rows off `row`, if ink runs along its whole length there as it
    /// does in other rows: lines of writing are short. Where one of the `pulses` stands beside it,
    /// half as much will do: a line that wanders has little ink at any one height.
    fn unnamed(&self, row: f32, common: f32, usual: &UsualInk, pulses: &[f32]) -> Option<Row> {
        let (profile, step) = (self.profile(row), self.step());
        let has_pulse = pulses
            .iter()
            .any(|pulse| (pulse - row - common).abs() < UNNAMED_ROWS);
        let needed = if has_pulse { PULSED_FACTOR } else { 1.0 } * usual.share;
        let ink = |profile: &Profile| {
            let counts = self.count(profile, row, usual.threshold);
            ink_near(&counts, common, step, UNNAMED_ROWS)
        };
        let least = profile
            .parts(UNNAMED_PARTS)
            .iter()
            .map(ink)
            .fold(f32::INFINITY, f32::min);
        if least < UNNAMED_PART_SHARE * needed || ink(&profile) < UNNAMED_SHARE * needed {
            return None;
        }
        let counts = self.count(&profile, row, usual.threshold);
        let distance = own_distance(&counts, common, step, UNNAMED_ROWS);
        let is_line = has_pulse || is_thin(&counts, distance, step);
        is_line.then(|| self.row(RowKind::Unnamed, row + distance))
    }
}

/// How dark ink is at least, and the share of ink that named rows have along their line.
struct UsualInk {
    threshold: f32,
    share: f32,
}

/// Rows on the lattice where a strip may be whose name was not found: between the matrix and the
/// last named strip below it, and after that, from the top.
fn gaps(fit: &Fit) -> Vec<f32> {
    let last = fit.layout.rows.len() as f32 - 1.0;
    let mut gaps = Vec::new();
    let mut row = last;
    while gaps.len() + fit.strips.len() < STRIPS_MAX {
        let next = fit
            .strips
            .iter()
            .map(|strip| strip.1)
            .find(|strip| *strip > row + 0.5);
        row = match next {
            Some(strip) if strip < row + 1.5 => strip,
            _ => {
                gaps.push(row + 1.0);
                row + 1.0
            }
        };
    }
    gaps
}

/// The same shares of ink, where a 5 mm line lies counted for less; `height` is that of a place so
/// many millimetres below the labels.
fn beside_lines(mut runs: Vec<f32>, height: impl Fn(f32) -> f32) -> Vec<f32> {
    let middle = (runs.len() / 2) as f32;
    for (line, run) in runs.iter_mut().enumerate() {
        if off_line(height((line as f32 - middle) * ACROSS_MM)).0 < ON_LINE_MM {
            *run *= ON_LINE_SHARE;
        }
    }
    runs
}

/// The labels' rows on the lattice, from the top, and what stands there.
fn row_labels(fit: &Fit) -> Vec<(f32, RowKind)> {
    let panels = fit.layout.rows.iter().enumerate();
    let mut rows: Vec<(f32, RowKind)> = panels
        .map(|(row, leads)| (row as f32, RowKind::Panels(leads.to_vec())))
        .collect();
    rows.extend(
        fit.strips
            .iter()
            .map(|(lead, row)| (*row, RowKind::Strip(*lead))),
    );
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows
}

/// Darkness around one row's labels: `dark[[line, column]]`, lines from the top.
struct Profile {
    dark: Array2<f32>,
}

impl Profile {
    fn of(image: &RawImage, map: &PageMap, lattice: &Lattice, row: f32, width: f32) -> Self {
        let across = math::hypot(lattice.across[0], lattice.across[1]);
        let pitch = math::hypot(lattice.down[0], lattice.down[1]);
        let columns = (width * across / ALONG_MM) as usize;
        let step = ACROSS_MM / pitch;
        let reach = (REACH_ROWS / step) as usize;
        let dark = Array2::from_shape_fn((2 * reach + 1, columns), |(line, column)| {
            let along = (column as f32 + 0.5) * width / columns as f32;
            let off = (line as f32 - reach as f32) * step;
            let [x, y] = lattice.place(along, row + off);
            brightness(image, map, Point::new(x, y))
        });
        let mut profile = Self { dark };
        profile.level();
        profile
    }

    /// Equal parts from the left.
    fn parts(&self, count: usize) -> Vec<Self> {
        let side = self.dark.ncols().div_ceil(count).max(1);
        let chunks = self.dark.axis_chunks_iter(Axis(1), side);
        chunks
            .map(|dark| Self {
                dark: dark.to_owned(),
            })
            .collect()
    }

    /// Brightness to darkness: one less the share of the paper's level around.
    fn level(&mut self) {
        let side = (BLOCK_MM / ALONG_MM) as usize;
        for mut block in self.dark.axis_chunks_iter_mut(Axis(1), side) {
            let mut values: Vec<f32> = block.iter().copied().filter(|v| !v.is_nan()).collect();
            let at = (values.len() * 9 / 10).min(values.len().saturating_sub(1));
            let paper = if values.is_empty() {
                1.0
            } else {
                values.select_nth_unstable_by(at, f32::total_cmp).1.max(8.0)
            };
            // Where there is no picture there is no ink.
            block.mapv_inplace(|v| {
                if v.is_nan() {
                    0.0
                } else {
                    (1.0 - v / paper).max(0.0)
                }
            });
        }
    }

    /// Share of columns with ink at each line or beside it, less what repeats with the grid.
    fn runs(&self, threshold: f32) -> Vec<f32> {
        let (lines, columns) = self.dark.dim();
        let ink = |line: usize, column: usize| {
            let low = line.saturating_sub(1);
            (low..=(line + 1).min(lines - 1)).any(|l| self.dark[[l, column]] > threshold)
        };
        let share: Vec<f32> = (0..lines)
            .map(|line| {
                let inked = (0..columns).filter(|column| ink(line, *column)).count();
                inked as f32 / columns as f32
            })
            .collect();
        let period = (LINES_MM / ACROSS_MM) as usize;
        (0..lines)
            .map(|line| {
                let above = line.checked_sub(period).map(|l| share[l]);
                let below = share.get(line + period).copied();
                let grid = match (above, below) {
                    (Some(a), Some(b)) => a.min(b),
                    (one, other) => one.or(other).unwrap_or(0.0),
                };
                (share[line] - grid).max(0.0)
            })
            .collect()
    }
}

/// Brightest channel (a coloured grid is bright in its own), least over a small cross.
fn brightness(image: &RawImage, map: &PageMap, at: Point<InPaper>) -> f32 {
    let px = map.to_page(at);
    let (x, y) = (px.x.round(), px.y.round());
    let inside =
        x >= 1.0 && y >= 1.0 && x < image.width() as f32 - 1.0 && y < image.height() as f32 - 1.0;
    if !inside {
        return f32::NAN;
    }
    let (x, y) = (x as usize, y as usize);
    [(x, y), (x, y - 1), (x, y + 1)]
        .map(|(x, y)| f32::from(image.pixel(x, y).into_iter().max().unwrap_or(0)))
        .into_iter()
        .fold(f32::INFINITY, f32::min)
}

/// The value that this share of all lies below.
fn quantile(mut values: Vec<f32>, share: f32) -> Option<f32> {
    let at = ((values.len() as f32 * share) as usize).min(values.len().checked_sub(1)?);
    Some(*values.select_nth_unstable_by(at, f32::total_cmp).1)
}

/// The distance in rows at which ink runs along beside every row's labels, best within `reach`.
fn common_distance(counted: &[Vec<f32>], step: f32, pitch: f32, reach: Range<f32>) -> Option<f32> {
    let in_reach = |rows: f32| {
        if reach.contains(&rows) {
            1.0
        } else {
            PULSE_ASTRAY_FACTOR
        }
    };
    let lines = counted.first()?.len();
    let middle = lines as isize / 2;
    let spread = (0.08 / step) as isize;
    let total = |line: isize| -> f32 {
        let around = (line - spread).max(0)..=(line + spread).min(lines as isize - 1);
        let most = |counts: &Vec<f32>| {
            let counts = around.clone().map(|l| counts[l as usize]);
            counts.fold(0.0, f32::max).min(0.6)
        };
        let rows: Vec<f32> = counted.iter().map(most).collect();
        let mean = rows.iter().map(|count| count.sqrt()).sum::<f32>() / rows.len() as f32;
        // One row off, all rows but the first or the last have ink.
        let usual = rows.iter().sum::<f32>() / rows.len() as f32;
        let empty = rows.iter().filter(|count| **count < EMPTY_SHARE * usual);
        empty.fold(mean, |score, _| score * EMPTY_FACTOR)
    };
    let best = (0..lines as isize)
        .map(|line| {
            let rows = (line - middle) as f32 * step;
            let near = (1.0 - FAR_COST_MM * (rows * pitch).abs()).max(0.2);
            (line, total(line) * near * in_reach(rows))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    if best.1 <= 0.05 {
        return None;
    }
    // The maximum is a plateau as wide as `spread`: within it the rows' own lines tell.
    let own = counted.iter().map(|counts| {
        let near = (best.0 - spread).max(0)..=(best.0 + spread).min(lines as isize - 1);
        let most = near.max_by(|a, b| counts[*a as usize].total_cmp(&counts[*b as usize]));
        (most.unwrap_or(best.0) - middle) as f32 * step
    });
    quantile(own.collect(), 0.5)
}

/// Whether the ink at this distance is a line, not the edge of the sheet or of a shadow.
fn is_thin(counts: &[f32], distance: f32, step: f32) -> bool {
    let line = (counts.len() / 2) as isize + (distance / step).round() as isize;
    let at = |line: isize| {
        usize::try_from(line)
            .ok()
            .and_then(|l| counts.get(l).copied())
    };
    let beside = (BESIDE_LINE_MM / ACROSS_MM) as isize;
    let own = at(line).unwrap_or(0.0);
    [line - beside, line + beside]
        .into_iter()
        .filter_map(at)
        .all(|ink| ink < BESIDE_LINE_SHARE * own)
}

/// Most ink at a line within `window` rows of this distance.
fn ink_near(counts: &[f32], distance: f32, step: f32, window: f32) -> f32 {
    let reach = counts.len() as isize / 2;
    let near = counts
        .iter()
        .enumerate()
        .filter(|(l, _)| ((*l as isize - reach) as f32 * step - distance).abs() <= window);
    near.map(|(_, count)| *count).fold(0.0, f32::max)
}

/// The row's own distance: the strongest line within `window` rows of the common one.
fn own_distance(counts: &[f32], common: f32, step: f32, window: f32) -> f32 {
    let reach = counts.len() as isize / 2;
    let line = |l: isize| (l - reach) as f32 * step;
    (0..counts.len() as isize)
        .filter(|l| (line(*l) - common).abs() <= window)
        .map(|l| {
            (
                l,
                counts[l as usize] * (1.0 - 0.3 * (line(l) - common).abs() / window),
            )
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, count)| *count > 0.02)
        .map_or(common, |(l, _)| line(l))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Lead;
    use crate::layout::known::LAYOUTS;

    #[test]
    fn strips_without_a_name_are_sought_between_those_with_one_and_below() {
        let check = |strips: &[f32], expected: &[f32]| {
            let lattice = Lattice {
                origin: [20.0, 30.0],
                across: [60.0, 0.0],
                down: [0.0, 25.0],
            };
            let layout = LAYOUTS.iter().find(|l| l.name == "3x4").expect("known");
            let strips = strips.iter().map(|row| (Lead::II, *row)).collect();
            assert_eq!(gaps(&Fit::over(layout, lattice, strips)), expected);
        };
        check(&[], &[3.0, 4.0, 5.0]);
        check(&[3.1], &[4.1, 5.1]);
        check(&[3.1, 5.2], &[4.1]);
        check(&[4.2, 5.2], &[3.0]);
        check(&[3.1, 4.1, 5.1], &[]);
    }

    #[test]
    fn the_edge_of_a_sheet_is_no_line() {
        let step = ACROSS_MM / 25.0;
        let ink = |from: usize, to: usize| -> Vec<f32> {
            let dark = |l: usize| if (from..to).contains(&l) { 0.9 } else { 0.1 };
            (0..121).map(dark).collect()
        };
        assert!(is_thin(&ink(70, 74), 11.0 * step, step));
        assert!(!is_thin(&ink(70, 121), 11.0 * step, step));
    }

    #[test]
    fn one_row_off_there_is_a_row_without_ink() {
        // Twelve rows, 10 mm apart; their ink lies 7 mm below the labels, a neighbour's 3 mm above.
        let (pitch, step) = (10.0, ACROSS_MM / 10.0);
        let reach = (REACH_ROWS / step) as isize;
        let at = |mm: f32| (reach + (mm / ACROSS_MM) as isize) as usize;
        let counted: Vec<Vec<f32>> = (0..12)
            .map(|row| {
                let mut counts = vec![0.0; 2 * reach as usize + 1];
                counts[at(7.0)] = 0.4;
                if row > 0 {
                    counts[at(-3.0)] = 0.4;
                }
                counts
            })
            .collect();
        let anywhere = f32::NEG_INFINITY..f32::INFINITY;
        let found = common_distance(&counted, step, pitch, anywhere).expect("there is ink");
        assert!((found * pitch - 7.0).abs() < 1.0, "{found} rows");
    }

    #[test]
    fn no_pulse_stands_above_the_first_row() {
        // Three rows and a strip that wanders off: one row too far down, all four have ink.
        let (pitch, step) = (20.0, ACROSS_MM / 20.0);
        let lines = 2 * (REACH_ROWS / step) as usize + 1;
        let at = |mm: f32| ((lines / 2) as isize + (mm / ACROSS_MM) as isize) as usize;
        let counted: Vec<Vec<f32>> = (0..4)
            .map(|row| {
                let mut counts = vec![0.0; lines];
                counts[at(-12.0)] = if row < 3 { 0.4 } else { 0.1 };
                counts[at(8.0)] = if row < 2 { 0.4 } else { 0.2 };
                counts
            })
            .collect();
        let lattice = Lattice {
            origin: [20.0, 30.0],
            across: [60.0, 0.0],
            down: [0.0, pitch],
        };
        let layout = LAYOUTS.iter().find(|l| l.name == "3x4").expect("known");
        let fit = Fit::over(layout, lattice, vec![(Lead::II, 3.0)]);
        let image = RawImage::new(64, 64, vec![255; 3 * 64 * 64]).unwrap();
        let scale = crate::page::Homography::similarity(1.0, 1.0, 0.0, (0.0, 0.0)).unwrap();
        let map = PageMap::new(scale, None);
        let ground = Ground::new(&image, &map, &fit, Ruled::Yes);
        let found = |feet: &[Point<InPaper>]| {
            let reach = ground.pulse_reach(&row_labels(&fit), feet);
            pitch * common_distance(&counted, step, pitch, reach).expect("there is ink")
        };
        assert!((found(&[]) - 8.0).abs() < 1.0);
        assert!((found(&[Point::new(14.0, 18.5)]) + 12.0).abs() < 1.0);
    }

    #[test]
    fn dark_lines_of_a_grid_are_no_rows() {
        let px_mm = 8.0;
        let lattice = Lattice {
            origin: [10.0, 40.0],
            across: [40.0, 0.0],
            down: [0.0, 25.0],
        };
        // Three rows, 5.4 mm above their labels; a scan shows some lines of the grid darker.
        let zeros = [34.6, 59.6, 84.6];
        let (width, height) = (1480, 1000);
        let mut rgb = Vec::with_capacity(3 * width * height);
        for y in 0..height {
            for x in 0..width {
                let (u, v) = (x as f32 / px_mm, y as f32 / px_mm);
                let beat = 3.0 * math::exp(-math::square(((u + 3.0).rem_euclid(12.0) - 6.0) / 0.8));
                let wander = 0.5 * math::sin_cos(u * 0.11).0;
                let is_ink = |zero: &f32| (v - (zero + wander - beat)).abs() < 0.2;
                let is_line = |w: f32| (w - w.round()).abs() * px_mm < 0.7;
                let is_dark = (v.round() as i32) % 7 == 3;
                let level = match (zeros.iter().any(is_ink), is_line(v), is_line(u)) {
                    (true, _, _) => 25,
                    (_, true, _) if is_dark => 110,
                    (_, true, _) | (_, _, true) => 150,
                    _ => 240,
                };
                rgb.extend([level; 3]);
            }
        }
        let image = RawImage::new(width, height, rgb).unwrap();
        let scale = crate::page::Homography::similarity(8.0, 8.0, 0.0, (0.0, 0.0)).unwrap();
        let layout = LAYOUTS.iter().find(|l| l.name == "3x4").expect("known");
        let fit = Fit::over(layout, lattice, Vec::new());
        let found = find_rows(&image, &PageMap::new(scale, None), &fit, &[], Ruled::Yes).unwrap();
        for (row, zero) in found.rows.iter().zip(zeros) {
            assert!((row.zero[0].y - zero).abs() < 1.0, "{row:?}, not {zero}");
        }
    }

    #[test]
    fn a_pulse_tells_a_strip_that_wanders() {
        let lattice = Lattice {
            origin: [10.0, 30.0],
            across: [40.0, 0.0],
            down: [0.0, 25.0],
        };
        let (width, height) = (1480, 1000);
        let line = |row: usize, u: f32| {
            let wander = if row == 3 { 1.5 } else { 0.3 };
            34.6 + 25.0 * row as f32 + wander * math::sin_cos(u * 0.08).0
        };
        let level = |k: usize| {
            let (u, v) = ((k % width) as f32 / 8.0, (k / width) as f32 / 8.0);
            let is_ink = (10.0..170.0).contains(&u) && (0..4).any(|r| (v - line(r, u)).abs() < 0.2);
            if is_ink { 25 } else { 240u8 }
        };
        let rgb = (0..width * height).flat_map(|k| [level(k); 3]).collect();
        let image = RawImage::new(width, height, rgb).unwrap();
        let scale = crate::page::Homography::similarity(8.0, 8.0, 0.0, (0.0, 0.0)).unwrap();
        let map = PageMap::new(scale, None);
        let layout = LAYOUTS.iter().find(|l| l.name == "3x4").expect("known");
        let fit = Fit::over(layout, lattice, Vec::new());
        let count = |feet: &[Point<InPaper>]| {
            let found = find_rows(&image, &map, &fit, feet, Ruled::No).unwrap();
            found.rows.len()
        };
        let feet = [34.6, 59.6, 84.6, 109.6].map(|zero| Point::new(5.0, zero));
        assert_eq!(count(&feet[..3]), 3);
        assert_eq!(count(&feet), 4);
    }
}
