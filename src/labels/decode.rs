//! From the labels net's raw maps to boxes.
//!
//! In: six maps `box8 cls8 box16 cls16 box32 cls32`: 4 x 16 logits of the distances from an
//! anchor's centre to the box's left, top, right and bottom side (in strides), and one logit a
//! class. Out: `Label`s on the page, strongest first. Distances are the mean of their
//! distribution (Li et al., Generalized Focal Loss, 2020).

use super::view::{Canvas, OnCanvas};
use super::{CLASS_COUNT, Label, LabelClass, Lead, READINGS};
use crate::limits::LABELS_MAX;
use crate::math;
use crate::nets::RawMap;
use crate::page::{Bounds, Point};

/// Bins of a side's distance.
const BINS: usize = 16;
const STRIDES_PX: [usize; 3] = [8, 16, 32];
/// Boxes that overlap more than this show the same thing.
const OVERLAP_MAX: f32 = 0.5;

#[derive(Clone, Copy, Debug)]
struct Candidate {
    class: LabelClass,
    score: f32,
    leads: [(Lead, f32); READINGS],
    bounds: Bounds<OnCanvas>,
}

/// Why the maps are not the labels net's.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    #[error("{found} maps where {needed} are needed")]
    Maps { found: usize, needed: usize },
    #[error("map {map} has {found} channels, {needed} are needed")]
    Channels {
        map: usize,
        found: usize,
        needed: usize,
    },
}

/// All boxes with a score of at least `score_min`, the weaker of two overlapping ones removed.
pub fn decode(
    maps: &[RawMap],
    view: &impl Canvas,
    score_min: f32,
) -> Result<Vec<Label>, DecodeError> {
    check(maps)?;
    let logit_min = math::ln(score_min / (1.0 - score_min));
    let mut candidates = Vec::new();
    for (pair, stride) in maps.chunks_exact(2).zip(STRIDES_PX) {
        collect(&pair[0], &pair[1], stride, logit_min, &mut candidates);
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: heapless::Vec<Candidate, LABELS_MAX> = heapless::Vec::new();
    for candidate in candidates {
        let covered = kept.iter().any(|other| {
            same_kind(candidate.class, other.class)
                && candidate.bounds.overlap(&other.bounds) > OVERLAP_MAX
        });
        if !covered && kept.push(candidate).is_err() {
            break;
        }
    }
    Ok(kept
        .iter()
        .map(|candidate| on_page(candidate, view))
        .collect())
}

fn check(maps: &[RawMap]) -> Result<(), DecodeError> {
    let needed = 2 * STRIDES_PX.len();
    if maps.len() != needed {
        return Err(DecodeError::Maps {
            found: maps.len(),
            needed,
        });
    }
    for (map, raw) in maps.iter().enumerate() {
        let needed = if map % 2 == 0 { 4 * BINS } else { CLASS_COUNT };
        if raw.channels != needed {
            return Err(DecodeError::Channels {
                map,
                found: raw.channels,
                needed,
            });
        }
    }
    Ok(())
}

/// Lead names exclude each other, and so do texts; a pulse may touch either.
fn same_kind(a: LabelClass, b: LabelClass) -> bool {
    let kind = |class| match class {
        LabelClass::Lead(_) => 0,
        LabelClass::Pulse => 1,
        LabelClass::Speed25 | LabelClass::Speed12_5 | LabelClass::Speed50 => 2,
        LabelClass::Gain10 | LabelClass::Gain5 | LabelClass::Gain20 => 3,
        LabelClass::HalfGainChest => 4,
    };
    kind(a) == kind(b)
}

fn collect(
    sides: &RawMap,
    classes: &RawMap,
    stride: usize,
    logit_min: f32,
    candidates: &mut Vec<Candidate>,
) {
    let plane = classes.width * classes.height;
    for at in 0..plane {
        let best = (0..CLASS_COUNT)
            .map(|class| (class, classes.data[class * plane + at]))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((class, logit)) = best.filter(|(_, logit)| *logit >= logit_min) else {
            continue;
        };
        let Some(class) = LabelClass::at(class) else {
            continue;
        };
        let distance = |side: usize| stride as f32 * mean_distance(sides, side, plane, at);
        let x = ((at % classes.width) as f32 + 0.5) * stride as f32 - 0.5;
        let y = ((at / classes.width) as f32 + 0.5) * stride as f32 - 0.5;
        let bounds = Bounds::new(
            x - distance(0),
            y - distance(1),
            x + distance(2),
            y + distance(3),
        );
        let leads = readings(classes, plane, at);
        candidates.push(Candidate {
            class,
            score: sigmoid(logit),
            leads,
            bounds,
        });
    }
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + math::exp(-logit))
}

