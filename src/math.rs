//! Functions whose last digits the C library decides, the same on every processor here.
//!
//! In: numbers, angles in radians. Out: the same bits everywhere. IEEE 754 fixes `+ - * /`, `sqrt`,
//! rounding and remainder; sines, exponentials and the like differ between C libraries and between
//! processors, a search that takes the best of a few steps then takes another step, and the page
//! comes out some microvolts off. So nothing outside this file calls the standard library's (a test
//! holds it). Infinite or undefined where the standard library's are; never fails.

/// Sine and cosine.
pub fn sin_cos(angle: f32) -> (f32, f32) {
    libm::sincosf(angle)
}

pub fn sin_cos_f64(angle: f64) -> (f64, f64) {
    libm::sincos(angle)
}

pub fn cos(angle: f32) -> f32 {
    libm::cosf(angle)
}

/// Angle of the point (x, y), from -pi to pi.
pub fn atan2(y: f32, x: f32) -> f32 {
    libm::atan2f(y, x)
}

/// Length of the vector (x, y).
pub fn hypot(x: f32, y: f32) -> f32 {
    libm::hypotf(x, y)
}

pub fn hypot_f64(x: f64, y: f64) -> f64 {
    libm::hypot(x, y)
}

pub fn exp(x: f32) -> f32 {
    libm::expf(x)
}

pub fn ln(x: f32) -> f32 {
    libm::logf(x)
}

pub fn log10(x: f32) -> f32 {
    libm::log10f(x)
}

/// Exponential to 1 part in 100,000, of -86 to 86: vector code where there are many.
pub fn exp_near(x: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves the nearest integer in the lowest bits of the mantissa.
    const SHIFT: f32 = 12_582_912.0;
    const MANTISSA_BITS: u32 = 23;
    const BIAS: u32 = 127;
    // Taylor's for 2^t, t from -0.5 to 0.5, highest power last.
    const SERIES: [f32; 6] = [
        1.0,
        std::f32::consts::LN_2,
        0.240_226_5,
        0.055_504_11,
        0.009_618_13,
        0.001_333_36,
    ];
    let halvings = (x * std::f32::consts::LOG2_E).clamp(-125.0, 125.0);
    let shifted = halvings + SHIFT;
    let off = halvings - (shifted - SHIFT);
    let whole = shifted.to_bits().wrapping_sub(SHIFT.to_bits());
    let power = f32::from_bits(whole.wrapping_add(BIAS) << MANTISSA_BITS);
    power * SERIES.iter().rev().fold(0.0, |sum, part| sum * off + part)
}

/// Base 10 logarithm of a positive, normal number, to 1e-5: vector code where there are many.
pub fn log10_near(x: f32) -> f32 {
    const MANTISSA_BITS: u32 = 23;
    const BIAS: u32 = 127;
    // Least squares at Chebyshev's places of 1 to 2, highest power last.
    const SERIES: [f32; 6] = [
        -0.841_124,
        1.526_148_7,
        -1.059_691_4,
        0.484_711_74,
        -0.123_264_43,
        0.013_223_834,
    ];
    let bits = x.to_bits();
    let exponent = (bits >> MANTISSA_BITS) as i32 - BIAS as i32;
    let mantissa = f32::from_bits(bits & ((1 << MANTISSA_BITS) - 1) | BIAS << MANTISSA_BITS);
    let series = SERIES
        .iter()
        .rev()
        .fold(0.0, |sum, part| sum * mantissa + part);
    exponent as f32 * std::f32::consts::LOG10_2 + series
}

pub fn square(x: f32) -> f32 {
    x * x
}

/// The middle one, the upper of two; `None` of nothing.
pub fn median(mut values: Vec<f32>) -> Option<f32> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_near_exponential_is_near() {
        for k in -8600..8600 {
            let x = k as f32 * 0.01;
            let off = exp_near(x) / exp(x) - 1.0;
            assert!(off.abs() < 1e-5, "{off} at {x}");
        }
        assert!(exp_near(-1e9) < 1e-37);
    }

    #[test]
    fn the_near_logarithm_is_near() {
        for k in 0..4000 {
            let x = 1e-12 * exp(k as f32 * 0.015);
            let off = log10_near(x) - log10(x);
            assert!(off.abs() < 1e-5, "{off} at {x}");
        }
    }

    /// The functions at `x`, to the bit.
    fn check(x: f32, bits: [u32; 8]) {
        let (sin, cosine) = sin_cos(x);
        let found = [
            sin,
            cosine,
            cos(x),
            atan2(x, 0.7),
            hypot(x, 0.3),
            exp(x),
            ln(x.abs()),
            log10(x.abs()),
        ];
        assert_eq!(found.map(f32::to_bits), bits, "at {x}: {found:?}");
    }

    #[test]
    fn the_bits_are_these_on_every_processor() {
        check(
            0.1,
            [
                0x3dcc_7577,
                0x3f7e_b898,
                0x3f7e_b898,
                0x3e11_4d77,
                0x3ea1_e89c,
                0x3f8d_763e,
                0xc013_5d8e,
                0xbf80_0000,
            ],
        );
        check(
            -2.7,
            [
                0xbeda_d188,
                0xbf67_7146,
                0xbf67_7146,
                0xbfa8_9776,
                0x402d_dd08,
                0x3d89_a30b,
                0x3f7e_45c0,
                0x3edc_dbb6,
            ],
        );
        check(
            23.456,
            [
                0xbf7e_908a,
                0xbdd8_921d,
                0xbdd8_921d,
                0x3fc5_3e3f,
                0x41bb_a9d1,
                0x5065_1a6d,
                0x4049_ed97,
                0x3faf_647b,
            ],
        );
        let (sin, cosine) = sin_cos_f64(2.7);
        let found = [sin, cosine, hypot_f64(2.7, 0.3)];
        let bits = [
            0x3fdb_5a31_2424_a70c,
            0xbfec_ee28_b366_03a6,
            0x4005_bba0_edd2_5cf8,
        ];
        assert_eq!(found.map(f64::to_bits), bits, "{found:?}");
    }

    #[test]
    fn they_are_the_functions_that_they_are_called() {
        for x in [-9.5f32, -1.2, -0.001, 0.4, 3.0, 77.0] {
            let near =
                |a: f32, b: f32| assert!((a - b).abs() <= 2e-7 * b.abs().max(1.0), "{a} {b}");
            near(sin_cos(x).0, x.sin());
            near(sin_cos(x).1, x.cos());
            near(cos(x), x.cos());
            near(atan2(x, -0.7), x.atan2(-0.7));
            near(hypot(x, 0.3), x.hypot(0.3));
            near(exp(-x.abs()), (-x.abs()).exp());
            near(ln(x.abs()), x.abs().ln());
            near(log10(x.abs()), x.abs().log10());
        }
    }
}
