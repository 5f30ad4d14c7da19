//! One scan: a page, or all pages of a feeder.
//!
//! In: the scanner and its arguments. Out: each page's PNG file, handed over before the scanner is
//! told to draw in the next. `scanimage --batch` writes each page to `N.part` and then calls it `N`;
//! here `N.part` is a named pipe, in a folder of its own that only this user sees, so that rows are
//! read while they are scanned. A page with all its rows is a page; of one with fewer, `scanimage`
//! has to say that it ended well.

use std::ffi::OsStr;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use png::EncodingError;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use serde::Deserialize;

use super::advice;
use super::pnm::{Head, Pnm};
use super::shrink::Shrink;
use crate::capture::encode::PageFile;
use crate::capture::program::{Program, Wait};
use crate::capture::source::{SourceError, Stop};
use crate::limits;

const PART_BYTES: usize = 64 << 10;
/// SANE's status of a page that ended well: `SANE_STATUS_EOF`.
const PAGE_ENDED: &str = "5)";

/// How many pages a scan has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pages {
    #[default]
    One,
    UntilEmpty,
}

/// What is scanned, and how.
pub struct Order<'a> {
    pub name: &'a str,
    pub program: &'a OsStr,
    pub arguments: Vec<String>,
    pub resolution_dpi: u32,
    pub pages: Pages,
    pub wait_ms: u64,
}

/// Scans, and hands over each page as it is done.
pub fn scan(
    order: &Order,
    stop: &Stop,
    take: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
) -> Result<(), SourceError> {
    let failed = |error: &dyn std::fmt::Display| SourceError::failed(order.name, error);
    let folder = tempfile::Builder::new().prefix("leadscan-").tempdir();
    let folder = folder.map_err(|error| failed(&error))?;
    let mut arguments = order.arguments.clone();
    arguments.extend(["--batch-prompt", "--batch-start=1"].map(str::to_owned));
    arguments.push(format!("--batch={}/%d", folder.path().display()));
    let pages_max = match order.pages {
        Pages::One => 1,
        Pages::UntilEmpty => limits::CAPTURE_PAGES_MAX,
    };
    arguments.push(format!("--batch-count={pages_max}"));
    let mut program = Program::begin_without_output(order.name, order.program, &arguments)?;
    for number in 1..=pages_max {
        let pipe = folder.path().join(format!("{number}.part"));
        let mut output = named_pipe(&pipe).map_err(|error| failed(&error))?;
        program.go_on()?;
        match page(&mut program, &mut output, number, order, stop)? {
            Some(page) => {
                if take(page).is_break() {
                    break;
                }
            }
            None if number == 1 => return Err(end_of(program, order, stop)?),
            None => return end(program, order, stop),
        }
    }
    end(program, order, stop)
}

/// A pipe under this name, open for reading; who writes to it has not come yet.
fn named_pipe(path: &Path) -> rustix::io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, path, FileType::Fifo, mode, 0)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Lets the program end after its last page; that the feeder is empty by now is as it should be.
fn end(program: Program, order: &Order, stop: &Stop) -> Result<(), SourceError> {
    let ended = program.end(Wait::new(stop, order.wait_ms))?;
    if ended.status.success() || ended.said.contains(advice::NO_MORE_PAGES) {
        return Ok(());
    }
    Err(advice::of(order.name, &ended))
}

/// Why no page came at all.
fn end_of(program: Program, order: &Order, stop: &Stop) -> Result<SourceError, SourceError> {
    let ended = program.end(Wait::new(stop, order.wait_ms))?;
    Ok(advice::of(order.name, &ended))
}

/// The next page; none if the program has ended instead.
fn page(
    program: &mut Program,
    output: &mut File,
    number: usize,
    order: &Order,
    stop: &Stop,
) -> Result<Option<Vec<u8>>, SourceError> {
    let mut pnm = Pnm::default();
    let mut page: Option<Page> = None;
    let mut part = vec![0; PART_BYTES];
    loop {
        let count = program.read(output, &mut part, Wait::new(stop, order.wait_ms))?;
        let mut bytes = &part[..count];
        if bytes.is_empty() {
            break;
        }
        if page.is_none() {
            let failed = |error| SourceError::failed(order.name, error);
            let (used, head) = pnm.head(bytes).map_err(failed)?;
            bytes = &bytes[used..];
            let begin = |head| {
                let dpi = actual_dpi(&program.said(), order.resolution_dpi);
                Page::begin(head, dpi)
            };
            page = head
                .map(begin)
                .transpose()
                .map_err(|error| of_page(order, error))?;
        }
        if let Some(page) = &mut page {
            pnm.rows(bytes, |row| page.push(row))
                .map_err(|error| of_page(order, error))?;
        }
    }
    let Some(page) = page.filter(|page| page.rows > 0) else {
        return Ok(None);
    };
    let is_short = page.head.height.is_none_or(|height| page.rows < height);
    if is_short && !has_ended_well(program, number, order, stop)? {
        return Ok(None);
    }
    page.finish()
        .map(Some)
        .map_err(|error| of_page(order, error))
}

