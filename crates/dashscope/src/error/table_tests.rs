//! The table, row by row, as the service's pages have it: written a second time, by hand.

use proptest::prelude::*;

use super::*;

/// Code, the status it is documented with, its class, and whether it proves under that status that no task was created.
const DOCUMENTED: &[(&str, u16, ErrorClass, bool)] = &[
    ("InvalidParameter", 400, InvalidRequest, true),
    ("InvalidParameter.DataInspection", 400, InputDownload, true),
    ("InvalidURL", 400, InvalidRequest, true),
    ("InvalidURL.ConnectionRefused", 400, InputDownload, true),
    ("InvalidURL.Timeout", 400, InputDownload, true),
    ("BadRequest.EmptyInput", 400, InvalidRequest, true),
    ("BadRequest.EmptyParameters", 400, InvalidRequest, true),
    ("BadRequest.EmptyModel", 400, InvalidRequest, true),
    ("BadRequest.IllegalInput", 400, InvalidRequest, true),
    ("BadRequest.UnsupportedFileFormat", 400, InvalidRequest, true),
    ("BadRequest.TooLarge", 400, InvalidRequest, true),
    ("BadRequest.TooLarge", 413, InvalidRequest, true),
    ("BadRequest.ResourceNotExist", 400, InvalidRequest, true),
    ("BadRequest.InputDownloadFailed", 400, InputDownload, true),
    ("InvalidImage.FileFormat", 400, InvalidRequest, true),
    ("InvalidImageFormat", 400, InvalidRequest, true),
    ("InvalidImageResolution", 400, InvalidRequest, true),
    ("InvalidFile.Resolution", 400, InvalidRequest, true),
    ("DataInspectionFailed", 400, Moderation, true),
    ("data_inspection_failed", 400, Moderation, true),
    ("IPInfringementSuspect", 400, Moderation, true),
    ("FaqRuleBlocked", 400, Moderation, true),
    ("CustomRoleBlocked", 400, Moderation, true),
    ("Arrearage", 400, account(AccountFault::Overdue), true),
    ("UnsupportedOperation", 400, NotCancellable, true),
    ("ClientDisconnect", 400, Transport, false),
    ("APIConnectionError", 400, Transport, false),
    ("ServiceUnavailableError", 400, Transport, false),
    ("InvalidApiKey", 401, account(AccountFault::Key), true),
    ("invalid_api_key", 401, account(AccountFault::Key), true),
    ("NOT AUTHORIZED", 401, account(AccountFault::Workspace), true),
    ("AccessDenied", 403, AccessDenied, true),
    ("AccessDenied.Unpurchased", 403, ModelNotOpened, true),
    ("Model.AccessDenied", 403, ModelNotOpened, true),
    ("Workspace.AccessDenied", 403, ModelNotOpened, true),
    ("App.AccessDenied", 403, ModelNotOpened, true),
    ("Endpoint.AccessDenied", 403, ModelNotOpened, true),
    ("AllocationQuota.FreeTierOnly", 403, ModelNotOpened, true),
    ("ModelNotFound", 404, ModelNotOpened, true),
    ("model_not_found", 404, ModelNotOpened, true),
    ("WorkSpaceNotFound", 404, account(AccountFault::Workspace), true),
    ("NotFound", 404, NotFound, true),
    ("RequestTimeOut", 408, ServiceFault, false),
    ("RequestTimeOut", 500, ServiceFault, false),
    ("ResponseTimeout", 500, ServiceFault, false),
    ("Conflict", 409, InvalidRequest, false),
    ("Throttling", 429, throttled(Throttle::Rate), true),
    ("Throttling.RateQuota", 429, throttled(Throttle::Rate), true),
    ("LimitRequests", 429, throttled(Throttle::Rate), true),
    ("limit_requests", 429, throttled(Throttle::Rate), true),
    ("Throttling.BurstRate", 429, throttled(Throttle::Burst), true),
    ("limit_burst_rate", 429, throttled(Throttle::Burst), true),
    ("Throttling.Concurrency", 429, throttled(Throttle::Concurrency), true),
    ("Throttling.AllocationQuota", 429, throttled(Throttle::Quota), true),
    ("Throttling.AllocationQuota", 400, throttled(Throttle::Quota), true),
    ("insufficient_quota", 429, throttled(Throttle::Quota), true),
    ("insufficient_quota", 400, throttled(Throttle::Quota), true),
    ("ResourceExhausted", 429, Capacity, true),
    ("CommodityNotPurchased", 429, account(AccountFault::Plan), true),
    ("PrepaidBillOverdue", 429, account(AccountFault::Overdue), true),
    ("PostpaidBillOverdue", 429, account(AccountFault::Overdue), true),
    ("InternalError", 500, ServiceFault, false),
    ("InternalError.Algo", 500, ServiceFault, false),
    ("SystemError", 500, ServiceFault, false),
    ("ModelServiceFailed", 500, ServiceFault, false),
    ("RewriteFailed", 500, ServiceFault, false),
    ("InternalError.Algo.InvalidParameter", 400, InvalidRequest, true),
    ("InternalError.Algo.InvalidParameter", 500, InvalidRequest, false),
    ("InternalError.Upload", 500, ServiceFault, false),
    ("InternalError.FileUpload", 500, ServiceFault, false),
    ("InternalError.Timeout", 500, ServiceTimeout, false),
    ("ModelServingError", 500, ServiceFault, false),
    ("ModelServingError", 503, Capacity, false),
    ("ModelUnavailable", 503, Capacity, false),
    ("ServiceUnavailable", 503, Capacity, false),
    ("GatewayTimeout", 504, Transport, false),
    ("BailianGateway.Workspace.NotAuthorised", 200, account(AccountFault::Workspace), true),
];

