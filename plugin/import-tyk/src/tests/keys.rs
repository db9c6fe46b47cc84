use super::*;

fn versions() -> Value {
    json!({ "not_versioned": false, "default_version": "v2", "versions": { "v1": {}, "v2": {} } })
}

#[test]
fn keys_get_no_additional_rights() {
    let right = |more: Value| {
        let mut right = json!({ "api_id": "a", "limit": null });
        merge(&mut right, more);
        json!({ "a": right })
    };
    let cases = [
        (json!({ "access_rights": { "gone": {} } }), "None of its rights could be imported"),
        (
            json!({ "access_rights": right(json!({ "allowed_urls": [{ "url": "\\pL", "methods": ["GET"] }] })) }),
            "tollbell may read the rule \"\\\\pL\" of its allowed_urls in another way",
        ),
        (
            json!({ "access_rights": right(json!({ "field_access_rights": [{ "type_name": "Q" }] })) }),
            "field_access_rights",
        ),
        (json!({ "apply_policies": ["unknown"] }), "None of its policies is in the policies file"),
        (json!({ "apply_policies": ["other"], "org_id": "acme" }), "of its organisation. Tyk refuses"),
        (json!({ "apply_policies": ["other", "acme"] }), "of its organisation. Tyk refuses"),
        (
            json!({ "apply_policies": ["good", "mixed"] }),
            "Its policy \"mixed\" is left out: it has per_api and another partition",
        ),
        (json!({ "apply_policies": ["good", "off"] }), "Its policy \"off\" is left out"),
        (
            json!({ "apply_policies": ["parts"], "access_rights": { "gone": {} } }),
            "None of its rights could be imported",
        ),
        (
            json!({ "apply_policies": ["rate"], "access_rights": { "gone": {} } }),
            "None of its rights could be imported",
        ),
        (json!({ "apply_policies": ["unknown", "rate"] }), "Neither it nor its policies name an API"),
        (json!({ "apply_policies": ["parts"] }), "Neither it nor its policies name an API"),
        (json!({ "apply_policies": ["lost", "rate"] }), "Its policy \"lost\" is left out: none of its APIs is left"),
        (
            json!({ "apply_policies": ["lost", "rate"], "access_rights": { "a": {} } }),
            "Its policy \"lost\" is left out: none of its APIs is left",
        ),
        (json!({ "apply_policies": ["globex"] }), "Its policy \"globex\" is left out: none of its APIs is left"),
        (json!({ "apply_policies": ["other"], "access_rights": { "a": {} } }), "belongs to another organisation"),
        (json!({ "apply_policies": ["old"] }), "Its policy \"old\" is left out: none of its APIs is left"),
        (
            json!({ "access_rights": { "v": { "versions": ["v1"] } } }),
            "it does not include version \"v2\", the only version that is served",
        ),
        (json!({ "meta_data": { "policies": [{ "id": "own" }] } }), "the policies in its metadata. Put"),
        (json!({ "apply_policies": ["mixed"] }), "it has per_api and another partition"),
        (json!({ "apply_policies": ["parts", "each"] }), "Some of its policies have per_api, some are partitioned"),
        (json!({ "apply_policies": ["lost"] }), "none of its APIs is left"),
        (json!({ "basic_auth_data": { "password": "p" } }), "authenticates with a password (basic_auth_data)"),
        (json!({ "hmac_enabled": true, "hmac_string": "s" }), "authenticates with a signature (hmac_enabled)"),
        (json!({ "enable_http_signature_validation": true }), "authenticates with a signature"),
        (json!({ "apply_policies": ["signed"] }), "Its policy \"signed\" is left out: tollbell checks only API keys"),
        (json!({ "max_query_depth": 3 }), "max_query_depth restricts it"),
        (json!({ "smoothing": { "enabled": true } }), "smoothing restricts it"),
        (json!({ "meta_data": { "rate_limit_pattern": "a" } }), "a group of keys"),
        (
            json!({ "access_rights": { "a": { "disable_introspection": true } } }),
            "tollbell cannot enforce disable_introspection",
        ),
        (
            json!({ "access_rights": { "a": { "limit": { "max_query_depth": 2 } } } }),
            "tollbell cannot enforce limit.max_query_depth",
        ),
        (json!({ "access_rights": { "a": { "of_the_future": 1 } } }), "tollbell cannot enforce of_the_future"),
        (json!({ "access_rights": { "a": { "limit": { "rate": -3 } } } }), "limit.rate: -3 is negative"),
        (json!({ "of_the_future": 1 }), "of_the_future restricts it"),
        (json!({ "quota_max": -10 }), "quota_max: -10 is negative"),
        (json!({ "expires": 4_102_444_800_000_i64 }), "expires: 4102444800000 is too large"),
        // Without the policy that is left out, it would have more rights than in Tyk.
        (json!({ "apply_policies": ["good", "deep"], "quota_max": -1 }), "Its policy \"deep\" is left out"),
        (json!({ "apply_policies": ["good", "signed"] }), "Its policy \"signed\" is left out"),
        (json!({ "apply_policies": ["good", "smooth"] }), "Its policy \"smooth\" is left out"),
        (json!({ "apply_policies": ["good", "odd part"] }), "Its policy \"odd part\" is left out"),
        (json!({ "apply_policies": ["good", "negative"] }), "Its policy \"negative\" is left out"),
        (json!({ "apply_policies": ["good", "lost quota"] }), "Its policy \"lost quota\" is left out"),
        (json!({ "apply_policies": ["good", "typed"] }), "Its policy \"typed\" restricts its right to \"a\""),
        (json!({ "oauth_client_id": "c" }), "authenticates with an OAuth token"),
        (json!({ "jwt_data": { "secret": "s" } }), "authenticates with a JWT"),
        (json!({ "certificate": "c" }), "authenticates with a certificate"),
        (json!({ "allowed_ips": ["10.0.0.1"] }), "Only some addresses"),
    ];
    for (session, why) in cases {
        let folder = Folder::new(&[
            ("tyk.conf", json!({})),
            ("apps/a.json", classic(json!({}))),
            (
                "apps/v.json",
                classic(json!({ "api_id": "v", "proxy": { "listen_path": "/v/" }, "version_data": versions() })),
            ),
            (
                "policies.json",
                json!([
                    { "id": "signed", "hmac_enabled": true, "access_rights": { "a": {} } },
                    { "id": "lost", "access_rights": { "gone": {} } },
                    { "id": "deep", "quota_max": 100, "partitions": { "quota": true }, "max_query_depth": 5 },
                    { "id": "smooth", "rate": 1, "per": 1, "smoothing": { "enabled": true } },
                    { "id": "odd part", "partitions": { "of_the_future": true }, "access_rights": { "a": {} } },
                    { "id": "negative", "quota_max": -2, "partitions": { "quota": true } },
                    { "id": "lost quota", "quota_max": 1, "partitions": { "quota": true }, "access_rights": { "gone": {} } },
                    { "id": "typed", "access_rights": { "v": { "versions": ["v2"] }, "a": { "restricted_types": [{ "name": "Q" }] } } },
                    { "id": "other", "org_id": "globex" },
                    { "id": "mixed", "partitions": { "per_api": true, "quota": true } },
                    { "id": "parts", "partitions": { "quota": true } },
                    { "id": "each", "partitions": { "per_api": true } },
                    { "id": "rate", "rate": 5, "per": 1 },
                    { "id": "good", "access_rights": { "a": {} } },
                    { "id": "acme", "org_id": "acme", "access_rights": { "a": {} } },
                    { "id": "globex", "org_id": "globex", "access_rights": { "a": {} } },
                    { "id": "off", "is_inactive": true, "access_rights": { "gone": {} } },
                    { "id": "old", "access_rights": { "v": { "versions": ["v1"] } } },
                ]),
            ),
            ("keys.json", json!({ "good": { "access_rights": { "a": {}, "gone": {} } }, "bad": session })),
        ]);
        let (report, dump) = folder.good();
        assert!(report.contains(why), "{report}");
        let keys = tollbell_of(&dump)["keys"].as_object().unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), [&names::fingerprint(b"good")], "{why}");
        assert_eq!(keys[&names::fingerprint(b"good")]["access_rights"], json!({ "a": {} }));
    }
}

