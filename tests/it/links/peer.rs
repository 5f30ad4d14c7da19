//! A receiver in a process of its own: ours, or the one in Python.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

/// What receives.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Leadscan,
    Python,
}

/// It is ended with its test.
pub struct Peer {
    kind: Kind,
    child: Child,
    /// Where it listens, as it says itself.
    pub line: String,
    /// Open as long as it may say something.
    _said: BufReader<ChildStderr>,
}

impl Peer {
    /// Begins to receive on a line into `folder`, and waits until it does.
    pub fn start(kind: Kind, line: &[&str], folder: &Path) -> Self {
        Self::start_under(&[], kind, line, folder)
    }

    /// The same, begun by another command.
    pub fn start_under(prefix: &[&str], kind: Kind, line: &[&str], folder: &Path) -> Self {
        let program = match kind {
            Kind::Leadscan => env!("CARGO_BIN_EXE_leadscan"),
            Kind::Python => "python3",
        };
        let mut words = prefix.iter().chain(std::iter::once(&program));
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        match kind {
            Kind::Leadscan => command.arg("receive"),
            Kind::Python => {
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/receiver.py"))
            }
        };
        command.args(line).arg("--out").arg(folder);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        said.read_line(&mut first).unwrap();
        let line = first.trim_end().rsplit_once("receiving on ");
        let line = line.unwrap_or_else(|| panic!("{first}")).1.to_owned();
        Self {
            kind,
            child,
            line,
            _said: said,
        }
    }

    /// Tells it to end; the lines that it said of records, in order.
    pub fn end(mut self) -> Vec<String> {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status();
        assert!(told.unwrap().success());
        let mut out = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut out).unwrap();
        let status = self.child.wait().unwrap();
        match self.kind {
            Kind::Leadscan => assert_eq!(status.code(), Some(0), "{status}"),
            // What was told to be stored is: it may end at any time.
            Kind::Python => assert_eq!(status.signal(), Some(15), "{status}"),
        }
        out.lines().map(str::to_owned).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
