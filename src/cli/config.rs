//! `leadscan config`: checks, shows and begins configurations.
//!
//! In: a configuration file; or what a device is to be used for. Out: every problem on a line of its
//! own with what mends it; the configuration with all defaults; a commented file to edit, which
//! never takes the place of another. Exit status 2: the configuration cannot be used.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::arguments::{
    Board, ConfigCheckArguments, ConfigCommand, ConfigInitArguments, ConfigShowArguments, Use,
};
use super::{ExitStatus, UsageError, write_json};
use crate::service::config::{Config, ConfigError, Problem};
use crate::service::run::ServeError;

/// A board, and its own serial line; the by-id name of an adapter where it has none.
const SERIAL: [(Board, &str); 3] = [
    (Board::Generic, SAMPLE_SERIAL),
    (Board::Rpi4, "/dev/serial0"),
    // serial0 is the debug connector there; the header's is this one.
    (Board::Rpi5, "/dev/ttyAMA0"),
];
/// As the samples have it.
const SAMPLE_SERIAL: &str = "/dev/serial/by-id/usb-monitor";

/// Carries out one of them.
pub fn config(command: &ConfigCommand) -> Result<ExitStatus, UsageError> {
    match command {
        ConfigCommand::Check(arguments) => check(arguments),
        ConfigCommand::Show(arguments) => show(arguments),
        ConfigCommand::Init(arguments) => init(arguments),
    }
}

#[derive(Serialize)]
struct Checked {
    file: String,
    ok: bool,
    problems: Vec<Problem>,
}

fn check(arguments: &ConfigCheckArguments) -> Result<ExitStatus, UsageError> {
    let path = &arguments.config;
    let found = Config::check(path);
    if arguments.json {
        let problems = match &found {
            Ok(_) => Vec::new(),
            Err(ConfigError::Problems { problems, .. }) => problems.clone(),
            Err(error) => vec![as_problem(error)],
        };
        write_json(&Checked {
            file: path.display().to_string(),
            ok: found.is_ok(),
            problems,
        })?;
    }
    match found {
        Ok(config) => {
            if !arguments.json {
                println!("{}: {}", path.display(), summary(&config));
            }
            Ok(ExitStatus::Done)
        }
        Err(error) => {
            if !arguments.json {
                eprintln!("{error}");
            }
            Ok(ExitStatus::Usage)
        }
    }
}

fn as_problem(error: &ConfigError) -> Problem {
    Problem {
        line: None,
        column: None,
        what: error.to_string(),
        fix: "leadscan config init writes one to begin with".to_owned(),
    }
}

fn summary(config: &Config) -> String {
    let watched = config
        .watch
        .as_ref()
        .map_or("no folder is watched".to_owned(), |watch| {
            format!("{} is watched", watch.folder.display())
        });
    format!(
        "in order: {watched}, {} sources, {} destinations",
        config.source.len(),
        config.destination.len()
    )
}

fn show(arguments: &ConfigShowArguments) -> Result<ExitStatus, UsageError> {
    let config = Config::read(&arguments.config).map_err(ServeError::Config)?;
    let text = config
        .effective()
        .map_err(|error| UsageError::Stdout(std::io::Error::other(error)))?;
    print!("{text}");
    Ok(ExitStatus::Done)
}

fn init(arguments: &ConfigInitArguments) -> Result<ExitStatus, UsageError> {
    let text = sample(arguments.usage, arguments.board);
    let Some(path) = &arguments.out else {
        std::io::stdout()
            .lock()
            .write_all(text.as_bytes())
            .map_err(UsageError::Stdout)?;
        return Ok(ExitStatus::Done);
    };
    create(path, &text).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => UsageError::Exists { path: path.clone() },
        _ => UsageError::Write {
            path: path.clone(),
            error,
        },
    })?;
    let name = path.display();
    eprintln!(
        "{name} is written: put in the device's name, the folders and where records go, then\n  \
         leadscan config check --config {name}"
    );
    Ok(ExitStatus::Done)
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The commented configuration for that use, with the board's names.
fn sample(usage: Use, board: Board) -> String {
    let text = match usage {
        Use::Kiosk => include_str!("../../board/kiosk/kiosk.toml"),
        Use::Bedside => include_str!("../../board/bedside/bedside.toml"),
        Use::Headless => include_str!("../../board/headless/headless.toml"),
    };
    let serial = SERIAL.iter().find(|(known, _)| *known == board);
    text.replace(
        SAMPLE_SERIAL,
        serial.map_or(SAMPLE_SERIAL, |(_, serial)| serial),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_a_configuration_on_every_board() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leadscan.toml");
        for usage in [Use::Kiosk, Use::Bedside, Use::Headless] {
            for (board, serial) in SERIAL {
                let text = sample(usage, board);
                std::fs::write(&path, &text).unwrap();
                let config = Config::check(&path).unwrap();
                let has_serial = config
                    .destination
                    .iter()
                    .any(|table| table.contains_key("baud"));
                assert_eq!(text.contains(serial), has_serial, "{usage:?} {board:?}");
            }
        }
    }

    #[test]
    fn a_file_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leadscan.toml");
        create(&path, "mine").unwrap();
        assert!(create(&path, "other").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