#[test]
fn keys_keep_their_remaining_rights() {
    let right = json!({ "v": { "versions": ["v1", "v2"] } });
    let folder = Folder::new(&[
        ("tyk.conf", json!({})),
        ("apps/a.json", classic(json!({}))),
        (
            "apps/v.json",
            classic(json!({ "api_id": "v", "proxy": { "listen_path": "/v/" }, "version_data": versions() })),
        ),
        (
            "policies.json",
            json!([
                { "id": "rate", "rate": -1, "per": -1.0, "partitions": { "rate_limit": true } },
                { "id": "good", "access_rights": { "a": { "limit": { "rate": -1, "per": 0 } } } },
            ]),
        ),
        (
            "keys.json",
            json!({
                "granted": { "apply_policies": ["unknown", "good", "rate"], "access_rights": { "gone": {} } },
                "own": { "apply_policies": ["unknown", "rate"], "access_rights": right },
                "master": { "rate": -1, "per": -1 },
            }),
        ),
    ]);
    let (report, dump) = folder.good();
    let (keys, policies) = (&tollbell_of(&dump)["keys"], &tollbell_of(&dump)["policies"]);
    assert_eq!(keys[names::fingerprint(b"granted")], json!({ "apply_policies": ["good", "rate"] }));
    let own = json!({ "apply_policies": ["rate"], "access_rights": right });
    assert_eq!(keys[names::fingerprint(b"own")], own);
    assert_eq!(keys[names::fingerprint(b"master")], json!({ "rate": -1, "per": -1 }));
    assert!(report.contains("apply_policies: unknown removed: not in the policies file"), "{report}");
    let rate = json!({ "rate": -1, "per": -1, "partitions": { "rate_limit": true } });
    assert_eq!(policies["rate"], rate, "unlimited, which wins where policies are merged");
    assert_eq!(policies["good"]["access_rights"]["a"]["limit"], json!({ "rate": -1 }));
}

