//! What the product as a whole must hold: edges, formats, the command, the rules of the house.

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
