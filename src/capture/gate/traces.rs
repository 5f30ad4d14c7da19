//! Whether there are traces: lines that go on for centimetres, thin and not straight.
//!
//! In: the ink. Out: `Traces`: the length of all such lines together, and where they lie. Letters
//! are short, ruled lines and edges straight, shadows, fingers and bars thick. Units: pixels of the
//! ink's raster, lengths as shares of its long side. Never fails.

use super::ink::Ink;

/// Cells along the long side: half a millimetre of A4, so that a gap of a faint line is closed.
const CELLS: usize = 600;
/// A cell with a dot of this share of the darkest strokes is ink: traces are printed thinner than
/// the letters, and a grid nearly as dark as they are ties all together. Tried in this order until
/// there is enough, in long sides of the picture; else the best of them counts.
const INK_SHARES: [f32; 5] = [0.45, 0.3, 0.6, 0.7, 0.85];
const ENOUGH: f32 = 1.5;
/// In any case it is this many times darker than the grain: the mean of four pixels is then beyond
/// four deviations.
const GRAINS_MIN: u8 = 3;
/// A line is at least this share of the long side: 25 mm of A4.
const SPAN_MIN: f32 = 0.085;
/// A stroke is so many cells long one way and thin the other way: 3 mm and 1.5 mm of A4. A trace has
/// strokes of both ways, where it rests and where it beats; a ruled line, a fold or the grain of wood
/// goes one way only.
const STROKE_CELLS_MIN: u16 = 6;
const STROKE_CELLS_THIN: u16 = 3;
const STROKES_MIN: u32 = 6;
/// Share of a trace's cells that are within a thin run one way or the other; or its cells for each
/// cell of its length, as when a page is seen from near. A bar or a finger has neither.
const THIN_SHARE_MIN: f32 = 0.6;
const FULL_MAX: f32 = 7.0;
/// A grid that ties all together: shares of the long and of the short side that it covers, and of
/// its cells' dots that are dark. A shadow or a hand is full.
const GRID_SPAN_MIN: f32 = 0.5;
const GRID_FULL_MAX: f32 = 0.6;
/// Its cells change as much along rows as along columns, nearly; wood and cloth do not.
const GRID_BALANCE_MIN: f32 = 0.5;

/// Lines that may be traces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traces {
    /// Lengths of all together, in long sides of the picture.
    pub length: f32,
    /// Left, top, right, bottom of all, pixels.
    pub bounds: [usize; 4],
}

impl Traces {
    /// How far they reach along the longer way.
    pub fn span_px(&self) -> f32 {
        let [left, top, right, bottom] = self.bounds;
        right.saturating_sub(left).max(bottom.saturating_sub(top)) as f32
    }
}

/// A connected piece of ink, as it is added up.
#[derive(Clone)]
struct Piece {
    bounds: [usize; 4],
    count: f64,
    dots: f64,
    thin: f64,
    strokes: [u32; 2],
}

/// The way that a stroke goes.
#[derive(Clone, Copy, PartialEq)]
enum Stroke {
    /// Within a piece that is thick both ways.
    Thick,
    Short,
    Across,
    Down,
}

/// The lines of the picture, at the level at which there are more.
pub fn find(ink: &Ink) -> Traces {
    let least = ink.grain.saturating_mul(GRAINS_MIN);
    let mut longest = Traces::default();
    for share in INK_SHARES {
        let traces = at_level(ink, least.max((share * f32::from(ink.depth)) as u8));
        if traces.length > longest.length {
            longest = traces;
        }
        if longest.length >= ENOUGH {
            break;
        }
    }
    longest
}

fn at_level(ink: &Ink, level: u8) -> Traces {
    let cell = ink.long_px().div_ceil(CELLS).max(1);
    let (width, height) = (ink.width.div_ceil(cell), ink.height.div_ceil(cell));
    let mut inked = vec![0u8; width * height];
    let mut dots = vec![0u8; ink.width];
    let rows = ink.dark.windows(2 * ink.width).step_by(ink.width);
    for (y, two) in rows.enumerate() {
        mark_dots(two, level, &mut dots);
        let cells = &mut inked[y / cell * width..][..width];
        for (count, dots) in cells.iter_mut().zip(dots.chunks(cell)) {
            *count += dots.iter().sum::<u8>();
        }
    }
    let long = width.max(height) as f32;
    let balance = balance(&inked, width);
    let mut traces = Traces {
        length: 0.0,
        bounds: [usize::MAX, usize::MAX, 0, 0],
    };
    for piece in pieces(&inked, width, &strokes(&inked, width)) {
        let Some(span) = piece.span(
            long,
            width.min(height) as f32,
            (cell * cell) as f64,
            balance,
        ) else {
            continue;
        };
        traces.length += span / long;
        let [l, t, r, b] = piece.bounds.map(|side| side * cell);
        let [left, top, right, bottom] = &mut traces.bounds;
        (*left, *top) = ((*left).min(l), (*top).min(t));
        (*right, *bottom) = ((*right).max(r + cell), (*bottom).max(b + cell));
    }
    traces
}

/// Marks where four pixels of two rows are ink together: grain is none.
fn mark_dots(two: &[u8], level: u8, dots: &mut [u8]) {
    let (row, below) = two.split_at(dots.len());
    let pairs = row.windows(2).zip(below.windows(2));
    for (dot, (a, b)) in dots.iter_mut().zip(pairs) {
        let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
        *dot = u8::from(sum > 4 * u16::from(level));
    }
}

impl Piece {
    fn new(x: usize, y: usize) -> Self {
        Self {
            bounds: [x, y, x, y],
            count: 0.0,
            dots: 0.0,
            thin: 0.0,
            strokes: [0; 2],
        }
    }

