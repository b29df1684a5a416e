//! Each kind of wrong setting and what is said about it; the layers; the example file.

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

#[test]
fn a_schedule_needs_a_name_a_time_and_a_source_and_has_defaults_for_the_rest() {
    let file = "[[schedules]]\nname = \"shoes\"\ncron = \"0  3 * * mon-fri\"\nsource = \"shoes.jsonl\"\n";
    let settings = read(file, &sources(&[], &[])).unwrap();
    let [schedule] = settings.schedules() else { panic!("not one") };
    assert_eq!((schedule.collection.as_str(), schedule.keep()), ("shoes", 3));
    assert_eq!(schedule.rule, job::RefreshRule::IfChanged);
    assert_eq!(schedule.expression(), "0 3 * * mon-fri UTC");
    assert_eq!(schedule.source, SourcePlace::File("shoes.jsonl".into()));
    let tick = "2026-11-26T03:00:00Z".parse().unwrap();
    let batch = schedule.batch.batch("shoes", &schedule.ticks, tick).unwrap();
    assert_eq!(batch.as_str(), "shoes-2026-11-26T0300");
    let all = "time_zone = \"europe/berlin\"\nbatch = \"{name}_{date}\"\ncollection = \"boots\"\nrefresh = \"max_age\"\n\
               max_age = \"30d\"\nkeep = 0\nmissed = \"skip\"\nskip_invalid = true\nmodel = \"wan2.7-image-pro\"\nsize = \"4K\"\n\
               n = 2\npriority = 9\naccount = \"default\"\nenabled = false\n";
    let settings = read(&format!("{file}{all}"), &sources(&[], &[])).unwrap();
    let [schedule] = settings.schedules() else { panic!("not one") };
    assert_eq!((schedule.zone(), schedule.collection.as_str()), ("Europe/Berlin", "boots"));
    assert_eq!(schedule.rule.to_string(), "max_age=30d");
    let nothing = read("", &sources(&[], &[])).unwrap();
    assert_eq!(changed_settings(&nothing, &settings), ["schedules"]);
}

