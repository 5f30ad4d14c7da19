//! The twelve leads of a record on one time axis.
//!
//! In: a `Record`. Out: rows at the record's rate from the left edge of the recording to its end,
//! twelve columns in the order of `Lead::TWELVE`. Millivolt; what is missing is `None`. Each lead
//! is its rhythm strip where the page has one, else its panel; a page that shows -aVR and no aVR
//! gives aVR as its negative. A trace begins at the row nearest to its start.

use super::DeliverError;
use crate::labels::Lead;
use crate::limits;
use crate::record::{Record, TraceRecord};

/// One of the twelve columns.
#[derive(Clone, Copy)]
struct Column<'a> {
    trace: &'a TraceRecord,
    first_row: i64,
    sign: f32,
}

/// The twelve leads of a record, row by row.
pub struct Twelve<'a> {
    columns: [Option<Column<'a>>; 12],
    row_count: usize,
    rate_hz: f64,
}

impl<'a> Twelve<'a> {
    pub fn of(record: &'a Record) -> Self {
        let rate_hz = f64::from(record.sample_rate.0);
        let column = |lead: Lead, sign: f32| {
            record.lead(lead).map(|trace| {
                let first_row = (f64::from(trace.start.0) * rate_hz).round() as i64;
                Column {
                    trace,
                    first_row,
                    sign,
                }
            })
        };
        let columns = Lead::TWELVE.map(|lead| {
            let turned = || {
                (lead == Lead::Avr)
                    .then(|| column(Lead::MinusAvr, -1.0))
                    .flatten()
            };
            column(lead, 1.0).or_else(turned)
        });
        Self {
            columns,
            row_count: row_count(record),
            rate_hz,
        }
    }

    pub fn row_count(&self) -> usize {
        self.row_count
    }

    pub fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    /// Whether the page has that lead, be it without a single sample.
    pub fn has(&self, column_index: usize) -> bool {
        self.columns[column_index].is_some()
    }

    /// Millivolt of one lead in one row.
    pub fn sample(&self, column_index: usize, row: usize) -> Option<f32> {
        let column = self.columns[column_index]?;
        let at = usize::try_from(row as i64 - column.first_row).ok()?;
        let value = (*column.trace.samples.get(at)?)?.0;
        value.is_finite().then_some(column.sign * value)
    }

    /// All rows of one lead.
    pub fn column(&self, column_index: usize) -> impl Iterator<Item = Option<f32>> + '_ {
        (0..self.row_count).map(move |row| self.sample(column_index, row))
    }
}

fn row_count(record: &Record) -> usize {
    let rows = f64::from(record.duration.0) * f64::from(record.sample_rate.0);
    // Saturates: a duration that is not finite or negative has no rows or too many.
    rows.round() as usize
}

/// Refuses a record of more rows than are ever written.
pub fn check_length(record: &Record) -> Result<(), DeliverError> {
    let (found, max) = (row_count(record), limits::ROWS_MAX);
    if found > max {
        Err(DeliverError::TooLong { found, max })
    } else {
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::record::{Role, Status};
    use crate::units::{Hertz, Millivolt, MmPerMillivolt, Seconds};

    /// A trace of `samples` from `start_s`.
    pub fn trace(lead: Lead, role: Role, start_s: f32, samples: &[Option<f32>]) -> TraceRecord {
        TraceRecord {
            lead,
            role,
            start: Seconds(start_s),
            samples: samples.iter().map(|value| value.map(Millivolt)).collect(),
            deviations: None,
            corners_px: [[10.0, 20.0], [110.0, 20.0], [110.0, 60.0], [10.0, 60.0]],
            line_px: vec![[10.0, 40.0], [60.0, 30.0], [110.0, 40.0]],
            quality: 0.875,
            quality_db: None,
            clues: None,
            unread: None,
            leaps: None,
            spikes: Vec::new(),
            coverage: 1.0,
            gain: MmPerMillivolt(10.0),
        }
    }

    /// A record of `traces` without findings, of the given rate and duration.
    pub fn record(rate_hz: f32, duration_s: f32, traces: Vec<TraceRecord>) -> Record {
        Record {
            status: Status::Ok,
            findings: Vec::new(),
            width_px: 400,
            height_px: 300,
            layout: Some("3x4+1R".to_owned()),
            calibration: None,
            sample_rate: Hertz(rate_hz),
            duration: Seconds(duration_s),
            traces,
            labels: Vec::new(),
            line_width: None,
            quality_db: None,
            origin: None,
        }
    }

    #[track_caller]
    fn check(traces: Vec<TraceRecord>, lead: Lead, expected: &[Option<f32>]) {
        let record = record(100.0, 0.05, traces);
        let twelve = Twelve::of(&record);
        let index = Lead::TWELVE.iter().position(|&l| l == lead).unwrap();
        assert_eq!(twelve.column(index).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_panel_lies_at_its_start() {
        let panel = trace(
            Lead::V2,
            Role::Panel,
            0.02,
            &[Some(1.0), None, Some(-0.5), Some(9.0)],
        );
        check(
            vec![panel],
            Lead::V2,
            &[None, None, Some(1.0), None, Some(-0.5)],
        );
    }

    #[test]
    fn a_rhythm_strip_stands_before_its_panel() {
        let panel = trace(Lead::II, Role::Panel, 0.0, &[Some(1.0); 5]);
        let rhythm = trace(Lead::II, Role::Rhythm, 0.0, &[Some(2.0); 5]);
        check(vec![panel, rhythm], Lead::II, &[Some(2.0); 5]);
    }

    #[test]
    fn minus_avr_is_turned_over() {
        let minus = trace(Lead::MinusAvr, Role::Panel, 0.0, &[Some(1.0), Some(-2.0)]);
        check(
            vec![minus.clone()],
            Lead::Avr,
            &[Some(-1.0), Some(2.0), None, None, None],
        );
        let plus = trace(Lead::Avr, Role::Panel, 0.0, &[Some(0.25)]);
        check(
            vec![minus, plus],
            Lead::Avr,
            &[Some(0.25), None, None, None, None],
        );
    }

    #[test]
    fn what_is_no_number_or_before_the_edge_is_missing() {
        let early = trace(
            Lead::I,
            Role::Panel,
            -0.01,
            &[Some(1.0), Some(f32::NAN), Some(3.0)],
        );
        check(vec![early], Lead::I, &[None, Some(3.0), None, None, None]);
    }

    #[test]
    fn a_record_too_long_is_refused() {
        let error = check_length(&record(1000.0, 1e6, Vec::new())).unwrap_err();
        assert!(
            matches!(
                error,
                DeliverError::TooLong {
                    max: limits::ROWS_MAX,
                    ..
                }
            ),
            "{error}"
        );
    }
}
