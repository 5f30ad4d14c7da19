//! Paper speed, gain and scale, each with how it is known.
//!
//! In: the labels on the paper (printed texts, calibration pulses), whether the paper's millimetres
//! come from its grid, what the operator said. Out: `Calibration` and the `Doubt`s that a reader of
//! the record must know. Order of trust: given, measured (a pulse stands on the paper that the
//! trace stands on), read, and only then the one default this service has: 25 mm/s and 10 mm/mV,
//! marked as assumed. Two that contradict each other are a doubt, whichever is used.

mod pulse;
mod speed;

use serde::{Deserialize, Serialize};

use crate::labels::{Label, LabelClass};
use crate::units::{Mm, MmPerMillivolt, MmPerSecond};
use pulse::pulse_width;
pub use pulse::{Pulse, pulse_boxes, pulse_height, pulses};
use speed::{Likeliest, SpeedEvidence};

/// How a calibration value is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// From the calibration pulse, the grid or the leads' own distances.
    Measured,
    /// From the text printed on the page.
    Read,
    /// Given by the operator.
    Given,
    /// 25 mm/s or 10 mm/mV, for want of anything else.
    Assumed,
}

/// A calibration value and how it is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known<T> {
    pub value: T,
    pub evidence: Evidence,
}

/// Speed, gain and resolution of the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageCalibration {
    pub speed: Known<MmPerSecond>,
    pub gain: Known<MmPerMillivolt>,
    /// Chest leads, where they are printed at another gain.
    pub chest_gain: Option<Known<MmPerMillivolt>>,
    /// Pixels a millimetre at the middle of the page, and how they are known.
    pub px_per_mm_x: Known<f32>,
    pub px_per_mm_y: Known<f32>,
    /// Clockwise rotation of the page in the picture, degrees.
    pub rotation_deg: f32,
    /// How far the grid's lines lie off the map's plane, root mean square; `None` without a grid.
    pub grid_off: Option<Mm>,
}

/// What a reader of the calibration must know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doubt {
    /// Nothing on the page told the speed.
    SpeedAssumed,
    GainAssumed,
    /// A text says another speed than the usual one, and little else does.
    UnusualSpeed(MmPerSecond),
    /// No text says the speed, and the pulses alone do not; with length and beats they do.
    SpeedWeighed(MmPerSecond),
    /// No text says the speed, and what else tells it leaves another nearly as likely.
    SpeedUnsure {
        speed: MmPerSecond,
        other: MmPerSecond,
    },
    /// All else speaks against the text.
    SpeedAgainstText {
        speed: MmPerSecond,
        text: MmPerSecond,
    },
    /// The page says two speeds, or two gains.
    TwoSpeeds(MmPerSecond, MmPerSecond),
    TwoGains(MmPerMillivolt, MmPerMillivolt),
    /// A text alone says that the chest leads have half the gain, and nothing proves the page's.
    ChestGain(MmPerMillivolt),
    /// A text that reads as nothing else says so, on a page whose pulses prove the gain.
    ChestGainWritten(MmPerMillivolt),
    /// A text may say so, but half of the page's gain is no usual one.
    ChestGainUnclear,
    /// The pulse says another gain than the text.
    PulseAgainstText {
        pulse: MmPerMillivolt,
        text: MmPerMillivolt,
    },
    /// The pulse alone says another gain than the usual one.
    UnusualPulse(MmPerMillivolt),
    /// A text alone says another gain than the usual one.
    UnusualGain(MmPerMillivolt),
    /// The pulse is as high as no usual gain makes it.
    OddPulse(Mm),
    /// The operator says another gain than the page does.
    GivenAgainstPage,
}

/// What the traces tell of time, millimetres along the paper.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lengths {
    /// From the recording's left end to its right.
    pub recording: Option<Mm>,
    /// From beat to beat, and half of a QRS complex (`signal::beats`).
    pub beat: Option<Mm>,
    pub qrs: Option<Mm>,
}

/// What the operator said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Given {
    pub speed: Option<MmPerSecond>,
    pub gain: Option<MmPerMillivolt>,
}

/// What the page says of speed and gain.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    pub speed: Known<MmPerSecond>,
    pub gain: Known<MmPerMillivolt>,
    pub chest_gain: Option<Known<MmPerMillivolt>>,
    pub doubts: Vec<Doubt>,
}

