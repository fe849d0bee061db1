"""Two processes fight for one Lease of a real API server: who leads, and that never both do."""

import os
import pathlib
import secrets
import signal

import pytest

from child import Child, wait_for

BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build/release"))
DURATION, DEADLINE, RETRY = 5000, 4000, 400


class Holder(Child):
    """A lease_holder. What it said so far is `lines`: pairs of a word and milliseconds."""

    def __init__(self, kubeconfig, namespace, identity, directory, duration=DURATION, deadline=DEADLINE):
        words = [BUILD / "lease_holder", kubeconfig, namespace, "leader", identity, duration, deadline, RETRY]
        super().__init__(identity, words, directory / f"{identity}.log")

    @property
    def lines(self):
        complete = self.log.read_text().rpartition("\n")[0].splitlines()
        said = [line.split() for line in complete if not line.startswith("{")]
        return [(word, int(time)) for word, time in said]

    def times(self, word):
        return [time for said, time in self.lines if said == word]

    def count(self, word):
        return len(self.times(word))

    def wait_for(self, word, count=1):
        wait_for(lambda: self.count(word) >= count, f"{self.name} to say {word}", 30)


@pytest.fixture
def holder(cluster, namespace, tmp_path):
    """holder() starts another candidate."""
    started = []

    def start(kubeconfig=None, **options):
        name = f"candidate-{len(started)}-{secrets.token_hex(4)}"
        started.append(Holder(kubeconfig or cluster.admin, namespace, name, tmp_path, **options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def record(cluster, namespace):
    return cluster.get("lease", "leader", namespace)["spec"]


def assert_never_both(first, second):
    """The one's last write comes before the other's first."""
    assert first.times("write")[-1] < second.times("acquired")[0]


def test_one_leads_and_the_other_waits(cluster, namespace, holder):
    first = holder()
    first.wait_for("acquired")
    before = record(cluster, namespace)
    second = holder()
    wait_for(lambda: record(cluster, namespace)["renewTime"] > before["renewTime"], "a renewal")
    first.wait_for("write", first.count("write") + DURATION // 20)
    after = record(cluster, namespace)
    assert after["holderIdentity"] == first.name
    assert after["acquireTime"] == before["acquireTime"]
    assert after["leaseTransitions"] == 0
    assert after["leaseDurationSeconds"] == DURATION / 1000
    assert second.lines == []
    assert first.count("lost") == 0


def test_a_killed_leader_is_followed_when_its_time_is_over(cluster, namespace, holder):
    first = holder()
    first.wait_for("acquired")
    second = holder()
    first.wait_for("write", 10)
    first.kill()
    second.wait_for("acquired")
    assert_never_both(first, second)
    # The other counts the whole duration, and from later than the first counts its deadline.
    assert second.times("acquired")[0] - first.times("write")[-1] >= DURATION - DEADLINE
    assert record(cluster, namespace)["holderIdentity"] == second.name
    assert record(cluster, namespace)["leaseTransitions"] == 1


def test_a_leader_that_is_terminated_hands_over_at_once(cluster, namespace, holder):
    # With terms so long that only a release explains a change within the test's time.
    first = holder(duration=600000, deadline=500000)
    first.wait_for("acquired")
    second = holder(duration=600000, deadline=500000)
    first.wait_for("write", 10)
    assert first.stop() == 0, first.tail()
    assert first.count("released") == 1
    assert first.count("lost") == 0
    second.wait_for("acquired")
    assert_never_both(first, second)
    assert record(cluster, namespace)["leaseTransitions"] == 1


def test_a_released_lease_that_nobody_wants_has_no_holder(cluster, namespace, holder):
    only = holder()
    only.wait_for("acquired")
    assert only.stop() == 0, only.tail()
    # The API server leaves an empty string out.
    assert record(cluster, namespace).get("holderIdentity", "") == ""
    assert record(cluster, namespace)["leaseDurationSeconds"] == 1


def test_a_leader_that_slept_past_its_term_knows_before_any_write(cluster, namespace, holder):
    first = holder()
    first.wait_for("acquired")
    second = holder()
    first.wait_for("write", 10)
    first.send(signal.SIGSTOP)
    second.wait_for("acquired")
    wrote = first.count("write")
    first.send(signal.SIGCONT)
    first.wait_for("lost")
    second.wait_for("write", second.count("write") + 50)
    assert first.count("write") == wrote
    assert first.count("lost") == 1
    assert first.count("acquired") == 1
    assert_never_both(first, second)
    assert second.count("lost") == 0


@pytest.mark.parametrize("way", ["cut", "half_open"])
def test_an_api_server_out_of_reach_for_too_long_costs_the_lease_once(cluster, api_proxy, holder, way):
    first = holder(cluster.kubeconfig("proxied", "system:masters", server=api_proxy.url))
    first.wait_for("acquired")
    getattr(api_proxy, way)()
    first.wait_for("lost")
    api_proxy.restore()
    first.wait_for("acquired", 2)
    lost, again = first.times("lost")[0], first.times("acquired")[1]
    assert first.count("lost") == 1
    assert not [time for time in first.times("write") if lost < time < again]


def test_a_deleted_lease_is_made_anew_by_its_holder(cluster, namespace, holder):
    first = holder()
    first.wait_for("acquired")
    uid = cluster.get("lease", "leader", namespace)["metadata"]["uid"]
    cluster.kubectl("delete", "lease", "leader", "-n", namespace)

    def anew():
        lease = cluster.get("lease", "leader", namespace)
        return lease and lease["metadata"]["uid"] != uid and lease["spec"]["holderIdentity"] == first.name

    wait_for(anew, "another Lease of the same holder")
    assert first.count("lost") == 0


def test_of_many_who_start_at_once_one_leads(cluster, namespace, holder):
    candidates = [holder() for _ in range(6)]
    wait_for(lambda: any(one.count("acquired") for one in candidates), "a leader")
    (leader,) = [one for one in candidates if one.count("acquired")]
    leader.wait_for("write", leader.count("write") + 200)
    assert [one for one in candidates if one.count("acquired")] == [leader]
