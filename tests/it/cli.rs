//! The command as an operator or a script meets it. The pages are broken ones: what becomes of good
//! ones is told by `tests/pages/`.

use std::path::Path;
use std::process::{Command, Output};

use leadscan::limits;
use tempfile::TempDir;

fn leadscan(folder: &TempDir, words: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_leadscan");
    Command::new(program)
        .current_dir(folder)
        .args(words)
        .output()
        .unwrap()
}

fn folder_of(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

#[track_caller]
fn check(output: &Output, code: i32, stderr: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for words in stderr {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}

fn exists(folder: &TempDir, path: &str) -> bool {
    folder.path().join(path).exists()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A grey picture of noise-free paper: it can be read, and there is no ECG on it.
fn blank_png() -> Vec<u8> {
    let picture = image::RgbImage::from_pixel(320, 240, image::Rgb([240; 3]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

#[test]
fn usage_errors_end_with_2_and_touch_nothing() {
    let folder = folder_of(&[("a/x.png", b"?"), ("b/x.jpg", b"?"), ("page 1.png", b"?")]);
    check(&leadscan(&folder, &[]), 2, &["Usage"]);
    check(&leadscan(&folder, &["digitize", "a/x.png"]), 2, &["--out"]);
    check(
        &leadscan(
            &folder,
            &["digitize", "a/x.png", "--out", "o", "--fs", "50"],
        ),
        2,
        &["--fs"],
    );
    let same = leadscan(&folder, &["digitize", "a", "b", "--out", "o"]);
    check(
        &same,
        2,
        &["a/x.png", "b/x.jpg", "would both be written as \"x\""],
    );
    let name = leadscan(
        &folder,
        &["digitize", "page 1.png", "--out", "o", "--format", "wfdb"],
    );
    check(&name, 2, &["\"page 1\" cannot be written as wfdb"]);
    let resume = leadscan(
        &folder,
        &["digitize", "a", "--out", "o", "--format", "csv", "--resume"],
    );
    check(&resume, 2, &["add json to --format"]);
    let models = leadscan(
        &folder,
        &["digitize", "a", "--out", "o", "--models", "none"],
    );
    check(&models, 2, &["--models", "none/labels.onnx"]);
    assert!(!exists(&folder, "o"));
}

#[test]
fn every_broken_page_is_named_with_its_reason_and_reported() {
    let folder = folder_of(&[
        ("in/empty.png", b""),
        ("in/text.jpg", b"hello, world"),
        ("in/cut.jpg", b"\xFF\xD8\xFF\xE0\0\x10JFIF"),
        ("in/doc.pdf", b"%PDF-1.4"),
        ("in/huge.ppm", b"P6\n100000 100000\n255\n"),
        ("none/notes.txt", b""),
    ]);
    let output = leadscan(
        &folder,
        &["digitize", "in", "none", "--out", "out", "--json"],
    );
    check(
        &output,
        1,
        &[
            "in/empty.png: the file is empty",
            "in/text.jpg: not a picture",
            "in/cut.jpg: the file is cut off",
            "pdftoppm -r 300 -png in/doc.pdf in/doc",
            "in/huge.ppm: picture of 100000 x 100000 px",
            "none: the folder holds no pages",
            "6 pages: 0 ok, 0 with warnings, 0 rejected, 6 failed",
        ],
    );
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 6);
    assert!(
        lines
            .iter()
            .all(|line| line["outcome"] == "failed" && line["status"] == "rejected")
    );
    for id in ["empty", "text", "cut", "doc", "huge"] {
        let report = json(&folder.path().join(format!("out/{id}.json")));
        assert_eq!(report["status"], "rejected");
        assert_eq!(report["findings"][0]["code"], "unreadable");
        assert!(report["error"].is_string());
    }
    assert_eq!(
        std::fs::read_dir(folder.path().join("out"))
            .unwrap()
            .count(),
        5
    );
}

#[test]
fn a_page_without_an_ecg_is_rejected_and_what_was_there_of_it_is_gone() {
    let blank = blank_png();
    let folder = folder_of(&[
        ("blank.png", &blank),
        ("out/blank.csv", b"1"),
        ("out/blank.lsr", b"1"),
    ]);
    let output = leadscan(
        &folder,
        &["digitize", "blank.png", "--out", "out", "--overlay"],
    );
    check(&output, 1, &["blank.png: rejected: "]);
    assert!(output.stdout.is_empty());
    assert!(!exists(&folder, "out/blank.csv") && !exists(&folder, "out/blank.lsr"));
    assert!(exists(&folder, "out/blank.overlay.png"));
    let report = json(&folder.path().join("out/blank.json"));
    assert_eq!(
        (&report["status"], &report["error"]),
        (&"rejected".into(), &().into())
    );
    assert_eq!(report["page"]["width_px"], 320);
    assert!(
        report["peak_memory_mib"]
            .as_f64()
            .is_some_and(|mib| mib > 1.0 && mib <= 128.0)
    );
    assert!(
        report["stages"]
            .as_array()
            .is_some_and(|stages| stages.len() >= 2)
    );
}

#[test]
fn resume_does_again_only_what_changed() {
    let blank = blank_png();
    let folder = folder_of(&[("blank.png", &blank)]);
    let outcome = |more: &[&str]| {
        let words = [
            "digitize",
            "blank.png",
            "--out",
            "out",
            "--json",
            "--resume",
        ];
        let output = leadscan(&folder, &[&words, more].concat());
        let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (
            line["outcome"].as_str().unwrap().to_owned(),
            output.status.code(),
        )
    };
    let (delivered, skipped) = ("delivered".to_owned(), "skipped".to_owned());
    assert_eq!(outcome(&[]), (delivered.clone(), Some(1)));
    assert_eq!(outcome(&[]), (skipped.clone(), Some(1)));
    assert_eq!(outcome(&["--fs", "250"]), (delivered.clone(), Some(1)));
    assert_eq!(outcome(&["--fs", "250"]), (skipped, Some(1)));
    std::fs::write(folder.path().join("out/blank.json"), "{\"status\":").unwrap();
    assert_eq!(outcome(&["--fs", "250"]), (delivered, Some(1)));
}

#[test]
fn a_budget_too_small_is_said_with_its_numbers() {
    let blank = blank_png();
    let folder = folder_of(&[("blank.png", &blank)]);
    let words = [
        "digitize",
        "blank.png",
        "--out",
        "out",
        "--memory-budget",
        "1",
    ];
    check(
        &leadscan(&folder, &words),
        1,
        &["MiB of memory, 0 MiB are left", "raise the memory budget"],
    );
}

#[test]
fn stages_are_told_as_they_begin() {
    let folder = folder_of(&[("blank.png", &blank_png())]);
    let command = ["digitize", "blank.png", "--out", "out", "--threads", "1"];
    let output = leadscan(&folder, &[&command[..], &["--stages"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let stages = said.lines().filter_map(|line| line.strip_prefix("stage "));
    let stages: Vec<&str> = stages.filter(|stage| *stage != "none").collect();
    assert_eq!(stages[..3], ["read", "labels", "grid"], "{said}");
    let quiet = leadscan(&folder, &command);
    assert!(!String::from_utf8_lossy(&quiet.stderr).contains("stage "));
}

#[test]
fn a_result_that_cannot_be_written_fails_its_page() {
    let blank = blank_png();
    let folder = folder_of(&[("blank.png", &blank), ("out/blank.json/in-the-way", b"")]);
    let output = leadscan(&folder, &["digitize", "blank.png", "--out", "out"]);
    check(&output, 1, &["out/blank.json cannot be written"]);
    let file_as_folder = leadscan(&folder, &["digitize", "blank.png", "--out", "blank.png"]);
    check(&file_as_folder, 2, &["blank.png cannot be made"]);
}

#[test]
fn a_page_of_twelve_megapixels_stays_within_the_memory_budget() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/sample/page.jpg");
    let page = image::open(sample).unwrap().to_rgb8();
    let size = (4640, 4640 * page.height() / page.width());
    let large = image::imageops::resize(&page, size.0, size.1, image::imageops::Triangle);
    let folder = folder_of(&[]);
    large.save(folder.path().join("large.jpg")).unwrap();
    let command = ["digitize", "large.jpg", "--out", "out", "--threads", "2"];
    let output = leadscan(&folder, &command);
    check(&output, 0, &[]);
    let report = json(&folder.path().join("out/large.json"));
    let side = |name: &str| report["page"][name].as_u64().unwrap();
    assert!(
        side("width_px") * side("height_px") > 11_500_000,
        "{report}"
    );
    let peak = report["peak_memory_mib"].as_f64().unwrap();
    println!("12 MP: {peak:.0} MiB");
    assert!(peak <= 128.0, "{peak} MiB");
    let heap = report["peak_heap_mib"].as_f64().unwrap();
    let page_bytes = 3 * side("width_px") * side("height_px");
    let ledger = limits::NETS_BYTES + limits::digitize_bytes(2);
    let ledger = (page_bytes + ledger as u64) as f64 / f64::from(1 << 20);
    println!("heap: {heap:.1} MiB of {ledger:.1} in the ledger");
    assert!(
        heap <= ledger && heap > 0.7 * ledger,
        "{heap} of {ledger} MiB"
    );
}
