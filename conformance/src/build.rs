//! Building what a run needs from this workspace: the probe, statically, and binaries that targets name as `cargo:NAME`.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The probe for a platform: the file that `APPC_PROBE_<PLATFORM>` or `APPC_PROBE` names, else built here.
pub fn probe(platform: &str) -> Result<Vec<u8>, Failure> {
    let named = [format!("APPC_PROBE_{}", platform.to_uppercase()), "APPC_PROBE".into()]
        .into_iter()
        .find_map(env::var_os)
        .map(PathBuf::from);
    let path = match named {
        Some(path) => path,
        None if platform == env::consts::OS => built_probe()?,
        None => {
            return Err(Failure::new(format!(
                "no probe for {platform}: name one by APPC_PROBE_{}",
                platform.to_uppercase()
            )));
        }
    };
    std::fs::read(&path).map_err(|e| Failure::file(&path, e))
}

fn built_probe() -> Result<PathBuf, Failure> {
    let beside = own_dir().map(|dir| dir.join("appc-probe-static"));
    if let Some(beside) = beside.filter(|path| path.exists()) {
        return Ok(beside);
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
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("rustc does not tell its host"))
}

/// The programs of a target as paths; what is named `cargo:NAME` is built when it does not stand beside the suite.
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
    if workspace().join("Cargo.toml").exists() {
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
