//! Where the images of a job go.

use job::{Job, JobId, JobSpec, JobState, KeyTemplate, ObjectKey, Refresh, TaskId};

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

    /// What the job replaces, if it refreshes an item.
    pub(crate) fn refresh(&self) -> Option<&'a Refresh> {
        self.spec.and_then(|spec| spec.refresh.as_ref())
    }

    /// The stable key of an image: of an item of a collection, the key that it has whatever batch refreshes it.
    pub(crate) fn stable(&self, index: u8) -> ObjectKey {
        let collection = self.refresh().map(|refresh| &refresh.collection);
        let (batch, id) = (collection.or(self.job.batch.as_ref()), self.job.id);
        let custom_id = self.spec.and_then(|spec| spec.custom_id.as_ref());
        self.template.key(batch, custom_id, id, index).unwrap_or_else(|_| {
            // A custom id that is too long for the template. Under its job id the image is in the bucket all the same.
            KeyTemplate::default()
                .key(batch, None, id, index)
                .expect("a batch name and a job id make a short key")
        })
    }

    /// The key of an image that is the job's own: the stable one, or of a refresh that of its version.
    pub(crate) fn home(&self, index: u8) -> ObjectKey {
        let stable = self.stable(index);
        match self.refresh() {
            Some(_) => self.version(&stable, self.job.id),
            None => stable,
        }
    }

    /// The key that the image at `stable` has in the version of a job.
    pub(crate) fn version(&self, stable: &ObjectKey, job: JobId) -> ObjectKey {
        KeyTemplate::version_key(stable, job).unwrap_or_else(|_| {
            let file = stable.as_str().rsplit('/').next().unwrap_or("image.png");
            ObjectKey::parse(&format!("single/{job}/{file}"))
                .expect("a job id and a file's name make a short key")
        })
    }

    /// The keys that the images of an item can have in the version of a job.
    fn versions(&self, job: JobId) -> impl Iterator<Item = ObjectKey> {
        (0..=u8::MAX).map(move |index| self.version(&self.stable(index), job))
    }

    /// The key that `text` is, if it is one of this item in the version of a job. Also one with the name that an earlier template gave to its
    /// file: the folder tells whose it is.
    pub(crate) fn in_version(&self, text: &str, job: JobId) -> Option<ObjectKey> {
        let key = ObjectKey::parse(text).ok()?;
        let folder = |key: &ObjectKey| key.as_str().rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let stable = KeyTemplate::stable_key(&key, job);
        let by_form = stable.is_some_and(|stable| folder(&stable) == folder(&self.stable(0)));
        // Long keys have another form.
        (by_form || self.versions(job).any(|own| own == key)).then_some(key)
    }

    /// The key beside it, for an image that may not replace what stands there before the job ends.
    pub(crate) fn beside(&self, index: u8) -> ObjectKey {
        let home = self.home(index);
        match &self.job.state {
            JobState::Archiving { task, .. } => {
                KeyTemplate::key_of_task(&home, task).unwrap_or_else(|_| self.short(task, index))
            }
            _ => home,
        }
    }

    /// Where an image is written first. A job's first task writes to the job's own key at once; a later one beside it.
    pub(crate) fn first(&self, index: u8) -> ObjectKey {
        if self.job.tasks > 1 { self.beside(index) } else { self.home(index) }
    }

    /// The key of the manifest that stands beside the image at `image_0`.
    pub(crate) fn manifest(&self, image_0: &ObjectKey) -> ObjectKey {
        KeyTemplate::manifest_key(image_0).unwrap_or_else(|_| {
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
