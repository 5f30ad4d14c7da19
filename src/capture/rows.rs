//! Rows of a picture as they are stored, made into RGB of 8 bits.
//!
//! In: rows from the top, 1 to 4 channels (grey, grey and alpha, RGB, RGBA) of 8 or 16 bits in the
//! machine's byte order. Out: `[r, g, b]` after `[r, g, b]`, alpha on white; the mean of blocks of
//! `reduction` x `reduction` pixels, smaller ones at the right and lower edge.

/// How a pixel is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub channels: Channels,
    pub depth: Depth,
}

/// What a pixel consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
}

/// Bits a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    Eight,
    Sixteen,
}

impl Layout {
    pub const GREY: Self = Self {
        channels: Channels::Grey,
        depth: Depth::Eight,
    };
    pub const RGB: Self = Self {
        channels: Channels::Rgb,
        depth: Depth::Eight,
    };

    pub fn pixel_bytes(self) -> usize {
        let channels = match self.channels {
            Channels::Grey => 1,
            Channels::GreyAlpha => 2,
            Channels::Rgb => 3,
            Channels::Rgba => 4,
        };
        match self.depth {
            Depth::Eight => channels,
            Depth::Sixteen => 2 * channels,
        }
    }

    fn rgb(self, pixel: &[u8]) -> [u8; 3] {
        let value = |k: usize| match self.depth {
            Depth::Eight => pixel[k],
            Depth::Sixteen => to_8_bits(u16::from_ne_bytes([pixel[2 * k], pixel[2 * k + 1]])),
        };
        match self.channels {
            Channels::Grey => [value(0); 3],
            Channels::GreyAlpha => [on_white(value(0), value(1)); 3],
            Channels::Rgb => [value(0), value(1), value(2)],
            Channels::Rgba => [0, 1, 2].map(|k| on_white(value(k), value(3))),
        }
    }
}

fn to_8_bits(value: u16) -> u8 {
    ((u32::from(value) + 128) / 257) as u8
}

fn on_white(value: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// Takes rows one by one and keeps the page only.
pub struct Rows {
    layout: Layout,
    width: usize,
    height: usize,
    reduction: usize,
    /// Sums over the block row that is being filled; empty at full size.
    sums: Vec<u32>,
    summed_rows: usize,
    taken_rows: usize,
    rgb: Vec<u8>,
}

impl Rows {
    /// For a picture of `width` x `height` as stored.
    pub fn new(layout: Layout, width: usize, height: usize, reduction: usize) -> Self {
        let (out_width, out_height) = (width.div_ceil(reduction), height.div_ceil(reduction));
        let sums = if reduction == 1 {
            Vec::new()
        } else {
            vec![0; 3 * out_width]
        };
        let rgb = Vec::with_capacity(3 * out_width * out_height);
        Self {
            layout,
            width,
            height,
            reduction,
            sums,
            summed_rows: 0,
            taken_rows: 0,
            rgb,
        }
    }

    /// Takes the next row; what is beyond its width, and rows beyond the height, are left out.
    pub fn push(&mut self, row: &[u8]) {
        if self.taken_rows == self.height {
            return;
        }
        self.taken_rows += 1;
        let (layout, width) = (self.layout, self.width);
        let pixels = row
            .chunks_exact(layout.pixel_bytes())
            .take(width)
            .map(|p| layout.rgb(p));
        if self.reduction == 1 {
            self.rgb.extend(pixels.flatten());
            return;
        }
        for (x, pixel) in pixels.enumerate() {
            let at = 3 * (x / self.reduction);
            for (sum, value) in self.sums[at..at + 3].iter_mut().zip(pixel) {
                *sum += u32::from(value);
            }
        }
        self.summed_rows += 1;
        if self.summed_rows == self.reduction || self.taken_rows == self.height {
            self.close_block_row();
        }
    }

    fn close_block_row(&mut self) {
        for (x, sum) in self.sums.chunks_exact_mut(3).enumerate() {
            let columns = self.reduction.min(self.width - x * self.reduction);
            let count = (columns * self.summed_rows) as u32;
            for value in sum {
                self.rgb.push(((*value + count / 2) / count) as u8);
                *value = 0;
            }
        }
        self.summed_rows = 0;
    }

    /// Width, height and pixels; `None` while rows are missing or were short.
    pub fn finish(self) -> Option<(usize, usize, Vec<u8>)> {
        let width = self.width.div_ceil(self.reduction);
        let height = self.height.div_ceil(self.reduction);
        (self.rgb.len() == 3 * width * height).then_some((width, height, self.rgb))
    }
}

/// Makes a whole picture RGB where it lies: `buffer` holds `pixel_count` pixels of `layout` at its
/// front, and is at least `3 * pixel_count` long.
pub fn to_rgb_in_place(layout: Layout, pixel_count: usize, buffer: &mut Vec<u8>) {
    let size = layout.pixel_bytes();
    let mut convert = |k: usize| {
        let rgb = layout.rgb(&buffer[size * k..size * (k + 1)]);
        buffer[3 * k..3 * k + 3].copy_from_slice(&rgb);
    };
    // Pixels that grow are made from the last one on, so that none is overwritten unread.
    if size < 3 {
        (0..pixel_count).rev().for_each(&mut convert);
    } else if layout != Layout::RGB {
        (0..pixel_count).for_each(&mut convert);
    }
    buffer.truncate(3 * pixel_count);
    buffer.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUTS: [Channels; 4] = [
        Channels::Grey,
        Channels::GreyAlpha,
        Channels::Rgb,
        Channels::Rgba,
    ];

    #[test]
    fn in_place_gives_what_rows_give() {
        for channels in LAYOUTS {
            for depth in [Depth::Eight, Depth::Sixteen] {
                let layout = Layout { channels, depth };
                let size = layout.pixel_bytes();
                let mut bytes: Vec<u8> = (0..7 * size).map(|k| (k * 37 % 256) as u8).collect();
                let mut rows = Rows::new(layout, 7, 1, 1);
                rows.push(&bytes);
                bytes.resize(bytes.len().max(21), 0);
                to_rgb_in_place(layout, 7, &mut bytes);
                assert_eq!(rows.finish().unwrap(), (7, 1, bytes), "{layout:?}");
            }
        }
    }

    #[test]
    fn transparent_is_white() {
        let layout = Layout {
            channels: Channels::Rgba,
            depth: Depth::Eight,
        };
        assert_eq!(layout.rgb(&[10, 20, 30, 0]), [255; 3]);
        assert_eq!(layout.rgb(&[10, 20, 30, 255]), [10, 20, 30]);
    }

    #[test]
    fn sixteen_bits_keep_black_and_white() {
        assert_eq!([0, 128, 129, 65_535].map(to_8_bits), [0, 0, 1, 255]);
    }

    #[test]
    fn a_reduced_page_is_the_mean_of_its_blocks() {
        let mut rows = Rows::new(Layout::GREY, 3, 3, 2);
        for row in [[0, 100, 7], [100, 200, 9], [50, 70, 255]] {
            rows.push(&row);
        }
        let (width, height, rgb) = rows.finish().unwrap();
        assert_eq!((width, height), (2, 2));
        let grey: Vec<u8> = rgb.chunks_exact(3).map(|p| p[0]).collect();
        assert_eq!(grey, [100, 8, 60, 255]);
    }

    #[test]
    fn a_missing_row_is_no_picture() {
        let mut rows = Rows::new(Layout::GREY, 3, 2, 1);
        rows.push(&[0, 0, 0]);
        assert!(rows.finish().is_none());
    }
}
