use super::super::super::format::Kind;
use super::super::super::model::{chains, everything, grows, grows_or_stays, truncations_are_noticed};
use super::super::super::ops::NewImage;

fn new(options: &[(&str, &str)]) -> NewImage {
    let image = NewImage::new(Kind::Qcow2, 2 << 20);
    options.iter().fold(image, |image, (k, v)| image.with(k, v))
}

#[test]
fn default_images() {
    everything(&new(&[]));
}

#[test]
fn version_2_with_small_clusters() {
    everything(&new(&[("compat", "0.10"), ("cluster_size", "512")]));
}

#[test]
fn small_counts() {
    everything(&new(&[("cluster_size", "2048"), ("refcount_bits", "1")]));
    everything(&new(&[("cluster_size", "4K"), ("refcount_bits", "64")]));
}

#[test]
fn extended_l2() {
    everything(&new(&[("extended_l2", "on"), ("cluster_size", "16K")]));
}

#[test]
fn chains_of_parents() {
    chains(Kind::Qcow2, 1 << 20, &[], 3);
    chains(Kind::Qcow2, 1 << 20, &[("compat", "0.10"), ("cluster_size", "4K")], 3);
    chains(Kind::Qcow2, 1 << 20, &[("extended_l2", "on")], 3);
}

#[test]
fn truncations() {
    truncations_are_noticed(&new(&[("cluster_size", "4K")]), 4096);
    truncations_are_noticed(&new(&[("extended_l2", "on"), ("cluster_size", "16K")]), 16384);
    truncations_are_noticed(&new(&[("compat", "0.10"), ("cluster_size", "512")]), 512);
}

#[test]
fn a_table_that_is_too_small_moves() {
    // A cluster of the first table has 64 entries, each for 32 KiB.
    for options in [&[("cluster_size", "512")][..], &[("cluster_size", "512"), ("compat", "0.10")], &[]] {
        grows(&new(options), 300 << 20);
        grows_or_stays(&new(options), 300 << 20);
    }
}
