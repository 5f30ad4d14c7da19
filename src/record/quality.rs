//! How good the signals are, in decibels, predicted from what was seen on the way.
//!
//! In: a record whose traces and findings are complete. Out: a `quality_db` a trace and of the page:
//! what 10 log10 (power of the signal / power of the error) would be, each lead free to be shifted by
//! 0.2 s and by a constant. `Clues` are what the prediction goes by: how wide the net's posterior is,
//! how far grid, leads and strips contradict themselves, how much ink no line explains. A small
//! net (one hidden layer, tanh) that was fitted to printed pages of known truth weighs them
//! (`scripts/train/quality_fit.py`; `scripts/bench quality` holds it against pages it never saw).
//! It changes no signal.

mod weights;

use super::checks::{difference, goldberger_residual, median, residual_of_limbs};
use super::{Finding, Record, Role, Severity, TraceRecord};
use crate::labels::Lead;
use crate::math;
use crate::units::{Hertz, Millivolt};

/// A page of which less is predicted is no `ok`; one of which less than the second is, no signal: its
/// errors would be as large as what was printed.
const OK_DB: f32 = 16.0;
const SIGNAL_DB: f32 = 0.0;
/// Contradictions smaller and larger than these are all alike.
const LAW: (f32, f32) = (0.02, 1.5);
/// Samples at either end of a panel: its edge, 24 ms at 500 Hz.
const EDGE_S: f32 = 0.024;
/// Samples a second in which a beat is still known again, shortest and longest beat, and what a trace
/// and its later self must have in common.
const REPEAT_HZ: f32 = 125.0;
const BEAT_S: (f32, f32) = (0.3, 2.0);
const COMMON_S: f32 = 0.6;
/// Predictions end here.
const DB: (f32, f32) = (-3.0, 35.0);

/// What each clue is called, by the alphabet. Lengths and laws are in decibels of a millimetre and of
/// the leads; `no_` tells that one is not known.
#[rustfmt::skip]
pub const CLUES: [&str; weights::CLUE_COUNT] = [
    "away", "broken", "chest", "columns", "edge", "einthoven", "ends", "fast", "gain", "goldberger",
    "height", "high", "leaps", "length", "lost", "merged", "missing", "named", "no_einthoven", "no_goldberger",
    "no_grid", "no_own_law", "not_shown", "off", "own_law", "page_spread", "px", "repeat", "shown",
    "slope", "slow", "speed", "spread", "strip", "surety", "torn", "twelve_rows", "typical", "unread",
    "volt",
];

/// What is known of one trace, in the order of `CLUES`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clues(pub [f32; weights::CLUE_COUNT]);

/// Predicts the quality of every trace and of the page; a poor page gets a finding, which refuses it
/// where no signal is left. A record without a calibration is left as it is.
pub fn assess(record: &mut Record) {
    let Some(page) = PageClues::of(record) else {
        return;
    };
    for trace in &mut record.traces {
        let clues = page.of_trace(trace, record.sample_rate);
        trace.quality_db = Some(clues.decibels());
        trace.clues = Some(clues);
    }
    record.quality_db = page_decibels(record);
    record.findings.extend(record.quality_db.and_then(poor));
}

/// What is said of a page of this quality, where it is poor.
fn poor(db: f32) -> Option<Finding> {
    let (severity, code, message) = if db < SIGNAL_DB {
        let message = "the line was followed so badly that the signals would be mostly error: use \
                       the paper, or a sharper and more even picture of it";
        (Severity::Reject, "unreadable", message.to_owned())
    } else if db < OK_DB {
        let message = format!(
            "the signals are predicted to be {db:.0} dB over their errors, as on a poor picture: \
             compare them with the overlay"
        );
        (Severity::Warning, "poor", message)
    } else {
        return None;
    };
    Some(Finding::new(severity, code, None, message))
}

impl Clues {
    /// The prediction for the trace.
    pub fn decibels(&self) -> f32 {
        let level = |k: usize| {
            let (mean, deviation) = weights::SCALES[k];
            ((self.0[k] - mean) / deviation).clamp(-weights::LEVEL_MAX, weights::LEVEL_MAX)
        };
        let levels: [f32; weights::CLUE_COUNT] = std::array::from_fn(level);
        let hidden = weights::HIDDEN.iter().map(|(row, bias, out)| {
            let sum: f32 = row.iter().zip(&levels).map(|(w, v)| w * v).sum();
            out * tanh(sum + bias)
        });
        (hidden.sum::<f32>() + weights::BIAS).clamp(DB.0, DB.1)
    }
}

fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (math::exp(2.0 * x) + 1.0)
}

