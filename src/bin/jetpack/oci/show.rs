//! `state`, `list`, `ps`, `events`, `features`, `spec`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use appc::executor::container::Status;
use appc::oci::bundle;
use serde_json::{Value, json};

use super::system::{self, stats};
use super::{Context, Failed};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(clap::Args)]
pub struct StateArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

#[derive(clap::Args)]
pub struct ListArgs {
    /// How it reads
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Names only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(clap::Args)]
pub struct PsArgs {
    /// How it reads
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// The container
    #[arg(value_name = "CONTAINER")]
    id: String,
    /// What ps(1) is told [default: -ef; on FreeBSD -ax]
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

#[derive(clap::Args)]
pub struct EventsArgs {
    /// Once, and come back
    #[arg(long)]
    stats: bool,
    /// How often
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    interval: Duration,
    /// The container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

#[derive(clap::Args)]
pub struct SpecArgs {
    /// The bundle's directory
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// For a caller who is not root
    #[arg(long)]
    rootless: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no time"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" | "" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("`{text}` is no time: 500ms, 5s, 1m are")),
    }
    .and_then(|time| if time.is_zero() { Err("it is longer than nothing".to_owned()) } else { Ok(time) })
}

/// Prints, if somebody still reads.
fn say(words: impl std::fmt::Display) -> Result<(), Failed> {
    match writeln!(io::stdout(), "{words}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn pretty(value: &Value) -> Result<ExitCode, Failed> {
    say(serde_json::to_string_pretty(value)?)?;
    Ok(ExitCode::SUCCESS)
}

pub fn state(args: &StateArgs, context: &Context) -> Result<ExitCode, Failed> {
    let container = context.container(&args.id)?;
    pretty(&container.shown(container.status()))
}

pub fn list(args: &ListArgs, context: &Context) -> Result<ExitCode, Failed> {
    let all = context.root.all()?;
    if args.quiet {
        all.iter().try_for_each(|container| say(&container.kept.id))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.format == Format::Json {
        let all: Vec<Value> = all.iter().map(|container| container.shown(container.status())).collect();
        say(Value::from(all))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    for container in &all {
        let (kept, status) = (&container.kept, container.status());
        let pid = kept.process.filter(|_| status != Status::Stopped).map_or(0, |process| process.pid);
        let bundle = kept.bundle.display().to_string();
        let (created, owner) = (kept.created.clone(), kept.owner_name());
        rows.push([kept.id.clone(), pid.to_string(), status.word().to_owned(), bundle, created, owner]);
    }
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        say(cells.join("   ").trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What ps(1) is told unless told.
#[cfg(not(target_os = "freebsd"))]
const DEFAULT: [&str; 1] = ["-ef"];
/// `-e` shows environments there.
#[cfg(target_os = "freebsd")]
const DEFAULT: [&str; 3] = ["-ax", "-o", "user,pid,ppid,tt,time,command"];

pub fn ps(args: &PsArgs, context: &Context) -> Result<ExitCode, Failed> {
    let pids = context.container(&args.id)?.processes();
    if args.format == Format::Json {
        say(json!(pids))?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = if args.options.is_empty() { DEFAULT.map(str::to_owned).to_vec() } else { args.options.clone() };
    let out = Command::new("ps").args(&options).output().map_err(|error| Failed::new(format!("run ps: {error}")))?;
    if !out.status.success() {
        return Err(Failed::new(format!("run ps: {}", String::from_utf8_lossy(&out.stderr).trim())));
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| Failed::new("find the column PID in what ps says"))?;
    say(head)?;
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            say(line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How often it is looked whether memory has run out.
const LOOK: Duration = Duration::from_millis(200);

pub fn events(args: &EventsArgs, context: &Context) -> Result<ExitCode, Failed> {
    let container = context.container(&args.id)?;
    if container.status() == Status::Stopped {
        return Err(Failed::new(format!("watch the container {}: container not running", args.id)));
    }
    let tell = |kind: &str, data: Option<Value>| {
        let mut event = json!({ "type": kind, "id": args.id });
        if let (Some(data), Some(event)) = (data, event.as_object_mut()) {
            event.insert("data".to_owned(), data);
        }
        say(event)
    };
    if args.stats {
        tell("stats", Some(stats::stats(&container)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut killed = stats::killed_for_memory(&container);
    let mut next = Instant::now() + args.interval;
    while container.status() != Status::Stopped {
        std::thread::sleep(LOOK.min(next.saturating_duration_since(Instant::now())));
        let now = stats::killed_for_memory(&container);
        if std::mem::replace(&mut killed, now) < now {
            tell("oom", None)?;
        }
        if next <= Instant::now() {
            next += args.interval;
            tell("stats", Some(stats::stats(&container)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub fn features() -> Result<ExitCode, Failed> {
    let mut all = system::features();
    all["annotations"]["jetpack.version"] = env!("CARGO_PKG_VERSION").into();
    pretty(&all)
}

pub fn spec(args: &SpecArgs) -> Result<ExitCode, Failed> {
    let me = || (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let template = match cfg!(target_os = "freebsd") {
        true => bundle::template_for_jails(),
        false => bundle::template(args.rootless.then(me)),
    };
    let text = serde_json::to_string_pretty(&template)?;
    let file = args.bundle.join("config.json");
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&file);
    made.and_then(|mut open| writeln!(open, "{text}"))
        .map_err(|error| Failed::new(format!("write {}: {error}", file.display())))?;
    Ok(ExitCode::SUCCESS)
}
