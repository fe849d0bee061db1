"""deploy/ as people apply it: what is created, what the controller may do, what the examples bring."""

import copy
import os
import re
import subprocess

import pytest
import yaml

from cluster import KubectlError
from once import PROGRAM, ROOT, condition, run_once
from rights import FLUX, OURS, all_rights

DEPLOY = ROOT / "deploy"
NAMESPACE = "flux-system"
NAME = "externalsource-controller"
READ = {"get", "list", "watch"}
SECRETS = {"/secrets": READ}
EVERYWHERE = {
    f"{OURS}/externalsources": {*READ, "patch"},
    f"{OURS}/externalsources/status": {"patch"},
    f"{OURS}/externalsources/finalizers": {"update"},
    f"{FLUX}/externalartifacts": {*READ, "create", "patch", "delete"},
    f"{FLUX}/externalartifacts/status": {"patch"},
    "/configmaps": READ,
    "events.k8s.io/events": {"create", "patch"},
}
LEASE = {"coordination.k8s.io/leases": {"get", "create", "update"}}
READY = {
    "type": "Ready",
    "status": "True",
    "reason": "Succeeded",
    "message": "",
    "lastTransitionTime": "2026-01-02T03:04:05Z",
}


def account(namespace=NAMESPACE):
    return f"system:serviceaccount:{namespace}:{NAME}"


def build(cluster, path):
    """What kustomize makes of a directory, by kind and name."""
    objects = yaml.safe_load_all(cluster.kubectl("kustomize", path))
    return {(found["kind"], found["metadata"]["name"]): found for found in objects}


@pytest.fixture(scope="module")
def installed(cluster):
    """`kubectl apply -k deploy`; its objects."""
    if not cluster.get("namespace", NAMESPACE):
        cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("apply", "-k", DEPLOY)
    return build(cluster, DEPLOY)


@pytest.fixture(scope="module")
def pod(installed):
    return installed["Deployment", NAME]["spec"]["template"]


@pytest.fixture(scope="module")
def manager(pod):
    return next(container for container in pod["spec"]["containers"] if container["name"] == "manager")


# Applying


def test_everything_is_there_after_kubectl_apply(cluster, installed):
    assert len(installed) == 13
    for kind, name in installed:
        assert cluster.get(kind, name, NAMESPACE), (kind, name)


def test_applying_again_changes_nothing(cluster, installed):
    lines = cluster.kubectl("apply", "-k", DEPLOY).splitlines()
    assert [line for line in lines if not line.endswith(" unchanged")] == []


def test_nothing_but_flux_own_namespace_is_taken_for_granted(installed):
    assert not [kind for kind, _ in installed if kind == "Namespace"]
    namespaces = {found["metadata"].get("namespace") for found in installed.values()}
    assert namespaces == {None, NAMESPACE}


@pytest.mark.parametrize("variant", ["variants/pvc", "variants/namespaced", "examples/sharding"])
def test_a_variant_is_admitted(cluster, installed, variant):
    cluster.kubectl("apply", "--dry-run=server", "-k", DEPLOY / variant)


def overlay(directory, **fields):
    """A kustomization over deploy/, as people write it."""
    fields.setdefault("resources", [DEPLOY])
    fields["resources"] = [os.path.relpath(path, directory.resolve()) for path in fields["resources"]]
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(fields))
    return directory


