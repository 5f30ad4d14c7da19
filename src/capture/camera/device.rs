//! The camera itself: the calls of Video4Linux, through the crate `v4l`.
//!
//! In: settings. Out: `Frames`. Three traps of that crate are steered around. Its `next` gives a
//! buffer back before it waits: after a time-out it would give back one that the kernel still has.
//! So it is called only once a frame is there, and never after an error. Its streams panic when
//! they are dropped and cannot be stopped, and panic again, which would end the process, when their
//! memory cannot be given back: one that cannot be stopped is left as it is, at most
//! `LEFT_OPEN_MAX` times. What else may panic there (names that are not UTF-8, sizes and formats
//! it does not know) is caught.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use v4l::buffer::{Flags as BufferFlags, Type};
use v4l::capability::Flags;
use v4l::control::{Control, Value};
use v4l::framesize::FrameSizeEnum;
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::{Device, FourCC};

use super::Settings;
use super::choice::{Choice, Coding, Offer, Size, Sizes, choose};
use super::controls::{self, Fixed};
use super::find::{VIDEO_CLASS, nodes, usb_numbers};
use super::frames::{Format, Frames};
use crate::capture::source::SourceError;

/// One that is looked at, and two that the camera may fill.
const BUFFERS: u32 = 3;
/// What V4L2 has at most.
const BUFFERS_MAX: usize = 32;
const LEFT_OPEN_MAX: usize = 4;
const BY_ID: &str = "/dev/v4l/by-id";
/// The kernel shows the parts of a Raspberry Pi's own camera as cameras, which give nothing alone.
const NOT_ON_USB: &str = ", not on USB: a Raspberry Pi's own camera goes by source = \"rpicam\"";

const POLLIN: i16 = libc::POLLIN;

/// Streams that could not be stopped, since the process began.
static LEFT_OPEN: AtomicUsize = AtomicUsize::new(0);

/// Opens the camera of these settings and starts it.
pub fn open(settings: &Settings) -> Result<Box<dyn Frames>, SourceError> {
    let name = settings.name();
    let guard = |error| fault(&name, error);
    if LEFT_OPEN.load(Ordering::Relaxed) >= LEFT_OPEN_MAX {
        let reason = "it could not be stopped several times: unplug it, restart leadscan";
        return Err(SourceError::failed(&name, reason));
    }
    let (_, device) = locate(settings)?;
    let offers = guarded(|| offers(&device)).map_err(guard)?;
    let Some(choice) = choose(&offers, settings.size()) else {
        return Err(SourceError::failed(
            &name,
            refusal(&offers, settings.size()),
        ));
    };
    let format = guarded(|| set(&device, choice)).map_err(guard)?;
    for fixed in controls::fixed(settings) {
        fix(&device, fixed).map_err(|reason| SourceError::failed(&name, reason))?;
    }
    let mut stream = guarded(|| Stream::with_buffers(&device, Type::VideoCapture, BUFFERS))
        .map(Streaming::new)
        .map_err(guard)?;
    stream.start().map_err(guard)?;
    Ok(Box::new(Camera {
        name,
        format,
        stream,
    }))
}

/// A line for each camera that is there.
pub fn list() -> Result<Vec<String>, SourceError> {
    let named: Vec<(PathBuf, PathBuf)> = std::fs::read_dir(BY_ID)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((std::fs::canonicalize(entry.path()).ok()?, entry.path())))
        .collect();
    let mut lines = Vec::new();
    for node in nodes(Path::new(VIDEO_CLASS)) {
        let by_id = named.iter().find(|(path, _)| *path == node.path);
        let path = by_id.map_or(&node.path, |(_, by_id)| by_id).display();
        let usb = node.usb.map_or(NOT_ON_USB.to_owned(), |(vendor, product)| {
            format!(", usb {vendor:04x}:{product:04x}")
        });
        match offering(&node.path) {
            Ok(card) => lines.push(format!("{path}: {card}{usb}")),
            Err(Unfit::NoCamera) => {}
            Err(Unfit::Io(error)) => lines.push(format!("{path}: {error}{usb}")),
        }
    }
    Ok(lines)
}

