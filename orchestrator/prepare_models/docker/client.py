"""How the Docker SDK is connected to an engine, and what its failures mean."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import docker
import requests
from docker.constants import MINIMUM_DOCKER_API_VERSION
from docker.context import ContextAPI
from docker.errors import APIError, DockerException

from ..errors import NO_ROOM
from . import daemon
from .daemon_errors import explain, lost


@contextlib.contextmanager
def translated(*, connected: bool = False) -> Iterator[None]:
    """Turn the SDK's failures into errors that say what to do.

    Args:
        connected: the engine answered before, so that silence means that it went away.
    """
    try:
        yield
    except APIError as error:
        raise explain(str(error.explanation or error)) from error
    except DockerException as error:
        raise explain(str(error)) from error
    except Exception as error:
        if not is_of_the_line(error):
            raise
        raise (lost if connected else explain)(str(error) or type(error).__name__) from error


def is_of_the_line(error: Exception) -> bool:
    """Tell whether a connection failed. Over ssh the SDK lets through what sockets and paramiko raise."""
    if isinstance(error, requests.RequestException) or type(error).__module__.partition(".")[0] == "paramiko":
        return True
    return isinstance(error, (OSError, EOFError)) and getattr(error, "errno", None) not in NO_ROOM


@contextlib.contextmanager
def untroubled() -> Iterator[None]:
    """Let it pass that an engine refuses or is gone."""
    try:
        yield
    except Exception as error:
        if not (isinstance(error, DockerException) or is_of_the_line(error)):
            raise


def connect() -> docker.DockerClient:
    """Return a client that speaks the engine's newest version of the API.

    The environment's CA bundle is for downloads; requests would let it take the place of the engine's own authority.
    """
    _check_address()
    try:
        with contextlib.closing(docker.from_env(version=MINIMUM_DOCKER_API_VERSION)) as client:
            client.api.trust_env = False
            spoken = client.version(api_version=False)["ApiVersion"]
    except Exception as error:
        if not is_of_the_line(error):
            raise
        raise DockerException(f"Error while fetching server API version: {error}") from error
    client = docker.from_env(version=spoken)
    client.api.trust_env = False
    return client


def _check_address() -> None:
    """Refuse an address that the SDK trips over, and a context that it would pass by for the default one."""
    address = os.environ.get("DOCKER_HOST")
    if address and not daemon.is_address(address):
        raise explain("Invalid bind address")  # not repeated, as people write passwords into it
    context = None if address else os.environ.get("DOCKER_CONTEXT")
    if context and ContextAPI.get_context(context) is None:
        raise explain(f"no such Docker context: {context}")
