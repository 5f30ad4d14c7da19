//! TIFF: every page of it, read strip by strip or one row of tiles at a time.
//!
//! Grey of 1, 2, 4, 8 and 16 bits, RGB of 8 and 16 bits, with or without alpha. Palettes, planes
//! apart, CMYK, YCbCr and floating point are refused.

use std::io::{Read, Seek};

use tiff::TiffError;
use tiff::decoder::{Decoder, Limits};
use tiff::tags::Tag;

use super::rows::{Channels, Depth, Layout, Rows};
use super::turn::Orientation;
use super::{Fault, Header, Kind, Plan};
use crate::limits;

/// The decoder's own tables and windows.
const DECODER_BYTES: u64 = 1 << 20;
const IFD_BYTES_MAX: usize = 1 << 20;
/// `PlanarConfiguration` of samples that lie together.
const CHUNKY: u16 = 1;

impl From<TiffError> for Fault {
    fn from(error: TiffError) -> Self {
        match error {
            TiffError::IoError(error) => Self::of_io(&error),
            TiffError::UnsupportedError(error) => Self::Colours {
                found: error.to_string(),
            },
            TiffError::FormatError(error) => Self::damaged(error),
            TiffError::UsageError(error) => Self::damaged(error),
            TiffError::LimitsExceeded | TiffError::IntSizeError => {
                Self::damaged("its parts are larger than its pixels")
            }
        }
    }
}

/// Pages in the file, at most `limits::TIFF_PAGES_MAX`.
pub fn page_count(reader: impl Read + Seek) -> Result<usize, Fault> {
    let mut decoder = Decoder::new(reader)?;
    let (mut found, max) = (1, limits::TIFF_PAGES_MAX);
    while decoder.more_images() {
        decoder.next_image()?;
        found += 1;
        if found > max {
            return Err(Fault::TooManyPages { found, max });
        }
    }
    Ok(found)
}

pub fn header(reader: impl Read + Seek, page_index: Option<usize>) -> Result<Header, Fault> {
    let mut page = Page::open(reader, page_index)?;
    let found = page.decoder.find_tag(Tag::Orientation)?;
    let orientation = found.and_then(|value| value.into_u16().ok()).unwrap_or(1);
    let (width, height) = (page.width, page.height);
    let chunk_height = (page.decoder.chunk_dimensions().1 as usize).min(height);
    // A strip or a row of tiles, twice: as it is unpacked and as it is handed over.
    let beside = 2 * (chunk_height * page.row_bytes()) as u64 + 8 * width as u64 + DECODER_BYTES;
    let orientation = Orientation::of_exif(u32::from(orientation));
    Ok(Header {
        kind: Kind::Tiff,
        width,
        height,
        orientation,
        decode_bytes: [None; 4],
    }
    .with_costs(|_| Some(beside)))
}

pub fn decode(
    reader: impl Read + Seek,
    page_index: Option<usize>,
    plan: Plan,
) -> Result<(usize, usize, Vec<u8>), Fault> {
    let mut page = Page::open(reader, page_index)?;
    let bytes_max = usize::try_from(plan.bytes).unwrap_or(usize::MAX);
    page.decoder = page.decoder.with_limits(limits_of(bytes_max));
    let layout = page.samples.layout();
    let mut rows = Rows::new(layout, page.width, page.height, plan.reduction);
    let chunk = page.decoder.chunk_dimensions();
    let (chunk_width, chunk_height) = (chunk.0 as usize, chunk.1 as usize);
    if chunk_width == 0 || chunk_height == 0 {
        return Err(Fault::damaged("its strips have no rows"));
    }
    let across = page.width.div_ceil(chunk_width);
    let mut band = vec![0; page.row_bytes() * chunk_height.min(page.height)];
    let mut wide = Vec::new();
    for y in 0..page.height.div_ceil(chunk_height) {
        let row_count = page.read_band(y * across..(y + 1) * across, chunk_width, &mut band)?;
        for row in band.chunks_exact(page.row_bytes()).take(row_count) {
            rows.push(page.samples.widened(row, page.width, &mut wide));
        }
    }
    rows.finish().ok_or(Fault::Truncated)
}

fn limits_of(bytes_max: usize) -> Limits {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = bytes_max;
    limits.intermediate_buffer_size = bytes_max;
    limits.ifd_value_size = IFD_BYTES_MAX;
    limits
}

/// One page of an open file.
struct Page<R: Read + Seek> {
    decoder: Decoder<R>,
    width: usize,
    height: usize,
    samples: Samples,
}

/// How the samples of a page are to be understood.
enum Samples {
    Whole(Layout),
    /// Grey levels of fewer than 8 bits, packed.
    Packed {
        bits: usize,
    },
}

