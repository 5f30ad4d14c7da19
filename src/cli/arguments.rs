//! What may be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::deliver::link::check_baud;
use crate::deliver::{FORMATS, Format, GivenOptions, format_named};
use crate::digitize::Options;
use crate::service::config::DEFAULT_PATH;
use crate::units::{Hertz, MmPerMillivolt, MmPerSecond};
use crate::{layout, limits};

/// Turns paper ECGs back into twelve calibrated signals. Research use only, not a medical device.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Digitize pages to files.
    Digitize(DigitizeArguments),
    /// Receive records from devices and keep them as files: the other end of serial and TCP links.
    Receive(ReceiveArguments),
    /// Write records (`ID.lsr`) in other formats.
    Export(ExportArguments),
    /// Run unattended: pages become records at every destination.
    Serve(ServeArguments),
    /// Try out everything that the configuration names, and say how to mend what does not work.
    Doctor(DoctorArguments),
    /// Say how the running service stands.
    Status(StatusArguments),
    /// Have the running service capture the page that lies there.
    Capture(CaptureArguments),
    /// Look at what waits in the running service's spool, and change it.
    Spool(SpoolArguments),
    /// Check, show or begin the configuration of `serve`.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Digitize a page that the program draws itself, and say whether it came out right.
    Selftest(SelftestArguments),
    /// Write a page to print and scan, or say how true a scan of it came back.
    Testpage(TestpageArguments),
    /// List cameras, scanners, serial ports and GPIO chips, with the tables to copy.
    Devices(DevicesArguments),
    /// Write the manual pages.
    #[command(hide = true)]
    Man(ManArguments),
    /// Print the completions of a shell.
    #[command(hide = true)]
    Completions(CompletionsArguments),
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    Text,
    Json,
}

/// What `serve` is told.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// How the log is written on stderr.
    #[arg(long, value_enum, default_value = "text")]
    pub log: LogForm,
    /// Note each event and what was decided, a JSON line each, to be replayed.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
}

/// Run it as the service's user, while the service is stopped.
///
/// Exit status: 0 all well or warned of, 1 something is broken, 2 the configuration is wrong.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Exit status: 0 all written, 1 some record could not be read or written, 2 usage.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Records, as `leadscan receive` and folders of records have them.
    #[arg(value_name = "RECORD", required = true)]
    pub records: Vec<PathBuf>,
    /// Folder for the results; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What to write: csv, json, wfdb, native.
    #[arg(long, value_delimiter = ',', default_value = "csv,json", value_parser = format_name)]
    pub format: Vec<String>,
}

/// How the running service is reached, and what is printed.
#[derive(Debug, Args)]
pub struct Reach {
    /// The service's configuration, which says where its socket is.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, global = true)]
    pub config: PathBuf,
    /// The socket itself.
    #[arg(long, value_name = "PATH", global = true)]
    pub socket: Option<PathBuf>,
    /// The service's answer as it is.
    #[arg(long, global = true)]
    pub json: bool,
}

/// Exit status: 0 told, 4 no service answers.
#[derive(Debug, Args)]
pub struct StatusArguments {
    #[command(flatten)]
    pub reach: Reach,
}

/// Exit status: 0 pages accepted, 1 refused with a reason, 4 no service answers.
#[derive(Debug, Args)]
pub struct CaptureArguments {
    #[command(flatten)]
    pub reach: Reach,
    /// Which source of the configuration; the first, otherwise.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Your own name for the page, which travels with its record and is never logged.
    #[arg(long, value_name = "TEXT")]
    pub reference: Option<String>,
}

/// Exit status: 0 done, 1 refused with a reason, 4 no service answers.
#[derive(Debug, Args)]
pub struct SpoolArguments {
    #[command(flatten)]
    pub reach: Reach,
    #[command(subcommand)]
    pub command: SpoolCommand,
}

#[derive(Debug, Subcommand)]
pub enum SpoolCommand {
    /// All jobs, the oldest first.
    Ls,
    /// One job in full.
    Show { job: String },
    /// Take up again what was parked, held, or given up.
    Retry { job: String },
    /// Hold a job back.
    Park { job: String },
    /// Remove a job that was not sent. Its record is lost.
    Purge { job: String },
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Everything that is wrong and can be known without opening a device, with what mends it.
    Check(ConfigCheckArguments),
    /// The configuration with its defaults filled in, as TOML.
    Show(ConfigShowArguments),
    /// A commented configuration to begin with.
    Init(ConfigInitArguments),
}

