//! What every source must do, also one that fails now and then.

use super::*;

/// A source that fails now and then: before it captures, or after it has handed over the pages.
struct Faulty<'a> {
    inner: &'a mut dyn Source,
    seed: u64,
}

impl Faulty<'_> {
    fn next(&mut self) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.seed >> 33
    }
}

impl Source for Faulty<'_> {
    fn capture(
        &mut self,
        stop: &Stop,
        take: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let lost = Err(SourceError::Failed {
            device: "faulty".to_owned(),
            reason: "it is".to_owned(),
        });
        match self.next() % 3 {
            0 => lost,
            1 => self.inner.capture(stop, take).and(lost),
            _ => self.inner.capture(stop, take),
        }
    }

    fn check(&mut self) -> Result<String, SourceError> {
        self.inner.check()
    }
}

/// Pages come, each is a picture; it can be told to stop, and goes on after that and after errors.
pub fn keeps_the_contract(source: &mut dyn Source) {
    let (pages, ended) = capture(source);
    ended.unwrap();
    assert!(!pages.is_empty());
    let size = read(&pages[0]).dimensions();
    assert!(pages.iter().all(|page| read(page).dimensions() == size));
    assert!(!source.check().unwrap().is_empty());

    // Told before it begins, and told after the first page.
    let stop = Stop::default();
    stop.stop();
    let began = Instant::now();
    let stopped = source.capture(&stop, &mut |_| ControlFlow::Continue(()));
    assert_eq!(stopped, Err(SourceError::Stopped));
    assert!(began.elapsed() < STOP_MAX);
    let mut count = 0;
    let broken = source.capture(&Stop::default(), &mut |_| {
        count += 1;
        ControlFlow::Break(())
    });
    assert_eq!((broken, count), (Ok(()), 1));

    let mut faulty = Faulty {
        inner: source,
        seed: 5,
    };
    let (mut good, mut bad) = (0, 0);
    for _ in 0..12 {
        let (pages, ended) = capture(&mut faulty);
        assert!(pages.iter().all(|page| read(page).dimensions() == size));
        good += usize::from(ended.is_ok());
        bad += usize::from(ended.is_err());
    }
    assert!(good > 1 && bad > 1, "{good} good, {bad} bad");
    assert_eq!(capture(source).0.len(), pages.len());
}

/// A source that waits for its device stops soon after it is told; its program, which wrote its
/// number to this file, is gone.
pub fn stops_when_it_is_told(source: &mut dyn Source, number: &Path) {
    let stop = Stop::default();
    let (stopped, took) = std::thread::scope(|scope| {
        let capturing = scope.spawn(|| source.capture(&stop, &mut |_| ControlFlow::Continue(())));
        wait_for("the program begins", || number_in(number).is_some());
        let began = Instant::now();
        stop.stop();
        (capturing.join().unwrap(), began.elapsed())
    });
    assert_eq!(stopped, Err(SourceError::Stopped));
    assert!(took < STOP_MAX, "{took:?}");
    let number = number_in(number).unwrap();
    wait_for("the program ends", || is_gone(&number));
}

#[test]
fn sources_of_no_such_name_or_settings_are_none() {
    assert!(source_named("eye").is_none());
    for (name, settings) in [("rpicam", "shutter = 1"), ("scanner", "resolution_dpi = 0")] {
        let kind = source_named(name).unwrap();
        assert!(
            kind.make(toml::from_str(settings).unwrap()).is_err(),
            "{name}: {settings}"
        );
    }
}