    fn add(&mut self, x: usize, y: usize, dots: u8, stroke: Stroke) {
        let [left, top, right, bottom] = &mut self.bounds;
        (*left, *right) = ((*left).min(x), (*right).max(x));
        (*top, *bottom) = ((*top).min(y), (*bottom).max(y));
        self.count += 1.0;
        self.dots += f64::from(dots);
        self.thin += f64::from(u8::from(stroke != Stroke::Thick));
        match stroke {
            Stroke::Thick | Stroke::Short => {}
            Stroke::Across => self.strokes[0] += 1,
            Stroke::Down => self.strokes[1] += 1,
        }
    }

    /// Its length in cells, where it may be a trace or traces on a dark grid.
    fn span(&self, long: f32, short: f32, cell_dots: f64, balance: f32) -> Option<f32> {
        let [left, top, right, bottom] = self.bounds;
        let (across, down) = ((right - left + 1) as f32, (bottom - top + 1) as f32);
        let (span, height) = (across.max(down), across.min(down));
        let is_thin = self.thin >= f64::from(THIN_SHARE_MIN) * self.count
            || self.count as f32 <= FULL_MAX * span;
        let is_trace = is_thin && self.strokes.iter().all(|count| *count >= STROKES_MIN);
        let is_grid = balance >= GRID_BALANCE_MIN
            && span >= GRID_SPAN_MIN * long
            && height >= GRID_SPAN_MIN * short
            && self.dots <= f64::from(GRID_FULL_MAX) * self.count * cell_dots;
        let is_long = span >= SPAN_MIN * long;
        (is_long && (is_trace || is_grid)).then_some(span)
    }
}

/// How much cells differ from their neighbours along rows to how much along columns, at most 1.
fn balance(inked: &[u8], width: usize) -> f32 {
    let change = |step: usize| {
        let pairs = inked.iter().zip(&inked[step..]);
        pairs
            .map(|(a, b)| f64::from(a.abs_diff(*b)))
            .sum::<f64>()
            .max(1.0)
    };
    let (across, down) = (change(1), change(width));
    (across.min(down) / across.max(down)) as f32
}

/// Which way the stroke goes that each cell belongs to.
fn strokes(inked: &[u8], width: usize) -> Vec<Stroke> {
    let mut across = vec![0u16; inked.len()];
    for (row, runs) in inked
        .chunks_exact(width)
        .zip(across.chunks_exact_mut(width))
    {
        run_lengths(row.iter().map(|dots| *dots > 0), |k, length| {
            runs[k] = length
        });
    }
    let mut strokes = vec![Stroke::Thick; inked.len()];
    for x in 0..width {
        let column = inked[x..].iter().step_by(width).map(|dots| *dots > 0);
        run_lengths(column, |k, down| {
            let at = x + k * width;
            strokes[at] = match across[at] {
                thin if thin <= STROKE_CELLS_THIN && down >= STROKE_CELLS_MIN => Stroke::Down,
                long if long >= STROKE_CELLS_MIN && down <= STROKE_CELLS_THIN => Stroke::Across,
                short if short.min(down) <= STROKE_CELLS_THIN => Stroke::Short,
                _ => Stroke::Thick,
            };
        });
    }
    strokes
}

/// Tells for each inked cell of a line how long the run is that it belongs to.
fn run_lengths(line: impl Iterator<Item = bool>, mut tell: impl FnMut(usize, u16)) {
    let mut run = 0..0;
    for (k, is_ink) in line.chain([false]).enumerate() {
        if is_ink {
            run.end = k + 1;
            continue;
        }
        run.clone().for_each(|at| tell(at, run.len() as u16));
        run = k + 1..k + 1;
    }
}

/// Connected pieces, eight neighbours: cells are joined with those before and above them.
fn pieces(inked: &[u8], width: usize, strokes: &[Stroke]) -> Vec<Piece> {
    let mut of: Vec<Option<u32>> = vec![None; inked.len()];
    let mut parents: Vec<u32> = Vec::new();
    for at in (0..inked.len()).filter(|at| inked[*at] > 0) {
        let (has_left, has_right) = (at % width > 0, (at + 1) % width > 0);
        let before = [
            (has_left, 1),
            (has_left, width + 1),
            (true, width),
            (has_right, width - 1),
        ];
        let mut mine = None;
        for (_, back) in before.into_iter().filter(|(has, back)| *has && *back <= at) {
            mine = match (mine, of[at - back]) {
                (Some(a), Some(b)) => Some(join(&mut parents, a, b)),
                (a, b) => a.or(b),
            };
        }
        if mine.is_none() {
            mine = Some(parents.len() as u32);
            parents.extend(mine);
        }
        of[at] = mine;
    }
    let mut pieces: Vec<Option<Piece>> = vec![None; parents.len()];
    for (at, piece) in of.iter().enumerate() {
        let Some(piece) = piece else { continue };
        let (x, y) = (at % width, at / width);
        pieces[root(&mut parents, *piece) as usize]
            .get_or_insert_with(|| Piece::new(x, y))
            .add(x, y, inked[at], strokes[at]);
    }
    pieces.into_iter().flatten().collect()
}

fn root(parents: &mut [u32], mut of: u32) -> u32 {
    while parents[of as usize] != of {
        let next = parents[parents[of as usize] as usize];
        parents[of as usize] = next;
        of = next;
    }
    of
}

fn join(parents: &mut [u32], a: u32, b: u32) -> u32 {
    let (a, b) = (root(parents, a), root(parents, b));
    let (low, high) = (a.min(b), a.max(b));
    parents[high as usize] = low;
    low
}
