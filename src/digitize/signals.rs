//! From the rows' lines to the signals of a page.
//!
//! In: the picture, its labels, map, layout and lines. Out: the record's calibration, duration and
//! traces, in millivolts and seconds from the recording's left end, and what is doubtful about them.
//! The order matters: the recording's raw length and its beats help to tell the speed, and the speed
//! tells which whole length the recording has.

use std::ops::{Range, RangeInclusive};

use super::lean;
use super::reading::boxes;
use super::{Geometry, Options};
use crate::calibration::{Calibration, Given, Lengths, PaperScale, USUAL_SPEED, calibrate, pulses};
use crate::crop::CROP_PX_PER_MM;
use crate::labels::{Label, Lead};
use crate::layout::{Layout, LayoutError, RowKind};
use crate::page::{InPanel, InPaper, PageMap, Point, RawImage};
use crate::record::{self, PageCalibration, Record, Role, TraceRecord, checks, doubts, naming};
use crate::signal::bars;
use crate::signal::beats::rhythm;
use crate::signal::extent::{EndsEvidence, Extent, WHOLE_S, find_extent};
use crate::signal::{self, Sample, Scale};
use crate::trace::follow::surety;
use crate::trace::leaps::leaps;
use crate::trace::merged::merged;
use crate::trace::rows::TracedRow;
use crate::trace::spikes::{Spike, spikes};
use crate::trace::unread::{Unread, unread};
use crate::units::{Hertz, Millivolt, Mm, MmPerMillivolt, MmPerSecond, Seconds};

/// A panel's crop reaches this far beyond its ends: the net sees its row as a whole, and where a
/// panel ends is known no better.
const AROUND: Mm = Mm(1.5);

/// Paper is compared this far to either side of a row's end, and ends where its brightness changes by
/// this share.
const BESIDE_END_MM: [f32; 3] = [1.5, 2.5, 3.5];
const AROUND_END_MM: RangeInclusive<i32> = -6..=6;
const PAPER_END: f32 = 0.25;
/// Bars between the panels move the recording where it is further off than this; than the second
/// where it is a usual length already: whole half seconds at the usual speed, to the last.
const SEAM_OFF_MM: f32 = 0.6;
const USUAL_SEAM_OFF_MM: f32 = 1.0;
const USUAL_STEP_MM: f32 = WHOLE_S * USUAL_SPEED.0;
const USUAL_OFF_MM: f32 = 0.6;

/// All that was read of a page, before it is turned into signals.
pub struct PageRead<'a> {
    pub image: &'a RawImage,
    pub labels: &'a [Label],
    pub geometry: &'a Geometry,
    pub layout: &'a Layout,
    /// In the layout's order.
    pub rows: &'a [TracedRow],
}

