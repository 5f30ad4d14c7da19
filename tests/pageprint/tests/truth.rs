//! What the printer says of its pages, against the pages.

use pageprint::font::Fonts;
use pageprint::plan::{Fate, Plan, Preset};
use pageprint::signal::Source;
use pageprint::{PrintedPage, plan, print};

const MEDIAN_PX_MAX: f32 = 0.3;

/// More pages with `scripts/test --long`.
fn page_count(few: u64, many: u64) -> u64 {
    if std::env::var_os("LEADSCAN_LONG").is_some() {
        many
    } else {
        few
    }
}

/// How much darker the page is with one trace than without any, and that trace's path.
struct Ink {
    width: usize,
    height: usize,
    dark: Vec<f32>,
    path: Vec<[f32; 2]>,
}

impl Ink {
    fn of(plan: &Plan, trace: usize) -> Self {
        let fonts = Fonts::built_in();
        let mut alone = plan.clone();
        alone.traces = vec![plan.traces[trace].clone()];
        alone.traces[0].label = None;
        let mut none = plan.clone();
        none.traces.clear();
        let (with, without) = (print(&alone, &fonts), print(&none, &fonts));
        let sum = |pixel: &[u8]| pixel.iter().map(|v| f32::from(*v)).sum::<f32>();
        let pixels = with.rgb.chunks_exact(3).zip(without.rgb.chunks_exact(3));
        Self {
            width: with.width,
            height: with.height,
            dark: pixels.map(|(a, b)| (sum(b) - sum(a)).max(0.0)).collect(),
            path: with.truth.px[0].clone(),
        }
    }

    /// Between four pixels, whose centres are at integers.
    fn at(&self, [x, y]: [f32; 2]) -> Option<f32> {
        if x < 0.0 || y < 0.0 || x >= self.width as f32 - 1.0 || y >= self.height as f32 - 1.0 {
            return None;
        }
        let (column, row) = (x as usize, y as usize);
        let (u, v) = (x.fract(), y.fract());
        let pixel = |dx: usize, dy: usize| self.dark[(row + dy) * self.width + column + dx];
        let above = pixel(0, 0) * (1.0 - u) + pixel(1, 0) * u;
        Some(above * (1.0 - v) + (pixel(0, 1) * (1.0 - u) + pixel(1, 1) * u) * v)
    }

    /// How far the ink's centre lies from point `k`, across the path; `None` where none is seen.
    fn distance(&self, k: usize, reach_px: f32) -> Option<f32> {
        let [before, here, after] = [k - 1, k, k + 1].map(|k| self.path[k]);
        let along = [after[0] - before[0], after[1] - before[1]];
        let length = along[0].hypot(along[1]);
        let across = [-along[1] / length, along[0] / length];
        let (mut mass, mut moment) = (0.0, 0.0);
        let steps = (reach_px * 8.0) as i32;
        for step in -steps..=steps {
            let off = step as f32 / 8.0;
            let dark = self.at([here[0] + off * across[0], here[1] + off * across[1]])?;
            mass += dark;
            moment += dark * off;
        }
        (mass > 100.0).then(|| (moment / mass).abs())
    }
}

/// Median distance over some traces of the page, and the share of points where ink was seen.
fn measure(plan: &Plan) -> (f32, f32) {
    let mut distances = Vec::new();
    let mut asked = 0;
    for trace in [0, plan.traces.len() / 2, plan.traces.len() - 1] {
        let ink = Ink::of(plan, trace);
        let reach = 1.5 + 0.5 * plan.line_width_mm * plan.px_per_mm + 2.0 * plan.fate.blur_px;
        for k in (2..ink.path.len() - 2).step_by(3) {
            if ink.path[k - 1..k + 2]
                .iter()
                .flatten()
                .all(|v| v.is_finite())
            {
                asked += 1;
                distances.extend(ink.distance(k, reach));
            }
        }
    }
    distances.sort_by(f32::total_cmp);
    assert!(!distances.is_empty(), "no ink was seen");
    (
        distances[distances.len() / 2],
        distances.len() as f32 / asked as f32,
    )
}

fn check(name: &str, plan: &Plan) {
    let (median, seen) = measure(plan);
    println!(
        "{name}: median {median:.3} px, ink at {:.1} % of the points",
        100.0 * seen
    );
    assert!(
        median <= MEDIAN_PX_MAX,
        "{name}: the truth lies {median} px beside the ink"
    );
    assert!(seen > 0.9, "{name}: ink at {seen} of the points only");
}

