//! Which links may be followed, and how.
//!
//! The provider's answer names the host that our process then calls, so the host is held against a list before anything
//! is sent: Alibaba's object hosts by their labels, and what the settings add. Pure; names are resolved, and the addresses
//! judged, in [`crate::guard`].

use dashscope::ImageUrl;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// The list of hosts from which results are fetched.
///
/// ```
/// use archive::ResultHosts;
/// use dashscope::ImageUrl;
///
/// let hosts = ResultHosts::alibaba().allow("127.0.0.1:9100")?;
/// let link = |text: &str| ImageUrl::new(text.to_owned()).unwrap();
/// assert!(hosts.admit(&link("https://dashscope-result-bj.oss-cn-beijing.aliyuncs.com/1.png?Expires=1")).is_ok());
/// assert!(hosts.admit(&link("http://127.0.0.1:9100/1.png")).is_ok());
/// assert!(hosts.admit(&link("https://example.com/1.png")).is_err());
/// # Ok::<(), archive::HostRuleError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultHosts {
    alibaba: bool,
    rules: Vec<HostRule>,
    private_addresses: bool,
}

/// One host that the settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostRule {
    /// As a parsed link gives it: lower case, IPv6 in brackets.
    host: String,
    /// `None`: any port on loopback, elsewhere the scheme's own.
    port: Option<u16>,
    http: bool,
    https: bool,
    loopback: bool,
}

impl ResultHosts {
    /// Alibaba's object hosts, over https: first label `dashscope-…`, second `oss-…`, then `aliyuncs.com`.
    ///
    /// Source: Model Studio's documented list `dashscope-result-<site>.oss-cn-<region>.aliyuncs.com`, and hosts seen
    /// beyond it, which vary in both labels (`dashscope-7c2c.oss-accelerate…`, `dashscope-result-global.oss-accelerate…`).
    #[must_use]
    pub fn alibaba() -> Self {
        Self { alibaba: true, ..Self::default() }
    }

    /// No host at all; for [`ResultHosts::allow`] to add to.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a host: `host`, `host:port`, or either behind `http://` or `https://`.
    ///
    /// Without a scheme a host on loopback is allowed over both, any other over https only; without a port a host on
    /// loopback is allowed at every port, any other at the scheme's own. Whoever names a host here vouches for it: its
    /// addresses are not judged.
    ///
    /// # Errors
    ///
    /// [`HostRuleError`] when the text is none of these forms.
    pub fn allow(mut self, entry: &str) -> Result<Self, HostRuleError> {
        self.rules.push(HostRule::parse(entry).ok_or_else(|| HostRuleError { entry: entry.to_owned() })?);
        Ok(self)
    }

    /// Lets Alibaba's hosts resolve to private addresses, for networks whose resolver answers so (a VPC endpoint, a
    /// transparent proxy). Off by default.
    #[must_use]
    pub fn with_private_addresses(mut self, allowed: bool) -> Self {
        self.private_addresses = allowed;
        self
    }

    /// Holds a link against the list and gives the URL to fetch: the same bytes, but https where Alibaba's host was named
    /// with plain http.
    ///
    /// # Errors
    ///
    /// [`LinkRefusal`]; nothing of it repeats the link.
    pub fn admit(&self, link: &ImageUrl) -> Result<Url, LinkRefusal> {
        let text = link.expose();
        if let Some(rule) = self.rules.iter().find(|rule| rule.host == link.host() && rule.fits_port(link)) {
            let scheme_fits = if link.is_https() { rule.https } else { rule.http };
            return if scheme_fits { exact(text.to_owned()) } else { Err(LinkRefusal::PlainHttp) };
        }
        if !self.alibaba || !is_alibaba_object_host(link.host()) {
            return Err(LinkRefusal::Host);
        }
        if link.port().is_some() {
            return Err(LinkRefusal::Port);
        }
        match text.split_at_checked("http://".len()) {
            // Written out by hand: through a URL builder the query might not stay what was signed.
            Some((scheme, rest)) if !link.is_https() && scheme.eq_ignore_ascii_case("http://") => {
                exact(format!("https://{rest}"))
            }
            _ => exact(text.to_owned()),
        }
    }

    /// Whether addresses of this name are to be judged before they are called.
    pub(crate) fn guards(&self, name: &str) -> bool {
        !self.private_addresses && !self.rules.iter().any(|rule| rule.host == name)
    }
}

