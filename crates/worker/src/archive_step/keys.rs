//! Where the images of a job go.

use job::{Job, JobSpec, JobState, KeyTemplate, ObjectKey, TaskId};

/// The keys of one job's images.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    template: &'a KeyTemplate,
    job: &'a Job,
    spec: Option<&'a JobSpec>,
}

impl<'a> Keys<'a> {
    /// The keys of `job` under `template`.
    pub(crate) fn new(template: &'a KeyTemplate, job: &'a Job, spec: Option<&'a JobSpec>) -> Self {
        Self { template, job, spec }
    }

    /// The stable key of an image.
    pub(crate) fn stable(&self, index: u8) -> ObjectKey {
        let (batch, id) = (self.job.batch.as_ref(), self.job.id);
        let custom_id = self.spec.and_then(|spec| spec.custom_id.as_ref());
        self.template.key(batch, custom_id, id, index).unwrap_or_else(|_| {
            // A custom id that is too long for the template. Under its job id the image is in the bucket all the same.
            KeyTemplate::default()
                .key(batch, None, id, index)
                .expect("a batch name and a job id make a short key")
        })
    }

    /// The key beside it, for an image that may not replace what stands there before the job ends.
    pub(crate) fn beside(&self, index: u8) -> ObjectKey {
        let stable = self.stable(index);
        match &self.job.state {
            JobState::Archiving { task, .. } => {
                KeyTemplate::key_of_task(&stable, task).unwrap_or_else(|_| self.short(task, index))
            }
            _ => stable,
        }
    }

    /// Where an image is written first. A job's first task writes to the stable key at once; a later one beside it.
    pub(crate) fn first(&self, index: u8) -> ObjectKey {
        if self.job.tasks > 1 { self.beside(index) } else { self.stable(index) }
    }

    /// The key of the manifest.
    pub(crate) fn manifest(&self) -> ObjectKey {
        KeyTemplate::manifest_key(&self.stable(0)).unwrap_or_else(|_| {
            let short = format!("single/{}/manifest.json", self.job.id);
            ObjectKey::parse(&short).expect("a job id makes a short key")
        })
    }

    fn short(&self, task: &TaskId, index: u8) -> ObjectKey {
        let template = KeyTemplate::default();
        let stable = template.key(None, None, self.job.id, index).expect("a job id makes a short key");
        KeyTemplate::key_of_task(&stable, task).expect("a job id and a task id make a short key")
    }
}
