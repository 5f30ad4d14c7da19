//! `leadscan selftest`: whether this device still reads right.
//!
//! In: nothing but what is in the program (`testpage.rs` draws the page, its signals are a formula).
//! Out: how far the digitized signals are from those drawn and from what this build is known to give,
//! the time of each stage, memory, the models' hashes. The page goes the way of a real one: it is
//! written as PNG, and read, planned and decoded from there. Exit status 1: something is off.

use serde::Serialize;

use super::arguments::SelftestArguments;
use super::clock::{Clock, Telling};
use super::testpage::{png_of, tell_comparison};
use super::{ExitStatus, UsageError, digitize_one, load_nets, write_json};
use crate::deliver::StageTime;
use crate::memory;
use crate::testpage::compare::{Comparison, compare};
use crate::testpage::judge::{Fault, judge};
use crate::testpage::known::Known;
use crate::testpage::{self, SELFTEST_DPI};

#[derive(Serialize)]
struct Model {
    name: String,
    sha256: String,
}

/// What is told.
#[derive(Serialize)]
struct Tested {
    ok: bool,
    version: &'static str,
    models: Vec<Model>,
    stages: Vec<StageTime>,
    seconds: f64,
    peak_memory_mib: Option<f64>,
    comparison: Option<Comparison>,
    /// Whether every sample is the one that was known.
    same_samples: bool,
    faults: Vec<Fault>,
}

/// Tests, and tells.
pub fn selftest(arguments: &SelftestArguments) -> Result<ExitStatus, UsageError> {
    let mut clock = Clock::start(Telling::Nothing);
    clock.begin("load");
    let nets = load_nets(arguments.models.as_deref(), usize::from(arguments.threads))?;
    clock.begin("draw");
    let page =
        testpage::draw(SELFTEST_DPI).map_err(|error| UsageError::Selftest(error.to_string()))?;
    let bytes = png_of(&page, SELFTEST_DPI);
    let bytes = bytes.map_err(|error| UsageError::Selftest(error.to_string()))?;
    drop(page);
    let (record, _) = digitize_one(&bytes, &nets, &mut clock).map_err(UsageError::Selftest)?;
    let known = Known::bundled().map_err(|error| UsageError::Selftest(error.to_string()))?;
    let comparison = compare(&record);
    let mut faults = judge(&record, comparison.as_ref());
    let found = comparison
        .as_ref()
        .map(|comparison| Known::of(&record, comparison));
    faults.extend(found.iter().flat_map(|found| known.judge(found)));
    let model = |card: &crate::nn::Card| Model {
        name: card.name.clone(),
        sha256: card.sha256.clone(),
    };
    let tested = Tested {
        ok: faults.is_empty(),
        version: env!("CARGO_PKG_VERSION"),
        models: nets.cards().map(model).into(),
        stages: clock.stages(),
        seconds: clock.seconds(),
        peak_memory_mib: memory::resident().map(|resident| memory::in_mib(resident.peak_bytes)),
        same_samples: found.is_some_and(|found| found.samples_sha256 == known.samples_sha256),
        comparison,
        faults,
    };
    if arguments.json {
        write_json(&tested)?;
    } else {
        tell(&tested);
    }
    Ok(if tested.ok {
        ExitStatus::Done
    } else {
        ExitStatus::PagesFailed
    })
}

fn tell(tested: &Tested) {
    println!("leadscan  {}", tested.version);
    for model in &tested.models {
        println!("model     {} {}", model.name, model.sha256);
    }
    let stages: Vec<String> = tested
        .stages
        .iter()
        .map(|time| format!("{} {:.2}", time.stage, time.seconds))
        .collect();
    println!("seconds   {:.2}: {}", tested.seconds, stages.join(", "));
    if let Some(mib) = tested.peak_memory_mib {
        println!("memory    {mib} MiB at most");
    }
    if let Some(comparison) = &tested.comparison {
        tell_comparison(comparison);
    }
    let same = if tested.same_samples {
        "the same to the last digit"
    } else {
        "not the same to the last digit"
    };
    println!("samples   {same} as where this version was made");
    for fault in &tested.faults {
        println!("fault     {fault}");
    }
    let verdict = if tested.ok { "ok" } else { "not ok" };
    println!("selftest: {verdict}");
}
