//! `[delivery]` and `[[webhooks]]`: who is told when a batch has ended, and how often that is tried.

use std::collections::BTreeSet;

use job::WebhookName;
use url::Url;
use worker::outbox::{EventKind, OutboxConfig, SecretFault, Webhook, WebhookSecret};

use super::document::{Table, Value};
use super::layers::{Environment, Layers, Scope, Section as _, Variables, problem_at, section};
use super::problem::{Place, Problem};
use super::secret::{SecretError, SecretSource};
use super::value::{Rate, Setting, Span, Texts, Wrong, is_loopback, quoted};

section! {
    /// Telling webhooks that a batch has ended. A receiver that does not take an event is tried again, with waits that grow.
    DeliverySection {
        /// How long a receiver may take to answer.
        timeout: Span<100> = Span(OutboxConfig::default().timeout);
        /// The first wait before another try; later ones grow by `factor` up to `cap`. The wait for the bucket, where it does not take
        /// a batch's manifest, is the same.
        first: Span<10> = Span(OutboxConfig::default().retry.first);
        /// What each wait is multiplied by.
        factor: Rate = Rate(OutboxConfig::default().retry.factor);
        /// The longest wait between two tries.
        cap: Span<10> = Span(OutboxConfig::default().retry.cap);
        /// How long after its first try an event is given up.
        give_up_after: Span<0> = Span(OutboxConfig::default().give_up_after);
    }
}

section! {
    /// Who is told when a batch has ended, by a POST that is signed as standardwebhooks.com says. Each has a table of its own. Every worker
    /// must have the same: it reads them when it begins, and again at SIGHUP.
    WebhookRow {
        /// Its name in `batch show`, `status` and logs.
        name: Option<Name> = None, example "shop";
        /// Where events are sent to.
        url: Option<Address> = None, example "https://shop.example/hooks/imagemill";
        /// Where its secret stands: base64 of 24 to 64 bytes, with or without `whsec_`, as `openssl rand -base64 32` makes it.
        secret: Option<SecretSource> = None, example "{ env = \"IMAGEMILL_WEBHOOK_SECRET\" }";
        /// What it is told of.
        events: Events = Events(vec![EventKind::BatchEnded]);
        /// Whether `url` may be plain http on another host than this one. Events then travel in the clear.
        allow_http: bool = false;
    }
}

/// Why a webhook cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    /// Its secret cannot be had.
    #[error("the secret of webhook `{name}` cannot be read")]
    Unreadable {
        /// The webhook.
        name: WebhookName,
        /// Why.
        source: SecretError,
    },
    /// Its secret is none.
    #[error("the secret of webhook `{name}` cannot be used")]
    Refused {
        /// The webhook.
        name: WebhookName,
        /// Why.
        source: SecretFault,
    },
}

impl DeliverySection {
    /// For the worker.
    pub(crate) fn config(&self) -> OutboxConfig {
        OutboxConfig {
            timeout: self.timeout.value.0,
            retry: job::Curve {
                first: self.first.value.0,
                factor: self.factor.value.0,
                cap: self.cap.value.0,
            },
            give_up_after: self.give_up_after.value.0,
            ..OutboxConfig::default()
        }
    }
}

impl WebhookRow {
    /// One with nothing in it: what the example file shows.
    pub(crate) fn unset() -> Self {
        let (document, flags, environment) = Default::default();
        let layers = Layers { flags: &flags, environment: &environment, document: &document };
        Self::resolve(&mut Scope::new(&layers, "webhooks", None, Variables::Off, &mut Vec::new()))
    }

    /// Its name. A row without one was refused.
    pub(crate) fn name(&self) -> Option<&WebhookName> {
        self.name.value.as_ref().map(|name| &name.0)
    }

    /// Its address, as far as it may be shown.
    pub(crate) fn shown_address(&self) -> String {
        self.url.value.as_ref().map(Address::masked).unwrap_or_default()
    }

    /// For the worker.
    ///
    /// # Errors
    ///
    /// Its secret cannot be had or used.
    pub(crate) fn config(&self, environment: &Environment) -> Result<Option<Webhook>, WebhookError> {
        let (Some(name), Some(url), Some(secret)) =
            (self.name().cloned(), &self.url.value, &self.secret.value)
        else {
            return Ok(None);
        };
        let text = match secret.read(environment) {
            Ok(text) => text,
            Err(source) => return Err(WebhookError::Unreadable { name, source }),
        };
        match WebhookSecret::parse(&text) {
            Ok(secret) => {
                let events = self.events.value.0.clone();
                Ok(Some(Webhook { name, url: url.0.to_string(), secret, events }))
            }
            Err(source) => Err(WebhookError::Refused { name, source }),
        }
    }
}

