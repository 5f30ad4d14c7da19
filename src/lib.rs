#![cfg_attr(rustfmt, rustfmt_skip)]
//! leadscan turns a picture of a paper ECG into twelve calibrated signals.
//!
//! The modules are the path of a page, in order. What lies between `capture` and `deliver` is the
//! core: values in, values out, no file, clock, thread or print. `digitize` walks the core once,
//! `service` decides what happens when on a device that nobody watches.
//! Research use only, not a medical device.

pub mod limits;
pub mod units;
pub mod math;
pub mod stroke;

pub mod nets;

pub mod capture;
pub mod page;
pub mod grid;
pub mod labels;
pub mod layout;
pub mod crop;
pub mod trace;
pub mod calibration;
pub mod signal;
pub mod record;
pub mod deliver;

pub mod digitize;
pub mod testpage;
pub mod nn;

pub mod memory;

pub mod front;
pub mod web;

pub mod service;
pub mod cli;
