"""What every end-to-end test starts from: one cluster for the session, a namespace for each test."""

import pathlib
import secrets
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# integration/ before tools/: both have an upstream.py, and ours is the scripted one.
sys.path[:0] = [str(ROOT / "test" / "integration"), str(ROOT / "test" / "tools")]

from cluster import Cluster  # noqa: E402
from controller import Controller, remove_sources  # noqa: E402
from loopback import ArtifactServer, Inbox  # noqa: E402
from team import Team  # noqa: E402
from upstream import Upstream  # noqa: E402


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A real Kubernetes API, CRDs applied; what is stopped in it must be started again by the test."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def namespace(cluster):
    """A new namespace; the namespace controller empties it after the test."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def kustomize_controller(cluster):
    return cluster.start_kustomize_controller()


@pytest.fixture(scope="session")
def notification_controller(cluster):
    return cluster.start_notification_controller()


@pytest.fixture(scope="session")
def toxiproxy(cluster):
    return cluster.start_toxiproxy()


@pytest.fixture
def api_proxy(cluster, toxiproxy):
    """A toxiproxy in front of the API server."""
    with cluster.api_proxy(f"api-{secrets.token_hex(4)}") as proxy:
        yield proxy


@pytest.fixture
def artifact_server():
    """Serves hand-made artifacts as a source controller would."""
    with ArtifactServer() as server:
        yield server


@pytest.fixture
def inbox():
    """A webhook that keeps what it is sent."""
    with Inbox() as server:
        yield server


@pytest.fixture(scope="module")
def controller(cluster, tmp_path_factory):
    """`sluice controller`, shared by a module's tests: one that stops it must start it again."""
    with Controller(cluster, tmp_path_factory.mktemp("controller")) as running:
        yield running
        if not running.running():
            running.expire_lease()
            running.start()
        remove_sources(cluster)
        running.stop()


@pytest.fixture
def team(cluster, controller, namespace):
    """A new namespace that the controller watches."""
    return Team(cluster, namespace)


@pytest.fixture
def upstream():
    """A scripted HTTP server: answer(path, body, ...), and what it was asked in `asked`."""
    server = Upstream()
    yield server
    server.close()
