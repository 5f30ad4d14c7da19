//! Physical quantities, one type each.
//!
//! A bare `f32` is a ratio or local to one expression; everything that crosses a function is one of
//! these. The inner value is public: any finite value is valid, and `is_finite` is checked where a
//! quantity enters from outside.

use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub f32);

        impl std::ops::Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self { Self(self.0 + other.0) }
        }
        impl std::ops::Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self { Self(self.0 - other.0) }
        }
        impl std::ops::Mul<f32> for $name {
            type Output = Self;
            fn mul(self, ratio: f32) -> Self { Self(self.0 * ratio) }
        }
        impl std::ops::Neg for $name {
            type Output = Self;
            fn neg(self) -> Self { Self(-self.0) }
        }
        impl std::ops::Div for $name {
            type Output = f32;
            fn div(self, other: Self) -> f32 { self.0 / other.0 }
        }
    )+};
}

quantity! {
    /// Millimetres on the paper.
    Mm,
    /// Paper speed.
    MmPerSecond,
    /// Gain, as printed on the page.
    MmPerMillivolt,
    Millivolt,
    Seconds,
    /// Resolution of a raster along one axis.
    PxPerMm,
    Hertz,
    /// Angles are clockwise as seen on the picture.
    Degrees,
}

impl Mm {
    /// Time that this length of paper takes.
    pub fn at(self, speed: MmPerSecond) -> Seconds {
        Seconds(self.0 / speed.0)
    }
}

impl Seconds {
    /// Length of paper that this time takes.
    pub fn at(self, speed: MmPerSecond) -> Mm {
        Mm(self.0 * speed.0)
    }
}
