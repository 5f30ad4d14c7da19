//! Pictures of every format, whole, damaged and lying about their size.

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageFormat, RgbImage};
use leadscan::capture::{Fault, PageFile, content_hash, decode, find, header};
use leadscan::page::RawImage;
use tempfile::TempDir;

/// Room enough for every picture here.
const ROOM: u64 = 1 << 30;

/// White, with a red line and a dark box in the upper left corner, so that every turn shows.
fn page(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        if (8..24).contains(&y) && (8..40).contains(&x) {
            image::Rgb([20, 30, 40])
        } else if (40..44).contains(&y) {
            image::Rgb([220, 40, 40])
        } else {
            image::Rgb([255, 255, 255])
        }
    })
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn only_page(path: &Path) -> PageFile {
    let mut pages = find(&[path.to_owned()]);
    assert_eq!(pages.len(), 1);
    pages.remove(0).unwrap()
}

/// Reads the bytes as a file, as the command does.
fn read(bytes: &[u8]) -> Result<RawImage, Fault> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.bin");
    std::fs::write(&path, bytes).unwrap();
    let page = find(&[path]).remove(0).map_err(|refused| refused.fault)?;
    read_page(&page)
}

fn read_page(page: &PageFile) -> Result<RawImage, Fault> {
    let header = header(page).map_err(|refused| refused.fault)?;
    let plan = header.plan(ROOM, 0)?;
    decode(page, &header, plan).map_err(|refused| refused.fault)
}

#[track_caller]
fn check_pixels(found: &RawImage, expected: &RgbImage, off_max: u8) {
    let (width, height) = (expected.width() as usize, expected.height() as usize);
    assert_eq!((found.width(), found.height()), (width, height));
    let off = found
        .rgb()
        .iter()
        .zip(expected.as_raw())
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    assert!(off.unwrap() <= off_max, "off by {off:?}");
}

const LOSSLESS: [ImageFormat; 5] = [
    ImageFormat::Png,
    ImageFormat::Tiff,
    ImageFormat::Bmp,
    ImageFormat::Pnm,
    ImageFormat::WebP,
];

#[test]
fn every_format_gives_the_same_page() {
    let page = page(96, 72);
    for format in LOSSLESS {
        let found = read(&encoded(&page.clone().into(), format)).unwrap();
        check_pixels(&found, &page, 0);
    }
    let found = read(&encoded(&page.clone().into(), ImageFormat::Jpeg)).unwrap();
    check_pixels(&found, &page, 120);
}

#[test]
fn grey_alpha_and_16_bits_become_rgb_of_8_bits() {
    let page = page(96, 72);
    let color = DynamicImage::from(page.clone());
    let grey = DynamicImage::from(color.to_luma8()).to_rgb8();
    for (picture, expected) in [
        (DynamicImage::from(color.to_rgba8()), &page),
        (DynamicImage::from(color.to_rgb16()), &page),
        (DynamicImage::from(color.to_rgba16()), &page),
        (DynamicImage::from(color.to_luma8()), &grey),
        (DynamicImage::from(color.to_luma16()), &grey),
        (DynamicImage::from(color.to_luma_alpha8()), &grey),
    ] {
        check_pixels(
            &read(&encoded(&picture, ImageFormat::Png)).unwrap(),
            expected,
            1,
        );
        if !matches!(picture, DynamicImage::ImageLumaA8(_)) {
            check_pixels(
                &read(&encoded(&picture, ImageFormat::Tiff)).unwrap(),
                expected,
                1,
            );
        }
    }
    check_pixels(
        &read(&encoded(&color.to_luma8().into(), ImageFormat::Jpeg)).unwrap(),
        &grey,
        60,
    );
}

#[test]
fn what_other_programs_write_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
    let page = page(96, 72);
    let ink = |p: &image::Rgb<u8>| if p[1] > 128 { 255 } else { 0 };
    let black = RgbImage::from_fn(96, 72, |x, y| image::Rgb([ink(page.get_pixel(x, y)); 3]));
    for (name, expected, off_max) in [
        ("progressive.jpg", &page, 60),
        ("palette.png", &page, 2),
        ("interlaced.png", &page, 60),
        ("jpeg-in-tiff.tif", &page, 120),
        ("fax-g4.tif", &black, 0),
        ("transparent-lossy.webp", &page, 60),
        ("cmyk.jpg", &page, 120),
    ] {
        let found = read_page(&only_page(&folder.join(name)));
        check_pixels(
            &found.unwrap_or_else(|fault| panic!("{name}: {fault}")),
            expected,
            off_max,
        );
    }
}

