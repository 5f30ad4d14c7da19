//! What systemd is told: ready, how it stands, that all parts move, that it ends.
//!
//! Out: datagrams to `NOTIFY_SOCKET`; without one nothing is sent and nothing is wrong. What systemd
//! does not take it will miss, and act on: there is nothing to do about it here.

use std::time::Duration;

use sd_notify::NotifyState;

/// Half of what the unit allows, as `sd_watchdog_enabled(3)` advises; `None` where it asks for none.
pub fn watchdog_every() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
}

pub fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

pub fn status(text: &str) {
    let _ = sd_notify::notify(&[NotifyState::Status(text)]);
}

pub fn alive() {
    let _ = sd_notify::notify(&[NotifyState::Watchdog]);
}

pub fn ending() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}
