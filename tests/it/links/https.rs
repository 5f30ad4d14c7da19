//! HTTPS: a web server that keeps records, and others that do all that a server may do wrong.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use leadscan::deliver::link::{Link, LinkError, Outgoing, Stream, link_named};
use leadscan::deliver::spool::Failure;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;
use super::{faulty_records, holds, keeps_the_contract, link, random, record, run};

/// A record's digest as a header has it.
fn digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(bytes)))
}

/// A server that keeps records in a folder, each once.
struct Keeper {
    folder: PathBuf,
    /// The token that it wants.
    token: Option<&'static str>,
    seed: u64,
    /// Of a hundred requests, so many are answered with 500, before or after the record is stored.
    errors: u64,
    stored: usize,
    doubled: usize,
}

impl Keeper {
    fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            token: None,
            seed: 1,
            errors: 0,
            stored: 0,
            doubled: 0,
        }
    }

    fn answer(&mut self, request: &Request<Incoming>, bytes: &[u8]) -> (u16, Option<String>) {
        let head = |name: &str| request.headers().get(name).map(|value| value.as_bytes());
        let wanted = self.token.map(|token| format!("Bearer {token}"));
        if head("authorization") != wanted.as_ref().map(|token| token.as_bytes()) {
            return (401, None);
        }
        assert_eq!(request.method(), "PUT");
        assert_eq!(head("leadscan-device"), Some(&b"bed 7"[..]));
        let content_type = head("content-type");
        assert_eq!(content_type, Some(&b"application/vnd.leadscan.record"[..]));
        assert_eq!(head("content-digest"), Some(digest(bytes).as_bytes()));
        assert!(head("host").is_some());
        let is_error = random(&mut self.seed) % 100 < self.errors;
        if is_error && random(&mut self.seed).is_multiple_of(2) {
            return (500, None);
        }
        let answer = self.store(request.uri().path(), bytes);
        if is_error { (500, None) } else { answer }
    }

    fn store(&mut self, path: &str, bytes: &[u8]) -> (u16, Option<String>) {
        let id = path.strip_prefix("/in/records/").unwrap();
        let place = self.folder.join(format!("{id}.lsr"));
        if let Ok(found) = std::fs::read(&place) {
            self.doubled += 1;
            return (409, Some(digest(&found)));
        }
        let mut draft = tempfile::NamedTempFile::new_in(&self.folder).unwrap();
        draft.write_all(bytes).unwrap();
        draft.as_file().sync_all().unwrap();
        draft.persist(place).unwrap();
        std::fs::File::open(&self.folder)
            .unwrap()
            .sync_all()
            .unwrap();
        self.stored += 1;
        (201, None)
    }
}

