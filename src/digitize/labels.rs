//! The labels of a page, read once, and once more on the paper laid flat where that shows more.
//!
//! In: the picture, the nets, then the grid. Out: `Labels` in the page's pixels and the quarter turn
//! that brings the writing upright. The first reading sees the whole picture; a page that lies
//! askew or small in it is read again through the grid's map, which knows where the paper is.

use crate::calibration::{Pulse, pulse_boxes};
use crate::grid::Grid;
use crate::labels::decode::{DecodeError, decode};
use crate::labels::flat::FlatView;
use crate::labels::view::{Canvas, View};
use crate::labels::{Label, LabelClass};
use crate::layout::LayoutError;
use crate::layout::fit::{self, SeenLead};
use crate::math;
use crate::nets::{NetError, Nets, Picture};
use crate::page::{InPaper, PageMap, Point, QuarterTurn, RawImage};

/// Boxes weaker than this are not looked at.
const LABEL_SCORE_MIN: f32 = 0.08;
/// A page turned by more than this is read again, and one that the canvas shows this much larger.
const ASKEW_RAD: f32 = 0.05;
const LARGER: f32 = 1.25;

/// What was read, and how well.
pub struct Labels {
    pub turn: QuarterTurn,
    pub labels: Vec<Label>,
    /// The lead names stand as on a known page, or as on two.
    is_known: bool,
    /// Sum of the lead names' scores.
    sum: f32,
}

impl Labels {
    fn of(turn: QuarterTurn, labels: Vec<Label>, only: Option<&str>) -> Self {
        let map = super::scale::pixels(turn);
        let leads = seen_leads(&labels, &map);
        let fit = fit::fit(&leads, &pulse_feet(&labels, &map), only);
        let is_known = match fit {
            Ok(fit) => fit.is_signed,
            Err(error) => matches!(error, LayoutError::TwoRecordings { .. }),
        };
        Self {
            turn,
            is_known,
            sum: leads.iter().map(|label| label.score).sum(),
            labels,
        }
    }

    fn is_better_than(&self, other: &Self) -> bool {
        (self.is_known, self.sum) > (other.is_known, other.sum)
    }
}

/// Labels of the first quarter turn in which they stand as on a known page, else of the turn in
/// which most was read.
pub fn read_labels<N: Nets>(
    image: &RawImage,
    nets: &N,
    only: Option<&str>,
) -> Result<Labels, NetError> {
    read_turns(only, |turn| {
        let view = View::new(image, turn);
        Ok((turn, read(nets, &view.draw(image), &view)?))
    })
}

/// The labels as they are read on the paper laid flat, if that is worth while and they are better
/// than those that were read at first.
pub fn read_flat<N: Nets>(
    image: &RawImage,
    nets: &N,
    only: Option<&str>,
    grid: &Grid,
    first: &Labels,
) -> Result<Option<Labels>, NetError> {
    let tilt = f64::from(grid.map.tilt_rad(Point::new(0.0, 0.0))) + first.turn.angle_rad();
    let is_askew = math::sin_cos_f64(tilt).0.abs() as f32 > ASKEW_RAD;
    let whole = View::new(image, first.turn).scale();
    let flat = FlatView::new(&grid.map, grid.area, QuarterTurn::None);
    let is_larger = flat.scale().min(1.0) > LARGER * whole.min(1.0);
    if first.is_known && !is_askew && !is_larger {
        return Ok(None);
    }
    let found = read_turns(only, |turn| {
        let view = FlatView::new(&grid.map, grid.area, turn);
        Ok((first.turn.then(turn), read(nets, &view.draw(image), &view)?))
    })?;
    Ok(Some(found).filter(|found| found.is_better_than(first)))
}

fn read<N: Nets>(nets: &N, picture: &Picture, view: &impl Canvas) -> Result<Vec<Label>, NetError> {
    let maps = nets.labels(picture)?;
    decode(&maps, view, LABEL_SCORE_MIN).map_err(|error: DecodeError| NetError {
        net: "labels",
        reason: error.to_string(),
    })
}

fn read_turns(
    only: Option<&str>,
    mut read: impl FnMut(QuarterTurn) -> Result<(QuarterTurn, Vec<Label>), NetError>,
) -> Result<Labels, NetError> {
    let mut best: Option<Labels> = None;
    for turn in QuarterTurn::ALL {
        let (turn, labels) = read(turn)?;
        let found = Labels::of(turn, labels, only);
        if found.is_known {
            return Ok(found);
        }
        if best.as_ref().is_none_or(|best| found.is_better_than(best)) {
            best = Some(found);
        }
    }
    Ok(best.expect("there are four turns"))
}

/// Where the calibration pulses stand on their rows.
pub fn pulse_feet(labels: &[Label], map: &PageMap) -> Vec<Point<InPaper>> {
    let foot = |pulse: &Pulse| Point::new((pulse.left + pulse.right).0 / 2.0, pulse.bottom.0);
    pulse_boxes(labels, map).iter().map(foot).collect()
}

/// The lead names on the paper.
pub fn seen_leads(labels: &[Label], map: &PageMap) -> Vec<SeenLead> {
    labels
        .iter()
        .filter_map(|label| match label.class {
            LabelClass::Lead(_) => {
                // Labels of one column begin together; how wide they are depends on the name.
                let [top, _, _, bottom] = label.corners.map(|corner| map.to_paper(corner));
                let at = Point::new((top.x + bottom.x) / 2.0, (top.y + bottom.y) / 2.0);
                Some(SeenLead {
                    leads: label.leads,
                    at,
                    score: label.score,
                })
            }
            LabelClass::Pulse | LabelClass::HalfGainChest => None,
            LabelClass::Speed25 | LabelClass::Speed12_5 | LabelClass::Speed50 => None,
            LabelClass::Gain10 | LabelClass::Gain5 | LabelClass::Gain20 => None,
        })
        .collect()
}