/// The leads' predictions together, each by its power, and the worst of them.
fn page_decibels(record: &Record) -> Option<f32> {
    let (mut power, mut error, mut worst) = (0.0, 0.0, f32::MAX);
    for lead in Lead::TWELVE {
        let trace = record.lead(lead).or_else(|| {
            let minus = (lead == Lead::Avr).then_some(Lead::MinusAvr);
            minus.and_then(|lead| record.lead(lead))
        });
        let Some((trace, db)) = trace.and_then(|trace| Some((trace, trace.quality_db?))) else {
            continue;
        };
        let own = squares(trace);
        power += own;
        error += own * math::exp(-db * std::f32::consts::LN_10 / 10.0);
        worst = db.min(worst);
    }
    let pooled = 10.0 * math::log10(power / error.max(f32::MIN_POSITIVE));
    let [all, of_worst, bias] = weights::PAGE;
    (power > 0.0).then(|| (all * pooled + of_worst * worst + bias).clamp(DB.0, DB.1))
}

fn squares(trace: &TraceRecord) -> f32 {
    let zero = median(trace).unwrap_or(0.0);
    let off = |mv: &Millivolt| math::square(mv.0 - zero);
    trace.samples.iter().flatten().map(off).sum()
}

/// What is the same for all traces of a page.
struct PageClues {
    px: f32,
    off: Option<f32>,
    speed: f32,
    spread_mm: f32,
    einthoven: Option<f32>,
    goldberger: Option<f32>,
    /// How far a strip is off its panel.
    shown: Option<f32>,
    rows: usize,
    columns: usize,
    codes: Vec<String>,
}

impl PageClues {
    fn of(record: &Record) -> Option<Self> {
        let (traces, rate) = (&record.traces, record.sample_rate);
        let calibration = record.calibration.as_ref()?;
        let speed = calibration.speed.value.0;
        let is_avr = |t: &&TraceRecord| matches!(t.lead, Lead::Avr | Lead::MinusAvr);
        let avr = traces.iter().find(is_avr).map_or(Lead::Avr, |t| t.lead);
        let strips = traces.iter().filter(|t| t.role == Role::Rhythm);
        let shown = strips.filter_map(|strip| {
            let is_own = |t: &&TraceRecord| t.role == Role::Panel && t.lead == strip.lead;
            difference(strip, traces.iter().find(is_own)?, rate)
        });
        let panels = traces.iter().filter(|t| t.role == Role::Panel);
        let rows = panels.clone().filter(|t| t.start.0 == 0.0).count();
        let squares = |t: &TraceRecord| math::square(Wave::of(t, speed, rate).spread_mm);
        let spread = traces.iter().map(squares).sum::<f32>() / traces.len().max(1) as f32;
        Some(Self {
            px: calibration.px_per_mm_x.value,
            off: calibration.grid_off.map(|off| off.0),
            speed,
            spread_mm: spread.sqrt(),
            einthoven: residual_of_limbs(traces, rate),
            goldberger: goldberger_residual(traces, avr, rate),
            shown: shown.max_by(f32::total_cmp),
            rows,
            columns: panels.count() / rows.max(1),
            codes: record.findings.iter().map(|f| f.code.clone()).collect(),
        })
    }

    fn says(&self, codes: &[&str]) -> f32 {
        yes(self.codes.iter().any(|code| codes.contains(&code.as_str())))
    }

    /// What the lead's own law leaves over.
    fn own_law(&self, lead: Lead) -> Option<f32> {
        match lead {
            Lead::I | Lead::II | Lead::III => self.einthoven,
            Lead::Avr | Lead::MinusAvr | Lead::Avl | Lead::Avf => self.goldberger,
            Lead::V1 | Lead::V2 | Lead::V3 | Lead::V4 | Lead::V5 | Lead::V6 => None,
            Lead::V7 | Lead::V8 | Lead::V9 | Lead::V3R | Lead::V4R | Lead::V5R => None,
        }
    }

