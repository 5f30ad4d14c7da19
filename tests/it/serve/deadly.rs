//! A page that kills the digitizer does not kill the device: it is given up after two deaths, and
//! the next page goes on. The service runs in a child process, begun again like systemd does, with
//! nets that panic at a red page, and take memory until there is none at a blue one.

use std::path::Path;
use std::process::{Command, Stdio};

use leadscan::nets::{NetError, Nets, Picture, RawMap};
use leadscan::nn::{ModelFiles, TractNets};
use leadscan::service::config::Config;
use leadscan::service::run::{Voice, serve};

use super::{names, site, wait_for};

const CHILD: &str = "LEADSCAN_DEADLY_CONFIG";
const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const WHITE: [u8; 3] = [255, 255, 255];
const PART_BYTES: usize = 16 << 20;

struct Deadly(TractNets);

impl Nets for Deadly {
    fn labels(&self, picture: &Picture) -> Result<Vec<RawMap>, NetError> {
        let plane = picture.width() * picture.height();
        let middle = plane / 2 + picture.width() / 2;
        let colour = [0, 1, 2].map(|channel| picture.data()[channel * plane + middle]);
        assert_ne!(colour, RED, "a page that we cannot bear");
        if colour == BLUE {
            let mut held = Vec::new();
            loop {
                held.push(vec![1u8; PART_BYTES]);
            }
        }
        self.0.labels(picture)
    }

    fn traces<T: Send>(
        &self,
        count: usize,
        draw: &(dyn Fn(usize) -> Picture + Sync),
        read: &(dyn Fn(usize, RawMap) -> T + Sync),
    ) -> Result<Vec<T>, NetError> {
        self.0.traces(count, draw, read)
    }
}

/// The child: a service, where the variable says so.
#[test]
fn deadly_service() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let config = Config::read(Path::new(&path)).unwrap();
    let nets = TractNets::load(ModelFiles::bundled(), 1).unwrap();
    serve(&config, Deadly(nets), Vec::new(), Voice::new(|_| {})).unwrap();
}

fn drop_page(site: &Path, name: &str, colour: [u8; 3]) {
    let page = image::RgbImage::from_pixel(640, 480, image::Rgb(colour));
    let draft = site.join("in/.draft");
    page.save_with_format(&draft, image::ImageFormat::Png)
        .unwrap();
    std::fs::rename(draft, site.join("in").join(name)).unwrap();
}

/// What a record says of its page.
fn findings(site: &Path) -> Vec<String> {
    let out = site.join("out");
    let mut found = Vec::new();
    for name in names(&out) {
        let bytes = std::fs::read(out.join(name)).unwrap();
        let record = leadscan::deliver::decode_native(&bytes).unwrap();
        found.extend(record.findings.into_iter().map(|finding| finding.code));
    }
    found
}

#[track_caller]
fn is_survived(colour: [u8; 3], deaths: usize) {
    let site = site();
    drop_page(site.path(), "1.png", colour);
    let mut died = 0;
    for _ in 0..=deaths {
        let this = std::env::current_exe().unwrap();
        // A limit, so that memory ends soon and for this process alone.
        let mut service = Command::new("prlimit")
            .arg("--as=1500000000")
            .arg(this)
            .args(["--exact", "serve::deadly::deadly_service", "--nocapture"])
            .env(CHILD, site.path().join("leadscan.toml"))
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ended = None;
        wait_for("a record or a death", || {
            ended = service.try_wait().unwrap();
            ended.is_some() || !names(&site.path().join("out")).is_empty()
        });
        if ended.is_some() {
            died += 1;
            continue;
        }
        drop_page(site.path(), "2.png", WHITE);
        wait_for("the next page", || {
            names(&site.path().join("out")).len() == 2
        });
        service.kill().unwrap();
        service.wait().unwrap();
        break;
    }
    assert_eq!(died, deaths);
    assert_eq!(findings(site.path()), ["bug", "layout"]);
}

#[test]
fn a_page_that_panics_is_given_up() {
    is_survived(RED, 0);
}

#[test]
fn a_page_that_takes_all_memory_is_given_up_after_two_deaths() {
    is_survived(BLUE, 2);
}
