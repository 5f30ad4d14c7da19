//! Checks on the digitized signals, each a function that returns findings.
//!
//! In: the traces of one page. Out: `Finding`s. A check never changes a signal: the leads' own
//! redundancy is a quality flag, not a corrector (field experience: blending by Einthoven's law
//! gains 0.05 dB and hides swapped leads).

use super::{Finding, Role, Severity, TraceRecord};
use crate::labels::Lead;
use crate::math;
use crate::units::{Hertz, Seconds};

/// A lead of which less than this share was found is reported.
const COVERAGE_OK: f32 = 0.9;
/// Less than this is no signal.
const COVERAGE_MIN: f32 = 0.5;
/// A line that the net is less sure of than this, on average, is reported.
const QUALITY_OK: f32 = 0.6;
/// Root mean square of what the laws leave over, as a share of the leads' own.
const RESIDUAL_MAX: f32 = 0.5;
/// Fewer common samples than half a second's tell nothing.
const COMMON_S_MIN: f32 = 0.5;
/// Least correlation between a rhythm strip and the same lead's panel.
pub(super) const RHYTHM_CORRELATION_MIN: f32 = 0.7;
/// The same where the panel is not shown at its own time.
const SIMULTANEOUS_CORRELATION_MIN: f32 = 0.9;
/// A panel may lie this far from its place in the rhythm strip.
const RHYTHM_LAG_S: f32 = 0.2;

/// All checks, in the order in which a reader wants to know.
pub fn check(traces: &[TraceRecord], rate: Hertz) -> Vec<Finding> {
    let mut findings: Vec<Finding> = traces.iter().filter_map(coverage).collect();
    findings.extend(traces.iter().filter_map(quality));
    findings.extend(einthoven(traces, rate));
    findings.extend(goldberger(traces, rate));
    findings.extend(rhythm(traces, rate));
    findings
}

fn coverage(trace: &TraceRecord) -> Option<Finding> {
    if trace.coverage >= COVERAGE_OK {
        return None;
    }
    let name = trace.lead.name();
    let percent = (100.0 * trace.coverage).round();
    let (code, message) = if trace.coverage < COVERAGE_MIN {
        (
            "lost",
            format!("{name}: only {percent} % of the line was found; use the paper"),
        )
    } else {
        (
            "gaps",
            format!("{name}: {percent} % of the line was found, the rest is left empty"),
        )
    };
    Some(Finding::new(
        Severity::Warning,
        code,
        Some(trace.lead),
        message,
    ))
}

fn quality(trace: &TraceRecord) -> Option<Finding> {
    (trace.quality < QUALITY_OK).then(|| {
        let message = format!(
            "{}: the line is faint, crossed or blurred; compare it with the overlay",
            trace.lead.name()
        );
        Finding::new(Severity::Warning, "unsure", Some(trace.lead), message)
    })
}

/// I - II + III = 0 (Einthoven, 1912).
fn einthoven(traces: &[TraceRecord], rate: Hertz) -> Option<Finding> {
    let residual = residual_of_limbs(traces, rate)?;
    (residual > RESIDUAL_MAX).then(|| {
        let message = format!(
            "I, II and III contradict each other by {:.0} % (Einthoven's law): \
             a lead may be misread, swapped or misnamed",
            100.0 * residual
        );
        Finding::new(Severity::Warning, "einthoven", None, message)
    })
}

/// aVR + aVL + aVF = 0 (Goldberger, 1942).
fn goldberger(traces: &[TraceRecord], rate: Hertz) -> Option<Finding> {
    let avr = traces.iter().find(|t| is_avr(t))?.lead;
    let residual = goldberger_residual(traces, avr, rate)?;
    (residual > RESIDUAL_MAX).then(|| {
        let message = format!(
            "aVR, aVL and aVF contradict each other by {:.0} % (Goldberger): \
             a lead may be misread, swapped or misnamed",
            100.0 * residual
        );
        Finding::new(Severity::Warning, "goldberger", None, message)
    })
}

/// What Einthoven's and Goldberger's sums leave over, the larger one; `None` where neither is known.
pub fn contradiction(traces: &[TraceRecord], rate: Hertz) -> Option<f32> {
    let avr = traces.iter().find(|t| is_avr(t)).map(|t| t.lead);
    let goldberger = avr.and_then(|avr| goldberger_residual(traces, avr, rate));
    let residuals = [residual_of_limbs(traces, rate), goldberger];
    residuals.into_iter().flatten().max_by(f32::total_cmp)
}

fn is_avr(trace: &TraceRecord) -> bool {
    matches!(trace.lead, Lead::Avr | Lead::MinusAvr)
}

/// What I - II + III leaves over, as a share of the leads.
pub(super) fn residual_of_limbs(traces: &[TraceRecord], rate: Hertz) -> Option<f32> {
    residual(
        traces,
        [(Lead::I, 1.0), (Lead::II, -1.0), (Lead::III, 1.0)],
        rate,
    )
}

