//! YUYV frames: Y0 U Y1 V for each two pixels, of limited range as BT.601 has it.
//!
//! In: the bytes of a frame, its size, the bytes from one row to the next (`stride`; what lies
//! between is padding). Out: brightness alone, or a PNG of RGB. Integers: the same everywhere.
//! Whoever calls has seen that the frame is whole.

use png::EncodingError;

use super::frames::Format;
use super::sharpness::Luma;
use crate::capture::encode::{Colours, PageFile};

/// Bytes that a whole frame has at least.
pub fn frame_bytes(format: &Format) -> usize {
    format.stride * format.height.saturating_sub(1) + 2 * format.width
}

/// The brightness of every pixel, as it is.
pub fn luma(frame: &[u8], format: &Format) -> Luma {
    let values = rows(frame, format).flat_map(|row| row.iter().step_by(2).copied());
    Luma {
        width: format.width,
        height: format.height,
        values: values.collect(),
    }
}

/// The frame as a PNG file.
pub fn picture(frame: &[u8], format: &Format) -> Result<Vec<u8>, EncodingError> {
    let mut file = PageFile::new(format.width, Colours::Rgb, None)?;
    let mut rgb = Vec::with_capacity(3 * format.width);
    for row in rows(frame, format) {
        rgb.clear();
        for pair in row.chunks_exact(4) {
            rgb.extend(to_rgb(pair[0], pair[1], pair[3]));
            rgb.extend(to_rgb(pair[2], pair[1], pair[3]));
        }
        file.push(&rgb)?;
    }
    file.finish()
}

fn rows<'a>(frame: &'a [u8], format: &Format) -> impl Iterator<Item = &'a [u8]> {
    let (row_bytes, height) = (2 * format.width, format.height);
    frame
        .chunks(format.stride)
        .take(height)
        .map(move |row| &row[..row_bytes])
}

/// BT.601 in 1/256, rounded.
fn to_rgb(y: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (
        298 * (i32::from(y) - 16) + 128,
        i32::from(u) - 128,
        i32::from(v) - 128,
    );
    let value = |sum: i32| (sum >> 8).clamp(0, 255) as u8;
    [
        value(y + 409 * v),
        value(y - 100 * u - 208 * v),
        value(y + 516 * u),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::camera::choice::Coding;

    fn format(width: usize, height: usize, stride: usize) -> Format {
        let coding = Coding::Yuyv;
        Format {
            coding,
            width,
            height,
            stride,
        }
    }

    #[test]
    fn colours_are_those_of_bt_601() {
        for (yuv, rgb) in [
            ([16, 128, 128], [0, 0, 0]),
            ([235, 128, 128], [255, 255, 255]),
            ([126, 128, 128], [128, 128, 128]),
            ([81, 90, 240], [255, 0, 0]),
            ([145, 54, 34], [0, 255, 1]),
            ([41, 240, 110], [0, 0, 255]),
            ([0, 0, 0], [0, 135, 0]),
            ([255, 255, 255], [255, 125, 255]),
        ] {
            assert_eq!(to_rgb(yuv[0], yuv[1], yuv[2]), rgb, "{yuv:?}");
        }
    }

    #[test]
    fn padding_between_rows_is_left_out() {
        let frame = [
            16, 128, 235, 128, 1, 2, 3, 4, // black, white, padding
            235, 128, 16, 128, // white, black; no padding behind the last row
        ];
        let format = format(2, 2, 8);
        assert_eq!(frame_bytes(&format), frame.len());
        assert_eq!(luma(&frame, &format).values, [16, 235, 235, 16]);
        let file = picture(&frame, &format).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, [0, 0, 0, 255, 255, 255, 255, 255, 255, 0, 0, 0]);
    }
}
