//! The front panel: one button and one light, for a device that stands alone by a bed.
//!
//! In: settings, what is to be shown. Out: `PanelEvent`s, each given to a function on the panel's
//! thread. The button and the light are pure, in `button` and `light`; `lines` drives what they are
//! wired to; `turns` brings them together.
//!
//! The thread looks every `limits::PANEL_STEP_MS` for what it is told, and sleeps in between until
//! an edge comes or the light changes. Lines that are not there, or go away, end nothing: that is
//! told once as `Failed`, and they are opened again until they work. Settings that cannot be used
//! are refused at the start. A killed process leaves the light as it was. Times: milliseconds.

mod button;
#[cfg(all(feature = "gpio", target_os = "linux"))]
mod character;
mod light;
mod lines;
#[cfg(all(feature = "rppal", target_os = "linux"))]
mod pi;
#[cfg(test)]
mod recorded;
mod settings;
mod turns;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use crate::limits::{PANEL_COMMANDS_MAX, PANEL_END_MS_MAX};

use lines::{Opened, now_us, opener};
use settings::Settings;
use turns::Turns;

pub use button::{Button, ButtonEvent, CANCEL_MS, Edge, Press, SHUTDOWN_MS, STUCK_MS};
pub use light::{Flash, Level, Light, level};

/// What the panel has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PanelEvent {
    Press(Press),
    /// The button is held down for longer than anybody does: it will do nothing until it is up.
    Stuck,
    /// It is up again.
    Released,
    /// Button and light do not work: why. They are tried again.
    Failed(String),
    /// They work again.
    Restored,
}

/// Who can mend what is wrong with a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    Operator,
    Technician,
    Bug,
}

/// Why a panel does not work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PanelError {
    #[error("{reason}")]
    Settings { reason: String },
    #[error(
        "backend {backend:?} is not built into this leadscan: build it with the feature {feature:?}"
    )]
    NotBuilt {
        backend: &'static str,
        feature: &'static str,
    },
    #[error(
        "there is no GPIO chip: /dev/gpiochip* comes with the kernel's driver of the board; a \
         device without button and light has no [panel]"
    )]
    NoChip,
    #[error(
        "this is no Raspberry Pi that rppal knows: take backend = \"gpiocdev\", with button_line \
         and light_line"
    )]
    NoPi,
    #[error(
        "{path} may not be opened: add the user that leadscan runs as to the group gpio and start \
         leadscan again",
        path = path.display()
    )]
    Denied { path: PathBuf },
    #[error("there is no GPIO line {line}: there are {there}", there = list(there))]
    NoLine { line: String, there: Vec<String> },
    #[error(
        "two GPIO lines are named {name:?}: take chip and offsets instead of names, of {places}",
        places = list(places)
    )]
    TwoLines { name: String, places: Vec<String> },
    #[error("{line} is in use by {by:?}: end that, or take another line")]
    InUse { line: String, by: String },
    #[error("{device}: {reason}")]
    Failed { device: String, reason: String },
    #[error("the panel's thread cannot be started: {reason}")]
    Thread { reason: String },
}

impl PanelError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Settings { .. }
            | Self::NotBuilt { .. }
            | Self::NoChip
            | Self::NoPi
            | Self::Denied { .. }
            | Self::NoLine { .. }
            | Self::TwoLines { .. }
            | Self::InUse { .. }
            | Self::Failed { .. }
            | Self::Thread { .. } => ErrorKind::Technician,
        }
    }
}

fn list(words: &[String]) -> String {
    if words.is_empty() {
        return "none with a name".to_owned();
    }
    words.join(", ")
}

/// The panel's thread does not keep up, or has ended: what it was told is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the panel's thread does not keep up")]
pub struct Lagging;

enum Command {
    Show(Light),
    Flash(Flash),
}

/// A button and a light with their thread; dropped, the light is out.
pub struct Panel {
    commands: Option<SyncSender<Command>>,
    ended: Receiver<()>,
}

