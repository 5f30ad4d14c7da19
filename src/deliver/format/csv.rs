//! `ID.csv`: time and twelve leads, one row a sample.
//!
//! Header `time_s,I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6`; seconds from the left edge of the
//! recording, millivolt with 4 decimals, an empty cell where nothing is known. Rows end in a line
//! feed. Time has as many decimals as its steps need, at least 3, at most 9.

use std::io::Write;

use crate::deliver::{Delivery, Format, Holds, Twelve};
use crate::labels::Lead;

pub struct Csv;

impl Format for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["csv"]
    }

    fn holds(&self) -> Holds {
        Holds::Signals
    }

    fn write(&self, delivery: &Delivery, _: &str, out: &mut dyn Write) -> std::io::Result<()> {
        write_rows(&Twelve::of(delivery.record), out)
    }
}

fn write_rows(twelve: &Twelve, out: &mut dyn Write) -> std::io::Result<()> {
    write!(out, "time_s")?;
    for lead in Lead::TWELVE {
        write!(out, ",{}", lead.name())?;
    }
    writeln!(out)?;
    let decimals = time_decimals(twelve.rate_hz());
    for row in 0..twelve.row_count() {
        write!(out, "{:.decimals$}", row as f64 / twelve.rate_hz())?;
        for column_index in 0..Lead::TWELVE.len() {
            match twelve.sample(column_index, row) {
                Some(value) => write!(out, ",{value:.4}")?,
                None => write!(out, ",")?,
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The fewest decimals, from 3, with which every step is exact; 9 where none is.
fn time_decimals(rate_hz: f64) -> usize {
    (3..9)
        .find(|&decimals| f64::from(10_u32.pow(decimals)) % rate_hz == 0.0)
        .unwrap_or(9) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::twelve::tests::{record, trace};
    use crate::record::Role;

    #[test]
    fn the_bytes_are_these() {
        let lead_two = trace(
            Lead::II,
            Role::Panel,
            0.0,
            &[Some(0.123_44), Some(-1.0), None],
        );
        let lead_v6 = trace(Lead::V6, Role::Panel, 0.002, &[Some(0.000_01), Some(2.5)]);
        let record = record(500.0, 0.006, vec![lead_two, lead_v6]);
        let mut out = Vec::new();
        write_rows(&Twelve::of(&record), &mut out).unwrap();
        let expected = "time_s,I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6\n\
                        0.000,,0.1234,,,,,,,,,,\n\
                        0.002,,-1.0000,,,,,,,,,,0.0000\n\
                        0.004,,,,,,,,,,,,2.5000\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn time_has_the_decimals_it_needs() {
        let found = [100.0, 250.0, 400.0, 500.0, 640.0, 1000.0, 360.0].map(time_decimals);
        assert_eq!(found, [3, 3, 4, 3, 7, 3, 9]);
    }
}
