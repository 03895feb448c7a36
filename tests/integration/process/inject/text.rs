//! What passes byte for byte, and how the rest is written.

use super::inject;
use crate::harness::{Scratch, lockside};

const OTHERS: &str = "# a chart\n---\n# Source: x.yaml\nkind: ConfigMap   # kept\nmetadata: {name: x}\ndata:\n  \
                      mode: 0644\n  text: |\n     two  \n    \n---\n---\n# only a comment\n---\n";
const POD: &str = "kind: Pod\nmetadata:\n  name: web\n  labels:\n    lockside/inject: \"true\"\nspec:\n  containers:\n  - \
                   name: app\n    image: busybox\n";

async fn written(text: &str) -> String {
    let finished = inject(text).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{text}");
    finished.stdout
}

#[tokio::test]
async fn documents_that_do_not_change_pass_byte_for_byte() {
    for text in [
        "",
        "\n",
        "# only a comment",
        "---\n",
        "---\n---\n...\n",
        "kind: ConfigMap",
        "just a text\n",
        "- 1\n- 2\n",
        "%YAML 1.2\n---\nkind: ConfigMap\n...\n# end\n",
        "\u{feff}kind: ConfigMap\n",
        "kind: ConfigMap\r\ndata: {a: b}\r\n---\r\n\r\n",
        "a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n",
        "kind: Pod\nmetadata: {labels: {lockside/inject: \"false\"}}\n",
        OTHERS,
    ] {
        assert_eq!(written(text).await, text);
    }
}

#[tokio::test]
async fn around_an_injected_document_every_byte_stays() {
    let behind = "# end of the pod\n\n---\nkind: Secret # kept\nstringData: {a: 'b'}\n...\n# end";
    let out = written(&format!("{OTHERS}{POD}{behind}")).await;
    let made = out.strip_prefix(OTHERS).and_then(|out| out.strip_suffix(behind)).unwrap_or_else(|| panic!("{out}"));
    assert!(made.contains("\n  initContainers:\n  - name: lockside\n    image: lockside:"), "{made}");
    assert!(made.ends_with("      defaultMode: 0444\n"), "{made}");
    assert_eq!(written(&out).await, out, "a second time changes nothing");
}

/// Whether all lines of the one text are among those of the other, in their order.
fn assert_keeps_its_lines(before: &str, after: &str) {
    let mut lines = after.lines();
    for line in before.lines() {
        assert!(lines.any(|other| other == line), "`{line}` of\n{before}\nin\n{after}");
    }
}

#[tokio::test]
async fn comments_and_layout_within_an_injected_document_stay() {
    let text = "# first\nkind: CronJob\nspec:\n  schedule:   '* * * * *' # often\n  jobTemplate:\n    spec:\n      template:\n        \
                metadata:\n          labels:\n            # asks for it\n            lockside/inject: \"true\"   # yes\n          \
                annotations: # none\n            lockside/cli: \"true\"\n        spec:\n          # two of them\n          \
                initContainers:\n            # before\n            -   name: migrate # m\n                image: busybox\n          \
                containers:\n          - # the app\n            name: app\n            command: [a,  b]   # c\n            \
                args:\n            - |\n              text\n\n          volumes: # all\n          - name: tmp\n            \
                emptyDir: {}\n\n          # last\n  suspend: no\n# end";
    let out = written(text).await;
    assert_keeps_its_lines(text, &out);
    let position = |part: &str| out.find(part).unwrap_or_else(|| panic!("{part} in {out}"));
    assert!(
        position("# before") < position("- name: lockside\n")
            && position("- name: lockside-install") < position("-   name: migrate")
    );
    assert_eq!(written(&out).await, out, "a second time changes nothing");
}

#[tokio::test]
async fn lines_end_as_those_of_the_input_do() {
    let out = written(&POD.replace('\n', "\r\n")).await;
    assert_eq!(out.matches('\n').count(), out.matches("\r\n").count());
    assert!(out.contains("lockside/injected"));
    assert_eq!(written(&out).await, out);
}

