//! `leadscan doctor`: what a device needs to run, tried out one by one, each fault with its fix.
//!
//! In: a configuration. Out: a line for each thing on stdout (or JSON), and an `ExitStatus`: done
//! where all is well or only warned of. Devices are opened as the service would open them, so it is
//! run as the service's user (`sudo -u leadscan leadscan doctor`), while the service is stopped: a
//! running service holds its spool and its lines, which is then said instead. What the machine
//! itself lacks is looked at in `doctor/machine.rs`. The READMEs in `board/` quote these lines.

mod machine;

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::arguments::DoctorArguments;
use super::console::print;
use super::{ExitStatus, UsageError, write_json};
use crate::capture::source::SourceError;
use crate::deliver::write_whole;
use crate::digitize::{Options, digitize};
use crate::front::{Panel, PanelError};
use crate::limits;
use crate::nn::{ModelFiles, TractNets};
use crate::page::RawImage;
use crate::service::config::Config;
use crate::service::run::ServeError;

/// A disk slower than this holds up whoever presses the button.
const FSYNC_MS_MAX: u128 = 500;
const WATCHED_FIX: &str = "it must be there, and the service's user must read and write it: mkdir, \
                           chown leadscan; add it to ReadWritePaths= (systemctl edit leadscan)";
/// What mends a source, by its sort.
const SOURCE_FIXES: [(&str, &str); 3] = [
    (
        "camera",
        "plug it in; `leadscan devices` lists the cameras, with the lines for [[source]]; the \
         service's user must be in the group video",
    ),
    (
        "rpicam",
        "see that its ribbon sits straight and `rpicam-still --list-cameras` lists it (package \
         rpicam-apps-lite); the service's user must be in the group video",
    ),
    (
        "scanner",
        "switch it on, see its cable; `leadscan devices` lists the scanners (package sane-utils), \
         with the lines for [[source]]; the service's user must be in the group scanner",
    ),
];
const SERVER_FIX: &str = "is the other end on and reached from here, are address, certificate and \
                          login right? The service may go where IPAddressAllow= lets it \
                          (systemctl edit leadscan)";
/// What mends a destination, by its link.
const DESTINATION_FIXES: [(&str, &str); 5] = [
    (
        "serial",
        "plug the adapter in (`leadscan devices` lists the ports), or switch the board's own port \
         on (config.txt, see board/); the service's user must be in the group dialout",
    ),
    ("tcp", SERVER_FIX),
    ("https", SERVER_FIX),
    ("mqtt", SERVER_FIX),
    (
        "folder",
        "make it and give it to the service's user: mkdir, chown leadscan; add it to \
         ReadWritePaths= (systemctl edit leadscan)",
    ),
];

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    Warning,
    Broken,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    what: String,
    health: Health,
    found: String,
    /// What to do about it.
    fix: Option<String>,
}

impl Finding {
    fn ok(what: &str, found: String) -> Self {
        Self {
            what: what.to_owned(),
            health: Health::Ok,
            found,
            fix: None,
        }
    }

    fn warning(what: &str, found: String, fix: &str) -> Self {
        Self {
            health: Health::Warning,
            fix: Some(fix.to_owned()),
            ..Self::ok(what, found)
        }
    }

    fn broken(what: &str, found: String, fix: &str) -> Self {
        Self {
            health: Health::Broken,
            ..Self::warning(what, found, fix)
        }
    }
}

/// Looks at everything that the configuration names.
pub fn doctor(arguments: &DoctorArguments) -> Result<ExitStatus, UsageError> {
    let config = Config::read(&arguments.config).map_err(ServeError::Config)?;
    let mut findings: Vec<Finding> = machine::user().into_iter().collect();
    findings.extend(spool(&config.spool.folder));
    findings.push(disk(&config));
    findings.extend(config.watch.as_ref().map(|watch| watched(&watch.folder)));
    findings.extend(sources(&config)?);
    findings.extend(config.panel.as_ref().map(panel));
    findings.extend(destinations(&config)?);
    findings.extend(machine::findings());
    findings.push(nets());
    if arguments.json {
        write_json(&findings)?;
    } else {
        findings.iter().for_each(tell);
    }
    let is_broken = findings.iter().any(|f| f.health == Health::Broken);
    Ok(if is_broken {
        ExitStatus::PagesFailed
    } else {
        ExitStatus::Done
    })
}

