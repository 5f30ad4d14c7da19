//! Prints pages to a folder.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use pageprint::font::Fonts;
use pageprint::plan::{self, Evidence, Fault, Preset, Wanted};
use pageprint::signal::Source;

/// Prints ECG pages of known truth: ID.png or ID.jpg, ID.json and ID.npz a page.
#[derive(Parser)]
struct Arguments {
    #[arg(long, required_unless_present_any = ["list_faults", "decode"])]
    out: Option<PathBuf>,
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
    /// Plain pages with this one difficulty, instead of a preset's; page N of every fault is the
    /// same but for the fault.
    #[arg(long, value_enum, conflicts_with_all = ["preset", "scales"], hide_possible_values = true)]
    fault: Option<Fault>,
    /// Lists the faults, one a line.
    #[arg(long)]
    list_faults: bool,
    /// Pages of preset train at this speed (12.5, 25 or 50 mm/s) and gain (5, 10 or 20 mm/mV).
    #[arg(long, value_name = "SPEED,GAIN", value_parser = scales, conflicts_with = "preset")]
    scales: Option<[f32; 2]>,
    /// What shall not tell speed and gain on those pages; may be given again.
    #[arg(long, value_enum, requires = "scales")]
    without: Vec<Evidence>,
    /// Decodes a picture and does no more: what `scripts/bench compare` holds a page's cost against.
    #[arg(long, value_name = "FILE", exclusive = true)]
    decode: Option<PathBuf>,
    /// Prints the one sample page of the repository instead: page.jpg, truth.json, expected.csv.
    #[arg(long)]
    sample: bool,
}

const SPEEDS_MM_S: [f32; 3] = [12.5, 25.0, 50.0];
const GAINS_MM_MV: [f32; 3] = [5.0, 10.0, 20.0];

/// Speed and gain of `SPEED,GAIN`.
fn scales(text: &str) -> Result<[f32; 2], String> {
    let values: Option<Vec<f32>> = text.split(',').map(|v| v.parse().ok()).collect();
    match values.as_deref() {
        Some([speed, gain]) if SPEEDS_MM_S.contains(speed) && GAINS_MM_MV.contains(gain) => {
            Ok([*speed, *gain])
        }
        _ => Err(format!(
            "one of {SPEEDS_MM_S:?} mm/s, a comma, and one of {GAINS_MM_MV:?} mm/mV"
        )),
    }
}

impl Arguments {
    fn wanted(&self) -> Wanted {
        match (self.fault, self.scales) {
            (Some(fault), _) => Wanted::Fault(fault),
            (None, Some([speed_mm_s, gain_mm_mv])) => Wanted::Scales {
                speed_mm_s,
                gain_mm_mv,
                without: self.without.clone(),
            },
            (None, None) => Wanted::Any(self.preset),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    if let Some(picture) = &arguments.decode {
        let picture = image::open(picture)?;
        println!("{} x {}", picture.width(), picture.height());
        return Ok(());
    }
    let Some(out) = &arguments.out else {
        for fault in Fault::value_variants() {
            println!("{}", fault.name());
        }
        return Ok(());
    };
    std::fs::create_dir_all(out)?;
    if arguments.sample {
        let fonts = Fonts::named(&arguments.fonts, plan::SAMPLE_FONT);
        return pageprint::print(&plan::sample(), &fonts).write_case(out);
    }
    let fonts = Fonts::scan(&arguments.fonts);
    let source = match &arguments.signals {
        Some(path) => Source::open(path)?,
        None => Source::Model,
    };
    if let Source::Wfdb(folder) = &source {
        eprintln!("{} headers are no 12-lead record of 10 s", folder.skipped);
    }
    let wanted = arguments.wanted();
    for index in arguments.first..arguments.first + arguments.count {
        let plan = pageprint::plan(arguments.seed, index, wanted.clone(), &source);
        let page = pageprint::print(&plan, &fonts);
        page.write(out, &format!("p{}_{index:05}", arguments.seed))?;
    }
    Ok(())
}
