//! Records N resources, which W threads make, in one run: the program to measure, and to kill in the middle.
//!
//! It prints each address once its `put` has returned: what it printed is in the state, whatever happens next.
//!
//! `cargo run -p localstate --example apply -- --root R --key FILE --stack network/prod --resources 5000 --workers 10 --prefix web`

#![expect(clippy::print_stderr, reason = "an example shows what it does")]

use clap::Parser;
use sdk_state::encrypt::{KeyFile, Noop};
use sdk_state::{Binding, Category, Entry, EntryKind, Json, Run, StackId, Store};
use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

type Trouble = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
struct Options {
    /// The directory that holds the stacks
    #[arg(long)]
    root: PathBuf,
    /// A key file, of age or of 32 bytes; without one, nothing is encrypted
    #[arg(long)]
    key: Option<PathBuf>,
    /// FACTORY/STACK
    #[arg(long)]
    stack: StackId,
    /// How many resources to record
    #[arg(long, default_value_t = 1000)]
    resources: usize,
    /// How many threads record them
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// The beginning of each address
    #[arg(long, default_value = "web")]
    prefix: String,
}

fn main() -> Result<(), Trouble> {
    let options = Options::parse();
    let (factory, stack) = (options.stack.factory(), options.stack.stack());
    let store: Store = match &options.key {
        Some(key) => localstate::open(&options.root, factory, stack, KeyFile::open_any(key)?)?,
        None => localstate::open(&options.root, factory, stack, Noop)?,
    };
    let run = store.begin("apply", Duration::from_secs(60))?;
    if let Some(dead) = run.took_over() {
        eprintln!("{dead} died; {} of its changes were committed", run.recovered());
    }
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work = || record(&run, &options, &next);
        let workers: Vec<_> = (0..options.workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })?;
    run.finish(format!("{} resources", options.resources))?;
    Ok(())
}

/// Records one resource after the other, as long as there are any.
fn record(run: &Run, options: &Options, next: &AtomicUsize) -> Result<(), Trouble> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= options.resources {
            return Ok(());
        }
        let address = format!("resource.{}-{number:06}", options.prefix);
        run.put(instance(&address, number)?)?;
        let mut out = io::stdout().lock();
        writeln!(out, "{address}")?;
        out.flush()?;
    }
}

/// What a cloud would say about a machine: 875 bytes of JSON.
fn instance(address: &str, number: usize) -> Result<Entry, sdk_state::Error> {
    // Digits that look random and differ for each resource: the finalizer of splitmix64.
    let draw = |nth: u64| {
        let seed = (number as u64 + 1)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(nth);
        let seed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (seed ^ (seed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB)
    };
    let [instance, volume, interface, request] = [1, 2, 3, 4].map(draw);
    let [b, c, d] = [5, 6, 7].map(|nth| draw(nth) % 256);
    let binding = Binding::new("aws", "instance");
    let mut entry = Entry::new(address, EntryKind::Leaf, Category::Resource, binding);
    entry.inputs = Some(Json::parse(format!(
        r##"{{"ami":"ami-0{:016x}","instance-type":"m6i.large","name":"{address}","security-groups":["sg-0{:016x}"],"subnet":"subnet-0{:016x}","tags":{{"cost-center":"cc-{:04}","env":"prod","owner":"platform","service":"web"}},"user-data":"#!/bin/sh\nexec /opt/web/bin/run --zone eu-central-1a\n"}}"##,
        draw(8) % 12,
        draw(9) % 200,
        draw(10) % 24,
        draw(11) % 40,
    ))?);
    entry.outputs = Some(Json::parse(format!(
        r#"{{"arn":"arn:aws:ec2:eu-central-1:123456789012:instance/i-0{instance:016x}","id":"i-0{instance:016x}","interface":"eni-0{interface:016x}","private-dns":"ip-10-{b}-{c}-{d}.eu-central-1.compute.internal","private-ip":"10.{b}.{c}.{d}","public-ip":null,"ready":true,"request":"{request:016x}","volume":"vol-0{volume:016x}"}}"#
    ))?);
    entry.depends_on = vec!["resource.vpc".into(), "resource.subnet".into()];
    Ok(entry)
}
