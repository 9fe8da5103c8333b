//! Where credentials come from: the SDK's whole chain, which reads the environment of a process.
//! Each case is a process of its own with the environment of that case, this program once more.

#[path = "sqs/kit.rs"]
#[allow(dead_code)]
mod kit;

use std::path::PathBuf;
use std::process::Command;

use queue_runtime_core::{Runtime, RuntimeConfig};
use queue_runtime_services::{Fault, Proxy};

use kit::{boto3, ministack};

const URL: &str = "QRT_TEST_URL";
const ROLE: &str = "arn:aws:iam::000000000000:role/worker";

/// Sends one message to the URL in the environment. Prints its error, if any.
#[test]
#[ignore = "started by the other tests of this program"]
fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let sent = runtime.block_on(async {
        let client = runtime.connect(url).await?;
        client.queue("credentials")?.send("a").await
    });
    match sent.unwrap() {
        Ok(_) => println!("sent"),
        Err(error) => println!("{error:?}"),
    }
}

/// A place with no credentials of the machine's own.
struct Case {
    proxy: Proxy,
    home: PathBuf,
    environment: Vec<(String, String)>,
}

impl Case {
    fn new(name: &str) -> Self {
        boto3(ministack(), "sqs.create_queue(QueueName='credentials')");
        let home =
            std::env::temp_dir().join(format!("qrt-credentials-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let proxy = Proxy::before(ministack().port()).unwrap();
        let environment = Vec::new();
        let case = Self {
            proxy,
            home,
            environment,
        };
        case.with("AWS_EC2_METADATA_DISABLED", "true")
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn answers(self, path: &str, body: impl Into<String>) -> Self {
        self.proxy
            .always(Some(path), Fault::Answer(200, body.into()));
        self
    }

    /// What the process printed, and whose key signed its last request.
    fn run(self, options: &str) -> (String, Option<String>) {
        let url = format!(
            "sqs://us-east-1?endpoint={}{options}",
            self.proxy.endpoint()
        );
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env_clear()
            .env("HOME", &self.home)
            .env(URL, url)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        std::fs::remove_dir_all(&self.home).unwrap();
        (printed, self.proxy.signers().pop())
    }

    fn signs_as(self, options: &str, key: &str) {
        let (printed, signer) = self.run(options);
        assert!(printed.contains("sent"), "{printed}");
        assert_eq!(signer.as_deref(), Some(key));
    }
}

fn keys(id: &str) -> String {
    format!(
        r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "{id}", "SecretAccessKey": "s",
            "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}}"#
    )
}

fn assumed(action: &str, id: &str) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
         <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
         <SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
         <AssumedRoleUser><Arn>{ROLE}</Arn><AssumedRoleId>x:y</AssumedRoleId></AssumedRoleUser>\
         </{action}Result></{action}Response>"
    )
}

#[test]
fn from_the_url() {
    Case::new("url").signs_as("&access_key_id=from-url&secret_access_key=s", "from-url");
}

#[test]
fn from_the_environment() {
    let case = Case::new("environment").with("AWS_ACCESS_KEY_ID", "from-env");
    case.with("AWS_SECRET_ACCESS_KEY", "s")
        .signs_as("", "from-env");
}

#[test]
fn from_a_profile() {
    let case = Case::new("profile");
    let file = case.file(
        "credentials",
        "[work]\naws_access_key_id = from-profile\naws_secret_access_key = s\n",
    );
    case.with("AWS_SHARED_CREDENTIALS_FILE", file)
        .signs_as("&profile=work", "from-profile");
}

#[test]
fn from_a_container() {
    let case = Case::new("container").answers("/container", keys("from-container"));
    let uri = format!("{}/container", case.proxy.endpoint());
    case.with("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
        .signs_as("", "from-container");
}

#[test]
fn from_a_web_identity() {
    let case = Case::new("web").answers("/", assumed("AssumeRoleWithWebIdentity", "from-web"));
    let (file, sts) = (case.file("token", "token"), case.proxy.endpoint());
    case.with("AWS_WEB_IDENTITY_TOKEN_FILE", file)
        .with("AWS_ROLE_ARN", ROLE)
        .with("AWS_ENDPOINT_URL_STS", sts)
        .signs_as("", "from-web");
}

#[test]
fn from_a_role_that_is_assumed() {
    let case = Case::new("role").answers("/", assumed("AssumeRole", "from-role"));
    let sts = case.proxy.endpoint();
    let options = format!("&access_key_id=base&secret_access_key=s&role_arn={ROLE}&external_id=x");
    case.with("AWS_ENDPOINT_URL_STS", sts)
        .signs_as(&options, "from-role");
}

#[test]
fn from_the_instance() {
    let base = "/latest/meta-data/iam/security-credentials";
    let case = Case::new("instance")
        .answers("/latest/api/token", "token")
        .answers(&format!("{base}-extended/"), "worker")
        .answers(&format!("{base}-extended/worker"), keys("from-instance"))
        .answers(&format!("{base}/"), "worker")
        .answers(&format!("{base}/worker"), keys("from-instance"));
    let endpoint = case.proxy.endpoint();
    case.with("AWS_EC2_METADATA_DISABLED", "false")
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
        .signs_as("", "from-instance");
}

#[test]
fn from_nowhere() {
    let (printed, signer) = Case::new("nowhere").run("");
    assert!(printed.contains("Unauthenticated"), "{printed}");
    assert_eq!(signer, None);
}

#[test]
fn a_client_without_a_region_does_not_open() {
    let case = Case::new("region");
    let endpoint = case.proxy.endpoint();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env_clear()
        .env("HOME", &case.home)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env(URL, format!("sqs:?endpoint={endpoint}"))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        printed.contains("InvalidConfig") && printed.contains("AWS_REGION"),
        "{printed}"
    );
}
