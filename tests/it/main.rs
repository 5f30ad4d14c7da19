//! What the product as a whole must hold: edges, formats, the command, the rules of the house.

mod capture;
mod cli;
mod deliver;
mod links;
mod nn;
mod pages;
mod serve;
mod tidy;
