//! Whether a rhythm strip is the lead that its label says.
//!
//! In: the traces of one page. Out: the same traces, a strip renamed where it shows another panel
//! than its own, or named where it had no label, and the `Finding` that says so: a note where the
//! strip is the panel's own ink and no other's, else a warning. A panel's name
//! stands firm, its place in the layout tells it; a strip's hangs on one small label, and `V1` and
//! `V4` are alike. `II` and `aVF` are not, though their signals often are: there, the strip itself
//! may be misread.

use super::checks::{RHYTHM_CORRELATION_MIN, correlation, difference, goldberger_residual};
use super::{Finding, Role, Severity, TraceRecord};
use crate::labels::Lead;
use crate::units::Hertz;

/// A strip shows a panel if it correlates with it this well.
const SHOWN_MIN: f32 = 0.9;

/// A strip is the same ink as another's panel, not its own's, where their difference is at most this
/// share of the strip, and its own panel's is so many times that. A strip and its panel differ by
/// 0.02 to 0.1 on scans, to 0.2 on photographs; leads whose beats are alike by 0.3 and more.
const SAME_MAX: f32 = 0.25;
const OWN_TIMES: f32 = 2.5;

/// aVR, aVL and aVF contradict each other by more than this share with one sign, and by less than
/// that with the other.
const SIGN_BROKEN_MIN: f32 = 0.8;
const SIGN_KEPT_MAX: f32 = 0.4;

/// What being a usual strip's lead counts, as correlation.
const USUAL_BONUS: f32 = 0.05;

/// Renames the strips that show another lead's panel.
pub fn name_strips(traces: &mut [TraceRecord], rate: Hertz) -> Vec<Finding> {
    let strips: Vec<usize> = (0..traces.len())
        .filter(|k| traces[*k].role == Role::Rhythm)
        .collect();
    let mut findings = Vec::new();
    for k in strips {
        let Some(lead) = shown(traces, k, rate) else {
            continue;
        };
        let message = format!(
            "the rhythm strip was read as {}, but it shows the panel {1}: it is taken as {1}",
            traces[k].lead.name(),
            lead.name()
        );
        traces[k].lead = lead;
        let severity = severity(traces, k, rate);
        findings.push(Finding::new(severity, "renamed", Some(lead), message));
    }
    findings
}

/// Calls aVR by its sign, on layouts that print either: aVR + aVL + aVF = 0 (Goldberger, 1942) holds
/// whatever the electrodes, so where one sign breaks it and the other keeps it, the label was
/// misread.
pub fn sign_avr(traces: &mut [TraceRecord], rate: Hertz) -> Option<Finding> {
    let k = traces
        .iter()
        .position(|t| t.role == Role::Panel && matches!(t.lead, Lead::Avr | Lead::MinusAvr))?;
    let read = traces[k].lead;
    let other = if read == Lead::Avr {
        Lead::MinusAvr
    } else {
        Lead::Avr
    };
    let own = goldberger_residual(traces, read, rate)?;
    traces[k].lead = other;
    let turned = goldberger_residual(traces, other, rate)?;
    if own > SIGN_BROKEN_MIN && turned < SIGN_KEPT_MAX {
        let message = format!(
            "{0} was read, but with aVL and aVF it can only be {1}: it is taken as {1}",
            read.name(),
            other.name()
        );
        return Some(Finding::new(Severity::Note, "sign", Some(other), message));
    }
    traces[k].lead = read;
    None
}

/// Adds the strips without a label to `traces`, named after the panels that they show; one that
/// shows none is left out.
pub fn add_unlabelled(
    traces: &mut Vec<TraceRecord>,
    unlabelled: Vec<TraceRecord>,
    rate: Hertz,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for strip in unlabelled {
        let k = traces.len();
        traces.push(strip);
        let finding = if let Some(lead) = best_shown(traces, k, rate, |_| true) {
            traces[k].lead = lead;
            let name = lead.name();
            let message = format!(
                "a rhythm strip's name was not read; it shows the panel {name} and is taken as {name}"
            );
            let severity = severity(traces, k, rate);
            Finding::new(severity, "named", Some(lead), message)
        } else {
            traces.pop();
            let message = "a row without a readable name shows no lead of the page: it is left out";
            Finding::new(Severity::Warning, "unnamed", None, message.to_owned())
        };
        findings.push(finding);
    }
    findings
}

