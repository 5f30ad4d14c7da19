//! Where the signals come from: a store of real records, a folder of WFDB records, or a model.
//!
//! Out: `Recording`s of 12 leads, 10 s, 500 Hz, millivolt. The model sums Gaussian waves on a
//! cardiac cycle (McSharry et al., A dynamical model for generating synthetic electrocardiogram
//! signals, 2003), as a dipole seen by each lead, so that the limb leads obey Einthoven's law.

mod wfdb;

use std::io::Read;
use std::path::Path;

use crate::Rng;

pub const RATE_HZ: f32 = 500.0;
/// Lead names in the order of `Recording::leads`.
pub const LEADS: [&str; 12] = [
    "I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6",
];
const STORED: usize = 8;

/// Twelve leads of one time, millivolt at 500 Hz.
#[derive(Clone, Debug)]
pub struct Recording {
    pub leads: Vec<Vec<f32>>,
}

impl Recording {
    fn of_eight(eight: Vec<Vec<f32>>) -> Self {
        let count = eight[0].len();
        let limb = |f: fn(f32, f32) -> f32| -> Vec<f32> {
            (0..count).map(|k| f(eight[0][k], eight[1][k])).collect()
        };
        let mut leads = vec![
            eight[0].clone(),
            eight[1].clone(),
            limb(|i, ii| ii - i),
            limb(|i, ii| -(i + ii) / 2.0),
            limb(|i, ii| i - ii / 2.0),
            limb(|i, ii| ii - i / 2.0),
        ];
        leads.extend(eight.into_iter().skip(2));
        Self { leads }
    }

    /// Adds the spikes of a pacemaker that does not mind the beats: one sample wide, each lead's
    /// as tall as it sees them.
    pub fn pace(&mut self, rng: &mut Rng) {
        let count = self.leads[0].len();
        let every = rng.range(0.6, 1.1);
        let turn = if rng.chance(0.5) { -1.0 } else { 1.0 };
        let dipole = [1.0, 1.0, -0.6].map(|part| turn * part * rng.range(0.3, 1.2));
        let mut spikes = vec![vec![0.0; count]; STORED];
        let mut at = rng.range(0.0, every);
        while at < count as f32 / RATE_HZ {
            for (lead, view) in spikes.iter_mut().zip(VIEWS) {
                lead[(at * RATE_HZ) as usize] = (0..3).map(|k| view[k] * dipole[k]).sum();
            }
            at += every;
        }
        for (lead, spikes) in self.leads.iter_mut().zip(Self::of_eight(spikes).leads) {
            lead.iter_mut()
                .zip(spikes)
                .for_each(|(v, spike)| *v += spike);
        }
    }
}

/// A supply of recordings.
pub enum Source {
    Store(Store),
    Wfdb(wfdb::Folder),
    Model,
}

impl Source {
    /// A folder of WFDB records, or a store.
    pub fn open(path: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        Ok(if path.is_dir() {
            Self::Wfdb(wfdb::Folder::open(path)?)
        } else {
            Self::Store(Store::open(path)?)
        })
    }

    pub fn draw(&self, rng: &mut Rng) -> Recording {
        match self {
            Self::Store(store) => store.recording(rng.below(store.offsets.len())),
            Self::Wfdb(folder) => folder.recording(rng),
            Self::Model => model(rng),
        }
    }
}

/// Real records: second differences, zig-zag, low bytes then high bytes, one zstd frame.
pub struct Store {
    bytes: Vec<u8>,
    offsets: Vec<(usize, usize, f32)>,
}

impl Store {
    /// Reads `NAME.sig.zst` and the `NAME.csv` beside it.
    pub fn open(path: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        ruzstd::decoding::StreamingDecoder::new(std::io::BufReader::new(file))?
            .read_to_end(&mut bytes)?;
        let name = path.to_string_lossy().replace(".sig.zst", ".csv");
        let table = std::fs::read_to_string(name)?;
        let mut lines = table.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let column = |name: &str| {
            head.iter()
                .position(|c| *c == name)
                .ok_or(format!("no column {name}"))
        };
        let (n, lsb, offset) = (column("n")?, column("lsb_uv")?, column("offset")?);
        let mut offsets = Vec::new();
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            let count: usize = cells[n].parse()?;
            let start: usize = cells[offset].parse()?;
            if start + 2 * STORED * count > bytes.len() {
                return Err(format!("record at {start} ends past the store").into());
            }
            offsets.push((start, count, cells[lsb].parse()?));
        }
        Ok(Self { bytes, offsets })
    }

    fn recording(&self, index: usize) -> Recording {
        let (start, count, lsb_uv) = self.offsets[index];
        let plane = STORED * count;
        let bytes = &self.bytes[start..start + 2 * plane];
        let lead = |k: usize| {
            let (mut slope, mut value) = (0i32, 0i32);
            (0..count)
                .map(|t| {
                    let at = k * count + t;
                    let z = u32::from(bytes[at]) | (u32::from(bytes[plane + at]) << 8);
                    slope += ((z >> 1) as i32) ^ -((z & 1) as i32);
                    value += slope;
                    value as f32 * lsb_uv / 1000.0
                })
                .collect()
        };
        Recording::of_eight((0..STORED).map(lead).collect())
    }
}

/// One wave of the cycle: place (share of the cycle from R), width (s), dipole (mV).
#[derive(Clone, Copy)]
struct Wave {
    place_s: f32,
    width_s: f32,
    dipole: [f32; 3],
}

/// Directions in which the eight stored leads see the dipole (x left, y down, z back).
const VIEWS: [[f32; 3]; STORED] = [
    [1.0, 0.0, 0.0],
    [0.5, 0.87, 0.0],
    [-0.5, 0.1, -1.0],
    [0.1, 0.1, -1.4],
    [0.6, 0.2, -1.2],
    [1.0, 0.3, -0.7],
    [1.1, 0.3, -0.1],
    [1.0, 0.3, 0.3],
];

