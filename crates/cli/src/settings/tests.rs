//! Each kind of wrong setting and what is said about it; the layers; the example file.

mod schedules;

use std::path::Path;

use super::*;

fn sources(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    };
    Sources { file: None, flags: map(flags), environment: map(environment) }
}

fn read(text: &str, sources: &Sources) -> Result<Settings, String> {
    Settings::read(text, Path::new("imagemill.toml"), sources).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

#[test]
fn the_environment_alone_is_enough() {
    let settings = read(
        "",
        &sources(
            &[
                ("DASHSCOPE_API_KEY", "sk-0123456789abcdef"),
                ("DASHSCOPE_HTTP_BASE_URL", "http://127.0.0.1:9100/api/v1"),
                ("IMAGEMILL_REDIS_URL", "redis://queue:6380/2"),
                ("IMAGEMILL_S3_BUCKET", "images"),
                ("IMAGEMILL_S3_ENDPOINT", "http://127.0.0.1:8333"),
                ("IMAGEMILL_IN_FLIGHT", "50"),
                ("IMAGEMILL_CREATE_PER_SECOND", "100"),
                ("IMAGEMILL_QUEUE_AHEAD", "0"),
                ("IMAGEMILL_QUERIES_PER_SECOND", "200"),
            ],
            &[],
        ),
    )
    .unwrap();
    assert_eq!(settings.redis().url, "redis://queue:6380/2");
    let store = settings.store().unwrap();
    assert_eq!((store.bucket.as_str(), store.path_style), ("images", true));
    let config = settings.worker().unwrap();
    assert_eq!(config.inputs, worker::InputTransport::Inline);
    let account = &config.accounts[0];
    assert_eq!(account.base_url.as_str(), "http://127.0.0.1:9100/api/v1");
    for limits in account.limits.values() {
        assert_eq!((limits.in_flight, limits.queue_ahead), (50, 0));
        assert_eq!((limits.create_per_second, limits.queries_per_second), (100.0, 200.0));
    }
    let link = |text: &str| dashscope::ImageUrl::new(text.to_owned()).unwrap();
    let hosts = settings.download().hosts;
    assert!(hosts.admit(&link("http://127.0.0.1:9100/1.png")).is_ok());
    assert!(hosts.admit(&link("http://10.0.0.1/1.png")).is_err());
}

#[test]
fn a_key_is_not_sent_in_the_clear_unless_somebody_says_so() {
    let environment = |more: &[(&'static str, &'static str)]| {
        let mut all = vec![("DASHSCOPE_HTTP_BASE_URL", "http://proxy:8080/api/v1")];
        all.extend(more);
        sources(&all, &[])
    };
    insta::assert_snapshot!(read("", &environment(&[])).unwrap_err(), @r#"environment variable DASHSCOPE_HTTP_BASE_URL: `base_url` "http://proxy:8080/api/v1" is plain http: the key would travel in the clear (write https, or set IMAGEMILL_INSECURE_HTTP=true)"#);
    assert!(read("", &environment(&[("IMAGEMILL_INSECURE_HTTP", "true")])).is_ok());
    let file = "[[accounts]]\nname = \"a\"\nbase_url = \"http://10.0.0.1/api/v1\"\n";
    insta::assert_snapshot!(read(file, &sources(&[], &[])).unwrap_err(), @r#"imagemill.toml:3:12: `base_url` "http://10.0.0.1/api/v1" is plain http: the key would travel in the clear (write https, or add `insecure_http = true` to the account)"#);
    assert!(read(&format!("{file}insecure_http = true\n"), &sources(&[], &[])).is_ok());
    for loopback in ["http://127.0.0.1:1/api/v1", "http://[::1]:1/api/v1", "http://localhost:1/api/v1"] {
        assert!(read("", &sources(&[("DASHSCOPE_HTTP_BASE_URL", loopback)], &[])).is_ok(), "{loopback}");
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file_and_that_over_the_defaults() {
    let file = "[worker]\npoll_concurrency = 2\narchive_concurrency = 2\nsubmit_concurrency = 2\n";
    let environment =
        [("IMAGEMILL_WORKER_POLL_CONCURRENCY", "3"), ("IMAGEMILL_WORKER_ARCHIVE_CONCURRENCY", "3")];
    let settings = read(file, &sources(&environment, &[("worker.archive_concurrency", "4")])).unwrap();
    let worker = &settings.worker;
    let shown =
        |setting: &layers::Resolved<value::Whole<1, 10_000>>| (setting.value.0, setting.source.to_string());
    assert_eq!(shown(&worker.submit_concurrency), (2, "file, line 4".into()));
    assert_eq!(shown(&worker.poll_concurrency), (3, "environment, IMAGEMILL_WORKER_POLL_CONCURRENCY".into()));
    assert_eq!(shown(&worker.archive_concurrency), (4, "flag, --set worker.archive_concurrency".into()));
    assert_eq!(worker.images_at_once.source, layers::Source::Default);
}

#[test]
fn every_problem_of_a_file_is_found_at_once_and_says_where_what_and_what_was_meant() {
    let file = r#"
[redis]
url = "http://queue:6379"
nmespace = "x"

[worker]
renew_every = "9s"
poll_concurrency = 0
archive_concurrency = "many"

[poll]
first = 3

[s3]
checksum = "sha265"
endpoint = "https://user:s3cret@store"
secret_access_key = "s3cret"
tags = { team = 5 }

[results]
template = "{batch}/{index}.png"
allow = "a/b"

[prices]
"wan2.7-image" = "cheap"

[wroker]
name = "x"
"#;
    let environment = [("IMAGEMILL_LOG_FORMAT", "jsno"), ("IMAGEMILL_IN_FLIGHT", "x")];
    let flags = [("worker.poll_concurency", "3"), ("redis.url", "redis://:s3cret@h")];
    let found = read(file, &sources(&environment, &flags)).unwrap_err();
    assert!(!found.contains("s3cret"), "{found}");
    insta::assert_snapshot!(found, @r#"
    imagemill.toml:3:7: `redis.url` is a `http` address, but it must look like `redis://host:6379` or `rediss://host:6379`
    imagemill.toml:4:1: there is no setting `redis.nmespace` (did you mean `namespace`?)
    imagemill.toml:8:20: `worker.poll_concurrency` is 0, but it must be a whole number from 1 to 10000
    imagemill.toml:9:23: `worker.archive_concurrency` is `many`, but it must be a whole number from 1 to 10000
    imagemill.toml:12:9: `poll.first` is a number, but it must be a time span in quotes, such as "500ms", "10s" or "1h 30m"
    imagemill.toml:15:12: `s3.checksum` is `sha265`, but it must be one of `sha256`, `when_required` (did you mean `sha256`?)
    imagemill.toml:16:12: `s3.endpoint` is an address with more in it, but it must have neither user, password nor query
    imagemill.toml:17:21: `s3.secret_access_key` holds the secret itself, and must name where it stands (write `{ env = "NAME" }` or `{ file = "path" }`)
    imagemill.toml:18:8: `s3.tags` is a table with a number, but it must hold texts only
    imagemill.toml:21:12: `results.template` cannot be used: the template must contain {id}, {custom_id} or {job_id}, or jobs overwrite each other's images
    imagemill.toml:25:18: `prices.wan2.7-image` is no amount, but it is written such as `0.075`
    imagemill.toml:27:2: there is no section `wroker` (did you mean `worker`?)
    --set redis.url: a password must not stand on a command line, where every user of the machine sees it (set IMAGEMILL_REDIS_URL, or `redis.url` in the settings file)
    --set worker.poll_concurency: there is no setting `worker.poll_concurency` (did you mean `worker.poll_concurrency`?)
    environment variable IMAGEMILL_LOG_FORMAT: `log.format` is `jsno`, but it must be one of `auto`, `text`, `json` (did you mean `json`?)
    environment variable IMAGEMILL_IN_FLIGHT: `accounts.limits.wan2.7-image-pro.in_flight` is `x`, but it must be a whole number from 1 to 100000
    settings: `results.allow` cannot be used: `a/b` is not a host: write `host`, `host:port` or `http://host:port`
    settings: `worker.renew_every` must be under half of `redis.lease`, or one lost renewal loses the lease
    settings: `worker.renewal_age_max` must lie between `worker.renew_every` and `redis.lease`
    "#);
}

#[test]
fn faulty_toml_is_refused_with_its_place() {
    insta::assert_snapshot!(read("[redis\nurl = \n", &Sources::default()).unwrap_err(), @"imagemill.toml:1:7: unclosed table, expected `]`");
}

#[test]
fn accounts_of_the_file_hide_the_one_of_the_environment_and_that_is_said() {
    let file = r#"
[[accounts]]
name = "singapore"
api_key = { env = "SINGAPORE_KEY" }
[accounts.limits."wan2.7-image-pro"]
in_flight = 20

[[accounts]]
name = "beijing"
base_url = "https://dashscope.aliyuncs.com/api/v1"
api_key = { env = "DASHSCOPE_API_KEY" }
max_images_per_day = 100

[[accounts]]
name = "ours"
base_url = "https://images.example/api/v1"
region = "eu"
api_key = { env = "DASHSCOPE_API_KEY" }
"#;
    let environment = [
        ("DASHSCOPE_API_KEY", "sk-0123456789abcdef"),
        ("SINGAPORE_KEY", "sk-0123456789abcdef"),
        ("IMAGEMILL_IN_FLIGHT", "7"),
    ];
    let settings = read(file, &sources(&environment, &[])).unwrap();
    assert_eq!(
        settings.warnings,
        ["the settings file has [[accounts]], so that IMAGEMILL_IN_FLIGHT is ignored"]
    );
    let config = settings.worker().unwrap();
    let limits = |index: usize, model| config.accounts[index].limits[&model];
    assert_eq!(limits(0, dashscope::Model::Wan27ImagePro).in_flight, 20);
    assert_eq!(limits(0, dashscope::Model::Wan27Image).in_flight, 5);
    assert_eq!(limits(1, dashscope::Model::Wan27Image).images_per_day, Some(100));
    let regions: Vec<_> = config.accounts.iter().map(|account| account.region.clone().unwrap()).collect();
    assert_eq!(regions, ["ap-southeast-1", "cn-beijing", "eu"].map(|name| name.parse().unwrap()));
}

#[test]
fn faulty_accounts_are_refused_with_their_place() {
    let file = r#"
[[accounts]]
name = "any"
api_key = "sk-0123456789abcdef"
base_ulr = "x"
[accounts.limits.wan2]
in_flight = 3
[accounts.limits."wan2.7-image"]
in_flight = -3
[[accounts]]
[[accounts]]
"#;
    insta::assert_snapshot!(read(file, &Sources::default()).unwrap_err(), @r#"
    imagemill.toml:3:8: `accounts[0].name` is `any`, but it must be 1 to 32 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, and not `any`
    imagemill.toml:4:11: `accounts[0].api_key` holds the secret itself, and must name where it stands (write `{ env = "NAME" }` or `{ file = "path" }`)
    imagemill.toml:5:1: there is no setting `accounts[0].base_ulr` (did you mean `base_url`?)
    imagemill.toml:6:18: there is no model `wan2` (limits are set as [accounts.limits."wan2.7-image-pro"])
    imagemill.toml:9:13: `accounts[0].limits.wan2.7-image.in_flight` is -3, but it must be a whole number from 1 to 100000
    imagemill.toml:10:1: a second account is called `default`
    imagemill.toml:11:1: a second account is called `default`
    "#);
}

#[test]
fn a_plan_key_is_refused_and_not_repeated() {
    let environment = [("DASHSCOPE_API_KEY", "sk-sp-0123456789abcdef")];
    let error = read("", &sources(&environment, &[])).unwrap().worker().unwrap_err();
    let text = crate::report::render(&crate::failure::Failure::new(error));
    assert!(!text.contains("0123"), "{text}");
    insta::assert_snapshot!(text, @r"
    error: the key of account `default` cannot be used
      caused by: the API key begins with `sk-sp-`: it belongs to a plan whose hosts and terms are not for automated use; create a pay-as-you-go key
    ");
}

#[test]
fn a_variable_with_a_slip_in_its_name_is_pointed_out() {
    let environment = [("IMAGEMILL_REDIS_ULR", "redis://h"), ("IMAGEMILL_SOMETHING_ELSE", "1")];
    let settings = read("", &sources(&environment, &[])).unwrap();
    assert_eq!(
        settings.warnings,
        ["the environment variable IMAGEMILL_REDIS_ULR sets nothing; did you mean IMAGEMILL_REDIS_URL?"]
    );
}

#[test]
fn the_committed_example_is_what_the_code_writes() {
    let committed = include_str!("../../../../deploy/imagemill.example.toml");
    assert!(
        committed == example(),
        "write it anew: `imagemill config show --example > deploy/imagemill.example.toml`"
    );
}

#[test]
fn the_example_holds_the_defaults_and_every_line_of_it_can_be_used() {
    assert!(read(&example(), &Sources::default()).is_ok());
    let settings_only = |line: &str| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let is_setting =
            line.starts_with('[') || line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '));
        is_setting.then(|| format!("{line}\n"))
    };
    let uncommented: String = example().lines().filter_map(settings_only).collect();
    let settings = read(&uncommented, &Sources::default()).unwrap();
    assert_eq!(settings.rules(), job::Rules::default());
    assert_eq!(settings.prices(), job::Prices::default());
    assert_eq!(
        settings.accounts()[0].limits_of(dashscope::Model::Wan27Image),
        read("", &Sources::default()).unwrap().accounts()[0]
            .limits_of(dashscope::Model::Wan27Image)
            .with_stops(2_000, job::Micros(25_000_000))
    );
}

/// The example shows a daily stop and a budget, which are off by default.
trait WithStops {
    fn with_stops(self, images: u64, cost: job::Micros) -> Self;
}

impl WithStops for queue::AccountLimits {
    fn with_stops(self, images: u64, cost: job::Micros) -> Self {
        Self { images_per_day: Some(images), cost_per_day: Some(cost), ..self }
    }
}

#[test]
fn budgets_are_read_exactly_and_faulty_ones_are_said_with_their_place() {
    let file = "[budget]\nper_day = \"100.00\"\nper_batch = 0.1\n[[accounts]]\nname = \"a\"\nbudget_per_day = \"0\"\n";
    let settings = read(file, &Sources::default()).unwrap();
    let amount = |micros| Some(job::Micros(micros));
    let budgets = queue::Budgets { per_day: amount(100_000_000), per_batch: amount(100_000) };
    assert_eq!(settings.budgets(), budgets);
    let limits = settings.accounts()[0].limits_of(dashscope::Model::Wan27Image);
    assert_eq!(limits.cost_per_day, amount(0), "nothing may be spent, which is not the same as no budget");
    assert_eq!(read("", &Sources::default()).unwrap().budgets(), queue::Budgets::default());
    let file = "[budget]\nper_day = \"-1\"\nper_batch = \"1e3\"\nper_week = \"1\"\n[[accounts]]\nname = \"a\"\nbudget_per_day = \"0.0000001\"\n\
        [[accounts]]\nname = \"b\"\nbudget_per_day = 5000000000\n[[accounts]]\nname = \"c\"\nbudget_per_day = true\n";
    insta::assert_snapshot!(read(file, &Sources::default()).unwrap_err(), @r#"
    imagemill.toml:2:11: `budget.per_day` is `-1`, but it must be 0 or more
    imagemill.toml:3:13: `budget.per_batch` is no amount, but it is written such as `0.075`
    imagemill.toml:4:1: there is no setting `budget.per_week` (known are per_day, per_batch)
    imagemill.toml:7:18: `accounts[0].budget_per_day` is `0.0000001`, but it has more than 6 decimals, and money is counted to a millionth
    imagemill.toml:10:18: `accounts[1].budget_per_day` is `5000000000`, but it is more than 999999999
    imagemill.toml:13:18: `accounts[2].budget_per_day` is true or false, but it must be an amount in quotes, such as "0.075"
    "#);
}

#[test]
fn what_is_shown_reads_back_and_has_no_secret() {
    let environment =
        [("IMAGEMILL_REDIS_URL", "redis://:s3cret@h:6379"), ("DASHSCOPE_API_KEY", "sk-s3cret0123456789")];
    let settings = read("[s3]\nbucket = 'b'\n", &sources(&environment, &[])).unwrap();
    let shown = effective(&settings);
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("bucket = \"b\"  # file, line 2"), "{shown}");
    assert!(read(&shown, &Sources::default()).is_ok(), "{shown}");
}

#[test]
fn settings_that_changed_are_named_and_those_of_accounts_are_not_among_them() {
    let none = Sources::default();
    let before = read("[worker]\nimages_at_once = 4\n", &none).unwrap();
    assert_eq!(changed_settings(&before, &before), Vec::<String>::new());
    // A default that is written down is the same value.
    let after = "[worker]\nimages_at_once = 5\n[poll]\nlist_from = 4\n[retry]\n[[accounts]]\nname = \"b\"\nweight = 3\n";
    let after = read(after, &none).unwrap();
    assert_eq!(changed_settings(&before, &after), ["worker.images_at_once", "poll.list_from"]);
    // What comes from an account on another address of this machine is fetched by a worker that knew it at its start.
    let local = sources(&[("DASHSCOPE_HTTP_BASE_URL", "http://127.0.0.1:9100/api/v1")], &[]);
    let local = read("[worker]\nimages_at_once = 4\n", &local).unwrap();
    let changed = changed_settings(&before, &local);
    assert!(matches!(&changed[..], [only] if only.starts_with("results.allow")), "{changed:?}");
    assert_eq!(changed_settings(&local, &before), Vec::<String>::new());
}

#[test]
fn a_figure_that_somebody_set_is_told_from_one_that_everybody_has() {
    let set_in = |text: &str, environment: &[(&str, &str)]| {
        let key = ("DASHSCOPE_API_KEY", "sk-0123456789abcdef");
        let environment: Vec<_> = environment.iter().copied().chain([key]).collect();
        let config = read(text, &sources(&environment, &[])).unwrap().worker().unwrap();
        config.accounts[0].set[&dashscope::Model::Wan27Image]
    };
    let none = queue::SetFigures::default();
    assert_eq!(set_in("", &[]), none);
    let in_flight = queue::SetFigures { in_flight: true, ..none };
    assert_eq!(set_in("", &[("IMAGEMILL_IN_FLIGHT", "5")]), in_flight, "also where it is the same");
    let file = "[[accounts]]\n[accounts.limits.\"wan2.7-image\"]\nin_flight = 9\n";
    assert_eq!(set_in(file, &[]), in_flight);
    let other = "[[accounts]]\n[accounts.limits.\"wan2.7-image-pro\"]\nin_flight = 9\n";
    assert_eq!(set_in(other, &[]), none, "each model has its own");
}
