//! `tollbell import-tyk`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use import_tyk::{Files, import};

/// The exit status of an import that left something out.
const LEFT_OUT: u8 = 3;

/// The options of `import-tyk`.
#[derive(Debug, Args)]
pub struct ImportTyk {
    /// tyk.conf
    #[arg(long, value_name = "FILE")]
    conf: PathBuf,
    /// The folder with the API definitions, classic and OAS
    #[arg(long, value_name = "DIR")]
    apps: PathBuf,
    /// The policies, an object by id or a list
    #[arg(long, value_name = "FILE")]
    policies: Option<PathBuf>,
    /// The key export, an object of sessions by key
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// The folder with the templates that handlers name [default: the folder of tyk.conf, and its template_path]
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
    /// The Envoy configuration to write; - for standard output
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Leave out everything that has an error, and import the rest
    ///
    /// API definitions are left out as whole files, and their paths answer 404 if they are known. Policies and keys are
    /// left out one by one. The report begins with them, and the exit status is 3.
    #[arg(long)]
    keep_going: bool,
    /// List every setting separately
    #[arg(short, long)]
    verbose: bool,
}

impl ImportTyk {
    /// Writes the configuration, and the report to standard error.
    ///
    /// # Errors
    /// The files have an error, or the configuration cannot be written.
    pub fn execute(self) -> Result<ExitCode> {
        let ImportTyk { conf, apps, policies, keys, templates, out, keep_going, verbose } = self;
        let files = Files { conf, apps, policies, keys, templates, keep_going };
        let imported = match import(&files, verbose) {
            Ok(imported) => imported,
            Err(failed) => {
                failed.errors.iter().for_each(|error| eprintln!("error: {error}"));
                if failed.can_keep_going {
                    bail!(
                        "nothing was written; with --keep-going, the files, policies and keys that have an error are \
                         left out, and the rest is imported"
                    );
                }
                bail!("nothing was written; see above");
            }
        };
        eprint!("{}", imported.report);
        if out == Path::new("-") {
            print!("{}", imported.yaml);
        } else {
            fs::write(&out, &imported.yaml).with_context(|| format!("cannot write {}", out.display()))?;
            eprintln!("\n{} was written; check it with: tollbell check --config {0}", out.display());
        }
        Ok(match imported.left_out.len() {
            0 => ExitCode::SUCCESS,
            1 => {
                eprintln!("1 item was left out because of an error; the report lists it first");
                LEFT_OUT.into()
            }
            count => {
                eprintln!("{count} items were left out because of errors; the report lists them first");
                LEFT_OUT.into()
            }
        })
    }
}
