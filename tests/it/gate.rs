//! The gate: good pages pass, bad pictures do not, and one page is told from another.
//!
//! Pages are printed for it: a few by default, and the number that the floors are stated for with
//! `LEADSCAN_LONG=1`. What was counted is printed.

use std::path::PathBuf;

use leadscan::capture::gate::{Judgement, PageHash, Verdict, judge, judge_in};
use leadscan::page::RawImage;
use pageprint::Rng;
use pageprint::font::Fonts;
use pageprint::plan::{Plan, Preset, SAMPLE_FONT, sample};
use pageprint::signal::{LEADS, RATE_HZ, Source};

use crate::sampled;

const SEED: u64 = 4_242;
/// Share of pictures that may be judged wrongly.
const WRONG_MAX: f32 = 0.02;

fn fonts() -> Fonts {
    Fonts::named(&[PathBuf::from("/usr/share/fonts")], SAMPLE_FONT)
}

fn printed(plan: &Plan) -> RawImage {
    let page = pageprint::print(plan, &fonts());
    RawImage::new(page.width, page.height, page.rgb).unwrap()
}

/// Pages of all layouts, as scanners and phones see them.
fn plans(count: usize) -> impl Iterator<Item = Plan> {
    (0..count as u64).map(|k| {
        let preset = if k % 2 == 0 {
            Preset::Scan
        } else {
            Preset::Photo
        };
        pageprint::plan(SEED, k, preset, &Source::Model)
    })
}

fn blurred(image: &RawImage, sigma_px: f32) -> RawImage {
    let (width, height) = (image.width() as u32, image.height() as u32);
    let picture = image::RgbImage::from_raw(width, height, image.rgb().to_vec()).unwrap();
    let soft = image::imageops::blur(&picture, sigma_px);
    RawImage::new(image.width(), image.height(), soft.into_raw()).unwrap()
}

/// A sensor's grain, to be taken over and over: a prime number of it shows no pattern.
fn grains(deviation: f32, rng: &mut Rng) -> Vec<f32> {
    (0..65_537).map(|_| rng.normal(0.0, deviation)).collect()
}

/// Light that falls on the lens beside the page.
fn hazed(image: &RawImage) -> RawImage {
    let rgb = image.rgb().iter().map(|v| 255 - (255 - v) / 8);
    RawImage::new(image.width(), image.height(), rgb.collect()).unwrap()
}

/// Light of this strength, with a sensor's grain.
fn lit(image: &RawImage, strength: f32, grain: f32, rng: &mut Rng) -> RawImage {
    let grains = grains(grain, rng);
    let values = image.rgb().iter().zip(grains.iter().cycle());
    let rgb = values.map(|(v, grain)| (f32::from(*v) * strength + grain) as u8);
    RawImage::new(image.width(), image.height(), rgb.collect()).unwrap()
}

fn picture(level: impl Fn(f32, f32) -> f32, grain: f32, rng: &mut Rng) -> RawImage {
    let (width, height) = (1_600, 1_200);
    let grains = grains(grain, rng);
    let mut grains = grains.iter().cycle();
    let mut rgb = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            let base = level(x as f32 / width as f32, y as f32 / width as f32);
            let value = (base + grains.next().unwrap()).clamp(0.0, 255.0) as u8;
            rgb.extend([value, value, value]);
        }
    }
    RawImage::new(width, height, rgb).unwrap()
}

