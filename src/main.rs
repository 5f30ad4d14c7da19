//! The program: settles the allocator, reads the command line, hands over.

use std::process::ExitCode;

use clap::Parser;
use leadscan::cli::{self, Cli};
use leadscan::memory::{self, Counting};

#[global_allocator]
static HEAP: Counting = Counting::new();

fn main() -> ExitCode {
    memory::settle_allocator();
    cli::run(&Cli::parse(), &HEAP).into()
}
