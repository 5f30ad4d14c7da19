//! Lines by the registers of a Raspberry Pi, for its older systems.
//!
//! In: BCM pin numbers. Out: `Lines`. The library is retired and knows boards up to the Pi 5; on
//! others, and on newer systems, `gpiocdev` is the backend to take. Edges come from the kernel all
//! the same, which is asked to debounce; the level is read from the register, undebounced. The
//! light is written to memory: that cannot fail, nor tell that nothing is there. That another
//! program has the pin is not noticed.

use std::io::ErrorKind;
use std::time::Duration;

use rppal::gpio::{Bias, Error, Gpio, InputPin, Level, OutputPin, Trigger};

use super::PanelError;
use super::button::Edge;
use super::lines::{Lines, Opened};
use super::settings::{Place, Pull, Settings};

struct Pi {
    button: InputPin,
    light: OutputPin,
    pressed: Level,
    lit: Level,
    is_debounced: bool,
}

pub fn open(settings: &Settings) -> Opened {
    let Place::Pins { button, light } = settings.place else {
        unreachable!("lines by name or offset are the other backend's");
    };
    let gpio = Gpio::new().map_err(told)?;
    let lit = Level::from(!settings.is_light_active_low);
    let light = gpio.get(light).map_err(told)?;
    let light = match !lit {
        Level::Low => light.into_output_low(),
        Level::High => light.into_output_high(),
    };
    let mut button = gpio.get(button).map_err(told)?.into_input();
    button.set_bias(match settings.pull {
        Pull::Up => Bias::PullUp,
        Pull::Down => Bias::PullDown,
        Pull::None => Bias::Off,
    });
    let debounce = Duration::from_millis(settings.debounce_ms);
    let is_debounced = button.set_interrupt(Trigger::Both, Some(debounce)).is_ok();
    if !is_debounced {
        button.set_interrupt(Trigger::Both, None).map_err(told)?;
    }
    let pressed = Level::from(!settings.is_button_active_low);
    Ok(Box::new(Pi {
        button,
        light,
        pressed,
        lit,
        is_debounced,
    }))
}

/// What is wrong, and what to do about it.
fn told(error: Error) -> PanelError {
    match error {
        Error::UnknownModel => PanelError::NoPi,
        Error::PermissionDenied(path) => PanelError::Denied { path: path.into() },
        Error::Io(error) if error.kind() == ErrorKind::PermissionDenied => PanelError::Denied {
            path: "/dev/gpiomem".into(),
        },
        Error::PinNotAvailable(pin) => PanelError::NoLine {
            line: format!("GPIO{pin} (BCM number)"),
            there: vec!["0 to 27 on a 40-pin header".to_owned()],
        },
        error @ (Error::PinUsed(_) | Error::Io(_) | Error::ThreadPanic) => PanelError::Failed {
            device: "the Raspberry Pi's GPIO".to_owned(),
            reason: error.to_string(),
        },
    }
}

/// The library waits whole milliseconds and rounds down: a wait that is cut to nothing would spin.
fn whole_ms(wait: Duration) -> Duration {
    let us = wait.as_micros().div_ceil(1_000);
    Duration::from_millis(u64::try_from(us).unwrap_or(u64::MAX))
}

impl Lines for Pi {
    fn wait(&mut self, wait: Duration) -> Result<Option<Edge>, PanelError> {
        let event = match self.button.poll_interrupt(false, Some(whole_ms(wait))) {
            Ok(event) => event,
            Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) => return Err(told(error)),
        };
        Ok(event.map(|event| {
            let is_high = event.trigger == Trigger::RisingEdge;
            let at_ms = u64::try_from(event.timestamp.as_millis());
            Edge {
                is_pressed: Level::from(is_high) == self.pressed,
                at_ms: at_ms.unwrap_or(u64::MAX),
            }
        }))
    }

    fn is_pressed(&mut self) -> Result<bool, PanelError> {
        Ok(self.button.read() == self.pressed)
    }

    fn switch(&mut self, is_lit: bool) -> Result<(), PanelError> {
        self.light.write(if is_lit { self.lit } else { !self.lit });
        Ok(())
    }

    fn about(&self) -> String {
        let by = if self.is_debounced {
            "the kernel debounces it"
        } else {
            "the kernel does not debounce it, leadscan does"
        };
        let (button, light) = (self.button.pin(), self.light.pin());
        format!("button GPIO{button}, {by}; light GPIO{light}; by a Raspberry Pi's registers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_says_what_to_do() {
        let told = |error| told(error).to_string();
        assert!(told(Error::UnknownModel).contains("gpiocdev"));
        let denied = told(Error::PermissionDenied("/dev/gpiomem".to_owned()));
        assert!(
            denied.contains("/dev/gpiomem") && denied.contains("group gpio"),
            "{denied}"
        );
        let denied = told(Error::Io(ErrorKind::PermissionDenied.into()));
        assert!(denied.contains("group gpio"), "{denied}");
        assert!(told(Error::PinNotAvailable(99)).contains("GPIO99"));
    }

    #[test]
    fn no_wait_is_cut_to_nothing() {
        assert_eq!(whole_ms(Duration::from_micros(1)), Duration::from_millis(1));
        assert_eq!(
            whole_ms(Duration::from_micros(5_001)),
            Duration::from_millis(6)
        );
        assert_eq!(whole_ms(Duration::ZERO), Duration::ZERO);
    }
}
