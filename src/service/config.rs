//! The configuration: one TOML file.
//!
//! ```toml
//! device = "records-office-2"        # how receivers know this device
//!
//! [spool]
//! folder = "/var/lib/leadscan"       # must be on a disk that keeps what it was told to
//!
//! [watch]                            # pages are taken from a folder
//! folder = "/srv/pages"
//! settle_ms = 2000                   # once their size and date have stood still for so long
//!
//! [[source]]                         # and captured, when the button is pressed
//! name = "bed"
//! source = "camera"                  # and that source's own keys
//!
//! [panel]                            # button and light: src/front/settings.rs
//!
//! [web]                              # health and metrics
//! listen = "127.0.0.1:8080"
//!
//! [[destination]]
//! name = "monitor"                   # stands in the spool: a name keeps its queue
//! link = "serial"                    # and that link's own keys
//! path = "/dev/ttyUSB0"
//! baud = 115200
//! ```
//!
//! In: the file's text. Out: `Config`, or a `ConfigError` that names the line. Unknown keys are
//! refused. Units are in the keys' names.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::capture::source::{self, Source};
use crate::capture::source_named;
use crate::deliver::link::{Link, SettingsError, link_named};
use crate::front::{self, PanelError};
use crate::web::Doors;

use super::gate::Checks;

const SOCKET: &str = "control";

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub device: String,
    pub spool: SpoolConfig,
    pub watch: Option<WatchConfig>,
    #[serde(default)]
    pub source: Vec<toml::Table>,
    /// The front panel's settings.
    pub panel: Option<toml::Table>,
    #[serde(default)]
    pub gate: GateConfig,
    pub web: Option<WebConfig>,
    /// Where `leadscan status`, `capture` and `spool` reach the service; in the spool's folder
    /// otherwise.
    pub socket: Option<PathBuf>,
    /// What switches the machine off, at the long press of the button.
    #[serde(default = "switch_off")]
    pub switch_off: Vec<String>,
    #[serde(default)]
    pub destination: Vec<toml::Table>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolConfig {
    pub folder: PathBuf,
    /// Jobs that may wait at once.
    #[serde(default = "jobs_max")]
    pub jobs_max: usize,
    /// Bytes that they may take.
    #[serde(default = "mib_max")]
    pub mib_max: u64,
    /// The disk keeps this much free.
    #[serde(default = "free_mib_min")]
    pub free_mib_min: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchConfig {
    pub folder: PathBuf,
    #[serde(default = "settle_ms")]
    pub settle_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebConfig {
    pub listen: SocketAddr,
    /// Whoever asks from elsewhere than this machine must know what stands in this file.
    pub token_file: Option<PathBuf>,
}

/// What captured pages are held against before they are accepted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// Light, sharpness, whether a page is there, whether it looks like the last one.
    #[serde(default = "yes")]
    pub check: bool,
    /// Read codes, on the page or on a sheet before it, as references.
    #[serde(default)]
    pub codes: bool,
    /// Only codes that begin so are references.
    #[serde(default)]
    pub code_begins: String,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            check: true,
            codes: false,
            code_begins: String::new(),
        }
    }
}

fn yes() -> bool {
    true
}

fn switch_off() -> Vec<String> {
    ["systemctl", "poweroff"].map(str::to_owned).to_vec()
}

fn jobs_max() -> usize {
    10_000
}

fn mib_max() -> u64 {
    4_096
}

fn free_mib_min() -> u64 {
    256
}

fn settle_ms() -> u64 {
    2_000
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path} cannot be read: {error}", path = path.display())]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{path}: {reason}", path = path.display())]
    Text { path: PathBuf, reason: String },
    #[error("{table} {number} has no {key}")]
    Missing {
        table: &'static str,
        number: usize,
        key: &'static str,
    },
    #[error("two {table}s are called {name:?}")]
    SameName { table: &'static str, name: String },
    #[error("no pages can come: add [watch] with a folder, or a [[source]]")]
    NoPages,
    #[error("panel: {error}")]
    Panel { error: PanelError },
    #[error("source {name:?}: there is no source {source_kind:?}")]
    Source { name: String, source_kind: String },
    #[error("source {name:?}: {error}")]
    SourceSettings {
        name: String,
        error: source::SettingsError,
    },
    #[error("destination {name:?}: there is no link {link:?}")]
    Link { name: String, link: String },
    #[error("destination {name:?}: {error}")]
    Settings { name: String, error: SettingsError },
}

/// A destination that is ready to be used.
pub struct Destination {
    pub name: String,
    pub link: Box<dyn Link>,
}

/// A source that is ready to be used.
pub struct NamedSource {
    pub name: String,
    pub source: Box<dyn Source>,
}

impl Config {
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::Text {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        if config.watch.is_none() && config.source.is_empty() {
            return Err(ConfigError::NoPages);
        }
        if let Some(panel) = &config.panel {
            front::check_settings(panel).map_err(|error| ConfigError::Panel { error })?;
        }
        Ok(config)
    }

