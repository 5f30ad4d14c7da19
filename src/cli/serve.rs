//! `leadscan serve`: the service, as a process.
//!
//! In: a configuration. Out: an `ExitStatus`: done when it was told to end, usage where the
//! configuration is wrong, which no restart mends. What happens is told on stderr, a line each.

use super::arguments::ServeArguments;
use super::console::complain;
use super::{ExitStatus, UsageError};
use crate::nn::{ModelFiles, TractNets};
use crate::service::config::Config;
use crate::service::run::{self, ServeError};

/// Serves until it is told to end.
pub fn serve(arguments: &ServeArguments) -> Result<ExitStatus, UsageError> {
    let config = Config::read(&arguments.config).map_err(ServeError::Config)?;
    // One thread beside the one for lines and files: a board has other work.
    let nets = TractNets::load(ModelFiles::bundled(), 1).map_err(UsageError::BundledModels)?;
    run::serve(&config, nets, complain)?;
    Ok(ExitStatus::Done)
}
