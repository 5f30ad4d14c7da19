//! Puts our operators in the place of tract's in a net that was just read.
//!
//! In: a typed model with tract's quantised convolutions, before tract rewrites them. Out: the
//! same model with `QConv` and `Upsample2` where they can do the work: one group, one picture,
//! no dilation, stride 1 or 2, weights with zero point 0. Anything else keeps tract's operator,
//! slower and rounded otherwise.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cnn::{Conv, KernelFormat};
use tract_onnx::tract_hir::tract_core::ops::nn::NearestUpsample;

use super::panels::Geometry;
use super::qconv::{Kernel, QConv, Requantisation, Weights};
use super::upsample::Upsample2;

/// Packed weights by convolution and kernel, shared by the plans of one net.
pub type PackedWeights = HashMap<(String, String), Arc<Weights>>;

/// The work of a rewritten net.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiply-accumulates of one run.
    pub macs: u64,
    /// Convolutions that run on tract's own operators.
    pub stock_count: usize,
    /// Convolutions that run on ours.
    pub own_count: usize,
}

/// Replaces the convolutions; to be called before `declutter`.
pub fn replace_convolutions(
    model: &mut TypedModel,
    packed: &mut PackedWeights,
    threads: usize,
) -> TractResult<Work> {
    let mut work = Work::default();
    for id in model.eval_order()? {
        let node = model.node(id).clone();
        let Some(convolution) = node.op_as::<Conv>() else {
            continue;
        };
        work.macs += macs(convolution, &node)?;
        let Some(own) = own_convolution(model, &node, convolution, packed)? else {
            work.stock_count += 1;
            continue;
        };
        work.own_count += 1;
        let own = own.on_threads(threads);
        TypedModelPatch::replace_single_op(model, &node, &node.inputs[..1], own)?.apply(model)?;
    }
    model.compact()?;
    Ok(work)
}

/// Replaces the upsampling of bytes; to be called after `declutter`, which makes one operator of
/// what the file spells in several.
pub fn replace_upsampling(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id).clone();
        let Some(stock) = node.op_as::<NearestUpsample>() else {
            continue;
        };
        let bytes = node.outputs[0].fact.datum_type.size_of() == 1;
        if bytes && matches!(*stock.scales, [1, 1, 2, 2]) {
            let own = Upsample2;
            TypedModelPatch::replace_single_op(model, &node, &node.inputs[..1], own)?
                .apply(model)?;
        }
    }
    model.compact()
}

fn macs(convolution: &Conv, node: &TypedNode) -> TractResult<u64> {
    let shape = node.outputs[0]
        .fact
        .shape
        .as_concrete()
        .context("a picture of known size")?;
    let spec = &convolution.pool_spec;
    let taps: usize = spec.kernel_shape.iter().product();
    let inputs = spec.input_channels / convolution.group.max(1);
    Ok(shape.iter().product::<usize>() as u64 * (taps * inputs) as u64)
}

/// The nine inputs of a quantised convolution, as tract orders them.
struct Constants {
    weights: Vec<i8>,
    biases: Vec<i32>,
    input_zero: i32,
    input_scale: f32,
    weight_scales: Vec<f32>,
    output_zero: i32,
    output_scale: f32,
}

impl Constants {
    /// `None` where an input is no constant, or a kind that `QConv` does not compute.
    fn read(model: &TypedModel, node: &TypedNode, channels: usize) -> TractResult<Option<Self>> {
        let mut inputs = Vec::new();
        for input in node.inputs.iter().skip(1) {
            let Some(value) = model.outlet_fact(*input)?.konst.clone() else {
                return Ok(None);
            };
            inputs.push(value);
        }
        let [
            weights,
            biases,
            input_zero,
            input_scale,
            weight_zeros,
            weight_scales,
            output_zero,
            output_scale,
        ] = inputs.as_slice()
        else {
            return Ok(None);
        };
        if weights.datum_type() != i8::datum_type() {
            return Ok(None);
        }
        let (Some(input_zero), Some(output_zero)) = (
            single(&numbers::<i32>(input_zero)?),
            single(&numbers::<i32>(output_zero)?),
        ) else {
            return Ok(None);
        };
        let (Some(input_scale), Some(output_scale)) = (
            single(&numbers::<f32>(input_scale)?),
            single(&numbers::<f32>(output_scale)?),
        ) else {
            return Ok(None);
        };
        let biases = per_channel(numbers::<i32>(biases)?, channels);
        let weight_scales = per_channel(numbers::<f32>(weight_scales)?, channels);
        let (Some(biases), Some(weight_scales)) = (biases, weight_scales) else {
            return Ok(None);
        };
        if numbers::<i32>(weight_zeros)?.iter().any(|zero| *zero != 0) {
            return Ok(None);
        }
        let weights = numbers::<i8>(weights)?;
        Ok(Some(Self {
            weights,
            biases,
            input_zero,
            input_scale,
            weight_scales,
            output_zero,
            output_scale,
        }))
    }

