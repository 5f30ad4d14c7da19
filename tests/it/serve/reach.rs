//! The running service is asked, over its socket and its port, and what it decided can be replayed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use leadscan::service::State;
use leadscan::service::run::Entry;
use tempfile::TempDir;

use super::{
    PATIENCE, Running, add_to_config, drop_pages, names, serve, serve_with, site, terminate,
    wait_for,
};

/// A site whose only destination takes nothing.
fn closed_site() -> TempDir {
    let site = site();
    std::fs::remove_dir(site.path().join("out")).unwrap();
    site
}

fn ask(site: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_leadscan"))
        .args(words)
        .arg("--config")
        .arg(site.join("leadscan.toml"))
        .output()
        .unwrap()
}

#[track_caller]
fn said(site: &Path, words: &[&str]) -> String {
    let output = ask(site, words);
    let heard = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{words:?}: {heard}");
    String::from_utf8(output.stdout).unwrap()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A port that was free a moment ago.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn people_and_programs_see_how_the_service_stands() {
    let site = closed_site();
    let address = free_address();
    add_to_config(site.path(), &format!("[web]\nlisten = \"{address}\""));
    assert_eq!(
        ask(site.path(), &["status"]).status.code(),
        Some(4),
        "nobody is there"
    );
    let service = serve(site.path());
    let socket = site.path().join("spool/control");
    wait_for("the socket", || socket.exists());
    drop_pages(site.path(), 0, 1);
    wait_for("a warning", || {
        said(site.path(), &["status"]).contains("takes no records")
    });
    let status = said(site.path(), &["status"]);
    assert!(status.starts_with("bench 0.1.0: warning\n"), "{status}");
    assert!(status.contains("1 to deliver"), "{status}");
    let json: serde_json::Value =
        serde_json::from_str(&said(site.path(), &["status", "--json"])).unwrap();
    assert_eq!(json["counts"]["accepted"], 1);
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(&address, "/readyz").starts_with("HTTP/1.1 200"));
    let metrics = get(&address, "/metrics");
    assert!(
        metrics.contains("leadscan_destination_degraded{to=\"files\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("leadscan_pages_total{outcome=\"rejected\"} 1"),
        "{metrics}"
    );
    assert!(
        get(&address, "/spool").starts_with("HTTP/1.1 403"),
        "it only tells"
    );
    assert!(get(&address, "/nothing").starts_with("HTTP/1.1 404"));
    assert_eq!(terminate(service), Some(0));
}

#[test]
fn jobs_are_held_back_taken_up_and_purged() {
    let site = closed_site();
    let service = serve(site.path());
    drop_pages(site.path(), 0, 2);
    let jobs = || {
        let output = ask(site.path(), &["spool", "ls"]);
        String::from_utf8(output.stdout).unwrap()
    };
    wait_for("two records", || {
        jobs().matches(" digitized files").count() == 2
    });
    let id = |line: usize| jobs().lines().nth(line).unwrap()[..26].to_owned();
    let (first, second) = (id(0), id(1));
    said(site.path(), &["spool", "park", &first]);
    assert!(said(site.path(), &["spool", "show", &first]).contains("parked by hand"));
    said(site.path(), &["spool", "purge", &second]);
    let unknown = ask(site.path(), &["spool", "show", &second]);
    assert_eq!(unknown.status.code(), Some(1));
    std::fs::create_dir(site.path().join("out")).unwrap();
    said(site.path(), &["spool", "retry", &first]);
    let out = site.path().join("out");
    wait_for("the record", || names(&out).len() == 1);
    assert!(names(&out).contains(&format!("{first}.lsr")));
    assert_eq!(terminate(service), Some(0));
}

#[test]
fn a_run_can_be_replayed() {
    let site = closed_site();
    let events = site.path().join("events");
    let service = serve_with(site.path(), &["--events", events.to_str().unwrap()]);
    drop_pages(site.path(), 0, 3);
    let degraded = || std::fs::read_to_string(&events).is_ok_and(|text| text.contains("Degraded"));
    wait_for("a delivery that failed", degraded);
    std::fs::create_dir(site.path().join("out")).unwrap();
    wait_for("all records", || names(&site.path().join("out")).len() == 3);
    assert_eq!(terminate(service), Some(0));
    let text = std::fs::read_to_string(&events).unwrap();
    let mut state = State::new(0, 1);
    let mut count = 0;
    for line in text.lines() {
        let entry: Entry = serde_json::from_str(line).unwrap();
        let actions = state.step(entry.event, &entry.seen, entry.now_ms, entry.random);
        assert_eq!(actions, entry.actions, "{line}");
        count += actions.len();
    }
    assert!(count >= 3 + 3 + 2, "pages, records, words: {count}");
}

#[test]
fn systemd_hears_that_it_is_ready_moves_and_ends() {
    let site = site();
    let path = site.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_leadscan"))
        .args(["serve", "--config"])
        .arg(site.path().join("leadscan.toml"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .stderr(std::process::Stdio::null())
        .spawn();
    let service = Running(child.unwrap());
    let mut heard = Vec::new();
    let mut hear = |wanted: &str| {
        let mut bytes = [0; 4096];
        while !heard.iter().any(|line: &String| line.contains(wanted)) {
            let count = socket.recv(&mut bytes).unwrap_or_else(|error| {
                panic!("no {wanted} ({error}): {heard:?}");
            });
            heard.push(String::from_utf8_lossy(&bytes[..count]).into_owned());
        }
        heard.clear();
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    assert_eq!(terminate(service), Some(0));
    hear("STOPPING=1");
}

#[test]
fn whoever_asks_from_elsewhere_needs_a_token() {
    let site = site();
    add_to_config(site.path(), "[web]\nlisten = \"0.0.0.0:0\"");
    let path = site.path().join("leadscan.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_leadscan"))
        .args(["serve", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let heard = String::from_utf8(output.stderr).unwrap();
    assert!(heard.contains("token_file"), "{heard}");
}
