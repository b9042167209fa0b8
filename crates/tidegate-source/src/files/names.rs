//! Which names a file gets when it is rotated or compressed.

/// Endings of compressed files.
const COMPRESSED: [&str; 4] = [".gz", ".gzip", ".zst", ".zstd"];

/// The name without the ending that a compressor adds.
pub(super) fn decompressed(name: &str) -> &str {
    let without = |ending: &&str| {
        let from = name.len().checked_sub(ending.len())?;
        let (stem, end) = (name.get(..from)?, name.get(from..)?);
        let is_named = !stem.is_empty() && !stem.ends_with('/');
        (is_named && end.eq_ignore_ascii_case(ending)).then_some(stem)
    };
    COMPRESSED.iter().find_map(without).unwrap_or(name)
}

/// The names that a compressor may give to the file `name`.
pub(super) fn compressed(name: &str) -> impl Iterator<Item = String> {
    COMPRESSED
        .iter()
        .map(move |ending| format!("{name}{ending}"))
}

/// The names that a file may have had which is called `name` now, itself first: without the ending
/// that a compressor adds, without what a rotation adds after the name (`app.log.1`,
/// `app.log-20261123`), without what it adds before the extension (`app-2026-11-23T05.log`).
pub(super) fn before(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    let plain = decompressed(name);
    if plain != name {
        names.push(plain.to_owned());
    }
    let folder = plain.rfind('/').map_or(0, |i| i + 1);
    let own = &plain[folder..];
    for (i, _) in own.match_indices(['.', '-', '_']).filter(|(i, _)| *i > 0) {
        names.push(plain[..folder + i].to_owned());
    }
    if let Some(dot) = own.rfind('.') {
        let (stem, extension) = (&own[..dot], &own[dot..]);
        let added = |c: char| c.is_ascii_digit() || "-_.:TZ+".contains(c);
        let short = stem.trim_end_matches(added);
        if !short.is_empty() && short != stem {
            names.push(format!("{}{short}{extension}", &plain[..folder]));
        }
    }
    names.extend(numbered(plain));
    names
}

/// The names by which a file is looked for that was called `name`, of the partition `partition`:
/// later names lead back to one of them, see [`before`].
pub(super) fn to_look_for(name: &str, partition: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    let founded = founding(partition);
    if founded != name {
        names.push(founded.to_owned());
    }
    let plain = decompressed(name);
    if plain != name {
        names.push(plain.to_owned());
    }
    names.extend(numbered(plain));
    names
}

/// For a name with the number of a rotation (`app.log.1`), what is the same for all its numbers.
fn numbered(name: &str) -> Option<String> {
    let (stem, number) = name.rsplit_once('.')?;
    let is_number = (1..=5).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| format!("{stem}.*"))
}

/// The file's name in the name of a partition: without the number that a later file of the same
/// name gets.
pub(super) fn founding(partition: &str) -> &str {
    match partition.rsplit_once('#') {
        Some((name, number)) if number.parse::<u32>().is_ok() => name,
        _ => partition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_and_compressed_names_lead_back() {
        for (now, then) in [
            ("app.log.1", "app.log"),
            ("app.log.12.gz", "app.log"),
            ("in/app.log-20261123.ZST", "in/app.log"),
            ("app.log.2026-11-23", "app.log"),
            ("app-2026-11-23T05-00-00.000.log", "app.log"),
            ("app.1.log.gz", "app.log"),
            ("app.log.gz", "app.log"),
            ("app.log.1.gz", "app.log.1"),
        ] {
            assert!(before(now).contains(&then.to_owned()), "{now}");
        }
        for (now, then) in [
            ("app.log", "app.log.1"),
            ("day2.json", "day1.json"),
            ("2026-11-24.json", "2026-11-23.json"),
            ("x/app.log.1", "app.log"),
            (".gz", ""),
        ] {
            assert!(!before(now).contains(&then.to_owned()), "{now}");
        }
    }

    #[test]
    fn the_number_of_a_rotation_does_not_matter() {
        let known = to_look_for("app.log.1", "app.log.1");
        let leads_back = |name| before(name).iter().any(|name| known.contains(name));
        assert!(leads_back("app.log.2.gz"));
        assert!(!leads_back("app.log-2.gz"));
        assert!(!leads_back("other.log.2"));
    }

    #[test]
    fn a_partitions_name_leads_to_its_file() {
        assert_eq!(founding("app.log#2"), "app.log");
        assert_eq!(founding("app#x.log"), "app#x.log");
    }
}
