//! What is known of a printed page.
//!
//! `ID.json` and `ID.npz` as the bench reads them: segments with millivolts (`mv_k`) and pixel
//! paths (`px_k`), boxes of all texts and pulses with their class, the homography and a mesh of the
//! whole warp. Pixel centres are at integers.

use std::fs::File;
use std::path::Path;

use serde::Serialize;

use crate::PrintedPage;
use crate::draw::Sheet;
use crate::npz::Archive;
use crate::plan::{Fate, Plan, Role};
use crate::signal::{LEADS, RATE_HZ};
use crate::warp::Warp;

type Corners = [[f32; 2]; 4];

#[derive(Clone, Debug, Serialize)]
pub struct Segment {
    pub key: usize,
    pub lead: &'static str,
    pub role: &'static str,
    pub start_s: f32,
    pub end_s: f32,
    pub fs: f32,
    pub n: usize,
    pub label_box: Option<Corners>,
    pub line_width_mm: f32,
    pub gain_mm_mv: f32,
    pub left_mm: f32,
    pub zero_mm: f32,
}

#[derive(Clone, Debug, Serialize)]
pub struct LabelBox {
    pub class: String,
    pub text: String,
    pub corners: Corners,
}

/// Lattice of paper millimetres to pixels.
#[derive(Clone, Debug, Serialize)]
pub struct TruthMesh {
    pub step_mm: f32,
    pub columns: usize,
    pub rows: usize,
    pub px: Vec<[f32; 2]>,
}