/// Answers one connection.
async fn keep(keeper: Rc<RefCell<Keeper>>, stream: Stream) {
    let service = service_fn(|mut request: Request<Incoming>| {
        let keeper = Rc::clone(&keeper);
        async move {
            let Ok(body) = request.body_mut().collect().await else {
                return Ok(Response::builder()
                    .status(400)
                    .body(Full::default())
                    .unwrap());
            };
            let (status, digest) = keeper.borrow_mut().answer(&request, &body.to_bytes());
            let mut answer = Response::builder().status(status);
            if let Some(digest) = digest {
                answer = answer.header("content-digest", digest);
            }
            Ok::<_, Infallible>(answer.body(Full::new(Bytes::from_static(b"{}"))).unwrap())
        }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    // How a connection ends is the device's to tell.
    let _ = connection
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A server on this machine, until it is dropped.
struct Server {
    address: String,
    serving: JoinHandle<()>,
}

impl Server {
    /// Each connection is another call of `answer`.
    async fn start<F: Future<Output = ()> + 'static>(
        mut answer: impl FnMut(TcpStream) -> F + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::task::spawn_local(answer(stream));
            }
        });
        Self { address, serving }
    }

    async fn keeping(keeper: &Rc<RefCell<Keeper>>, acceptor: Option<TlsAcceptor>) -> Self {
        let keeper = Rc::clone(keeper);
        Self::start(move |stream| {
            let (keeper, acceptor) = (Rc::clone(&keeper), acceptor.clone());
            async move {
                match acceptor {
                    None => keep(keeper, Box::new(stream)).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            keep(keeper, Box::new(stream)).await;
                        }
                    }
                }
            }
        })
        .await
    }

    /// Settings of a link to it without TLS.
    fn plain(&self) -> String {
        format!("url = 'http://{}/in/'\nsecurity = 'plain'", self.address)
    }

    fn tls(&self, ca: &Path, name: &str, (certificate, key): (PathBuf, PathBuf)) -> String {
        format!(
            "url = 'https://{}/in'\nsecurity.tls = {{ ca = {ca:?}, name = {name:?}, \
             client = {{ certificate = {certificate:?}, key = {key:?} }} }}",
            self.address
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn keeper(folder: &Path) -> Rc<RefCell<Keeper>> {
    Rc::new(RefCell::new(Keeper::new(folder)))
}

#[test]
fn plain_and_safe_connections_keep_the_contract() {
    let ours = Authority::new();
    for is_safe in [false, true] {
        let out = tempfile::tempdir().unwrap();
        let keeper = keeper(out.path());
        run(async {
            let acceptor = is_safe.then(|| ours.acceptor());
            let server = Server::keeping(&keeper, acceptor).await;
            let settings = match is_safe {
                false => server.plain(),
                true => server.tls(&ours.ca(), "ward.example", ours.sign("bed7.example")),
            };
            keeps_the_contract(&mut *link("https", &settings), out.path()).await;
        });
        let keeper = keeper.borrow();
        println!(
            "27 records, {} stored, {} came again",
            keeper.stored, keeper.doubled
        );
        assert_eq!(keeper.stored, 27);
    }
}

#[test]
fn a_server_that_fails_now_and_then_gets_every_record_once() {
    let out = tempfile::tempdir().unwrap();
    let keeper = keeper(out.path());
    keeper.borrow_mut().errors = 50;
    let rounds = crate::sampled(1, 20);
    let records = run(async {
        let server = Server::keeping(&keeper, None).await;
        let mut link = link("https", &server.plain());
        let mut records = Vec::new();
        for _ in 0..rounds {
            records = faulty_records(&mut *link).await;
        }
        records
    });
    holds(out.path(), &records);
    let keeper = keeper.borrow();
    let (stored, doubled) = (keeper.stored, keeper.doubled);
    println!(
        "{} tried, 0 lost, {stored} stored, {doubled} came again",
        records.len()
    );
    assert_eq!(stored, records.len());
    assert!(doubled > 0, "the server was asked again");
}

/// What a delivery to a server that answers in its own way comes to, and the seconds it took.
fn outcome<F: Future<Output = ()> + 'static>(
    settings: &str,
    answer: impl FnMut(TcpStream) -> F + 'static,
) -> (Result<(), LinkError>, Duration) {
    let record = record(1, 20_000);
    run(async {
        let server = Server::start(answer).await;
        let mut link = link("https", &format!("{}\n{settings}", server.plain()));
        let began = Instant::now();
        let sent = link.deliver(&record).await;
        println!("{sent:?}");
        (sent, began.elapsed())
    })
}

/// Reads until the record's last bytes are there.
async fn read_request(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    let content = record(1, 20_000);
    while !bytes.ends_with(content.bytes()) {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
    }
}

#[track_caller]
fn fails(answer: &'static [u8], fault: Failure, word: &str) {
    let (sent, _) = outcome("", move |mut stream| async move {
        read_request(&mut stream).await;
        // The device may have gone in the middle of a long answer.
        let _ = stream.write_all(answer).await;
    });
    let error = sent.unwrap_err();
    assert_eq!(error.fault, fault, "{error}");
    assert!(error.reason.contains(word), "{error}");
    assert!(error.reason.len() <= 200);
}

#[test]
fn what_the_server_says_of_a_record_is_taken_for_what_it_means() {
    use Failure::{Permanent, Temporary};
    fails(b"HTTP/1.1 413 Too Large\r\n\r\n", Permanent, "413");
    fails(
        b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
        Temporary,
        "500",
    );
    fails(b"HTTP/1.1 401 Who\r\n\r\n", Temporary, "token");
    fails(
        b"HTTP/1.1 409 Conflict\r\n\r\n",
        Permanent,
        "another record",
    );
    let moved = b"HTTP/1.1 307 There\r\nlocation: http://127.0.0.1:9/x\r\n\r\n";
    fails(moved, Temporary, "redirected");
}

#[test]
fn broken_answers_are_no_deliveries() {
    use Failure::Temporary;
    fails(b"", Temporary, "");
    fails(b"HTTP/1.1 20", Temporary, "");
    fails(b"HTTP/1.1 201 Created\r\nx: y", Temporary, "");
    fails(b"\0\0\0\0", Temporary, "");
    fails(b"SSH-2.0-OpenSSH_9.2\r\n", Temporary, "");
    fails(
        b"HTTP/1.1 101 Other\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        Temporary,
        "",
    );
    let long = format!(
        "HTTP/1.1 201 Created\r\nx: {}\r\n\r\n",
        "y".repeat(64 << 10)
    );
    fails(long.leak().as_bytes(), Temporary, "");
    let many = format!("HTTP/1.1 201 Created\r\n{}\r\n", "x: y\r\n".repeat(80));
    fails(many.leak().as_bytes(), Temporary, "");
}

#[test]
fn an_acknowledgement_counts_though_its_body_breaks_off() {
    let (sent, _) = outcome("", |mut stream| async move {
        read_request(&mut stream).await;
        let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 1000000\r\n\r\nhalf";
        stream.write_all(answer).await.unwrap();
    });
    sent.unwrap();
}

#[test]
fn a_server_that_accepts_and_dies_costs_a_try() {
    let (sent, _) = outcome("", |stream| async move { drop(stream) });
    assert_eq!(sent.unwrap_err().fault, Failure::Temporary);
    let (sent, _) = outcome("", |mut stream| async move {
        let mut some = [0; 100];
        stream.read_exact(&mut some).await.unwrap();
    });
    assert_eq!(sent.unwrap_err().fault, Failure::Temporary);
}

#[test]
fn slow_answers_end_with_their_time() {
    // 20,000 bytes have 5 s.
    let bound = Duration::from_millis(5_300);
    let silent = outcome("answer_ms = 300", |stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let dripping = outcome("answer_ms = 300", |mut stream| async move {
        read_request(&mut stream).await;
        let head = b"HTTP/1.1 201 Created\r\nx: ".iter();
        for byte in head.chain(std::iter::repeat(&b'y')) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for (sent, took) in [silent, dripping] {
        let error = sent.unwrap_err();
        assert_eq!(error.fault, Failure::Temporary);
        assert!(error.reason.contains("does not answer"), "{error}");
        assert!(
            took >= bound && took < bound + Duration::from_secs(5),
            "{took:?}"
        );
    }
}

#[test]
fn a_server_that_does_not_read_a_long_record_is_given_up() {
    let long = record(1, 3_000_000);
    let error = run(async {
        let server = Server::start(|mut stream| async move {
            let answer = b"HTTP/1.1 413 Too Large\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            let mut some = [0; 4096];
            while stream.read(&mut some).await.is_ok_and(|count| count > 0) {}
        })
        .await;
        link("https", &server.plain())
            .deliver(&long)
            .await
            .unwrap_err()
    });
    assert_eq!(error.fault, Failure::Permanent, "{error}");
}

#[test]
fn redirections_are_not_followed() {
    let reached = Rc::new(RefCell::new(0));
    let count = Rc::clone(&reached);
    let error = run(async move {
        let other = Server::start(move |_| {
            *count.borrow_mut() += 1;
            async {}
        })
        .await;
        let address = other.address.clone();
        let server = Server::start(move |mut stream| {
            let answer = format!("HTTP/1.1 308 There\r\nlocation: http://{address}/\r\n\r\n");
            async move {
                read_request(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await;
        link("https", &server.plain())
            .deliver(&record(1, 20_000))
            .await
            .unwrap_err()
    });
    assert_eq!(error.fault, Failure::Temporary);
    assert_eq!(*reached.borrow(), 0);
}

/// Whether a server behind TLS takes a record from a device with these settings.
fn is_taken(acceptor: TlsAcceptor, settings: impl Fn(&Server) -> String) -> bool {
    let out = tempfile::tempdir().unwrap();
    let keeper = keeper(out.path());
    let record = record(1, 20_000);
    let sent = run(async {
        let server = Server::keeping(&keeper, Some(acceptor)).await;
        link("https", &settings(&server)).deliver(&record).await
    });
    println!("{sent:?}");
    let failed = sent.as_ref().err().map(|error| error.fault);
    assert!(failed.is_none_or(|fault| fault == Failure::Temporary));
    let expected = if sent.is_ok() { vec![record] } else { vec![] };
    holds(out.path(), &expected);
    sent.is_ok()
}

#[test]
fn a_server_must_be_who_the_settings_say() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let device = || ours.sign("bed7.example");
    let (ca, name) = (ours.ca(), "ward.example");
    assert!(is_taken(ours.acceptor(), |at| at.tls(&ca, name, device())));
    assert!(!is_taken(ours.acceptor(), |at| at.tls(
        &theirs.ca(),
        name,
        device()
    )));
    assert!(!is_taken(ours.acceptor(), |at| at.tls(
        &ca,
        "other.example",
        device()
    )));
    let forged = || theirs.sign("bed7.example");
    assert!(!is_taken(ours.acceptor(), |at| at.tls(&ca, name, forged())));
    assert!(!is_taken(ours.acceptor(), Server::plain));
    let expired = ours.acceptor_of(ours.sign_until(name, 2020));
    assert!(!is_taken(expired, |at| at.tls(&ca, name, device())));
}

fn write_token(path: &Path, token: &str, mode: u32) {
    std::fs::write(path, token).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_token_is_read_for_each_record_and_kept_from_others() {
    let out = tempfile::tempdir().unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let path = secrets.path().join("token");
    let keeper = keeper(out.path());
    let records: Vec<Outgoing> = (0..3).map(|k| record(k, 100)).collect();
    run(async {
        let server = Server::keeping(&keeper, None).await;
        let settings = format!("{}\ntoken = {path:?}", server.plain());
        let made = || {
            let kind = link_named("https").unwrap();
            kind.make(toml::from_str(&settings).unwrap(), "bed 7")
        };
        let refused = |what: &str| match made() {
            Ok(_) => panic!("{what} was taken"),
            Err(error) => error.to_string(),
        };
        refused("no file");
        write_token(&path, "first\n", 0o644);
        let command = format!("chmod 600 {}", path.display());
        assert!(refused("a file for all").contains(&command));
        write_token(&path, "first\n", 0o600);
        let mut link: Box<dyn Link> = made().unwrap();
        keeper.borrow_mut().token = Some("first");
        link.deliver(&records[0]).await.unwrap();
        keeper.borrow_mut().token = Some("second");
        let error = link.deliver(&records[1]).await.unwrap_err();
        assert_eq!(error.fault, Failure::Temporary);
        write_token(&path, "second\n", 0o600);
        link.deliver(&records[1]).await.unwrap();
        write_token(&path, "second\n", 0o640);
        let error = link.deliver(&records[2]).await.unwrap_err();
        assert_eq!(error.fault, Failure::Temporary);
        assert!(error.reason.contains("chmod 600"), "{error}");
        assert!(!error.reason.contains("second"));
    });
    holds(out.path(), &records[..2]);
}
