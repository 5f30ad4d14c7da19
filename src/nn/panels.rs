//! The right operand of a convolution's matrix product, without the image of columns.
//!
//! In: a padded picture, `[channel][y][x]`, one byte each. Out: panels of `lanes` neighbouring
//! output pixels, in the layout that tract-linalg's int8 kernels read. Only the input rows that
//! the next panels look at are held, in a ring; a row lies there ready to copy:
//!
//! ```text
//!   row = [phase of the stride][group of channels][position][channel in the group]
//!   panel = [tap y][tap x][group of channels][lane][channel in the group]
//! ```
//!
//! so that a panel's block, `lanes * depth` bytes, is one copy of a fixed length. Channels are
//! grouped by `depth`: 4 for dot-product kernels, 8 for ours on NEON, and else 1. Bytes are shifted
//! to the kernel's sign on the way into the ring. All of it is bounds-checked: a wrong index panics.

/// A convolution's sizes. Invariant: strides are 1 or 2, kernel sides and channels at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Height and width.
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Rows above, columns on the left.
    pub pad_before: [usize; 2],
    /// Rows below, columns on the right.
    pub pad_after: [usize; 2],
    pub input_channels: usize,
    pub output_channels: usize,
}

impl Geometry {
    /// Height and width of the padded input; `None` where the kernel does not fit into it.
    fn padded(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let padded = [0, 1].map(|axis| size[axis] + self.pad_before[axis] + self.pad_after[axis]);
        (padded[0] >= self.kernel[0] && padded[1] >= self.kernel[1]).then_some(padded)
    }

    /// Height and width of the output for an input of `size`.
    pub fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let padded = self.padded(size)?;
        Some([0, 1].map(|axis| (padded[axis] - self.kernel[axis]) / self.stride[axis] + 1))
    }
}

/// How a kernel wants its panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PanelLayout {
    /// Output pixels in a panel.
    pub lanes: usize,
    /// Channels that lie beside each other: 1, 4 or 8.
    pub depth: usize,
}

impl PanelLayout {
    /// Bytes of one block: the lanes' values of one tap and one group of channels.
    pub fn block_bytes(self) -> usize {
        self.lanes * self.depth
    }

    /// Values a lane, channels padded to whole groups.
    pub fn values(self, geometry: &Geometry) -> usize {
        let groups = geometry.input_channels.div_ceil(self.depth);
        geometry.kernel[0] * geometry.kernel[1] * groups * self.depth
    }
}

/// What the input's bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InputBytes {
    /// 0x80 where the kernel wants the other sign, 0 where it is its own.
    pub flip: u8,
    /// The zero point, after the flip: what padding is filled with.
    pub zero: u8,
}

