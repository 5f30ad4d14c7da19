//! `ID.json`: everything that is known of a page but its samples.
//!
//! Field names are stable; a reader must expect new ones. Units are in the names. Boxes are the four
//! corners in pixels of the page as it was decoded, upright: top left, top right, bottom right,
//! bottom left. What is not known is `null`. The file is written last: where it is, the page is
//! finished.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::deliver::{
    Account, Delivery, Format, GivenOptions, Holds, ModelUsed, Source, StageTime, Work,
};
use crate::labels::Lead;
use crate::record::quality::CLUES;
use crate::record::{
    Finding, Known, Origin, PageCalibration, Record, Role, SeenLabel, Status, TraceRecord,
};
use crate::units::{MmPerMillivolt, MmPerSecond};

pub struct Json;

impl Format for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["json"]
    }

    fn holds(&self) -> Holds {
        Holds::Report
    }

    fn write(&self, delivery: &Delivery, _: &str, out: &mut dyn Write) -> std::io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, &Report::of(delivery))?;
        writeln!(out)
    }
}

/// The whole file.
#[derive(Serialize)]
pub struct Report<'a> {
    pub id: &'a str,
    /// `ok`, `warning` or `rejected`.
    pub status: Status,
    /// Why there is no record, where the page could not be read or the program failed.
    pub error: Option<&'a str>,
    pub findings: &'a [Finding],
    /// E.g. `3x4+1R`.
    pub layout: Option<&'a str>,
    pub calibration: Option<Calibration>,
    pub sample_rate_hz: f32,
    /// From the left edge of the recording to its end.
    pub duration_s: f32,
    pub line_width_mm: Option<f32>,
    /// Predicted signal to error of the twelve leads together.
    pub quality_db: Option<f32>,
    pub traces: Vec<Trace>,
    pub labels: Vec<Label<'a>>,
    pub page: Page,
    pub source: &'a Source,
    pub options: &'a GivenOptions,
    pub models: &'a [ModelUsed],
    pub stages: &'a [StageTime],
    pub seconds: f64,
    pub labels_gmac: f64,
    pub trace_gmac: f64,
    /// Most resident memory of the process so far.
    pub peak_memory_mib: Option<f64>,
    /// Most heap held at once for this page.
    pub peak_heap_mib: Option<f64>,
    pub version: &'static str,
    /// Of a page that a device digitized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<&'a Origin>,
}

/// Speed, gain and scale, each with how it is known: `measured`, `read`, `given` or `assumed`.
#[derive(Serialize)]
pub struct Calibration {
    pub speed_mm_s: Known<MmPerSecond>,
    pub gain_mm_mv: Known<MmPerMillivolt>,
    /// Where the chest leads are printed at another gain.
    pub chest_gain_mm_mv: Option<Known<MmPerMillivolt>>,
    pub px_per_mm_x: Known<f32>,
    pub px_per_mm_y: Known<f32>,
    /// Clockwise.
    pub rotation_deg: f32,
    /// Root mean square distance of the grid's lines from a flat sheet's.
    pub grid_off_mm: Option<f32>,
}

/// One printed trace.
#[derive(Serialize)]
pub struct Trace {
    pub lead: Lead,
    /// `panel` or `rhythm`.
    pub role: Role,
    pub start_s: f32,
    pub duration_s: f32,
    #[serde(rename = "box")]
    pub corners_px: [[f32; 2]; 4],
    /// How sure the line is where it was found, 0 to 1.
    pub quality: f32,
    /// Share of the time in which it was found, 0 to 1.
    pub coverage: f32,
    /// Predicted signal to error; `null` where it was not predicted.
    pub quality_db: Option<f32>,
    /// Root mean square of the samples' standard deviations, as the trace net believes them.
    pub deviation_mv: Option<f32>,
    /// Ink around the trace that no line explains, square millimetres a millimetre of paper.
    pub unread_mm: Option<f32>,
    pub gain_mm_mv: f32,
    /// What the prediction goes by, by name (`record::quality`).
    pub clues: Option<BTreeMap<&'static str, f32>>,
}

