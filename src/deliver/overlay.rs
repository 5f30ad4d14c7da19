//! The overlay: the page with what was seen on it, and below it the twelve leads as delivered.
//!
//! ```text
//!   id: status, layout, first findings
//!   +---------------------------+
//!   | the page, at most 2400 px |  label boxes with names (blue), panels (green),
//!   | wide                      |  the traces as they were followed (red)
//!   +---------------------------+
//!   | I    ~~~/\~~~             |  millimetre paper, 25 mm/s, 10 mm/mV: the delivered samples,
//!   | ...                       |  one row a lead
//!   +---------------------------+
//! ```
//!
//! In: the page and its record. Out: a picture of its own, or a PNG. One buffer is made: the page is
//! shrunk straight into it. A rejected page has no strip.

use std::io::Write;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
use imageproc::drawing::{draw_antialiased_line_segment_mut, draw_line_segment_mut};
use imageproc::pixelops::interpolate;

use super::twelve::Twelve;
use crate::labels::Lead;
use crate::limits;
use crate::page::RawImage;
use crate::record::{Record, Severity, Status};
use crate::stroke;

pub const OVERLAY_ENDING: &str = "overlay.png";

const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
const BLACK: Rgb<u8> = Rgb([20, 20, 20]);
const LABEL: Rgb<u8> = Rgb([0, 70, 220]);
const PANEL: Rgb<u8> = Rgb([0, 140, 60]);
const TRACE: Rgb<u8> = Rgb([230, 0, 60]);
const SIGNAL: Rgb<u8> = Rgb([0, 0, 0]);
const FINE: Rgb<u8> = Rgb([250, 222, 222]);
const COARSE: Rgb<u8> = Rgb([240, 170, 170]);

/// A small page is shown on a canvas this wide at least, so that the strip can be read.
const WIDTH_PX_MIN: usize = 1_200;
/// The strip's scale, as on paper.
const MM_A_SECOND: f32 = 25.0;
const MM_A_MILLIVOLT: f32 = 10.0;
/// Height of a lead's row, and room for its name, in millimetres of the strip.
const ROW_MM: f32 = 20.0;
const NAME_MM: f32 = 15.0;
/// Below this a millimetre's lines would be a tint.
const FINE_PX_MIN: f32 = 4.0;
/// Width of the strip that is drawn for the shortest recordings.
const STRIP_S_MIN: f32 = 2.5;
/// Lines of findings under the heading.
const FINDINGS_MAX: usize = 6;

/// Draws the overlay and encodes it.
pub fn write(
    image: &RawImage,
    record: &Record,
    id: &str,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let canvas = draw(image, record, id);
    let (width, height) = canvas.dimensions();
    PngEncoder::new_with_quality(out, CompressionType::Fast, FilterType::Up)
        .write_image(canvas.as_raw(), width, height, ExtendedColorType::Rgb8)
        .map_err(std::io::Error::other)
}

/// Heap that drawing and encoding the overlay takes.
pub fn bytes(image: &RawImage, record: &Record) -> u64 {
    let view = View::of(image);
    let strip = Strip::of(record, view.canvas_width).map_or(0, |strip| strip.height_px);
    let canvas = 3 * view.canvas_width * (view.height + strip + view.canvas_width / 5);
    // Beside the canvas the encoder holds what it has packed of it.
    (canvas + canvas / 2) as u64
}

/// Draws the overlay.
pub fn draw(image: &RawImage, record: &Record, id: &str) -> RgbImage {
    let view = View::of(image);
    let text_px = (view.canvas_width as f32 / 100.0).max(12.0);
    let letter_px = text_px * stroke::ADVANCE / stroke::CAPITAL_HEIGHT;
    let heading = headings(
        record,
        id,
        (view.canvas_width as f32 / letter_px) as usize - 2,
    );
    let heading_height = (heading.len() as f32 * 1.6 * text_px + text_px) as usize;
    let strip = Strip::of(record, view.canvas_width);
    let strip_height = strip.as_ref().map_or(0, |strip| strip.height_px);
    let height = heading_height + view.height + strip_height;
    let mut canvas = RgbImage::from_pixel(view.canvas_width as u32, height as u32, WHITE);
    for (k, (line, color)) in heading.iter().enumerate() {
        let top = text_px * (0.8 + 1.6 * k as f32);
        write_text(&mut canvas, line, [0.8 * text_px, top], text_px, *color);
    }
    view.shrink_into(&mut canvas, image, heading_height);
    draw_record(&mut canvas, record, &view, heading_height as f32);
    if let Some(strip) = strip {
        strip.draw(&mut canvas, record, (heading_height + view.height) as f32);
    }
    canvas
}

