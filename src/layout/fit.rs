//! Which known layout the labels stand in, and where.
//!
//! In: lead labels on the paper (or, on a page without a grid, in pixels: nothing here depends on
//! the unit). Out: `Fit`: the layout and an affine lattice of its labels. RANSAC (Fischler &
//! Bolles, 1981), but over all triples: there are few labels. A label counts where the lattice
//! expects it, by how much it resembles the name that belongs there: a name that is hard to read
//! alone is told by its place among the others. A missing one costs, one that resembles another
//! name than its place's costs more.

use super::known::{KnownLayout, LAYOUTS};
use super::{Layout, LayoutError};
use crate::labels::{Lead, READINGS};
use crate::math;
use crate::page::{InPaper, Point};

/// A lead's name, seen on the paper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeenLead {
    /// What it resembles, best first.
    pub leads: [(Lead, f32); READINGS],
    pub at: Point<InPaper>,
    pub score: f32,
}

impl SeenLead {
    /// How much it resembles `lead`, next to what it resembles most: 0 to 1.
    fn likeness(&self, lead: Lead) -> f32 {
        let own = self
            .leads
            .iter()
            .find(|(l, _)| *l == lead)
            .map_or(0.0, |(_, score)| *score);
        own / self.leads[0].1.max(1e-6)
    }
}

/// Where the label of row `r`, column `c` stands: `origin + c * across + r * down`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lattice {
    pub origin: [f32; 2],
    pub across: [f32; 2],
    pub down: [f32; 2],
}

#[cfg(test)]
impl Fit {
    /// A layout whose labels were all seen.
    pub fn over(layout: &'static KnownLayout, lattice: Lattice, strips: Vec<(Lead, f32)>) -> Self {
        Self {
            layout,
            lattice,
            strips,
            matched: layout.cell_count(),
            column_error: 0.0,
            is_signed: true,
            score: 1.0,
            contradicted: 0.0,
        }
    }
}

/// A layout laid over the labels.
#[derive(Clone, Debug)]
pub struct Fit {
    pub layout: &'static KnownLayout,
    pub lattice: Lattice,
    /// Rhythm strips: lead and row on the lattice, from the top.
    pub strips: Vec<(Lead, f32)>,
    /// Cells whose label was seen.
    pub matched: usize,
    /// Standard error of the distance between columns, in columns.
    pub column_error: f32,
    /// Whether the labels tell this layout from the one with aVR's other sign.
    pub is_signed: bool,
    score: f32,
    /// What speaks against the layout, as a share of what speaks for it.
    contradicted: f32,
}

/// A label that resembles a name less than this, next to its best, is not that name.
const LIKENESS_MIN: f32 = 0.25;
/// Strips repeat three leads of a page; so many are repeated by a second recording alone.
const TWICE_MIN: usize = 6;
/// Readings from which lattices are made.
const PLACED_MAX: usize = 64;
/// Labels may stand this far off, in columns and rows.
const OFF_COLUMNS: f32 = 0.13;
const OFF_ROWS: f32 = 0.28;
/// On pages of one column, sideways, in rows.
const OFF_SIDEWAYS_ROWS: f32 = 0.6;
/// Slope of the rows at most, and how far from square the lattice may be.
const SLOPE_MAX: f32 = 0.27;
const SHEAR_MAX: f32 = 0.12;
const MISSING_COST: f32 = 0.35;
const CONTRADICTION_COST: f32 = 0.6;
const AGAINST_WEIGHT: f32 = 1.8;
/// A strip's label stands at least this many rows off the matrix, and is at least this share as
/// sure as the matrix' labels are.
const STRIP_OFF_ROWS: f32 = 0.55;
const STRIP_SCORE_SHARE: f32 = 0.3;
/// Rhythm strips of a page.
pub const STRIPS_MAX: usize = 3;
/// Share of the rows that may go on with a name a column beyond the layout's, and how many may:
/// stray marks.
const FURTHER_SHARE_MAX: f32 = 0.34;
const FURTHER_ROWS_MAX: usize = 1;
/// A layout with more columns must explain this share of what the one without them does.
const WHOLE_SHARE_MIN: f32 = 0.6;
/// Cells that must be seen: this share, and this many.
const MATCHED_SHARE_MIN: f32 = 0.5;
const MATCHED_MIN: usize = 4;
/// Of six leads that are half of a larger page as well, this share must be seen.
const HALF_PAGE_CELLS: usize = 6;
const HALF_PAGE_SHARE_MIN: f32 = 0.8;
/// A pulse stands at most this far beside its row's name, in rows.
const PULSE_BESIDE_ROWS: f32 = 1.5;
/// With so many pulses more than names in the column, more rows are printed than those named.
const PULSES_BEYOND: usize = 2;
/// What speaks against a layout, as a share of what speaks for it, at most.
const CONTRADICTED_MAX: f32 = 0.5;
/// A layout must be better than any other by this much.
const MARGIN_MIN: f32 = 0.5;

