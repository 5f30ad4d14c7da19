//! The difficulties of a page, each alone.
//!
//! In: a plain page as it is planned. Out: the same with one fault, of a degree that is drawn in
//! the range of `Preset::Train`. Plain is: a layout of ours at 25 mm/s and 10 mm/mV, all leads
//! named above their traces, a pulse before each row, speed and gain in words below the traces,
//! thin black lines on light red millimetre paper, room around, 8 px/mm, flat and clean.

use super::wanted::Thing;
use super::{
    FORMATS, Format, Frame, GRIDS, GridKind, House, INKS, LINE_MM, LINE_MM_MAX, LINE_MM_MIN,
    PX_PER_MM, PX_PER_MM_SPREAD, Place, Plan, PulseLook, Role, SMALL_LABEL_MM, STRONG_GRID, Scale,
    Text, Tick, UNEVEN, px_per_mm_max,
};
use crate::Rng;
use clap::ValueEnum;

/// One difficulty, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    None,
    /// Turned by some degrees.
    Rotation,
    Perspective,
    /// A sheet that waves.
    Curl,
    Folds,
    Blur,
    Noise,
    Grey,
    /// Black and white alone.
    Threshold,
    HalfTone,
    Moire,
    Stains,
    /// Lies on a desk that is seen around it.
    Desk,
    /// Light that fades across the page.
    Shade,
    /// An edge of shadow.
    Shadow,
    Fading,
    Sharpening,
    /// On its side or on its head.
    QuarterTurns,
    /// JPEG of low quality.
    Jpeg,
    UnevenInk,
    ThinLine,
    ThickLine,
    /// Traces and labels grey, blue or red.
    ColouredInk,
    LowResolution,
    HighResolution,
    DotsGrid,
    MinorOnlyGrid,
    MajorOnlyGrid,
    NoGrid,
    /// Neither red nor grey.
    ColouredGrid,
    /// As dark as the ink, or nearly.
    DarkGrid,
    /// 5 mm lines with gaps.
    BrokenGrid,
    #[value(name = "speed-12.5")]
    Speed12,
    #[value(name = "speed-50")]
    Speed50,
    #[value(name = "gain-5")]
    Gain5,
    #[value(name = "gain-20")]
    Gain20,
    /// Chest leads at half the limb leads' gain.
    HalfChestGain,
    /// One to three panels without a label.
    LabelsMissing,
    /// The rhythm strip has no label.
    StripUnlabelled,
    /// One panel bears another lead's name.
    LabelFalse,
    /// Two panels without a label, one with another lead's name.
    LabelsMissingAndFalse,
    LabelsBelow,
    LabelsOn,
    LabelsLeft,
    LabelsSmall,
    NoPulse,
    NoText,
    #[value(name = "12x1")]
    Rows12x1,
    #[value(name = "6x2")]
    Rows6x2,
    #[value(name = "6x1")]
    Rows6x1,
    #[value(name = "4x3")]
    Rows4x3,
    Cabrera,
    /// Three rhythm strips.
    Strips,
    /// Columns that all begin at the same time.
    Simultaneous,
    /// Rows so close that traces cross.
    TightRows,
    /// Spikes of a pacemaker in all leads.
    Paced,
    /// No room around the traces: tall peaks leave the paper, pulses may.
    CutClose,
    /// Bars, lines, squares or arrows where panels begin.
    Separators,
    /// A thick bar upon the start of every panel, and its name at the bar.
    Crowded,
    /// Tables, logos, barcodes.
    Furniture,
    /// Strokes of a pen.
    Scribble,
    Stamp,
}

