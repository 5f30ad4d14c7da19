//! Whose page it is: a code on the page, or on a sheet laid down before it.
//!
//! In: a `RawImage`, and which codes the site means (others, such as a device's serial number, are
//! passed over). Out: a `Reference`, text of at most `limits::SPOOL_REFERENCE_BYTES_MAX` bytes that
//! travels with the record, or why there is none. Read are QR codes, Data Matrix, Code 128, EAN-13
//! and Code 39 of some length. Interleaved 2 of 5 and EAN-8 are not: without a check, or with a
//! short one, traces pass for them. Two different codes are none: whose page it is, is not guessed.
//! A reference is never logged, and its `Debug` does not show it. Codes are looked for in grey, at
//! most `SIDE_PX_MAX` wide: 3 MB and as much again for the crate's own raster of bits.
//! A picture of 12 million pixels takes about as long as judging it. `NoReference` is the operator's.
//! The crate `rxing` is named here alone, with the feature `barcode`; a panic of it is caught.

use crate::limits;
use crate::page::RawImage;

use super::gate::Judgement;

/// Whether codes are read at all: the feature `barcode`.
pub const AVAILABLE: bool = cfg!(feature = "barcode");

/// Longest side of the raster that codes are looked for in: 5 to 10 px/mm of a sheet of A4, shrunk by
/// whole numbers. The thin bars of a usual label, 0.25 mm, are then 1.3 to 2.5 pixels wide.
const SIDE_PX_MAX: usize = 3_000;
/// Codes of a page that are looked at.
const CODES_MAX: usize = 6;

/// A code's text. Says who a patient is: it goes into records, never into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Reference(String);

impl Reference {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reference({} bytes)", self.0.len())
    }
}

/// Why a page has no reference. Tells nothing of what the codes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReference {
    #[error("no code was read")]
    NoCode,
    #[error("{found} codes, none of which is a reference of this site")]
    Foreign { found: usize },
    #[error("{found} different references on one page: cover all but one")]
    Several { found: usize },
    #[error("the reference has {found} bytes; at most {max} are taken")]
    TooLong { found: usize, max: usize },
    #[error("the reference is no printable text")]
    NotText,
    #[error("reading codes failed by a fault of the program")]
    Bug,
}

/// Reads the one code that `accept` takes.
pub fn read(image: &RawImage, accept: impl Fn(&str) -> bool) -> Result<Reference, NoReference> {
    let all = codes(image)?;
    let mut own: Vec<&String> = all.iter().filter(|text| accept(text)).collect();
    own.dedup();
    match own[..] {
        [] if all.is_empty() => Err(NoReference::NoCode),
        [] => Err(NoReference::Foreign { found: all.len() }),
        [text] => checked(text),
        _ => Err(NoReference::Several { found: own.len() }),
    }
}

/// Whether the picture is a sheet that says whose the next page is: a code, and no ECG.
pub fn is_cover_sheet(judgement: &Judgement, reference: &Result<Reference, NoReference>) -> bool {
    reference.is_ok() && !judgement.has_traces
}

fn checked(text: &str) -> Result<Reference, NoReference> {
    let (found, max) = (text.len(), limits::SPOOL_REFERENCE_BYTES_MAX);
    if found > max {
        return Err(NoReference::TooLong { found, max });
    }
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(NoReference::NotText);
    }
    Ok(Reference(text.to_owned()))
}

/// The different codes of a picture, in the order of their text.
#[cfg(feature = "barcode")]
fn codes(image: &RawImage) -> Result<Vec<String>, NoReference> {
    let found = std::panic::catch_unwind(|| scan::codes(scan::Grey::of(image)));
    found.map_err(|_| NoReference::Bug)
}

#[cfg(not(feature = "barcode"))]
fn codes(_image: &RawImage) -> Result<Vec<String>, NoReference> {
    Ok(Vec::new())
}

#[cfg(feature = "barcode")]
mod scan {
    use std::collections::{BTreeSet, HashSet};

