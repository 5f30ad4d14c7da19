//! The scanners that SANE knows of.
//!
//! In: what `scanimage --formatted-device-list` puts out. Out: each scanner's name, vendor and
//! model. Lines that are none are left out.

use std::ffi::OsStr;
use std::fmt;

use super::advice;
use crate::capture::program::{Program, Wait};
use crate::capture::source::SourceError;
use crate::limits;

const FORMAT: &str = "%d|%v|%m|%t%n";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// SANE's name of it.
    pub device: String,
    pub vendor: String,
    pub model: String,
    pub kind: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            vendor,
            model,
            kind,
        } = self;
        write!(f, "{device}: {vendor} {model} ({kind})")
    }
}

/// All scanners that are there.
pub fn list(name: &str, program: &OsStr, wait: Wait) -> Result<Vec<Found>, SourceError> {
    let arguments = ["--formatted-device-list".to_owned(), FORMAT.to_owned()];
    let (mut program, mut output) = Program::begin(name, program, &arguments)?;
    let listed = program.read_all(&mut output, limits::PROGRAM_LIST_BYTES_MAX, wait)?;
    let ended = program.end(wait)?;
    if ended.status.success() {
        Ok(scanners(&String::from_utf8_lossy(&listed)))
    } else {
        Err(advice::of(name, &ended))
    }
}

fn scanners(listed: &str) -> Vec<Found> {
    let lines = listed.lines().filter_map(scanner);
    lines.take(limits::CAPTURE_DEVICES_MAX).collect()
}

fn scanner(line: &str) -> Option<Found> {
    let mut fields = line.rsplitn(4, '|').map(|field| field.trim().to_owned());
    let (kind, model, vendor) = (fields.next()?, fields.next()?, fields.next()?);
    let device = fields.next()?;
    Some(Found {
        device,
        vendor,
        model,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scanners_are_read_from_the_list() {
        let listed = "epson2:libusb:001:004|Epson|GT-X820|flatbed scanner\n\nnothing here\n\
                      net:host|odd|Noname|frontend-tester|virtual device\n";
        let found: Vec<String> = scanners(listed).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "epson2:libusb:001:004: Epson GT-X820 (flatbed scanner)",
                "net:host|odd: Noname frontend-tester (virtual device)",
            ]
        );
    }
}
