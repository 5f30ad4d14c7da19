//! Tests of the program as a whole: edges, formats, the command.

mod capture;
mod cli;
mod deliver;
mod nn;
