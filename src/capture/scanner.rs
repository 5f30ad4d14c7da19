//! A scanner, through SANE's `scanimage`.
//!
//! In: which scanner, by vendor, model and serial number or by SANE's name; resolution, mode, source
//! of paper, size in millimetres. Out: each page as a PNG file with its scale, at most
//! `limits::SCAN_DPI_MAX` fine. A page is never held in memory: its rows come through a named pipe
//! and are averaged and packed as they come. `scanimage` runs once for all pages of a feeder, and
//! asks before it draws in the next: it is answered when the page before is safe. Settings travel as
//! separate arguments. What is wrong with paper or cover is the operator's, in words that say what
//! to do; without a byte for `wait_ms` the scanner is silent, and `scanimage` is ended.

mod advice;
mod find;
mod pnm;
mod scan;
mod shrink;

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::PathBuf;

use serde::Deserialize;

use super::program::{Program, Wait};
use super::source::{self, ErrorKind, Made, SettingsError, Source, SourceError, Stop};

use find::Found;
use scan::{Order, Pages};

const PROGRAM: &str = "scanimage";
/// For the list of scanners: some are asked over the network.
const LIST_MS: u64 = 60_000;
const DPI: [u32; 2] = [75, 1_200];
const SIDE_MM_MAX: f32 = 1_000.0;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default = "program")]
    program: PathBuf,
    /// SANE's name of it. Names of USB scanners change when they are plugged in again: rather
    /// vendor and model.
    device: Option<String>,
    vendor: Option<String>,
    model: Option<String>,
    /// A part of SANE's name of it, which tells one of two equal scanners.
    serial: Option<String>,
    /// Whole multiples of 300 lose nothing when they are averaged.
    #[serde(default = "resolution_dpi")]
    resolution_dpi: u32,
    /// As the scanner calls it; left to the scanner where it is empty.
    #[serde(default = "mode")]
    mode: String,
    /// As the scanner calls it: `Flatbed`, `ADF`, `Automatic Document Feeder`.
    paper_source: Option<String>,
    #[serde(default)]
    pages: Pages,
    width_mm: Option<f32>,
    height_mm: Option<f32>,
    /// Further arguments of scanimage.
    #[serde(default)]
    options: Vec<String>,
    #[serde(default = "wait_ms")]
    wait_ms: u64,
}

fn program() -> PathBuf {
    PROGRAM.into()
}

fn resolution_dpi() -> u32 {
    300
}

fn mode() -> String {
    "Color".to_owned()
}

fn wait_ms() -> u64 {
    60_000
}

impl Settings {
    fn read(table: toml::Table) -> Result<Self, SettingsError> {
        let settings: Self = source::read(table)?;
        source::check_wait_ms(settings.wait_ms)?;
        let [dpi_min, dpi_max] = DPI;
        let is_side = |side: Option<f32>| side.is_none_or(|mm| mm > 0.0 && mm <= SIDE_MM_MAX);
        let fault = if !(dpi_min..=dpi_max).contains(&settings.resolution_dpi) {
            format!("resolution_dpi is {dpi_min} to {dpi_max}")
        } else if !is_side(settings.width_mm) || !is_side(settings.height_mm) {
            format!("width_mm and height_mm are more than 0, at most {SIDE_MM_MAX}")
        } else {
            return Ok(settings);
        };
        Err(SettingsError::Table { reason: fault })
    }

    fn name(&self) -> String {
        let known = [&self.device, &self.vendor, &self.model, &self.serial];
        let words: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
        ["scanner", &words.join(" ")]
            .join(" ")
            .trim_end()
            .to_owned()
    }

    fn is_it(&self, found: &Found) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
        };
        let has_serial = |serial: &String| found.device.contains(serial.as_str());
        is(&self.vendor, &found.vendor)
            && is(&self.model, &found.model)
            && self.serial.as_ref().is_none_or(has_serial)
    }

    fn arguments(&self, device: &str) -> Vec<String> {
        let mut all = ["--format=pnm", "--device-name", device]
            .map(str::to_owned)
            .to_vec();
        let mut add = |name: &str, value: Option<String>| {
            all.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
        };
        let text = |mm: Option<f32>| mm.map(|mm| mm.to_string());
        add(
            "--mode",
            Some(self.mode.clone()).filter(|mode| !mode.is_empty()),
        );
        add("--source", self.paper_source.clone());
        add("--resolution", Some(self.resolution_dpi.to_string()));
        add("-x", text(self.width_mm));
        add("-y", text(self.height_mm));
        all.extend(self.options.iter().cloned());
        all
    }
}

struct Scanner {
    settings: Settings,
    /// SANE's name of it, found once: looking for it may take long.
    device: Option<String>,
}

