//! What a page must and must not have; the rest is left to chance.
//!
//! In: what a page draws by chance, as it is planned. Out: the same, or what is wanted instead.
//! A page of a preset is left as it is drawn, to the last draw; a training's may be paced. Whatever a fault draws for itself
//! comes from a fork of the page's chance, so that page `index` of every fault is the same page
//! (layout, signals, look) but for the fault: a fault is compared with `Fault::None` page by page.

use super::fate::Fate;
pub use super::fault::Fault;
use super::{Format, Frame, GridKind, House, Plan, Preset, PulseLook, Scale, fate, fault};
use crate::Rng;
use crate::signal::Recording;

/// A kind of pages.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A mixture.
    Any(Preset),
    /// Plain pages with one difficulty.
    Fault(Fault),
    /// As `Preset::Train`, at one speed and gain, and without something that tells them.
    Scales {
        speed_mm_s: f32,
        gain_mm_mv: f32,
        without: Vec<Evidence>,
    },
}

impl From<Preset> for Wanted {
    fn from(preset: Preset) -> Self {
        Self::Any(preset)
    }
}

/// What tells speed and gain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Evidence {
    /// The printed words.
    Text,
    /// The calibration pulses.
    Pulse,
    /// The millimetre lines.
    Grid,
}

/// What a page has or has not.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Thing {
    /// Room around the traces.
    Margins,
    /// Columns that all begin at the same time.
    Simultaneous,
    Pulses,
    /// Labels and pulses in a colour of their own.
    OwnInk,
    ScaleTexts,
    /// Those stand below the traces, not above.
    ScaleTextsBelow,
    /// Tables, logos, barcodes.
    Furniture,
    Scribble,
    Stamp,
}

/// Room left and right of the traces for the widest pulse at 50 mm/s.
const PULSE_ROOM_MM: f32 = 21.0;
/// Pages of a training that are paced.
const PACED_SHARE: f32 = 0.04;

impl Wanted {
    pub(super) fn preset(&self) -> Preset {
        match self {
            Self::Any(preset) => *preset,
            Self::Fault(_) => Preset::Clean,
            Self::Scales { .. } => Preset::Train,
        }
    }

    /// Whether pages of further chest leads, which no layout of the product has, may be among them.
    pub(super) fn further(&self) -> bool {
        matches!(self, Self::Any(preset) if preset.trains())
    }

    /// Whether the page has it; `None` leaves it to chance.
    pub(super) fn has(&self, thing: Thing) -> Option<bool> {
        match self {
            Self::Any(_) => None,
            Self::Fault(fault) => Some(fault.has(thing)),
            Self::Scales { without, .. } => {
                let lacks = |evidence| without.contains(&evidence).then_some(false);
                match thing {
                    Thing::Pulses => lacks(Evidence::Pulse),
                    Thing::ScaleTexts => lacks(Evidence::Text),
                    Thing::Margins
                    | Thing::Simultaneous
                    | Thing::OwnInk
                    | Thing::ScaleTextsBelow
                    | Thing::Furniture
                    | Thing::Scribble
                    | Thing::Stamp => None,
                }
            }
        }
    }

    /// How far right the words of speed and gain may begin, as a share of the traces' width: those
    /// that do not fit are left out.
    pub(super) fn scale_texts_reach(&self) -> f32 {
        match self {
            Self::Fault(_) => 0.05,
            Self::Any(_) | Self::Scales { .. } => 0.6,
        }
    }

