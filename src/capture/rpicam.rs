//! A camera on a Raspberry Pi's own connector (CSI), through `rpicam-still`.
//!
//! In: lens, shutter, gain and white balance where they are to stay fixed. Out: one JPEG file, as the
//! program puts it on its output. With all four fixed there is nothing to settle and the picture is
//! taken at once; else the program looks for `settle_ms` first. Every capture is a program of its
//! own: it ends within `wait_ms` or is killed, and what it gives is at most
//! `limits::CAPTURE_PAGE_BYTES_MAX` long and a whole JPEG, or there is no page.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::PathBuf;

use serde::Deserialize;

use super::program::{Ended, Program, Wait, last_lines};
use super::source::{self, Made, SettingsError, Source, SourceError, Stop};
use super::{Header, Kind, header_in};
use crate::limits;

const PROGRAM: &str = "rpicam-still";
const QUALITY: &str = "93";
/// For the list of cameras.
const LIST_MS: u64 = 10_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default = "program")]
    program: PathBuf,
    /// Which camera, as `rpicam-still --list-cameras` counts them.
    #[serde(default)]
    camera_index: u32,
    width_px: Option<u32>,
    height_px: Option<u32>,
    /// How near the lens looks: 1 over the metres to the page.
    lens_position_per_m: Option<f32>,
    shutter_us: Option<u32>,
    gain: Option<f32>,
    /// Of red and of blue.
    white_balance_gains: Option<[f32; 2]>,
    #[serde(default = "settle_ms")]
    settle_ms: u64,
    #[serde(default = "wait_ms")]
    wait_ms: u64,
}

fn program() -> PathBuf {
    PROGRAM.into()
}

fn settle_ms() -> u64 {
    2_000
}

fn wait_ms() -> u64 {
    20_000
}

impl Settings {
    fn read(table: toml::Table) -> Result<Self, SettingsError> {
        let settings: Self = source::read(table)?;
        source::check_wait_ms(settings.wait_ms)?;
        let is_number = |value: f32, max: f32| (0.0..=max).contains(&value);
        let pixels = |side: Option<u32>| side.unwrap_or(0) as usize;
        let (width, height) = (pixels(settings.width_px), pixels(settings.height_px));
        let gains = settings.white_balance_gains.unwrap_or_default();
        let fault = if settings.settle_ms >= settings.wait_ms {
            "settle_ms is at least wait_ms: no picture would ever be waited for".to_owned()
        } else if settings.width_px.is_some() != settings.height_px.is_some() {
            "width_px and height_px belong together".to_owned()
        } else if width.saturating_mul(height) > limits::PAGE_PX_MAX {
            format!("a page has at most {} pixels", limits::PAGE_PX_MAX)
        } else if !is_number(settings.lens_position_per_m.unwrap_or(0.0), 100.0) {
            "lens_position_per_m is 0 (far) to 100 (a centimetre)".to_owned()
        } else if !is_number(settings.gain.unwrap_or(1.0), 1_000.0) {
            "gain is 0 to 1000".to_owned()
        } else if !gains.iter().all(|gain| is_number(*gain, 32.0)) {
            "white_balance_gains are 0 to 32".to_owned()
        } else {
            return Ok(settings);
        };
        Err(SettingsError::Table { reason: fault })
    }

    fn name(&self) -> String {
        format!("camera {} of {}", self.camera_index, self.program.display())
    }

    fn arguments(&self) -> Vec<String> {
        let mut all: Vec<String> = ["--nopreview", "--encoding", "jpg", "--quality", QUALITY]
            .map(str::to_owned)
            .into();
        let mut add = |name: &str, value: Option<String>| {
            all.extend(
                value
                    .into_iter()
                    .flat_map(|value| [format!("--{name}"), value]),
            );
        };
        let text = |value: Option<u32>| value.map(|value| value.to_string());
        let gains = self
            .white_balance_gains
            .map(|[red, blue]| format!("{red},{blue}"));
        let lens = self.lens_position_per_m;
        add("camera", Some(self.camera_index.to_string()));
        add("width", text(self.width_px));
        add("height", text(self.height_px));
        add("autofocus-mode", lens.map(|_| "manual".to_owned()));
        add("lens-position", lens.map(|per_m| per_m.to_string()));
        add("shutter", text(self.shutter_us));
        add("gain", self.gain.map(|gain| gain.to_string()));
        add("awbgains", gains);
        add("output", Some("-".to_owned()));
        if self.is_fixed() {
            all.push("--immediate".to_owned());
        } else {
            all.extend(["--timeout".to_owned(), self.settle_ms.to_string()]);
        }
        all
    }

    /// Nothing is left that the camera would find by itself.
    fn is_fixed(&self) -> bool {
        let are_gains = self.gain.is_some() && self.white_balance_gains.is_some();
        are_gains && self.lens_position_per_m.is_some() && self.shutter_us.is_some()
    }
}

struct Rpicam {
    settings: Settings,
}