/// Exit status: 0 it can be used, 2 it cannot.
#[derive(Debug, Args)]
pub struct ConfigCheckArguments {
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// One JSON line on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ConfigShowArguments {
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub struct ConfigInitArguments {
    /// What the device is for.
    #[arg(long = "use", value_name = "USE")]
    pub usage: Use,
    /// Whose pins and serial line stand in it.
    #[arg(long, value_name = "BOARD", default_value = "generic")]
    pub board: Board,
    /// Where to write it, never over another file; stdout otherwise.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Use {
    /// A scanner with a feeder, records over the network.
    Kiosk,
    /// A camera, records over a serial line.
    Bedside,
    /// Pages from a folder, records to another.
    Headless,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Board {
    Generic,
    Rpi4,
    Rpi5,
}

/// Exit status: 0 all is right, 1 something is off, 2 the models cannot be used.
#[derive(Debug, Args)]
pub struct SelftestArguments {
    /// One JSON line on stdout.
    #[arg(long)]
    pub json: bool,
    /// Threads of the nets.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// Folder with other models; the bundled ones otherwise.
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
}

/// Exit status: 0 the page was written, or came back true; 1 something is off; 2 no such file.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["out", "verify"]))]
pub struct TestpageArguments {
    /// Write the page: a PNG, A4 at 300 dpi. Print it at 100 %, not fitted to the page.
    #[arg(long, value_name = "FILE", value_parser = png_name)]
    pub out: Option<PathBuf>,
    /// Verify a picture of the printed page, or a native record of one.
    #[arg(long, value_name = "FILE")]
    pub verify: Option<PathBuf>,
    /// Resolution of the picture, where its file states none or a wrong one.
    #[arg(long, value_name = "N", conflicts_with = "out", value_parser = clap::value_parser!(u16).range(50..=2400))]
    pub dpi: Option<u16>,
    /// One JSON line on stdout.
    #[arg(long, conflicts_with = "out")]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DevicesArguments {
    /// One JSON line on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ManArguments {
    /// Folder for the pages; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct CompletionsArguments {
    pub shell: Shell,
}

fn png_name(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_png = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
    is_png
        .then_some(path)
        .ok_or_else(|| "only PNG is written: end it with .png".to_owned())
}

/// Exit status: 0 all pages ok or warning, 1 some page rejected or failed, 2 usage, 3 a bug.
#[derive(Debug, Args)]
pub struct DigitizeArguments {
    /// Pictures (PNG, JPEG, TIFF, BMP, PNM, WebP) or folders of them.
    #[arg(value_name = "PAGE", required = true)]
    pub pages: Vec<PathBuf>,
    /// Folder for the results; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What to write: csv, json, wfdb, native.
    #[arg(long, value_delimiter = ',', default_value = "csv,json", value_parser = format_name)]
    pub format: Vec<String>,
    /// Samples a second, 100 to 1000.
    #[arg(long, value_name = "HZ", default_value_t = 500, value_parser = clap::value_parser!(u16).range(100..=1000))]
    pub fs: u16,
    /// Paper speed, if you know better than the page.
    #[arg(long, value_name = "MM_S", value_parser = speed)]
    pub speed: Option<f32>,
    /// Gain, if you know better than the page.
    #[arg(long, value_name = "MM_MV", value_parser = gain)]
    pub gain: Option<f32>,
    /// The only layout to try, e.g. 3x4+1R.
    #[arg(long, value_name = "NAME", value_parser = layout_name)]
    pub layout: Option<String>,
    /// Draw what was seen on each page, and the signals below it: ID.overlay.png.
    #[arg(long)]
    pub overlay: bool,
    /// Folder with labels.onnx, trace.onnx and their .toml; the bundled models otherwise.
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Threads of the nets; as many as there are cores, at most 4, otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: Option<u16>,
    /// The most memory that the process may take.
    #[arg(long, value_name = "MIB", default_value_t = limits::MEMORY_BUDGET_MIB)]
    pub memory_budget: usize,
    /// Skip pages that are finished: same file, same options, same models.
    #[arg(long)]
    pub resume: bool,
    /// Say on stderr when a page's next stage begins: `stage NAME`.
    #[arg(long)]
    pub stages: bool,
    /// One JSON line a page on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Prints the id and the bytes of each record that it has stored, until SIGINT or SIGTERM.
///
/// Exit status: 0 ended by a signal, 2 the line or the folder cannot be used.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("line").required(true).args(["serial", "tcp"]))]
pub struct ReceiveArguments {
    /// Serial port of one device.
    #[arg(long, value_name = "PATH", requires = "baud")]
    pub serial: Option<PathBuf>,
    /// Rate of the serial port, 9600 to 921600.
    #[arg(long, value_name = "N", requires = "serial", value_parser = baud)]
    pub baud: Option<u32>,
    /// Address to listen on, e.g. 127.0.0.1:7000; without TLS, so keep it off open networks.
    #[arg(long, value_name = "ADDR")]
    pub tcp: Option<SocketAddr>,
    /// Folder for the records; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

fn baud(text: &str) -> Result<u32, String> {
    let value = text.parse().map_err(|_| "not a number".to_owned())?;
    check_baud(value).map_err(|error| error.to_string())?;
    Ok(value)
}

fn format_name(text: &str) -> Result<String, String> {
    let names: Vec<_> = FORMATS.iter().map(|format| format.name()).collect();
    let known = format_named(text).map(|format| format.name().to_owned());
    known.ok_or_else(|| format!("known are {}", names.join(", ")))
}

fn layout_name(text: &str) -> Result<String, String> {
    layout::check_name(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn speed(text: &str) -> Result<f32, String> {
    within(text, limits::SPEED_MM_S)
}

fn gain(text: &str) -> Result<f32, String> {
    within(text, limits::GAIN_MM_MV)
}

fn within(text: &str, [min, max]: [f32; 2]) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{min} to {max}"))
    }
}

impl DigitizeArguments {
    /// Each format once, in the order in which they are written.
    pub fn formats(&self) -> Vec<&'static dyn Format> {
        let asked = |format: &&dyn Format| self.format.iter().any(|name| name == format.name());
        FORMATS.into_iter().filter(asked).collect()
    }

    /// For the core.
    pub fn options(&self) -> Options {
        Options {
            sample_rate: Hertz(f32::from(self.fs)),
            speed: self.speed.map(MmPerSecond),
            gain: self.gain.map(MmPerMillivolt),
            layout: self.layout.clone(),
        }
    }

    /// For the report.
    pub fn given(&self) -> GivenOptions {
        GivenOptions {
            fs_hz: f32::from(self.fs),
            speed_mm_s: self.speed,
            gain_mm_mv: self.gain,
            layout: self.layout.clone(),
            formats: self
                .formats()
                .iter()
                .map(|format| format.name().to_owned())
                .collect(),
            overlay: self.overlay,
        }
    }

    /// At least 1.
    pub fn thread_count(&self) -> usize {
        let cores = || {
            let found = std::thread::available_parallelism().map_or(1, usize::from);
            found.min(limits::THREADS_UNASKED_MAX)
        };
        self.threads.map_or_else(cores, usize::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<DigitizeArguments, clap::Error> {
        let words = ["leadscan", "digitize"].into_iter().chain(words.split(' '));
        Cli::try_parse_from(words).map(|cli| match cli.command {
            Command::Digitize(arguments) => arguments,
            other => panic!("another command: {other:?}"),
        })
    }

    #[test]
    fn the_defaults_are_csv_and_json_at_500_hz() {
        let given = parse("a.png --out o").unwrap().given();
        assert_eq!(
            (given.fs_hz, given.formats.join(" ").as_str()),
            (500.0, "csv json")
        );
        assert_eq!(
            (given.speed_mm_s, given.gain_mm_mv, given.layout),
            (None, None, None)
        );
    }

    #[test]
    fn formats_are_each_taken_once() {
        let given = parse("a.png --out o --format json,native,wfdb,json")
            .unwrap()
            .given();
        assert_eq!(given.formats, ["wfdb", "native", "json"]);
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for wrong in [
            "a.png",
            "--out o",
            "a.png --out o --fs 99",
            "a.png --out o --fs 1001",
            "a.png --out o --speed 0",
            "a.png --out o --speed nan",
            "a.png --out o --gain -10",
            "a.png --out o --format xml",
            "a.png --out o --layout 5x5",
            "a.png --out o --threads 0",
            "a.png --out o --wrong",
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn a_receiver_has_one_line() {
        let parse = |words: &str| {
            let words = ["leadscan", "receive"].into_iter().chain(words.split(' '));
            Cli::try_parse_from(words).map(drop)
        };
        parse("--serial /dev/ttyUSB0 --baud 115200 --out o").unwrap();
        parse("--tcp [::1]:7000 --out o").unwrap();
        for wrong in [
            "--out o",
            "--tcp 127.0.0.1:7000",
            "--tcp ward:7000 --out o",
            "--serial /dev/ttyUSB0 --out o",
            "--serial /dev/ttyUSB0 --baud 300 --out o",
            "--serial /dev/ttyUSB0 --baud 9600 --tcp 127.0.0.1:7000 --out o",
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn a_test_page_is_written_or_verified() {
        let parse = |words: &str| {
            let words = ["leadscan", "testpage"].into_iter().chain(words.split(' '));
            Cli::try_parse_from(words).map(drop)
        };
        parse("--out a.png").unwrap();
        parse("--verify a.jpg --dpi 200 --json").unwrap();
        for wrong in [
            "--json",
            "--out a.pdf",
            "--out a.png --dpi 200",
            "--out a.png --verify b",
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
