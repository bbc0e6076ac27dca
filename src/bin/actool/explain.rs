//! `actool explain`: what a clause demands, where the text says it, how it is read.

use std::process::ExitCode;

use appc::spec::{self, Clause};

use crate::error::CommandError;
use crate::output;

/// Explain a clause of the specification, or list them
#[derive(clap::Args)]
pub struct Args {
    /// List the clauses, of one area where it is given
    #[arg(long)]
    list: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The clause's id, as diagnostics name it; with `--list` an area
    #[arg(value_name = "CLAUSE", required_unless_present = "list")]
    name: Option<String>,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    match (args.list, args.name.as_deref()) {
        (true, None) => list(spec::clauses(), args.json)?,
        (true, Some(area)) => {
            if !spec::areas().any(|known| known == area) {
                let known: Vec<&str> = spec::areas().collect();
                return Err(CommandError::usage(format!("there is no area `{area}`"))
                    .hint(format!("the areas are {}", known.join(", "))));
            }
            list(spec::clauses().iter().filter(|clause| clause.area == area), args.json)?;
        }
        (false, name) => {
            let id = name.unwrap_or_default();
            let Some(clause) = spec::clause(id) else {
                let near = appc::schema::nearest(id, spec::clauses().iter().map(|clause| clause.id.as_str()));
                let hint = near.map_or_else(
                    || "list them: actool explain --list".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                return Err(CommandError::usage(format!("there is no clause `{id}`")).hint(hint));
            };
            if args.json {
                output::json(document(clause))?;
            } else {
                print!("{}", text(clause));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(clauses: impl IntoIterator<Item = &'static Clause>, json: bool) -> std::io::Result<()> {
    if json {
        return output::json(clauses.into_iter().map(document).collect::<Vec<_>>());
    }
    let mut out = String::new();
    for clause in clauses {
        out.push_str(&format!("{:<40} {:<11} {}\n", clause.id, clause.strength, clause.statement));
    }
    print!("{out}");
    Ok(())
}

fn document(clause: &Clause) -> serde_json::Value {
    serde_json::json!({
        "id": clause.id,
        "area": clause.area,
        "strength": clause.strength,
        "statement": clause.statement,
        "source": { "document": clause.source.document, "section": clause.source.section },
        "check": clause.check,
        "platforms": clause.platforms,
        "since": clause.since,
        "go": clause.go,
        "decisions": clause.decisions.iter().filter_map(|number| spec::decision(*number)).map(|decision| {
            serde_json::json!({ "number": decision.number, "text": decision.text })
        }).collect::<Vec<_>>(),
    })
}

fn text(clause: &Clause) -> String {
    let strength = match clause.strength.strip_suffix('~') {
        Some(word) => format!("{word} (the text demands it without the word)"),
        None if clause.strength == "REF" => "REF (only the reference code has it)".to_owned(),
        None if clause.strength == "OURS" => "OURS (a rule of this project, no clause of the text)".to_owned(),
        None => clause.strength.clone(),
    };
    let mut out = format!(
        "{}\n\n  {}\n\n  strength   {strength}\n  source     {}: {}\n  checked    {}\n  platforms  {}\n  since      {}\n",
        clause.id,
        clause.statement,
        clause.source.document,
        clause.source.section,
        clause.check,
        clause.platforms.join(", "),
        clause.since,
    );
    if let Some(go) = &clause.go {
        out.push_str(&format!("  Go tools   {go}\n"));
    }
    for decision in clause.decisions.iter().filter_map(|number| spec::decision(*number)) {
        out.push_str(&format!("\nDecision {}:\n", decision.number));
        for line in decision.text.lines() {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out
}