/// Whether the paper's millimetres are the grid's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaperScale {
    Grid,
    /// Scaled so that a pulse is as high as its gain, or the recording as long as usual: neither
    /// proves a speed, and the pulse proves millivolts alone.
    Fitted,
}

/// Usual gains, millimetres a millivolt, and the one for want of any evidence.
pub const GAINS: [f32; 3] = [5.0, 10.0, 20.0];
pub const USUAL_GAIN: MmPerMillivolt = MmPerMillivolt(10.0);
pub const USUAL_SPEED: MmPerSecond = MmPerSecond(25.0);
/// Usual paper speeds.
pub const SPEEDS: [MmPerSecond; 3] = [MmPerSecond(12.5), USUAL_SPEED, MmPerSecond(50.0)];
/// A speed is certain if it is this much likelier than the next, nats: one in 30.
const CERTAIN_NATS: f32 = 3.4;
/// The same where no text says it.
const UNWRITTEN_NATS: f32 = 5.0;
/// An unusual speed that neither a text nor the pulses prove is believed from here on, and never
/// without a doubt.
const LIKELY_NATS: f32 = 0.7;
/// Pulses prove a speed where they alone make it this much likelier than the others.
const PROOF_NATS: f32 = 1.5;
/// A pulse is this much higher or lower than its gain at most.
const PULSE_OFF: f32 = 0.2;
/// Texts weaker than this are not believed: of 80 printed pages of every speed the net reads 94 %
/// right and 1 % wrong at 0.25 (`evaluate_labels.py`).
const TEXT_SCORE_MIN: f32 = 0.3;
/// Weaker boxes are no pulses.
const PULSE_SCORE_MIN: f32 = 0.3;
/// A second gain is believed from here on: of 200 printed pages' six, four were true and those at 0.3
/// to 0.4 were not.
const BESIDE_SCORE_MIN: f32 = 0.45;
/// Two texts with this IoU are one.
const SAME_PLACE: f32 = 0.3;
/// A second, different text counts if it is this share of the first one's score.
const SECOND_SHARE: f32 = 0.8;
/// Half of the line on either side is part of the pulse's box.
pub const LINE_WIDTH: Mm = Mm(0.35);

/// Weighs all evidence.
pub fn calibrate(
    labels: &[Label],
    pulses: &[Pulse],
    scale: PaperScale,
    lengths: Lengths,
    given: Given,
) -> Calibration {
    let mut doubts = Vec::new();
    let speed = speed(labels, (pulses, scale), lengths, given, &mut doubts);
    let gain = gain(labels, pulses, given, &mut doubts);
    let says_half = says_half_chest(labels, gain.value);
    if is_half_named(labels) && !says_half {
        doubts.push(Doubt::ChestGainUnclear);
    }
    let chest_gain = says_half.then(|| {
        let value = MmPerMillivolt(gain.value.0 / 2.0);
        let is_proven = gain.evidence == Evidence::Measured && is_plain_half(labels, gain.value);
        doubts.push(if is_proven {
            Doubt::ChestGainWritten(value)
        } else {
            Doubt::ChestGain(value)
        });
        Known {
            value,
            evidence: Evidence::Read,
        }
    });
    Calibration {
        speed,
        gain,
        chest_gain,
        doubts,
    }
}

/// The speed that was given, or else what the page says most clearly.
fn speed(
    labels: &[Label],
    (pulses, scale): (&[Pulse], PaperScale),
    length: Lengths,
    given: Given,
    doubts: &mut Vec<Doubt>,
) -> Known<MmPerSecond> {
    let value = |label: &Label| speed_of(label).map(|k| SPEEDS[k].0);
    let (read, second) = texts(labels, value);
    if let (Some(a), Some(b)) = (read, second) {
        doubts.push(Doubt::TwoSpeeds(MmPerSecond(a), MmPerSecond(b)));
    }
    if let Some(value) = given.speed {
        if read.is_some_and(|read| read != value.0) {
            doubts.push(Doubt::GivenAgainstPage);
        }
        return Known {
            value,
            evidence: Evidence::Given,
        };
    }
    let ruled = scale == PaperScale::Grid;
    let mut evidence = SpeedEvidence {
        pulse_width: pulse_width(pulses).filter(|_| ruled),
        length: length.recording.filter(|_| ruled),
        beat: length.beat.filter(|_| ruled),
        qrs: length.qrs.filter(|_| ruled),
        ..SpeedEvidence::default()
    };
    for label in written(labels) {
        if let Some(k) = speed_of(label) {
            evidence.texts[k] = evidence.texts[k].max(label.score);
        }
    }
    decided(&evidence.weigh(), read.map(MmPerSecond), doubts)
}

