//! Where a `file:` store may live, and who may use it: disks in memory, full and read-only disks,
//! other users. Each runs in a process of its own, with mounts of its own where it needs some, which
//! are gone with it. Making mounts and changing users takes rights that not every machine gives.

#![cfg(target_os = "linux")]

#[path = "../common/folder.rs"]
mod folder;
mod kit;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use queue_runtime_core::ErrorKind;
use queue_runtime_core::store::verify;

use folder::Folder;
use kit::Side;

/// What is done in the folder by another process, after this shell command was run on it.
struct Place {
    name: &'static str,
    before: &'static str,
    test: fn(&Path),
}

const PLACES: [Place; 7] = [
    Place {
        name: "a_disk_in_memory_will_do",
        before: "mount -t tmpfs -o size=64m tmpfs \"$QRT_FOLDER\"",
        test: in_memory,
    },
    Place {
        name: "a_full_disk_refuses_sends_lets_the_rest_go_on_and_takes_sends_again",
        before: "mount -t tmpfs -o size=22m tmpfs \"$QRT_FOLDER\"",
        test: full_disk,
    },
    Place {
        name: "a_disk_that_others_have_filled_lets_a_queue_be_emptied",
        before: "mount -t tmpfs -o size=40m tmpfs \"$QRT_FOLDER\"",
        test: filled_by_others,
    },
    Place {
        name: "no_store_begins_on_a_full_disk_and_one_does_once_there_is_space",
        before: "mount -t tmpfs -o size=12m tmpfs \"$QRT_FOLDER\"",
        test: full_from_the_start,
    },
    Place {
        name: "a_store_on_a_full_disk_opens_after_a_restart",
        before: "mount -t tmpfs -o size=40m tmpfs \"$QRT_FOLDER\"",
        test: full_after_a_restart,
    },
    Place {
        name: "a_disk_that_is_read_only_is_told_and_can_be_verified",
        before: "mount --bind \"$QRT_FOLDER\" \"$QRT_FOLDER\" && \
                 mount -o remount,bind,ro \"$QRT_FOLDER\"",
        test: read_only,
    },
    Place {
        name: "the_layer_of_a_container_will_do_and_leaves_the_image_alone",
        before: "mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work && \
                 mount -t overlay overlay \"$QRT_FOLDER\" -o \
                 lowerdir=\"$QRT_FOLDER\",upperdir=/mnt/upper,workdir=/mnt/work",
        test: overlay,
    },
];

fn main() -> ExitCode {
    let value = |name| std::env::var(name).ok();
    if let (Some(name), Some(folder)) = (value("QRT_PLACE"), value("QRT_FOLDER")) {
        let folder = Path::new(&folder);
        match PLACES.iter().find(|place| place.name == name) {
            Some(place) => (place.test)(folder),
            None => kit::act_as_user(&name, folder),
        }
        return ExitCode::SUCCESS;
    }
    let tried = in_own_mounts("mount -t tmpfs tmpfs /mnt", Path::new("true"))
        .stderr(Stdio::null())
        .status();
    let can_mount = tried.is_ok_and(|status| status.success());
    // SAFETY: a call without arguments that cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !can_mount || !is_root {
        eprintln!("no right to mount disks, or to act as other users: some tests are left out");
    }
    let places = PLACES
        .iter()
        .map(|place| Trial::test(place.name, || at_place(place)).with_ignored_flag(!can_mount));
    let users = [
        Trial::test("another_user_is_told_what_it_may_not", other_user),
        Trial::test("users_of_a_group_share_a_store", group),
    ];
    let users = users.map(|test| test.with_ignored_flag(!is_root));
    let trials = places.chain(users).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// This program in mounts of its own, which a shell command makes first.
fn in_own_mounts(before: &str, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("{before} && exec \"$QRT_PROGRAM\"");
    command.args(["--mount", "--", "sh", "-c", &script]);
    command.env("QRT_PROGRAM", program);
    command
}

fn outcome(command: &mut Command) -> Result<(), Failed> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

