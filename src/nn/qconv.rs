//! unsafe is allowed in this file: the int8 convolution calls tract-linalg's matrix kernels.
//!
//! In: one picture of bytes with a zero point, `[1, channels, height, width]`. Out: another one.
//! Both are unsigned or signed; weights are signed with zero point 0 and a scale for each output
//! channel. The result is ONNX's QLinearConv to the bit: 32-bit sums, one `f32` factor a channel,
//! round half to even, zero point, clamp. tract's own QLinearConv materialises every column of
//! the picture and spends most of its time there; here panels for a few hundred output pixels at
//! a time (`panels.rs`) go through the kernel and come out as bytes. The kernel is tract-linalg's
//! where none of ours (`qconv/own.rs`) is faster: on processors with VNNI (`vnni.rs`), with AVX2 alone
//! (`avx2.rs`), and on ARM ones without dot products (`neon.rs`).
//! Fails only where the plan's sizes disagree with the tensor's, which is our bug.
#![expect(
    unsafe_code,
    reason = "tract-linalg's kernels take pointers; see `multiply`"
)]

mod avx2;
mod neon;
mod own;
mod rows;
mod vnni;

use std::fmt;
use std::sync::Arc;

use tract_linalg::MmmDispatch;
use tract_linalg::mmm::{
    AsInputValue, FusedSpec, MMMInputFormat, MMMInputValue, MatMatMul, PackedExoticFact, Query,
    ScratchSpace, Suitable,
};
use tract_linalg::pack::{PackedFormat, PackedI8K4};
use tract_onnx::tract_hir::internal::*;

use super::panels::{Geometry, InputBytes, PanelLayout, Rows};
use avx2::Avx2;
use own::{OwnKernel, OwnRows};

/// Bytes of panels and sums that one run of a kernel works on: within a small core's second-level
/// cache, beside the weights.
const RUN_BYTES: usize = 96 * 1024;
/// The strictest alignment that a kernel asks of its panels.
const PANEL_ALIGNMENT: usize = 64;

/// The kernels of tract-linalg that ours replace, those that it prefers where the processor has VNNI,
/// AVX2 or NEON and nothing better.
const REPLACED: [&str; 4] = [
    "avx512vnni_mmm_i32_16x16",
    "avx512vnni_mmm_i32_8x8",
    "avx2_mmm_i32_8x8",
    "arm64simd_mmm_i32_8x8",
];

const OTHER_KERNEL: &str = "weights packed for another kernel";

/// Panels in one buffer, a fixed distance apart.
#[derive(Clone, Copy, Debug)]
pub struct PanelBytes<'a> {
    buffer: &'a [u8],
    panel_bytes: usize,
    panel_count: usize,
}

/// An int8 kernel that this processor can run, with panels that `panels.rs` can write.
#[derive(Clone, Debug)]
pub enum Kernel {
    Tract(TractKernel),
    Own(OwnKernel),
}

impl Kernel {
    /// The fastest kernel on this processor for a convolution with these weights: ours where it
    /// replaces tract's, else the one that tract-linalg prefers.
    pub fn pick(geometry: &Geometry, pixels: usize, weights: &[i8]) -> Option<Self> {
        let query = TractKernel::query(geometry, pixels);
        let preferred = MmmDispatch::native().pick(&query);
        let is_replaced = preferred
            .as_ref()
            .is_some_and(|(product, _, _)| REPLACED.contains(&product.name()));
        let own = OwnKernel::detect().find(|own| own.takes(weights));
        if let Some(own) = own.filter(|_| is_replaced) {
            return Some(Self::Own(own));
        }
        let preferred = preferred.and_then(TractKernel::new).map(Self::Tract);
        preferred.or_else(|| Self::all().into_iter().find(|kernel| kernel.takes(weights)))
    }

    /// Whether panels hold unsigned bytes.
    fn is_unsigned(&self) -> bool {
        match self {
            Self::Tract(_) => false,
            Self::Own(kernel) => kernel.is_unsigned(),
        }
    }

    /// Whether the kernel's sums are exact for such weights.
    pub fn takes(&self, weights: &[i8]) -> bool {
        match self {
            Self::Tract(_) => true,
            Self::Own(kernel) => kernel.takes(weights),
        }
    }

