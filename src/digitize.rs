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
mod reading;
mod scale;

use std::ops::Range;

use crate::calibration::{Calibration, Given, PaperScale, calibrate, pulses};
use crate::crop::CROP_PX_PER_MM;
use crate::grid::{Grid, GridError, find_grid};
use crate::labels::{Label, Lead};
use crate::layout::rows::{Ruled, find_rows};
use crate::layout::{Layout, LayoutError, RowKind, fit};
use crate::math;
pub use crate::nets::*;
use crate::page::{InPanel, PageMap, Point, RawImage};
use crate::record::{
    Finding, PageCalibration, Record, Role, SeenLabel, Severity, TraceRecord, checks, doubts,
    naming,
};
use crate::signal::extent::{Extent, find_extent};
use crate::signal::{self, Scale};
use crate::trace::follow::surety;
use crate::trace::merged::merged;
use crate::trace::rows::TracedRow;
use crate::units::{Hertz, Mm, MmPerMillivolt, MmPerSecond, Seconds};
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

/// A panel's crop reaches this far beyond its ends: the net sees its row as a whole, and where a
/// panel ends is known no better.
const AROUND: Mm = Mm(1.5);

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
    let geometry = match scale::find(grid, seen.turn, &labels, only) {
        Ok(geometry) => geometry,
        Err(error) => return Ok(rejected(record, "layout", &error.to_string())),
    };
    record
        .findings
        .extend(geometry.no_grid.as_ref().map(doubts::no_grid));
    record.findings.extend(geometry.bent.map(doubts::bent));
    observer.begins(Stage::Layout);
    let layout = match find_layout(image, &geometry, &labels, only) {
        Ok(layout) => layout,
        Err(error) => return Ok(rejected(record, "layout", &error.to_string())),
    };
    record.layout = Some(layout.matrix.to_owned());
    observer.begins(Stage::Trace);
    let pulses = pulses(&labels, &geometry.map);
    let rows = reading::read_rows(image, &geometry.map, nets, &layout, &labels)?;
    observer.begins(Stage::Signal);
    let given = Given {
        speed: options.speed,
        gain: options.gain,
    };
    let calibration = calibrate(&labels, &pulses, geometry.scale, given);
    record.calibration = Some(page_calibration(&geometry, &layout, &calibration));
    record
        .findings
        .extend(doubts::findings(&calibration.doubts));
    let Some(extent) = find_extent(&rows, &layout, &pulses) else {
        return Ok(rejected(
            record,
            "no_trace",
            &LayoutError::NoTrace.to_string(),
        ));
    };
    record.findings.extend(doubts::ends(extent.evidence));
    record
        .findings
        .extend(merged_leads(&rows, &layout, extent).map(|(a, b)| doubts::merged(a, b)));
    record.duration = (extent.right - extent.left).at(calibration.speed.value);
    record.traces = traces(&rows, &layout, extent, &calibration, &geometry.map, options);
    name_strips(&mut record, &layout, options.sample_rate);
    record
        .findings
        .extend(checks::check(&record.traces, options.sample_rate));
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
    let mut seen = labels::read_labels(image, nets, only)?;
    observer.begins(Stage::Grid);
    let mut grid = find_grid(image, seen.turn);
    if let Ok(found) = &grid {
        observer.begins(Stage::Labels);
        if let Some(better) = labels::read_flat(image, nets, only, found, &seen)? {
            observer.begins(Stage::Grid);
            if better.turn != seen.turn {
                grid = find_grid(image, better.turn);
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
    let mut fit = fit::fit(&labels::seen_leads(labels, &geometry.map), only)?;
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
    find_rows(image, &geometry.map, &fit, ruled)
}

/// Checks the strips' names, and names those that had none: the last ones.
fn name_strips(record: &mut Record, layout: &Layout, rate: Hertz) {
    let unnamed = layout
        .rows
        .iter()
        .filter(|row| row.kind == RowKind::Unnamed);
    let first = record.traces.len() - unnamed.count();
    let unlabelled = record.traces.split_off(first);
    let renamed = naming::name_strips(&mut record.traces, rate);
    let named = naming::add_unlabelled(&mut record.traces, unlabelled, rate);
    record.findings.extend(renamed.into_iter().chain(named));
    let strips = record.traces.iter().filter(|t| t.role == Role::Rhythm);
    record.layout = Some(layout.name(strips.count()));
}

fn page_calibration(
    geometry: &Geometry,
    layout: &Layout,
    calibration: &Calibration,
) -> PageCalibration {
    let row = &layout.rows[layout.rows.len() / 2];
    let middle = Point::new((row.zero[0].x + row.zero[1].x) / 2.0, row.zero[0].y);
    let (x, y) = geometry.map.resolution(middle);
    let known = |value| crate::record::Known {
        value,
        evidence: geometry.evidence,
    };
    PageCalibration {
        speed: calibration.speed,
        gain: calibration.gain,
        chest_gain: calibration.chest_gain,
        px_per_mm_x: known(x.0),
        px_per_mm_y: known(y.0),
        rotation_deg: geometry.map.tilt_rad(middle).to_degrees(),
    }
}

fn traces(
    rows: &[TracedRow],
    layout: &Layout,
    extent: Extent,
    calibration: &Calibration,
    map: &PageMap,
    options: &Options,
) -> Vec<TraceRecord> {
    let mut out = Vec::new();
    for (traced, row) in rows.iter().zip(&layout.rows) {
        let panels: Vec<(Lead, Role)> = match &row.kind {
            RowKind::Panels(leads) => leads.iter().map(|lead| (*lead, Role::Panel)).collect(),
            RowKind::Strip(lead) => vec![(*lead, Role::Rhythm)],
            RowKind::Unnamed => vec![(Lead::II, Role::Rhythm)],
        };
        let width = (extent.right - extent.left) * (1.0 / panels.len() as f32);
        for (k, (lead, role)) in panels.into_iter().enumerate() {
            let left = extent.left + width * k as f32;
            let gain = match calibration.chest_gain {
                Some(gain) if lead.is_chest() => gain.value,
                _ => calibration.gain.value,
            };
            let scale = Scale {
                speed: calibration.speed.value,
                gain,
                rate: options.sample_rate,
            };
            let start = (left - extent.left).at(calibration.speed.value);
            let window = Window {
                left,
                right: left + width,
                scale,
            };
            out.push(trace(traced, lead, role, start, &window, map));
        }
    }
    out
}

/// The leads whose lines run on one ink, each two once.
fn merged_leads(
    rows: &[TracedRow],
    layout: &Layout,
    extent: Extent,
) -> impl Iterator<Item = (Lead, Lead)> {
    let lead_at = |row: usize, x: Mm| match &layout.rows[row].kind {
        RowKind::Panels(leads) => {
            let share = (x - extent.left).0 / (extent.right - extent.left).0;
            let panel = (share * leads.len() as f32).floor();
            usize::try_from(panel as isize)
                .ok()
                .and_then(|panel| leads.get(panel).copied())
        }
        RowKind::Strip(lead) => Some(*lead),
        RowKind::Unnamed => None,
    };
    let mut pairs: Vec<(Lead, Lead)> = Vec::new();
    for one in merged(rows) {
        let middle = Mm((one.from.0 + one.to.0) / 2.0);
        let pair = (lead_at(one.rows.0, middle), lead_at(one.rows.1, middle));
        if let (Some(a), Some(b)) = pair
            && !pairs.contains(&(a, b))
        {
            pairs.push((a, b));
        }
    }
    pairs.into_iter()
}

/// A panel along its row.
struct Window {
    left: Mm,
    right: Mm,
    scale: Scale,
}

/// Upper and lower end of what was read of a row in these columns, from its zero line; a tall beat
/// was read in a taller crop.
fn crop_ends(row: &TracedRow, columns: Range<usize>) -> (Mm, Mm) {
    let height = row.strip.height_px() as f32;
    let ys = row.line.points[columns].iter().flatten().map(|p| p.y_px);
    let (low, high) = ys.fold((0.0f32, height), |(low, high), y| (low.min(y), high.max(y)));
    let from_zero = |y: f32| Mm((y - height / 2.0) / CROP_PX_PER_MM);
    (from_zero(low), from_zero(high))
}

fn trace(
    row: &TracedRow,
    lead: Lead,
    role: Role,
    start: Seconds,
    window: &Window,
    map: &PageMap,
) -> TraceRecord {
    let Window { left, right, scale } = *window;
    let samples = signal::sample(&row.line, &row.strip, left, right, scale);
    let on_page = |x: Mm, below: Mm| {
        let at = map.to_page(Point::new(x.0, row.strip.zero(x).0 + below.0));
        [at.x, at.y]
    };
    let column = |x: Mm| row.strip.to_panel(Point::new(x.0, 0.0)).x.max(0.0) as usize;
    let (from, to) = (column(left), column(right).min(row.line.points.len()));
    let line_px = (from..to)
        .filter_map(|x| {
            let point = row.line.points[x]?;
            let at = row
                .strip
                .to_paper(Point::<InPanel>::new(x as f32, point.y_px));
            let px = map.to_page(at);
            Some([px.x, px.y])
        })
        .collect();
    let found = samples.iter().flatten().count();
    let (top, bottom) = crop_ends(row, from.min(to)..to);
    TraceRecord {
        lead,
        role,
        start,
        coverage: found as f32 / samples.len().max(1) as f32,
        quality: surety(&row.line.points[from.min(to)..to]),
        samples,
        corners_px: [
            on_page(left - AROUND, top),
            on_page(right + AROUND, top),
            on_page(right + AROUND, bottom),
            on_page(left - AROUND, bottom),
        ],
        line_px,
        gain: MmPerMillivolt(scale.gain.0),
    }
}
