use super::*;

#[test]
fn user_text_never_reaches_the_hash_tag() {
    let space = KeySpace::new("lockside");
    let key = Key::parse("}{x}").expect("a key");
    let tag = format!("{{lockside:{}}}", key.shard());
    assert_eq!(space.lock(&key), format!("{tag}:lock:}}{{x}}"));
    assert_eq!(*space.tokens(key.shard()), format!("{tag}:tokens"));
}

#[test]
fn channels_are_few_on_one_server_and_stay_with_their_shard_on_a_cluster() {
    let (one, cluster) = (KeySpace::new("lockside"), KeySpace::clustered("lockside"));
    for shard in Shard::all() {
        assert_eq!(one.push(shard), "lockside:push:0:");
        assert_eq!(cluster.push(shard), format!("{{lockside:{shard}}}:push:"));
        assert_eq!(Slot::of(format!("{}all", cluster.push(shard))), cluster.slot(shard));
    }
}

#[test]
fn the_keys_of_a_probe_are_in_the_slots_of_locks_and_none_of_theirs() {
    for space in [KeySpace::new("lockside"), KeySpace::clustered("lockside"), KeySpace::raw("lockside", 0)] {
        let (one, other) = (space.probing("one"), space.probing("other"));
        let key = Key::parse("a").expect("a key");
        let shard = key.shard();
        assert_eq!(one.lock(&key), format!("{{lockside:{shard}}}:probe:lock:one:a"));
        assert_ne!(one.lock(&key), other.lock(&key));
        assert_eq!(*one.tokens(shard), format!("{{lockside:{shard}}}:probe:tokens"));
        assert_ne!(one.tokens(shard), space.tokens(shard));
        assert_eq!((one.slot(shard), Slot::of(one.lock(&key))), (space.slot(shard), space.slot(shard)));
    }
}

#[test]
fn the_samples_of_a_space_are_of_each_kind_and_shard() {
    let space = KeySpace::new("lockside");
    let (needed, further) = space.samples();
    assert_eq!(further, ["{lockside:raw}:mark"]);
    let key = Key::parse("a").expect("a key");
    let (shard, text) = (key.shard(), |key: &Bytes| String::from_utf8_lossy(key).into_owned());
    for of_a_lock in [space.lock(&key), space.queue(&key), space.forced(&key), text(space.tokens(shard))] {
        assert!(needed.contains(&of_a_lock), "{of_a_lock}");
    }
    assert!(needed.iter().all(|key| is_of_a_lock_space(key)) && needed.len() == 6 * Shard::all().count());

    let (needed, further) = KeySpace::raw("lockside", 0).samples();
    assert!(needed.iter().all(|key| is_of_a_lock_space(key)) && needed.len() == 5 * Shard::all().count());
    assert_eq!(further, ["{lockside:raw}:mark", RAW_SAMPLE]);
}

#[test]
fn the_patterns_of_a_space_cover_it_alone() {
    let Patterns { keys, channels } = KeySpace::new("lockside").patterns();
    assert_eq!(keys, "~{lockside:[0-9]}:* ~{lockside:[0-9][0-9]}:* ~{lockside:raw}:mark %R~lockside:users");
    assert_eq!(channels, "&lockside:push:[0-9a-f]*");
    let channels = KeySpace::clustered("lockside").patterns().channels;
    assert_eq!(channels, "&{lockside:[0-9]}:push:* &{lockside:[0-9][0-9]}:push:*");
    let keys = KeySpace::new("my [app]*").patterns().keys;
    assert!(keys.starts_with("~{my?\\[app\\]\\*:[0-9]}:* "), "{keys}");
    let keys = KeySpace::new("a\u{3000}\"b'").patterns().keys;
    assert!(keys.starts_with("~{a\u{3000}?b?:[0-9]}:* "), "{keys}");
}

#[test]
fn a_raw_key_is_its_name_and_never_one_of_ours() {
    let space = KeySpace::raw("lockside", 0);
    for name in ["a", "{a}:1", "{locksides:1}", "lockside:users:1", "lockside", "Straße ß", "{x}:tokens"]
        .into_iter()
        .chain(["{tenant:1}:watchdog", "{app:7}:watcher-lock", "{a}:watch"])
    {
        assert_eq!(space.lock(&Key::parse(name).expect("a key")), name);
    }
    for name in ["{two:1}:tokens", "{lockside:1}:queue:a", "{lockside:1}:probe:tokens", "{lockside:", "lockside:users"]
        .into_iter()
        .chain(["{two:1}:watch", "{two:1}:tokens-of-0.1", "{two:1}:marked"])
    {
        let key = Key::parse(name).expect("a key");
        assert_eq!(space.lock(&key), KeySpace::new("lockside").lock(&key), "{name}");
    }
}
