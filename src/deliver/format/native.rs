//! `ID.lsr`: the whole record, compact, checked against every damage.
//!
//! ```text
//!   offset  bytes  what
//!        0      8  magic: 89 4C 53 52 0D 0A 1A 0A  ("\x89LSR\r\n\x1a\n")
//!        8      2  version, least byte first: 3
//!       10      4  payload length n in bytes, least byte first; at most 32 MiB
//!       14      n  payload: `Wire`, in postcard's wire format
//!     14+n      4  CRC-32 (ISO-HDLC) of all bytes before it, least byte first
//! ```
//!
//! Nothing follows. Samples are whole microvolts: a varint each, 0 for a missing sample, else 1 plus
//! the zig-zag of its difference from the last present sample (from 0 at the start). Points of a line
//! are quarters of a pixel, x and y in turn: the zig-zag of each one's difference from the last.
//! Enumerations are the index of their variant, which is why `Wire` and its parts are types of their
//! own: what they look like is version 3, whatever becomes of `Record`. A file that is cut off,
//! damaged or of another version is a `NativeError`.

use std::io::Write;

use crc::{CRC_32_ISO_HDLC, Crc};
use serde::{Deserialize, Serialize};

use crate::deliver::{Delivery, Format, Holds};
use crate::labels::Lead;
use crate::limits;
use crate::record::{
    Evidence, Finding, Known, Origin, PageCalibration, Record, Role, SeenLabel, Severity, Status,
    TraceRecord,
};
use crate::units::{Hertz, Millivolt, Mm, MmPerMillivolt, MmPerSecond, Seconds};

pub struct Native;

const MAGIC: [u8; 8] = *b"\x89LSR\r\n\x1a\n";
const VERSION: u16 = 3;
/// A point of a line is told in steps of this share of a pixel.
const POINT_STEPS: f32 = 4.0;
const HEAD_BYTES: usize = 14;
const CRC_BYTES: usize = 4;
const CHECK: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const MICROVOLT_A_MILLIVOLT: f64 = 1000.0;

/// Why bytes are no record, or a record no bytes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NativeError {
    #[error("not a leadscan record")]
    Magic,
    #[error("a record of version {found}; version {VERSION} is read")]
    Version { found: u16 },
    #[error("the record has {found} bytes where {needed} are needed")]
    Length { found: usize, needed: usize },
    #[error("the record is damaged: its checksum is {found:08x}, not {needed:08x}")]
    Checksum { found: u32, needed: u32 },
    #[error("the record cannot be understood: {reason}")]
    Payload { reason: String },
    #[error("the record would have {found} bytes; at most {max} are written")]
    TooLong { found: usize, max: usize },
}

impl Format for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn endings(&self) -> &'static [&'static str] {
        &["lsr"]
    }

    fn holds(&self) -> Holds {
        Holds::Signals
    }

    fn write(&self, delivery: &Delivery, _: &str, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&encode(delivery.record).map_err(std::io::Error::other)?)
    }
}

/// The record's bytes; samples are rounded to whole microvolts.
pub fn encode(record: &Record) -> Result<Vec<u8>, NativeError> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0; 4]);
    let unwritable = |error: postcard::Error| NativeError::Payload {
        reason: error.to_string(),
    };
    let mut bytes = postcard::to_extend(&Wire::of(record), bytes).map_err(unwritable)?;
    let (found, max) = (bytes.len() - HEAD_BYTES, limits::NATIVE_BYTES_MAX);
    let length = u32::try_from(found).ok().filter(|_| found <= max);
    let length = length.ok_or(NativeError::TooLong { found, max })?;
    bytes[10..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
    bytes.extend(CHECK.checksum(&bytes).to_le_bytes());
    Ok(bytes)
}

