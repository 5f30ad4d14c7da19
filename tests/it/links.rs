//! Links as the service and an integrator meet them: whatever the line does, every record arrives
//! once and equal. Serial lines are pairs of pseudo-terminals (socat), with a proxy between them that
//! flips, drops and doubles bytes and cuts the line; receivers are `leadscan receive` and
//! `scripts/receiver.py`, a web server of hyper's, and a subscriber of Mosquitto's. Everything has a
//! bound; nothing leaves this machine. `LEADSCAN_LONG` raises the counts.

mod authority;
mod cut;
#[cfg(feature = "https")]
mod https;
#[cfg(feature = "mqtt")]
mod mqtt;
mod network;
mod peer;
mod serial;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use leadscan::deliver::link::{
    Checking, Delivering, Link, LinkError, Outgoing, RecordId, link_named,
};
use leadscan::deliver::spool::Failure;
use tokio::time::timeout;

/// A record of that number and length, like no other.
fn record(number: u8, bytes: usize) -> Outgoing {
    let mut seed = u64::from(number) + 1;
    let content: Vec<u8> = (0..bytes).map(|_| random(&mut seed) as u8).collect();
    Outgoing::new(RecordId([number; 16]), content.into()).unwrap()
}

/// A link of that name with these settings.
fn link(name: &str, settings: &str) -> Box<dyn Link> {
    let kind = link_named(name).unwrap();
    kind.make(toml::from_str(settings).unwrap(), "bed 7")
        .unwrap()
}

/// The folder holds these records, each in a file of its own, and nothing else that can be seen.
#[track_caller]
fn holds(folder: &Path, records: &[Outgoing]) {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !name.starts_with('.') {
            found.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    let named = |record: &Outgoing| {
        let name = format!("{}.lsr", record.offer().id);
        (name, record.bytes().to_vec())
    };
    let expected: BTreeMap<_, _> = records.iter().map(named).collect();
    assert!(found == expected, "{:?}", found.keys());
}

/// Runs it as the service would, on one thread.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// Tries again as often as the failures are temporary, like the service, but without its patience.
async fn deliver(link: &mut dyn Link, record: &Outgoing) -> Result<(), LinkError> {
    let mut last = Ok(());
    for _ in 0..60 {
        last = link.deliver(record).await;
        match &last {
            Err(error) if error.fault == Failure::Temporary => {}
            Ok(()) | Err(_) => return last,
        }
    }
    last
}

/// A link that fails now and then: before it delivers, after it did, or in the middle.
struct Faulty<'a> {
    inner: &'a mut dyn Link,
    seed: u64,
}

impl Faulty<'_> {
    async fn send(&mut self, record: &Outgoing) -> Result<(), LinkError> {
        let lost = Err(LinkError {
            fault: Failure::Temporary,
            reason: "faulty".to_owned(),
        });
        match random(&mut self.seed) % 4 {
            0 => lost,
            1 => self.inner.deliver(record).await.and(lost),
            2 => {
                let soon = Duration::from_millis(random(&mut self.seed) % 4);
                timeout(soon, self.inner.deliver(record))
                    .await
                    .unwrap_or(lost)
            }
            _ => self.inner.deliver(record).await,
        }
    }
}

impl Link for Faulty<'_> {
    fn deliver<'a>(&'a mut self, record: &'a Outgoing) -> Delivering<'a> {
        Box::pin(self.send(record))
    }

    fn check(&mut self) -> Checking<'_> {
        self.inner.check()
    }
}

/// A look leaves nothing behind.
fn names_nothing(folder: &Path) -> bool {
    let mut entries = std::fs::read_dir(folder).unwrap();
    entries.all(|entry| entry.unwrap().file_name().to_string_lossy() != ".leadscan-check")
}

/// What every link must do; `folder` is where its receiver keeps the records.
async fn keeps_the_contract(link: &mut dyn Link, folder: &Path) {
    let found = link.check().await.unwrap();
    assert!(!found.is_empty() && names_nothing(folder), "{found}");
    let mut records = plain_records();
    for record in records.iter().chain(&records) {
        link.deliver(record).await.unwrap();
    }
    holds(folder, &records);
    let id = records[5].offer().id;
    let other = Outgoing::new(id, b"other".as_slice().into()).unwrap();
    let error = link.deliver(&other).await.unwrap_err();
    assert_eq!(error.fault, Failure::Permanent, "{error}");
    records.extend(faulty_records(link).await);
    holds(folder, &records);
}

/// Records of lengths around those of a chunk.
fn plain_records() -> Vec<Outgoing> {
    let sizes = [0, 1, 959, 960, 961, 20_000, 100_000];
    let records = (0..).zip(sizes);
    records.map(|(k, bytes)| record(k, bytes)).collect()
}

/// Records that were delivered through a link that fails now and then.
async fn faulty_records(inner: &mut dyn Link) -> Vec<Outgoing> {
    let seed = 7;
    let mut faulty = Faulty { inner, seed };
    let records: Vec<Outgoing> = (100..120).map(|number| record(number, 5_000)).collect();
    for record in &records {
        deliver(&mut faulty, record).await.unwrap();
    }
    records
}

fn check(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("folder = {:?}", folder.path());
    let mut link = link(name, &settings);
    run(keeps_the_contract(&mut *link, folder.path()));
}

#[test]
fn links_to_a_folder_keep_the_contract() {
    check("loopback");
    check("folder");
}

#[test]
fn a_folder_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let share = folder.path().join("share");
    let mut link = link("folder", &format!("folder = {share:?}"));
    let error = run(link.deliver(&record(1, 10))).unwrap_err();
    assert_eq!(error.fault, Failure::Temporary);
    assert!(!share.exists());
}

#[test]
fn settings_that_are_not_understood_are_refused() {
    for (name, settings) in [
        ("loopback", ""),
        ("folder", "folder = '/tmp'\nmode = 1"),
        ("serial", "path = '/dev/ttyUSB0'\nbaud = 300"),
        ("tcp", "address = 'ward.example:7000'"),
        ("tcp", "address = 'ward.example'\nsecurity = 'plain'"),
        (
            "tcp",
            "address = 'ward.example:7000'\nsecurity.tls = { ca = '/none.pem', name = 'ward' }",
        ),
    ] {
        let kind = link_named(name).unwrap();
        let made = kind.make(toml::from_str(settings).unwrap(), "bed 7");
        assert!(made.is_err(), "{name}: {settings}");
    }
    assert!(link_named("pigeon").is_none());
}

/// Knuth's generator; the upper bits are good.
fn random(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}