impl Lattice {
    pub fn place(&self, column: f32, row: f32) -> [f32; 2] {
        std::array::from_fn(|k| self.origin[k] + column * self.across[k] + row * self.down[k])
    }

    /// Column and row of a point.
    pub fn locate(&self, at: Point<InPaper>) -> (f32, f32) {
        let (x, y) = (at.x - self.origin[0], at.y - self.origin[1]);
        let d = self.across[0] * self.down[1] - self.across[1] * self.down[0];
        (
            (x * self.down[1] - y * self.down[0]) / d,
            (y * self.across[0] - x * self.across[1]) / d,
        )
    }

    fn is_upright(&self) -> bool {
        let [a, d] = [self.across, self.down];
        let (wide, tall) = (math::hypot(a[0], a[1]), math::hypot(d[0], d[1]));
        let sheared = (a[0] * d[0] + a[1] * d[1]).abs() / (wide * tall).max(1e-6);
        a[0] > 0.0
            && d[1] > 0.0
            && a[1].abs() < SLOPE_MAX * a[0]
            && d[0].abs() < SLOPE_MAX * d[1]
            && sheared < SHEAR_MAX
            && wide > 0.4 * tall
    }
}

/// The layout that fits best, of those called `only` where it is given; `feet` are the places where
/// calibration pulses stand on their rows.
pub fn fit(
    seen: &[SeenLead],
    feet: &[Point<InPaper>],
    only: Option<&str>,
) -> Result<Fit, LayoutError> {
    let wanted =
        |layout: &&KnownLayout| only.is_none_or(|name| name.split('+').next() == Some(layout.name));
    let mut fits: Vec<Fit> = LAYOUTS
        .iter()
        .filter(wanted)
        .filter_map(|layout| fit_one(layout, seen))
        .collect();
    fits.sort_by(|a, b| b.score.total_cmp(&a.score));
    let nothing = LayoutError::NoLattice { found: seen.len() };
    let (layout, score) = fits
        .first()
        .map(|fit| (fit.layout.name, fit.score))
        .ok_or(nothing)?;
    // A layout that explains half of the page's columns must not win by what it leaves out.
    fits.retain(|fit| !goes_on(fit, seen) && !goes_down(fit, feet));
    let further = Err(LayoutError::FurtherColumn { layout });
    let found = seen.len();
    let fit = match fits.first() {
        Some(best) if best.layout.name == layout => choose(fits, found, feet),
        Some(best) if best.score >= WHOLE_SHARE_MIN * score => {
            choose(fits, found, feet).or(further)
        }
        _ => further,
    }?;
    match named_twice(&fit, seen) {
        leads if leads >= TWICE_MIN => Err(LayoutError::TwoRecordings { leads }),
        _ => Ok(fit),
    }
}

/// How many of the layout's leads are named beside or below its panels as well.
fn named_twice(fit: &Fit, seen: &[SeenLead]) -> usize {
    let needed = STRIP_SCORE_SHARE * usual_score(fit.layout, seen, &fit.lattice);
    let (rows, columns) = (fit.layout.rows.len(), fit.layout.column_count());
    let is_within = |at: f32, count: usize| (-0.5..count as f32 - 0.5).contains(&at);
    let is_outside = |label: &SeenLead| {
        let (column, row) = fit.lattice.locate(label.at);
        !(is_within(column, columns) && is_within(row, rows))
    };
    let outside = |lead: &Lead| {
        seen.iter()
            .any(|label| label.leads[0].0 == *lead && label.score >= needed && is_outside(label))
    };
    let leads = fit.layout.rows.iter().flat_map(|leads| leads.iter());
    leads.filter(|lead| outside(lead)).count()
}

