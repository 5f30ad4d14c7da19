//! The grid, window by window: local pitch, angle and phase, followed across the page.
//!
//! In: the ruling. Out: `Anchor`s, places in the raster whose millimetres are known. A page seen
//! aslant has no one pitch, so each window of the raster is searched on its own; the windows vote
//! on which comb is millimetres (an ECG page is 90 to 460 mm long), and from the surest window the
//! lattice is followed to its neighbours, each predicted by the last. Lines are counted in periods
//! of 5 mm; 1 mm lines are that comb's fifth harmonic.

use std::collections::BinaryHeap;
use std::ops::Range;

use super::best;
use super::lattice::{Anchor, Period};
use super::ruling::Ruling;
use super::spectrum::{Analyser, Cell, Loudness, SIDE, Spectrum, Tone};
use super::turns::{Turns, Waves};
use crate::math;

/// Distance of windows that are followed.
const HOP: usize = SIDE / 2;
const PAGE_MM: (f32, f32) = (90.0, 460.0);
const ANGLE_MAX_DEG: i32 = 44;
const PERIOD_MM: f32 = 5.0;
const HARMONICS: [usize; 7] = [1, 2, 3, 4, 5, 6, 10];
/// Where these stand out as well, lines stand twice as far apart.
const BETWEEN: [f32; 3] = [0.5, 1.5, 2.5];
/// So far out of their surroundings, both ways, on average: 0.27 and more on two grids that were read
/// at half their size, at most 0.03 on 80 other printed ones, but 0.21 on one of real paper.
const BETWEEN_MIN: f32 = 0.2;
/// And windows agree on the comb of twice the pitch nearly as on this one: to 0.93 and more on those
/// two, to 0.51 at most on real paper.
const TWICE_SHARE_MIN: f32 = 0.75;
/// What is weaker than the ruling's strongest tone by more (log10) is aliasing.
const BETWEEN_WEAKER_MAX: f32 = 1.5;
/// The strongest tones of a ruling are those of its 5 mm and 1 mm lines.
const STRONGEST: [f32; 3] = [1.0, 5.0, 10.0];
/// Where another, of this number or a higher one and so far above its surroundings (log10), has so
/// much more power (log10), the comb is not the ruling's: up to so much more costs the comb this
/// share of it.
const ALIAS_FROM: f32 = 1.5;
const ALIAS_ABOVE_MIN: f32 = 1.0;
const ALIAS_USUAL: f32 = 1.0;
const ALIAS_MAX: f32 = 1.5;
const ALIAS_COST: f32 = 0.5;
/// Finest frequency that is looked at, cycles a pixel.
const FREQUENCY_MAX: f32 = 0.44;
/// Ratio of neighbouring pitches in the search.
const PITCH_STEP: f32 = 0.006;
/// Pitches may differ over a page by this, and between x and y in one window.
const PITCH_SPREAD: f32 = 0.10;
/// A tone is one if its power is this much over its surroundings', log10.
const TONE_MIN: f32 = 1.3;
/// Where the seed's lines may lie, nearly: half a period is too far to be read.
const SEED_PERIODS: [[f32; 2]; 4] = [[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]];
/// Share of the tones that are the 1 mm lines' own, where the 5 mm lines do not stand out.
const FINE_SHARE: f32 = 0.6;
/// Rounds in which neighbours put each other's counts right.
const RELAXATIONS: usize = 6;
/// Mean agreement of the tones' phases, 0 to 1.
const AGREEMENT_MIN: f32 = 0.55;

/// What the windows say.
pub struct Windows {
    pub anchors: Vec<Anchor>,
    /// Share of windows in which both rulings were followed.
    pub seen: f32,
    /// Distance of lines that look alike.
    pub period: Period,
    /// Mean logarithm (base 10) of the best comb's power over its surroundings'.
    pub strength: f32,
}

/// Searches and follows the grid.
pub fn search(ruling: &Ruling) -> Windows {
    let analyser = Analyser::new();
    let (pitches, rays) = (pitches(ruling), rays());
    let votes: Vec<Vote> = places(ruling, SIDE)
        .into_iter()
        .map(|(left, top)| {
            let loudness = analyser.spectrum(ruling, left, top).loudness();
            vote(&rays, &loudness, (left, top), &pitches)
        })
        .collect();
    let Some(seed) = elect(&votes, &pitches) else {
        let period = Period(PERIOD_MM);
        return Windows {
            anchors: Vec::new(),
            seen: 0.0,
            period,
            strength: 0.0,
        };
    };
    let all = places(ruling, HOP);
    let (anchors, period) = follow(ruling, &analyser, &all, &seed);
    let seen = anchors.len() as f32 / all.len() as f32;
    Windows {
        anchors,
        seen,
        period,
        strength: seed.score,
    }
}