/// The likeliest lead names at a place.
fn readings(classes: &RawMap, plane: usize, at: usize) -> [(Lead, f32); READINGS] {
    let score = |k: usize| sigmoid(classes.data[k * plane + at]);
    let mut leads: Vec<(Lead, f32)> = Lead::ALL
        .iter()
        .enumerate()
        .map(|(k, lead)| (*lead, score(k)))
        .collect();
    leads.sort_by(|a, b| b.1.total_cmp(&a.1));
    std::array::from_fn(|k| leads[k])
}

/// Mean of the softmax over a side's bins, in strides.
fn mean_distance(sides: &RawMap, side: usize, plane: usize, at: usize) -> f32 {
    let logit = |bin: usize| sides.data[(side * BINS + bin) * plane + at];
    let top = (0..BINS).map(logit).fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for bin in 0..BINS {
        let weight = math::exp(logit(bin) - top);
        sum += weight;
        weighted += weight * bin as f32;
    }
    weighted / sum
}

fn on_page(candidate: &Candidate, view: &impl Canvas) -> Label {
    let Bounds {
        left,
        top,
        right,
        bottom,
        ..
    } = candidate.bounds;
    let corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        .map(|(x, y)| view.to_page(Point::new(x, y)));
    Label {
        class: candidate.class,
        score: candidate.score,
        leads: candidate.leads,
        corners,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::view::View;
    use crate::page::{QuarterTurn, RawImage};

    fn empty(channels: usize, stride: usize) -> RawMap {
        let (width, height) = (1280 / stride, 960 / stride);
        RawMap {
            channels,
            width,
            height,
            data: vec![-8.0; channels * width * height],
        }
    }

    fn maps() -> Vec<RawMap> {
        STRIDES_PX
            .iter()
            .flat_map(|stride| [empty(4 * BINS, *stride), empty(CLASS_COUNT, *stride)])
            .collect()
    }

    fn put(maps: &mut [RawMap], at: (usize, usize), class: usize, bins: [usize; 4], logit: f32) {
        let (width, plane) = (maps[0].width, maps[0].width * maps[0].height);
        let index = at.1 * width + at.0;
        for (side, bin) in bins.iter().enumerate() {
            maps[0].data[(side * BINS + bin) * plane + index] = 20.0;
        }
        maps[1].data[class * plane + index] = logit;
    }

    fn view() -> View {
        let image = RawImage::new(1280, 960, vec![0; 3 * 1280 * 960]).unwrap();
        View::new(&image, QuarterTurn::None)
    }

    #[test]
    fn a_box_lies_around_its_anchor() {
        let mut maps = maps();
        put(&mut maps, (10, 20), 1, [1, 1, 2, 1], 3.0);
        let labels = decode(&maps, &view(), 0.25).unwrap();
        assert_eq!(labels.len(), 1);
        assert_eq!(labels[0].class, LabelClass::Lead(Lead::II));
        let bounds = labels[0].bounds();
        let expected = Bounds::new(75.5, 155.5, 99.5, 171.5);
        assert!(bounds.overlap(&expected) > 0.99, "{bounds:?}");
    }

    #[test]
    fn of_two_names_in_one_place_the_stronger_stays() {
        let mut maps = maps();
        put(&mut maps, (10, 20), 1, [1, 1, 2, 1], 1.0);
        put(&mut maps, (11, 20), 2, [2, 1, 1, 1], 3.0);
        let labels = decode(&maps, &view(), 0.25).unwrap();
        assert_eq!(labels.len(), 1);
        assert_eq!(labels[0].class, LabelClass::Lead(Lead::III));
    }

    #[test]
    fn maps_of_another_net_are_refused() {
        let mut maps = maps();
        maps[1].channels = 80;
        let error = decode(&maps, &view(), 0.25).unwrap_err();
        assert_eq!(
            error,
            DecodeError::Channels {
                map: 1,
                found: 80,
                needed: CLASS_COUNT
            }
        );
    }
}
