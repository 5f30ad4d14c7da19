//! What a record of the test page says against what the page shows.
//!
//! In: the record. Out: `Comparison`: how late it is as a whole, how fast its time runs, its gain
//! against the page's, and for each trace what is left once lateness and a constant are taken out,
//! in microvolt. A lead may be missing; a record without a trace of the page has no comparison.

use serde::Serialize;

use super::{DURATION_S, beats};
use crate::labels::Lead;
use crate::record::{Record, Role, TraceRecord};
use crate::units::Seconds;

/// Lateness is looked for up to this, in these steps.
const LATE_S_MAX: f32 = 0.1;
const LATE_S_STEP: f32 = 0.002;
/// Parts of the recording whose lateness is compared with each other.
const PARTS: usize = 4;

/// One trace of the page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceError {
    pub lead: Lead,
    pub role: Role,
    /// Root of the mean square, and the most, of what is wrong.
    pub rms_uv: f32,
    pub worst_uv: f32,
    /// The constant that was taken out.
    pub offset_uv: f32,
    /// Share of the trace's time that was read.
    pub coverage: f32,
}

/// A record against the page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The record's times are this much too large.
    pub late_ms: f32,
    /// How much longer the record's seconds are than the page's, as a ratio to these.
    pub time_error: f32,
    /// How much larger the record's millivolts are.
    pub gain_error: f32,
    pub traces: Vec<TraceError>,
}

/// Pairs of what the page shows and what was read, in microvolt.
type Pairs = Vec<[f32; 2]>;

/// Compares; `None` where nothing of the page is in the record.
pub fn compare(record: &Record) -> Option<Comparison> {
    let rate_hz = record.sample_rate.0;
    let whole = 0.0..DURATION_S;
    let late_s = lateness(record, rate_hz, &whole)?;
    let all: Vec<(&TraceRecord, Pairs)> = record
        .traces
        .iter()
        .map(|trace| (trace, pairs(trace, rate_hz, late_s, &whole)))
        .filter(|(_, pairs)| !pairs.is_empty())
        .collect();
    let (mut shown, mut both) = (0.0, 0.0);
    for (_, pairs) in &all {
        let [page, read] = means(pairs);
        shown += pairs
            .iter()
            .map(|p| (p[0] - page) * (p[0] - page))
            .sum::<f32>();
        both += pairs
            .iter()
            .map(|p| (p[0] - page) * (p[1] - read))
            .sum::<f32>();
    }
    Some(Comparison {
        late_ms: late_s * 1000.0,
        time_error: time_error(record, rate_hz, late_s),
        gain_error: both / shown - 1.0,
        traces: all
            .iter()
            .map(|(trace, pairs)| error(trace, pairs))
            .collect(),
    })
}

fn error(trace: &TraceRecord, pairs: &Pairs) -> TraceError {
    let [page, read] = means(pairs);
    let off = || pairs.iter().map(|p| p[1] - p[0] - (read - page));
    let square: f32 = off().map(|off| off * off).sum();
    TraceError {
        lead: trace.lead,
        role: trace.role,
        rms_uv: (square / pairs.len() as f32).sqrt(),
        worst_uv: off().fold(0.0, |worst, off| worst.max(off.abs())),
        offset_uv: read - page,
        coverage: trace.coverage,
    }
}

fn means(pairs: &Pairs) -> [f32; 2] {
    let mean = |k: usize| pairs.iter().map(|p| p[k]).sum::<f32>() / pairs.len() as f32;
    [mean(0), mean(1)]
}

/// Samples of a trace within `part` of the recording's seconds, beside what the page shows then.
fn pairs(trace: &TraceRecord, rate_hz: f32, late_s: f32, part: &std::ops::Range<f32>) -> Pairs {
    let pair = |(k, sample): (usize, &Option<crate::units::Millivolt>)| {
        let time_s = trace.start.0 + k as f32 / rate_hz;
        let read = sample.filter(|_| part.contains(&time_s))?;
        let shown = beats::at(trace.lead, Seconds(time_s - late_s))?;
        Some([1000.0 * shown.0, 1000.0 * read.0])
    };
    trace.samples.iter().enumerate().filter_map(pair).collect()
}

