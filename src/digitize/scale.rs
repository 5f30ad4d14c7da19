//! The page map, from the grid or, where there is none, from the labels.
//!
//! In: the grid or why there is none, the quarter turn, the labels. Out: `Geometry`: a map in
//! millimetres and how they are known. Without a grid the rows' direction comes from the labels'
//! lattice, and the scale from the calibration pulse (10 mm, at the one gain whose pulse is as
//! high) or from the usual length of the layout, 10 s at 25 mm/s; either is marked as such.

use super::labels::{pulse_feet, seen_leads};
use crate::calibration::{Evidence, PaperScale, pulse_boxes, pulse_height};
use crate::grid::{Grid, GridError};
use crate::labels::Label;
use crate::layout::LayoutError;
use crate::layout::fit::{Fit, fit};
use crate::math;
use crate::page::{Homography, PageMap, QuarterTurn};
use crate::units::Mm;

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
}

/// A grid further off a flat sheet than this lies on bent paper: between the places where its lines
/// were seen the map is a guess.
const BENT_MM: f32 = 0.3;

/// Length of a page's recording for want of a grid: 10 s at 25 mm/s.
const USUAL_LENGTH_MM: f32 = 250.0;
/// Height of a pulse for want of a grid: 1 mV at 10 mm/mV.
const USUAL_PULSE_MM: f32 = 10.0;
/// Pulse and length agree to this, or the length is not the usual one.
const AGREE: f32 = 0.15;
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
    labels: &[Label],
    only: Option<&str>,
) -> Result<Geometry, LayoutError> {
    let no_grid = match grid {
        Ok(grid) => {
            return Ok(Geometry {
                map: grid.map,
                scale: PaperScale::Grid,
                evidence: Evidence::Measured,
                no_grid: None,
                grid_off: Some(Mm(grid.residual_mm)),
            });
        }
        Err(error) => error,
    };
    let fit = |map: &PageMap| fit(&seen_leads(labels, map), &pulse_feet(labels, map), only);
    let lattice = fit(&pixels(turn))?;
    let tilt = math::atan2(lattice.lattice.across[1], lattice.lattice.across[0]);
    let upright = turned(turn, tilt, 1.0, 1.0);
    let lattice = fit(&upright)?;
    let pulse =
        pulse_height(&pulse_boxes(labels, &upright)).map(|height| height.0 / USUAL_PULSE_MM);
    let (x, y) = px_per_mm(&lattice, pulse);
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

/// Pixels a millimetre along and across the rows.
fn px_per_mm(fit: &Fit, pulse: Option<f32>) -> (f32, f32) {
    let columns = fit.layout.column_count();
    let across = math::hypot(fit.lattice.across[0], fit.lattice.across[1]);
    let length = (columns > 1).then(|| across * columns as f32 / USUAL_LENGTH_MM);
    match (length, pulse) {
        (Some(length), Some(pulse)) if (length / pulse - 1.0).abs() < AGREE => (length, pulse),
        (_, Some(pulse)) => (pulse, pulse),
        (Some(length), None) => (length, length),
        (None, None) => {
            let pitch = math::hypot(fit.lattice.down[0], fit.lattice.down[1]) / USUAL_PITCH_MM;
            (pitch, pitch)
        }
    }
}
