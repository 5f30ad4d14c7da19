//! The line's height per column, as the net believes it.
//!
//! In: a `RawMap` of 8 channels at half resolution: logits of background, this trace, other traces
//! and other ink, then four sub-pixels of the column map. Out: log probabilities at full
//! resolution, one column after another, in steps of 1/20 (a byte each: a whole rhythm strip is
//! kept while its tiles come in). The "absent" bin has logit 0.

use super::clean::Mask;
use crate::math;
use crate::nets::RawMap;

/// Channels of the net: four mask classes, then two rows of two sub-pixels.
const CHANNELS: usize = 8;
const MASK_CLASSES: usize = 4;
const THIS_TRACE: usize = 1;
/// Steps a unit of log probability.
const STEPS: f32 = 20.0;

/// Log probabilities of the line's height.
///
/// Invariant: `columns.len() == width * height`, column-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    width: usize,
    height: usize,
    columns: Vec<u8>,
}

/// Why a map is not the trace net's.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the trace net gave {found} channels, {needed} are needed")]
pub struct ReadError {
    pub found: usize,
    pub needed: usize,
}

impl Posterior {
    /// Reads columns `from..to` (full resolution) of a tile's map.
    pub fn read(map: &RawMap, from: usize, to: usize) -> Result<(Self, Mask), ReadError> {
        if map.channels != CHANNELS {
            return Err(ReadError {
                found: map.channels,
                needed: CHANNELS,
            });
        }
        assert!(
            from < to && to <= 2 * map.width,
            "columns {from} to {to} of {}",
            2 * map.width
        );
        assert!(
            from.is_multiple_of(2) && to.is_multiple_of(2),
            "tiles meet between half-resolution columns"
        );
        let height = 2 * map.height;
        let mut columns = vec![0u8; (to - from) * height];
        let mut logits = vec![0f32; height];
        for (x, column) in (from..to).zip(columns.chunks_exact_mut(height)) {
            for (y, logit) in logits.iter_mut().enumerate() {
                let channel = MASK_CLASSES + 2 * (y % 2) + x % 2;
                *logit = map.data[(channel * map.height + y / 2) * map.width + x / 2];
            }
            let total = log_sum(&logits);
            for (byte, logit) in column.iter_mut().zip(&logits) {
                *byte = ((total - logit) * STEPS + 0.5).clamp(0.0, 255.0) as u8;
            }
        }
        let mask = Mask::read(
            this_trace(map, from / 2, to / 2),
            (to - from) / 2,
            map.height,
        );
        Ok((
            Self {
                width: to - from,
                height,
                columns,
            },
            mask,
        ))
    }

    /// `other` follows to the right.
    pub fn append(&mut self, other: &Self) {
        assert_eq!(
            self.height, other.height,
            "tiles of one strip are equally tall"
        );
        self.columns.extend_from_slice(&other.columns);
        self.width += other.width;
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    /// Log probability of the line at row `y` of column `x`; -12.75 at least.
    pub fn log(&self, x: usize, y: usize) -> f32 {
        f32::from(self.columns[x * self.height + y]) / -STEPS
    }

    /// Standard deviation about row `center` of column `x`, what is absent left out.
    pub fn spread(&self, x: usize, center: f32) -> f32 {
        let column = &self.columns[x * self.height..(x + 1) * self.height];
        let (mut mass, mut squares) = (0.0, 0.0);
        for (y, byte) in column
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte < u8::MAX)
        {
            let share = math::exp_near(f32::from(*byte) / -STEPS);
            mass += share;
            squares += share * math::square(y as f32 - center);
        }
        (squares / mass.max(f32::MIN_POSITIVE)).sqrt()
    }

    /// Makes the line at full-resolution row `y` of column `x` less likely, by `penalty` nats.
    pub fn lower(&mut self, x: usize, y: usize, penalty: f32) {
        let byte = &mut self.columns[x * self.height + y];
        *byte = byte.saturating_add((penalty * STEPS) as u8);
    }
}

/// Logarithm of the sum of the exponentials, the absent bin's logit of 0 included.
fn log_sum(logits: &[f32]) -> f32 {
    let top = logits.iter().copied().fold(0.0, f32::max);
    let sum: f32 = logits.iter().map(|logit| math::exp_near(logit - top)).sum();
    top + math::ln(sum + math::exp(-top))
}

/// Whether "this trace" is the likeliest class, half resolution, row-major.
fn this_trace(map: &RawMap, from: usize, to: usize) -> Vec<bool> {
    let plane = map.width * map.height;
    let mut out = Vec::with_capacity((to - from) * map.height);
    for y in 0..map.height {
        for x in from..to {
            let at = y * map.width + x;
            let logit = |class: usize| map.data[class * plane + at];
            let others = (0..MASK_CLASSES).filter(|class| *class != THIS_TRACE);
            out.push(others.map(logit).all(|other| other < logit(THIS_TRACE)));
        }
    }
    out
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A map whose column logits are -10 but at `line` (full-resolution rows, one a column).
    pub fn map_of(line: &[Option<usize>], height: usize) -> RawMap {
        let (width, rows) = (line.len() / 2, height / 2);
        let mut data = vec![-10.0; CHANNELS * width * rows];
        for (x, y) in line.iter().enumerate() {
            let Some(y) = y else { continue };
            let at = (y / 2) * width + x / 2;
            data[(MASK_CLASSES + 2 * (y % 2) + x % 2) * width * rows + at] = 10.0;
            data[THIS_TRACE * width * rows + at] = 5.0;
        }
        RawMap {
            channels: CHANNELS,
            height: rows,
            width,
            data,
        }
    }

    #[test]
    fn sub_pixels_come_out_where_the_net_put_them() {
        let line = [Some(5), Some(6), None, Some(9)];
        let (posterior, _) = Posterior::read(&map_of(&line, 32), 0, 4).unwrap();
        for (x, y) in line.iter().enumerate() {
            let likely: Vec<usize> = (0..32)
                .filter(|row| posterior.log(x, *row) > -1.0)
                .collect();
            assert_eq!(likely, y.iter().copied().collect::<Vec<_>>(), "column {x}");
        }
    }

    #[test]
    fn a_map_of_another_net_is_refused() {
        let map = RawMap {
            channels: 4,
            height: 16,
            width: 16,
            data: vec![0.0; 4 * 256],
        };
        assert_eq!(
            Posterior::read(&map, 0, 4),
            Err(ReadError {
                found: 4,
                needed: 8
            })
        );
    }
}
