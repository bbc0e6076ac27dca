//! The stages of an archive's way, one by one and together, on an image made for it: `cargo bench --bench stages`.

#![forbid(unsafe_code)]

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use appc::aci::{self, BuildOptions, Compression, ExtractOptions, Nothing, Overwrite, ReadOptions, validate};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};

/// Files of the layout, and bytes of each: text that compresses as programs do, some four to one.
const FILES: u32 = 400;
const SIZE: u32 = 64 << 10;

fn layout(at: &Path) {
    fs::create_dir_all(at.join("rootfs/d")).unwrap();
    fs::write(at.join("manifest"), r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/bench"}"#)
        .unwrap();
    for file in 0..FILES {
        let content: Vec<u8> = (0..SIZE)
            .map(|byte| {
                let noise = (byte ^ file << 16).wrapping_mul(2_654_435_761) >> 24;
                if byte % 4 == 0 { noise.to_le_bytes()[0] } else { b'a' + (byte % 7).to_le_bytes()[0] }
            })
            .collect();
        fs::write(at.join(format!("rootfs/d/{file}")), content).unwrap();
    }
}

fn build(layout: &Path, out: &Path, compression: Compression) {
    let options = BuildOptions { compression, ..BuildOptions::default() };
    aci::build_file(layout, &options, out, Overwrite::Replace).unwrap();
}

fn read(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, bytes: &[u8]) {
    let options = ReadOptions::default();
    group.bench_function(format!("hash and check, {name}"), |bencher| {
        bencher.iter(|| aci::read(bytes, &options, &mut Nothing).unwrap());
    });
    group.bench_function(format!("validate, {name}"), |bencher| {
        bencher.iter(|| assert!(validate::image(bytes, &options).unwrap().image_id.is_some()));
    });
}

fn stages(criterion: &mut Criterion) {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("layout");
    layout(&tree);
    let mut group = criterion.benchmark_group("archive");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(u64::from(FILES) * u64::from(SIZE)));
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let out = place.path().join(format!("{compression}.aci"));
        group.bench_function(format!("build, {compression}"), |bencher| {
            bencher.iter(|| build(&tree, &out, compression));
        });
        let bytes = fs::read(&out).unwrap();
        read(&mut group, &compression.to_string(), &bytes);
        group.bench_function(format!("hash, check and extract, {compression}"), |bencher| {
            let options = ExtractOptions { sync: false, ..ExtractOptions::default() };
            bencher.iter_with_large_drop(|| {
                let into = tempfile::tempdir_in(place.path()).unwrap();
                let handle = fs::File::open(into.path()).unwrap();
                aci::import(&bytes[..], handle.as_fd(), &options).unwrap();
                into
            });
        });
    }
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
