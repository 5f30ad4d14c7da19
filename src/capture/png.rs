//! PNG: read row by row, so that only the page is kept; interlaced ones are read whole.
//!
//! Palettes and small depths become 8 bits, 16 bits lose their lower half. Text and colour
//! profiles are skipped unread: they may unpack to far more than the picture.

use std::io::{BufRead, Seek};

use png::{BitDepth, ColorType, Decoder, DecodingError, Reader, Transformations};

use super::rows::{Channels, Depth, Layout, Rows, to_rgb_in_place};
use super::turn::Orientation;
use super::{Fault, Header, Kind, Plan};

/// Rows, the inflater and its window.
const DECODER_BYTES: usize = 512 << 10;

impl From<DecodingError> for Fault {
    fn from(error: DecodingError) -> Self {
        match error {
            DecodingError::IoError(error) => Self::of_io(&error),
            DecodingError::LimitsExceeded => Self::damaged("its parts are larger than its pixels"),
            DecodingError::Format(error) => Self::damaged(error),
            DecodingError::Parameter(error) => Self::damaged(error),
        }
    }
}

pub fn header(reader: impl BufRead + Seek) -> Result<Header, Fault> {
    let reader = begin(reader)?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    let exif = info.exif_metadata.as_deref();
    let orientation = exif.map_or(Orientation::Upright, Orientation::of_exif_block);
    let (interlaced, pixel_bytes) = (info.interlaced, layout(&reader)?.pixel_bytes());
    let row_bytes = 4 * width * pixel_bytes + DECODER_BYTES;
    Ok(Header {
        kind: Kind::Png,
        width,
        height,
        orientation,
        decode_bytes: [None; 4],
    }
    .with_costs(|reduction| match (interlaced, reduction) {
        (false, _) => Some(row_bytes as u64),
        (true, 1) => {
            let growth = pixel_bytes.saturating_sub(3) as u64 * width as u64 * height as u64;
            Some(growth + row_bytes as u64)
        }
        (true, _) => None,
    }))
}

pub fn decode(reader: impl BufRead + Seek, plan: Plan) -> Result<(usize, usize, Vec<u8>), Fault> {
    let mut reader = begin(reader)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    let layout = layout(&reader)?;
    if reader.info().interlaced {
        return whole(&mut reader, layout, width, height);
    }
    let mut rows = Rows::new(layout, width, height, plan.reduction);
    while let Some(row) = reader.next_row()? {
        rows.push(row.data());
    }
    rows.finish().ok_or(Fault::Truncated)
}

fn begin<R: BufRead + Seek>(reader: R) -> Result<Reader<R>, Fault> {
    let mut decoder = Decoder::new(reader);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    Ok(decoder.read_info()?)
}

fn layout<R: BufRead + Seek>(reader: &Reader<R>) -> Result<Layout, Fault> {
    let (color, depth) = reader.output_color_type();
    let channels = match color {
        ColorType::Grayscale => Channels::Grey,
        ColorType::GrayscaleAlpha => Channels::GreyAlpha,
        ColorType::Rgb => Channels::Rgb,
        ColorType::Rgba => Channels::Rgba,
        ColorType::Indexed => {
            return Err(Fault::Colours {
                found: "a palette".to_owned(),
            });
        }
    };
    match depth {
        BitDepth::Eight => Ok(Layout {
            channels,
            depth: Depth::Eight,
        }),
        other => Err(Fault::Colours {
            found: format!("{other:?}"),
        }),
    }
}

fn whole<R: BufRead + Seek>(
    reader: &mut Reader<R>,
    layout: Layout,
    width: usize,
    height: usize,
) -> Result<(usize, usize, Vec<u8>), Fault> {
    let mut buffer = vec![0; width * height * layout.pixel_bytes().max(3)];
    reader.next_frame(&mut buffer)?;
    to_rgb_in_place(layout, width * height, &mut buffer);
    Ok((width, height, buffer))
}
