//! Whole pages: what is printed comes back, in the right leads, with the right size.
//!
//! Each folder of `tests/pages` holds a page and the signals that it shows. `UPDATE` is of no use
//! here: the signals are what was printed, not what was read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use leadscan::digitize::{Observer, Options, Stage, digitize};
use leadscan::labels::Lead;
use leadscan::nn::{ModelFiles, TractNets};
use leadscan::page::RawImage;
use leadscan::record::{Finding, Record, Role, Status};
use leadscan::units::Hertz;
use pageprint::font::Fonts;
use pageprint::plan::{Fault, Plan, SAMPLE_FONT, Wanted};
use pageprint::signal::Source;

/// Least signal to noise ratio of a page's leads together, and least correlation of each.
const PAGE_DB_MIN: f32 = 14.0;
const LEAD_R_MIN: f32 = 0.95;

struct NoClock;

impl Observer for NoClock {
    fn begins(&mut self, _stage: Stage) {}
}

fn nets() -> &'static TractNets {
    static NETS: OnceLock<TractNets> = OnceLock::new();
    NETS.get_or_init(|| TractNets::load(ModelFiles::bundled(), 2).unwrap())
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pages")
        .join(name)
}

fn read_page(path: &Path) -> RawImage {
    let picture = image::open(path).unwrap().to_rgb8();
    let (width, height) = picture.dimensions();
    RawImage::new(width as usize, height as usize, picture.into_raw()).unwrap()
}

fn options(layout: Option<&str>) -> Options {
    Options {
        sample_rate: Hertz(500.0),
        speed: None,
        gain: None,
        layout: layout.map(str::to_owned),
    }
}

fn run(image: &RawImage) -> Record {
    digitize(image, nets(), &options(None), &mut NoClock).unwrap()
}

/// Columns of the expected signals: sample index and millivolt.
fn expected(path: &Path) -> HashMap<String, Vec<(usize, f32)>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').skip(1).collect();
    let mut columns: HashMap<String, Vec<(usize, f32)>> = HashMap::new();
    for (k, line) in lines.enumerate() {
        for (name, cell) in names.iter().zip(line.split(',').skip(1)) {
            if let Ok(mv) = cell.parse() {
                columns.entry((*name).to_owned()).or_default().push((k, mv));
            }
        }
    }
    columns
}

/// Power of the signal, of what is wrong with it, and their correlation, at the best lag up to
/// 20 ms and the best constant.
fn compare(record: &Record, lead: Lead, truth: &[(usize, f32)]) -> (f32, f32, f32) {
    let trace = record
        .lead(lead)
        .unwrap_or_else(|| panic!("{} is missing", lead.name()));
    let start = (trace.start.0 * record.sample_rate.0).round() as isize;
    let at = |lag: isize| -> (f32, f32, f32) {
        let pairs: Vec<(f32, f32)> = truth
            .iter()
            .filter_map(|(k, mv)| {
                let index = usize::try_from(*k as isize - start + lag).ok()?;
                Some((*mv, trace.samples.get(index)?.as_ref()?.0))
            })
            .collect();
        let n = pairs.len() as f32;
        let (a, b) = (
            pairs.iter().map(|p| p.0).sum::<f32>() / n,
            pairs.iter().map(|p| p.1).sum::<f32>() / n,
        );
        let sum =
            |f: &dyn Fn(f32, f32) -> f32| pairs.iter().map(|p| f(p.0 - a, p.1 - b)).sum::<f32>();
        let r = sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
        let lost = (truth.len() - pairs.len()) as f32 * sum(&|x, _| x * x) / n;
        (sum(&|x, _| x * x), sum(&|x, y| (x - y).powi(2)) + lost, r)
    };
    (-10..=10)
        .map(at)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap()
}

fn check(name: &str) {
    check_page(&read_page(&folder(name).join("page.jpg")), name);
}

/// Whether `image`, a picture of the page `name`, gives that page's signals.
fn check_page(image: &RawImage, name: &str) {
    let folder = folder(name);
    let record = run(image);
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("truth.json")).unwrap()).unwrap();
    assert_ne!(record.status, Status::Rejected, "{:?}", record.findings);
    assert_eq!(record.layout.as_deref(), truth["layout"].as_str());
    let calibration = record.calibration.as_ref().unwrap();
    assert_eq!(
        Some(f64::from(calibration.speed.value.0)),
        truth["speed_mm_s"].as_f64()
    );
    assert_eq!(
        Some(f64::from(calibration.gain.value.0)),
        truth["gain_mm_mv"].as_f64()
    );
    let columns = expected(&folder.join("expected.csv"));
    let (mut power, mut wrong) = (0.0, 0.0);
    for lead in Lead::TWELVE {
        let (own_power, own_wrong, r) = compare(&record, lead, &columns[lead.name()]);
        assert!(r > LEAD_R_MIN, "{}: correlation {r}", lead.name());
        power += own_power;
        wrong += own_wrong;
    }
    let db = 10.0 * (power / wrong).log10();
    println!("{name}: {db:.1} dB");
    assert!(db > PAGE_DB_MIN, "{db:.1} dB, {PAGE_DB_MIN} are needed");
}

/// The sample page as it lies under a camera, turned further than names are read: they are read on
/// the paper laid flat.
#[test]
fn a_page_far_askew_is_read_on_flat_paper() {
    let mut plan = pageprint::plan::sample();
    plan.fate.rotation_deg = 30.0;
    plan.fate.desk = Some([0.25, 0.2, 0.18]);
    plan.fate.desk_margin = 0.1;
    check_page(&printed(&plan), "sample");
}

