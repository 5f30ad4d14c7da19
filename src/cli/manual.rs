//! `leadscan man` and `leadscan completions`: what is known of the command line, for manuals and
//! shells.
//!
//! In: a folder, or a shell's name. Out: `leadscan.1` and a page a subcommand in the folder, or the
//! shell's script on stdout. Both are made of `arguments.rs`, so that they cannot say otherwise.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::{Cli, CompletionsArguments, ManArguments};
use super::{ExitStatus, UsageError};

/// Writes the manual pages.
pub fn man(arguments: &ManArguments) -> Result<ExitStatus, UsageError> {
    let folder = &arguments.out;
    let unwritten = |error| UsageError::OutFolder {
        path: folder.clone(),
        error,
    };
    std::fs::create_dir_all(folder).map_err(unwritten)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(unwritten)?;
    Ok(ExitStatus::Done)
}

/// Prints the completions of a shell.
pub fn completions(arguments: &CompletionsArguments) -> Result<ExitStatus, UsageError> {
    let mut script = Vec::new();
    let shell: Shell = arguments.shell;
    clap_complete::generate(shell, &mut Cli::command(), "leadscan", &mut script);
    std::io::stdout()
        .lock()
        .write_all(&script)
        .map_err(UsageError::Stdout)?;
    Ok(ExitStatus::Done)
}
