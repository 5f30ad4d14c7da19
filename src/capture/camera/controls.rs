//! What of a camera is kept fixed, as V4L2 controls.
//!
//! In: the settings. Out: for each that is set the control, its value in the control's own unit, and
//! the automatic control that is switched off before. Numbers: linux/v4l2-controls.h.

use super::Settings;

const USER: u32 = 0x0098_0900;
const CAMERA: u32 = 0x009a_0900;
/// `V4L2_CID_EXPOSURE_ABSOLUTE` counts in 100 us.
const EXPOSURE_STEP_US: u32 = 100;
/// `V4L2_EXPOSURE_MANUAL`.
const MANUAL: i64 = 1;
const OFF: i64 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    pub id: u32,
    pub value: i64,
}

/// One thing that stays as it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// As the settings call it.
    pub key: &'static str,
    /// Switched first, where the camera has it.
    pub automatic: Control,
    pub control: Control,
}

/// All that is set, in the order in which it is done.
pub fn fixed(settings: &Settings) -> Vec<Fixed> {
    let one = |key, automatic: (u32, i64), id, value: Option<i64>| {
        let (automatic_id, off) = automatic;
        value.map(|value| Fixed {
            key,
            automatic: Control {
                id: automatic_id,
                value: off,
            },
            control: Control { id, value },
        })
    };
    let steps = |us: u32| i64::from((us + EXPOSURE_STEP_US / 2) / EXPOSURE_STEP_US).max(1);
    let exposure = settings.exposure_us.map(steps);
    let white = settings.white_balance_k.map(i64::from);
    let all = [
        one("exposure_us", (CAMERA + 1, MANUAL), CAMERA + 2, exposure),
        one("gain", (USER + 18, OFF), USER + 19, settings.gain),
        one("white_balance_k", (USER + 12, OFF), USER + 26, white),
        one("focus", (CAMERA + 12, OFF), CAMERA + 10, settings.focus),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_fixed_and_its_automatic_switched_off() {
        let table = "usb = '046d:0825'\nexposure_us = 8_040\nfocus = 30\nwhite_balance_k = 4_500";
        let settings = Settings::read(toml::from_str(table).unwrap()).unwrap();
        let found = fixed(&settings);
        let pairs: Vec<_> = found
            .iter()
            .map(|one| {
                (
                    one.key,
                    one.automatic.id,
                    one.automatic.value,
                    one.control.id,
                    one.control.value,
                )
            })
            .collect();
        assert_eq!(
            pairs,
            [
                ("exposure_us", 0x9a_0901, 1, 0x9a_0902, 80),
                ("white_balance_k", 0x98_090c, 0, 0x98_091a, 4_500),
                ("focus", 0x9a_090c, 0, 0x9a_090a, 30),
            ]
        );
    }

    #[test]
    fn nothing_set_leaves_all_to_the_camera() {
        let settings = Settings::read(toml::from_str("usb = '046d:0825'").unwrap()).unwrap();
        assert_eq!(fixed(&settings), []);
    }
}
