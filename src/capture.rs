//! From paths to pages: files are found, judged by their headers, and decoded to `RawImage`.
//!
//! In: paths of picture files (PNG, JPEG, TIFF with all its pages, BMP, PNM, WebP) or folders of
//! them. Out: `RawImage`, 8 bits a channel, transparency on white, turned as its Exif orientation
//! says. What a file is, is told by its first bytes, never by its name. Sizes come from the header
//! and are checked before anything is allocated; a page too large for `limits::PAGE_PX_MAX` or for
//! the memory left is decoded at 1/2, 1/4 or 1/8 where its format is read row by row (PNG, JPEG,
//! TIFF in strips), else refused. An Exif block that cannot be read counts as absent: which way is
//! up is found from the page anyway. Every refusal names the file and the reason.

#[cfg(all(feature = "camera", target_os = "linux"))]
mod camera;
mod density;
mod encode;
mod find;
pub mod gate;
mod jpeg;
mod kind;
mod png;
mod program;
pub mod reference;
mod rows;
mod rpicam;
mod scanner;
pub mod source;
mod tiff;
mod turn;
pub mod watched;
mod whole;

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::limits;
use crate::page::{ImageError, RawImage};

pub use density::density_in;
pub use find::{PageFile, find};
pub use kind::Kind;
pub use turn::Orientation;

use source::SourceKind;

/// A file that no page can be read from, and why.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{path}: {fault}", path = path.display())]
pub struct Refused {
    pub path: PathBuf,
    pub fault: Fault,
}

/// What is wrong with a file or a folder.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    #[error("cannot be read: {reason}")]
    Unreadable { reason: String },
    #[error("is neither a file nor a folder")]
    NotAFile,
    #[error("the folder holds no pages")]
    NoPages,
    #[error("the name is not UTF-8 text; rename the file")]
    Name,
    #[error("the file is empty (0 bytes)")]
    Empty,
    #[error("the file has {found} bytes; at most {max} are read")]
    TooLong { found: u64, max: u64 },
    #[error("not a picture that can be read (PNG, JPEG, TIFF, BMP, PNM, WebP)")]
    NotAPicture,
    #[error("a {kind} picture; save it as PNG or JPEG")]
    OtherFormat { kind: &'static str },
    #[error("a PDF; turn it into pages with: {command}")]
    Pdf { command: String },
    #[error("the file is cut off: its end is missing")]
    Truncated,
    #[error("the picture is damaged: {reason}")]
    Damaged { reason: String },
    #[error("{found} pages in one file; at most {max} are read")]
    TooManyPages { found: usize, max: usize },
    #[error("there is no page {number} in the file")]
    NoSuchPage { number: usize },
    #[error("colours stored as {found} are not read; save it as RGB or grey")]
    Colours { found: String },
    #[error("{0}")]
    Size(#[from] ImageError),
    #[error(
        "{width} x {height} px is too large: at most {px_max} px are read, and this format is \
         not read at reduced size"
    )]
    TooLarge {
        width: usize,
        height: usize,
        px_max: usize,
    },
    #[error(
        "it takes {needed_mib} MiB of memory, {room_mib} MiB are left; raise the memory budget"
    )]
    Memory { needed_mib: u64, room_mib: u64 },
}

impl Fault {
    fn damaged(reason: impl ToString) -> Self {
        Self::Damaged {
            reason: reason.to_string(),
        }
    }

    fn of_io(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Unreadable {
                reason: error.to_string(),
            },
        }
    }
}

/// What bytes without a file are called in a reason.
const UNNAMED: &str = "page";

/// All sources that capture when asked, in reading order.
pub static SOURCES: &[SourceKind] = &[
    #[cfg(all(feature = "camera", target_os = "linux"))]
    SourceKind {
        name: "camera",
        make: camera::new,
        devices: camera::devices,
    },
    SourceKind {
        name: "rpicam",
        make: rpicam::new,
        devices: rpicam::devices,
    },
    SourceKind {
        name: "scanner",
        make: scanner::new,
        devices: scanner::devices,
    },
];

/// The sort of source of that name.
pub fn source_named(name: &str) -> Option<&'static SourceKind> {
    SOURCES.iter().find(|kind| kind.name == name)
}

/// How much smaller than stored a page is decoded.
pub const REDUCTIONS: [usize; 4] = [1, 2, 4, 8];

/// What the header of a page says, before anything is decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub kind: Kind,
    /// As stored, before the orientation is applied.
    pub width: usize,
    pub height: usize,
    pub orientation: Orientation,
    /// Peak bytes of decoding at each of `REDUCTIONS`, page included; `None` where the format is
    /// not read at that size.
    pub decode_bytes: [Option<u64>; 4],
}