impl HostRule {
    fn parse(entry: &str) -> Option<Self> {
        let (scheme, authority) = match entry.split_once("://") {
            Some((scheme @ ("http" | "https"), authority)) => (Some(scheme), authority),
            Some(_) => return None,
            None => (None, entry),
        };
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', '\\', '*', ' ']) {
            return None;
        }
        // With a scheme of no default port, so that a port that is written is a port that is kept.
        let with_port = Url::parse(&format!("redis://{authority}/")).ok()?;
        let host = Url::parse(&format!("https://{authority}/")).ok()?.host()?.to_owned();
        let loopback = match &host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        Some(Self {
            host: host.to_string(),
            port: with_port.port(),
            http: scheme == Some("http") || scheme.is_none() && loopback,
            https: scheme != Some("http"),
            loopback,
        })
    }

    fn fits_port(&self, link: &ImageUrl) -> bool {
        let own = if link.is_https() { 443 } else { 80 };
        match self.port {
            Some(port) => link.port().unwrap_or(own) == port,
            None => self.loopback || link.port().is_none(),
        }
    }
}

/// By label, from both ends: neither `dashscope-x.oss-y.aliyuncs.com.evil.example` nor a deeper name passes.
fn is_alibaba_object_host(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    let long = |label: &str, prefix: &str| label.len() > prefix.len() && label.starts_with(prefix);
    matches!(labels[..], [bucket, region, "aliyuncs", "com"] if long(bucket, "dashscope-") && long(region, "oss-"))
}

/// Parses a link and makes sure that what will be sent is what was signed.
fn exact(text: String) -> Result<Url, LinkRefusal> {
    let url = Url::parse(&text).map_err(|_| LinkRefusal::Unsendable)?;
    let written = text.split_once("://").map_or("", |(_, rest)| rest);
    let written = written.find(['/', '?', '#']).map_or("/", |at| &written[at..]);
    let written = written.split_once('#').map_or(written, |(sent, _)| sent);
    let sent = &url[url::Position::BeforePath..url::Position::AfterQuery];
    // The parser writes `'` in a query as `%27`, and a bare `?` gains its slash: the same text to every reader. Anything
    // else, a dissolved `..` for one, would be another request than the one that was signed.
    let same = sent == written
        || sent.strip_prefix('/') == Some(written)
        || percent_decode_str(sent).eq(percent_decode_str(written));
    if same { Ok(url) } else { Err(LinkRefusal::Unsendable) }
}

/// Why a link is not followed. No variant repeats the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkRefusal {
    /// The host is not on the list.
    #[error("the host is not among the allowed ones")]
    Host,
    /// The host is allowed over https only.
    #[error("the host is allowed over https only")]
    PlainHttp,
    /// The link names a port that no object host has.
    #[error("the link names an unexpected port")]
    Port,
    /// The host resolves only to addresses of private networks.
    #[error("the host resolves to no public address")]
    PrivateAddress,
    /// The link cannot be sent as it was signed.
    #[error("the link cannot be sent byte for byte as it was signed")]
    Unsendable,
}

/// A text in the settings that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` is not a host: write `host`, `host:port` or `http://host:port`")]
pub struct HostRuleError {
    /// The text.
    pub entry: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(text: &str) -> ImageUrl {
        ImageUrl::new(text.to_owned()).unwrap()
    }

    #[test]
    fn the_default_list_takes_alibabas_object_hosts_and_no_others() {
        let hosts = ResultHosts::alibaba();
        for host in [
            "dashscope-result-bj.oss-cn-beijing.aliyuncs.com",
            "dashscope-result-wlcb-acdr-1.oss-cn-wulanchabu-acdr-1.aliyuncs.com",
            "dashscope-result.oss-cn-shanghai.aliyuncs.com",
            "dashscope-7c2c.oss-accelerate.aliyuncs.com",
            "DASHSCOPE-A717.OSS-Accelerate.aliyuncs.com",
            "dashscope-result-sgp.oss-ap-southeast-1.aliyuncs.com:443",
        ] {
            let url = hosts.admit(&link(&format!("https://{host}/1d/a.png?Expires=1&Signature=a%2Bb")));
            assert_eq!(url.map(|url| url.scheme().to_owned()), Ok("https".to_owned()), "{host}");
        }
        for host in [
            "example.com",
            "aliyuncs.com",
            "oss-cn-beijing.aliyuncs.com",
            "mybucket.oss-cn-beijing.aliyuncs.com",
            "dashscope-.oss-cn-beijing.aliyuncs.com",
            "dashscope-x.oss-.aliyuncs.com",
            "dashscope.oss-cn-beijing.aliyuncs.com",
            "dashscope-x.ecs-cn-beijing.aliyuncs.com",
            "dashscope-x.oss-cn-beijing.aliyuncs.com.evil.example",
            "dashscope-x.oss-cn-beijing.aliyuncs.com.",
            "evil.dashscope-x.oss-cn-beijing.aliyuncs.com",
            "dashscope-x.oss-cn-beijing.evilaliyuncs.com",
            "dashscope-x.oss-cn-beijing.aliyuncs.com.cn",
            "169.254.169.254",
            "100.100.100.200",
            "127.0.0.1",
            "[::1]",
            "localhost",
            "2130706433",
        ] {
            assert_eq!(
                hosts.admit(&link(&format!("https://{host}/1.png"))),
                Err(LinkRefusal::Host),
                "{host}"
            );
        }
        let odd_port = link("https://dashscope-x.oss-cn-beijing.aliyuncs.com:8443/1.png");
        assert_eq!(hosts.admit(&odd_port), Err(LinkRefusal::Port));
    }

