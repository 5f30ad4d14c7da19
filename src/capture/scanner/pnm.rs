//! A page as `scanimage` gives it: PNM (PBM, PGM or PPM, binary), whose height may be wrong.
//!
//! In: bytes in parts of any size. Out: the header once it is whole, then rows of 8 bits a channel:
//! 1 bit becomes black and white, 16 bits lose their lower half. A height of nothing or less, and
//! more or fewer rows than announced, are no fault: a feeder does not know how long a page is. What
//! is no PNM, or wider than `limits::SIDE_PX_MAX`, is.

use crate::capture::encode::Colours;
use crate::limits;

/// A longer header is none.
const HEAD_BYTES_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    One,
    Eight,
    Sixteen,
}

/// What a page is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub width: usize,
    /// As announced, where anything is.
    pub height: Option<usize>,
    pub colours: Colours,
    depth: Depth,
}

impl Head {
    fn row_bytes(&self) -> usize {
        let values = self.width * self.colours.pixel_bytes();
        match self.depth {
            Depth::One => values.div_ceil(8),
            Depth::Eight => values,
            Depth::Sixteen => 2 * values,
        }
    }
}

/// Why bytes are no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PnmError {
    #[error("what it gives is no PNM picture")]
    NotPnm,
    #[error("a page {found} px wide; at most {max} are read")]
    Width { found: i64, max: usize },
}

/// Takes bytes and gives rows.
#[derive(Default)]
pub struct Pnm {
    head_bytes: Vec<u8>,
    head: Option<Head>,
    /// A row that is not whole yet.
    part: Vec<u8>,
    row: Vec<u8>,
}

impl Pnm {
    /// Takes bytes of the header; how many of them, and the header when it is whole.
    pub fn head(&mut self, bytes: &[u8]) -> Result<(usize, Option<Head>), PnmError> {
        for (k, byte) in bytes.iter().enumerate() {
            self.head_bytes.push(*byte);
            self.head = parse(&self.head_bytes)?;
            if self.head.is_some() {
                return Ok((k + 1, self.head));
            }
        }
        Ok((bytes.len(), None))
    }

    /// Takes bytes behind the header, and gives each row that is whole by them.
    pub fn rows<E>(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(head) = self.head else {
            return Ok(());
        };
        let row_bytes = head.row_bytes();
        while self.part.len() + bytes.len() >= row_bytes {
            let (rest, later) = bytes.split_at(row_bytes - self.part.len());
            self.part.extend_from_slice(rest);
            bytes = later;
            take(eight_bits(&head, &self.part, &mut self.row))?;
            self.part.clear();
        }
        self.part.extend_from_slice(bytes);
        Ok(())
    }
}

/// The row in 8 bits a channel, in `row` if need be.
fn eight_bits<'a>(head: &Head, stored: &'a [u8], row: &'a mut Vec<u8>) -> &'a [u8] {
    row.clear();
    match head.depth {
        Depth::Eight => return stored,
        Depth::Sixteen => row.extend(stored.iter().step_by(2)),
        Depth::One => {
            let is_black = |x: usize| stored[x / 8] >> (7 - x % 8) & 1 == 1;
            row.extend((0..head.width).map(|x| if is_black(x) { 0 } else { 255 }));
        }
    }
    row
}

/// The header if these bytes end where it does.
fn parse(bytes: &[u8]) -> Result<Option<Head>, PnmError> {
    if bytes.len() > HEAD_BYTES_MAX {
        return Err(PnmError::NotPnm);
    }
    let (colours, depth) = match bytes {
        [b'P'] => return Ok(None),
        [b'P', b'4', ..] => (Colours::Grey, Some(Depth::One)),
        [b'P', b'5', ..] => (Colours::Grey, None),
        [b'P', b'6', ..] => (Colours::Rgb, None),
        _ => return Err(PnmError::NotPnm),
    };
    let words = words(&bytes[2..])?;
    match (words.as_slice(), depth) {
        ([width, height], Some(depth)) => head(*width, *height, colours, depth).map(Some),
        ([width, height, 255], None) => head(*width, *height, colours, Depth::Eight).map(Some),
        ([width, height, 65_535], None) => head(*width, *height, colours, Depth::Sixteen).map(Some),
        ([_, _, _], None) => Err(PnmError::NotPnm),
        _ => Ok(None),
    }
}

