"""How the Docker SDK connects to a container engine, and what its failures mean."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping

import docker
import requests
from docker.constants import MINIMUM_DOCKER_API_VERSION
from docker.context import ContextAPI
from docker.errors import APIError, DockerException

from prepare_models_entrypoint.contract.files import NO_ROOM

from . import address
from .daemon_errors import explain, lost

_COLOURS = re.compile("\x1b\\[[0-9;]*m")  # the builder marks errors with colours


@contextlib.contextmanager
def translated(*, connected: bool = False) -> Iterator[None]:
    """Turn the SDK's failures into errors that say what to do.

    ``connected``: whether the container engine answered before, so that silence means that it is gone.
    """
    try:
        yield
    except APIError as error:
        raise explain(str(error.explanation or error)) from error
    except DockerException as error:
        raise explain(str(error)) from error
    except broken_line() as error:
        if getattr(error, "errno", None) in NO_ROOM:
            raise
        raise (lost if connected else explain)(str(error) or type(error).__name__) from error


def broken_line() -> tuple[type[Exception], ...]:
    """Return what a failed connection raises; over ssh, the SDK passes on the errors of sockets and paramiko."""
    paramiko = sys.modules.get("paramiko")
    return (requests.RequestException, OSError, EOFError, *([paramiko.SSHException] if paramiko else []))


@contextlib.contextmanager
def untroubled() -> Iterator[None]:
    """Ignore that a container engine refuses or is gone."""
    try:
        yield
    except DockerException:
        pass
    except broken_line() as error:
        if getattr(error, "errno", None) in NO_ROOM:
            raise


def connect() -> docker.DockerClient:
    """Return a client that uses the container engine's newest API version.

    The environment's CA bundle is for downloads; requests would use it instead of the container engine's own authority.
    An address that crashes the SDK is refused, and so is a context that it would ignore in favour of the default.
    """
    host = os.environ.get("DOCKER_HOST")
    if host and not address.is_valid(host):
        raise explain("Invalid bind address")  # not repeated, as it may contain a password
    context = None if host else os.environ.get("DOCKER_CONTEXT")
    if context and ContextAPI.get_context(context) is None:
        raise explain(f"no such Docker context: {context}")
    try:
        with contextlib.closing(docker.from_env(version=MINIMUM_DOCKER_API_VERSION)) as client:
            client.api.trust_env = False
            spoken = client.version(api_version=False)["ApiVersion"]
    except (LookupError, TypeError) as error:  # raised by the SDK for answers that no daemon would give
        raise DockerException(f"Error while fetching server API version: {error!r}") from error
    except broken_line() as error:
        raise DockerException(f"Error while fetching server API version: {error}") from error
    client = docker.from_env(version=spoken)
    client.api.trust_env = False
    return client


def lines(answers: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines of a builder's or a registry's answers.

    Raises:
        ContainerError: one of them is an error.
    """
    for answer in answers:
        if "error" in answer:
            raise explain(answer["error"])
        text = _COLOURS.sub("", answer.get("stream") or answer.get("status") or "").rstrip()
        if text:
            yield text
