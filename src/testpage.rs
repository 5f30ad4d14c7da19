//! A page whose signals are known to the microvolt: to print, to scan, and to be digitized by a
//! device that wants to know whether it still reads right.
//!
//! ```text
//!   +                                                    +   corner marks
//!     leadscan test page, 25 mm/s 10 mm/mV
//!   | _|~|_ I    | aVR | V1 | V4
//!   | _|~|_ II   | aVL | V2 | V5     12 leads of 2.5 s, one of 10 s, on millimetre paper
//!   | _|~|_ III  | aVF | V3 | V6
//!   | _|~|_ II
//!     25 mm/s  10 mm/mV  |---------|                         rulers of 100 mm, left and below
//!   +                                                    +
//! ```
//!
//! In: a resolution; a record. Out: the page, A4 lying on its side; how the record differs from what
//! the page shows (`compare.rs`). The signals are in `beats.rs`. Pure: the same bytes everywhere.

pub mod beats;
pub mod compare;
pub mod judge;
pub mod known;
mod paint;

use crate::labels::Lead;
use crate::page::{ImageError, RawImage};
use crate::units::Seconds;

use paint::{Pen, Sheet};

/// A4, lying on its side.
pub const WIDTH_MM: f32 = 297.0;
pub const HEIGHT_MM: f32 = 210.0;
/// Of the page that is printed, and of the one that devices test themselves with.
pub const PRINT_DPI: f32 = 300.0;
pub const SELFTEST_DPI: f32 = 200.0;
pub const MM_AN_INCH: f32 = 25.4;

pub const LAYOUT: &str = "3x4+1R";
pub const SPEED_MM_S: f32 = 25.0;
pub const GAIN_MM_MV: f32 = 10.0;
/// Lengths of the recording, and of a panel of it.
pub const DURATION_S: f32 = 10.0;
const PANEL_S: f32 = 2.5;
const ROWS: [[Lead; 4]; 3] = [
    [Lead::I, Lead::Avr, Lead::V1, Lead::V4],
    [Lead::II, Lead::Avl, Lead::V2, Lead::V5],
    [Lead::III, Lead::Avf, Lead::V3, Lead::V6],
];
const STRIP: Lead = Lead::II;

/// Where the recording begins, and the zero line of each row.
const LEFT_MM: f32 = 27.0;
const ZERO_MM: [f32; 4] = [62.0, 92.0, 122.0, 152.0];
/// The millimetre paper: left, top, right, bottom.
const PAPER_MM: [f32; 4] = [15.0, 40.0, 285.0, 172.0];
const RULER_MM: f32 = 100.0;
/// Points of a second of a trace: 0.025 mm apart.
const POINTS_A_SECOND: f32 = 1000.0;

const FINE: Pen = Pen {
    width_mm: 0.12,
    color: [250, 214, 218],
};
const COARSE: Pen = Pen {
    width_mm: 0.25,
    color: [245, 170, 178],
};
const INK: Pen = Pen {
    width_mm: 0.3,
    color: [25, 25, 28],
};
const LETTERS: Pen = Pen {
    width_mm: 0.35,
    color: [25, 25, 28],
};

/// Draws the page.
pub fn draw(dpi: f32) -> Result<RawImage, ImageError> {
    let mut sheet = Sheet::new(WIDTH_MM, HEIGHT_MM, dpi / MM_AN_INCH);
    paper(&mut sheet);
    for (row, leads) in ROWS.iter().enumerate() {
        for (column, lead) in leads.iter().enumerate() {
            let from = Seconds(PANEL_S * column as f32);
            trace(&mut sheet, *lead, from, Seconds(PANEL_S), ZERO_MM[row]);
            if column > 0 {
                separator(&mut sheet, from, ZERO_MM[row]);
            }
        }
    }
    trace(
        &mut sheet,
        STRIP,
        Seconds(0.0),
        Seconds(DURATION_S),
        ZERO_MM[3],
    );
    ZERO_MM.iter().for_each(|zero| pulse(&mut sheet, *zero));
    texts(&mut sheet);
    rulers(&mut sheet);
    corners(&mut sheet);
    sheet.into_picture()
}

