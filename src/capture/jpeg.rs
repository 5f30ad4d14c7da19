//! JPEG: its segments are walked to the end first, then it is decoded at 1/1, 1/2, 1/4 or 1/8.
//!
//! The walk finds size, Exif and whether the end is there: the decoder fills what is missing of a
//! file that was cut off with grey, and a trace in grey is a wrong number. At full size the picture
//! is decoded into the page itself; smaller ones come from the first coefficients of each block,
//! so that a page of 48 million pixels never exists.

use std::io::{BufRead, Seek};

use image::ImageDecoder;
use image::codecs::jpeg::JpegDecoder;
use jpeg_decoder::PixelFormat;

use super::rows::{Channels, Depth, Layout, to_rgb_in_place};
use super::turn::Orientation;
use super::{Fault, Header, Kind, Plan};

/// Rows, tables and the buffers of both decoders.
const DECODER_BYTES: u64 = 2 << 20;
/// Bytes of one coefficient of a progressive picture, all of which are kept until the end.
const COEFFICIENT_BYTES: u64 = 2;

/// What the frame header says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Frame {
    width: usize,
    height: usize,
    components: usize,
    process: Process,
    /// Samples of all components for one pixel, in percent: 300 without subsampling.
    sample_percent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Process {
    Sequential,
    Progressive,
}

pub fn header(reader: impl BufRead, file_bytes: u64) -> Result<Header, Fault> {
    let (frame, orientation) = walk(reader)?;
    let (width, height) = (frame.width, frame.height);
    let samples = |w: usize, h: usize| (w * h) as u64 * frame.sample_percent / 100;
    let kept = match frame.process {
        Process::Sequential => 0,
        Process::Progressive => COEFFICIENT_BYTES * samples(width, height),
    };
    let rows = 64 * width as u64;
    Ok(Header {
        kind: Kind::Jpeg,
        width,
        height,
        orientation,
        decode_bytes: [None; 4],
    }
    .with_costs(|reduction| match (reduction, frame.components) {
        (1, _) => Some(kept + file_bytes + rows + DECODER_BYTES),
        (_, 1 | 3) => {
            let planes = samples(width.div_ceil(reduction), height.div_ceil(reduction));
            Some(kept + planes + rows + DECODER_BYTES)
        }
        _ => None,
    }))
}

pub fn decode(reader: impl BufRead + Seek, plan: Plan) -> Result<(usize, usize, Vec<u8>), Fault> {
    if plan.reduction == 1 {
        decode_full(reader)
    } else {
        decode_reduced(reader, plan.reduction)
    }
}

fn decode_full(reader: impl BufRead + Seek) -> Result<(usize, usize, Vec<u8>), Fault> {
    let decoder = JpegDecoder::new(reader)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    let color = decoder.color_type();
    let channels = match color {
        image::ColorType::L8 => Channels::Grey,
        image::ColorType::Rgb8 => Channels::Rgb,
        other => {
            return Err(Fault::Colours {
                found: format!("{other:?}"),
            });
        }
    };
    let layout = Layout {
        channels,
        depth: Depth::Eight,
    };
    let mut buffer = vec![0; 3 * width * height];
    decoder.read_image(&mut buffer[..layout.pixel_bytes() * width * height])?;
    to_rgb_in_place(layout, width * height, &mut buffer);
    Ok((width, height, buffer))
}

fn decode_reduced(
    reader: impl BufRead,
    reduction: usize,
) -> Result<(usize, usize, Vec<u8>), Fault> {
    let mut decoder = jpeg_decoder::Decoder::new(reader);
    decoder.read_info()?;
    let info = decoder.info().ok_or(Fault::Truncated)?;
    let reduced = |side: u16| side.div_ceil(reduction as u16);
    let (width, height) = decoder.scale(reduced(info.width), reduced(info.height))?;
    let (width, height) = (usize::from(width), usize::from(height));
    let mut buffer = decoder.decode()?;
    let layout = match info.pixel_format {
        PixelFormat::L8 => Layout::GREY,
        PixelFormat::RGB24 => Layout::RGB,
        other @ (PixelFormat::L16 | PixelFormat::CMYK32) => {
            return Err(Fault::Colours {
                found: format!("{other:?}"),
            });
        }
    };
    if buffer.len() != width * height * layout.pixel_bytes() {
        return Err(Fault::damaged("it has fewer pixels than its header says"));
    }
    buffer.resize(3 * width * height, 0);
    to_rgb_in_place(layout, width * height, &mut buffer);
    Ok((width, height, buffer))
}

impl From<jpeg_decoder::Error> for Fault {
    fn from(error: jpeg_decoder::Error) -> Self {
        match error {
            jpeg_decoder::Error::Io(error) => Self::of_io(&error),
            jpeg_decoder::Error::Format(reason) => Self::Damaged { reason },
            jpeg_decoder::Error::Unsupported(feature) => Self::Colours {
                found: format!("{feature:?}"),
            },
            jpeg_decoder::Error::Internal(error) => Self::damaged(error),
        }
    }
}

