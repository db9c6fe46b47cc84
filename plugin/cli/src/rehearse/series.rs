//! The use of a quota over time, in bounded memory.

/// The most points of a series. Beyond, two neighbours become one.
const MAX_POINTS: usize = 288;

/// The highest use of a quota in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// The number of the stretch since the start of the log.
    at: u32,
    /// Requests that the quota refused in it.
    pub(crate) refused: u32,
    /// The highest count.
    pub(crate) count: u64,
    /// The start of the window with this count, in Unix milliseconds.
    pub(crate) window: u64,
}

/// The use of a quota over time.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// The start of the log in Unix milliseconds.
    origin: u64,
    /// The length of a stretch in milliseconds.
    step: u64,
    points: Vec<Point>,
}

impl Series {
    pub(crate) fn new(origin: u64) -> Self {
        Series { origin, step: 1000, points: Vec::new() }
    }

    /// Adds a count at a time, in Unix milliseconds.
    pub(crate) fn add(&mut self, time: u64, count: u64, window: u64) {
        let point = self.point(time);
        if count >= point.count {
            (point.count, point.window) = (count, window);
        }
    }

    /// Adds a refused request.
    pub(crate) fn add_refused(&mut self, time: u64) {
        let point = self.point(time);
        point.refused = point.refused.saturating_add(1);
    }

    fn point(&mut self, time: u64) -> &mut Point {
        let mut at = self.stretch(time);
        if self.points.last().is_none_or(|last| last.at < at) {
            while self.points.len() >= MAX_POINTS {
                self.halve();
                at = self.stretch(time);
            }
        }
        if self.points.last().is_none_or(|last| last.at < at) {
            self.points.push(Point { at, refused: 0, count: 0, window: 0 });
        }
        let last = self.points.len() - 1;
        &mut self.points[last]
    }

    fn stretch(&self, time: u64) -> u32 {
        u32::try_from(time.saturating_sub(self.origin) / self.step).unwrap_or(u32::MAX)
    }

    /// Doubles the stretches.
    fn halve(&mut self) {
        self.step *= 2;
        self.points.iter_mut().for_each(|point| point.at /= 2);
        self.points.dedup_by(|later, earlier| {
            let is_same = later.at == earlier.at;
            if is_same {
                earlier.refused = earlier.refused.saturating_add(later.refused);
                if later.count >= earlier.count {
                    (earlier.count, earlier.window) = (later.count, later.window);
                }
            }
            is_same
        });
    }

    /// The length of a stretch in milliseconds.
    pub(crate) fn step(&self) -> u64 {
        self.step
    }

    /// The points with the starts of their stretches in Unix milliseconds.
    pub(crate) fn points(&self) -> impl Iterator<Item = (u64, &Point)> {
        self.points.iter().map(|point| (self.origin + u64::from(point.at) * self.step, point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_keeps_its_highest_points() {
        let mut series = Series::new(0);
        for second in 0..100_000u64 {
            let count = if second == 77_777 { 1000 } else { second % 100 };
            series.add(second * 1000, count, second);
            if second % 1000 == 0 {
                series.add_refused(second * 1000);
            }
        }
        assert!(series.points.len() <= MAX_POINTS, "{}", series.points.len());
        assert!(series.points().map(|(_, point)| point.refused).sum::<u32>() == 100);
        let (start, highest) = series.points().max_by_key(|(_, point)| point.count).unwrap_or((0, &series.points[0]));
        assert_eq!((highest.count, highest.window), (1000, 77_777));
        assert!(start <= 77_777_000 && 77_777_000 < start + series.step());
    }
}
