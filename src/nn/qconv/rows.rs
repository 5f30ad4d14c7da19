//! What our own int8 kernels share: rows of weights as they read them, and the sizes that must be
//! right before the first vector is loaded.
//!
//! ```text
//!   weights = [row block][block][row 0..4][value of the block]
//! ```
//!
//! Fails never: a breach of a size is our bug, and panics.

use super::PanelBytes;

/// Output channels at a time: their sums stay in vectors, beside a block of pixels and the weights.
pub const ROWS: usize = 4;

/// The weights of one block, for the output channels of a row block.
pub type WeightBlock<T, const BLOCK: usize> = [[T; BLOCK]; ROWS];

/// Rows of weights, packed. Invariant: a whole number of row blocks, each of `per_row()` weight
/// blocks; rows beyond the last are 0, and so is what fills a row's last block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedRows<T, const BLOCK: usize> {
    values: usize,
    blocks: Vec<WeightBlock<T, BLOCK>>,
}

impl<T: Copy + Default + From<i8>, const BLOCK: usize> PackedRows<T, BLOCK> {
    /// Packs `rows`, `[row][value]`.
    pub fn pack(rows: &[i8], values: usize) -> Self {
        assert!(values > 0, "a row has values");
        assert!(rows.len().is_multiple_of(values), "whole rows");
        let per_row = values.div_ceil(BLOCK);
        let row_blocks = (rows.len() / values).div_ceil(ROWS);
        let mut blocks = vec![[[T::default(); BLOCK]; ROWS]; row_blocks * per_row];
        for (row, weights) in rows.chunks_exact(values).enumerate() {
            let first = row / ROWS * per_row;
            for (block, weights) in blocks[first..].iter_mut().zip(weights.chunks(BLOCK)) {
                for (place, weight) in block[row % ROWS].iter_mut().zip(weights) {
                    *place = T::from(*weight);
                }
            }
        }
        Self { values, blocks }
    }

    /// Values of a row.
    pub fn values(&self) -> usize {
        self.values
    }

    /// Weight blocks of a row.
    pub fn per_row(&self) -> usize {
        self.values.div_ceil(BLOCK)
    }

    /// Rows, with those that fill the last row block.
    pub fn row_count(&self) -> usize {
        self.blocks.len() / self.per_row() * ROWS
    }

    pub fn blocks(&self) -> &[WeightBlock<T, BLOCK>] {
        &self.blocks
    }

    /// Bytes that are read of a panel of so many pixels.
    pub fn panel_bytes(&self, lanes: usize) -> usize {
        self.per_row() * BLOCK * lanes
    }

    /// Panics unless a kernel with panels of `lanes` pixels finds all that it reads, and a place for
    /// each sum that it writes; a row of sums has `run` places.
    pub fn check(&self, panels: PanelBytes<'_>, lanes: usize, sums: &[i32], run: usize) {
        let (count, bytes) = (panels.panel_count, panels.panel_bytes);
        assert!(bytes >= self.panel_bytes(lanes), "panels hold all values");
        assert!(panels.buffer.len() >= count * bytes, "all panels are there");
        assert!(run >= count * lanes, "a sum for each pixel");
        assert!(sums.len() == self.row_count() * run, "sums for each row");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_packed_by_blocks_and_filled_with_nothing() {
        let weight = |k: usize| (k * k % 251) as i8;
        let weights: Vec<i8> = (0..5 * 24).map(weight).collect();
        let packed = PackedRows::<i16, 16>::pack(&weights, 24);
        let sizes = (packed.values(), packed.per_row(), packed.row_count());
        assert_eq!(sizes, (24, 2, 8));
        assert_eq!(packed.panel_bytes(4), 128);
        for (row, k) in [(0, 0), (3, 15), (4, 16), (4, 23)] {
            let found = packed.blocks()[row / ROWS * 2 + k / 16][row % ROWS][k % 16];
            assert_eq!(
                found,
                i16::from(weight(row * 24 + k)),
                "row {row}, value {k}"
            );
        }
        assert_eq!(packed.blocks()[1][0][8..], [0; 8]);
        assert_eq!(packed.blocks()[3][1], [0; 16]);
    }

    #[test]
    #[should_panic(expected = "whole rows")]
    fn a_row_that_is_cut_off_is_refused() {
        PackedRows::<i8, 4>::pack(&[1; 7], 4);
    }
}
