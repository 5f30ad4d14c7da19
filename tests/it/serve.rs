//! The service as a process: what it accepted arrives, whatever happens to it in between.

mod captures;
mod deadly;
mod disk;
mod endurance;
mod reach;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a configuration, a folder to watch and one for records.
fn site() -> TempDir {
    let site = tempfile::tempdir().unwrap();
    for folder in ["in", "out"] {
        std::fs::create_dir(site.path().join(folder)).unwrap();
    }
    let path = |name: &str| site.path().join(name).display().to_string();
    let config = format!(
        "device = \"bench\"\n[spool]\nfolder = {:?}\nfree_mib_min = 1\n[watch]\nfolder = {:?}\n\
         settle_ms = 0\n[[destination]]\nname = \"files\"\nlink = \"folder\"\nfolder = {:?}\n",
        path("spool"),
        path("in"),
        path("out")
    );
    std::fs::write(site.path().join("leadscan.toml"), config).unwrap();
    site
}

/// A service that ends with its test, at the latest.
struct Running(Child);

impl std::ops::Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(site: &Path) -> Running {
    serve_with(site, &[])
}

fn serve_with(site: &Path, arguments: &[&str]) -> Running {
    let said = match std::env::var_os("LEADSCAN_SAY") {
        Some(_) => Stdio::inherit(),
        None => Stdio::null(),
    };
    let child = Command::new(env!("CARGO_BIN_EXE_leadscan"))
        .args(["serve", "--config"])
        .arg(site.join("leadscan.toml"))
        .args(arguments)
        .stderr(said)
        .spawn();
    Running(child.unwrap())
}

/// Ends a service as systemd does; how it ended.
fn terminate(mut service: Running) -> Option<i32> {
    let told = Command::new("kill").arg(service.id().to_string()).status();
    assert!(told.unwrap().success());
    service.wait().unwrap().code()
}

fn add_to_config(site: &Path, text: &str) {
    let path = site.join("leadscan.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{config}\n{text}\n")).unwrap();
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

fn wait_for(what: &str, is_so: impl FnMut() -> bool) {
    wait_for_within(PATIENCE, what, is_so);
}