    /// Every kernel of this processor that can be used here.
    pub fn all() -> Vec<Self> {
        let any = Geometry {
            kernel: [3, 3],
            stride: [1, 1],
            pad_before: [1, 1],
            pad_after: [1, 1],
            input_channels: 16,
            output_channels: 16,
        };
        let suitable = MmmDispatch::native().suitable(&TractKernel::query(&any, 4096));
        let tract = suitable.into_iter().filter_map(TractKernel::new);
        let own = OwnKernel::detect().map(Self::Own);
        tract.map(Self::Tract).chain(own).collect()
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Tract(kernel) => kernel.product.name(),
            Self::Own(kernel) => kernel.name(),
        }
    }

    fn layout(&self) -> PanelLayout {
        match self {
            Self::Tract(kernel) => kernel.layout,
            Self::Own(kernel) => kernel.layout(),
        }
    }

    fn panel_format(&self) -> Box<dyn MMMInputFormat> {
        match self {
            Self::Tract(kernel) => kernel.formats().1.clone(),
            // Ours are filled and read here alone; the format tells how long a panel is.
            Self::Own(kernel) => Box::new(PackedI8K4::new(kernel.layout().lanes)),
        }
    }

    /// Packs rows of weights, `[row][value]`.
    fn pack(&self, rows: &[i8], values: usize) -> TractResult<Packed> {
        match self {
            Self::Tract(kernel) => {
                let rows = Tensor::from_shape(&[rows.len() / values, values], rows)?;
                let packed = kernel.formats().0.prepare_one(&rows, 1, 0)?;
                Ok(Packed::Tract(packed))
            }
            Self::Own(kernel) => Ok(Packed::Own(kernel.pack(rows, values))),
        }
    }
}

/// One of tract-linalg's int8 kernels, with a packing.
#[derive(Clone, Debug)]
pub struct TractKernel {
    product: Box<dyn MatMatMul>,
    packing: usize,
    layout: PanelLayout,
}

impl TractKernel {
    fn query(geometry: &Geometry, pixels: usize) -> Query {
        let values = geometry.kernel[0] * geometry.kernel[1] * geometry.input_channels;
        Query {
            weight: i8::datum_type().into(),
            activation: i8::datum_type(),
            accumulators: tvec!(i32::datum_type()),
            store: None,
            allow_extractor: false,
            m: Some(geometry.output_channels),
            k: Some(values),
            // One pixel would name a matrix-vector kernel, which has no panels.
            n: Some(pixels.max(2)),
        }
    }

    fn new((product, packing, extractor): Suitable) -> Option<Self> {
        let (weights, pixels) = &product.packings()[packing];
        let known = |format: &dyn MMMInputFormat| {
            format.downcast_ref::<PackedI8K4>().map(|_| 4).or_else(|| {
                let plain = format.downcast_ref::<PackedFormat>()?;
                (plain.dt == i8::datum_type()).then_some(1)
            })
        };
        let depth = known(&**pixels).filter(|depth| known(&**weights) == Some(*depth))?;
        let layout = PanelLayout {
            lanes: pixels.r(),
            depth,
        };
        let can_fill = matches!(layout.block_bytes(), 4 | 8 | 16 | 32 | 64 | 128);
        let fits = extractor.is_none() && can_fill && product.nr() == layout.lanes;
        fits.then_some(Self {
            product,
            packing,
            layout,
        })
    }

    fn formats(&self) -> &(Box<dyn MMMInputFormat>, Box<dyn MMMInputFormat>) {
        &self.product.packings()[self.packing]
    }

    fn scratch(&self) -> Box<dyn ScratchSpace> {
        // SAFETY: it makes an empty value of the kernel's own scratch type and reads nothing; the
        // kernel checks the type when it is handed back.
        unsafe { self.product.allocate_scratch_space() }
    }
}

/// The left operand, as a kernel wants it.
#[derive(Clone, Debug)]
enum Packed {
    Tract(Box<dyn MMMInputValue>),
    Own(OwnRows),
}

impl Packed {
    /// Values of a row.
    fn values(&self) -> usize {
        match self {
            Self::Tract(rows) => rows.k(),
            Self::Own(rows) => rows.values(),
        }
    }

    /// Rows of sums that the kernel writes, at least one for each output channel.
    fn row_count(&self) -> usize {
        match self {
            Self::Tract(rows) => rows.mn(),
            Self::Own(rows) => rows.row_count(),
        }
    }
}