/// What the weighed evidence amounts to, with its doubts; `read` is the strongest text's.
fn decided(
    found: &Likeliest,
    read: Option<MmPerSecond>,
    doubts: &mut Vec<Doubt>,
) -> Known<MmPerSecond> {
    let known = |value, evidence| Known { value, evidence };
    let (speed, other) = (found.speed, found.other);
    let is_proven = found.by_pulse >= PROOF_NATS;
    let is_certain = found.margin >= UNWRITTEN_NATS;
    let is_usual = speed == USUAL_SPEED;
    match read {
        Some(text) if text != speed => doubts.push(Doubt::SpeedAgainstText { speed, text }),
        Some(text) if found.margin < CERTAIN_NATS => doubts.push(Doubt::UnusualSpeed(text)),
        Some(_) => {}
        None if is_usual && is_proven && is_certain => {}
        None if is_usual && is_certain && found.has_pulse => {
            doubts.push(Doubt::SpeedWeighed(speed));
        }
        None if is_proven || (!is_usual && found.margin >= LIKELY_NATS) => {
            doubts.push(Doubt::SpeedUnsure { speed, other });
        }
        None => {
            doubts.push(Doubt::SpeedAssumed);
            return known(USUAL_SPEED, Evidence::Assumed);
        }
    }
    let evidence = if read == Some(speed) {
        Evidence::Read
    } else {
        Evidence::Measured
    };
    known(speed, evidence)
}

/// Index of the speed that a text says.
fn speed_of(label: &Label) -> Option<usize> {
    let speed = match label.class {
        LabelClass::Speed12_5 => 12.5,
        LabelClass::Speed25 => 25.0,
        LabelClass::Speed50 => 50.0,
        LabelClass::Lead(_) | LabelClass::Pulse | LabelClass::HalfGainChest => return None,
        LabelClass::Gain10 | LabelClass::Gain5 | LabelClass::Gain20 => return None,
    };
    SPEEDS.iter().position(|v| v.0 == speed)
}

fn gain(
    labels: &[Label],
    pulses: &[Pulse],
    given: Given,
    doubts: &mut Vec<Doubt>,
) -> Known<MmPerMillivolt> {
    let (read, other) = texts(labels, gain_of);
    // Half of the limb leads' gain is the chest leads'.
    if let (Some(a), Some(b)) = (read, other)
        && !(has_half(a) && b == a / 2.0)
    {
        doubts.push(Doubt::TwoGains(MmPerMillivolt(a), MmPerMillivolt(b)));
    }
    let height = pulse_height(pulses);
    let usual = |height: Mm| {
        GAINS
            .into_iter()
            .find(|g| (height.0 / g - 1.0).abs() < PULSE_OFF)
    };
    let pulse = height.and_then(usual);
    if let (Some(height), None) = (height, pulse) {
        doubts.push(Doubt::OddPulse(height));
    }
    if let Some(value) = given.gain {
        if [read, pulse]
            .into_iter()
            .flatten()
            .any(|other| other != value.0)
        {
            doubts.push(Doubt::GivenAgainstPage);
        }
        return Known {
            value,
            evidence: Evidence::Given,
        };
    }
    let known = |value, evidence| Known {
        value: MmPerMillivolt(value),
        evidence,
    };
    match (pulse, read) {
        (Some(pulse), Some(text)) if pulse != text => {
            let (pulse, text) = (MmPerMillivolt(pulse), MmPerMillivolt(text));
            doubts.push(Doubt::PulseAgainstText { pulse, text });
            known(pulse.0, Evidence::Measured)
        }
        (Some(pulse), text) => {
            if text.is_none() && pulse != USUAL_GAIN.0 {
                doubts.push(Doubt::UnusualPulse(MmPerMillivolt(pulse)));
            }
            known(pulse, Evidence::Measured)
        }
        (None, Some(text)) => {
            if text != USUAL_GAIN.0 {
                doubts.push(Doubt::UnusualGain(MmPerMillivolt(text)));
            }
            known(text, Evidence::Read)
        }
        (None, None) => {
            doubts.push(Doubt::GainAssumed);
            known(10.0, Evidence::Assumed)
        }
    }
}