/// The first of `fits`, which are ordered by score, if it is good enough.
fn choose(mut fits: Vec<Fit>, found: usize, feet: &[Point<InPaper>]) -> Result<Fit, LayoutError> {
    let best = fits.first().ok_or(LayoutError::NoLattice { found })?;
    let cells = best.layout.cell_count();
    let share = match cells {
        HALF_PAGE_CELLS if pulsed_rows(best, feet) != HALF_PAGE_CELLS => HALF_PAGE_SHARE_MIN,
        _ => MATCHED_SHARE_MIN,
    };
    let needed = ((cells as f32 * share).ceil() as usize).max(MATCHED_MIN);
    if best.matched < needed {
        return Err(LayoutError::TooFew {
            layout: best.layout.name,
            found: best.matched,
            needed,
        });
    }
    if best.contradicted > CONTRADICTED_MAX {
        return Err(LayoutError::Contradicted {
            layout: best.layout.name,
        });
    }
    // Layouts that differ by the sign of aVR alone are told apart by the signal.
    let other_sign = Layout::other_sign_of(best.layout.name);
    let near = |fit: &&Fit| best.score - fit.score < MARGIN_MIN;
    let (signs, others): (Vec<&Fit>, Vec<&Fit>) = fits[1..]
        .iter()
        .filter(near)
        .partition(|fit| Some(fit.layout.name) == other_sign);
    if let Some(second) = others.first() {
        let (first, second) = (best.layout.name, second.layout.name);
        return Err(LayoutError::Ambiguous { first, second });
    }
    let is_signed = signs.is_empty();
    Ok(Fit {
        is_signed,
        ..fits.swap_remove(0)
    })
}

fn fit_one(layout: &'static KnownLayout, seen: &[SeenLead]) -> Option<Fit> {
    let sure = |s: &SeenLead, lead: Lead| s.likeness(lead) >= LIKENESS_MIN;
    let placed: Vec<(SeenLead, (usize, usize))> = seen
        .iter()
        .flat_map(|s| s.leads.iter().map(move |(lead, _)| (s, *lead)))
        .filter_map(|(s, lead)| Some((*s, layout.cell(lead).filter(|_| sure(s, lead))?)))
        .take(PLACED_MAX)
        .collect();
    let mut best: Option<(f32, Lattice)> = None;
    for_each_lattice(layout, &placed, |lattice| {
        let score = judge(layout, seen, &lattice).0;
        if best.is_none_or(|(top, _)| score > top) {
            best = Some((score, lattice));
        }
    });
    let (_, mut lattice) = best?;
    for _ in 0..3 {
        lattice = refine(layout, &placed, &lattice).unwrap_or(lattice);
    }
    let (score, matched, contradicted) = judge(layout, seen, &lattice);
    let strips = strips(layout, seen, &lattice);
    Some(Fit {
        layout,
        lattice,
        strips,
        matched,
        column_error: column_error(layout, &placed, &lattice),
        is_signed: true,
        score,
        contradicted,
    })
}

/// Standard error of the slope of the labels' places over their columns.
fn column_error(
    layout: &KnownLayout,
    placed: &[(SeenLead, (usize, usize))],
    lattice: &Lattice,
) -> f32 {
    let near: Vec<(f32, f32)> = placed
        .iter()
        .filter(|(label, cell)| is_near(layout, lattice, label.at, *cell))
        .map(|(label, cell)| (cell.1 as f32, lattice.locate(label.at).0))
        .collect();
    let count = near.len() as f32;
    if count < 4.0 {
        return OFF_COLUMNS;
    }
    let middle = near.iter().map(|(column, _)| column).sum::<f32>() / count;
    let spread: f32 = near
        .iter()
        .map(|(column, _)| math::square(column - middle))
        .sum();
    let off: f32 = near
        .iter()
        .map(|(column, at)| math::square(at - column))
        .sum();
    (off / (count - 3.0) / spread.max(1e-6)).sqrt()
}

