//! The key file: created once, readable by its owner only, replaced atomically.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base::random::RandomSource;
use base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{VaultError, parse};

/// Reads the keys of a file: one per line, `#` starts a comment. With `create`, a missing file is
/// created with a first key.
///
/// # Errors
/// [`VaultError::KeyFile`].
pub fn read_keys(
    path: &Path,
    create: bool,
    random: &RandomSource,
) -> Result<Vec<Secret<String>>, VaultError> {
    let text = match fs::read_to_string(path) {
        Err(error) if create && error.kind() == ErrorKind::NotFound => {
            let first = key_line(&new_key(1, random));
            // If two processes create it at the same time, the second reads the file of the first.
            match write(path, &first, random, |temporary, path| fs::hard_link(temporary, path)) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => fs::read_to_string(path),
            }
        }
        read => read,
    };
    let text = text.map_err(|error| file_error(path, &error))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| Secret::new(line.to_owned()))
        .collect())
}

/// Adds a new key with the next version to the file and returns the version.
///
/// # Errors
/// [`VaultError::KeyFile`], [`VaultError::InvalidKey`].
pub fn add_key(path: &Path, random: &RandomSource) -> Result<u32, VaultError> {
    let keys = read_keys(path, false, random)?;
    let next = next_version(&keys)?;
    let lines: String = keys.iter().chain([&new_key(next, random)]).map(key_line).collect();
    write(path, &lines, random, |temporary, path| fs::rename(temporary, path))
        .map_err(|error| file_error(path, &error))?;
    Ok(next)
}

/// Next version after the highest of these keys.
fn next_version(keys: &[Secret<String>]) -> Result<u32, VaultError> {
    let versions = keys.iter().map(|key| parse(key.expose()).map(|(version, _)| version));
    let highest = versions.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0);
    highest.checked_add(1).ok_or(VaultError::InvalidKey)
}

/// Generates a random key in the format of configuration and key files.
pub fn new_key(version: u32, random: &RandomSource) -> Secret<String> {
    Secret::new(format!("{version}:{}", STANDARD.encode(random.bytes::<32>())))
}

fn key_line(key: &Secret<String>) -> String {
    format!("{}\n", key.expose())
}

/// Writes a temporary file next to the path and lets `install` move it there.
fn write(
    path: &Path,
    text: &str,
    random: &RandomSource,
    install: impl FnOnce(&Path, &Path) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("new-{}", &random.token()[..16]));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let installed = install(&temporary, path);
    let _ = fs::remove_file(&temporary); // already renamed, or no longer needed
    installed?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn file_error(path: &Path, error: &std::io::Error) -> VaultError {
    VaultError::KeyFile(path.to_owned(), error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn key_file_is_created_once_with_mode_0600_and_extended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.keys");
        let random = RandomSource::system();

        assert!(read_keys(&path, false, &random).is_err());
        let first = read_keys(&path, true, &random).unwrap();
        assert_eq!(read_keys(&path, true, &random).unwrap(), first);
        assert_eq!(add_key(&path, &random).unwrap(), 2);

        let both = read_keys(&path, true, &random).unwrap();
        assert_eq!((both.len(), &both[0]), (2, &first[0]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn concurrent_key_file_creation_yields_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.keys");

        let read = || read_keys(&path, true, &RandomSource::system()).unwrap()[0].expose().clone();
        let mut keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });

        keys.dedup();
        assert_eq!(keys.len(), 1);
    }
}