/// Reads all webhooks.
pub(crate) fn resolve(layers: &Layers<'_>, problems: &mut Vec<Problem>) -> Vec<WebhookRow> {
    let Some(node) = layers.document.root.get("webhooks") else { return Vec::new() };
    let Value::List(items) = &node.value else {
        let what = format!("`webhooks` is {}, but each webhook is a table `[[webhooks]]`", node.value.kind());
        problems.push(problem_at(layers.document, node.at, what));
        return Vec::new();
    };
    let (mut rows, mut names) = (Vec::with_capacity(items.len()), BTreeSet::new());
    for (index, item) in items.iter().enumerate() {
        let path = format!("webhooks[{index}]");
        let Value::Table(table) = &item.value else {
            let what = format!("`{path}` is {}, but it must be a table", item.value.kind());
            problems.push(problem_at(layers.document, item.at, what));
            continue;
        };
        let row =
            WebhookRow::resolve(&mut Scope::new(layers, path.clone(), Some(table), Variables::Off, problems));
        for missing in ["name", "url", "secret"].into_iter().filter(|name| table.get(name).is_none()) {
            let what = format!("`{path}.{missing}` is missing");
            problems.push(problem_at(layers.document, item.at, what));
        }
        problems.extend(sent_in_the_clear(layers, table, &row, &path));
        if let Some(name) = row.name()
            && !names.insert(name.clone())
        {
            let what = format!("a second webhook is called `{name}`");
            problems.push(problem_at(layers.document, item.at, what));
        }
        rows.push(row);
    }
    rows
}

/// What a batch cost is nobody's business on the way, unless somebody said that it may be.
fn sent_in_the_clear(layers: &Layers<'_>, table: &Table, row: &WebhookRow, path: &str) -> Option<Problem> {
    let address = row.url.value.as_ref()?;
    if address.0.scheme() == "https" || is_loopback(&address.0) || row.allow_http.value {
        return None;
    }
    let at = table.get("url").map(|node| node.at).unwrap_or_default();
    Some(Problem {
        place: Place::File { file: layers.document.file.clone(), at },
        what: format!(
            "`{path}.url` {} is plain http: events would travel in the clear",
            quoted(&address.masked())
        ),
        hint: Some("write https, or add `allow_http = true` to the webhook".to_owned()),
    })
}

/// A webhook's name.
#[derive(Debug, Clone)]
pub(crate) struct Name(WebhookName);

impl Setting for Name {
    const WANTED: &'static str = "a name";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let refuse = |error: job::InvalidName| {
            Wrong::new(format_args!("`{}`", error.value), format_args!("it must be {}", error.rule))
        };
        WebhookName::parse(text).map(Self).map_err(refuse)
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.0.as_str()))
    }
}

/// Where events are sent to. Many receivers take a token in it, also in its path, so that no more than its host is ever shown.
#[derive(Clone)]
pub(crate) struct Address(Url);

impl Address {
    /// Scheme, host and port, and that there is more.
    fn masked(&self) -> String {
        let more = if self.0.path().len() > 1 || self.0.query().is_some() { "…" } else { "" };
        format!("{}/{more}", self.0.origin().ascii_serialization())
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Setting for Address {
    const WANTED: &'static str = "an address such as \"https://shop.example/hooks/imagemill\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let rule = "it must look like `https://host/path`";
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "https" | "http") && url.has_host() => Ok(Self(url)),
            Ok(url) if url.has_host() => Err(Wrong::new(format_args!("a `{}` address", url.scheme()), rule)),
            // It may hold a token in an odd place: nothing of it is repeated.
            _ => Err(Wrong::new("not an address", rule)),
        }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.masked()))
    }
}

/// What a webhook is told of.
#[derive(Debug, Clone)]
pub(crate) struct Events(Vec<EventKind>);

/// Every event that a webhook can ask for.
const EVENTS: [EventKind; 1] = [EventKind::BatchEnded];

impl Setting for Events {
    const WANTED: &'static str = "a list of events";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Self::of(Texts::from_text(text)?)
    }

    fn from_value(value: &Value) -> Result<Self, Wrong> {
        Self::of(Texts::from_value(value)?)
    }

    fn show(&self) -> Option<String> {
        Texts(self.0.iter().map(|event| event.as_str().to_owned()).collect()).show()
    }
}

