//! `leadscan doctor`: what a device needs to run, tried out one by one, each fault with its fix.
//!
//! In: a configuration. Out: a line for each thing on stdout (or JSON), and an `ExitStatus`: done
//! where all is well or only warned of. Devices are opened as the service would open them, so it is
//! run as the service's user (`sudo -u leadscan leadscan doctor`), while the service is stopped: a
//! running service holds its spool and its lines, which is then said instead.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::arguments::DoctorArguments;
use super::console::print;
use super::{ExitStatus, UsageError, write_json};
use crate::deliver::write_whole;
use crate::digitize::{Options, digitize};
use crate::front::Panel;
use crate::limits;
use crate::nn::{ModelFiles, TractNets};
use crate::page::RawImage;
use crate::service::config::Config;
use crate::service::run::ServeError;
use crate::service::{clock_is_plausible, clock_is_synced};

/// A disk slower than this holds up whoever presses the button.
const FSYNC_MS_MAX: u128 = 500;
const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.controllers";

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
    let mut findings = vec![spool(&config), disk(&config)];
    findings.extend(config.watch.as_ref().map(|watch| watched(&watch.folder)));
    findings.extend(sources(&config)?);
    findings.extend(config.panel.as_ref().map(panel));
    findings.extend(destinations(&config)?);
    findings.push(clock());
    findings.push(memory(Path::new(CONTROLLERS)));
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
    let word = match finding.health {
        Health::Ok => "ok      ",
        Health::Warning => "warning ",
        Health::Broken => "BROKEN  ",
    };
    print(&format!("{word}{}: {}", finding.what, finding.found));
    if let Some(fix) = &finding.fix {
        print(&format!("        -> {fix}"));
    }
}

fn spool(config: &Config) -> Finding {
    let folder = &config.spool.folder;
    let what = "spool";
    let path = folder.join(".leadscan-check");
    let began = Instant::now();
    if let Err(error) = write_whole(&path, |out| out.write_all(&[0; 4096])) {
        let found = format!("{}: {error}", folder.display());
        let fix = "make the folder and give it to the service's user: chown leadscan";
        return Finding::broken(what, found, fix);
    }
    let took_ms = began.elapsed().as_millis();
    // What cannot be removed is a few bytes that the next check overwrites.
    let _ = std::fs::remove_file(path);
    let found = format!("{}: a durable write takes {took_ms} ms", folder.display());
    if took_ms > FSYNC_MS_MAX {
        let fix = "take a better card, or a disk: every page waits for it";
        return Finding::warning(what, found, fix);
    }
    Finding::ok(what, found)
}

fn disk(config: &Config) -> Finding {
    let what = "disk";
    let about = match rustix::fs::statvfs(&config.spool.folder) {
        Ok(about) => about,
        Err(error) => return Finding::broken(what, error.to_string(), "see the spool's folder"),
    };
    let free_mib = about.f_bavail.saturating_mul(about.f_frsize) >> 20;
    let needed_mib = config.spool.free_mib_min;
    let found = format!("{free_mib} MiB are free, {needed_mib} stay free");
    if free_mib <= needed_mib {
        let fix = "make room: no page is accepted";
        return Finding::broken(what, found, fix);
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
            let fix = "it must be there, and the service's user must read and write it; add it \
                       to ReadWritePaths= (systemctl edit leadscan)";
            Finding::broken("watched folder", found, fix)
        }
    }
}

fn sources(config: &Config) -> Result<Vec<Finding>, UsageError> {
    let sources = config.sources().map_err(ServeError::Config)?;
    let looked = sources.into_iter().map(|mut named| {
        let what = format!("source {}", named.name);
        match named.source.check() {
            Ok(found) => Finding::ok(&what, found),
            Err(error) => {
                let fix = "see the cable, `leadscan devices`, and that the service's user is in \
                           the groups video and scanner";
                Finding::broken(&what, error.to_string(), fix)
            }
        }
    });
    Ok(looked.collect())
}

fn panel(settings: &toml::Table) -> Finding {
    match Panel::check(settings) {
        Ok(found) => Finding::ok("panel", found),
        Err(error) => {
            let fix = "name lines that are there (gpioinfo); add the service's user to gpio";
            Finding::broken("panel", error.to_string(), fix)
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
    for mut destination in destinations {
        let what = format!("destination {}", destination.name);
        let local = tokio::task::LocalSet::new();
        let found = local.block_on(&runtime, async { destination.link.check().await });
        findings.push(match found {
            Ok(found) => Finding::ok(&what, found),
            Err(error) => {
                let fix = "is the receiver on, its address and certificate right, the line \
                           free? Records wait in the spool until it is";
                Finding::broken(&what, error.to_string(), fix)
            }
        });
    }
    runtime.shutdown_background();
    Ok(findings)
}

fn clock() -> Finding {
    if !clock_is_plausible() {
        let fix =
            "set it, or let a time service: records carry the time since the start until then";
        return Finding::warning("clock", "it was never set".to_owned(), fix);
    }
    if !clock_is_synced() {
        let fix = "run systemd-timesyncd or chrony, where there is a network";
        return Finding::warning("clock", "no time service vouches for it".to_owned(), fix);
    }
    Finding::ok("clock", "synchronized".to_owned())
}

/// Whether the unit's `MemoryMax=` is kept: some boards come with the controller off.
fn memory(controllers: &Path) -> Finding {
    let text = std::fs::read_to_string(controllers).unwrap_or_default();
    if text.split_whitespace().any(|word| word == "memory") {
        return Finding::ok("memory limit", "the memory controller is on".to_owned());
    }
    let fix = "add cgroup_enable=memory to the kernel's command line; without it MemoryMax= is \
               ignored, and only the program's own budget holds";
    let found = "the memory controller is off".to_owned();
    Finding::warning("memory limit", found, fix)
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

    #[test]
    fn a_memory_controller_that_is_off_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: &str, expected: Health| {
            let path = folder.path().join("controllers");
            std::fs::write(&path, text).unwrap();
            assert_eq!(memory(&path).health, expected, "{text}");
        };
        check("cpuset cpu io memory pids\n", Health::Ok);
        check("cpuset cpu io pids\n", Health::Warning);
        assert_eq!(memory(&folder.path().join("none")).health, Health::Warning);
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
}
