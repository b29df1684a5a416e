mod money;
mod work;

use clap::CommandFactory as _;

use super::*;

fn help(path: &[&str]) -> String {
    let mut command = Cli::command();
    command.build();
    let mut current = &mut command;
    for name in path {
        current = current.find_subcommand_mut(name).unwrap();
    }
    let text = current.render_long_help().to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn parse(line: &str) -> Result<Cli, String> {
    Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn help_says_what_there_is() {
    // These two are there with the feature `demo` only.
    let kept: Vec<String> = help(&[])
        .lines()
        .filter(|line| !line.starts_with("  demo ") && !line.starts_with("  bench "))
        .map(str::to_owned)
        .collect();
    let text = kept.join("\n");
    insta::assert_snapshot!(text, @r"
    Make images with DashScope's Wan2.7 models, reliably, by the thousand.

    Prompts go into a durable queue in Redis; workers create the tasks, follow them, and copy the PNGs into your S3 bucket before the provider's links die. Nothing is lost, and nothing is paid twice.

    Usage: imagemill [OPTIONS] <COMMAND>

    Commands:
      enqueue      Put jobs into the queue: from a file of JSONL or CSV, from stdin, or single prompts
      worker       Do the work: create tasks, follow them, copy images into the bucket
      status       Show what is going on: jobs by state, accounts, pauses
      watch        Follow batches, or everything, until they are done
      batch        List, show, pause, cancel, retry and remove batches, set their budgets, and get their results
      job          List, show, cancel, retry and resolve jobs
      cost         Say what was billed: images and cost by day, batch, model and account
      schedule     List, run and pause schedules, and see what came of them
      scheduler    Follow the schedules of the settings: at each tick, enqueue the items of a catalogue that need new images
      pause        Hold new tasks back: of an account, of a model, or of everything
      resume       Let go on what was paused
      generate     Make images from one prompt right here, without the queue
      webhook      List webhooks, and try whether their receivers work
      config       Show and check the settings
      completions  Print a completion script for a shell

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

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

    The shortest set-up is the environment alone:
      DASHSCOPE_API_KEY       the key (DASHSCOPE_HTTP_BASE_URL: its region; default Singapore)
      IMAGEMILL_REDIS_URL     the queue, such as redis://127.0.0.1:6379
      IMAGEMILL_S3_BUCKET     the bucket (IMAGEMILL_S3_ENDPOINT: its store, if not AWS; AWS's own variables: the key)
    All settings: `imagemill config show --example`

    Exit codes:
      0    done
      1    failed, or some jobs failed, expired or were canceled
      2    wrong usage
      3    partial: some billed images are not in the bucket
      4    held jobs remain, see `imagemill job ls --held`
      65   bad input; what is wrong was not taken
      69   Redis, S3 or DashScope cannot be reached
      78   wrong settings, see `imagemill config check`
      130  interrupted
    ");
}

#[test]
fn help_of_enqueue_shows_a_line_and_examples() {
    insta::assert_snapshot!(help(&["enqueue"]), @r#"
    Put jobs into the queue: from a file of JSONL or CSV, from stdin, or single prompts.

    The whole input is judged first. If one line is wrong, nothing is enqueued, and every fault is said with its line. The same file enqueued twice is the same jobs: nothing is made or paid for again.

    Usage: imagemill enqueue [OPTIONS] [FILE]

    Arguments:
      [FILE]
              The file, JSONL or CSV, also packed with gzip or zstd; `-` reads stdin

    Options:
      -b, --batch <NAME>
              The batch that the jobs go to; required for a file

          --refresh <RULE>
              Replace images of a catalogue: `always`, those of items that changed (`if_changed`), or those that are old too (`max_age=30d`). Items whose manifest in the bucket cannot be read are named and left out

          --into <COLLECTION>
              With --refresh: the folder of the images' stable keys [default: the name of the file]

          --keep <N>
              With --refresh: keep so many old versions of an item's images

              [default: 3]

          --format <FORMAT>
              How the file is written [default: csv if its name ends so, else jsonl]

              Possible values:
              - jsonl: A JSON object in each line
              - csv:   Columns under a header

          --template <TEXT>
              Make the prompts of the fields or columns of each line, as in "photo of {name}, {colour}"

      -p, --prompt <TEXT>
              A prompt in place of a file; may be repeated

          --image <IMAGE>
              An input image of each --prompt: link, path, s3://bucket/key; may be repeated

          --custom-id <ID>
              Your own name for the job of a single --prompt

          --model <MODEL>
              The model [default: wan2.7-image, the cheaper one]

          --size <SIZE>
              The size: 1K, 2K, 4K, or W*H in pixels [default: 2K]

      -n, --n <N>
              How many images; each costs [default: 1]

          --seed <SEED>
              Similar images for equal seeds, 0 to 2147483647

          --priority <0-9>
              Run jobs that do not say otherwise with this urgency: 0 goes first, 9 last [default: 5]

          --account <NAME>
              Run jobs that do not say otherwise on this account only

          --region <NAME>
              Run jobs that do not say otherwise on accounts of this region only

          --not-before <TIME>
              Do not start jobs that do not say otherwise before this time, such as 2026-12-24T08:00:00Z

          --skip-invalid
              Enqueue the lines that are good, and leave out the others

          --errors <FILE>
              Write the lines that were left out to FILE, with the reasons

          --budget <AMOUNT>
              Spend at most AMOUNT on the batch, also with jobs that it has already; what does not fit waits. `none`: no budget

          --replace
              Replace jobs of the same custom_id that ask for something else: those that wait, and those that have ended, which run again

      -y, --yes
              Do not ask what replaced jobs may cost

          --max-cost <AMOUNT>
              Enqueue nothing if what is new could cost more than this, such as 10.00

          --dry-run
              Only judge the input, and say what of it is there already, and what the rest would cost on which accounts and how long it would take

          --watch
              Show progress until the jobs are done; the exit code says how they ended

          --wait
              Wait in silence until the jobs are done; the exit code says how they ended

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

    A line is one job:
      {"custom_id": "sku-1042", "prompt": "A red shoe on white", "size": "2K", "images": ["shoe.png"]}
    with any of: custom_id, prompt, model, size, n, images, bbox_list, color_palette, enable_sequential, thinking_mode,
    watermark, seed, priority, account, not_before; or with DashScope's own request body:
      {"custom_id": "sku-1042", "body": {"model": …, "input": …, "parameters": …}}
    Images are https links, paths relative to the file, s3://bucket/key, or data URIs. A line without a custom_id gets one
    from what it asks for. In CSV a header names these fields; several images stand in one cell with | between them, and
    further columns are for --template, which makes the prompts. There {{ and }} are braces of the prompt.

    Examples:
      imagemill enqueue prompts.jsonl --batch spring --watch
      generate-prompts | imagemill enqueue - --batch spring --model wan2.7-image-pro
      imagemill enqueue shoes.csv --batch shoes --template "studio photo of {name}, {colour}"
      imagemill enqueue catalogue.jsonl --batch "{name}-{date}T{time}" --refresh if_changed
      imagemill enqueue prompts.jsonl --batch spring --skip-invalid --errors faulty.jsonl
      imagemill enqueue --prompt "A lighthouse at dusk" --size 4K --model wan2.7-image-pro --wait
    "#);
}

#[test]
fn help_of_cancel_says_what_it_cannot_do() {
    insta::assert_snapshot!(help(&["job", "cancel"]), @r"
    Cancel jobs that are not being made yet

    Usage: imagemill job cancel [OPTIONS] [ID]...

    Arguments:
      [ID]...
              Job ids; with --batch, custom_ids

    Options:
      -b, --batch <NAME>
              The batch in which the IDs are custom_ids, or all of whose jobs are meant with --all

          --all
              Every job of the batch that is not over

      -h, --help
              Print help

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

    A queued job is canceled at once; one that waits at the provider is canceled there. What is being made already is finished
    and stored, since it is paid for. When the command returns, nothing of these jobs is created any more: it waits for creates
    that are on their way.

    Examples:
      imagemill job cancel 01KBXW0Z7T3Q9V5C2M8N4R6P1D
      imagemill job cancel --batch spring sku-1042 sku-1043
      imagemill job cancel --batch spring --all
    ");
}

#[test]
fn a_worker_that_ends_by_itself_follows_no_schedules() {
    assert!(Cli::try_parse_from(["imagemill", "worker", "--until-idle", "--with-scheduler"]).is_err());
}

#[test]
fn help_of_the_worker_says_how_it_stops() {
    insta::assert_snapshot!(help(&["worker"]), @r"
    Do the work: create tasks, follow them, copy images into the bucket.

    Start as many as you like, on as many machines: all of them together keep the account's limits. SIGTERM or Ctrl-C gives everything back and ends within a second, unless create calls are unanswered; a second signal ends at once. SIGHUP reads the accounts and webhooks again, with their keys and limits, and interrupts nothing.

    Usage: imagemill worker [OPTIONS]

    Options:
          --until-idle
              End when nothing is left to do; held jobs do not count

          --with-scheduler
              Follow the schedules of the settings as well, as `imagemill scheduler` does; not with --until-idle, which would end amid a tick

          --concurrency <N>
              Handle at most N jobs at once in each stage [default: worker.*_concurrency]

          --unsafe-redis
              Work even with a Redis that can lose jobs (no append-only file, or an eviction policy)

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

    Examples:
      imagemill worker
      imagemill worker --until-idle            # for cron: ends when nothing is left to do
      imagemill worker --log json

    With --until-idle the exit code says how the jobs ended: 0 well, 1 some failed, 3 some images are missing, 4 held jobs remain.
    ");
}

#[test]
fn no_flag_takes_a_secret() {
    let mut commands = vec![Cli::command()];
    while let Some(command) = commands.pop() {
        for argument in command.get_arguments() {
            let name = argument.get_id().as_str();
            assert!(
                !["key", "secret", "token", "password", "url"].iter().any(|word| name.contains(word)),
                "{name}"
            );
        }
        commands.extend(command.get_subcommands().cloned());
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    for line in [
        "imagemill enqueue",
        "imagemill enqueue f.jsonl --prompt x",
        "imagemill enqueue f.jsonl --errors e.jsonl",
        "imagemill enqueue f.jsonl --watch --wait",
        "imagemill enqueue f.jsonl --dry-run --wait",
        "imagemill enqueue f.jsonl --image a.png",
        "imagemill enqueue f.jsonl --priority 10",
        "imagemill enqueue f.jsonl --batch a/b",
        "imagemill enqueue f.jsonl --size 2k",
        "imagemill job cancel",
        "imagemill job cancel --all",
        "imagemill job cancel --all --batch b id",
        "imagemill job ls --state done",
        "imagemill job ls --held --state failed",
        "imagemill batch ls --limit 0",
        "imagemill --set novalue status",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn flags_become_settings_and_a_flag_of_its_own_wins() {
    let cli = parse("imagemill worker --concurrency 7 --unsafe-redis --log json --set log.format=text --set redis.lease=2s").unwrap();
    let flags = cli.settings_flags();
    assert_eq!(flags["log.format"], "json");
    assert_eq!(flags["redis.lease"], "2s");
    assert_eq!(flags["worker.poll_concurrency"], "7");
    assert_eq!(flags["worker.unsafe_redis"], "true");
}
