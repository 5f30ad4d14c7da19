//! Memory stays within its budget: over many pages in a row (6 of the sample, or 200 with
//! `LEADSCAN_LONG`), where it is flat as well, and while a page of 12 megapixels is captured and
//! another one digitized. A long queue that cannot be delivered costs next to nothing. The figures
//! are printed.

use std::path::Path;
use std::time::{Duration, Instant};

use leadscan::deliver::spool::{Accepted, RealDisk, Settings, Spool, Verdict};
use leadscan::record::Moment;

use crate::{is_long, sampled};

use super::{add_to_config, captures, names, serve, site, terminate, wait_for_within};

const PEAK_MIB_MAX: f64 = 192.0;
const READY_S_MAX: f64 = 3.0;
const IDLE_SHARE_MAX: f64 = 0.01;
/// Growth over the second half, a page.
const GROWTH_MIB_A_PAGE_MAX: f64 = 0.05;

/// A line of `/proc/ID/status`, in MiB.
fn mib(process: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}

/// Processor time that it has had.
fn cpu_s(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    let ticks = after.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    // USER_HZ is 100 on every Linux of ours.
    ticks / 100.0
}

/// The sample, with something after its end that makes it another file.
fn drop_sample(site: &Path, number: usize) {
    let page = include_bytes!("../../pages/sample/page.jpg");
    let draft = site.join("in/.draft");
    std::fs::write(&draft, [&page[..], &number.to_le_bytes()].concat()).unwrap();
    std::fs::rename(draft, site.join(format!("in/{number}.jpg"))).unwrap();
}

#[test]
fn memory_stays_flat() {
    let (count, patience) = sampled((6, 120), (200, 3_600));
    let site = site();
    let began = Instant::now();
    let service = serve(site.path());
    let (process, out) = (service.id(), site.path().join("out"));
    let socket = site.path().join("spool/control");
    let patience = Duration::from_secs(patience);
    wait_for_within(patience, "the service", || socket.exists());
    let ready_s = began.elapsed().as_secs_f64();
    let idle_from = cpu_s(process);
    let idle = Duration::from_secs(sampled(5, 60));
    let idle_until = Instant::now() + idle;
    wait_for_within(patience, "a while", || Instant::now() >= idle_until);
    let idle_share = (cpu_s(process) - idle_from) / idle.as_secs_f64();
    let mut half_mib = 0.0;
    for number in 0..count {
        drop_sample(site.path(), number);
        wait_for_within(patience, "a record", || names(&out).len() == number + 1);
        if number + 1 == count / 2 {
            half_mib = mib(process, "VmRSS");
        }
    }
    let (end_mib, peak_mib) = (mib(process, "VmRSS"), mib(process, "VmHWM"));
    let growth = (end_mib - half_mib) / (count - count / 2) as f64;
    println!(
        "{count} pages: ready in {ready_s:.2} s, idle {:.2} % of a core, at most {peak_mib:.1} MiB, \
         at the end {end_mib:.1}, half way {half_mib:.1}, {growth:.3} MiB a page",
        100.0 * idle_share
    );
    assert_eq!(terminate(service), Some(0));
    assert!(peak_mib <= PEAK_MIB_MAX, "{peak_mib}");
    if is_long() {
        assert!(growth <= GROWTH_MIB_A_PAGE_MAX, "{growth}");
        assert!(ready_s <= READY_S_MAX, "{ready_s}");
        assert!(idle_share <= IDLE_SHARE_MAX, "{idle_share}");
    }
}

#[test]
fn a_page_is_captured_while_another_is_digitized_within_the_budget() {
    let site = captures::site_with_camera();
    let page = image::imageops::resize(
        &captures::sample(),
        4000,
        3000,
        image::imageops::FilterType::Triangle,
    );
    let service = captures::serve(site.path());
    let out = site.path().join("out");
    captures::lay(site.path(), &page);
    captures::is_taken(site.path(), None);
    // Another page than the last one, to the gate.
    captures::lay(site.path(), &image::imageops::rotate180(&page));
    captures::is_taken(site.path(), None);
    assert_eq!(
        names(&out).len(),
        0,
        "the first page was digitized meanwhile"
    );
    wait_for_within(Duration::from_secs(120), "both records", || {
        names(&out).len() == 2
    });
    let peak_mib = mib(service.id(), "VmHWM");
    println!("12 megapixels captured while 12 are digitized: at most {peak_mib:.1} MiB");
    assert_eq!(terminate(service), Some(0));
    assert!(peak_mib <= PEAK_MIB_MAX, "{peak_mib}");
}

/// Puts digitized jobs into the spool of `site`, for its two destinations.
fn fill_spool(site: &Path, count: u32) {
    let settings = Settings {
        jobs_max: 10_000,
        bytes_max: 1 << 30,
        free_bytes_min: 0,
        pages_kept_max: 0,
        sent_max: 100,
        refusals_max: 5,
        destinations: vec!["files".to_owned(), "gone".to_owned()],
    };
    let (mut spool, _) = Spool::open(RealDisk, &site.join("spool"), settings).unwrap();
    for number in 0..count {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        let clock = Moment {
            boot_id: [9; 16],
            monotonic_ms: u64::from(number),
            wall_ms: 1_800_000_000_000,
            wall_synced: true,
        };
        let accepted = Accepted {
            clock,
            reference: None,
            hash,
        };
        let id = spool.accept(b"a page", accepted).unwrap();
        spool.finish(id, Verdict::Digitized, b"a record").unwrap();
        spool.delivered(id, "files").unwrap();
    }
}

#[test]
fn a_long_queue_costs_little_while_its_destination_is_gone() {
    let count = sampled(100, 10_000);
    let site = site();
    let gone = site.path().join("gone");
    add_to_config(
        site.path(),
        &format!(
            "[[destination]]\nname = \"gone\"\nlink = \"serial\"\npath = {gone:?}\n\
             baud = 9600"
        ),
    );
    fill_spool(site.path(), count);
    let began = Instant::now();
    let service = serve(site.path());
    let (process, socket) = (service.id(), site.path().join("spool/control"));
    let patience = Duration::from_secs(60);
    wait_for_within(patience, "the service", || socket.exists());
    let ready_s = began.elapsed().as_secs_f64();
    // The first tries come close together.
    std::thread::sleep(Duration::from_secs(2));
    let idle_from = cpu_s(process);
    let idle = Duration::from_secs(sampled(5, 60));
    std::thread::sleep(idle);
    let idle_share = (cpu_s(process) - idle_from) / idle.as_secs_f64();
    let peak_mib = mib(process, "VmHWM");
    println!(
        "{count} jobs that cannot be delivered: ready in {ready_s:.2} s, {:.2} % of a core, \
         {peak_mib:.1} MiB",
        100.0 * idle_share
    );
    assert_eq!(terminate(service), Some(0));
    assert!(idle_share <= IDLE_SHARE_MAX, "{idle_share}");
    assert!(ready_s <= READY_S_MAX, "{ready_s}");
}
