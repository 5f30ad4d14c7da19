//! A program that captures: begun with separate arguments, read with a bound, and ended for certain.
//!
//! In: a program, its arguments, the file that its output comes through. Out: its bytes, part by
//! part, and at the end how it ended. It runs in a process group of its own, in plain English
//! (`LC_ALL=C`), and never through a shell. Of what it says on its error output the last
//! `limits::PROGRAM_SAID_BYTES_MAX` are kept. Every wait ends at `Wait::until` or with `Stop`; a
//! program that is dropped before its end is asked to end (a scanner then parks its lamp) and
//! killed with its group `limits::PROGRAM_END_MS_MAX` later.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::source::{SourceError, Stop};
use crate::limits;

const PART_BYTES: usize = 4 << 10;
const LOOK: Duration = Duration::from_millis(5);

/// How long something may take.
#[derive(Clone, Copy, Debug)]
pub struct Wait<'a> {
    pub stop: &'a Stop,
    pub until: Instant,
    pub ms: u64,
}

impl<'a> Wait<'a> {
    /// From now on.
    pub fn new(stop: &'a Stop, ms: u64) -> Self {
        let until = Instant::now() + Duration::from_millis(ms);
        Self { stop, until, ms }
    }

    /// Until the next look at `Stop`, or an error when it is time to give up.
    pub fn step(&self, device: &str) -> Result<Duration, SourceError> {
        if self.stop.is_stopped() {
            return Err(SourceError::Stopped);
        }
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SourceError::Silent {
                device: device.to_owned(),
                waited_ms: self.ms,
            });
        }
        Ok(left.min(Duration::from_millis(limits::CAPTURE_STEP_MS_MAX)))
    }
}

/// A program that is running.
pub struct Program {
    device: String,
    child: Child,
    input: Option<ChildStdin>,
    errors: Option<ChildStderr>,
    said: VecDeque<u8>,
    is_waited_for: bool,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// The last of what it said.
    pub said: String,
}

impl Program {
    /// Begins a program for a device; its output is what `File` gives.
    pub fn begin(
        device: &str,
        program: &OsStr,
        arguments: &[String],
    ) -> Result<(Self, File), SourceError> {
        let mut begun = Self::spawn(device, program, arguments, Stdio::piped())?;
        match begun.child.stdout.take() {
            Some(output) => Ok((begun, File::from(OwnedFd::from(output)))),
            None => Err(begun.failed("its output cannot be read")),
        }
    }

    /// Begins a program that puts its output elsewhere.
    pub fn begin_without_output(
        device: &str,
        program: &OsStr,
        arguments: &[String],
    ) -> Result<Self, SourceError> {
        Self::spawn(device, program, arguments, Stdio::null())
    }