def test_another_namespace_and_image_are_an_overlay_away(cluster, tmp_path):
    image = {"name": "sluice", "newName": "registry.example/sluice", "newTag": "1"}
    made = build(cluster, overlay(tmp_path, namespace="team", images=[image]))
    assert made["Deployment", NAME]["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/sluice:1"
    for (kind, name), found in made.items():
        if kind.endswith("RoleBinding") or kind == "ClusterRoleBinding":
            assert [subject["namespace"] for subject in found["subjects"]] == ["team"], name


def test_flux_itself_installs_it(cluster, namespace, kustomize_controller, artifact_server):
    # The namespaced variant: what the others share, such as the ClusterRoleBindings, is left alone.
    paths = [path for path in DEPLOY.rglob("*") if path.is_file()]
    files = {str(path.relative_to(ROOT)): path.read_text() for path in paths}
    artifact = artifact_server.publish("sluice", files)
    source = {"apiVersion": f"{FLUX}/v1", "kind": "ExternalArtifact", "metadata": {"name": "sluice"}}
    kustomization = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "sluice"},
        "spec": {
            "interval": "1h",
            "prune": False,
            "path": "./deploy/variants/namespaced",
            "targetNamespace": namespace,
            "sourceRef": {"kind": "ExternalArtifact", "name": "sluice"},
            "images": [{"name": "sluice", "newName": "registry.example/sluice", "newTag": "1"}],
        },
    }
    cluster.apply(source, namespace=namespace)
    cluster.apply_status({**source, "status": {"artifact": artifact, "conditions": [READY]}}, namespace)
    cluster.apply(kustomization, namespace=namespace)
    try:
        cluster.kubectl("wait", "kustomization/sluice", "-n", namespace, "--for=condition=Ready", "--timeout=60s")
    except KubectlError:
        pytest.fail(str(cluster.get("kustomization", "sluice", namespace).get("status")))
    template = cluster.get("deployment", NAME, namespace)["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "registry.example/sluice:1"


# Rights


def test_the_controller_may_do_in_all_namespaces_what_it_needs_and_no_more(cluster, installed):
    assert all_rights(cluster, account(), "") == {**EVERYWHERE, **SECRETS}
    assert all_rights(cluster, account(), "default") == {**EVERYWHERE, **SECRETS}


def test_the_lease_is_in_its_own_namespace_only(cluster, installed):
    assert all_rights(cluster, account(), NAMESPACE) == {**EVERYWHERE, **SECRETS, **LEASE}


def test_no_rule_has_a_wildcard(installed):
    rules = [rule for found in installed.values() for rule in found.get("rules", [])]
    assert rules
    assert not [rule for rule in rules if any("*" in values for values in rule.values())]


CAN_I = [
    ("yes", "patch", "externalsources/status", "default"),
    ("yes", "create", "externalartifacts.source.toolkit.fluxcd.io", "default"),
    ("yes", "get", "secrets", "default"),
    ("yes", "create", "events.events.k8s.io", "default"),
    ("yes", "update", "leases", NAMESPACE),
    ("no", "update", "leases", "default"),
    ("no", "update", "externalsources", "default"),
    ("no", "create", "secrets", "default"),
    ("no", "create", "serviceaccounts/token", NAMESPACE),
    ("no", "create", "pods", NAMESPACE),
]


@pytest.mark.parametrize(("answer", "verb", "resource", "where"), CAN_I)
def test_the_service_accounts_own_token_has_these_rights(cluster, installed, answer, verb, resource, where):
    resource, _, subresource = resource.partition("/")
    options = [f"--subresource={subresource}"] if subresource else []
    kubeconfig = cluster.kubeconfig(token=cluster.token(NAME, NAMESPACE))
    asked = ("auth", "can-i", verb, resource, "-n", where, *options)
    if answer == "yes":
        assert cluster.kubectl(*asked, kubeconfig=kubeconfig).strip() == "yes"
    else:
        # kubectl says no on standard output, with exit code 1.
        with pytest.raises(KubectlError):
            cluster.kubectl(*asked, kubeconfig=kubeconfig)


def test_the_namespaced_variant_has_no_right_anywhere_else(cluster, namespace, tmp_path):
    cluster.kubectl("apply", "-k", overlay(tmp_path, namespace=namespace, resources=[DEPLOY / "variants/namespaced"]))
    assert all_rights(cluster, account(namespace), "") == {}
    assert all_rights(cluster, account(namespace), namespace) == {**EVERYWHERE, **SECRETS, **LEASE}


def test_secrets_can_be_granted_by_namespace(cluster, installed, namespace):
    cluster.kubectl("delete", "clusterrolebinding", f"{NAME}-secrets")
    try:
        grant = (f"--clusterrole={NAME}-secrets", f"--serviceaccount={NAMESPACE}:{NAME}")
        cluster.kubectl("create", "rolebinding", "secrets", "-n", namespace, *grant)
        assert all_rights(cluster, account(), "default") == EVERYWHERE
        assert all_rights(cluster, account(), namespace) == {**EVERYWHERE, **SECRETS}
    finally:
        cluster.kubectl("apply", "-k", DEPLOY)


@pytest.mark.parametrize(
    ("role", "verbs"),
    [("view", READ), ("edit", {*READ, "create", "update", "patch", "delete", "deletecollection"})],
)
def test_the_clusters_own_roles_cover_sources(cluster, installed, namespace, role, verbs):
    cluster.kubectl("create", "serviceaccount", "person", "-n", namespace)
    grant = (f"--clusterrole={role}", f"--serviceaccount={namespace}:person")
    cluster.kubectl("create", "rolebinding", "person", "-n", namespace, *grant)

    def rights():
        return all_rights(cluster, f"system:serviceaccount:{namespace}:person", namespace)

    # The aggregation is the controller manager's work.
    cluster.wait_for(lambda: rights().get(f"{OURS}/externalsources") == verbs, f"{role} to cover sources")
    assert f"{OURS}/externalsources/status" not in rights()


# The pod


def admit_pod(cluster, namespace, pod):
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod["spec"]}
    return cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", manifest)


@pytest.fixture
def restricted(cluster, namespace):
    """A namespace with Kubernetes' strictest pod security standard."""
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    return namespace


def test_the_pod_meets_the_restricted_pod_security_standard(cluster, restricted, pod):
    status, answer = admit_pod(cluster, restricted, pod)
    assert status == 201, answer["message"]


