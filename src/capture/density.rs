//! How many pixels of a picture are an inch, as its file says.
//!
//! In: the file's bytes. Out: pixels an inch across and down, as stored; `None` where PNG, JFIF or
//! TIFF say nothing, where the bytes are damaged, and below 100, which is what programs write that
//! know nothing (72, 96). Exif is not asked: a camera's resolution is made up.

use std::io::Cursor;

use tiff::tags::Tag;

use super::kind::{self, Kind};

const INCH_M: f32 = 0.0254;
const INCH_CM: f32 = 2.54;
const DPI_MIN: f32 = 100.0;
/// A4 at this is already larger than `limits::SIDE_PX_MAX`.
const DPI_MAX: f32 = 2_400.0;

/// Pixels an inch, across and down.
pub fn density_in(bytes: &[u8]) -> Option<[f32; 2]> {
    let kind = kind::of(
        &mut Cursor::new(bytes),
        std::path::Path::new(super::UNNAMED),
    )
    .ok()?;
    let dpi = match kind {
        Kind::Png => of_png(bytes),
        Kind::Jpeg => of_jfif(bytes),
        Kind::Tiff => of_tiff(bytes),
        Kind::Bmp | Kind::Pnm | Kind::Webp => None,
    }?;
    dpi.iter()
        .all(|dpi| (DPI_MIN..=DPI_MAX).contains(dpi))
        .then_some(dpi)
}

fn of_png(bytes: &[u8]) -> Option<[f32; 2]> {
    let reader = png::Decoder::new(Cursor::new(bytes)).read_info().ok()?;
    let dims = reader.info().pixel_dims?;
    match dims.unit {
        png::Unit::Meter => Some([dims.xppu, dims.yppu].map(|px| px as f32 * INCH_M)),
        png::Unit::Unspecified => None,
    }
}

/// The first segment after the start of the picture (JPEG File Interchange Format 1.02, page 5).
fn of_jfif(bytes: &[u8]) -> Option<[f32; 2]> {
    let rest = bytes.strip_prefix(b"\xFF\xD8\xFF\xE0")?;
    let rest = rest.get(2..)?.strip_prefix(b"JFIF\0")?;
    let &[_, _, unit, x0, x1, y0, y1, ..] = rest else {
        return None;
    };
    let dots = [[x0, x1], [y0, y1]].map(|pair| f32::from(u16::from_be_bytes(pair)));
    match unit {
        1 => Some(dots),
        2 => Some(dots.map(|dots| dots * INCH_CM)),
        _ => None,
    }
}

fn of_tiff(bytes: &[u8]) -> Option<[f32; 2]> {
    let mut decoder = tiff::decoder::Decoder::new(Cursor::new(bytes)).ok()?;
    let unit = decoder.find_tag_unsigned::<u16>(Tag::ResolutionUnit).ok()?;
    let mut dots = |tag| match decoder.find_tag(tag).ok()?? {
        tiff::decoder::ifd::Value::Rational(dots, every) => Some(dots as f32 / every as f32),
        _ => None,
    };
    let dots = [dots(Tag::XResolution)?, dots(Tag::YResolution)?];
    match unit {
        None | Some(2) => Some(dots),
        Some(3) => Some(dots.map(|dots| dots * INCH_CM)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jfif(unit: u8, x: u16, y: u16) -> Vec<u8> {
        let mut bytes = b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01\x01".to_vec();
        bytes.push(unit);
        bytes.extend(x.to_be_bytes());
        bytes.extend(y.to_be_bytes());
        bytes.extend([0; 200]);
        bytes
    }

    fn png(xppu: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_pixel_dims(Some(png::PixelDimensions {
            xppu,
            yppu: xppu,
            unit: png::Unit::Meter,
        }));
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[0]).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn tiff(dots: u32, unit: u16) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
        let mut image = encoder
            .new_image::<tiff::encoder::colortype::Gray8>(1, 1)
            .unwrap();
        let unit = match unit {
            2 => tiff::tags::ResolutionUnit::Inch,
            _ => tiff::tags::ResolutionUnit::Centimeter,
        };
        image.resolution(unit, tiff::encoder::Rational { n: dots, d: 1 });
        image.write_data(&[0]).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_kind_of_file_tells_its_density() {
        let near = |found: Option<[f32; 2]>, dpi: f32| {
            let [x, y] = found.unwrap();
            assert!(
                (x - dpi).abs() < 0.01 && (y - dpi).abs() < 0.01,
                "{x} {y}, not {dpi}"
            );
        };
        near(density_in(&png(11_811)), 299.9994);
        near(density_in(&jfif(1, 200, 200)), 200.0);
        near(density_in(&jfif(2, 118, 118)), 299.72);
        near(density_in(&tiff(300, 2)), 300.0);
        near(density_in(&tiff(118, 3)), 299.72);
        assert_eq!(density_in(&jfif(1, 200, 400)), Some([200.0, 400.0]));
    }

    #[test]
    fn what_says_nothing_has_no_density() {
        for bytes in [
            jfif(0, 1, 1),
            jfif(1, 72, 72),
            jfif(1, 96, 96),
            png(2835),
            b"?".to_vec(),
        ] {
            assert_eq!(density_in(&bytes), None);
        }
        let whole = jfif(1, 200, 200);
        for length in 0..whole.len() {
            // Cut off anywhere, it is read or not, and never a fault.
            let _ = density_in(&whole[..length]);
        }
    }
}
