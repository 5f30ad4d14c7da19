//! How long the answer to a record is waited for.
//!
//! In: the setting `answer_ms`, 1 to `LINK_ANSWER_MS_MAX`; a record. Out: the bound of the whole
//! exchange once a connection is there: the record's bytes at `LINK_BYTES_PER_SECOND_MIN`, then the
//! answer. It is one bound from the first byte to the last, so that another end that sends a byte
//! now and then gains nothing by it.

use std::time::Duration;

use serde::Deserialize;

use super::sender::Outgoing;
use crate::limits;

/// The patience of one destination.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u64")]
pub struct AnswerTime {
    answer_ms: u64,
}

impl Default for AnswerTime {
    fn default() -> Self {
        let answer_ms = limits::LINK_ANSWER_MS;
        Self { answer_ms }
    }
}

impl TryFrom<u64> for AnswerTime {
    type Error = String;

    fn try_from(answer_ms: u64) -> Result<Self, String> {
        match answer_ms {
            1..=limits::LINK_ANSWER_MS_MAX => Ok(Self { answer_ms }),
            _ => {
                let max = limits::LINK_ANSWER_MS_MAX;
                Err(format!("answer_ms: {answer_ms}; 1 to {max} can be had"))
            }
        }
    }
}

impl AnswerTime {
    /// For an answer to something short.
    pub fn alone(self) -> Duration {
        Duration::from_millis(self.answer_ms)
    }

    /// For a record to get there and be answered.
    pub fn of(self, record: &Outgoing) -> Duration {
        let bytes = u64::from(record.offer().bytes);
        self.alone() + Duration::from_millis(1_000 * bytes / limits::LINK_BYTES_PER_SECOND_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::RecordId;
    use super::*;

    #[test]
    fn a_long_record_is_given_the_time_of_its_bytes() {
        let time = AnswerTime::try_from(500).unwrap();
        let of = |bytes: usize| {
            let record = Outgoing::new(RecordId([1; 16]), vec![0; bytes].into()).unwrap();
            time.of(&record).as_millis()
        };
        assert_eq!([0, 4_000, 20_000].map(of), [500, 1_500, 5_500]);
    }

    #[test]
    fn patience_has_an_end() {
        assert!(AnswerTime::try_from(0).is_err());
        assert!(AnswerTime::try_from(limits::LINK_ANSWER_MS_MAX + 1).is_err());
    }
}
