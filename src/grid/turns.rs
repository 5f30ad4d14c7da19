//! Sums of harmonics at a few places, from tables.
//!
//! In: places within a period, and the harmonics' cosine and sine parts. Out: the sum at a place. A
//! search that tries the same places for each window or cell needs their sines only once.

use crate::math;

/// Harmonics that a sum may have: the first to this one.
pub const HARMONICS: usize = 10;

/// Cosine and sine of each harmonic.
pub type Waves = [[f32; 2]; HARMONICS];

pub struct Turns {
    /// In the order of trying.
    pub places: Vec<f32>,
    waves: Vec<Waves>,
}

impl Turns {
    /// Tables for `places`, as parts of a period.
    pub fn new(places: impl Iterator<Item = f32>) -> Self {
        let places: Vec<f32> = places.collect();
        let waves = places.iter().map(|place| {
            std::array::from_fn(|k| {
                let (sin, cos) = math::sin_cos(std::f32::consts::TAU * (k + 1) as f32 * place);
                [cos, sin]
            })
        });
        Self {
            waves: waves.collect(),
            places,
        }
    }

    /// The harmonics' sum at the place of this index.
    pub fn sum(&self, index: usize, harmonics: &Waves) -> f32 {
        let waves = &self.waves[index];
        let both = waves.iter().zip(harmonics);
        both.map(|(wave, part)| wave[0] * part[0] + wave[1] * part[1])
            .sum()
    }

    /// The harmonics as they are seen from the place of this index.
    pub fn turned(&self, index: usize, harmonics: &Waves) -> Waves {
        let waves = &self.waves[index];
        std::array::from_fn(|k| {
            let ([cos, sin], [a, b]) = (waves[k], harmonics[k]);
            [a * cos + b * sin, b * cos - a * sin]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_harmonics() {
        let turns = Turns::new([-0.3, 0.0, 0.07].into_iter());
        let mut harmonics = Waves::default();
        harmonics[2] = [2.0, -1.0];
        for (index, place) in [-0.3f32, 0.0, 0.07].into_iter().enumerate() {
            let (sin, cos) = (3.0 * std::f32::consts::TAU * place).sin_cos();
            assert!((turns.sum(index, &harmonics) - (2.0 * cos - sin)).abs() < 1e-5);
            // From there, the first place lies where both of them add up to.
            let seen = turns.turned(index, &harmonics);
            let (sin, cos) = (3.0 * std::f32::consts::TAU * (place - 0.3)).sin_cos();
            assert!((turns.sum(0, &seen) - (2.0 * cos - sin)).abs() < 1e-5);
        }
    }
}
