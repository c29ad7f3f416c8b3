use portway_wire::auth::{AuthRequest, AuthResponse};
use portway_wire::bind::{
    self, BindRequest, BindResponse, LabeledRequest, PatchRequest, srv_info_answer,
};
use portway_wire::commands::Command;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::object;

const AUTH: &[&str] = &[
    "OS",
    "Arch",
    "AuthToken",
    "Authtoken",
    "UserAgent",
    "HeartbeatInterval",
    "StopUnsupportedError",
    "MutualTLS",
    "LegNumber",
    "Portway",
];
const BIND: &[&str] = &[
    "Id",
    "Proto",
    "Opts",
    "Extra",
    "Labels",
    "TunnelId",
    "Name",
    "Message",
    "ErrorCode",
    "Version",
    "PermitMajorVersion",
    "Error",
    "URL",
];

/// Upper and lower case as `flips` says, letter by letter.
fn spelled(key: &str, flips: u64) -> String {
    let flip = |(place, letter): (usize, char)| {
        if flips >> (place % 64) & 1 == 1 {
            letter.to_ascii_uppercase()
        } else {
            letter.to_ascii_lowercase()
        }
    };
    key.chars().enumerate().map(flip).collect()
}

proptest! {
    #[test]
    fn r61_messages_of_any_shape_do_no_harm(extra in object(AUTH), message in object(BIND), kind in 0u32..13) {
        let auth = json!({"Version": ["3"], "Extra": extra});
        let _ = (AuthRequest::decode(&auth), AuthResponse::decode(&auth));
        let message = Value::Object(message);
        let _ = (BindRequest::decode(&message), BindResponse::decode(&message));
        let _ = (LabeledRequest::decode(&message), PatchRequest::decode(&message));
        let _ = (bind::decode_unbind(&message), bind::error_of(&message));
        let _ = Command::decode(kind, &message);
    }

    #[test]
    fn r64_keys_are_read_in_any_case(flips: u64, token: String, agent: String, leg: u32) {
        let message = json!({
            (spelled("Version", flips)): ["3", "2"],
            (spelled("ClientId", flips)): "c",
            (spelled("Extra", flips)): {
                (spelled("AuthToken", flips)): token,
                (spelled("UserAgent", flips)): agent,
                (spelled("LegNumber", flips)): leg,
            },
        });
        let read = AuthRequest::decode(&message).unwrap();
        prop_assert_eq!(read.client_id, "c");
        prop_assert_eq!(read.extra.authtoken.expose(), token);
        prop_assert_eq!((read.extra.user_agent, read.extra.leg_number), (agent, leg));
    }
}

#[test]
fn r64_missing_and_null_are_the_same_for_every_key() {
    let whole = AuthRequest::default().encode();
    let keys: Vec<String> = whole["Extra"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    for key in keys {
        let mut null = whole.clone();
        null["Extra"][&key] = Value::Null;
        let mut missing = whole.clone();
        missing["Extra"].as_object_mut().unwrap().remove(&key);
        assert_eq!(
            AuthRequest::decode(&null).unwrap(),
            AuthRequest::decode(&missing).unwrap(),
            "{key}"
        );
    }
}

#[test]
fn r65_r81_the_answer_has_the_keys_of_the_protocol_and_offers_no_more() {
    let answer = AuthResponse::default().encode();
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&answer), ["Version", "ClientId", "Error", "Extra"]);
    assert_eq!(
        keys(&answer["Extra"]),
        [
            "Version",
            "Region",
            "Cookie",
            "AccountName",
            "PlanName",
            "Banner",
            "SessionDuration",
            "DeprecationWarning",
            "AgentSessionID",
        ]
    );
}

#[test]
fn r69_the_answer_to_a_bind_has_what_both_families_require() {
    let answer = BindResponse {
        id: "i".into(),
        url: "https://a.b".into(),
        proto: "https".into(),
        token: "t".into(),
        tunnel_id: "tn_1".into(),
        ..BindResponse::default()
    }
    .encode();
    assert_eq!(
        answer,
        json!({"Id": "i", "URL": "https://a.b", "Proto": "https", "Opts": {},
            "Extra": {"Token": "t", "TunnelID": "tn_1"}, "Error": ""})
    );
}

#[test]
fn r73_a_bind_with_each_of_its_bindings() {
    for bindings in [
        json!(["public"]),
        json!(["internal"]),
        json!(["kubernetes", "public"]),
    ] {
        let message =
            json!({"Proto": "tls", "Extra": {"Bindings": bindings, "PoolingEnabled": true}});
        let request = BindRequest::decode(&message).unwrap();
        assert_eq!(json!(request.extra.bindings), bindings);
        assert!(request.extra.pooling_enabled);
    }
}

#[test]
fn r77_an_unbind_of_either_family_and_its_answer() {
    for message in [json!({"Id": "a"}), json!({"Id": "a", "Extra": null})] {
        assert_eq!(bind::decode_unbind(&message).unwrap(), "a");
    }
    assert_eq!(bind::encode_unbind("a"), json!({"Id": "a", "Extra": null}));
    assert_eq!(bind::plain_answer(""), json!({"Error": "", "Extra": null}));
    for success in [
        json!({}),
        json!({"Error": ""}),
        json!({"Error": null, "Extra": null}),
    ] {
        assert_eq!(bind::error_of(&success).unwrap(), "");
    }
}

#[test]
fn r78_a_labeled_bind_and_its_answer() {
    let message = json!({"Labels": {"edge": "edghts_1", "Team": "a"}, "ForwardsTo": "app://x",
        "ForwardsProto": "http2", "Metadata": "m"});
    let request = LabeledRequest::decode(&message).unwrap();
    assert_eq!(request.labels["edge"], "edghts_1");
    assert_eq!(
        request.labels["Team"], "a",
        "the name of a label is the user's"
    );
    assert_eq!(
        (request.forwards_proto.as_str(), request.metadata.as_str()),
        ("http2", "m")
    );
    let answer = bind::labeled_answer("id", "");
    assert_eq!(answer, json!({"Id": "id", "Error": ""}));
}

#[test]
fn r79_server_information() {
    assert_eq!(srv_info_answer("eu"), json!({"Region": "eu"}));
}

#[test]
fn r80_a_patch_tells_absent_from_empty_for_every_key() {
    let patch = PatchRequest::decode(&json!({"TunnelId": "t"})).unwrap();
    assert_eq!(
        patch,
        PatchRequest {
            tunnel_id: "t".into(),
            ..PatchRequest::default()
        }
    );
    let cleared = json!({"TunnelId": "t", "Name": "", "Description": "", "Metadata": "",
        "PoolingEnabled": false, "TrafficPolicy": ""});
    let cleared = PatchRequest::decode(&cleared).unwrap();
    let empty = Some(String::new());
    assert_eq!(
        cleared,
        PatchRequest {
            tunnel_id: "t".into(),
            name: empty.clone(),
            description: empty.clone(),
            metadata: empty.clone(),
            pooling_enabled: Some(false),
            traffic_policy: empty,
        }
    );
}
