//! A USB camera, through Video4Linux.
//!
//! In: which camera, by its path or its USB numbers; size, exposure, focus, white balance and gain
//! where they are to stay fixed. Out: the sharpest of three frames, a JPEG or PNG file. The camera
//! is open only while it captures, so that no frame is older than the call. One that says nothing
//! within `wait_ms` for a frame, or that is unplugged, is closed; the next call opens it anew.

mod choice;
mod controls;
mod device;
mod find;
mod frames;
mod sharpness;
mod tables;
mod yuyv;

use std::ops::ControlFlow;
use std::path::PathBuf;

use serde::Deserialize;

use super::source::{self, Made, SettingsError, Source, SourceError, Stop};
use crate::limits;

use choice::Size;
use frames::{Choosing, Frames};

/// Opens a camera as its settings say.
type Open = Box<dyn FnMut(&Settings) -> Result<Box<dyn Frames>, SourceError> + Send>;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `/dev/v4l/by-id/...`; other paths may change when the board starts.
    device: Option<PathBuf>,
    /// Vendor and product, as `lsusb` shows them: `046d:0825`.
    usb: Option<String>,
    width_px: Option<u32>,
    height_px: Option<u32>,
    #[serde(default = "first_frames")]
    first_frames: usize,
    #[serde(default = "wait_ms")]
    wait_ms: u64,
    /// What is not set the camera finds by itself.
    exposure_us: Option<u32>,
    /// In the camera's own steps.
    focus: Option<i64>,
    white_balance_k: Option<u32>,
    /// In the camera's own steps.
    gain: Option<i64>,
}

fn first_frames() -> usize {
    8
}

fn wait_ms() -> u64 {
    5_000
}

impl Settings {
    fn read(table: toml::Table) -> Result<Self, SettingsError> {
        let settings: Self = source::read(table)?;
        let frames_max = limits::CAPTURE_FIRST_FRAMES_MAX;
        source::check_wait_ms(settings.wait_ms)?;
        let fault = if settings.device.is_some() == settings.usb.is_some() {
            "say which camera: either `device`, a path in /dev/v4l/by-id, or `usb`".to_owned()
        } else if settings
            .usb
            .as_deref()
            .is_some_and(|usb| find::usb_numbers(usb).is_none())
        {
            "usb is vendor:product, as lsusb shows it, such as \"046d:0825\"".to_owned()
        } else if settings.width_px.is_some() != settings.height_px.is_some() {
            "width_px and height_px belong together".to_owned()
        } else if settings.first_frames > frames_max {
            format!("first_frames is at most {frames_max}")
        } else {
            return Ok(settings);
        };
        Err(SettingsError::Table { reason: fault })
    }

    fn size(&self) -> Option<Size> {
        let (width, height) = self.width_px.zip(self.height_px)?;
        Some(Size { width, height })
    }

    /// What the camera is called in messages.
    fn name(&self) -> String {
        match (&self.device, &self.usb) {
            (Some(path), _) => format!("camera {}", path.display()),
            (None, Some(usb)) => format!("camera {usb}"),
            (None, None) => "camera".to_owned(),
        }
    }
}

/// A camera that is opened when it is needed.
struct Camera {
    settings: Settings,
    open: Open,
}

impl Camera {
    fn best(&mut self, first_frames: usize, stop: &Stop) -> Result<Vec<u8>, SourceError> {
        if stop.is_stopped() {
            return Err(SourceError::Stopped);
        }
        let mut frames = (self.open)(&self.settings)?;
        let choosing = Choosing {
            device: &self.settings.name(),
            first_frames,
            wait_ms: self.settings.wait_ms,
            stop,
        };
        frames::best(&mut *frames, &choosing)
    }
}

impl Source for Camera {
    fn capture(
        &mut self,
        stop: &Stop,
        take: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        // It is closed again by now; and one page is all there is, whether to go on or not.
        let page = self.best(self.settings.first_frames, stop)?;
        let _ = take(page);
        Ok(())
    }

    fn check(&mut self) -> Result<String, SourceError> {
        let frames = (self.open)(&self.settings)?;
        let format = frames.format();
        drop(frames);
        let page = self.best(0, &Stop::default())?;
        let (width, height, coding) = (format.width, format.height, format.coding);
        Ok(format!(
            "{width} x {height} px {coding:?}, a frame of {} bytes",
            page.len()
        ))
    }
}

/// A camera with these settings.
pub fn new(table: toml::Table) -> Made {
    let settings = Settings::read(table)?;
    let open = Box::new(device::open);
    Ok(Box::new(Camera { settings, open }))
}

