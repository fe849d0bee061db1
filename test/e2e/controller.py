"""`sluice controller` as deploy/ runs it: in flux-system, as its own service account, with deploy/rbac's rights.

    with Controller(cluster, directory) as controller:      # or the fixture `controller` of conftest.py
        controller.restart(kill=True)
        controller.records(msg="reconciliation succeeded", name="weather")

Faults are set up from outside: `server=` puts a proxy before the API server, `options` are further flags,
`instance` names a replica; replicas that share an artifact storage are given the same `storage`.
"""

import json
import os
import signal
import urllib.error
import urllib.request

from child import Child, wait_for
from once import PROGRAM, ROOT

NAMESPACE = "flux-system"
ACCOUNT = "externalsource-controller"
LEASE = "externalsource-controller-leader-election"
SERVERS = ("storage", "metrics", "health")


class Controller:
    """One replica. Its directory holds artifacts (`storage`), its token (`token_file`, which may be rewritten while
    it runs) and its log, to which every start appends."""

    def __init__(self, cluster, directory, *options, instance="controller-0", server=None, storage=None):
        self.cluster = cluster
        self.instance = instance
        self.options = options
        self.directory = directory / instance
        self.directory.mkdir(parents=True)
        self.storage = storage or self.directory / "data"
        self.log = self.directory / "log"
        self.token_file = self.directory / "token"
        self.child = None
        self.addresses = {}
        self._begun = 0
        install_rights(cluster)
        self.renew_token()
        self.kubeconfig = cluster.kubeconfig(token_file=self.token_file, server=server)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()

    def start(self, *options, leads=True):
        """Starts it and waits for its servers, and, unless `leads` is false, until it reconciles. Artifacts are
        served where they were before a restart, as behind a Service."""
        assert not self.running()
        addresses = {name: "127.0.0.1:0" for name in SERVERS}
        addresses["storage"] = self.addresses.get("storage", addresses["storage"])
        self._begun = len(self._lines())
        command = [PROGRAM, "controller", f"--kubeconfig={self.kubeconfig}", f"--storage-path={self.storage}"]
        command += [f"--{name}-addr={address}" for name, address in addresses.items()]
        environment = {**os.environ, "POD_NAMESPACE": NAMESPACE, "POD_NAME": self.instance}
        command += ["--log-level=debug", *self.options, *options]
        self.child = Child(self.instance, command, self.log, env=environment, cwd=self.directory)
        self.child.wait_until(self._listens)
        if leads:
            self.child.wait_until(self.ready)
        return self

    def stop(self, grace=20):
        """SIGTERM; it must end well."""
        code = self.child.stop(grace)
        assert code == 0, f"{self.instance} ended with {code}:\n{self.child.tail()}"
        self._check_log()

    def kill(self):
        """SIGKILL. Its lease stays taken: see expire_lease()."""
        if self.running():
            self.child.kill()
        self._check_log()

    def restart(self, *options, kill=False):
        """Stops or kills it and starts it again. After a kill the lease is as if it had run out meanwhile."""
        if kill:
            self.kill()
            self.expire_lease()
        else:
            self.stop()
        return self.start(*options)

    def running(self):
        return self.child is not None and self.child.running()

    def pause(self):
        self.child.send(signal.SIGSTOP)

    def resume(self):
        self.child.send(signal.SIGCONT)

    def expire_lease(self):
        """Removes the lease, so that nobody need wait 35 s for it."""
        self.cluster.kubectl("delete", "lease", LEASE, "-n", NAMESPACE, "--ignore-not-found")

    def renew_token(self, seconds=3600):
        """Writes a new token into `token_file`, as kubelet does."""
        token = self.cluster.token(ACCOUNT, NAMESPACE, seconds)
        fresh = self.token_file.with_suffix(".new")
        fresh.write_text(token)
        fresh.rename(self.token_file)

    def records(self, **fields):
        """The log's records with all of these fields, of all starts, oldest first."""
        return select(self._lines(), fields)

    def new_records(self, **fields):
        """The same, of the last start only."""
        return select(self._lines()[self._begun :], fields)

    def get(self, server, path):
        """GET from one of its servers: status and body."""
        try:
            with urllib.request.urlopen(f"http://{self.addresses[server]}{path}", timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def ready(self):
        return self.get("health", "/readyz")[0] == 200

    def writes(self, namespace):
        """What it wrote in a namespace, in order: "VERB RESOURCE[/SUBRESOURCE]"; refused requests too."""
        asked = self.cluster.audited(f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}", namespace)
        references = [(one["verb"], one["objectRef"]) for one in asked]
        return [f"{verb} {'/'.join(filter(None, (it['resource'], it.get('subresource'))))}" for verb, it in references]

    def metrics(self, name):
        """{its labels, as in the text: value} of one metric."""
        found = {}
        for line in self.get("metrics", "/metrics")[1].decode().splitlines():
            series, _, value = line.rpartition(" ")
            if series.split("{")[0] == name:
                found[series[len(name) :]] = float(value)
        return found

    def files(self, namespace, name):
        """What storage holds of a source."""
        return sorted((self.storage / "artifacts" / namespace / name).glob("*"))

    def _lines(self):
        """Whole lines only: the last may be under way."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()

    def _listens(self):
        found = {record["server"]: record["address"] for record in self.new_records(msg="server listens")}
        self.addresses.update(found)
        return len(found) == len(SERVERS)

    def _check_log(self):
        text = "\n".join(self._lines())
        for sign in ("Sanitizer", "runtime error:"):
            assert sign not in text, text[text.index(sign) - 200 :][:5000]


def select(lines, fields):
    records = [json.loads(line) for line in lines if line.startswith("{")]
    return [one for one in records if all(one.get(name) == value for name, value in fields.items())]


def install_rights(cluster):
    """deploy/rbac, and the namespace that Flux brings."""
    if not cluster.get("namespace", NAMESPACE):
        cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("apply", "-k", ROOT / "deploy" / "rbac")


def remove_sources(cluster):
    """Deletes every source and waits; what a controller does not release in time loses its finalizers, so that the
    namespaces of a test that failed do not stay for ever."""
    cluster.kubectl("delete", "externalsources", "--all", "-A", "--wait=false")
    try:
        wait_for(lambda: not cluster.list("externalsources", "default", "-A"), "the sources to be gone", 30)
    finally:
        for found in cluster.list("externalsources", "default", "-A"):
            where, name = found["metadata"]["namespace"], found["metadata"]["name"]
            patch = '{"metadata":{"finalizers":null}}'
            cluster.kubectl("patch", "externalsource", name, "-n", where, "--type=merge", "-p", patch)
