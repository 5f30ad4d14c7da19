//! The edge to tract: the two nets, run on bytes with our int8 convolution.
//!
//! In: model files with their cards, `Picture`s. Out: `RawMap`s of logits, to the bit those of
//! ONNX Runtime. A model file whose hash is not its card's, or that is not the net which the core
//! expects (input, outputs, classes), is refused when it is loaded; after that a run fails only by
//! our own fault. Threads live here and nowhere in the core: one state of the net a thread,
//! pictures handed out one by one, answers in order. Nothing is kept between two calls but the
//! plans (`net.rs`).

mod card;
mod net;
mod panels;
mod qconv;
mod rewrite;
mod upsample;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::digitize::{NetError, Nets, Picture, RawMap};
use crate::labels::{CLASS_COUNT, LabelClass};

pub use card::{Card, ModelFile};
use net::{Net, RunLimits};
pub use rewrite::Work;

/// The labels net's maps, in the order in which the core reads them.
const LABEL_OUTPUTS: [&str; 6] = ["box8", "cls8", "box16", "cls16", "box32", "cls32"];
/// Channels of a box map: four sides, 16 bins each.
const BOX_CHANNELS: usize = 64;
const TRACE_OUTPUTS: [&str; 1] = ["map"];
const TRACE_CHANNELS: usize = 8;
/// Plans kept: a page upright and turned; the common sizes of panels and strips.
const LABEL_PLANS_MAX: usize = 2;
const TRACE_PLANS_MAX: usize = 4;

/// Why a model was not loaded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    #[error("{path}: {reason}", path = path.display())]
    File { path: PathBuf, reason: String },
    #[error("the card of the {model} model cannot be used: {reason}")]
    Card { model: &'static str, reason: String },
    #[error("the {model} model is another file than its card says: {found} instead of {needed}")]
    Hash {
        model: &'static str,
        found: String,
        needed: String,
    },
    #[error("the {model} model cannot be read: {reason}")]
    Graph { model: &'static str, reason: String },
    #[error("the {model} model takes {found}; one picture of bytes with 3 channels is needed")]
    Input { model: &'static str, found: String },
    #[error("the {model} model has the outputs {found}; {needed} is missing")]
    Outputs {
        model: &'static str,
        found: String,
        needed: String,
    },
    #[error(
        "output {output} of the {model} model is {found:?} for the card's input, not {needed:?}"
    )]
    Shape {
        model: &'static str,
        output: &'static str,
        found: [usize; 3],
        needed: [usize; 3],
    },
    #[error("class {index} of the {model} model is {found:?}, not {needed:?}")]
    Class {
        model: &'static str,
        index: usize,
        found: String,
        needed: String,
    },
}

/// The two model files.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    pub labels: ModelFile,
    pub trace: ModelFile,
}

impl ModelFiles {
    /// The models that are part of the program.
    pub fn bundled() -> Self {
        let file = |onnx: &'static [u8], card: &'static str| ModelFile {
            onnx: onnx.into(),
            card: card.into(),
        };
        Self {
            labels: file(
                include_bytes!("../models/labels.onnx"),
                include_str!("../models/labels.toml"),
            ),
            trace: file(
                include_bytes!("../models/trace.onnx"),
                include_str!("../models/trace.toml"),
            ),
        }
    }

    /// `labels.onnx`, `trace.onnx` and their cards in `folder`.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        Ok(Self {
            labels: ModelFile::read(folder, "labels")?,
            trace: ModelFile::read(folder, "trace")?,
        })
    }
}

/// The two nets on tract.
pub struct TractNets {
    labels: Net,
    trace: Net,
    thread_count: usize,
    labels_macs: AtomicU64,
    trace_macs: AtomicU64,
}

/// Multiply-accumulates since the nets were loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacsDone {
    pub labels: u64,
    pub trace: u64,
}

impl TractNets {
    /// Checks both models and makes their plans for the sizes on the cards; `threads` is at
    /// least 1.
    pub fn load(models: ModelFiles, threads: usize) -> Result<Self, ModelError> {
        let thread_count = threads.max(1);
        // A page is one picture for the labels net, and several for the trace net.
        let limits = RunLimits {
            plans_max: LABEL_PLANS_MAX,
            threads: thread_count,
        };
        let labels = Net::load("labels", &models.labels, &LABEL_OUTPUTS, limits)?;
        check_classes(labels.card())?;
        check_shapes("labels", &labels, |k, [height, width]| {
            let step = 8 << (k / 2);
            let channels = if k % 2 == 0 {
                BOX_CHANNELS
            } else {
                CLASS_COUNT
            };
            (LABEL_OUTPUTS[k], [channels, height / step, width / step])
        })?;
        let limits = RunLimits {
            plans_max: TRACE_PLANS_MAX,
            threads: 1,
        };
        let trace = Net::load("trace", &models.trace, &TRACE_OUTPUTS, limits)?;
        check_shapes("trace", &trace, |k, [height, width]| {
            (TRACE_OUTPUTS[k], [TRACE_CHANNELS, height / 2, width / 2])
        })?;
        Ok(Self {
            labels,
            trace,
            thread_count,
            labels_macs: AtomicU64::new(0),
            trace_macs: AtomicU64::new(0),
        })
    }

