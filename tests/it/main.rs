//! What the product as a whole must hold: edges, formats, the command, the rules of the house.

mod bill;
// A build without these features lacks what the shipped files use.
#[cfg(all(feature = "camera", feature = "gpio", feature = "mqtt"))]
mod board;
mod capture;
mod cli;
mod deliver;
mod gate;
mod links;
mod nn;
mod pages;
#[cfg(feature = "barcode")]
mod reference;
mod serve;
mod sources;
mod tidy;
mod tools;
mod unit;

/// Whether full counts are asked for, instead of samples: `scripts/test --long`.
fn is_long() -> bool {
    std::env::var_os("LEADSCAN_LONG").is_some()
}

/// How many of something are tried.
fn sampled<T>(few: T, all: T) -> T {
    if is_long() { all } else { few }
}