/// A convolution's weights, packed for one kernel.
#[derive(Clone, Debug)]
pub struct Weights {
    packed: Packed,
    /// Sum of the weights of each output channel.
    sums: Vec<i32>,
}

impl Weights {
    /// Packs `weights`, `[output channel][input channel][y][x]`.
    pub fn pack(kernel: &Kernel, geometry: &Geometry, weights: &[i8]) -> TractResult<Self> {
        let (inputs, outputs) = (geometry.input_channels, geometry.output_channels);
        let taps = geometry.kernel[0] * geometry.kernel[1];
        ensure!(
            weights.len() == outputs * inputs * taps,
            "{} weights",
            weights.len()
        );
        let values = kernel.layout().values(geometry);
        let mut rows = vec![0i8; outputs * values];
        let mut sums = vec![0i32; outputs];
        for (at, weight) in weights.iter().enumerate() {
            let (output, input, tap) = (at / (inputs * taps), at / taps % inputs, at % taps);
            rows[output * values + tap * (values / taps) + input] = *weight;
            sums[output] += i32::from(*weight);
        }
        let packed = kernel.pack(&rows, values)?;
        Ok(Self { packed, sums })
    }
}

/// Sums to bytes: `round(sum * factor) + zero`, clamped to the output type.
#[derive(Clone, Debug, PartialEq)]
pub struct Requantisation {
    /// One for each output channel.
    pub biases: Vec<i32>,
    pub factors: Vec<f32>,
    pub zero: i32,
    /// `u8` or `i8`.
    pub output: DatumType,
}

/// The int8 convolution, for one geometry and any size of picture.
#[derive(Clone)]
pub struct QConv {
    name: String,
    geometry: Geometry,
    input: InputBytes,
    kernel: Kernel,
    weights: Arc<Weights>,
    requantisation: Requantisation,
    threads: usize,
    /// For what surrounds the kernel.
    avx2: Option<Avx2>,
}

impl QConv {
    /// `zero` is the zero point of the input, whose type `input` is.
    pub fn new(
        name: String,
        geometry: Geometry,
        (input, zero): (DatumType, i32),
        kernel: Kernel,
        weights: Arc<Weights>,
        mut requantisation: Requantisation,
    ) -> TractResult<Self> {
        let channels = geometry.output_channels;
        ensure!(
            requantisation.biases.len() == channels,
            "a bias for each output channel"
        );
        ensure!(
            requantisation.factors.len() == channels,
            "a factor for each output channel"
        );
        ensure!(
            weights.sums.len() == channels,
            "weights for each output channel"
        );
        ensure!(
            weights.packed.values() == kernel.layout().values(&geometry),
            "weights of this geometry"
        );
        let is_unsigned = input == u8::datum_type();
        let fits = if is_unsigned {
            u8::try_from(zero).is_ok()
        } else {
            i8::try_from(zero).is_ok()
        };
        ensure!(fits, "{name}: zero point {zero} is no {input:?}");
        // To the kernel's sign.
        let (flip, zero) = match (is_unsigned, kernel.is_unsigned()) {
            (true, false) => (0x80, zero - 0x80),
            (false, true) => (0x80, zero + 0x80),
            (true, true) | (false, false) => (0, zero),
        };
        for (bias, sum) in requantisation.biases.iter_mut().zip(&weights.sums) {
            *bias = bias.wrapping_sub(zero.wrapping_mul(*sum));
        }
        let input = InputBytes {
            flip,
            zero: zero as u8,
        };
        Ok(Self {
            name,
            geometry,
            input,
            kernel,
            weights,
            requantisation,
            threads: 1,
            avx2: Avx2::detect(),
        })
    }

