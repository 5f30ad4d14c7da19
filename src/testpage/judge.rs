//! Whether a record of the test page is good enough, and what to do where it is not.
//!
//! In: the record's comparison, its calibration, the resolution that the picture's file states. Out:
//! `Scale` and `Fault`s, each with what mends it. Paper that was printed at another size still reads
//! right, since its millimetres shrank with it; only a scanner that knows its resolution can tell,
//! so where the file states none, the absolute scale is unknown, never assumed.

use serde::Serialize;

use super::compare::Comparison;
use super::{GAIN_MM_MV, LAYOUT, MM_AN_INCH, SPEED_MM_S};
use crate::record::{PageCalibration, Record, Status};

/// A printer or scanner is this far off at most, as a ratio.
const SCALE_OFF_MAX: f32 = 0.01;
/// Signals are this far off at most. On pages printed and scanned by simulation (150 to 200 dpi, up
/// to 1.5 degrees, grey, on its side) they were 2.1 %, 16 ms and 7 uV off.
const GAIN_OFF_MAX: f32 = 0.05;
const TIME_OFF_MAX: f32 = 0.01;
const LATE_MS_MAX: f32 = 40.0;
const RMS_UV_MAX: f32 = 30.0;
const COVERAGE_MIN: f32 = 0.95;
const TRACE_COUNT: usize = 13;

/// How large the page came out, as a ratio to its true size: 0.03 is 3 % too large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Scale {
    pub px_per_mm_x: f32,
    pub px_per_mm_y: f32,
    /// `None` where the resolution of the picture is not known.
    pub error_x: Option<f32>,
    pub error_y: Option<f32>,
    /// How much wider than high: told by the picture alone.
    pub ratio_error: f32,
}

/// What is wrong, and what mends it.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[error("{what}; {fix}")]
pub struct Fault {
    pub what: String,
    pub fix: String,
}

impl Fault {
    pub fn new(what: impl ToString, fix: impl ToString) -> Self {
        Self {
            what: what.to_string(),
            fix: fix.to_string(),
        }
    }
}

/// The page's size in a picture of which so many pixels are an inch, along both of its axes.
pub fn scale(calibration: &PageCalibration, dpi: Option<[f32; 2]>) -> Scale {
    let (x, y) = (calibration.px_per_mm_x.value, calibration.px_per_mm_y.value);
    // A page that lies on its side has its x along the picture's y.
    let is_turned = (calibration.rotation_deg.abs() % 180.0 - 90.0).abs() < 45.0;
    let dpi = dpi.map(|[x, y]| if is_turned { [y, x] } else { [x, y] });
    let error =
        |px_per_mm: f32, axis: usize| dpi.map(|dpi| px_per_mm * MM_AN_INCH / dpi[axis] - 1.0);
    let stretch = dpi.map_or(1.0, |[x, y]| y / x);
    Scale {
        px_per_mm_x: x,
        px_per_mm_y: y,
        error_x: error(x, 0),
        error_y: error(y, 1),
        ratio_error: x / y * stretch - 1.0,
    }
}

/// What is wrong with the size.
pub fn judge_scale(scale: &Scale) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (error, axis) in [(scale.error_x, "across"), (scale.error_y, "down")] {
        if let Some(error) = error.filter(|error| !is_within(*error, SCALE_OFF_MAX)) {
            let what = format!("the page is {} {axis}", percent(error));
            let fix = "print at 100 %, not fitted to the page; if both rulers are 100 mm long, \
                       the scanner's resolution is not what its file says";
            faults.push(Fault::new(what, fix));
        }
    }
    if !is_within(scale.ratio_error, SCALE_OFF_MAX) {
        let what = format!(
            "the page is {} across than down",
            percent(scale.ratio_error)
        );
        let fix = "measure both rulers: if they are equal, the scanner or camera stretches";
        faults.push(Fault::new(what, fix));
    }
    faults
}

/// False for what is no number.
fn is_within(error: f32, most: f32) -> bool {
    error.abs() <= most
}

fn percent(error: f32) -> String {
    let word = if error > 0.0 { "longer" } else { "shorter" };
    format!("{:.1} % {word}", 100.0 * error.abs())
}

