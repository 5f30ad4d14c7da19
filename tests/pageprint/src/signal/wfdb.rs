//! Records of a folder in the WFDB's own form.
//!
//! In: `NAME.hea` with its signal files in format 16 or 212 (PhysioNet, WFDB header(5), signal(5)).
//! Out: `Recording`s of 10 s at 500 Hz, straight lines between the samples. A record is taken where
//! it has I, II and V1 to V6 by name, lasts 10 s and misses no sample; the others are counted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{LEADS, RATE_HZ, Recording};
use crate::Rng;

type Failure = Box<dyn std::error::Error>;

const SECONDS: f32 = 10.0;
/// Larger than any signal file of a 10 s to 24 h record with 15 leads.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// The records that can be printed.
pub struct Folder {
    records: Vec<Header>,
    /// Headers that were left out.
    pub skipped: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Header {
    folder: PathBuf,
    rate_hz: f32,
    samples: usize,
    signals: Vec<Signal>,
}

#[derive(Clone, Debug, PartialEq)]
struct Signal {
    file: String,
    format: Format,
    steps_per_mv: f32,
    baseline: i32,
    lead: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Sixteen,
    TwoTwelve,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(path)?
            .flatten()
            .map(|e| e.path())
            .collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "hea"));
        paths.sort();
        let found = paths.len();
        let read = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).ok()?;
            let header = Header::parse(&text, path.parent()?).ok()?;
            header.usable().then_some(header)
        };
        let records: Vec<Header> = paths.into_iter().filter_map(read).collect();
        if records.is_empty() {
            return Err(format!(
                "{}: none of {found} headers is a 12-lead record of 10 s",
                path.display()
            )
            .into());
        }
        Ok(Self {
            skipped: found - records.len(),
            records,
        })
    }

    /// Ten seconds of one record; another one where a file cannot be read or misses samples.
    pub fn recording(&self, rng: &mut Rng) -> Recording {
        for _ in 0..100 {
            let header = &self.records[rng.below(self.records.len())];
            let count = (SECONDS * header.rate_hz) as usize;
            let first = rng.below(header.samples - count + 1);
            if let Ok(eight) = header.read(first, count) {
                return Recording::of_eight(eight);
            }
        }
        panic!("of 100 records none could be read");
    }
}

impl Header {
    fn parse(text: &str, folder: &Path) -> Result<Self, Failure> {
        let mut lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let mut head = lines
            .next()
            .ok_or("an empty header")?
            .split_whitespace()
            .skip(1);
        let count: usize = head.next().ok_or("no signal count")?.parse()?;
        let rate = head
            .next()
            .unwrap_or("250")
            .split(['/', '('])
            .next()
            .unwrap_or_default();
        let rate_hz: f32 = rate.parse()?;
        let samples: usize = head.next().unwrap_or("0").parse()?;
        let signals = lines
            .take(count)
            .map(Signal::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if signals.len() != count || !(50.0..=20_000.0).contains(&rate_hz) {
            return Err("a header cut short".into());
        }
        Ok(Self {
            folder: folder.to_owned(),
            rate_hz,
            samples,
            signals,
        })
    }

    fn usable(&self) -> bool {
        self.samples as f32 >= SECONDS * self.rate_hz
            && stored().all(|lead| self.place(lead).is_some())
    }

    fn place(&self, lead: &str) -> Option<usize> {
        self.signals
            .iter()
            .position(|signal| signal.lead.eq_ignore_ascii_case(lead))
    }

    /// The eight stored leads from sample `first` on, at 500 Hz.
    fn read(&self, first: usize, count: usize) -> Result<Vec<Vec<f32>>, Failure> {
        let mut files: HashMap<&str, Vec<u8>> = HashMap::new();
        stored()
            .map(|lead| {
                let index = self.place(lead).ok_or("a lead is missing")?;
                let signal = &self.signals[index];
                // Signals of one file stand interleaved.
                let together = || self.signals.iter().filter(|s| s.file == signal.file);
                let (width, at) = (
                    together().count(),
                    self.signals[..index]
                        .iter()
                        .filter(|s| s.file == signal.file)
                        .count(),
                );
                if !files.contains_key(signal.file.as_str()) {
                    files.insert(&signal.file, self.bytes(&signal.file)?);
                }
                let bytes = &files[signal.file.as_str()];
                let sample = |k: usize| signal.millivolt(bytes, (first + k) * width + at);
                let mv: Vec<f32> = (0..count)
                    .map(sample)
                    .collect::<Option<_>>()
                    .ok_or("a sample is missing")?;
                Ok(resample(&mv, self.rate_hz))
            })
            .collect()
    }

    fn bytes(&self, file: &str) -> Result<Vec<u8>, Failure> {
        let path = self.folder.join(file);
        if path.metadata()?.len() > FILE_BYTES_MAX {
            return Err(format!("{}: too long", path.display()).into());
        }
        Ok(std::fs::read(path)?)
    }
}

/// I, II and the chest leads: the others follow from them.
fn stored() -> impl Iterator<Item = &'static str> {
    LEADS
        .into_iter()
        .enumerate()
        .filter(|(k, _)| !(2..6).contains(k))
        .map(|(_, lead)| lead)
}

