//! Pages that are captured on demand: held against the gate, named, accepted, and delivered. The
//! camera is a program that puts out what lies in a file, as `rpicam-still` would.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use image::RgbImage;
use tempfile::TempDir;

use super::{Running, add_to_config, names, site, terminate, wait_for};

const REFERENCE: &str = "Muster-1961";

/// A site with a camera that sees `bed.jpg`, or nothing where there is none.
pub(super) fn site_with_camera() -> TempDir {
    let site = site();
    let program = site.path().join("camera");
    let text = "#!/bin/sh\ncat \"$(dirname \"$0\")/bed.jpg\"\n";
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let table = format!(
        "[[source]]\nname = \"bed\"\nsource = \"rpicam\"\nprogram = {program:?}\n\
         settle_ms = 0\nwait_ms = 20000\n"
    );
    add_to_config(site.path(), &table);
    site
}

pub(super) fn lay(site: &Path, page: &RgbImage) {
    page.save(site.join("bed.jpg")).unwrap();
}

pub(super) fn sample() -> RgbImage {
    let page = include_bytes!("../../pages/sample/page.jpg");
    image::load_from_memory(page).unwrap().to_rgb8()
}

/// A service that writes its log into a file.
pub(super) fn serve(site: &Path) -> Running {
    let log = std::fs::File::create(site.join("log")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_leadscan"))
        .args(["serve", "--config"])
        .arg(site.join("leadscan.toml"))
        .stderr(Stdio::from(log))
        .spawn();
    let service = Running(child.unwrap());
    wait_for("the socket", || site.join("spool/control").exists());
    service
}

fn capture(site: &Path, reference: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leadscan"));
    command
        .args(["capture", "--config"])
        .arg(site.join("leadscan.toml"));
    command.args(reference.iter().flat_map(|text| ["--reference", text]));
    command.output().unwrap()
}

#[track_caller]
pub(super) fn is_taken(site: &Path, reference: Option<&str>) {
    let output = capture(site, reference);
    let heard = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{heard}");
    assert!(String::from_utf8_lossy(&output.stdout).contains(" accepted"));
}

#[track_caller]
fn is_refused(site: &Path, why: &str) {
    let output = capture(site, None);
    let heard = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{heard}");
    assert!(heard.contains(why), "{heard}");
}

fn log(site: &Path) -> String {
    std::fs::read_to_string(site.join("log")).unwrap()
}

#[test]
fn a_page_is_captured_named_and_delivered() {
    let site = site_with_camera();
    lay(site.path(), &sample());
    let service = serve(site.path());
    is_taken(site.path(), Some(REFERENCE));
    // The same paper again: asked for, and taken when it is meant.
    let mut again = sample();
    again.put_pixel(0, 0, image::Rgb([9, 9, 9]));
    lay(site.path(), &again);
    is_refused(site.path(), "looks like the last page");
    is_taken(site.path(), None);
    let out = site.path().join("out");
    wait_for("both records", || names(&out).len() == 2);
    let record = |k: usize| {
        let name = names(&out).into_iter().nth(k).unwrap();
        let bytes = std::fs::read(out.join(name)).unwrap();
        leadscan::deliver::decode_native(&bytes).unwrap()
    };
    let origin = record(0).origin.unwrap();
    assert_eq!(origin.reference.as_deref(), Some(REFERENCE));
    assert_eq!((origin.device.as_str(), origin.models.len()), ("bench", 2));
    assert!(origin.accepted.monotonic_ms > 0 && origin.accepted.boot_id != [0; 16]);
    assert_eq!(record(1).origin.unwrap().reference, None);
    assert_eq!(record(0).layout.as_deref(), Some("3x4+1R"));
    assert_eq!(terminate(service), Some(0));
    let log = log(site.path());
    assert!(log.contains("delivered to files"), "{log}");
    assert!(
        !log.contains(REFERENCE),
        "whose page it is, is never logged: {log}"
    );
}

#[test]
fn what_is_no_page_is_told_while_it_lies_there() {
    let site = site_with_camera();
    lay(
        site.path(),
        &RgbImage::from_pixel(1600, 1200, image::Rgb([250; 3])),
    );
    let service = serve(site.path());
    is_refused(site.path(), "no ECG seen");
    is_refused(site.path(), "no ECG seen");
    lay(
        site.path(),
        &RgbImage::from_pixel(1600, 1200, image::Rgb([9; 3])),
    );
    is_refused(site.path(), "more light");
    lay(site.path(), &image::imageops::blur(&sample(), 9.0));
    is_refused(site.path(), "blurred");
    assert_eq!(names(&site.path().join("spool/jobs")).len(), 0);
    assert_eq!(terminate(service), Some(0));
}

#[test]
fn a_camera_that_fails_is_shown_and_found_again() {
    let site = site_with_camera();
    let service = serve(site.path());
    let status = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leadscan"));
        command
            .args(["status", "--config"])
            .arg(site.path().join("leadscan.toml"));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    wait_for("an error", || status().contains("bed does not work"));
    assert!(status().starts_with("bench 0.1.0: error"), "{}", status());
    lay(site.path(), &sample());
    wait_for("a good word", || status().starts_with("bench 0.1.0: ready"));
    is_taken(site.path(), None);
    assert_eq!(terminate(service), Some(0));
}
