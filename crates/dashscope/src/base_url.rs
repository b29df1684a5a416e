//! Where the API is.

use std::{fmt, str::FromStr};

use url::{Host, Url};

use crate::WorkspaceId;

/// The shared host of the Singapore region.
///
/// Source: the API page. Wan2.7 images are offered in Singapore and Beijing only.
pub const SINGAPORE: &str = "https://dashscope-intl.aliyuncs.com/api/v1";

/// The shared host of the Beijing region.
///
/// Source: the API page.
pub const BEIJING: &str = "https://dashscope.aliyuncs.com/api/v1";

/// The base of every path of the API, without a slash at its end: an absolute `http` or `https` URL.
///
/// ```
/// use dashscope::BaseUrl;
///
/// let base: BaseUrl = "https://dashscope-intl.aliyuncs.com/api/v1/".parse()?;
/// assert_eq!(base.as_str(), dashscope::base_url::SINGAPORE);
/// # Ok::<(), dashscope::base_url::BaseUrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// The dedicated host of a workspace in a region such as `ap-southeast-1` or `cn-beijing`.
    ///
    /// # Errors
    ///
    /// `region` is not the name of a region: letters, digits and `-`. The id of a workspace may be one that no host name can
    /// have, with a `_` in it.
    pub fn of_workspace(workspace: &WorkspaceId, region: &str) -> Result<Self, BaseUrlError> {
        let label =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !label(region) || !label(workspace.as_str()) {
            return Err(BaseUrlError::NoHost);
        }
        format!("https://{workspace}.{region}.maas.aliyuncs.com/api/v1").parse()
    }

    /// The URL as text, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Whether calls are encrypted. Without it the key travels in the clear, which is fine on loopback only.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether the host is this machine itself.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// The region that the host stands in, as the provider names it, where it is one of the provider's hosts.
    ///
    /// ```
    /// let base: dashscope::BaseUrl = dashscope::base_url::BEIJING.parse()?;
    /// assert_eq!(base.region(), Some("cn-beijing"));
    /// # Ok::<(), dashscope::base_url::BaseUrlError>(())
    /// ```
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        let host = self.host();
        if let Some((_, region)) = SHARED_HOSTS.iter().find(|(shared, _)| *shared == host) {
            return Some(region);
        }
        let (_workspace, region) = host.strip_suffix(".maas.aliyuncs.com")?.split_once('.')?;
        (!region.is_empty() && !region.contains('.')).then_some(region)
    }

    /// The host, in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

/// The regions of the shared hosts. Those of workspaces have theirs in the name.
///
/// Source: Model Studio docs, "Base URLs" of each region.
const SHARED_HOSTS: [(&str, &str); 4] = [
    ("dashscope-intl.aliyuncs.com", "ap-southeast-1"),
    ("dashscope.aliyuncs.com", "cn-beijing"),
    ("dashscope-us.aliyuncs.com", "us-east-1"),
    ("cn-hongkong.dashscope.aliyuncs.com", "cn-hongkong"),
];

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text.trim()).map_err(|source| BaseUrlError::Unreadable { source })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BaseUrlError::NotHttp);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(BaseUrlError::NoHost);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BaseUrlError::UserInfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BaseUrlError::Query);
        }
        if url.path().contains("compatible-mode") {
            return Err(BaseUrlError::CompatibleMode);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a text is not a base URL. A secret in it is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BaseUrlError {
    /// It is not an absolute URL.
    #[error("the base URL is not an absolute URL")]
    Unreadable {
        /// What the parser says.
        source: url::ParseError,
    },
    /// Its scheme is neither `http` nor `https`.
    #[error("the base URL is neither http nor https")]
    NotHttp,
    /// It has no host, or one that cannot be made from the given parts.
    #[error("the base URL has no usable host")]
    NoHost,
    /// It carries a user name or password.
    #[error("the base URL carries a user name or password; the API key is given on its own")]
    UserInfo,
    /// It has a query or a fragment.
    #[error("the base URL has a query or a fragment")]
    Query,
    /// It is the base of the OpenAI-like surface, which does not know these models.
    #[error("the base URL is that of the compatible mode; images are made below `/api/v1`")]
    CompatibleMode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_providers_hosts_tell_their_region_and_others_none() {
        let workspace = WorkspaceId::new("ws-1".to_owned()).unwrap();
        let dedicated = BaseUrl::of_workspace(&workspace, "ap-southeast-1").unwrap();
        assert_eq!(dedicated.region(), Some("ap-southeast-1"));
        assert_eq!(SINGAPORE.parse::<BaseUrl>().unwrap().region(), Some("ap-southeast-1"));
        for other in ["http://127.0.0.1:8080", "https://maas.aliyuncs.com", "https://a.b.c.maas.aliyuncs.com"]
        {
            assert_eq!(other.parse::<BaseUrl>().unwrap().region(), None, "{other}");
        }
    }

    #[test]
    fn a_base_is_any_http_url_with_or_without_a_slash_at_its_end() {
        for (text, base) in [
            (SINGAPORE, SINGAPORE),
            ("https://dashscope.aliyuncs.com/api/v1//", BEIJING),
            (" http://127.0.0.1:8080 ", "http://127.0.0.1:8080"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("HTTP://Sim.Example/proxy/api/v1", "http://sim.example/proxy/api/v1"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().to_string(), base);
        }
    }

    #[test]
    fn other_urls_are_refused_by_what_is_wrong_with_them() {
        for (text, error) in [
            ("", BaseUrlError::Unreadable { source: url::ParseError::RelativeUrlWithoutBase }),
            (
                "dashscope.aliyuncs.com/api/v1",
                BaseUrlError::Unreadable { source: url::ParseError::RelativeUrlWithoutBase },
            ),
            ("ftp://h/", BaseUrlError::NotHttp),
            ("https://key@h/", BaseUrlError::UserInfo),
            ("https://h/?key=x", BaseUrlError::Query),
            ("https://dashscope.aliyuncs.com/compatible-mode/v1", BaseUrlError::CompatibleMode),
        ] {
            assert_eq!(text.parse::<BaseUrl>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_workspace_has_a_host_of_its_own() {
        let workspace: WorkspaceId = "llm-abc".parse().unwrap();
        let base = BaseUrl::of_workspace(&workspace, "ap-southeast-1").unwrap();
        assert_eq!(base.as_str(), "https://llm-abc.ap-southeast-1.maas.aliyuncs.com/api/v1");
        assert_eq!(BaseUrl::of_workspace(&workspace, "evil.example/"), Err(BaseUrlError::NoHost));
        assert_eq!(BaseUrl::of_workspace(&"a_b".parse().unwrap(), "cn-beijing"), Err(BaseUrlError::NoHost));
    }

    #[test]
    fn loopback_is_this_machine_only() {
        let loopback = |text: &str| text.parse::<BaseUrl>().unwrap().is_loopback();
        assert!(
            ["http://127.0.0.1/", "http://127.9.9.9:1/", "http://[::1]/", "http://localhost:80/"]
                .map(loopback)
                == [true; 4]
        );
        assert!(
            ["http://10.0.0.1/", SINGAPORE, "http://localhost.example/", "http://127.0.0.1.example/"]
                .map(loopback)
                == [false; 4]
        );
    }
}
