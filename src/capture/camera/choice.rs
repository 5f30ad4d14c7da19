//! Which of a camera's formats is used.
//!
//! In: what the camera offers, the size that the settings ask for. Out: coding and size: MJPG where
//! it is offered (over USB it is the larger and faster one), else YUYV; of that coding the size
//! asked for, else the largest that is at most `limits::PAGE_PX_MAX`. None where there is no such.

use std::fmt;

use crate::limits;

/// How a frame's pixels are stored, of what is understood here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Each frame is a JPEG.
    Mjpg,
    /// Y0 U Y1 V for each two pixels.
    Yuyv,
}

impl Coding {
    /// In the order of preference.
    pub const ALL: [Self; 2] = [Self::Mjpg, Self::Yuyv];

    /// The name that V4L2 has for it.
    pub fn code(self) -> [u8; 4] {
        match self {
            Self::Mjpg => *b"MJPG",
            Self::Yuyv => *b"YUYV",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl Size {
    fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// Sizes that a camera has for a coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    One(Size),
    Steps { min: Size, max: Size, step: Size },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub coding: Coding,
    pub sizes: Sizes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub coding: Coding,
    pub size: Size,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.coding.code();
        let Size { width, height } = self.size;
        write!(
            f,
            "{width} x {height} px {}",
            String::from_utf8_lossy(&code)
        )
    }
}

/// The format that is used.
pub fn choose(offers: &[Offer], wanted: Option<Size>) -> Option<Choice> {
    Coding::ALL.into_iter().find_map(|coding| {
        let offers = offers.iter().filter(|offer| offer.coding == coding);
        let sizes = offers.filter_map(|offer| fitting(offer.sizes, wanted));
        let size = sizes.max_by_key(|size| size.pixels())?;
        Some(Choice { coding, size })
    })
}

/// The size asked for if it is there, else the largest that is no larger than a page may be.
fn fitting(sizes: Sizes, wanted: Option<Size>) -> Option<Size> {
    let size = match (sizes, wanted) {
        (Sizes::One(size), None) => size,
        (Sizes::One(size), Some(wanted)) => (size == wanted).then_some(size)?,
        (Sizes::Steps { min, max, step }, Some(wanted)) => {
            let is_width = is_step(wanted.width, [min.width, max.width], step.width);
            let is_height = is_step(wanted.height, [min.height, max.height], step.height);
            (is_width && is_height).then_some(wanted)?
        }
        (Sizes::Steps { min, max, step }, None) => {
            let divisors = 1..=u32::try_from(limits::SIDE_PX_MAX).unwrap_or(u32::MAX);
            let scaled = |divisor| Size {
                width: at_step(max.width / divisor, min.width, step.width),
                height: at_step(max.height / divisor, min.height, step.height),
            };
            divisors.map(scaled).find(|size| is_page(*size))?
        }
    };
    is_page(size).then_some(size)
}

fn is_page(size: Size) -> bool {
    let side_min = limits::SIDE_PX_MIN as u32;
    size.width.min(size.height) >= side_min && size.pixels() <= limits::PAGE_PX_MAX as u64
}

fn is_step(value: u32, [min, max]: [u32; 2], step: u32) -> bool {
    (min..=max).contains(&value) && (value - min).is_multiple_of(step.max(1))
}

/// The largest step that is not above `value`, `min` at least.
fn at_step(value: u32, min: u32, step: u32) -> u32 {
    let above = value.saturating_sub(min);
    min + above - above % step.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    fn one(coding: Coding, width: u32, height: u32) -> Offer {
        let sizes = Sizes::One(size(width, height));
        Offer { coding, sizes }
    }

    #[track_caller]
    fn check(offers: &[Offer], wanted: Option<Size>, expected: Option<(Coding, Size)>) {
        let found = choose(offers, wanted).map(|choice| (choice.coding, choice.size));
        assert_eq!(found, expected);
    }

    #[test]
    fn mjpg_at_full_size_comes_first() {
        use Coding::{Mjpg, Yuyv};
        let offers = [
            one(Yuyv, 640, 480),
            one(Yuyv, 3_264, 2_448),
            one(Mjpg, 640, 480),
            one(Mjpg, 2_592, 1_944),
            one(Mjpg, 1_920, 1_080),
        ];
        check(&offers, None, Some((Mjpg, size(2_592, 1_944))));
        check(&offers[..2], None, Some((Yuyv, size(3_264, 2_448))));
        check(&offers, Some(size(640, 480)), Some((Mjpg, size(640, 480))));
        check(
            &offers,
            Some(size(3_264, 2_448)),
            Some((Yuyv, size(3_264, 2_448))),
        );
        check(&offers, Some(size(800, 600)), None);
        check(&[], None, None);
    }

    #[test]
    fn what_is_larger_than_a_page_is_left_out() {
        use Coding::Mjpg;
        let offers = [
            one(Mjpg, 8_000, 6_000),
            one(Mjpg, 4_000, 3_000),
            one(Mjpg, 32, 32),
        ];
        check(&offers, None, Some((Mjpg, size(4_000, 3_000))));
        check(&offers[2..], None, None);
        check(&offers, Some(size(8_000, 6_000)), None);
    }

    #[test]
    fn steps_have_a_largest_size_too() {
        use Coding::Yuyv;
        let steps = |max, step| {
            let sizes = Sizes::Steps {
                min: size(48, 32),
                max,
                step,
            };
            [Offer {
                coding: Yuyv,
                sizes,
            }]
        };
        let fine = steps(size(1_920, 1_200), size(2, 1));
        check(&fine, None, Some((Yuyv, size(1_920, 1_200))));
        check(
            &fine,
            Some(size(1_000, 701)),
            Some((Yuyv, size(1_000, 701))),
        );
        check(&fine, Some(size(1_001, 701)), None);
        let huge = steps(size(8_192, 8_192), size(16, 16));
        check(&huge, None, Some((Yuyv, size(2_720, 2_720))));
        // A step of nothing is any.
        check(
            &steps(size(640, 480), size(0, 0)),
            None,
            Some((Yuyv, size(640, 480))),
        );
    }
}
