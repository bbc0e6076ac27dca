//! Compression and encryption: all of a stream counts, to its end.

use std::io::Write;

use appc::aci::{self, Compression, Kind, Nothing, Passphrase, ReadOptions, Summary};
use appc::diagnostic::Severity;
use appc::schema::Compat;
use flate2::write::GzEncoder;

use super::fixtures::Tar;
use crate::support::gpg::Gpg;

fn image() -> Vec<u8> {
    let noise: Vec<u8> = (0u32..60_000).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    Tar::image().file("rootfs/noise", &noise).file("rootfs/zeros", &[0; 300_000]).end()
}

fn read(bytes: &[u8]) -> aci::Result<Summary> {
    aci::read(bytes, &ReadOptions::default(), &mut Nothing)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The image in every form there is.
fn forms(bytes: &[u8]) -> Vec<(Compression, Vec<u8>)> {
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(bytes).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(bytes).unwrap();
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    zstd.include_checksum(true).unwrap();
    zstd.write_all(bytes).unwrap();
    vec![
        (Compression::Gzip, gzip(bytes)),
        (Compression::Bzip2, bzip2.finish().unwrap()),
        (Compression::Xz, xz.finish().unwrap()),
        (Compression::Zstd, zstd.finish().unwrap()),
    ]
}

#[test]
fn the_image_id_is_the_same_whatever_the_compression() {
    let bytes = image();
    let plain = read(&bytes).unwrap();
    assert_eq!((plain.compression, plain.size), (Compression::None, bytes.len() as u64));
    for (compression, packed) in forms(&bytes) {
        let summary = read(&packed).unwrap();
        assert_eq!(summary.image_id, plain.image_id, "{compression}");
        assert_eq!(summary.compression, compression);
        assert_eq!(summary.transferred, packed.len() as u64, "{compression}");
        let told = summary.diagnostics.iter().any(|found| found.clause == "x.aci.zstd");
        assert_eq!(told, compression == Compression::Zstd, "{compression}");
    }
}

#[test]
fn streams_put_together_are_one() {
    let bytes = image();
    let id = read(&bytes).unwrap().image_id;
    let (front, back) = bytes.split_at(bytes.len() / 3);
    for ((compression, one), (_, two)) in forms(front).into_iter().zip(forms(back)) {
        assert_eq!(read(&[one, two].concat()).unwrap().image_id, id, "{compression}");
    }
}

#[test]
fn a_stream_that_is_cut_off_or_changed_is_an_error_wherever() {
    let bytes = image();
    for (compression, packed) in forms(&bytes) {
        for cut in [10, packed.len() / 2, packed.len() - 20, packed.len() - 9, packed.len() - 4, packed.len() - 1] {
            let error = read(&packed[..cut]).unwrap_err();
            assert_eq!(error.clause_id(), Some("aci.compress"), "{compression} cut at {cut}: {error:?}");
        }
        for at in [packed.len() / 3, packed.len() - 3] {
            let mut changed = packed.clone();
            changed[at] ^= 0x55;
            let error = read(&changed).expect_err(&format!("{compression} changed at {at}"));
            assert_eq!(*error.kind(), Kind::Invalid, "{compression} changed at {at}: {error:?}");
        }
        let error = read(&[&packed[..], b"junk behind it"].concat()).unwrap_err();
        assert_eq!(error.clause_id(), Some("aci.compress"), "{compression}: {error:?}");
    }
}

#[test]
fn damage_behind_the_archives_end_hides_no_fault_and_is_let_pass_where_go_does() {
    let told = |bytes: &[u8], compat| {
        let mut options = appc::validate::Options::default();
        options.manifest.compat = compat;
        let report = appc::validate::reader("a.aci", bytes, &options);
        let errors = report.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        errors.map(|found| found.clause.to_string()).collect::<Vec<_>>()
    };
    let whole = Tar::image().file("rootfs/a", &[7; 5000]).end();
    let foreign = Tar::image().file("other", b"").end();
    for (compression, packed) in forms(&whole).into_iter().filter(|(compression, _)| *compression != Compression::None)
    {
        for broken in [&packed[..packed.len() - 1], &[&packed[..], b"junk behind it"].concat()] {
            assert_eq!(told(broken, Compat::None), ["aci.compress"], "{compression}");
        }
    }
    for broken in [&gzip(&whole)[..gzip(&whole).len() - 1], &[&gzip(&whole)[..], b"junk"].concat()] {
        assert_eq!(told(broken, Compat::Go), [""; 0]);
    }
    let cut = &gzip(&foreign)[..gzip(&foreign).len() - 1];
    assert_eq!(told(cut, Compat::None), ["aci.toplevel.noextra", "aci.compress"]);
    // Before the end it is damage to all.
    assert_eq!(told(&gzip(&whole)[..60], Compat::Go), ["aci.compress"]);
}

#[test]
fn zeros_behind_gzip_are_a_warning_and_what_follows_them_an_error() {
    let packed = gzip(&image());
    let summary = read(&[&packed[..], &[0; 700]].concat()).unwrap();
    assert_eq!(summary.diagnostics.iter().filter(|found| found.clause == "aci.compress").count(), 1);
    assert_eq!(read(&[&packed[..], &[0; 700], b"x"].concat()).unwrap_err().clause_id(), Some("aci.compress"));
}

#[test]
fn a_gzip_headers_own_checksum_counts() {
    let packed = gzip(&image());
    let mut head = packed[..10].to_vec();
    head[3] |= 2;
    let mut crc = flate2::Crc::new();
    crc.update(&head);
    let sum = crc.sum().to_le_bytes();
    let with = |sum: &[u8]| [&head[..], sum, &packed[10..]].concat();
    assert!(read(&with(&sum[..2])).is_ok());
    assert_eq!(read(&with(&[!sum[0], sum[1]])).unwrap_err().clause_id(), Some("aci.compress"));
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    // 1.2 GiB of zeros, a MiB at a time: over 1000 to 1, past the first GiB.
    let member = {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 64 << 20]).unwrap();
        encoder.finish().unwrap()
    };
    let head = Tar::image().entry(super::fixtures::Head::new(b'0', "rootfs/bomb").size("12000000000"), b"").0;
    let bomb = [gzip(&head), member.repeat(20)].concat();
    let error = read(&bomb).unwrap_err();
    assert_eq!((*error.kind(), error.clause_id()), (Kind::TooBig, Some("x.aci.limits")));
    assert!(appc::error::chain(&error).contains("1000"), "{error:?}");
}

