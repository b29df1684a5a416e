//! The bucket's twin: objects are texts, and links are what stands behind them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dashscope::ImageUrl;
use job::{ObjectKey, StoredImage, Timestamp};

use crate::ports::{CopyCure, CopyFault, ImageArchive, StoreFault};

#[derive(Default)]
pub(crate) struct FakeArchive {
    objects: Mutex<BTreeMap<String, String>>,
    faults: Mutex<HashMap<String, VecDeque<CopyCure>>>,
    store_faults: Mutex<VecDeque<Option<StoreFault>>>,
    inputs: Mutex<HashMap<String, Bytes>>,
    archived: Mutex<HashSet<String>>,
    /// Whether copies take for ever.
    pub(crate) hangs: Mutex<bool>,
}

impl FakeArchive {
    /// The next copies from this link fail so.
    pub(crate) fn fail(&self, link: &str, cures: &[CopyCure]) {
        self.faults.lock().unwrap().entry(link.to_owned()).or_default().extend(cures);
    }

    /// The next call that writes to the store, but for copies, fails so.
    pub(crate) fn fail_store(&self, later: bool) {
        let fault =
            StoreFault { code: "store_fault", reason: "out of order".to_owned(), later, of_object: false };
        self.store_faults.lock().unwrap().push_back(Some(fault));
    }

    /// After so many more calls to the store, but for copies of images, one fails, and may succeed later.
    pub(crate) fn fail_store_after(&self, calls: usize) {
        self.store_faults.lock().unwrap().extend(std::iter::repeat_n(None, calls));
        self.fail_store(true);
    }

    /// The same, and that call will never succeed.
    pub(crate) fn fail_store_for_good_after(&self, calls: usize) {
        self.store_faults.lock().unwrap().extend(std::iter::repeat_n(None, calls));
        self.fail_store(false);
    }

    /// The object at this key lies in an archive class: it is there, and is not read until it is written anew.
    pub(crate) fn archive(&self, key: &str) {
        self.archived.lock().unwrap().insert(key.to_owned());
    }

    /// It was brought back from there.
    pub(crate) fn bring_back(&self, key: &str) {
        self.archived.lock().unwrap().remove(key);
    }

    pub(crate) fn put(&self, key: &str, body: &str) {
        self.objects.lock().unwrap().insert(key.to_owned(), body.to_owned());
    }

    pub(crate) fn take_away(&self, key: &str) {
        self.objects.lock().unwrap().remove(key);
    }

    pub(crate) fn put_input(&self, key: &str, body: &[u8]) {
        self.inputs.lock().unwrap().insert(key.to_owned(), Bytes::copy_from_slice(body));
    }

    /// Keys and what stands there, sorted; of JSON only that it is there.
    pub(crate) fn objects(&self) -> Vec<String> {
        let objects = self.objects.lock().unwrap();
        objects
            .iter()
            .map(|(key, body)| if body.starts_with('{') { key.clone() } else { format!("{key} = {body}") })
            .collect()
    }

    pub(crate) fn object(&self, key: &str) -> Option<String> {
        self.objects.lock().unwrap().get(key).cloned()
    }

    fn next_store_fault(&self) -> Result<(), StoreFault> {
        self.store_faults.lock().unwrap().pop_front().flatten().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl ImageArchive for FakeArchive {
    async fn copy(
        &self,
        link: &ImageUrl,
        key: &ObjectKey,
        _: &[(String, String)],
    ) -> Result<StoredImage, CopyFault> {
        let hangs = *self.hangs.lock().unwrap();
        if hangs {
            std::future::pending::<()>().await;
        }
        let cure = self.faults.lock().unwrap().get_mut(link.expose()).and_then(VecDeque::pop_front);
        let mut objects = self.objects.lock().unwrap();
        let occupied = objects.get(key.as_str()).is_some_and(|body| body != link.expose());
        if let Some(cure) = cure.or(occupied.then_some(CopyCure::Beside)) {
            return Err(CopyFault { code: "scripted", reason: "it was told to fail".to_owned(), cure });
        }
        objects.insert(key.to_string(), link.expose().to_owned());
        let sha256 = link.expose().to_owned();
        Ok(StoredImage { key: key.clone(), bytes: 9, sha256, width: 3, height: 3 })
    }

    async fn put_over(&self, from: &ObjectKey, to: &ObjectKey, sha256: &str) -> Result<(), StoreFault> {
        self.next_store_fault()?;
        // A look is none the worse for it.
        if from != to && self.archived.lock().unwrap().contains(from.as_str()) {
            let reason = format!("`{from}` is archived");
            return Err(StoreFault { code: "archived", reason, later: true, of_object: true });
        }
        let mut objects = self.objects.lock().unwrap();
        match objects.get(from.as_str()).cloned() {
            Some(body) if body != sha256 => {
                let reason = format!("`{from}` is another image");
                return Err(StoreFault { code: "damaged", reason, later: false, of_object: false });
            }
            Some(body) => objects.insert(to.to_string(), body),
            None if objects.get(to.as_str()).is_some_and(|body| body == sha256) => None,
            None => {
                let reason = format!("`{from}` is gone");
                return Err(StoreFault { code: "gone", reason, later: false, of_object: false });
            }
        };
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreFault> {
        self.next_store_fault()?;
        self.archived.lock().unwrap().remove(key.as_str());
        self.objects.lock().unwrap().remove(key.as_str());
        Ok(())
    }

    async fn put_json(&self, key: &ObjectKey, value: &serde_json::Value) -> Result<(), StoreFault> {
        self.next_store_fault()?;
        self.archived.lock().unwrap().remove(key.as_str());
        self.objects.lock().unwrap().insert(key.to_string(), value.to_string());
        Ok(())
    }

    async fn presign(
        &self,
        bucket: Option<&str>,
        key: &ObjectKey,
        life: Duration,
        _: Timestamp,
    ) -> Result<ImageUrl, StoreFault> {
        let link = format!("https://{}.example/{key}?life={}", bucket.unwrap_or("own"), life.as_secs());
        Ok(ImageUrl::new(link).unwrap())
    }

    async fn read(
        &self,
        _: Option<&str>,
        key: &ObjectKey,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, StoreFault> {
        self.next_store_fault()?;
        if self.archived.lock().unwrap().contains(key.as_str()) {
            let reason = format!("`{key}` is archived");
            return Err(StoreFault { code: "archived", reason, later: true, of_object: true });
        }
        let input = self.inputs.lock().unwrap().get(key.as_str()).cloned();
        let found = input.or_else(|| self.object(key.as_str()).map(Bytes::from));
        match found {
            Some(body) if body.len() as u64 > bytes_max => {
                let reason = format!("`{key}` is too large");
                Err(StoreFault { code: "too_large", reason, later: false, of_object: true })
            }
            found => Ok(found),
        }
    }
}
