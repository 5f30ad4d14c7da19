//! Letters: installed TrueType fonts, a plotter's strokes, and a dot matrix.
//!
//! In: a text, a height in millimetres. Out: ink on a layer, and the text's box. The stroke font
//! is our own (small letters are small capitals, as plotters draw them), so that pages are printed
//! where no font is installed.

use std::path::{Path, PathBuf};

use ab_glyph::{Font, FontVec, PxScale, ScaleFont, point};

use crate::draw::Layer;

/// Fonts to choose from: 0 is the plotter, 1 the dot matrix, then the installed ones.
pub struct Fonts {
    installed: Vec<FontVec>,
    /// Places in `installed`, each as often as its face is to be chosen.
    faces: Vec<usize>,
}

/// Names that hold no Latin letters, or ornaments.
const SKIPPED: [&str; 9] = [
    "Emoji", "Symbol", "Math", "Icons", "Dingbat", "D050000L", "CJK", "Syms", "Initials",
];

impl Fonts {
    /// Only the built-in ones.
    pub fn built_in() -> Self {
        Self {
            installed: Vec::new(),
            faces: Vec::new(),
        }
    }

    /// Every TrueType font below `folders`, in the order of their paths.
    pub fn scan(folders: &[PathBuf]) -> Self {
        Self::load(found(folders))
    }

    /// The one font of this file name below `folders`, or none but the built-in ones.
    pub fn named(folders: &[PathBuf], file_name: &str) -> Self {
        let mut paths = found(folders);
        paths.retain(|path| path.file_name().is_some_and(|name| name == file_name));
        paths.truncate(1);
        Self::load(paths)
    }

    fn load(paths: Vec<PathBuf>) -> Self {
        let load = |path: &PathBuf| FontVec::try_from_vec(std::fs::read(path).ok()?).ok();
        let latin = |font: &FontVec| "aVRLF123mI/".chars().all(|c| font.glyph_id(c).0 != 0);
        let (mut installed, mut faces) = (Vec::new(), Vec::new());
        for path in &paths {
            if let Some(font) = load(path).filter(latin) {
                faces.extend(std::iter::repeat_n(installed.len(), weight(path)));
                installed.push(font);
            }
        }
        Self { installed, faces }
    }

    pub fn count(&self) -> usize {
        2 + self.faces.len()
    }
}

/// Machines print upright letters, most of them with serifs (nine of twelve real pages); a font
/// package holds more slanted and thin faces than any other.
fn weight(path: &Path) -> usize {
    const RARE: [&str; 9] = [
        "Italic", "Oblique", "Ita.", "Thin", "Hairline", "Light", "Black", "Heavy", "Z003",
    ];
    const SERIF: [&str; 6] = ["Serif", "Roman", "Times", "C059", "P052", "Bookman"];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match () {
        () if RARE.iter().any(|part| name.contains(part)) => 1,
        () if SERIF.iter().any(|part| name.contains(part)) => 12,
        () => 5,
    }
}

fn found(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(folder, &mut paths);
    }
    paths.sort();
    paths
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = path.to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, paths);
        } else if (name.ends_with(".ttf") || name.ends_with(".otf"))
            && !SKIPPED.iter().any(|skipped| name.contains(skipped))
        {
            paths.push(path);
        }
    }
}

/// How a text is set.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub font: usize,
    /// Height of a capital.
    pub height_mm: f32,
    /// Width of a plotter's stroke.
    pub stroke_mm: f32,
}

/// Writes `text` with its baseline starting at (`x_mm`, `y_mm`); the box is left, top, right,
/// bottom in millimetres.
pub fn write(
    layer: &mut Layer,
    fonts: &Fonts,
    style: Style,
    text: &str,
    x_mm: f32,
    y_mm: f32,
) -> [f32; 4] {
    match style.font % fonts.count() {
        0 => strokes(layer, style, text, x_mm, y_mm, Pen::Plotter),
        1 => strokes(layer, style, text, x_mm, y_mm, Pen::Dots),
        n => outlines(
            layer,
            &fonts.installed[fonts.faces[n - 2]],
            style,
            text,
            x_mm,
            y_mm,
        ),
    }
}

/// Width of `text` in millimetres, near enough to place it.
pub fn width_mm(style: Style, text: &str) -> f32 {
    text.chars().count() as f32 * style.height_mm * 0.85
}

