//! `leadscan devices`: what pages can come from and records can go to here, each with the table for
//! the configuration.
//!
//! In: what the sources find, the names in `/dev`. Out: a list for people, or JSON. Nothing is opened
//! but what a source must open to look. A source that fails to look is told, and the others are
//! listed.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arguments::DevicesArguments;
use super::{ExitStatus, UsageError, write_json};
use crate::capture::SOURCES;
use crate::limits;

const SERIAL_BY_ID: &str = "/dev/serial/by-id";
/// Lines without a name of their own: on the board, or of an adapter that has no serial number.
const SERIAL_PREFIXES: [&str; 2] = ["ttyAMA", "ttyUSB"];
const GPIO_PREFIX: &str = "gpiochip";

/// Something that can be used here.
#[derive(Debug, PartialEq, Serialize)]
struct Device {
    /// `camera` and the like, `serial`, `gpio`.
    sort: String,
    name: String,
    /// What to copy into the configuration.
    table: Option<String>,
}

#[derive(Serialize)]
struct Found {
    devices: Vec<Device>,
    /// Sources that could not look.
    troubles: Vec<String>,
}

/// Lists.
pub fn devices(arguments: &DevicesArguments) -> Result<ExitStatus, UsageError> {
    let mut found = Found {
        devices: Vec::new(),
        troubles: Vec::new(),
    };
    for source in SOURCES {
        match source.devices() {
            Ok(names) => found
                .devices
                .extend(names.into_iter().map(|name| of_source(source.name, name))),
            Err(error) => found.troubles.push(format!("{}: {error}", source.name)),
        }
    }
    let dev = Path::new("/dev");
    found.devices.extend(
        serial_lines(Path::new(SERIAL_BY_ID), dev)
            .into_iter()
            .map(serial),
    );
    found
        .devices
        .extend(named(dev, &[GPIO_PREFIX]).into_iter().map(gpio));
    if arguments.json {
        write_json(&found)?;
    } else {
        tell(&found);
    }
    Ok(ExitStatus::Done)
}

fn of_source(sort: &str, line: String) -> Device {
    let table = format!("[[source]]\nname = \"{sort}\"\nsource = \"{sort}\"\n# {line}\n");
    Device {
        sort: sort.to_owned(),
        name: line,
        table: Some(table),
    }
}

fn serial(path: PathBuf) -> Device {
    let name = path.display().to_string();
    let table = format!(
        "[[destination]]\nname = \"monitor\"\nlink = \"serial\"\npath = {name:?}\nbaud = 115200\n"
    );
    Device {
        sort: "serial".to_owned(),
        name,
        table: Some(table),
    }
}

fn gpio(path: PathBuf) -> Device {
    Device {
        sort: "gpio".to_owned(),
        name: path.display().to_string(),
        table: None,
    }
}

/// Ports by the name that stays, then those that have none.
fn serial_lines(by_id: &Path, dev: &Path) -> Vec<PathBuf> {
    let named_ports = named(by_id, &[""]);
    let target = |path: &PathBuf| std::fs::canonicalize(path).ok();
    let known: Vec<PathBuf> = named_ports.iter().filter_map(target).collect();
    let mut others = named(dev, &SERIAL_PREFIXES);
    others.retain(|path| target(path).is_none_or(|path| !known.contains(&path)));
    named_ports.into_iter().chain(others).collect()
}

/// Entries of a folder whose names begin so, sorted; none where there is no such folder.
fn named(folder: &Path, prefixes: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            prefixes.iter().any(|prefix| name.starts_with(prefix))
        })
        .take(limits::DEVICES_MAX)
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

fn tell(found: &Found) {
    for device in &found.devices {
        println!("{:8}  {}", device.sort, device.name);
        for line in device.table.iter().flat_map(|table| table.lines()) {
            println!("          {line}");
        }
    }
    for trouble in &found.troubles {
        println!("trouble   {trouble}");
    }
    if found.devices.is_empty() {
        println!("no source, serial port or GPIO chip is here; plug it in, or look for its driver");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_listed_once_by_the_name_that_stays() {
        let dev = tempfile::tempdir().unwrap();
        let by_id = dev.path().join("by-id");
        std::fs::create_dir(&by_id).unwrap();
        for name in ["ttyUSB0", "ttyUSB1", "ttyAMA0", "tty1", "gpiochip0"] {
            std::fs::write(dev.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(dev.path().join("ttyUSB1"), by_id.join("usb-monitor")).unwrap();
        let found = serial_lines(&by_id, dev.path());
        let names = found
            .iter()
            .map(|path| path.strip_prefix(dev.path()).unwrap());
        let names: Vec<_> = names.map(|name| name.display().to_string()).collect();
        assert_eq!(names, ["by-id/usb-monitor", "ttyAMA0", "ttyUSB0"]);
        assert_eq!(named(dev.path(), &[GPIO_PREFIX]).len(), 1);
        assert_eq!(named(&dev.path().join("none"), &[""]).len(), 0);
    }

    #[test]
    fn a_serial_ports_table_is_a_destination() {
        let table = serial("/dev/serial/by-id/usb-a".into()).table.unwrap();
        let table: toml::Table = toml::from_str(&table).unwrap();
        assert!(table["destination"][0]["baud"].is_integer());
    }
}
