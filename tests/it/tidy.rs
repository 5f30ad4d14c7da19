//! The house's rules, held: who may name whom, what a file must have, what the repository may be.
//!
//! In: the sources as text. Every rule is a function of text that returns what breaks it, so that
//! each is shown a bad sample below: a rule that cannot fail holds nothing.

use std::path::{Path, PathBuf};

/// Edges: thin, and strangers to each other.
const EDGES: [&str; 6] = ["capture", "deliver", "front", "memory", "nn", "web"];
/// Brings edges and core together; may name all, and is named by none.
const TOP: [&str; 2] = ["cli", "service"];
/// Walks the core; may name all of it.
const DIGITIZE: &str = "digitize";
/// Files that may hold `unsafe`: the counting allocator, and the int8 operator with its kernels.
const UNSAFE_FILES: [&str; 5] = [
    "src/memory.rs",
    "src/nn/qconv.rs",
    "src/nn/qconv/avx2.rs",
    "src/nn/qconv/neon.rs",
    "src/nn/qconv/vnni.rs",
];
/// Calls of functions whose last digits differ between C libraries and between processors.
const MATH_FILE: &str = "src/math.rs";
const INEXACT: [&str; 31] = [
    "acos", "acosh", "arg", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh",
    "exp", "exp2", "exp_m1", "gamma", "hypot", "ln", "ln_1p", "ln_gamma", "log10", "log2", "norm",
    "powc", "powf", "powi", "sin", "sin_cos", "sinh", "tan", "tanh", "to_polar",
];
const FUNCTION_LINES_MAX: usize = 70;
/// Longer functions that are one flat table or one kernel: file, function.
const LONG_FUNCTIONS: [(&str, &str); 1] = [("tests/pageprint/src/font.rs", "glyph")];
const TOP_LEVEL: [&str; 13] = [
    ".cargo",
    ".ci",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "board",
    "models",
    "scripts",
    "src",
    "tests",
];
const FILE_BYTES_MAX: u64 = 1_500_000;
const REPOSITORY_BYTES_MAX: u64 = 40_000_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of ours: its path below the root, with slashes, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// `src/nn/net.rs` belongs to the module `nn`.
    fn module(&self) -> &str {
        let name = self.path.strip_prefix("src/").unwrap_or(&self.path);
        name.split(['/', '.']).next().unwrap_or(name)
    }

    /// Lines before the unit tests, which stand last.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(k, line)| (k + 1, line));
        lines.take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
    }

    /// Lines without comments and without what stands in quotes.
    fn code(&self) -> impl Iterator<Item = (usize, String)> {
        self.lines().map(|(k, line)| (k, bare(line)))
    }
}

/// The code of a line: no comment, no text of strings and characters.
fn bare(line: &str) -> String {
    let mut out = String::new();
    let mut letters = line.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if quoted => drop(letters.next()),
            '"' => quoted = !quoted,
            '\'' if !quoted => {
                let mut ahead = letters.clone();
                let first = ahead.next();
                let second = ahead.next();
                if first == Some('\\') || second == Some('\'') {
                    letters
                        .by_ref()
                        .skip(usize::from(first == Some('\\')))
                        .find(|c| *c == '\'');
                }
            }
            '/' if !quoted && letters.peek() == Some(&'/') => break,
            _ if quoted => {}
            _ => out.push(letter),
        }
    }
    out
}

/// Whether `.gitignore` names it (our patterns are plain names and `*.pyc`).
fn unversioned(name: &str) -> bool {
    let ignored = include_str!("../../.gitignore");
    name == ".git" || ignored.lines().any(|line| line.trim_matches('/') == name)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if unversioned(&entry.file_name().to_string_lossy()) {
            continue;
        }
        if path.is_dir() {
            walk(&path, found)
        } else {
            found.push(path)
        }
    }
    found.sort();
}

fn below(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap()
        .to_string_lossy()
        .replace('\\', "/")
}

/// All Rust files below `folders`.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut paths);
    }
    let rust = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.map(|path| Source {
        path: below(&path),
        text: std::fs::read_to_string(&path).unwrap(),
    })
    .collect()
}

/// The modules in the order in which `lib.rs` lists them.
fn order() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

/// Modules that a line of code names: `crate::NAME`, also in `crate::{a::X, b}`.
fn named(line: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut names = Vec::new();
    for part in line.split("crate::").skip(1) {
        let Some(group) = part.strip_prefix('{') else {
            names.push(word(part));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (k, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                ' ' => {}
                _ if start => {
                    names.push(word(&group[k..]));
                    start = false;
                }
                _ => {}
            }
            if depth < 0 {
                break;
            }
        }
    }
    names
}