/// Whether the program says that the page it gives no more of ended well.
fn has_ended_well(
    program: &mut Program,
    number: usize,
    order: &Order,
    stop: &Stop,
) -> Result<bool, SourceError> {
    let about_it = format!("Scanned page {number}. (scanner status = ");
    let is_said = |said: &str| said.contains(&about_it);
    let said = program.wait_to_hear(is_said, Wait::new(stop, order.wait_ms))?;
    Ok(said
        .split_once(&about_it)
        .is_some_and(|(_, status)| status.starts_with(PAGE_ENDED)))
}

/// A scanner may not have the resolution that it was asked for; `scanimage` says which it took.
fn actual_dpi(said: &str, asked: u32) -> f64 {
    let rounded = |line: &str| {
        let (_, values) = line.split_once("rounded value of resolution from ")?;
        values.split_once(" to ")?.1.trim().parse().ok()
    };
    let found = said.lines().filter_map(rounded).next_back();
    found.filter(|dpi| *dpi > 0.0).unwrap_or(f64::from(asked))
}

/// Why a page cannot be kept.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error(
        "a page of more than {max} pixels: {}",
        "set its size by width_mm and height_mm"
    )]
    TooLong { max: usize },
    #[error("{0}")]
    Encoding(#[from] EncodingError),
}

fn of_page(order: &Order, error: PageError) -> SourceError {
    SourceError::failed(order.name, error)
}

/// A page that is being scanned.
struct Page {
    head: Head,
    /// Rows that have come.
    rows: usize,
    shrink: Shrink,
    /// Pixels that are in the file.
    pixels: usize,
    file: PageFile,
}

impl Page {
    fn begin(head: Head, dpi: f64) -> Result<Self, PageError> {
        let factor = factor(head.width, head.height, dpi);
        let shrink = Shrink::new(head.width, head.colours.pixel_bytes(), factor);
        let dpi = dpi / factor as f64;
        Ok(Self {
            head,
            rows: 0,
            file: PageFile::new(shrink.width(), head.colours, Some(dpi))?,
            shrink,
            pixels: 0,
        })
    }

    fn push(&mut self, row: &[u8]) -> Result<(), PageError> {
        self.rows += 1;
        if let Some(row) = self.shrink.push(row) {
            let max = limits::PAGE_PX_MAX;
            self.pixels += row.len() / self.head.colours.pixel_bytes();
            if self.pixels > max {
                return Err(PageError::TooLong { max });
            }
            self.file.push(row)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>, PageError> {
        if let Some(row) = self.shrink.last() {
            self.file.push(row)?;
        }
        Ok(self.file.finish()?)
    }
}

/// By how much a page is made coarser; one of unknown height is taken to be twice as high as wide.
fn factor(width: usize, height: Option<usize>, dpi: f64) -> usize {
    let height = height.unwrap_or(2 * width);
    let fits = |factor: &usize| {
        let pixels = width.div_ceil(*factor) * height.div_ceil(*factor);
        dpi / *factor as f64 <= f64::from(limits::SCAN_DPI_MAX) && pixels <= limits::PAGE_PX_MAX
    };
    (1..=limits::SIDE_PX_MAX)
        .find(fits)
        .unwrap_or(limits::SIDE_PX_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_made_as_coarse_as_it_must_be() {
        assert_eq!(factor(2_480, Some(3_508), 300.0), 1, "A4");
        assert_eq!(factor(4_961, Some(7_016), 600.0), 2, "A4 at 600 dpi");
        assert_eq!(factor(3_307, Some(4_677), 400.0), 2, "A4 at 400 dpi");
        assert_eq!(factor(3_508, Some(4_961), 300.0), 2, "A3 at 300 dpi");
        assert_eq!(factor(1_240, None, 150.0), 1);
        assert_eq!(factor(usize::from(u16::MAX), None, 75.0), 24);
    }

    #[test]
    fn the_scale_is_that_of_the_scanner() {
        let said = "scanimage: rounded value of resolution from 310 to 300\nScanning page 1";
        assert_eq!(actual_dpi(said, 310), 300.0);
        assert_eq!(actual_dpi("rounded value of br-x from 3 to 2", 310), 310.0);
        assert_eq!(
            actual_dpi("rounded value of resolution from 310 to nothing", 310),
            310.0
        );
    }
}