/// A label as it was seen on the page.
#[derive(Serialize)]
pub struct Label<'a> {
    pub class: &'a str,
    pub score: f32,
    #[serde(rename = "box")]
    pub corners_px: [[f32; 2]; 4],
}

/// The picture as it was decoded, upright.
#[derive(Serialize)]
pub struct Page {
    pub width_px: usize,
    pub height_px: usize,
}

impl<'a> Report<'a> {
    pub fn of(delivery: &Delivery<'a>) -> Self {
        let Record {
            status,
            width_px,
            height_px,
            ..
        } = *delivery.record;
        let (record, account): (&'a Record, &'a Account) = (delivery.record, delivery.account);
        let work: &'a Work = &account.work;
        Self {
            id: delivery.id,
            status,
            error: account.error.as_deref(),
            findings: &record.findings,
            layout: record.layout.as_deref(),
            calibration: record.calibration.as_ref().map(calibration),
            sample_rate_hz: record.sample_rate.0,
            duration_s: record.duration.0,
            line_width_mm: record.line_width.map(|width| width.0),
            quality_db: record.quality_db,
            traces: record
                .traces
                .iter()
                .map(|t| trace(t, record.sample_rate.0))
                .collect(),
            labels: record.labels.iter().map(label).collect(),
            page: Page {
                width_px,
                height_px,
            },
            source: &account.source,
            options: &account.options,
            models: &account.models,
            stages: &work.stages,
            seconds: work.seconds,
            labels_gmac: work.labels_gmac,
            trace_gmac: work.trace_gmac,
            peak_memory_mib: work.peak_memory_mib,
            peak_heap_mib: work.peak_heap_mib,
            version: env!("CARGO_PKG_VERSION"),
            origin: record.origin.as_ref(),
        }
    }
}

fn calibration(found: &PageCalibration) -> Calibration {
    Calibration {
        speed_mm_s: found.speed,
        gain_mm_mv: found.gain,
        chest_gain_mm_mv: found.chest_gain,
        px_per_mm_x: found.px_per_mm_x,
        px_per_mm_y: found.px_per_mm_y,
        rotation_deg: found.rotation_deg,
        grid_off_mm: found.grid_off.map(|off| off.0),
    }
}

fn trace(trace: &TraceRecord, rate_hz: f32) -> Trace {
    Trace {
        lead: trace.lead,
        role: trace.role,
        start_s: trace.start.0,
        duration_s: trace.samples.len() as f32 / rate_hz,
        corners_px: trace.corners_px,
        quality: trace.quality,
        coverage: trace.coverage,
        quality_db: trace.quality_db,
        deviation_mv: deviation_mv(trace),
        unread_mm: trace.unread,
        gain_mm_mv: trace.gain.0,
        clues: trace
            .clues
            .map(|clues| CLUES.into_iter().zip(clues.0).collect()),
    }
}

/// Over the samples that are there; `None` where none is, or nothing is known of them.
fn deviation_mv(trace: &TraceRecord) -> Option<f32> {
    let told = trace.deviations.iter().flatten().zip(&trace.samples);
    let squares = told
        .filter(|(_, sample)| sample.is_some())
        .map(|(d, _)| d.0 * d.0);
    let (sum, count) = squares.fold((0.0, 0.0), |(sum, count), v| (sum + v, count + 1.0));
    (count > 0.0).then(|| (sum / count).sqrt())
}

fn label(seen: &SeenLabel) -> Label<'_> {
    Label {
        class: &seen.class,
        score: seen.score,
        corners_px: seen.corners_px,
    }
}

/// What `--resume` reads of a report that an earlier run wrote.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Finished {
    pub status: Status,
    pub error: Option<String>,
    pub source: Source,
    pub options: GivenOptions,
    pub models: Vec<ModelUsed>,
    pub version: String,
}

