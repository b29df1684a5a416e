//! `imagemill bench` through the built binary: a short run, whose figures are those of the whole system.

use tests::Imagemill;

#[tokio::test(flavor = "multi_thread")]
async fn a_short_bench_loses_nothing_and_has_its_figures() {
    let folder = tempfile::tempdir().unwrap();
    let imagemill = Imagemill::with_settings_for_real_work(folder.path()).unwrap();
    let arguments = "bench documented --jobs 20 --runs 1 --time-scale 50 --workers 2 --out bench.json --json --set redis.url=redis://127.0.0.1:1";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let report = imagemill.run(&arguments).await.unwrap().expect_code(0).json();
    let written = std::fs::read_to_string(folder.path().join("bench.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), report);

    let scenario = &report[0];
    assert_eq!(
        (scenario["scenario"].as_str(), scenario["time_scale"].as_u64()),
        (Some("documented"), Some(50))
    );
    assert_eq!(
        (scenario["ok"].as_bool(), &scenario["runs"][0]["problems"]),
        (Some(true), &serde_json::json!([]))
    );
    let figure = |name: &str| {
        scenario["median"][name].as_f64().unwrap_or_else(|| panic!("`{name}` is not in {scenario:#}"))
    };
    assert_eq!(figure("jobs"), 20.0);
    // Twenty tasks of about 16 s on five slots. No machine is fast enough to beat the ideal.
    assert!((40.0..120.0).contains(&figure("ideal_makespan_s")), "{scenario:#}");
    assert!(figure("makespan_ratio") >= 1.0, "{scenario:#}");
    assert!((0.2..=1.0).contains(&figure("slot_use")), "{scenario:#}");
    assert!(figure("queries_per_task") + figure("lists_per_task") >= 1.0, "{scenario:#}");
    assert!(figure("creates_per_task") >= 1.0, "{scenario:#}");
    assert!(figure("lag_stored_p50_s") >= figure("lag_noticed_p50_s"), "{scenario:#}");
    assert!(figure("lag_noticed_max_s") > 0.0 && figure("late_p99_s") >= 0.0, "{scenario:#}");
    assert!(figure("worker_cpu_ms_per_job") > 0.0 && figure("redis_cpu_ms_per_job") > 0.0, "{scenario:#}");
    assert!(figure("redis_commands_per_job") > figure("redis_scripts_per_job"), "{scenario:#}");
    assert!(figure("worker_rss_peak_bytes") > 1e6, "{scenario:#}");
    assert!(figure("redis_bytes_per_finished_job") > figure("redis_bytes_per_waiting_job"), "{scenario:#}");
    for name in ["refused_create_rate", "refused_query_rate", "refused_pending_full"] {
        assert_eq!(figure(name), 0.0, "{scenario:#}");
    }
    assert!(scenario["runs"][0]["redis_commands"]["evalsha"]["calls"].as_u64() > Some(20), "{scenario:#}");
}