    use rxing::common::HybridBinarizer;
    use rxing::{BarcodeFormat, BinaryBitmap, DecodeHints, Luma8Source, MultiFormatReader};

    use super::{CODES_MAX, SIDE_PX_MAX};
    use crate::page::RawImage;

    /// What is read, each sort by itself: in a set of several the crate's order is by chance.
    const SORTS: [BarcodeFormat; 5] = [
        BarcodeFormat::QR_CODE,
        BarcodeFormat::DATA_MATRIX,
        BarcodeFormat::CODE_128,
        BarcodeFormat::EAN_13,
        BarcodeFormat::CODE_39,
    ];
    /// Characters of a code of bars: shorter ones are read where none are.
    const BARS_MIN: usize = 4;
    /// And of Code 39, which has no check.
    const UNCHECKED_MIN: usize = 6;
    /// A code that was read is painted over, with this share of its size around it.
    const AROUND: f32 = 0.25;

    pub struct Grey {
        width: usize,
        height: usize,
        level: Vec<u8>,
    }

    impl Grey {
        pub fn of(image: &RawImage) -> Self {
            let shrink = image.width().max(image.height()).div_ceil(SIDE_PX_MAX);
            let (width, height) = (image.width() / shrink, image.height() / shrink);
            let mut level = Vec::with_capacity(width * height);
            for y in 0..height {
                for x in 0..width {
                    let mut sum = 0;
                    for row in y * shrink..(y + 1) * shrink {
                        let at = 3 * (row * image.width() + x * shrink);
                        let values = &image.rgb()[at..at + 3 * shrink];
                        sum += values.iter().map(|v| usize::from(*v)).sum::<usize>();
                    }
                    level.push((sum / (3 * shrink * shrink)) as u8);
                }
            }
            Self {
                width,
                height,
                level,
            }
        }

        fn paint_over(&mut self, points: &[rxing::Point]) {
            let ends = |of: fn(&rxing::Point) -> f32| {
                let values = points.iter().map(of);
                values.fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(v), b.max(v)))
            };
            let ((left, right), (top, bottom)) = (ends(|p| p.x), ends(|p| p.y));
            let reach = AROUND * (right - left).max(bottom - top).max(8.0);
            let cut = |v: f32, side: usize| (v.max(0.0) as usize).min(side);
            let columns = cut(left - reach, self.width)..cut(right + reach, self.width);
            for y in cut(top - reach, self.height)..cut(bottom + reach, self.height) {
                self.level[y * self.width..][columns.clone()].fill(u8::MAX);
            }
        }
    }

    pub fn codes(mut grey: Grey) -> Vec<String> {
        let mut texts = BTreeSet::new();
        for sort in SORTS {
            let hints = DecodeHints {
                TryHarder: Some(true),
                PossibleFormats: Some(HashSet::from([sort])),
                ..DecodeHints::default()
            };
            let mut reader = MultiFormatReader::default();
            reader.set_hints(&hints);
            for _ in 0..CODES_MAX {
                let (width, height) = (grey.width as u32, grey.height as u32);
                let Ok(source) = Luma8Source::new_with_slice(&grey.level, width, height) else {
                    break;
                };
                let mut bitmap = BinaryBitmap::new(HybridBinarizer::new(source));
                let Ok(code) = reader.decode_with_state(&mut bitmap) else {
                    break;
                };
                if is_long_enough(sort, code.getText()) {
                    texts.insert(code.getText().to_owned());
                }
                grey.paint_over(code.getPoints());
            }
        }
        texts.into_iter().collect()
    }

    fn is_long_enough(sort: BarcodeFormat, text: &str) -> bool {
        match sort {
            BarcodeFormat::QR_CODE | BarcodeFormat::DATA_MATRIX => true,
            BarcodeFormat::CODE_39 => text.len() >= UNCHECKED_MIN,
            _ => text.len() >= BARS_MIN,
        }
    }
}
