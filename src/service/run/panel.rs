//! The front panel's part in the service: presses become events, conditions become light.
//!
//! A device without a panel is one whose panel nobody presses and nobody sees. What the panel cannot
//! show is shown by the log and the status all the same.

use tokio::sync::mpsc;

use super::{Level, Service};
use crate::front::{Flash, Light, Panel, PanelError, PanelEvent, Press};
use crate::limits;
use crate::nets::Nets;
use crate::service::{Condition, Event, Signal};

/// The panel, where there is one.
pub struct Front {
    panel: Option<Panel>,
    /// What is wrong with it now.
    pub trouble: Option<String>,
}

impl Front {
    pub fn start(
        settings: Option<&toml::Table>,
    ) -> Result<(Self, mpsc::Receiver<PanelEvent>), PanelError> {
        let (tell, told) = mpsc::channel(limits::PANEL_EVENTS_MAX);
        // It must not wait: whoever presses faster than the service looks has been seen already.
        let tell = move |event| drop(tell.try_send(event));
        let panel = settings.map(|settings| Panel::start(settings, tell));
        let front = Self {
            panel: panel.transpose()?,
            trouble: None,
        };
        Ok((front, told))
    }

    pub fn show(&self, condition: Condition) {
        let light = match condition {
            Condition::Ready => Light::Ready,
            Condition::Working => Light::Working,
            Condition::Warning => Light::Warning,
            Condition::Error => Light::Error,
        };
        // A panel that lags has said so by an event.
        let _ = self.panel.as_ref().map(|panel| panel.show(light));
    }

    pub fn signal(&self, signal: Signal) {
        let flash = match signal {
            Signal::Accepted => Flash::Accepted,
            Signal::Busy => Flash::Busy,
            Signal::Refused => Flash::Refused,
        };
        let _ = self.panel.as_ref().map(|panel| panel.flash(flash));
    }
}

impl<N: Nets + Send + Sync + 'static> Service<N> {
    /// What somebody did to the panel, or what became of it.
    pub(super) fn touched(&mut self, event: PanelEvent) -> Option<Event> {
        match event {
            PanelEvent::Press(press) => {
                let text = format!("button: {}", press.name());
                self.voice.say(Level::Info, "pressed", None, &text);
                self.pressed(press)
            }
            PanelEvent::Stuck => {
                self.trouble_with_panel(Some("the button is held down, or stuck".to_owned()))
            }
            PanelEvent::Failed(reason) => self.trouble_with_panel(Some(reason)),
            PanelEvent::Released | PanelEvent::Restored => self.trouble_with_panel(None),
        }
    }

    fn pressed(&mut self, press: Press) -> Option<Event> {
        match press {
            Press::Capture if self.report.sources.is_empty() => {
                let text = "no page can be captured: the configuration has no [[source]]";
                self.voice.say(Level::Warning, "no_source", None, text);
                self.panel.signal(Signal::Refused);
                None
            }
            Press::Capture => Some(Event::Wanted { source: 0 }),
            Press::Cancel => Some(Event::Cancelled),
            Press::Shutdown => Some(Event::SwitchOff),
        }
    }

    fn trouble_with_panel(&mut self, trouble: Option<String>) -> Option<Event> {
        let (level, text) = match &trouble {
            Some(trouble) => (Level::Error, format!("panel: {trouble}")),
            None => (Level::Info, "panel: works again".to_owned()),
        };
        self.voice.say(level, "panel", None, &text);
        self.panel.trouble = trouble;
        Some(Event::Looked)
    }
}