fn outlines(
    layer: &mut Layer,
    font: &FontVec,
    style: Style,
    text: &str,
    x_mm: f32,
    y_mm: f32,
) -> [f32; 4] {
    let px = layer.px_per_mm;
    let capital = font
        .outline(font.glyph_id('I'))
        .map_or(0.7, |o| o.bounds.height().abs() / font.height_unscaled())
        .clamp(0.3, 1.0);
    let scale = PxScale::from(style.height_mm / capital * px);
    let scaled = font.as_scaled(scale);
    let mut pen = x_mm * px;
    let mut bounds = [
        f32::INFINITY,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NEG_INFINITY,
    ];
    for letter in text.chars() {
        let id = font.glyph_id(letter);
        let glyph = id.with_scale_and_position(scale, point(pen, y_mm * px));
        pen += scaled.h_advance(id);
        let Some(outline) = font.outline_glyph(glyph) else {
            continue;
        };
        let around = outline.px_bounds();
        outline.draw(|x, y, cover| {
            let (column, row) = (
                around.min.x as i64 + i64::from(x),
                around.min.y as i64 + i64::from(y),
            );
            layer.put(column, row, cover);
        });
        bounds[0] = bounds[0].min(around.min.x / px);
        bounds[1] = bounds[1].min(around.min.y / px);
        bounds[2] = bounds[2].max(around.max.x / px);
        bounds[3] = bounds[3].max(around.max.y / px);
    }
    if bounds[0] > bounds[2] {
        [x_mm, y_mm, x_mm, y_mm]
    } else {
        bounds
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Pen {
    Plotter,
    Dots,
}

fn strokes(
    layer: &mut Layer,
    style: Style,
    text: &str,
    x_mm: f32,
    y_mm: f32,
    pen: Pen,
) -> [f32; 4] {
    let mut x = x_mm;
    let unit = style.height_mm / 6.0;
    let mut right = x_mm;
    for letter in text.chars() {
        let small = letter.is_lowercase();
        let unit = if small { unit * 0.78 } else { unit };
        for stroke in glyph(letter.to_ascii_uppercase())
            .split(' ')
            .filter(|s| !s.is_empty())
        {
            let points: Vec<[f32; 2]> = stroke
                .as_bytes()
                .chunks_exact(2)
                .map(|p| [f32::from(p[0] - b'0'), f32::from(p[1] - b'0')])
                .map(|[u, v]| [x + u * unit, y_mm - (6.0 - v) * unit])
                .collect();
            match pen {
                Pen::Plotter => layer.line(&points, style.stroke_mm),
                Pen::Dots => dots(layer, &points, unit),
            }
            right = points.iter().fold(right, |a, p| a.max(p[0]));
        }
        x += unit * if "I.:,'1".contains(letter) { 4.4 } else { 5.6 };
    }
    let half = style.stroke_mm / 2.0;
    [
        x_mm - half,
        y_mm - style.height_mm - half,
        right + half,
        y_mm + half,
    ]
}

fn dots(layer: &mut Layer, points: &[[f32; 2]], unit: f32) {
    for pair in points.windows(2) {
        let length = (pair[1][0] - pair[0][0]).hypot(pair[1][1] - pair[0][1]);
        let count = (length / unit).round().max(1.0) as usize;
        for k in 0..=count {
            let t = k as f32 / count as f32;
            let at = [0, 1].map(|a| pair[0][a] * (1.0 - t) + pair[1][a] * t);
            layer.line(&[at, at], unit * 0.95);
        }
    }
}

/// Polylines on a grid 4 wide and 6 high, two digits a point, top left is 00.
fn glyph(letter: char) -> &'static str {
    match letter {
        'A' => "062046 1434",
        'B' => "0600304132033344453606",
        'C' => "4130100105163645",
        'D' => "06003041453606",
        'E' => "40000646 0333",
        'F' => "400006 0333",
        'G' => "41301001051636454323",
        'H' => "0006 4046 0343",
        'I' => "2026",
        'J' => "4045361605",
        'K' => "0006 400346",
        'L' => "000646",
        'M' => "0600234046",
        'N' => "06004640",
        'O' | '0' => "103041453616050110",
        'P' => "06003041423303",
        'Q' => "103041453616050110 3446",
        'R' => "06003041423303 2346",
        'S' => "413010010213334445361605",
        'T' => "0040 2026",
        'U' => "000516364540",
        'V' => "002640",
        'W' => "0016233640",
        'X' => "0046 4006",
        'Y' => "002340 2326",
        'Z' => "00400646",
        '1' => "112026",
        '2' => "0110304142060646",
        '3' => "01103041422333 334445361605",
        '4' => "3630 30044444",
        '5' => "400003334445361605",
        '6' => "413010010516364544331304",
        '7' => "004016",
        '8' => "103041423313020110 133344453616050413",
        '9' => "0516364541301001021342",
        '/' => "0640",
        '.' => "2526",
        ':' => "2122 2526",
        '-' | '~' => "1333",
        '+' => "1333 2224",
        '(' => "30211526",
        ')' => "10213526",
        '=' => "1232 1434",
        ',' => "2516",
        '%' => "0640 0001 4546",
        '^' => "122032",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_of_a_lead_name_leaves_ink_in_its_box() {
        for name in [
            "I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6",
        ] {
            for font in [0, 1] {
                let mut layer = Layer::new(200, 80, 8.0);
                let style = Style {
                    font,
                    height_mm: 3.0,
                    stroke_mm: 0.3,
                };
                let [left, top, right, bottom] =
                    write(&mut layer, &Fonts::built_in(), style, name, 4.0, 7.0);
                let inside = |k: usize| {
                    let (x, y) = ((k % 200) as f32 / 8.0, (k / 200) as f32 / 8.0);
                    x > left - 0.5 && x < right + 0.5 && y > top - 0.5 && y < bottom + 0.5
                };
                let ink: Vec<usize> = (0..layer.cover.len())
                    .filter(|k| layer.cover[*k] > 128)
                    .collect();
                assert!(
                    ink.len() > 20,
                    "{name} in font {font}: {} px of ink",
                    ink.len()
                );
                assert!(
                    ink.into_iter().all(inside),
                    "{name} in font {font} leaves its box"
                );
            }
        }
    }
}
