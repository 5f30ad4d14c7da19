//! One net: its graph, the plans for the sizes in use, and one run.
//!
//! In: a checked model file, pictures. Out: raw maps. A plan is made for each size of picture when
//! it is first seen, and the last few are kept: `plans_max` is 2 for labels (a page and its
//! quarter turn) and 4 for traces. Plans share the packed weights; a run keeps nothing, and its
//! buffers are freed as soon as their last reader ran.

use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::*;

use crate::digitize::{NetError, Picture, RawMap};

use super::ModelError;
use super::card::{Card, ModelFile};
use super::rewrite::{PackedWeights, Work, replace_convolutions, replace_upsampling};

/// A net, for pictures of any size.
pub struct Net {
    name: &'static str,
    card: Card,
    graph: InferenceModel,
    /// Position of each wanted output among the graph's.
    positions: Vec<usize>,
    limits: RunLimits,
    plans: Mutex<Plans>,
}

/// What a net may take.
#[derive(Clone, Copy, Debug)]
pub struct RunLimits {
    /// Plans that are kept.
    pub plans_max: usize,
    /// Threads of one run.
    pub threads: usize,
}

#[derive(Default)]
struct Plans {
    packed: PackedWeights,
    /// The last used at the end.
    recent: Vec<Plan>,
}

/// A net made ready for one size of picture.
#[derive(Clone)]
pub struct Plan {
    /// Height and width.
    size: [usize; 2],
    runnable: Arc<TypedRunnableModel>,
    pub work: Work,
}

impl Net {
    /// Reads the net `name` and finds its outputs by the names `wanted`.
    pub fn load(
        name: &'static str,
        file: &ModelFile,
        wanted: &[&str],
        limits: RunLimits,
    ) -> Result<Self, ModelError> {
        let card = file.check(name)?;
        let graph = tract_onnx::onnx()
            // The file may spell out sizes; ours come from the picture.
            .with_ignore_value_info(true)
            .model_for_read(&mut Cursor::new(&*file.onnx))
            .map_err(|error| ModelError::Graph {
                model: name,
                reason: format!("{error:#}"),
            })?;
        check_input(name, &graph)?;
        let found: Vec<String> = output_names(&graph);
        let mut positions = Vec::new();
        for output in wanted {
            let Some(at) = found.iter().position(|name| name == output) else {
                let (found, needed) = (found.join(" "), (*output).to_owned());
                return Err(ModelError::Outputs {
                    model: name,
                    found,
                    needed,
                });
            };
            positions.push(at);
        }
        let plans = Mutex::new(Plans::default());
        Ok(Self {
            name,
            card,
            graph,
            positions,
            limits,
            plans,
        })
    }

    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Channels, height and width of the wanted outputs for a picture of the card's size.
    pub fn output_shapes(&self) -> Result<Vec<[usize; 3]>, ModelError> {
        let error = |reason| ModelError::Graph {
            model: self.name,
            reason,
        };
        let [_, _, height, width] = self.card.input;
        if height == 0 || width == 0 || height % 32 != 0 || width % 32 != 0 {
            let reason = format!("sides of {height} x {width} are no multiples of 32");
            return Err(ModelError::Card {
                model: self.name,
                reason,
            });
        }
        let plan = self
            .plan([height, width])
            .map_err(|failure| error(failure.reason))?;
        let model = plan.runnable.model();
        let mut shapes = Vec::new();
        for position in &self.positions {
            let fact = model
                .output_fact(*position)
                .map_err(|e| error(format!("{e:#}")))?;
            let shape = fact.shape.as_concrete();
            let Some(&[1, channels, height, width]) = shape else {
                return Err(error(format!("an output of shape {:?}", fact.shape)));
            };
            if fact.datum_type != f32::datum_type() {
                return Err(error(format!("an output of {:?}", fact.datum_type)));
            }
            shapes.push([channels, height, width]);
        }
        Ok(shapes)
    }

