//! A network that goes down and comes back while records are on their way: two ends of a cable
//! (veth), one in a network namespace of its own. Needs root and namespaces, which a container may not
//! have: skipped with a word without them.

use std::process::Command;
use std::time::{Duration, Instant};

use super::peer::{Kind, Peer};
use super::{holds, link, record, run};
use leadscan::deliver::spool::Failure;

const HERE: &str = "lscut0";
const THERE: &str = "lscut1";
const SPACE: &str = "leadscan-cut";
const ADDRESS: &str = "10.231.77.2:7123";

fn ip(words: &str) -> bool {
    let output = Command::new("ip").args(words.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}

/// Cable and namespace, removed with their test.
struct Cable;

impl Cable {
    fn lay() -> Option<Self> {
        // From a test that was killed.
        ip(&format!("netns del {SPACE}"));
        ip(&format!("link del {HERE}"));
        let is_laid = [
            format!("netns add {SPACE}"),
            format!("link add {HERE} type veth peer name {THERE} netns {SPACE}"),
            format!("addr add 10.231.77.1/24 dev {HERE}"),
            format!("link set {HERE} up"),
            format!("-n {SPACE} addr add 10.231.77.2/24 dev {THERE}"),
            format!("-n {SPACE} link set {THERE} up"),
            format!("-n {SPACE} link set lo up"),
        ]
        .iter()
        .all(|words| ip(words));
        if is_laid {
            return Some(Self);
        }
        eprintln!("skipped: no root, or no network namespaces");
        None
    }

    fn set(state: &str) {
        assert!(ip(&format!("link set {HERE} {state}")));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        ip(&format!("netns del {SPACE}"));
        ip(&format!("link del {HERE}"));
    }
}

#[test]
fn a_network_that_goes_down_and_comes_back_loses_nothing() {
    let Some(_cable) = Cable::lay() else { return };
    let cuts = crate::sampled(2, 20);
    let out = tempfile::tempdir().unwrap();
    let prefix = ["ip", "netns", "exec", SPACE];
    let peer = Peer::start_under(&prefix, Kind::Leadscan, &["--tcp", ADDRESS], out.path());
    let settings = format!("address = {ADDRESS:?}\nsecurity = 'plain'");
    let mut records = Vec::new();
    let mut failures = 0;
    for cut in 0..cuts {
        let record = record(cut, 2_000_000);
        // Somewhere in the middle of it, or between two.
        let down_after = Duration::from_millis(3 * u64::from(cut));
        let cutter = std::thread::spawn(move || {
            let began = Instant::now();
            while began.elapsed() < down_after {
                std::thread::yield_now();
            }
            Cable::set("down");
            let down = Instant::now();
            while down.elapsed() < Duration::from_millis(300) {
                std::thread::sleep(Duration::from_millis(10));
            }
            Cable::set("up");
        });
        let mut link = link("tcp", &settings);
        loop {
            match run(link.deliver(&record)) {
                Ok(()) => break,
                Err(error) => {
                    assert_eq!(error.fault, Failure::Temporary, "{error}");
                    failures += 1;
                }
            }
        }
        cutter.join().unwrap();
        records.push(record);
    }
    holds(out.path(), &records);
    let stored = peer.end().len();
    println!("{cuts} cuts: {failures} deliveries failed, 0 lost, {stored} stored");
    assert_eq!(stored, records.len(), "each was stored once");
}