    /// The same, its work shared by so many threads, at least one.
    pub fn on_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Convolves `input` into `output`, both `[channel][y][x]`.
    fn convolve(&self, input: &[u8], size: [usize; 2], output: &mut [u8]) -> TractResult<()> {
        let lanes = self.kernel.layout().lanes;
        let pixels = output.len() / self.geometry.output_channels;
        let band = pixels.div_ceil(self.threads).next_multiple_of(lanes);
        let mut bands = Vec::new();
        bands.resize_with(pixels.div_ceil(band), Vec::new);
        for plane in output.chunks_exact_mut(pixels) {
            for (parts, part) in bands.iter_mut().zip(plane.chunks_mut(band)) {
                parts.push(part);
            }
        }
        let mut bands = bands.into_iter().enumerate();
        let Some((_, own)) = bands.next() else {
            return Ok(());
        };
        std::thread::scope(|scope| {
            let start =
                |(k, parts)| scope.spawn(move || self.convolve_band(input, size, k * band, parts));
            let others: Vec<_> = bands.map(start).collect();
            let mut done = self.convolve_band(input, size, 0, own);
            for other in others {
                match other.join() {
                    Ok(other) => done = done.and(other),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        })
    }

    /// Output pixels from `begin` on, `output[channel]`.
    fn convolve_band(
        &self,
        input: &[u8],
        size: [usize; 2],
        begin: usize,
        mut output: Vec<&mut [u8]>,
    ) -> TractResult<()> {
        let values = self.kernel.layout().values(&self.geometry);
        let lanes = self.kernel.layout().lanes;
        let channels = self.geometry.output_channels;
        let pixels = output.first().map_or(0, |part| part.len());
        let fitting = RUN_BYTES / (values + 4 * channels) / lanes;
        let run = (fitting.clamp(2, 64) * lanes).min(pixels.next_multiple_of(lanes));
        let mut rows = Rows::new(
            self.geometry,
            self.kernel.layout(),
            self.input,
            input,
            size,
            run,
        )
        .with_context(|| format!("{}: input of {} bytes", self.name, input.len()))?;
        let mut panels = Panels::new(&self.kernel, values, run)?;
        let mut sums = Tensor::zero::<i32>(&[self.weights.packed.row_count(), run])?;
        let mut scratch = None;
        for first in (0..pixels).step_by(run) {
            let count = run.min(pixels - first);
            match self.avx2 {
                Some(avx2) => avx2.run(|| rows.load(begin + first, count)),
                None => rows.load(begin + first, count),
            }
            for panel in 0..count.div_ceil(lanes) {
                rows.fill(panels.panel_mut(panel), begin + first + panel * lanes);
            }
            panels.pixels = count;
            self.multiply(&panels, &mut sums, &mut scratch)?;
            let sums = sums.try_as_plain_ram()?;
            let sums = sums.as_slice::<i32>()?.chunks_exact(run);
            for (channel, (sums, output)) in sums.zip(&mut output).enumerate() {
                self.requantise(channel, &sums[..count], &mut output[first..first + count]);
            }
        }
        Ok(())
    }

    /// `sums[row][pixel] = weights[row] * panels[pixel]`; `scratch` is kept from run to run.
    fn multiply(
        &self,
        panels: &Panels,
        sums: &mut Tensor,
        scratch: &mut Option<Box<dyn ScratchSpace>>,
    ) -> TractResult<()> {
        match (&self.kernel, &self.weights.packed) {
            (Kernel::Tract(kernel), Packed::Tract(weights)) => {
                let scratch = scratch.get_or_insert_with(|| kernel.scratch());
                multiply(kernel, &**weights, panels, sums, &mut **scratch)
            }
            (Kernel::Own(kernel), Packed::Own(weights)) => {
                let panels = panels.bytes(weights.values(), kernel.layout())?;
                let run = sums.shape()[1];
                let mut sums = sums.try_as_plain_ram_mut()?;
                let is_done = kernel.multiply(weights, panels, sums.as_slice_mut()?, run);
                ensure!(is_done, "{OTHER_KERNEL}");
                Ok(())
            }
            (Kernel::Tract(_) | Kernel::Own(_), _) => bail!("{OTHER_KERNEL}"),
        }
    }

    fn requantise(&self, channel: usize, sums: &[i32], output: &mut [u8]) {
        let (bias, factor) = (
            self.requantisation.biases[channel],
            self.requantisation.factors[channel],
        );
        let zero = self.requantisation.zero;
        let least = if self.requantisation.output == u8::datum_type() {
            0
        } else {
            -128
        };
        match self.avx2 {
            Some(avx2) => avx2.run(|| requantise(output, sums, bias, factor, zero, least)),
            None => requantise(output, sums, bias, factor, zero, least),
        }
    }
}

/// The right operand: panels in one aligned buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Panels {
    /// A whole number of panels, then one block that the last panel's filling may overwrite.
    buffer: Tensor,
    panel_bytes: usize,
    /// Output pixels that the panels hold.
    pixels: usize,
    fact: PackedExoticFact,
}

impl Panels {
    fn new(kernel: &Kernel, values: usize, pixels_max: usize) -> TractResult<Self> {
        let format = kernel.panel_format();
        let panel_bytes = panel_bytes(&*format, values);
        let panel_count = pixels_max.div_ceil(kernel.layout().lanes);
        let bytes = panel_count * panel_bytes + kernel.layout().block_bytes();
        Ok(Self {
            buffer: Tensor::zero_aligned::<u8>(&[bytes], PANEL_ALIGNMENT)?,
            panel_bytes,
            pixels: 0,
            fact: PackedExoticFact {
                format,
                mn: pixels_max.to_dim(),
                k: values,
            },
        })
    }

