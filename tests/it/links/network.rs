//! TCP: receivers that are there, that die, and that are not who they should be.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leadscan::deliver::link::{FolderStore, Receiver, Stream, serve};
use leadscan::deliver::spool::Failure;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;
use super::peer::{Kind, Peer};
use super::{deliver, holds, keeps_the_contract, link, record, run};

const ANY_PORT: [&str; 2] = ["--tcp", "127.0.0.1:0"];

fn plain(address: &str) -> String {
    format!("address = {address:?}\nsecurity = 'plain'")
}

#[test]
fn plain_connections_keep_the_contract() {
    for kind in [Kind::Leadscan, Kind::Python] {
        let out = tempfile::tempdir().unwrap();
        let peer = Peer::start(kind, &ANY_PORT, out.path());
        let mut link = link("tcp", &plain(&peer.line));
        run(keeps_the_contract(&mut *link, out.path()));
        assert_eq!(peer.end().len(), 27, "{kind:?}");
    }
}

#[test]
fn several_devices_are_served_at_once() {
    let out = tempfile::tempdir().unwrap();
    let peer = Peer::start(Kind::Leadscan, &ANY_PORT, out.path());
    let records: Vec<_> = (0..5).map(|k| record(k, 20_000)).collect();
    let sending = records.iter().cloned().map(|record| {
        let settings = plain(&peer.line);
        std::thread::spawn(move || run(link("tcp", &settings).deliver(&record)))
    });
    let sending: Vec<_> = sending.collect();
    for sent in sending {
        sent.join().unwrap().unwrap();
    }
    holds(out.path(), &records);
    assert_eq!(peer.end().len(), 5);
}

/// Accepts, says nothing or a word, and dies.
async fn die(listener: TcpListener) {
    for word in [&b""[..], b"\0", b"HTTP/1.1 400\r\n"].iter().cycle() {
        let (mut stream, _) = listener.accept().await.unwrap();
        // The device may be gone already.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, word).await;
    }
}

#[test]
fn a_receiver_that_dies_is_tried_again_and_one_that_is_back_gets_the_record() {
    let out = tempfile::tempdir().unwrap();
    let record = record(1, 20_000);
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut link = link("tcp", &plain(&address));
        let dying = tokio::task::spawn_local(die(listener));
        let error = link.deliver(&record).await.unwrap_err();
        assert_eq!(error.fault, Failure::Temporary, "{error}");
        dying.abort();
        assert!(dying.await.is_err());
        let error = link.deliver(&record).await.unwrap_err();
        assert!(error.reason.contains(&address), "{error}");
        let peer = Peer::start(Kind::Leadscan, &["--tcp", &address], out.path());
        deliver(&mut *link, &record).await.unwrap();
        drop(peer);
        // The connection that is open is dead: a fresh receiver gets the next record.
        let peer = Peer::start(Kind::Leadscan, &["--tcp", &address], out.path());
        deliver(&mut *link, &record).await.unwrap();
        assert_eq!(peer.end().len(), 0);
    });
    holds(out.path(), &[record]);
}

/// Serves whoever shakes hands.
async fn secure(listener: TcpListener, acceptor: TlsAcceptor, folder: PathBuf) {
    let store = RefCell::new(FolderStore::open(&folder).unwrap());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(stream) = acceptor.accept(stream).await {
            let mut stream: Stream = Box::new(stream);
            let mut receiver = Receiver::new("ward");
            let idle_max = Duration::from_secs(5);
            // How a connection ends is the device's to tell.
            let _ = serve(&mut stream, &mut receiver, &store, idle_max, |_| Ok(())).await;
        }
    }
}

fn tls(address: SocketAddr, ca: &Path, name: &str, client: Option<(PathBuf, PathBuf)>) -> String {
    let client = client.map_or(String::new(), |(certificate, key)| {
        format!(", client = {{ certificate = {certificate:?}, key = {key:?} }}")
    });
    format!("address = '{address}'\nsecurity.tls = {{ ca = {ca:?}, name = {name:?}{client} }}")
}

/// Whether a receiver behind TLS takes a record from a device with these settings.
fn is_taken(ours: &Authority, settings: impl Fn(SocketAddr) -> String) -> bool {
    let out = tempfile::tempdir().unwrap();
    let record = record(1, 20_000);
    let sent = run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = settings(listener.local_addr().unwrap());
        let folder = out.path().to_owned();
        let serving = tokio::task::spawn_local(secure(listener, ours.acceptor(), folder));
        let sent = link("tcp", &settings).deliver(&record).await;
        serving.abort();
        sent
    });
    let failed = sent.as_ref().err().map(|error| error.fault);
    assert!(failed.is_none_or(|fault| fault == Failure::Temporary));
    let expected = if sent.is_ok() { vec![record] } else { vec![] };
    holds(out.path(), &expected);
    println!("{sent:?}");
    sent.is_ok()
}

#[test]
fn both_ends_of_a_safe_connection_prove_who_they_are() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (ca, name) = (ours.ca(), "ward.example");
    let client = || Some(ours.sign("bed7.example"));
    assert!(is_taken(&ours, |at| tls(at, &ca, name, client())));
    assert!(!is_taken(&ours, |at| tls(at, &theirs.ca(), name, client())));
    assert!(!is_taken(&ours, |at| tls(
        at,
        &ca,
        "other.example",
        client()
    )));
    assert!(!is_taken(&ours, |at| tls(at, &ca, name, None)));
    let forged = || Some(theirs.sign("bed7.example"));
    assert!(!is_taken(&ours, |at| tls(at, &ca, name, forged())));
    assert!(!is_taken(&ours, |at| plain(&at.to_string())));
}