def test_the_standard_is_really_enforced(cluster, restricted, pod):
    loose = copy.deepcopy(pod)
    loose["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    status, answer = admit_pod(cluster, restricted, loose)
    assert status == 403 and "allowPrivilegeEscalation" in answer["message"]


def test_the_root_file_system_is_read_only(manager):
    assert manager["securityContext"]["readOnlyRootFilesystem"] is True
    storage = next(text.partition("=")[2] for text in manager["args"] if text.startswith("--storage-path="))
    assert storage in [mount["mountPath"] for mount in manager["volumeMounts"] if not mount.get("readOnly")]


def test_the_token_is_in_the_controllers_container_alone(installed, pod):
    tokens = {
        volume["name"]
        for volume in pod["spec"]["volumes"]
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", []))
    }
    holders = [
        container["name"]
        for container in pod["spec"]["containers"]
        if tokens & {mount["name"] for mount in container["volumeMounts"]}
    ]
    assert holders == ["manager"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert installed["ServiceAccount", NAME]["automountServiceAccountToken"] is False


def test_a_pod_that_holds_artifacts_is_never_beside_another(installed):
    deployment = installed["Deployment", NAME]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})


def test_probes_ask_the_health_server(manager):
    ports = {port["name"]: port["containerPort"] for port in manager["ports"]}
    assert ports == {"http": 8080, "http-prom": 8081, "healthz": 9440}
    probes = [manager[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe")]
    assert probes == [{"path": "/healthz", "port": "healthz"}, {"path": "/readyz", "port": "healthz"}]


@pytest.mark.parametrize("path", ["", "examples/sharding"])
def test_urls_of_artifacts_lead_to_the_service_of_this_controller(cluster, path):
    made = build(cluster, DEPLOY / path)
    service, deployment, policy = (
        next(found for (kind, _), found in made.items() if kind == wanted)
        for wanted in ("Service", "Deployment", "NetworkPolicy")
    )
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    container = template["spec"]["containers"][0]
    environment = {one["name"]: one["valueFrom"]["fieldRef"]["fieldPath"] for one in container["env"]}
    address = "$(SERVICE_NAME).$(POD_NAMESPACE).svc.cluster.local:8080"
    assert f"--storage-adv-addr={address}" in container["args"]
    assert environment["SERVICE_NAME"] == "metadata.labels['app']"
    assert labels["app"] == service["metadata"]["name"]
    assert service["spec"]["ports"] == [{"name": "http", "port": 8080, "targetPort": "http"}]
    for selector in (
        service["spec"]["selector"],
        deployment["spec"]["selector"]["matchLabels"],
        policy["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector == {"app": labels["app"]}


def test_the_claim_takes_the_place_of_the_empty_directory(cluster):
    made = build(cluster, DEPLOY / "variants/pvc")
    volumes = made["Deployment", NAME]["spec"]["template"]["spec"]["volumes"]
    claim = {"persistentVolumeClaim": {"claimName": NAME}}
    assert [volume for volume in volumes if volume["name"] == "data"] == [{"name": "data", **claim}]
    assert ("PersistentVolumeClaim", NAME) in made


def test_every_flag_of_the_pod_is_one_of_the_program(cluster):
    done = subprocess.run([PROGRAM, "controller", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    used = set()
    for path in ("", "variants/pvc", "variants/namespaced", "examples/sharding"):
        for (kind, _), found in build(cluster, DEPLOY / path).items():
            if kind == "Deployment":
                command, *flags = found["spec"]["template"]["spec"]["containers"][0]["args"]
                assert command == "controller"
                used |= {flag.partition("=")[0] for flag in flags}
    assert used - set(re.findall(r"--[a-z-]+", done.stdout)) == set()


# The examples


@pytest.mark.parametrize("path", sorted((DEPLOY / "examples").rglob("*.yaml")), ids=lambda path: path.name)
def test_the_api_server_admits_an_example(cluster, installed, path):
    if path.name == "kustomization.yaml":
        cluster.kubectl("apply", "--dry-run=server", "-k", path.parent)
    else:
        cluster.kubectl("apply", "--dry-run=server", "-f", path)


RELEASE = b'{"tag_name": "v2.7.0", "html_url": "https://example.com/v2.7.0"}'
FORECAST = b'{"forecast": [{"day": "monday", "sky": "clear"}]}'


@pytest.mark.parametrize(
    ("example", "address", "path", "body", "name"),
    [
        ("source.yaml", "https://api.example.com", "forecast.json", FORECAST, "forecast"),
        ("generator.yaml", "https://api.github.com", "repos/fluxcd/flux2/releases/latest", RELEASE, "flux-release"),
    ],
)
def test_an_example_works(artifact_server, tmp_path, example, address, path, body, name):
    artifact_server.artifacts[path] = body
    text = (DEPLOY / "examples" / "cluster" / example).read_text()
    assert address in text
    found = run_once(tmp_path, text.replace(address, artifact_server.url))[name]
    assert condition(found, "Ready")["status"] == "True", condition(found, "Ready")["message"]
