//! What stands where on a page: everything is decided here, in flat millimetres.
//!
//! In: a seed, a kind of page, a source of signals. Out: a `Plan`: traces as millimetre
//! polylines, texts, pulses, separators, the grid's look, and what happens to the paper.

mod fate;
mod fault;
mod furniture;
mod sample;
mod wanted;

use crate::Rng;
use crate::font::Style;
use crate::signal::{LEADS, RATE_HZ, Recording, Source};

pub use fate::Fate;
pub use sample::{SAMPLE_FONT, sample};
use wanted::Thing;
pub use wanted::{Evidence, Fault, Wanted};

/// What kind of pages to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Everything, in the mixture that the nets are trained on.
    Train,
    /// As `Train`, with every speed and gain as often as any other, and always told in writing:
    /// for the nets' training alone.
    Scales,
    /// Flat scans and device exports.
    Scan,
    /// Photographs.
    Photo,
    /// No degradation at all.
    Clean,
}

impl Preset {
    /// Whether its pages are there to train nets on.
    fn trains(self) -> bool {
        matches!(self, Self::Train | Self::Scales)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Grid,
    Rhythm,
}

/// One printed trace.
#[derive(Clone, Debug)]
pub struct Trace {
    pub lead: &'static str,
    pub role: Role,
    pub start_s: f32,
    pub mv: Vec<f32>,
    pub gain_mm_mv: f32,
    pub left_mm: f32,
    pub zero_mm: f32,
    /// One point a sample.
    pub path_mm: Vec<[f32; 2]>,
    /// The label's box, where it has one.
    pub label: Option<usize>,
}

/// A text and what it is to the labels net ("text" is nothing).
#[derive(Clone, Debug)]
pub struct Text {
    pub text: String,
    pub class: String,
    pub style: Style,
    pub x_mm: f32,
    pub y_mm: f32,
    pub boxed: bool,
}

/// Ink that belongs to no trace: pulses, separators, frames, strokes.
#[derive(Clone, Debug)]
pub struct Mark {
    pub class: &'static str,
    pub path_mm: Vec<[f32; 2]>,
    pub width_mm: f32,
    /// Drawn by the trace's pen.
    pub trace_ink: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridKind {
    Lines,
    Dots,
    MinorOnly,
    MajorOnly,
    None,
}

/// 5 mm lines that come and go along their way, as a coarse raster leaves them.
#[derive(Clone, Copy, Debug)]
pub struct Broken {
    /// What is left of a line in its gaps, 0 to 1.
    pub left: f32,
    /// Waves a millimetre: two rates whose beat makes dashes of all lengths.
    pub rates: [f32; 2],
    /// Share of the line that is whole, as a level of the waves, -1.5 to 1.5.
    pub level: f32,
}

impl Broken {
    /// What is left of the line at `across`, `along` its way, both in millimetres.
    pub fn left_at(&self, along: f32, across: f32) -> f32 {
        let line = (across / 5.0).round();
        let wave = (self.rates[0] * along + 2.3 * line).sin()
            + 0.5 * (self.rates[1] * along + 4.1 * line).sin();
        if wave > self.level { 1.0 } else { self.left }
    }
}

#[derive(Clone, Debug)]
pub struct GridLook {
    pub kind: GridKind,
    pub color: [f32; 3],
    /// Of the dots between the lines, where there are dots.
    pub dot_color: [f32; 3],
    pub minor: f32,
    pub major: f32,
    pub minor_width_mm: f32,
    pub major_width_mm: f32,
    pub phase_mm: [f32; 2],
    pub broken: Option<Broken>,
    /// Left, top, right, bottom of the printed grid.
    pub area_mm: [f32; 4],
}

/// A whole page.
#[derive(Clone, Debug)]
pub struct Plan {
    pub width_mm: f32,
    pub height_mm: f32,
    pub px_per_mm: f32,
    pub layout: String,
    pub rhythm: Vec<&'static str>,
    pub cabrera: bool,
    pub speed_mm_s: f32,
    pub gain_mm_mv: f32,
    pub traces: Vec<Trace>,
    pub texts: Vec<Text>,
    pub marks: Vec<Mark>,
    pub grid: GridLook,
    pub paper: [f32; 3],
    pub trace_color: [f32; 3],
    pub text_color: [f32; 3],
    pub mark_color: [f32; 3],
    pub line_width_mm: f32,
    /// Spread of the line's darkness along its way, 0 to 1.
    pub uneven: f32,
    pub fate: Fate,
    pub jpeg_quality: Option<u8>,
}

/// Rows of columns of leads, as printed.
struct Format {
    name: &'static str,
    columns: &'static [&'static [&'static str]],
    cabrera: bool,
}

const LIMB: [&str; 6] = ["I", "II", "III", "aVR", "aVL", "aVF"];
const CHEST: [&str; 6] = ["V1", "V2", "V3", "V4", "V5", "V6"];
const CABRERA: [&str; 6] = ["aVL", "I", "-aVR", "II", "aVF", "III"];

#[rustfmt::skip]
const FORMATS: [(f32, Format); 9] = [
    (10.0, Format { name: "3x4", cabrera: false, columns: &[&["I", "II", "III"], &["aVR", "aVL", "aVF"], &["V1", "V2", "V3"], &["V4", "V5", "V6"]] }),
    (3.5, Format { name: "6x2", cabrera: false, columns: &[&LIMB, &CHEST] }),
    (2.2, Format { name: "12x1", cabrera: false, columns: &[&LEADS] }),
    (0.6, Format { name: "6x1", cabrera: false, columns: &[&LIMB] }),
    (0.6, Format { name: "6x1", cabrera: false, columns: &[&CHEST] }),
    (0.7, Format { name: "4x3", cabrera: false, columns: &[&["I", "II", "III", "aVR"], &["aVL", "aVF", "V1", "V2"], &["V3", "V4", "V5", "V6"]] }),
    (0.7, Format { name: "6x2", cabrera: true, columns: &[&CABRERA, &CHEST] }),
    (0.5, Format { name: "3x4", cabrera: true, columns: &[&["aVL", "I", "-aVR"], &["II", "aVF", "III"], &["V1", "V2", "V3"], &["V4", "V5", "V6"]] }),
    (0.4, Format { name: "12x1", cabrera: true, columns: &[&["aVL", "I", "-aVR", "II", "aVF", "III", "V1", "V2", "V3", "V4", "V5", "V6"]] }),
];

/// The samples and the factor that make `lead`. Further chest leads stand in for themselves as
/// their neighbours, smaller: their names are what matters.
fn signal<'a>(recording: &'a Recording, lead: &str) -> (&'a [f32], f32) {
    let (name, sign) = match lead {
        "V7" => ("V6", 0.8),
        "V8" => ("V6", 0.6),
        "V9" => ("V6", 0.45),
        "V3R" => ("V1", 0.8),
        "V4R" => ("V1", 0.6),
        "V5R" => ("V1", 0.5),
        _ => lead
            .strip_prefix('-')
            .map_or((lead, 1.0), |name| (name, -1.0)),
    };
    let index = LEADS
        .iter()
        .position(|l| *l == name)
        .expect("a format names known leads");
    (&recording.leads[index], sign)
}

/// Pages of further chest leads, so that the labels net knows their names. No layout of the
/// product has them: they are printed for training alone.
#[rustfmt::skip]
const FURTHER: [Format; 2] = [
    Format { name: "6x1", cabrera: false, columns: &[&["V3R", "V4R", "V5R", "V7", "V8", "V9"]] },
    Format { name: "3x5", cabrera: false, columns: &[
        &["I", "II", "III"], &["aVR", "aVL", "aVF"], &["V1", "V2", "V3"], &["V4", "V5", "V6"], &["V7", "V8", "V4R"],
    ] },
];
const FURTHER_SHARE: f32 = 0.04;

fn format(rng: &mut Rng, wanted: &Wanted) -> &'static Format {
    if wanted.further() && rng.chance(FURTHER_SHARE) {
        return &FURTHER[rng.below(FURTHER.len())];
    }
    let weights: Vec<(f32, usize)> = FORMATS.iter().enumerate().map(|(k, f)| (f.0, k)).collect();
    let drawn = &FORMATS[rng.weigh(&weights)].1;
    wanted.format(drawn, rng)
}

/// Pages that lie on their side or on their head.
const TURNED_SHARE: f32 = 0.05;

/// Pages whose labels, pulses and separators are printed in a colour of their own.
const OWN_INK_SHARE: f32 = 0.1;

/// A page by chance, but for what is wanted.
pub fn random(rng: &mut Rng, wanted: &Wanted, source: &Source) -> Plan {
    let preset = wanted.preset();
    let format = format(rng, wanted);
    let rhythm = wanted.rhythm(rhythm(rng, format));
    let frame = frame(rng, wanted, format, rhythm.len());
    let recording = wanted.recording(source.draw(rng), rng);
    let mut plan = blank(rng, preset, format, &frame, &rhythm);
    wanted.sheet(&mut plan, rng);
    let house = House::random(rng, &plan);
    let house = wanted.house(house, &frame, rng);
    traces(&mut plan, rng, format, &frame, &house, &recording);
    wanted.labels(&mut plan, &house, rng);
    let pulsed = rng.chance(0.88);
    if wanted.has(Thing::Pulses).unwrap_or(pulsed) {
        pulses(&mut plan, rng, wanted, &frame);
    }
    separators(&mut plan, rng, &frame, &house);
    let owned = rng.chance(OWN_INK_SHARE);
    if wanted.has(Thing::OwnInk).unwrap_or(owned) {
        own_ink(&mut plan, rng);
    }
    // No machine prints the chest leads at another gain and does not say so.
    let told = preset == Preset::Scales || !rng.chance(0.2) || frame.chest_gain < frame.gain;
    if wanted.has(Thing::ScaleTexts).unwrap_or(told) {
        calibration_text(&mut plan, rng, wanted, &frame, &house);
    }
    if frame.margins {
        around(&mut plan, rng, wanted, &frame);
    }
    plan.fate = wanted.fate(fate::draw(rng, preset), rng);
    // A training teaches the labels net to be silent on turned pages: only other pages are turned.
    if preset != Preset::Clean && !preset.trains() && rng.chance(TURNED_SHARE) {
        plan.fate.quarter_turns = 1 + rng.below(3) as u8;
    }
    plan.jpeg_quality = wanted.jpeg(fate::jpeg(rng, preset), rng);
    plan
}

/// What stands around the traces, and over them.
fn around(plan: &mut Plan, rng: &mut Rng, wanted: &Wanted, frame: &Frame) {
    furniture::header(plan, rng, frame);
    match wanted.has(Thing::Furniture) {
        None => furniture::some(plan, rng, frame),
        Some(true) => furniture::all(plan, rng, frame),
        Some(false) => {}
    }
    let scribbled = rng.chance(0.15);
    if wanted.has(Thing::Scribble).unwrap_or(scribbled) {
        furniture::scribble(plan, rng);
    }
    let stamped = rng.chance(0.05);
    if wanted.has(Thing::Stamp).unwrap_or(stamped) {
        furniture::stamp(plan, rng);
    }
}

fn own_ink(plan: &mut Plan, rng: &mut Rng) {
    let (_, ink) = INKS[2 + rng.below(INKS.len() - 2)];
    plan.text_color = ink;
    plan.mark_color = ink;
    for mark in &mut plan.marks {
        mark.trace_ink = false;
    }
}

fn rhythm(rng: &mut Rng, format: &Format) -> Vec<&'static str> {
    let count = match format.name {
        "3x4" => rng.weigh(&[(2.0, 0), (6.0, 1), (1.0, 2), (2.0, 3)]),
        "6x2" => rng.weigh(&[(3.0, 0), (2.0, 1), (0.3, 2)]),
        "4x3" => rng.weigh(&[(1.0, 0), (1.0, 1)]),
        _ => 0,
    };
    let sets: [&[&'static str]; 4] = [
        &["II", "V1", "V5"],
        &["V1", "II", "V5"],
        &["II", "V5", "V1"],
        &["V1", "V2", "II"],
    ];
    if count == 1 {
        return vec![rng.weigh(&[
            (7.0, "II"),
            (2.0, "V1"),
            (1.0, "V5"),
            (0.3, "III"),
            (0.3, "aVF"),
        ])];
    }
    rng.pick(&sets)[..count].to_vec()
}

/// The lattice of the traces on the sheet.
struct Frame {
    left: f32,
    /// Zero line of each row.
    rows: Vec<f32>,
    panel_s: f32,
    panel_mm: f32,
    strip_mm: f32,
    pitch: f32,
    speed: f32,
    gain: f32,
    chest_gain: f32,
    sheet: [f32; 2],
    margins: bool,
    simultaneous: bool,
}

/// The given weights, or equal ones.
fn weights(preset: Preset, usual: [(f32, f32); 3]) -> [(f32, f32); 3] {
    match preset {
        Preset::Scales => usual.map(|(_, value)| (1.0, value)),
        _ => usual,
    }
}

/// How time and voltage are printed.
#[derive(Clone, Copy)]
struct Scale {
    speed: f32,
    gain: f32,
    chest_gain: f32,
    total_s: f32,
}

fn scale(rng: &mut Rng, wanted: &Wanted) -> Scale {
    let preset = wanted.preset();
    let speed = rng.weigh(&weights(preset, [(8.5, 25.0), (0.8, 50.0), (0.7, 12.5)]));
    let gain = rng.weigh(&weights(preset, [(8.5, 10.0), (0.9, 5.0), (0.6, 20.0)]));
    let chest_gain = if rng.chance(0.05) { gain / 2.0 } else { gain };
    let total_s = if speed > 30.0 {
        5.0
    } else {
        rng.weigh(&[(9.0, 10.0), (1.0, 8.0)])
    };
    wanted.scale(Scale {
        speed,
        gain,
        chest_gain,
        total_s,
    })
}

/// The usual distances of so many rows.
fn pitches(row_count: usize) -> [f32; 2] {
    match row_count {
        0..=3 => [24.0, 42.0],
        4 => [20.0, 36.0],
        5..=7 => [14.0, 28.0],
        _ => [10.0, 17.0],
    }
}

fn frame(rng: &mut Rng, wanted: &Wanted, format: &Format, strips: usize) -> Frame {
    let columns = format.columns.len();
    let row_count = format.columns[0].len() + strips;
    let Scale {
        speed,
        gain,
        chest_gain,
        total_s,
    } = scale(rng, wanted);
    let panel_s = total_s / columns as f32;
    let panel_mm = panel_s * speed;
    let strip_mm = total_s * speed;
    let usual = pitches(row_count);
    let drawn = rng.range(usual[0], usual[1]);
    let pitch = wanted.pitch(drawn, usual) * if gain > 15.0 { 1.3 } else { 1.0 };
    let drawn = rng.chance(0.6);
    let margins = wanted.has(Thing::Margins).unwrap_or(drawn);
    let (side, top, bottom) = if margins {
        (
            rng.range(8.0, 25.0),
            rng.range(22.0, 60.0),
            rng.range(10.0, 30.0),
        )
    } else {
        // Little room: tall peaks leave the paper.
        (
            rng.range(2.0, 12.0),
            rng.range(0.25, 0.8) * pitch,
            rng.range(0.25, 0.8) * pitch,
        )
    };
    let left = wanted.side(side) + rng.range(0.0, 12.0);
    let rows: Vec<f32> = (0..row_count)
        .map(|k| top + pitch * (k as f32 + 0.3))
        .collect();
    let sheet = [
        left + strip_mm + wanted.side(rng.range(2.0, 4.0 + side)),
        rows[row_count - 1] + pitch * 0.3 + bottom,
    ];
    let simultaneous = rng.chance(0.12);
    Frame {
        left,
        rows,
        panel_s,
        panel_mm,
        strip_mm,
        pitch,
        speed,
        gain,
        chest_gain,
        sheet,
        margins,
        simultaneous: wanted.has(Thing::Simultaneous).unwrap_or(simultaneous),
    }
}

#[rustfmt::skip]
const INKS: [(f32, [f32; 3]); 6] = [
    (6.0, [0.05, 0.05, 0.06]), (2.0, [0.2, 0.2, 0.22]), (1.0, [0.1, 0.1, 0.45]),
    (0.5, [0.4, 0.05, 0.08]), (0.8, [0.4, 0.4, 0.42]), (0.4, [0.0, 0.15, 0.5]),
];
#[rustfmt::skip]
const GRIDS: [(f32, [f32; 3]); 9] = [
    (5.0, [0.95, 0.45, 0.45]), (4.0, [0.97, 0.65, 0.68]), (2.0, [0.95, 0.6, 0.35]),
    (0.8, [0.6, 0.4, 0.25]), (1.2, [0.4, 0.72, 0.45]), (1.2, [0.45, 0.6, 0.9]),
    (1.5, [0.6, 0.6, 0.6]), (0.4, [0.25, 0.25, 0.25]), (1.2, [0.85, 0.2, 0.25]),
];

/// Resolutions and how often they are met; each may be off by the spread.
const PX_PER_MM: [(f32, f32); 5] = [
    (1.0, 3.94),
    (1.5, 5.9),
    (4.0, 7.874),
    (2.0, 11.81),
    (0.4, 15.75),
];
const PX_PER_MM_SPREAD: f32 = 0.1;

/// The line's usual width, and the least and most.
const LINE_MM: [f32; 2] = [0.2, 0.38];
const LINE_MM_MIN: f32 = 0.12;
const LINE_MM_MAX: f32 = 0.6;
/// Spread of uneven ink.
const UNEVEN: [f32; 2] = [0.2, 0.8];

/// The most for a page of this size: 16 megapixels.
fn px_per_mm_max(width_mm: f32, height_mm: f32) -> f32 {
    (16.0e6 / (width_mm * height_mm)).sqrt()
}

fn blank(
    rng: &mut Rng,
    preset: Preset,
    format: &Format,
    frame: &Frame,
    rhythm: &[&'static str],
) -> Plan {
    let px_per_mm = match preset {
        Preset::Photo => rng.range(5.5, 13.0),
        _ => rng.weigh(&PX_PER_MM) * rng.range(1.0 - PX_PER_MM_SPREAD, 1.0 + PX_PER_MM_SPREAD),
    };
    let most = px_per_mm_max(frame.sheet[0], frame.sheet[1]);
    let ink = rng.weigh(&INKS);
    let text = if rng.chance(0.7) {
        ink
    } else {
        rng.weigh(&INKS)
    };
    let white = rng.range(0.86, 1.0);
    let line_width = if rng.chance(0.7) {
        rng.range(LINE_MM[0], LINE_MM[1])
    } else {
        rng.range(LINE_MM_MIN, LINE_MM_MAX)
    };
    Plan {
        width_mm: frame.sheet[0],
        height_mm: frame.sheet[1],
        px_per_mm: px_per_mm.min(most),
        layout: match rhythm.len() {
            0 => format.name.to_owned(),
            n => format!("{}+{n}R", format.name),
        },
        rhythm: rhythm.to_vec(),
        cabrera: format.cabrera,
        speed_mm_s: frame.speed,
        gain_mm_mv: frame.gain,
        traces: Vec::new(),
        texts: Vec::new(),
        marks: Vec::new(),
        grid: grid(rng, frame),
        paper: [
            white,
            white * rng.range(0.94, 1.0),
            white * rng.range(0.9, 1.0),
        ],
        trace_color: ink,
        text_color: text,
        mark_color: rng.weigh(&INKS),
        line_width_mm: line_width,
        uneven: if rng.chance(0.2) {
            rng.range(UNEVEN[0], UNEVEN[1])
        } else {
            0.0
        },
        fate: Fate::default(),
        jpeg_quality: None,
    }
}

fn grid(rng: &mut Rng, frame: &Frame) -> GridLook {
    let kind = rng.weigh(&[
        (7.0, GridKind::Lines),
        (2.0, GridKind::Dots),
        (0.5, GridKind::MinorOnly),
        (0.7, GridKind::MajorOnly),
        (0.9, GridKind::None),
    ]);
    let strong = rng.chance(0.3);
    let major = if strong {
        rng.range(STRONG_GRID[0], STRONG_GRID[1])
    } else {
        rng.range(0.2, 0.6)
    };
    let minor_width = rng.range(0.08, 0.2);
    let [right, bottom] = frame.sheet;
    let inset = if frame.margins && rng.chance(0.5) {
        rng.range(2.0, 12.0)
    } else {
        -1.0
    };
    let top = if inset > 0.0 && rng.chance(0.6) {
        frame.rows[0] - frame.pitch * rng.range(0.5, 0.8)
    } else {
        inset
    };
    let round = |v: f32| {
        if inset > 0.0 {
            (v / 5.0).round() * 5.0
        } else {
            v
        }
    };
    let phase = if inset > 0.0 {
        [round(inset), round(top)]
    } else {
        [rng.range(0.0, 5.0), rng.range(0.0, 5.0)]
    };
    let (broken, color) = lines(rng);
    let dot_color = if rng.chance(0.5) {
        color
    } else {
        [rng.range(0.2, 0.6); 3]
    };
    GridLook {
        kind,
        color,
        dot_color,
        minor: major * rng.range(0.3, 1.0),
        major,
        minor_width_mm: minor_width,
        major_width_mm: minor_width + rng.range(0.0, 0.2),
        phase_mm: phase,
        broken,
        area_mm: [
            round(inset),
            round(top),
            if inset > 0.0 {
                round(right - inset)
            } else {
                right + 1.0
            },
            if inset > 0.0 {
                round(bottom - inset)
            } else {
                bottom + 1.0
            },
        ],
    }
}

/// How dark the 5 mm lines of a strong grid are, 0 to 1.
const STRONG_GRID: [f32; 2] = [0.5, 0.95];

/// Whether the 5 mm lines are broken, and the lines' colour.
fn lines(rng: &mut Rng) -> (Option<Broken>, [f32; 3]) {
    let broken = rng.chance(BROKEN_SHARE).then(|| broken(rng));
    // Such lines are most often seen on grey copies, as dark as the trace.
    let color = if broken.is_some() && rng.chance(0.6) {
        [rng.range(0.1, 0.5); 3]
    } else {
        rng.weigh(&GRIDS)
    };
    (broken, color)
}

fn broken(rng: &mut Rng) -> Broken {
    Broken {
        left: rng.range(0.0, 0.7),
        rates: [rng.range(0.3, 2.5), rng.range(1.0, 7.0)],
        level: rng.range(-0.9, 0.5),
    }
}

/// How this maker's pages look: the same for every lead of a page.
struct House {
    label: Style,
    place: Place,
    offset: [f32; 2],
    case: Case,
    boxed: bool,
    missing: f32,
    baseline_mm: f32,
    tick: Tick,
    text: Style,
}

/// Pages whose 5 mm lines are broken.
const BROKEN_SHARE: f32 = 0.15;

/// Pages whose panels begin with a bar and the name close to it.
const CROWDED_SHARE: f32 = 0.3;

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Above,
    Below,
    On,
    Left,
}

#[derive(Clone, Copy, PartialEq)]
enum Case {
    Mixed,
    Upper,
    LowerLast,
    LowerMiddle,
}

#[derive(Clone, Copy, PartialEq)]
enum Tick {
    None,
    Bar,
    Short,
    Gap,
    Square,
    /// One line down the whole page at each column.
    Full,
    /// The same, of dots.
    Dotted,
    /// One bar above and one below the trace.
    Pair,
    /// An arrow down to the trace, before its label.
    Arrow,
    /// A thick bar of this half height upon the start, the first column's too.
    Post(f32),
}

const TICKS: [(f32, Tick); 9] = [
    (5.0, Tick::None),
    (2.5, Tick::Bar),
    (2.0, Tick::Short),
    (0.7, Tick::Gap),
    (0.8, Tick::Square),
    (0.8, Tick::Full),
    (1.8, Tick::Dotted),
    (0.5, Tick::Pair),
    (0.4, Tick::Arrow),
];

/// Heights of small labels; usual ones are taller.
const SMALL_LABEL_MM: [f32; 2] = [1.3, 1.9];

impl House {
    fn random(rng: &mut Rng, plan: &Plan) -> Self {
        let font = |rng: &mut Rng| {
            if rng.chance(0.12) {
                rng.below(2)
            } else {
                2 + rng.below(10_000)
            }
        };
        let height = if rng.chance(0.12) {
            rng.range(SMALL_LABEL_MM[0], SMALL_LABEL_MM[1])
        } else {
            rng.range(SMALL_LABEL_MM[1], 3.9)
        };
        // Many machines set the name right upon the start of the trace.
        let offset = if rng.chance(0.4) {
            [rng.range(0.3, 3.0), rng.range(0.4, 2.5)]
        } else {
            [rng.range(-1.0, 4.0), rng.range(2.5, 8.0)]
        };
        let house = Self {
            label: Style {
                font: font(rng),
                height_mm: height,
                stroke_mm: rng.range(0.18, 0.45),
            },
            place: rng.weigh(&[
                (5.0, Place::Above),
                (2.0, Place::Below),
                (1.2, Place::On),
                (1.5, Place::Left),
            ]),
            offset,
            case: rng.weigh(&[
                (7.0, Case::Mixed),
                (3.0, Case::Upper),
                (0.8, Case::LowerLast),
                (0.6, Case::LowerMiddle),
            ]),
            boxed: rng.chance(0.03),
            missing: if rng.chance(0.06) { 0.15 } else { 0.0 },
            baseline_mm: if rng.chance(0.3) {
                rng.range(0.0, 1.5)
            } else {
                0.0
            },
            tick: rng.weigh(&TICKS),
            text: Style {
                font: font(rng),
                height_mm: rng.range(1.7, 3.2),
                stroke_mm: (plan.line_width_mm).max(0.18),
            },
        };
        if rng.chance(CROWDED_SHARE) {
            house.crowded(rng)
        } else {
            house
        }
    }

