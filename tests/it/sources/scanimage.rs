//! The real `scanimage` (Debian's sane-utils) with SANE's own stand-ins for scanners: `pnm` scans a
//! picture file pixel for pixel, `test` has a feeder of ten pages and all that can go wrong.

use leadscan::capture::source::ErrorKind;

use super::contract::keeps_the_contract;
use super::*;

/// A folder with a configuration of SANE that has these two backends alone, and a program that is
/// scanimage with it; its settings. `None` where there is no scanimage.
fn site() -> Option<(tempfile::TempDir, String)> {
    let is_there = Command::new("scanimage").arg("--version").output().is_ok();
    if !is_there {
        assert!(
            std::env::var_os("LEADSCAN_CI").is_none(),
            "no scanimage: scripts/install test"
        );
        println!("SKIPPED, no scanimage: scripts/install test");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dll.conf"), "test\npnm\n").unwrap();
    let text = format!(
        "SANE_CONFIG_DIR='{}' exec scanimage \"$@\"\n",
        folder.path().display()
    );
    let path = program(folder.path(), "scanimage", &text);
    Some((folder, format!("program = {path:?}\n")))
}

const SMALL: &str = "device = 'test:0'\nresolution_dpi = 100\nwidth_mm = 60\nheight_mm = 80\n";

#[test]
fn our_own_page_is_scanned_pixel_for_pixel() {
    let Some((folder, settings)) = site() else {
        return;
    };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/sample/page.jpg");
    let page = image::open(page).unwrap().to_rgb8();
    let picture = folder.path().join("page.ppm");
    let head = format!("P6\n{} {}\n255\n", page.width(), page.height());
    std::fs::write(&picture, [head.as_bytes(), page.as_raw()].concat()).unwrap();
    let settings =
        format!("{settings}device = 'pnm:0'\nmode = ''\noptions = ['--filename', {picture:?}]");
    let mut scanner = source("scanner", &settings);
    let (pages, ended) = capture(&mut *scanner);
    assert_eq!(ended, Ok(()));
    let found = read(&pages[0]);
    assert_eq!(found.dimensions(), page.dimensions());
    assert!(found == page, "other pixels");
    let png = png::Decoder::new(std::io::Cursor::new(&pages[0]))
        .read_info()
        .unwrap();
    assert_eq!(png.info().pixel_dims.unwrap().xppu, 11_811, "300 dpi");

    let settings = settings.replace("['--filename'", "['--hand-scanner=yes', '--filename'");
    let (pages, ended) = capture(&mut *source("scanner", &settings));
    assert_eq!(ended, Ok(()));
    assert!(read(&pages[0]) == page, "of unknown height: other pixels");
}

#[test]
fn the_test_scanner_keeps_the_contract() {
    let Some((_folder, settings)) = site() else {
        return;
    };
    let mut scanner = source(
        "scanner",
        &format!("{settings}{SMALL}options = ['--test-picture', 'Grid']"),
    );
    keeps_the_contract(&mut *scanner);
    let said = scanner.check().unwrap();
    assert_eq!(said, "test:0, 100 dpi");
    let gray = source("scanner", &format!("{settings}{SMALL}mode = 'Gray'")).check();
    assert!(gray.is_ok(), "{gray:?}");
}

#[test]
fn a_feeder_is_emptied() {
    let Some((_folder, settings)) = site() else {
        return;
    };
    let more = "paper_source = 'Automatic Document Feeder'\npages = 'until_empty'";
    let mut scanner = source("scanner", &format!("{settings}{SMALL}{more}"));
    for _ in 0..2 {
        let (pages, ended) = capture(&mut *scanner);
        assert_eq!((pages.len(), ended), (10, Ok(())));
    }
    let mut count = 0;
    let ended = scanner.capture(&Stop::default(), &mut |_| {
        count += 1;
        if count < 3 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    assert_eq!((count, ended), (3, Ok(())));
}

#[test]
fn a_scan_above_300_dpi_is_averaged_to_it() {
    let Some((_folder, settings)) = site() else {
        return;
    };
    let settings = format!("{settings}{}", SMALL.replace("100", "600"));
    let (pages, ended) = capture(&mut *source("scanner", &settings));
    assert_eq!(ended, Ok(()));
    let (width, height) = read(&pages[0]).dimensions();
    assert!(
        (705..=710).contains(&width) && (942..=946).contains(&height),
        "{width} x {height}"
    );
    let png = png::Decoder::new(std::io::Cursor::new(&pages[0]))
        .read_info()
        .unwrap();
    assert_eq!(png.info().pixel_dims.unwrap().xppu, 11_811, "300 dpi");
}

/// What the scanner source says where the test scanner ends with a status. SANE's test backend
/// sometimes cancels its reader while that holds the allocator's lock, and then waits for it for
/// ever: that is ended, and told as a scanner that does not answer; here it is tried again.
fn failure_of_test_scanner(settings: &str, status: &str) -> SourceError {
    let options = format!("options = ['--read-return-value', 'SANE_STATUS_{status}']");
    let settings = format!("{settings}wait_ms = 5000\n{options}");
    let tries = (0..5).map(|_| failure(&mut *source("scanner", &settings)));
    let mut answered = tries.filter(|error| !error.to_string().contains("not answered"));
    answered.next().expect("SANE hangs every time")
}

#[test]
fn what_sane_says_is_understood() {
    let Some((_folder, settings)) = site() else {
        return;
    };
    use ErrorKind::{Operator, Technician};
    for (status, kind, words) in [
        ("JAMMED", Operator, "jammed"),
        ("COVER_OPEN", Operator, "close it"),
        ("NO_DOCS", Operator, "put the pages in"),
        ("DEVICE_BUSY", Technician, "another program"),
        ("ACCESS_DENIED", Technician, "group scanner"),
        ("IO_ERROR", Technician, "cable"),
    ] {
        let error = failure_of_test_scanner(&format!("{settings}{SMALL}"), status);
        assert_eq!(error.kind(), kind, "{status}: {error}");
        assert!(error.to_string().contains(words), "{status}: {error}");
    }
    for (more, words) in [
        ("device = 'test:9'", "SANE finds it no more"),
        ("device = 'test:0'\nmode = 'Purple'", "--help"),
        ("device = 'test:0'\noptions = ['--no-such=1']", "--help"),
        ("model = 'frontend-tester'", "several fit"),
        ("model = 'Flat 1'", "not there"),
    ] {
        let mut scanner = source("scanner", &format!("{settings}{more}"));
        let error = failure(&mut *scanner);
        assert!(error.to_string().contains(words), "{more}: {error}");
        assert_eq!(scanner.check().unwrap_err(), error, "{more}");
    }
}