/// The record of these bytes.
pub fn decode(bytes: &[u8]) -> Result<Record, NativeError> {
    let head = bytes.first_chunk::<HEAD_BYTES>();
    let head = head
        .filter(|head| head.starts_with(&MAGIC))
        .ok_or(NativeError::Magic)?;
    let version = u16::from_le_bytes([head[8], head[9]]);
    if version != VERSION {
        return Err(NativeError::Version { found: version });
    }
    let length = u32::from_le_bytes([head[10], head[11], head[12], head[13]]) as usize;
    let needed = HEAD_BYTES + length.min(limits::NATIVE_BYTES_MAX) + CRC_BYTES;
    let (found, Some((content, crc))) = (bytes.len(), bytes.split_last_chunk::<CRC_BYTES>()) else {
        return Err(NativeError::Magic);
    };
    if found != needed {
        return Err(NativeError::Length { found, needed });
    }
    let (found, needed) = (CHECK.checksum(content), u32::from_le_bytes(*crc));
    if found != needed {
        return Err(NativeError::Checksum { found, needed });
    }
    let unreadable = |reason: String| NativeError::Payload { reason };
    let (wire, rest) = postcard::take_from_bytes::<Wire>(&content[HEAD_BYTES..])
        .map_err(|error| unreadable(error.to_string()))?;
    if !rest.is_empty() {
        return Err(unreadable(format!("{} bytes are left over", rest.len())));
    }
    wire.record()
}

/// A record as version 3 writes it, in this order.
#[derive(Serialize, Deserialize)]
struct Wire {
    status: Status,
    findings: Vec<WireFinding>,
    width_px: u32,
    height_px: u32,
    layout: Option<String>,
    calibration: Option<WireCalibration>,
    sample_rate_hz: f32,
    duration_s: f32,
    traces: Vec<WireTrace>,
    labels: Vec<WireLabel>,
    line_width_mm: Option<f32>,
    quality_db: Option<f32>,
    origin: Option<Origin>,
}

#[derive(Serialize, Deserialize)]
struct WireFinding {
    severity: Severity,
    code: String,
    lead: Option<Lead>,
    message: String,
}

#[derive(Serialize, Deserialize)]
struct WireKnown {
    value: f32,
    evidence: Evidence,
}

#[derive(Serialize, Deserialize)]
struct WireCalibration {
    speed_mm_s: WireKnown,
    gain_mm_mv: WireKnown,
    chest_gain_mm_mv: Option<WireKnown>,
    px_per_mm_x: WireKnown,
    px_per_mm_y: WireKnown,
    rotation_deg: f32,
}

#[derive(Serialize, Deserialize)]
struct WireTrace {
    lead: Lead,
    role: Role,
    start_s: f32,
    samples: Vec<u64>,
    corners_px: [[f32; 2]; 4],
    line: Vec<u64>,
    quality: f32,
    coverage: f32,
    quality_db: Option<f32>,
    gain_mm_mv: f32,
}

#[derive(Serialize, Deserialize)]
struct WireLabel {
    class: String,
    score: f32,
    corners_px: [[f32; 2]; 4],
}

impl Wire {
    fn of(record: &Record) -> Self {
        let finding = |finding: &Finding| {
            let Finding {
                severity,
                code,
                lead,
                message,
            } = finding.clone();
            WireFinding {
                severity,
                code,
                lead,
                message,
            }
        };
        let label = |label: &SeenLabel| {
            let SeenLabel {
                class,
                score,
                corners_px,
            } = label.clone();
            WireLabel {
                class,
                score,
                corners_px,
            }
        };
        Self {
            status: record.status,
            findings: record.findings.iter().map(finding).collect(),
            width_px: side(record.width_px),
            height_px: side(record.height_px),
            layout: record.layout.clone(),
            calibration: record.calibration.as_ref().map(WireCalibration::of),
            sample_rate_hz: record.sample_rate.0,
            duration_s: record.duration.0,
            traces: record.traces.iter().map(WireTrace::of).collect(),
            labels: record.labels.iter().map(label).collect(),
            line_width_mm: record.line_width.map(|width| width.0),
            quality_db: record.quality_db,
            origin: record.origin.clone(),
        }
    }

