//! Building what a run needs from this workspace: the probe, statically, and binaries that targets name as `cargo:NAME`.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::Failure;
use crate::target::Target;

/// The workspace's root; a suite that was carried to another machine has none.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    // Set by the `cargo run` that started the suite, for another package than the one to be built.
    for (name, _) in env::vars_os()
        .filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR")
    {
        command.env_remove(name);
    }
    command
}

/// Where the running suite was built: its own directory, `<target dir>/<profile>`.
fn own_dir() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.parent()?.to_owned())
}

/// What helps where no probe can be built: the suite was carried away from its sources, or there is no Rust.
const BY_HAND: &str = "where the suite was built `appc-conformance probe FILE` writes a static one; \
                       let APPC_PROBE be its path here, or lay it beside the suite as appc-probe-static";

/// The probe for a platform: the file that `APPC_PROBE_<PLATFORM>` or `APPC_PROBE` names, else the one beside the suite, else built here.
pub fn probe(platform: &str) -> Result<Vec<u8>, Failure> {
    let named = [format!("APPC_PROBE_{}", platform.to_uppercase()), "APPC_PROBE".into()]
        .into_iter()
        .find_map(env::var_os)
        .map(PathBuf::from);
    let path = match named {
        Some(path) => path,
        None if platform == env::consts::OS => {
            built_probe().map_err(|why| Failure::new(format!("no probe: {why}; {BY_HAND}")))?
        }
        None => {
            return Err(Failure::new(format!(
                "no probe for {platform}: let APPC_PROBE_{} be the path of one",
                platform.to_uppercase()
            )));
        }
    };
    let bytes = std::fs::read(&path).map_err(|e| Failure::file(&path, e))?;
    runs_alone(&bytes).map_err(|why| Failure::new(format!("{} is no probe: {why}", path.display())))?;
    Ok(bytes)
}

/// Writes this platform's probe to a file, for those who want to put it somewhere themselves.
pub fn probe_file(at: &Path) -> Result<ExitCode, Failure> {
    let bytes = probe(env::consts::OS)?;
    let failed = |error| Failure::file(at, error);
    std::fs::write(at, bytes).map_err(failed)?;
    #[cfg(unix)]
    std::fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a program needs nothing but itself: the root file systems of cases have neither libraries nor what loads them.
fn runs_alone(program: &[u8]) -> Result<(), &'static str> {
    /// `ET_REL` and `PT_INTERP` of `<elf.h>`, as are the offsets below those of 64-bit files.
    const OBJECT: u64 = 1;
    const INTERPRETER: u64 = 3;
    let number = |at: usize, size: usize| {
        let bytes = program.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    if !program.starts_with(b"\x7fELF\x02\x01") {
        // A script, or a program of another machine: the target will tell.
        return Ok(());
    }
    if number(16, 2) == Some(OBJECT) {
        return Err("it is not linked yet: cc -static -pthread -o appc-probe appc-probe.o -lm");
    }
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return Err("it is cut off");
    };
    let kind = |header: u64| number(usize::try_from(table.checked_add(header * size)?).ok()?, 4);
    if (0..count).any(|header| kind(header) == Some(INTERPRETER)) {
        return Err("it is linked with shared libraries, which the root file systems of cases do not have; \
                    link it statically (-C target-feature=+crt-static)");
    }
    Ok(())
}

fn built_probe() -> Result<PathBuf, Failure> {
    let beside = own_dir().map(|dir| dir.join("appc-probe-static"));
    if let Some(beside) = beside.filter(|path| path.exists()) {
        return Ok(beside);
    }
    if !workspace().join("Cargo.toml").exists() {
        return Err(Failure::new("the suite's sources are not here"));
    }
    // A directory of its own, because the flags differ from those of everything else; the explicit target keeps them off build scripts.
    let target = host_triple()?;
    let dir =
        own_dir().and_then(|dir| Some(dir.parent()?.join("probe"))).unwrap_or_else(|| workspace().join("target/probe"));
    let mut command = cargo();
    command
        .args(["build", "--quiet", "--release", "--package", "appc-probe", "--target", &target])
        .arg("--target-dir")
        .arg(&dir);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=symbols").env_remove("CARGO_ENCODED_RUSTFLAGS");
    done(command, "the probe")?;
    Ok(dir.join(target).join("release/appc-probe"))
}

fn host_triple() -> Result<String, Failure> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output =
        Command::new(rustc).arg("-vV").output().map_err(|e| Failure::new(format!("failed to start rustc: {e}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).ok_or_else(|| {
        Failure::new(format!("rustc does not tell its host: {}", String::from_utf8_lossy(&output.stderr)))
    })
}

/// The programs of a target as paths; what is named `cargo:NAME` stands beside the suite, and is built there anew where Cargo built the suite.
pub fn programs(target: &Target) -> Result<BTreeMap<String, String>, Failure> {
    let mut paths = BTreeMap::new();
    for (name, place) in &target.programs {
        let path = match place.strip_prefix("cargo:") {
            Some(binary) => own_binary(binary)?,
            None if place.contains('/') && !place.starts_with('/') => target.dir.join(place),
            None => PathBuf::from(place),
        };
        paths.insert(name.clone(), path.display().to_string());
    }
    Ok(paths)
}

fn own_binary(binary: &str) -> Result<PathBuf, Failure> {
    let variable = format!("APPC_{}", binary.to_uppercase());
    if let Some(path) = env::var_os(&variable) {
        return Ok(path.into());
    }
    let dir = own_dir().ok_or_else(|| Failure::new("the suite does not know where it stands"))?;
    let path = dir.join(binary);
    // A suite that was copied somewhere takes what stands beside it there: only Cargo's own directories are built into.
    let built_here = dir.parent().is_some_and(|target_dir| target_dir.join("CACHEDIR.TAG").exists());
    if built_here && workspace().join("Cargo.toml").exists() {
        let mut command = cargo();
        command.args(["build", "--quiet", "--package", "appc", "--bin", binary]);
        if dir.ends_with("release") {
            command.arg("--release");
        }
        if let Some(target_dir) = dir.parent() {
            command.arg("--target-dir").arg(target_dir);
        }
        done(command, binary)?;
    }
    if path.exists() {
        Ok(path)
    } else {
        Err(Failure::new(format!("there is no {binary} at {}; name one by {variable}", path.display())))
    }
}

fn done(mut command: Command, what: &str) -> Result<(), Failure> {
    let status = command.status().map_err(|e| Failure::new(format!("failed to start cargo: {e}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("failed to build {what}: cargo ended with {status}")))
    }
}

#[cfg(test)]
mod tests {
    use super::runs_alone;

    fn program(kind: u8, headers: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = kind;
        (bytes[32], bytes[54], bytes[56]) = (64, 56, headers.len().try_into().unwrap());
        for header in headers {
            bytes.push(*header);
            bytes.resize(bytes.len() + 55, 0);
        }
        bytes
    }

    #[test]
    fn a_probe_that_needs_more_than_itself_is_refused_before_any_case_runs() {
        assert_eq!(runs_alone(&program(2, &[1, 1, 4])), Ok(()));
        assert_eq!(runs_alone(b"#!/bin/sh\n"), Ok(()));
        assert!(runs_alone(&program(3, &[6, 3, 1])).unwrap_err().contains("shared libraries"));
        assert!(runs_alone(&program(1, &[])).unwrap_err().contains("not linked"));
        assert!(runs_alone(&program(2, &[])[..40]).unwrap_err().contains("cut off"));
    }
}
