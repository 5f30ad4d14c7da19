//! One page, from pixels to a record.
//!
//! In: a `RawImage`, the nets, the options. Out: a `Record`, rejected where the page was not
//! understood; an error only where a net failed. The only place that knows the order of the steps.
//!
//! ```text
//!   labels (all quarter turns, until one reads) -> grid -> layout -> rows -> lines
//!     -> where the recording begins -> calibration -> samples -> checks
//! ```

mod scale;

use crate::calibration::{Calibration, Given, PaperScale, calibrate, pulses};
use crate::labels::decode::{DecodeError, decode};
use crate::labels::view::View;
use crate::labels::{Label, LabelClass, Lead};
use crate::layout::fit::SeenLead;
use crate::layout::rows::{Ruled, find_rows};
use crate::layout::{Layout, LayoutError, RowKind, fit};
pub use crate::nets::*;
use crate::page::{InPanel, InPaper, PageMap, Point, QuarterTurn, RawImage};
use crate::record::{
    Finding, PageCalibration, Record, Role, SeenLabel, Severity, TraceRecord, checks, doubts,
};
use crate::signal::extent::{Extent, find_extent};
use crate::signal::{self, Scale};
use crate::trace::rows::{RowStrip, TracedRow, trace_rows};
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

/// Boxes weaker than this are not looked at.
const LABEL_SCORE_MIN: f32 = 0.08;
/// What stands left of the first label and right of the last panel: pulses, the trace's start.
const LEFT_MM: f32 = 14.0;
const RIGHT_MM: f32 = 8.0;
/// Longest row that is read.
const ROW_MM_MAX: f32 = 560.0;
/// A row's crop: this many rows high, within the heights the net has seen.
const CROP_ROWS: f32 = 1.2;
const CROP_MM: (f32, f32) = (40.0, 80.0);
/// A first reading is at most this high; a line that leaves it is read again, at the full height.
const FIRST_CROP_MM_MAX: f32 = 60.0;
/// A row whose line lies this far off the crop's middle is read again.
const RECENTRE_MM: f32 = 3.5;
/// The row may lie this far off a crop's middle and still be known as the one that is meant.
const OFF_ROW_MM: f32 = 6.0;
/// A second reading may be so much less sure: what leaves its crop looks sure as well.
const SURETY_LOSS_MAX: f32 = 0.03;
/// A line nearer to the crop's edge than this wants a taller crop.
const EDGE_MM: f32 = 2.5;

