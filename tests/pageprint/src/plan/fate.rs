//! What happens to the paper and to its picture, by chance.
//!
//! In: the kind of pages. Out: a `Fate`, which `warp` and `degrade` carry out, and the JPEG quality.

use serde::Serialize;

use super::{Fault, Preset};
use crate::Rng;

/// What happens to the paper and its picture.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fate {
    pub rotation_deg: f32,
    pub quarter_turns: u8,
    /// Perspective, as shifts of the four corners in shares of the page's size.
    pub corners: [[f32; 2]; 4],
    /// Waves of the sheet: amplitude mm, period mm, phase, direction.
    pub waves: Vec<[f32; 4]>,
    /// Folds: place, direction, width mm, depth.
    pub folds: Vec<[f32; 5]>,
    pub desk: Option<[f32; 3]>,
    pub desk_margin: f32,
    pub shade: f32,
    pub shadow: f32,
    pub tint: [f32; 3],
    pub blur_px: f32,
    pub noise: f32,
    pub gamma: f32,
    pub fade: f32,
    pub grey: bool,
    pub threshold: Option<f32>,
    pub halftone: bool,
    pub stains: usize,
    pub sharpen: f32,
    /// Stripes of a screen or sensor against the grid: depth, period px, angle.
    pub moire: Option<[f32; 3]>,
    pub seed: u64,
}

pub fn jpeg(rng: &mut Rng, preset: Preset) -> Option<u8> {
    let share = match preset {
        Preset::Clean => 0.0,
        Preset::Scan => 0.4,
        Preset::Train | Preset::Scales => 0.7,
        Preset::Photo => 1.0,
    };
    rng.chance(share).then(|| rng.range(30.0, 96.0) as u8)
}

pub fn draw(rng: &mut Rng, preset: Preset) -> Fate {
    let mut fate = Fate {
        tint: [1.0; 3],
        gamma: 1.0,
        seed: rng.below(usize::MAX >> 1) as u64,
        ..Fate::default()
    };
    match preset {
        Preset::Clean => {}
        Preset::Scan => scan(rng, &mut fate),
        Preset::Photo => photo(rng, &mut fate),
        Preset::Train | Preset::Scales => match rng.weigh(&[(1.5, 0), (5.5, 1), (3.0, 2)]) {
            0 => {}
            1 => scan(rng, &mut fate),
            _ => photo(rng, &mut fate),
        },
    }
    fate
}

fn scan(rng: &mut Rng, fate: &mut Fate) {
    if rng.chance(0.7) {
        fate.rotation_deg = rng.normal(0.0, 0.8);
    }
    if rng.chance(0.1) {
        fate.rotation_deg = rng.range(-8.0, 8.0);
    }
    fate.blur_px = if rng.chance(0.7) {
        rng.range(0.3, 1.0)
    } else {
        0.0
    };
    fate.noise =
        rng.weigh(&[(3.0, 0.0), (4.0, 0.01), (2.0, 0.03), (1.0, 0.06)]) * rng.range(0.5, 1.5);
    fate.gamma = rng.range(0.75, 1.4);
    fate.fade = if rng.chance(0.2) {
        rng.range(0.1, 0.5)
    } else {
        0.0
    };
    fate.grey = rng.chance(0.15);
    fate.threshold = rng.chance(0.05).then(|| rng.range(0.6, 0.85));
    fate.halftone = rng.chance(0.02);
    fate.sharpen = if rng.chance(0.2) {
        rng.range(0.3, 1.0)
    } else {
        0.0
    };
    fate.tint = [1.0, rng.range(0.95, 1.0), rng.range(0.88, 1.0)];
    if rng.chance(0.15) {
        fate.shade = rng.range(0.02, 0.15);
    }
    if rng.chance(0.15) {
        creases(rng, fate);
    }
    fate.stains = if rng.chance(0.06) {
        1 + rng.below(4)
    } else {
        0
    };
}

