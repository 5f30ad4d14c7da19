//! Records to files, and the files read again.

use std::path::Path;
use std::process::Command;

use leadscan::deliver::{
    Account, Delivery, FORMATS, Format, GivenOptions, Source, Work, decode_native, deliver,
    deliver_overlay, format_named,
};
use leadscan::labels::Lead;
use leadscan::page::RawImage;
use leadscan::record::{Finding, Record, Role, Severity, Status, TraceRecord};
use leadscan::units::{Hertz, Millivolt, MmPerMillivolt, Seconds};

fn account() -> Account {
    let options = GivenOptions {
        fs_hz: 500.0,
        speed_mm_s: None,
        gain_mm_mv: None,
        layout: None,
        formats: vec!["csv".to_owned()],
        overlay: false,
    };
    let (source, work) = (Source::default(), Work::default());
    Account {
        source,
        options,
        models: Vec::new(),
        work,
        error: None,
    }
}

/// Whole microvolts, so that every format gives the same numbers; a gap in the middle.
fn trace(lead: Lead, role: Role, start_s: f32, seconds: f32, scale: f32) -> TraceRecord {
    let sample = |k: usize| {
        let value = ((k as f32 / 20.0).sin() * 1000.0 * scale).round() / 1000.0;
        (!(100..120).contains(&k)).then_some(Millivolt(value))
    };
    TraceRecord {
        lead,
        role,
        start: Seconds(start_s),
        samples: (0..(seconds * 500.0) as usize).map(sample).collect(),
        deviations: None,
        corners_px: [[10.0, 10.0], [90.0, 10.0], [90.0, 40.0], [10.0, 40.0]],
        line_px: vec![[10.0, 25.0], [90.0, 25.0]],
        quality: 0.9,
        quality_db: None,
        clues: None,
        unread: None,
        leaps: None,
        spikes: Vec::new(),
        coverage: 0.98,
        gain: MmPerMillivolt(10.0),
    }
}

fn record() -> Record {
    Record {
        status: Status::Ok,
        findings: Vec::new(),
        width_px: 100,
        height_px: 100,
        layout: Some("3x4+1R".to_owned()),
        calibration: None,
        sample_rate: Hertz(500.0),
        duration: Seconds(10.0),
        traces: vec![
            trace(Lead::I, Role::Panel, 0.0, 2.5, 1.0),
            trace(Lead::II, Role::Panel, 0.0, 2.5, 0.5),
            trace(Lead::MinusAvr, Role::Panel, 2.5, 2.5, 0.25),
            // Too large for 1000 units a millivolt.
            trace(Lead::V1, Role::Panel, 5.0, 2.5, 40.0),
            trace(Lead::II, Role::Rhythm, 0.0, 10.0, 0.5),
        ],
        labels: Vec::new(),
        line_width: None,
        quality_db: None,
        origin: None,
    }
}

fn rejected() -> Record {
    let mut record = record();
    record.status = Status::Rejected;
    record.layout = None;
    record.traces.clear();
    let message = "no labels were found".to_owned();
    record
        .findings
        .push(Finding::new(Severity::Reject, "no_labels", None, message));
    record
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn deliver_to(folder: &Path, record: &Record, formats: &[&dyn Format]) {
    let account = account();
    deliver(
        &Delivery {
            id: "page",
            record,
            account: &account,
        },
        formats,
        folder,
    )
    .unwrap();
}

#[test]
fn only_what_was_asked_for_is_written() {
    let folder = tempfile::tempdir().unwrap();
    deliver_to(folder.path(), &record(), &[format_named("csv").unwrap()]);
    assert_eq!(names_in(folder.path()), ["page.csv"]);
    deliver_to(folder.path(), &record(), &FORMATS);
    let all = ["page.csv", "page.dat", "page.hea", "page.json", "page.lsr"];
    assert_eq!(names_in(folder.path()), all);
}

#[test]
fn a_rejected_page_has_its_report_and_no_signals_of_an_earlier_run() {
    let folder = tempfile::tempdir().unwrap();
    deliver_to(folder.path(), &record(), &FORMATS);
    deliver_to(folder.path(), &rejected(), &[format_named("csv").unwrap()]);
    assert_eq!(names_in(folder.path()), ["page.json"]);
    let report = std::fs::read_to_string(folder.path().join("page.json")).unwrap();
    assert!(report.contains("\"status\": \"rejected\""), "{report}");
    assert!(report.contains("no labels were found"), "{report}");
}

#[test]
fn the_csv_has_twelve_leads_for_the_whole_recording() {
    let folder = tempfile::tempdir().unwrap();
    deliver_to(folder.path(), &record(), &FORMATS);
    let text = std::fs::read_to_string(folder.path().join("page.csv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(
        rows[0].join(","),
        "time_s,I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6"
    );
    assert_eq!(rows.len(), 1 + 5000);
    assert!(rows.iter().all(|row| row.len() == 13));
    assert_eq!((rows[1][0], rows[5000][0]), ("0.000", "9.998"));
    // II from its rhythm strip, aVR from -aVR at 2.5 s, I over after its panel.
    assert_eq!(
        rows[1 + 4000][2],
        format!("{:.4}", ((200.0_f32).sin() * 500.0).round() / 1000.0)
    );
    assert_eq!(
        rows[1 + 1250 + 31][4],
        format!("{:.4}", -((1.55_f32).sin() * 250.0).round() / 1000.0)
    );
    assert_eq!((rows[1 + 1250][1], rows[1 + 110][1]), ("", ""));
}

#[test]
fn the_native_record_holds_everything() {
    let folder = tempfile::tempdir().unwrap();
    deliver_to(folder.path(), &record(), &FORMATS);
    let bytes = std::fs::read(folder.path().join("page.lsr")).unwrap();
    assert_eq!(decode_native(&bytes).unwrap(), record());
}

#[test]
fn a_folder_that_is_not_there_is_an_error_with_its_name() {
    let (record, account) = (record(), account());
    let delivery = Delivery {
        id: "page",
        record: &record,
        account: &account,
    };
    let error = deliver(&delivery, &FORMATS, Path::new("/nowhere")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/page.csv cannot be written: "),
        "{error}"
    );
}

#[test]
fn an_overlay_is_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let (record, account) = (record(), account());
    let image = RawImage::new(100, 100, vec![255; 30_000]).unwrap();
    let delivery = Delivery {
        id: "page",
        record: &record,
        account: &account,
    };
    let path = deliver_overlay(&delivery, &image, folder.path()).unwrap();
    assert_eq!(names_in(folder.path()), ["page.overlay.png"]);
    let overlay = image::open(path).unwrap();
    assert!(overlay.width() >= 1200 && overlay.height() > 1000);
}

/// Needs a Python with the wfdb package: `LEADSCAN_PYTHON`, else `python3`.
#[test]
fn the_wfdb_record_is_read_by_the_wfdb_package() {
    let python = std::env::var("LEADSCAN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let there = Command::new(&python).args(["-c", "import wfdb"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped 1: {python} has no wfdb package");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    deliver_to(folder.path(), &record(), &FORMATS);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/check_wfdb.py");
    let output = Command::new(&python)
        .arg(script)
        .arg(folder.path().join("page"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{error}");
    assert_eq!(
        said.trim(),
        "page: 12 leads, 5000 samples at 500 Hz, as in the CSV"
    );
}