fn gain_of(label: &Label) -> Option<f32> {
    match label.class {
        LabelClass::Gain10 => Some(10.0),
        LabelClass::Gain5 => Some(5.0),
        LabelClass::Gain20 => Some(20.0),
        LabelClass::Lead(_) | LabelClass::Pulse | LabelClass::HalfGainChest => None,
        LabelClass::Speed25 | LabelClass::Speed12_5 | LabelClass::Speed50 => None,
    }
}

/// Whether a text says that the chest leads have half of this gain: in words, or as a second gain
/// beside the usual one ("Limb: 10 mm/mV  Chest: 5 mm/mV").
fn says_half_chest(labels: &[Label], gain: MmPerMillivolt) -> bool {
    let is = |label: &Label, value: f32| gain_of(label) == Some(value);
    let is_as_likely_whole = |half: &Label| {
        labels.iter().any(|other| {
            is(other, gain.0)
                && other.score >= SECOND_SHARE * half.score
                && is_one_place(half, other)
        })
    };
    // The same text may read as the chest leads' half gain and, nearly as sure, as that gain alone.
    let is_half_too = |other: &Label| is(other, gain.0 / 2.0);
    let in_words = labels.iter().any(|label| {
        label.class == LabelClass::HalfGainChest
            && label.score >= TEXT_SCORE_MIN
            && !is_beaten(label, labels.iter().filter(|other| !is_half_too(other)))
            && !is_as_likely_whole(label)
    });
    let beside = written(labels).any(|label| is(label, gain.0))
        && written(labels).any(|label| is(label, gain.0 / 2.0) && label.score >= BESIDE_SCORE_MIN);
    has_half(gain.0) && (in_words || beside)
}

/// Whether the text of the chest leads' gain may be no other: "Chest: 10 mm/mV" looks much like it.
fn is_plain_half(labels: &[Label], gain: MmPerMillivolt) -> bool {
    let says_half = |label: &&Label| {
        label.class == LabelClass::HalfGainChest || gain_of(label) == Some(gain.0 / 2.0)
    };
    let says_whole = |label: &&Label| gain_of(label) == Some(gain.0);
    written(labels).filter(says_half).all(|half| {
        let mut whole = labels.iter().filter(says_whole);
        !whole.any(|other| is_one_place(half, other))
    })
}

fn is_half_named(labels: &[Label]) -> bool {
    written(labels).any(|label| label.class == LabelClass::HalfGainChest)
}

/// Whether half of this gain is a usual one: "Chest: 5 mm/mV" on a page of 5 mm/mV halves nothing.
fn has_half(gain: f32) -> bool {
    GAINS.contains(&(gain / 2.0))
}

/// The texts that are believed: one place holds one text, the strongest that is seen there.
fn written(labels: &[Label]) -> impl Iterator<Item = &Label> {
    labels.iter().filter(|label| {
        is_text(label) && label.score >= TEXT_SCORE_MIN && !is_beaten(label, labels.iter())
    })
}

fn is_text(label: &Label) -> bool {
    !matches!(label.class, LabelClass::Lead(_) | LabelClass::Pulse)
}

/// Whether one of the others is a stronger text at the same place.
fn is_beaten<'a>(label: &Label, mut others: impl Iterator<Item = &'a Label>) -> bool {
    others.any(|other| is_text(other) && other.score > label.score && is_one_place(label, other))
}

fn is_one_place(a: &Label, b: &Label) -> bool {
    a.bounds().overlap(&b.bounds()) > SAME_PLACE
}

/// The gain that a text of at least this score says.
pub fn written_gain(labels: &[Label], score_min: f32) -> Option<MmPerMillivolt> {
    let strong: Vec<Label> = labels
        .iter()
        .filter(|label| label.score >= score_min)
        .copied()
        .collect();
    texts(&strong, gain_of).0.map(MmPerMillivolt)
}

