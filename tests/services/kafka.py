"""Apache Kafka for tests: one broker per session, emptied for each test, and the means to kill and restart it.

From TRIGGERHUB_TEST_KAFKA (`host:port`; its topics and groups named triggerhub… are deleted!), else Docker, else Maven.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import psutil

from services.artefacts import class_path
from services.certificates import make_certificate
from services.children import answers, end, free_ports, log_tail, own_folder, spawn, wait_until_answers
from services.docker import Container, docker_answers
from services.need import OutOfReachError, ServiceMissingError
from services.topics import empty, evict

ADDRESS: Final = "TRIGGERHUB_TEST_KAFKA"
IMAGE: Final = "apache/kafka:4.1.1"
USER: Final = "hub"
PASSWORD: Final = "correct horse"
START_SECONDS: Final = 60.0

Listener = Literal[
    "PLAINTEXT", "SASL_PLAINTEXT/PLAIN", "SASL_PLAINTEXT/SCRAM-SHA-512", "SSL", "SASL_SSL/SCRAM-SHA-256"
]

COMMON: Final[Mapping[str, str]] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.enable": "false",
    # A killed broker may come back after this long; the default is 9 seconds.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}
"""A single node that lets consumers join at once."""


class Kafka(ABC):
    """A running broker."""

    @property
    @abstractmethod
    def bootstrap(self) -> str:
        """`host:port` of the plain listener."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL the broker. Raises OutOfReachError for one that was given by address."""

    @abstractmethod
    def restart(self) -> None:
        """Start it again on the same data and address."""

    @abstractmethod
    def close(self) -> None:
        """Stop it and remove its data."""

    def environment(self, listener: Listener = "PLAINTEXT") -> dict[str, str]:
        """The TRIGGERHUB_KAFKA_* settings that reach it. Raises OutOfReachError for a listener that it lacks."""
        if listener != "PLAINTEXT":
            msg = f"only a broker from Maven artefacts has the listener {listener} in these tests"
            raise OutOfReachError(msg)
        return {"TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap}

    async def reset(self) -> None:
        """Delete every topic and consumer group of triggerhub, evicting members whose process was killed."""
        await empty(self.bootstrap)

    async def evict(self, group: str) -> None:
        """Take the members of killed processes out of a group, without waiting for their sessions to time out."""
        await evict(self.bootstrap, group)


class GivenKafka(Kafka):
    """Somebody else's, by address."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    @property
    def bootstrap(self) -> str:
        return self._bootstrap

    def kill(self) -> None:
        msg = f"{ADDRESS} names a broker that this test may not kill"
        raise OutOfReachError(msg)

    def restart(self) -> None:
        """It was never killed, so it runs."""

    def close(self) -> None:
        return


class DockerKafka(Kafka):
    """In a container. The advertised port is the host's, so it is chosen before the start."""

    def __init__(self) -> None:
        port = free_ports(1)[0]
        properties = {
            **COMMON,
            "controller.quorum.voters": "1@localhost:9093",
            "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }
        names = {name: "KAFKA_" + name.upper().replace(".", "_") for name in properties}
        self._container = Container(
            IMAGE,
            inner_port=9092,
            port=port,
            environment={names[name]: value for name, value in properties.items()},
        )
        self._wait()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._container.port}"

    def kill(self) -> None:
        self._container.kill()

    def restart(self) -> None:
        self._container.restart()
        self._wait()

    def close(self) -> None:
        self._container.close()

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while not answers(self._container.port) and time.monotonic() < until:
            time.sleep(0.1)


class PackagedKafka(Kafka):
    """From Maven artefacts: a Java process with a plain listener and four secured ones."""

    def __init__(self) -> None:
        self._class_path = class_path()
        self._folder = own_folder("kafka")
        self._log = self._folder / "log"
        names = ("CONTROLLER", "PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL")
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        keys, self._authority = make_certificate(self._folder)
        self._properties = self._folder / "server.properties"
        self._properties.write_text(
            "".join(
                f"{name}={value}\n" for name, value in _properties(self._folder, self._ports, keys).items()
            )
        )
        self._format()
        self._process = self._start()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._ports['PLAINTEXT']}"

    def environment(self, listener: Listener = "PLAINTEXT") -> dict[str, str]:
        protocol, _, mechanism = listener.partition("/")
        found = {
            "TRIGGERHUB_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{self._ports[protocol]}",
            "TRIGGERHUB_KAFKA_SECURITY_PROTOCOL": protocol,
        }
        if protocol.endswith("SSL"):
            found["TRIGGERHUB_KAFKA_SSL_CA_FILE"] = str(self._authority)
        if mechanism:
            found["TRIGGERHUB_KAFKA_SASL_MECHANISM"] = mechanism
            found |= {"TRIGGERHUB_KAFKA_USERNAME": USER, "TRIGGERHUB_KAFKA_PASSWORD": PASSWORD}
        return found

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        end(self._process)
        self._process = self._start()

    async def reset(self) -> None:
        code = self._process.poll()
        if code is not None:
            msg = f"Apache Kafka ended by itself with {code}; the end of its log:\n{log_tail(self._log)}"
            raise RuntimeError(msg)
        await super().reset()

    def close(self) -> None:
        end(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _java(self, main: str, *arguments: str) -> list[str]:
        memory = ["-Xms64m", "-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return ["java", *memory, "-cp", self._class_path, main, *arguments]

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # An id that begins with a dash would be taken for an option of the tool.
        cluster = cluster.replace("-", "A", 1) if cluster.startswith("-") else cluster
        users = [
            f"--add-scram={one}=[name={USER},password={PASSWORD}]"
            for one in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        command = self._java(
            "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties), *users
        )
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            msg = f"Apache Kafka's StorageTool ended with {ended.returncode}: {ended.stderr.strip()[-500:]}"
            raise RuntimeError(msg)

    def _start(self) -> subprocess.Popen[bytes]:
        """It opens one listener after the other, and ends where a port is taken: it is up when all are open."""
        process = spawn(self._java("kafka.Kafka", str(self._properties)), log=self._log)
        ports = set(self._ports.values())
        try:
            wait_until_answers(
                self._ports["PLAINTEXT"],
                process,
                log=self._log,
                seconds=START_SECONDS,
                answers=lambda _: ports <= listening(process.pid),
            )
        except RuntimeError:
            end(process)
            raise
        return process


def listening(pid: int) -> set[int]:
    """The TCP ports at which a process listens; none when it is gone."""
    try:
        found = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return set()
    return {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN and one.laddr}


def _properties(folder: Path, ports: Mapping[str, int], keys: Path) -> dict[str, str]:
    listeners = {name: f"{name}://127.0.0.1:{port}" for name, port in ports.items()}
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    plain = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    return {
        **COMMON,
        "controller.quorum.voters": f"1@127.0.0.1:{ports['CONTROLLER']}",
        "listeners": ",".join(listeners.values()),
        "advertised.listeners": ",".join(value for name, value in listeners.items() if name != "CONTROLLER"),
        "listener.security.protocol.map": ",".join(
            f"{name}:{'PLAINTEXT' if name == 'CONTROLLER' else name}" for name in ports
        ),
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(folder / "data"),
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": plain,
        "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": scram,
        "listener.name.sasl_ssl.plain.sasl.jaas.config": plain,
        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keys),
    }


def start_kafka() -> Kafka:
    """The broker of this session. Raises ServiceMissingError."""
    given = os.environ.get(ADDRESS)
    if given:
        return GivenKafka(given)
    if docker_answers():
        return DockerKafka()
    try:
        return PackagedKafka()
    except ServiceMissingError as error:
        msg = f"there is no Apache Kafka: {ADDRESS} is not set, Docker does not answer, and {error}"
        raise ServiceMissingError(msg) from None
