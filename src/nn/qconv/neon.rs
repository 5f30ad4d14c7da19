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

use super::rows::PackedRows;
use super::{PanelBytes, PanelLayout};

/// How the kernel wants its panels.
pub const LAYOUT: PanelLayout = PanelLayout {
    lanes: LANES,
    depth: DEPTH,
};
const LANES: usize = 4;
const DEPTH: usize = 8;
/// Values of two blocks.
const PAIR: usize = 2 * DEPTH;
/// A panel's bytes of them.
#[cfg(target_arch = "aarch64")]
const PAIR_BYTES: usize = LANES * PAIR;

/// A processor that has NEON. Invariant: `detect` alone makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon(());

/// Rows of weights, two blocks at a time.
pub type Rows = PackedRows<i8, PAIR>;

/// Whether two products fit into 16 bits.
pub fn takes(weights: &[i8]) -> bool {
    !weights.contains(&i8::MIN)
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
    pub fn multiply(self, weights: &Rows, panels: PanelBytes<'_>, sums: &mut [i32], run: usize) {
        weights.check(panels, LANES, sums, run);
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `self` exists, so the processor has NEON, which is all that the function needs.
        unsafe {
            aarch64::multiply(weights, panels, sums, run);
        }
        #[cfg(not(target_arch = "aarch64"))]
        unreachable!("no other processor has NEON");
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use std::arch::aarch64::*;

    use super::super::rows::{ROWS, WeightBlock};
    use super::{LANES, PAIR, PAIR_BYTES, PanelBytes, Rows};

    /// `Neon::multiply`. Wrong sizes panic.
    #[target_feature(enable = "neon")]
    pub fn multiply(weights: &Rows, panels: PanelBytes<'_>, sums: &mut [i32], run: usize) {
        let row_blocks = weights.blocks().chunks_exact(weights.per_row());
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
        weights: &[WeightBlock<i8, PAIR>],
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
