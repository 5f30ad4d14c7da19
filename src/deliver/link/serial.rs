//! A link over a serial line, also one behind a USB adapter.
//!
//! In: records; settings: the device's path and its rate, 9,600 to 921,600 baud. Raw bytes, 8 data
//! bits, no parity, 1 stop bit, no flow control: a frame that the other side was too slow for is
//! sent again. An adapter that was pulled out is opened again when it is back. A byte takes ten bit
//! times; at 115,200 baud a record of 20 kB takes 1.8 s. Fails as `Framed` does.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serial2_tokio::SerialPort;

use super::SettingsError;
use super::frame::FRAME_BYTES_MAX;
use super::framed::{Framed, Line, Opening, Stream};
use super::sender::Pace;

/// Rates that lines and adapters have.
const BAUD_MIN: u32 = 9_600;
const BAUD_MAX: u32 = 921_600;
/// Start bit, eight data bits, stop bit.
const BYTE_BITS: u64 = 10;

/// What the configuration says of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub path: PathBuf,
    pub baud: u32,
}

/// The link; the port is opened with the first record.
pub fn new(settings: Settings, device: &str) -> Result<Framed<Port>, SettingsError> {
    check_baud(settings.baud)?;
    Ok(Framed::new(Port(settings), device))
}

/// Whether serial lines have that rate.
pub fn check_baud(found: u32) -> Result<(), SettingsError> {
    let (min, max) = (BAUD_MIN, BAUD_MAX);
    if !(min..=max).contains(&found) {
        return Err(SettingsError::Baud { found, min, max });
    }
    Ok(())
}

/// The port, raw, and without what came before it was opened.
pub fn open_port(path: &Path, baud: u32) -> std::io::Result<Stream> {
    let port = SerialPort::open(path, baud)?;
    port.discard_input_buffer()?;
    Ok(Box::new(port))
}

pub struct Port(Settings);

impl Line for Port {
    fn open(&mut self) -> Opening<'_> {
        let opened = open_port(&self.0.path, self.0.baud);
        let named = |error| {
            let path = self.0.path.display();
            std::io::Error::other(format!("{path}: {error}"))
        };
        let opened = opened.map_err(named);
        Box::pin(async { opened })
    }

    fn pace(&self) -> Pace {
        let bits = 1_000 * BYTE_BITS * FRAME_BYTES_MAX as u64;
        Pace {
            answer_ms: 250,
            frame_ms: bits.div_ceil(u64::from(self.0.baud)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_ten_bits_a_byte() {
        let frame_ms = |baud| {
            let path = PathBuf::from("/dev/null");
            Port(Settings { path, baud }).pace().frame_ms
        };
        assert_eq!([9_600, 115_200, 921_600].map(frame_ms), [1_067, 89, 12]);
    }

    #[test]
    fn rates_that_no_line_has_are_refused() {
        for baud in [9_600, 115_200, 921_600] {
            check_baud(baud).unwrap();
        }
        for baud in [0, 4_800, 1_000_000] {
            assert!(check_baud(baud).is_err());
        }
    }
}
