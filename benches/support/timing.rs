//! Cases, timed by criterion.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};

use super::case::Case;

/// Hundreds of cases, each in two seconds: options on the command line take longer.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500))
}

/// The time that is shown is a round's; what comes behind `thrpt` is messages and bytes.
pub(crate) fn measure(criterion: &mut Criterion, cases: impl IntoIterator<Item = Case>) {
    for case in cases {
        let mut group = criterion.benchmark_group(&case.group);
        let (elements, bytes) = (case.messages as u64, case.bytes as u64);
        group.throughput(match bytes {
            0 => Throughput::Elements(elements),
            _ => Throughput::ElementsAndBytes { elements, bytes },
        });
        // Set up for the first sample, and not at all if the command line leaves the case out.
        let mut round = None;
        group.bench_function(BenchmarkId::from_parameter(&case.parameter), |bencher| {
            bencher.iter(round.get_or_insert_with(&case.setup));
        });
    }
}
