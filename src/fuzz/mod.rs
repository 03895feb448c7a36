//! What holds of every input, however odd: the properties that `fuzz/` feeds with random bytes, and the tests with
//! a few. Each panics where it does not hold. Not a part of what ships.

pub use crate::api::fuzz::{admin, dapr, dapr_grpc, leases, native, path, query};
pub use crate::auth::fuzz::{credentials, key_set};
pub use crate::config::fuzz::{environment, redis_url};
pub use crate::inject::fuzz::{manifests, review};
pub use crate::lock::fuzz::{record, rows};
pub use crate::policy::fuzz::policy;

/// The parts of an input, which 0xFF ends: no text has one.
pub(crate) fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |byte| *byte == 0xFF);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// A part as text; what is no UTF-8 is replaced.
pub(crate) fn text(part: &[u8]) -> String {
    String::from_utf8_lossy(part).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Property = fn(&[u8]);

    /// Each property, by the name of its target.
    const TABLE: [(&str, Property); 16] = [
        ("admin", admin),
        ("credentials", credentials),
        ("dapr", dapr),
        ("dapr_grpc", dapr_grpc),
        ("environment", environment),
        ("key_set", key_set),
        ("leases", leases),
        ("manifests", manifests),
        ("native", native),
        ("path", path),
        ("policy", policy),
        ("query", query),
        ("record", record),
        ("redis_url", redis_url),
        ("review", review),
        ("rows", rows),
    ];

    /// What lies in a folder of `fuzz/`, in order.
    fn listed(folder: &str) -> Vec<std::path::PathBuf> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
        let files = std::fs::read_dir(folder).expect("a folder");
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        files.sort();
        files
    }

    /// The seeds are inputs to start from, and all that a fuzzer ever found.
    #[test]
    fn every_property_holds_of_its_seeds_and_of_what_is_near_them() {
        for (name, property) in TABLE {
            let seeds = listed(&format!("seeds/{name}"));
            assert!(!seeds.is_empty(), "{name}");
            for file in seeds {
                let seed = std::fs::read(&file).expect("a seed");
                property(&seed);
                (0..seed.len()).for_each(|end| property(&seed[..end]));
                for at in 0..seed.len() {
                    for bit in 0..8 {
                        let mut odd = seed.clone();
                        odd[at] ^= 1 << bit;
                        property(&odd);
                    }
                }
            }
        }
    }

    #[test]
    fn every_property_is_a_target_and_every_target_a_property() {
        let names = TABLE.map(|(name, _)| name);
        let targets = listed("fuzz_targets");
        let targets = targets.iter().map(|file| file.file_stem().and_then(|name| name.to_str()).expect("UTF-8"));
        assert!(targets.eq(names));
        for name in names {
            let manifest = include_str!("../../fuzz/Cargo.toml");
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
        }
    }
}