impl Rpicam {
    fn picture(&self, stop: &Stop) -> Result<(Header, Vec<u8>), SourceError> {
        let (name, settings) = (self.settings.name(), &self.settings);
        let wait = Wait::new(stop, settings.wait_ms);
        let program = settings.program.as_os_str();
        let bytes = output(&name, program, &settings.arguments(), wait)?;
        match header_in(&bytes) {
            Ok(header) if header.kind == Kind::Jpeg => Ok((header, bytes)),
            Ok(header) => Err(SourceError::failed(
                &name,
                format!("it gave no JPEG but {:?}", header.kind),
            )),
            Err(fault) => Err(SourceError::failed(&name, format!("its picture: {fault}"))),
        }
    }
}

impl Source for Rpicam {
    fn capture(
        &mut self,
        stop: &Stop,
        take: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let (_, page) = self.picture(stop)?;
        // One page is all there is, whether to go on or not.
        let _ = take(page);
        Ok(())
    }

    fn check(&mut self) -> Result<String, SourceError> {
        let (header, page) = self.picture(&Stop::default())?;
        let (width, height) = (header.width, header.height);
        Ok(format!(
            "{width} x {height} px, a JPEG of {} bytes",
            page.len()
        ))
    }
}

/// A camera with these settings.
pub fn new(table: toml::Table) -> Made {
    let settings = Settings::read(table)?;
    Ok(Box::new(Rpicam { settings }))
}

/// The cameras that the program lists.
pub fn devices() -> Result<Vec<String>, SourceError> {
    let stop = Stop::default();
    let wait = Wait::new(&stop, LIST_MS);
    let arguments = ["--list-cameras".to_owned()];
    let listed = output("Raspberry Pi camera", OsStr::new(PROGRAM), &arguments, wait)?;
    Ok(cameras(&String::from_utf8_lossy(&listed)))
}

/// Lines such as `0 : imx708 [4608x2592 10-bit RGGB] (/base/soc/...)`.
fn cameras(listed: &str) -> Vec<String> {
    let is_camera = |line: &&str| {
        let number = line.split_once(" : ").map(|(number, _)| number);
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let lines = listed.lines().map(str::trim).filter(is_camera);
    lines
        .take(limits::CAPTURE_DEVICES_MAX)
        .map(str::to_owned)
        .collect()
}

/// All that a program puts out, once it has ended well.
fn output(
    device: &str,
    program: &OsStr,
    arguments: &[String],
    wait: Wait,
) -> Result<Vec<u8>, SourceError> {
    let (mut program, mut output) = Program::begin(device, program, arguments)?;
    let bytes = program.read_all(&mut output, limits::CAPTURE_PAGE_BYTES_MAX, wait)?;
    let ended = program.end(wait)?;
    if ended.status.success() {
        Ok(bytes)
    } else {
        Err(complaint(device, &ended))
    }
}

fn complaint(device: &str, ended: &Ended) -> SourceError {
    let said = last_lines(&ended.said);
    if ended.said.contains("no cameras available") {
        let reason = format!("{said}; check the ribbon cable, then restart the board");
        return SourceError::missing(device, reason);
    }
    SourceError::failed(device, format!("{}: {said}", ended.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(table: &str) -> Result<Settings, SettingsError> {
        Settings::read(toml::from_str(table).unwrap())
    }

    #[test]
    fn what_is_fixed_is_said_and_with_all_of_it_there_is_no_waiting() {
        let some = settings("shutter_us = 8000\nlens_position_per_m = 4.5").unwrap();
        assert_eq!(
            some.arguments().join(" "),
            "--nopreview --encoding jpg --quality 93 --camera 0 --autofocus-mode manual \
             --lens-position 4.5 --shutter 8000 --output - --timeout 2000"
        );
        let all = "camera_index = 1\nshutter_us = 8000\nlens_position_per_m = 4.5\ngain = 1.5\n\
                   white_balance_gains = [1.9, 2.1]\nwidth_px = 4056\nheight_px = 3040";
        assert_eq!(
            settings(all).unwrap().arguments().join(" "),
            "--nopreview --encoding jpg --quality 93 --camera 1 --width 4056 --height 3040 \
             --autofocus-mode manual --lens-position 4.5 --shutter 8000 --gain 1.5 \
             --awbgains 1.9,2.1 --output - --immediate"
        );
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for table in [
            "wait_ms = 5",
            "settle_ms = 20_000",
            "width_px = 640",
            "width_px = 9000\nheight_px = 9000",
            "lens_position_per_m = -1.0",
            "gain = nan",
            "white_balance_gains = [1.0, inf]",
            "shutter = 8000",
        ] {
            assert!(settings(table).is_err(), "{table}");
        }
    }

    #[test]
    fn cameras_are_listed() {
        let listed = "Available cameras\n-----------------\n0 : imx708 [4608x2592] (/base/soc)\n    \
                      Modes: 'SRGGB10' : 1536x864 [120.13 fps]\n1 : imx219 [3280x2464]\n";
        assert_eq!(
            cameras(listed),
            [
                "0 : imx708 [4608x2592] (/base/soc)",
                "1 : imx219 [3280x2464]"
            ]
        );
    }
}
