//! `tollbell completions` and `tollbell man`.

use std::fs;
use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use clap_complete::Shell;
use clap_mangen::Man;

/// The options of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the completions of a command.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn execute(&self, mut command: clap::Command) -> Result<()> {
        let mut script = Vec::new();
        let name = command.get_name().to_owned();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        Ok(stdout().write_all(&script)?)
    }
}

/// The options of `man`.
#[derive(Debug, Args)]
pub struct ManPages {
    /// Write a page for each command into this folder, instead of the main page to standard output
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl ManPages {
    /// Prints or writes the pages of a command.
    ///
    /// # Errors
    /// A page cannot be written.
    pub fn execute(&self, mut command: clap::Command) -> Result<()> {
        command.build();
        let Some(folder) = &self.out else { return Ok(stdout().write_all(&page(command)?)?) };
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        write_all(folder, command)
    }
}

fn page(command: clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}

/// Writes the page of a command and of each command below it. Its name is that of `build`, such as `tollbell-key-new`.
fn write_all(folder: &Path, command: clap::Command) -> Result<()> {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        write_all(folder, below.clone())?;
    }
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page(command)?).with_context(|| format!("cannot write {}", path.display()))
}
