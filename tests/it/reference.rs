//! Codes on pages become references; traces never do.
//!
//! Codes are drawn by the crate that reads them, onto printed pages: what is tested is that they are
//! found there, that there are bounds, and that a page says one thing or nothing.

use std::path::PathBuf;

use leadscan::capture::gate::judge;
use leadscan::capture::reference::{NoReference, Reference, is_cover_sheet, read};
use leadscan::page::RawImage;
use pageprint::font::Fonts;
use pageprint::plan::{GridKind, Plan, Preset, SAMPLE_FONT, sample};
use pageprint::signal::Source;
use rxing::{BarcodeFormat, MultiFormatWriter, Writer};

const SEED: u64 = 77;

fn printed(plan: &Plan) -> RawImage {
    let fonts = Fonts::named(&[PathBuf::from("/usr/share/fonts")], SAMPLE_FONT);
    let page = pageprint::print(plan, &fonts);
    RawImage::new(page.width, page.height, page.rgb).unwrap()
}

/// A code: its sort, its text, its place and width in millimetres.
struct Code(BarcodeFormat, &'static str, [f32; 2], f32);

const PX_PER_MM: f32 = 200.0 / 25.4;

/// The page, with a code on a white label.
fn labelled(page: &RawImage, Code(sort, text, [x_mm, y_mm], width_mm): &Code) -> RawImage {
    let matrix = MultiFormatWriter.encode(text, sort, 0, 0).unwrap();
    let is_square = matches!(sort, BarcodeFormat::QR_CODE | BarcodeFormat::DATA_MATRIX);
    let columns = matrix.width() as usize;
    let rows = if is_square {
        matrix.height() as usize
    } else {
        1
    };
    let module = width_mm * PX_PER_MM / columns as f32;
    let height = if is_square {
        rows as f32 * module
    } else {
        10.0 * PX_PER_MM
    };
    let (left, top) = ((x_mm * PX_PER_MM) as usize, (y_mm * PX_PER_MM) as usize);
    let (width, height) = ((columns as f32 * module) as usize, height as usize);
    let mut rgb = page.rgb().to_vec();
    let rim = 12;
    for y in top - rim..(top + height + rim).min(page.height()) {
        for x in left - rim..(left + width + rim).min(page.width()) {
            let inside = (left..left + width).contains(&x) && (top..top + height).contains(&y);
            let column = || (((x - left) as f32 / module) as usize).min(columns - 1) as u32;
            let row = || (((y - top) * rows / height).min(rows - 1)) as u32;
            let is_dark = inside && matrix.get(column(), row());
            rgb[3 * (y * page.width() + x)..][..3].fill(if is_dark { 25 } else { 245 });
        }
    }
    RawImage::new(page.width(), page.height(), rgb).unwrap()
}

/// A picture of the picture: turned about its middle, seen aslant, with a sensor's grain.
fn photographed(page: &RawImage, degrees: f32, aslant: f32, grain: i32) -> RawImage {
    let (width, height) = (page.width(), page.height());
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (out_width, out_height) = match degrees as i32 {
        90 => (height, width),
        _ => (width, height),
    };
    let mut state = 7u32;
    let mut rgb = Vec::with_capacity(3 * width * height);
    for y in 0..out_height {
        for x in 0..out_width {
            let (u, v) = (
                x as f32 - out_width as f32 / 2.0,
                y as f32 - out_height as f32 / 2.0,
            );
            let far = 1.0 + aslant * v / out_height as f32;
            let (u, v) = ((u * cos + v * sin) * far, (v * cos - u * sin) * far);
            let from = (u + width as f32 / 2.0, v + height as f32 / 2.0);
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 24) as i32 * grain / 128 - grain;
            let is_inside = from.0 >= 0.0 && from.1 >= 0.0;
            let at = (from.0 as usize, from.1 as usize);
            let pixel = if is_inside && at.0 < width && at.1 < height {
                page.pixel(at.0, at.1)
            } else {
                [90; 3]
            };
            rgb.extend(pixel.map(|v| (i32::from(v) + noise).clamp(0, 255) as u8));
        }
    }
    RawImage::new(out_width, out_height, rgb).unwrap()
}

const QR: Code = Code(
    BarcodeFormat::QR_CODE,
    "ECG:2026-000123",
    [235.0, 10.0],
    14.0,
);
const BARS: Code = Code(BarcodeFormat::CODE_128, "ECG:000123", [180.0, 12.0], 55.0);
const MATRIX: Code = Code(
    BarcodeFormat::DATA_MATRIX,
    "ECG:77 0123",
    [235.0, 6.0],
    12.0,
);
const OLD: Code = Code(BarcodeFormat::CODE_39, "A-000123", [160.0, 6.0], 70.0);
const SHOP: Code = Code(BarcodeFormat::EAN_13, "4006381333931", [200.0, 6.0], 38.0);

