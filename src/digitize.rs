//! One page, from pixels to a record.
//!
//! In: a `RawImage`, the nets, the options. Out: a `Record`, rejected where the page was not
//! understood; an error only where a net failed. The only place that knows the order of the steps.
//!
//! ```text
//!   labels (all quarter turns, until one reads) -> grid -> labels on the flat paper -> layout
//!     -> rows -> lines
//!     -> where the recording begins -> calibration -> samples -> checks
//! ```

mod labels;
mod lean;
mod level;
mod reading;
mod scale;
mod signals;

use crate::calibration::PaperScale;
use crate::grid::{Grid, GridError, PageLines};
use crate::labels::Label;
use crate::layout::rows::{Ruled, find_rows};
use crate::layout::{Layout, LayoutError, fit};
use crate::math;
pub use crate::nets::*;
use crate::page::RawImage;
use crate::record::{Finding, Record, SeenLabel, Severity, checks, doubts, quality};
use crate::units::{Hertz, MmPerMillivolt, MmPerSecond, Seconds};
pub use scale::Geometry;

/// What the operator may say about a page before it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub sample_rate: Hertz,
    /// Paper speed and gain, where the operator knows better than the page.
    pub speed: Option<MmPerSecond>,
    pub gain: Option<MmPerMillivolt>,
    /// Name of the only layout to be tried, e.g. `3x4+1R`.
    pub layout: Option<String>,
}

impl Options {
    /// Of whoever says nothing: 500 Hz, and all else is the page's to tell.
    pub fn usual() -> Self {
        Self {
            sample_rate: Hertz(500.0),
            speed: None,
            gain: None,
            layout: None,
        }
    }
}

/// The steps of a page, as they are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Labels,
    Grid,
    Layout,
    Trace,
    Signal,
}

impl Stage {
    pub const ALL: [Self; 5] = [
        Self::Labels,
        Self::Grid,
        Self::Layout,
        Self::Trace,
        Self::Signal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Grid => "grid",
            Self::Layout => "layout",
            Self::Trace => "trace",
            Self::Signal => "signal",
        }
    }
}

/// Told when each stage begins; the core has no clock.
pub trait Observer {
    fn begins(&mut self, stage: Stage);
}

/// Nobody watches.
impl Observer for () {
    fn begins(&mut self, _stage: Stage) {}
}

/// Digitizes one page.
pub fn digitize<N: Nets>(
    image: &RawImage,
    nets: &N,
    options: &Options,
    observer: &mut impl Observer,
) -> Result<Record, NetError> {
    let only = options.layout.as_deref();
    let (seen, grid) = read_page(image, nets, only, observer)?;
    let labels = seen.labels;
    let mut record = blank(image, options, &labels);
    let geometry = match scale::find(grid, seen.turn, image, &labels, options) {
        Ok(geometry) => geometry,
        Err(error) => return Ok(rejected(record, "layout", &error.to_string())),
    };
    record
        .findings
        .extend(geometry.no_grid.as_ref().map(doubts::no_grid));
    record.findings.extend(geometry.bent().map(doubts::bent));
    observer.begins(Stage::Layout);
    let layout = match find_layout(image, &geometry, &labels, only) {
        Ok(layout) => layout,
        Err(error) => return Ok(rejected(record, "layout", &error.to_string())),
    };
    record.layout = Some(layout.matrix.to_owned());
    observer.begins(Stage::Trace);
    let rows = reading::read_rows(image, &geometry.map, nets, &layout, &labels)?;
    observer.begins(Stage::Signal);
    let read = signals::PageRead {
        image,
        labels: &labels,
        geometry: &geometry,
        layout: &layout,
        rows: &rows,
    };
    if let Err(error) = read.record_signals(&mut record, options) {
        return Ok(rejected(record, "no_trace", &error.to_string()));
    }
    record
        .findings
        .extend(checks::check(&record.traces, options.sample_rate));
    quality::assess(&mut record);
    record.draw_spikes();
    record.status = Record::status_of(&record.findings);
    if record.status == crate::record::Status::Rejected {
        record.traces.clear();
    }
    Ok(record)
}

/// The labels and the grid, each of which may tell more of the other.
fn read_page<N: Nets>(
    image: &RawImage,
    nets: &N,
    only: Option<&str>,
    observer: &mut impl Observer,
) -> Result<(labels::Labels, Result<Grid, GridError>), NetError> {
    observer.begins(Stage::Labels);
    let (seen, lines) = nets.with(
        || labels::read_labels(image, nets, only),
        || PageLines::of(image),
    );
    let mut seen = seen?;
    observer.begins(Stage::Grid);
    let lines = lines.unwrap_or_else(|| PageLines::of(image));
    let mut grid = lines.grid(image, seen.turn);
    if let Ok(found) = &grid {
        observer.begins(Stage::Labels);
        if let Some(better) = labels::read_flat(image, nets, only, found, &seen)? {
            observer.begins(Stage::Grid);
            if better.turn != seen.turn {
                grid = lines.grid(image, better.turn);
            }
            seen = better;
        }
    }
    Ok((seen, grid))
}

fn blank(image: &RawImage, options: &Options, labels: &[Label]) -> Record {
    let seen = |label: &Label| SeenLabel {
        class: label.class.name().to_owned(),
        score: label.score,
        corners_px: label.corners.map(|corner| [corner.x, corner.y]),
    };
    Record {
        status: crate::record::Status::Rejected,
        findings: Vec::new(),
        width_px: image.width(),
        height_px: image.height(),
        layout: None,
        calibration: None,
        sample_rate: options.sample_rate,
        duration: Seconds(0.0),
        traces: Vec::new(),
        labels: labels.iter().map(seen).collect(),
        line_width: None,
        quality_db: None,
        origin: None,
    }
}

fn rejected(mut record: Record, code: &str, reason: &str) -> Record {
    record.findings.push(Finding::new(
        Severity::Reject,
        code,
        None,
        reason.to_owned(),
    ));
    record.status = crate::record::Status::Rejected;
    record
}

fn find_layout(
    image: &RawImage,
    geometry: &Geometry,
    labels: &[Label],
    only: Option<&str>,
) -> Result<Layout, LayoutError> {
    let feet = labels::pulse_feet(labels, &geometry.map);
    let mut fit = fit::fit(&labels::seen_leads(labels, &geometry.map), &feet, only)?;
    if fit.layout.column_count() == 1 {
        // One column of labels tells less of the rows' direction than the paper does.
        fit.lattice.across = [
            math::hypot(fit.lattice.across[0], fit.lattice.across[1]),
            0.0,
        ];
    }
    let ruled = match geometry.scale {
        PaperScale::Grid => Ruled::Yes,
        PaperScale::Fitted => Ruled::No,
    };
    find_rows(image, &geometry.map, &fit, &feet, ruled)
}
