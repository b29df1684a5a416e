//! Keeps fetches out of private networks.
//!
//! A name on the list may still resolve to an address inside (a poisoned resolver, a rebinding name). Addresses are judged
//! where the connection takes them from, in the resolver, so that there is no second look-up that could answer otherwise.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::hosts::ResultHosts;

/// The system's resolver, with private addresses taken out of the answer.
#[derive(Debug, Clone)]
pub(crate) struct GuardedResolver {
    hosts: Arc<ResultHosts>,
}

impl GuardedResolver {
    pub(crate) fn new(hosts: Arc<ResultHosts>) -> Self {
        Self { hosts }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guarded = self.hosts.guards(name.as_str());
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let usable: Vec<SocketAddr> =
                found.into_iter().filter(|address| !guarded || is_public(address.ip())).collect();
            if usable.is_empty() {
                return Err(NoPublicAddress.into());
            }
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}

/// A name on the list resolves only to addresses of private networks.
#[derive(Debug, thiserror::Error)]
#[error("the host resolves to no public address")]
pub(crate) struct NoPublicAddress;

/// Whether an address belongs to the public internet.
///
/// Source: the IANA special-purpose address registries for IPv4 and IPv6. Addresses that carry an IPv4 address inside
/// (mapped, NAT64, 6to4) are judged by it.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let segments = address.segments();
    let inner = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        [0x2001, 0x0db8, ..] | [0x2001, 0, ..] => false,
        // Everything handed out so far lies in 2000::/3; outside are loopback, unique local, link local and multicast.
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_private_and_special_networks_are_not_public() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "::7f00:1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for address in [
            "8.8.8.8",
            "47.101.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.254",
            "2408:4000::1",
            "2606:4700::1111",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_guarded_name_with_only_private_addresses_does_not_resolve() {
        let name = || "localhost".parse::<Name>().unwrap();
        let guarded = GuardedResolver::new(Arc::new(ResultHosts::alibaba()));
        let Err(error) = guarded.resolve(name()).await else { panic!("localhost resolved") };
        assert_eq!(error.to_string(), NoPublicAddress.to_string());
        let named = GuardedResolver::new(Arc::new(ResultHosts::none().allow("localhost").unwrap()));
        assert!(
            named.resolve(name()).await.unwrap().next().is_some_and(|address| address.ip().is_loopback())
        );
    }
}