/// Whether a panel can be made of these settings; nothing is opened.
pub fn check_settings(settings: &toml::Table) -> Result<(), PanelError> {
    opener(&Settings::read(settings)?).map(drop)
}

impl Panel {
    /// A panel that shows `Light::Working` until it is told otherwise. `tell` is called on its
    /// thread, which does nothing else meanwhile: it must not wait.
    pub fn start(
        settings: &toml::Table,
        tell: impl Fn(PanelEvent) + Send + 'static,
    ) -> Result<Self, PanelError> {
        let settings = Settings::read(settings)?;
        let open = opener(&settings)?;
        Self::start_with(settings.debounce_ms, move || open(&settings), tell)
    }

    /// Opens what the settings name, and says in a line what was found.
    pub fn check(settings: &toml::Table) -> Result<String, PanelError> {
        let settings = Settings::read(settings)?;
        let mut lines = opener(&settings)?(&settings)?;
        let state = if lines.is_pressed()? {
            "pressed: if nobody presses it, see button_active_low and button_pull"
        } else {
            "up"
        };
        Ok(format!("{}; the button is {state}", lines.about()))
    }

    /// Shows a state from now on.
    pub fn show(&self, light: Light) -> Result<(), Lagging> {
        self.command(Command::Show(light))
    }

    /// Answers once, over what is shown.
    pub fn flash(&self, flash: Flash) -> Result<(), Lagging> {
        self.command(Command::Flash(flash))
    }

    fn command(&self, command: Command) -> Result<(), Lagging> {
        let commands = self.commands.as_ref().ok_or(Lagging)?;
        commands.try_send(command).map_err(|_| Lagging)
    }