impl Events {
    fn of(texts: Texts) -> Result<Self, Wrong> {
        let known = EVENTS.map(EventKind::as_str);
        if texts.0.is_empty() {
            return Err(Wrong::new(
                "an empty list",
                format_args!("it must name an event: {}", known.join(", ")),
            ));
        }
        let event = |text: &String| {
            let found = EVENTS.into_iter().find(|event| event.as_str() == text);
            found.ok_or_else(|| super::value::no_such_choice(text, &known))
        };
        texts.0.iter().map(event).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::settings::{Settings, Sources, effective, effective_json};

    const ROW: &str =
        "[[webhooks]]\nname = 'shop'\nurl = 'https://h/s3cret?token=s3cret'\nsecret = { env = 'HOOK' }\n";

    fn problems(text: &str) -> String {
        let problems = Settings::read(text, Path::new("imagemill.toml"), &Sources::default()).unwrap_err();
        problems.iter().map(|problem| format!("{problem}\n")).collect()
    }

    fn settings(text: &str, secret: &str) -> Settings {
        let environment = [("HOOK".to_owned(), secret.to_owned())].into();
        let sources = Sources { environment, ..Sources::default() };
        Settings::read(text, Path::new("imagemill.toml"), &sources).unwrap()
    }

    #[test]
    fn each_kind_of_wrong_webhook_is_said_with_its_place() {
        let all = [
            "webhooks = 5".to_owned(),
            "[[webhooks]]".to_owned(),
            format!("{ROW}{ROW}"),
            ROW.replace("https://h/s3cret?token=s3cret", "http://example.com/s3cret?token=s3cret"),
            ROW.replace("https://h/s3cret?token=s3cret", "s3cret"),
            ROW.replace("{ env = 'HOOK' }", "'s3cret'"),
            format!("{ROW}events = ['batch.endet']"),
            format!("{ROW}events = []"),
            ROW.replace("'shop'", "'a shop'"),
        ];
        let all: String = all.iter().map(|text| problems(text)).collect();
        assert!(!all.contains("s3cret"), "{all}");
        insta::assert_snapshot!(all, @r#"
        imagemill.toml:1:12: `webhooks` is a number, but each webhook is a table `[[webhooks]]`
        imagemill.toml:1:1: `webhooks[0].name` is missing
        imagemill.toml:1:1: `webhooks[0].url` is missing
        imagemill.toml:1:1: `webhooks[0].secret` is missing
        imagemill.toml:5:1: a second webhook is called `shop`
        imagemill.toml:3:7: `webhooks[0].url` "http://example.com/…" is plain http: events would travel in the clear (write https, or add `allow_http = true` to the webhook)
        imagemill.toml:3:7: `webhooks[0].url` is not an address, but it must look like `https://host/path`
        imagemill.toml:4:10: `webhooks[0].secret` holds the secret itself, and must name where it stands (write `{ env = "NAME" }` or `{ file = "path" }`)
        imagemill.toml:5:10: `webhooks[0].events` is `batch.endet`, but it must be one of `batch.ended` (did you mean `batch.ended`?)
        imagemill.toml:5:10: `webhooks[0].events` is an empty list, but it must name an event: batch.ended
        imagemill.toml:2:8: `webhooks[0].name` is `a shop`, but it must be 1 to 32 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, without `..`
        "#);
    }

    #[test]
    fn plain_http_is_for_this_machine_or_for_those_who_say_so() {
        for address in ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]:8080/x", "https://h/"] {
            settings(&ROW.replace("https://h/s3cret?token=s3cret", address), "");
        }
        settings(&format!("{}allow_http = true", ROW.replace("https", "http")), "");
    }

    #[test]
    fn a_secret_is_read_when_a_worker_begins_and_shown_nowhere() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let known = settings(ROW, secret);
        let hooks = known.webhooks().unwrap();
        assert_eq!((hooks.len(), hooks[0].url.as_str()), (1, "https://h/s3cret?token=s3cret"));
        let rows = known.webhook_rows();
        let shown = format!("{}{}{rows:?}", effective(&known), effective_json(&known));
        assert!(shown.contains("https://h/…"), "{shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("MfKQ"), "{shown}");
        let said = |secret: &str| {
            let error = settings(ROW, secret).webhooks().unwrap_err();
            format!("{error}: {}", std::error::Error::source(&error).unwrap())
        };
        insta::assert_snapshot!([said(""), said("whsec_c2hvcnQ="), said("!")].join("\n"), @r"
        the secret of webhook `shop` cannot be read: the environment variable HOOK is not set
        the secret of webhook `shop` cannot be used: it has 5 bytes, and must have 24 to 64
        the secret of webhook `shop` cannot be used: it is not base64, with or without `whsec_` before it
        ");
    }
}
