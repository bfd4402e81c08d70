//! A Kafka of the test's own, which it may kill.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// A broker; gone when dropped.
pub(crate) struct Broker {
    pub(crate) address: String,
}

impl Broker {
    /// `None` where Kafka cannot be had, or where the tests use somebody else's.
    pub(crate) fn start() -> Option<Self> {
        std::env::var("PEJL_TEST_KAFKA").ok()?;
        let address = script("start")?;
        Some(Self { address })
    }

    /// kill -9; what it had written is kept.
    pub(crate) fn kill(&self) {
        script("kill").unwrap();
    }

    /// Starts it again on the same address.
    pub(crate) fn restart(&self) {
        assert_eq!(script("restart").unwrap(), self.address);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        script("stop");
    }
}

fn script(what: &str) -> Option<String> {
    let script =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/kafka-broker/broker.sh");
    let out = Command::new(script)
        .arg(what)
        .env("PEJL_BROKER", "chaos")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    out.status.success().then(|| text.trim().to_owned())
}
