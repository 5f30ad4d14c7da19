//! What the machine itself lacks, whatever the configuration says.
//!
//! In: what the kernel shows below `/sys` and `/proc`, the time. Out: `Finding`s. Where a board has
//! no such thing, as a sensor of its supply, there is no finding. Paths and times come from the
//! caller, so that each fault can be shown to it by a test.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Finding;
use crate::service::{clock_is_plausible, clock_is_synced};

const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.controllers";
const SENSORS: &str = "/sys/class/hwmon";
/// The sensor of a Raspberry Pi's supply: Documentation/hwmon/raspberrypi-hwmon.rst of the kernel.
const SUPPLY: &str = "rpi_volt";
const SUPPLY_ALARM: &str = "in0_lcrit_alarm";
const CONSOLES: &str = "/sys/class/tty/console/active";
const MOUNTS: &str = "/proc/self/mounts";
/// Kinds of file systems that are gone with the power.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// Clock, memory controller, supply.
pub fn findings() -> Vec<Finding> {
    let mut findings = vec![clock(
        SystemTime::now(),
        clock_is_plausible(),
        clock_is_synced(),
    )];
    findings.push(memory(Path::new(CONTROLLERS)));
    findings.extend(supply(Path::new(SENSORS)));
    findings
}

/// A warning to root.
pub fn user() -> Option<Finding> {
    let is_root = rustix::process::geteuid().is_root();
    is_root.then(not_root)
}

fn not_root() -> Finding {
    let found = "root may open what the service's user may not".to_owned();
    Finding::warning("user", found, "sudo -u leadscan leadscan doctor")
}

/// A spool that would be gone with the power.
pub fn memory_disk(folder: &Path) -> Option<Finding> {
    let mounts = std::fs::read_to_string(MOUNTS).unwrap_or_default();
    // As the kernel names it, without links on the way.
    let folder = folder.canonicalize().ok()?;
    in_memory(&mounts, &folder)
}

fn in_memory(mounts: &str, folder: &Path) -> Option<Finding> {
    let [place, kind, options] = mount_of(mounts, folder)?;
    let upper = options
        .split(',')
        .find_map(|it| it.strip_prefix("upperdir="));
    let kept_in = match upper {
        // A read-only root keeps what is written over it elsewhere, as a rule in memory.
        Some(upper) if kind == "overlay" => mount_of(mounts, Path::new(upper))?[1],
        _ => kind,
    };
    IN_MEMORY.contains(&kept_in).then(|| {
        let found =
            format!("{place} is in memory ({kept_in}): what was accepted goes with the power");
        let fix = "mount a partition of a card or disk there: board/generic/fstab";
        Finding::broken("spool", found, fix)
    })
}

/// Place, kind and options of the file system that a folder is in.
fn mount_of<'a>(mounts: &'a str, folder: &Path) -> Option<[&'a str; 3]> {
    let places = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let mount = [fields.next()?, fields.next()?, fields.next()?];
        folder.starts_with(mount[0]).then_some(mount)
    });
    // Of two on one place, the later one hides the other.
    places.max_by_key(|[place, ..]| place.len())
}

/// A serial line that the kernel's console, and then a login, is on as well.
pub fn console(what: &str, path: &Path) -> Option<Finding> {
    let consoles = std::fs::read_to_string(CONSOLES).unwrap_or_default();
    on_console(what, path, &consoles)
}

fn on_console(what: &str, path: &Path, consoles: &str) -> Option<Finding> {
    let port = path.canonicalize().ok()?;
    let port = port.file_name()?.to_str()?;
    let is_shared = consoles.split_whitespace().any(|console| console == port);
    is_shared.then(|| {
        let found = format!("the kernel's console is on {port}: its text runs into the records");
        let fix = format!(
            "take console={port} (or console=serial0) out of the kernel's command line and restart"
        );
        Finding::broken(what, found, &fix)
    })
}

