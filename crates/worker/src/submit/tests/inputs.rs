//! How inputs go out with a create.

use super::super::inputs::InputFault;
use super::*;

pub(super) fn with_input(spec: &JobSpec) -> Arc<JobSpec> {
    let stored = |key: &str| InputImage::Stored { key: key.parse_key(), mime: "image/png".into(), bytes: 9 };
    let other = InputImage::Object { bucket: "theirs".into(), key: "shoe.png".parse_key() };
    Arc::new(JobSpec { images: vec![stored("inputs/1"), other], ..spec.clone() })
}

trait ParseKey {
    fn parse_key(&self) -> job::ObjectKey;
}

impl ParseKey for str {
    fn parse_key(&self) -> job::ObjectKey {
        job::ObjectKey::parse(self).unwrap()
    }
}

async fn sent_inputs(transport: InputTransport) -> Vec<ImageInput> {
    let world = World::with(|config| config.inputs = transport);
    let (job, spec) = world.submitting(1);
    world.archive.put_input("inputs/1", PNG);
    world.archive.put_input("shoe.png", PNG);
    world.api.on_create(CreateAct::Answer(Ok("t1")));
    run(&world.env, claim(&job, &with_input(&spec))).await;
    assert_eq!(state(&world, &job), StateName::Polling);
    world.api.sent().remove(0)
}

#[tokio::test]
async fn inputs_go_out_as_links_that_live_a_day() {
    let sent = sent_inputs(InputTransport::Presign).await;
    let links: Vec<&str> = sent.iter().map(ImageInput::expose).collect();
    assert_eq!(
        links,
        ["https://own.example/inputs/1?life=86400", "https://theirs.example/shoe.png?life=86400"]
    );
}

#[tokio::test]
async fn inputs_go_out_inside_the_request_or_through_the_providers_store() {
    let inlined = sent_inputs(InputTransport::Inline).await;
    assert!(inlined.iter().all(|input| input.expose().starts_with("data:image/png;base64,iVBOR")));
    let uploaded = sent_inputs(InputTransport::Upload).await;
    assert!(uploaded.iter().all(ImageInput::needs_resolving));
}

#[tokio::test]
async fn an_input_that_is_gone_fails_the_job_and_a_store_that_is_away_only_delays_it() {
    let world = World::with(|config| config.inputs = InputTransport::Inline);
    let (job, spec) = world.submitting(1);
    run(&world.env, claim(&job, &with_input(&spec))).await;
    let JobState::Failed { class, code, .. } = world.jobs.job(job.id).state else { panic!("not failed") };
    assert_eq!((class, code.as_str()), (FailureClass::Local, "InputGone"));

    let world = World::with(|config| config.inputs = InputTransport::Inline);
    let (job, spec) = world.submitting(1);
    world.archive.fail_store(true);
    run(&world.env, claim(&job, &with_input(&spec))).await;
    let JobState::Queued { cause, .. } = world.jobs.job(job.id).state else { panic!("not queued") };
    assert_eq!(cause.as_deref(), Some("store_fault"));
    assert!(world.api.log().is_empty());
}

#[test]
fn a_refused_upload_is_the_jobs_fault_only_if_the_file_is() {
    let refused = |class| {
        let answer = Answer {
            http_status: 400,
            class,
            code: "X".into(),
            message: "m".into(),
            request_id: None,
            retry_after: None,
        };
        InputFault::from(CallFault::Refused(answer))
    };
    assert!(matches!(refused(ErrorClass::InvalidRequest), InputFault::Final { .. }));
    assert!(matches!(refused(ErrorClass::Capacity), InputFault::Passing { .. }));
}