    /// A bar upon the start of every panel and the name at its foot or head, so that the first
    /// beat runs through both: how programs that plot in one go set their pages.
    fn crowded(self, rng: &mut Rng) -> Self {
        let half = rng.range(2.5, 4.5);
        Self {
            place: rng.weigh(&[(4.0, Place::Below), (1.0, Place::Above)]),
            offset: [rng.range(-0.6, 1.2), half + rng.range(-0.8, 1.5)],
            tick: Tick::Post(half),
            ..self
        }
    }

    fn spell(&self, lead: &str) -> String {
        match self.case {
            Case::Mixed => lead.to_owned(),
            Case::Upper => lead.to_uppercase(),
            Case::LowerMiddle => lead.replace("aV", "av"),
            Case::LowerLast => lead
                .replace("VR", "Vr")
                .replace("VL", "Vl")
                .replace("VF", "Vf"),
        }
    }
}

fn traces(
    plan: &mut Plan,
    rng: &mut Rng,
    format: &Format,
    frame: &Frame,
    house: &House,
    recording: &Recording,
) {
    let rows = format.columns[0].len();
    let gap = if house.tick == Tick::Gap {
        rng.range(0.5, 3.0)
    } else {
        0.0
    };
    for (column, leads) in format.columns.iter().enumerate() {
        for (row, lead) in leads.iter().enumerate() {
            let left = frame.left + column as f32 * frame.panel_mm;
            let from_s = if frame.simultaneous {
                0.0
            } else {
                column as f32 * frame.panel_s
            };
            let gain = if CHEST.contains(lead) {
                frame.chest_gain
            } else {
                frame.gain
            };
            let place = (left, frame.rows[row], column as f32 * frame.panel_s);
            add_trace(
                plan,
                rng,
                house,
                recording,
                (lead, Role::Grid),
                place,
                (from_s, frame.panel_s - gap / frame.speed),
                gain,
            );
        }
    }
    let strips = plan.rhythm.clone();
    for (k, lead) in strips.iter().enumerate() {
        let place = (frame.left, frame.rows[rows + k], 0.0);
        let span = (0.0, frame.strip_mm / frame.speed);
        let gain = if CHEST.contains(lead) {
            frame.chest_gain
        } else {
            frame.gain
        };
        add_trace(
            plan,
            rng,
            house,
            recording,
            (lead, Role::Rhythm),
            place,
            span,
            gain,
        );
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "a trace is where, when, what and how tall"
)]
fn add_trace(
    plan: &mut Plan,
    rng: &mut Rng,
    house: &House,
    recording: &Recording,
    (lead, role): (&'static str, Role),
    (left, row, start_s): (f32, f32, f32),
    (from_s, span_s): (f32, f32),
    gain: f32,
) {
    let (samples, sign) = signal(recording, lead);
    let first = (from_s * RATE_HZ) as usize;
    let last = (first + (span_s * RATE_HZ).round() as usize).min(samples.len());
    let mv: Vec<f32> = samples[first.min(last)..last]
        .iter()
        .map(|v| sign * v)
        .collect();
    let zero = row + rng.normal(0.0, house.baseline_mm);
    let step = plan.speed_mm_s / RATE_HZ;
    let path = mv
        .iter()
        .enumerate()
        .map(|(k, v)| [left + k as f32 * step, zero - gain * v])
        .collect();
    let label = (!rng.chance(house.missing)).then(|| {
        add_label(plan, rng, house, lead, left, row);
        plan.texts.len() - 1
    });
    plan.traces.push(Trace {
        lead,
        role,
        start_s,
        mv,
        gain_mm_mv: gain,
        left_mm: left,
        zero_mm: zero,
        path_mm: path,
        label,
    });
}

fn add_label(plan: &mut Plan, rng: &mut Rng, house: &House, lead: &str, left: f32, row: f32) {
    let text = house.spell(lead);
    let [dx, dy] = house.offset;
    let (x, y) = match house.place {
        Place::Above => (left + dx, row - dy),
        Place::Below => (left + dx, row + dy + house.label.height_mm * 0.6),
        Place::On => (left + dx.max(0.3), row + house.label.height_mm * 0.5),
        Place::Left => (
            left - 1.0 - crate::font::width_mm(house.label, &text),
            row + house.label.height_mm * 0.5,
        ),
    };
    plan.texts.push(Text {
        text,
        class: lead.to_owned(),
        style: house.label,
        x_mm: (x + rng.normal(0.0, 0.15)).max(0.5),
        y_mm: y,
        boxed: house.boxed,
    });
}

/// Where calibration pulses stand, and how long they last.
struct PulseLook {
    /// Before and behind the traces.
    sides: [bool; 2],
    every_row: bool,
    width_s: f32,
    /// Whether the line runs level before the pulse rises and after it falls.
    feet: [bool; 2],
    /// As thick as so many of the traces' lines.
    thick: f32,
}

fn pulses(plan: &mut Plan, rng: &mut Rng, wanted: &Wanted, frame: &Frame) {
    let PulseLook {
        sides,
        every_row,
        width_s,
        feet,
        thick,
    } = wanted.pulses(PulseLook {
        sides: rng.weigh(&[
            (6.0, [true, false]),
            (1.5, [false, true]),
            (0.6, [true, true]),
        ]),
        every_row: rng.chance(0.85),
        width_s: rng.weigh(&[(7.0, 0.2), (2.0, 0.1), (1.0, 0.3)]),
        feet: rng.weigh(&[
            (6.0, [true, true]),
            (2.5, [false, false]),
            (0.5, [true, false]),
            (0.5, [false, true]),
        ]),
        thick: rng.weigh(&[(7.0, 1.0), (2.0, 1.5), (0.7, 2.0)]),
    });
    let width = width_s * frame.speed;
    let places = if feet[0] { 0 } else { 1 }..if feet[1] { 6 } else { 5 };
    for (row, zero) in frame.rows.clone().into_iter().enumerate() {
        if row > 0 && !every_row {
            break;
        }
        let lead = rng.range(0.3, 2.0);
        let leads = feet.map(|foot| if foot { lead } else { 0.0 });
        let length = leads[0] + width + leads[1];
        let shape = |from: f32| {
            let [rise, fall, end] = [from + leads[0], from + length - leads[1], from + length];
            let top = zero - frame.gain;
            let path = [
                [from, zero],
                [rise, zero],
                [rise, top],
                [fall, top],
                [fall, zero],
                [end, zero],
            ];
            path[places.clone()].to_vec()
        };
        let touch = if rng.chance(0.4) {
            0.0
        } else {
            rng.range(0.3, 1.5)
        };
        let starts = [
            frame.left - touch - length,
            frame.left + frame.strip_mm + touch,
        ];
        for (side, start) in sides.into_iter().zip(starts) {
            // On a page cut close, the pulse may be cut too.
            let seen_from = if frame.margins { 0.0 } else { -0.6 * length };
            if side && start > seen_from && start + length < plan.width_mm {
                plan.marks.push(Mark {
                    class: "pulse",
                    path_mm: shape(start),
                    width_mm: thick * plan.line_width_mm,
                    trace_ink: true,
                });
            }
        }
    }
}

fn separators(plan: &mut Plan, rng: &mut Rng, frame: &Frame, house: &House) {
    let (half, thick) = match house.tick {
        Tick::None | Tick::Gap => return,
        Tick::Bar => (rng.range(2.5, 6.0), rng.range(0.3, 1.0)),
        Tick::Post(half) => (half, rng.range(0.4, 1.1)),
        Tick::Short => (rng.range(1.0, 2.5), plan.line_width_mm),
        Tick::Square => (1.0, plan.line_width_mm),
        Tick::Full => return full_separators(plan, frame, None),
        Tick::Dotted => {
            let (dot, pitch) = (rng.range(0.2, 0.6), rng.range(0.8, 1.4));
            return full_separators(plan, frame, Some([dot, pitch]));
        }
        Tick::Pair => return pairs(plan, rng, frame),
        Tick::Arrow => return arrows(plan, house),
    };
    let shift = rng.range(-0.6, 0.6);
    let starts: Vec<[f32; 2]> = plan.traces.iter().map(|t| [t.left_mm, t.zero_mm]).collect();
    for [x, y] in starts {
        let post = matches!(house.tick, Tick::Post(_));
        if x < frame.left + 1.0 && !post && !rng.chance(0.3) {
            continue;
        }
        let x = x + shift;
        let path = if house.tick == Tick::Square {
            vec![
                [x - 0.5, y - half],
                [x + 0.5, y - half],
                [x + 0.5, y + half],
                [x - 0.5, y + half],
                [x - 0.5, y - half],
            ]
        } else {
            vec![[x, y - half], [x, y + half]]
        };
        plan.marks.push(Mark {
            class: "separator",
            path_mm: path,
            width_mm: thick,
            trace_ink: true,
        });
    }
}

/// Bars above and below each start but those of the first column.
fn pairs(plan: &mut Plan, rng: &mut Rng, frame: &Frame) {
    let (gap, long, thick) = (
        rng.range(0.6, 2.5),
        rng.range(1.5, 4.0),
        rng.range(0.3, 0.8),
    );
    let starts: Vec<[f32; 2]> = plan.traces.iter().map(|t| [t.left_mm, t.zero_mm]).collect();
    for [x, y] in starts {
        for side in [-1.0, 1.0] {
            if x > frame.left + 1.0 {
                let path = vec![[x, y + side * gap], [x, y + side * (gap + long)]];
                separator(plan, path, thick);
            }
        }
    }
}

fn arrows(plan: &mut Plan, house: &House) {
    let [dx, dy] = house.offset;
    let tall = house.label.height_mm;
    let starts: Vec<[f32; 2]> = plan.traces.iter().map(|t| [t.left_mm, t.zero_mm]).collect();
    for [left, zero] in starts {
        let (x, y) = (left + dx - 1.3, zero - dy);
        let head = 0.3 * tall;
        let width_mm = house.label.stroke_mm;
        separator(plan, vec![[x, y - tall], [x, y]], width_mm);
        separator(
            plan,
            vec![[x - head, y - head], [x, y], [x + head, y - head]],
            width_mm,
        );
    }
}

fn separator(plan: &mut Plan, path_mm: Vec<[f32; 2]>, width_mm: f32) {
    plan.marks.push(Mark {
        class: "separator",
        path_mm,
        width_mm,
        trace_ink: true,
    });
}

/// Lines down the page between the columns; of dots of this length at this pitch, if given.
fn full_separators(plan: &mut Plan, frame: &Frame, dots_mm: Option<[f32; 2]>) {
    let panels: Vec<_> = plan
        .traces
        .iter()
        .filter(|t| t.role == Role::Grid)
        .collect();
    let bottom = panels.iter().fold(0.0f32, |low, t| low.max(t.zero_mm)) + 0.4 * frame.pitch;
    let top = frame.rows[0] - 0.5 * frame.pitch;
    let mut columns: Vec<f32> = panels
        .iter()
        .map(|t| t.left_mm)
        .filter(|x| *x > frame.left + 1.0)
        .collect();
    columns.sort_by(f32::total_cmp);
    columns.dedup();
    let width_mm = plan.line_width_mm * 0.8;
    let [dot, pitch] = dots_mm.unwrap_or([bottom - top, bottom - top]);
    let count = ((bottom - top) / pitch).floor().max(1.0) as usize;
    for x in columns {
        for k in 0..count {
            let y = top + k as f32 * pitch;
            separator(plan, vec![[x, y], [x, y + dot]], width_mm);
        }
    }
}

fn calibration_text(plan: &mut Plan, rng: &mut Rng, wanted: &Wanted, frame: &Frame, house: &House) {
    let mut parts = scale_texts(rng, frame);
    if rng.chance(0.5) {
        let filter = rng.pick(&[
            "0.05-40 Hz",
            "0.5-150 Hz",
            "F 50~ 0.15-100 Hz",
            "AC 60 Hz",
            "40Hz",
            "W 0.5-40",
        ]);
        parts.push((filter.to_owned(), "text".to_owned()));
    }
    let mut gap = (1.0, 8.0);
    if wanted.preset() == Preset::Scales && rng.chance(0.4) {
        // Other numbers stand right before the speed.
        let filter = rng.pick(&[
            "0.67-25Hz AC50",
            "0.05-150Hz",
            "AC50 F35",
            "LP 40 Hz",
            "50~ 25Hz",
        ]);
        parts.insert(0, (filter.to_owned(), "text".to_owned()));
        gap = (0.8, 2.0);
    }
    let below = frame.rows[frame.rows.len() - 1] + frame.pitch * 0.3 + rng.range(3.0, 8.0);
    let above = frame.rows[0] - frame.pitch * 0.5 - rng.range(1.0, 8.0);
    let drawn = rng.chance(0.65);
    let y = if wanted.has(Thing::ScaleTextsBelow).unwrap_or(drawn) {
        below
    } else {
        above
    };
    let y = y.clamp(house.text.height_mm + 1.0, plan.height_mm - 1.0);
    let mut x = frame.left + rng.range(-4.0, wanted.scale_texts_reach() * frame.strip_mm);
    if frame.chest_gain < frame.gain {
        // All of it finds room.
        let width = |(text, _): &(String, String)| crate::font::width_mm(house.text, text) + gap.1;
        x = x.min(plan.width_mm - parts.iter().map(width).sum::<f32>());
    }
    for (text, class) in parts {
        let width = crate::font::width_mm(house.text, &text);
        if x + width > plan.width_mm {
            break;
        }
        plan.texts.push(Text {
            text,
            class,
            style: house.text,
            x_mm: x.max(1.0),
            y_mm: y,
            boxed: false,
        });
        x = x.max(1.0) + width + rng.range(gap.0, gap.1);
    }
}

/// How speed and gain are written, and the class of each text.
fn scale_texts(rng: &mut Rng, frame: &Frame) -> Vec<(String, String)> {
    let number = |v: f32| {
        if (v - 12.5).abs() < 0.1 {
            "12.5".to_owned()
        } else {
            format!("{v:.0}")
        }
    };
    let (v, g) = (number(frame.speed), number(frame.gain));
    let speed = match rng.below(5) {
        0 => format!("{v}mm/s"),
        1 => format!("{v} mm/s"),
        2 => format!("{v} mm/sec"),
        3 => format!("{v}mm/sec"),
        _ => format!("Speed: {v} mm/s"),
    };
    let gain = match rng.below(6) {
        0 => format!("{g}mm/mV"),
        1 | 2 => format!("{g} mm/mV"),
        3 => format!("Limb: {g} mm/mV"),
        4 if (frame.gain - 10.0).abs() < 0.1 => "1 cm/mV".to_owned(),
        _ => format!("{g} mm/mv"),
    };
    let mut parts = vec![(speed, format!("{v}mm/s")), (gain, format!("{g}mm/mV"))];
    if frame.chest_gain < frame.gain {
        parts.push((
            format!("Chest: {} mm/mV", frame.chest_gain),
            "half-chest".to_owned(),
        ));
    } else if rng.chance(0.3) {
        parts.push((format!("Chest: {g} mm/mV"), format!("{g}mm/mV")));
    }
    parts
}