#[tokio::test]
async fn values_are_written_as_they_were() {
    let spec = "  containers:\n  - name: app\n    image: \"busybox\"\n    args: ['it''s', \"yes\", 0444, on, ~, 1e3]\n    command:\n    \
                - sh\n    - -c\n    - |\n      set -e\n\n      echo \"hi\"\n    - |-\n      last\n    - \"a\\nb \\u0007\"\n  \
                nodeSelector: {disk: ssd}\n  enableServiceLinks: no\n  tolerations: []\n  affinity:\n";
    let out = written(&POD.replace("  containers:\n  - name: app\n    image: busybox\n", spec)).await;
    assert!(out.contains(spec), "{out}");
}

#[tokio::test]
async fn a_document_in_one_line_or_behind_its_dashes_is_injected_too() {
    let bare = "{kind: Pod, metadata: {name: web, labels: {lockside/inject: 'true'}}, spec: {containers: [{name: a}]}}";
    for text in [format!("--- {bare}"), format!("  {bare}\n"), format!("# a\n--- # b\n{bare} # c\n--- {bare}\n")] {
        let out = written(&text).await;
        assert_eq!(out.matches("lockside/injected").count(), text.matches("kind: Pod").count(), "{out}");
        assert_eq!(written(&out).await, out);
    }
}

/// What is written, and what is said of it.
async fn rewritten(text: &str) -> (String, String) {
    let finished = inject(text).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    (finished.stdout, finished.stderr)
}

#[tokio::test]
async fn texts_with_commas_and_brackets_are_quoted_where_they_come_into_brackets() {
    let spec = |env: &str, reference: &str| {
        format!(
            "kind: Pod\nmetadata: {{name: w, labels: {{lockside/inject: \"true\"}}, annotations: {{lockside/cli: \"true\"}}}}\n\
             spec:\n  volumes: []\n  containers:\n  - name: a\n    image: b\n    env: {env}\n    - {{name: X, value: \"1\"}}\n    \
             - name: A\n      value: one, two\n    - name: B\n      value: a [b] {{c}}#d?\n    - name: C\n      value: -n\n  \
             - {{name: c, image: d, env: {reference}}}\n"
        )
    };
    let out = written(&spec("&e", "*e")).await;
    for value in ["value: \"one, two\"}", "value: \"a [b] {c}#d?\"}", "value: -n}"] {
        assert!(out.contains(value), "{value}: {out}");
    }
    assert!(out.contains("      value: one, two\n"), "as it was where it is on a line of its own: {out}");
    assert_eq!(written(&out).await, out);
    // Within brackets, also of a document that is written from scratch.
    let merged = "x: &x\n  value: one, two\nkind: Pod\nmetadata:\n  name: w\n  labels:\n    <<: {lockside/inject: \"true\", a: b}\n\
                  spec:\n  containers:\n  - {name: a, env: [{name: A, <<: *x}]}\n";
    let (out, _) = rewritten(merged).await;
    assert!(out.contains("env: [{name: A, value: \"one, two\"}]"), "{out}");
}