    pub(super) fn format(&self, drawn: &'static Format, rng: &mut Rng) -> &'static Format {
        match self {
            Self::Fault(fault) => fault.format(drawn, &mut rng.fork()),
            Self::Any(_) | Self::Scales { .. } => drawn,
        }
    }

    pub(super) fn rhythm(&self, drawn: Vec<&'static str>) -> Vec<&'static str> {
        match self {
            Self::Fault(fault) => fault.rhythm(drawn),
            Self::Any(_) | Self::Scales { .. } => drawn,
        }
    }

    /// The signals: in a training, some have a pacemaker's spikes.
    pub(super) fn recording(&self, drawn: Recording, rng: &mut Rng) -> Recording {
        // A copy: the page's own draws stay what they were before there were spikes.
        let mut own = rng.clone();
        let is_paced = match self {
            Self::Fault(fault) => *fault == Fault::Paced,
            Self::Any(preset) => preset.trains() && own.chance(PACED_SHARE),
            Self::Scales { .. } => false,
        };
        let mut recording = drawn;
        if is_paced {
            recording.pace(&mut own.fork());
        }
        recording
    }

    pub(super) fn scale(&self, drawn: Scale) -> Scale {
        match self {
            Self::Any(_) => drawn,
            Self::Fault(fault) => fault.scale(),
            Self::Scales {
                speed_mm_s,
                gain_mm_mv,
                without,
            } => {
                // Nothing but words tells a chest gain of its own.
                let halves = drawn.chest_gain < drawn.gain && !without.contains(&Evidence::Text);
                // A page of 50 mm/s holds half the time, and only such a page.
                let total_s = match (*speed_mm_s > 30.0, drawn.speed > 30.0) {
                    (true, _) => 5.0,
                    (false, true) => 10.0,
                    (false, false) => drawn.total_s,
                };
                Scale {
                    speed: *speed_mm_s,
                    gain: *gain_mm_mv,
                    chest_gain: gain_mm_mv / if halves { 2.0 } else { 1.0 },
                    total_s,
                }
            }
        }
    }

    /// Distance of the rows, of which `range` are usual.
    pub(super) fn pitch(&self, drawn: f32, range: [f32; 2]) -> f32 {
        match self {
            Self::Fault(fault) => fault.pitch(drawn, range),
            Self::Any(_) | Self::Scales { .. } => drawn,
        }
    }

    /// Room beside the traces.
    pub(super) fn side(&self, drawn: f32) -> f32 {
        match self {
            Self::Fault(fault) if fault.has(Thing::Margins) => drawn.max(PULSE_ROOM_MM),
            Self::Any(_) | Self::Fault(_) | Self::Scales { .. } => drawn,
        }
    }

    /// Paper, inks, grid and resolution of a page that is still empty.
    pub(super) fn sheet(&self, plan: &mut Plan, rng: &mut Rng) {
        match self {
            Self::Any(_) => {}
            Self::Fault(fault) => fault::sheet(*fault, plan, &mut rng.fork()),
            Self::Scales { without, .. } => {
                if without.contains(&Evidence::Grid) {
                    plan.grid.kind = GridKind::None;
                }
            }
        }
    }

    pub(super) fn house(&self, house: House, frame: &Frame, rng: &mut Rng) -> House {
        match self {
            Self::Fault(fault) => fault::house(*fault, house, frame, &mut rng.fork()),
            Self::Any(_) | Self::Scales { .. } => house,
        }
    }

    /// Labels that a page with all its traces lacks, or that are false.
    pub(super) fn labels(&self, plan: &mut Plan, house: &House, rng: &mut Rng) {
        match self {
            Self::Fault(fault) => fault::labels(*fault, plan, house, &mut rng.fork()),
            Self::Any(_) | Self::Scales { .. } => {}
        }
    }

    pub(super) fn pulses(&self, drawn: PulseLook) -> PulseLook {
        match self {
            Self::Fault(fault) => fault.pulses(),
            Self::Any(_) | Self::Scales { .. } => drawn,
        }
    }

    pub(super) fn fate(&self, drawn: Fate, rng: &mut Rng) -> Fate {
        match self {
            Self::Fault(fault) => fate::one(*fault, drawn, &mut rng.fork()),
            Self::Any(_) | Self::Scales { .. } => drawn,
        }
    }

    pub(super) fn jpeg(&self, drawn: Option<u8>, rng: &mut Rng) -> Option<u8> {
        match self {
            Self::Fault(Fault::Jpeg) => Some(fate::low_jpeg(&mut rng.fork())),
            Self::Any(_) | Self::Fault(_) | Self::Scales { .. } => drawn,
        }
    }
}
