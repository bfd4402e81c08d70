//! Which of memory and disk a query ran out of is told from the engine's error.
#![allow(clippy::unwrap_used, reason = "test code")]

use datafusion::{
    error::DataFusionError,
    execution::runtime_env::RuntimeEnvBuilder,
    prelude::{SessionConfig, SessionContext},
};

/// How sorting a million numbers ends within so many bytes of memory and disk.
async fn sorted(memory: usize, disk: u64) -> Result<usize, DataFusionError> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(memory, 1.0)
        .with_max_temp_directory_size(disk)
        .build_arc()
        .unwrap();
    let config = SessionConfig::new().with_target_partitions(1);
    let ctx = SessionContext::new_with_config_rt(config, runtime);
    let sql = "select value from generate_series(1, 1000000) order by value % 1000, value";
    let batches = ctx.sql(sql).await?.collect().await?;
    Ok(batches.iter().map(|it| it.num_rows()).sum())
}

#[tokio::test]
async fn a_full_disk_is_not_taken_for_too_little_memory() {
    const PLENTY: u64 = 1 << 30;
    assert_eq!(sorted(16 << 20, PLENTY).await.unwrap(), 1_000_000);
    let err = sorted(16 << 20, 1 << 10).await.unwrap_err();
    assert!(!lake::is_memory(&err), "{err}");
    let err = sorted(1 << 20, PLENTY).await.unwrap_err();
    assert!(lake::is_memory(&err), "{err}");
}