fn pitches(ruling: &Ruling) -> Vec<f32> {
    let long = ruling.width.max(ruling.height) as f32;
    let (low, high) = (long / PAGE_MM.1, long / PAGE_MM.0);
    let count = (math::ln(high / low) / PITCH_STEP) as usize;
    (0..=count)
        .map(|k| low * math::exp(PITCH_STEP * k as f32))
        .collect()
}

/// Corners of windows about `hop` apart that cover the raster.
fn places(ruling: &Ruling, hop: usize) -> Vec<(usize, usize)> {
    let starts = |side: usize| -> Vec<usize> {
        let room = side.saturating_sub(SIDE);
        let count = room.div_ceil(hop).max(1);
        (0..=count).map(|k| k * room / count).collect()
    };
    let (mut xs, mut ys) = (starts(ruling.width), starts(ruling.height));
    xs.dedup();
    ys.dedup();
    ys.iter()
        .flat_map(|y| xs.iter().map(move |x| (*x, *y)))
        .collect()
}

/// One window's opinion.
struct Vote {
    place: (usize, usize),
    angle_rad: f32,
    /// Comb's strength along x and y for each pitch.
    x: Vec<f32>,
    y: Vec<f32>,
    /// The same of the tones half way between the comb's.
    between: [Vec<f32>; 2],
}

/// A window's lattice.
#[derive(Clone, Copy, Debug)]
struct Seed {
    place: (usize, usize),
    /// Frequencies of the 5 mm rulings across x and across y, cycles a pixel.
    waves: [[f32; 2]; 2],
    score: f32,
}

fn vote(rays: &[Vec<Cell>], loudness: &Loudness, place: (usize, usize), pitches: &[f32]) -> Vote {
    let power = |ray: &Vec<Cell>| ray.iter().map(|cell| loudness.at(*cell)).collect();
    let rays: Vec<Vec<f32>> = rays.iter().map(power).collect();
    let whole: Vec<f32> = (0..RAY_STEPS)
        .map(|k| median(rays.iter().map(|ray| ray[k]).collect()))
        .collect();
    let above = |ray: &[f32]| -> f32 {
        ray.iter()
            .zip(&whole)
            .map(|(v, m)| (v - m).clamp(0.0, 2.0))
            .sum()
    };
    let strengths: Vec<f32> = rays.iter().map(|ray| above(ray)).collect();
    let angles = 2 * ANGLE_MAX_DEG as usize;
    let best = (0..angles)
        // Pages lie nearly straight more often than not.
        .max_by(|a, b| {
            let score = |k: usize| {
                let off = (k as f32 - ANGLE_MAX_DEG as f32).abs();
                (strengths[k] + strengths[k + 90]) * (1.0 - 0.002 * off)
            };
            score(*a).total_cmp(&score(*b))
        })
        .unwrap_or(ANGLE_MAX_DEG as usize);
    let (x, between_x) = comb(&rays[best], pitches);
    let (y, between_y) = comb(&rays[best + 90], pitches);
    Vote {
        place,
        angle_rad: (best as f32 - ANGLE_MAX_DEG as f32).to_radians(),
        x,
        y,
        between: [between_x, between_y],
    }
}

const RAY_STEPS: usize = 226;
const RAY_STEP: f32 = FREQUENCY_MAX / RAY_STEPS as f32;

/// The cells along rays at all angles, a degree apart, from those of the writing on.
fn rays() -> Vec<Vec<Cell>> {
    let ray = |degrees: i32| {
        let (sin, cos) = math::sin_cos((degrees as f32).to_radians());
        let place = |k: usize| k as f32 * RAY_STEP;
        (0..RAY_STEPS)
            .map(|k| Loudness::cell([place(k) * cos, place(k) * sin]))
            .collect()
    };
    (-ANGLE_MAX_DEG..ANGLE_MAX_DEG + 90).map(ray).collect()
}

