//! What can go wrong with the folder of a `file:` store: each with an error that says what to do,
//! nothing acknowledged lost, and what cannot be read told and set apart.

#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::folder::Folder;
use common::{Kit, bodies, body, look, now, soak, take, wait};
use queue_runtime_core::store::{dump, verify};
use queue_runtime_core::{
    Clock, DeadLetterFilter, Error, ErrorKind, Message, Queue, QueueOptions, ReceiveOptions,
    Runtime, RuntimeConfig, Verb, dead_letter::reason,
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
    let folder = filled(&["a", "the last message"]);
    // The last frame was never flushed, say, and is half there.
    let file = segment(&folder);
    write_at(&file, &[0; 100], find(&file, b"the last message"));
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
    now(queue.send("a new message")).unwrap();
    drop((queue, kit));
    // Once is enough: the next restart does not meet the damage again.
    folder.lose_index();
    assert!(verify(folder.path()).unwrap().is_sound());
    let kit = Kit::file(&folder, "");
    assert_eq!(
        bodies(&look(&kit.queue(QueueOptions::default()), 10)),
        ["first message", "third message", "a new message"]
    );
}

/// A store whose log has three segments at least: messages `0`, `1`, and so on, each of 1 MiB.
fn long(messages: u8) -> Arc<Folder> {
    let folder = Arc::new(Folder::new());
    let kit = Kit::file(&folder, "");
    let queue = kit.queue(QueueOptions::default());
    for n in 0..messages {
        now(queue.send(Message::new(vec![b'0' + n; 1 << 20]))).unwrap();
    }
    drop((queue, kit));
    folder.lose_index();
    folder
}

/// The first letters of what is ready.
fn letters(folder: &Arc<Folder>, options: &str) -> String {
    let kit = Kit::file(folder, options);
    let deliveries = look(&kit.queue(QueueOptions::default()), 100);
    deliveries.iter().map(|d| char::from(d.body()[0])).collect()
}

/// The file of a segment of the log.
fn file_of(folder: &Folder, segment: usize) -> PathBuf {
    let report = verify(folder.path()).unwrap();
    report.segments[segment].file.clone().unwrap()
}

#[test]
fn a_segment_that_is_cut_short_is_damage_and_stays_where_it_is() {
    // In the middle, and at the end, where no later part of the log could tell.
    for (segment, left) in [(1, "0126789"), (2, "012345")] {
        let folder = long(if segment == 1 { 10 } else { 9 });
        let file = file_of(&folder, segment);
        let cut = fs::OpenOptions::new().write(true).open(&file).unwrap();
        cut.set_len(100_000).unwrap();
        let error = refused(&folder.url(""));
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains("repair=true"), "{error}");
        let report = verify(folder.path()).unwrap();
        assert!(!report.is_sound(), "segment {segment}");
        // Nothing was done to it by those who only looked, or were refused.
        assert_eq!(fs::metadata(&file).unwrap().len(), 100_000);
        folder.lose_index();
        assert_eq!(letters(&folder, "repair=true"), left, "segment {segment}");
        folder.lose_index();
        assert_eq!(letters(&folder, ""), left, "segment {segment}, once more");
        let kept = fs::metadata(folder.path().join(format!("damaged-{segment}")));
        assert_eq!(kept.unwrap().len(), 100_000);
    }
}

#[test]
fn a_segment_that_is_missing_in_the_middle_is_damage() {
    let folder = long(10);
    fs::remove_file(file_of(&folder, 1)).unwrap();
    let error = refused(&folder.url(""));
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    folder.lose_index();
    assert_eq!(letters(&folder, "repair=true"), "0126789");
    folder.lose_index();
    assert_eq!(letters(&folder, ""), "0126789");
}

