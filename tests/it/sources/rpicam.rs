//! A Raspberry Pi's camera, stood in for by a script.

use leadscan::capture::source::ErrorKind;

use super::contract::{keeps_the_contract, stops_when_it_is_told};
use super::*;

/// A folder with a picture in it and a program that does this; its settings.
fn site(does: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let picture = RgbImage::from_fn(400, 300, |x, y| image::Rgb([x as u8, y as u8, 128]));
    picture.save(folder.path().join("page.jpg")).unwrap();
    let text = format!(
        "here='{}'\necho \"$@\" > \"$here/arguments\"\n{does}\n",
        folder.path().display()
    );
    let path = program(folder.path(), "rpicam-still", &text);
    let settings = format!("program = {path:?}\nsettle_ms = 0\nwait_ms = 60_000");
    (folder, settings)
}

#[track_caller]
fn check(does: &str, kind: ErrorKind, words: &str) {
    let (_folder, settings) = site(does);
    let error = failure(&mut *source("rpicam", &settings));
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_pi_camera_keeps_the_contract() {
    let (folder, settings) = site("cat \"$here/page.jpg\"");
    let mut camera = source("rpicam", &settings);
    keeps_the_contract(&mut *camera);
    let (pages, _) = capture(&mut *camera);
    assert_eq!(
        pages,
        [std::fs::read(folder.path().join("page.jpg")).unwrap()]
    );
    let arguments = std::fs::read_to_string(folder.path().join("arguments")).unwrap();
    assert!(
        arguments.contains("--encoding jpg") && arguments.contains("--output -"),
        "{arguments}"
    );
}

#[test]
fn what_goes_wrong_with_a_pi_camera_is_said() {
    use ErrorKind::Technician;
    check(
        "echo 'ERROR: *** no cameras available ***' >&2; exit 255",
        Technician,
        "ribbon cable",
    );
    check(
        "cat \"$here/page.jpg\"; echo first >&2; echo last >&2; exit 3",
        Technician,
        "exit status: 3: first; last",
    );
    check("head -c 2000 \"$here/page.jpg\"", Technician, "cut off");
    check(
        "tail -c +300 \"$here/page.jpg\"",
        Technician,
        "not a picture",
    );
    check("true", Technician, "0 bytes");
    check("kill -9 $$", Technician, "signal: 9");
    check(
        "head -c 100000 /dev/zero >&2; cat \"$here/page.jpg\"; exit 1",
        Technician,
        "exit status: 1",
    );
}

#[test]
fn endless_output_is_ended() {
    check(
        "exec cat /dev/zero",
        ErrorKind::Technician,
        "more than 67108864 bytes",
    );
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children() {
    let hangs = "trap '' TERM\nsleep 1000 & echo $! > \"$here/child\"\necho $$ > \"$here/number\"\n\
                 while :; do sleep 1000; done";
    let (folder, settings) = site(hangs);
    let settings = settings.replace("60_000", "300");
    let began = Instant::now();
    let error = failure(&mut *source("rpicam", &settings));
    assert!(
        matches!(error, SourceError::Silent { waited_ms: 300, .. }),
        "{error}"
    );
    assert!(began.elapsed() < STOP_MAX);
    for name in ["child", "number"] {
        let number = number_in(&folder.path().join(name)).unwrap();
        wait_for("the program ends", || is_gone(&number));
    }
}

#[test]
fn a_pi_camera_stops_when_it_is_told() {
    let (folder, settings) = site("echo $$ > \"$here/number\"\nexec sleep 1000");
    let number = folder.path().join("number");
    stops_when_it_is_told(&mut *source("rpicam", &settings), &number);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let mut camera = source("rpicam", "program = '/nowhere/rpicam-still'");
    let error = failure(&mut *camera);
    assert!(matches!(error, SourceError::Missing { .. }), "{error}");
    assert!(
        error.to_string().contains("/nowhere/rpicam-still"),
        "{error}"
    );
}
