//! Encoding and decoding the built-in document, each beside its floor.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

#[path = "workload/mod.rs"]
mod workload;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sdk_state::{Snapshot as _, State};
use serde::de::IgnoredAny;
use std::hint::black_box;

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for entries in [10, 1_000, 10_000] {
        let state = State::decode(workload::document(entries).as_bytes()).unwrap();
        let bytes = state.encode().unwrap();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("encode", entries), |bencher| {
            bencher.iter(|| black_box(&state).encode().unwrap());
        });
        group.bench_function(BenchmarkId::new("memcpy", entries), |bencher| {
            bencher.iter(|| black_box(&bytes).clone());
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for entries in [10, 1_000, 10_000] {
        let state = State::decode(workload::document(entries).as_bytes()).unwrap();
        let bytes = state.encode().unwrap();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("decode", entries), |bencher| {
            bencher.iter(|| State::decode(black_box(&bytes)).unwrap());
        });
        group.bench_function(BenchmarkId::new("parse", entries), |bencher| {
            bencher.iter(|| serde_json::from_slice::<IgnoredAny>(black_box(&bytes)).unwrap());
        });
        group.bench_function(BenchmarkId::new("memcpy", entries), |bencher| {
            bencher.iter(|| black_box(&bytes).clone());
        });
    }
    group.finish();
}

criterion_group!(benches, encode, decode);
criterion_main!(benches);