/// The input rows that the next panels look at.
pub struct Rows<'a> {
    geometry: Geometry,
    layout: PanelLayout,
    bytes: InputBytes,
    input: &'a [u8],
    size: [usize; 2],
    output_width: usize,
    output_pixels: usize,
    /// Bytes of one group of channels in one phase of one row.
    group_bytes: usize,
    row_bytes: usize,
    /// Where the blocks of one kernel row begin in a row, for the output pixel at `x = 0`.
    offsets: Vec<usize>,
    ring: Vec<u8>,
    ring_rows: usize,
    rows_loaded: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `input` for runs of at most `run` output pixels; `None` where the sizes disagree.
    pub fn new(
        geometry: Geometry,
        layout: PanelLayout,
        bytes: InputBytes,
        input: &'a [u8],
        size: [usize; 2],
        run: usize,
    ) -> Option<Self> {
        let padded = geometry.padded(size)?;
        let [output_height, output_width] = geometry.output_size(size)?;
        if input.len() != geometry.input_channels * size[0] * size[1] || run == 0 {
            return None;
        }
        let groups = geometry.input_channels.div_ceil(layout.depth);
        let phases = geometry.stride[1];
        // A block is copied whole even where the line of output pixels ends inside it.
        let positions = padded[1].div_ceil(phases) + layout.lanes;
        let group_bytes = positions * layout.depth;
        let offsets = (0..geometry.kernel[1])
            .flat_map(|tap| (0..groups).map(move |group| (tap, group)))
            .map(|(tap, group)| {
                (tap % phases * groups + group) * group_bytes + tap / phases * layout.depth
            })
            .collect();
        let output_rows = ((run - 1) / output_width + 2).min(output_height);
        let ring_rows = (output_rows - 1) * geometry.stride[0] + geometry.kernel[0];
        let row_bytes = phases * groups * group_bytes;
        Some(Self {
            geometry,
            layout,
            bytes,
            input,
            size,
            output_width,
            output_pixels: output_height * output_width,
            group_bytes,
            row_bytes,
            offsets,
            ring: vec![0; ring_rows * row_bytes],
            ring_rows,
            rows_loaded: 0,
        })
    }

    /// Makes the output pixels `first..first + count` readable; runs go forward.
    #[inline(always)]
    pub fn load(&mut self, first: usize, count: usize) {
        let row_of = |pixel: usize| pixel / self.output_width * self.geometry.stride[0];
        let end = row_of(first + count - 1) + self.geometry.kernel[0];
        for y in self.rows_loaded.max(row_of(first))..end {
            self.load_row(y);
        }
        self.rows_loaded = self.rows_loaded.max(end);
    }

    #[inline(always)]
    fn load_row(&mut self, y: usize) {
        let start = y % self.ring_rows * self.row_bytes;
        let row = &mut self.ring[start..start + self.row_bytes];
        row.fill(self.bytes.zero);
        let Some(y) = y
            .checked_sub(self.geometry.pad_before[0])
            .filter(|y| *y < self.size[0])
        else {
            return;
        };
        let (height, width) = (self.size[0], self.size[1]);
        let [last_channel, phases] = [self.geometry.input_channels - 1, self.geometry.stride[1]];
        let pad = self.geometry.pad_before[1];
        let depth = self.layout.depth;
        for phase in 0..phases {
            let skipped = pad.saturating_sub(phase).div_ceil(phases);
            let from = skipped * phases + phase - pad;
            if from >= width {
                continue;
            }
            let count = (width - from).div_ceil(phases);
            for first in (0..=last_channel).step_by(depth) {
                let line = |k: usize| {
                    // Channels that pad the last group have weight 0; any value will do.
                    let at = ((first + k).min(last_channel) * height + y) * width;
                    &self.input[at + from..at + width]
                };
                let groups = last_channel / depth + 1;
                let at = (phase * groups + first / depth) * self.group_bytes + skipped * depth;
                let block = &mut row[at..at + count * depth];
                match (depth, phases) {
                    (1, 1) => copy::<1>(block, line(0), self.bytes.flip),
                    (1, _) => copy::<2>(block, line(0), self.bytes.flip),
                    (4, 1) => interleave::<1>(block, [0, 1, 2, 3].map(line), self.bytes.flip),
                    (4, _) => interleave::<2>(block, [0, 1, 2, 3].map(line), self.bytes.flip),
                    (_, 1) => interleave_eight::<1>(block, line, self.bytes.flip),
                    (_, _) => interleave_eight::<2>(block, line, self.bytes.flip),
                }
            }
        }
    }

    /// Writes the panel of the output pixels from `first` on. `panel` holds the panel's values and
    /// at least one block beyond them, which is overwritten.
    pub fn fill(&self, panel: &mut [u8], first: usize) {
        let inside = first % self.output_width + self.layout.lanes <= self.output_width;
        match (self.layout.block_bytes(), inside) {
            (4, true) => self.fill_inside::<4>(panel, first),
            (8, true) => self.fill_inside::<8>(panel, first),
            (16, true) => self.fill_inside::<16>(panel, first),
            (32, true) => self.fill_inside::<32>(panel, first),
            (64, true) => self.fill_inside::<64>(panel, first),
            (128, true) => self.fill_inside::<128>(panel, first),
            (4, false) => self.fill_across::<4>(panel, first),
            (8, false) => self.fill_across::<8>(panel, first),
            (16, false) => self.fill_across::<16>(panel, first),
            (32, false) => self.fill_across::<32>(panel, first),
            (64, false) => self.fill_across::<64>(panel, first),
            (128, false) => self.fill_across::<128>(panel, first),
            (bytes, _) => unreachable!("kernels with blocks of {bytes} bytes are not picked"),
        }
    }

    /// All lanes lie on one line of output pixels.
    fn fill_inside<const BLOCK: usize>(&self, panel: &mut [u8], first: usize) {
        let (y, x) = (first / self.output_width, first % self.output_width);
        let (blocks, _) = panel.as_chunks_mut::<BLOCK>();
        for (tap, blocks) in blocks
            .chunks_exact_mut(self.offsets.len())
            .take(self.geometry.kernel[0])
            .enumerate()
        {
            let row = &self.row(y * self.geometry.stride[0] + tap)[x * self.layout.depth..];
            for (block, offset) in blocks.iter_mut().zip(&self.offsets) {
                block.copy_from_slice(&row[*offset..*offset + BLOCK]);
            }
        }
    }

    /// The lanes lie on several lines. Every line's share is copied as a whole block from its
    /// first lane on; what spills over is overwritten by the next line's share or the next block.
    fn fill_across<const BLOCK: usize>(&self, panel: &mut [u8], first: usize) {
        let depth = self.layout.depth;
        let mut at = 0;
        for tap in 0..self.geometry.kernel[0] {
            for offset in &self.offsets {
                let mut lane = 0;
                while lane < self.layout.lanes && first + lane < self.output_pixels {
                    let (y, x) = (
                        (first + lane) / self.output_width,
                        (first + lane) % self.output_width,
                    );
                    let row = self.row(y * self.geometry.stride[0] + tap);
                    let from = offset + x * depth;
                    let to = at + lane * depth;
                    panel[to..to + BLOCK].copy_from_slice(&row[from..from + BLOCK]);
                    lane += self.output_width - x;
                }
                at += BLOCK;
            }
        }
    }

    fn row(&self, y: usize) -> &[u8] {
        let start = y % self.ring_rows * self.row_bytes;
        &self.ring[start..start + self.row_bytes]
    }
}