/// What a camera sees where no ECG is, and what each is called.
fn nothings(rng: &mut Rng) -> Vec<(&'static str, RawImage)> {
    let (a, b) = (rng.range(3.0, 9.0), rng.range(60.0, 130.0));
    let wood = |x: f32, y: f32| {
        150.0 + 16.0 * (b * y + a * (x * 2.1).sin()).sin() + 9.0 * (3.3 * b * y + x).sin()
    };
    let hand =
        |x: f32, y: f32| 130.0 - 60.0 * (1.0 / (1.0 + (-(x + 0.3 * y - 0.6) * a * 8.0).exp()));
    // Long, thin, dark and bent, as traces are; but nothing beats.
    let ruled = |x: f32, y: f32| {
        let row = 9.0 * (y + 0.012 * (a * x).sin());
        if (row - row.round()).abs() < 0.02 {
            60.0
        } else {
            225.0
        }
    };
    let mut found = vec![
        ("blank paper", picture(|x, _| 200.0 + 30.0 * x, 3.0, rng)),
        (
            "blank paper with grain",
            picture(|x, y| 190.0 - 50.0 * x * y, 14.0, rng),
        ),
        ("empty scanner", picture(|_, _| 255.0, 0.5, rng)),
        ("desk", picture(wood, 3.0, rng)),
        ("hand over the lens", picture(hand, 4.0, rng)),
        ("lid closed", picture(|_, _| 9.0, 4.0, rng)),
        ("ruled paper that lies bent", picture(ruled, 3.0, rng)),
    ];
    let mut letter = sample();
    letter.traces.clear();
    letter.marks.clear();
    letter.grid.kind = pageprint::plan::GridKind::None;
    let words = letter.texts.iter().filter(|text| text.class == "text");
    let texts: Vec<_> = words.cloned().collect();
    for (line, text) in texts.iter().cycle().take(12).enumerate() {
        let mut text = text.clone();
        (text.x_mm, text.y_mm) = (18.0, 30.0 + 9.0 * line as f32);
        letter.texts.push(text);
    }
    found.push(("a letter", printed(&letter)));
    letter.texts.clear();
    letter.grid.kind = pageprint::plan::GridKind::Lines;
    found.push(("ruled paper without traces", printed(&letter)));
    found
}

/// Judges what `pictures` gives; the share that `wrong` says is wrong, which is told.
fn wrong_share(
    name: &str,
    pictures: impl Iterator<Item = RawImage>,
    is_wrong: impl Fn(&Judgement) -> bool,
) -> f32 {
    let (mut wrong, mut total) = (0, 0);
    for (k, picture) in pictures.enumerate() {
        let judgement = judge(&picture);
        total += 1;
        if is_wrong(&judgement) {
            wrong += 1;
            println!(
                "  {name} {k}: {:?}, sharpness {:.2}",
                judgement.verdict, judgement.sharpness
            );
        }
    }
    println!("{name}: {wrong} of {total} judged wrongly");
    wrong as f32 / total as f32
}

#[test]
fn good_pages_pass() {
    let pages = plans(sampled(10, 200)).map(|plan| printed(&plan));
    assert!(wrong_share("good", pages, |j| j.verdict != Verdict::Good) <= WRONG_MAX);
}

/// Blur of which nothing is read, and the light that falls through a closed lid.
#[test]
fn spoiled_pages_do_not_pass() {
    let count = sampled(4, 50);
    let is_good = |j: &Judgement| j.verdict == Verdict::Good;
    let blur = plans(count).map(|plan| blurred(&printed(&plan), 0.6 * plan.px_per_mm));
    let blur = wrong_share("blurred", blur, |j| {
        !matches!(j.verdict, Verdict::Blurred { .. })
    });
    let mut rng = Rng::new(SEED);
    let dark = plans(count).map(|plan| lit(&printed(&plan), 0.1, 3.0, &mut rng));
    let dark = wrong_share("dark", dark, |j| !matches!(j.verdict, Verdict::Dark { .. }));
    let light = plans(count).map(|plan| hazed(&printed(&plan)));
    let light = wrong_share("washed out", light, is_good);
    assert!(
        blur.max(dark).max(light) <= WRONG_MAX,
        "{blur} {dark} {light}"
    );
}

#[test]
fn what_is_no_page_does_not_pass() {
    let mut rng = Rng::new(SEED);
    for round in 0..sampled(1, 10) {
        for (name, picture) in nothings(&mut rng) {
            let judgement = judge(&picture);
            println!("{round} {name}: {:?}", judgement.verdict);
            assert_ne!(judgement.verdict, Verdict::Good, "{name}");
            assert!(!judgement.has_traces, "{name}");
            if name == "lid closed" {
                assert!(matches!(judgement.verdict, Verdict::Dark { .. }));
            }
        }
    }
}

/// The sample page with the signals of somebody else.
fn somebody(index: u64) -> Plan {
    let mut plan = sample();
    let recording = Source::Model.draw(&mut Rng::new(SEED + index));
    for trace in &mut plan.traces {
        let lead = LEADS.iter().position(|lead| *lead == trace.lead).unwrap();
        let first = (trace.start_s * RATE_HZ) as usize;
        let mv = &recording.leads[lead][first..][..trace.mv.len()];
        trace.mv.copy_from_slice(mv);
        for (k, (point, mv)) in trace.path_mm.iter_mut().zip(mv).enumerate() {
            let along = k as f32 / RATE_HZ * plan.speed_mm_s;
            *point = [trace.left_mm + along, trace.zero_mm - mv * trace.gain_mm_mv];
        }
    }
    plan
}

