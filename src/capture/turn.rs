//! Exif orientation: read from a raw Exif block, applied to pixels.
//!
//! Mirrors and half turns are made in place; a quarter turn needs a second page for a moment,
//! which the header's costs count.

use crate::limits;

/// The eight ways in which a picture may be stored, by what was done to the upright picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    Upright,
    Mirrored,
    TurnedHalf,
    /// Mirrored top to bottom.
    Flipped,
    /// Rows and columns exchanged.
    Transposed,
    /// To be turned clockwise by a quarter.
    TurnedRight,
    /// Exchanged about the other diagonal.
    Transversed,
    /// To be turned anticlockwise by a quarter.
    TurnedLeft,
}

impl Orientation {
    /// By Exif's number, 1 to 8 (CIPA DC-008, tag 0x0112); any other is upright.
    pub fn of_exif(number: u32) -> Self {
        match number {
            2 => Self::Mirrored,
            3 => Self::TurnedHalf,
            4 => Self::Flipped,
            5 => Self::Transposed,
            6 => Self::TurnedRight,
            7 => Self::Transversed,
            8 => Self::TurnedLeft,
            _ => Self::Upright,
        }
    }

    /// From a raw Exif block, which begins with its TIFF header.
    pub fn of_exif_block(block: &[u8]) -> Self {
        if block.len() > limits::EXIF_BYTES_MAX {
            return Self::Upright;
        }
        let Ok(exif) = exif::Reader::new().read_raw(block.to_vec()) else {
            return Self::Upright;
        };
        let field = exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY);
        Self::of_exif(field.and_then(|field| field.value.get_uint(0)).unwrap_or(1))
    }

    pub fn swaps_sides(self) -> bool {
        match self {
            Self::Upright | Self::Mirrored | Self::TurnedHalf | Self::Flipped => false,
            Self::Transposed | Self::TurnedRight | Self::Transversed | Self::TurnedLeft => true,
        }
    }
}

/// The upright picture: width, height, pixels.
pub fn upright(
    orientation: Orientation,
    width: usize,
    height: usize,
    mut rgb: Vec<u8>,
) -> (usize, usize, Vec<u8>) {
    match orientation {
        Orientation::Upright => {}
        Orientation::Mirrored => rgb.chunks_exact_mut(3 * width).for_each(reverse_pixels),
        Orientation::TurnedHalf => reverse_pixels(&mut rgb),
        Orientation::Flipped => {
            reverse_pixels(&mut rgb);
            rgb.chunks_exact_mut(3 * width).for_each(reverse_pixels);
        }
        Orientation::Transposed => return exchanged(width, height, &rgb, |x, y| (y, x)),
        Orientation::TurnedRight => {
            return exchanged(width, height, &rgb, |x, y| (y, height - 1 - x));
        }
        Orientation::Transversed => {
            return exchanged(width, height, &rgb, |x, y| (width - 1 - y, height - 1 - x));
        }
        Orientation::TurnedLeft => {
            return exchanged(width, height, &rgb, |x, y| (width - 1 - y, x));
        }
    }
    (width, height, rgb)
}

fn reverse_pixels(row: &mut [u8]) {
    row.reverse();
    row.chunks_exact_mut(3).for_each(<[u8]>::reverse);
}

/// The picture of exchanged sides whose pixel `(x, y)` is `stored(x, y)` of the stored one.
fn exchanged(
    width: usize,
    height: usize,
    rgb: &[u8],
    stored: impl Fn(usize, usize) -> (usize, usize),
) -> (usize, usize, Vec<u8>) {
    let mut turned = Vec::with_capacity(rgb.len());
    for y in 0..width {
        for x in 0..height {
            let (from_x, from_y) = stored(x, y);
            let at = 3 * (from_y * width + from_x);
            turned.extend_from_slice(&rgb[at..at + 3]);
        }
    }
    (height, width, turned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `stored` as letters, rows parted by blanks.
    #[track_caller]
    fn check(exif: u32, stored: &str, expected: &str) {
        let rows: Vec<&str> = stored.split(' ').collect();
        let rgb: Vec<u8> = rows
            .concat()
            .bytes()
            .flat_map(|c| [c, c + 1, c + 2])
            .collect();
        let orientation = Orientation::of_exif(exif);
        let (width, height, rgb) = upright(orientation, rows[0].len(), rows.len(), rgb);
        assert!(
            rgb.chunks_exact(3)
                .all(|p| p[1] == p[0] + 1 && p[2] == p[0] + 2)
        );
        let letters: String = rgb.chunks_exact(3).map(|p| char::from(p[0])).collect();
        let found: Vec<&str> = (0..height)
            .map(|y| &letters[y * width..(y + 1) * width])
            .collect();
        assert_eq!(found.join(" "), expected, "orientation {exif}");
    }

    #[test]
    fn every_orientation_comes_upright() {
        // What a camera stores when the upright picture is `abc def`.
        check(1, "abc def", "abc def");
        check(2, "cba fed", "abc def");
        check(3, "fed cba", "abc def");
        check(4, "def abc", "abc def");
        check(5, "ad be cf", "abc def");
        check(6, "cf be ad", "abc def");
        check(7, "fc eb da", "abc def");
        check(8, "da eb fc", "abc def");
    }

    #[test]
    fn an_exif_block_that_cannot_be_read_is_no_turn() {
        assert_eq!(
            Orientation::of_exif_block(b"II*\0\xff\xff\xff\xff"),
            Orientation::Upright
        );
        assert_eq!(
            Orientation::of_exif_block(&exif_block(6)),
            Orientation::TurnedRight
        );
    }

    fn exif_block(orientation: u8) -> Vec<u8> {
        let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        block
    }
}
