//! Prints ECG pages of known truth.
//!
//! A page is planned (`plan`: what stands where, in flat millimetres), drawn (`draw`: ink on flat
//! paper), bent and laid before a camera (`warp`), spoiled (`degrade`), and written with its truth
//! (`truth`). Everything follows from a seed and a page number.

pub mod degrade;
pub mod draw;
pub mod font;
pub mod npz;
pub mod plan;
pub mod signal;
pub mod truth;
pub mod warp;

use font::Fonts;
use plan::{Plan, Wanted};
use signal::Source;
use truth::Truth;

/// A page as a camera or scanner would deliver it, and all that is known of it.
pub struct PrintedPage {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
    pub truth: Truth,
    /// JPEG quality to be written with; `None` is PNG.
    pub jpeg_quality: Option<u8>,
}

/// Prints the page that `plan` describes.
pub fn print(plan: &Plan, fonts: &Fonts) -> PrintedPage {
    let sheet = draw::draw(plan, fonts);
    let warp = warp::Warp::new(plan);
    let mut picture = warp.apply(&sheet, plan);
    degrade::degrade(&mut picture, plan, &warp);
    let truth = Truth::of(plan, &sheet, &warp);
    PrintedPage {
        width: picture.width,
        height: picture.height,
        rgb: picture.rgb,
        truth,
        jpeg_quality: plan.jpeg_quality,
    }
}

/// Page `index` of the series `seed`, of the given kind.
pub fn plan(seed: u64, index: u64, wanted: impl Into<Wanted>, source: &Source) -> Plan {
    let mixed =
        seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index.wrapping_mul(0xD1B5_4A32_D192_ED03);
    let mut rng = Rng::new(mixed);
    plan::random(&mut rng, &wanted.into(), source)
}

/// A seeded source of chance.
#[derive(Clone)]
pub struct Rng(fastrand::Rng);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Uniform in `low..high`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.0.f32()
    }

    /// True with this chance.
    pub fn chance(&mut self, share: f32) -> bool {
        self.0.f32() < share
    }

    /// An index below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        self.0.usize(0..count)
    }

    /// Gaussian (Box and Muller, 1958).
    pub fn normal(&mut self, mean: f32, deviation: f32) -> f32 {
        let (u, v) = (self.0.f32().max(1e-7), self.0.f32());
        mean + deviation * (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
    }

    /// One of `items`.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// One of `items` by weight.
    pub fn weigh<T: Copy>(&mut self, items: &[(f32, T)]) -> T {
        let total: f32 = items.iter().map(|item| item.0).sum();
        let mut at = self.range(0.0, total);
        for (weight, item) in items {
            at -= weight;
            if at <= 0.0 {
                return *item;
            }
        }
        items[items.len() - 1].1
    }

    /// A generator of its own, for a part whose draws must not shift others'.
    pub fn fork(&mut self) -> Self {
        Self(self.0.fork())
    }
}