impl Signal {
    /// `FILE FORMAT GAIN(BASELINE)/UNITS BITS ZERO FIRST CHECKSUM BLOCK NAME`
    fn parse(line: &str) -> Result<Self, Failure> {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let format = match cells.get(1) {
            Some(&"16") => Format::Sixteen,
            Some(&"212") => Format::TwoTwelve,
            other => return Err(format!("format {other:?} is not read here").into()),
        };
        let gain = cells.get(2).copied().unwrap_or("200");
        let (gain, unit) = gain.split_once('/').unwrap_or((gain, "mV"));
        let per_mv = match unit {
            "mV" => 1.0,
            "uV" => 1000.0,
            other => return Err(format!("unit {other} is not read here").into()),
        };
        let zero: i32 = cells.get(4).map_or(Ok(0), |cell| cell.parse())?;
        let (steps, baseline) = match gain.split_once('(') {
            Some((steps, rest)) => (steps, rest.trim_end_matches(')').parse()?),
            None => (gain, zero),
        };
        let steps: f32 = steps.parse()?;
        let steps_per_mv = per_mv * if steps == 0.0 { 200.0 } else { steps };
        let lead = cells.get(8).copied().unwrap_or_default().to_owned();
        Ok(Self {
            file: cells[0].to_owned(),
            format,
            steps_per_mv,
            baseline,
            lead,
        })
    }

    /// Value `index` of the file, `None` where it is missing.
    fn millivolt(&self, bytes: &[u8], index: usize) -> Option<f32> {
        let raw = match self.format {
            Format::Sixteen => {
                let pair = bytes.get(2 * index..2 * index + 2)?;
                let value = i16::from_le_bytes([pair[0], pair[1]]);
                (value != i16::MIN).then_some(i32::from(value))?
            }
            Format::TwoTwelve => {
                // Two values in three bytes: low, both high halves, low.
                let at = index / 2 * 3;
                let (low, high) = if index.is_multiple_of(2) {
                    (*bytes.get(at)?, *bytes.get(at + 1)? & 15)
                } else {
                    (*bytes.get(at + 2)?, *bytes.get(at + 1)? >> 4)
                };
                let value = i32::from(low) | i32::from(high) << 8;
                let value = if value > 2047 { value - 4096 } else { value };
                (value != -2048).then_some(value)?
            }
        };
        Some((raw - self.baseline) as f32 / self.steps_per_mv)
    }
}

