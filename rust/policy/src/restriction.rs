//! Allowed and denied addresses (traffic-policy §6.3, restrict-ips).

use std::net::IpAddr;

use ipnet::IpNet;
use portway_wire::opts::IpRestriction;
use portway_wire::{Code, Refusal};

/// Allowed is who is in the first list and not in the second.
#[derive(Debug)]
pub(crate) struct Restriction {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
}

// === impl Restriction ===

impl Restriction {
    pub(crate) fn compile(options: &IpRestriction) -> Result<Self, Refusal> {
        if options.allow_cidrs.is_empty() && !options.deny_cidrs.is_empty() {
            return Err(Refusal::new(
                Code(393),
                "Denied addresses without allowed ones would shut everybody out: allow 0.0.0.0/0 and ::/0 too.",
            ));
        }
        let nets = |texts: &[String]| {
            texts
                .iter()
                .map(|text| net(text))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            allow: nets(&options.allow_cidrs)?,
            deny: nets(&options.deny_cidrs)?,
        })
    }

    pub(crate) fn admits(&self, visitor: IpAddr) -> bool {
        let visitor = visitor.to_canonical();
        let holds = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&visitor));
        holds(&self.allow) && !holds(&self.deny)
    }
}

fn net(text: &str) -> Result<IpNet, Refusal> {
    let text = text.trim();
    let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(single).ok_or_else(|| {
        Refusal::new(
            Code(362),
            format!("{text:?} is neither an address nor a range such as 192.0.2.0/24."),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restriction(allow: &[&str], deny: &[&str]) -> Result<Restriction, Refusal> {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Restriction::compile(&IpRestriction {
            allow_cidrs: own(allow),
            deny_cidrs: own(deny),
        })
    }

    #[test]
    fn deny_beats_allow_and_nothing_allowed_means_nobody() {
        let some = restriction(&["192.0.2.0/24", "2001:db8::/32"], &["192.0.2.9"]).unwrap();
        for (address, admitted) in [
            ("192.0.2.7", true),
            ("192.0.2.9", false),
            ("::ffff:192.0.2.7", true),
            ("2001:db8::1", true),
            ("198.51.100.1", false),
        ] {
            assert_eq!(some.admits(address.parse().unwrap()), admitted, "{address}");
        }
        assert_eq!(restriction(&[], &["::/0"]).unwrap_err().code, Code(393));
        assert_eq!(restriction(&["nonsense"], &[]).unwrap_err().code, Code(362));
    }
}
