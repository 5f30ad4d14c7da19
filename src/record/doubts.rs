//! Doubts about the scale and the calibration, as findings.
//!
//! In: `Doubt`s, why no grid was found, how the recording's ends are known. Out: `Finding`s in words
//! that an operator can act on. A value that was assumed or contradicted is a warning at least;
//! nothing here changes a value.

use super::{Finding, Severity};
use crate::calibration::Doubt;
use crate::grid::GridError;
use crate::labels::Lead;
use crate::signal::extent::{EndsEvidence, WHOLE_S};
use crate::units::{Mm, Seconds};

/// Recordings are less than this off a whole multiple of `WHOLE_S`.
const ODD_S: f32 = 0.1;

/// One finding a doubt.
pub fn findings(doubts: &[Doubt]) -> Vec<Finding> {
    doubts.iter().map(finding).collect()
}

/// The finding for a page with a pacemaker's spikes.
pub fn spikes(count: usize) -> Finding {
    let message = format!(
        "{count} strokes without width, as of a pacemaker's spikes, are one sample each, as high as \
         the paper shows them"
    );
    Finding::new(Severity::Note, "spikes", None, message)
}

/// The finding for a page whose millimetres are not the grid's.
pub fn no_grid(why: &GridError) -> Finding {
    let message = format!(
        "no paper grid was found ({why}): lengths come from the pulse or the layout's usual length"
    );
    Finding::new(Severity::Warning, "no_grid", None, message)
}

/// The finding for a page that does not lie flat.
pub fn bent(off: Mm) -> Finding {
    let message = format!(
        "the paper is bent, its grid lies {:.1} mm off a flat sheet: beside folds the times may be \
         off by 0.05 s or more; lay it flat and capture it again if they matter",
        off.0
    );
    Finding::new(Severity::Note, "bent", None, message)
}

/// The finding for two traces whose lines run on one ink.
pub fn merged(a: Lead, b: Lead) -> Finding {
    let message = format!(
        "{} and {} run on one line for a while: one of them is wrong there",
        a.name(),
        b.name()
    );
    Finding::new(Severity::Warning, "merged", Some(b), message)
}

/// The finding for rows that lean against the grid.
pub fn leans(lean_rad: f32) -> Finding {
    let message = format!(
        "the rows lean by {:.1} degrees against the grid: at that slant I, II and III, and aVR, aVL \
         and aVF, agree; their times are told along it",
        lean_rad.to_degrees()
    );
    Finding::new(Severity::Note, "leans", None, message)
}

/// The finding for rows that do not end together.
pub fn ends(evidence: EndsEvidence) -> Option<Finding> {
    let message = "no two rows begin or end together: the times of all leads may be off by the \
                   same 0.1 s or so, and the recording's length with them";
    match evidence {
        EndsEvidence::Agreed => None,
        EndsEvidence::Alone => Some(Finding::new(
            Severity::Warning,
            "ends_unsure",
            None,
            message.to_owned(),
        )),
    }
}

/// The finding for a recording that is as long as no machine prints it: most such pages are misread.
pub fn length(duration: Seconds) -> Option<Finding> {
    let whole = (duration.0 / WHOLE_S).round() * WHOLE_S;
    let message = format!(
        "the recording seems to last {:.2} s, and machines print whole half seconds: where it \
         begins or ends, or the scale, is misread",
        duration.0
    );
    let is_odd = (duration.0 - whole).abs() > ODD_S;
    is_odd.then(|| Finding::new(Severity::Warning, "odd_length", None, message))
}

fn finding(doubt: &Doubt) -> Finding {
    Finding::new(severity(doubt), code(doubt), None, message(doubt))
}

/// A doubt that the page itself settles is a note.
fn severity(doubt: &Doubt) -> Severity {
    match doubt {
        Doubt::ChestGainWritten(_) | Doubt::SpeedWeighed(_) => Severity::Note,
        Doubt::SpeedAssumed | Doubt::GainAssumed | Doubt::GivenAgainstPage => Severity::Warning,
        Doubt::UnusualSpeed(_) | Doubt::SpeedUnsure { .. } => Severity::Warning,
        Doubt::SpeedAgainstText { .. } | Doubt::PulseAgainstText { .. } => Severity::Warning,
        Doubt::TwoSpeeds(..) | Doubt::TwoGains(..) | Doubt::OddPulse(_) => Severity::Warning,
        Doubt::ChestGain(_) | Doubt::ChestGainUnclear => Severity::Warning,
        Doubt::UnusualPulse(_) | Doubt::UnusualGain(_) => Severity::Warning,
    }
}

