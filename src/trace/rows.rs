//! The lines of whole rows: the trace net over tiles, joined, cleaned and followed.
//!
//! In: the picture, the page map, the strip of each row. Out: a `Line` a row, in the columns of
//! its strip. A row is read in one piece, panels and all: where a panel ends is known from the
//! layout, and the net has seen no panel, only rows. Tiles overlap, so that every column is read
//! with paper on both sides of it. Fails only as the net does.

use super::ink::keep_inked;
use super::{Line, Mask, Posterior, follow};
use crate::crop::{self, CROP_PX_PER_MM, Strip};
use crate::nets::{NetError, Nets, RawMap};
use crate::page::{Bounds, InPanel, InPaper, PageMap, Point, RawImage};
use crate::units::Mm;

/// Columns at a tile's ends that are read from its neighbour, 4 mm.
const OVERLAP_PX: usize = 32;
/// Widest tile, what its neighbours read included.
const TILE_PX_MAX: usize = 1216;
/// Sides of a picture are multiples of this.
const SIDE_STEP_PX: usize = 32;

/// A row to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowStrip {
    pub left: Mm,
    pub right: Mm,
    /// Two points on the row's zero line.
    pub zero: [Point<InPaper>; 2],
    pub height: Mm,
}

/// A row's line.
#[derive(Clone, Debug)]
pub struct TracedRow {
    pub strip: Strip,
    pub line: Line,
}

impl TracedRow {
    /// The line of a column, on the paper.
    pub fn place(&self, column: usize) -> Option<Point<InPaper>> {
        let point = (*self.line.points.get(column)?)?;
        let at = Point::<InPanel>::new(column as f32, point.y_px);
        Some(self.strip.to_paper(at))
    }
}

/// One tile: its own strip, and which of its columns are used.
struct Tile {
    row: usize,
    strip: Strip,
    from: usize,
    to: usize,
}

/// Reads all rows; the answer has one line a row, in order. `names` are the boxes of the leads'
/// names.
pub fn trace_rows<N: Nets>(
    image: &RawImage,
    map: &PageMap,
    nets: &N,
    rows: &[RowStrip],
    names: &[Bounds<InPaper>],
) -> Result<Vec<TracedRow>, NetError> {
    let tiles: Vec<Tile> = rows
        .iter()
        .enumerate()
        .flat_map(|(row, strip)| tiles_of(row, strip))
        .collect();
    let draw = |k: usize| crop::draw(image, map, &tiles[k].strip);
    let read = |k: usize, raw: RawMap| Posterior::read(&raw, tiles[k].from, tiles[k].to);
    let parts = nets.traces(tiles.len(), &draw, &read)?;
    let mut joined: Vec<Option<(Posterior, Mask)>> = rows.iter().map(|_| None).collect();
    for (tile, part) in tiles.iter().zip(parts) {
        let (posterior, mask) = part.map_err(|error| NetError {
            net: "trace",
            reason: error.to_string(),
        })?;
        match &mut joined[tile.row] {
            Some((left, left_mask)) => {
                left.append(&posterior);
                left_mask.append(&mask);
            }
            empty => *empty = Some((posterior, mask)),
        }
    }
    let traced = rows.iter().zip(joined).filter_map(|(row, parts)| {
        let (mut posterior, mask) = parts?;
        mask.clean(&mut posterior);
        let strip = whole_strip(row, posterior.width(), posterior.height());
        let names: Vec<_> = names.iter().map(|name| within(&strip, name)).collect();
        let mut line = follow(&posterior, &names);
        keep_inked(image, map, &strip, &mut line);
        Some(TracedRow { strip, line })
    });
    Ok(traced.collect())
}

/// A box on the paper, in a strip's pixels.
fn within(strip: &Strip, name: &Bounds<InPaper>) -> Bounds<InPanel> {
    let corner = |x, y| strip.to_panel(Point::new(x, y));
    let (a, b) = (corner(name.left, name.top), corner(name.right, name.bottom));
    Bounds::new(a.x, a.y, b.x, b.y)
}

fn height_px(row: &RowStrip) -> usize {
    let steps = (row.height.0 * CROP_PX_PER_MM / SIDE_STEP_PX as f32).round() as usize;
    steps.max(1) * SIDE_STEP_PX
}

fn whole_strip(row: &RowStrip, width_px: usize, height_px: usize) -> Strip {
    Strip::new(
        row.left,
        row.zero,
        width_px.div_ceil(SIDE_STEP_PX) * SIDE_STEP_PX,
        height_px,
    )
}

/// Equal tiles, as few as the widest allows.
fn tiles_of(row: usize, strip: &RowStrip) -> Vec<Tile> {
    let total = ((strip.right - strip.left).0 * CROP_PX_PER_MM)
        .max(1.0)
        .ceil() as usize;
    let count = total.div_ceil(TILE_PX_MAX - 2 * OVERLAP_PX);
    let own = total.div_ceil(count).div_ceil(SIDE_STEP_PX) * SIDE_STEP_PX;
    (0..count)
        .map(|k| {
            let left = strip.left - Mm(OVERLAP_PX as f32 / CROP_PX_PER_MM)
                + Mm((k * own) as f32 / CROP_PX_PER_MM);
            let width = own + 2 * OVERLAP_PX;
            let strip = Strip::new(left, strip.zero, width, height_px(strip));
            Tile {
                row,
                strip,
                from: OVERLAP_PX,
                to: OVERLAP_PX + own,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(left: f32, right: f32) -> RowStrip {
        let zero = [Point::new(0.0, 40.0), Point::new(100.0, 40.5)];
        RowStrip {
            left: Mm(left),
            right: Mm(right),
            zero,
            height: Mm(48.0),
        }
    }

    fn check(left: f32, right: f32) {
        let row = row(left, right);
        let tiles = tiles_of(0, &row);
        let columns: usize = tiles.iter().map(|tile| tile.to - tile.from).sum();
        assert!(
            columns as f32 >= (right - left) * CROP_PX_PER_MM,
            "{columns} columns"
        );
        let whole = whole_strip(&row, columns, height_px(&row));
        let mut seen = 0;
        for tile in &tiles {
            assert!(tile.strip.width_px() <= TILE_PX_MAX);
            for column in [tile.from, tile.to - 1] {
                let place = |strip: &Strip, x: usize| {
                    strip.to_paper(Point::new(x as f32, strip.height_px() as f32 / 2.0))
                };
                let own = place(&tile.strip, column);
                let of_row = place(&whole, seen + column - tile.from);
                assert!(own.distance(of_row) < 1e-3, "{own:?} {of_row:?}");
            }
            seen += tile.to - tile.from;
        }
    }

    #[test]
    fn tiles_join_without_a_seam() {
        check(-12.0, 260.0);
        check(0.0, 30.0);
        check(5.0, 505.0);
    }
}
