//! The Rust `fhir-sdk` (STU3 and R4B): reads, writes, searches and pages, with a token that it is given.

use std::{env, fmt::Display, future::Future};

use fhir_sdk::client::{Client, RequestSettings, ResourceWrite, SearchParameters};
use futures::TryStreamExt;
use reqwest::header::{HeaderValue, AUTHORIZATION};
use serde_json::{json, Value};

type Found = Result<Value, Box<dyn std::error::Error>>;

async fn step(name: &str, take: impl Future<Output = Found>) {
    let result = match take.await {
        Ok(found) => json!({"step": name, "found": found}),
        Err(error) => json!({"step": name, "error": described(error)}),
    };
    println!("{result}");
}

/// An error's first words: what follows is an address or the outcome's text.
fn described(error: impl Display) -> String {
    error.to_string().split(':').next().unwrap_or_default().to_owned()
}

macro_rules! program {
    ($version:ident, $marker:ident) => {
        async fn $version(base: &str, own: &str) -> Result<(), Box<dyn std::error::Error>> {
            use fhir_sdk::$version::resources::{Encounter, Observation, Patient, ResourceType};

            let mut settings = RequestSettings::default();
            if let Ok(token) = env::var("TOKEN") {
                settings = settings.header(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}"))?);
            }
            let client = Client::<fhir_sdk::version::$marker>::builder().base_url(base.parse()?).request_settings(settings).build()?;
            let patients = || SearchParameters::empty().and_raw("family", "black").and_raw("given", "ruth");

            step("statement", async { Ok(serde_json::to_value(client.capabilities().await?.fhir_version.clone())?) }).await;
            step("read", async { Ok(serde_json::to_value(client.read::<Patient>("1001").await?)?) }).await;
            step("missing", async { Ok(serde_json::to_value(client.read::<Patient>("nobody").await?)?) }).await;
            step("search", async {
                let people = client.search::<Patient>(patients()).await?;
                let stays = SearchParameters::empty()
                    .and_raw("patient", "Patient/1001")
                    .and_raw("_include", "Encounter:location")
                    .and_raw("_count", "10");
                let page = client.search::<Encounter>(stays).await?;
                Ok(json!([people.entries().collect::<Vec<_>>(), page.entries().collect::<Vec<_>>()]))
            })
            .await;
            step("pages", async {
                let all = client.search::<Observation>(SearchParameters::empty().and_raw("_count", "25")).await?;
                let found: Vec<_> = all.all_entries().try_collect().await?;
                let ids = |found| serde_json::to_value(found).map(|resource| resource["id"].clone());
                Ok(found.into_iter().map(ids).collect::<Result<Value, _>>()?)
            })
            .await;
            step("history", async {
                let past = client.history::<Patient>(Some("1001")).await?;
                Ok(json!([client.read_version::<Patient>("1001", "1").await?, past.entries().collect::<Vec<_>>()]))
            })
            .await;
            step("write", async {
                let new = json!({"resourceType": "Patient", "id": own, "gender": "female"});
                let mut patient: Patient = serde_json::from_value(new)?;
                let created = patient.update(false, &client).await?;
                let updated = patient.update(true, &client).await?;
                patient.meta.as_mut().map(|meta| meta.version_id = Some("77".into()));
                let stale = patient.update(true, &client).await.map_err(described);
                let mut other = patient.clone();
                other.id = None;
                let id_given = !other.create(&client).await?.is_empty();
                patient.delete(&client).await?;
                let gone = client.read::<Patient>(own).await.map(|found| found.is_none()).map_err(described);
                Ok(json!([created, updated, stale, id_given, gone]))
            })
            .await;
            step("batch", async {
                let mut batch = client.batch();
                batch.read(ResourceType::Patient, "1001");
                batch.read(ResourceType::Patient, "nobody");
                let answer = serde_json::to_value(batch.send().await?)?;
                let entries = answer["entry"].as_array().cloned().unwrap_or_default();
                let status = |entry: &Value| entry["response"]["status"].as_str().map(|text| text[..3].to_owned());
                Ok(json!(entries.iter().map(status).collect::<Vec<_>>()))
            })
            .await;
            Ok(())
        }
    };
}

program!(stu3, FhirStu3);
program!(r4b, FhirR4B);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (base, own) = (env::var("FHIR_BASE")?, env::var("OWN")?);
    match env::var("VERSION")?.as_str() {
        "stu3" => stu3(&base, &own).await,
        _ => r4b(&base, &own).await,
    }
}