/// Every lattice through three labels (two, where there is one column).
fn for_each_lattice(
    layout: &KnownLayout,
    placed: &[(SeenLead, (usize, usize))],
    mut try_it: impl FnMut(Lattice),
) {
    let single = layout.column_count() == 1;
    for (k, a) in placed.iter().enumerate() {
        for (m, b) in placed.iter().enumerate().skip(k + 1) {
            if single {
                if let Some(lattice) = through_two(a, b) {
                    try_it(lattice);
                }
                continue;
            }
            for c in &placed[m + 1..] {
                if let Some(lattice) = through_three([a, b, c]) {
                    try_it(lattice);
                }
            }
        }
    }
}

fn through_two(a: &(SeenLead, (usize, usize)), b: &(SeenLead, (usize, usize))) -> Option<Lattice> {
    let rows = b.1.0 as f32 - a.1.0 as f32;
    let down = [(b.0.at.x - a.0.at.x) / rows, (b.0.at.y - a.0.at.y) / rows];
    let origin = [
        a.0.at.x - a.1.0 as f32 * down[0],
        a.0.at.y - a.1.0 as f32 * down[1],
    ];
    let lattice = Lattice {
        origin,
        across: [down[1], -down[0]],
        down,
    };
    (rows != 0.0 && lattice.is_upright()).then_some(lattice)
}

fn through_three(three: [&(SeenLead, (usize, usize)); 3]) -> Option<Lattice> {
    let points: Vec<_> = three.iter().map(|(s, cell)| (s.at, *cell)).collect();
    solve(&points).filter(Lattice::is_upright)
}

/// Least squares over labels and their cells; `None` where they stand in one line.
fn solve(points: &[(Point<InPaper>, (usize, usize))]) -> Option<Lattice> {
    let mut normal = [[0f64; 3]; 3];
    let mut sums = [[0f64; 2]; 3];
    for (at, (row, column)) in points {
        let basis = [1.0, *column as f64, *row as f64];
        for i in 0..3 {
            for j in 0..3 {
                normal[i][j] += basis[i] * basis[j];
            }
            sums[i][0] += basis[i] * f64::from(at.x);
            sums[i][1] += basis[i] * f64::from(at.y);
        }
    }
    let minor = |i: usize, j: usize| {
        let (a, b) = ((i + 1) % 3, (i + 2) % 3);
        let (c, d) = ((j + 1) % 3, (j + 2) % 3);
        normal[a][c] * normal[b][d] - normal[a][d] * normal[b][c]
    };
    let determinant: f64 = (0..3).map(|j| normal[0][j] * minor(0, j)).sum();
    if determinant.abs() < 1e-6 {
        return None;
    }
    // The normal matrix is symmetric, and so is its inverse.
    let part = |i: usize| -> [f32; 2] {
        std::array::from_fn(|k| {
            ((0..3).map(|j| minor(i, j) * sums[j][k]).sum::<f64>() / determinant) as f32
        })
    };
    Some(Lattice {
        origin: part(0),
        across: part(1),
        down: part(2),
    })
}

fn is_near(
    layout: &KnownLayout,
    lattice: &Lattice,
    at: Point<InPaper>,
    cell: (usize, usize),
) -> bool {
    let (column, row) = lattice.locate(at);
    let sideways = if layout.column_count() == 1 {
        OFF_SIDEWAYS_ROWS
    } else {
        OFF_COLUMNS
    };
    (column - cell.1 as f32).abs() < sideways && (row - cell.0 as f32).abs() < OFF_ROWS
}