    fn record(self) -> Result<Record, NativeError> {
        let finding = |finding: WireFinding| {
            let WireFinding {
                severity,
                code,
                lead,
                message,
            } = finding;
            Finding {
                severity,
                code,
                lead,
                message,
            }
        };
        let label = |label: WireLabel| {
            let WireLabel {
                class,
                score,
                corners_px,
            } = label;
            SeenLabel {
                class,
                score,
                corners_px,
            }
        };
        Ok(Record {
            status: self.status,
            findings: self.findings.into_iter().map(finding).collect(),
            width_px: self.width_px as usize,
            height_px: self.height_px as usize,
            layout: self.layout,
            calibration: self.calibration.map(WireCalibration::calibration),
            sample_rate: Hertz(self.sample_rate_hz),
            duration: Seconds(self.duration_s),
            traces: self
                .traces
                .into_iter()
                .map(WireTrace::trace)
                .collect::<Result<_, _>>()?,
            labels: self.labels.into_iter().map(label).collect(),
            line_width: self.line_width_mm.map(Mm),
            quality_db: self.quality_db,
            origin: self.origin,
        })
    }
}

/// A side of a picture, which `limits::SIDE_PX_MAX` bounds.
fn side(px: usize) -> u32 {
    u32::try_from(px).unwrap_or(u32::MAX)
}

impl WireCalibration {
    fn of(found: &PageCalibration) -> Self {
        let known = |value: f32, evidence: Evidence| WireKnown { value, evidence };
        Self {
            speed_mm_s: known(found.speed.value.0, found.speed.evidence),
            gain_mm_mv: known(found.gain.value.0, found.gain.evidence),
            chest_gain_mm_mv: found
                .chest_gain
                .map(|gain| known(gain.value.0, gain.evidence)),
            px_per_mm_x: known(found.px_per_mm_x.value, found.px_per_mm_x.evidence),
            px_per_mm_y: known(found.px_per_mm_y.value, found.px_per_mm_y.evidence),
            rotation_deg: found.rotation_deg,
        }
    }

    fn calibration(self) -> PageCalibration {
        fn known<T>(wire: WireKnown, unit: impl Fn(f32) -> T) -> Known<T> {
            Known {
                value: unit(wire.value),
                evidence: wire.evidence,
            }
        }
        PageCalibration {
            speed: known(self.speed_mm_s, MmPerSecond),
            gain: known(self.gain_mm_mv, MmPerMillivolt),
            chest_gain: self
                .chest_gain_mm_mv
                .map(|gain| known(gain, MmPerMillivolt)),
            px_per_mm_x: known(self.px_per_mm_x, |value| value),
            px_per_mm_y: known(self.px_per_mm_y, |value| value),
            rotation_deg: self.rotation_deg,
            grid_off: None,
        }
    }
}

impl WireTrace {
    fn of(trace: &TraceRecord) -> Self {
        Self {
            lead: trace.lead,
            role: trace.role,
            start_s: trace.start.0,
            samples: pack(&trace.samples),
            corners_px: trace.corners_px,
            line: pack_line(&trace.line_px),
            quality: trace.quality,
            coverage: trace.coverage,
            quality_db: trace.quality_db,
            gain_mm_mv: trace.gain.0,
        }
    }

    fn trace(self) -> Result<TraceRecord, NativeError> {
        Ok(TraceRecord {
            lead: self.lead,
            role: self.role,
            start: Seconds(self.start_s),
            samples: unpack(&self.samples)?,
            deviations: None,
            corners_px: self.corners_px,
            line_px: unpack_line(&self.line)?,
            quality: self.quality,
            coverage: self.coverage,
            unread: None,
            leaps: None,
            spikes: Vec::new(),
            quality_db: self.quality_db,
            clues: None,
            gain: MmPerMillivolt(self.gain_mm_mv),
        })
    }
}

fn pack(samples: &[Option<Millivolt>]) -> Vec<u64> {
    let mut last = 0;
    let microvolts = |value: &Millivolt| microvolts(value.0);
    let code = |sample: &Option<Millivolt>| {
        let Some(value) = sample.as_ref().and_then(microvolts) else {
            return 0;
        };
        let step = i64::from(value) - last;
        last = i64::from(value);
        1 + zigzag(step)
    };
    samples.iter().map(code).collect()
}