/// What aVR, or -aVR, leaves over with aVL and aVF, as a share of the leads.
pub(super) fn goldberger_residual(traces: &[TraceRecord], avr: Lead, rate: Hertz) -> Option<f32> {
    let sign = if avr == Lead::MinusAvr { -1.0 } else { 1.0 };
    residual(
        traces,
        [(avr, sign), (Lead::Avl, 1.0), (Lead::Avf, 1.0)],
        rate,
    )
}

/// Root mean square of the weighted sum over that of the leads; `None` where the panels share no
/// time. Each lead's median is its zero.
fn residual(traces: &[TraceRecord], leads: [(Lead, f32); 3], rate: Hertz) -> Option<f32> {
    let panel = |lead| {
        traces
            .iter()
            .find(|t| t.lead == lead && t.role == Role::Panel)
    };
    let parts = [panel(leads[0].0)?, panel(leads[1].0)?, panel(leads[2].0)?];
    let zeros = [median(parts[0])?, median(parts[1])?, median(parts[2])?];
    let start = parts
        .iter()
        .map(|t| t.start.0)
        .fold(f32::NEG_INFINITY, f32::max);
    let first = parts.map(|t| ((start - t.start.0) * rate.0).round() as usize);
    let length = (0..3)
        .map(|k| parts[k].samples.len().saturating_sub(first[k]))
        .min()?;
    let (mut count, mut left, mut power) = (0usize, 0.0f32, 0.0f32);
    for n in 0..length {
        let values: [Option<f32>; 3] = std::array::from_fn(|k| {
            parts[k].samples[first[k] + n].map(|mv| leads[k].1 * (mv.0 - zeros[k]))
        });
        let [Some(a), Some(b), Some(c)] = values else {
            continue;
        };
        count += 1;
        left += math::square(a + b + c);
        power += (a * a + b * b + c * c) / 2.0;
    }
    (count as f32 >= COMMON_S_MIN * rate.0 && power > 0.0).then(|| (left / power).sqrt())
}

pub(super) fn median(trace: &TraceRecord) -> Option<f32> {
    math::median(trace.samples.iter().flatten().map(|mv| mv.0).collect())
}

/// A rhythm strip shows the same as its lead's panel: at the panel's time, or, where the columns
/// are printed from one time each, at its own beginning.
fn rhythm(traces: &[TraceRecord], rate: Hertz) -> Vec<Finding> {
    let strips = traces.iter().filter(|t| t.role == Role::Rhythm);
    let mut findings: Vec<Finding> = strips
        .filter_map(|strip| {
            let panel = traces
                .iter()
                .find(|t| t.lead == strip.lead && t.role == Role::Panel)?;
            let best = correlation(strip, panel, rate)?;
            if best >= RHYTHM_CORRELATION_MIN {
                return None;
            }
            let at_once = compared(strip, panel, strip.start, rate, pearson);
            let at_once = at_once.into_iter().max_by(f32::total_cmp)?;
            Some(if at_once >= SIMULTANEOUS_CORRELATION_MIN {
                simultaneous()
            } else {
                differ(strip.lead, best)
            })
        })
        .collect();
    findings.dedup();
    findings
}

fn simultaneous() -> Finding {
    let message = "a rhythm strip shows its lead's panel at the beginning: the columns are \
                   simultaneous, each is printed from the same time; the signals tell times from \
                   the left edge of the paper";
    Finding::new(Severity::Note, "simultaneous", None, message.to_owned())
}

fn differ(lead: Lead, correlation: f32) -> Finding {
    let message = format!(
        "the rhythm strip {0} and the panel {0} differ (correlation {correlation:.2}): \
         they may not be of one time, or one is misread",
        lead.name()
    );
    Finding::new(Severity::Warning, "rhythm", Some(lead), message)
}

/// Best correlation of `panel` with `strip` at the panel's time, lags up to `RHYTHM_LAG_S`.
pub(super) fn correlation(strip: &TraceRecord, panel: &TraceRecord, rate: Hertz) -> Option<f32> {
    let found = compared(strip, panel, panel.start, rate, pearson);
    found.into_iter().max_by(f32::total_cmp)
}

/// What is left of `strip` when `panel` is taken away at its time, as a share of the strip (rms
/// over rms, both without their means), at the best lag up to `RHYTHM_LAG_S`. The height counts
/// here: two limb leads often correlate, but are seldom equally high.
pub(super) fn difference(strip: &TraceRecord, panel: &TraceRecord, rate: Hertz) -> Option<f32> {
    let found = compared(strip, panel, panel.start, rate, unlike);
    found.into_iter().min_by(f32::total_cmp)
}

/// `compare` of the pairs (panel, strip) in mV, the panel shown from `start`, at each lag that leaves
/// `COMMON_S_MIN` of them.
fn compared(
    strip: &TraceRecord,
    panel: &TraceRecord,
    start: Seconds,
    rate: Hertz,
    compare: impl Fn(&[(f32, f32)]) -> f32,
) -> Vec<f32> {
    let reach = (RHYTHM_LAG_S * rate.0) as isize;
    let offset = ((start.0 - strip.start.0) * rate.0).round() as isize;
    let at = |lag: isize| {
        let pairs: Vec<(f32, f32)> = panel
            .samples
            .iter()
            .enumerate()
            .filter_map(|(n, mv)| {
                let index = usize::try_from(n as isize + offset + lag).ok()?;
                Some((mv.as_ref()?.0, strip.samples.get(index)?.as_ref()?.0))
            })
            .collect();
        (pairs.len() as f32 >= COMMON_S_MIN * rate.0).then(|| compare(&pairs))
    };
    (-reach..=reach).step_by(4).filter_map(at).collect()
}