/// Core modules name only modules before them, edges name no other edge, nobody names `TOP`.
fn strangers(source: &Source, order: &[String]) -> Vec<String> {
    let me = source.module();
    let place = |name: &str| order.iter().position(|module| module == name);
    let edge = |name: &str| EDGES.contains(&name);
    let Some(mine) = place(me) else {
        return Vec::new();
    };
    // A `use crate::{...}` may go over several lines: its statement is read as one.
    let mut found = Vec::new();
    let mut statement = String::new();
    for (k, line) in source.code() {
        statement.push_str(&line);
        if statement.contains("crate::{") && !statement.contains(';') {
            continue;
        }
        for name in named(&statement) {
            let Some(other) = place(&name) else { continue };
            let wrong = if TOP.contains(&me) {
                false
            } else if TOP.contains(&name.as_str()) {
                true
            } else if edge(me) {
                edge(&name) && name != me
            } else if me == DIGITIZE {
                edge(&name)
            } else {
                other > mine || edge(&name)
            };
            if wrong {
                found.push(format!("{}:{k}: `{me}` names `{name}`", source.path));
            }
        }
        statement.clear();
    }
    found
}

fn tract_outside_nn(source: &Source) -> Vec<String> {
    if source.path.starts_with("src/nn/") || source.path == "src/nn.rs" {
        return Vec::new();
    }
    let crates = [
        "tract_onnx",
        "tract_core",
        "tract_linalg",
        "tract_data",
        "tract_hir",
    ];
    let names = source
        .code()
        .filter(|(_, line)| crates.iter().any(|name| line.contains(name)));
    names
        .map(|(k, _)| format!("{}:{k}: names tract", source.path))
        .collect()
}

/// `.exp()`, `f32::exp` and the crate `libm`, outside the one file for them; anywhere the planner
/// of transforms for the processor's own vector unit.
fn inexact(source: &Source) -> Vec<String> {
    if source.path == MATH_FILE {
        return Vec::new();
    }
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let calls = |line: &str, name: &str| {
        let is_path = |kind| {
            let path = format!("{kind}::{name}");
            let mut after = line.split(path.as_str()).skip(1);
            after.any(|rest| !rest.starts_with(in_word))
        };
        line.contains(&format!(".{name}(")) || is_path("f32") || is_path("f64")
    };
    let mut found = Vec::new();
    for (k, line) in source.code() {
        let plain = !line.contains("libm::") && !line.contains("FftPlanner::");
        if !plain || INEXACT.iter().any(|name| calls(&line, name)) {
            found.push(format!("{}:{k}: belongs into {MATH_FILE}", source.path));
        }
    }
    found
}

fn unwraps(source: &Source) -> Vec<String> {
    let lines = source.code().filter(|(_, line)| line.contains(".unwrap()"));
    lines
        .map(|(k, _)| format!("{}:{k}: unwrap outside tests", source.path))
        .collect()
}

fn unsafety(source: &Source) -> Vec<String> {
    let word = |line: &str| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe")
    };
    if !UNSAFE_FILES.contains(&source.path.as_str()) {
        let lines = source.code().filter(|(_, line)| word(line));
        return lines
            .map(|(k, _)| format!("{}:{k}: unsafe here", source.path))
            .collect();
    }
    // A `SAFETY:` sentence stands within the lines before each block.
    let mut told = 0;
    let mut found = Vec::new();
    for (k, line) in source.lines() {
        if line.contains("SAFETY:") || line.contains("# Safety") {
            told = k;
        }
        if bare(line).contains("unsafe {") && (told == 0 || k - told > 8) {
            found.push(format!(
                "{}:{k}: no SAFETY: before this unsafe block",
                source.path
            ));
        }
    }
    found
}

fn long_functions(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    // The function being read: its name, its first line, its indentation.
    let mut open: Option<(String, usize, usize)> = None;
    for (k, line) in source.text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if let Some((name, first, depth)) = &open {
            if indent == *depth && line.trim_start().starts_with('}') {
                let lines = k + 1 - first;
                let excepted = LONG_FUNCTIONS.contains(&(source.path.as_str(), name.as_str()));
                if lines > FUNCTION_LINES_MAX && !excepted {
                    found.push(format!(
                        "{}:{}: `{name}` has {lines} lines",
                        source.path,
                        first + 1
                    ));
                }
                open = None;
            }
            continue;
        }
        let head = line
            .split(" fn ")
            .nth(1)
            .or_else(|| line.trim_start().strip_prefix("fn "));
        let Some(head) = head.filter(|_| !line.trim_start().starts_with("//")) else {
            continue;
        };
        let name: String = head
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if !name.is_empty() && !line.trim_end().ends_with(['}', ';']) {
            open = Some((name, k, indent));
        }
    }
    found
}

fn without_opening(source: &Source) -> Vec<String> {
    let first = source.text.lines().next().unwrap_or_default();
    // Files with `unsafe` say so in their first line, and open with the second.
    let opens = source
        .text
        .lines()
        .take(3)
        .any(|line| line.starts_with("//! "));
    if opens && (first.starts_with("//!") || first.starts_with("#!")) {
        return Vec::new();
    }
    vec![format!("{}: does not open with what it is", source.path)]
}

