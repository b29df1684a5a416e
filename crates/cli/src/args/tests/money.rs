use super::help;

#[test]
fn help_of_budgets_and_costs_says_what_waits_and_what_a_day_is() {
    insta::assert_snapshot!(help(&["batch", "budget"]), @r"
    Show what may be spent on a batch, or change it

    Usage: imagemill batch budget [OPTIONS] <BATCH> [AMOUNT]

    Arguments:
      <BATCH>
              The batch

      [AMOUNT]
              An amount in the currency of the prices, `none`, or `default`

    Options:
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

    The most that a job can cost is reserved before its task is created, and what is billed takes its place. Jobs that do not fit wait, and
    go on when money is given back or the budget is raised. The next job of each model and priority decides whether there is room.
    `worker --until-idle`, `watch` and `--wait` do not end while jobs wait for a budget.

    Examples:
      imagemill batch budget spring             # what is spent, of what
      imagemill batch budget spring 25.00
      imagemill batch budget spring none        # no budget, whatever the settings say
      imagemill batch budget spring default     # that of the settings, `budget.per_batch`
    ");
    insta::assert_snapshot!(help(&["cost"]), @r"
    Say what was billed: images and cost by day, batch, model and account.

    A day is one of UTC, the one on which a task was seen to have ended. Amounts are by the prices of the settings at that time; the provider's bill is what counts. What was billed is remembered for good, also of batches that were removed.

    Usage: imagemill cost [OPTIONS]

    Options:
          --since <YYYY-MM-DD>
              From this day on [default: 30 days, today among them]

          --until <YYYY-MM-DD>
              To this day, which is among them [default: today]

          --by <KEYS>
              What there is a row for, in this order

              Possible values:
              - day:     The UTC day
              - batch:   The batch
              - model:   The model
              - account: The account

              [default: day,model]

          --batch <NAME>
              Only this batch

          --account <NAME>
              Only this account

          --format <FORMAT>
              How it is printed [default: table; with --json: json]

              Possible values:
              - table: For people, with a total
              - csv:   For spreadsheets, without one
              - json:  For programs, with a total

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
      imagemill cost                                          # the last 30 days, by day and model
      imagemill cost --by batch --since 2026-11-01
      imagemill cost --by day,account --format csv > cost.csv
      imagemill cost --batch spring --json | jq .total.cost.amount
    ");
}