/// The lines above the page, at most `columns` characters each.
fn headings(record: &Record, id: &str, columns: usize) -> Vec<(String, Rgb<u8>)> {
    let (status, color) = match record.status {
        Status::Ok => ("ok", PANEL),
        Status::Warning => ("warning", LABEL),
        Status::Rejected => ("rejected", TRACE),
    };
    let layout = record.layout.as_deref().unwrap_or("layout not understood");
    let mut lines = vec![(format!("{id}: {status}, {layout}"), color)];
    let mut findings: Vec<_> = record.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in findings.iter().take(FINDINGS_MAX) {
        let grave = match finding.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Reject => "reject",
        };
        lines.push((format!("{grave}: {}", finding.message), BLACK));
    }
    if let Some(more) = findings
        .len()
        .checked_sub(FINDINGS_MAX)
        .filter(|&more| more > 0)
    {
        lines.push((format!("and {more} more"), BLACK));
    }
    let wrap = |(line, color): (String, Rgb<u8>)| {
        wrapped(&line, columns)
            .into_iter()
            .map(move |part| (part, color))
            .collect::<Vec<_>>()
    };
    lines.into_iter().flat_map(wrap).collect()
}

/// Broken between words; a word longer than a line runs out of the picture.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(format!("  {word}"));
        }
    }
    lines
}

/// How the page is shown.
struct View {
    /// Canvas pixels a page pixel, at most 1.
    scale: f32,
    width: usize,
    height: usize,
    canvas_width: usize,
}

impl View {
    fn of(image: &RawImage) -> Self {
        let (width, height) = (image.width() as f32, image.height() as f32);
        let across = limits::OVERLAY_WIDTH_PX_MAX as f32 / width;
        let scale = across
            .min(limits::OVERLAY_HEIGHT_PX_MAX as f32 / height)
            .min(1.0);
        let side = |length: f32| (length * scale).floor().max(1.0) as usize;
        let (width, height) = (side(width), side(height));
        Self {
            scale,
            width,
            height,
            canvas_width: width.max(WIDTH_PX_MIN),
        }
    }

    /// Each canvas pixel is the mean of the page pixels it covers.
    fn shrink_into(&self, canvas: &mut RgbImage, image: &RawImage, top: usize) {
        let span = |k: usize, side: usize| {
            let from = ((k as f32 / self.scale) as usize).min(side - 1);
            let to = (((k + 1) as f32 / self.scale) as usize).clamp(from + 1, side);
            from..to
        };
        for y in 0..self.height {
            for x in 0..self.width {
                let mut sums = [0_u32; 3];
                let (rows, columns) = (span(y, image.height()), span(x, image.width()));
                let count = (rows.len() * columns.len()) as u32;
                for row in rows {
                    for column in columns.clone() {
                        let pixel = image.pixel(column, row);
                        (0..3).for_each(|k| sums[k] += u32::from(pixel[k]));
                    }
                }
                let mean = sums.map(|sum| ((sum + count / 2) / count) as u8);
                canvas.put_pixel(x as u32, (y + top) as u32, Rgb(mean));
            }
        }
    }
}