/// How a page will be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One of `REDUCTIONS`.
    pub reduction: usize,
    /// Peak bytes, page included.
    pub bytes: u64,
}

impl Header {
    /// The largest size that is neither too many pixels nor too much for `room_bytes`, with
    /// `beside_bytes` to be held beside the page later on.
    pub fn plan(&self, room_bytes: u64, beside_bytes: u64) -> Result<Plan, Fault> {
        let mut fault = None;
        for (reduction, bytes) in REDUCTIONS.into_iter().zip(self.decode_bytes) {
            let Some(bytes) = bytes else { continue };
            let held = bytes.max(self.page_bytes(reduction) + beside_bytes);
            match self.fits(reduction, held, room_bytes) {
                Ok(()) => {
                    return Ok(Plan { reduction, bytes });
                }
                // Made smaller still it would be no page: what was wrong before is the reason.
                Err(small @ Fault::Size(_)) if self.is_small(reduction) => {
                    return Err(fault.unwrap_or(small));
                }
                Err(found) => fault = Some(found),
            }
        }
        Err(fault.unwrap_or(self.too_large()))
    }

    fn fits(&self, reduction: usize, bytes: u64, room_bytes: u64) -> Result<(), Fault> {
        let (width, height) = (
            self.width.div_ceil(reduction),
            self.height.div_ceil(reduction),
        );
        let (min, max) = (limits::SIDE_PX_MIN, limits::SIDE_PX_MAX);
        if !(min..=max).contains(&width) || !(min..=max).contains(&height) {
            return Err(ImageError::Size {
                width,
                height,
                min,
                max,
            }
            .into());
        }
        if width * height > limits::PAGE_PX_MAX {
            return Err(self.too_large());
        }
        if bytes > room_bytes {
            let (needed_mib, room_mib) = (bytes.div_ceil(1 << 20), room_bytes >> 20);
            return Err(Fault::Memory {
                needed_mib,
                room_mib,
            });
        }
        Ok(())
    }

    fn is_small(&self, reduction: usize) -> bool {
        self.width.min(self.height).div_ceil(reduction) < limits::SIDE_PX_MIN
    }

    fn page_bytes(&self, reduction: usize) -> u64 {
        3 * self.width.div_ceil(reduction) as u64 * self.height.div_ceil(reduction) as u64
    }

    fn too_large(&self) -> Fault {
        let px_max = limits::PAGE_PX_MAX;
        Fault::TooLarge {
            width: self.width,
            height: self.height,
            px_max,
        }
    }

    /// Fills `decode_bytes`: what the decoder takes beside the page at each reduction.
    fn with_costs(mut self, beside: impl Fn(usize) -> Option<u64>) -> Self {
        for (k, reduction) in REDUCTIONS.into_iter().enumerate() {
            let page = self.page_bytes(reduction);
            let turning = if self.orientation.swaps_sides() {
                2 * page
            } else {
                page
            };
            self.decode_bytes[k] = beside(reduction).map(|more| (page + more).max(turning));
        }
        self
    }
}

/// Reads the header of a page.
pub fn header(page: &PageFile) -> Result<Header, Refused> {
    refusing(&page.path, || {
        let (file, bytes) = open(&page.path)?;
        read_header(BufReader::new(file), bytes, page.page_index, &page.path)
    })
}

/// Reads the header of the first page in a file's bytes.
pub fn header_in(bytes: &[u8]) -> Result<Header, Fault> {
    if bytes.is_empty() {
        return Err(Fault::Empty);
    }
    read_header(
        Cursor::new(bytes),
        bytes.len() as u64,
        None,
        Path::new(UNNAMED),
    )
}

fn read_header(
    mut reader: impl BufRead + Seek,
    bytes: u64,
    page_index: Option<usize>,
    path: &Path,
) -> Result<Header, Fault> {
    match kind::of(&mut reader, path)? {
        Kind::Jpeg => jpeg::header(reader, bytes),
        Kind::Png => png::header(reader),
        Kind::Tiff => tiff::header(reader, page_index),
        kind @ (Kind::Bmp | Kind::Pnm | Kind::Webp) => whole::header(reader, kind, bytes),
    }
}

/// Decodes a page as planned.
pub fn decode(page: &PageFile, header: &Header, plan: Plan) -> Result<RawImage, Refused> {
    refusing(&page.path, || {
        let reader = BufReader::new(open(&page.path)?.0);
        read_page(reader, page.page_index, header, plan)
    })
}