fn model(rng: &mut Rng) -> Recording {
    let count = (10.0 * RATE_HZ) as usize;
    let mut eight = vec![vec![0.0; count]; STORED];
    let waves = waves(rng);
    let (rate, jitter) = (
        rng.range(45.0, 130.0),
        rng.weigh(&[(0.7, 0.02), (0.3, 0.18)]),
    );
    let ectopic = rng.weigh(&[(0.75, 0.0), (0.25, 0.15)]);
    let paced = rng.chance(0.06);
    let mut r = rng.range(-0.5, 0.5);
    while r < 11.0 {
        let odd = rng.chance(ectopic);
        let (wide, tall) = if odd { (2.4, 1.5) } else { (1.0, 1.0) };
        let turn = if odd { -1.0 } else { 1.0 };
        for wave in &waves {
            add(&mut eight, wave, r, wide, tall * turn);
        }
        if paced {
            let spike = Wave {
                place_s: -0.12,
                width_s: 0.001,
                dipole: [1.2, 1.0, -0.4],
            };
            add(&mut eight, &spike, r, 1.0, 1.0);
        }
        let beat = 60.0 / rate * (1.0 + rng.normal(0.0, jitter)).clamp(0.4, 1.9);
        r += if odd { beat * 1.3 } else { beat };
    }
    wander(&mut eight, rng);
    Recording::of_eight(eight)
}

fn waves(rng: &mut Rng) -> Vec<Wave> {
    let size = rng.range(0.6, 1.8);
    let axis = rng.normal(0.9, 0.6);
    let qrs = [
        axis.cos() * size,
        axis.sin() * size,
        rng.range(-0.2, 0.9) * size,
    ];
    let scaled = |by: f32| qrs.map(|v| v * by);
    let st = if rng.chance(0.2) {
        rng.range(-0.2, 0.25)
    } else {
        0.0
    };
    let width = rng.range(0.009, 0.018);
    vec![
        Wave {
            place_s: -0.16,
            width_s: rng.range(0.018, 0.03),
            dipole: scaled(rng.range(0.05, 0.16)),
        },
        Wave {
            place_s: -2.2 * width,
            width_s: 0.7 * width,
            dipole: [-0.15 * size, 0.05, -0.3 * size],
        },
        Wave {
            place_s: 0.0,
            width_s: width,
            dipole: qrs,
        },
        Wave {
            place_s: 2.2 * width,
            width_s: 0.8 * width,
            dipole: [-0.25 * size, -0.1, 0.7 * size],
        },
        Wave {
            place_s: 0.12,
            width_s: 0.05,
            dipole: scaled(st),
        },
        Wave {
            place_s: rng.range(0.24, 0.34),
            width_s: rng.range(0.03, 0.06),
            dipole: scaled(rng.range(-0.15, 0.4)),
        },
    ]
}

fn add(eight: &mut [Vec<f32>], wave: &Wave, r: f32, wide: f32, tall: f32) {
    let (center, width) = (r + wave.place_s * wide, wave.width_s * wide);
    let reach = (4.0 * width).max(2.0 / RATE_HZ);
    let first = ((center - reach) * RATE_HZ).max(0.0) as usize;
    let last = ((center + reach) * RATE_HZ).clamp(0.0, eight[0].len() as f32) as usize;
    for (lead, view) in eight.iter_mut().zip(VIEWS) {
        let height: f32 = tall * (0..3).map(|k| view[k] * wave.dipole[k]).sum::<f32>();
        for (t, value) in lead.iter_mut().enumerate().take(last).skip(first) {
            let off = (t as f32 / RATE_HZ - center) / width;
            *value += height * (-0.5 * off * off).exp();
        }
    }
}

fn wander(eight: &mut [Vec<f32>], rng: &mut Rng) {
    let noise = rng.weigh(&[(0.6, 0.004), (0.3, 0.012), (0.1, 0.04)]);
    for lead in eight {
        let (drift, rate, phase) = (
            rng.range(0.0, 0.12),
            rng.range(0.1, 0.4),
            rng.range(0.0, 6.0),
        );
        let mut smooth = 0.0;
        for (t, value) in lead.iter_mut().enumerate() {
            smooth = 0.6 * smooth + 0.4 * rng.normal(0.0, noise);
            let angle = std::f32::consts::TAU * rate * t as f32 / RATE_HZ + phase;
            *value += drift * angle.sin() + smooth;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spikes_obey_einthoven_and_are_one_sample_wide() {
        let zeros = || vec![0.0; 5000];
        let mut recording = Recording {
            leads: LEADS.iter().map(|_| zeros()).collect(),
        };
        recording.pace(&mut Rng::new(5));
        let [i, ii, iii] = [0, 1, 2].map(|k| &recording.leads[k]);
        assert!((0..5000).all(|t| (i[t] + iii[t] - ii[t]).abs() < 1e-4));
        let spikes = i.iter().filter(|v| **v != 0.0).count();
        assert!((9..=17).contains(&spikes), "{spikes} in 10 s");
        assert!(i.windows(2).all(|pair| pair[0] == 0.0 || pair[1] == 0.0));
    }

    #[test]
    fn the_model_obeys_einthoven() {
        let recording = Source::Model.draw(&mut Rng::new(3));
        let [i, ii, iii] = [0, 1, 2].map(|k| &recording.leads[k]);
        assert!((0..5000).all(|t| (i[t] + iii[t] - ii[t]).abs() < 1e-4));
        assert!(
            ii.iter().fold(0.0f32, |a, b| a.max(b.abs())) > 0.2,
            "a beat is seen"
        );
    }
}
