//! Sources as the service meets them: pages come, and whatever the device does, an error comes in
//! time and the next call begins anew. Programs are stood in for by scripts that do what the real
//! ones do, well and badly; `scanimage` itself scans with SANE's backends `pnm` and `test`.

mod contract;
mod rpicam;
mod scanimage;
mod scanner;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use image::RgbImage;
use leadscan::capture::source::{Source, SourceError, Stop};
use leadscan::capture::{decode_in, header_in, source_named};

/// Longest that a source may take to stop, its program's end included.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A source of that name with these settings.
fn source(name: &str, settings: &str) -> Box<dyn Source> {
    let kind = source_named(name).unwrap();
    kind.make(toml::from_str(settings).unwrap()).unwrap()
}

/// All pages of one capture, and how it ended.
fn capture(source: &mut dyn Source) -> (Vec<Vec<u8>>, Result<(), SourceError>) {
    let mut pages = Vec::new();
    let ended = source.capture(&Stop::default(), &mut |page| {
        pages.push(page);
        ControlFlow::Continue(())
    });
    (pages, ended)
}

/// Why no page came.
#[track_caller]
fn failure(source: &mut dyn Source) -> SourceError {
    let (pages, ended) = capture(source);
    assert!(pages.is_empty(), "{} pages came", pages.len());
    ended.unwrap_err()
}

/// A page as the service reads it.
#[track_caller]
fn read(page: &[u8]) -> RgbImage {
    let header = header_in(page).unwrap();
    let plan = header.plan(1 << 30, 0).unwrap();
    let page = decode_in(page, &header, plan).unwrap();
    let (width, height) = (page.width() as u32, page.height() as u32);
    RgbImage::from_raw(width, height, page.rgb().to_vec()).unwrap()
}

/// A program of this text in `folder`. It is written by another process: this one may be beginning
/// programs of its own just now, which would hold it open for writing.
fn program(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    let script = "cat > \"$0\" && chmod 755 \"$0\"";
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", script]).arg(&path).stdin(Stdio::piped());
    let mut writing = shell.spawn().unwrap();
    let mut input = writing.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, format!("#!/bin/sh\n{text}").as_bytes()).unwrap();
    drop(input);
    assert!(writing.wait().unwrap().success());
    path
}

/// Waits until it is so, at most a while.
#[track_caller]
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The number that a program wrote to this file: its own, or a child's.
fn number_in(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.strip_suffix('\n').map(str::to_owned)
}

/// Nobody of that number is running any more.
fn is_gone(number: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{number}/stat")) {
        // Dead ones may wait for their parent, who is somebody else.
        Ok(text) => text
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z")),
        Err(_) => true,
    }
}
