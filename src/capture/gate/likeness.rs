//! Whether two pictures show one page: a small raster of ink, compared after small shifts.
//!
//! In: the ink. Out: `PageHash`. Pages of one layout have their rows, names and frames at the same
//! places; what tells them apart is where the traces leave their rows. So the raster is fine enough
//! to hold a beat, and what is the same along the whole of a row or column is taken out of it.

use super::ink::Ink;

/// Cells along the long side: 1.5 mm of A4. Of 50 pages of one layout, two of the same rate and nearly
/// the same beats correlated by 0.75 at 128 cells, by 0.67 at 192, by 0.58 at 256; the same page laid
/// down anew by 0.79, 0.78 and 0.69 at least.
const CELLS: usize = 192;
/// Ink counts from this share of the darkest strokes on.
const INK_SHARE: f32 = 0.4;
/// Cells by which a page may lie elsewhere: 5 % of the long side.
const SHIFT_MAX: isize = 9;
/// Reach of the mean that is taken out, cells.
const REACH: usize = 12;
/// Correlation from which on two pictures show one page.
const SAME_MIN: f32 = 0.74;

/// What a page looks like, for `looks_like` alone.
#[derive(Clone, PartialEq)]
pub struct PageHash {
    width: usize,
    height: usize,
    /// Ink of the cells above what is usual along their row and column.
    cells: Vec<f32>,
}

impl std::fmt::Debug for PageHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PageHash({} x {})", self.width, self.height)
    }
}

impl PageHash {
    pub fn of(ink: &Ink) -> Self {
        let long = ink.long_px();
        let (width, height) = (ink.width * CELLS / long, ink.height * CELLS / long);
        let (width, height) = (width.max(1), height.max(1));
        let mut cells = vec![0f32; width * height];
        let least = (INK_SHARE * f32::from(ink.depth)) as u8;
        for (y, row) in ink.dark.chunks_exact(ink.width).enumerate() {
            let line = &mut cells[y * height / ink.height * width..][..width];
            for (x, dark) in row.iter().enumerate() {
                if *dark > least {
                    line[x * width / ink.width] += f32::from(*dark);
                }
            }
        }
        let cells = smooth(&smooth(&cells, width, 1, width), width, width, height);
        let cells = flat(&flat(&cells, width, 1, width), width, width, height);
        Self {
            width,
            height,
            cells,
        }
    }

    /// Whether both show the same page, as far as this can tell.
    pub fn looks_like(&self, other: &Self) -> bool {
        self.likeness(other) >= SAME_MIN
    }

    /// Correlation at the best shift, -1 to 1.
    fn likeness(&self, other: &Self) -> f32 {
        let mut best = -1f32;
        for down in -SHIFT_MAX..=SHIFT_MAX {
            for across in -SHIFT_MAX..=SHIFT_MAX {
                best = best.max(self.correlation(other, across, down));
            }
        }
        best
    }

    fn correlation(&self, other: &Self, across: isize, down: isize) -> f32 {
        let overlap = |mine: usize, theirs: usize, shift: isize| {
            let first = (-shift).max(0) as usize;
            let end = mine.min((theirs as isize - shift).max(0) as usize);
            (first, end.max(first))
        };
        let (left, right) = overlap(self.width, other.width, across);
        let (top, bottom) = overlap(self.height, other.height, down);
        if left >= right || top >= bottom {
            return -1.0;
        }
        let mut sums = [0f32; 3];
        for y in top..bottom {
            let mine = &self.cells[y * self.width..][left..right];
            let row = (y as isize + down) as usize * other.width;
            let theirs = &other.cells[row + (left as isize + across) as usize..][..right - left];
            for (a, b) in mine.iter().zip(theirs) {
                sums[0] += a * b;
                sums[1] += a * a;
                sums[2] += b * b;
            }
        }
        sums[0] / (sums[1] * sums[2]).sqrt().max(1e-6)
    }
}

fn smooth(cells: &[f32], width: usize, step: usize, count: usize) -> Vec<f32> {
    along(cells, width, step, count, |line, k| {
        let at = |d: isize| line[(k as isize + d).clamp(0, line.len() as isize - 1) as usize];
        (at(-1) + 2.0 * at(0) + at(1)) / 4.0
    })
}

/// Less the mean of the neighbourhood along one direction.
fn flat(cells: &[f32], width: usize, step: usize, count: usize) -> Vec<f32> {
    along(cells, width, step, count, |line, k| {
        let around = &line[k.saturating_sub(REACH)..(k + REACH + 1).min(line.len())];
        line[k] - around.iter().sum::<f32>() / around.len() as f32
    })
}

/// `cells` with `of(line, index)` in place of each, line by line of `count` cells `step` apart.
fn along(
    cells: &[f32],
    width: usize,
    step: usize,
    count: usize,
    of: impl Fn(&[f32], usize) -> f32,
) -> Vec<f32> {
    let mut done = vec![0f32; cells.len()];
    let mut line = Vec::with_capacity(count);
    // A raster one cell wide has columns that look like rows by their step.
    let between = if step == 1 && count == width {
        width
    } else {
        1
    };
    for start in (0..cells.len() / count).map(|k| k * between) {
        line.clear();
        line.extend((0..count).map(|k| cells[start + k * step]));
        for k in 0..count {
            done[start + k * step] = of(&line, k);
        }
    }
    done
}