    #[test]
    fn plain_http_to_alibaba_becomes_https_with_the_same_bytes_after_it() {
        let hosts = ResultHosts::alibaba();
        let tail = "dashscope-x.oss-cn-beijing.aliyuncs.com/1d/a%2fb.png?Expires=1&Signature=a%2Bb%2f=+~*&x";
        for scheme in ["http", "HTTP", "https"] {
            let url = hosts.admit(&link(&format!("{scheme}://{tail}"))).unwrap();
            assert_eq!(url.as_str(), format!("https://{tail}"));
        }
    }

    #[test]
    fn an_added_host_is_allowed_as_it_was_written_and_no_further() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                "127.0.0.1",
                &[
                    "http://127.0.0.1/x",
                    "http://127.0.0.1:9100/x",
                    "https://127.0.0.1:1/x",
                    "http://2130706433/x",
                ],
                &["http://127.0.0.2/x", "http://localhost/x", "http://[::1]/x"],
            ),
            (
                "127.0.0.1:9100",
                &["http://127.0.0.1:9100/x"],
                &["http://127.0.0.1:9101/x", "http://127.0.0.1/x"],
            ),
            ("[::1]:9100", &["http://[::1]:9100/x"], &["http://[::1]/x", "http://127.0.0.1:9100/x"]),
            ("localhost", &["http://localhost:5/x"], &["http://localhost.example/x"]),
            (
                "images.example",
                &["https://images.example/x"],
                &["http://images.example/x", "https://images.example:8443/x"],
            ),
            ("images.example:8443", &["https://images.example:8443/x"], &["https://images.example/x"]),
            ("http://sim:9100", &["http://sim:9100/x"], &["https://sim:9100/x", "http://sim/x"]),
            ("http://sim:80", &["http://sim/x"], &["http://sim:8080/x"]),
            ("https://Mirror.Example", &["https://mirror.example/x"], &["http://mirror.example/x"]),
        ];
        for (entry, taken, refused) in cases {
            let hosts = ResultHosts::none().allow(entry).unwrap();
            for text in *taken {
                assert!(hosts.admit(&link(text)).is_ok(), "{entry} takes {text}");
            }
            for text in *refused {
                assert!(hosts.admit(&link(text)).is_err(), "{entry} refuses {text}");
            }
        }
    }

    #[test]
    fn a_text_that_names_no_host_is_refused() {
        for entry in
            ["", "http://", "ftp://host", "host/path", "host?x", "user@host", "host:port", "*.example", "a b"]
        {
            let error = ResultHosts::none().allow(entry).unwrap_err();
            assert_eq!(error.entry, entry);
        }
    }

    #[test]
    fn a_link_that_would_be_sent_otherwise_than_signed_is_refused() {
        let hosts = ResultHosts::none().allow("127.0.0.1").unwrap();
        for text in
            ["http://127.0.0.1/a/../b.png", "http://127.0.0.1/a/./b.png?x=1", "http://127.0.0.1\\@evil/x"]
        {
            assert_eq!(hosts.admit(&link(text)), Err(LinkRefusal::Unsendable), "{text}");
        }
        for (text, sent) in [
            ("http://127.0.0.1/a%2Fb%2e.png?s=%2B%2f+/=&&é", "/a%2Fb%2e.png?s=%2B%2f+/=&&%C3%A9"),
            ("http://127.0.0.1?x=1#frag", "/?x=1"),
            ("http://127.0.0.1", "/"),
            ("http://127.0.0.1/?q='a'", "/?q=%27a%27"),
        ] {
            let url = hosts.admit(&link(text)).unwrap();
            assert_eq!(&url[url::Position::BeforePath..url::Position::AfterQuery], sent, "{text}");
        }
    }

    #[test]
    fn only_named_hosts_escape_the_guard_of_addresses() {
        let hosts = ResultHosts::alibaba().allow("sim:9100").unwrap();
        assert!(hosts.guards("dashscope-x.oss-cn-beijing.aliyuncs.com"));
        assert!(!hosts.guards("sim"));
        assert!(!hosts.with_private_addresses(true).guards("dashscope-x.oss-cn-beijing.aliyuncs.com"));
    }
}