/// A camera that gives frames.
struct Camera {
    name: String,
    format: Format,
    stream: Streaming,
}

impl Frames for Camera {
    fn format(&self) -> Format {
        self.format
    }

    fn next(&mut self, wait: Duration) -> Result<Option<&[u8]>, SourceError> {
        let name = &self.name;
        self.stream.next(wait).map_err(|error| fault(name, error))
    }
}

/// The stream of a device, which ends without a panic.
struct Streaming {
    /// `None` only while it is dropped.
    stream: Option<Stream<'static>>,
}

impl Streaming {
    fn new(stream: Stream<'static>) -> Self {
        let stream = Some(stream);
        Self { stream }
    }

    /// Gives the camera all buffers but the first: `next` begins by giving that.
    fn start(&mut self) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        for index in 1..BUFFERS_MAX {
            match CaptureStream::queue(stream, index) {
                Ok(()) => {}
                // There are no more.
                Err(error) if index > 1 && error.raw_os_error() == Some(libc::EINVAL) => break,
                Err(error) => return Err(error),
            }
        }
        stream.start()
    }

    fn next(&mut self, wait: Duration) -> io::Result<Option<&[u8]>> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).max(1);
        match stream.handle().poll(POLLIN, wait_ms) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        // A frame is there, or an error, which this call returns.
        stream.set_timeout(Duration::ZERO);
        let (bytes, about) = CaptureStream::next(stream)?;
        let used = if about.flags.contains(BufferFlags::ERROR) {
            0
        } else {
            about.bytesused as usize
        };
        Ok(Some(&bytes[..used.min(bytes.len())]))
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        let can_stop = match stream.stop() {
            Ok(()) => true,
            // Unplugged: what is left of it goes without a word.
            Err(error) => error.raw_os_error() == Some(libc::ENODEV),
        };
        if can_stop {
            // The panic has been reported by its hook; the stream is gone as far as it can be.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(stream)));
        } else {
            LEFT_OPEN.fetch_add(1, Ordering::Relaxed);
            std::mem::forget(stream);
        }
    }
}

