//! Prints pages to a folder.

use std::path::PathBuf;

use clap::Parser;
use pageprint::font::Fonts;
use pageprint::plan::{self, Preset};
use pageprint::signal::Source;

/// Prints ECG pages of known truth: ID.png or ID.jpg, ID.json and ID.npz a page.
#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 10)]
    count: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of the first page.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// A folder of WFDB records (format 16 or 212), or a store (NAME.sig.zst, NAME.csv beside it);
    /// the model otherwise.
    #[arg(long)]
    signals: Option<PathBuf>,
    /// Folders with TrueType fonts.
    #[arg(long, default_value = "/usr/share/fonts")]
    fonts: Vec<PathBuf>,
    #[arg(long, value_enum, default_value = "train")]
    preset: Preset,
    /// Prints the one sample page of the repository instead: page.jpg, truth.json, expected.csv.
    #[arg(long)]
    sample: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    if arguments.sample {
        let fonts = Fonts::named(&arguments.fonts, plan::SAMPLE_FONT);
        return pageprint::print(&plan::sample(), &fonts).write_case(&arguments.out);
    }
    let fonts = Fonts::scan(&arguments.fonts);
    let source = match &arguments.signals {
        Some(path) => Source::open(path)?,
        None => Source::Model,
    };
    if let Source::Wfdb(folder) = &source {
        eprintln!("{} headers are no 12-lead record of 10 s", folder.skipped);
    }
    for index in arguments.first..arguments.first + arguments.count {
        let plan = pageprint::plan(arguments.seed, index, arguments.preset, &source);
        let page = pageprint::print(&plan, &fonts);
        page.write(&arguments.out, &format!("p{}_{index:05}", arguments.seed))?;
    }
    Ok(())
}