impl Finished {
    /// `None` where the text is no report of ours.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether a page of this account would come out the same.
    pub fn answers(&self, account: &Account) -> bool {
        self.error.is_none()
            && self.source.sha256.is_some()
            && self.source.sha256 == account.source.sha256
            && self.source.page == account.source.page
            && self.options == account.options
            && self.models == account.models
            && self.version == env!("CARGO_PKG_VERSION")
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::deliver::twelve::tests::{record, trace};
    use crate::record::{Evidence, Severity};

    pub fn account() -> Account {
        let options = GivenOptions {
            fs_hz: 500.0,
            speed_mm_s: None,
            gain_mm_mv: Some(10.0),
            layout: None,
            formats: vec!["csv".to_owned(), "json".to_owned()],
            overlay: false,
        };
        let source = Source {
            file: "a.png".to_owned(),
            sha256: Some("00ff".to_owned()),
            page: None,
            reduction: Some(1),
        };
        let models = vec![ModelUsed {
            name: "labels".to_owned(),
            sha256: "12".to_owned(),
        }];
        Account {
            source,
            options,
            models,
            work: Work::default(),
            error: None,
        }
    }

    fn text(record: &Record, account: &Account) -> String {
        let mut out = Vec::new();
        Json.write(
            &Delivery {
                id: "a",
                record,
                account,
            },
            "json",
            &mut out,
        )
        .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_report_says_what_is_known_and_no_samples() {
        let mut record = record(
            500.0,
            2.5,
            vec![trace(Lead::Avr, Role::Panel, 1.5, &[None; 50])],
        );
        let note = Finding::new(
            Severity::Warning,
            "gaps",
            Some(Lead::Avr),
            "aVR: gaps".to_owned(),
        );
        record.findings.push(note);
        let given = Known {
            value: 8.0,
            evidence: Evidence::Measured,
        };
        record.calibration = Some(PageCalibration {
            speed: Known {
                value: MmPerSecond(25.0),
                evidence: Evidence::Read,
            },
            gain: Known {
                value: MmPerMillivolt(10.0),
                evidence: Evidence::Assumed,
            },
            chest_gain: None,
            px_per_mm_x: given,
            px_per_mm_y: given,
            rotation_deg: 0.5,
            grid_off: None,
        });
        let report: serde_json::Value = serde_json::from_str(&text(&record, &account())).unwrap();
        assert_eq!(report["status"], "ok");
        assert_eq!(report["layout"], "3x4+1R");
        assert_eq!(report["calibration"]["speed_mm_s"]["value"], 25.0);
        assert_eq!(report["calibration"]["gain_mm_mv"]["evidence"], "assumed");
        let trace = &report["traces"][0];
        assert_eq!(
            (&trace["lead"], &trace["role"]),
            (&"aVR".into(), &"panel".into())
        );
        assert_eq!(
            (&trace["start_s"], &trace["box"][1][0]),
            (&1.5.into(), &110.0.into())
        );
        assert!(trace.get("samples").is_none());
        assert_eq!(report["findings"][0]["code"], "gaps");
        assert_eq!(report["source"]["sha256"], "00ff");
    }

    #[test]
    fn a_finished_report_answers_the_same_page_and_options_only() {
        let account = account();
        let found = Finished::parse(&text(&record(500.0, 1.0, Vec::new()), &account)).unwrap();
        assert!(found.answers(&account));
        let changed = |change: &dyn Fn(&mut Account)| {
            let mut other = account.clone();
            change(&mut other);
            found.answers(&other)
        };
        assert!(!changed(&|a| a.source.sha256 = Some("00fe".to_owned())));
        assert!(!changed(&|a| a.source.sha256 = None));
        assert!(!changed(&|a| a.options.fs_hz = 250.0));
        assert!(!changed(&|a| a.models[0].sha256 = "13".to_owned()));
        assert!(Finished::parse("{}").is_none() && Finished::parse("").is_none());
    }

    #[test]
    fn a_failed_page_is_never_finished() {
        let mut account = account();
        account.error = Some("a.png: the file is empty".to_owned());
        let found = Finished::parse(&text(&record(500.0, 1.0, Vec::new()), &account)).unwrap();
        assert!(!found.answers(&account));
    }
}