fn photo(rng: &mut Rng, fate: &mut Fate) {
    fate.rotation_deg = rng.normal(0.0, 2.5);
    let size = rng.weigh(&[(4.0, 0.015), (2.0, 0.05)]);
    fate.corners = std::array::from_fn(|_| [rng.normal(0.0, size), rng.normal(0.0, size)]);
    fate.desk = rng.chance(0.6).then(|| {
        let base = rng.range(0.08, 0.8);
        [
            base,
            base * rng.range(0.7, 1.05),
            base * rng.range(0.5, 1.05),
        ]
    });
    fate.desk_margin = if fate.desk.is_some() {
        rng.range(0.0, 0.08)
    } else {
        -rng.range(0.0, 0.02)
    };
    for _ in 0..rng.below(3) {
        let period = rng.range(60.0, 250.0);
        fate.waves.push([
            rng.range(0.0, 0.012) * period,
            period,
            rng.range(0.0, 6.3),
            rng.range(0.0, std::f32::consts::PI),
        ]);
    }
    if rng.chance(0.4) {
        creases(rng, fate);
    }
    fate.shade = rng.range(0.05, 0.4);
    fate.shadow = if rng.chance(0.3) {
        rng.range(0.1, 0.5)
    } else {
        0.0
    };
    fate.blur_px = rng.range(0.4, 1.4);
    fate.noise = rng.range(0.005, 0.04);
    fate.gamma = rng.range(0.7, 1.3);
    fate.sharpen = if rng.chance(0.3) {
        rng.range(0.3, 1.2)
    } else {
        0.0
    };
    fate.tint = [
        rng.range(0.85, 1.0),
        rng.range(0.85, 1.0),
        rng.range(0.75, 1.0),
    ];
    fate.stains = if rng.chance(0.05) {
        1 + rng.below(3)
    } else {
        0
    };
    fate.moire = rng.chance(0.06).then(|| {
        [
            rng.range(0.02, 0.12),
            rng.range(3.0, 14.0),
            rng.range(0.0, std::f32::consts::PI),
        ]
    });
}

fn creases(rng: &mut Rng, fate: &mut Fate) {
    for _ in 0..1 + rng.below(4) {
        let angle = rng.pick(&[0.0, std::f32::consts::FRAC_PI_2]) + rng.normal(0.0, 0.2);
        fate.folds.push([
            rng.range(0.1, 0.9),
            rng.range(0.1, 0.9),
            angle,
            rng.range(0.4, 4.0),
            rng.range(-0.3, 0.25),
        ]);
    }
}

/// A JPEG's quality below which its blocks are seen on thin lines.
const LOW_JPEG: u8 = 50;

/// A low JPEG quality, as the training pages have it.
pub fn low_jpeg(rng: &mut Rng) -> u8 {
    loop {
        match jpeg(rng, Preset::Train) {
            Some(quality) if quality < LOW_JPEG => return quality,
            _ => {}
        }
    }
}

/// `plain` with the one difficulty, where it is one of the paper or of its picture: fates of the
/// training pages are drawn until one has it, so that its degree is as theirs.
pub fn one(fault: Fault, plain: Fate, rng: &mut Rng) -> Fate {
    if fault == Fault::QuarterTurns {
        return Fate {
            quarter_turns: 1 + rng.below(3) as u8,
            ..plain
        };
    }
    if part(fault, &plain, plain.clone()).is_none() {
        return plain;
    }
    loop {
        let drawn = draw(rng, Preset::Train);
        if let Some((Degree::Seen, fate)) = part(fault, &drawn, plain.clone()) {
            return fate;
        }
    }
}

/// Whether a fate has a difficulty to a degree that is seen.
enum Degree {
    Seen,
    Unseen,
}

/// `to` with that part of `from` which is the difficulty, and whether it is seen; `None` where the
/// difficulty is none of the paper or of its picture.
fn part(fault: Fault, from: &Fate, to: Fate) -> Option<(Degree, Fate)> {
    let from = from.clone();
    let (turned, desk, desk_margin) = (from.rotation_deg, from.desk, from.desk_margin);
    let bent = |wave: &[f32; 4]| wave[0] > 0.3;
    #[rustfmt::skip]
    let (seen, fate) = match fault {
        Fault::Rotation => (turned.abs() > 0.3, Fate { rotation_deg: turned, ..to }),
        Fault::Perspective => (from.corners != [[0.0; 2]; 4], Fate { corners: from.corners, ..to }),
        Fault::Curl => (from.waves.iter().any(bent), Fate { waves: from.waves, ..to }),
        Fault::Folds => (!from.folds.is_empty(), Fate { folds: from.folds, ..to }),
        Fault::Blur => (from.blur_px > 0.5, Fate { blur_px: from.blur_px, ..to }),
        Fault::Noise => (from.noise > 0.015, Fate { noise: from.noise, ..to }),
        Fault::Grey => (from.grey, Fate { grey: true, ..to }),
        Fault::Threshold => (from.threshold.is_some(), Fate { threshold: from.threshold, ..to }),
        Fault::HalfTone => (from.halftone, Fate { halftone: true, ..to }),
        Fault::Moire => (from.moire.is_some(), Fate { moire: from.moire, ..to }),
        Fault::Stains => (from.stains > 0, Fate { stains: from.stains, ..to }),
        Fault::Desk => (desk.is_some(), Fate { desk, desk_margin, ..to }),
        Fault::Shade => (from.shade > 0.1, Fate { shade: from.shade, ..to }),
        Fault::Shadow => (from.shadow > 0.0, Fate { shadow: from.shadow, ..to }),
        Fault::Fading => (from.fade > 0.0, Fate { fade: from.fade, ..to }),
        Fault::Sharpening => (from.sharpen > 0.0, Fate { sharpen: from.sharpen, ..to }),
        _ => return None,
    };
    Some((if seen { Degree::Seen } else { Degree::Unseen }, fate))
}
