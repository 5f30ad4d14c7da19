//! Largest connected component cleaning, on a mask that may be broken.
//!
//! In: where the net sees this trace, at half resolution. Out: the same, with what does not belong
//! to one line along the strip taken out of the posterior. A component is kept if it is the
//! longest, or if it fills columns that no longer kept one fills: so a faded line of many pieces
//! survives, and a label or a neighbour's peak above it does not.

use image::{GrayImage, Luma};
use imageproc::distance_transform::Norm;
use imageproc::morphology::dilate;
use imageproc::region_labelling::{Connectivity, connected_components};

use super::Posterior;

/// Pieces nearer than this (half-resolution pixels, 0.75 mm) are one component.
const BRIDGE_PX: u8 = 3;
/// Pieces shorter than this (1.5 mm) are no part of a line that others already draw.
const SHORT_PX: usize = 6;
/// Share of a piece's columns that may also be another piece's: lines do not run doubled.
const DOUBLED_MAX: f32 = 0.5;
/// Nats taken from what was thrown out: a strong posterior may still win.
const PENALTY: f32 = 3.0;

/// Where the net sees this trace, half resolution, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    width: usize,
    height: usize,
    set: Vec<bool>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    left: usize,
    right: usize,
    label: u32,
}

impl Mask {
    pub(super) fn read(set: Vec<bool>, width: usize, height: usize) -> Self {
        assert_eq!(set.len(), width * height, "one flag a pixel");
        Self { width, height, set }
    }

    /// `other` follows to the right.
    pub fn append(&mut self, other: &Self) {
        assert_eq!(
            self.height, other.height,
            "tiles of one strip are equally tall"
        );
        let mut set = Vec::with_capacity(self.set.len() + other.set.len());
        let rows = self
            .set
            .chunks_exact(self.width)
            .zip(other.set.chunks_exact(other.width));
        for (left, right) in rows {
            set.extend_from_slice(left);
            set.extend_from_slice(right);
        }
        self.set = set;
        self.width += other.width;
    }

    /// Lowers the posterior where the mask's stray components lie.
    pub fn clean(&self, posterior: &mut Posterior) {
        assert_eq!(
            posterior.width(),
            2 * self.width,
            "mask and posterior of one strip"
        );
        let picture = GrayImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            Luma([255 * u8::from(self.set[y as usize * self.width + x as usize])])
        });
        let bridged = dilate(&picture, Norm::LInf, BRIDGE_PX);
        let labels = connected_components(&bridged, Connectivity::Eight, Luma([0]));
        let kept = keep(pieces(&labels), self.width);
        for (x, y, label) in labels.enumerate_pixels() {
            let label = label.0[0];
            if label == 0 || kept.contains(&label) {
                continue;
            }
            for (dx, dy) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                posterior.lower(2 * x as usize + dx, 2 * y as usize + dy, PENALTY);
            }
        }
    }
}

fn pieces(labels: &image::ImageBuffer<Luma<u32>, Vec<u32>>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (x, _, label) in labels.enumerate_pixels() {
        let (x, label) = (x as usize, label.0[0]);
        if label == 0 {
            continue;
        }
        match pieces.iter_mut().find(|piece| piece.label == label) {
            Some(piece) => {
                piece.left = piece.left.min(x);
                piece.right = piece.right.max(x);
            }
            None => pieces.push(Piece {
                left: x,
                right: x,
                label,
            }),
        }
    }
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.right - piece.left));
    pieces
}

/// Labels of the pieces that make up the line, longest first.
fn keep(pieces: Vec<Piece>, width: usize) -> Vec<u32> {
    let mut drawn = vec![false; width];
    let mut kept = Vec::new();
    for piece in pieces {
        let columns = &mut drawn[piece.left..=piece.right];
        let doubled = columns.iter().filter(|drawn| **drawn).count();
        let short = columns.len() < SHORT_PX && doubled > 0;
        if short || doubled as f32 > DOUBLED_MAX * columns.len() as f32 {
            continue;
        }
        columns.fill(true);
        kept.push(piece.label);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::posterior::tests::map_of;
    use super::*;

    /// A broken line at row 40 and a label above it.
    fn strip() -> (Posterior, Mask) {
        let mut line: Vec<Option<usize>> = vec![Some(40); 128];
        line[60..80].fill(None);
        let mut map = map_of(&line, 64);
        let plane = map.width * map.height;
        for x in 10..18 {
            map.data[plane + 5 * map.width + x] = 5.0;
        }
        Posterior::read(&map, 0, 128).unwrap()
    }

    #[test]
    fn both_pieces_of_a_broken_line_stay_and_a_label_goes() {
        let (mut posterior, mask) = strip();
        let before = posterior.clone();
        mask.clean(&mut posterior);
        assert_eq!(posterior.log(20, 40), before.log(20, 40));
        assert_eq!(posterior.log(100, 40), before.log(100, 40));
        let clean = GrayImage::from_fn(64, 32, |x, y| {
            Luma([255 * u8::from(mask.set[y as usize * 64 + x as usize])])
        });
        let labels = connected_components(
            &dilate(&clean, Norm::LInf, BRIDGE_PX),
            Connectivity::Eight,
            Luma([0]),
        );
        assert_eq!(keep(pieces(&labels), 64).len(), 2);
    }
}