/// The cameras that are there.
pub fn devices() -> Result<Vec<String>, SourceError> {
    device::list()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::{Duration, Instant};

    use image::{ImageFormat, RgbImage};

    use super::choice::Coding;
    use super::frames::Format;
    use super::*;

    const WIDTH: u32 = 320;
    const HEIGHT: u32 = 240;

    /// What a recorded camera does next.
    #[derive(Clone)]
    enum Recorded {
        Frame(Vec<u8>),
        /// Nothing for good.
        Stall,
        Unplug,
    }

    struct Tape {
        coding: Coding,
        left: VecDeque<Recorded>,
        last: Vec<u8>,
    }

    impl Frames for Tape {
        fn format(&self) -> Format {
            let (width, height) = (WIDTH as usize, HEIGHT as usize);
            let coding = self.coding;
            Format {
                coding,
                width,
                height,
                stride: 2 * width,
            }
        }

        fn next(&mut self, wait: Duration) -> Result<Option<&[u8]>, SourceError> {
            match self.left.front().cloned() {
                None | Some(Recorded::Stall) => {
                    std::thread::sleep(wait.min(Duration::from_millis(5)));
                    Ok(None)
                }
                Some(Recorded::Unplug) => Err(SourceError::missing("tape", "unplugged")),
                Some(Recorded::Frame(frame)) => {
                    self.left.pop_front();
                    self.last = frame;
                    Ok(Some(&self.last))
                }
            }
        }
    }

    /// Lines as of a trace, blurred by that many pixels; `ground` is the paper's brightness.
    fn picture(blur: u32, ground: u32) -> RgbImage {
        RgbImage::from_fn(WIDTH, HEIGHT, |x, _| {
            let ink = |x: u32| if x % 20 < 2 { ground / 4 } else { ground };
            let sum: u32 = (0..blur).map(|d| ink(x + d)).sum();
            image::Rgb([(sum / blur) as u8; 3])
        })
    }

    fn jpeg(blur: u32, ground: u32) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture(blur, ground)
            .write_to(&mut bytes, ImageFormat::Jpeg)
            .unwrap();
        bytes.into_inner()
    }

    fn yuyv(blur: u32) -> Vec<u8> {
        picture(blur, 200)
            .pixels()
            .flat_map(|pixel| [pixel.0[0], 128])
            .collect()
    }

    fn frames(all: &[Vec<u8>]) -> Vec<Recorded> {
        all.iter().cloned().map(Recorded::Frame).collect()
    }

    /// A camera that plays these tapes, one at each opening; behind them it is not there.
    fn camera(more: &str, tapes: Vec<(Coding, Vec<Recorded>)>) -> Camera {
        let table = format!("device = '/dev/tape'\nwait_ms = 200\n{more}");
        let settings = Settings::read(toml::from_str(&table).unwrap()).unwrap();
        let mut tapes = tapes.into_iter();
        let open: Open = Box::new(move |settings| match tapes.next() {
            Some((coding, recorded)) => Ok(Box::new(Tape {
                coding,
                left: recorded.into(),
                last: Vec::new(),
            })),
            None => Err(SourceError::missing(&settings.name(), "no tape")),
        });
        Camera { settings, open }
    }

    fn capture(camera: &mut Camera, stop: &Stop) -> Result<Vec<u8>, SourceError> {
        let mut pages = Vec::new();
        camera.capture(stop, &mut |page| {
            pages.push(page);
            ControlFlow::Continue(())
        })?;
        assert_eq!(pages.len(), 1);
        Ok(pages.remove(0))
    }

    #[test]
    fn the_sharpest_of_three_is_the_page() {
        let sharp = jpeg(1, 230);
        let tape = [jpeg(8, 230), sharp.clone(), jpeg(3, 230), jpeg(1, 231)];
        let tapes = vec![(Coding::Mjpg, frames(&tape))];
        let mut camera = camera("first_frames = 0", tapes);
        assert!(capture(&mut camera, &Stop::default()).unwrap() == sharp);
    }

    #[test]
    fn the_first_frames_are_left_out() {
        // Dark, but sharper than what follows.
        let dark = frames(&[jpeg(1, 255), vec![], jpeg(1, 255)]);
        let page = jpeg(4, 230);
        let tape = [dark, frames(&[page.clone(), page.clone(), page.clone()])].concat();
        let mut camera = camera("first_frames = 3", vec![(Coding::Mjpg, tape)]);
        assert!(capture(&mut camera, &Stop::default()).unwrap() == page);
    }

    #[test]
    fn frames_that_are_not_whole_are_dropped() {
        let page = jpeg(4, 230);
        let sharp = jpeg(1, 230);
        let half = sharp[..sharp.len() / 2].to_vec();
        let headless = sharp[100..].to_vec();
        // Of another size than agreed, and sharper than all.
        let mut small = std::io::Cursor::new(Vec::new());
        let fine = RgbImage::from_fn(64, 64, |x, _| image::Rgb([(x % 4 / 2 * 255) as u8; 3]));
        fine.write_to(&mut small, ImageFormat::Jpeg).unwrap();
        let bad = [half, headless, small.into_inner(), vec![]];
        // Cameras fill up the frame behind its end.
        let filled = [page.clone(), vec![0; 500]].concat();
        let tape = [frames(&bad), frames(&[filled.clone(), page.clone(), page])].concat();
        let mut camera = camera("first_frames = 0", vec![(Coding::Mjpg, tape)]);
        assert!(capture(&mut camera, &Stop::default()).unwrap() == filled);
    }

    #[test]
    fn a_camera_of_bad_frames_is_an_error() {
        let half = jpeg(1, 230)[..900].to_vec();
        let tape = frames(&vec![half; limits::CAPTURE_BAD_FRAMES_MAX + 1]);
        let mut camera = camera("first_frames = 0", vec![(Coding::Mjpg, tape)]);
        let error = capture(&mut camera, &Stop::default()).unwrap_err();
        assert!(error.to_string().contains("21 of 21"), "{error}");
    }

    #[test]
    fn yuyv_becomes_png() {
        let short = yuyv(1)[..1_000].to_vec();
        let tape = frames(&[short, yuyv(5), yuyv(1), yuyv(3)]);
        let mut camera = camera("first_frames = 0", vec![(Coding::Yuyv, tape)]);
        let page = capture(&mut camera, &Stop::default()).unwrap();
        let found = image::load_from_memory_with_format(&page, ImageFormat::Png)
            .unwrap()
            .to_rgb8();
        assert_eq!(found.dimensions(), (WIDTH, HEIGHT));
        // Of limited range: 200 becomes 214, 50 becomes 40.
        assert_eq!(
            [found.get_pixel(5, 9).0, found.get_pixel(21, 9).0],
            [[214; 3], [40; 3]]
        );
    }

    #[test]
    fn after_a_stall_or_an_unplugging_it_is_opened_anew() {
        let page = jpeg(1, 230);
        let whole = frames(&[page.clone(), page.clone(), page.clone()]);
        let stalled = [frames(std::slice::from_ref(&page)), vec![Recorded::Stall]].concat();
        let unplugged = [
            frames(&[page.clone(), page.clone()]),
            vec![Recorded::Unplug],
        ]
        .concat();
        let tapes = [stalled, unplugged, whole].map(|tape| (Coding::Mjpg, tape));
        let mut camera = camera("first_frames = 0", tapes.into());
        let stop = Stop::default();
        let silent = capture(&mut camera, &stop).unwrap_err();
        assert!(
            matches!(silent, SourceError::Silent { waited_ms: 200, .. }),
            "{silent}"
        );
        let missing = capture(&mut camera, &stop).unwrap_err();
        assert!(matches!(missing, SourceError::Missing { .. }), "{missing}");
        assert!(capture(&mut camera, &stop).unwrap() == page);
        let gone = capture(&mut camera, &stop).unwrap_err();
        assert!(matches!(gone, SourceError::Missing { .. }), "{gone}");
    }

    #[test]
    fn it_stops_when_it_is_told() {
        let tapes = vec![(Coding::Mjpg, vec![Recorded::Stall])];
        let mut camera = camera("", tapes);
        camera.settings.wait_ms = 60_000;
        let stop = Stop::default();
        let began = Instant::now();
        let found = std::thread::scope(|scope| {
            let capturing = scope.spawn(|| capture(&mut camera, &stop));
            stop.stop();
            capturing.join().unwrap()
        });
        assert_eq!(found.unwrap_err(), SourceError::Stopped);
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }

    #[test]
    fn jpegs_without_their_tables_are_pages() {
        let page = jpeg(1, 230);
        // Cameras may leave out the Huffman tables that every decoder is to know.
        let mut bare = Vec::new();
        let mut at = 2;
        bare.extend_from_slice(&page[..2]);
        while page[at + 1] != 0xDA {
            let bytes = 2 + usize::from(u16::from_be_bytes([page[at + 2], page[at + 3]]));
            if page[at + 1] != 0xC4 {
                bare.extend_from_slice(&page[at..at + bytes]);
            }
            at += bytes;
        }
        bare.extend_from_slice(&page[at..]);
        assert!(bare.len() < page.len());
        let tapes = vec![(Coding::Mjpg, frames(&[bare.clone(), bare.clone(), bare]))];
        let mut camera = camera("first_frames = 0", tapes);
        let found = capture(&mut camera, &Stop::default()).unwrap();
        let header = crate::capture::header_in(&found).unwrap();
        let plan = header.plan(1 << 30, 0).unwrap();
        assert!(crate::capture::decode_in(&found, &header, plan).is_ok());
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for table in [
            "",
            "device = '/dev/video0'\nusb = '046d:0825'",
            "usb = 'logitech'",
            "usb = '046d:0825'\nwidth_px = 640",
            "usb = '046d:0825'\nfirst_frames = 1_000",
            "usb = '046d:0825'\nwait_ms = 1",
            "usb = '046d:0825'\nexposure = 4",
        ] {
            assert!(
                Settings::read(toml::from_str(table).unwrap()).is_err(),
                "{table}"
            );
        }
    }
}
