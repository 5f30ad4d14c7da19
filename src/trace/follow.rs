//! The path of the line through the column posteriors.
//!
//! In: a `Posterior`. Out: `Line`. Dynamic programming: log posterior less a cost a pixel of
//! height between neighbouring columns, any jump allowed, in one pass a column (the lower envelope
//! of cones: Felzenszwalb & Huttenlocher, Distance Transforms of Sampled Functions, 2012).

use super::Posterior;
use crate::math;
use crate::page::{Bounds, InPanel};

/// Cost of a pixel (1/8 mm) up or down. Higher shaves QRS complexes: 0.15 costs a decibel.
const STEP_COST: f32 = 0.03;
/// Cost of a column within a lead's name, nats.
const NAME_COST: f32 = 2.5;
/// The centre is the posterior's mean this far from the path, plus half the path's slope.
const WINDOW_PX: f32 = 4.0;
/// Least share of the posterior near the path for the line to be there.
const PRESENT_MIN: f32 = 0.08;

/// The line's centre in each column, `InPanel` rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub points: Vec<Option<LinePoint>>,
}

/// The line in one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinePoint {
    /// Row of the centre, sub-pixel.
    pub y_px: f32,
    /// Share of the posterior near the path, 0 to 1.
    pub confidence: f32,
    /// Standard deviation of the posterior about the centre, over the whole column: another place
    /// that is as likely counts by how far it is.
    pub spread_px: f32,
}

/// Mean confidence of a stretch of line where it was found; 0 where it was not.
pub fn surety(points: &[Option<LinePoint>]) -> f32 {
    let found = points.iter().flatten();
    found.clone().map(|point| point.confidence).sum::<f32>() / found.count().max(1) as f32
}

/// Finds the line. In the boxes of `names` the net likes to take a stroke of a letter for the line:
/// there, the path needs more to go by.
pub fn follow(posterior: &Posterior, names: &[Bounds<InPanel>]) -> Line {
    let path = best_path(posterior, names);
    let points = (0..path.len())
        .map(|x| center(posterior, &path, x))
        .collect();
    Line { points }
}

fn best_path(posterior: &Posterior, names: &[Bounds<InPanel>]) -> Vec<usize> {
    let (width, height) = (posterior.width(), posterior.height());
    let mut back = vec![0u16; width * height];
    let mut score: Vec<f32> = (0..height).map(|y| posterior.log(0, y)).collect();
    lower(&mut score, 0, names);
    for x in 1..width {
        let from = &mut back[x * height..(x + 1) * height];
        spread(&mut score, from);
        for (y, value) in score.iter_mut().enumerate() {
            *value += posterior.log(x, y);
        }
        lower(&mut score, x, names);
    }
    let mut y = (0..height)
        .max_by(|a, b| score[*a].total_cmp(&score[*b]))
        .unwrap_or(0);
    let mut path = vec![0; width];
    for x in (0..width).rev() {
        path[x] = y;
        y = usize::from(back[x * height + y]);
    }
    path
}

/// Makes the line within a name less likely.
fn lower(score: &mut [f32], x: usize, names: &[Bounds<InPanel>]) {
    let at = x as f32;
    for name in names.iter().filter(|n| (n.left..=n.right).contains(&at)) {
        let height = score.len();
        let last = ((name.bottom.max(-1.0) + 1.0) as usize).min(height);
        let first = (name.top.max(0.0) as usize).min(last);
        for value in &mut score[first..last] {
            *value -= NAME_COST;
        }
    }
}

/// `score[y] = max over z of score[z] - STEP_COST * |y - z|`, and the z of each y.
fn spread(score: &mut [f32], from: &mut [u16]) {
    for (y, z) in from.iter_mut().enumerate() {
        *z = y as u16;
    }
    for y in 1..score.len() {
        if score[y - 1] - STEP_COST > score[y] {
            score[y] = score[y - 1] - STEP_COST;
            from[y] = from[y - 1];
        }
    }
    for y in (0..score.len() - 1).rev() {
        if score[y + 1] - STEP_COST > score[y] {
            score[y] = score[y + 1] - STEP_COST;
            from[y] = from[y + 1];
        }
    }
}

fn center(posterior: &Posterior, path: &[usize], x: usize) -> Option<LinePoint> {
    let at = path[x] as f32;
    let (before, after) = (
        path[x.saturating_sub(1)] as f32,
        path[(x + 1).min(path.len() - 1)] as f32,
    );
    let reach = WINDOW_PX + (after - before).abs() / 4.0;
    let first = (at - reach).max(0.0) as usize;
    let last = ((at + reach) as usize).min(posterior.height() - 1);
    let (mut mass, mut moment) = (0.0, 0.0);
    for y in first..=last {
        let share = math::exp(posterior.log(x, y));
        mass += share;
        moment += share * y as f32;
    }
    (mass >= PRESENT_MIN).then(|| LinePoint {
        y_px: moment / mass,
        confidence: mass.min(1.0),
        spread_px: posterior.spread(x, moment / mass),
    })
}

#[cfg(test)]
mod tests {
    use super::super::posterior::tests::map_of;
    use super::*;

    fn check(line: &[Option<usize>]) {
        let (posterior, _) = Posterior::read(&map_of(line, 96), 0, line.len()).unwrap();
        let found = follow(&posterior, &[]);
        for (x, (point, expected)) in found.points.iter().zip(line).enumerate() {
            match (point, expected) {
                (Some(point), Some(y)) => {
                    assert!(
                        (point.y_px - *y as f32).abs() < 0.5,
                        "column {x}: {}",
                        point.y_px
                    );
                }
                (None, None) => {}
                (found, expected) => panic!("column {x}: {found:?} where {expected:?} is"),
            }
        }
    }

    #[test]
    fn a_flat_line() {
        check(&[Some(40); 64]);
    }

    #[test]
    fn a_peak_of_one_column_keeps_its_height() {
        let mut line = [Some(60); 64];
        line[30] = Some(10);
        check(&line);
    }

    #[test]
    fn a_gap_stays_a_gap() {
        let mut line = [Some(60); 64];
        line[20..40].fill(None);
        check(&line);
    }

    #[test]
    fn a_letters_stroke_is_not_taken_for_the_line() {
        // The net believes rather in the stroke at row 60 than in the line at row 20.
        let line: Vec<Option<usize>> = (0..64)
            .map(|x| Some(if (20..30).contains(&x) { 60 } else { 20 }))
            .collect();
        let mut map = map_of(&line, 96);
        let (plane, row) = (map.width * map.height, 10 * map.width);
        for x in 20..30 {
            map.data[(4 + x % 2) * plane + row + x / 2] = 9.0;
        }
        let (posterior, _) = Posterior::read(&map, 0, 64).unwrap();
        let height = |names: &[Bounds<InPanel>]| {
            let point = follow(&posterior, names).points[25];
            point.map(|point| point.y_px.round())
        };
        assert_eq!(height(&[]), Some(60.0));
        assert_eq!(height(&[Bounds::new(18.0, 50.0, 40.0, 70.0)]), Some(20.0));
    }
}