/// The same page, laid down anew under other light.
fn again(mut plan: Plan, index: u64) -> Plan {
    let mut rng = Rng::new(index);
    plan.fate.rotation_deg += rng.range(-0.5, 0.5);
    plan.fate.corners =
        std::array::from_fn(|_| [rng.normal(0.004, 0.003), rng.normal(0.004, 0.003)]);
    plan.fate.noise = rng.range(0.005, 0.03);
    plan.fate.gamma = rng.range(0.85, 1.15);
    plan.fate.shade = rng.range(0.0, 0.15);
    plan.fate.blur_px = rng.range(0.3, 1.0);
    plan.fate.seed = index;
    plan
}

#[test]
fn pages_of_one_layout_are_told_apart_and_known_again() {
    let count = sampled(10, 50) as u64;
    let hash = |plan: &Plan| judge(&printed(plan)).likeness;
    let pages: Vec<(PageHash, PageHash)> = (0..count)
        .map(|k| (hash(&somebody(k)), hash(&again(somebody(k), k))))
        .collect();
    let known = pages
        .iter()
        .filter(|(once, twice)| once.looks_like(twice))
        .count();
    let mut confused = 0;
    for (k, (page, _)) in pages.iter().enumerate() {
        for (other, twice) in &pages[k + 1..] {
            confused += usize::from(page.looks_like(other)) + usize::from(page.looks_like(twice));
        }
    }
    println!("{known} of {count} known again, {confused} pairs of others taken for one");
    assert_eq!(confused, 0);
    assert!(
        10 * known >= 9 * count as usize,
        "{known} of {count} known again"
    );
}

#[test]
fn pictures_of_any_shape_are_judged() {
    for (width, height) in [(64, 64), (20_000, 64), (64, 20_000), (2_401, 70)] {
        let stripes = (0..3 * width * height).map(|k| if k / 9 % 5 == 0 { 20 } else { 230 });
        let image = RawImage::new(width, height, stripes.collect()).unwrap();
        let judgement = judge(&image);
        assert!(judgement.sharpness.is_finite(), "{width} x {height}");
    }
}

/// The picture moved by so many millimetres right and down, its edges drawn out.
fn moved(page: &RawImage, [right, down]: [f32; 2], px_per_mm: f32) -> RawImage {
    let (width, height) = (page.width(), page.height());
    let from = |at: usize, mm: f32, side: usize| {
        let at = at as f32 - mm * px_per_mm;
        (at.max(0.0) as usize).min(side - 1)
    };
    let mut rgb = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            let at = 3 * (from(y, down, height) * width + from(x, right, width));
            rgb.extend_from_slice(&page.rgb()[at..at + 3]);
        }
    }
    RawImage::new(width, height, rgb).unwrap()
}

#[test]
fn a_page_that_was_moved_is_known_again() {
    let plan = somebody(3);
    let page = printed(&plan);
    let here = judge(&page).likeness;
    let other = judge(&printed(&somebody(4))).likeness;
    for by in [[4.0, -3.0], [-6.0, 2.0], [8.0, 8.0]] {
        let there = judge(&moved(&page, by, plan.px_per_mm)).likeness;
        assert!(here.looks_like(&there), "{by:?}");
        assert!(!other.looks_like(&there), "{by:?}");
    }
}

#[test]
fn the_sharper_picture_is_the_sharper_one() {
    let page = printed(&sample());
    let found =
        [0.8, 1.2, 2.0, 3.0, 4.5].map(|sigma_px| judge(&blurred(&page, sigma_px)).sharpness);
    assert!(found.is_sorted_by(|a, b| a > b), "{found:?}");
}

#[test]
fn a_large_file_is_judged_at_a_smaller_size() {
    let mut plan = sample();
    plan.px_per_mm = 14.0;
    let page = printed(&plan);
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90);
    let picture = image::RgbImage::from_raw(
        page.width() as u32,
        page.height() as u32,
        page.rgb().to_vec(),
    );
    picture.unwrap().write_with_encoder(encoder).unwrap();
    let (whole, small) = (judge(&page), judge_in(&bytes, 20 << 20).unwrap());
    assert_eq!(
        (whole.verdict, small.verdict),
        (Verdict::Good, Verdict::Good)
    );
    assert!(whole.likeness.looks_like(&small.likeness));
    for length in [1, 100, bytes.len() / 2] {
        assert!(judge_in(&bytes[..length], 20 << 20).is_err());
    }
}