/// How grave it is that strip `k` was given its name: proven by its ink, or likely.
fn severity(traces: &[TraceRecord], k: usize, rate: Hertz) -> Severity {
    if is_own_ink(traces, k, rate) {
        Severity::Note
    } else {
        Severity::Warning
    }
}

/// Whether strip `k` is the ink of its own lead's panel, and of no other.
fn is_own_ink(traces: &[TraceRecord], k: usize, rate: Hertz) -> bool {
    let strip = &traces[k];
    let panels = traces.iter().filter(|t| t.role == Role::Panel);
    let (own, others): (Vec<_>, Vec<_>) = panels.partition(|t| t.lead == strip.lead);
    let off = |panel: &&TraceRecord| difference(strip, panel, rate);
    let Some(own) = own.iter().find_map(off) else {
        return false;
    };
    let nearest = others.iter().filter_map(off).fold(f32::INFINITY, f32::min);
    own <= SAME_MAX && nearest.is_finite() && nearest > OWN_TIMES * own
}

/// The lead that strip `k` shows, where that is another than it is called.
fn shown(traces: &[TraceRecord], k: usize, rate: Hertz) -> Option<Lead> {
    let strip = &traces[k];
    let own = traces
        .iter()
        .find(|t| t.role == Role::Panel && t.lead == strip.lead);
    let Some(own) = own else {
        return best_shown(traces, k, rate, |_| true);
    };
    let alike = |lead| is_alike(lead, strip.lead);
    if correlation(strip, own, rate)? < RHYTHM_CORRELATION_MIN {
        return same_ink(traces, k, rate, |_| true).or_else(|| best_shown(traces, k, rate, alike));
    }
    same_ink(traces, k, rate, alike)
}

/// The lead among those `allowed` whose panel is the ink of strip `k`, as its own name's is not.
fn same_ink(
    traces: &[TraceRecord],
    k: usize,
    rate: Hertz,
    allowed: impl Fn(Lead) -> bool,
) -> Option<Lead> {
    let strip = &traces[k];
    let own = traces
        .iter()
        .find(|t| t.role == Role::Panel && t.lead == strip.lead)?;
    let own = difference(strip, own, rate)?;
    let (least, lead) = candidates(traces, k, allowed)
        .filter_map(|panel| Some((difference(strip, panel, rate)?, panel.lead)))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    (least <= SAME_MAX && own > OWN_TIMES * least).then_some(lead)
}

/// The lead among those `allowed` whose panel strip `k` shows, if no other strip has its name.
fn best_shown(
    traces: &[TraceRecord],
    k: usize,
    rate: Hertz,
    allowed: impl Fn(Lead) -> bool,
) -> Option<Lead> {
    let (best, panel) = candidates(traces, k, allowed)
        .filter_map(|panel| Some((correlation(&traces[k], panel, rate)?, panel)))
        .max_by(|a, b| likelihood(a).total_cmp(&likelihood(b)))?;
    (best >= SHOWN_MIN).then_some(panel.lead)
}

/// The panels of leads that are `allowed` for strip `k` and no other strip's.
fn candidates(
    traces: &[TraceRecord],
    k: usize,
    allowed: impl Fn(Lead) -> bool,
) -> impl Iterator<Item = &TraceRecord> {
    let taken = move |lead: Lead| {
        let mut others = traces.iter().take(k).chain(traces.iter().skip(k + 1));
        others.any(|t| t.role == Role::Rhythm && t.lead == lead)
    };
    let panels = traces.iter().filter(|t| t.role == Role::Panel);
    panels.filter(move |t| allowed(t.lead) && !taken(t.lead))
}

