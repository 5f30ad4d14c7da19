//! `leadscan export`: records that a device delivered, in other formats.
//!
//! In: `.lsr` files. Out: the files of `digitize` in the output folder, one line on stderr for each
//! record that cannot be read or written; the others go on.

use std::path::Path;

use super::arguments::ExportArguments;
use super::console::complain;
use super::{ExitStatus, UsageError};
use crate::deliver::{Format, decode_native, deliver_record, format_named};
use crate::limits;

/// Writes all records that can be read.
pub fn export(arguments: &ExportArguments) -> Result<ExitStatus, UsageError> {
    std::fs::create_dir_all(&arguments.out).map_err(|error| UsageError::OutFolder {
        path: arguments.out.clone(),
        error,
    })?;
    let names = arguments.format.iter();
    let formats: Vec<_> = names.filter_map(|name| format_named(name)).collect();
    let mut failed = 0;
    for path in &arguments.records {
        if let Err(reason) = write(path, &formats, &arguments.out) {
            complain(&format!("{}: {reason}", path.display()));
            failed += 1;
        }
    }
    Ok(if failed > 0 {
        ExitStatus::PagesFailed
    } else {
        ExitStatus::Done
    })
}

fn write(path: &Path, formats: &[&dyn Format], out: &Path) -> Result<(), String> {
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    let max = limits::NATIVE_BYTES_MAX as u64;
    if about.len() > max {
        return Err(format!("{} bytes; a record has at most {max}", about.len()));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let record = decode_native(&bytes).map_err(|error| error.to_string())?;
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let id = stem.ok_or("its name is no UTF-8 text")?;
    for format in formats {
        format.check_id(id)?;
    }
    let written = deliver_record(&record, id, formats, out);
    written.map(drop).map_err(|error| error.to_string())
}
