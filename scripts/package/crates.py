#!/usr/bin/env python3
"""Writes what the package says of the crates in the binary: copyright (DEP-5) and bill (CycloneDX).

    scripts/package/crates.py --target TRIPLE --copyright FILE --bill FILE

Both come from the same list: what `cargo tree` says is linked into leadscan for that target, with
Rust's standard library and the two nets. A licence that no text is found for is an error. With
$SOURCE_DATE_EPOCH set the same sources give the same bytes; cargo-cyclonedx was not taken because
it writes beside each Cargo.toml of the workspace and knows neither the nets nor the copyright.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import textwrap
import time
import tomllib
import uuid
from dataclasses import dataclass, field
from pathlib import Path

CARGO = os.environ.get("CARGO", "cargo")
# What Debian has in /usr/share/common-licenses is named, not repeated.
COMMON = {"Apache-2.0", "CC0-1.0", "MPL-2.0"}
# A sentence that is in this licence's text alone, and one that must not be.
TEXTS = {
    "MIT": ("Permission is hereby granted, free of charge", None),
    "BSD-2-Clause": ("Redistribution and use in source and binary forms", "Neither the name"),
    "BSD-3-Clause": ("Neither the name", None),
    "ISC": ("copyright notice and this permission notice appear in all copies", None),
    "0BSD": ("for any purpose with or without fee is hereby granted", "permission notice appear"),
    "Zlib": ("Altered source versions must be plainly marked", None),
    "Unlicense": ("This is free and unencumbered software", None),
    "BlueOak-1.0.0": ("Blue Oak Model License", None),
    "Unicode-3.0": ("UNICODE LICENSE V3", None),
    "LLVM-exception": ("LLVM Exceptions to the Apache 2.0 License", None),
}
LICENCE_FILES = re.compile(r"(?i)^(licen[cs]e|copying|copyright|unlicense|notice)")
# "Copyright (c) 2015 A. Author", not a sentence about copyright, nor a form to fill in.
NOTICE = re.compile(r"(?i)^\W*(copyright\s+(?:\(c\)|©|\d{4}).*|©.*|copyright \w+.*\d{4}.*)$")
FORM = re.compile(r"(?i)\[yyyy\]|\{yyyy\}|<year>|copyright (notice|holder|owner|law|licen[cs]e)")


@dataclass
class Crate:
    """One thing in the binary, whose licence is an SPDX expression."""

    name: str
    version: str
    licence: str
    authors: list[str]
    folder: Path | None
    origin: str = ""
    sha256: str = ""
    kind: str = "library"
    needs: list[str] = field(default_factory=list)

    @property
    def reference(self) -> str:
        """Names it in the bill."""
        return f"pkg:cargo/{self.name}@{self.version}"

    def files(self) -> list[str]:
        """The texts of the licence files that it comes with."""
        if self.folder is None:
            return []
        found = (path for path in sorted(self.folder.iterdir()) if LICENCE_FILES.match(path.name))
        return [path.read_text(errors="replace") for path in found if path.is_file()]


def run_cargo(*arguments: str) -> str:
    """What that cargo command prints."""
    return subprocess.run([CARGO, *arguments], check=True, capture_output=True, text=True).stdout


def linked(target: str) -> set[tuple[str, str]]:
    """Name and version of all that is linked, or expanded by a macro, into the binary."""
    tree = run_cargo(
        *("tree", "--locked", "--package", "leadscan", "--edges", "normal"),
        *("--target", target, "--prefix", "none", "--format", "{p}"),
    )
    words = (line.split() for line in tree.splitlines() if line.strip())
    return {(word[0], word[1].removeprefix("v")) for word in words}


def expression(licence: str) -> str:
    """Cargo's old way of writing "or" is a slash."""
    return re.sub(r"\s*/\s*", " OR ", licence)


def checksums() -> dict[tuple[str, str], str]:
    """What Cargo.lock says each crate's archive hashes to."""
    lock = tomllib.loads(Path("Cargo.lock").read_text())
    return {(p["name"], p["version"]): p.get("checksum", "") for p in lock["package"]}


