//! `pejl demo`: simulated municipalities play the source systems; everything else is the real thing.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use chrono::NaiveDate;
use simulator::{CaseSystem, Municipalities, World};
use tokio_util::sync::CancellationToken;

use crate::{
    commands::{
        run::pass,
        up::{everything, until_interrupted},
    },
    output,
    settings::{Mistake, Secret, Settings},
    wiring,
};

/// The municipalities that the seed documents speak of, Copenhagen first; a larger demo takes all.
const NAMED: [i32; 7] = [101, 630, 751, 580, 479, 450, 410];
const FIRST_YEAR: i32 = 2010;
/// The simulated sources learn a day's news this often while the demo serves.
const DAY: Duration = Duration::from_secs(30);

/// How large a world to simulate.
pub(crate) struct Size {
    pub(crate) municipalities: usize,
    pub(crate) years: u32,
    pub(crate) citizens: usize,
    pub(crate) seed: u64,
}

pub(crate) async fn run(mut settings: Settings, size: Size, leave: bool) -> anyhow::Result<u8> {
    let stop = until_interrupted();
    let folder = settings.data.join("demo");
    output::line(&format!(
        "simulating {} municipalities, {} years, {} citizens each (seed {}); everyone is impossible",
        size.municipalities, size.years, size.citizens, size.seed
    ))?;
    let world = World::generate(&simulated(&size)?)?;
    let Secret(token) = Secret::random(24);
    let sources_stop = CancellationToken::new();
    let system = CaseSystem::new(&world, &token);
    let address = system
        .serve(SocketAddr::from(([127, 0, 0, 1], 0)), sources_stop.clone())
        .await?;
    prepare(&mut settings, &folder, &world, &address, token)?;

    let log = wiring::open_log(&settings).await?;
    let lake = wiring::open_lake_to_write(&settings).await?;
    let sources = wiring::sources(&settings, &[])?;
    let code = pass(&settings, &log, &lake, sources, &stop).await?;
    if leave || stop.is_cancelled() {
        sources_stop.cancel();
        return Ok(code);
    }
    if code != 0 {
        output::line("the first pass did not end well; serving what is published")?;
    }
    tokio::spawn(pass_time(system, folder.join("drops"), stop.clone()));
    let say = |address| say_where(&settings, &folder, address);
    everything(&settings, log, lake, stop, say).await?;
    sources_stop.cancel();
    Ok(code)
}

fn simulated(size: &Size) -> anyhow::Result<simulator::Settings> {
    let last_year = FIRST_YEAR + i32::try_from(size.years)? - 1;
    let as_of = NaiveDate::from_ymd_opt(last_year, 12, 1)
        .ok_or_else(|| Mistake(format!("{} years are too many", size.years)))?;
    let municipalities = match NAMED.get(..size.municipalities) {
        Some(named) if !named.is_empty() => Municipalities::Codes(named.to_vec()),
        _ => Municipalities::First(size.municipalities),
    };
    Ok(simulator::Settings {
        seed: size.seed,
        municipalities,
        first_year: FIRST_YEAR,
        years: size.years,
        citizens_per_municipality: u32::try_from(size.citizens)?,
        as_of,
    })
}

/// A fresh data folder with the sources' drops and the pipelines that read them. The models and the
/// delivery calendar are the repository's own.
fn prepare(
    settings: &mut Settings,
    folder: &Path,
    world: &World,
    address: &SocketAddr,
    token: String,
) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot clear the last demo in {}", folder.display()))?;
    }
    let drops = folder.join("drops");
    let pipelines = folder.join("pipelines");
    fs::create_dir_all(pipelines.join("sources"))?;
    simulator::write_provider_drops(world, &drops)?;
    simulator::write_survey_export(world, &drops)?;
    let drops = fs::canonicalize(&drops)?;
    for (name, yaml) in simulator::pipelines(world, &format!("http://{address}"), &drops) {
        fs::write(pipelines.join("sources").join(name), yaml)?;
    }
    for part in ["models", "definitions"] {
        copy_folder(&settings.pipelines.join(part), &pipelines.join(part))?;
    }
    for name in ["calendar.yaml", "releases.yaml"] {
        let file = settings.pipelines.join(name);
        if file.exists() {
            fs::copy(&file, pipelines.join(name))?;
        }
    }
    settings.data = folder.to_path_buf();
    settings.pipelines = pipelines;
    settings
        .secrets
        .insert("SIM_TOKEN".to_owned(), Secret(token));
    settings
        .pseudonym_key
        .get_or_insert_with(|| Secret::random(48));
    if settings.serve.users.is_empty() {
        let password = Secret::random(16);
        settings.serve.users.insert("pejl".to_owned(), password);
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    let entries = fs::read_dir(from).map_err(|err| {
        Mistake(format!(
            "{}: {err}; give the folder with models/ and definitions/ with --pipelines DIR",
            from.display()
        ))
    })?;
    for entry in entries {
        let path: PathBuf = entry?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        if path.is_dir() {
            copy_folder(&path, &to.join(name))?;
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

fn say_where(settings: &Settings, folder: &Path, listen: SocketAddr) -> io::Result<()> {
    let Some((user, password)) = settings.serve.users.first_key_value() else {
        return Ok(());
    };
    let url = format!("postgresql://{user}:{}@{listen}/pejl", password.0);
    output::line(&format!(
        "
SQL      psql \"{url}\"
try      psql \"{url}\" -c \"select * from mart.offer_overview limit 5\"
         psql \"{url}\" -c \"select * from mart.visitation_guide limit 5\"
         psql \"{url}\" -c \"select * from mart.contract_status limit 5\"
tables   {}
sources  {}
The sources go on: a day passes every {} s. Ctrl-C stops.
",
        settings.data.join("lake").display(),
        folder.join("pipelines").join("sources").display(),
        DAY.as_secs()
    ))
}

/// The case systems learn a day's news; providers and surveys deliver what is finished by then.
async fn pass_time(system: CaseSystem, drops: PathBuf, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(DAY) => {}
        }
        let date = system.advance(1);
        let world = system.world();
        let delivered = simulator::write_provider_drops(&world, &drops)
            .and_then(|_| simulator::write_survey_export(&world, &drops));
        match delivered {
            Ok(_) => tracing::info!(%date, "the simulated sources are a day older"),
            Err(err) => tracing::error!(%err, "the simulated providers could not deliver"),
        }
    }
}
