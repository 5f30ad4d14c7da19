//! unsafe is allowed in this file, a part of the int8 operator: a kernel of our own for AVX2.
//!
//! In: panels of 8 pixels by 4 channels, signed bytes, as `panels.rs` writes them; weights packed
//! below as 16-bit numbers. Out: 32-bit sums, exact, a row of pixels for each output channel.
//! tract-linalg's kernel for processors with AVX2 but without VNNI multiplies single values of a
//! lane; here one instruction multiplies 16 pairs of 16-bit numbers and adds neighbours:
//!
//! ```text
//!   block   = [pixel 0..8][channel 0..4], bytes  -> 2 vectors: pixels 0..4, pixels 4..8
//!   weights = [row block][k / 4][row 0..4][k % 4] -> 1 vector a row: its four numbers, 4 times
//!   partial = [pixel][channels 0 and 1, channels 2 and 3], 32-bit -> 2 vectors a row
//! ```
//!
//! A product of two signed bytes is at most 2^14, so a pair is exact in 32 bits; sums wrap as
//! tract's do. Fails never: sizes are checked before the first vector, and a breach is our bug.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "vectors are loaded and stored by pointer, and AVX2 is called for"
    )
)]

use super::rows::PackedRows;
use super::{PanelBytes, PanelLayout};

/// How the kernel wants its panels.
pub const LAYOUT: PanelLayout = PanelLayout {
    lanes: LANES,
    depth: DEPTH,
};
const LANES: usize = 8;
const DEPTH: usize = 4;
#[cfg(target_arch = "x86_64")]
const BLOCK_BYTES: usize = LANES * DEPTH;

/// A processor that has AVX2. Invariant: `detect` alone makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

/// Rows of weights as 16-bit numbers.
pub type Rows = PackedRows<i16, DEPTH>;

impl Avx2 {
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        let found = is_x86_feature_detected!("avx2");
        #[cfg(not(target_arch = "x86_64"))]
        let found = false;
        found.then_some(Self(()))
    }

    /// Does `work`, as vector code of 256 bits where the compiler sees it and all that it calls.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `self` exists, so the processor has AVX2, which is all that the function needs.
        let done = unsafe { x86::run(work) };
        #[cfg(not(target_arch = "x86_64"))]
        let done = work();
        done
    }

    /// `sums[row][pixel] = weights[row] * panels[pixel]`, for all rows of `weights.row_count()`
    /// and all pixels of the panels. A row of sums has `run` places.
    pub fn multiply(self, weights: &Rows, panels: PanelBytes<'_>, sums: &mut [i32], run: usize) {
        weights.check(panels, LANES, sums, run);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `self` exists, so the processor has AVX2, which is all that the function needs.
        unsafe {
            x86::multiply(weights, panels, sums, run);
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("no other processor has AVX2");
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::rows::{ROWS, WeightBlock};
    use super::{BLOCK_BYTES, DEPTH, LANES, PanelBytes, Rows};

    #[target_feature(enable = "avx2")]
    pub fn run<T>(work: impl FnOnce() -> T) -> T {
        work()
    }

    /// `Avx2::multiply`. Wrong sizes panic.
    #[target_feature(enable = "avx2")]
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
    #[target_feature(enable = "avx2")]
    fn multiply_tile(
        weights: &[WeightBlock<i16, DEPTH>],
        panel: &[[u8; BLOCK_BYTES]],
        sums: [&mut [i32; LANES]; ROWS],
    ) {
        let mut partial = [[_mm256_setzero_si256(); 2]; ROWS];
        for (weights, block) in weights.iter().zip(panel) {
            let pixels = widen(block);
            for (partial, weights) in partial.iter_mut().zip(weights) {
                let weights = repeat(*weights);
                for (partial, pixels) in partial.iter_mut().zip(pixels) {
                    let products = _mm256_madd_epi16(pixels, weights);
                    *partial = _mm256_add_epi32(*partial, products);
                }
            }
        }
        for (sums, [low, high]) in sums.into_iter().zip(partial) {
            // Pairs are added within each half: pixels 0 1 4 5 and 2 3 6 7.
            let halves = _mm256_hadd_epi32(low, high);
            store(sums, _mm256_permute4x64_epi64::<0b11_01_10_00>(halves));
        }
    }

    /// A block as 16-bit numbers: pixels 0..4, pixels 4..8.
    #[target_feature(enable = "avx2")]
    fn widen(block: &[u8; BLOCK_BYTES]) -> [__m256i; 2] {
        let ([low, high], []) = block.as_chunks::<16>() else {
            unreachable!("a block is twice 16 bytes")
        };
        [low, high].map(|bytes| _mm256_cvtepi8_epi16(load(bytes)))
    }

    /// A row's four weights for each of four pixels.
    #[target_feature(enable = "avx2")]
    fn repeat(weights: [i16; 4]) -> __m256i {
        let [a, b, c, d] = weights.map(|weight| u64::from(weight.cast_unsigned()));
        _mm256_set1_epi64x((a | b << 16 | c << 32 | d << 48).cast_signed())
    }

    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: the reference is to 16 bytes, which is what is read; the instruction asks for
        // no alignment.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    fn store(sums: &mut [i32; LANES], values: __m256i) {
        // SAFETY: the reference is to 32 bytes of our own, which is what is written; the
        // instruction asks for no alignment, and any bytes are valid sums.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), values) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_where_the_processor_has_it() {
        // Linux lists what it found out by itself.
        let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else {
            return;
        };
        let listed = text.split_whitespace().any(|word| word == "avx2");
        assert_eq!(Avx2::detect().is_some(), listed);
    }
}
