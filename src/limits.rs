//! Every limit, in one place. Sizes that come from outside are checked against these before
//! anything is allocated.

/// Shortest side of a picture that can hold an ECG.
pub const SIDE_PX_MIN: usize = 64;
/// Longest side of a picture: A3 at 1200 dpi.
pub const SIDE_PX_MAX: usize = 20_000;
/// Most pixels that are decoded at full scale.
pub const PAGE_PX_MAX: usize = 16_000_000;
/// Bytes of one input file.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// Pages of one TIFF.
pub const TIFF_PAGES_MAX: usize = 200;
/// Label boxes kept of one page.
pub const LABELS_MAX: usize = 128;
/// Traces of one page: 15 leads and 6 rhythm strips.
pub const TRACES_MAX: usize = 24;
/// Default peak resident size of the process.
pub const MEMORY_BUDGET_MIB: usize = 128;