impl Scanner {
    /// SANE's name of the scanner that the settings mean.
    fn device(&mut self, stop: &Stop) -> Result<String, SourceError> {
        if let Some(device) = self.device.as_ref().or(self.settings.device.as_ref()) {
            return Ok(device.clone());
        }
        let (name, program) = (self.settings.name(), self.settings.program.as_os_str());
        let wait = Wait::new(stop, self.settings.wait_ms);
        let mut found = find::list(&name, program, wait)?;
        found.retain(|found| self.settings.is_it(found));
        if let [one] = found.as_slice() {
            self.device = Some(one.device.clone());
            return Ok(one.device.clone());
        }
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        if lines.is_empty() {
            let reason = "SANE finds no such scanner: switch it on, check its cable";
            return Err(SourceError::missing(&name, reason));
        }
        let reason = format!(
            "several fit: say which by `serial` or `device`: {}",
            lines.join("; ")
        );
        Err(SourceError::failed(&name, reason))
    }

    fn scan(
        &mut self,
        stop: &Stop,
        take: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let device = self.device(stop)?;
        let order = Order {
            name: &self.settings.name(),
            program: self.settings.program.as_os_str(),
            arguments: self.settings.arguments(&device),
            resolution_dpi: self.settings.resolution_dpi,
            pages: self.settings.pages,
            wait_ms: self.settings.wait_ms,
        };
        scan::scan(&order, stop, take)
    }

    /// Sets all that is set, without a scan.
    fn try_settings(&mut self) -> Result<String, SourceError> {
        let stop = Stop::default();
        let device = self.device(&stop)?;
        let (name, program) = (self.settings.name(), self.settings.program.as_os_str());
        let mut arguments = self.settings.arguments(&device);
        arguments.push("--dont-scan".to_owned());
        let program = Program::begin_without_output(&name, program, &arguments)?;
        let ended = program.end(Wait::new(&stop, self.settings.wait_ms))?;
        if ended.status.success() {
            Ok(format!("{device}, {} dpi", self.settings.resolution_dpi))
        } else {
            Err(advice::of(&name, &ended))
        }
    }

    /// After an error that is no matter of paper the scanner may come back under another name.
    fn forgetting<T>(&mut self, done: Result<T, SourceError>) -> Result<T, SourceError> {
        if done
            .as_ref()
            .is_err_and(|error| error.kind() != ErrorKind::Operator)
        {
            self.device = None;
        }
        done
    }
}

impl Source for Scanner {
    fn capture(
        &mut self,
        stop: &Stop,
        take: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let done = self.scan(stop, take);
        self.forgetting(done)
    }

    fn check(&mut self) -> Result<String, SourceError> {
        let done = self.try_settings();
        self.forgetting(done)
    }
}

/// A scanner with these settings.
pub fn new(table: toml::Table) -> Made {
    let settings = Settings::read(table)?;
    let device = None;
    Ok(Box::new(Scanner { settings, device }))
}

/// The scanners that SANE finds.
pub fn devices() -> Result<Vec<String>, SourceError> {
    let stop = Stop::default();
    let found = find::list("scanner", OsStr::new(PROGRAM), Wait::new(&stop, LIST_MS))?;
    Ok(found.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(table: &str) -> Result<Settings, SettingsError> {
        Settings::read(toml::from_str(table).unwrap())
    }

    #[test]
    fn settings_are_arguments_each_of_its_own() {
        let all = "resolution_dpi = 600\nmode = 'True Gray'\npaper_source = 'ADF Front; rm -r /'\n\
                   width_mm = 210\nheight_mm = 297.5\noptions = ['--swcrop=yes']";
        assert_eq!(
            settings(all).unwrap().arguments("a:b c"),
            [
                "--format=pnm",
                "--device-name",
                "a:b c",
                "--mode",
                "True Gray",
                "--source",
                "ADF Front; rm -r /",
                "--resolution",
                "600",
                "-x",
                "210",
                "-y",
                "297.5",
                "--swcrop=yes",
            ]
        );
        let few = settings("mode = ''").unwrap();
        assert_eq!(
            few.arguments("a").join(" "),
            "--format=pnm --device-name a --resolution 300"
        );
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for table in [
            "resolution_dpi = 20",
            "resolution_dpi = 4_800",
            "width_mm = 0",
            "height_mm = nan",
            "pages = 'some'",
            "wait_ms = 1",
            "source_of_paper = 'ADF'",
        ] {
            assert!(settings(table).is_err(), "{table}");
        }
    }

    #[test]
    fn a_scanner_is_known_by_what_is_said_of_it() {
        let found = Found {
            device: "fujitsu:ScanSnap iX500:1234".to_owned(),
            vendor: "FUJITSU".to_owned(),
            model: "ScanSnap iX500".to_owned(),
            kind: "scanner".to_owned(),
        };
        let is_it = |table| settings(table).unwrap().is_it(&found);
        assert!(is_it(""));
        assert!(is_it(
            "vendor = 'Fujitsu'\nmodel = 'ScanSnap iX500'\nserial = '1234'"
        ));
        assert!(!is_it("vendor = 'Fujitsu'\nserial = '12345'"));
        assert!(!is_it("model = 'ScanSnap'"));
    }
}
