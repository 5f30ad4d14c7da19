//! How sharp a frame is, to choose between frames of the same scene.
//!
//! In: brightness of each pixel, 8 bits. Out: the mean square of the Laplacian of its 2 x 2 means
//! (so that the sensor's noise counts less), in squared steps of brightness. It grows with fine
//! detail; only numbers of one scene at one size can be compared. Integers: the same everywhere.

/// Brightness of a frame, row by row.
pub struct Luma {
    pub width: usize,
    pub height: usize,
    pub values: Vec<u8>,
}

/// The mean square of the Laplacian; 0 where the frame has no inside.
pub fn sharpness(luma: &Luma) -> u64 {
    let (width, height) = (luma.width / 2, luma.height / 2);
    let row = |y: usize| -> Vec<i64> {
        let at = |x: usize, y: usize| i64::from(luma.values[y * luma.width + x]);
        let block = |x| {
            let (x, y) = (2 * x, 2 * y);
            at(x, y) + at(x + 1, y) + at(x, y + 1) + at(x + 1, y + 1)
        };
        (0..width).map(block).collect()
    };
    if width < 3 || height < 3 {
        return 0;
    }
    let mut rows = [row(0), row(1), row(2)];
    let mut sum = 0;
    for y in 1..height - 1 {
        let [above, here, below] = &rows;
        for x in 1..width - 1 {
            let around = above[x] + below[x] + here[x - 1] + here[x + 1];
            let laplacian = around - 4 * here[x];
            sum += laplacian.unsigned_abs().pow(2);
        }
        if y + 2 < height {
            rows.rotate_left(1);
            rows[2] = row(y + 2);
        }
    }
    // Blocks are sums of four: 16 in the square.
    sum / (16 * ((width - 2) * (height - 2)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dark lines on a light ground, blurred by a box of that many pixels.
    fn lines(blur: usize) -> Luma {
        let (width, height) = (96, 64);
        let ink = |x: usize| if x % 12 < 2 { 40 } else { 230 };
        let value = |k: usize| {
            let x = k % width;
            let sum: usize = (0..blur).map(|d| ink(x + d)).sum();
            (sum / blur) as u8
        };
        let values = (0..width * height).map(value).collect();
        Luma {
            width,
            height,
            values,
        }
    }

    #[test]
    fn blur_makes_a_frame_less_sharp() {
        let found = [1, 2, 4, 8].map(|blur| sharpness(&lines(blur)));
        assert!(found.is_sorted_by(|a, b| a > b), "{found:?}");
        assert!(found[0] > 4 * found[2], "{found:?}");
    }

    #[test]
    fn nothing_to_see_is_not_sharp() {
        let flat = |width, height| Luma {
            width,
            height,
            values: vec![90; width * height],
        };
        for (width, height) in [(0, 0), (5, 40), (40, 5), (31, 17)] {
            assert_eq!(sharpness(&flat(width, height)), 0);
        }
    }
}