/// What is wrong with what was read; the page must have been understood for a comparison.
pub fn judge(record: &Record, comparison: Option<&Comparison>) -> Vec<Fault> {
    let (Some(comparison), Some(calibration)) = (comparison, &record.calibration) else {
        return vec![unread(record)];
    };
    let mut faults = Vec::new();
    let mut hold = |holds: bool, what: String, fix: &str| {
        if !holds {
            faults.push(Fault::new(what, fix));
        }
    };
    let sharper = "scan it flat and whole at 200 dpi or more, without the picture's improvements";
    let layout = record.layout.as_deref().unwrap_or("none");
    hold(
        layout == LAYOUT,
        format!("the layout was read as {layout}, not {LAYOUT}"),
        sharper,
    );
    let (speed, gain) = (calibration.speed.value.0, calibration.gain.value.0);
    let is_usual = speed == SPEED_MM_S && gain == GAIN_MM_MV;
    hold(
        is_usual,
        format!("the page was read at {speed} mm/s and {gain} mm/mV, not 25 and 10"),
        sharper,
    );
    let Comparison {
        late_ms,
        time_error,
        gain_error,
        traces,
    } = comparison;
    let what = format!("voltages are {} than printed", percent(*gain_error));
    let bolder = "scan in colour or grey, at normal contrast; if it stays, this build or its models \
                  are damaged: install leadscan again";
    hold(is_within(*gain_error, GAIN_OFF_MAX), what, bolder);
    let what = format!("times are {} than printed", percent(*time_error));
    hold(
        is_within(*time_error, TIME_OFF_MAX),
        what,
        "lay the page flat",
    );
    let what = format!("the recording begins {late_ms:.0} ms off");
    hold(is_within(*late_ms, LATE_MS_MAX), what, sharper);
    let count = traces.len();
    hold(
        count == TRACE_COUNT,
        format!("{count} of {TRACE_COUNT} traces were read"),
        sharper,
    );
    let off = traces
        .iter()
        .filter(|trace| !is_within(trace.rms_uv, RMS_UV_MAX));
    let off: Vec<String> = off
        .map(|trace| format!("{} {:.0}", trace.lead.name(), trace.rms_uv))
        .collect();
    let what = format!("traces are off (rms, in uV): {}", off.join(", "));
    hold(off.is_empty(), what, sharper);
    let short = traces.iter().filter(|trace| trace.coverage < COVERAGE_MIN);
    let short: Vec<String> = short
        .map(|trace| format!("{} {:.0} %", trace.lead.name(), 100.0 * trace.coverage))
        .collect();
    let what = format!("traces were read in part: {}", short.join(", "));
    hold(short.is_empty(), what, sharper);
    faults
}

fn unread(record: &Record) -> Fault {
    let reason = record
        .findings
        .iter()
        .max_by_key(|finding| finding.severity);
    let reason = match record.status {
        Status::Rejected => reason.map_or("no reason was given", |finding| &finding.message),
        Status::Ok | Status::Warning => "there is nothing of the test page on it",
    };
    let fix = "give a picture of the page that `leadscan testpage --out` wrote, whole and sharp";
    Fault::new(format!("the page was not read: {reason}"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Evidence, Known};
    use crate::units::{MmPerMillivolt, MmPerSecond};

    fn known<T>(value: T) -> Known<T> {
        let evidence = Evidence::Measured;
        Known { value, evidence }
    }

    fn calibration(x: f32, y: f32, rotation_deg: f32) -> PageCalibration {
        PageCalibration {
            speed: known(MmPerSecond(25.0)),
            gain: known(MmPerMillivolt(10.0)),
            chest_gain: None,
            px_per_mm_x: known(x),
            px_per_mm_y: known(y),
            rotation_deg,
            grid_off: None,
        }
    }

    #[test]
    fn a_page_fitted_to_the_paper_is_told_where_the_resolution_is_known() {
        let fitted = calibration(0.97 * 200.0 / 25.4, 0.97 * 200.0 / 25.4, 0.3);
        let told = judge_scale(&scale(&fitted, Some([200.0; 2])));
        assert_eq!(told.len(), 2);
        assert!(
            told[0]
                .to_string()
                .starts_with("the page is 3.0 % shorter across; print at 100 %")
        );
        let unknown = scale(&fitted, None);
        assert_eq!((unknown.error_x, judge_scale(&unknown).len()), (None, 0));
    }

    #[test]
    fn a_page_stretched_one_way_is_told_from_the_picture_alone() {
        let told = judge_scale(&scale(&calibration(8.1, 7.9, 0.0), None));
        assert!(
            told[0].what.contains("2.5 % longer across than down"),
            "{told:?}"
        );
    }

    #[test]
    fn a_page_on_its_side_lies_along_the_pictures_other_axis() {
        let turned = scale(
            &calibration(300.0 / 25.4, 200.0 / 25.4, -89.5),
            Some([200.0, 300.0]),
        );
        assert_eq!(judge_scale(&turned), []);
    }
}
