//! The page map, from the grid or, where there is none, from the labels.
//!
//! In: the grid or why there is none, the quarter turn, the labels. Out: `Geometry`: a map in
//! millimetres and how they are known. Without a grid the rows' direction comes from the labels'
//! lattice, and the scale from the calibration pulse (1 mV, as high as the gain that a text says) or
//! from the usual length of the layout, 10 s at the speed that a text says; either is marked as such.

use super::Options;
use super::labels::{pulse_feet, seen_leads};
use super::level::level;
use crate::calibration::{
    Evidence, GAINS, LINE_WIDTH, PaperScale, USUAL_GAIN, USUAL_SPEED, pulse_boxes, pulse_height,
    written_gain, written_speed,
};
use crate::grid::{Grid, GridError};
use crate::labels::Label;
use crate::layout::LayoutError;
use crate::layout::fit::{Fit, fit};
use crate::math;
use crate::page::{Homography, PageMap, QuarterTurn, RawImage};
use crate::signal::extent::USUAL_S;
use crate::units::{Mm, MmPerMillivolt, MmPerSecond};

/// The map of a page.
#[derive(Clone, Debug)]
pub struct Geometry {
    pub map: PageMap,
    pub scale: PaperScale,
    pub evidence: Evidence,
    /// Why the millimetres are not the grid's, where they are not.
    pub no_grid: Option<GridError>,
    /// How far the grid's lines lie off a flat sheet, root mean square.
    pub grid_off: Option<Mm>,
    /// At what speed the recording is as long as usual, where that made the millimetres.
    pub fitted_speed: Option<MmPerSecond>,
    /// Whether there is a grid of lines as dark as the traces.
    pub is_grid_dark: bool,
}

/// A grid further off a flat sheet than this lies on bent paper: between the places where its lines
/// were seen the map is a guess.
const BENT_MM: f32 = 0.3;

/// How long a page's recording is on paper at most, for want of a grid.
const USUAL_LENGTH_MM_MAX: f32 = 250.0;
/// Pulse and length agree to this, or the length is not the usual one.
const AGREE: f32 = 0.15;
/// A text of this score is believed against the usual length: a beat written over a digit makes
/// another of it.
const SURE_SCORE: f32 = 0.6;
/// Rows of a page of one column stand this far apart for want of anything else.
const USUAL_PITCH_MM: f32 = 15.0;

impl Geometry {
    /// How far the grid lies off a flat sheet, where that matters.
    pub fn bent(&self) -> Option<Mm> {
        self.grid_off.filter(|off| off.0 > BENT_MM)
    }
}

/// Finds the page map.
pub fn find(
    grid: Result<Grid, GridError>,
    turn: QuarterTurn,
    image: &RawImage,
    labels: &[Label],
    options: &Options,
) -> Result<Geometry, LayoutError> {
    let only = options.layout.as_deref();
    let no_grid = match grid {
        Ok(grid) => {
            return Ok(Geometry {
                map: grid.map,
                scale: PaperScale::Grid,
                evidence: Evidence::Measured,
                no_grid: None,
                grid_off: Some(Mm(grid.residual_mm)),
                fitted_speed: None,
                is_grid_dark: grid.is_dark,
            });
        }
        Err(error) => error,
    };
    let fit = |map: &PageMap| fit(&seen_leads(labels, map), &pulse_feet(labels, map), only);
    let lattice = fit(&pixels(turn))?;
    let mut tilt = math::atan2(lattice.lattice.across[1], lattice.lattice.across[0]);
    if lattice.layout.column_count() == 1 {
        tilt = level(image, &pixels(turn), tilt);
    }
    let upright = turned(turn, tilt, 1.0, 1.0);
    let lattice = fit(&upright)?;
    let pulse = pulse_height(&pulse_boxes(labels, &upright)).map(|height| height.0);
    let speed = options.speed.or_else(|| written_speed(labels));
    let speed = speed.unwrap_or(USUAL_SPEED);
    let length = px_per_mm_along(&lattice, speed);
    let gain = SaidGain {
        surely: options.gain.or_else(|| written_gain(labels, SURE_SCORE)),
        perhaps: written_gain(labels, 0.0),
    };
    let (x, y) = match (pulse, length) {
        (Some(pulse), _) => px_per_mm(length, pulse, gain),
        (None, Some(length)) => (length, length),
        (None, None) => {
            let down = math::hypot(lattice.lattice.down[0], lattice.lattice.down[1]);
            (down / USUAL_PITCH_MM, down / USUAL_PITCH_MM)
        }
    };
    let evidence = if pulse.is_some() {
        Evidence::Measured
    } else {
        Evidence::Assumed
    };
    Ok(Geometry {
        map: turned(turn, tilt, x, y),
        scale: PaperScale::Fitted,
        evidence,
        no_grid: Some(no_grid),
        grid_off: None,
        fitted_speed: (length == Some(x)).then_some(speed),
        is_grid_dark: false,
    })
}