fn tell(finding: &Finding) {
    print(&line(finding));
    if let Some(fix) = &finding.fix {
        print(&format!("        -> {fix}"));
    }
}

fn line(finding: &Finding) -> String {
    let word = match finding.health {
        Health::Ok => "ok      ",
        Health::Warning => "warning ",
        Health::Broken => "BROKEN  ",
    };
    format!("{word}{}: {}", finding.what, finding.found)
}

/// The folder, or where the service makes it at its first start.
fn nearest(folder: &Path) -> &Path {
    let there = folder.ancestors().find(|path| path.is_dir());
    there.unwrap_or(folder)
}

fn spool(folder: &Path) -> Vec<Finding> {
    let there = nearest(folder);
    let mut findings = vec![written(folder, there)];
    findings.extend(machine::memory_disk(there));
    findings
}

fn written(folder: &Path, there: &Path) -> Finding {
    let what = "spool";
    let path = there.join(".leadscan-check");
    let began = Instant::now();
    if let Err(error) = write_whole(&path, |out| out.write_all(&[0; 4096])) {
        let found = format!("{}: {error}", folder.display());
        let fix = "make the folder and give it to the service's user: mkdir, chown leadscan; where \
                   the file system is read-only, its disk failed: dmesg, fsck";
        return Finding::broken(what, found, fix);
    }
    let took_ms = began.elapsed().as_millis();
    // What cannot be removed is a few bytes that the next check overwrites.
    let _ = std::fs::remove_file(path);
    let made = if folder == there {
        ""
    } else {
        " is made at the first start"
    };
    let found = format!(
        "{}{made}: a durable write takes {took_ms} ms",
        folder.display()
    );
    if took_ms > FSYNC_MS_MAX {
        let fix = "take a better card, or a disk: every page waits for it";
        return Finding::warning(what, found, fix);
    }
    Finding::ok(what, found)
}

fn disk(config: &Config) -> Finding {
    match rustix::fs::statvfs(nearest(&config.spool.folder)) {
        Ok(about) => {
            let free_mib = about.f_bavail.saturating_mul(about.f_frsize) >> 20;
            room(free_mib, config.spool.free_mib_min)
        }
        Err(error) => Finding::broken("disk", error.to_string(), "see the spool's folder"),
    }
}

fn room(free_mib: u64, needed_mib: u64) -> Finding {
    let what = "disk";
    let found = format!("{free_mib} MiB are free, {needed_mib} stay free");
    if free_mib <= needed_mib {
        let fix = "make room: no page is accepted; `leadscan spool ls` shows what waits";
        return Finding::broken(what, found, fix);
    }
    if free_mib < needed_mib.saturating_mul(2) {
        let fix = "make room soon: pages are refused once no more than that is free";
        return Finding::warning(what, found, fix);
    }
    Finding::ok(what, found)
}

fn watched(folder: &Path) -> Finding {
    let path = folder.join(".leadscan-check");
    let made = std::fs::read_dir(folder).and_then(|_| std::fs::write(&path, b""));
    let removed = made.and_then(|()| std::fs::remove_file(&path));
    match removed {
        Ok(()) => Finding::ok("watched folder", folder.display().to_string()),
        Err(error) => {
            let found = format!("{}: {error}", folder.display());
            Finding::broken("watched folder", found, WATCHED_FIX)
        }
    }
}

fn sources(config: &Config) -> Result<Vec<Finding>, UsageError> {
    let sources = config.sources().map_err(ServeError::Config)?;
    let sorts = config.source.iter().map(|table| word(table, "source"));
    let looked = sources.into_iter().zip(sorts).map(|(mut named, sort)| {
        let what = format!("source {}", named.name);
        match named.source.check() {
            Ok(found) => Finding::ok(&what, found),
            Err(error) => Finding::broken(&what, error.to_string(), source_fix(sort, &error)),
        }
    });
    Ok(looked.collect())
}

