"""``prepare-models worker``."""

from __future__ import annotations

import argparse
import json
import os
import socket
from dataclasses import replace

from prepare_models_entrypoint.contract.identity import device_class

from ... import __version__
from ...errors import EXIT_OK, HostError, UsageError
from ...executors import FARM, choice
from ...farm import cluster
from ...farm.member import Introduction
from ...options import BUILD_AND_PUSH, FarmOptions, Sharing
from ...reports import text
from ...running.supply import Supply
from ...store.local import open_store
from ...support import paths
from .. import building
from ..building import observer
from ..options import add, add_executor, add_key, add_output

EXAMPLE = """\
example:
  prepare-models worker --scheduler tls://build.example:8786 --store s3://engines/site \\
    --tls-ca ca.pem --tls-cert worker.pem --tls-key worker-key.pem
"""


def add_arguments(worker: argparse.ArgumentParser) -> None:
    """Add what ``worker`` takes."""
    add_executor(worker)
    add(worker, "--store", "shared store for the engines, such as s3://bucket", "URL", required=True)
    add_key(worker, "signs the engines")
    add(worker, "--target", "device class to build for (default: what is found here)", "CLASS")
    worker.add_argument("--name", help="of the worker in the farm (default: host name and process id)")
    add_output(worker, table=False)


def main(arguments: argparse.Namespace) -> int:
    """Build engines until a signal ends it."""
    if arguments.executor == FARM:
        raise UsageError("a worker builds on its own machine", hint="give --executor local or docker")
    # A cache of its own: on one machine with a run, the two would wait for each other's turns at an engine.
    os.environ[paths.CACHE_VARIABLE] = str(paths.cache_dir() / "farm")
    options, containers = building.farm(arguments), replace(building.containers(arguments), farm=FarmOptions())
    runtime = choice.pick(arguments.executor, containers).describe()
    device = arguments.target or device_class(runtime)
    if device is None:
        raise HostError("this machine builds no engines", hint="see prepare-models doctor")
    sharing = Sharing(arguments.store, BUILD_AND_PUSH, sign=arguments.sign, password_file=arguments.password_file)
    Supply(sharing, open_store())  # what is wrong with its URL or its key shows now
    name = arguments.name or f"{socket.gethostname()}-{os.getpid()}"
    from ...farm import tasks  # with all that runs models

    said = Introduction(device=device, tool=__version__, distributed=cluster.version(), runtime=runtime)
    line = json.dumps({"worker": name, "target": device}) if arguments.json else f"{name} builds for {device}"
    with observer(arguments) as hears:
        tasks.bench = tasks.Bench(name, lambda: choice.pick(arguments.executor, containers), sharing, hears)
        cluster.serve(
            options,
            said,
            name=name,
            folder=paths.make_cache() / "dask",
            ready=lambda: text.write(line),
            stop=tasks.stop,
        )
    return EXIT_OK