/// Rounded; `None` for what is no number or beyond 2000 volts.
fn microvolts(millivolts: f32) -> Option<i32> {
    let value = (f64::from(millivolts) * MICROVOLT_A_MILLIVOLT).round();
    let fits = value >= f64::from(i32::MIN) && value <= f64::from(i32::MAX);
    fits.then_some(value as i32)
}

/// Points that are no place on a page are left out.
fn pack_line(points: &[[f32; 2]]) -> Vec<u64> {
    let mut last = [0_i64; 2];
    let mut codes = Vec::with_capacity(2 * points.len());
    for point in points {
        let steps = point.map(|px| (px * POINT_STEPS).round());
        let fits = |step: &f32| step.abs() <= (limits::SIDE_PX_MAX as f32) * POINT_STEPS;
        if !steps.iter().all(fits) {
            continue;
        }
        for (step, last) in steps.into_iter().zip(&mut last) {
            // Bounded above: a whole number of at most 17 bits.
            let step = step as i64;
            codes.push(zigzag(step - std::mem::replace(last, step)));
        }
    }
    codes
}

fn unpack_line(codes: &[u64]) -> Result<Vec<[f32; 2]>, NativeError> {
    let mut last = [0_i64; 2];
    let mut points = Vec::with_capacity(codes.len() / 2);
    let (pairs, rest) = codes.as_chunks::<2>();
    let bound = limits::SIDE_PX_MAX as i64 * POINT_STEPS as i64;
    for pair in pairs {
        for (code, last) in pair.iter().zip(&mut last) {
            let step = last.checked_add(unzigzag(*code));
            let step = step.filter(|step| step.abs() <= bound);
            *last = step.ok_or_else(|| NativeError::Payload {
                reason: "a point of a line is beyond every page".to_owned(),
            })?;
        }
        points.push(last.map(|step| step as f32 / POINT_STEPS));
    }
    if rest.is_empty() {
        return Ok(points);
    }
    let reason = "half a point of a line is missing".to_owned();
    Err(NativeError::Payload { reason })
}

fn zigzag(step: i64) -> u64 {
    ((step << 1) ^ (step >> 63)).cast_unsigned()
}

fn unzigzag(code: u64) -> i64 {
    (code >> 1).cast_signed() ^ -(code & 1).cast_signed()
}