/// The picture's own pixels, its writing upright.
pub fn pixels(turn: QuarterTurn) -> PageMap {
    turned(turn, 0.0, 1.0, 1.0)
}

fn turned(turn: QuarterTurn, tilt: f32, x: f32, y: f32) -> PageMap {
    let angle = f64::from(tilt) - turn.angle_rad();
    let (sin, cos) = math::sin_cos_f64(angle);
    let (x, y) = (f64::from(x), f64::from(y));
    let map = Homography::new([x * cos, -y * sin, 0.0, x * sin, y * cos, 0.0, 0.0, 0.0, 1.0]);
    PageMap::new(map.expect("a positive scale has an inverse"), None)
}

/// The gain that the operator or a strong text says, and that any text does.
#[derive(Clone, Copy, Default)]
struct SaidGain {
    surely: Option<MmPerMillivolt>,
    perhaps: Option<MmPerMillivolt>,
}

/// Pixels a millimetre along and across the rows: by the recording's usual length, and by the pulse's
/// height in pixels at the gain that is surely said, or where none is, at one that agrees with the
/// length.
fn px_per_mm(length: Option<f32>, pulse: f32, gain: SaidGain) -> (f32, f32) {
    let by_pulse = |gain: f32| pulse / (gain + LINE_WIDTH.0);
    let agrees =
        |gain: &f32| length.is_some_and(|length| (length / by_pulse(*gain) - 1.0).abs() < AGREE);
    let by_length = GAINS.into_iter().find(agrees).map(MmPerMillivolt);
    let gain = gain.surely.or(by_length).or(gain.perhaps);
    let gain = gain.unwrap_or(USUAL_GAIN).0;
    let px = by_pulse(gain);
    (length.filter(|_| agrees(&gain)).unwrap_or(px), px)
}

/// The same by the length of a recording that lasts as long as most do at this speed.
fn px_per_mm_along(fit: &Fit, speed: MmPerSecond) -> Option<f32> {
    let columns = fit.layout.column_count();
    let across = math::hypot(fit.lattice.across[0], fit.lattice.across[1]);
    let usual_mm = (USUAL_S * speed.0).min(USUAL_LENGTH_MM_MAX);
    (columns > 1).then(|| across * columns as f32 / usual_mm)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of 8 px/mm along its rows, its pulse as high as `gain` makes it; `length` is what the
    /// recording tells.
    fn check(length: Option<f32>, gain: f32, written: Option<f32>, expected: f32) {
        let surely = written.map(MmPerMillivolt);
        check_said(
            length,
            gain,
            SaidGain {
                surely,
                perhaps: surely,
            },
            expected,
        );
    }

    fn check_said(length: Option<f32>, gain: f32, said: SaidGain, expected: f32) {
        let pulse = 8.0 * (gain + LINE_WIDTH.0);
        let (x, y) = px_per_mm(length, pulse, said);
        assert!((x / expected - 1.0).abs() < 0.01, "{x} px/mm along");
        assert!((y / expected - 1.0).abs() < 0.03, "{y} px/mm across");
    }

    #[test]
    fn a_pulse_is_as_high_as_the_written_gain() {
        for gain in GAINS {
            check(None, gain, Some(gain), 8.0);
            check(Some(20.0), gain, Some(gain), 8.0);
        }
    }

    #[test]
    fn the_length_tells_a_gain_that_is_not_written() {
        for gain in GAINS {
            check(Some(8.0), gain, None, 8.0);
        }
    }

    #[test]
    fn the_length_tells_a_gain_that_is_badly_written() {
        let said = SaidGain {
            surely: None,
            perhaps: Some(MmPerMillivolt(20.0)),
        };
        check_said(Some(8.0), 10.0, said, 8.0);
        check_said(None, 20.0, said, 8.0);
    }

    #[test]
    fn for_want_of_both_the_gain_is_the_usual_one() {
        check(None, 10.0, None, 8.0);
        check(None, 20.0, None, 8.0 * 20.35 / 10.35);
    }
}