#[test]
fn every_documented_code_has_its_class_and_its_proof() {
    for &(code, status, class, proves) in DOCUMENTED {
        assert_eq!(classify(Some(status), code, ""), class, "{status} {code}");
        assert_eq!(proves_no_task(status, code), proves, "{status} {code}");
    }
}

#[test]
fn every_row_of_the_table_is_documented_here() {
    // The two that the tests above name by a member of their family.
    let families = ["badrequest", "invalidimage", "invalidfile", "invalidparametererror"];
    for row in ROWS {
        let named = DOCUMENTED.iter().any(|(code, ..)| normal(code) == row.code);
        assert!(named || families.contains(&row.code), "{}", row.code);
        assert_eq!(row.code, normal(row.code));
        assert_eq!(ROWS.iter().filter(|other| other.code == row.code).count(), 1, "{}", row.code);
    }
}

#[test]
fn case_and_separators_of_a_code_do_not_matter() {
    for code in ["INVALIDAPIKEY", "invalid-api-key", "Invalid API Key"] {
        assert_eq!(classify(None, code, ""), account(AccountFault::Key));
    }
}

#[test]
fn a_new_code_is_taken_for_its_family_and_then_for_its_status() {
    assert_eq!(classify(Some(400), "InvalidParameter.Brand.New", ""), InvalidRequest);
    assert_eq!(classify(Some(429), "Throttling.New", ""), throttled(Throttle::Rate));
    assert_eq!(classify(Some(500), "InternalError.New", ""), ServiceFault);
    assert_eq!(classify(Some(500), "InternalError.Timeout.New", ""), ServiceTimeout);
    let by_status = [
        (401, account(AccountFault::Key)),
        (403, AccessDenied),
        (404, NotFound),
        (408, Transport),
        (413, InvalidRequest),
        (429, throttled(Throttle::Rate)),
        (500, ServiceFault),
        (502, Transport),
        (503, Capacity),
        (504, Transport),
        (400, ErrorClass::Unknown),
        (200, ErrorClass::Unknown),
    ];
    for (status, class) in by_status {
        assert_eq!(classify(Some(status), "BrandNew", ""), class, "{status}");
    }
    assert_eq!(classify(None, "BrandNew", ""), ErrorClass::Unknown);
    assert_eq!(classify(None, "", ""), ErrorClass::Unknown);
}

#[test]
fn an_input_that_could_not_be_fetched_is_told_from_a_faulty_parameter_by_its_message() {
    for message in [
        "Download the media resource timed out during the data inspection process.",
        "Failed to download the image from the URL",
        "The media resource is not authorized to be accessed",
    ] {
        assert_eq!(classify(Some(400), "InvalidParameter", message), InputDownload, "{message}");
    }
    for message in
        ["url error, please check url!", "num_images_per_prompt must be 1", "size is not permitted"]
    {
        assert_eq!(classify(Some(400), "InvalidParameter", message), InvalidRequest, "{message}");
    }
    let moderation = "Input or output data may contain inappropriate content; download refused";
    assert_eq!(classify(Some(400), "DataInspectionFailed", moderation), Moderation);
}

#[test]
fn a_model_without_room_is_told_from_a_broken_one_by_its_message() {
    assert_eq!(classify(None, "ModelServingError", "Too many requests: system capacity limit"), Capacity);
    assert_eq!(classify(None, "ModelServingError", "worker crashed"), ServiceFault);
}

#[test]
fn an_unknown_code_proves_nothing_under_400_and_200() {
    for status in [200, 400] {
        for code in ["", "BrandNew", "DataInspectionFailed.New", "InternalError", "invalid"] {
            assert!(!proves_no_task(status, code), "{status} {code}");
        }
        assert!(proves_no_task(status, "InvalidParameter.New"));
    }
}

#[test]
fn no_code_proves_anything_under_a_status_that_leaves_it_open() {
    for status in [201, 301, 402, 405, 408, 409, 418, 422, 499, 500, 502, 503, 504, 599] {
        for row in ROWS {
            assert!(!proves_no_task(status, row.code), "{status} {}", row.code);
        }
    }
}

#[test]
fn a_refusing_status_without_a_code_proves_nothing() {
    for status in [401, 403, 404, 413, 429] {
        assert!(!proves_no_task(status, ""));
        assert!(proves_no_task(status, "BrandNew"));
    }
}

proptest! {
    #[test]
    fn no_code_makes_it_panic(status: Option<u16>, code in ".*", message in ".*") {
        let _ = classify(status, &code, &message);
        let _ = proves_no_task(status.unwrap_or(400), &code);
    }
}
