//! One page, from pixels to a record.
//!
//! In: a `RawImage`, the nets, the options. Out: a `Record`, rejected where the page was not
//! understood. The only place that knows the order of the steps.

pub use crate::nets::*;
