//! The commands for people, as processes: configuration, selftest, test page, devices, manuals.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use leadscan::page::RawImage;
use leadscan::testpage;
use serde_json::Value;
use tempfile::TempDir;

fn leadscan(folder: &TempDir, words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_leadscan"))
        .current_dir(folder)
        .args(words.split(' '))
        .output()
        .unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What was said on stdout and stderr of a command that ended with `code`.
#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[track_caller]
fn json(output: &Output, code: i32) -> Value {
    said(output, code);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The printed page as a scanner sees it: at 200 dpi, turned by half a degree, so much of its size,
/// a little blurred, noisy.
fn scanned(size: [f32; 2]) -> RawImage {
    let page = testpage::draw(testpage::PRINT_DPI).unwrap();
    let (width, height) = (2339, 1654);
    let step = testpage::PRINT_DPI / 200.0;
    let (sin, cos) = 0.5f32.to_radians().sin_cos();
    let mut noise = 7u32;
    let mut rgb = Vec::with_capacity(3 * width * height);
    for k in 0..width * height {
        let (x, y) = ((k % width) as f32 - 1169.5, (k / width) as f32 - 827.0);
        let mut sum = [0.0; 3];
        // Nine places around the pixel: the lens.
        for place in 0..9 {
            let (dx, dy) = ((place % 3 - 1) as f32 * 0.5, (place / 3 - 1) as f32 * 0.5);
            let (x, y) = ((x + dx) * step, (y + dy) * step);
            let at = [cos * x + sin * y, cos * y - sin * x];
            let ink = at_point(&page, [at[0] / size[0] + 1754.0, at[1] / size[1] + 1240.0]);
            sum.iter_mut()
                .zip(ink)
                .for_each(|(sum, ink)| *sum += ink / 9.0);
        }
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let off = (noise >> 24) as f32 / 16.0 - 8.0;
        rgb.extend(sum.map(|value| (0.94 * value + off).clamp(0.0, 255.0) as u8));
    }
    RawImage::new(width, height, rgb).unwrap()
}

/// Between pixels; beside the page it is white.
fn at_point(page: &RawImage, [x, y]: [f32; 2]) -> [f32; 3] {
    let (left, top) = (x.floor(), y.floor());
    if left < 0.0 || top < 0.0 {
        return [255.0; 3];
    }
    let (column, row) = (left as usize, top as usize);
    if column + 1 >= page.width() || row + 1 >= page.height() {
        return [255.0; 3];
    }
    let mut value = [0.0; 3];
    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let share = |off: usize, part: f32| if off == 1 { part } else { 1.0 - part };
        let weight = share(dx, x - left) * share(dy, y - top);
        let pixel = page.pixel(column + dx, row + dy);
        value
            .iter_mut()
            .zip(pixel)
            .for_each(|(v, p)| *v += weight * f32::from(p));
    }
    value
}

fn save(folder: &TempDir, name: &str, page: &RawImage) -> PathBuf {
    let path = folder.path().join(name);
    let (width, height) = (page.width() as u32, page.height() as u32);
    image::save_buffer(&path, page.rgb(), width, height, image::ColorType::Rgb8).unwrap();
    path
}

fn number(value: &Value, path: &str) -> f64 {
    let found = value.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no number {path} in {value}"))
}

#[test]
fn the_selftest_passes_and_tells_what_it_saw() {
    let found = json(&leadscan(&folder(), "selftest --json"), 0);
    println!("{found}");
    assert_eq!(
        (&found["ok"], &found["same_samples"]),
        (&true.into(), &true.into())
    );
    assert_eq!(found["comparison"]["traces"].as_array().unwrap().len(), 13);
    assert_eq!(found["models"][0]["sha256"].as_str().unwrap().len(), 64);
    let stages = found["stages"].as_array().unwrap();
    for name in [
        "load", "draw", "read", "labels", "grid", "layout", "trace", "signal",
    ] {
        assert!(
            stages.iter().any(|stage| stage["stage"] == name),
            "{name}: {stages:?}"
        );
    }
    assert!(number(&found, "/peak_memory_mib") <= 128.0);
}

#[test]
fn the_selftest_fails_with_other_models_and_says_why() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nn/random");
    let words = format!("selftest --models {}", models.display());
    let said = said(&leadscan(&folder(), &words), 1);
    assert!(said.contains("fault     the page was not read: "), "{said}");
    assert!(said.contains("selftest: not ok"), "{said}");
    let none = leadscan(&folder(), "selftest --models none");
    assert_eq!(none.status.code(), Some(2));
}

#[test]
fn the_test_page_states_its_size_and_comes_back_true() {
    let folder = folder();
    said(&leadscan(&folder, "testpage --out page.png"), 0);
    let file = std::fs::File::open(folder.path().join("page.png")).unwrap();
    let reader = png::Decoder::new(std::io::BufReader::new(file))
        .read_info()
        .unwrap();
    let info = reader.info();
    assert_eq!((info.width, info.height), (3508, 2480));
    assert_eq!(info.pixel_dims.unwrap().xppu, 11_811);
    let found = json(&leadscan(&folder, "testpage --verify page.png --json"), 0);
    println!("{found}");
    for path in ["/scale/error_x", "/scale/error_y", "/comparison/time_error"] {
        assert!(number(&found, path).abs() < 0.003, "{path}: {found}");
    }
}

