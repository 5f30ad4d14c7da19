//! The zero line of each row, found in the ink.
//!
//! In: the picture, the page map, the lattice of labels. Out: `Layout`. Labels stand above, below
//! or on their trace, differently from machine to machine, but alike on one page: so the distance
//! from a label to its row is sought for all rows at once, where the ink runs along in every one,
//! and then for each row alone. Horizontal grid lines run along as well; they repeat every 5 mm,
//! which a zero line does not.

use ndarray::{Array2, Axis};

use super::fit::{Fit, Lattice};
use super::{Layout, LayoutError, Row, RowKind};
use crate::grid::{LINES_MM, off_line};
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
/// Paper's level and the ink's darkness are taken over blocks of this side.
const BLOCK_MM: f32 = 12.0;
/// Ink is darker than this share of the page's darkest percent.
const INK_SHARE: f32 = 0.5;
/// Width that a page of one column is taken to have, before its ends are known.
const SINGLE_WIDTH_MM: f32 = 200.0;

/// Whether the paper's whole millimetres are printed lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruled {
    Yes,
    No,
}

/// Finds the rows of the layout `fit`.
pub fn find_rows(
    image: &RawImage,
    map: &PageMap,
    fit: &Fit,
    ruled: Ruled,
) -> Result<Layout, LayoutError> {
    let columns = fit.layout.column_count();
    let labels = row_labels(fit);
    let width = if columns > 1 {
        columns as f32
    } else {
        SINGLE_WIDTH_MM / fit.lattice.across[0].hypot(fit.lattice.across[1])
    };
    let pitch = fit.lattice.down[0].hypot(fit.lattice.down[1]);
    let profiles: Vec<Profile> = labels
        .iter()
        .map(|(row, _)| Profile::of(image, map, &fit.lattice, *row, width))
        .collect();
    let threshold = ink_threshold(&profiles);
    let counted: Vec<Vec<f32>> = profiles
        .iter()
        .zip(&labels)
        .map(|(profile, (row, _))| {
            let height = |off: f32| fit.lattice.place(width / 2.0, row + off / pitch)[1];
            let runs = profile.runs(threshold);
            match ruled {
                Ruled::Yes => beside_lines(runs, height),
                Ruled::No => runs,
            }
        })
        .collect();
    let step = ACROSS_MM / pitch;
    let common = common_distance(&counted, step, pitch).ok_or(LayoutError::NoTrace)?;
    let ink: Vec<f32> = counted.iter().map(|c| ink_near(c, common, step)).collect();
    let usual = ink.iter().sum::<f32>() / ink.len() as f32;
    let rows: Vec<Row> = labels
        .into_iter()
        .zip(counted.iter().zip(&ink))
        // A word in the first column that stands beside no trace is no strip's name.
        .filter(|((_, kind), (_, ink))| {
            matches!(kind, RowKind::Panels(_)) || **ink >= EMPTY_SHARE * usual
        })
        .map(|((row, kind), (counts, _))| {
            let zero_row = row + own_distance(counts, common, step);
            let ends = [0.0, width].map(|column| {
                let [x, y] = fit.lattice.place(column, zero_row);
                Point::<InPaper>::new(x, y)
            });
            Row { kind, zero: ends }
        })
        .collect();
    let strips = rows
        .iter()
        .filter(|row| matches!(row.kind, RowKind::Strip(_)))
        .count();
    Ok(Layout {
        name: match strips {
            0 => fit.layout.name.to_owned(),
            n => format!("{}+{n}R", fit.layout.name),
        },
        rows,
        column_count: columns,
        label_left: Mm(fit.lattice.origin[0]),
        column_width: (columns > 1).then(|| Mm(fit.lattice.across[0])),
        row_pitch: Mm(pitch),
    })
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
        let across = lattice.across[0].hypot(lattice.across[1]);
        let pitch = lattice.down[0].hypot(lattice.down[1]);
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

fn ink_threshold(profiles: &[Profile]) -> f32 {
    let mut all: Vec<f32> = profiles
        .iter()
        .flat_map(|p| p.dark.iter().step_by(3))
        .copied()
        .collect();
    if all.is_empty() {
        return 1.0;
    }
    let at = (all.len() * 99 / 100).min(all.len() - 1);
    INK_SHARE * *all.select_nth_unstable_by(at, f32::total_cmp).1
}

/// The distance in rows at which ink runs along beside every row's labels.
fn common_distance(counted: &[Vec<f32>], step: f32, pitch: f32) -> Option<f32> {
    let lines = counted.first()?.len();
    let reach = lines as isize / 2;
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
        mean * EMPTY_FACTOR.powi(empty.count() as i32)
    };
    let best = (0..lines as isize)
        .map(|line| {
            let far_mm = ((line - reach) as f32 * step * pitch).abs();
            (line, total(line) * (1.0 - FAR_COST_MM * far_mm).max(0.2))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    // The plateau of `spread` around the maximum is the maximum's own.
    (best.1 > 0.05).then(|| (best.0 - reach) as f32 * step)
}

/// Most ink at a line near this distance.
fn ink_near(counts: &[f32], distance: f32, step: f32) -> f32 {
    let reach = counts.len() as isize / 2;
    let near = counts
        .iter()
        .enumerate()
        .filter(|(l, _)| ((*l as isize - reach) as f32 * step - distance).abs() <= OWN_ROWS);
    near.map(|(_, count)| *count).fold(0.0, f32::max)
}

/// The row's own distance: the strongest line near the common one.
fn own_distance(counts: &[f32], common: f32, step: f32) -> f32 {
    let reach = counts.len() as isize / 2;
    let line = |l: isize| (l - reach) as f32 * step;
    (0..counts.len() as isize)
        .filter(|l| (line(*l) - common).abs() <= OWN_ROWS)
        .map(|l| {
            (
                l,
                counts[l as usize] * (1.0 - 0.3 * (line(l) - common).abs() / OWN_ROWS),
            )
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, count)| *count > 0.02)
        .map_or(common, |(l, _)| line(l))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let found = common_distance(&counted, step, pitch).expect("there is ink");
        assert!((found * pitch - 7.0).abs() < 1.0, "{found} rows");
    }
}
