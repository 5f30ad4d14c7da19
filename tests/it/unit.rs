//! The unit that systemd gets: hardened, and understood.

use std::path::Path;
use std::process::Command;

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("board/systemd/leadscan.service");
    std::fs::read_to_string(path).unwrap()
}

/// Runs systemd-analyze on the unit with what it starts in a place where it is here.
fn analyze(arguments: &[&str]) -> Option<bool> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leadscan.service");
    std::fs::write(&path, unit().replace("/usr/bin/leadscan", "/bin/true")).unwrap();
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(&path)
        .output();
    let Ok(output) = output else {
        assert!(
            std::env::var_os("LEADSCAN_CI").is_none(),
            "no systemd-analyze"
        );
        eprintln!("skipped: no systemd-analyze");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{said}");
    }
    Some(output.status.success() && said.is_empty())
}

#[test]
fn the_unit_is_hardened() {
    let is_safe = analyze(&["security", "--offline=true", "--threshold=20"]);
    assert_ne!(is_safe, Some(false));
}

#[test]
fn systemd_understands_the_unit() {
    assert_ne!(analyze(&["verify", "--man=no"]), Some(false));
}

#[test]
fn a_wrong_configuration_does_not_start_again() {
    let usage = leadscan::cli::ExitStatus::Usage as u8;
    let line = format!("RestartPreventExitStatus={usage}");
    assert!(unit().lines().any(|found| found == line));
}
