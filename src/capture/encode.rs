//! PNG files of pages that come row by row, before anybody knows how many rows there will be.
//!
//! In: the width, grey or RGB of 8 bits a channel, the scale if it is known, then rows from the top.
//! Out: the bytes of a PNG file. Rows are packed as they come (each as differences to its left
//! neighbours, the fastest deflate), so that the page is never held; the height is written at the
//! end. What was packed is all that is held, at most `limits::CAPTURE_PAGE_BYTES_MAX`.

use std::io::{self, Write};

use crc::{CRC_32_ISO_HDLC, Crc};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use png::{BitDepth, ColorType, EncodingError, PixelDimensions, Unit};

use crate::limits;

/// At worst a page is stored as it is.
const _: () = assert!(limits::CAPTURE_PAGE_BYTES_MAX > 3 * limits::PAGE_PX_MAX + (8 << 20));

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const CHUNK_BYTES: usize = 64 << 10;
/// The last chunk: its length, name and checksum.
const END_BYTES: usize = 12;
/// The filter `Sub` of the PNG standard, 9.2.
const SUB: u8 = 1;
const MM_PER_INCH: f64 = 25.4;

/// Colours of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    Grey,
    Rgb,
}

impl Colours {
    pub fn pixel_bytes(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// Pixels to the inch, where the page's size on paper is known.
pub type Dpi = Option<f64>;

/// A PNG file that is being written.
pub struct PageFile {
    width: usize,
    colours: Colours,
    dpi: Dpi,
    rows: usize,
    filtered: Vec<u8>,
    packed: ZlibEncoder<Chunks>,
}

impl PageFile {
    /// `width` is between 1 and `limits::SIDE_PX_MAX`.
    pub fn new(width: usize, colours: Colours, dpi: Dpi) -> Result<Self, EncodingError> {
        let mut file = head(width, 1, colours, dpi)?;
        file.truncate(file.len() - END_BYTES);
        let chunks = Chunks {
            file,
            open: Vec::with_capacity(CHUNK_BYTES),
        };
        Ok(Self {
            width,
            colours,
            dpi,
            rows: 0,
            filtered: Vec::new(),
            packed: ZlibEncoder::new(chunks, Compression::fast()),
        })
    }

    /// Adds a row of `width` pixels.
    pub fn push(&mut self, row: &[u8]) -> Result<(), EncodingError> {
        let step = self.colours.pixel_bytes();
        assert_eq!(row.len(), step * self.width, "a row has the page's width");
        let (first, rest) = row.split_at(step);
        self.filtered.clear();
        self.filtered.push(SUB);
        self.filtered.extend_from_slice(first);
        let differences = rest
            .iter()
            .zip(row)
            .map(|(value, left)| value.wrapping_sub(*left));
        self.filtered.extend(differences);
        self.packed.write_all(&self.filtered)?;
        self.rows += 1;
        Ok(())
    }

    /// The file; there was at least one row.
    pub fn finish(self) -> Result<Vec<u8>, EncodingError> {
        let head = head(self.width, self.rows, self.colours, self.dpi)?;
        let mut chunks = self.packed.finish()?;
        chunks.close()?;
        let mut file = chunks.file;
        let (head, end) = head.split_at(head.len() - END_BYTES);
        file[..head.len()].copy_from_slice(head);
        file.extend_from_slice(end);
        Ok(file)
    }
}

/// All of the file but its pixels: its first chunks and the last, which is `END_BYTES` long.
fn head(width: usize, rows: usize, colours: Colours, dpi: Dpi) -> Result<Vec<u8>, EncodingError> {
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side(width), side(rows));
    encoder.set_depth(BitDepth::Eight);
    encoder.set_color(match colours {
        Colours::Grey => ColorType::Grayscale,
        Colours::Rgb => ColorType::Rgb,
    });
    encoder.set_pixel_dims(dpi.map(|dpi| {
        let per_metre = (dpi * 1_000.0 / MM_PER_INCH).round() as u32;
        PixelDimensions {
            xppu: per_metre,
            yppu: per_metre,
            unit: Unit::Meter,
        }
    }));
    encoder.write_header()?.finish()?;
    Ok(file)
}

/// Packs bytes into chunks of pixels behind the file's head.
struct Chunks {
    file: Vec<u8>,
    open: Vec<u8>,
}

impl Chunks {
    /// Ends the chunk that is open.
    fn close(&mut self) -> io::Result<()> {
        let (found, max) = (
            self.file.len() + self.open.len(),
            limits::CAPTURE_PAGE_BYTES_MAX,
        );
        if found + 2 * END_BYTES > max {
            return Err(io::Error::other(format!(
                "the page takes more than {max} bytes"
            )));
        }
        let mut digest = CRC.digest();
        digest.update(b"IDAT");
        digest.update(&self.open);
        let length = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        self.file.extend_from_slice(&length.to_be_bytes());
        self.file.extend_from_slice(b"IDAT");
        self.file.append(&mut self.open);
        self.file
            .extend_from_slice(&digest.finalize().to_be_bytes());
        Ok(())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK_BYTES - self.open.len());
        self.open.extend_from_slice(&bytes[..count]);
        if self.open.len() == CHUNK_BYTES {
            self.close()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels of no regular kind, from a seed.
    fn rows(width: usize, height: usize, colours: Colours) -> Vec<Vec<u8>> {
        let mut seed = 7_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        let bytes = width * colours.pixel_bytes();
        (0..height)
            .map(|_| (0..bytes).map(|_| next()).collect())
            .collect()
    }

    #[track_caller]
    fn check(width: usize, height: usize, colours: Colours) {
        let rows = rows(width, height, colours);
        let mut file = PageFile::new(width, colours, Some(300.0)).unwrap();
        for row in &rows {
            file.push(row).unwrap();
        }
        let bytes = file.finish().unwrap();
        let mut decoder = png::Decoder::new(io::Cursor::new(&bytes))
            .read_info()
            .unwrap();
        let dims = decoder.info().pixel_dims.unwrap();
        assert_eq!(
            (dims.xppu, dims.yppu, dims.unit),
            (11_811, 11_811, Unit::Meter)
        );
        let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
        let info = decoder.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width as usize, info.height as usize), (width, height));
        assert!(pixels == rows.concat(), "other pixels");
        decoder.finish().unwrap();
    }

    #[test]
    fn what_is_read_back_is_what_was_written() {
        check(1, 1, Colours::Grey);
        check(33, 7, Colours::Rgb);
        check(640, 480, Colours::Rgb);
        check(1_000, 300, Colours::Grey);
    }

    #[test]
    fn without_a_scale_none_is_written() {
        let mut file = PageFile::new(2, Colours::Grey, None).unwrap();
        file.push(&[0, 255]).unwrap();
        let bytes = file.finish().unwrap();
        let decoder = png::Decoder::new(io::Cursor::new(&bytes))
            .read_info()
            .unwrap();
        assert!(decoder.info().pixel_dims.is_none());
    }
}