/// Digitizes one page.
pub fn digitize<N: Nets>(
    image: &RawImage,
    nets: &N,
    options: &Options,
    observer: &mut impl Observer,
) -> Result<Record, NetError> {
    observer.begins(Stage::Labels);
    let only = options.layout.as_deref();
    let (turn, labels) = read_labels(image, nets, only)?;
    observer.begins(Stage::Grid);
    let mut record = blank(image, options, &labels);
    let geometry = match scale::find(image, turn, &labels, only) {
        Ok(geometry) => geometry,
        Err(error) => return Ok(rejected(record, "layout", &error.to_string())),
    };
    observer.begins(Stage::Layout);
    let layout = match find_layout(image, &geometry, &labels, only) {
        Ok(layout) => layout,
        Err(error) => return Ok(rejected(record, "layout", &error.to_string())),
    };
    record.layout = Some(layout.name.clone());
    observer.begins(Stage::Trace);
    let pulses = pulses(&labels, &geometry.map);
    let rows = read_rows(image, &geometry.map, nets, &layout)?;
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
    record.duration = (extent.right - extent.left).at(calibration.speed.value);
    record.traces = traces(&rows, &layout, extent, &calibration, &geometry.map, options);
    record
        .findings
        .extend(checks::check(&record.traces, options.sample_rate));
    record.status = Record::status_of(&record.findings);
    if record.status == crate::record::Status::Rejected {
        record.traces.clear();
    }
    Ok(record)
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

/// Labels of the first quarter turn in which they stand as on a known page, else of the turn in
/// which most was read.
fn read_labels<N: Nets>(
    image: &RawImage,
    nets: &N,
    only: Option<&str>,
) -> Result<(QuarterTurn, Vec<Label>), NetError> {
    let mut best: Option<(f32, QuarterTurn, Vec<Label>)> = None;
    for turn in QuarterTurn::ALL {
        let view = View::new(image, turn);
        let maps = nets.labels(&view.draw(image))?;
        let labels =
            decode(&maps, &view, LABEL_SCORE_MIN).map_err(|error: DecodeError| NetError {
                net: "labels",
                reason: error.to_string(),
            })?;
        let leads = seen_leads(&labels, &scale::pixels(turn));
        if fit::fit(&leads, only).is_ok() {
            return Ok((turn, labels));
        }
        let sum: f32 = leads.iter().map(|label| label.score).sum();
        if best.as_ref().is_none_or(|(top, ..)| sum > *top) {
            best = Some((sum, turn, labels));
        }
    }
    let (_, turn, labels) = best.expect("there are four turns");
    Ok((turn, labels))
}

/// The lead names on the paper.
fn seen_leads(labels: &[Label], map: &PageMap) -> Vec<SeenLead> {
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

fn find_layout(
    image: &RawImage,
    geometry: &Geometry,
    labels: &[Label],
    only: Option<&str>,
) -> Result<Layout, LayoutError> {
    let mut fit = fit::fit(&seen_leads(labels, &geometry.map), only)?;
    if fit.layout.column_count() == 1 {
        // One column of labels tells less of the rows' direction than the paper does.
        fit.lattice.across = [fit.lattice.across[0].hypot(fit.lattice.across[1]), 0.0];
    }
    let ruled = match geometry.scale {
        PaperScale::Grid => Ruled::Yes,
        PaperScale::Fitted => Ruled::No,
    };
    find_rows(image, &geometry.map, &fit, ruled)
}

/// The lines of all rows; a row that lay off its crop is read once more.
fn read_rows<N: Nets>(
    image: &RawImage,
    map: &PageMap,
    nets: &N,
    layout: &Layout,
) -> Result<Vec<TracedRow>, NetError> {
    let strips = row_strips(image, map, layout);
    let mut rows = trace_rows(image, map, nets, &strips)?;
    let again: Vec<(usize, RowStrip)> = strips
        .iter()
        .enumerate()
        .filter_map(|(k, strip)| Some((k, better_strip(strip, &rows[k])?)))
        .collect();
    let better: Vec<RowStrip> = again.iter().map(|(_, strip)| *strip).collect();
    for ((k, _), row) in again.iter().zip(trace_rows(image, map, nets, &better)?) {
        if surety(&row) > surety(&rows[*k]) - SURETY_LOSS_MAX {
            rows[*k] = row;
        }
    }
    Ok(rows)
}

/// Mean confidence of a row's line.
fn surety(row: &TracedRow) -> f32 {
    let points = row.line.points.iter().flatten();
    points.clone().map(|point| point.confidence).sum::<f32>() / points.count().max(1) as f32
}

fn row_strips(image: &RawImage, map: &PageMap, layout: &Layout) -> Vec<RowStrip> {
    let left = layout.label_left - Mm(LEFT_MM);
    let height = (CROP_ROWS * layout.row_pitch.0).clamp(CROP_MM.0, FIRST_CROP_MM_MAX);
    layout
        .rows
        .iter()
        .map(|row| {
            let right = match layout.column_width {
                Some(width) => {
                    layout.label_left + width * layout.column_count as f32 + Mm(RIGHT_MM)
                }
                None => page_right(image, map, row.zero[0]),
            };
            let right = Mm(right.0.clamp(left.0 + 20.0, left.0 + ROW_MM_MAX));
            RowStrip {
                left,
                right,
                zero: row.zero,
                height: Mm(height),
            }
        })
        .collect()
}

/// How far the picture reaches along a row.
fn page_right(image: &RawImage, map: &PageMap, at: Point<InPaper>) -> Mm {
    let (width, height) = (image.width() as f32, image.height() as f32);
    let inside = |x: f32| {
        let px = map.to_page(Point::new(x, at.y));
        px.x >= 0.0 && px.y >= 0.0 && px.x < width && px.y < height
    };
    let steps = (0..(ROW_MM_MAX / 2.0) as usize).map(|k| at.x + 2.0 * k as f32);
    Mm(steps.take_while(|x| inside(*x)).last().unwrap_or(at.x))
}

/// A strip that holds the row's line better, where this one holds it badly.
fn better_strip(strip: &RowStrip, row: &TracedRow) -> Option<RowStrip> {
    let middle = row.strip.height_px() as f32 / 2.0;
    let px = crate::crop::CROP_PX_PER_MM;
    let mut ys: Vec<f32> = row
        .line
        .points
        .iter()
        .flatten()
        .map(|point| point.y_px)
        .collect();
    if ys.is_empty() {
        return None;
    }
    let edge = EDGE_MM * px;
    let leaves = ys
        .iter()
        .filter(|y| **y < edge || **y > 2.0 * middle - 1.0 - edge)
        .count();
    ys.sort_by(f32::total_cmp);
    let below = |y: f32| (y + 0.5 - middle) / px;
    let (median, range) = (
        below(ys[ys.len() / 2]),
        below(0.5 * (ys[0] + ys[ys.len() - 1])),
    );
    if leaves >= 1 && strip.height.0 < CROP_MM.1 {
        // Tall beats want a tall crop around them, but the row must stay the one in its middle.
        let off = range.clamp(-OFF_ROW_MM, OFF_ROW_MM);
        return Some(RowStrip {
            zero: moved(strip, off),
            height: Mm(CROP_MM.1),
            ..*strip
        });
    }
    // A line further off is another row's.
    (RECENTRE_MM..2.0 * OFF_ROW_MM)
        .contains(&median.abs())
        .then(|| RowStrip {
            zero: moved(strip, median),
            ..*strip
        })
}

fn moved(strip: &RowStrip, off_mm: f32) -> [Point<InPaper>; 2] {
    strip
        .zero
        .map(|point| Point::new(point.x, point.y + off_mm))
}

fn page_calibration(
    geometry: &Geometry,
    layout: &Layout,
    calibration: &Calibration,
) -> PageCalibration {
    let row = &layout.rows[layout.rows.len() / 2];
    let middle = Point::new((row.zero[0].x + row.zero[1].x) / 2.0, row.zero[0].y);
    let (x, y) = geometry.map.resolution(middle);
    let (here, right) = (
        geometry.map.to_page(middle),
        geometry.map.to_page(Point::new(middle.x + 20.0, middle.y)),
    );
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
        rotation_deg: (right.y - here.y).atan2(right.x - here.x).to_degrees(),
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
            out.push(trace(
                traced,
                lead,
                role,
                start,
                &window,
                map,
                layout.row_pitch,
            ));
        }
    }
    out
}

/// A panel along its row.
struct Window {
    left: Mm,
    right: Mm,
    scale: Scale,
}

fn trace(
    row: &TracedRow,
    lead: Lead,
    role: Role,
    start: Seconds,
    window: &Window,
    map: &PageMap,
    pitch: Mm,
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
    let seen: Vec<f32> = row.line.points[from.min(to)..to]
        .iter()
        .flatten()
        .map(|p| p.confidence)
        .collect();
    let found = samples.iter().flatten().count();
    let half = pitch * 0.5;
    TraceRecord {
        lead,
        role,
        start,
        coverage: found as f32 / samples.len().max(1) as f32,
        quality: seen.iter().sum::<f32>() / seen.len().max(1) as f32,
        samples,
        corners_px: [
            on_page(left, -half),
            on_page(right, -half),
            on_page(right, half),
            on_page(left, half),
        ],
        line_px,
        gain: MmPerMillivolt(scale.gain.0),
    }
}
