//! Settings as TOML: the effective ones with their sources, and the example file. Secrets are never in either.

use std::fmt::Write as _;

use super::accounts::{Account, AccountRow, LimitsRow};
use super::layers::{Field, Section, Source, variable_name};
use super::schedules::ScheduleRow;
use super::webhooks::WebhookRow;
use super::{Settings, sections};

/// What `config show` prints: a settings file that says the same, with the source of each value as a comment.
pub(crate) fn effective(settings: &Settings) -> String {
    let mut text = match &settings.file {
        Some(file) => format!("# from {} and the environment\n", file.display()),
        None => "# no settings file; from the environment\n".to_owned(),
    };
    macro_rules! each {
        ($($name:ident: $section:ty),+) => {
            $( effective_section(&mut text, concat!("[", stringify!($name), "]"), &settings.$name); )+
        };
    }
    sections!(each);
    for webhook in &settings.webhooks {
        effective_section(&mut text, "[[webhooks]]", webhook);
    }
    for account in &settings.accounts {
        effective_account(&mut text, account);
    }
    for schedule in &settings.schedules {
        effective_section(&mut text, "[[schedules]]", &schedule.row);
    }
    text
}

fn effective_section<S: Section>(text: &mut String, head: &str, section: &S) {
    let _ = writeln!(text, "\n{head}");
    for (field, (shown, source)) in S::FIELDS.iter().zip(section.shown()) {
        effective_line(text, field, shown.as_deref(), &source);
    }
}

fn effective_line(text: &mut String, field: &Field, shown: Option<&str>, source: &Source) {
    let name = toml_key(field.name);
    let _ = match shown {
        Some(shown) => writeln!(text, "{name} = {shown}  # {source}"),
        None => writeln!(text, "# {name} is not set"),
    };
}

fn effective_account(text: &mut String, account: &Account) {
    effective_section(text, "[[accounts]]", &account.row);
    for (model, limits) in &account.limits {
        effective_section(text, &format!("[accounts.limits.\"{model}\"]"), limits);
    }
}

/// What `config show --json` prints: for each section, each setting with its TOML and its source.
pub(crate) fn effective_json(settings: &Settings) -> serde_json::Value {
    let mut all = serde_json::Map::new();
    macro_rules! each {
        ($($name:ident: $section:ty),+) => {
            $( all.insert(stringify!($name).to_owned(), section_json(&settings.$name)); )+
        };
    }
    sections!(each);
    let account = |account: &Account| {
        let mut json = section_json(&account.row);
        let limits = account.limits.iter().map(|(model, row)| (model.to_string(), section_json(row)));
        json["limits"] = serde_json::Value::Object(limits.collect());
        json
    };
    all.insert("webhooks".to_owned(), settings.webhooks.iter().map(section_json).collect());
    all.insert("accounts".to_owned(), settings.accounts.iter().map(account).collect());
    let schedules = settings.schedules.iter().map(|schedule| section_json(&schedule.row));
    all.insert("schedules".to_owned(), schedules.collect());
    serde_json::Value::Object(all)
}

/// The settings whose values differ, but for those of accounts and webhooks. Secrets are no part of what is compared.
pub(crate) fn changed_settings(before: &Settings, after: &Settings) -> Vec<String> {
    let mut changed = Vec::new();
    macro_rules! each {
        ($($name:ident: $section:ty),+) => {
            $( changed_in(&mut changed, stringify!($name), &before.$name, &after.$name); )+
        };
    }
    sections!(each);
    let rows = |settings: &Settings| -> Vec<_> {
        let values = |schedule: &super::Schedule| {
            schedule.row.shown().into_iter().map(|(value, _)| value).collect::<Vec<_>>()
        };
        settings.schedules.iter().map(values).collect()
    };
    if rows(before) != rows(after) {
        changed.push("schedules".to_owned());
    }
    // Results come from where calls go only on this machine, and that is asked once.
    let known = before.loopback_hosts();
    if after.loopback_hosts().iter().any(|host| !known.contains(host)) {
        changed.push("results.allow (for an account on another loopback address)".to_owned());
    }
    changed
}

fn changed_in<S: Section>(changed: &mut Vec<String>, section: &str, before: &S, after: &S) {
    let values = S::FIELDS.iter().zip(before.shown().into_iter().zip(after.shown()));
    let differing = values.filter(|(_, ((before, _), (after, _)))| before != after);
    changed.extend(differing.map(|(field, _)| format!("{section}.{}", field.name)));
}

