//! Rows of a scan made coarser as they come.
//!
//! In: rows of 8 bits a channel. Out: rows of the means of blocks of `factor` x `factor` pixels,
//! smaller ones at the right and lower edge. One row of sums is held.

pub struct Shrink {
    channels: usize,
    factor: usize,
    sums: Vec<u32>,
    /// Pixels that each column of blocks has in a row.
    columns: Vec<u32>,
    summed_rows: u32,
    row: Vec<u8>,
}

impl Shrink {
    /// For rows of `width` pixels; `factor` is at least 1.
    pub fn new(width: usize, channels: usize, factor: usize) -> Self {
        let width_out = width.div_ceil(factor);
        let columns = (0..width_out).map(|x| factor.min(width - x * factor) as u32);
        Self {
            channels,
            factor,
            sums: vec![0; channels * width_out],
            columns: columns.collect(),
            summed_rows: 0,
            row: Vec::with_capacity(channels * width_out),
        }
    }

    /// Pixels of a row that comes out.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Takes a row; a row that is whole by it.
    pub fn push(&mut self, row: &[u8]) -> Option<&[u8]> {
        for (x, pixel) in row.chunks_exact(self.channels).enumerate() {
            let at = self.channels * (x / self.factor);
            let sums = &mut self.sums[at..at + self.channels];
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += u32::from(*value);
            }
        }
        self.summed_rows += 1;
        (self.summed_rows as usize == self.factor).then(|| self.close())
    }

    /// The last row, of what is left.
    pub fn last(&mut self) -> Option<&[u8]> {
        (self.summed_rows > 0).then(|| self.close())
    }

    fn close(&mut self) -> &[u8] {
        self.row.clear();
        let blocks = self.sums.chunks_exact_mut(self.channels);
        for (sums, columns) in blocks.zip(&self.columns) {
            let count = columns * self.summed_rows;
            for sum in sums {
                self.row.push(((*sum + count / 2) / count) as u8);
                *sum = 0;
            }
        }
        self.summed_rows = 0;
        &self.row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rows: &[&[u8]], channels: usize, factor: usize, expected: &[&[u8]]) {
        let mut shrink = Shrink::new(rows[0].len() / channels, channels, factor);
        let mut found: Vec<Vec<u8>> = Vec::new();
        for row in rows {
            found.extend(shrink.push(row).map(<[u8]>::to_vec));
        }
        found.extend(shrink.last().map(<[u8]>::to_vec));
        assert_eq!(found, expected);
        assert_eq!(shrink.width() * channels, expected[0].len());
    }

    #[test]
    fn blocks_become_their_means() {
        check(&[b"abc", b"def"], 1, 1, &[b"abc", b"def"]);
        check(
            &[&[0, 2, 9], &[4, 5, 10], &[7, 8, 255]],
            1,
            2,
            &[&[3, 10], &[8, 255]],
        );
        check(
            &[&[10, 0, 0, 20, 3, 255], &[10, 0, 0, 20, 4, 255]],
            3,
            2,
            &[&[15, 2, 128]],
        );
        check(&[[255; 9].as_slice(); 9], 1, 4, &[[255; 3].as_slice(); 3]);
    }
}
