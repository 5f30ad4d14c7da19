//! One page, from pixels to a record.
//!
//! In: a `RawImage`, the nets, the options. Out: a `Record`, rejected where the page was not
//! understood. The only place that knows the order of the steps.

pub use crate::nets::*;
use crate::page::RawImage;
use crate::record::Record;
use crate::units::{Hertz, MmPerMillivolt, MmPerSecond};

/// What the operator may say about a page before it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub sample_rate: Hertz,
    /// Paper speed and gain, where the operator knows better than the page.
    pub speed: Option<MmPerSecond>,
    pub gain: Option<MmPerMillivolt>,
    /// Name of the only layout to be tried, e.g. `3x4+1R`.
    pub layout: Option<String>,
}

/// The steps of a page, as they are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Labels,
    Grid,
    Layout,
    Trace,
    Signal,
}

impl Stage {
    pub const ALL: [Self; 5] = [Self::Labels, Self::Grid, Self::Layout, Self::Trace, Self::Signal];

    pub fn name(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Grid => "grid",
            Self::Layout => "layout",
            Self::Trace => "trace",
            Self::Signal => "signal",
        }
    }
}

/// Told when each stage begins; the core has no clock.
pub trait Observer {
    fn begins(&mut self, stage: Stage);
}

/// Digitizes one page.
pub fn digitize<N: Nets>(
    image: &RawImage,
    nets: &N,
    options: &Options,
    observer: &mut impl Observer,
) -> Result<Record, NetError> {
    let _ = (image, nets, options, observer);
    Err(NetError { net: "labels", reason: "the path is not joined yet".to_owned() })
}
