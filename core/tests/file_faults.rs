//! What can go wrong with the folder of a `file:` store: each with an error that says what to do,
//! nothing acknowledged lost, and what cannot be read told and set apart.

#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::folder::Folder;
use common::{Kit, bodies, body, look, now, take};
use queue_runtime_core::store::{dump, verify};
use queue_runtime_core::{
    Clock, DeadLetterFilter, Error, ErrorKind, Message, QueueOptions, ReceiveOptions, Runtime,
    RuntimeConfig, dead_letter::reason,
};

/// Opens a store by its URL, in virtual time.
fn open(url: &str) -> Result<(), Error> {
    let runtime = Runtime::with_clock(RuntimeConfig::default(), Clock::new_virtual()).unwrap();
    now(runtime.connect(url)).map(drop)
}

/// The error of opening a store.
#[track_caller]
fn refused(url: &str) -> Error {
    open(url).unwrap_err()
}

/// A folder with a store of these messages.
fn filled(messages: &[&str]) -> Arc<Folder> {
    let folder = Arc::new(Folder::new());
    let kit = Kit::file(&folder, "");
    let queue = kit.queue(QueueOptions::default());
    for message in messages {
        now(queue.send(Message::new((*message).to_owned()))).unwrap();
    }
    drop((queue, kit));
    folder.wait_until_closed();
    folder
}

fn segment(folder: &Folder) -> PathBuf {
    let report = verify(folder.path()).unwrap();
    report.segments[0].file.clone().unwrap()
}

/// Where these bytes stand in a file.
fn find(file: &Path, needle: &[u8]) -> u64 {
    let bytes = fs::read(file).unwrap();
    bytes
        .windows(needle.len())
        .position(|w| w == needle)
        .unwrap() as u64
}

fn write_at(file: &Path, bytes: &[u8], at: u64) {
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[test]
fn urls_and_places_that_are_none() {
    let folder = Folder::new();
    let not_a_folder = folder.path().join("file");
    fs::write(&not_a_folder, "text").unwrap();
    let path = not_a_folder.to_str().unwrap();
    for url in [
        "file:".to_owned(),
        "file:///".to_owned(),
        "file://host/path".to_owned(),
        format!("file://{path}"),
        format!("file://{path}/below"),
    ] {
        let error = refused(&url);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}: {error}");
        assert_eq!(error.field(), Some("url"), "{url}: {error}");
    }
    assert_eq!(fs::read_to_string(&not_a_folder).unwrap(), "text");
}

#[test]
fn a_folder_that_cannot_be_written() {
    let folder = Folder::new();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let is_root = fs::write(closed.join("probe"), "").is_ok();
    if !is_root {
        let error = refused(&format!("file://{}", closed.display()));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }
    // Whoever runs the tests, nobody writes here.
    let error = refused("file:///proc/queues");
    assert!(!error.message().is_empty());
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_is_no_store_or_of_another_version_is_left_alone() {
    let folder = filled(&["a"]);
    let store = folder.path().join("store");
    let whole = fs::read(&store).unwrap();
    for (bytes, kind, says) in [
        (&b"something else"[..], ErrorKind::Corrupt, "another folder"),
        (
            &b"QRTSTORE\x09\0\0\0"[..],
            ErrorKind::InvalidConfig,
            "newer version",
        ),
        (
            &b"QRTSTORE\x01\0\0\0\x01\0\0\0damaged"[..],
            ErrorKind::Corrupt,
            "damaged",
        ),
    ] {
        let mut changed = whole.clone();
        changed[..bytes.len()].copy_from_slice(bytes);
        fs::write(&store, &changed).unwrap();
        let error = refused(&folder.url(""));
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(says), "{error}");
        assert_eq!(fs::read(&store).unwrap(), changed);
    }
    fs::remove_file(&store).unwrap();
    let error = refused(&folder.url(""));
    assert_eq!(
        error.kind(),
        ErrorKind::Corrupt,
        "a log without a store: {error}"
    );
    fs::write(&store, &whole).unwrap();
    open(&folder.url("")).unwrap();
}

#[test]
fn virtual_time_and_the_systems_do_not_meet() {
    let folder = filled(&["a"]);
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let error = now(runtime.connect(folder.url("").as_str())).unwrap_err();
    assert!(error.message().contains("virtual"), "{error}");
}

#[test]
fn a_log_that_was_cut_is_gone_on_with() {
    let folder = filled(&["a", "b"]);
    // The last frame was never flushed, say, and is half there.
    let file = segment(&folder);
    write_at(&file, &[0; 100], find(&file, b"b\0\0\0"));
    folder.lose_index();
    let report = verify(folder.path()).unwrap();
    assert!(report.is_sound());
    let kit = Kit::file(&folder, "");
    let queue = kit.queue(QueueOptions::default());
    let received = look(&queue, 10);
    assert_eq!(bodies(&received), ["a"]);
    now(queue.send("c")).unwrap();
    assert_eq!(body(&take(&queue)), "c");
}

/// A bit is flipped in the body of the first message; the second, flushed later, proves that it
/// was on the disk.
fn damaged() -> Arc<Folder> {
    let folder = filled(&["first message", "second message", "third message"]);
    let file = segment(&folder);
    let at = find(&file, b"second message");
    write_at(&file, b"S", at);
    folder
}

