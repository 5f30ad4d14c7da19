//! What the package gives systemd: a unit that is hardened and understood, with the user, the groups
//! and the folders that it and the shipped configuration name.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use leadscan::service::config::Config;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("board")
        .join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(shipped(name)).unwrap()
}

fn unit() -> String {
    text("systemd/leadscan.service")
}

/// What systemd-analyze makes of the unit, with what it starts in a place where it is here, and with
/// drop-ins; `None` where there is no systemd-analyze.
pub fn analysis(arguments: &[&str], drop_ins: &[(&str, &str)]) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leadscan.service");
    std::fs::write(&path, unit().replace("/usr/bin/leadscan", "/bin/true")).unwrap();
    let added = folder.path().join("leadscan.service.d");
    std::fs::create_dir(&added).unwrap();
    for (name, text) in drop_ins {
        std::fs::write(added.join(name), text).unwrap();
    }
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(&path)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()))
        .output();
    let Ok(output) = output else {
        assert!(
            std::env::var_os("LEADSCAN_CI").is_none(),
            "no systemd-analyze"
        );
        eprintln!("skipped: no systemd-analyze");
        return None;
    };
    Some(output)
}

/// Whether it finds nothing to say.
fn analyze(arguments: &[&str]) -> Option<bool> {
    let output = analysis(arguments, &[])?;
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
    // Its exit status is not looked up there: it would be started for ever.
    assert!(!unit().contains("\nExecStartPre="));
}

#[test]
fn every_group_of_the_unit_is_made() {
    let unit = unit();
    let groups = unit
        .lines()
        .find_map(|line| line.strip_prefix("SupplementaryGroups="))
        .unwrap();
    let made = text("systemd/leadscan.sysusers");
    let is_made = |kind: &str, name: &str| {
        made.lines()
            .any(|line| line.split_whitespace().take(2).eq([kind, name]))
    };
    for group in groups.split(' ') {
        assert!(is_made("g", group), "{group}");
        // Who runs `doctor` as the service's user has the service's groups.
        assert!(
            made.lines()
                .any(|line| line == format!("m leadscan {group}")),
            "{group}"
        );
    }
    assert!(is_made("u", "leadscan"));
}

#[test]
fn a_fresh_installation_finds_its_folders_where_the_unit_may_write() {
    let config = Config::check(&shipped("debian/leadscan.toml")).unwrap();
    let made = text("systemd/leadscan.tmpfile");
    let is_made = |folder: &str| {
        made.lines()
            .any(|line| line.split_whitespace().take(2).eq(["d", folder]))
    };
    assert!(unit().contains("\nStateDirectory=leadscan\n"));
    assert_eq!(config.spool.folder, Path::new("/var/lib/leadscan/spool"));
    assert!(is_made(config.watch.unwrap().folder.to_str().unwrap()));
    assert!(config.source.is_empty() && config.panel.is_none() && config.web.is_none());
    for destination in &config.destination {
        assert_eq!(destination["link"].as_str(), Some("folder"));
        assert!(is_made(destination["folder"].as_str().unwrap()));
    }
}