#[test]
fn the_truth_lies_on_the_ink_of_clean_pages() {
    for index in 0..page_count(3, 20) {
        check(
            &format!("clean {index}"),
            &plan(41, index, Preset::Clean, &Source::Model),
        );
    }
}

#[test]
fn the_truth_lies_on_the_ink_of_bent_pages() {
    for index in 0..page_count(4, 30) {
        let photo = plan(42, index, Preset::Photo, &Source::Model);
        let mut clean = plan(43, index, Preset::Clean, &Source::Model);
        // All of the bending; the noise would be measured with it.
        let bent = photo.fate;
        clean.fate = Fate {
            rotation_deg: bent.rotation_deg,
            quarter_turns: (index % 4) as u8,
            corners: bent.corners,
            waves: vec![[1.2, 120.0, 0.3, 0.4], [0.6, 70.0, 1.0, 1.9]],
            desk: bent.desk,
            desk_margin: bent.desk_margin,
            blur_px: 0.7,
            ..clean.fate
        };
        check(&format!("bent {index}"), &clean);
    }
}

#[test]
fn a_truth_beside_the_ink_is_seen() {
    let plan = plan(41, 0, Preset::Clean, &Source::Model);
    let mut ink = Ink::of(&plan, 0);
    for point in &mut ink.path {
        point[1] += 0.6;
    }
    let mut found: Vec<f32> = (2..ink.path.len() - 2)
        .filter_map(|k| ink.distance(k, 4.0))
        .collect();
    found.sort_by(f32::total_cmp);
    assert!(found[found.len() / 2] > MEDIAN_PX_MAX);
}

#[test]
fn the_same_seed_prints_the_same_page() {
    let fonts = Fonts::built_in();
    let page = |seed, index| print(&plan(seed, index, Preset::Train, &Source::Model), &fonts);
    let parts = |page: &PrintedPage| serde_json::to_string(&page.truth).unwrap();
    for index in 0..page_count(3, 20) {
        let (a, b) = (page(7, index), page(7, index));
        assert!(a.rgb == b.rgb, "page {index} is printed in two ways");
        assert_eq!(parts(&a), parts(&b));
        assert!(
            a.rgb != page(8, index).rgb,
            "another seed prints another page"
        );
    }
}

#[test]
fn the_sample_page_is_the_one_that_is_printed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../pages/sample");
    let folders = ["/usr/share/fonts".into()];
    let fonts = Fonts::named(&folders, pageprint::plan::SAMPLE_FONT);
    if fonts.count() == 2 {
        assert!(
            std::env::var_os("LEADSCAN_CI").is_none(),
            "fonts-dejavu-core is not installed"
        );
        println!("SKIPPED: {} is not installed", pageprint::plan::SAMPLE_FONT);
        return;
    }
    let page = print(&pageprint::plan::sample(), &fonts);
    let out = std::env::temp_dir().join(format!("pageprint-sample-{}", std::process::id()));
    std::fs::create_dir_all(&out).unwrap();
    page.write_case(&out).unwrap();
    for file in ["page.jpg", "truth.json", "expected.csv"] {
        let (a, b) = (
            std::fs::read(folder.join(file)).unwrap(),
            std::fs::read(out.join(file)).unwrap(),
        );
        assert!(
            a == b,
            "{file} is not what is printed now: see tests/pages/README.md"
        );
    }
    std::fs::remove_dir_all(out).unwrap();
}

/// Seconds that this thread has run: the machine may have other work.
fn thread_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

/// Three pages a second are asked for; a machine half as fast as ours must not fail.
#[test]
fn a_page_is_printed_in_a_third_of_a_second() {
    let Some(start) = thread_seconds() else {
        return;
    };
    let fonts = Fonts::built_in();
    let mut pixels = 0;
    let count = page_count(6, 30);
    for index in 0..count {
        let mut plan = plan(9, index, Preset::Train, &Source::Model);
        plan.px_per_mm = 200.0 / 25.4;
        pixels += print(&plan, &fonts).rgb.len() / 3;
    }
    let rate = count as f64 / (thread_seconds().unwrap_or(start) - start);
    println!(
        "{rate:.1} pages a second of {:.1} MP",
        pixels as f64 / 1e6 / count as f64
    );
    assert!(rate > 1.5, "{rate} pages a second");
}
