//! `contrib/ci`: what its jobs type works on a runner that has credentials in its environment and nothing else.

use std::fs;
use std::path::PathBuf;

use repository::{scripts, yaml};
use sandbox::{ACCOUNT, Credential};
use serde_json::Value;

use crate::world::{CommandOutput, World, run};

/// A sandbox with an empty home, and a checkout in a folder of its own.
struct Runner {
    world: World,
    checkout: PathBuf,
    temp: PathBuf,
    credential: Credential,
}

impl Runner {
    fn new() -> Self {
        let world = World::bare();
        fs::remove_dir_all(world.home().join(".aws")).unwrap();
        assert_eq!(fs::read_dir(world.home()).unwrap().count(), 0, "an empty home");
        let credential = Credential {
            session_token: Some("token-of-the-job-that-nobody-else-has".to_owned()),
            arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/DEPLOY/GitHubActions"),
            user_id: "AROADEPLOY:GitHubActions".to_owned(),
            ..Credential::long_lived("ASIASESSIONOFTHEJOB", ACCOUNT, "deploy")
        };
        world.sandbox.add_credential(credential.clone()).unwrap();
        let (checkout, temp) = (world.sandbox.dir().join("work"), world.sandbox.dir().join("temp"));
        fs::create_dir_all(&checkout).unwrap();
        fs::create_dir_all(&temp).unwrap();
        fs::write(checkout.join("README.md"), "what is deployed\n").unwrap();
        Self { world, checkout, temp, credential }
    }

    /// Runs a step as the runner does, `sudo` and all left out.
    fn step(&self, script: &str, variables: &[(&str, &str)]) -> CommandOutput {
        let mut command = self.world.sandbox.command("bash");
        // A file, as the runner has it, and not an argument: `cd` is the first thing that it needs to know.
        let file = self.temp.join("step.sh");
        fs::write(&file, format!("cd '{}'\n{script}", self.checkout.display())).unwrap();
        command.args(["--noprofile", "--norc", "-e", "-o", "pipefail"]).arg(&file).env("CI", "true");
        command.envs(variables.iter().copied());
        let output = run(command);
        fs::remove_file(&file).unwrap();
        output
    }

    /// What `aws-actions/configure-aws-credentials` leaves in the environment of later steps, and the runner's own.
    fn github(&self) -> Vec<(&str, &str)> {
        vec![
            ("AWS_ACCESS_KEY_ID", &self.credential.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &self.credential.secret_access_key),
            ("AWS_SESSION_TOKEN", self.credential.session_token.as_deref().expect("a token")),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("RUNNER_TEMP", self.temp.to_str().expect("text")),
            ("GITHUB_ACTIONS", "true"),
        ]
    }

    /// Every file below the home, the checkout and the folder for temporary ones.
    fn files(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.world.home().to_owned(), self.checkout.clone(), self.temp.clone()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() { &mut folders } else { &mut files }.push(path);
            }
        }
        files
    }

    /// Files that hold one of these words.
    fn holding(&self, words: &[&str]) -> Vec<PathBuf> {
        let holds = |path: &PathBuf| {
            let text = fs::read(path).unwrap_or_default();
            words.iter().any(|word| text.windows(word.len()).any(|part| part == word.as_bytes()))
        };
        self.files().into_iter().filter(holds).collect()
    }

    /// What has arrived on the instance.
    fn deployed(&self) -> String {
        self.world.sh("cat ~ec2-user/deployed/README.md").ok().to_owned()
    }

    fn private_keys(&self) -> Vec<PathBuf> {
        self.holding(&["PRIVATE KEY-----"])
    }
}

#[sandbox::needs_namespaces]
#[test]
fn the_job_for_github_deploys_and_leaves_no_credentials() {
    let Some(file) = yaml("contrib/ci/github-actions.yml") else { return };
    let job = &file["jobs"]["deploy"];
    assert_eq!(file["permissions"]["id-token"], "write", "without it there is no token to sign in with");
    let runner = Runner::new();
    let mut ran = 0;
    // The program under test is on PATH already.
    for (name, script) in scripts(job).into_iter().filter(|(name, _)| name != "Install ssh-eic") {
        assert!(!script.contains("${{"), "{name}: a shell gets values by the environment, not pasted into its words");
        if name == "Forget it" {
            assert_eq!(runner.private_keys().len(), 1, "one key for the one host");
        }
        runner.step(&script, &runner.github()).ok();
        let credential = &runner.credential;
        let secrets = [&credential.secret_access_key, credential.session_token.as_ref().unwrap()].map(String::as_str);
        assert_eq!(runner.holding(&secrets), Vec::<PathBuf>::new(), "{name}");
        ran += 1;
    }
    assert_eq!(ran, 3, "find, deploy, forget");
    let pushes = runner.world.pushes();
    assert_eq!((pushes.len(), &pushes[0].access_key_id), (1, &runner.credential.access_key_id));
    assert!(!runner.world.home().join(".ssh/config").exists(), "nothing of the person's own ssh is set up");
    assert_eq!(runner.private_keys(), Vec::<PathBuf>::new());
    assert_eq!(runner.deployed(), "what is deployed\n");
}

#[sandbox::needs_namespaces]
#[test]
fn the_job_for_gitlab_deploys_with_the_token_alone() {
    let Some(file) = yaml("contrib/ci/gitlab-ci.yml") else { return };
    let job = &file["deploy"];
    let runner = Runner::new();
    let project = runner.checkout.display().to_string();
    let mut variables = vec![("CI_PROJECT_DIR".to_owned(), project.clone())];
    variables.push(("AWS_ID_TOKEN".to_owned(), "the.token.of.the.job".to_owned()));
    for (name, value) in job["variables"].as_object().expect("variables") {
        let value = value.as_str().expect("text").replace("$CI_PROJECT_DIR", &project).replace("$CI_", "");
        variables.push((name.clone(), value.replace("ACCOUNT", ACCOUNT)));
    }
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let lines = |key: &str| {
        let lines: Vec<&str> = job[key].as_array().expect(key).iter().filter_map(Value::as_str).collect();
        lines.join("\n")
    };
    runner.step(&lines("script"), &variables).ok();
    let pushes = runner.world.pushes();
    assert_eq!(pushes.len(), 1);
    let signed_in = runner.world.sandbox.calls().unwrap();
    let signed_in: Vec<_> = signed_in.iter().filter(|call| call.service == "sts").collect();
    assert_eq!(signed_in.len(), 2, "one to find the instances, one for all connections: {signed_in:?}");
    assert_eq!(signed_in[0].params["WebIdentityToken"], "the.token.of.the.job");
    assert_eq!(runner.deployed(), "what is deployed\n");
    runner.step(&lines("after_script"), &variables).ok();
    let secrets = ["the.token.of.the.job", "secret/of", "session-of-", "PRIVATE KEY-----"];
    assert_eq!(runner.holding(&secrets), Vec::<PathBuf>::new());
}