#[test]
fn xz_with_a_dictionary_past_the_cap_is_refused() {
    let (_, mut packed) = forms(&image()).into_iter().find(|(compression, _)| *compression == Compression::Xz).unwrap();
    // The header of the first block: its size in fours less one, flags, filter and properties, CRC32.
    let size = (usize::from(packed[12]) + 1) * 4;
    let property = packed[12..12 + size].windows(2).position(|pair| pair == [0x21, 1]).unwrap() + 14;
    packed[property] = 34; // 512 MiB
    let mut crc = flate2::Crc::new();
    crc.update(&packed[12..8 + size]);
    packed[8 + size..12 + size].copy_from_slice(&crc.sum().to_le_bytes());
    let error = read(&packed).unwrap_err();
    assert_eq!(error.clause_id(), Some("aci.compress"));
    assert!(appc::error::chain(&error).to_lowercase().contains("mem"), "{error:?}");
}

#[test]
fn a_source_that_fails_is_not_the_archives_fault() {
    struct Failing(Vec<u8>);
    impl std::io::Read for Failing {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Err(std::io::Error::other("the cable was pulled"));
            }
            let count = into.len().min(self.0.len()).min(100);
            into[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }
    let packed = gzip(&image());
    for part in [image()[..2000].to_vec(), packed[..packed.len() / 2].to_vec()] {
        let error = aci::read(Failing(part), &ReadOptions::default(), &mut Nothing).unwrap_err();
        assert_eq!((*error.kind(), error.clause_id()), (Kind::Io, None), "{error:?}");
        assert!(appc::error::chain(&error).contains("the cable was pulled"));
    }
}

#[test]
fn what_gpg_encrypts_with_a_passphrase_is_read_with_it_alone() {
    let Some(gpg) = Gpg::new() else { return };
    // Large enough that what is changed in its middle is content, which nothing but the encryption protects.
    let bytes = Tar::image().file("rootfs/large", &[7; 100_000]).end();
    let id = read(&bytes).unwrap().image_id;
    let plain = gpg.path("image.aci");
    for (packed, extra) in [
        (gzip(&bytes), &["--compress-algo", "none"][..]),
        (bytes.clone(), &["--cipher-algo", "AES128"]),
        (bytes.clone(), &["--compress-algo", "none", "--s2k-mode", "0"]),
        (gzip(&bytes), &["--cipher-algo", "AES256", "--armor"]),
    ] {
        std::fs::write(&plain, &packed).unwrap();
        let sealed = gpg.path("sealed.aci");
        let mut arguments = vec!["--yes", "--pinentry-mode", "loopback", "--passphrase", "open sesame", "--symmetric"];
        arguments.extend(extra);
        arguments.extend(["--output", sealed.to_str().unwrap(), plain.to_str().unwrap()]);
        gpg.run(&arguments);
        let sealed = std::fs::read(&sealed).unwrap();
        let with = |sealed: &[u8], passphrase: Option<&str>| {
            let passphrase = passphrase.map(Passphrase::new);
            aci::read(sealed, &ReadOptions { passphrase, ..ReadOptions::default() }, &mut Nothing)
        };
        let summary = with(&sealed, Some("open sesame")).unwrap();
        assert!(summary.encrypted);
        assert_eq!(summary.image_id, id, "{extra:?}");
        let error = with(&sealed, None).unwrap_err();
        assert_eq!((*error.kind(), error.clause_id()), (Kind::Encrypted, Some("aci.encrypt")));
        assert!(with(&sealed, Some("open barley")).is_err(), "{extra:?}");
        if !extra.contains(&"--armor") {
            let mut changed = sealed.clone();
            let middle = changed.len() / 2;
            changed[middle] ^= 1;
            assert!(with(&changed, Some("open sesame")).is_err(), "{extra:?}");
            assert!(with(&sealed[..sealed.len() - 10], Some("open sesame")).is_err(), "{extra:?}");
        }
    }
}