/// How late the record is within `part`, to a fraction of a step.
fn lateness(record: &Record, rate_hz: f32, part: &std::ops::Range<f32>) -> Option<f32> {
    if record
        .traces
        .iter()
        .all(|trace| pairs(trace, rate_hz, 0.0, part).is_empty())
    {
        return None;
    }
    let steps = (LATE_S_MAX / LATE_S_STEP).round() as isize;
    let wrong: Vec<f32> = (-steps..=steps)
        .map(|step| {
            let late_s = step as f32 * LATE_S_STEP;
            let of = |trace| {
                let pairs = pairs(trace, rate_hz, late_s, part);
                let [page, read] = means(&pairs);
                let off = |p: &[f32; 2]| p[1] - p[0] - (read - page);
                pairs.iter().map(|p| off(p) * off(p)).sum::<f32>()
            };
            record.traces.iter().map(of).sum()
        })
        .collect();
    let (best, least) = wrong.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1))?;
    let beside = |k: Option<usize>| k.and_then(|k| wrong.get(k)).copied();
    let bend = match (beside(best.checked_sub(1)), beside(best.checked_add(1))) {
        // The lowest point of the parabola through the three.
        (Some(a), Some(b)) if a + b > 2.0 * least => 0.5 * (a - b) / (a + b - 2.0 * least),
        _ => 0.0,
    };
    Some((best as f32 - steps as f32 + bend) * LATE_S_STEP)
}

/// The slope of lateness along the recording.
fn time_error(record: &Record, rate_hz: f32, late_s: f32) -> f32 {
    let length = DURATION_S / PARTS as f32;
    let found: Vec<[f32; 2]> = (0..PARTS)
        .filter_map(|k| {
            let from = k as f32 * length;
            let late = lateness(record, rate_hz, &(from..from + length))?;
            Some([from + length / 2.0, late - late_s])
        })
        .collect();
    if found.len() < 2 {
        return 0.0;
    }
    let [time, late] = means(&found);
    let square: f32 = found.iter().map(|p| (p[0] - time) * (p[0] - time)).sum();
    let both: f32 = found.iter().map(|p| (p[0] - time) * (p[1] - late)).sum();
    both / square
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Finding, Severity};
    use crate::units::{Hertz, Millivolt, MmPerMillivolt};

    /// A record whose samples are what `mv` makes of the time and the page's millivolt there.
    fn record(mv: impl Fn(f32) -> f32, gain: f32) -> Record {
        let finding = Finding::new(Severity::Note, "drawn", None, String::new());
        let mut record = Record::without_page(Hertz(500.0), finding);
        for (lead, start_s) in [
            (Lead::I, 0.0),
            (Lead::Avl, 2.5),
            (Lead::V3, 5.0),
            (Lead::V6, 7.5),
        ] {
            let sample = |k: usize| {
                let shown = beats::at(lead, Seconds(mv(start_s + k as f32 / 500.0)))?;
                Some(Millivolt(gain * shown.0 + 0.1))
            };
            record.traces.push(TraceRecord {
                lead,
                role: Role::Panel,
                start: Seconds(start_s),
                samples: (0..1250).map(sample).collect(),
                deviations: None,
                corners_px: [[0.0; 2]; 4],
                line_px: Vec::new(),
                quality: 1.0,
                quality_db: None,
                clues: None,
                unread: None,
                leaps: None,
                spikes: Vec::new(),
                coverage: 1.0,
                gain: MmPerMillivolt(10.0),
            });
        }
        record
    }

    #[test]
    fn what_is_the_pages_differs_in_nothing() {
        let found = compare(&record(|t| t, 1.0)).unwrap();
        assert!(
            found.late_ms.abs() < 0.1 && found.time_error.abs() < 1e-4,
            "{found:?}"
        );
        assert!(found.gain_error.abs() < 1e-3, "{found:?}");
        for trace in &found.traces {
            assert!(
                trace.rms_uv < 1.0 && (trace.offset_uv - 100.0).abs() < 1.0,
                "{trace:?}"
            );
        }
    }

    #[test]
    fn gain_lateness_and_speed_are_told_apart() {
        let found = compare(&record(|t| t - 0.021, 1.03)).unwrap();
        assert!((found.late_ms - 21.0).abs() < 0.5, "{found:?}");
        assert!((found.gain_error - 0.03).abs() < 0.002, "{found:?}");
        let found = compare(&record(|t| t / 1.004, 1.0)).unwrap();
        assert!((found.time_error - 0.004).abs() < 0.0005, "{found:?}");
    }

    #[test]
    fn a_record_of_another_page_has_no_comparison() {
        assert_eq!(
            compare(&Record {
                traces: Vec::new(),
                ..record(|t| t, 1.0)
            }),
            None
        );
    }
}
