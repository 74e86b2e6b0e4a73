//! What many samples say: the median, which a disturbance does not move, and the least, which is nearest to the truth.

use serde::Serialize;

use crate::meter::Sample;
use crate::report::Quantity;

/// Median and least of one quantity.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
}

impl Summary {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Self { median, min: values.first().copied().unwrap_or(f64::NAN) }
    }
}

/// A program's runs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Runs {
    /// Seconds.
    pub(crate) wall: Summary,
    /// Seconds.
    pub(crate) cpu: Summary,
    /// The largest of all runs, in MiB.
    pub(crate) peak_mib: f64,
    /// Minor page faults.
    pub(crate) faults: Summary,
    samples: Vec<Sample>,
}

impl Runs {
    pub(crate) fn of(samples: Vec<Sample>) -> Self {
        Self {
            wall: Summary::of(samples.iter().map(|sample| sample.wall_s)),
            cpu: Summary::of(samples.iter().map(|sample| sample.cpu_s)),
            peak_mib: samples.iter().map(|sample| sample.peak_mib).fold(0.0, f64::max),
            faults: Summary::of(samples.iter().map(|sample| sample.minor_faults)),
            samples,
        }
    }

    /// Whether each failed with this word among its own.
    pub(crate) fn all_said(&self, word: &str) -> bool {
        self.samples.iter().all(|sample| sample.said.contains(word))
    }

    /// How many times as long as something else it took.
    pub(crate) fn ratio(&self, base: &Self) -> Quantity {
        Quantity::Ratio(self.wall.median / base.wall.median)
    }

    /// The times of both, for people.
    pub(crate) fn beside(&self, base: &Self) -> String {
        let ms = |seconds: f64| seconds * 1000.0;
        let (median, least) = ((ms(self.wall.median), ms(base.wall.median)), (ms(self.wall.min), ms(base.wall.min)));
        format!("{:.1} / {:.1} ms (least {:.1} / {:.1} ms)", median.0, median.1, least.0, least.1)
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn median_and_least() {
        for (values, median, min) in
            [(vec![3.0, 1.0, 2.0], 2.0, 1.0), (vec![4.0, 1.0], 2.5, 1.0), (vec![7.0], 7.0, 7.0)]
        {
            let summary = Summary::of(values.into_iter());
            assert_eq!((summary.median.to_bits(), summary.min.to_bits()), (f64::to_bits(median), f64::to_bits(min)));
        }
        assert!(Summary::of(std::iter::empty()).median.is_nan());
    }
}
