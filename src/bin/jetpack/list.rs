//! `jetpack list`: which pods there are.

use std::net::IpAddr;
use std::process::ExitCode;

use appc::executor::local;
use appc::pod::{Part, PodDir, State};
use appc::schema::PodManifest;
use jiff::Timestamp;
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;

/// List pods.
#[derive(clap::Args)]
pub struct Args {
    /// Those alone of which that holds: uuid=BEGINNING, name=TEXT, state=STATE, app=NAME, image=TEXT or exit=CODE, where TEXT may be a part; of
    /// a key that is given twice, either
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = Filter::parse)]
    filter: Vec<Filter>,
    /// Print a line like this for each: {uuid}, {name}, {state}, {exit}, {age}, {started}, {addresses}, {images} and {apps} stand for what it has; \t is a tab
    #[arg(long, value_name = "TEXT", value_parser = template, conflicts_with = "json")]
    format: Option<Template>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Leave the head line out
    #[arg(long)]
    no_legend: bool,
}

#[derive(Serialize)]
struct Line {
    uuid: String,
    name: Option<String>,
    state: State,
    paused: bool,
    apps: Vec<String>,
    /// Names of the apps' images, with their versions.
    images: Vec<String>,
    started: Option<String>,
    /// Those that it has in its networks.
    addresses: Vec<IpAddr>,
    exit_code: Option<i32>,
    /// Whether its supervisor was gone before it could write down how the pod ended.
    lost: bool,
    /// What of its files does not read.
    damage: Option<String>,
}

impl Line {
    fn of(pod: &PodDir) -> Self {
        let status = pod.status_or_plan();
        let manifest: Option<PodManifest> = pod.read_json(Part::Manifest).ok();
        Self {
            uuid: pod.uuid().to_string(),
            name: pod.given_name(),
            state: pod.state(),
            paused: pod.is_paused(),
            apps: status.apps.iter().map(|app| app.name.clone()).collect(),
            images: manifest.as_ref().map(images).unwrap_or_default(),
            started: status.started,
            addresses: local::addresses(pod),
            exit_code: status.exit_code,
            lost: pod.is_lost(),
            damage: pod.read_status().err().map(|error| appc::error::chain(&error)),
        }
    }

    fn field(&self, field: Field) -> String {
        match field {
            Field::Uuid => self.uuid.clone(),
            Field::Name => self.name.clone().unwrap_or_default(),
            Field::State if self.paused => PAUSED.to_owned(),
            Field::State => self.state.to_string(),
            Field::Exit => match self.exit_code {
                Some(code) => code.to_string(),
                None if self.damage.is_some() => "damaged".to_owned(),
                None if self.lost => "lost".to_owned(),
                None => String::new(),
            },
            Field::Age => self.started.as_deref().map(age).unwrap_or_default(),
            Field::Started => self.started.clone().unwrap_or_default(),
            Field::Addresses => self.addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(","),
            Field::Images => self.images.join(","),
            Field::Apps => self.apps.join(","),
        }
    }
}

/// What a pod that runs is shown as while its processes are held.
const PAUSED: &str = "paused";

/// Of several apps of one image it is named once.
fn images(manifest: &PodManifest) -> Vec<String> {
    let mut images = Vec::new();
    for app in &manifest.apps {
        let labels = || app.image.labels.as_ref()?.iter().find(|label| label.name.as_str() == "version");
        let image = match (&app.image.name, labels(), &app.image.id) {
            (Some(name), Some(version), _) => format!("{}:{}", name.as_str(), version.value),
            (Some(name), None, _) => name.to_string(),
            (None, _, Some(id)) => id.chars().take(19).collect(),
            (None, _, None) => continue,
        };
        if !images.contains(&image) {
            images.push(image);
        }
    }
    images
}

/// How long ago that was, in the largest unit that has two of it.
fn age(time: &str) -> String {
    let Ok(time) = time.parse::<Timestamp>() else { return String::new() };
    let seconds = Timestamp::now().duration_since(time).as_secs().max(0);
    let units = [(86400, "d"), (3600, "h"), (60, "m")];
    let (length, unit) = units.into_iter().find(|(length, _)| seconds >= 2 * length).unwrap_or((1, "s"));
    format!("{}{unit}", seconds / length)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Uuid,
    Name,
    State,
    Exit,
    Age,
    Started,
    Addresses,
    Images,
    Apps,
}