/// How far the comb of each pitch stands out of the ray, and how far the tones between its own do:
/// mean log10.
fn comb(ray: &[f32], pitches: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let above: Vec<f32> = (0..ray.len())
        .map(|k| {
            let reach = (k / 6).clamp(6, 20);
            let around = &ray[k.saturating_sub(reach)..(k + reach + 1).min(ray.len())];
            ray[k] - median(around.to_vec())
        })
        .collect();
    let peak = |frequency: f32| {
        let k = (frequency / RAY_STEP).round() as usize;
        let around = &above[k.saturating_sub(1).min(above.len())..(k + 2).min(above.len())];
        around.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    };
    let strongest = strongest_from(ray, &above);
    let between = pitches.iter().map(|pitch| {
        let place = |k: f32| (k / (PERIOD_MM * pitch) / RAY_STEP).round() as usize;
        let most = strongest[place(BETWEEN[0]).min(ray.len())];
        let tone = |k: f32| {
            let is_strong = ray[place(k).min(ray.len() - 1)] > most - BETWEEN_WEAKER_MAX;
            let above = peak(k / (PERIOD_MM * pitch)).clamp(-0.5, 1.6);
            if is_strong { above } else { above.min(0.0) }
        };
        BETWEEN.map(tone).iter().sum::<f32>() / BETWEEN.len() as f32
    });
    let combs = pitches
        .iter()
        .map(|pitch| {
            let (mut sum, mut weight) = (0.0, 0.0);
            for k in HARMONICS {
                let tone = k as f32 / (PERIOD_MM * pitch);
                if tone < FREQUENCY_MAX - 2.0 * RAY_STEP {
                    let importance = if k == 5 { 2.0 } else { 1.0 };
                    sum += importance * peak(tone).clamp(-0.5, 1.6);
                    weight += importance;
                }
            }
            sum / f32::max(weight, 4.0) - ALIAS_COST * alias(ray, &strongest, *pitch)
        })
        .collect();
    (combs, between.collect())
}

/// The strongest tone (log10) of this frequency or a higher one, of those that stand out.
fn strongest_from(ray: &[f32], above: &[f32]) -> Vec<f32> {
    let mut strongest = vec![f32::NEG_INFINITY; ray.len() + 1];
    for k in (0..ray.len()).rev() {
        let is_tone = above[k] > ALIAS_ABOVE_MIN;
        strongest[k] = strongest[k + 1].max(if is_tone { ray[k] } else { f32::NEG_INFINITY });
    }
    strongest
}

/// By how much (log10) the strongest tone stands out of the ruling's own, with what is usual taken
/// off. Aliasing gives 1 mm lines weak tones at fractions of their own and beside them: those make
/// a comb of another pitch, of which the lines themselves are no tone, or one of another number.
fn alias(ray: &[f32], strongest: &[f32], pitch: f32) -> f32 {
    let place = |harmonic: f32| (harmonic / (PERIOD_MM * pitch) / RAY_STEP).round() as usize;
    let power = |harmonic: f32| {
        let k = place(harmonic);
        let around = &ray[k.saturating_sub(1).min(ray.len())..(k + 2).min(ray.len())];
        around.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    };
    let excess = strongest[place(ALIAS_FROM).min(ray.len())]
        - STRONGEST
            .map(power)
            .into_iter()
            .fold(f32::NEG_INFINITY, f32::max);
    (excess - ALIAS_USUAL).clamp(0.0, ALIAS_MAX)
}

fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// The pitch that most windows agree with, and the surest window that has it.
fn elect(votes: &[Vote], pitches: &[f32]) -> Option<Seed> {
    let spread = (PITCH_SPREAD / PITCH_STEP) as usize;
    let count = pitches.len();
    let near = |k: usize| k.saturating_sub(spread).min(count)..(k + spread + 1).min(count);
    // Both rulings of a window have nearly one pitch.
    let pairs: Vec<Vec<f32>> = votes
        .iter()
        .map(|vote| {
            let y = widest(&vote.y, spread / 2);
            vote.x
                .iter()
                .zip(&y)
                .map(|(x, y)| x.min(*y) + 0.5 * x.max(*y))
                .collect()
        })
        .collect();
    let wide: Vec<Vec<f32>> = pairs.iter().map(|pair| widest(pair, spread)).collect();
    let total = |k: usize| {
        wide.iter()
            .map(|w| math::square(w[k].max(0.0)))
            .sum::<f32>()
    };
    let best = (0..pitches.len()).max_by(|a, b| total(*a).total_cmp(&total(*b)))?;
    let twice = best + (math::ln(2.0) / PITCH_STEP).round() as usize;
    let agreed = near(twice).map(total).fold(0.0, f32::max) / total(best);
    let is_twice =
        twice < count && agreed > TWICE_SHARE_MIN && has_between(votes, &pairs, best, near(best));
    let best = if is_twice { twice } else { best };
    let surest = |w: usize| wide[w][best];
    let window = (0..votes.len()).max_by(|a, b| surest(*a).total_cmp(&surest(*b)))?;
    let vote = &votes[window];
    let x = near(best).max_by(|a, b| pairs[window][*a].total_cmp(&pairs[window][*b]))?;
    let half = spread / 2;
    let y = (x.saturating_sub(half)..(x + half + 1).min(pitches.len()))
        .max_by(|a, b| vote.y[*a].total_cmp(&vote.y[*b]))?;
    let (sin, cos) = math::sin_cos(vote.angle_rad);
    let (fx, fy) = (
        1.0 / (PERIOD_MM * pitches[x]),
        1.0 / (PERIOD_MM * pitches[y]),
    );
    Some(Seed {
        place: vote.place,
        waves: [[fx * cos, fx * sin], [-fy * sin, fy * cos]],
        score: (vote.x[x] + vote.y[y]) / 2.0,
    })
}

/// Whether the tones between those of the comb of pitch `best` stand out as well: of each window, at
/// its own pitch in `near`, by how much it has of the comb.
fn has_between(votes: &[Vote], pairs: &[Vec<f32>], best: usize, near: Range<usize>) -> bool {
    let (mut sum, mut total) = (0.0, 0.0);
    for (vote, pair) in votes.iter().zip(pairs) {
        let own = near.clone().max_by(|a, b| pair[*a].total_cmp(&pair[*b]));
        let (own, weight) = (own.unwrap_or(best), math::square(pair[best].max(0.0)));
        sum += weight * vote.between[0][own].min(vote.between[1][own]);
        total += weight;
    }
    sum > BETWEEN_MIN * total
}

/// The largest value within `reach` of each.
fn widest(values: &[f32], reach: usize) -> Vec<f32> {
    (0..values.len())
        .map(|k| {
            let around = &values[k.saturating_sub(reach)..(k + reach + 1).min(values.len())];
            around.iter().copied().fold(f32::NEG_INFINITY, f32::max)
        })
        .collect()
}

/// Tones of a comb, each with the number of its harmonic.
type Harmonics = Vec<(usize, Tone)>;

/// A window that was followed: periods of 5 mm at its middle, and the rulings' waves.
#[derive(Clone, Debug)]
struct Followed {
    periods: [f32; 2],
    waves: [[f32; 2]; 2],
    tones: [Harmonics; 2],
    sure: f32,
}

/// Windows on their way to becoming anchors.
struct Walk {
    places: Vec<(usize, usize)>,
    found: Vec<Option<Followed>>,
    trials: Trials,
}

/// From the seed outwards, the surest neighbour first; then each again, by all its neighbours.
fn follow(
    ruling: &Ruling,
    analyser: &Analyser,
    places: &[(usize, usize)],
    seed: &Seed,
) -> (Vec<Anchor>, Period) {
    let mut walk = Walk {
        places: places.to_vec(),
        found: vec![None; places.len()],
        trials: Trials::new(),
    };
    let at = |k: usize| analyser.spectrum(ruling, places[k].0, places[k].1);
    let Some(first) = (0..places.len()).min_by_key(|k| distance(places[*k], seed.place)) else {
        return (Vec::new(), Period(PERIOD_MM));
    };
    let spectrum = at(first);
    walk.found[first] = SEED_PERIODS
        .iter()
        .filter_map(|periods| walk.read(&spectrum, *periods, seed.waves))
        .max_by(|a, b| a.sure.total_cmp(&b.sure));
    let mut tried = vec![0u8; places.len()];
    let mut queue: BinaryHeap<(u32, usize)> = BinaryHeap::from([(0, first)]);
    while let Some((_, k)) = queue.pop() {
        if walk.found[k].is_none() {
            continue;
        }
        for next in walk.neighbours(k) {
            if walk.found[next].is_some() || tried[next] >= 3 {
                continue;
            }
            tried[next] += 1;
            let Some((periods, waves)) = walk.predict(next) else {
                continue;
            };
            if let Some(read) = walk.read(&at(next), periods, waves) {
                queue.push(((read.sure * 1000.0) as u32, next));
                walk.found[next] = Some(read);
            }
        }
    }
    for _ in 0..RELAXATIONS {
        walk.relax();
    }
    (walk.anchors(), walk.period())
}

