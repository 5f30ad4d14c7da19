//! What the package says of the crates in its binary: the bill of materials and the copyright file,
//! as `scripts/package/crates.py` writes them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const TARGET: &str = "aarch64-unknown-linux-gnu";

fn write(folder: &Path) -> Output {
    Command::new("python3")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("SOURCE_DATE_EPOCH", "0")
        .args(["scripts/package/crates.py", "--target", TARGET])
        .arg("--copyright")
        .arg(folder.join("copyright"))
        .arg("--bill")
        .arg(folder.join("bill"))
        .output()
        .unwrap()
}

/// Copyright file and bill; none without a Python that reads TOML (3.11).
fn written() -> Option<(String, String)> {
    let there = Command::new("python3")
        .args(["-c", "import tomllib"])
        .output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped 1: no python3 with tomllib");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = write(folder.path());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let read = |name| std::fs::read_to_string(folder.path().join(name)).unwrap();
    Some((read("copyright"), read("bill")))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

/// Fields of that name in a DEP-5 file.
fn fields<'a>(copyright: &'a str, name: &str) -> Vec<&'a str> {
    let lines = copyright.lines();
    lines.filter_map(|line| line.strip_prefix(name)).collect()
}

#[test]
fn bill_and_copyright_name_the_same_crates() {
    let Some((copyright, bill)) = written() else {
        return;
    };
    let bill: Value = serde_json::from_str(&bill).unwrap();
    let in_bill: BTreeSet<String> = list(&bill, "components")
        .iter()
        .filter(|entry| entry["type"] == "library")
        .map(|entry| {
            format!(
                "crates/{}-{}/*",
                text(entry, "name"),
                text(entry, "version")
            )
        })
        .collect();
    let files = fields(&copyright, "Files: ");
    let in_copyright = files.iter().skip(1).map(|name| (*name).to_owned());
    assert_eq!(files[0], "*");
    assert_eq!(in_bill, in_copyright.collect());
    // The owner's, of which one is for Linux alone, and what every binary has.
    for name in [
        "tract-onnx",
        "rppal",
        "v4l",
        "tokio",
        "postcard",
        "rust-std",
    ] {
        let start = format!("crates/{name}-");
        assert!(
            in_bill.iter().any(|files| files.starts_with(&start)),
            "{name}"
        );
    }
}

#[test]
fn every_licence_named_has_its_text_and_is_none_that_may_not_go_in() {
    let Some((copyright, _)) = written() else {
        return;
    };
    let paragraphs: Vec<&str> = copyright.split("\n\n").collect();
    let alone = |name: &str| format!("License: {name}\n ");
    for licence in fields(&copyright, "License: ") {
        for name in licence.replace(',', "").split(" and ") {
            let choices: Vec<&str> = name.split(" or ").collect();
            // A crate under a choice may offer it; one under it alone may not be there.
            assert!(
                choices.iter().any(|choice| !choice.contains("GPL")),
                "{licence}"
            );
            for choice in choices {
                let texts = paragraphs
                    .iter()
                    .filter(|text| text.starts_with(&alone(choice)));
                assert_eq!(texts.count(), 1, "{choice} of {licence}");
            }
        }
    }
}

#[test]
fn what_the_bill_depends_on_is_in_it_with_its_sum() {
    let Some((_, bill)) = written() else {
        return;
    };
    let bill: Value = serde_json::from_str(&bill).unwrap();
    let own = &bill["metadata"]["component"];
    let components = list(&bill, "components");
    let mut known: BTreeSet<&str> = components
        .iter()
        .map(|entry| text(entry, "bom-ref"))
        .collect();
    assert_eq!(known.len(), components.len());
    known.insert(text(own, "bom-ref"));
    for edge in list(&bill, "dependencies") {
        let ends = list(edge, "dependsOn")
            .iter()
            .map(|end| end.as_str().unwrap());
        for end in ends.chain([text(edge, "ref")]) {
            assert!(known.contains(end), "{end}");
        }
    }
    // Rust's own library comes with the compiler.
    for entry in components
        .iter()
        .filter(|entry| entry["name"] != "rust-std")
    {
        assert_eq!(entry["hashes"][0]["alg"], "SHA-256", "{entry}");
        assert_eq!(text(&entry["hashes"][0], "content").len(), 64, "{entry}");
    }
}

#[test]
fn the_bill_holds_the_nets_that_are_shipped() {
    let Some((_, bill)) = written() else {
        return;
    };
    let bill: Value = serde_json::from_str(&bill).unwrap();
    let nets: Vec<&Value> = list(&bill, "components")
        .iter()
        .filter(|entry| entry["type"] == "machine-learning-model")
        .collect();
    assert_eq!(nets.len(), 2);
    for net in nets {
        let needed = list(&bill, "dependencies")[0]["dependsOn"]
            .as_array()
            .unwrap();
        assert!(needed.contains(&net["bom-ref"]), "{net}");
        assert!(text(net, "description").contains("PTB-XL"), "{net}");
    }
}

#[test]
fn the_same_sources_give_the_same_bytes() {
    let (Some(once), Some(again)) = (written(), written()) else {
        return;
    };
    assert_eq!(once, again);
}
