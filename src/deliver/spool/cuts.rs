//! The spool under power cuts, failing disks and damaged files.
//!
//! One script of a device's life (pages, a page that kills the digitizer, two destinations of which
//! one refuses, a start in the middle, a purge) is run once for every operation it makes on the
//! disk, with a fault at that operation. `World` keeps what was acknowledged; afterwards the spool
//! is opened again, worked to its end, and must have kept every promise.

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::ErrorKind;
    use std::path::{Path, PathBuf};

    use super::super::faulty::{Fault, FaultyDisk, Power, random};
    use super::super::tests::{accepted, settings};
    use super::super::{Failure, JobId, Quarantined, Settings, Spool, SpoolError, Start, Verdict};

    /// More than any script needs; a spool that goes on for ever fails the test, it does not hang it.
    const ROUNDS_MAX: usize = 12;
    const FOLDER: &str = "/var/spool";
    const DESTINATIONS: [&str; 2] = ["near", "far"];

    /// To both receivers: again after each of two starts, and after what was told is lost.
    const COPIES_MAX: usize = 6;

    type Open = Spool<FaultyDisk>;

    /// What the spool has promised, and what the receivers got.
    #[derive(Clone)]
    struct World {
        disk: FaultyDisk,
        settings: Settings,
        /// Pages of jobs for which `accept` returned `Ok`.
        accepted: BTreeMap<JobId, Vec<u8>>,
        /// For which `delivered` returned `Ok`.
        acknowledged: BTreeSet<(JobId, &'static str)>,
        received: BTreeMap<(JobId, &'static str), Vec<Vec<u8>>>,
        purges: BTreeSet<JobId>,
        purged: BTreeSet<JobId>,
        damaged: BTreeSet<JobId>,
    }

    fn record_of(page: &[u8]) -> Vec<u8> {
        [b"record of ", page].concat()
    }

    fn retry_all(spool: &mut Open) {
        let jobs: Vec<JobId> = spool.jobs().map(|(id, _)| id).collect();
        for id in jobs {
            let _ = spool.retry(id);
        }
    }

    const REJECTION: &[u8] = b"rejected";

    impl World {
        fn new() -> Self {
            Self {
                disk: FaultyDisk::new(),
                settings: settings(&DESTINATIONS),
                accepted: BTreeMap::new(),
                acknowledged: BTreeSet::new(),
                received: BTreeMap::new(),
                purges: BTreeSet::new(),
                purged: BTreeSet::new(),
                damaged: BTreeSet::new(),
            }
        }

        /// Without the list of what was sent, which would hide that files are removed in the wrong
        /// order, and without kept pages.
        fn without_memory() -> Self {
            let mut world = Self::new();
            world.settings.sent_max = 0;
            world.settings.pages_kept_max = 0;
            world
        }

        fn open(&self) -> Result<Open, SpoolError> {
            self.open_and_tell().map(|(spool, _)| spool)
        }

        fn open_and_tell(&self) -> Result<(Open, Vec<Quarantined>), SpoolError> {
            Spool::open(self.disk.clone(), Path::new(FOLDER), self.settings.clone())
        }

        /// All of it; errors are what a service makes of them: the step is not done.
        fn live(&mut self) {
            let Ok(mut spool) = self.open() else { return };
            let killer = self.accept(&mut spool, 0);
            self.accept(&mut spool, 1);
            for _ in 0..2 {
                let _ = killer.map(|id| spool.begin(id));
            }
            self.digitize(&mut spool);
            retry_all(&mut spool);
            self.refuse(&mut spool, "far");
            self.refuse(&mut spool, "far");
            self.deliver(&mut spool, "near");
            let purged = self.accept(&mut spool, 2);
            drop(spool);
            let Ok(mut spool) = self.open() else { return };
            if let Some(id) = purged {
                self.purge(&mut spool, id);
            }
            self.accept(&mut spool, 3);
            self.work(&mut spool);
        }

        fn accept(&mut self, spool: &mut Open, number: u8) -> Option<JobId> {
            let page = vec![number; 20];
            let id = spool.accept(&page, accepted(number)).ok()?;
            self.accepted.insert(id, page);
            Some(id)
        }

        fn purge(&mut self, spool: &mut Open, id: JobId) {
            self.purges.insert(id);
            if spool.purge(id).is_ok() {
                self.purged.insert(id);
            }
        }

        fn refuse(&mut self, spool: &mut Open, destination: &str) {
            if let Some(id) = spool.next(destination) {
                let _ = spool.failed(id, destination, Failure::Permanent, "not mine");
            }
        }

        /// Until nothing is left to do.
        fn work(&mut self, spool: &mut Open) {
            let _ = spool.catch_up();
            retry_all(spool);
            for _ in 0..ROUNDS_MAX {
                self.digitize(spool);
                for destination in DESTINATIONS {
                    self.deliver(spool, destination);
                }
                if spool.jobs().count() == 0 {
                    return;
                }
            }
        }

        fn digitize(&mut self, spool: &mut Open) {
            let Some(id) = spool.to_digitize() else {
                return;
            };
            let mut page = Vec::new();
            let _ = match spool.begin(id) {
                Ok(Start::Digitize) => match spool.page(id, &mut page) {
                    Ok(()) => spool.finish(id, Verdict::Digitized, &record_of(&page)),
                    Err(_) => return,
                },
                Ok(Start::Reject(_)) => spool.finish(id, Verdict::Rejected, REJECTION),
                Err(_) => return,
            };
        }

        fn deliver(&mut self, spool: &mut Open, destination: &'static str) {
            let Some(id) = spool.next(destination) else {
                return;
            };
            let mut record = Vec::new();
            if spool.record(id, &mut record).is_err() {
                return;
            }
            self.receive(id, destination, record);
            if spool.delivered(id, destination).is_ok() {
                self.acknowledged.insert((id, destination));
            }
        }

        fn receive(&mut self, id: JobId, destination: &'static str, record: Vec<u8>) {
            let key = (id, destination);
            let again = self.acknowledged.contains(&key) && !self.damaged.contains(&id);
            assert!(!again, "{id} was delivered to {destination} again");
            assert!(!self.purged.contains(&id), "{id} was purged");
            let right = self.accepted.get(&id).is_none_or(|page| {
                let same = record == record_of(page);
                same || record == REJECTION
            });
            assert!(right, "{id} was delivered as {record:?}");
            self.received.entry(key).or_default().push(record);
        }

        /// Everything that was accepted and not purged is with both receivers, under one id one record.
        fn check_delivered(&self) {
            let due = self.accepted.keys().filter(|id| !self.purges.contains(id));
            for id in due.filter(|id| !self.damaged.contains(id)) {
                let copies: Vec<&Vec<u8>> = DESTINATIONS
                    .iter()
                    .flat_map(|destination| {
                        let copies = self.received.get(&(*id, destination));
                        copies.unwrap_or_else(|| panic!("{destination} has no {id}"))
                    })
                    .collect();
                let same = copies.iter().all(|copy| copy == &copies[0]);
                assert!(
                    copies.len() <= COPIES_MAX,
                    "{id} was sent {} times",
                    copies.len()
                );
                assert!(same, "{id} was delivered as {copies:?}");
            }
        }

        /// After the fault: opens, is worked to its end, and has kept what it promised.
        fn recover(&mut self) {
            self.disk.restart();
            let (mut spool, found) = self.open_and_tell().unwrap();
            assert_eq!(found, [], "nothing is damaged by a fault of this kind");
            self.work(&mut spool);
            self.check_delivered();
            assert_eq!(spool.jobs().count(), 0, "all is done");
            let left = self.disk.files();
            let stays =
                |path: &PathBuf| path.ends_with("sent") || path.starts_with("/var/spool/kept");
            assert!(left.iter().all(stays), "{left:?}");
        }
    }

    /// Operations of the script on a disk that works.
    fn operations() -> usize {
        let mut world = World::new();
        world.live();
        world.recover();
        assert_eq!(world.accepted.len(), 4, "the script accepts its pages");
        assert_eq!(world.purged.len(), 1);
        let rejected = world
            .received
            .values()
            .filter(|copies| copies[0] == REJECTION);
        assert_eq!(rejected.count(), 2, "the killer's report, to both");
        assert_eq!(world.received.len(), 6, "three jobs, two destinations");
        world.disk.operations()
    }

    #[test]
    fn a_power_cut_at_any_operation_loses_nothing_and_repeats_nothing() {
        let count = operations();
        assert!(count > 100, "{count}");
        for at in 0..count {
            for power in [Power::Lost, Power::Kept, Power::Mixed(at as u64)] {
                for mut world in [World::new(), World::without_memory()] {
                    world.disk.plan(at, Fault::Cut(power));
                    world.live();
                    world.recover();
                }
            }
        }
    }

    #[test]
    fn a_second_cut_while_it_recovers_loses_nothing_either() {
        let count = operations();
        let mut seed = 4;
        for at in 0..count {
            let mut world = World::new();
            world.disk.plan(at, Fault::Cut(Power::Mixed(seed)));
            world.live();
            world.disk.restart();
            let second = world.disk.operations() + (random(&mut seed) % 60) as usize;
            world.disk.plan(second, Fault::Cut(Power::Mixed(seed)));
            if let Ok(mut spool) = world.open() {
                world.work(&mut spool);
            }
            world.recover();
        }
    }

    #[test]
    fn an_error_at_any_operation_loses_nothing_and_repeats_nothing() {
        let faults = [
            Fault::Once(ErrorKind::Other),
            Fault::Once(ErrorKind::StorageFull),
            Fault::ReadOnly,
        ];
        for at in 0..operations() {
            for fault in faults {
                for power in [None, Some(Power::Lost), Some(Power::Mixed(at as u64))] {
                    let mut world = World::new();
                    world.disk.plan(at, fault);
                    world.live();
                    if let Some(power) = power {
                        world.disk.cut(power);
                    }
                    world.recover();
                }
            }
        }
    }

    /// A disk with a job in every stage, and who promised what of it.
    fn in_every_stage() -> World {
        let mut world = World::new();
        let mut spool = world.open().unwrap();
        for number in 0..5 {
            world.accept(&mut spool, number).unwrap();
        }
        let ids: Vec<JobId> = world.accepted.keys().copied().collect();
        for id in &ids[..3] {
            assert_eq!(spool.begin(*id).unwrap(), Start::Digitize);
        }
        for id in &ids[..2] {
            let record = record_of(&world.accepted[id]);
            spool.finish(*id, Verdict::Digitized, &record).unwrap();
        }
        world.deliver(&mut spool, "near");
        world.deliver(&mut spool, "far");
        let record = record_of(&world.accepted[&ids[2]]);
        spool.finish(ids[2], Verdict::Digitized, &record).unwrap();
        world.deliver(&mut spool, "near");
        spool.begin(ids[3]).unwrap();
        drop(spool);
        world
    }

    /// Damages one file; the spool opens, tells no lie about that job and does all the others.
    fn check_damage(before: &World, path: &Path, edit: impl Fn(&mut Vec<u8>)) {
        let mut world = before.clone();
        world.disk = before.disk.copy();
        world.disk.edit(path, edit);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let id = name.split('.').next().unwrap_or_default();
        let of_job: Option<JobId> = id.parse().ok();
        world.damaged.extend(of_job);
        let mut spool = world.open().unwrap();
        world.work(&mut spool);
        world.check_delivered();
        assert_eq!(spool.jobs().count(), 0, "all is done");
        drop(spool);
        assert!(world.open().is_ok());
    }

    #[test]
    fn a_damaged_file_harms_its_own_job_alone_and_is_never_believed() {
        let world = in_every_stage();
        let files = world.disk.files();
        let endings: BTreeSet<_> = files.iter().map(|path| path.extension()).collect();
        assert_eq!(endings.len(), 4, "page, record, state, sent: {files:?}");
        let mut seed = 11;
        for path in &files {
            for _ in 0..40 {
                let place = random(&mut seed) as usize;
                check_damage(&world, path, |bytes| bytes.truncate(place % bytes.len()));
                check_damage(&world, path, |bytes| {
                    let bit = place % (8 * bytes.len());
                    bytes[bit / 8] ^= 1 << (bit % 8);
                });
            }
            check_damage(&world, path, |bytes| bytes.push(0));
            check_damage(&world, path, Vec::clear);
        }
    }
}
