//! BMP, PNM and WebP: decoded whole into one buffer, made RGB where they lie.

use std::io::{BufRead, Seek};

use image::codecs::{bmp::BmpDecoder, pnm::PnmDecoder, webp::WebPDecoder};
use image::{ColorType, ImageDecoder, ImageError, Limits};

use super::rows::{Channels, Depth, Layout, to_rgb_in_place};
use super::turn::Orientation;
use super::{Fault, Header, Kind, Plan};

/// The decoders' own tables and rows.
const DECODER_BYTES: u64 = 1 << 20;
/// Bytes a pixel that the WebP decoder takes beside its output: a frame of RGBA or of YUV.
const WEBP_PIXEL_BYTES: u64 = 4;

impl From<ImageError> for Fault {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::IoError(error) => Self::of_io(&error),
            ImageError::Decoding(error) => {
                let cut = std::error::Error::source(&error)
                    .and_then(|source| source.downcast_ref::<std::io::Error>())
                    .is_some_and(|source| source.kind() == std::io::ErrorKind::UnexpectedEof);
                if cut {
                    Self::Truncated
                } else {
                    Self::damaged(error)
                }
            }
            ImageError::Unsupported(error) => Self::Colours {
                found: error.to_string(),
            },
            ImageError::Limits(error) => Self::damaged(error),
            ImageError::Encoding(error) => Self::damaged(error),
            ImageError::Parameter(error) => Self::damaged(error),
        }
    }
}

pub fn header(reader: impl BufRead + Seek, kind: Kind, file_bytes: u64) -> Result<Header, Fault> {
    let mut decoder = begin(reader, kind)?;
    let (width, height) = decoder.dimensions();
    let pixel_bytes = layout(decoder.color_type())?.pixel_bytes();
    let orientation = if kind == Kind::Webp {
        let exif = decoder.exif_metadata().ok().flatten();
        exif.as_deref()
            .map_or(Orientation::Upright, Orientation::of_exif_block)
    } else {
        Orientation::Upright
    };
    let pixel_count = u64::from(width) * u64::from(height);
    let growth = pixel_bytes.saturating_sub(3) as u64 * pixel_count;
    let frame = if kind == Kind::Webp {
        WEBP_PIXEL_BYTES * pixel_count + file_bytes
    } else {
        0
    };
    let (width, height) = (width as usize, height as usize);
    Ok(Header {
        kind,
        width,
        height,
        orientation,
        decode_bytes: [None; 4],
    }
    .with_costs(|reduction| (reduction == 1).then_some(growth + frame + DECODER_BYTES)))
}

pub fn decode(
    reader: impl BufRead + Seek,
    kind: Kind,
    plan: Plan,
) -> Result<(usize, usize, Vec<u8>), Fault> {
    let mut decoder = begin(reader, kind)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(plan.bytes);
    decoder.set_limits(limits)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    let layout = layout(decoder.color_type())?;
    let mut buffer = vec![0; width * height * layout.pixel_bytes().max(3)];
    decoder.read_image_boxed(&mut buffer[..width * height * layout.pixel_bytes()])?;
    to_rgb_in_place(layout, width * height, &mut buffer);
    Ok((width, height, buffer))
}

fn begin<'a>(
    reader: impl BufRead + Seek + 'a,
    kind: Kind,
) -> Result<Box<dyn ImageDecoder + 'a>, Fault> {
    Ok(match kind {
        Kind::Bmp => Box::new(BmpDecoder::new(reader)?),
        Kind::Pnm => Box::new(PnmDecoder::new(reader)?),
        Kind::Webp => Box::new(WebPDecoder::new(reader)?),
        Kind::Jpeg | Kind::Png | Kind::Tiff => return Err(Fault::NotAPicture),
    })
}

fn layout(color: ColorType) -> Result<Layout, Fault> {
    let (channels, depth) = match color {
        ColorType::L8 => (Channels::Grey, Depth::Eight),
        ColorType::La8 => (Channels::GreyAlpha, Depth::Eight),
        ColorType::Rgb8 => (Channels::Rgb, Depth::Eight),
        ColorType::Rgba8 => (Channels::Rgba, Depth::Eight),
        ColorType::L16 => (Channels::Grey, Depth::Sixteen),
        ColorType::La16 => (Channels::GreyAlpha, Depth::Sixteen),
        ColorType::Rgb16 => (Channels::Rgb, Depth::Sixteen),
        ColorType::Rgba16 => (Channels::Rgba, Depth::Sixteen),
        other => {
            return Err(Fault::Colours {
                found: format!("{other:?}"),
            });
        }
    };
    Ok(Layout { channels, depth })
}