fn source_fix(sort: &str, error: &SourceError) -> &'static str {
    match error {
        SourceError::Operator { .. } => "do that, and look again",
        SourceError::Stopped => "look again",
        SourceError::Missing { .. } | SourceError::Silent { .. } | SourceError::Failed { .. } => {
            of_sort(&SOURCE_FIXES, sort)
        }
    }
}

/// What stands in a table under a key that the configuration was checked for.
fn word<'a>(table: &'a toml::Table, key: &str) -> &'a str {
    table.get(key).and_then(toml::Value::as_str).unwrap_or("")
}

fn of_sort(fixes: &[(&str, &'static str)], sort: &str) -> &'static str {
    let known = fixes.iter().find(|(known, _)| *known == sort);
    known.map_or("see its table in the configuration", |(_, fix)| fix)
}

fn panel(settings: &toml::Table) -> Finding {
    match Panel::check(settings) {
        Ok(found) => Finding::ok("panel", found),
        Err(error) => broken_panel(&error),
    }
}

fn broken_panel(error: &PanelError) -> Finding {
    Finding::broken("panel", error.to_string(), panel_fix(error))
}

fn panel_fix(error: &PanelError) -> &'static str {
    match error {
        PanelError::NoLine { .. } | PanelError::TwoLines { .. } => {
            "put lines that are there into [panel]; gpioinfo shows them all (package gpiod)"
        }
        PanelError::Denied { .. } => "usermod -aG gpio leadscan",
        PanelError::InUse { .. } => "if leadscan itself has it, systemctl stop leadscan first",
        PanelError::NoChip
        | PanelError::NoPi
        | PanelError::NotBuilt { .. }
        | PanelError::Settings { .. } => {
            "put [panel] right; where there is no button and no light, take it out"
        }
        PanelError::Failed { .. } | PanelError::Thread { .. } => {
            "see the wiring, and whether gpiodetect lists the chip (package gpiod)"
        }
    }
}

fn destinations(config: &Config) -> Result<Vec<Finding>, UsageError> {
    let destinations = config.destinations().map_err(ServeError::Config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(UsageError::Runtime)?;
    let mut findings = Vec::new();
    for (mut destination, table) in destinations.into_iter().zip(&config.destination) {
        let what = format!("destination {}", destination.name);
        let local = tokio::task::LocalSet::new();
        let found = local.block_on(&runtime, async { destination.link.check().await });
        findings.push(match found {
            Ok(found) => Finding::ok(&what, found),
            Err(error) => {
                let fix = of_sort(&DESTINATION_FIXES, word(table, "link"));
                let fix = format!("{fix}. Records wait in the spool until then");
                Finding::broken(&what, error.to_string(), &fix)
            }
        });
        if word(table, "link") == "serial" {
            findings.extend(machine::console(&what, Path::new(word(table, "path"))));
        }
    }
    runtime.shutdown_background();
    Ok(findings)
}

/// Loads the nets, which checks their hashes, and has them look at a blank page.
fn nets() -> Finding {
    let what = "nets";
    let fix = "the program is damaged: install it again";
    let began = Instant::now();
    let nets = match TractNets::load(ModelFiles::bundled(), 1) {
        Ok(nets) => nets,
        Err(error) => return Finding::broken(what, error.to_string(), fix),
    };
    let loaded = began.elapsed();
    let (width, height) = (1_600, 1_200);
    let blank = RawImage::new(width, height, vec![255; 3 * width * height]);
    let began = Instant::now();
    let looked = blank.map_err(|error| error.to_string()).and_then(|page| {
        digitize(&page, &nets, &Options::usual(), &mut ()).map_err(|e| e.to_string())
    });
    match looked {
        Err(reason) => Finding::broken(what, reason, fix),
        Ok(_) => {
            let (load_s, look_s) = (loaded.as_secs_f64(), began.elapsed().as_secs_f64());
            let budget = limits::MEMORY_BUDGET_MIB;
            let found = format!(
                "hashes right, loaded in {load_s:.2} s, labels of a blank page in {look_s:.2} s, \
                 budget {budget} MiB"
            );
            Finding::ok(what, found)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of the READMEs say what to do about a line: they must have it as it is said.
    #[track_caller]
    pub(super) fn assert_quoted(finding: &Finding) {
        let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("board");
        let folders = ["bedside", "generic", "headless", "kiosk", "rpi4", "rpi5"];
        let line = line(finding);
        let is_quoted = |folder: &&str| {
            let readme = board.join(folder).join("README.md");
            std::fs::read_to_string(readme).unwrap().contains(&line)
        };
        assert!(folders.iter().any(is_quoted), "{line}");
    }

    #[test]
    fn the_readmes_quote_what_is_said() {
        for (free_mib, needed_mib) in [(96, 128), (96, 256), (200, 128), (400, 256)] {
            assert_quoted(&room(free_mib, needed_mib));
        }
        for error in [
            PanelError::NoLine {
                line: "named \"GPIO71\"".to_owned(),
                there: vec![String::new()],
            },
            PanelError::NoChip,
            PanelError::Denied {
                path: "/dev/gpiochip0".into(),
            },
        ] {
            assert_quoted(&broken_panel(&error));
        }
    }

    #[test]
    fn the_bundled_nets_are_well() {
        let finding = nets();
        assert_eq!(finding.health, Health::Ok, "{}", finding.found);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_with_its_fix() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(watched(folder.path()).health, Health::Ok);
        let finding = watched(&folder.path().join("none"));
        assert_eq!(finding.health, Health::Broken);
        assert!(
            finding
                .fix
                .is_some_and(|fix| fix.contains("ReadWritePaths"))
        );
    }

    #[test]
    fn a_spool_that_will_be_made_is_tried_where_it_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/spool");
        let finding = written(&path, nearest(&path));
        assert_eq!(finding.health, Health::Ok, "{}", finding.found);
        assert!(finding.found.contains("is made at the first start"));
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
        // A file is in its way, which root cannot write below either.
        let file = path.parent().unwrap();
        std::fs::write(file, "").unwrap();
        assert_eq!(written(&path, file).health, Health::Broken);
    }

    #[test]
    fn a_disk_is_told_before_it_is_full() {
        for (free_mib, expected) in [
            (1_000, Health::Ok),
            (512, Health::Ok),
            (511, Health::Warning),
            (257, Health::Warning),
            (256, Health::Broken),
            (0, Health::Broken),
        ] {
            assert_eq!(room(free_mib, 256).health, expected, "{free_mib}");
        }
    }

    #[test]
    fn every_sort_of_source_and_link_has_a_fix() {
        for kind in crate::capture::SOURCES {
            let is_known = SOURCE_FIXES.iter().any(|(sort, _)| *sort == kind.name);
            assert!(is_known, "{}", kind.name);
        }
        for kind in crate::deliver::link::LINKS {
            let is_known = DESTINATION_FIXES.iter().any(|(sort, _)| *sort == kind.name);
            assert!(is_known || kind.name == "loopback", "{}", kind.name);
        }
    }

    #[test]
    fn each_fault_of_a_source_and_a_panel_gets_its_own_fix() {
        let missing = SourceError::Missing {
            device: "scanner".to_owned(),
            reason: "off".to_owned(),
        };
        assert!(source_fix("scanner", &missing).contains("group scanner"));
        assert!(source_fix("camera", &missing).contains("group video"));
        let paper = SourceError::Operator {
            advice: "put the pages in".to_owned(),
        };
        assert_eq!(source_fix("scanner", &paper), "do that, and look again");
        let line = PanelError::NoLine {
            line: "named \"GPIO71\"".to_owned(),
            there: vec!["GPIO17".to_owned()],
        };
        assert!(panel_fix(&line).contains("gpioinfo"));
        assert!(panel_fix(&PanelError::NoChip).contains("take it out"));
    }
}
