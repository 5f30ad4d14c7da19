//! `leadscan testpage`: writes the test page, and says how true a scan of it came back.
//!
//! In: where to write the page; or a picture of it, or a native record. Out: a PNG that states its
//! size, so that it prints true; or size, gain, time and what is wrong with each trace, with a fix.
//! Exit status 1: something is off, or the page was not read.

use std::path::Path;

use serde::Serialize;

use super::arguments::TestpageArguments;
use super::clock::{Clock, Telling};
use super::{ExitStatus, UsageError, digitize_one};
use crate::capture;
use crate::deliver::decode_native;
use crate::nn::{ModelFiles, TractNets};
use crate::record::{Record, Status};
use crate::testpage::compare::{Comparison, compare};
use crate::testpage::judge::{Fault, Scale, judge, judge_scale, scale};
use crate::testpage::{self, MM_AN_INCH, PRINT_DPI};
use crate::{limits, page::RawImage};

/// Writes the page, or verifies one.
pub fn testpage(arguments: &TestpageArguments) -> Result<ExitStatus, UsageError> {
    if let Some(path) = &arguments.verify {
        return verify(path, arguments);
    }
    if let Some(path) = &arguments.out {
        write(path)?;
        eprintln!(
            "{}: print it at 100 %, scan it, then: leadscan testpage --verify SCAN",
            path.display()
        );
    }
    Ok(ExitStatus::Done)
}

fn write(path: &Path) -> Result<(), UsageError> {
    let unwritten = |error| UsageError::Write {
        path: path.to_owned(),
        error,
    };
    let page =
        testpage::draw(PRINT_DPI).map_err(|error| unwritten(std::io::Error::other(error)))?;
    let bytes =
        png_of(&page, PRINT_DPI).map_err(|error| unwritten(std::io::Error::other(error)))?;
    std::fs::write(path, bytes).map_err(unwritten)
}

/// A PNG that states its resolution (`image` writes none).
pub fn png_of(picture: &RawImage, dpi: f32) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let (width, height) = (picture.width() as u32, picture.height() as u32);
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let px_per_m = (dpi * 1000.0 / MM_AN_INCH).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: px_per_m,
        yppu: px_per_m,
        unit: png::Unit::Meter,
    }));
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.rgb())?;
    writer.finish()?;
    Ok(bytes)
}

/// What is told of a page that came back.
#[derive(Serialize)]
struct Verified {
    file: String,
    ok: bool,
    status: Status,
    layout: Option<String>,
    /// Of the picture, pixels an inch; `None` where neither its file nor `--dpi` says it.
    dpi: Option<[f32; 2]>,
    scale: Option<Scale>,
    comparison: Option<Comparison>,
    faults: Vec<Fault>,
}

fn verify(path: &Path, arguments: &TestpageArguments) -> Result<ExitStatus, UsageError> {
    let unreadable = |reason: String| UsageError::Page {
        path: path.to_owned(),
        reason,
    };
    let bytes = match std::fs::metadata(path) {
        Ok(about) if about.len() > limits::FILE_BYTES_MAX => {
            return Err(unreadable("the file is too large".to_owned()));
        }
        Ok(_) => std::fs::read(path).map_err(|error| unreadable(error.to_string()))?,
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let given = arguments.dpi.map(|dpi| [f32::from(dpi); 2]);
    let (record, dpi) = match decode_native(&bytes) {
        Ok(record) => (record, given),
        Err(_) => {
            let dpi = given.or_else(|| capture::density_in(&bytes));
            let nets =
                TractNets::load(ModelFiles::bundled(), 1).map_err(UsageError::BundledModels)?;
            let done = digitize_one(&bytes, &nets, &mut Clock::start(Telling::Nothing));
            let (record, reduction) = done.map_err(unreadable)?;
            (record, dpi.map(|dpi| dpi.map(|dpi| dpi / reduction as f32)))
        }
    };
    let verified = look(path, &record, dpi);
    if arguments.json {
        super::write_json(&verified)?;
    } else {
        tell(&verified);
    }
    Ok(if verified.ok {
        ExitStatus::Done
    } else {
        ExitStatus::PagesFailed
    })
}

fn look(path: &Path, record: &Record, dpi: Option<[f32; 2]>) -> Verified {
    let comparison = compare(record);
    let scale = record
        .calibration
        .as_ref()
        .map(|calibration| scale(calibration, dpi));
    let mut faults = scale.as_ref().map(judge_scale).unwrap_or_default();
    faults.extend(judge(record, comparison.as_ref()));
    Verified {
        file: path.display().to_string(),
        ok: faults.is_empty(),
        status: record.status,
        layout: record.layout.clone(),
        dpi,
        scale,
        comparison,
        faults,
    }
}

fn tell(verified: &Verified) {
    if let Some(scale) = &verified.scale {
        match (scale.error_x, scale.error_y) {
            (Some(x), Some(y)) => {
                println!(
                    "size      {:+.2} % across, {:+.2} % down",
                    100.0 * x,
                    100.0 * y
                );
            }
            _ => {
                println!("size      unknown: the picture states no resolution, give it with --dpi")
            }
        }
        println!(
            "stretch   {:+.2} % across against down",
            100.0 * scale.ratio_error
        );
    }
    if let Some(comparison) = &verified.comparison {
        tell_comparison(comparison);
    }
    for fault in &verified.faults {
        println!("fault     {fault}");
    }
    let verdict = if verified.ok { "ok" } else { "not ok" };
    println!("{}: {verdict}", verified.file);
}

/// Gain, time, and a line a trace.
pub fn tell_comparison(comparison: &Comparison) {
    println!("gain      {:+.2} %", 100.0 * comparison.gain_error);
    let time = 100.0 * comparison.time_error;
    println!("time      {time:+.2} %, {:+.1} ms late", comparison.late_ms);
    println!("trace     rms uV  worst uV  read %");
    for trace in &comparison.traces {
        let name = format!("{} {}", trace.lead.name(), super::role_name(trace.role));
        let share = 100.0 * trace.coverage;
        println!(
            "{name:9} {:6.1} {:9.1} {share:7.1}",
            trace.rms_uv, trace.worst_uv
        );
    }
}