fn paper(sheet: &mut Sheet) {
    let [left, top, right, bottom] = PAPER_MM;
    for (pen, step) in [(FINE, 1), (COARSE, 5)] {
        for k in (0..=(right - left) as usize).step_by(step) {
            let x = left + k as f32;
            sheet.line(pen, [x, top], [x, bottom]);
        }
        for k in (0..=(bottom - top) as usize).step_by(step) {
            let y = top + k as f32;
            sheet.line(pen, [left, y], [right, y]);
        }
    }
}

/// A lead from one time on, with its name above.
fn trace(sheet: &mut Sheet, lead: Lead, from: Seconds, length: Seconds, zero_mm: f32) {
    let count = (length.0 * POINTS_A_SECOND) as usize;
    let points: Vec<[f32; 2]> = (0..=count)
        .filter_map(|k| {
            let time = from + Seconds(k as f32 / POINTS_A_SECOND);
            let mv = beats::at(lead, time)?.0;
            Some([x_mm(time), zero_mm - GAIN_MM_MV * mv])
        })
        .collect();
    sheet.polyline(INK, &points);
    sheet.text(LETTERS, lead.name(), [x_mm(from) + 1.0, zero_mm - 8.0], 3.0);
}

fn x_mm(time: Seconds) -> f32 {
    LEFT_MM + SPEED_MM_S * time.0
}

fn separator(sheet: &mut Sheet, at: Seconds, zero_mm: f32) {
    let x = x_mm(at);
    sheet.line(INK, [x, zero_mm - 2.0], [x, zero_mm + 2.0]);
}

/// 1 mV for 0.2 s, before the row.
fn pulse(sheet: &mut Sheet, zero_mm: f32) {
    let top = zero_mm - GAIN_MM_MV;
    let path = [
        (-7.5, zero_mm),
        (-6.5, zero_mm),
        (-6.5, top),
        (-1.5, top),
        (-1.5, zero_mm),
        (-0.5, zero_mm),
    ];
    sheet.polyline(INK, &path.map(|(x, y)| [LEFT_MM + x, y]));
}

fn texts(sheet: &mut Sheet) {
    for (text, x, y, capital_mm) in [
        ("leadscan test page, 25 mm/s 10 mm/mV", LEFT_MM, 15.0, 3.5),
        (
            "Signals by formula, of no patient. Print at 100 %, not fitted to the page:",
            LEFT_MM,
            22.0,
            2.4,
        ),
        (
            "both rulers are 100 mm long. Scan it at 200 dpi or more, as your pages, then",
            LEFT_MM,
            28.0,
            2.4,
        ),
        ("leadscan testpage --verify SCAN", LEFT_MM, 34.0, 2.4),
        ("25 mm/s", LEFT_MM, 180.0, 2.4),
        ("10 mm/mV", LEFT_MM + 24.0, 180.0, 2.4),
        ("100 mm", 200.0, 189.0, 2.4),
    ] {
        sheet.text(LETTERS, text, [x, y], capital_mm);
    }
}

/// One below, one at the left, with a tick every 10 mm.
fn rulers(sheet: &mut Sheet) {
    let (x, y) = (98.0, 188.0);
    sheet.line(INK, [x, y], [x + RULER_MM, y]);
    let (left, top) = (9.0, 56.0);
    sheet.line(INK, [left, top], [left, top + RULER_MM]);
    for k in 0..=10 {
        let (at, length) = (10.0 * k as f32, if k % 10 == 0 { 4.0 } else { 2.0 });
        sheet.line(INK, [x + at, y], [x + at, y - length]);
        sheet.line(INK, [left, top + at], [left + length, top + at]);
    }
}

fn corners(sheet: &mut Sheet) {
    for (x, inward_x) in [(8.0, 6.0), (WIDTH_MM - 8.0, -6.0)] {
        for (y, inward_y) in [(8.0, 6.0), (HEIGHT_MM - 8.0, -6.0)] {
            sheet.polyline(INK, &[[x + inward_x, y], [x, y], [x, y + inward_y]]);
        }
    }
}