fn any(_: &str) -> bool {
    true
}

fn check(image: &RawImage, text: &str) {
    assert_eq!(read(image, any).as_ref().map(Reference::as_str), Ok(text));
}

#[test]
fn each_sort_is_read_from_a_page() {
    let page = printed(&sample());
    for code in [QR, BARS, MATRIX, OLD, SHOP] {
        check(&labelled(&page, &code), code.1);
    }
}

#[test]
fn codes_are_read_as_they_lie() {
    let page = printed(&sample());
    for code in [QR, BARS] {
        let page = labelled(&page, &code);
        for (degrees, aslant, grain) in [
            (3.0, 0.0, 0),
            (90.0, 0.0, 0),
            (180.0, 0.0, 0),
            (-2.0, 0.08, 20),
        ] {
            check(&photographed(&page, degrees, aslant, grain), code.1);
        }
    }
    let small = Code(BarcodeFormat::QR_CODE, "ECG:5", [255.0, 5.0], 8.0);
    check(&labelled(&page, &small), "ECG:5");
}

#[test]
fn a_page_says_one_thing_or_nothing() {
    let page = printed(&sample());
    assert_eq!(read(&page, any), Err(NoReference::NoCode));
    for (width, height) in [(64, 64), (20_000, 64), (64, 20_000)] {
        let grey = RawImage::new(width, height, vec![99; 3 * width * height]).unwrap();
        assert_eq!(read(&grey, any), Err(NoReference::NoCode));
    }
    let device = Code(BarcodeFormat::CODE_128, "SN4711-0815", [60.0, 6.0], 55.0);
    let both = labelled(&labelled(&page, &QR), &device);
    assert_eq!(read(&both, any), Err(NoReference::Several { found: 2 }));
    let own = |text: &str| text.starts_with("ECG:");
    assert_eq!(read(&both, own).as_ref().map(Reference::as_str), Ok(QR.1));
    let foreign = read(&labelled(&page, &device), own);
    assert_eq!(foreign, Err(NoReference::Foreign { found: 1 }));
    // Of one sort: the second is found though the first is nearer to be read.
    let other = Code(QR.0, "ECG:another", [60.0, 5.0], 16.0);
    let two = read(&labelled(&labelled(&page, &QR), &other), any);
    assert_eq!(two, Err(NoReference::Several { found: 2 }));
    let twice = Code(QR.0, QR.1, [60.0, 5.0], 16.0);
    check(&labelled(&labelled(&page, &QR), &twice), QR.1);
}

#[test]
fn a_reference_has_bounds_and_is_not_shown() {
    let page = printed(&sample());
    let long = Code(
        BarcodeFormat::QR_CODE,
        "ECG:0123456789012345678901234567890123456789012345678901234567890",
        [245.0, 3.0],
        22.0,
    );
    let refused = read(&labelled(&page, &long), any);
    assert_eq!(refused, Err(NoReference::TooLong { found: 65, max: 64 }));
    let control = Code(BarcodeFormat::QR_CODE, "ECG:1\n2", [255.0, 5.0], 16.0);
    assert_eq!(
        read(&labelled(&page, &control), any),
        Err(NoReference::NotText)
    );
    let shown = format!("{:?}", read(&labelled(&page, &QR), any));
    assert_eq!(shown, "Ok(Reference(15 bytes))");
}

#[test]
fn a_sheet_with_a_code_and_no_ecg_is_a_cover_sheet() {
    let mut sheet = sample();
    sheet.traces.clear();
    sheet.marks.clear();
    sheet.grid.kind = GridKind::None;
    for (plan, is_cover) in [(sheet, true), (sample(), false)] {
        for code in [QR, BARS] {
            let image = labelled(&printed(&plan), &code);
            assert_eq!(is_cover_sheet(&judge(&image), &read(&image, any)), is_cover);
        }
        let bare = printed(&plan);
        assert!(!is_cover_sheet(&judge(&bare), &read(&bare, any)));
    }
}

#[test]
fn traces_and_grids_are_no_codes() {
    let count = crate::sampled(8, 200);
    let mut read_count = 0;
    for k in 0..count {
        let preset = if k % 2 == 0 {
            Preset::Scan
        } else {
            Preset::Photo
        };
        let page = printed(&pageprint::plan(SEED, k, preset, &Source::Model));
        let found = read(&page, any);
        if found != Err(NoReference::NoCode) {
            println!("page {k}: {found:?}");
            read_count += 1;
        }
    }
    println!("{read_count} of {count} pages without a code gave one");
    assert_eq!(read_count, 0);
}
