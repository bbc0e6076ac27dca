//! `jetpack logs`: what the apps of a pod said.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use appc::config::parse_duration;
use appc::diagnostic::visible;
use appc::executor::logs::{Entry, parse};
use appc::pod::{Part, PodDir, State};
use appc::sys::output;

use crate::context::Context;
use crate::error::CommandError;

/// Show what the apps of a pod wrote to their standard output and error.
#[derive(clap::Args)]
pub struct Args {
    /// A UUID, the beginning of one, or a name
    pod: String,
    /// This app only
    app: Option<String>,
    /// Go on until the pod has ended
    #[arg(short, long)]
    follow: bool,
    /// What was said since: a time (RFC 3339), or how long ago (90s, 10m, 2h)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<jiff::Timestamp>,
    /// Of what was said before, the last lines only
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<usize>,
    /// Show when each line was said
    #[arg(short = 'T', long)]
    timestamps: bool,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

/// Between looks at a log that grows.
pub const PAUSE: Duration = Duration::from_millis(50);

impl Args {
    /// What apps say from now on, after the last lines of before, until the pod has ended.
    pub fn from_now_on(pod: String, app: Option<String>, tail: usize) -> Self {
        Self { pod, app, follow: true, since: None, tail: Some(tail), timestamps: false, json: false }
    }
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let pod = context.pods()?.find(&args.pod)?;
    show_all(args, &pod, || {
        std::thread::sleep(PAUSE);
        Ok(true)
    })
}

/// Shows what is asked for. `pause` is called before it is looked again, and says whether to go on.
pub fn show_all(
    args: &Args,
    pod: &PodDir,
    mut pause: impl FnMut() -> Result<bool, CommandError>,
) -> Result<ExitCode, CommandError> {
    let mut readers: BTreeMap<String, Reader> = BTreeMap::new();
    let plan: appc::executor::plan::PodPlan = pod.read_json(Part::Plan)?;
    // From the first line on, whoever says it.
    let many = args.app.is_none() && plan.apps.len() > 1;
    if let Some(app) = &args.app
        && plan.apps.iter().all(|known| known.name != *app)
    {
        let names: Vec<&str> = plan.apps.iter().map(|app| app.name.as_str()).collect();
        let why = format!("its apps are {}", names.join(", "));
        return Err(CommandError::failed(format!("find app {app} in pod {}: {why}", pod.uuid())));
    }
    let mut tail = args.tail;
    let unread = |error: io::Error| CommandError::failed(format!("read the logs of pod {}: {error}", pod.uuid()));
    loop {
        // Asked before reading: what is said until the end is read then.
        let ended = !matches!(pod.state(), State::Running | State::Preparing | State::Prepared);
        find(pod, args, &mut readers).map_err(unread)?;
        let mut entries: Vec<(String, String, Vec<u8>)> = Vec::new();
        for (app, reader) in &mut readers {
            for line in reader.lines().map_err(unread)? {
                if let Some(entry) = parse(&line) {
                    entries.push((entry.time.to_owned(), app.clone(), line.clone()));
                }
            }
        }
        // Lines of several apps by time; sorting is stable, so an app's own order stays.
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.retain(|(time, ..)| is_recent(args, time));
        let first = tail.take().map_or(0, |tail| beginning(&entries, tail));
        for (_, app, line) in &entries[first..] {
            if let Some(entry) = parse(line) {
                match show(args, app, many, &entry) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
                    other => other?,
                }
            }
        }
        if !args.follow || ended || !pause()? {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn is_recent(args: &Args, time: &str) -> bool {
    args.since.is_none_or(|since| time.parse::<jiff::Timestamp>().map_or(true, |time| time >= since))
}

/// Where the last `tail` lines begin: parts of one line are one.
fn beginning(entries: &[(String, String, Vec<u8>)], tail: usize) -> usize {
    let ends = |(_, _, line): &(String, String, Vec<u8>)| parse(line).is_some_and(|entry| entry.whole);
    let last_is_open = usize::from(entries.last().is_some_and(|last| !ends(last)));
    let mut lines = entries.iter().enumerate().rev().filter(|(_, entry)| ends(entry)).map(|(place, _)| place + 1);
    match tail.checked_sub(last_is_open) {
        Some(whole) => lines.nth(whole).unwrap_or(0),
        None => entries.len(),
    }
}

fn find(pod: &PodDir, args: &Args, readers: &mut BTreeMap<String, Reader>) -> io::Result<()> {
    let entries = match std::fs::read_dir(pod.place(Part::Logs)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let app = name.strip_suffix(".1").unwrap_or(&name).to_owned();
        if args.app.as_ref().is_none_or(|wanted| *wanted == app) && !readers.contains_key(&app) {
            readers.insert(app, Reader::new(pod.place(Part::Logs), name));
        }
    }
    Ok(())
}

fn show(args: &Args, app: &str, many: bool, entry: &Entry<'_>) -> io::Result<()> {
    let mut text = Vec::new();
    if args.json {
        let mut value = serde_json::to_value(entry).map_err(io::Error::other)?;
        value["app"] = app.into();
        text.extend_from_slice(visible::json(&value.to_string()).as_bytes());
        text.push(b'\n');
        return output::stdout().write_all(&text);
    }
    if args.timestamps {
        text.extend_from_slice(format!("{} ", entry.time).as_bytes());
    }
    if many {
        text.extend_from_slice(format!("{app}: ").as_bytes());
    }
    if many || args.timestamps {
        // What stands before it is to be believed.
        let said = String::from_utf8_lossy(entry.text);
        let columns: Vec<_> = said.split('\t').map(visible::line).collect();
        text.extend_from_slice(columns.join("\t").as_bytes());
    } else {
        text.extend_from_slice(entry.text);
    }
    if entry.whole || args.timestamps || many {
        text.push(b'\n');
    }
    if entry.stream == "stderr" { output::stderr().write_all(&text) } else { output::stdout().write_all(&text) }
}

/// A log that may be moved aside while it is read.
struct Reader {
    directory: PathBuf,
    app: String,
    open: Option<BufReader<File>>,
    inode: u64,
    partial: Vec<u8>,
    older_read: bool,
}

impl Reader {
    fn new(directory: PathBuf, name: String) -> Self {
        let app = name.strip_suffix(".1").unwrap_or(&name).to_owned();
        Self { directory, app, open: None, inode: 0, partial: Vec::new(), older_read: false }
    }

    /// The whole lines that came since the last call.
    fn lines(&mut self) -> io::Result<Vec<Vec<u8>>> {
        use std::os::unix::fs::MetadataExt;
        let mut lines = Vec::new();
        if !self.older_read {
            self.older_read = true;
            self.read_file(&self.directory.join(format!("{}.1", self.app)), &mut lines)?;
            self.open = None;
        }
        let path = self.directory.join(&self.app);
        let now = std::fs::metadata(&path).map(|about| about.ino()).unwrap_or(0);
        if self.open.is_some() && now != self.inode {
            // The rest of what was moved aside, then the new one.
            self.read_open(&mut lines)?;
            self.open = None;
        }
        if self.open.is_none() && now != 0 {
            self.inode = now;
            self.open = Some(BufReader::new(File::open(&path)?));
        }
        self.read_open(&mut lines)?;
        Ok(lines)
    }

    fn read_file(&mut self, path: &Path, lines: &mut Vec<Vec<u8>>) -> io::Result<()> {
        match File::open(path) {
            Ok(file) => {
                self.open = Some(BufReader::new(file));
                self.read_open(lines)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn read_open(&mut self, lines: &mut Vec<Vec<u8>>) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        while open.read_until(b'\n', &mut self.partial)? > 0 {
            if self.partial.last() != Some(&b'\n') {
                break;
            }
            self.partial.pop();
            lines.push(std::mem::take(&mut self.partial));
        }
        Ok(())
    }
}

/// A time, or how long ago.
pub fn since(text: &str) -> Result<jiff::Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = parse_duration(text).map_err(|why| format!("neither a time nor how long ago: {why}"))?;
    jiff::Timestamp::now().checked_sub(ago).map_err(|error| error.to_string())
}
