//! The folder of a store: may a store live here at all?

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::fault;
use super::sys;
use crate::config::Settings;
use crate::error::{Error, Result};

/// File systems that do not keep what the engine needs: locks that all see, memory that all share.
const NETWORK: [(u32, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x564c, "NCP"),
    (0x7461_636f, "OCFS2"),
    (0x0bd0_0bd0, "Lustre"),
];
/// File systems on which a store works, but may be another one than meant.
const DOUBTFUL: [(u32, &str); 2] = [
    (
        0x6573_5546,
        "FUSE or virtiofs, which may not share memory between machines or containers",
    ),
    (
        0x794c_7630,
        "overlayfs, of which each container has a copy of its own; mount a volume",
    ),
];

/// The folder of a `file:` URL.
pub(super) fn folder(settings: &Settings) -> Result<PathBuf> {
    let url = &settings.endpoint.url;
    let invalid = |what: &str| Err(Error::invalid_config("url", what.to_owned()));
    if url
        .host_str()
        .is_some_and(|host| !host.is_empty() && host != "localhost")
    {
        return invalid("a file: store is on this machine; write file:///path, with three slashes");
    }
    let path = settings.endpoint.path.as_str();
    if path.contains('\0') {
        return invalid("the path of a folder holds no NUL");
    }
    if !path.starts_with('/') || path.trim_matches('/').is_empty() {
        return invalid("give the whole path of a folder: file:///var/lib/app/queues");
    }
    Ok(PathBuf::from(path))
}

/// Sees to it that the folder is there, is a folder, and is on a disk that will do.
pub(super) fn prepare(folder: &Path) -> Result<()> {
    match std::fs::metadata(folder) {
        Ok(found) if !found.is_dir() => {
            let what = format!(
                "{} is not a folder; name one, or a new one",
                folder.display()
            );
            return Err(Error::invalid_config("url", what));
        }
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder).map_err(|e| of_parent(folder, e))?;
        }
        Err(e) => return Err(of_parent(folder, e)),
    }
    sys::check_writable(folder).map_err(|e| fault::io("write to", folder, e))?;
    let kind = sys::file_system(folder).map_err(|e| fault::io("look at", folder, e))?;
    check_file_system(folder, kind)
}

fn of_parent(folder: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotADirectory || error.kind() == io::ErrorKind::AlreadyExists
    {
        let what = format!("a part of {} is not a folder", folder.display());
        return Error::invalid_config("url", what);
    }
    fault::io("make the folder", folder, error)
}

fn check_file_system(folder: &Path, kind: u32) -> Result<()> {
    if let Some((_, name)) = NETWORK.iter().find(|(number, _)| *number == kind) {
        let what = format!(
            "{} is on {name}, a network file system, where processes can neither lock nor share \
             memory safely; use a disk of this machine, or a server's queue",
            folder.display()
        );
        return Err(Error::invalid_config("url", what));
    }
    if let Some((_, name)) = DOUBTFUL.iter().find(|(number, _)| *number == kind) {
        tracing::warn!(folder = %folder.display(), "the store is on {name}");
    }
    Ok(())
}

/// Opens a file of the store for reading and writing; makes it if it is not there.
pub(super) fn file(folder: &Path, name: &str) -> Result<File> {
    let path = folder.join(name);
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = opened.map_err(|e| fault::io("open", &path, e))?;
    share(&file, folder);
    Ok(file)
}

/// Lets those write to a file of one's own who may write to its folder by the folder's group,
/// whatever one's `umask`: users of a group share a store by sharing its folder. Where that cannot
/// be had, the others are told when they open the file.
pub(super) fn share(file: &File, folder: &Path) {
    if let Err(error) = try_share(file, folder) {
        tracing::debug!(folder = %folder.display(), %error, "a file is not the group's");
    }
}

fn try_share(file: &File, folder: &Path) -> io::Result<()> {
    const GROUP_READS_AND_WRITES: u32 = 0o060;
    const GROUP_WRITES: u32 = 0o020;
    let (found, of_folder) = (file.metadata()?, std::fs::metadata(folder)?);
    let mode = found.mode() | GROUP_READS_AND_WRITES;
    let is_own = found.uid() == sys::effective_user();
    if is_own && of_folder.mode() & GROUP_WRITES != 0 && found.mode() != mode {
        if found.gid() != of_folder.gid() {
            fchown(file, None, Some(of_folder.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_refused_and_doubtful_ones_are_not() {
        for (kind, name) in NETWORK {
            let error = check_file_system(Path::new("/mnt"), kind).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
        for (kind, _) in DOUBTFUL {
            check_file_system(Path::new("/mnt"), kind).unwrap();
        }
        check_file_system(Path::new("/mnt"), 0xef53).unwrap();
    }
}