    /// From the panel at `index` to the end of the buffer.
    fn panel_mut(&mut self, index: usize) -> &mut [u8] {
        &mut self.buffer.as_bytes_mut()[index * self.panel_bytes..]
    }

    /// As one of our own kernels wants them, with weights of so many values.
    fn bytes(&self, values: usize, layout: PanelLayout) -> TractResult<PanelBytes<'_>> {
        ensure!(values == self.k(), "{values} weights, {} values", self.k());
        Ok(PanelBytes {
            buffer: self.buffer.as_bytes(),
            panel_bytes: self.panel_bytes,
            panel_count: self.pixels.div_ceil(layout.lanes),
        })
    }
}

/// Distance between two panels of `values` values a lane.
fn panel_bytes(format: &dyn MMMInputFormat, values: usize) -> usize {
    let bytes = match format.downcast_ref::<PackedFormat>() {
        Some(plain) => plain.single_panel_len(values),
        None => values.div_ceil(4) * 4 * format.r(),
    };
    bytes.next_multiple_of(PANEL_ALIGNMENT)
}

impl fmt::Display for Panels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "panels of {} pixels, {} values each",
            self.pixels, self.fact.k
        )
    }
}

impl MMMInputValue for Panels {
    fn format(&self) -> &dyn MMMInputFormat {
        &*self.fact.format
    }

    fn scratch_panel_buffer_layout(&self) -> Option<std::alloc::Layout> {
        None
    }

    fn panel_bytes(&self, index: usize, _buffer: Option<*mut u8>) -> TractResult<*const u8> {
        let start = index * self.panel_bytes;
        let panel = self.buffer.as_bytes().get(start..start + self.panel_bytes);
        Ok(panel.context("a panel outside the buffer")?.as_ptr())
    }

    fn mn(&self) -> usize {
        self.pixels
    }

    fn k(&self) -> usize {
        self.fact.k
    }

    fn exotic_fact(&self) -> &dyn ExoticFact {
        &self.fact
    }

    fn extract_at_mn_f16(&self, _mn: usize, _slice: &mut [f16]) -> TractResult<()> {
        bail!("int8 panels have no f16 values")
    }

    fn extract_at_mn_f32(&self, _mn: usize, _slice: &mut [f32]) -> TractResult<()> {
        bail!("int8 panels have no f32 values")
    }
}

/// `sums[row][pixel] = weights[row] * panels[pixel]`, for all rows and the panels' pixels.
fn multiply(
    kernel: &TractKernel,
    weights: &dyn MMMInputValue,
    panels: &Panels,
    sums: &mut Tensor,
    scratch: &mut dyn ScratchSpace,
) -> TractResult<()> {
    let (row_count, pixel_count) = (weights.mn(), panels.pixels);
    let formats = kernel.formats();
    ensure!(
        weights.format() == &*formats.0,
        "weights packed for another kernel"
    );
    ensure!(
        panels.format() == &*formats.1,
        "panels packed for another kernel"
    );
    ensure!(
        weights.k() == panels.k(),
        "{} weights, {} values",
        weights.k(),
        panels.k()
    );
    ensure!(
        panels.panel_bytes == panel_bytes(&*formats.1, panels.k()),
        "panels of another size"
    );
    ensure!(
        sums.datum_type() == i32::datum_type() && sums.rank() == 2,
        "sums are 32-bit rows"
    );
    ensure!(
        sums.shape()[0] == row_count && sums.shape()[1] >= pixel_count,
        "sums too small"
    );
    // SAFETY: the kernel is one that this processor can run (`MmmDispatch::native` lists no
    // other). It reads `k` values a lane from whole panels of both operands: their formats are the
    // ones that the kernel names for this packing, their `k` is the same, tract packed the
    // weights, and `Panels` hands out only panels that lie wholly in its aligned buffer, for
    // whose format `panel_bytes` is the length. It writes `row_count * pixel_count` sums with the
    // strides of `sums`, which is i32, natural and at least that large, and is borrowed mutably
    // for the call; ends of tiles go through the kernel's own scratch, whose type it checks.
    unsafe {
        let store = kernel
            .product
            .c_view(Some(0), Some(1))
            .wrap(&sums.view_mut());
        kernel.product.run_with_scratch_space(
            row_count,
            pixel_count,
            scratch,
            &[
                FusedSpec::AddMatMul {
                    a: AsInputValue::Borrowed(weights),
                    b: AsInputValue::Borrowed(panels),
                    packing: kernel.packing,
                },
                FusedSpec::Store(store),
            ],
        )
    }
}