/// Of two panels that are nearly as alike, the strip is of the lead that strips usually show.
fn likelihood((correlation, panel): &(f32, &TraceRecord)) -> f32 {
    let is_usual = matches!(panel.lead, Lead::II | Lead::V1 | Lead::V5);
    correlation + if is_usual { USUAL_BONUS } else { 0.0 }
}

/// Whether two names are told apart by one letter or digit.
fn is_alike(a: Lead, b: Lead) -> bool {
    let first = |lead: Lead| match lead {
        Lead::I | Lead::II | Lead::III => 'I',
        Lead::Avr | Lead::Avl | Lead::Avf | Lead::MinusAvr => 'a',
        Lead::V1 | Lead::V2 | Lead::V3 | Lead::V4 | Lead::V5 | Lead::V6 => 'V',
        Lead::V7 | Lead::V8 | Lead::V9 | Lead::V3R | Lead::V4R | Lead::V5R => 'V',
    };
    first(a) == first(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Millivolt, MmPerMillivolt, Seconds};

    const RATE: Hertz = Hertz(100.0);

    fn trace(lead: Lead, role: Role, start: f32, mv: impl Fn(f32) -> f32) -> TraceRecord {
        let count = if role == Role::Rhythm { 1000 } else { 250 };
        TraceRecord {
            lead,
            role,
            start: Seconds(start),
            samples: (0..count)
                .map(|n| Some(Millivolt(mv(start + n as f32 / RATE.0))))
                .collect(),
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
        }
    }

    /// One beat a second.
    fn beat(t: f32, height: f32, width: f32) -> f32 {
        let off = ((t + 0.5).rem_euclid(1.0) - 0.5) / width;
        height * (-off * off).exp()
    }

    fn page(called: Lead) -> Vec<TraceRecord> {
        vec![
            trace(Lead::V1, Role::Panel, 5.0, |t| beat(t, -1.0, 0.03)),
            trace(Lead::V4, Role::Panel, 7.5, |t| {
                beat(t, 1.4, 0.02) + beat(t - 0.3, 0.4, 0.1)
            }),
            trace(called, Role::Rhythm, 0.0, |t| beat(t, -1.0, 0.03)),
        ]
    }

    #[test]
    fn a_misread_strip_gets_the_name_of_the_panel_that_it_shows() {
        let mut traces = page(Lead::V4);
        let findings = name_strips(&mut traces, RATE);
        assert_eq!(traces[2].lead, Lead::V1);
        assert_eq!(findings.len(), 1, "{findings:?}");
    }

    #[test]
    fn a_name_that_the_ink_proves_is_noted_and_a_likely_one_is_warned_of() {
        let severity_at = |noise: f32| {
            let mut traces = page(Lead::V4);
            traces[2] = trace(Lead::V4, Role::Rhythm, 0.0, |t| {
                beat(t, -1.0, 0.03) + noise * (t * 40.0).sin()
            });
            let unnamed = vec![traces.remove(2)];
            let findings = add_unlabelled(&mut traces, unnamed, RATE);
            assert_eq!(traces[2].lead, Lead::V1);
            findings[0].severity
        };
        assert_eq!(severity_at(0.0), Severity::Note);
        assert_eq!(severity_at(0.12), Severity::Warning);
        // Two panels that are alike prove neither.
        let mut traces = page(Lead::V4);
        traces.push(trace(Lead::V2, Role::Panel, 5.0, |t| beat(t, -1.05, 0.03)));
        traces[2] = trace(Lead::V4, Role::Rhythm, 0.0, |t| beat(t, -1.02, 0.03));
        let findings = name_strips(&mut traces, RATE);
        assert_eq!(findings[0].severity, Severity::Warning);
    }

    #[test]
    fn a_strip_without_a_name_is_named_after_its_panel_or_left_out() {
        let mut traces = page(Lead::I);
        let odd = trace(Lead::I, Role::Rhythm, 0.0, |t| beat(t * 1.7, 1.0, 0.2));
        let unlabelled = vec![traces.remove(2), odd];
        let findings = add_unlabelled(&mut traces, unlabelled, RATE);
        assert_eq!(traces.len(), 3);
        assert_eq!(traces[2].lead, Lead::V1);
        let codes: Vec<&str> = findings.iter().map(|f| f.code.as_str()).collect();
        assert_eq!(codes, ["named", "unnamed"]);
    }

    #[test]
    fn a_strip_that_shows_its_own_panel_keeps_its_name() {
        let mut traces = page(Lead::V1);
        assert_eq!(name_strips(&mut traces, RATE), []);
        assert_eq!(traces[2].lead, Lead::V1);
    }

    /// Limb leads: `II` is higher than `I`, of the same shape but for its `S`.
    fn limb_page(called: Lead, height: f32) -> Vec<TraceRecord> {
        let second = move |t: f32| beat(t, height, 0.03) - beat(t - 0.05, 0.25, 0.03);
        vec![
            trace(Lead::I, Role::Panel, 0.0, |t| beat(t, 0.8, 0.03)),
            trace(Lead::II, Role::Panel, 0.0, second),
            trace(called, Role::Rhythm, 0.0, second),
        ]
    }

    #[test]
    fn a_strip_that_correlates_with_its_name_but_is_another_panels_ink_is_renamed() {
        let mut traces = limb_page(Lead::I, 1.4);
        assert!(correlation(&traces[2], &traces[0], RATE).unwrap() > SHOWN_MIN);
        let findings = name_strips(&mut traces, RATE);
        assert_eq!(traces[2].lead, Lead::II);
        assert_eq!(findings.len(), 1, "{findings:?}");
        let mut traces = limb_page(Lead::II, 1.4);
        assert_eq!(name_strips(&mut traces, RATE), []);
    }

    /// The strip called `II` is V1's ink but for `noise`, and the panel `II` is none like it.
    fn unlike_page(noise: f32) -> Vec<TraceRecord> {
        let mut traces = page(Lead::II);
        let second = trace(Lead::II, Role::Panel, 0.0, |t| beat(t - 0.4, 0.8, 0.1));
        traces.push(second);
        traces[2] = trace(Lead::II, Role::Rhythm, 0.0, |t| {
            beat(t, -1.0, 0.03) + noise * (t * 40.0).sin()
        });
        traces
    }

    #[test]
    fn a_strip_keeps_a_name_that_is_not_alike_unless_it_is_anothers_ink() {
        let mut traces = unlike_page(0.3);
        assert_eq!(name_strips(&mut traces, RATE), []);
        assert_eq!(traces[2].lead, Lead::II);
        let mut traces = unlike_page(0.0);
        assert_eq!(name_strips(&mut traces, RATE).len(), 1);
        assert_eq!(traces[2].lead, Lead::V1);
    }

    #[test]
    fn the_sign_of_avr_is_told_by_its_sum_with_avl_and_avf() {
        let page = |called: Lead, sign: f32| {
            vec![
                trace(called, Role::Panel, 0.0, move |t| {
                    sign * beat(t, -0.7, 0.03)
                }),
                trace(Lead::Avl, Role::Panel, 0.0, |t| beat(t, 0.2, 0.03)),
                trace(Lead::Avf, Role::Panel, 0.0, |t| beat(t, 0.5, 0.03)),
            ]
        };
        for (called, sign, expected) in [
            (Lead::Avr, 1.0, Lead::Avr),
            (Lead::Avr, -1.0, Lead::MinusAvr),
            (Lead::MinusAvr, -1.0, Lead::MinusAvr),
            (Lead::MinusAvr, 1.0, Lead::Avr),
        ] {
            let mut traces = page(called, sign);
            let finding = sign_avr(&mut traces, RATE);
            assert_eq!(traces[0].lead, expected);
            assert_eq!(finding.is_some(), called != expected);
        }
    }

    #[test]
    fn a_strip_of_a_lead_that_no_panel_has_is_named_after_its_panel() {
        let mut traces = page(Lead::V4R);
        assert_eq!(name_strips(&mut traces, RATE).len(), 1);
        assert_eq!(traces[2].lead, Lead::V1);
    }
}
