"""The controller as a process: whom it acts as, how it starts and ends."""


def test_it_acts_as_its_own_service_account_with_its_shipped_rights(cluster, controller, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    form = "jsonpath={.metadata.managedFields[*].manager}"
    managers = team.kubectl("get", "externalartifact", "weather", "--show-managed-fields", "-o", form)
    assert set(managers.split()) == {"externalsource-controller"}
    token = controller.token_file.read_text()
    who = cluster.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", kubeconfig=controller.kubeconfig)
    assert who == "system:serviceaccount:flux-system:externalsource-controller"
    assert token not in controller.log.read_text()
    assert not [one for one in controller.records() if "forbidden" in str(one)]


def test_it_takes_the_lease_and_gives_it_back_when_it_is_stopped(cluster, controller):
    def holder():
        return cluster.get("lease", "externalsource-controller-leader-election", "flux-system")["spec"]["holderIdentity"]

    assert holder().startswith("controller-0_")
    controller.stop()
    assert holder() == ""
    controller.start()
    assert controller.ready()


def test_what_it_fetches_is_served_and_counted(controller, team, upstream):
    team.source("weather", upstream.answer("/", b"sunny"))
    team.wait_ready("weather")
    assert team.artifact("weather") == {"data": "sunny"}
    assert [path.name for path in controller.files(team.namespace, "weather")] == [
        team.status("weather")["artifact"]["path"].split("/")[-1]
    ]
    counted = controller.metrics("externalsource_reconciliation_total")
    assert [value for labels, value in counted.items() if team.namespace in labels] == [1]
