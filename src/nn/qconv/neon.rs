//! unsafe is allowed in this file, a part of the int8 operator: a kernel of our own for NEON.
//!
//! In: panels of 4 pixels by 8 channels, signed bytes, as `panels.rs` writes them; weights packed
//! below, -127 to 127. Out: 32-bit sums, exact, a row of pixels for each output channel. For 64-bit
//! ARM without dot products (Cortex-A53, A72) tract-linalg multiplies 16-bit numbers, 4 at a time;
//! here two instructions multiply 16 bytes, and a third adds them:
//!
//! ```text
//!   panel   = [pair of blocks][block][pixel 0..4][channel 0..8], bytes
//!   weights = [row block][pair of blocks][row 0..4][block][channel 0..8]
//!   partial = [row][pixel][4 sums], 32-bit: 16 vectors
//! ```
//!
//! Two products of a byte and a weight are at most 2 * 128 * 127, which 16 bits hold. Fails never:
//! sizes are checked before the first vector, and a breach is our bug.
#![cfg_attr(
    target_arch = "aarch64",
    expect(
        unsafe_code,
        reason = "vectors are loaded and stored by pointer, and NEON is called for"
    )
)]

use super::{PanelBytes, PanelLayout};

pub const NAME: &str = "own_neon_i32_4x4";
/// How the kernel wants its panels.
pub const LAYOUT: PanelLayout = PanelLayout {
    lanes: LANES,
    depth: DEPTH,
};
const LANES: usize = 4;
const DEPTH: usize = 8;
/// A panel's bytes of two blocks.
const PAIR_BYTES: usize = 2 * LANES * DEPTH;
/// Output channels at a time.
const ROWS: usize = 4;

/// A processor that has NEON. Invariant: `detect` alone makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon(());

/// The weights of two blocks, for the output channels of a row block.
type WeightPair = [[i8; 2 * DEPTH]; ROWS];

/// Rows of weights, packed. Invariant: a whole number of row blocks, each of `pairs` pairs; rows
/// beyond the last are 0, and so is what fills the last pair; no weight is -128.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedRows {
    values: usize,
    pairs: Vec<WeightPair>,
}

impl PackedRows {
    /// Packs `rows`, `[row][value]`; `values` is a multiple of 8, as `PanelLayout::values` is.
    pub fn pack(rows: &[i8], values: usize) -> Self {
        assert!(values > 0 && values.is_multiple_of(DEPTH), "whole blocks");
        assert!(rows.len().is_multiple_of(values), "whole rows");
        assert!(!rows.contains(&i8::MIN), "weights from -127 on");
        let count = values.div_ceil(2 * DEPTH);
        let row_blocks = (rows.len() / values).div_ceil(ROWS);
        let mut pairs = vec![WeightPair::default(); row_blocks * count];
        for (row, weights) in rows.chunks_exact(values).enumerate() {
            let first = row / ROWS * count;
            for (pair, weights) in pairs[first..].iter_mut().zip(weights.chunks(2 * DEPTH)) {
                pair[row % ROWS][..weights.len()].copy_from_slice(weights);
            }
        }
        Self { values, pairs }
    }

    /// Values of a row.
    pub fn values(&self) -> usize {
        self.values
    }

    /// Rows, with those that fill the last row block.
    pub fn row_count(&self) -> usize {
        self.pairs.len() / self.values.div_ceil(2 * DEPTH) * ROWS
    }
}

