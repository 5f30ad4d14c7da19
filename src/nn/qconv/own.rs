//! Our own int8 kernels, each for processors on which tract-linalg has none as fast.
//!
//! In: panels of bytes as `panels.rs` writes them, rows of weights packed by `pack`. Out: 32-bit
//! sums, exact, a row of pixels for each output channel. Fails never: sizes are checked before the
//! first vector, and a breach is our bug.

use super::avx2::{self, Avx2};
use super::neon::{self, Neon};
use super::vnni::{self, Vnni};
use super::{PanelBytes, PanelLayout};

/// A kernel of ours that this processor can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnKernel {
    Vnni(Vnni),
    Avx2(Avx2),
    Neon(Neon),
}

/// Rows of weights, packed for one of the kernels.
#[derive(Clone, Debug)]
pub enum OwnRows {
    Vnni(vnni::Rows),
    Avx2(avx2::Rows),
    Neon(neon::Rows),
}

impl OwnKernel {
    /// Those of this processor, the fastest first.
    pub fn detect() -> impl Iterator<Item = Self> {
        let own = [
            Vnni::detect().map(Self::Vnni),
            Avx2::detect().map(Self::Avx2),
            Neon::detect().map(Self::Neon),
        ];
        own.into_iter().flatten()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Vnni(_) => "own_vnni_i32_4x16",
            Self::Avx2(_) => "own_avx2_i32_4x8",
            Self::Neon(_) => "own_neon_i32_4x4",
        }
    }

    /// How the kernel wants its panels.
    pub fn layout(self) -> PanelLayout {
        match self {
            Self::Vnni(_) => vnni::LAYOUT,
            Self::Avx2(_) => avx2::LAYOUT,
            Self::Neon(_) => neon::LAYOUT,
        }
    }

    /// Whether panels hold unsigned bytes.
    pub fn is_unsigned(self) -> bool {
        match self {
            Self::Vnni(_) => true,
            Self::Avx2(_) | Self::Neon(_) => false,
        }
    }

    /// Whether the kernel's sums are exact for such weights.
    pub fn takes(self, weights: &[i8]) -> bool {
        match self {
            Self::Vnni(_) | Self::Avx2(_) => true,
            Self::Neon(_) => neon::takes(weights),
        }
    }

    /// Packs rows of weights, `[row][value]`, that the kernel takes.
    pub fn pack(self, rows: &[i8], values: usize) -> OwnRows {
        assert!(self.takes(rows), "weights that the kernel takes");
        match self {
            Self::Vnni(_) => OwnRows::Vnni(vnni::Rows::pack(rows, values)),
            Self::Avx2(_) => OwnRows::Avx2(avx2::Rows::pack(rows, values)),
            Self::Neon(_) => OwnRows::Neon(neon::Rows::pack(rows, values)),
        }
    }

    /// `sums[row][pixel] = weights[row] * panels[pixel]`, for all rows of `weights.row_count()` and
    /// all pixels of the panels; a row of sums has `run` places. False, and nothing done, where the
    /// weights are packed for another kernel.
    pub fn multiply(
        self,
        weights: &OwnRows,
        panels: PanelBytes<'_>,
        sums: &mut [i32],
        run: usize,
    ) -> bool {
        match (self, weights) {
            (Self::Vnni(vnni), OwnRows::Vnni(rows)) => vnni.multiply(rows, panels, sums, run),
            (Self::Avx2(avx2), OwnRows::Avx2(rows)) => avx2.multiply(rows, panels, sums, run),
            (Self::Neon(neon), OwnRows::Neon(rows)) => neon.multiply(rows, panels, sums, run),
            (Self::Vnni(_) | Self::Avx2(_) | Self::Neon(_), _) => return false,
        }
        true
    }
}

impl OwnRows {
    /// Values of a row.
    pub fn values(&self) -> usize {
        match self {
            Self::Vnni(rows) => rows.values(),
            Self::Avx2(rows) => rows.values(),
            Self::Neon(rows) => rows.values(),
        }
    }

    /// Rows, with those that fill the last row block.
    pub fn row_count(&self) -> usize {
        match self {
            Self::Vnni(rows) => rows.row_count(),
            Self::Avx2(rows) => rows.row_count(),
            Self::Neon(rows) => rows.row_count(),
        }
    }