def crates(target: str) -> list[Crate]:
    """All crates of the binary, leadscan first, then by name."""
    wanted, sums = linked(target), checksums()
    metadata = json.loads(
        run_cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", target)
    )
    by_id = {p["id"]: p for p in metadata["packages"]}
    edges = {node["id"]: node["dependencies"] for node in metadata["resolve"]["nodes"]}
    found = []
    for identity, package in by_id.items():
        key = (package["name"], package["version"])
        if key not in wanted:
            continue
        if not package["license"]:
            sys.exit(f"crates: {key} states no licence")
        needs = [by_id[other] for other in edges[identity]]
        found.append(
            Crate(
                *key,
                licence=expression(package["license"]),
                authors=package["authors"],
                folder=Path(package["manifest_path"]).parent,
                origin=package["repository"] or package["homepage"] or "",
                sha256=sums[key],
                needs=sorted(
                    f"pkg:cargo/{p['name']}@{p['version']}"
                    for p in needs
                    if (p["name"], p["version"]) in wanted
                ),
            )
        )
    missing = wanted - {(crate.name, crate.version) for crate in found}
    if missing:
        sys.exit(f"crates: cargo metadata does not know {sorted(missing)}")
    return sorted(found, key=lambda crate: (crate.name != "leadscan", crate.name, crate.version))


def standard_library() -> Crate:
    """Rust's own, which every binary is linked with."""
    compiler = os.environ.get("RUSTC", "rustc")
    said = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True)
    return Crate(
        name="rust-std",
        version=said.stdout.split()[1],
        licence="MIT OR Apache-2.0",
        authors=["The Rust Project Developers"],
        folder=None,
    )


def notices(crate: Crate) -> list[str]:
    """Whose the crate is, as its own files say; else its authors."""
    lines = (line.strip() for text in crate.files() for line in text.splitlines())
    found = [line for line in lines if NOTICE.match(line) and not FORM.search(line)]
    cleaned = [re.sub(r"(?i)^\W*copyright:?\s*(\(c\)|©)?\s*", "", line) for line in found]
    unique = list(dict.fromkeys(line.strip(" *#/") for line in cleaned if line.strip(" *#/")))
    return unique or crate.authors or [f"the {crate.name} authors"]


def short_names(licence: str) -> list[str]:
    """The licences and exceptions of an SPDX expression."""
    words = re.findall(r"[A-Za-z0-9][A-Za-z0-9.+-]*", licence)
    return [word for word in words if word not in {"OR", "AND", "WITH"}]


def in_debian(licence: str) -> str:
    """The expression as DEP-5 writes it: lower-case words, a comma where SPDX has parentheses."""
    text = re.sub(r"\) AND ", "), AND ", licence)
    text = text.replace("(", "").replace(")", "")
    for word in ("OR", "AND", "WITH"):
        text = text.replace(f" {word} ", f" {word.lower()} ")
    return text.replace(" with LLVM-exception", "-with-LLVM-exception")


def indented(text: str) -> str:
    """A text as the rest of a DEP-5 field: a space before each line, a dot where one is empty."""
    lines = textwrap.dedent(text).strip("\n").splitlines()
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in lines)


def text_of(short: str, known: list[Crate]) -> str:
    """The licence's text, out of the first crate that comes with it."""
    sentence, other = TEXTS.get(short, (None, None))
    if sentence is None:
        sys.exit(f"crates: {short} is a licence that nobody has looked at")
    for crate in known:
        if short not in short_names(crate.licence):
            continue
        for text in crate.files():
            flat = " ".join(text.split())
            if sentence in flat and not (other and other in flat):
                own = [line for line in text.splitlines() if not NOTICE.match(line.strip())]
                return "\n".join(own)
    sys.exit(f"crates: no crate comes with the text of {short}")


def licence_paragraphs(known: list[Crate]) -> list[str]:
    """One paragraph a licence."""
    names = sorted({short for crate in known for short in short_names(crate.licence)})
    paragraphs = []
    for short in names:
        if short == "LLVM-exception":
            body = " Apache-2.0, see /usr/share/common-licenses/Apache-2.0, with\n .\n"
            text = text_of(short, known)
            body += indented(text[text.index("LLVM Exceptions") :])
            paragraphs.append(f"License: Apache-2.0-with-LLVM-exception\n{body}")
        elif short in COMMON:
            where = f"/usr/share/common-licenses/{short}"
            paragraphs.append(f"License: {short}\n The full text is in {where}.")
        else:
            paragraphs.append(f"License: {short}\n{indented(text_of(short, known))}")
    return paragraphs


