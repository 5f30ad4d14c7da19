//! The gate before digitizing: whether a captured picture is worth it, within a second.
//!
//! In: a `RawImage` at any scale, or a file's bytes, which are decoded no larger than needed. Out: a
//! `Judgement`: good, or why not with what the operator can do; how sharp it is; and a `PageHash`
//! that tells whether the next picture shows the same page, so that a second press can be asked for.
//! Units: lengths in millimetres of paper, brightness 0 to 255. The scale is not measured: a recording
//! of 10 s at 25 mm/s is 250 mm long. Of 20 foreign pages with a grid, 17 agreed with the grid's own
//! scale to 8 %; two close-ups of half a page pass for twice as blurred as they are. A good word is
//! no promise that the page is read, a bad one is no proof: who asks may go on all the same.
//! Never fails but where no picture can be decoded.
//!
//! ```text
//!   picture --ink: brightest channel below its paper--> raster
//!           --traces: long thin bent lines--> is there a page, how many pixels are 250 mm
//!           --sharp: width of thin lines--> millimetres
//!           --likeness: small raster of ink--> hash
//! ```
//!
//! Memory at 12 million pixels: 15 MiB while a JPEG is decoded at half size (35 MiB for PNM, which is
//! read whole), of which 9 MB of picture stay; then 3 MB of ink and 4 MB of cells beside it.

mod ink;
mod likeness;
mod sharp;
mod traces;

use super::{Fault, Header, Plan, REDUCTIONS, decode_in};
use crate::page::RawImage;
use ink::{Ink, exceeded};
use traces::Traces;

pub use likeness::PageHash;

/// Long side that is enough to judge a page by: 5 px/mm of a sheet of A4.
const LONG_PX_ENOUGH: usize = 1_500;
/// Length of a recording, on most layouts: 10 s at 25 mm/s.
const RECORDING_MM: f32 = 250.0;
/// A recording's share of the long side, where less of it was seen: shorter pieces are parts of it.
const RECORDING_SHARE_MIN: f32 = 0.6;
/// Lines a millimetre below which names and traces run together: lines half a millimetre wide.
/// Blurred step by step, five printed and photographed pages were read at 0.34 to 0.46 mm with up to
/// 12 leads, two of three at 0.52 to 0.57 mm not at all, and none from 0.7 mm on.
const SHARPNESS_MIN: f32 = 2.0;
/// The paper's level in the lightest fifth of the picture: a page may lie on a dark desk. Below it,
/// grain is as strong as faint ink.
const PAPER_MIN: u8 = 50;
const PAPER_PERMILLE: usize = 200;
/// Ink's darkness below its paper, and above its grain: the faintest page that was read had 68.
const DEPTH_MIN: u8 = 55;
const DEPTH_GRAINS_MIN: u8 = 4;
/// As much is left of a line that is too blurred to be read: a hand is blurred as well, and darker.
const BLURRED_DEPTH_MIN: u8 = 25;
/// Share of pixels as bright as can be, where nothing is to be seen on them.
const CLIPPED_MAX: f32 = 0.5;
/// Length of all traces together, in long sides of the picture: a page has rows of them. The least
/// of 260 pages had 0.31, a close-up 0.6, most more than 0.8.
const TRACES_MIN: f32 = 0.3;

/// What is to be done with a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Good,
    /// Brightness of the paper, 0 to 255.
    Dark {
        paper: u8,
        needed: u8,
    },
    /// Share of the picture that is as bright as can be.
    WashedOut {
        clipped: f32,
        max: f32,
    },
    /// Lines a millimetre that can be told apart.
    Blurred {
        sharpness: f32,
        needed: f32,
    },
    NoPage,
}

impl Verdict {
    /// What the operator can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Good => "go on",
            Self::Dark { .. } => "too dark: more light",
            Self::WashedOut { .. } => "washed out: less light, no reflections",
            Self::Blurred { .. } => "blurred: hold it steady, go closer, more light",
            Self::NoPage => "no ECG seen: lay the page flat, face up, all of it in the picture",
        }
    }
}

/// What the gate saw.
#[derive(Clone, Debug)]
pub struct Judgement {
    pub verdict: Verdict,
    /// Whether there are traces, whatever else is wrong.
    pub has_traces: bool,
    pub likeness: PageHash,
    /// Lines a millimetre that can be told apart, nearly; 0 where there are none.
    pub sharpness: f32,
}

/// Judges a picture.
pub fn judge(image: &RawImage) -> Judgement {
    let ink = Ink::of(image);
    let traces = traces::find(&ink);
    let sharpness = sharpness_of(&ink, &traces);
    Judgement {
        verdict: verdict(&ink, &traces, sharpness),
        has_traces: has_traces(&ink, &traces),
        likeness: PageHash::of(&ink),
        sharpness,
    }
}

/// Judges the first page in a file's bytes, decoded as small as is enough.
pub fn judge_in(bytes: &[u8], room_bytes: u64) -> Result<Judgement, Fault> {
    let header = super::header_in(bytes)?;
    let plan = plan(&header, room_bytes)?;
    Ok(judge(&decode_in(bytes, &header, plan)?))
}

/// The smallest size that is enough, where the format is read smaller.
pub fn plan(header: &Header, room_bytes: u64) -> Result<Plan, Fault> {
    let long = header.width.max(header.height);
    let smallest = header.plan(room_bytes, 0)?;
    let smaller = REDUCTIONS
        .into_iter()
        .zip(header.decode_bytes)
        .rev()
        .find_map(|(reduction, bytes)| {
            let bytes = bytes.filter(|bytes| *bytes <= room_bytes)?;
            (long / reduction >= LONG_PX_ENOUGH).then_some(Plan { reduction, bytes })
        });
    Ok(smaller
        .filter(|plan| plan.reduction >= smallest.reduction)
        .unwrap_or(smallest))
}

fn sharpness_of(ink: &Ink, traces: &Traces) -> f32 {
    let long = ink.long_px() as f32;
    let recording = traces.span_px().clamp(RECORDING_SHARE_MIN * long, long);
    let px_per_mm = recording / RECORDING_MM;
    sharp::line_width_px(ink).map_or(0.0, |width| px_per_mm / width)
}

fn has_traces(ink: &Ink, traces: &Traces) -> bool {
    ink.depth >= DEPTH_MIN.max(ink.grain.saturating_mul(DEPTH_GRAINS_MIN))
        && traces.length >= TRACES_MIN
}

fn verdict(ink: &Ink, traces: &Traces, sharpness: f32) -> Verdict {
    let paper = exceeded(&ink.paper, PAPER_PERMILLE);
    if paper < PAPER_MIN {
        let needed = PAPER_MIN;
        return Verdict::Dark { paper, needed };
    }
    let is_blurred = sharpness > 0.0 && sharpness < SHARPNESS_MIN;
    match has_traces(ink, traces) {
        _ if is_blurred && ink.depth >= BLURRED_DEPTH_MIN => Verdict::Blurred {
            sharpness,
            needed: SHARPNESS_MIN,
        },
        true => Verdict::Good,
        false if ink.clipped > CLIPPED_MAX => Verdict::WashedOut {
            clipped: ink.clipped,
            max: CLIPPED_MAX,
        },
        false => Verdict::NoPage,
    }
}
