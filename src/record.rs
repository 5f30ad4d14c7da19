//! What is known of one page in the end: twelve signals, or the reason why there are none.
//!
//! In: the signals and everything that was measured on the way. Out: `Record` with its `Status`
//! and `Finding`s. Units: millivolt, seconds from the left edge of the recording. A missing sample
//! is `None`. A page that was not understood is `Status::Rejected` and has no signals.

pub mod checks;
pub mod doubts;
pub mod naming;
pub mod quality;

use serde::{Deserialize, Serialize};

pub use crate::calibration::{Evidence, Known, PageCalibration};
use crate::labels::Lead;
use crate::math;
use crate::trace::leaps::Leaps;
use crate::units::{Hertz, Millivolt, Mm, MmPerMillivolt, Seconds};

/// What a reader may do with the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    Warning,
    Rejected,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Note,
    Warning,
    Reject,
}

/// One thing that the reader of a record should know, in words that an operator can act on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub severity: Severity,
    /// Stable word for programs, e.g. `clipped`, `einthoven`, `no_grid`.
    pub code: String,
    /// The lead it is about, where it is about one.
    pub lead: Option<Lead>,
    pub message: String,
}

/// Whether a trace is a panel of the layout or a rhythm strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Panel,
    Rhythm,
}

/// One printed trace, digitized.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceRecord {
    pub lead: Lead,
    pub role: Role,
    pub start: Seconds,
    /// Samples at the record's rate, from `start`.
    pub samples: Vec<Option<Millivolt>>,
    /// Standard deviation of each sample, as the trace net believes it; `None` where it is not told.
    pub deviations: Option<Vec<Millivolt>>,
    /// Corners of the panel's crop, as it was read, in page pixels: top left, top right, bottom right, bottom left.
    pub corners_px: [[f32; 2]; 4],
    /// Where the line was found, page pixels, for overlays; one point a millimetre or closer.
    pub line_px: Vec<[f32; 2]>,
    /// 0 (nothing fits) to 1: mean posterior of the line where it was found.
    pub quality: f32,
    /// Ink among the rows, around this trace, that no line explains: mm2 a millimetre of paper; `None`
    /// where it was not looked for.
    pub unread: Option<f32>,
    /// Where the line leaps onto other ink and back; `None` where that was not counted.
    #[serde(skip)]
    pub leaps: Option<Leaps>,
    /// A pacemaker's spikes, which the samples hold as soon as the record is checked.
    #[serde(skip)]
    pub spikes: Vec<Spike>,
    /// Share of the panel's time in which the line was found, 0 to 1.
    pub coverage: f32,
    /// Predicted signal to error, and what that goes by (`quality`).
    pub quality_db: Option<f32>,
    #[serde(skip)]
    pub clues: Option<quality::Clues>,
    pub gain: MmPerMillivolt,
}

/// A spike of a pacemaker: on paper a stroke without width, here one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spike {
    /// Index among the trace's samples.
    pub sample: usize,
    pub height: Millivolt,
    /// Where it leaves the line, and its tip, page pixels.
    pub foot_px: [f32; 2],
    pub tip_px: [f32; 2],
}

impl TraceRecord {
    /// Puts the spikes among the samples and into the overlay's line, where the line was found; how
    /// many.
    fn draw_spikes(&mut self) -> usize {
        let mut count = 0;
        for spike in &self.spikes {
            let Some(Some(sample)) = self.samples.get_mut(spike.sample) else {
                continue;
            };
            *sample = spike.height;
            count += 1;
            let [x, y] = spike.foot_px;
            let off = |k: &usize| math::hypot(self.line_px[*k][0] - x, self.line_px[*k][1] - y);
            let nearest = (0..self.line_px.len()).min_by(|a, b| off(a).total_cmp(&off(b)));
            if let Some(foot) = nearest {
                let back = self.line_px[foot];
                self.line_px
                    .splice(foot + 1..foot + 1, [spike.tip_px, back]);
            }
        }
        count
    }
}

/// A label as the net saw it, for the report and the overlay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenLabel {
    pub class: String,
    pub score: f32,
    pub corners_px: [[f32; 2]; 4],
}

/// All clocks at one moment, as far as the machine knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub boot_id: [u8; 16],
    /// Since that boot.
    pub monotonic_ms: u64,
    /// Since 1970, UTC.
    pub wall_ms: u64,
    /// Whether the wall clock was known to be right.
    pub wall_synced: bool,
}

/// Where a record comes from that a device made unattended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub device: String,
    /// Names the record for ever.
    pub job: String,
    /// The site's own name for the page.
    pub reference: Option<String>,
    /// When the page was accepted.
    pub accepted: Moment,
    /// The program that digitized it, and SHA-256 of its nets, hexadecimal.
    pub version: String,
    pub models: Vec<String>,
}

/// Everything known of one page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub status: Status,
    pub findings: Vec<Finding>,
    pub width_px: usize,
    pub height_px: usize,
    /// Name of the layout, e.g. `3x4+1R`; `None` where it was not understood.
    pub layout: Option<String>,
    pub calibration: Option<PageCalibration>,
    pub sample_rate: Hertz,
    /// Length of the recording, from its left edge.
    pub duration: Seconds,
    pub traces: Vec<TraceRecord>,
    pub labels: Vec<SeenLabel>,
    /// Width of the printed line, where it was measured.
    pub line_width: Option<Mm>,
    /// Predicted signal to error of the twelve leads together (`quality`).
    pub quality_db: Option<f32>,
    /// Who made it, of a page that was digitized by a device.
    pub origin: Option<Origin>,
}

impl Finding {
    pub fn new(severity: Severity, code: &str, lead: Option<Lead>, message: String) -> Self {
        Self {
            severity,
            code: code.to_owned(),
            lead,
            message,
        }
    }
}

impl Record {
    /// Puts a pacemaker's spikes into the signals, at last: what is checked and predicted is the
    /// rest, of which a spike a sample early would be a part.
    pub fn draw_spikes(&mut self) {
        let count = self.traces.iter_mut().map(TraceRecord::draw_spikes).sum();
        if count > 0 {
            self.findings.push(doubts::spikes(count));
        }
    }

    /// The record of a page of which nothing is known but why.
    pub fn without_page(sample_rate: Hertz, finding: Finding) -> Self {
        Self {
            status: Status::Rejected,
            findings: vec![finding],
            width_px: 0,
            height_px: 0,
            layout: None,
            calibration: None,
            sample_rate,
            duration: Seconds(0.0),
            traces: Vec::new(),
            labels: Vec::new(),
            line_width: None,
            quality_db: None,
            origin: None,
        }
    }

    /// What the findings allow a reader to do with the record.
    pub fn status_of(findings: &[Finding]) -> Status {
        match findings.iter().map(|finding| finding.severity).max() {
            None | Some(Severity::Note) => Status::Ok,
            Some(Severity::Warning) => Status::Warning,
            Some(Severity::Reject) => Status::Rejected,
        }
    }

    /// The trace that stands for `lead` in the twelve signals: its rhythm strip where the page
    /// has one, else its panel.
    pub fn lead(&self, lead: Lead) -> Option<&TraceRecord> {
        let of = |role| {
            self.traces
                .iter()
                .find(move |t| t.lead == lead && t.role == role)
        };
        of(Role::Rhythm).or_else(|| of(Role::Panel))
    }
}
