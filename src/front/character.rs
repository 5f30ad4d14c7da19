//! Lines by the kernel's GPIO character device: any board, Linux 5.10 or later.
//!
//! In: the lines' names, or their chip and offsets. Out: `Lines`. A name is looked for on every
//! chip, as chips change their numbers from kernel to kernel; one that is absent or there twice is
//! refused with what is there. The kernel is asked to debounce, and to pull the line; a chip or
//! kernel that can do neither is no error, as the button settles by itself too. An interrupted wait
//! brings no edge. A chip that goes away is an error of the next call.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gpiocdev::line::{Bias, EdgeDetection, EdgeKind, Value};
use gpiocdev::{Chip, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::PanelError;
use super::button::Edge;
use super::lines::{Lines, Opened};
use super::settings::{Place, Pull, Settings};
use crate::limits::PANEL_NAMES_MAX;

/// As whom the kernel knows us: `gpioinfo` shows it.
const CONSUMER: &str = "leadscan";

/// A line of this machine.
#[derive(Clone, Debug, Default)]
struct Line {
    chip: PathBuf,
    /// How else the chip is called.
    chip_names: [String; 2],
    offset: u32,
    name: String,
    used_by: Option<String>,
}

impl Line {
    fn place(&self) -> String {
        format!("{} line {}", self.chip.display(), self.offset)
    }

    fn about(&self) -> String {
        if self.name.is_empty() {
            return self.place();
        }
        format!("{} ({})", self.name, self.place())
    }

    fn is_on(&self, chip: &str) -> bool {
        self.chip == Path::new(chip) || self.chip_names.iter().any(|name| name == chip)
    }

    /// A line that nobody has.
    fn free(&self) -> Result<&Self, PanelError> {
        match &self.used_by {
            None => Ok(self),
            Some(by) => Err(PanelError::InUse {
                line: self.about(),
                by: by.clone(),
            }),
        }
    }

    fn failed(&self, error: impl ToString) -> PanelError {
        PanelError::Failed {
            device: self.about(),
            reason: error.to_string(),
        }
    }
}

struct Character {
    button: Request,
    light: Request,
    button_line: Line,
    light_line: Line,
    is_debounced: bool,
}

pub fn open(settings: &Settings) -> Opened {
    let lines = lines()?;
    let (button, light) = match &settings.place {
        Place::Names { button, light } => (named(&lines, button)?, named(&lines, light)?),
        Place::Offsets {
            chip,
            button,
            light,
        } => (
            numbered(&lines, chip, *button)?,
            numbered(&lines, chip, *light)?,
        ),
        Place::Pins { .. } => unreachable!("pins are the other backend's"),
    };
    let (button, light) = (button.free()?, light.free()?);
    let (request, is_debounced) = button_request(button, settings)?;
    Ok(Box::new(Character {
        button: request,
        light: light_request(light, settings)?,
        button_line: button.clone(),
        light_line: light.clone(),
        is_debounced,
    }))
}

/// All lines of all chips that may be opened.
fn lines() -> Result<Vec<Line>, PanelError> {
    let failed = |device: &Path, reason: String| PanelError::Failed {
        device: device.display().to_string(),
        reason,
    };
    let chips = gpiocdev::chip::chips().map_err(|e| failed(Path::new("/dev"), e.to_string()))?;
    let mut lines = Vec::new();
    let mut refusal = PanelError::NoChip;
    for path in &chips {
        match File::open(path) {
            Ok(_) => lines.extend(lines_of(path).map_err(|e| failed(path, e.to_string()))?),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let path = path.clone();
                refusal = PanelError::Denied { path };
            }
            Err(error) => refusal = failed(path, error.to_string()),
        }
    }
    if lines.is_empty() {
        Err(refusal)
    } else {
        Ok(lines)
    }
}