fn unlike(pairs: &[(f32, f32)]) -> f32 {
    let spread = |f: fn(&(f32, f32)) -> f32| {
        let mean = pairs.iter().map(f).sum::<f32>() / pairs.len() as f32;
        pairs.iter().map(|p| math::square(f(p) - mean)).sum::<f32>()
    };
    (spread(|p| p.1 - p.0) / spread(|p| p.1).max(1e-9)).sqrt()
}

fn pearson(pairs: &[(f32, f32)]) -> f32 {
    let n = pairs.len() as f32;
    let mean = |f: fn(&(f32, f32)) -> f32| pairs.iter().map(f).sum::<f32>() / n;
    let (a, b) = (mean(|p| p.0), mean(|p| p.1));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        ab += (x - a) * (y - b);
        aa += math::square(x - a);
        bb += math::square(y - b);
    }
    ab / (aa * bb).sqrt().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Millivolt, MmPerMillivolt};

    fn trace(lead: Lead, role: Role, start_s: f32, mv: impl Fn(f32) -> f32) -> TraceRecord {
        let seconds = if role == Role::Rhythm { 10.0 } else { 2.5 };
        let count = (seconds * 500.0) as usize;
        let at = |k: usize| Some(Millivolt(mv(start_s + k as f32 / 500.0)));
        TraceRecord {
            lead,
            role,
            start: Seconds(start_s),
            samples: (0..count).map(at).collect(),
            deviations: None,
            corners_px: [[0.0; 2]; 4],
            line_px: Vec::new(),
            quality: 0.9,
            quality_db: None,
            clues: None,
            unread: None,
            leaps: None,
            spikes: Vec::new(),
            coverage: 1.0,
            gain: MmPerMillivolt(10.0),
        }
    }

    fn beat(t: f32) -> f32 {
        (-((t % 0.8 - 0.4) / 0.02).powi(2)).exp()
    }

    fn limb(third: f32) -> Vec<TraceRecord> {
        vec![
            trace(Lead::I, Role::Panel, 0.0, |t| 0.4 * beat(t)),
            trace(Lead::II, Role::Panel, 0.0, |t| 1.0 * beat(t)),
            trace(Lead::III, Role::Panel, 0.0, move |t| third * beat(t)),
        ]
    }

    fn codes(traces: &[TraceRecord]) -> Vec<String> {
        check(traces, Hertz(500.0))
            .into_iter()
            .map(|finding| finding.code)
            .collect()
    }

    #[test]
    fn leads_that_agree_give_no_finding() {
        assert!(codes(&limb(0.6)).is_empty());
    }

    #[test]
    fn an_inverted_lead_breaks_einthoven() {
        assert_eq!(codes(&limb(-0.6)), ["einthoven"]);
    }

    #[test]
    fn augmented_leads_that_do_not_sum_to_zero_are_found() {
        let augmented = |avf: f32| {
            vec![
                trace(Lead::Avr, Role::Panel, 2.5, |t| -0.7 * beat(t)),
                trace(Lead::Avl, Role::Panel, 2.5, |t| -0.1 * beat(t)),
                trace(Lead::Avf, Role::Panel, 2.5, move |t| avf * beat(t)),
            ]
        };
        assert!(codes(&augmented(0.8)).is_empty());
        assert_eq!(codes(&augmented(-0.8)), ["goldberger"]);
    }

    #[test]
    fn a_strip_of_another_lead_differs_from_its_panel() {
        let page = |wave: fn(f32) -> f32| {
            vec![
                trace(Lead::V1, Role::Panel, 5.0, beat),
                trace(Lead::V1, Role::Rhythm, 0.0, wave),
            ]
        };
        assert!(codes(&page(beat)).is_empty());
        assert_eq!(codes(&page(|t| (t * 9.0).sin())), ["rhythm"]);
    }

    #[test]
    fn simultaneous_columns_are_told_and_are_no_fault() {
        let wave = |t: f32| beat(t) + 0.3 * (t * 0.9).sin();
        let traces = vec![
            trace(Lead::V1, Role::Panel, 5.0, move |t| wave(t - 5.0)),
            trace(Lead::V1, Role::Rhythm, 0.0, move |t| {
                if t < 2.5 { wave(t) } else { beat(1.3 * t) }
            }),
        ];
        assert_eq!(codes(&traces), ["simultaneous"]);
    }

    #[test]
    fn a_lead_that_is_half_lost_is_named() {
        let mut traces = limb(0.6);
        traces[1].coverage = 0.4;
        traces[2].coverage = 0.8;
        assert_eq!(codes(&traces), ["lost", "gaps"]);
    }
}
