//! What the machine knows of the time.
//!
//! Out: `Moment`: which boot, since when, the wall clock and whether it was set by a time
//! service. A machine without a battery clock starts in the past: the first two stay right. What
//! the system does not tell is zero, and a clock that nobody vouches for is not synced.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::record::Moment;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const UPTIME: &str = "/proc/uptime";
/// Made by systemd-timesyncd once the clock was set.
const SYNCED: &str = "/run/systemd/timesync/synchronized";

/// 2026-11-01, UTC: no clock that was set is before it.
const PROGRAM_MS: u64 = 1_793_491_200_000;

/// The time, as far as it is known.
pub fn now() -> Moment {
    let text = |path| std::fs::read_to_string(path).unwrap_or_default();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    Moment {
        boot_id: boot_id(&text(BOOT_ID)).unwrap_or_default(),
        monotonic_ms: uptime_ms(&text(UPTIME)).unwrap_or_default(),
        wall_ms: wall.map_or(0, |wall| u64::try_from(wall.as_millis()).unwrap_or(0)),
        wall_synced: Path::new(SYNCED).exists(),
    }
}

/// Whether a time service vouches for the clock.
pub fn is_synced() -> bool {
    now().wall_synced
}

/// Whether the clock was ever set: it is later than this program.
pub fn is_plausible() -> bool {
    now().wall_ms >= PROGRAM_MS
}

fn boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (digits.len() == 32).then_some(id)
}

fn uptime_ms(text: &str) -> Option<u64> {
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    // Between 0 and some years: no loss that matters.
    (seconds >= 0.0).then_some((seconds * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_is_read() {
        let id = boot_id("01234567-89ab-cdef-0123-456789abcdef\n").unwrap();
        assert_eq!(id[..4], [0x01, 0x23, 0x45, 0x67]);
        assert_eq!(boot_id("0123"), None);
        assert_eq!(uptime_ms("12.34 99.0\n"), Some(12_340));
        assert_eq!(uptime_ms(""), None);
    }
}
