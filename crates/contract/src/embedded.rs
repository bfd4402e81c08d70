//! The text of every schema and code list, put here by the build script as (name, text).

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
