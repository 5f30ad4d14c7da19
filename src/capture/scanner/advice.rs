//! What to do about a scan that failed.
//!
//! In: how `scanimage` ended and what it said; SANE's own words for what can happen (sane.h,
//! `sane_strstatus`). Out: an error for the operator where paper or cover are the matter, else for
//! the technician.

use crate::capture::program::{Ended, last_lines};
use crate::capture::source::SourceError;

/// SANE's words when the feeder has given its last page.
pub const NO_MORE_PAGES: &str = "out of documents";

/// SANE's words, and what whoever stands there has to do.
const FOR_THE_OPERATOR: [(&str, &str); 3] = [
    (
        "feeder jammed",
        "paper is jammed in the scanner: open it, take the paper out, put in the pages that are \
         missing and start again",
    ),
    (
        NO_MORE_PAGES,
        "there is no paper in the scanner's feeder: put the pages in and start again",
    ),
    (
        "cover is open",
        "the scanner's cover is open: close it and start again",
    ),
];

/// SANE's words, and what has to be mended.
const FOR_THE_TECHNICIAN: [(&str, &str); 5] = [
    (
        "Device busy",
        "another program uses it: end that, or wait for it",
    ),
    (
        "Access to resource has been denied",
        "no right to use it: add the service's user to the group scanner",
    ),
    (
        "Error during device I/O",
        "switch it off and on, check its cable",
    ),
    ("Out of memory", "too little memory: scan at 300 dpi"),
    (
        "option",
        "scanimage --help -d DEVICE shows what the scanner can be set to",
    ),
];

/// The error that a scan ended with.
pub fn of(device: &str, ended: &Ended) -> SourceError {
    let said = complaints(&ended.said);
    for (words, advice) in FOR_THE_OPERATOR {
        if said.contains(words) {
            let advice = advice.to_owned();
            return SourceError::Operator { advice };
        }
    }
    if said.contains("open of device") && said.contains("Invalid argument") {
        return SourceError::missing(
            device,
            "SANE finds it no more: switch it on, check its cable",
        );
    }
    for (words, advice) in FOR_THE_TECHNICIAN {
        if said.contains(words) {
            return SourceError::failed(device, format!("{advice} ({said})"));
        }
    }
    SourceError::failed(device, format!("{}: {said}", ended.status))
}

/// What was said without the talk of a scan that goes well.
fn complaints(said: &str) -> String {
    let is_talk = |line: &&str| {
        let talk = [
            "Scanning ",
            "Scanned page",
            "Place document",
            "Press ",
            "Batch terminated",
        ];
        talk.iter().any(|talk| line.starts_with(talk)) || line.contains("rounded value")
    };
    let lines: Vec<&str> = said.lines().filter(|line| !is_talk(line)).collect();
    last_lines(&lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::capture::source::ErrorKind;

    #[track_caller]
    fn check(said: &str, kind: ErrorKind, words: &str) {
        let said = format!("Scanning page 1\n{said}\nBatch terminated, 0 pages scanned\n");
        let status = ExitStatus::from_raw(256);
        let error = of("scanner", &Ended { status, said });
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn what_sane_says_becomes_what_to_do() {
        use ErrorKind::{Operator, Technician};
        check(
            "scanimage: sane_read: Document feeder jammed",
            Operator,
            "take the paper out",
        );
        check(
            "scanimage: sane_start: Document feeder out of documents",
            Operator,
            "put the pages in",
        );
        check(
            "scanimage: sane_start: Scanner cover is open",
            Operator,
            "close it",
        );
        check(
            "scanimage: sane_start: Device busy",
            Technician,
            "another program",
        );
        check(
            "scanimage: open of device a failed: Access to resource has been denied",
            Technician,
            "group",
        );
        check(
            "scanimage: sane_read: Error during device I/O",
            Technician,
            "cable",
        );
        check(
            "scanimage: open of device a failed: Invalid argument",
            Technician,
            "not there",
        );
        check(
            "scanimage: unrecognized option '--mode'",
            Technician,
            "--help",
        );
        check(
            "scanimage: something else",
            Technician,
            "exit status: 1: scanimage: something else",
        );
    }
}