fn resample(mv: &[f32], rate_hz: f32) -> Vec<f32> {
    let count = (SECONDS * RATE_HZ) as usize;
    (0..count)
        .map(|k| {
            let at = (k as f32 * rate_hz / RATE_HZ).min((mv.len() - 1) as f32);
            let (low, share) = (at as usize, at.fract());
            mv[low] * (1.0 - share) + mv[(low + 1).min(mv.len() - 1)] * share
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 5000;
    const STORED: usize = 8;

    /// A record whose lead `k` is a ramp from `k` mV in steps of 1/200 mV.
    fn write(folder: &Path, name: &str, format: &str) {
        let value = |k: usize, t: usize| (200 * k + t % 100) as i32 - 400;
        let mut head = format!("{name} {STORED} 500 {COUNT}\n# a comment\n");
        for lead in stored() {
            head += &format!("{name}.dat {format} 200(-400)/mV 16 0 0 0 0 {lead}\n");
        }
        let mut bytes = Vec::new();
        let values: Vec<i32> = (0..COUNT)
            .flat_map(|t| (0..STORED).map(move |k| value(k, t)))
            .collect();
        match format {
            "16" => bytes.extend(values.iter().flat_map(|v| (*v as i16).to_le_bytes())),
            _ => {
                for pair in values.chunks_exact(2) {
                    let [a, b] = [pair[0] & 0xFFF, pair[1] & 0xFFF];
                    bytes.extend([
                        (a & 255) as u8,
                        (a >> 8 | b >> 8 << 4) as u8,
                        (b & 255) as u8,
                    ]);
                }
            }
        }
        std::fs::write(folder.join(format!("{name}.hea")), head).unwrap();
        std::fs::write(folder.join(format!("{name}.dat")), bytes).unwrap();
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("pageprint-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn both_formats_give_the_values_that_were_written() {
        for format in ["16", "212"] {
            let path = folder(format);
            write(&path, "r1", format);
            std::fs::write(path.join("short.hea"), "short 1 500 20\n").unwrap();
            let records = Folder::open(&path).unwrap();
            assert_eq!(records.skipped, 1);
            let recording = records.recording(&mut Rng::new(1));
            for (k, lead) in [0, 1, 6, 11].into_iter().zip([0, 1, 2, 7]) {
                let expected = lead as f32 + 0.25;
                assert!(
                    (recording.leads[k][50] - expected).abs() < 1e-5,
                    "lead {k} in format {format}"
                );
            }
            std::fs::remove_dir_all(path).unwrap();
        }
    }

    #[test]
    fn missing_samples_and_cut_files_are_not_printed() {
        let path = folder("cut");
        write(&path, "r1", "16");
        let mut bytes = std::fs::read(path.join("r1.dat")).unwrap();
        let header = Folder::open(&path).unwrap().records.remove(0);
        assert!(header.read(0, COUNT).is_ok());
        bytes[2000..2002].copy_from_slice(&i16::MIN.to_le_bytes());
        std::fs::write(path.join("r1.dat"), &bytes).unwrap();
        assert!(header.read(0, COUNT).is_err());
        std::fs::write(path.join("r1.dat"), &bytes[..40_000]).unwrap();
        assert!(header.read(0, COUNT).is_err());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn no_header_brings_the_reader_down() {
        let text = "r1 2 360/1(0) 650000\nr1.dat 212 200 11 1024 995 -22131 0 MLII\n\
                    r1.dat 212 200(0)/uV 11 0 0 0 0 V1\n";
        let good = Header::parse(text, Path::new(".")).unwrap();
        assert_eq!(
            (
                good.rate_hz,
                good.signals[0].baseline,
                good.signals[1].steps_per_mv
            ),
            (360.0, 1024, 200_000.0)
        );
        let mut rng = Rng::new(5);
        for _ in 0..2000 {
            let mut bytes = text.as_bytes()[..rng.below(text.len())].to_vec();
            if !bytes.is_empty() {
                let at = rng.below(bytes.len());
                bytes[at] ^= 1 << rng.below(7);
            }
            let _ = Header::parse(&String::from_utf8_lossy(&bytes), Path::new("."));
        }
    }
}
