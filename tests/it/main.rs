//! What the product as a whole must hold.

mod nn;
mod tidy;
