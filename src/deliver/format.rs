//! The output formats, one a file. To add one: copy `csv.rs`, implement `Format`, add a line to
//! `FORMATS`.

pub mod csv;
pub mod json;
pub mod native;
pub mod wfdb;
