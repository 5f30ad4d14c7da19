//! A smooth surface through scattered shifts.
//!
//! In: shifts at places counted in nodes of a lattice. Out: the shifts at its nodes, bilinear between
//! them: least squares with the lattice's bending energy as the price of a bend (a thin plate on a
//! lattice, Terzopoulos, IEEE PAMI 10(4), 1988), solved by conjugate gradients. Unlike a mean of what
//! is near it is not too flat on a wave or at a fold. Beyond what was seen it goes on as it slopes.
//! Finite for finite input; never fails.

/// A shift that was seen, and where, in nodes.
pub struct Seen {
    pub place: [f64; 2],
    pub value: [f64; 2],
}

/// Steps of the solution at most, and the share of the equations' size at which it is good.
const STEPS_MAX: usize = 400;
const REST_SHARE: f64 = 1e-5;
/// Holds still what neither a shift nor a bend decides.
const CALM: f64 = 1e-6;

/// A sum of nodes.
type Sum<const N: usize> = [(usize, f64); N];

/// The surface at the nodes, row by row. `stiffness` is a bend's price beside a shift's.
pub fn fit(seen: &[Seen], [columns, rows]: [usize; 2], stiffness: f64) -> Vec<[f32; 2]> {
    assert!(
        columns >= 2 && rows >= 2,
        "a lattice has at least 2 x 2 nodes"
    );
    let corners: Vec<Sum<4>> = seen
        .iter()
        .map(|seen| corners(seen.place, columns, rows))
        .collect();
    let apply = |x: &[f64]| {
        let mut out: Vec<f64> = x.iter().map(|value| CALM * value).collect();
        for nodes in &corners {
            add(&mut out, x, nodes, 1.0);
        }
        bend(&mut out, x, columns, stiffness);
        out
    };
    let solved = [0, 1].map(|axis| {
        let mut right = vec![0.0; columns * rows];
        for (seen, nodes) in seen.iter().zip(&corners) {
            for (node, share) in nodes {
                right[*node] += seen.value[axis] * share;
            }
        }
        conjugate(apply, &right)
    });
    let nodes = solved[0].iter().zip(&solved[1]);
    nodes.map(|(x, y)| [*x as f32, *y as f32]).collect()
}

/// The four nodes around a place, and what each counts there.
fn corners(place: [f64; 2], columns: usize, rows: usize) -> Sum<4> {
    let cell = |at: f64, count: usize| {
        let at = at.clamp(0.0, (count - 1) as f64);
        let low = (at as usize).min(count - 2);
        (low, at - low as f64)
    };
    let ((column, u), (row, v)) = (cell(place[0], columns), cell(place[1], rows));
    let node = row * columns + column;
    [
        (node, (1.0 - u) * (1.0 - v)),
        (node + 1, u * (1.0 - v)),
        (node + columns, (1.0 - u) * v),
        (node + columns + 1, u * v),
    ]
}

/// What `price` times half the square of a sum of nodes draws at each of them.
fn add<const N: usize>(out: &mut [f64], x: &[f64], nodes: &Sum<N>, price: f64) {
    let value: f64 = nodes.iter().map(|(node, share)| x[*node] * share).sum();
    for (node, share) in nodes {
        out[*node] += price * value * share;
    }
}

/// The same of the lattice's second differences.
fn bend(out: &mut [f64], x: &[f64], columns: usize, stiffness: f64) {
    let rows = x.len() / columns;
    for row in 0..rows {
        for column in 0..columns {
            let node = row * columns + column;
            let below = node + columns;
            if column + 2 < columns {
                let along = [(node, 1.0), (node + 1, -2.0), (node + 2, 1.0)];
                add(out, x, &along, stiffness);
            }
            if row + 2 < rows {
                let down = [(node, 1.0), (below, -2.0), (below + columns, 1.0)];
                add(out, x, &down, stiffness);
            }
            if column + 1 < columns && row + 1 < rows {
                let twist = [
                    (node, 1.0),
                    (node + 1, -1.0),
                    (below, -1.0),
                    (below + 1, 1.0),
                ];
                add(out, x, &twist, 2.0 * stiffness);
            }
        }
    }
}

/// Solves `apply(x) = right`, `apply` symmetric and positive (Hestenes and Stiefel, 1952).
fn conjugate(apply: impl Fn(&[f64]) -> Vec<f64>, right: &[f64]) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut x = vec![0.0; right.len()];
    let mut rest = right.to_vec();
    let mut way = rest.clone();
    let mut size = dot(&rest, &rest);
    let enough = REST_SHARE * REST_SHARE * size;
    for _ in 0..STEPS_MAX {
        if size <= enough {
            break;
        }
        let drawn = apply(&way);
        let step = size / dot(&way, &drawn);
        for k in 0..x.len() {
            x[k] += step * way[k];
            rest[k] -= step * drawn[k];
        }
        let next = dot(&rest, &rest);
        for k in 0..x.len() {
            way[k] = rest[k] + way[k] * next / size;
        }
        size = next;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [usize; 2] = [12, 9];

    /// How far the surface through the values of `truth` at scattered places is off it, at most,
    /// over the nodes.
    fn check(stiffness: f64, off_max: f64, truth: impl Fn(f64, f64) -> f64) {
        let seen: Vec<Seen> = (0..200)
            .map(|k| {
                // Scattered, but not by chance.
                let place = [
                    (k as f64 * 0.618).fract() * 11.0,
                    (k as f64 * 0.755).fract() * 8.0,
                ];
                let value = truth(place[0], place[1]);
                Seen {
                    place,
                    value: [value, -value],
                }
            })
            .collect();
        for (node, shift) in fit(&seen, SIZE, stiffness).into_iter().enumerate() {
            let (x, y) = ((node % SIZE[0]) as f64, (node / SIZE[0]) as f64);
            let off = f64::from(shift[0]) - truth(x, y);
            assert!(off.abs() < off_max, "({x}, {y}) is {off} off");
            assert!((shift[0] + shift[1]).abs() < 1e-4, "both axes are alike");
        }
    }

    #[test]
    fn a_plane_is_met_however_stiff_the_surface() {
        check(0.05, 1e-3, |x, y| 0.3 * x - 0.2 * y + 1.0);
        check(50.0, 1e-3, |x, y| 0.3 * x - 0.2 * y + 1.0);
    }

    #[test]
    fn a_soft_surface_follows_a_fold() {
        check(0.05, 0.06, |x, _| 0.3 * (x - 6.0).max(0.0));
    }

    #[test]
    fn beyond_what_was_seen_it_goes_on() {
        let seen: Vec<Seen> = (0..30)
            .map(|k| {
                let place = [f64::from(k % 6), f64::from(k / 6)];
                Seen {
                    place,
                    value: [0.5 * place[0], 0.0],
                }
            })
            .collect();
        let found = fit(&seen, SIZE, 0.05);
        // Seven nodes beyond the last place, a little of the slope is lost.
        let [off, _] = found[SIZE[0] - 1];
        assert!((off - 5.5).abs() < 0.1, "{off}");
    }

    #[test]
    fn nothing_seen_is_nothing_shifted() {
        assert!(fit(&[], SIZE, 0.05).iter().all(|shift| *shift == [0.0; 2]));
    }
}