impl PageRead<'_> {
    /// Puts calibration, duration, traces and their findings into `record`; an error where no row
    /// has a line.
    pub fn record_signals(
        &self,
        record: &mut Record,
        options: &Options,
    ) -> Result<(), LayoutError> {
        let rate = options.sample_rate;
        let pulses = pulses(self.labels, self.image, &self.geometry.map);
        let is_cut = |at| is_paper_end(self.image, &self.geometry.map, at);
        let extent = find_extent(self.rows, self.layout, &pulses, &is_cut);
        let extent = extent.ok_or(LayoutError::NoTrace)?;
        let extent = match self.bars(extent) {
            Some(by) if by.0.abs() > seam_off(extent).0 => extent.moved(by),
            _ => extent,
        };
        let rhythm = rhythm(self.rows, extent);
        let lengths = Lengths {
            recording: Some(extent.right - extent.left),
            beat: rhythm.beat,
            qrs: rhythm.qrs,
        };
        let given = Given {
            speed: options.speed,
            gain: options.gain,
        };
        let mut calibration = calibrate(self.labels, &pulses, self.geometry.scale, lengths, given);
        let read = calibration.speed.value;
        // Millimetres of the map a second, which are the paper's where a grid tells them.
        let speed = match self.geometry.scale {
            PaperScale::Grid => read,
            PaperScale::Fitted => {
                let fitted = self.geometry.fitted_speed.unwrap_or(read);
                MmPerSecond(extent.stretch(fitted) * fitted.0)
            }
        };
        let stretch = speed.0 / read.0;
        let known = page_calibration(self.geometry, self.layout, &calibration, stretch);
        record.calibration = Some(known);
        calibration.speed.value = speed;
        let extent = extent.whole(speed);
        let merged = merged_leads(self.rows, self.layout, extent);
        let findings = &mut record.findings;
        findings.extend(doubts::findings(&calibration.doubts));
        findings.extend(doubts::ends(extent.evidence));
        findings.extend(merged.map(|(a, b)| doubts::merged(a, b)));
        record.duration = (extent.right - extent.left).at(speed);
        record.findings.extend(doubts::length(record.duration));
        let known = boxes(self.labels, &self.geometry.map);
        let ends = (extent.left, extent.right);
        let map = &self.geometry.map;
        let beside = Beside {
            unread: unread(self.image, map, self.rows, ends, &known),
            spikes: spikes(self.image, map, self.rows, &known),
        };
        let traces = |lean| self.traces(extent, &calibration, options, &beside, lean);
        record.traces = traces(0.0);
        let level = checks::contradiction(&record.traces, rate);
        if let Some(lean) = lean::find(level, |lean| checks::contradiction(&traces(lean), rate)) {
            record.findings.push(doubts::leans(lean));
            record.traces = traces(lean);
        }
        name_strips(record, self.layout, rate);
        Ok(())
    }

    /// How far the panels lie from where `extent` says, by the bars between them; on lines as dark
    /// as bars these cannot be told.
    fn bars(&self, extent: Extent) -> Option<Mm> {
        if self.geometry.is_grid_dark {
            return None;
        }
        let columns = self.layout.column_count;
        let has_panels =
            |kind: &RowKind| matches!(kind, RowKind::Panels(leads) if leads.len() == columns);
        let rows = self.rows.iter().zip(&self.layout.rows);
        let rows: Vec<&TracedRow> = rows
            .filter(|(_, row)| has_panels(&row.kind))
            .map(|(traced, _)| traced)
            .collect();
        bars::shift(self.image, &self.geometry.map, &rows, extent, columns)
    }

    fn traces(
        &self,
        extent: Extent,
        calibration: &Calibration,
        options: &Options,
        beside: &Beside,
        lean_rad: f32,
    ) -> Vec<TraceRecord> {
        let map = &self.geometry.map;
        let middle = Mm((extent.left + extent.right).0 / 2.0);
        let heights: Vec<f32> = self.rows.iter().map(|r| r.strip.zero(middle).0).collect();
        let mean = heights.iter().sum::<f32>() / heights.len().max(1) as f32;
        let mut out = Vec::new();
        for (index, (traced, row)) in self.rows.iter().zip(&self.layout.rows).enumerate() {
            let panels = panels(&row.kind);
            let lean = Mm(lean_rad * (heights[index] - mean));
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
                    left: left + lean,
                    right: left + width + lean,
                    scale,
                };
                out.push(TraceRecord {
                    unread: Some(beside.unread.share(index, window.left, window.right)),
                    spikes: spikes_in(&window, traced, &beside.spikes[index], map),
                    ..trace(traced, lead, role, start, &window, map)
                });
            }
        }
        out
    }
}

/// How far bars must lie off the ends' word to be believed: further where the ends are a usual length
/// apart.
fn seam_off(extent: Extent) -> Mm {
    let length = (extent.right - extent.left).0;
    let off = length - (length / USUAL_STEP_MM).round() * USUAL_STEP_MM;
    let is_usual = extent.evidence == EndsEvidence::Agreed && off.abs() < USUAL_OFF_MM;
    Mm(if is_usual {
        USUAL_SEAM_OFF_MM
    } else {
        SEAM_OFF_MM
    })
}

/// Ink that the rows' lines leave out.
struct Beside {
    unread: Unread,
    /// A row each.
    spikes: Vec<Vec<Spike>>,
}