/// `least` is the output type's lowest value, 0 or -128.
#[inline(always)]
fn requantise(output: &mut [u8], sums: &[i32], bias: i32, factor: f32, zero: i32, least: i32) {
    // Adding 1.5 * 2^23 leaves an integer, rounded half to even, in the lowest bits of the
    // mantissa; unlike `round_ties_even` this is vector code on every target.
    const SHIFT: f32 = 12_582_912.0;
    let (low, high) = ((least - zero) as f32, (least + 255 - zero) as f32);
    for (byte, sum) in output.iter_mut().zip(sums) {
        let scaled = (sum.wrapping_add(bias) as f32 * factor).clamp(low, high);
        let rounded = (scaled + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits());
        *byte = rounded.wrapping_add(zero.cast_unsigned()) as u8;
    }
}

impl fmt::Debug for QConv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "QConv {} {:?} on {}",
            self.name,
            self.geometry,
            self.kernel.name()
        )
    }
}

// tract compares operators to find twins; a convolution is its own only twin.
impl PartialEq for QConv {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.weights, &other.weights)
            && self.geometry == other.geometry
            && self.input == other.input
            && self.requantisation == other.requantisation
    }
}

impl Eq for QConv {}

impl std::hash::Hash for QConv {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Op for QConv {
    fn name(&self) -> StaticName {
        "QConv".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{self:?}")])
    }