fn code(doubt: &Doubt) -> &'static str {
    match doubt {
        Doubt::SpeedAssumed => "speed_assumed",
        Doubt::GainAssumed => "gain_assumed",
        Doubt::UnusualSpeed(_) => "unusual_speed",
        Doubt::SpeedWeighed(_) => "speed_weighed",
        Doubt::SpeedUnsure { .. } => "speed_unsure",
        Doubt::SpeedAgainstText { .. } => "speed_against_text",
        Doubt::TwoSpeeds(..) => "two_speeds",
        Doubt::TwoGains(..) => "two_gains",
        Doubt::ChestGain(_) | Doubt::ChestGainWritten(_) => "chest_gain",
        Doubt::ChestGainUnclear => "chest_gain_unclear",
        Doubt::PulseAgainstText { .. } => "pulse_against_text",
        Doubt::UnusualPulse(_) | Doubt::UnusualGain(_) => "unusual_gain",
        Doubt::OddPulse(_) => "odd_pulse",
        Doubt::GivenAgainstPage => "given_against_page",
    }
}

fn message(doubt: &Doubt) -> String {
    match doubt {
        Doubt::SpeedAssumed => {
            "no paper speed was read: 25 mm/s is assumed; give --speed if it is another".to_owned()
        }
        Doubt::GainAssumed => {
            "no gain was read, no pulse measured: 10 mm/mV is assumed; give --gain if not"
                .to_owned()
        }
        Doubt::UnusualSpeed(speed) => format!(
            "a text says {} mm/s, and little else on the page does: give --speed to confirm",
            speed.0
        ),
        Doubt::SpeedWeighed(speed) => format!(
            "no paper speed was read; calibration pulses, length and beats together say {} mm/s",
            speed.0
        ),
        Doubt::SpeedUnsure { speed, other } => format!(
            "no paper speed was read; the calibration pulses say {} mm/s, but it may be {} mm/s: \
             give --speed to confirm",
            speed.0, other.0
        ),
        Doubt::SpeedAgainstText { speed, text } => format!(
            "a text says {} mm/s, but pulses, length and beats say {} mm/s, which is used: give \
             --speed to confirm",
            text.0, speed.0
        ),
        Doubt::TwoSpeeds(a, b) => two(a.0, b.0, "mm/s"),
        Doubt::TwoGains(a, b) => two(a.0, b.0, "mm/mV"),
        Doubt::ChestGain(gain) => format!(
            "a text alone says that the chest leads are printed at {} mm/mV: compare them with \
             the paper",
            gain.0
        ),
        Doubt::ChestGainWritten(gain) => format!(
            "a text says that the chest leads are printed at {} mm/mV",
            gain.0
        ),
        Doubt::ChestGainUnclear => {
            "a text may say that the chest leads are printed at half of the gain: they are read \
             at the page's, compare them with the paper"
                .to_owned()
        }
        Doubt::PulseAgainstText { pulse, text } => format!(
            "the calibration pulse says {} mm/mV, the text {} mm/mV; the pulse is used",
            pulse.0, text.0
        ),
        Doubt::UnusualPulse(gain) => format!(
            "the calibration pulse alone says {} mm/mV, which is unusual; compare it with the \
             paper, or give --gain",
            gain.0
        ),
        Doubt::UnusualGain(gain) => format!(
            "a text alone says {} mm/mV, which is unusual; compare it with the paper, or give \
             --gain",
            gain.0
        ),
        Doubt::OddPulse(height) => format!(
            "the calibration pulse is {:.1} mm high, as no usual gain makes it",
            height.0
        ),
        Doubt::GivenAgainstPage => "the speed or gain that was given is not the page's".to_owned(),
    }
}

fn two(first: f32, second: f32, unit: &str) -> String {
    format!("the page says {first} {unit} and {second} {unit}; the first is used")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, Status};
    use crate::units::MmPerMillivolt;

    #[test]
    fn a_length_that_no_machine_prints_is_told() {
        for usual in [2.5, 5.0, 8.05, 9.91, 10.0] {
            assert_eq!(length(Seconds(usual)), None);
        }
        for odd in [4.8, 10.25] {
            assert_eq!(length(Seconds(odd)).unwrap().code, "odd_length");
        }
    }

    #[test]
    fn what_was_assumed_is_never_ok() {
        let no_grid = no_grid(&GridError::NoRuling {
            strength: 0.2,
            needed: 0.5,
        });
        let mut all = findings(&[Doubt::SpeedAssumed, Doubt::GainAssumed]);
        all.push(no_grid);
        for finding in all {
            let status = Record::status_of(std::slice::from_ref(&finding));
            assert_eq!(status, Status::Warning, "{finding:?}");
        }
    }

    #[test]
    fn what_the_page_settles_is_a_note() {
        let speed = crate::calibration::SPEEDS[1];
        let gain = MmPerMillivolt(5.0);
        for finding in findings(&[Doubt::SpeedWeighed(speed), Doubt::ChestGainWritten(gain)]) {
            assert_eq!(finding.severity, Severity::Note, "{finding:?}");
        }
        let alone = &findings(&[Doubt::ChestGain(gain)])[0];
        assert_eq!(alone.severity, Severity::Warning);
    }

    #[test]
    fn both_values_of_a_contradiction_are_named() {
        let (pulse, text) = (MmPerMillivolt(5.0), MmPerMillivolt(10.0));
        let message = &findings(&[Doubt::PulseAgainstText { pulse, text }])[0].message;
        assert!(
            message.contains("5 mm/mV") && message.contains("10 mm/mV"),
            "{message}"
        );
    }
}
