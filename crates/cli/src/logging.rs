//! Logs: to stderr, as text or as JSON. What is logged, and that no secret is in it, is the business of whoever logs.

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// Begins to log. `filter` is in the syntax of `RUST_LOG`; one that cannot be read is replaced by `warn`.
pub(crate) fn begin(format: LogFormat, filter: &str, colours: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // A second call would fail, and there is none.
    let _ = match format {
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
        LogFormat::Auto | LogFormat::Text => builder.with_target(false).try_init(),
    };
}