#[test]
fn files_of_others_in_the_folder_are_left_alone() {
    let folder = long(4);
    // Among them a folder, an old copy of a segment, and one of another store.
    let other = long(1);
    let copy = fs::read(file_of(&folder, 0)).unwrap();
    let foreign: [(&str, Vec<u8>); 5] = [
        ("notes.txt", b"mine".to_vec()),
        ("log-readme", b"mine".to_vec()),
        ("log-000777", b"mine".to_vec()),
        ("log-000888", vec![b'm'; 5 << 20]),
        ("log-000999", fs::read(file_of(&other, 0)).unwrap()),
    ];
    for (name, bytes) in &foreign {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    fs::create_dir(folder.path().join("log-000666")).unwrap();
    let mut old = copy;
    let at = old.windows(4).position(|w| w == b"1111").unwrap();
    old[at..].fill(0);
    fs::write(folder.path().join("log-000555"), &old).unwrap();
    assert_eq!(letters(&folder, ""), "0123");
    let kit = Kit::file(&folder, "");
    let queue = kit.queue(QueueOptions::default());
    for _ in 0..20 {
        now(queue.send(Message::new(vec![b'x'; 1 << 20]))).unwrap();
    }
    for (name, bytes) in &foreign {
        assert!(
            fs::read(folder.path().join(name)).unwrap() == *bytes,
            "{name}"
        );
    }
    assert!(folder.path().join("log-000666").is_dir());
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

// --- space ------------------------------------------------------------------------------------

/// Room for this many segments, beside an index of a few megabytes.
fn bounded(segments: u64) -> String {
    format!("durability=os&max_store_bytes={}", bound(segments))
}

fn bound(segments: u64) -> u64 {
    segments * (4 << 20) + (6 << 20)
}

/// A queue that is not bounded but by its store.
fn unbounded(kit: &Kit) -> Queue {
    kit.queue(QueueOptions {
        max_messages: Some(1_000_000),
        max_bytes: Some(1 << 30),
        ..QueueOptions::default()
    })
}

/// Sends until the store is full. Answers how many were sent. Room that others have made is there
/// a little later: a store that may take two segments holds one at least.
fn fill(queue: &Queue, bytes: usize) -> usize {
    let begun = std::time::Instant::now();
    let mut sent = 0;
    loop {
        match now(queue.send(Message::new(vec![7; bytes]))) {
            Ok(_) => sent += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                assert_eq!(error.code(), Some("store_full"));
                if sent * bytes > 2 << 20 {
                    return sent;
                }
                assert!(begun.elapsed() < common::STUCK, "there is no room");
                std::thread::yield_now();
            }
        }
    }
}

/// Receives and settles one by one what is ready. Answers how many there were.
fn drain(queue: &Queue, bytes: usize) -> usize {
    let mut received = 0;
    while let Some(delivery) = look(queue, 1).pop() {
        assert_eq!(delivery.body().len(), bytes);
        match received % 3 {
            0 => now(delivery.dead_letter("bad", None)).unwrap(),
            _ => now(delivery.ack()).unwrap(),
        }
        received += 1;
    }
    now(queue.purge_dead_letters(DeadLetterFilter::all())).unwrap();
    received
}

/// Sends until a send goes through: what makes room does so beside the verbs.
fn send_again(queue: &Queue, message: &str) {
    let begun = std::time::Instant::now();
    while let Err(error) = now(queue.send(Message::new(message.to_owned()))) {
        assert_eq!(error.code(), Some("store_full"), "{error}");
        assert!(begun.elapsed() < common::STUCK, "sends do not resume");
        std::thread::yield_now();
    }
}

#[test]
fn a_full_store_refuses_sends_lets_the_rest_go_on_and_takes_sends_again() {
    // Messages of which 64 fill a segment, and of which thousands do.
    for (segments, bytes, more) in [
        (2, 64 * 1024, "&durability=commit"),
        (3, 64 * 1024, "&durability=os"),
        (2, 700, "&durability=os"),
        (5, 300_000, "&durability=os"),
    ] {
        let folder = Arc::new(Folder::new());
        let options = format!("max_store_bytes={}{more}", bound(segments));
        let kit = Kit::file(&folder, &options);
        let queue = unbounded(&kit);
        for round in 0..4 {
            let sent = fill(&queue, bytes);
            let what = format!("{segments} segments, {bytes} bytes, round {round}: {sent}");
            assert_eq!(drain(&queue, bytes), sent, "{what}");
            send_again(&queue, "again");
            now(take(&queue).ack()).unwrap();
        }
    }
}

#[test]
fn of_a_batch_that_a_full_store_cuts_each_message_has_its_own_result() {
    let folder = Arc::new(Folder::new());
    let kit = Kit::file(&folder, &bounded(2));
    let queue = unbounded(&kit);
    // More than a frame holds, and more than fits.
    let messages = (0..100).map(|_| Message::new(vec![7; 100_000]));
    let results = now(queue.send_many(messages.collect::<Vec<_>>())).unwrap();
    let stored = results.iter().take_while(|r| r.is_ok()).count();
    assert!(stored > 0 && stored < 100, "{stored}");
    for result in &results[stored..] {
        assert_eq!(result.as_ref().unwrap_err().code(), Some("store_full"));
    }
    assert_eq!(now(queue.statistics()).unwrap().depth(), stored as u64);
}

#[test]
fn a_message_that_stays_keeps_no_full_store_full() {
    let folder = Arc::new(Folder::new());
    let kit = Kit::file(&folder, &bounded(2));
    let queue = unbounded(&kit);
    now(queue.send("stays")).unwrap();
    let stays = take(&queue);
    for _ in 0..4 {
        let sent = fill(&queue, 30_000);
        assert_eq!(drain(&queue, 30_000), sent);
        send_again(&queue, "again");
        now(take(&queue).ack()).unwrap();
    }
    drop(stays);
    drop((queue, kit));
    folder.lose_index();
    let kit = Kit::file(&folder, &bounded(2));
    assert_eq!(bodies(&look(&unbounded(&kit), 10)), ["stays"]);
}

#[test]
fn a_full_store_that_is_half_drained_loses_nothing() {
    // Every other message goes; what is left must be copied through the last segment there is.
    let folder = Arc::new(Folder::new());
    let kit = Kit::file(&folder, &bounded(2));
    let queue = unbounded(&kit);
    let name = |n: usize| format!("{n:05}{}", "x".repeat(2000));
    let mut left: Vec<String> = Vec::new();
    let mut next = 0;
    for _ in 0..6 {
        while now(queue.send(name(next))).is_ok() {
            left.push(name(next));
            next += 1;
        }
        let deliveries = look(&queue, 100_000);
        assert_eq!(deliveries.len(), left.len());
        for (n, delivery) in deliveries.into_iter().enumerate() {
            match n % 2 {
                0 => now(delivery.ack()).unwrap(),
                _ => now(delivery.release(None)).unwrap(),
            }
        }
        left = left.into_iter().skip(1).step_by(2).collect();
        assert_eq!(now(queue.statistics()).unwrap().depth(), left.len() as u64);
    }
    drop((queue, kit));
    folder.lose_index();
    let kit = Kit::file(&folder, &bounded(2));
    let deliveries = look(&unbounded(&kit), 100_000);
    assert_eq!(bodies(&deliveries), left);
}

#[test]
fn an_index_of_many_small_messages_counts_as_well() {
    let folder = Arc::new(Folder::new());
    let kit = Kit::file(&folder, &bounded(3));
    let queue = unbounded(&kit);
    let full = || {
        let messages = (0..1000).map(|_| Message::new("x")).collect::<Vec<_>>();
        match now(queue.send_many(messages)) {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.code(), Some("store_full"), "{error}");
                true
            }
        }
    };
    while !full() {}
    let size = |entry: fs::DirEntry| entry.metadata().unwrap().len();
    let files = fs::read_dir(folder.path()).unwrap();
    let bytes: u64 = files.map(|entry| size(entry.unwrap())).sum();
    assert!(bytes <= bound(3) + (64 << 10), "{bytes} of {}", bound(3));
    let deliveries = look(&queue, 1000);
    let acks = deliveries.iter().map(|d| d.settlement(Verb::Ack));
    let acked = now(queue.settle(acks.collect())).unwrap();
    assert!(acked.iter().all(Result::is_ok));
    send_again(&queue, "again");
}

