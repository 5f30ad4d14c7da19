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
//! reference = "file_name"            # the record bears the file's name without its ending
//!
//! [digitize]
//! threads = 1                        # of the nets
//!
//! [gate]
//! check = true                       # pages are looked at before they are accepted
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
//! In: the file's text. Out: `Config`, or every `Problem` with its line and what mends it
//! (`config/problem.rs`). Unknown keys are refused, values out of range too. Units are in the keys'
//! names. `Config::check` looks at destinations and sources as well; no device is opened.

mod problem;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::capture::source::{self, Source};
use crate::capture::{SOURCES, source_named};
use crate::deliver::link::{LINKS, Link, SettingsError, link_named};
use crate::front;
use crate::limits;
use crate::web::Doors;

use super::gate::Checks;

pub use problem::Problem;
use problem::{Reader, explain, instead, unknown_key};

const SOCKET: &str = "control";
/// Where `serve` and `config check` look if they are told of no other file.
pub const DEFAULT_PATH: &str = "/etc/leadscan/leadscan.toml";
/// Names of the file's tables and of its plain keys.
const TABLES: [&str; 11] = [
    "device",
    "socket",
    "switch_off",
    "spool",
    "watch",
    "digitize",
    "gate",
    "source",
    "panel",
    "web",
    "destination",
];

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub device: String,
    /// Where `leadscan status`, `capture` and `spool` reach the service; in the spool's folder
    /// otherwise.
    pub socket: Option<PathBuf>,
    /// What switches the machine off, at the long press of the button.
    #[serde(default = "switch_off")]
    pub switch_off: Vec<String>,
    pub spool: SpoolConfig,
    pub watch: Option<WatchConfig>,
    #[serde(default)]
    pub digitize: DigitizeConfig,
    #[serde(default)]
    pub gate: GateConfig,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<toml::Table>,
    /// The front panel's settings.
    pub panel: Option<toml::Table>,
    pub web: Option<WebConfig>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destination: Vec<toml::Table>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
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
    /// Pages that stay when their records have been delivered everywhere; the oldest give way.
    #[serde(default)]
    pub pages_kept_max: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WatchConfig {
    pub folder: PathBuf,
    #[serde(default = "settle_ms")]
    pub settle_ms: u64,
    #[serde(default)]
    pub reference: Reference,
}

/// What stands in a record as the site's own name for its page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    #[default]
    None,
    /// The file's name without its ending.
    FileName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DigitizeConfig {
    /// Threads of the nets, beside the one for lines and files: a board has other work.
    pub threads: usize,
}

