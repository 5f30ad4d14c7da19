//! How long to wait before the next try: twice as long each time, up to a limit.
//!
//! In: tries that failed, one after another; a random number where many devices may fail together.
//! Out: milliseconds. Pure: nobody waits in here. A line is tried again after 250 ms to 8 s; a
//! delivery to a destination after 1 s to 5 min, and then anywhere between nothing and that time
//! ("full jitter", Brooker, Exponential Backoff And Jitter, 2015), so that devices that lost one
//! receiver do not come back all at once. Success begins anew.

/// The waits of one line or one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first_ms: u64,
    max_ms: u64,
    next_ms: u64,
}

impl Backoff {
    /// Between tries of a line, and between questions on it.
    pub const fn lines() -> Self {
        Self::from(250, 8_000)
    }

    /// Between deliveries to one destination.
    pub const fn deliveries() -> Self {
        Self::from(1_000, 300_000)
    }

    const fn from(first_ms: u64, max_ms: u64) -> Self {
        Self {
            first_ms,
            max_ms,
            next_ms: first_ms,
        }
    }

    /// With a longer first wait, for a line whose answers take so long.
    #[must_use]
    pub fn beginning_at(self, first_ms: u64) -> Self {
        Self::from(first_ms.clamp(self.first_ms, self.max_ms), self.max_ms)
    }

    /// The wait that is due now; the one after it is twice as long.
    pub fn next_ms(&mut self) -> u64 {
        let due_ms = self.next_ms;
        self.next_ms = (2 * due_ms).min(self.max_ms);
        due_ms
    }

    /// Between 0 and the wait that is due now, evenly, as `random` has it.
    pub fn next_jittered_ms(&mut self, random: u64) -> u64 {
        random % (self.next_ms() + 1)
    }

    /// It went well: the next wait is the first again.
    pub fn reset(&mut self) {
        self.next_ms = self.first_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mut backoff: Backoff, expected_ms: &[u64]) {
        let found: Vec<u64> = expected_ms.iter().map(|_| backoff.next_ms()).collect();
        assert_eq!(found, expected_ms);
        backoff.reset();
        assert_eq!(backoff.next_ms(), expected_ms[0]);
    }

    #[test]
    fn waits_double_up_to_their_limit_and_begin_anew() {
        check(
            Backoff::lines(),
            &[250, 500, 1_000, 2_000, 4_000, 8_000, 8_000],
        );
        check(Backoff::lines().beginning_at(3_000), &[3_000, 6_000, 8_000]);
        check(Backoff::lines().beginning_at(1), &[250, 500]);
        let deliveries = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map(|s| 1_000 * s);
        check(Backoff::deliveries(), &deliveries);
    }

    #[test]
    fn jitter_is_anywhere_up_to_the_wait() {
        let jittered = |random| Backoff::deliveries().next_jittered_ms(random);
        assert_eq!([0, 1_000, 1_001].map(jittered), [0, 1_000, 0]);
        let mut backoff = Backoff::deliveries();
        for limit_ms in [1_000, 2_000, 4_000] {
            assert!(backoff.next_jittered_ms(0xdead_beef_cafe) <= limit_ms);
        }
    }
}
