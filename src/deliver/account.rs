//! What was done to get a record: source, options, models, times, memory. For the report.

use serde::{Deserialize, Serialize};

use super::Format;
use crate::record::{Evidence, Record};

/// The file that a page came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// File name, without its folder.
    pub file: String,
    /// SHA-256 of the file, hexadecimal; `None` where it could not be read.
    pub sha256: Option<String>,
    /// Counted from 1, where the file has several pages.
    pub page: Option<usize>,
    /// The page was decoded this many times smaller than it is stored: 1, 2, 4 or 8.
    pub reduction: Option<usize>,
}

/// What the operator asked for and what changes the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GivenOptions {
    pub fs_hz: f32,
    pub speed_mm_s: Option<f32>,
    pub gain_mm_mv: Option<f32>,
    pub layout: Option<String>,
    pub formats: Vec<String>,
    pub overlay: bool,
}

/// A model that was used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelUsed {
    pub name: String,
    pub sha256: String,
}

/// Time that one stage took, wall clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    pub stage: String,
    pub seconds: f64,
}

/// What a page cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// In the order in which they ran.
    pub stages: Vec<StageTime>,
    pub seconds: f64,
    /// Multiply-accumulates of both nets, in thousand millions.
    pub labels_gmac: f64,
    pub trace_gmac: f64,
    /// Most resident memory of the process so far (`VmHWM`), where the system tells it.
    pub peak_memory_mib: Option<f64>,
    /// Most heap held at once while this page was worked on.
    pub peak_heap_mib: Option<f64>,
}

/// Everything about a page that is not in its record.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    pub source: Source,
    pub options: GivenOptions,
    pub models: Vec<ModelUsed>,
    pub work: Work,
    /// Why there is no record, in words; the page could not be read or the program failed.
    pub error: Option<String>,
}

impl Account {
    /// Of a record that came from elsewhere: what it says of itself is all that is known.
    pub fn of_record(record: &Record, formats: &[&dyn Format]) -> Self {
        let origin = record.origin.as_ref();
        let names = ["labels", "trace"].iter();
        let hashes = origin.map_or(&[][..], |origin| origin.models.as_slice());
        let model = |(name, sha256): (&&str, &String)| ModelUsed {
            name: (*name).to_owned(),
            sha256: sha256.clone(),
        };
        let calibration = record.calibration.as_ref();
        Self {
            source: Source::default(),
            options: GivenOptions {
                fs_hz: record.sample_rate.0,
                speed_mm_s: calibration
                    .and_then(|found| given(found.speed.evidence, found.speed.value.0)),
                gain_mm_mv: calibration
                    .and_then(|found| given(found.gain.evidence, found.gain.value.0)),
                layout: None,
                formats: formats.iter().map(|f| f.name().to_owned()).collect(),
                overlay: false,
            },
            models: names.zip(hashes).map(model).collect(),
            work: Work::default(),
            error: None,
        }
    }
}

fn given(evidence: Evidence, value: f32) -> Option<f32> {
    (evidence == Evidence::Given).then_some(value)
}
