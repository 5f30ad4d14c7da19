//! The panel's settings: which lines the button and the light are on.
//!
//! ```toml
//! [panel]
//! backend = "gpiocdev"        # any board; "rppal" for older systems of the Raspberry Pi
//! button_line = "GPIO17"      # by name, as gpioinfo shows it
//! light_line = "GPIO27"
//! # chip = "gpiochip0"        # or by offset, on a board whose lines have no names: the chip's
//! # button_offset = 17        # file, its name or its label
//! # light_offset = 27
//! # button_pin = 17           # rppal: BCM numbers
//! # light_pin = 27
//! button_active_low = true    # pressed, it pulls the line to ground
//! light_active_low = false
//! button_pull = "up"          # up, down, none; towards released, if it is not said
//! debounce_ms = 30
//! ```
//!
//! In: the table. Out: `Settings`, or a `PanelError` that names the key.

use serde::Deserialize;

use super::PanelError;
use crate::limits::PANEL_DEBOUNCE_MS;

/// Settings that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub place: Place,
    pub is_button_active_low: bool,
    pub is_light_active_low: bool,
    pub pull: Pull,
    pub debounce_ms: u64,
}

/// Where the button and the light are.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Names {
        button: String,
        light: String,
    },
    Offsets {
        chip: String,
        button: u32,
        light: u32,
    },
    /// Of a Raspberry Pi, by its registers.
    Pins {
        button: u8,
        light: u8,
    },
}

/// What holds the button's line while nothing else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    Up,
    Down,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Backend {
    Gpiocdev,
    Rppal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    backend: Backend,
    button_line: Option<String>,
    light_line: Option<String>,
    chip: Option<String>,
    button_offset: Option<u32>,
    light_offset: Option<u32>,
    button_pin: Option<u8>,
    light_pin: Option<u8>,
    #[serde(default = "active_low")]
    button_active_low: bool,
    #[serde(default)]
    light_active_low: bool,
    button_pull: Option<Pull>,
    #[serde(default = "debounce_ms")]
    debounce_ms: u64,
}

fn active_low() -> bool {
    true
}

fn debounce_ms() -> u64 {
    30
}

impl Settings {
    pub fn read(table: &toml::Table) -> Result<Self, PanelError> {
        let keys: Keys = table.clone().try_into().map_err(|error: toml::de::Error| {
            let reason = error.to_string().trim_end().to_owned();
            PanelError::Settings { reason }
        })?;
        let [min, max] = PANEL_DEBOUNCE_MS;
        if !(min..=max).contains(&keys.debounce_ms) {
            let found = keys.debounce_ms;
            return refuse(format!("debounce_ms = {found}: {min} to {max} can be had"));
        }
        let towards_released = if keys.button_active_low {
            Pull::Up
        } else {
            Pull::Down
        };
        Ok(Self {
            is_button_active_low: keys.button_active_low,
            is_light_active_low: keys.light_active_low,
            pull: keys.button_pull.unwrap_or(towards_released),
            debounce_ms: keys.debounce_ms,
            place: place(keys)?,
        })
    }
}

fn place(keys: Keys) -> Result<Place, PanelError> {
    let names = both("line", keys.button_line, keys.light_line)?;
    let offsets = both("offset", keys.button_offset, keys.light_offset)?;
    let pins = both("pin", keys.button_pin, keys.light_pin)?;
    match (keys.backend, names, keys.chip, offsets, pins) {
        (Backend::Gpiocdev, Some((button, light)), None, None, None) => {
            Ok(Place::Names { button, light })
        }
        (Backend::Gpiocdev, None, Some(chip), Some((button, light)), None) => Ok(Place::Offsets {
            chip,
            button,
            light,
        }),
        (Backend::Rppal, None, None, None, Some((button, light))) => {
            Ok(Place::Pins { button, light })
        }
        (Backend::Gpiocdev, ..) => refuse(
            "backend gpiocdev needs button_line and light_line, or chip, button_offset and \
             light_offset, and no other lines",
        ),
        (Backend::Rppal, ..) => {
            refuse("backend rppal needs button_pin and light_pin, and no other lines")
        }
    }
}

/// Two lines or none, and not the same one.
fn both<T: PartialEq>(
    key: &str,
    button: Option<T>,
    light: Option<T>,
) -> Result<Option<(T, T)>, PanelError> {
    match (button, light) {
        (None, None) => Ok(None),
        (Some(_), None) => refuse(format!("button_{key} is given and light_{key} is not")),
        (None, Some(_)) => refuse(format!("light_{key} is given and button_{key} is not")),
        (Some(button), Some(light)) if button == light => {
            refuse(format!("button_{key} and light_{key} are the same"))
        }
        (Some(button), Some(light)) => Ok(Some((button, light))),
    }
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, PanelError> {
    let reason = reason.into();
    Err(PanelError::Settings { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "backend = \"gpiocdev\"\nbutton_line = \"A\"\nlight_line = \"B\"\n";

    fn read(text: &str) -> Result<Settings, PanelError> {
        Settings::read(&toml::from_str(text).unwrap())
    }

    #[test]
    fn each_way_to_name_lines_is_read() {
        let named = read(NAMES).unwrap();
        let place = Place::Names {
            button: "A".to_owned(),
            light: "B".to_owned(),
        };
        let expected = Settings {
            place,
            is_button_active_low: true,
            is_light_active_low: false,
            pull: Pull::Up,
            debounce_ms: 30,
        };
        assert_eq!(named, expected);
        let offsets = "backend = \"gpiocdev\"\nchip = \"c\"\nbutton_offset = 1\nlight_offset = 2";
        let chip = "c".to_owned();
        let place = Place::Offsets {
            chip,
            button: 1,
            light: 2,
        };
        assert_eq!(read(offsets).unwrap().place, place);
        let pins = "backend = \"rppal\"\nbutton_pin = 17\nlight_pin = 27";
        let place = Place::Pins {
            button: 17,
            light: 27,
        };
        assert_eq!(read(pins).unwrap().place, place);
    }

    #[test]
    fn the_pull_holds_the_button_released() {
        let pull = |more: &str| read(&format!("{NAMES}{more}")).unwrap().pull;
        assert_eq!(pull("button_active_low = false"), Pull::Down);
        assert_eq!(
            pull("button_active_low = false\nbutton_pull = \"none\""),
            Pull::None
        );
        assert_eq!(pull("button_pull = \"down\""), Pull::Down);
    }

    #[test]
    fn what_is_wrong_names_its_key() {
        let check = |text: &str, part: &str| {
            let refusal = read(text).unwrap_err().to_string();
            assert!(refusal.contains(part), "{text}: {refusal}");
        };
        check(&format!("{NAMES}buton_pull = \"up\""), "buton_pull");
        check(&format!("{NAMES}button_pull = \"left\""), "button_pull");
        check(&format!("{NAMES}debounce_ms = 4"), "debounce_ms = 4");
        check(&format!("{NAMES}debounce_ms = 201"), "5 to 200");
        check(&format!("{NAMES}button_pin = 3"), "light_pin is not");
        check(&format!("{NAMES}light_offset = 3"), "button_offset is not");
        check(&format!("{NAMES}chip = \"c\""), "no other lines");
        check("backend = \"gpiocdev\"", "button_line");
        check("backend = \"rppal\"", "button_pin");
        check("backend = \"sysfs\"", "backend");
        check("button_line = \"A\"\nlight_line = \"B\"", "backend");
        check(&NAMES.replace("\"B\"", "\"A\""), "are the same");
    }
}
