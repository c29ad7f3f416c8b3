use portway_wire::{EndpointUrl, Opts, Scheme, UrlRequest};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::object;

/// Keys of both SDK families, in both spellings where there are two (wire-protocol §4.4).
const KEYS: &[&str] = &[
    "URL",
    "Domain",
    "Hostname",
    "Subdomain",
    "Auth",
    "HostHeaderRewrite",
    "LocalUrlScheme",
    "LocalURLScheme",
    "ProxyProto",
    "Compression",
    "CircuitBreaker",
    "IPRestriction",
    "BasicAuth",
    "OAuth",
    "OIDC",
    "WebhookVerification",
    "MutualTLSCA",
    "RequestHeaders",
    "ResponseHeaders",
    "WebsocketTCPConverter",
    "UserAgentFilter",
    "Policy",
    "TrafficPolicy",
    "Addr",
    "MutualTLSAtAgent",
    "MutualTLSAtEdge",
    "TLSTermination",
];

/// What the edge fills in.
const ASSIGNED: &[&str] = &["URL", "Domain", "Hostname", "Subdomain", "Addr"];

fn urls() -> impl Strategy<Value = EndpointUrl> {
    let scheme = prop::sample::select(&[Scheme::Http, Scheme::Https, Scheme::Tcp, Scheme::Tls][..]);
    let host = "[a-z][a-z0-9]{0,8}(\\.[a-z]{1,5}){0,3}";
    (scheme, host, prop::option::of(1u16..)).prop_map(|(scheme, host, port)| EndpointUrl {
        scheme,
        host,
        port: port.filter(|port| scheme.default_port() != Some(*port)),
    })
}

proptest! {
    #[test]
    fn r70_the_answer_keeps_every_key_in_its_spelling_and_place(given in object(KEYS), url in urls()) {
        let echo = Opts::new(given.clone()).echo(&url);
        let echo = echo.as_map();
        let kept: Vec<&String> = echo.keys().take(given.len()).collect();
        prop_assert_eq!(kept, given.keys().collect::<Vec<_>>());
        for (key, value) in &given {
            let assigned = ASSIGNED.contains(&key.as_str());
            let filled = value.is_null() && !echo[key].is_null();
            prop_assert!(assigned || filled || &echo[key] == value, "{}", key);
        }
        prop_assert!(given.contains_key("URL") || !echo.contains_key("URL"));
        prop_assert!(given.contains_key("Domain") || !echo.contains_key("Domain"));
    }

    #[test]
    fn r70_binding_with_the_answer_asks_for_the_same_name(mut given in object(KEYS), url in urls()) {
        if url.scheme == Scheme::Tcp {
            // No option of tcp, and asked for first.
            given.retain(|key, _| !["Domain", "Hostname", "Subdomain"].contains(&key.as_str()));
        }
        let first = Opts::new(given).echo(&url);
        let (name, is_label) = first.wanted_name().unwrap();
        prop_assert!(!is_label);
        let wanted = UrlRequest::parse(&name).unwrap();
        prop_assert_eq!(wanted.host.as_deref(), Some(url.host.as_str()));
        if let Some(port) = wanted.port {
            prop_assert_eq!(Some(port), url.port);
        }
        prop_assert_eq!(first.echo(&url), first.clone(), "the second answer is the first");
    }

    #[test]
    fn r75_options_of_any_shape_do_no_harm(given in object(KEYS)) {
        let opts = Opts::new(given);
        let _ = (opts.http(), opts.tcp(), opts.tls(), opts.wanted_name());
    }

    #[test]
    fn r71_a_url_comes_back_as_it_was_given(url in urls()) {
        prop_assert_eq!(EndpointUrl::parse(&url.to_string()), Ok(url));
    }

    #[test]
    fn r71_any_text_as_a_url_does_no_harm(text: String) {
        let _ = UrlRequest::parse(&text);
    }
}

fn opts(value: &Value) -> Opts {
    Opts::new(value.as_object().unwrap().clone())
}

#[test]
fn r70_names_are_filled_in_whatever_the_case_of_their_keys() {
    let url = EndpointUrl::parse("https://x.example.com").unwrap();
    let echo = opts(&json!({"url": "https://", "domain": "", "hostname": ""})).echo(&url);
    let echo = echo.as_map();
    assert_eq!(echo["url"], "https://x.example.com");
    assert_eq!(
        (&echo["domain"], &echo["hostname"]),
        (&json!("x.example.com"), &json!("x.example.com"))
    );
    // And where strict agents look for it.
    assert_eq!(echo["Hostname"], "x.example.com");
}

#[test]
fn r72_a_tcp_address_is_the_one_that_was_given() {
    let url = EndpointUrl::parse("tcp://edge.example.com:20001").unwrap();
    let rust = opts(&json!({"Addr": "", "ProxyProto": 0})).echo(&url);
    assert_eq!(rust.as_map()["Addr"], "edge.example.com:20001");
    assert!(!rust.as_map().contains_key("URL"));
    let go = opts(&json!({"URL": "tcp://", "Addr": ""})).echo(&url);
    assert_eq!(go.as_map()["URL"], "tcp://edge.example.com:20001");
    // Nothing asked for: any host, any port.
    for empty in [json!({"Addr": ""}), json!({"URL": "tcp://", "Addr": ""})] {
        let (name, _) = opts(&empty).wanted_name().unwrap();
        let wanted = UrlRequest::parse(&name).unwrap();
        assert_eq!((wanted.host, wanted.port), (None, None), "{empty}");
    }
    let reserved = opts(&json!({"Addr": "edge.example.com:20001"}));
    let wanted = UrlRequest::parse(&reserved.wanted_name().unwrap().0).unwrap();
    assert_eq!(wanted.port, Some(20_001));
}

#[test]
fn r74_a_policy_stays_as_it_came() {
    let url = EndpointUrl::parse("https://x.example.com").unwrap();
    for policy in [
        json!({"TrafficPolicy": r#"{"inbound":[],"outbound":[]}"#}),
        json!({"TrafficPolicy": r#"{"Inbound":[{"Name":"","Expressions":null,"Actions":[{"Type":"deny","Config":null}]}]}"#}),
        json!({"TrafficPolicy": null, "Policy": {"inbound": [{"actions": [{"type": "deny", "config": "e30="}]}]}}),
    ] {
        let echo = opts(&policy).echo(&url);
        let kept: Map<String, Value> = policy.as_object().unwrap().clone();
        for (key, value) in kept {
            assert_eq!(echo.as_map()[&key], value);
        }
    }
}