    /// Bytes that are read of a panel of so many pixels.
    #[cfg(test)]
    fn panel_bytes(&self, lanes: usize) -> usize {
        match self {
            Self::Vnni(rows) => rows.panel_bytes(lanes),
            Self::Avx2(rows) => rows.panel_bytes(lanes),
            Self::Neon(rows) => rows.panel_bytes(lanes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    // Whole blocks of every layout; of NEON's pairs of blocks the last is filled.
    const VALUES: usize = 24;

    /// A product to be made by one kernel, in buffers that are exactly as long as they must be.
    struct Bench {
        kernel: OwnKernel,
        rows: OwnRows,
        panel_bytes: usize,
        pixels: Vec<u8>,
    }

    impl Bench {
        fn new(kernel: OwnKernel, rows: usize, panel_count: usize) -> Self {
            let weights: Vec<i8> = (0..rows * VALUES).map(|k| weight(kernel, k)).collect();
            let rows = kernel.pack(&weights, VALUES);
            let panel_bytes = rows.panel_bytes(kernel.layout().lanes);
            let pixels = (0..panel_count * panel_bytes).map(pixel).collect();
            Self {
                kernel,
                rows,
                panel_bytes,
                pixels,
            }
        }

        fn multiply(&self, panel_count: usize, sums: &mut [i32], run: usize) -> bool {
            let panels = PanelBytes {
                buffer: &self.pixels,
                panel_bytes: self.panel_bytes,
                panel_count,
            };
            self.kernel.multiply(&self.rows, panels, sums, run)
        }

        fn expected(&self, row: usize, at: usize) -> i32 {
            let PanelLayout { lanes, depth } = self.kernel.layout();
            let product = |k: usize| {
                let byte = (k / depth * lanes + at % lanes) * depth + k % depth;
                let byte = pixel(at / lanes * self.panel_bytes + byte);
                let value = if self.kernel.is_unsigned() {
                    i32::from(byte)
                } else {
                    i32::from(byte.cast_signed())
                };
                i32::from(weight(self.kernel, row * VALUES + k)) * value
            };
            (0..VALUES).map(product).sum()
        }
    }

    /// The largest and the smallest that there are, among others.
    fn weight(kernel: OwnKernel, k: usize) -> i8 {
        let least = if kernel.takes(&[-128]) { -128 } else { -127 };
        [least, 127, least, 1, 0, -77, 90][k * k % 7]
    }

    fn pixel(k: usize) -> u8 {
        [0, 128, 127, 128, 255, 1, 179][(k + 1) * (k + 1) % 7]
    }

    // What a wrong load or store would touch is a wrong sum here, or lies outside the buffers,
    // which are not a byte too long.
    #[test]
    fn sums_are_exact_and_nothing_else_is_written() {
        for kernel in OwnKernel::detect() {
            let lanes = kernel.layout().lanes;
            for (rows, panel_count, beyond) in
                [(1, 1, 0), (4, 1, 0), (5, 3, 0), (9, 2, 5), (2, 0, 8)]
            {
                let bench = Bench::new(kernel, rows, panel_count);
                let run = panel_count * lanes + beyond;
                let mut sums = vec![i32::MIN; bench.rows.row_count() * run];
                assert!(bench.multiply(panel_count, &mut sums, run));
                for (at, sum) in sums.iter().enumerate() {
                    let (row, at) = (at / run, at % run);
                    let expected = match (at < panel_count * lanes, row < rows) {
                        (true, true) => bench.expected(row, at),
                        (true, false) => 0,
                        (false, _) => i32::MIN,
                    };
                    assert_eq!(
                        *sum, expected,
                        "{kernel:?}: row {row}, pixel {at} of {rows}"
                    );
                }
            }
        }
    }

    /// What a panic says.
    fn refusal(work: impl FnOnce()) -> String {
        let error = catch_unwind(AssertUnwindSafe(work)).expect_err("nothing was refused");
        (*error.downcast::<&str>().unwrap()).to_owned()
    }

    #[test]
    fn buffers_that_are_too_short_are_refused() {
        for kernel in OwnKernel::detect() {
            let bench = Bench::new(kernel, 4, 2);
            let run = 2 * kernel.layout().lanes;
            let mut sums = vec![0; 4 * run];
            let mut refused = |panel_count: usize, places: usize, run: usize| {
                refusal(|| {
                    bench.multiply(panel_count, &mut sums[..places], run);
                })
            };
            assert_eq!(refused(3, 4 * run, run), "all panels are there");
            assert_eq!(refused(2, 4 * (run - 1), run - 1), "a sum for each pixel");
            assert_eq!(refused(2, 4 * run - 1, run), "sums for each row");
            let mut short = Bench::new(kernel, 4, 2);
            short.panel_bytes -= 1;
            let said = refusal(|| {
                short.multiply(1, &mut sums, run);
            });
            assert_eq!(said, "panels hold all values");
        }
    }

    #[test]
    fn a_weight_whose_products_would_overflow_is_refused() {
        for kernel in OwnKernel::detect().filter(|kernel| !kernel.takes(&[-128])) {
            let said = refusal(|| {
                kernel.pack(&[-128; 8], 8);
            });
            assert_eq!(said, "weights that the kernel takes");
        }
    }

    #[test]
    fn rows_of_another_kernel_are_told() {
        let kernels: Vec<OwnKernel> = OwnKernel::detect().collect();
        for (kernel, other) in kernels.iter().zip(kernels.iter().skip(1)) {
            let mut bench = Bench::new(*kernel, 4, 1);
            bench.kernel = *other;
            let run = kernel.layout().lanes;
            assert!(!bench.multiply(1, &mut vec![0; 4 * run], run));
        }
    }
}
