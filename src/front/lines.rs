//! A button's line and a light's, whoever drives them.
//!
//! In: settings. Out: `Lines`, opened. `character` goes by the kernel's character device and is for
//! every board, `pi` by a Raspberry Pi's registers; each is there if its feature was built in, and
//! its settings are refused if not. Whatever fails is a `PanelError`, and the lines are to be
//! dropped and opened anew. Times: milliseconds of CLOCK_MONOTONIC, in which the kernel stamps edges.

use std::time::Duration;

use super::PanelError;
use super::button::Edge;
use super::settings::{Place, Settings};

/// A button and a light that are open.
pub trait Lines: Send {
    /// The next edge, waited for no longer than `wait`; a wait of zero looks.
    fn wait(&mut self, wait: Duration) -> Result<Option<Edge>, PanelError>;

    fn is_pressed(&mut self) -> Result<bool, PanelError>;

    fn switch(&mut self, is_lit: bool) -> Result<(), PanelError>;

    /// What was found, for people.
    fn about(&self) -> String;
}

/// Lines that were opened, or why they could not be.
pub type Opened = Result<Box<dyn Lines>, PanelError>;

/// Opens the lines that the settings name; the light is dark.
pub type Open = fn(&Settings) -> Opened;

#[cfg(all(feature = "gpio", target_os = "linux"))]
const CHARACTER: Option<Open> = Some(super::character::open);
#[cfg(not(all(feature = "gpio", target_os = "linux")))]
const CHARACTER: Option<Open> = None;
#[cfg(all(feature = "rppal", target_os = "linux"))]
const PI: Option<Open> = Some(super::pi::open);
#[cfg(not(all(feature = "rppal", target_os = "linux")))]
const PI: Option<Open> = None;

/// What opens lines of these settings, if it was built in.
pub fn opener(settings: &Settings) -> Result<Open, PanelError> {
    let (backend, feature, open) = match settings.place {
        Place::Names { .. } | Place::Offsets { .. } => ("gpiocdev", "gpio", CHARACTER),
        Place::Pins { .. } => ("rppal", "rppal", PI),
    };
    open.ok_or(PanelError::NotBuilt { backend, feature })
}

/// CLOCK_MONOTONIC, in microseconds.
pub fn now_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Since the machine's start: neither is negative.
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() as u64 / 1_000
}
