//! MQTT: Mosquitto as the broker, killed and started again, and a subscriber that keeps records.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use leadscan::deliver::link::{Link, LinkError, Outgoing};
use leadscan::deliver::spool::Failure;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tempfile::TempDir;

use super::authority::Authority;
use super::{faulty_records, holds, link, plain_records, random, record, run};

const WAIT: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(10);
/// Debian puts it where only root looks.
const PROGRAMS: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];

/// Waits for a condition, within a bound.
#[track_caller]
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < WAIT, "{what}: not within {WAIT:?}");
        std::thread::sleep(SOON);
    }
}

/// Without Mosquitto these tests are skipped, and said; in CI they fail.
fn mosquitto() -> Option<&'static str> {
    let runs = |program: &&str| Command::new(program).arg("-h").output().is_ok();
    let found = PROGRAMS.into_iter().find(runs);
    if found.is_none() {
        assert!(std::env::var_os("LEADSCAN_CI").is_none(), "no mosquitto");
        eprintln!("SKIPPED, 1 test: no mosquitto (scripts/install)");
    }
    found
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A broker with a folder of its own, which outlives it.
struct Broker {
    program: &'static str,
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Broker {
    /// `more` is added to its configuration; `None` where there is no Mosquitto.
    fn start(more: &str) -> Option<Self> {
        let program = mosquitto()?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let at = folder.path().display();
        let config = format!(
            "user root\nlog_dest file {at}/log\nlog_type all\nlog_timestamp false\n\
             persistence true\npersistence_location {at}/\nautosave_interval 1\n\
             autosave_on_changes true\nmax_queued_messages 0\n\
             listener {port} 127.0.0.1\n{more}\n"
        );
        std::fs::write(folder.path().join("conf"), config).unwrap();
        let child = None;
        let mut broker = Self {
            program,
            folder,
            port,
            child,
        };
        broker.again();
        Some(broker)
    }

    fn again(&mut self) {
        let mut command = Command::new(self.program);
        command.arg("-c").arg(self.folder.path().join("conf"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        wait_for("the broker", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    fn end(&mut self, end: End) {
        let mut child = self.child.take().unwrap();
        match end {
            End::Killed => child.kill().unwrap(),
            End::Told => {
                let told = Command::new("kill").arg(child.id().to_string()).status();
                assert!(told.unwrap().success());
            }
        }
        child.wait().unwrap();
    }

    /// How often its log says so.
    fn said(&self, word: &str) -> usize {
        let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).matches(word).count()
    }

    /// Whether a record lies on its disk.
    fn has_saved(&self, record: &Outgoing) -> bool {
        let found = std::fs::read(self.folder.path().join("mosquitto.db")).unwrap_or_default();
        let wanted = record.bytes();
        found.windows(wanted.len()).any(|bytes| bytes == wanted)
    }

    fn settings(&self, more: &str) -> String {
        let port = self.port;
        format!("address = '127.0.0.1:{port}'\nsecurity = 'plain'\nprefix = 'ward/bed-7'\n{more}")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.end(End::Killed);
        }
    }
}

/// What a subscriber has seen.
#[derive(Default)]
struct Seen {
    is_subscribed: bool,
    stored: usize,
    doubled: usize,
    states: Vec<String>,
}

/// Keeps records in a folder; has a session that lasts, and acknowledges what is on the disk.
struct Subscriber {
    seen: Arc<Mutex<Seen>>,
    is_ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    fn start(port: u16, folder: &Path) -> Self {
        Self::start_as("archive", port, folder)
    }

    fn start_as(id: &'static str, port: u16, folder: &Path) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let is_ended: Arc<AtomicBool> = Arc::default();
        let (shown, told, folder) = (Arc::clone(&seen), Arc::clone(&is_ended), folder.to_owned());
        let thread = std::thread::spawn(move || run(subscribe(id, port, &folder, &shown, &told)));
        let thread = Some(thread);
        let subscriber = Self {
            seen,
            is_ended,
            thread,
        };
        wait_for("the subscription", || {
            subscriber.see(|seen| seen.is_subscribed)
        });
        subscriber
    }

    fn see<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    #[track_caller]
    fn wait_for_state(&self, state: &str) {
        wait_for(state, || {
            self.see(|seen| seen.states.last().is_some_and(|last| last == state))
        });
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.is_ended.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

async fn subscribe(id: &str, port: u16, folder: &Path, seen: &Mutex<Seen>, is_ended: &AtomicBool) {
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    options.set_clean_start(false).set_manual_acks(true);
    options.set_session_expiry_interval(Some(u32::MAX));
    options.set_max_packet_size(Some(64 << 20));
    let (client, mut events) = AsyncClient::new(options, 64);
    while !is_ended.load(Ordering::Relaxed) {
        let Ok(polled) = tokio::time::timeout(SOON * 10, events.poll()).await else {
            continue;
        };
        match polled {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                client.try_subscribe("ward/+/#", QoS::AtLeastOnce).unwrap();
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => seen.lock().unwrap().is_subscribed = true,
            Ok(Event::Incoming(Packet::Publish(message))) => {
                take(&message, folder, &mut seen.lock().unwrap());
                client.try_ack(&message).unwrap();
            }
            Ok(_) => {}
            // The broker is away.
            Err(_) => tokio::time::sleep(SOON).await,
        }
    }
}

fn take(message: &Publish, folder: &Path, seen: &mut Seen) {
    let topic = std::str::from_utf8(&message.topic).unwrap();
    if topic.ends_with("/status") {
        let state = String::from_utf8(message.payload.to_vec()).unwrap();
        return seen.states.push(state);
    }
    assert!(!message.retain);
    let id = topic.strip_prefix("ward/bed-7/records/").unwrap();
    let place = folder.join(format!("{id}.lsr"));
    if let Ok(found) = std::fs::read(&place) {
        assert!(found == message.payload, "{id} has other bytes");
        return seen.doubled += 1;
    }
    let draft = folder.join(format!(".{id}"));
    std::fs::write(&draft, &message.payload).unwrap();
    std::fs::File::open(&draft).unwrap().sync_all().unwrap();
    std::fs::rename(draft, place).unwrap();
    seen.stored += 1;
}

/// The subscriber has these records, each once; the broker brings them in its own time.
#[track_caller]
fn arrived(subscriber: &Subscriber, folder: &Path, records: &[Outgoing]) {
    wait_for("the records", || {
        subscriber.see(|seen| seen.stored) >= records.len()
    });
    holds(folder, records);
    let (tried, doubled) = (records.len(), subscriber.see(|seen| seen.doubled));
    println!("{tried} tried, 0 lost, {doubled} came again");
}

/// As the service does it, with little patience.
async fn deliver(link: &mut dyn Link, record: &Outgoing) -> usize {
    let began = Instant::now();
    let mut tries = 1;
    while let Err(error) = link.deliver(record).await {
        assert_eq!(error.fault, Failure::Temporary, "{error}");
        assert!(began.elapsed() < WAIT, "{error}");
        tokio::time::sleep(SOON).await;
        tries += 1;
    }
    tries
}

const OPEN: &str = "allow_anonymous true";

#[test]
fn records_arrive_once_through_a_link_that_fails() {
    let Some(broker) = Broker::start(OPEN) else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let subscriber = Subscriber::start(broker.port, out.path());
    let mut link = link("mqtt", &broker.settings(""));
    let records = run(async {
        let mut records = plain_records();
        for record in records.iter().chain(&records) {
            link.deliver(record).await.unwrap();
        }
        records.extend(faulty_records(&mut *link).await);
        // The longest that there is.
        let long = record(200, leadscan::limits::LINK_RECORD_BYTES_MAX);
        link.deliver(&long).await.unwrap();
        records.push(long);
        records
    });
    arrived(&subscriber, out.path(), &records);
}

/// How a broker ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// It is told to, and saves what it has.
    Told,
    /// As by a power cut.
    Killed,
}

/// Records through a broker that ends while one of every four is on its way, and is back at once:
/// how many were lost, and how often it ended.
fn lost_through(end: End) -> Option<(usize, usize)> {
    let mut broker = Broker::start(OPEN)?;
    let out = tempfile::tempdir().unwrap();
    let subscriber = Subscriber::start(broker.port, out.path());
    let mut link = link("mqtt", &broker.settings(""));
    let ends: u8 = crate::sampled(6, 60);
    let records: Vec<Outgoing> = (0..ends * 4).map(|k| record(k, 60_000)).collect();
    let (mut seed, mut tries) = (11, 0);
    for (k, few) in records.chunks(4).enumerate() {
        let moment = Duration::from_micros(random(&mut seed) % 8_000);
        let ending = std::thread::spawn(move || {
            std::thread::sleep(moment);
            broker.end(end);
            broker.again();
            // The log goes on from before.
            wait_for("the subscriber", || broker.said("as archive (p5") > k + 1);
            broker
        });
        tries += run(async {
            let mut tries = 0;
            for record in few {
                tries += deliver(&mut *link, record).await;
            }
            tries
        });
        broker = ending.join().unwrap();
    }
    // What comes last shows that nothing is on its way any more.
    let last = record(255, 10);
    let place = out.path().join(format!("{}.lsr", last.offer().id));
    run(deliver(&mut *link, &last));
    wait_for("the last record", || place.exists());
    let (stored, doubled) = subscriber.see(|seen| (seen.stored, seen.doubled));
    let (tried, lost) = (records.len(), records.len() + 1 - stored);
    println!(
        "{end:?} {ends} times: {tried} tried, {tries} tries, {lost} lost, {doubled} came again"
    );
    Some((lost, ends.into()))
}

#[test]
fn a_broker_that_is_started_again_and_again_loses_nothing() {
    if let Some((lost, _)) = lost_through(End::Told) {
        assert_eq!(lost, 0);
    }
}

/// Mosquitto acknowledges a record and saves it then: what it is killed between may be lost, and no
/// more. The link cannot know; its head says so.
#[test]
fn a_broker_that_is_killed_loses_what_it_did_not_save_and_no_more() {
    if let Some((lost, ends)) = lost_through(End::Killed) {
        assert!(lost <= ends, "{lost} lost, more than one an end");
    }
}

#[test]
fn records_wait_in_the_broker_for_a_subscriber_that_is_away() {
    let Some(mut broker) = Broker::start(OPEN) else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    drop(Subscriber::start(broker.port, out.path()));
    let mut link = link("mqtt", &broker.settings(""));
    let records: Vec<Outgoing> = (0..10).map(|k| record(k, 5_000)).collect();
    run(async {
        for record in &records[..5] {
            assert_eq!(deliver(&mut *link, record).await, 1);
        }
        // Mosquitto acknowledges first and saves then: what it is killed between is lost to a
        // subscriber that is away.
        wait_for("the broker's disk", || broker.has_saved(&records[4]));
        broker.end(End::Killed);
        broker.again();
        for record in &records[5..] {
            deliver(&mut *link, record).await;
        }
    });
    let subscriber = Subscriber::start(broker.port, out.path());
    arrived(&subscriber, out.path(), &records);
}

#[test]
fn a_record_that_nobody_subscribes_to_is_kept() {
    let Some(broker) = Broker::start(OPEN) else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let mut link = link("mqtt", &broker.settings(""));
    let record = record(1, 100);
    let error = run(link.deliver(&record)).unwrap_err();
    assert_eq!(error.fault, Failure::Temporary);
    assert!(error.reason.contains("nobody subscribes"), "{error}");
    let subscriber = Subscriber::start(broker.port, out.path());
    run(link.deliver(&record)).unwrap();
    arrived(&subscriber, out.path(), &[record]);
}

/// How one record fares.
fn outcome(broker: &Broker, more: &str, bytes: usize) -> Result<(), LinkError> {
    let sent = run(link("mqtt", &broker.settings(more)).deliver(&record(1, bytes)));
    println!("{sent:?}");
    sent
}

#[track_caller]
fn fails(sent: Result<(), LinkError>, fault: Failure, word: &str) {
    let error = sent.unwrap_err();
    assert_eq!(error.fault, fault, "{error}");
    assert!(error.reason.contains(word), "{error}");
}

#[test]
fn a_record_that_is_too_long_for_the_broker_is_refused() {
    for limit in ["max_packet_size 5000", "message_size_limit 5000"] {
        let Some(broker) = Broker::start(&format!("{OPEN}\n{limit}")) else {
            return;
        };
        let out = tempfile::tempdir().unwrap();
        let subscriber = Subscriber::start(broker.port, out.path());
        fails(outcome(&broker, "", 6_000), Failure::Permanent, "length");
        outcome(&broker, "", 2_000).unwrap();
        arrived(&subscriber, out.path(), &[record(1, 2_000)]);
    }
}

/// A file of that mode in the folder of a broker that is not there yet.
fn secret(folder: &TempDir, text: &str) -> PathBuf {
    let path = folder.path().join(text);
    std::fs::write(&path, format!("{text}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path
}

#[test]
fn who_may_not_in_gets_nothing_and_parks_nothing() {
    let files = tempfile::tempdir().unwrap();
    let (users, rights) = (files.path().join("users"), files.path().join("rights"));
    let mut passwords = Command::new("mosquitto_passwd");
    passwords
        .args(["-b", "-c"])
        .arg(&users)
        .args(["bed-7", "right"]);
    if mosquitto().is_none() {
        return;
    }
    assert!(passwords.status().unwrap().success());
    std::fs::write(&rights, "user bed-7\ntopic write ward/bed-7/status\n").unwrap();
    let login = |user: &str, password: &str| {
        let path = secret(&files, password);
        format!("login = {{ user = {user:?}, password = {path:?} }}")
    };
    let config = format!("allow_anonymous false\npassword_file {}", users.display());
    let broker = Broker::start(&config).unwrap();
    fails(
        outcome(&broker, "", 100),
        Failure::Temporary,
        "let the device in",
    );
    let wrong = outcome(&broker, &login("bed-7", "wrong"), 100);
    fails(wrong, Failure::Temporary, "let the device in");
    // In, but there is nobody to have it.
    let right = outcome(&broker, &login("bed-7", "right"), 100);
    fails(right, Failure::Temporary, "nobody subscribes");
    let config = format!("{config}\nacl_file {}", rights.display());
    let broker = Broker::start(&config).unwrap();
    let shut = outcome(&broker, &login("bed-7", "right"), 100);
    fails(shut, Failure::Temporary, "its rights");
}

#[test]
fn a_broker_must_be_who_the_settings_say() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (certificate, key) = ours.sign("broker.example");
    let plain_port = free_port();
    let mut config = format!("{OPEN}\ncafile {}\n", ours.ca().display());
    writeln!(config, "certfile {}", certificate.display()).unwrap();
    writeln!(config, "keyfile {}", key.display()).unwrap();
    writeln!(
        config,
        "require_certificate true\nlistener {plain_port} 127.0.0.1"
    )
    .unwrap();
    let Some(broker) = Broker::start(&config) else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let subscriber = Subscriber::start(plain_port, out.path());
    let send = |ca: PathBuf, name: &str, (certificate, key): (PathBuf, PathBuf)| {
        let port = broker.port;
        let settings = format!(
            "address = '127.0.0.1:{port}'\nprefix = 'ward/bed-7'\nsecurity.tls = {{ ca = {ca:?}, \
             name = {name:?}, client = {{ certificate = {certificate:?}, key = {key:?} }} }}"
        );
        let sent = run(link("mqtt", &settings).deliver(&record(1, 60_000)));
        println!("{sent:?}");
        sent
    };
    let device = || ours.sign("bed7.example");
    fails(
        send(theirs.ca(), "broker.example", device()),
        Failure::Temporary,
        "certificate",
    );
    fails(
        send(ours.ca(), "other.example", device()),
        Failure::Temporary,
        "certificate",
    );
    let forged = send(ours.ca(), "broker.example", theirs.sign("bed7.example"));
    fails(forged, Failure::Temporary, "");
    fails(outcome(&broker, "", 100), Failure::Temporary, "");
    holds(out.path(), &[]);
    send(ours.ca(), "broker.example", device()).unwrap();
    arrived(&subscriber, out.path(), &[record(1, 60_000)]);
}

#[test]
fn the_status_tells_whether_the_device_is_there() {
    let Some(mut broker) = Broker::start(OPEN) else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let subscriber = Subscriber::start(broker.port, out.path());
    let mut link = link("mqtt", &broker.settings("keep_alive_s = 1"));
    run(async {
        link.deliver(&record(1, 100)).await.unwrap();
        subscriber.wait_for_state("online");
        // Without a sign of life for 1.5 s, the broker would say "offline".
        let pings = || broker.said("Received PINGREQ from bed 7");
        rest_until("pings", &mut *link, || pings() >= 6).await;
        subscriber.see(|seen| assert!(!seen.states.contains(&"offline".to_owned())));
        broker.end(End::Killed);
        broker.again();
        let count = || subscriber.see(|seen| seen.states.len());
        let before = count();
        rest_until("online again", &mut *link, || count() > before).await;
        subscriber.wait_for_state("online");
    });
    // Who comes later is told as well.
    let told = |id| Subscriber::start_as(id, broker.port, out.path());
    told("while there").wait_for_state("online");
    drop(link);
    subscriber.wait_for_state("offline");
    told("while gone").wait_for_state("offline");
}

/// Lets the link rest, looking up now and then.
async fn rest_until(what: &str, link: &mut dyn Link, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < WAIT, "{what}: not within {WAIT:?}");
        let _ = tokio::time::timeout(SOON * 100, link.rest()).await;
    }
}

/// It is ended with its test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_service_that_is_killed_is_offline() {
    let Some(broker) = Broker::start(OPEN) else {
        return;
    };
    let site = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let subscriber = Subscriber::start(broker.port, out.path());
    std::fs::create_dir(site.path().join("in")).unwrap();
    let config = format!(
        "device = 'bed 7'\n[spool]\nfolder = {:?}\nfree_mib_min = 1\n[watch]\nfolder = {:?}\n\
         settle_ms = 0\n[[destination]]\nname = 'broker'\nlink = 'mqtt'\n{}",
        site.path().join("spool"),
        site.path().join("in"),
        broker.settings("keep_alive_s = 1")
    );
    let path = site.path().join("leadscan.toml");
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_leadscan"));
    command
        .args(["serve", "--config"])
        .arg(&path)
        .stderr(Stdio::null());
    let mut service = Service(command.spawn().unwrap());
    // Without a record, and it stays so.
    subscriber.wait_for_state("online");
    wait_for("pings", || broker.said("Received PINGREQ from bed 7") >= 4);
    std::fs::write(site.path().join("in/page.png"), "no picture").unwrap();
    wait_for("a record", || subscriber.see(|seen| seen.stored) == 1);
    subscriber.wait_for_state("online");
    service.0.kill().unwrap();
    service.0.wait().unwrap();
    subscriber.wait_for_state("offline");
    let mut counts = BTreeMap::new();
    for state in subscriber.see(|seen| seen.states.clone()) {
        *counts.entry(state).or_insert(0) += 1;
    }
    assert_eq!(
        counts,
        BTreeMap::from([("offline".into(), 1), ("online".into(), 1)])
    );
}