#[test]
fn exif_orientation_is_respected() {
    let upright = page(96, 72);
    // Exif 6: the camera was turned; the picture is stored turned to the left.
    let stored = DynamicImage::from(upright.clone()).rotate270();
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        let found = read(&with_orientation(&stored, format, 6)).unwrap();
        check_pixels(
            &found,
            &upright,
            if format == ImageFormat::Jpeg { 120 } else { 0 },
        );
    }
}

fn with_orientation(picture: &DynamicImage, format: ImageFormat, number: u8) -> Vec<u8> {
    use image::ImageEncoder;
    use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([number, 0, 0, 0, 0, 0, 0, 0]);
    let mut bytes = Vec::new();
    fn write(mut encoder: impl ImageEncoder, exif: Vec<u8>, picture: &DynamicImage) {
        encoder.set_exif_metadata(exif).unwrap();
        picture.write_with_encoder(encoder).unwrap();
    }
    match format {
        ImageFormat::Jpeg => write(JpegEncoder::new_with_quality(&mut bytes, 95), exif, picture),
        ImageFormat::Png => write(PngEncoder::new(&mut bytes), exif, picture),
        _ => write(WebPEncoder::new_lossless(&mut bytes), exif, picture),
    }
    bytes
}

fn tiff_of(pages: &[RgbImage]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
    for page in pages {
        let (width, height) = page.dimensions();
        encoder
            .write_image::<tiff::encoder::colortype::RGB8>(width, height, page.as_raw())
            .unwrap();
    }
    bytes.into_inner()
}

#[test]
fn every_page_of_a_tiff_is_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ward.tif");
    let pages = [page(96, 72), page(80, 100), page(64, 64)];
    std::fs::write(&path, tiff_of(&pages)).unwrap();
    let found: Vec<PageFile> = find(&[path]).into_iter().map(Result::unwrap).collect();
    let ids: Vec<&str> = found.iter().map(|page| page.id.as_str()).collect();
    assert_eq!(ids, ["ward-1", "ward-2", "ward-3"]);
    for (found, expected) in found.iter().zip(&pages) {
        check_pixels(&read_page(found).unwrap(), expected, 0);
    }
}

#[test]
fn a_tiff_whose_second_page_is_gone_is_refused_whole() {
    let mut bytes = tiff_of(&[page(96, 72), page(96, 72)]);
    // The directory of the last page comes last.
    bytes.truncate(bytes.len() - 40);
    assert!(read(&bytes).is_err());
}

fn folder_of(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    folder
}

fn names(found: &[Result<PageFile, leadscan::capture::Refused>]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    found
        .iter()
        .map(|page| name(&page.as_ref().unwrap().path))
        .collect()
}

#[test]
fn a_folder_is_its_pages_by_name() {
    let folder = folder_of(&[
        "b.PNG",
        "a.jpg",
        "c.tif",
        "notes.txt",
        "a.overlay.png",
        "._a.jpg",
    ]);
    std::fs::create_dir(folder.path().join("d.png")).unwrap();
    let found = find(&[folder.path().to_owned()]);
    assert_eq!(names(&found), ["a.jpg", "b.PNG", "c.tif"]);
}

#[test]
fn a_pdf_is_listed_unless_its_pages_lie_beside_it() {
    let folder = folder_of(&["a.pdf", "a-1.png", "b.pdf"]);
    assert_eq!(
        names(&find(&[folder.path().to_owned()])),
        ["a-1.png", "b.pdf"]
    );
}

#[test]
fn a_folder_without_pages_is_refused() {
    let folder = folder_of(&["notes.txt"]);
    let refused = find(&[folder.path().to_owned()]).remove(0).unwrap_err();
    assert_eq!(refused.fault, Fault::NoPages);
    assert!(
        refused
            .to_string()
            .starts_with(&folder.path().display().to_string())
    );
}

#[test]
fn what_is_no_picture_is_refused_with_the_reason() {
    assert_eq!(read(b"").unwrap_err(), Fault::Empty);
    assert_eq!(read(b"hello").unwrap_err(), Fault::NotAPicture);
    assert!(matches!(read(b"%PDF-1.7").unwrap_err(), Fault::Pdf { .. }));
    assert!(matches!(
        read(b"GIF89a").unwrap_err(),
        Fault::OtherFormat { .. }
    ));
    let missing = only_page(Path::new("/nowhere/page.png"));
    assert!(matches!(
        read_page(&missing).unwrap_err(),
        Fault::Unreadable { .. }
    ));
}