fn clock(now: SystemTime, is_plausible: bool, is_synced: bool) -> Finding {
    let what = "clock";
    if !is_plausible {
        let found = format!("it says {}: it was never set", date(now));
        let fix = "set it (date -s \"2027-01-31 09:30\"), or run systemd-timesyncd where there is a \
                   network; a clock chip with a battery keeps it (see board/). Until then records \
                   carry the time since the start";
        return Finding::warning(what, found, fix);
    }
    if !is_synced {
        let fix = "run systemd-timesyncd, where there is a network; else see now and then that it \
                   is right";
        let found = format!("it says {}; no time service vouches for it", date(now));
        return Finding::warning(what, found, fix);
    }
    Finding::ok(what, "synchronized".to_owned())
}

/// `1970-01-01 00:02 UTC`
fn date(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let minutes = since.as_secs() / 60;
    let (hour, minute) = (minutes / 60 % 24, minutes % 60);
    // Counted from 1 March of the year 0, leap days are the last ones of their years, and 153 days
    // are five months: the calendar repeats after 146,097 days.
    let days = minutes / 60 / 24 + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = 400 * cycle + year + u64::from(month >= 10);
    let month = if month < 10 { month + 3 } else { month - 9 };
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// Whether the unit's `MemoryMax=` is kept: some boards come with the controller off.
fn memory(controllers: &Path) -> Finding {
    let text = std::fs::read_to_string(controllers).unwrap_or_default();
    if text.split_whitespace().any(|word| word == "memory") {
        return Finding::ok("memory limit", "the memory controller is on".to_owned());
    }
    let fix = "add cgroup_enable=memory to the kernel's command line (Raspberry Pi: \
               /boot/firmware/cmdline.txt, on its one line) and restart; until then MemoryMax= is \
               ignored, and only the program's own budget holds";
    let found = "the memory controller is off".to_owned();
    Finding::warning("memory limit", found, fix)
}

/// Whether the supply keeps its voltage, where the board watches it.
fn supply(sensors: &Path) -> Option<Finding> {
    let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let mut sensors = std::fs::read_dir(sensors).ok()?.flatten();
    let sensor = sensors.find(|sensor| text(&sensor.path().join("name")).trim() == SUPPLY)?;
    let alarm = text(&sensor.path().join(SUPPLY_ALARM));
    let what = "supply";
    Some(match alarm.trim() {
        "0" => Finding::ok(what, "its voltage is right".to_owned()),
        _ => {
            let fix = "take a supply of the board's own rating and a short cable; let a hub with \
                       its own supply feed what hangs on USB";
            let found = "its voltage is too low: pages are slow, cards and USB devices fail";
            Finding::warning(what, found.to_owned(), fix)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Health;
    use super::super::tests::assert_quoted;
    use super::*;

    #[test]
    fn the_readmes_quote_what_is_said() {
        let folder = tempfile::tempdir().unwrap();
        for port in ["ttyAMA0", "ttyS0"] {
            let path = folder.path().join(port);
            std::fs::write(&path, "").unwrap();
            assert_quoted(&on_console("destination monitor", &path, "ttyAMA0 ttyS0").unwrap());
        }
        std::fs::write(folder.path().join("name"), SUPPLY).unwrap();
        std::fs::write(folder.path().join(SUPPLY_ALARM), "1").unwrap();
        let sensors = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path(), sensors.path().join("hwmon1")).unwrap();
        assert_quoted(&supply(sensors.path()).unwrap());
        let early = UNIX_EPOCH + Duration::from_secs(130);
        assert_quoted(&clock(early, false, false));
        assert_quoted(&memory(&folder.path().join("none")));
        assert_quoted(&in_memory("tmpfs / tmpfs rw 0 0", Path::new("/var/lib")).unwrap());
        assert_quoted(&not_root());
    }

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
        let finding = memory(&folder.path().join("none"));
        assert_eq!(finding.health, Health::Warning);
        assert!(
            finding
                .fix
                .is_some_and(|fix| fix.contains("cgroup_enable=memory"))
        );
    }

    #[test]
    fn dates_are_told_as_calendars_have_them() {
        let check = |seconds: u64, expected: &str| {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(date(time), expected);
        };
        // As `date -u -d @SECONDS` tells them.
        check(0, "1970-01-01 00:00 UTC");
        check(951_782_399, "2000-02-28 23:59 UTC");
        check(951_782_400, "2000-02-29 00:00 UTC");
        check(1_709_251_199, "2024-02-29 23:59 UTC");
        check(1_709_251_200, "2024-03-01 00:00 UTC");
        check(1_798_761_540, "2026-12-31 23:59 UTC");
        check(4_107_542_400, "2100-03-01 00:00 UTC");
    }

    #[test]
    fn a_clock_is_told_by_what_it_says() {
        let early = UNIX_EPOCH + Duration::from_secs(130);
        let finding = clock(early, false, false);
        assert_eq!(finding.health, Health::Warning);
        assert_eq!(
            finding.found,
            "it says 1970-01-01 00:02 UTC: it was never set"
        );
        assert!(finding.fix.is_some_and(|fix| fix.contains("date -s")));
        let finding = clock(early, true, false);
        assert!(finding.found.contains("no time service"));
        assert_eq!(clock(early, true, true).health, Health::Ok);
    }

    #[test]
    fn a_low_supply_is_told_where_there_is_a_sensor() {
        let folder = tempfile::tempdir().unwrap();
        assert!(supply(folder.path()).is_none());
        assert!(supply(&folder.path().join("none")).is_none());
        for (name, alarm) in [("cpu_thermal\n", "1\n"), ("rpi_volt\n", "0\n")] {
            let sensor = folder.path().join(name.trim());
            std::fs::create_dir(&sensor).unwrap();
            std::fs::write(sensor.join("name"), name).unwrap();
            std::fs::write(sensor.join(SUPPLY_ALARM), alarm).unwrap();
        }
        let health = |folder: &Path| supply(folder).map(|finding| finding.health);
        assert_eq!(health(folder.path()), Some(Health::Ok));
        let alarm = folder.path().join(SUPPLY).join(SUPPLY_ALARM);
        std::fs::write(alarm, "1\n").unwrap();
        assert_eq!(health(folder.path()), Some(Health::Warning));
    }

    #[test]
    fn a_spool_in_memory_is_told() {
        let mounts = "/dev/mmcblk0p2 / ext4 rw 0 0\n\
                      tmpfs /run tmpfs rw 0 0\n\
                      overlay / overlay rw,upperdir=/media/root-rw 0 0\n\
                      /dev/mmcblk0p3 /run/disk ext4 rw 0 0\n\
                      tmpfs /var/lib/leadscan tmpfs rw 0 0\n\
                      /dev/sda1 /var/lib/leadscan/spool ext4 rw 0 0\n";
        let is_told = |folder: &str| in_memory(mounts, Path::new(folder)).is_some();
        assert!(is_told("/run"));
        assert!(is_told("/run/leadscan/spool"));
        assert!(is_told("/var/lib/leadscan"));
        assert!(!is_told("/run/disk/spool"));
        assert!(!is_told("/var/lib/leadscan/spool"));
        assert!(!is_told("/runner"));
        let read_only = "/dev/mmcblk0p2 /media/root-ro ext4 ro 0 0\n\
                         tmpfs-root /media/root-rw tmpfs rw 0 0\n\
                         overlayroot / overlay rw,lowerdir=/media/root-ro,\
                         upperdir=/media/root-rw/overlay,workdir=/media/root-rw/work 0 0\n\
                         /dev/mmcblk0p3 /var/lib/leadscan ext4 rw 0 0\n";
        let is_told = |folder: &str| in_memory(read_only, Path::new(folder)).is_some();
        assert!(is_told("/srv"));
        assert!(!is_told("/var/lib/leadscan/spool"));
        assert!(in_memory("", Path::new("/run")).is_none());
    }

    #[test]
    fn a_console_on_the_line_is_told_also_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (port, link) = (folder.path().join("ttyAMA0"), folder.path().join("serial0"));
        std::fs::write(&port, "").unwrap();
        std::os::unix::fs::symlink(&port, &link).unwrap();
        let is_told = |path: &Path, consoles: &str| on_console("line", path, consoles).is_some();
        assert!(is_told(&port, "tty0 ttyAMA0\n"));
        assert!(is_told(&link, "ttyAMA0\n"));
        assert!(!is_told(&link, "tty0 ttyAMA10\n"));
        assert!(!is_told(&folder.path().join("none"), "none\n"));
    }
}
