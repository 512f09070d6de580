//! The file with the keys of the vault: made once, readable by its owner only, never half written.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base::random::RandomSource;
use base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{VaultError, parse};

/// The keys in a file, one a line, `#` begins a remark. With `make`, a file that is not there is
/// made with a first key.
///
/// # Errors
/// [`VaultError::File`].
pub fn read_keys(
    path: &Path,
    make: bool,
    chance: &RandomSource,
) -> Result<Vec<Secret<String>>, VaultError> {
    let text = match fs::read_to_string(path) {
        Err(error) if make && error.kind() == ErrorKind::NotFound => {
            let first = line(&new_key(1, chance));
            // Of two who begin together one comes second, and reads what the first one made.
            match write(path, &first, chance, |whole, path| fs::hard_link(whole, path)) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => fs::read_to_string(path),
            }
        }
        read => read,
    };
    let text = text.map_err(|error| failed(path, &error))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| Secret::new(line.to_owned()))
        .collect())
}

/// Adds a new key to a file, of the version after the highest, which it gives.
///
/// # Errors
/// [`VaultError::File`], [`VaultError::BadKey`].
pub fn add_key(path: &Path, chance: &RandomSource) -> Result<u32, VaultError> {
    let keys = read_keys(path, false, chance)?;
    let next = next_version(&keys)?;
    let lines: String = keys.iter().chain([&new_key(next, chance)]).map(line).collect();
    write(path, &lines, chance, |whole, path| fs::rename(whole, path))
        .map_err(|error| failed(path, &error))?;
    Ok(next)
}

/// The version after the highest of these keys.
fn next_version(keys: &[Secret<String>]) -> Result<u32, VaultError> {
    let versions = keys.iter().map(|key| parse(key.expose()).map(|(version, _)| version));
    let highest = versions.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0);
    highest.checked_add(1).ok_or(VaultError::BadKey)
}

/// A fresh key, as it is written in settings and files.
pub fn new_key(version: u32, chance: &RandomSource) -> Secret<String> {
    Secret::new(format!("{version}:{}", STANDARD.encode(chance.bytes::<32>())))
}

fn line(key: &Secret<String>) -> String {
    format!("{}\n", key.expose())
}

/// Writes a whole file beside the path and lets `place` put it there.
fn write(
    path: &Path,
    text: &str,
    chance: &RandomSource,
    place: impl FnOnce(&Path, &Path) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let whole = path.with_extension(format!("new-{}", &chance.token()[..16]));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&whole)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let placed = place(&whole, path);
    let _ = fs::remove_file(&whole); // renamed away, or not needed any more
    placed?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn failed(path: &Path, error: &std::io::Error) -> VaultError {
    VaultError::File(path.to_owned(), error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn key_file_is_created_once_with_mode_0600_and_extended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.keys");
        let chance = RandomSource::system();

        assert!(read_keys(&path, false, &chance).is_err());
        let first = read_keys(&path, true, &chance).unwrap();
        assert_eq!(read_keys(&path, true, &chance).unwrap(), first);
        assert_eq!(add_key(&path, &chance).unwrap(), 2);

        let both = read_keys(&path, true, &chance).unwrap();
        assert_eq!((both.len(), &both[0]), (2, &first[0]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
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
