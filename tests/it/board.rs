//! What `board/` ships: every TOML file is what it should be, every use on every board is a
//! configuration, and the READMEs name files that are there and quote what `doctor` says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const USES: [&str; 3] = ["kiosk", "bedside", "headless"];
/// Names of a board, not a configuration: `config init --board` puts them into one.
const NAMES_FILE: &str = "board.toml";
/// Of the program `cross`, not ours.
const STRANGERS: [&str; 1] = ["Cross.toml"];

fn board() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("board")
}

fn leadscan(words: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_leadscan");
    Command::new(program).args(words).output().unwrap()
}

/// What was said on stdout where the command went well, on stderr otherwise.
fn said(words: &[&str]) -> Result<String, String> {
    let output = leadscan(words);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// Files below a folder whose names end so.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// What is wrong with the TOML files below a folder, each of which must be a configuration, the
/// names of a board that `config init` knows, or a known stranger.
fn wrong(folder: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for path in files(folder, ".toml") {
        let checked = match name(&path).as_str() {
            NAMES_FILE => names(&path),
            stranger if STRANGERS.contains(&stranger) => Ok(()),
            _ => said(&["config", "check", "--config", path.to_str().unwrap()]).map(drop),
        };
        if let Err(why) = checked {
            wrong.push(format!("{}: {why}", path.display()));
        }
    }
    wrong
}

/// A board's names: the program has them, and puts them where they belong, in every use.
fn names(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).unwrap();
    let names: toml::Table = toml::from_str(&text).map_err(|error| error.to_string())?;
    let board = name(path.parent().unwrap());
    let mut written = String::new();
    for usage in USES {
        written += &begun(usage, &board)?;
    }
    for (key, value) in &names {
        if !written.contains(&value.to_string()) {
            return Err(format!(
                "{key} = {value} is in no configuration for {board}"
            ));
        }
    }
    Ok(())
}

/// What `config init` writes for that use and board, if it is a configuration.
fn begun(usage: &str, board: &str) -> Result<String, String> {
    let text = said(&["config", "init", "--use", usage, "--board", board])?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{usage}-{board}.toml"));
    std::fs::write(&path, &text).unwrap();
    said(&["config", "check", "--config", path.to_str().unwrap()])?;
    Ok(text)
}

#[test]
fn every_shipped_file_is_checked() {
    assert_eq!(wrong(&board()), Vec::<String>::new());
    let found: Vec<String> = files(&board(), ".toml").iter().map(|f| name(f)).collect();
    for usage in USES {
        assert!(found.contains(&format!("{usage}.toml")), "{found:?}");
    }
    assert!(
        found.iter().filter(|it| *it == NAMES_FILE).count() >= 3,
        "{found:?}"
    );
}

#[test]
fn every_use_on_every_board_is_a_configuration() {
    for usage in USES {
        for path in files(&board(), NAMES_FILE) {
            let board = name(path.parent().unwrap());
            begun(usage, &board).unwrap();
        }
        let shipped = board().join(usage).join(format!("{usage}.toml"));
        let shipped = std::fs::read_to_string(shipped).unwrap();
        assert_eq!(begun(usage, "generic").unwrap(), shipped);
    }
}

/// A copy of what is shipped, to be broken.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for path in files(&board(), ".toml") {
        let to = folder.path().join(path.strip_prefix(board()).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&path, to).unwrap();
    }
    folder
}

#[test]
fn a_broken_file_and_one_that_is_nothing_are_told() {
    let check = |path: &str, old: &str, new: &str, expected: &str| {
        let folder = copy();
        let path = folder.path().join(path);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text.contains(old), "{text}");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text.replacen(old, new, 1)).unwrap();
        let wrong = wrong(folder.path());
        let [told] = &wrong[..] else {
            panic!("one file is broken: {wrong:?}");
        };
        assert!(told.contains(expected), "{told}");
    };
    check(
        "bedside/bedside.toml",
        "baud = 115200",
        "baud = 300",
        "300 baud",
    );
    check("headless/broker.toml", "prefix", "prefx", "prefx");
    check(
        "kiosk/kiosk.toml",
        "debounce_ms = 30",
        "debounce_ms = 3",
        "debounce_ms",
    );
    check("rpi5/board.toml", "GPIO17", "GPIO71", "GPIO71");
    check("rpi4/board.toml", "\"", "", "board.toml");
    check("new/stray.toml", "", "nothing = 1", "stray.toml");
    check("rpi9/board.toml", "", "serial = \"/dev/ttyS9\"", "rpi9");
}

/// Paths in `board/` that a text names between backticks.
fn named_paths(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let first = quoted.filter_map(|quoted| quoted.split_whitespace().next());
    first.filter(|path| path.starts_with("board/")).collect()
}