fn lines_of(path: &Path) -> gpiocdev::Result<Vec<Line>> {
    let chip = Chip::from_path(path)?;
    let about = chip.info()?;
    let line = |info: gpiocdev::line::Info| Line {
        chip: path.to_owned(),
        chip_names: [about.name.clone(), about.label.clone()],
        offset: info.offset,
        name: info.name,
        used_by: info.used.then_some(info.consumer),
    };
    chip.line_info_iter()?.map(|info| info.map(line)).collect()
}

/// The one line of that name.
fn named<'a>(lines: &'a [Line], name: &str) -> Result<&'a Line, PanelError> {
    let found: Vec<&Line> = lines.iter().filter(|line| line.name == name).collect();
    match found[..] {
        [line] => Ok(line),
        [] => Err(PanelError::NoLine {
            line: format!("named {name:?}"),
            there: names(lines),
        }),
        [..] => Err(PanelError::TwoLines {
            name: name.to_owned(),
            places: found.iter().map(|line| line.place()).collect(),
        }),
    }
}

/// The line of that number on a chip by its file, its name or its label.
fn numbered<'a>(lines: &'a [Line], chip: &str, offset: u32) -> Result<&'a Line, PanelError> {
    let mut on_chip = lines.iter().filter(|line| line.is_on(chip));
    on_chip.find(|line| line.offset == offset).ok_or_else(|| {
        let mut chips: Vec<String> = lines
            .iter()
            .map(|line| format!("{} ({})", line.chip.display(), line.chip_names[1]))
            .collect();
        chips.dedup();
        chips.truncate(PANEL_NAMES_MAX);
        PanelError::NoLine {
            line: format!("{offset} on a chip {chip:?}"),
            there: chips,
        }
    })
}