impl Default for DigitizeConfig {
    fn default() -> Self {
        Self { threads: 1 }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WebConfig {
    pub listen: SocketAddr,
    /// Whoever asks from elsewhere than this machine must know what stands in this file.
    pub token_file: Option<PathBuf>,
}

/// What captured pages are held against before they are accepted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateConfig {
    /// Light, sharpness, whether a page is there, whether it looks like the last one.
    pub check: bool,
    /// Read codes, on the page or on a sheet before it, as references.
    pub codes: bool,
    /// Only codes that begin so are references.
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
    #[error("{}", told(path, problems))]
    Problems {
        path: PathBuf,
        problems: Vec<Problem>,
    },
    #[error("{table} {number} has no {key}")]
    Missing {
        table: &'static str,
        number: usize,
        key: &'static str,
    },
    #[error("two {table}s are called {name:?}")]
    SameName { table: &'static str, name: String },
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

/// A line a problem, as compilers write them.
fn told(path: &Path, problems: &[Problem]) -> String {
    let mut text = String::new();
    for (k, problem) in problems.iter().enumerate() {
        let Problem { what, fix, .. } = problem;
        let place = match (problem.line, problem.column) {
            (Some(line), Some(column)) => format!("{line}:{column}:"),
            _ => String::new(),
        };
        let new_line = if k > 0 { "\n" } else { "" };
        // Writing to a text does not fail.
        let _ = write!(text, "{new_line}{}:{place} {what}; {fix}", path.display());
    }
    text
}

impl Config {
    /// The configuration, if its text and values are right.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let (text, path) = (text_of(path)?, path.to_owned());
        let mut reader = Reader::new(&text);
        match Self::read_tables(&mut reader) {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => {
                let problems = reader.into_problems();
                Err(ConfigError::Problems { path, problems })
            }
        }
    }

    /// The configuration, if everything is right that can be known without opening a device.
    pub fn check(path: &Path) -> Result<Self, ConfigError> {
        let (text, path) = (text_of(path)?, path.to_owned());
        let mut reader = Reader::new(&text);
        let config = Self::read_tables(&mut reader);
        check_parts(
            &mut reader,
            config.as_ref().map_or("", |config| &config.device),
        );
        match config {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => {
                let problems = reader.into_problems();
                Err(ConfigError::Problems { path, problems })
            }
        }
    }

    /// With every default filled in.
    pub fn effective(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    fn read_tables(reader: &mut Reader) -> Option<Self> {
        if !reader.problems.is_empty() {
            return None;
        }
        reader.refuse_strangers(&TABLES);
        let device = needed(
            reader,
            "device",
            "at the top, a name by which receivers know it",
        );
        let spool = needed(reader, "spool", "with the folder that jobs are kept in");
        let config = Self {
            device: device.unwrap_or_default(),
            socket: reader.read("socket"),
            switch_off: reader.read("switch_off").unwrap_or_else(switch_off),
            watch: reader.read("watch"),
            digitize: reader.read("digitize").unwrap_or_default(),
            gate: reader.read("gate").unwrap_or_default(),
            source: reader.read("source").unwrap_or_default(),
            panel: reader.read("panel"),
            web: reader.read("web"),
            destination: reader.read("destination").unwrap_or_default(),
            spool: spool?,
        };
        check_ranges(&config, reader);
        Some(config)
    }

    /// The destinations, in the file's order; nothing is opened yet.
    pub fn destinations(&self) -> Result<Vec<Destination>, ConfigError> {
        let make = |name, link, table| destination(name, link, table, &self.device);
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
        each("source", "source", &self.source, named_source)
    }
}

fn text_of(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > limits::CONFIG_BYTES_MAX {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// What must be in the file.
fn needed<T: serde::de::DeserializeOwned>(reader: &mut Reader, key: &str, hint: &str) -> Option<T> {
    if reader.place(&[key]).is_none() {
        reader.add(
            None,
            format!("`{key}` is missing"),
            format!("add it {hint}"),
        );
        return None;
    }
    reader.read(key)
}

/// Numbers that are read but cannot be used.
fn check_ranges(config: &Config, reader: &mut Reader) {
    let Config {
        spool,
        watch,
        digitize,
        ..
    } = config;
    let settle_ms = watch.as_ref().map_or(0, |watch| watch.settle_ms);
    let wide = |count: usize| count as u64;
    let mib_most = u64::MAX >> 20;
    for (table, key, found, [least, most]) in [
        (
            "spool",
            "jobs_max",
            wide(spool.jobs_max),
            [1, wide(limits::SPOOL_JOBS_MAX)],
        ),
        ("spool", "mib_max", spool.mib_max, [1, mib_most]),
        ("spool", "free_mib_min", spool.free_mib_min, [0, mib_most]),
        (
            "spool",
            "pages_kept_max",
            wide(spool.pages_kept_max),
            [0, wide(limits::SPOOL_KEPT_MAX)],
        ),
        ("watch", "settle_ms", settle_ms, [0, limits::SETTLE_MS_MAX]),
        (
            "digitize",
            "threads",
            wide(digitize.threads),
            [1, wide(limits::THREADS_MAX)],
        ),
    ] {
        if !(least..=most).contains(&found) {
            let at = reader.place(&[table, key]);
            let what = format!("`{key}` in `{table}` is {found}");
            reader.add(at, what, format!("give {least} to {most}"));
        }
    }
    if watch.is_none() && config.source.is_empty() && reader.place(&["watch"]).is_none() {
        let fix = "add [watch] with a folder, or a [[source]]";
        reader.add(None, "no pages can come".to_owned(), fix);
    }
    if let Some(Err(error)) = config.panel.as_ref().map(front::check_settings) {
        let at = reader.place(&["panel"]);
        let fix = "`leadscan config init --use bedside` shows its keys";
        reader.add(at, format!("panel: {error}"), fix);
    }
    let (count, max) = (config.destination.len(), limits::SPOOL_DESTINATIONS_MAX);
    if !(1..=max).contains(&count) {
        let at = reader.place(&["destination"]);
        let fix = format!("give 1 to {max} [[destination]] tables");
        reader.add(at, format!("{count} destinations"), fix);
    }
}

/// Destinations and sources, each by itself.
fn check_parts(reader: &mut Reader, device: &str) {
    let make_link = |name, link, table| destination(name, link, table, device).map(drop);
    check_each(reader, "destination", "link", make_link);
    check_each(reader, "source", "source", |name, kind, table| {
        named_source(name, kind, table).map(drop)
    });
}

fn check_each(
    reader: &mut Reader,
    list: &'static str,
    kind: &'static str,
    make: impl Fn(String, String, toml::Table) -> Result<(), ConfigError>,
) {
    // What is no list of tables was told when the tables were read.
    let told = reader.problems.len();
    let tables: Vec<toml::Table> = reader.read(list).unwrap_or_default();
    reader.problems.truncate(told);
    let mut names = BTreeSet::new();
    for (k, table) in tables.into_iter().enumerate() {
        let number = k.to_string();
        if let Some(toml::Value::String(name)) = table.get("name") {
            let is_fit = (1..=limits::SPOOL_NAME_BYTES_MAX).contains(&name.len());
            let at = reader.place(&[list, &number, "name"]);
            if list == "destination" && !is_fit {
                let fix = format!("give 1 to {} letters", limits::SPOOL_NAME_BYTES_MAX);
                reader.add(at, format!("the name {name:?} is too long or empty"), fix);
            } else if !names.insert(name.clone()) {
                let what = format!("two {list}s are called {name:?}");
                reader.add(at, what, "give each a name of its own");
            }
        }
        check_one(reader, [list, &number], kind, table, &make);
    }
}

/// Makes one, and again without each key that it does not know.
fn check_one(
    reader: &mut Reader,
    [list, number]: [&str; 2],
    kind: &'static str,
    mut table: toml::Table,
    make: &impl Fn(String, String, toml::Table) -> Result<(), ConfigError>,
) {
    for _ in 0..limits::CONFIG_PROBLEMS_MAX {
        let one = [table.clone()];
        let Err(error) = each("", kind, &one, make) else {
            return;
        };
        let Told { what, fix, about } = tell(&error, list);
        let key = match &about {
            About::Whole => "",
            About::Key(key) | About::Stranger(key) => key,
        };
        reader.add(reader.place(&[list, number, key]), what, fix);
        match about {
            About::Stranger(key) if table.remove(&key).is_some() => {}
            About::Stranger(_) | About::Key(_) | About::Whole => return,
        }
    }
}

/// What is wrong with a destination or source, and what mends it.
struct Told {
    what: String,
    fix: String,
    about: About,
}

/// Which of its keys that is about.
enum About {
    Whole,
    Key(String),
    /// It does not know this one, and may be looked at again without it.
    Stranger(String),
}

fn tell(error: &ConfigError, list: &str) -> Told {
    let told = |what: String, fix: String, about: About| Told { what, fix, about };
    let named = |name: &str| format!("{list} {name:?}");
    let key = |key: &str| About::Key(key.to_owned());
    match error {
        ConfigError::Missing { key, .. } => {
            let fix = format!("add a line `{key} = ...` to it");
            told(format!("a {list} has no `{key}`"), fix, About::Whole)
        }
        ConfigError::Link { name, link } => {
            let what = format!("{}: there is no link {link:?}", named(name));
            let fix = instead(
                link,
                &LINKS.iter().map(|kind| kind.name).collect::<Vec<_>>(),
            );
            told(what, fix, key("link"))
        }
        ConfigError::Source { name, source_kind } => {
            let what = format!("{}: there is no source {source_kind:?}", named(name));
            let fix = instead(
                source_kind,
                &SOURCES.iter().map(|kind| kind.name).collect::<Vec<_>>(),
            );
            told(what, fix, key("source"))
        }
        ConfigError::Settings {
            name,
            error: SettingsError::Table { reason },
        }
        | ConfigError::SourceSettings {
            name,
            error: source::SettingsError::Table { reason },
        } => tell_table(reason, &named(name)),
        ConfigError::Settings {
            error: SettingsError::Baud { .. },
            ..
        } => told(
            error.to_string(),
            "give one of these".to_owned(),
            key("baud"),
        ),
        other => {
            let fix = "put the file there, or correct its path".to_owned();
            told(other.to_string(), fix, About::Whole)
        }
    }
}

/// `reason` is serde's, and where it is about a value, the last line says `in` which key.
fn tell_table(reason: &str, name: &str) -> Told {
    let value_of = |line: &str| Some(line.strip_prefix("in `")?.strip_suffix('`')?.to_owned());
    let (what, fix) = explain(reason, name);
    let about = match (unknown_key(reason), reason.lines().find_map(value_of)) {
        (Some(key), _) => About::Stranger(key.to_owned()),
        (None, Some(key)) => About::Key(key),
        (None, None) => About::Whole,
    };
    Told { what, fix, about }
}

fn destination(
    name: String,
    link: String,
    table: toml::Table,
    device: &str,
) -> Result<Destination, ConfigError> {
    let Some(kind) = link_named(&link) else {
        return Err(ConfigError::Link { name, link });
    };
    match kind.make(table, device) {
        Ok(link) => Ok(Destination { name, link }),
        Err(error) => Err(ConfigError::Settings { name, error }),
    }
}

fn named_source(
    name: String,
    source_kind: String,
    table: toml::Table,
) -> Result<NamedSource, ConfigError> {
    let Some(kind) = source_named(&source_kind) else {
        return Err(ConfigError::Source { name, source_kind });
    };
    match kind.make(table) {
        Ok(source) => Ok(NamedSource { name, source }),
        Err(error) => Err(ConfigError::SourceSettings { name, error }),
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

    /// The problems of a text, with places.
    fn problems(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        match Config::check(&path) {
            Ok(_) => Vec::new(),
            Err(ConfigError::Problems { problems, .. }) => {
                problems.iter().map(Problem::to_string).collect()
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn tables_are_all_known_by_name() {
        let error = toml::from_str::<Config>("stranger = 1").unwrap_err();
        let names: Vec<&str> = error.message().split('`').skip(3).step_by(2).collect();
        let mut known = TABLES.to_vec();
        known.sort();
        let mut names = names;
        names.sort();
        assert_eq!(names, known);
    }

    #[test]
    fn everything_wrong_is_told_at_once_with_its_place_and_what_mends_it() {
        let text = r#"
device = "office"
webb = 1
[spool]
folder = "spool"
jobs_max = 0
mib_mx = 3
[watch]
folder = "in"
settle = 3
reference = "file"
[digitize]
threads = "two"
[[destination]]
name = "a"
link = "folder"
folder = "out"
[[destination]]
name = "a"
link = "serail"
[[destination]]
name = "b"
link = "serial"
path = "/dev/ttyUSB0"
bad = 1
bauds = 9600
[[destination]]
name = "c"
link = "serial"
path = "/dev/ttyUSB0"
baud = "fast"
"#;
        assert_eq!(
            problems(text),
            [
                "line 3, column 1: unknown key `webb`; did you mean `web`?",
                "line 6, column 1: `jobs_max` in `spool` is 0; give 1 to 20000",
                "line 7, column 1: unknown key `mib_mx` in `spool`; did you mean `mib_max`?",
                "line 10, column 1: unknown key `settle` in `watch`; did you mean `settle_ms`?",
                "line 11, column 13: `file` is not known in `watch`; did you mean `file_name`?",
                "line 13, column 11: invalid type: string \"two\", expected usize in `digitize`; \
                 give a whole number",
                "line 19, column 1: two destinations are called \"a\"; \
                 give each a name of its own",
                "line 20, column 1: destination \"a\": there is no link \"serail\"; \
                 did you mean `serial`?",
                "line 21, column 1: `destination \"b\"` has no `baud`; \
                 add a line `baud = ...` to it",
                "line 25, column 1: unknown key `bad` in `destination \"b\"`; \
                 did you mean `baud`?",
                "line 26, column 1: unknown key `bauds` in `destination \"b\"`; \
                 did you mean `baud`?",
                "line 31, column 1: invalid type: string \"fast\", expected u32 in \
                 `destination \"c\"`; give a whole number",
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let none = problems("[watch]\nsettle_ms = 700000\n");
        assert_eq!(
            none,
            [
                "`device` is missing; add it at the top, a name by which receivers know it",
                "`spool` is missing; add it with the folder that jobs are kept in",
                "line 1, column 1: `watch` has no `folder`; add a line `folder = ...` to it",
            ]
        );
        let nothing = problems("device = \"a\"\n[spool]\nfolder = \"s\"\n").join("\n");
        assert!(
            nothing.contains("no pages can come; add [watch]"),
            "{nothing}"
        );
        assert!(nothing.contains("0 destinations; give 1 to 8"), "{nothing}");
        assert_eq!(problems(WHOLE), [""; 0]);
        let wrong = problems(&WHOLE.replace("folder = \"spool\"", "folder = 3"));
        assert_eq!(
            wrong.len(),
            1,
            "a wrong value is not missing as well: {wrong:?}"
        );
    }

    #[test]
    fn the_effective_configuration_is_the_same_one() {
        let shown = read(WHOLE).unwrap().effective().unwrap();
        for line in [
            "settle_ms = 2000",
            "reference = \"none\"",
            "threads = 1",
            "check = true",
        ] {
            assert!(shown.contains(line), "{line} is not in {shown}");
        }
        assert_eq!(read(&shown).unwrap().effective().unwrap(), shown);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let unknown = refusal(&WHOLE.replace("device", "devise"));
        assert!(
            unknown.contains("leadscan.toml:2:1: unknown key `devise`"),
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
            panel.contains("panel: ") && panel.contains("buton_line"),
            "{panel}"
        );
        assert_eq!(refusal(&twice), "two destinations are called \"files\"");
    }
}
