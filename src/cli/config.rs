//! `leadscan config`: checks, shows and begins configurations.
//!
//! In: a configuration file; or what a device is to be used for. Out: every problem on a line of its
//! own with what mends it; the configuration with all defaults; a commented file to edit, which
//! never takes the place of another. Exit status 2: the configuration cannot be used.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::arguments::{
    Board, ConfigCheckArguments, ConfigCommand, ConfigInitArguments, ConfigShowArguments, Use,
};
use super::{ExitStatus, UsageError, write_json};
use crate::service::config::{Config, ConfigError, Problem};
use crate::service::run::ServeError;

/// Names that a board gives to what is wired to it: `board/BOARD/board.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    /// Its serial line, or an adapter's.
    serial: String,
    button_line: String,
    light_line: String,
}

impl Names {
    fn of(board: Board) -> Self {
        let text = match board {
            Board::Generic => include_str!("../../board/generic/board.toml"),
            Board::Rpi4 => include_str!("../../board/rpi4/board.toml"),
            Board::Rpi5 => include_str!("../../board/rpi5/board.toml"),
        };
        toml::from_str(text).expect("it was shipped with us, and a test reads each")
    }

    fn each(&self) -> [&str; 3] {
        [&self.serial, &self.button_line, &self.light_line]
    }
}

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

/// The commented configuration for that use, with the board's names in place of the generic ones.
fn sample(usage: Use, board: Board) -> String {
    let text = match usage {
        Use::Kiosk => include_str!("../../board/kiosk/kiosk.toml"),
        Use::Bedside => include_str!("../../board/bedside/bedside.toml"),
        Use::Headless => include_str!("../../board/headless/headless.toml"),
    };
    let (generic, own) = (Names::of(Board::Generic), Names::of(board));
    let pairs = generic.each().into_iter().zip(own.each());
    pairs.fold(text.to_owned(), |text, (generic, own)| {
        text.replace(&format!("{generic:?}"), &format!("{own:?}"))
    })
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_use_is_a_configuration_on_every_board_with_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leadscan.toml");
        for usage in Use::value_variants() {
            for board in Board::value_variants() {
                let (text, names) = (sample(*usage, *board), Names::of(*board));
                std::fs::write(&path, &text).unwrap();
                // A build without `camera` or `gpio` lacks what the samples use.
                if cfg!(all(feature = "camera", feature = "gpio")) {
                    Config::check(&path).unwrap();
                }
                let config = Config::read(&path).unwrap();
                let place = (usage, board);
                let panel = config.panel.as_ref();
                let line = |key: &str| panel.map(|panel| panel[key].as_str().unwrap().to_owned());
                assert_eq!(panel.is_some(), *usage != Use::Headless, "{place:?}");
                if panel.is_some() {
                    assert_eq!(line("button_line").unwrap(), names.button_line, "{place:?}");
                    assert_eq!(line("light_line").unwrap(), names.light_line, "{place:?}");
                }
                let serial = config.destination.iter().find(|to| to.contains_key("baud"));
                let path = serial.map(|to| to["path"].as_str().unwrap());
                let expected = (*usage == Use::Bedside).then_some(names.serial.as_str());
                assert_eq!(path, expected, "{place:?}");
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