def own_paragraph() -> str:
    """leadscan's own, with where the nets' training data is from, as its licence asks."""
    cards = [tomllib.loads(path.read_text()) for path in sorted(Path("models").glob("*.toml"))]
    data = sorted({card["training_data"] for card in cards})
    comment = "The nets were trained on " + "; ".join(data) + "."
    return "\n".join(
        [
            "Files: *",
            "Copyright: the leadscan authors",
            "License: MIT or Apache-2.0",
            "Comment:",
            textwrap.fill(comment, 98, initial_indent=" ", subsequent_indent=" "),
        ]
    )


def apache_notice(crate: Crate) -> str:
    """A NOTICE file travels with the binary, as Apache-2.0 asks."""
    paths = sorted(crate.folder.glob("NOTICE*")) if crate.folder else []
    return "\n".join(path.read_text(errors="replace") for path in paths if path.is_file())


def copyright_text(known: list[Crate]) -> str:
    """The whole file."""
    form = "https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
    head = f"""\
Format: {form}
Upstream-Name: leadscan
Upstream-Contact: the leadscan authors
Source: the source archive of leadscan; the crates are from crates.io
Comment:
 The program is linked with the crates below: each stands as crates/NAME-VERSION, as they would lie
 if they were vendored. The list is made from Cargo.lock when the package is made."""
    paragraphs = [head, own_paragraph()]
    for crate in known[1:]:
        holders = "\n           ".join(notices(crate))
        paragraph = (
            f"Files: crates/{crate.name}-{crate.version}/*\n"
            f"Copyright: {holders}\nLicense: {in_debian(crate.licence)}"
        )
        if notice := apache_notice(crate):
            paragraph += f"\nComment:\n{indented(notice)}"
        paragraphs.append(paragraph)
    return "\n\n".join([*paragraphs, *licence_paragraphs(known)]) + "\n"


def component(crate: Crate) -> dict:
    """A crate in the bill."""
    entry = {
        "type": crate.kind,
        "bom-ref": crate.reference,
        "name": crate.name,
        "version": crate.version,
        "licenses": [{"expression": crate.licence}],
        "purl": crate.reference,
    }
    if crate.sha256:
        entry["hashes"] = [{"alg": "SHA-256", "content": crate.sha256}]
    if crate.origin:
        entry["externalReferences"] = [{"type": "vcs", "url": crate.origin}]
    return entry


def net(path: Path) -> dict:
    """A net in the bill, from its card."""
    card = tomllib.loads(path.read_text())
    return {
        "type": "machine-learning-model",
        "bom-ref": f"net:{card['name']}",
        "name": card["name"],
        "version": card["sha256"][:12],
        "description": f"trained on {card['training_data']}",
        "licenses": [{"expression": card["licence"]}],
        "hashes": [{"alg": "SHA-256", "content": card["sha256"]}],
    }


def bill(known: list[Crate], target: str) -> dict:
    """CycloneDX 1.5."""
    own, *others = known
    own.kind = "application"
    nets = [net(path) for path in sorted(Path("models").glob("*.toml"))]
    own_needs = [*own.needs, "pkg:cargo/rust-std@" + others[-1].version]
    own_needs += [entry["bom-ref"] for entry in nets]
    edges = [{"ref": own.reference, "dependsOn": sorted(own_needs)}]
    edges += [{"ref": crate.reference, "dependsOn": crate.needs} for crate in others]
    components = [component(crate) for crate in others] + nets
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)),
            "component": component(own),
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": components,
        "dependencies": edges,
    }
    number = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(body, sort_keys=True))
    return {"serialNumber": f"urn:uuid:{number}", **body}


def main() -> None:
    """Reads the command line and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True)
    parser.add_argument("--copyright", type=Path, required=True)
    parser.add_argument("--bill", type=Path, required=True)
    arguments = parser.parse_args()
    known = [*crates(arguments.target), standard_library()]
    arguments.copyright.write_text(copyright_text(known))
    arguments.bill.write_text(json.dumps(bill(known, arguments.target), indent=1) + "\n")
    print(f"{len(known) - 2} crates, Rust's standard library and the nets")


if __name__ == "__main__":
    main()
