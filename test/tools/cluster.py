#!/usr/bin/env python3
"""A real Kubernetes API with Flux's controllers, on loopback, without containers.

    cluster.py [--with kustomize,notification,toxiproxy]

As a program it runs in the foreground, prints what to connect to, and ends everything at SIGINT or SIGTERM;
`./dev cluster` does the same with all that it needs installed. Tests and benchmarks use `Cluster` as a context
manager. What it cannot do is run pods: there is no kubelet, so a Deployment is stored and no more.

Binaries come from $SLUICE_COMPONENTS (bin/ and crds/), which `./dev` builds and exports.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile

import trustme
import yaml

from child import Child, free_port, wait_for
from toxiproxy import Toxiproxy

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"
# What of kube-controller-manager does its work without nodes; the others would only watch.
CONTROLLERS = [
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
]


def components():
    """The directory with bin/ and crds/: $SLUICE_COMPONENTS, or what `./dev components` prints."""
    if not os.environ.get("SLUICE_COMPONENTS"):
        printed = subprocess.run([ROOT / "dev", "components"], check=True, stdout=subprocess.PIPE, text=True).stdout
        os.environ["SLUICE_COMPONENTS"] = printed.split()[-1]
    return pathlib.Path(os.environ["SLUICE_COMPONENTS"])


class KubectlError(AssertionError):
    """kubectl's own words, on its standard error."""


