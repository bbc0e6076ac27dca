//! What `zfs diff` says of a clone.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The paths that `zfs diff -H SNAPSHOT DATASET` names as changed in any way, relative to `rootfs` in the directory that the dataset is
/// mounted on. Of a file with several names it names one, and it passes over names that a directory has won or lost: it is no
/// list of what differs.
pub fn named(output: &str, mountpoint: &Path) -> HashSet<Vec<u8>> {
    let root = mountpoint.join("rootfs");
    let mut named = HashSet::new();
    for line in output.lines() {
        // The kind of change; the path; for a rename another, for a new name of a file how many.
        for field in line.split('\t').skip(1) {
            let path = plain(field);
            let inside = path.strip_prefix(root.as_os_str().as_bytes());
            match inside {
                Some(b"") => drop(named.insert(Vec::new())),
                Some([b'/', rest @ ..]) => drop(named.insert(rest.to_vec())),
                _ => {}
            }
        }
    }
    named
}

/// `\0040` is a space: a byte that is not printed as it is has four octal digits.
fn plain(field: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits =
            after.get(..4).filter(|digits| byte == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        let number = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match number {
            Some(number) => {
                bytes.push(number);
                rest = &after[4..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_that_zfs_names_is_one_of_the_tree() {
        let output = "M\t/pods/a/app/rootfs\n+\t/pods/a/app/rootfs/with\\0040space\\0303\\0244\n\
            R\t/pods/a/app/rootfs/old\t/pods/a/app/rootfs/new\nM\t/pods/a/app/rootfs/linked\t(+1)\n\
            M\t/pods/a/app/\n-\t/pods/a/app/rootfs2\n";
        let mut named: Vec<_> = named(output, Path::new("/pods/a/app")).into_iter().collect();
        named.sort();
        let wanted: [&[u8]; 5] = [b"", b"linked", b"new", b"old", "with spaceä".as_bytes()];
        assert_eq!(named, wanted);
    }
}