const FIELDS: [(&str, Field); 9] = [
    ("uuid", Field::Uuid),
    ("name", Field::Name),
    ("state", Field::State),
    ("exit", Field::Exit),
    ("age", Field::Age),
    ("started", Field::Started),
    ("addresses", Field::Addresses),
    ("images", Field::Images),
    ("apps", Field::Apps),
];

/// A part of a line.
#[derive(Clone)]
enum Piece {
    Text(String),
    Field(Field),
}

/// A line.
#[derive(Clone)]
struct Template(Vec<Piece>);

fn template(text: &str) -> Result<Template, String> {
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    let mut pieces = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}').ok_or("a `{` has no `}`")?;
        let known = FIELDS.iter().find(|(known, _)| *known == name);
        let names = || FIELDS.map(|(name, _)| name).join(", ");
        let (_, field) = known.ok_or_else(|| format!("`{name}` is none of {}", names()))?;
        pieces.extend([Piece::Text(before.to_owned()), Piece::Field(*field)]);
        rest = behind;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(Template(pieces))
}

/// What a pod has to be to be listed.
#[derive(Clone)]
struct Filter {
    field: Field,
    value: String,
}

impl Filter {
    fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("it is not KEY=VALUE")?;
        let field = match key {
            "uuid" => Field::Uuid,
            "name" => Field::Name,
            "state" => Field::State,
            "app" => Field::Apps,
            "image" => Field::Images,
            "exit" => Field::Exit,
            _ => return Err(format!("`{key}` is none of uuid, name, state, app, image, exit")),
        };
        let states = ["embryo", "preparing", "prepared", "running", PAUSED, "exited", "removing"];
        if field == Field::State && !states.contains(&value) {
            return Err(format!("`{value}` is none of {}", states.join(", ")));
        }
        Ok(Self { field, value: value.to_owned() })
    }

    fn holds(&self, line: &Line) -> bool {
        match self.field {
            Field::Uuid => line.uuid.starts_with(&self.value.to_ascii_lowercase()),
            Field::Name => line.field(Field::Name).contains(&self.value),
            Field::Apps => line.apps.contains(&self.value),
            Field::Images => line.images.iter().any(|image| image.contains(&self.value)),
            // What is paused runs all the same.
            Field::State => line.field(Field::State) == self.value || line.state.to_string() == self.value,
            field => line.field(field) == self.value,
        }
    }
}

/// Of filters of one field one has to hold.
fn is_wanted(line: &Line, filters: &[Filter]) -> bool {
    filters.iter().all(|filter| filters.iter().any(|other| other.field == filter.field && other.holds(line)))
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let pods = context.pods()?.list()?;
    let mut lines: Vec<Line> = pods.iter().map(Line::of).filter(|line| is_wanted(line, &args.filter)).collect();
    lines.sort_by(|a, b| a.started.cmp(&b.started).then_with(|| a.uuid.cmp(&b.uuid)));
    if args.json {
        crate::output::json(lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    if context.quiet && args.format.is_none() {
        lines.iter().for_each(|line| println!("{}", line.uuid));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(Template(pieces)) = &args.format {
        for line in &lines {
            let text = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Field(field) => appc::diagnostic::visible::line(&line.field(*field)).into_owned(),
            });
            print!("{}\n", text.collect::<String>());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let columns =
        [Field::Uuid, Field::Name, Field::State, Field::Exit, Field::Age, Field::Addresses, Field::Images, Field::Apps];
    let heads = ["UUID", "NAME", "STATE", "EXIT", "AGE", "ADDRESSES", "IMAGES", "APPS"].map(str::to_owned);
    let rows: Vec<[String; 8]> = lines.iter().map(|line| columns.map(|column| line.field(column))).collect();
    let head = (!args.no_legend && !rows.is_empty()).then_some(&heads);
    let rows: Vec<&[String; 8]> = head.into_iter().chain(&rows).collect();
    let widths: [usize; 8] = std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