fn unpack(codes: &[u64]) -> Result<Vec<Option<Millivolt>>, NativeError> {
    let mut last = 0_i64;
    let sample = |code: &u64| {
        let Some(zigzag) = code.checked_sub(1) else {
            return Ok(None);
        };
        let value = last
            .checked_add(unzigzag(zigzag))
            .and_then(|value| i32::try_from(value).ok());
        let value = value.ok_or_else(|| NativeError::Payload {
            reason: "a sample is beyond 32 bits of microvolts".to_owned(),
        })?;
        last = i64::from(value);
        Ok(Some(Millivolt(
            (f64::from(value) / MICROVOLT_A_MILLIVOLT) as f32,
        )))
    };
    codes.iter().map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::twelve::tests::{record, trace};
    use crate::record::Moment;

    fn full() -> Record {
        let samples = [
            Some(0.001),
            None,
            Some(-1.25),
            Some(-1.249),
            Some(3.4),
            None,
        ];
        let mut record = record(
            500.0,
            10.0,
            vec![
                trace(Lead::II, Role::Rhythm, 0.0, &samples),
                trace(Lead::MinusAvr, Role::Panel, 2.5, &[None; 3]),
            ],
        );
        record.status = Status::Warning;
        record.findings.push(Finding::new(
            Severity::Warning,
            "gaps",
            Some(Lead::II),
            "II: 80 %".to_owned(),
        ));
        let label = SeenLabel {
            class: "aVR".to_owned(),
            score: 0.5,
            corners_px: [[1.5; 2]; 4],
        };
        record.labels.push(label);
        record.line_width = Some(Mm(0.25));
        record.origin = Some(Origin {
            device: "bed 7".to_owned(),
            job: "01J".to_owned(),
            reference: Some("R7".to_owned()),
            accepted: Moment {
                boot_id: [7; 16],
                monotonic_ms: 1,
                wall_ms: 1_800_000_000_000,
                wall_synced: true,
            },
            version: "0.1.0".to_owned(),
            models: vec!["ab".to_owned()],
        });
        let scale = Known {
            value: 8.0,
            evidence: Evidence::Measured,
        };
        record.calibration = Some(PageCalibration {
            speed: Known {
                value: MmPerSecond(25.0),
                evidence: Evidence::Read,
            },
            gain: Known {
                value: MmPerMillivolt(10.0),
                evidence: Evidence::Given,
            },
            chest_gain: Some(Known {
                value: MmPerMillivolt(5.0),
                evidence: Evidence::Assumed,
            }),
            px_per_mm_x: scale,
            px_per_mm_y: scale,
            rotation_deg: -0.75,
            grid_off: None,
        });
        record
    }

    #[test]
    fn a_record_comes_back() {
        let record = full();
        assert_eq!(decode(&encode(&record).unwrap()).unwrap(), record);
    }

    #[test]
    fn the_bytes_are_these() {
        let mut small = record(500.0, 0.5, vec![]);
        small.layout = Some("6x2".to_owned());
        let mut lead = trace(
            Lead::V1,
            Role::Panel,
            0.5,
            &[Some(0.001), None, Some(-0.099)],
        );
        lead.line_px = Vec::new();
        lead.corners_px = [[0.0; 2]; 4];
        small.traces.push(lead);
        let bytes = encode(&small).unwrap();
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let zeros = "00".repeat(32);
        let payload = [
            "00",
            "00",
            "9003",
            "ac02",
            "0103367832",
            "00",
            "0000fa43",
            "0000003f",
            "01",
            "06",
            "00",
            "0000003f",
            "0303 00c801",
            &zeros,
            "00",
            "0000603f",
            "0000803f",
            "00",
            "00002041",
            "00",
            "00",
            "00",
            "00",
        ]
        .concat()
        .replace(' ', "");
        let length = payload.len() / 2;
        let head = format!("894c53520d0a1a0a0300{length:02x}000000");
        assert_eq!(&text[..text.len() - 8], format!("{head}{payload}"));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_an_error() {
        let bytes = encode(&full()).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut to {length}");
        }
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(decode(&longer).is_err());
    }

    #[test]
    fn a_payload_that_lies_is_an_error() {
        // Right checksum, wrong content: every byte of the payload in turn.
        let bytes = encode(&full()).unwrap();
        for at in HEAD_BYTES..bytes.len() - CRC_BYTES {
            for value in [0x00, 0x7F, 0x80, 0xFF] {
                let mut content = bytes[..bytes.len() - CRC_BYTES].to_vec();
                content[at] = value;
                let crc = CHECK.checksum(&content);
                content.extend(crc.to_le_bytes());
                // It may still be a record; it must not panic.
                let _ = decode(&content);
            }
        }
    }

    #[test]
    fn a_line_is_kept_to_a_quarter_of_a_pixel() {
        let line = [[10.1, 5.0], [f32::NAN, 1.0], [1e9, 0.0], [11.1, 4.0]];
        let back = unpack_line(&pack_line(&line)).unwrap();
        assert_eq!(back, [[10.0, 5.0], [11.0, 4.0]]);
        assert!(unpack_line(&[1]).is_err(), "half a point");
        assert!(unpack_line(&[u64::MAX, 1]).is_ok(), "a small step back");
        assert!(unpack_line(&[u64::MAX - 1, 1]).is_err(), "off the page");
    }

    #[test]
    fn the_largest_steps_are_kept() {
        let samples = [f32::MAX, 2_000_000.0, -2_000_000.0, f32::NAN, 0.0];
        let packed = pack(&samples.map(|value| Some(Millivolt(value))));
        let back = unpack(&packed).unwrap();
        let expected = [None, Some(2_000_000.0), Some(-2_000_000.0), None, Some(0.0)];
        assert_eq!(back, expected.map(|value| value.map(Millivolt)));
        assert!(unpack(&[u64::MAX, u64::MAX]).is_err());
    }
}