/// Bytes of memory that this process has of its own, its mappings of files not counted.
fn own_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

/// Bytes that a folder takes on the disk.
fn space(folder: &Folder) -> u64 {
    let files = fs::read_dir(folder.path()).unwrap();
    let blocks = files.filter_map(|file| Some(file.unwrap().metadata().ok()?.blocks()));
    blocks.sum::<u64>() * 512
}

#[test]
fn a_long_load_leaves_store_and_memory_as_large_as_the_backlog_asks() {
    let folder = Arc::new(Folder::new());
    let kit = Kit::file(&folder, "durability=os");
    let queue = kit.queue(QueueOptions::default());
    // One message stays for ever, and a backlog of a hundred.
    now(queue.send("stuck")).unwrap();
    let stuck = take(&queue);
    let send = || {
        let messages = (0..100).map(|_| Message::new(vec![1; 1024]));
        let sent = now(queue.send_many(messages.collect::<Vec<_>>())).unwrap();
        assert!(sent.iter().all(Result::is_ok));
    };
    send();
    let mut memory = 0;
    // Ten million messages in a soak of fifty.
    let rounds = 2000 * common::soak();
    for round in 0..rounds {
        send();
        let received = look(&queue, 100);
        let acks = received.iter().map(|d| d.settlement(Verb::Ack));
        let acked = now(queue.settle(acks.collect())).unwrap();
        assert!(acked.len() == 100 && acked.iter().all(Result::is_ok));
        if round == rounds / 10 {
            memory = own_memory();
        }
    }
    let grown = own_memory().saturating_sub(memory);
    assert!(grown < 32 << 20, "{grown} bytes more are in use");
    // 200 MiB and more went through segments of 4; files are given back beside the verbs.
    let begun = std::time::Instant::now();
    while space(&folder) > 48 << 20 {
        assert!(begun.elapsed() < common::STUCK, "{} bytes", space(&folder));
        std::thread::yield_now();
    }
    now(stuck.ack()).unwrap();
    assert_eq!(now(queue.statistics()).unwrap().depth(), 100);
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

#[test]
fn the_folder_of_a_closed_client_may_be_removed() {
    for _ in 0..20 * soak() {
        let folder = Arc::new(Folder::new());
        let kit = Kit::file(&folder, "durability=os");
        let queue = unbounded(&kit);
        // So much that files are made in the background.
        for _ in 0..5 {
            wait(queue.send(Message::new(vec![7; 1 << 20]))).unwrap();
        }
        wait(kit.client.close()).unwrap();
        std::fs::remove_dir_all(folder.path()).unwrap();
    }
}