    fn of_trace(&self, trace: &TraceRecord, rate: Hertz) -> Clues {
        let wave = Wave::of(trace, self.speed, rate);
        let own = self.own_law(trace.lead);
        let chest = trace.lead.is_chest() && self.says(&["chest_gain", "chest_gain_unclear"]) > 0.0;
        let [leaps, away, torn] = rates(trace, rate);
        Clues([
            away,
            self.says(&["einthoven", "goldberger"]),
            yes(chest),
            self.columns as f32,
            math::log10(wave.edge + 0.01),
            law(self.einthoven),
            self.says(&["ends_unsure"]),
            yes(self.speed > 30.0),
            self.says(&[
                "gain_assumed",
                "odd_pulse",
                "two_gains",
                "unusual_gain",
                "pulse_against_text",
            ]),
            law(self.goldberger),
            decibel(wave.height_mm.max(1e-3)),
            decibel(wave.high_mm + 0.02),
            leaps,
            self.says(&["odd_length"]),
            self.says(&["gaps", "lost", "unsure"]),
            self.says(&["merged"]),
            wave.missing.min(0.3).sqrt(),
            self.says(&["named", "renamed", "unnamed", "rhythm", "sign"]),
            yes(self.einthoven.is_none()),
            yes(self.goldberger.is_none()),
            yes(self.off.is_none()),
            yes(own.is_none()),
            yes(self.shown.is_none()),
            self.off.unwrap_or(0.0).min(2.0).sqrt(),
            law(own),
            decibel(self.spread_mm + 0.02),
            math::ln(self.px) / std::f32::consts::LN_2,
            repeat(trace, rate),
            law(self.shown),
            decibel(wave.slope + 0.1),
            yes(self.speed < 20.0),
            self.says(&[
                "speed_assumed",
                "speed_unsure",
                "unusual_speed",
                "speed_against_text",
            ]),
            decibel(wave.spread_mm + 0.02),
            yes(trace.role == Role::Rhythm),
            trace.quality,
            torn,
            yes(self.rows > 6),
            decibel(wave.typical_mm + 0.02),
            math::log10(trace.unread.unwrap_or(0.0) + 0.01),
            decibel(wave.height_mm / trace.gain.0 + 0.01),
        ])
    }
}

/// How well a trace repeats itself: its best correlation with itself a beat later, 0 where nothing
/// does. Beats of which some are cut do not.
fn repeat(trace: &TraceRecord, rate: Hertz) -> f32 {
    let every = (rate.0 / REPEAT_HZ).max(1.0) as usize;
    let zero = median(trace).unwrap_or(0.0);
    let levels: Vec<f32> = trace
        .samples
        .iter()
        .step_by(every)
        .map(|sample| sample.map_or(0.0, |mv| mv.0 - zero))
        .collect();
    let hertz = rate.0 / every as f32;
    let lag = |seconds: f32| (seconds * hertz) as usize;
    let last = lag(BEAT_S.1).min(levels.len().saturating_sub(lag(COMMON_S)));
    let correlation = |lag: usize| {
        let (early, late) = (&levels[..levels.len() - lag], &levels[lag..]);
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let power = product(early, early) * product(late, late);
        product(early, late) / power.sqrt().max(f32::MIN_POSITIVE)
    };
    (lag(BEAT_S.0)..last).map(correlation).fold(0.0, f32::max)
}

/// Leaps of a trace's line, pieces between two leaps, torn strokes: roots of how many a second.
fn rates(trace: &TraceRecord, rate: Hertz) -> [f32; 3] {
    let seconds = trace.samples.len().max(1) as f32 / rate.0;
    let found = trace.leaps.unwrap_or_default();
    [found.leaps, found.away, found.torn].map(|count| (count as f32 / seconds).min(4.0).sqrt())
}

fn yes(is: bool) -> f32 {
    f32::from(u8::from(is))
}

/// A contradiction in decibels of the leads; the least where there is none to be known.
fn law(residual: Option<f32>) -> f32 {
    decibel(residual.map_or(LAW.0, |residual| residual.clamp(LAW.0, LAW.1)))
}

fn decibel(ratio: f32) -> f32 {
    20.0 * math::log10(ratio)
}

/// A trace's own measures.
struct Wave {
    /// Root mean square about the median.
    height_mm: f32,
    /// Standard deviations of the samples: root mean square, median, and the ninth decile.
    spread_mm: f32,
    typical_mm: f32,
    high_mm: f32,
    /// Root mean square, millimetres a millimetre.
    slope: f32,
    /// Share of the samples.
    missing: f32,
    /// Share of the power at the panel's ends.
    edge: f32,
}