/// Decodes the first page in a file's bytes as planned.
pub fn decode_in(bytes: &[u8], header: &Header, plan: Plan) -> Result<RawImage, Fault> {
    read_page(Cursor::new(bytes), None, header, plan)
}

fn read_page(
    reader: impl BufRead + Seek,
    page_index: Option<usize>,
    header: &Header,
    plan: Plan,
) -> Result<RawImage, Fault> {
    let (width, height, rgb) = match header.kind {
        Kind::Jpeg => jpeg::decode(reader, plan),
        Kind::Png => png::decode(reader, plan),
        Kind::Tiff => tiff::decode(reader, page_index, plan),
        kind @ (Kind::Bmp | Kind::Pnm | Kind::Webp) => whole::decode(reader, kind, plan),
    }?;
    let (width, height, rgb) = turn::upright(header.orientation, width, height, rgb);
    Ok(RawImage::new(width, height, rgb)?)
}

/// SHA-256 of the file's bytes, in hexadecimal.
pub fn content_hash(path: &Path) -> Result<String, Refused> {
    refusing(path, || {
        let (mut file, _) = open(path)?;
        let mut hash = Sha256::new();
        let mut part = vec![0; 64 << 10];
        loop {
            let count = file.read(&mut part).map_err(|error| Fault::of_io(&error))?;
            if count == 0 {
                break;
            }
            hash.update(&part[..count]);
        }
        Ok(hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    })
}

fn refusing<T>(path: &Path, read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Refused> {
    read().map_err(|fault| Refused {
        path: path.to_owned(),
        fault,
    })
}

/// The file and its length, which is between 1 and `limits::FILE_BYTES_MAX`.
fn open(path: &Path) -> Result<(File, u64), Fault> {
    let about = std::fs::metadata(path).map_err(|error| Fault::of_io(&error))?;
    if !about.is_file() {
        return Err(Fault::NotAFile);
    }
    let (found, max) = (about.len(), limits::FILE_BYTES_MAX);
    if found == 0 {
        return Err(Fault::Empty);
    }
    if found > max {
        return Err(Fault::TooLong { found, max });
    }
    Ok((
        File::open(path).map_err(|error| Fault::of_io(&error))?,
        found,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(width: usize, height: usize) -> Header {
        let orientation = Orientation::Upright;
        Header {
            kind: Kind::Png,
            width,
            height,
            orientation,
            decode_bytes: [None; 4],
        }
        .with_costs(|_| Some(1 << 20))
    }

    #[test]
    fn a_page_that_fits_is_read_at_full_size() {
        let plan = header(4000, 3000).plan(64 << 20, 0).unwrap();
        assert_eq!(
            plan,
            Plan {
                reduction: 1,
                bytes: 36_000_000 + (1 << 20)
            }
        );
    }

    #[test]
    fn a_larger_page_is_read_smaller() {
        assert_eq!(header(8000, 6000).plan(64 << 20, 0).unwrap().reduction, 2);
        assert_eq!(header(4000, 3000).plan(16 << 20, 0).unwrap().reduction, 2);
        assert_eq!(
            header(4000, 3000)
                .plan(64 << 20, 48 << 20)
                .unwrap()
                .reduction,
            2
        );
        assert_eq!(header(40_000, 3000).plan(64 << 20, 0).unwrap().reduction, 4);
    }

    #[test]
    fn what_never_fits_is_refused_with_the_reason() {
        let fault = header(100_000, 100_000).plan(1 << 30, 0).unwrap_err();
        assert_eq!(
            fault,
            Fault::TooLarge {
                width: 100_000,
                height: 100_000,
                px_max: 16_000_000
            }
        );
        let fault = header(4000, 3000).plan(1 << 20, 0).unwrap_err();
        assert_eq!(
            fault,
            Fault::Memory {
                needed_mib: 2,
                room_mib: 1
            }
        );
        let fault = header(100, 100).plan(1 << 10, 0).unwrap_err();
        assert!(matches!(fault, Fault::Memory { .. }), "{fault}");
        let fault = header(20, 3000).plan(64 << 20, 0).unwrap_err();
        assert!(matches!(fault, Fault::Size(_)), "{fault}");
    }

    #[test]
    fn turning_by_a_quarter_takes_a_second_page() {
        let mut turned = header(4000, 3000);
        turned.orientation = Orientation::TurnedRight;
        let turned = turned.with_costs(|_| Some(1 << 20));
        assert_eq!(turned.plan(100 << 20, 0).unwrap().bytes, 72_000_000);
    }
}