impl Neon {
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "aarch64")]
        let found = std::arch::is_aarch64_feature_detected!("neon");
        #[cfg(not(target_arch = "aarch64"))]
        let found = false;
        found.then_some(Self(()))
    }

    /// `sums[row][pixel] = weights[row] * panels[pixel]`, for all rows of `weights.row_count()`
    /// and all pixels of the panels. A row of sums has `run` places.
    pub fn multiply(
        self,
        weights: &PackedRows,
        panels: PanelBytes<'_>,
        sums: &mut [i32],
        run: usize,
    ) {
        let pairs = weights.values.div_ceil(2 * DEPTH);
        let (count, bytes) = (panels.panel_count, panels.panel_bytes);
        assert!(bytes >= pairs * PAIR_BYTES, "panels hold all values");
        assert!(panels.buffer.len() >= count * bytes, "all panels are there");
        assert!(run >= count * LANES, "a sum for each pixel");
        assert!(sums.len() == weights.row_count() * run, "sums for each row");
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `self` exists, so the processor has NEON, which is all that the function needs.
        unsafe {
            aarch64::multiply(&weights.pairs, pairs, panels, sums, run);
        }
        #[cfg(not(target_arch = "aarch64"))]
        unreachable!("no other processor has NEON");
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use std::arch::aarch64::*;

    use super::{LANES, PAIR_BYTES, PanelBytes, ROWS, WeightPair};

    /// `Neon::multiply`; a row has `pairs` pairs of blocks. Wrong sizes panic.
    #[target_feature(enable = "neon")]
    pub fn multiply(
        weights: &[WeightPair],
        pairs: usize,
        panels: PanelBytes<'_>,
        sums: &mut [i32],
        run: usize,
    ) {
        let row_blocks = weights.chunks_exact(pairs);
        for (weights, sums) in row_blocks.zip(sums.chunks_exact_mut(ROWS * run)) {
            let (a, sums) = sums.split_at_mut(run);
            let (b, sums) = sums.split_at_mut(run);
            let (c, d) = sums.split_at_mut(run);
            let [a, b, c, d] = [a, b, c, d].map(|row| row.as_chunks_mut().0.iter_mut());
            let panels = panels
                .buffer
                .chunks_exact(panels.panel_bytes)
                .take(panels.panel_count);
            for ((((panel, a), b), c), d) in panels.zip(a).zip(b).zip(c).zip(d) {
                multiply_tile(weights, panel.as_chunks().0, [a, b, c, d]);
            }
        }
    }

    /// The sums of one row block and one panel.
    #[target_feature(enable = "neon")]
    fn multiply_tile(
        weights: &[WeightPair],
        panel: &[[u8; PAIR_BYTES]],
        sums: [&mut [i32; LANES]; ROWS],
    ) {
        let mut partial = [[vdupq_n_s32(0); LANES]; ROWS];
        for (weights, pair) in weights.iter().zip(panel) {
            let pixels = apart(pair);
            for (partial, weights) in partial.iter_mut().zip(weights) {
                let weights = load_weights(weights);
                for (partial, pixel) in partial.iter_mut().zip(pixels) {
                    let products = vmull_s8(vget_low_s8(weights), vget_low_s8(pixel));
                    let products = vmlal_high_s8(products, weights, pixel);
                    *partial = vpadalq_s16(*partial, products);
                }
            }
        }
        for (sums, [a, b, c, d]) in sums.into_iter().zip(partial) {
            store(sums, vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)));
        }
    }

    /// Both blocks of each pixel beside each other.
    #[target_feature(enable = "neon")]
    fn apart(pair: &[u8; PAIR_BYTES]) -> [int8x16_t; LANES] {
        let ([a, b, c, d], []) = pair.as_chunks::<16>() else {
            unreachable!("a pair is four times 16 bytes")
        };
        let [first, second] = [[a, c], [b, d]].map(|[first, second]| {
            let (first, second) = (load(first), load(second));
            [vzip1q_s64(first, second), vzip2q_s64(first, second)]
        });
        [first[0], first[1], second[0], second[1]].map(|pair| vreinterpretq_s8_s64(pair))
    }

    #[target_feature(enable = "neon")]
    fn load(bytes: &[u8; 16]) -> int64x2_t {
        // SAFETY: the reference is to 16 bytes, which is what is read; the instruction asks for no
        // more alignment than bytes have.
        vreinterpretq_s64_u8(unsafe { vld1q_u8(bytes.as_ptr()) })
    }

    #[target_feature(enable = "neon")]
    fn load_weights(weights: &[i8; 16]) -> int8x16_t {
        // SAFETY: the reference is to 16 bytes, which is what is read; the instruction asks for no
        // more alignment than bytes have.
        unsafe { vld1q_s8(weights.as_ptr()) }
    }

    #[target_feature(enable = "neon")]
    fn store(sums: &mut [i32; LANES], values: int32x4_t) {
        // SAFETY: the reference is to 16 bytes of our own, which is what is written; the
        // instruction asks for no more alignment than 32-bit numbers have, and any bytes are valid
        // sums.
        unsafe { vst1q_s32(sums.as_mut_ptr(), values) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // An odd number of blocks: the last pair is filled.
    const VALUES: usize = 3 * DEPTH;
    const PANEL_BYTES: usize = 2 * PAIR_BYTES;

    fn byte(k: usize) -> i8 {
        [-127, 127, -127, 1, 0, -77, 90][k * k % 7]
    }

    fn pixel_byte(k: usize) -> i8 {
        [-128, 127, -128, 1, 0, -77, 90][k * k % 7]
    }

    /// Multiplies `rows` rows with `panel_count` panels into sums of `run` places a row, in
    /// buffers that are exactly as long as they must be.
    fn multiply(neon: Neon, rows: usize, panel_count: usize, run: usize) -> Vec<i32> {
        let weights: Vec<i8> = (0..rows * VALUES).map(byte).collect();
        let weights = PackedRows::pack(&weights, VALUES);
        let buffer: Vec<u8> = (0..panel_count * PANEL_BYTES)
            .map(|k| pixel_byte(k + 1).cast_unsigned())
            .collect();
        let panels = PanelBytes {
            buffer: &buffer,
            panel_bytes: PANEL_BYTES,
            panel_count,
        };
        let mut sums = vec![i32::MIN; weights.row_count() * run];
        neon.multiply(&weights, panels, &mut sums, run);
        sums
    }

    fn expected(row: usize, pixel: usize) -> i32 {
        let value = |k: usize| {
            let at = (k / DEPTH * LANES + pixel % LANES) * DEPTH + k % DEPTH;
            pixel_byte(pixel / LANES * PANEL_BYTES + at + 1)
        };
        let product = |k: usize| i32::from(byte(row * VALUES + k)) * i32::from(value(k));
        (0..VALUES).map(product).sum()
    }

    // What a wrong load or store would touch is a wrong sum here, or lies outside the buffers,
    // which are not a byte too long.
    #[test]
    fn sums_are_exact_and_nothing_else_is_written() {
        let Some(neon) = Neon::detect() else { return };
        for (rows, panel_count, run) in [(1, 1, 4), (4, 1, 4), (5, 3, 12), (9, 2, 11), (2, 0, 4)] {
            let sums = multiply(neon, rows, panel_count, run);
            for (at, sum) in sums.iter().enumerate() {
                let (row, pixel) = (at / run, at % run);
                let expected = match (pixel < panel_count * LANES, row < rows) {
                    (true, true) => expected(row, pixel),
                    (true, false) => 0,
                    (false, _) => i32::MIN,
                };
                assert_eq!(*sum, expected, "row {row}, pixel {pixel} of {rows} rows");
            }
        }
    }

    #[test]
    fn rows_are_packed_by_pairs_of_blocks() {
        let weights: Vec<i8> = (0..5 * VALUES).map(byte).collect();
        let packed = PackedRows::pack(&weights, VALUES);
        assert_eq!((packed.values(), packed.row_count()), (VALUES, 8));
        for (row, k) in [(0, 0), (3, 15), (4, 16), (4, 23)] {
            let found = packed.pairs[row / ROWS * 2 + k / 16][row % ROWS][k % 16];
            assert_eq!(found, byte(row * VALUES + k), "row {row}, value {k}");
        }
        assert_eq!(packed.pairs[1][0][8..], [0; 8]);
        assert_eq!(packed.pairs[3][1], [0; 16]);
    }

    #[test]
    #[should_panic(expected = "weights from -127 on")]
    fn a_weight_that_would_overflow_is_refused() {
        PackedRows::pack(&[-128; 8], 8);
    }
}