/// How the page looks, beside what happened to its paper: for figures by fault.
#[derive(Clone, Debug, Serialize)]
pub struct Look {
    pub grid_color: [f32; 3],
    pub trace_color: [f32; 3],
    pub line_width_mm: f32,
    pub uneven: f32,
    /// Where labels stand against the start of their trace: above, below, on, left or none.
    pub label_place: &'static str,
    pub label_height_mm: f32,
    pub jpeg_quality: Option<u8>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Truth {
    pub image: String,
    pub width: usize,
    pub height: usize,
    pub kind: String,
    pub layout: String,
    pub rhythm_leads: Vec<&'static str>,
    pub cabrera: bool,
    pub speed_mm_s: f32,
    pub gain_mm_mv: f32,
    pub px_per_mm: f32,
    pub homography_from_mm: [f64; 9],
    pub rotation_deg_clockwise: f32,
    pub quarter_turns: u8,
    pub grid: String,
    pub bw: bool,
    pub segments: Vec<Segment>,
    pub boxes: Vec<LabelBox>,
    pub mesh: TruthMesh,
    pub fate: Fate,
    pub look: Look,
    #[serde(skip)]
    pub mv: Vec<Vec<f32>>,
    #[serde(skip)]
    pub px: Vec<Vec<[f32; 2]>>,
    /// Ink of no trace: class, width and path in millimetres.
    pub marks: Vec<(&'static str, f32, Vec<[f32; 2]>)>,
}

impl Truth {
    pub fn of(plan: &Plan, sheet: &Sheet, warp: &Warp) -> Self {
        let corners = |area: [f32; 4]| {
            let [l, t, r, b] = area;
            [[l, t], [r, t], [r, b], [l, b]].map(|p| warp.to_page(p))
        };
        let segments = plan.traces.iter().enumerate().map(|(key, trace)| Segment {
            key,
            lead: trace.lead,
            role: if trace.role == Role::Grid {
                "grid"
            } else {
                "rhythm"
            },
            start_s: trace.start_s,
            end_s: trace.start_s + trace.mv.len() as f32 / RATE_HZ,
            fs: RATE_HZ,
            n: trace.mv.len(),
            label_box: trace.label.map(|k| corners(sheet.boxes[k].area_mm)),
            line_width_mm: plan.line_width_mm,
            gain_mm_mv: trace.gain_mm_mv,
            left_mm: trace.left_mm,
            zero_mm: trace.zero_mm,
        });
        let boxes = sheet.boxes.iter().map(|b| LabelBox {
            class: b.class.clone(),
            text: b.text.clone(),
            corners: corners(b.area_mm),
        });
        Self {
            image: String::new(),
            width: warp.width,
            height: warp.height,
            kind: kind(plan),
            layout: plan.layout.clone(),
            rhythm_leads: plan.rhythm.clone(),
            cabrera: plan.cabrera,
            speed_mm_s: plan.speed_mm_s,
            gain_mm_mv: plan.gain_mm_mv,
            px_per_mm: plan.px_per_mm,
            homography_from_mm: warp.homography(),
            rotation_deg_clockwise: plan.fate.rotation_deg,
            quarter_turns: plan.fate.quarter_turns,
            grid: format!("{:?}", plan.grid.kind).to_lowercase(),
            bw: plan.fate.grey || plan.fate.threshold.is_some(),
            segments: segments.collect(),
            boxes: boxes.collect(),
            mesh: mesh(plan, warp),
            fate: plan.fate.clone(),
            look: look(plan, sheet),
            mv: plan.traces.iter().map(|t| t.mv.clone()).collect(),
            px: plan
                .traces
                .iter()
                .map(|t| on_page(&t.path_mm, plan, warp))
                .collect(),
            marks: plan
                .marks
                .iter()
                .map(|m| (m.class, m.width_mm, m.path_mm.clone()))
                .collect(),
        }
    }
}

fn look(plan: &Plan, sheet: &Sheet) -> Look {
    // A page's labels all stand alike: the first one tells.
    let labelled = plan
        .traces
        .iter()
        .find_map(|trace| trace.label.map(|k| (trace, k)));
    let (label_place, label_height_mm) = labelled.map_or(("none", 0.0), |(trace, k)| {
        let [_, top, right, bottom] = sheet.boxes[k].area_mm;
        let place = match () {
            () if right <= trace.left_mm => "left",
            () if bottom < trace.zero_mm => "above",
            () if top > trace.zero_mm => "below",
            () => "on",
        };
        (place, bottom - top)
    });
    Look {
        grid_color: plan.grid.color,
        trace_color: plan.trace_color,
        line_width_mm: plan.line_width_mm,
        uneven: plan.uneven,
        label_place,
        label_height_mm,
        jpeg_quality: plan.jpeg_quality,
    }
}

/// The pixels of a path, NaN where it leaves the paper.
fn on_page(path_mm: &[[f32; 2]], plan: &Plan, warp: &Warp) -> Vec<[f32; 2]> {
    let inside = |[x, y]: [f32; 2]| x >= 0.0 && y >= 0.0 && x < plan.width_mm && y < plan.height_mm;
    let place = |p: &[f32; 2]| {
        if inside(*p) {
            warp.to_page(*p)
        } else {
            [f32::NAN; 2]
        }
    };
    path_mm.iter().map(place).collect()
}

fn kind(plan: &Plan) -> String {
    let fate = &plan.fate;
    let photo = fate.shade > 0.16 || fate.desk.is_some() || !fate.waves.is_empty();
    let kind = match () {
        () if photo => "photo",
        () if fate.threshold.is_some() || fate.halftone => "bw",
        () if !fate.folds.is_empty() => "creased",
        () if fate.noise > 0.03 => "noisy",
        () if fate.rotation_deg.abs() > 0.3 => "rotated",
        () => "clean",
    };
    kind.to_owned()
}

fn mesh(plan: &Plan, warp: &Warp) -> TruthMesh {
    let step_mm = 10.0;
    let (columns, rows) = (
        (plan.width_mm / step_mm) as usize + 2,
        (plan.height_mm / step_mm) as usize + 2,
    );
    let px = (0..rows * columns)
        .map(|k| {
            warp.to_page([
                (k % columns) as f32 * step_mm,
                (k / columns) as f32 * step_mm,
            ])
        })
        .collect();
    TruthMesh {
        step_mm,
        columns,
        rows,
        px,
    }
}

impl Truth {
    /// The twelve signals as the product writes them: each lead from its rhythm strip where it has
    /// one, else from its panel; millivolt; empty where nothing is printed.
    pub fn csv(&self) -> String {
        let mut leads = [const { Vec::new() }; 12];
        for role in ["grid", "rhythm"] {
            for segment in self.segments.iter().filter(|segment| segment.role == role) {
                let (name, sign) = segment
                    .lead
                    .strip_prefix('-')
                    .map_or((segment.lead, 1.0), |n| (n, -1.0));
                let Some(index) = LEADS.iter().position(|lead| *lead == name) else {
                    continue;
                };
                let first = (segment.start_s * RATE_HZ).round() as usize;
                leads[index] = vec![None; first];
                leads[index].extend(self.mv[segment.key].iter().map(|mv| Some(sign * mv)));
            }
        }
        let mut csv = format!("time_s,{}\n", LEADS.join(","));
        for k in 0..leads.iter().map(Vec::len).max().unwrap_or(0) {
            csv += &format!("{:.3}", k as f32 / RATE_HZ);
            for lead in &leads {
                csv.push(',');
                if let Some(Some(mv)) = lead.get(k) {
                    csv += &format!("{mv:.4}");
                }
            }
            csv.push('\n');
        }
        csv
    }
}

impl PrintedPage {
    /// Writes `page.jpg` (or `.png`), `truth.json` and `expected.csv` into `folder`.
    pub fn write_case(&self, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let mut truth = self.truth.clone();
        truth.image = self.write_picture(folder, "page")?;
        std::fs::write(folder.join("truth.json"), serde_json::to_vec(&truth)?)?;
        std::fs::write(folder.join("expected.csv"), truth.csv())?;
        Ok(())
    }

    /// Writes `ID.png` or `ID.jpg`, `ID.json` and `ID.npz` into `folder`.
    pub fn write(&self, folder: &Path, id: &str) -> Result<(), Box<dyn std::error::Error>> {
        let mut truth = self.truth.clone();
        truth.image = self.write_picture(folder, id)?;
        std::fs::write(
            folder.join(format!("{id}.json")),
            serde_json::to_vec(&truth)?,
        )?;
        let mut npz = Archive::default();
        for (k, (mv, px)) in self.truth.mv.iter().zip(&self.truth.px).enumerate() {
            npz.add(&format!("mv_{k}"), &[mv.len()], mv.iter().copied())?;
            npz.add(
                &format!("px_{k}"),
                &[px.len(), 2],
                px.iter().flatten().copied(),
            )?;
        }
        std::fs::write(folder.join(format!("{id}.npz")), npz.finish()?)?;
        Ok(())
    }

    fn write_picture(&self, folder: &Path, id: &str) -> Result<String, Box<dyn std::error::Error>> {
        let name = match self.jpeg_quality {
            Some(_) => format!("{id}.jpg"),
            None => format!("{id}.png"),
        };
        let file = std::io::BufWriter::new(File::create(folder.join(&name))?);
        let (width, height) = (self.width as u32, self.height as u32);
        match self.jpeg_quality {
            Some(quality) => image::codecs::jpeg::JpegEncoder::new_with_quality(file, quality)
                .encode(&self.rgb, width, height, image::ExtendedColorType::Rgb8)?,
            None => {
                use image::ImageEncoder;
                use image::codecs::png::{CompressionType, FilterType, PngEncoder};
                PngEncoder::new_with_quality(file, CompressionType::Fast, FilterType::Sub)
                    .write_image(&self.rgb, width, height, image::ExtendedColorType::Rgb8)?;
            }
        }
        Ok(name)
    }
}
