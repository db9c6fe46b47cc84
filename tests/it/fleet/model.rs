//! The model of `lease.lua` against the script in a real Redis.

use anyhow::{Context, Result, ensure};
use tollbell_tests::lease_model::{self, Line};

use super::store::OneRedis;
use crate::schedules::Random;

const SEEDS: u64 = 40;
const CALLS: u64 = 400;

/// A line with random numbers, which may be those of no lessee.
fn line(random: &mut Random, key: usize, now: i64, known: &[i64]) -> Line {
    let mut below = |most: u64| i64::try_from(random.below(most)).unwrap_or_default();
    let max = [10, 40, 200][key % 3];
    let window = [2000, 60_000, 0][key % 3];
    let start = match below(8) {
        0 => 0,
        1 => now - below(3000),
        _ => known[usize::try_from(below(known.len() as u64)).unwrap_or_default()],
    };
    let used = below(20);
    let claim = used + below(20);
    let want = [0, 0, 1, 5, 8, 60][usize::try_from(below(6)).unwrap_or_default()];
    let alerts = match below(3) {
        0 => vec![],
        1 => vec![(max / 2, 50_000_000)],
        _ => vec![(max / 2, 50_000_000), (max * 4 / 5, 80_000_000), (max, 100_000_000)],
    };
    Line {
        key: format!("tollbell{{k/1}}:{key}"),
        numbers: [max, window, 1 + below(400), start, used, claim, want, below(8).min(want), below(2)],
        alerts,
        confirmed: below(400),
        forecast: [(0, 0), (60_000, max / 5), (500, max / 5), (60_000, 1)]
            [usize::try_from(below(4)).unwrap_or_default()],
    }
}

fn arguments(lessee: &str, lines: &[Line]) -> Vec<String> {
    let mut arguments = vec![lessee.to_owned()];
    for line in lines {
        arguments.extend(line.numbers.iter().map(ToString::to_string));
        let alerts = line.alerts.iter().map(|(at, percent)| format!("{at}:{percent}")).collect::<Vec<_>>();
        arguments.push(alerts.join(","));
        arguments.push(line.confirmed.to_string());
        let (within, from) = line.forecast;
        arguments.extend([within, from].map(|number| number.to_string()));
    }
    arguments
}

fn compare(seed: u64) -> Result<()> {
    let mut random = Random(seed);
    let store = OneRedis::start()?;
    let mut model = lease_model::Store::default();
    let mut now = 1_800_000_000_000_i64;
    let mut known = vec![0];
    let mut seq = 0;
    for call in 0..CALLS {
        now += i64::try_from(random.pick(&[0_u64, 1, 20, 400, 3000]))?;
        let lessee = random.pick(&["a", "b", "c"]);
        let keys: Vec<usize> = (0..4).filter(|_| random.below(3) == 0).collect();
        let mut lines: Vec<Line> = keys.iter().map(|key| line(&mut random, *key, now, &known)).collect();
        // Most calls are later than those before.
        seq += 1;
        for line in &mut lines {
            if random.below(8) > 0 {
                line.numbers[2] = seq;
            }
        }
        if lines.is_empty() {
            continue;
        }
        if random.below(200) == 0 {
            store.redis().run(&["FLUSHDB"])?;
            model.clear();
        }
        let keys: Vec<&str> = lines.iter().map(|line| line.key.as_str()).collect();
        let expected = store.lease(&keys, &arguments(lessee, &lines), u64::try_from(now)?)?;
        let got = model.call(lessee, &lines, now);
        ensure!(got == expected, "call {call} by {lessee} of {lines:?}:\n{got:?} instead of\n{expected:?}");
        known.extend(expected.get(2).copied());
        if known.len() > 6 {
            known.remove(0);
        }
    }
    let sizes = (0..4).filter_map(|key| model.size(&format!("tollbell{{k/1}}:{key}")));
    ensure!(sizes.map(|size| size.parts).sum::<usize>() > 0, "nothing was counted");
    Ok(())
}

#[test]
fn the_model_of_the_script_answers_as_redis() -> Result<()> {
    let _shared = crate::support::MACHINE.blocking_read();
    for seed in 0..SEEDS {
        compare(seed).with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}