#[test]
fn a_damaged_log_is_refused_and_can_be_gone_around() {
    let folder = damaged();
    folder.lose_index();
    let error = refused(&folder.url(""));
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.message().contains("repair=true"), "{error}");
    let report = verify(folder.path()).unwrap();
    assert_eq!(report.damaged.len(), 1);
    assert!(!report.is_sound());
    let kit = Kit::file(&folder, "repair=true");
    let queue = kit.queue(QueueOptions::default());
    assert_eq!(
        bodies(&look(&queue, 10)),
        ["first message", "third message"]
    );
    let kept = fs::read_dir(folder.path()).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.starts_with("damaged-").then_some(name)
    });
    assert_eq!(kept.collect::<Vec<_>>(), ["damaged-0"]);
}

#[test]
fn a_message_that_cannot_be_read_is_set_apart_and_told() {
    // The index is there, so only the delivery finds out.
    let folder = damaged();
    let kit = Kit::file(&folder, "");
    let queue = kit.queue(QueueOptions::default());
    assert_eq!(
        bodies(&look(&queue, 10)),
        ["first message", "third message"]
    );
    let letters = now(queue.dead_letters(DeadLetterFilter::all(), None, 10)).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(&*letters[0].reason, reason::UNREADABLE);
    assert!(
        letters[0]
            .description
            .as_ref()
            .unwrap()
            .contains("position")
    );
    assert_eq!(
        now(queue.purge_dead_letters(DeadLetterFilter::all())).unwrap(),
        1
    );
}

#[test]
fn a_damaged_index_is_built_anew() {
    // Whatever part of it is damaged, and whether that shows when it is opened or later.
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..40 {
        let folder = filled(&["a", "b", "c", "d", "e"]);
        let index = folder.path().join("index");
        let len = fs::metadata(&index).unwrap().len();
        match round % 4 {
            0 => write_at(&index, &vec![0xff; 4096], random.u64(..len / 4096) * 4096),
            1 => fs::OpenOptions::new()
                .write(true)
                .open(&index)
                .unwrap()
                .set_len(len / 2)
                .unwrap(),
            2 => write_at(&index, &[0xff; 64], 0),
            _ => fs::write(&index, b"nonsense").unwrap(),
        }
        let kit = Kit::file(&folder, "");
        let queue = kit.queue(QueueOptions::default());
        let options = ReceiveOptions::new()
            .max_messages(10)
            .wait(std::time::Duration::ZERO);
        let received = now(queue.receive(&options)).unwrap();
        assert_eq!(
            bodies(&received),
            ["a", "b", "c", "d", "e"],
            "round {round}"
        );
    }
}

#[test]
fn a_full_store_refuses_sends_and_lets_the_rest_go_on() {
    let folder = Arc::new(Folder::new());
    // Room for two segments and the index.
    let kit = Kit::file(&folder, "max_store_bytes=14680064");
    let queue = kit.queue(QueueOptions {
        max_messages: Some(1_000_000),
        max_bytes: Some(1 << 30),
        ..QueueOptions::default()
    });
    let message = || Message::new(vec![7; 64 * 1024]);
    let mut sent = 0;
    let error = loop {
        match now(queue.send(message())) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(error.code(), Some("store_full"));
    assert!(sent > 30, "{sent}");
    // All that was acknowledged is there, and can be settled.
    let mut received = 0;
    while let Some(delivery) = look(&queue, 1).pop() {
        assert_eq!(delivery.body().len(), 64 * 1024);
        match received % 3 {
            0 => now(delivery.dead_letter("bad", None)).unwrap(),
            _ => now(delivery.ack()).unwrap(),
        }
        received += 1;
    }
    assert_eq!(received, sent);
    assert!(now(queue.purge_dead_letters(DeadLetterFilter::all())).unwrap() > 0);
}

#[test]
fn a_long_load_leaves_the_store_as_large_as_its_backlog() {
    let folder = Arc::new(Folder::new());
    let kit = Kit::file(&folder, "durability=os");
    let queue = kit.queue(QueueOptions::default());
    // One message stays for ever.
    now(queue.send("stuck")).unwrap();
    let stuck = take(&queue);
    let files = || {
        let of = fs::read_dir(folder.path()).unwrap();
        let is_log = |name: &str| name.starts_with("log-");
        of.filter(|e| is_log(e.as_ref().unwrap().file_name().to_str().unwrap()))
            .count()
    };
    let rounds = 400 * common::soak();
    for _ in 0..rounds {
        let messages = (0..100).map(|_| Message::new(vec![1; 1024]));
        let sent = now(queue.send_many(messages.collect::<Vec<_>>())).unwrap();
        assert!(sent.iter().all(Result::is_ok));
        let received = look(&queue, 100);
        let acks = received
            .iter()
            .map(|d| d.settlement(queue_runtime_core::Verb::Ack));
        assert!(
            now(queue.settle(acks.collect()))
                .unwrap()
                .iter()
                .all(Result::is_ok)
        );
    }
    // 40 MiB and more went through segments of 4.
    let begun = std::time::Instant::now();
    while files() > 9 {
        assert!(begun.elapsed() < common::STUCK, "{} files", files());
        std::thread::yield_now();
    }
    now(stuck.ack()).unwrap();
    assert_eq!(now(queue.statistics()).unwrap().depth(), 0);
}

#[test]
fn a_dump_says_what_the_log_says_and_no_body() {
    let folder = filled(&["the body is a secret"]);
    let mut out = Vec::new();
    dump(folder.path(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains(r#""record":"message""#) && text.contains(r#""name":"q""#),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
    let report = verify(folder.path()).unwrap();
    assert_eq!((report.queues[0].messages, report.queues[0].dead), (1, 0));
    assert_eq!(verify("/nowhere").unwrap_err().kind(), ErrorKind::Io);
}
