//! One trace's line, column by column.
//!
//! In: the trace net's raw map of each tile along a strip. Out: `Line`: for each pixel column of
//! the strip the height of the line's centre, in `InPanel` pixels, or `None` where there is none.
//! A gap stays a gap. The net gives a posterior of the line's height per column, with a bin for
//! "absent"; dynamic programming finds the path through it, and the posterior's mean near the path
//! is the sub-pixel centre: unlike a mask's centre it does not halve narrow peaks.
//!
//! ```text
//!   raw map --softmax per column--> Posterior --clean--> Posterior --follow--> Line
//! ```

pub mod clean;
pub mod follow;
mod ink;
pub mod leaps;
pub mod merged;
pub mod posterior;
pub mod rows;
pub mod spikes;
pub mod unread;

pub use clean::Mask;
pub use follow::{Line, follow};
pub use posterior::{Posterior, ReadError};
