//! Attributes as other writers have them: libarchive's, ACLs as text, SELinux labels.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Whoever an entry of an ACL is for, where it is nobody in particular.
const NOBODY: u32 = u32::MAX;
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Name and value.
type Xattr = (Vec<u8>, Vec<u8>);

/// The xattr that the PAX record `key` stands for, where it is one of these; nothing where its value makes no sense.
///
/// What has no such form (an ACL of names, one of NFSv4) keeps its key and text: no system takes it, which is told.
pub(super) fn xattr(key: &[u8], value: &[u8]) -> Option<Result<Xattr, ()>> {
    let acl = |attribute: &[u8]| match acl(value) {
        Some(acl) => (attribute.to_vec(), acl),
        None => (key.to_vec(), value.to_vec()),
    };
    match key {
        // An empty value takes a record back.
        b"SCHILY.acl.access" | b"SCHILY.acl.default" | b"SCHILY.acl.ace" | b"RHT.security.selinux"
            if value.is_empty() =>
        {
            None
        }
        b"SCHILY.acl.access" => Some(Ok(acl(b"system.posix_acl_access"))),
        b"SCHILY.acl.default" => Some(Ok(acl(b"system.posix_acl_default"))),
        b"SCHILY.acl.ace" => Some(Ok((key.to_vec(), value.to_vec()))),
        b"RHT.security.selinux" => Some(Ok((b"security.selinux".to_vec(), value.to_vec()))),
        _ => {
            let name = unescape(key.strip_prefix(b"LIBARCHIVE.xattr.")?).filter(|name| !name.is_empty());
            Some(name.zip(BASE64.decode(value).ok()).ok_or(()))
        }
    }
}

/// The name of an attribute behind `SCHILY.xattr.`, where `=` would end it: GNU tar writes `%3D`, and so `%25` for `%`.
pub(super) fn plain(name: &[u8]) -> Vec<u8> {
    let mut rest = name;
    let mut plain = Vec::with_capacity(name.len());
    while let [byte, after @ ..] = rest {
        let (byte, after) = match rest {
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            _ => (*byte, after),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}

/// The name of an attribute as it stands in a record.
#[cfg(any(test, all(feature = "run", unix)))]
pub(crate) fn escaped(name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'=' => escaped.extend(b"%3D"),
            b'%' => escaped.extend(b"%25"),
            byte => escaped.push(*byte),
        }
    }
    escaped
}

/// A name with its `%20` and the like read; none with a NUL.
fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut rest = name;
    let mut plain = Vec::with_capacity(name.len());
    while let [byte, after @ ..] = rest {
        let byte = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16);
                rest = after;
                u8::try_from(digit(high)? << 4 | digit(low)?).ok()?
            }
            (byte, after) => {
                rest = after;
                *byte
            }
        };
        plain.push(byte);
    }
    (!plain.contains(&0)).then_some(plain)
}

/// An ACL from its text (`user::rw-,user:joe:r--:1234,...`, by commas or lines) as Linux keeps it in an xattr.
fn acl(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries = Vec::new();
    for entry in text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty()) {
        let entry = entry.strip_prefix("default:").unwrap_or(entry);
        let fields: Vec<_> = entry.split(':').map(str::trim).collect();
        let (tag, who, rights, id) = match fields[..] {
            [tag @ ("mask" | "other"), rights] => (tag, "", rights, ""),
            [tag, who, rights] => (tag, who, rights, who),
            [tag, who, rights, id] => (tag, who, rights, id),
            _ => return None,
        };
        let (tag, id) = match (tag, who.is_empty()) {
            ("user", true) => (0x01, NOBODY),
            ("user", false) => (0x02, id.parse().ok()?),
            ("group", true) => (0x04, NOBODY),
            ("group", false) => (0x08, id.parse().ok()?),
            ("mask", true) => (0x10, NOBODY),
            ("other", true) => (0x20, NOBODY),
            _ => return None,
        };
        entries.push((tag, id, self::rights(rights)?));
    }
    entries.sort_unstable();
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, id, rights) in entries {
        acl.extend(u16::to_le_bytes(tag));
        acl.extend(u16::to_le_bytes(rights));
        acl.extend(u32::to_le_bytes(id));
    }
    Some(acl)
}

fn rights(text: &str) -> Option<u16> {
    text.chars().try_fold(0, |rights, right| {
        Some(match right {
            'r' => rights | 4,
            'w' => rights | 2,
            'x' => rights | 1,
            '-' => rights,
            _ => return None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{escaped, plain, xattr};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn an_acl_is_what_the_system_would_keep_whoever_wrote_it() {
        let kept =
            "0200000001000600ffffffff02000600d204000004000400ffffffff08000400e110000010000600ffffffff20000400ffffffff";
        for text in [
            // GNU tar, libarchive, star.
            &b"user::rw-\nuser:1234:rw-\ngroup::r--\ngroup:4321:r--\nmask::rw-\nother::r--\n"[..],
            b"user::rw-,group::r--,other::r--,user:1234:rw-,group:4321:r--,mask::rw-",
            b"user::rw-,user:joe:rw-:1234,group::r--,group:staff:r--:4321,mask:rw-,other:r--",
        ] {
            let (name, value) = xattr(b"SCHILY.acl.access", text).unwrap().unwrap();
            assert_eq!((name.as_slice(), hex(&value).as_str()), (&b"system.posix_acl_access"[..], kept));
        }
    }

    #[test]
    fn what_no_system_takes_keeps_its_text_and_broken_values_are_told() {
        for (key, text) in [
            ("SCHILY.acl.access", "user:joe:rw-"),
            ("SCHILY.acl.default", "user::rq-"),
            ("SCHILY.acl.ace", "owner@:rw::allow"),
        ] {
            let kept = (key.into(), text.into());
            assert_eq!(xattr(key.as_bytes(), text.as_bytes()), Some(Ok(kept)));
        }
        assert_eq!(
            xattr(b"LIBARCHIVE.xattr.user.a%20b", b"AAr/PQA"),
            Some(Ok((b"user.a b".to_vec(), b"\0\n\xff=\0".to_vec())))
        );
        assert_eq!(xattr(b"LIBARCHIVE.xattr.user.a", b"AA=="), Some(Ok((b"user.a".to_vec(), b"\0".to_vec()))));
        for (key, value) in
            [(&b"LIBARCHIVE.xattr."[..], &b"AA"[..]), (b"LIBARCHIVE.xattr.a%zz", b"AA"), (b"LIBARCHIVE.xattr.a", b"!")]
        {
            assert_eq!(xattr(key, value), Some(Err(())));
        }
        assert_eq!(xattr(b"comment", b"x"), None);
        assert_eq!(xattr(b"SCHILY.acl.access", b""), None);
    }

    #[test]
    fn names_with_what_ends_a_key_are_read_as_they_are_written() {
        assert_eq!(plain(b"user.a%3Db%25c%3d%2"), b"user.a=b%c%3d%2");
        for name in [&b"user.a=b"[..], b"user.%3D", b"user.%253D%", b"user.plain"] {
            assert_eq!(plain(&escaped(name)), name);
        }
    }
}
