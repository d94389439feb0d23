//! Sealing and opening, each beside what it is made of: the compressor alone and the cipher alone.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

#[path = "workload/mod.rs"]
mod workload;

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce, Tag};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sdk_state::encrypt::{EnvKey, Keyring, MasterKey};
use sdk_state::envelope::{self, DEFAULT_LIMIT, Origin, Subject};
use sdk_state::{Provenance, Revision, Snapshot as _, StackId, State};
use std::hint::black_box;
use time::OffsetDateTime;

/// The level that the envelope uses.
const LEVEL: i32 = 1;

struct Place {
    ring: Keyring,
    id: StackId,
    revision: Revision,
    provenance: Provenance,
}

impl Place {
    fn new() -> Self {
        Self {
            ring: EnvKey::new("STATE_KEY", MasterKey::generate().unwrap()).into(),
            id: StackId::new(workload::FACTORY, workload::STACK).unwrap(),
            revision: "2026-01-01T00:00:00Z".parse().unwrap(),
            provenance: Provenance::new(),
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            payload: State::PAYLOAD,
            id: &self.id,
            revision: &self.revision,
        }
    }

    fn seal(&self, plaintext: &[u8]) -> Vec<u8> {
        let origin = Origin::new(&self.provenance, OffsetDateTime::UNIX_EPOCH);
        envelope::seal(&self.ring, self.subject(), &origin, plaintext).unwrap()
    }

    fn open(&self, sealed: Vec<u8>) -> Vec<u8> {
        envelope::open(&self.ring, self.subject(), sealed, DEFAULT_LIMIT).unwrap()
    }
}

fn encoded(entries: usize) -> Vec<u8> {
    let state = State::decode(workload::document(entries).as_bytes()).unwrap();
    state.encode().unwrap()
}

fn cipher() -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&[7; 32].into())
}

fn encrypt(buffer: &mut [u8]) -> Tag {
    cipher()
        .encrypt_inout_detached(&Nonce::default(), b"", buffer.into())
        .unwrap()
}

fn seal(criterion: &mut Criterion) {
    let place = Place::new();
    let mut group = criterion.benchmark_group("seal");
    for entries in [10, 1_000, 10_000] {
        let plaintext = encoded(entries);
        let compressed = zstd::bulk::compress(&plaintext, LEVEL).unwrap();
        group.throughput(Throughput::Bytes(plaintext.len() as u64));
        group.bench_function(BenchmarkId::new("seal", entries), |bencher| {
            bencher.iter(|| place.seal(black_box(&plaintext)));
        });
        group.bench_function(BenchmarkId::new("zstd", entries), |bencher| {
            bencher.iter(|| zstd::bulk::compress(black_box(&plaintext), LEVEL).unwrap());
        });
        group.bench_function(BenchmarkId::new("cipher", entries), |bencher| {
            let mut buffer = compressed.clone();
            bencher.iter(|| encrypt(black_box(&mut buffer)));
        });
    }
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let place = Place::new();
    let mut group = criterion.benchmark_group("open");
    for entries in [10, 1_000, 10_000] {
        let plaintext = encoded(entries);
        let compressed = zstd::bulk::compress(&plaintext, LEVEL).unwrap();
        let sealed = place.seal(&plaintext);
        group.throughput(Throughput::Bytes(plaintext.len() as u64));
        group.bench_function(BenchmarkId::new("open", entries), |bencher| {
            bencher.iter_batched(
                || sealed.clone(),
                |sealed| place.open(sealed),
                BatchSize::LargeInput,
            );
        });
        group.bench_function(BenchmarkId::new("zstd", entries), |bencher| {
            bencher.iter(|| zstd::bulk::decompress(black_box(&compressed), plaintext.len()).unwrap());
        });
        group.bench_function(BenchmarkId::new("cipher", entries), |bencher| {
            let mut encrypted = compressed.clone();
            let tag = encrypt(&mut encrypted);
            bencher.iter_batched_ref(
                || encrypted.clone(),
                |buffer| {
                    cipher()
                        .decrypt_inout_detached(&Nonce::default(), b"", buffer.as_mut_slice().into(), &tag)
                        .unwrap();
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, seal, open);
criterion_main!(benches);