/// The names that there are; boards write one that is none in these ways.
fn names(lines: &[Line]) -> Vec<String> {
    let named = lines.iter().map(|line| line.name.as_str());
    let mut names: Vec<&str> = named
        .filter(|name| !["", "-", "NC"].contains(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(PANEL_NAMES_MAX);
    let shown = names.into_iter().take(PANEL_NAMES_MAX).map(str::to_owned);
    shown
        .chain((more > 0).then(|| format!("and {more} more")))
        .collect()
}

/// The button's line, and whether the kernel debounces it.
fn button_request(line: &Line, settings: &Settings) -> Result<(Request, bool), PanelError> {
    let bias = match settings.pull {
        Pull::Up => Bias::PullUp,
        Pull::Down => Bias::PullDown,
        Pull::None => Bias::Disabled,
    };
    let request = |debounce: Option<Duration>| {
        let mut builder = Request::builder();
        builder
            .on_chip(&line.chip)
            .with_consumer(CONSUMER)
            .with_line(line.offset)
            .as_input()
            .with_bias(bias)
            .with_edge_detection(EdgeDetection::BothEdges);
        if settings.is_button_active_low {
            builder.as_active_low();
        }
        if let Some(period) = debounce {
            builder.with_debounce_period(period);
        }
        builder.request()
    };
    if let Ok(request) = request(Some(Duration::from_millis(settings.debounce_ms))) {
        return Ok((request, true));
    }
    let request = request(None).map_err(|error| line.failed(error))?;
    Ok((request, false))
}

fn light_request(line: &Line, settings: &Settings) -> Result<Request, PanelError> {
    let mut builder = Request::builder();
    builder
        .on_chip(&line.chip)
        .with_consumer(CONSUMER)
        .with_line(line.offset)
        .as_output(Value::Inactive);
    if settings.is_light_active_low {
        builder.as_active_low();
    }
    builder.request().map_err(|error| line.failed(error))
}

impl Lines for Character {
    fn wait(&mut self, wait: Duration) -> Result<Option<Edge>, PanelError> {
        let wait = Timespec::try_from(wait).map_err(|error| self.button_line.failed(error))?;
        let mut fds = [PollFd::new(&self.button, PollFlags::IN)];
        match poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(self.button_line.failed(error)),
        }
        let event = self.button.read_edge_event();
        let event = event.map_err(|error| self.button_line.failed(error))?;
        Ok(Some(Edge {
            is_pressed: event.kind == EdgeKind::Rising,
            at_ms: event.timestamp_ns / 1_000_000,
        }))
    }

    fn is_pressed(&mut self) -> Result<bool, PanelError> {
        let value = self.button.lone_value();
        let value = value.map_err(|error| self.button_line.failed(error))?;
        Ok(value == Value::Active)
    }

    fn switch(&mut self, is_lit: bool) -> Result<(), PanelError> {
        let set = self.light.set_lone_value(Value::from(is_lit));
        set.map_err(|error| self.light_line.failed(error))
    }

    fn about(&self) -> String {
        let by = if self.is_debounced {
            "the kernel debounces it"
        } else {
            "the kernel does not debounce it, leadscan does"
        };
        let (button, light) = (self.button_line.about(), self.light_line.about());
        format!("button {button}, {by}; light {light}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(chip: &str, offset: u32, name: &str) -> Line {
        Line {
            chip: Path::new("/dev").join(chip),
            chip_names: [chip.to_owned(), format!("label-{chip}")],
            offset,
            name: name.to_owned(),
            used_by: None,
        }
    }

    fn board() -> Vec<Line> {
        vec![
            line("gpiochip0", 0, "GPIO17"),
            line("gpiochip0", 1, ""),
            line("gpiochip0", 2, "TWICE"),
            line("gpiochip10", 0, "-"),
            line("gpiochip10", 2, "TWICE"),
            line("gpiochip10", 7, "GPIO27"),
        ]
    }

    #[test]
    fn a_line_is_found_by_name_on_any_chip() {
        let board = board();
        let about = |name: &str| {
            named(&board, name)
                .map(Line::about)
                .map_err(|e| e.to_string())
        };
        assert_eq!(about("GPIO17").unwrap(), "GPIO17 (/dev/gpiochip0 line 0)");
        assert_eq!(about("GPIO27").unwrap(), "GPIO27 (/dev/gpiochip10 line 7)");
        let absent = about("GPIO4").unwrap_err();
        assert!(absent.contains("\"GPIO4\""), "{absent}");
        assert!(absent.contains("GPIO17, GPIO27, TWICE"), "{absent}");
        let twice = about("TWICE").unwrap_err();
        assert!(
            twice.contains("/dev/gpiochip0 line 2, /dev/gpiochip10 line 2"),
            "{twice}"
        );
    }

    #[test]
    fn a_line_is_found_by_number_on_a_chip_by_any_of_its_names() {
        let board = board();
        for chip in ["gpiochip10", "/dev/gpiochip10", "label-gpiochip10"] {
            assert_eq!(numbered(&board, chip, 7).unwrap().name, "GPIO27", "{chip}");
        }
        let absent = numbered(&board, "gpiochip4", 7).unwrap_err().to_string();
        assert!(
            absent.contains("/dev/gpiochip10 (label-gpiochip10)"),
            "{absent}"
        );
        assert!(numbered(&board, "gpiochip0", 7).is_err());
    }

    #[test]
    fn a_message_names_some_lines_of_many() {
        let many: Vec<Line> = (0..100)
            .map(|k| line("gpiochip0", k, &format!("L{k}")))
            .collect();
        let names = names(&many);
        assert_eq!(names.len(), PANEL_NAMES_MAX + 1);
        assert_eq!(names[PANEL_NAMES_MAX], "and 36 more");
    }

    #[test]
    fn a_line_that_somebody_has_is_refused_by_his_name() {
        let mut taken = line("gpiochip0", 17, "GPIO17");
        assert!(taken.free().is_ok());
        taken.used_by = Some("spi0 CS0".to_owned());
        let refusal = taken.free().unwrap_err().to_string();
        assert!(
            refusal.contains("spi0 CS0") && refusal.contains("GPIO17"),
            "{refusal}"
        );
    }
}