#[tokio::test]
async fn brackets_and_nulls_become_lines_in_their_place() {
    for (volumes, init) in [
        ("volumes: [] # none", "initContainers:"),
        ("volumes: null # none", "initContainers: []"),
        ("volumes: # none", "initContainers: ~"),
    ] {
        let text = format!(
            "kind: Pod # the pod\nmetadata:\n  name: web\n  annotations: # none\n  labels:\n    lockside/inject: \"true\" # yes\n\
             spec: # all\n  {volumes}\n  # one\n  containers:\n  - name: app # it\n  {init}\n  tolerations: [] # kept\n"
        );
        let out = written(&text).await;
        for (part, count) in [
            ("#", 8),
            ("  volumes: # none\n  - name: lockside-secrets\n", 1),
            ("\n  tolerations: [] # kept\n", 1),
            ("\n  initContainers:\n  - name: lockside\n", 1),
            ("  annotations: # none\n    lockside/injected: ", 1),
        ] {
            assert_eq!(out.matches(part).count(), count, "{part}: {out}");
        }
        assert_eq!(written(&out).await, out);
    }
    // A spec in brackets, and a container.
    let text = "kind: Pod # the pod\nmetadata:\n  labels: {lockside/inject: \"true\"} # yes\n  annotations: {}   # none\n\
                spec: {containers: [{name: app, args: [a, b]}]} # all\n# end\n";
    let out = written(text).await;
    for part in [
        "# the pod",
        "lockside: sidecar} # yes\n",
        "}   # none\n",
        "\nspec: # all\n  containers: [{name: app, args: [a, b]}]\n  initContainers:\n",
        "# end",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[tokio::test]
async fn a_document_whose_comments_are_lost_is_told_and_json_is_not() {
    const TOLD: &str = "document 2: written from scratch, without its comments";
    let of = |inner: &str| {
        format!(
            "kind: ConfigMap\n---\nkind: Pod\nmetadata: {{labels: {{lockside/inject: \"true\"}}}}\nspec:\n  containers:\n  - name: \
             app\n  volumes: {inner}\n"
        )
    };
    let (out, said) = rewritten(&of("[ # none\n    ]")).await;
    assert!(said.contains(TOLD) && !out.contains('#'), "{said}: {out}");
    let (out, said) = rewritten(&of("[\n    ]")).await;
    assert_eq!(said, "", "{out}");
    let json = "kind: ConfigMap\n--- \n{\"kind\": \"Pod\", \"metadata\": {\"labels\": {\"lockside/inject\": \"true\"}},COMMENT\n\
                \"spec\": {\"containers\": [{\"name\": \"app\"}]}}\n";
    assert_eq!(rewritten(&json.replace("COMMENT", "")).await.1, "");
    let (out, said) = rewritten(&json.replace("COMMENT", " # lost")).await;
    assert!(said.contains(TOLD) && !out.contains('#'), "{said}: {out}");
}

#[tokio::test]
async fn a_text_that_ends_the_input_gets_no_newline_from_what_is_added_behind_it() {
    for (header, kept) in [("|", "|-"), ("|+ # c", "|- # c"), (">2", ">2-"), ("|-", "|-")] {
        let text = format!(
            "kind: Pod # the pod\nmetadata:\n  name: web\n  labels: {{lockside/inject: \"true\"}}\nspec:\n  containers:\n  - name: app\n    \
             args:\n    - {header}\n      echo"
        );
        let out = written(&text).await;
        assert!(out.contains(&format!("    - {kept}\n      echo\n  initContainers:\n")), "{out}");
        assert!(out.contains("# the pod"), "{out}");
        let closed = written(&format!("{text}\n")).await;
        assert!(closed.contains(&format!("    - {header}\n      echo\n")), "with a newline it stays: {closed}");
    }
    let passed = "kind: ConfigMap\ndata:\n  a: |\n    b";
    assert_eq!(written(passed).await, passed);
}

#[tokio::test]
async fn labels_that_are_merged_count_and_what_cannot_be_changed_in_place_is_written_from_scratch() {
    let text = |labels: &str| {
        format!(
            "x: &labels {{lockside/inject: \"true\"{labels}}}\nkind: Pod # the pod\nmetadata:\n  name: web\n  labels:\n    \
             <<: *labels\n    app: web\nspec:\n  containers:\n  - name: app\n"
        )
    };
    let one = written(&text("")).await;
    assert!(one.contains("  labels:\n    <<: *labels\n    app: web\n    lockside: sidecar\n"), "{one}");
    let (two, said) = rewritten(&text(", team: red")).await;
    assert_eq!(
        said,
        "lockside: document 1: written from scratch, without its comments, since it cannot be changed in its place\n"
    );
    let labels = "    lockside/inject: \"true\"\n    team: red\n    app: web\n    lockside: sidecar\n";
    assert!(two.contains(&format!("  labels:\n{labels}")) && !two.contains("# the pod"), "{two}");
    for out in [one, two] {
        assert_eq!(written(&out).await, out);
    }
}

#[tokio::test]
async fn what_is_no_yaml_is_refused_by_its_document_and_nothing_is_written() {
    for (text, said) in [
        ("kind: ConfigMap\n---\na: [1\n", "no YAML: document 2, line 3: "),
        ("a: b\n\tc: d\n", "no YAML: document 1, line "),
        ("a: *x\n", "no YAML: document 1, line 1: "),
        ("a: {b: c\n---\nd: e\n", "no YAML: document 1, line "),
    ] {
        let finished = inject(text).await;
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{text}");
        assert!(finished.stderr.contains(said), "{}", finished.stderr);
    }
    let finished = inject(b"a: \xff\n").await;
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""));
    assert!(finished.stderr.contains("no YAML: the input is not UTF-8 text"), "{}", finished.stderr);
}

