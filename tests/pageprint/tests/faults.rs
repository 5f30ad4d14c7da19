//! What is wanted of a page, against what is planned: one fault and no other, or one speed and
//! gain without what tells them.

use std::collections::BTreeSet;

use clap::ValueEnum;
use pageprint::plan;
use pageprint::plan::{Evidence, Fault, GridKind, Plan, Role, Trace, Wanted};
use pageprint::signal::Source;

const SEED: u64 = 61;
const PAGES: u64 = 6;

const LEADS: [&str; 12] = [
    "I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6",
];

fn page(index: u64, fault: Fault) -> Plan {
    plan(SEED, index, Wanted::Fault(fault), &Source::Model)
}

fn count_marks(plan: &Plan, class: &str) -> usize {
    plan.marks.iter().filter(|mark| mark.class == class).count()
}

/// The faults that are seen on the paper and its picture.
fn of_paper(plan: &Plan) -> Vec<(bool, Fault)> {
    let fate = &plan.fate;
    vec![
        (fate.rotation_deg != 0.0, Fault::Rotation),
        (fate.corners != [[0.0; 2]; 4], Fault::Perspective),
        (!fate.waves.is_empty(), Fault::Curl),
        (!fate.folds.is_empty(), Fault::Folds),
        (fate.blur_px != 0.0, Fault::Blur),
        (fate.noise != 0.0, Fault::Noise),
        (fate.grey, Fault::Grey),
        (fate.threshold.is_some(), Fault::Threshold),
        (fate.halftone, Fault::HalfTone),
        (fate.moire.is_some(), Fault::Moire),
        (fate.stains != 0, Fault::Stains),
        (fate.desk.is_some() || fate.desk_margin != 0.0, Fault::Desk),
        (fate.shade != 0.0, Fault::Shade),
        (fate.shadow != 0.0, Fault::Shadow),
        (fate.fade != 0.0, Fault::Fading),
        (fate.sharpen != 0.0, Fault::Sharpening),
        (fate.quarter_turns != 0, Fault::QuarterTurns),
        (plan.jpeg_quality.is_some(), Fault::Jpeg),
        // Faults of no name: none may have them.
        (fate.tint != [1.0; 3] || fate.gamma != 1.0, Fault::None),
    ]
}

/// Those of inks, grid and resolution.
fn of_ink(plan: &Plan) -> Vec<(bool, Fault)> {
    let grid = &plan.grid;
    let [red, green, blue] = grid.color;
    let dark = red.max(green).max(blue) < 0.5;
    vec![
        (plan.uneven != 0.0, Fault::UnevenInk),
        (plan.line_width_mm < 0.2, Fault::ThinLine),
        (plan.line_width_mm > 0.38, Fault::ThickLine),
        (
            plan.trace_color.iter().any(|c| *c > 0.1),
            Fault::ColouredInk,
        ),
        (plan.px_per_mm < 7.0, Fault::LowResolution),
        (plan.px_per_mm > 8.9, Fault::HighResolution),
        (grid.kind == GridKind::Dots, Fault::DotsGrid),
        (grid.kind == GridKind::MinorOnly, Fault::MinorOnlyGrid),
        (grid.kind == GridKind::MajorOnly, Fault::MajorOnlyGrid),
        (grid.kind == GridKind::None, Fault::NoGrid),
        (!dark && (blue - green).abs() > 0.1, Fault::ColouredGrid),
        (dark && red == green, Fault::DarkGrid),
        (grid.broken.is_some(), Fault::BrokenGrid),
    ]
}

fn name_of<'a>(plan: &'a Plan, trace: &Trace) -> Option<&'a str> {
    trace.label.map(|label| plan.texts[label].class.as_str())
}

/// Those of labels: where they stand, whether they do, and whether they are true.
fn of_labels(plan: &Plan) -> Vec<(bool, Fault)> {
    let panels = || plan.traces.iter().filter(|t| t.role == Role::Grid);
    let strips = || plan.traces.iter().filter(|t| t.role == Role::Rhythm);
    let missing = panels().filter(|t| t.label.is_none()).count();
    let falsified = panels()
        .filter(|t| name_of(plan, t).is_some_and(|name| name != t.lead))
        .count();
    let (trace, text) = panels()
        .find_map(|t| t.label.map(|label| (t, &plan.texts[label])))
        .expect("some panel has a label");
    let below_mm = text.y_mm - trace.zero_mm;
    let left = text.x_mm < trace.left_mm - 1.6;
    let crowded = plan
        .marks
        .iter()
        .any(|m| m.class == "separator" && (m.path_mm[0][0] - trace.left_mm).abs() < 0.7)
        && count_marks(plan, "separator") == plan.traces.len();
    vec![
        (missing > 0 && falsified == 0, Fault::LabelsMissing),
        (strips().any(|t| t.label.is_none()), Fault::StripUnlabelled),
        (missing == 0 && falsified == 1, Fault::LabelFalse),
        (missing == 2 && falsified == 1, Fault::LabelsMissingAndFalse),
        (!crowded && below_mm > 3.0, Fault::LabelsBelow),
        (!left && below_mm.abs() < 2.2, Fault::LabelsOn),
        (left, Fault::LabelsLeft),
        (text.style.height_mm < 1.9, Fault::LabelsSmall),
        (text.boxed, Fault::None),
        (text.text != text.class, Fault::None),
    ]
}