fn section_json<S: Section>(section: &S) -> serde_json::Value {
    let setting = |(field, (shown, source)): (&Field, (Option<String>, Source))| {
        (
            field.name.to_owned(),
            serde_json::json!({ "value": shown.map(|text| as_json(&text)), "source": source.to_string() }),
        )
    };
    serde_json::Value::Object(S::FIELDS.iter().zip(section.shown()).map(setting).collect())
}

/// A value written as TOML, as JSON.
fn as_json(toml: &str) -> serde_json::Value {
    let table = toml::from_str::<toml::Table>(&format!("value = {toml}")).ok();
    let value = table.and_then(|mut table| table.remove("value"));
    value.and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
}

/// A name as a TOML key: in quotes where it has to be.
fn toml_key(name: &str) -> String {
    let bare = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if bare { name.to_owned() } else { format!("\"{name}\"") }
}

/// The head of the example file.
const EXAMPLE_HEAD: &str = "\
# Settings of Imagemill, with every default. Written by `imagemill config show --example`.
#
# Copy it to `imagemill.toml` and take the `#` from what you change. `imagemill config check` says what is wrong with a file,
# `imagemill config show` which value is in force and where it comes from.
#
# Flags win over environment variables, these over the file, the file over the defaults. Each setting has a variable:
# `url` of `[redis]` is IMAGEMILL_REDIS_URL. The least that has to be set is a key (DASHSCOPE_API_KEY) and a bucket.
";

/// What stands above `[[accounts]]` in the example file.
const EXAMPLE_ACCOUNTS: &str = "
# Accounts. Without this part there is one, described by the environment: DASHSCOPE_API_KEY, DASHSCOPE_HTTP_BASE_URL,
# DASHSCOPE_WORKSPACE, IMAGEMILL_CREATE_PER_SECOND, IMAGEMILL_IN_FLIGHT, IMAGEMILL_QUEUE_AHEAD,
# IMAGEMILL_QUERIES_PER_SECOND, IMAGEMILL_MAX_IMAGES_PER_DAY. With it those are ignored. Several accounts share the work.
";

/// What stands above `[[schedules]]` in the example file.
const EXAMPLE_SCHEDULES: &str = "
# Schedules. Any number of `imagemill scheduler` may run, also inside of workers (`imagemill worker --with-scheduler`): a tick is done
# once. `imagemill schedule ls` shows them.
";

/// The example file: every setting with its documentation, at its default, commented out.
pub(crate) fn example() -> String {
    let mut text = EXAMPLE_HEAD.to_owned();
    let settings = Settings::read("", std::path::Path::new("none"), &super::Sources::default())
        .expect("the defaults are settings that can be used");
    macro_rules! each {
        ($($name:ident: $section:ty),+) => {
            $( example_section(&mut text, concat!("[", stringify!($name), "]"), &settings.$name, Some(stringify!($name))); )+
        };
    }
    sections!(each);
    example_section::<WebhookRow>(&mut text, "# [[webhooks]]", &WebhookRow::unset(), None);
    text.push_str(EXAMPLE_ACCOUNTS);
    let account = &settings.accounts[0];
    example_section::<AccountRow>(&mut text, "# [[accounts]]", &account.row, None);
    for (model, limits) in &account.limits {
        example_section::<LimitsRow>(&mut text, &format!("# [accounts.limits.\"{model}\"]"), limits, None);
    }
    text.push_str(EXAMPLE_SCHEDULES);
    example_section::<ScheduleRow>(&mut text, "# [[schedules]]", &ScheduleRow::unset(), None);
    text
}

fn example_section<S: Section>(text: &mut String, head: &str, section: &S, variables_of: Option<&str>) {
    text.push('\n');
    for line in S::ABOUT {
        let _ = writeln!(text, "#{line}");
    }
    let _ = writeln!(text, "{head}");
    for (field, (shown, _)) in S::FIELDS.iter().zip(section.shown()) {
        for line in field.doc {
            let _ = writeln!(text, "#{line}");
        }
        if let (Some(section), true) = (variables_of, !field.env.is_empty()) {
            let derived = variable_name(section, field.name);
            let _ = writeln!(text, "# Variables: {derived}, {}.", field.env.join(", "));
        }
        let value = shown.unwrap_or_else(|| example_value(field.example.unwrap_or_default()));
        let _ = writeln!(text, "# {} = {value}", toml_key(field.name));
    }
}

/// An example as TOML: in quotes, unless it is a value as it stands.
fn example_value(example: &str) -> String {
    let is_value = toml::from_str::<toml::Table>(&format!("x = {example}")).is_ok();
    if is_value { example.to_owned() } else { super::value::quoted(example) }
}
