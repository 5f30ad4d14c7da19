//! unsafe is allowed in this file, a part of the int8 operator: a kernel of our own for VNNI.
//!
//! In: panels of 8 pixels by 4 channels, unsigned bytes, as `panels.rs` writes them; weights packed
//! below. Out: 32-bit sums, exact, a row of pixels for each output channel. One instruction
//! multiplies 32 bytes by weights and adds each pixel's four products to its sum. tract-linalg has
//! such kernels for 512-bit vectors, with panels of 16 pixels and 16 channels: nets as narrow as
//! ours leave half of that empty. On both kinds of processor that know it, Intel's and AMD's of
//! AVX-512 and those without (AVX-VNNI), the vectors here are 256 bits wide.
//!
//! ```text
//!   block   = [pixel 0..8][channel 0..4], bytes -> 1 vector
//!   weights = [row block][k / 4][row 0..4][k % 4] -> 1 vector a row: its four numbers, 8 times
//!   partial = [row][panel 0..2][pixel 0..8], 32-bit: 8 vectors
//! ```
//!
//! Fails never: sizes are checked before the first vector, and a breach is our bug.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "vectors are loaded and stored by pointer, and VNNI is called for"
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

/// A processor that has VNNI, of one of the two kinds. Invariant: `detect` alone makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vnni(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "no other processor has VNNI")
)]
enum Kind {
    Avx512,
    Avx,
}

/// Rows of weights.
pub type Rows = PackedRows<i8, DEPTH>;

impl Vnni {
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl") {
                return Some(Self(Kind::Avx512));
            }
            if is_x86_feature_detected!("avxvnni") {
                return Some(Self(Kind::Avx));
            }
        }
        None
    }

    /// `sums[row][pixel] = weights[row] * panels[pixel]`, for all rows of `weights.row_count()`
    /// and all pixels of the panels. A row of sums has `run` places.
    pub fn multiply(self, weights: &Rows, panels: PanelBytes<'_>, sums: &mut [i32], run: usize) {
        weights.check(panels, LANES, sums, run);
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `detect` found AVX-512's VNNI and vectors of 256 bits, all that is needed.
            Kind::Avx512 => unsafe {
                x86::multiply_avx512(weights, panels, sums, run);
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `detect` found AVX-VNNI, which is all that the function needs.
            Kind::Avx => unsafe {
                x86::multiply_avx(weights, panels, sums, run);
            },
            #[cfg(not(target_arch = "x86_64"))]
            Kind::Avx512 | Kind::Avx => unreachable!("no other processor has VNNI"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::rows::{ROWS, WeightBlock};
    use super::{BLOCK_BYTES, DEPTH, LANES, PanelBytes, Rows};

    /// The same for both kinds of processor, which spell the one instruction differently.
    macro_rules! kernel {
        ($multiply:ident, $multiply_tile:ident, $features:literal, $dot:ident) => {
            /// `Vnni::multiply`. Wrong sizes panic.
            #[target_feature(enable = $features)]
            pub fn $multiply(weights: &Rows, panels: PanelBytes<'_>, sums: &mut [i32], run: usize) {
                let bytes = panels.panel_bytes;
                let pairs = panels.buffer[..panels.panel_count * bytes].chunks(2 * bytes);
                let row_blocks = weights.blocks().chunks_exact(weights.per_row());
                for (weights, sums) in row_blocks.zip(sums.chunks_exact_mut(ROWS * run)) {
                    for (k, pair) in pairs.clone().enumerate() {
                        let sums = &mut sums[2 * k * LANES..];
                        let (first, second) = pair.split_at(bytes);
                        if second.is_empty() {
                            $multiply_tile(weights, [first.as_chunks().0], sums, run);
                        } else {
                            let both = [first.as_chunks().0, second.as_chunks().0];
                            $multiply_tile(weights, both, sums, run);
                        }
                    }
                }
            }

            /// The sums of one row block and one panel or two.
            #[target_feature(enable = $features)]
            fn $multiply_tile<const PANELS: usize>(
                weights: &[WeightBlock<i8, DEPTH>],
                panels: [&[[u8; BLOCK_BYTES]]; PANELS],
                sums: &mut [i32],
                run: usize,
            ) {
                let panels = panels.map(|panel| &panel[..weights.len()]);
                let mut partial = [[_mm256_setzero_si256(); PANELS]; ROWS];
                for (k, weights) in weights.iter().enumerate() {
                    let pixels: [__m256i; PANELS] = std::array::from_fn(|p| load(&panels[p][k]));
                    for (partial, weights) in partial.iter_mut().zip(weights) {
                        let weights = repeat(*weights);
                        for (partial, pixels) in partial.iter_mut().zip(pixels) {
                            *partial = $dot(*partial, pixels, weights);
                        }
                    }
                }
                for (row, partial) in partial.into_iter().enumerate() {
                    let places = sums[row * run..].as_chunks_mut().0;
                    for (places, partial) in places.iter_mut().zip(partial) {
                        store(places, partial);
                    }
                }
            }
        };
    }

    kernel!(
        multiply_avx512,
        tile_avx512,
        "avx2,avx512vnni,avx512vl",
        _mm256_dpbusd_epi32
    );
    kernel!(
        multiply_avx,
        tile_avx,
        "avx2,avxvnni",
        _mm256_dpbusd_avx_epi32
    );

    /// A row's four weights for each of eight pixels.
    #[target_feature(enable = "avx2")]
    fn repeat(weights: [i8; DEPTH]) -> __m256i {
        _mm256_set1_epi32(i32::from_le_bytes(weights.map(i8::cast_unsigned)))
    }

    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; BLOCK_BYTES]) -> __m256i {
        // SAFETY: the reference is to 32 bytes, which is what is read; the instruction asks for
        // no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
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
        let words: Vec<&str> = text.split_whitespace().collect();
        let is_listed = |word: &str| words.contains(&word);
        let listed = is_listed("avx_vnni") || is_listed("avx512_vnni") && is_listed("avx512vl");
        assert_eq!(Vnni::detect().is_some(), listed);
    }
}
