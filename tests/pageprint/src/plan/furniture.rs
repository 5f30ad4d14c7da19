//! What else stands on a page, and belongs to no trace: headings, tables, logos, barcodes, stamps,
//! strokes of a pen.
//!
//! In: a plan with its traces. Out: more texts (class "text") and marks. Marks of furniture carry
//! classes of their own, so that whoever trains can tell them from traces.

use super::{Frame, Mark, Plan, Text};
use crate::Rng;
use crate::font::{self, Style};

const WORDS: [&str; 24] = [
    "Name:",
    "ID: 4711-03",
    "Male",
    "Sinus rhythm",
    "Normal ECG",
    "Vent. rate 72 bpm",
    "PR interval 162 ms",
    "QRS duration 92 ms",
    "QT/QTc 384/412 ms",
    "P-R-T axes 54 12 38",
    "Left ventricular hypertrophy",
    "Abnormal ECG",
    "12-JAN-2009 14:22",
    "Ward 3B",
    "Dr.",
    "Confirmed by:",
    "Unconfirmed",
    "Technician: VK",
    "Room: 12",
    "Loc: 7",
    "Age 63",
    "Referred by:",
    "Nonspecific ST abnormality",
    "VII V10 aVX II-III",
];
const STAMPS: [&str; 6] = [
    "COPY",
    "SEEN",
    "14 MAR 2008",
    "CARDIOLOGY",
    "FILED",
    "URGENT",
];

/// Where the room above the traces ends.
fn bottom(frame: &Frame) -> f32 {
    (frame.rows[0] - frame.pitch * 0.75).max(6.0)
}

/// Headings above the traces.
pub fn header(plan: &mut Plan, rng: &mut Rng, frame: &Frame) {
    let bottom = bottom(frame);
    let style = Style {
        font: 2 + rng.below(10_000),
        height_mm: rng.range(1.8, 3.4),
        stroke_mm: 0.25,
    };
    let columns = 1 + rng.below(4);
    for column in 0..columns {
        let x = rng.range(0.0, 6.0) + 4.0 + column as f32 * plan.width_mm / columns as f32;
        let mut y = 5.0 + style.height_mm;
        while y < bottom && rng.chance(0.85) {
            let text = rng.pick(&WORDS);
            if x + font::width_mm(style, text) < plan.width_mm {
                write(plan, style, text, [x, y]);
            }
            y += style.height_mm * rng.range(1.4, 1.9);
        }
    }
}

/// Now and then a barcode, a table, a logo.
pub fn some(plan: &mut Plan, rng: &mut Rng, frame: &Frame) {
    if rng.chance(0.2) {
        barcode(plan, rng);
    }
    let bottom = bottom(frame);
    if bottom > 14.0 && rng.chance(0.15) {
        table(plan, rng, bottom);
    }
    if rng.chance(0.12) {
        logo(plan, rng);
    }
}

/// A barcode, a logo, and a table where it fits.
pub fn all(plan: &mut Plan, rng: &mut Rng, frame: &Frame) {
    barcode(plan, rng);
    table(plan, rng, bottom(frame));
    logo(plan, rng);
}

fn write(plan: &mut Plan, style: Style, text: &str, [x_mm, y_mm]: [f32; 2]) {
    let text = text.to_owned();
    plan.texts.push(Text {
        text,
        class: "text".into(),
        style,
        x_mm,
        y_mm,
        boxed: false,
    });
}

fn mark(plan: &mut Plan, class: &'static str, width_mm: f32, path_mm: Vec<[f32; 2]>) {
    plan.marks.push(Mark {
        class,
        path_mm,
        width_mm,
        trace_ink: false,
    });
}

fn barcode(plan: &mut Plan, rng: &mut Rng) {
    let (x0, y0) = (rng.range(0.5, 0.8) * plan.width_mm, rng.range(3.0, 8.0));
    let mut x = x0;
    while x < x0 + 30.0 && x < plan.width_mm - 3.0 {
        let width = rng.pick(&[0.3, 0.6, 0.9]);
        mark(plan, "barcode", width, vec![[x, y0], [x, y0 + 8.0]]);
        x += width + rng.pick(&[0.3, 0.6, 0.9]);
    }
}