    op_as_typed_op!();
}

impl EvalOp for QConv {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let &[1, _, height, width] = input.shape() else {
            bail!("{}: input of shape {:?}", self.name, input.shape())
        };
        ensure!(
            input.datum_type().size_of() == 1,
            "{}: {:?}",
            self.name,
            input.datum_type()
        );
        let natural = Tensor::natural_strides(input.shape());
        ensure!(
            input.strides() == &*natural,
            "{}: strides {:?}",
            self.name,
            input.strides()
        );
        let size = self
            .geometry
            .output_size([height, width])
            .context("too small an input")?;
        let shape = [1, self.geometry.output_channels, size[0], size[1]];
        let mut output = Tensor::zero_dt(self.requantisation.output, &shape)?;
        self.convolve(input.as_bytes(), [height, width], output.as_bytes_mut())?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for QConv {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shape = inputs[0]
            .shape
            .as_concrete()
            .context("a picture of known size")?;
        let &[1, _, height, width] = shape else {
            bail!("{}: input of shape {shape:?}", self.name)
        };
        let size = self
            .geometry
            .output_size([height, width])
            .context("too small an input")?;
        let shape = [1, self.geometry.output_channels, size[0], size[1]];
        Ok(tvec!(self.requantisation.output.fact(shape)))
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A convolution with its picture and the bytes that it must give.
    struct Case {
        geometry: Geometry,
        size: [usize; 2],
        input: (DatumType, i32),
        picture: Vec<u8>,
        weights: Vec<i8>,
        requantisation: Requantisation,
    }

    impl Case {
        fn with_least_weight(&self, least: i8) -> Self {
            Self {
                geometry: self.geometry,
                size: self.size,
                input: self.input,
                picture: self.picture.clone(),
                weights: self
                    .weights
                    .iter()
                    .map(|weight| *weight.max(&least))
                    .collect(),
                requantisation: self.requantisation.clone(),
            }
        }
    }

    /// Bytes that look random, the same in every run; extremes are frequent.
    fn noise(seed: u32, count: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        let byte = |word: u32| match word % 8 {
            0 => 0x80,
            1 => 0x7F,
            2 => 0xFF,
            _ => (word >> 24) as u8,
        };
        (0..count).map(|_| byte(next())).collect()
    }

    fn case(geometry: Geometry, size: [usize; 2], kind: DatumType, output: DatumType) -> Case {
        let (inputs, channels) = (geometry.input_channels, geometry.output_channels);
        let values = inputs * geometry.kernel[0] * geometry.kernel[1];
        let weights = noise(7, channels * values);
        Case {
            geometry,
            size,
            input: (kind, if kind == u8::datum_type() { 131 } else { -5 }),
            picture: noise(3, inputs * size[0] * size[1]),
            weights: weights.into_iter().map(u8::cast_signed).collect(),
            requantisation: Requantisation {
                biases: (0..channels as i32).map(|k| k * 977 - 4000).collect(),
                factors: (0..channels)
                    .map(|k| (0.7 + k as f32) / (900 * values) as f32)
                    .collect(),
                zero: if output == u8::datum_type() { 120 } else { 3 },
                output,
            },
        }
    }

    /// ONNX's QLinearConv, word for word.
    fn reference(case: &Case) -> Vec<u8> {
        let geometry = &case.geometry;
        let [rows, columns] = geometry.output_size(case.size).unwrap();
        let mut output = Vec::new();
        for channel in 0..geometry.output_channels {
            for pixel in 0..rows * columns {
                let sum = sum(case, channel, [pixel / columns, pixel % columns]);
                let plan = &case.requantisation;
                let scaled = (sum + plan.biases[channel]) as f32 * plan.factors[channel];
                let value = scaled.round_ties_even() + plan.zero as f32;
                output.push(if plan.output == u8::datum_type() {
                    value as u8
                } else {
                    (value as i8).cast_unsigned()
                });
            }
        }
        output
    }

    fn sum(case: &Case, channel: usize, at: [usize; 2]) -> i32 {
        let Geometry {
            kernel,
            stride,
            pad_before: pad,
            input_channels,
            ..
        } = case.geometry;
        let (size, mut sum) = (case.size, 0);
        for k in 0..input_channels * kernel[0] * kernel[1] {
            let (input, tap) = (k / (kernel[0] * kernel[1]), k % (kernel[0] * kernel[1]));
            let y = (at[0] * stride[0] + tap / kernel[1]).checked_sub(pad[0]);
            let x = (at[1] * stride[1] + tap % kernel[1]).checked_sub(pad[1]);
            let (Some(y), Some(x)) = (y.filter(|y| *y < size[0]), x.filter(|x| *x < size[1]))
            else {
                continue;
            };
            let byte = case.picture[(input * size[0] + y) * size[1] + x];
            let value = match case.input.0 == u8::datum_type() {
                true => i32::from(byte),
                false => i32::from(byte.cast_signed()),
            };
            let weight = case.weights[channel * input_channels * kernel[0] * kernel[1] + k];
            sum += (value - case.input.1) * i32::from(weight);
        }
        sum
    }

    fn operator(case: &Case, kernel: Kernel) -> QConv {
        let weights = Weights::pack(&kernel, &case.geometry, &case.weights).unwrap();
        let (weights, plan) = (Arc::new(weights), case.requantisation.clone());
        let name = "a convolution".to_owned();
        QConv::new(name, case.geometry, case.input, kernel, weights, plan).unwrap()
    }

    fn convolve(operator: &QConv, case: &Case) -> Vec<u8> {
        let [rows, columns] = case.geometry.output_size(case.size).unwrap();
        let mut output = vec![0xAA; case.geometry.output_channels * rows * columns];
        operator
            .convolve(&case.picture, case.size, &mut output)
            .unwrap();
        output
    }

    fn geometry(channels: [usize; 2], kernel: usize, stride: usize, pad: usize) -> Geometry {
        Geometry {
            kernel: [kernel; 2],
            stride: [stride; 2],
            pad_before: [pad; 2],
            pad_after: [pad; 2],
            input_channels: channels[0],
            output_channels: channels[1],
        }
    }

    fn check(geometry: Geometry, size: [usize; 2]) {
        let (unsigned, signed) = (u8::datum_type(), i8::datum_type());
        for (input, output) in [(unsigned, unsigned), (signed, signed), (unsigned, signed)] {
            let case = case(geometry, size, input, output);
            let least = case.with_least_weight(-127);
            for kernel in Kernel::all() {
                let case = if kernel.takes(&case.weights) {
                    &case
                } else {
                    &least
                };
                let expected = reference(case);
                for threads in [1, 3] {
                    let operator = operator(case, kernel.clone()).on_threads(threads);
                    let found = convolve(&operator, case);
                    let place = found.iter().zip(&expected).position(|(a, b)| a != b);
                    assert!(
                        place.is_none(),
                        "{geometry:?} of {size:?} on {}, {threads} threads: byte {place:?}",
                        kernel.name()
                    );
                }
            }
        }
    }

    #[test]
    fn every_kernel_agrees_with_onnx_on_channels_that_fill_no_block() {
        for channels in [[1, 1], [3, 5], [4, 4], [5, 3], [16, 16], [17, 33], [70, 9]] {
            check(geometry(channels, 3, 1, 1), [9, 24]);
            check(geometry(channels, 1, 1, 0), [5, 11]);
        }
    }

    #[test]
    fn every_kernel_agrees_with_onnx_on_strides_and_pads() {
        for (kernel, stride, pad) in [(3, 2, 1), (1, 2, 0), (2, 2, 0), (5, 1, 2), (5, 2, 3)] {
            check(geometry([6, 7], kernel, stride, pad), [13, 18]);
            check(geometry([6, 7], kernel, stride, pad), [12, 31]);
        }
        let uneven = Geometry {
            kernel: [1, 3],
            stride: [2, 1],
            pad_before: [0, 2],
            pad_after: [3, 0],
            ..geometry([5, 6], 1, 1, 0)
        };
        check(uneven, [8, 17]);
    }

    #[test]
    fn every_kernel_agrees_with_onnx_on_sizes_that_fill_no_panel() {
        for size in [[1, 1], [1, 7], [1, 8], [7, 1], [3, 9], [2, 17], [40, 64]] {
            check(geometry([8, 8], 3, 1, 1), size);
        }
    }

    #[test]
    fn ours_takes_the_place_of_the_slow_kernel() {
        let any = geometry([16, 16], 3, 1, 1);
        let tract = MmmDispatch::native().pick(&TractKernel::query(&any, 4096));
        let slow = tract.is_some_and(|(product, _, _)| REPLACED.contains(&product.name()));
        let picked = Kernel::pick(&any, 4096, &[-127, 127]).unwrap();
        let is_own = !matches!(picked, Kernel::Tract(_));
        assert_eq!(is_own, slow, "{picked:?}");
        let picked = Kernel::pick(&any, 4096, &[-128]).unwrap();
        assert!(picked.takes(&[-128]), "{picked:?}");
    }

    #[test]
    fn weights_of_another_kernel_are_refused() {
        let case = case(
            geometry([4, 4], 1, 1, 0),
            [4, 4],
            u8::datum_type(),
            u8::datum_type(),
        );
        let kernels = Kernel::all();
        let (Some(first), Some(last)) = (kernels.first(), kernels.last()) else {
            return;
        };
        if matches!((first, last), (Kernel::Tract(_), Kernel::Own(_))) {
            let mut mixed = operator(&case, first.clone());
            mixed.kernel = last.clone();
            let size = mixed.geometry.output_size(case.size).unwrap();
            let mut output = vec![0; 4 * size[0] * size[1]];
            assert!(
                mixed
                    .convolve(&case.picture, case.size, &mut output)
                    .is_err()
            );
        }
    }

    /// `cargo test --release --workspace --lib speed_of_each -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement, not a test"]
    fn speed_of_each_kernel() {
        // Linux tells a thread's own time on a processor, in nanoseconds.
        let spent = || -> u64 {
            let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        };
        for (channels, side) in [([16, 16], 3), ([64, 64], 3), ([32, 16], 1)] {
            let geometry = geometry(channels, side, 1, side / 2);
            let case = case(geometry, [192, 288], u8::datum_type(), u8::datum_type());
            let macs = channels[0] * channels[1] * side * side * 192 * 288;
            for kernel in Kernel::all() {
                let operator = operator(&case, kernel.clone());
                let (start, mut runs) = (spent(), 0);
                while spent() - start < 200_000_000 {
                    convolve(&operator, &case);
                    runs += 1;
                }
                let speed = (runs * macs) as f64 / (spent() - start) as f64;
                println!(
                    "{channels:?} {side}x{side} {}: {speed:.2} GMAC/s",
                    kernel.name()
                );
            }
        }
    }
}
