use super::*;

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