#[test]
fn readmes_name_files_that_are_there() {
    let root = board().parent().unwrap().to_owned();
    let mut count = 0;
    for readme in files(&board(), "README.md") {
        let text = std::fs::read_to_string(&readme).unwrap();
        for path in named_paths(&text) {
            assert!(root.join(path).exists(), "{}: {path}", readme.display());
            count += 1;
        }
    }
    assert!(count > 0, "no README names a file");
    assert_eq!(named_paths("`board/a.toml x` and `b`"), ["board/a.toml"]);
}

/// What systemd has to say of the unit with these drop-ins; nothing, where it understands them.
fn said_of(drop_ins: &[(&str, &str)]) -> Option<String> {
    let output = crate::unit::analysis(&["verify", "--man=no"], drop_ins)?;
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn systemd_understands_what_is_added_to_the_unit() {
    let drop_ins = [
        "kiosk/network.conf",
        "headless/folders.conf",
        "generic/port.conf",
    ];
    let texts = drop_ins.map(|path| std::fs::read_to_string(board().join(path)).unwrap());
    let named: Vec<_> = ["a.conf", "b.conf", "c.conf"]
        .into_iter()
        .zip(&texts)
        .collect();
    let named: Vec<_> = named
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let Some(said) = said_of(&named) else { return };
    assert_eq!(said, "");
    let wrong = said_of(&[("a.conf", "[Service]\nIPAddressAlow=192.0.2.1\n")]);
    assert!(wrong.is_some_and(|said| said.contains("IPAddressAlow")));
}

/// A README's part about the light.
fn light_of(readme: &str) -> &str {
    let (_, after) = readme.split_once("\n## The light\n").unwrap();
    after.split_once("\n## ").unwrap().0
}

#[test]
fn every_readme_tells_the_light_alike() {
    let text = |folder: &str| std::fs::read_to_string(board().join(folder).join("README.md"));
    let told = text("kiosk").unwrap();
    for folder in ["bedside", "rpi4", "rpi5", "generic"] {
        assert_eq!(
            light_of(&text(folder).unwrap()),
            light_of(&told),
            "{folder}"
        );
    }
}

/// Nothing of it is there; the ports are closed ones, the scanner's program finds nothing.
fn nothing_there(folder: &Path, ports: [u16; 2]) -> String {
    let (spool, scanimage) = (folder.join("spool"), folder.join("scanimage"));
    let script = "#!/bin/sh\n";
    std::fs::write(&scanimage, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&scanimage, mode).unwrap();
    format!(
        r#"
        device = "x"
        spool = {{ folder = {spool:?}, free_mib_min = 0 }}
        watch = {{ folder = "/var/lib/leadscan/in" }}
        [[source]]
        name = "bed"
        source = "camera"
        usb = "046d:0825"
        [[source]]
        name = "bed-2"
        source = "rpicam"
        [[source]]
        name = "scanner"
        source = "scanner"
        program = {scanimage:?}
        vendor = "FUJITSU"
        model = "ScanSnap iX500"
        [[destination]]
        name = "monitor"
        link = "serial"
        path = "/dev/ttyAMA0"
        baud = 115200
        [[destination]]
        name = "archive"
        link = "tcp"
        address = "127.0.0.1:{}"
        security = "plain"
        [[destination]]
        name = "broker"
        link = "mqtt"
        address = "127.0.0.1:{}"
        security = "plain"
        prefix = "x"
        [[destination]]
        name = "records"
        link = "folder"
        folder = "/var/lib/leadscan/records"
        "#,
        ports[0], ports[1]
    )
}

/// A port that nobody listens at.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn what_is_not_there_is_told_as_the_readmes_quote_it() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [closed_port(), closed_port()];
    let path = folder.path().join("leadscan.toml");
    std::fs::write(&path, nothing_there(folder.path(), ports)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_leadscan"))
        .args(["doctor", "--config", path.to_str().unwrap()])
        .env("PATH", folder.path().join("empty"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let said = said.replace(&ports[0].to_string(), "7400");
    let said = said.replace(&ports[1].to_string(), "1883");
    let said = said.replace("source bed-2", "source bed");
    let said = said.replace("destination records", "destination archive");
    for (folder, begin) in [
        ("bedside", "BROKEN  source bed: camera 046d:0825"),
        ("bedside", "BROKEN  source bed: camera 0 of rpicam-still"),
        ("bedside", "BROKEN  destination monitor"),
        ("kiosk", "BROKEN  source scanner"),
        ("kiosk", "BROKEN  destination archive: 127.0.0.1:7400"),
        ("headless", "BROKEN  watched folder"),
        ("headless", "BROKEN  destination broker"),
        ("headless", "BROKEN  destination archive: /var/lib"),
    ] {
        let readme = board().join(folder).join("README.md");
        let readme = std::fs::read_to_string(readme).unwrap();
        let mut lines = said.lines().zip(said.lines().skip(1));
        let (line, fix) = lines
            .find(|(line, _)| line.starts_with(begin))
            .expect(begin);
        assert!(readme.contains(line), "{folder}: {line}");
        assert!(fix.starts_with("        -> "), "{fix}");
    }
}
