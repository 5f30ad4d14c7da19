//! What is printed on the page beside the traces: lead labels, calibration pulses, speed and gain.
//!
//! In: the labels net's raw maps over a letterboxed picture. Out: `Label`s in `InPage` pixels,
//! strongest first, at most `limits::LABELS_MAX`. The decode (sigmoid, DFL, NMS) is here, so that
//! the net stays a chain of integer convolutions (Li et al., Generalized Focal Loss, 2020, for
//! the DFL; Jocher et al., YOLOv8, 2023, for the head's layout).

pub mod decode;
pub mod flat;
pub mod view;

use serde::{Deserialize, Serialize};

use crate::page::{Bounds, InPage, Point};

/// A lead's name, as printed. `MinusAvr` is Cabrera's inverted aVR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lead {
    I,
    II,
    III,
    #[serde(rename = "aVR")]
    Avr,
    #[serde(rename = "aVL")]
    Avl,
    #[serde(rename = "aVF")]
    Avf,
    V1,
    V2,
    V3,
    V4,
    V5,
    V6,
    #[serde(rename = "-aVR")]
    MinusAvr,
    V7,
    V8,
    V9,
    V3R,
    V4R,
    V5R,
}

impl Lead {
    /// The twelve leads in the order in which every output lists them.
    pub const TWELVE: [Self; 12] = match Self::ALL.first_chunk() {
        Some(twelve) => *twelve,
        None => panic!("there are more than twelve"),
    };

    pub const ALL: [Self; 19] = [
        Self::I,
        Self::II,
        Self::III,
        Self::Avr,
        Self::Avl,
        Self::Avf,
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V5,
        Self::V6,
        Self::MinusAvr,
        Self::V7,
        Self::V8,
        Self::V9,
        Self::V3R,
        Self::V4R,
        Self::V5R,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::I => "I",
            Self::II => "II",
            Self::III => "III",
            Self::Avr => "aVR",
            Self::Avl => "aVL",
            Self::Avf => "aVF",
            Self::V1 => "V1",
            Self::V2 => "V2",
            Self::V3 => "V3",
            Self::V4 => "V4",
            Self::V5 => "V5",
            Self::V6 => "V6",
            Self::MinusAvr => "-aVR",
            Self::V7 => "V7",
            Self::V8 => "V8",
            Self::V9 => "V9",
            Self::V3R => "V3R",
            Self::V4R => "V4R",
            Self::V5R => "V5R",
        }
    }

    /// Chest leads, which some pages print at half the limb leads' gain.
    pub fn is_chest(self) -> bool {
        self as usize >= Self::V1 as usize && self != Self::MinusAvr
    }
}

/// What the labels net names; the order is the net's class order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelClass {
    Lead(Lead),
    Pulse,
    Speed25,
    Speed12_5,
    Speed50,
    Gain10,
    Gain5,
    Gain20,
    HalfGainChest,
}

/// Readings kept of one lead name.
pub const READINGS: usize = 4;
/// Classes of the labels net.
pub const CLASS_COUNT: usize = 27;

impl LabelClass {
    /// The class at `index` in the net's output.
    pub fn at(index: usize) -> Option<Self> {
        const TEXTS: [LabelClass; 8] = [
            LabelClass::Pulse,
            LabelClass::Speed25,
            LabelClass::Speed12_5,
            LabelClass::Speed50,
            LabelClass::Gain10,
            LabelClass::Gain5,
            LabelClass::Gain20,
            LabelClass::HalfGainChest,
        ];
        if let Some(lead) = Lead::ALL.get(index) {
            return Some(Self::Lead(*lead));
        }
        TEXTS.get(index - Lead::ALL.len()).copied()
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Lead(lead) => lead.name(),
            Self::Pulse => "pulse",
            Self::Speed25 => "25mm/s",
            Self::Speed12_5 => "12.5mm/s",
            Self::Speed50 => "50mm/s",
            Self::Gain10 => "10mm/mV",
            Self::Gain5 => "5mm/mV",
            Self::Gain20 => "20mm/mV",
            Self::HalfGainChest => "half-chest",
        }
    }
}

/// One thing that the net saw, as a quadrilateral's bounds in the upright reading direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    pub class: LabelClass,
    /// 0 to 1.
    pub score: f32,
    /// The lead names that it most resembles, best first, each with its own score; a name that
    /// is hard to read is told by where it stands.
    pub leads: [(Lead, f32); READINGS],
    /// Corners of the net's upright box, on the page: top left, top right, bottom right,
    /// bottom left in reading direction.
    pub corners: [Point<InPage>; 4],
}

impl Label {
    pub fn center(&self) -> Point<InPage> {
        let sum = |f: fn(&Point<InPage>) -> f32| self.corners.iter().map(f).sum::<f32>() / 4.0;
        Point::new(sum(|p| p.x), sum(|p| p.y))
    }

    /// The axis-aligned box around the corners.
    pub fn bounds(&self) -> Bounds<InPage> {
        let xs = self.corners.map(|p| p.x);
        let ys = self.corners.map(|p| p.y);
        let low = |v: [f32; 4]| v.into_iter().fold(f32::INFINITY, f32::min);
        let high = |v: [f32; 4]| v.into_iter().fold(f32::NEG_INFINITY, f32::max);
        Bounds::new(low(xs), low(ys), high(xs), high(ys))
    }
}