/// Those of speed, gain and what tells them.
fn of_scale(plan: &Plan) -> Vec<(bool, Fault)> {
    let told = |unit: &str| plan.texts.iter().any(|text| text.class.ends_with(unit));
    let halved = plan.traces.iter().any(|t| t.gain_mm_mv != plan.gain_mm_mv);
    vec![
        (plan.speed_mm_s == 12.5, Fault::Speed12),
        (plan.speed_mm_s == 50.0, Fault::Speed50),
        (plan.gain_mm_mv == 5.0, Fault::Gain5),
        (plan.gain_mm_mv == 20.0, Fault::Gain20),
        (halved, Fault::HalfChestGain),
        (count_marks(plan, "pulse") == 0, Fault::NoPulse),
        (!told("mm/s") || !told("mm/mV"), Fault::NoText),
    ]
}

/// Those of what stands beside the traces.
fn of_marks(plan: &Plan) -> Vec<(bool, Fault)> {
    let separators: Vec<_> = plan
        .marks
        .iter()
        .filter(|mark| mark.class == "separator")
        .collect();
    // A post is upright and stands at every trace, the first column's too.
    let posts = separators.len() == plan.traces.len()
        && separators
            .iter()
            .all(|m| m.path_mm.len() == 2 && m.width_mm > 0.39);
    let sides = plan
        .traces
        .iter()
        .fold(f32::INFINITY, |a, t| a.min(t.left_mm));
    vec![
        (!separators.is_empty() && !posts, Fault::Separators),
        (posts, Fault::Crowded),
        (sides < 21.0, Fault::CutClose),
        (count_marks(plan, "barcode") > 0, Fault::Furniture),
        (count_marks(plan, "scribble") > 0, Fault::Scribble),
        (count_marks(plan, "stamp") > 0, Fault::Stamp),
        (plan.mark_color != plan.trace_color, Fault::None),
    ]
}

/// Whether a sample stands out of its neighbours, beat after beat.
fn is_paced(plan: &Plan) -> bool {
    let is_spike = |w: &&[f32]| (w[1] - (w[0] + w[2]) / 2.0).abs() > 0.15;
    let counts = plan.traces.iter();
    counts
        .map(|t| t.mv.windows(3).filter(is_spike).count())
        .max()
        .is_some_and(|spikes| spikes >= 2)
}

/// Those of layout and signals, as far as they are a fault: any layout may be on any page.
fn of_layout(plan: &Plan, wanted: Fault) -> Vec<(bool, Fault)> {
    let named = |name: &str| plan.layout.split('+').next() == Some(name) && !plan.cabrera;
    let second = plan
        .traces
        .iter()
        .find(|t| t.role == Role::Grid && t.left_mm > plan.traces[0].left_mm + 1.0);
    let recording = |lead: &str| {
        plan.traces
            .iter()
            .find(|t| t.role == Role::Rhythm && t.lead == lead)
    };
    let simultaneous = second.is_some_and(|t| match recording(t.lead) {
        Some(strip) => strip.mv[..20] == t.mv[..20],
        None => wanted == Fault::Simultaneous,
    });
    let mut rows: Vec<i32> = plan.traces.iter().map(|t| t.zero_mm as i32).collect();
    rows.dedup();
    rows.sort_unstable();
    rows.dedup();
    let pitch = (rows[rows.len() - 1] - rows[0]) as f32 / (rows.len() - 1) as f32;
    let [tight, loose] = match rows.len() {
        0..=3 => [26.8, 31.2],
        4 => [22.5, 26.4],
        5..=7 => [16.2, 19.5],
        _ => [11.2, 12.7],
    };
    let pitch = pitch
        * if plan.gain_mm_mv > 15.0 {
            1.0 / 1.3
        } else {
            1.0
        };
    assert!(pitch < tight || pitch > loose, "{pitch} mm between rows");
    let asked = |fault, is: bool| (is && wanted == fault, fault);
    vec![
        asked(Fault::Rows12x1, named("12x1")),
        asked(Fault::Rows6x2, named("6x2")),
        asked(Fault::Rows6x1, named("6x1")),
        asked(Fault::Rows4x3, named("4x3")),
        asked(Fault::Cabrera, plan.cabrera),
        asked(Fault::Strips, plan.layout == "3x4+3R"),
        // The model's own heart may be paced.
        asked(Fault::Paced, is_paced(plan)),
        (simultaneous, Fault::Simultaneous),
        (pitch < tight, Fault::TightRows),
    ]
}