fn distance(a: (usize, usize), b: (usize, usize)) -> usize {
    a.0.abs_diff(b.0).max(a.1.abs_diff(b.1))
}

impl Walk {
    fn neighbours(&self, k: usize) -> Vec<usize> {
        let near = |n: &usize| *n != k && distance(self.places[*n], self.places[k]) <= HOP + 1;
        (0..self.places.len()).filter(near).collect()
    }

    /// Reads a window near what is predicted of it.
    fn read(
        &self,
        spectrum: &Spectrum,
        periods: [f32; 2],
        waves: [[f32; 2]; 2],
    ) -> Option<Followed> {
        if spectrum.on_page < 0.5 {
            return None;
        }
        let mut out = Followed {
            periods,
            waves,
            tones: [Vec::new(), Vec::new()],
            sure: f32::INFINITY,
        };
        for axis in 0..2 {
            let (wave, tones) = tones(spectrum, waves[axis])?;
            let (periods, agreement) = self.trials.phase(&tones, periods[axis])?;
            out.waves[axis] = wave;
            out.periods[axis] = periods;
            out.tones[axis] = tones;
            out.sure = out.sure.min(agreement);
        }
        Some(out)
    }

    /// Periods and waves at a window, as its neighbours see it.
    fn predict(&self, k: usize) -> Option<([f32; 2], [[f32; 2]; 2])> {
        let near: Vec<(&Followed, [f32; 2])> = self
            .neighbours(k)
            .into_iter()
            .filter_map(|n| {
                let (to, from) = (self.places[k], self.places[n]);
                let step = [to.0 as f32 - from.0 as f32, to.1 as f32 - from.1 as f32];
                Some((self.found[n].as_ref()?, step))
            })
            .collect();
        let count = near.len() as f32;
        if near.is_empty() {
            return None;
        }
        let mut waves = [[0.0; 2]; 2];
        for (axis, k) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            waves[axis][k] = near.iter().map(|(f, _)| f.waves[axis][k]).sum::<f32>() / count;
        }
        let periods = std::array::from_fn(|axis| {
            let mut seen: Vec<f32> = near
                .iter()
                .map(|(f, step)| {
                    // Between two middles the wave is the mean of both ends'.
                    let wave: [f32; 2] =
                        std::array::from_fn(|k| 0.5 * (f.waves[axis][k] + waves[axis][k]));
                    f.periods[axis] + wave[0] * step[0] + wave[1] * step[1]
                })
                .collect();
            let middle = seen.len() / 2;
            *seen.select_nth_unstable_by(middle, f32::total_cmp).1
        });
        Some((periods, waves))
    }

    /// Counts each window's lines again by what its neighbours say.
    fn relax(&mut self) {
        let better: Vec<Option<[f32; 2]>> = (0..self.places.len())
            .map(|k| {
                let (found, (periods, _)) = (self.found[k].as_ref()?, self.predict(k)?);
                let axis = |a: usize| {
                    self.trials
                        .phase(&found.tones[a], periods[a])
                        .map(|(p, _)| p)
                };
                Some([axis(0)?, axis(1)?])
            })
            .collect();
        for (found, better) in self.found.iter_mut().zip(better) {
            if let (Some(found), Some(better)) = (found, better) {
                found.periods = better;
            }
        }
    }

    /// 1 mm where most of the tones are that of 1 mm and its second.
    fn period(&self) -> Period {
        let (mut fine, mut all) = (0.0, 0.0);
        for (k, tone) in self
            .found
            .iter()
            .flatten()
            .flat_map(|f| f.tones.iter().flatten())
        {
            all += tone.amplitude;
            fine += if k.is_multiple_of(5) {
                tone.amplitude
            } else {
                0.0
            };
        }
        Period(if fine > FINE_SHARE * all {
            PERIOD_MM / 5.0
        } else {
            PERIOD_MM
        })
    }

    fn anchors(&self) -> Vec<Anchor> {
        let middle = (SIDE as f64 - 1.0) / 2.0;
        let anchor = |(place, found): (&(usize, usize), &Option<Followed>)| {
            let paper = found.as_ref()?.periods.map(|p| f64::from(p * PERIOD_MM));
            let px = [place.0 as f64 + middle, place.1 as f64 + middle];
            Some(Anchor {
                paper,
                px,
                residual: [0.0; 2],
            })
        };
        self.places
            .iter()
            .zip(&self.found)
            .filter_map(anchor)
            .collect()
    }
}