/// Walks all segments (ITU-T T.81, annex B) to the end-of-image marker.
fn walk(mut reader: impl BufRead) -> Result<(Frame, Orientation), Fault> {
    let mut frame = None;
    let mut orientation = Orientation::Upright;
    let mut marker = [0; 2];
    read(&mut reader, &mut marker)?;
    let mut code = next_marker(&mut reader)?;
    loop {
        match code {
            0xD9 => break,
            0xC0..=0xC2 => frame = Some(frame_of(&segment(&mut reader)?, code)?),
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                return Err(Fault::Colours {
                    found: "lossless or arithmetic JPEG".to_owned(),
                });
            }
            0xE1 => {
                if let Some(block) = segment(&mut reader)?.strip_prefix(b"Exif\0\0") {
                    orientation = Orientation::of_exif_block(block);
                }
            }
            0x01 | 0xD0..=0xD8 => {}
            _ => drop(segment(&mut reader)?),
        }
        // After a scan header (0xDA) the scan's data are passed over as well.
        code = next_marker(&mut reader)?;
    }
    frame
        .map(|frame| (frame, orientation))
        .ok_or_else(|| Fault::damaged("it has no frame"))
}

fn read(reader: &mut impl BufRead, bytes: &mut [u8]) -> Result<(), Fault> {
    reader
        .read_exact(bytes)
        .map_err(|error| Fault::of_io(&error))
}

/// Passes over everything that is no marker; stuffed zeros and restart markers belong to a scan.
fn next_marker(reader: &mut impl BufRead) -> Result<u8, Fault> {
    loop {
        let buffer = reader.fill_buf().map_err(|error| Fault::of_io(&error))?;
        if buffer.is_empty() {
            return Err(Fault::Truncated);
        }
        match buffer.iter().position(|&byte| byte == 0xFF) {
            None => {
                let count = buffer.len();
                reader.consume(count);
                continue;
            }
            Some(at) => reader.consume(at + 1),
        }
        let mut code = [0xFF];
        while code[0] == 0xFF {
            read(reader, &mut code)?;
        }
        if !matches!(code[0], 0x00 | 0xD0..=0xD7) {
            return Ok(code[0]);
        }
    }
}

fn segment(reader: &mut impl BufRead) -> Result<Vec<u8>, Fault> {
    let mut length = [0; 2];
    read(reader, &mut length)?;
    let length = usize::from(u16::from_be_bytes(length));
    let count = length
        .checked_sub(2)
        .ok_or_else(|| Fault::damaged("a segment has no length"))?;
    let mut bytes = vec![0; count];
    read(reader, &mut bytes)?;
    Ok(bytes)
}

/// Precision, height, width, then number, sampling and table of each component.
fn frame_of(bytes: &[u8], code: u8) -> Result<Frame, Fault> {
    let [precision, h1, h0, w1, w0, count, components @ ..] = bytes else {
        return Err(Fault::damaged("its frame is cut off"));
    };
    if *precision != 8 {
        return Err(Fault::Colours {
            found: format!("{precision} bits a colour"),
        });
    }
    let sampling = |c: &[u8]| (u64::from(c[1] >> 4), u64::from(c[1] & 15));
    let samplings: Vec<_> = components.chunks_exact(3).map(sampling).collect();
    let across = samplings.iter().map(|s| s.0).max().unwrap_or(0);
    let down = samplings.iter().map(|s| s.1).max().unwrap_or(0);
    if samplings.len() != usize::from(*count) || across * down == 0 {
        return Err(Fault::damaged("its components are not described"));
    }
    let blocks: u64 = samplings.iter().map(|s| s.0 * s.1).sum();
    Ok(Frame {
        width: usize::from(u16::from_be_bytes([*w1, *w0])),
        height: usize::from(u16::from_be_bytes([*h1, *h0])),
        components: samplings.len(),
        process: if code == 0xC2 {
            Process::Progressive
        } else {
            Process::Sequential
        },
        sample_percent: 100 * blocks / (across * down),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_tells_size_and_samples() {
        let bytes = [
            8, 0x0B, 0xB8, 0x0F, 0xA0, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1,
        ];
        let frame = frame_of(&bytes, 0xC2).unwrap();
        assert_eq!(
            (frame.width, frame.height, frame.components),
            (4000, 3000, 3)
        );
        assert_eq!(
            (frame.process, frame.sample_percent),
            (Process::Progressive, 150)
        );
    }

    #[test]
    fn a_walk_ends_at_the_end_marker_only() {
        let mut bytes = b"\xFF\xD8\xFF\xC0\0\x0B\x08\0\x10\0\x20\x01\x01\x11\0".to_vec();
        bytes.extend(b"\xFF\xDA\0\x08\x01\x01\0\0\x3F\0\x12\xFF\0\x34\xFF\xD0\x56");
        assert_eq!(walk(&bytes[..]).unwrap_err(), Fault::Truncated);
        bytes.extend(b"\xFF\xD9 what a phone appends");
        let (frame, orientation) = walk(&bytes[..]).unwrap();
        assert_eq!((frame.width, frame.height), (32, 16));
        assert_eq!(orientation, Orientation::Upright);
        for length in 0..bytes.len() - 24 {
            assert_eq!(
                walk(&bytes[..length]).unwrap_err(),
                Fault::Truncated,
                "{length}"
            );
        }
    }
}