    /// The plan for pictures of `size`, made where there is none.
    pub fn plan(&self, size: [usize; 2]) -> Result<Plan, NetError> {
        // A thread that panicked while it held the lock left whole plans behind.
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = match plans.recent.iter().position(|plan| plan.size == size) {
            Some(at) => plans.recent.remove(at),
            None => self
                .prepare(size, &mut plans.packed)
                .map_err(|e| self.error(&e))?,
        };
        if plans.recent.len() == self.limits.plans_max {
            plans.recent.remove(0);
        }
        plans.recent.push(plan.clone());
        Ok(plan)
    }

    fn prepare(&self, size: [usize; 2], packed: &mut PackedWeights) -> TractResult<Plan> {
        let fact = u8::fact([1, 3, size[0], size[1]]);
        let mut model = self
            .graph
            .clone()
            .with_input_fact(0, fact.into())?
            .into_typed()?;
        model.prop_consts()?;
        let work = replace_convolutions(&mut model, packed, self.limits.threads)?;
        model.declutter()?;
        replace_upsampling(&mut model)?;
        model.optimize()?;
        Ok(Plan {
            size,
            runnable: model.into_runnable()?,
            work,
        })
    }

    fn error(&self, error: &TractError) -> NetError {
        NetError {
            net: self.name,
            reason: format!("{error:#}"),
        }
    }

    /// A place to run the net in, for one thread.
    pub fn desk(&self) -> Desk<'_> {
        Desk {
            net: self,
            current: None,
        }
    }
}

/// One thread's state of a net.
pub struct Desk<'a> {
    net: &'a Net,
    current: Option<(Plan, TypedSimpleState)>,
}

impl Desk<'_> {
    /// The wanted maps of `picture`, and the multiply-accumulates that they took.
    pub fn run(&mut self, picture: &Picture) -> Result<(Vec<RawMap>, u64), NetError> {
        let net = self.net;
        let size = [picture.height(), picture.width()];
        if self
            .current
            .as_ref()
            .is_none_or(|(plan, _)| plan.size != size)
        {
            self.current = None;
            let plan = net.plan(size)?;
            let state = plan.runnable.spawn().map_err(|error| net.error(&error))?;
            self.current = Some((plan, state));
        }
        let (plan, state) = self.current.as_mut().expect("it was set above");
        let maps = run(state, picture, &net.positions).map_err(|error| net.error(&error))?;
        Ok((maps, plan.work.macs))
    }
}

fn run(
    state: &mut TypedSimpleState,
    picture: &Picture,
    positions: &[usize],
) -> TractResult<Vec<RawMap>> {
    let shape = [1, 3, picture.height(), picture.width()];
    let input = Tensor::from_shape(&shape, picture.data())?;
    let outputs = state.run(tvec!(input.into_tvalue()))?;
    let map = |at: &usize| {
        let output = &outputs[*at];
        let &[1, channels, height, width] = output.shape() else {
            bail!("an output of shape {:?}", output.shape())
        };
        let data = output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        Ok(RawMap {
            channels,
            height,
            width,
            data,
        })
    };
    positions.iter().map(map).collect()
}

/// One input of bytes, `[1, 3, _, _]`.
fn check_input(name: &'static str, graph: &InferenceModel) -> Result<(), ModelError> {
    let error = |found: String| ModelError::Input { model: name, found };
    let inputs = graph.input_outlets().map_err(|e| error(format!("{e:#}")))?;
    let &[input] = inputs else {
        return Err(error(format!("{} inputs", inputs.len())));
    };
    let fact = graph
        .outlet_fact(input)
        .map_err(|e| error(format!("{e:#}")))?;
    let channels = fact
        .shape
        .dim(1)
        .and_then(|dim| dim.concretize())
        .and_then(|d| d.to_i64().ok());
    let bytes = fact.datum_type.concretize() == Some(u8::datum_type());
    if !bytes || channels != Some(3) {
        return Err(error(format!("{fact:?}")));
    }
    Ok(())
}

fn output_names(graph: &InferenceModel) -> Vec<String> {
    let name = |outlet: &OutletId| {
        let node = || graph.node(outlet.node).name.clone();
        graph.outlet_label(*outlet).map_or_else(node, str::to_owned)
    };
    graph.outputs.iter().map(name).collect()
}