fn wait_for_within(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < patience,
            "{what}: not within {patience:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Pages that no picture can be read from are quickly done, and have a record as any other.
fn drop_pages(site: &Path, from: usize, count: usize) {
    for number in from..from + count {
        let draft = site.join(format!("in/.{number}"));
        std::fs::write(&draft, format!("page {number}")).unwrap();
        std::fs::rename(&draft, site.join(format!("in/{number}.png"))).unwrap();
    }
}

#[test]
fn every_page_has_one_record_though_the_service_is_killed_again_and_again() {
    const PAGES_A_TIME: usize = 3;
    let kills = crate::sampled(20, 500);
    let site = site();
    // The moments are spread over a start and the work after it; the series is always the same.
    let mut state = 12_345u64;
    for kill in 0..kills {
        let mut service = serve(site.path());
        drop_pages(site.path(), kill * PAGES_A_TIME, PAGES_A_TIME);
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        std::thread::sleep(Duration::from_millis(100 + (state >> 33) % 900));
        service.kill().unwrap();
        service.wait().unwrap();
    }
    let service = serve(site.path());
    // The last one shows that this service has begun.
    drop_pages(site.path(), kills * PAGES_A_TIME, 1);
    let out = site.path().join("out");
    let count = kills * PAGES_A_TIME + 1;
    wait_for("all records", || names(&out).len() >= count);
    wait_for("an empty spool", || {
        names(&site.path().join("spool/jobs")).is_empty()
    });
    assert_eq!(terminate(service), Some(0));
    assert_eq!(names(&out).len(), count, "one record a page");
    println!("killed {kills} times: {count} pages, 0 lost, 0 doubled");
    assert_eq!(names(&site.path().join("in/done")).len(), count);
}

#[test]
fn a_page_becomes_a_record() {
    let site = site();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/sample/page.jpg");
    std::fs::copy(page, site.path().join("in/page.jpg")).unwrap();
    let mut service = serve(site.path());
    let out = site.path().join("out");
    wait_for("the record", || names(&out).len() == 1);
    service.kill().unwrap();
    service.wait().unwrap();
    let record = std::fs::read(out.join(names(&out).first().unwrap())).unwrap();
    let record = leadscan::deliver::decode_native(&record).unwrap();
    assert_eq!(record.layout.as_deref(), Some("3x4+1R"));
    assert_eq!(record.traces.len(), 13);
}

#[test]
fn a_record_that_the_disk_damaged_is_made_again() {
    let site = site();
    let (out, jobs) = (site.path().join("out"), site.path().join("spool/jobs"));
    std::fs::remove_dir(&out).unwrap();
    drop_pages(site.path(), 0, 1);
    let mut service = serve(site.path());
    let record = || {
        names(&jobs)
            .into_iter()
            .find(|name| name.ends_with(".record"))
    };
    wait_for("a record in the spool", || {
        jobs.exists() && record().is_some()
    });
    let path = jobs.join(record().unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() - 40;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    std::fs::create_dir(&out).unwrap();
    wait_for("the record", || names(&out).len() == 1);
    service.kill().unwrap();
    service.wait().unwrap();
    let bytes = std::fs::read(out.join(names(&out).first().unwrap())).unwrap();
    assert!(leadscan::deliver::decode_native(&bytes).is_ok());
    assert_eq!(names(&site.path().join("spool/quarantine")).len(), 1);
}

#[test]
fn a_wrong_configuration_is_no_reason_to_start_again() {
    let site = site();
    let path = site.path().join("leadscan.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("settle_ms", "settle_s")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_leadscan"))
        .args(["serve", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("settle_s"), "{said}");
}

#[test]
fn a_folder_of_records_has_the_formats_that_are_asked_for() {
    let site = site();
    let path = site.path().join("leadscan.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace(
        "link = \"folder\"",
        "link = \"folder\"\nformats = [\"csv\", \"json\"]",
    );
    std::fs::write(&path, text).unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/sample/page.jpg");
    std::fs::copy(page, site.path().join("in/page.jpg")).unwrap();
    let service = serve(site.path());
    let out = site.path().join("out");
    let record = || names(&out).into_iter().find(|name| name.ends_with(".lsr"));
    wait_for("the record", || record().is_some());
    assert_eq!(terminate(service), Some(0));
    let id = record().unwrap().replace(".lsr", "");
    let endings = ["csv", "json", "lsr"].map(|ending| format!("{id}.{ending}"));
    assert_eq!(names(&out), BTreeSet::from(endings));
    let again = site.path().join("again");
    let exported = Command::new(env!("CARGO_BIN_EXE_leadscan"))
        .args(["export", "--format", "csv,wfdb", "--out"])
        .arg(&again)
        .arg(out.join(format!("{id}.lsr")))
        .output()
        .unwrap();
    assert!(exported.status.success(), "{exported:?}");
    let csv = |folder: &Path| std::fs::read(folder.join(format!("{id}.csv"))).unwrap();
    assert_eq!(csv(&out), csv(&again));
    let report = std::fs::read_to_string(out.join(format!("{id}.json"))).unwrap();
    assert!(report.contains("\"device\": \"bench\""), "{report}");
}

#[test]
fn a_files_name_says_whose_page_it_is_where_that_is_asked_for() {
    let site = site();
    let path = site.path().join("leadscan.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let asked = "settle_ms = 0\nreference = \"file_name\"";
    std::fs::write(&path, text.replace("settle_ms = 0", asked)).unwrap();
    let service = serve(site.path());
    drop_pages(site.path(), 7, 1);
    let long = site.path().join(format!("in/{}.png", "x".repeat(65)));
    std::fs::write(long, "a page").unwrap();
    let out = site.path().join("out");
    wait_for("the record", || names(&out).len() == 1);
    let failed = site.path().join("in/failed");
    wait_for("the long name aside", || {
        failed.exists() && names(&failed).len() == 1
    });
    assert_eq!(terminate(service), Some(0));
    let bytes = std::fs::read(out.join(names(&out).first().unwrap())).unwrap();
    let record = leadscan::deliver::decode_native(&bytes).unwrap();
    assert_eq!(record.origin.unwrap().reference.as_deref(), Some("7"));
}