#[test]
fn custom_keys_keep_their_whole_names() {
    let token = |id: &str| {
        use base64::Engine as _;
        let json = format!(r#"{{"org":"acme","id":"{id}","h":"sha256"}}"#);
        base64::engine::general_purpose::STANDARD.encode(json)
    };
    let (ten, taken) = (token("ten"), token("taken"));
    let sha = |key: &str| names::fingerprint(key.as_bytes());
    let export = json!({ &ten: { "alias": "ten" }, &taken: {}, "taken": {}, "ab": {}, "acmeold": { "alias": "old" } });
    let hashed = json!({ &sha(&ten)[7..]: { "alias": "ten" } });
    let cases = [
        (json!({ "hash_key_function": "sha256" }), json!(["sha256"]), 3),
        (json!({}), json!(["legacy"]), 4),
        (
            json!({ "hash_key_function": "sha256", "hash_key_function_fallback": ["murmur64", ""] }),
            json!(["sha256", "murmur64", "legacy"]),
            3,
        ),
        (json!({ "hash_key_function": "md5" }), json!(["murmur64"]), 4),
    ];
    for (conf, forms, kept) in cases {
        let folder = Folder::new(&[
            ("tyk.conf", conf.clone()),
            ("apps/a.json", classic(json!({}))),
            ("keys.json", export.clone()),
        ]);
        let (report, dump) = folder.good();
        let own = tollbell_of(&dump);
        assert_eq!(own["tyk_tokens"], json!({ "forms": forms, "min_token_length": 3 }), "{conf}");
        let keys = own["keys"].as_object().unwrap();
        assert_eq!(keys.len(), kept, "{conf}: {keys:?}");
        assert_eq!(keys[&sha(&ten)]["alias"], "ten", "{conf}: under its whole name alone");
        assert_eq!(keys[&sha("acmeold")]["alias"], "old", "{conf}");
        assert!(
            !keys.contains_key(&sha("ab")) && report.contains("min_token_length. Tyk refuses it, too."),
            "{report}"
        );
        assert_eq!(keys.contains_key(&sha("taken")), kept == 4, "{conf}: it is also the id of a custom key");
        assert_eq!(
            report.contains("In APIs of acme, Tyk reads this key as the id of another custom key"),
            kept == 3,
            "{report}"
        );
    }
    let conf = json!({ "hash_keys": true, "hash_key_function": "sha256", "min_token_length": 5 });
    let (report, dump) =
        Folder::new(&[("tyk.conf", conf), ("apps/a.json", classic(json!({}))), ("keys.json", hashed)]).good();
    assert_eq!(tollbell_of(&dump)["keys"], json!({ sha(&ten): { "alias": "ten" } }));
    assert_eq!(tollbell_of(&dump)["tyk_tokens"], json!({ "forms": ["sha256"], "min_token_length": 5 }));
    assert!(report.contains("hash_key_function: tyk_tokens.forms: sha256, so that a client may send"), "{report}");
    let conf = json!({ "disable_key_actions_by_username": true, "hash_key_function": "sha256" });
    let (_, dump) =
        Folder::new(&[("tyk.conf", conf), ("apps/a.json", classic(json!({}))), ("keys.json", export)]).good();
    assert_eq!(tollbell_of(&dump).get("tyk_tokens"), None);
}

#[test]
fn keys_stay_in_the_organisation_of_their_policies() {
    let folder = Folder::new(&[
        ("tyk.conf", json!({})),
        ("apps/a.json", classic(json!({}))),
        ("apps/g.json", classic(json!({ "api_id": "g", "org_id": "globex", "proxy": { "listen_path": "/g/" } }))),
        ("policies.json", json!([{ "id": "acme", "org_id": "acme", "access_rights": { "a": {}, "g": {} } }])),
        (
            "keys.json",
            json!({
                "everywhere": { "org_id": "acme" },
                "granted": { "org_id": "acme", "apply_policies": ["acme"], "access_rights": { "g": {} } },
            }),
        ),
    ]);
    let (_, dump) = folder.good();
    let own = tollbell_of(&dump);
    assert_eq!(
        own["keys"][names::fingerprint(b"everywhere")],
        json!({ "org_id": "acme" }),
        "Tyk finds it from every API"
    );
    assert_eq!(own["keys"][names::fingerprint(b"granted")], json!({ "org_id": "acme", "apply_policies": ["acme"] }));
    assert_eq!(own["policies"]["acme"]["access_rights"], json!({ "a": {} }));
}

#[test]
fn hashed_exports_are_used_as_far_as_they_can_be() {
    let sha = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let folder = Folder::new(&[
        ("tyk.conf", json!({ "hash_keys": true, "hash_key_function": "sha256" })),
        ("apps/a.json", classic(json!({}))),
        (
            "keys.json",
            json!({ sha: { "alias": "s" }, "deadbeef": { "alias": "m32" }, "deadbeefdeadbeef": { "alias": "m64" } }),
        ),
    ]);
    let (report, dump) = folder.good();
    assert_eq!(tollbell_of(&dump)["keys"], json!({ format!("sha256:{sha}"): { "alias": "s" } }));
    assert_eq!(tollbell_of(&dump).get("hash_keys"), None);
    assert!(report.contains("tyk.conf: hash_keys: The import reads the export's names as hashes."), "{report}");
    assert!(report.contains("Its name is a murmur hash") && !report.contains("deadbeef"), "{report}");
}

/// A policy without the part for rights names the APIs of its limits.
#[test]
fn limits_of_partitioned_policies_stay_with_their_apis() {
    let folder = Folder::new(&[
        ("tyk.conf", json!({})),
        ("apps/a.json", classic(json!({}))),
        ("apps/b.json", classic(json!({ "api_id": "b", "proxy": { "listen_path": "/b/" } }))),
        (
            "policies.json",
            json!([
                { "id": "acl", "partitions": { "acl": true }, "access_rights": { "a": {}, "b": {} } },
                { "id": "ten", "quota_max": 10, "partitions": { "quota": true },
                  "access_rights": { "a": { "restricted_types": [{ "name": "Q" }], "limit": { "quota_max": 5 } }, "gone": {} } },
                { "id": "thousand", "quota_max": 1000, "partitions": { "quota": true }, "access_rights": { "b": {} } },
            ]),
        ),
        ("keys.json", json!({ "the-key": { "apply_policies": ["acl", "ten", "thousand"] } })),
    ]);
    let (report, dump) = folder.good();
    let policies = &tollbell_of(&dump)["policies"];
    assert_eq!(policies["ten"]["access_rights"], json!({ "a": {} }), "{report}");
    assert_eq!(policies["thousand"]["access_rights"], json!({ "b": {} }), "{report}");
    assert_eq!(tollbell_of(&dump)["keys"].as_object().unwrap().len(), 1);
}

#[test]
fn allowed_urls_are_carried_over() {
    let rules = json!([{ "url": "^/a/{id}$", "methods": ["GET"] }, { "url": "/a/x", "methods": null }]);
    let files = |options: Value| {
        vec![
            ("tyk.conf", json!({ "http_server_options": options })),
            ("apps/a.json", classic(json!({}))),
            ("keys.json", json!({ "the-key": { "access_rights": { "a": { "allowed_urls": rules } } } })),
        ]
    };
    let (_, dump) = Folder::new(&files(json!({}))).good();
    let right = &tollbell_of(&dump)["keys"][names::fingerprint(b"the-key")]["access_rights"]["a"];
    let expected = json!([{ "url": "^/a/{id}$", "methods": ["GET"] }, { "url": "/a/x", "methods": [] }]);
    assert_eq!(right["allowed_urls"], expected);
    for option in ["enable_path_prefix_matching", "enable_path_suffix_matching"] {
        let (report, dump) = Folder::new(&files(json!({ option: true }))).good();
        assert_eq!(tollbell_of(&dump).get("keys"), None);
        assert!(report.contains("Tyk reads its allowed_urls in another way than tollbell"), "{report}");
    }
}

#[test]
fn settings_that_policies_replace_are_not_carried_over() {
    let folder = Folder::new(&[
        ("tyk.conf", json!({})),
        ("apps/a.json", classic(json!({}))),
        (
            "policies.json",
            json!([
                { "id": "whole", "quota_max": 9, "access_rights": { "a": {} } },
                { "id": "quota", "quota_max": 5, "partitions": { "quota": true }, "access_rights": { "a": {} } },
            ]),
        ),
        (
            "keys.json",
            json!({
                "whole": { "quota_max": 1, "rate": 2, "per": 3, "access_rights": { "a": {} }, "apply_policies": ["whole"] },
                "quota": { "quota_max": 1, "rate": 2, "per": 3, "access_rights": { "a": {} }, "apply_policies": ["quota"] },
            }),
        ),
    ]);
    let (_, dump) = folder.good();
    let keys = &tollbell_of(&dump)["keys"];
    assert_eq!(keys[names::fingerprint(b"whole")], json!({ "apply_policies": ["whole"] }));
    let expected = json!({ "rate": 2, "per": 3, "access_rights": { "a": {} }, "apply_policies": ["quota"] });
    assert_eq!(keys[names::fingerprint(b"quota")], expected);
}

#[test]
fn keys_that_tyk_deletes_are_reported() {
    let conf = json!({ "force_global_session_lifetime": true, "global_session_lifetime": 100 });
    let folder = Folder::new(&[
        ("tyk.conf", conf),
        ("apps/a.json", classic(json!({ "session_lifetime": 60 }))),
        ("keys.json", json!({ "the-key": { "session_lifetime": 5, "expires": 0 } })),
    ]);
    let (report, _) = folder.good();
    for setting in ["tyk.conf: global_session_lifetime", "apps/a.json: session_lifetime", ".session_lifetime"] {
        assert!(report.contains(&format!("{setting}: Tyk deletes a key this long after")), "{setting}: {report}");
    }
}
