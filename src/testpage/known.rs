//! What this build gives for the test page at `SELFTEST_DPI`, and how near a device must come to it.
//!
//! In: a record, its comparison. Out: `Fault`s. The figures lie in `known.toml`; a change of the core
//! or of the models changes them: `UPDATE=1 cargo test --lib testpage::known` writes them anew, to be
//! reviewed like code. Samples are the same to the last digit on every processor; that they differ
//! while the figures hold is told, not failed.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::compare::Comparison;
use super::judge::Fault;
use crate::labels::Lead;
use crate::record::{Record, Role};

/// Figures of a trace may differ by this much.
const RMS_OFF_UV_MAX: f32 = 2.0;
const WORST_OFF_UV_MAX: f32 = 20.0;
/// So may when the recording begins.
const LATE_OFF_MS_MAX: f32 = 4.0;

/// A trace's figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownTrace {
    pub lead: Lead,
    pub role: Role,
    pub rms_uv: f32,
    pub worst_uv: f32,
}

/// A page's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Of all samples in microvolt.
    pub samples_sha256: String,
    pub late_ms: f32,
    pub trace: Vec<KnownTrace>,
}

impl Known {
    /// What this build gives.
    pub fn bundled() -> Result<Self, toml::de::Error> {
        toml::from_str(include_str!("known.toml"))
    }

    pub fn of(record: &Record, comparison: &Comparison) -> Self {
        let tenth = |value: f32| (10.0 * value).round() / 10.0;
        let figures = |trace: &super::compare::TraceError| KnownTrace {
            lead: trace.lead,
            role: trace.role,
            rms_uv: tenth(trace.rms_uv),
            worst_uv: tenth(trace.worst_uv),
        };
        Self {
            samples_sha256: digest(record),
            late_ms: tenth(comparison.late_ms),
            trace: comparison.traces.iter().map(figures).collect(),
        }
    }

    /// Where `found` is not what is known.
    pub fn judge(&self, found: &Self) -> Vec<Fault> {
        let fix = "the processor's kernels or the build are at fault: install leadscan again, and \
                   report it if it stays";
        let mut faults = Vec::new();
        let (late_ms, known_ms) = (found.late_ms, self.late_ms);
        if (late_ms - known_ms).abs() > LATE_OFF_MS_MAX {
            let what = format!("the recording is {late_ms} ms late, this build's {known_ms} ms");
            faults.push(Fault::new(what, fix));
        }
        for known in &self.trace {
            let same = |trace: &&KnownTrace| (trace.lead, trace.role) == (known.lead, known.role);
            let Some(trace) = found.trace.iter().find(same) else {
                let what = format!("{} was not read", known.lead.name());
                faults.push(Fault::new(what, fix));
                continue;
            };
            let is_near = (trace.rms_uv - known.rms_uv).abs() <= RMS_OFF_UV_MAX
                && (trace.worst_uv - known.worst_uv).abs() <= WORST_OFF_UV_MAX;
            if !is_near {
                let what = format!(
                    "{} is off by {} uV (rms; {} at worst), this build is known for {} ({})",
                    known.lead.name(),
                    trace.rms_uv,
                    trace.worst_uv,
                    known.rms_uv,
                    known.worst_uv
                );
                faults.push(Fault::new(what, fix));
            }
        }
        faults
    }
}

/// Of all samples, rounded to a microvolt.
fn digest(record: &Record) -> String {
    let mut hash = Sha256::new();
    for trace in &record.traces {
        hash.update(trace.lead.name());
        for sample in &trace.samples {
            let uv = sample.map_or(i32::MIN, |mv| (1000.0 * mv.0).round() as i32);
            hash.update(uv.to_le_bytes());
        }
    }
    let bytes = hash.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digitize::{NetError, Nets, Options, Picture, RawMap, digitize};
    use crate::nn::{ModelFiles, TractNets};
    use crate::testpage::compare::compare;
    use crate::testpage::judge::judge;
    use crate::testpage::{SELFTEST_DPI, draw};
    use crate::units::Millivolt;

    /// Nets whose trace map comes out of a damaged kernel: half of the channels lie a row too low.
    struct Damaged(TractNets);

    impl Nets for Damaged {
        fn labels(&self, picture: &Picture) -> Result<Vec<RawMap>, NetError> {
            self.0.labels(picture)
        }

        fn traces<T: Send>(
            &self,
            count: usize,
            draw: &(dyn Fn(usize) -> Picture + Sync),
            read: &(dyn Fn(usize, RawMap) -> T + Sync),
        ) -> Result<Vec<T>, NetError> {
            self.0.traces(count, draw, &|k, mut map| {
                let half = map.data.len() / 2;
                map.data[..half].rotate_right(map.width);
                read(k, map)
            })
        }
    }

    fn nets() -> TractNets {
        TractNets::load(ModelFiles::bundled(), 1).unwrap()
    }

    fn record<N: Nets>(nets: &N) -> Record {
        let options = Options::usual();
        digitize(&draw(SELFTEST_DPI).unwrap(), nets, &options, &mut ()).unwrap()
    }

    /// Both verdicts on a record.
    fn faults(record: &Record) -> Vec<Fault> {
        let comparison = compare(record);
        let mut faults = judge(record, comparison.as_ref());
        if let Some(comparison) = comparison {
            let found = Known::of(record, &comparison);
            faults.extend(Known::bundled().unwrap().judge(&found));
        }
        faults
    }

    #[test]
    fn the_page_is_read_as_known_and_what_is_wrong_fails() {
        let right = record(&nets());
        let found = Known::of(&right, &compare(&right).unwrap());
        if std::env::var_os("UPDATE").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/testpage/known.toml");
            std::fs::write(path, toml::to_string(&found).unwrap()).unwrap();
            return;
        }
        assert_eq!(faults(&right), []);
        assert_eq!(found, Known::bundled().unwrap());

        let mut larger = right.clone();
        for trace in &mut larger.traces {
            for sample in trace.samples.iter_mut().flatten() {
                *sample = Millivolt(1.1 * sample.0);
            }
        }
        let told = faults(&larger);
        assert!(told[0].what.contains("longer than printed"), "{told:?}");
        let mut lost = right.clone();
        lost.traces.remove(3);
        assert!(!faults(&lost).is_empty());
        let mut swapped = right.clone();
        swapped.traces[0].lead = Lead::V1;
        assert!(!faults(&swapped).is_empty());
        let mut late = right.clone();
        late.traces
            .iter_mut()
            .for_each(|trace| trace.start.0 += 0.05);
        assert!(!faults(&late).is_empty());
    }

    #[test]
    fn a_damaged_kernel_fails() {
        assert!(!faults(&record(&Damaged(nets()))).is_empty());
    }
}