fn head(width: i64, height: i64, colours: Colours, depth: Depth) -> Result<Head, PnmError> {
    let max = limits::SIDE_PX_MAX;
    match usize::try_from(width) {
        Ok(width) if (1..=max).contains(&width) => {
            let height = usize::try_from(height).ok().filter(|height| *height > 0);
            Ok(Head {
                width,
                height,
                colours,
                depth,
            })
        }
        _ => Err(PnmError::Width { found: width, max }),
    }
}

/// The numbers that are followed by a space; comments go to the end of their line.
fn words(text: &[u8]) -> Result<Vec<i64>, PnmError> {
    let mut numbers = Vec::new();
    let mut word = String::new();
    let mut is_comment = false;
    for letter in text {
        match letter {
            b'\n' if is_comment => is_comment = false,
            _ if is_comment => {}
            b'#' if word.is_empty() => is_comment = true,
            b' ' | b'\t' | b'\r' | b'\n' if word.is_empty() => {}
            b' ' | b'\t' | b'\r' | b'\n' => {
                numbers.push(word.parse().map_err(|_| PnmError::NotPnm)?);
                word.clear();
            }
            b'-' | b'0'..=b'9' => word.push(char::from(*letter)),
            _ => return Err(PnmError::NotPnm),
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Head and rows of a page that comes in parts of that many bytes.
    fn read(bytes: &[u8], part: usize) -> Result<(Head, Vec<Vec<u8>>), PnmError> {
        let mut pnm = Pnm::default();
        let mut rows = Vec::new();
        let mut found = None;
        for mut bytes in bytes.chunks(part) {
            if found.is_none() {
                let (used, head) = pnm.head(bytes)?;
                (bytes, found) = (&bytes[used..], head);
            }
            pnm.rows(bytes, |row| {
                rows.push(row.to_vec());
                Ok::<(), PnmError>(())
            })?;
        }
        found.map(|head| (head, rows)).ok_or(PnmError::NotPnm)
    }

    #[track_caller]
    fn check(bytes: &[u8], size: (usize, Option<usize>), expected: &[&[u8]]) {
        for part in [1, 2, 7, 100] {
            let (head, rows) = read(bytes, part).unwrap();
            assert_eq!((head.width, head.height), size);
            assert_eq!(rows, expected, "in parts of {part}");
        }
    }

    #[test]
    fn rows_come_out_in_8_bits() {
        check(
            b"P5\n# SANE data follows\n3 2\n255\nabcdef",
            (3, Some(2)),
            &[b"abc", b"def"],
        );
        check(b"P6 1 2 255\nabcdef", (1, Some(2)), &[b"abc", b"def"]);
        check(
            b"P5\n2 1\n65535\na\xFFb\xFF",
            (2, Some(1)),
            b"ab".chunks(2).collect::<Vec<_>>().as_slice(),
        );
        check(
            b"P4\n9 1\n\xA0\x80",
            (9, Some(1)),
            &[&[0, 255, 0, 255, 255, 255, 255, 255, 0]],
        );
    }

    #[test]
    fn the_announced_height_is_not_believed() {
        for height in ["-1", "0", "1", "9"] {
            let bytes = format!("P5\n# x\n2 {height}\n255\nabcde");
            let announced = height.parse().ok().filter(|height| *height > 0);
            check(bytes.as_bytes(), (2, announced), &[b"ab", b"cd"]);
        }
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for bytes in [
            "",
            "JFIF",
            "P3\n1 1\n255\n",
            "P5\nx 1\n255\na",
            "P5\n1 1\n200\na",
            "P5\n1 1\n",
        ] {
            assert!(read(bytes.as_bytes(), 3).is_err(), "{bytes}");
        }
        let endless = format!("P5\n#{}", "x".repeat(10_000));
        assert_eq!(read(endless.as_bytes(), 64), Err(PnmError::NotPnm));
        for width in ["0", "-5", "20001", "99999999999"] {
            let bytes = format!("P5\n{width} 1\n255\n");
            let error = read(bytes.as_bytes(), 64).unwrap_err();
            assert!(matches!(error, PnmError::Width { .. }), "{error}");
        }
    }
}