impl<R: Read + Seek> Page<R> {
    fn open(reader: R, page_index: Option<usize>) -> Result<Self, Fault> {
        let mut decoder = Decoder::new(reader)?.with_limits(limits_of(IFD_BYTES_MAX));
        let index = page_index.unwrap_or(0);
        for _ in 0..index {
            if !decoder.more_images() {
                return Err(Fault::NoSuchPage { number: index + 1 });
            }
            decoder.next_image()?;
        }
        let (width, height) = decoder.dimensions()?;
        let samples = Samples::of(&mut decoder)?;
        Ok(Self {
            decoder,
            width: width as usize,
            height: height as usize,
            samples,
        })
    }

    fn row_bytes(&self) -> usize {
        self.samples.row_bytes(self.width)
    }

    /// Reads the chunks that lie side by side; how many rows they have.
    fn read_band(
        &mut self,
        chunks: std::ops::Range<usize>,
        chunk_width: usize,
        band: &mut [u8],
    ) -> Result<usize, Fault> {
        let stride = self.row_bytes();
        let mut row_count = 0;
        let only_one = chunks.len() == 1;
        for (k, index) in chunks.enumerate() {
            let index = u32::try_from(index).map_err(|_| Fault::damaged("too many strips"))?;
            let (width, height) = self.decoder.chunk_data_dimensions(index);
            row_count = height as usize;
            let bytes = self.samples.row_bytes(width as usize);
            if only_one {
                self.decoder
                    .read_chunk_bytes(index, &mut band[..bytes * row_count])?;
                break;
            }
            let mut tile = vec![0; bytes * row_count];
            self.decoder.read_chunk_bytes(index, &mut tile)?;
            let left = self.samples.row_bytes(k * chunk_width);
            for (row, part) in band.chunks_exact_mut(stride).zip(tile.chunks_exact(bytes)) {
                row[left..left + bytes].copy_from_slice(part);
            }
        }
        Ok(row_count)
    }
}

impl Samples {
    fn of<R: Read + Seek>(decoder: &mut Decoder<R>) -> Result<Self, Fault> {
        use tiff::ColorType::{Gray, GrayA, RGB, RGBA};
        let color = decoder.colortype()?;
        let refused = || Fault::Colours {
            found: format!("{color:?}"),
        };
        let planes: Option<u16> = decoder.find_tag_unsigned(Tag::PlanarConfiguration)?;
        if planes.unwrap_or(CHUNKY) != CHUNKY {
            return Err(Fault::Colours {
                found: "one plane a colour".to_owned(),
            });
        }
        let formats: Option<Vec<u16>> = decoder.find_tag_unsigned_vec(Tag::SampleFormat)?;
        if formats.is_some_and(|formats| formats.iter().any(|&format| format != 1)) {
            return Err(Fault::Colours {
                found: "signed or floating point numbers".to_owned(),
            });
        }
        let whole = |channels, bits| match bits {
            8 => Ok(Self::Whole(Layout {
                channels,
                depth: Depth::Eight,
            })),
            16 => Ok(Self::Whole(Layout {
                channels,
                depth: Depth::Sixteen,
            })),
            _ => Err(refused()),
        };
        match color {
            Gray(bits @ (1 | 2 | 4)) => Ok(Self::Packed {
                bits: usize::from(bits),
            }),
            Gray(bits) => whole(Channels::Grey, bits),
            GrayA(bits) => whole(Channels::GreyAlpha, bits),
            RGB(bits) => whole(Channels::Rgb, bits),
            RGBA(bits) => whole(Channels::Rgba, bits),
            _ => Err(refused()),
        }
    }

    fn layout(&self) -> Layout {
        match self {
            Self::Whole(layout) => *layout,
            Self::Packed { .. } => Layout::GREY,
        }
    }

    fn row_bytes(&self, width: usize) -> usize {
        match self {
            Self::Whole(layout) => width * layout.pixel_bytes(),
            Self::Packed { bits } => (width * bits).div_ceil(8),
        }
    }

    /// The row in whole bytes, in `wide` where it has to be unpacked.
    fn widened<'a>(&self, row: &'a [u8], width: usize, wide: &'a mut Vec<u8>) -> &'a [u8] {
        let packed = |x: usize, bits: usize| {
            let at = x * bits;
            usize::from(row[at / 8]) >> (8 - bits - at % 8) & ((1 << bits) - 1)
        };
        wide.clear();
        match self {
            Self::Whole(_) => return row,
            Self::Packed { bits } => {
                let levels = (1 << bits) - 1;
                wide.extend((0..width).map(|x| (packed(x, *bits) * 255 / levels) as u8));
            }
        }
        wide
    }
}