/// A PNG whose header says so many pixels, with the right checksum.
fn png_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encoded(&page(96, 72).into(), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn colours_that_are_not_read_are_refused_by_their_name() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken/palette.tif");
    let fault = read_page(&only_page(&path)).unwrap_err();
    assert!(
        matches!(&fault, Fault::Colours { found } if found.contains("Palette")),
        "{fault}"
    );
}

#[test]
fn a_header_of_100_000_x_100_000_px_is_refused_before_anything_is_made() {
    let mut bmp = encoded(&page(96, 72).into(), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&100_000_u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&100_000_u32.to_le_bytes());
    for bytes in [
        png_of_size(100_000, 100_000),
        bmp,
        b"P6\n100000 100000\n255\n".to_vec(),
    ] {
        let fault = read(&bytes).unwrap_err();
        let refused = matches!(fault, Fault::TooLarge { .. } | Fault::Size(_));
        assert!(refused || matches!(fault, Fault::Damaged { .. }), "{fault}");
    }
    let fault = read(&png_of_size(100_000, 100_000)).unwrap_err();
    assert_eq!(
        fault,
        Fault::TooLarge {
            width: 100_000,
            height: 100_000,
            px_max: 16_000_000
        }
    );
}

#[test]
fn a_picture_too_small_for_an_ecg_is_refused() {
    let fault = read(&encoded(&page(40, 20).into(), ImageFormat::Png)).unwrap_err();
    assert!(matches!(fault, Fault::Size(_)), "{fault}");
}

/// The pictures that damage is tried on.
fn samples() -> Vec<(String, Vec<u8>)> {
    let page = DynamicImage::from(page(96, 72));
    let mut samples: Vec<_> = LOSSLESS
        .iter()
        .map(|&f| (format!("{f:?}"), encoded(&page, f)))
        .collect();
    samples.push(("Jpeg".to_owned(), encoded(&page, ImageFormat::Jpeg)));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        samples.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
    samples
}

/// Repeatable numbers (xorshift, Marsaglia 2003).
struct Seeded(u32);

impl Seeded {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % end
    }
}

#[test]
fn a_file_that_was_cut_off_is_refused_or_was_whole_already() {
    let mut seeded = Seeded(0x1EAD_5CA0);
    for (name, bytes) in samples() {
        let whole = read(&bytes).unwrap();
        for _ in 0..40 {
            let length = seeded.below(bytes.len());
            if let Ok(found) = read(&bytes[..length]) {
                let same = found.rgb() == whole.rgb();
                assert!(
                    same,
                    "{name} cut to {length} of {} reads as another page",
                    bytes.len()
                );
            }
        }
    }
}

#[test]
fn flipped_bits_never_panic_and_never_make_a_picture_grow() {
    let mut seeded = Seeded(0xB17_F11B5);
    for (name, bytes) in samples() {
        for _ in 0..60 {
            let mut damaged = bytes.clone();
            let bit = seeded.below(8 * bytes.len());
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(found) = read(&damaged) {
                assert!(
                    found.width() * found.height() <= 16_000_000,
                    "{name}, bit {bit}"
                );
            }
        }
    }
}

#[test]
fn a_page_too_large_is_read_at_half_size() {
    let large = page(6000, 4000);
    for (format, off_max) in [
        (ImageFormat::Jpeg, 120),
        (ImageFormat::Png, 0),
        (ImageFormat::Tiff, 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page");
        std::fs::write(&path, encoded(&large.clone().into(), format)).unwrap();
        let page_file = only_page(&path);
        let header = header(&page_file).unwrap();
        let plan = header.plan(ROOM, 0).unwrap();
        assert_eq!(plan.reduction, 2, "{format:?}");
        let found = decode(&page_file, &header, plan).unwrap();
        let expected = RgbImage::from_fn(3000, 2000, |x, y| *large.get_pixel(2 * x, 2 * y));
        check_pixels(&found, &expected, off_max);
    }
    let fault = read(&encoded(&large.into(), ImageFormat::Bmp)).unwrap_err();
    assert_eq!(
        fault,
        Fault::TooLarge {
            width: 6000,
            height: 4000,
            px_max: 16_000_000
        }
    );
}

#[test]
fn a_file_is_known_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    std::fs::write(&path, b"abc").unwrap();
    // FIPS 180-2, appendix B.1.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(content_hash(&path).unwrap(), expected);
}