class Cluster:
    """etcd, kube-apiserver with RBAC, kube-controller-manager; CRDs of Flux and of deploy/crd applied.

    Everything lives in `directory`: certificates, data, kubeconfigs, logs (NAME.log). Ports stay the same when
    the API server is stopped and started, and its data too. Use it as a context manager, or call close().
    """

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.components = components()
        self.children = {}
        self.ports = {}
        self.toxiproxy = None
        self.written = 0
        self.authority = trustme.CA()
        self.ca_file = self.directory / "ca.crt"
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.server = f"https://{LOOPBACK}:{self._port('kube-apiserver')}"
        self.admin = self.kubeconfig("admin", "system:masters")
        self.tls = ssl.create_default_context(cafile=self.ca_file)
        self.tls.load_cert_chain(self.directory / "admin.crt", self.directory / "admin.key")

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    # Starting and stopping

    def start(self):
        self.start_etcd()
        self.start_api_server()
        self.apply_crds()
        # After the CRDs: the garbage collector looks for new kinds at its start and then every 30 seconds.
        self.start_controller_manager()

    def close(self):
        """Kills everything, last started first."""
        for child in reversed(list(self.children.values())):
            child.kill()
        self.children.clear()

    def start_etcd(self):
        client, peer = (f"http://{LOOPBACK}:{self._port(name)}" for name in ("etcd", "etcd-peer"))
        self._start(
            "etcd",
            f"--name=test --data-dir={self.directory / 'etcd'} --unsafe-no-fsync --log-level=warn",
            f"--listen-client-urls={client} --advertise-client-urls={client}",
            f"--listen-peer-urls={peer} --initial-advertise-peer-urls={peer} --initial-cluster=test={peer}",
        ).wait_until(lambda: self._answers("etcd", "/health"))

    def start_api_server(self):
        """Starts it, or starts it again after stop_api_server(), and waits for /readyz."""
        certificate, key = self._certificate("kube-apiserver", LOOPBACK)
        _, account_key = self._certificate("service-accounts", "service-accounts.test")
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://{LOOPBACK}:{self._port('etcd')} --service-cluster-ip-range=10.0.0.0/24",
            f"--bind-address={LOOPBACK} --secure-port={self._port('kube-apiserver')} --endpoint-reconciler-type=none",
            f"--tls-cert-file={certificate} --tls-private-key-file={key} --client-ca-file={self.ca_file}",
            f"--service-account-key-file={account_key} --service-account-signing-key-file={account_key}",
            "--service-account-issuer=https://kubernetes.default.svc --authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            # Or it waits a minute for open watches when it is stopped.
            "--shutdown-send-retry-after=true",
            f"--audit-policy-file={self._audit_policy()} --audit-log-path={self.directory / 'audit.log'}",
            "--audit-log-mode=blocking",
        ).wait_until(lambda: self.request("GET", "/readyz")[0] == 200)

    def audited(self, user, namespace, verbs=("create", "update", "patch", "delete")):
        """What a service account asked of a namespace, in order: audit.k8s.io/v1 Events of answered requests."""
        lines = (self.directory / "audit.log").read_text().splitlines()
        events = [json.loads(line) for line in lines if user in line and namespace in line and line.endswith("}")]
        return [
            one
            for one in events
            if one["user"]["username"] == user
            and one["verb"] in verbs
            and one.get("objectRef", {}).get("namespace") == namespace
        ]

    def stop_api_server(self, kill=False):
        """Stops it as an upgrade would, or kills it; data and port are kept for start_api_server()."""
        child = self.children["kube-apiserver"]
        child.kill() if kill else child.stop(grace=20)

    def start_controller_manager(self):
        _, account_key = self._certificate("service-accounts", "service-accounts.test")
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.admin} --leader-elect=false --controllers={','.join(CONTROLLERS)}",
            f"--authentication-skip-lookup=true --bind-address={LOOPBACK} --secure-port=0",
            f"--service-account-private-key-file={account_key} --root-ca-file={self.ca_file}",
        )
        wait_for(lambda: self.get("serviceaccount", "default", "default"), "the default service account")

    def start_kustomize_controller(self, *options, events=""):
        """Flux's kustomize-controller; `events` is the address that its events go to."""
        gates = "--feature-gates=ExternalArtifact=true"
        return self._start_flux("kustomize-controller", gates, f"--events-addr={events}", *options)

    def start_notification_controller(self, *options):
        """Flux's notification-controller; its addresses are notification_events and notification_receiver."""
        return self._start_flux(
            "notification-controller",
            f"--events-addr={LOOPBACK}:{self._port('notification-events')}",
            f"--receiverAddr={LOOPBACK}:{self._port('notification-receiver')}",
            *options,
        )

    @property
    def notification_events(self):
        """What a controller's --events-addr is set to."""
        return f"http://{LOOPBACK}:{self._port('notification-events')}"

    @property
    def notification_receiver(self):
        """Where webhooks go: this and a Receiver's status.webhookPath."""
        return f"http://{LOOPBACK}:{self._port('notification-receiver')}"

    def start_toxiproxy(self):
        """Starts toxiproxy-server and returns its client, which is also `self.toxiproxy`."""
        port = self._port("toxiproxy")
        child = self._start("toxiproxy-server", f"--host={LOOPBACK} --port={port}")
        child.wait_until(lambda: self._answers("toxiproxy", "/version"))
        self.toxiproxy = Toxiproxy(port)
        return self.toxiproxy

    # Talking to it

    def kubectl(self, *arguments, input=None, kubeconfig=None):
        """Runs kubectl as admin, or with another kubeconfig; returns its output or raises KubectlError."""
        done = subprocess.run(
            [
                self.components / "bin" / "kubectl",
                f"--kubeconfig={kubeconfig or self.admin}",
                f"--cache-dir={self.directory / 'kubectl'}",
                *map(str, arguments),
            ],
            input=input,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode != 0:
            raise KubectlError(done.stderr.strip())
        return done.stdout

    def apply(self, manifests, *options, namespace="default"):
        """kubectl apply of YAML text, of one object or of a list of them."""
        if not isinstance(manifests, str):
            manifests = yaml.safe_dump_all(manifests if isinstance(manifests, list) else [manifests])
        return self.kubectl("apply", "-n", namespace, "-f", "-", *options, input=manifests)

    def apply_status(self, manifest, namespace="default", manager="test"):
        """Server-side apply of an object's status."""
        self.apply(manifest, "--server-side", "--subresource=status", f"--field-manager={manager}", namespace=namespace)

    def get(self, kind, name, namespace="default"):
        """The object, or None where there is none."""
        text = self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else None

    def list(self, kind, namespace="default", *options):
        return json.loads(self.kubectl("get", kind, "-n", namespace, "-o", "json", *options))["items"]

    def wait_for(self, predicate, what=None, timeout=60):
        return wait_for(predicate, what, timeout, interval=0.2)

    def request(self, method, path, body=None, content_type="application/json"):
        """One request to the API server as admin, without kubectl: its status and body, parsed where it is JSON."""
        connection = http.client.HTTPSConnection(LOOPBACK, self._port("kube-apiserver"), context=self.tls, timeout=30)
        with contextlib.closing(connection):
            text = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": content_type})
            answer = connection.getresponse()
            content = answer.read()
            parse = "json" in answer.headers.get("Content-Type", "")
            return answer.status, json.loads(content) if parse else content.decode()

    def apply_crds(self):
        """Flux's CRDs, and ours where deploy/crd is there."""
        paths = [self.components / "crds"]
        if (ROOT / "deploy" / "crd").is_dir():
            paths.append(ROOT / "deploy" / "crd")
        for path in paths:
            kustomized = (path / "kustomization.yaml").exists()
            self.kubectl("apply", "--server-side", "-k" if kustomized else "-f", path)
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")

    # Who one is

    def token(self, service_account, namespace="default", seconds=3600):
        """A service account's token by TokenRequest; the API server grants no less than 600 seconds."""
        return self.kubectl("create", "token", service_account, "-n", namespace, f"--duration={seconds}s").strip()

    def kubeconfig(self, user=None, group=None, token=None, token_file=None, server=None):
        """Writes a kubeconfig and returns its path: for a user, in a group, by client certificate, or for a
        token or a file that holds one. `server` may name a proxy on 127.0.0.1: the certificate is good for it."""
        if user:
            certificate, key = self._certificate(user, f"{user}.test", user, group)
            credentials = {"client-certificate": str(certificate), "client-key": str(key)}
        elif token_file:
            credentials = {"tokenFile": str(token_file)}
        else:
            credentials = {"token": token}
        self.written += 1
        path = self.directory / f"kubeconfig-{user or self.written}"
        cluster = {"server": server or self.server, "certificate-authority": str(self.ca_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": credentials}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return path

    # Faults

    def compact(self):
        """Compacts all of etcd's history up to now; returns the revision. A running API server still answers from
        its cache: compact between stop_api_server() and start_api_server(), and lists and watches that go on from
        before get 410."""
        revision = self._etcd("/v3/maintenance/status", {})["header"]["revision"]
        self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        return int(revision)

    def api_proxy(self, name):
        """A toxiproxy in front of the API server; its kubeconfig is kubeconfig(..., server=proxy.url)."""
        return self.toxiproxy.proxy(name, f"{LOOPBACK}:{self._port('kube-apiserver')}", scheme="https")

    # Parts

    def _port(self, name):
        return self.ports.setdefault(name, free_port())

    def _binary(self, name):
        path = self.components / "bin" / name
        assert path.exists(), f"{path} is missing; ./dev components builds it"
        return path

    def _start(self, name, *options, env=None):
        """Starts a component; options are given as words divided by spaces."""
        words = [word for option in options for word in option.split()]
        log = self.directory / f"{name}.log"
        child = Child(name, [self._binary(name), *words], log, env=env, cwd=self.directory)
        self.children[name] = child
        return child

    def _start_flux(self, name, *options):
        if not self.get("namespace", "flux-system"):
            self.kubectl("create", "namespace", "flux-system")
        temporary = self.directory / f"{name}.tmp"
        temporary.mkdir(exist_ok=True)
        environment = {**os.environ, "KUBECONFIG": str(self.admin), "RUNTIME_NAMESPACE": "flux-system"}
        environment["TMPDIR"] = str(temporary)
        child = self._start(
            name,
            f"--enable-leader-election=false --metrics-addr=0 --health-addr={LOOPBACK}:{self._port(name)}",
            *options,
            env=environment,
        )
        child.wait_until(lambda: self._answers(name, "/readyz"))
        return child

    def _certificate(self, name, identity, user=None, group=None):
        """A certificate's and its key's files, made once per name."""
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        if not certificate.exists():
            issued = self.authority.issue_cert(identity, common_name=user, organization_name=group)
            issued.cert_chain_pems[0].write_to_path(certificate)
            issued.private_key_pem.write_to_path(key)
            key.chmod(0o600)
        return certificate, key

    def _answers(self, name, path):
        connection = http.client.HTTPConnection(LOOPBACK, self._port(name), timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status == 200

    def _audit_policy(self):
        """Metadata of what service accounts ask, once it is answered; nothing of the others."""
        path = self.directory / "audit-policy.yaml"
        rules = [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
        path.write_text(yaml.safe_dump(policy))
        return path

    def _etcd(self, path, body):
        connection = http.client.HTTPConnection(LOOPBACK, self._port("etcd"), timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body))
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            return json.loads(content)


STARTERS = {
    "kustomize": Cluster.start_kustomize_controller,
    "notification": Cluster.start_notification_controller,
    "toxiproxy": Cluster.start_toxiproxy,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--with", dest="extra", default="", help="of: " + ",".join(STARTERS))
    extra = [name for name in parser.parse_args().extra.split(",") if name]
    unknown = sorted(set(extra) - set(STARTERS))
    if unknown:
        parser.error(f"unknown component {unknown[0]!r}; there are {', '.join(STARTERS)}")
    # SIGINT too: a shell starts what it puts into the background with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    directory = tempfile.mkdtemp(prefix="sluice-cluster-")
    try:
        with Cluster(directory) as cluster:
            for name in extra:
                STARTERS[name](cluster)
            print(f"export KUBECONFIG={cluster.admin}")
            print(f"# kubectl: {cluster.components / 'bin' / 'kubectl'}; logs: {directory}/*.log")
            for name, port in sorted(cluster.ports.items()):
                print(f"# {name} {LOOPBACK}:{port}")
            sys.stdout.flush()
            signal.pause()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