#[test]
fn a_scan_of_the_test_page_comes_back_true() {
    let folder = folder();
    save(&folder, "scan.png", &scanned([1.0; 2]));
    let found = json(
        &leadscan(&folder, "testpage --verify scan.png --dpi 200 --json"),
        0,
    );
    println!("{found}");
    assert!(number(&found, "/scale/error_x").abs() < 0.003, "{found}");
    let unknown = said(&leadscan(&folder, "testpage --verify scan.png"), 0);
    assert!(unknown.contains("size      unknown"), "{unknown}");
}

#[test]
fn a_page_printed_at_another_size_is_told() {
    let folder = folder();
    save(&folder, "fitted.png", &scanned([0.97; 2]));
    let fitted = said(
        &leadscan(&folder, "testpage --verify fitted.png --dpi 200"),
        1,
    );
    assert!(
        fitted.contains("3.0 % shorter across; print at 100 %"),
        "{fitted}"
    );
    save(&folder, "stretched.png", &scanned([1.0, 0.96]));
    let stretched = said(&leadscan(&folder, "testpage --verify stretched.png"), 1);
    assert!(stretched.contains("longer across than down"), "{stretched}");
}

#[test]
fn what_is_no_test_page_is_told() {
    let folder = folder();
    save(
        &folder,
        "grey.png",
        &RawImage::new(400, 300, vec![200; 360_000]).unwrap(),
    );
    let grey = said(&leadscan(&folder, "testpage --verify grey.png"), 1);
    assert!(grey.contains("the page was not read"), "{grey}");
    assert!(said(&leadscan(&folder, "testpage --verify none.png"), 2).contains("none.png"));
    std::fs::write(folder.path().join("text.png"), "text").unwrap();
    assert!(said(&leadscan(&folder, "testpage --verify text.png"), 2).contains("not a picture"));
}

#[test]
fn a_configuration_is_begun_checked_and_shown() {
    let folder = folder();
    let begin = "config init --use bedside --board rpi5 --out leadscan.toml";
    let begun = said(&leadscan(&folder, begin), 0);
    assert!(
        begun.contains("leadscan config check --config leadscan.toml"),
        "{begun}"
    );
    let path = folder.path().join("leadscan.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("path = \"/dev/ttyAMA0\""), "{text}");
    assert!(said(&leadscan(&folder, begin), 2).contains("is there and stays"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

    let checked = said(&leadscan(&folder, "config check --config leadscan.toml"), 0);
    assert!(checked.contains("in order"), "{checked}");
    let shown = leadscan(&folder, "config show --config leadscan.toml");
    said(&shown, 0);
    std::fs::write(folder.path().join("shown.toml"), &shown.stdout).unwrap();
    said(&leadscan(&folder, "config check --config shown.toml"), 0);

    let wrong = text
        .replace("mib_max", "mib_mx")
        .replace("baud = 115200", "baud = 300");
    std::fs::write(&path, wrong).unwrap();
    let told = said(&leadscan(&folder, "config check --config leadscan.toml"), 2);
    assert!(
        told.contains("leadscan.toml:10:1: unknown key `mib_mx` in `spool`"),
        "{told}"
    );
    assert!(told.contains("did you mean `mib_max`?"), "{told}");
    assert!(
        told.contains("300 baud; 9600 to 921600 can be had"),
        "{told}"
    );
    let found = json(
        &leadscan(&folder, "config check --config leadscan.toml --json"),
        2,
    );
    assert_eq!(found["problems"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!(found["problems"][0]["line"], 10);
    let none = said(&leadscan(&folder, "config check --config none.toml"), 2);
    assert!(none.contains("none.toml"), "{none}");
}

#[test]
fn devices_are_listed() {
    let found = json(&leadscan(&folder(), "devices --json"), 0);
    assert!(found["devices"].is_array() && found["troubles"].is_array());
    said(&leadscan(&folder(), "devices"), 0);
}

/// Every command that the help names, and those that it hides.
fn commands(folder: &TempDir) -> Vec<String> {
    let help = said(&leadscan(folder, "--help"), 0);
    let listed = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let names = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.retain(|name| name != "help");
    assert!(names.len() >= 7, "{names:?}");
    names
}

#[test]
fn manuals_and_completions_know_every_command() {
    let folder = folder();
    said(&leadscan(&folder, "man --out man"), 0);
    let manual = std::fs::read_to_string(folder.path().join("man/leadscan.1")).unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&leadscan(&folder, &format!("completions {shell}")), 0);
        for name in commands(&folder) {
            assert!(script.contains(&name), "{shell} does not know {name}");
        }
    }
    for name in commands(&folder) {
        assert!(
            manual.contains(&format!("leadscan\\-{name}(1)")),
            "{name} is not in {manual}"
        );
        assert!(
            folder
                .path()
                .join(format!("man/leadscan-{name}.1"))
                .is_file(),
            "{name}"
        );
    }
    assert!(folder.path().join("man/leadscan-config-check.1").is_file());
}
