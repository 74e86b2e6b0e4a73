//! What many samples say: the median, which a disturbance does not move, and the least, which is nearest to the truth.

use serde::Serialize;

use crate::meter::Sample;

/// Median and least of one quantity.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
}

impl Summary {
    fn of(values: impl Iterator<Item = f64>) -> Self {
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
    samples: Vec<Sample>,
}

impl Runs {
    pub(crate) fn of(samples: Vec<Sample>) -> Self {
        Self {
            wall: Summary::of(samples.iter().map(|sample| sample.wall_s)),
            cpu: Summary::of(samples.iter().map(|sample| sample.cpu_s)),
            peak_mib: samples.iter().map(|sample| sample.peak_mib).fold(0.0, f64::max),
            samples,
        }
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
