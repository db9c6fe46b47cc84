use super::*;

fn versions() -> Value {
    json!({ "not_versioned": false, "default_version": "v2", "versions": { "v1": {}, "v2": {} } })
}

#[test]
fn keys_do_not_become_wider() {
    let right = |more: Value| {
        let mut right = json!({ "api_id": "a", "limit": null });
        merge(&mut right, more);
        json!({ "a": right })
    };
    let cases = [
        (json!({ "access_rights": { "gone": {} } }), "none of the rights that it had is left"),
        (
            json!({ "access_rights": right(json!({ "allowed_urls": [{ "url": "/x", "methods": ["GET"] }] })) }),
            "allowed_urls",
        ),
        (
            json!({ "access_rights": right(json!({ "field_access_rights": [{ "type_name": "Q" }] })) }),
            "field_access_rights",
        ),
        (json!({ "apply_policies": ["unknown"] }), "none of its policies is in the policies file"),
        (json!({ "apply_policies": ["other"], "org_id": "acme" }), "of its organisation, and Tyk refuses"),
        (json!({ "apply_policies": ["other", "acme"] }), "of its organisation, and Tyk refuses"),
        (json!({ "apply_policies": ["good", "mixed"] }), "one of its policies has per_api and another partition"),
        (json!({ "apply_policies": ["good", "off"] }), "a policy that is left out switches it off"),
        (json!({ "apply_policies": ["parts"], "access_rights": { "gone": {} } }), "none of the rights that it had"),
        (json!({ "apply_policies": ["rate"], "access_rights": { "gone": {} } }), "none of the rights that it had"),
        (json!({ "apply_policies": ["unknown", "rate"] }), "neither it nor its policies name an API"),
        (json!({ "apply_policies": ["parts"] }), "neither it nor its policies name an API"),
        (json!({ "apply_policies": ["lost", "rate"] }), "none of the APIs of its policies is left"),
        (
            json!({ "apply_policies": ["lost", "rate"], "access_rights": { "a": {} } }),
            "none of the APIs of its policies",
        ),
        (json!({ "apply_policies": ["globex"] }), "none of the APIs of its policies is left"),
        (json!({ "apply_policies": ["other"], "access_rights": { "a": {} } }), "belongs to another organisation"),
        (json!({ "apply_policies": ["old"] }), "none of the APIs of its policies is left"),
        (json!({ "access_rights": { "v": { "versions": ["v1"] } } }), "not one to version \"v2\""),
        (json!({ "meta_data": { "policies": [{ "id": "own" }] } }), "the policies in its metadata"),
        (json!({ "apply_policies": ["mixed"] }), "per_api and another partition"),
        (json!({ "apply_policies": ["parts", "each"] }), "per_api and partitioned policies"),
        (json!({ "apply_policies": ["lost"] }), "none of the APIs of its policies is left"),
        (json!({ "basic_auth_data": { "password": "p" } }), "by a password"),
        (json!({ "hmac_enabled": true, "hmac_string": "s" }), "by a signature"),
        (json!({ "enable_http_signature_validation": true }), "by a signature"),
        (json!({ "apply_policies": ["signed"] }), "none of the APIs of its policies is left"),
        (json!({ "max_query_depth": 3 }), "max_query_depth"),
        (json!({ "smoothing": { "enabled": true } }), "smoothing.enabled"),
        (json!({ "meta_data": { "rate_limit_pattern": "a" } }), "a group of keys"),
        (json!({ "access_rights": { "a": { "disable_introspection": true } } }), "none of the rights that it had"),
        (json!({ "oauth_client_id": "c" }), "by an OAuth token"),
        (json!({ "jwt_data": { "secret": "s" } }), "by a JWT"),
        (json!({ "certificate": "c" }), "by a certificate"),
        (json!({ "allowed_ips": ["10.0.0.1"] }), "only some addresses"),
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
fn keys_stay_with_what_remains() {
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
                { "id": "lost", "access_rights": { "gone": {} } },
                { "id": "rate", "rate": -1, "per": -1.0, "partitions": { "rate_limit": true } },
                { "id": "good", "access_rights": { "a": { "limit": { "rate": -1, "per": 0 } } } },
            ]),
        ),
        (
            "keys.json",
            json!({
                "granted": { "apply_policies": ["lost", "good", "rate"], "access_rights": { "gone": {} } },
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
    assert!(report.contains("apply_policies: without lost, which"), "{report}");
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
            !keys.contains_key(&sha("ab")) && report.contains("min_token_length, and Tyk refuses it, too"),
            "{report}"
        );
        assert_eq!(keys.contains_key(&sha("taken")), kept == 4, "{conf}: it is also the id of a custom key");
        assert_eq!(report.contains("\"acme\" has a custom key with this id"), kept == 3, "{report}");
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
fn keys_stay_in_their_policies_organisation() {
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
    assert!(report.contains("tyk.conf: hash_keys: it says that a key export has hashes instead of keys"), "{report}");
    assert!(report.contains("its name is a murmur hash") && !report.contains("deadbeef"), "{report}");
}
