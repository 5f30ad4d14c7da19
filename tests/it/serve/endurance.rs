//! Many pages in a row: memory stays within its budget and flat. 6 pages of the sample, or 200 with
//! `LEADSCAN_LONG`; the figures are printed.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{names, serve, site, terminate, wait_for_within};

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
    let is_long = std::env::var_os("LEADSCAN_LONG").is_some();
    let (count, patience) = if is_long { (200, 3_600) } else { (6, 120) };
    let site = site();
    let began = Instant::now();
    let service = serve(site.path());
    let (process, out) = (service.id(), site.path().join("out"));
    let socket = site.path().join("spool/control");
    let patience = Duration::from_secs(patience);
    wait_for_within(patience, "the service", || socket.exists());
    let ready_s = began.elapsed().as_secs_f64();
    let idle_from = cpu_s(process);
    let idle = Duration::from_secs(if is_long { 60 } else { 5 });
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
    if is_long {
        assert!(growth <= GROWTH_MIB_A_PAGE_MAX, "{growth}");
        assert!(ready_s <= READY_S_MAX, "{ready_s}");
        assert!(idle_share <= IDLE_SHARE_MAX, "{idle_share}");
    }
}
