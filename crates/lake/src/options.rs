//! The options of an object store: known ones only, each once, and what the environment gives where they leave it out.

use std::collections::HashMap;

use object_store::{
    ObjectStoreScheme, aws::AmazonS3ConfigKey, azure::AzureConfigKey, gcp::GoogleConfigKey,
};

use crate::{Error, Result, storage::parse_root};

/// The options for the store at `root`: `settings`, and what they leave out from `environment`, which may hold
/// anything. Variables are named as the store's own tools name them: `AWS_…` for `s3://`, `AZURE_…` for `az://` and
/// `abfss://`, `GOOGLE_…` for `gs://`. Those that the store has no option for are passed over.
///
/// # Errors
/// [`Error::Settings`] when `settings` has an option that the store does not have, or one twice by two names.
pub fn store_options(
    root: &str,
    settings: &HashMap<String, String>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<HashMap<String, String>> {
    let Some(store) = Store::of(root)? else {
        return match settings.keys().next() {
            Some(option) => Err(Error::Settings(format!(
                "option `{option}`: tables at `{root}` are not in an object store, which is what options are for"
            ))),
            None => Ok(HashMap::new()),
        };
    };
    let mut options = HashMap::new();
    for (given, value) in settings {
        let name = store.name(given).ok_or_else(|| unknown(store, given))?;
        if options.insert(name, value.clone()).is_some() {
            return Err(Error::Settings(format!(
                "option `{given}` is given twice, by two names"
            )));
        }
    }
    let overruled: Vec<&str> = OVERRULED
        .iter()
        .filter(|(one, _)| options.contains_key(*one))
        .map(|(_, other)| *other)
        .collect();
    for (variable, value) in environment {
        let variable = variable.to_ascii_lowercase();
        let name = variable
            .strip_prefix(store.prefix())
            .and_then(|_| store.name(&variable));
        if let Some(name) = name.filter(|it| !overruled.contains(&it.as_str())) {
            options.entry(name).or_insert(value);
        }
    }
    Ok(options)
}

/// Options that say what others say: where the settings have the first, the environment's second is not theirs.
const OVERRULED: [(&str, &str); 3] = [
    ("aws_access_key_id", "aws_session_token"),
    ("aws_endpoint", "aws_endpoint_url_s3"),
    ("aws_default_region", "aws_region"),
];

#[derive(Debug, Clone, Copy)]
enum Store {
    S3,
    Azure,
    Google,
}

impl Store {
    /// `None` for a folder.
    fn of(root: &str) -> Result<Option<Self>> {
        let url = parse_root(root)?;
        let wrong = |err| Error::Settings(format!("root `{root}`: {err}"));
        Ok(match ObjectStoreScheme::parse(&url).map_err(wrong)?.0 {
            ObjectStoreScheme::AmazonS3 => Some(Self::S3),
            ObjectStoreScheme::MicrosoftAzure => Some(Self::Azure),
            ObjectStoreScheme::GoogleCloudStorage => Some(Self::Google),
            _ => None,
        })
    }

    /// What its variables and its options begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::S3 => "aws_",
            Self::Azure => "azure_",
            Self::Google => "google_",
        }
    }

    /// The one name of an option that may have several; `None` when there is no such option.
    fn name(self, option: &str) -> Option<String> {
        let option = option.to_ascii_lowercase();
        match self {
            Self::S3 => option.parse::<AmazonS3ConfigKey>().ok().as_ref().map(named),
            Self::Azure => option.parse::<AzureConfigKey>().ok().as_ref().map(named),
            Self::Google => option.parse::<GoogleConfigKey>().ok().as_ref().map(named),
        }
    }

    /// Options that people set. The store knows more, and tells of none.
    fn usual(self) -> &'static [&'static str] {
        match self {
            Self::S3 => &[
                "aws_access_key_id",
                "aws_secret_access_key",
                "aws_session_token",
                "aws_region",
                "aws_endpoint",
                "aws_allow_http",
                "aws_virtual_hosted_style_request",
                "aws_web_identity_token_file",
                "aws_role_arn",
                "aws_sse_kms_key_id",
                "aws_server_side_encryption",
                "timeout",
                "connect_timeout",
                "proxy_url",
                "proxy_ca_certificate",
                "allow_invalid_certificates",
            ],
            Self::Azure => &[
                "azure_storage_account_name",
                "azure_storage_account_key",
                "azure_storage_sas_token",
                "azure_client_id",
                "azure_client_secret",
                "azure_tenant_id",
                "azure_endpoint",
                "azure_storage_use_emulator",
                "azure_federated_token_file",
                "azure_allow_http",
                "timeout",
                "connect_timeout",
                "proxy_url",
            ],
            Self::Google => &[
                "google_service_account",
                "google_service_account_key",
                "google_application_credentials",
                "google_base_url",
                "timeout",
                "connect_timeout",
                "proxy_url",
            ],
        }
    }
}

