//! The command `replay`.

use std::io::{Write as _, stdout};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::ModuleOptions;
use crate::story::{self, ShimSubject, Story};

/// The options of `replay`.
#[derive(Clone, Debug, Args)]
pub struct Replay {
    /// Story files, or folders of them
    #[arg(required = true, value_name = "SCENARIO")]
    stories: Vec<PathBuf>,
    /// The modules to load.
    #[command(flatten)]
    pub modules: ModuleOptions,
}

impl Replay {
    /// Runs the stories and prints the result of each. Returns whether all passed.
    ///
    /// # Errors
    /// A story or a module cannot be read.
    pub fn execute(&self) -> Result<bool> {
        let modules = self.modules.modules()?;
        let stories = Story::read_all(&self.stories)?;
        let bar = ProgressBar::new(u64::try_from(stories.len()).unwrap_or_default());
        bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
        let mut failed = 0;
        for story in &stories {
            bar.set_message(story.name.clone());
            let outcome = ShimSubject::start_limited(story, &modules, self.modules.memory())
                .map_err(|error| format!("{error:#}"))
                .and_then(|mut subject| {
                    let mut at_step = |step: usize| {
                        bar.set_message(format!("{} (step {} of {})", story.name, step + 1, story.steps.len()));
                    };
                    story::run(story, &mut subject, &mut at_step).map_err(|failure| failure.to_string())
                });
            match outcome {
                Ok(()) => bar.suspend(|| writeln!(stdout(), "ok      {}", story.name))?,
                Err(message) => {
                    failed += 1;
                    bar.suspend(|| writeln!(stdout(), "FAILED  {}\n{}", story.name, indented(&message)))?;
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let noun = if stories.len() == 1 { "story" } else { "stories" };
        writeln!(stdout(), "{} {noun}, {failed} failed", stories.len())?;
        Ok(failed == 0)
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("        {line}\n")).collect()
}