impl Fault {
    /// As on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(super) fn has(self, thing: Thing) -> bool {
        match thing {
            Thing::Margins => self != Self::CutClose,
            Thing::Simultaneous => self == Self::Simultaneous,
            Thing::Pulses => self != Self::NoPulse,
            Thing::OwnInk => false,
            Thing::ScaleTexts => self != Self::NoText,
            Thing::ScaleTextsBelow => true,
            Thing::Furniture => self == Self::Furniture,
            Thing::Scribble => self == Self::Scribble,
            Thing::Stamp => self == Self::Stamp,
        }
    }

    /// The drawn format where the fault can be on it, else another.
    pub(super) fn format(self, drawn: &'static Format, rng: &mut Rng) -> &'static Format {
        let fits = |format: &Format| {
            let plain = |name: &str| format.name == name && !format.cabrera;
            match self {
                Self::Rows12x1 => plain("12x1"),
                Self::Rows6x2 => plain("6x2"),
                Self::Rows6x1 => plain("6x1"),
                Self::Rows4x3 => plain("4x3"),
                Self::Strips | Self::StripUnlabelled => plain("3x4"),
                Self::Cabrera => format.cabrera,
                Self::Simultaneous => format.columns.len() > 1,
                // Limb and chest leads.
                Self::HalfChestGain => format.columns.concat().len() == 12,
                // Twelve rows are always tight.
                Self::TightRows => format.name != "12x1",
                _ => true,
            }
        };
        if fits(drawn) {
            return drawn;
        }
        let fitting: Vec<(f32, &'static Format)> = FORMATS
            .iter()
            .filter(|(_, format)| fits(format))
            .map(|(weight, format)| (*weight, format))
            .collect();
        rng.weigh(&fitting)
    }

    pub(super) fn rhythm(self, drawn: Vec<&'static str>) -> Vec<&'static str> {
        match self {
            Self::Strips => vec!["II", "V1", "V5"],
            Self::StripUnlabelled => vec!["II"],
            _ => drawn,
        }
    }

    pub(super) fn scale(self) -> Scale {
        let plain = Scale {
            speed: 25.0,
            gain: 10.0,
            chest_gain: 10.0,
            total_s: 10.0,
        };
        let at_gain = |gain| Scale {
            gain,
            chest_gain: gain,
            ..plain
        };
        match self {
            Self::Speed12 => Scale {
                speed: 12.5,
                ..plain
            },
            Self::Speed50 => Scale {
                speed: 50.0,
                total_s: 5.0,
                ..plain
            },
            Self::Gain5 => at_gain(5.0),
            Self::Gain20 => at_gain(20.0),
            Self::HalfChestGain => Scale {
                chest_gain: 5.0,
                ..plain
            },
            _ => plain,
        }
    }

    /// The upper part of the usual range, or its lower end.
    pub(super) fn pitch(self, drawn: f32, [low, high]: [f32; 2]) -> f32 {
        let share = (drawn - low) / (high - low);
        let share = match self {
            Self::TightRows => 0.15 * share,
            _ => 0.4 + 0.6 * share,
        };
        low + share * (high - low)
    }

    /// One of 0.2 s before each row.
    pub(super) fn pulses(self) -> PulseLook {
        PulseLook {
            // Names left of the traces take the pulses' place.
            sides: [self != Self::LabelsLeft, self == Self::LabelsLeft],
            every_row: true,
            width_s: 0.2,
            feet: [true; 2],
            thick: 1.0,
        }
    }
}

/// Paper, inks, grid and resolution.
pub(super) fn sheet(fault: Fault, plan: &mut Plan, rng: &mut Rng) {
    let spread = rng.range(1.0 - PX_PER_MM_SPREAD, 1.0 + PX_PER_MM_SPREAD);
    let px_per_mm = match fault {
        Fault::LowResolution => rng.weigh(&PX_PER_MM[..2]) * spread,
        Fault::HighResolution => rng.weigh(&PX_PER_MM[3..]) * spread,
        _ => PX_PER_MM[2].1 * (0.5 + 0.5 * spread),
    };
    plan.px_per_mm = px_per_mm.min(px_per_mm_max(plan.width_mm, plan.height_mm));
    let ink = match fault {
        Fault::ColouredInk => rng.weigh(&INKS[2..]),
        _ => INKS[0].1,
    };
    plan.trace_color = ink;
    plan.text_color = ink;
    plan.mark_color = ink;
    plan.line_width_mm = match fault {
        Fault::ThinLine => rng.range(LINE_MM_MIN, LINE_MM[0]),
        Fault::ThickLine => rng.range(LINE_MM[1], LINE_MM_MAX),
        _ => rng.range(LINE_MM[0], LINE_MM[1]),
    };
    plan.uneven = match fault {
        Fault::UnevenInk => rng.range(UNEVEN[0], UNEVEN[1]),
        _ => 0.0,
    };
    grid(fault, plan, rng);
}

/// The grid is drawn by chance already: what is no part of the fault is made plain.
fn grid(fault: Fault, plan: &mut Plan, rng: &mut Rng) {
    let look = &mut plan.grid;
    look.kind = match fault {
        Fault::DotsGrid => GridKind::Dots,
        Fault::MinorOnlyGrid => GridKind::MinorOnly,
        Fault::MajorOnlyGrid => GridKind::MajorOnly,
        Fault::NoGrid => GridKind::None,
        _ => GridKind::Lines,
    };
    look.color = match fault {
        Fault::ColouredGrid => rng.weigh(&GRIDS[2..6]),
        Fault::DarkGrid => GRIDS[7].1,
        _ => rng.weigh(&GRIDS[..2]),
    };
    look.dot_color = look.color;
    let share = rng.range(0.3, 1.0);
    look.major = match fault {
        Fault::DarkGrid => rng.range(STRONG_GRID[0], STRONG_GRID[1]),
        _ => rng.range(0.35, 0.6),
    };
    look.minor = look.major * share;
    look.broken = (fault == Fault::BrokenGrid).then(|| super::broken(rng));
}

/// How labels and the starts of panels look.
pub(super) fn house(fault: Fault, drawn: House, frame: &Frame, rng: &mut Rng) -> House {
    let mut label = drawn.label;
    label.height_mm = match fault {
        Fault::LabelsSmall => rng.range(SMALL_LABEL_MM[0], SMALL_LABEL_MM[1]),
        _ => label.height_mm.max(SMALL_LABEL_MM[1]),
    };
    // A name of twelve close rows must not stand at the row above.
    let above = rng.range(2.5, 8.0).min(0.4 * frame.pitch).max(2.5);
    let plain = House {
        label,
        place: match fault {
            Fault::LabelsBelow => Place::Below,
            Fault::LabelsOn => Place::On,
            Fault::LabelsLeft => Place::Left,
            _ => Place::Above,
        },
        offset: [rng.range(-1.0, 4.0), above],
        case: super::Case::Mixed,
        boxed: false,
        missing: 0.0,
        baseline_mm: 0.0,
        tick: Tick::None,
        text: drawn.text,
    };
    match fault {
        Fault::Separators => House {
            tick: separator(rng),
            ..plain
        },
        Fault::Crowded => plain.crowded(rng),
        _ => plain,
    }
}

/// One that leaves ink.
fn separator(rng: &mut Rng) -> Tick {
    loop {
        let tick = rng.weigh(&super::TICKS);
        if !matches!(tick, Tick::None | Tick::Gap) {
            return tick;
        }
    }
}

/// Takes labels from the page, or makes one false.
pub(super) fn labels(fault: Fault, plan: &mut Plan, house: &House, rng: &mut Rng) {
    let (missing, falsified) = match fault {
        Fault::LabelsMissing => (1 + rng.below(3), 0),
        Fault::LabelFalse => (0, 1),
        Fault::LabelsMissingAndFalse => (2, 1),
        Fault::StripUnlabelled => {
            let strip = plan.traces.iter().position(|t| t.role == Role::Rhythm);
            return strip.into_iter().for_each(|strip| unlabel(plan, strip));
        }
        _ => return,
    };
    let mut panels: Vec<usize> = (0..plan.traces.len())
        .filter(|k| plan.traces[*k].role == Role::Grid)
        .collect();
    let mut taken = |rng: &mut Rng| panels.swap_remove(rng.below(panels.len()));
    for _ in 0..missing {
        let panel = taken(rng);
        unlabel(plan, panel);
    }
    for _ in 0..falsified {
        let panel = taken(rng);
        mislabel(plan, house, panel, rng);
    }
}

/// Takes a trace's label away.
fn unlabel(plan: &mut Plan, trace: usize) {
    let Some(label) = plan.traces[trace].label.take() else {
        return;
    };
    plan.texts.remove(label);
    for later in plan.traces.iter_mut().filter_map(|t| t.label.as_mut()) {
        *later -= usize::from(*later > label);
    }
}

/// Writes another lead's name at a trace.
fn mislabel(plan: &mut Plan, house: &House, trace: usize, rng: &mut Rng) {
    let leads: Vec<&'static str> = plan.traces.iter().map(|t| t.lead).collect();
    let others: Vec<&'static str> = leads
        .iter()
        .copied()
        .filter(|lead| *lead != leads[trace])
        .collect();
    let lead = rng.pick(&others);
    if let Some(label) = plan.traces[trace].label {
        plan.texts[label] = Text {
            text: house.spell(lead),
            class: lead.to_owned(),
            ..plan.texts[label].clone()
        };
    }
}