/// Every `STRIDE`th byte of `line`, flipped.
#[inline(always)]
fn copy<const STRIDE: usize>(block: &mut [u8], line: &[u8], flip: u8) {
    let (whole, rest) = line.as_chunks::<STRIDE>();
    for (to, from) in block.iter_mut().zip(whole) {
        *to = from[0] ^ flip;
    }
    if let (Some(to), Some(from)) = (block.last_mut(), rest.first()) {
        *to = from ^ flip;
    }
}

/// Every `STRIDE`th byte of four lines beside each other, flipped.
#[inline(always)]
fn interleave<const STRIDE: usize>(block: &mut [u8], lines: [&[u8]; 4], flip: u8) {
    let (to, _) = block.as_chunks_mut::<4>();
    let [a, b, c, d] = lines.map(|line| line.as_chunks::<STRIDE>());
    // As one number of 32 bits each: bytes on their own are no vector code.
    let flips = u32::from_le_bytes([flip; 4]);
    for ((((to, a), b), c), d) in to.iter_mut().zip(a.0).zip(b.0).zip(c.0).zip(d.0) {
        let [a, b, c, d] = [a, b, c, d].map(|bytes| u32::from(bytes[0]));
        *to = ((a | b << 8 | c << 16 | d << 24) ^ flips).to_le_bytes();
    }
    if let (Some(to), [a, ..], [b, ..], [c, ..], [d, ..]) = (to.last_mut(), a.1, b.1, c.1, d.1) {
        *to = [a ^ flip, b ^ flip, c ^ flip, d ^ flip];
    }
}

/// Every `STRIDE`th byte of eight lines beside each other, flipped.
#[inline(always)]
fn interleave_eight<'a, const STRIDE: usize>(
    block: &mut [u8],
    line: impl Fn(usize) -> &'a [u8],
    flip: u8,
) {
    let (to, _) = block.as_chunks_mut::<8>();
    let lines: [&[u8]; 8] = std::array::from_fn(line);
    let flips = u32::from_le_bytes([flip; 4]);
    let whole = lines.map(|line| &line.as_chunks::<STRIDE>().0[..lines[0].len() / STRIDE]);
    let joined = |four: &[&[[u8; STRIDE]]], at: usize| {
        let bytes = |k: usize| u32::from(four[k][at][0]) << (8 * k);
        (bytes(0) | bytes(1) | bytes(2) | bytes(3)) ^ flips
    };
    let count = whole[0].len().min(to.len());
    for (at, to) in to[..count].iter_mut().enumerate() {
        let (low, high) = (joined(&whole[..4], at), joined(&whole[4..], at));
        *to = (u64::from(low) | u64::from(high) << 32).to_le_bytes();
    }
    if let (Some(to), true) = (to.last_mut(), !lines[0].len().is_multiple_of(STRIDE)) {
        let last = lines[0].len() - lines[0].len() % STRIDE;
        *to = lines.map(|line| line[last] ^ flip);
    }
}