fn draw_record(canvas: &mut RgbImage, record: &Record, view: &View, top: f32) {
    let place = |[x, y]: [f32; 2]| [x * view.scale, y * view.scale + top];
    for trace in &record.traces {
        draw_outline(canvas, trace.corners_px.map(place), PANEL);
    }
    for trace in &record.traces {
        for pair in trace.line_px.windows(2) {
            draw_stroke(canvas, place(pair[0]), place(pair[1]), TRACE);
        }
    }
    for trace in &record.traces {
        let corner = place(trace.corners_px[0]);
        write_text(
            canvas,
            trace.lead.name(),
            [corner[0] + 3.0, corner[1] + 4.0],
            14.0,
            PANEL,
        );
    }
    for label in &record.labels {
        let corners = label.corners_px.map(place);
        draw_outline(canvas, corners, LABEL);
        let text = format!("{} {:.2}", label.class, label.score);
        write_text(
            canvas,
            &text,
            [corners[3][0], corners[3][1] + 4.0],
            12.0,
            LABEL,
        );
    }
}

/// The twelve leads below the page.
struct Strip {
    px_per_mm: f32,
    duration_s: f32,
    row_px: f32,
    height_px: usize,
}

impl Strip {
    fn of(record: &Record, width_px: usize) -> Option<Self> {
        if record.status == Status::Rejected || record.traces.is_empty() {
            return None;
        }
        let duration_s = record.duration.0.max(STRIP_S_MIN);
        let px_per_mm = width_px as f32 / (NAME_MM + duration_s * MM_A_SECOND);
        let row_px = ROW_MM * px_per_mm;
        let height_px = (row_px * Lead::TWELVE.len() as f32).ceil() as usize;
        Some(Self {
            px_per_mm,
            duration_s,
            row_px,
            height_px,
        })
    }

    fn draw(&self, canvas: &mut RgbImage, record: &Record, top: f32) {
        self.draw_paper(canvas, top);
        let twelve = Twelve::of(record);
        for (index, lead) in Lead::TWELVE.into_iter().enumerate() {
            let zero = top + (index as f32 + 0.5) * self.row_px;
            let color = if twelve.has(index) { SIGNAL } else { COARSE };
            let size = 3.5 * self.px_per_mm;
            write_text(
                canvas,
                lead.name(),
                [self.px_per_mm, zero - size / 2.0],
                size,
                color,
            );
            self.draw_lead(canvas, &twelve, index, zero, top);
        }
    }

    fn draw_paper(&self, canvas: &mut RgbImage, top: f32) {
        let (right, bottom) = (canvas.width() as f32 - 1.0, canvas.height() as f32 - 1.0);
        let across = (NAME_MM + self.duration_s * MM_A_SECOND) as usize;
        let down = (ROW_MM * Lead::TWELVE.len() as f32) as usize;
        for (color, step) in [(FINE, 1), (COARSE, 5)] {
            if step as f32 * self.px_per_mm < FINE_PX_MIN {
                continue;
            }
            // A coarse line passes through time 0, which is three of their steps from the left.
            for mm in (0..=across).step_by(step) {
                let x = mm as f32 * self.px_per_mm;
                draw_line_segment_mut(canvas, (x, top), (x, bottom), color);
            }
            for mm in (0..=down).step_by(step) {
                let y = top + mm as f32 * self.px_per_mm;
                draw_line_segment_mut(canvas, (0.0, y), (right, y), color);
            }
        }
    }

    fn draw_lead(&self, canvas: &mut RgbImage, twelve: &Twelve, index: usize, zero: f32, top: f32) {
        // A lead that leaves its neighbours' rows would hide the others.
        let bottom = (zero + 1.5 * self.row_px).min(canvas.height() as f32 - 1.0);
        let top = (zero - 1.5 * self.row_px).max(top);
        let mut last = None;
        for (row, sample) in twelve.column(index).enumerate() {
            let here = sample.map(|millivolt| {
                let seconds = row as f32 / twelve.rate_hz() as f32;
                let x = (NAME_MM + seconds * MM_A_SECOND) * self.px_per_mm;
                [
                    x,
                    (zero - millivolt * MM_A_MILLIVOLT * self.px_per_mm).clamp(top, bottom),
                ]
            });
            if let (Some(from), Some(to)) = (last, here) {
                draw_stroke(canvas, from, to, SIGNAL);
            }
            last = here;
        }
    }
}