#[tokio::test]
async fn a_key_that_a_mapping_has_twice_is_refused_with_both_lines_and_nothing_is_written() {
    let twice =
        format!("{OTHERS}{POD}  initContainers:\n  - name: one\n  volumes: []\n  initContainers:\n  - name: two\n");
    let begins = |(_, line): &(usize, &str)| line.starts_with("  initContainers:");
    let lines: Vec<usize> = twice.lines().enumerate().filter(begins).map(|(at, _)| at + 1).collect();
    let finished = inject(&twice).await;
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""));
    let said = format!("line {}: duplicate key `initContainers`, first on line {}", lines[1], lines[0]);
    assert!(finished.stderr.contains(&said), "{said}: {}", finished.stderr);
    for text in [
        "kind: Pod\nmetadata: {labels: {lockside/inject: \"false\"}}\ndata:\n  a: 1\n  a: 2\n",
        "{\"kind\": \"Pod\", \"metadata\": {\"labels\": {\"lockside/inject\": \"true\"}},\n\"a\": {\"b\": 1},\n\"a\": {}}",
        "items:\n- metadata:\n    labels: {lockside/inject: \"true\"}\n  a: 1\n  a: 2\n",
    ] {
        let finished = inject(text).await;
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{text}");
        assert!(
            finished.stderr.starts_with("lockside: document 1, line ")
                && finished.stderr.contains(": duplicate key `a`"),
            "{}",
            finished.stderr
        );
    }
}

#[tokio::test]
async fn a_document_without_the_label_that_has_a_key_twice_passes_with_a_warning() {
    let twice = "kind: ConfigMap # kept\ndata:\n  a: 1\n  a: 2\n";
    let finished = inject(twice).await;
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), twice));
    assert_eq!(
        finished.stderr,
        "lockside: document 1, line 4: duplicate key `a`, first on line 3; the document is left as it is\n"
    );
    let finished = inject(format!("{POD}---\n{twice}---\n[{{a: 1, a: 1}}]\n")).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.ends_with(&format!("---\n{twice}---\n[{{a: 1, a: 1}}]\n")), "{}", finished.stdout);
    assert!(finished.stdout.contains("lockside/injected"));
    for said in ["document 2, line ", "document 3, line "] {
        assert!(finished.stderr.contains(said), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn a_file_is_read_as_standard_input_is() {
    let scratch = Scratch::new();
    let file = scratch.file("web.yaml", POD);
    let finished = lockside(&["inject", &file]).await;
    assert_eq!((finished.code, finished.stdout), (Some(0), written(POD).await));
    let missing = lockside(&["inject", &scratch.path("missing.yaml")]).await;
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(1), ""));
    assert!(missing.stderr.contains("cannot read"), "{}", missing.stderr);
    let wrong = lockside(&["inject", "--image", "two words", &file]).await;
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(64), ""));
}