/// Why a device file is not used.
enum Unfit {
    /// It gives no pictures: data about frames, or something else.
    NoCamera,
    Io(io::Error),
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens a device file; what the camera calls itself.
fn open_node(path: &Path) -> Result<(String, Device), Unfit> {
    let device = Device::with_path(path)?;
    let about = guarded(|| device.query_caps())?;
    if about
        .capabilities
        .contains(Flags::VIDEO_CAPTURE | Flags::STREAMING)
    {
        Ok((about.card, device))
    } else {
        Err(Unfit::NoCamera)
    }
}

/// What a camera calls itself that gives pictures of a kind that is understood here.
fn offering(path: &Path) -> Result<String, Unfit> {
    let (card, device) = open_node(path)?;
    if guarded(|| offers(&device))?.is_empty() {
        return Err(Unfit::NoCamera);
    }
    Ok(card)
}

/// The camera that the settings mean.
fn locate(settings: &Settings) -> Result<(String, Device), SourceError> {
    let name = settings.name();
    let missing = |reason: &str| SourceError::missing(&name, reason);
    if let Some(path) = &settings.device {
        return open_node(path).map_err(|unfit| match unfit {
            Unfit::NoCamera => SourceError::failed(&name, "it gives no pictures: another path may"),
            Unfit::Io(error) => fault(&name, error),
        });
    }
    let numbers = settings.usb.as_deref().and_then(usb_numbers);
    let nodes: Vec<_> = nodes(Path::new(VIDEO_CLASS))
        .into_iter()
        .filter(|node| node.usb.is_some() && node.usb == numbers)
        .collect();
    let Some(first) = nodes.first() else {
        return Err(missing("no such USB device: plug it in"));
    };
    if nodes.iter().any(|node| node.place != first.place) {
        return Err(SourceError::failed(
            &name,
            "there are two of it: say which by `device`",
        ));
    }
    let mut found = Err(missing("none of its device files gives pictures"));
    for node in &nodes {
        match open_node(&node.path) {
            Ok(camera) => return Ok(camera),
            Err(Unfit::NoCamera) => {}
            Err(Unfit::Io(error)) => found = Err(fault(&name, error)),
        }
    }
    found
}

/// What the camera offers of what is understood here.
fn offers(device: &Device) -> io::Result<Vec<Offer>> {
    let mut offers = Vec::new();
    for description in device.enum_formats()? {
        let is_it = |coding: &Coding| coding.code() == description.fourcc.repr;
        let Some(coding) = Coding::ALL.into_iter().find(is_it) else {
            continue;
        };
        for found in device.enum_framesizes(description.fourcc)? {
            let sizes = match found.size {
                FrameSizeEnum::Discrete(size) => Sizes::One(Size {
                    width: size.width,
                    height: size.height,
                }),
                FrameSizeEnum::Stepwise(steps) => Sizes::Steps {
                    min: Size {
                        width: steps.min_width,
                        height: steps.min_height,
                    },
                    max: Size {
                        width: steps.max_width,
                        height: steps.max_height,
                    },
                    step: Size {
                        width: steps.step_width,
                        height: steps.step_height,
                    },
                },
            };
            offers.push(Offer { coding, sizes });
        }
    }
    Ok(offers)
}

fn refusal(offers: &[Offer], wanted: Option<Size>) -> String {
    match wanted {
        _ if offers.is_empty() => "it offers neither MJPG nor YUYV".to_owned(),
        Some(Size { width, height }) => {
            format!("it does not offer {width} x {height} px; it offers {offers:?}")
        }
        None => format!("none of its sizes fits a page: {offers:?}"),
    }
}

/// Sets size and coding; a camera may answer with others.
fn set(device: &Device, choice: Choice) -> io::Result<Format> {
    let Choice { coding, size } = choice;
    let wanted = v4l::Format::new(size.width, size.height, FourCC::new(&coding.code()));
    let found = Capture::set_format(device, &wanted)?;
    if (found.width, found.height, found.fourcc) != (size.width, size.height, wanted.fourcc) {
        let (width, height, code) = (found.width, found.height, found.fourcc);
        let reason = format!("it offers {choice} and gives {width} x {height} px {code}");
        return Err(io::Error::other(reason));
    }
    let (width, height) = (size.width as usize, size.height as usize);
    let stride = found.stride as usize;
    let row_bytes = match coding {
        Coding::Mjpg => 0,
        Coding::Yuyv => 2 * width,
    };
    Ok(Format {
        coding,
        width,
        height,
        stride: stride.max(row_bytes),
    })
}

/// Keeps one thing as it is set; the reason names it.
fn fix(device: &Device, fixed: Fixed) -> Result<(), String> {
    let Fixed {
        key,
        automatic,
        control,
    } = fixed;
    let refused = |error: io::Error| format!("{key} cannot be set: {error}");
    let put = |control: controls::Control| {
        let value = Value::Integer(control.value);
        guarded(|| {
            device.set_control(Control {
                id: control.id,
                value,
            })
        })
    };
    if guarded(|| device.control(automatic.id)).is_ok() {
        put(automatic).map_err(refused)?;
    }
    put(control).map_err(refused)?;
    match guarded(|| device.control(control.id))
        .map_err(refused)?
        .value
    {
        Value::Integer(found) if found != control.value => {
            let asked = control.value;
            Err(format!(
                "{key}: the camera made {found} of {asked} (in its own steps)"
            ))
        }
        _ => Ok(()),
    }
}

/// Calls into the crate; a panic of it becomes an error.
fn guarded<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(io::Error::other("its driver says what is not understood")))
}

fn fault(device: &str, error: io::Error) -> SourceError {
    let gone = [libc::ENODEV, libc::ENXIO, libc::ENOENT];
    match error.raw_os_error() {
        Some(code) if gone.contains(&code) => {
            SourceError::missing(device, format!("{error}; plug it in"))
        }
        Some(libc::EACCES | libc::EPERM) => SourceError::failed(
            device,
            format!("{error}; add the service's user to the group video"),
        ),
        Some(libc::EBUSY) => {
            SourceError::failed(device, format!("{error}; another program uses it"))
        }
        _ => SourceError::failed(device, error),
    }
}
