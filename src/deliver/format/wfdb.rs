//! `ID.dat` and `ID.hea`: a WFDB record of the twelve leads.
//!
//! Format 16 (signed, 16 bits, least byte first, the leads of a sample one after another), 1000
//! units a millivolt, baseline 0; -32768 stands for a missing sample. A lead that would not fit is
//! written with the first smaller gain that it fits. The header describes all twelve leads, be they
//! on the page or not; checksums are the sums of each lead's samples, 16 bits, signed.
//! See header(5) and signal(5) of the WFDB documentation.

use std::io::Write;

use crate::deliver::{Delivery, Format, Holds, Twelve};
use crate::labels::Lead;
use crate::record::Status;

pub struct Wfdb;

/// Units a millivolt, the first that fits is taken.
const GAINS: [u32; 6] = [1000, 500, 200, 100, 10, 1];
const MISSING: i16 = i16::MIN;
const SAMPLE_MAX: f32 = 32_767.0;

impl Format for Wfdb {
    fn name(&self) -> &'static str {
        "wfdb"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["dat", "hea"]
    }

    fn holds(&self) -> Holds {
        Holds::Signals
    }

    fn check_id(&self, id: &str) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !id.is_empty() && id.chars().all(plain) {
            return Ok(());
        }
        Err("a WFDB record's name has letters, digits, - and _ only".to_owned())
    }

    fn write(&self, delivery: &Delivery, ending: &str, out: &mut dyn Write) -> std::io::Result<()> {
        let twelve = Twelve::of(delivery.record);
        match ending {
            "dat" => write_samples(&twelve, out),
            _ => write_header(delivery, &twelve, out),
        }
    }
}

fn write_samples(twelve: &Twelve, out: &mut dyn Write) -> std::io::Result<()> {
    let gains: [u32; 12] = std::array::from_fn(|index| gain(twelve, index));
    for row in 0..twelve.row_count() {
        for (index, gain) in gains.into_iter().enumerate() {
            out.write_all(&sample(twelve.sample(index, row), gain).to_le_bytes())?;
        }
    }
    Ok(())
}

fn write_header(delivery: &Delivery, twelve: &Twelve, out: &mut dyn Write) -> std::io::Result<()> {
    let (id, rows, rate) = (delivery.id, twelve.row_count(), twelve.rate_hz());
    writeln!(out, "{id} {} {rate} {rows}", Lead::TWELVE.len())?;
    for (index, lead) in Lead::TWELVE.into_iter().enumerate() {
        let gain = gain(twelve, index);
        let samples = || twelve.column(index).map(|value| sample(value, gain));
        let first = samples().next().unwrap_or(MISSING);
        let checksum = samples().fold(0_i16, i16::wrapping_add);
        writeln!(
            out,
            "{id}.dat 16 {gain}(0)/mV 16 0 {first} {checksum} 0 {}",
            lead.name()
        )?;
    }
    let status = match delivery.record.status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Rejected => "rejected",
    };
    writeln!(out, "# status: {status}")?;
    if let Some(layout) = &delivery.record.layout {
        writeln!(out, "# layout: {layout}")?;
    }
    writeln!(
        out,
        "# digitized from paper by leadscan {}",
        env!("CARGO_PKG_VERSION")
    )
}

/// The largest gain that keeps every sample of a lead within 16 bits.
fn gain(twelve: &Twelve, column_index: usize) -> u32 {
    let largest = twelve
        .column(column_index)
        .flatten()
        .fold(0.0_f32, |most, v| most.max(v.abs()));
    let fits = |gain: &u32| (largest * *gain as f32).round() <= SAMPLE_MAX;
    GAINS
        .into_iter()
        .find(fits)
        .unwrap_or(GAINS[GAINS.len() - 1])
}

/// In units of the gain; what even the smallest gain does not hold is missing, never cut off.
fn sample(value: Option<f32>, gain: u32) -> i16 {
    match value.map(|value| (value * gain as f32).round()) {
        Some(units) if units.abs() <= SAMPLE_MAX => units as i16,
        Some(_) | None => MISSING,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::twelve::tests::{record, trace};
    use crate::record::Role;

    #[test]
    fn the_samples_are_these_bytes() {
        let lead_one = trace(Lead::I, Role::Panel, 0.0, &[Some(0.001), Some(-1.0)]);
        let lead_v6 = trace(Lead::V6, Role::Panel, 0.002, &[Some(0.258)]);
        let record = record(500.0, 0.004, vec![lead_one, lead_v6]);
        let mut out = Vec::new();
        write_samples(&Twelve::of(&record), &mut out).unwrap();
        let mut expected = vec![1, 0];
        expected.extend([0, 0x80].repeat(11));
        expected.extend([0x18, 0xFC]);
        expected.extend([0, 0x80].repeat(10));
        expected.extend([2, 1]);
        assert_eq!(out, expected);
    }

    #[test]
    fn a_lead_beyond_16_bits_gets_a_smaller_gain() {
        let lead = trace(Lead::I, Role::Panel, 0.0, &[Some(40.0), Some(-0.5)]);
        let record = record(500.0, 0.004, vec![lead]);
        let twelve = Twelve::of(&record);
        assert_eq!((gain(&twelve, 0), gain(&twelve, 1)), (500, 1000));
        assert_eq!(sample(Some(40.0), 500), 20_000);
        assert_eq!(sample(Some(40_000.0), 1), MISSING);
        assert_eq!(sample(Some(32.767), 1000), 32_767);
        assert_eq!(sample(Some(-32.768), 1000), MISSING);
    }

    #[test]
    fn names_that_wfdb_does_not_take_are_refused() {
        assert!(Wfdb.check_id("page_7-1").is_ok());
        assert!(Wfdb.check_id("page 7").is_err() && Wfdb.check_id("a.b").is_err());
    }
}