/// A row's spikes among the samples of a panel.
fn spikes_in(
    window: &Window,
    row: &TracedRow,
    spikes: &[Spike],
    map: &PageMap,
) -> Vec<record::Spike> {
    let Window { left, right, scale } = *window;
    let zero = row.strip.zero(Mm((left.0 + right.0) / 2.0));
    let px = |place: Point<InPaper>| {
        let at = map.to_page(place);
        [at.x, at.y]
    };
    let of = |spike: &Spike| {
        let time = (Mm(spike.tip.x) - left).at(scale.speed);
        record::Spike {
            sample: (time.0 * scale.rate.0).round() as usize,
            height: Millivolt((zero.0 - spike.tip.y) / scale.gain.0),
            foot_px: px(spike.foot),
            tip_px: px(spike.tip),
        }
    };
    let is_inside = |spike: &&Spike| (left.0..right.0).contains(&spike.tip.x);
    spikes.iter().filter(is_inside).map(of).collect()
}

/// Whether the picture ends beside a place on a row, or the paper does: there, it is darker or
/// brighter on one side than on the other.
fn is_paper_end(image: &RawImage, map: &PageMap, at: Point<InPaper>) -> bool {
    let level = |side: f32| {
        let across = BESIDE_END_MM.into_iter().flat_map(|off| {
            AROUND_END_MM.map(move |below| Point::new(at.x + side * off, at.y + below as f32))
        });
        let count = across.clone().count();
        let mut seen: Vec<f32> = across
            .filter_map(|place| image.brightest(map.to_page(place)))
            .collect();
        let place = seen.len() * 3 / 4;
        let is_inside = 2 * seen.len() > count;
        is_inside.then(|| *seen.select_nth_unstable_by(place, f32::total_cmp).1)
    };
    match (level(-1.0), level(1.0)) {
        (Some(left), Some(right)) => (left - right).abs() > PAPER_END * left.max(right),
        _ => true,
    }
}

/// The leads of a row, from the left; a strip without a name is called `II` until it is named.
fn panels(row: &RowKind) -> Vec<(Lead, Role)> {
    match row {
        RowKind::Panels(leads) => leads.iter().map(|lead| (*lead, Role::Panel)).collect(),
        RowKind::Strip(lead) => vec![(*lead, Role::Rhythm)],
        RowKind::Unnamed => vec![(Lead::II, Role::Rhythm)],
    }
}

/// Checks the strips' names, and names those that had none: the last ones. Then the sign of aVR.
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
    let strips = record
        .traces
        .iter()
        .filter(|t| t.role == Role::Rhythm)
        .count();
    record.layout = Some(layout.name(strips));
    let Some(turned) = layout.other_sign() else {
        return;
    };
    if let Some(finding) = naming::sign_avr(&mut record.traces, rate) {
        record.findings.push(finding);
        record.layout = Some(Layout::name_of(turned, strips));
    }
}

fn page_calibration(
    geometry: &Geometry,
    layout: &Layout,
    calibration: &Calibration,
    stretch: f32,
) -> PageCalibration {
    let row = &layout.rows[layout.rows.len() / 2];
    let middle = Point::new((row.zero[0].x + row.zero[1].x) / 2.0, row.zero[0].y);
    let (x, y) = geometry.map.resolution(middle);
    let known = |value| record::Known {
        value,
        evidence: geometry.evidence,
    };
    PageCalibration {
        speed: calibration.speed,
        gain: calibration.gain,
        chest_gain: calibration.chest_gain,
        px_per_mm_x: known(stretch * x.0),
        px_per_mm_y: known(y.0),
        rotation_deg: geometry.map.tilt_rad(middle).to_degrees(),
        grid_off: geometry.grid_off,
    }
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
    let deviation = |sample: &Option<Sample>| sample.map_or(Millivolt(0.0), |s| s.deviation);
    let deviations = samples.iter().map(deviation).collect();
    let (top, bottom) = crop_ends(row, from.min(to)..to);
    TraceRecord {
        lead,
        role,
        start,
        coverage: found as f32 / samples.len().max(1) as f32,
        quality_db: None,
        clues: None,
        unread: None,
        spikes: Vec::new(),
        leaps: Some(leaps(&row.line.points[from.min(to)..to])),
        quality: surety(&row.line.points[from.min(to)..to]),
        samples: samples.iter().map(|s| s.map(|s| s.height)).collect(),
        deviations: Some(deviations),
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