/// What `rule` finds in `sources`, as one failure.
fn hold(sources: &[Source], rule: impl Fn(&Source) -> Vec<String>) {
    assert!(!sources.is_empty(), "nothing was looked at");
    let found: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The rule finds something in `bad`, as a file of this path, and nothing in `good`.
fn can_fail(rule: impl Fn(&Source) -> Vec<String>, path: &str, bad: &str, good: &str) {
    let source = |text: &str| Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    assert!(
        !rule(&source(bad)).is_empty(),
        "the rule does not see {bad:?}"
    );
    assert_eq!(
        rule(&source(good)),
        Vec::<String>::new(),
        "the rule is wrong about {good:?}"
    );
}

#[test]
fn modules_name_only_what_stands_before_them() {
    let order = order();
    assert!(order.len() > 10, "lib.rs lists the modules: {order:?}");
    let rule = |source: &Source| strangers(source, &order);
    can_fail(
        rule,
        "src/grid.rs",
        "use crate::layout::Layout;",
        "use crate::page::Page;",
    );
    can_fail(
        rule,
        "src/grid.rs",
        "use crate::{page::A,\n    deliver::B};",
        "use crate::{page::A,\n    units::Mm};",
    );
    can_fail(
        rule,
        "src/nn/net.rs",
        "let a = crate::deliver::write();",
        "// crate::deliver is another edge",
    );
    can_fail(
        rule,
        "src/digitize.rs",
        "use crate::nn::TractNets;",
        "use crate::record::Record;",
    );
    hold(&sources(&["src"]), rule);
}

#[test]
fn tract_is_named_by_its_edge_alone() {
    can_fail(
        tract_outside_nn,
        "src/page.rs",
        "use tract_onnx::prelude::*;",
        "// tract_onnx is not here",
    );
    hold(&sources(&["src", "tests"]), tract_outside_nn);
}

#[test]
fn numbers_are_the_same_on_every_processor() {
    let good = "let a = b.sqrt() + posterior.log(x, y) + math::exp(c) + f32::consts::LN_2;\n\
                use super::exp; // libm::expf and b.exp() are not called\n\
                #[cfg(test)]\nmod tests { fn f() { b.sin(); } }";
    for bad in [
        "let a = b.exp();",
        "let a = (b + c).exp();",
        "let a = b.max(c.hypot(d));",
        "        .cos()",
        "let a = b.iter().map(|c| c.powi(2)).sum();",
        "let a = b.map(f32::ln);",
        "let a = std::f64::sin(b);",
        "let a = f64::atan2(b, c);",
        "let a = libm::expf(b);",
        "let a = FftPlanner::new();",
        "let a = self.bin(x, y).arg();",
    ] {
        can_fail(inexact, "src/page.rs", bad, good);
    }
    hold(&sources(&["src"]), inexact);
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let good = "let a = \".unwrap()\";\n#[cfg(test)]\nmod tests { fn f() { b.unwrap(); } }";
    can_fail(unwraps, "src/page.rs", "let a = b.unwrap();", good);
    hold(&sources(&["src", "tests/pageprint/src"]), unwraps);
}

#[test]
fn unsafe_stays_in_its_files_and_says_why() {
    can_fail(
        unsafety,
        "src/page.rs",
        "unsafe { f() }",
        "#![deny(unsafe_code)]",
    );
    let good = "// SAFETY: the slice was checked above.\nunsafe { f() }";
    can_fail(
        unsafety,
        "src/memory.rs",
        "let a = 1;\nunsafe { f() }",
        good,
    );
    hold(&sources(&["src", "tests/pageprint/src"]), unsafety);
}

#[test]
fn functions_fit_a_screen() {
    let function = |lines: usize| {
        format!(
            "    pub fn f() {{\n{}    }}\n",
            "        x();\n".repeat(lines)
        )
    };
    can_fail(long_functions, "src/page.rs", &function(80), &function(60));
    hold(
        &sources(&["src", "tests/it", "tests/pageprint/src"]),
        long_functions,
    );
}

#[test]
fn files_open_with_what_they_are() {
    can_fail(
        without_opening,
        "src/page.rs",
        "use a;\n",
        "//! A page.\nuse a;\n",
    );
    hold(&sources(&["src", "tests/pageprint/src"]), without_opening);
}

#[test]
fn the_top_level_stays_as_it_is() {
    let stranger = |name: &str| !TOP_LEVEL.contains(&name);
    assert!(stranger("notes.md") && !stranger("src"));
    let found: Vec<String> = std::fs::read_dir(root())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !unversioned(name) && stranger(name))
        .collect();
    assert!(found.is_empty(), "the top level is fixed: {found:?}");
}

#[test]
fn the_repository_stays_small() {
    let too_large = |path: &str, bytes: u64| bytes > FILE_BYTES_MAX && !path.starts_with("models/");
    assert!(too_large("tests/a.png", 2_000_000) && !too_large("models/a.onnx", 2_000_000));
    let mut paths = Vec::new();
    walk(root(), &mut paths);
    let sizes: Vec<(String, u64)> = paths
        .iter()
        .map(|path| (below(path), path.metadata().unwrap().len()))
        .collect();
    let found: Vec<_> = sizes
        .iter()
        .filter(|(path, bytes)| too_large(path, *bytes))
        .collect();
    assert!(found.is_empty(), "too large: {found:?}");
    let bytes: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
    assert!(bytes < REPOSITORY_BYTES_MAX, "{bytes} bytes in all");
}
