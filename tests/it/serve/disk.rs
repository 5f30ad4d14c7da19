//! A small disk of its own, that fills up and that fails: what was accepted is not lost.
//! Needs root and a loop device, which a container may not have: skipped with a word without them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{drop_pages, names, serve, site, terminate, wait_for};

const DISK_BYTES: u64 = 24 << 20;
const OPTIONS: &str = "loop,errors=remount-ro";

/// A file system in a file, unmounted with its test.
struct Disk {
    image: PathBuf,
    folder: PathBuf,
}

impl Disk {
    /// `None` where this machine cannot.
    fn mount(site: &Path) -> Option<Self> {
        let (image, folder) = (site.join("image"), site.join("spool"));
        std::fs::File::create(&image)
            .unwrap()
            .set_len(DISK_BYTES)
            .unwrap();
        std::fs::create_dir(&folder).unwrap();
        let mount = |command: &mut Command| command.output().is_ok_and(|out| out.status.success());
        let is_made = mount(Command::new("/sbin/mkfs.ext4").arg("-q").arg(&image))
            && mount(
                Command::new("mount")
                    .args(["-o", OPTIONS])
                    .arg(&image)
                    .arg(&folder),
            );
        if !is_made {
            eprintln!("skipped: no root, or no loop device");
            return None;
        }
        std::fs::remove_dir(folder.join("lost+found")).unwrap();
        Some(Self { image, folder })
    }

    /// The file system finds a fault of its own, and lets nobody write any more.
    fn fail(&self) {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let is_here = |line: &&str| line.split(' ').nth(1).map(Path::new) == Some(&self.folder);
        let line = mounts.lines().find(is_here).unwrap();
        let device = line.split(' ').next().unwrap().trim_start_matches("/dev/");
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(trigger, "a fault").unwrap();
    }

    /// It is looked after, and can be written again.
    fn mend(&self) {
        let run = |command: &mut Command| command.output().unwrap();
        assert!(
            run(Command::new("umount").arg(&self.folder))
                .status
                .success()
        );
        // 1: errors were corrected.
        let checked = run(Command::new("/sbin/e2fsck").arg("-fy").arg(&self.image));
        assert!(matches!(checked.status.code(), Some(0 | 1)));
        let mut mount = Command::new("mount");
        mount
            .args(["-o", OPTIONS])
            .arg(&self.image)
            .arg(&self.folder);
        assert!(run(&mut mount).status.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a service that a failed test left behind may still be there.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).output();
    }
}

/// Records at the destination.
fn arrived(site: &Path) -> usize {
    names(&site.join("out")).len()
}

/// Pages that are still where people put them.
fn waiting(site: &Path) -> usize {
    let names = names(&site.join("in"));
    names.iter().filter(|name| name.ends_with(".png")).count()
}

fn status(site: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_leadscan"))
        .args(["status", "--config"])
        .arg(site.join("leadscan.toml"))
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn a_full_disk_takes_no_pages_until_there_is_room() {
    let site = site();
    let Some(disk) = Disk::mount(site.path()) else {
        return;
    };
    let service = serve(site.path());
    drop_pages(site.path(), 0, 3);
    wait_for("the first records", || arrived(site.path()) == 3);
    // All but a few blocks.
    let filler = disk.folder.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let block = vec![0; 64 << 10];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    drop(file);
    drop_pages(site.path(), 3, 3);
    wait_for("a word", || status(site.path()).contains(": error"));
    assert!(
        status(site.path()).contains("are needed"),
        "{}",
        status(site.path())
    );
    assert_eq!((waiting(site.path()), arrived(site.path())), (3, 3));
    std::fs::remove_file(filler).unwrap();
    wait_for("all records", || arrived(site.path()) == 6);
    wait_for("a good word", || status(site.path()).contains(": ready"));
    assert_eq!(waiting(site.path()), 0);
    assert_eq!(terminate(service), Some(0));
}

#[test]
fn a_disk_that_fails_is_shown_and_loses_nothing() {
    let site = site();
    let Some(disk) = Disk::mount(site.path()) else {
        return;
    };
    let service = serve(site.path());
    drop_pages(site.path(), 0, 3);
    wait_for("all records", || arrived(site.path()) == 3);
    disk.fail();
    drop_pages(site.path(), 3, 1);
    wait_for("a word", || {
        status(site.path()).contains("Read-only file system")
    });
    assert_eq!(terminate(service), Some(0), "it went on all the same");
    assert_eq!(
        waiting(site.path()),
        1,
        "nothing is accepted that is not safe"
    );
    disk.mend();
    let service = serve(site.path());
    wait_for("all records", || arrived(site.path()) == 4);
    wait_for("a good word", || status(site.path()).contains(": ready"));
    assert_eq!(terminate(service), Some(0));
}