#[test]
fn a_strip_whose_name_is_missing_is_named_after_its_panel() {
    let mut plan = pageprint::plan::sample();
    let strip = plan.texts.iter().rposition(|text| text.class == "II");
    plan.texts.remove(strip.unwrap());
    let image = printed(&plan);
    check_page(&image, "sample");
    let named = |finding: &&Finding| finding.code == "named" && finding.lead == Some(Lead::II);
    assert_eq!(run(&image).findings.iter().filter(named).count(), 1);
}

#[test]
fn the_sample_page_comes_back() {
    check("sample");
}

/// Page 20 of the plain ones, and the same with a pacemaker's spikes: those are one sample wide in
/// the truth, and are the whole difference.
#[test]
fn a_pacemakers_spikes_come_back_and_a_page_without_has_none() {
    let plan = |fault| pageprint::plan(77, 20, Wanted::Fault(fault), &Source::Model);
    let (plain, paced) = (plan(Fault::None), plan(Fault::Paced));
    let is_told = |record: &Record| record.findings.iter().any(|f| f.code == "spikes");
    assert!(
        !is_told(&run(&printed(&plain))),
        "spikes where none are printed"
    );
    let record = run(&printed(&paced));
    assert!(is_told(&record), "{:?}", record.findings);
    let (mut tall, mut found) = (0, 0);
    for (before, after) in plain.traces.iter().zip(&paced.traces) {
        let lead = Lead::ALL
            .into_iter()
            .find(|lead| lead.name() == after.lead)
            .unwrap();
        let role = if after.role == pageprint::plan::Role::Grid {
            Role::Panel
        } else {
            Role::Rhythm
        };
        let traces = &mut record.traces.iter();
        let Some(trace) = traces.find(|t| t.lead == lead && t.role == role) else {
            continue;
        };
        let spikes = (5..after.mv.len() - 5).map(|t| (t, after.mv[t] - before.mv[t]));
        for (t, height) in spikes.filter(|(_, height)| height.abs() > 0.5) {
            let near = trace.samples[t - 4..t + 5].iter().flatten();
            let rise = near.map(|mv| (mv.0 - before.mv[t]) * height.signum());
            tall += 1;
            found += usize::from(rise.fold(0.0, f32::max) > 0.7 * height.abs());
        }
    }
    assert!(
        tall > 20 && 2 * found > tall,
        "{found} of {tall} tall spikes"
    );
}

fn printed(plan: &Plan) -> RawImage {
    let fonts = Fonts::named(&[PathBuf::from("/usr/share/fonts")], SAMPLE_FONT);
    let page = pageprint::print(plan, &fonts);
    RawImage::new(page.width, page.height, page.rgb).unwrap()
}

/// The same page by hand, turned: `pixel(x, y)` of the new one is `of(x, y)` of the old one.
fn turned(
    image: &RawImage,
    size: (usize, usize),
    of: impl Fn(usize, usize) -> (usize, usize),
) -> RawImage {
    let mut rgb = Vec::with_capacity(3 * size.0 * size.1);
    for y in 0..size.1 {
        for x in 0..size.0 {
            let (from_x, from_y) = of(x, y);
            rgb.extend(image.pixel(from_x, from_y));
        }
    }
    RawImage::new(size.0, size.1, rgb).unwrap()
}

#[test]
fn a_page_on_its_side_reads_as_upright() {
    let image = read_page(&folder("sample").join("page.jpg"));
    let (width, height) = (image.width(), image.height());
    let upright = run(&image);
    let right = run(&turned(&image, (height, width), |x, y| (y, height - 1 - x)));
    let half = run(&turned(&image, (width, height), |x, y| {
        (width - 1 - x, height - 1 - y)
    }));
    for page in [right, half] {
        assert_eq!(page.layout, upright.layout, "{:?}", page.findings);
        let (a, b) = (
            page.lead(Lead::V5).unwrap(),
            upright.lead(Lead::V5).unwrap(),
        );
        let pairs: Vec<(f32, f32)> = a
            .samples
            .iter()
            .zip(&b.samples)
            .filter_map(|(a, b)| Some((a.as_ref()?.0, b.as_ref()?.0)))
            .collect();
        let off = pairs.iter().map(|(a, b)| (a - b).abs()).sum::<f32>() / pairs.len() as f32;
        assert!(off < 0.03, "mean difference {off} mV");
    }
}

#[test]
fn two_recordings_on_a_page_are_rejected_with_that_reason() {
    let image = read_page(&folder("sample").join("page.jpg"));
    let (width, height) = (image.width(), image.height());
    // The lower one is printed smaller, on a grid of its own.
    let smaller = |k: usize, size: usize| (k * 4 / 3).min(size - 1);
    let both = run(&turned(&image, (width, height * 7 / 4), |x, y| {
        if y < height {
            (x, y)
        } else {
            (smaller(x, width), smaller(y - height, height))
        }
    }));
    assert_eq!(both.status, Status::Rejected);
    let reason = &both.findings.last().expect("a reason").message;
    assert!(reason.contains("two recordings"), "{reason}");
}

#[test]
fn what_is_no_page_is_rejected_with_a_reason() {
    let grey = RawImage::new(800, 600, vec![180; 3 * 800 * 600]).unwrap();
    let mut state = 7u32;
    let noise = (0..3 * 800 * 600)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    for image in [grey, RawImage::new(800, 600, noise).unwrap()] {
        let record = run(&image);
        assert_eq!(record.status, Status::Rejected);
        assert!(record.traces.is_empty());
        assert!(!record.findings[0].message.is_empty());
    }
}
