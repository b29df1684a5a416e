use super::*;

#[test]
fn the_help_of_a_retry_explains_what_it_costs_and_what_missing_images_are() {
    // The options that every command has stand in the help of the program itself.
    let body = |path: &[&str]| {
        let text = help(path);
        let (own, rest) = text.split_once("\nEverywhere:").unwrap_or((&text, ""));
        let end = rest.find("\nA job that runs again").or(rest.find("\nConditions:")).unwrap_or(0);
        format!("{own}{}", &rest[end..])
    };
    insta::assert_snapshot!(body(&["job", "retry"]), @r"
    Run jobs again that failed, were canceled or expired

    Usage: imagemill job retry [OPTIONS] <ID>...

    Arguments:
      <ID>...
              Job ids; with --batch, custom_ids

    Options:
      -b, --batch <NAME>
              The batch in which the IDs are custom_ids

          --yes
              Do not ask: the cost is agreed

      -h, --help
              Print help

    A job that runs again makes a new task, which is billed if it succeeds. What its earlier tasks cost stays counted. A held job is
    not retried: `imagemill job resolve` decides about it.

    Examples:
      imagemill job retry 01KBXW0Z7T3Q9V5C2M8N4R6P1D
      imagemill job retry --batch spring sku-1042 sku-1043 --yes
    ");
    insta::assert_snapshot!(body(&["batch", "retry"]), @r"
    Run the jobs of a batch again that failed, were canceled or expired, or ask for missing images

    Usage: imagemill batch retry [OPTIONS] <BATCH>

    Arguments:
      <BATCH>
              The batch

    Options:
          --where <KEY=VALUE>
              Only jobs of which this is true; may be repeated. Jobs that a person gave up are meant only with class=by_person

          --missing
              Ask for the images that ended jobs did not deliver, as new jobs

          --dry-run
              Only say what would be done, and what it may cost

          --yes
              Do not ask: the cost is agreed

      -h, --help
              Print help

    Conditions: class=CLASS, code=CODE (the service's), state=STATE. All of them must hold; one may name several values with commas.
      Classes: moderation, invalid_request, input_download, service, service_timeout, transport, by_person, local
      States: failed, canceled, expired; with --missing: succeeded, expired

    --missing leaves the old jobs as they are: they, and the batch, count as partial or expired also when the new ones bring it all.
    For each that succeeded with fewer images than it asked for, or whose links died before all images were copied, it enqueues a new
    job in the same batch that asks for as many as are missing, by the same prompt and parameters. Its custom_id is the old one with
    `~missing` (the second time `~missing2`; without a custom_id the old job's id), and its images stand under keys of its own. A set
    may bring fewer images than were asked for: of it only those count that were made and lost.

    The command may be repeated, after an interruption too: nothing is asked for twice. An expired job whose images were asked for
    with --missing does not run again. Held jobs are left as they are: `imagemill job resolve`.

    Examples:
      imagemill batch retry spring --dry-run
      imagemill batch retry spring --where class=service,service_timeout --yes
      imagemill batch retry spring --where state=failed --where code=DataInspectionFailed
      imagemill batch retry spring --missing
    ");
}

#[cfg(feature = "demo")]
#[test]
fn help_of_the_bench_says_what_the_time_scale_does() {
    insta::assert_snapshot!(help(&["bench"]), @r"
    Measure the whole system on this machine, against the simulator, without a key and without cost.

    Each run has servers of its own: a private Redis, a store, the simulator; the workers are processes of this binary. A table on stdout has makespan and ideal, use of the slots, requests, lags, and what it cost in time and memory.

    Usage: imagemill bench [OPTIONS] [SCENARIO]...

    Arguments:
      [SCENARIO]...
              What to run [default: documented]

    Options:
          --list
              List the scenarios

          --workers <N>
              Worker processes [default: the scenario's]

          --time-scale <K>
              Make the service K times as fast: rates are multiplied, latencies and poll steps divided; leases and timeouts stay [default: the scenario's]

          --jobs <N>
              Jobs [default: the scenario's]

          --runs <N>
              Runs of each scenario; their medians are printed

              [default: 3]

          --seed <S>
              Chooses durations and faults; each further run has the next one

              [default: 7]

          --out <FILE>
              Write the figures as JSON into FILE as well, after each scenario

      -h, --help
              Print help (see a summary with '-h')

    Everywhere:
          --config <FILE>
              Read settings from FILE [default: imagemill.toml, if it is there] [env: IMAGEMILL_CONFIG]

          --set <NAME=VALUE>
              Set one setting for this run, such as `worker.poll_concurrency=8`; may be repeated

          --json
              Print JSON for programs, on stdout

          --log <FORMAT>
              Write logs, on stderr, as text or as JSON

              [possible values: text, json]

    The exit code is 1 if a run lost a job or paid for one twice, or if the medians broke a bound of the scenario. With another
    number of jobs than the scenario's there are no bounds. `--set poll.*` is in service time, as without a time scale.

    Examples:
      imagemill bench --list
      imagemill bench documented --workers 4
      imagemill bench --time-scale 5 --workers 16 --out bench.json
    ");
}

#[cfg(feature = "demo")]
#[test]
fn a_bench_of_no_scenario_that_there_is_is_refused_with_those_that_are() {
    let error = parse("imagemill bench documentd").unwrap_err();
    assert!(error.contains("documentd") && error.contains("a similar value exists: 'documented'"), "{error}");
    assert!(parse("imagemill bench documented --runs 0").is_err());
}