    fn spawn(
        device: &str,
        program: &OsStr,
        arguments: &[String],
        output: Stdio,
    ) -> Result<Self, SourceError> {
        let named = |reason: String| format!("{}: {reason}", program.to_string_lossy());
        let mut child = Command::new(program)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => {
                    let reason = "no such program; install it, or set `program`";
                    SourceError::missing(device, named(reason.to_owned()))
                }
                _ => SourceError::failed(device, named(error.to_string())),
            })?;
        Ok(Self {
            device: device.to_owned(),
            input: child.stdin.take(),
            errors: child.stderr.take(),
            child,
            said: VecDeque::with_capacity(limits::PROGRAM_SAID_BYTES_MAX + PART_BYTES),
            is_waited_for: false,
        })
    }

    /// Reads a part of what `output` gives, 0 bytes at its end or the program's.
    pub fn read(
        &mut self,
        output: &mut File,
        part: &mut [u8],
        wait: Wait,
    ) -> Result<usize, SourceError> {
        loop {
            let step = wait.step(&self.device)?;
            let is_ended = self.is_done();
            let is_ready = self.poll(Some(output), step)?;
            if is_ready {
                return match output.read(part) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => Err(self.failed(error)),
                    Ok(count) => Ok(count),
                };
            }
            if is_ended {
                // Nothing more was there although nobody is left who could write.
                return Ok(0);
            }
        }
    }

    /// Reads all that `output` gives; more than `bytes_max` is an error.
    pub fn read_all(
        &mut self,
        output: &mut File,
        bytes_max: usize,
        wait: Wait,
    ) -> Result<Vec<u8>, SourceError> {
        let mut all = Vec::new();
        let mut part = vec![0; 16 * PART_BYTES];
        loop {
            match self.read(output, &mut part, wait)? {
                0 => return Ok(all),
                count if all.len() + count > bytes_max => {
                    return Err(self.failed(format!("it gave more than {bytes_max} bytes")));
                }
                count => all.extend_from_slice(&part[..count]),
            }
        }
    }

    /// Tells the program to go on: the RETURN key.
    pub fn go_on(&mut self) -> Result<(), SourceError> {
        match self.input.as_mut().map(|input| input.write_all(b"\n")) {
            // A program that has ended says why elsewhere.
            Some(Err(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Some(Err(error)) => Err(self.failed(error)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        let bytes: Vec<u8> = self.said.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `is_it` is so of what it has said, or until its end; what it has said by then.
    pub fn wait_to_hear(
        &mut self,
        is_it: impl Fn(&str) -> bool,
        wait: Wait,
    ) -> Result<String, SourceError> {
        loop {
            let said = self.said();
            if self.errors.is_none() || is_it(&said) {
                return Ok(said);
            }
            let step = wait.step(&self.device)?;
            self.poll(None, step)?;
        }
    }

    /// Waits for the program's end; its input is closed.
    pub fn end(mut self, wait: Wait) -> Result<Ended, SourceError> {
        self.input = None;
        while self.errors.is_some() {
            let step = wait.step(&self.device)?;
            self.poll(None, step)?;
        }
        while !self.has_ended() {
            std::thread::sleep(wait.step(&self.device)?.min(LOOK));
        }
        self.signal(Signal::KILL);
        self.is_waited_for = true;
        let status = self.child.wait().map_err(|error| self.failed(error))?;
        Ok(Ended {
            status,
            said: self.said(),
        })
    }

    /// Waits for output or for what is said, and takes in the latter; whether there is output.
    fn poll(&mut self, output: Option<&File>, step: Duration) -> Result<bool, SourceError> {
        let wait = if self.is_done() { Duration::ZERO } else { step };
        let wait = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let mut ends = Vec::with_capacity(2);
        ends.extend(output.map(|output| PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)));
        ends.extend(
            self.errors
                .as_ref()
                .map(|errors| PollFd::from_borrowed_fd(errors.as_fd(), PollFlags::IN)),
        );
        match poll(&mut ends, Some(&wait)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(self.failed(error)),
        }
        let is_ready: Vec<bool> = ends.iter().map(|end| !end.revents().is_empty()).collect();
        if self.errors.is_some() && is_ready.last() == Some(&true) {
            self.listen();
        }
        Ok(output.is_some() && is_ready.first() == Some(&true))
    }

    /// Takes in what is said, which is there.
    fn listen(&mut self) {
        let Some(errors) = &mut self.errors else {
            return;
        };
        let mut part = [0; PART_BYTES];
        match errors.read(&mut part) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => self.errors = None,
            Ok(count) => {
                self.said.extend(&part[..count]);
                let surplus = self
                    .said
                    .len()
                    .saturating_sub(limits::PROGRAM_SAID_BYTES_MAX);
                self.said.drain(..surplus);
            }
        }
    }

    fn failed(&self, reason: impl ToString) -> SourceError {
        SourceError::failed(&self.device, reason)
    }

    /// Nobody is left who could say or give something.
    fn is_done(&self) -> bool {
        self.errors.is_none() && self.has_ended()
    }

    /// Whether it has ended; it is left to be waited for, so that its number stays its own.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid()), options) {
            Ok(found) => found.is_some(),
            Err(Errno::INTR) => false,
            // Waited for before.
            Err(_) => true,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Errors mean that nobody of the group is left.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.pid(), signal);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.is_waited_for {
            return;
        }
        self.input = None;
        self.signal(Signal::TERM);
        let bound = Duration::from_millis(limits::PROGRAM_END_MS_MAX);
        let until = Instant::now() + bound;
        while !self.has_ended() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        self.signal(Signal::KILL);
        // What was killed ends, but for programs that hang in the kernel: not waited for long.
        let until = Instant::now() + bound;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }
}

/// The last lines of what was said, in one line for people.
pub fn last_lines(said: &str) -> String {
    const LINES_MAX: usize = 3;
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut last: Vec<&str> = lines.rev().take(LINES_MAX).collect();
    last.reverse();
    let text = last.join("; ");
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    let surplus = clean
        .chars()
        .count()
        .saturating_sub(limits::SPOOL_REASON_BYTES_MAX);
    clean.chars().skip(surplus).collect()
}