/// Score of the lattice, and the number of cells that were seen.
fn judge(layout: &KnownLayout, seen: &[SeenLead], lattice: &Lattice) -> (f32, usize, f32) {
    let mut cells = vec![0f32; layout.cell_count()];
    let mut against = 0.0;
    for label in seen {
        let (column, row) = lattice.locate(label.at);
        let near = (column.round(), row.round());
        let inside = (0.0..layout.column_count() as f32).contains(&near.0)
            && (0.0..layout.rows.len() as f32).contains(&near.1);
        let cell = (near.1.max(0.0) as usize, near.0.max(0.0) as usize);
        if inside && is_near(layout, lattice, label.at, cell) {
            let likeness = label.likeness(layout.rows[cell.0][cell.1]);
            if likeness >= LIKENESS_MIN {
                let at = &mut cells[cell.0 * layout.column_count() + cell.1];
                *at = at.max(label.score.sqrt() * likeness);
                continue;
            }
        }
        if is_within(layout, lattice, label.at) {
            // Stray marks that look a little like a name are many.
            against += AGAINST_WEIGHT * math::square(label.score);
        }
    }
    let matched = cells.iter().filter(|score| **score > 0.0).count();
    let missing = (cells.len() - matched) as f32;
    let support = cells.iter().sum::<f32>();
    let score = support - MISSING_COST * missing - CONTRADICTION_COST * against;
    (
        score,
        matched,
        CONTRADICTION_COST * against / support.max(1e-6),
    )
}

/// Whether a label stands where the layout has room for its own names alone. A column of six goes
/// on above or below where it is half of a column of twelve.
fn is_within(layout: &KnownLayout, lattice: &Lattice, at: Point<InPaper>) -> bool {
    let (column, row) = lattice.locate(at);
    let rows = layout.rows.len() as f32;
    if layout.column_count() == 1 {
        return column.abs() < OFF_SIDEWAYS_ROWS && (-6.5..rows + 5.5).contains(&row);
    }
    (-0.3..layout.column_count() as f32 - 0.3).contains(&column)
        && (-0.5..rows - 0.5).contains(&row)
}

/// Whether a page of six leads has rows above or below them.
fn goes_down(fit: &Fit, feet: &[Point<InPaper>]) -> bool {
    let cells = fit.layout.cell_count();
    cells == HALF_PAGE_CELLS && pulsed_rows(fit, feet) >= cells + PULSES_BEYOND
}

/// On a page of one column, the most rows that follow each other, each with a pulse beside the
/// column of names.
fn pulsed_rows(fit: &Fit, feet: &[Point<InPaper>]) -> usize {
    if fit.layout.column_count() > 1 {
        return 0;
    }
    let beside = feet.iter().map(|foot| fit.lattice.locate(*foot));
    let beside = beside.filter(|(column, _)| column.abs() < PULSE_BESIDE_ROWS);
    let mut rows: Vec<f32> = beside.map(|(_, row)| row).collect();
    rows.sort_by(f32::total_cmp);
    rows.dedup_by(|b, a| *b - *a < OFF_ROWS);
    let mut longest = usize::from(!rows.is_empty());
    let mut run = longest;
    for pair in rows.windows(2) {
        let follows = (pair[1] - pair[0] - 1.0).abs() < OFF_ROWS;
        run = if follows { run + 1 } else { 1 };
        longest = longest.max(run);
    }
    longest
}

/// Whether the page has a column more than the layout.
fn goes_on(fit: &Fit, seen: &[SeenLead]) -> bool {
    let share = FURTHER_SHARE_MAX * fit.layout.rows.len() as f32;
    further_rows(fit, seen) > FURTHER_ROWS_MAX.max(share as usize)
}

/// Rows of the layout that go on, in one place, with a name where it has no column: beside a
/// single column anywhere, else a whole number of columns off.
fn further_rows(fit: &Fit, seen: &[SeenLead]) -> usize {
    let columns = fit.layout.column_count();
    let rows = fit.layout.rows.len();
    let needed = STRIP_SCORE_SHARE * usual_score(fit.layout, seen, &fit.lattice);
    // One column of names tells the rows' direction but roughly.
    let in_place = |column: f32, row: f32| {
        columns == 1
            || (column - column.round()).abs() < OFF_COLUMNS && (row - row.round()).abs() < OFF_ROWS
    };
    let beyond: Vec<(f32, f32)> = seen
        .iter()
        .filter(|label| label.score >= needed)
        .map(|label| fit.lattice.locate(label.at))
        .filter(|(column, row)| {
            (column.round() < 0.0 || column.round() >= columns as f32)
                && (0.0..rows as f32).contains(&row.round())
                && in_place(*column, *row)
        })
        .collect();
    let beside = |place: f32| {
        let is_beside = |row: usize| {
            let near = |(c, r): &(f32, f32)| {
                (c - place).abs() < OFF_SIDEWAYS_ROWS && r.round() == row as f32
            };
            beyond.iter().any(near)
        };
        (0..rows).filter(|row| is_beside(*row)).count()
    };
    beyond
        .iter()
        .map(|(column, _)| beside(*column))
        .max()
        .unwrap_or(0)
}