    /// The cards of the labels and the trace net.
    pub fn cards(&self) -> [&Card; 2] {
        [self.labels.card(), self.trace.card()]
    }

    pub fn macs_done(&self) -> MacsDone {
        MacsDone {
            labels: self.labels_macs.load(Ordering::Relaxed),
            trace: self.trace_macs.load(Ordering::Relaxed),
        }
    }

    /// The work of one run of each net, for pictures of the given height and width.
    pub fn work(&self, labels: [usize; 2], trace: [usize; 2]) -> Result<[Work; 2], NetError> {
        Ok([self.labels.plan(labels)?.work, self.trace.plan(trace)?.work])
    }
}

fn check_classes(card: &Card) -> Result<(), ModelError> {
    for index in 0..card.classes.len().max(CLASS_COUNT) {
        let needed = if index < CLASS_COUNT {
            LabelClass::at(index).map_or("", LabelClass::name)
        } else {
            ""
        };
        let found = card.classes.get(index).map_or("", String::as_str);
        if found != needed {
            let (found, needed) = (found.to_owned(), needed.to_owned());
            return Err(ModelError::Class {
                model: "labels",
                index,
                found,
                needed,
            });
        }
    }
    Ok(())
}

/// `needed` gives the name and the channels, height and width of output `k` for the card's input.
fn check_shapes(
    model: &'static str,
    net: &Net,
    needed: impl Fn(usize, [usize; 2]) -> (&'static str, [usize; 3]),
) -> Result<(), ModelError> {
    let [_, _, height, width] = net.card().input;
    for (k, found) in net.output_shapes()?.into_iter().enumerate() {
        let (output, needed) = needed(k, [height, width]);
        if found != needed {
            return Err(ModelError::Shape {
                model,
                output,
                found,
                needed,
            });
        }
    }
    Ok(())
}

impl Nets for TractNets {
    fn labels(&self, picture: &Picture) -> Result<Vec<RawMap>, NetError> {
        let (maps, macs) = self.labels.desk().run(picture)?;
        self.labels_macs.fetch_add(macs, Ordering::Relaxed);
        Ok(maps)
    }

    fn traces<T: Send>(
        &self,
        count: usize,
        draw: &(dyn Fn(usize) -> Picture + Sync),
        read: &(dyn Fn(usize, RawMap) -> T + Sync),
    ) -> Result<Vec<T>, NetError> {
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let work = || {
            let mut desk = self.trace.desk();
            let mut answers = Vec::new();
            while !failed.load(Ordering::Relaxed) {
                let k = next.fetch_add(1, Ordering::Relaxed);
                if k >= count {
                    break;
                }
                let answer = desk.run(&draw(k)).map(|(mut maps, macs)| {
                    self.trace_macs.fetch_add(macs, Ordering::Relaxed);
                    read(k, maps.remove(0))
                });
                failed.fetch_or(answer.is_err(), Ordering::Relaxed);
                answers.push((k, answer));
            }
            answers
        };
        let mut answers = work_on_threads(self.thread_count.min(count), &work);
        answers.sort_by_key(|(k, _)| *k);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn with<A, B: Send>(
        &self,
        here: impl FnOnce() -> A,
        beside: impl FnOnce() -> B + Send,
    ) -> (A, Option<B>) {
        if self.thread_count == 1 {
            return (here(), None);
        }
        std::thread::scope(|scope| {
            let other = scope.spawn(beside);
            let own = here();
            match other.join() {
                Ok(other) => (own, Some(other)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// What `work` gives on `thread_count` threads, one of them this one.
fn work_on_threads<T: Send>(thread_count: usize, work: &(impl Fn() -> Vec<T> + Sync)) -> Vec<T> {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..thread_count).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            match other.join() {
                Ok(answers) => all.extend(answers),
                // A panic of the core's closures goes on where pages are kept apart.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}
