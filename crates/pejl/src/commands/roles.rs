//! One stage in a process of its own: `pejl worker`, `pejl land`, `pejl serve`.

use std::sync::Arc;

use bus::SharedLog;
use serve_http::Readiness;

use crate::{
    commands::{
        health,
        http::{self, Offers},
        serve,
        status::{self, Seen},
        up::{land as keep_landing, tell_source, until_interrupted},
        verify,
    },
    output,
    settings::{Mistake, Settings},
    wiring,
};

pub(crate) async fn worker(settings: Settings) -> anyhow::Result<u8> {
    wiring::pipelines(&settings)?;
    let log = wiring::open_log(&settings).await?;
    let ingest = wiring::ingest(&settings, &log)?;
    let stop = until_interrupted();
    let readiness = Readiness::starting(&[health::READING]);
    health::follow_worker(&readiness, ingest.standing());
    let control = http::control(&settings, &log);
    let seen = Seen {
        control: Some(control.clone()),
        ..Seen::default()
    };
    let offers = Offers {
        control: Some(control),
        status: Some(status::question(seen)),
        ..Offers::default()
    };
    let watching = http::start(&settings, &readiness, offers, true, stop.clone()).await?;
    let read = wiring::read_pipelines(&settings);
    let name = &settings.node.name;
    let reading = ingest.run(name, read, stop.clone(), Arc::new(tell_source));
    let ended = reading.await;
    stop.cancel();
    watching.ended().await?;
    ended?;
    Ok(0)
}

pub(crate) async fn land(settings: Settings, once: bool) -> anyhow::Result<u8> {
    let log = wiring::open_log(&settings).await?;
    let lake = wiring::open_lake_to_write(&settings).await?;
    let lander = wiring::lander(&settings, &log, &lake);
    if !once {
        let stop = until_interrupted();
        let readiness = Readiness::starting(&[health::LANDING]);
        health::follow_lander(&readiness, lander.standing(), &lake);
        let seen = Seen {
            landing: Some((SharedLog::clone(&log), lake.clone())),
            ..Seen::default()
        };
        let offers = Offers {
            status: Some(status::question(seen)),
            verify: Some(verify::question(&log, &lake, &stop)),
            ..Offers::default()
        };
        let watching = http::start(&settings, &readiness, offers, true, stop.clone()).await?;
        let ended = keep_landing(lander, settings.node.name, stop.clone()).await;
        stop.cancel();
        watching.ended().await?;
        ended?;
        return Ok(0);
    }
    let landed = lander.catch_up(&|_| {}).await?;
    let rows: Vec<Vec<String>> = landed
        .iter()
        .map(|it| {
            vec![
                it.topic.clone(),
                it.rows.to_string(),
                it.quarantined.to_string(),
            ]
        })
        .collect();
    output::line(&output::table(&["topic", "landed", "set aside"], &rows))?;
    Ok(0)
}

pub(crate) async fn serve(settings: Settings) -> anyhow::Result<u8> {
    if settings.serve.users.is_empty() {
        return Err(Mistake(serve::NO_USERS.to_owned()).into());
    }
    let lake = wiring::open_lake(&settings)?;
    let warehouse = wiring::open_warehouse(&settings, &lake).await?;
    let stop = until_interrupted();
    let readiness = Readiness::starting(&[health::SERVING]);
    let seen = Seen {
        warehouse: Some(warehouse.clone()),
        ..Seen::default()
    };
    let offers = Offers {
        status: Some(status::question(seen)),
        ..Offers::default()
    };
    let watching = http::start(&settings, &readiness, offers, false, stop.clone()).await?;
    let serving = serve::start(&settings, &warehouse, stop).await?;
    health::follow_publications(&readiness, &warehouse);
    output::line(&format!("serving SQL on {}", serving.addr))?;
    serving.task.await?;
    watching.ended().await?;
    Ok(0)
}
