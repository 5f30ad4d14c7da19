//! The one page that the repository carries: nothing about it is left to chance but the model's
//! beats and the sensor's noise, both seeded.
//!
//! 3x4 + II, 25 mm/s, 10 mm/mV, pink grid, as a good flatbed scanner sees a sheet laid down by
//! hand: turned by a fraction of a degree, a little blur, a little noise.

use super::{
    Case, FORMATS, Fate, Frame, GridKind, GridLook, House, Mark, Place, Plan, Text, Tick, traces,
};
use crate::Rng;
use crate::font::Style;
use crate::signal::Source;

/// The lead names' font; the plotter's strokes stand in where it is not installed.
pub const SAMPLE_FONT: &str = "DejaVuSans.ttf";

const SEED: u64 = 179;
const PLOTTER: usize = 0;
const INSTALLED: usize = 2;

pub fn sample() -> Plan {
    let mut rng = Rng::new(SEED);
    let recording = Source::Model.draw(&mut rng);
    let frame = Frame {
        left: 18.0,
        rows: vec![42.0, 70.0, 98.0, 126.0],
        panel_s: 2.5,
        panel_mm: 62.5,
        strip_mm: 250.0,
        pitch: 28.0,
        speed: 25.0,
        gain: 10.0,
        chest_gain: 10.0,
        sheet: [280.0, 155.0],
        margins: true,
        simultaneous: false,
    };
    let house = House {
        label: Style {
            font: INSTALLED,
            height_mm: 2.8,
            stroke_mm: 0.3,
        },
        place: Place::Above,
        offset: [1.0, 8.5],
        case: Case::Mixed,
        boxed: false,
        missing: 0.0,
        baseline_mm: 0.0,
        tick: Tick::Short,
        text: Style {
            font: PLOTTER,
            height_mm: 2.4,
            stroke_mm: 0.25,
        },
    };
    let mut plan = sheet(&frame);
    traces(
        &mut plan,
        &mut rng,
        &FORMATS[0].1,
        &frame,
        &house,
        &recording,
    );
    marks(&mut plan, &frame);
    texts(&mut plan, house.text);
    plan
}

/// A pulse of 0.2 s before each row, a tick between the columns.
fn marks(plan: &mut Plan, frame: &Frame) {
    let width_mm = plan.line_width_mm;
    let mut mark = |class, path_mm| {
        plan.marks.push(Mark {
            class,
            path_mm,
            width_mm,
            trace_ink: true,
        });
    };
    for zero in &frame.rows {
        let (low, top) = (*zero, zero - frame.gain);
        let path = [
            (-7.5, low),
            (-6.5, low),
            (-6.5, top),
            (-1.5, top),
            (-1.5, low),
            (-0.5, low),
        ];
        mark("pulse", path.map(|(x, y)| [frame.left + x, y]).to_vec());
    }
    for column in 1..4 {
        for zero in &frame.rows[..3] {
            let x = frame.left + column as f32 * frame.panel_mm;
            mark("separator", vec![[x, zero - 2.0], [x, zero + 2.0]]);
        }
    }
}

fn texts(plan: &mut Plan, plotted: Style) {
    let heading = Style {
        font: INSTALLED,
        ..plotted
    };
    for (text, class, style, x_mm, y_mm) in [
        ("Sample page", "text", heading, 18.0, 9.0),
        (
            "A model's beats, printed by pageprint",
            "text",
            heading,
            18.0,
            14.0,
        ),
        ("No patient stands behind it", "text", heading, 18.0, 19.0),
        ("25 mm/s", "25mm/s", plotted, 18.0, 150.0),
        ("10 mm/mV", "10mm/mV", plotted, 42.0, 150.0),
        ("0.05-150 Hz", "text", plotted, 70.0, 150.0),
    ] {
        let (text, class) = (text.to_owned(), class.to_owned());
        plan.texts.push(Text {
            text,
            class,
            style,
            x_mm,
            y_mm,
            boxed: false,
        });
    }
}

fn sheet(frame: &Frame) -> Plan {
    let ink = [0.12, 0.12, 0.14];
    Plan {
        width_mm: frame.sheet[0],
        height_mm: frame.sheet[1],
        px_per_mm: 200.0 / 25.4,
        layout: "3x4+1R".to_owned(),
        rhythm: vec!["II"],
        cabrera: false,
        speed_mm_s: frame.speed,
        gain_mm_mv: frame.gain,
        traces: Vec::new(),
        texts: Vec::new(),
        marks: Vec::new(),
        grid: GridLook {
            kind: GridKind::Lines,
            color: [0.97, 0.65, 0.68],
            dot_color: [0.97, 0.65, 0.68],
            minor: 0.35,
            major: 0.8,
            minor_width_mm: 0.12,
            major_width_mm: 0.25,
            phase_mm: [5.0, 25.0],
            broken: None,
            area_mm: [5.0, 25.0, 275.0, 145.0],
        },
        paper: [0.98, 0.97, 0.95],
        trace_color: ink,
        text_color: ink,
        mark_color: ink,
        line_width_mm: 0.3,
        uneven: 0.0,
        fate: Fate {
            rotation_deg: 0.6,
            blur_px: 0.5,
            noise: 0.008,
            gamma: 1.0,
            tint: [1.0, 0.99, 0.98],
            seed: SEED,
            ..Fate::default()
        },
        jpeg_quality: Some(60),
    }
}
