//! Frames of an open camera, and which of them becomes the page.
//!
//! In: frames one after another, real ones or recorded ones. Out: the sharpest of three whole ones,
//! as a picture file: JPEG as it came, YUYV as PNG. The first frames are left out, exposure and
//! colour are still moving in them. A frame is whole if all its bytes are there and, for JPEG, if it
//! decodes at the size that was agreed; others are dropped and counted, at most
//! `limits::CAPTURE_BAD_FRAMES_MAX`. Each frame is waited for with a bound.

use std::borrow::Cow;
use std::time::Duration;

use super::choice::Coding;
use super::sharpness::{Luma, sharpness};
use super::{tables, yuyv};
use crate::capture::program::Wait;
use crate::capture::source::{SourceError, Stop};
use crate::capture::{Plan, REDUCTIONS, decode_in, header_in};
use crate::limits;

/// Frames of which the sharpest is taken.
const COMPARED: usize = 3;

/// What the frames of an open camera are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub coding: Coding,
    pub width: usize,
    pub height: usize,
    /// Bytes from one row to the next; at least those of a row.
    pub stride: usize,
}

/// An open camera that gives frames; it closes when it is dropped.
pub trait Frames {
    fn format(&self) -> Format;

    /// The next frame, or nothing if there was none within `wait`. After an error there are no
    /// more.
    fn next(&mut self, wait: Duration) -> Result<Option<&[u8]>, SourceError>;
}

/// How frames are waited for and chosen.
pub struct Choosing<'a> {
    pub device: &'a str,
    pub first_frames: usize,
    pub wait_ms: u64,
    pub stop: &'a Stop,
}

/// The page out of frames.
pub fn best(frames: &mut dyn Frames, choosing: &Choosing) -> Result<Vec<u8>, SourceError> {
    for _ in 0..choosing.first_frames {
        wait_for(frames, choosing, |_| ())?;
    }
    let format = frames.format();
    let mut best: Option<(u64, Vec<u8>)> = None;
    let (mut whole, mut bad) = (0, 0);
    while whole < COMPARED {
        let sharper = wait_for(frames, choosing, |frame| {
            let frame = match format.coding {
                Coding::Mjpg => tables::complete(frame),
                Coding::Yuyv => Cow::Borrowed(frame),
            };
            let found = sharpness(&luma(&frame, &format)?);
            let is_best = best.as_ref().is_none_or(|(sharpest, _)| found > *sharpest);
            Some(is_best.then(|| (found, frame.into_owned())))
        })?;
        match sharper {
            Some(sharper) => {
                whole += 1;
                best = sharper.or(best);
            }
            None => bad += 1,
        }
        if bad > limits::CAPTURE_BAD_FRAMES_MAX {
            let reason = format!("{bad} of {} frames were cut short or damaged", bad + whole);
            return Err(SourceError::failed(choosing.device, reason));
        }
    }
    let frame = best.map(|(_, frame)| frame).unwrap_or_default();
    match format.coding {
        Coding::Mjpg => Ok(frame),
        Coding::Yuyv => yuyv::picture(&frame, &format)
            .map_err(|error| SourceError::failed(choosing.device, error)),
    }
}

/// Waits for one frame and looks at it.
fn wait_for<T>(
    frames: &mut dyn Frames,
    choosing: &Choosing,
    look: impl FnOnce(&[u8]) -> T,
) -> Result<T, SourceError> {
    let wait = Wait::new(choosing.stop, choosing.wait_ms);
    loop {
        let step = wait.step(choosing.device)?;
        if let Some(frame) = frames.next(step)? {
            return Ok(look(frame));
        }
    }
}

/// The brightness of a whole frame; nothing of one that is not.
fn luma(frame: &[u8], format: &Format) -> Option<Luma> {
    if frame.len() > limits::CAPTURE_PAGE_BYTES_MAX {
        return None;
    }
    match format.coding {
        Coding::Mjpg => luma_of_jpeg(frame, format),
        Coding::Yuyv => {
            (frame.len() >= yuyv::frame_bytes(format)).then(|| yuyv::luma(frame, format))
        }
    }
}

fn luma_of_jpeg(frame: &[u8], format: &Format) -> Option<Luma> {
    let header = header_in(frame).ok()?;
    if (header.width, header.height) != (format.width, format.height) {
        return None;
    }
    let sizes = REDUCTIONS.into_iter().zip(header.decode_bytes);
    let small = |reduction: usize| {
        let (width, height) = (format.width / reduction, format.height / reduction);
        width * height <= limits::SHARPNESS_PX_MAX
    };
    let plans = sizes.filter_map(|(reduction, bytes)| {
        Some(Plan {
            reduction,
            bytes: bytes?,
        })
    });
    let plan = plans.into_iter().find(|plan| small(plan.reduction))?;
    let page = decode_in(frame, &header, plan).ok()?;
    let value = |pixel: &[u8]| {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        ((77 * r + 150 * g + 29 * b) >> 8) as u8
    };
    Some(Luma {
        width: page.width(),
        height: page.height(),
        values: page.rgb().chunks_exact(3).map(value).collect(),
    })
}
