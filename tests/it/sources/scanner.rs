//! A scanner whose `scanimage` is stood in for by a script.

use std::process::Output;

use leadscan::capture::source::ErrorKind;

use super::contract::{keeps_the_contract, stops_when_it_is_told};
use super::*;

/// The arguments of `scanimage` as far as they matter; `page N` waits for the RETURN key and then
/// gives page N, which comes on the input of `page`; `done` says that it ended well.
const SCANIMAGE: &str = r#"
set -f
exec 3<&0
echo "$@" >> "$here/arguments"
for argument; do
    case $argument in
        --formatted-device-list) cat "$here/list"; exit 0 ;;
        --dont-scan) exit 0 ;;
        --batch=*) batch=${argument#--batch=} ;;
        --batch-count=*) count=${argument#--batch-count=} ;;
    esac
done
pages=0
page() {
    [ $pages -lt $count ] || exit 0
    pages=$((pages + 1))
    echo "Press <RETURN> to continue." >&2
    read -r key <&3 || exit 0
    cat > "$(dirname "$batch")/$pages.part"
}
ended() { echo "Scanned page $pages. (scanner status = $1)" >&2; }
empty() { [ $pages -lt $count ] || exit 0; read -r key <&3 || exit 0; echo "scanimage: sane_start: Document feeder out of documents" >&2; exit 7; }
"#;

/// A folder with a program that does this; its settings.
fn site(does: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("list"),
        "acme:libusb:001:002|Acme|Flat 1|flatbed\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("page.pnm"), pnm(80, 100, 100)).unwrap();
    let text = format!("here='{}'\n{SCANIMAGE}\n{does}\n", folder.path().display());
    let path = program(folder.path(), "scanimage", &text);
    (folder, format!("program = {path:?}\n"))
}

/// A picture that says it has `height` rows, and has `rows`.
fn pnm(width: usize, height: i64, rows: usize) -> Vec<u8> {
    let head = format!("P6\n# SANE data follows\n{width} {height}\n255\n");
    [head.into_bytes(), pixels(width, rows)].concat()
}

fn pixels(width: usize, rows: usize) -> Vec<u8> {
    let pixel = |x: usize, y: usize| [(3 * x) as u8, (2 * y) as u8, (x ^ y) as u8];
    (0..width * rows)
        .flat_map(|k| pixel(k % width, k / width))
        .collect()
}

const PAGE: &str = "page < \"$here/page.pnm\"\n";

#[track_caller]
fn check(does: &str, kind: ErrorKind, words: &str) {
    let (_folder, settings) = site(does);
    let error = failure(&mut *source("scanner", &settings));
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_scanner_keeps_the_contract() {
    let (folder, settings) = site(&format!("{PAGE}ended 5"));
    let mut scanner = source("scanner", &settings);
    keeps_the_contract(&mut *scanner);
    let page = read(&capture(&mut *scanner).0[0]);
    let expected = RgbImage::from_raw(80, 100, pixels(80, 100)).unwrap();
    assert!(page == expected);
    let arguments = std::fs::read_to_string(folder.path().join("arguments")).unwrap();
    let lists = arguments
        .lines()
        .filter(|line| line.contains("--formatted"))
        .count();
    assert_eq!(
        lists, 1,
        "once it is found it is not looked for: {arguments}"
    );
    let scan = "--device-name acme:libusb:001:002 --mode Color --resolution 300";
    assert!(arguments.contains(scan), "{arguments}");
}

#[test]
fn a_feeder_keeps_the_contract() {
    let (_folder, settings) = site(&format!(
        "{PAGE}ended 5\n{PAGE}ended 5\n{PAGE}ended 5\nempty"
    ));
    let mut scanner = source("scanner", &format!("{settings}pages = 'until_empty'"));
    keeps_the_contract(&mut *scanner);
    assert_eq!(capture(&mut *scanner).0.len(), 3);
}

#[test]
fn a_page_is_safe_before_the_next_is_drawn_in() {
    let (folder, settings) = site(&format!(
        "{PAGE}ended 5; touch \"$here/first\"\n{PAGE}ended 5; touch \"$here/second\"\nempty"
    ));
    let mut scanner = source("scanner", &format!("{settings}pages = 'until_empty'"));
    let second = folder.path().join("second");
    let mut seen = Vec::new();
    let ended = scanner.capture(&Stop::default(), &mut |_| {
        wait_for("the first page is done", || {
            folder.path().join("first").exists()
        });
        seen.push(second.exists());
        ControlFlow::Continue(())
    });
    assert_eq!(ended, Ok(()));
    assert!(!seen[0] && seen.len() == 2, "{seen:?}");
}

#[test]
fn the_height_that_was_announced_is_not_believed() {
    for (height, rows) in [(-1, 90), (0, 90), (100, 90), (70, 90)] {
        let (folder, settings) = site(&format!("{PAGE}ended 5"));
        std::fs::write(folder.path().join("page.pnm"), pnm(80, height, rows)).unwrap();
        let (pages, ended) = capture(&mut *source("scanner", &settings));
        assert_eq!(ended, Ok(()));
        assert_eq!(read(&pages[0]).dimensions(), (80, 90), "{height}");
    }
}

#[test]
fn what_goes_wrong_with_a_scanner_is_said() {
    use ErrorKind::{Operator, Technician};
    let dies =
        |words: &str| format!("read -r key; echo 'scanimage: sane_start: {words}' >&2; exit 9");
    check("empty", Operator, "put the pages in");
    check(
        &dies("Document feeder jammed"),
        Operator,
        "take the paper out",
    );
    check(&dies("Scanner cover is open"), Operator, "close it");
    check(&dies("Device busy"), Technician, "another program");
    check(
        &dies("Access to resource has been denied"),
        Technician,
        "group scanner",
    );
    check(&dies("Error during device I/O"), Technician, "cable");
    check(
        "head -c 3000 \"$here/page.pnm\" | page; ended 9; exit 9",
        Technician,
        "exit status: 9",
    );
    check(
        "head -c 3000 \"$here/page.pnm\" | page; kill -9 $$",
        Technician,
        "signal: 9",
    );
    check("echo 'no picture' | page; ended 5", Technician, "no PNM");
    check(
        "printf 'P6\\n30000 10\\n255\\n' | page; ended 5",
        Technician,
        "30000 px wide",
    );
    check("exit 0", Technician, "exit status: 0");
}

#[test]
fn pages_before_a_jam_are_safe() {
    let jam = "head -c 3000 \"$here/page.pnm\" | page\n\
               echo 'scanimage: sane_read: Document feeder jammed' >&2\nended 6\nexit 6";
    let (_folder, settings) = site(&format!("{PAGE}ended 5\n{PAGE}ended 5\n{jam}"));
    let mut scanner = source("scanner", &format!("{settings}pages = 'until_empty'"));
    let (pages, ended) = capture(&mut *scanner);
    assert_eq!(pages.len(), 2);
    let error = ended.unwrap_err();
    assert!(
        matches!(&error, SourceError::Operator { advice } if advice.contains("jammed")),
        "{error}"
    );
}

#[test]
fn an_endless_page_is_ended() {
    let endless = "(printf 'P6\\n2000 -1\\n255\\n'; cat /dev/zero) | page";
    check(endless, ErrorKind::Technician, "16000000 pixels");
}

#[test]
fn a_scanner_that_says_no_more_is_silent() {
    let hangs =
        "echo $$ > \"$here/number\"\n(head -c 3000 \"$here/page.pnm\"; exec sleep 1000) | page";
    let (folder, settings) = site(hangs);
    let began = Instant::now();
    let error = failure(&mut *source("scanner", &format!("{settings}wait_ms = 400")));
    assert!(
        matches!(error, SourceError::Silent { waited_ms: 400, .. }),
        "{error}"
    );
    assert!(began.elapsed() < STOP_MAX);
    let number = number_in(&folder.path().join("number")).unwrap();
    wait_for("the program ends", || is_gone(&number));
}

#[test]
fn a_scanner_stops_when_it_is_told() {
    let hangs =
        "echo $$ > \"$here/number\"\n(head -c 3000 \"$here/page.pnm\"; exec sleep 1000) | page";
    let (folder, settings) = site(hangs);
    let number = folder.path().join("number");
    stops_when_it_is_told(&mut *source("scanner", &settings), &number);
}

#[test]
fn which_scanner_is_said_or_it_is_an_error() {
    let (folder, settings) = site(&format!("{PAGE}ended 5"));
    let both = "acme:1|Acme|Flat 1|flatbed\nacme:2|Acme|Flat 1|flatbed\nother:3|Other|X|flatbed\n";
    std::fs::write(folder.path().join("list"), both).unwrap();
    let check = |more: &str, words: &str| {
        let (pages, ended) = capture(&mut *source("scanner", &format!("{settings}{more}")));
        let said = ended.map_or_else(
            |error| error.to_string(),
            |()| format!("{} page", pages.len()),
        );
        assert!(said.contains(words), "{more}: {said}");
    };
    check("", "several fit");
    check("vendor = 'acme'", "acme:2: Acme Flat 1");
    check("vendor = 'acme'\nserial = ':2'", "1 page");
    check("model = 'X'", "1 page");
    check("model = 'Y'", "not there");
    check("device = 'net:unlisted'", "1 page");
}

/// Scans A4 of noise at 600 dpi and says what that took; run in a process of its own.
#[test]
#[ignore = "run by the test below"]
fn a_large_scan() {
    let Ok(settings) = std::env::var("LARGE_SCAN") else {
        return;
    };
    let mut scanner = source("scanner", &settings);
    let before = peak_kib();
    let (mut bytes, mut size) = (0, (0, 0));
    let ended = scanner.capture(&Stop::default(), &mut |page| {
        let header = header_in(&page).unwrap();
        (bytes, size) = (page.len(), (header.width, header.height));
        ControlFlow::Continue(())
    });
    assert_eq!(ended, Ok(()));
    println!(
        "large: {} KiB, page {bytes} bytes {size:?}",
        peak_kib() - before
    );
}

/// The most that this process has held at once.
fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_large_scan_is_never_in_memory() {
    let noise =
        "(printf 'P6\\n4961 7016\\n255\\n'; head -c 104419128 /dev/urandom) | page; ended 5";
    let (_folder, settings) = site(noise);
    let settings = format!("{settings}resolution_dpi = 600");
    let mut again = Command::new(std::env::current_exe().unwrap());
    let again = again.args(["a_large_scan", "--ignored", "--nocapture"]);
    let Output { stdout, status, .. } = again.env("LARGE_SCAN", settings).output().unwrap();
    let said = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{said}");
    let line = said
        .lines()
        .find_map(|line| line.split_once("large: ").map(|(_, line)| line))
        .unwrap();
    println!("{line}");
    assert!(line.ends_with("(2481, 3508)"), "{line}");
    let numbers: Vec<usize> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let beside = numbers[0] as i64 - numbers[1] as i64 / 1024;
    // The page's file grows by doubling: at most twice its size while it is copied.
    assert!(
        beside < 40 << 10,
        "{beside} KiB beside the page of {} bytes",
        numbers[1]
    );
}
