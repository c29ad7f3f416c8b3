//! Signatures of webhook providers (traffic-policy §7). The body is part of what is signed, so the
//! edge collects it first.
//!
//! Providers whose signature this table cannot express are refused at the bind.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use portway_wire::opts::WebhookVerification;
use portway_wire::{Code, Refusal, Secret};

const LONGEST_SECRET: usize = 1024;

/// Seconds that a signature stays good, either way: what the provider recommends, else three
/// minutes.
fn tolerance(provider: &str) -> i64 {
    match provider {
        "box" => 600,
        "brex" | "clerk" | "svix" | "frameio" | "mux" | "sendgrid" | "slack" | "stripe"
        | "zoom" => 300,
        _ => 180,
    }
}

/// What a request shows to be verified.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub headers: &'a HeaderMap,
    /// All of it.
    pub body: &'a [u8],
    /// Seconds since 1970.
    pub now: i64,
}

/// One provider and its secret.
#[derive(Debug)]
pub struct Webhook {
    scheme: Scheme,
    secret: Secret,
    tolerance_seconds: i64,
}

#[derive(Clone, Copy, Debug)]
enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Debug)]
enum Text {
    Hex,
    Base64,
}

/// How a provider signs.
#[derive(Clone, Copy, Debug)]
enum Scheme {
    /// `header: <prefix><signature of the body>`, one of several between commas.
    Body(&'static str, &'static str, Hash, Text),
    /// `header: t=TIME,<key>=<hex of "TIME.body">`.
    Stamped(&'static str, &'static str, &'static str),
    /// `header: v0=<hex of "v0:TIME:body">`, the time in a header of its own.
    Versioned {
        header: &'static str,
        time: &'static str,
        version: &'static str,
    },
    /// Base64 of the time, then the body; or the other way about.
    Timed {
        header: &'static str,
        time: &'static str,
        body_first: bool,
    },
    /// `<p>-id`, `<p>-timestamp`, `<p>-signature: v1,<base64 of "id.time.body"> …`.
    Svix(&'static str),
    /// The header is the secret.
    Token(&'static str),
    /// ECDSA over time and body; the secret is the public key.
    SendGrid,
}

fn scheme(provider: &str) -> Option<Scheme> {
    use Hash::{Sha1, Sha256, Sha512};
    use Scheme::{Body, SendGrid, Stamped, Svix, Timed, Token, Versioned};
    use Text::{Base64, Hex};
    Some(match provider {
        "aftership" => Body("aftership-hmac-sha256", "", Sha256, Base64),
        "alchemy" => Body("x-alchemy-signature", "", Sha256, Hex),
        "autodesk" => Body("x-adsk-signature", "sha1hash=", Sha1, Hex),
        "bitbucket" | "jira" => Body("x-hub-signature", "sha256=", Sha256, Hex),
        "bolt" => Body("x-bolt-hmac-sha256", "", Sha256, Base64),
        "box" => Timed {
            header: "box-signature-primary",
            time: "box-delivery-timestamp",
            body_first: true,
        },
        "brex" => Svix("webhook"),
        "buildkite" => Stamped("x-buildkite-signature", "timestamp", "signature"),
        "calendly" => Stamped("calendly-webhook-signature", "t", "v1"),
        "castle" => Body("x-castle-signature", "", Sha256, Base64),
        "chargify" => Body("x-chargify-webhook-signature-hmac-sha-256", "", Sha256, Hex),
        "circleci" => Body("circleci-signature", "v1=", Sha256, Hex),
        "clearbit" => Body("x-request-signature", "sha1=", Sha1, Hex),
        "clerk" | "svix" => Svix("svix"),
        "coinbase" => Body("x-cc-webhook-signature", "", Sha256, Hex),
        "dropbox" => Body("x-dropbox-signature", "", Sha256, Hex),
        "facebook_graph_api" | "facebook_messenger" | "instagram" | "whatsapp" | "github" => {
            Body("x-hub-signature-256", "sha256=", Sha256, Hex)
        }
        "frameio" => Versioned {
            header: "x-frameio-signature",
            time: "x-frameio-request-timestamp",
            version: "v0",
        },
        "gitlab" => Token("x-gitlab-token"),
        "heroku" => Body("heroku-webhook-hmac-sha256", "", Sha256, Base64),
        "hostedhooks" => Stamped("hostedhooks-signature", "t", "v1"),
        "intercom" => Body("x-hub-signature", "sha1=", Sha1, Hex),
        "launch_darkly" => Body("x-ld-signature", "", Sha256, Hex),
        "linear" => Body("linear-signature", "", Sha256, Hex),
        "modern_treasury" => Body("x-signature", "", Sha256, Hex),
        "mongodb" => Body("x-mms-signature", "", Sha1, Base64),
        "mux" => Stamped("mux-signature", "t", "v1"),
        "orb" => Versioned {
            header: "x-orb-signature",
            time: "x-orb-timestamp",
            version: "v1",
        },
        "pagerduty" => Body("x-pagerduty-signature", "v1=", Sha256, Hex),
        "pinwheel" => Versioned {
            header: "x-pinwheel-signature",
            time: "x-timestamp",
            version: "v2",
        },
        "pusher" => Body("x-pusher-signature", "", Sha256, Hex),
        "sendgrid" => SendGrid,
        "sentry" => Body("sentry-hook-signature", "", Sha256, Hex),
        "shopify" => Body("x-shopify-hmac-sha256", "", Sha256, Base64),
        "signal_sciences" | "signalsciences" => Body("x-sigsci-signature", "", Sha256, Hex),
        "slack" => Versioned {
            header: "x-slack-signature",
            time: "x-slack-request-timestamp",
            version: "v0",
        },
        "sonatype" | "sonatype_nexus" => Body("x-nexus-webhook-signature", "", Sha1, Hex),
        "stripe" => Stamped("stripe-signature", "t", "v1"),
        "terraform" => Body("x-tfe-notification-signature", "", Sha512, Hex),
        "tiktok" => Stamped("tiktok-signature", "t", "s"),
        "typeform" => Body("typeform-signature", "sha256=", Sha256, Base64),
        "webex" => Body("x-spark-signature", "", Sha1, Hex),
        "xero" => Body("x-xero-signature", "", Sha256, Base64),
        "zendesk" => Timed {
            header: "x-zendesk-webhook-signature",
            time: "x-zendesk-webhook-signature-timestamp",
            body_first: false,
        },
        "zoom" => Versioned {
            header: "x-zm-signature",
            time: "x-zm-request-timestamp",
            version: "v0",
        },
        _ => return None,
    })
}

// === impl Webhook ===

impl Webhook {
    pub(crate) fn compile(options: &WebhookVerification) -> Result<Self, Refusal> {
        if options.provider.is_empty() {
            return Err(Refusal::of(Code(363)));
        }
        let provider = options.provider.to_ascii_lowercase();
        let scheme = scheme(&provider).ok_or_else(|| {
            Refusal::new(
                Code(364),
                format!(
                    "Webhooks of {:?} cannot be verified by this edge.",
                    options.provider
                ),
            )
        })?;
        let secret = options.secret.expose();
        if options.sealed || secret.is_empty() {
            return Err(Refusal::of(Code(15007)));
        }
        if secret.len() > LONGEST_SECRET {
            return Err(Refusal::of(Code(15001)));
        }
        if matches!(scheme, Scheme::SendGrid) && STANDARD.decode(secret).is_err() {
            return Err(Refusal::of(Code(379)));
        }
        Ok(Self {
            scheme,
            secret: options.secret.clone(),
            tolerance_seconds: tolerance(&provider),
        })
    }

    /// Whether the provider has signed this request.
    pub fn verify(&self, seen: Seen<'_>) -> bool {
        self.verified(seen).unwrap_or(false)
    }

    /// Nothing: a header is missing or no text.
    fn verified(&self, seen: Seen<'_>) -> Option<bool> {
        let key = self.secret.expose().as_bytes();
        let header = |name: &str| seen.headers.get(name)?.to_str().ok();
        let fresh = |time: &str| {
            seconds(time.trim()).is_some_and(|time| {
                seen.now
                    .checked_sub(time)
                    .and_then(i64::checked_abs)
                    .is_some_and(|age| age <= self.tolerance_seconds)
            })
        };
        Some(match self.scheme {
            Scheme::Body(name, prefix, hash, text) => {
                let tag = tag(hash, key, &[seen.body]);
                header(name)?
                    .split(',')
                    .filter_map(|part| part.trim().strip_prefix(prefix))
                    .any(|part| same(&tag, part, text))
            }
            Scheme::Stamped(name, time_key, tag_key) => {
                let pairs = || {
                    header(name)
                        .into_iter()
                        .flat_map(|all| all.split(','))
                        .filter_map(|part| part.trim().split_once('='))
                };
                let time = pairs().find(|(key, _)| *key == time_key)?.1;
                let tag = tag(Hash::Sha256, key, &[time.as_bytes(), b".", seen.body]);
                fresh(time)
                    && pairs().any(|(key, part)| key == tag_key && same(&tag, part, Text::Hex))
            }
            Scheme::Versioned {
                header: name,
                time,
                version,
            } => {
                let time = header(time)?;
                let parts = [version.as_bytes(), b":", time.as_bytes(), b":", seen.body];
                let tag = tag(Hash::Sha256, key, &parts);
                let part = |part: &str| {
                    let part = part
                        .trim()
                        .strip_prefix(version)?
                        .strip_prefix('=')?
                        .to_owned();
                    Some(part)
                };
                fresh(time)
                    && header(name)?
                        .split(',')
                        .filter_map(part)
                        .any(|part| same(&tag, &part, Text::Hex))
            }
            Scheme::Timed {
                header: name,
                time,
                body_first,
            } => {
                let time = header(time)?;
                let parts = if body_first {
                    [seen.body, time.as_bytes()]
                } else {
                    [time.as_bytes(), seen.body]
                };
                let tag = tag(Hash::Sha256, key, &parts);
                fresh(time) && same(&tag, header(name)?, Text::Base64)
            }
            Scheme::Svix(prefix) => {
                let secret = self.secret.expose();
                let key = STANDARD
                    .decode(secret.strip_prefix("whsec_").unwrap_or(secret))
                    .ok()?;
                let id = header(&format!("{prefix}-id"))?;
                let time = header(&format!("{prefix}-timestamp"))?;
                let parts = [id.as_bytes(), b".", time.as_bytes(), b".", seen.body];
                let tag = tag(Hash::Sha256, &key, &parts);
                fresh(time)
                    && header(&format!("{prefix}-signature"))?
                        .split(' ')
                        .filter_map(|part| part.strip_prefix("v1,"))
                        .any(|part| same(&tag, part, Text::Base64))
            }
            Scheme::Token(name) => verify_slices_are_equal(header(name)?.as_bytes(), key).is_ok(),
            Scheme::SendGrid => {
                let time = header("x-twilio-email-event-webhook-timestamp")?;
                let signature = header("x-twilio-email-event-webhook-signature")?;
                let signature = STANDARD.decode(signature).ok()?;
                let public = STANDARD.decode(key).ok()?;
                let signed = [time.as_bytes(), seen.body].concat();
                fresh(time)
                    && UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public)
                        .verify(&signed, &signature)
                        .is_ok()
            }
        })
    }
}

/// Seconds since 1970 of a time as providers write it: seconds, milliseconds, or RFC 3339.
fn seconds(time: &str) -> Option<i64> {
    if let Ok(number) = time.parse::<i64>() {
        return Some(if number > 100_000_000_000 {
            number / 1000
        } else {
            number
        });
    }
    let (date, rest) = time.split_once(['T', 't', ' '])?;
    let at = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(at);
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock.split('.').next()?, ':')?;
    let offset = match zone.as_bytes().first()? {
        sign @ (b'+' | b'-') => {
            let [hours, minutes, _] = numbers(&format!("{}:0", &zone[1..]), ':')?;
            (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
        }
        _ => 0,
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    // Days since 1970 of a date, counted from March so that the leap day comes last.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Three small numbers with this between them.
fn numbers(text: &str, between: char) -> Option<[i64; 3]> {
    let number = |part: &str| part.parse::<u16>().ok().map(i64::from);
    let mut parts = text.split(between).map(number);
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}

fn tag(hash: Hash, key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let algorithm = match hash {
        Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha512 => hmac::HMAC_SHA512,
    };
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    for part in parts {
        context.update(part);
    }
    context.sign()
}

fn same(tag: &hmac::Tag, shown: &str, text: Text) -> bool {
    let bytes = match text {
        Text::Base64 => STANDARD.decode(shown.trim()).ok(),
        Text::Hex => unhex(shown.trim()),
    };
    bytes.is_some_and(|bytes| verify_slices_are_equal(tag.as_ref(), &bytes).is_ok())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn verify(
        provider: &str,
        secret: &str,
        headers: &[(&'static str, String)],
        body: &[u8],
    ) -> bool {
        let webhook = Webhook::compile(&WebhookVerification {
            provider: provider.into(),
            secret: secret.to_owned().into(),
            sealed: false,
        })
        .unwrap();
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()))
            .collect();
        webhook.verify(Seen {
            headers: &headers,
            body,
            now: NOW,
        })
    }

    #[test]
    fn the_example_of_a_well_known_provider() {
        // From the provider's own documentation of its signatures.
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let header = [("x-hub-signature-256", signature.to_owned())];
        let secret = "It's a Secret to Everybody";
        assert!(verify("github", secret, &header, b"Hello, World!"));
        assert!(!verify("github", secret, &header, b"Hello, World?"));
        assert!(!verify("github", "other", &header, b"Hello, World!"));
        assert!(!verify("github", secret, &[], b"Hello, World!"));
    }

    #[test]
    fn stamps_must_be_fresh() {
        let signed = |time: i64| {
            let tag = tag(
                Hash::Sha256,
                b"s",
                &[format!("{time}.").as_bytes(), b"body"],
            );
            [(
                "stripe-signature",
                format!("t={time},v1=00,v1={}", hex::encode(tag.as_ref())),
            )]
        };
        assert!(verify("stripe", "s", &signed(NOW - 200), b"body"));
        assert!(!verify("stripe", "s", &signed(NOW - 400), b"body"));
        let slack = |time: i64| {
            let tag = tag(
                Hash::Sha256,
                b"s",
                &[format!("v0:{time}:").as_bytes(), b"body"],
            );
            [
                (
                    "x-slack-signature",
                    format!("v0={}", hex::encode(tag.as_ref())),
                ),
                ("x-slack-request-timestamp", time.to_string()),
            ]
        };
        assert!(verify("slack", "s", &slack(NOW), b"body"));
        assert!(!verify("slack", "s", &slack(NOW - 400), b"body"));
    }

    #[test]
    fn times_are_read_as_providers_write_them() {
        for (text, read) in [
            ("1700000000", Some(NOW)),
            ("1700000000123", Some(NOW)),
            ("2023-11-14T22:13:20Z", Some(NOW)),
            ("2023-11-14T22:13:20.5Z", Some(NOW)),
            ("2023-11-14T14:13:20-08:00", Some(NOW)),
            ("2023-11-15T03:43:20+05:30", Some(NOW)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800)),
            ("2023-11-14T22:13:20", None),
            ("2023-13-14T22:13:20Z", None),
            ("yesterday", None),
            ("", None),
            ("T-", None),
            ("9223372036854775808", None),
        ] {
            assert_eq!(seconds(text), read, "{text}");
        }
    }

    #[test]
    fn every_stamp_is_checked_for_its_age() {
        let boxed = |time: &str| {
            let tag = tag(Hash::Sha256, b"s", &[b"body", time.as_bytes()]);
            let headers = [
                ("box-signature-primary", STANDARD.encode(tag.as_ref())),
                ("box-delivery-timestamp", time.to_owned()),
            ];
            verify("box", "s", &headers, b"body")
        };
        assert!(boxed("2023-11-14T22:13:20Z") && boxed("2023-11-14T22:04:00Z"));
        assert!(!boxed("2023-11-14T22:03:00Z") && !boxed("no time"));
        let zendesk = |time: &str| {
            let tag = tag(Hash::Sha256, b"s", &[time.as_bytes(), b"body"]);
            let headers = [
                ("x-zendesk-webhook-signature", STANDARD.encode(tag.as_ref())),
                ("x-zendesk-webhook-signature-timestamp", time.to_owned()),
            ];
            verify("zendesk", "s", &headers, b"body")
        };
        assert!(zendesk("2023-11-14T22:13:20Z") && !zendesk("2023-11-14T22:10:00Z"));
        let calendly = |time: i64| {
            let tag = tag(
                Hash::Sha256,
                b"s",
                &[format!("{time}.").as_bytes(), b"body"],
            );
            let header = format!("t={time},v1={}", hex::encode(tag.as_ref()));
            verify(
                "calendly",
                "s",
                &[("calendly-webhook-signature", header)],
                b"body",
            )
        };
        assert!(calendly(NOW - 180) && !calendly(NOW - 181) && !calendly(i64::MIN));
    }

    #[test]
    fn svix_and_tokens() {
        let tag = tag(
            Hash::Sha256,
            b"key!",
            &[format!("id.{NOW}.").as_bytes(), b"body"],
        );
        let headers = [
            ("svix-id", "id".to_owned()),
            ("svix-timestamp", NOW.to_string()),
            (
                "svix-signature",
                format!("v2,x v1,{}", STANDARD.encode(tag.as_ref())),
            ),
        ];
        assert!(verify(
            "svix",
            &format!("whsec_{}", STANDARD.encode("key!")),
            &headers,
            b"body"
        ));
        assert!(!verify(
            "svix",
            &format!("whsec_{}", STANDARD.encode("nokey")),
            &headers,
            b"body"
        ));
        assert!(verify(
            "gitlab",
            "tok",
            &[("x-gitlab-token", "tok".into())],
            b""
        ));
        assert!(!verify(
            "gitlab",
            "tok",
            &[("x-gitlab-token", "toc".into())],
            b""
        ));
    }

    #[test]
    fn what_cannot_be_verified_is_refused() {
        let code = |provider: &str, secret: &str| {
            let options = WebhookVerification {
                provider: provider.into(),
                secret: secret.to_owned().into(),
                sealed: false,
            };
            Webhook::compile(&options).unwrap_err().code.0
        };
        assert_eq!(code("", "s"), 363);
        assert_eq!(code("twilio", "s"), 364);
        assert_eq!(code("github", ""), 15007);
        assert_eq!(code("sendgrid", "?"), 379);
    }
}