#[test]
fn each_kind_of_wrong_schedule_says_what_is_wrong_and_where() {
    let schedule = |lines: &str| {
        let mut all: Vec<&str> = vec!["name = \"shoes\"", "cron = \"0 3 * * *\"", "source = \"shoes.jsonl\""];
        for line in lines.lines() {
            let field = line.split(' ').next().unwrap();
            all.retain(|known| known.split(' ').next() != Some(field));
            all.push(line);
        }
        let file = format!("[[schedules]]\n{}\n", all.join("\n"));
        read(&file, &sources(&[], &[])).map(|_| "fine".to_owned()).unwrap_or_else(|wrong| wrong)
    };
    let rows = [
        "cron = \"0 25 * * *\"",
        "cron = \"0 3 * *\"",
        "cron = \"every day\"",
        "cron = \"0 3 31 2 *\"",
        "cron = 3",
        "time_zone = \"Europe/Berln\"",
        "time_zone = \"Berlin\"",
        "time_zone = \"my clock\"",
        "batch = \"shoes\"",
        "batch = \"{name}-{day}\"",
        "batch = \"{name}/{date}\"",
        "collection = \"a/b\"",
        "name = \"my shoes\"",
        "refresh = \"changed\"",
        "refresh = \"max_age\"",
        "refresh = \"max_age\"\nmax_age = \"a month\"",
        "keep = 1000",
        "missed = \"catchup\"",
        "source = \"http://shop.example/shoes.jsonl\"",
        "source = \"https://me:s3cret@shop.example/shoes.jsonl\"",
        "source = \"s3://shop\"",
        "source = \"ftp://shop.example/shoes.jsonl\"",
        "model = \"wan2.7\"",
        "size = \"huge\"",
        "account = \"sinagpore\"",
        "templte = \"{name}\"",
    ];
    let said: Vec<String> =
        rows.iter().map(|row| format!("{row}\n  {}", schedule(row).replace('\n', "\n  "))).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    cron = "0 25 * * *"
      imagemill.toml:4:8: `schedules[0].cron` "0 25 * * *" cannot be used: its hour `25` cannot be read: it holds 0 to 23 ("0 3 * * *" is every day at 3:00, "30 6 * * MON-FRI" every workday at 6:30)
    cron = "0 3 * *"
      imagemill.toml:4:8: `schedules[0].cron` "0 3 * *" cannot be used: it has 4 of the five fields: minute, hour, day of the month, month, day of the week ("0 3 * * *" is every day at 3:00, "30 6 * * MON-FRI" every workday at 6:30)
    cron = "every day"
      imagemill.toml:4:8: `schedules[0].cron` "every day" cannot be used: it has 2 of the five fields: minute, hour, day of the month, month, day of the week ("0 3 * * *" is every day at 3:00, "30 6 * * MON-FRI" every workday at 6:30)
    cron = "0 3 31 2 *"
      imagemill.toml:4:8: `schedules[0].cron` "0 3 31 2 *" cannot be used: it names a day that no year has ("0 3 * * *" is every day at 3:00, "30 6 * * MON-FRI" every workday at 6:30)
    cron = 3
      imagemill.toml:4:8: `schedules[0].cron` is a number, but it must be a cron expression such as "0 3 * * *"
    time_zone = "Europe/Berln"
      imagemill.toml:5:13: `schedules[0].time_zone` "Europe/Berln" is no time zone (did you mean `Europe/Berlin`?)
    time_zone = "Berlin"
      imagemill.toml:5:13: `schedules[0].time_zone` "Berlin" is no time zone (did you mean `Europe/Berlin`?)
    time_zone = "my clock"
      imagemill.toml:5:13: `schedules[0].time_zone` "my clock" is no time zone (zones are named as in the IANA database, such as `Europe/Berlin`)
    batch = "shoes"
      imagemill.toml:5:9: `schedules[0].batch` "shoes" cannot be used: it must contain {date}, or the second tick finds the jobs of the first in its batch (the default is "{name}-{date}T{time}")
    batch = "{name}-{day}"
      imagemill.toml:5:9: `schedules[0].batch` "{name}-{day}" cannot be used: unknown placeholder `{day}` (there are {name}, {date} and {time}) (the default is "{name}-{date}T{time}")
    batch = "{name}/{date}"
      imagemill.toml:5:9: `schedules[0].batch` "{name}/{date}" cannot be used: `shoes/2026-11-26` is not a batch name: 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, without `..` (the default is "{name}-{date}T{time}")
    collection = "a/b"
      imagemill.toml:5:14: `schedules[0].collection` is `a/b`, but it must be 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, without `..`
    name = "my shoes"
      imagemill.toml:4:8: `schedules[0].name` is `my shoes`, but it must be 1 to 32 letters, digits, `.`, `_` or `-`, beginning with a letter or digit, without `..`
    refresh = "changed"
      imagemill.toml:5:11: `schedules[0].refresh` is `changed`, but it must be one of `always`, `if_changed`, `max_age` (did you mean `if_changed`?)
    refresh = "max_age"
      imagemill.toml:5:11: `schedules[0].refresh` is `max_age`, and no `max_age` says how old (such as max_age = "30d")
    refresh = "max_age"
    max_age = "a month"
      imagemill.toml:6:11: `schedules[0].max_age` is `a month`, but a time span is written such as `500ms`, `10s` or `1h 30m`
    keep = 1000
      imagemill.toml:5:8: `schedules[0].keep` is 1000, but it must be a whole number from 0 to 100
    missed = "catchup"
      imagemill.toml:5:10: `schedules[0].missed` is `catchup`, but it must be one of `catch_up`, `skip` (did you mean `catch_up`?)
    source = "http://shop.example/shoes.jsonl"
      imagemill.toml:4:10: `schedules[0].source` is "http://shop.example/shoes.jsonl", but what is made and paid for must not come over plain http: write https
    source = "https://me:s3cret@shop.example/shoes.jsonl"
      imagemill.toml:4:10: `schedules[0].source` is a link with a password, but no secret may stand in the settings
    source = "s3://shop"
      imagemill.toml:4:10: `schedules[0].source` is "s3://shop", but it must have the form `s3://bucket/key`
    source = "ftp://shop.example/shoes.jsonl"
      imagemill.toml:4:10: `schedules[0].source` is "ftp://shop.example/shoes.jsonl", but sources are files, s3:// and https://
    model = "wan2.7"
      imagemill.toml:5:9: `schedules[0].model` is `wan2.7`, but it must be one of `wan2.7-image-pro`, `wan2.7-image`
    size = "huge"
      imagemill.toml:5:8: `schedules[0].size` cannot be used: `huge` is not a size: use `1K`, `2K`, `4K`, or width and height in pixels as in `1024*768`
    account = "sinagpore"
      imagemill.toml:5:11: `schedules[0].account` is `sinagpore`, which no account is called (the accounts are default)
    templte = "{name}"
      imagemill.toml:5:1: there is no setting `schedules[0].templte` (did you mean `template`?)
    "#);
    let missing = read("[[schedules]]\nkeep = 1\n", &sources(&[], &[])).unwrap_err();
    insta::assert_snapshot!(missing, @r#"
    imagemill.toml:1:1: `schedules[0].name` is missing
    imagemill.toml:1:1: `schedules[0].cron` is missing (such as cron = "0 3 * * *": every day at 3:00)
    imagemill.toml:1:1: `schedules[0].source` is missing
    "#);
    let twice = "[[schedules]]\nname = \"a\"\ncron = \"0 3 * * *\"\nsource = \"x\"\n".repeat(2);
    let by_job = "[results]\ntemplate = \"{batch}/{job_id}/{index}.png\"\n";
    insta::assert_snapshot!(read(&format!("{by_job}{twice}"), &sources(&[], &[])).unwrap_err(), @r#"
    imagemill.toml:3:1: a schedule needs keys that stay the same, but `results.template` is "{batch}/{job_id}/{index}.png" (it must contain {custom_id} and not {job_id})
    imagemill.toml:7:1: a schedule needs keys that stay the same, but `results.template` is "{batch}/{job_id}/{index}.png" (it must contain {custom_id} and not {job_id})
    "#);
    let nightly = |name: &str, cron: &str, more: &str| {
        format!("[[schedules]]\nname = \"{name}\"\ncron = \"{cron}\"\nsource = \"x\"\n{more}\n")
    };
    let one_batch = "batch = \"nightly-{date}\"";
    let (shoes, boots) =
        (nightly("shoes", "0 3 * * *", one_batch), nightly("boots", "30 4 * * MON", one_batch));
    insta::assert_snapshot!(read(&format!("{shoes}{boots}"), &sources(&[], &[])).unwrap_err(), @"imagemill.toml:6:1: the schedules `shoes` and `boots` tick into one batch, such as `nightly-2026-01-05`: an item of both would be made for one of them only (write {name} into `batch` of both)");
    let on_sundays = nightly("shoes", "0 3 * * SUN", one_batch);
    let off = nightly("shoes", "0 3 * * *", &format!("{one_batch}\nenabled = false"));
    for other in [on_sundays, off] {
        read(&format!("{other}{boots}"), &sources(&[], &[])).unwrap();
    }
    let of_shop =
        |name: &str, more: &str| nightly(name, "0 3 * * *", &format!("collection = \"shop\"\n{more}"));
    let (plain, larger) =
        (of_shop("plain", "n = 1"), of_shop("larger", "n = 1\nsize = \"4K\"\nmodel = \"wan2.7-image-pro\""));
    insta::assert_snapshot!(read(&format!("{plain}{larger}"), &sources(&[], &[])).unwrap_err(), @"imagemill.toml:7:1: the schedules `plain` and `larger` refresh the items of one list in one collection, `shop`, and differ in `model`, `size`: each would make, and pay for, everything anew after the other (let them agree in that, or give one of them another `collection`)");
    for other in [
        of_shop("older", "n = 1\nrefresh = \"max_age\"\nmax_age = \"30d\""),
        larger.replace("\"x\"", "\"y\""),
    ] {
        read(&format!("{plain}{other}"), &sources(&[], &[])).unwrap();
    }
    insta::assert_snapshot!(read("[schedules]\nname = \"a\"\n", &sources(&[], &[])).unwrap_err(), @"imagemill.toml:1:1: `schedules` is a table, but each schedule is a table `[[schedules]]`");
}