    /// The destinations, in the file's order; nothing is opened yet.
    pub fn destinations(&self) -> Result<Vec<Destination>, ConfigError> {
        let make = |name: String, link: String, table| {
            let Some(kind) = link_named(&link) else {
                return Err(ConfigError::Link { name, link });
            };
            match kind.make(table, &self.device) {
                Ok(link) => Ok(Destination { name, link }),
                Err(error) => Err(ConfigError::Settings { name, error }),
            }
        };
        each("destination", "link", &self.destination, make)
    }

    /// What the gate looks at.
    pub fn checks(&self) -> Checks {
        let codes = self.gate.codes.then(|| self.gate.code_begins.clone());
        Checks {
            page: self.gate.check,
            codes,
        }
    }

    /// Where the service is to be reached.
    pub fn doors(&self) -> Doors {
        Doors {
            listen: self.web.as_ref().map(|web| web.listen),
            token_file: self.web.as_ref().and_then(|web| web.token_file.clone()),
            socket: Some(self.socket()),
        }
    }

    pub fn socket(&self) -> PathBuf {
        let own = || self.spool.folder.join(SOCKET);
        self.socket.clone().unwrap_or_else(own)
    }

    /// The sources, in the file's order; nothing is opened yet.
    pub fn sources(&self) -> Result<Vec<NamedSource>, ConfigError> {
        let make = |name: String, source_kind: String, table| {
            let Some(kind) = source_named(&source_kind) else {
                return Err(ConfigError::Source { name, source_kind });
            };
            match kind.make(table) {
                Ok(source) => Ok(NamedSource { name, source }),
                Err(error) => Err(ConfigError::SourceSettings { name, error }),
            }
        };
        each("source", "source", &self.source, make)
    }
}

/// Makes something of each of the tables, which have names of their own and say what they are.
fn each<T>(
    table: &'static str,
    kind: &'static str,
    tables: &[toml::Table],
    make: impl Fn(String, String, toml::Table) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    let mut names = BTreeSet::new();
    let mut made = Vec::new();
    for (k, given) in tables.iter().enumerate() {
        let (mut given, number) = (given.clone(), k + 1);
        let mut take = |key| match given.remove(key) {
            Some(toml::Value::String(text)) => Ok(text),
            _ => Err(ConfigError::Missing { table, number, key }),
        };
        let (name, kind) = (take("name")?, take(kind)?);
        if !names.insert(name.clone()) {
            return Err(ConfigError::SameName { table, name });
        }
        made.push(make(name, kind, given)?);
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
device = "office"
[spool]
folder = "spool"
[watch]
folder = "in"
[[destination]]
name = "files"
link = "folder"
folder = "out"
"#;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leadscan.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    fn refusal(text: &str) -> String {
        match read(text).and_then(|config| Ok((config.sources()?, config.destinations()?))) {
            Ok(_) => panic!("{text} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_configuration_is_read() {
        let config = read(WHOLE).unwrap();
        assert_eq!(config.watch.as_ref().unwrap().settle_ms, 2_000);
        let destinations = config.destinations().unwrap();
        assert_eq!(destinations.len(), 1);
        assert_eq!(destinations[0].name, "files");
    }

    #[cfg(feature = "mqtt")]
    #[test]
    fn the_samples_are_configurations() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("board/samples");
        let (mut destinations, mut sources) = (0, 0);
        for entry in std::fs::read_dir(folder).unwrap() {
            let config = Config::read(&entry.unwrap().path()).unwrap();
            destinations += config.destinations().unwrap().len();
            // A build without the feature `camera` has fewer sources than the samples use.
            if cfg!(feature = "camera") {
                sources += config.sources().unwrap().len();
            }
        }
        assert_eq!(destinations, 4);
        assert_eq!(sources, if cfg!(feature = "camera") { 2 } else { 0 });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let unknown = refusal(&WHOLE.replace("device", "devise"));
        assert!(
            unknown.contains("devise") && unknown.contains("line 2"),
            "{unknown}"
        );
        let link = refusal(&WHOLE.replace("\"folder\"\nfolder", "\"pigeon\"\nfolder"));
        assert_eq!(link, "destination \"files\": there is no link \"pigeon\"");
        let nameless = refusal(&WHOLE.replace("name = \"files\"\n", ""));
        assert_eq!(nameless, "destination 1 has no name");
        let twice = format!(
            "{WHOLE}\n[[destination]]\nname = \"files\"\nlink = \"folder\"\nfolder = \"b\"\n"
        );
        let none = refusal("device = \"a\"\n[spool]\nfolder = \"s\"\n");
        assert!(none.contains("[watch]"), "{none}");
        let source = refusal(&WHOLE.replace(
            "[[dest",
            "[[source]]\nname = \"bed\"\nsource = \"eye\"\n[[dest",
        ));
        assert_eq!(source, "source \"bed\": there is no source \"eye\"");
        let panel = "[panel]\nbackend = \"gpiocdev\"\nbuton_line = \"GPIO17\"\n[[dest";
        let panel = refusal(&WHOLE.replace("[[dest", panel));
        assert!(
            panel.starts_with("panel: ") && panel.contains("buton_line"),
            "{panel}"
        );
        assert_eq!(refusal(&twice), "two destinations are called \"files\"");
    }
}
