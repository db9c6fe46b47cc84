//! `tollbell rehearse`: an access log through the real module, on the log's own clock.

mod change;
mod events;
mod log;
mod report;
mod series;
mod settings;
mod stage;
mod tally;

use std::io::{IsTerminal as _, Write as _, stdout};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use host_shim::command::ModuleOptions;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use change::Change;
use log::{DEFAULT_FORMAT, Entry, Fields, Format, Logs, Record, Slot};
use report::Report;
use settings::{Keys, Settings, is_fingerprint};
use stage::Stage;
use tally::Tally;

/// How many records are looked at to find out how the log names keys.
const LOOKED_AT: usize = 10_000;

/// The progress is shown after so many records.
const EVERY: u64 = 4096;

/// The options of `rehearse`.
#[derive(Debug, Args)]
pub struct Rehearse {
    /// The Envoy configuration, YAML or JSON
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// An access log, compressed by gzip or not; - for standard input. Several logs are merged by time
    #[arg(short, long = "log", value_name = "FILE", required = true, num_args = 1..)]
    logs: Vec<PathBuf>,
    /// Another configuration, to compare the results
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Change a setting of tollbell in --config for this rehearsal, such as orgs.acme.quota_max=5000
    ///
    /// A name with a dot is in double quotes. An entry of a list has its place, its api_id or its name. null removes a
    /// setting.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = Change::parse)]
    changes: Vec<Change>,
    /// The format of the log: json, default, or Envoy's format string [default: found out from the first line]
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The field of a JSON log that has a value: time, method, path, authority, client, status, flags, details, key, or
    /// header:NAME
    #[arg(long = "field", value_name = "VALUE=FIELD", value_parser = field)]
    fields: Vec<(String, String)>,
    /// The field, or the operator of a format string, that has the API key or its fingerprint
    #[arg(long, value_name = "FIELD")]
    key_field: Option<String>,
    /// The listener whose log it is [default: the first one with tollbell]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Write the results as an HTML page
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the results as JSON instead of as a table
    #[arg(long)]
    json: bool,
    /// The modules to load.
    #[command(flatten)]
    pub modules: ModuleOptions,
}

fn field(text: &str) -> Result<(String, String), String> {
    let (value, name) = text.split_once('=').ok_or("write a value, an equals sign and the log's field: time=ts")?;
    Ok((value.to_owned(), name.to_owned()))
}

impl Rehearse {
    /// Rehearses the log and prints the results. Returns whether the log could be read to its end.
    ///
    /// # Errors
    /// A configuration has an error, a log cannot be read, or the module fails.
    pub fn execute(&self) -> Result<bool> {
        let modules = self.modules.modules()?;
        let files = std::iter::once((&self.config, self.changes.as_slice()));
        let files: Vec<_> = files.chain(self.against.iter().map(|path| (path, &[][..]))).collect();
        // A fault of the configuration is reported before the log is opened.
        let load = |(path, changes): &(&PathBuf, &[Change])| Settings::load(path, self.listener.as_deref(), changes);
        let settings: Vec<Settings> = files.iter().map(load).collect::<Result<_>>()?;
        let headers: Vec<String> = settings
            .iter()
            .flat_map(|settings| &settings.owners)
            .flat_map(tollbell_core::owners::Owners::headers)
            .collect();
        let mut fields = Fields::new(&headers, &self.fields, self.key_field.as_deref())?;
        let entry = self.entry(&mut fields)?;
        let mut logs = Logs::open(&self.logs, fields, &entry)?;
        let first = look_at(&mut logs);
        let keys = keys_of(&first);
        let Some(start) = first.first().map(|record| record.time) else { return Err(nothing(&logs)) };
        let fields = Rc::new(logs.fields().clone());
        let mut stages = Vec::new();
        for ((path, _), settings) in files.iter().zip(settings) {
            let settings = settings.with_keys(path, keys)?;
            stages.push(Stage::start(settings, &modules, self.modules.memory(), keys, &fields, start)?);
        }
        let bar = bar(&logs)?;
        let mut count = 0;
        let mut first = first.into_iter();
        while let Some(record) = first.next().or_else(|| logs.next_record()) {
            for stage in &mut stages {
                stage.record(&record)?;
            }
            count += 1;
            if count % EVERY == 0 {
                show(&bar, &logs, count);
            }
        }
        bar.finish_and_clear();
        let mut results: Vec<(Tally, Vec<String>)> = Vec::new();
        for stage in stages {
            results.push(stage.finish()?);
        }
        self.write(&Report::new(&files, results, logs.troubles(), keys))?;
        Ok(logs.troubles().broken.is_empty())
    }

    fn entry(&self, fields: &mut Fields) -> Result<Entry> {
        let key = self.key_field.as_deref();
        let format = match self.format.as_deref() {
            None => return Ok(Entry::Any),
            Some("json") => return Ok(Entry::Json),
            Some("default") => DEFAULT_FORMAT,
            Some(format) => format,
        };
        Format::new(format, fields, key).map(Entry::Text).map_err(|fault| anyhow!("--format: {fault}"))
    }

    fn write(&self, report: &Report) -> Result<()> {
        if let Some(path) = &self.out {
            std::fs::write(path, report.page()).with_context(|| format!("cannot write {}", path.display()))?;
        }
        if self.json {
            writeln!(stdout(), "{}", serde_json::to_string_pretty(&report.json())?)?;
        } else {
            write!(anstream::stdout(), "{}", report.table())?;
        }
        Ok(())
    }
}

/// Takes the first records.
fn look_at(logs: &mut Logs) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < LOOKED_AT
        && let Some(record) = logs.next_record()
    {
        records.push(record);
    }
    records
}

/// How the first record with a key names it.
fn keys_of(records: &[Record]) -> Keys {
    match records.iter().find_map(|record| record.text(Slot::Key)) {
        None => Keys::Unnamed,
        Some(key) if is_fingerprint(key) => Keys::Fingerprints,
        Some(_) => Keys::Raw,
    }
}

/// The error of logs without a record.
fn nothing(logs: &Logs) -> anyhow::Error {
    let troubles = logs.troubles();
    let mut reasons: Vec<String> = troubles.broken.clone();
    reasons.extend(
        troubles
            .malformed
            .iter()
            .map(|(fault, (count, first))| format!("{fault}: {count} lines, the first is {first}")),
    );
    if reasons.is_empty() {
        return anyhow!("the log has no lines");
    }
    anyhow!("no line of the log can be used: {}", reasons.join("; "))
}

fn bar(logs: &Logs) -> Result<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return Ok(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
    }
    let bar = match logs.size() {
        Some(size) => {
            let style = "{bar:30} {percent} %  {msg}  {bytes}/{total_bytes}, {eta} left";
            ProgressBar::new(size).with_style(ProgressStyle::with_template(style)?)
        }
        None => ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}  {bytes}")?),
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
fn show(bar: &ProgressBar, logs: &Logs, count: u64) {
    bar.set_position(logs.progress().bytes());
    let rate = count as f64 / bar.elapsed().as_secs_f64().max(0.001);
    bar.set_message(format!("{count} lines, {} a second", rate as u64));
}