fn draw_outline(canvas: &mut RgbImage, corners: [[f32; 2]; 4], color: Rgb<u8>) {
    for k in 0..4 {
        draw_stroke(canvas, corners[k], corners[(k + 1) % 4], color);
    }
}

/// A smooth line; what lies outside the canvas, or nowhere, is not drawn.
fn draw_stroke(canvas: &mut RgbImage, from: [f32; 2], to: [f32; 2], color: Rgb<u8>) {
    let far = 2.0 * limits::SIDE_PX_MAX as f32;
    // A comparison that is false for what is no number.
    if [from, to].iter().flatten().all(|value| value.abs() <= far) {
        let [from, to] = [from, to].map(|[x, y]| (x.round() as i32, y.round() as i32));
        draw_antialiased_line_segment_mut(canvas, from, to, color, interpolate);
    }
}

/// Writes `text` with capitals `height_px` high, their upper left corner at `place`.
fn write_text(canvas: &mut RgbImage, text: &str, place: [f32; 2], height_px: f32, color: Rgb<u8>) {
    let unit = height_px / stroke::CAPITAL_HEIGHT;
    for (k, character) in text.chars().enumerate() {
        let left = place[0] + k as f32 * stroke::ADVANCE * unit;
        if left > canvas.width() as f32 {
            break;
        }
        for points in stroke::strokes(character) {
            let set = |[x, y]: [f32; 2]| [left + x * unit, place[1] + y * unit];
            for pair in points.windows(2) {
                let (from, to) = (set(pair[0]), set(pair[1]));
                draw_stroke(canvas, from, to, color);
                draw_stroke(
                    canvas,
                    [from[0] + 1.0, from[1]],
                    [to[0] + 1.0, to[1]],
                    color,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::twelve::tests::{record, trace};
    use crate::record::{Finding, Role};

    fn page(width: usize, height: usize) -> RawImage {
        RawImage::new(width, height, vec![200; 3 * width * height]).unwrap()
    }

    fn has(canvas: &RgbImage, color: Rgb<u8>) -> bool {
        canvas.pixels().any(|&pixel| pixel == color)
    }

    #[test]
    fn an_overlay_shows_page_traces_and_strip() {
        let samples: Vec<_> = (0..1250).map(|k| Some((k as f32 / 40.0).sin())).collect();
        let record = record(
            500.0,
            2.5,
            vec![trace(Lead::V1, Role::Panel, 0.0, &samples)],
        );
        let canvas = draw(&page(400, 300), &record, "a");
        assert_eq!(canvas.width() as usize, WIDTH_PX_MIN);
        assert!(canvas.height() > 300 + 1000);
        for color in [Rgb([200; 3]), PANEL, TRACE, SIGNAL, COARSE, FINE] {
            assert!(has(&canvas, color), "{color:?} is missing");
        }
    }

    #[test]
    fn a_rejected_page_has_no_strip() {
        let mut record = record(500.0, 0.0, Vec::new());
        record.status = Status::Rejected;
        record.layout = None;
        let reason = "no labels were found".to_owned();
        record
            .findings
            .push(Finding::new(Severity::Reject, "no_labels", None, reason));
        let canvas = draw(&page(400, 300), &record, "a");
        assert!(canvas.height() < 400);
        assert!(has(&canvas, BLACK) && !has(&canvas, COARSE));
    }

    #[test]
    fn a_large_page_is_shrunk_and_lines_from_nowhere_are_left_out() {
        let mut lead = trace(Lead::V1, Role::Panel, 0.0, &[Some(1e9), Some(-1e9), None]);
        lead.line_px = vec![[f32::NAN, 0.0], [1e30, 5.0], [-50.0, 20.0], [9000.0, 20.0]];
        let canvas = draw(&page(6000, 200), &record(500.0, 2.5, vec![lead]), "a");
        assert_eq!(canvas.width() as usize, limits::OVERLAY_WIDTH_PX_MAX);
    }
}