/// The tones of a comb near `wave`, and the wave that they agree on.
fn tones(spectrum: &Spectrum, wave: [f32; 2]) -> Option<([f32; 2], Harmonics)> {
    let size = math::hypot(wave[0], wave[1]);
    let mut found: Harmonics = Vec::new();
    let mut wave = wave;
    for pass in 0..2 {
        found.clear();
        for k in HARMONICS {
            let at = wave.map(|f| f * k as f32);
            if size * k as f32 > FREQUENCY_MAX {
                break;
            }
            // Neighbours differ by a few percent at most; the second pass looks closely.
            let off = if pass == 0 { 0.04 } else { 0.01 };
            let reach = ((off * size * k as f32 * SIDE as f32) as i64 + 1).min(4);
            let near_next = (size * SIDE as f32 * 0.45) as i64;
            let tone = spectrum.tone(at, reach.min(near_next.max(1)));
            let moved = [tone.frequency[0] - at[0], tone.frequency[1] - at[1]];
            let far = math::hypot(moved[0], moved[1])
                > (off + 0.02) * size * k as f32 + 1.2 / SIDE as f32;
            if tone.above_noise > TONE_MIN && !far {
                found.push((k, tone));
            }
        }
        let (mut sum, mut weight) = ([0.0; 2], 0.0);
        for (k, tone) in &found {
            let w = (*k * *k) as f32 * tone.above_noise;
            sum[0] += w * tone.frequency[0] / *k as f32;
            sum[1] += w * tone.frequency[1] / *k as f32;
            weight += w;
        }
        if weight == 0.0 {
            return None;
        }
        wave = sum.map(|s| s / weight);
    }
    let fine = found.iter().any(|(k, _)| *k >= 5);
    (found.len() >= 2 || fine).then_some((wave, found))
}

/// What windows' tones are tried at, periods off.
struct Trials {
    coarse: Turns,
    fine: Turns,
}

impl Trials {
    fn new() -> Self {
        Self {
            coarse: Turns::new((-100..=100).map(|k| k as f32 / 200.0)),
            fine: Turns::new((-10..=10).map(|k| k as f32 / 2000.0)),
        }
    }

    /// Periods nearest to the predicted ones at which the tones agree, and how well they do.
    fn phase(&self, tones: &[(usize, Tone)], predicted: f32) -> Option<(f32, f32)> {
        let waves = agreement(tones, predicted);
        let score = |k: usize| {
            let off = self.coarse.places[k];
            self.coarse.sum(k, &waves) - 6.0 * off * off
        };
        let coarse = best(0..self.coarse.places.len(), score)?;
        let (off, waves) = (
            self.coarse.places[coarse],
            self.coarse.turned(coarse, &waves),
        );
        let fine = best(0..self.fine.places.len(), |k| self.fine.sum(k, &waves))?;
        let sure = self.fine.sum(fine, &waves);
        let periods = predicted + off + self.fine.places[fine];
        (sure > AGREEMENT_MIN && off.abs() < 0.42).then_some((periods, sure))
    }
}

/// How well tones agree beside `periods`, 1 at best, as a sum of harmonics.
fn agreement(tones: &[(usize, Tone)], periods: f32) -> Waves {
    let weight = |tone: &Tone| tone.amplitude.sqrt();
    let total: f32 = tones.iter().map(|(_, tone)| weight(tone)).sum();
    let mut waves = Waves::default();
    for (k, tone) in tones {
        let (sin, cos) = math::sin_cos(std::f32::consts::TAU * *k as f32 * periods - tone.phase);
        let share = weight(tone) / total;
        waves[*k - 1] = [share * cos, -share * sin];
    }
    waves
}