    fn start_with(
        settle_ms: u64,
        open: impl FnMut() -> Opened + Send + 'static,
        tell: impl Fn(PanelEvent) + Send + 'static,
    ) -> Result<Self, PanelError> {
        let (give, commands) = sync_channel(PANEL_COMMANDS_MAX);
        let (alive, ended) = sync_channel(1);
        let turns = Turns::new(settle_ms, open, tell, now_us() / 1_000);
        let thread = std::thread::Builder::new().name("panel".to_owned());
        let started = thread.spawn(move || {
            run(turns, &commands);
            drop(alive);
        });
        started.map_err(|error| PanelError::Thread {
            reason: error.to_string(),
        })?;
        Ok(Self {
            commands: Some(give),
            ended,
        })
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        drop(self.commands.take());
        let wait = Duration::from_millis(PANEL_END_MS_MAX);
        match self.ended.recv_timeout(wait) {
            // It has ended, or it is held up by whom it tells: then it ends when it is let go.
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}

fn run<O, E>(mut turns: Turns<O, E>, commands: &Receiver<Command>)
where
    O: FnMut() -> Opened,
    E: Fn(PanelEvent),
{
    let mut edge = None;
    loop {
        let now_ms = now_us() / 1_000;
        for _ in 0..PANEL_COMMANDS_MAX {
            match commands.try_recv() {
                Ok(Command::Show(light)) => turns.show(light, now_ms),
                Ok(Command::Flash(flash)) => turns.flash(flash, now_ms),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return turns.end(),
            }
        }
        let next_ms = turns.turn(now_ms, edge.take());
        let wait_us = (next_ms * 1_000).saturating_sub(now_us());
        edge = turns.wait(Duration::from_micros(wait_us), now_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::recorded::Recorded;
    use super::*;

    fn table(text: &str) -> toml::Table {
        toml::from_str(text).unwrap()
    }

    fn started(recorded: &Recorded) -> (Panel, Receiver<PanelEvent>) {
        let (give, told) = mpsc::channel();
        let lines = recorded.clone();
        let tell = move |event| give.send(event).unwrap();
        (
            Panel::start_with(5, move || lines.open(), tell).unwrap(),
            told,
        )
    }

    #[test]
    fn a_press_is_told_by_the_thread() {
        let recorded = Recorded::default();
        let (panel, told) = started(&recorded);
        recorded.wait_until("open", |record| record.opens == 1);
        let now_ms = now_us() / 1_000;
        for (is_pressed, at_ms) in [(true, now_ms), (false, now_ms + 50)] {
            recorded.give(Edge { is_pressed, at_ms });
        }
        let event = told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(event, PanelEvent::Press(Press::Capture));
        drop(panel);
        assert!(
            told.recv_timeout(Duration::from_secs(10)).is_err(),
            "the thread has ended"
        );
    }

    #[test]
    fn what_is_to_be_shown_is_and_the_end_is_dark() {
        let recorded = Recorded::default();
        let (panel, _told) = started(&recorded);
        panel.show(Light::Off).unwrap();
        recorded.wait_until("off", |record| record.opens == 1 && !record.is_lit);
        panel.show(Light::Ready).unwrap();
        recorded.wait_until("ready", |record| record.is_lit);
        panel.flash(Flash::Accepted).unwrap();
        recorded.wait_until("the gap", |record| !record.is_lit);
        recorded.wait_until("the flash", |record| record.is_lit);
        drop(panel);
        assert!(!recorded.record().is_lit);
    }

    #[test]
    fn a_thread_that_is_held_up_takes_no_more_and_holds_nobody_up() {
        let recorded = Recorded::default();
        recorded.record().is_absent = true;
        let lines = recorded.clone();
        let (release, held) = mpsc::channel::<()>();
        let tell = move |_| assert!(held.recv().is_err(), "let go by the test's end");
        let panel = Panel::start_with(5, move || lines.open(), tell).unwrap();
        recorded.wait_until("held up", |record| record.opens == 1);
        let refused = (0..100).find(|_| panel.show(Light::Ready).is_err());
        assert!(
            refused.is_some_and(|count| count <= 2 * PANEL_COMMANDS_MAX),
            "{refused:?}"
        );
        drop(panel);
        drop(release);
    }

    #[test]
    fn settings_are_checked_before_anything_is_opened() {
        let good = "backend = \"gpiocdev\"\nbutton_line = \"A\"\nlight_line = \"B\"";
        let checked = check_settings(&table(good));
        if cfg!(all(feature = "gpio", target_os = "linux")) {
            checked.unwrap();
        } else {
            assert!(
                checked
                    .unwrap_err()
                    .to_string()
                    .contains("feature \"gpio\"")
            );
        }
        let error = check_settings(&table(&good.replace("light_line", "led_line"))).unwrap_err();
        assert!(error.to_string().contains("led_line"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Technician);
    }

    #[cfg(all(feature = "gpio", target_os = "linux"))]
    #[test]
    fn lines_that_are_not_there_are_told_with_what_to_do() {
        let settings = "backend = \"gpiocdev\"\nbutton_line = \"no such\"\nlight_line = \"line\"";
        let error = Panel::check(&table(settings)).unwrap_err().to_string();
        let has_fix = ["there are", "/dev/gpiochip*", "group gpio"];
        assert!(has_fix.iter().any(|fix| error.contains(fix)), "{error}");
    }

    #[cfg(all(feature = "rppal", target_os = "linux"))]
    #[test]
    fn no_raspberry_pi_is_told_with_what_to_do() {
        if std::path::Path::new("/dev/gpiomem").exists() {
            eprintln!("SKIPPED: this is a Raspberry Pi");
            return;
        }
        let settings = table("backend = \"rppal\"\nbutton_pin = 17\nlight_pin = 27");
        check_settings(&settings).unwrap();
        let error = Panel::check(&settings).unwrap_err();
        assert_eq!(error, PanelError::NoPi);
        assert!(error.to_string().contains("gpiocdev"), "{error}");
    }
}
