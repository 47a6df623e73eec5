"""One cluster of two processes for all tests of this folder."""

import pytest


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A client of a cluster of this machine, for ``with cluster.as_current():``; others hear nothing of it."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            scheduler_kwargs={"dashboard": False},
            local_directory=str(tmp_path_factory.mktemp("dask")),
        ) as workers,
        distributed.Client(workers, set_as_default=False) as client,
    ):
        yield client
