//! Which part has not moved for too long.
//!
//! In: what parts do and when. Out: the names of those that are stuck. A part that does nothing is
//! never stuck. Pure: told the time, in milliseconds of a clock that never goes back.

use crate::limits;

/// What moves while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Capture,
    Digitize,
    Destination(usize),
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    part: Part,
    moved_at_ms: u64,
    /// What it counts, as of then; who cannot count stays at zero.
    count: u64,
    still_ms_max: u64,
}

/// Parts that work now.
#[derive(Clone, Debug, Default)]
pub struct Beats {
    watched: Vec<Watched>,
}

impl Beats {
    pub fn begin(&mut self, part: Part, still_ms_max: u64, now_ms: u64) {
        self.end(part);
        self.watched.push(Watched {
            part,
            moved_at_ms: now_ms,
            count: 0,
            still_ms_max,
        });
    }

    pub fn end(&mut self, part: Part) {
        self.watched.retain(|watched| watched.part != part);
    }

    /// The part has counted so far.
    pub fn counted(&mut self, part: Part, count: u64, now_ms: u64) {
        for watched in self
            .watched
            .iter_mut()
            .filter(|watched| watched.part == part)
        {
            if watched.count != count {
                watched.count = count;
                watched.moved_at_ms = now_ms;
            }
        }
    }

    /// Parts that stand still.
    pub fn stuck(&self, now_ms: u64) -> Vec<Part> {
        let is_stuck = |watched: &&Watched| now_ms - watched.moved_at_ms > watched.still_ms_max;
        let stuck = self.watched.iter().filter(is_stuck);
        stuck.map(|watched| watched.part).collect()
    }
}

/// How long one delivery of so many bytes may take, whatever the line.
pub fn delivery_ms_max(bytes: usize) -> u64 {
    const BYTES_A_SECOND: u64 = 960;
    limits::DELIVERY_STILL_MS_MAX + 3 * 1_000 * bytes as u64 / BYTES_A_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_works_can_be_stuck() {
        let mut beats = Beats::default();
        assert_eq!(beats.stuck(1_000_000), []);
        beats.begin(Part::Digitize, 100, 0);
        beats.begin(Part::Destination(1), 1_000, 0);
        assert_eq!(beats.stuck(100), []);
        assert_eq!(beats.stuck(101), [Part::Digitize]);
        beats.counted(Part::Digitize, 1, 101);
        assert_eq!(beats.stuck(201), []);
        beats.counted(Part::Digitize, 1, 201);
        assert_eq!(beats.stuck(202), [Part::Digitize], "counting means moving");
        beats.end(Part::Digitize);
        assert_eq!(beats.stuck(1_000), []);
        assert_eq!(beats.stuck(1_001), [Part::Destination(1)]);
    }
}