fn at_place(place: &Place) -> Result<(), Failed> {
    let folder = Folder::new();
    let holds_messages = place.before.contains("bind,ro") || place.before.contains("overlay");
    if holds_messages {
        Side::open(folder.path()).send("before");
        folder.wait_until_closed();
    }
    let mut command = in_own_mounts(place.before, &std::env::current_exe()?);
    command
        .env("QRT_PLACE", place.name)
        .env("QRT_FOLDER", folder.path());
    outcome(&mut command)?;
    if holds_messages {
        assert_eq!(Side::open(folder.path()).settle_all(), ["before"]);
    }
    Ok(())
}

// --- disks ------------------------------------------------------------------------------------

fn in_memory(folder: &Path) {
    let (one, other) = (Side::open(folder), Side::open(folder));
    one.send("a");
    assert_eq!(other.settle_all(), ["a"]);
}

fn full_disk(folder: &Path) {
    let side = Side::open(folder);
    side.send("stays");
    let stays = side.receive(1);
    for _ in 0..3 {
        let sent = side.fill(2 << 20);
        assert_eq!(side.settle_all().len(), sent);
        side.send_again("again");
        assert_eq!(side.settle_all(), ["again"]);
    }
    side.settle(&stays);
    assert_eq!(side.depth(), 0);
}

/// Takes all the space that is left.
fn take_space(folder: &Path) {
    use std::io::Write;
    let mut filler = std::fs::File::create(folder.join("filler")).unwrap();
    let megabyte = vec![1; 1 << 20];
    while filler.write_all(&megabyte).is_ok() {}
    while filler.write_all(&megabyte[..4096]).is_ok() {}
}

fn filled_by_others(folder: &Path) {
    let side = Side::open(folder);
    side.send("before");
    take_space(folder);
    let sent = side.fill(0);
    assert_eq!(side.settle_all().len(), 1 + sent);
    std::fs::remove_file(folder.join("filler")).unwrap();
    assert!(side.fill(8 << 20) * kit::BODY > 8 << 20);
}

fn full_from_the_start(folder: &Path) {
    take_space(folder);
    let error = Side::try_open(folder).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(error.message().contains("disk is full"), "{error}");
    std::fs::remove_file(folder.join("filler")).unwrap();
    let side = Side::open(folder);
    side.send("a");
    assert_eq!(side.settle_all(), ["a"]);
}

fn full_after_a_restart(folder: &Path) {
    let side = Side::open(folder);
    take_space(folder);
    let sent = side.fill(0);
    drop(side);
    // The index of before the restart is there and says nothing any more.
    kit::wait_until_closed(folder);
    kit::void_index(folder);
    let side = Side::open(folder);
    assert_eq!(side.depth(), sent as u64);
    assert_eq!(side.settle_all().len(), sent);
}

fn overlay(folder: &Path) {
    let (one, other) = (Side::open(folder), Side::open(folder));
    one.send("after");
    assert_eq!(other.settle_all(), ["before", "after"]);
}

fn read_only(folder: &Path) {
    let error = Side::try_open(folder).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let says = |what: &str| assert!(error.message().contains(what), "{error}");
    says("Read-only");
    says("also by those who only receive");
    assert_eq!(verify(folder).unwrap().queues[0].messages, 1);
}

// --- users ------------------------------------------------------------------------------------

/// Somebody without rights, and a group of it.
const NOBODY: u32 = 65534;

/// A folder that other users can get to, with this mode and group.
fn open_folder(name: &str, mode: u32, group: u32) -> Result<std::path::PathBuf, Failed> {
    let path = std::env::temp_dir().join(format!("qrt-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path)?;
    std::os::unix::fs::chown(&path, None, Some(group))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    Ok(path)
}

fn as_nobody(role: &str, folder: &Path) -> Result<(), Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.uid(NOBODY).gid(NOBODY);
    outcome(command.env("QRT_PLACE", role).env("QRT_FOLDER", folder))
}

fn other_user() -> Result<(), Failed> {
    let folder = open_folder("other", 0o755, 0)?;
    let side = Side::open(&folder);
    side.send("a");
    as_nobody("refused", &folder)?;
    // The folder alone does not do.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777))?;
    as_nobody("refused", &folder)?;
    assert_eq!(side.settle_all(), ["a"]);
    drop(side);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn group() -> Result<(), Failed> {
    let folder = open_folder("group", 0o2770, NOBODY)?;
    let side = Side::open(&folder);
    side.send("a");
    as_nobody("shares", &folder)?;
    assert_eq!(side.settle_all(), ["from nobody"]);
    drop(side);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