fn seen(plan: &Plan, wanted: Fault) -> BTreeSet<String> {
    let all = [
        of_paper(plan),
        of_ink(plan),
        of_labels(plan),
        of_scale(plan),
        of_marks(plan),
        of_layout(plan, wanted),
    ];
    let seen = all.concat().into_iter().filter(|(is, _)| *is);
    seen.map(|(_, fault)| format!("{fault:?}")).collect()
}

#[test]
fn a_page_has_its_fault_and_no_other() {
    for fault in Fault::value_variants() {
        for index in 0..PAGES {
            let found = seen(&page(index, *fault), *fault);
            let expected = match fault {
                Fault::None => BTreeSet::new(),
                _ => BTreeSet::from([format!("{fault:?}")]),
            };
            assert_eq!(found, expected, "page {index} of {}", fault.name());
        }
    }
}

/// A page's fault is compared with the same page without one.
#[test]
fn pages_of_one_number_differ_by_their_fault_alone() {
    let texts = |plan: &Plan| -> Vec<(String, f32, f32)> {
        let place = |t: &pageprint::plan::Text| (t.text.clone(), t.x_mm, t.y_mm);
        plan.texts.iter().map(place).collect()
    };
    let faults = [
        Fault::ColouredInk,
        Fault::Blur,
        Fault::NoGrid,
        Fault::LabelsBelow,
        Fault::NoPulse,
        Fault::Jpeg,
    ];
    for index in 0..PAGES {
        let plain = page(index, Fault::None);
        for fault in faults {
            let (faulty, name) = (page(index, fault), fault.name());
            assert_eq!(plain.layout, faulty.layout);
            for (a, b) in plain.traces.iter().zip(&faulty.traces) {
                assert_eq!((a.lead, &a.path_mm), (b.lead, &b.path_mm), "{name}");
            }
            assert_eq!(plain.paper, faulty.paper);
            if !matches!(fault, Fault::LabelsBelow | Fault::NoPulse) {
                assert_eq!(texts(&plain), texts(&faulty), "{name}");
            }
        }
        let other = page(index + PAGES, Fault::None);
        assert!(plain.traces[0].mv != other.traces[0].mv);
    }
}

#[test]
fn pages_of_a_scale_lack_the_evidence() {
    let told = |plan: &Plan| {
        let text = |unit: &str| plan.texts.iter().any(|t| t.class.ends_with(unit));
        [
            (text("mm/s") || text("mm/mV"), Evidence::Text),
            (count_marks(plan, "pulse") > 0, Evidence::Pulse),
            (plan.grid.kind != GridKind::None, Evidence::Grid),
        ]
    };
    for (speed_mm_s, gain_mm_mv) in [(12.5, 5.0), (25.0, 20.0), (50.0, 10.0)] {
        for without in Evidence::value_variants() {
            let mut others = 0;
            for index in 0..3 * PAGES {
                let wanted = Wanted::Scales {
                    speed_mm_s,
                    gain_mm_mv,
                    without: vec![*without],
                };
                let plan = plan(SEED, index, wanted, &Source::Model);
                assert_eq!((plan.speed_mm_s, plan.gain_mm_mv), (speed_mm_s, gain_mm_mv));
                let leads = |t: &Trace| LEADS.contains(&t.lead.trim_start_matches('-'));
                assert!(plan.traces.iter().all(leads), "a layout of ours");
                for (is, evidence) in told(&plan) {
                    assert!(!is || evidence != *without, "page {index} has {without:?}");
                    others += usize::from(is);
                }
            }
            assert!(others > 3 * PAGES as usize, "the other evidence is there");
        }
    }
}

#[test]
fn a_chest_gain_of_its_own_is_always_written() {
    let mut seen = 0;
    for index in 0..300 {
        let plan = plan(SEED, index, plan::Preset::Train, &Source::Model);
        let gain = |trace: &Trace| trace.gain_mm_mv;
        let gains = plan.traces.iter().map(gain);
        let halves = gains.clone().any(|gain| gain < plan.gain_mm_mv);
        let written = plan.texts.iter().any(|text| text.class == "half-chest");
        assert!(!halves || written, "page {index}");
        seen += usize::from(halves);
    }
    assert!(seen > 5, "{seen} pages have two gains");
}