fn named(key: &impl AsRef<str>) -> String {
    key.as_ref().to_owned()
}

fn unknown(store: Store, option: &str) -> Error {
    let given = option.to_ascii_lowercase();
    let bare = |it: &str| it.trim_start_matches(store.prefix()).to_owned();
    let nearest = store
        .usual()
        .iter()
        .max_by(|a, b| {
            let near = |it: &str| strsim::jaro_winkler(&bare(it), &bare(&given));
            near(a).total_cmp(&near(b))
        })
        .unwrap_or(&"");
    Error::Settings(format!(
        "option `{option}`: the store has none by that name; did you mean `{nearest}`?"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn options(
        root: &str,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<HashMap<String, String>> {
        store_options(root, &texts(settings), texts(environment))
    }

    #[test]
    fn an_unknown_option_is_refused_and_the_nearest_named() {
        for (root, given, nearest) in [
            ("s3://b/p", "aws_acces_key_id", "`aws_access_key_id`"),
            ("s3://b/p", "aws_endpiont", "`aws_endpoint`"),
            ("s3://b/p", "REGOIN", "`aws_region`"),
            (
                "az://c/p",
                "azure_storage_acount_key",
                "`azure_storage_account_key`",
            ),
            (
                "gs://b/p",
                "google_servic_account",
                "`google_service_account`",
            ),
        ] {
            let refused = options(root, &[(given, "s3cret")], &[])
                .unwrap_err()
                .to_string();
            assert!(
                refused.contains(given) && refused.contains(nearest),
                "{refused}"
            );
            assert!(!refused.contains("s3cret"), "{refused}");
        }
        let folder = std::env::temp_dir();
        let refused = options(folder.to_str().unwrap(), &[("aws_region", "x")], &[]);
        assert!(refused.unwrap_err().to_string().contains("`aws_region`"));
    }

    #[test]
    fn every_usual_option_is_one_the_store_knows() {
        for store in [Store::S3, Store::Azure, Store::Google] {
            for option in store.usual() {
                assert!(store.name(option).is_some(), "{store:?} {option}");
            }
        }
        for (one, other) in OVERRULED {
            let own = |name: &str| Store::S3.name(name).as_deref() == Some(name);
            assert!(own(one) && own(other), "{one} {other}");
        }
    }

    #[test]
    fn the_environment_gives_what_settings_leave_out() {
        let environment = [
            ("AWS_REGION", "eu-north-1"),
            ("AWS_ENDPOINT_URL_S3", "https://elsewhere"),
            ("AWS_SECRET_ACCESS_KEY", "from outside"),
            ("AWS_SESSION_TOKEN", "another's"),
            ("AWS_PROFILE", "default"),
            ("AZURE_CLIENT_ID", "none of its business"),
            ("REGION", "not ours to read"),
        ];
        let given = [
            ("region", "eu-west-1"),
            ("endpoint", "http://here"),
            ("aws_access_key_id", "me"),
        ];
        let expected = texts(&[
            ("aws_region", "eu-west-1"),
            ("aws_endpoint", "http://here"),
            ("aws_access_key_id", "me"),
            ("aws_secret_access_key", "from outside"),
        ]);
        assert_eq!(options("s3://b/p", &given, &environment).unwrap(), expected);
        let azure = options("az://c/p", &[], &environment).unwrap();
        assert_eq!(azure.len(), 1, "{azure:?}");
        let google = options("gs://b/p", &[], &[("GOOGLE_SERVICE_ACCOUNT", "key.json")]);
        assert_eq!(google.unwrap().len(), 1);
    }

    #[test]
    fn one_option_by_two_names_is_refused() {
        let twice = [("region", "a"), ("aws_region", "b")];
        assert!(
            options("s3://b/p", &twice, &[])
                .unwrap_err()
                .to_string()
                .contains("twice")
        );
    }
}
