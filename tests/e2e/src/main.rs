//! Tests in a real Kubernetes; see README.md.

mod cluster;
mod kubernetes;
mod load;
mod outside;
mod phones;
mod release;
mod scenes;
mod shell;
mod small;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

use cluster::{Cluster, Found};
use scenes::{SCENES, Scene};
use world::World;

#[derive(Debug, Parser)]
#[command(
    about = "Runs the release in a real Kubernetes, with phones outside",
    after_help = "Example: fairlead-e2e run hold"
)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run tests: all, or those whose name contains one of the words.
    Run {
        /// Parts of names.
        names: Vec<String>,
        /// Go on after a test that failed.
        #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
        keep_going: bool,
    },
    /// Name the tests.
    List,
    /// Be the phones (started by the tests, outside the cluster).
    #[command(hide = true)]
    Phones,
}

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match Cli::parse().what {
        What::Phones => runtime.block_on(phones::serve()).map(|()| ExitCode::SUCCESS),
        What::List => {
            for scene in SCENES {
                println!("{:<44} {}{}", scene.name, scene.says, scene.needs.note());
            }
            Ok(ExitCode::SUCCESS)
        }
        What::Run { names, keep_going } => runtime.block_on(run(&names, keep_going)),
    }
}

async fn run(names: &[String], keep_going: bool) -> anyhow::Result<ExitCode> {
    let wanted: Vec<&Scene> = SCENES.iter().filter(|scene| scene.is_wanted(names)).collect();
    if wanted.is_empty() {
        anyhow::bail!("no test is named like {names:?}; `list` names them");
    }
    let cluster = match Cluster::find().await? {
        Found::Cluster(cluster) => cluster,
        Found::Missing(why) => {
            for scene in &wanted {
                println!("test {} ... skipped: no cluster", scene.name);
            }
            println!("\n{why}");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let mut world = World::open(cluster).await?;
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    for scene in wanted {
        if let Some(why) = scene.needs.lacking(&world) {
            println!("test {} ... skipped: {why}", scene.name);
            skipped += 1;
            continue;
        }
        println!("test {} ...", scene.name);
        let began = Instant::now();
        let outcome = scene.run(&mut world).await;
        let seconds = began.elapsed().as_secs_f64();
        for figure in world.take_figures() {
            println!("     {figure}");
        }
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("test {} ... ok ({seconds:.1} s)", scene.name);
            }
            Err(error) => {
                println!(
                    "test {} ... FAILED ({seconds:.1} s)\n     {}",
                    scene.name,
                    indented(&format!("{error:#}"))
                );
                println!("     {}", indented(&world.state().await));
                failed.push(scene.name);
                if !keep_going {
                    break;
                }
                world.heal().await;
            }
        }
    }
    world.close().await;
    println!("\n{passed} passed, {} failed, {skipped} skipped", failed.len());
    for name in &failed {
        println!("  FAILED {name}    again: tests/run.sh e2e {name}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n     ")
}