fn refine(
    layout: &KnownLayout,
    placed: &[(SeenLead, (usize, usize))],
    lattice: &Lattice,
) -> Option<Lattice> {
    let near: Vec<_> = placed
        .iter()
        .filter(|(label, cell)| is_near(layout, lattice, label.at, *cell))
        .map(|(label, cell)| (label.at, *cell))
        .collect();
    if layout.column_count() > 1 {
        return solve(&near).filter(Lattice::is_upright);
    }
    // One column: a line through the labels, and across it at a right angle.
    let ghost: Vec<_> = near
        .iter()
        .flat_map(|(at, (row, _))| {
            let beside = Point::new(at.x + lattice.across[0], at.y + lattice.across[1]);
            [(*at, (*row, 0)), (beside, (*row, 1))]
        })
        .collect();
    solve(&ghost).filter(Lattice::is_upright)
}

/// Labels in the first column, above or below the matrix, strongest first where two stand close or
/// say the same. A header has words as well: a strip's name is as sure as the others'.
fn strips(layout: &KnownLayout, seen: &[SeenLead], lattice: &Lattice) -> Vec<(Lead, f32)> {
    if layout.column_count() == 1 {
        return Vec::new();
    }
    let last = layout.rows.len() as f32 - 1.0;
    let usual = usual_score(layout, seen, lattice);
    let mut found: Vec<(Lead, f32, f32)> = seen
        .iter()
        .filter_map(|label| {
            let (column, row) = lattice.locate(label.at);
            let below = row > last + STRIP_OFF_ROWS && row < last + 5.5;
            let above = row < -STRIP_OFF_ROWS && row > -3.5;
            let needed = if above { 1.0 } else { STRIP_SCORE_SHARE } * usual;
            let is_strip = column.abs() < OFF_COLUMNS && (below || above) && label.score >= needed;
            is_strip.then_some((strip_lead(label), row, label.score))
        })
        .collect();
    found.sort_by(|a, b| b.2.total_cmp(&a.2));
    let mut strips: Vec<(Lead, f32)> = Vec::new();
    for (lead, row, _) in found {
        let is_new = |other: &(Lead, f32)| (row - other.1).abs() > 0.4 && lead != other.0;
        if strips.len() < STRIPS_MAX && strips.iter().all(is_new) {
            strips.push((lead, row));
        }
    }
    strips.sort_by(|a, b| a.1.total_cmp(&b.1));
    strips
}

/// Median score of the labels that stand in the matrix.
fn usual_score(layout: &KnownLayout, seen: &[SeenLead], lattice: &Lattice) -> f32 {
    let mut scores: Vec<f32> = seen
        .iter()
        .filter(|label| is_within(layout, lattice, label.at))
        .map(|label| label.score)
        .collect();
    scores.sort_by(f32::total_cmp);
    scores.get(scores.len() / 2).copied().unwrap_or(0.0)
}

