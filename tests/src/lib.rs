//! Only tests live here: see `it`.