/// Ruled cells with short texts, in the margin above the traces.
fn table(plan: &mut Plan, rng: &mut Rng, bottom: f32) {
    let (columns, rows) = (2 + rng.below(4), 2 + rng.below(3));
    let cell = [
        rng.range(14.0, 26.0),
        (bottom - 4.0).min(28.0) / rows as f32,
    ];
    let width = columns as f32 * cell[0];
    if width > plan.width_mm - 6.0 {
        return;
    }
    let (left, top) = (rng.range(2.0, plan.width_mm - width - 2.0), 3.0);
    let (right, low) = (left + width, top + rows as f32 * cell[1]);
    for column in 0..=columns {
        let x = left + column as f32 * cell[0];
        mark(plan, "table", 0.2, vec![[x, top], [x, low]]);
    }
    for row in 0..=rows {
        let y = top + row as f32 * cell[1];
        mark(plan, "table", 0.2, vec![[left, y], [right, y]]);
    }
    let style = Style {
        font: 2 + rng.below(10_000),
        height_mm: (0.35 * cell[1]).min(2.2),
        stroke_mm: 0.2,
    };
    for k in 0..columns * rows {
        let text = format!("{}", 20 + rng.below(400));
        let at = [
            left + (k % columns) as f32 * cell[0] + 1.5,
            top + (k / columns + 1) as f32 * cell[1] - 1.2,
        ];
        write(plan, style, &text, at);
    }
}

/// Rings, a filled bar and a name.
fn logo(plan: &mut Plan, rng: &mut Rng) {
    let (x, y, radius) = (
        rng.range(8.0, 30.0),
        rng.range(8.0, 14.0),
        rng.range(3.0, 5.5),
    );
    for share in [1.0, 0.6] {
        mark(
            plan,
            "logo",
            rng.range(0.3, 1.0),
            circle([x, y], radius * share),
        );
    }
    mark(
        plan,
        "logo",
        rng.range(0.6, 2.0),
        vec![
            [x - radius, y + radius + 2.0],
            [x + 2.0 * radius, y + radius + 2.0],
        ],
    );
    let style = Style {
        font: 2 + rng.below(10_000),
        height_mm: rng.range(2.5, 5.0),
        stroke_mm: 0.5,
    };
    write(
        plan,
        style,
        rng.pick(&["KARDIA", "ECG-12", "MEDI", "cardio"]),
        [x + radius + 1.5, y + 1.5],
    );
}

fn circle([x, y]: [f32; 2], radius: f32) -> Vec<[f32; 2]> {
    let angle = |k: usize| k as f32 / 40.0 * std::f32::consts::TAU;
    (0..=40)
        .map(|k| [x + radius * angle(k).cos(), y + radius * angle(k).sin()])
        .collect()
}

/// A rubber stamp: a frame or ring with a word, anywhere on the page.
pub fn stamp(plan: &mut Plan, rng: &mut Rng) {
    let at = [
        rng.range(0.1, 0.8) * plan.width_mm,
        rng.range(0.1, 0.9) * plan.height_mm,
    ];
    let style = Style {
        font: 2 + rng.below(10_000),
        height_mm: rng.range(3.0, 6.0),
        stroke_mm: 0.6,
    };
    let text = rng.pick(&STAMPS);
    let (width, height) = (font::width_mm(style, text), style.height_mm);
    write(plan, style, text, at);
    if rng.chance(0.5) {
        let (l, t, r, b) = (
            at[0] - 2.0,
            at[1] - height - 2.0,
            at[0] + width + 2.0,
            at[1] + 2.0,
        );
        mark(
            plan,
            "stamp",
            rng.range(0.4, 0.9),
            vec![[l, t], [r, t], [r, b], [l, b], [l, t]],
        );
    } else {
        let middle = [at[0] + width / 2.0, at[1] - height / 2.0];
        mark(
            plan,
            "stamp",
            rng.range(0.4, 0.9),
            circle(middle, width * 0.7),
        );
    }
}

/// Strokes of a pen, as of handwriting, anywhere on the page.
pub fn scribble(plan: &mut Plan, rng: &mut Rng) {
    for _ in 0..1 + rng.below(3) {
        let mut at = [
            rng.range(0.05, 0.9) * plan.width_mm,
            rng.range(0.05, 0.9) * plan.height_mm,
        ];
        let (mut angle, mut path) = (rng.range(0.0, 6.3), Vec::new());
        for _ in 0..30 + rng.below(150) {
            angle += rng.normal(0.05, 0.35);
            at = [at[0] + 0.5 * angle.cos() + 0.12, at[1] + 0.4 * angle.sin()];
            path.push(at);
        }
        mark(plan, "scribble", rng.range(0.25, 0.7), path);
    }
}
