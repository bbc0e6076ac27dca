//! `jetpack metrics`: pods in numbers, for whoever watches over hosts.
//!
//! OpenMetrics text of counters and gauges alone, which readers of Prometheus' older text format take too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use appc::pod::status::{AppStatus, Cause, Status};
use appc::pod::{PodDir, State};
use appc::sys::private_socket::PrivateSocket;
use appc::whole::{Draft, Overwrite};
use jiff::Timestamp;

use crate::context::Context;
use crate::error::CommandError;

/// Print what pods there are, how they are and what they use as OpenMetrics text.
#[derive(clap::Args)]
pub struct Args {
    /// Write it into a file, whole or not at all, as the textfile collector of node_exporter wants it (NAME.prom)
    #[arg(short, long, value_name = "FILE", conflicts_with = "listen")]
    output: Option<PathBuf>,
    /// Answer `GET /metrics` on a unix socket, which this user and root may connect to, until interrupted
    #[arg(long, value_name = "PATH")]
    listen: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    appc::sys::unfinished::remove_at_signals()?;
    match (&args.listen, &args.output) {
        (Some(path), _) => serve::run(path, context)?,
        (None, Some(file)) => write(file, &collect(context)?)?,
        (None, None) => print!("{}", collect(context)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// A reader finds the file as it was or as it is. node_exporter is nobody in particular: everybody may read it whom the umask lets.
fn write(file: &Path, text: &str) -> Result<(), CommandError> {
    let file = std::path::absolute(file)?;
    let failed = |error: io::Error| CommandError::failed(format!("write {}: {error}", file.display()));
    let directory = file.parent().unwrap_or(Path::new("/"));
    // Else it is told of a name that nobody has chosen.
    fs::metadata(directory).map_err(failed)?;
    let mut draft = Draft::new(&file, 0o644).map_err(failed)?;
    io::Write::write_all(draft.file(), text.as_bytes()).map_err(failed)?;
    draft.publish(Overwrite::Replace).map_err(failed)
}

/// What is measured, in the order in which it is told: name, whether it only grows, what it is.
const FAMILIES: [(&str, Growth, &str); 33] = [
    ("jetpack_build_info", Growth::Gauge, "The program that tells this; always 1."),
    ("jetpack_pods", Growth::Gauge, "Pods, by state."),
    ("jetpack_pod_state", Growth::Gauge, "Whether a pod is in this state."),
    ("jetpack_pod_paused", Growth::Gauge, "Whether its processes are held."),
    (
        "jetpack_pod_lost",
        Growth::Gauge,
        "Whether its supervisor was gone before it could write down how the pod ended.",
    ),
    ("jetpack_pod_damaged", Growth::Gauge, "Whether its status cannot be read."),
    ("jetpack_pod_start_time_seconds", Growth::Gauge, "When it was started, since 1970."),
    ("jetpack_pod_end_time_seconds", Growth::Gauge, "When it ended, since 1970."),
    ("jetpack_pod_exit_code", Growth::Gauge, "What its run ended with."),
    ("jetpack_pod_supervisor_troubles", Growth::Counter, "What its supervisor could not do."),
    ("jetpack_pod_cpu_seconds", Growth::Counter, "Processor time."),
    ("jetpack_pod_memory_bytes", Growth::Gauge, "Resident memory."),
    ("jetpack_pod_memory_peak_bytes", Growth::Gauge, "The most memory of its control group at once."),
    ("jetpack_pod_swap_bytes", Growth::Gauge, "Memory that is swapped out."),
    ("jetpack_pod_processes", Growth::Gauge, "Processes."),
    ("jetpack_pod_threads", Growth::Gauge, "Threads."),
    ("jetpack_pod_read_bytes", Growth::Counter, "Bytes read from devices."),
    ("jetpack_pod_written_bytes", Growth::Counter, "Bytes written to devices."),
    ("jetpack_pod_stalled_seconds", Growth::Counter, "For how long some process has waited for what was short."),
    ("jetpack_pod_oom_kills", Growth::Counter, "Processes that the kernel has ended for lack of memory."),
    ("jetpack_app_up", Growth::Gauge, "Whether its main process runs."),
    ("jetpack_app_ready", Growth::Gauge, "Whether it has said that it is ready; of those that say so."),
    ("jetpack_app_start_time_seconds", Growth::Gauge, "When its main process was started, since 1970."),
    ("jetpack_app_exit_code", Growth::Gauge, "How its main process ended, as a shell shows it."),
    ("jetpack_app_killed_for_memory", Growth::Gauge, "Whether the kernel ended it for lack of memory."),
    ("jetpack_app_restarts", Growth::Counter, "How often it was started again."),
    ("jetpack_app_cpu_seconds", Growth::Counter, "Processor time."),
    ("jetpack_app_memory_bytes", Growth::Gauge, "Resident memory."),
    ("jetpack_app_swap_bytes", Growth::Gauge, "Memory that is swapped out."),
    ("jetpack_app_processes", Growth::Gauge, "Processes."),
    ("jetpack_app_threads", Growth::Gauge, "Threads."),
    ("jetpack_app_read_bytes", Growth::Counter, "Bytes read from devices."),
    ("jetpack_app_written_bytes", Growth::Counter, "Bytes written to devices."),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Growth {
    Gauge,
    Counter,
}

/// Samples by the name of their family, each its labels and its value as they are written.
#[derive(Default)]
struct Samples(BTreeMap<&'static str, Vec<(String, String)>>);

impl Samples {
    fn add(&mut self, family: &'static str, labels: &[(&str, &str)], value: impl ToString) {
        debug_assert!(FAMILIES.iter().any(|(name, ..)| *name == family), "{family}");
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        self.0.entry(family).or_default().push((labels.join(","), value.to_string()));
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (family, growth, about) in FAMILIES {
            let Some(samples) = self.0.get(family) else { continue };
            let (kind, suffix) = match growth {
                Growth::Gauge => ("gauge", ""),
                Growth::Counter => ("counter", "_total"),
            };
            // Readers of the older format know a counter by its whole name, those of this one by the part before.
            let _ = writeln!(text, "# HELP {family} {about}\n# TYPE {family} {kind}");
            for (labels, value) in samples {
                let _ = match labels.as_str() {
                    "" => writeln!(text, "{family}{suffix} {value}"),
                    labels => writeln!(text, "{family}{suffix}{{{labels}}} {value}"),
                };
            }
        }
        text + "# EOF\n"
    }
}

/// A label's value as it stands between quotation marks.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(holds: bool) -> u8 {
    u8::from(holds)
}

/// A time as seconds since 1970.
fn seconds(time: &str) -> Option<String> {
    let time: Timestamp = time.parse().ok()?;
    Some(format!("{:.3}", time.as_duration().as_secs_f64()))
}

fn collect(context: &Context) -> Result<String, CommandError> {
    let mut samples = Samples::default();
    samples.add("jetpack_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let pods = context.pods()?.list()?;
    let states = pods.iter().map(PodDir::state).collect::<Vec<_>>();
    for state in State::ALL {
        let how_many = states.iter().filter(|one| **one == state).count();
        samples.add("jetpack_pods", &[("state", &state.to_string())], how_many);
    }
    let mut usages = Usages::look(context)?;
    for (pod, state) in pods.iter().zip(states) {
        let (uuid, name) = (pod.uuid().to_string(), pod.given_name().unwrap_or_default());
        let own = [("pod", uuid.as_str()), ("name", name.as_str())];
        for one in State::ALL {
            let word = one.to_string();
            samples.add("jetpack_pod_state", &[own[0], own[1], ("state", &word)], number(one == state));
        }
        samples.add("jetpack_pod_paused", &own, number(pod.is_paused()));
        samples.add("jetpack_pod_lost", &own, number(pod.is_lost()));
        let read = pod.read_status();
        samples.add("jetpack_pod_damaged", &own, number(read.is_err()));
        let Ok(Some(status)) = read else { continue };
        of_pod(&mut samples, &own, &status);
        for app in &status.apps {
            of_app(&mut samples, &[own[0], own[1], ("app", &app.name)], app, state);
        }
        if state == State::Running {
            usages.add(&mut samples, pod, &own)?;
        }
    }
    Ok(samples.text())
}

fn of_pod(samples: &mut Samples, own: &[(&str, &str)], status: &Status) {
    let times = [("jetpack_pod_start_time_seconds", &status.started), ("jetpack_pod_end_time_seconds", &status.ended)];
    for (family, time) in times {
        if let Some(time) = time.as_deref().and_then(seconds) {
            samples.add(family, own, time);
        }
    }
    if let Some(code) = status.exit_code {
        samples.add("jetpack_pod_exit_code", own, code);
    }
    samples.add("jetpack_pod_supervisor_troubles", own, status.troubles.count);
}

fn of_app(samples: &mut Samples, own: &[(&str, &str)], app: &AppStatus, state: State) {
    samples.add("jetpack_app_up", own, number(state == State::Running && app.pid.is_some()));
    samples.add("jetpack_app_restarts", own, app.restarts);
    samples.add("jetpack_app_killed_for_memory", own, number(app.cause == Some(Cause::Oom)));
    if app.ready.is_some() {
        samples.add("jetpack_app_ready", own, 1);
    }
    if let Some(time) = app.started.as_deref().and_then(seconds) {
        samples.add("jetpack_app_start_time_seconds", own, time);
    }
    if let Some(end) = app.main {
        samples.add("jetpack_app_exit_code", own, end.code());
    }
}

/// What running pods use, by whom that is known.
enum Usages<'a> {
    #[cfg(target_os = "linux")]
    Linux(appc::executor::linux::usage::Processes),
    Accounted(&'a Context, bool),
}

impl<'a> Usages<'a> {
    fn look(context: &'a Context) -> Result<Self, CommandError> {
        #[cfg(target_os = "linux")]
        if context.model.is_none() {
            let found = appc::executor::linux::usage::Processes::look()
                .map_err(|error| CommandError::failed(format!("list /proc: {error}")))?;
            return Ok(Self::Linux(found));
        }
        Ok(Self::Accounted(context, true))
    }

    fn add(&mut self, samples: &mut Samples, pod: &PodDir, own: &[(&str, &str); 2]) -> Result<(), CommandError> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Linux(found) => linux(samples, &found.usage(pod), own),
            Self::Accounted(_, false) => {}
            Self::Accounted(context, holds) => match crate::ps::used(pod, context) {
                Ok(used) => accounted(samples, &used, own),
                // The rest is told all the same, and this is said once.
                Err(error) if pod.state() == State::Running => {
                    eprintln!("jetpack: {}", error.into_message());
                    *holds = false;
                }
                Err(_) => {}
            },
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn linux(samples: &mut Samples, used: &appc::executor::linux::usage::PodUsage, own: &[(&str, &str); 2]) {
    let families = |used: &appc::executor::linux::usage::Usage| {
        let plain = [
            ("cpu_seconds", format!("{:.2}", used.cpu.as_secs_f64())),
            ("memory_bytes", used.memory.to_string()),
            ("swap_bytes", used.swap.to_string()),
            ("processes", used.processes.to_string()),
            ("threads", used.threads.to_string()),
        ];
        let io =
            used.io.map(|(read, written)| [("read_bytes", read.to_string()), ("written_bytes", written.to_string())]);
        plain.into_iter().chain(io.into_iter().flatten()).collect::<Vec<_>>()
    };
    let family = |whose: &str, what: &str| {
        let known = FAMILIES.iter().map(|(name, ..)| *name);
        known
            .into_iter()
            .find(|name| name.strip_prefix("jetpack_").and_then(|name| name.strip_prefix(whose)) == Some(what))
    };
    // Nothing of a pod whose last process has ended meanwhile.
    if used.pod.processes == 0 {
        return;
    }
    for (what, value) in families(&used.pod) {
        if let Some(family) = family("pod_", what) {
            samples.add(family, own, value);
        }
    }
    for (app, used) in &used.apps {
        for (what, value) in families(used) {
            if let Some(family) = family("app_", what) {
                samples.add(family, &[own[0], own[1], ("app", app)], value);
            }
        }
    }
    for (name, value) in &used.group {
        let (family, resource) = match name.as_str() {
            "memorypeak" => ("jetpack_pod_memory_peak_bytes", None),
            "oomkills" => ("jetpack_pod_oom_kills", None),
            "cpustall" => ("jetpack_pod_stalled_seconds", Some("cpu")),
            "memorystall" => ("jetpack_pod_stalled_seconds", Some("memory")),
            "iostall" => ("jetpack_pod_stalled_seconds", Some("io")),
            _ => continue,
        };
        match resource {
            None => samples.add(family, own, value),
            Some(resource) => {
                let time = std::time::Duration::from_micros(*value).as_secs_f64();
                samples.add(family, &[own[0], own[1], ("resource", resource)], format!("{time:.6}"));
            }
        }
    }
}

/// What rctl(8) accounts for a jail.
fn accounted(samples: &mut Samples, used: &[(String, u64)], own: &[(&str, &str); 2]) {
    for (name, value) in used {
        let family = match name.as_str() {
            "cputime" => "jetpack_pod_cpu_seconds",
            "memoryuse" => "jetpack_pod_memory_bytes",
            "swapuse" => "jetpack_pod_swap_bytes",
            "maxproc" => "jetpack_pod_processes",
            "nthr" => "jetpack_pod_threads",
            _ => continue,
        };
        samples.add(family, own, value);
    }
}

/// One resource, asked for anew by each request.
mod serve {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::time::Duration;

    use http_body_util::Full;
    use hyper::body::{Bytes, Incoming};
    use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Method, Request, Response, StatusCode};
    use hyper_util::rt::TokioIo;
    use tokio::sync::Semaphore;

    use super::{CommandError, Context, Path, PrivateSocket, io};

    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// So many are listened to at once; others wait.
    const AT_ONCE: usize = 8;

    /// A request with its answer takes no longer.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// The most bytes of a request.
    const HEAD: usize = 16 << 10;

    pub fn run(path: &Path, context: &Context) -> Result<(), CommandError> {
        let failed = |error: io::Error| {
            let why = match error.kind() {
                io::ErrorKind::AddrInUse => "another program does".to_owned(),
                _ => error.to_string(),
            };
            CommandError::failed(format!("listen on {}: {why}", path.display()))
        };
        let socket = PrivateSocket::open(path).map_err(failed)?;
        socket.listener.set_nonblocking(true).map_err(failed)?;
        appc::sys::unfinished::note(path);
        println!("listening on {}", path.display());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(failed)?;
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let listener = tokio::net::UnixListener::from_std(socket.listener).map_err(failed)?;
            loop {
                // The semaphore is never closed.
                let turn = Arc::clone(&turns).acquire_owned().await.ok();
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let context = context.clone();
                        tokio::task::spawn_local(async move {
                            let service = service_fn(|request| {
                                let answer = respond(&request, &context);
                                async { Ok::<_, Infallible>(answer) }
                            });
                            let mut http = http1::Builder::new();
                            http.max_buf_size(HEAD).keep_alive(false).header_read_timeout(None);
                            // What ends a connection early is the client's affair.
                            let talk = http.serve_connection(TokioIo::new(stream), service);
                            let _ = tokio::time::timeout(PATIENCE, talk).await;
                            drop(turn);
                        });
                    }
                    // Out of descriptors, or a client that was gone again: neither is mended by asking at once.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        })
    }

    fn respond(request: &Request<Incoming>, context: &Context) -> Response<Full<Bytes>> {
        let answer = |status, kind, text: String| {
            let mut response = Response::new(Full::new(Bytes::from(text)));
            *response.status_mut() = status;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        };
        let plain = "text/plain; charset=utf-8";
        if request.uri().path() != "/metrics" {
            return answer(StatusCode::NOT_FOUND, plain, "there is /metrics alone\n".to_owned());
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, plain, "it is only read\n".to_owned());
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match super::collect(context) {
            Ok(text) => answer(StatusCode::OK, TYPE, text),
            Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, plain, format!("{}\n", error.into_message())),
        }
    }
}