impl Wave {
    fn of(trace: &TraceRecord, speed: f32, rate: Hertz) -> Self {
        let (count, gain) = (trace.samples.len(), trace.gain.0);
        let zero = median(trace).unwrap_or(0.0);
        let level = |sample: &Option<Millivolt>| sample.map(|mv| mv.0 - zero);
        let levels: Vec<Option<f32>> = trace.samples.iter().map(level).collect();
        let found = levels.iter().flatten().count();
        let squares = |part: &[Option<f32>]| part.iter().flatten().map(|v| v * v).sum::<f32>();
        let all = squares(&levels);
        let edge = ((EDGE_S * rate.0) as usize).min(count / 2);
        let ends = squares(&levels[..edge]) + squares(&levels[count - edge..]);
        let told = trace.deviations.iter().flatten().zip(&levels);
        let mut deviations: Vec<f32> = told
            .filter(|(_, level)| level.is_some())
            .map(|(deviation, _)| deviation.0 * gain)
            .collect();
        let mean = deviations.iter().map(|d| d * d).sum::<f32>() / deviations.len().max(1) as f32;
        deviations.sort_by(f32::total_cmp);
        let at = |share: f32| {
            let place = (share * deviations.len() as f32) as usize;
            deviations.get(place).copied().unwrap_or(0.0)
        };
        let step = speed / rate.0;
        let rises: Vec<f32> = levels
            .windows(2)
            .filter_map(|pair| Some((pair[1]? - pair[0]?) * gain / step))
            .collect();
        let steep = rises.iter().map(|r| r * r).sum::<f32>() / rises.len().max(1) as f32;
        Self {
            height_mm: (all / found.max(1) as f32).sqrt() * gain,
            spread_mm: mean.sqrt(),
            typical_mm: at(0.5),
            high_mm: at(0.9),
            slope: steep.sqrt(),
            missing: 1.0 - found as f32 / count.max(1) as f32,
            edge: ends / all.max(1e-9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Evidence, Known, PageCalibration};
    use crate::units::{Mm, MmPerMillivolt, MmPerSecond, Seconds};

    /// A page whose leads repeat a beat, and whose net was this unsure of each sample.
    fn page(deviation_mv: f32) -> Record {
        let beat = |t: f32| (-((t % 0.8 - 0.4) / 0.02).powi(2)).exp();
        let samples = (0..1250).map(|k| Some(Millivolt(beat(k as f32 / 500.0))));
        let traces = [Lead::V1, Lead::V2, Lead::V3].map(|lead| TraceRecord {
            lead,
            role: Role::Panel,
            start: Seconds(0.0),
            samples: samples.clone().collect(),
            deviations: Some(vec![Millivolt(deviation_mv); 1250]),
            corners_px: [[0.0; 2]; 4],
            line_px: Vec::new(),
            quality: 0.95,
            unread: Some(0.0),
            leaps: None,
            spikes: Vec::new(),
            coverage: 1.0,
            quality_db: None,
            clues: None,
            gain: MmPerMillivolt(10.0),
        });
        let none = Finding::new(Severity::Note, "drawn", None, String::new());
        let mut page = Record::without_page(Hertz(500.0), none);
        page.findings.clear();
        let known = |value| Known {
            value,
            evidence: Evidence::Measured,
        };
        page.calibration = Some(PageCalibration {
            speed: Known {
                value: MmPerSecond(25.0),
                evidence: Evidence::Read,
            },
            gain: Known {
                value: MmPerMillivolt(10.0),
                evidence: Evidence::Read,
            },
            chest_gain: None,
            px_per_mm_x: known(8.0),
            px_per_mm_y: known(8.0),
            rotation_deg: 0.0,
            grid_off: Some(Mm(0.02)),
        });
        page.traces = traces.to_vec();
        page
    }

    fn predicted(mut page: Record) -> (f32, Vec<String>) {
        assess(&mut page);
        let codes = page.findings.into_iter().map(|finding| finding.code);
        (page.quality_db.unwrap(), codes.collect())
    }

    #[test]
    fn clues_stand_in_the_order_that_the_fit_writes() {
        assert!(CLUES.is_sorted());
    }

    #[test]
    fn a_net_that_is_unsure_of_the_line_lowers_the_prediction() {
        let (good, findings) = predicted(page(0.005));
        assert_eq!(
            findings.is_empty(),
            good >= OK_DB,
            "{good} dB, {findings:?}"
        );
        let (poor, findings) = predicted(page(0.3));
        assert!(poor < good - 3.0, "{poor} and {good} dB");
        assert_eq!(findings, ["poor"]);
    }

    #[test]
    fn what_is_mostly_error_is_refused() {
        let said = |db| poor(db).map(|finding| (finding.severity, finding.code));
        let is = |severity, code: &str| Some((severity, code.to_owned()));
        assert_eq!(said(-0.1), is(Severity::Reject, "unreadable"));
        assert_eq!(said(0.1), is(Severity::Warning, "poor"));
        assert_eq!(said(OK_DB - 0.1), is(Severity::Warning, "poor"));
        assert_eq!(said(OK_DB), None);
    }

    #[test]
    fn a_page_is_as_good_as_the_leads_that_have_the_power() {
        let mut page = page(0.005);
        for sample in page.traces[0].samples.iter_mut().flatten() {
            sample.0 *= 20.0;
        }
        let mut whole = |decibels: [f32; 3]| {
            for (trace, db) in page.traces.iter_mut().zip(decibels) {
                trace.quality_db = Some(db);
            }
            page_decibels(&page).unwrap()
        };
        let (weak, strong) = (whole([25.0, 25.0, 5.0]), whole([5.0, 25.0, 25.0]));
        assert!(strong < weak - 5.0, "{strong} and {weak} dB");
    }
}