/// The paper speed that a text says.
pub fn written_speed(labels: &[Label]) -> Option<MmPerSecond> {
    texts(labels, |label| speed_of(label).map(|k| SPEEDS[k].0))
        .0
        .map(MmPerSecond)
}

/// The strongest text's value, and a nearly as strong one that says something else.
fn texts(labels: &[Label], value: impl Fn(&Label) -> Option<f32>) -> (Option<f32>, Option<f32>) {
    let mut seen: Vec<(f32, f32)> = written(labels)
        .filter_map(|label| Some((value(label)?, label.score)))
        .collect();
    seen.sort_by(|a, b| b.1.total_cmp(&a.1));
    let Some(&(first, score)) = seen.first() else {
        return (None, None);
    };
    let second = seen
        .iter()
        .find(|(v, s)| *v != first && *s >= SECOND_SHARE * score);
    (Some(first), second.map(|(v, _)| *v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{CLASS_COUNT, Lead, READINGS};
    use crate::page::Point;

    /// Texts of different classes stand side by side.
    fn text(class: LabelClass, score: f32) -> Label {
        let place = (0..CLASS_COUNT).position(|k| LabelClass::at(k) == Some(class));
        at(200.0 * place.unwrap() as f32, class, score)
    }

    fn at(left: f32, class: LabelClass, score: f32) -> Label {
        let place = |x: f32, y: f32| Point::new(left + x, y);
        Label {
            class,
            score,
            leads: [(Lead::I, 0.0); READINGS],
            corners: [
                place(0.0, 0.0),
                place(120.0, 0.0),
                place(120.0, 30.0),
                place(0.0, 30.0),
            ],
        }
    }

    fn pulse(height: f32) -> Pulse {
        let bottom = Mm(10.0 + height + LINE_WIDTH.0);
        Pulse {
            left: Mm(5.0),
            right: Mm(12.0),
            top: Mm(10.0),
            bottom,
            width: None,
        }
    }

    #[test]
    fn a_pulse_tells_the_gain_on_paper_without_a_grid() {
        let (lengths, given) = (Lengths::default(), Given::default());
        let found = calibrate(&[], &[pulse(20.0)], PaperScale::Fitted, lengths, given);
        let expected = Known {
            value: MmPerMillivolt(20.0),
            evidence: Evidence::Measured,
        };
        assert_eq!(found.gain, expected);
    }

    fn check(labels: &[Label], pulses: &[Pulse], gain: f32, evidence: Evidence, doubts: &[Doubt]) {
        let found = calibrate(
            labels,
            pulses,
            PaperScale::Grid,
            Lengths::default(),
            Given::default(),
        );
        assert_eq!(
            found.gain,
            Known {
                value: MmPerMillivolt(gain),
                evidence
            }
        );
        let about_gain = |doubt: &&Doubt| **doubt != Doubt::SpeedAssumed;
        assert_eq!(
            found
                .doubts
                .iter()
                .filter(about_gain)
                .copied()
                .collect::<Vec<_>>(),
            doubts
        );
    }

    #[test]
    fn a_pulse_and_a_text_that_agree() {
        check(
            &[text(LabelClass::Gain10, 0.9)],
            &[pulse(9.8)],
            10.0,
            Evidence::Measured,
            &[],
        );
        check(
            &[text(LabelClass::Gain5, 0.9)],
            &[pulse(5.1)],
            5.0,
            Evidence::Measured,
            &[],
        );
    }

    #[test]
    fn either_alone_is_enough() {
        check(
            &[text(LabelClass::Gain20, 0.9)],
            &[],
            20.0,
            Evidence::Read,
            &[Doubt::UnusualGain(MmPerMillivolt(20.0))],
        );
        check(
            &[text(LabelClass::Gain10, 0.9)],
            &[],
            10.0,
            Evidence::Read,
            &[],
        );
        check(&[], &[pulse(10.2)], 10.0, Evidence::Measured, &[]);
        let unusual = [Doubt::UnusualPulse(MmPerMillivolt(20.0))];
        check(&[], &[pulse(20.4)], 20.0, Evidence::Measured, &unusual);
    }

    #[test]
    fn nothing_is_assumed_silently() {
        check(&[], &[], 10.0, Evidence::Assumed, &[Doubt::GainAssumed]);
        check(
            &[text(LabelClass::Gain5, 0.2)],
            &[],
            10.0,
            Evidence::Assumed,
            &[Doubt::GainAssumed],
        );
        let odd = [Doubt::OddPulse(Mm(14.0)), Doubt::GainAssumed];
        let found = calibrate(
            &[],
            &[pulse(14.0)],
            PaperScale::Grid,
            Lengths::default(),
            Given::default(),
        );
        assert!(
            matches!(
                found.doubts[..],
                [Doubt::SpeedAssumed, Doubt::OddPulse(_), _]
            ),
            "{odd:?}"
        );
    }

    #[test]
    fn contradictions_are_doubts() {
        let (pulse_gain, text_gain) = (MmPerMillivolt(5.0), MmPerMillivolt(10.0));
        let doubt = Doubt::PulseAgainstText {
            pulse: pulse_gain,
            text: text_gain,
        };
        check(
            &[text(LabelClass::Gain10, 0.9)],
            &[pulse(5.0)],
            5.0,
            Evidence::Measured,
            &[doubt],
        );
        let two = [text(LabelClass::Gain10, 0.9), text(LabelClass::Gain20, 0.8)];
        let doubt = Doubt::TwoGains(MmPerMillivolt(10.0), MmPerMillivolt(20.0));
        check(&two, &[], 10.0, Evidence::Read, &[doubt]);
    }

    fn check_speed(
        labels: &[Label],
        width: Option<f32>,
        (recording, beat, qrs): (f32, f32, f32),
        expected: (f32, Evidence),
        doubts: &[Doubt],
    ) {
        let lengths = Lengths {
            recording: Some(Mm(recording)),
            beat: Some(Mm(beat)),
            qrs: Some(Mm(qrs)),
        };
        let of_width = |width| Pulse {
            width: Some(Mm(width)),
            ..pulse(10.0)
        };
        let pulses: Vec<Pulse> = width.into_iter().map(of_width).collect();
        let found = calibrate(labels, &pulses, PaperScale::Grid, lengths, Given::default());
        let speed = (found.speed.value.0, found.speed.evidence);
        assert_eq!(speed, expected, "{labels:?} {pulses:?}");
        let is_gain = |doubt: &Doubt| *doubt == Doubt::GainAssumed;
        let about_speed: Vec<Doubt> = found.doubts.into_iter().filter(|d| !is_gain(d)).collect();
        assert_eq!(about_speed, doubts);
    }

    #[test]
    fn speed_is_read_or_measured_and_what_is_unsure_is_told() {
        use Evidence::{Assumed, Measured, Read};
        let fifty = [text(LabelClass::Speed50, 0.8)];
        let weak = [text(LabelClass::Speed50, 0.35)];
        let (usual, half, twice, rare) = (
            (250.0, 20.0, 0.9),
            (125.0, 10.0, 0.6),
            (250.0, 40.0, 1.5),
            (250.0, 60.0, 1.5),
        );
        let [slow, speed, other] = SPEEDS;
        let unsure = |speed, other| [Doubt::SpeedUnsure { speed, other }];
        let against = Doubt::SpeedAgainstText { speed, text: other };
        check_speed(&[], Some(5.0), usual, (25.0, Measured), &[]);
        check_speed(&[], Some(2.5), half, (12.5, Measured), &unsure(slow, speed));
        check_speed(&[], None, usual, (25.0, Assumed), &[Doubt::SpeedAssumed]);
        check_speed(&fifty, Some(10.0), twice, (50.0, Read), &[]);
        check_speed(&fifty, None, twice, (50.0, Read), &[]);
        check_speed(&weak, Some(5.0), usual, (25.0, Measured), &[against]);
        check_speed(
            &[],
            Some(5.0),
            rare,
            (25.0, Measured),
            &unsure(speed, other),
        );
        // 0.1 s at the usual speed, or 0.2 s at half of it: length and beats tell.
        let weighed = [Doubt::SpeedWeighed(speed)];
        check_speed(
            &[],
            Some(2.5),
            (250.0, 25.0, 0.9),
            (25.0, Measured),
            &weighed,
        );
        check_speed(&[], Some(6.4), usual, (25.0, Measured), &weighed);
        check_speed(
            &[],
            Some(1.4),
            (250.0, 30.0, 1.2),
            (25.0, Assumed),
            &[Doubt::SpeedAssumed],
        );
    }

    #[test]
    fn what_the_operator_says_wins_and_is_compared() {
        let given = Given {
            speed: Some(MmPerSecond(50.0)),
            gain: Some(MmPerMillivolt(5.0)),
        };
        let labels = [text(LabelClass::Speed25, 0.9)];
        let found = calibrate(
            &labels,
            &[pulse(5.0)],
            PaperScale::Grid,
            Lengths::default(),
            given,
        );
        assert_eq!(found.speed.value, MmPerSecond(50.0));
        assert_eq!(found.doubts, [Doubt::GivenAgainstPage]);
    }

    #[test]
    fn chest_leads_at_half_gain_are_told_by_words_or_by_a_second_text_and_never_silently() {
        let check = |labels: &[Label], chest: Option<f32>| {
            let found = calibrate(
                labels,
                &[],
                PaperScale::Grid,
                Lengths::default(),
                Given::default(),
            );
            assert_eq!(found.gain.value, MmPerMillivolt(10.0), "{labels:?}");
            let chest = chest.map(MmPerMillivolt);
            assert_eq!(found.chest_gain.map(|g| g.value), chest, "{labels:?}");
            let mut expected = vec![Doubt::SpeedAssumed];
            expected.extend(chest.map(Doubt::ChestGain));
            assert_eq!(found.doubts, expected);
        };
        let ten = text(LabelClass::Gain10, 0.8);
        check(&[ten, text(LabelClass::HalfGainChest, 0.6)], Some(5.0));
        check(&[ten, text(LabelClass::Gain5, 0.5)], Some(5.0));
        check(&[ten, text(LabelClass::Gain5, 0.4)], None);
        let five = [
            text(LabelClass::Gain5, 0.8),
            text(LabelClass::HalfGainChest, 0.6),
        ];
        let usual = Lengths::default();
        let found = calibrate(&five, &[], PaperScale::Grid, usual, Given::default());
        assert_eq!(found.chest_gain, None);
        assert!(found.doubts.contains(&Doubt::ChestGainUnclear));
        let twenty = [text(LabelClass::Gain20, 0.8), text(LabelClass::Gain10, 0.7)];
        let chest = calibrate(
            &twenty,
            &[],
            PaperScale::Grid,
            Lengths::default(),
            Given::default(),
        )
        .chest_gain;
        assert_eq!(chest.map(|gain| gain.value), Some(MmPerMillivolt(10.0)));
        // Proven pulses and a text that reads as nothing else.
        let doubts = |labels: &[Label]| {
            let lengths = Lengths::default();
            let scale = PaperScale::Grid;
            let found = calibrate(labels, &[pulse(10.0)], scale, lengths, Given::default());
            assert_eq!(found.chest_gain.map(|g| g.value), Some(MmPerMillivolt(5.0)));
            found.doubts
        };
        let half = at(910.0, LabelClass::HalfGainChest, 0.5);
        let five = MmPerMillivolt(5.0);
        let written = [ten, half];
        assert!(doubts(&written).contains(&Doubt::ChestGainWritten(five)));
        let maybe_ten = [ten, half, at(900.0, LabelClass::Gain10, 0.35)];
        assert!(doubts(&maybe_ten).contains(&Doubt::ChestGain(five)));
        // "Chest: 5 mm/mV" may read as the gain alone, too.
        let named = [
            ten,
            at(900.0, LabelClass::Gain5, 0.44),
            at(910.0, LabelClass::HalfGainChest, 0.33),
        ];
        check(&named, Some(5.0));
        // "Chest: 10 mm/mV" with a beat across it reads as both.
        let as_likely = [ten, half, at(900.0, LabelClass::Gain10, 0.45)];
        let lengths = Lengths::default();
        let found = calibrate(&as_likely, &[], PaperScale::Grid, lengths, Given::default());
        assert_eq!(found.chest_gain, None);
        assert!(found.doubts.contains(&Doubt::ChestGainUnclear));
        // One text cannot say both.
        let other = at(900.0, LabelClass::Gain10, 0.5);
        let same_place = at(910.0, LabelClass::HalfGainChest, 0.4);
        check(&[ten, other, same_place], None);
    }
}
