"""Measuring on the workers of a Dask cluster.

A task says where its records lie, and the answer is a few hundred numbers: workers read the files
themselves, from a shared file system or an object store. A task whose worker dies is given to
another one by Dask; captures are aligned and judged here. Laws are held against their places in the
same way (`law_tasks`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ...capture.environment import usable_cores
from ...capture.extras import has_extra, needs
from ...capture.records import Capture
from ...capture.storage import size_of, storage_of
from ..tasks.elsewhere import whole_path
from .cache import ENGINE

if TYPE_CHECKING:
    from ..aligned import Aligned

LOCAL = "local"
_PATIENCE = 10.0  # seconds until a scheduler and its first worker must have answered


class ClusterError(Exception):
    """A cluster that cannot be used; one line for the user."""


@dataclass(frozen=True)
class Cluster:
    """An open connection. `workers` is how many tasks run at a time."""

    address: str
    client: Any
    executor: Executor
    workers: int

    @property
    def lost(self) -> bool:
        """True where the scheduler went away, and with it every result that was under way."""
        return self.client.status != "running"

    def check(self, aligned: Aligned) -> None:
        """Raises `ClusterError` where a worker does not see the same files, or is of another
        version, which would measure something else.
        """
        files = {**_some_files(aligned.reference), **_some_files(aligned.candidate)}
        refuse_secrets(files)
        found = self.client.run(look, files, on_error="return")
        if not found:
            raise ClusterError(f"{self.address}: no workers are left")
        for worker, answer in found.items():
            if isinstance(answer, BaseException):
                raise ClusterError(f"{worker}: {_words(answer)}; install layertui there, too")
            said, problem = answer
            if said != _versions():
                raise ClusterError(f"{worker}: has layertui {said}, here is {_versions()}")
            if problem:
                raise ClusterError(f"{worker}: {problem}: captures must lie where every worker "
                                   "finds them by the same name")  # fmt: skip


def look(files: Mapping[str, int]) -> tuple[str, str]:
    """On a worker: its version, and what is wrong with the files of given sizes; empty if
    nothing.
    """
    for path, size in files.items():
        try:
            status = storage_of(path).status(path)
        except Exception as error:
            return _versions(), f"{path}: {_words(error)}"
        if status is None:
            return _versions(), f"{path}: no such file"
        if status.size != size:
            return _versions(), f"{path}: is another file, of {status.size} bytes"
    return _versions(), ""


@contextlib.contextmanager
def opened_cluster(address: str, workers: int | None = None) -> Iterator[Cluster]:
    """A connection to a scheduler, as `tcp://host:8786`, or to `local` processes of this machine,
    `workers` of them or one for each core.

    Raises `ClusterError` where there is none.
    """
    if not has_extra("cluster"):
        raise ClusterError(needs("cluster", "--scheduler"))
    from distributed import Client

    _silence()
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(_local(workers)) if address == LOCAL else address
        try:
            if address != LOCAL:
                _look_at_address(address)
            client = stack.enter_context(
                Client(place, timeout=_PATIENCE, set_as_default=False, name="layertui")
            )
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise ClusterError(
                f"{address}: no Dask scheduler answers there ({_words(error)})"
            ) from error
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=_PATIENCE)
        nthreads: Any = client.nthreads()
        threads = sum(nthreads.values())
        if not threads:
            raise ClusterError(f"{address}: the scheduler has no workers")
        # `pure` tasks of equal arguments are run once: files may have changed between them.
        yield Cluster(address, client, client.get_executor(pure=False), threads)


def _silence() -> None:
    """What matters of what Dask logs is said here, in one line. Its loggers have levels each."""
    for name in [*logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _look_at_address(address: str) -> None:
    """Raises `ValueError` or `OSError` where no client should be made: one that never began is not
    got rid of in silence.
    """
    from distributed.comm.addressing import resolve_address
    from distributed.security import Security

    resolve_address(address)
    encrypted = address.startswith(("tls://", "wss://"))
    if encrypted and not Security().get_connection_args("client").get("ssl_context"):
        raise ValueError("it needs the certificates of distributed.comm.tls in Dask's settings")


def _local(workers: int | None) -> Any:
    """Processes of this machine that end with this one."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers or usable_cores(), threads_per_worker=1, processes=True,
        dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
    )  # fmt: skip


def _some_files(capture: Capture) -> dict[str, int]:
    """The first and the last file that values are read from, with their sizes."""
    paths = [record.locator.path for record in capture.records if record.locator is not None]
    return {whole_path(path): size_of(path) for path in {*paths[:1], *paths[-1:]}}


def refuse_secrets(files: Iterable[str]) -> None:
    """Raises `ClusterError` for a URL of which something is hidden."""
    from ...capture.remote.urls import has_secret

    for path in files:
        if has_secret(path):
            raise ClusterError(f"{path}: workers are not told passwords and signatures; let them "
                               "find credentials of their own")  # fmt: skip


def _versions() -> str:
    """What decides which numbers a task gives."""
    return f"{version('layertui')} (measurements {ENGINE})"


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
