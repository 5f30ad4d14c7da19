//! What the core asks of the two nets.
//!
//! A `Picture` of bytes goes in, `RawMap`s of logits come out. The core knows no more of tract than
//! the `Nets` trait; tests stand in with recorded maps.

/// Bytes for a net, channels first: `data[(channel * height + y) * width + x]`.
///
/// Invariant: `data.len() == 3 * width * height`, both sides multiples of 32.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Picture {
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Self {
        assert!(width > 0 && height > 0, "a picture has pixels");
        assert!(
            width.is_multiple_of(32) && height.is_multiple_of(32),
            "{width} x {height} is no multiple of 32"
        );
        assert_eq!(data.len(), 3 * width * height, "three channels");
        Self {
            width,
            height,
            data,
        }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

/// One raw output of a net: `data[(channel * height + y) * width + x]`, logits.
#[derive(Clone, Debug, PartialEq)]
pub struct RawMap {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub data: Vec<f32>,
}

/// Why a net gave no answer; always our own bug or a lack of memory, never the page's fault.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the {net} net failed: {reason}")]
pub struct NetError {
    pub net: &'static str,
    pub reason: String,
}

/// The two nets. Real: `nn::TractNets`. In tests: recorded maps.
pub trait Nets {
    /// The labels net's six maps (`box8 cls8 box16 cls16 box32 cls32`) over an RGB picture.
    fn labels(&self, picture: &Picture) -> Result<Vec<RawMap>, NetError>;

    /// The trace net over `count` pictures, several at a time where there are threads: `draw`
    /// makes picture `k`, `read` takes its one map (8 channels at half resolution). Answers come
    /// back in order.
    fn traces<T: Send>(
        &self,
        count: usize,
        draw: &(dyn Fn(usize) -> Picture + Sync),
        read: &(dyn Fn(usize, RawMap) -> T + Sync),
    ) -> Result<Vec<T>, NetError>;

    /// Does `here`, and at the same time `beside` where there are threads for it; else that is left
    /// to the caller.
    fn with<A, B: Send>(
        &self,
        here: impl FnOnce() -> A,
        _beside: impl FnOnce() -> B + Send,
    ) -> (A, Option<B>) {
        (here(), None)
    }
}