/// What a strip's label says: machines print II, V1 and V5 far more often than others.
fn strip_lead(label: &SeenLead) -> Lead {
    let usual = |lead: Lead| match lead {
        Lead::II => 1.0,
        Lead::V1 | Lead::V5 => 0.8,
        Lead::I | Lead::III | Lead::Avr | Lead::Avl | Lead::Avf | Lead::MinusAvr => 0.4,
        Lead::V2 | Lead::V3 | Lead::V4 | Lead::V6 | Lead::V7 | Lead::V8 | Lead::V9 => 0.4,
        Lead::V3R | Lead::V4R | Lead::V5R => 0.4,
    };
    let best = label
        .leads
        .iter()
        .max_by(|a, b| (a.1 * usual(a.0)).total_cmp(&(b.1 * usual(b.0))));
    best.map_or(Lead::II, |(lead, _)| *lead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Lead::{II, V1};

    fn read(lead: Lead, x: f32, y: f32) -> SeenLead {
        let mut leads = [(lead, 0.0); READINGS];
        leads[0].1 = 0.8;
        SeenLead {
            leads,
            at: Point::new(x, y),
            score: 0.8,
        }
    }

    fn labels(name: &str, lattice: Lattice) -> Vec<SeenLead> {
        let layout = LAYOUTS.iter().find(|l| l.name == name).unwrap();
        let mut seen = Vec::new();
        for (r, row) in layout.rows.iter().enumerate() {
            for (c, lead) in row.iter().enumerate() {
                let [x, y] = lattice.place(c as f32, r as f32);
                seen.push(read(*lead, x, y));
            }
        }
        seen
    }

    fn lattice(pitch: f32, row: f32) -> Lattice {
        Lattice {
            origin: [20.0, 60.0],
            across: [pitch, 0.8],
            down: [-0.3, row],
        }
    }

    fn check(name: &str, seen: &[SeenLead]) {
        let fit = fit(seen, &[], None).unwrap();
        assert_eq!(fit.layout.name, name);
    }

    #[test]
    fn every_layout_is_told_from_the_others() {
        for layout in &LAYOUTS {
            check(layout.name, &labels(layout.name, lattice(62.0, 24.0)));
        }
    }

    #[test]
    fn two_recordings_on_a_page_are_refused() {
        let mut seen = labels("3x4", lattice(62.0, 24.0));
        let second = labels("3x4", lattice(62.0, 24.0));
        seen.extend(second.iter().map(|label| SeenLead {
            at: Point::new(label.at.x, label.at.y + 140.0),
            ..*label
        }));
        let found = fit(&seen, &[], None).map(|fit| fit.layout.name);
        assert_eq!(found, Err(LayoutError::TwoRecordings { leads: 12 }));
    }

    #[test]
    fn half_a_column_of_twelve_is_no_column_of_six() {
        let mut seen = labels("12x1", lattice(15.0, 14.0));
        for label in &mut seen[..6] {
            // Names that are there but cannot be read.
            label.leads = [(Lead::V9, 0.8); READINGS];
        }
        let found = fit(&seen, &[], None).map(|fit| fit.layout.name);
        assert_ne!(found, Ok("6x1 chest"));
    }

    #[test]
    fn missing_and_false_labels_do_not_matter() {
        for gone in 0..12 {
            let mut seen = labels("3x4", lattice(62.5, 30.0));
            seen.remove(gone);
            seen.remove((gone + 4) % 11);
            seen.push(read(V1, 77.0, 12.0));
            check("3x4", &seen);
        }
    }

    #[test]
    fn names_that_are_hard_to_read_are_told_by_their_places() {
        let mut seen = labels("3x4", lattice(62.5, 30.0));
        for label in seen.iter_mut().step_by(2) {
            // Each second name looks more like another one than like itself.
            let own = label.leads[0].0;
            let other = Lead::TWELVE[(own as usize + 5) % 12];
            label.leads[0] = (other, 0.8);
            label.leads[1] = (own, 0.5);
        }
        check("3x4", &seen);
    }

    #[test]
    fn a_label_below_the_first_column_is_a_strip() {
        let mut seen = labels("3x4", lattice(62.5, 30.0));
        let [x, y] = lattice(62.5, 30.0).place(0.0, 3.1);
        seen.push(read(II, x, y));
        let fit = fit(&seen, &[], None).unwrap();
        assert!(fit.column_error < 1e-3, "{}", fit.column_error);
        assert_eq!(fit.strips.len(), 1);
        assert_eq!(fit.strips[0].0, II);
        assert!((fit.strips[0].1 - 3.1).abs() < 0.05);
    }

    #[test]
    fn half_a_page_of_either_format_is_refused() {
        let seen: Vec<_> = labels("3x4", lattice(62.5, 30.0))
            .into_iter()
            .take(4)
            .collect();
        assert!(matches!(
            fit(&seen, &[], None),
            Err(LayoutError::TooFew { .. })
        ));
        assert!(matches!(
            fit(&[], &[], None),
            Err(LayoutError::NoLattice { found: 0 })
        ));
    }

    fn point([x, y]: [f32; 2]) -> Point<InPaper> {
        Point::new(x, y)
    }

    /// A pulse left of each of so many rows, from the first name down.
    fn feet(rows: usize) -> Vec<Point<InPaper>> {
        let place = |row: usize| lattice(15.0, 14.0).place(-0.7, row as f32 - 0.4);
        (0..rows).map(|row| point(place(row))).collect()
    }

    #[test]
    fn a_pulse_a_row_tells_how_many_rows_there_are() {
        let mut six = labels("6x1 chest", lattice(15.0, 14.0));
        six.truncate(5);
        six.remove(1);
        let too_few = fit(&six, &feet(4), None).map(|fit| fit.layout.name);
        assert!(matches!(too_few, Err(LayoutError::TooFew { .. })));
        let found = fit(&six, &feet(6), None).map(|fit| fit.layout.name);
        assert_eq!(found, Ok("6x1 chest"));
        // Twelve rows, of whose chest leads few names are seen.
        let mut twelve = labels("12x1", lattice(15.0, 14.0));
        twelve.truncate(7);
        let found = fit(&twelve, &feet(12), None).map(|fit| fit.layout.name);
        assert_ne!(found, Ok("6x1 limb"));
    }

    #[test]
    fn the_sign_of_avr_alone_makes_no_page_ambiguous() {
        let mut seen = labels("6x2 Cabrera", lattice(90.0, 22.0));
        for label in &mut seen {
            if label.leads[0].0 == Lead::MinusAvr {
                label.leads[1] = (Lead::Avr, 0.75);
            }
        }
        let found = fit(&seen, &[], None).map(|fit| (fit.layout.name, fit.is_signed));
        assert_eq!(found, Ok(("6x2 Cabrera", false)));
        let sure = fit(&labels("6x2 Cabrera", lattice(90.0, 22.0)), &[], None);
        assert!(sure.is_ok_and(|fit| fit.is_signed));
    }

    #[test]
    fn a_column_that_the_layout_lacks_is_refused() {
        let mut seen = labels("3x4", lattice(50.0, 30.0));
        for (row, lead) in [Lead::V7, Lead::V8, Lead::V4R].into_iter().enumerate() {
            let [x, y] = lattice(50.0, 30.0).place(4.0, row as f32);
            seen.push(read(lead, x, y));
            let further = Err(LayoutError::FurtherColumn { layout: "3x4" });
            let found = fit(&seen, &[], None).map(|fit| fit.layout.name);
            assert_eq!(found, if row == 0 { Ok("3x4") } else { further });
        }
    }

    #[test]
    fn two_stray_marks_beside_twelve_rows_are_no_column() {
        let mut seen = labels("12x1", lattice(15.0, 14.0));
        seen.push(read(Lead::V4, 220.0, 75.0));
        seen.push(read(Lead::V4, 220.0, 89.0));
        check("12x1", &seen);
    }

    #[test]
    fn a_column_of_names_that_cannot_be_read_is_part_of_the_page() {
        let mut seen = labels("6x2", lattice(90.0, 22.0));
        for label in seen.iter_mut().filter(|label| label.at.x > 60.0) {
            label.leads = [(Lead::V9, 0.3); READINGS];
            label.score = 0.3;
        }
        let found = fit(&seen, &[], None).map(|fit| fit.layout.name);
        assert_eq!(
            found,
            Err(LayoutError::FurtherColumn { layout: "6x1 limb" })
        );
    }

    #[test]
    fn labels_without_order_are_refused() {
        let seen: Vec<_> = Lead::TWELVE
            .iter()
            .enumerate()
            .map(|(k, lead)| {
                let (x, y) = ((k * 7919) % 211, (k * 104_729) % 173);
                read(*lead, x as f32, y as f32)
            })
            .collect();
        assert!(fit(&seen, &[], None).is_err());
    }
}