    /// In ONNX Runtime's order of operations, which the last bit depends on.
    fn factors(&self) -> Vec<f32> {
        let factor = |scale: &f32| self.input_scale * scale / self.output_scale;
        self.weight_scales.iter().map(factor).collect()
    }
}

fn numbers<T: Datum + Copy>(tensor: &Tensor) -> TractResult<Vec<T>> {
    Ok(tensor
        .cast_to::<T>()?
        .try_as_plain_ram()?
        .as_slice::<T>()?
        .to_vec())
}

fn single<T: Copy>(values: &[T]) -> Option<T> {
    let [value] = values else { return None };
    Some(*value)
}

fn per_channel<T: Copy>(values: Vec<T>, channels: usize) -> Option<Vec<T>> {
    match values.len() {
        1 => Some(vec![values[0]; channels]),
        count => (count == channels).then_some(values),
    }
}

fn is_byte(kind: DatumType) -> bool {
    kind == u8::datum_type() || kind == i8::datum_type()
}

/// Whether the convolution is one that our operator does.
fn is_plain(convolution: &Conv) -> bool {
    let spec = &convolution.pool_spec;
    convolution.group == 1
        && convolution.kernel_fmt == KernelFormat::OIHW
        && spec.rank() == 2
        && spec.dilations().iter().all(|step| *step == 1)
        && !spec.data_format.c_is_last()
        && spec.data_format.has_n()
        && spec.strides().iter().all(|step| (1..=2).contains(step))
}

fn own_convolution(
    model: &TypedModel,
    node: &TypedNode,
    convolution: &Conv,
    packed: &mut PackedWeights,
) -> TractResult<Option<QConv>> {
    let spec = &convolution.pool_spec;
    let Some(output) = convolution.q_params else {
        return Ok(None);
    };
    let input = model.outlet_fact(node.inputs[0])?;
    let Some(&[1, _, height, width]) = input.shape.as_concrete() else {
        return Ok(None);
    };
    if !is_plain(convolution) || !is_byte(input.datum_type) || !is_byte(output) {
        return Ok(None);
    }
    let pads = spec.computed_padding(&[height, width]);
    let geometry = Geometry {
        kernel: [spec.kernel_shape[0], spec.kernel_shape[1]],
        stride: [spec.stride(0), spec.stride(1)],
        pad_before: [pads[0].pad_before, pads[1].pad_before],
        pad_after: [pads[0].pad_after, pads[1].pad_after],
        input_channels: spec.input_channels,
        output_channels: spec.output_channels,
    };
    let Some([rows, columns]) = geometry.output_size([height, width]) else {
        return Ok(None);
    };
    let Some(constants) = Constants::read(model, node, spec.output_channels)? else {
        return Ok(None);
    };
    let Some(kernel) = Kernel::pick(&geometry, rows * columns, &constants.weights) else {
        return Ok(None);
    };
    let key = (node.name.clone(), kernel.name().to_owned());
    let weights = match packed.get(&key) {
        Some(weights) => Arc::clone(weights),
        None => {
            let weights = Arc::new(Weights::pack(&kernel, &geometry, &constants.weights)?);
            packed.insert(key, Arc::clone(&weights));
            weights
        }
    };
    let requantisation = Requantisation {
        factors: constants.factors(),
        zero: constants.output_zero,
        output,
        biases: constants.biases,
    };
    let input = (input.datum_type, constants.input_zero);
    QConv::new(
        node.name.clone(),
        geometry,
        input,
        kernel,
        weights,
        requantisation,
    )
    .map(Some)
}
